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

import numpy as np
import torch
from torch import nn

import minivae
from minivae import (
    CVAE,
    VAE,
    Autoencoder,
    Classifier,
    History,
    Images,
    Table,
    TrainConfig,
    batches,
    checkpoint,
    codes,
    evaluate,
    fit,
    fit_once,
    latent,
    latent_grid,
    likelihoods,
    load_digits,
    load_model,
    log_likelihood,
    networks,
    objective,
    pictures,
    quantile_grid,
    reconstruct,
    same_style,
    sample,
)
from minivae.__main__ import main
from minivae.engine.run import describe
from minivae.explorer import explorer, sliders
from minivae.priors import StandardNormal

PACKAGE = Path(minivae.__file__).parent
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
    "build|call|check|choose|convert|correct|delete|divide|do not|find|give|"
    "leave|let|lower|make|pass|put|remove|renumber|restore|scale|score|set|"
    "stack|train|upgrade|use|wrap"
)
Case = tuple[str, Callable, str | Callable]

SIZES = {"n_latent": 2, "hidden": (8,)}
B = 6
X = torch.rand(B, 784, generator=torch.Generator().manual_seed(0))
Y = torch.tensor([0, 9, 5, 5, 3, 1])
Z = torch.linspace(-2, 2, 2 * B).view(B, 2)
IMAGES = (255 * X).to(torch.uint8).view(B, 28, 28)
COLOURS = torch.stack([IMAGES] * 3, 1)
DIGITS = Images(IMAGES, Y, "made up", "train")
TABLE = Table(X[:, :4] * 3, source="made up")

# --- values that are wrong for an argument -----------------------------------

NOT_WHOLE = (
    *(-1, 2.5, NAN, None, "5", True, [5], HUGE),
    *(np.bool_(True), np.float64(5), np.array([5]), np.int64(-1)),
    *(torch.tensor([5]), torch.tensor(5.0), torch.tensor(True)),
)
NOT_COUNTS = (0, *NOT_WHOLE)
NOT_POSITIVE = (
    *(-1, NAN, INF, "1", True, [1.0], HUGE),
    *(np.array([0.5]), np.float32(NAN), np.bool_(True)),
    *(torch.tensor(-0.5), torch.ones(1)),
)
NOT_SIZES = (8, "8", {8}, (0,), (-1,), (2.5,), (True,), ("8",), (None,))
NOT_NETWORKS = (5, "mlp", nn.Linear, [nn.Linear(2, 2)], torch.relu)
NOT_PATHS = (None, "", 5, b"a.pt", "a\0b", ["a.pt"])


def wholes(n: int) -> tuple:
    """The same whole number as others write it."""
    return np.int64(n), np.uint8(n), np.array(n), torch.tensor(n)


def numbers(value: float) -> tuple:
    """The same number as others write it."""
    return np.float64(value), np.array(value), torch.tensor(value).double()


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
        "bool": good > 0.5,
        "complex": good.to(torch.complex64),
        "NaN": torch.full_like(good, NAN),
        "one NaN": torch.where(torch.arange(good.shape[1]) == 1, NAN, good),
        "infinity": good / 0,
    }


