"""One measurement in a process of its own: a line of JSON.

`python -m benchmarks.measure NAME`
"""

import argparse
import json
import os
import platform
from functools import partial
from pathlib import Path

import torch

from benchmarks import peers
from benchmarks.loops import (
    BARE,
    MINIVAE,
    Clock,
    Enough,
    bare,
    minivae,
    standard,
)
from minivae import evaluate, load_digits
from minivae.engine import has_bf16

LOOPS = {
    "standard": standard,
    "standard-workers": partial(standard, workers=2),
    "pythae": peers.pythae,
    "pyro": peers.pyro,
}


def machine() -> dict:
    """What the numbers depend on."""
    load_digits("mnist")  # fetched here, if at all, and not while timing
    cpu, info = platform.machine(), Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                cpu = line.partition(":")[2].strip()
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "bf16": has_bf16(torch.device("cpu")),
        "gpu": gpu,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def rate(name: str, digits: int, warm: int, options: dict) -> float:
    """Digits per second of one loop.

    Args:
        name: of the loop.
        digits: to time, after the warm ones.
        warm: digits before these.
        options: "device" and, where it is not 128, "batch".
    """
    if name in MINIVAE:
        given = {"device": options["device"]}
        if "batch" in options:
            given["batch_size"] = options["batch"]
        # the length of these runs is one of the things they leave open
        open_end = "compile" not in MINIVAE[name]
        return minivae(MINIVAE[name] | given, digits, every=not open_end)
    clock = Clock(digits, warm)
    try:
        if name in BARE:
            bare(clock, **BARE[name], **options)
        else:
            LOOPS[name](clock)
    except Enough:
        return clock.rate


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.measure")
    parser.add_argument("name", choices=("machine", *LOOPS, *BARE, *MINIVAE))
    parser.add_argument("--digits", type=int)
    parser.add_argument("--warm", type=int, default=6_400)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--epochs", type=int, help="train standard, score it")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.name == "machine":
        result = {"machine": machine()}
    elif args.epochs:
        model = standard(
            lambda n: None, args.epochs, args.seed, n_digits=args.digits
        )
        test = load_digits("mnist", "test")
        result = {"test": evaluate(model.as_vae(), test)}
    else:
        options = {"device": args.device}
        if args.batch:
            options["batch"] = args.batch
        digits = args.digits or 60_000
        speed = rate(args.name, digits, args.warm, options)
        result = {"digits_per_second": speed}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
