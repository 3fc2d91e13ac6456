"""One slider for each latent dimension, driving the real torch model."""

import io
import math
from collections.abc import Iterable

import ipywidgets as widgets
import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image

from minivae import latent, validate
from minivae.explorer.still import Still
from minivae.figures import bars, curves, image_grid
from minivae.models import Autoencoder

MOST = 12  # sliders that fit on a screen
SIDE = 224  # pixels of the screen that a picture may take
WITHHELD = "withheld"


class Sliders(Still, widgets.VBox):
    """Sliders for z, controls for what the model is told, and the picture.

    Args:
        model: of any kind.
        limit: the sliders reach from -limit to limit.

    Attributes:
        z: the `FloatSlider` of each shown dimension.
        digit: the `ToggleButtons` for the label, or None.
        told: for several conditions, the control of each: `ToggleButtons`,
            or a `Checkbox` and a `FloatSlider`, which counts if it is ticked.
        picture: the `Image` that the decoder draws.

    Example:
        >>> widget = Sliders(Autoencoder(n_latent=3))
        >>> widget.image().shape
        (28, 28)
    """

    def __init__(self, model: Autoencoder, limit: float = 3.0) -> None:
        self.model, self.limit = model, limit
        self.z = [
            _slider(f"z{i + 1}", limit)
            for i in range(min(model.n_latent, MOST))
        ]
        self.digit = None
        self.told: list[tuple] = []
        if model.n_classes:
            self.digit = _buttons("digit", range(model.n_classes))
        for i, n in enumerate(model.conditions):
            name = f"y{i + 1}"
            if n > 1:
                self.told.append((_buttons(name, [WITHHELD, *range(n)]),))
            else:
                tick = widgets.Checkbox(False, description=f"tell {name}")
                self.told.append((tick, _slider(name, limit)))
        self.picture = widgets.Image(format="png")
        controls = [self.digit] if self.digit else []
        controls += [control for group in self.told for control in group]
        super().__init__([*controls, *self.z, self.picture])
        for control in [*controls, *self.z]:
            control.observe(self._update, "value")
        self._reach = self._widest()
        self._update()
        width, height = Image.open(io.BytesIO(self.picture.value)).size
        # else it would be as wide as the page
        self.picture.layout = {"width": f"{width}px", "height": f"{height}px"}

    def image(self) -> np.ndarray:
        """What the decoder draws at the sliders, as `latent.pictures`.

        (H, W) or (C, H, W) in [0, 1], or the values of a row, (*shape).
        """
        z = self._codes(1)
        z[0, : len(self.z)] = torch.tensor([s.value for s in self.z])
        return self._drawn(z)[0]

    def still(self) -> bytes:
        """A PNG for pages where no kernel runs: z1 and z2 swept in turn."""
        n_steps = 11 if self._shows_pictures else 5
        steps = torch.linspace(-self.limit, self.limit, n_steps)
        names = [f"{s.round(decimals=1) + 0.0:.1f}" for s in steps]
        n_rows = min(2, self.model.n_latent)
        z = self._codes(n_rows * n_steps)
        for i in range(n_rows):
            z[i * n_steps : (i + 1) * n_steps, i] = steps
        drawn = self._drawn(z)
        if self._shows_pictures:
            figure = image_grid(
                np.stack([_sheet(one) for one in drawn]),
                n_steps,
                row_labels=[f"$z_{i + 1}$" for i in range(n_rows)],
                column_labels=names,
            )
        else:
            titles = [
                f"$z_{i + 1}$ = {name}"
                for i in range(n_rows)
                for name in names
            ]
            figure = _plot(dict(zip(titles, drawn)), width=6.5)
        return _png(figure)

    @property
    def _shows_pictures(self) -> bool:
        return len(self.model.shape) == 3

    def _codes(self, n: int) -> torch.Tensor:
        return torch.zeros(n, self.model.n_latent, dtype=self.model.dtype)

    def _widest(self) -> tuple[float, float]:
        """Lowest and highest value where one slider is at its end."""
        ends = torch.eye(len(self.z), self.model.n_latent) * self.limit
        values = self._drawn(torch.cat([ends, -ends]).to(self.model.dtype))
        return float(values.min()), float(values.max())

    def _drawn(self, z: torch.Tensor) -> np.ndarray:
        y = self._label(len(z))
        z = latent.to_code(self.model, z, y)
        return latent.pictures(self.model, z, y).float().numpy()

    def _label(self, n: int) -> torch.Tensor | None:
        if self.told:
            y = torch.tensor([_value(group) for group in self.told])
            return y.expand(n, -1)
        if self.digit is None:
            return None
        return torch.full((n,), int(self.digit.value))

    def _update(self, change: object = None) -> None:
        image = self.image()
        if not self._shows_pictures:
            low, high = self._reach  # a scale that stays shows what moves
            self._reach = min(low, image.min()), max(high, image.max())
            figure = _plot({"x": image}, width=4)
            figure.axes[0].set_ylim(*_with_margin(*self._reach))
            self.picture.value = _png(figure)
            return
        light = _sheet(image)
        if light.ndim == 2:  # ink on paper
            light = 1 - light
        picture = Image.fromarray((255 * light).round().astype(np.uint8))
        # whole screen pixels for each of its own
        scale = max(1, SIDE // max(picture.size))
        size = (scale * picture.width, scale * picture.height)
        stream = io.BytesIO()
        picture.resize(size, Image.Resampling.NEAREST).save(
            stream, format="png"
        )
        self.picture.value = stream.getvalue()

    def __repr__(self) -> str:
        return f"Sliders({type(self.model).__name__}, {len(self.z)} for z)"


def _with_margin(low: float, high: float) -> tuple[float, float]:
    margin = 0.05 * (high - low) or 1.0
    return low - margin, high + margin


def _sheet(image: np.ndarray) -> np.ndarray:
    """A picture as it is shown: grey (H, W), or colours (H, W, 3).

    Channels that are no red, green and blue are put side by side.
    """
    if image.ndim == 2:
        return image
    if len(image) == 3:
        return np.moveaxis(image, 0, -1)
    return np.concatenate(list(image), 1)


def _plot(rows: dict[str, np.ndarray], width: float) -> Figure:
    """Rows of numbers on one scale: as bars, or as lines if they are long."""
    flat = {title: row.ravel() for title, row in rows.items()}
    n = next(iter(flat.values())).size
    if n > 60:
        columns = np.arange(1, n + 1)
        few = list(flat.items())[:5]  # more could not be told apart
        lines = {title: (columns, row) for title, row in few}
        return curves(lines, "column", "value", width=width)
    panels = {title: {"": row} for title, row in flat.items()}
    n_columns = min(5, len(panels))
    return bars(panels, "column", "value", (), n_columns, width=width)


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()


def _slider(name: str, limit: float) -> widgets.FloatSlider:
    return widgets.FloatSlider(
        0.0,
        min=-limit,
        max=limit,
        step=0.05,
        description=name,
        continuous_update=True,
        layout={"width": "420px"},
    )


def _buttons(name: str, options: Iterable) -> widgets.ToggleButtons:
    return widgets.ToggleButtons(
        options=[str(option) for option in options],
        description=name,
        style={"button_width": "auto"},
    )


def _value(group: tuple[widgets.Widget, ...]) -> float:
    """What the controls of a condition say; NaN where it is withheld."""
    *tick, control = group
    withheld = not tick[0].value if tick else control.value == WITHHELD
    return math.nan if withheld else float(control.value)


def sliders(model: Autoencoder, limit: float = 3.0) -> Sliders:
    """Move through the latent space of a trained model.

    Args:
        model: an autoencoder, a VAE or a CVAE, also one of several
            conditions, of any network and likelihood. Pictures may have any
            size; rows of numbers are drawn as bars, long ones as a line.
        limit: the sliders reach from -limit to limit, in standard deviations
            where the prior is p(z|y).

    Returns:
        A widget: display it in JupyterLab.

    Raises:
        TypeError, ValueError: another kind of model, or no limit.

    Example:
        >>> widget = sliders(Autoencoder(n_latent=3))
        >>> widget.z[0].value = 1.5
        >>> widget
        Sliders(Autoencoder, 3 for z)
    """
    validate.kind("model", model, Autoencoder)
    return Sliders(model, validate.number("limit", limit, 3.0))
