"""The two figures that a reader moves, as far as Python makes them."""

import io
import re

import numpy as np
import pytest
import torch
from conftest import ROOT, refused, untouched_rng
from PIL import Image
from traitlets import TraitError

from minivae.data import seeded
from minivae.evaluate import log_evidence
from minivae.explorer import Bound, Trick, bound, trick
from minivae.explorer.scripts import joined
from minivae.toys import Arc

FOLDER = ROOT / "minivae" / "explorer"
KINDS = {"bound": Bound, "trick": Trick}
kinds = pytest.mark.parametrize("name", KINDS)


def test_points_are_those_of_the_chapter_and_some_of_the_toy():
    points = bound().points
    assert points[:2] == [[1.5, -1.4], [0.0, 2.0]]
    _, drawn = Arc().sample_pairs(6, seeded("cpu", "bound"))
    assert np.allclose(points[2:], drawn, atol=0.0051)
    # so the width they were made with explains them better than another
    x = torch.tensor(points)
    nats = {t: log_evidence(Arc(t), x).mean() for t in (0.1, 0.3, 0.8)}
    assert max(nats, key=nats.get) == 0.3


def test_python_sets_what_the_page_shows():
    widget = bound(theta=0.4)
    seen = []
    widget.observe(lambda change: seen.append(change["new"]), "q")
    widget.q = [[0.1 * i, 0.5] for i in range(8)]
    assert seen == [widget.q]
    assert {"points", "point", "theta", "q"} <= set(widget.traits(sync=True))
    other = trick(seed=3)
    assert other.noise == trick(seed=3).noise != trick().noise
    other.mu = -1
    assert other.mu == -1.0
    assert {"mu", "sigma", "noise"} <= set(other.traits(sync=True))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("theta", 0.05),
        ("theta", float("nan")),
        ("point", 8),
        ("point", -1),
        ("q", [[0.0, 1.0]] * 7),
        ("q", [[0.0, 1.0, 2.0]] * 8),
        ("q", [[0.0, 0.0]] * 8),
        ("q", [[0.0, float("nan")]] * 8),
        ("q", [[3.5, 1.0]] * 8),
    ],
)
def test_a_bound_refuses_what_it_cannot_show(name, value):
    widget = bound()
    before = getattr(widget, name)
    with pytest.raises(TraitError, match="expected"):
        setattr(widget, name, value)
    assert getattr(widget, name) == before


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mu", 2.5),
        ("sigma", 0.0),
        ("noise", [0.0] * 7),
        ("noise", [float("inf")] * 8),
    ],
)
def test_a_trick_refuses_what_it_cannot_show(name, value):
    widget = trick()
    before = getattr(widget, name)
    with pytest.raises(TraitError, match="expected"):
        setattr(widget, name, value)
    assert getattr(widget, name) == before


def test_what_is_no_number_in_reach_is_refused():
    for value in (0.0, 3.0, "1", float("nan")):
        with refused("theta:"):
            bound(theta=value)
    for value in (-1, 0.5, "1"):
        with refused("seed:"):
            trick(seed=value)


@kinds
def test_a_still_stands_in_and_follows_what_is_set(name):
    make = {"bound": bound, "trick": trick}[name]
    with untouched_rng():
        widget = make()
        bundle = widget._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert data["text/plain"] == repr(widget)
    assert "application/vnd.jupyter.widget-view+json" in data
    still = data["image/png"]
    picture = Image.open(io.BytesIO(still)).convert("RGB")
    assert picture.width > 900
    assert (0x33, 0x22, 0x88) in {c for _, c in picture.getcolors(1 << 20)}
    assert still == make().still()
    widget.set_trait("theta" if name == "bound" else "mu", 0.7)
    assert widget.still() != still


@kinds
def test_a_joined_script_imports_nothing_and_keeps_one_export(name):
    script = joined(FOLDER / f"{name}.js")
    assert not re.search(r"^import ", script, re.M)
    assert re.findall(r"^export (\w+)", script, re.M) == ["default"]
    assert KINDS[name]._esm == script


@kinds
def test_python_and_the_page_reach_equally_far(name):
    """A slider must get wherever Python may set it."""
    from minivae.explorer.bound import REACH, REACH_OF_TRICK

    script = (FOLDER / f"{name}.js").read_text()
    reach = REACH if name == "bound" else REACH_OF_TRICK
    (most,) = re.findall(r"^const MOST = \{ (.*) \};", script, re.M)
    found = {k: float(v) for k, v in re.findall(r"(\w+): ([\d.]+)", most)}
    assert found == {k: high for k, (_, high) in reach.items()}
