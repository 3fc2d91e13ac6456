"""Widgets to walk through a latent space."""

from minivae.explorer.sliders import Sliders, sliders
from minivae.explorer.widget import Explorer, explorer

__all__ = ["Explorer", "Sliders", "explorer", "sliders"]
