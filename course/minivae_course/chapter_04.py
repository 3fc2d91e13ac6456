"""Checks for chapter 4: the ELBO and the reparameterisation trick."""

import math

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Normal, kl_divergence

from minivae import VAE
from minivae.notebook import brief
from minivae_course.check import (
    Draws,
    Student,
    WrongError,
    check,
    equal,
    function,
    number,
    parts,
    require,
    standard_normal,
    tensor,
)

STANDARD = Normal(0.0, 1.0)


@check()
def gaussian_kl(draws: Draws, gaussian_kl: Student) -> None:
    """The KL of N(mu, exp(logvar)) from N(0, I), one value for each digit.

    Held against torch.distributions, and its gradient too.
    """
    kl = function("gaussian_kl", gaussian_kl)
    for shape in ((5, draws.whole(10, 30)), (1, 1), (draws.whole(4, 9), 3)):
        mu, logvar = draws.normal(*shape), draws.normal(*shape)
        q = Normal(mu, (logvar / 2).exp())
        each = kl_divergence(q, STANDARD)
        right = each.sum(-1)
        as_sigma = kl_divergence(Normal(mu, logvar.exp()), STANDARD)
        twice = (2 * logvar).exp() - logvar.exp()
        root = (logvar / 2).exp() - logvar.exp()
        mistakes = {
            "did you average over the latent dimensions? Sum them": each.mean(
                -1
            ),
            "the factor one half is missing": 2 * right,
            "logvar was taken for log sigma": as_sigma.sum(-1),
            "the sign: a KL is never negative": -right,
            "you summed over the batch as well": right.sum(),
            "you averaged over the batch as well": right.mean(),
            "mu does not enter": (each - mu.square() / 2).sum(-1),
            "mu is not squared": (each + (mu - mu.square()) / 2).sum(-1),
            "the term -1 is missing": (each + 0.5).sum(-1),
            "the term -1 must be there for each dimension, not once": (
                right + (shape[1] - 1) / 2
            ),
            "logvar.exp() is the variance already: do not square it": (
                each + twice / 2
            ).sum(-1),
            "sigma stands where sigma squared belongs": (each + root / 2).sum(
                -1
            ),
            "the sign of the term logvar": (each + logvar).sum(-1),
            "the logarithm is that of the variance, logvar itself, not of "
            "sigma": (each + logvar / 4).sum(-1),
            "this is the KL from the prior to q; the arguments are swapped": (
                kl_divergence(STANDARD, q).sum(-1)
            ),
        }
        equal("the KL", kl(mu, logvar), right, mistakes)
    # far from the prior, one dimension at a time
    far = draws.uniform(4, 1, low=12, high=30)
    for sign in (-1, 1):
        mu, logvar = 10 * draws.normal(4, 1), sign * far
        right = kl_divergence(Normal(mu, (logvar / 2).exp()), STANDARD)
        equal(
            f"the KL at log variances of {'-' * (sign < 0)}12 and beyond",
            kl(mu, logvar),
            right.sum(-1),
        )
    logvar = torch.cat([draws.normal(4, 3), far * torch.tensor([-1, 0.5])], 1)
    logvar = logvar.requires_grad_()
    mu = draws.normal(4, 5).requires_grad_()
    weights = draws.uniform(4, low=0.5, high=2)
    _, (of_mu, of_logvar) = kl.gradients(mu, logvar, weights=weights)
    require(of_mu is not None, "no gradient reaches mu: was it detached?")
    require(
        of_logvar is not None, "no gradient reaches logvar: was it detached?"
    )
    price = weights[:, None]
    equal("the gradient by mu", of_mu, price * mu)
    right = price * (logvar.exp() - 1) / 2
    # by columns, since the last one is huge
    for i in range(5):
        what = f"the gradient by logvar (column {i})"
        equal(what, tensor(what, of_logvar, (4, 5))[:, i], right[:, i])


