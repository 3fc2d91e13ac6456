"""Part of a picture as the condition: a VAE that completes what is given.

y is the picture itself, with NaN where a pixel is not given. What a model is
told is what is given, and where.
"""

import math
from typing import Any

import torch
from torch import Tensor

from minivae import validate
from minivae.data import Rows, batches, seeded
from minivae.evaluate import prepared
from minivae.models import VAE, at_rest
from minivae.objective import importance_bound, reparameterize


def quadrants(shape: tuple[int, ...], given: int) -> Tensor:
    """Which pixels are given, if so many quarters of a picture are.

    Sohn et al. 2015, section 5.2: one is the bottom left, two are the left
    half, three are all but the bottom right.

    Args:
        shape: of a picture, (..., H, W).
        given: quarters, 0 to 4.

    Returns:
        bool, of that shape.

    Raises:
        ValueError: another number.

    Example:
        >>> quadrants((1, 2, 4), 3).int()
        tensor([[[1, 1, 1, 1],
                 [1, 1, 0, 0]]], dtype=torch.int32)
    """
    if validate.whole("given", given, 0, 1) > 4:
        raise ValueError(
            f"given: expected at most 4 quarters, got {given}; give 1, 2 or 3"
        )
    below = torch.arange(shape[-2])[:, None] >= shape[-2] // 2
    right = torch.arange(shape[-1]) >= shape[-1] // 2
    # quarters count clockwise from the bottom left, 0 to 3
    quarter = torch.where(right, 2 + below.int(), 1 - below.int())
    return (quarter < given).expand(shape).clone()


