"""Wrong versions of the package: does a test refuse each of them?

    python tests/mutants.py                        what differs from main,
                                                   or a sample of all
    python tests/mutants.py objective engine.run   these modules
    python tests/mutants.py models.VAE --sample 20 --seed 1
    python tests/mutants.py "objective.binarize: 2 to 3 (3)"

A mutant differs from its module in one place of the syntax tree and, byte for
byte, nowhere else. Its name stays when lines move or other functions change:
module, function, change, and which of its kind in the function.

The tests of a module run on each mutant in a copy of the package. PyTorch
takes seconds to import, so it is imported once, and each mutant is tried in a
fork of this process, which itself never imports the package. A mutant that
survives is a hole in the tests, or equivalent: it does what the module does.
Those that are proved to be so stand with the proof in `equivalent.txt`, and
are not tried. The exit status is 1 if any other survives.
"""

import argparse
import ast
import importlib
import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from itertools import accumulate, pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
# modules whose tests are in files of other names; else the name says it
TESTS = {
    "__main__": ["cli"],
    "data": ["data", "likelihoods"],
    "engine": ["engine", "train"],
    "engine.checkpoint": ["checkpoint", "engine"],
    "store": ["checkpoint", "train"],
    "validate": ["inputs", "models", "data"],
}
# libraries that a fork need not import again
SHARED = (
    *("torch._dynamo", "torch.distributed", "torchvision.datasets"),
    *("sklearn.datasets", "sklearn.linear_model", "sklearn.mixture"),
    *("sklearn.neighbors", "matplotlib.pyplot", "tqdm.auto"),
)
SWAPS = {"**": "*", "//": "/", "%": "//", "|=": "=", "&=": "="}
PAIRS = (
    "<:<=, >:>=, ==:!=, is:is not, in:not in, and:or, +:-, *:/, +=:-=, "
    "*=:/=, |:&, min:max, floor:ceil, any:all, argmin:argmax, "
    "clamp_min:clamp_max, zeros_like:ones_like"
)
for a, b in (pair.split(":") for pair in PAIRS.split(", ")):
    SWAPS |= {a: b, b: a}
# which argument of these only says in a message what to try
EXAMPLES = {"validate.whole": 3, "validate.sizes": 2, "validate.number": 2}


class Mutant(NamedTuple):
    """A change of the bytes from start to end."""

    name: str
    start: int
    end: int
    new: str

    def apply(self, source: bytes) -> bytes:
        return source[: self.start] + self.new.encode() + source[self.end :]


class Tree:
    """The syntax tree of a module, whose nodes have a span in its bytes."""

    def __init__(self, source: bytes) -> None:
        lines = source.splitlines(keepends=True)
        self.source, self.lines = source, [0, *accumulate(map(len, lines))]

    def span(self, node: ast.AST) -> tuple[int, int]:
        start = self.lines[node.lineno - 1] + node.col_offset
        return start, self.lines[node.end_lineno - 1] + node.end_col_offset

    def walk(self, node: ast.AST, scope: str) -> Iterator[Mutant]:
        """The mutants of a node and of those in it; none of a message."""
        if isinstance(node, ast.JoinedStr | ast.Raise):
            return
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            scope += f".{node.name}"
        for span, new, what in self.changes(node):
            yield Mutant(f"{scope}: {what}", *span, new)
        left_out = [getattr(node, "annotation", None)]
        left_out += [getattr(node, "returns", None)]
        left_out += getattr(node, "decorator_list", [])
        if isinstance(node, ast.Call):
            at = EXAMPLES.get(ast.unparse(node.func), len(node.args))
            left_out += node.args[at : at + 1]
        for child in ast.iter_child_nodes(node):
            if child not in left_out:
                yield from self.walk(child, scope)

    def changes(self, node: ast.AST) -> Iterator[tuple]:
        """Span, new text and a name for each change of one node."""
        operands, tests = [], []
        match node:
            case ast.Constant(value=int(value) | float(value)):
                new = not value if isinstance(value, bool) else value + 1
                yield self.span(node), f"{new}", f"{value} to {new}"
            case ast.Name(id=name) | ast.Attribute(attr=name):
                end = self.span(node)[1]
                if new := SWAPS.get(name):
                    yield (end - len(name), end), new, f"{name} to {new}"
            case ast.Return(value=ast.AST() as value):
                yield self.span(value), "None", "return None"
            case ast.Expr(value=ast.Call(func=func)):
                yield self.span(node), "pass", f"drop {ast.unparse(func)}()"
            case ast.keyword(arg=name):
                yield self.argument(node), "", f"drop {name or '**'}="
            case ast.UnaryOp(operand=operand):
                span, sign = self.sign(self.span(node)[0], operand)
                yield span, "", f"drop {sign}"
            case ast.FunctionDef(decorator_list=decorators):
                for each in decorators:
                    start, end = self.span(each)
                    yield (start - 1, end), "", f"drop @{ast.unparse(each)}"
            case ast.If(test=test) | ast.IfExp(test=test):
                tests = [test]
            case ast.comprehension(ifs=tests):
                pass
            case ast.AugAssign(target=target, value=value):
                yield self.span(node), "pass", f"drop {ast.unparse(target)} ="
                operands = [target, value]
            case ast.BinOp(left=left, right=right):
                operands = [left, right]
            case ast.BoolOp(values=operands):
                pass
            case ast.Compare(left=left, comparators=others):
                operands = [left, *others]
        for test in tests:
            yield self.span(test), "True", "if True"
            yield self.span(test), "False", "if False"
        for left, right in pairwise(operands):
            span, sign = self.sign(self.span(left)[1], right)
            if new := SWAPS.get(sign):
                yield span, new, f"{sign} to {new}"

    def sign(self, start: int, operand: ast.AST) -> tuple:
        """Span and text of the operator before an operand."""
        gap = self.source[start : self.span(operand)[0]]
        gap = re.sub(rb"#.*|[()]", lambda found: b" " * len(found[0]), gap)
        start += len(gap) - len(gap.lstrip())
        return (start, start + len(gap.strip())), gap.strip().decode()

    def argument(self, keyword: ast.keyword) -> tuple[int, int]:
        """The span of an argument, with the comma behind or before it."""
        start, end = self.span(keyword)
        if after := re.match(rb"\s*,", self.source[end:]):
            return start, end + after.end()
        return re.search(rb",?\s*\Z", self.source[:start]).start(), end


