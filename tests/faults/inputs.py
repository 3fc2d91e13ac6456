"""Inputs that are wrong or odd, and what must come of each.

A case is a call with either the start of the error that it must raise, or a
check of the result that it is documented to have. A refusal must be clear:
of our own raising, one line, short, with a way out, and with nothing drawn,
written or changed.
"""

import contextlib
import io
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

import minivae
from minivae import (
    CVAE,
    VAE,
    Autoencoder,
    Digits,
    History,
    Judge,
    TrainConfig,
    batches,
    checkpoint,
    codes,
    draw,
    evaluate,
    fit,
    fit_once,
    latent,
    latent_grid,
    load_digits,
    load_model,
    log_likelihood,
    objective,
    quantile_grid,
    reconstruct,
    same_style,
    sample_digits,
)
from minivae.__main__ import main
from minivae.data import Table

scores = sys.modules["minivae.evaluate"]  # minivae.evaluate is the function

NAN, INF = float("nan"), float("inf")
HUGE, LONG = 10**400, "x" * 5000
OURS = (
    ValueError,
    TypeError,
    FileNotFoundError,
    minivae.CheckpointError,
    minivae.DatasetError,
)
# what a way out begins with
VERBS = (
    "build|check|choose|convert|correct|delete|divide|find|give|leave|lower|"
    "make|pass|put|remove|restore|scale|score|set|stack|train|upgrade|use"
)
Case = tuple[str, Callable, str | Callable]

SIZES = {"n_latent": 2, "hidden": (8,)}
B = 6
X = torch.rand(B, 784, generator=torch.Generator().manual_seed(0))
Y = torch.tensor([0, 9, 5, 5, 3, 1])
Z = torch.linspace(-2, 2, 2 * B).view(B, 2)
IMAGES = (255 * X).to(torch.uint8).view(B, 28, 28)
DIGITS = Digits(IMAGES, Y, "made up", "train")
TABLE = Table(X[:, :4] * 3, source="made up")

# --- values that are wrong for an argument -----------------------------------

NOT_WHOLE = (-1, 2.5, NAN, None, "5", True, [5], torch.tensor(5), HUGE)
NOT_COUNTS = (0, *NOT_WHOLE)
NOT_POSITIVE = (-1, NAN, INF, "1", True, [1.0], HUGE)
NOT_PATHS = (None, "", 5, b"a.pt", "a\0b", ["a.pt"])


def not_rows(good: torch.Tensor) -> dict[str, object]:
    """What is no row of floats, made from rows that are fine."""
    return {
        "a list": good.tolist(),
        "an array": good.numpy(),
        "None": None,
        "a number": 5,
        "a scalar": good[0, 0],
        "rank 1": good[0],
        "too narrow": good[:, 1:],
        "too wide": torch.cat([good, good], 1),
        "uint8": (255 * good).to(torch.uint8),
        "int64": good.round().long(),
        "float64": good.double(),
        "float16": good.half(),
        "bool": good > 0.5,
        "complex": good.to(torch.complex64),
        "NaN": torch.full_like(good, NAN),
        "one NaN": torch.where(torch.arange(good.shape[1]) == 1, NAN, good),
        "infinity": good / 0,
    }


NOT_PIXELS = {
    "images": X.view(B, 28, 28),
    "0 to 255": 255 * X,
    "-1 to 1": 2 * X - 1,
    "a little above 1": X + 0.5,
}
NOT_LABELS = {
    "None": None,
    "a list": Y.tolist(),
    "an array": Y.numpy(),
    "-1": Y - 1,
    "10": Y + 1,
    "2.5": Y + 0.5,
    "float": Y.float(),
    "int32": Y.int(),
    "bool": Y > 4,
    "too few": Y[1:],
    "a column": Y[:, None],
    "one for all": Y[:1],
    "a number": 5,
    "huge": Y + 10**15,
}


# --- the cases ---------------------------------------------------------------


def shaped(*shape: int) -> Callable:
    """A check: finite, of this shape."""

    def check(found) -> bool:
        found = found[0] if isinstance(found, tuple) else found
        return found.shape == shape and bool(found.isfinite().all())

    return check


