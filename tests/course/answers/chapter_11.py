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


@wrong("factors_in_use", "the sum over the rows", says="a mean is wanted")
def several():
    return in_use(lambda m, x, y, least: (table(m, x, y).sum(0) > least).sum())


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


@wrong("factors_in_use", "a constant", says="use the model")
def several():
    return in_use(lambda m, x, y, least: 3)


@wrong("factors_in_use", "ignores the conditions", says="raises")
def several():
    return in_use(
        lambda m, x, y, least: (table(m, x, None).mean(0) > least).sum()
    )


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
                bad += bool((v - w).abs() > d)  # False for NaN
            found.append(float(bad == 0))
        return torch.tensor(found)

    return requests(meets)


@wrong("requests_met", "compares with NaN", says="NaN is always False")
def several():
    return requests(lambda *a: near(*a).all(1))


@wrong("requests_met", "takes NaN for 0", says="NaN is not 0")
def several():
    return requests(lambda r, w, t: near(r, w.nan_to_num(0.0), t).all(1))


@wrong("requests_met", "any instead of all", says="not any")
def several():
    return requests(lambda r, w, t: near(r, w, t).any(1))


@wrong("requests_met", "signed differences", says="take its size")
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


@wrong("requests_met", "a constant", says="whatever the request")
def several():
    return requests(lambda r, w, t: torch.ones(len(r)))


@wrong("requests_met", "looks at single conditions", says="together")
def several():
    return requests(answer="C")


@wrong("requests_met", "does not answer", says="not answered yet")
def several():
    return requests(answer=None)


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
        with torch.no_grad():
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


@wrong("two_rings", "one dimension for a circle", says="runs in a circle")
def several():
    return rings(left=(2, 1, 1, 0))


@wrong("two_rings", "forgets the ring", says="which of two rings")
def several():
    return rings(left=[2, 2, 0, 0])


@wrong("two_rings", "a single count", says="four numbers")
def several():
    return rings(left=2)


@wrong("two_rings", "no counts", says="not answered yet")
def several():
    return rings(left=None)
