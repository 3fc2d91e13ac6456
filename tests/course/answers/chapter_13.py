"""Answers to the exercises of chapter 13."""

import math
import operator
import statistics
from itertools import pairwise

import numpy as np
import torch

from answers import right, wrong

# --- a lying clock


def quartiles(values):
    at = torch.tensor([0.5, 0.25, 0.75], dtype=torch.float64)
    return values.quantile(at)


def in_rounds(a, b):
    return tuple(quartiles(a[1:] / b[1:]).tolist())


def verdict(a, b):
    _, low, high = in_rounds(a, b)
    if high < 1:
        return "a is faster"
    return "b is faster" if low > 1 else "nothing"


def clock(ratio=in_rounds, shown=verdict):
    def several():
        return {"ratio_of_rounds": ratio, "what_is_shown": shown}

    return several


right("ratio_within_rounds", "quantiles of the ratios")(clock())


@right("ratio_within_rounds", "NumPy, logarithms for the verdict")
def several():
    def ratio_of_rounds(a, b):
        each = a.numpy()[1:] / b.numpy()[1:]
        return np.percentile(each, [50, 25, 75])

    def what_is_shown(a, b):
        logs = np.log(ratio_of_rounds(a, b)[1:])
        if logs[0] * logs[1] <= 0:
            return "Nothing"
        return ("a" if logs[0] < 0 else "b") + " is faster"

    return clock(ratio_of_rounds, what_is_shown)()


wrong("ratio_within_rounds", "counts the first round", says="first round is")(
    clock(lambda a, b: quartiles(a / b))
)
wrong("ratio_within_rounds", "upside down", says="this is b / a")(
    clock(lambda a, b: quartiles(b[1:] / a[1:]))
)
wrong(
    "ratio_within_rounds",
    "the ratio of the medians",
    says="take a ratio in each round",
)(clock(lambda a, b: quartiles(a[1:]) / quartiles(b[1:])))
wrong("ratio_within_rounds", "differences", says="the differences a - b")(
    clock(lambda a, b: quartiles(a[1:] - b[1:]))
)
wrong("ratio_within_rounds", "quartiles in rising order", says="the order is")(
    clock(lambda a, b: quartiles(a[1:] / b[1:]).sort()[0])
)
wrong("ratio_within_rounds", "a mean", says="moved by one bad round")(
    clock(lambda a, b: ((a[1:] / b[1:]).mean().item(), *in_rounds(a, b)[1:]))
)
wrong(
    "ratio_within_rounds",
    "decides by the median alone",
    says="on both sides of one nothing is",
)(
    clock(
        shown=lambda a, b: (
            "a is faster" if in_rounds(a, b)[0] < 1 else "b is faster"
        )
    )
)
wrong(
    "ratio_within_rounds",
    "takes a ratio below one for slower",
    says="below one means that a takes less",
)(clock(shown=lambda a, b: verdict(b, a)))
wrong(
    "ratio_within_rounds",
    "decides by the quartiles of the two, not of their ratio",
    says="the quartiles of a / b are",
)(
    clock(
        shown=lambda a, b: (
            "a is faster"
            if quartiles(a)[2] < quartiles(b)[1]
            else "b is faster"
            if quartiles(b)[2] < quartiles(a)[1]
            else "nothing"
        )
    )
)
wrong("ratio_within_rounds", "always nothing", says="is not right")(
    clock(shown=lambda a, b: "nothing")
)


@right("ratio_within_rounds", "statistics, a tuple of tensors, loops")
def several():
    def ratio_of_rounds(a, b):
        each = [float(x / y) for x, y in zip(a, b)][1:]
        low, middle, high = statistics.quantiles(each, n=4, method="inclusive")
        return tuple(torch.tensor(one) for one in (middle, low, high))

    def what_is_shown(a, b):
        _, low, high = ratio_of_rounds(a, b)
        shown = {(-1, -1): "a is faster", (1, 1): "b is faster"}
        sides = [int((one - 1).sign()) for one in (low, high)]
        return shown.get(tuple(sides), "nothing")

    return clock(ratio_of_rounds, what_is_shown)()


def slow(text, says, ratio):
    wrong("ratio_within_rounds", text, says=says)(clock(ratio))


def each_ratio(a, b):
    return (a / b)[1:]


def without(each, at):
    return torch.cat([each[:at], each[at + 1 :]])


slow(
    "leaves out the smallest ratio",
    "median",
    lambda a, b: quartiles((a / b).sort().values[1:]),
)
slow(
    "leaves out the largest ratio",
    "median",
    lambda a, b: quartiles((a / b).sort().values[:-1]),
)
slow(
    "leaves out the slowest round",
    "median",
    lambda a, b: quartiles(without(a / b, int((a + b).argmax()))),
)
slow(
    "leaves out two rounds",
    "median",
    lambda a, b: quartiles((a / b)[2:]),
)
slow(
    "leaves out the last round",
    "median",
    lambda a, b: quartiles((a / b)[:-1]),
)
slow(
    "leaves out the first and the last",
    "median",
    lambda a, b: quartiles((a / b)[1:-1]),
)
slow(
    "the lower of the two middle values",
    "lower of two middle values",
    lambda a, b: (each_ratio(a, b).median(), *in_rounds(a, b)[1:]),
)
slow(
    "tenths instead of quarters",
    "median",
    lambda a, b: each_ratio(a, b).quantile(
        torch.tensor([0.5, 0.1, 0.9]).double()
    ),
)
slow(
    "the standard deviation",
    "median",
    lambda a, b: torch.stack(
        [
            each_ratio(a, b).median(),
            each_ratio(a, b).mean() - each_ratio(a, b).std(),
            each_ratio(a, b).mean() + each_ratio(a, b).std(),
        ]
    ),
)
slow(
    "upper before lower",
    "the order is",
    lambda a, b: quartiles(each_ratio(a, b))[[0, 2, 1]],
)
slow(
    "the geometric mean",
    "median",
    lambda a, b: (
        each_ratio(a, b).log().mean().exp(),
        *in_rounds(a, b)[1:],
    ),
)
slow(
    "the ratio of the sums",
    "median",
    lambda a, b: (a[1:].sum() / b[1:].sum(), *in_rounds(a, b)[1:]),
)
slow(
    "pairs that are sorted by themselves",
    "median",
    lambda a, b: quartiles(a[1:].sort().values / b[1:].sort().values),
)
slow("the median alone", "expected", lambda a, b: in_rounds(a, b)[0])
slow("all ratios", "expected", lambda a, b: each_ratio(a, b))
slow(
    "per cent",
    "median",
    lambda a, b: quartiles(100 * (each_ratio(a, b) - 1)),
)
slow(
    "rounded to hundredths",
    "median",
    lambda a, b: quartiles(each_ratio(a, b)).round(decimals=2),
)


