"""Answers to the exercises of chapter 3."""

import math

import numpy as np
import torch
from torch.distributions import Bernoulli, Normal
from torch.nn import functional as F  # noqa: N812
from torch.nn.functional import softplus

from answers import right, wrong
from minivae.evaluate import code_grid, log_joint
from minivae.objective import bernoulli_log_likelihood, gaussian_log_likelihood

HALF = 0.5 * math.log(2 * math.pi)


def gaussian(x, mean, log_sigma):
    """Normal log densities of rows."""
    return Normal(mean, log_sigma.exp()).log_prob(x).flatten(1).sum(-1)


def coins(x, logits):
    """Log probabilities of black and white rows."""
    return (x * logits - softplus(logits)).flatten(1).sum(-1)


@wrong("normal_log_density", "the package's own", says="asked to write here")
def _(x, mean, log_sigma):
    return gaussian_log_likelihood(x, mean, log_sigma)


@wrong("bernoulli_from_logits", "the package's own", says="asked to write")
def _(x, logits):
    return bernoulli_log_likelihood(x, logits)


# --- normal_log_density ------------------------------------------------------


@right("normal_log_density", "the formula")
def _(x, mean, log_sigma):
    scaled = (x - mean) / log_sigma.exp()
    return -(0.5 * scaled**2 + log_sigma + HALF).sum(-1)


@right("normal_log_density", "torch.distributions")
def _(x, mean, log_sigma):
    return Normal(mean, log_sigma.exp()).log_prob(x).sum(1)


@right("normal_log_density", "one term for all dimensions, in double")
def _(x, mean, log_sigma):
    gap = ((x - mean).double() ** 2).sum(1)
    variance = (2 * log_sigma).exp()
    n = x.shape[1]
    return -gap / (2 * variance) - n * torch.log(
        (2 * math.pi * variance).sqrt()
    )


@wrong(
    "normal_log_density", "leaves out the constant", says="for each dimension"
)
def _(x, mean, log_sigma):
    scaled = (x - mean) / log_sigma.exp()
    return -(0.5 * scaled**2 + log_sigma).sum(-1)


@wrong("normal_log_density", "the sign of log sigma", says="the sign of log")
def _(x, mean, log_sigma):
    scaled = (x - mean) / log_sigma.exp()
    return -(0.5 * scaled**2 - log_sigma + HALF).sum(-1)


@wrong("normal_log_density", "no log sigma", says="log sigma is missing")
def _(x, mean, log_sigma):
    scaled = (x - mean) / log_sigma.exp()
    return -(0.5 * scaled**2 + HALF).sum(-1)


@wrong(
    "normal_log_density",
    "counts log sigma once for all dimensions",
    says="log sigma is counted once",
)
def _(x, mean, log_sigma):
    scaled = (x - mean) / log_sigma.exp()
    return -(0.5 * scaled**2 + HALF).sum(-1) - log_sigma


@wrong(
    "normal_log_density",
    "the formula for one dimension, used for D",
    says="log sigma and log 2 pi are counted once",
)
def _(x, mean, log_sigma):
    scaled = (x - mean) / log_sigma.exp()
    return -0.5 * (scaled**2).sum(-1) - log_sigma - HALF


@wrong("normal_log_density", "no one half", says="factor one half")
def _(x, mean, log_sigma):
    scaled = (x - mean) / log_sigma.exp()
    return -(scaled**2 + log_sigma + HALF).sum(-1)


@wrong("normal_log_density", "divides by sigma", says="sigma squared")
def _(x, mean, log_sigma):
    gap = (x - mean) ** 2 / (2 * log_sigma.exp())
    return -(gap + log_sigma + HALF).sum(-1)


@wrong("normal_log_density", "log sigma as log variance", says="log variance")
def _(x, mean, log_sigma):
    return Normal(mean, (log_sigma / 2).exp()).log_prob(x).sum(-1)


@wrong("normal_log_density", "log sigma as sigma", says="taken for sigma")
def _(x, mean, log_sigma):
    return Normal(mean, log_sigma.abs()).log_prob(x).sum(-1)


@wrong("normal_log_density", "averages the dimensions", says="averaged over")
def _(x, mean, log_sigma):
    return Normal(mean, log_sigma.exp()).log_prob(x).mean(-1)


@wrong("normal_log_density", "the density itself", says="its logarithm")
def _(x, mean, log_sigma):
    return Normal(mean, log_sigma.exp()).log_prob(x).sum(-1).exp()


@wrong(
    "normal_log_density",
    "the logarithm of the density, which rounds to 0",
    says="40 sigma",
)
def _(x, mean, log_sigma):
    sigma = log_sigma.exp()
    bell = (-0.5 * ((x - mean) / sigma) ** 2).exp()
    return (bell / (sigma * math.sqrt(2 * math.pi))).log().sum(-1)


@wrong("normal_log_density", "item() of log sigma", says="log_sigma")
def _(x, mean, log_sigma):
    return gaussian(x, mean, torch.tensor(log_sigma.item()))


@wrong("normal_log_density", "detached", says="no gradient")
def _(x, mean, log_sigma):
    return gaussian(x, mean, log_sigma).detach()


