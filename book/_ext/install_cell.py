"""The cell that installs the package where a notebook is opened without it.

Without it a chapter would stop at its first line on Colab, where a notebook
comes alone. Before its other code stands a cell that installs the package from
the repository if it is missing, and does nothing otherwise. The address is
that of `_config.yml`; pages leave the cell out.
After a change of the address `make appendices exercises` writes it anew, and
no chapter has to be run for that.
"""

from pathlib import Path

import nbformat
import yaml
from nbformat.notebooknode import NotebookNode

ROOT = Path(__file__).resolve().parents[2]
TAG = "remove-cell"  # what MyST-NB calls a cell that no page shows
SOURCE = """\
# where the package is missing, as on Colab, this installs it
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("minivae") is None:
    package = "minivae[book] @ git+{address}"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", package]
    subprocess.run(pip, check=True)"""


def address() -> str:
    """Where the repository lives: the one setting of it."""
    text = (ROOT / "_config.yml").read_text(encoding="utf-8")
    return yaml.safe_load(text)["repository"]["url"]


def is_install(cell: NotebookNode) -> bool:
    """Whether a cell is this one."""
    return TAG in cell.metadata.get("tags", ())


def place(notebook: NotebookNode) -> NotebookNode:
    """Put the cell before the first code, or renew it there."""
    source = SOURCE.format(address=address())
    code = [c for c in notebook.cells if c.cell_type == "code"]
    if is_install(code[0]):
        code[0].source = source
    else:
        cell = nbformat.v4.new_code_cell(source, metadata={"tags": [TAG]})
        cell.id = "install"
        notebook.cells.insert(notebook.cells.index(code[0]), cell)
    return notebook


def renew(path: Path) -> None:
    """Write a notebook with the present cell, if it has another one."""
    before = path.read_text(encoding="utf-8")
    after = nbformat.writes(place(nbformat.reads(before, as_version=4))) + "\n"
    if after != before:
        path.write_text(after, encoding="utf-8", newline="\n")
