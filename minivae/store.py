"""Trained models on disk: load one, or train it only the first time."""

import hashlib
import inspect
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from minivae import validate
from minivae.data import Rows, cache_folder
from minivae.engine import checkpoint as checkpoints
from minivae.engine.checkpoint import CheckpointError
from minivae.engine.run import check, describe, is_plain
from minivae.evaluate import Classifier
from minivae.models import CVAE, VAE, Autoencoder
from minivae.train import History, TrainConfig, fit


def fit_once(
    model: nn.Module, data: Rows, config: TrainConfig | None = None
) -> History:
    """As `fit`, but only the first time; later it loads the result.

    The result is kept in $MINIVAE_CACHE, else in the user's cache folder,
    under a key made of model and weights, options, data and the code of
    all that trains, so that a change of any of these trains anew.

    Args:
        model, data, config: as for `fit`.

    Returns:
        One entry for each epoch.

    Example:
        >>> from minivae import Autoencoder, Table
        >>> model, data = Autoencoder(1, (), (2,)), Table(torch.eye(2))
        >>> first = fit_once(model, data, TrainConfig(epochs=1))
        >>> model = Autoencoder(1, (), (2,))
        >>> first == fit_once(model, data, TrainConfig(epochs=1))
        True
    """
    config = TrainConfig() if config is None else config
    validate.kind("config", config, TrainConfig)
    check(model, data)
    about = (describe(model), config, data.source, data.split, data.digest())
    key = hashlib.sha256(repr(about).encode())
    for name, value in model.state_dict().items():
        key.update(name.encode())
        key.update(value.detach().cpu().contiguous().numpy().data)
    parts = _parts(model)
    for name, part in parts.items():
        key.update(f"{name} {_settings(part)}".encode())
    for code in _sources(parts.values()):
        key.update(code.encode())
    folder = Path(os.environ.get("MINIVAE_CACHE") or cache_folder() / "models")
    path = folder / f"{type(model).__name__}-{key.hexdigest()[:24]}.pt"
    try:
        done = checkpoints.load(path)["epoch"] == config.epochs
    except FileNotFoundError:
        done = False
    except CheckpointError:  # damaged: it can be made again
        path.unlink()
        done = False
    return fit(model, data, config, path, progress=not done)


# modules whose code decides what training ends in
CODE = ("data", "engine.device", "engine.run", "objective", "train")


FOREIGN = ("torch", "numpy", "builtins", "collections", "typing")


def _is_foreign(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in FOREIGN


def _parts(model: nn.Module) -> dict[str, Any]:
    """What a model is made of: modules, and other objects that they hold."""
    found: dict[str, Any] = dict(model.named_modules())
    for name, module in [*found.items()]:
        for key, value in vars(module).items():
            if not _is_foreign(type(value)):
                found[f"{name}.{key}"] = value
    return found


def _settings(part: Any) -> str:
    """The plain numbers and texts in a part, such as of `nn.Dropout(0.1)`."""
    held = sorted(getattr(part, "__dict__", {}).items())
    plain = {k: v for k, v in held if is_plain(v) and k != "training"}
    return f"{type(part).__qualname__} {plain}"


def _sources(parts: Iterable[Any]) -> list[str]:
    """The code of the classes in a model, and of what trains it."""
    classes = {k for part in parts for k in type(part).__mro__}
    classes = {k for k in classes if not _is_foreign(k)}
    names = {f"minivae.{m}" for m in CODE} | {k.__module__ for k in classes}
    files = {n: getattr(sys.modules.get(n), "__file__", None) for n in names}
    found = [
        inspect.getsource(sys.modules[name])
        for name in sorted(names)
        if files[name]
    ]
    # a class of a notebook has no file: its compiled code stands for it
    own = [k for k in classes if not files[k.__module__]]
    return found + [
        repr(_compiled(k)) for k in sorted(own, key=lambda k: k.__qualname__)
    ]


def _compiled(thing: Any) -> object:
    """What a class or a function does, as texts that stay the same."""
    code = getattr(thing, "__code__", thing)
    if inspect.iscode(code):
        named = getattr(thing, "__kwdefaults__", None) or {}
        given = (getattr(thing, "__defaults__", None) or (), *named.items())
        constants = [_compiled(c) for c in (*given, *code.co_consts)]
        return [code.co_code.hex(), code.co_names, constants]
    if inspect.isclass(thing):
        return [
            (name, _compiled(v)) for name, v in sorted(vars(thing).items())
        ]
    wrapped = getattr(thing, "__func__", getattr(thing, "fget", None))
    if wrapped is not None:
        return _compiled(wrapped)
    return repr(thing) if type(thing) in (int, float, str, tuple, bool) else ""


def load_model(
    path: str | Path,
    device: torch.device | str = "cpu",
    model: nn.Module | None = None,
) -> Any:
    """Build the model of a checkpoint, with its trained weights.

    Args:
        path: a file that `fit` has written.
        device: where to put the model.
        model: yours, to fill with the weights, if its class or one of its
            parts is not of this package; None builds it from the file.

    Returns:
        The model.

    Raises:
        FileNotFoundError, CheckpointError: as for `checkpoint.load`, or the
            file is of another model.

    Example:
        >>> from minivae import VAE
        >>> model = VAE(n_latent=2)
        >>> state = {"model": describe(model), "weights": model.state_dict()}
        >>> checkpoints.save("try.pt", state)
        >>> load_model("try.pt").n_latent
        2
        >>> Path("try.pt").unlink()
    """
    device = validate.device(device)
    validate.kind("model", model, nn.Module, type(None))
    state = checkpoints.load(path)
    try:
        model = _built(state["model"], path) if model is None else model
        weights, mine = state["weights"], model.state_dict()
        if unknown := sorted(weights.keys() - mine.keys()):
            raise ValueError(f"{unknown[0]} is only there")
        for name, value in mine.items():
            if weights[name].shape != value.shape:
                raise ValueError(
                    f"{name} is {tuple(weights[name].shape)} there and "
                    f"{tuple(value.shape)} here"
                )
        model.load_state_dict(weights)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _no_model(path, error) from error
    except RuntimeError as error:
        if isinstance(error, CheckpointError):
            raise
        raise _no_model(path, error) from error
    return model.to(device)


def _no_model(path: str | Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{path}: does not hold the weights of this model "
        f"({' '.join(str(error).split()):.150}); build it as it was when it "
        "was trained, and call load_model(path, model=yours)"
    )


def _built(described: dict[str, Any], path: str | Path) -> nn.Module:
    """The model that a checkpoint describes, of classes of this package."""
    kinds = (Autoencoder, VAE, CVAE, Classifier)
    known = {kind.__name__: kind for kind in kinds}
    name, options = described["class"], described["options"]
    own = [str(v["own"]) for v in options.values() if isinstance(v, dict)]
    if name not in known or own:
        raise CheckpointError(
            f"{path}: is of {' with '.join([name, *own])}, which is not of "
            "this package; build it and call load_model(path, model=yours)"
        )
    return known[name](**options)