@wrong("ratio_within_rounds", "leaves the first round at zero", says="place")
def several():
    def ratio(a, b):
        found = in_rounds(a, b)
        a[0], b[0] = 0.0, 1.0
        return found

    return clock(ratio)()


def ruled(text, rule, says="the quartiles of a / b are"):
    """What is shown, by a rule of a low and a high end."""

    def shown(a, b):
        low, high = rule(a, b)
        if high < 1:
            return "a is faster"
        return "b is faster" if low > 1 else "nothing"

    wrong("ratio_within_rounds", text, says=says)(clock(shown=shown))


def by_quantiles(low, high, start=1):
    at = torch.tensor([low, high], dtype=torch.float64)
    return lambda a, b: (a / b)[start:].quantile(at)


def by_median(margin):
    def rule(a, b):
        middle = (a / b)[1:].quantile(0.5)
        return middle - margin, middle + margin

    return rule


def by_mean(width):
    def rule(a, b):
        each = (a / b)[1:]
        slack = width(each)
        return each.mean() - slack, each.mean() + slack

    return rule


ruled("a median off by 7 %", by_median(0.07))
ruled("a median off by 2 %", by_median(0.02))
ruled("a median off by 15 %", by_median(0.15))
for _text, _slack in (("within 1e-3 of one", 1e-3), ("nearly one", 4e-4)):

    def _near_one(a, b, slack=_slack):
        _, low, high = in_rounds(a, b)
        if high < 1 - slack:
            return "a is faster"
        return "b is faster" if low > 1 + slack else "nothing"

    wrong("ratio_within_rounds", _text, says="the quartiles of a / b are")(
        clock(shown=_near_one)
    )
for _text, _a, _b in (
    ("a is faster where the quartile is one", operator.le, operator.gt),
    ("b is faster where the quartile is one", operator.lt, operator.ge),
):

    def _at_one(a, b, below=_a, above=_b):
        _, low, high = in_rounds(a, b)
        if below(high, 1):
            return "a is faster"
        return "b is faster" if above(low, 1) else "nothing"

    wrong("ratio_within_rounds", _text, says="1.000")(clock(shown=_at_one))


def at_most_one(a, b):
    _, low, high = in_rounds(a, b)
    if low < 1 and high <= 1:
        return "a is faster"
    return "b is faster" if high > 1 and low >= 1 else "nothing"


wrong("ratio_within_rounds", "one quartile may be one", says="1.000")(
    clock(shown=at_most_one)
)
ruled("the mean and its error", by_mean(lambda v: v.std() / len(v) ** 0.5))
ruled("twice the error", by_mean(lambda v: 2 * v.std() / len(v) ** 0.5))
ruled("the mean and the standard deviation", by_mean(lambda v: v.std()))
ruled("two standard deviations", by_mean(lambda v: 2 * v.std()))
ruled("the mean alone", by_mean(lambda v: 0.0))
ruled("all rounds on one side", by_quantiles(0.0, 1.0))
ruled("nine of ten rounds on one side", by_quantiles(0.1, 0.9))
ruled("two of three rounds on one side", by_quantiles(1 / 3, 2 / 3))
ruled("with the first round", by_quantiles(0.25, 0.75, 0))
ruled("without two rounds", by_quantiles(0.25, 0.75, 2))
ruled("the upper quartile alone", by_quantiles(0.75, 0.75))
ruled("the lower quartile alone", by_quantiles(0.25, 0.25))
ruled(
    "the medians",
    lambda a, b: 2 * [a[1:].quantile(0.5) / b[1:].quantile(0.5)],
)
ruled("the sums", lambda a, b: 2 * [a[1:].sum() / b[1:].sum()])
ruled(
    "the fastest rounds",
    lambda a, b: 2 * [a[1:].min() / b[1:].min()],
)
ruled(
    "a quartile distance below a tenth",
    lambda a, b: (
        in_rounds(a, b)[1:]
        if in_rounds(a, b)[2] - in_rounds(a, b)[1] < 0.1
        else (0, 2)
    ),
)
ruled(
    "the median and half the quartile distance",
    lambda a, b: (
        in_rounds(a, b)[0] - (in_rounds(a, b)[2] - in_rounds(a, b)[1]),
        in_rounds(a, b)[0] + (in_rounds(a, b)[2] - in_rounds(a, b)[1]),
    ),
)
wrong("ratio_within_rounds", "another word", says="expected one of")(
    clock(shown=lambda a, b: "a")
)


# --- count a CVAE


def layers(n_latent, hidden, n_pixels, n_classes, emitted=2, told=(1, 1)):
    enter = [n_pixels + told[0] * n_classes, *hidden, emitted * n_latent]
    leave = [n_latent + told[1] * n_classes, *reversed(hidden), n_pixels]
    return [
        n_in * n_out
        for sizes in (enter, leave)
        for n_in, n_out in pairwise(sizes)
    ]


def counted(*sizes, **slips):
    each = layers(*sizes, **slips)
    return sum(each), 2 * sum(each) - each[0]


def price(n_latent, hidden, n_pixels, n_classes):
    enter, leave = n_classes * hidden[0], n_classes * hidden[-1]
    return enter + leave, enter + 2 * leave


def counts(count=counted, cost=price):
    def several():
        return {"multiply_adds": count, "label_cost": cost}

    return several


