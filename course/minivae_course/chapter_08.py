"""Checks for chapter 8: convolutions, likelihoods of grey, learned priors."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributions import (
    Bernoulli,
    Categorical,
    Independent,
    MixtureSameFamily,
    Normal,
    kl_divergence,
)
from torch.nn.functional import logsigmoid

from minivae_course.check import (
    Draws,
    Student,
    WrongError,
    check,
    choices,
    equal,
    function,
    require,
    standard_normal,
    tensor,
    whole,
)

# --- sizes of convolutions

SIDES = ((60, 110), (60, 110))  # enough for three layers


@check()
def conv_sizes(
    draws: Draws, output_shape: Student, numbers_to_learn: Student
) -> None:
    """The shape that convolutions leave of a picture, and what they learn.

    Held against the layers of PyTorch, for windows, strides and borders of
    many kinds.
    """
    shape_of = function("output_shape", output_shape)
    count = function("numbers_to_learn", numbers_to_learn)
    cases = [
        ((2, 30, 23), [(6, 5, 2, 5)]),
        ((3, 40, 30), [(8, 4, 2, 1), (5, 3, 2, 1)]),
        ((1, 28, 28), [(32, 3, 2, 1), (64, 3, 2, 1)]),
        ((3, 64, 48), [(8, 4, 2, 1)]),
        ((1, 3, 14), [(5, 3, 2, 0)]),
        ((2, 11, 7), [(4, 5, 3, 2), (3, 1, 1, 0)]),
        ((4, 6, 6), []),
    ]
    for _ in range(12):
        layers = [
            (
                draws.whole(2, 9),
                draws.whole(1, 6),
                draws.whole(1, 4),
                draws.whole(0, 3),
            )
            for _ in range(draws.whole(1, 4))
        ]
        shape = tuple(draws.whole(*one) for one in ((1, 5), *SIDES))
        cases.append((shape, layers))
    for shape, layers in cases:
        n_code = draws.whole(2, 40)
        net = _convolutions(shape, layers)
        with torch.no_grad():
            right = tuple(net(torch.zeros(1, *shape)).shape[1:])
        what = f"output_shape({shape}, {layers})"
        found = tensor(what, shape_of(shape, layers), (3,))
        # what a formula with one mistake gives
        mistakes = {
            "a window that does not fit any more is left out: round down": (
                _shape(
                    shape,
                    layers,
                    lambda n, k, s, p: -((k - n - 2 * p) // s) + 1,
                )
            ),
            "the padding lies on both sides": _shape(
                shape, layers, lambda n, k, s, p: (n + p - k) // s + 1
            ),
            "count the first place of the window too: add 1": _shape(
                shape, layers, lambda n, k, s, p: (n + 2 * p - k) // s
            ),
            "the padding does not enter": _shape(
                shape, layers, lambda n, k, s, p: (n - k) // s + 1
            ),
            "the window is wider than one pixel": _shape(
                shape, layers, lambda n, k, s, p: (n + 2 * p - 1) // s + 1
            ),
            "the stride does not enter": _shape(
                shape, layers, lambda n, k, s, p: n + 2 * p - k + 1
            ),
            "channels, then height, then width": (
                right[0],
                right[2],
                right[1],
            ),
            "the channels that come out are those of the last layer": (
                shape[0],
                *right[1:],
            ),
        }
        _same_counts(what, found.tolist(), right, mistakes)
        what = f"numbers_to_learn({shape}, {layers}, {n_code})"
        found = whole(what, count(shape, layers, n_code))
        weights = sum(p.numel() for p in net.parameters() if p.dim() > 1)
        biases = sum(one[0] for one in layers)
        dense = math.prod(right) * n_code
        start = shape[0]
        one_channel = sum(c * k * k for c, k, _, _ in layers)
        mistakes = {
            "the biases are missing": weights + dense,
            "the bias of the linear layer is missing, one for each number "
            "that it emits": weights + biases + dense,
            "each channel that comes out has a bias": weights + dense + n_code,
            "the linear layer is missing": weights + biases,
            "each channel reads all the channels of the layer before": (
                one_channel + biases + dense + n_code
            ),
            "each channel reads all the channels of the layer before, not "
            "those of the picture": (
                start * one_channel + biases + dense + n_code
            ),
        }
        wanted = weights + biases + dense + n_code
        _same_counts(what, found, wanted, mistakes)


def _convolutions(shape: tuple, layers: list) -> nn.Sequential:
    parts, channels = [], shape[0]
    for after, kernel, stride, padding in layers:
        parts.append(nn.Conv2d(channels, after, kernel, stride, padding))
        channels = after
    return nn.Sequential(*parts)


def _shape(shape: tuple, layers: list, size: Callable) -> tuple:
    """What this formula for one side gives after all layers."""
    for after, kernel, stride, padding in layers:
        sides = (size(n, kernel, stride, padding) for n in shape[1:])
        shape = (after, *sides)
    return shape


def _same_counts(
    what: str, found: object, right: object, mistakes: dict
) -> None:
    """Refuse other whole numbers than these, with the likely cause."""
    if isinstance(right, tuple):
        found = tuple(int(n) if n == int(n) else n for n in found)
    if found == right:
        return
    cause = [text for text, value in mistakes.items() if value == found]
    cause = f". Likely: {cause[0]}" if cause else ""
    raise WrongError(f"{what}: found {found}, expected {right}{cause}")


# --- equivariance


@check()
def moves_along(draws: Draws, places_moved: Student, misfit: Student) -> None:
    """How far a map moves with its picture, and how well a move fits.

    Held against convolutions without a border, and against a loop over the
    places.
    """
    places = function("places_moved", places_moved)
    fit = function("misfit", misfit)
    cases = [(36, (4, 3)), (2, (2, 2)), (0, (3,)), (5, (2,)), (6, (2, 3))]
    cases += [(5, ()), (36, (3, 2, 3)), (-4, (2, 2)), (-6, (4,)), (6, (3, 3))]
    cases += [(-1, (3, 3, 3))]  # not far from no move
    for _ in range(12):
        strides = [draws.whole(1, 4) for _ in range(draws.whole(1, 4))]
        cases.append((draws.whole(-12, 13), tuple(strides)))
    for pixels, strides in cases:
        total = math.prod(strides)
        right = pixels // total if pixels % total == 0 else None
        found = places(pixels, list(strides))
        what = f"places_moved({pixels}, {list(strides)})"
        if right is None:
            require(
                found is None,
                f"{what}: found {_brief(found)}, expected None. {total} "
                "pixels are one place of the last map, and this move is no "
                "whole number of places",
            )
            continue
        require(
            found is not None,
            f"{what}: found None, expected {right}. {total} pixels are one "
            "place of the last map; the strides of all layers are multiplied",
        )
        found = whole(what, found)
        mistakes = {
            "each layer divides by its stride, so multiply the strides, do "
            "not add them": pixels // sum(strides or (1,)),
            "this is the move in pixels": pixels,
            "all layers count, not the last one alone": (
                pixels // (1, *strides)[-1]
            ),
            "a move to the left is negative": -right,
        }
        _same_counts(what, found, right, mistakes)
    for channels, height, width in ((3, 6, 9), (1, 4, 5), (5, 8, 8)):
        before = draws.normal(channels, height, width)
        before[0, 0, 0], before[0, 2, 2] = -7.0, -6.0  # the largest two
        # the largest change is a negative one, except in the second map
        change = {3: 0.3, 1: -0.3, 5: 9}[channels]
        for move in _moves(draws, height, width):
            down, right = move
            after = torch.roll(before, move, (1, 2))
            after += change * (draws.normal(channels, height, width) - 1)
            # at the border something else comes in
            after[:, : max(down, 0)] += 9
            after[:, :, : max(right, 0)] += 9
            if down < 0:
                after[:, down:] += 9
            if right < 0:
                after[:, :, right:] += 9
            if not down and not right:
                after = before + 0.2 * draws.normal(channels, height, width)
            _misfit_is(fit, before, after, move)
    # a real picture: the strides say how far, and nothing is left over
    net = _convolutions((1, 0, 0), [(4, 3, 2, 0), (3, 3, 2, 0)])
    with torch.no_grad():
        for weights in net.parameters():
            weights.copy_(draws.normal(*weights.shape) / 3)
        picture = draws.normal(1, 1, 40, 40)
        old, new = (
            net(picture.roll(n, -1))[0].relu() for n in (0, draws.whole(1, 3))
        )
        _misfit_is(fit, old, new, (0, 1))
        four = net(picture.roll(4, -1))[0].relu()
    found = tensor("misfit", fit(old, four, (0, 1)), ())
    require(
        float(found) < 1e-4,
        "misfit: a map that moved by one place and is otherwise the same has "
        f"a misfit of 0, found {float(found):.3g}. Does the border count, "
        "where new places came in?",
    )


def _brief(value: object) -> str:
    return repr(value)[:40]


def _moves(draws: Draws, height: int, width: int) -> list[tuple[int, int]]:
    one = (draws.whole(1, height - 1), draws.whole(1, width - 1))
    return [
        (0, 0),
        (0, 1),
        (2, 0),
        (-1, 0),
        (0, -2),
        one,
        (-one[0], one[1]),
        (1, -one[1]),
    ]


def _shared(before: Tensor, after: Tensor, move: tuple) -> Tensor:
    """The differences at all places that both maps show."""
    down, right = move
    _, height, width = before.shape
    return torch.stack(
        [
            after[:, r + down, c + right] - before[:, r, c]
            for r in range(height)
            for c in range(width)
            if 0 <= r + down < height and 0 <= c + right < width
        ]
    )


def _misfit_is(
    fit: Student, before: Tensor, after: Tensor, move: tuple
) -> None:
    off = _shared(before, after, move).abs()
    size = before.abs().max()
    right = off.max() / size
    back = tuple(-n for n in move)
    rolled = (after - torch.roll(before, move, (1, 2))).abs().max()
    mistakes = {
        "at the border new places came in; compare only those that both maps "
        "show": rolled / size,
        "this is the mean change; the largest is asked for": off.mean() / size,
        "divide by the largest value of the old map": off.max(),
        "the largest value is the largest in size; it may be negative": (
            off.max() / before.max()
        ),
        "the change may be negative: take its absolute value": (
            _shared(before, after, move).max() / size
        ),
        "the map moved the other way: after[r + down, c + right] belongs to "
        "before[r, c]": _shared(before, after, back).abs().max() / size,
        "the move does not enter": (after - before).abs().max() / size,
        "divide by the largest value of the old map, not of the new one": (
            off.max() / after.abs().max()
        ),
    }
    height, width = before.shape[1:]
    swapped = (move[1], move[0])
    if abs(move[1]) < height and abs(move[0]) < width and swapped != move:
        text = "down comes first, then right"
        mistakes[text] = _shared(before, after, swapped).abs().max() / size
    what = f"misfit of a move by {move}"
    equal(what, fit(before, after, move), right, mistakes)


# --- a likelihood of grey levels


@check()
def level_log_mass(draws: Draws, level_log_mass: Student) -> None:
    """Log of the mass that a logistic curve gives to levels from 0 to 255.

    Held against float64, far from the curve too; all levels add up to one;
    and the gradients by place and width.
    """
    mass = function("level_log_mass", level_log_mass)
    level = torch.arange(90.0, 102.0)
    mean = level[5] + draws.uniform(12, low=-0.5, high=0.5)
    width = draws.uniform(12, low=-0.8, high=-0.2)
    right, mistakes = _levels(level, mean, width)
    equal("log mass near the curve", mass(level, mean, width), right, mistakes)
    level = torch.arange(256.0)
    for place, log_scale in (
        (float(draws.uniform(low=60, high=180)), 1.5),
        (float(draws.uniform(low=-9, high=9)), 3.0),
        (float(draws.uniform(low=250, high=262)), 2.0),
    ):
        log_scale += float(draws.uniform(low=-0.4, high=0.4))
        mean = torch.full((256,), place)
        width = torch.full((256,), log_scale)
        found = mass(level, mean, width)
        what = f"a curve at {place:.0f} with log scale {log_scale:.1f}"
        right, mistakes = _levels(level, mean, width)
        equal(what, found, right, mistakes)
        total = float(tensor(what, found).exp().sum())
        require(
            abs(total - 1) < 1e-3,
            f"{what}: the masses of all levels add up to {total:.4f}, "
            "expected 1",
        )
    for n, size, low, high in (
        (4, 6, -1.0, 4.0),
        (1, 3, 0.0, 2.0),
        (3, 4, 4.5, 9.0),
        (3, 3, -3.0, -1.0),
        (3, 3, -9.0, -7.5),
    ):
        level = draws.whole(0, 256, n, size).float()
        level[0, 0], level[-1, -1] = 0, 255
        mean = draws.uniform(n, size, low=-30, high=290)
        width = draws.uniform(n, size, low=low, high=high)
        # each value for itself: large ones must not hide the small ones
        right, mistakes = _levels(level, mean, width)
        found = mass(level, mean, width)
        equal("log mass of levels", found, right, mistakes)
        near = right.abs() < 20
        if near.any():
            equal(
                "log mass of the likely levels",
                tensor("log mass", found)[near],
                right[near],
            )
    level = draws.whole(0, 256, 24).float()
    mean = draws.uniform(24, low=-30, high=290)
    width = draws.uniform(24, low=12.0, high=13.0)
    right, mistakes = _levels(level, mean, width)
    equal(
        "log mass of levels under a curve with a log scale of 12 to 13 (does "
        "1 - exp(-v) lose its digits where v is small? expm1 keeps them)",
        mass(level, mean, width),
        right,
        mistakes,
    )
    level = draws.whole(0, 256, 40).float()
    level[0], level[1] = 0, 255
    mean = (level + 8 * draws.normal(40)).requires_grad_()
    width = draws.uniform(40, low=0.0, high=3.0).requires_grad_()
    _, found = mass.gradients(level, mean, width)
    m, s = (p.detach().double().requires_grad_() for p in (mean, width))
    right, _ = _levels(level, m, s)
    wanted = torch.autograd.grad(right.sum(), (m, s))
    for name, one, other in zip(("mean", "log_scale"), found, wanted):
        require(one is not None, f"no gradient reaches {name}")
        equal(f"the gradient by {name}", one, other, tolerance=1e-3)
    far = torch.tensor([0.0, 255.0, 9.0])
    mean = torch.tensor([250.0, 3.0, 240.0]).requires_grad_()
    width = torch.zeros(3).requires_grad_()
    _, found = mass.gradients(far, mean, width)
    equal(
        "the gradient by the mean, far from the level",
        found[0],
        torch.tensor([-1.0, 1.0, -1.0]),
        tolerance=1e-3,
    )


def _levels(
    level: Tensor, mean: Tensor, log_scale: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """The log mass in float64, and what mistakes give."""
    k, m, s = (one.double() for one in (level, mean, log_scale))
    s = s.exp()

    def between(half: float, s: Tensor = s) -> Tensor:
        above, below = (k - m + half) / s, (k - m - half) / s
        # sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - e^(b - a))
        gap = torch.log(-torch.expm1(-2 * half / s))
        return logsigmoid(above) + logsigmoid(-below) + gap

    def tails(inside: Tensor, half: float = 0.5, s: Tensor = s) -> Tensor:
        low = logsigmoid((0 + half - m) / s)
        high = logsigmoid(-(255 - half - m) / s)
        inside = torch.where(k == 0, low, inside)
        return torch.where(k == 255, high, inside)

    right = tails(between(0.5))
    t = (k - m) / s
    density = -t.abs() - s.log() - 2 * torch.log1p((-t.abs()).exp())
    root = (s.log() / 2).exp()
    mistakes = {
        "the outermost levels take the tails: all below 0.5, and all above "
        "254.5": between(0.5),
        "this is the density at the level; its mass is a difference of two "
        "sigmoids": density,
        "half a level on each side, not a whole one": tails(between(1.0), 1.0),
        "the scale is exp(log_scale)": tails(between(0.5, root), 0.5, root),
        "the tails are swapped: level 0 takes all that lies below": (
            torch.where(
                k == 0,
                logsigmoid((254.5 - m) / s),
                torch.where(k == 255, logsigmoid((m - 0.5) / s), right),
            )
        ),
        "this is minus the logarithm": -right,
        "this is the mass itself; take its logarithm": right.exp(),
        "one value for each pixel is asked for, not their sum": right.sum(-1),
    }
    return right.detach() if not right.requires_grad else right, mistakes


# --- the wrong density


@check()
def grey_area(
    draws: Draws, log_area: Student, read_the_figure: Student
) -> None:
    """Log of the integral of the wrong density, and what it does to a fit.

    Held against a sum over grey values in float64, at large logits and near
    0, where the formula is 0 / 0; and its gradient.
    """
    area = function("log_area", log_area)
    for logits in (
        draws.uniform(3, 5, low=-6, high=6),
        draws.uniform(9, low=-0.02, high=0.02),
        torch.tensor([0.0, 1e-6, -1e-6, 1e-4, -1e-4, 3e-3, -3e-3]),
        torch.tensor([90.0, -90.0, 700.0, -700.0, 20.0, -20.0]),
    ):
        right, mistakes = _areas(logits)
        equal("the log area", area(logits), right, mistakes, 2e-5)
    far = [draws.uniform(9, low=-5, high=5)]
    far += [draws.uniform(4, low=20, high=200), torch.tensor([0.0, 150.0])]
    small = draws.uniform(9, low=0.3, high=1) * (1 - 2 * draws.whole(0, 2, 9))
    small = small.double()
    # large slopes must not hide small ones; rounding would, in float32
    for logits, where in (
        (torch.cat(far), ""),
        (8e-3 * small, ", near 0 by itself"),
        (8e-4 * small, ", nearer to 0 by itself"),
    ):
        _, (slope,) = area.gradients(logits.requires_grad_())
        require(slope is not None, "no gradient reaches the logits")
        ell = logits.detach().double()
        # the mean grey value under the density, minus the sigmoid
        near = ell.abs() < 1e-4
        safe = torch.where(near, torch.ones_like(ell), ell)
        mean = torch.where(
            near, 0.5 + ell / 12, 1 / (1 - (-safe).exp()) - 1 / safe
        )
        equal(
            f"the gradient of the log area{where}",
            slope,
            mean - ell.sigmoid(),
            tolerance=1e-2 if where else 1e-3,
            near_zero=1e-7,
        )
    given = function("read_the_figure", read_the_figure)()
    require(
        isinstance(given, dict),
        f"read_the_figure: found {_brief(given)}, expected a dict with an "
        "answer for each of a, b, c, d and e",
    )
    choices(
        "read_the_figure",
        given,
        {
            "a": "true",
            "b": "false",
            "c": "true",
            "d": "cannot be told",
            "e": "false",
        },
        ("true", "false", "cannot be told"),
        "For each curve, look at where its highest point lies, and at which "
        "side of it falls faster. A figure of one pixel says nothing about "
        "what it does not show.",
    )


def _areas(logits: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Log of the integral by its series or its formula, in float64."""
    ell = logits.double()
    size = ell.abs()
    small = size < 1e-3
    safe = torch.where(small, torch.ones_like(size), size)
    # int p^x (1 - p)^(1 - x) dx = (2 p - 1) / logit = tanh(l / 2) / l
    exact = (safe / 2).tanh().log() - safe.log()
    right = torch.where(small, -math.log(2) - ell.square() / 12, exact)
    p = ell.sigmoid()
    mistakes = {
        "this is minus the log area, the term of the continuous Bernoulli": (
            -right
        ),
        "this is the area; take its logarithm": right.exp(),
        "the argument is the logit, not p": _area_of_p(ell),
        "the numerator is 2 p - 1": right + math.log(2),
        "the logit is missing below": (safe / 2).tanh().log(),
        "divide by the logit, log p - log (1 - p)": (
            (safe / 2).tanh().log() - p.log().abs().clamp_min(1e-9).log()
        ),
        "one value for each logit, not their mean": right.mean(),
    }
    return right, mistakes