def equal(wanted) -> Callable:
    """A check: the same as this, to the last bit."""
    return lambda found: torch.equal(found, wanted)


def of_models() -> Iterator[Case]:
    """Every method of the three models, and of the judge."""
    y = {"y": Y}
    for kind in (Autoencoder, VAE, CVAE):
        model, name = kind(**SIZES), kind.__name__
        told = y if kind is CVAE else {}
        for about, x in (not_rows(X) | NOT_PIXELS).items():
            method = "encode" if about in ("uint8", "NaN") else "loss"
            call = partial(getattr(model, method), x, **told)
            yield f"{name}.{method}: {about}", call, "x:"
        for about, z in not_rows(Z).items():
            method = "decode" if about in ("uint8", "NaN") else "draw"
            call = partial(getattr(model, method), z, **told)
            yield f"{name}.{method}: {about}", call, "z:"
        some = {"y": Y[:1]} if told else {}
        none = {"y": Y[:0]} if told else {}
        code = partial(model.code, X[:1], **some)
        yield f"{name}: one row", code, shaped(1, 2)
        yield (
            f"{name}: no rows",
            partial(model.code, X[:0], **none),
            shaped(0, 2),
        )
        turned = X.T.contiguous().T
        wanted = model.code(X, **told)
        yield (
            f"{name}: not contiguous",
            partial(model.code, turned, **told),
            lambda z, wanted=wanted: torch.allclose(z, wanted, atol=1e-6),
        )
        binary = partial(model.loss, X.round(), **told)
        yield f"{name}: binary pixels", binary, shaped(B)
    cvae = CVAE(**SIZES)
    for about, y in NOT_LABELS.items():
        yield f"CVAE.loss: y {about}", partial(cvae.loss, X, y), "y:"
        yield f"CVAE.draw: y {about}", partial(cvae.draw, Z, y), "y:"
    yield "VAE: y is ignored", partial(VAE(**SIZES).code, X, "y"), shaped(B, 2)
    grey = VAE(**SIZES, likelihood="gaussian")
    yield "Gaussian: -1 to 1", partial(grey.loss, 2 * X - 1), shaped(B)
    yield "Gaussian: -1 to 9", partial(grey.loss, 10 * X - 1), shaped(B)
    judge = Judge()
    for about in ("uint8", "NaN", "too narrow", "a list", "None"):
        yield (
            f"Judge: {about}",
            partial(judge.encode, not_rows(X)[about]),
            "x:",
        )
    for about, images in (
        ("uint8", IMAGES),
        ("a list", IMAGES.tolist()),
        ("None", None),
        ("0 to 255", IMAGES.float()),
        ("wrong size", torch.zeros(2, 27, 27)),
    ):
        yield f"Judge.read: {about}", partial(judge.read, images), "images:"
    yield (
        "Judge.read: no images",
        partial(judge.read, X[:0].view(0, 28, 28)),
        (shaped(0, 10)),
    )
    for value in (None, X, IMAGES, TABLE):
        call = partial(judge.accuracy, value)
        yield f"Judge.accuracy: {value!s:.12}", call, "digits:"