def mutants(module: str, source: bytes) -> Iterator[Mutant]:
    """Those of a module, in the order of its text."""
    found = Tree(source).walk(ast.parse(source), module)
    seen = Counter()
    for mutant in sorted(found, key=lambda m: m.start):
        seen[mutant.name] += 1
        yield mutant._replace(name=f"{mutant.name} ({seen[mutant.name]})")


def sources() -> dict[str, Path]:
    """The modules by their names, such as "engine.run"."""
    paths = sorted((ROOT / "minivae").rglob("*.py"))
    names = (p.relative_to(ROOT / "minivae").with_suffix("") for p in paths)
    return {".".join(n.parts): ROOT / f"minivae/{n}.py" for n in names}


def changed() -> list[str]:
    """The modules that differ from the branch main; none on main itself."""
    paths = []
    for command in ("diff --name-only --merge-base main --", "ls-files -o"):
        words = ["git", "-C", ROOT, *command.split(), "minivae"]
        done = subprocess.check_output(words, text=True)
        paths += [ROOT / line for line in done.splitlines()]
    return [name for name, path in sources().items() if path in paths]


def equivalent() -> list[str]:
    """The names in `equivalent.txt`; after each stands its proof."""
    lines = (ROOT / "tests/equivalent.txt").read_text().splitlines()
    return [line for line in lines if line and line[0] not in "# "]


class Trial:
    """A copy of the package, whose tests run in forks."""

    def __init__(self, tree: Path) -> None:
        self.tree, self.limits = tree, {}
        tree.mkdir()
        for item in ROOT.iterdir():
            if item.name in ("minivae", "tests"):
                shutil.copytree(item, tree / item.name)
            elif item.name not in (".git", "_build", ".pytest_cache"):
                (tree / item.name).symlink_to(item)

    def run(self, files: list[str]) -> None:
        os.setsid()  # so that what the tests start can be ended with them
        os.chdir(self.tree)
        sys.path[0] = os.environ["PYTHONPATH"] = str(self.tree)
        log = os.open("log.txt", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(log, stream)
        # what has refused a mutant comes first
        options = ["-x", "--ff", "--assert=plain", "--basetemp=tmp"]
        os._exit(pytest.main([*options, *files]))

    def passes(self, files: list[str], limit: float | None = None) -> bool:
        """Whether the tests pass; it is no if they take too long."""
        fork = multiprocessing.get_context("fork")
        process = fork.Process(target=self.run, args=[files])
        process.start()
        process.join(limit)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.join()
        return process.exitcode == 0

    def survives(self, module: str, mutant: Mutant) -> bool:
        first = module.split(".")[0]
        names = TESTS.get(module) or TESTS.get(first) or [first]
        files = [f"tests/test_{name}.py" for name in names]
        if module not in self.limits:
            start = time.monotonic()
            if not self.passes(files):
                raise SystemExit((self.tree / "log.txt").read_text())
            self.limits[module] = 60 + 5 * (time.monotonic() - start)
        path = self.tree / sources()[module].relative_to(ROOT)
        source = path.read_bytes()
        path.write_bytes(mutant.apply(source))
        survives = self.passes(files, self.limits[module])
        path.write_bytes(source)
        return survives


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="modules or what is in them")
    parser.add_argument("--sample", type=int, help="try so many, at random")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    names = args.names or changed()
    if not names:
        names, args.sample = [*sources()], args.sample or 40
    wanted = re.compile(rf"({'|'.join(map(re.escape, names))})([.:]|$)")
    tried = [
        (module, path.read_bytes(), mutant)
        for module, path in sources().items()
        for mutant in mutants(module, path.read_bytes())
        if wanted.match(mutant.name) and mutant.name not in equivalent()
    ]
    if args.names and not tried:
        parser.error("no mutants of that name")
    if args.sample and args.sample < len(tried):
        tried = random.Random(args.seed).sample(tried, args.sample)
    os.environ |= {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    # two mutants of the same size and second would be one to its cache
    os.environ |= {"PYTHONDONTWRITEBYTECODE": "1"}
    os.environ |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    sys.dont_write_bytecode = True
    for name in SHARED:
        importlib.import_module(name)
    survived = 0
    # resolved: macOS links /tmp to another place
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(Path(folder).resolve() / "copy")
        for n, (module, source, mutant) in enumerate(tried, 1):
            survives = trial.survives(module, mutant)
            survived += survives
            word = "SURVIVED" if survives else "refused"
            print(f"{n}/{len(tried)} {word} {mutant.name}", flush=True)
            if survives:
                row = source[: mutant.start].count(b"\n")
                for sign, text in zip("-+", (source, mutant.apply(source))):
                    print(f"    {sign} {text.decode().splitlines()[row]}")
    print(f"{len(tried) - survived} of {len(tried)} mutants are refused")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
