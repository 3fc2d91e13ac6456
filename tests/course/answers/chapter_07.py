"""Answers to the exercises of chapter 7."""

import math

import numpy as np
import torch
from torch.distributions import (
    Categorical,
    Independent,
    MixtureSameFamily,
    Normal,
)

from answers import right, wrong

# --- active_units ------------------------------------------------------------


@right("active_units", "the variance over the digits")
def _(mu, threshold):
    return mu.var(0) > threshold


@right("active_units", "centred by hand, divided by N, whole numbers")
def _(mu, threshold):
    return ((mu - mu.mean(0)) ** 2).mean(0).gt(threshold).int()


@right("active_units", "with NumPy")
def _(mu, threshold):
    return np.var(mu.numpy(), axis=0) > threshold


@right("active_units", "the root of the threshold for a deviation")
def _(mu, threshold):
    return mu.std(0) > threshold**0.5


@wrong(
    "active_units",
    "compares the standard deviation",
    says="compare the variance, not the standard deviation",
)
def _(mu, threshold):
    return mu.std(0) > threshold


@wrong(
    "active_units",
    "takes the mean square, without the mean subtracted",
    says="subtract the mean",
)
def _(mu, threshold):
    return mu.square().mean(0) > threshold


@wrong(
    "active_units",
    "takes the variance over dimensions",
    says="over dimension 0",
)
def _(mu, threshold):
    return mu.var(1) > threshold


@wrong("active_units", "ignores the threshold", says="is an argument")
def _(mu, threshold):
    return mu.var(0) > 0.01


@wrong("active_units", "returns the number of them", says="return the mask")
def _(mu, threshold):
    return (mu.var(0) > threshold).sum()


@wrong("active_units", "marks the inactive ones", says="turned round")
def _(mu, threshold):
    return mu.var(0) < threshold


@wrong("active_units", "says that all are active", says="expected 0")
def _(mu, threshold):
    return torch.ones(mu.shape[1])


@wrong("active_units", "returns the variance", says="compare it with")
def _(mu, threshold):
    return mu.var(0)


# --- exchange_rate -----------------------------------------------------------


def _price(rate, distortion):
    return -distortion.diff() / rate.diff()


def _suspect(betas, rate, distortion):
    price = _price(rate, distortion)
    return (price < betas[:-1]) | (price > betas[1:])


@right("exchange_rate", "differences")
def several():
    return {"prices": _price, "suspects": _suspect}


@wrong("exchange_rate", "prices without a sign", says="a price has a sign")
def several():
    def prices(rate, distortion):
        return _price(rate, distortion).abs()

    return {"prices": prices, "suspects": _suspect}


@wrong("exchange_rate", "sorts by the rate first", says="the prices")
def several():
    def prices(rate, distortion):
        order = rate.argsort(descending=True)
        return _price(rate[order], distortion[order])

    return {"prices": prices, "suspects": _suspect}


@right("exchange_rate", "a loop over the steps")
def several():
    def prices(rate, distortion):
        steps = range(len(rate) - 1)
        return [
            float(
                (distortion[i + 1] - distortion[i]) / (rate[i] - rate[i + 1])
            )
            for i in steps
        ]

    def suspects(betas, rate, distortion):
        found = prices(rate, distortion)
        return np.array(
            [not a <= p <= b for a, p, b in zip(betas, found, betas[1:])]
        )

    return {"prices": prices, "suspects": suspects}


@right("exchange_rate", "one best at its beta, in float32")
def several():
    def suspects(betas, rate, distortion):
        first = distortion[:-1] + betas[:-1] * rate[:-1]
        other = distortion[1:] + betas[:-1] * rate[1:]
        last = distortion[1:] + betas[1:] * rate[1:]
        before = distortion[:-1] + betas[1:] * rate[:-1]
        return ~((first <= other) & (last <= before))

    return {
        "prices": lambda r, d: _price(r, d).float(),
        "suspects": suspects,
    }


@wrong("exchange_rate", "turns the ratio round", says="turn the ratio round")
def several():
    return {
        "prices": lambda r, d: -r.diff() / d.diff(),
        "suspects": _suspect,
    }