def of_options() -> Iterator[Case]:
    """What the models and a run are built with."""
    bad = {
        "n_latent": NOT_COUNTS,
        "n_pixels": NOT_COUNTS,
        "seed": NOT_WHOLE,
        "hidden": (None, 8, "8", (0,), (-1,), (2.5,), (True,), ("8",), {8}),
    }
    for name, values in bad.items():
        for value in values:
            yield (
                f"Autoencoder: {name} {value!r:.20}",
                partial(Autoencoder, **SIZES | {name: value}),
                f"{name}:",
            )
    bad = {
        "beta": NOT_POSITIVE,
        "sigma": (0, *NOT_POSITIVE),
        "likelihood": ("poisson", None, 1, "", "Gaussian", LONG, ["gaussian"]),
    }
    for name, values in bad.items():
        for value in values:
            options = {"likelihood": "gaussian"} | SIZES | {name: value}
            call = partial(VAE, **options)
            yield f"VAE: {name} {value!r:.20}", call, f"{name}:"
    yield "VAE: sigma of a bit", partial(VAE, **SIZES, sigma=0.1), "sigma:"
    bad = {
        "n_classes": NOT_COUNTS,
        "conditions": (5, None, "ab", (0,), (2.5,), (None,)),
        "withhold": (2, *NOT_POSITIVE),
    }
    for name, values in bad.items():
        for value in values:
            call = partial(CVAE, **SIZES | {name: value})
            yield f"CVAE: {name} {value!r:.20}", call, f"{name}:"
    for value in NOT_WHOLE:
        yield f"Judge: seed {value!r:.20}", partial(Judge, value), "seed:"
    none = VAE(n_latent=1, hidden=())
    yield "VAE: no hidden layers", partial(none.loss, X), shaped(B)
    yield "VAE: beta 0", lambda: VAE(**SIZES, beta=0).loss(X), shaped(B)
    bad = {
        "epochs": NOT_COUNTS,
        "batch_size": tuple(v for v in NOT_COUNTS if v is not None),
        "lr": (0, *NOT_POSITIVE),
        "warmup": NOT_COUNTS,
        "kl_warmup": NOT_WHOLE,
        "seed": NOT_WHOLE,
        "device": ("gpu", "cuda:99", "", None, 5, "cpu:x", "meta", LONG),
        "precision": ("float16", "", None, 32, True, LONG, ["float32"]),
        "compile": ("maybe", "", None, True, LONG, ["no"]),
        "decay": (-1, NAN, INF, "1", True, None, HUGE, 2),
    }
    known = TrainConfig.__dataclass_fields__
    for name, values in bad.items():
        for value in values if name in known else ():

            def call(name=name, value=value):
                # a device is looked for when it is needed
                config = TrainConfig(epochs=1, **{name: value})
                fit(VAE(**SIZES), DIGITS, config, progress=False)

            if name == "epochs":
                call = partial(TrainConfig, epochs=value)
            yield f"TrainConfig: {name} {value!r:.20}", call, f"{name}:"


ONE = TrainConfig(epochs=1, device="cpu")


def of_training(folder: Path) -> Iterator[Case]:
    """fit and fit_once."""
    model = VAE(**SIZES)
    for name, values in {
        "model": (None, VAE, "vae", X),
        "digits": (None, X, IMAGES, [X], (IMAGES, Y), "mnist"),
        "config": (5, {"epochs": 1}, TrainConfig, "fast"),
    }.items():
        for value in values:
            words = {"model": model, "digits": DIGITS, "config": ONE}
            words |= {name: value}
            about = f"{name} {type(value).__name__}"
            yield f"fit: {about}", partial(fit, **words), f"{name}:"
            yield f"fit_once: {about}", partial(fit_once, **words), f"{name}:"
    for value in NOT_PATHS[1:]:
        call = partial(fit, model, DIGITS, ONE, checkpoint=value)
        yield f"fit: checkpoint {value!r}", call, "checkpoint:"
    file = folder / "file"
    for path in (folder, file, file / "a.pt"):
        call = partial(fit, model, DIGITS, ONE, checkpoint=path)
        yield f"fit: checkpoint {path.name}", call, str(path)
    narrow = Digits(IMAGES[:, 1:], Y, "made up", "train")
    run = partial(fit, config=ONE, progress=False)
    yield "fit: other size", partial(run, model, narrow), "digits:"
    yield "fit: a table", partial(run, model, TABLE), "digits:"
    low = Table(2 * X - 1)
    yield "fit: -1 to 1", partial(run, model, low), "values:"
    few = CVAE(**SIZES, n_classes=5)
    yield "fit: too few classes", partial(run, few, DIGITS), "y:"
    no_labels = Table(X)
    yield "fit: no labels", partial(run, CVAE(**SIZES), no_labels), "y:"
    several = CVAE(**SIZES, conditions=(10, 1))
    yield "fit: no conditions", partial(run, several, DIGITS), "y:"

    def one_epoch(history) -> bool:
        return isinstance(history, History) and len(history.loss) == 1

    big = replace(ONE, batch_size=10_000)
    fresh = partial(VAE, **SIZES)
    yield "fit: one row", lambda: run(fresh(), DIGITS[:1]), one_epoch
    yield (
        "fit: a batch larger than the data",
        lambda: fit(fresh(), DIGITS, big, progress=False),
        one_epoch,
    )


