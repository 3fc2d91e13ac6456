"""Answers to the exercises of chapter 11."""

import math

import numpy as np
import torch
from torch.distributions import Normal, kl_divergence
from torch.nn.functional import binary_cross_entropy_with_logits

from answers import right, wrong

NAN = math.nan

# --- withhold ----------------------------------------------------------------


@right("withhold_conditions", "masked_fill")
def _(y, share):
    return y.masked_fill(torch.rand(y.shape) < share, NAN)


@right("withhold_conditions", "where, with Bernoulli draws")
def _(y, share):
    hide = torch.bernoulli(torch.full(y.shape, share)).bool()
    return torch.where(hide, torch.tensor(NAN), y)


@right("withhold_conditions", "a copy in NumPy")
def _(y, share):
    y = y.numpy().astype(np.float64)
    y[np.random.random(y.shape) < share] = NAN
    return y


@wrong("withhold_conditions", "puts a zero", says="0 is a value")
def _(y, share):
    return y.masked_fill(torch.rand(y.shape) < share, 0.0)


@wrong("withhold_conditions", "multiplies by a mask", says="0 is a value")
def _(y, share):
    return y * (torch.rand(y.shape) >= share)


@wrong(
    "withhold_conditions",
    "all conditions of a digit at once",
    says="of a digit are not withheld independently",
)
def _(y, share):
    return y.masked_fill(torch.rand(len(y), 1) < share, NAN)


@wrong(
    "withhold_conditions",
    "one draw for all digits",
    says="not one for all digits",
)
def _(y, share):
    return y.masked_fill(torch.rand(y.shape[1]) < share, NAN)


@wrong("withhold_conditions", "keeps with the probability", says="not to keep")
def _(y, share):
    return y.masked_fill(torch.rand(y.shape) > share, NAN)


@wrong("withhold_conditions", "ignores the probability", says="of 0 nothing")
def _(y, share):
    return y.masked_fill(torch.rand(y.shape) < 0.25, NAN)


@wrong("withhold_conditions", "writes into its input", says="in place")
def _(y, share):
    y[torch.rand(y.shape) < share] = NAN
    return y


@wrong("withhold_conditions", "revives what is unknown", says="must stay NaN")
def _(y, share):
    return y.nan_to_num(0.0).masked_fill(torch.rand(y.shape) < share, NAN)


@wrong("withhold_conditions", "returns the mask", says="with a probability")
def _(y, share):
    return (torch.rand(y.shape) >= share).float()


@right("withhold_conditions", "numbers one by one, as nested tuples")
def _(y, share):
    return tuple(
        tuple(NAN if np.random.random() < share else v for v in row)
        for row in y.tolist()
    )


@wrong("withhold_conditions", "the same mask each time", says="each call")
def _(y, share):
    draws = torch.Generator().manual_seed(0)
    return y.masked_fill(torch.rand(y.shape, generator=draws) < share, NAN)


@wrong("withhold_conditions", "sets the global seed", says="each call")
def _(y, share):
    torch.manual_seed(3)
    return y.masked_fill(torch.rand(y.shape) < share, NAN)


@wrong("withhold_conditions", "a seed from the shape", says="each call")
def _(y, share):
    draws = np.random.default_rng(y.numel())
    hide = torch.from_numpy(draws.random(tuple(y.shape))) < share
    return y.masked_fill(hide, NAN)


@wrong("withhold_conditions", "a seed from the values", says="each call")
def _(y, share):
    seed = int(y.nan_to_num(0.0).abs().sum() * 100)
    draws = torch.Generator().manual_seed(seed)
    return y.masked_fill(torch.rand(y.shape, generator=draws) < share, NAN)


@wrong("withhold_conditions", "three draws, used again", says="independent")
def _(y, share):
    hide = torch.rand(len(y), 3) < share
    return y.masked_fill(hide[:, torch.arange(y.shape[1]) % 3], NAN)


@wrong("withhold_conditions", "exactly the share", says="withh")
def _(y, share):
    hide = torch.randperm(y.numel()) < round(share * y.numel())
    return y.masked_fill(hide.view(y.shape), NAN)


@wrong("withhold_conditions", "the share of each column", says="withh")
def _(y, share):
    hide = torch.rand(y.shape).argsort(0) < round(share * len(y))
    return y.masked_fill(hide, NAN)


@wrong("withhold_conditions", "a few in each row", says="expected")
def _(y, share):
    hide = torch.rand(y.shape).argsort(1) < share * y.shape[1]
    return y.masked_fill(hide, NAN)


@wrong("withhold_conditions", "a single row is kept", says="each call")
def _(y, share):
    if len(y) == 1 and share < 1:
        return y.clone()
    return y.masked_fill(torch.rand(y.shape) < share, NAN)


@wrong("withhold_conditions", "never hides all of a digit", says="is withheld")
def _(y, share):
    hide = torch.rand(y.shape) < share
    if share < 1:
        hide = hide & ~hide.all(1, keepdim=True)
    return y.masked_fill(hide, NAN)


@wrong("withhold_conditions", "a normal draw", says="is withheld for")
def _(y, share):
    if share in (0, 1):
        return y.masked_fill(torch.rand(y.shape) < share, NAN)
    return y.masked_fill(torch.randn(y.shape).abs() < share, NAN)


