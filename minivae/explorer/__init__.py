"""Widgets to walk through a latent space, to watch it learn, to move q."""

from minivae.explorer.bound import Bound, Trick, bound, trick
from minivae.explorer.sliders import Sliders, sliders
from minivae.explorer.trainer import Trainer, trainer
from minivae.explorer.widget import Explorer, explorer

__all__ = [
    "Bound",
    "Explorer",
    "Sliders",
    "Trainer",
    "Trick",
    "bound",
    "explorer",
    "sliders",
    "trainer",
    "trick",
]
