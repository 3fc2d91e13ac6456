"""Widgets to walk through a latent space, and to watch how it is learned."""

from minivae.explorer.sliders import Sliders, sliders
from minivae.explorer.trainer import Trainer, trainer
from minivae.explorer.widget import Explorer, explorer

__all__ = ["Explorer", "Sliders", "Trainer", "explorer", "sliders", "trainer"]
