"""Train, evaluate and sample from the command line."""

import argparse
import json
import math
import os
import re
import signal
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from minivae import completion, data, engine, validate
from minivae.engine import Processes, find_device, processes
from minivae.engine.checkpoint import CheckpointError
from minivae.evaluate import evaluate, log_likelihood
from minivae.latent import sample
from minivae.likelihoods import LIKELIHOODS
from minivae.models import CVAE, VAE, Autoencoder
from minivae.networks import NETWORKS
from minivae.priors import PRIORS
from minivae.store import load_model
from minivae.train import TrainConfig, fit

MODELS = {"ae": Autoencoder, "vae": VAE, "cvae": CVAE}
QUARTERS = "quarters that are given, for a cvae that is told pixels"
# what the text of `TrainConfig` says of each option
ABOUT = dict(re.findall(r" (\w+): (.+)\.\n", TrainConfig.__doc__ or ""))


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Says defaults, where there are any."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or action.default is False:
            return action.help
        return super()._get_help_string(action)


def _sigma(text: str) -> float | str:
    try:
        return text if text == "each" else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected a number or each, got {text!r:.40}; give one such as "
            "0.1"
        ) from None


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

    def command(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        one = commands.add_parser(
            name,
            help=text,
            description=text,
            allow_abbrev=False,
            formatter_class=_Help,
        )
        one.set_defaults(run=run)
        add = one.add_argument
        which = "set of pictures; auto is MNIST if it can be had"
        add("--data", default="auto", choices=data.NAMES, help=which)
        add("--json", action="store_true", help="end with a line of JSON")
        return one

    text = "Train a model and score it on the test set."
    train = command("train", run_train, text)
    add = train.add_argument
    add("--model", required=True, choices=tuple(MODELS), help="kind of model")
    add("--n-latent", type=int, default=20, help="numbers in a code")
    layers = "linear layers, or convolutions"
    add("--network", choices=tuple(NETWORKS), default="mlp", help=layers)
    sizes = "sizes of the hidden layers; those usual for the network if not"
    add("--hidden", type=int, nargs="*", help=f"{sizes} given")
    shape = "of a row, such as 784; that of the data if not given"
    add("--shape", type=int, nargs="+", help=shape)
    kinds = tuple(LIKELIHOODS)
    add("--likelihood", choices=kinds, help="of x, for vae and cvae")
    each = "of a Gaussian: a number, or each to learn one for each pixel"
    add("--sigma", type=_sigma, help=each)
    add("--prior", choices=PRIORS, help="of z, for vae and cvae")
    add("--beta", type=float, help="weight of the KL")
    bound = "codes for each row; more than 1 for the importance-weighted bound"
    add("--n-samples", type=int, help=bound)
    free = "nats of KL that each latent dimension may use for nothing"
    add("--free-bits", type=float, help=free)
    told = "what a cvae is told: the label if not given, or part of the pixels"
    add("--condition", choices=("label", "pixels"), help=told)
    add("--given", type=int, nargs="+", help=f"{QUARTERS}: 1 2 3 if not given")
    words = {"precision": engine.PRECISIONS, "compile": engine.COMPILE}
    for option in fields(TrainConfig):
        flag = "--" + option.name.replace("_", "-")
        kind: dict[Any, Any] = {int | None: int, float | None: float}
        add(
            flag,
            type=kind.get(option.type, option.type),
            default=option.default,
            choices=words.get(option.name),
            help=ABOUT.get(option.name),
        )
    add("--checkpoint", help="save here, and resume from here")

    text = "Score a trained model on the test set."
    score = command("evaluate", run_evaluate, text)
    add = score.add_argument
    add("--checkpoint", required=True, help="file to read")
    codes = "codes for the likelihood"
    add("--samples", type=int, default=100, help=codes)
    add("--given", type=int, help=QUARTERS)
    add("--device", default="auto", help=ABOUT.get("device"))

    draw = command("sample", run_sample, "Draw new digits.")
    add = draw.add_argument
    add("--checkpoint", required=True, help="file to read")
    add("--digit", type=int, help="0 to 9, for a cvae; all in turn if not")
    add("--n", type=int, default=100, help="how many")
    add("--given", type=int, help=f"complete test pictures: {QUARTERS}")
    add("--rows", type=int, default=10, help="pictures to complete")
    add("--seed", type=int, default=0, help="selects the codes")
    add("--out", required=True, help="file to write, .png or .npy")
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
    names = ["likelihood", "sigma", "prior", "beta", "n_samples"]
    names += ["free_bits", "given"]
    options = {k: v for k in names if (v := getattr(args, k)) is not None}
    if options and args.model == "ae":
        raise ValueError(
            f"--{next(iter(options)).replace('_', '-')}: an autoencoder has "
            "none; leave it out, or train --model vae"
        )
    pixels = args.condition == "pixels"
    if args.condition and args.model != "cvae":
        raise ValueError(
            f"--condition: a {args.model} has none, got {args.condition}; "
            "leave it out, or train --model cvae"
        )
    if "given" in options and not pixels:
        raise ValueError(
            "--given: only a cvae that is told pixels has it; add "
            "--condition pixels"
        )
    run = {f.name: getattr(args, f.name) for f in fields(TrainConfig)}
    config = TrainConfig(**run)
    digits = data.load_digits(args.data, "train")
    model = (completion.PixelCVAE if pixels else MODELS[args.model])(
        n_latent=args.n_latent,
        hidden=args.hidden,
        shape=digits.shape if args.shape is None else tuple(args.shape),
        network=args.network,
        seed=config.seed,
        **options,
    )
    history = fit(model, digits, config, args.checkpoint)
    if history.stopped:
        raise KeyboardInterrupt
    test = data.load_digits(digits.source, "test")
    model.to(find_device(config.device))
    return {
        "model": args.model,
        "data": digits.source,
        "epochs": len(history.loss),
        "loss": history.loss[-1],
        "digits_per_second": history.digits_per_second[-1],
        "test": evaluate(model, test, processes=Processes()),
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
    _check_shape(model, test)
    if _completes(model, args.given):
        nats = completion.completion_likelihood(
            model, test, args.given, args.samples
        )
        about = {"given": args.given, "n": len(test), "data": test.source}
        return {"negative_cll": -nats} | about
    none = dict.fromkeys(("elbo", "kl", "log_likelihood"))
    scores: dict[str, float | None] = none | evaluate(model, test)
    if isinstance(model, VAE):
        found = log_likelihood(model, test, args.samples, progress=True)
        scores["log_likelihood"] = found
    return scores | {"n": len(test), "data": test.source}


def _completes(model: Any, given: int | None) -> bool:
    """Whether a model is told pixels; how many must be said, and only then."""
    completes = isinstance(model, completion.PixelCVAE)
    if completes != (given is not None):
        raise ValueError(
            "--given: expected how many quarters are given, 1, 2 or 3, for a "
            f"cvae that is told pixels and no other, got {given} for a "
            f"{type(model).__name__}"
        )
    return completes


def _check_shape(model: Any, test: data.Images) -> None:
    if math.prod(model.shape) != math.prod(test.shape):
        raise ValueError(
            f"--checkpoint: this model is for rows of {model.shape}, but "
            f"pictures of {test.source} are {test.shape}; call "
            "minivae.evaluate in Python with your data"
        )


def _refuse_conditions(model: Any, option: str, call: str) -> None:
    if getattr(model, "conditions", ()):
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
    pictured = len(model.shape) == 3 and model.shape[0] in (1, 3)
    if out.suffix == ".png" and not pictured:
        raise ValueError(
            f"--out: rows of {model.shape} are no grey or coloured pictures; "
            "choose a name that ends in .npy"
        )
    if _completes(model, args.given):
        return _complete(model, args, out)
    if args.digit is not None:
        _refuse_conditions(model, "--digit", "sample")
    y = args.digit
    with validate.memory(f"--n: {args.n} digits", "draw fewer at a time"):
        if y is None and model.n_classes:  # all digits in turn
            y = torch.arange(args.n) % model.n_classes
        images = sample(model, args.n, y, args.seed).numpy()
    _write(images, out)
    return {"n": args.n, "digit": args.digit, "out": str(out)}


def _complete(model: Any, args: argparse.Namespace, out: Path) -> dict:
    """Draw completions of the first pictures of the test set into a file."""
    validate.whole("--rows", args.rows, 1, 10)
    test = data.load_digits(args.data, "test")
    _check_shape(model, test)
    x = test[: args.rows].x()
    hidden = ~completion.quadrants(model.shape, args.given)
    x = x.masked_fill(hidden, torch.nan)
    images = completion.complete(model, x, args.n, args.seed)
    if model.shape[0] == 1:
        images = images.squeeze(2)
    if out.suffix == ".png":  # a row for each picture
        images = images.flatten(0, 1)
    _write(images.numpy(), out, columns=args.n)
    about = {"rows": len(x), "n": args.n, "given": args.given}
    return about | {"out": str(out)}


def _write(images: np.ndarray, out: Path, columns: int | None = None) -> None:
    """Pictures (N, H, W) or (N, 3, H, W), as numbers or as one picture."""
    if out.suffix == ".npy":
        np.save(out, images)
        return
    from minivae.figures import image_grid

    image_grid(images, columns).savefig(out, dpi=150)


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
    mistakes = CheckpointError, data.DatasetError, OSError
    try:
        with processes() as shared:
            result = args.run(args)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except (*mistakes, TypeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if shared.rank:
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
