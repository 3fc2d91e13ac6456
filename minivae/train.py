"""The training loop: the same for every model, resumable at every epoch."""

import hashlib
import inspect
import os
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from minivae import checkpoint as checkpoints
from minivae import validate
from minivae.checkpoint import CheckpointError
from minivae.data import (
    Digits,
    Rows,
    Table,
    batches,
    cache_folder,
    seeded,
)
from minivae.models import Autoencoder

# modules whose code decides what training ends in
CODE = ("data", "models", "objective", "train")


@dataclass(frozen=True)
class TrainConfig:
    """Options of a training run; stored in its checkpoint.

    Raises:
        ValueError: an option is out of range.
    """

    epochs: int = 10  # passes over the digits
    batch_size: int = 128  # digits
    lr: float = 2e-3  # step size of Adam
    warmup: int = 200  # steps until the step size is reached
    kl_warmup: int = 0  # steps until the KL has its full weight
    seed: int = 0  # selects order, binarisation and noise
    device: str = "auto"  # "auto" is CUDA, else MPS, else the CPU

    def __post_init__(self) -> None:
        validate.whole("epochs", self.epochs, 1, 10)
        validate.whole("batch_size", self.batch_size, 1, 128)
        validate.number("lr", self.lr, 2e-3)
        validate.whole("warmup", self.warmup, 1, 200)
        validate.whole("kl_warmup", self.kl_warmup, 0, 1000)
        validate.whole("seed", self.seed, 0, 0)


@dataclass
class History:
    """Means over the digits of each epoch, in the units of the model.

    The losses are those of the moving weights while they learned. The
    model that `fit` returns is their average and a little better.
    """

    loss: list[float] = field(default_factory=list)
    reconstruction: list[float] = field(default_factory=list)
    kl: list[float] = field(default_factory=list)  # empty without a KL
    digits_per_second: list[float] = field(default_factory=list)

    def __repr__(self) -> str:
        last = f", loss {self.loss[-1]:.4g}" if self.loss else ""
        return f"History({len(self.loss)} epochs{last})"


def find_device(name: str = "auto") -> torch.device:
    """The device of this name; "auto" is CUDA, else MPS, else the CPU.

    Raises:
        ValueError: unknown, or not on this machine.
    """
    if name == "auto":
        if torch.cuda.is_available():
            name = "cuda"
        elif torch.backends.mps.is_available():
            name = "mps"
        else:
            name = "cpu"
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda", "mps", "xpu"):
            raise RuntimeError("it cannot train")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ValueError(
            f"device: {name!r} is not usable here "
            f"({str(error).splitlines()[0]:.120}); choose auto or cpu"
        ) from error
    return device


def fit(
    model: Autoencoder,
    digits: Rows,
    config: TrainConfig | None = None,
    checkpoint: str | Path | None = None,
    progress: bool = True,
) -> History:
    """Train a model with Adam and leave it with its averaged weights.

    Kingma & Ba 2015 for the steps, Shamir & Zhang 2013 for the average.
    With a checkpoint, a run that was stopped goes on where its last epoch
    ended and ends, on the same machine, with the same bits.

    Args:
        model: trained in place, and moved to the device.
        digits: to train on.
        config: options; None is `TrainConfig()`.
        checkpoint: file to save to after each epoch and to resume from.
        progress: whether to show a bar and say what happens.

    Returns:
        One entry for each epoch, those before a resume included.

    Raises:
        ValueError: bad options, or the loss became NaN or infinite.
        CheckpointError: the checkpoint is damaged or of another run.
    """
    from tqdm.auto import tqdm  # here, so that importing minivae is quick

    config = TrainConfig() if config is None else config
    validate.kind("model", model, nn.Module)
    validate.kind("digits", digits, Digits, Table)
    validate.kind("config", config, TrainConfig)
    device = find_device(config.device)
    _check_fits(model, digits)
    model.to(device)
    digits = digits.to(device)
    run = Run(model, digits, config)
    if checkpoint is not None:
        run.resume(checkpoint)
        run.save(checkpoint)  # finds an unusable folder before the work
    if progress and run.epoch >= config.epochs:
        print(
            f"{checkpoint}: already at epoch {run.epoch} of {config.epochs}; "
            "give more epochs to train on"
        )
    with tqdm(
        total=config.epochs * len(digits),
        initial=run.epoch * len(digits),
        unit=" digits",
        unit_scale=True,
        disable=not progress or run.epoch >= config.epochs,
    ) as bar:
        while run.epoch < config.epochs:
            run.one_epoch(bar)
            if checkpoint is not None:
                run.save(checkpoint)
    with torch.no_grad():
        for weight, average in zip(model.parameters(), run.average):
            weight.copy_(average)
    return run.history


