"""Checks for chapter 6: how good the bound is."""

import copy
import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Bernoulli, MultivariateNormal, Normal

from minivae import VAE
from minivae.evaluate import code_grid
from minivae.notebook import brief
from minivae.toys import Arc
from minivae_course.chapter_04 import STANDARD, lively, two
from minivae_course.check import (
    Draws,
    Student,
    WrongError,
    check,
    equal,
    function,
    number,
    require,
    tensor,
    whole,
)


@check()
def importance_bound(
    draws: Draws, log_weights: Student, importance_bound: Student
) -> None:
    """Log importance weights of a VAE, and the bound from K of them.

    The weights are held against torch.distributions, the bound against sums
    of ratios in float64; its gradient must be the normalised weights.
    """
    weigh = function("log_weights", log_weights)
    for k, n, n_latent, shape in (
        (4, 3, 5, (1, 4, 5)),
        (1, 1, 1, (1, 2, 3)),
        (3, 5, 2, (1, 3, 3)),
    ):
        model = lively(draws, n_latent, shape, beta=3.0)
        if n == 5:  # a very wide q in one dimension, a narrow one in another
            with torch.no_grad():
                model.encoder[2].bias[-2:] += torch.tensor([5.0, -9.0])
        x = draws.whole(0, 2, n, model.n_values).float()
        noise = draws.normal(k, n, n_latent)
        right, mistakes = _weights_and_mistakes(model, x, noise)
        equal("the log weights", weigh(model, x, noise), right, mistakes)
    _compare_slopes(weigh, lively(draws, 3, (1, 3, 4), beta=3.0), draws)
    bound = function("importance_bound", importance_bound)
    for k, n, spread in (
        (5, 8, 1.5),
        (1, 3, 1.5),
        (64, 1, 1.5),
        (6, 6, 1.5),
        (draws.whole(7, 40), 4, 300.0),  # one weight counts, of each digit
    ):
        level = -120 - 500 * draws.uniform(n)
        level[0] -= 1200 * (n > 3)  # one digit is far worse than the others
        logs = spread * draws.normal(k, n) + level
        top = logs.double().amax(0)
        mean = (logs.double() - top).exp().mean(0)
        right = top + mean.log()
        log_k = math.log(k)
        mistakes = {
            "this is the mean of the logarithms, the ELBO; take the "
            "logarithm of the mean ratio": logs.mean(0),
            "log K is missing: a mean, not a sum, of the ratios": right
            + log_k,
            "log K is subtracted, and once only": right - log_k,
            "divide the sum of the ratios by K: subtract log K, not K": right
            + log_k
            - k,
            "this is the largest log weight": top,
            "sum over the codes, dimension 0, not over the digits": (
                logs.logsumexp(-1) - math.log(n)
            ),
            "log K is that of the K codes, dimension 0": (
                right + log_k - math.log(n)
            ),
            "you averaged over the batch as well": right.mean(),
        }
        found = bound(logs)
        _each_digit_counts(found, right)
        # within 0.002 nats, which float32 can hold at -2000
        slack = 2e-3 / float(right.abs().max())
        equal("the bound", found, right, mistakes, slack)
        logs.requires_grad_()
        weights = draws.normal(n)
        _, (slope,) = bound.gradients(logs, weights=weights)
        require(slope is not None, "no gradient reaches the log weights")
        share = logs.detach().double().softmax(0)
        equal("the gradient of the bound", slope, share * weights)


def _each_digit_counts(found: object, right: Tensor) -> None:
    """Refuse a bound that is lost where a digit is worse than others."""
    if isinstance(found, Tensor) and found.shape == right.shape:
        lost = found.detach().isinf()
        require(
            bool(lost.all()) or not bool(lost.any()),
            f"the bound: {int(lost.sum())} of {len(lost)} digits get an "
            "infinite value, those whose log weights are far below the "
            "others. Take out the largest of each digit, not of all",
        )


def _compare_slopes(weigh: Student, model: VAE, draws: Draws) -> None:
    """The gradients of log weights by all parameters of a model."""
    x = draws.whole(0, 2, 4, model.n_values).float()
    noise, weights = draws.normal(5, 4, 3), draws.normal(5, 4)
    _, found = weigh.gradients(model, x, noise, weights=weights)
    named = dict(model.named_parameters())
    total = (_weights_and_mistakes(model, x, noise)[0] * weights).sum()
    right = torch.autograd.grad(total, list(named.values()))
    for name, one in zip(named, found):
        require(
            one is not None, f"no gradient reaches {name}: take out detach"
        )
    for name, one, wanted in zip(named, found, right):
        part = "z or q" if name.startswith("encoder") else "log p(x|z)"
        what = f"the gradient by {name} (was {part} detached?)"
        equal(what, one, wanted, tolerance=1e-3)


