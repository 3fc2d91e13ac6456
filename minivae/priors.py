"""p(z): how codes are distributed before x is known.

What the package asks of a prior: `kl(mu, logvar, z)`, the KL from q(z|x) to
it; `log_prob(z)`; and `sample(n, n_latent, generator)`. All three get the
condition, or None, as their last argument, also where they make no use of it.
`exact` says whether the KL is a closed form or an estimate from the one code
z. Where it is closed, `kl_each` gives it dimension by dimension.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from minivae import validate
from minivae.networks import MLP
from minivae.objective import (
    gaussian_kl,
    gaussian_kl_between,
    gaussian_log_density,
    reparameterize,
)

N_COMPONENTS = 100  # of a mixture


class StandardNormal(nn.Module):
    """N(0, I): Kingma & Welling 2014.

    Attributes:
        name: as the options and the command line call it.
        exact: whether `kl` is a closed form, or an estimate from one code.

    Example:
        >>> prior, z = StandardNormal(), torch.zeros(3, 2)
        >>> prior.kl(z, z, z), prior.sample(5, 2, torch.Generator()).shape
        (tensor([0., 0., 0.]), torch.Size([5, 2]))
    """

    name = "standard"
    exact = True

    def kl(
        self,
        mu: Tensor,
        logvar: Tensor,
        z: Tensor,
        condition: Tensor | None = None,
    ) -> Tensor:
        """KL from q = N(mu, exp(logvar)) to the prior.

        Args:
            mu, logvar: of q, (..., L).
            z: codes drawn from q, (..., L); a closed form needs none.
            condition: what the model is told, (B, C).

        Returns:
            Nats, (...,).
        """
        return gaussian_kl(mu, logvar)

    def kl_each(
        self, mu: Tensor, logvar: Tensor, condition: Tensor | None = None
    ) -> Tensor:
        """The same for each latent dimension, (..., L)."""
        return gaussian_kl(mu[..., None], logvar[..., None])

    def log_prob(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """log p(z) in nats, (...,), of z (..., L)."""
        zero = torch.zeros_like(z)
        return gaussian_log_density(z, zero, zero)

    def sample(
        self,
        n: int,
        n_latent: int,
        generator: torch.Generator | None = None,
        condition: Tensor | None = None,
    ) -> Tensor:
        """n codes, (n, L), on the device of the generator."""
        device = "cpu" if generator is None else generator.device
        return torch.randn(n, n_latent, generator=generator, device=device)


class ConditionalNormal(nn.Module):
    """p(z|y): a normal distribution whose mean and variance depend on y.

    Sohn et al. 2015. Mean and log variance come from a network. Without
    hidden layers and for one label it is a table with a row for each class.
    It starts close to N(0, I).

    Args:
        n_latent: L.
        n_condition: C, numbers in a condition.
        hidden: sizes of the network's hidden layers.

    Example:
        >>> prior = ConditionalNormal(n_latent=2, n_condition=10)
        >>> mu, logvar = prior.moments(torch.eye(10))
        >>> mu.shape, prior.log_prob(mu, torch.eye(10)).shape
        (torch.Size([10, 2]), torch.Size([10]))
    """

    name = "conditional"
    exact = True

    def __init__(
        self, n_latent: int, n_condition: int, hidden: tuple[int, ...] = ()
    ) -> None:
        super().__init__()
        self.network = MLP(n_condition, *hidden, 2 * n_latent)
        *_, weight, _ = self.network.parameters()  # of the last layer
        weight.data *= 0.1

    def moments(self, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance, (B, L) each, for conditions (B, C)."""
        moments = self.network(condition).to(condition.dtype)
        mu, logvar = moments.chunk(2, -1)
        return mu, logvar

    def kl(
        self, mu: Tensor, logvar: Tensor, z: Tensor, condition: Tensor
    ) -> Tensor:
        """KL from q to the prior in nats, (...,); needs no code."""
        return gaussian_kl_between(mu, logvar, *self.moments(condition))

    def kl_each(self, mu: Tensor, logvar: Tensor, condition: Tensor) -> Tensor:
        """The same for each latent dimension, (..., L)."""
        parts = (mu, logvar, *self.moments(condition))
        return gaussian_kl_between(*(part[..., None] for part in parts))

    def log_prob(self, z: Tensor, condition: Tensor) -> Tensor:
        """log p(z|y) in nats, (...,), of z (..., B, L)."""
        return gaussian_log_density(z, *self.moments(condition))

    @torch.no_grad()
    def sample(
        self,
        n: int,
        n_latent: int,
        generator: torch.Generator | None,
        condition: Tensor,
    ) -> Tensor:
        """A code for each of n conditions, (n, L), on their device."""
        return reparameterize(*self.moments(condition), generator)


