"""The training loop: the same for every model, resumable at every epoch."""

import hashlib
import inspect
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from minivae import checkpoint as checkpoints
from minivae import engine, validate
from minivae import resume as resuming
from minivae.checkpoint import CheckpointError
from minivae.data import (
    Digits,
    Rows,
    Table,
    batches,
    cache_folder,
    seeded,
)
from minivae.engine import Network, Workers
from minivae.models import Autoencoder

# modules whose code decides what training ends in
CODE = ("data", "engine", "models", "objective", "resume", "train")

BETAS = (0.9, 0.99)  # of Adam; 0.999 forgets the first steps too slowly


@dataclass(frozen=True)
class TrainConfig:
    """Options of a training run; stored in its checkpoint.

    Raises:
        ValueError: an option is out of range.

    Example:
        >>> config = TrainConfig(epochs=3).sized(60_000)
        >>> config.batch_size, config.lr
        (512, 0.004)
    """

    epochs: int = 10  # passes over the digits
    batch_size: int | None = None  # digits; None: 128, or 512 of 20,000 on
    lr: float | None = None  # step size of Adam; None: by batch_size
    warmup: int = 100  # steps until the step size is reached
    decay: float = 0.0  # share of the steps, the last, in which it falls to 0
    kl_warmup: int = 0  # steps until the KL has its full weight
    seed: int = 0  # selects order, binarisation and noise
    device: str = "auto"  # "auto" is CUDA, else MPS, else the CPU
    precision: str = "auto"  # of matrix products: "float32" or "bfloat16"
    compile: str = "auto"  # "yes", "no", or "auto": where the run is long

    def __post_init__(self) -> None:
        validate.whole("epochs", self.epochs, 1, 10)
        if self.batch_size is not None:
            validate.whole("batch_size", self.batch_size, 1, 128)
        if self.lr is not None:
            validate.number("lr", self.lr, 2e-3)
        validate.whole("warmup", self.warmup, 1, 100)
        validate.share("decay", self.decay)
        validate.whole("kl_warmup", self.kl_warmup, 0, 1000)
        validate.whole("seed", self.seed, 0, 0)
        validate.choice("precision", self.precision, engine.PRECISIONS)
        validate.choice("compile", self.compile, engine.COMPILE)

    def sized(self, n_digits: int) -> "TrainConfig":
        """The same options, with batch and step size for so many digits.

        The noise of a gradient falls with the root of the batch size, and
        the step of Adam may grow with it (Malladi et al. 2022).
        """
        size = self.batch_size or (512 if n_digits >= 20_000 else 128)
        lr = self.lr or 2e-3 * math.sqrt(size / 128)
        return replace(self, batch_size=size, lr=lr)


@dataclass
class History:
    """Means over the digits of each epoch, in the units of the model.

    The losses are those of the moving weights while they learned. The
    model that `fit` returns is their average and a little better.

    Example:
        >>> History(loss=[180.0, 150.0])
        History(2 epochs, loss 150)
    """

    loss: list[float] = field(default_factory=list)
    reconstruction: list[float] = field(default_factory=list)
    kl: list[float] = field(default_factory=list)  # empty without a KL
    digits_per_second: list[float] = field(default_factory=list)

    stopped = False  # whether a signal ended the run before its time

    def __repr__(self) -> str:
        last = f", loss {self.loss[-1]:.4g}" if self.loss else ""
        return f"History({len(self.loss)} epochs{last})"


