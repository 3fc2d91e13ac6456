"""Arrays in, one finished figure out.

A figure is closed before it is returned: an open one would appear twice on
a page. One grey scale from 0 to 1 serves every image, and one colour means
one digit through the whole book. Wherever an array is expected, a tensor
will do, on whatever device.

Grey pictures are (N, h, w) or (N, 1, h, w), where 1 is ink; pictures in
colour are (N, 3, h, w) or (N, h, w, 3), where 1 is light.
"""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, Polygon, Rectangle

# ten colours that stay apart for colour-blind readers (after Paul Tol)
# fmt: off
DIGIT_COLOURS = (
    "#332288", "#88CCEE", "#117733", "#DDCC77", "#CC6677",
    "#AA4499", "#44AA99", "#999933", "#882255", "#777777",
)
# fmt: on
# and of these five that differ most, for lines and bars
SERIES = tuple(DIGIT_COLOURS[i] for i in (0, 4, 2, 5, 6))
ABOVE: Any = "outside upper center"
DOTS: dict[str, Any] = {"s": 3, "alpha": 0.5, "lw": 0, "rasterized": True}
MIDDLE: dict[str, Any] = {"ha": "center", "va": "center"}
INK: dict[str, Any] = {
    "cmap": "gray_r",
    "vmin": 0,
    "vmax": 1,
    "interpolation": "nearest",
}
SHADE: dict[str, Any] = {
    "cmap": "Purples",
    "origin": "lower",
    "aspect": "auto",
}


# a notebook shows figures as pictures and not as text; it has loaded IPython
if (_ipython := sys.modules.get("IPython")) and _ipython.get_ipython():
    from matplotlib_inline.backend_inline import set_matplotlib_formats

    set_matplotlib_formats("png")


def _figure(width: float, height: float) -> Figure:
    # made without pyplot, so that nothing keeps it open
    return Figure(figsize=(width, height), dpi=110, layout="constrained")


