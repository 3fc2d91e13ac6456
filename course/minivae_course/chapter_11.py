"""Checks for chapter 11: a combination of conditions."""

import itertools
import math

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Independent, Normal, kl_divergence

from minivae.models import CVAE, VAE
from minivae.probes import slant
from minivae_course.check import (
    Draws,
    Student,
    builtin,
    check,
    choice,
    choices,
    equal,
    function,
    gradients_equal,
    require,
    tensor,
    whole,
)

NAN = math.nan


def _with_nan(what: str, value: object, shape: tuple[int, ...]) -> Tensor:
    """A result as float64, if it has this shape; NaN may be in it."""
    if isinstance(value, list | tuple):  # of rows
        value = np.asarray(value, dtype=float)
    if isinstance(value, Tensor | np.ndarray):
        value = torch.as_tensor(value).double()
        tensor(what, torch.where(value.isnan(), 0.0, value), shape)
        return value
    return tensor(what, value, shape)


def _correlation(a: Tensor, b: Tensor) -> float:
    return float(torch.stack([a.double(), b.double()]).corrcoef()[0, 1])


@check()
def withhold_conditions(draws: Draws, withhold: Student) -> None:
    """Each condition is NaN with the probability, the others are kept.

    The shares of NaN and their correlations must be those of independent
    draws, from entry to entry and from call to call.
    """
    hide = function("withhold", withhold)
    what = "the conditions"
    for shape in ((50, 2), (1, 3), (9, 1)):
        y = draws.normal(*shape)
        y[:, 0] = draws.whole(0, 10, shape[0]).float()
        y[0, 0] = 0.0
        none = _with_nan(what, hide(y, 0.0), shape)
        require(
            not torch.equal(none.isnan(), y == 0),
            "a condition that is 0 has become NaN, with a probability of 0. "
            "It is a value as any other and stays",
        )
        require(
            not bool(none.isnan().any()),
            "with a probability of 0 nothing is withheld, but found NaN. Is "
            "it the probability to withhold that you use, not to keep? And "
            "NaN times 0 is NaN",
        )
        equal("the conditions, with a probability of 0,", none, y)
        every = _with_nan(what, hide(y, 1.0), shape)
        require(
            not bool((every == 0).all()),
            "a withheld condition is 0. But 0 is a value: an upright digit "
            "and a digit of unknown slant would look the same. Use NaN",
        )
        require(
            bool(every.isnan().all()),
            "with a probability of 1 each condition is withheld, but found "
            f"{int((~every.isnan()).sum())} that are not NaN",
        )
    low, high = draws.uniform(2).tolist()
    # far from each other, so that no share of one's own fits both
    for share in (0.1 + 0.1 * low, 0.5 + 0.2 * high):
        _each_entry_by_itself(draws, hide, share)
        _each_call_by_itself(draws, hide, share)
    # no whole per cent, nor anything that is rounded to them
    share, n = 0.0025, 24_000
    found = _with_nan(what, hide(draws.normal(n, 1), share), (n, 1))
    rate = float(found.isnan().double().mean())
    require(
        abs(rate - share) < 7 * math.sqrt(share / n),
        f"{rate:.2%} of the conditions are withheld, expected {share:.2%}",
    )