def of_data() -> Iterator[Case]:
    """Digits, tables, batches and data sets."""
    bad_images = {
        "a list": IMAGES.tolist(),
        "an array": IMAGES.numpy(),
        "None": None,
        "float": X.view(B, 28, 28),
        "int64": IMAGES.long(),
        "flat": IMAGES.flatten(1),
        "no images": IMAGES[:0],
        "no pixels": IMAGES[:, :0],
        "colour": IMAGES[:, None],
    }
    for about, images in bad_images.items():
        labels = Y[: len(images)] if about == "no images" else Y
        call = partial(Digits, images, labels, "made up", "train")
        yield f"Digits: images {about}", call, "images:"
    for about, labels in NOT_LABELS.items():
        call = partial(Digits, IMAGES, labels, "made up", "train")
        yield f"Digits: labels {about}", call, "labels:"
    for about in ("a list", "an array", "float64", "int64", "rank 1"):
        told = not_rows(X)[about]
        call = partial(Digits, IMAGES, Y, "made up", "train", told)
        yield f"Digits: conditions {about}", call, "conditions:"
        yield (
            f"Table: conditions {about}",
            partial(Table, X, told),
            ("conditions:"),
        )
    for about, values in not_rows(X).items():
        if not about.startswith("too"):  # a table has any width
            yield f"Table: {about}", partial(Table, values), "values:"
    yield "Table: no rows", partial(Table, X[:0]), "values:"
    yield "Digits: no rows left", lambda: DIGITS[Y > 9], "images:"
    yield "Digits: one row", lambda: len(DIGITS[:1]), lambda n: n == 1
    for value in NOT_WHOLE:
        call = partial(DIGITS.binarized, value)
        yield f"Digits.binarized: {value!r:.20}", call, "seed:"

    def first(*given, **options):
        return next(batches(*given, **options))

    for name, values in {
        "size": NOT_COUNTS,
        "seed": NOT_WHOLE,
        "epoch": NOT_WHOLE,
        "withhold": (2, *NOT_POSITIVE),
        "device": ("gpu", "cuda:99", "", None, 5),
    }.items():
        for value in values:
            options = {"digits": DIGITS, "size": 2, name: value}
            call = partial(first, **options)
            yield f"batches: {name} {value!r:.20}", call, f"{name}:"
    for value in (None, X, [DIGITS], "mnist"):
        about = type(value).__name__
        yield f"batches: {about}", partial(first, value, 2), "digits:"
    yield "batches: values above 1", partial(first, TABLE, 2), "values:"
    larger = partial(first, DIGITS, 10_000)
    yield "batches: larger than the data", larger, shaped(B, 784)
    for name, values in {
        "name": ("mnits", "", None, 5, "MNIST", ["mnist"], LONG, b"mnist"),
        "split": ("valid", "", None, 0, ["train"], LONG),
        "root": NOT_PATHS[1:],
    }.items():
        for value in values:
            call = partial(load_digits, **{"name": "builtin", name: value})
            yield f"load_digits: {name} {value!r:.20}", call, f"{name}:"


