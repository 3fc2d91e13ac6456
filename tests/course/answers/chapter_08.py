"""Answers to the exercises of chapter 8."""

import math

import numpy as np
import torch
from torch import nn
from torch.distributions import Normal
from torch.nn import functional
from torch.nn.functional import logsigmoid

from answers import right, wrong


def accept(exercise, text, **objects):
    @right(exercise, text)
    def several():
        return objects


def refuse(exercise, text, says, **objects):
    @wrong(exercise, text, says=says)
    def several():
        return objects


# --- conv_sizes --------------------------------------------------------------


def side(n, kernel, stride, padding):
    return (n + 2 * padding - kernel) // stride + 1


def shape_by(size, channels=lambda before, after: after, turn=False):
    def output_shape(shape, layers):
        c, h, w = shape
        for after, *window in layers:
            c, h, w = channels(c, after), size(h, *window), size(w, *window)
        return (c, w, h) if turn else (c, h, w)

    return output_shape


plain_shape = shape_by(side)


def count_by(
    bias=True, dense_bias=True, dense=True, reads=lambda first, before: before
):
    def numbers_to_learn(shape, layers, n_code):
        total, before = 0, shape[0]
        for after, kernel, *_ in layers:
            total += after * reads(shape[0], before) * kernel**2
            total += bias * after
            before = after
        numbers = math.prod(plain_shape(shape, layers))
        return total + dense * n_code * (numbers + dense_bias)

    return numbers_to_learn


def conv_sizes(first=plain_shape, second=None):
    return {
        "output_shape": first,
        "numbers_to_learn": second or count_by(),
    }


@wrong("conv_sizes", "two places at least", says="output_shape")
def several():
    return conv_sizes(shape_by(lambda *window: max(2, side(*window))))


@right("conv_sizes", "the formula, side by side")
def several():
    return conv_sizes()


@right("conv_sizes", "the layers of PyTorch, and their parameters")
def several():
    def net(shape, layers):
        channels = [shape[0], *(one[0] for one in layers)]
        return nn.Sequential(
            *(
                nn.Conv2d(before, after, k, stride=s, padding=p)
                for before, (after, k, s, p) in zip(channels, layers)
            )
        )

    def output_shape(shape, layers):
        return net(shape, layers)(torch.zeros(1, *shape)).shape[1:]

    def numbers_to_learn(shape, layers, n_code):
        numbers = math.prod(output_shape(shape, layers))
        parts = (net(shape, layers), nn.Linear(numbers, n_code))
        return sum(p.numel() for part in parts for p in part.parameters())

    return conv_sizes(output_shape, numbers_to_learn)


@right("conv_sizes", "by counting the places where the window stands")
def several():
    def places(n, kernel, stride, padding):
        return len(range(0, n + 2 * padding - kernel + 1, stride))

    return conv_sizes(lambda s, layers: list(shape_by(places)(s, layers)))


@right("conv_sizes", "a tensor and a float")
def several():
    return conv_sizes(
        lambda shape, layers: torch.tensor(plain_shape(shape, layers)),
        lambda *given: float(count_by()(*given)),
    )


