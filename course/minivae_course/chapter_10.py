"""Checks for chapter 10: what the code keeps."""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from minivae.notebook import brief
from minivae_course.check import (
    Draws,
    Student,
    WrongError,
    check,
    choice,
    equal,
    function,
    number,
    require,
    tensor,
)


def _cloud(
    draws: Draws, centres: Tensor, each: int, spread: float = 0.05
) -> tuple[Tensor, Tensor]:
    """Points close around centres (C, L), and whose they are."""
    whose = torch.arange(len(centres)).repeat(each)
    noise = spread * draws.normal(len(whose), *centres[0].shape)
    return centres[whose] + noise, whose


@check(seconds=60)  # a library may have to load
def linear_probe(draws: Draws, linear_probe: Student) -> None:
    """The share of held labels that a linear classifier reads.

    Tried on groups of codes so far apart that every linear classifier gives
    the same answer, where the held labels disagree with what was learned in
    a known share.
    """
    probe = function("linear_probe", linear_probe)
    what = "the share of held labels that are read"
    # a threshold far from 0
    centres = torch.tensor([[4.0], [6.0]])
    learn, held = _cloud(draws, centres, 25), _cloud(draws, centres, 15)
    value = number(what, probe(*learn, *held))
    cause = ""
    if value < 0.01:
        cause = ". That is the share of errors"
    elif value > 1:
        cause = ". It should be a share, from 0 to 1"
    elif value < 0.8:
        cause = (
            ". A linear classifier needs an intercept as well: add a column "
            "of ones, or let the library fit it"
        )
    require(
        0.99 < value <= 1.0001,
        f"{what}: found {value:.2f}, expected 1 for codes near 4 and near 6"
        f"{cause}",
    )
    # most held labels are not what was learned
    names = torch.tensor([1, 4, 9])
    for n_latent in (3, 8):
        # the last dimensions tell the labels
        centres = 5 * torch.eye(n_latent)[-3:] + draws.normal(n_latent)
        learn, whose = _cloud(draws, centres, 20)
        held, held_whose = _cloud(draws, centres, 80)
        n_right = draws.whole(30, 60)
        shift = (torch.arange(240) >= n_right).long()
        held_labels = names[(held_whose + shift) % 3]
        value = number(what, probe(learn, names[whose], held, held_labels))
        right = n_right / 240
        causes = {
            1.0: "Every label is read only where the codes it learned from "
            "are scored; score it on the held ones",
            1 - right: "This is what a probe reaches that has learned from "
            "the held labels. They are for scoring alone",
        }
        require(
            abs(value - right) < 0.02,
            f"{what}: found {value:.3f}, expected {right:.3f} for held labels "
            f"of which most differ from what was learned{_why(value, causes)}",
        )
    _needs_no_held_labels(draws, probe)
    _scores_each_code_alone(draws, probe)
    corners = torch.tensor([[3.0, 3], [3, -3], [-3, -3], [-3, 3]])
    learn, whose = _cloud(draws, corners, 25)
    held, held_whose = _cloud(draws, corners, 25)
    names = torch.tensor([1, 8, 2, 9])  # no plane passes near these heights
    value = number(what, probe(learn, names[whose], held, names[held_whose]))
    require(
        value > 0.97,
        f"{what}: found {value:.2f}, expected 1 where the corners of a square "
        "have the labels 1, 8, 2 and 9. A label is a name and no size: give "
        "each class an output of its own (one-hot), and read the largest",
    )
    # opposite corners share a label
    value = number(what, probe(learn, whose % 2, held, held_whose % 2))
    require(
        value < 0.8,
        f"{what}: found {value:.2f} where opposite corners share a label. No "
        "straight line does that: is the probe linear?",
    )
    # one label inside a ring of the other
    turn = 2 * math.pi * draws.uniform(200)
    codes = torch.stack([turn.cos(), turn.sin()], 1) * 4
    codes[::2] = 0.3 * draws.normal(100, 2)
    label = torch.arange(200) % 2
    value = number(
        what, probe(codes[:100], label[:100], codes[100:], label[100:])
    )
    require(
        value < 0.9,
        f"{what}: found {value:.2f} where one label lies around the other. "
        "No straight line does that: is the probe linear?",
    )


