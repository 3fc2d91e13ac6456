"""Small wrong changes to the package, and which test refuses each.

    python tests/mutants.py --list
    python tests/mutants.py --only objective 17 data
    python tests/mutants.py

Each change in `mutants.txt` is applied to a copy of the package, and the
tests run against the copy, those of the changed module first, until one of
them refuses it. What refuses is a failed assertion, or an error that the
package itself raises on purpose. A change that merely cannot be imported, or
ends in an error of Python or torch, has not been refused.

The exit status is 0 if every change is refused, or is named in the list with
a proof that it changes nothing.
"""

import argparse
import importlib
import json
import os
import select
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
# what a child need not load again; minivae it loads from the copy
SHARED = (
    "torch._dynamo",
    "torch.distributed",
    "torchvision.datasets",
    "matplotlib.pyplot",
    "sklearn.datasets",
    "sklearn.linear_model",
    "sklearn.mixture",
    "sklearn.neighbors",
    "tqdm.auto",
)
# tests of another name than the module; they come first
TESTS = {
    "data": ["data", "engine", "downloads"],
    "__main__": ["cli"],
    "explorer/packing": ["explorer"],
    "engine/checkpoint": ["checkpoint"],
    "engine/device": ["engine", "train"],
    "engine/processes": ["engine", "train"],
    "engine/run": ["train", "engine"],
    "engine/signals": ["train", "engine"],
    "networks": ["networks", "models"],
    "store": ["train", "checkpoint"],
    "train": ["train", "engine"],
    "validate": ["models", "data", "inputs"],
}
LEFT_OUT = ("pages", "site", "lab", "browser", "checks", "course", "grading")
LEFT_OUT += ("readme", "reference", "repository", "print")
LAST = ("faults", "downloads", "inputs")  # minutes, where others need seconds
PATIENCE = 180  # seconds for a single test
# these show that a change is broken, not that it is wrong
BROKEN = (NameError, AttributeError, ImportError, SyntaxError)
REFUSED = ("assertion", "own error")
OPTIONS = ("-q", "--no-header", "-p", "no:cacheprovider")


class Mutant(NamedTuple):
    """One wrong change: `old`, which occurs once, becomes `new`."""

    number: int
    module: str
    old: str
    new: str
    wrong: str  # what is wrong with it
    proof: str = ""  # or why nothing is

    @property
    def file(self) -> str:
        return f"minivae/{self.module}.py"


class Verdict(NamedTuple):
    """How the tests took a change: `kind`, by which test, and why."""

    kind: str
    test: str = ""
    reason: str = ""


def everything() -> list[Mutant]:
    """The list, numbered from 1."""
    found, module = [], ""
    _, *blocks = (ROOT / "tests/mutants.txt").read_text().split("\n\n")
    for block in blocks:
        if block.startswith("#"):
            module = block.removeprefix("# ")
            continue
        lines = {"-": [], "+": [], "=": []}
        wrong, *rest = block.strip("\n").split("\n")
        for line in rest:
            lines[line[0]].append(line[2:])
        texts = ("\n".join(lines[mark]) for mark in "-+")
        proof = " ".join(lines["="])
        found.append(Mutant(len(found) + 1, module, *texts, wrong, proof))
    return found


def fault(mutant: Mutant, source: str) -> str:
    """Why an entry cannot be tried; empty if it can."""
    if (n := source.count(mutant.old)) != 1:
        return f"stale: the old text occurs {n} times"
    try:
        compile(source.replace(mutant.old, mutant.new), mutant.file, "exec")
    except SyntaxError as error:
        return f"no Python: {error}"
    return ""


def copy(tree: Path, template: Path = ROOT) -> Path:
    """The package and its tests; what else they read is linked."""
    tree.mkdir()
    for item in ROOT.iterdir():
        if item.name in ("minivae", "tests"):
            shutil.copytree(template / item.name, tree / item.name)
        elif item.name not in (".git", "_build"):
            (tree / item.name).symlink_to(item)
    return tree


