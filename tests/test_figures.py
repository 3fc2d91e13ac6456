"""Figures show what they are given, where and in which colour."""

import inspect
import io
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from conftest import refused
from matplotlib.colors import to_hex, to_rgba
from matplotlib.figure import Figure

from minivae import figures

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.random((7, 4, 5))
CODES, DIGITS = RANDOM.normal(size=(200, 2)), np.arange(200) % 10
CALLS = {
    "image_grid": lambda: figures.image_grid(IMAGES),
    "comparison": lambda: figures.comparison({"a": IMAGES, "b": 1 - IMAGES}),
    "latent_scatter": lambda: figures.latent_scatter({"a": (CODES, DIGITS)}),
    "curves": lambda: figures.curves({"a": ([1, 2], [3, 4])}, "x", "y"),
    "sheets": lambda: figures.sheets(
        {name: IMAGES[:6].reshape(2, 3, 4, 5) for name in ("a", "b")}
    ),
    "schematic": lambda: figures.schematic(IMAGES[0], IMAGES[1], True, "y"),
    "bars": lambda: figures.bars({"a": {"": [1, 2]}}, "x", "y"),
    "dots": lambda: figures.dots({"a": [1, 2]}, ["b", "c"], "x"),
    "planes": lambda: figures.planes({"a": IMAGES[0], "b": None}, 3.0),
    "count_table": lambda: figures.count_table(np.eye(3, dtype=int), "x", "y"),
}


def test_every_public_function_is_tried():
    public = {
        name
        for name, value in inspect.getmembers(figures, inspect.isfunction)
        if value.__module__ == figures.__name__ and name[0] != "_"
    }
    assert public == CALLS.keys()


@pytest.mark.parametrize("name", CALLS)
def test_a_figure_is_finished_and_closed(name):
    figure = CALLS[name]()
    assert isinstance(figure, Figure)
    assert plt.get_fignums() == []
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    assert stream.getvalue().startswith(b"\x89PNG")
    for axes in figure.axes:
        for image in axes.images:
            if name == "planes":  # a density has no scale of its own
                continue
            assert image.get_clim()[1] == 1
            if name != "count_table":
                assert image.get_clim() == (0, 1)
                assert image.cmap.name == "gray_r"  # 1 is ink