def of_latent() -> Iterator[Case]:
    """Images from codes."""
    vae, cvae, ae = (kind(**SIZES) for kind in (VAE, CVAE, Autoencoder))
    wide, table = VAE(3, (8,)), VAE(**SIZES, n_pixels=8)
    told = CVAE(**SIZES, conditions=(10, 1))
    for value in NOT_COUNTS:
        about = f"n {value!r:.20}"
        for call in (
            partial(sample_digits, vae, value),
            partial(same_style, cvae, value),
            partial(quantile_grid, value),
            partial(latent_grid, vae, value),
        ):
            yield f"{call.func.__name__}: {about}", call, "n:"
    for value in NOT_WHOLE:
        for call in (
            partial(sample_digits, vae, 2, seed=value),
            partial(same_style, cvae, 2, value),
            partial(evaluate, vae, DIGITS, value),
            partial(log_likelihood, vae, DIGITS, 2, value),
        ):
            yield f"{call.func.__name__}: seed {value!r:.20}", call, "seed:"
    for value in (None, -1, 10, 2.5, NAN, True, "5", [5], HUGE, Y[:3]):
        about = f"y {value!r:.20}"
        yield (
            f"sample_digits: {about}",
            partial(sample_digits, cvae, 2, value),
            "y:",
        )
        yield (
            f"latent_grid: {about}",
            partial(latent_grid, cvae, 2, value),
            ("y:"),
        )
    for value in ((5,), (5, 1, 1), (10, 0), (2.5, 0), (5, INF), ("5", 0), 5):
        call = partial(sample_digits, told, 2, value)
        yield f"sample_digits: conditions {value!r}", call, "y:"
    yield (
        "sample_digits: a VAE has no y",
        partial(sample_digits, vae, 2, 5),
        "y:",
    )
    all_ = {
        draw: (Z,),
        reconstruct: (DIGITS,),
        sample_digits: (2,),
        latent_grid: (2,),
        same_style: (2,),
        codes: (DIGITS,),
        evaluate: (DIGITS,),
        log_likelihood: (DIGITS,),
    }
    for function, more in all_.items():
        for value in (None, VAE, "vae.pt", torch.nn.Linear(2, 2)):
            call = partial(function, value, *more)
            about = type(value).__name__
            yield f"{function.__name__}: model {about}", call, "model:"
    for function in (reconstruct, codes, evaluate, log_likelihood):
        for value in (None, X, IMAGES, [DIGITS], "mnist"):
            call = partial(function, vae, value)
            about = type(value).__name__
            yield f"{function.__name__}: digits {about}", call, "digits:"
        call = partial(function, vae, TABLE)
        yield f"{function.__name__}: other size", call, ("x:", "values:")
        call = partial(function, cvae, Table(X))
        yield f"{function.__name__}: no labels", call, "y:"
    for function in (reconstruct, codes, evaluate):
        for value in (0, -1, 2.5, None):
            call = partial(function, vae, DIGITS, batch_size=value)
            yield (
                f"{function.__name__}: batch_size {value}",
                call,
                (("size:", "batch_size:")),
            )
    for value in NOT_COUNTS:
        call = partial(log_likelihood, vae, DIGITS, value)
        yield f"log_likelihood: {value!r:.20}", call, "n_samples:"
    for about, z in not_rows(Z).items():
        yield f"draw: {about}", partial(draw, vae, z), "z:"
    for about, y in NOT_LABELS.items():
        yield f"draw: y {about}", partial(draw, cvae, Z, y), "y:"
    for call in (
        partial(sample_digits, ae, 2),
        partial(log_likelihood, ae, DIGITS),
        partial(same_style, vae, 2),
        partial(same_style, told, 2),
        partial(latent_grid, wide),
        partial(draw, table, Z),
    ):
        about = f"{call.func.__name__}: a model that cannot"
        yield about, call, "model:"
    yield (
        "sample_digits: one",
        partial(sample_digits, vae, 1),
        (shaped(1, 28, 28)),
    )
    yield "draw: no codes", partial(draw, vae, Z[:0]), shaped(0, 28, 28)
    yield "codes: one row", partial(codes, ae, DIGITS[:1]), shaped(1, 2)