right("count_multiply_adds", "layer by layer")(counts())


@right("count_multiply_adds", "tensors, and the label as a difference")
def several():
    def multiply_adds(n_latent, hidden, n_pixels, n_classes):
        sizes = (n_latent, hidden, n_pixels, n_classes)
        return torch.tensor(counted(*sizes))

    def label_cost(n_latent, hidden, n_pixels, n_classes):
        with_it = multiply_adds(n_latent, hidden, n_pixels, n_classes)
        return with_it - multiply_adds(n_latent, hidden, n_pixels, 0)

    return counts(multiply_adds, label_cost)()


wrong("count_multiply_adds", "L numbers from the encoder", says="2 L numbers")(
    counts(lambda *sizes: counted(*sizes, emitted=1))
)
wrong(
    "count_multiply_adds",
    "twice the forward pass for the way back",
    says="the gradient by the pixels",
)(counts(lambda *sizes: (sum(layers(*sizes)), 2 * sum(layers(*sizes)))))
wrong("count_multiply_adds", "two operations each", says="two operations")(
    counts(lambda *sizes: tuple(2 * n for n in counted(*sizes)))
)
wrong("count_multiply_adds", "no label", says="without the label")(
    counts(lambda *sizes: counted(*sizes, told=(0, 0)))
)
wrong(
    "count_multiply_adds",
    "the label to the encoder alone",
    says="the decoder reads the label too",
)(counts(lambda *sizes: counted(*sizes, told=(1, 0))))
wrong(
    "count_multiply_adds",
    "the way back as the way forward",
    says="passes one on to its input",
)(counts(lambda *sizes: (sum(layers(*sizes)), sum(layers(*sizes)))))
wrong("count_multiply_adds", "one number", says="found shape ()")(
    counts(lambda *sizes: sum(counted(*sizes)))
)
wrong(
    "count_multiply_adds",
    "the way back of the label as the way forward",
    says="columns twice",
)(counts(cost=lambda *sizes: (price(*sizes)[0], price(*sizes)[0])))
wrong(
    "count_multiply_adds",
    "the label's cost doubled on the way back",
    says="columns need no gradient",
)(counts(cost=lambda *sizes: (price(*sizes)[0], 2 * price(*sizes)[0])))
wrong(
    "count_multiply_adds",
    "the label's cost in the encoder alone",
    says="label_cost(20, (256, 128), 784, 10)",
)(counts(cost=lambda latent, hidden, pixels, c: (c * hidden[0],) * 2))


@right("count_multiply_adds", "a list of numbers, the label layer by layer")
def several():
    def multiply_adds(n_latent, hidden, n_pixels, n_classes):
        way, back, size = 0, 0, n_pixels + n_classes
        for i, n in enumerate([*hidden, 2 * n_latent]):
            way += size * n
            back += size * n * (1 if i == 0 else 2)
            size = n
        size = n_latent + n_classes
        for n in [*hidden[::-1], n_pixels]:
            way, back, size = way + size * n, back + 2 * size * n, n
        return [way, back]

    def label_cost(n_latent, hidden, n_pixels, n_classes):
        first, last = hidden[0], hidden[len(hidden) - 1]
        return np.array(
            [n_classes * (first + last), n_classes * (first + 2 * last)]
        )

    return counts(multiply_adds, label_cost)()


def miscounted(text, says, count):
    wrong("count_multiply_adds", text, says=says)(counts(count))


def misprised(text, cost, says="label_cost"):
    wrong("count_multiply_adds", text, says=says)(counts(cost=cost))


def product(enter, leave):
    each = [
        n_in * n_out
        for sizes in (enter, leave)
        for n_in, n_out in pairwise(sizes)
    ]
    return sum(each), 2 * sum(each) - each[0]


def in_order(latent, hidden, pixels, c):
    return product(
        [pixels + c, *hidden, 2 * latent], [latent + c, *hidden, pixels]
    )


def label_everywhere(latent, hidden, pixels, c):
    wide = [n + c for n in hidden]
    each = list(zip([pixels + c, *wide], [*hidden, 2 * latent]))
    each += list(zip([latent + c, *wide[::-1]], [*hidden[::-1], pixels]))
    sizes = [a * b for a, b in each]
    return sum(sizes), 2 * sum(sizes) - sizes[0]


def table_of(*sizes):
    known = {(20, (256, 128), 784, 10): counted(20, (256, 128), 784, 10)}
    return known.get(sizes, (0, 0))


def first_two(latent, hidden, pixels, c):
    return counted(latent, hidden[:2], pixels, c)


def spared(*sizes):
    """Both first layers have no gradient by their input."""
    each = layers(*sizes)
    first = len(sizes[1]) + 1
    return sum(each), 2 * sum(each) - each[0] - each[first]


def last_spared(*sizes):
    each = layers(*sizes)
    return sum(each), 2 * sum(each) - each[-1]


