# /// script
# dependencies = ["nox>=2025.2.9", "uv==0.13.9"]
# ///
"""The commands of the Makefile without make, on any system and in any shell.

    pipx run nox -s book
    pipx run nox -s refresh -- 05_a_map_of_digits

`pipx run nox -l` lists them. What stands behind `--` goes to the command.
Both ways share the environments `.venv`, `.venv-site` and `.venv-bench`, and
install the same versions with the same hashes; a test holds the commands here
against those of the Makefile.
"""

import os
import sys
import tomllib
from pathlib import Path

import nox
from uv import find_uv_bin

ROOT = Path(__file__).resolve().parent
VENV, SITE = ROOT / ".venv", ROOT / ".venv-site"
BENCH = ROOT / ".venv-bench"
LOCK, PROJECT = ROOT / "requirements.lock", ROOT / "pyproject.toml"
PEERS = ROOT / "benchmarks" / "requirements.txt"
PAGE = ROOT / "_build" / "html" / "index.html"
UV = find_uv_bin()

os.environ["MPLBACKEND"] = "agg"
os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
if os.environ.get("MINIVAE_DATA"):
    # a relative path would mean another folder inside each notebook
    data = Path(os.environ["MINIVAE_DATA"]).resolve()
    os.environ["MINIVAE_DATA"] = str(data)
if os.environ.get("PIP_INDEX_URL"):
    # uv does not read pip's settings
    os.environ.setdefault("UV_DEFAULT_INDEX", os.environ["PIP_INDEX_URL"])

# `nox` alone lists the commands, as `make` alone does
nox.options.sessions = []
command = nox.session(venv_backend="none")


# --- set-up, once; repeated only when the lock or the project changes -------


def program(folder: Path, name: str) -> str:
    """The path of a program of an environment."""
    windows = sys.platform == "win32"
    scripts, ending = ("Scripts", ".exe") if windows else ("bin", "")
    return str(folder / scripts / f"{name}{ending}")


def is_ready(folder: Path, *sources: Path) -> bool:
    """Whether an environment is younger than what it was made from."""
    stamp = folder / ".ready"
    if not stamp.exists():
        return False
    return all(s.stat().st_mtime <= stamp.stat().st_mtime for s in sources)


def new(session: nox.Session, folder: Path) -> None:
    """An empty environment."""
    python = ("--python", sys.executable)
    session.run(UV, "venv", "--quiet", "--clear", *python, str(folder))


def install(session: nox.Session, folder: Path, *words: str) -> None:
    """Install into an environment."""
    pip = (UV, "pip", "install", "--quiet", "--python", str(folder))
    session.run(*pip, *words)


def venv(session: nox.Session) -> Path:
    """The environment for everything but pages: torch and all, 5 GB."""
    if not is_ready(VENV, LOCK, PROJECT):
        new(session, VENV)
        install(session, VENV, "--require-hashes", "-r", str(LOCK))
        install(session, VENV, "--no-deps", "-e", str(ROOT))
        (VENV / ".ready").touch()
    return VENV


def site(session: nox.Session) -> Path:
    """The environment of the page builder, without torch."""
    if not is_ready(SITE, LOCK, PROJECT):
        new(session, SITE)
        project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))
        wanted = project["project"]["optional-dependencies"]["site"]
        install(session, SITE, *wanted, "-c", str(LOCK))
        (SITE / ".ready").touch()
    return SITE


def bench_venv(session: nox.Session) -> Path:
    """The environment of `venv`, and what is compared with it."""
    if not is_ready(BENCH, LOCK, PEERS, PROJECT):
        new(session, BENCH)
        install(session, BENCH, "--require-hashes", "-r", str(LOCK))
        peers = ("--require-hashes", "--no-deps", "-r", str(PEERS))
        install(session, BENCH, *peers)
        install(session, BENCH, "--no-deps", "-e", str(ROOT))
        (BENCH / ".ready").touch()
    return BENCH


# --- commands ---------------------------------------------------------------


@command
def book(session: nox.Session) -> None:
    """Build the pages from stored outputs."""
    builder = program(site(session), "jupyter-book")
    session.run(builder, "build", "-n", "-W", "--keep-going", ".")
    session.log(f"The book: {PAGE.as_uri()}")


@command
def pdf(session: nox.Session) -> None:
    """Print the book into one file, with Chromium."""
    book(session)
    session.run(program(venv(session), "python"), "book/_ext/print_book.py")


@command
def serve(session: nox.Session) -> None:
    """Show the built pages at http://localhost:8000."""
    if not PAGE.exists():
        book(session)
    server = (sys.executable, "-m", "http.server", "--bind", "127.0.0.1")
    session.run(*server, "--directory", "_build/html", "8000")


@command
def test(session: nox.Session) -> None:
    """Lint, unit tests, page tests, all chapters."""
    lint(session)
    book(session)
    session.run(program(venv(session), "python"), "-m", "pytest")
    nbval(session)


@command
def lint(session: nox.Session) -> None:
    """Check style, formatting and types."""
    ruff = program(venv(session), "ruff")
    session.run(ruff, "check", ".")
    session.run(ruff, "format", "--check", ".")
    session.run(program(VENV, "mypy"), "--no-error-summary")


@command
def nbval(session: nox.Session) -> None:
    """Run the chapters and compare them with what is stored."""
    python = program(venv(session), "python")
    session.run(
        *(python, "-m", "pytest", "book", "--ignore=book/exercises"),
        *("--nbval", "--nbval-current-env", "--nbval-cell-timeout=600"),
        *("--durations=5", "-p", "no:cacheprovider"),
    )


@command
def faults(session: nox.Session) -> None:
    """Make every fault happen and count what is lost."""
    python = program(venv(session), "python")
    with session.chdir("tests"):
        session.run(python, "-m", "faults")


@command
def mutants(session: nox.Session) -> None:
    """Break what changed: do tests notice? [-- objective]."""
    python = program(venv(session), "python")
    session.run(python, "tests/mutants.py", *session.posargs)


@command
def bench(session: nox.Session) -> None:
    """Compare speed with other packages [-- --quick]."""
    python = program(bench_venv(session), "python")
    session.run(python, "-m", "benchmarks", *session.posargs)


@command
def lab(session: nox.Session) -> None:
    """Open the chapters in JupyterLab."""
    jupyter = program(venv(session), "jupyter")
    session.run(jupyter, "lab", "--notebook-dir=book")


@command
def refresh(session: nox.Session) -> None:
    """Run chapters, store outputs [-- name], appendices."""
    python = program(venv(session), "python")
    session.run(python, "book/_ext/refresh.py", *session.posargs)


@command
def appendices(session: nox.Session) -> None:
    """Write claims, versions, package and API pages."""
    python = program(venv(session), "python")
    session.run(python, "book/_ext/appendices.py")


@command
def exercises(session: nox.Session) -> None:
    """Write the students' notebooks and their pages."""
    python = program(venv(session), "python")
    session.run(python, "course/exercises.py")


@command(name="format")
def tidy(session: nox.Session) -> None:
    """Format the code."""
    ruff = program(venv(session), "ruff")
    session.run(ruff, "check", "--fix", ".")
    session.run(ruff, "format", ".")
