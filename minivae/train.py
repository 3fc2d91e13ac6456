"""The training loop: the same for every model, on one screen."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from minivae import engine, validate
from minivae.data import Rows
from minivae.engine.run import Run


@dataclass(frozen=True)
class TrainConfig:
    """Options of a training run; stored in its checkpoint.

    Args:
        epochs: passes over the data.
        batch_size: rows in a batch; if not given 128, or 512 of 20,000 on.
        lr: step size of Adam; by the batch size if not given.
        warmup: steps until the step size is reached.
        decay: share of the steps, the last, in which it falls to 0.
        kl_warmup: steps until the KL has its full weight.
        kl_cycles: how often the KL warms up, with as many steps between.
        seed: selects order and noise, and on the command line the weights.
        device: auto is CUDA, else MPS, else the CPU.
        precision: of matrix products; auto is the fastest that is safe.
        compile: by torch.compile; auto is where the run is long enough.

    Raises:
        ValueError: an option is out of range.

    Example:
        >>> config = TrainConfig(epochs=3).sized(60_000)
        >>> config.batch_size, config.lr
        (512, 0.004)
    """

    epochs: int = 10
    batch_size: int | None = None
    lr: float | None = None
    warmup: int = 100
    decay: float = 0.0
    kl_warmup: int = 0
    kl_cycles: int = 1
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    compile: str = "auto"

    def __post_init__(self) -> None:
        found: dict[str, object] = {
            "epochs": validate.whole("epochs", self.epochs, 1, 10),
            "warmup": validate.whole("warmup", self.warmup, 1, 100),
            "decay": validate.probability("decay", self.decay),
            "kl_warmup": validate.whole("kl_warmup", self.kl_warmup, 0, 1000),
            "kl_cycles": validate.whole("kl_cycles", self.kl_cycles, 1, 4),
            "seed": validate.whole("seed", self.seed, 0, 0),
        }
        if self.batch_size is not None:
            size = validate.whole("batch_size", self.batch_size, 1, 128)
            found["batch_size"] = size
        if self.lr is not None:
            found["lr"] = validate.number("lr", self.lr, 2e-3)
        validate.choice("precision", self.precision, engine.PRECISIONS)
        validate.choice("compile", self.compile, engine.COMPILE)
        for name, value in found.items():  # plain numbers, not NumPy's
            object.__setattr__(self, name, value)

    def sized(self, n_rows: int) -> "TrainConfig":
        """The same options, with batch and step size for so many rows.

        The noise of a gradient falls with the root of the batch size, and
        the step of Adam may grow with it (Malladi et al. 2022).
        """
        size = self.batch_size or (512 if n_rows >= 20_000 else 128)
        lr = self.lr or 2e-3 * math.sqrt(size / 128)
        return replace(self, batch_size=size, lr=lr)


class History:
    """Means over the rows of each epoch, in the units of the model.

    The losses are those of the moving weights while they learned. The
    model that `fit` returns is their average and a little better.

    Args:
        series: name -> a value for each epoch, such as loss=[180.0].

    Attributes:
        loss, reconstruction, kl: and whatever other terms the model has;
            empty for those that it lacks.
        digits_per_second: rows that an epoch trained on, by its seconds.
        stopped: whether a signal ended the run before its time.

    Example:
        >>> history = History(loss=[180.0, 150.0])
        >>> history, history.loss[-1], history.kl
        (History(2 epochs, loss 150), 150.0, [])
    """

    def __init__(self, **series: list[float]) -> None:
        usual = ("loss", "reconstruction", "kl", "digits_per_second")
        self.series = {name: series.get(name, []) for name in usual}
        self.series |= series
        self.stopped = False

    def __getattr__(self, name: str) -> list[float]:
        if name != "series" and name in self.series:
            return self.series[name]
        known = list(self.__dict__.get("series", ()))
        raise AttributeError(f"a history of {known} has no {name}")

    def append(self, means: dict[str, float], rate: float) -> None:
        """Add an epoch: its terms, and rows per second."""
        for name, value in (means | {"digits_per_second": rate}).items():
            self.series.setdefault(name, []).append(value)

    def __len__(self) -> int:
        return len(self.loss)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, History) and self.series == other.series

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        last = f", loss {self.loss[-1]:.4g}" if self.loss else ""
        return f"History({len(self)} epochs{last})"


def fit(
    model: nn.Module,
    data: Rows,
    config: TrainConfig | None = None,
    checkpoint: str | Path | None = None,
    progress: bool = True,
    on_epoch: Callable[[int, Any, History], object] | None = None,
) -> History:
    """Train a model with Adam and leave it with its averaged weights.

    Kingma & Ba 2015 for the steps, Shamir & Zhang 2013 for the average. It
    takes each of the first 500 steps and every fifth of those after them.
    With a checkpoint, a run that was stopped goes on where it was and ends,
    on the same machine, with the same bits. Ctrl+C ends the run after the
    step, with all that was learnt so far. Under torchrun the processes
    share each batch.

    Each call is a run of its own, with a warm-up of the step size and an
    average from the beginning: ten calls of one epoch end far behind one
    call of ten. To look at the model between epochs, to log, or to stop
    early, give `on_epoch`.

    Args:
        model: trained in place, on the device of the config; afterwards it
            is back on the device where it was. Besides the models of this
            package, any module whose `forward(x, y, noise)` returns a dict
            of terms, (B,) each, of which "loss" is lowered.
        data: `Images` or `Table` to train on.
        config: options; None is `TrainConfig()`.
        checkpoint: file to save to after each epoch and to resume from.
        progress: whether to show a bar and say what happens.
        on_epoch: called after each epoch with its number, from 0, the model
            with its averaged weights, in `eval()`, and the history; return
            True to stop. Another call goes on from there.

    Returns:
        One entry for each epoch, those before a resume included; `stopped`
        is true after Ctrl+C.

    Raises:
        TypeError, ValueError: bad options, the loss became NaN or infinite,
            or a batch does not fit in memory.
        CheckpointError: the checkpoint is damaged or of another run.
        SystemExit: SIGTERM came; the checkpoint is written.

    Example:
        >>> import torch
        >>> from minivae import Autoencoder, Table
        >>> model, data = Autoencoder(1, (), (2,)), Table(torch.eye(2))
        >>> history = fit(model, data, TrainConfig(epochs=3), progress=False)
        >>> len(history.loss), history.stopped
        (3, False)
    """
    config = TrainConfig() if config is None else config
    validate.kind("config", config, TrainConfig)
    validate.function("on_epoch", on_epoch, "print")
    run = Run(model, data, config, History(), checkpoint, progress)
    with run.stops_between_steps():
        for epoch in run.epochs():
            for x, y, noise in run.batches(epoch):
                terms = run.forward(x, y, noise)  # (B,) each
                loss = run.mean_loss(terms)
                run.optimizer.zero_grad()
                loss.backward()
                run.optimizer.step()
                run.schedule.step()
                run.update_average()
                run.record(terms)
            if run.close() and on_epoch is not None:
                run.end(on_epoch(epoch, run.average.module, run.history))
    return run.finish()