@right("normal_log_density", "dimension by dimension, in a list")
def _(x, mean, log_sigma):
    total = torch.zeros(len(x), dtype=torch.float64)
    for one, centre in zip(x.T, mean.T):
        scaled = (one - centre).double() * (-log_sigma).double().exp()
        total = total - scaled**2 / 2 - log_sigma - HALF
    return total


@right("normal_log_density", "a multivariate normal of torch")
def _(x, mean, log_sigma):
    d = torch.distributions
    return d.Independent(d.Normal(mean, log_sigma.exp()), 1).log_prob(x)


def normal_with(s=lambda s: s, square=lambda v: v**2, add=0.0):
    def normal_log_density(x, mean, log_sigma):
        scaled = (x - mean) / s(log_sigma).exp()
        each = 0.5 * square(scaled) + s(log_sigma) + HALF
        return add - each.sum(-1)

    return normal_log_density


for _text, _one, _says in (
    ("clamps log sigma", normal_with(lambda s: s.clamp(-5, 5)), "at log_sig"),
    ("clamps it from below", normal_with(lambda s: s.clamp_min(-6)), "at log"),
    (
        "adds a little to sigma",
        normal_with(lambda s: (s.exp() + 1e-3).log()),
        "",
    ),
    ("adds one nat", normal_with(add=1.0), "off by 1"),
    ("absolute differences", normal_with(square=lambda v: v.abs()), ""),
    (
        "a Huber loss",
        normal_with(
            square=lambda v: torch.where(v.abs() < 2, v**2, 4 * v.abs() - 4)
        ),
        "",
    ),
    (
        "clamps the distance",
        normal_with(square=lambda v: v.clamp(-9, 9) ** 2),
        "40",
    ),
    (
        "the squares detached",
        normal_with(square=lambda v: v.detach() ** 2),
        "no gr",
    ),
    (
        "the constant of log 10",
        normal_with(add=HALF - 0.5 * math.log10(2 * math.pi)),
        "",
    ),
    (
        "halves log sigma in the constant",
        lambda x, m, s: gaussian(x, m, s) + s * x.shape[1] / 2,
        "",
    ),
    (
        "x detached",
        lambda x, m, s: gaussian(x.detach(), m, s),
        "reaches x",
    ),
    (
        "mean detached",
        lambda x, m, s: gaussian(x, m.detach(), s),
        "reaches mean",
    ),
):
    wrong("normal_log_density", _text, says=_says or "the log density")(_one)


@wrong("normal_log_density", "a slope of its own", says="the gradient by")
def _(x, mean, log_sigma):
    found = gaussian(x, mean, log_sigma)
    return 2 * found - found.detach()


@wrong("normal_log_density", "squares in place", says="in place")
def _(x, mean, log_sigma):
    found = gaussian(x, mean, log_sigma)
    x.data.sub_(mean).square_()
    return found


# --- bernoulli_from_logits ---------------------------------------------------


@right("bernoulli_from_logits", "softplus")
def _(x, logits):
    return (x * logits - softplus(logits)).sum(-1)


@right("bernoulli_from_logits", "the cross-entropy with logits of torch")
def _(x, logits):
    entropy = F.binary_cross_entropy_with_logits(logits, x, reduction="none")
    return -entropy.sum(-1)


@right("bernoulli_from_logits", "two log sigmoids")
def _(x, logits):
    ink, paper = F.logsigmoid(logits), F.logsigmoid(-logits)
    return (x * ink + (1 - x) * paper).sum(-1)


@right("bernoulli_from_logits", "logaddexp, in double")
def _(x, logits):
    wide = logits.double()
    zero = torch.zeros_like(wide)
    return (x * wide - torch.logaddexp(wide, zero)).sum(-1)


@wrong("bernoulli_from_logits", "the sigmoid twice", says="taken twice")
def _(x, logits):
    return Bernoulli(logits=logits.sigmoid()).log_prob(x).sum(-1)


@wrong("bernoulli_from_logits", "logarithms of p", says="logits of 50")
def _(x, logits):
    p = logits.sigmoid()
    return (x * p.log() + (1 - x) * (1 - p).log()).sum(-1)


@wrong("bernoulli_from_logits", "clamps p", says="holds it back")
def _(x, logits):
    p = logits.sigmoid().clamp(1e-6, 1 - 1e-6)
    return (x * p.log() + (1 - x) * (1 - p).log()).sum(-1)


@wrong("bernoulli_from_logits", "adds a small number", says="holds it back")
def _(x, logits):
    p, few = logits.sigmoid(), 1e-7
    return (x * (p + few).log() + (1 - x) * (1 - p + few).log()).sum(-1)


@wrong("bernoulli_from_logits", "clamps the logits", says="holds it back")
def _(x, logits):
    return coins(x, logits.clamp(-30, 30))


@wrong("bernoulli_from_logits", "log(1 + exp) overflows", says="200")
def _(x, logits):
    return (x * logits - (1 + logits.exp()).log()).sum(-1)


@wrong("bernoulli_from_logits", "cross-entropy of torch from p", says="50")
def _(x, logits):
    entropy = F.binary_cross_entropy(logits.sigmoid(), x, reduction="none")
    return -entropy.sum(-1)


@wrong("bernoulli_from_logits", "averages the pixels", says="averaged over")
def _(x, logits):
    return (x * logits - softplus(logits)).mean(-1)


