"""p(x|z): what a decoder says about x, one small class for each kind.

What the package asks of a likelihood:

- `n_params`, the numbers that a decoder emits for each value of x;
- `log_prob(x, params)`, nats of each row;
- `mean(params)` and `sample(params, generator)`, rows to look at;
- `prepare(x, generator)`, what is done to data before they are scored.

`sample` and `prepare` may be missing where nobody calls them. A kind may also
have a `name`, a `support`, be `binary` (0 or 1, for which half the bits are
enough), and know a shorter way to `log_prob_of_pairs`.

x is (B, *shape). params are (..., B, *shape), with one more dimension of
n_params at the end where that is more than one.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax, logsigmoid, softplus

from minivae import validate
from minivae.objective import (
    bernoulli_log_likelihood,
    binarize,
    gaussian_log_likelihood,
    normal_like,
    uniform_like,
)


def sum_rows(nats: Tensor, x: Tensor) -> Tensor:
    """Add up the values of each row.

    Args:
        nats: one number for each value, (..., B, *shape).
        x: rows of that shape, (B, *shape).

    Returns:
        (..., B).

    Example:
        >>> x = torch.zeros(5, 1, 28, 28)
        >>> sum_rows(torch.ones(3, 5, 1, 28, 28), x).shape
        torch.Size([3, 5])
    """
    return nats.flatten(1 - x.ndim).sum(-1)


class Likelihood(nn.Module):
    """What the kinds below share. Your own may inherit it or not.

    Attributes:
        name: as the options and the command line call it.
        n_params: numbers that the decoder emits for each value of x.
        support: lowest and highest value that x may have, or None.

    Example:
        >>> class Laplace(Likelihood):
        ...     name = "laplace"
        ...
        ...     def log_prob(self, x, params):
        ...         return sum_rows(-(x - params).abs() - math.log(2), x)
        >>> nats = Laplace().log_prob(torch.zeros(5, 3), torch.zeros(5, 3))
        >>> nats.shape, Laplace().mean(torch.ones(1))
        (torch.Size([5]), tensor([1.]))
    """

    name = ""
    n_params = 1
    support: tuple[float, float] | None = None

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        """log p(x|z) in nats, (..., B)."""
        raise NotImplementedError(f"{type(self).__name__}: write log_prob")

    def mean(self, params: Tensor) -> Tensor:
        """The mean of x, (..., B, *shape)."""
        return params

    def sample(
        self, params: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """x drawn from p(x|z), (..., B, *shape)."""
        raise NotImplementedError(f"{type(self).__name__}: write sample")

    def prepare(
        self, x: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """What training and evaluation score instead of x; here x itself."""
        return x


class Bernoulli(Likelihood):
    """Values that are 0 or 1; params are logits.

    Kingma & Welling 2014, appendix C.1. Grey pixels are drawn as 0 or 1
    before they are scored, anew in each epoch of training.

    Example:
        >>> likelihood, logits = Bernoulli(), torch.zeros(1, 784)
        >>> round(likelihood.log_prob(torch.ones(1, 784), logits).item(), 1)
        -543.4
    """

    name = "bernoulli"
    support = (0.0, 1.0)
    binary = True  # x is 0 or 1, which bf16 holds exactly

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        """log p(x|z) in nats, (..., B)."""
        logits = params.flatten(1 - x.ndim)
        # 0 and 1 are exact in any type, so half the bits are half the work
        return bernoulli_log_likelihood(x.flatten(1).to(logits), logits)

    def log_prob_of_pairs(self, x: Tensor, params: Tensor) -> Tensor:
        """Of every x with every code, (G, B), as one product of matrices.

        Args:
            x: (B, *shape).
            params: of G codes, (G, *shape).
        """
        logits = params.flatten(1)
        return logits @ x.flatten(1).T - softplus(logits).sum(1)[:, None]

    def mean(self, params: Tensor) -> Tensor:
        """The probability of a 1, (..., B, *shape)."""
        return params.sigmoid()

    def sample(
        self, params: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """0 or 1, (..., B, *shape)."""
        return binarize(params.sigmoid(), generator)

    prepare = staticmethod(binarize)  # 0 or 1, 1 with probability x


class GreyBernoulli(Bernoulli):
    """The Bernoulli formula for grey pixels, which are not drawn as 0 or 1.

    Its expectation over such draws, the cross-entropy: no density of grey
    pixels, but what much published work states.

    Example:
        >>> x, logits = torch.full((1, 2), 0.5), torch.zeros(1, 2)
        >>> round(GreyBernoulli().log_prob(x, logits).item(), 4)  # -2 ln 2
        -1.3863
    """

    name = "grey_bernoulli"
    binary = False
    prepare = Likelihood.prepare  # x itself


class Gaussian(Likelihood):
    """Values of any size with normal noise; params are means.

    Kingma & Welling 2014, appendix C.2.

    Args:
        sigma: standard deviation of a value; None learns one for all.
        shape: of a row, to learn a sigma for each of its values.

    Attributes:
        log_sigma: log of sigma, one number or one for each value.

    Raises:
        ValueError: sigma is not positive, or given with a shape.

    Example:
        >>> x = torch.zeros(1, 2)
        >>> round(Gaussian(sigma=1.0).log_prob(x, x).item(), 4)
        -1.8379
        >>> Gaussian(shape=(7,)).log_sigma.shape
        torch.Size([7])
    """

    name = "gaussian"

    def __init__(
        self,
        sigma: float | None = None,
        shape: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__()
        if sigma is not None and shape is not None:
            raise ValueError(
                f"sigma: expected none with a shape, got {sigma!r:.40}; leave "
                "one out: with a shape, a sigma is learned for each value"
            )
        self.log_sigma: Tensor
        if sigma is None:
            shape = () if shape is None else shape
            self.log_sigma = nn.Parameter(torch.zeros(shape))
        else:
            log_sigma = math.log(validate.number("sigma", sigma, 0.1))
            self.register_buffer("log_sigma", torch.tensor(log_sigma))

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        """log p(x|z) in nats, (..., B)."""
        return gaussian_log_likelihood(
            x.flatten(1), params.flatten(1 - x.ndim), self._log_sigma()
        )

    def _log_sigma(self) -> Tensor:
        # one number for all values, or (D,)
        return (
            self.log_sigma.flatten() if self.log_sigma.ndim else self.log_sigma
        )

    def log_prob_of_pairs(self, x: Tensor, params: Tensor) -> Tensor:
        """Of every x with every code, (G, B), without all the differences.

        Args:
            x: (B, *shape).
            params: of G codes, (G, *shape).
        """
        log_sigma = self._log_sigma()
        scale = (-log_sigma).exp()
        distance = torch.cdist(
            params.flatten(1) * scale,
            x.flatten(1) * scale,
            compute_mode="donot_use_mm_for_euclid_dist",
        )
        n = x[0].numel()
        constant = log_sigma.expand(n).sum() + n * 0.5 * math.log(2 * math.pi)
        return -0.5 * distance.square() - constant

    def sample(
        self, params: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """x drawn from p(x|z), (..., B, *shape)."""
        noise = normal_like(params, generator)
        return params + self.log_sigma.exp() * noise


class ContinuousBernoulli(Likelihood):
    """A density on [0, 1], such as grey pixels; params are logits.

    Loaiza-Ganem & Cunningham 2019: the Bernoulli formula, divided by its
    integral over [0, 1], which is tanh(logit / 2) / logit.

    Example:
        >>> logits = torch.zeros(1, 3)  # uniform: a density of one
        >>> nats = ContinuousBernoulli().log_prob(torch.rand(1, 3), logits)
        >>> nats.abs() < 1e-6
        tensor([True])
    """

    name = "continuous_bernoulli"
    support = (0.0, 1.0)

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        """log p(x|z) in nats, (..., B)."""
        # an even function, and next to 0 a series instead of 0 / 0
        small = params.abs() < 0.1
        far = torch.where(small, 1.0, params.abs())
        near = torch.where(small, params, 0.0).square()
        log_integral = torch.where(
            small,
            -near / 12 + 7 * near.square() / 1440 - math.log(2),
            (torch.tanh(far / 2) / far).log(),
        )
        nats = x * params - softplus(params) - log_integral
        return sum_rows(nats, x)

    def mean(self, params: Tensor) -> Tensor:
        """The mean, which is not the sigmoid, (..., B, *shape)."""
        small = params.abs() < 0.1
        far = torch.where(small, 1.0, params)
        exact = -1 / torch.expm1(-far) - 1 / far
        series = 0.5 + params / 12 - params**3 / 720
        return torch.where(small, series, exact)

    def sample(
        self, params: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """x drawn from p(x|z), by the inverse of its distribution function."""
        u = uniform_like(params, generator)
        slope = -params.abs().clamp_min(1e-3)
        x = torch.log1p(u * torch.expm1(slope)) / slope  # leans to 0
        x = x.clamp(0, 1)  # rounding may leave the range
        return torch.where(params > 0, 1 - x, x)


class DiscretizedLogistic(Likelihood):
    """Pixels of 256 levels from 0 to 1; params are mean and log scale.

    Kingma et al. 2016, section 5.2: the mass of a logistic distribution
    between half a level below x and half a level above it. The outermost
    levels take the tails (Salimans et al. 2017).

    Args:
        n_levels: how many levels there are, at least 2.

    Example:
        >>> levels = torch.arange(256)[:, None] / 255
        >>> params = torch.tensor([[0.4, -2.0]]).expand(256, 1, 2)
        >>> mass = DiscretizedLogistic().log_prob(levels, params).exp()
        >>> round(mass.sum().item(), 4)
        1.0
    """

    name = "discretized_logistic"
    n_params = 2
    support = (0.0, 1.0)

    def __init__(self, n_levels: int = 256) -> None:
        super().__init__()
        self.n_levels = validate.whole("n_levels", n_levels, 2, 256)

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        """log p(x|z) in nats, (..., B)."""
        mean, log_scale = self._mean_and_log_scale(params)
        inverse = (-log_scale).exp()
        half = 0.5 / (self.n_levels - 1)
        above = (x - mean + half) * inverse
        below = (x - mean - half) * inverse
        # sigmoid(a) - sigmoid(b), in a form that keeps its digits
        width = torch.log(-torch.expm1(-2 * half * inverse))
        inside = logsigmoid(above) + logsigmoid(-below) + width
        nats = torch.where(
            x < half,
            logsigmoid(above),
            torch.where(x > 1 - half, logsigmoid(-below), inside),
        )
        return sum_rows(nats, x)

    def mean(self, params: Tensor) -> Tensor:
        """The mean of the levels, (..., B, *shape)."""
        mean, log_scale = self._mean_and_log_scale(params)
        inverse = (-log_scale).exp()
        steps = self.n_levels - 1
        # the sum over levels of the chance to be at this level or above
        total = torch.zeros_like(mean)
        for k in range(steps):
            total += ((mean - (k + 0.5) / steps) * inverse).sigmoid()
        return total / steps

    def sample(
        self, params: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Levels drawn from p(x|z), (..., B, *shape)."""
        mean, log_scale = self._mean_and_log_scale(params)
        u = uniform_like(mean, generator).clamp(1e-6, 1 - 1e-6)
        x = mean + log_scale.exp() * u.logit()
        steps = self.n_levels - 1
        return (x * steps).round().clamp(0, steps) / steps

    @staticmethod
    def _mean_and_log_scale(params: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_scale = params.unbind(-1)
        return mean, log_scale.clamp(-7, 40)  # where all stays finite


class Categorical(Likelihood):
    """Values of n levels, each with a probability; params are their logits.

    Van den Oord et al. 2016, section 2.3. Level k stands in the data as
    k / (n - 1), so 256 levels are those of a pixel.

    Args:
        n_levels: how many levels there are, at least 2.

    Example:
        >>> x, logits = torch.tensor([[0.0, 0.5, 1.0]]), torch.zeros(1, 3, 3)
        >>> round(Categorical(3).log_prob(x, logits).item(), 4)  # -3 ln 3
        -3.2958
    """

    name = "categorical"
    support = (0.0, 1.0)

    def __init__(self, n_levels: int = 256) -> None:
        super().__init__()
        self.n_levels = validate.whole("n_levels", n_levels, 2, 256)
        self.n_params = self.n_levels

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        """log p(x|z) in nats, (..., B)."""
        level = (x * (self.n_levels - 1)).round().long()
        level = level.expand(params.shape[:-1])[..., None]
        nats = log_softmax(params, -1).gather(-1, level)[..., 0]
        return sum_rows(nats, x)

    def mean(self, params: Tensor) -> Tensor:
        """The mean of the levels, (..., B, *shape)."""
        return params.softmax(-1) @ self._levels(params)

    def sample(
        self, params: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Levels drawn from p(x|z), (..., B, *shape)."""
        u = uniform_like(params[..., 0], generator)[..., None]
        level = (params.softmax(-1).cumsum(-1) < u).sum(-1)
        level = level.clamp_max(self.n_levels - 1)
        return level / (self.n_levels - 1)

    def _levels(self, like: Tensor) -> Tensor:
        return torch.linspace(0, 1, self.n_levels).to(like)


LIKELIHOODS: dict[str, type[Likelihood]] = {
    kind.name: kind
    for kind in (
        Bernoulli,
        GreyBernoulli,
        Gaussian,
        ContinuousBernoulli,
        DiscretizedLogistic,
        Categorical,
    )
}
# what the field writes too
LIKELIHOODS["discretised_logistic"] = DiscretizedLogistic


def make_likelihood(
    kind: str,
    shape: tuple[int, ...],
    sigma: float | str | None = None,
) -> Likelihood:
    """The likelihood of this name.

    Args:
        kind: a name in `LIKELIHOODS`.
        shape: of a row.
        sigma: of a Gaussian: a number, None to learn one, or "each" to
            learn one for each value of a row.

    Returns:
        A new likelihood.

    Raises:
        ValueError: an unknown name, or a sigma where there is none.

    Example:
        >>> make_likelihood("gaussian", (7,), sigma="each").log_sigma.shape
        torch.Size([7])
    """
    validate.choice("likelihood", kind, tuple(LIKELIHOODS))
    if kind != "gaussian":
        if sigma is not None:
            raise ValueError(
                f"sigma: only a Gaussian has one, got {sigma!r:.40} with "
                f'{kind}; leave it out or choose likelihood="gaussian"'
            )
        return LIKELIHOODS[kind]()
    if isinstance(sigma, str):
        validate.choice("sigma", sigma, ("each",))
        return Gaussian(shape=shape)
    return Gaussian(sigma)