def fit(
    model: Autoencoder,
    digits: Rows,
    config: TrainConfig | None = None,
    checkpoint: str | Path | None = None,
    progress: bool = True,
) -> History:
    """Train a model with Adam and leave it with its averaged weights.

    Kingma & Ba 2015 for the steps, Shamir & Zhang 2013 for the average. It
    takes each of the first 500 steps and every fifth of those after them.
    With a checkpoint, a run that was stopped goes on where it was and ends,
    on the same machine, with the same bits. Ctrl+C ends the run after the
    step, with all that was learnt so far. Under torchrun the processes
    share each batch.

    Args:
        model: trained in place, and moved to the device.
        digits: to train on.
        config: options; None is `TrainConfig()`.
        checkpoint: file to save to after each epoch and to resume from.
        progress: whether to show a bar and say what happens.

    Returns:
        One entry for each epoch, those before a resume included; `stopped`
        is true after Ctrl+C.

    Raises:
        ValueError: bad options, the loss became NaN or infinite, or a batch
            does not fit in memory.
        CheckpointError: the checkpoint is damaged or of another run.
        SystemExit: SIGTERM came; the checkpoint is written.

    Example:
        >>> model, data = Autoencoder(1, (), n_pixels=2), Table(torch.eye(2))
        >>> history = fit(model, data, TrainConfig(epochs=3), progress=False)
        >>> len(history.loss), history.stopped
        (3, False)
    """
    from tqdm.auto import tqdm  # here, so that importing minivae is quick

    config = TrainConfig() if config is None else config
    _check_kinds(model, digits, config)
    if checkpoint is not None:
        validate.path("checkpoint", checkpoint, "vae.pt")
    device = engine.find_device(config.device)
    _check_fits(model, digits)
    model.to(device)
    progress = progress and Workers().rank == 0
    say = engine.tell_once if progress else _quiet
    run = Run(model, digits.to(device), config, say)
    if checkpoint is not None:
        run.resume(checkpoint)
        run.save(checkpoint)  # finds an unusable folder before the work
    if progress and run.complete:
        print(
            f"{checkpoint}: already at epoch {run.epoch} of {config.epochs}; "
            "give more epochs to train on"
        )
    bar = tqdm(
        total=config.epochs * len(digits),
        initial=min(run.epoch * len(digits) + run.batch * run.size, run.total),
        unit=" digits",
        unit_scale=True,
        disable=not progress or run.complete,
    )
    enough = validate.memory(
        f"batch_size: {run.size} digits",
        f"nothing was lost, try {max(1, run.size // 2)}",
    )
    with bar, enough, engine.Stop() as stop:
        while not (run.complete or run.stopped):
            run.one_epoch(bar, stop)
            if checkpoint is not None:
                run.save(checkpoint)
    with torch.no_grad():
        for weight, average in zip(model.parameters(), run.average):
            weight.copy_(average)
    if run.stopped and not run.complete:
        run.say_how_to_go_on(checkpoint)
    if stop.signal == signal.SIGTERM:
        raise SystemExit(128 + signal.SIGTERM)
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

    Example:
        >>> model, data = Autoencoder(1, (), n_pixels=2), Table(torch.eye(2))
        >>> first = fit_once(model, data, TrainConfig(epochs=1))
        >>> first == fit_once(model, data, TrainConfig(epochs=1))
        True
    """
    config = TrainConfig() if config is None else config
    _check_kinds(model, digits, config)
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

    Args:
        model, digits, config: as for `fit`; the digits on the device.
        say: where to tell that something is not to be had here.

    Attributes:
        epoch, step: epochs and steps that are done.
        batch: batches of the present epoch that are done.
        average: of the weights over the steps, later ones weighted more.
        stopped: whether a signal asked to stop.

    Example:
        >>> model, data = Autoencoder(1, (), n_pixels=2), Table(torch.eye(2))
        >>> run = Run(model, data, TrainConfig(epochs=3))
        >>> run.epoch, run.step, run.n_batches, run.complete
        (0, 0, 1, False)
    """

    def __init__(
        self,
        model: Autoencoder,
        digits: Rows,
        config: TrainConfig,
        say: Callable[[str], None] = engine.tell_once,
    ) -> None:
        config = config.sized(len(digits))
        self.model, self.digits, self.config = model, digits, config
        self.workers, device = Workers(), digits.device
        assert config.batch_size and config.lr  # chosen by now
        self.size = min(config.batch_size, len(digits))
        self.top_lr = config.lr
        self.n_batches = math.ceil(len(digits) / self.size)
        self.total = config.epochs * len(digits)  # digits in the whole run
        self.network = Network(
            model,
            engine.pick_precision(config.precision, model, device, say),
            engine.pick_compile(config.compile, model, device, self.total),
            len(range(self.workers.rank, self.size, self.workers.n)),
            self.workers,
            say,
        )
        self.weights = list(model.parameters())
        self.average = [w.detach().clone() for w in self.weights]
        self.optimizer = engine.Adam(self.weights, self.top_lr, BETAS)
        # on a GPU the loss is looked at once in an epoch: to wait for it
        # at every step would leave the GPU idle in between
        self.patient = device.type == "cuda"
        self.failed = torch.full((), -1, device=device)  # step, -1 if none
        self.history, self.seconds = History(), 0.0
        self.sums: list[Tensor] = []  # of each term over each batch
        self.digest = digits.digest()
        self.epoch = self.step = 0
        self.stopped = False

    @property
    def batch(self) -> int:
        """Batches of the present epoch that are done."""
        return self.step - self.epoch * self.n_batches

    @property
    def complete(self) -> bool:
        """Whether all epochs are done."""
        return self.epoch >= self.config.epochs

    def one_epoch(self, bar, stop: engine.Stop) -> None:
        """Go on to the end of the epoch, one step for each batch."""
        config, workers, device = self.config, self.workers, self.digits.device
        start = time.perf_counter() - self.seconds
        for x, y in self.feed(self.batch):
            key = (config.seed, self.step, *workers.key)
            with validate.trusted():  # the digits have been checked
                noise = seeded(device, "noise", *key)
                terms = self.network(x, y, noise)  # (B,) each
            # DDP takes the mean over the processes
            n = min(self.size, len(self.digits) - self.batch * self.size)
            loss = self.weighted(terms).sum() * (workers.n / n)
            self.refuse_nan(loss)
            self.optimizer.zero_grad()
            loss.backward()
            self.update()
            self.sums.append(
                torch.stack([v.detach().sum() for v in terms.values()])
            )
            bar.update(n)
            self.stopped = self.heard(stop)
            if self.stopped:
                break
        self.seconds = time.perf_counter() - start
        self.refuse_nan()
        if self.batch == self.n_batches:
            self.close_epoch(list(terms))
            last = {k: getattr(self.history, k)[-1] for k in terms}
            bar.set_postfix({k: f"{v:.1f}" for k, v in last.items()})

    def feed(self, start: int) -> Iterator[tuple[Tensor, Tensor | None]]:
        """The batches of the present epoch from one on, this worker's part."""
        return batches(
            self.digits,
            self.size,
            self.config.seed,
            self.epoch,
            self.digits.device,
            self.model.binary,
            withhold=getattr(self.model, "withhold", 0.0),
            start=start,
            share=self.workers.share,
        )

    def weighted(self, terms: dict[str, Tensor]) -> Tensor:
        """The loss, with less of the KL in the first steps (Bowman 2016)."""
        config = self.config
        if self.step >= config.kl_warmup or "kl" not in terms:
            return terms["loss"]
        missing = 1 - (self.step + 1) / config.kl_warmup
        return terms["loss"] - missing * self.model.beta * terms["kl"]

    def update(self) -> None:
        """One step of Adam, and one of the average of the weights."""
        self.optimizer.lr = self.lr
        self.optimizer.step()
        self.step += 1
        # in a long run neighbours are much the same: every fifth is enough
        every = 1 if self.step <= 500 else 5
        if self.step % every:
            return
        # polynomial decay: the last fifth of the steps holds most of the
        # weight, whenever one stops, so no schedule has to know the end
        share: float | Tensor = 9 / (self.step / every + 8)
        if self.patient:  # after a NaN nothing may change any more
            share = share * (self.failed < 0)
        with torch.no_grad():
            for average, weight in zip(self.average, self.weights):
                average.lerp_(weight, share)

    @property
    def lr(self) -> float:
        """The size of the next step: it warms up, and decays if asked to."""
        config = self.config
        rise = min(1.0, (self.step + 1) / config.warmup)
        left = 1 - self.step / (config.epochs * self.n_batches)
        fall = min(1.0, left / config.decay) if config.decay else 1.0
        return self.top_lr * rise * fall

    def close_epoch(self, names: list[str]) -> None:
        """Write the means of the epoch down."""
        # sum everything and divide once: the last batch may be short
        sums = torch.stack(self.sums).cpu().double().sum(0)
        means = self.workers.total(sums) / len(self.digits)
        for name, mean in zip(names, means.tolist()):
            getattr(self.history, name).append(mean)
        self.history.digits_per_second.append(len(self.digits) / self.seconds)
        self.sums, self.seconds = [], 0.0
        self.epoch += 1

    def heard(self, stop: engine.Stop) -> bool:
        """Whether to stop here; all processes give the same answer."""
        # to agree takes a message, so several processes do it now and then
        inside = self.batch < self.n_batches
        if self.workers.n > 1 and inside and self.step % 10:
            return False
        return self.workers.any(stop.signal > 0)

    def refuse_nan(self, loss: Tensor | None = None) -> None:
        """Stop before an update that would make every weight NaN.

        On a GPU only the update is stopped at once: Adam skips it where
        `found_inf` says so. Without a loss, look whether that happened.
        """
        if loss is None:
            if self.patient and self.failed >= 0:
                raise ValueError(self._diagnosis(int(self.failed)))
        elif self.patient:
            first = (self.failed < 0) & ~loss.detach().isfinite()
            self.failed = torch.where(first, self.step, self.failed)
            self.optimizer.found_inf = (self.failed >= 0).float()
        elif self.workers.any(not math.isfinite(loss.item())):
            raise ValueError(self._diagnosis(self.step))

    def say_how_to_go_on(self, path: str | Path | None) -> None:
        """One line for whoever stopped the run."""
        self.history.stopped = True
        if self.workers.rank == 0:
            kept = "nothing was saved; give a checkpoint to be able to go on"
            if path is not None:
                kept = f"saved to {path}; run the same again to go on"
            print(
                f"Stopped in epoch {self.epoch + 1}, step {self.step}: {kept}"
            )

    def save(self, path: str | Path) -> None:
        """Write the whole state of the run; the first process does it."""
        state = resuming.state(self)
        self.workers.from_first(lambda: checkpoints.save(path, state))

    def resume(self, path: str | Path) -> None:
        """Take over the state of a run that was stopped, if there is one."""

        def read() -> dict | None:
            return checkpoints.load(path) if Path(path).exists() else None

        state = self.workers.from_first(read)
        if state is not None:
            resuming.restore(self, state, path)

    def _diagnosis(self, step: int) -> str:
        x, y = next(self.feed(step - self.epoch * self.n_batches))
        with torch.no_grad(), validate.trusted():
            code = self.model.encode(x, y)
        names = ("mu", "logvar") if isinstance(code, tuple) else ("z",)
        code = code if isinstance(code, tuple) else (code,)
        ranges = ", ".join(
            f"{name} in [{c.min():.3g}, {c.max():.3g}]"
            for name, c in zip(names, code)
        )
        return (
            f"the loss is NaN or infinite at step {step} (epoch "
            f"{self.epoch + 1}): x in [{x.min():.3g}, {x.max():.3g}], "
            f"{ranges}; nothing was updated. Lower lr, now {self.top_lr:g}"
        )


def _quiet(text: str) -> None:
    """Say nothing."""


def _check_kinds(model: object, digits: object, config: object) -> None:
    if not isinstance(model, nn.Module) or not hasattr(model, "terms"):
        raise TypeError(
            "model: expected an Autoencoder, VAE or CVAE, or a module with "
            f"its `terms`, got {type(model).__name__}; build one of these"
        )
    validate.kind("digits", digits, Digits, Table)
    validate.kind("config", config, TrainConfig)


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
