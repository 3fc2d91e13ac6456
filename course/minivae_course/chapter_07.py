"""Checks for chapter 7: rate, distortion, active units and collapse."""

import math

import torch
from torch import Tensor
from torch.distributions import (
    Categorical,
    Independent,
    MixtureSameFamily,
    Normal,
)

from minivae.models import VAE
from minivae_course.check import (
    Draws,
    Student,
    WrongError,
    check,
    equal,
    function,
    require,
    tensor,
)


def _pair(what: str, value: object, names: str) -> list[Tensor]:
    """Two numbers of a student, in a tuple, a list or one tensor."""
    if getattr(value, "shape", None) == (2,):  # a tensor or an array
        value = list(torch.as_tensor(value).detach())
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise WrongError(f"{what}: expected two numbers, return {names}")
    return [tensor(what, one) for one in value]


@check()
def active_units(draws: Draws, active: Student) -> None:
    """Which latent dimensions have means that move with the digit.

    The columns of mu are made to have a known mean and a known variance,
    most of them close to one of the thresholds, and different shapes.
    """
    which = function("active", active)
    for n, n_latent in ((400, 12), (300, 1), (257, 20), (12, 12), (7, 3)):
        mu = _columns(draws, n, n_latent)
        levels = torch.tensor([4e-4, 3e-3, 0.02, 0.08, 0.4]).double()
        if n > 50:  # n and n - 1 make no difference to these
            near = torch.tensor([0.001, 0.01, 0.2]).double()
            levels = torch.cat([levels, 0.97 * near, 1.03 * near])
        variance = levels[draws.whole(0, len(levels), n_latent)]
        if n_latent > 4:
            known = min(n_latent, len(levels))
            variance[:known] = levels.flip(0)[:known]
        centre = 2 + draws.uniform(n_latent).double()
        mu = (centre + variance.sqrt() * mu).float()
        for threshold in (0.2, 0.01, 0.001):
            right = (variance > threshold).double()
            wrong = {
                "the answer is turned round: True means active": 1 - right,
                "compare the variance, not the standard deviation": (
                    variance.sqrt() > threshold
                ),
                "subtract the mean of each dimension first: a constant code "
                "tells nothing": mu.square().mean(0) > threshold,
                "the variance over the digits is wanted, over dimension 0, "
                "not over the latent dimensions": (
                    mu.var(1, correction=int(n_latent > 1)) > threshold
                ),
                "the threshold is an argument; this is the answer for 0.01": (
                    variance > 0.01
                ),
                "return the mask, one truth value for each dimension, not "
                "their number": right.sum(),
                "this is the variance; compare it with the "
                "threshold": variance,
            }
            equal("the active dimensions", which(mu, threshold), right, wrong)
    still = torch.full((64, 3), 2.0)  # the variance is 0 without rounding
    equal(
        "the active dimensions of a code that never moves",
        which(still, 0.0),
        torch.zeros(3),
        {"active is above the threshold, not at it": torch.ones(3)},
    )


def _columns(draws: Draws, n: int, n_latent: int) -> Tensor:
    """Columns of mean 0 and variance 1, float64, of three shapes.

    Normal ones, ones of two values, and ones with some far values.
    """
    mu = draws.normal(n, n_latent).double()
    mu[:, 1::3] = draws.uniform(n, len(range(1, n_latent, 3))).double().round()
    if n > 50:
        mu[:, 2::3] = mu[:, 2::3].pow(5)
    mu[0], mu[1] = 0.0, 1.0  # no column is constant
    return (mu - mu.mean(0)) / mu.std(0)