class PixelCVAE(VAE):
    """A VAE that is told part of x and draws the rest: p(z|y), p(x|z, y).

    Sohn et al. 2015. The prior of z is learned from what is given, and the
    loss counts only what is not given.

    Args:
        n_latent, hidden, shape, ..., seed: as for `VAE`.
        given: numbers of quarters, of which training draws one for each row
            that comes without y.
        likelihood: as for `VAE`; without another, that of grey pixels.

    Raises:
        TypeError, ValueError: an option is of another kind or out of range.

    Example:
        >>> model, x = PixelCVAE(n_latent=2), torch.zeros(3, 1, 28, 28)
        >>> y = x.masked_fill(~quadrants(model.shape, 1), torch.nan)
        >>> model(x, y)["loss"].shape
        torch.Size([3])
        >>> model.decode_mean(torch.ones(3, 2), y)[..., 14:, :14].sum().item()
        0.0
    """

    def __init__(
        self,
        n_latent: int = 20,
        hidden: tuple[int, ...] | None = None,
        given: tuple[int, ...] = (1, 2, 3),
        likelihood: Any = "grey_bernoulli",
        shape: tuple[int, ...] = (1, 28, 28),
        **options: Any,
    ) -> None:
        given = validate.sizes("given", given, (1, 2, 3), empty=False)
        shape = validate.sizes("shape", shape, (1, 28, 28), empty=False)
        if len(shape) != 3 or max(given) > 4:
            raise ValueError(
                "given, shape: expected up to 4 quarters of pictures "
                f"(C, H, W), got {given} of {shape}; give other ones, or "
                "train a CVAE with conditions"
            )
        if "prior" in options:
            raise ValueError(
                "prior: expected none, since p(z|what is given) is learned, "
                f"got {options['prior']!r:.40}; leave it out"
            )
        self.prior_hidden = (256,)
        super().__init__(
            n_latent,
            hidden,
            likelihood,
            shape=shape,
            prior="conditional",
            n_condition=2 * math.prod(shape),
            **options,
        )
        if any(part.numel() > 1 for part in self.likelihood.parameters()):
            raise ValueError(
                "likelihood: expected one that treats all pixels alike, got "
                "one with numbers for each; learn one sigma, with sigma=None"
            )
        del self.options["prior"]  # it has no other
        self.given = self.options["given"] = given

    def hide(
        self, x: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """x (B, *shape) with NaN for all but some quarters, drawn anew."""
        masks = torch.stack([quadrants(self.shape, n) for n in self.given])
        device = "cpu" if generator is None else generator.device
        which = torch.randint(
            len(masks), (len(x),), generator=generator, device=device
        )
        return x.masked_fill(~masks[which.cpu()].to(x.device), torch.nan)

    def condition_vector(self, y: Tensor | None, n: int) -> Tensor:
        """What is given, 0 elsewhere, and 1 where it is given, (n, 2 D)."""
        y = self._picture(y).flatten(1)
        if len(y) != n:
            raise ValueError(
                f"y: expected a picture for each of {n} rows, got {len(y)}; "
                "expand it, or leave rows out"
            )
        known = y.masked_fill(y.isnan(), 0)
        if not self.training:  # `fit` takes what is given from x
            validate.finite("y", known, self.support)
        return torch.cat([known, ~y.isnan()], 1)

    def _picture(self, y: Any) -> Tensor:
        if not isinstance(y, Tensor) or not y.is_floating_point():
            raise ValueError(
                f"y: expected pictures (B, {self.shape}) with NaN where a "
                "pixel is not given, got "
                f"{getattr(y, 'dtype', type(y).__name__)}; "
                "x.masked_fill(~quadrants(model.shape, 1), torch.nan) makes "
                "some"
            )
        return self._rows(y)

    def forward(
        self,
        x: Tensor,
        y: Tensor | None = None,
        noise: torch.Generator | Tensor | None = None,
    ) -> dict[str, Tensor]:
        """As for `VAE`; without a picture y, quarters of x are given.

        Labels or conditions, which data may have too, are no picture.
        """
        n = self.n_values
        if y is None or y.ndim == 1 or (y.ndim == 2 and y.shape[1] != n):
            generator = None if isinstance(noise, Tensor) else noise
            y = self.hide(self._rows(x), generator)
        return super().forward(x, y, noise)

    def log_likelihood(
        self, x: Tensor, z: Tensor, y: Tensor | None = None
    ) -> Tensor:
        """log p(x|z, y) in nats, (..., B), of the values not given."""
        x, y, params = self._rows(x), self._picture(y), self.decode(z, y)
        # each value as a row of its own has nats of its own
        lead = z.shape[:-1]
        own = (1,) if self.n_params == 1 else (1, self.n_params)
        params = params.reshape(*lead[:-1], x.numel(), *own)
        nats = self.likelihood.log_prob(x.reshape(-1, 1), params)
        return (nats.view(*lead, -1) * y.isnan().flatten(1)).sum(-1)

    def decode_mean(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """What is given, and the mean of p(x|z, y) elsewhere."""
        mean, y = super().decode_mean(z, y), self._picture(y)
        return torch.where(y.isnan(), mean, y)


def complete(
    model: PixelCVAE, x: Tensor, n: int = 10, seed: int = 0
) -> Tensor:
    """Several ways to complete each picture.

    Args:
        model: trained on pictures of this shape.
        x: pictures with NaN where a pixel is not given, (B, *shape).
        n: codes drawn from p(z|what is given) for each picture.
        seed: selects them, the same on every machine.

    Returns:
        What is given, and the mean of p(x|z, y) elsewhere, (B, n, *shape),
        on the CPU.

    Example:
        >>> x = torch.zeros(3, 1, 28, 28)
        >>> x[..., 14:, :] = torch.nan
        >>> complete(PixelCVAE(n_latent=2), x, n=5).shape
        torch.Size([3, 5, 1, 28, 28])
    """
    validate.kind("model", model, PixelCVAE)
    n = validate.whole("n", n, 1, 10)
    noise = seeded("cpu", "complete", validate.whole("seed", seed, 0, 0))
    with at_rest(model):
        pictures = model.decode_mean(_codes(model, x, n, noise), x)
    return pictures.cpu().movedim(0, 1)


def _codes(
    model: PixelCVAE, y: Tensor, n: int, noise: torch.Generator
) -> Tensor:
    """Codes from p(z|y), (n, B, L)."""
    mu, logvar = model.prior.moments(model.condition_vector(y, len(y)))
    lead = (n, *mu.shape)
    return reparameterize(mu.expand(lead), logvar.expand(lead), noise)


def completion_likelihood(
    model: PixelCVAE,
    data: Rows,
    given: int = 1,
    n_samples: int = 100,
    seed: int = 0,
) -> float:
    """Mean of log p(x'|y): what is not given, told what is given.

    Sohn et al. 2015, section 4.2: log of the mean of p(x'|z, y) over codes
    z drawn from the prior p(z|y).

    Args:
        model: to score.
        data: pictures.
        given: quarters that are given.
        n_samples: codes for each picture.
        seed: selects them, the same on every machine.

    Returns:
        Nats per picture; a lower bound in expectation.

    Example:
        >>> from minivae.data import Images
        >>> model = PixelCVAE(n_latent=2)
        >>> for weight in model.parameters():
        ...     _ = torch.nn.init.zeros_(weight)
        >>> data = Images(torch.zeros(3, 28, 28, dtype=torch.uint8))
        >>> round(completion_likelihood(model, data, 3), 2)  # -196 ln 2
        -135.86
    """
    validate.kind("model", model, PixelCVAE)
    n_samples = validate.whole("n_samples", n_samples, 1, 100)
    noise = seeded("cpu", "completion", validate.whole("seed", seed, 0, 0))
    hidden, total = ~quadrants(model.shape, given), 0.0
    size = max(1, 4000 // n_samples)
    data, device = prepared(model, data), model.device
    with at_rest(model):
        for x, _ in batches(data, size, device=device, shuffle=False):
            y = x.masked_fill(hidden.to(x.device), torch.nan)
            z = _codes(model, y, n_samples, noise)
            nats = importance_bound(model.log_likelihood(x, z, y))
            total += nats.double().sum().item()
    return total / len(data)
