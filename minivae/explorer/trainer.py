"""A widget that trains: autoencoder, VAE and CVAE learn in the browser.

All of it happens in the page, in JavaScript that tests hold against the
models of this package. So it works in JupyterLab, and on a page that no
kernel serves.
"""

import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import anywidget
import numpy as np
import torch
import traitlets
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Ellipse

from minivae import validate
from minivae.data import Images
from minivae.evaluate import codes, posteriors
from minivae.explorer.scripts import joined
from minivae.explorer.still import FOLDER, Still, style
from minivae.figures import DIGIT_COLOURS, latent_scatter
from minivae.models import CVAE, VAE, Autoencoder
from minivae.train import TrainConfig, fit

# small enough for a hundred steps of three models in a second
OPTIONS: dict[str, Any] = {"hidden": [100], "nLatent": 2, "batchSize": 64}
MOST = {"beta": 20.0, "lr": 0.1, "seed": 999}
EPOCHS = 20  # of the still picture, as after some seconds in the browser
N_ELLIPSES = 12
RADIUS = (-2 * math.log(0.05)) ** 0.5  # 95 per cent of N(0, I) lie within


class Trainer(Still, anywidget.AnyWidget):
    """Three models that learn 8 by 8 digits before the reader's eyes.

    Made by `trainer`. What follows is synchronised both ways, so Python can
    observe it and set it, also while the models learn.

    Args:
        seed, beta, lr: as for `trainer`.

    Attributes:
        seed: of weights, batches and noise; another one starts anew.
        beta: weight of the KL.
        lr: step size of Adam.
        noise: whether z is drawn from q(z|x); without it z is mu.
        told: whether the CVAE is told the label.
        report: what the page has measured when it last stood still: the
            step, and for each model the means of its terms and the accuracy
            of its nearest neighbours.

    Example:
        >>> widget = Trainer(beta=4.0)
        >>> widget.beta, widget.noise, widget.report
        (4.0, True, {})
    """

    _esm = joined(FOLDER / "trainer.js")
    _css = style("trainer")
    digits = traitlets.Dict().tag(sync=True)
    options = traitlets.Dict(OPTIONS).tag(sync=True)
    colours = traitlets.List(list(DIGIT_COLOURS)).tag(sync=True)
    seed = traitlets.Int(0).tag(sync=True)
    beta = traitlets.Float(1.0).tag(sync=True)
    lr = traitlets.Float(0.005).tag(sync=True)
    noise = traitlets.Bool(True).tag(sync=True)
    told = traitlets.Bool(True).tag(sync=True)
    report: Any = traitlets.Dict().tag(sync=True)

    def __init__(
        self, seed: int = 0, beta: float = 1.0, lr: float = 0.005
    ) -> None:
        images, labels = _digits()
        super().__init__(
            digits={
                "images": _packed(images, labels),
                "labels": labels.astype("u1").tobytes(),
            },
            seed=seed,
            beta=beta,
            lr=lr,
        )

    @traitlets.validate("seed", "beta", "lr")
    def _valid_number(self, proposal: dict) -> float:
        name, value = proposal["trait"].name, proposal["value"]
        least = 1e-6 if name == "lr" else 0
        if not least <= value <= MOST[name]:
            raise traitlets.TraitError(
                f"{name}: expected {least:g} to {MOST[name]:g}, got {value}"
            )
        return value

    def _figure(self) -> Figure:
        return _maps(self.seed, self.beta, self.lr)

    def __repr__(self) -> str:
        return f"Trainer(seed={self.seed}, beta={self.beta:g})"


def trainer(seed: int = 0, beta: float = 1.0, lr: float = 0.005) -> Trainer:
    """Train an autoencoder, a VAE and a CVAE in the browser, side by side.

    They learn the 1,797 digits of 8 by 8 pixels that come with scikit-learn,
    with a code of two numbers, so that the map of all codes can be watched.
    The reader starts and stops, and changes beta, step size, noise and what
    the CVAE is told, while they learn.

    Args:
        seed: of weights, batches and noise, 0 to 999.
        beta: weight of the KL to begin with, 0 to 20.
        lr: step size of Adam to begin with.

    Returns:
        A widget: display it in JupyterLab.

    Raises:
        TypeError, ValueError: a number is of another kind or out of range.

    Example:
        >>> widget = trainer(seed=1)
        >>> widget.beta = 20.0  # collapse
        >>> widget
        Trainer(seed=1, beta=20)
    """
    seed = validate.whole("seed", seed, 0, 0)
    beta = validate.number("beta", beta, 1.0, zero=True)
    lr = validate.number("lr", lr, 0.005)
    for name, value in (("seed", seed), ("beta", beta), ("lr", lr)):
        if value > MOST[name]:
            raise ValueError(
                f"{name}: expected at most {MOST[name]:g}, got {value}"
            )
    return Trainer(seed, beta, lr)


def _packed(images: np.ndarray, labels: np.ndarray) -> bytes:
    """Pixels by zlib, in the order that takes the fewest bytes.

    First pixel 0 of all digits, sorted by label, then pixel 1 of all.
    """
    rows = images.reshape(len(images), -1)[labels.argsort(kind="stable")]
    packer = zlib.compressobj(9, strategy=zlib.Z_FILTERED)
    data = np.ascontiguousarray(rows.T).tobytes()
    return packer.compress(data) + packer.flush()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Small matrices are multiplied by one thread: more would only wait."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@cache
def _digits() -> tuple[Any, Any]:
    """Pixels 0 to 16, (1797, 8, 8), uint8, and labels (1797,)."""
    from sklearn.datasets import load_digits

    small = load_digits()
    return small.images.astype("u1"), small.target


@cache
def _maps(seed: int, beta: float, lr: float) -> Figure:
    """Maps of the same models, trained by PyTorch in a few seconds."""
    pixels, labels = (torch.from_numpy(part) for part in _digits())
    # 16 is ink in these pixels, and 255 in those of the package
    pixels = (pixels.float() / 16 * 255).round().to(torch.uint8)
    digits = Images(pixels, labels.long(), "builtin", "all")
    held = torch.arange(len(digits)) % 5 == 4
    maps: dict[str, Any] = {}
    clouds = []
    for kind in (Autoencoder, VAE, CVAE):
        options: dict[str, Any] = {} if kind is Autoencoder else {"beta": beta}
        model = kind(
            OPTIONS["nLatent"],
            tuple(OPTIONS["hidden"]),
            shape=(1, 8, 8),
            seed=seed,
            **options,
        )
        config = TrainConfig(
            EPOCHS, OPTIONS["batchSize"], lr, seed=seed, device="cpu"
        )
        with _one_thread():
            fit(model, digits[~held], config, progress=False)
        maps[kind.__name__] = codes(model, digits), labels
        if isinstance(model, VAE):
            some = digits[held][:N_ELLIPSES]
            mu, logvar = posteriors(model, some)
            sizes = 2 * (logvar / 2).exp()
            clouds.append(zip(mu.tolist(), sizes.tolist(), some.labels))
    figure = latent_scatter(maps, width=9)
    reach = (-1.1 * RADIUS, 1.1 * RADIUS)
    for axes, found in zip(figure.axes[1:], clouds):
        axes.set(xlim=reach, ylim=reach)
        axes.add_patch(Circle((0, 0), RADIUS, fc="none", ec="black", ls="--"))
        for centre, size, digit in found:
            colour = DIGIT_COLOURS[digit]
            axes.add_patch(Ellipse(centre, *size, fill=False, ec=colour))
    return figure