@wrong("exchange_rate", "forgets that the rate falls", says="the rate falls")
def several():
    return {"prices": lambda r, d: d.diff() / r.diff(), "suspects": _suspect}


@wrong("exchange_rate", "divides D by R, not the changes", says="change of D")
def several():
    return {"prices": lambda r, d: d[1:] / r[1:], "suspects": _suspect}


@wrong("exchange_rate", "adds the rate to the distortion", says="leave R out")
def several():
    return {
        "prices": lambda r, d: -(d + r).diff() / r.diff(),
        "suspects": _suspect,
    }


@wrong("exchange_rate", "looks for prices too high only", says="below the")
def several():
    def suspects(betas, rate, distortion):
        return _price(rate, distortion) > betas[1:]

    return {"prices": _price, "suspects": suspects}


@wrong(
    "exchange_rate",
    "leaves the sign of a price out, where it is compared",
    says="a negative price lies below every beta",
)
def several():
    def suspects(betas, rate, distortion):
        price = _price(rate, distortion).abs()
        return (price < betas[:-1]) | (price > betas[1:])

    return {"prices": _price, "suspects": suspects}


@wrong("exchange_rate", "looks for prices too low only", says="above the")
def several():
    def suspects(betas, rate, distortion):
        return _price(rate, distortion) < betas[:-1]

    return {"prices": _price, "suspects": suspects}


@wrong("exchange_rate", "marks the allowed steps", says="turned round")
def several():
    return {
        "prices": _price,
        "suspects": lambda b, r, d: ~_suspect(b, r, d),
    }


@wrong(
    "exchange_rate",
    "wants a price that equals beta",
    says="every step is marked",
)
def several():
    def suspects(betas, rate, distortion):
        return (_price(rate, distortion) - betas[1:]).abs() > 1e-3

    return {"prices": _price, "suspects": suspects}


@wrong("exchange_rate", "wants both", says="or above the larger one")
def several():
    def suspects(betas, rate, distortion):
        price = _price(rate, distortion)
        return (price < betas[:-1]) & (price > betas[1:])

    return {"prices": _price, "suspects": suspects}


@wrong("exchange_rate", "finds nothing suspect", says="no step is marked")
def several():
    return {
        "prices": _price,
        "suspects": lambda b, r, d: torch.zeros(len(b) - 1),
    }


@wrong("exchange_rate", "leaves suspects out", says="not written yet")
def several():
    def suspects(betas, rate, distortion):
        raise NotImplementedError

    return {"prices": _price, "suspects": suspects}


# --- split_of_the_kl ---------------------------------------------------------


def _densities(z, mu, logvar):
    q = Normal(mu, (logvar / 2).exp())
    return q.log_prob(z[:, None]).sum(-1)  # (M, N)


def _log_q(z, mu, logvar):
    return _densities(z, mu, logvar).logsumexp(1) - math.log(len(mu))


def _prior(z):
    return Normal(0.0, 1.0).log_prob(z).sum(-1)


def _split(z, mu, logvar):
    own = Normal(mu, (logvar / 2).exp()).log_prob(z).sum(-1)
    log_q = _log_q(z, mu, logvar)
    return (own - log_q).mean(), (log_q - _prior(z)).mean()


@right("split_of_the_kl", "logsumexp")
def several():
    return {"log_aggregate": _log_q, "split": _split}


@right("split_of_the_kl", "torch's mixture, plain numbers in a list")
def several():
    def log_aggregate(z, mu, logvar):
        parts = Independent(Normal(mu, (logvar / 2).exp()), 1)
        same = Categorical(torch.ones(len(mu)))
        return MixtureSameFamily(same, parts).log_prob(z)

    def split(z, mu, logvar):
        log_q = log_aggregate(z, mu, logvar)
        whole = _densities(z, mu, logvar).diagonal() - _prior(z)
        rest = (log_q - _prior(z)).mean().item()
        return [whole.mean().item() - rest, rest]

    return {"log_aggregate": log_aggregate, "split": split}