def fit_once(
    model: Autoencoder, digits: Rows, config: TrainConfig | None = None
) -> History:
    """As `fit`, but only the first time; later it loads the result.

    The result is kept in $MINIVAE_CACHE, else in the user's cache folder,
    under a key made of model, options, data and the source code of both, so
    that a change of any of these trains anew.

    Args:
        model, digits, config: as for `fit`.

    Returns:
        One entry for each epoch.
    """
    config = config or TrainConfig()
    modules = {type(model).__module__, *(f"minivae.{m}" for m in CODE)}
    key = repr(
        (
            checkpoints.describe(model),
            config,
            digits.source,
            digits.split,
            digits.digest(),
            [inspect.getsource(sys.modules[m]) for m in sorted(modules)],
        )
    )
    folder = Path(os.environ.get("MINIVAE_CACHE") or cache_folder() / "models")
    digest = hashlib.sha256(key.encode()).hexdigest()[:24]
    path = folder / f"{type(model).__name__}-{digest}.pt"
    try:
        done = checkpoints.load(path)["epoch"] == config.epochs
    except FileNotFoundError:
        done = False
    except CheckpointError:  # damaged: it can be made again
        path.unlink()
        done = False
    return fit(model, digits, config, path, progress=not done)


class Run:
    """A training run between two steps: all that a resume needs to know.

    Attributes:
        epoch, step: epochs and steps that are done.
        average: of the weights over the steps, later ones weighted more.
    """

    def __init__(
        self, model: Autoencoder, digits: Rows, config: TrainConfig
    ) -> None:
        self.model, self.digits, self.config = model, digits, config
        self.weights = list(model.parameters())
        self.average = [w.detach().clone() for w in self.weights]
        self.optimizer = torch.optim.Adam(
            self.weights, lr=config.lr, fused=True
        )
        self.history = History()
        self.digest = digits.digest()
        self.epoch = self.step = 0

    def one_epoch(self, bar) -> None:
        """Go once through the digits, one step for each batch."""
        config, device = self.config, self.digits.device
        start, sums = time.perf_counter(), []
        for x, y in batches(
            self.digits,
            config.batch_size,
            config.seed,
            self.epoch,
            device,
            self.model.binary,
            withhold=getattr(self.model, "withhold", 0.0),
        ):
            noise = seeded(device, "noise", config.seed, self.step)
            with validate.trusted():  # the digits have been checked
                terms = self.model.terms(x, y, noise)  # (B,) each
            loss = self._weighted(terms).mean()
            if not loss.isfinite():
                raise ValueError(self._diagnosis(x, y))
            self.optimizer.zero_grad()
            loss.backward()
            self.update()
            sums.append(
                torch.stack([v.detach().sum() for v in terms.values()])
            )
            bar.update(len(x))
            if self.step % 50 == 0:
                bar.set_postfix(
                    {k: f"{v.mean():.1f}" for k, v in terms.items()},
                    refresh=False,
                )
        # sum everything and divide once: the last batch may be short
        means = torch.stack(sums).cpu().double().sum(0) / len(self.digits)
        for name, mean in zip(terms, means.tolist()):
            getattr(self.history, name).append(mean)
        seconds = time.perf_counter() - start
        self.history.digits_per_second.append(len(self.digits) / seconds)
        self.epoch += 1

    def _weighted(self, terms: dict[str, Tensor]) -> Tensor:
        """The loss, with less of the KL in the first steps (Bowman 2016)."""
        config = self.config
        if self.step >= config.kl_warmup or "kl" not in terms:
            return terms["loss"]
        missing = 1 - (self.step + 1) / config.kl_warmup
        return terms["loss"] - missing * self.model.beta * terms["kl"]

    def update(self) -> None:
        """One step of Adam, and one of the average of the weights."""
        warm = min(1.0, (self.step + 1) / self.config.warmup)
        self.optimizer.param_groups[0]["lr"] = self.config.lr * warm
        self.optimizer.step()
        self.step += 1
        # polynomial decay: the last fifth of the steps holds most of the
        # weight, whenever one stops, so no schedule has to know the end
        with torch.no_grad():
            for average, weight in zip(self.average, self.weights):
                average.lerp_(weight, 9 / (self.step + 8))

    def save(self, path: str | Path) -> None:
        """Write the whole state of the run."""
        names = [name for name, _ in self.model.named_parameters()]
        checkpoints.save(
            path,
            {
                "model": checkpoints.describe(self.model),
                "weights": dict(zip(names, self.average)),
                "moving": dict(zip(names, self.weights)),
                "optimizer": self.optimizer.state_dict(),
                "config": asdict(self.config),
                "data": self._data(),
                "epoch": self.epoch,
                "step": self.step,
                "history": asdict(self.history),
            },
        )

    def resume(self, path: str | Path) -> None:
        """Take over the state of a run that was stopped, if there is one."""
        if not Path(path).exists():
            return
        state = checkpoints.load(path)
        mine = {
            "model": checkpoints.describe(self.model),
            "config": asdict(self.config),
            "data": self._data(),
        }
        for part, settings in mine.items():
            _compare(path, state.get(part), settings)
        try:
            epoch, step = state["epoch"], state["step"]
            history, optimizer = (
                History(**state["history"]),
                state["optimizer"],
            )
            weights = list(state["weights"].values())
            self.model.load_state_dict(state["moving"])
            self.optimizer.load_state_dict(optimizer)
            for average, saved in zip(self.average, weights, strict=True):
                average.copy_(saved)
            self.history, self.epoch, self.step = history, epoch, step
        except (KeyError, TypeError, RuntimeError, ValueError) as error:
            raise CheckpointError(
                f"{path}: cannot be resumed "
                f"({' '.join(str(error).split()):.150}); train to another "
                "file, or delete this one"
            ) from error

    def _data(self) -> dict:
        digits = self.digits
        return {
            "source": digits.source,
            "split": digits.split,
            "n": len(digits),
            "digest": self.digest,
        }

    def _diagnosis(self, x: Tensor, y: Tensor) -> str:
        with torch.no_grad(), validate.trusted():
            code = self.model.encode(x, y)
        names = ("mu", "logvar") if isinstance(code, tuple) else ("z",)
        code = code if isinstance(code, tuple) else (code,)
        ranges = ", ".join(
            f"{name} in [{c.min():.3g}, {c.max():.3g}]"
            for name, c in zip(names, code)
        )
        return (
            f"the loss is NaN or infinite at step {self.step} (epoch "
            f"{self.epoch + 1}): x in [{x.min():.3g}, {x.max():.3g}], "
            f"{ranges}; nothing was updated. Lower lr, now {self.config.lr:g}"
        )


