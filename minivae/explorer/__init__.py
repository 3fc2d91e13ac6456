"""Sliders over the latent space."""

from minivae.explorer.sliders import Sliders, sliders

__all__ = ["Sliders", "sliders"]
