"""The cell that installs the package where a notebook is opened without it.

Without it a chapter would stop at its first line on Colab, where a notebook
comes alone. Before its other code stands a cell that installs the package from
the repository if it is missing, and does nothing otherwise. The address is
that of `_config.yml`; pages leave the cell out. As long as that address is
nobody's there is no such cell: it could install nothing.
After a change of the address `make appendices exercises` writes it anew, and
no chapter has to be run for that.
"""

from pathlib import Path

import nbformat
import yaml
from nbformat.notebooknode import NotebookNode

ROOT = Path(__file__).resolve().parents[2]
TAG = "remove-cell"  # what MyST-NB calls a cell that no page shows
NOBODY = "your--name"  # in an address that has not been set
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
    """Where the repository lives, the one setting of it; "" if nowhere."""
    text = (ROOT / "_config.yml").read_text(encoding="utf-8")
    url = yaml.safe_load(text)["repository"]["url"]
    # no name on GitHub has two hyphens in a row
    return "" if NOBODY in url else url


def is_install(cell: NotebookNode) -> bool:
    """Whether a cell is this one."""
    return TAG in cell.metadata.get("tags", ())


def place(notebook: NotebookNode) -> NotebookNode:
    """Put the cell before the first code, renew it there, or remove it."""
    url = address()
    source = SOURCE.format(address=url)
    code = [c for c in notebook.cells if c.cell_type == "code"]
    if not url:
        notebook.cells = [c for c in notebook.cells if not is_install(c)]
    elif is_install(code[0]):
        code[0].source = source
    else:
        cell = nbformat.v4.new_code_cell(source, metadata={"tags": [TAG]})
        cell.id = "install"
        notebook.cells.insert(notebook.cells.index(code[0]), cell)
    _number(notebook)
    return notebook


def _number(notebook: NotebookNode) -> None:
    """What has been run stays numbered from 1, with this cell or without."""
    code = [c for c in notebook.cells if c.cell_type == "code"]
    if not any(c.execution_count for c in code):
        return
    for i, cell in enumerate(code, 1):
        cell.execution_count = i
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = i


def renew(path: Path) -> None:
    """Write a notebook with the present cell, if it has another one."""
    before = path.read_text(encoding="utf-8")
    after = nbformat.writes(place(nbformat.reads(before, as_version=4))) + "\n"
    if after != before:
        path.write_text(after, encoding="utf-8", newline="\n")
