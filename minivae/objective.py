"""Log-likelihoods, the KL divergence and the bounds built from them.

Pure functions of tensors. The last dimension (pixels or latent dimensions)
is summed, all others are kept: nats come one for each row.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

from minivae import validate

LOG_2_PI = math.log(2 * math.pi)


def _sum(nats: Tensor) -> Tensor:
    # 784 numbers of bf16 add up to a sum that bf16 cannot hold
    wide = torch.promote_types(nats.dtype, torch.float32)
    return nats.sum(-1, dtype=wide)


def bernoulli_log_likelihood(x: Tensor, logits: Tensor) -> Tensor:
    """log p(x|z) of binary pixels x with probabilities sigmoid(logits).

    x log p + (1 - x) log(1 - p) with p = sigmoid(logits) is
    x logits - softplus(logits): finite for every logit.
    Kingma & Welling 2014, appendix C.1.

    Args:
        x: pixels in {0, 1}, (..., D).
        logits: log odds of ink, broadcastable to x, (..., D).

    Returns:
        Nats, (...,), never positive.

    Example:
        >>> x, logits = torch.ones(1, 784), torch.zeros(1, 784)
        >>> nats = bernoulli_log_likelihood(x, logits)
        >>> nats.shape, round(nats.item(), 1)  # -784 ln 2
        (torch.Size([1]), -543.4)
    """
    return _sum(x * logits - softplus(logits))


def gaussian_log_likelihood(
    x: Tensor, mean: Tensor, log_sigma: Tensor | float
) -> Tensor:
    """log N(x; mean, sigma^2 I), with all its constants.

    Kingma & Welling 2014, appendix C.2.

    Args:
        x: values, (..., D).
        mean: broadcastable to x, (..., D).
        log_sigma: log of the standard deviation, broadcastable to x.

    Returns:
        Nats (a log density, so it may be positive), (...,).

    Example:
        >>> x = torch.zeros(1, 2)
        >>> nats = gaussian_log_likelihood(x, mean=x, log_sigma=0.0)
        >>> round(nats.item(), 4)  # -log(2 pi)
        -1.8379
    """
    log_sigma = torch.as_tensor(log_sigma, dtype=x.dtype, device=x.device)
    scaled = (x - mean) * (-log_sigma).exp()
    return _sum(-0.5 * (scaled.square() + LOG_2_PI) - log_sigma)


def squared_error(x: Tensor, mean: Tensor) -> Tensor:
    """Squared error |x - mean|^2, summed over pixels.

    Args:
        x, mean: values, (..., D).

    Returns:
        Squared pixel values, (...,), never negative.

    Example:
        >>> squared_error(torch.tensor([[3.0, 4.0]]), torch.zeros(2))
        tensor([25.])
    """
    return _sum((x - mean).square())


def gaussian_kl(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL from q(z|x) = N(mu, exp(logvar)) to the prior N(0, I).

    Kingma & Welling 2014, appendix B.

    Args:
        mu, logvar: mean and log variance of q(z|x), (..., L).

    Returns:
        Nats, (...,), never negative.

    Example:
        >>> gaussian_kl(torch.zeros(3, 2), torch.zeros(3, 2))  # the prior
        tensor([0., 0., 0.])
        >>> gaussian_kl(torch.tensor([[3.0, 4.0]]), torch.zeros(1, 2))
        tensor([12.5000])
    """
    return 0.5 * _sum(mu.square() + logvar.exp() - 1 - logvar)


def gaussian_kl_between(
    mu: Tensor, logvar: Tensor, prior_mu: Tensor, prior_logvar: Tensor
) -> Tensor:
    """KL from N(mu, exp(logvar)) to N(prior_mu, exp(prior_logvar)).

    Sohn et al. 2015: what a conditional prior p(z|y) asks for.

    Args:
        mu, logvar: mean and log variance of q(z|x), (..., L).
        prior_mu, prior_logvar: those of the prior, broadcastable to them.

    Returns:
        Nats, (...,), never negative.

    Example:
        >>> zero, one = torch.zeros(1, 2), torch.ones(1, 2)
        >>> gaussian_kl_between(one, zero, one, zero)
        tensor([0.])
        >>> gaussian_kl_between(one, zero, zero, zero)  # as gaussian_kl
        tensor([1.])
    """
    scaled = (mu - prior_mu).square() * (-prior_logvar).exp()
    ratio = logvar - prior_logvar
    return 0.5 * _sum(scaled + ratio.exp() - 1 - ratio)


def gaussian_log_density(z: Tensor, mu: Tensor, logvar: Tensor) -> Tensor:
    """log N(z; mu, exp(logvar)): the log density of a code.

    Args:
        z, mu, logvar: code, mean and log variance, (..., L).

    Returns:
        Nats, (...,).

    Example:
        >>> z = torch.zeros(1, 2)
        >>> round(gaussian_log_density(z, z, z).item(), 4)  # -log(2 pi)
        -1.8379
    """
    return gaussian_log_likelihood(z, mu, 0.5 * logvar)


def normal_like(
    like: Tensor, source: torch.Generator | Tensor | None = None
) -> Tensor:
    """Standard normal noise of the shape of a tensor.

    Args:
        like: any tensor, of the shape, type and device that are wanted.
        source: a generator, which may be that of another device; None is
            torch's global one. A tensor is the noise itself.

    Returns:
        The noise.

    Example:
        >>> normal_like(torch.zeros(3, 2), torch.Generator()).shape
        torch.Size([3, 2])
    """
    if isinstance(source, Tensor):
        return source.to(like)
    device = like.device if source is None else source.device
    noise = torch.randn(
        like.shape, generator=source, device=device, dtype=like.dtype
    )
    return noise.to(like.device)


