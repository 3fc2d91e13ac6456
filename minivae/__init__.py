"""Autoencoders, VAEs and conditional VAEs: the package behind the book."""

from minivae.checkpoint import CheckpointError, load_model
from minivae.data import DatasetError, Digits, batches, load_digits
from minivae.evaluate import Judge, codes, evaluate, log_likelihood
from minivae.latent import (
    draw,
    latent_grid,
    quantile_grid,
    reconstruct,
    same_style,
    sample_digits,
)
from minivae.models import CVAE, VAE, Autoencoder
from minivae.train import History, TrainConfig, fit, fit_once

__version__ = "0.1.0"
__all__ = [
    "CVAE",
    "VAE",
    "Autoencoder",
    "CheckpointError",
    "DatasetError",
    "Digits",
    "History",
    "Judge",
    "TrainConfig",
    "batches",
    "codes",
    "draw",
    "evaluate",
    "fit",
    "fit_once",
    "latent_grid",
    "load_digits",
    "load_model",
    "log_likelihood",
    "quantile_grid",
    "reconstruct",
    "same_style",
    "sample_digits",
]