def stages(module: str, names: list[str]) -> list[list[str]]:
    """Test files: those of the module, then the others, slow ones last."""
    names = [n for n in names if not any(w in n for w in LEFT_OUT)]
    first = [n for n in TESTS.get(module, [module]) if n in names]
    rest = sorted(set(names) - set(first), key=lambda n: (n in LAST, n))
    return [[f"tests/test_{n}.py" for n in part] for part in (first, rest)]


class Reader:
    """A plugin that stops pytest at the first refusal and reports it."""

    def __init__(self, tree: Path, pipe: int, stop: bool) -> None:
        self.package, self.pipe, self.stop = tree / "minivae", pipe, stop
        self.verdict, self.failed = Verdict("survived"), []

    def pytest_collectreport(self, report) -> None:
        if report.failed:
            self.verdict = Verdict("broken", report.nodeid, "not imported")

    def pytest_runtest_makereport(self, item, call) -> None:
        if call.excinfo and not call.excinfo.errisinstance(
            (pytest.skip.Exception, pytest.xfail.Exception)
        ):
            kind = self.kind(call.excinfo)
            reason = " ".join(call.excinfo.exconly().split())[:150]
            self.verdict = Verdict(kind, item.nodeid, reason)
            self.failed.append(item.nodeid)
            if kind != "broken" and self.stop:
                item.session.shouldstop = "refused"

    def pytest_runtest_logfinish(self, nodeid) -> None:
        os.write(self.pipe, b"\n")  # it is still alive

    def kind(self, found) -> str:
        error, seen = found.value, set()
        while error is not None and id(error) not in seen:
            if isinstance(error, BROKEN):
                return "broken"
            seen.add(id(error))
            error = error.__cause__ or error.__context__
        if found.errisinstance((AssertionError, pytest.fail.Exception)):
            return "assertion"
        last = found.traceback[-1]
        ours = Path(last.path).is_relative_to(self.package)
        raised = str(last.statement).lstrip().startswith("raise")
        return "own error" if ours and raised else "broken"


def escaped(number: int, frame: object) -> None:
    """Refuse a package that lets a signal through."""
    raise AssertionError(f"signal {number} was not held")


def child(tree: Path, words: list[str], stop: bool, pipe: int) -> None:
    """Run pytest in a copy and write the verdict as a line of JSON."""
    os.setsid()  # so that what it starts can be stopped with it
    os.chdir(tree)
    os.environ["PYTHONPATH"] = str(tree)
    sys.path[0] = str(tree)  # was the folder of this file
    log = os.open("log.txt", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    # a signal that the package should have held must not end the tests
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, escaped)
    reader = Reader(tree, pipe, stop)
    try:
        package = importlib.import_module("minivae")
        assert Path(package.__file__).is_relative_to(tree), package.__file__
        pytest.main([*OPTIONS, f"--basetemp={tree}/tmp", *words], [reader])
    except Exception as error:
        reader.verdict = Verdict("broken", "", repr(error)[:150])
    os.write(pipe, json.dumps([reader.verdict, reader.failed]).encode())


def tried(
    tree: Path, words: list[str], stop: bool = True
) -> tuple[Verdict, list[str]]:
    """The verdict of a forked child, which need not load torch again.

    Without `stop`, also all tests that fail.
    """
    read, write = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        try:
            child(tree, words, stop, write)
        finally:
            os._exit(0)
    os.close(write)
    last = b""
    try:
        while select.select([read], [], [], PATIENCE)[0]:
            if not (part := os.read(read, 1 << 16)):
                break
            last = (last + part).lstrip(b"\n")
        else:
            return Verdict("hung", "", f"no test ended for {PATIENCE} s"), []
    finally:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(read)
    if not last:
        return Verdict("broken", "", "the process died"), []
    verdict, failed = json.loads(last)
    return Verdict(*verdict), failed


