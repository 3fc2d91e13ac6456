"""One widget over one or several models: maps, sliders, digits.

The page decodes by itself, from a rounded copy of the decoder. So the same
widget works in JupyterLab and on a page that no kernel serves.
"""

import math
import zlib
from dataclasses import replace
from typing import Any

import anywidget
import numpy as np
import torch
import traitlets
from matplotlib.figure import Figure
from torch import Tensor

from minivae import latent, validate
from minivae.data import Images, seeded
from minivae.evaluate import (
    Classifier,
    codes,
    kl_per_dimension,
    posteriors,
    prepared,
)
from minivae.explorer.packing import pack, pack_encoder, squash
from minivae.explorer.scripts import joined
from minivae.explorer.still import FOLDER, Still, style
from minivae.figures import DIGIT_COLOURS, sheets
from minivae.models import VAE, Autoencoder
from minivae.networks import MLP, beside

SHAPE = (1, 28, 28)  # of the pictures that the page draws
N_MAP = 1000  # codes on a map
N_EACH = 2  # digits of each class that can be picked
N_FIT = 4000  # codes at which a decoder is rounded
N_DIGITS = 6000  # digits at which an encoder is rounded
GRID = 61  # places on a side where the judge has read
MARGIN = 1.05  # the rounding is made for a little more than the sliders reach
BACKGROUNDS = ("codes", "digits", "judge")