@pytest.mark.parametrize("n_columns, gap", [(3, 2), (1, 0), (7, 1), (9, 2)])
def test_each_image_is_at_its_place(n_columns, gap):
    figure = figures.image_grid(IMAGES, n_columns, gap=gap)
    (image,) = figure.axes[0].images
    assert image.origin == "upper"
    sheet = np.array(image.get_array())
    n_rows = -(-7 // n_columns)
    assert sheet.shape == (
        n_rows * (4 + gap) - gap,
        n_columns * (5 + gap) - gap,
    )
    for i, expected in enumerate(IMAGES):
        top, left = i // n_columns * (4 + gap), i % n_columns * (5 + gap)
        block = sheet[top : top + 4, left : left + 5]
        assert np.array_equal(block, expected)
        block[:] = 0
    assert (sheet == 0).all()  # paper between them


@pytest.mark.parametrize("n_columns, gap", [(3, 2), (1, 0), (7, 1)])
def test_colour_pictures_lie_on_white_paper(n_columns, gap):
    colours = RANDOM.random((7, 4, 5, 3))
    figure = figures.image_grid(colours, n_columns, gap=gap)
    sheet = np.array(figure.axes[0].images[0].get_array())
    n_rows = -(-7 // n_columns)
    size = (n_rows * (4 + gap) - gap, n_columns * (5 + gap) - gap, 3)
    assert sheet.shape == size
    for i, expected in enumerate(colours):
        top, left = i // n_columns * (4 + gap), i % n_columns * (5 + gap)
        block = sheet[top : top + 4, left : left + 5]
        assert np.array_equal(block, expected)
        block[:] = 1
    assert (sheet == 1).all()
    both = figures.comparison({"a": colours, "b": colours[::-1]})
    sheet = both.axes[0].images[0].get_array()
    assert np.array_equal(sheet[6:10, :5], colours[-1])


COLOURS = RANDOM.random((6, 4, 5, 3))
LAYOUTS = {  # what it is in the layout of the models, and in that of figures
    "grey": (IMAGES[:6], IMAGES[:6]),
    "one channel": (IMAGES[:6, None], IMAGES[:6]),
    "colours first": (np.moveaxis(COLOURS, -1, 1), COLOURS),
    "colours last": (COLOURS, COLOURS),
}
KINDS = {
    "array": lambda a: a,
    "float32": lambda a: a.astype("float32").astype(float),
    "tensor": torch.tensor,
    "in a graph": lambda a: torch.tensor(a, requires_grad=True),
}


def sheet_of(figure):
    return np.array(figure.axes[0].images[0].get_array(), dtype=float)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", KINDS)
def test_pictures_may_come_as_the_models_have_them(layout, kind):
    given, expected = LAYOUTS[layout]
    given = KINDS[kind](given)
    pairs = [
        (figures.image_grid(given), figures.image_grid(expected)),
        (
            figures.comparison({"a": given, "b": given}),
            figures.comparison({"a": expected, "b": expected}),
        ),
        (
            figures.sheets({"a": given.reshape(2, 3, *given.shape[1:])}),
            figures.sheets({"a": expected.reshape(2, 3, *expected.shape[1:])}),
        ),
        (
            figures.schematic(given[0], given[1]),
            figures.schematic(expected[0], expected[1]),
        ),
    ]
    for found, wanted in pairs:
        a, b = sheet_of(found), sheet_of(wanted)
        assert a.shape == b.shape
        assert np.allclose(a, b, atol=1e-6)
    assert sheet_of(pairs[0][1]).shape[:2] == (2 * 6 - 2, 3 * 7 - 2)


def test_a_picture_of_three_rows_or_columns_is_read_channels_first():
    images = RANDOM.random((2, 3, 6, 3))
    found = sheet_of(figures.image_grid(images, 2, gap=0))
    assert np.array_equal(found[:, :3], np.moveaxis(images[0], 0, -1))
    flat = RANDOM.random((2, 1, 6, 3))
    found = sheet_of(figures.image_grid(flat, 2, gap=0))
    assert np.array_equal(found[:, 3:], flat[1, 0])


def test_colours_beyond_light_are_cut_off():
    images = 4 * RANDOM.random((3, 3, 4, 5)) - 2
    found = sheet_of(figures.image_grid(images, gap=0, n_columns=3))
    expected = np.concatenate(np.moveaxis(images, 1, -1), 1)
    assert np.array_equal(found, expected.clip(0, 1))


@pytest.mark.parametrize(
    "shape", [(9,), (4, 9), (4, 2, 9, 9), (4, 9, 9, 4), (2, 4, 1, 9, 9)]
)
def test_numbers_that_are_no_pictures_are_not_drawn_as_such(shape):
    values = np.zeros(shape)
    for call in (
        lambda: figures.image_grid(values),
        lambda: figures.comparison({"a": values}),
        lambda: figures.image_grid(torch.zeros(shape)),
    ):
        with refused("images:", ValueError) as caught:
            call()
        assert "curves or bars" in str(caught.value)


class Elsewhere:
    """Numbers that have to be brought to the CPU, as a tensor on a GPU."""

    def __init__(self, values, at_home=False):
        self.values, self.at_home = np.asarray(values), at_home

    def detach(self):
        return self

    def cpu(self):
        return Elsewhere(self.values, True)

    def __array__(self, dtype=None, copy=None):
        assert self.at_home
        return self.values.astype(dtype or self.values.dtype)

    def __len__(self):
        return len(self.values)

    @property
    def shape(self):
        return self.values.shape


@pytest.mark.parametrize("there", [Elsewhere, torch.tensor])
def test_numbers_may_be_on_any_device(there):
    codes, digits = there(CODES), there(DIGITS)
    mu, sigma = there(CODES[0]), there(abs(CODES[1]))
    numbers = there([3.0, 4.0])
    pictures = there(IMAGES[:6].reshape(2, 3, 4, 5))
    found = [
        figures.image_grid(there(IMAGES)),
        figures.comparison({"a": there(IMAGES)}),
        figures.latent_scatter(
            {"a": (codes, digits)}, (codes, codes, digits), limit=2
        ),
        figures.curves({"a": (there([1, 2]), numbers)}, "x", "y"),
        figures.bars({"a": {"": numbers}}, "x", "y"),
        figures.dots({"a": numbers}, ["b", "c"], "x"),
        figures.planes(
            {"a": there(IMAGES[0])},
            3.0,
            {"b": codes},
            {"c": codes},
            {"a": {"q": (mu, sigma)}},
        ),
        figures.count_table(there([[1, 2], [0, 3]]), "x", "y"),
        figures.schematic(there(IMAGES[0]), there(IMAGES[1])),
        figures.sheets({"a": pictures}),
    ]
    assert len(found) == len(CALLS)
    for figure in found:
        figure.savefig(io.BytesIO(), format="png")
    assert np.array_equal(sheet_of(found[0])[:4, :5], IMAGES[0])
    assert found[3].axes[0].lines[0].get_ydata().tolist() == [3, 4]


def test_more_than_ten_classes_have_colours():
    digits = np.arange(200) % 12
    (axes,) = figures.latent_scatter({"a": (CODES, digits)}).axes
    assert [t.get_text() for t in axes.texts] == [str(i) for i in range(12)]


def test_classes_may_be_a_column_of_conditions():
    maps, numbers = (
        {"a": (CODES, DIGITS)},
        {"a": (CODES, DIGITS.astype(float))},
    )
    rings = CODES[:3], abs(CODES[3:6]), np.array([0.0, 5.0, 9.0])
    (plain,) = figures.latent_scatter(maps).axes
    (axes,) = figures.latent_scatter(numbers, rings).axes
    for text, same in zip(plain.texts, axes.texts, strict=True):
        assert text.get_text() == same.get_text()


def test_no_pictures_are_refused():
    for shape in ((0, 5, 4), (0, 3, 5, 4), (3, 0, 4)):
        with refused("images:"):
            figures.image_grid(np.zeros(shape))


def test_a_grid_is_nearly_square_and_labelled():
    figure = figures.image_grid(
        IMAGES,
        row_labels="abc",
        column_labels="xyz",
        axis_labels=("across", "down"),
    )
    (axes,) = figure.axes
    assert axes.images[0].get_array().shape == (3 * 6 - 2, 3 * 7 - 2)
    assert [t.get_text() for t in axes.get_yticklabels()] == list("abc")
    assert [t.get_text() for t in axes.get_xticklabels()] == list("xyz")
    assert axes.get_yticks().tolist() == [1.5, 7.5, 13.5]  # row middles
    assert axes.get_xticks().tolist() == [2, 9, 16]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("across", "down")


def test_a_comparison_has_one_labelled_row_for_each_entry():
    rows = {"a": IMAGES, "b": 1 - IMAGES}
    more = {"column_labels": "1234567", "axis_labels": ("thickness", "")}
    figure = figures.comparison(rows, width=3.0, **more)
    (axes,) = figure.axes
    assert (axes.get_xlabel(), figure.get_figwidth()) == ("thickness", 3)
    assert [t.get_text() for t in axes.get_xticklabels()] == list("1234567")
    sheet = axes.images[0].get_array()
    assert [t.get_text() for t in axes.get_yticklabels()] == ["a", "b"]
    for i in range(7):
        left = slice(7 * i, 7 * i + 5)
        assert np.array_equal(sheet[:4, left], IMAGES[i])
        assert np.array_equal(sheet[6:, left], 1 - IMAGES[i])


def test_ten_digits_have_ten_colours():
    assert len({to_hex(c) for c in figures.DIGIT_COLOURS}) == 10


def test_each_digit_is_written_on_the_map_at_its_median():
    codes = CODES + 9 * np.stack([DIGITS, -DIGITS], 1)  # clearly apart
    maps = {"a": (codes, DIGITS), "b": (codes, DIGITS)}
    figure = figures.latent_scatter(maps)
    assert [axes.get_title() for axes in figure.axes] == ["a", "b"]
    for axes in figure.axes:
        assert [t.get_text() for t in axes.texts] == list("0123456789")
        for digit, (text, dots) in enumerate(
            zip(axes.texts, axes.collections)
        ):
            z = codes[digit == DIGITS]
            assert np.allclose(text.get_position(), np.median(z, 0))
            assert np.array_equal(dots.get_offsets(), z)
            colour = to_rgba(figures.DIGIT_COLOURS[digit])[:3]
            assert np.allclose(dots.get_facecolor()[0, :3], colour)
            assert text.get_bbox_patch().get_edgecolor()[:3] == colour


def test_digits_on_a_crowded_map_do_not_cover_each_other():
    (axes,) = figures.latent_scatter({"a": (CODES, DIGITS)}).axes
    medians = [np.median(CODES[digit == DIGITS], 0) for digit in range(10)]
    places = np.array([text.get_position() for text in axes.texts])
    size = np.ptp(CODES, 0) / 30  # of a digit on the map
    gaps = np.linalg.norm((places[:, None] - places) / size, axis=-1)
    assert gaps[~np.eye(10, dtype=bool)].min() > 1.2
    moved = np.linalg.norm((places - medians) / size, axis=-1)
    assert moved.max() < 3


def test_ellipses_are_one_sigma_wide_and_limits_are_kept():
    mu, sigma = CODES[:3], np.abs(CODES[3:6])
    maps = {"a": (CODES, DIGITS)}
    figure = figures.latent_scatter(maps, (mu, sigma, [0, 5, 9]), limit=4)
    (axes,) = figure.axes
    assert axes.get_xlim() == axes.get_ylim() == (-4, 4)
    for i, patch in enumerate(axes.patches):
        assert np.allclose(patch.center, mu[i])
        assert np.allclose((patch.width, patch.height), 2 * sigma[i])
    assert len(axes.patches) == 3


def test_curves_show_the_mean_of_seeds_and_their_band():
    y = RANDOM.random((4, 3))
    lines = {"one": (range(4), y[:, 0]), "many": (range(4), y)}
    (axes,) = figures.curves(lines, "epoch", "nats", marks=[0, 3]).axes
    assert np.allclose(axes.lines[0].get_ydata(), y[:, 0])
    assert np.allclose(axes.lines[1].get_ydata(), y.mean(1))
    band = axes.collections[1].get_paths()[0].vertices[:, 1]
    assert np.isclose(band.min(), y.min())
    assert np.isclose(band.max(), y.max())
    legend = [t.get_text() for t in axes.get_legend().get_texts()]
    assert legend == ["one", "many"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "nats")
    assert axes.get_xticks().tolist() == [0, 3]
    looks = {(line.get_marker(), line.get_color()) for line in axes.lines}
    assert len(looks) == 2
    line = {"a": ([1, 2], [3, 4])}
    for log, scales in (
        (True, ("log", "log")),
        ("x", ("log", "linear")),
        (False, ("linear", "linear")),
    ):
        (axes,) = figures.curves(line, "", "", log=log).axes
        assert (axes.get_xscale(), axes.get_yscale()) == scales


def test_lines_to_compare_with_are_black_and_take_no_colour():
    x, y = [1.0, 2.0], [3.0, 1.0]
    names = ("area", "level", "one", "dots", "two")
    black = {"area": "area", "level": ":", "dots": "o"}
    lines = dict.fromkeys(names, (x, y))
    (axes,) = figures.curves(lines, "", "", black=black).axes
    level, one, dots, two = axes.lines
    assert {line.get_color() for line in (level, dots)} == {"black"}
    assert (level.get_linestyle(), level.get_marker()) == (":", "None")
    assert (dots.get_linestyle(), dots.get_marker()) == ("None", "o")
    assert (one.get_color(), two.get_color()) == figures.SERIES[:2]
    area = axes.collections[0].get_paths()[0].vertices
    assert (area[:, 1].min(), area[:, 1].max()) == (0, 3)  # from zero
    legend = [t.get_text() for t in axes.get_legend().get_texts()]
    assert sorted(legend) == sorted(names)


def test_a_line_leaves_the_frame_where_limits_end():
    line = {"a": ([1, 2], [-9.0, 3.0])}
    (axes,) = figures.curves(line, "", "", limits=(-2, None)).axes
    low, high = axes.get_ylim()
    assert low == -2
    assert high >= 3
    assert axes.lines[0].get_ydata().tolist() == [-9, 3]  # and is not cut
    (axes,) = figures.curves(line, "", "").axes
    axes.plot([1, 2], [0, 20])  # and without limits more may be added
    assert axes.get_ylim()[1] > 20


def test_panels_of_curves_have_one_scale_and_one_legend():
    panels = {
        "left": {"a": ([1, 2], [3, 4]), "b": ([1, 2], [0, 1])},
        "right": {"a": ([1, 2], [30, 40]), "b": ([1, 2], [0, 1])},
        "below": {"a": ([1, 2], [3, 4]), "b": ([1, 2], [0, 1])},
    }
    figure = figures.curves(panels, "x", "y", marks=[1, 2], n_columns=2)
    *shown, empty = figure.axes
    assert not empty.get_visible()
    assert [axes.get_title() for axes in shown] == list(panels)
    for axes, panel in zip(shown, panels.values()):
        assert axes.get_ylim() == shown[0].get_ylim()
        assert axes.get_xticks().tolist() == [1, 2]
        for line, (x, y) in zip(axes.lines, panel.values()):
            assert np.array_equal(line.get_xydata(), np.transpose([x, y]))
        colours = [line.get_color() for line in axes.lines]
        assert colours == list(figures.SERIES[:2])
    (legend,) = figure.legends
    assert [t.get_text() for t in legend.get_texts()] == ["a", "b"]
    assert (figure.get_supxlabel(), figure.get_supylabel()) == ("x", "y")
    log = figures.curves(panels, "x", "y", log=True, n_columns=3)
    assert {axes.get_yscale() for axes in log.axes} == {"log"}


def test_a_long_curve_has_no_markers():
    for n, marked in ((39, True), (40, False)):
        (axes,) = figures.curves({"a": (range(n), range(n))}, "", "").axes
        assert (axes.lines[0].get_marker() in "os^Dv") == marked


def test_bars_stand_beside_each_other_on_one_scale():
    panels = {
        "first": {"one": [1.0, 2.0, 3.0], "two": [0.5, -1.0, 4.0]},
        "second": {"one": [7.0, 0.0, 1.0], "two": [2.0, 2.0, 2.0]},
        "third": {"one": [1.0, 1.0, 1.0], "two": [0.0, 0.0, 0.0]},
    }
    labels = ["a", "b", "c"]
    figure = figures.bars(panels, "x", "y", labels, 2, line=2.5)
    first, second, third, empty = figure.axes
    assert not empty.get_visible()
    assert first.get_ylim() == second.get_ylim() == third.get_ylim()
    for axes, (title, series) in zip(figure.axes, panels.items()):
        assert axes.get_title() == title
        assert len(axes.containers) == 2
        for bars, values in zip(axes.containers, series.values()):
            assert [b.get_height() for b in bars] == values
        edges = [
            (b.get_x(), b.get_x() + b.get_width())
            for bars in zip(*axes.containers)
            for b in bars
        ]
        for i, ((_, end), (start, _)) in enumerate(pairwise(edges)):
            assert np.isclose(end, start) if i % 2 == 0 else end < start
        middles = np.mean(edges, 1).reshape(3, 2).mean(1)
        assert np.allclose(middles, [1, 2, 3])
        assert axes.get_xticks().tolist() == [1, 2, 3]
        (line,) = axes.lines
        assert set(line.get_ydata()) == {2.5}
    looks = {
        (bars[0].get_facecolor(), bars[0].get_hatch())
        for bars in first.containers
    }
    assert len(looks) == 2
    (legend,) = figure.legends
    assert [t.get_text() for t in legend.get_texts()] == ["one", "two"]
    assert (figure.get_supxlabel(), figure.get_supylabel()) == ("x", "y")
    assert [t.get_text() for t in third.get_xticklabels()] == labels


def test_bars_of_one_series_need_no_name():
    figure = figures.bars({"": {"": [1, 2]}}, "x", "y")
    (axes,) = figure.axes
    assert not figure.legends
    assert not axes.lines
    assert [b.get_x() + b.get_width() / 2 for b in axes.patches] == [1, 2]
    assert not figures.bars({"": {"one": [1, 2]}}, "x", "y").legends


@pytest.mark.parametrize("names", [("",), ("one", "two")])
def test_a_line_to_compare_with_may_have_a_name(names):
    panels = {"": {name: [1, 2] for name in names}}
    figure = figures.bars(panels, "x", "y", line=1.5, line_name="limit")
    (legend,) = figure.legends
    found = [t.get_text() for t in legend.get_texts()]
    assert sorted(found) == sorted([n for n in names if n] + ["limit"])
    unnamed = figures.bars({"": {"": [1, 2]}}, "x", "y", line=1.5)
    assert not unnamed.legends


def test_dots_stand_in_rows_and_what_lies_beyond_is_written():
    series = {"one": [1.0, -7.0, 3.0], "two": [2.0, 900.0, 3.0]}
    labels = ["a", "b", "c"]
    figure = figures.dots(series, labels, "x", (0, 4), {"limit": 2.5})
    (axes,) = figure.axes
    *drawn, line = axes.lines
    for dots, values in zip(drawn, series.values(), strict=True):
        x, rows = dots.get_data()
        assert np.array_equal(rows.round(), [0, 1, 2])
        assert x[[0, 2]].tolist() == [values[0], values[2]]
        assert np.isnan(x[1])
    equal = [dots.get_ydata()[2] for dots in drawn]
    assert equal[0] < equal[1]  # both can be seen
    looks = {(dots.get_marker(), dots.get_color()) for dots in drawn}
    assert len(looks) == 2
    left, right, name = axes.texts
    assert (left.get_position()[0], left.get_text()) == (0, " \u25c0 -7")
    assert (right.get_position()[0], right.get_text()) == (4, "900 \u25b6 ")
    for text, dots in zip((left, right), drawn, strict=True):
        assert text.get_color() == dots.get_color()
    assert (name.get_position()[0], name.get_text()) == (2.5, "limit")
    assert set(line.get_xdata()) == {2.5}
    spans = axes.collections[0].get_segments()
    assert [s[:, 0].tolist() for s in spans] == [[1, 2], [0, 4], [3, 3]]
    assert [t.get_text() for t in axes.get_yticklabels()] == labels
    assert axes.get_ylim() == (2.5, -0.5)  # the first row on top
    assert axes.get_xlim() == (0, 4)
    (legend,) = figure.legends
    assert [t.get_text() for t in legend.get_texts()] == ["one", "two"]


def test_dots_of_one_series_need_no_name_and_no_limits():
    figure = figures.dots({"": [1, 2]}, ["a", "b"], "x")
    (axes,) = figure.axes
    assert not figure.legends
    assert not axes.texts
    (dots,) = axes.lines
    assert dots.get_xydata().tolist() == [[1, 0], [2, 1]]


def test_planes_show_shade_points_paths_and_ellipses_in_their_place():
    shade, points, path = IMAGES[0], RANDOM.normal(size=(2, 9, 2)), CODES
    figure = figures.planes(
        {"left": shade, "right": None},
        2.0,
        points={"both": points[0], "right": points[1]},
        paths={"way": path},
        ellipses={"right": {"q": (np.array([0.5, -0.5]), np.array([1, 2]))}},
        axis_labels=("a", "b"),
    )
    left, right = figure.axes
    (image,) = left.images
    assert not right.images
    assert np.array_equal(image.get_array(), shade)
    assert image.origin == "lower"  # the first row at the bottom
    assert image.get_extent() == [-2, 2, -2, 2]
    for axes, dots in ((left, points[:1]), (right, points)):
        assert axes.get_xlim() == axes.get_ylim() == (-2, 2)
        *found, way = axes.lines
        assert len(found) == len(dots)
        for line, expected in zip(found, dots):
            assert np.array_equal(line.get_xydata(), expected)
            assert (line.get_marker(), line.get_linestyle()) == ("o", "None")
        assert np.array_equal(way.get_xydata(), path)
        assert way.get_linestyle() == "-"
        colours = [line.get_color() for line in found]
        assert len(set(colours)) == len(found)
        assert way.get_color() != colours[0]
    assert [axes.get_title() for axes in figure.axes] == ["left", "right"]
    assert [axes.get_xlabel() for axes in figure.axes] == ["a", "a"]
    assert [axes.get_ylabel() for axes in figure.axes] == ["b", ""]
    assert not left.patches
    (ellipse,) = right.patches
    assert np.allclose(ellipse.center, [0.5, -0.5])
    assert (ellipse.width, ellipse.height) == (2, 4)  # one sigma each way
    legend = [t.get_text() for t in left.get_legend().get_texts()]
    assert legend == ["both", "way"]


def test_a_plane_may_be_off_centre():
    figure = figures.planes({"a": IMAGES[0]}, (-1.0, 3.0, 0.0, 2.0))
    (axes,) = figure.axes
    assert (axes.get_xlim(), axes.get_ylim()) == ((-1, 3), (0, 2))
    assert axes.images[0].get_extent() == [-1, 3, 0, 2]
    assert axes.get_box_aspect() == 0.5
    assert axes.get_legend() is None


def test_counts_are_written_in_row_and_column():
    counts = np.array([[9, 1, 0], [0, 5, 5], [2, 0, 8]])
    (axes,) = figures.count_table(counts, "read", "asked").axes
    found = np.zeros((3, 3), int)
    for text in axes.texts:
        column, row = text.get_position()
        found[row, column] = int(text.get_text())
    assert np.array_equal(found, counts)
    assert np.allclose(axes.images[0].get_array(), counts / 10)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("read", "asked")


@pytest.mark.parametrize("sampled", [False, True])
def test_the_schematic_shows_both_digits_and_what_lies_between(sampled):
    condition = "y = 5" if sampled else ""
    figure = figures.schematic(IMAGES[0], IMAGES[1], sampled, condition)
    (axes,) = figure.axes
    pictures = sorted(axes.images, key=lambda i: i.get_extent()[0])
    for picture, image in zip(pictures, IMAGES[:2]):
        assert np.array_equal(picture.get_array(), image)
    words = {text.get_text() for text in axes.texts}
    assert {"encoder", "decoder", "$x$", "$x'$", "$z$"} <= words
    assert ({r"$\mu$", r"$\sigma$", "y = 5"} <= words) == sampled


def test_sheets_lie_side_by_side_and_start_at_the_top():
    images = np.zeros((2, 3, 4, 4))
    images[0, 2] = 1  # first row, last column
    figure = figures.sheets({"one": images, "two": 1 - images})
    one, two = figure.axes
    assert [a.get_title() for a in (one, two)] == ["one", "two"]
    sheet = one.images[0].get_array()
    assert sheet.shape == (8, 12)
    assert (sheet[:4, 8:] == 1).all()
    assert sheet.sum() == 16
    assert (two.images[0].get_array() == 1 - sheet).all()
    narrow = figures.sheets({"one": images})
    assert narrow.get_figwidth() < figure.get_figwidth()