@check()
def exchange_rate(draws: Draws, prices: Student, suspects: Student) -> str:
    """What a nat of rate costs, and which steps no two optima allow.

    The runs are built from known prices. Some lie between the two betas, as
    the price of an exact exponential curve does, others just inside or just
    outside of one of them, and some at one of them.
    """
    price = function("prices", prices)
    suspect = function("suspects", suspects)
    for n in (7, 2, 3, 8):
        betas = draws.uniform(n, low=1.3, high=2.5).double().cumprod(0) / 4
        low, high = betas[:-1], betas[1:]
        # on D = c exp(-R / c) the price is the logarithmic mean of both
        between = (high - low) / (high / low).log()
        below, above = 0.995 * low, 1.005 * high
        choice = [between, 1.005 * low, 0.995 * high, below, above]
        kind = draws.whole(0, 5, n - 1)
        if n > 5:  # each of them
            kind[:5] = torch.randperm(5, generator=draws.generator)
        right = torch.stack(choice)[kind, torch.arange(n - 1)]
        drop = draws.uniform(n - 1, low=0.5, high=3).double()
        start = torch.zeros(1, dtype=betas.dtype)
        rate = 3 + drop.sum() - torch.cat([start, drop.cumsum(0)])
        distortion = 80 + torch.cat([start, (right * drop).cumsum(0)])
        both = rate + distortion
        wrong = {
            "this is rate for distortion; turn the ratio round": 1 / right,
            "the sign: the rate falls where the distortion rises": -right,
            "divide the change of D by the change of R, not D by R": (
                distortion[1:] / rate[1:]
            ),
            "divide by the fall of the rate": right * drop,
            "D + R is not the distortion; leave R out": both.diff() / drop,
            "divide by the change of the rate, not of beta": (
                right * drop / betas.diff()
            ),
        }
        equal("the prices", price(rate, distortion), right, wrong)
        off = kind >= 3
        wrong = {
            "the answer is turned round: True is a step that two optima "
            "do not allow": ~off,
            "a price below the smaller beta is suspect too": kind == 4,
            "a price above the larger beta is suspect too": kind == 3,
            "every step is marked; a price between the two betas is "
            "allowed": torch.ones_like(off),
            "no step is marked; some prices lie below the smaller beta or "
            "above the larger one": torch.zeros_like(off),
        }
        found = suspect(betas, rate, distortion)
        equal("the suspects", found, off.double(), wrong)
    # runs with other seeds need not lie on one curve
    odd = torch.tensor([9.0, 7, 8]).double(), torch.tensor([50.0, 49, 52])
    right = torch.tensor([-0.5, -3]).double()
    wrong = {"a price has a sign: both may fall, or both rise": right.abs()}
    equal("the prices", price(odd[0], odd[1].double()), right, wrong)
    betas = torch.tensor([0.25, 1, 2]).double()
    found = suspect(betas, odd[0], odd[1].double())
    wrong = {
        "a negative price lies below every beta": torch.tensor([0.0, 1.0])
    }
    equal("the suspects", found, torch.ones(2).double(), wrong)
    # numbers without rounding: prices of exactly 1, 4, 8 and 4
    betas = torch.tensor([1.0, 2, 4, 8, 16]).double()
    rate = torch.tensor([20.0, 18, 17, 13, 12]).double()
    distortion = torch.tensor([80.0, 82, 86, 118, 122]).double()
    found = suspect(betas, rate, distortion)
    wrong = {
        "a price that is equal to one of the betas is allowed": (
            torch.ones(4).double()
        ),
        "a price that is equal to beta is allowed, at both ends": (
            torch.tensor([1.0, 0, 0, 1])
        ),
        "a price that is equal to beta is allowed, not only below": (
            torch.tensor([0.0, 1, 1, 1])
        ),
    }
    what = "the suspects where prices equal a beta"
    equal(what, found, torch.tensor([0.0, 0, 0, 1]), wrong)
    return (
        "right. On an exponential curve the price between beta 2 and beta 8 "
        f"is {6 / math.log(4):.2f}: the slope at 4 is not quite the ratio "
        "of the differences"
    )


