"""p(z): how codes are distributed before x is known.

What the package asks of a prior: `kl(mu, logvar, z)`, the KL from q(z|x) to
it; `log_prob(z)`; and `sample(n, n_latent, generator)`. All take the condition
as their last argument, for priors that depend on it.
"""

import torch
from torch import Tensor, nn

from minivae.objective import gaussian_kl, gaussian_log_density


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


PRIORS = {"standard": StandardNormal}
