"""Numbers about a trained model, in nats per row.

Everything is summed over the data and divided once, so a short last batch
counts for what it is. Binary models are scored on a test set binarised once,
the same on every machine.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from minivae import validate
from minivae.data import Images, Rows, batches, check_rows, seeded
from minivae.engine import Processes
from minivae.engine.run import check_model, checked
from minivae.models import VAE, Autoencoder, at_rest
from minivae.objective import (
    gaussian_log_density,
    importance_bound,
    normal_like,
    reparameterize,
)
from minivae.priors import StandardNormal


def prepared(model: nn.Module, data: Rows) -> Rows:
    """Data as the likelihood of a model scores them, the same everywhere.

    Args:
        model: of any kind; only a VAE has a likelihood.
        data: to score.

    Returns:
        The data, such as with each pixel drawn once as 0 or 1.

    Raises:
        TypeError: the data are neither `Images` nor a `Table`.
        ValueError: their values are not such as the likelihood expects.

    Example:
        >>> from minivae.data import Table
        >>> prepared(VAE(2, shape=(4,)), Table(torch.full((1, 4), 0.5))).x()
        tensor([[1., 0., 0., 0.]])
    """
    check_rows("data", data)
    support = getattr(model, "support", None)
    if support is not None and hasattr(data, "values"):
        # once drawn as 0 or 1, a value would not show that it was wrong
        validate.finite("values", data.values.cpu(), support)
    prepare = getattr(getattr(model, "likelihood", None), "prepare", None)
    return data if prepare is None else data.prepared(prepare)


def _pass(
    model: nn.Module, data: Rows, batch_size: int = 1000
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Go once through data, prepared, in order, on the model's device."""
    device = next(model.parameters()).device
    rows = prepared(model, data)
    yield from batches(rows, batch_size, device=device, shuffle=False)


def evaluate(
    model: nn.Module,
    data: Rows,
    seed: int = 0,
    batch_size: int = 1000,
    processes: Processes | None = None,
) -> dict[str, float]:
    """Means over the rows of the loss terms and of the ELBO.

    Kingma & Welling 2014, equation 3, with z drawn once from q(z|x).

    Args:
        model: a trained model; it stays as it is.
        data: to score, prepared once as the likelihood wants.
        seed: selects the codes that are drawn, the same on every machine.
        batch_size: rows at a time. Changes which noise a row gets, and
            nothing else.
        processes: that each score a part; None is this one alone.

    Returns:
        "reconstruction", -log p(x|z), and, where the model has them, "kl"
        and "elbo" = -(reconstruction + kl); nats per row. An autoencoder
        has the squared error as "reconstruction" and no ELBO.

    Raises:
        TypeError: model or data of another kind.
        ValueError: an option is out of range.

    Example:
        >>> from minivae.data import Table
        >>> model, data = VAE(n_latent=2, shape=(4,)), Table(torch.eye(4))
        >>> for weight in model.parameters():
        ...     _ = nn.init.zeros_(weight)
        >>> round(evaluate(model, data)["elbo"], 4)  # -4 ln 2
        -2.7726
    """
    seed = validate.whole("seed", seed, 0, 0)
    check_model(model)
    data = prepared(model, data)
    device = next(model.parameters()).device
    n = len(data)
    key: tuple[int, ...] = ()
    if processes is not None:  # each scores every world_size-th row
        data = data[processes.rank :: processes.world_size]
        key = processes.key
    noise = seeded("cpu", "evaluate", seed, *key)
    sums: dict[str, Tensor] = {}
    with at_rest(model):
        for x, y in batches(data, batch_size, device=device, shuffle=False):
            terms = checked(model(x, y, noise), len(x))
            for name, value in terms.items():
                total = value.cpu().double().sum()
                sums[name] = sums.get(name, 0.0) + total
    if processes is not None:
        sums = {name: processes.total(total) for name, total in sums.items()}
    means = {name: total.item() / n for name, total in sums.items()}
    if "reconstruction" in means:  # loss depends on beta, its parts do not
        del means["loss"]
    if {"reconstruction", "kl"} <= means.keys():
        means["elbo"] = -(means["reconstruction"] + means["kl"])
    return means


