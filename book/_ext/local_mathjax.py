"""Copy the part of MathJax that the pages use, so that they need no network.

The package is found by its folder, since its name is no Python identifier.
"""

import shutil
from importlib.metadata import distribution
from pathlib import Path

PARTS = (
    "tex-mml-chtml.js",
    "output/chtml/fonts/woff-v2",
    "input/tex/extensions",
)


def copy_mathjax(app, exception: Exception | None) -> None:
    """Put MathJax beside the other static files of the site."""
    if exception or app.builder.format != "html":
        return
    files = distribution("sphinx-mathjax-offline").files or []
    script = next(f for f in files if f.name == PARTS[0])
    source = Path(script.locate()).parent
    target = Path(app.outdir) / "_static" / "mathjax"
    for part in PARTS:
        if (source / part).is_dir():
            shutil.copytree(source / part, target / part, dirs_exist_ok=True)
        else:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / part, target / part)


def setup(app) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("build-finished", copy_mathjax)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