@check()
def split_of_the_kl(
    draws: Draws, log_aggregate: Student, split: Student
) -> None:
    """The aggregate posterior, and the KL as information plus mismatch.

    Held against torch's mixture of normal distributions.
    """
    mixture, both = (
        function("log_aggregate", log_aggregate),
        function("split", split),
    )
    for n, n_latent, n_codes in ((6, 2, 9), (1, 1, 1), (5, 3, 5), (300, 1, 3)):
        mu, logvar = draws.normal(n, n_latent), draws.normal(n, n_latent) - 1
        z = 1.5 * draws.normal(n_codes, n_latent)
        each = _each(z, mu, logvar)  # (n_codes, n)
        right = _aggregate(mu, logvar).log_prob(z.double())
        wrong = {
            "this is the mean of the logarithms; the logarithm of the mean "
            "is wanted": each.mean(1),
            "1 / N is missing: subtract log N": each.logsumexp(1),
            "1 / N, not N: subtract log N": right + 2 * math.log(n),
            "this is the density, not its logarithm": right.exp(),
            "you averaged over the codes: N is counted in dimension 1": (
                each.logsumexp(0) - math.log(n_codes)
            ),
            "logvar was taken for log sigma": _aggregate(
                mu, 2 * logvar
            ).log_prob(z.double()),
        }
        if n == n_codes:
            own = each.diagonal()
            wrong["each code gets its own q(z|x) only: average all N"] = own
        equal("log q(z)", mixture(z, mu, logvar), right, wrong)
    # codes near and far in one call, and some q much narrower than others
    mu, logvar = draws.normal(6, 4), 3 * draws.normal(6, 4)
    far = draws.uniform(7, 1, low=30, high=80) * torch.ones(4)
    z = torch.cat([mu[:2], far[:3], -far[3:], mu[2:3]])
    right = _aggregate(mu, logvar).log_prob(z.double())
    found = mixture(z, mu, logvar)
    if isinstance(found, Tensor) and found.shape == right.shape:
        lost = found.isinf()
        require(
            not bool(lost.any()) or bool(lost.all()),
            f"log q(z) of {int(lost.sum())} codes of 10 is infinite, those "
            "far from all digits. Take out the largest term of each code, "
            "not the largest of all, or use logsumexp",
        )
    # relative to each, since they differ by thousands of nats
    what = "log q(z) of codes near and far, divided by the right one"
    ratio = tensor("log q(z)", found, tuple(right.shape)) / right
    equal(what, ratio, torch.ones_like(right))
    for n, n_latent, width in (
        (7, 3, 0.0),
        (300, 1, 0.0),
        (1, 2, 0.0),
        (5, 5, 0.0),
        (draws.whole(10, 40), 2, -14.0),  # no two digits overlap
        (6, 20, -14.0),  # densities of very different size
    ):
        mu = draws.normal(n, n_latent)
        logvar = draws.normal(n, n_latent) - 1 + width
        if n_latent > 5:
            logvar[::2] += 16
        z = mu + (logvar / 2).exp() * draws.normal(n, n_latent)
        _compare_split(both(z, mu, logvar), z, mu, logvar)
    # as unlucky draws may be: both estimates are below 0
    mu = draws.uniform(2, 3, low=-0.6, high=0.6)
    logvar = torch.full((2, 3), 0.4)
    z = mu.flip(0)
    _compare_split(both(z, mu, logvar), z, mu, logvar)


def _each(z: Tensor, mu: Tensor, logvar: Tensor) -> Tensor:
    """log q(z|x) of each code under each digit, (codes, digits)."""
    q = Normal(mu.double(), (logvar.double() / 2).exp())
    return q.log_prob(z.double()[:, None]).sum(-1)


def _aggregate(mu: Tensor, logvar: Tensor) -> MixtureSameFamily:
    q = Normal(mu.double(), (logvar.double() / 2).exp())
    same = Categorical(torch.ones(len(mu), dtype=torch.float64))
    return MixtureSameFamily(same, Independent(q, 1))


def _compare_split(
    found: object, z: Tensor, mu: Tensor, logvar: Tensor
) -> None:
    """Information first, then the marginal KL."""
    names = "information, marginal_kl"
    information, marginal = _pair("the split", found, names)
    own = _each(z, mu, logvar).diagonal()
    log_q = _aggregate(mu, logvar).log_prob(z.double())
    each = Normal(0.0, 1.0).log_prob(z.double())
    prior = each.sum(-1)
    right, rest = (own - log_q).mean(), (log_q - prior).mean()
    known = {
        "the two parts are exchanged: information comes first": rest,
        "this is the whole KL; subtract log q(z), not log p(z)": right + rest,
        "mean over the digits, not sum": (own - log_q).sum(),
        "the average of q(z) misses its 1 / N: subtract log N": (
            right - math.log(len(mu))
        ),
        "log q(z) is the logarithm of a mean, not a mean of logarithms": (
            own - _each(z, mu, logvar).mean(1)
        ).mean(),
    }
    equal("the information", information, right, known)
    known = {
        "the sign: log q(z) minus log p(z)": -rest,
        "this is the whole KL; the information is to be left out": (
            right + rest
        ),
        "sum log p(z) over the latent dimensions; you took their mean": (
            log_q - each.mean(-1)
        ).mean(),
        "mean over the digits, not sum": (log_q - prior).sum(),
        "the prior is missing": log_q.mean(),
    }
    equal("the marginal KL", marginal, rest, known)