def of_the_rest() -> Iterator[Case]:
    """What chapters import from `latent` and `evaluate` by its full name."""
    vae, cvae, ae = (kind(**SIZES) for kind in (VAE, CVAE, Autoencoder))
    for value in NOT_COUNTS:
        for call in (
            partial(latent.fit_codes, Z, n_components=value),
            partial(
                scores.log_importance_weights, vae, X, None, n_samples=value
            ),
            partial(scores.optimise_q, vae, X, n_samples=value),
            partial(scores.optimise_q, vae, X, steps=value),
            partial(scores.split_kl, vae, DIGITS, n_samples=value),
            partial(scores.log_evidence, vae, X, n=value),
        ):
            (name,) = call.keywords
            about = f"{call.func.__name__}: {name} {value!r:.20}"
            yield about, call, f"{name}:"
    for value in NOT_WHOLE:
        for call in (
            partial(latent.fit_codes, Z, seed=value),
            partial(scores.optimise_q, vae, X, seed=value),
            partial(scores.split_kl, vae, DIGITS, seed=value),
        ):
            yield f"{call.func.__name__}: seed {value!r:.20}", call, "seed:"
    for value in NOT_POSITIVE:
        for call in (
            partial(scores.optimise_q, vae, X, lr=value),
            partial(scores.active_units, vae, DIGITS, threshold=value),
            partial(scores.log_evidence, vae, X, limit=value),
        ):
            (name,) = call.keywords
            about = f"{call.func.__name__}: {name} {value!r:.20}"
            yield about, call, f"{name}:"
    for value in (None, X, [DIGITS], "mnist", TABLE):
        about = f"digits {type(value).__name__}"
        yield (
            f"transfer: {about}",
            partial(latent.transfer, cvae, value),
            ("digits:"),
        )
        if value is not TABLE:
            for function in (
                scores.posteriors,
                scores.kl_per_dimension,
                scores.active_units,
                scores.split_kl,
            ):
                call = partial(function, vae, value)
                yield f"{function.__name__}: {about}", call, "digits:"
    for value in (None, VAE, ae, torch.nn.Linear(2, 2)):
        for function, given in (
            (latent.transfer, DIGITS),
            (scores.posteriors, DIGITS),
            (scores.split_kl, DIGITS),
            (scores.log_evidence, X),
            (scores.optimise_q, X),
        ):
            about = f"{function.__name__}: model {type(value).__name__}"
            yield about, partial(function, value, given), "model:"
    for about, x in (not_rows(X) | NOT_PIXELS).items():
        call = partial(scores.log_evidence, vae, x, n=3)
        yield f"log_evidence: {about}", call, "x:"
    for about, z in not_rows(Z).items():
        if about not in ("too narrow", "too wide", "float64"):
            yield f"fit_codes: {about}", partial(latent.fit_codes, z), "z:"
    yield "fit_codes: one code", partial(latent.fit_codes, Z[:1]), "z:"


def of_objective() -> Iterator[Case]:
    """Formulas check nothing: what goes in is seen in what comes out."""
    for name in ("error", "pixels", "latents"):
        for value in ("mean of all", None, 1, [], LONG):
            call = partial(objective.effective_beta, **{name: value})
            yield f"effective_beta: {name} {value!r:.20}", call, f"{name}:"
    for name, values in {
        "weight": (0, None, *NOT_POSITIVE),
        "sigma": (0, *NOT_POSITIVE),
        "n_pixels": NOT_COUNTS,
        "n_latent": NOT_COUNTS,
    }.items():
        for value in values:
            call = partial(
                objective.effective_beta, **{"error": "squared", name: value}
            )
            yield f"effective_beta: {name} {value!r:.20}", call, f"{name}:"
    two = torch.zeros(2, 784)
    one_nan = two.clone()
    one_nan[0, 3] = NAN

    def own_row(nats) -> bool:
        return bool(nats[0].isnan() and nats[1].isfinite())

    like = objective.bernoulli_log_likelihood
    for about, call, check in (
        ("a NaN stays in its row", partial(like, one_nan, two), own_row),
        ("no rows", partial(like, two[:0], two[:0]), shaped(0)),
        ("huge logits", partial(like, two, two + 1e30), shaped(2)),
        ("int64 pixels", partial(like, two.long(), two), shaped(2)),
        ("samples", partial(like, two, torch.zeros(5, 2, 784)), shaped(5, 2)),
        ("not contiguous", partial(like, two.T.clone().T, two), shaped(2)),
        ("KL", partial(objective.gaussian_kl, one_nan, two), own_row),
        ("error", partial(objective.squared_error, one_nan, two), own_row),
    ):
        yield f"objective: {about}", call, check