miscounted("the decoder as wide as the encoder", "multiply_adds", in_order)
miscounted("the label in each layer", "multiply_adds", label_everywhere)
miscounted("the example by heart", "multiply_adds", table_of)
miscounted("two hidden layers at most", "multiply_adds", first_two)
miscounted("the decoder's first layer spared too", "multiply_adds", spared)
miscounted("the last layer spared", "multiply_adds", last_spared)
miscounted(
    "the label to the decoder alone",
    "the encoder reads the label too",
    lambda *sizes: counted(*sizes, told=(0, 1)),
)
miscounted(
    "backward with forward",
    "multiply_adds",
    lambda *sizes: (counted(*sizes)[0], sum(counted(*sizes))),
)
miscounted(
    "the label as one number",
    "multiply_adds",
    lambda latent, hidden, pixels, c: counted(latent, hidden, pixels, 1),
)
miscounted(
    "one product too few",
    "multiply_adds",
    lambda *sizes: (counted(*sizes)[0], counted(*sizes)[1] - 1),
)
miscounted(
    "with biases",
    "biases are left out",
    lambda latent, hidden, pixels, c: (
        counted(latent, hidden, pixels, c)[0]
        + 2 * sum(hidden)
        + 2 * latent
        + pixels,
        counted(latent, hidden, pixels, c)[1]
        + 2 * (2 * sum(hidden) + 2 * latent + pixels),
    ),
)
miscounted(
    "the encoder alone",
    "multiply_adds",
    lambda latent, hidden, pixels, c: product(
        [pixels + c, *hidden, 2 * latent], [1]
    ),
)
misprised(
    "hidden layers in the wrong order",
    lambda latent, hidden, pixels, c: (
        c * (hidden[0] + hidden[-1]),
        c * (2 * hidden[0] + hidden[-1]),
    ),
)
misprised(
    "the first hidden layer for both",
    lambda latent, hidden, pixels, c: (2 * c * hidden[0], 3 * c * hidden[0]),
)
misprised(
    "the decoder alone",
    lambda latent, hidden, pixels, c: (c * hidden[-1], 2 * c * hidden[-1]),
)
misprised(
    "ten classes",
    lambda latent, hidden, pixels, c: price(latent, hidden, pixels, 10),
)
misprised(
    "one class less",
    lambda latent, hidden, pixels, c: price(latent, hidden, pixels, c - 1),
)
misprised("nothing", lambda *sizes: (0, 0))
misprised("the whole cost", counted)
misprised(
    "the sign",
    lambda *sizes: tuple(-n for n in price(*sizes)),
)


# --- equal time


def passes(run, seconds):
    """Complete ones; a run that has ended has all of its own."""
    return min(math.floor(seconds / run["seconds"]), run["elbo"].shape[2])


def scored(run, seconds):
    at = run["elbo"][:, :, math.floor(seconds / run["seconds"]) - 1]
    return at[at.mean(1).argmax()]


def stopped(run, seconds):
    """As `scored`, and the last pass for a run that has ended."""
    at = run["elbo"][:, :, passes(run, seconds) - 1]
    return at[at.mean(1).argmax()]


def chosen(runs, seconds, score=stopped):
    found = {size: score(run, seconds) for size, run in runs.items()}
    order = sorted(found, key=lambda size: found[size].mean(), reverse=True)
    first, second = found[order[0]], found[order[1]]
    lead = first.mean() - second.mean()
    spread = max(v.max() - v.min() for v in (first, second))
    return order[0] if lead > spread else 0


def timed(score=stopped, decide=chosen):
    def several():
        return {"score": score, "decide": decide}

    return several


right("equal_time", "a loop over the batches")(timed())