def _why(value: float, causes: dict[float, str]) -> str:
    """The cause that gives about this value, if one does."""
    for known, cause in causes.items():
        if abs(value - known) < 0.03:
            return f". {cause}"
    return ""


def _needs_no_held_labels(draws: Draws, probe: Student) -> None:
    """Refuse a probe that is fitted so that the held labels agree.

    Four of five codes learned from have the first label, and so have nearly
    all held ones, also most that lie at the other centre. An honest probe
    reads six of ten. One whose strength or steps are chosen by the held score
    finds that it is best to say the first label always.
    """
    for first, second in ((0, 1), (7, 2)):
        centres = torch.tensor([[-2.5, 0.0], [2.5, 0.0]])
        learn, whose = _cloud(draws, centres, 40)
        keep = torch.cat([(whose == 0).nonzero(), (whose == 1).nonzero()[:10]])
        learn, whose = learn[keep[:, 0]], whose[keep[:, 0]]
        held, _ = _cloud(draws, centres, 25)
        labels = torch.tensor([first, second])[whose]
        same = torch.full((50,), first)
        same[1:10:2] = second  # five at the other centre
        value = number("the share", probe(learn, labels, held, same))
        require(
            abs(value - 0.6) < 0.05,
            f"held codes lie half at one centre and half at the other, 45 of "
            f"50 with one label: found {value:.2f}, expected 0.60. Each code "
            "counts the same. And was anything chosen by the held labels (the "
            "strength of a penalty, the number of steps, a threshold)? Choose "
            "by the codes learned from",
        )


def _scores_each_code_alone(draws: Draws, probe: Student) -> None:
    """Refuse a probe that takes scales or means from the held codes.

    Two of the held codes lie a hundred thousand times farther out than all
    others. That may not change how the others are read.
    """
    centres = torch.tensor([[-2.5, 0.0, 0.0], [2.5, 0.0, 0.0]])
    learn, whose = _cloud(draws, centres, 40)
    keep = torch.cat([(whose == 0).nonzero(), (whose == 1).nonzero()[:10]])
    learn, whose = learn[keep[:, 0]], whose[keep[:, 0]]
    held, held_whose = _cloud(draws, centres, 49)
    far = torch.tensor([[2.5e5, 0.0, 0.0], [2.4e5, 1.0, 0.0]])
    held = torch.cat([held, far])
    held_whose = torch.cat([held_whose, torch.ones(2, dtype=torch.long)])
    value = number("the share", probe(learn, whose, held, held_whose))
    require(
        value > 0.97,
        "two held codes lie far from all others, and the probe reads "
        f"{value:.0%} of the held labels, where it should read all. Was a "
        "mean or a scale taken from the held codes? Take both from the codes "
        "that it learns from",
    )


def _strokes(draws: Draws, n: int, height: int, width: int) -> Tensor:
    """Ink along lines of random place and slope, with some noise."""
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    slope = draws.uniform(n, 1, 1, low=-0.8, high=0.8)
    start = draws.uniform(n, 1, 1, low=0.3, high=0.7) * width
    across = columns - start - slope * (rows - height / 3)
    ink = (-across.square() / 2).exp() * draws.uniform(n, height, 1)
    return (ink + 0.1 * draws.uniform(n, height, width)).clamp(0, 1)


def _slope(images: Tensor) -> Tensor:
    """Columns per row of the line fitted to the ink of each image."""
    _, height, width = images.shape
    rows, columns = torch.meshgrid(
        torch.arange(height).double(),
        torch.arange(width).double(),
        indexing="ij",
    )
    root = images.double().flatten(1).sqrt()
    line = torch.stack([rows.flatten(), torch.ones(height * width)], 1)
    left = root[:, :, None] * line
    right = (root * columns.flatten())[:, :, None]
    return torch.linalg.lstsq(left, right).solution[:, 0, 0]


