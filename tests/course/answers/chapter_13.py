"""Answers to the exercises of chapter 13."""

import math
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

# --- equal time


def passes(run, seconds):
    return math.floor(seconds / run["seconds"])


def scored(run, seconds):
    at = run["elbo"][:, :, passes(run, seconds) - 1]
    return at[at.mean(1).argmax()]


def chosen(runs, seconds, score=scored):
    found = {size: score(run, seconds) for size, run in runs.items()}
    order = sorted(found, key=lambda size: found[size].mean(), reverse=True)
    first, second = found[order[0]], found[order[1]]
    lead = first.mean() - second.mean()
    spread = max(v.max() - v.min() for v in (first, second))
    return order[0] if lead > spread else 0


def timed(score=scored, decide=chosen):
    def several():
        return {"score": score, "decide": decide}

    return several


right("equal_time", "a loop over the batches")(timed())


@right("equal_time", "NumPy, lists, 0 as a float")
def several():
    def score(run, seconds):
        last = int(seconds // run["seconds"]) - 1
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
    return scored(run, seconds + run["seconds"])


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


@wrong("equal_time", "the step size of the end", says="and not at the end")
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
    timed(lambda run, seconds: scored(run, seconds).mean())
)
wrong("equal_time", "ignores the spread", says="so answer 0")(
    timed(
        decide=lambda runs, seconds: max(
            runs, key=lambda size: scored(runs[size], seconds).mean()
        )
    )
)
wrong("equal_time", "never decides", says="so it decides")(
    timed(decide=lambda runs, seconds: 0)
)
wrong("equal_time", "equal passes", says="not after the same seconds")(
    timed(decide=lambda runs, seconds: chosen(runs, seconds, late))
)

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
