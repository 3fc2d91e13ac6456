"""Widgets of the chapters on pages without a kernel.

Without it a page would show either a still picture or, without JavaScript,
nothing. A cell that shows a widget has two outputs in one: the view of the
widget and a still picture. MyST-NB would keep the view alone. Here the page
gets both: the picture as a figure, and the view, which widget-host.js puts in
the picture's place once its code runs.

The widget's module becomes a classic script, since browsers load modules
over http only, and a page should work as a file too.
"""

from pathlib import Path

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.fileutil import copy_asset

WIDGET = Path(__file__).resolve().parents[2] / "minivae" / "explorer"
VIEW = "application/vnd.jupyter.widget-view+json"


class KeepStill(SphinxPostTransform):
    """Keep the still picture beside the view of a widget."""

    default_priority = 3  # before MyST-NB chooses one of the two

    def run(self, **kwargs: object) -> None:
        """Take both out of the bundle of alternatives."""
        for bundle in list(self.document.findall(nodes.container)):
            parts = {
                part.get("mime_type"): part.children
                for part in bundle.children
                if bundle.get("nb_element") == "mime_bundle"
            }
            if VIEW in parts and "image/png" in parts:
                bundle.replace_self(parts["image/png"] + parts[VIEW])


def classic(module: str) -> str:
    """A module with one default export as a script for `window`."""
    body = module.replace("export default ", "window.minivaeExplorer = ")
    return f'(() => {{\n"use strict";\n{body}}})();\n'


def copy_widget(app, exception: Exception | None) -> None:
    """Put the widget's code beside the other static files."""
    if exception:
        return
    static = Path(app.outdir) / "_static"
    module = (WIDGET / "explorer.js").read_text(encoding="utf-8")
    (static / "explorer.js").write_text(classic(module), encoding="utf-8")
    copy_asset(WIDGET / "explorer.css", static)


def setup(app) -> dict[str, bool]:
    """Register with Sphinx."""
    app.add_post_transform(KeepStill)
    app.connect("build-finished", copy_widget)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