class Explorer(Still, anywidget.AnyWidget):
    """Walk through the latent spaces of trained models.

    Made by `explorer`. What follows is synchronised both ways, so Python
    can observe it and set it.

    Args:
        models: title -> model.
        digits, judge, drawing: as for `explorer`.

    Attributes:
        z: the code: L numbers, or a list of them for several models. One
            list of L numbers sets all models.
        digit: the label that conditional models are told.
        picked: which of the shown digits is picked, or -1.
        target: which of them a path leads to, or -1.
        background: of the map, "codes", "digits" or "judge".
        drawn: the picture on the pad, 784 bytes, or none; `drawing()` gives
            it as an array.
        reading: for each model the digit that the judge reads now, and how
            sure it is; empty without a judge.

    Example:
        >>> from minivae.data import load_digits
        >>> models = {"small": VAE(2, (8,)), "large": VAE(2, (16,))}
        >>> digits = load_digits("builtin", "test")
        >>> widget = Explorer(models, digits, None, drawing=False)
        >>> widget.z, widget.images().shape
        ([[0.0, 0.0], [0.0, 0.0]], (2, 28, 28))
    """

    _esm = joined(FOLDER / "explorer.js")
    _css = style("explorer")
    panels: Any = traitlets.List().tag(sync=True)
    digits = traitlets.Dict().tag(sync=True)
    colours = traitlets.List(list(DIGIT_COLOURS)).tag(sync=True)
    z: Any = traitlets.List().tag(sync=True)
    digit = traitlets.Int(0).tag(sync=True)
    picked = traitlets.Int(-1).tag(sync=True)
    target = traitlets.Int(-1).tag(sync=True)
    background = traitlets.Enum(BACKGROUNDS, "codes").tag(sync=True)
    reading: Any = traitlets.List().tag(sync=True)
    drawn: Any = traitlets.Any(b"").tag(sync=True)  # comes as a memoryview

    def __init__(
        self,
        models: dict[str, Autoencoder],
        digits: Images,
        judge: Classifier | None,
        drawing: bool,
    ) -> None:
        self.models, self.judge = models, judge
        picks = _picks(digits)
        panels = [
            _panel(name, model, digits, picks, judge, drawing)
            for name, model in models.items()
        ]
        start = [[0.0] * model.n_latent for model in models.values()]
        for code, panel in zip(start, panels):
            if not panel["prior"]:  # an autoencoder is at home elsewhere
                code[:] = panel["home"]
        super().__init__(
            panels=panels,
            digits={
                "map": digits.labels[:N_MAP].numpy().astype("u1").tobytes(),
                "picks": digits.labels[picks].tolist(),
                "images": zlib.compress(
                    digits.images[picks].numpy().tobytes(), 9
                ),
            },
            z=start[0] if len(start) == 1 else start,
        )
        self.on_msg(self._answer)
        self.observe(self._pick, "picked")
        if judge is not None:
            self.observe(self._read, ["z", "digit"])
            self._read()

    @traitlets.validate("z")
    def _valid_z(self, proposal: dict) -> list:
        sizes = [panel["n_latent"] for panel in self.panels]
        value = proposal["value"]
        flat = all(isinstance(v, int | float) for v in value)
        parts = [value] * len(sizes) if flat else value
        good = len(parts) == len(sizes) and all(
            len(part) == n and all(map(math.isfinite, part))
            for part, n in zip(parts, sizes)
        )
        if not good:
            raise traitlets.TraitError(
                f"z: expected {' and '.join(map(str, sizes))} finite numbers, "
                f"a list for each model or one for all, got {value!r:.80}"
            )
        parts = [[float(v) for v in part] for part in parts]
        return parts[0] if len(sizes) == 1 else parts

    @traitlets.validate("digit", "picked", "target")
    def _valid_choice(self, proposal: dict) -> int:
        name, value = proposal["trait"].name, proposal["value"]
        least = 0 if name == "digit" else -1
        most = 9 if name == "digit" else len(self.digits["picks"]) - 1
        if not least <= value <= most:
            raise traitlets.TraitError(
                f"{name}: expected {least} to {most}, got {value}"
            )
        return value

    @traitlets.validate("drawn")
    def _valid_drawn(self, proposal: dict) -> bytes:
        value = proposal["value"]
        known = isinstance(value, bytes | bytearray | memoryview)
        if known and len(value) in (0, math.prod(SHAPE)):
            return bytes(value)
        raise traitlets.TraitError(
            f"drawn: expected {math.prod(SHAPE)} bytes, or none, got "
            f"{value!r:.60}"
        )

    def drawing(self) -> np.ndarray | None:
        """The digit on the pad as the models see it, (28, 28) in [0, 1]."""
        if not self.drawn:
            return None
        grey = np.frombuffer(self.drawn, "u1").astype("f4")
        return grey.reshape(SHAPE[1:]) / 255

    def codes(self) -> list[Tensor]:
        """The present code of each model, (1, L) each."""
        parts = [self.z] if len(self.panels) == 1 else self.z
        return [torch.tensor([part]) for part in parts]

    def images(self) -> np.ndarray:
        """What the exact decoders draw now, (M, 28, 28) in [0, 1]."""
        label = torch.tensor([self.digit])
        return torch.cat(
            [
                latent.pictures(
                    model, z, label if model.n_classes else None
                ).float()
                for model, z in zip(self.models.values(), self.codes())
            ]
        ).numpy()

    def _figure(self) -> Figure:
        """What lies where in each space."""
        pictures = {}
        for (name, model), panel in zip(self.models.items(), self.panels):
            title = f"{name}, drawn as a 5" if model.n_classes else name
            pictures[title] = _manifold(model, panel)
        figure = sheets(pictures)
        for axes, panel in zip(figure.axes, self.panels):
            low, high = panel["low"], panel["high"]
            names = [
                f"$z_{{{i + 1}}}$ from {low[i]:.1f} to {high[i]:.1f}"
                for i in panel["order"][:2]
            ]
            axes.set(xlabel=names[0], ylabel=names[-1] if names[1:] else "")
        return figure

    def _pick(self, change: object) -> None:
        if self.picked < 0:
            return
        self.digit = self.digits["picks"][self.picked]
        codes = [
            np.frombuffer(panel["mu"], "<f4").reshape(-1, panel["n_latent"])
            for panel in self.panels
        ]
        z = [code[self.picked].tolist() for code in codes]
        self.z = z[0] if len(z) == 1 else z

    def _read(self, change: object = None) -> None:
        assert self.judge is not None
        chances = self.judge.read(torch.from_numpy(self.images()))
        sure, read = chances.max(1)
        self.reading = [[int(d), float(s)] for d, s in zip(read, sure)]

    def _answer(self, widget: object, content: object, buffers: list) -> None:
        # the page asks whether a kernel is there
        if content == "hello":
            self.send("hello")

    def __repr__(self) -> str:
        return f"Explorer({', '.join(self.models)})"


def explorer(
    models: Autoencoder | list[Autoencoder] | dict[str, Autoencoder],
    digits: Images,
    judge: Classifier | None = None,
    drawing: bool = False,
) -> Explorer:
    """Walk through the latent spaces of one or several trained models.

    Args:
        models: one, several side by side, or title -> model. Autoencoders,
            VAEs and CVAEs of one label, on images of 28 by 28 pixels.
        digits: whose codes make the map, and some of which can be picked;
            a test set.
        judge: reads the drawn digits, if given.
        drawing: let the reader draw a digit, and say where the encoders put
            it. Then the encoders travel with the page, which makes it
            heavier by about as much as the decoders do.

    Returns:
        A widget: display it in JupyterLab. `sliders` is a simpler one for
        models that this one cannot take.

    Raises:
        TypeError, ValueError: a model cannot be shown this way.

    Example:
        >>> from minivae.data import load_digits
        >>> widget = explorer(VAE(2, (8,)), load_digits("builtin", "test"))
        >>> widget.z = [0.5, -1.0]
        >>> widget, widget.images().shape
        (Explorer(VAE), (1, 28, 28))
    """
    models = _named(models)
    digits = _checked(digits)
    if judge is not None:
        validate.kind("judge", judge, Classifier)
        if judge.shape != SHAPE or judge.n_classes > len(DIGIT_COLOURS):
            raise ValueError(
                "judge: expected one that reads digits of 28 by 28 pixels, "
                f"got one for {judge.shape} and {judge.n_classes} classes; "
                "train a Classifier() on digits"
            )
    for model in models.values():
        _check(model)
        if drawing and type(model.encoder) is not MLP:
            raise ValueError(
                "models: expected an encoder of linear layers for "
                f"drawing=True, got a {type(model.encoder).__name__:.40}, "
                'which a page cannot run; train with network="mlp"'
            )
    return Explorer(models, digits, judge, drawing)