def _each_entry_by_itself(draws: Draws, hide: Student, share: float) -> None:
    """Withheld entries of one large call do not depend on each other."""
    n = 20_000
    y = draws.normal(n, 4)
    unknown = torch.arange(n) % 4 == 0
    y[unknown, 1] = NAN  # not known in the data
    found = _with_nan("the conditions", hide(y, share), (n, 4))
    require(
        bool(found[unknown, 1].isnan().all()),
        "a condition that was NaN before must stay NaN: it is not known",
    )
    hidden = found.isnan()
    require(
        bool((hidden | (found == y)).all()),
        "a condition that is not withheld must keep its value",
    )
    hidden = hidden[~unknown]
    m = len(hidden)
    slack = 7 * math.sqrt(share * (1 - share) / m)
    for column in range(4):
        rate = float(hidden[:, column].double().mean())
        require(
            rate not in (0.0, 1.0),
            f"condition {column} is withheld for {rate:.0%} of the digits. "
            "Draw a number for each entry, not one for all digits",
        )
        require(
            abs(rate - share) < slack,
            f"condition {column} is withheld for {rate:.1%} of the digits, "
            f"expected {share:.1%}",
        )
    limit = 7 / math.sqrt(m)
    require(
        all(
            abs(_correlation(hidden[:, i], hidden[:, j])) < limit
            for i, j in itertools.combinations(range(4), 2)
        ),
        "the conditions of a digit are not withheld independently. Draw a "
        "number for each entry of y, with the shape of y, so that any "
        "combination can occur",
    )
    require(
        abs(_correlation(hidden[1:, 0], hidden[:-1, 0])) < limit,
        "neighbouring digits are not withheld independently",
    )
    column = found.isnan()[:, 0]
    first = column[: n // 2]
    require(
        all(
            abs(_correlation(first, other)) < 7 / math.sqrt(n // 2)
            for other in (column[n // 2 :], column.flip(0)[: n // 2])
        ),
        "the two halves of the digits are not withheld independently. Draw "
        "a number for each entry; 1 minus another is no new one",
    )


def _each_call_by_itself(draws: Draws, hide: Student, share: float) -> None:
    """In many calls with one digit any number of conditions is withheld."""
    y, calls = draws.normal(1, 4), 400
    found = [
        _with_nan("the conditions of one digit", hide(y, share), (1, 4))
        for _ in range(calls)
    ]
    hidden = torch.cat(found).isnan().double()
    require(
        len(hidden.unique(dim=0)) > 1,
        "each call with the same digit withholds the same conditions. Draw "
        "new numbers in each call, and set no seed",
    )
    rate = float(hidden.mean())
    require(
        abs(rate - share) < 7 * math.sqrt(share * (1 - share) / 4 / calls),
        f"of one digit alone, {rate:.1%} of the conditions are withheld, "
        f"expected {share:.1%}",
    )
    # of a binomial number, whose sample variance has an error of 7 to 10 %
    variance = float(hidden.sum(1).var())
    require(
        variance > 2 * share * (1 - share),
        "how many conditions of a digit are withheld must vary from call to "
        f"call: its variance is {variance:.2f}, expected "
        f"{4 * share * (1 - share):.2f}. Draw each entry by itself",
    )


@check()
def price_of_a_factor(
    draws: Draws,
    posterior_variance: Student,
    posterior_weight: Student,
    mean_square: Student,
    price: Student,
) -> None:
    """The blanks of the proof, as functions of the two scales.

    Held against the inverse covariance of factor and observation, and the
    information between them from its determinant.
    """
    variance = function("posterior_variance", posterior_variance)
    weight = function("posterior_weight", posterior_weight)
    square = function("mean_square", mean_square)
    nats = function("price", price)
    # weak and strong factors; alone, a small value counts too
    scales = ((5, 1, 1), (1, 1, 1), (1, 0.1, 1), (1, 0.02, 1), (1, 9, 1))
    for n, loud, noisy in (*scales, (1, 0.2, 0.1), (4, 1, 0.05)):
        # in double precision, as 1 - v is small for a weak factor
        s = loud * draws.uniform(n, low=0.6, high=1.8).double()
        sigma = noisy * draws.uniform(n, low=0.3, high=1.2).double()
        t, u = s, sigma
        rows = [torch.ones(n).double(), t, t, t**2 + u**2]
        joint = torch.stack(rows, 1).view(n, 2, 2)
        precision = joint.inverse()
        v = 1 / precision[:, 0, 0]
        equal(
            "blank 1, the variance of the posterior",
            variance(s, sigma),
            v,
            {
                "the prior is missing: precisions of prior and observation "
                "add up": u**2 / t**2,
                "this is the variance of the noise alone": u**2,
                "s is missing: the observation says s times the factor": (
                    u**2 / (1 + u**2)
                ),
                "this is the share that is known; the posterior variance is "
                "what is left": 1 - v,
                "this is the standard deviation": v.sqrt(),
                "add variances, not standard deviations": u / (t + u),
                "this is the precision": 1 / v,
            },
        )
        right = -precision[:, 0, 1] / precision[:, 0, 0]
        equal(
            "blank 2, the weight of the observation",
            weight(s, sigma),
            right,
            {
                "this undoes the scale and forgets the prior": 1 / t,
                "divide by the precision of the posterior too": t / u**2,
                "one factor of s is too many: this is the share of variance": (
                    1 - v
                ),
                "one factor of s is missing": v / u**2,
                "this is the variance of the posterior": v,
            },
        )
        correlation = joint[:, 0, 1] / joint[:, 1, 1].sqrt()
        equal(
            "blank 3, the mean square of mu",
            square(s, sigma),
            correlation.square(),
            {
                "this is the variance of the posterior; together they are "
                "the variance of the prior, 1": v,
                "mu is not the factor itself: it varies less": torch.ones(n),
                "square the weight, times the variance s^2 + sigma^2 of the "
                "observation": right**2,
                "the observation varies with the noise too: its variance is "
                "s^2 + sigma^2": right**2 * t**2,
            },
        )
        information = (joint[:, 1, 1] / torch.linalg.det(joint)).log() / 2
        ratio = t**2 / u**2
        equal(
            "blank 4, the price of the factor",
            nats(s, sigma),
            information,
            {
                "the factor one half is missing": 2 * information,
                "the sign: a KL is never negative": -information,
                "these are bits: use the natural logarithm": information
                / math.log(2),
                "the 1 in the logarithm is missing": ratio.log() / 2,
                "s is missing: this is the price for s = 1": (
                    1 + 1 / u**2
                ).log()
                / 2,
                "variances belong into the ratio, not standard deviations": (
                    1 + t / u
                ).log()
                / 2,
                "the ratio is upside down": (1 + 1 / ratio).log() / 2,
                "take the mean of mu squared, not of 0, into the KL": (
                    v - 1 - v.log()
                )
                / 2,
            },
        )


def _loud(draws: Draws, kind: type, *sizes: object, **options: object) -> VAE:
    """A model whose codes say something, each dimension another amount."""
    model = draws.model(kind, *sizes, **options)
    with torch.no_grad():
        for name, weights in model.encoder.named_parameters():
            if name.endswith("weight"):
                weights *= 2
        # the log variance of one dimension is far from 0
        model.encoder[-1].bias[model.n_latent] = -14.0
    return model


@check()
def factors_in_use(
    draws: Draws, predicted_dimensions: Student, dimensions_in_use: Student
) -> str:
    """A prediction, and the number of dimensions above a price.

    Counted at several thresholds and held against torch.distributions; any
    prediction counts.
    """
    guess = function("predicted_dimensions", predicted_dimensions)()
    count = function("dimensions_in_use", dimensions_in_use)
    require(guess is not None, "no prediction yet: write down a number")
    guess = whole("the predicted number of dimensions", guess)
    sizes = {"likelihood": "gaussian", "sigma": 0.3, "shape": (5,)}
    for told in (0, 2):
        x = (1 + draws.normal(300, 5)) * torch.linspace(0.5, 1.5, 300)[:, None]
        y = 2 * draws.normal(300, told) if told else None
        options = {"conditions": (1,) * told} if told else {}
        kind = CVAE if told else VAE
        model = draws.model(kind, 4, (8,), **options, **sizes).eval()
        # with conditions, one dimension says nothing and costs exactly 0
        size = torch.tensor([1.0, 0.7 * (not told), 0.5, 2.0]).repeat(2)
        with torch.no_grad():
            for weights in model.encoder[-1].parameters():
                weights *= size.view(-1, *[1] * (weights.dim() - 1))
        kl, q = _prices(model, x, y)
        mean, logvar = q.mean, 2 * q.stddev.log()
        each = kl_divergence(q, Normal(torch.zeros_like(mean), 1.0))
        other = {
            "take the mean over the rows, not the largest": each.amax(0),
            "take the mean over the rows, not the median": (
                each.median(0).values
            ),
            "divide by the number of rows: a mean is wanted, not a sum": (
                each.sum(0)
            ),
            "a dimension that never moves may still cost: take the mean KL, "
            "not the variance of mu": mean.var(0),
            "take the KL of each row first, then the mean": _kl(
                mean.mean(0), logvar.mean(0)
            ),
            "the factor one half is missing in the KL": 2 * kl,
            "compare each dimension by itself, not their sum": (
                kl.sum().expand(4)
            ),
            "take all rows": each[:200].mean(0),
            "compare the price in nats with least as it is": kl / math.log(2),
            "take the mean over the rows as it is, unrounded": (
                kl.round(decimals=1)
            ),
        }
        if y is not None:
            text = "tell the encoder the conditions of each row"
            other[text], _ = _prices(model, x, 0 * y)
            text = "each row has conditions of its own"
            other[text], _ = _prices(model, x, y[:1].expand(y.shape))
        steps = _thresholds([kl, *other.values()])
        found = [
            whole("the number of dimensions", count(model, x, y, one))
            for one in steps
        ]
        right = _counts(kl, steps)
        if found == right:
            continue
        cause = [
            text for text, v in other.items() if _counts(v, steps) == found
        ]
        at = [a != b for a, b in zip(found, right)].index(True)
        if len(cause) > 1:  # which of them, the counts do not tell
            cause = []
        if len(set(found)) == 1:
            cause = ["it is the same number for every threshold"]
        elif found == [4 - n for n in right]:
            cause = ["count the dimensions above the threshold, not below"]
        elif at == 0 and found[1:] == right[1:]:
            cause = ["a price of exactly 0 is not above 0: strictly above"]
        require(
            False,
            f"the number of dimensions above {steps[at]:.4g} nats: found "
            f"{found[at]}, expected {right[at]}"
            + (f". Likely: {cause[0]}" if cause else ""),
        )
    return (
        f"you predicted {guess}. The prices of the four factors are 1.25, "
        "0.66, 0.18 and 0.05 nats, so three cost more than a tenth of a nat"
    )


def _kl(mu: Tensor, logvar: Tensor) -> Tensor:
    return 0.5 * (mu.square() + logvar.exp() - 1 - logvar)


def _counts(kl: Tensor, steps: list[float]) -> list[int]:
    return [int((kl > one).sum()) for one in steps]


@torch.no_grad()
def _prices(model: VAE, x: Tensor, y: Tensor | None) -> tuple[Tensor, Normal]:
    """The mean KL of each dimension, and q(z|x)."""
    mu, logvar = (p.double() for p in model.encode(x, y))
    q = Normal(mu, (logvar / 2).exp())
    return kl_divergence(q, Normal(0.0, 1.0)).mean(0), q


def _thresholds(tables: list[Tensor]) -> list[float]:
    """On both sides of each price in some tables; the first is the right."""
    near = torch.stack(tables) * torch.tensor([0.998, 1.002]).view(2, 1, 1)
    # none so near to a price that an error of rounding decides
    return sorted(
        step
        for step in {0.0, *near.flatten().tolist()}
        if step == 0 or float((tables[0] - step).abs().min()) > 1e-3 * step
    )


REQUESTS = {
    "A": (7, 1.0, NAN),
    "B": (8, NAN, 0.5),
    "C": (NAN, -1.0, 1.0),
    "D": (6, 1.0, NAN),
}


def _request(
    draws: Draws, n: int, width: int, open_to: tuple[int, ...]
) -> tuple[Tensor, Tensor, Tensor]:
    """Rows (n, C), a wish (C,) and its tolerances (C,).

    Many rows are off by exactly the tolerance, and all numbers have a short
    binary fraction: a difference has no error. Others are off by a bit more.
    """
    wish = draws.whole(-8, 9, width) / 4
    wish[draws.whole(0, width)] = 0.0
    within = draws.whole(1, 9, width) / 8
    if width > 1:
        within[draws.whole(1, width)] = 0.0
    beyond = within + 2.0 ** -draws.whole(1, 15, n, width)
    part = torch.tensor([0.0, 0.25, 0.75, 1.0])
    size = within * part[draws.whole(0, 4, n, width)]
    far = draws.uniform(n, width) < 0.5 / width
    side = 2.0 * draws.whole(0, 2, n, width) - 1
    rows = wish + side * torch.where(far, beyond, size)
    rows = torch.where(draws.uniform(n, width) < 0.3 / width, -rows, rows)
    for column in open_to:
        wish[column] = NAN
        rows[:, column] = draws.whole(-8, 9, n) / 4
    rows[draws.uniform(n, width) < 0.2 / width] = NAN
    return rows, wish, within


def _support() -> dict[str, int]:
    """Training digits that meet each request."""
    digits = builtin()
    ink = digits.images / 255
    rows = torch.stack(
        [
            digits.labels.double(),
            slant(ink) / 10,
            25 * ink.double().mean((1, 2)) - 4,
        ],
        1,
    ).numpy()
    found = {}
    for name, wish in REQUESTS.items():
        near = np.isclose(rows, wish, rtol=0, atol=[1e-6, 0.5, 0.5])
        found[name] = int((near | np.isnan(wish)).all(1).sum())
    return found


@check()
def requests_met(
    draws: Draws, meets: Student, hardly_in_the_data: Student
) -> str:
    """Which rows meet a request, and which request has few examples.

    Held against NumPy's isclose, one row at a time; the examples are counted
    among the built-in digits.
    """
    judge = function("meets", meets)
    few = function("hardly_in_the_data", hardly_in_the_data)
    for n, width, open_to in (
        (200, 3, ()),
        (200, 3, (1,)),
        (90, 2, (0,)),
        (120, 4, (0, 2)),
        (300, 5, (2,)),
        (60, 1, ()),
        (1, 3, (0,)),
        (9, 3, (0, 1, 2)),
    ):
        rows, wish, within = _request(draws, n, width, open_to)
        off = rows - wish
        near = off.abs() <= within
        free = wish.isnan()
        right = [
            all(
                math.isnan(w) or bool(np.isclose(v, w, rtol=0, atol=d + 1e-7))
                for v, w, d in zip(row, wish.tolist(), within.tolist())
            )
            for row in rows.tolist()
        ]
        met = torch.tensor(right)
        zero = (rows - wish.nan_to_num(0.0)).abs() <= within
        first = free | (rows == wish) | (torch.arange(width) > 0)
        mistakes = {
            "a withheld condition asks for nothing: any value meets it. A "
            "comparison with NaN is always False": near.all(1),
            "NaN is not 0: a withheld condition asks for nothing": zero.all(1),
            "an unknown value, NaN, does not meet what is asked for": (
                (~(off.abs() > within)).all(1)
            ),
            "an unknown value, NaN, is not 0": (
                ((rows.nan_to_num(0.0) - wish).abs() <= within) | free
            ).all(1),
            "an unknown value does no harm where it is not asked for": (
                met & ~rows.isnan().any(1)
            ),
            "a wish of 0 asks for 0; only NaN asks for nothing": (
                near | free | (wish == 0)
            ).all(1),
            "a wish that asks for nothing is met by every row": (
                met & ~free.all()
            ),
            "each condition must be met, not any": (near | free).any(1),
            "each condition that is given must be met, not any": (
                near & ~free
            ).any(1),
            "a difference may be negative: take its size": (
                (off <= within) | free
            ).all(1),
            "a difference may have either sign: take its size": (
                (-off <= within) | free
            ).all(1),
            "a difference equal to the tolerance is allowed: a class has the "
            "tolerance 0": ((off.abs() < within) | free).all(1),
            "a difference equal to the tolerance is allowed": (
                (off.abs() < within) | (off == 0) | free
            ).all(1),
            "the tolerance is not used": ((off == 0) | free).all(1),
            "the tolerance of the first condition counts too": (
                (near | free) & first
            ).all(1),
            "each condition has its own tolerance": (
                (off.abs() <= within.max()) | free
            ).all(1),
            "one answer for each row is wanted, not their share": (
                met.double().mean()
            ),
            "one answer for each row is wanted, not for each entry": (
                near | free
            ),
            "all rows are met, whatever the request": torch.ones(n),
        }
        equal(
            "the rows that meet the request",
            judge(rows, wish, within),
            met.double(),
            {
                text: torch.as_tensor(v).double()
                for text, v in mistakes.items()
            },
        )
    counts = _support()
    rare = min(counts, key=counts.get)
    choice(
        "the request that hardly occurs in the data",
        few(),
        rare,
        {
            name: f"{n} training digits meet it. Count those that meet all "
            "conditions of a request together"
            for name, n in counts.items()
            if name != rare
        },
    )
    return f"right: {counts[rare]} of 1,438 training digits meet {rare}"


@check()
def false_condition(
    draws: Draws, bound_told: Student, still_a_bound: Student
) -> None:
    """The ELBO with one condition for the encoder, another for the decoder.

    Held against the distributions of torch, with the same noise, and so are
    the gradients by all weights.
    """
    bound = function("bound_told", bound_told)
    still = function("still_a_bound", still_a_bound)
    for n, n_latent, several in ((6, 3, False), (5, 2, True), (1, 1, False)):
        options = {"conditions": (4, 1)} if several else {"n_classes": 4}
        shape = (1, 2, 4)
        # the beta of a training has no place in a bound
        options |= {"shape": shape, "beta": float(draws.whole(2, 5))}
        model = _loud(draws, CVAE, n_latent, (9,), **options).eval()
        x = draws.whole(0, 2, n, 8).float()
        noise = 2 * draws.normal(n, n_latent)
        true = draws.whole(0, 4, n)
        false = (true + 1 + draws.whole(0, 3, n)) % 4
        if several:
            rest = draws.normal(n, 1)
            true, false = (
                torch.cat([y[:, None].float(), rest], 1) for y in (true, false)
            )
            true[0, 1] = false[-1, 1] = NAN

        def parts(
            to_encoder: Tensor,
            to_decoder: Tensor,
            wide: float = 1.0,
            cut: bool = False,
            model: VAE = model,
            x: Tensor = x,
            noise: Tensor = noise,
        ) -> tuple[Tensor, Tensor]:
            mu, logvar = model.encode(x, to_encoder)
            z = mu + wide * (logvar / 2).exp() * noise
            z = z.detach() if cut else z
            logits = model.decode(z, to_decoder).flatten(1)
            pixels = Independent(Bernoulli(logits=logits), 1)
            standard = Normal(torch.zeros_like(mu), 1.0)
            q = Normal(mu, (logvar / 2).exp())
            return pixels.log_prob(x), kl_divergence(q, standard).sum(1)

        log_p, kl = parts(false, true)
        central, _ = parts(false, true, 0.0)
        seen, cost = parts(true, true)
        both, price = parts(false, false)
        swapped, other = parts(true, false)
        mistakes = {
            "the encoder is told the decoder's condition: its own argument "
            "is not used": seen - cost,
            "the decoder is told the encoder's condition: its own argument "
            "is not used": both - price,
            "the two conditions have changed places": swapped - other,
            "the KL is missing": log_p,
            "the KL is subtracted, not added": log_p + kl,
            "the sign: a bound on log p(x|y), not a loss": kl - log_p,
            "the noise is not used: decode mu + sigma noise": central - kl,
            "average over the batch later: one value for each digit": (
                (log_p - kl).mean()
            ),
            "the KL is that of the other condition": log_p - cost,
            "mean over the pixels: sum them": log_p / 8 - kl,
            "the KL of a bound has no weight: leave out the beta of the "
            "training": log_p - model.beta * kl,
        }
        told = (model, x, false, true, noise)
        equal("the bound", bound(*told), log_p - kl, mistakes)
        weights = draws.uniform(n, low=0.5, high=1.5)
        _, found = bound.gradients(*told, weights=weights)
        still_log_p, _ = parts(false, true, cut=True)
        gradients_equal(
            model,
            found,
            (weights * (log_p - kl)).sum(),
            {
                "a detach() cuts the path from the pixels to the encoder": (
                    weights * (still_log_p - kl)
                ).sum(),
                "the KL has no gradient": (weights * log_p).sum(),
                "the first term has no gradient": -(weights * kl).sum(),
            },
        )
        # pixels that the decoder is sure of, some of them wrongly
        with torch.no_grad():
            model.decoder[-1].bias.copy_(60 * draws.normal(8))
        log_p, kl = parts(false, true)
        equal(
            "the bound, with logits of up to a hundred,",
            bound(*told),
            log_p - kl,
        )
    choice(
        "is it still a bound on log p(x|y)",
        still(),
        "yes",
        {
            "no": "Which q(z) may stand in the ELBO? Does the proof of "
            "chapter 4 ask how q was found?"
        },
    )


@check()
def two_rings(
    draws: Draws, as_condition: Student, dimensions_left: Student
) -> None:
    """An angle as two numbers, and the dimensions read from the figure.

    Held against torch.polar; the counts are those of four factors of the
    rings, measured in several runs.
    """
    tell = function("as_condition", as_condition)
    left = function("dimensions_left", dimensions_left)()
    for n, most in ((50, 180), (1, 180), (20, 900)):
        angle = draws.uniform(n, low=-most, high=most)
        point = torch.polar(torch.ones(n), torch.deg2rad(angle))
        right = torch.view_as_real(point)
        mistakes = {
            "the angle is in degrees: use torch.deg2rad": torch.stack(
                [angle.cos(), angle.sin()], 1
            ),
            "the cosine comes first": right.flip(1),
            "one number is not enough: -179 and 179 degrees are neighbours, "
            "and as numbers they are far apart": angle,
            "one number is not enough: -179 and 179 degrees are neighbours. "
            "Use cosine and sine": angle[:, None],
            "the angle in radians jumps at 180 degrees": torch.deg2rad(angle),
            "the angle in radians jumps at 180 degrees. Use cosine and sine": (
                torch.deg2rad(angle)[:, None]
            ),
            "a cosine alone does not tell up from down: add the sine": (
                right[:, :1]
            ),
            "a cosine alone does not tell up from down. Add the sine": (
                right[:, 0]
            ),
        }
        equal("the condition", tell(angle), right, mistakes)
    require(left is not None, "dimensions_left: not answered yet")
    require(
        getattr(left, "shape", None) == (4,)
        or (isinstance(left, list | tuple) and len(left) == 4),
        "dimensions_left: return four numbers, one for each panel",
    )
    told = ("nothing told", "ring told", "place told", "both told")
    counts = {
        f"dimensions_left, {one}": str(whole(f"dimensions_left, {one}", n))
        for one, n in zip(told, left)
    }
    choices(
        "dimensions_left",
        counts,
        dict(zip(counts, ("2", "2", "1", "0"))),
        ("0", "1", "2", "3"),
        "Count the bars above the line in each panel, and mind that a place "
        "runs in a circle, while codes lie on a line",
    )
