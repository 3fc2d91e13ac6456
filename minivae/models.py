"""Autoencoder, VAE and conditional VAE: one story in three classes.

They share one interface. `encode` and `decode` are the two halves, `loss`
is what training lowers and `terms` what it consists of, `code` and `draw`
are what maps and pictures are made of.
"""

import math
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from minivae import validate
from minivae.objective import (
    bernoulli_log_likelihood,
    gaussian_kl,
    gaussian_log_likelihood,
    reparameterize,
    squared_error,
)

LIKELIHOODS = ("bernoulli", "gaussian")  # that a pixel of a VAE may follow


def mlp(*sizes: int) -> nn.Sequential:
    """Linear layers of these sizes, with ReLU between them.

    A layer before a ReLU starts with weights that keep the size of what
    passes through (He et al. 2015); the last one starts smaller.

    Example:
        >>> mlp(784, 256, 2)(torch.zeros(5, 784)).shape
        torch.Size([5, 2])
    """
    linear = [nn.Linear(n_in, n_out) for n_in, n_out in pairwise(sizes)]
    for layer in linear[:-1]:
        nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
    for layer in linear:
        nn.init.zeros_(layer.bias)
    layers = [part for layer in linear for part in (layer, nn.ReLU())]
    return nn.Sequential(*layers[:-1])


