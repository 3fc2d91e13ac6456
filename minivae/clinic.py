"""Broken VAEs: each has one fault that public code really has.

They are trained, scored and drawn by the same functions as the healthy ones
and run without an error: that is what makes these faults hard to find. All
keep the interface of `VAE`; each overrides the one method that is wrong.
"""

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from minivae.models import CVAE, VAE
from minivae.objective import gaussian_kl, normal_like, reparameterize


class MeanOverPixels(VAE):
    """Averages the reconstruction over pixels and sums the KL.

    Example:
        >>> model = MeanOverPixels(n_latent=2, shape=(4,))
        >>> found = check_up(model, torch.eye(4), torch.Generator())
        >>> next(test for test in found if not found[test])
        'the loss is reconstruction plus beta KL'
    """

    def forward(self, x, y=None, noise=None) -> dict[str, Tensor]:
        """As `VAE.forward`, with the loss that the name says."""
        terms = super().forward(x, y, noise)
        loss = terms["reconstruction"] / self.n_values + terms["kl"]
        return terms | {"loss": loss}


class MissingHalf(VAE):
    """Forgets the factor of one half in the KL.

    Example:
        >>> model = MissingHalf(n_latent=2, shape=(4,))
        >>> found = check_up(model, torch.eye(4), torch.Generator())
        >>> next(test for test in found if not found[test])
        'the KL is that of torch.distributions'
    """

    def forward(self, x, y=None, noise=None) -> dict[str, Tensor]:
        """As `VAE.forward`, with twice the KL."""
        terms = super().forward(x, y, noise)
        kl = 2 * terms["kl"]
        return terms | {"kl": kl, "loss": terms["reconstruction"] + kl}


class WrongSign(VAE):
    """Subtracts the KL from the loss instead of adding it.

    Example:
        >>> model = WrongSign(n_latent=2, shape=(4,))
        >>> found = check_up(model, torch.eye(4), torch.Generator())
        >>> next(test for test in found if not found[test])
        'the loss is reconstruction plus beta KL'
    """

    def forward(self, x, y=None, noise=None) -> dict[str, Tensor]:
        """As `VAE.forward`, with a loss that rewards the KL."""
        terms = super().forward(x, y, noise)
        return terms | {"loss": terms["reconstruction"] - terms["kl"]}


class LogSigmaForLogVariance(VAE):
    """Takes exp(logvar) for sigma when it draws a code.

    Example:
        >>> model = LogSigmaForLogVariance(n_latent=2, shape=(4,))
        >>> found = check_up(model, torch.eye(4), torch.Generator())
        >>> next(test for test in found if not found[test])
        'the reconstruction is that of a code drawn from q'
    """

    def forward(self, x, y=None, noise=None) -> dict[str, Tensor]:
        """As `VAE.forward`, with codes drawn too wide or too narrow."""
        mu, logvar = self.encode(x, y)
        z = reparameterize(mu, 2 * logvar, noise)
        return _terms(self, x, z, gaussian_kl(mu, logvar))


class NoSampling(VAE):
    """Trains the decoder at z = mu instead of a drawn code.

    Example:
        >>> model = NoSampling(n_latent=2, shape=(4,))
        >>> found = check_up(model, torch.eye(4), torch.Generator())
        >>> next(test for test in found if not found[test])
        'the reconstruction is that of a code drawn from q'
    """

    def forward(self, x, y=None, noise=None) -> dict[str, Tensor]:
        """As `VAE.forward`, without noise."""
        mu, logvar = self.encode(x, y)
        return _terms(self, x, mu, gaussian_kl(mu, logvar))


class SharedNoise(VAE):
    """Draws one number of noise for all dimensions of a code.

    Example:
        >>> model = SharedNoise(n_latent=2, shape=(4,))
        >>> found = check_up(model, torch.eye(4), torch.Generator())
        >>> next(test for test in found if not found[test])
        'the reconstruction is that of a code drawn from q'
    """

    def forward(self, x, y=None, noise=None) -> dict[str, Tensor]:
        """As `VAE.forward`, with codes that leave mu along one line only."""
        mu, logvar = self.encode(x, y)
        z = mu + (logvar / 2).exp() * normal_like(mu[:, :1], noise)
        return _terms(self, x, z, gaussian_kl(mu, logvar))


