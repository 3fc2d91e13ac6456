"""Save and load: a file is the complete old one or the complete new one."""

import contextlib
import glob
import os
import zipfile
from pathlib import Path
from typing import Any

import torch

from minivae import models

FORMAT = 1  # raised when a file of an older release could not be read


class CheckpointError(RuntimeError):
    """A checkpoint cannot be read, written or used for this run."""


def save(path: str | Path, state: dict[str, Any]) -> None:
    """Write a checkpoint so that a kill at any moment loses nothing.

    The state goes to a second file in the same folder, reaches the disk,
    and then takes the place of the first in one step.

    Args:
        path: the file; its folder is made if it is missing.
        state: tensors, numbers, texts, and lists and dicts of these.

    Raises:
        CheckpointError: the folder cannot be written or the disk is full.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for stray in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
            stray.unlink(missing_ok=True)  # of a save that was killed
        with open(part, "wb") as stream:
            torch.save({"format": FORMAT} | state, stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(part, path)
    except (OSError, RuntimeError) as error:  # torch raises either on a write
        with contextlib.suppress(OSError):
            part.unlink()
        raise CheckpointError(
            f"{path}: cannot be written ({error}); choose a folder that you "
            "may write to, with a few megabytes to spare. A checkpoint that "
            "was there is unchanged"
        ) from error


def load(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint, whole and unaltered, onto the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: damaged, of another kind, or of a newer release.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"{path}: no checkpoint there; check the path, or train one with "
            "python -m minivae train --checkpoint PATH"
        )
    try:
        # torch does not look at the checksums that it stores
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged:
            raise ValueError(f"{damaged} fails its checksum")
        state = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(state, dict) or type(state.get("format")) is not int:
            raise ValueError("it was not written by minivae")
    except Exception as error:  # a damaged file fails in many ways
        size = path.stat().st_size if path.is_file() else "no file"
        # torch's own text would say how to load it without the protection
        known = isinstance(error, OSError | ValueError | zipfile.BadZipFile)
        reason = str(error)[:120] if known else "more than plain tensors"
        raise CheckpointError(
            f"{path} ({size} bytes): not a whole minivae checkpoint "
            f"({reason}); restore it from a copy, or delete it and train again"
        ) from error
    if state["format"] > FORMAT:
        raise CheckpointError(
            f"{path}: format {state['format']}, this minivae reads up to "
            f"{FORMAT}; upgrade minivae"
        )
    return state


def describe(model: models.Autoencoder) -> dict[str, Any]:
    """The class and the options that it takes to build a model again."""
    return {"class": type(model).__name__, "options": model.options}


def load_model(
    path: str | Path, device: torch.device | str = "cpu"
) -> models.Autoencoder:
    """Build the model of a checkpoint, with its trained weights.

    Raises:
        FileNotFoundError, CheckpointError: as for `load`.
    """
    state = load(path)
    known = {
        c.__name__: c for c in (models.Autoencoder, models.VAE, models.CVAE)
    }
    try:
        described = state["model"]
        model = known[described["class"]](**described["options"])
        model.load_state_dict(state["weights"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{path}: holds no model that this minivae can build "
            f"({' '.join(str(error).split()):.150}); use the release "
            "that wrote it"
        ) from error
    return model.to(device)