@check()
def kl_warm_up(
    draws: Draws, kl_weight: Student, gain: Student, convinced: Student
) -> None:
    """A weight that rises to 1, and whether what it gains is luck.

    Pairs of runs are built to have a given mean and spread of their
    differences, under a large effect of the seed on both.
    """
    weight = function("kl_weight", kl_weight)
    gained = function("gain", gain)
    sure = function("convinced", convinced)
    for n_warm in (draws.whole(5, 400), 1, 0):
        steps = {0, n_warm // 2, max(0, n_warm - 1), n_warm, 3 * n_warm + 2}
        steps |= {draws.whole(0, n_warm + 1), draws.whole(1000, 90_000)}
        steps |= set(draws.whole(n_warm, 20 * n_warm + 9, 8).tolist())
        for step in sorted(steps):
            share = (step + 1) / max(1, n_warm)
            right = min(1.0, share)
            wrong = {
                "the weight grows beyond 1: cut it off": share,
                "the first step is step 0 and has the weight 1 / n_warm": (
                    min(1.0, step / max(1, n_warm))
                ),
                "it rises from 0 to 1; yours falls": 1 - right,
                "the weight is 1 too early; it is still to rise": 1.0,
            }
            wrong = {k: v for k, v in wrong.items() if n_warm and v != right}
            what = f"the weight in step {step} of a warm-up of {n_warm}"
            equal(what, weight(step, n_warm), right, wrong)
    # close to the rule of two errors, on both sides and for few and many
    pairs = [(3, 5.0), (5, 0.5), (12, -4.0), (8, 2.03), (4, 1.0), (6, 1.98)]
    pairs += [(12, 1.98), (3, 2.03), (3, 1.98), (draws.whole(9, 30), 2.03)]
    for n, t in pairs:
        luck = draws.normal(n).double()
        luck = (luck - luck.mean()) / luck.std()
        size = float(draws.uniform(1, low=0.2, high=2))
        plain = -100 + 5 * draws.normal(n).double()
        error = size / math.sqrt(n)
        warm = plain + t * error + size * luck
        # the seeds differ much; that cancels in the differences
        apart = math.sqrt(float(plain.var() + warm.var()) / n)
        found = _pair("the gain", gained(plain, warm), "mean, error")
        wrong = {"the sign: with warm-up minus without": -t * error}
        wrong["the mean is wanted, not the sum"] = n * t * error
        equal("the mean gain", found[0], t * error, wrong)
        wrong = {
            "divide the standard deviation by the root of their number": size,
            "the root of S is to divide, not S": size / n,
            "the deviation of a sample: divide by S - 1, not S": (
                error * math.sqrt((n - 1) / n)
            ),
            "the runs are pairs: take the differences first, the effect of "
            "the seed cancels": apart,
            "this is the error squared": error**2,
        }
        equal("the standard error", found[1], error, wrong)
        says = sure(plain, warm)
        right = float(t > 2)
        what = f"convinced by a mean of {t:g} standard errors"
        wrong = {
            "a mean that is not twice its standard error may be luck": 1.0
        }
        if t < 0:
            wrong = {"this is a loss, not a gain: mind the sign": 1.0}
        if right:
            wrong = {"more than two standard errors should convince": 0.0}
        equal(what, says, right, wrong)
    # gains of 1, 1, 1 and 5: the mean is 2, the error 1, without rounding
    plain = -100 + draws.whole(0, 9, 4).double()
    warm = plain + torch.tensor([1.0, 1, 1, 5])
    wrong = {"more than two standard errors are asked for, not just two": 1.0}
    what = "convinced by a mean of exactly two standard errors"
    equal(what, sure(plain, warm), 0.0, wrong)


@check()
def right_collapse(
    draws: Draws,
    rate: Student,
    residual: Student,
    best_sigma2: Student,
    elbo: Student,
    best_v: Student,
) -> str:
    """The ELBO of a linear VAE whose code tells about one of n numbers.

    Held against the package's own VAE with these weights, at points that
    have the mean and the variance of the data.
    """
    functions = {
        "rate": function("rate", rate),
        "residual": function("residual", residual),
        "best_sigma2": function("best_sigma2", best_sigma2),
        "elbo": function("elbo", elbo),
    }
    best = function("best_v", best_v)
    for n in (4, 1, draws.whole(2, 9)):
        variance = float(draws.uniform(1, low=1.5, high=9))
        for v in (float(draws.uniform(1, low=0.1, high=0.9)), 1.0):
            right = linear_vae(v, variance, n)
            cost, sigma2 = right["rate"], right["best_sigma2"]
            log_p = right["elbo"] + cost
            wrong = {
                "rate": {
                    "the factor one half is missing": 2 * cost,
                    "the sign: a KL is never negative": -cost,
                    "the means count too: the average of mu^2 is 1 - v": (
                        (v - 1 - math.log(v)) / 2
                    ),
                },
                "residual": {
                    "multiply by the variance of the number": v,
                    "this is what the code explains; what is left?": (
                        (1 - v) * variance
                    ),
                },
                "best_sigma2": {
                    "this is sigma; sigma squared is wanted": sigma2**0.5,
                    "average over the n numbers": n * sigma2,
                    "the n - 1 numbers without a code have errors too": (
                        v * variance / n
                    ),
                    "only n - 1 numbers have an error of 1; the other one "
                    "has its residual": (n + v * variance) / n,
                },
                "elbo": {
                    "the rate is not subtracted": log_p,
                    "the rate is added; the code costs": log_p + cost,
                    "this is the negative ELBO": -right["elbo"],
                    "n / 2 log(2 pi) is missing": right["elbo"]
                    + n / 2 * math.log(2 * math.pi),
                    "the squared errors themselves cost n / 2": (
                        right["elbo"] + n / 2
                    ),
                },
            }
            for name, f in functions.items():
                args = (v, variance, n)[: 1 if name == "rate" else 3]
                args = args[:2] if name == "residual" else args
                what = f"{name}{tuple(round(a, 3) for a in args)}"
                what = what.replace(",)", ")")
                equal(what, f(*args), right[name], wrong[name])
    some = (draws.uniform(low=1.3, high=9), draws.uniform(low=0.1, high=0.9))
    for variance in (*map(float, some), 1.0, 1.03, 0.97, 40.0):
        right = min(1.0, 1 / variance)
        wrong = {
            "a posterior variance above 1 says less than nothing: where the "
            "best v is above 1, the end v = 1 is best": 1 / variance,
            "collapse is best only up to a variance of 1": 1.0,
            "this is the variance; set the derivative to 0": variance,
            "this is s, not s^2": right**0.5,
        }
        wrong = {k: w for k, w in wrong.items() if abs(w - right) > 1e-6}
        equal(f"best_v({variance:.3g})", best(variance), right, wrong)
    lost = linear_vae(1.0, 1.0, 4)["elbo"] - linear_vae(0.5, 1.0, 4)["elbo"]
    return (
        "right. For four equal numbers a code with v = 0.5 costs "
        f"{math.log(2) / 2:.3f} nats and ends {lost:.3f} nats below collapse"
    )


def linear_vae(v: float, variance: float, n: int) -> dict[str, float]:
    """Rate, residual, best sigma^2 and ELBO, measured on a VAE.

    The data are n independent numbers; the first has this variance, the
    others 1. All terms are quadratic, so two points of the right variance
    for the data and two for the noise give the exact mean.

    Args:
        v: variance of q(z|x), the same for all x, at most 1.
        variance: of the first number.
        n: numbers in a row.
    """
    slope = math.sqrt((1 - v) / variance)
    first = math.sqrt(variance) * torch.tensor([1.0, 1, -1, -1]).double()
    noise = torch.tensor([1.0, -1, 1, -1]).double()[:, None]
    x = torch.ones(4, n).double()
    x[:, 0] = first
    sigma = 1.0
    for _ in range(2):  # measure sigma, then use it
        vae = VAE(1, (), "gaussian", sigma=sigma, shape=(n,)).double()
        with torch.no_grad():
            for weights in (
                *vae.encoder.parameters(),
                *vae.decoder.parameters(),
            ):
                weights.zero_()
            vae.encoder[0].weight[0, 0] = slope
            vae.encoder[0].bias[1] = math.log(v)
            vae.decoder[0].weight[0, 0] = slope * variance
            z = slope * first[:, None] + math.sqrt(v) * noise
            squares = (x - vae.decode(z)).square().mean(0)
            terms = vae(x, None, noise)
        sigma = math.sqrt(float(squares.mean()))
    return {
        "rate": float(terms["kl"].mean()),
        "residual": float(squares[0]),
        "best_sigma2": float(squares.mean()),
        "elbo": -float((terms["kl"] + terms["reconstruction"]).mean()),
    }
