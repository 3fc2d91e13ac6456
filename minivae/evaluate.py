"""Numbers about a trained model, in nats per digit.

Everything is summed over the data and divided once, so a short last batch
counts for what it is. Binary models are scored on a test set binarised once,
the same on every machine.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from minivae import validate
from minivae.data import Digits, Rows, Table, batches, seeded
from minivae.engine import Workers
from minivae.models import VAE, Autoencoder
from minivae.objective import (
    gaussian_kl,
    gaussian_log_density,
    importance_bound,
    reparameterize,
)


@torch.no_grad()
def evaluate(
    model: Autoencoder,
    digits: Rows,
    seed: int = 0,
    batch_size: int = 1000,
    workers: Workers | None = None,
) -> dict[str, float]:
    """Means over the digits of the loss terms and of the ELBO.

    Kingma & Welling 2014, equation 3, with z drawn once from q(z|x).

    Args:
        model: a trained model; its weights stay as they are.
        digits: to score; binarised once if the model is of binary pixels.
        seed: selects the codes that are drawn.
        batch_size: digits at a time. Changes which noise a digit gets, and
            nothing else.
        workers: processes that each score a share; None is this one alone.

    Returns:
        "reconstruction", -log p(x|z), and, where the model has them, "kl"
        and "elbo" = -(reconstruction + kl); nats per digit. An autoencoder
        has the squared error as "reconstruction" and no ELBO.

    Raises:
        TypeError: model or digits of another kind.
        ValueError: an option is out of range.

    Example:
        >>> model, data = VAE(n_latent=2, n_pixels=4), Table(torch.eye(4))
        >>> for weight in model.parameters():
        ...     _ = nn.init.zeros_(weight)
        >>> round(evaluate(model, data)["elbo"], 4)  # -4 ln 2
        -2.7726
    """
    validate.whole("seed", seed, 0, 0)
    validate.kind("model", model, Autoencoder)
    validate.kind("digits", digits, Digits, Table)
    device = next(model.parameters()).device
    if model.binary:
        digits = digits.binarized()
    n = len(digits)
    key: tuple[int, ...] = ()
    if workers is not None and workers.n > 1:
        digits, key = digits[workers.rank :: workers.n], workers.key
    noise = seeded(device, "evaluate", seed, *key)
    sums: dict[str, Tensor] = {}
    for x, y in batches(
        digits, batch_size, device=device, binarize=False, shuffle=False
    ):
        for name, value in model.terms(x, y, noise).items():
            total = value.cpu().double().sum()
            sums[name] = sums.get(name, 0.0) + total
    if workers is not None:  # one alone adds nothing
        sums = {name: workers.total(total) for name, total in sums.items()}
    means = {name: total.item() / n for name, total in sums.items()}
    del means["loss"]  # it depends on beta; its parts do not
    if "kl" in means:
        means["elbo"] = -(means["reconstruction"] + means["kl"])
    return means


@torch.no_grad()
def log_likelihood(
    model: VAE,
    digits: Rows,
    n_samples: int = 100,
    seed: int = 0,
    progress: bool = False,
) -> float:
    """Mean of log p(x), estimated with importance samples from q(z|x).

    Burda et al. 2016, equation 8. A lower bound in expectation, tighter
    with more samples; one sample gives the ELBO.

    Args:
        model: a VAE or CVAE (then it is log p(x|y)).
        digits: to score; binarised once if the model is of binary pixels.
        n_samples: K, codes for each digit, at least 1.
        seed: selects the codes that are drawn.
        progress: whether to show a bar.

    Returns:
        Nats per digit.

    Raises:
        TypeError: the model is an autoencoder, which has no p(x).

    Example:
        >>> model, data = VAE(n_latent=2, n_pixels=4), Table(torch.eye(4))
        >>> for weight in model.parameters():
        ...     _ = nn.init.zeros_(weight)
        >>> round(log_likelihood(model, data, n_samples=5), 4)  # -4 ln 2
        -2.7726
    """
    validate.whole("n_samples", n_samples, 1, 100)
    validate.whole("seed", seed, 0, 0)
    if not isinstance(model, VAE):
        raise TypeError(
            f"model: expected a VAE or CVAE, got {type(model).__name__}, "
            "which has no p(x); score it with evaluate"
        )
    from tqdm.auto import tqdm

    validate.kind("digits", digits, Digits, Table)
    device = next(model.parameters()).device
    if model.binary:
        digits = digits.binarized()
    noise = seeded(device, "importance", seed)
    total = 0.0
    # K times B rows at a time pass through the decoder
    size = max(1, 4000 // n_samples)
    with tqdm(total=len(digits), unit=" digits", disable=not progress) as bar:
        for x, y in batches(
            digits, size, device=device, binarize=False, shuffle=False
        ):
            log_weights = log_importance_weights(model, x, y, n_samples, noise)
            bound = importance_bound(log_weights)  # (B,)
            total += bound.cpu().double().sum().item()
            bar.update(len(x))
    return total / len(digits)


def log_importance_weights(
    model: VAE,
    x: Tensor,
    y: Tensor | None,
    n_samples: int,
    generator: torch.Generator | None = None,
    q: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """log p(x, z) - log q(z|x) for codes z drawn from q(z|x).

    Burda et al. 2016, equation 8.

    Args:
        model: a VAE or CVAE.
        x: pixels, (B, D); y: labels, (B,), where the model needs them.
        n_samples: K.
        generator: source of the noise.
        q: mu and logvar (B, L) to draw from; None is the encoder's.

    Returns:
        Nats, (K, B).

    Example:
        >>> model, x = VAE(n_latent=2, n_pixels=4), torch.ones(3, 4)
        >>> log_importance_weights(model, x, None, n_samples=5).shape
        torch.Size([5, 3])
    """
    validate.kind("model", model, VAE)
    validate.whole("n_samples", n_samples, 1, 100)
    q = model.encode(x, y) if q is None else q
    mu, logvar = (p.expand(n_samples, -1, -1) for p in q)
    z = reparameterize(mu, logvar, generator)  # (K, B, L)
    standard = torch.zeros_like(z)
    return (
        model.log_likelihood(x, z, y)
        + gaussian_log_density(z, standard, standard)
        - gaussian_log_density(z, mu, logvar)
    )


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
    validate.whole("n", n, 1, 300)
    validate.number("limit", limit, 5.0)
    if n_latent not in (1, 2):
        raise ValueError(
            f"n_latent: expected 1 or 2 dimensions for a grid, got "
            f"{n_latent}; use log_likelihood, which draws samples instead"
        )
    steps = (torch.arange(n) + 0.5) * (2 * limit / n) - limit
    return torch.cartesian_prod(*[steps] * n_latent).view(-1, n_latent)


@torch.no_grad()
def log_joint(
    model: VAE, x: Tensor, z: Tensor, y: Tensor | None = None
) -> Tensor:
    """log p(x, z) of every image with every code.

    Args:
        model: a VAE or CVAE.
        x: pixels, (B, D).
        z: codes, (G, L).
        y: one condition for all, as the model takes it, with one row.

    Returns:
        Nats, (G, B).

    Example:
        >>> model, x = VAE(n_latent=1, n_pixels=4), torch.ones(3, 4)
        >>> log_joint(model, x, z=code_grid(1, n=50)).shape
        torch.Size([50, 3])
    """
    told = None if y is None else y.expand(len(z), *y.shape[1:])
    out = model.decode(z, told)  # (G, D)
    # these two need one product of matrices: all pairs of pixels at once
    # would not fit into memory
    if model.options["likelihood"] == "bernoulli":
        fixed = -nn.functional.softplus(out).sum(-1)  # (G,)
        table = out @ x.T + fixed[:, None]
    elif model.options["likelihood"] == "gaussian":
        distance = torch.cdist(
            out.double(),
            x.double(),
            compute_mode="donot_use_mm_for_euclid_dist",
        )
        log_sigma = model.log_sigma.double()
        table = -0.5 * (distance * (-log_sigma).exp()).square()
        table -= x.shape[-1] * (log_sigma + 0.5 * math.log(2 * math.pi))
    else:  # code by code
        told = None if y is None else y.expand(len(x), *y.shape[1:])
        one_by_one = (code.expand(len(x), -1) for code in z)
        table = torch.stack(
            [model.log_likelihood(x, code, told) for code in one_by_one]
        )
    prior = gaussian_log_density(z, torch.zeros_like(z), torch.zeros_like(z))
    return table + prior[:, None]


@torch.no_grad()
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
        x: pixels, (B, D).
        y: labels (B,) or conditions (B, C), where the model needs them.
        n, limit: as for `code_grid`.

    Returns:
        Nats, float64 (B,).

    Raises:
        TypeError, ValueError: x, y or the grid do not fit the model.

    Example:
        >>> model, x = VAE(n_latent=1, n_pixels=4), torch.ones(1, 4)
        >>> for weight in model.parameters():
        ...     _ = nn.init.zeros_(weight)
        >>> round(log_evidence(model, x).item(), 4)  # -4 ln 2
        -2.7726
    """
    validate.kind("model", model, VAE)
    validate.rows("x", x, model.n_pixels, model.dtype, model.unit)
    device = next(model.parameters()).device
    grid = code_grid(model.n_latent, n, limit).to(device)
    log_cell = model.n_latent * math.log(2 * limit / n)
    total = torch.full((len(x),), -math.inf, dtype=torch.float64)
    groups = [torch.arange(len(x))]
    if y is not None:  # images of one condition share the decoder's work
        # NaN, a withheld condition, would not be equal to itself
        told = y.cpu().nan_to_num(math.inf)
        _, which = told.unique(dim=0, return_inverse=True)
        groups = [(which == i).nonzero()[:, 0] for i in which.unique()]
    for rows in groups:
        one = None if y is None else y[rows[:1]]
        for z in grid.split(10_000):
            part = log_joint(model, x[rows], z, one).double().logsumexp(0)
            total[rows] = torch.logaddexp(total[rows], part.cpu())
    return total + log_cell


