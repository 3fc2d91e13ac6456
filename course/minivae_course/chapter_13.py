"""Checks for chapter 13: training fast."""

import math

import numpy as np
import torch
from torch import Tensor, nn

from minivae.models import CVAE
from minivae_course.check import (
    Draws,
    Student,
    check,
    choice,
    equal,
    function,
    require,
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
    for n in (9, 14, 31):
        a, b = _rounds(draws, n, float(draws.uniform(low=0.4, high=2.5)))
        each = a[1:] / b[1:]
        with_first = _quartiles(a / b)
        equal(
            "median, lower and upper quartile of a / b",
            ratio(a, b),
            _quartiles(each),
            {
                "the first round is counted; it loads and allocates": (
                    with_first
                ),
                "this is b / a": _quartiles(1 / each),
                "the ratio of the medians; take a ratio in each round, and "
                "then the median": _of_medians(a[1:], b[1:]),
                "the ratio of the medians, with the first round": _of_medians(
                    a, b
                ),
                "the differences a - b; take a / b": _quartiles(a[1:] - b[1:]),
                "the order is median, lower, upper": _quartiles(each)[
                    [1, 0, 2]
                ],
                "a mean is moved by one bad round; take the "
                "median": torch.stack([each.mean(), *_quartiles(each)[1:]]),
            },
            tolerance=1e-6,
        )
    shown = function("what_is_shown", what_is_shown)
    cases = {"a is faster": 0.85, "b is faster": 1.2, "nothing": 1.0}
    for right, factor in cases.items():
        a, b = _rounds(draws, 40, factor, spread=0.05)
        if right == "nothing":
            # symmetric about one, but never one, and a little to one side
            each = 1 + 0.1 * torch.linspace(-1, 1.2, 40).double()
            a = b * each[torch.randperm(40, generator=draws.generator)]
        found = shown(a, b)
        _, low, high = _quartiles(a[1:] / b[1:]).tolist()
        why = (
            f"The quartiles of a / b are {low:.2f} and {high:.2f}. Below one "
            "means that a takes less time; on both sides of one nothing is "
            "shown, whatever the median says"
        )
        others = {name: why for name in cases if name != right}
        choice("what_is_shown", found, right, others)


def _rounds(
    draws: Draws, n: int, factor: float, spread: float = 0.4
) -> tuple[Tensor, Tensor]:
    """Seconds of a and b; factor times as long, on a restless machine."""
    machine = (0.8 * draws.normal(n)).exp().double()
    b = 0.01 * machine * (spread * draws.normal(n).double()).exp()
    a = 0.01 * factor * machine * (spread * draws.normal(n).double()).exp()
    a[0], b[0] = 5 * a[0], 90 * b[0]
    return a, b


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
    shapes = [(20, (256, 128), 784, 10), (1, (5,), 4, 3)]
    shapes += [(draws.whole(2, 9), (7, 4, 6), 11, draws.whole(2, 9))]
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

    Held against a loop over runs whose curves cross.
    """
    each = function("score", score)
    for _ in range(3):
        most = draws.whole(3, 24)
        for _ in range(200):
            run = _run(draws, 3, 4, 25)
            # the seeds do not agree on a step size, and the end has
            # another, neither the best now nor the worst
            at, last = run["elbo"][:, :, most - 1], run["elbo"][:, :, -1]
            order = at.mean(1).argsort().tolist()
            if (
                len(at.argmax(0).unique()) > 1
                and int(last.mean(1).argmax()) == order[1]
            ):
                break
        for passes in (most, 1):
            seconds = (passes + 0.5) * run["seconds"]
            elbo = run["elbo"].double()
            at = elbo[:, :, passes - 1]
            late = elbo[:, :, -1]
            equal(
                "score",
                each(run, seconds),
                at[at.mean(1).argmax()],
                {
                    "this is one pass too many: only complete passes count, "
                    "and after n of them the ELBO stands at index "
                    "n - 1": elbo[:, :, passes][
                        elbo[:, :, passes].mean(1).argmax()
                    ],
                    "this is the end of the run, whatever the time": late[
                        late.mean(1).argmax()
                    ],
                    "this is the worst step size; a higher ELBO is better": at[
                        at.mean(1).argmin()
                    ],
                    "choose the step size by what counts, the ELBO at that "
                    "time and not at the end": at[late.mean(1).argmax()],
                    "each seed got a step size of its own; take the one with "
                    "the best mean for all seeds": at.max(0).values,
                    "this is the mean over the step sizes": at.mean(0),
                    "this is the mean over the seeds; return each "
                    "seed": at.mean(1).max(),
                },
                tolerance=1e-6,
            )
    choose = function("decide", decide)
    sizes = [128, 512, 1024]
    for lead, spread in ((3.0, 1.0), (1.0, 3.0), (2.0, 0.3), (0.4, 2.0)):
        order = torch.randperm(3, generator=draws.generator).tolist()
        runs = {
            sizes[i]: _plain(draws, -100.0 - (lead * place), spread)
            for place, i in enumerate(order)
        }
        winner = sizes[order[0]] if lead > spread else 0
        passes = draws.whole(4, 15)
        seconds = passes + 0.5
        # the last one is the best in the end, and slow
        slow = sizes[order[2]]
        runs[slow]["elbo"][:, :, passes // 4 + 1 :] += 50
        runs[slow]["seconds"] = 4.0
        found = whole("decide", choose(runs, seconds))
        least = sizes[order[0]]
        hint = "look at the lead in the mean and at the range of the seeds"
        if winner == 0 and found == least:
            hint = (
                f"the lead of {lead:g} nats is smaller than the range of "
                f"{spread:g} nats between seeds, so answer 0"
            )
        elif winner and found == 0:
            hint = (
                f"the lead of {lead:g} nats is larger than the range of "
                f"{spread:g} nats between seeds, so it decides"
            )
        elif found == slow:
            hint = (
                "this one is best after all its passes, not after the "
                "same seconds"
            )
        require(
            found == winner,
            f"decide: found {found}, expected {winner}; {hint}",
        )


def _run(draws: Draws, rates: int, seeds: int, passes: int) -> dict:
    """ELBO (step sizes, seeds, passes); the curves of step sizes cross."""
    time = torch.arange(1, passes + 1)
    gap = draws.uniform(rates, 1, 1, low=20, high=80)
    speed = draws.uniform(rates, 1, 1, low=0.05, high=0.5)
    end = draws.uniform(rates, 1, 1, low=-110, high=-95)
    noise = 3 * draws.normal(rates, seeds, passes)
    elbo = end - gap * (-speed * time).exp() + noise
    return {"seconds": float(draws.uniform(low=0.5, high=2)), "elbo": elbo}


def _plain(draws: Draws, level: float, spread: float) -> dict:
    """A run of three seeds with exactly this mean and range."""
    seeds = spread * torch.tensor([-0.5, 0.0, 0.5])
    seeds = seeds[torch.randperm(3, generator=draws.generator)]
    elbo = level + torch.stack([seeds, seeds - 9])[:, :, None]
    return {"seconds": 1.0, "elbo": elbo.repeat(1, 1, 20)}


# --- the same bits


@check()
def same_bits(draws: Draws, go_on: Student) -> None:
    """Steps of Adam that can be stopped anywhere.

    One run is held against Adam of PyTorch; two parts against one, bit for
    bit. Between the parts the state travels to another process and back.
    """
    steps = function("go_on", go_on)
    for size, n, more in ((3, 4, 5), (1, 1, 1), (5, 7, 2)):
        x, seed = draws.normal(20, size), draws.whole(0, 10_000)
        start = {
            "weights": draws.normal(size),
            "mean": torch.zeros(size),
            "square": torch.zeros(size),
            "step": 0,
        }
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


def _state(found: object) -> dict:
    names = ("weights", "mean", "square", "step")
    require(
        isinstance(found, dict) and all(k in found for k in names),
        'go_on: return a dict with "weights", "mean", "square" and "step"',
    )
    for name in names[:3]:
        tensor(f'"{name}"', found[name])
        require(isinstance(found[name], Tensor), f'"{name}" must be a tensor')
    return found


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
    for optimum in (1.4491, float(draws.uniform(low=3, high=40)), 0.0):
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


def _seconds_in_a_ring(
    n: int, t: float, g: float, w: float, delay: float
) -> float:
    """Of a step that n processes share (Patarasuk & Yuan 2009)."""
    return t / n + 2 * (n - 1) * (delay + g / n / w)
