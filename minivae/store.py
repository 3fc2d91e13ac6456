"""Trained models on disk: load one, or train it only the first time."""

import hashlib
import inspect
import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

from minivae import validate
from minivae.completion import PixelCVAE
from minivae.data import Rows, cache_folder
from minivae.engine import checkpoint as checkpoints
from minivae.engine.checkpoint import CheckpointError
from minivae.engine.device import tell_once
from minivae.engine.run import check, describe, is_plain
from minivae.evaluate import Classifier
from minivae.models import CVAE, VAE, Autoencoder
from minivae.semi import M2
from minivae.train import History, TrainConfig, fit

# modules whose code decides what training ends in, whatever the model
CODE = ["data", "engine.device", "engine.run", "likelihoods", "models"]
CODE += ["networks", "objective", "priors", "train"]
TRAINING = {"seed", "beta", "condition_dropout"}  # free for a loaded model
USUAL = vars(nn.Module()).keys() | {"options"}  # attributes without meaning


def fit_once(
    model: nn.Module, data: Rows, config: TrainConfig | None = None
) -> History:
    """As `fit`, but only the first time; later it loads the result.

    The result is kept in $MINIVAE_CACHE, else in the user's cache folder,
    under a key made of model and weights, options, data and the code of
    all that trains, so that a change of any of these trains anew. A model
    with a part of your own, whose code could call anything, is trained each
    time; to keep one, give `fit` a checkpoint.

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
    key = _key(model, data, config)
    if key is None:
        name = type(model).__name__
        tell_once(f"{name} has parts of your own: it is trained each time")
        return fit(model, data, config)
    folder = Path(os.environ.get("MINIVAE_CACHE") or cache_folder() / "models")
    path = folder / f"{type(model).__name__}-{key}.pt"
    try:
        done = checkpoints.load(path)["epoch"] == config.epochs
    except FileNotFoundError:
        done = False
    except CheckpointError:  # damaged: it can be made again
        path.unlink()
        done = False
    return fit(model, data, config, path, progress=not done)


def _key(model: nn.Module, data: Rows, config: TrainConfig) -> str | None:
    """Of all that decides what training ends in; None if not all is known."""
    about = (describe(model), config, data.source, data.split, data.digest())
    found = hashlib.sha256(repr(about).encode())
    for name, weight in (*model.named_parameters(), *model.named_buffers()):
        found.update(f"{name} {weight.dtype} {weight.requires_grad}".encode())
        content = weight.detach().cpu().contiguous().reshape(-1)
        found.update(content.view(torch.uint8).numpy().data)
    sources = {f"minivae.{name}" for name in CODE}
    for name, part in model.named_modules():
        held = {k: v for k, v in vars(part).items() if k not in USUAL}
        if getattr(held.get("encode"), "__self__", None) is model:
            del held["encode"]  # of a vamp prior; says no more than the model
        hooks = [v for k, v in vars(part).items() if k.endswith("hooks")]
        module = type(part).__module__
        ours = module.partition(".")[0] == "minivae"
        if not (
            (ours or module.startswith("torch.nn."))
            and all(map(is_plain, held.values()))
            and not any(hooks)
        ):
            return None
        found.update(f"{name} {type(part).__qualname__} {held}".encode())
        sources |= {module} if ours else set()
    for module in sorted(sources):
        found.update(inspect.getsource(sys.modules[module]).encode())
    return found.hexdigest()[:24]


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
    what = "does not hold the weights of this model"
    advice = "build it as it was when it was trained, and call "
    advice += "load_model(path, model=yours)"
    with checkpoints.explained(path, what, advice):
        if model is None:
            model = _built(state["model"], path)
        theirs, ours = state["model"]["options"], describe(model)["options"]
        for name in sorted(theirs.keys() & ours.keys() - TRAINING):
            if theirs[name] != ours[name]:
                raise ValueError(
                    f"{name} is {theirs[name]!r} there and {ours[name]!r} here"
                )
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
    return model.to(device)


def _built(described: dict[str, Any], path: str | Path) -> nn.Module:
    """The model that a checkpoint describes, of classes of this package."""
    kinds = (Autoencoder, VAE, CVAE, PixelCVAE, M2, Classifier)
    known = {kind.__name__: kind for kind in kinds}
    name, options = described["class"], described["options"]
    own = [str(v["own"]) for v in options.values() if isinstance(v, dict)]
    if name not in known or own:
        raise CheckpointError(
            f"{path}: is of {' with '.join([name, *own])}, which is not of "
            "this package; build it and call load_model(path, model=yours)"
        )
    return known[name](**options)
