"""A training run between two steps, and how it goes on after a stop.

`train.fit` is the loop; here is what it calls. Order and noise are functions
of the seed and of the step, so that a run that was stopped and continued is
the run that never stopped, bit for bit.
"""

import copy
import math
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from minivae import validate
from minivae.data import Rows, batches, check_rows, seeded
from minivae.engine import checkpoint as checkpoints
from minivae.engine import device as devices
from minivae.engine.checkpoint import CheckpointError
from minivae.engine.processes import Processes
from minivae.engine.signals import Stop

BETAS = (0.9, 0.99)  # of Adam; 0.999 forgets the first steps too slowly


def averaged(model: nn.Module) -> AveragedModel:
    """A copy of a model that keeps the average of its weights.

    Polynomial decay (Shamir & Zhang 2013): the last fifth of the updates
    holds most of the weight, whenever one stops, so that no schedule has to
    know the end. The first update takes the weights as they are.

    Args:
        model: to copy.

    Returns:
        PyTorch's `AveragedModel`; call `update_parameters(model)`.

    Example:
        >>> model = nn.Linear(1, 1)
        >>> average = averaged(model)
        >>> average.update_parameters(model)
        >>> torch.equal(average.module.weight, model.weight)
        True
    """

    @torch.no_grad()
    def decay(averages, weights, n_averaged) -> None:
        # its own count is on the CPU: a GPU need not be waited for
        share = 9 / (int(found.n_averaged) + 9)
        torch._foreach_lerp_(averages, weights, share)

    try:
        found = AveragedModel(model, multi_avg_fn=decay)
    except RuntimeError as error:
        raise ValueError(
            "model: expected one that can be copied, got a "
            f"{type(model).__name__} that keeps a tensor with a gradient; use "
            ".detach() on what you keep"
        ) from error
    found.module.eval()  # it is looked at, never trained
    return found


def describe(model: nn.Module) -> dict[str, Any]:
    """The class and the options that it takes to build a model again.

    Args:
        model: any; of your own parts only the kind can be written down.

    Returns:
        "class" and "options", of plain numbers and texts.

    Example:
        >>> from minivae.models import VAE
        >>> found = describe(VAE(n_latent=2))
        >>> found["class"], found["options"]["n_latent"]
        ('VAE', 2)
    """
    kind = type(model)
    name = f"{kind.__module__}.{kind.__qualname__}"
    if kind.__module__.partition(".")[0] == "minivae":
        name = kind.__name__
    options = {
        key: value if is_plain(value) else _described(value)
        for key, value in getattr(model, "options", {}).items()
    }
    return {"class": name, "options": options}


def _described(part: Any) -> dict[str, Any] | str:
    """A part of your own: its class, and the numbers and texts in it."""
    if isinstance(part, str):  # of NumPy
        return str(part)
    held = {
        key: value
        for key, value in sorted(getattr(part, "__dict__", {}).items())
        if is_plain(value) and key[0] != "_" and key != "training"
    }
    return {"own": type(part).__qualname__} | held


def is_plain(value: object) -> bool:
    """Whether a file can hold it: a number, a text, or a tuple of these.

    Args:
        value: to look at.

    Returns:
        Whether it is.

    Example:
        >>> is_plain((1, "two", None)), is_plain(torch.zeros(()))
        (True, False)
    """
    if isinstance(value, tuple | list):
        return all(map(is_plain, value))
    return value is None or type(value) in (bool, int, float, str)