@check()
def reparameterize(draws: Draws, reparameterize: Student) -> None:
    """Draws from N(mu, exp(logvar)) whose gradients reach both.

    Held against mean, spread and shape of many draws, also of a single digit
    and of extreme variances, and dz/dmu = 1, dz/dlogvar = (z - mu) / 2.
    """
    draw = function("reparameterize", reparameterize)
    mu = draws.uniform(1, 4, low=1, high=3)
    logvar = torch.tensor([[-1.5, -0.5, 0.5, 1.5]])
    logvar = logvar + draws.uniform(1, 4, low=-0.3, high=0.3)
    sigma = (logvar[0] / 2).exp()
    n = 20_000
    many = (mu.expand(n, 4).clone(), logvar.expand(n, 4).clone())
    z = tensor("z", draw(*many), (n, 4))
    require(
        float((z - z[:1]).abs().max()) > 0,
        "all rows get the same noise, or none: draw it with the shape of mu",
    )
    same = (z[: n // 2] == z[n // 2 :]).double().mean()
    require(same < 0.01, "some rows share their noise: draw all of it")
    require(
        not torch.equal(z, tensor("z", draw(*many))),
        "two calls draw the same noise: take out the fixed seed",
    )
    require(
        float(z.mean(0).abs().max()) > 0.2,
        "the mean of the draws is 0. mu is missing: z = mu + sigma * noise",
    )
    of_mean = {
        "the noise has a mean: randn has none, rand has": mu[0] + sigma / 2,
    }
    equal(f"the mean of {n:,} draws", z.mean(0), mu[0], of_mean, 0.1)
    of_spread = {
        "logvar.exp() is the variance; sigma is exp(logvar / 2)": sigma**2,
        "the noise is not scaled by sigma": torch.ones(4),
        "sigma is exp(logvar / 2), not logvar / 2": logvar[0].abs() / 2,
        "sigma is exp(logvar / 2), not logvar": logvar[0].abs(),
        "sigma is exp(logvar / 2), not its inverse": 1 / sigma,
    }
    what = f"the standard deviation of {n:,} draws"
    equal(what, z.std(0), sigma, of_spread, 0.05)
    noise = (z - mu) / sigma
    standard_normal("the noise (z - mu) / sigma", noise)
    # a single digit is no special case, nor is a huge or a tiny variance
    far = draws.uniform(1, 2, low=26, high=30) * torch.tensor([[-1, 1]])
    for text, mean, spread, shape in (
        ("of a single digit", mu, logvar, (1, 4)),
        ("of two digits, their log variance beyond 26", 0 * far, far, (2, 2)),
    ):
        given = mean.expand(shape), spread.expand(shape)
        several = torch.stack(
            [tensor("z", draw(*given), shape) for _ in range(600)]
        )
        noise = (several - mean) / (spread.double() / 2).exp()
        # of one call in each row, which must not be centred on its mean
        standard_normal(f"the draws {text}", noise.flatten(1))
    one = torch.zeros(1, 1)
    tensor("z of one digit and one dimension", draw(one, one), (1, 1))
    mu = draws.normal(3, 4).requires_grad_()
    logvar = draws.normal(3, 4).requires_grad_()
    weights = draws.uniform(3, 4, low=0.5, high=2)
    value, (of_mu, of_logvar) = draw.gradients(mu, logvar, weights=weights)
    require(of_mu is not None, "no gradient reaches mu: was it detached?")
    require(
        of_logvar is not None,
        "no gradient reaches logvar: was sigma detached, or drawn with "
        "sample()?",
    )
    equal("the gradient by mu", of_mu, weights)
    right = (tensor("z", value) - mu.double()) / 2 * weights
    equal("the gradient by logvar", of_logvar, right)


def lively(
    draws: Draws, n_latent: int, shape: tuple[int, ...], beta: float
) -> VAE:
    """A small VAE, not in training, with mu, logvar, logits of size one."""
    model = draws.model(VAE, n_latent, hidden=(8,), shape=shape, beta=beta)
    with torch.no_grad():
        model.encoder[-1].bias += draws.normal(2 * n_latent)
        model.decoder[-1].bias += draws.normal(model.n_values)
    return model.eval()  # the noise is given, so it counts in either mode


@check()
def elbo(draws: Draws, elbo: Student) -> None:
    """The ELBO of binary digits, one value for each, for given noise.

    Held against Bernoulli and Normal of torch.distributions, for a network
    of zeros against -784 ln 2, and its gradients by all weights.
    """
    bound = function("elbo", elbo)
    for n, n_latent, shape in (
        (6, draws.whole(3, 8), (1, 5, 6)),
        (1, 1, (1, 2, 3)),
        (draws.whole(2, 6), 8, (1, 3, 4)),
    ):
        model = lively(draws, n_latent, shape, beta=3.0)
        x = draws.whole(0, 2, n, model.n_values).float()
        noise = draws.normal(n, n_latent)
        right, mistakes = _elbo_and_mistakes(model, x, noise)
        equal("the ELBO", bound(model, x, noise), right, mistakes)
    _slopes(bound, model, x, noise, draws.uniform(n, low=0.5, high=2))
    # a code that is known exactly, or not at all: no KL is held back
    for sign in (-1, 1):
        far = lively(draws, 2, (1, 2, 2), beta=1.0)
        with torch.no_grad():
            far.encoder[-1].bias[2:] = sign * draws.uniform(2, low=12, high=25)
            far.decoder[0].weight.zero_()  # the logits stay small
        x, noise = draws.whole(0, 2, 3, 4).float(), draws.normal(3, 2)
        right, _ = _elbo_and_mistakes(far, x, noise)
        what = f"the ELBO at log variances of {sign * 12} and beyond"
        equal(what, bound(far, x, noise), right)
    blank = VAE(4, hidden=(8,))
    with torch.no_grad():
        for weights in blank.parameters():
            weights.zero_()
    x, noise = draws.digits(2).images.flatten(1) / 255, draws.normal(2, 4)
    right = torch.full((2,), -784 * math.log(2))
    equal("the ELBO of a network of zeros", bound(blank, x, noise), right)
    with torch.no_grad():
        blank.decoder[-1].bias[:] = 60 * (1 - 2 * x[0])
    # each pixel that is not as the network believes costs 60 nats
    right = -60.0 * (x == x[0]).sum(-1)
    try:
        equal("the ELBO where logits are 60", bound(blank, x, noise), right)
    except WrongError as error:
        raise WrongError(
            f"{error}. Work from the logits as they are: a sigmoid of 60 is "
            "rounded to 1, and a clamp holds them back"
        ) from None


def _slopes(
    bound: Student, model: VAE, x: Tensor, noise: Tensor, weights: Tensor
) -> None:
    """Refuse gradients by any weight that are not those of the ELBO."""
    _, found = bound.gradients(model, x, noise, weights=weights)
    names, leaves = zip(*model.named_parameters())
    for name, one in zip(names, found):
        part, _ = name.split(".", 1)
        require(one is not None, f"no gradient reaches the {part} ({name})")
    right, known = _elbo_and_mistakes(model, x, noise)
    likelihood = known["the KL is missing"]
    mu, logvar = model.encode(x)
    z = (mu + (logvar / 2).exp() * noise).detach()
    fixed = Bernoulli(logits=model.decode(z).flatten(1)).log_prob(x).sum(-1)

    def slopes(value: Tensor) -> tuple[Tensor | None, ...]:
        return torch.autograd.grad(
            (value * weights).sum(),
            leaves,
            retain_graph=True,
            allow_unused=True,
        )

    kl = likelihood - right
    cut = {
        "no gradient passes through z: was it detached?": slopes(fixed - kl),
        "no gradient passes through the KL: was it detached?": slopes(
            likelihood
        ),
    }
    rows = zip(names, found, slopes(right), *cut.values())
    for name, mine, wanted, *others in rows:
        assert wanted is not None
        mistakes = {
            text: one for text, one in zip(cut, others) if one is not None
        }
        equal(f"the gradient by {name}", mine, wanted, mistakes, 1e-3)


def _elbo_and_mistakes(
    model: VAE, x: Tensor, noise: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """The ELBO by torch.distributions, and what typical mistakes give."""
    mu, logvar = model.encode(x)
    sigma = (logvar / 2).exp()

    def likelihood(z: Tensor) -> Tensor:
        p = Bernoulli(logits=model.decode(z).flatten(1))
        return p.log_prob(x).sum(-1)

    logits = model.decode(mu + sigma * noise).flatten(1)
    p = Bernoulli(logits=logits)
    rec = p.log_prob(x).sum(-1)
    kl = kl_divergence(Normal(mu, sigma), STANDARD).sum(-1)
    as_sigma = kl_divergence(Normal(mu, logvar.exp()), STANDARD).sum(-1)
    again = Bernoulli(logits=logits.sigmoid()).log_prob(x).sum(-1)
    right = rec - kl
    return right, {
        "the KL is added; the ELBO subtracts it": rec + kl,
        "this is minus the ELBO, a loss": -right,
        "the sign of the reconstruction: log p(x|z) is negative": -rec - kl,
        "the KL is missing": rec,
        "the likelihood is averaged over the pixels; sum it": (
            rec / x.shape[1] - kl
        ),
        "the KL is averaged over the latent dimensions; sum it": (
            rec - kl / mu.shape[1]
        ),
        "the noise is not used: z = mu gives no bound": likelihood(mu) - kl,
        "logvar.exp() is the variance; sigma is exp(logvar / 2)": (
            likelihood(mu + logvar.exp() * noise) - kl
        ),
        "in the KL, logvar was taken for log sigma": rec - as_sigma,
        "the factor one half of the KL is missing": rec - 2 * kl,
        "beta weighs the KL in a loss; the ELBO has no beta": (
            rec - model.beta * kl
        ),
        "the sigmoid was applied twice": again - kl,
        "pixels without ink count too: (1 - x) log(1 - p)": (
            (x * p.probs.log()).sum(-1) - kl
        ),
        "you averaged over the batch as well": right.mean(),
        "you summed over the batch as well": right.sum(),
    }


@check()
def score_function(
    draws: Draws, score_gradients: Student, best_baseline: Student
) -> str:
    """Score-function estimates by mu and logvar, and the best baseline.

    The estimates are held against automatic differentiation of Normal's
    log_prob. The baseline may leave at most 2% more variance than the best.
    """
    score = function("score_gradients", score_gradients)
    for n, n_latent, wide in (
        (draws.whole(5, 10), 3, 1),
        (1, 1, 1),
        (draws.whole(30, 50), 2, 1),
        (6, 1, 15),
        (6, 1, -15),
    ):
        mu, logvar = draws.normal(n_latent), wide * draws.uniform(n_latent)
        mu = mu / abs(wide)
        z = mu + (logvar / 2).exp() * draws.normal(n, n_latent)
        values = 5 * draws.normal(n) - 20
        found = two(
            score(values, z, mu, logvar),
            "score_gradients: return two tensors, the estimates by mu and "
            "those by logvar",
        )
        m, lv = (
            p.expand(n, -1).clone().requires_grad_() for p in (mu, logvar)
        )
        log_q = Normal(m, (lv / 2).exp()).log_prob(z).sum()
        slopes = torch.autograd.grad(log_q, (m, lv))
        by_mu, by_logvar = (values[:, None] * s for s in slopes)
        sigma = (logvar / 2).exp()
        mean = "averaged over the codes: return one estimate for each"
        equal(
            "the estimates by mu",
            found[0],
            by_mu,
            {
                "the slope of log q is missing": values[:, None].expand(
                    n, n_latent
                ),
                "the values of f are missing": slopes[0],
                "divide by sigma squared, not by sigma": by_mu * sigma,
                "divide by sigma squared, exp(logvar)": by_mu * sigma**2,
                "the sign: the slope is (z - mu) / sigma^2": -by_mu,
                mean: by_mu.mean(0),
            },
        )
        equal(
            "the estimates by logvar",
            found[1],
            by_logvar,
            {
                "this is the gradient by log sigma, twice as large": (
                    2 * by_logvar
                ),
                "this is the gradient by sigma": 2 * by_logvar / sigma,
                "this is the gradient by the variance": by_logvar / sigma**2,
                "the term -1 is missing: log q contains -logvar / 2": (
                    by_logvar + values[:, None] / 2
                ),
                "the values of f are missing": slopes[1],
                "the sign": -by_logvar,
                "these are the estimates by mu": by_mu,
                mean: by_logvar.mean(0),
            },
        )
    base = function("best_baseline", best_baseline)
    for bend, by in ((10.0, "mu"), (6.0, "logvar"), (-3.0, "mu")):
        e = draws.normal(draws.whole(1500, 2500))
        s = e / draws.uniform(low=0.1, high=2.0)
        if by == "logvar":
            s = (e.square() - 1) / 2
        f = bend * e.square() + 3 * e - draws.uniform(low=80, high=120)
        found = number("the baseline", base(f, s))
        f, s = f.double(), s.double()
        # where the variance, a parabola in the baseline, is lowest
        lowest = float(torch.cov(torch.stack([f * s, s]))[0, 1] / s.var())
        before, after, left = (
            float(((f - b) * s).var()) for b in (0.0, lowest, found)
        )
        if left > 1.02 * after:
            require(
                abs(found + lowest) > 0.02 * abs(lowest),
                f"the baseline: found {found:.4g}, expected {lowest:.4g}. The "
                "sign: a baseline is subtracted from f",
            )
            mistakes = {
                "the mean of f is a good baseline, but not the best: codes "
                "with a steep log q weigh more": f.mean(),
                "this is the median of f": f.median(),
                "this is no baseline at all": 0.0,
                "weigh f with the square of the score": (
                    (f * s.abs()).mean() / s.abs().mean()
                ),
                "the weights must add up to one: divide by the mean of the "
                "squared score": (f * s * s).mean(),
                "the score enters squared, above and below": (
                    (f * s).mean() / s.square().mean()
                ),
            }
            equal("the baseline", found, lowest, mistakes)
    return (
        f"right: in the last trial the best baseline makes the variance "
        f"{before / after:.0f} times smaller"
    )


def two(value: object, message: str) -> list:
    """Two results, however they are put together; else this message."""
    try:
        return parts("two results", value, "one, other")
    except WrongError:
        raise WrongError(message) from None


# the right one first
BLANKS = {
    "a": ("p(z|x)", "q(z)", "p(z)", "p(x|z)", "p(x)"),
    "b": (
        "q(z)/p(z|x)",
        "p(z|x)/q(z)",
        "q(z)/p(z)",
        "p(z)/q(z)",
        "p(x|z)/q(z)",
    ),
    "c": ("q(z)", "p(z)", "p(z|x)", "p(x|z)"),
    "d": (
        "q(z) integrates to 1",
        "p(z) integrates to 1",
        "the logarithm is concave",
        "q(z) is normal",
        "q(z) is the posterior",
    ),
    "e": (
        "KL(q(z) || p(z|x))",
        "KL(p(z|x) || q(z))",
        "KL(q(z) || p(z))",
        "KL(p(z) || q(z))",
    ),
    "f": ("q(z) = p(z|x)", "q(z) = p(z)", "q(z) is normal", "the ELBO is 0"),
}


@check()
def elbo_identity(draws: Draws, blanks: Student) -> str:
    """The blanks in the proof of log p(x) = ELBO + KL(q || p(z|x)).

    Spaces in an answer do not matter, and all blanks get one verdict.
    """
    found = function("blanks", blanks)()
    require(
        isinstance(found, dict),
        "blanks: return the dict with the keys a to f, filled in",
    )
    n_right = 0
    for letter, options in BLANKS.items():
        value = found.get(letter)
        if value in (None, "", "..."):
            raise WrongError(f"blank {letter}: not answered yet")
        # a table in Markdown has \| for |
        plain = (
            _plain(value.replace("\\", "")) if isinstance(value, str) else ""
        )
        known = [_plain(one) for one in options]
        require(
            plain in known,
            f"blank {letter}: found {brief(value)}, expected one of "
            + ", ".join(repr(one) for one in sorted(options)),
        )
        n_right += plain == known[0]
    require(
        n_right == len(BLANKS),
        "blanks: not every blank is right. Read the proof aloud with your "
        "answers, from the first line on: does each step follow?",
    )
    return "right: the identity follows, and the bound with it"


def _plain(text: str) -> str:
    return "".join(text.split()).lower()


@check()
def missed_peak(
    draws: Draws, predicted_gap: Student, kl_on_grid: Student
) -> str:
    """A prediction of the gap, and the KL between densities on a grid.

    The KL is held against torch.distributions, and for a mixture of two
    separate peaks against minus the log share of the peak that q covers.
    """
    guess = function("predicted_gap", predicted_gap)()
    require(guess is not None, "no prediction yet: return a number of nats")
    guess = number("the predicted gap", guess)
    kl = function("kl_on_grid", kl_on_grid)
    for n in (4000, 2500):
        cell = 24 / n
        line = (torch.arange(n, dtype=torch.float64) + 0.5) * cell - 12
        q, p = (
            Normal(*(one.double() for one in (a, b)))
            for a, b in (
                (draws.normal(), draws.uniform(low=0.3, high=0.8)),
                (draws.normal(), draws.uniform(low=0.9, high=1.5)),
            )
        )
        log_q, log_p = q.log_prob(line), p.log_prob(line)
        right, back = kl_divergence(q, p), kl_divergence(p, q)
        ratio = log_q - log_p
        mistakes = {
            "the arguments are swapped: weigh with q, and q is above": back,
            "the sign: log q - log p": -right,
            "weighed with p in place of q": (log_p.exp() * ratio).sum() * cell,
            "the width of a cell is missing": right / cell,
            "the weights q are missing": ratio.sum() * cell,
            "the weights q are missing: this is a plain mean": ratio.mean(),
            "multiply by the width of a cell, not by 1 / number": right
            / cell
            / n,
            "weigh with q itself, exp(log q)": (log_q * ratio).sum() * cell,
            "this is minus the entropy of q: log p is missing": (
                log_q.exp() * log_q
            ).sum()
            * cell,
        }
        equal("the KL", kl(log_q, log_p, cell), right, mistakes, 1e-3)
    # far apart, and with as much mass at the ends as elsewhere
    line = torch.linspace(-4, 7, 4401).double()
    log_q, log_p = (Normal(m, 0.3).log_prob(line) for m in (0.0, 5.0))
    equal(
        "the KL where log p is far below log q (take it as it is, without a "
        "limit or a small number)",
        kl(log_q, log_p, 11 / 4400),
        5**2 / (2 * 0.3**2),
        None,
        1e-3,
    )
    n = draws.whole(6540, 6581)
    t = (torch.arange(n).double() + 0.5) * 2 / n - 1
    log_q, log_p = (0.5 + s * t for s in (0.0, 0.45))
    log_q, log_p = log_q.log(), log_p.log()
    equal(
        "the KL where q is the same everywhere (the cells at the ends count "
        "too)",
        kl(log_q, log_p, 2 / n),
        (log_q - log_p).mean(),
        None,
        1e-3,
    )
    for share in (0.2, float(draws.uniform(low=0.3, high=0.9))):
        cell, line, log_q, log_p = two_peaks(share)
        measured = kl(log_q, log_p, cell)
        what = f"the gap if q has the peak with {share:.0%} of the mass"
        equal(what, measured, -math.log(share), None, 1e-3)
    said = f"you predicted {guess:.3g} nats, measured are {-math.log(0.2):.3f}"
    if abs(guess + math.log(0.2)) < 0.02:
        return f"right: {said}"
    return (
        f"the measurement is right: {said}. Where q puts its codes, how many "
        "times as high as the posterior is it?"
    )


def two_peaks(share: float) -> tuple[float, Tensor, Tensor, Tensor]:
    """A posterior with two separate peaks, and a q that covers one.

    Args:
        share: of the posterior's mass in the peak that q covers.

    Returns:
        The width of a cell, the codes of the grid (G,), log q and log
        posterior there, (G,), float64.
    """
    cell = 10 / 2000
    line = (torch.arange(2000, dtype=torch.float64) + 0.5) * cell - 5
    left = Normal(-2.0, 0.3).log_prob(line)
    right = Normal(2.0, 0.3).log_prob(line)
    both = torch.logaddexp(left + math.log(share), right + math.log(1 - share))
    return cell, line, left, both


@check()
def kl_between(draws: Draws, kl_between: Student) -> None:
    """The KL between two normal distributions, each with its own moments.

    Held against torch.distributions in float64, for priors shared by all
    digits, for log variances that no exp can hold, and with gradients by
    all four.
    """
    kl = function("kl_between", kl_between)
    for shape, prior_shape, low, wide in (
        ((5, 7), (5, 7), 0.0, 0.0),
        ((1, 1), (1, 1), 0.0, 0.0),
        ((4, 3), (3,), 0.0, 0.0),
        ((3, 3), (3, 3), 0.0, 0.0),
        ((3, 4), (3, 4), -150.0, -150.0),
        ((2, 3), (2, 3), 120.0, 120.0),
        ((3, 2), (2,), -150.0, 0.0),
        ((2, 2), (2, 2), 30.0, 0.0),
    ):
        mu, logvar = draws.normal(*shape), low + draws.normal(*shape)
        at, width = (
            draws.normal(*prior_shape),
            wide + draws.normal(*prior_shape),
        )
        if wide < 0:  # means that differ by some narrow sigmas
            scale = math.exp(low / 2)
            mu, at = (scale * v for v in (mu, at))
        right, mistakes = _between(mu, logvar, at, width)
        what = "the KL"
        if low:
            what += f" (log variances around {low:.0f}"
            what += ")" if wide else " for q, around 0 for the prior)"
        equal(what, kl(mu, logvar, at, width), right, mistakes)
    same = draws.normal(3, 4), draws.normal(3, 4)
    equal("the KL of q from itself", kl(*same, *same), torch.zeros(3))
    names = ("mu", "logvar", "prior_mu", "prior_logvar")
    other = [draws.normal(4, 3) for _ in range(4)]
    for where, given in (("", other), (" where q is the prior", 2 * same)):
        inputs = [one.clone().requires_grad_() for one in given]
        _, found = kl.gradients(*inputs)
        exact = [one.detach().double().requires_grad_() for one in inputs]
        total = _between(*exact)[0].sum()
        for name, one, right in zip(
            names, found, torch.autograd.grad(total, exact)
        ):
            require(one is not None, f"no gradient reaches {name}")
            equal(f"the gradient by {name}{where}", one, right)


def _between(
    mu: Tensor, logvar: Tensor, at: Tensor, width: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """The KL by torch.distributions, and what mistakes give."""
    mu, logvar, at, width = (v.double() for v in (mu, logvar, at, width))
    q, p = Normal(mu, (logvar / 2).exp()), Normal(at, (width / 2).exp())
    each, other = kl_divergence(q, p), kl_divergence(p, q)
    right = each.sum(-1)
    far = (mu - at).square() / p.variance
    ratio = logvar - width
    return right, {
        "did you average over the latent dimensions? Sum them": each.mean(-1),
        "the arguments are swapped: this is the KL from the prior to q": (
            other.sum(-1)
        ),
        "this is the KL to N(0, I)": kl_divergence(q, STANDARD).sum(-1),
        "the factor one half is missing": 2 * right,
        "the sign: a KL is never negative": -right,
        "the term -1 is missing": (each + 0.5).sum(-1),
        "the sign of the log variances": (each + ratio).sum(-1),
        "the distance of the means is measured in sigmas of the prior": (
            (each - far / 2 + (mu - at).square() / 2).sum(-1)
        ),
        "the distance of the means is measured in sigmas of the prior, not "
        "of q": (each + ((mu - at).square() / q.variance - far) / 2).sum(-1),
        "the means do not enter": (each - far / 2).sum(-1),
        "the distance is not squared": (
            (each + ((mu - at) / p.stddev - far) / 2).sum(-1)
        ),
        "logvar was taken for log sigma": (
            kl_divergence(
                Normal(mu, logvar.clamp(-300, 300).exp()),
                Normal(at, width.clamp(-300, 300).exp()),
            ).sum(-1)
        ),
        "you summed over the digits as well": right.sum(),
        "you averaged over the digits as well": right.mean(),
    }
