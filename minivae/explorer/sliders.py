"""One slider for each latent dimension, driving the real torch model."""

import io
import math
from collections.abc import Iterable
from typing import Any

import ipywidgets as widgets
import numpy as np
import torch
from PIL import Image

from minivae import latent
from minivae.figures import image_grid
from minivae.models import Autoencoder

MOST = 12  # sliders that fit on a screen
WITHHELD = "withheld"


class Sliders(widgets.VBox):
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
        self.picture = widgets.Image(
            format="png", layout={"width": "224px", "height": "224px"}
        )
        controls = [self.digit] if self.digit else []
        controls += [control for group in self.told for control in group]
        super().__init__([*controls, *self.z, self.picture])
        for control in [*controls, *self.z]:
            control.observe(self._update, "value")
        self._update()

    def image(self) -> np.ndarray:
        """What the decoder draws at the sliders, (side, side) in [0, 1]."""
        z = torch.zeros(1, self.model.n_latent)
        z[0, : len(self.z)] = torch.tensor([s.value for s in self.z])
        return latent.draw(self.model, z, self._label(1))[0].numpy()

    def still(self) -> bytes:
        """A PNG for pages where no kernel runs: z1 and z2 swept in turn."""
        steps = torch.linspace(-self.limit, self.limit, 11)
        n_rows = min(2, self.model.n_latent)
        z = torch.zeros(n_rows, len(steps), self.model.n_latent)
        for i in range(n_rows):
            z[i, :, i] = steps
        z = z.flatten(0, 1)
        figure = image_grid(
            latent.draw(self.model, z, self._label(len(z))).numpy(),
            len(steps),
            row_labels=[f"$z_{i + 1}$" for i in range(n_rows)],
            column_labels=[f"{s.round(decimals=1) + 0.0:.1f}" for s in steps],
        )
        stream = io.BytesIO()
        figure.savefig(stream, format="png")
        return stream.getvalue()

    def _label(self, n: int) -> torch.Tensor | None:
        if self.told:
            y = torch.tensor([_value(group) for group in self.told])
            return y.expand(n, -1)
        if self.digit is None:
            return None
        return torch.full((n,), int(self.digit.value))

    def _update(self, change: object = None) -> None:
        paper = 255 * (1 - self.image())
        picture = Image.fromarray(paper.round().astype(np.uint8))
        stream = io.BytesIO()
        picture.resize((224, 224), Image.Resampling.NEAREST).save(
            stream, format="png"
        )
        self.picture.value = stream.getvalue()

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        # JupyterLab takes the widget, a page without a kernel the still
        bundle = super()._repr_mimebundle_(**kwargs)
        data, *rest = bundle if isinstance(bundle, tuple) else (bundle,)
        data |= {"image/png": self.still(), "text/plain": repr(self)}
        return (data, *rest) if rest else data

    def __repr__(self) -> str:
        return f"Sliders({type(self.model).__name__}, {len(self.z)} for z)"


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
            conditions.
        limit: the sliders reach from -limit to limit.

    Returns:
        A widget: display it in JupyterLab.

    Example:
        >>> widget = sliders(Autoencoder(n_latent=3))
        >>> widget.z[0].value = 1.5
        >>> widget
        Sliders(Autoencoder, 3 for z)
    """
    return Sliders(model, limit)