@right("split_of_the_kl", "the formula written out, in float64")
def several():
    def log_aggregate(z, mu, logvar):
        z, mu, logvar = z.double(), mu.double(), logvar.double()
        scaled = (z[None] - mu[:, None]).square() / logvar.exp()[:, None]
        each = -0.5 * (scaled + logvar[:, None] + math.log(2 * math.pi))
        top = each.sum(2).max(0).values
        return (each.sum(2) - top).exp().mean(0).log() + top

    def split(z, mu, logvar):
        return torch.stack(_split(z.double(), mu.double(), logvar.double()))

    return {"log_aggregate": log_aggregate, "split": split}


@wrong(
    "split_of_the_kl",
    "keeps the first bug: the mean of logarithms",
    says="the logarithm of the mean is wanted",
)
def several():
    return {
        "log_aggregate": lambda z, m, v: _densities(z, m, v).mean(1),
        "split": _split,
    }


@wrong(
    "split_of_the_kl",
    "keeps the second bug: the prior averaged over dimensions",
    says="you took their mean",
)
def several():
    def split(z, mu, logvar):
        information, _ = _split(z, mu, logvar)
        prior = Normal(0.0, 1.0).log_prob(z).mean(-1)
        return information, (_log_q(z, mu, logvar) - prior).mean()

    return {"log_aggregate": _log_q, "split": split}


@wrong("split_of_the_kl", "the first 100 digits", says="the information")
def several():
    def log_aggregate(z, mu, logvar):
        return _log_q(z, mu[:100], logvar[:100])

    def split(z, mu, logvar):
        whole = _densities(z, mu, logvar).diagonal() - _prior(z)
        log_q = log_aggregate(z, mu, logvar)
        rest = (log_q - _prior(z)).mean()
        return whole.mean() - rest, rest

    return {"log_aggregate": _log_q, "split": split}


@wrong("split_of_the_kl", "twenty digits for the aggregate", says="log q(z)")
def several():
    return {
        "log_aggregate": lambda z, m, v: _log_q(z, m[:20], v[:20]),
        "split": _split,
    }


@wrong("split_of_the_kl", "forgets 1 / N", says="subtract log N")
def several():
    return {
        "log_aggregate": lambda z, m, v: _densities(z, m, v).logsumexp(1),
        "split": _split,
    }


@wrong("split_of_the_kl", "uses exp without care", says="infinite")
def several():
    def log_aggregate(z, mu, logvar):
        return _densities(z, mu, logvar).exp().mean(1).log()

    return {"log_aggregate": log_aggregate, "split": _split}


@wrong("split_of_the_kl", "takes logvar for log sigma", says="log sigma")
def several():
    return {
        "log_aggregate": lambda z, m, v: _log_q(z, m, 2 * v),
        "split": _split,
    }


@wrong("split_of_the_kl", "averages over the codes", says="expected")
def several():
    def log_aggregate(z, mu, logvar):
        return _densities(z, mu, logvar).logsumexp(0) - math.log(len(z))

    return {"log_aggregate": log_aggregate, "split": _split}


@wrong("split_of_the_kl", "exchanges the parts", says="comes first")
def several():
    return {
        "log_aggregate": _log_q,
        "split": lambda z, m, v: _split(z, m, v)[::-1],
    }


@wrong(
    "split_of_the_kl",
    "gives the whole KL as information",
    says="this is the whole KL",
)
def several():
    def split(z, mu, logvar):
        information, rest = _split(z, mu, logvar)
        return information + rest, rest

    return {"log_aggregate": _log_q, "split": split}


for _text, _says, _low in (
    ("a marginal KL of 0 or more", "the marginal KL", (-math.inf, 0.0)),
    ("an information of 0 or more", "the information", (0.0, -math.inf)),
):

    @wrong("split_of_the_kl", _text, says=_says)
    def several(low=_low):
        def split(z, mu, logvar):
            found = zip(_split(z, mu, logvar), low)
            return [one.clamp(min=least) for one, least in found]

        return {"log_aggregate": _log_q, "split": split}