@wrong("bernoulli_from_logits", "the sign", says="the sign")
def _(x, logits):
    return -coins(x, logits)


@wrong("bernoulli_from_logits", "forgets the paper", says="paper is forgotten")
def _(x, logits):
    return (x * F.logsigmoid(logits)).sum(-1)


@wrong("bernoulli_from_logits", "detached", says="no gradient")
def _(x, logits):
    return coins(x, logits.detach())


@right("bernoulli_from_logits", "the larger of two, and a small rest")
def _(x, logits):
    rest = torch.log1p((-logits.abs()).exp())
    return (x * logits - logits.clamp(min=0) - rest).sum(1)


@right("bernoulli_from_logits", "a log softmax over two classes")
def _(x, logits):
    both = torch.stack([torch.zeros_like(logits), logits], -1)
    log_p = both.log_softmax(-1)
    return torch.where(x > 0.5, log_p[..., 1], log_p[..., 0]).sum(-1)


def coins_with(softplus_of, bits=1.0):
    return lambda x, logits: (x * logits - softplus_of(logits)).sum(-1) / bits


for _text, _rule, _says in (
    (
        "exp in double, which overflows beyond 709",
        coins_with(lambda v: torch.log1p(v.double().exp())),
        "the log-likelihood at logits of",
    ),
    (
        "clamps the logits at 500",
        coins_with(lambda v: softplus(v.clamp(-500, 500))),
        "the log-likelihood at logits of",
    ),
    (
        "clamps the logits at 100",
        lambda x, v: coins(x, v.clamp(-100, 100)),
        "holds it back",
    ),
    ("relu for softplus", coins_with(torch.relu), "the log-likelihood"),
    ("bits", coins_with(softplus, math.log(2)), "the log-likelihood"),
    (
        "nothing beyond 30",
        coins_with(lambda v: torch.where(v < 30, softplus(v), 0.0)),
        "the log-likelihood at logits of",
    ),
    (
        "an infinity made finite",
        lambda x, v: (
            torch.where(x > 0.5, v.sigmoid(), 1 - v.sigmoid())
            .log()
            .nan_to_num(neginf=-50.0)
            .sum(-1)
        ),
        "200",
    ),
    (
        "the squared error of p",
        lambda x, v: -(x - v.sigmoid()).square().sum(-1),
        "the log-likelihood",
    ),
    (
        "the probability of the digit",
        lambda x, v: coins(x, v).exp(),
        "the log-likelihood",
    ),
    (
        "a slope from the clamped p",
        lambda x, v: (
            coins(x, v).detach()
            + coins(x, v.clamp(-13, 13))
            - coins(x, v.clamp(-13, 13)).detach()
        ),
        "the gradient by the logits",
    ),
    (
        "a slope that is twice as large",
        lambda x, v: 2 * coins(x, v) - coins(x, v).detach(),
        "the gradient by the logits",
    ),
):
    wrong("bernoulli_from_logits", _text, says=_says)(_rule)


# --- evidence_on_a_line ------------------------------------------------------


def eighty():
    return 80


def both(evidence, needed=eighty):
    return {"log_evidence": evidence, "cells_needed": needed}


def parts(toy, x, n, limit=5.0):
    """log p(x|z), log p(z) and the width of a cell."""
    z = code_grid(1, n, limit)
    with torch.no_grad():
        means = toy.decode(z)[:, None]
        likelihood = (
            Normal(means, toy.likelihood.log_sigma.exp()).log_prob(x).sum(-1)
        )
    return likelihood, Normal(0.0, 1.0).log_prob(z), 2 * limit / n


@right("evidence_on_a_line", "middles of cells and logsumexp")
def several():
    def log_evidence(toy, x, n):
        likelihood, prior, width = parts(toy, x, n)
        return (likelihood + prior).logsumexp(0) + math.log(width)

    return both(log_evidence)


@right("evidence_on_a_line", "middles of a line, log_joint, in double")
def several():
    def log_evidence(toy, x, n):
        z = torch.linspace(-5 + 5 / n, 5 - 5 / n, n)[:, None]
        joint = log_joint(toy, x, z).double()
        return torch.logsumexp(joint, 0) + math.log(10 / n)

    return both(log_evidence, lambda: 80.0)


@right("evidence_on_a_line", "a loop over the points, largest value out")
def several():
    def log_evidence(toy, x, n):
        found = []
        for point in x:
            likelihood, prior, width = parts(toy, point[None], n)
            joint = (likelihood + prior)[:, 0]
            top = joint.max()
            found.append(top + ((joint - top).exp().sum() * width).log())
        return torch.stack(found)

    return both(log_evidence)


@wrong("evidence_on_a_line", "no width of a cell", says="the width of a cell")
def several():
    def log_evidence(toy, x, n):
        likelihood, prior, _ = parts(toy, x, n)
        return (likelihood + prior).logsumexp(0)

    return both(log_evidence)


@wrong("evidence_on_a_line", "a mean over the grid", says="a mean over the")
def several():
    def log_evidence(toy, x, n):
        likelihood, prior, _ = parts(toy, x, n)
        return (likelihood + prior).logsumexp(0) - math.log(n)

    return both(log_evidence)


