"""Checks for chapter 2: fitted codes, holes, walks, copies, scale."""

import copy
import itertools
import math

import torch
from torch import Tensor
from torch.distributions import Chi2

from minivae.latent import pictures
from minivae.models import Autoencoder
from minivae.notebook import brief
from minivae_course.check import (
    Draws,
    Student,
    check,
    choices,
    equal,
    function,
    moments,
    number,
    parts,
    require,
    standard_normal,
    tensor,
)

# --- 2.1 ---------------------------------------------------------------------


def _off(samples: Tensor, covariance: Tensor) -> float:
    """How far the samples are from this covariance, in its own units."""
    root = torch.linalg.cholesky(covariance)
    white = torch.linalg.solve_triangular(
        root, (samples - samples.mean(0)).T, upper=False
    )
    return float((torch.cov(white) - torch.eye(len(root))).abs().max())


def _white(samples: Tensor, mean: Tensor, root: Tensor) -> Tensor:
    """The noise (n, k) that a Cholesky factor has made these samples of."""
    off = (samples - mean).T
    return torch.linalg.solve_triangular(root, off, upper=False).T


@check()
def one_normal(draws: Draws, sample_one_normal: Student) -> None:
    """Draws from one normal with the mean and covariance of the codes.

    Mean, spread and covariances of many draws are held against those of
    the codes; without them, standard normal noise has to be left.
    """
    sample = function("sample_one_normal", sample_one_normal)
    n = 40_000
    sizes = (
        (draws.whole(300, 400), 3),
        (draws.whole(200, 300), 2),
        (draws.whole(400, 600), draws.whole(4, 7)),
    )
    for n_codes, k in sizes:
        # two clouds, stretched and turned: far from normal themselves
        z = draws.normal(n_codes, k)
        z[:, 0] = z[:, 0] / 3 + draws.whole(0, 2, n_codes) * 2
        scales = torch.tensor([0.5, 2.0, 1.0, 3.0, 0.7, 1.5])[:k]
        lower = torch.eye(k) + torch.ones(k, k).tril(-1) * 0.8
        z = (z @ lower.T) * scales + 4 + draws.normal(k)
        tensor("one sample", sample(z, 1), (1, k))
        found = tensor("the samples", sample(z, n), (n, k))
        require(
            float((found - found[:1]).abs().max()) > 0,
            "all samples are the same: draw noise for each of them",
        )
        again = tensor("the samples", sample(z, n), (n, k))
        require(
            not torch.equal(found, again),
            "two calls draw the same samples: take out the fixed seed",
        )
        among = torch.cdist(found[:200], z.double()).min(1).values
        require(
            float(among.max()) > 1e-5,
            "these are codes of the list, drawn again; draw new ones from a "
            "normal distribution",
        )
        mean, right = z.double().mean(0), torch.cov(z.double().T)
        std = right.diagonal().sqrt()
        require(
            float(((found.mean(0)) / std).abs().max()) > 0.2,
            "the samples: their mean is 0. Add the mean of the codes",
        )
        root = torch.linalg.cholesky(right)
        if _off(found, right) > 0.06:
            for text, one in {
                "each number is drawn for itself: only their variances are "
                "right. Use the covariances between them too": (
                    torch.diag(std**2)
                ),
                "standard deviations were passed where a covariance is "
                "asked for, and the numbers are drawn for themselves": (
                    torch.diag(std)
                ),
                "the spread is one, as in N(0, I): scale the noise by the "
                "covariance of the codes": torch.eye(k).double(),
                "the noise is multiplied by the covariance; multiply it by "
                "its Cholesky factor, a root of it": right @ right,
                "the Cholesky factor is transposed: each row of noise takes "
                "noise @ factor.T": root.T @ root,
                "the noise is multiplied by variances; take their roots": (
                    torch.diag(std**4)
                ),
                "this spreads around 0, not around the mean: subtract the "
                "mean from the codes before you multiply them": (
                    right + torch.outer(mean, mean)
                ),
            }.items():
                require(
                    _off(found, one) > 0.06, f"the samples. Likely: {text}"
                )
        moments("the samples", found, mean, std)
        require(
            _off(found, right) < 0.06,
            "the samples: mean and spread of each number are right, the "
            "covariances between them are not",
        )
        standard_normal("the samples", _white(found, mean, root))
    # few codes are no special case, nor centred on their own mean
    for few in (1, 2, k + 2):
        found = [tensor("few", sample(z, few), (few, k)) for _ in range(200)]
        noise = _white(torch.cat(found), mean, root).view(200, few, k)
        what = f"the mean of samples drawn with n = {few}, times sqrt(n)"
        hint = "Draw few like many, not centred on their own mean"
        standard_normal(what, noise.mean(1) * few**0.5, hint)


