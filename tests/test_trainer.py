"""What learns on the page, as far as Python makes it; see also in_browser."""

import io
import json
import re
import zlib

import numpy as np
import pytest
from conftest import ROOT, refused, untouched_rng
from PIL import Image
from sklearn.datasets import load_digits as load_small
from traitlets import TraitError

from minivae.explorer import Bound, Explorer, Trainer, Trick, trainer
from minivae.explorer.scripts import joined

FOLDER = ROOT / "minivae" / "explorer"


def test_all_digits_travel_with_the_widget():
    widget, small = trainer(), load_small()
    pixels = np.frombuffer(zlib.decompress(widget.digits["images"]), "u1")
    labels = np.frombuffer(widget.digits["labels"], "u1")
    assert np.array_equal(labels, small.target)
    sorted_ = small.images[labels.argsort(kind="stable")]
    assert np.array_equal(pixels.reshape(64, -1).T, sorted_.reshape(-1, 64))
    assert len(widget.digits["images"]) < 40_000


def test_python_sets_what_the_page_shows():
    widget = trainer(seed=7, beta=4, lr=0.01)
    assert (widget.seed, widget.beta, widget.lr) == (7, 4.0, 0.01)
    seen = []
    widget.observe(lambda change: seen.append(change["new"]), "beta")
    widget.beta = 20
    assert seen == [20.0]
    synchronised = set(widget.traits(sync=True))
    assert {"seed", "beta", "lr", "noise", "told", "report"} <= synchronised


@pytest.mark.parametrize(
    ("name", "value"),
    [("beta", -1.0), ("beta", 20.5), ("lr", 0.0), ("seed", -1)],
)
def test_a_number_out_of_range_is_refused(name, value):
    with refused(f"{name}:"):
        trainer(**{name: value})
    widget = trainer()
    before = getattr(widget, name)
    with pytest.raises(TraitError, match=f"{name}: expected"):
        setattr(widget, name, value)
    assert getattr(widget, name) == before


@pytest.mark.parametrize("value", ["1", None, float("nan"), float("inf")])
def test_what_is_no_number_is_refused(value):
    for name in ("beta", "lr", "seed"):
        with refused(f"{name}:"):
            trainer(**{name: value})


def test_the_trainer_leaves_a_still_with_maps_and_no_address():
    with untouched_rng():
        widget = trainer()
        bundle = widget._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert data["text/plain"] == repr(widget) == "Trainer(seed=0, beta=1)"
    assert "application/vnd.jupyter.widget-view+json" in data
    picture = Image.open(io.BytesIO(data["image/png"])).convert("RGB")
    assert picture.width > 900
    colours = {colour for _, colour in picture.getcolors(1 << 20)}
    for name in widget.colours:  # each digit, as text over its codes or dots
        wanted = tuple(bytes.fromhex(name[1:]))
        assert min(np.abs(np.subtract(c, wanted)).max() for c in colours) < 8
    assert data["image/png"] == trainer().still()  # a seed repeats it


def test_joined_modules_import_nothing_and_keep_one_export():
    script = joined(FOLDER / "trainer.js")
    assert not re.search(r"^import ", script, re.M)
    assert re.findall(r"^export (\w+)", script, re.M) == ["default"]
    names = re.findall(r"^(?:const|function|class) (\w+)", script, re.M)
    assert len(names) == len(set(names))  # they share a scope
    assert Trainer._esm == script


def test_the_chapters_store_the_scripts_that_are_in_the_package():
    kinds = {
        f"{kind.__module__}.{kind.__name__}": (kind, set())
        for kind in (Explorer, Trainer, Bound, Trick)
    }
    for path in sorted((ROOT / "book").glob("*.ipynb")):
        metadata = json.loads(path.read_text())["metadata"]
        stored = metadata.get("widgets", {}).values()
        for state in (s for w in stored for s in w["state"].values()):
            if state["model_name"] != "AnyModel":
                continue
            kind, chapters = kinds[state["state"]["_anywidget_id"]]
            assert state["state"]["_esm"] == kind._esm, path.name
            assert state["state"]["_css"] == kind._css, path.name
            chapters.add(path.stem.partition("_")[0])
    of_explorer, of_trainer, *of_others = (
        where for _, where in kinds.values()
    )
    assert of_explorer >= {"01", "05", "09", "try"}
    assert of_trainer == {"05", "try"}
    assert of_others == [{"04"}, {"04"}]