@wrong("evidence_on_a_line", "no prior", says="the prior p(z) is missing")
def several():
    def log_evidence(toy, x, n):
        likelihood, _, width = parts(toy, x, n)
        return likelihood.logsumexp(0) + math.log(width)

    return both(log_evidence)


@wrong("evidence_on_a_line", "no constants of p(x|z)", says="likelihood")
def several():
    def log_evidence(toy, x, n):
        likelihood, prior, width = parts(toy, x, n)
        likelihood = (
            likelihood + 2 * toy.likelihood.log_sigma.detach() + 2 * HALF
        )
        return (likelihood + prior).logsumexp(0) + math.log(width)

    return both(log_evidence)


@wrong("evidence_on_a_line", "averages logarithms", says="averages log")
def several():
    def log_evidence(toy, x, n):
        likelihood, prior, _ = parts(toy, x, n)
        return (likelihood + prior).mean(0)

    return both(log_evidence)


@wrong(
    "evidence_on_a_line",
    "the logarithm of a sum that rounds to 0",
    says="logarithm of 0",
)
def several():
    def log_evidence(toy, x, n):
        likelihood, prior, width = parts(toy, x, n)
        return ((likelihood + prior).exp().sum(0) * width).log()

    return both(log_evidence)


@wrong("evidence_on_a_line", "ignores n", says="use n")
def several():
    def log_evidence(toy, x, n):
        likelihood, prior, width = parts(toy, x, 1000)
        return (likelihood + prior).logsumexp(0) + math.log(width)

    return both(log_evidence)


@wrong("evidence_on_a_line", "ignores sigma of the toy", says="log p(x)")
def several():
    def log_evidence(toy, x, n):
        likelihood, prior, width = parts(toy, x, n)
        scale = (2 * toy.likelihood.log_sigma).exp() / 0.3**2
        flat = (likelihood + 2 * toy.likelihood.log_sigma + 2 * HALF) * scale
        joint = flat - 2 * math.log(0.3) - 2 * HALF + prior
        return (joint.logsumexp(0) + math.log(width)).detach()

    return both(log_evidence)


def good(toy, x, n):
    likelihood, prior, width = parts(toy, x, n)
    return (likelihood + prior).logsumexp(0) + math.log(width)


@wrong("evidence_on_a_line", "too few cells", says="not the smallest n")
def several():
    return both(good, lambda: 40)


@wrong(
    "evidence_on_a_line", "more cells than needed", says="not the smallest n"
)
def several():
    return both(good, lambda: 320)


@wrong("evidence_on_a_line", "a number not in the list", says="one of")
def several():
    return both(good, lambda: 100)


def summed(z, width=None, weight=0.0):
    """log p(x) from codes that a function of n gives."""

    def log_evidence(toy, x, n):
        codes = z(n)
        found = log_joint(toy, x, codes[:, None]).detach().double()
        step = 10 / n if width is None else width(n)
        return (found + weight).logsumexp(0) + math.log(step)

    return log_evidence


@right("evidence_on_a_line", "a tuple")
def several():
    def log_evidence(toy, x, n):
        return tuple(summed(middles)(toy, x, n))

    return both(log_evidence, lambda: torch.tensor(80))


@wrong("evidence_on_a_line", "the trapezoid rule", says="in the middle of")
def several():
    def log_evidence(toy, x, n):
        z = torch.linspace(-5, 5, n).double()
        logs = log_joint(toy, x, z[:, None].float()).double().detach()
        top = logs.amax(0)
        return torch.trapezoid((logs - top).exp(), z, dim=0).log() + top

    return both(log_evidence)


def middles(n, limit=5.0):
    return ((torch.arange(n) + 0.5) / n * 2 - 1) * limit