class Trial:
    """Copies of the package in a folder, each with one change."""

    def __init__(self, folder: Path, own: bool) -> None:
        self.folder, self.template = folder, copy(folder / "template")
        self.own = own
        tests = (self.template / "tests").glob("test_*.py")
        self.names = [f.stem.removeprefix("test_") for f in tests]
        self.known: set[str] = set()  # files that were tried unchanged
        self.unsound: list[str] = []  # tests that fail then

    def control(self, files: list[str]) -> list[str]:
        """The options that leave out what refuses the package as it is."""
        new = [f for f in files if f not in self.known]
        if new:
            verdict, failed = tried(self.template, new, stop=False)
            if verdict.kind != "survived" and not failed:
                raise SystemExit(f"the tests do not run: {verdict}")
            for test in failed:
                print(f"fails without any change: {test}")
            self.unsound += failed
            self.known |= set(new)
            # a copy would take it for that of the changed module
            shutil.rmtree(self.template / "minivae/__pycache__", True)
        return [f"--deselect={test}" for test in self.unsound]

    def __call__(self, mutant: Mutant) -> Verdict:
        """Apply one change and run the tests, its own first."""
        tree = copy(self.folder / str(mutant.number), self.template)
        file = tree / mutant.file
        source = file.read_text() if file.exists() else ""
        if reason := fault(mutant, source):
            return Verdict("stale", "", reason)
        file.write_text(source.replace(mutant.old, mutant.new))
        found = Verdict("survived")
        for files in filter(None, stages(mutant.module, self.names)):
            options = self.control(files)
            verdict, _ = tried(tree, [*options, *files])
            if verdict.kind != "survived":
                found = verdict
            # what is proved to change nothing is not looked for everywhere
            enough = self.own or bool(mutant.proof)
            if enough or verdict.kind in (*REFUSED, "hung"):
                break
        shutil.rmtree(tree)
        if found.kind == "survived" and mutant.proof:
            return Verdict("equivalent", "", mutant.proof)
        return found


def main() -> int:
    """Try the changes and count."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument(
        "--only", nargs="+", default=[], help="modules or numbers"
    )
    options.add_argument(
        "--list", action="store_true", help="show them, try none"
    )
    options.add_argument(
        "--own", action="store_true", help="run only the tests of the module"
    )
    args = options.parse_args()
    mutants = [
        m
        for m in everything()
        if not args.only or {m.module, str(m.number)} & set(args.only)
    ]
    if args.list:
        for m in mutants:
            note = f" (equivalent: {m.proof})" if m.proof else ""
            print(f"{m.number:>3} {m.module}: {m.wrong}{note}")
        return 0
    # before torch, matplotlib and pytest look at them
    os.environ |= {
        "OMP_NUM_THREADS": "1",
        "MPLBACKEND": "agg",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    for name in SHARED:
        importlib.import_module(name)
    start = time.monotonic()
    counts = Counter()
    # resolved: macOS links /tmp to another place
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(Path(folder).resolve(), args.own)
        for done, mutant in enumerate(mutants, 1):
            began = time.monotonic()
            verdict = trial(mutant)
            counts[verdict.kind] += 1
            test = verdict.test.removeprefix("tests/") or verdict.reason
            print(
                f"{done:>3}/{len(mutants)} {time.monotonic() - began:4.0f} s  "
                f"{verdict.kind:<10} {mutant.number:>3} {mutant.module}: "
                f"{mutant.wrong}\n{'':>26}{test}",
                flush=True,
            )
    print(
        f"{len(mutants)} changes in {(time.monotonic() - start) / 60:.0f} "
        "minutes: " + ", ".join(f"{n} {kind}" for kind, n in counts.items())
    )
    good = mutants and counts.keys() <= {*REFUSED, "equivalent"}
    return 0 if good and not trial.unsound else 1


if __name__ == "__main__":
    sys.exit(main())