def optimise_q(
    model: VAE,
    x: Tensor,
    y: Tensor | None = None,
    steps: int = 300,
    lr: float = 0.02,
    n_samples: int = 8,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    """The best normal q(z) of each image, found by gradient steps.

    Starts at the encoder's answer and raises the ELBO of each image by
    itself (Cremer et al. 2018). The second half of the steps is averaged.

    Args:
        model: a VAE or CVAE; its weights stay as they are.
        x: pixels, (B, D); y: labels, (B,), where the model needs them.
        steps, lr: of Adam.
        n_samples: codes drawn for each image and step.
        seed: selects them.

    Returns:
        mu, logvar, (B, L) each.

    Example:
        >>> model, x = VAE(n_latent=2, n_pixels=4), torch.ones(3, 4)
        >>> mu, logvar = optimise_q(model, x, steps=2)
        >>> mu.shape, logvar.shape
        (torch.Size([3, 2]), torch.Size([3, 2]))
    """
    validate.kind("model", model, VAE)
    validate.whole("steps", steps, 1, 300)
    validate.number("lr", lr, 0.02)
    validate.whole("n_samples", n_samples, 1, 8)
    validate.whole("seed", seed, 0, 0)
    mu, logvar = (
        p.detach().clone().requires_grad_() for p in model.encode(x, y)
    )
    q = mu, logvar
    means = [torch.zeros_like(p) for p in q]
    adam = torch.optim.Adam(q, lr)
    noise = seeded(x.device, "optimise", seed)
    for step in range(steps):
        log_weights = log_importance_weights(model, x, y, n_samples, noise, q)
        loss = -log_weights.mean(0).sum()
        q[0].grad, q[1].grad = torch.autograd.grad(loss, q)
        adam.step()
        if step >= steps // 2:
            for mean, p in zip(means, q):
                mean += p.detach() / (steps - steps // 2)
    return means[0], means[1]


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
        "score function" and "pathwise", (n, L) each.

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
        "score function": (values[:, None] * score).detach(),
        "pathwise": pathwise,
    }


@torch.no_grad()
def posteriors(
    model: VAE, digits: Rows, batch_size: int = 1000
) -> tuple[Tensor, Tensor]:
    """mu and logvar of q(z|x) for each digit.

    Args:
        model: a VAE or CVAE.
        digits: binarised once if the model is of binary pixels.
        batch_size: digits at a time.

    Returns:
        mu, logvar, (N, L) each, on the CPU.

    Raises:
        TypeError: model or digits of another kind.

    Example:
        >>> model, data = VAE(n_latent=2, n_pixels=4), Table(torch.eye(4))
        >>> mu, logvar = posteriors(model, data)
        >>> mu.shape, logvar.shape
        (torch.Size([4, 2]), torch.Size([4, 2]))
    """
    validate.kind("digits", digits, Digits, Table)
    validate.kind("model", model, VAE)
    device = next(model.parameters()).device
    if model.binary:
        digits = digits.binarized()
    parts = [
        model.encode(x, y)
        for x, y in batches(
            digits, batch_size, device=device, binarize=False, shuffle=False
        )
    ]
    mu, logvar = (torch.cat(p).cpu() for p in zip(*parts))
    return mu, logvar


def kl_per_dimension(model: VAE, digits: Rows) -> Tensor:
    """Mean KL of each latent dimension.

    Args:
        model: a VAE or CVAE.
        digits: binarised once if the model is of binary pixels.

    Returns:
        Nats per digit, (L,).

    Example:
        >>> model, data = VAE(n_latent=2, n_pixels=4), Table(torch.zeros(3, 4))
        >>> kl_per_dimension(model, data)  # untrained, blank: the prior
        tensor([0., 0.])
    """
    mu, logvar = posteriors(model, digits)
    return gaussian_kl(mu[..., None], logvar[..., None]).mean(0)


def active_units(model: VAE, digits: Rows, threshold: float = 0.01) -> Tensor:
    """Which latent dimensions the code uses.

    A dimension is active where the mean of q(z|x) moves with x: where its
    variance over the digits exceeds the threshold (Burda et al. 2016).

    Args:
        model: a VAE or CVAE.
        digits: binarised once if the model is of binary pixels.
        threshold: least variance of mu that counts.

    Returns:
        bool, (L,).

    Example:
        >>> model, data = VAE(n_latent=2, n_pixels=4), Table(torch.zeros(3, 4))
        >>> active_units(model, data)  # rows that do not differ
        tensor([False, False])
    """
    validate.number("threshold", threshold, 0.01, zero=True)
    mu, _ = posteriors(model, digits)
    return mu.var(0) > threshold


@torch.no_grad()
def split_kl(
    model: VAE, digits: Rows, n_samples: int = 1, seed: int = 0
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
        digits: any number; the work grows with its square.
        n_samples: codes drawn for each digit.
        seed: selects them.

    Returns:
        "kl", "information", "marginal_kl": nats per digit, estimated with
        the same codes, so that the first is the sum of the others.

    Example:
        >>> model, data = VAE(n_latent=2, n_pixels=4), Table(torch.eye(4))
        >>> found = split_kl(model, data)
        >>> found["kl"] == found["information"] + found["marginal_kl"]
        True
    """
    validate.whole("n_samples", n_samples, 1, 1)
    validate.whole("seed", seed, 0, 0)
    mu, logvar = (p.double() for p in posteriors(model, digits))
    noise = seeded("cpu", "split", seed)
    groups = [torch.arange(len(mu))]
    if model.n_classes and digits.y is not None:
        labels = digits.y.cpu()
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
            standard = torch.zeros_like(z)
            prior = gaussian_log_density(z, standard, standard)
            sums[0] += (own - log_q).sum()
            sums[1] += (log_q - prior).sum()
    information, marginal = (sums / (n_samples * len(mu))).tolist()
    return {
        "kl": information + marginal,
        "information": information,
        "marginal_kl": marginal,
    }


class Judge(nn.Module):
    """A frozen reader of digits, to say what a generated image shows.

    A small convolutional network in the manner of LeCun et al. 1998, trained
    by `fit` like any model here. It reads grey images and has its own
    errors: state `accuracy` on the test set beside what it says.

    Args:
        seed: selects the initial weights.

    Raises:
        ValueError: the seed is out of range.

    Example:
        >>> Judge().read(torch.zeros(2, 28, 28)).shape
        torch.Size([2, 10])
    """

    binary = False
    n_classes = 10
    n_pixels = 784

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        validate.whole("seed", seed, 0, 0)
        self.options = {"seed": seed}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.layers = nn.Sequential(
                nn.Unflatten(1, (1, 28, 28)),
                nn.Conv2d(1, 24, 5, stride=2, padding=2),
                nn.ReLU(),
                nn.Conv2d(24, 48, 5, stride=2, padding=2),
                nn.ReLU(),
                nn.Flatten(),
                nn.Linear(48 * 7 * 7, 128),
                nn.ReLU(),
                nn.Linear(128, 10),
            )

    def encode(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Log odds of the ten digits, (B, 10), of pixels x (B, 784)."""
        validate.rows("x", x, self.n_pixels, unit=True)
        return self.layers(x)

    def terms(
        self,
        x: Tensor,
        y: Tensor,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """The cross-entropy of each digit, "loss" (B,), in nats."""
        odds = self.encode(x)
        validate.labels(y, len(x), self.n_classes)
        return {"loss": cross_entropy(odds, y, reduction="none")}

    @torch.no_grad()
    def read(self, images: Tensor) -> Tensor:
        """Probabilities of the ten digits.

        Args:
            images: in [0, 1], (N, 28, 28).

        Returns:
            (N, 10), rows sum to 1.
        """
        validate.kind("images", images, Tensor)
        rows = images.flatten(1) if images.ndim > 1 else images
        validate.rows("images", rows, self.n_pixels, unit=True)
        return torch.cat(
            [self.encode(x).softmax(-1) for x in rows.split(1000)]
        )

    def accuracy(self, digits: Digits) -> float:
        """Share of digits that are read as labelled."""
        validate.kind("digits", digits, Digits)
        read = self.read(digits.images.float() / 255).argmax(1)
        return (read == digits.labels).double().mean().item()


@torch.no_grad()
def codes(model: Autoencoder, digits: Rows, batch_size: int = 1000) -> Tensor:
    """The code of each digit, for maps: mu of q(z|x), or the code itself.

    Args:
        model: any of the three.
        digits: binarised once if the model is of binary pixels.
        batch_size: digits at a time.

    Returns:
        (N, L) on the CPU.

    Raises:
        TypeError: model or digits of another kind.

    Example:
        >>> model = Autoencoder(n_latent=2, n_pixels=4)
        >>> codes(model, Table(torch.eye(4))).shape
        torch.Size([4, 2])
    """
    validate.kind("model", model, Autoencoder)
    validate.kind("digits", digits, Digits, Table)
    device = next(model.parameters()).device
    if model.binary:
        digits = digits.binarized()
    parts = [
        model.code(x, y).cpu()
        for x, y in batches(
            digits, batch_size, device=device, binarize=False, shuffle=False
        )
    ]
    return torch.cat(parts)
