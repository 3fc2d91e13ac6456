"""Widgets of the chapters on pages without a kernel.

Without it a page would show either a still picture or, without JavaScript,
nothing. A cell that shows a widget has two outputs in one: the view of the
widget and a still picture. MyST-NB would keep the view alone. Here the page
gets both: the picture as a figure, and the view, which widget-host.js puts in
the picture's place once its code runs.

The widget's module becomes a classic script, since browsers load modules
over http only, and a page should work as a file too.
"""

import re
import sys
from pathlib import Path

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.fileutil import copy_asset

# alone, since the package around it needs torch, and a page is built without
sys.path.append(
    str(Path(__file__).resolve().parents[2] / "minivae" / "explorer")
)
from scripts import joined

WIDGET = Path(__file__).resolve().parents[2] / "minivae" / "explorer"
VIEW = "application/vnd.jupyter.widget-view+json"
# file -> the class of the widget, by which widget-host.js finds it
WIDGETS = {
    "explorer": "minivae.explorer.widget.Explorer",
    "trainer": "minivae.explorer.trainer.Trainer",
    "bound": "minivae.explorer.bound.Bound",
    "trick": "minivae.explorer.bound.Trick",
}


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


# what only people read: comments on lines of their own, and indentation
UNREAD = re.compile(r"^ *//.*\n|^ */\*\*[\s\S]*?\*/\n|^ +|^\n", re.M)


def classic(name: str) -> str:
    """The module of a widget, which has one export, as a classic script."""
    module = UNREAD.sub("", joined(WIDGET / f"{name}.js"))
    place = f'(window.minivae ??= {{}})["{WIDGETS[name]}"] = '
    body = module.replace("export default ", place)
    return f'(() => {{\n"use strict";\n{body}}})();\n'


def copy_widgets(app, exception: Exception | None) -> None:
    """Put the code of the widgets beside the other static files."""
    if exception:
        return
    static = Path(app.outdir) / "_static"
    for name in WIDGETS:
        script = static / f"{name}.js"
        script.write_text(classic(name), encoding="utf-8")
    for sheet in WIDGET.glob("*.css"):
        copy_asset(sheet, static)


def setup(app) -> dict[str, bool]:
    """Register with Sphinx."""
    app.add_post_transform(KeepStill)
    app.connect("build-finished", copy_widgets)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
