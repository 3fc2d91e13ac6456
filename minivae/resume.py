"""What a run must store so that a stopped one goes on with the same bits.

Besides the weights: the state of Adam, the average of the weights, how many
steps are done, and what the present epoch has summed up so far. Order and
noise are functions of the seed and of the step, so they need no storage.
"""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minivae.checkpoint import CheckpointError, describe


def state(run) -> dict:
    """The whole state of a `train.Run` between two steps.

    Example:
        >>> from minivae import Autoencoder, TrainConfig, data, train
        >>> model = Autoencoder(1, hidden=(), n_pixels=2)
        >>> rows = data.Table(torch.eye(2))
        >>> saved = state(train.Run(model, rows, TrainConfig()))
        >>> saved["epoch"], saved["step"], saved["data"]["n"]
        (0, 0, 2)
    """
    names = [name for name, _ in run.model.named_parameters()]
    return {
        "model": describe(run.model),
        "weights": dict(zip(names, run.average)),
        "moving": dict(zip(names, run.weights)),
        "optimizer": run.optimizer.state,
        "config": asdict(run.config),
        "data": _data(run),
        "epoch": run.epoch,
        "step": run.step,
        "sums": run.sums,
        "history": asdict(run.history),
    }


def restore(run, saved: dict, path: str | Path) -> None:
    """Give a new run the state of an old one.

    Args:
        run: a new `train.Run`, of the same settings.
        saved: of `state`.
        path: where it was read, for the messages.

    Raises:
        CheckpointError: it has other settings, or lacks something.

    Example:
        >>> from minivae import Autoencoder, TrainConfig, data, train
        >>> model = Autoencoder(1, hidden=(), n_pixels=2)
        >>> rows = data.Table(torch.eye(2))
        >>> run = train.Run(model, rows, TrainConfig())
        >>> restore(run, state(run) | {"step": 1}, "vae.pt")
        >>> run.step
        1
    """
    mine = {
        "model": describe(run.model),
        "config": asdict(run.config),
        "data": _data(run),
    }
    # with a decay, the size of a step depends on where the run ends
    free = {"device"} if run.config.decay else {"device", "epochs"}
    for part, settings in mine.items():
        _compare(path, saved.get(part), settings, free)
    try:
        epoch, step, sums = saved["epoch"], saved["step"], saved["sums"]
        history = type(run.history)(**saved["history"])
        adam, parts = run.optimizer, saved["optimizer"]
        pairs = _pairs(run.weights, saved["moving"].values())
        pairs += _pairs(run.average, saved["weights"].values())
        for name, part in adam.state.items():
            pairs += _pairs(part, parts[name])
        sums = [v.to(run.digits.device) for v in sums]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path}: cannot be resumed "
            f"({' '.join(str(error).split()):.150}); train to another "
            "file, or delete this one"
        ) from error
    # all of it fits: only now anything is changed
    with torch.no_grad():
        for mine, old in pairs:
            mine.copy_(old)
    run.history, run.epoch, run.step, run.sums = history, epoch, step, sums


def _pairs(mine: list[Tensor], saved: Iterable[Tensor]) -> list:
    """Tensors of the run and of the file, side by side."""
    pairs = list(zip(mine, saved, strict=True))
    for new, old in pairs:
        if new.shape != old.shape:
            raise ValueError(f"{tuple(old.shape)} for {tuple(new.shape)}")
    return pairs


def _data(run) -> dict:
    digits = run.digits
    return {
        "source": digits.source,
        "split": digits.split,
        "n": len(digits),
        "digest": run.digest,
    }


def _compare(path: str | Path, saved: Any, mine: dict, free: set[str]) -> None:
    """Refuse a checkpoint of a run with other settings."""
    if not isinstance(saved, dict):
        raise CheckpointError(
            f"{path}: says nothing of {', '.join(mine)}, so it cannot be "
            "resumed; train to another file"
        )
    for name in mine:
        if name in free:
            continue
        if isinstance(mine[name], dict):
            _compare(path, saved.get(name), mine[name], free)
        elif saved.get(name) != mine[name]:
            raise CheckpointError(
                f"{path}: was written with {name} = {saved.get(name)!r}, but "
                f"this run has {mine[name]!r}; use the same {name}, or "
                "another file"
            )