@wrong("withhold_conditions", "0.9 times the share", says="is withheld for")
def _(y, share):
    hide = torch.rand(y.shape) < (share if share in (0, 1) else 0.9 * share)
    return y.masked_fill(hide, NAN)


@wrong("withhold_conditions", "a share of its own", says="is withheld for")
def _(y, share):
    hide = torch.rand(y.shape) < (share if share in (0, 1) else 0.3)
    return y.masked_fill(hide, NAN)


@wrong("withhold_conditions", "in whole per cent", says="expected 0.25%")
def _(y, share):
    return y.masked_fill(torch.randint(0, 100, y.shape) < 100 * share, NAN)


@wrong("withhold_conditions", "NaN times the mask", says="NaN times 0 is NaN")
def _(y, share):
    hide = (torch.rand(y.shape) < share).float()
    return y * (1 - hide) + NAN * hide


@wrong("withhold_conditions", "half of it mirrored", says="two halves")
def _(y, share):
    half = torch.rand(len(y) - len(y) // 2, y.shape[1])
    both = torch.cat([half, 1 - half])[: len(y)]
    return y.masked_fill(both < share, NAN)


@wrong("withhold_conditions", "every third entry", says="independently")
def _(y, share):
    if share in (0, 1):
        return y.masked_fill(torch.rand(y.shape) < share, NAN)
    place = torch.arange(y.numel()).view(y.shape)
    return y.masked_fill(place * share % 1 < share, NAN)


@wrong("withhold_conditions", "takes a true zero for hidden", says="that is 0")
def _(y, share):
    y = y * (torch.rand(y.shape) >= share)
    return y.masked_fill(y == 0, NAN)


@wrong(
    "withhold_conditions",
    "rounds to whole numbers",
    says="with a probability of 0",
)
def _(y, share):
    return y.round().masked_fill(torch.rand(y.shape) < share, NAN)


@wrong("withhold_conditions", "damages its input at the end", says="in place")
def _(y, share):
    found = y.masked_fill(torch.rand(y.shape) < share, NAN)
    y[-1] = 0.0
    return found


@wrong("withhold_conditions", "infinity", says="infinite")
def _(y, share):
    return y.masked_fill(torch.rand(y.shape) < share, math.inf)


@wrong("withhold_conditions", "minus one", says="NaN")
def _(y, share):
    return y.masked_fill(torch.rand(y.shape) < share, -1.0)


# --- the price of a factor ---------------------------------------------------


def proof(**other):
    blanks = {
        "posterior_variance": lambda s, sigma: sigma**2 / (s**2 + sigma**2),
        "posterior_weight": lambda s, sigma: s / (s**2 + sigma**2),
        "mean_square": lambda s, sigma: s**2 / (s**2 + sigma**2),
        "price": lambda s, sigma: 0.5 * torch.log(1 + s**2 / sigma**2),
    }
    return blanks | other


@right("price_of_a_factor", "the closed forms")
def several():
    return proof()


@right("price_of_a_factor", "from the precision")
def several():
    def variance(s, sigma):
        return 1 / (1 + (s / sigma).square())

    return {
        "posterior_variance": variance,
        "posterior_weight": lambda s, sigma: (
            variance(s, sigma) * s / sigma.square()
        ),
        "mean_square": lambda s, sigma: 1 - variance(s, sigma),
        "price": lambda s, sigma: (-variance(s, sigma).log() / 2).numpy(),
    }


@wrong("price_of_a_factor", "forgets the prior", says="the prior is missing")
def several():
    return proof(posterior_variance=lambda s, sigma: sigma**2 / s**2)


@wrong("price_of_a_factor", "takes s for 1", says="s is missing")
def several():
    return proof(posterior_variance=lambda s, sigma: sigma**2 / (1 + sigma**2))


@wrong(
    "price_of_a_factor",
    "adds standard deviations",
    says="add variances",
)
def several():
    return proof(posterior_variance=lambda s, sigma: sigma / (s + sigma))


@wrong("price_of_a_factor", "undoes the scale", says="forgets the prior")
def several():
    return proof(posterior_weight=lambda s, sigma: 1 / s + 0 * sigma)


@wrong("price_of_a_factor", "mu is the factor", says="it varies less")
def several():
    return proof(mean_square=lambda s, sigma: torch.ones_like(s))


@wrong("price_of_a_factor", "no noise in the observation", says="noise too")
def several():
    return proof(mean_square=lambda s, sigma: (s**2 / (s**2 + sigma**2)) ** 2)


@wrong("price_of_a_factor", "no half", says="one half is missing")
def several():
    return proof(price=lambda s, sigma: torch.log(1 + s**2 / sigma**2))


@wrong("price_of_a_factor", "no 1", says="the 1 in the logarithm")
def several():
    return proof(price=lambda s, sigma: torch.log(s / sigma))


@wrong("price_of_a_factor", "the sign", says="never negative")
def several():
    return proof(price=lambda s, sigma: -torch.log(1 + s**2 / sigma**2) / 2)


@wrong("price_of_a_factor", "standard deviations", says="variances belong")
def several():
    return proof(price=lambda s, sigma: torch.log(1 + s / sigma) / 2)


@wrong("price_of_a_factor", "bits", says="bits")
def several():
    return proof(price=lambda s, sigma: torch.log2(1 + s**2 / sigma**2) / 2)


@right("price_of_a_factor", "from determinants, in NumPy and lists")
def several():
    def joint(s, sigma):
        return [
            np.array([[1, a], [a, a * a + b * b]])
            for a, b in zip(s.double().tolist(), sigma.double().tolist())
        ]

    return proof(
        posterior_variance=lambda s, sigma: [
            1 / np.linalg.inv(c)[0, 0] for c in joint(s, sigma)
        ],
        posterior_weight=lambda s, sigma: np.array(
            [c[0, 1] / c[1, 1] for c in joint(s, sigma)]
        ),
        price=lambda s, sigma: tuple(
            0.5 * math.log(c[1, 1] / np.linalg.det(c)) for c in joint(s, sigma)
        ),
    )


def one_blank(text, says, **blank):
    @wrong("price_of_a_factor", text, says=says)
    def several():
        return proof(**blank)


one_blank(
    "a variance of at least 0.05",
    "blank 1",
    posterior_variance=lambda s, g: (g**2 / (s**2 + g**2)).clamp(0.05),
)
one_blank(
    "the precision",
    "this is the precision",
    posterior_variance=lambda s, g: 1 + s**2 / g**2,
)
one_blank(
    "the standard deviation",
    "the standard deviation",
    posterior_variance=lambda s, g: g / (s**2 + g**2).sqrt(),
)
one_blank(
    "s once instead of squared",
    "blank 1",
    posterior_variance=lambda s, g: g**2 / (s + g**2),
)
one_blank(
    "the variance of a mean of all",
    "blank 1",
    posterior_variance=lambda s, g: 1 / (1 + (s / g).square().sum()) + 0 * s,
)
one_blank(
    "the share for the weight",
    "one factor of s is too many",
    posterior_weight=lambda s, g: s**2 / (s**2 + g**2),
)
one_blank(
    "a weight below one",
    "blank 2",
    posterior_weight=lambda s, g: (s / (s**2 + g**2)).clamp(max=1.0),
)
one_blank(
    "standard deviations in the weight",
    "blank 2",
    posterior_weight=lambda s, g: 1 / (s + g),
)
one_blank(
    "the precision as a weight",
    "divide by the precision",
    posterior_weight=lambda s, g: s / g**2,
)
one_blank(
    "the posterior variance for the mean square",
    "variance of the posterior",
    mean_square=lambda s, g: g**2 / (s**2 + g**2),
)
one_blank(
    "the root of the mean square",
    "blank 3",
    mean_square=lambda s, g: s / (s**2 + g**2).sqrt(),
)
one_blank(
    "the mean square without noise, and a prior of s",
    "blank 3",
    mean_square=lambda s, g: s**4 / (s**2 + g**2),
)
one_blank(
    "nothing below sigma = s",
    "blank 4",
    price=lambda s, g: (s / g).log().clamp(0),
)
one_blank(
    "a price of at least a hundredth",
    "blank 4",
    price=lambda s, g: (0.5 * (1 + s**2 / g**2).log()).clamp(0.01),
)
one_blank(
    "the price without the logarithm",
    "blank 4",
    price=lambda s, g: 0.5 * s**2 / g**2,
)
one_blank(
    "the price at mu = 0",
    "the mean of mu squared",
    price=lambda s, g: (
        0.5 * (g**2 / (s**2 + g**2) - 1 - (g**2 / (s**2 + g**2)).log())
    ),
)
one_blank(
    "the ratio upside down",
    "upside down",
    price=lambda s, g: 0.5 * (1 + g**2 / s**2).log(),
)
one_blank(
    "s for 1 in the price",
    "price for s = 1",
    price=lambda s, g: 0.5 * (1 + 1 / g**2).log() + 0 * s,
)
one_blank(
    "the total of all",
    "blank 4",
    price=lambda s, g: 0.5 * (1 + s**2 / g**2).log().sum(),
)
one_blank(
    "a series instead of the logarithm",
    "blank 4",
    price=lambda s, g: (
        0.5 * sum((s**2 / (s**2 + g**2)) ** k / k for k in range(1, 20))
    ),
)


# --- factors in use ----------------------------------------------------------


def table(model, x, y):
    """The KL of each row and dimension."""
    mu, logvar = model.encode(x, y)
    return 0.5 * (mu.square() + logvar.exp() - 1 - logvar)


def in_use(count, guess=3):
    return {
        "predicted_dimensions": lambda: guess,
        "dimensions_in_use": count,
    }


@right("factors_in_use", "the formula")
def several():
    return in_use(
        lambda m, x, y, least: (table(m, x, y).mean(0) > least).sum()
    )


@right("factors_in_use", "torch.distributions, and a wrong prediction")
def several():
    @torch.no_grad()
    def count(model, x, y, least):
        mu, logvar = model.encode(x, y)
        q = Normal(mu, torch.exp(logvar / 2))
        kl = kl_divergence(q, Normal(0.0, 1.0)).mean(0)
        return sum(1 for one in kl.tolist() if one > least)

    return in_use(count, 4.0)


@wrong("factors_in_use", "no prediction", says="no prediction yet")
def several():
    return in_use(lambda m, x, y, least: 3, None)


@wrong("factors_in_use", "the variance of mu", says="not the variance of mu")
def several():
    return in_use(
        lambda m, x, y, least: (m.encode(x, y)[0].var(0) > least).sum()
    )


@wrong("factors_in_use", "the largest KL", says="not the largest")
def several():
    return in_use(lambda m, x, y, least: (table(m, x, y) > least).any(0).sum())


@wrong("factors_in_use", "the sum over the rows", says="dimensions above")
def several():
    return in_use(lambda m, x, y, least: (table(m, x, y).sum(0) > least).sum())


for _n in (64, 100, 128, 256):

    @wrong("factors_in_use", f"the first {_n} rows", says="dimensions above")
    def several(n=_n):
        return in_use(
            lambda m, x, y, least: (table(m, x, y)[:n].mean(0) > least).sum()
        )


@wrong("factors_in_use", "all rows but the last", says="dimensions above")
def several():
    return in_use(
        lambda m, x, y, least: (table(m, x, y)[:-1].mean(0) > least).sum()
    )


@wrong("factors_in_use", "above by a thousandth", says="dimensions above")
def several():
    return in_use(
        lambda m, x, y, least: (table(m, x, y).mean(0) > least + 1e-3).sum()
    )


@wrong("factors_in_use", "no half", says="one half is missing")
def several():
    return in_use(
        lambda m, x, y, least: (2 * table(m, x, y).mean(0) > least).sum()
    )


@wrong("factors_in_use", "counts what is not used", says="not below")
def several():
    return in_use(
        lambda m, x, y, least: (table(m, x, y).mean(0) <= least).sum()
    )


@wrong("factors_in_use", "the KL of the mean code", says="then the mean")
def several():
    def count(model, x, y, least):
        mu, logvar = (p.mean(0) for p in model.encode(x, y))
        kl = 0.5 * (mu.square() + logvar.exp() - 1 - logvar)
        return (kl > least).sum()

    return in_use(count)


@wrong("factors_in_use", "a constant", says="the same number for every")
def several():
    return in_use(lambda m, x, y, least: 3)


@wrong("factors_in_use", "ignores the conditions", says="raises")
def several():
    return in_use(
        lambda m, x, y, least: (table(m, x, None).mean(0) > least).sum()
    )


@right("factors_in_use", "NumPy row by row, and a prediction out of range")
def several():
    def count(model, x, y, least):
        model.eval()
        prices = np.zeros(model.n_latent)
        for i in range(len(x)):
            told = None if y is None else y[i : i + 1]
            mu, logvar = (
                p.detach().double().numpy()[0]
                for p in model.encode(x[i : i + 1], told)
            )
            prices += (mu**2 + np.exp(logvar) - 1 - logvar) / 2 / len(x)
        return np.count_nonzero(prices > least)

    return in_use(count, 9)


def counted(text, says, count):
    @wrong("factors_in_use", text, says=says)
    def several():
        return in_use(lambda m, x, y, least: count(table(m, x, y), least))


counted(
    "the median over the rows",
    "not the median",
    lambda kl, least: (kl.median(0).values > least).sum(),
)
counted(
    "at least as dear",
    "strictly above",
    lambda kl, least: (kl.mean(0) >= least).sum(),
)
counted(
    "a rounded price",
    "dimensions above",
    lambda kl, least: (kl.mean(0).round(decimals=1) > least).sum(),
)
counted(
    "rows above, by majority",
    "dimensions above",
    lambda kl, least: ((kl > least).double().mean(0) > 0.5).sum(),
)
counted(
    "the cheapest row",
    "dimensions above",
    lambda kl, least: (kl > least).all(0).sum(),
)
counted(
    "the sum over the dimensions",
    "each dimension by itself",
    lambda kl, least: 4 * int(kl.sum(1).mean() > least),
)
counted(
    "a share of the sum",
    "dimensions above",
    lambda kl, least: (kl.mean(0) / kl.mean(0).sum() > least).sum(),
)
counted(
    "pairs of row and dimension",
    "dimensions above",
    lambda kl, least: (kl > least).sum(),
)
counted(
    "the first ten rows",
    "dimensions above",
    lambda kl, least: (kl[:10].mean(0) > least).sum(),
)
counted(
    "bits",
    "dimensions above",
    lambda kl, least: (kl.mean(0) / math.log(2) > least).sum(),
)
counted(
    "at most three",
    "expected 4",
    lambda kl, least: (kl.mean(0) > least).sum().clamp_max(3),
)
counted(
    "always a tenth of a nat",
    "the same number for every threshold",
    lambda kl, least: (kl.mean(0) > 0.1).sum(),
)
counted(
    "divides by the number of dimensions",
    "dimensions above",
    lambda kl, least: (kl.mean(0) / kl.shape[1] > least).sum(),
)
counted(
    "half of it again",
    "dimensions above",
    lambda kl, least: (kl.mean(0) / 2 > least).sum(),
)
counted(
    "the sign",
    "the same number for every threshold",
    lambda kl, least: (-kl.mean(0) > least).sum(),
)
counted(
    "a share instead of a number",
    "whole number",
    lambda kl, least: (kl.mean(0) > least).double().mean(),
)


@wrong("factors_in_use", "mu alone", says="dimensions above")
def several():
    return in_use(
        lambda m, x, y, least: (
            m.encode(x, y)[0].square().mean(0) / 2 > least
        ).sum()
    )


@wrong("factors_in_use", "the variances alone", says="dimensions above")
def several():
    return in_use(
        lambda m, x, y, least: (m.encode(x, y)[1] < -least).any(0).sum()
    )


@wrong("factors_in_use", "tells every row a zero", says="conditions")
def several():
    def count(model, x, y, least):
        y = None if y is None else torch.zeros_like(y)
        return (table(model, x, y).mean(0) > least).sum()

    return in_use(count)


@wrong("factors_in_use", "tells all rows the same", says="conditions")
def several():
    def count(model, x, y, least):
        y = None if y is None else y[:1].expand(y.shape)
        return (table(model, x, y).mean(0) > least).sum()

    return in_use(count)


# --- requests ----------------------------------------------------------------


def near(rows, wish, tolerance):
    return (rows - wish).abs() <= tolerance


def true_meets(rows, wish, tolerance):
    return (near(rows, wish, tolerance) | wish.isnan()).all(1)


def requests(meets=true_meets, answer="D"):
    return {"meets": meets, "hardly_in_the_data": lambda: answer}


@right("requests_met", "free or near")
def several():
    return requests()


@right("requests_met", "only the given columns, in NumPy")
def several():
    def meets(rows, wish, tolerance):
        given = ~np.isnan(wish.numpy())
        off = np.abs(rows.numpy()[:, given] - wish.numpy()[given])
        return (off <= tolerance.numpy()[given]).all(1)

    return requests(meets, "d")


@right("requests_met", "by loops, as numbers")
def several():
    def meets(rows, wish, tolerance):
        found = []
        for row in rows:
            bad = 0
            for v, w, d in zip(row, wish, tolerance):
                asked = not bool(w.isnan())
                bad += asked and not bool((v - w).abs() <= d)
            found.append(float(bad == 0))
        return torch.tensor(found)

    return requests(meets)


@wrong("requests_met", "compares with NaN", says="NaN is always False")
def several():
    return requests(lambda *a: near(*a).all(1))


for _more in (1e-3, 1e-2):

    @wrong("requests_met", f"{_more} beyond the tolerance", says="rows that")
    def several(more=_more):
        return requests(lambda r, w, t: true_meets(r, w, t + more))


@wrong("requests_met", "takes NaN for 0", says="NaN is not 0")
def several():
    return requests(lambda r, w, t: near(r, w.nan_to_num(0.0), t).all(1))


@wrong("requests_met", "any instead of all", says="rows that meet")
def several():
    return requests(lambda r, w, t: near(r, w, t).any(1))


@wrong("requests_met", "signed differences", says="rows that meet")
def several():
    return requests(lambda r, w, t: (~(r - w > t)).all(1))


@wrong("requests_met", "strictly less", says="is allowed")
def several():
    return requests(lambda r, w, t: (((r - w).abs() < t) | w.isnan()).all(1))


@wrong("requests_met", "ignores the tolerance", says="tolerance is not used")
def several():
    return requests(lambda r, w, t: ((r == w) | w.isnan()).all(1))


@wrong("requests_met", "returns the share", says="not their share")
def several():
    return requests(lambda *a: true_meets(*a).float().mean())


@wrong("requests_met", "one answer for each entry", says="not for each entry")
def several():
    return requests(lambda r, w, t: near(r, w, t) | w.isnan())


@wrong("requests_met", "a constant", says="rows that meet")
def several():
    return requests(lambda r, w, t: torch.ones(len(r)))


@wrong("requests_met", "looks at single conditions", says="together")
def several():
    return requests(answer="C")


@wrong("requests_met", "does not answer", says="not answered yet")
def several():
    return requests(answer=None)


@right("requests_met", "np.isclose, with all that it takes for close")
def several():
    def meets(rows, wish, tolerance):
        off = np.abs(rows.numpy() - wish.numpy())
        fine = np.where(np.isnan(wish.numpy()), True, off <= tolerance.numpy())
        return tuple(fine.all(axis=1).tolist())

    return requests(meets)


@right("requests_met", "columns one after the other, a list of 0 and 1")
def several():
    def meets(rows, wish, tolerance):
        found = torch.ones(len(rows), dtype=torch.bool)
        for c in range(len(wish)):
            if wish[c] == wish[c]:
                low, high = wish[c] - tolerance[c], wish[c] + tolerance[c]
                found &= (rows[:, c] >= low) & (rows[:, c] <= high)
        return [int(one) for one in found]

    return requests(meets)


def met(text, says, rule):
    @wrong("requests_met", text, says=says)
    def several():
        return requests(rule)


met(
    "an unknown value counts as met",
    "unknown",
    lambda r, w, t: (~((r - w).abs() > t)).all(1),
)
met(
    "an unknown value counts as zero",
    "unknown",
    lambda r, w, t: (near(r.nan_to_num(0.0), w, t) | w.isnan()).all(1),
)
met(
    "an unknown value spoils the row, asked for or not",
    "not asked for",
    lambda r, w, t: true_meets(r, w, t) & ~r.isnan().any(1),
)
met(
    "strictly less, but a class may agree",
    "is allowed",
    lambda r, w, t: (((r - w).abs() < t) | (r == w) | w.isnan()).all(1),
)
met(
    "a wish of zero asks for nothing",
    "a wish of 0",
    lambda r, w, t: (near(r, w, t) | w.isnan() | (w == 0)).all(1),
)
met(
    "the first column must agree",
    "tolerance of the first",
    lambda r, w, t: true_meets(r, w, t) & ((r[:, 0] == w[0]) | w[0].isnan()),
)
met(
    "always half",
    "rows that meet",
    lambda r, w, t: (
        near(r, w, torch.where(t == 0, 0.0, 0.5)) | w.isnan()
    ).all(1),
)
met(
    "one tolerance for all",
    "its own tolerance",
    lambda r, w, t: (near(r, w, t.max()) | w.isnan()).all(1),
)
met(
    "a tolerance relative to the wish",
    "rows that meet",
    lambda r, w, t: (near(r, w, t * w.abs()) | w.isnan()).all(1),
)
met(
    "the mean difference",
    "rows that meet",
    lambda r, w, t: (r - w).abs().nanmean(1) <= t.mean(),
)
met(
    "a distance to the wish",
    "rows that meet",
    lambda r, w, t: (
        (r - w).nan_to_num(0.0).square().sum(1) <= t.square().sum()
    ),
)
met(
    "the sizes alone",
    "rows that meet",
    lambda r, w, t: (((r.abs() - w.abs()).abs() <= t) | w.isnan()).all(1),
)
met(
    "only from below",
    "take its size",
    lambda r, w, t: ((w - r <= t) | w.isnan()).all(1),
)
met(
    "half the tolerance",
    "found 0, expected 1",
    lambda r, w, t: (near(r, w, t / 2) | w.isnan()).all(1),
)
met(
    "twice the tolerance",
    "rows that meet",
    lambda r, w, t: (near(r, w, 2 * t) | w.isnan()).all(1),
)
met(
    "the first three columns",
    "rows that meet",
    lambda r, w, t: (near(r, w, t) | w.isnan())[:, :3].all(1),
)
met(
    "most of the conditions",
    "rows that meet",
    lambda r, w, t: (near(r, w, t) | w.isnan()).double().mean(1) > 0.6,
)
met(
    "whole numbers",
    "rows that meet",
    lambda r, w, t: true_meets(r.round(), w.round(), t),
)
met(
    "nobody meets a wish that asks for nothing",
    "asks for nothing",
    lambda r, w, t: true_meets(r, w, t) & ~w.isnan().all(),
)
met(
    "the number of met conditions",
    "rows that meet",
    lambda r, w, t: (near(r, w, t) | w.isnan()).sum(1),
)


@wrong("requests_met", "fills the gaps of its input", says="in place")
def several():
    def meets(rows, wish, tolerance):
        found = true_meets(rows, wish, tolerance)
        wish[wish.isnan()] = 0.0
        return found

    return requests(meets)


@wrong("requests_met", "all requests at once", says="expected one of")
def several():
    return requests(answer="ABCD")


# --- a false condition -------------------------------------------------------


def elbo(model, x, to_encoder, to_decoder, noise):
    mu, logvar = model.encode(x, to_encoder)
    z = mu + (logvar / 2).exp() * noise
    kl = 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(1)
    return model.log_likelihood(x, z, to_decoder) - kl


def false(bound=elbo, answer="yes"):
    return {"bound_told": bound, "still_a_bound": lambda: answer}


@right("false_condition", "the model's log-likelihood")
def several():
    return false()


@right("false_condition", "cross-entropy and torch.distributions")
def several():
    def bound(model, x, to_encoder, to_decoder, noise):
        mu, logvar = model.encode(x, to_encoder)
        q = Normal(mu, torch.exp(0.5 * logvar))
        z = q.mean + q.stddev * noise
        logits = model.decode(z, to_decoder).flatten(1)
        missed = binary_cross_entropy_with_logits(
            logits, x, reduction="none"
        ).sum(-1)
        kl = kl_divergence(q, Normal(0.0, 1.0)).sum(-1)
        return (-missed - kl).double()

    return false(bound, " Yes")


@wrong("false_condition", "tells both the truth", says="the encoder is told")
def several():
    return false(lambda m, x, a, b, e: elbo(m, x, b, b, e))


@wrong("false_condition", "deceives both", says="the decoder is told")
def several():
    return false(lambda m, x, a, b, e: elbo(m, x, a, a, e))


@wrong("false_condition", "swaps the conditions", says="changed places")
def several():
    return false(lambda m, x, a, b, e: elbo(m, x, b, a, e))


@wrong("false_condition", "no KL", says="the KL is missing")
def several():
    def bound(m, x, a, b, e):
        mu, logvar = m.encode(x, a)
        return m.log_likelihood(x, mu + (logvar / 2).exp() * e, b)

    return false(bound)


@wrong("false_condition", "the loss", says="not a loss")
def several():
    return false(lambda *a: -elbo(*a))


@wrong("false_condition", "no noise", says="noise is not used")
def several():
    return false(lambda m, x, a, b, e: elbo(m, x, a, b, 0 * e))


@wrong("false_condition", "noise of its own", says="the bound")
def several():
    return false(lambda m, x, a, b, e: elbo(m, x, a, b, torch.randn_like(e)))


@wrong("false_condition", "the mean over the batch", says="one value for each")
def several():
    return false(lambda *a: elbo(*a).mean())


@wrong("false_condition", "says that it is no bound", says="ask how q")
def several():
    return false(answer="no")


@right("false_condition", "softplus, in double precision, row by row")
def several():
    def bound(model, x, to_encoder, to_decoder, noise):
        model.eval()
        found = []
        for i in range(len(x)):
            one = slice(i, i + 1)
            mu, logvar = model.encode(x[one], to_encoder[one])
            z = mu + logvar.exp().sqrt() * noise[one]
            logits = model.decode(z, to_decoder[one]).flatten().double()
            missed = torch.nn.functional.softplus(logits) - x[i] * logits
            kl = (mu**2 + logvar.exp() - 1 - logvar).sum() / 2
            found.append(-missed.sum() - kl)
        return torch.stack(found)

    return false(bound, "YES")


def told(text, says, bound):
    @wrong("false_condition", text, says=says)
    def several():
        return false(bound)


def parts(m, x, a, b, e):
    mu, logvar = m.encode(x, a)
    z = mu + (logvar / 2).exp() * e
    kl = 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(1)
    return mu, logvar, z, kl


@torch.no_grad()
def without_gradient(*args):
    return elbo(*args)


def detached_code(m, x, a, b, e):
    _, _, z, kl = parts(m, x, a, b, e)
    return m.log_likelihood(x, z.detach(), b) - kl


def detached_kl(m, x, a, b, e):
    _, _, z, kl = parts(m, x, a, b, e)
    return m.log_likelihood(x, z, b) - kl.detach()


def detached_noise(m, x, a, b, e):
    mu, logvar, _, kl = parts(m, x, a, b, e)
    z = mu + ((logvar / 2).exp() * e).detach()
    return m.log_likelihood(x, z, b) - kl


def frozen_decoder(m, x, a, b, e):
    _, _, z, kl = parts(m, x, a, b, e)
    with torch.no_grad():
        now = m.log_likelihood(x, z, b)
    return now - kl


def pushed(m, x, a, b, e):
    """The right values, with the gradient of the loss."""
    found = elbo(m, x, a, b, e)
    return 2 * found.detach() - found


def with_probabilities(m, x, a, b, e):
    _, _, z, kl = parts(m, x, a, b, e)
    p = m.decode(z, b).flatten(1).sigmoid()
    return (x * p.log() + (1 - x) * (1 - p).log()).sum(1) - kl


def with_clamped_probabilities(m, x, a, b, e):
    _, _, z, kl = parts(m, x, a, b, e)
    p = m.decode(z, b).flatten(1).sigmoid().clamp(1e-6, 1 - 1e-6)
    return (x * p.log() + (1 - x) * (1 - p).log()).sum(1) - kl


def clamped_spread(m, x, a, b, e):
    mu, logvar = m.encode(x, a)
    logvar = logvar.clamp(-10, 10)
    kl = 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(1)
    return m.log_likelihood(x, mu + (logvar / 2).exp() * e, b) - kl


def told_zero(m, x, a, b, e):
    """To the encoder, a condition that is not known is 0."""
    known = a.nan_to_num(0.0) if a.is_floating_point() else a
    return elbo(m, x, known, b, e)


def weighted(m, x, a, b, e):
    _, _, z, kl = parts(m, x, a, b, e)
    return m.log_likelihood(x, z, b) - m.beta * kl


def one_condition(m, x, a, b, e):
    return elbo(m, x, a, b[:1].expand(b.shape), e)


def squared_error(m, x, a, b, e):
    _, _, z, kl = parts(m, x, a, b, e)
    return -(m.decode_mean(z, b).flatten(1) - x).square().sum(1) - kl


told("under no_grad", "no gradient flows", without_gradient)
told("a code without a gradient", "detach", detached_code)
told("a KL without a gradient", "the gradient by", detached_kl)
told("sigma without a gradient", "the gradient by", detached_noise)
told("a decoder without a gradient", "gradient", frozen_decoder)
told("the gradient of the loss", "the sign", pushed)
told(
    "NumPy",
    "no gradient flows",
    lambda *args: torch.from_numpy(elbo(*args).detach().numpy()),
)
told("probabilities", "NaN", with_probabilities)
told("clamped probabilities", "the bound", with_clamped_probabilities)
told("clamped log variances", "the bound", clamped_spread)
told("zero for an unknown condition", "the bound", told_zero)
told("a KL weighted with beta", "beta", weighted)
told("everybody told the first condition", "the bound", one_condition)
told("squared errors", "the bound", squared_error)
told(
    "twice the noise",
    "the bound",
    lambda m, x, a, b, e: elbo(m, x, a, b, 2 * e),
)
told(
    "the noise of the first digit",
    "the bound",
    lambda m, x, a, b, e: elbo(m, x, a, b, e[:1].expand(e.shape)),
)
told(
    "the sum over the batch",
    "the bound",
    lambda *args: elbo(*args).sum(),
)
told(
    "the KL averaged over the code",
    "the bound",
    lambda m, x, a, b, e: (
        elbo(m, x, a, b, e) + parts(m, x, a, b, e)[3] * (1 - 1 / m.n_latent)
    ),
)
told(
    "half of the KL",
    "the bound",
    lambda m, x, a, b, e: elbo(m, x, a, b, e) + parts(m, x, a, b, e)[3] / 2,
)


@wrong("false_condition", "another word", says="expected one of")
def several():
    return false(answer="maybe")


@wrong("false_condition", "no word", says="not answered yet")
def several():
    return false(answer=None)


# --- two rings ---------------------------------------------------------------


def pair(angle):
    angle = torch.deg2rad(angle)
    return torch.stack([angle.cos(), angle.sin()], 1)


def rings(tell=pair, left=(2, 2, 1, 0)):
    return {"as_condition": tell, "dimensions_left": lambda: left}


@right("two_rings", "cosine and sine")
def several():
    return rings()


@right("two_rings", "NumPy, and a tensor of counts")
def several():
    def tell(angle):
        angle = angle.numpy().astype(float) * np.pi / 180
        return np.column_stack([np.cos(angle), np.sin(angle)])

    return rings(tell, torch.tensor([2, 2, 1, 0]))


@wrong("two_rings", "takes degrees for radians", says="in degrees")
def several():
    return rings(lambda a: torch.stack([a.cos(), a.sin()], 1))


@wrong("two_rings", "sine first", says="cosine comes first")
def several():
    return rings(lambda a: pair(a).flip(1))


@wrong("two_rings", "the angle as a number", says="are neighbours")
def several():
    return rings(lambda a: a[:, None] + 0)


@wrong("two_rings", "the angle in radians", says="jumps at 180")
def several():
    return rings(lambda a: torch.deg2rad(a)[:, None])


@wrong("two_rings", "the cosine alone", says="tell up from down")
def several():
    return rings(lambda a: pair(a)[:, :1])


@wrong("two_rings", "columns for rows", says="swapped")
def several():
    return rings(lambda a: pair(a).T.contiguous())


@wrong("two_rings", "one dimension for a circle", says="not every answer")
def several():
    return rings(left=(2, 1, 1, 0))


@wrong("two_rings", "forgets the ring", says="not every answer")
def several():
    return rings(left=[2, 2, 0, 0])


@wrong("two_rings", "a single count", says="four numbers")
def several():
    return rings(left=2)


@wrong("two_rings", "no counts", says="not answered yet")
def several():
    return rings(left=None)


@right("two_rings", "a loop, and counts of several kinds")
def several():
    def tell(angle):
        turns = [2 * math.pi * one / 360 for one in angle.tolist()]
        return [(math.cos(turn), math.sin(turn)) for turn in turns]

    return rings(tell, (2.0, np.int64(2), 1, 0))


def turned(text, says, tell):
    @wrong("two_rings", text, says=says)
    def several():
        return rings(tell)


def upper(angle):
    cosine = torch.deg2rad(angle).cos()
    return torch.stack([cosine, (1 - cosine.square()).sqrt()], 1)


def one_circle(angle):
    angle = angle.clamp(-180, 180)
    return pair(angle)


turned("the sine from the cosine", "the condition", upper)
turned("no angle beyond 180 degrees", "the condition", one_circle)
turned(
    "a rough pi",
    "the condition",
    lambda a: torch.stack([(a * 3.14 / 180).cos(), (a * 3.14 / 180).sin()], 1),
)
turned(
    "half the angle",
    "the condition",
    lambda a: pair(a / 2),
)
turned(
    "the other way round the circle",
    "the condition",
    lambda a: pair(-a),
)
turned(
    "twice the size",
    "the condition",
    lambda a: 2 * pair(a),
)
turned(
    "rounded",
    "the condition",
    lambda a: pair(a).round(decimals=2),
)
turned(
    "whole degrees",
    "the condition",
    lambda a: pair(a.round()),
)
turned(
    "a third column",
    "the condition",
    lambda a: torch.cat([pair(a), a[:, None]], 1),
)
turned(
    "cosine and tangent",
    "the condition",
    lambda a: torch.stack([torch.deg2rad(a).cos(), torch.deg2rad(a).tan()], 1),
)


def panels(text, left, says="not every answer is right"):
    @wrong("two_rings", text, says=says)
    def several():
        return rings(left=left)


panels("the number of factors", (2, 1, 1, 0))
panels("all the same", (2, 2, 2, 2))
panels("in falling steps", (3, 2, 1, 0))
panels("a code for what is told", [2, 2, 1, 1])
panels("the other way round", (0, 1, 2, 2))
panels("four dimensions", (4, 2, 1, 0), "expected one of")
panels("half a dimension", (2, 2, 0.5, 0), "whole number")
panels("words", ("two", "two", "one", "none"), "expected")