class DetachedNoise(VAE):
    """Draws the code outside the graph, as a plain sampler would.

    Example:
        >>> model = DetachedNoise(n_latent=2, shape=(4,))
        >>> found = check_up(model, torch.eye(4), torch.Generator())
        >>> next(test for test in found if not found[test])
        'pixels send a gradient to the encoder'
    """

    def forward(self, x, y=None, noise=None) -> dict[str, Tensor]:
        """As `VAE.forward`, but no gradient passes from pixels to encoder."""
        mu, logvar = self.encode(x, y)
        z = reparameterize(mu, logvar, noise).detach()
        return _terms(self, x, z, gaussian_kl(mu, logvar))


class SigmoidTwice(VAE):
    """Ends the decoder with a sigmoid and calls the result logits.

    Example:
        >>> model = SigmoidTwice(n_latent=2, shape=(4,))
        >>> found = check_up(model, torch.eye(4), torch.Generator())
        >>> next(test for test in found if not found[test])
        'the reconstruction is that of a code drawn from q'
    """

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Logits from 0 to 1, so every pixel is at least half ink."""
        return super().decode(z, y).sigmoid()


class SigmoidForgotten(VAE):
    """Draws the logits as if they were pixels; the training is sound.

    Example:
        >>> model = SigmoidForgotten(n_latent=2, shape=(4,))
        >>> found = check_up(model, torch.eye(4), torch.Generator())
        >>> next(test for test in found if not found[test])
        'a picture is the mean of p(x|z)'
    """

    def decode_mean(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Logits cut off at 0 and 1."""
        return self.decode(z, y).clamp(0, 1)


class KLOverBatch(VAE):
    """Divides the KL by the size of the batch once more than it should.

    Example:
        >>> model = KLOverBatch(n_latent=2, shape=(4,))
        >>> found = check_up(model, torch.eye(4), torch.Generator())
        >>> next(test for test in found if not found[test])
        'the loss is reconstruction plus beta KL'
    """

    def forward(self, x, y=None, noise=None) -> dict[str, Tensor]:
        """As `VAE.forward`, with hardly any KL in the loss."""
        terms = super().forward(x, y, noise)
        loss = terms["reconstruction"] + terms["kl"] / len(x)
        return terms | {"loss": loss}