NOT_PIXELS = {
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
    "nothing": Y[:0],
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


def equal_models(wanted: nn.Module) -> Callable:
    """A check: built with the same options and weights, to the last bit."""

    def check(found: nn.Module) -> bool:
        ours, theirs = found.state_dict(), wanted.state_dict()
        return (
            repr(found.options) == repr(wanted.options)
            and ours.keys() == theirs.keys()
            and all(torch.equal(ours[k], theirs[k]) for k in ours)
        )

    return check


def loss(model: nn.Module, *given, **options) -> torch.Tensor:
    """What training lowers, one value for each row."""
    return model(*given, **options)["loss"]


def of_models() -> Iterator[Case]:
    """Every method of the three models, and of what reads digits."""
    y = {"y": Y}
    for kind in (Autoencoder, VAE, CVAE):
        model, name = kind(**SIZES), kind.__name__
        told = y if kind is CVAE else {}
        for about, x in not_rows(X).items():
            if about in ("uint8", "NaN"):
                call = partial(model.encode, x, **told)
            elif about in ("a list", "one NaN"):
                call = partial(model.encode_mean, x, **told)
            else:
                call = partial(model, x, **told)
            yield f"{name}: x {about}", call, "x:"
        for about, x in NOT_PIXELS.items():
            # an autoencoder squeezes values of any size
            expect = shaped(B) if kind is Autoencoder else "x:"
            yield f"{name}: x {about}", partial(loss, model, x, **told), expect
        for about, z in not_rows(Z).items():
            method = "decode" if about in ("uint8", "NaN") else "decode_mean"
            call = partial(getattr(model, method), z, **told)
            yield f"{name}.{method}: {about}", call, "z:"
        some = {"y": Y[:1]} if told else {}
        none = {"y": Y[:0]} if told else {}
        code = partial(model.encode_mean, X[:1], **some)
        yield f"{name}: one row", code, shaped(1, 2)
        yield (
            f"{name}: no rows",
            partial(model.encode_mean, X[:0], **none),
            shaped(0, 2),
        )
        wanted = model.encode_mean(X, **told).detach()
        for about, x in (
            ("with channels", X.view(B, 1, 28, 28)),
            ("without channels", X.view(B, 28, 28)),
        ):
            call = partial(model.encode_mean, x, **told)
            yield f"{name}: {about}", call, equal(wanted)
        turned = X.T.contiguous().T
        yield (
            f"{name}: not contiguous",
            partial(model.encode_mean, turned, **told),
            lambda z, wanted=wanted: torch.allclose(z, wanted, atol=1e-6),
        )
        several = Z.view(2, 3, 2)
        some = {"y": Y[:3]} if told else {}
        call = partial(model.decode_mean, several, **some)
        yield f"{name}: samples of codes", call, shaped(2, 3, 1, 28, 28)
        binary = partial(loss, model, X.round(), **told)
        yield f"{name}: binary pixels", binary, shaped(B)
    cvae = CVAE(**SIZES)
    for about, y in NOT_LABELS.items():
        yield f"CVAE: y {about}", partial(cvae, X, y), "y:"
        yield f"CVAE.encode: y {about}", partial(cvae.encode, X, y), "y:"
        call = partial(cvae.decode_mean, Z, y)
        yield f"CVAE.decode_mean: y {about}", call, "y:"
        call = partial(cvae.sample, B, y, torch.Generator())
        yield f"CVAE.sample: y {about}", call, "y:"
    several = CVAE(**SIZES, conditions=(10, 1))
    fine = torch.stack([Y.float(), torch.full((B,), NAN)], 1)
    call = partial(loss, several, X, fine)
    yield "CVAE: conditions, one withheld", call, shaped(B)
    for about, y in {
        "None": None,
        "a list": fine.tolist(),
        "an array": fine.numpy(),
        "labels": Y,
        "int64": Y[:, None].expand(B, 2),
        "too few": fine[1:],
        "one column": fine[:, :1],
        "infinity": fine / 0,
        "a class of 10": fine + 1,
        "a class of 2.5": fine + 0.5,
        "a class of -1": fine - 1,
    }.items():
        yield f"CVAE: conditions {about}", partial(several, X, y), "y:"
    vae = VAE(**SIZES)
    call = partial(vae.encode_mean, X, "y")
    yield "VAE: y is ignored", call, shaped(B, 2)
    for value in NOT_COUNTS:
        yield f"VAE.sample: {value!r:.20}", partial(vae.sample, value), "n:"
    for value in wholes(3):
        call = partial(vae.sample, value, None, torch.Generator())
        yield f"VAE.sample: {value!r}", call, shaped(3, 1, 28, 28)
    grey = VAE(**SIZES, likelihood="gaussian")
    yield "Gaussian: -1 to 1", partial(loss, grey, 2 * X - 1), shaped(B)
    yield "Gaussian: -1 to 9", partial(loss, grey, 10 * X - 1), shaped(B)
    for name in ("continuous_bernoulli", "discretized_logistic"):
        model = VAE(**SIZES, likelihood=name)
        yield f"{name}: 0 to 1", partial(loss, model, X), shaped(B)
        for about, x in NOT_PIXELS.items():
            yield f"{name}: {about}", partial(model, x), "x:"
    for shape in ((784,), (2, 14, 28)):
        model = VAE(**SIZES, shape=shape)
        yield f"{shape}: flat rows", partial(loss, model, X), shaped(B)
        x = X.view(B, 28, 28)
        yield f"{shape}: grey pictures", partial(model, x), "x:"
    flat = VAE(**SIZES, shape=(784,))
    x = X.view(B, 1, 28, 28)
    yield "(784,): pictures", partial(loss, flat, x), shaped(B)
    wrong = nn.Sequential(nn.Flatten(), nn.Linear(784, 5))
    own = VAE(2, encoder=wrong)
    yield "own encoder: other size", partial(own, X), "encoder:"
    own = VAE(2, decoder=nn.Linear(2, 5))
    call = partial(own, X, None, torch.Generator())
    yield "own decoder: other size", call, "decoder:"
    reader = Classifier()
    for about in ("uint8", "NaN", "too narrow", "a list", "None"):
        x = not_rows(X)[about]
        yield f"Classifier: {about}", partial(reader.encode, x), "x:"
    for about, x in NOT_PIXELS.items():
        yield f"Classifier: {about}", partial(reader.encode, x), "x:"
    for about, y in NOT_LABELS.items():
        yield f"Classifier: y {about}", partial(reader, X, y), "y:"
    for about, images in (
        ("uint8", IMAGES),
        ("a list", IMAGES.tolist()),
        ("None", None),
        ("0 to 255", IMAGES.float()),
        ("wrong size", torch.zeros(2, 27, 27)),
    ):
        call = partial(reader.read, images)
        yield f"Classifier.read: {about}", call, "images:"
    for value in (None, X, IMAGES, TABLE):
        call = partial(reader.accuracy, value)
        yield f"Classifier.accuracy: {value!s:.12}", call, "digits:"
    call = partial(reader.accuracy, Images(IMAGES))
    yield "Classifier.accuracy: no labels", call, "digits:"


def of_options() -> Iterator[Case]:
    """What the models and a run are built with."""
    bad = {
        "n_latent": NOT_COUNTS,
        "shape": (None, (), (7.5,), *NOT_SIZES),
        "seed": NOT_WHOLE,
        "hidden": NOT_SIZES,
        "network": ("cnn", "", None, 5, ["mlp"], networks.mlp, LONG),
        "encoder": NOT_NETWORKS,
        "decoder": NOT_NETWORKS,
    }
    for name, values in bad.items():
        for value in values:
            yield (
                f"Autoencoder: {name} {value!r:.20}",
                partial(Autoencoder, **SIZES | {name: value}),
                f"{name}:",
            )
    for name, same in {
        "n_latent": wholes(2),
        "seed": wholes(0),
        "hidden": ([8], np.array([8]), (np.int64(8),), (torch.tensor(8),)),
        "shape": (
            [1, 28, 28],
            np.array((1, 28, 28)),
            torch.Size((1, 28, 28)),
        ),
    }.items():
        fine = equal_models(VAE(**SIZES))
        for value in same:
            call = partial(VAE, **SIZES | {name: value})
            yield f"VAE: {name} {value!r:.20}", call, fine
    for name, value in (
        ("shape", (784,)),
        ("shape", (1, 27, 28)),
        ("shape", (1, 28, 30)),
        ("hidden", (8,)),
        ("hidden", ()),
    ):
        call = partial(VAE, **{"n_latent": 2, "network": "conv", name: value})
        yield f"conv: {name} {value}", call, f"{name}:"
    bad = {
        "beta": NOT_POSITIVE,
        "sigma": (0, *NOT_POSITIVE, "all", ""),
        "likelihood": (
            *("poisson", None, 1, "", "Gaussian", LONG, ["gaussian"]),
            *(likelihoods.Gaussian, StandardNormal(), nn.Linear(2, 2)),
        ),
        "prior": (
            *("flat", None, 1, "", LONG, ["standard"]),
            *(StandardNormal, likelihoods.Gaussian(), torch.randn),
        ),
        "n_samples": NOT_COUNTS,
        "free_bits": NOT_POSITIVE,
    }
    for name, values in bad.items():
        for value in values:
            options = {"likelihood": "gaussian"} | SIZES | {name: value}
            call = partial(VAE, **options)
            yield f"VAE: {name} {value!r:.20}", call, f"{name}:"
    for value in numbers(0.5):
        grey = SIZES | {"likelihood": "gaussian"}
        for name in ("beta", "sigma"):
            fine = equal_models(VAE(**grey, **{name: 0.5}))
            call = partial(VAE, **grey, **{name: value})
            yield f"VAE: {name} {value!r}", call, fine
    for kind in ("bernoulli", "categorical", likelihoods.Gaussian()):
        for sigma in (0.1, "each"):
            call = partial(VAE, **SIZES, likelihood=kind, sigma=sigma)
            yield f"VAE: sigma {sigma} of {kind!s:.20}", call, "sigma:"
    for value in (0, *NOT_POSITIVE):
        call = partial(likelihoods.Gaussian, value)
        yield f"Gaussian: sigma {value!r:.20}", call, "sigma:"
    call = partial(likelihoods.Gaussian, 0.1, (7,))
    yield "Gaussian: sigma and shape", call, "sigma:"
    for kind in (likelihoods.DiscretizedLogistic, likelihoods.Categorical):
        for value in (1, *NOT_COUNTS):
            about = f"{kind.__name__}: n_levels {value!r:.20}"
            yield about, partial(kind, value), "n_levels:"
    for value in ("poisson", None, 1, LONG, likelihoods.Bernoulli):
        call = partial(likelihoods.make_likelihood, value, (4,))
        yield f"make_likelihood: {value!r:.20}", call, "likelihood:"
    bad = {
        "n_classes": NOT_COUNTS,
        "conditions": (None, *NOT_SIZES),
        "condition_dropout": (2, *NOT_POSITIVE),
    }
    for name, values in bad.items():
        for value in values:
            options = {"conditions": (10, 1)} | SIZES | {name: value}
            call = partial(CVAE, **options)
            yield f"CVAE: {name} {value!r:.20}", call, f"{name}:"
    call = partial(CVAE, **SIZES, condition_dropout=0.5)
    yield "CVAE: a label withheld", call, "condition_dropout:"
    for value in wholes(5):
        call = partial(CVAE, **SIZES, n_classes=value)
        fine = equal_models(CVAE(**SIZES, n_classes=5))
        yield f"CVAE: n_classes {value!r}", call, fine
    bad = {"seed": NOT_WHOLE, "n_classes": NOT_COUNTS, "shape": NOT_SIZES}
    bad["shape"] += (None, (), (784,), (28, 28))
    for name, values in bad.items():
        for value in values:
            call = partial(Classifier, **{name: value})
            yield f"Classifier: {name} {value!r:.20}", call, f"{name}:"
    none = VAE(n_latent=1, hidden=())
    yield "VAE: no hidden layers", partial(loss, none, X), shaped(B)
    yield "VAE: beta 0", lambda: loss(VAE(**SIZES, beta=0), X), shaped(B)
    bad = {
        "epochs": NOT_COUNTS,
        "batch_size": tuple(v for v in NOT_COUNTS if v is not None),
        "lr": (0, *NOT_POSITIVE),
        "warmup": NOT_COUNTS,
        "kl_warmup": NOT_WHOLE,
        "kl_cycles": NOT_COUNTS,
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
    for name, plain, same in (
        ("epochs", 3, wholes(3)),
        ("batch_size", 5, wholes(5)),
        ("seed", 0, wholes(0)),
        ("lr", 0.5, numbers(0.5)),
        ("decay", 0.5, numbers(0.5)),
    ):
        for value in same:
            call = partial(TrainConfig, **{name: value})
            yield (
                f"TrainConfig: {name} {value!r}",
                call,
                lambda found, name=name, plain=plain: (
                    repr(found) == repr(TrainConfig(**{name: plain}))
                ),
            )


ONE = TrainConfig(epochs=1, device="cpu")


class Own(nn.Module):
    """A model of one's own, whose forward returns what it is given."""

    def __init__(self, found: object = None) -> None:
        super().__init__()
        self.weight, self.found = nn.Parameter(torch.ones(())), found

    def forward(self, x, y=None, noise=None):
        nats = self.weight * x.flatten(1).sum(1)
        return self.found(nats) if callable(self.found) else self.found


class Short(Own):
    """One that does not take what it is called with."""

    def forward(self, x):
        return {"loss": self.weight * x.flatten(1).sum(1)}


def of_training(folder: Path) -> Iterator[Case]:
    """fit and fit_once."""
    model = VAE(**SIZES)
    frozen = VAE(**SIZES).requires_grad_(False)
    for name, values in {
        "model": (
            *(None, VAE, "vae", X, Short(), nn.ReLU(), frozen),
            VAE(**SIZES).double(),
        ),
        "data": (None, X, IMAGES, [X], (IMAGES, Y), "mnist"),
        "config": (5, {"epochs": 1}, TrainConfig, "fast"),
    }.items():
        for value in values:
            words = {"model": model, "data": DIGITS, "config": ONE}
            words |= {name: value}
            about = f"{name} {type(value).__name__}"
            yield f"fit: {about}", partial(fit, **words), f"{name}:"
            yield f"fit_once: {about}", partial(fit_once, **words), f"{name}:"
    quiet = partial(fit, data=DIGITS, config=ONE, progress=False)
    for about, found in {
        "None": None,
        "a number": lambda nats: nats.mean(),
        "one for each row": lambda nats: nats,
        "no loss": lambda nats: {"error": nats},
        "a mean": lambda nats: {"loss": nats.mean()},
        "a list": lambda nats: {"loss": nats.tolist()},
        "another length": lambda nats: {"loss": nats[1:]},
    }.items():
        call = partial(quiet, Own(found))
        yield f"fit: terms are {about}", call, "model:"
    for value in (5, "print", [print]):
        call = partial(quiet, model, on_epoch=value)
        yield f"fit: on_epoch {value!r}", call, "on_epoch:"
    for value in NOT_PATHS[1:]:
        call = partial(fit, model, DIGITS, ONE, checkpoint=value)
        yield f"fit: checkpoint {value!r}", call, "checkpoint:"
    file = folder / "file"
    for path in (folder, file, file / "a.pt"):
        call = partial(fit, model, DIGITS, ONE, checkpoint=path)
        yield f"fit: checkpoint {path.name}", call, str(path)
    narrow = Images(IMAGES[:, 1:], Y, "made up", "train")
    run = partial(fit, config=ONE, progress=False)
    yield "fit: other size", partial(run, model, narrow), "data:"
    yield "fit: colours", partial(run, model, Images(COLOURS)), "data:"
    yield "fit: a table", partial(run, model, TABLE), "data:"
    rows = X.view(B, 1, 28, 28)
    low = Table(2 * rows - 1)
    yield "fit: -1 to 1", partial(run, model, low), "values:"
    few = CVAE(**SIZES, n_classes=5)
    yield "fit: too few classes", partial(run, few, DIGITS), "y:"
    for data in (Table(rows), Images(IMAGES)):
        call = partial(run, CVAE(**SIZES), data)
        yield f"fit: no labels in {type(data).__name__}", call, "y:"
    yield "fit: flat rows", partial(run, model, Table(X)), "data:"
    several = CVAE(**SIZES, conditions=(10, 1))
    yield "fit: no conditions", partial(run, several, DIGITS), "y:"

    def one_epoch(history) -> bool:
        return isinstance(history, History) and len(history.loss) == 1

    big = replace(ONE, batch_size=10_000)
    fresh = partial(VAE, **SIZES)
    yield "fit: one row", lambda: run(fresh(), DIGITS[:1]), one_epoch
    yield (
        "fit: a flat model",
        lambda: run(fresh(shape=(784,)), DIGITS),
        one_epoch,
    )
    own = partial(Own, lambda nats: {"loss": nats, "other": nats})
    yield "fit: a model of one's own", lambda: run(own(), DIGITS), one_epoch
    yield (
        "fit: a batch larger than the data",
        lambda: fit(fresh(), DIGITS, big, progress=False),
        one_epoch,
    )


def of_data() -> Iterator[Case]:
    """Images, tables, batches and data sets."""
    bad_images = {
        "a list": IMAGES.tolist(),
        "None": None,
        "float": X.view(B, 28, 28),
        "an array of floats": X.view(B, 28, 28).numpy(),
        "int64": IMAGES.long(),
        "flat": IMAGES.flatten(1),
        "one picture": IMAGES[0],
        "no images": IMAGES[:0],
        "no pixels": IMAGES[:, :0],
        "no channels": COLOURS[:, :0],
        "channels last": COLOURS.movedim(1, -1),
        "rank 5": COLOURS[None],
    }
    for about, images in bad_images.items():
        labels = Y[: len(images)] if about == "no images" else Y
        call = partial(Images, images, labels, "made up", "train")
        yield f"Images: images {about}", call, "images:"
    for about, images, shape in (
        ("an array", IMAGES.numpy(), (1, 28, 28)),
        ("a channel", IMAGES[:, None], (1, 28, 28)),
        ("colour", COLOURS, (3, 28, 28)),
        ("colour in an array", COLOURS.numpy(), (3, 28, 28)),
    ):
        yield (
            f"Images: {about}",
            lambda images=images: Images(images).x(),
            shaped(B, *shape),
        )
    # whole numbers of any class from 0 on, or none
    fine = ("None", "an array", "10", "huge", "int32")
    for about, labels in NOT_LABELS.items():
        call = partial(Images, IMAGES, labels, "made up", "train")
        if about in fine:
            yield (
                f"Images: labels {about}",
                call,
                lambda found: len(found) == B,
            )
        else:
            yield f"Images: labels {about}", call, "labels:"
    for about in ("a list", "a number", "int64", "rank 1", "bool", "complex"):
        told = not_rows(X)[about]
        call = partial(Images, IMAGES, Y, "made up", "train", told)
        yield f"Images: conditions {about}", call, "conditions:"
        call = partial(Table, X, told)
        yield f"Table: conditions {about}", call, "conditions:"
    for about, told in {
        "too few": X[1:],
        "labels of -1": Y - 1,
        "labels of bool": Y > 4,
        "text": "labels",
        "a graph": X.clone().requires_grad_(),
    }.items():
        call = partial(Table, X, told)
        yield f"Table: conditions {about}", call, "conditions:"
    yield (
        "Table: labels of int32",
        partial(Table, X, Y.int()),
        lambda found: torch.equal(found.y, Y),
    )
    floats = {"float64": X.double(), "float16": X.half()}
    for about, told in ({"an array": X.numpy()} | floats).items():
        yield (
            f"Table: conditions {about}",
            partial(Table, X, told),
            lambda found: found.y.dtype == torch.float32,
        )
    anything = ("an array", *floats, "too narrow", "too wide")
    for about, values in (not_rows(X) | floats).items():
        call = partial(Table, values)
        if about in anything:  # a table has any width
            yield (
                f"Table: {about}",
                call,
                lambda found: found.x().dtype == torch.float32,
            )
        else:
            yield f"Table: {about}", call, "values:"
    call = partial(Table, X.clone().requires_grad_())
    yield "Table: a graph", call, "values:"
    yield (
        "Table: any shape",
        lambda: Table(X.view(B, 2, 8, 49)).x(),
        (shaped(B, 2, 8, 49)),
    )
    yield "Table: no columns", partial(Table, X[:, :0]), "values:"
    yield "Table: no rows", partial(Table, X[:0]), "values:"
    yield "Images: no rows left", lambda: DIGITS[Y > 9], "images:"
    yield "Images: one row", lambda: len(DIGITS[:1]), lambda n: n == 1
    prepare = likelihoods.Bernoulli().prepare
    for value in NOT_WHOLE:
        call = partial(DIGITS.binarized, value)
        yield f"Images.binarized: {value!r:.20}", call, "seed:"
        call = partial(DIGITS.prepared, prepare, value)
        yield f"Images.prepared: {value!r:.20}", call, "seed:"
    yield "Table.binarized: above 1", TABLE.binarized, "values:"

    def first(*given, **options):
        return next(batches(*given, **options))

    for name, values in {
        "size": NOT_COUNTS,
        "seed": NOT_WHOLE,
        "epoch": NOT_WHOLE,
        "start": NOT_WHOLE,
        "rank": (1, *NOT_WHOLE),
        "world_size": NOT_COUNTS,
        "prepare": (5, "bernoulli", likelihoods.Bernoulli(), X),
        "condition_dropout": (2, 0.5, *NOT_POSITIVE),
        "device": ("gpu", "cuda:99", "", None, 5),
    }.items():
        for value in values:
            options = {"data": DIGITS, "size": 2, name: value}
            call = partial(first, **options)
            about = type(value).__name__ if name == "prepare" else f"{value!r}"
            yield f"batches: {name} {about:.20}", call, f"{name}:"
    for value in (None, X, [DIGITS], "mnist"):
        about = type(value).__name__
        yield f"batches: {about}", partial(first, value, 2), "data:"
    for value in wholes(2):
        call = partial(first, DIGITS, value)
        yield f"batches: size {value!r}", call, shaped(2, 1, 28, 28)
    larger = partial(first, DIGITS, 10_000)
    yield "batches: larger than the data", larger, shaped(B, 1, 28, 28)
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
    wide, table = VAE(3, (8,)), VAE(**SIZES, shape=(8,))
    told = CVAE(**SIZES, conditions=(10, 1))
    for value in NOT_COUNTS:
        about = f"n {value!r:.20}"
        for call in (
            partial(sample, vae, value),
            partial(same_style, cvae, value),
            partial(quantile_grid, value),
            partial(latent_grid, vae, value),
        ):
            yield f"{call.func.__name__}: {about}", call, "n:"
    for value in NOT_WHOLE:
        for call in (
            partial(sample, vae, 2, seed=value),
            partial(same_style, cvae, 2, value),
            partial(evaluate, vae, DIGITS, value),
            partial(log_likelihood, vae, DIGITS, 2, value),
        ):
            yield f"{call.func.__name__}: seed {value!r:.20}", call, "seed:"
    not_a_label = (None, -1, 10, 2.5, NAN, True, "5", [5], HUGE, Y[:3])
    more = (np.float32(5), np.bool_(True), np.int64(10), np.array([5, 5]))
    more += (torch.tensor(-1), torch.tensor(5.0), torch.tensor([5.0, 5.0]))
    for value in (*not_a_label, *more):
        about = f"y {value!r:.20}"
        yield (
            f"sample: {about}",
            partial(sample, cvae, 2, value),
            "y:",
        )
        yield (
            f"latent_grid: {about}",
            partial(latent_grid, cvae, 2, value),
            ("y:"),
        )
    for value in wholes(5):
        wanted = sample(cvae, 2, 5)
        call = partial(sample, cvae, torch.tensor(2), value)
        yield f"sample: y {value!r}", call, equal(wanted)
        call = partial(latent_grid, cvae, np.int64(2), value)
        yield f"latent_grid: y {value!r}", call, equal(latent_grid(cvae, 2, 5))
    wanted = sample(told, 2, (5, None))
    for value in ((5, None), [5, None], (np.int64(5), None), (5, NAN)):
        call = partial(sample, told, 2, value)
        yield f"sample: conditions {value!r}", call, equal(wanted)
    few = ((5,), (5, 1, 1), (10, 0), (2.5, 0), (5, INF), ("5", 0), 5)
    for value in (*few, (HUGE, 0), (True, 0), (), ((5,), 0)):
        call = partial(sample, told, 2, value)
        yield f"sample: conditions {value!r}", call, "y:"
    yield (
        "sample: a VAE has no y",
        partial(sample, vae, 2, 5),
        "y:",
    )
    all_ = {
        pictures: (Z,),
        reconstruct: (DIGITS,),
        sample: (2,),
        latent_grid: (2,),
        same_style: (2,),
        codes: (DIGITS,),
        evaluate: (DIGITS,),
        log_likelihood: (DIGITS,),
    }
    for function, more in all_.items():
        for value in (None, VAE, "vae.pt", nn.Linear(2, 2)):
            call = partial(function, value, *more)
            about = type(value).__name__
            yield f"{function.__name__}: model {about}", call, "model:"
    for function in (reconstruct, codes, evaluate, log_likelihood):
        for value in (None, X, IMAGES, [DIGITS], "mnist"):
            call = partial(function, vae, value)
            about = type(value).__name__
            yield f"{function.__name__}: data {about}", call, "data:"
        call = partial(function, VAE(**SIZES, shape=(4,)), TABLE)
        yield f"{function.__name__}: values above 1", call, "values:"
        call = partial(function, vae, Images(COLOURS))
        yield f"{function.__name__}: colours", call, "x:"
        call = partial(function, vae, Table(X[:, 1:]))
        yield f"{function.__name__}: other size", call, "x:"
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
        yield f"pictures: {about}", partial(pictures, vae, z), "z:"
    for about, y in NOT_LABELS.items():
        yield f"pictures: y {about}", partial(pictures, cvae, Z, y), "y:"
    for call in (
        partial(sample, ae, 2),
        partial(log_likelihood, ae, DIGITS),
        partial(same_style, vae, 2),
        partial(same_style, told, 2),
        partial(latent_grid, wide),
    ):
        about = f"{call.func.__name__}: a model that cannot"
        yield about, call, "model:"
    yield (
        "sample: one",
        partial(sample, vae, 1),
        (shaped(1, 28, 28)),
    )
    call = partial(pictures, vae, Z[:0])
    yield "pictures: no codes", call, shaped(0, 28, 28)
    for model, shape in (
        (table, (8,)),
        (VAE(**SIZES, shape=(3, 4, 8)), (3, 4, 8)),
        (VAE(**SIZES, shape=(1, 4, 8)), (4, 8)),
    ):
        call = partial(pictures, model, Z)
        yield f"pictures: {shape}", call, shaped(B, *shape)
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
    for value in (None, X, [DIGITS], "mnist"):
        about = f"data {type(value).__name__}"
        call = partial(latent.transfer, cvae, value)
        yield f"transfer: {about}", call, "data:"
        for function in (
            scores.posteriors,
            scores.kl_per_dimension,
            scores.active_units,
            scores.split_kl,
            scores.prepared,
        ):
            call = partial(function, vae, value)
            yield f"{function.__name__}: {about}", call, "data:"
    call = partial(latent.transfer, cvae, Table(X))
    yield "transfer: no labels", call, "y:"
    call = partial(latent.transfer, cvae, TABLE)
    yield "transfer: other size", call, ("x:", "values:")
    for value in (None, VAE, ae, nn.Linear(2, 2)):
        for function, given in (
            (latent.transfer, DIGITS),
            (scores.posteriors, DIGITS),
            (scores.split_kl, DIGITS),
            (scores.kl_per_dimension, DIGITS),
            (scores.active_units, DIGITS),
            (scores.log_evidence, X),
            (scores.optimise_q, X),
        ):
            about = f"{function.__name__}: model {type(value).__name__}"
            yield about, partial(function, value, given), "model:"
    for about, x in (not_rows(X) | NOT_PIXELS).items():
        call = partial(scores.log_evidence, vae, x, n=3)
        yield f"log_evidence: {about}", call, "x:"
    for about, z in not_rows(Z).items():
        if about not in ("too narrow", "too wide"):
            yield f"fit_codes: {about}", partial(latent.fit_codes, z), "z:"
    yield "fit_codes: one code", partial(latent.fit_codes, Z[:1]), "z:"
    for value in (None, VAE, "vae.pt", nn.Linear(2, 2), Classifier()):
        call = partial(sliders, value)
        yield f"sliders: model {type(value).__name__}", call, "model:"
        if value is not None:
            call = partial(explorer, [vae, value], DIGITS)
            yield f"explorer: model {type(value).__name__}", call, "models:"
    for value in (0, *NOT_POSITIVE):
        call = partial(sliders, vae, value)
        yield f"sliders: limit {value!r:.20}", call, "limit:"
    for value in (None, X, TABLE, Images(COLOURS), Images(IMAGES)):
        call = partial(explorer, vae, value)
        yield f"explorer: digits {value!s:.12}", call, "digits:"


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
    for model in (5, "vae", VAE):
        call = partial(load_model, folder / "vae.pt", model=model)
        yield f"load_model: model {type(model).__name__}", call, "model:"
    for about, model in {
        "another size": VAE(3, (8,)),
        "more layers": VAE(2, (8, 8)),
        "more weights": VAE(**SIZES, likelihood="gaussian"),
        "of another kind": nn.Linear(784, 2),
    }.items():
        path = folder / "vae.pt"
        call = partial(load_model, path, "cpu", model)
        yield f"load_model: {about}", call, str(path)
    path = folder / "grey.pt"
    call = partial(load_model, path, "cpu", VAE(**SIZES, seed=1))
    yield "load_model: fewer weights", call, str(path)
    for name in ("own.pt", "rows.pt"):
        call = partial(load_model, folder / name)
        yield f"load_model: {name}", call, str(folder / name)
    call = partial(load_model, folder / "vae.pt", torch.device("cpu"))
    yield "load_model: a device", call, equal_models(VAE(**SIZES))


TRAIN = "train --data builtin --epochs 1 --device cpu --n-latent 2 --hidden 8"
COMMANDS = {
    "train": {
        "--model": "gan 5 VAE",
        "--network": "cnn 5 MLP",
        "--shape": "0 -1 2.5 x 783",
        "--prior": "flat 5",
        "--data": "nowhere MNIST 5",
        "--n-latent": "0 -1 2.5 nan two 9999999999999999999",
        "--hidden": "0 -8 2.5 x",
        "--likelihood": "poisson 1",
        "--sigma": "0.1 0 -1 nan x each",
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
        "--checkpoint": (
            "= FOLDER FOLDER/file FOLDER/empty FOLDER/no.pt FOLDER/own.pt"
        ),
        "--data": "nowhere",
        "--samples": "0 -1 2.5 x",
        "--device": "gpu cuda:99",
    },
    "sample": {
        "--checkpoint": "= FOLDER FOLDER/file FOLDER/no.pt FOLDER/own.pt",
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
        base = [w.replace("FOLDER", str(folder)) for w in REST[name].split()]
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
    if not isinstance(error, OURS) or PACKAGE not in where.parents:
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
    given = (
        *getattr(call, "args", ()),
        *getattr(call, "keywords", {}).values(),
        getattr(getattr(call, "func", None), "__self__", None),
        getattr(call, "func", None),
    )
    models = [a for a in given if isinstance(a, nn.Module)]
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
        models = {
            "vae": VAE(**SIZES),
            "c": CVAE(**SIZES),
            "grey": VAE(**SIZES, likelihood="gaussian"),
            "own": Own(),
            "rows": VAE(2, decoder=nn.Linear(2, 784)),
        }
        for file, model in models.items():
            state = {"model": describe(model), "weights": model.state_dict()}
            checkpoint.save(folder / f"{file}.pt", state)
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