def of_files(folder: Path) -> Iterator[Case]:
    """Checkpoints: paths that are none, and files that are none."""
    for value in NOT_PATHS:
        for call in (
            partial(checkpoint.save, value, {}),
            partial(checkpoint.load, value),
            partial(load_model, value),
        ):
            yield f"{call.func.__name__}: {value!r}", call, "path:"
    for path in (folder, folder / "file", folder / "empty"):
        for call in (
            partial(checkpoint.load, path),
            partial(load_model, path),
        ):
            yield f"{call.func.__name__}: {path.name}", call, str(path)
    for path in (folder / "no.pt", folder / "file" / "a.pt"):
        for call in (
            partial(checkpoint.load, path),
            partial(load_model, path),
        ):
            yield f"{call.func.__name__}: {path.name}", call, str(path)
    for path in (folder, folder / "file" / "a.pt"):
        call = partial(checkpoint.save, path, {"a": 1})
        yield f"save: {path.name}", call, str(path)
    for value in (None, 5, [1], X, "state"):
        call = partial(checkpoint.save, folder / "new.pt", value)
        yield f"save: state {type(value).__name__}", call, "state:"
    for device in ("gpu", "cuda:99", "", None, 5):
        call = partial(load_model, folder / "vae.pt", device)
        yield f"load_model: device {device!r}", call, "device:"


TRAIN = "train --data builtin --epochs 1 --device cpu --n-latent 2 --hidden 8"
COMMANDS = {
    "train": {
        "--model": "gan 5 VAE",
        "--data": "nowhere MNIST 5",
        "--n-latent": "0 -1 2.5 nan two 9999999999999999999",
        "--hidden": "0 -8 2.5 x",
        "--likelihood": "poisson 1",
        "--sigma": "0.1 0 -1 nan x",
        "--beta": "-1 nan inf x",
        "--epochs": "0 -1 2.5 nan ten",
        "--batch-size": "0 -1 2.5 x",
        "--lr": "0 -1 nan inf x",
        "--warmup": "0 -1 2.5",
        "--kl-warmup": "-1 2.5",
        "--seed": "-1 1.5 x 9999999999999999999",
        "--device": "gpu cuda:99 meta cpu:x",
        "--precision": "float16 32 x",
        "--compile": "maybe 1",
        "--decay": "-1 nan inf x",
        "--checkpoint": "= FOLDER FOLDER/file FOLDER/file/a.pt",
        "--epoch": "1",
        "--nonsense": "1",
    },
    "evaluate": {
        "--checkpoint": "= FOLDER FOLDER/file FOLDER/empty FOLDER/no.pt",
        "--data": "nowhere",
        "--samples": "0 -1 2.5 x",
        "--device": "gpu cuda:99",
    },
    "sample": {
        "--checkpoint": "= FOLDER FOLDER/file FOLDER/no.pt",
        "--digit": "-1 10 2.5 x 9999999999999999999",
        "--n": "0 -1 2.5 x 9999999999999999999",
        "--seed": "-1 1.5 x 9999999999999999999",
        "--out": "= FOLDER FOLDER/a.gif FOLDER/no/a.png a FOLDER/file/a.npy",
    },
}
REST = {
    "train": f"{TRAIN} --model vae --checkpoint FOLDER/new.pt",
    "evaluate": "evaluate --data builtin --samples 1 --checkpoint FOLDER/c.pt",
    "sample": "sample --checkpoint FOLDER/c.pt --out FOLDER/new.npy",
}


class RefusedError(Exception):
    """What the command line has printed, and its exit status."""


