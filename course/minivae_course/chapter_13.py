"""Checks for chapter 13: training fast."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from minivae.models import CVAE
from minivae_course.check import (
    Draws,
    Student,
    all_equal,
    check,
    choice,
    equal,
    function,
    require,
    telling,
    tensor,
    whole,
)

# --- a lying clock


@check()
def ratio_within_rounds(
    draws: Draws, ratio_of_rounds: Student, what_is_shown: Student
) -> None:
    """Median and quartiles of ratios, and what they show.

    Held against `numpy.quantile` on rounds in which both programs are
    slowed down by the same factor, with a first round that loads.
    """
    ratio = function("ratio_of_rounds", ratio_of_rounds)
    # of the first round: tiny, like any other, huge
    for first in (1 / 90, 1.0, 90.0):
        a, b = _rounds(draws, draws.whole(8, 32), 0.8, first)
        each = a[1:] / b[1:]
        lower = torch.stack([each.median(), *_quartiles(each)[1:]])
        mistakes = {
            "the first round is counted; it loads and allocates": _quartiles(
                a / b
            ),
            "this is b / a": _quartiles(1 / each),
            "the ratio of the medians; take a ratio in each round, and "
            "then the median": _of_medians(a[1:], b[1:]),
            "the ratio of the medians, with the first round": _of_medians(
                a, b
            ),
            "the differences a - b; take a / b": _quartiles(a[1:] - b[1:]),
            "the order is median, lower, upper": _quartiles(each)[[1, 0, 2]],
            "the order is median, lower, upper; here the last two have "
            "changed places": _quartiles(each)[[0, 2, 1]],
            "a mean is moved by one bad round; take the median": torch.stack(
                [each.mean(), *_quartiles(each)[1:]]
            ),
            "leave out the first round, wherever its ratio lies": _quartiles(
                (a / b).sort().values[1:]
            ),
            "leave out the first round, not the last": _quartiles(
                (a / b)[:-1]
            ),
            "only the first round is left out": _quartiles(each[1:]),
        }
        if len(each) % 2 == 0:
            text = "median() of torch takes the lower of two middle values"
            mistakes[f"{text}; quantile(0.5) takes their mean"] = lower
        equal(
            "median, lower and upper quartile of a / b",
            ratio(a, b),
            _quartiles(each),
            mistakes,
            tolerance=1e-6,
        )
    shown = function("what_is_shown", what_is_shown)
    cases = telling(lambda: _timed(draws), _shown, _other_rules())
    # at last a quartile is one, or hardly below and above
    one, more, half = torch.tensor([[1], [1.0002], [1]]).double().repeat(1, 9)
    half[::2] = 0.5
    ends = ((one, half), (half, one), (one, more), (more, one))
    for a, b in (*cases, *ends):
        found, right = shown(a, b), _shown(a, b)
        _, low, high = _quartiles(a[1:] / b[1:]).tolist()
        why = (
            f"The quartiles of a / b are {low:.3f} and {high:.3f}. Below one "
            "means that a takes less time; on both sides of one nothing is "
            "shown, whatever else the rounds say"
        )
        names = ("a is faster", "b is faster", "nothing")
        others = {name: why for name in names if name != right}
        choice("what_is_shown", found, right, others)


def _rounds(
    draws: Draws, n: int, spread: float, first: float
) -> tuple[Tensor, Tensor]:
    """Seconds of a and b, on a restless machine.

    Args:
        draws: source of the numbers.
        n: rounds, of which the first does not count.
        spread: of the logarithm of their ratio.
        first: what the ratio of the first round is multiplied by.
    """
    b = 0.01 * (0.8 * draws.normal(n)).exp().double()
    each = (spread * draws.normal(n).double()).exp()
    # some rounds disturb one of the two programs
    hit = draws.uniform(n) < float(draws.uniform(low=0.0, high=0.25))
    each = torch.where(hit, each * (2 * draws.normal(n).double()).exp(), each)
    each *= float(draws.uniform(low=-0.4, high=0.4).exp())
    each[0] *= first
    return b * each, b


def _timed(draws: Draws) -> tuple[Tensor, Tensor]:
    """Rounds of which no quartile is nearly one."""
    while True:
        spread = float(10 ** draws.uniform(low=-2.5, high=-0.3))
        first = float((4 * draws.normal(1)).exp())
        a, b = _rounds(draws, draws.whole(8, 50), spread, first)
        # now and then close to one, where nothing but the quartiles helps
        if draws.whole(0, 2):
            middle = float((a / b)[1:].median())
            near = 1 + float(draws.uniform(low=-0.06, high=0.06))
            a = a / middle * near
        _, low, high = _quartiles(a[1:] / b[1:]).tolist()
        if min(abs(low - 1), abs(high - 1)) > 1e-3:
            return a, b


def _side(low: float, high: float) -> str:
    """What is shown if all from low to high lies on one side of one."""
    if high < 1:
        return "a is faster"
    return "b is faster" if low > 1 else "nothing"


def _shown(a: Tensor, b: Tensor) -> str:
    _, low, high = _quartiles(a[1:] / b[1:]).tolist()
    return _side(low, high)


def _other_rules() -> dict[str, Callable[[Tensor, Tensor], str]]:
    """What else somebody may decide by; each is tried in some rounds."""

    def between(low: float, high: float, start: int = 1) -> Callable:
        def rule(a: Tensor, b: Tensor) -> str:
            each = (a / b).numpy()[start:]
            return _side(*np.quantile(each, [low, high]))

        return rule

    def about(middle: Callable, width: Callable) -> Callable:
        def rule(a: Tensor, b: Tensor) -> str:
            each = (a / b).numpy()[1:]
            at, off = middle(each), width(each)
            return _side(at - off, at + off)

        return rule

    def ratio(size: Callable) -> Callable:
        def rule(a: Tensor, b: Tensor) -> str:
            value = float(size(a[1:]) / size(b[1:]))
            return _side(value, value)

        return rule

    def distance(each: np.ndarray) -> float:
        return float(np.subtract(*np.quantile(each, [0.75, 0.25])))

    def steady(a: Tensor, b: Tensor) -> str:
        each = (a / b).numpy()[1:]
        return _shown(a, b) if distance(each) < 0.1 else "nothing"

    rules = {
        f"quantiles {low:.2f} and {high:.2f}": between(low, high)
        for low, high in (
            *((0.0, 1.0), (0.05, 0.95), (0.1, 0.9), (0.2, 0.8)),
            *((0.3, 0.7), (1 / 3, 2 / 3), (0.4, 0.6)),
            *((0.5, 0.5), (0.25, 0.25), (0.75, 0.75)),
        )
    }
    rules |= {
        f"median off by {margin}": about(np.median, lambda v, m=margin: m)
        for margin in (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2)
    }
    rules |= {
        f"mean and {k} times its {name}": about(
            np.mean, lambda v, k=k, n=n: k * v.std(ddof=1) / len(v) ** n
        )
        for k in (0, 1, 2)
        for name, n in (("error", 0.5), ("standard deviation", 0))
    }
    rules |= {
        "median and quartile distance": about(np.median, distance),
        "median and half of it": about(np.median, lambda v: distance(v) / 2),
        "median and standard deviation": about(np.median, np.std),
        "a small quartile distance": steady,
        "with the first round": between(0.25, 0.75, 0),
        "without two rounds": between(0.25, 0.75, 2),
        "the medians": ratio(lambda v: v.quantile(0.5)),
        "the sums": ratio(torch.sum),
        "the fastest rounds": ratio(torch.min),
    }
    return rules | {
        f"always {name}": lambda a, b, name=name: name
        for name in ("a is faster", "b is faster", "nothing")
    }


def _quartiles(values: Tensor) -> Tensor:
    return torch.from_numpy(np.quantile(values.numpy(), [0.5, 0.25, 0.75]))


def _of_medians(a: Tensor, b: Tensor) -> Tensor:
    return _quartiles(a) / _quartiles(b)


# --- count a CVAE


@check()
def count_multiply_adds(
    draws: Draws, multiply_adds: Student, label_cost: Student
) -> None:
    """Multiply-adds of a CVAE, held against a pass through the layers."""
    count = function("multiply_adds", multiply_adds)
    cost = function("label_cost", label_cost)
    shapes = [(20, (256, 128), 784, 10)]
    for layers in (1, 3, 2, 4):
        hidden = tuple(draws.whole(2, 30, layers).tolist())
        while layers > 1 and hidden[0] == hidden[-1]:
            hidden = tuple(draws.whole(2, 30, layers).tolist())
        pixels, classes = draws.whole(4, 40), draws.whole(2, 9)
        shapes.append((draws.whole(1, 9), hidden, pixels, classes))
    for latent, hidden, pixels, classes in shapes:
        sizes = (latent, hidden, pixels, classes)
        right = _operations(*sizes)
        first = (pixels + classes) * hidden[0]
        half = torch.tensor([1.0, 2.0]) * latent * hidden[-1]
        biases = 2 * sum(hidden) + 2 * latent + pixels
        enter = classes * hidden[0]
        leave = classes * hidden[-1]
        what = f"multiply_adds{sizes}"
        equal(
            what,
            count(*sizes),
            right,
            {
                "the encoder emits mu and logvar, 2 L numbers": right - half,
                "nobody needs the gradient by the pixels: the first layer "
                "has one product less on the way back": right
                + torch.tensor([0.0, first]),
                "this counts a multiply-add as two operations": 2 * right,
                "without the label: both networks read C numbers more": right
                - torch.tensor([enter + leave, enter + 2.0 * leave]),
                "the decoder reads the label too": right
                - torch.tensor([leave, 2.0 * leave]),
                "the encoder reads the label too": right
                - torch.tensor([enter, enter]),
                "each layer of the decoder passes a gradient on to its "
                "input, also the first": right
                - torch.tensor([0.0, (latent + classes) * hidden[-1]]),
                "biases are left out": right
                + torch.tensor([1.0, 2.0]) * biases,
                "the way back only has the gradients by the weights; each "
                "layer also passes one on to its input": torch.stack(
                    [right[0], right[0]]
                ),
            },
            tolerance=1e-7,
        )
        plain = torch.tensor([enter + leave, enter + 2 * leave]).double()
        equal(
            f"label_cost{sizes}",
            cost(*sizes),
            plain,
            {
                "the way back costs the decoder's label columns twice, for "
                "the weights and for the input": torch.stack(
                    [plain[0], plain[0]]
                ),
                "the encoder's label columns need no gradient by their "
                "input": 2 * plain[0] * torch.tensor([0.5, 1]),
                "the decoder reads the label too": torch.tensor(
                    [enter, enter]
                ),
                "the encoder reads the label too": torch.tensor(
                    [leave, 2 * leave]
                ),
            },
            tolerance=1e-7,
        )


def _operations(
    latent: int, hidden: tuple[int, ...], pixels: int, classes: int
) -> Tensor:
    """Forward and backward multiply-adds for each digit, as they run."""
    model = CVAE(latent, hidden, classes, shape=(pixels,))
    found = torch.zeros(2, dtype=torch.float64)

    def count(layer, given, out) -> None:
        one = given[0].shape[-1] * out.shape[-1]
        # on the way back one product for the weights, and one for the
        # input where that has a gradient to pass on
        found[0] += one
        found[1] += 2 * one if given[0].requires_grad else one

    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            layer.register_forward_hook(count)
    x, y = torch.zeros(2, pixels), torch.zeros(2, dtype=torch.int64)
    model(x, y)
    return found


# --- equal time


@check()
def equal_time(draws: Draws, score: Student, decide: Student) -> None:
    """Which batch is best after the same seconds, if any.

    Held against a loop over runs whose curves cross, in cases that tell
    other rules apart.
    """
    each = function("score", score)
    cases = telling(lambda: _scored_run(draws), _score_values, _score_rules())
    cases += [_scored_run(draws) for _ in range(20)]
    mistakes = {
        text: [rule(*case) for case in cases]
        for text, rule in _score_rules().items()
        if not text.startswith("rule")
    }
    found = [each(*case) for case in cases]
    right = [_score(*case) for case in cases]
    all_equal(["score"] * len(cases), found, right, mistakes)
    choose = function("decide", decide)
    decisions = telling(lambda: _race(draws), _decision, _decide_rules())
    for runs, seconds in [*decisions, _tie(draws), _seed_behind(draws)]:
        found = whole("decide", choose(runs, seconds))
        winner = _decision(runs, seconds)
        if found == winner:
            continue
        first, second, *_ = _ranking(runs, seconds)
        lead = float(first[1].mean() - second[1].mean())
        spread = max(_span(first[1]), _span(second[1]))
        text = (
            f"the lead of {lead:.3g} nats over the second best, and a range "
            f"of {spread:.3g} nats between the seeds of one of these two"
        )
        if winner == 0 and found == first[0]:
            hint = f"{text}: the lead is not larger, so answer 0"
        elif found == 0:
            hint = f"{text}: the lead is larger, so it decides"
        else:
            hint = (
                f"after {seconds:g} seconds {found} does not have the best "
                "mean score. A run that has ended keeps its last pass"
            )
        require(False, f"decide: found {found}, expected {winner}; {hint}")


def _score(run: dict, seconds: float) -> Tensor:
    """The scores (seeds,), one pass after the other."""
    complete, most = 0, run["elbo"].shape[2]
    while (complete + 1) * run["seconds"] <= seconds and complete < most:
        complete += 1
    at = run["elbo"][:, :, complete - 1].double()
    return at[at.mean(1).argmax()]


def _score_values(run: dict, seconds: float) -> object:
    return _score(run, seconds).tolist()


def _score_rules() -> dict[str, Callable[[dict, float], object]]:
    """Other rules for a score; those named "rule" are no diagnosis."""

    def after(count: Callable) -> Callable:
        def rule(run: dict, seconds: float) -> object:
            n, most = count(seconds / run["seconds"]), run["elbo"].shape[2]
            n = min(max(n, 1), most)
            return _score_values(run, (n + 0.5) * run["seconds"])

        return rule

    def by(choose: Callable) -> Callable:
        def rule(run: dict, seconds: float) -> object:
            elbo = run["elbo"].double()
            n = min(math.floor(seconds / run["seconds"]), elbo.shape[2])
            found = choose(elbo[:, :, :n], elbo)
            if isinstance(found, int) or found.dim() == 0:
                found = elbo[int(found), :, n - 1]
            return found.tolist()

        return rule

    def mean(run: dict, seconds: float) -> object:
        return float(_score(run, seconds).mean())

    def wound(run: dict, seconds: float) -> object:
        n = math.floor(seconds / run["seconds"]) - 1
        n = n % run["elbo"].shape[2] + 1
        return _score_values(run, (n + 0.5) * run["seconds"])

    return {
        "this is one pass too many: only complete passes count, and after n "
        "of them the ELBO stands at index n - 1": after(
            lambda n: math.floor(n) + 1
        ),
        "a pass that is complete just at that time counts": after(
            lambda n: math.ceil(n) - 1
        ),
        "this is one pass too few": after(lambda n: math.floor(n) - 1),
        "this is the end of the run, whatever the time": after(
            lambda n: 10**6
        ),
        "a run that has ended keeps its last pass": wound,
        "this is the worst step size; a higher ELBO is better": by(
            lambda now, all: now[:, :, -1].mean(1).argmin()
        ),
        "choose the step size by what counts, the ELBO at that time and not "
        "at the end": by(lambda now, all: all[:, :, -1].mean(1).argmax()),
        "each seed got a step size of its own; take the one with the best "
        "mean for all seeds": by(lambda now, all: now[:, :, -1].amax(0)),
        "this is the mean over the step sizes": by(
            lambda now, all: now[:, :, -1].mean(0)
        ),
        "this is the mean over the seeds; return each seed": mean,
        "choose the step size by its mean, not by its best seed": by(
            lambda now, all: now[:, :, -1].amax(1).argmax()
        ),
        "choose the step size by its mean, not by its worst seed": by(
            lambda now, all: now[:, :, -1].amin(1).argmax()
        ),
        "choose the step size by its mean, not by the median": by(
            lambda now, all: now[:, :, -1].quantile(0.5, dim=1).argmax()
        ),
        "choose the step size by all seeds, not by the first": by(
            lambda now, all: now[:, 0, -1].argmax()
        ),
        "choose the step size by the last pass, not by the best so far": by(
            lambda now, all: now.mean(1).amax(1).argmax()
        ),
        "choose the step size by the last pass, not by the mean of all": by(
            lambda now, all: now.mean((1, 2)).argmax()
        ),
        "rule: rounds the passes": after(round),
        "rule: counts the pass that runs": after(math.ceil),
        "rule: steadiest": by(lambda now, all: now[:, :, -1].std(1).argmin()),
        "rule: first": by(lambda now, all: 0),
        "rule: last": by(lambda now, all: -1),
        "rule: best pass": by(
            lambda now, all: now.amax(2)[now.amax(2).mean(1).argmax()]
        ),
    }


def _scored_run(draws: Draws) -> tuple[dict, float]:
    """A run and a time, often beyond its end or just at a pass."""
    while True:
        rates, seeds, passes = (
            draws.whole(1, 5),
            draws.whole(2, 6),
            draws.whole(4, 25),
        )
        run = _run(draws, rates, seeds, passes)
        n = draws.whole(1, passes + 8)
        part = (0.0, 0.3, 0.5, 0.9)[draws.whole(0, 4)]
        seconds = (n + part) * run["seconds"]
        # a choice that no error of rounding can change
        if _lead_of_a_rate(run, seconds) > 1e-3:
            return run, seconds


def _run(draws: Draws, rates: int, seeds: int, passes: int) -> dict:
    """ELBO (step sizes, seeds, passes); the curves of step sizes cross."""
    time = torch.arange(1, passes + 1)
    gap = draws.uniform(rates, 1, 1, low=5, high=60)
    speed = draws.uniform(rates, 1, 1, low=0.05, high=0.5)
    end = draws.uniform(rates, 1, 1, low=-106, high=-95)
    noise = 3 * draws.normal(rates, seeds, passes)
    # the seeds of one step size agree more than those of another
    noise *= draws.uniform(rates, 1, 1, low=0.2, high=2)
    elbo = end - gap * (-speed * time).exp() + noise
    # of a short binary fraction, so that passes end at exact times
    return {"seconds": draws.whole(2, 20) / 8, "elbo": elbo}


def _span(values: Tensor) -> float:
    return float(values.max() - values.min())


def _ranking(runs: dict, seconds: float) -> list[tuple[int, Tensor]]:
    """Sizes and their scores, the best mean first."""
    found = [(size, _score(run, seconds)) for size, run in runs.items()]
    return sorted(found, key=lambda one: -float(one[1].mean()))


def _decision(runs: dict, seconds: float) -> int:
    return _lead_decides(_ranking(runs, seconds))


def _decide_rules() -> dict[str, Callable[[dict, float], int]]:
    """What else somebody may decide by; each is tried in some race."""

    def if_(holds: Callable) -> Callable:
        def rule(runs: dict, seconds: float) -> int:
            found = _ranking(runs, seconds)
            scores = [scores for _, scores in found]
            return found[0][0] if holds(scores) else 0

        return rule

    def by(key: Callable) -> Callable:
        def rule(runs: dict, seconds: float) -> int:
            found = _ranking(runs, seconds)
            found.sort(key=lambda one: -key(one[1]))
            return _lead_decides(found)

        return rule

    def given(change: Callable) -> Callable:
        def rule(runs: dict, seconds: float) -> int:
            return _decision(*change(runs, seconds))

        return rule

    def scored(choose: Callable) -> Callable:
        """Decide by scores (seeds,) that are chosen otherwise."""

        def rule(runs: dict, seconds: float) -> int:
            found = []
            for size, run in runs.items():
                n = min(int(seconds / run["seconds"]), run["elbo"].shape[2])
                found.append((size, choose(run["elbo"][:, :, :n].double())))
            found.sort(key=lambda one: -float(one[1].mean()))
            return _lead_decides(found)

        return rule

    def range_at_the_end(runs: dict, seconds: float) -> int:
        found = _ranking(runs, seconds)
        lead = float(found[0][1].mean() - found[1][1].mean())
        ends = [_span(_score(runs[size], 1e9)) for size, _ in found[:2]]
        return found[0][0] if lead > max(ends) else 0

    def paced(pace: Callable) -> Callable:
        def change(runs: dict, seconds: float) -> tuple[dict, float]:
            one = pace(run["seconds"] for run in runs.values())
            return {
                size: run | {"seconds": one} for size, run in runs.items()
            }, seconds

        return given(change)

    def lead(v: list[Tensor], other: int = 1) -> float:
        return float(v[0].mean() - v[other].mean())

    def spans(v: list[Tensor]) -> tuple[float, float]:
        return _span(v[0]), _span(v[1])

    def stds(v: list[Tensor], ddof: int = 1) -> tuple[float, float]:
        first, second = (float(one.std(correction=ddof)) for one in v[:2])
        return first, second

    def error(v: list[Tensor]) -> float:
        return math.hypot(*stds(v)) / math.sqrt(len(v[0]))

    rest = {
        "lead over all others": lambda v: (
            float(v[0].mean() - torch.stack(v[1:]).mean()) > max(spans(v))
        ),
        "ranges that do not meet": lambda v: (
            float(v[0].min() - v[1].max()) > 0
        ),
        "best seeds": lambda v: float(v[0].max() - v[1].max()) > max(spans(v)),
        "worst seeds": lambda v: (
            float(v[0].min() - v[1].min()) > max(spans(v))
        ),
        "lead over the worst": lambda v: lead(v, -1) > max(spans(v)),
        "lead over the worst, all ranges": lambda v: (
            lead(v, -1) > max(map(_span, v))
        ),
        "range of all sizes": lambda v: lead(v) > max(map(_span, v)),
        "range of all scores": lambda v: lead(v) > _span(torch.cat(v[:2])) / 2,
        "range of the best": lambda v: lead(v) > spans(v)[0],
        "range of the second": lambda v: lead(v) > spans(v)[1],
        "smaller range": lambda v: lead(v) > min(spans(v)),
        "sum of the ranges": lambda v: lead(v) > sum(spans(v)),
        "mean of the ranges": lambda v: lead(v) > sum(spans(v)) / 2,
        "hypotenuse of the ranges": lambda v: lead(v) > math.hypot(*spans(v)),
        "half the range": lambda v: lead(v) > max(spans(v)) / 2,
        "twice the range": lambda v: lead(v) > 2 * max(spans(v)),
        "larger deviation": lambda v: lead(v) > max(stds(v)),
        "deviation by n": lambda v: lead(v) > max(stds(v, 0)),
        "twice the deviation": lambda v: lead(v) > 2 * max(stds(v)),
        "three times the deviation": lambda v: lead(v) > 3 * max(stds(v)),
        "sum of the deviations": lambda v: lead(v) > sum(stds(v)),
        "standard error": lambda v: lead(v) > error(v),
        "two standard errors": lambda v: lead(v) > 2 * error(v),
        "one nat": lambda v: lead(v) > 1,
        "two nats": lambda v: lead(v) > 2,
        "always": lambda v: True,
        "never": lambda v: False,
    }
    return {name: if_(holds) for name, holds in rest.items()} | {
        "size with the best seed": by(lambda v: float(v.max())),
        "size with the best worst seed": by(lambda v: float(v.min())),
        "size with the best median": by(lambda v: float(v.quantile(0.5))),
        "first two": given(lambda runs, t: (dict(list(runs.items())[:2]), t)),
        "step size of the best seed": scored(
            lambda now: now[now[:, :, -1].amax(1).argmax(), :, -1]
        ),
        "step size of most seeds": scored(
            lambda now: now[now[:, :, -1].argmax(0).mode().values, :, -1]
        ),
        "best pass of each seed": scored(
            lambda now: now.amax(2)[now.amax(2).mean(1).argmax()]
        ),
        "ranges at the end": range_at_the_end,
        "end of each run": given(lambda runs, t: (runs, 1e9)),
        "the slowest pace": paced(max),
        "the fastest pace": paced(min),
    }


def _lead_decides(found: list[tuple[int, Tensor]]) -> int:
    (size, first), (_, second), *_ = found
    lead = float(first.mean() - second.mean())
    return size if lead > max(_span(first), _span(second)) else 0


def _race(draws: Draws) -> tuple[dict, float]:
    """Runs of several sizes, and a time at which their order is its own."""
    while True:
        n, seeds = draws.whole(2, 6), draws.whole(3, 6)
        sizes = (2 ** torch.randperm(9, generator=draws.generator)[:n]) * 16
        seconds = draws.whole(16, 200) / 8
        scale = float(10 ** draws.uniform(low=-0.5, high=1))
        runs = {}
        for size in sizes.tolist():
            pace = draws.whole(2, min(20, int(8 * seconds) + 1)) / 8
            passes = draws.whole(3, 30)
            level = -100 - scale * float(draws.uniform(high=4))
            spread = scale * float(10 ** draws.uniform(low=-1.5, high=0.4))
            rates = draws.whole(1, 4)
            off = spread * draws.normal(rates, seeds, passes)
            worse = 9 * scale * draws.uniform(rates, 1, 1, low=0.05)
            worse[draws.whole(0, rates)] = 0.0
            now = min(math.floor(seconds / pace), passes)
            slope = scale * float(draws.uniform(low=0.1, high=1.5))
            time = slope * (torch.arange(1, passes + 1) - now)
            runs[size] = {"seconds": pace, "elbo": level + off - worse + time}
        (_, first), (_, second), *_ = _ranking(runs, seconds)
        lead = float(first.mean() - second.mean())
        gaps = [lead - _span(one) for one in (first, second)]
        gaps += [_lead_of_a_rate(run, seconds) for run in runs.values()]
        # clear of any error of rounding
        if min(lead, *map(abs, gaps)) > 1e-3:
            return runs, seconds


def _lead_of_a_rate(run: dict, seconds: float) -> float:
    """Lead of the best step size over the next one, infinite if alone."""
    n = min(math.floor(seconds / run["seconds"]), run["elbo"].shape[2])
    means = run["elbo"][:, :, n - 1].double().mean(1)
    best = means.sort(descending=True).values.tolist()
    return best[0] - best[1] if len(best) > 1 else math.inf


def _tie(draws: Draws) -> tuple[dict, float]:
    """A lead that is exactly the range, so nothing is decided."""
    seeds = torch.tensor([-1.0, 0.0, 1.0])
    best, second = -100 + seeds, -102 + seeds / 2
    if draws.whole(0, 2):
        best, second = -100 + seeds / 2, -102 + seeds
    runs = {
        64: {"seconds": 1.0, "elbo": second.view(1, 3, 1).repeat(1, 1, 9)},
        256: {"seconds": 0.5, "elbo": best.view(1, 3, 1).repeat(1, 1, 9)},
    }
    return runs, 4.0


def _seed_behind(draws: Draws) -> tuple[dict, float]:
    """A lead that decides, though one seed of the best is behind."""
    odd = torch.zeros(5)
    odd[draws.whole(0, 5)] = 1.0
    best, second = -100 - odd, -101.45 + odd
    runs = {
        32: {"seconds": 1.0, "elbo": second.view(1, 5, 1).repeat(1, 1, 9)},
        512: {"seconds": 0.5, "elbo": best.view(1, 5, 1).repeat(1, 1, 9)},
    }
    return runs, 4.0


# --- the same bits


@check()
def same_bits(draws: Draws, go_on: Student) -> None:
    """Steps of Adam that can be stopped anywhere.

    One run is held against Adam of PyTorch; two parts against one, bit for
    bit. Between the parts the state travels to another process and back.
    """
    steps = function("go_on", go_on)
    # weights and rows so small that epsilon matters come last
    cases = ((3, 4, 5, 1.0), (1, 0, 1, 1.0), (5, 7, 2, 1.0), (2, 2, 0, 1e-7))
    for size, n, more, scale in cases:
        x = scale * draws.normal(draws.whole(5, 60), size)
        seed = draws.whole(0, 10_000)
        start, other = (
            {
                "weights": scale * draws.normal(size),
                "mean": torch.zeros(size),
                "square": torch.zeros(size),
                "step": 0,
            }
            for _ in range(2)
        )
        one = _state(steps(start, x, seed, n + more))
        equal(
            "the weights of a run in one go",
            one["weights"],
            _by_adam(start, x, seed, n + more),
            {
                f"in one go, {text}": _forgetful(
                    start, x, seed, n + more, slip
                )["weights"]
                for text, slip in {
                    "the batch of a step must come from seed + step": "batch",
                    "divide the means by 1 - beta^step": "correct",
                    "the steps count from 1": "from 0",
                }.items()
            },
        )
        half = _state(steps(start, x, seed, n))
        require(
            whole('"step"', half["step"]) == n,
            f'after {n} steps "step" is {half["step"]}; it must count all '
            "steps of the run",
        )
        # another run comes between the two parts
        steps(other, x, seed, n)
        both = _state(steps(half, x, seed, more))
        _compare_parts(one, both, half, x, seed, more)


def _compare_parts(
    one: dict, both: dict, half: dict, x: Tensor, seed: int, more: int
) -> None:
    slips = {
        "all but the weights starts again: the means, the batches and the "
        "count of steps": "all",
        "the running means start at zero again": "means",
        "the batches of the first part come again": "batches",
        "the count of steps starts again, and so do the batches and the "
        "correction of the means": "step",
        "the correction of the means starts again": "correction",
    }
    same = all(
        torch.equal(one[k], both[k]) for k in ("weights", "mean", "square")
    )
    if same:
        require(
            one["step"] == both["step"],
            '"step" after two parts is not the number of all steps',
        )
        return
    for text, slip in slips.items():
        other = _forgetful(half, x, seed, more, slip)["weights"]
        require(
            not torch.allclose(both["weights"], other, atol=1e-6)
            or torch.allclose(one["weights"], other, atol=1e-6),
            f"two parts differ from one run: {text}",
        )
    off = max(
        float((one[k] - both[k]).abs().max())
        for k in ("weights", "mean", "square")
    )
    hint = (
        "only in the last bits: compute both in the same order and precision"
        if off < 1e-5
        else "does anything random, or anything that you keep outside of the "
        "state, go on as it was?"
    )
    require(
        False,
        f"two parts differ from one run by up to {off:.2g}; {hint}",
    )


def _state(found: Any) -> dict:
    names = ("weights", "mean", "square", "step")
    require(
        isinstance(found, dict) and all(k in found for k in names),
        'go_on: return a dict with "weights", "mean", "square" and "step"',
    )
    state: dict = {"step": found["step"]}
    for name in names[:3]:
        value = found[name]
        tensor(f'"{name}"', value)
        # with all its bits, and nothing besides
        if isinstance(value, list | tuple):
            value = np.asarray(value, dtype=float)
        state[name] = torch.as_tensor(value)
    return state


def _rows(x: Tensor, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return x[torch.randint(len(x), (4,), generator=generator)]


def _by_adam(start: dict, x: Tensor, seed: int, n: int) -> Tensor:
    weights = start["weights"].clone().requires_grad_()
    adam = torch.optim.Adam([weights], 0.1, (0.9, 0.99))
    for step in range(1, n + 1):
        weights.grad = weights.detach() - _rows(x, seed + step).mean(0)
        adam.step()
    return weights.detach()


def _forgetful(
    state: dict, x: Tensor, seed: int, n: int, slip: str
) -> dict[str, Tensor]:
    """The steps with one slip, to recognise it."""
    weights = state["weights"].double()
    mean, square = state["mean"].double(), state["square"].double()
    done = 0 if slip in ("step", "all") else state["step"]
    if slip in ("means", "all"):
        mean, square = torch.zeros_like(mean), torch.zeros_like(square)
    generator = torch.Generator().manual_seed(seed)
    for i in range(1, n + 1):
        step = done + i - (slip == "from 0")
        batch = _rows(x, seed + (i if slip == "batches" else step))
        if slip == "batch":
            rows = torch.randint(len(x), (4,), generator=generator)
            batch = x[rows]
        gradient = weights - batch.mean(0)
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.99 * square + 0.01 * gradient.square()
        power = i if slip == "correction" else step
        a, b = 1 - 0.9**power, 1 - 0.99**power
        if slip == "correct" or power == 0:
            a = b = 1.0
        weights = weights - 0.1 * (mean / a) / ((square / b).sqrt() + 1e-8)
    return {"weights": weights.float(), "mean": mean, "square": square}


# --- a ring


@check()
def ring(
    draws: Draws,
    per_share: Student,
    per_process: Student,
    constant: Student,
    best_count: Student,
) -> None:
    """The three parts of the time in a ring, and the best size of it.

    Held against the formula of the chapter, and the best against all sizes.
    """
    parts = [
        function("per_share", per_share),
        function("per_process", per_process),
        function("constant", constant),
    ]
    best = function("best_count", best_count)
    for optimum in _optima(draws):
        delay = float(10 ** draws.uniform(low=-5, high=-3))
        w = float(10 ** draws.uniform(low=8, high=10))
        g = float(round(w * delay * float(draws.uniform(low=2, high=30))))
        talk = g / w
        # the sum over n has its minimum there; 0: talking never pays
        t = 2 * talk + 2 * delay * optimum**2 if optimum else talk
        a, b, c = t - 2 * talk, 2 * delay, 2 * talk - 2 * delay
        given = (t, g, w, delay)
        found = [part(*given) for part in parts]
        scale = max(abs(a), b, abs(c))
        equal(
            "a, the factor of 1/n",
            tensor("per_share", found[0]) / scale,
            a / scale,
            {
                "multiply the bracket out: -2 g / (n w) is a part of it": t
                / scale,
                "there are 2 (n - 1) messages, not n - 1": (t - talk) / scale,
                "the sign of the part of the gradient": (t + 2 * talk) / scale,
            },
            tolerance=1e-6,
        )
        equal(
            "b, the factor of n",
            tensor("per_process", found[1]) / delay,
            b / delay,
            {
                "there are 2 (n - 1) messages, not n - 1": 1.0,
                "g / (n w) times n is a constant, not a part of b": (
                    b + 2 * talk
                )
                / delay,
            },
            tolerance=1e-6,
        )
        equal(
            "c, the constant",
            tensor("constant", found[2]) / scale,
            c / scale,
            {
                "the -1 in 2 (n - 1) leaves -2 delay": 2 * talk / scale,
                "n in 2 (n - 1) cancels with that in g / (n w): 2 g / w is "
                "missing": -2 * delay / scale,
                "the sign of 2 delay": (2 * talk + 2 * delay) / scale,
            },
            tolerance=1e-6,
        )
        counts = range(1, 400)
        seconds = [_seconds_in_a_ring(n, *given) for n in counts]
        right = counts[int(np.argmin(seconds))]
        n = whole("best_count", best(*given))
        require(n >= 1, f"best_count: found {n}; one process is the least")
        time = _seconds_in_a_ring(n, *given)
        real = math.sqrt(max(a, 0) / b)
        near = {math.floor(real), math.ceil(real)} - {0}
        hint = (
            f"The formula without rounding has its minimum at n = {real:.3f}; "
            "compare the times of the whole numbers on both sides"
            if n in near
            else "Set the derivative by n to zero: n is the root of a / b"
            if a > 0
            else "Where a is not positive, every further process costs time"
        )
        require(
            time <= min(seconds) * (1 + 1e-9),
            f"best_count: {n} processes take {time:.4g} s, and {right} take "
            f"{min(seconds):.4g} s. {hint}",
        )


def _optima(draws: Draws) -> list[float]:
    """Where t_n has its minimum: each on another side of a whole number."""
    low, high = draws.whole(2, 5), draws.whole(5, 9)
    part = draws.uniform(6, low=0.1, high=0.9).tolist()

    def rounded_down(n: int, part: float) -> float:
        # nearer to n, and yet n + 1 is better
        edge = math.sqrt(n * (n + 1))
        return edge + part * (n + 0.5 - edge)

    return [
        rounded_down(1, part[0]),
        rounded_down(low, part[1]),
        high + 0.4 * part[2],
        high + 0.6 + 0.4 * part[3],
        part[4],
        100 + 150 * part[5],
        0.0,  # talking never pays
    ]


def _seconds_in_a_ring(
    n: int, t: float, g: float, w: float, delay: float
) -> float:
    """Of a step that n processes share (Patarasuk & Yuan 2009)."""
    return t / n + 2 * (n - 1) * (delay + g / n / w)