class Mixture(nn.Module):
    """A mixture of normal distributions, whose places are learned.

    Tomczak & Welling 2018, where it is compared with `Vamp`. Its KL has no
    closed form: it is estimated as log q(z|x) - log p(z) at the drawn code.

    Args:
        n_latent: L.
        n_components: M, normal distributions in the mixture.

    Example:
        >>> prior = Mixture(n_latent=2, n_components=5)
        >>> z = prior.sample(3, 2, torch.Generator())
        >>> prior.log_prob(z).shape
        torch.Size([3])
    """

    name = "mixture"
    exact = False

    def __init__(
        self, n_latent: int, n_components: int = N_COMPONENTS
    ) -> None:
        super().__init__()
        n = validate.whole("n_components", n_components, 1, N_COMPONENTS)
        self.logits = nn.Parameter(torch.zeros(n))
        self.mu = nn.Parameter(torch.randn(n, n_latent))
        self.logvar = nn.Parameter(torch.zeros(n, n_latent))

    def components(self) -> tuple[Tensor, Tensor, Tensor]:
        """Log weights (M,), means and log variances (M, L)."""
        return log_softmax(self.logits, 0), self.mu, self.logvar

    def kl(
        self,
        mu: Tensor,
        logvar: Tensor,
        z: Tensor,
        condition: Tensor | None = None,
    ) -> Tensor:
        """An unbiased estimate of the KL from one code z, (...,)."""
        return gaussian_log_density(z, mu, logvar) - self.log_prob(z)

    def log_prob(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """log p(z) in nats, (...,), of z (..., L)."""
        log_weights, mu, logvar = self.components()
        each = gaussian_log_density(z[..., None, :], mu, logvar)  # (..., M)
        return (each + log_weights).logsumexp(-1)

    @torch.no_grad()
    def sample(
        self,
        n: int,
        n_latent: int,
        generator: torch.Generator | None = None,
        condition: Tensor | None = None,
    ) -> Tensor:
        """n codes, (n, L), on the device of the weights."""
        log_weights, mu, logvar = self.components()
        device = "cpu" if generator is None else generator.device
        which = (
            log_weights.exp()
            .to(device)
            .multinomial(n, replacement=True, generator=generator)
        )
        which = which.to(mu.device)
        return reparameterize(mu[which], logvar[which], generator)


class Vamp(Mixture):
    """The encoder's answers to M made-up rows, which are learned.

    Tomczak & Welling 2018: the best prior is the mean of q(z|x) over all
    rows, and a few learned pseudo-inputs stand for them.

    Args:
        encode: of the model, from rows to mu and logvar.
        shape: of a row.
        support: the range in which the values of a row lie, or None.
        n_components: M, pseudo-inputs.

    Example:
        >>> encode = lambda x: (x[:, :2], x[:, 2:])
        >>> prior = Vamp(encode, shape=(4,), n_components=5)
        >>> prior.log_prob(torch.zeros(3, 2)).shape
        torch.Size([3])
    """

    name = "vamp"

    def __init__(
        self,
        encode: Callable[[Tensor], tuple[Tensor, Tensor]],
        shape: tuple[int, ...],
        support: tuple[float, float] | None = None,
        n_components: int = N_COMPONENTS,
    ) -> None:
        nn.Module.__init__(self)
        n = validate.whole("n_components", n_components, 1, N_COMPONENTS)
        self.encode, self.support = encode, support
        self.inputs = nn.Parameter(torch.randn(n, *shape))

    def pseudo_inputs(self) -> Tensor:
        """The made-up rows, (M, *shape), in the range of the data."""
        if self.support is None:
            return self.inputs
        low, high = self.support
        return low + (high - low) * self.inputs.sigmoid()

    def components(self) -> tuple[Tensor, Tensor, Tensor]:
        """Log weights, all alike, means and log variances (M, L)."""
        mu, logvar = self.encode(self.pseudo_inputs())
        return mu.new_full((len(mu),), -math.log(len(mu))), mu, logvar


def make_prior(kind: str, model: Any, n_condition: int) -> nn.Module:
    """The prior of this name for a model.

    Args:
        kind: a name in `PRIORS`.
        model: the VAE that will have it.
        n_condition: C, numbers that the model is told, or 0.

    Returns:
        A new prior.

    Raises:
        ValueError: an unknown name, or one that does not fit the model.

    Example:
        >>> from types import SimpleNamespace
        >>> make_prior("mixture", SimpleNamespace(n_latent=2), 0).mu.shape
        torch.Size([100, 2])
    """
    validate.choice("prior", kind, PRIORS)
    if kind == "conditional" and not n_condition:
        raise ValueError(
            "prior: conditional is p(z|y), but a VAE is told no y; choose "
            "mixture or vamp, or a CVAE"
        )
    if kind == "conditional":
        return ConditionalNormal(
            model.n_latent, n_condition, model.prior_hidden
        )
    if kind == "vamp" and n_condition:
        raise ValueError(
            "prior: vamp asks the encoder about made-up rows, for which a "
            "CVAE has no y; choose conditional"
        )
    if kind == "vamp":
        return Vamp(model.encode, model.shape, model.support)
    return Mixture(model.n_latent) if kind == "mixture" else StandardNormal()


PRIORS = ("standard", "mixture", "vamp", "conditional")