def _checked(digits: object) -> Images:
    """The digits, on the CPU and with their labels as conditions."""
    validate.kind("digits", digits, Images)
    assert isinstance(digits, Images)
    if digits.shape != SHAPE:
        raise ValueError(
            "digits: expected grey pictures of 28 by 28 pixels, got rows of "
            f"{digits.shape}; use sliders(model), which needs none"
        )
    if digits.labels is None:
        raise ValueError(
            "digits: expected labels to choose pictures by, got none; give "
            "them as Images(images, labels)"
        )
    if (most := int(digits.labels.max())) >= len(DIGIT_COLOURS):
        raise ValueError(
            f"digits: expected labels from 0 to 9, got {most}; leave the "
            "other classes out"
        )
    return replace(digits.to("cpu"), conditions=None)


def _check(model: Autoencoder) -> None:
    """Refuse a model whose decoder cannot travel with a page."""
    if model.conditions:
        raise ValueError(
            f"models: expected one label or none to choose from, got a "
            f"{type(model).__name__} with conditions {model.conditions}; "
            "use sliders(model)"
        )
    if model.shape != SHAPE:
        raise ValueError(
            f"models: expected pictures of 28 by 28 grey pixels, got a "
            f"model of {model.shape}; use sliders(model)"
        )
    if model.n_classes not in (0, 10):
        raise ValueError(
            f"models: expected 10 classes or none, got a model of "
            f"{model.n_classes}; use sliders(model)"
        )
    if type(model.decoder) is not MLP:  # its layers are what is packed
        raise ValueError(
            "models: expected a decoder of linear layers, got a "
            f"{type(model.decoder).__name__:.40}, which a page cannot run; "
            'use sliders(model), or train with network="mlp"'
        )
    if model.dtype != torch.float32:
        raise ValueError(
            f"models: expected float32 weights, got {model.dtype}; convert "
            "them with model.float()"
        )
    squash(model)  # refuses a likelihood that a page does not know


def _named(models: object) -> dict[str, Autoencoder]:
    """Title -> model; equal kinds are numbered."""
    if isinstance(models, Autoencoder):
        models = [models]
    if not isinstance(models, dict | list | tuple) or not models:
        raise TypeError(
            f"models: expected a model, a list or a dict of models, got "
            f"{models!r:.60}"
        )
    values = models.values() if isinstance(models, dict) else models
    for model in values:
        validate.kind("models", model, Autoencoder)
    if isinstance(models, dict):
        return {str(name): model for name, model in models.items()}
    named: dict[str, Autoencoder] = {}
    for model in models:
        kind = type(model).__name__
        name, n = kind, 1
        while name in named:
            n += 1
            name = f"{kind} {n}"
        named[name] = model
    return named


def _picks(digits: Images) -> Tensor:
    """Places of the first digits of each class, in order of the class."""
    places = [
        (digits.labels == d).nonzero()[:N_EACH, 0]
        for d in digits.labels.unique()
    ]
    return torch.cat(places)


