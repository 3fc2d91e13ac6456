"""Train, evaluate and sample from the command line."""

import argparse
import json
import os
import signal
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from minivae import data, engine, validate
from minivae.checkpoint import CheckpointError, load_model
from minivae.engine import Workers, find_device, processes
from minivae.evaluate import evaluate, log_likelihood
from minivae.latent import sample_digits
from minivae.models import CVAE, LIKELIHOODS, VAE, Autoencoder
from minivae.train import TrainConfig, fit

MODELS = {"ae": Autoencoder, "vae": VAE, "cvae": CVAE}


def parser() -> argparse.ArgumentParser:
    """The command line; options of a run come from `TrainConfig`.

    Example:
        >>> words = ["train", "--model", "vae", "--epochs", "3"]
        >>> parser().parse_args(words).epochs
        3
    """
    top = argparse.ArgumentParser(
        prog="python -m minivae", description=__doc__, allow_abbrev=False
    )
    commands = top.add_subparsers(dest="command", required=True)

    def command(name: str, text: str) -> argparse.ArgumentParser:
        one = commands.add_parser(
            name,
            help=text,
            description=text,
            allow_abbrev=False,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        one.add_argument("--data", default="auto", choices=data.NAMES)
        one.add_argument(
            "--json", action="store_true", help="end with a line of JSON"
        )
        return one

    train = command("train", "Train a model and score it on the test set.")
    train.add_argument("--model", required=True, choices=tuple(MODELS))
    train.add_argument("--n-latent", type=int, default=20)
    train.add_argument("--hidden", type=int, nargs="*", default=[256, 128])
    train.add_argument("--likelihood", choices=LIKELIHOODS)
    train.add_argument("--sigma", type=float, help="of a Gaussian pixel")
    train.add_argument("--beta", type=float, help="weight of the KL")
    words = {"precision": engine.PRECISIONS, "compile": engine.COMPILE}
    for option in fields(TrainConfig):
        flag = "--" + option.name.replace("_", "-")
        kind: dict[Any, Any] = {int | None: int, float | None: float}
        train.add_argument(
            flag,
            type=kind.get(option.type, option.type),
            default=option.default,
            choices=words.get(option.name),
        )
    train.add_argument("--checkpoint", help="save here, and resume from here")

    score = command("evaluate", "Score a trained model on the test set.")
    score.add_argument("--checkpoint", required=True)
    score.add_argument(
        "--samples", type=int, default=100, help="for the log-likelihood"
    )
    score.add_argument("--device", default="auto")

    sample = command("sample", "Draw new digits.")
    sample.add_argument("--checkpoint", required=True)
    sample.add_argument("--digit", type=int, help="0 to 9, for a cvae")
    sample.add_argument("--n", type=int, default=100)
    sample.add_argument("--seed", type=int, default=0)
    sample.add_argument("--out", required=True, help=".png or .npy")
    return top


def run_train(args: argparse.Namespace) -> dict:
    """Build, fit, score.

    Args:
        args: of `parser`, for train.

    Returns:
        Losses, "test" scores in nats per digit, and what was trained.

    Raises:
        ValueError, CheckpointError, DatasetError: as for `fit` and the data.

    Example:
        >>> words = ["train", "--model", "ae", "--beta", "2"]
        >>> run_train(parser().parse_args(words))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        ValueError: --beta: an autoencoder has none; ...
    """
    options = {
        name: value
        for name in ("likelihood", "sigma", "beta")
        if (value := getattr(args, name)) is not None
    }
    if options and args.model == "ae":
        raise ValueError(
            f"--{next(iter(options))}: an autoencoder has none; leave it out, "
            "or train --model vae"
        )
    if args.checkpoint == "":
        raise ValueError(
            "--checkpoint: expected a file, got an empty path; give one such "
            "as vae.pt, or leave the option out"
        )
    config = TrainConfig(
        **{f.name: getattr(args, f.name) for f in fields(TrainConfig)}
    )
    model = MODELS[args.model](
        n_latent=args.n_latent,
        hidden=tuple(args.hidden),
        seed=config.seed,
        **options,
    )
    workers = Workers()
    digits = data.load_digits(args.data, "train")
    history = fit(model, digits, config, args.checkpoint)
    if history.stopped:
        raise KeyboardInterrupt
    test = data.load_digits(digits.source, "test")
    return {
        "model": args.model,
        "data": digits.source,
        "epochs": len(history.loss),
        "loss": history.loss[-1],
        "digits_per_second": history.digits_per_second[-1],
        "test": evaluate(model, test, workers=workers),
        "checkpoint": args.checkpoint,
    }


def run_evaluate(args: argparse.Namespace) -> dict:
    """Score a checkpoint on the test set.

    Args:
        args: of `parser`, for evaluate.

    Returns:
        Scores in nats per digit, as `evaluate` and `log_likelihood` name them.

    Raises:
        FileNotFoundError, CheckpointError: as for `load_model`.

    Example:
        >>> words = ["evaluate", "--checkpoint", "none.pt"]
        >>> run_evaluate(parser().parse_args(words))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        FileNotFoundError: none.pt: no checkpoint there; ...
    """
    model = load_model(args.checkpoint, find_device(args.device))
    _refuse_conditions(model, "--checkpoint", "evaluate")
    test = data.load_digits(args.data, "test")
    scores: dict[str, float | None] = dict.fromkeys(
        ("elbo", "kl", "log_likelihood")
    )
    scores |= evaluate(model, test)
    if isinstance(model, VAE):
        scores["log_likelihood"] = log_likelihood(
            model, test, args.samples, progress=True
        )
    return scores | {"n": len(test), "data": test.source}


def _refuse_conditions(model: Autoencoder, option: str, call: str) -> None:
    if model.conditions:
        raise ValueError(
            f"{option}: this model is told conditions {model.conditions}, "
            f"which the command line cannot give; call minivae.{call} in "
            "Python"
        )


def run_sample(args: argparse.Namespace) -> dict:
    """Draw digits into a file.

    Args:
        args: of `parser`, for sample.

    Returns:
        How many digits, which, and the file.

    Raises:
        ValueError, FileNotFoundError: the file cannot be written there.

    Example:
        >>> words = ["sample", "--checkpoint", "vae.pt", "--out", "digits.jpg"]
        >>> run_sample(parser().parse_args(words))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        ValueError: --out: expected a name that ends in .png or .npy, ...
    """
    out = Path(args.out)
    if out.suffix not in (".png", ".npy"):
        raise ValueError(
            f"--out: expected a name that ends in .png or .npy, got "
            f"{args.out!r}; change the ending"
        )
    if not out.parent.is_dir():
        raise FileNotFoundError(
            f"--out: there is no folder {out.parent}; make it first"
        )
    validate.whole("--n", args.n, 1, 100)
    model: Any = load_model(args.checkpoint)
    if args.digit is not None:
        _refuse_conditions(model, "--digit", "sample_digits")
    y = args.digit
    with validate.memory(f"--n: {args.n} digits", "draw fewer at a time"):
        if y is None and model.n_classes:  # all digits in turn
            y = torch.arange(args.n) % model.n_classes
        images = sample_digits(model, args.n, y, args.seed).numpy()
    if out.suffix == ".npy":
        np.save(out, images)
    else:
        from minivae.figures import image_grid

        image_grid(images).savefig(out, dpi=150)
    return {"n": args.n, "digit": args.digit, "out": str(out)}


def main(words: list[str] | None = None) -> int:
    """Run one command; the exit status is 2 for a mistake in its options.

    Args:
        words: of the command line; None takes those of Python.

    Example:
        >>> words = ["sample", "--checkpoint", "vae.pt", "--out", "digits.jpg"]
        >>> main(words)  # and one line to stderr that says why
        2
    """
    args = parser().parse_args(words)
    commands = {
        "train": run_train,
        "evaluate": run_evaluate,
        "sample": run_sample,
    }
    try:
        with processes() as workers:
            result = commands[args.command](args)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except (
        CheckpointError,
        data.DatasetError,
        OSError,
        TypeError,
        ValueError,
    ) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if workers.rank:
        return 0
    if args.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name}: {value}")
    return 0


if __name__ == "__main__":
    status = main()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    # to unload torch takes up to a second, and nothing is left to be done
    os._exit(status)
