"""Where and how a step is computed: device, precision, compiler.

`auto` means the fastest that works here. Each choice is a function of the
machine, the options and the data, never of a clock, so that a run that was
stopped makes the same choices when it goes on.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from minivae import validate

PRECISIONS = ("auto", "float32", "bfloat16")
COMPILE = ("auto", "yes", "no")
# smaller networks gain nothing from fewer bits or fewer calls
N_WEIGHTS = 100_000
_BF16 = {"avx512_bf16", "amx_bf16", "bf16"}  # instructions of CPUs
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
    """Whether the device multiplies faster in bf16 than in float32.

    An emulation does not. Neither does an Intel processor whose AMX is
    hidden, as some virtual machines do: its AVX-512 alone takes about 1.5 to
    2 times as long in bf16 (measured). What tells it is avx512_fp16.

    Example:
        >>> has_bf16(torch.device("mps"))  # only CPUs and CUDA are asked
        False
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    found = _instructions() if device.type == "cpu" else set()
    hidden = "avx512_fp16" in found and "amx_bf16" not in found
    return bool(_BF16 & found) and not hidden


def _instructions() -> set[str]:
    found: dict = getattr(torch.cpu, "get_capabilities", dict)()
    names = {name for name, has in found.items() if has}
    known = names & _BF16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return names if known else set()


def _is_large(model: nn.Module) -> bool:
    return sum(w.numel() for w in model.parameters()) >= N_WEIGHTS


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
    all of a model whose values are not 0 or 1, which bf16 cannot hold.

    Args:
        wanted: "float32", "bfloat16", or "auto": bfloat16 for large models of
            binary values, where the device has it.
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
    single = next(model.parameters()).dtype == torch.float32
    binary = getattr(getattr(model, "likelihood", None), "binary", False)
    if not (_is_large(model) and single and binary):
        return torch.float32
    if has_bf16(device):
        return torch.bfloat16
    say(f"No fast bf16 on this {device.type}: using float32")
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
    least = PAYS_FROM.get(device.type, float("inf"))
    return _is_large(model) and n_digits >= least


@contextmanager
def fast_products(device: torch.device, precision: str) -> Iterator[None]:
    """Let a CPU without bf16 take its faster way to multiply in float32.

    There PyTorch's setting "medium" cannot lower the precision, as it does
    where there are instructions for bf16; it only leaves a slow library.

    Args:
        device: that multiplies.
        precision: what was asked for; only "auto" leaves a choice.

    Example:
        >>> with fast_products(torch.device("cpu"), "float32"):
        ...     torch.get_float32_matmul_precision()
        'highest'
    """
    before = torch.get_float32_matmul_precision()
    free = precision == "auto" and before == "highest"
    if free and device.type == "cpu" and not _BF16 & _instructions():
        torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
