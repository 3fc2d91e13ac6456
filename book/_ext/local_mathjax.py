"""Copy the part of MathJax that the pages use.

Without it formulas would need the network. The package that brings MathJax
is an extension too, but it would copy all of it, 24 MB instead of 2.
"""

from importlib.util import find_spec
from pathlib import Path

from sphinx.util.fileutil import copy_asset


def copy_mathjax(app, exception: Exception | None) -> None:
    """Put MathJax beside the other static files of the site."""
    package = Path(find_spec("sphinx-mathjax-offline").origin).parent
    for part in ("", "output/chtml/fonts/woff-v2", "input/tex/extensions"):
        source = package / "static" / "mathjax" / part
        target = Path(app.outdir) / "_static" / "mathjax" / part
        copy_asset(source if part else source / "tex-mml-chtml.js", target)


def setup(app) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("build-finished", copy_mathjax)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