@torch.no_grad()
def _panel(
    name: str,
    model: Autoencoder,
    digits: Images,
    picks: Tensor,
    judge: Classifier | None,
    drawing: bool,
) -> dict:
    """All that the page has to know of a model."""
    prior = isinstance(model, VAE)
    if prior and getattr(model.prior, "name", "") != "standard":
        raise ValueError(
            "models: expected the prior N(0, I), got a "
            f"{type(model.prior).__name__}, from which a page cannot draw; "
            "use sliders(model)"
        )
    # prepared once, so that a digit has one code wherever it is
    data = prepared(model, digits)
    shown, picked = data[:N_MAP], data[picks]
    on_map = codes(model, shown)
    low, high = _reach(on_map, prior)
    panel = {
        "title": name,
        "n_latent": model.n_latent,
        "n_classes": model.n_classes,
        "prior": prior,
        "squash": squash(model),
        "low": low.tolist(),
        "high": high.tolist(),
        "home": on_map.median(0).values.tolist(),
        "mu": _floats(codes(model, picked)),
        "order": list(range(model.n_latent)),
        "nats": [],
        "map": b"",
        "grid": b"",
    }
    inputs = _inputs(model, low, high)
    panel["weights"], panel["layers"] = pack(model, inputs)
    if drawing:
        x = data[:N_DIGITS].x().cpu().flatten(1)
        y = model.condition_vector(digits.labels[:N_DIGITS], len(x))
        read = x if y is None else beside(x, y.cpu())
        panel["encoder"], panel["encoder_layers"] = pack_encoder(model, read)
        name = getattr(getattr(model, "likelihood", None), "name", "")
        panel["binary"] = name == "bernoulli"
    if isinstance(model, VAE):
        _, logvar = posteriors(model, picked)
        panel["sigma"] = _floats((0.5 * logvar).exp())
        nats = kl_per_dimension(model, shown)
        panel["nats"] = nats.tolist()
        if model.n_latent > 2:  # a map has z1 to the right anyway
            panel["order"] = nats.argsort(descending=True).tolist()
    if model.n_latent == 2:
        panel["map"] = _floats(on_map)
        if judge is not None:
            panel["grid"] = _readings(model, judge, low, high)
    return panel


def _reach(z: Tensor, prior: bool) -> tuple[Tensor, Tensor]:
    """Lowest and highest value of each slider, (L,) each."""
    if prior:  # the same for all dimensions, as the prior has no favourite
        most = max(3.0, math.ceil(2 * z.abs().quantile(0.999).item()) / 2)
        far = torch.full((z.shape[1],), min(most, 6.0))
        return -far, far
    low, high = z.amin(0), z.amax(0)
    room = 0.05 * (high - low) + 1e-3
    return low - room, high + room


def _inputs(model: Autoencoder, low: Tensor, high: Tensor) -> Tensor:
    """What the decoder reads at codes all over the reach, (N, L + C)."""
    generator = seeded("cpu", "explorer")
    middle, half = (low + high) / 2, MARGIN * (high - low) / 2
    shape = (N_FIT, model.n_latent)
    z = middle + half * (2 * torch.rand(shape, generator=generator) - 1)
    if model.n_latent > 2:  # most of a cube is corners, where nobody goes
        normal = torch.randn(N_FIT // 2, model.n_latent, generator=generator)
        z[: N_FIT // 2] = middle + half / 3 * normal
    y = torch.arange(N_FIT) % max(model.n_classes, 1)
    told = model.condition_vector(y, N_FIT)
    return z if told is None else beside(z, told.cpu())


def _readings(
    model: Autoencoder, judge: Classifier, low: Tensor, high: Tensor
) -> bytes:
    """The judge's digit and its sureness on a grid, for each label.

    As uint8 (C, GRID, GRID, 2), z2 growing with the row and z1 within it,
    compressed by zlib.
    """
    steps = [torch.linspace(a, b, GRID) for a, b in zip(low, high)]
    z = torch.cartesian_prod(steps[1], steps[0]).flip(1)
    kinds = range(model.n_classes) if model.n_classes else [None]
    read = [
        judge.read(
            latent.pictures(
                model, z, None if y is None else torch.full((len(z),), y)
            )
        ).max(1)
        for y in kinds
    ]
    sure = torch.stack([r.values * 255 for r in read]).round()
    digit = torch.stack([r.indices for r in read])
    both = torch.stack([digit, sure.long()], -1)
    return zlib.compress(both.to(torch.uint8).numpy().tobytes(), 9)


def _manifold(model: Autoencoder, panel: dict) -> np.ndarray:
    """Images (n, n, 28, 28) of a plane of codes, the first row on top.

    The two dimensions are those of the largest KL; the others rest at 0.
    """
    n = 12
    z = torch.zeros(n * n, model.n_latent)
    if not panel["prior"]:
        z += torch.tensor(panel["home"])
    across, up = (*panel["order"], 0)[:2]
    steps = [
        torch.linspace(panel["low"][i], panel["high"][i], 2 * n + 1)[1::2]
        for i in (across, up)
    ]
    z[:, across] = steps[0].repeat(n)
    if model.n_latent > 1:
        z[:, up] = steps[1].flip(0).repeat_interleave(n)
    y = torch.full((n * n,), 5) if model.n_classes else None
    return latent.pictures(model, z, y).view(n, n, 28, 28).numpy()


def _floats(values: Tensor) -> bytes:
    return values.float().cpu().numpy().astype("<f4").tobytes()