def _area_of_p(p: Tensor) -> Tensor:
    p = p.clamp(1e-4, 1 - 1e-4)
    return ((2 * p - 1) / (p.log() - (1 - p).log())).abs().log()


# --- a learned prior


@check()
def mixture_prior(
    draws: Draws, mixture_log_density: Student, draw_codes: Student
) -> None:
    """The log density of a mixture of normals, and codes drawn from it.

    Held against MixtureSameFamily in float64, far away too, with gradients;
    the draws against the shares, means, spreads and correlations of their
    components.
    """
    density = function("mixture_log_density", mixture_log_density)
    for b, m, n_latent, away in (
        (6, 4, 3, 0.0),
        (1, 1, 1, 0.0),
        (3, 3, 3, 0.0),
        (5, 2, 4, 60.0),
        (2, 7, 2, 0.0),
    ):
        parts = _mixture(draws, m, n_latent)
        z = 1.5 * draws.normal(b, n_latent) + away
        right, mistakes = _mixture_and_mistakes(z, *parts)
        what = "the log density" + (" far away" if away else "")
        equal(what, density(z, *parts), right, mistakes)
    # components that lie so far apart that one alone counts
    parts = _mixture(draws, 3, 2, 40.0)
    z = parts[1] + draws.normal(3, 2)
    right, mistakes = _mixture_and_mistakes(z, *parts)
    equal("the log density", density(z, *parts), right, mistakes)
    # weights that a softmax rounds to 0, of components farther apart still
    logits, mu, logvar = _mixture(draws, 3, 2)
    logits = logits + torch.tensor([0.0, -150.0, -250.0])
    mu = mu + torch.tensor([[0.0, 0.0], [150.0, 0.0], [0.0, 150.0]])
    z = mu + draws.normal(3, 2)
    right, mistakes = _mixture_and_mistakes(z, logits, mu, logvar)
    what = "the log density where weights are as small as e^-250 (a softmax "
    what += "rounds to 0 there: take log_softmax)"
    equal(what, density(z, logits, mu, logvar), right, mistakes)
    inputs = [draws.normal(4, 3), *_mixture(draws, 5, 3)]
    inputs = [one.clone().requires_grad_() for one in inputs]
    _, found = density.gradients(*inputs)
    exact = [one.detach().double().requires_grad_() for one in inputs]
    total = _as_mixture(*exact[1:]).log_prob(exact[0]).sum()
    names = ("z", "logits", "mu", "logvar")
    for name, one, right in zip(
        names, found, torch.autograd.grad(total, exact)
    ):
        require(one is not None, f"no gradient reaches {name}")
        equal(f"the gradient by {name}", one, right, tolerance=1e-3)
    _draws_are_right(draws, function("draw_codes", draw_codes))