class Run:
    """A run of `fit`: what is done, and all that the next step needs.

    Args:
        model, data, config, checkpoint, progress: as for `train.fit`.
        history: to write the means of the epochs into.

    Attributes:
        epoch, step: epochs and steps that are done.
        stopped: whether a signal asked to stop.
        average: the model with the average of the weights so far.

    Example:
        >>> from minivae import Autoencoder, History, Table, TrainConfig
        >>> model, data = Autoencoder(1, (), (2,)), Table(torch.eye(2))
        >>> run = Run(model, data, TrainConfig(epochs=3), History())
        >>> run.epoch, run.step, run.n_batches, run.complete
        (0, 0, 1, False)
    """

    def __init__(
        self,
        model: Any,
        data: Rows,
        config: Any,
        history: Any,
        checkpoint: str | Path | None = None,
        progress: bool = False,
    ) -> None:
        check(model, data)
        if config.kl_warmup and getattr(model, "n_samples", 1) > 1:
            raise ValueError(
                f"kl_warmup: expected 0 with n_samples = {model.n_samples}, "
                f"got {config.kl_warmup}; the importance-weighted bound has "
                "no KL that could count less"
            )
        if checkpoint is not None:
            validate.path("checkpoint", checkpoint, "vae.pt")
        device = devices.find_device(config.device)
        self.processes = Processes()
        self.progress = progress and self.processes.rank == 0
        self.say = devices.tell_once if self.progress else lambda text: None
        # where the model was, and how: there it returns in the end
        self.home = next(model.parameters()).device
        self.modes = {part: part.training for part in model.modules()}
        self.model = model.to(device).train()
        self.data = data.to(device)
        self.config = config = config.sized(len(data))
        self.history, self.path = history, checkpoint
        self.size = min(config.batch_size, len(data))
        self.n_batches = math.ceil(len(data) / self.size)
        self.total = config.epochs * len(data)  # rows in the whole run
        self.precision = devices.pick_precision(
            config.precision, model, device, self.say
        )
        self.plain: Any = self._shared(model)
        self.network: Any = self.plain
        self._choose_compiler()
        self.optimizer: Any = torch.optim.Adam(
            model.parameters(), config.lr, BETAS, fused=True
        )
        self.average = averaged(model)
        # on a GPU the loss is looked at once in an epoch: to wait for it
        # at every step would leave the GPU idle in between
        self.waits = device.type != "cuda"
        self.failed = torch.full((), -1, device=device)  # step, -1 if none
        self.names: list[str] = []  # of the terms
        self.sums: list[Tensor] = []  # of each term over each batch
        self.before: Tensor | None = None  # sums before a resume
        self.seconds = 0.0  # of the present epoch, before now
        self.digest = data.digest()
        self.epoch = self.step = 0
        self.stopped = self.ended = False
        self.signals = Stop()
        try:
            self._try_one_row()
            if checkpoint is not None:
                self._resume()
                self._save()  # finds an unusable folder before the work
        except BaseException:
            self._go_home()
            raise
        done = self.step
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda k: self._rate(done + k)
        )

    # --- what the loop calls, in this order ---------------------------------

    @contextmanager
    def stops_between_steps(self) -> Iterator[None]:
        """Hold Ctrl+C and SIGTERM until a step is done; show a bar."""
        from tqdm.auto import tqdm  # here, so that importing minivae is quick

        if self.progress and self.complete:
            print(
                f"{self.path}: already at epoch {self.epoch} of "
                f"{self.config.epochs}; give more epochs to train on"
            )
        smaller = f"nothing was lost, try {max(1, self.size // 2)}"
        enough = validate.memory(f"batch_size: {self.size} rows", smaller)
        device, precision = self.data.device, self.config.precision
        gpus = [device] if device.type == "cuda" else []
        with ExitStack() as stack:
            stack.callback(self._go_home)
            stack.enter_context(torch.random.fork_rng(gpus))
            self.bar = stack.enter_context(
                tqdm(
                    total=self.total,
                    initial=self._rows_done(),
                    unit=" rows",
                    unit_scale=True,
                    disable=self.complete or not self.progress,
                )
            )
            stack.enter_context(enough)
            stack.enter_context(devices.fast_products(device, precision))
            stack.enter_context(self.signals)
            yield

    def epochs(self) -> Iterator[int]:
        """The numbers of the epochs that are left, until a stop."""
        while not (self.complete or self.stopped or self.ended):
            yield self.epoch

    def batches(self, epoch: int) -> Iterator[tuple]:
        """What is left of an epoch: x, y and the source of the noise."""
        self.clock = time.perf_counter() - self.seconds
        device, seed = self.data.device, self.config.seed
        for x, y in self.rows_of(epoch, self.step - epoch * self.n_batches):
            key = (seed, self.step, *self.processes.key)
            noise = seeded(device, "noise", *key)
            # of dropout, and whatever else draws without a source; what
            # torch.manual_seed does besides takes a tenth of a millisecond
            torch.default_generator.manual_seed(noise.initial_seed())
            if device.type != "cpu":
                getattr(torch, device.type).manual_seed(noise.initial_seed())
            yield x, y, noise
            if self.stopped:
                return

    def forward(
        self, x: Tensor, y: Tensor | None, noise: torch.Generator
    ) -> dict[str, Tensor]:
        """The terms of the model, (B,) each, in the precision of the run."""
        low = self.precision != torch.float32
        with torch.autocast(x.device.type, torch.bfloat16, enabled=low):
            if self.network is self.plain or len(x) != self.rows_compiled:
                return checked(self.plain(x, y, noise), len(x))
            # a compiler wants numbers for an input, not a source of them
            n_samples = getattr(self.model, "n_samples", 1)
            lead = () if n_samples == 1 else (n_samples,)
            shape = (*lead, len(x), self.model.n_latent)
            drawn = torch.randn(shape, generator=noise, device=x.device)
            try:
                return checked(self.network(x, y, drawn), len(x))
            except Exception as error:  # no compiler, or one that fails
                self.say(
                    "torch.compile does not work here "
                    f"({type(error).__name__}); going on without it"
                )
                self.network = self.plain
                return checked(self.plain(x, y, drawn), len(x))

    def mean_loss(self, terms: dict[str, Tensor]) -> Tensor:
        """The mean over the batch; refuses what is not a number.

        In a warm-up the KL counts less (Bowman et al. 2016). There may be
        several, each after as many steps at full weight (Fu et al. 2019).
        """
        loss = terms["loss"]
        warmup = self.config.kl_warmup
        cycle, step = divmod(self.step, 2 * warmup or 1)
        if step < warmup and cycle < self.config.kl_cycles and "kl" in terms:
            missing = 1 - (step + 1) / warmup
            beta = getattr(self.model, "beta", 1.0)
            loss = loss - missing * beta * terms["kl"]
        if not loss.requires_grad:
            raise ValueError(
                "model: expected a loss with a gradient, got one without; do "
                "not detach it, and compute it from the weights"
            )
        mean = self.processes.mean(loss, self._n_rows())
        self._refuse_nan(mean)
        return mean

    def update_average(self) -> None:
        """Take the present weights into the average."""
        # in a long run neighbours are much the same: every fifth is enough
        every = 1 if self.step < 500 else 5
        if (self.step + 1) % every:
            return
        self.average.n_averaged.fill_((self.step + 1) // every - 1)
        self.average.update_parameters(self.model)

    def record(self, terms: dict[str, Tensor]) -> None:
        """Count a step that is done, and hear whether to stop."""
        self.names = list(terms)
        found = [v.detach().sum() for v in terms.values()]
        self.sums.append(torch.stack(found))
        self.bar.update(self._n_rows())
        self.step += 1
        # to agree takes a message, so several processes do it now and then
        inside = self.step < (self.epoch + 1) * self.n_batches
        alone = self.processes.world_size == 1
        if alone or not inside or self.step % 10 == 0:
            self.stopped = self.processes.any(self.signals.signal > 0)

    def close(self) -> bool:
        """Write an epoch down, if it is done, and save; whether it is."""
        self.seconds = time.perf_counter() - self.clock
        self._refuse_nan()
        done = self.step == (self.epoch + 1) * self.n_batches
        if done:
            # sum everything and divide once: the last batch may be short
            means = (self._summed() / len(self.data)).tolist()
            rate = len(self.data) / self.seconds
            self.history.append(dict(zip(self.names, means)), rate)
            shown = {k: f"{v:.1f}" for k, v in zip(self.names, means)}
            self.bar.set_postfix(shown)
            self.sums, self.before, self.seconds = [], None, 0.0
            self.epoch += 1
            # what `on_epoch` gets has the buffers of the present weights too
            self.average.module.load_state_dict(self._averaged_state())
        if self.path is not None:
            self._save()
        return done

    def end(self, wanted: object) -> None:
        """Stop before the last epoch, if it is wanted in any process."""
        self.ended = self.processes.any(bool(wanted))

    def finish(self) -> Any:
        """Leave the averaged weights in the model; the history."""
        self.model.load_state_dict(self._averaged_state())
        if self.stopped and not self.complete:
            self._say_how_to_go_on()
        if self.signals.signal == signal.SIGTERM:
            raise SystemExit(128 + signal.SIGTERM)
        return self.history

    # --- what these stand on ------------------------------------------------

    @property
    def complete(self) -> bool:
        """Whether all epochs are done."""
        return self.epoch >= self.config.epochs

    def _rows_done(self) -> int:
        batch = self.step - self.epoch * self.n_batches
        done = self.epoch * len(self.data) + batch * self.size
        return min(done, self.total)

    def _n_rows(self) -> int:
        """Rows of the present batch, those of other processes included."""
        batch = self.step - self.epoch * self.n_batches
        return min(self.size, len(self.data) - batch * self.size)

    def rows_of(self, epoch: int, start: int = 0) -> Iterator:
        """The batches x, y of an epoch, this process's part of each."""
        likelihood = getattr(self.model, "likelihood", None)
        return batches(
            self.data,
            self.size,
            self.config.seed,
            epoch,
            self.data.device,
            getattr(likelihood, "prepare", None),
            condition_dropout=getattr(self.model, "condition_dropout", 0.0),
            start=start,
            rank=self.processes.rank,
            world_size=self.processes.world_size,
        )

    def _shared(self, model: nn.Module) -> nn.Module:
        devices.keep_memory()
        alone = self.processes.world_size == 1
        return model if alone else nn.parallel.DistributedDataParallel(model)

    def _try_one_row(self) -> None:
        """Find now what BatchNorm would refuse at the end of an epoch."""
        x, y = next(self.rows_of(0, self.n_batches - 1))
        try:
            if len(x) == 1:
                with torch.random.fork_rng([]), torch.no_grad():
                    copy.deepcopy(self.model)(x, y, None)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise ValueError(
                f"batch_size: {len(self.data)} rows in batches of {self.size} "
                "leave a batch of one, and BatchNorm needs two; take another "
                "size, or leave a row out"
            ) from error

    def _choose_compiler(self) -> None:
        device = self.data.device
        rank, n = self.processes.rank, self.processes.world_size
        self.rows_compiled = len(range(rank, self.size, n))
        wanted = devices.pick_compile(
            self.config.compile, self.model, device, self.total
        )
        if wanted and hasattr(self.model, "n_latent"):
            # CUDA graphs replay a whole pass without Python
            mode = "reduce-overhead" if device.type == "cuda" else None
            self.network = torch.compile(self.plain, mode=mode, dynamic=False)

    def _rate(self, step: int) -> float:
        """The size of a step, as a part of lr: it warms up, and may fall."""
        config = self.config
        rise = min(1.0, (step + 1) / config.warmup)
        left = 1 - step / (config.epochs * self.n_batches)
        fall = min(1.0, left / config.decay) if config.decay else 1.0
        return rise * max(fall, 0.0)

    def _refuse_nan(self, loss: Tensor | None = None) -> None:
        """Stop before an update that would make every weight NaN.

        On a GPU only the update is stopped at once: Adam skips it where
        `found_inf` says so. Without a loss, look whether that happened.
        """
        if loss is None:
            if not self.waits and self.failed >= 0:
                raise ValueError(self._diagnosis(int(self.failed)))
        elif not self.waits:
            first = (self.failed < 0) & ~loss.detach().isfinite()
            self.failed = torch.where(first, self.step, self.failed)
            self.optimizer.found_inf = (self.failed >= 0).float()
        elif self.processes.any(not math.isfinite(loss.item())):
            raise ValueError(self._diagnosis(self.step))

    def _diagnosis(self, step: int) -> str:
        start = self.epoch * self.n_batches
        x, y = next(self.rows_of(self.epoch, step - start))
        found = [f"x in [{x.min():.3g}, {x.max():.3g}]"]
        # an encoder of your own may be called in another way
        with torch.no_grad(), suppress(Exception):
            code = self.model.encode(x, y)
            code = code if isinstance(code, tuple) else (code,)
            names = ("mu", "logvar") if len(code) == 2 else ("z",)
            for name, c in zip(names, code):
                found += [f"{name} in [{c.min():.3g}, {c.max():.3g}]"]
        advice = f"Lower lr, now {self.config.lr:g}"
        if x.abs().max() > 1000:
            advice = "Standardise x: subtract the mean of each column and "
            advice += "divide by its standard deviation"
        return (
            f"the loss is NaN or infinite at step {step} (epoch "
            f"{self.epoch + 1}): {', '.join(found)}; nothing was updated. "
            f"{advice}"
        )

    def _summed(self) -> Tensor:
        """The sums of the terms over the epoch, float64, of all processes."""
        parts = [v.cpu().double() for v in self.sums]
        if self.before is not None:
            parts.append(self.before)
        return self.processes.total(torch.stack(parts).sum(0))

    def _averaged_state(self) -> dict[str, Tensor]:
        """The averaged weights, and the present buffers."""
        state = self.model.state_dict()
        # a weight that two layers share has two names
        names = dict(self.model.named_parameters(remove_duplicate=False))
        average = self.average.module.state_dict()
        return {k: average[k] if k in names else v for k, v in state.items()}

    def _go_home(self) -> None:
        self.model.to(self.home)
        for part, mode in self.modes.items():
            part.training = mode

    def _say_how_to_go_on(self) -> None:
        """One line for whoever stopped the run."""
        self.history.stopped = True
        kept = "nothing was saved; give a checkpoint to be able to go on"
        if self.path is not None:
            kept = f"saved to {self.path}; run the same again to go on"
        if self.processes.rank == 0:
            place = f"epoch {self.epoch + 1}, step {self.step}"
            print(f"Stopped in {place}: {kept}")

    # --- what is stored, and taken over -------------------------------------

    def state(self) -> dict[str, Any]:
        """The whole state of the run between two steps.

        Besides the weights: their average, the moments of Adam, how many
        steps are done, and what the present epoch has summed up so far.
        """
        names = [name for name, _ in self.model.named_parameters()]
        moments = self.optimizer.state_dict()["state"]
        return self._settings() | {
            "weights": self._averaged_state(),
            "moving": self.model.state_dict(),
            "optimizer": {names[i]: kept for i, kept in moments.items()},
            "epoch": self.epoch,
            "step": self.step,
            "sums": self._summed() if self.sums else self.before,
            "seconds": self.seconds,
            "history": self.history.series,
        }

    def _settings(self) -> dict[str, Any]:
        """What a run must have in common with the one that it goes on with."""
        data = self.data
        return {
            "model": describe(self.model),
            "config": asdict(self.config),
            "data": {
                "source": data.source,
                "split": data.split,
                "n": len(data),
                "digest": self.digest,
            },
        }

    def _save(self) -> None:
        state = self.state()  # all processes add up their sums
        assert self.path is not None
        path = self.path
        self.processes.from_first(lambda: checkpoints.save(path, state))

    def _resume(self) -> None:
        assert self.path is not None
        path = Path(self.path)
        saved = self.processes.from_first(
            lambda: checkpoints.load(path) if path.exists() else None
        )
        if saved is not None:
            self._restore(saved, path)

    def _restore(self, saved: dict[str, Any], path: Path) -> None:
        """Take over the state of a run that was stopped."""
        # with a decay, the size of a step depends on where the run ends
        free = {"device"} if self.config.decay else {"device", "epochs"}
        if isinstance(saved.get("config"), dict):
            # an older file lacks an option that it did not have
            saved["config"] = asdict(type(self.config)()) | saved["config"]
        for part, settings in self._settings().items():
            _compare(path, saved.get(part), settings, free)
        advice = "train to another file, or delete this one"
        with checkpoints.explained(path, "cannot be resumed", advice):
            for part in ("moving", "weights"):
                copy.deepcopy(self.model).load_state_dict(saved[part])
            moments = self._moments(saved["optimizer"])
            epoch, step, sums = saved["epoch"], saved["step"], saved["sums"]
            seconds = float(saved["seconds"])
            series = {k: list(v) for k, v in saved["history"].items()}
        # all of it fits: only now anything is changed
        self.model.load_state_dict(saved["moving"])
        self.average.module.load_state_dict(saved["weights"])
        groups = self.optimizer.state_dict()["param_groups"]
        kept = {"state": moments, "param_groups": groups}
        self.optimizer.load_state_dict(kept)
        self.history.series = series
        self.epoch, self.step, self.seconds = epoch, step, seconds
        self.before = sums if self.processes.rank == 0 else None
        if sums is not None and self.before is None:
            self.before = torch.zeros_like(sums)

    def _moments(self, saved: dict[str, Any]) -> dict[int, Any]:
        """The moments of Adam by number, checked against the weights."""
        weights = dict(self.model.named_parameters())
        numbers = {name: i for i, name in enumerate(weights)}
        found = {}
        for name, kept in saved.items():
            for part in ("exp_avg", "exp_avg_sq"):
                if kept[part].shape != weights[name].shape:
                    raise ValueError(
                        f"{name}: {tuple(kept[part].shape)} for "
                        f"{tuple(weights[name].shape)}"
                    )
            found[numbers[name]] = kept
        return found


def check(model: Any, data: Rows) -> None:
    """Refuse a model and data that cannot be trained with each other.

    Args:
        model: any module whose `forward(x, y, noise)` returns terms.
        data: to train on.

    Raises:
        TypeError, ValueError: they do not fit; nothing was changed.

    Example:
        >>> from minivae.models import VAE
        >>> from minivae.data import Table
        >>> check(VAE(2), Table(torch.eye(3)))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        ValueError: data: rows of shape (3,), but the model was built for ...
    """
    check_model(model)
    check_rows("data", data)
    weights = list(model.parameters())
    if not any(w.requires_grad for w in weights):
        raise ValueError(
            "model: expected weights to train, got none that requires a "
            "gradient; use requires_grad_()"
        )
    others = {str(w.dtype) for w in weights if w.dtype != torch.float32}
    if others:
        raise ValueError(
            f"model: expected float32 weights, got {', '.join(others)}; call "
            "model.float() before training"
        )
    shape = getattr(model, "shape", None)  # maybe of a module of your own
    shape = tuple(shape) if isinstance(shape, list | tuple) else None
    flat = (math.prod(data.shape),)
    if shape is not None and shape not in (data.shape, flat):
        raise ValueError(
            f"data: rows of shape {data.shape}, but the model was built for "
            f"{tuple(shape)}; build it with shape={data.shape}"
        )
    support = getattr(model, "support", None)
    if support is not None and hasattr(data, "values"):
        validate.finite("values", data.values.cpu(), support)
    y = data.y if data.y is None else data.y.cpu()
    if n_classes := getattr(model, "n_classes", 0):
        validate.labels(y, len(data), n_classes)
    if conditions := getattr(model, "conditions", ()):
        validate.conditions(y, len(data), conditions)


def check_model(model: Any) -> None:
    """Refuse what `fit` and `evaluate` could not call.

    Args:
        model: any module whose `forward(x, y, noise)` returns terms.

    Raises:
        TypeError: it is something else.

    Example:
        >>> check_model(nn.Linear(2, 2))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        TypeError: model: expected forward(x, y, noise), got ...
    """
    if not isinstance(model, nn.Module):
        raise TypeError(
            "model: expected an Autoencoder, VAE or CVAE, or a module whose "
            f"forward returns terms, got {type(model).__name__}; build one"
        )
    if next(model.parameters(), None) is None:
        raise TypeError(
            f"model: expected a module with weights, got a "
            f"{type(model).__name__} without; build one"
        )
    validate.network("model", model, "x", "y", "noise")


def checked(terms: Any, n: int) -> dict[str, Tensor]:
    """Refuse what a forward of your own should not return.

    Args:
        terms: what it has returned.
        n: rows of the batch.

    Returns:
        The terms.

    Raises:
        TypeError: they are not what `fit` expects.

    Example:
        >>> checked(torch.zeros(3), 3)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        TypeError: model: expected forward to return a dict of terms, ...
    """
    if not isinstance(terms, dict) or "loss" not in terms:
        got = (
            f"{[*terms]}" if isinstance(terms, dict) else type(terms).__name__
        )
        raise TypeError(
            "model: expected forward to return a dict of terms, one of them "
            f'"loss", got {got:.60}; let it return {{"loss": ...}}'
        )
    for name, value in terms.items():
        if not isinstance(value, Tensor) or value.shape != (n,):
            got = f"{tuple(getattr(value, 'shape', ()))}"
            raise TypeError(
                f"model: expected the term {name!r} as a tensor ({n},), one "
                f"value for each row, got {got}; do not take the mean"
            )
    return terms


def _compare(path: Path, saved: Any, mine: dict, free: set[str]) -> None:
    """Refuse a checkpoint of a run with other settings."""
    if not isinstance(saved, dict):
        raise CheckpointError(
            f"{path}: says nothing of {', '.join(mine)}, so it cannot be "
            "resumed; train to another file"
        )
    for name in mine | saved:
        if name in free:
            continue
        old, new = saved.get(name), mine.get(name)
        if isinstance(new, dict):
            _compare(path, old, new, free)
        elif old != new:
            same = "data" if name == "digest" else name
            raise CheckpointError(
                f"{path}: was written with {name} = {old!r}, but this run "
                f"has {new!r}; use the same {same}, or another file"
            )