def _check_fits(model: Autoencoder, digits: Rows) -> None:
    if digits.width != model.n_pixels:
        raise ValueError(
            f"digits: rows of {digits.width} values, but the model was built "
            f"for {model.n_pixels}; build it with n_pixels={digits.width}"
        )
    if getattr(model, "unit", False) and isinstance(digits, Table):
        validate.rows("values", digits.values, digits.width, unit=True)
    if model.n_classes:
        validate.labels(digits.y, len(digits), model.n_classes)
    if getattr(model, "conditions", ()):
        validate.conditions(digits.y, len(digits), model.conditions)


def _compare(path: str | Path, saved: dict, mine: dict) -> None:
    """Refuse a checkpoint of a run with other settings."""
    if not isinstance(saved, dict):
        raise CheckpointError(
            f"{path}: says nothing of {', '.join(mine)}, so it cannot be "
            "resumed; train to another file"
        )
    for name in mine:
        # a run may go on for longer, and on another device
        if name in ("epochs", "device"):
            continue
        if isinstance(mine[name], dict):
            _compare(path, saved.get(name), mine[name])
        elif saved.get(name) != mine[name]:
            raise CheckpointError(
                f"{path}: was written with {name} = {saved.get(name)!r}, but "
                f"this run has {mine[name]!r}; use the same {name}, or "
                "another file"
            )