@check()
def slant_from_moments(draws: Draws, slant_angle: Student) -> None:
    """The angle by which ink leans to the right, in degrees.

    Held against a weighted least-squares line, and against bars of known
    angle.
    """
    angle = function("slant_angle", slant_angle)

    def degrees(v: Tensor) -> Tensor:
        return torch.rad2deg(torch.atan(v))

    for shape in ((6, 28, 28), (1, 9, 14), (4, 15, 8)):
        images = _strokes(draws, *shape)
        images[1:3] = 0.0  # where there are more: steep, to either side
        images[1:2, [5, 4, 3], [1, 4, 7]] = 1.0
        images[2:3, [3, 4, 5], [1, 4, 7]] = 1.0
        slope = _slope(images)
        ink = images.double()
        r = torch.arange(shape[1]).double()[:, None]
        c = torch.arange(shape[2]).double()
        middle_r, middle_c = r - (shape[1] - 1) / 2, c - (shape[2] - 1) / 2
        mass = ink.sum((1, 2))[:, None, None]
        down = r - (ink * r).sum((1, 2), keepdim=True) / mass
        right = c - (ink * c).sum((1, 2), keepdim=True) / mass
        both = (ink * down * right).sum((1, 2))
        high = (ink * down.square()).sum((1, 2))
        wide = (ink * right.square()).sum((1, 2))
        about_corner = (ink * r * c).sum((1, 2)) / (ink * r * r).sum((1, 2))
        about_middle = (ink * middle_r * middle_c).sum((1, 2)) / (
            ink * middle_r.square()
        ).sum((1, 2))
        mistakes = {
            "rows count downwards: leaning to the right needs a minus sign": (
                degrees(slope)
            ),
            "rows and columns are swapped: divide by the spread over the "
            "rows": degrees(-both / wide),
            "rows and columns are swapped, and the minus sign is missing": (
                degrees(both / wide)
            ),
            "these are radians: use torch.rad2deg": torch.atan(-slope),
            "this is the slope: its angle is the arctangent": -slope,
            "this is the slope in degrees: take the arctangent first": (
                torch.rad2deg(-slope)
            ),
            "rows and columns are counted from the corner: subtract the "
            "centre of mass": degrees(-about_corner),
            "the middle of the picture is not the centre of mass": degrees(
                -about_middle
            ),
            "this is the angle of the longest axis, not of the best "
            "prediction of the column": torch.rad2deg(
                torch.atan2(-2 * both, high - wide) / 2
            ),
        }
        equal("the slant", angle(images), degrees(-slope), mistakes, 1e-3)
        equal(
            "the slant of paler ink",
            angle(0.01 * images),
            degrees(-slope),
            tolerance=1e-3,
        )
        # among others, so that one angle cannot stand for all
        odd = torch.zeros(3, *shape[1:])
        odd[1, 0, 1:5] = 1.0  # a line in the first row
        odd[2, shape[1] // 2, 2:6] = 1.0
        both = torch.cat([images[:1], odd, images])
        found = tensor("the slant", angle(both), (len(both),))
        for at, what in (
            (1, "a blank image among others"),
            (2, "an image with ink in its first row alone"),
            (3, "an image with ink in one row alone"),
        ):
            one = float(found[at])
            require(
                abs(one) < 1e-6,
                f"the slant of {what} should be 0: found {brief(one)}",
            )
        equal(
            "the slant of images among which some have none",
            found[[0, *range(4, len(both))]],
            degrees(-slope)[[0, *range(len(images))]],
            tolerance=1e-3,
        )


def codes_of_their_labels(
    learn: Tensor, labels: Tensor, held: Tensor, held_labels: Tensor
) -> float:
    """A probe for `shuffled_control`: how many labels are at their code.

    All numbers of a code are its label; a code that is torn apart has none.
    """
    whose = torch.as_tensor(labels)[:, None]
    return (torch.as_tensor(learn) == whose).all(1).double().mean().item()


def held_as_they_were(
    learn: Tensor, labels: Tensor, held: Tensor, held_labels: Tensor
) -> float:
    """As before, for what it is scored on, and not as a share."""
    codes = torch.as_tensor(held)[:, 0]
    return (codes == torch.as_tensor(held_labels)).double().sum().item()


def mean_of_labels(
    learn: Tensor, labels: Tensor, held: Tensor, held_labels: Tensor
) -> float:
    """The mean label, which a shuffle leaves as it is."""
    return torch.as_tensor(labels).double().mean().item()


def partner_of_zero(
    learn: Tensor, labels: Tensor, held: Tensor, held_labels: Tensor
) -> float:
    """2 to the power of the code that comes with the label 0.

    The sum of five such scores tells whether the five codes differ.
    """
    found = torch.as_tensor(learn)[torch.as_tensor(labels) == 0]
    return 2.0 ** float(found[0, 0]) if len(found) else 0.0


@check()
def shuffled_control(draws: Draws, shuffled_control: Student) -> None:
    """The mean score of a probe after five ways to shuffle the labels.

    Tried with probes that tell what they were given.
    """
    control = function("shuffled_control", shuffled_control)

    def score(probe, n: int, kinds: int, ordered: bool = False) -> float:
        labels, held = draws.whole(0, kinds, n), draws.whole(0, kinds, n // 2)
        if ordered:
            labels = labels.sort().values
        if kinds == n:
            labels = torch.randperm(n, generator=draws.generator)
        codes = [
            v[:, None].float().expand(-1, 3).clone() for v in (labels, held)
        ]
        found = number(
            "the control", control(probe, codes[0], labels, codes[1], held)
        )
        if probe is mean_of_labels:
            found -= labels.double().mean().item()
        return found

    value = score(held_as_they_were, 300, 4)  # of 150 held ones
    require(
        abs(value - 5 * 150) > 1e-3,
        "the control is the sum of the five scores: divide it by five",
    )
    require(
        abs(value - 300) > 1e-3,
        "the probe is scored on the codes that it learned from. Score it on "
        "the held ones",
    )
    require(
        abs(value - 150) < 1e-3,
        "the probe is scored on held codes and labels that do not belong "
        "together, or its score is not what is returned. Shuffle only what "
        "it learns from",
    )
    n = 4000
    for ordered in (False, *[True] * 8):  # a shift hits 25% by luck alone
        value = score(codes_of_their_labels, n, 4, ordered)
        require(
            value < 0.999,
            "after your shuffle each label still belongs to its code. Shuffle "
            "the labels alone, and leave the codes where they are",
        )
        kind = "labels in order" if ordered else "labels"
        require(
            abs(value - 0.25) < 7 * math.sqrt(0.25 * 0.75 / n),
            f"after the shuffles {value:.0%} of the {kind} are at the right "
            "code, where chance gives 25%. Shuffle all labels, in all five "
            "rounds, so that any order is as likely as any other",
        )
    require(
        abs(score(mean_of_labels, 400, 10)) < 1e-5,
        "the labels are drawn anew. A shuffle keeps how often each label "
        "occurs: use torch.randperm",
    )
    sums = [5 * score(partner_of_zero, 18, 18) for _ in range(60)]
    require(
        all(abs(v - round(v)) < 0.3 for v in sums),
        "this is not the mean of five rounds",
    )
    # five different powers of 2 have five ones in their sum
    ones = [round(v).bit_count() for v in sums]
    require(
        max(ones) == 5,
        "it is one shuffle only, or the same one again. Shuffle anew in each "
        "of the five rounds",
    )
    require(
        any(round(v) % 2 for v in sums),
        "no label ever stays at its code. In a shuffle some may: any order "
        "is as likely as any other",
    )


def _slack(right: float) -> float:
    """A tolerance for a difference of numbers near 1, which may be small."""
    return 1e-4 + 1e-5 / max(1e-3, abs(right))


def _r2(values: Tensor, guesses: Tensor) -> float:
    from sklearn.metrics import r2_score

    return float(r2_score(values.numpy(), guesses.numpy()))


@check()
def style_within_label(
    draws: Draws,
    predicted_scores: Student,
    within_label: Student,
    explained: Student,
) -> str:
    """A prediction, and what explains how much within a label.

    The means by label come from scatter_reduce, R^2 from scikit-learn; any
    prediction counts.
    """
    guess = function("predicted_scores", predicted_scores)()
    take = function("within_label", within_label)
    share = function("explained", explained)
    require(guess is not None, "no prediction yet: write down two numbers")
    require(
        getattr(guess, "shape", None) == (2,)
        or (isinstance(guess, list | tuple) and len(guess) == 2),
        "predicted_scores: return two numbers, before and after",
    )
    # a wrong prediction does no harm, whatever its size
    before, after = (number("a predicted share", one) for one in guess)
    for n, n_held in ((40, 12), (25, 1), (60, 30)):
        kinds = torch.randperm(10, generator=draws.generator)[:3]
        many = torch.arange(n) % 3
        many[: n // 3] = 0  # labels are not equally frequent
        labels = kinds[many]
        held_labels = kinds[draws.whole(0, 3, n_held)]
        spread = 5 * draws.normal(10)
        learned = spread[labels] + draws.normal(n) + 3
        held = spread[held_labels] + draws.normal(n_held) + 3

        def means(v: Tensor, y: Tensor, how: str = "mean") -> Tensor:
            zero = torch.zeros(10)
            return zero.scatter_reduce(0, y, v, how, include_self=False)

        mean = means(learned, labels)[held_labels]
        mistakes = {
            "the means are those of the held digits. A probe may not look at "
            "them: take the means of the digits learned from": held
            - means(held, held_labels)[held_labels],
            "the mean of all digits is taken away, not that of the label": (
                held - learned.mean()
            ),
            "this is the mean of the label; what remains without it is "
            "wanted": mean,
            "the sign: take the mean from the value": mean - held,
            "nothing is taken away": held,
            "the sum of the label is taken away, not the mean": held
            - means(learned, labels, "sum")[held_labels],
        }
        found = take(held, held_labels, learned, labels)
        equal("what is left of the slant", found, held - mean, mistakes)
    for n in (200, 7):
        values, noise = 4 * draws.normal(n) + 9, draws.normal(n)
        guesses = 0.5 * values + 2 * noise + 3
        right = _r2(values, guesses)
        off = (values - guesses).square().double()
        both = torch.stack([values, guesses]).double()
        total = (values - values.mean()).square().double()
        mistakes = {
            "this is the squared correlation, which does not mind a wrong "
            "scale or offset": both.corrcoef()[0, 1].square(),
            "this is the correlation": both.corrcoef()[0, 1],
            "the total is the squared distance from the mean of the values, "
            "not from 0": 1 - off.sum() / values.double().square().sum(),
            "this is the share that is not explained": off.sum() / total.sum(),
            "this is the variance of the guesses over that of the values": (
                guesses.var() / values.var()
            ),
            "this is the mean squared error": off.mean(),
            "an R^2 may be negative": 0.0,
        }
        if right > 0:
            mistakes.popitem()
        equal(
            "the share explained",
            share(values, guesses),
            right,
            mistakes,
            _slack(right),
        )
    worse = -2 * values
    equal(
        "the share explained by bad guesses",
        share(values, worse),
        _r2(values, worse),
        {"an R^2 may be negative: do not cut it off at 0": 0.0},
    )
    above = " (no R^2 is above 1)" if max(before, after) > 1 else ""
    return (
        f"you predicted {before:.2f} before and {after:.2f} after{above}. "
        "Before, the digit alone explains 36 of 36 + 64, a share of 0.36; "
        "after, a code that tells only the digit explains nothing, 0"
    )


@check(seconds=60)  # a library may have to load
def label_leakage(
    draws: Draws, label_information: Student, tells_more: Student
) -> None:
    """Nats about the label, from the probabilities of a probe.

    Held against the entropy of torch.distributions less the cross-entropy
    of torch; the comparison of the two models is that of chapter 10.
    """
    nats = function("label_information", label_information)
    more = function("tells_more", tells_more)
    for n, kinds in ((200, 10), (31, 3), (8, 2)):
        labels = draws.whole(0, kinds, n)
        if n == 31:
            labels = (labels * draws.whole(0, 2, n)).clamp_max(1)
        odds = draws.normal(n, kinds)
        odds[torch.arange(n), labels] += 3
        if n == 200:  # some digits for which the probe is sure and wrong
            odds[:10] -= 10 * one_hot(labels[:10], kinds)
        probabilities = odds.softmax(1)
        own = probabilities[torch.arange(n), labels].double()
        counts = torch.bincount(labels, minlength=kinds).double()
        entropy = torch.distributions.Categorical(counts).entropy()
        cross = torch.nn.functional.cross_entropy(odds.double(), labels)
        right = entropy - cross
        hits = (probabilities.argmax(1) == labels).double().mean()
        _compare_nats(
            nats(probabilities, labels), right, own, entropy, kinds, hits
        )
    flat = torch.full((60, 5), 0.2)
    labels = (torch.arange(60) % 5).clamp_min(2)
    counts = torch.bincount(labels, minlength=5).double()
    entropy = float(torch.distributions.Categorical(counts).entropy())
    equal(
        "the nats read by a probe that is worse than the frequencies",
        nats(flat, labels),
        entropy - math.log(5),
        {"it may be negative: do not cut it off at 0": 0.0},
    )
    look = (
        "Apply label_information to both entries of `read`, and say in the "
        "cell below which is larger and why"
    )
    choice(
        "which code tells more of the digit",
        more(),
        "decoder only",
        {"both networks": look, "equal": look},
    )


def _compare_nats(
    found: object,
    right: Tensor,
    own: Tensor,
    entropy: Tensor,
    kinds: int,
    hits: Tensor,
) -> None:
    cross = -own.log().mean()
    mistakes = {
        "the entropy of the labels is missing": -cross,
        "this is the cross-entropy; how far below the entropy is it?": cross,
        "the sign: the entropy less the cross-entropy": -right,
        "these are bits: use the natural logarithm": right / math.log(2),
        "the labels are not equally frequent: take the entropy of their "
        "frequencies, not ln C": math.log(kinds) - cross,
        "take the logarithm of each probability first, then the mean": entropy
        + own.mean().log(),
        "sum over the digits only where you take a mean": entropy
        + own.log().sum(),
        "this uses which digits are read, not their probabilities": entropy
        * hits,
        "this is the share of digits that are read": hits,
        "this is the entropy of the labels alone": entropy,
    }
    slack = _slack(float(right))
    equal("the nats about the label", found, right, mistakes, slack)


# what a picture shows: its lines stand below each other; ? is just 0.5
SHAPES = {
    "a ring": "....... ..###.. .#...#. .#...#. ..###.. .......",
    "a ring open below": "....... ..###.. .#...#. .#...#. ..#.#.. .......",
    "two holes": "..###.. .#...#. .#####. .#...#. ..###.. .......",
    "a ring at the edge": "..##### ..#...# ..#...# ..##### ....... .......",
    "a full block": "####### ####### ####### ....... ....... .......",
    "a blank picture": "....... ....... ....... ....... ....... .......",
    "ink from edge to edge": "#.....# .#...#. ..###.. ....... ....... .......",
    "a ring whose ink touches at corners": (
        "...#... ..#.#.. .#...#. ..#.#.. ...#... ......."
    ),
    "two rings": "###.### #.#.#.# ###.### ....... ....... .......",
    "a ring in a ring": (
        "####### #.....# #.###.# #.#.#.# #.###.# #.....# #######"
    ),
    "paper that touches paper by a corner": (
        "####### #.###.# ##.#.## #.###.# ####### ....... ......."
    ),
    "six holes": "####### #.#.#.# ####### #.#.#.# ####### ....... .......",
    "a ring with one pixel of just 0.5": (
        "....... ..###.. .#...#. .#...#. ..#?#.. ......."
    ),
    "a long corridor of paper that ends inside": (
        "####### #.....# #.###.# #.#.#.# #.#...# #.##### #######"
    ),
    "a long corridor of paper that leads outside": (
        "####### #.....# #.###.# #.#.#.# #.#...# #.##### #.#####"
    ),
}


def _drawn(text: str, height: int, width: int) -> Tensor:
    ink = torch.zeros(height, width)
    for r, line in enumerate(text.split()):
        for c, mark in enumerate(line):
            ink[r, c] = {"#": 1.0, "?": 0.5}.get(mark, 0.0)
    return ink


def _regions(ink: np.ndarray, corners: bool) -> int:
    from scipy import ndimage

    return ndimage.label(ink, np.ones((3, 3)) if corners else None)[1]


def _holes(
    images: Tensor,
    edge: int = 1,
    corners: bool = False,
    least: float = 0.5,
    outside: int = 1,
) -> Tensor:
    """Regions of paper without the one outside, by scipy."""
    found = []
    for image in images.numpy():
        paper = np.pad(image <= least, edge, constant_values=True)
        found.append(_regions(paper, corners) - outside)
    return torch.tensor(found, dtype=torch.float64)


def _hole_mistakes(images: Tensor) -> dict[str, Tensor | float]:
    """What common mistakes count, by their diagnosis."""
    ink = images.numpy() > 0.5
    blobs = torch.tensor([_regions(one, True) for one in ink])
    return {
        "the paper outside is no hole": _holes(images, outside=0),
        "ink that reaches the edge cuts the paper outside into pieces, "
        "and they are no holes: put paper around the picture first": (
            _holes(images, edge=0)
        ),
        "the paper outside is no hole, even where ink at the edge cuts "
        "it into pieces": _holes(images, edge=0, outside=0),
        "paper may not slip through between two inked pixels that touch "
        "at a corner": _holes(images, corners=True),
        "count a pixel as ink only where it is above 0.5": _holes(
            images, least=0.0
        ),
        "these are the connected pieces of ink": blobs,
        "this is the number of pieces of ink less the number of holes": (
            blobs - _holes(images)
        ),
        "this counts all images together": _holes(images).sum(),
        "this tells whether there is a hole, not how many": _holes(
            images
        ).clamp_max(1),
    }


@check(seconds=60)  # a library may have to load
def count_holes(draws: Draws, count_holes: Student) -> None:
    """The holes in the ink of each image.

    Held against the connected regions that scipy finds, on shapes with
    known holes and on blots.
    """
    count = function("count_holes", count_holes)
    shapes = torch.stack([_drawn(one, 8, 7) for one in SHAPES.values()])
    shades = draws.uniform(*shapes.shape, low=0.02, high=0.3)
    shaded = torch.where(shapes > 0, 1 - shades, shades)
    shapes = torch.where(shapes == 0.5, shapes, shaded)
    _compare_shapes(count, shapes)
    noise = draws.normal(6, 1, 34, 34)
    blots = torch.nn.functional.avg_pool2d(noise, 5, 1)[:, 0]
    blots = (0.5 + 2 * blots).clamp(0, 1)
    tiny = draws.uniform(3, 1, 1)
    wide, tall = blots[:1, 3:15, 5:28], blots[1:3, 2:28, 7:21]
    for images in (shapes, blots, wide, tall, tiny):
        mistakes = _hole_mistakes(images)
        equal("the holes", count(images), _holes(images), mistakes, 1e-6)


def _compare_shapes(count: Student, shapes: Tensor) -> None:
    """Refuse a wrong number of holes in one picture, seen alone."""
    right = _holes(shapes)
    for name, image, wanted in zip(SHAPES, shapes, right):
        found = tensor(f"the holes of {name}", count(image[None]), (1,))
        # mistakes that many pictures show are told from all of them
        if float(found[0]) != float(wanted):
            break
    else:
        return
    try:
        known = _hole_mistakes(shapes)
        equal("the holes", count(shapes), right, known, 1e-6)
    except WrongError as error:
        if "Likely" in str(error):
            raise
    raise WrongError(
        f"the holes of {name}: found {float(found[0]):g}, expected "
        f"{int(wanted)} where it is the only image"
    )