class LabelToDecoderOnly(CVAE):
    """A CVAE whose encoder is not told the label.

    Not wrong by itself: q(z|x) may do without y, since x shows it. But the
    code keeps more of the digit (chapter 10).

    Example:
        >>> model, x = LabelToDecoderOnly(n_latent=2), torch.zeros(2, 784)
        >>> mu, _ = model.encode(x, torch.tensor([3, 5]))
        >>> torch.equal(mu[0], mu[1])
        True
    """

    def encode(
        self, x: Tensor, y: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Mu and logvar, whatever the label: the network always reads 0."""
        y = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        return super().encode(x, y)


class LabelToEncoderOnly(CVAE):
    """A CVAE whose decoder is not told the label.

    Example:
        >>> model, z = LabelToEncoderOnly(n_latent=2), torch.zeros(2, 2)
        >>> images = model.decode_mean(z, torch.tensor([3, 5]))
        >>> torch.equal(images[0], images[1])
        True
    """

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Logits, whatever the label: the network always reads 0."""
        y = torch.zeros(z.shape[-2], dtype=torch.int64, device=z.device)
        return super().decode(z, y)


def _terms(model: VAE, x: Tensor, z: Tensor, kl: Tensor) -> dict[str, Tensor]:
    """The terms of a VAE, with a code and a KL from elsewhere."""
    error = -model.log_likelihood(x, z)
    return {"loss": error + kl, "reconstruction": error, "kl": kl}


# in an order that gives nothing away
PATIENTS = (
    *(SharedNoise, MeanOverPixels, SigmoidTwice, KLOverBatch),
    *(DetachedNoise, LogSigmaForLogVariance, SigmoidForgotten),
    *(WrongSign, MissingHalf, NoSampling),
)


def check_up(
    model: VAE, x: Tensor, generator: torch.Generator, y: Tensor | None = None
) -> dict[str, bool]:
    """What a healthy VAE must satisfy, whatever it has learned.

    Each test holds the terms of the model against the definition, in double
    precision: with random weights a whole KL is smaller than the error of
    single precision in the loss. So a trained model is not needed.

    Args:
        model: a VAE or CVAE of binary pixels with the prior N(0, I); a copy
            of it is looked at.
        x: rows, (B, *shape), at least two.
        generator: source of the noise.
        y: labels, (B,), of a CVAE; two more tests ask whether both networks
            read them.

    Returns:
        Name of each test -> whether it passed.

    Example:
        >>> model = VAE(n_latent=2, shape=(4,))
        >>> found = check_up(model, torch.eye(4), torch.Generator())
        >>> all(found.values())
        True
        >>> model, y = LabelToDecoderOnly(2, shape=(4,)), torch.arange(4)
        >>> found = check_up(model, torch.eye(4), torch.Generator(), y)
        >>> [test for test in found if not found[test]]
        ['the encoder reads the label']
    """
    state = generator.get_state()
    model, x = copy.deepcopy(model).double(), x.double()
    mu, logvar = model.encode(x, y)
    first = model(x, y, generator)
    generator.set_state(state)  # the same noise once more
    z = reparameterize(mu, logvar, generator)
    log_p = nn.functional.logsigmoid
    logits = VAE.decode(model, z, y).flatten(1)
    x = x.flatten(1).to(logits)
    honest = -(x * log_p(logits) + (1 - x) * log_p(-logits)).sum(-1)
    q = torch.distributions.Normal(mu, (logvar / 2).exp())
    kl = torch.distributions.kl_divergence(
        q, torch.distributions.Normal(0.0, 1.0)
    ).sum(-1)
    weights = list(model.encoder.parameters())
    gradient = torch.autograd.grad(
        first["reconstruction"].sum(), weights, allow_unused=True
    )
    picture = model.decode_mean(z, y).flatten(1)

    def close(a: Tensor, b: Tensor) -> bool:
        return torch.allclose(a, b, rtol=1e-6, atol=1e-6)

    found = {
        "the KL is that of torch.distributions": close(first["kl"], kl),
        "the loss is reconstruction plus beta KL": close(
            first["loss"] - first["reconstruction"],
            model.beta * first["kl"],
        ),
        "the reconstruction is that of a code drawn from q": close(
            first["reconstruction"], honest
        ),
        "pixels send a gradient to the encoder": any(
            g is not None and bool(g.abs().sum() > 0) for g in gradient
        ),
        "a picture is the mean of p(x|z)": close(picture, logits.sigmoid()),
        "the zero network pays 784 ln 2": _of_zeros(model, x, generator, y),
    }
    if y is not None:  # any other label will do
        other = (y + 1) % int(model.n_classes)
        mean, drawn = model.encode(x, other)[0], model.decode_mean(z, other)
        found["the encoder reads the label"] = not close(mu, mean)
        drawn = drawn.flatten(1)
        found["the decoder reads the label"] = not close(picture, drawn)
    return found


def _of_zeros(model: Any, x: Tensor, generator: Any, y: Any) -> bool:
    blank = type(model)(**model.options)
    for weight in blank.parameters():
        nn.init.zeros_(weight)
    loss = blank.to(x)(x, y, generator)["loss"]
    expected = x.shape[-1] * math.log(2)
    return bool(((loss - expected).abs() < 1e-3 * expected).all())