def log_likelihood(
    model: VAE,
    data: Rows,
    n_samples: int = 100,
    seed: int = 0,
    progress: bool = False,
) -> float:
    """Mean of log p(x), estimated with importance samples from q(z|x).

    Burda et al. 2016, equation 8. A lower bound in expectation, tighter
    with more samples; one sample gives the ELBO.

    Args:
        model: a VAE or CVAE (then it is log p(x|y)).
        data: to score, prepared once as the likelihood wants.
        n_samples: K, codes for each row, at least 1.
        seed: selects the codes that are drawn, the same on every machine.
        progress: whether to show a bar.

    Returns:
        Nats per row.

    Raises:
        TypeError: the model is an autoencoder, which has no p(x).

    Example:
        >>> from minivae.data import Table
        >>> model, data = VAE(n_latent=2, shape=(4,)), Table(torch.eye(4))
        >>> for weight in model.parameters():
        ...     _ = nn.init.zeros_(weight)
        >>> round(log_likelihood(model, data, n_samples=5), 4)  # -4 ln 2
        -2.7726
    """
    n_samples = validate.whole("n_samples", n_samples, 1, 100)
    seed = validate.whole("seed", seed, 0, 0)
    if not isinstance(model, VAE):
        raise TypeError(
            f"model: expected a VAE or CVAE, got {type(model).__name__}, "
            "which has no p(x); score it with evaluate"
        )
    from tqdm.auto import tqdm

    check_rows("data", data)
    noise = seeded("cpu", "importance", seed)
    total = 0.0
    # K times B rows at a time pass through the decoder
    size = max(1, 4000 // n_samples)
    bar = tqdm(total=len(data), unit=" rows", disable=not progress)
    with bar, at_rest(model):
        for x, y in _pass(model, data, size):
            weights = log_importance_weights(model, x, y, n_samples, noise)
            total += importance_bound(weights).double().sum().item()
            bar.update(len(x))
    return total / len(data)


def log_importance_weights(
    model: VAE,
    x: Tensor,
    y: Tensor | None,
    n_samples: int,
    generator: torch.Generator | Tensor | None = None,
    q: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """log p(x, z) - log q(z|x) for codes z drawn from q(z|x).

    Burda et al. 2016, equation 8.

    Args:
        model: a VAE or CVAE.
        x: rows, (B, *shape); y: labels, (B,), where the model needs them.
        n_samples: K.
        generator: source of the noise, or the noise, (K, B, L); (K, 1, L)
            is the same for all rows.
        q: to draw from: mu and logvar, (B, L) each, or mu and the Cholesky
            factor of the covariance, (B, L, L); None is the encoder's.

    Returns:
        Nats, (K, B), on the CPU.

    Example:
        >>> model, x = VAE(n_latent=2, shape=(4,)), torch.ones(3, 4)
        >>> log_importance_weights(model, x, None, n_samples=5).shape
        torch.Size([5, 3])
    """
    validate.kind("model", model, VAE)
    n_samples = validate.whole("n_samples", n_samples, 1, 100)
    q = model.encode(x, y) if q is None else q
    mu, spread = (p.to(model.device) for p in q)
    mu = mu.expand(n_samples, -1, -1)
    if spread.ndim == 2:
        z = reparameterize(mu, spread, generator)  # (K, B, L)
        log_q = gaussian_log_density(z, mu, spread)
    else:
        noise = normal_like(mu, generator)
        z = mu + (spread @ noise[..., None])[..., 0]
        volume = spread.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        log_q = StandardNormal().log_prob(noise) - volume
    log_p = model.prior.log_prob(z, model.condition_vector(y, z.shape[1]))
    return (model.log_likelihood(x, z, y) + log_p - log_q).cpu()


def code_grid(n_latent: int, n: int = 300, limit: float = 5.0) -> Tensor:
    """Evenly spaced codes from -limit to limit, the middles of n^L cells.

    Args:
        n_latent: L, 1 or 2; more would be too many cells.
        n: cells along each axis.
        limit: half the width of the grid.

    Returns:
        (n^L, L); z1 grows slowest.

    Raises:
        ValueError: more than two dimensions, or an option out of range.

    Example:
        >>> code_grid(n_latent=1, n=4, limit=2.0).flatten()
        tensor([-1.5000, -0.5000,  0.5000,  1.5000])
    """
    n = validate.whole("n", n, 1, 300)
    limit = validate.number("limit", limit, 5.0)
    n_latent = validate.whole("n_latent", n_latent, 1, 2)
    if n_latent > 2:
        raise ValueError(
            f"n_latent: expected 1 or 2 dimensions for a grid, got "
            f"{n_latent}; use log_likelihood, which draws samples instead"
        )
    steps = (torch.arange(n) + 0.5) * (2 * limit / n) - limit
    return torch.cartesian_prod(*[steps] * n_latent).view(-1, n_latent)


def log_joint(
    model: VAE, x: Tensor, z: Tensor, y: Tensor | None = None
) -> Tensor:
    """log p(x, z) of every row with every code.

    Args:
        model: a VAE or CVAE.
        x: rows, (B, *shape).
        z: codes, (G, L).
        y: one condition for all, as the model takes it, with one row.

    Returns:
        Nats, (G, B), on the CPU.

    Example:
        >>> model, x = VAE(n_latent=1, shape=(4,)), torch.ones(3, 4)
        >>> log_joint(model, x, z=code_grid(1, n=50)).shape
        torch.Size([50, 3])
    """
    validate.kind("model", model, VAE)
    x = validate.rows("x", x, model.shape, model.dtype).to(model.device)
    told = None if y is None else y.expand(len(z), *y.shape[1:])
    with at_rest(model):
        if type(model).log_likelihood is VAE.log_likelihood:
            table = _of_pairs(model.likelihood, x, model.decode(z, told))
        else:  # its own formula, code by code
            one = None if y is None else y.expand(len(x), *y.shape[1:])
            each = (code.expand(len(x), -1) for code in z)
            rows = [model.log_likelihood(x, code, one) for code in each]
            table = torch.stack(rows)
        told = model.condition_vector(told, len(z))
        prior = model.prior.log_prob(z.to(model.device), told)
    return (table + prior[:, None]).cpu()


def _of_pairs(likelihood: Any, x: Tensor, params: Tensor) -> Tensor:
    """log p(x|z) of every x with the params of every code, (G, B)."""
    if hasattr(likelihood, "log_prob_of_pairs"):
        return likelihood.log_prob_of_pairs(x, params)
    # all pairs of all values at once would not fit in memory
    size = max(1, 4_000_000 // max(1, len(x) * params[0].numel()))
    each = [
        part[:, None].expand(-1, len(x), *params.shape[1:])
        for part in params.split(size)
    ]
    return torch.cat([likelihood.log_prob(x, part) for part in each])


def log_evidence(
    model: VAE,
    x: Tensor,
    y: Tensor | None = None,
    n: int = 300,
    limit: float = 5.0,
) -> Tensor:
    """log p(x), or log p(x|y), summed over a grid of codes.

    The integral of p(x|z) p(z) over z as a sum over n^L cells: exact up to
    the width of a cell and what lies beyond the limit. Halve the cells, or
    double the limit, to see how much is missing.

    Args:
        model: a VAE or CVAE of one or two latent dimensions.
        x: rows, (B, *shape).
        y: labels (B,) or conditions (B, C), where the model needs them.
        n, limit: as for `code_grid`.

    Returns:
        Nats, float64 (B,), on the CPU.

    Raises:
        TypeError, ValueError: x, y or the grid do not fit the model.

    Example:
        >>> model, x = VAE(n_latent=1, shape=(4,)), torch.ones(1, 4)
        >>> for weight in model.parameters():
        ...     _ = nn.init.zeros_(weight)
        >>> round(log_evidence(model, x).item(), 4)  # -4 ln 2
        -2.7726
    """
    validate.kind("model", model, VAE)
    x = validate.rows("x", x, model.shape, model.dtype)
    validate.finite("x", x, model.support)
    grid = code_grid(model.n_latent, n, limit)
    log_cell = model.n_latent * math.log(2 * limit / n)
    total = torch.full((len(x),), -math.inf, dtype=torch.float64)
    groups = [torch.arange(len(x))]
    if model.condition_vector(y, len(x)) is None:
        y = None  # it is told nothing
    if y is not None:  # rows of one condition share the decoder's work
        y = y.cpu()
        # NaN, a withheld condition, would not be equal to itself
        told = y.nan_to_num(math.inf) if y.is_floating_point() else y
        _, which = told.unique(dim=0, return_inverse=True)
        groups = [(which == i).nonzero()[:, 0] for i in which.unique()]
    with at_rest(model):
        for rows in groups:
            one = None if y is None else y[rows[:1]]
            for z in grid.split(10_000):
                part = log_joint(model, x[rows], z, one).double().logsumexp(0)
                total[rows] = torch.logaddexp(total[rows], part)
    return total + log_cell


def optimise_q(
    model: VAE,
    x: Tensor,
    y: Tensor | None = None,
    steps: int = 300,
    lr: float = 0.02,
    n_samples: int = 8,
    seed: int = 0,
    full: bool = False,
) -> tuple[Tensor, Tensor]:
    """The best normal q(z) of each image, found by gradient steps.

    Starts at the encoder's answer and raises the ELBO of each image by
    itself (Cremer et al. 2018). The second half of the steps is averaged.

    Args:
        model: a VAE or CVAE; its weights stay as they are.
        x: rows, (B, *shape); y: labels, (B,), where the model needs them.
        steps, lr: of Adam.
        n_samples: codes drawn for each image and step.
        seed: selects them.
        full: whether dimensions of q may depend on each other.

    Returns:
        mu and logvar, (B, L) each, on the CPU; if full, mu and the Cholesky
        factor of the covariance, (B, L, L).

    Example:
        >>> model, x = VAE(n_latent=2, shape=(4,)), torch.ones(3, 4)
        >>> mu, logvar = optimise_q(model, x, steps=2)
        >>> mu.shape, logvar.shape
        (torch.Size([3, 2]), torch.Size([3, 2]))
    """
    validate.kind("model", model, VAE)
    steps = validate.whole("steps", steps, 1, 300)
    lr = validate.number("lr", lr, 0.02)
    n_samples = validate.whole("n_samples", n_samples, 1, 8)
    seed = validate.whole("seed", seed, 0, 0)
    noise = seeded("cpu", "optimise", seed)
    with at_rest(model), torch.enable_grad():
        parts = [p.detach().clone() for p in model.encode(x, y)]
        if full:
            parts.append(torch.zeros_like(parts[0].diag_embed()))
        means = [torch.zeros_like(p) for p in parts]
        adam = torch.optim.Adam([p.requires_grad_() for p in parts], lr)
        for step in range(steps):
            q = _normal(*parts)
            weights = log_importance_weights(model, x, y, n_samples, noise, q)
            loss = -weights.mean(0).sum()
            for p, gradient in zip(parts, torch.autograd.grad(loss, parts)):
                p.grad = gradient
            adam.step()
            if step >= steps // 2:
                for mean, p in zip(means, parts):
                    mean += p.detach() / (steps - steps // 2)
    mu, spread = _normal(*means)
    return mu.cpu(), spread.cpu()


def _normal(
    mu: Tensor, logvar: Tensor, below: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """A diagonal normal, or what is below the diagonal makes it a full one."""
    if below is None:
        return mu, logvar
    return mu, below.tril(-1) + (0.5 * logvar).exp().diag_embed()


def gradient_samples(
    f, mu: Tensor, logvar: Tensor, n: int, generator: torch.Generator
) -> dict[str, Tensor]:
    """Single-sample estimates of the gradient of E_q[f(z)] by mu.

    The score function f(z) d log q(z) / d mu (Williams 1992) and the
    pathwise df(mu + sigma noise) / d mu (Kingma & Welling 2014), on the
    same codes. Both have the true gradient as their mean.

    Args:
        f: codes (n, L) -> values (n,), differentiable.
        mu, logvar: of q, (L,).
        n: codes drawn.
        generator: source of the noise.

    Returns:
        "score function" and "pathwise", (n, L) each, on the CPU.

    Example:
        >>> zero, noise = torch.zeros(2), seeded("cpu", "noise")
        >>> found = gradient_samples(lambda z: z.sum(-1), zero, zero, 3, noise)
        >>> found["pathwise"].mean(0), found["score function"].shape
        (tensor([1., 1.]), torch.Size([3, 2]))
    """
    mu, logvar = mu.expand(n, -1), logvar.expand(n, -1)
    z = reparameterize(mu, logvar, generator).requires_grad_()
    values = f(z)
    (pathwise,) = torch.autograd.grad(values.sum(), z)
    score = (z - mu) * (-logvar).exp()
    return {
        "score function": (values[:, None] * score).detach().cpu(),
        "pathwise": pathwise.cpu(),
    }


def posteriors(
    model: VAE, data: Rows, batch_size: int = 1000
) -> tuple[Tensor, Tensor]:
    """mu and logvar of q(z|x) for each row.

    Args:
        model: a VAE or CVAE.
        data: prepared once as the likelihood wants.
        batch_size: rows at a time.

    Returns:
        mu, logvar, (N, L) each, on the CPU.

    Raises:
        TypeError: model or data of another kind.

    Example:
        >>> from minivae.data import Table
        >>> model, data = VAE(n_latent=2, shape=(4,)), Table(torch.eye(4))
        >>> mu, logvar = posteriors(model, data)
        >>> mu.shape, logvar.shape
        (torch.Size([4, 2]), torch.Size([4, 2]))
    """
    validate.kind("model", model, VAE)
    with at_rest(model):
        parts = [model.encode(x, y) for x, y in _pass(model, data, batch_size)]
    mu, logvar = (torch.cat(p).cpu() for p in zip(*parts))
    return mu, logvar


def kl_per_dimension(model: VAE, data: Rows) -> Tensor:
    """Mean KL from q(z|x) to the prior of each latent dimension.

    Args:
        model: a VAE or CVAE, whose prior is a normal distribution.
        data: prepared once as the likelihood wants.

    Returns:
        Nats per row, (L,).

    Raises:
        TypeError: the prior's KL is not a sum over dimensions.

    Example:
        >>> from minivae.data import Table
        >>> model, data = VAE(n_latent=2, shape=(4,)), Table(torch.zeros(3, 4))
        >>> kl_per_dimension(model, data)  # untrained, blank: the prior
        tensor([0., 0.])
    """
    mu, logvar = posteriors(model, data)
    if not hasattr(model.prior, "kl_each"):
        raise TypeError(
            f"model: expected a prior with kl_each, got a "
            f"{type(model.prior).__name__}, whose KL is no sum over "
            "dimensions; look at active_units instead"
        )
    told = model.condition_vector(data.y, len(mu))
    with at_rest(model):
        to = model.device, model.dtype
        each = model.prior.kl_each(mu.to(*to), logvar.to(*to), told)
    return each.cpu().mean(0)


def active_units(model: VAE, data: Rows, threshold: float = 0.01) -> Tensor:
    """Which latent dimensions the code uses.

    A dimension is active where the mean of q(z|x) moves with x: where its
    variance over the rows exceeds the threshold (Burda et al. 2016).

    Args:
        model: a VAE or CVAE.
        data: prepared once as the likelihood wants.
        threshold: least variance of mu that counts.

    Returns:
        bool, (L,).

    Example:
        >>> from minivae.data import Table
        >>> model, data = VAE(n_latent=2, shape=(4,)), Table(torch.zeros(3, 4))
        >>> active_units(model, data)  # rows that do not differ
        tensor([False, False])
    """
    threshold = validate.number("threshold", threshold, 0.01, zero=True)
    mu, _ = posteriors(model, data)
    return mu.var(0) > threshold


@torch.no_grad()
def split_kl(
    model: VAE, data: Rows, n_samples: int = 1, seed: int = 0
) -> dict[str, float]:
    """The mean KL as information plus the marginal KL.

    Hoffman & Johnson 2016: with q(z), the aggregate posterior, being the
    mixture of q(z|x) over these N digits,
    E[KL(q(z|x) || p(z))] = I(n; z) + KL(q(z) || p(z)).
    I is what a code tells about which of the N digits it came from, at most
    log N. For a model of one label all three are meant within a label, and N
    is the number of its digits; several conditions are not told apart.

    Args:
        model: a VAE or CVAE.
        data: any number of rows; the work grows with its square.
        n_samples: codes drawn for each row.
        seed: selects them.

    Returns:
        "kl", "information", "marginal_kl": nats per digit, estimated with
        the same codes, so that the first is the sum of the others.

    Example:
        >>> from minivae.data import Table
        >>> model, data = VAE(n_latent=2, shape=(4,)), Table(torch.eye(4))
        >>> found = split_kl(model, data)
        >>> found["kl"] == found["information"] + found["marginal_kl"]
        True
    """
    n_samples = validate.whole("n_samples", n_samples, 1, 1)
    seed = validate.whole("seed", seed, 0, 0)
    mu, logvar = (p.double() for p in posteriors(model, data))
    standard = type(model.prior) is StandardNormal
    noise = seeded("cpu", "split", seed)
    groups = [torch.arange(len(mu))]
    if model.n_classes and data.y is not None:
        labels = data.y.cpu()
        groups = [(labels == c).nonzero()[:, 0] for c in labels.unique()]
    sums = torch.zeros(2, dtype=torch.float64)
    for rows in groups:
        precision = (-logvar[rows]).exp()  # (N, L)
        centre = mu[rows] * precision
        constant = (mu[rows] * centre + logvar[rows]).sum(-1)
        constant += mu.shape[1] * math.log(2 * math.pi)  # (N,)
        for part in rows.repeat(n_samples).split(1000):
            z = reparameterize(mu[part], logvar[part], noise)
            # log q(z|n) of each code under each digit's q, (1000, N)
            table = -0.5 * (z.square() @ precision.T + constant)
            table += z @ centre.T
            log_q = table.logsumexp(1) - math.log(len(rows))
            own = gaussian_log_density(z, mu[part], logvar[part])
            # a prior of your own has weights, and they a device and a type
            code = z if standard else z.to(model.device, model.dtype)
            told = None if data.y is None else data.y[part]
            told = model.condition_vector(told, len(part))
            prior = model.prior.log_prob(code, told).cpu()
            sums[0] += (own - log_q).sum()
            sums[1] += (log_q - prior).sum()
    information, marginal = (sums / (n_samples * len(mu))).tolist()
    return {
        "kl": information + marginal,
        "information": information,
        "marginal_kl": marginal,
    }


class Classifier(nn.Module):
    """Reads digits, to say what a generated picture shows.

    A small convolutional network in the manner of LeCun et al. 1998, trained
    by `fit` like any model here. It reads grey pictures and has its own
    errors: state `accuracy` on the test set beside what it says.

    Args:
        seed: selects the initial weights.
        n_classes: labels are 0 to n_classes - 1.
        shape: of a picture, (C, H, W).

    Raises:
        ValueError: an option is out of range.

    Example:
        >>> Classifier().read(torch.zeros(2, 28, 28)).shape
        torch.Size([2, 10])
    """

    support = (0.0, 1.0)

    def __init__(
        self,
        seed: int = 0,
        n_classes: int = 10,
        shape: tuple[int, ...] = (1, 28, 28),
    ) -> None:
        super().__init__()
        seed = validate.whole("seed", seed, 0, 0)
        self.n_classes = validate.whole("n_classes", n_classes, 1, 10)
        self.shape = validate.sizes("shape", shape, (1, 28, 28))
        if len(self.shape) != 3:
            raise ValueError(
                f"shape: expected (channels, height, width), got {shape}; "
                "give one such as (1, 28, 28)"
            )
        self.options = {
            "seed": seed,
            "n_classes": self.n_classes,
            "shape": self.shape,
        }
        channels, *sides = self.shape
        height, width = (-(-side // 4) for side in sides)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.layers = nn.Sequential(
                nn.Identity(),  # older files count from 1
                nn.Conv2d(channels, 24, 5, stride=2, padding=2),
                nn.ReLU(),
                nn.Conv2d(24, 48, 5, stride=2, padding=2),
                nn.ReLU(),
                nn.Flatten(),
                nn.Linear(48 * height * width, 128),
                nn.ReLU(),
                nn.Linear(128, self.n_classes),
            )

    def encode(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Log odds of the classes, (B, n_classes), of x (B, C, H, W)."""
        x = validate.rows("x", x, self.shape)
        validate.finite("x", x, self.support)
        return self.layers(x.to(next(self.parameters()).device))

    def forward(
        self,
        x: Tensor,
        y: Tensor | None,
        noise: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """The cross-entropy of each picture, "loss" (B,), in nats."""
        odds = self.encode(x)
        y = validate.labels(y, len(x), self.n_classes).to(odds.device)
        return {"loss": cross_entropy(odds, y, reduction="none")}

    def read(self, images: Tensor) -> Tensor:
        """Probabilities of the classes.

        Args:
            images: in [0, 1], (N, H, W) or (N, C, H, W).

        Returns:
            (N, n_classes), rows sum to 1, on the CPU.
        """
        images = validate.rows("images", images, self.shape)
        validate.finite("images", images, self.support)
        with at_rest(self):
            parts = [self.encode(x).softmax(-1) for x in images.split(1000)]
        return torch.cat(parts).cpu()

    def accuracy(self, digits: Images) -> float:
        """Share of pictures that are read as labelled."""
        validate.kind("digits", digits, Images)
        if digits.labels is None:
            raise ValueError(
                "digits: expected pictures with labels, got none; give them "
                "as Images(images, labels)"
            )
        read = self.read(digits.x()).argmax(1)
        return (read == digits.labels.cpu()).double().mean().item()


def codes(model: Autoencoder, data: Rows, batch_size: int = 1000) -> Tensor:
    """The code of each row, for maps: mu of q(z|x), or the code itself.

    Args:
        model: any of the three.
        data: prepared once as the likelihood wants.
        batch_size: rows at a time.

    Returns:
        (N, L) on the CPU.

    Raises:
        TypeError: model or data of another kind.

    Example:
        >>> from minivae.data import Table
        >>> model = Autoencoder(n_latent=2, shape=(4,))
        >>> codes(model, Table(torch.eye(4))).shape
        torch.Size([4, 2])
    """
    validate.kind("model", model, Autoencoder)
    with at_rest(model):
        rows = _pass(model, data, batch_size)
        return torch.cat([model.encode_mean(x, y) for x, y in rows]).cpu()