def command(words: list[str]) -> None:
    """Run it; what it prints on a refusal is raised."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(words)
        except SystemExit as stop:  # argparse has found it
            status = stop.code
    if status:
        raise RefusedError(status, out.getvalue(), err.getvalue())


def of_commands(folder: Path) -> Iterator[Case]:
    """Every option of the command line."""
    for name, options in COMMANDS.items():
        base = REST[name].replace("FOLDER", str(folder)).split()
        for option, values in options.items():
            for value in values.split():
                value = value.replace("FOLDER", str(folder)).lstrip("=")
                words = [*base, f"{option}={value}"]
                about = f"{name} {option}={value}"
                if value.startswith(str(folder)) and option != "--out":
                    option = value  # the file is what is named
                yield about, partial(command, words), option
    for words in ("", "paint", "train", "evaluate", "sample", "--data"):
        yield f"minivae {words}", partial(command, words.split()), ""


# --- the judgement -----------------------------------------------------------


def unclear(error: Exception, start: str | tuple[str, ...]) -> str:
    """Why this is no clear error; empty if it is one."""
    if isinstance(error, RefusedError):
        return _unclear_line(*error.args, start)
    text, trace = str(error), error.__traceback__
    while trace.tb_next:
        trace = trace.tb_next
    where = Path(trace.tb_frame.f_code.co_filename)
    if not isinstance(error, OURS) or "minivae" not in where.parts[-2:]:
        return f"{type(error).__name__} from {where.name}: {text[:200]}"
    if not text.startswith(start):
        return f"does not start with {start}: {text}"
    if len(text) > 400 or "\n" in text:
        return f"too long: {len(text)} characters: {text[:100]}"
    if not re.search(rf"[;.,] (or )?({VERBS})\b", text, re.IGNORECASE):
        return f"says no way out: {text}"
    return ""


def _unclear_line(status: int, out: str, err: str, option: str) -> str:
    lines = err.splitlines()
    errors = [line for line in lines if "error: " in line]
    if status != 2 or out or len(errors) != 1 or lines[-1] != errors[0]:
        return f"exit status {status}, printed {out!r} {err!r}"
    named = {option, option.removeprefix("--").replace("-", "_")}
    named |= {"n_samples"} if option == "--samples" else set()
    named |= {"y:"} if option == "--digit" else set()
    named |= {"checkpoint"} if option == "--checkpoint" else set()
    if not any(name in errors[0] for name in named):
        return f"does not name {option}: {errors[0]}"
    return "" if len(errors[0]) <= 420 else f"too long: {errors[0]}"


def _state(folder: Path) -> tuple:
    """What a refusal must leave as it is."""
    files = {
        file: file.read_bytes() for file in folder.rglob("*") if file.is_file()
    }
    return files, set(folder.rglob("*")), torch.get_rng_state().tolist()


def judge(case: Case, folder: Path) -> str:
    """What is wrong with what came of a case; empty if nothing is."""
    about, call, expect = case
    refusal = not callable(expect)
    before = _state(folder)
    models = [
        a
        for a in (*getattr(call, "args", ()),)
        if isinstance(a, torch.nn.Module)
    ]
    weights = [p.detach().clone() for m in models for p in m.parameters()]
    try:
        found = call()
    except Exception as error:
        if not refusal:
            return f"{about}: {type(error).__name__}: {str(error)[:300]}"
        fault = unclear(error, expect)
    else:
        if refusal:
            return f"{about}: accepted, gave {str(found)[:100]}"
        fault = "" if expect(found) else f"gave {str(found)[:100]}"
    now = [p.detach() for m in models for p in m.parameters()]
    if refusal and not all(torch.equal(a, b) for a, b in zip(weights, now)):
        fault = fault or "the weights have changed"
    if refusal and _state(folder) != before:
        fault = fault or "a file or the random numbers have changed"
    return f"{about}: {fault}" if fault else ""


@contextlib.contextmanager
def _sandbox() -> Iterator[Path]:
    """A folder to work in, with a few files, and a cache folder in it."""
    here, cache = Path.cwd(), os.environ.get("MINIVAE_CACHE")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        folder.joinpath("file").write_text("no checkpoint")
        folder.joinpath("empty").touch()
        for file, model in (("vae.pt", VAE(**SIZES)), ("c.pt", CVAE(**SIZES))):
            state = {
                "model": checkpoint.describe(model),
                "weights": model.state_dict(),
            }
            checkpoint.save(folder / file, state)
        os.environ["MINIVAE_CACHE"] = name
        os.chdir(folder)
        try:
            yield folder
        finally:
            os.chdir(here)
            os.environ.pop("MINIVAE_CACHE")
            if cache is not None:
                os.environ["MINIVAE_CACHE"] = cache


def inputs() -> tuple[int, list[str]]:
    """Try all of them; returns how many, and those that are unclear."""
    with _sandbox() as folder:
        cases = [
            *of_models(),
            *of_options(),
            *of_training(folder),
            *of_data(),
            *of_latent(),
            *of_the_rest(),
            *of_objective(),
            *of_files(folder),
            *of_commands(folder),
        ]
        found = [judge(case, folder) for case in cases]
    return len(cases), [one for one in found if one]