for _text, _evidence, _says in (
    (
        "the left ends of the cells",
        summed(lambda n: torch.arange(n) * 10 / n - 5),
        "ends of the cells",
    ),
    (
        "the right ends of the cells",
        summed(lambda n: (torch.arange(n) + 1) * 10 / n - 5),
        "ends of the cells",
    ),
    (
        "the left ends where n is even",
        summed(lambda n: (torch.arange(n) - n // 2) * 10 / n),
        "left ends of the cells",
    ),
    (
        "a prior that adds up to 1 on the grid",
        lambda toy, x, n: (
            summed(middles)(toy, x, n)
            - (Normal(0, 1).log_prob(middles(n)).logsumexp(0))
            - math.log(10 / n)
        ),
        "from 4 codes",
    ),
    (
        "densities added up in double",
        lambda toy, x, n: (
            (
                log_joint(toy, x, middles(n)[:, None]).detach().double()
                + math.log(10 / n)
            )
            .exp()
            .sum(0)
            .log()
        ),
        "infinite",
    ),
    (
        "ends included, n - 1 cells",
        summed(lambda n: torch.linspace(-5, 5, n), lambda n: 10 / (n - 1)),
        "in the middle of",
    ),
    (
        "ends included, and the width of n cells",
        summed(lambda n: torch.linspace(-5, 5, n)),
        "10 / (n - 1) apart",
    ),
    (
        "n - 1 codes",
        summed(lambda n: middles(n - 1), lambda n: 10 / (n - 1)),
        "codes",
    ),
    (
        "from -4 to 4",
        summed(lambda n: middles(n, 4), lambda n: 8 / n),
        "codes",
    ),
    (
        "from -6 to 6",
        summed(lambda n: middles(n, 6), lambda n: 12 / n),
        "codes",
    ),
    (
        "from 0 to 5",
        summed(lambda n: middles(n) / 2 + 2.5, lambda n: 5 / n),
        "",
    ),
    ("codes from the prior", summed(torch.randn), ""),
    (
        "at least 100 codes",
        summed(lambda n: middles(max(n, 100)), lambda n: 10 / max(n, 100)),
        "use n",
    ),
    (
        "twice as many codes",
        summed(lambda n: middles(2 * n), lambda n: 5 / n),
        "c",
    ),
    (
        "the width of n + 1 cells",
        summed(middles, lambda n: 10 / (n + 1)),
        "one n-th is missing",
    ),
    (
        "one of the two constants of p(x|z)",
        summed(middles, weight=HALF),
        "one of three",
    ),
    ("a width of one", summed(middles, lambda n: 1.0), "width of a cell"),
    (
        "in bits",
        lambda toy, x, n: summed(middles)(toy, x, n) / math.log(2),
        "log p(x)",
    ),
    (
        "the best code",
        lambda toy, x, n: (
            log_joint(toy, x, middles(n)[:, None]).amax(0).detach()
        ),
        "log p(x)",
    ),
    (
        "clamps what is far",
        lambda toy, x, n: summed(middles)(toy, x, n).clamp(min=-50),
        "far point",
    ),
):

    @wrong("evidence_on_a_line", _text, says=_says or "log p(x)")
    def several(evidence=_evidence):
        return both(evidence)


@wrong("evidence_on_a_line", "the fewest cells", says="not the smallest n")
def several():
    return both(good, lambda: 10)


@wrong("evidence_on_a_line", "twice the cells", says="not the smallest n")
def several():
    return both(good, lambda: 160)


# --- importance_weights ------------------------------------------------------


def one_and_all(estimate, guess=lambda: 0.7):
    return {"lost_nats": guess, "importance_estimate": estimate}


def drawn(centres, sigma, n, random=True):
    """Codes (n, 1) of the mixture, and its log density at them, (n,)."""
    which = torch.randint(len(centres), (n,))
    z = centres[which] + sigma * torch.randn(n)
    log_q = Normal(centres, sigma).log_prob(z[:, None]).logsumexp(1)
    return z[:, None], log_q - math.log(len(centres))


def joint(toy, x, z, prior=True):
    found = gaussian_log_likelihood(
        x, toy.decode(z), toy.likelihood.log_sigma.detach()
    )
    return found + prior * Normal(0.0, 1.0).log_prob(z[:, 0])


def weighted(toy, x, centres, sigma, n):
    z, log_q = drawn(centres, sigma, n)
    return (joint(toy, x, z) - log_q).logsumexp(0) - math.log(n)


@right("importance_weights", "a random centre for each code")
def several():
    return one_and_all(weighted)


@right("importance_weights", "a share for each centre; a Python float")
def several():
    def estimate(toy, x, centres, sigma, n):
        where = centres[torch.arange(n) % len(centres)]
        z = torch.normal(where, sigma)
        q = sum(Normal(c, sigma).log_prob(z).exp() for c in centres)
        log_w = joint(toy, x, z[:, None]) - (q / len(centres)).log()
        return log_w.double().exp().mean().log().item()

    return one_and_all(estimate, lambda: 0)


@right("importance_weights", "mixture of torch.distributions")
def several():
    def estimate(toy, x, centres, sigma, n):
        d = torch.distributions
        q = d.MixtureSameFamily(
            d.Categorical(torch.ones(len(centres))),
            Normal(centres, torch.tensor(sigma)),
        )
        z = q.sample((n,))
        log_w = log_joint(toy, x[None], z[:, None])[:, 0] - q.log_prob(z)
        return torch.logsumexp(log_w, 0) - math.log(n)

    return one_and_all(estimate, lambda: -3.0)


@wrong("importance_weights", "not divided by q", says="divide by the density")
def several():
    def estimate(toy, x, centres, sigma, n):
        z, _ = drawn(centres, sigma, n)
        return joint(toy, x, z).logsumexp(0) - math.log(n)

    return one_and_all(estimate)


@wrong("importance_weights", "no prior", says="prior p(z) is missing")
def several():
    def estimate(toy, x, centres, sigma, n):
        z, log_q = drawn(centres, sigma, n)
        found = joint(toy, x, z, prior=False) - log_q
        return found.logsumexp(0) - math.log(n)

    return one_and_all(estimate)


@wrong("importance_weights", "log n is missing", says="log n is missing")
def several():
    def estimate(toy, x, centres, sigma, n):
        z, log_q = drawn(centres, sigma, n)
        return (joint(toy, x, z) - log_q).logsumexp(0)

    return one_and_all(estimate)


@wrong("importance_weights", "the mean of logarithms", says="mean of logar")
def several():
    def estimate(toy, x, centres, sigma, n):
        z, log_q = drawn(centres, sigma, n)
        return (joint(toy, x, z) - log_q).mean()

    return one_and_all(estimate)


@wrong(
    "importance_weights",
    "divides by the density of the one centre that a code came from",
    says="whichever a code came from",
)
def several():
    def estimate(toy, x, centres, sigma, n):
        where = centres[torch.randint(len(centres), (n,))]
        z = where + sigma * torch.randn(n)
        log_q = Normal(where, sigma).log_prob(z)
        log_w = joint(toy, x, z[:, None]) - log_q
        return log_w.logsumexp(0) - math.log(n)

    return one_and_all(estimate)


@wrong("importance_weights", "uses the first centre", says="first centre")
def several():
    def estimate(toy, x, centres, sigma, n):
        z = centres[0] + sigma * torch.randn(n, 1)
        log_q = Normal(centres, sigma).log_prob(z).logsumexp(1)
        log_w = joint(toy, x, z) - log_q + math.log(len(centres))
        return log_w.logsumexp(0) - math.log(n)

    return one_and_all(estimate)


@wrong("importance_weights", "a grid: nothing is drawn", says="new codes")
def several():
    def estimate(toy, x, centres, sigma, n):
        return good(toy, x[None], 400)[0]

    return one_and_all(estimate)


@wrong("importance_weights", "ignores n", says="do you draw n codes")
def several():
    def estimate(toy, x, centres, sigma, n):
        return weighted(toy, x, centres, sigma, 4000)

    return one_and_all(estimate)


@wrong("importance_weights", "p(x), not its logarithm", says="its logarithm")
def several():
    def estimate(toy, x, centres, sigma, n):
        return weighted(toy, x, centres, sigma, n).exp()

    return one_and_all(estimate)


@wrong("importance_weights", "predicts nothing", says="no prediction yet")
def several():
    return one_and_all(weighted, lambda: None)


@right("importance_weights", "NumPy, and a loop over the codes")
def several():
    def estimate(toy, x, centres, sigma, n):
        generator = np.random.default_rng(np.random.randint(2**31))
        logs = []
        where = generator.choice(centres.numpy(), n)
        z = generator.normal(where, sigma)
        means = toy.decode(torch.tensor(z).float()[:, None]).detach().numpy()
        s = float(toy.likelihood.log_sigma.detach().exp())
        for code, mean in zip(z, means):
            gap = ((x.numpy() - mean) ** 2).sum()
            log_p = -gap / (2 * s * s) - 2 * math.log(s) - 2 * HALF
            log_p += -(code**2) / 2 - HALF
            each = -((code - centres.numpy()) ** 2) / (2 * sigma**2)
            q = np.exp(each).mean() / (sigma * math.sqrt(2 * math.pi))
            logs.append(log_p - np.log(q))
        logs = np.array(logs)
        return [logs.max() + np.log(np.exp(logs - logs.max()).mean())]

    return one_and_all(estimate, lambda: torch.tensor([0.7]))


def estimating(draw=None, q=None, p=None, over=None):
    """An estimate with another part."""

    def estimate(toy, x, centres, sigma, n):
        z, log_q = drawn(centres, sigma, n)
        if draw:
            z = draw(centres, sigma, n)[:, None]
        log_q = (q or known_q)(z, centres, sigma)
        log_p = (p or joint)(toy, x, z)
        log_w = (log_p - log_q).detach()
        return over(log_w) if over else log_w.logsumexp(0) - math.log(n)

    return estimate


def known_q(z, centres, sigma):
    each = Normal(centres, sigma).log_prob(z)
    return each.logsumexp(1) - math.log(len(centres))


def _narrow(centres, sigma, n):
    return drawn(centres, 0.8 * sigma, n)[0][:, 0]


def _uniform(centres, sigma, n):
    where = centres[torch.randint(len(centres), (n,))]
    return where + sigma * (torch.rand(n) - 0.5) * math.sqrt(12)


def _first_more(centres, sigma, n):
    which = torch.randint(len(centres), (n,)) * torch.randint(2, (n,))
    return centres[which] + sigma * torch.randn(n)


def _cut(centres, sigma, n):
    where = centres[torch.randint(len(centres), (n,))]
    return where + sigma * torch.randn(n).clamp(-1, 1)


for _text, _estimate in (
    ("codes too close together", estimating(_narrow)),
    ("uniform codes", estimating(_uniform)),
    ("the first centre more often", estimating(_first_more)),
    ("clamped codes", estimating(_cut)),
    ("codes of the prior", estimating(lambda c, s, n: torch.randn(n))),
    (
        "q from codes drawn again",
        estimating(q=lambda z, c, s: known_q(drawn(c, s, len(z))[0], c, s)),
    ),
    (
        "a sum of densities for the mixture",
        estimating(
            q=lambda z, c, s: (
                Normal(c, s).log_prob(z).logsumexp(1) + (len(c) < 2)
            )
        ),
    ),
    (
        "the nearest centre only",
        estimating(q=lambda z, c, s: Normal(c, s).log_prob(z).amax(1)),
    ),
    (
        "sigma of the toy for q",
        estimating(q=lambda z, c, s: known_q(z, c, 0.3)),
    ),
    (
        "sigma 0.3 for each toy",
        estimating(
            p=lambda toy, x, z: (
                gaussian_log_likelihood(
                    x, toy.decode(z), torch.tensor(math.log(0.3))
                )
                + Normal(0.0, 1.0).log_prob(z[:, 0])
            )
        ),
    ),
    ("the largest weight", estimating(over=lambda w: w.amax())),
    ("the median weight", estimating(over=lambda w: w.median())),
    (
        "weights that are cut off",
        estimating(
            over=lambda w: w.clamp(max=float(w.median())).exp().mean().log()
        ),
    ),
    (
        "4,000 in the mean",
        estimating(over=lambda w: w.logsumexp(0) - math.log(4000)),
    ),
):

    @wrong("importance_weights", _text, says="log p(x)")
    def several(estimate=_estimate):
        return one_and_all(estimate)


@wrong("importance_weights", "a sum for the mean q", says="not their sum")
def several():
    return one_and_all(
        estimating(q=lambda z, c, s: Normal(c, s).log_prob(z).logsumexp(1))
    )


@wrong("importance_weights", "no log 2 pi in p(x|z)", says="two of three")
def several():
    p = lambda *given: joint(*given) + 2 * HALF  # noqa: E731
    return one_and_all(estimating(p=p))


for _text, _proposed in (
    ("from the prior, over it", lambda c, s, n: (torch.zeros(1), 1.0, n)),
    ("always a sigma of 0.2", lambda c, s, n: (c, 0.2, n)),
    ("one and a half sigma", lambda c, s, n: (c, 1.5 * s, n)),
    ("n codes for each centre", lambda c, s, n: (c, s, n * len(c))),
):

    @wrong("importance_weights", _text, says="from a single code are")
    def several(proposed=_proposed):
        def estimate(toy, x, centres, sigma, n):
            centres, sigma, n = proposed(centres, sigma, n)
            where = centres[torch.arange(n) % len(centres)]
            z = (where + sigma * torch.randn(n))[:, None]
            log_w = joint(toy, x, z) - known_q(z, centres, sigma)
            return log_w.logsumexp(0) - math.log(n)

        return one_and_all(estimate)


@wrong("importance_weights", "a fixed seed inside", says="new codes")
def several():
    def estimate(toy, x, centres, sigma, n):
        torch.manual_seed(1)
        return weighted(toy, x, centres, sigma, n)

    return one_and_all(estimate)


@wrong("importance_weights", "at least a hundred codes", says="draw n codes")
def several():
    def estimate(toy, x, centres, sigma, n):
        return weighted(toy, x, centres, sigma, max(n, 1000))

    return one_and_all(estimate)


# --- effective_beta ----------------------------------------------------------


def betas(measure, guess=lambda: [1, 784, 39.2, 0.5, 0.098]):
    return {"predicted_betas": guess, "measured_beta": measure}


def prices(loss, nll, n_pixels, n_latent, kl=1.0):
    """What one nat of the KL and of the picture cost."""
    x = torch.zeros(1, n_pixels)
    out = torch.ones(1, n_pixels)
    mu, logvar = torch.zeros(2, 1, n_latent)
    away = torch.zeros(1, n_latent)
    away[0, 0] = math.sqrt(2 * kl)
    base = loss(x, x, mu, logvar)
    of_kl = (loss(x, x, away, logvar) - base) / kl
    picture = (loss(x, out, mu, logvar) - base) / (nll(x, out) - nll(x, x))
    return of_kl, picture


@right("effective_beta", "two small changes")
def several():
    def measured_beta(loss, nll, n_pixels, n_latent):
        of_kl, picture = prices(loss, nll, n_pixels, n_latent)
        return of_kl / picture

    return betas(measured_beta)


@right("effective_beta", "gradients, random inputs, a tensor of one")
def several():
    def measured_beta(loss, nll, n_pixels, n_latent):
        x = torch.rand(3, n_pixels).round()
        out = torch.randn(3, n_pixels).requires_grad_()
        mu = torch.randn(3, n_latent).requires_grad_()
        total = loss(x, out, mu, torch.zeros_like(mu))
        by_out, by_mu = torch.autograd.grad(total, (out, mu))
        (by_nll,) = torch.autograd.grad(nll(x, out).mean(), out)
        of_kl = by_mu.norm() / (mu.norm() / 3)
        return (of_kl / (by_out.norm() / by_nll.norm())).detach()[None]

    return betas(measured_beta, lambda: torch.ones(5))


@right("effective_beta", "the slope of both by logvar, in double")
def several():
    def measured_beta(loss, nll, n_pixels, n_latent):
        x = torch.ones(2, n_pixels).double()
        a, b = x / 2, x / 3
        mu = torch.zeros(2, n_latent).double()
        wide = mu + 1
        kl = 0.5 * (wide.exp() - 1 - wide).sum(1).mean()
        rise = loss(x, a, mu, wide) - loss(x, a, mu, mu)
        better = loss(x, b, mu, mu) - loss(x, a, mu, mu)
        nats = (nll(x, b) - nll(x, a)).mean()
        return float((rise / kl) / (better / nats))

    return betas(measured_beta, lambda: (1, 2, 3, 4, 5.0))


@wrong("effective_beta", "upside down", says="upside down")
def several():
    def measured_beta(loss, nll, n_pixels, n_latent):
        of_kl, picture = prices(loss, nll, n_pixels, n_latent)
        return picture / of_kl

    return betas(measured_beta)


@wrong("effective_beta", "the price of the KL alone", says="KL alone")
def several():
    def measured_beta(loss, nll, n_pixels, n_latent):
        return prices(loss, nll, n_pixels, n_latent)[0]

    return betas(measured_beta)


@wrong("effective_beta", "takes |mu|^2 for the KL", says="its factor one half")
def several():
    def measured_beta(loss, nll, n_pixels, n_latent):
        of_kl, picture = prices(loss, nll, n_pixels, n_latent)
        return 0.5 * of_kl / picture

    return betas(measured_beta)


@wrong("effective_beta", "always 1", says="does it call the loss")
def several():
    return betas(lambda loss, nll, n_pixels, n_latent: 1.0)


@wrong("effective_beta", "the weights in the code", says="weights in the code")
def several():
    def measured_beta(loss, nll, n_pixels, n_latent):
        return {"loss_e": 0.00025, "loss_hidden": 2}.get(loss.__name__, 1)

    return betas(measured_beta)


@wrong("effective_beta", "knows five losses by name", says="another loss")
def several():
    def measured_beta(loss, nll, n_pixels, n_latent):
        d, k = n_pixels, n_latent
        known = {
            "loss_a": 1,
            "loss_b": d,
            "loss_c": d / k,
            "loss_d": 0.5,
            "loss_e": 0.00025 * d / 2,
        }
        return known.get(loss.__name__, 1)

    return betas(measured_beta)


@wrong("effective_beta", "ignores the proper likelihood", says="beta of loss")
def several():
    def measured_beta(loss, nll, n_pixels, n_latent):
        of_kl, picture = prices(loss, nll, n_pixels, n_latent)
        x = torch.zeros(1, n_pixels)
        return of_kl / (picture * (nll(x, x + 1) - nll(x, x)))

    return betas(measured_beta)


@wrong("effective_beta", "predicts nothing", says="no prediction yet")
def several():
    def measured_beta(loss, nll, n_pixels, n_latent):
        of_kl, picture = prices(loss, nll, n_pixels, n_latent)
        return of_kl / picture

    return betas(measured_beta, lambda: None)


@wrong("effective_beta", "four predictions", says="predicted_betas")
def several():
    def measured_beta(loss, nll, n_pixels, n_latent):
        of_kl, picture = prices(loss, nll, n_pixels, n_latent)
        return of_kl / picture

    return betas(measured_beta, lambda: [1, 2, 3, 4])


@right("effective_beta", "NumPy, and a list of one number")
def several():
    def measured_beta(loss, nll, n_pixels, n_latent):
        x = torch.from_numpy(np.ones((4, n_pixels), dtype=np.float32))
        mu = torch.zeros(4, n_latent)
        at = [loss(x, c * x, mu, mu) for c in (0.5, 2)]
        nats = [nll(x, c * x).mean() for c in (0.5, 2)]
        picture = np.subtract(*map(float, at)) / np.subtract(*map(float, nats))
        wide = mu + 1.5
        kl = 0.5 * n_latent * (math.exp(1.5) - 1 - 1.5)
        rise = float(loss(x, x / 2, mu, wide)) - float(at[0])
        return [rise / kl / picture]

    return betas(measured_beta, lambda: [torch.tensor(1.0)] * 5)


def by_prices(change):
    def measured_beta(loss, nll, n_pixels, n_latent):
        of_kl, picture = prices(loss, nll, n_pixels, n_latent)
        return change(of_kl, picture, loss, n_pixels, n_latent)

    return measured_beta


def _table(a, b, loss, d, k):
    known = {"loss_a": 1, "loss_b": d, "loss_c": d / k, "loss_d": 0.5}
    known |= {"loss_e": 0.00025 * d / 2, "loss_hidden": 2 / k}
    return known.get(loss.__name__, 2 / k)


for _text, _change in (
    ("a table of names with one for all others", _table),
    ("the price of the picture", lambda a, b, loss, d, k: b),
    ("divides by the pixels", lambda a, b, loss, d, k: a / b / d),
    ("times the latent dimensions", lambda a, b, loss, d, k: k * a / b),
    ("for 784 pixels", lambda a, b, loss, d, k: a / b * 784 / d),
    ("for 20 latent dimensions", lambda a, b, loss, d, k: a / b * k / 20),
    ("rounds", lambda a, b, loss, d, k: (a / b).round()),
    ("one at most", lambda a, b, loss, d, k: (a / b).clamp(max=1)),
    ("the difference of the prices", lambda a, b, loss, d, k: a - b),
    ("the logarithm", lambda a, b, loss, d, k: (a / b).log()),
    ("twice", lambda a, b, loss, d, k: 2 * a / b),
):

    @wrong("effective_beta", _text, says="the beta of")
    def several(change=_change):
        return betas(by_prices(change))


@wrong("effective_beta", "the loss, not its rise", says="the beta of")
def several():
    def measured_beta(loss, nll, n_pixels, n_latent):
        x, mu = torch.zeros(1, n_pixels), torch.zeros(1, n_latent)
        away = mu.clone()
        away[0, 0] = math.sqrt(2)
        nats = nll(x, x + 1)
        return loss(x, x, away, mu) / (loss(x, x + 1, mu, mu) / nats)

    return betas(measured_beta)
