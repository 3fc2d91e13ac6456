"""One slider for each latent dimension, driving the real torch model."""

import io

import ipywidgets as widgets
import numpy as np
import torch
from PIL import Image

from minivae import latent
from minivae.figures import image_grid
from minivae.models import Autoencoder

MOST = 12  # sliders that fit on a screen


class Sliders(widgets.VBox):
    """Sliders for z, a row of buttons for the digit, and the picture.

    Attributes:
        z: the `FloatSlider` of each shown dimension.
        digit: the `ToggleButtons` for y, or None.
        picture: the `Image` that the decoder draws.
    """

    def __init__(self, model: Autoencoder, limit: float = 3.0) -> None:
        if model.conditions:
            raise ValueError(
                f"model: expected one label or none to choose from, got a "
                f"{type(model).__name__} with conditions {model.conditions}; "
                "draw it with latent.sample_digits"
            )
        self.model, self.limit = model, limit
        self.z = [
            widgets.FloatSlider(
                0.0,
                min=-limit,
                max=limit,
                step=0.05,
                description=f"z{i + 1}",
                continuous_update=True,
                layout={"width": "420px"},
            )
            for i in range(min(model.n_latent, MOST))
        ]
        self.digit = None
        if model.n_classes:
            self.digit = widgets.ToggleButtons(
                options=[str(c) for c in range(model.n_classes)],
                description="digit",
                style={"button_width": "2.4em"},
            )
        self.picture = widgets.Image(
            format="png", layout={"width": "224px", "height": "224px"}
        )
        controls = [self.digit] if self.digit else []
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

    def _repr_mimebundle_(self, **kwargs: object) -> dict:
        # JupyterLab takes the widget, a page without a kernel the still
        bundle = super()._repr_mimebundle_(**kwargs)
        data, *rest = bundle if isinstance(bundle, tuple) else (bundle,)
        data |= {"image/png": self.still(), "text/plain": repr(self)}
        return (data, *rest) if rest else data

    def __repr__(self) -> str:
        return f"Sliders({type(self.model).__name__}, {len(self.z)} for z)"


def sliders(model: Autoencoder, limit: float = 3.0) -> Sliders:
    """Move through the latent space of a trained model.

    Args:
        model: an autoencoder, a VAE or a CVAE.
        limit: the sliders reach from -limit to limit.

    Returns:
        A widget: display it in JupyterLab.
    """
    return Sliders(model, limit)
