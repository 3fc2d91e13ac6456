"""Save and load: a file is the complete old one or the complete new one."""

import contextlib
import glob
import hashlib
import io
import os
import secrets
import shutil
import socket
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from minivae import validate

FORMAT = 3  # raised when the content changes; older files still load
# what goes wrong with a file that holds something else
UNFIT = (AttributeError, LookupError, RuntimeError, TypeError, ValueError)
STALE = 600  # seconds after which no save is still at work on its part


class CheckpointError(RuntimeError):
    """A checkpoint cannot be read, written or used for this run.

    Example:
        >>> load(".")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        minivae.engine.checkpoint.CheckpointError: . (...): not a ...
    """


@contextlib.contextmanager
def explained(path: str | Path, what: str, advice: str) -> Iterator[None]:
    """Name a file whose content does not fit, whatever goes wrong inside.

    Args:
        path: of the file.
        what: does not fit.
        advice: what to do.

    Raises:
        CheckpointError: it does not fit.

    Example:
        >>> try:
        ...     with explained("vae.pt", "is no VAE", "train one"):
        ...         {}["weights"]
        ... except CheckpointError as error:
        ...     print(error)
        vae.pt: is no VAE ('weights'); train one
    """
    try:
        yield
    except CheckpointError:
        raise
    except UNFIT as error:
        reason = " ".join(str(error).split())
        text = f"{path}: {what} ({reason:.150}); {advice}"
        raise CheckpointError(text) from error


def save(path: str | Path, state: dict[str, Any]) -> None:
    """Write a checkpoint so that a kill at any moment loses nothing.

    The state goes to a second file in the same folder, reaches the disk,
    and then takes the place of the first in one step.

    Args:
        path: the file; its folder is made if it is missing.
        state: tensors, numbers, texts, and lists and dicts of these.

    Raises:
        CheckpointError: the folder cannot be written or the disk is full.
        TypeError: the state holds what `load` would refuse.

    Example:
        >>> save("try.pt", {"epoch": 3})
        >>> load("try.pt")
        {'format': 3, 'epoch': 3}
        >>> Path("try.pt").unlink()
    """
    validate.path("path", path, "checkpoints/vae.pt")
    validate.kind("state", state, dict)
    path = Path(path)
    part = path.with_name(f"{_prefix(path)}{secrets.token_hex(4)}.part")
    content, size = io.BytesIO(), 0
    try:
        _write({"format": FORMAT} | state, content)
        size = content.tell()
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale_parts(path)
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
            "you may write to, with room; MINIVAE_CACHE names that of "
            "fit_once. A checkpoint that was there is unchanged"
        ) from error


def _write(state: dict[str, Any], content: io.BytesIO) -> None:
    """Write a state, and refuse one that could not be read."""
    try:
        torch.save(state, content)
        content.seek(0)
        torch.load(content, map_location="cpu", weights_only=True)
        content.seek(0, io.SEEK_END)
    except (OSError, RuntimeError):
        raise
    except Exception as error:
        raise TypeError(
            "state: expected tensors, numbers, texts, lists and dicts, got "
            f"more ({' '.join(str(error).split())[-80:]}); convert NumPy "
            "values with .item(), and leave out objects"
        ) from error


def _prefix(path: Path) -> str:
    """How the part of a save begins: who writes it, and where."""
    machine = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
    return f".{path.name}.{machine}-{os.getpid()}-"


def _remove_stale_parts(path: Path) -> None:
    """Remove what killed saves have left; others may be at work now."""
    mine, _, _ = _prefix(path).rpartition(f"-{os.getpid()}-")
    for part in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        with contextlib.suppress(OSError, ValueError):
            old = time.time() - part.stat().st_mtime > STALE
            if old or (
                part.name.startswith(f"{mine}-")
                and not _lives(int(part.name.split("-")[-2]))
            ):
                part.unlink()


def _lives(process: int) -> bool:
    if os.name == "nt":  # there a signal of 0 would end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


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
            f"({reason}); check the path, restore the file from a copy, or "
            "train to another one"
        ) from error
    if state["format"] > FORMAT:
        raise CheckpointError(
            f"{path}: format {state['format']}, this minivae reads up to "
            f"{FORMAT}; upgrade minivae"
        )
    if state["format"] == FORMAT:
        return state
    what = f"holds no run of format {state['format']} that could go on"
    with explained(path, what, "delete it and train again"):
        return _modern(state)


def _modern(state: dict[str, Any]) -> dict[str, Any]:
    """A state of an older format as the present one.

    The first format had fewer options and could stop only between epochs;
    both had other names, and only parameters, no buffers.
    """
    if "model" not in state:
        return state  # not of a model
    old = state["model"]
    options = dict(old["options"])
    if "n_pixels" in options:
        n = options.pop("n_pixels")
        options["shape"] = (1, 28, 28) if n == 784 else (n,)
        parts = {"network": "mlp", "encoder": None, "decoder": None}
        prior = {"prior": "standard"} if "likelihood" in options else {}
        options |= parts | prior
    if "withhold" in options:
        options["condition_dropout"] = options.pop("withhold")
    kind = {"Judge": "Classifier"}.get(old["class"], old["class"])
    state = state | {"model": {"class": kind, "options": options}}
    names = list(state.get("weights", ()))
    for part in ("weights", "moving"):
        if part in state:
            state[part] = {_new_name(k): v for k, v in state[part].items()}
    if not {"config", "optimizer"} <= state.keys():
        return state  # not of a run
    adam = {"exp_avg": "mean", "exp_avg_sq": "square", "step": "steps"}
    kept = state["optimizer"]
    if state["format"] == 1:
        moments = {names[i]: part for i, part in kept["state"].items()}
    else:  # a fixed sigma was no part of it
        if len(kept["mean"]) < len(names):
            names.remove("log_sigma")
        moments = {
            name: {part: kept[old][i] for part, old in adam.items()}
            for i, name in enumerate(names)
        }
    sums = state.get("sums", [])
    return state | {
        "optimizer": {_new_name(k): v for k, v in moments.items()},
        "sums": torch.stack(sums).double().sum(0) if sums else None,
        "seconds": 0.0,
    }


def _new_name(weight: str) -> str:
    return f"likelihood.{weight}" if weight == "log_sigma" else weight
