"""A page of our own that holds widgets as a chapter does."""

import json
import sys
from base64 import b64encode

from conftest import ROOT
from ipywidgets.embed import embed_data

sys.path.insert(0, str(ROOT / "book" / "_ext"))
from live_widgets import WIDGETS, classic

FOLDER = ROOT / "minivae" / "explorer"
HOST = ROOT / "book" / "_static" / "widget-host.js"


def page_with(path, *widgets):
    """A page as a chapter has it: a still, then a view, for each widget."""
    data = embed_data(views=widgets, drop_defaults=False)
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><title>t</title>"
    ]
    parts += [
        f"<style>{sheet.read_text(encoding='utf-8')}</style>"
        for sheet in sorted(FOLDER.glob("*.css"))
    ]
    for widget, view in zip(widgets, data["view_specs"]):
        still = b64encode(widget.still()).decode()
        parts.append(
            f'<figure><img alt="still" src="data:image/png;base64,{still}">'
            "<figcaption>Figure</figcaption></figure>"
            '<script type="application/vnd.jupyter.widget-view+json">'
            f"{json.dumps(view)}</script>"
        )
    state = json.dumps(data["manager_state"]).replace("</", "<\\/")
    parts.append(
        '<script type="application/vnd.jupyter.widget-state+json">'
        f"{state}</script>"
    )
    scripts = [*map(classic, WIDGETS), HOST.read_text(encoding="utf-8")]
    parts += [f"<script>{script}</script>" for script in scripts]
    path.write_text("\n".join(parts), encoding="utf-8")
    return path.as_uri()