@right("equal_time", "NumPy, lists, 0 as a float")
def several():
    def score(run, seconds):
        ended = run["elbo"].shape[2]
        last = min(int(seconds // run["seconds"]), ended) - 1
        elbo = run["elbo"].double().numpy()[:, :, last]
        return elbo[np.argmax(elbo.mean(1))].tolist()

    def decide(runs, seconds):
        rows = sorted(
            (np.mean(v), max(v) - min(v), size)
            for size, run in runs.items()
            for v in [score(run, seconds)]
        )
        second, first = rows[-2:]
        if first[0] - second[0] <= max(first[1], second[1]):
            return 0.0
        return float(first[2])

    return timed(score, decide)()


def late(run, seconds):
    return run["elbo"][run["elbo"][:, :, -1].mean(1).argmax(), :, -1]


def one_more(run, seconds):
    return stopped(run, seconds + run["seconds"])


wrong("equal_time", "rounds the passes up", says="one pass too many")(
    timed(one_more)
)
wrong("equal_time", "the end of each run", says="the end of the run")(
    timed(late)
)


@wrong("equal_time", "a step size for each seed", says="of its own")
def several():
    def score(run, seconds):
        return run["elbo"][:, :, passes(run, seconds) - 1].max(0).values

    return timed(score)()


@wrong("equal_time", "the step size of the end", says="score (entry")
def several():
    def score(run, seconds):
        best = run["elbo"][:, :, -1].mean(1).argmax()
        return run["elbo"][best, :, passes(run, seconds) - 1]

    return timed(score)()


@wrong("equal_time", "the lowest ELBO", says="a higher elbo is better")
def several():
    def score(run, seconds):
        at = run["elbo"][:, :, passes(run, seconds) - 1]
        return at[at.mean(1).argmin()]

    return timed(score)()


wrong("equal_time", "the mean over the seeds", says="return each seed")(
    timed(lambda run, seconds: stopped(run, seconds).mean())
)
wrong("equal_time", "ignores the spread", says="so answer 0")(
    timed(
        decide=lambda runs, seconds: max(
            runs, key=lambda size: stopped(runs[size], seconds).mean()
        )
    )
)
wrong("equal_time", "never decides", says="so it decides")(
    timed(decide=lambda runs, seconds: 0)
)
wrong("equal_time", "equal passes", says="decide: found")(
    timed(decide=lambda runs, seconds: chosen(runs, seconds, late))
)


@right("equal_time", "loops, statistics, a set time that stops at the end")
def several():
    def score(run, seconds):
        n = 0
        while (n + 1) * run["seconds"] <= seconds and n < len(
            run["elbo"][0][0]
        ):
            n += 1
        table = [[seed[n - 1].item() for seed in rate] for rate in run["elbo"]]
        return max(table, key=statistics.fmean)

    def decide(runs, seconds):
        best = {k: score(run, seconds) for k, run in runs.items()}
        order = sorted(best, key=lambda k: statistics.fmean(best[k]))
        one, two = best[order[-1]], best[order[-2]]
        lead = statistics.fmean(one) - statistics.fmean(two)
        if lead > max(one) - min(one) and lead > max(two) - min(two):
            return order[-1]
        return 0

    return timed(score, decide)()


def scored_by(text, choose, says="score"):
    """Scores of one step size, chosen by a rule from (rates, seeds)."""

    def score(run, seconds):
        at = run["elbo"][:, :, passes(run, seconds) - 1]
        return at[choose(run, at, passes(run, seconds))]

    wrong("equal_time", text, says=says)(timed(score))


scored_by("the best single seed", lambda r, at, n: at.amax(1).argmax())
scored_by("the best worst seed", lambda r, at, n: at.amin(1).argmax())
scored_by(
    "the best median seed",
    lambda r, at, n: at.quantile(0.5, dim=1).argmax(),
)
scored_by("the first seed decides", lambda r, at, n: at[:, 0].argmax())
scored_by(
    "the steadiest step size",
    lambda r, at, n: (at.amax(1) - at.amin(1)).argmin(),
)
scored_by(
    "the mean over all passes so far",
    lambda r, at, n: r["elbo"][:, :, :n].mean((1, 2)).argmax(),
)
scored_by(
    "the best of all passes so far decides",
    lambda r, at, n: r["elbo"][:, :, :n].mean(1).amax(1).argmax(),
    "by the last pass, not by the best so far",
)
scored_by("always the first step size", lambda r, at, n: 0)
scored_by("always the last step size", lambda r, at, n: -1)


def at_pass(text, count, says="score"):
    """Scores after another number of passes."""

    def score(run, seconds):
        n = count(seconds / run["seconds"])
        n = min(max(n, 1), run["elbo"].shape[2])
        at = run["elbo"][:, :, n - 1]
        return at[at.mean(1).argmax()]

    wrong("equal_time", text, says=says)(timed(score))


at_pass("a pass that is not complete", math.ceil)
at_pass("rounds the passes", round)
at_pass(
    "a pass that is complete just now is left out",
    lambda n: math.ceil(n) - 1,
)
at_pass("one pass less", lambda n: math.floor(n) - 1)


@wrong("equal_time", "fails beyond the end of the run", says="raises")
def several():
    return timed(scored, lambda runs, t: chosen(runs, t, scored))()


@wrong("equal_time", "starts again beyond the end", says="score")
def several():
    def score(run, seconds):
        n = math.floor(seconds / run["seconds"])
        at = run["elbo"][:, :, (n - 1) % run["elbo"].shape[2]]
        return at[at.mean(1).argmax()]

    return timed(score, lambda runs, t: chosen(runs, t, score))()


@wrong("equal_time", "the best pass of each seed", says="score")
def several():
    def score(run, seconds):
        at = run["elbo"][:, :, : passes(run, seconds)].amax(2)
        return at[at.mean(1).argmax()]

    return timed(score)()


@wrong("equal_time", "passes for seconds", says="score")
def several():
    return timed(
        lambda run, seconds: scored(run | {"seconds": 1.0}, seconds)
    )()


def decided(text, rule, says="decide"):
    """By a rule of the scores, best mean first."""

    def decide(runs, seconds):
        found = {k: stopped(run, seconds) for k, run in runs.items()}
        order = sorted(found, key=lambda k: -found[k].mean())
        return order[0] if rule([found[k] for k in order]) else 0

    wrong("equal_time", text, says=says)(timed(stopped, decide))


def lead(v, other=1):
    return v[0].mean() - v[other].mean()


def span(v):
    return v.max() - v.min()


decided(
    "the larger standard deviation",
    lambda v: lead(v) > max(v[0].std(), v[1].std()),
)
decided(
    "twice the standard deviation",
    lambda v: lead(v) > 2 * max(v[0].std(), v[1].std()),
)
decided(
    "the standard errors",
    lambda v: (
        lead(v) > (v[0].var() / len(v[0]) + v[1].var() / len(v[1])).sqrt()
    ),
)
decided("the range of the best", lambda v: lead(v) > span(v[0]))
decided("the range of the second", lambda v: lead(v) > span(v[1]))
decided("the smaller range", lambda v: lead(v) > min(map(span, v[:2])))
decided("the sum of the ranges", lambda v: lead(v) > span(v[0]) + span(v[1]))
decided(
    "the mean of the ranges",
    lambda v: lead(v) > (span(v[0]) + span(v[1])) / 2,
)
decided("the range of all sizes", lambda v: lead(v) > max(map(span, v)))
decided("the lead over the worst", lambda v: lead(v, -1) > max(map(span, v)))
decided(
    "the lead over the worst, with the two ranges",
    lambda v: lead(v, -1) > max(span(v[0]), span(v[1])),
)
decided("ranges that do not meet", lambda v: v[0].min() > v[1].max())
decided("no less than the range", lambda v: lead(v) >= max(map(span, v[:2])))
decided("a lead of one nat", lambda v: lead(v) > 1)
decided(
    "a lead over the mean of the others",
    lambda v: (
        v[0].mean() - torch.stack([one.mean() for one in v[1:]]).mean()
        > max(span(v[0]), span(v[1]))
    ),
)
decided(
    "the best seeds",
    lambda v: v[0].max() - v[1].max() > max(span(v[0]), span(v[1])),
)
decided(
    "half the range",
    lambda v: lead(v) > max(span(v[0]), span(v[1])) / 2,
)


def preferred(text, key, says="decide"):
    """The size with the best of something else than the mean."""

    def decide(runs, seconds):
        found = {k: stopped(run, seconds) for k, run in runs.items()}
        order = sorted(found, key=lambda k: -key(found[k]))
        one, two = found[order[0]], found[order[1]]
        return order[0] if lead([one, two]) > max(span(one), span(two)) else 0

    wrong("equal_time", text, says=says)(timed(stopped, decide))


decided(
    "each seed ahead as well",
    lambda v: (
        lead(v) > max(span(v[0]), span(v[1])) and bool((v[0] > v[1]).all())
    ),
)
preferred("the size with the best seed", lambda v: v.max())
preferred("the size with the best worst seed", lambda v: v.min())


@wrong("equal_time", "compares the first two that are given", says="decide")
def several():
    def decide(runs, seconds):
        return chosen(dict(list(runs.items())[:2]), seconds, stopped)

    return timed(stopped, decide)()


@wrong("equal_time", "ranges at the end of the runs", says="decide")
def several():
    def decide(runs, seconds):
        found = {k: stopped(run, seconds) for k, run in runs.items()}
        order = sorted(found, key=lambda k: -found[k].mean())
        ends = [span(late(runs[size], seconds)) for size in order[:2]]
        ahead = lead([found[size] for size in order])
        return order[0] if ahead > max(ends) else 0

    return timed(stopped, decide)()


def decided_by(text, choose):
    """By other scores than those that `score` returns."""

    def score(run, seconds):
        return choose(run["elbo"][:, :, : passes(run, seconds)])

    wrong("equal_time", text, says="decide")(
        timed(decide=lambda runs, seconds: chosen(runs, seconds, score))
    )


decided_by(
    "decides by the step size of the best seed",
    lambda now: now[now[:, :, -1].amax(1).argmax(), :, -1],
)
decided_by(
    "decides by the step size of most seeds",
    lambda now: now[now[:, :, -1].argmax(0).mode().values, :, -1],
)
decided_by(
    "decides by the best pass of each seed",
    lambda now: now.amax(2)[now.amax(2).mean(1).argmax()],
)


@wrong("equal_time", "the place instead of the size", says="decide")
def several():
    def decide(runs, seconds):
        found = chosen(runs, seconds, stopped)
        return list(runs).index(found) + 1 if found else 0

    return timed(stopped, decide)()


@wrong("equal_time", "the same passes for all sizes", says="decide")
def several():
    def decide(runs, seconds):
        slowest = max(run["seconds"] for run in runs.values())
        return chosen(
            runs,
            seconds,
            lambda run, t: stopped(run | {"seconds": slowest}, t),
        )

    return timed(stopped, decide)()


# --- the same bits


def steps(
    state, x, seed, n, means=True, batches=True, power=True, count=True,
    own_noise=False, correct=True,
):  # fmt: skip
    w = state["weights"]
    mean = state["mean"] if means else torch.zeros_like(w)
    square = state["square"] if means else torch.zeros_like(w)
    done = state["step"]
    step = done if count else 0
    for i in range(1, n + 1):
        step += 1
        noise = torch.Generator().manual_seed(seed + (step if batches else i))
        if own_noise:
            noise = None
        rows = torch.randint(len(x), (4,), generator=noise)
        gradient = w - x[rows].mean(0)
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.99 * square + 0.01 * gradient**2
        t = step if power else i
        a, b = (1 - 0.9**t, 1 - 0.99**t) if correct else (1, 1)
        w = w - 0.1 * (mean / a) / ((square / b).sqrt() + 1e-8)
    return {"weights": w, "mean": mean, "square": square, "step": step}


def going(**slips):
    def go_on(state, x, seed, n):
        return steps(state, x, seed, n, **slips)

    return go_on


right("same_bits", "state in, state out")(going())


@right("same_bits", "a loop over the steps, torch.optim's order of terms")
def go_on(state, x, seed, n):
    found = dict(state)
    noise = torch.Generator()
    for step in range(state["step"] + 1, state["step"] + n + 1):
        noise.manual_seed(seed + step)
        rows = torch.randint(len(x), (4,), generator=noise)
        gradient = (found["weights"] - x[rows]).mean(0)
        mean = torch.lerp(found["mean"], gradient, 0.1)
        square = torch.lerp(found["square"], gradient.square(), 0.01)
        size = 0.1 / (1 - 0.9**step)
        root = square.sqrt() / math.sqrt(1 - 0.99**step) + 1e-8
        weights = found["weights"] - size * mean / root
        found = {
            "weights": weights,
            "mean": mean,
            "square": square,
            "step": step,
        }
    return found


@wrong("same_bits", "no number of steps after none", says="raises")
def go_on(state, x, seed, n):
    for i in range(n):
        found = steps(state, x, seed, i + 1)
    return found


@wrong("same_bits", "no step forgets the means", says="two parts differ")
def go_on(state, x, seed, n):
    zero = torch.zeros_like(state["mean"])
    return steps(state, x, seed, n) | (
        {} if n else {"mean": zero, "square": zero}
    )


@wrong("same_bits", "at least one step", says='after 0 steps "step" is 1')
def go_on(state, x, seed, n):
    return steps(state, x, seed, max(n, 1))


wrong("same_bits", "nothing but the weights goes on", says="all but the")(
    going(means=False, count=False)
)
wrong("same_bits", "new running means", says="start at zero again")(
    going(means=False)
)
wrong("same_bits", "the batches of the first part", says="come again")(
    going(batches=False)
)
wrong(
    "same_bits",
    "a correction that starts again",
    says="the correction of the means starts again",
)(going(power=False))
wrong("same_bits", "counts steps from 1 in each part", says="starts again")(
    going(count=False)
)
wrong("same_bits", "global noise", says="in one go")(going(own_noise=True))
wrong("same_bits", "no correction", says="divide the means by")(
    going(correct=False)
)


@wrong("same_bits", "returns the weights alone", says="return a dict")
def go_on(state, x, seed, n):
    return steps(state, x, seed, n)["weights"]


@wrong("same_bits", "rounds the weights it stores", says="only in the last")
def go_on(state, x, seed, n):
    found = steps(state, x, seed, n)
    return found | {"weights": (found["weights"] * 1e6).round() / 1e6}


@wrong("same_bits", "never counts", says="it must count all")
def go_on(state, x, seed, n):
    return steps(state, x, seed, n) | {"step": 0}


@right("same_bits", "NumPy in double precision")
def go_on(state, x, seed, n):
    w, mean, square = (
        np.asarray(state[k], dtype=np.float64)
        for k in ("weights", "mean", "square")
    )
    step = int(state["step"])
    for t in range(step + 1, step + n + 1):
        noise = torch.Generator().manual_seed(seed + t)
        rows = torch.randint(len(x), (4,), generator=noise)
        gradient = w - x[rows].double().numpy().mean(0)
        mean = 0.9 * mean + (1 - 0.9) * gradient
        square = 0.99 * square + (1 - 0.99) * gradient**2
        size = np.sqrt(square / (1 - 0.99**t)) + 1e-8
        w = w - 0.1 * (mean / (1 - 0.9**t)) / size
    return {"weights": w, "mean": mean, "square": square, "step": step + n}


@right("same_bits", "in place, on copies of its own")
def go_on(state, x, seed, n):
    new = {k: v.clone() if torch.is_tensor(v) else v for k, v in state.items()}
    for _ in range(n):
        new["step"] += 1
        noise = torch.Generator().manual_seed(seed + new["step"])
        rows = torch.randint(len(x), (4,), generator=noise)
        gradient = new["weights"] - x[rows].mean(0)
        new["mean"].mul_(0.9).add_(gradient, alpha=0.1)
        new["square"].mul_(0.99).addcmul_(gradient, gradient, value=0.01)
        root = (new["square"] / (1 - 0.99 ** new["step"])).sqrt() + 1e-8
        new["weights"] -= 0.1 * new["mean"] / (1 - 0.9 ** new["step"]) / root
    return new


def slipped(text, says, **numbers):
    """Steps with other numbers than those of the task."""
    one = {"rate": 0.1, "b1": 0.9, "b2": 0.99, "out": 1e-8, "within": 0.0}
    one |= {"batch": 4} | numbers

    @wrong("same_bits", text, says=says)
    def go_on(state, x, seed, n):
        w, mean, square = (state[k] for k in ("weights", "mean", "square"))
        step = state["step"]
        for _ in range(n):
            step += 1
            noise = torch.Generator().manual_seed(seed + step)
            rows = torch.randint(len(x), (one["batch"],), generator=noise)
            gradient = w - x[rows].mean(0)
            mean = one["b1"] * mean + (1 - one["b1"]) * gradient
            square = one["b2"] * square + (1 - one["b2"]) * gradient**2
            a, b = 1 - one["b1"] ** step, 1 - one["b2"] ** step
            root = (square / b + one["within"]).sqrt() + one["out"]
            w = w - one["rate"] * mean / a / root
        return {"weights": w, "mean": mean, "square": square, "step": step}


slipped("no epsilon", "in one go", out=0.0)
slipped("epsilon under the root", "in one go", out=0.0, within=1e-8)
slipped("an epsilon of a millionth", "in one go", out=1e-6)
slipped("the usual beta of 0.999", "in one go", b2=0.999)
slipped("the betas swapped", "in one go", b1=0.99, b2=0.9)
slipped("another step size", "in one go", rate=0.01)
slipped("batches of five", "in one go", batch=5)


@wrong("same_bits", "a seed of its own", says="in one go")
def go_on(state, x, seed, n):
    return steps(state, x, 1, n)


@wrong("same_bits", "the seed of the next step", says="in one go")
def go_on(state, x, seed, n):
    return steps(state, x, seed + 1, n)


@wrong("same_bits", "the first rows instead of drawn ones", says="in one go")
def go_on(state, x, seed, n):
    return steps(state, x[:4], seed, n)


@wrong("same_bits", "twenty rows, whatever x has", says="in one go")
def go_on(state, x, seed, n):
    return steps(state, torch.cat([x, x])[:20], seed, n)


def remembering(key):
    """The means are kept outside of the state."""
    memory = {}

    def go_on(state, x, seed, n):
        old = memory if state["step"] else {}
        zero = torch.zeros_like(state["weights"])
        means = {k: old.get(k, zero) for k in key}
        found = steps(state | means, x, seed, n)
        memory.update({k: found[k] for k in key})
        return found | dict.fromkeys(key, zero)

    return go_on


wrong("same_bits", "means in a variable outside", says="outside of the state")(
    remembering(("mean", "square"))
)
wrong("same_bits", "one mean in a variable outside", says="outside of the")(
    remembering(("square",))
)


def hiding(state, x, seed, n):
    """Means in an entry of its own, zeros in those of the task."""
    zero = torch.zeros_like(state["weights"])
    old = state.get("hidden", {"mean": zero, "square": zero})
    found = steps(state | old, x, seed, n)
    return found | {
        "mean": zero,
        "square": zero,
        "hidden": {k: found[k] for k in ("mean", "square")},
    }


wrong("same_bits", "a fifth entry in the state", says="two parts differ")(
    hiding
)


@wrong("same_bits", "rounds to half precision at the end", says="two parts")
def go_on(state, x, seed, n):
    found = steps(state, x, seed, n)
    return found | {"square": found["square"].half().float()}


@wrong("same_bits", "double inside, single in the state", says="only in the")
def go_on(state, x, seed, n):
    double = {
        k: v.double() if torch.is_tensor(v) else v for k, v in state.items()
    }
    found = steps(double, x.double(), seed, n)
    return {
        k: v.float() if torch.is_tensor(v) else v for k, v in found.items()
    }


@wrong("same_bits", "changes the state of the caller", says="in place")
def go_on(state, x, seed, n):
    found = steps(state, x, seed, n)
    state["weights"] -= 0.0
    state["step"] += n
    return found


@wrong("same_bits", "one step too many", says="in one go")
def go_on(state, x, seed, n):
    return steps(state, x, seed, n + 1) | {"step": state["step"] + n}


@wrong("same_bits", "means that are corrected already", says="two parts")
def go_on(state, x, seed, n):
    found = steps(state, x, seed, n)
    return found | {"mean": found["mean"] / (1 - 0.9 ** found["step"])}


@wrong("same_bits", "swaps the means", says="two parts")
def go_on(state, x, seed, n):
    found = steps(state, x, seed, n)
    return found | {"mean": found["square"], "square": found["mean"].abs()}


# --- a ring


def best(t, g, w, delay):
    def seconds(n):
        return t / n + 2 * (n - 1) * (delay + g / (n * w))

    near = math.sqrt(max(0, t - 2 * g / w) / (2 * delay))
    return min(math.floor(near) or 1, math.ceil(near) or 1, key=seconds)


def ringed(**others):
    def several():
        return {
            "per_share": lambda t, g, w, delay: t - 2 * g / w,
            "per_process": lambda t, g, w, delay: 2 * delay,
            "constant": lambda t, g, w, delay: 2 * g / w - 2 * delay,
            "best_count": best,
        } | others

    return several


def tried(t, g, w, delay):
    n = torch.arange(1, 1000).double()
    seconds = t / n + 2 * (n - 1) * (delay + g / n / w)
    return seconds.argmin() + 1


right("ring", "the root of a / b, and its neighbours")(ringed())
right("ring", "tries all sizes")(
    ringed(
        best_count=tried,
        constant=lambda t, g, w, delay: torch.tensor(
            2 * (g / w - delay), dtype=torch.float64
        ),
    )
)
wrong("ring", "a is t alone", says="multiply the bracket out")(
    ringed(per_share=lambda t, g, w, delay: t)
)
wrong("ring", "n - 1 messages", says="2 (n - 1) messages, not n - 1")(
    ringed(per_share=lambda t, g, w, delay: t - g / w)
)
wrong("ring", "a with the other sign", says="the sign of the part")(
    ringed(per_share=lambda t, g, w, delay: t + 2 * g / w)
)
wrong("ring", "b is one delay", says="b, the factor of n")(
    ringed(per_process=lambda t, g, w, delay: delay)
)
wrong("ring", "the gradient grows with n", says="is a constant, not")(
    ringed(per_process=lambda t, g, w, delay: 2 * delay + 2 * g / w)
)
wrong("ring", "c without the delay", says="leaves -2 delay")(
    ringed(constant=lambda t, g, w, delay: 2 * g / w)
)
wrong("ring", "c without the gradient", says="2 g / w is missing")(
    ringed(constant=lambda t, g, w, delay: -2 * delay)
)


@wrong("ring", "rounds the root", says="the whole numbers on both sides")
def several():
    def best_count(t, g, w, delay):
        return max(1, round(math.sqrt(max(0, t - 2 * g / w) / 2 / delay)))

    return ringed(best_count=best_count)()


wrong("ring", "as many as possible", says="root of a / b")(
    ringed(best_count=lambda t, g, w, delay: 64)
)


@wrong("ring", "a root of a negative number", says="math domain error")
def several():
    def best_count(t, g, w, delay):
        if t > 2 * g / w:
            return best(t, g, w, delay)
        return math.sqrt((t - 2 * g / w) / 2 / delay)

    return ringed(best_count=best_count)()


@right("ring", "a walk uphill, in NumPy numbers")
def several():
    def best_count(t, g, w, delay):
        def seconds(n):
            return np.float64(t) / n + 2 * (n - 1) * (delay + g / (n * w))

        n = 1
        while seconds(n + 1) < seconds(n):
            n += 1
        return float(n)

    return ringed(
        per_share=lambda t, g, w, delay: np.float64(t - 2 * g / w),
        per_process=lambda t, g, w, delay: [2 * delay],
        best_count=best_count,
    )()


def sized(text, best_count, says="processes take"):
    wrong("ring", text, says=says)(ringed(best_count=best_count))


def root(t, g, w, delay):
    return math.sqrt(max(0, t - 2 * g / w) / 2 / delay)


def upto(most):
    def best_count(t, g, w, delay):
        return min(
            range(1, most + 1), key=lambda n: time_of(n, t, g, w, delay)
        )

    return best_count


def time_of(n, t, g, w, delay):
    return t / n + 2 * (n - 1) * (delay + g / (n * w))


sized("rounds up", lambda *given: max(1, math.ceil(root(*given))))
sized("rounds down", lambda *given: max(1, math.floor(root(*given))))
sized("no more than 64", upto(64))
sized("no more than 16", upto(16))
sized("always one", lambda *given: 1)
sized("at least two", lambda *given: max(2, best(*given)))
sized("the root itself", root, "whole number")
sized(
    "none",
    lambda *given: int(root(*given)) if root(*given) < 1 else best(*given),
    "least",
)
sized(
    "the square of the root", lambda *given: max(1, round(root(*given) ** 2))
)
sized(
    "the root of t / b",
    lambda t, g, w, delay: max(1, round(math.sqrt(t / 2 / delay))),
)
sized(
    "the root of a / delay",
    lambda *given: max(1, round(1.41421356 * root(*given))),
)
sized(
    "powers of two",
    lambda *given: min(
        (2**k for k in range(10)), key=lambda n: time_of(n, *given)
    ),
)
sized(
    "the best without the delay",
    lambda t, g, w, delay: 300 if t > 2 * g / w else 1,
)
sized(
    "one more than the best",
    lambda *given: best(*given) + 1,
)
sized(
    "rounds up above 1.4",
    lambda *given: max(
        1,
        math.ceil(root(*given)) if root(*given) < 1.5 else round(root(*given)),
    ),
)
wrong("ring", "a with half of the delay", says="a, the factor of 1/n")(
    ringed(per_share=lambda t, g, w, delay: t - 2 * g / w - 2 * delay)
)
wrong("ring", "a without t", says="a, the factor of 1/n")(
    ringed(per_share=lambda t, g, w, delay: -2 * g / w)
)
wrong("ring", "a in which w multiplies", says="a, the factor of 1/n")(
    ringed(per_share=lambda t, g, w, delay: t - 2 * g * w)
)
wrong("ring", "never a negative a", says="a, the factor of 1/n")(
    ringed(per_share=lambda t, g, w, delay: max(0.0, t - 2 * g / w))
)
wrong("ring", "b with the gradient", says="b, the factor of n")(
    ringed(per_process=lambda t, g, w, delay: 2 * (delay + g / w))
)
wrong("ring", "b with the other sign", says="the sign is wrong")(
    ringed(per_process=lambda t, g, w, delay: -2 * delay)
)
wrong("ring", "c with the other sign", says="the sign is wrong")(
    ringed(constant=lambda t, g, w, delay: 2 * delay - 2 * g / w)
)
wrong("ring", "c with one message", says="c, the constant")(
    ringed(constant=lambda t, g, w, delay: g / w - delay)
)
wrong("ring", "c with t", says="c, the constant")(
    ringed(constant=lambda t, g, w, delay: t + 2 * g / w - 2 * delay)
)
wrong("ring", "both with a plus", says="the sign of 2 delay")(
    ringed(constant=lambda t, g, w, delay: 2 * g / w + 2 * delay)
)