@wrong("split_of_the_kl", "returns their sum only", says="two numbers")
def several():
    return {
        "log_aggregate": _log_q,
        "split": lambda z, m, v: sum(_split(z, m, v)),
    }


# --- kl_warm_up --------------------------------------------------------------


def _weight(step, n_warm):
    return 1.0 if step >= n_warm else (step + 1) / n_warm


def _gain(plain, warm):
    gains = warm - plain
    return gains.mean(), gains.std() / len(gains) ** 0.5


def _convinced(plain, warm):
    mean, error = _gain(plain, warm)
    return mean > 2 * error


def _warm_up(**other):
    found = {"kl_weight": _weight, "gain": _gain, "convinced": _convinced}
    return found | other


@right("kl_warm_up", "as defined")
def several():
    return _warm_up()


@right("kl_warm_up", "min and max, NumPy, truth values")
def several():
    def gain(plain, warm):
        gains = (warm - plain).numpy()
        return gains.mean(), gains.std(ddof=1) / np.sqrt(len(gains))

    def convinced(plain, warm):
        mean, error = gain(plain, warm)
        return bool(mean / error > 2)

    return {
        "kl_weight": lambda step, n: min(1, (step + 1) / max(1, n)),
        "gain": gain,
        "convinced": convinced,
    }


@right("kl_warm_up", "tensors, the error by a sum")
def several():
    def gain(plain, warm):
        gains = (warm - plain).float()
        n = len(gains)
        off = (gains - gains.mean()).square().sum()
        return torch.stack([gains.mean(), (off / (n - 1) / n).sqrt()])

    return _warm_up(
        gain=gain,
        kl_weight=lambda step, n: torch.tensor(_weight(step, n)),
    )


@wrong("kl_warm_up", "starts with a weight of 0", says="the first step is")
def several():
    return _warm_up(kl_weight=lambda step, n: min(1.0, step / n) if n else 1.0)


@wrong("kl_warm_up", "lets the weight grow on", says="cut it off")
def several():
    return _warm_up(kl_weight=lambda step, n: (step + 1) / max(1, n))


@wrong("kl_warm_up", "divides by 0 without a warm-up", says="ZeroDivision")
def several():
    return _warm_up(kl_weight=lambda step, n: min(1.0, (step + 1) / n))


@wrong("kl_warm_up", "has the full weight at once", says="too early")
def several():
    return _warm_up(kl_weight=lambda step, n: 1.0)


@wrong("kl_warm_up", "takes the larger for the smaller", says="too early")
def several():
    return _warm_up(kl_weight=lambda step, n: max(1.0, (step + 1) / max(1, n)))


@wrong(
    "kl_warm_up",
    "has no weight without a warm-up",
    says="a warm-up of 0: found 0, expected 1. All values are 0",
)
def several():
    return _warm_up(kl_weight=lambda step, n: _weight(step, n) if n else 0.0)


@wrong("kl_warm_up", "lets the weight fall", says="yours falls")
def several():
    return _warm_up(kl_weight=lambda step, n: 1 - _weight(step, n))


@wrong("kl_warm_up", "takes without minus with", says="minus without")
def several():
    return _warm_up(gain=lambda plain, warm: _gain(warm, plain))


@wrong(
    "kl_warm_up", "gives the standard deviation", says="root of their number"
)
def several():
    def gain(plain, warm):
        return (warm - plain).mean(), (warm - plain).std()

    return _warm_up(gain=gain)


@wrong("kl_warm_up", "divides by S, not S - 1", says="deviation of a sample")
def several():
    def gain(plain, warm):
        gains = warm - plain
        return gains.mean(), gains.std(correction=0) / len(gains) ** 0.5

    return _warm_up(gain=gain)


@wrong("kl_warm_up", "forgets that the runs are pairs", says="pairs")
def several():
    def gain(plain, warm):
        error = ((plain.var() + warm.var()) / len(plain)).sqrt()
        return warm.mean() - plain.mean(), error

    return _warm_up(gain=gain)


@wrong("kl_warm_up", "gives all gains", says="found shape (3,), expected ()")
def several():
    return _warm_up(gain=lambda plain, warm: (warm - plain, warm.std()))


