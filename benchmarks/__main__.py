"""Measure speed, quality, memory and compilation against other ways.

One process after the other, in turn (A B C, A B C, ...), so that a machine
that is slower for a while is so for all. Prints tables and writes JSON.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# no torch here: the peak that the system reports of a child process begins
# with the size of the process that started it
from benchmarks.goals import TASKS
from benchmarks.report import (
    compile_table,
    costs_table,
    memory_table,
    models_table,
    quality_table,
    rates_table,
    ratios_table,
    spread,
)

ROOT = Path(__file__).resolve().parents[1]
LOOPS = (
    "standard",
    "standard-workers",
    "pythae",
    "pyro",
    "bare-float32",
    "minivae-float32",
    "bare-bfloat16",
    "minivae-bfloat16",
    "bare-compiled",
    "minivae-compiled",
    "minivae-classic",
    "minivae",
)
LOW = {name for name in LOOPS if name.endswith(("bfloat16", "compiled"))}
SECTIONS = ("rates", "quality", "memory", "compile", "gpu", "models")
MEASURE = ("-m", "benchmarks.measure")
TRAIN = ("-m", "minivae", "train", "--model", "vae", "--hidden", "400")
CLASSIC = ("--batch-size", "128", "--lr", "0.001")
N_DIGITS = {"mnist": 60_000, "builtin": 1437}  # to train on
GPU_BATCHES = (1024, 8192, 65_536)


class ProcessError(RuntimeError):
    """A process of a measurement ended with an error."""


def process(*words: str, **env: str) -> dict:
    """Run `python words`; what it printed as JSON, seconds and peak memory.

    The seconds are those of the whole cold process, the peak is the largest
    resident size in MB of it and of what it started.
    """
    start = time.perf_counter()
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(  # noqa: S603
            [sys.executable, *words],
            cwd=ROOT,
            env=os.environ | env,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as child,
    ):
        lines = child.stdout.read().splitlines()
        _, status, used = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        said = errors.read().strip().splitlines() or ["no message"]
    if child.returncode:
        raise ProcessError(f"{' '.join(words)}: {said[-1][:300]}")
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kB here
    result = json.loads(lines[-1]) if lines else {}
    peak = used.ru_maxrss * unit / 2**20
    return {"seconds": seconds, "peak": peak} | result


class Bench:
    """The measurements of one call, and what they have found so far.

    Args:
        args: of the command line.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.failed = args, False
        self.machine = process(*MEASURE, "machine")["machine"]
        self.found = {"quick": args.quick, "machine": self.machine}
        data = "builtin" if args.quick else "mnist"
        self.n_digits = N_DIGITS[data]
        self.train = (*TRAIN, "--data", data, "--json", "--device", "cpu")
        self.steps = ("--digits", "1280", "--warm", "256")
        self.steps = self.steps if args.quick else ()

    def run(self) -> None:
        """The sections that are wanted; the file grows with each."""
        for section in self.args.sections or SECTIONS[:-1]:
            print(f"\n## {section}\n", flush=True)
            try:
                getattr(self, section)()
            except ProcessError as error:
                self.fail(section, error)
            text = json.dumps(self.found, indent=2)
            self.args.out.write_text(text + "\n")

    def skip(self, name: str, reason: str) -> None:
        """Say, and keep, what was not measured and why."""
        self.found.setdefault("skipped", {})[name] = reason
        print(f"{name} skipped: {reason}", flush=True)

    def fail(self, name: str, error: ProcessError) -> None:
        """As `skip`, for what should have run."""
        self.failed = True
        self.skip(name, str(error))

    def in_turn(self, jobs: dict[str, tuple]) -> dict[str, list[dict]]:
        """Each job once in every round; one that fails is left out.

        Args:
            jobs: name -> words after `python`; "SEED" becomes the number of
                the round.
        """
        found: dict[str, list[dict]] = {name: [] for name in jobs}
        for seed in range(self.args.rounds):
            for name in list(found):
                words = [
                    str(seed) if w == "SEED" else str(w) for w in jobs[name]
                ]
                try:
                    found[name].append(process(*words))
                except ProcessError as error:
                    del found[name]
                    self.fail(name, error)
        return found

    def rates_of(
        self, names: list[str], *words: object
    ) -> dict[str, list[float]]:
        """Digits per second of each of these loops in every round."""
        jobs = {name: (*MEASURE, name, *self.steps, *words) for name in names}
        return {
            name: [one["digits_per_second"] for one in results]
            for name, results in self.in_turn(jobs).items()
        }

    def rates(self) -> None:
        """Digits per second of all loops on the CPU."""
        names = [n for n in LOOPS if n in (self.args.loops or LOOPS)]
        for peer in {"pythae", "pyro"}.intersection(names):
            if not importlib.util.find_spec(peer):
                names.remove(peer)
                self.skip(peer, "not installed, see requirements.txt")
        if not self.machine["bf16"]:
            for name in LOW.intersection(names):
                names.remove(name)
                self.skip(name, "this processor is not faster in bf16")
        rates = self.found["rates"] = self.rates_of(names)
        print(rates_table(rates), ratios_table(rates), sep="\n\n")

    def quality(self) -> None:
        """Test ELBO, and the time it takes, of whole cold processes.

        The last of the four is the shortest run that is as good as the
        standard one, with every seed.
        """
        epochs = str(self.args.epochs)
        seeds = ("--seed", "SEED")
        train = (*self.train, *seeds, "--epochs")
        standard = (*MEASURE, "standard", *self.steps, "--epochs", epochs)
        short, recipe = self.args.epochs, self.args.recipe.split()
        if short > 1:
            goal = process(*standard)["test"]["elbo"]
            short = self.shortest(goal, recipe)
        done = self.in_turn(
            {
                "standard": (*standard, *seeds),
                "minivae-classic": (*train, epochs, *CLASSIC),
                "minivae": (*train, epochs),
                "minivae-short": (*train, str(short), *recipe),
            }
        )
        found = {
            name: {
                "elbo": [one["test"]["elbo"] for one in results],
                "seconds": [one["seconds"] for one in results],
            }
            for name, results in done.items()
        }
        self.found["quality"] = found
        self.found["epochs"] = {"quality": self.args.epochs, "short": short}
        print(f"{epochs} epochs; minivae-short: {short} ({self.args.recipe})")
        print("", quality_table(found), sep="\n")

    def shortest(self, goal: float, recipe: list[str]) -> int:
        """Epochs from which on every seed has at least this test ELBO."""
        for n in range(1, self.args.epochs):
            words = (*self.train, *recipe, "--epochs", str(n), "--seed")
            runs = (process(*words, str(i)) for i in range(self.args.rounds))
            # stops at the first seed that falls short
            if all(run["test"]["elbo"] >= goal for run in runs):
                return n
        return self.args.epochs

    def memory(self) -> None:
        """Peak resident size, beside that of torch and the data alone."""
        size = self.n_digits * 784
        base = f"import torch; x = torch.ones({size}, dtype=torch.uint8)"
        done = self.in_turn(
            {
                "torch and the data": ("-c", base),
                "minivae train": (*self.train, "--seed", "SEED"),
            }
        )
        peaks = {
            name: [one["peak"] for one in results]
            for name, results in done.items()
        }
        self.found["memory"] = peaks
        print(memory_table(peaks))

    def compile(self) -> None:
        """What torch.compile costs, gains, and when it pays."""
        if not self.machine["bf16"]:
            self.skip("compile", "this processor is not faster in bf16")
            return
        names = ["minivae-bfloat16", "minivae-compiled"]
        rates = self.found.get("rates", {})
        if not rates.keys() >= set(names):
            rates = self.rates_of(names)
        if not rates.keys() >= set(names):
            return  # what failed has been said
        eager, compiled = (spread(rates[name])[1] for name in names)
        train = (*self.train, *CLASSIC, "--epochs", "1", "--compile")
        seconds = {"no": [], "cold": [], "warm": []}
        for _ in range(self.args.rounds):
            with tempfile.TemporaryDirectory() as cache:
                for state in seconds:
                    done = process(
                        *train,
                        "no" if state == "no" else "yes",
                        TORCHINDUCTOR_CACHE_DIR=cache,
                    )
                    seconds[state].append(done["seconds"])
        epoch = {"no": self.n_digits / eager}
        epoch["cold"] = epoch["warm"] = self.n_digits / compiled
        # start of the process, and end, less what the epoch itself takes
        cost = {
            state: [
                max(0.0, (b - epoch[state]) - (a - epoch["no"]))
                for a, b in zip(seconds["no"], seconds[state])
            ]
            for state in ("cold", "warm")
        }
        self.found["compile"] = {"seconds": seconds, "cost": cost}
        print(compile_table(cost, epoch["no"], epoch["warm"]))

    def models(self) -> None:
        """What the models reach, against their goals and published values."""
        quick = ("--quick",) if self.args.quick else ()
        jobs = {
            task: ("-m", "benchmarks.models", task, "--seed", "SEED", *quick)
            for task in self.args.models or TASKS
        }
        found = self.found["models"] = self.in_turn(jobs)
        print(models_table(found), costs_table(found), sep="\n\n")

    def gpu(self) -> None:
        """Digits per second at large batches on a GPU."""
        if not self.machine["gpu"]:
            self.skip("gpu", "no CUDA device here")
            return
        self.found["gpu"] = {}
        for batch in GPU_BATCHES:
            rates = self.rates_of(
                ["bare-compiled", "minivae-bfloat16", "minivae-compiled"],
                *("--device", "cuda", "--batch", batch),
                *(() if self.steps else ("--digits", 12_000_000)),
            )
            self.found["gpu"][batch] = rates
            print(f"batch {batch:,}", rates_table(rates), sep="\n\n")
            print(f"\n{ratios_table(rates)}\n")