def uniform_like(
    like: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """Uniform noise from 0 to 1 of the shape of a tensor.

    Args:
        like, generator: as for `normal_like`.

    Returns:
        The noise, in [0, 1).

    Example:
        >>> uniform_like(torch.zeros(3, 2), torch.Generator()).shape
        torch.Size([3, 2])
    """
    device = like.device if generator is None else generator.device
    noise = torch.rand(
        like.shape, generator=generator, device=device, dtype=like.dtype
    )
    return noise.to(like.device)


def binarize(x: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Draw each value as 0 or 1, 1 with probability x.

    Salakhutdinov & Murray 2008. A draw takes 16 random bits, so the
    probability is right to within 1 / 65,536, and 0 and 1 stay what they
    are.

    Args:
        x: probabilities in [0, 1], or uint8 with 255 for 1, any shape.
        generator: source of the bits, which may be of another device.

    Returns:
        0 or 1, of the same shape: float32, or uint8 for uint8.

    Example:
        >>> binarize(torch.tensor([0.0, 1.0]), torch.Generator())
        tensor([0., 1.])
    """
    device = x.device if generator is None else generator.device
    n = x.numel()
    # four values from one draw of 64 bits
    bits = torch.empty(-(-n // 4), dtype=torch.int64, device=device)
    bits.random_(-(2**63), None, generator=generator)
    r = bits.view(torch.int16)[:n].view(x.shape)
    r.clamp_(max=2**15 - 2)  # so that 1 is always 1
    r = r.to(x.device)
    # compared in place, and alike in type: that is ten times faster
    if x.dtype == torch.uint8:  # 257 * 255 = 65,535
        return x.to(torch.int16).mul_(257).sub_(2**15).gt_(r).to(x.dtype)
    # 65,535 x > r + 32,768.5, divided by 65,535
    most = 2**16 - 1
    return x.sub(r.to(x.dtype), alpha=1 / most).gt_((2**15 + 0.5) / most)


def reparameterize(
    mu: Tensor,
    logvar: Tensor,
    noise: torch.Generator | Tensor | None = None,
) -> Tensor:
    """Draw z from N(mu, exp(logvar)) so that gradients reach both.

    Kingma & Welling 2014, section 2.4: z = mu + sigma * noise.

    Args:
        mu, logvar: mean and log variance of q(z|x), (..., L).
        noise: standard normal, (..., L), or the generator that draws it;
            None is torch's global one.

    Returns:
        Codes, (..., L).

    Example:
        >>> mu, logvar = torch.ones(1), torch.tensor([math.log(4)])
        >>> reparameterize(mu, logvar, torch.tensor([0.5])).round(decimals=3)
        tensor([2.])
    """
    # noise enters as an input, so that gradients still reach mu and logvar
    return mu + (0.5 * logvar).exp() * normal_like(mu, noise)


def importance_bound(log_weights: Tensor) -> Tensor:
    """log of the mean importance weight: a bound on log p(x) from K samples.

    One sample gives the ELBO, and more tighten it. Burda et al. 2016,
    equation 8.

    Args:
        log_weights: log p(x, z) - log q(z|x), z from q, (K, ...).

    Returns:
        Nats, (...,).

    Example:
        >>> log_weights = torch.tensor([[-90.0], [-80.0]])  # K = 2
        >>> log_weights.mean(0)
        tensor([-85.])
        >>> importance_bound(log_weights).round(decimals=1)
        tensor([-80.7000])
    """
    return log_weights.logsumexp(0) - math.log(len(log_weights))


def effective_beta(
    error: str = "bernoulli",
    pixels: str = "sum",
    latents: str = "sum",
    weight: float = 1.0,
    n_pixels: int = 784,
    n_latent: int = 20,
    sigma: float | None = None,
) -> dict[str, float]:
    """Which beta and sigma a "mean here, sum there" loss amounts to.

    The loss is reconstruction + weight * KL. Multiplied by `scale`, it is
    the negative ELBO with these beta and sigma, up to a constant (chapter 3;
    Rybkin et al. 2021).

    Args:
        error: "bernoulli" (cross-entropy), "squared", or "half squared".
        pixels: "sum" or "mean" of the error over the pixels.
        latents: "sum" or "mean" of the KL over the latent dimensions.
        weight: in front of the KL, positive.
        n_pixels, n_latent: D and L.
        sigma: for squared errors, the standard deviation of a pixel that is
            assumed; None finds the one for which beta is 1.

    Returns:
        "beta", "scale" and, for squared errors, "sigma".

    Raises:
        ValueError: an option is not known or out of range.

    Example:
        >>> effective_beta("bernoulli", pixels="mean")
        {'beta': 784.0, 'scale': 784.0}
    """
    scale = {"bernoulli": 1.0, "squared": 0.5, "half squared": 1.0}
    over = {"sum": 1, "mean": 0}
    validate.choice("error", error, tuple(scale))
    validate.choice("pixels", pixels, tuple(over))
    validate.choice("latents", latents, tuple(over))
    weight = validate.number("weight", weight, 1.0)
    n_pixels = validate.whole("n_pixels", n_pixels, 1, 784)
    n_latent = validate.whole("n_latent", n_latent, 1, 20)
    if sigma is not None:
        sigma = validate.number("sigma", sigma, 1.0)
    kl = weight / (n_latent if latents == "mean" else 1)
    factor = scale[error] * (n_pixels if pixels == "mean" else 1)
    if error == "bernoulli":
        return {"beta": kl * factor, "scale": factor}
    # squared error / (2 sigma^2) is the log-likelihood without constants
    variance = kl * factor if sigma is None else sigma**2
    return {
        "beta": kl * factor / variance,
        "scale": factor / variance,
        "sigma": math.sqrt(variance),
    }
