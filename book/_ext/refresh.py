"""Run chapters and store their outputs, the same bytes for the same code.

    python book/_ext/refresh.py                       # what is out of date
    python book/_ext/refresh.py --all                 # every chapter
    python book/_ext/refresh.py 05_a_map_of_digits    # one or several
    python book/_ext/refresh.py --check               # run none: fail if any

Without it a figure or a number of a page could be older than the code beside
it, and every run would change files without changing what they say. So each
chapter carries fingerprints of the modules of minivae that it loaded and of
its own cells, and a test compares them with the present code. It also carries
what its claims measured. What differs from run to run, such as seconds, goes
to a file of its own. The appendices are made from both.
"""

import ast
import base64
import hashlib
import importlib.util
import io
import json
import os
import re
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

sys.path.append(str(Path(__file__).resolve().parent))
import appendices
import install_cell

BOOK = Path(__file__).resolve().parents[1]
COVER = BOOK / "_static" / "manifold.png"  # of the cell tagged "cover"
RUNS = BOOK / "appendix" / "runs.json"
STATE = "application/vnd.jupyter.widget-state+json"
# the source of these is folded away in JupyterLab as on the page
FOLDED = {"hide-input", "remove-input", "remove-cell"}
VIEW = "application/vnd.jupyter.widget-view+json"
PACKAGES = ("torch", "torchvision", "numpy", "matplotlib", "scikit-learn")
# asks the kernel of a chapter, when all its cells have run
PROBE = f"""
import json, platform, sys
from importlib.metadata import version
import torch

modules = [m for m in sys.modules if m.partition(".")[0] == "minivae"]
notebook = sys.modules.get("minivae.notebook")
print(json.dumps(dict(
    modules=sorted(modules),
    claims=getattr(notebook, "measurements", []),
    run=dict(
        python=platform.python_version(),
        **{{name: version(name) for name in {PACKAGES}}},
        threads=torch.get_num_threads(),
    ),
)))
"""


def chapters() -> list[Path]:
    """The chapters of the contents, and the page to play with."""
    return [*appendices.chapters(), BOOK / "try_it.ipynb"]


def module_fingerprint(name: str) -> str:
    """Hash of a module's syntax tree without docstrings and comments.

    Empty for a module that is no longer there.
    """
    spec = importlib.util.find_spec(name)
    if spec is None:
        return ""
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
            and isinstance(body[0].value.value, str)
        ):
            body[0].value.value = ""
    return hashlib.sha256(json.dumps(_shape(tree)).encode()).hexdigest()[:16]


def _shape(node: object) -> object:
    """A syntax tree as lists and texts that no version of Python changes.

    New versions add fields, which are empty where old ones had none.
    """
    if isinstance(node, list):
        return [_shape(one) for one in node]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = {
        name: _shape(value)
        for name, value in ast.iter_fields(node)
        if value is not None and value != []
    }
    return [type(node).__name__, fields]


def cells_fingerprint(notebook: nbformat.NotebookNode) -> str:
    """Hash of the code of a chapter, without what only installs it."""
    code = [
        c.source
        for c in notebook.cells
        if c.cell_type == "code" and not install_cell.is_install(c)
    ]
    return hashlib.sha256(json.dumps(code).encode()).hexdigest()[:16]


def normalise(notebook: nbformat.NotebookNode) -> None:
    """Remove what differs from run to run without meaning anything."""
    for i, cell in enumerate(notebook.cells):
        cell.id = f"cell-{i:02d}"
        if cell.cell_type != "code":
            continue
        if FOLDED.intersection(cell.metadata.get("tags", ())):
            cell.metadata["jupyter"] = {"source_hidden": True}
        cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
        for output in cell.outputs:
            data = output.get("data", {})
            if "image/png" in data:
                data["image/png"] = smaller(data["image/png"])
    widgets = _shown_widgets(notebook)
    notebook.metadata = {
        "kernelspec": {
            "display_name": "Python 3",
            "language": "python",
            "name": "python3",
        },
        "language_info": {"name": "python"},
    }
    if widgets:
        notebook.metadata["widgets"] = {STATE: widgets}


def smaller(picture: str) -> str:
    """A PNG, in base64, of at most 256 colours or 32 greys: half the bytes."""
    image = Image.open(io.BytesIO(base64.b64decode(picture)))
    paper = Image.new("RGB", image.size, "white")
    paper.paste(
        image, mask=image.getchannel("A") if "A" in image.mode else None
    )
    red, green, blue = paper.split()
    if red.tobytes() == green.tobytes() == blue.tobytes():
        # an eye does not tell a 31st of the way from ink to paper
        greys = [round(round(v / 255 * 31) / 31 * 255) for v in range(256)]
        paper = red.point(greys)
    else:
        paper = paper.quantize(256, dither=Image.Dither.NONE)
    stream = io.BytesIO()
    paper.save(stream, format="png", optimize=True)
    return base64.b64encode(stream.getvalue()).decode()