def main() -> int:
    """Measure; the exit status is 1 if something failed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--quick", action="store_true", help="see that it runs; no results"
    )
    parser.add_argument("--rounds", type=int, help="default 3, quick 1")
    parser.add_argument(
        "--epochs", type=int, help="of the quality runs; default 10, quick 1"
    )
    parser.add_argument(
        "sections",
        nargs="*",
        choices=[*SECTIONS, []],  # Python 3.11 checks the empty list too
        metavar="SECTION",
        help=f"of {', '.join(SECTIONS)}; default all but models",
    )
    parser.add_argument(
        "--loops",
        nargs="+",
        choices=LOOPS,
        metavar="LOOP",
        help=f"the rates of these alone, of {', '.join(LOOPS)}",
    )
    parser.add_argument(
        "--models",
        nargs="+",
        choices=TASKS,
        metavar="TASK",
        help=f"of the models these alone, of {', '.join(TASKS)}",
    )
    parser.add_argument(
        "--recipe",
        default="--batch-size 128 --lr 0.005 --decay 0.7",
        help="options of minivae-short",
    )
    parser.add_argument(
        "--out", type=Path, default=ROOT / "benchmarks" / "results.json"
    )
    args = parser.parse_args()
    named = {"rates": args.loops, "models": args.models}
    args.sections = args.sections or [s for s in named if named[s]]
    for name, short, full in (("rounds", 1, 3), ("epochs", 1, 10)):
        if getattr(args, name) is None:
            setattr(args, name, short if args.quick else full)
        if getattr(args, name) < 1:
            parser.error(f"--{name}: expected 1 or more; give one such as 3")
    if not args.out.parent.is_dir():
        parser.error(f"--out: no folder {args.out.parent}; make it first")
    try:
        bench = Bench(args)
    except ProcessError as error:
        parser.error(str(error))
    bench.run()
    print(f"\nWritten to {args.out}")
    return int(bench.failed)


if __name__ == "__main__":
    sys.exit(main())