class Autoencoder(nn.Module):
    """Squeeze x through a code z of a few numbers: x -> z -> x'.

    Hinton & Salakhutdinov 2006. The loss is the squared error. Without
    hidden layers it is the linear autoencoder (Baldi & Hornik 1989).

    Args:
        n_latent: L, numbers in a code, at least 1.
        hidden: sizes of the encoder's hidden layers; the decoder has them
            in reverse order.
        n_pixels: D, pixels of an image.
        n_condition: C, numbers that both networks are told besides.
        seed: selects the initial weights.

    Raises:
        ValueError: a size or the seed is out of range.

    Example:
        >>> model, x = Autoencoder(n_latent=2), torch.zeros(3, 784)
        >>> model.encode(x).shape, model.loss(x).shape
        (torch.Size([3, 2]), torch.Size([3]))
    """

    binary = False  # trained on grey pixels
    unit = True  # pixels lie in [0, 1]
    n_classes = 0  # needs no labels
    conditions: tuple[int, ...] = ()  # nor any other conditions
    withhold = 0.0  # share of them that training withholds
    beta = 1.0  # weight of the KL, where there is one
    per_latent = 1  # numbers the encoder emits for each dimension of z

    def __init__(
        self,
        n_latent: int = 20,
        hidden: tuple[int, ...] = (256, 128),
        n_pixels: int = 784,
        n_condition: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        validate.whole("n_latent", n_latent, 1, 20)
        validate.whole("n_pixels", n_pixels, 1, 784)
        validate.whole("seed", seed, 0, 0)
        if not isinstance(hidden, tuple | list):
            raise TypeError(
                f"hidden: expected a tuple of sizes, got {hidden!r}; give one "
                "such as (256, 128)"
            )
        for size in hidden:
            validate.whole("hidden", size, 1, 256)
        # all that it takes to build this model again
        self.options = {
            "n_latent": n_latent,
            "hidden": tuple(hidden),
            "n_pixels": n_pixels,
            "seed": seed,
        }
        self.n_latent, self.n_pixels = n_latent, n_pixels
        # draw the weights, but leave the caller's random numbers alone
        enough = validate.memory(
            f"n_latent, hidden: the weights of {n_latent} and {hidden}",
            "give smaller sizes such as 20 and (256, 128)",
        )
        with enough, torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.encoder = mlp(
                n_pixels + n_condition, *hidden, self.per_latent * n_latent
            )
            self.decoder = mlp(
                n_latent + n_condition, *reversed(hidden), n_pixels
            )

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights, and so of x, z and all results."""
        return next(self.parameters()).dtype

    def join(self, v: Tensor, y: Tensor | None) -> Tensor:
        """What a network reads: here v alone, whatever y is."""
        return v

    def encode(self, x: Tensor, y: Tensor | None = None) -> Any:
        """The code z (B, L) of pixels x (B, D)."""
        validate.rows("x", x, self.n_pixels, self.dtype, self.unit)
        return self.encoder(self.join(x, y))

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Pixels (..., D) from codes z (..., L); they may leave [0, 1]."""
        validate.rows("z", z, self.n_latent, self.dtype)
        return self.decoder(self.join(z, y))

    def terms(
        self,
        x: Tensor,
        y: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """The loss and its parts, one value for each digit.

        Args:
            x: pixels in [0, 1], (B, D).
            y: labels, (B,), where the model is conditional.
            generator: source of the noise, where there is any.

        Returns:
            "loss" and "reconstruction" (both the squared error), (B,).
        """
        error = squared_error(x, self.decode(self.encode(x, y), y))
        return {"loss": error, "reconstruction": error}

    def loss(
        self,
        x: Tensor,
        y: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """What training lowers, (B,). Arguments as for `terms`."""
        return self.terms(x, y, generator)["loss"]

    def code(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The one code (B, L) that stands for x on a map."""
        return self.encode(x, y)

    def draw(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """The picture of a code: pixels in [0, 1], (..., D)."""
        return self.decode(z, y).clamp(0, 1)


class VAE(Autoencoder):
    """An autoencoder whose codes follow a known distribution, N(0, I).

    Kingma & Welling 2014. The encoder emits a distribution q(z|x), the
    decoder one of pixels, p(x|z). The loss is -ELBO for beta = 1.

    Args:
        n_latent, hidden, seed, ...: as for `Autoencoder`.
        likelihood: "bernoulli" for binary pixels, "gaussian" for grey ones.
        sigma: standard deviation of a Gaussian pixel; None learns it.
        beta: weight of the KL (Higgins et al. 2017), positive or 0.

    Raises:
        ValueError: an option is out of range.

    Example:
        >>> model, x = VAE(n_latent=2), torch.zeros(3, 784)
        >>> terms = model.terms(x)
        >>> {name: tuple(nats.shape) for name, nats in terms.items()}
        {'loss': (3,), 'reconstruction': (3,), 'kl': (3,)}
    """

    per_latent = 2  # mu and logvar

    def __init__(
        self,
        n_latent: int = 20,
        hidden: tuple[int, ...] = (256, 128),
        likelihood: str = "bernoulli",
        sigma: float | None = None,
        beta: float = 1.0,
        **sizes: int,
    ) -> None:
        super().__init__(n_latent, hidden, **sizes)
        validate.choice("likelihood", likelihood, LIKELIHOODS)
        validate.number("beta", beta, 1, zero=True)
        if sigma is not None:
            validate.number("sigma", sigma, 0.1)
            if likelihood == "bernoulli":
                raise ValueError(
                    f"sigma: a Bernoulli pixel has none, got {sigma!r}; leave "
                    'it out or choose likelihood="gaussian"'
                )
        self.options |= {
            "likelihood": likelihood,
            "sigma": sigma,
            "beta": beta,
        }
        self.beta = beta
        self.binary = self.unit = likelihood == "bernoulli"
        if likelihood == "gaussian":
            log_sigma = torch.tensor(math.log(sigma or 1.0))
            self.log_sigma = nn.Parameter(log_sigma, requires_grad=not sigma)

    def encode(
        self, x: Tensor, y: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Mu and logvar (B, L) of q(z|x) for pixels x (B, D)."""
        # as exact as the weights, also where the layers multiply in bf16
        mu, logvar = super().encode(x, y).to(self.dtype).chunk(2, -1)
        return mu, logvar

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Logits (or Gaussian means) (..., D) from codes z (..., L)."""
        return super().decode(z, y)

    def log_likelihood(
        self, x: Tensor, z: Tensor, y: Tensor | None = None
    ) -> Tensor:
        """log p(x|z) in nats, (..., B), of x (B, D) and z (..., B, L)."""
        if self.binary:
            return bernoulli_log_likelihood(x, self.decode(z, y))
        return gaussian_log_likelihood(x, self.decode(z, y), self.log_sigma)

    def terms(
        self,
        x: Tensor,
        y: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """The loss and its parts, in nats, one value for each digit.

        Args:
            x: pixels, (B, D): binary, or grey for a Gaussian likelihood.
            y: labels, (B,), where the model is conditional.
            generator: source of the noise, or the noise itself (B, L);
                None is torch's global one.

        Returns:
            "reconstruction", -log p(x|z) at a z drawn from q(z|x); "kl";
            "loss", reconstruction + beta kl. Each (B,).
        """
        mu, logvar = self.encode(x, y)  # (B, L) each
        z = reparameterize(mu, logvar, generator)  # (B, L)
        reconstruction = -self.log_likelihood(x, z, y)  # (B,)
        kl = gaussian_kl(mu, logvar)  # (B,)
        return {
            "loss": reconstruction + self.beta * kl,
            "reconstruction": reconstruction,
            "kl": kl,
        }

    def code(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """mu, the one code (B, L) that stands for x on a map."""
        return self.encode(x, y)[0]

    def draw(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """The mean of p(x|z) as a picture: pixels in [0, 1], (..., D)."""
        pixels = self.decode(z, y)
        return pixels.sigmoid() if self.binary else pixels.clamp(0, 1)


class CVAE(VAE):
    """A VAE that is told the label: q(z|x, y) and p(x|z, y).

    Sohn et al. 2015. The prior of z stays N(0, I) for every label, so the
    code has no need to say which digit it is.

    With `conditions`, y is several conditions at once, and NaN stands for
    one that is withheld. Each enters both networks with a 1 if it is given
    and a 0 if not. Training withholds conditions at random, so one model
    answers for each combination of them.

    Args:
        n_latent, hidden, seed, ...: as for `VAE`.
        n_classes: C, labels are 0 to C - 1.
        conditions: instead of one label, for each condition the number of
            its classes, or 1 for a real number: (10, 1).
        withhold: probability that training withholds a condition.

    Raises:
        ValueError: an option is out of range.

    Example:
        >>> model, z = CVAE(n_latent=2), torch.zeros(2, 2)
        >>> model.draw(z, y=torch.tensor([3, 5])).shape
        torch.Size([2, 784])
        >>> CVAE(2, conditions=(3, 1)).told(torch.tensor([[2.0, math.nan]]))
        tensor([[0., 0., 1., 1., 0., 0.]])
    """

    def __init__(
        self,
        n_latent: int = 20,
        hidden: tuple[int, ...] = (256, 128),
        n_classes: int = 10,
        conditions: tuple[int, ...] = (),
        withhold: float = 0.5,
        **options,
    ) -> None:
        validate.whole("n_classes", n_classes, 1, 10)
        if not isinstance(conditions, tuple | list):
            raise TypeError(
                f"conditions: expected a tuple of sizes, got {conditions!r}; "
                "give one such as (10, 1)"
            )
        for n in conditions:
            validate.whole("conditions", n, 1, 10)
        validate.share("withhold", withhold)
        told = sum(conditions) + len(conditions) or n_classes
        super().__init__(n_latent, hidden, n_condition=told, **options)
        if conditions:
            self.conditions, self.withhold = tuple(conditions), withhold
            self.options |= {
                "conditions": self.conditions,
                "withhold": withhold,
            }
        else:
            self.n_classes = n_classes
            self.options |= {"n_classes": n_classes}

    def told(self, y: Any) -> Tensor:
        """The condition as the networks read it, (B, width).

        Args:
            y: labels (B,), or conditions (B, C) with NaN where withheld.
        """
        if not self.conditions:
            return one_hot(y, self.n_classes)
        given = ~y.isnan()  # (B, C)
        parts = []
        for n, value, mask in zip(
            self.conditions, y.nan_to_num().unbind(1), given.unbind(1)
        ):
            value = one_hot(value.long(), n) if n > 1 else value[:, None]
            # a withheld number is told as 0; the mask sets it apart from a 0
            parts += [value * mask[:, None], mask[:, None]]
        return torch.cat(parts, -1)

    def join(self, v: Tensor, y: Tensor | None) -> Tensor:
        """The input v and the condition side by side, (..., B, width)."""
        if self.conditions:
            validate.conditions(y, v.shape[-2], self.conditions)
        else:
            validate.labels(y, v.shape[-2], self.n_classes)
        told = self.told(y).to(v.dtype)  # (B, width)
        return torch.cat([v, told.expand(*v.shape[:-1], -1)], -1)
