"""Checks for chapter 15: data that are not digits."""

import math

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
    require,
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
    for n, size in ((6, 9), (1, 30), (40, 2)):
        x = draws.uniform(n, size)
        off = float(draws.uniform(low=0.2, high=0.5))
        mean = x + 0.1 * draws.normal(n, size) + off
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
                },
            )


def _highest(x: Tensor, mean: Tensor) -> float:
    """The sigma with the highest likelihood, by trisection of its log."""
    x, mean = x.double(), mean.double()
    low, high = math.log(1e-3), math.log(1e2)
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
    for n, n_test, width in ((30, 12, 4), (9, 1, 1), (15, 20, 6)):
        size = (10 ** draws.uniform(width, low=-1, high=2)).float()
        place = 3 * size * draws.normal(width)
        train = draws.normal(n, width) * size + place
        test = draws.normal(n_test, width) * 1.5 * size + place + size
        if width > 1:
            train[:, 1], test[:, 1] = 3.0, 3.0
            test[0, 1] = 5.0
        found = scaled(train, test)
        require(
            isinstance(found, list | tuple) and len(found) == 2,
            "standardise: return two tensors, the training rows and the test "
            "rows",
        )
        both = torch.cat([train, test])
        sources = {
            "the numbers of all rows: the test rows leak into the "
            "preparation": (both, both),
            "the test rows are standardised by themselves; use the numbers "
            "of the training rows for both": (train, test),
        }
        parts = {"the training rows": train, "the test rows": test}
        for part, (what, rows) in enumerate(parts.items()):

            def either(source, found=found[part], rows=rows) -> Tensor:
                return _nearer(
                    found, [_scaled(rows, source, d) for d in (0, 1)]
                )

            mean, spread = _numbers(train, 0)
            away = rows.double() - mean
            mistakes = {
                text: either(source[part]) for text, source in sources.items()
            } | {
                "subtract the mean of each column": rows.double() / spread,
                "divide by the standard deviation of each column": away,
                "that is the variance; divide by its root": away / spread**2,
                "each column has its own mean and standard deviation": (
                    rows.double() - train.double().mean()
                )
                / train.double().std(correction=0),
            }
            equal(what, found[part], either(train), mistakes, tolerance=1e-3)


def _nearer(found: object, candidates: list[Tensor]) -> Tensor:
    """The candidate that is nearer to an answer, whatever that is."""
    if not isinstance(found, Tensor | np.ndarray):
        return candidates[0]
    found = torch.as_tensor(found).double()
    if found.shape != candidates[0].shape:
        return candidates[0]
    return min(candidates, key=lambda one: float((one - found).abs().sum()))


def _numbers(rows: Tensor, ddof: int) -> tuple[Tensor, Tensor]:
    values = rows.double().numpy()
    spread = values.std(0, ddof=min(ddof, len(values) - 1))
    # a column that never changes is left at 0
    spread = np.where(spread == 0, 1.0, spread)
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
    said = []
    for n, n_train, width in ((30, 57, 3), (24, 19, 12), (70, 40, 2)):
        # in double precision, as near rows have small distances
        train, held, fresh, off = (
            draws.normal(m, width).double()
            for m in (n_train, n, n + 5, n // 4)
        )
        rows = torch.cat([train[: n // 4] + 0.01 * off, fresh])
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
                "divided by the number of columns": right / width,
                "divided by the root of the number of columns": right
                / math.sqrt(width),
            },
        )
        own = _nearest(held, train)
        near = _below(right, own)
        equal(
            "copied_share",
            share(rows, held, train),
            near,
            {
                "this is how many; divide by the number of new rows": near
                * len(rows),
                "the limit is that of the median; take the 5 % "
                "quantile": _below(right, own, 0.5),
                "the limit must come from the held-out rows": _below(
                    right, right
                ),
                "the 95 % quantile leaves nearly all below; take the 5 % "
                "quantile": _below(right, own, 0.95),
                "held-out rows are compared with the training rows too, not "
                "with the new ones": _below(right, _nearest(held, rows)),
                "no row is exactly a training row; close is enough": 0.0,
                "this is the share that is farther away": 1 - near,
            },
            tolerance=1e-6,
        )
        said.append(near)
    return (
        "right. A model that draws from the same source as the training rows "
        "has a share near 5 %; of the rows that were tried "
        f"{said[0]:.0%} came too close, for 7 of 42 were copies"
    )


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
    for n, n_test, width in ((80, 25, 4), (50, 1, 3), (300, 40, 6)):
        mix = draws.normal(width, width) + 0.5 * torch.eye(width)
        shift = 0.6 * draws.normal(width)
        train, test = (
            draws.normal(m, width) @ mix + shift for m in (n, n_test)
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
    names = ("sigma for each column", "full covariance", "neither")
    for gap, each, full in (
        (9.0, 2.9, 11.0),
        (2.0, 2.9, 11.0),
        (15.0, 2.9, 11.0),
        (1.0, 0.4, 0.3),
    ):
        # far from zero: only differences to it count
        one = -float(draws.uniform(low=20, high=60))
        right = (
            names[0] if each >= gap else names[1] if full >= gap else names[2]
        )
        why = (
            f"The gap is {gap:g} nats. A sigma for each column gains {each:g} "
            f"nats over one sigma, a full covariance {full:g}. Take the "
            "simplest that gains at least the gap"
        )
        choice(
            "what_explains",
            explains(gap, one, one + each, one + full),
            right,
            {name: why for name in names if name != right},
        )


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

    Held against an inverse Fourier transform.
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
    for n in (3, 1, 5):
        tones = 20 + 40 * torch.arange(n) + draws.whole(0, 30, n)
        hertz = tones * RATE / SAMPLES  # whole periods in the sound
        phases = draws.uniform(n, low=0.2, high=6.0)
        wave = _wave(tones, phases, torch.ones(n))
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
        strong = draws.uniform(n, low=0.3, high=1.0)
        heard = loud(_wave(tones, phases, strong).float())
        right = torch.zeros(SAMPLES // 2).double()
        right[tones - 1] = strong.double() / strong.max()
        equal(
            "loudness",
            heard,
            right,
            {
                "this is the square; take the absolute value": right.square(),
                "the largest value is to be one": right
                * _scale(tones, phases, strong),
                "the first value, the constant part, is still there": (
                    torch.cat([torch.zeros(1).double(), right])
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