def _shown_widgets(notebook: nbformat.NotebookNode) -> dict | None:
    """The state of the widgets on the page, with names that do not change.

    A view without a still picture is a progress bar, and goes.
    """
    stored = notebook.metadata.get("widgets", {}).get(STATE)
    names: dict[str, str] = {}  # random id -> lasting one
    for cell in notebook.cells:
        kept = []
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if VIEW in data and "image/png" not in data:
                continue
            if VIEW in data:
                _name_with_parts(data[VIEW]["model_id"], stored, names)
                data[VIEW]["model_id"] = names[data[VIEW]["model_id"]]
            kept.append(output)
        if cell.cell_type == "code":
            cell.outputs = kept
    if not names:
        return None
    text = json.dumps({i: stored["state"][i] for i in names})
    for old, new in names.items():
        text = text.replace(old, new)
    return {**stored, "state": json.loads(text)}


def _name_with_parts(name: str, stored: dict, names: dict) -> None:
    """Number a widget and all that its state refers to."""
    if name in names:
        return
    names[name] = f"widget-{len(names):02d}"
    state = json.dumps(stored["state"][name]["state"])
    for part in re.findall(r"IPY_MODEL_([0-9a-f]+)", state):
        _name_with_parts(part, stored, names)


def execute(notebook: nbformat.NotebookNode, folder: Path) -> dict:
    """Run all cells; returns what the probe found, and the seconds."""
    notebook.cells.append(nbformat.v4.new_code_cell(PROBE))
    before, start = _trained(), time.perf_counter()
    NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    ).execute()
    seconds = time.perf_counter() - start
    outputs = notebook.cells.pop().outputs
    found = json.loads(
        "".join(o.text for o in outputs if o.get("name") == "stdout")
    )
    found["run"]["seconds"] = round(seconds, 1)
    found["run"]["trained"] = len(_trained() - before)
    return found


def _trained() -> set[Path]:
    """The models that fit_once has kept."""
    from minivae.data import cache_folder

    folder = os.environ.get("MINIVAE_CACHE") or cache_folder() / "models"
    return set(Path(folder).glob("*.pt"))


def refresh(path: Path) -> dict:
    """Execute a chapter and store it; returns seconds and versions."""
    notebook = install_cell.place(nbformat.read(path, as_version=4))
    found = execute(notebook, path.parent)
    normalise(notebook)
    notebook.metadata["minivae"] = {
        "cells": cells_fingerprint(notebook),
        "claims": found["claims"],
        "modules": {
            name: module_fingerprint(name) for name in found["modules"]
        },
    }
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if "cover" in cell.metadata.get("tags", ()):
            picture = cell.outputs[0].data["image/png"]
            COVER.write_bytes(base64.b64decode(picture))
    part = path.with_suffix(".part")
    nbformat.write(notebook, part)
    os.replace(part, path)
    return found["run"]


def older_than(path: Path) -> list[str]:
    """The parts of the code that changed since a chapter was stored."""
    notebook = nbformat.read(path, as_version=4)
    stored = notebook.metadata.get("minivae")
    if stored is None:
        return ["itself: it was never stored"]
    changed = [
        name
        for name, value in stored["modules"].items()
        if module_fingerprint(name) != value
    ]
    cells = cells_fingerprint(notebook) != stored["cells"]
    return ["its cells"] * cells + changed


def note_run(name: str, run: dict) -> None:
    """Keep how a chapter was run, for the appendix."""
    runs = json.loads(RUNS.read_text()) if RUNS.exists() else {}
    there = [path.stem for path in chapters()]  # and no drafts
    runs = {k: v for k, v in (runs | {name: run}).items() if k in there}
    text = json.dumps(runs, indent=2, sort_keys=True) + "\n"
    RUNS.write_text(text, encoding="utf-8", newline="\n")


def main(names: list[str]) -> None:
    """Refresh the named chapters, or those that are out of date."""
    known = {path.stem: path for path in chapters()}
    drafts = {path.stem: path for path in sorted(BOOK.glob("*.ipynb"))}
    if names in ([], ["--check"]):
        stale = {name: older_than(path) for name, path in known.items()}
        for name, parts in stale.items():
            if parts:
                print(f"{name} is older than {', '.join(parts)}")
        if names and any(stale.values()):
            sys.exit("stored outputs are out of date: run make refresh")
        names = [name for name, parts in stale.items() if parts]
        if not names:
            print("All stored outputs belong to the present code")
            return
    elif names == ["--all"]:
        names = list(known)
    known |= drafts
    unknown = [n for n in names if Path(n).stem not in known]
    if unknown:
        sys.exit(f"no chapter {unknown[0]}; there are {', '.join(known)}")
    from minivae.data import load_digits

    source = load_digits().source
    if source != "mnist":
        sys.exit(
            "stored outputs are made on MNIST, but only the built-in digits "
            "were found; set MINIVAE_DATA to a folder that has MNIST/raw in it"
        )
    for name in names:
        path = known[Path(name).stem]
        print(f"{path.name} ...", end=" ", flush=True)
        run = refresh(path)
        note_run(path.stem, run)
        print(f"{run['seconds']:.0f} s", flush=True)
    appendices.main()


if __name__ == "__main__":
    main(sys.argv[1:])
