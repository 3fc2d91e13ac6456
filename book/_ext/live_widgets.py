"""Widgets of the chapters on pages without a kernel.

A cell that shows a widget has two outputs in one: the view of the widget and
a still picture. MyST-NB would keep the view alone. Here the page gets both:
the picture as a figure, and the view, which widget-host.js puts in the
picture's place once its code runs. So without JavaScript the picture stays.

The widget's module becomes a classic script, since browsers load modules
over http only, and a page should work as a file too. So the pages need not
carry the copy of it that JupyterLab finds in the notebook.
"""

import re
import shutil
from pathlib import Path

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform

ROOT = Path(__file__).resolve().parents[2]
WIDGET = ROOT / "minivae" / "explorer"
VIEW = "application/vnd.jupyter.widget-view+json"
EXPORT = "export default "
COPY = re.compile(r'"_(?:esm|css)": "(?:[^"\\]|\\.)*", ')


def classic(module: str) -> str:
    """A module with one default export as a script for `window`."""
    body, found, exported = module.rpartition(EXPORT)
    if not found or EXPORT in body or "import " in module:
        raise ValueError(
            "explorer.js: expected no import and one default export at its end"
        )
    return (
        f'(() => {{\n"use strict";\n{body}'
        f"window.minivaeExplorer = {exported.strip()}\n}})();\n"
    )


class KeepStill(SphinxPostTransform):
    """Keep the still picture beside the view of a widget."""

    default_priority = 3  # before MyST-NB chooses one of the two

    def run(self, **kwargs: object) -> None:
        """Take both out of the bundle of alternatives."""
        for bundle in list(self.document.findall(nodes.container)):
            if bundle.get("nb_element") != "mime_bundle":
                continue
            parts = {part["mime_type"]: part for part in bundle.children}
            if VIEW not in parts or "image/png" not in parts:
                continue
            kept = parts["image/png"].children + parts[VIEW].children
            bundle.replace_self(kept)


def copy_widget(app, exception: Exception | None) -> None:
    """Put the widget's code beside the other static files."""
    if exception or app.builder.format != "html":
        return
    static = Path(app.outdir) / "_static"
    module = (WIDGET / "explorer.js").read_text(encoding="utf-8")
    script = static / "explorer.js"
    script.write_text(classic(module), encoding="utf-8")
    shutil.copyfile(WIDGET / "explorer.css", static / "explorer.css")


def drop_copies(app, exception: Exception | None) -> None:
    """Remove the widget's code from the state in each page."""
    if exception or app.builder.format != "html":
        return
    for page in Path(app.outdir).rglob("*.html"):
        before = page.read_text(encoding="utf-8")
        after = COPY.sub("", before)
        if after != before:
            page.write_text(after, encoding="utf-8")


def setup(app) -> dict[str, bool]:
    """Register with Sphinx."""
    app.add_post_transform(KeepStill)
    app.connect("build-finished", copy_widget)
    app.connect("build-finished", drop_copies)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
