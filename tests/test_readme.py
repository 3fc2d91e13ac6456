"""What the README tells a stranger to type works, and what it names exists."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.M | re.S)
INLINE = re.findall(
    r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", README, flags=re.M | re.S)
)
# words of a command line -> the same with this interpreter
PROGRAMS = {
    "python": [sys.executable],
    "torchrun": [sys.executable, "-m", "torch.distributed.run"],
}


def code(language):
    """The blocks in a language."""
    return [text for kind, text in BLOCKS if kind == language]


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder of a stranger without MNIST, in which to work."""
    return tmp_path_factory.mktemp("desk")


def run(words, folder, monkeypatch):
    """Run a program on the built-in digits; what it printed."""
    monkeypatch.setenv("MINIVAE_DIGITS", "builtin")
    result = subprocess.run(
        words, cwd=folder, capture_output=True, text=True, timeout=1800
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


COMMANDS = [line for block in code("bash") for line in block.splitlines()]


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_runs(line, desk, monkeypatch):
    program, *words = shlex.split(line)
    assert run([*PROGRAMS[program], *words], desk, monkeypatch)
    for name in re.findall(r"--(?:out|checkpoint) (\S+)", line):
        assert desk.joinpath(name).stat().st_size > 1000


def test_the_lines_of_python_run(desk, monkeypatch):
    (program,) = code("python")
    out = run([sys.executable, "-c", program], desk, monkeypatch)
    assert "elbo" in out


def test_commands_of_make_are_there(monkeypatch):
    if shutil.which("make") is None:
        pytest.skip("no make")
    named = {x for text in INLINE for x in re.findall(r"^make ([\w-]+)", text)}
    assert {"book", "test", "lab", "serve"} <= named
    for target in named:
        subprocess.run(
            ["make", "--dry-run", target],
            cwd=ROOT,
            capture_output=True,
            check=True,
        )


def test_the_tree_names_all_that_lies_at_the_top():
    (tree,) = code("text")
    named = {line.split()[0] for line in tree.splitlines()}
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True
    ).stdout.split()
    if not listed:
        pytest.skip("no git here")
    tops = {p.partition("/")[0] + "/" * ("/" in p) for p in listed}
    tops = {t for t in tops if not t.startswith(".")}
    assert tops <= named
    for name in named:
        assert (ROOT / name).exists(), name


def test_links_and_names_of_files_lead_somewhere():
    targets = re.findall(r"\]\(([^)]+)\)", README)
    targets += [t for t in INLINE if re.fullmatch(r"[\w/]+(\.\w+|/)", t)]
    assert len(targets) > 20
    for target in targets:
        if not target.startswith(("https://", "_build/")):
            assert (ROOT / target).exists(), target


def test_the_list_of_chapters_is_that_of_the_book():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    files = [page["file"] for p in toc["parts"] for page in p["chapters"]]
    files = [f for f in files if re.match(r"book/(\d\d_|try_it)", f)]
    assert re.findall(r"\]\((book/\w+)\.ipynb\)", README) == files
    for number, title, file in re.findall(
        r"^\| (\d+) \| \[([^]]+)\]\(book/(\w+)\.ipynb\)", README, re.M
    ):
        first = Path(ROOT / "book" / f"{file}.ipynb").read_text()
        assert f"# {number}. {title}" in first