def _mixture(
    draws: Draws, m: int, n_latent: int, apart: float = 1.5
) -> tuple[Tensor, Tensor, Tensor]:
    """Logits that do not add up to anything, means and log variances."""
    return (
        draws.normal(m) + float(draws.uniform(low=-300, high=300)),
        apart * draws.normal(m, n_latent),
        draws.uniform(m, n_latent, low=-1.5, high=1.0),
    )


def _as_mixture(logits: Tensor, mu: Tensor, logvar: Tensor):
    parts = Independent(Normal(mu, (logvar / 2).exp()), 1)
    return MixtureSameFamily(Categorical(logits=logits), parts)


def _mixture_and_mistakes(
    z: Tensor, logits: Tensor, mu: Tensor, logvar: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """The log density by torch.distributions, and what mistakes give."""
    z, logits, mu, logvar = (t.double() for t in (z, logits, mu, logvar))
    right = _as_mixture(logits, mu, logvar).log_prob(z)
    weights = logits.log_softmax(0)
    whole_row = z[:, None, :]

    def log_prob(sigma: Tensor) -> Tensor:
        return Normal(mu, sigma).log_prob(whole_row)

    each = log_prob((logvar / 2).exp())  # (B, M, L)
    rows = each.sum(-1)
    return right, {
        "the weights do not enter": rows.logsumexp(-1) - math.log(len(mu)),
        "the weights do not enter, and nothing divides by their number": (
            rows.logsumexp(-1)
        ),
        "the logits are no log weights yet: take log_softmax": (
            (rows + logits).logsumexp(-1)
        ),
        "add up the dimensions before you mix: a mixture of each dimension "
        "for itself is another one": (
            (each + weights[:, None]).logsumexp(1).sum(-1)
        ),
        "sum the log densities of the dimensions": (
            (each.mean(-1) + weights).logsumexp(-1)
        ),
        "this is the mean of the log densities; the density is a mean of "
        "densities": (rows * weights.exp()).sum(-1),
        "this is the sum of the log densities": (rows + weights).sum(-1),
        "this is the largest component alone": (rows + weights).amax(-1),
        "sigma is exp(logvar / 2), not exp(logvar)": (
            (log_prob(logvar.exp()).sum(-1) + weights).logsumexp(-1)
        ),
        "the logarithm of sigma is missing in the density of a component": (
            ((each + logvar / 2).sum(-1) + weights).logsumexp(-1)
        ),
        "a constant ln(2 pi) / 2 is missing for each dimension": (
            right + mu.shape[1] * math.log(2 * math.pi) / 2
        ),
        "softmax gives weights; a sum of logarithms needs log_softmax": (
            (rows + weights.exp()).logsumexp(-1)
        ),
        "you averaged over the codes as well": right.mean(),
    }


def _draws_are_right(draws: Draws, draw: Student) -> None:
    """Codes from components far apart, so that each tells where it is from."""
    tensor("one code", draw(1, *_mixture(draws, 3, 4)), (1, 4))
    for shares in ((0.6, 0.3, 0.1), (0.1, 0.9)):
        m, n, n_latent = len(shares), 9000, 3
        order = torch.randperm(m, generator=draws.generator)
        share = torch.tensor(shares)[order].double()
        logits = share.log().float() + draws.uniform(1, low=99, high=300)
        corner = torch.tensor([[0.0, 0, 0], [50, 0, -50], [0, 50, 50]])[:m]
        mu = corner + 3 * draws.normal(m, n_latent)
        logvar = draws.uniform(m, n_latent, low=-2.5, high=1.5)
        z, again = (
            tensor("codes", draw(n, logits, mu, logvar), (n, n_latent))
            for _ in range(2)
        )
        require(
            not torch.equal(z, again),
            "draw_codes: two calls draw the same codes: take out the seed",
        )
        sigma = (logvar.double() / 2).exp()
        off = (z[:, None] - mu) / sigma  # (n, M, L)
        which = off.square().sum(-1).argmin(1)
        own = off[torch.arange(n), which]
        # shares that are a little off show in more codes only
        many = tensor(
            "codes", draw(4 * n, logits, mu, logvar), (4 * n, n_latent)
        )
        parts = ((many[:, None] - mu) / sigma).square().sum(-1).argmin(1)
        require(
            float((z[:, None] - mu).abs().amax(-1).amin(1).max()) < 16,
            "draw_codes: some codes lie far from every component. Draw one "
            "component for the whole code, and do not average them",
        )
        for half in parts.chunk(2):
            found = torch.bincount(half, minlength=m) / len(half)
            worst = int((found - share).abs().argmax())
            # of standard errors
            off = (found - share) / (share * (1 - share) / len(half)).sqrt()
            require(
                float(off.abs().max()) < 5.5,
                f"draw_codes: {float(found[worst]):.0%} of the codes in one "
                f"half of the rows are from component {worst}, expected "
                f"{float(share[worst]):.0%}. Each code draws its component, "
                "with the weights as probabilities",
            )
        for k in range(m):
            rows = own[which == k]
            spread = rows.std(0)
            slack = 7 / math.sqrt(len(rows))
            require(
                float(rows.mean(0).abs().max()) < slack,
                f"draw_codes: the codes of component {k} are not around its "
                "mean",
            )
            require(
                float((spread - 1).abs().max()) < slack,
                f"draw_codes: the codes of component {k} have "
                f"{float(spread[(spread - 1).abs().argmax()]):.2g} times the "
                "spread that they should have. Sigma is exp(logvar / 2)",
            )
            both = rows.T @ rows / len(rows) - torch.eye(n_latent)
            both.fill_diagonal_(0)
            require(
                float(both.abs().max()) < slack,
                "draw_codes: the dimensions of a code share their noise",
            )
        standard_normal("draw_codes", own)
    _few(draw, mu, logvar)


def _few(draw: Student, mu: Tensor, logvar: Tensor) -> None:
    """Refuse codes that are drawn otherwise where they are few."""
    n = 300
    for few in (1, 2):
        parts = torch.zeros(2), mu, logvar
        shape = (few, mu.shape[1])
        z = torch.stack(
            [tensor("codes", draw(few, *parts), shape) for _ in range(n)]
        )
        off = (z[:, :, None] - mu) / (logvar.double() / 2).exp()
        which = off.square().sum(-1).argmin(-1)  # (n, few)
        side = 2.0 * which - 1
        balance = torch.cat([side.mean(0), side.prod(1).mean()[None]])
        require(
            float(balance.abs().max()) < 5.6 / math.sqrt(n),
            f"draw_codes, n = {few}: two components of the same weight do not "
            "come as often, and independently. Each code draws its component "
            "by chance",
        )
        own = off.take_along_dim(which[..., None, None], 2)
        standard_normal(f"draw_codes, n = {few}", own.flatten(1))


# --- a VAE from a blank cell


def probe_vae(
    build: Callable, n_latent: int, x: Tensor, noise: Tensor
) -> dict[str, object]:
    """What a module of the student says, and what follows by definition.

    Args:
        build: makes the module from the size of its code.
        n_latent: L.
        x: binary pictures, (B, 1, 28, 28).
        noise: (B, L).

    Returns:
        Plain values to be judged elsewhere; "kind" alone if it is no module.

    Example:
        >>> probe_vae(lambda n: 3, 2, torch.zeros(1), torch.zeros(1))
        {'kind': 'int'}
    """
    model = build(n_latent)
    if not isinstance(model, nn.Module):
        return {"kind": type(model).__name__}
    other = build(n_latent)
    if other is model:
        return {"kind": "one module for all calls"}
    mine = {id(p) for p in model.parameters()}
    if any(id(p) in mine for p in other.parameters()):
        return {"kind": "module that shares weights with the one before"}
    for name in ("encode", "decode"):
        if not callable(getattr(model, name, None)):
            return {"lacks": name}
    model.eval()  # dropout and batch norm must not blur the comparison
    leaves = [p for p in model.parameters() if p.requires_grad]
    if not leaves:
        return {"lacks": "parameters"}
    code = model.encode(x)
    if not isinstance(code, tuple | list) or len(code) != 2:
        return {"code": type(code).__name__}
    mu, logvar = code
    told: dict[str, object] = {
        "n_weights": sum(p.numel() for p in leaves),
        "frozen": [
            name
            for name, p in model.named_parameters()
            if p.dim() > 1 and not p.requires_grad
        ],
        "mu": mu.detach(),
        "logvar": logvar.detach(),
    }
    if mu.shape != noise.shape or logvar.shape != noise.shape:
        return told
    _practise(model, leaves, x)
    mu, logvar = model.encode(x)
    found = model(x, noise)
    told |= {
        "mu": mu.detach(),
        "logvar": logvar.detach(),
        "learn": [v.requires_grad for v in (mu, logvar, model.decode(noise))],
        "loss": found.detach() if isinstance(found, Tensor) else found,
    }
    sigma = (0.5 * logvar).exp()
    codes = {
        "": mu + sigma * noise,
        "mu": mu,
        "variance": mu + sigma.square() * noise,
        "noise": noise.clone().requires_grad_(),
        "minus": mu - sigma * noise,
    }
    drawn = {k: model.decode(z) for k, z in codes.items()}
    told |= {f"logits {k}": v.detach() for k, v in drawn.items()}
    if drawn[""].numel() != x.numel():
        return told
    (reached,) = (
        torch.autograd.grad(
            drawn["noise"].sum(),
            codes["noise"],
            retain_graph=True,
            allow_unused=True,
        )
        if drawn["noise"].requires_grad
        else (None,)
    )
    told["reached"] = reached is not None
    told["alone"] = model(x[:1], noise[:1]).detach().reshape(-1)
    own = _loss_of(mu, logvar, drawn[""], x)
    if isinstance(found, Tensor) and found.requires_grad:
        told["gradients"] = _compared(model, leaves, found, own)
    given = noise.clone().requires_grad_()
    total = model.train()(x, given).sum()
    if total.requires_grad:
        (slope,) = torch.autograd.grad(total, given, allow_unused=True)
        told["noise used"] = slope is not None and bool(slope.any())
    model.eval()
    # with all that can be learned at 0, nothing can tell digits apart
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
        told["blank code"] = torch.cat(list(model.encode(x)), 1)
        told["blank picture"] = model.decode(noise).flatten(1)
    return told


def _loss_of(mu: Tensor, logvar: Tensor, logits: Tensor, x: Tensor) -> Tensor:
    """The loss by torch.distributions, (B,)."""
    q = Normal(mu, (logvar / 2).exp())
    pixels = Bernoulli(logits=logits.reshape(len(x), -1))
    kl = kl_divergence(q, Normal(0.0, 1.0)).sum(-1)
    return kl - pixels.log_prob(x.flatten(1)).sum(-1)


def _practise(model: nn.Module, leaves: list, x: Tensor) -> None:
    """Some steps on the right loss, until the KL is some nats.

    A new network has a KL near 0, so that any mistake in it would be small.
    """
    adam = torch.optim.Adam(leaves, lr=5e-3)
    for _ in range(40):
        mu, logvar = model.encode(x)
        z = mu + (logvar / 2).exp() * torch.randn_like(mu)
        logits = model.decode(z)
        loss = _loss_of(mu, logvar, logits, x).sum()
        if logits.numel() != x.numel() or not loss.requires_grad:
            return
        adam.zero_grad()
        loss.backward()
        adam.step()
    adam.zero_grad()


def _compared(
    model: nn.Module, leaves: list, found: Tensor, right: Tensor
) -> list[list]:
    """Of each parameter: name, largest difference, and sizes of both."""
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    both = [
        [
            torch.zeros_like(p) if g is None else g
            for p, g in zip(
                leaves,
                torch.autograd.grad(
                    total.sum(), leaves, retain_graph=True, allow_unused=True
                ),
            )
        ]
        for total in (found, right)
    ]
    return [
        [name, *(float(v.abs().max()) for v in (one - other, one, other))]
        for name, one, other in zip(names, *both)
    ]


@check(seconds=60)
def build_vae(draws: Draws, build_vae: Student) -> str:
    """A VAE of the student's own: any network, held to the definitions.

    What its encoder and decoder emit is put into Normal and Bernoulli of
    torch.distributions; its loss, and the gradients by all it learns, must
    be those that follow.
    """
    build = function("build_vae", build_vae)
    n_weights = 0
    for n_latent, rows in ((3, 5), (8, 3), (1, 4)):
        x = draws.digits(rows).x()
        noise = 1.3 * draws.normal(rows, n_latent)
        told = build.through(probe_vae, n_latent, x, noise)
        require(isinstance(told, dict), "build_vae: nothing came back")
        _is_a_vae(told, rows, n_latent)
        require(
            told["reached"],
            "decode: no gradient passes from the pixels to the code, so the "
            "encoder cannot learn to describe them. Look for detach()",
        )
        for what, learns in zip(("mu", "logvar", "decode"), told["learn"]):
            require(learns, f"build_vae: nothing of {what} can be learned")
        for name in told["frozen"]:
            raise WrongError(
                f"build_vae: {name} cannot learn, since its requires_grad is "
                "False. Leave all weights free"
            )
        logits = tensor("the logits", told["logits "]).reshape(rows, -1)
        parts = _own_loss(told, x, noise, logits)
        right = parts.pop("")
        equal("the loss", told["loss"], right, parts, 1e-4)
        equal(
            "the loss of a digit alone (it must not depend on the others of "
            "its batch)",
            told["alone"],
            right[:1],
            tolerance=1e-3,
        )
        require(
            "gradients" in told,
            "no gradient flows from the loss: look for detach(), item(), "
            "no_grad() or NumPy in forward",
        )
        largest = max(row[3] for row in told["gradients"])
        for name, off, one, other in told["gradients"]:
            require(
                off <= 2e-3 * max(1e-2 * largest, other),
                f"the gradient by {name} is not that of the loss: its largest "
                f"value is {one:.3g}, expected {other:.3g}. Is something "
                "detached, or used twice?",
            )
        require(
            told.get("noise used"),
            "in training mode the loss does not depend on the noise that is "
            "given, so its code is not mu + sigma noise. Use it in both modes",
        )
        n_weights = told["n_weights"]
    return f"right: a VAE with {n_weights:,} numbers to learn"


def _is_a_vae(told: dict, rows: int, n_latent: int) -> None:
    """Refuse what has not the parts of a VAE, or parts that do nothing."""
    require(
        "kind" not in told,
        f"build_vae: found {told.get('kind')}, expected a new nn.Module. Does "
        "your function end in return, and is the class called?",
    )
    lacks = told.get("lacks")
    require(
        lacks != "parameters",
        "build_vae: the module has no parameters. Layers in a plain list are "
        "not found; use nn.ModuleList or nn.Sequential",
    )
    require(lacks is None, f"build_vae: the module has no method {lacks}")
    require(
        "code" not in told,
        f"encode: return mu and logvar, two tensors; found {told.get('code')}",
    )
    for name in ("mu", "logvar"):
        value = tensor(name, told[name], (rows, n_latent))
        spread = (value - value[:1]).abs().max()
        require(
            float(spread) > 1e-7,
            f"{name} is the same for all digits: does the encoder read x?",
        )
    require(
        not torch.equal(told["mu"], told["logvar"]),
        "mu and logvar are the same numbers: each needs outputs of its own",
    )
    for name in ("logits ", "logits mu", "logits noise"):
        size = tensor("what decode returns", told[name]).numel()
        require(
            size == rows * 784,
            f"decode: found {size} numbers for {rows} codes, expected "
            f"{rows} x 784, a logit for each pixel",
        )
    off = (told["logits "] - told["logits mu"]).abs().max()
    require(
        float(off) > 1e-7,
        "decode gives the same picture for every code: does it read z?",
    )
    for name, what in (("blank code", "encode"), ("blank picture", "decode")):
        spread = (told[name] - told[name][:1]).abs().max()
        require(  # where 0 / 0 stands, nothing can be said
            not float(spread) >= 1e-6,
            f"{what}: with all parameters at 0 its result still depends on "
            "its input, so some of its layers are not among the parameters, "
            "and an optimiser would not train them. Layers in a plain list "
            "are not found; use nn.ModuleList or nn.Sequential",
        )


def _own_loss(
    told: dict, x: Tensor, noise: Tensor, logits: Tensor
) -> dict[str, Tensor]:
    """The loss by definition from what the networks emit, and mistakes."""
    rows = len(x)
    mu, logvar = (told[k].double() for k in ("mu", "logvar"))
    kl = kl_divergence(Normal(mu, (logvar / 2).exp()), Normal(0.0, 1.0))
    pixels = x.flatten(1).double()

    def nll(z: str) -> Tensor:
        out = told[f"logits {z}"].double().reshape(rows, -1)
        return -Bernoulli(logits=out).log_prob(pixels)

    error = nll("")
    right = error.sum(-1) + kl.sum(-1)
    parts = {
        "": right,
        "the pixels are averaged, the latent dimensions summed. Sum both": (
            error.mean(-1) + kl.sum(-1)
        ),
        "the KL is averaged over the latent dimensions; sum it": (
            error.sum(-1) + kl.mean(-1)
        ),
        "pixels and latent dimensions are averaged; sum both": (
            error.mean(-1) + kl.mean(-1)
        ),
        "the KL is missing": error.sum(-1),
        "the reconstruction is missing": kl.sum(-1),
        "the factor one half of the KL is missing": right + kl.sum(-1),
        "the sign of the KL": error.sum(-1) - kl.sum(-1),
        "this is the ELBO; the loss is its negative": -right,
        "one value for each digit, not their mean": right.mean(),
        "one value for each digit, not their sum": right.sum(),
    }
    causes = {
        "mu": "the code is mu; draw it, mu + sigma noise",
        "variance": "sigma is exp(logvar / 2), not exp(logvar)",
        "noise": "the noise was used as the code: mu and sigma are missing",
        "minus": "the code is mu + sigma noise, with the noise that is given",
    }
    for z, text in causes.items():
        parts[text] = nll(z).sum(-1) + kl.sum(-1)
    if float(logits.min()) >= 0 and float(logits.max()) <= 1:
        p = logits.clamp(1e-7, 1 - 1e-7)
        own = -(pixels * p.log() + (1 - pixels) * (1 - p).log()).sum(-1)
        parts["decode returns probabilities; it should return logits"] = (
            own + kl.sum(-1)
        )
        parts["the squared error is no log-likelihood of binary pixels"] = (
            pixels - logits
        ).square().sum(-1) + kl.sum(-1)
    p = logits.sigmoid()
    parts["this has the squared error; use the cross-entropy"] = (
        pixels - p
    ).square().sum(-1) + kl.sum(-1)
    return parts