for _text, _says, _side in (
    (
        "rounds up",
        "round down",
        lambda n, k, s, p: -((k - n - 2 * p) // s) + 1,
    ),
    ("rounds", "found", lambda n, k, s, p: round((n + 2 * p - k) / s) + 1),
    ("padding on one side", "both", lambda n, k, s, p: (n + p - k) // s + 1),
    ("forgets to add 1", "add 1", lambda n, k, s, p: (n + 2 * p - k) // s),
    ("ignores the padding", "enter", lambda n, k, s, p: (n - k) // s + 1),
    ("a window of one", "wider", lambda n, k, s, p: (n + 2 * p - 1) // s + 1),
    ("the stride alone", "(6, 15, 12)", lambda n, k, s, p: -(-n // s)),
    ("halves each time", "found", lambda n, k, s, p: n // 2),
    ("ignores the stride", "stride", lambda n, k, s, p: n + 2 * p - k + 1),
    ("transposed", "found", lambda n, k, s, p: (n - 1) * s - 2 * p + k),
    ("a fraction", "found", lambda n, k, s, p: (n + 2 * p - k) / s + 1),
    (
        "pads by half",
        "found",
        lambda n, k, s, p: (n + k // 2 * 2 - k) // s + 1,
    ),
):
    refuse("conv_sizes", _text, _says, **conv_sizes(shape_by(_side)))
for _text, _says, _first in (
    ("swaps the sides", "then height", shape_by(side, turn=True)),
    ("keeps the channels", "last layer", shape_by(side, lambda c, a: c)),
    ("adds the channels", "found", shape_by(side, lambda c, a: c + a)),
    (
        "square pictures only",
        "found",
        lambda s, layers: plain_shape((s[0], s[1], s[1]), layers),
    ),
    ("the first layer only", "found", lambda s, ls: plain_shape(s, ls[:1])),
    ("sides alone", "shape", lambda s, layers: plain_shape(s, layers)[1:]),
    ("a loop that returns nothing", "return", lambda s, layers: None),
):
    refuse("conv_sizes", _text, _says, **conv_sizes(_first))
for _text, _says, _second in (
    ("no bias", "biases are missing", count_by(bias=False, dense_bias=False)),
    ("no bias of the convolutions", "has a bias", count_by(bias=False)),
    ("no bias of the linear layer", "linear", count_by(dense_bias=False)),
    ("no linear layer", "layer is missing", count_by(dense=False)),
    ("one input channel", "reads all", count_by(reads=lambda f, b: 1)),
    ("the picture's channels", "not those", count_by(reads=lambda f, b: f)),
    (
        "twice what is emitted",
        "found",
        lambda s, ls, n: count_by()(s, ls, 2 * n),
    ),
    ("all as linear layers", "found", lambda s, ls, n: math.prod(s) * n + n),
    (
        "weights of each place",
        "found",
        lambda s, ls, n: sum(
            math.prod(plain_shape(s, ls[: i + 1])) for i in range(len(ls))
        ),
    ),
):
    refuse("conv_sizes", _text, _says, **conv_sizes(second=_second))


# --- moves_along -------------------------------------------------------------


def places(pixels, strides):
    total = math.prod(strides)
    return None if pixels % total else pixels // total


def misfit_by(gap=None, over=None, crop=True, sign=1, turn=False):
    def misfit(before, after, move):
        down, right = (sign * n for n in (move[::-1] if turn else move))
        _, h, w = before.shape
        moved = torch.roll(before, (down, right), (1, 2))
        if crop:
            rows = slice(max(down, 0), h + min(down, 0))
            columns = slice(max(right, 0), w + min(right, 0))
            change = (after - moved)[:, rows, columns]
        else:
            change = after - moved
        size = before.abs().max() if over is None else over(before, after)
        change = change.abs().max() if gap is None else gap(change)
        return change / size

    return misfit


def moves_along(first=places, second=None):
    return {"places_moved": first, "misfit": second or misfit_by()}


accept("moves_along", "one product, and slices", **moves_along())
refuse(
    "moves_along",
    "the first two strides alone",
    "expected",
    **moves_along(lambda pixels, strides: places(pixels, strides[:2])),
)


@right("moves_along", "layer by layer, and a loop over the places")
def several():
    def layer_by_layer(pixels, strides):
        for stride in strides:
            if pixels % stride:
                return None
            pixels //= stride
        return pixels

    def loop(before, after, move):
        b, a = before.numpy(), after.numpy()
        most = 0.0
        for r in range(b.shape[1]):
            for c in range(b.shape[2]):
                y, x = r + move[0], c + move[1]
                if 0 <= y < b.shape[1] and 0 <= x < b.shape[2]:
                    most = max(most, np.abs(a[:, y, x] - b[:, r, c]).max())
        return most / np.abs(b).max()

    return moves_along(layer_by_layer, loop)


@right("moves_along", "a mask over all places, whole numbers as floats")
def several():
    def whole(pixels, strides):
        found = pixels / math.prod(strides)
        return found if found == int(found) else None

    def masked(before, after, move):
        inside = torch.roll(torch.ones_like(before), tuple(move), (1, 2))
        if move[0] > 0:
            inside[:, : move[0]] = 0
        if move[0] < 0:
            inside[:, move[0] :] = 0
        if move[1] > 0:
            inside[:, :, : move[1]] = 0
        if move[1] < 0:
            inside[:, :, move[1] :] = 0
        change = after - torch.roll(before, tuple(move), (1, 2))
        return float((change * inside).abs().max() / before.abs().max())

    return moves_along(whole, masked)


def product(pixels, strides):
    return pixels // math.prod(strides)


for _text, _says, _first in (
    ("rounds down", "no whole number", product),
    ("rounds", "whole number", lambda n, s: round(n / math.prod(s))),
    (
        "rounds what is nearly whole",
        "no whole number",
        lambda n, s: places(10 * round(n / math.prod(s), 1), [10]),
    ),
    ("a fraction", "no whole number", lambda n, s: n / math.prod(s)),
    ("the move itself", "found", lambda n, s: n),
    ("the last stride", "found", lambda n, s: places(n, s[-1:])),
    ("the first stride", "found 9", lambda n, s: places(n, s[:1])),
    ("0 for no layers", "found 0", lambda n, s: places(n, s) if s else 0),
    ("adds the strides", "found", lambda n, s: places(n, [sum(s) or 1])),
    ("the size of the move", "found", lambda n, s: places(abs(n), s)),
    ("rounds a move to the left", "found", lambda n, s: int(n / math.prod(s))),
    ("False for None", "found", lambda n, s: places(n, s) or False),
    ("None for no move", "found", lambda n, s: places(n, s) or None),
    ("always four pixels", "found", lambda n, s: places(n, [4])),
    ("halves for each layer", "found", lambda n, s: places(n, [2] * len(s))),
    (
        "layers that do not divide are left out",
        "found",
        lambda n, s: places(n, [one for one in s if n % one == 0]),
    ),
):
    refuse("moves_along", _text, _says, **moves_along(_first))
for _text, _says, _second in (
    ("wraps round", "both maps show", misfit_by(crop=False)),
    (
        "the mean change",
        "largest is asked",
        misfit_by(lambda d: d.abs().mean()),
    ),
    ("squared", "found", misfit_by(lambda d: d.square().max())),
    ("not absolute", "absolute", misfit_by(lambda d: d.max())),
    ("not relative", "divide by", misfit_by(over=lambda b, a: 1.0)),
    (
        "over the new map",
        "not of the new",
        misfit_by(over=lambda b, a: a.abs().max()),
    ),
    (
        "over the largest, with its sign",
        "in size",
        misfit_by(over=lambda b, a: b.max()),
    ),
    ("over the mean", "found", misfit_by(over=lambda b, a: b.abs().mean())),
    (
        "over the new places' largest",
        "a move by (0, 1): found",
        lambda b, a, move: misfit_by(
            over=lambda b, a: (
                b[:, max(move[0], 0) :, max(move[1], 0) :].abs().max()
            )
        )(b, a, move),
    ),
    ("the other way", "found", misfit_by(sign=-1)),
    ("right before down", "found", misfit_by(turn=True)),
    ("no move", "found", lambda b, a, move: misfit_by()(b, a, (0, 0))),
    (
        "one channel",
        "found",
        lambda b, a, move: misfit_by()(b[:1], a[:1], move),
    ),
    (
        "a value for each channel",
        "found",
        misfit_by(lambda d: d.abs().amax((1, 2))),
    ),
    (
        "cuts one place off",
        "found",
        lambda b, a, move: misfit_by()(
            b[:, 1:-1, 1:-1], a[:, 1:-1, 1:-1], move
        ),
    ),
    (
        "moves to the right only",
        "found",
        lambda b, a, move: misfit_by()(
            b, a, (max(move[0], 0), max(move[1], 0))
        ),
    ),
):
    refuse("moves_along", _text, _says, **moves_along(second=_second))


@wrong("moves_along", "damages the old map", says="in place")
def several():
    def misfit(before, after, move):
        found = misfit_by()(before, after, move)
        before -= after
        return found

    return moves_along(second=misfit)


# --- level_log_mass ----------------------------------------------------------


def mass_by(
    half=0.5,
    scale=torch.exp,
    low=0,
    high=255,
    tails=True,
    sign=1,
    expm1=torch.expm1,
):
    def level_log_mass(level, mean, log_scale):
        s = scale(log_scale)
        above, below = (level - mean + half) / s, (level - mean - half) / s
        width = torch.log(-expm1(-2 * half / s))
        nats = logsigmoid(above) + logsigmoid(-below) + width
        if tails:
            nats = torch.where(level <= low, logsigmoid(above), nats)
            nats = torch.where(level >= high, logsigmoid(-below), nats)
        return sign * nats

    return level_log_mass


right("level_log_mass", "a difference of sigmoids, by their logarithms")(
    mass_by()
)


@right("level_log_mass", "log of 1 minus a ratio, float64")
def _(level, mean, log_scale):
    level, mean, s = level.double(), mean.double(), log_scale.double().exp()
    above, below = (level - mean + 0.5) / s, (level - mean - 0.5) / s
    above = torch.where(level == 255, torch.full_like(above, 1e9), above)
    below = torch.where(level == 0, torch.full_like(below, -1e9), below)
    # the side on which both sigmoids are small
    turn = (above + below > 0).double() * -2 + 1
    up = torch.where(turn > 0, above, -below)
    down = torch.where(turn > 0, below, -above)
    gap = (logsigmoid(down) - logsigmoid(up)).clamp(max=-1e-300)
    return logsigmoid(up) + torch.log(-torch.expm1(gap))


@right("level_log_mass", "softplus, pixel by pixel of a flat list")
def _(level, mean, log_scale):
    rows = []
    for k, m, w in zip(level.flatten(), mean.flatten(), log_scale.flatten()):
        s = w.exp()
        below = -functional.softplus(-(k - m + 0.5) / s)
        above = -functional.softplus((k - m - 0.5) / s)
        if k == 0:
            rows.append(below)
        elif k == 255:
            rows.append(above)
        else:
            rows.append(below + above + torch.log(-torch.expm1(-1 / s)))
    return torch.stack(rows).view(level.shape)


def naive(clamp):
    def level_log_mass(level, mean, log_scale):
        s = log_scale.double().exp()
        above = ((level - mean + 0.5) / s).sigmoid()
        below = ((level - mean - 0.5) / s).sigmoid()
        above = torch.where(level == 255, torch.ones_like(above), above)
        below = torch.where(level == 0, torch.zeros_like(below), below)
        gap = above - below
        return (gap.clamp_min(clamp) if clamp else gap).log()

    return level_log_mass


def of_density(level, mean, log_scale):
    t = (level - mean) / log_scale.exp()
    return -t - log_scale - 2 * functional.softplus(-t)


def normal_mass(level, mean, log_scale):
    curve = Normal(mean.double(), log_scale.double().exp())
    gap = curve.cdf(level + 0.5) - curve.cdf(level - 0.5)
    return gap.clamp_min(1e-300).log()


def one_ended(level, mean, log_scale):
    nats = mass_by(tails=False)(level, mean, log_scale)
    tail = logsigmoid((level - mean + 0.5) / log_scale.exp())
    return torch.where(level == 0, tail, nats)


def swapped(level, mean, log_scale):
    other = torch.where(level == 0, torch.full_like(level, 255), level)
    other = torch.where(level == 255, torch.zeros_like(level), other)
    return mass_by()(other, mean, log_scale)


def no_gradient(level, mean, log_scale):
    return mass_by()(level, mean.detach(), log_scale.detach())


def one_detached(level, mean, log_scale):
    return mass_by()(level, mean, log_scale.detach())


def unit_range(level, mean, log_scale):
    return mass_by()(level / 255, mean / 255, log_scale)


for _text, _says, _made in (
    ("without the tails", "take the tails", mass_by(tails=False)),
    ("a tail for 0 only", "found", one_ended),
    ("the tails are swapped", "found", swapped),
    ("tails for two levels more", "found", mass_by(low=1, high=254)),
    ("a whole level each side", "half a level", mass_by(half=1.0)),
    ("a quarter of a level", "found", mass_by(half=0.25)),
    ("the density", "this is the density", of_density),
    ("a normal curve", "found", normal_mass),
    (
        "the log scale is halved",
        "exp(log_scale)",
        mass_by(scale=lambda w: (w / 2).exp()),
    ),
    ("the scale is inverted", "found", mass_by(scale=lambda w: (-w).exp())),
    (
        "a log scale of -7 or more",
        "log mass of levels",
        mass_by(scale=lambda w: w.clamp(min=-7).exp()),
    ),
    ("softplus for exp", "found", mass_by(scale=functional.softplus)),
    ("minus the logarithm", "minus the logarithm", mass_by(sign=-1)),
    ("sigmoids, then log", "infinite", naive(0)),
    ("clamps at 1e-12", "found", naive(1e-12)),
    ("clamps at 1e-30", "found", naive(1e-30)),
    ("exp, and 1 taken away", "expm1", mass_by(expm1=lambda v: v.exp() - 1)),
    ("levels from 0 to 1", "found", unit_range),
    ("both detached", "no gradient", no_gradient),
    ("the width is detached", "no gradient reaches log_scale", one_detached),
    ("the mass", "take its logarithm", lambda *given: mass_by()(*given).exp()),
    (
        "a sum over the pixels",
        "found",
        lambda *given: mass_by()(*given).sum(-1),
    ),
):
    wrong("level_log_mass", _text, says=_says)(_made)


# --- grey_area ---------------------------------------------------------------

READ = {
    "a": "true",
    "b": "false",
    "c": "true",
    "d": "cannot be told",
    "e": "false",
}


def area_by(near=1e-2, slope=-1 / 12):
    def log_area(logits):
        size = logits.abs()
        small = size < near
        safe = torch.where(small, torch.ones_like(size), size)
        far = torch.tanh(safe / 2).log() - safe.log()
        series = -math.log(2) + slope * logits.square()
        return torch.where(small, series, far)

    return log_area


def grey_area(first=None, second=READ):
    return {
        "log_area": first or area_by(),
        "read_the_figure": lambda: second,
    }


accept("grey_area", "tanh, and a series near 0", **grey_area())
refuse(
    "grey_area",
    "no gradient beyond 100",
    "the gradient",
    **grey_area(
        lambda v: torch.where(v > 100, area_by()(v).detach(), area_by()(v))
    ),
)


@right("grey_area", "expm1 of the size, in float64")
def several():
    def log_area(logits):
        size = logits.double().abs().clamp_min(1e-9)
        top = torch.log(-torch.expm1(-size)) - torch.log1p((-size).exp())
        found = top - size.log()
        # the gradient at 0 is 0, and the clamp has it so
        return found

    return grey_area(log_area, {k: v.upper() for k, v in READ.items()})


@right("grey_area", "a wide series, softplus and float32")
def several():
    def log_area(logits):
        size = logits.abs()
        near = size < 0.1
        safe = size.masked_fill(near, 1.0)
        exact = (
            (-torch.expm1(-safe)).log()
            - functional.softplus(-safe)
            - safe.log()
        )
        v = logits.masked_fill(~near, 0.0)
        series = -math.log(2) - v**2 / 12 + 7 * v**4 / 1440
        return exact.masked_fill(near, 0.0) + series.masked_fill(~near, 0.0)

    return grey_area(log_area, dict(reversed(READ.items())))


def by_p(clamp=0.0):
    def log_area(logits):
        p = logits.sigmoid()
        if clamp:
            p = p.clamp(clamp, 1 - clamp)
        return ((2 * p - 1) / (p.log() - (1 - p).log())).log()

    return log_area


def trap(logits):
    far = torch.tanh(logits / 2).log() - logits.log()
    negative = torch.tanh(-logits / 2).log() - (-logits).log()
    far = torch.where(logits < 0, negative, far)
    near = -math.log(2) - logits.square() / 12
    return torch.where(logits.abs() < 1e-2, near, far)


def of_sum(logits):
    x = torch.linspace(0, 1, 101)
    curve = x * logits[..., None] - functional.softplus(logits)[..., None]
    return torch.trapezoid(curve.exp(), x, dim=-1).log()


for _text, _says, _first in (
    ("as it is written", "log area", by_p()),
    ("p is clamped", "log area", by_p(1e-6)),
    ("p is clamped a little", "log area", by_p(1e-3)),
    ("0 / 0 where it is not used", "NaN", trap),
    ("a sum over 101 grey values", "found", of_sum),
    ("the term of the density", "minus the log area", lambda v: -area_by()(v)),
    ("the area", "take its logarithm", lambda v: area_by()(v).exp()),
    ("a constant half", "found", lambda v: torch.full_like(v, -math.log(2))),
    ("p for the logit", "found", lambda v: area_by()(v.sigmoid())),
    (
        "a constant up to 1",
        "found",
        lambda v: torch.where(
            v.abs() < 1, torch.full_like(v, -math.log(2)), area_by()(v)
        ),
    ),
    ("detached", "no gradient", lambda v: area_by()(v.detach())),
    ("a series that rises", "0 by itself", area_by(5e-3, 1 / 12)),
    ("half a series", "nearer to 0", area_by(1e-3, -1 / 24)),
    ("a constant near 0", "nearer to 0", area_by(1e-3, 0.0)),
    ("the mean of all", "found", lambda v: area_by()(v).mean()),
    ("capped at 88", "found", lambda v: area_by()(v.clamp(-88, 88))),
    (
        "without the logit below",
        "found",
        lambda v: torch.log(torch.tanh(v.abs().clamp_min(1e-3) / 2)),
    ),
):
    refuse("grey_area", _text, _says, **grey_area(_first))
for _text, _says, _second in (
    ("one answer is wrong", "not every answer", READ | {"e": "true"}),
    ("d is taken for true", "not every answer", READ | {"d": "true"}),
    ("b is taken for true", "not every answer", READ | {"b": "true"}),
    ("all true", "not every answer", dict.fromkeys("abcde", "true")),
    ("one is open", "not answered", {k: READ[k] for k in "abcd"}),
    ("yes and no", "expected one of", READ | {"a": "yes"}),
    ("a list", "expected a dict", list(READ.values())),
    ("truth values", "expected one of", READ | {"a": True}),
):
    refuse("grey_area", _text, _says, **grey_area(second=_second))


# --- mixture_prior -----------------------------------------------------------

LOG_2_PI = math.log(2 * math.pi)


def parts_of(z, mu, logvar):
    gap = (z[:, None] - mu).square() * (-logvar).exp()
    return -0.5 * (LOG_2_PI + logvar + gap)  # (B, M, L)


def log_density(z, logits, mu, logvar):
    rows = parts_of(z, mu, logvar).sum(-1)
    return (rows + logits.log_softmax(0)).logsumexp(-1)


def codes(n, logits, mu, logvar):
    which = logits.softmax(0).multinomial(n, replacement=True)
    return mu[which] + (logvar[which] / 2).exp() * torch.randn(n, mu.shape[1])


def mixture_prior(first=log_density, second=codes):
    return {"mixture_log_density": first, "draw_codes": second}


accept("mixture_prior", "logsumexp, and multinomial", **mixture_prior())


@right("mixture_prior", "torch.distributions")
def several():
    def made(logits, mu, logvar):
        own = torch.distributions
        return own.MixtureSameFamily(
            own.Categorical(logits=logits),
            own.Independent(own.Normal(mu, (logvar / 2).exp()), 1),
        )

    return mixture_prior(
        lambda z, *parts: made(*parts).log_prob(z),
        lambda n, *parts: made(*parts).sample((n,)),
    )


@right("mixture_prior", "component by component, and NumPy")
def several():
    def density(z, logits, mu, logvar):
        weights = logits - logits.logsumexp(0)
        total = None
        for w, m, v in zip(weights, mu, logvar):
            one = w + Normal(m, v.exp().sqrt()).log_prob(z).sum(-1)
            total = one if total is None else torch.logaddexp(total, one)
        return total

    def draw(n, logits, mu, logvar):
        p = logits.double().softmax(0).numpy()
        which = np.random.choice(len(p), n, p=p / p.sum())
        sigma = np.exp(logvar.numpy() / 2)
        noise = np.random.standard_normal((n, mu.shape[1]))
        return mu.numpy()[which] + sigma[which] * noise

    return mixture_prior(density, draw)


def with_rows(made):
    def density(z, logits, mu, logvar):
        return made(parts_of(z, mu, logvar), logits.log_softmax(0))

    return density


def average(rows, weights):
    return (rows.sum(-1) + weights).logsumexp(-1)


for _text, _says, _first in (
    (
        "equal weights",
        "do not enter",
        with_rows(lambda r, w: r.sum(-1).logsumexp(-1) - math.log(len(w))),
    ),
    (
        "no weights",
        "do not enter",
        with_rows(lambda r, w: r.sum(-1).logsumexp(-1)),
    ),
    (
        "logits as log weights",
        "found",
        lambda z, w, mu, v: average(parts_of(z, mu, v), w),
    ),
    (
        "the logarithm of a softmax",
        "take log_softmax",
        lambda z, w, mu, v: average(parts_of(z, mu, v), w.softmax(0).log()),
    ),
    (
        "a softmax and a small number",
        "take log_softmax",
        lambda z, w, mu, v: average(
            parts_of(z, mu, v), (w.softmax(0) + 1e-8).log()
        ),
    ),
    (
        "softmax as log weights",
        "found",
        with_rows(lambda r, w: average(r, w.exp())),
    ),
    (
        "mixes each dimension",
        "before you mix",
        with_rows(lambda r, w: (r + w[:, None]).logsumexp(1).sum(-1)),
    ),
    (
        "averages over dimensions",
        "found",
        with_rows(lambda r, w: (r.mean(-1) + w).logsumexp(-1)),
    ),
    (
        "the mean of logarithms",
        "mean of the log",
        with_rows(lambda r, w: (r.sum(-1) * w.exp()).sum(-1)),
    ),
    (
        "the nearest component",
        "largest component",
        with_rows(lambda r, w: (r.sum(-1) + w).amax(-1)),
    ),
    (
        "exp, sum, log",
        "infinite",
        with_rows(lambda r, w: ((r.sum(-1) + w).exp().sum(-1)).log()),
    ),
    (
        "exp, clamp, log",
        "found",
        with_rows(
            lambda r, w: (r.sum(-1) + w).exp().sum(-1).clamp_min(1e-30).log()
        ),
    ),
    (
        "exp(logvar) as sigma",
        "exp(logvar / 2)",
        lambda z, w, mu, v: log_density(z, w, mu, 2 * v),
    ),
    (
        "no log sigma",
        "logarithm of sigma",
        lambda z, w, mu, v: average(
            parts_of(z, mu, v) + v / 2, w.log_softmax(0)
        ),
    ),
    (
        "no constant",
        "constant ln(2 pi)",
        with_rows(lambda r, w: average(r + LOG_2_PI / 2, w)),
    ),
    (
        "softmax over the codes",
        "found",
        lambda z, w, mu, v: (
            parts_of(z, mu, v).sum(-1) + w.log_softmax(0)
        ).logsumexp(0),
    ),
    (
        "code i with component i",
        "mixture_log_density",
        lambda z, w, mu, v: Normal(mu, (v / 2).exp()).log_prob(z).sum(-1),
    ),
    ("the mean over the codes", "found", lambda *a: log_density(*a).mean()),
    (
        "one normal in its place",
        "found",
        lambda z, w, mu, v: (
            Normal(w.softmax(0) @ mu, (w.softmax(0) @ v.exp()).sqrt())
            .log_prob(z)
            .sum(-1)
        ),
    ),
    (
        "the weights are detached",
        "reaches logits",
        lambda z, w, mu, v: log_density(z, w.detach(), mu, v),
    ),
    (
        "the code is detached",
        "reaches z",
        lambda z, *rest: log_density(z.detach(), *rest),
    ),
    ("without gradients", "no gradient", torch.no_grad()(log_density)),
    (
        "the weights by exp and sum",
        "values are NaN",
        lambda z, w, mu, v: average(
            parts_of(z, mu, v), (w.exp() / w.exp().sum()).log()
        ),
    ),
):
    refuse("mixture_prior", _text, _says, **mixture_prior(_first))


def drawn(pick=None, noise=None, spread=0.5, fresh=True):
    def draw_codes(n, logits, mu, logvar):
        if not fresh:
            torch.manual_seed(0)
        p = logits.softmax(0)
        which = pick(n, p) if pick else p.multinomial(n, replacement=True)
        shape = (n, mu.shape[1])
        own = noise(*shape) if noise else torch.randn(shape)
        return mu[which] + (spread * logvar[which]).exp() * own

    return draw_codes


def of_weights(n, p):
    return p.multinomial(n, replacement=True)


def fixed_counts(n, p):
    counts = (n * p).round().long()
    counts[0] += n - counts.sum()
    which = torch.arange(len(p)).repeat_interleave(counts)
    return which[torch.randperm(n)]


def in_order(n, p):
    return p.multinomial(n, replacement=True).sort().values


def by_dimension(n, logits, mu, logvar):
    size = (n * mu.shape[1],)
    which = logits.softmax(0).multinomial(*size, replacement=True)
    which = which.view(n, -1)
    return mu.gather(0, which) + (
        logvar.gather(0, which) / 2
    ).exp() * torch.randn(which.shape)


def blended(n, logits, mu, logvar):
    each = mu + (logvar / 2).exp() * torch.randn(n, *mu.shape)
    return (logits.softmax(0)[:, None] * each).sum(1)


def of_moments(n, logits, mu, logvar):
    p = logits.softmax(0)[:, None]
    mean = (p * mu).sum(0)
    var = (p * (logvar.exp() + (mu - mean) ** 2)).sum(0)
    return mean + var.sqrt() * torch.randn(n, mu.shape[1])


for _text, _says, _second in (
    (
        "equal shares",
        "with the weights",
        drawn(lambda n, p: torch.randint(len(p), (n,))),
    ),
    (
        "always the largest",
        "with the weights",
        drawn(lambda n, p: p.argmax().expand(n)),
    ),
    ("shares by chance, sorted", "in one half", drawn(in_order)),
    ("the same count each time", "by chance", drawn(fixed_counts)),
    (
        "weights at the temperature 0.9",
        "with the weights",
        drawn(lambda n, p: (p ** (1 / 0.9)).multinomial(n, replacement=True)),
    ),
    (
        "few codes sorted by component",
        "n = 2",
        drawn(lambda n, p: in_order(n, p) if n < 99 else of_weights(n, p)),
    ),
    (
        "no component twice, if there are enough",
        "n = 2",
        drawn(lambda n, p: p.multinomial(n, replacement=n > len(p))),
    ),
    (
        "the likeliest component for a single code",
        "n = 1",
        drawn(lambda n, p: p.argmax()[None] if n < 2 else of_weights(n, p)),
    ),
    (
        "noise of mean 0 in each call",
        "n = 1",
        drawn(noise=lambda *s: (lambda e: e - e.mean(0))(torch.randn(s))),
    ),
    (
        "the square of the weights",
        "with the weights",
        drawn(lambda n, p: (p**2).multinomial(n, replacement=True)),
    ),
    ("a component for each number", "far from every", by_dimension),
    ("the mean of the components", "far from every", blended),
    ("draws from one normal", "far from every", of_moments),
    ("no noise", "the spread", drawn(noise=torch.zeros)),
    (
        "exp(logvar) as sigma of the draws",
        "exp(logvar / 2)",
        drawn(spread=1.0),
    ),
    ("sigma is 1", "the spread", drawn(spread=0.0)),
    (
        "uniform noise",
        "not normal",
        drawn(noise=lambda *s: math.sqrt(12) * (torch.rand(s) - 0.5)),
    ),
    ("noise from 0 to 1", "around its mean", drawn(noise=torch.rand)),
    (
        "noise of eight tenths",
        "the spread",
        drawn(noise=lambda *s: 0.8 * torch.randn(s)),
    ),
    (
        "noise cut at 2",
        "not normal",
        drawn(noise=lambda *s: torch.randn(s).clamp(-2, 2)),
    ),
    (
        "one noise for a code",
        "share their noise",
        drawn(noise=lambda n, k: torch.randn(n, 1).expand(n, k)),
    ),
    (
        "one noise for two codes",
        "used again",
        drawn(
            noise=lambda n, k: torch.randn((n + 1) // 2, k).repeat(2, 1)[:n]
        ),
    ),
    ("a fixed seed", "take out the seed", drawn(fresh=False)),
    ("one code fewer", "shape", lambda n, *parts: codes(n, *parts)[1:]),
    (
        "exp of the logits as shares",
        "draw_codes raises",
        lambda n, w, mu, v: codes(n, w.exp().log(), mu, v),
    ),
    ("the means alone", "found", lambda n, w, mu, v: mu),
):
    refuse("mixture_prior", _text, _says, **mixture_prior(second=_second))


# --- build_vae ---------------------------------------------------------------


class Own(nn.Module):
    """Two linear layers each way, and places where a mistake may sit."""

    spread, probabilities, reads_z = 0.5, False, True

    def __init__(self, n_latent):
        super().__init__()
        self.n_latent = n_latent
        self.parts(n_latent)

    def parts(self, n):
        self.into = nn.Sequential(
            nn.Flatten(), nn.Linear(784, 40), nn.Tanh(), nn.Linear(40, 2 * n)
        )
        self.out = nn.Sequential(
            nn.Linear(n, 40), nn.ReLU(), nn.Linear(40, 784)
        )

    def encode(self, x):
        return self.into(x).chunk(2, 1)

    def decode(self, z):
        return self.out(z).view(-1, 1, 28, 28)

    def code(self, mu, logvar, noise):
        return mu + (self.spread * logvar).exp() * noise

    def pixels(self, x, logits):
        return functional.binary_cross_entropy_with_logits(
            logits.flatten(1), x.flatten(1), reduction="none"
        )

    def kl(self, mu, logvar):
        return 0.5 * (mu**2 + logvar.exp() - 1 - logvar)

    def total(self, pixels, kl):
        return pixels.sum(1) + kl.sum(1)

    def forward(self, x, noise):
        mu, logvar = self.encode(x)
        logits = self.decode(self.code(mu, logvar, noise))
        return self.total(self.pixels(x, logits), self.kl(mu, logvar))


right("build_vae", "linear layers")(Own)


@right("build_vae", "convolutions with batch norm and dropout")
def _(n_latent):
    class Convolutions(Own):
        def parts(self, n):
            self.into = nn.Sequential(
                nn.Conv2d(1, 6, 3, 2, 1),
                nn.BatchNorm2d(6),
                nn.GELU(),
                nn.Conv2d(6, 8, 3, 2, 1),
                nn.SiLU(),
                nn.Flatten(),
                nn.Dropout(0.2),
                nn.Linear(8 * 49, 2 * n),
            )
            self.out = nn.Sequential(
                nn.Linear(n, 8 * 49),
                nn.LayerNorm(8 * 49),
                nn.ReLU(),
                nn.Unflatten(1, (8, 7, 7)),
                nn.ConvTranspose2d(8, 6, 4, 2, 1),
                nn.ReLU(),
                nn.Upsample(scale_factor=2),
                nn.Conv2d(6, 1, 3, padding=1),
            )

    return Convolutions(n_latent)


@right("build_vae", "parameters by hand, torch.distributions")
def _(n_latent):
    class ByHand(nn.Module):
        def __init__(self):
            super().__init__()
            size = {"mu": (784, n_latent), "width": (784, n_latent)}
            size |= {"back": (n_latent, 784), "ink": (784,)}
            self.w = nn.ParameterDict(
                {
                    k: nn.Parameter(0.05 * torch.randn(s))
                    for k, s in size.items()
                }
            )

        def encode(self, x):
            x = x.reshape(len(x), -1) - 0.1
            return [x @ self.w["mu"], (x @ self.w["width"]).clamp(-8, 8)]

        def decode(self, z):
            return z @ self.w["back"] + self.w["ink"]

        def forward(self, x, noise):
            mu, logvar = self.encode(x)
            q = Normal(mu, logvar.exp().sqrt())
            z = q.loc + q.scale * noise
            pixels = torch.distributions.Bernoulli(logits=self.decode(z))
            nats = pixels.log_prob(x.reshape(len(x), -1)).sum(-1)
            own = torch.distributions.kl_divergence(q, Normal(0.0, 1.0))
            return own.sum(-1) - nats

    return ByHand()


def kind(**changes):
    return type("Changed", (Own,), changes)


def frozen(part):
    def made(n):
        model = Own(n)
        getattr(model, part).requires_grad_(False)
        return model

    return made


class Averaged(Own):
    def total(self, pixels, kl):
        return pixels.mean(1) + kl.sum(1)


class SharedTrunk(Own):
    trunk = nn.Linear(784, 40)

    def parts(self, n):
        super().parts(n)
        self.into = nn.Sequential(
            nn.Flatten(), self.trunk, nn.Tanh(), nn.Linear(40, 2 * n)
        )


class FirstFrozen(Own):
    def parts(self, n):
        super().parts(n)
        self.into[1].requires_grad_(False)


class NoiseInTraining(Own):
    def code(self, mu, logvar, noise):
        noise = torch.randn_like(noise) if self.training else noise
        return super().code(mu, logvar, noise)


class MuInTraining(Own):
    def code(self, mu, logvar, noise):
        return mu if self.training else super().code(mu, logvar, noise)


class Unregistered(Own):
    def parts(self, n):
        super().parts(n)
        hidden = [nn.Linear(784, 30), nn.Linear(30, 2 * n)]
        self.layers = hidden
        del self.into

    def encode(self, x):
        first, second = self.layers
        return second(first(x.flatten(1)).relu()).chunk(2, 1)


class NothingRegistered(Own):
    def parts(self, n):
        nn.Module.__init__(self)
        self.layers = [nn.Linear(784, 2 * n), nn.Linear(n, 784)]

    def encode(self, x):
        return self.layers[0](x.flatten(1)).chunk(2, 1)

    def decode(self, z):
        return self.layers[1](z)


class Detached(Own):
    def code(self, mu, logvar, noise):
        return super().code(mu, logvar, noise).detach()


class DecoderDetached(Own):
    def decode(self, z):
        return super().decode(z.detach())


class WidthDetached(Own):
    def code(self, mu, logvar, noise):
        return super().code(mu, logvar.detach(), noise)


class KlDetached(Own):
    def kl(self, mu, logvar):
        return super().kl(mu.detach(), logvar.detach())


class NoGrad(Own):
    def forward(self, x, noise):
        with torch.no_grad():
            return super().forward(x, noise)


class OwnNoise(Own):
    def code(self, mu, logvar, noise):
        return super().code(mu, logvar, torch.randn_like(mu))


class Probabilities(Own):
    def decode(self, z):
        return super().decode(z).sigmoid()

    def pixels(self, x, p):
        return functional.binary_cross_entropy(
            p.flatten(1), x.flatten(1), reduction="none"
        )


class OfBatch(Own):
    def forward(self, x, noise):
        each = super().forward(x, noise)
        return each - each.mean() + each[0]


class Blind(Own):
    def decode(self, z):
        return super().decode(0 * z)


class OneWidth(Own):
    def encode(self, x):
        mu, logvar = super().encode(x)
        return mu, 0 * logvar - 1


class SameTwice(Own):
    def encode(self, x):
        mu, _ = super().encode(x)
        return mu, mu


class OnlyMu(Own):
    def encode(self, x):
        return self.into(x)[:, : self.n_latent]

    def forward(self, x, noise):
        mu = self.encode(x)
        return self.total(self.pixels(x, self.decode(mu)), self.kl(mu, 0 * mu))


class SecondDecoder(Own):
    def parts(self, n):
        super().parts(n)
        self.other = nn.Linear(n, 784)

    def forward(self, x, noise):
        mu, logvar = self.encode(x)
        logits = self.other(self.code(mu, logvar, noise))
        return self.total(self.pixels(x, logits), self.kl(mu, logvar))


class Reversed(Own):
    def forward(self, x, noise):
        return super().forward(x.flip(0), noise)


for _text, _says, _made in (
    ("pixels averaged", "the pixels are averaged", Averaged),
    (
        "the KL averaged",
        "KL is averaged",
        kind(total=lambda self, p, kl: p.sum(1) + kl.mean(1)),
    ),
    ("no KL", "KL is missing", kind(total=lambda self, p, kl: p.sum(1))),
    (
        "no reconstruction",
        "reconstruction is",
        kind(total=lambda self, p, kl: kl.sum(1)),
    ),
    (
        "twice the KL",
        "one half",
        kind(total=lambda self, p, kl: p.sum(1) + 2 * kl.sum(1)),
    ),
    (
        "the KL subtracted",
        "sign of the KL",
        kind(total=lambda self, p, kl: p.sum(1) - kl.sum(1)),
    ),
    (
        "the ELBO",
        "its negative",
        kind(total=lambda self, p, kl: -p.sum(1) - kl.sum(1)),
    ),
    (
        "the mean over the batch",
        "one value for each",
        kind(total=lambda self, p, kl: (p.sum(1) + kl.sum(1)).mean()),
    ),
    ("exp(logvar) as sigma", "exp(logvar / 2)", kind(spread=1.0)),
    ("the code is mu", "the code is mu", kind(code=lambda self, m, v, e: m)),
    ("noise of its own", "found", OwnNoise),
    ("probabilities", "should return logits", Probabilities),
    (
        "the squared error",
        "squared error",
        kind(pixels=lambda self, x, v: (x - v.sigmoid()).flatten(1) ** 2),
    ),
    ("the code is detached", "gradient by", Detached),
    ("the decoder detaches", "to the code", DecoderDetached),
    ("the width is detached", "gradient by", WidthDetached),
    ("the KL is detached", "gradient by", KlDetached),
    ("without gradients", "no gradient flows", NoGrad),
    ("mixes the batch", "found", OfBatch),
    ("digits in another order", "found", Reversed),
    ("a blind decoder", "does it read z", Blind),
    ("one width for all", "logvar is the same", OneWidth),
    ("mu twice", "the same numbers", SameTwice),
    ("mu alone", "return mu and logvar", OnlyMu),
    ("another decoder in the loss", "found", SecondDecoder),
    ("layers in a list", "not among the parameters", Unregistered),
    ("nothing but a list", "no parameters", NothingRegistered),
    ("a dict", "expected a new nn.Module", lambda n: dict(vars(Own(n)))),
    ("the class, not a module", "expected a new nn.Module", lambda n: Own),
    ("nothing returned", "expected a new nn.Module", lambda n: None),
    (
        "the same module again",
        "one module for all calls",
        lambda n, made={}: made.setdefault(n, Own(n)),
    ),
    ("a frozen encoder", "nothing of mu can be learned", frozen("into")),
    ("a frozen decoder", "nothing of decode can be learned", frozen("out")),
    ("a frozen first layer", "requires_grad is False", FirstFrozen),
    ("no decoder", "no method decode", lambda n: kind(decode=None)(n)),
    ("always two dimensions", "shape", lambda n: Own(2)),
    ("a trunk of all models", "shares weights", SharedTrunk),
    ("its own noise in training", "in training mode", NoiseInTraining),
    ("mu in training", "in training mode", MuInTraining),
):
    wrong("build_vae", _text, says=_says)(_made)