def _weights_and_mistakes(
    model: VAE, x: Tensor, noise: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Log weights by torch.distributions, and what mistakes give."""
    mu, logvar = model.encode(x)
    sigma = (logvar / 2).exp()
    q = Normal(mu, sigma)
    z = mu + sigma * noise
    logits = model.decode(z).flatten(2)
    likelihood = Bernoulli(logits=logits).log_prob(x).sum(-1)
    prior, own = STANDARD.log_prob(z), q.log_prob(z)
    kl = torch.distributions.kl_divergence(q, STANDARD).sum(-1)
    right = likelihood + (prior - own).sum(-1)
    plain = 0.5 * math.log(2 * math.pi) * z.shape[-1]
    wide = Normal(mu, logvar.exp())
    return right, {
        "the sign of log q: the ratio is p(x, z) / q(z|x)": (
            likelihood + (prior + own).sum(-1)
        ),
        "the prior is missing: p(x, z) = p(x|z) p(z)": (
            likelihood - own.sum(-1)
        ),
        "log q is missing": likelihood + prior.sum(-1),
        "only log p(x|z) is there; prior and q are missing": likelihood,
        "the closed form of the KL makes no ratio: use log p(z) and log q "
        "of this very code": likelihood - kl,
        "the sign of the prior": likelihood - (prior + own).sum(-1),
        "this is minus the log weight": -right,
        "a constant ln(2 pi) / 2 per dimension is missing in log p(z)": (
            right + plain
        ),
        "a constant ln(2 pi) / 2 per dimension is missing in log q": (
            right - plain
        ),
        "the term -logvar / 2 is missing in log q": (
            right - logvar.sum(-1) / 2
        ),
        "sum log p(z) and log q over the latent dimensions": (
            likelihood + (prior - own).mean(-1)
        ),
        "logvar was taken for log sigma in log q": (
            likelihood + (prior - wide.log_prob(z)).sum(-1)
        ),
    }


@check()
def grid_evidence(
    draws: Draws, grid_evidence: Student, enough_cells: Student
) -> str:
    """The evidence as a sum over a grid, and how fine the grid must be.

    Held against the closed form for a linear decoder, against a sum over
    20,000 codes for the arc, and for many binary pixels against sums in
    float64.
    """
    evidence = function("grid_evidence", grid_evidence)
    for n, n_pixels, cells, limit in ((4, 4, 100, 5.0), (1, 3, 120, 6.0)):
        model, x, marginal = _linear(draws, n, n_pixels)
        _sum_is(evidence, model, x, cells, limit, marginal.log_prob(x))
    arc = Arc(sigma=0.1)
    x = arc.decode(draws.uniform(3, 1, low=-1.1, high=1.1))
    right = _fine_sum(arc, x, 1.0)
    _sum_is(evidence, arc, x, 2000, 1.0, right)
    coarse = _joint(arc, x, code_grid(1, 25, 5.0))
    equal(
        "log p(x) on a grid of 25 cells",
        evidence(arc, x, 25, 5.0),
        coarse.logsumexp(0) + math.log(10 / 25),
        {"n is not used: take the middles of n cells": _fine_sum(arc, x, 5.0)},
        1e-3,
    )
    dark = draws.model(VAE, 2, hidden=(4,))
    with torch.no_grad():  # log p(x) far below what exp can hold
        dark.decoder[-1].bias += 4 * draws.normal(784)
    x = draws.digits(3).images.flatten(1) / 255
    # and the likeliest image beside the least likely one
    likely = (dark.decoder[-1].bias.detach() > 0).float()
    x = torch.cat([x, likely[None], 1 - likely[None]])
    table = _joint(dark, x, code_grid(2, 30, 5.0))
    right = table.logsumexp(0) + 2 * math.log(10 / 30)
    # within 0.02 nats, whatever the size
    _sum_is(evidence, dark, x, 30, 5.0, right, 0.02 / float(right.abs().max()))
    decide = function("enough_cells", enough_cells)
    said = []
    for n, limit, sign in ((50, 5.0, 1), (400, 4.0, -1), (25, 6.0, 0)):
        arc, x = _close_call(draws, n, limit, sign)
        found = whole("enough_cells", decide(arc, x, limit))
        _enough(arc, x, found, limit)
        said.append(f"{found} cells for sigma = {arc.options['sigma']:.3g}")
    arc, x = _coincidence(draws)
    _enough(arc, x, whole("enough_cells", decide(arc, x, 5.0)), 5.0)
    model, x, _ = _linear(draws, 8, 4, narrow=0.1)
    _enough(model, x, whole("enough_cells", decide(model, x, 5.0)), 5.0)
    return f"right: {', '.join(said)}; a narrow posterior takes more"


def _close_call(
    draws: Draws, n: int, limit: float, sign: int
) -> tuple[Arc, Tensor]:
    """A toy and points for which n cells just do, or just do not.

    Args:
        draws: of the points.
        n: cells along an axis.
        limit: of the grid.
        sign: of the change that is too large, of one point alone; with 0
            all points just do.
    """
    arc = Arc(sigma=15 / n * limit / 5 * float(draws.uniform(low=0.97)))
    z = draws.uniform(600, 1, low=-1.3, high=1.3)
    x = arc.decode(z) * draws.uniform(600, 1, low=0.8, high=1.6)
    a, b = (
        _joint(arc, x, code_grid(1, cells, limit)).logsumexp(0)
        - math.log(cells)
        for cells in (n, 2 * n)
    )
    change = b - a
    chosen = change.abs() < 0.0098
    if sign:
        over = sign * change  # just too large, or no candidate
        chosen[torch.where(over > 0.0102, over, torch.inf).argmin()] = True
    x = x[chosen]
    return arc, x[torch.randperm(len(x), generator=draws.generator)]


def _coincidence(draws: Draws) -> tuple[Arc, Tensor]:
    """A point where 50 and 100 cells agree, and 75 or 200 do not.

    By the rule 50 cells do, as luck will have it.
    """
    arc = Arc(sigma=0.14)
    x = arc.decode(draws.uniform(4000, 1, low=-1.3, high=1.3))
    a, b, c, d = (
        _joint(arc, x, code_grid(1, n, 5.0)).logsumexp(0) - math.log(n)
        for n in (50, 100, 75, 200)
    )
    found = ((a - b).abs() < 0.008) & ((a - c).abs() > 0.02)
    found &= (a - d).abs() > 0.02
    return arc, x[found][:1]


def _linear(
    draws: Draws, n: int, n_pixels: int, narrow: float = 0.0
) -> tuple[VAE, Tensor, MultivariateNormal]:
    """A VAE whose p(x) is known: a linear decoder with normal pixels.

    With narrow, the noise of the pixels, the posterior is narrow, more in
    the first dimension than in the second.
    """
    sigma = narrow or draws.uniform(low=0.6, high=1.0).item()
    model = draws.model(
        VAE,
        2,
        hidden=(),
        shape=(n_pixels,),
        likelihood="gaussian",
        sigma=sigma,
    )
    with torch.no_grad():
        weight = 0.6 * draws.normal(n_pixels, 2)
        if narrow:
            weight *= torch.tensor([1.0, 0.5]) / weight.norm(dim=0)
        model.decoder[0].weight.copy_(weight)
        z = draws.uniform(n, 2, low=-1.5, high=1.5)
        x = model.decode(z) + sigma * draws.normal(n, n_pixels)
    w = model.decoder[0].weight.detach()
    covariance = w @ w.T + sigma**2 * torch.eye(n_pixels)
    marginal = MultivariateNormal(
        model.decoder[0].bias.detach().double(), covariance.double()
    )
    return model, x, marginal


@torch.no_grad()
def _joint(model: VAE, x: Tensor, z: Tensor) -> Tensor:
    """log p(x, z) by torch.distributions, float64 (G, B)."""
    pixels = _pixels(model, z[:, None].double())
    prior = STANDARD.log_prob(z.double()).sum(-1)
    return pixels.log_prob(x.double()).sum(-1) + prior[:, None]


def _pixels(model: VAE, z: Tensor) -> Bernoulli | Normal:
    """p(x|z) of each pixel, (..., B, D)."""
    out = model.decode(z.to(model.dtype)).flatten(z.dim() - 1).to(z.dtype)
    if model.likelihood.name == "bernoulli":
        return Bernoulli(logits=out)
    return Normal(out, model.likelihood.log_sigma.to(z.dtype).exp())


def _fine_sum(model: VAE, x: Tensor, limit: float) -> Tensor:
    line = torch.linspace(-limit, limit, 20_001)[:, None]
    return torch.trapezoid(
        _joint(model, x, line).exp(), dx=limit / 10_000, dim=0
    ).log()


def _sum_is(
    evidence: Student,
    model: VAE,
    x: Tensor,
    n: int,
    limit: float,
    right: Tensor,
    tolerance: float = 3e-4,
) -> None:
    """Refuse a log evidence that is not this one, with the likely cause."""
    z = code_grid(model.n_latent, n, limit)
    table = _joint(model, x, z)
    log_cell = math.log(2 * limit / n)
    dims = model.n_latent
    prior = STANDARD.log_prob(z.double()).sum(-1)[:, None]
    total = table.logsumexp(0)
    mistakes = {
        "the size of a cell is missing: a sum of densities is no integral": (
            total
        ),
        "this is a mean over the grid: multiply the sum by the size of a "
        "cell": total - math.log(len(z)),
        "this averages p(x|z) over the grid: codes count by the prior": (
            (table - prior).logsumexp(0) - math.log(len(z))
        ),
        "the prior p(z) is missing": (
            (table - prior).logsumexp(0) + dims * log_cell
        ),
        "this is the mean of the logarithms": table.mean(0),
        "this is the largest log p(x, z) of a code; add up the densities": (
            table.amax(0)
        ),
        "the area of a cell is subtracted; add its logarithm": (
            total - dims * log_cell
        ),
        "the grid runs from -limit to limit: a cell is 2 limit / n wide": (
            total + dims * math.log(limit / n)
        ),
    }
    if dims == 2:
        mistakes |= {
            "a cell of a plane has an area: its width squared": (
                total + log_cell
            )
        }
    found = evidence(model, x, n, limit)
    what = f"log p(x) of {len(x)} image(s), {dims}-D code"
    equal(what, found, right, mistakes, tolerance)


def _enough(model: VAE, x: Tensor, found: int, limit: float) -> None:
    """Refuse a number of cells that is not the smallest that will do."""
    dims = model.n_latent

    @functools.cache
    def evidence(n: int) -> Tensor:
        total = _joint(model, x, code_grid(dims, n, limit)).logsumexp(0)
        return total - dims * math.log(n)

    def moves(n: int) -> Tensor:
        return (evidence(n) - evidence(2 * n)).abs()

    sizes = [25]
    while float(moves(sizes[-1]).max()) > 0.01:
        sizes.append(2 * sizes[-1])
    right = sizes[-1]
    sizes.append(2 * right)
    worst = {n: float(moves(n).max()) for n in sizes}
    # where a change is close to 0.01 either answer will do
    if worst.get(found, 1) <= 0.0101 and worst.get(found // 2, 1) >= 0.0099:
        return
    what = f"enough_cells: found {found}, expected {right}"
    if found not in [25 * 2**i for i in range(12)]:
        raise WrongError(f"{what}. Try 25, 50, 100 and so on")
    if found > right:
        raise WrongError(
            f"{what}. Between {right} and {2 * right} cells no image moves by "
            "more than 0.01 nats, so the coarser of the two is enough"
        )
    move = moves(found)
    raise WrongError(
        f"{what}. Between {found} and {2 * found} cells an image moves by "
        f"{float(move.max()):.3g} nats, the mean of all is "
        f"{float(move.mean()):.3g}"
    )


@check(seconds=60)
def best_q(draws: Draws, best_q: Student) -> str:
    """The normal q of the highest ELBO, found by a search.

    With a linear decoder the posterior is normal with a known precision
    matrix, and the best q has its mean and the inverse of its diagonal. On
    average over 32 images up to 0.15 nats may be missing. For the arc, whose
    decoder is curved, the best q comes from a fine grid of mu and logvar.
    """
    search = function("best_q", best_q)
    for n, most in ((1, 1.0), (32, 0.15)):
        model, x, _ = _linear(draws, n, 4, narrow=0.3)
        with torch.no_grad():  # an encoder that points to the wrong place
            model.encoder[0].weight *= 0.05
            model.encoder[0].bias += torch.tensor([0.8, -0.8, -3.0, -2.0])
        own = [p.detach().double() for p in model.encode(x)]
        first, _ = _searched(search, model, x, 1)
        moved = float((first - own[0]).abs().max())
        require(
            abs(moved - 0.02) < 2e-3,
            f"after one step mu is {brief(moved)} away from the encoder's. "
            "Adam with a step size of 0.02 moves it by 0.02. Start there, "
            "and take as many steps as the argument steps says",
        )
        mu, logvar = _searched(search, model, x, draws.whole(400, 450))
        now_lost = _missing(model, x, mu, logvar)
        before = _missing(model, x, *own)
        lost, at_first = (float(sum(p).mean()) for p in (now_lost, before))
        require(
            lost < 100 + 2 * at_first,
            f"the search made it worse: {brief(lost)} nats below the best "
            "ELBO. Adam lowers what it is given: give it minus the ELBO",
        )
        if lost > most:
            _explain(model, *now_lost, logvar)
        ratio = _width(model, logvar)
        require(
            n == 1 or abs(ratio - 1) < 0.08,
            f"q is {ratio:.2f} times as wide as the best one. Draw z as "
            "mu + sigma * noise, with noise from N(0, 1)",
        )
        require(
            search.through(_can_learn, model, x, 1) is True,
            "the search leaves weights of the model frozen, requires_grad "
            "False, so it can no longer be trained. Leave it as it was",
        )
    arc, x = Arc(), draws.uniform(16, 1, low=-0.8, high=0.8)
    x = arc.decode(x)
    with torch.no_grad():  # mu is near the right code, and q too narrow
        arc.encoder[0].weight.copy_(torch.tensor([[0.25, 0.0], [0.0, 0.0]]))
        arc.encoder[0].bias.copy_(torch.tensor([0.1, -6.0]))
    mu, logvar = _searched(search, arc, x, 400)
    left = float((_best_elbo(arc, x) - _elbo_of(arc, x, mu, logvar)).mean())
    require(
        left < 0.15,
        "where the decoder is not linear, as that of Arc(), the ELBO of q is "
        f"{brief(left)} nats below the best. Let model.log_likelihood do the "
        "work, with codes drawn from q",
    )
    return f"right: it raised the ELBO by {brief(at_first - lost)} nats"


def _can_learn(answer: Callable, model: VAE, *args: object) -> bool:
    answer(model, *args)
    return all(weights.requires_grad for weights in model.parameters())


def _searched(
    search: Student, model: VAE, x: Tensor, steps: int
) -> list[Tensor]:
    """Mu and logvar as the search leaves them; all else stays as it was."""
    found, (after, x_after, _) = search.changed(model, x, steps)
    found = two(found, "best_q: return mu and logvar of q")
    for name, was in model.state_dict().items():
        require(
            torch.equal(was, after.state_dict()[name]),
            f"the search changed the weights {name} of the model. The "
            "decoder stays as it is: give Adam mu and logvar alone",
        )
    require(
        after.training == model.training,
        "the search leaves the model in another mode than it found it in: "
        "in eval mode, or in training. Leave it as it was",
    )
    require(
        torch.equal(x, x_after),
        "the search changed the images x, which the caller still needs",
    )
    shape = (len(x), model.n_latent)
    names = ("mu", "logvar")
    return [tensor(name, one, shape) for name, one in zip(names, found)]


@torch.no_grad()
def _elbo_of(model: VAE, x: Tensor, mu: Tensor, logvar: Tensor) -> Tensor:
    """The ELBO of a normal q, (...), with a one-dimensional code.

    The mean over q is a sum over 400 places of equal share; mu and logvar
    are (B, 1), or (..., B, 1) for several q of each image.
    """
    share = (torch.arange(400).double() + 0.5) / 400
    places = STANDARD.icdf(share).view(400, *[1] * mu.dim())
    z = mu + (logvar / 2).exp() * places
    log_p = _pixels(model, z).log_prob(x.double()).sum(-1).mean(0)
    q = Normal(mu, (logvar / 2).exp())
    return log_p - torch.distributions.kl_divergence(q, STANDARD).sum(-1)


def _best_elbo(model: VAE, x: Tensor) -> Tensor:
    """The highest ELBO of a normal q for each image, by trying (B,)."""
    mu = torch.linspace(-1.5, 1.5, 61).double()[:, None]
    logvar = torch.linspace(-7, -2, 26).double()
    pairs = torch.stack([mu.expand(-1, 26), logvar.expand(61, -1)], -1)
    of_q = pairs.view(-1, 1, 2).expand(-1, len(x), -1)
    return _elbo_of(model, x, of_q[..., :1], of_q[..., 1:]).amax(0)


def _precision(model: VAE) -> Tensor:
    w = model.decoder[0].weight.detach().double()
    variance = model.likelihood.log_sigma.detach().double().exp().square()
    return torch.eye(2, dtype=torch.float64) + w.T @ w / variance


def _missing(
    model: VAE, x: Tensor, mu: Tensor, logvar: Tensor
) -> tuple[Tensor, Tensor]:
    """Nats below the best ELBO that the mean and the width of q cost."""
    precision = _precision(model)
    w, b = (p.detach().double() for p in model.decoder[0].parameters())
    variance = model.likelihood.log_sigma.detach().double().exp().square()
    mean = torch.linalg.solve(precision, w.T @ (x.double() - b).T / variance)
    off = mu - mean.T
    ratio = precision.diag() * logvar.exp()
    return (
        torch.einsum("bi,ij,bj->b", off, precision, off) / 2,
        (ratio - 1 - ratio.log()).sum(-1) / 2,
    )


def _width(model: VAE, logvar: Tensor) -> float:
    """How many times as wide as the best normal q, on average."""
    best = -_precision(model).diag().log()
    return float(((logvar - best) / 2).mean().exp())


def _explain(
    model: VAE, of_mean: Tensor, of_width: Tensor, logvar: Tensor
) -> None:
    """Refuse a q that is not the best, with the likely cause."""
    lost = float((of_mean + of_width).mean())
    text = f"the ELBO of q is {brief(lost)} nats below the best"
    if float(of_mean.mean()) > float(of_width.mean()):
        raise WrongError(
            f"{text}, mostly because of mu. Was z drawn from this q? Are z "
            "and the gradient new in each step, and do all take place?"
        )
    ratio = _width(model, logvar)
    hint = (
        "Does the noise change from step to step? With one noise for all "
        "steps only a single z must fit. And is sigma exp(logvar / 2)?"
        if ratio > 1
        else "Does the KL enter, with its half, and is sigma exp(logvar / 2)?"
    )
    raise WrongError(
        f"{text}, mostly because of logvar: q is {ratio:.2g} times as wide "
        f"as it should be. {hint}"
    )


@check()
def find_peaks(draws: Draws, find_peaks: Student) -> None:
    """The peaks of a density given by its logarithm on a grid.

    Held against mixtures whose peaks are known: apart, at the edges, on a
    diagonal ridge, and lower than the share that counts.
    """
    find = function("find_peaks", find_peaks)
    for height, width in ((30, 44), (25, 21)):
        # heights 1, 0.6, 0.3 and 0.02 in four quarters of the plane
        quarters = [(0.25, 0.25), (0.25, 0.75), (0.75, 0.25), (0.75, 0.75)]
        order = torch.randperm(4, generator=draws.generator).tolist()
        places = [
            (
                round(quarters[i][0] * height) + draws.whole(-2, 3),
                round(quarters[i][1] * width) + draws.whole(-2, 3),
            )
            for i in order
        ]
        table = _hills(height, width, places, (1, 0.6, 0.3, 0.02)) - 400
        _peaks_are(find, table, 0.1, places[:3])
        _peaks_are(find, table, 0.5, places[:2])
        _peaks_are(find, table, 0.005, places)
    row = draws.whole(8, 22)
    edge = [(0, draws.whole(2, 8)), (29, 20), (row, 0)]
    beside = "cells at the edge have fewer neighbours"
    for level in (-1000, 0, 1000):  # the constant may be of any size
        table = _hills(30, 21, edge, (1, 0.8, 0.6)) + level
        _peaks_are(find, table, 0.1, edge, beside)
    # each of these would be a neighbour of the next if the table were a ring
    column = draws.whole(6, 15)
    ring = [(0, column), (29, column), (row, 20), (row, 0), (0, 0), (29, 20)]
    table = _hills(30, 21, ring, (1, 0.9, 0.8, 0.7, 0.6, 0.5))
    why = "cells at opposite edges are no neighbours: nothing wraps round"
    _peaks_are(find, table, 0.1, ring, why)
    for shape in ((1, 12), (9, 1)):
        length = max(shape)
        first, last = draws.whole(1, length // 2 - 1), length - 2
        line = _hills(length, 1, [(first, 0), (last, 0)], (0.5, 1))
        right = [(last, 0), (first, 0)]
        if shape[0] == 1:
            right = [(c, r) for r, c in right]
        why = "a single row or column has neighbours on two sides only"
        _peaks_are(find, line.reshape(shape), 0.1, right, why)
    rows, columns = torch.meshgrid(
        torch.arange(31.0), torch.arange(31.0), indexing="ij"
    )
    for turn in (1, -1):
        along = (rows - 15) + turn * (columns - 15)
        across = (rows - 15) - turn * (columns - 15)
        ridge = -(along / 20).square() - (across / 0.7).square() + 3
        why = "a ridge has one peak: compare with all eight neighbours"
        _peaks_are(find, ridge, 0.05, [(15, 15)], why)
    # two equal cells side by side, two that touch by a corner; one peak
    table = _hills(30, 21, [(row, 15)], (0.4,))
    table[3:5, 4], table[25, 5], table[26, 6] = 0.0, -0.1, -0.1
    why = "a peak is higher than each neighbour; one as high as it will not do"
    _peaks_are(find, table, 0.1, [(row, 15)], why)
    why = "the share is of the highest cell, also where that is no peak"
    _peaks_are(find, table, 0.5, [], why)
    table[2, 2], table[2, 4] = 0.2, 0.1
    why = "only the eight cells around a cell are its neighbours"
    _peaks_are(find, table, 0.5, [(2, 2), (2, 4)], why)
    table = _hills(30, 21, [(row, 5), (row, 15)], (0.7, 1))
    for share, right in ((0.67, 2), (0.73, 1), (1.0, 1)):
        why = "a share of 1 leaves the highest: at least, not more than"
        why = why if share == 1 else "the density is compared with the highest"
        peaks = [(row, 15), (row, 5)][:right]
        _peaks_are(find, table, share, peaks, why)


def _hills(
    n_rows: int, n_columns: int, places: list, heights: tuple
) -> Tensor:
    """Log of a sum of round hills, float32."""
    rows = torch.arange(n_rows, dtype=torch.float64)[:, None]
    columns = torch.arange(n_columns, dtype=torch.float64)[None]
    hills = [
        math.log(h) - ((rows - r).square() + (columns - c).square()) / 4.6
        for h, (r, c) in zip(heights, places)
    ]
    return torch.stack(hills).logsumexp(0).float()


def _places(value: object) -> list[tuple[float, ...]]:
    """Rows and columns from a tensor, an array or a list of pairs."""
    require(value is not None, "find_peaks: found None; end in return")
    try:
        rows = [torch.as_tensor(pair).tolist() for pair in value]
        found = [(r, c) for r, c in rows]
    except (TypeError, ValueError, RuntimeError):
        raise WrongError(
            f"find_peaks: found {brief(value)}, expected the places (row, "
            "column) of the peaks, a tensor or list of the shape (P, 2)"
        ) from None
    return found


def _peaks_are(
    find: Student, table: Tensor, share: float, right: list, why: str = ""
) -> None:
    """Refuse other peaks than these, highest first."""
    found = _places(find(table, share))
    if found == right:
        return
    shape = "x".join(map(str, table.shape))
    text = f"in a table of {shape} cells and share {share}: found "
    text += ", ".join(map(str, found[:4])) + ", ..." * (len(found) > 4)
    text += f"{'nothing' * (not found)}, expected "
    text += ", ".join(map(str, right)) or "nothing"
    extra = [pair for pair in found if pair not in right]
    lost = [pair for pair in right if pair not in found]
    if not why:
        n_rows, n_columns = table.shape
        if len(set(found)) < len(found):
            why = "a peak is listed twice"
        elif sorted(found) == sorted((c, r) for r, c in right):
            why = "give row before column"
        elif not extra and not lost:
            why = "list the highest first"
        elif (
            not lost
            and all(r < n_rows and c < n_columns for r, c in extra)
            and len(extra) == 1
        ):
            why = (
                "a peak counts if its density is at least share times that of "
                "the highest"
            )
        elif found == right[:1]:
            why = "there are more peaks than the highest"
        elif not found or not extra:
            why = (
                "the table holds logarithms and an unknown constant: compare "
                "table - table.max() with log(share)"
            )
        else:
            why = "a peak is higher than all of its neighbours"
    raise WrongError(f"{text}. {why[0].upper()}{why[1:]}")


@check()
def excess_at_mean(
    draws: Draws, predicted_excess: Student, excess: Student
) -> str:
    """A prediction, and what evaluation at z = mu adds to the ELBO.

    The excess is held against torch.distributions for given noise, and for
    the arc against the exact mean over q.
    """
    guess = function("predicted_excess", predicted_excess)()
    require(guess is not None, "no prediction yet: return a number of nats")
    guess = number("the predicted excess", guess)
    measure = function("excess", excess)
    for k, n, n_latent in ((6, 4, 3), (1, 1, 1), (3, 5, 2)):
        model = lively(draws, n_latent, (1, 3, 5), beta=3.0)
        x = draws.whole(0, 2, n, 15).float()
        noise = draws.normal(k, n, n_latent)
        mu, logvar = draws.normal(n, n_latent), draws.normal(n, n_latent)
        if n > 1:  # a very wide q of one digit, a narrow one of another
            logvar[0], logvar[1] = 6.0, -14.0
        _excess_is(measure, model, x, mu, logvar, noise)
    arc, mu = Arc(), draws.uniform(2, 1, low=-0.5, high=0.5)
    x = arc.decode(mu)
    logvar = torch.full((2, 1), -math.log(101))
    noise = draws.normal(4000, 2, 1)
    found = _excess_is(measure, arc, x, mu, logvar, noise)
    # |x - d(z)|^2 = 8 (1 - cos(1.5 sigma noise)), and its mean over noise
    exact = 4 / 0.09 * (1 - math.exp(-(1.5**2) / 202))
    equal("the mean over 4,000 codes", found.mean(), exact, None, 0.15)
    said = f"you predicted {guess:.3g} nats, the exact value is {exact:.3f}"
    if abs(guess - exact) < 0.06:
        return f"right: {said}"
    return (
        f"the measurement is right: {said}. How large is 1 - sigma^2, and "
        "for how many dimensions?"
    )


def _excess_is(
    measure: Student,
    model: VAE,
    x: Tensor,
    mu: Tensor,
    logvar: Tensor,
    noise: Tensor,
) -> Tensor:
    """Refuse an excess that is not this one; returns it."""

    @torch.no_grad()
    def likelihood(z: Tensor) -> Tensor:
        return _pixels(model, z).log_prob(x).sum(-1)

    sigma = (logvar / 2).exp()
    at_mean, drawn = likelihood(mu), likelihood(mu + sigma * noise)
    k, n = drawn.shape
    kl = torch.distributions.kl_divergence(Normal(mu, sigma), STANDARD).sum(-1)
    right = at_mean - drawn.mean(0)
    mistakes = {
        "the sign: the shortcut minus the ELBO": -right,
        "average over the codes before the difference, not a sum": (
            at_mean - drawn.sum(0)
        ),
        "the ELBO needs the mean of the logarithms, not the logarithm of "
        "the mean": at_mean - drawn.logsumexp(0) + math.log(k),
        "the KL is subtracted on one side only": right + kl,
        "the KL is subtracted on one side only: it is in the shortcut too": (
            right - kl
        ),
        "logvar.exp() is the variance; sigma is exp(logvar / 2)": (
            at_mean - likelihood(mu + logvar.exp() * noise).mean(0)
        ),
        "sigma does not scale the noise": (
            at_mean - likelihood(mu + noise).mean(0)
        ),
        "the decoder saw the mean of the codes; average its log-likelihoods": (
            at_mean - likelihood((mu + sigma * noise).mean(0))
        ),
        "use all K codes, not the first one": at_mean - drawn[0],
        "average over the codes, dimension 0": (
            at_mean - drawn.mean(-1) if k == n else -right
        ),
        "average over the codes, dimension 0: one value for each digit": (
            right.mean()
        ),
        "this is the shortcut itself": at_mean - kl,
        "this is the prediction; measure with the noise": (
            (1 - logvar.exp()).sum(-1) / 2
        ),
    }
    found = measure(model, x, mu, logvar, noise)
    equal("the excess", found, right, mistakes, 1e-3)
    return tensor("the excess", found)


@check()
def iwae_steps(draws: Draws, iwae_steps: Student) -> None:
    """Gradient steps on the bound from K codes, for given noise.

    Every weight must be where plain gradient descent by torch.distributions
    brings it, after one step and after several.
    """
    train = function("iwae_steps", iwae_steps)
    for steps, k, n, n_latent, rate in (
        (1, 5, 4, 2, 0.05),
        (3, 4, 3, 3, 0.02),
        (2, 1, 5, 2, 0.03),
        (1, 6, 1, 1, 0.05),
    ):
        model = lively(draws, n_latent, (1, 3, 4), beta=1.0).train(k > 1)
        x = draws.whole(0, 2, n, 12).float()
        noises = draws.normal(steps, k, n, n_latent)
        found, after = train.changed(model, x, noises, rate)
        for what, was, now in zip(("x", "the noise"), (x, noises), after[1:]):
            require(
                isinstance(now, Tensor) and torch.equal(was, now),
                f"iwae_steps changes {what}; only the model is to change",
            )
        right, bounds = _descended(model, x, noises, rate)
        before, now = model.state_dict(), after[0].state_dict()
        if all(torch.equal(before[name], now[name]) for name in before):
            raise WrongError(
                "iwae_steps: the model has not changed. The steps change its "
                "own weights, in place"
            )
        _arrived(model, now, right, x, noises, rate)
        require(
            after[0].training or not model.training,
            "iwae_steps leaves the model in eval mode; it was in training",
        )
        require(
            train.through(_can_learn, model, x, noises, rate) is True,
            "iwae_steps leaves weights of the model frozen, requires_grad "
            "False, so it can no longer be trained. Leave it as it was",
        )
        ends = [one.logsumexp(0) - math.log(k) for one in bounds]
        right = torch.stack([one.mean() for one in ends])
        mistakes = {
            "the mean over the digits of the batch": torch.stack(
                [one.sum() for one in ends]
            ),
            "log K is missing": right + math.log(k),
            "this is the loss; the bound is its negative": -right,
            "this is the mean of the logarithms, the ELBO": torch.stack(
                [one.mean() for one in bounds]
            ),
        }
        if isinstance(found, list | tuple):
            found = [
                float(v) if isinstance(v, Tensor) and v.numel() == 1 else v
                for v in found
            ]
        equal("the bounds before each step", found, right, mistakes)


def _descended(
    model: VAE, x: Tensor, noises: Tensor, rate: float, fault: str = ""
) -> tuple[dict[str, Tensor], list[Tensor]]:
    """The weights after plain gradient descent, and the log weights."""
    model = copy.deepcopy(model)
    parameters = list(model.parameters())
    seen, sums = [], [torch.zeros_like(p) for p in parameters]
    for noise in noises:
        logs, _ = _weights_and_mistakes(model, x, noise)
        seen.append(logs.detach())
        bound = logs.mean(0) if fault == "elbo" else logs.logsumexp(0)
        total = bound.sum() if fault == "sum" else bound.mean()
        slopes = torch.autograd.grad(total, parameters)
        sums = [a + b for a, b in zip(sums, slopes)]
        with torch.no_grad():
            for p, slope, every in zip(parameters, slopes, sums):
                way = every if fault == "kept" else slope
                p += (-rate if fault == "sign" else rate) * way
    return model.state_dict(), seen


def _arrived(
    model: VAE,
    now: dict[str, Tensor],
    right: dict[str, Tensor],
    x: Tensor,
    noises: Tensor,
    rate: float,
) -> None:
    """Refuse weights that are elsewhere, with the likely cause."""
    before = model.state_dict()

    def at(place: dict[str, Tensor]) -> str:
        for name, wanted in place.items():
            way = float((wanted - before[name]).abs().max())
            off = float((now[name] - wanted).abs().max())
            if not off <= 2e-3 * way + 1e-6:
                return name
        return ""

    name = at(right)
    if not name:
        return
    causes = {
        "sign": "the bound is to rise: take minus the bound as the loss",
        "elbo": "this is a step on the ELBO, the mean of the logarithms; "
        "take the logarithm of the mean ratio",
        "sum": "the bound is averaged over the digits of the batch, not "
        "summed",
        "kept": "gradients of earlier steps are still there: set them to "
        "zero, or use torch.autograd.grad",
    }
    text = f"iwae_steps: the weights {name} are not where they should be"
    for fault, cause in causes.items():
        place, _ = _descended(model, x, noises, rate, fault)
        if not at(place):
            raise WrongError(f"{text}. Likely: {cause}")
    moved, wanted = (
        float((to[name] - before[name]).abs().max()) for to in (now, right)
    )
    raise WrongError(
        f"{text}: the largest change is {moved:.3g}, expected {wanted:.3g}. "
        "A step adds the rate times the gradient of the bound to each "
        "weight, with the codes and all three densities inside the gradient"
    )
