"""Checks for chapter 15: data that are not digits."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Normal

from minivae.objective import gaussian_log_likelihood
from minivae_course.check import (
    Draws,
    Student,
    check,
    choice,
    equal,
    function,
    number,
    parts,
    require,
    same_rule,
    telling,
    tensor,
)

RATE = 8000  # samples a second
SAMPLES = 2400

# --- a grey likelihood


@check()
def grey_units(
    draws: Draws, best_sigma: Student, in_other_units: Student
) -> None:
    """The best sigma of a Gaussian likelihood, and what units do to an ELBO.

    The sigma is held against a search for the highest likelihood, the ELBO
    against a likelihood of values that were multiplied.
    """
    sigma = function("best_sigma", best_sigma)
    other = function("in_other_units", in_other_units)
    for n, size, scale in ((6, 9, 1), (1, 30, 1), (40, 2, 100), (5, 7, 0.01)):
        x = scale * draws.uniform(n, size)
        off = float(draws.uniform(low=0.2, high=0.5))
        # some pictures and some pixels are drawn better than others
        worse = draws.uniform(n, 1, low=0.2) * draws.uniform(size, low=0.2)
        mean = x + scale * worse * (off + 0.3 * draws.normal(n, size))
        right = _highest(x, mean)
        gap = (x - mean).double()
        equal(
            "best_sigma",
            sigma(x, mean),
            right,
            {
                "this is the variance; take its root": right**2,
                "this is the spread of x - mean around its own mean; the "
                "likelihood has its mean already": gap.std(
                    correction=0
                ).item(),
                "sum and mean: divide by the number of all pixels, not of "
                "the digits": right * math.sqrt(size),
                "this is the mean of |x - mean|": gap.abs().mean().item(),
                "one sigma for all pixels, not for each": gap.square()
                .mean(0)
                .sqrt(),
                "take the mean of all squares, and the root at the "
                "end": gap.square().mean(1).sqrt().mean(),
                "this is log sigma": math.log(right),
            },
            tolerance=2e-4,
        )
        factor = float(draws.uniform(low=2, high=300))
        for f in (factor, 1 / factor):
            old, new = (
                float(
                    gaussian_log_likelihood(
                        s * x.double(), s * mean.double(), math.log(s * right)
                    ).mean()
                )
                for s in (1, f)
            )
            shift = size * math.log(f)
            # the KL does not see the pixels
            kl = float(draws.uniform(low=1, high=20))
            elbo, wanted = old - kl, new - kl
            equal(
                f"in_other_units({elbo:.4g}, {size}, {f:.4g})",
                other(elbo, size, f),
                wanted,
                {
                    "the sign: a density over a wider range is lower": elbo
                    + shift,
                    "each of the D values changes the density": elbo
                    - math.log(f),
                    "the values are multiplied, not their ELBO": elbo * f,
                    "a density is divided by the factor, so its logarithm "
                    "loses log(factor)": elbo / f,
                    "an ELBO of a density does depend on the units": elbo,
                    "sigma grows with the values, so there is nothing twice "
                    "or squared here": elbo - 2 * shift,
                    "nats come from the natural logarithm": elbo
                    - size * math.log2(f),
                },
            )


def _highest(x: Tensor, mean: Tensor) -> float:
    """The sigma with the highest likelihood, by trisection of its log."""
    x, mean = x.double(), mean.double()
    low, high = math.log(1e-6), math.log(1e4)
    while high - low > 1e-6:
        a, b = low + (high - low) / 3, high - (high - low) / 3
        first, second = (
            float(gaussian_log_likelihood(x, mean, s).sum()) for s in (a, b)
        )
        low, high = (a, high) if first < second else (low, b)
    return math.exp((low + high) / 2)


# --- a leak


@check()
def standardise(draws: Draws, standardise: Student) -> None:
    """Columns standardised with the numbers of the training rows alone.

    Held against NumPy. Either divisor of the variance is right.
    """
    scaled = function("standardise", standardise)
    for n, n_test, width in ((30, 12, 5), (9, 1, 1), (8, 20, 7)):
        size = (10 ** draws.uniform(width, low=-3, high=3)).float()
        # one column with small values, which vary all the same
        columns = torch.randperm(width, generator=draws.generator)
        size[columns[-1]] = 1e-10
        place = 3 * size * draws.normal(width)
        train = draws.normal(n, width) * size + place
        test = draws.normal(n_test, width) * 1.5 * size + place + size
        if n == 30:  # equal rows do not make a column constant
            train[[1, 2, -1]] = train[0].clone()
        if n == 8:  # and small differences of larger values are some
            # with an exact mean, whatever the order of the sum
            step = 2.0**-21
            signs = 2 * (draws.uniform(n).argsort() % 2) - 1
            train[:, columns[-2]] = 1 + step * signs
            test[:, columns[-2]] = 1 + step * draws.whole(-9, 10, n_test)
        for column in columns[: width // 3].tolist():
            _make_constant(draws, train, column)
            test[:, column] = train[0, column]
            test[0, column] += 2
        found = parts("standardise", scaled(train, test), "train, test")
        both = torch.cat([train, test])
        sources = {
            "the numbers of all rows: the test rows leak into the "
            "preparation": (both, both),
            "the test rows are standardised by themselves; use the numbers "
            "of the training rows for both": (train, test),
        }
        tables = {"the training rows": train, "the test rows": test}
        for part, (what, rows) in enumerate(tables.items()):
            value = tensor(what, found[part], tuple(rows.shape))

            def either(source, value=value, rows=rows) -> Tensor:
                return _nearer(
                    value, [_scaled(rows, source, d) for d in (0, 1)]
                )

            mean, spread = _numbers(train, 0)
            away = rows.double() - mean
            rough = train.numpy().std(0)
            tiny, near = spread < 1e-6, spread < 1e-4 * mean.abs()
            mistakes = {
                text: either(source[part]) for text, source in sources.items()
            } | {
                "subtract the mean of each column": rows.double() / spread,
                "divide by the standard deviation of each column": away,
                "a column varies if any two of its values differ, however "
                "little": _nearer(
                    value,
                    [
                        away / _numbers(train, d)[1].masked_fill(few, 1.0)
                        for few in (tiny & ~near, near, tiny | near)
                        for d in (0, 1)
                    ],
                ),
                "that is the variance; divide by its root": away / spread**2,
                "each column has its own mean and standard deviation": (
                    rows.double() - train.double().mean()
                )
                / train.double().std(correction=0),
                "with rounding, the standard deviation of a constant column "
                "need not be exactly 0; compare its values": torch.from_numpy(
                    (rows.numpy() - train.numpy().mean(0))
                    / np.where(rough == 0, 1, rough)
                ),
            }
            equal(what, value, either(train), mistakes, tolerance=1e-3)
            for column in range(width):
                # a column of small values is not hidden by another
                equal(
                    f"{what}, column {column}",
                    value[:, column],
                    either(train)[:, column],
                    tolerance=1e-3,
                )


def _make_constant(draws: Draws, rows: Tensor, column: int) -> None:
    """A value whose mean and spread are not exact in single precision."""
    for _ in range(100):
        rows[:, column] = draws.uniform(1, low=0.1, high=3)
        if rows.numpy().std(0)[column] > 0:
            return


def _nearer(value: Tensor, candidates: list[Tensor]) -> Tensor:
    """The candidate that is nearer to an answer."""
    return min(candidates, key=lambda one: float((one - value).abs().sum()))


def _numbers(rows: Tensor, ddof: int) -> tuple[Tensor, Tensor]:
    values = rows.double().numpy()
    spread = values.std(0, ddof=min(ddof, len(values) - 1))
    # a column that never changes is not divided
    spread = np.where(values.max(0) == values.min(0), 1.0, spread)
    return torch.from_numpy(values.mean(0)), torch.from_numpy(spread)


def _scaled(rows: Tensor, source: Tensor, ddof: int) -> Tensor:
    mean, spread = _numbers(source, ddof)
    return (rows.double() - mean) / spread


# --- the nearest row


@check()
def nearest_row(
    draws: Draws, nearest_distance: Student, copied_share: Student
) -> str:
    """Distances to the nearest training row, and what they say of copies.

    Held against a loop in NumPy.
    """
    nearest = function("nearest_distance", nearest_distance)
    share = function("copied_share", copied_share)
    for rows, _, train in (_copies(draws) for _ in range(5)):
        right = _nearest(rows, train)
        apart = _each(rows, train)
        equal(
            "nearest_distance",
            nearest(rows, train),
            right,
            {
                "this is the square of the distance": right.square(),
                "for each of the rows, and not of the training rows": (
                    apart.min(0).values
                ),
                "these are the farthest": apart.max(1).values,
                "this is the mean over the training rows": apart.mean(1),
                "this is the number of the nearest row, not its "
                "distance": apart.argmin(1),
                "divided by the number of columns": right / rows.shape[1],
                "divided by the root of the number of columns": right
                / math.sqrt(rows.shape[1]),
                "a new row that is a training row has the distance 0": (
                    apart.masked_fill(apart < 1e-6, math.inf).min(1).values
                ),
            },
        )
    rules = _copied, _other_copied()
    cases = same_rule("copied_share", share, *rules, lambda: _copies(draws))
    said = max(_copied(*case) for case in cases)
    same = torch.tensor([[3.0, 4.0]]).repeat(9, 1)
    what = "copied_share of rows that are as near as all held-out rows"
    equal(what, share(same, same, torch.zeros(1, 2)), 0.0)
    return (
        "right. A model that draws from the same source as the training rows "
        f"has a share near 5 %; of some rows that were tried here {said:.0%} "
        "came too close, as many of them were copies with a little noise"
    )


def _copies(draws: Draws) -> tuple[Tensor, Tensor, Tensor]:
    """New, held-out and training rows; some of the new are copies."""
    while True:
        n, n_held, n_train, width = (
            draws.whole(low, high)
            for low, high in ((30, 90), (20, 80), (15, 60), (2, 12))
        )
        # in double precision, as near rows have small distances
        train, held, fresh, off = (
            draws.normal(m, width).double()
            for m in (n_train, n_held, draws.whole(9, 40), n)
        )
        # from the same row to one that is far from it
        size = 10 ** draws.uniform(n, 1, low=-3, high=0.5).double()
        size[:3] = 0.0
        rows = torch.cat(
            [train[draws.whole(0, n_train, n)] + size * off, fresh]
        )
        limit = np.quantile(_nearest(held, train).numpy(), 0.05)
        # none so near to the limit that an error of rounding decides
        if float((_nearest(rows, train) - limit).abs().min()) > 1e-6:
            return rows, held, train


def _copied(rows: Tensor, held: Tensor, train: Tensor) -> float:
    return _below(_nearest(rows, train), _nearest(held, train))


def _other_copied() -> dict[str, Callable[[Tensor, Tensor, Tensor], float]]:
    """What else somebody may return for a share of copies."""

    def at(level: float) -> Callable:
        return lambda rows, held, train: _below(
            _nearest(rows, train), _nearest(held, train), level
        )

    def limit(of: Callable) -> Callable:
        def rule(rows: Tensor, held: Tensor, train: Tensor) -> float:
            near = _nearest(rows, train) < of(_nearest(held, train))
            return near.double().mean().item()

        return rule

    def others(of: Callable) -> Callable:
        def rule(rows: Tensor, held: Tensor, train: Tensor) -> float:
            return _below(_nearest(rows, train), of(rows, held, train))

        return rule

    def among(rows: Tensor) -> Tensor:
        apart = _each(rows, rows).fill_diagonal_(math.inf)
        return apart.min(1).values

    return {
        "this is how many; divide by the number of new rows": lambda r, h, t: (
            len(r) * _copied(r, h, t)
        ),
        "the limit is that of the median; take the 5 % quantile": at(0.5),
        "the limit must come from the held-out rows": others(
            lambda r, h, t: _nearest(r, t)
        ),
        "the 95 % quantile leaves nearly all below; take the 5 % quantile": (
            at(0.95)
        ),
        "held-out rows are compared with the training rows too, not with the "
        "new ones": others(lambda r, h, t: _nearest(h, r)),
        "the limit must come from the held-out rows, not from the training "
        "rows among themselves": others(lambda r, h, t: among(t)),
        "held-out rows are compared with the training rows, not with each "
        "other": others(lambda r, h, t: among(h)),
        "the limit must come from the held-out rows alone": others(
            lambda r, h, t: _nearest(torch.cat([r, h]), t)
        ),
        "few rows are exactly a training row; close is enough": limit(
            lambda own: 1e-9
        ),
        "this is the share that is farther away": lambda r, h, t: (
            1 - _copied(r, h, t)
        ),
        "the limit must come from the held-out rows, the share from the new "
        "ones": lambda r, h, t: _copied(h, r, t),
        "the 5 % quantile is not the smallest distance": limit(torch.min),
        "the 5 % quantile is not 5 % of the mean": limit(
            lambda own: 0.05 * own.mean()
        ),
        "the 5 % quantile is not 5 % of the median": limit(
            lambda own: 0.05 * own.median()
        ),
        "the 5 % quantile is not 5 % of the largest": limit(
            lambda own: 0.05 * own.max()
        ),
        "the limit is a quantile, not the mean": limit(torch.mean),
        "the limit is a quantile, not two standard deviations below the "
        "mean": limit(lambda own: own.mean() - 2 * own.std()),
        "the limit is not 0.05 itself": limit(lambda own: 0.05),
        "that is the 1 % quantile": at(0.01),
        "that is the 2.5 % quantile": at(0.025),
        "that is the 10 % quantile": at(0.1),
        "that is the 25 % quantile": at(0.25),
    }


def _below(found: Tensor, others: Tensor, at: float = 0.05) -> float:
    """Share of distances below a quantile of others."""
    limit = np.quantile(others.numpy(), at)
    return (found < limit).double().mean().item()


def _each(rows: Tensor, train: Tensor) -> Tensor:
    gaps = rows.double()[:, None] - train.double()
    return gaps.square().sum(-1).sqrt()


def _nearest(rows: Tensor, train: Tensor) -> Tensor:
    values = train.double().numpy()
    return torch.tensor(
        [
            np.linalg.norm(values - row, axis=1).min()
            for row in rows.double().numpy()
        ]
    )


# --- better noise


@check(seconds=60)
def better_noise(
    draws: Draws, log_densities: Student, what_explains: Student
) -> None:
    """Three kinds of noise, fitted to residuals and scored on others.

    Held against torch.distributions, along the axes of the covariance.
    """
    score = function("log_densities", log_densities)
    for n, n_test, width, scale in (
        (14, 25, 3, 1),
        (50, 1, 3, 0.03),
        (300, 40, 6, 20),
        (90, 30, 4, 0.1),
    ):
        # axes of a covariance, none of them much longer than another
        axes, _ = torch.linalg.qr(draws.normal(width, width))
        mix = scale * axes * draws.uniform(width, low=0.4, high=2)
        shift = 0.6 * scale * draws.normal(width)
        # what is held out has the larger residuals
        train, test = (
            size * draws.normal(m, width) @ mix.T + shift
            for m, size in ((n, 1.0), (n_test, 1.5))
        )
        right = _scores(train, test)
        centred = train - train.mean(0)
        mistakes = {
            "fitted to the test rows; fit to the training rows": _scores(
                test, test
            )
            if n_test > width
            else 0 * right,
            "the mean of the noise is zero: do not subtract that of the "
            "residuals": _scores(centred, test),
            "the mean of the noise is zero: do not subtract the mean "
            "residual of the training rows": _scores(
                centred, test - train.mean(0)
            ),
            "the constant log(2 pi) / 2 of each column is missing": right
            + width * 0.5 * math.log(2 * math.pi),
            "summed over the rows; take their mean": right * n_test,
            "this is the mean over the columns; sum them": right / width,
            "this is the score of the training rows": _scores(train, train),
            "the order is one sigma, a sigma for each column, full "
            "covariance": right.flip(0),
        }
        equal(
            "log_densities",
            score(train, test),
            right,
            mistakes,
            tolerance=1e-3,
        )
    explains = function("what_explains", what_explains)
    for case in telling(lambda: _gains(draws), _explains, _other_reasons()):
        gap, one, each, full = case
        right = _explains(*case)
        why = (
            f"The gap is {gap:g} nats. A sigma for each column gains "
            f"{each - one:g} nats over one sigma, a full covariance "
            f"{full - one:g}. Take the simplest that gains at least the gap"
        )
        choice(
            "what_explains",
            explains(*case),
            right,
            {name: why for name in NOISES if name != right},
        )


NOISES = ("sigma for each column", "full covariance", "neither")


def _gains(draws: Draws) -> tuple[float, float, float, float]:
    """A gap and three scores, of short binary fractions: all is exact."""
    one = -draws.whole(80, 240) / 4
    gap = draws.whole(1, 60) / 4
    near = draws.whole(-6, 7, 2) / 4
    wide = draws.whole(-40, 80, 2) / 4
    gains = torch.where(draws.whole(0, 2, 2) == 1, gap + near, wide)
    each, full = (one + gains).tolist()
    return gap, one, each, full


def _explains(gap: float, one: float, each: float, full: float) -> str:
    if each - one >= gap:
        return NOISES[0]
    return NOISES[1] if full - one >= gap else NOISES[2]


def _other_reasons() -> dict[str, Callable[[float, float, float, float], str]]:
    """What else somebody may take for an explanation."""

    def first(each: Callable, full: Callable) -> Callable:
        def rule(gap: float, one: float, by_each: float, by_full: float):
            gains = gap, by_each - one, by_full - one
            found = each(*gains), full(*gains), True
            return NOISES[found.index(True)]

        return rule

    def scaled(factor: float) -> Callable:
        return first(
            lambda g, e, f: e >= factor * g, lambda g, e, f: f >= factor * g
        )

    def enough(g: float, e: float, f: float) -> bool:
        return f >= g

    return {
        **{f"{k} gaps": scaled(k) for k in (0.5, 0.8, 0.9, 1.1, 1.2, 2)},
        "strict": first(lambda g, e, f: e > g, lambda g, e, f: f > g),
        "strict for each": first(lambda g, e, f: e > g, enough),
        "strict for full": first(
            lambda g, e, f: e >= g, lambda g, e, f: f > g
        ),
        "larger": first(
            lambda g, e, f: e >= g and e >= f, lambda g, e, f: max(e, f) >= g
        ),
        "nearest": first(
            lambda g, e, f: max(e, f) >= g and abs(e - g) < abs(f - g),
            lambda g, e, f: max(e, f) >= g,
        ),
        "full first": first(lambda g, e, f: e >= g > f, enough),
        "over each": first(lambda g, e, f: e >= g, lambda g, e, f: f - e >= g),
        "both": first(lambda g, e, f: e >= g, lambda g, e, f: e + f >= g),
        "sizes": first(
            lambda g, e, f: abs(e) >= g, lambda g, e, f: abs(f) >= g
        ),
        "any gain": first(lambda g, e, f: e > 0, lambda g, e, f: f > 0),
        "two nats": first(lambda g, e, f: e >= 2, lambda g, e, f: f >= 2),
        "three nats": first(lambda g, e, f: e >= 3, lambda g, e, f: f >= 3),
        "rising": first(
            lambda g, e, f: e >= g, lambda g, e, f: f >= g and f > e > 0
        ),
        "one of two": first(lambda g, e, f: e >= g, lambda g, e, f: True),
        "never each": first(lambda g, e, f: False, enough),
        "never full": first(lambda g, e, f: e >= g, lambda g, e, f: False),
        "always each": first(lambda g, e, f: True, enough),
        "always full": first(lambda g, e, f: False, lambda g, e, f: True),
        "never": first(lambda g, e, f: False, lambda g, e, f: False),
        "scores": lambda g, one, each, full: _explains(g, 0.0, each, full),
        "sizes of scores": lambda g, one, each, full: _explains(
            g, 0.0, -each, -full
        ),
        "signs": lambda g, one, each, full: _explains(g, -one, -each, -full),
    }


def _scores(train: Tensor, test: Tensor) -> Tensor:
    """Mean log density of rows, for three kinds of noise of mean zero."""
    train, test = train.double(), test.double()
    square = train.square()
    # along the axes of its covariance, noise is independent
    _, size, axes = torch.linalg.svd(train, full_matrices=False)
    spread = size / math.sqrt(len(train))
    return torch.stack(
        [
            Normal(0.0, sigma).log_prob(rows).sum(1).mean()
            for sigma, rows in (
                (square.mean().sqrt(), test),
                (square.mean(0).sqrt(), test),
                (spread, test @ axes.T),
            )
        ]
    )


# --- a chord


@check()
def chord(
    draws: Draws, which_x: Student, chord: Student, loudness: Student
) -> str:
    """Waves of several notes, and what of them an ear would compare.

    Held against an inverse Fourier transform, and against complex numbers
    that turn.
    """
    choice(
        "which_x",
        function("which_x", which_x)(),
        "loudness",
        {
            "waveform": "Draw the same chord with other phases: nearly every "
            "number changes, and nobody hears a difference",
            "phase": "The phases are what the ear does not hear, and the "
            "notes are not in them",
        },
    )
    play = function("chord", chord)
    loud = function("loudness", loudness)
    for n, volume in ((3, 1e-12), (1, 50.0), (5, 0.2)):
        tones = 20 + 40 * torch.arange(n) + draws.whole(0, 30, n)
        hertz = tones * RATE / SAMPLES  # whole periods in the sound
        phases = draws.uniform(n, low=0.2, high=6.0)
        wave = _wave(tones, phases, torch.ones(n))
        if n == 3:
            # the lowest value is the farthest from zero, if that can be
            turned = phases + math.pi * float(wave.max() > -wave.min())
            phases, wave = turned, _wave(tones, turned, torch.ones(n))
        equal(
            "the chord",
            play(hertz, phases),
            wave,
            {
                "the phases are ignored": _wave(
                    tones, torch.zeros(n), torch.ones(n)
                ),
                "the largest value is not one": _wave(
                    tones, phases, torch.ones(n), False
                ),
                "divided by the number of notes; divide by the largest "
                "|value|": _wave(tones, phases, torch.ones(n), False) / n,
                "that is a cosine; begin with a sine": _wave(
                    tones, phases + math.pi / 2, torch.ones(n)
                ),
                "a note of f hertz makes f periods a second: where is "
                "2 pi?": _without_two_pi(hertz, phases),
            },
            tolerance=2e-3,
        )
        hertz = draws.uniform(n, low=60, high=900)
        equal(
            "the chord, of notes whose last period is cut,",
            play(hertz, phases),
            _turning(hertz, phases),
            {
                "a note need not have whole periods in 2,400 samples": _wave(
                    (hertz * SAMPLES / RATE).round().long(),
                    phases,
                    torch.ones(n),
                ),
                "a note need not have a whole number of hertz": _turning(
                    hertz.round(), phases
                ),
                "the last sample is at 2399 / 8000 seconds, not at "
                "2400 / 8000": _turning(
                    hertz * SAMPLES / (SAMPLES - 1), phases
                ),
            },
            tolerance=2e-3,
        )
        strong = draws.uniform(n, low=0.05, high=1.0)
        strong[0] = 2e-3  # hardly heard beside others
        constant = float(draws.uniform(low=1, high=3))
        sound = volume * (_wave(tones, phases, strong) + constant)
        heard = loud(sound.float())
        right = torch.zeros(SAMPLES // 2).double()
        right[tones - 1] = strong.double() / strong.max()
        equal(
            "loudness",
            heard,
            right,
            {
                "this is the square; take the absolute value": right.square(),
                "the largest value is to be one": right
                * volume
                * _scale(tones, phases, strong),
                "leave out the constant part before you look for the "
                "largest": right
                * _scale(tones, phases, strong)
                / SAMPLES
                / constant,
                "the first value, the constant part, is still there": (
                    torch.cat(
                        [
                            torch.ones(1).double(),
                            right
                            * _scale(tones, phases, strong)
                            / SAMPLES
                            / constant,
                        ]
                    )
                ),
                "this is in decibels": 20 * (right + 1e-12).log10(),
            },
            tolerance=2e-3,
        )
    first, second = (
        _wave(tones, draws.uniform(n, high=6.28), torch.ones(n))
        for _ in range(2)
    )
    gap = float((first - second).norm() / first.norm())
    a, b = (tensor("loudness", loud(w.float())) for w in (first, second))
    quiet = number("the change of loudness", (a - b).norm() / a.norm())
    return (
        f"right. The same chord with other phases: its waveform changes by "
        f"{gap:.0%} of its length, its loudness by {quiet:.1%}"
    )


def _wave(
    tones: Tensor, phases: Tensor, strong: Tensor, loudest: bool = True
) -> Tensor:
    """Sines with whole periods, from their spectrum."""
    spectrum = torch.zeros(SAMPLES // 2 + 1, dtype=torch.complex128)
    # sin(a) = cos(a - pi / 2)
    turn = torch.polar(strong.double(), phases.double() - math.pi / 2)
    spectrum[tones] = turn * SAMPLES / 2
    wave = torch.fft.irfft(spectrum, SAMPLES)
    return wave / wave.abs().max() if loudest else wave


def _turning(hertz: Tensor, phases: Tensor) -> Tensor:
    """Sines of any period, the height of points that turn."""
    time = np.arange(SAMPLES) / RATE
    angle = 2 * np.pi * np.outer(hertz.double().numpy(), time)
    points = np.exp(1j * (angle + phases.double().numpy()[:, None]))
    wave = torch.from_numpy(points.imag.sum(0))
    return wave / wave.abs().max()


def _scale(tones: Tensor, phases: Tensor, strong: Tensor) -> float:
    """What |rfft| of such a wave has as its largest value."""
    wave = _wave(tones, phases, strong)
    return float(torch.fft.rfft(wave).abs().max())


def _without_two_pi(hertz: Tensor, phases: Tensor) -> Tensor:
    time = torch.arange(SAMPLES).double() / RATE
    wave = (hertz.double()[:, None] * time + phases[:, None]).sin().sum(0)
    return wave / wave.abs().max()


# --- strange rows


@check()
def fair_auroc(
    draws: Draws, auroc: Student, fair_auroc: Student, trusted: Student
) -> None:
    """The area under the ROC curve with ties, on unseen rows, and a rule.

    Held against a count of all pairs. The rule is tried on tables in which
    a mean, a single kind or a missing control would decide otherwise.
    """
    area = function("auroc", auroc)
    fair = function("fair_auroc", fair_auroc)
    for n, m, levels in ((9, 7, 0), (1, 1, 0), (30, 4, 3), (5, 40, 6)):
        normal, strange = draws.normal(n), draws.normal(m) + 0.3
        if levels:  # many scores are equal
            normal, strange = (
                (levels * v / 3).round() for v in (normal, strange)
            )
        # first the order in which the strange ones are higher
        sign = 1 if _area(normal, strange)[0] >= 0.5 else -1
        for turn in (sign, -sign):
            right, mistakes = _area(turn * normal, turn * strange)
            found = area(turn * normal, turn * strange)
            equal("the AUROC", found, right, mistakes)
    same = torch.full((4,), -2.5)
    equal("the AUROC of equal scores", area(same, same[:3]), 0.5)
    high = 1e4 + torch.arange(6.0) / 64
    right, _ = _area(high[::2], high[1::2])
    equal("the AUROC of large scores", area(high[::2], high[1::2]), right)
    for n, levels in ((60, 0), (40, 3), (25, 1)):
        scores = draws.normal(n)
        strange = draws.uniform(n) < 0.4
        learned = draws.uniform(n) < 0.5
        # one of each kind for certain
        strange[:4] = torch.tensor([True, True, False, False])
        learned[:4] = torch.tensor([True, False, True, False])
        scores = scores + 0.5 * strange - 1.2 * learned * ~strange
        scores = scores + 0.8 * learned * strange
        if levels:
            scores = (levels * scores).round()
        new = ~learned
        right, mistakes = _area(scores[new & ~strange], scores[new & strange])
        kept = {
            "the rows that the model learned from count too; leave out the "
            "normal ones and the strange ones": (~strange, strange),
            "strange rows that the model learned from are to be left out "
            "too": (new & ~strange, strange),
            "normal rows that the model learned from are to be left out too": (
                ~strange,
                new & strange,
            ),
            "these are the rows that the model learned from": (
                learned & ~strange,
                learned & strange,
            ),
        }
        for text, (a, b) in kept.items():
            mistakes[text] = _area(scores[a], scores[b])[0]
        found = fair(scores, strange, learned)
        equal("the AUROC of unseen rows", found, right, mistakes)
    _rule_is(function("trusted", trusted), draws)


def _area(
    normal: Tensor, strange: Tensor
) -> tuple[float, dict[str, Tensor | float]]:
    """The share of pairs in the right order, and what mistakes give."""
    pairs = strange.double()[:, None] - normal.double()
    above, ties = (pairs > 0).double().mean(), (pairs == 0).double().mean()
    right = float(above + ties / 2)
    return right, {
        "equal scores count one half, not 0": float(above),
        "equal scores count one half, not 1": float(above + ties),
        "below one half it stays below: do not turn it round": (
            max(right, 1 - right)
        ),
        "a higher score is stranger: this is 1 minus the AUROC": 1 - right,
        "this is a number of pairs; divide by how many there are": float(
            right * pairs.numel()
        ),
        "this is the Gini coefficient, 2 AUROC - 1": 2 * right - 1,
    }


def _rule_is(rule: Student, draws: Draws) -> None:
    """Refuse another rule, by tables on which rules differ."""
    tables: list[tuple[dict, list]] = [
        # a mean would take the first; its worst kind is a coin's
        ({"mean": [0.99, 0.45, 0.9], "steady": [0.6, 0.62, 0.7]}, [0.2, 0.9]),
        # one half itself is not above one half
        ({"coin": [0.5, 0.8], "better": [0.51, 0.52]}, [0.1, 0.99]),
        # the control is no worse
        ({"a": [0.7, 0.65], "b": [0.9, 0.6]}, [0.8, 0.65]),
        # as good as the control is not better
        ({"a": [0.7, 0.8], "b": [0.71, 0.75]}, [0.7, 0.95]),
        # the best worst kind comes first, whatever the name and the best
        ({"a": [0.6, 0.99], "b": [0.8, 0.81], "c": [0.7, 0.7]}, [0.3, 0.3]),
        # a low area is no high one turned round
        ({"low": [0.05, 0.1], "fair": [0.55, 0.56]}, [0.2, 0.4]),
        # the control compares worst with worst, not kind with kind
        ({"a": [0.75, 0.7], "b": [0.62, 0.9]}, [0.8, 0.6]),
        # two decimals are not enough to compare
        ({"a": [0.804, 0.9], "b": [0.803, 0.8]}, [0.802, 0.9]),
        ({"a": [0.504, 0.9], "b": [0.503, 0.8]}, [0.3, 0.9]),
        ({}, [0.5]),
        ({"only": [0.4]}, [0.1]),
    ]
    for _ in range(6):
        kinds = draws.whole(1, 5)
        names = [f"s{draws.whole(100, 999)}{i}" for i in range(4)]
        values = draws.uniform(5, kinds, low=0.4, high=1.0).tolist()
        tables.append((dict(zip(names, values)), values[-1]))
    for areas, control in tables:
        worst = {name: min(row) for name, row in areas.items()}
        level = max(0.5, min(control))
        good = [name for name in worst if worst[name] > level]
        right = sorted(good, key=lambda name: -worst[name])
        found = rule(areas, control)
        require(
            isinstance(found, list | tuple)
            and all(isinstance(one, str) for one in found),
            f"trusted: found {str(found)[:60]}, expected a list of names",
        )
        found = list(found)
        text = (
            f"trusted({_rounded(areas)}, {[round(c, 2) for c in control]}): "
            f"found {found}, expected {right}"
        )
        require(
            sorted(found) == sorted(right),
            f"{text}. A score is trusted if its worst kind is above one half "
            "and above the worst kind of the control",
        )
        require(found == right, f"{text}. The best worst kind comes first")


def _rounded(areas: dict) -> dict:
    return {k: [round(v, 2) for v in row] for k, row in areas.items()}
