"""What the training loop runs on: device, precision, compiler, processes.

`auto` means the fastest that works here. Each choice is a function of the
machine, the options and the data, never of a clock, so that a run that was
stopped makes the same choices when it goes on.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim.adam import adam

from minivae import validate

T = TypeVar("T")
PRECISIONS = ("auto", "float32", "bfloat16")
COMPILE = ("auto", "yes", "no")
# smaller networks gain nothing from fewer bits or fewer calls
N_WEIGHTS = 100_000
# digits in a whole run from which on compiling pays for itself
PAYS_FROM = {"cpu": 6_000_000, "cuda": 200_000_000}


def find_device(name: str = "auto") -> torch.device:
    """The device of this name; "auto" is CUDA, else MPS, else the CPU.

    Of several processes on a machine, each gets a GPU of its own.

    Raises:
        ValueError: unknown, or not on this machine.

    Example:
        >>> find_device("cpu")
        device(type='cpu')
    """
    if name == "auto":
        if torch.cuda.is_available():
            name = "cuda"
        elif torch.backends.mps.is_available():
            name = "mps"
        else:
            name = "cpu"
    if name == "cuda" and "LOCAL_RANK" in os.environ:
        name = f"cuda:{os.environ['LOCAL_RANK']}"
    device = validate.device(name)
    validate.choice("device", device.type, ("cpu", "cuda", "mps", "xpu"))
    return device


def keep_memory() -> None:
    """Let the allocator of the CPU keep what a step frees, for the next.

    Else glibc may give it back to the system after every step, and the next
    one waits for hundreds of new pages. It learns from the largest block,
    below 32 MiB, that was ever freed; this one is never written to.

    Example:
        >>> keep_memory()
    """
    torch.empty(30_000_000, dtype=torch.uint8)


def has_bf16(device: torch.device) -> bool:
    """Whether the device has instructions for bf16, not an emulation.

    Example:
        >>> has_bf16(torch.device("mps"))  # only CPUs and CUDA are asked
        False
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    found: dict = getattr(torch.cpu, "get_capabilities", dict)()
    return (
        any(found.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
        and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )


_told: set[str] = set()


def tell_once(text: str) -> None:
    """Say what is not to be had here; not again in every run.

    Example:
        >>> for _ in range(3):
        ...     tell_once("No GPU here: using the CPU")  # one line, to stderr
    """
    if text not in _told:
        print(text, file=sys.stderr)
    _told.add(text)


def pick_precision(
    wanted: str,
    model: nn.Module,
    device: torch.device,
    say: Callable[[str], None] = tell_once,
) -> torch.dtype:
    """The type in which matrices are multiplied: float32 or bfloat16.

    Weights, their gradients, Adam and all sums stay float32, and so does
    all of a model of grey pixels, which bf16 cannot hold exactly.

    Args:
        wanted: "float32", "bfloat16", or "auto": bfloat16 for large models of
            binary pixels, where the device has it.
        model: with float32 weights.
        device: where it is trained.
        say: where to tell that the device has no bf16.

    Returns:
        torch.float32 or torch.bfloat16.

    Example:
        >>> model = nn.Linear(784, 20)  # too small to gain by it
        >>> pick_precision("auto", model, torch.device("cpu"))
        torch.float32
    """
    if wanted != "auto":
        return getattr(torch, wanted)
    large = sum(w.numel() for w in model.parameters()) >= N_WEIGHTS
    single = next(model.parameters()).dtype == torch.float32
    if not (large and single and model.binary):
        return torch.float32
    if has_bf16(device):
        return torch.bfloat16
    say(f"No bf16 instructions on this {device.type}: using float32")
    return torch.float32


def pick_compile(
    wanted: str, model: nn.Module, device: torch.device, n_digits: int
) -> bool:
    """Whether to compile a run that sees so many digits in all.

    Args:
        wanted: "yes", "no", or "auto": where it pays for itself.
        model: its size is looked at.
        device: where it is trained.
        n_digits: all digits of all epochs.

    Returns:
        True to try torch.compile.

    Example:
        >>> model, device = nn.Linear(784, 20), torch.device("cpu")
        >>> pick_compile("auto", model, device, n_digits=10**9)
        False
    """
    if wanted != "auto":
        return wanted == "yes"
    large = sum(w.numel() for w in model.parameters()) >= N_WEIGHTS
    return large and n_digits >= PAYS_FROM.get(device.type, float("inf"))


class Terms(nn.Module):
    """`model.terms` as a module, which is what compilers and DDP take.

    Args:
        model: with a method `terms`.

    Example:
        >>> from minivae.models import VAE
        >>> terms = Terms(VAE(n_latent=2))(torch.ones(3, 784), None, None)
        >>> terms["loss"].shape
        torch.Size([3])
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, y: Tensor | None, noise) -> dict:
        """The terms of the loss, (B,) each."""
        return self.model.terms(x, y, noise)


class Network:
    """The terms of a model, computed in the fastest way that works.

    Args:
        model: to train.
        precision: float32 or bfloat16.
        compile: whether to try torch.compile.
        size: rows of a full batch; a shorter one is never compiled.
        workers: the processes that share the work.
        say: where to tell that something is not to be had here.

    Example:
        >>> from minivae.models import VAE
        >>> network = Network(VAE(2), torch.float32, False, 128, Workers())
        >>> network(torch.ones(3, 784), None, torch.Generator())["kl"].shape
        torch.Size([3])
    """

    def __init__(
        self,
        model: Any,
        precision: torch.dtype,
        compile: bool,
        size: int,
        workers: "Workers",
        say: Callable[[str], None] = tell_once,
    ) -> None:
        self.size, self.say = size, say
        self.device = next(model.parameters()).device
        self.precision, self.binary = precision, model.binary
        self.n_latent: int = getattr(model, "n_latent", 0)
        self.plain: nn.Module = Terms(model)
        keep_memory()
        if workers.n > 1:
            from torch.nn.parallel import DistributedDataParallel

            self.plain = DistributedDataParallel(self.plain)
        self.fast: Callable[..., dict[str, Tensor]] = self.plain
        self.untried = compile and self.n_latent > 0
        if self.untried:
            # CUDA graphs replay a whole pass without Python
            mode = "reduce-overhead" if self.device.type == "cuda" else None
            self.fast = torch.compile(self.plain, mode=mode, dynamic=False)

    def __call__(
        self, x: Tensor, y: Tensor | None, noise: torch.Generator
    ) -> dict[str, Tensor]:
        """The terms of the loss, (B,) each."""
        low = self.precision != torch.float32
        if low and self.binary:
            x = x.to(self.precision)  # 0 and 1 are exact in any type
        with torch.autocast(self.device.type, torch.bfloat16, enabled=low):
            if self.fast is self.plain or len(x) != self.size:
                return self.plain(x, y, noise)
            # a compiler wants numbers for an input, not a source of them
            shape = (len(x), self.n_latent)
            drawn = torch.randn(shape, generator=noise, device=self.device)
            if not self.untried:
                return self.fast(x, y, drawn)
            self.untried = False
            try:
                return self.fast(x, y, drawn)
            except Exception as error:  # no compiler, or one that fails
                self.say(
                    "torch.compile does not work here "
                    f"({type(error).__name__}); going on without it"
                )
                self.fast = self.plain
                return self.plain(x, y, drawn)


class Adam:
    """Adam (Kingma & Ba 2015): one call changes all weights.

    The arithmetic is PyTorch's. Its class `torch.optim.Adam` does the same,
    but to make one loads the compiler, which takes longer than to train for
    a few epochs.

    Args:
        weights: to change; those without a gradient stay as they are.
        lr: step size.
        betas: how much of the old means of gradients and squares is kept.
        fused: whether to go through the weights once, in one call.

    Attributes:
        found_inf: tensor, 1 where a step must change nothing, or None.

    Example:
        >>> weight = torch.ones(1, requires_grad=True)
        >>> weight.square().sum().backward()
        >>> Adam([weight], lr=0.1).step()
        >>> weight.detach()  # the first step is as long as lr
        tensor([0.9000])
    """

    def __init__(
        self,
        weights: Sequence[Tensor],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.99),
        fused: bool = True,
    ) -> None:
        self.weights = [w for w in weights if w.requires_grad]
        self.lr, self.betas, self.fused = lr, betas, fused
        self.found_inf: Tensor | None = None
        self.state = {
            "mean": [torch.zeros_like(w) for w in self.weights],
            "square": [torch.zeros_like(w) for w in self.weights],
            "steps": [torch.zeros((), device=w.device) for w in self.weights],
        }

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for weight in self.weights:
            weight.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Change the weights by their gradients."""
        gradients = [w.grad for w in self.weights]
        chosen = [i for i, g in enumerate(gradients) if g is not None]
        mean, square, steps = (
            [part[i] for i in chosen] for part in self.state.values()
        )
        adam(
            [self.weights[i] for i in chosen],
            [g for g in gradients if g is not None],
            mean,
            square,
            [],
            steps,
            fused=self.fused,
            foreach=False,
            found_inf=self.found_inf,
            amsgrad=False,
            beta1=self.betas[0],
            beta2=self.betas[1],
            lr=self.lr,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )


class Workers:
    """The processes that share a run, as torchrun starts them; else one.

    Attributes:
        rank: number of this process, from 0; only 0 writes and prints.
        n: how many there are.

    Example:
        >>> workers = Workers()  # without torchrun
        >>> workers.rank, workers.n, workers.any(False)
        (0, 1, False)
    """

    def __init__(self) -> None:
        several = dist.is_available() and dist.is_initialized()
        self.rank = dist.get_rank() if several else 0
        self.n = dist.get_world_size() if several else 1

    @property
    def share(self) -> tuple[int, int]:
        """(rank, n): this process takes every n-th row from its rank on."""
        return self.rank, self.n

    @property
    def key(self) -> tuple[int, ...]:
        """What sets the random numbers of this process apart."""
        return () if self.n == 1 else (self.n, self.rank)

    def total(self, values: Tensor) -> Tensor:
        """The sum over all processes, float64 on the CPU."""
        values = values.detach().cpu().double()
        if self.n > 1:
            dist.all_reduce(values)
        return values

    def any(self, flag: bool) -> bool:
        """Whether it is so in any process; all get the same answer."""
        if self.n == 1:
            return flag
        return bool(self.total(torch.tensor([flag])).item())

    def from_first(self, compute: Callable[[], T]) -> T:
        """What the first process computes, its error included, in all."""
        result: list = [None]
        if self.rank == 0:
            try:
                result = [compute()]
            except Exception as error:
                if self.n == 1:
                    raise
                result = [error]
        if self.n > 1:
            dist.broadcast_object_list(result)
            if isinstance(result[0], Exception):
                raise result[0]
        return result[0]


@contextmanager
def processes() -> Iterator[Workers]:
    """Join the other processes if torchrun has started several.

    Example:
        >>> with processes() as workers:
        ...     workers.n
        1
    """
    if int(os.environ.get("WORLD_SIZE", 1)) > 1 and not dist.is_initialized():
        cuda = torch.cuda.is_available()
        store, rank, n = next(dist.rendezvous("env://"))
        # torchrun starts all anew when one dies, but keeps the store, where
        # they would look for the dead. Of several machines each counts its
        # own starts, so there is no name that all of them know
        if os.environ.get("GROUP_WORLD_SIZE") == "1":
            start = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
            store = dist.PrefixStore(f"start {start}", store)
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if cuda else "gloo",
            store=store,
            rank=rank,
            world_size=n,
        )
        try:
            yield Workers()
        finally:
            dist.destroy_process_group()
    else:
        yield Workers()


class Stop:
    """Hold Ctrl+C and SIGTERM until the loop is between two steps.

    A step that is interrupted leaves some weights new and some old. So the
    first signal is only noted; a second one raises KeyboardInterrupt.

    Attributes:
        signal: number of the signal that came, or 0.

    Example:
        >>> with Stop() as stop:
        ...     signal.raise_signal(signal.SIGINT)
        >>> stop.signal == signal.SIGINT
        True
    """

    def __init__(self) -> None:
        self.signal = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Stop":
        # only the main thread may; in others Ctrl+C does not arrive
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            # None: it was not set from Python, and cannot be set again
            signal.signal(number, handler or signal.SIG_DFL)
        self._before = {}

    def _note(self, number: int, frame: object) -> None:
        if self.signal:
            raise KeyboardInterrupt
        self.signal = number
