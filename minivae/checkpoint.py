"""Save and load: a file is the complete old one or the complete new one."""

import contextlib
import glob
import io
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import torch

from minivae import models, validate

FORMAT = 2  # raised when the content changes; older files still load


class CheckpointError(RuntimeError):
    """A checkpoint cannot be read, written or used for this run.

    Example:
        >>> load(".")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        minivae.checkpoint.CheckpointError: . (...): not a whole minivae ...
    """


def save(path: str | Path, state: dict[str, Any]) -> None:
    """Write a checkpoint so that a kill at any moment loses nothing.

    The state goes to a second file in the same folder, reaches the disk,
    and then takes the place of the first in one step.

    Args:
        path: the file; its folder is made if it is missing.
        state: tensors, numbers, texts, and lists and dicts of these.

    Raises:
        CheckpointError: the folder cannot be written or the disk is full.

    Example:
        >>> save("try.pt", {"epoch": 3})
        >>> load("try.pt")
        {'format': 2, 'epoch': 3}
        >>> Path("try.pt").unlink()
    """
    validate.path("path", path, "checkpoints/vae.pt")
    validate.kind("state", state, dict)
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    content, size = io.BytesIO(), 0
    try:
        torch.save({"format": FORMAT} | state, content)
        size = content.tell()
        path.parent.mkdir(parents=True, exist_ok=True)
        for stray in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
            stray.unlink(missing_ok=True)  # of a save that was killed
        with open(part, "wb") as stream:
            stream.write(content.getbuffer())
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(part, path)
    except (OSError, RuntimeError) as error:
        with contextlib.suppress(OSError):
            part.unlink()
        reason = getattr(error, "strerror", None) or str(error)[:100]
        raise CheckpointError(
            f"{path}: cannot be written ({reason}); it needs "
            f"{size / 1e6:.2f} MB, {_free(path.parent)}. Choose a folder that "
            "you may write to, with room. A checkpoint that was there is "
            "unchanged"
        ) from error


def _free(folder: Path) -> str:
    try:
        while not folder.exists():
            folder = folder.parent
        return f"and {shutil.disk_usage(folder).free / 1e6:.2f} MB are free"
    except OSError:
        return "and how much is free is not known"


def load(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint, whole and unaltered, onto the CPU.

    Returns:
        What `save` was given, and "format".

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: damaged, of another kind, or of a newer release.

    Example:
        >>> save("try.pt", {"weights": {"bias": torch.zeros(2)}})
        >>> load("try.pt")["weights"]
        {'bias': tensor([0., 0.])}
        >>> Path("try.pt").unlink()
    """
    validate.path("path", path, "checkpoints/vae.pt")
    path, size = Path(path), "no"
    try:
        size = str(path.stat().st_size)
        if not path.is_file():  # a pipe or a device might never end
            raise ValueError("it is not a file")
        # torch does not look at the checksums that it stores
        with zipfile.ZipFile(path) as archive:
            damaged, names = archive.testzip(), archive.namelist()
            starts = [record.header_offset for record in archive.infolist()]
        if damaged:
            raise ValueError(f"{damaged} fails its checksum")
        # of two archives in one file, torch would read the other one
        if 0 not in starts or len(names) > len(set(names)):
            raise ValueError("it is not one archive")
        state = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(state, dict) or type(state.get("format")) is not int:
            raise ValueError("it was not written by minivae")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(
            f"{path}: no checkpoint there; check the path, or train one with "
            "python -m minivae train --checkpoint PATH"
        ) from error
    except Exception as error:  # a damaged file fails in many ways
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
    try:
        return _modern(state) if state["format"] == 1 else state
    except (AttributeError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path}: holds no run of format 1 that could go on; delete it "
            "and train again"
        ) from error


def _modern(state: dict[str, Any]) -> dict[str, Any]:
    """A state of the first format as the present one."""
    if not {"config", "optimizer"} <= state.keys():
        return state  # not of a run
    # runs could stop only between epochs, had fewer options, and kept the
    # state of Adam as torch.optim does
    new = {"decay": 0.0, "precision": "auto", "compile": "auto"}
    parts = (("mean", "exp_avg"), ("square", "exp_avg_sq"), ("steps", "step"))
    kept = state["optimizer"]["state"].values()
    adam = {name: [one[old] for one in kept] for name, old in parts}
    return state | {
        "sums": [],
        "config": new | state["config"],
        "optimizer": adam,
    }


def describe(model: models.Autoencoder) -> dict[str, Any]:
    """The class and the options that it takes to build a model again.

    Example:
        >>> found = describe(models.VAE(n_latent=2))
        >>> found["class"], found["options"]["n_latent"]
        ('VAE', 2)
    """
    return {"class": type(model).__name__, "options": model.options}


def load_model(
    path: str | Path, device: torch.device | str = "cpu"
) -> models.Autoencoder:
    """Build the model of a checkpoint, with its trained weights.

    Args:
        path: a file that `fit` has written.
        device: where to put the model.

    Returns:
        An `Autoencoder`, `VAE` or `CVAE`.

    Raises:
        FileNotFoundError, CheckpointError: as for `load`.

    Example:
        >>> model = models.VAE(n_latent=2)
        >>> state = {"model": describe(model), "weights": model.state_dict()}
        >>> save("try.pt", state)
        >>> load_model("try.pt").n_latent
        2
        >>> Path("try.pt").unlink()
    """
    device = validate.device(device)
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