def _panels(
    titles: Sequence[str],
    n_columns: int,
    width: float,
    height: float,
    above: float = 0.0,
) -> tuple[Figure, Any]:
    """Panels on one scale, in rows of this height, and what stands above."""
    n_rows = -(-len(titles) // n_columns)
    figure = _figure(width, height * n_rows + above)
    shared: dict[str, Any] = {"sharex": True, "sharey": True}
    grid = figure.subplots(n_rows, n_columns, squeeze=False, **shared).flat
    for axes in grid[len(titles) :]:
        axes.set_visible(False)
    for axes, title in zip(grid, titles):
        axes.set_title(title, size=9)
    return figure, grid[: len(titles)]


def _explain(figure: Figure, xlabel: str, ylabel: str) -> None:
    """Names for both directions, and above, where no bar can be, for lines."""
    handles, names = figure.axes[0].get_legend_handles_labels()
    if names:
        figure.legend(handles, names, loc=ABOVE, ncols=3, frameon=False)
    figure.supxlabel(xlabel, size=10)
    figure.supylabel(ylabel, size=10)


def _bare(axes: Axes) -> None:
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _array(values: Any, dtype: type | None = None) -> np.ndarray:
    """Numbers as an array, also those of a tensor, wherever it is."""
    if hasattr(values, "detach"):  # without loading torch
        values = values.detach().cpu()
    return np.asarray(values, dtype)


def _pictures(images: Any) -> np.ndarray:
    """Grey pictures as (N, h, w), and those in colour as (N, h, w, 3)."""
    images = _array(images, float)
    if images.ndim == 4 and images.shape[1] == 1:
        images = images[:, 0]
    elif images.ndim == 4 and images.shape[1] == 3:
        images = np.moveaxis(images, 1, -1)
    colour = images.ndim == 4 and images.shape[-1] == 3
    if 0 in images.shape or not (images.ndim == 3 or colour):
        raise ValueError(
            "images: expected (N, h, w), (N, 1, h, w), (N, 3, h, w) or (N, "
            f"h, w, 3), got {images.shape}; give pictures, and show numbers "
            "with curves or bars"
        )
    return images.clip(0, 1) if colour else images


def _mosaic(images: np.ndarray, n_columns: int, gap: int) -> np.ndarray:
    """Images (N, h, w) or (N, h, w, 3) on one sheet, row by row."""
    n, height, width, *rgb = images.shape
    n_rows = -(-n // n_columns)
    size = (n_rows * n_columns, height + gap, width + gap, *rgb)
    sheet = np.full(size, 1.0 if rgb else 0.0)
    sheet[:n, :height, :width] = images
    sheet = sheet.reshape(n_rows, n_columns, height + gap, width + gap, *rgb)
    sheet = sheet.swapaxes(1, 2)
    sheet = sheet.reshape(n_rows * (height + gap), -1, *rgb)
    return sheet[: len(sheet) - gap or None, : sheet.shape[1] - gap or None]


def image_grid(
    images: np.ndarray,
    n_columns: int | None = None,
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    axis_labels: tuple[str, str] = ("", ""),
    gap: int = 2,
    width: float = 6.5,
) -> Figure:
    """Images in rows and columns.

    Args:
        images: in [0, 1], (N, h, w) or (N, 1, h, w), where 1 is ink, or
            (N, 3, h, w) or (N, h, w, 3) with the light of red, green and
            blue.
        n_columns: None makes it nearly square.
        row_labels, column_labels: a text for each row, for each column.
        axis_labels: what the horizontal and the vertical direction mean.
        gap: pixels of paper between images.
        width: of the figure, in inches.

    Returns:
        The figure, closed; as the value of a cell it is shown.

    Raises:
        ValueError: these are no pictures.

    Example:
        >>> figure = image_grid(np.zeros((6, 28, 28)), n_columns=3)
        >>> figure.axes[0].images[0].get_array().shape  # with the gaps
        (58, 88)
    """
    images = _pictures(images)
    n_columns = n_columns or int(np.ceil(len(images) ** 0.5))
    sheet = _mosaic(images, n_columns, gap)
    _, height, side, *_ = images.shape
    n_rows = -(-len(images) // n_columns)
    figure = _figure(width, width * sheet.shape[0] / sheet.shape[1] + 0.2)
    axes = figure.add_subplot()
    axes.imshow(sheet, **INK)
    _bare(axes)
    axes.set(xlabel=axis_labels[0], ylabel=axis_labels[1])
    if len(row_labels):
        middles = np.arange(n_rows) * (height + gap) + (height - 1) / 2
        axes.set_yticks(middles, row_labels)
    if len(column_labels):
        middles = np.arange(n_columns) * (side + gap) + (side - 1) / 2
        axes.set_xticks(middles, column_labels)
        axes.xaxis.tick_top()
    axes.tick_params(length=0)
    return figure


def comparison(rows: dict[str, np.ndarray], **more: Any) -> Figure:
    """One labelled row of images for each entry, such as reconstructions.

    Args:
        rows: name -> images as for `image_grid`, of equal N and size.
        **more: as for `image_grid`, such as column_labels and axis_labels.

    Returns:
        The figure, closed; as the value of a cell it is shown.

    Example:
        >>> images = np.zeros((4, 28, 28))
        >>> figure = comparison({"x": images, "drawn": images})
        >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
        ['x', 'drawn']
    """
    n = len(next(iter(rows.values())))
    stack = np.concatenate([_pictures(images) for images in rows.values()])
    return image_grid(stack, n, row_labels=list(rows), **more)


def _apart(places: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Places (N, 2) moved until none covers another of this size (2,)."""
    size = np.maximum(size, 1e-6)  # a dimension may be constant
    nudge = 1e-7 * np.arange(len(places))[:, None]  # parts equal places
    places = places / size + nudge
    for _ in range(100):
        gaps = places[:, None] - places[None]  # (N, N, 2)
        distance = np.linalg.norm(gaps, axis=-1, keepdims=True)
        push = np.clip(1.5 - distance, 0, None) / (distance + 1e-9)
        places = places + 0.3 * (push * gaps).sum(1)
    return places * size


def _ellipse(axes: Axes, mu: Any, sigma: Any, **style: Any) -> None:
    """An outline one sigma around mu."""
    mu, (width, height) = _array(mu), 2 * _array(sigma)
    axes.add_patch(Ellipse(tuple(mu), width, height, fc="none", **style))


def latent_scatter(
    maps: dict[str, tuple[np.ndarray, np.ndarray]],
    ellipses: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
    limit: float | None = None,
    width: float = 6.5,
) -> Figure:
    """Maps of two-dimensional codes, coloured by digit.

    Each digit is also written near the median of its codes, so that the map
    can be read without colours.

    Args:
        maps: title -> (codes (N, 2), labels (N,)), one panel each.
        ellipses: mu (M, 2), sigma (M, 2), labels (M,): one-sigma ellipses
            drawn on the last panel.
        limit: half width of the panels; None shows all but the outermost
            codes.
        width: of the figure, in inches.

    Returns:
        The figure, closed; as the value of a cell it is shown.

    Example:
        >>> codes, labels = np.eye(3, 2), np.array([3, 5, 5])
        >>> figure = latent_scatter({"VAE": (codes, labels)})
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['3', '5']
    """
    figure = _figure(width, width / len(maps) + (0.7 if len(maps) > 1 else 0))
    for i, (title, (codes, labels)) in enumerate(maps.items()):
        codes, labels = _array(codes), _array(labels, int)
        axes = figure.add_subplot(1, len(maps), i + 1)
        for digit in np.unique(labels):
            z1, z2 = codes[labels == digit].T
            axes.scatter(z1, z2, color=DIGIT_COLOURS[digit % 10], **DOTS)
        shown, size = np.unique(labels), np.ptp(codes, 0) / 30
        places = np.stack([np.median(codes[labels == d], 0) for d in shown])
        places = _apart(places, size * len(maps) ** 0.5)
        for digit, (a, b) in zip(shown, places):
            box = {"boxstyle": "circle,pad=0.2", "fc": "white", "lw": 1.5}
            box["ec"] = DIGIT_COLOURS[digit % 10]
            axes.text(a, b, str(digit), weight="bold", bbox=box, **MIDDLE)
        low, high = np.quantile(codes, [0.005, 0.995], axis=0)
        edge = 0.05 * (high - low)
        low, high = low - edge, high + edge
        if limit:
            low, high = (-limit, -limit), (limit, limit)
        axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
        axes.set(title=title, xlabel="$z_1$", ylabel="$z_2$")
        axes.set_box_aspect(1)
        axes.grid(alpha=0.2)
    if ellipses is not None:
        for mu, sigma, digit in zip(*map(_array, ellipses)):
            colour = DIGIT_COLOURS[int(digit) % 10]
            _ellipse(axes, mu, sigma, ec=colour, lw=1)
    return figure


def curves(
    lines: dict[str, Any],
    xlabel: str,
    ylabel: str,
    log: bool | str = False,
    marks: Sequence[float] = (),
    black: dict[str, str] | None = None,
    limits: tuple[float | None, float | None] = (None, None),
    n_columns: int = 1,
    width: float = 5.5,
) -> Figure:
    """Lines, each with its own marker, in one panel or several on one scale.

    Args:
        lines: name -> (x (N,), y (N,) or (N, S) for S seeds); several seeds
            are drawn as their mean with a band from lowest to highest. Or
            title -> such lines, one panel each.
        xlabel, ylabel: quantity and unit.
        log: whether both axes are logarithmic; "x" is that one alone.
        marks: places of the horizontal ticks; empty leaves it to matplotlib.
        black: name -> how that line, to compare the others with, is drawn
            in black: ":" or "-" as a line, "o" as dots, "area" as a grey
            area above zero.
        limits: lowest and highest y shown; beyond it a line leaves the
            frame. None shows all.
        n_columns: of panels.
        width: of the figure, in inches.

    Returns:
        The figure, closed; as the value of a cell it is shown.

    Example:
        >>> lines = {"ELBO": ([1, 2, 3], [-150, -120, -110])}
        >>> figure = curves(lines, xlabel="epoch", ylabel="nats per digit")
        >>> len(figure.axes[0].lines)
        1
    """
    several = isinstance(next(iter(lines.values())), dict)
    panels = lines if several else {"": lines}
    height, above = 0.62 * width / n_columns, 1.0 if several else 0.0
    figure, grid = _panels(list(panels), n_columns, width, height, above)
    black = black or {}
    for axes, panel in zip(grid, panels.values()):
        coloured = [name for name in panel if name not in black]
        for name, (x, y) in panel.items():
            x = _array(x)
            y = _array(y, float).reshape(len(x), -1)
            if black.get(name) == "area":
                axes.fill_between(x, y[:, 0], color="lightgrey", label=name)
            elif name in black:
                axes.plot(x, y, black[name], c="black", lw=1.2, label=name)
            else:
                i = coloured.index(name)
                look: dict[str, Any] = {"color": SERIES[i % 5]}
                band = look | {"alpha": 0.15, "lw": 0}
                look |= {"ls": ("-", "--", ":", "-.")[i % 4], "ms": 4}
                look |= {"marker": "os^Dv"[i % 5] if len(x) < 40 else None}
                axes.plot(x, y.mean(1), label=name, **look)
                axes.fill_between(x, y.min(1), y.max(1), **band)
        axes.grid(alpha=0.2)
    if log:
        axes.set(xscale="log")
    if log is True:
        axes.set(yscale="log")
        axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(ticker.NullFormatter())
    if len(marks):
        axes.set_xticks(marks, [f"{m:g}" for m in marks])
        axes.minorticks_off()
    if limits != (None, None):  # else what is added may need room
        axes.set(ylim=limits)
    if several:
        _explain(figure, xlabel, ylabel)
    else:
        axes.set(xlabel=xlabel, ylabel=ylabel)
        axes.legend(frameon=False)
    return figure


def bars(
    panels: dict[str, dict[str, np.ndarray]],
    xlabel: str,
    ylabel: str,
    labels: Sequence[str] = (),
    n_columns: int = 1,
    line: float | None = None,
    line_name: str = "",
    width: float = 6.5,
    height: float = 2.4,
) -> Figure:
    """Bars beside each other, in one panel or several on one scale.

    Args:
        panels: title -> name of a series -> values (M,). One series needs
            no name.
        xlabel, ylabel: quantity and unit.
        labels: of the places; empty counts them from 1.
        n_columns: of panels.
        line: height of a dotted line to compare with.
        line_name: what it is.
        width: of the figure, in inches.
        height: of a row of panels, in inches.

    Returns:
        The figure, closed; as the value of a cell it is shown.

    Example:
        >>> figure = bars({"KL": {"": [3.0, 1.0]}}, "dimension", "nats")
        >>> [float(bar.get_height()) for bar in figure.axes[0].patches]
        [3.0, 1.0]
    """
    figure, grid = _panels(list(panels), n_columns, width, height)
    for axes, series in zip(grid, panels.values()):
        for i, (name, values) in enumerate(series.items()):
            values = _array(values, float)
            thick = 0.8 / len(series)
            places = np.arange(1, len(values) + 1)
            middles = places + (i - (len(series) - 1) / 2) * thick
            look: dict[str, Any] = {"ec": "white", "lw": 0.5}
            look["label"] = name if len(series) > 1 else ""
            look["hatch"] = ("", "//", "..", "xx", "++")[i % 5]
            axes.bar(middles, values, thick, color=SERIES[i % 5], **look)
        if line is not None:
            axes.axhline(line, color="black", ls=":", lw=1, label=line_name)
        if labels:
            axes.set_xticks(places, labels)
        else:
            axes.xaxis.set_major_locator(ticker.MaxNLocator(6, integer=True))
        axes.grid(axis="y", alpha=0.2)
    _explain(figure, xlabel, ylabel)
    return figure


def dots(
    series: dict[str, np.ndarray],
    labels: Sequence[str],
    xlabel: str,
    limits: tuple[float, float] | None = None,
    lines: dict[str, float] | None = None,
    width: float = 5.5,
) -> Figure:
    """A row for each label, with a dot of each series on one scale.

    The dots of a row lie a little apart, so that equal ones can be seen, and
    a grey line spans them, so that gaps can be compared.

    Args:
        series: name -> values (M,). One series needs no name.
        labels: of the rows, M of them, from the top.
        xlabel: quantity and unit.
        limits: ends of the scale; what lies beyond is written at that end.
        lines: name -> place of a dotted line to compare with.
        width: of the figure, in inches.

    Returns:
        The figure, closed; as the value of a cell it is shown.

    Example:
        >>> found = {"true": [-90, -97], "said": [-90, 3e9]}
        >>> figure = dots(found, ["VAE", "broken"], "nats", (-120, -80))
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['3e+09 ▶ ']
    """
    figure = _figure(width, 1 + (0.1 + 0.11 * len(series)) * len(labels))
    axes = figure.add_subplot(xlabel=xlabel)
    values = np.stack([_array(v, float) for v in series.values()])
    low, high = limits or (values.min(), values.max())
    shown, rows = values.clip(low, high), np.arange(len(labels))
    axes.hlines(rows, shown.min(0), shown.max(0), color="0.8", lw=2, zorder=1)
    for i, name in enumerate(series):
        apart = rows + (i - (len(series) - 1) / 2) * 0.7 / len(series)
        look: dict[str, Any] = {"color": SERIES[i % 5], "clip_on": False}
        inside = np.where(values[i] == shown[i], shown[i], np.nan)
        axes.plot(inside, apart, "os^Dv"[i % 5], label=name, **look)
        paper = {"fc": "white", "ec": "none", "pad": 1}  # hides the grey line
        look |= {"va": "center", "size": 9, "zorder": 2, "bbox": paper}
        for x, end, y in zip(values[i], shown[i], apart):
            if x < low:
                axes.text(end, y, f" ◀ {x:.3g}", ha="left", **look)
            if x > high:
                axes.text(end, y, f"{x:.3g} ▶ ", ha="right", **look)
    for name, x in (lines or {}).items():
        axes.axvline(x, color="black", ls=":", lw=1.2, zorder=0)
        axes.text(x, -0.6, name, ha="center", va="bottom", size=9)
    axes.set_yticks(rows, labels)
    axes.set(xlim=limits, ylim=(len(labels) - 0.5, -0.5))
    axes.grid(alpha=0.2)
    if len(series) > 1:  # above, where no dot can be
        figure.legend(loc=ABOVE, ncols=3, frameon=False)
    return figure


def planes(
    panels: dict[str, np.ndarray | None],
    limit: float | tuple[float, float, float, float],
    points: dict[str, np.ndarray] | None = None,
    paths: dict[str, np.ndarray] | None = None,
    ellipses: dict[str, dict[str, tuple]] | None = None,
    axis_labels: tuple[str, str] = ("$z_1$", "$z_2$"),
    width: float = 6.5,
) -> Figure:
    """Panels of one plane: a density as shade, points, paths, ellipses.

    Args:
        panels: title -> values (h, w) shown as shade, the first row at the
            bottom, each panel scaled to its own largest value; or None.
        limit: half width of the plane, or (left, right, bottom, top).
        points: name -> (N, 2), drawn in every panel, or in the panel of
            that title if there is one.
        paths: the same with (N, 2) joined by a line.
        ellipses: title -> name -> (mu (2,), sigma (2,)): one-sigma ellipses
            in that panel, dashed.
        axis_labels: of both axes.
        width: of the figure, in inches.

    Returns:
        The figure, closed; as the value of a cell it is shown.

    Example:
        >>> shade, points = np.ones((9, 9)), {"codes": np.zeros((5, 2))}
        >>> figure = planes({"prior": shade, "q(z)": None}, 3.0, points)
        >>> [axes.get_title() for axes in figure.axes]
        ['prior', 'q(z)']
    """
    if not isinstance(limit, tuple):
        limit = (-limit, limit, -limit, limit)
    left, right, bottom, top = limit
    n = len(panels)
    figure = _figure(width, width / n * (top - bottom) / (right - left) + 0.5)
    for i, (title, shade) in enumerate(panels.items()):
        axes = figure.add_subplot(1, n, i + 1)
        if shade is not None:
            axes.imshow(_array(shade), extent=limit, **SHADE)
        for draws, style in ((points, "o"), (paths, "-")):
            for j, (name, xy) in enumerate((draws or {}).items()):
                if name in panels and name != title:
                    continue
                look: dict[str, Any] = {"mec": "white", "rasterized": True}
                if len(xy) > 20:
                    alpha = 0.5 if style == "o" else 1
                    look |= {"ms": 2, "mew": 0, "alpha": alpha}
                after = len(points or {}) * (style == "-")
                look["color"] = SERIES[(j + after) % 5]
                look["label"] = None if name in panels else name
                axes.plot(*_array(xy).T, style, **look)
        rings = (ellipses or {}).get(title, {})
        for j, (name, (mu, sigma)) in enumerate(rings.items()):
            colour = DIGIT_COLOURS[(4, 2, 0)[j % 3]]
            ring = {"ec": colour, "ls": ("--", "-", ":")[j % 3], "lw": 1.5}
            _ellipse(axes, mu, sigma, label=name, **ring)
        axes.set(xlim=(left, right), ylim=(bottom, top), xlabel=axis_labels[0])
        axes.set_ylabel(axis_labels[1] if i == 0 else "")
        axes.set_title(title, size=10)
        axes.set_box_aspect((top - bottom) / (right - left))
        if axes.get_legend_handles_labels()[1] and i == 0:
            axes.legend(frameon=True, fontsize=8, markerscale=1.5)
    return figure


def count_table(
    counts: np.ndarray, xlabel: str, ylabel: str, width: float = 4.8
) -> Figure:
    """A square table of counts, such as requested against read digits.

    Args:
        counts: (C, C), a row for each class of `ylabel`.
        xlabel, ylabel: what columns and rows are.
        width: of the figure, in inches.

    Returns:
        The figure, closed; as the value of a cell it is shown.

    Example:
        >>> figure = count_table([[5, 0], [1, 4]], "read as", "asked for")
        >>> [text.get_text() for text in figure.axes[0].texts]  # no zeros
        ['5', '1', '4']
    """
    counts = _array(counts)
    figure = _figure(width, width)
    axes = figure.add_subplot()
    share = counts / np.maximum(1, counts.sum(1, keepdims=True))
    axes.imshow(share, cmap="Purples", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            colour = "white" if share[row, column] > 0.5 else "black"
            axes.text(column, row, str(count), size=8, color=colour, **MIDDLE)
    places = range(len(counts))
    axes.set(xticks=places, yticks=places, xlabel=xlabel, ylabel=ylabel)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def schematic(
    x: np.ndarray,
    drawn: np.ndarray,
    sampled: bool = False,
    condition: str = "",
    width: float = 6.5,
) -> Figure:
    """A picture on its way through encoder, code and decoder.

    Args:
        x: the picture that goes in, in [0, 1], (h, w), (1, h, w), (3, h, w)
            or (h, w, 3).
        drawn: the picture that comes out, of the same shape.
        sampled: whether the code is drawn from N(mu, sigma^2).
        condition: what both networks are told besides, such as "y = 5".
        width: of the figure, in inches.

    Returns:
        The figure, closed; as the value of a cell it is shown.

    Example:
        >>> x = np.zeros((28, 28))
        >>> figure = schematic(x, drawn=x, sampled=True)
        >>> len(figure.axes[0].images)
        2
    """
    bottom = 0 if condition else 0.55  # what nobody says needs no room
    figure = _figure(width, 0.1 * width * (3.5 - bottom))
    axes = figure.add_subplot()
    for left, image, name in ((0, x, "$x$"), (8.4, drawn, "$x'$")):
        (picture,) = _pictures(_array(image)[None])
        axes.imshow(picture, extent=(left, left + 1.6, 1.2, 2.8), **INK)
        axes.add_patch(Rectangle((left, 1.2), 1.6, 1.6, fc="none", ec="k"))
        axes.text(left + 0.8, 0.85, name, ha="center", va="center", size=12)
    networks = {
        "encoder": ((2.1, 0.7), (2.1, 3.3), (3.9, 2.5), (3.9, 1.5)),
        "decoder": ((6.1, 1.5), (6.1, 2.5), (7.9, 3.3), (7.9, 0.7)),
    }
    for i, (name, corners) in zip((1, 6), networks.items()):
        axes.add_patch(Polygon(corners, fc=DIGIT_COLOURS[i], alpha=0.6))
        left, height = np.mean(corners, 0)
        axes.text(left, height, name, ha="center", va="center", size=11)
    arrows = [((1.65, 2.0), (2.05, 2.0)), ((7.95, 2.0), (8.35, 2.0))]
    axes.text(5.65 if sampled else 5, 2, "$z$", size=13, **MIDDLE)
    if sampled:
        for height, name in ((2.3, r"$\mu$"), (1.7, r"$\sigma$")):
            axes.text(4.35, height, name, ha="center", va="center", size=13)
        axes.text(5, 3.15, r"noise $\epsilon$", ha="center", size=10)
        arrows += [((4.6, 2.25), (5.4, 2.05)), ((4.6, 1.75), (5.4, 1.95))]
        arrows += [((5.0, 3.05), (5.5, 2.2))]
    else:
        arrows += [((3.95, 2.0), (4.75, 2.0)), ((5.25, 2.0), (6.05, 2.0))]
    if condition:
        axes.text(5, 0.3, condition, ha="center", va="center", size=11)
        arrows += [((4.4, 0.35), (3.2, 1.05)), ((5.6, 0.35), (6.8, 1.05))]
    arrow = {"arrowstyle": "->", "lw": 1.2}
    for start, end in arrows:
        axes.annotate("", end, start, arrowprops=arrow)
    _bare(axes)
    axes.set(xlim=(-0.1, 10.1), ylim=(bottom, 3.5), aspect="equal")
    return figure


def sheets(panels: dict[str, np.ndarray], width: float = 6.5) -> Figure:
    """Sheets of images side by side, such as manifolds.

    Args:
        panels: title -> images in [0, 1], (rows, columns, h, w), or with
            channels as for `image_grid`.
        width: of the figure, in inches.

    Returns:
        The figure, closed; as the value of a cell it is shown.

    Example:
        >>> figure = sheets({"VAE": np.zeros((2, 3, 28, 28))})
        >>> figure.axes[0].images[0].get_array().shape
        (56, 84)
    """
    n = max(len(panels), 2)  # one alone need not fill the page
    figure = _figure(width * len(panels) / n, width / n + 0.3)
    for i, (title, images) in enumerate(panels.items()):
        axes = figure.add_subplot(1, len(panels), i + 1)
        rows, columns, *size = images.shape
        flat = _pictures(_array(images).reshape(rows * columns, *size))
        axes.imshow(_mosaic(flat, columns, 0), **INK)
        _bare(axes)
        axes.set_title(title)
    return figure