# --- 2.2 ---------------------------------------------------------------------

LIMITS = ("goes to 0", "goes to 1", "stays between")


def _compare(what: str, found: list, tables: list[dict]) -> None:
    """Refuse other numbers than those that each table has under ""."""
    columns = {
        text: torch.tensor([table[text] for table in tables])
        for text in tables[0]
    }
    equal(what, found, columns.pop(""), columns)


@check()
def holes(
    draws: Draws,
    holes_by_histogram: Student,
    holes_by_distance: Student,
    limit_of_histogram: Student,
    limit_of_distance: Student,
) -> str:
    """The share of the plane without codes, measured in two ways.

    The histogram is held against codes put into known cells, the distance
    against a loop over places and codes.
    """
    by_cells = function("holes_by_histogram", holes_by_histogram)
    by_distance = function("holes_by_distance", holes_by_distance)
    limits = [
        function("limit_of_histogram", limit_of_histogram),
        function("limit_of_distance", limit_of_distance),
    ]
    found, tables = [], []
    for n_bins in (4, draws.whole(5, 9), draws.whole(9, 14), 6, 1):
        # away from the borders of the cells, but for three on the outermost
        cell = draws.whole(0, n_bins, 2 * n_bins, 2)
        cell[0] = n_bins - 1
        at = torch.cat([cell, cell]) + draws.uniform(
            4 * n_bins, 2, low=0.2, high=0.8
        )
        side = draws.whole(0, n_bins) + 0.5
        border = torch.tensor([[0.0, 0.0], [n_bins, n_bins], [n_bins, side]])
        z = torch.cat([border, at]) / n_bins * torch.tensor([3.0, 0.5])
        z += draws.normal(2)
        ends = {(0, 0), (n_bins - 1, n_bins - 1), (n_bins - 1, int(side))}
        full = len({tuple(c) for c in cell.tolist()} | ends)
        low, high = z.aminmax(dim=0)

        def cells(low=low, high=high, n=n_bins, last=True, z=z):
            one = ((z - low) / (high - low) * n).long()
            one = one.clamp(max=n - 1) if last else one
            return len({tuple(c) for c in one.tolist()})

        # what a histogram with the same limits in both directions finds
        square = cells(z.min(), z.max())
        nodes = cells(n=max(1, n_bins - 1))
        n = n_bins**2
        found.append(number("holes_by_histogram", by_cells(z, n_bins)))
        tables.append(
            {
                "": 1 - full / n,
                "this is the share of the cells with codes; take the "
                "others": full / n,
                "this is the number of empty cells; divide it by that of "
                "all cells": n - full,
                "empty cells are divided by the number of codes": (
                    (n - full) / len(z)
                ),
                "both directions have the same limits; take the smallest "
                "and largest code of each": (1 - square / n),
                "the largest code of a direction has a cell of its own, "
                "outside of the grid; it belongs to the last cell": (
                    1 - cells(last=False) / n
                ),
                "n_bins is the number of cells in a direction, not of the "
                "lines between them": 1 - nodes / max(1, n_bins - 1) ** 2,
                "the cells are counted once for each code in them": (
                    1 - len(z) / n
                ),
            }
        )
    _compare("holes_by_histogram, in five trials", found, tables)
    # the first row and the first column of many cells, and the last corner
    middle = (torch.arange(200) + 0.5)[:, None] / 200
    row = torch.cat([middle, torch.full((200, 1), 0.5 / 200)], 1)
    z = torch.cat([row, row.flip(1), torch.tensor([[0.0, 0.0], [1.0, 1.0]])])
    what = "holes_by_histogram, 400 of 200 x 200 cells with a code"
    equal(what, by_cells(z, 200), 0.99, None, 1e-5)
    found, tables = [], []
    sizes = [(draws.whole(2, 45), draws.whole(20, 60)) for _ in range(5)]
    for n, m in (*sizes, (1, 9)):
        z, places = draws.normal(n, 2), 2 * draws.normal(m, 2)
        apart = torch.tensor(
            [[math.dist(p, c) for c in z.tolist()] for p in places.tolist()]
        )
        nearest = apart.min(1).values
        ranked = nearest.sort().values
        # in a gap between two distances, so that rounding decides nothing
        gaps = ranked.diff()[m // 4 : m // 2]
        i = m // 4 + int(gaps.argmax())
        radius = float(ranked[i : i + 2].mean())
        centre = (places - z.mean(0)).norm(dim=1)
        blocks = (places[:, None] - z).abs()
        far = {
            "": nearest > radius,
            "this is the share of places near a code; take the others": (
                nearest <= radius
            ),
            "a place is a hole if it is far from the nearest code; you ask "
            "whether it is far from any": apart.max(1).values > radius,
            "this is the share of pairs of a place and a code; find the "
            "nearest code first": apart > radius,
            "the distance is from the mean of the codes; find the nearest "
            "code": centre > radius,
            "a squared distance is compared with the radius; take the root": (
                nearest.square() > radius
            ),
            "this is the share of codes far from all places; swap the two": (
                apart.min(0).values > radius
            ),
            "this is the larger of the two differences, not the distance": (
                blocks.amax(-1).amin(1) > radius
            ),
            "the two differences are added; take the root of their squares": (
                blocks.sum(-1).amin(1) > radius
            ),
            "the mean distance is compared with the radius; find the nearest "
            "code": apart.mean(1) > radius,
        }
        found.append(
            number("holes_by_distance", by_distance(z, places, radius))
        )
        shares = {
            text: float(one.double().mean()) for text, one in far.items()
        }
        text = "this is their number; divide it by that of all places"
        tables.append(shares | {text: shares[""] * m})
    _compare("holes_by_distance, in six trials", found, tables)
    # exactly at the radius: not farther away
    z, places = torch.tensor([[1.0, 2.0]]), torch.tensor([[4.0, 6.0]])
    one = number("holes_by_distance", by_distance(z, places, 5.0))
    require(
        one == 0,
        "holes_by_distance: a place at exactly the radius from its nearest "
        "code counts as a hole. It is one if the code is farther away",
    )
    right = ("goes to 1", "stays between")
    choices(
        "the two limits",
        {f"{one.name}()": one() for one in limits},
        {f"{one.name}()": word for one, word in zip(limits, right)},
        LIMITS,
        "Measure both shares for ever more cells and ever more places",
    )
    return (
        "right: the histogram answers with the size of its cells, the "
        "distance with a radius that you chose"
    )


# --- 2.3 ---------------------------------------------------------------------


@torch.no_grad()
def _walks(
    model: Autoencoder, first: Tensor, last: Tensor, n: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """The right walk, and what mistakes make of it."""
    a, b = model.encode_mean(torch.stack([first, last]))

    def drawn(shares):
        codes = [a + t * (b - a) for t in shares]
        return torch.cat([_rows(model, z[None]) for z in codes])

    steps = [i / (n - 1) for i in range(n)]
    ends, right = drawn([0.0, 1.0]), drawn(steps)
    pixels = torch.stack([first + t * (last - first) for t in steps])
    beyond = torch.stack([a + t * b for t in steps])
    uncut = torch.stack([a + t * (b - a) for t in steps])
    return right, {
        "the last picture is not reached: n pictures have n - 1 steps "
        "between them": drawn([i / n for i in range(n)]),
        "the first picture is missing": drawn([(i + 1) / n for i in range(n)]),
        "both ends are missing": drawn([(i + 1) / (n + 1) for i in range(n)]),
        "the walk runs backwards": right.flip(0),
        "the codes are a + t b, which goes from a to a + b: take "
        "a + t (b - a)": _rows(model, beyond),
        "the pixels were mixed and then encoded; mix the codes": _rows(
            model, model.encode_mean(pixels)
        ),
        "the pictures were mixed; mix the codes and draw then": torch.stack(
            [ends[0] + t * (ends[1] - ends[0]) for t in steps]
        ),
        "the digits were mixed, without encoder and decoder": pixels,
        "decode may leave [0, 1]; take pictures, which cuts off": (
            model.decode(uncut).flatten(1)
        ),
    }


def _rows(model: Autoencoder, z: Tensor) -> Tensor:
    """The pictures of codes, (n, D)."""
    return pictures(model, z).flatten(1)


@check()
def walk(draws: Draws, walk: Student) -> str:
    """Pictures on the straight line between two codes, both ends included.

    A linear autoencoder has to draw the straight line in pixels between its
    two reconstructions; a deep one is asked for each single place.
    """
    walk = function("walk", walk)
    for n, side, k, hidden in (
        (draws.whole(4, 10), 3, 2, (8,)),
        (2, 4, draws.whole(3, 6), (6, 5)),
        (draws.whole(10, 16), 2, 1, (9,)),
    ):
        d = side**2
        for _ in range(100):
            model = draws.model(Autoencoder, k, hidden, (1, side, side))
            with torch.no_grad():
                # so that pictures leave [0, 1] before they are cut off
                model.decoder[-1].weight.mul_(4)
                model.decoder[-1].bias.add_(0.5)
                model.encoder[-1].weight.mul_(3)
            first, last = draws.uniform(d), draws.uniform(d)
            right, mistakes = _walks(model, first, last, n)
            # until no mistake gives the right pictures by accident
            gaps = [float((v - right).abs().max()) for v in mistakes.values()]
            if n == 2 or min(gaps) > 0.02:
                break
        equal("the pictures", walk(model, first, last, n), right, mistakes)
    # without hidden layers, a line of codes is a line of pictures
    model = draws.model(Autoencoder, 2, (), (1, 2, 3))
    with torch.no_grad():
        for half in (model.encoder, model.decoder):
            half[0].weight.mul_(0.1)
        model.decoder[0].bias.fill_(0.5)
        first, last = draws.uniform(6), draws.uniform(6)
        both = model.encode_mean(torch.stack([first, last]))
        ends = _rows(model, both).double()
    t = torch.linspace(0, 1, 7).double()[:, None]
    equal(
        "the pictures of a linear autoencoder",
        walk(model, first, last, 7),
        (1 - t) * ends[0] + t * ends[1],
    )
    return "right: without hidden layers this would be a fade in pixels"


# --- 2.4 ---------------------------------------------------------------------


@check()
def learnt_by_heart(
    draws: Draws, closer_share: Student, copying_components: Student
) -> str:
    """Whether samples lie closer to the training codes than new codes do.

    Held against a loop over all pairs; copies have to give 1, and codes far
    away 0.
    """
    closer = function("closer_share", closer_share)
    copying = function("copying_components", copying_components)
    for n, m, b, k in (
        (draws.whole(25, 40), 25, draws.whole(15, 25), 2),
        (draws.whole(5, 10), 40, 9, draws.whole(3, 8)),
        (1, 12, 6, 1),
    ):
        train, test = draws.normal(m, k), draws.normal(b, k)
        samples = 0.8 * draws.normal(n, k)
        of = {}
        for name, rows in (("samples", samples), ("test", test)):
            apart = (rows[:, None] - train).double().square().sum(-1).sqrt()
            of[name], of[f"mean {name}"] = apart.min(1).values, apart.mean(1)
            of[f"far {name}"] = apart.max(1).values
            of[f"centre {name}"] = (rows - train.mean(0)).norm(dim=1)
        to_test = (samples[:, None] - test).square().sum(-1).min(1).values

        def share(a, b):
            pairs = itertools.product(a.tolist(), b.tolist())
            return sum(x < y for x, y in pairs) / (len(a) * len(b))

        right = share(of["samples"], of["test"])
        least = min(n, b)
        paired = of["samples"][:least] < of["test"][:least]
        mistakes = {
            "this is the share of pairs in which the test code is closer; "
            "take the others": 1 - right,
            "this is the number of pairs; divide it by that of all": (
                right * n * b
            ),
            "the mean distance to all training codes was compared; find "
            "the nearest": share(of["mean samples"], of["mean test"]),
            "the samples are compared with the mean distance of the test "
            "codes; compare each with each": float(
                (of["samples"] < of["test"].mean()).double().mean()
            ),
            "the samples are compared with the median distance of the test "
            "codes; compare each with each": float(
                (of["samples"] < of["test"].median()).double().mean()
            ),
            "the samples are compared with the smallest distance of the test "
            "codes; compare each with each": float(
                (of["samples"] < of["test"].min()).double().mean()
            ),
            "the distance to the farthest training code was compared; find "
            "the nearest": share(of["far samples"], of["far test"]),
            "the distance from samples to test codes was used; both "
            "distances are to the training codes": share(
                to_test.sqrt(), of["test"]
            ),
            "the distance to the mean training code was compared; find the "
            "nearest": share(of["centre samples"], of["centre test"]),
            "the first sample is compared with the first test code, the "
            "second with the second; compare each with each": float(
                paired.double().mean()
            ),
            "this is the share of samples that are closer to a training code "
            "than to a test code; compare with the distances of the test "
            "codes": float(
                (of["samples"] < to_test.double().sqrt()).double().mean()
            ),
        }
        equal("closer_share", closer(samples, train, test), right, mistakes)
    near = train[draws.whole(0, m, 8)] + 1e-3 * draws.normal(8, 1)
    equal("closer_share of copies", closer(near, train, test + 9), 1.0)
    equal("closer_share of far codes", closer(near + 99, train, test), 0.0)
    # distances to a single code of 0: copies, and pairs that are equally far
    ours, theirs = ([0.0, 0, 1, 2, 3], [0.0, 1, 1, 2, 4])
    given = (torch.tensor(v)[:, None] for v in (ours, [0.0], theirs))
    equal(
        "closer_share of codes of which some are copies or equally far",
        closer(*given),
        12 / 25,
        {
            "an equal distance counts one half. An equal distance is not "
            "closer": 14.5 / 25,
            "an equal distance counts. An equal distance is not closer": 17
            / 25,
            "copies were left out of the samples": 4 / 15,
            "copies were left out of the test codes": 12 / 20,
            "copies were left out": 4 / 12,
        },
    )
    number(
        "closer_share of the test codes themselves",
        closer(test, train, test),
        high=0.5,
        why="An equal distance is not closer",
    )
    found = number("copying_components()", copying())
    require(
        found in (30, 200),
        "copying_components(): choose 30 or 200, the mixtures of the figure",
    )
    require(
        found == 200,
        "copying_components(): not right. What does closer_share say of each "
        "mixture, and where do the curves lie?",
    )
    return "right: a mixture with few codes for each part learns them by heart"


# --- 2.5 ---------------------------------------------------------------------


def _halved(model: Autoencoder) -> Autoencoder:
    """A network that does on half the pixels what the model does on all."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if name.endswith("bias"):
                weights.mul_(0.5)
    return model


def _lively(draws: Draws, k: int, hidden: tuple, x: Tensor) -> Autoencoder:
    """A model whose codes of x differ, also where x is halved."""
    side = math.isqrt(x.shape[1])
    for _ in range(100):
        model = draws.model(Autoencoder, k, hidden, (1, side, side))
        with torch.no_grad():
            codes = [model.encode_mean(v) for v in (x, x / 2)]
        if min(float(z.std(0).min()) for z in codes) > 0.01:
            break
    return model


@check()
def half_the_ink(
    draws: Draws,
    predicted_spread: Student,
    predicted_error: Student,
    measured_ratios: Student,
) -> str:
    """Spread of codes and error when all pixels are halved.

    Any prediction will do. The measurement is held against networks of
    which the answer is known: with all biases halved, one half and one
    quarter; and against the definition for others.
    """
    spread = number(
        "predicted_spread()",
        function("predicted_spread", predicted_spread)(),
        low=0,
    )
    error = number(
        "predicted_error()",
        function("predicted_error", predicted_error)(),
        low=0,
    )
    measure = function("measured_ratios", measured_ratios)
    for n, d, k, hidden in (
        (draws.whole(9, 15), 9, 2, (6,)),
        (7, 16, draws.whole(3, 6), (5, 4)),
        (draws.whole(7, 12), 4, 1, ()),
    ):
        x = draws.uniform(n, d)
        full, other = (_lively(draws, k, hidden, x) for _ in range(2))
        for half, exact in ((other, None), (_halved(full), (0.5, 0.25))):
            with torch.no_grad():
                pairs = ((full, x), (half, x / 2))
                of = [m.encode_mean(v) for m, v in pairs]
                each = [m(v)["loss"] for m, v in pairs]
                left = [loss.mean() for loss in each]
                unlike = half.encode_mean(x)
                loss_unlike = half(x)["loss"].mean()

            def ratio(of, by=lambda z: z.double().std(0).mean()):
                return float(by(of[1]) / by(of[0]))

            def variance(z):
                return z.double().var(0).mean()

            right = ratio(of), float(left[1].double() / left[0])
            if exact:
                right = exact
            found = measure(full, half, x)
            found = parts("measured_ratios", found, "spread, error")
            equal(
                "the ratio of the spreads",
                found[0],
                right[0],
                {
                    "the ratio is upside down; divide by that of the full "
                    "pixels": 1 / right[0],
                    "the half model was given the full pixels; halve "
                    "them": ratio((of[0], unlike)),
                    "this is the ratio of the variances; take standard "
                    "deviations": ratio(of, variance),
                    "this is the ratio of the means; take standard "
                    "deviations": ratio(of, lambda z: z.double().mean()),
                    "the spread is taken over all numbers at once; take it "
                    "for each number over the digits": ratio(
                        of, lambda z: z.double().std()
                    ),
                    "this is the ratio of the errors; return the spread "
                    "first": right[1],
                    "the ratio is taken for each number and then averaged; "
                    "average the standard deviations first": float(
                        (of[1].std(0) / of[0].std(0)).mean()
                    ),
                },
            )
            equal(
                "the ratio of the errors",
                found[1],
                right[1],
                {
                    "the ratio is upside down; divide by that of the full "
                    "pixels": 1 / right[1],
                    "the half model was given the full pixels; halve "
                    "them": float(loss_unlike / left[0]),
                    "this is the root of the ratio; compare squared errors": (
                        right[1] ** 0.5
                    ),
                    "this is the ratio of the spreads again": right[0],
                    "the ratio is taken for each digit and then averaged; "
                    "average the errors first": (each[1] / each[0]).mean(),
                },
            )
    return (
        f"right. You predicted {brief(spread)} and {brief(error)}; with all "
        "biases halved a network gives 0.5 and 0.25, and nothing in the loss "
        "forces training to stop there"
    )


# --- 2.6 ---------------------------------------------------------------------


@check()
def untypical_middle(
    draws: Draws, blank_a: Student, blank_b: Student, blank_c: Student
) -> str:
    """Why the middle between two draws is untypical: three blanks.

    Held against the chi-squared distribution of torch, and against the trace
    of the covariance that a walk has.
    """
    blank_a = function("blank_a", blank_a)
    blank_b = function("blank_b", blank_b)
    blank_c = function("blank_c", blank_c)
    for k in (32, 8, 1, 2, draws.whole(33, 200)):
        square = Chi2(torch.tensor(float(k), dtype=torch.float64))
        mean, std = float(square.mean), float(square.stddev)
        equal(
            f"blank A with {k} numbers",
            blank_a(k),
            mean,
            {
                "this is a length; the square is asked for": k**0.5,
                "this is the mean for one number; there are L of them": 1.0,
                "this is the spread of the squared length": std,
                "this is the mean of z, not of its square": 0.0,
            },
        )
        first = float(draws.uniform(low=0.1, high=0.4))
        last = float(draws.uniform(low=0.6, high=0.9))
        for t in (first, 0.5, 0, 1.0, last):
            # the walk is this matrix times both draws, one above the other
            one = torch.eye(k, dtype=torch.float64)
            both = torch.cat([(1 - t) * one, t * one], 1)
            equal(
                f"blank B with {k} numbers at t = {t:.3g}",
                blank_b(k, t),
                float((both @ both.T).trace()),
                {
                    "the weights enter squared: variances add up, "
                    "not lengths": float(k),
                    "this is the middle, t = 0.5, for every t": k / 2,
                    "this holds for one number; there are L of them": (
                        (1 - t) ** 2 + t**2
                    ),
                    "the mixed term has the mean 0: the draws are "
                    "independent": k * (1 + 2 * t * (1 - t)),
                    "this is the squared weight of the first draw; add that "
                    "of the second": k * (1 - t) ** 2,
                    "this is the squared weight of the second draw; add that "
                    "of the first": k * t**2,
                },
            )
        gap = mean - mean / 2
        equal(
            f"blank C with {k} numbers",
            blank_c(k),
            gap / std,
            {
                "divide by the standard deviation, not by the variance": (
                    gap / std**2
                ),
                "this is the gap itself; divide it by the standard "
                "deviation": gap,
                "the variance of the squared length is 2 L, not L": (
                    gap / k**0.5
                ),
                "the gap is L - L/2; you took all of L": mean / std,
                "the sign: count how far the middle lies below": -gap / std,
            },
        )
    return "right: with 2 numbers half a standard deviation, with 32 two"
