"""Autoencoders, VAEs and conditional VAEs: the package behind the book."""

from minivae.completion import PixelCVAE
from minivae.data import DatasetError, Images, Table, batches, load_digits
from minivae.engine import checkpoint
from minivae.engine.checkpoint import CheckpointError
from minivae.evaluate import Classifier, codes, evaluate, log_likelihood
from minivae.latent import (
    latent_grid,
    pictures,
    quantile_grid,
    reconstruct,
    same_style,
    sample,
)
from minivae.models import CVAE, VAE, Autoencoder
from minivae.semi import M2, few_labels
from minivae.store import fit_once, load_model
from minivae.train import History, TrainConfig, fit

__version__ = "0.2.0"

# names of release 0.1
Digits, Judge, draw, sample_digits = Images, Classifier, pictures, sample

__all__ = [
    "CVAE",
    "M2",
    "VAE",
    "Autoencoder",
    "CheckpointError",
    "Classifier",
    "DatasetError",
    "History",
    "Images",
    "PixelCVAE",
    "Table",
    "TrainConfig",
    "batches",
    "checkpoint",
    "codes",
    "evaluate",
    "few_labels",
    "fit",
    "fit_once",
    "latent_grid",
    "load_digits",
    "load_model",
    "log_likelihood",
    "pictures",
    "quantile_grid",
    "reconstruct",
    "same_style",
    "sample",
]