@wrong("kl_warm_up", "is convinced by any gain", says="may be luck")
def several():
    return _warm_up(convinced=lambda plain, warm: warm.mean() > plain.mean())


@wrong("kl_warm_up", "is convinced by a certain loss", says="this is a loss")
def several():
    def convinced(plain, warm):
        mean, error = _gain(plain, warm)
        return abs(mean) > 2 * error

    return _warm_up(convinced=convinced)


@wrong("kl_warm_up", "is never convinced", says="should convince")
def several():
    return _warm_up(convinced=lambda plain, warm: False)


# --- right_collapse ----------------------------------------------------------


def _sigma2(v, variance, n):
    return (n - 1 + v * variance) / n


def _rate(v):
    return -math.log(v) / 2


def _elbo(v, variance, n):
    sigma2 = _sigma2(v, variance, n)
    return -n / 2 * (math.log(2 * math.pi * sigma2) + 1) - _rate(v)


def _blanks(**other):
    return {
        "rate": _rate,
        "residual": lambda v, variance: v * variance,
        "best_sigma2": _sigma2,
        "elbo": _elbo,
        "best_v": lambda variance: min(1.0, 1 / variance),
    } | other


@right("right_collapse", "the shortest forms")
def several():
    return _blanks()


@right("right_collapse", "step by step, with a and w; tensors")
def several():
    def rate(v):
        v = torch.tensor(v)
        return 0.5 * ((1 - v) + v - 1 - v.log())

    def residual(v, variance):
        a = math.sqrt((1 - v) / variance)
        return variance - (a * variance) ** 2

    def best_v(variance):
        return 1.0 if variance < 1 else variance**-1

    def elbo(v, variance, n):
        sigma2 = torch.tensor(_sigma2(v, variance, n))
        log_p = -n / 2 * torch.log(2 * math.pi * sigma2) - n / 2
        return log_p - rate(v)

    return _blanks(rate=rate, residual=residual, best_v=best_v, elbo=elbo)


@wrong("right_collapse", "forgets one half in the rate", says="one half")
def several():
    return _blanks(rate=lambda v: -math.log(v))


@wrong("right_collapse", "forgets the mean in the rate", says="means count")
def several():
    return _blanks(rate=lambda v: (v - 1 - math.log(v)) / 2)


@wrong("right_collapse", "gives a negative rate", says="never negative")
def several():
    return _blanks(rate=lambda v: math.log(v) / 2)


@wrong("right_collapse", "gives what the code explains", says="what is left")
def several():
    return _blanks(residual=lambda v, variance: (1 - v) * variance)


@wrong("right_collapse", "takes v for the error", says="multiply by the")
def several():
    return _blanks(residual=lambda v, variance: v)


@wrong("right_collapse", "sums the errors", says="average over the n")
def several():
    return _blanks(best_sigma2=lambda v, var, n: n - 1 + v * var)


@wrong("right_collapse", "counts n uncoded numbers", says="only n - 1")
def several():
    return _blanks(best_sigma2=lambda v, var, n: (n + v * var) / n)


@wrong("right_collapse", "forgets the uncoded numbers", says="have errors too")
def several():
    return _blanks(best_sigma2=lambda v, var, n: v * var / n)


@wrong("right_collapse", "adds the rate", says="the rate is added")
def several():
    return _blanks(elbo=lambda v, var, n: _elbo(v, var, n) + 2 * _rate(v))


@wrong("right_collapse", "forgets the rate", says="is not subtracted")
def several():
    return _blanks(elbo=lambda v, var, n: _elbo(v, var, n) + _rate(v))


@wrong("right_collapse", "forgets the constant", says="log(2 pi) is missing")
def several():
    return _blanks(
        elbo=lambda v, var, n: _elbo(v, var, n) + n / 2 * math.log(2 * math.pi)
    )


@wrong("right_collapse", "allows v above 1", says="the end v = 1 is best")
def several():
    return _blanks(best_v=lambda variance: 1 / variance)


@wrong("right_collapse", "always collapses", says="only up to")
def several():
    return _blanks(best_v=lambda variance: 1.0)
