"""Numbers about a trained model, in nats per digit.

Everything is summed over the data and divided once, so a short last batch
counts for what it is. Binary models are scored on a test set binarised once,
the same on every machine.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from minivae import validate
from minivae.data import Digits, batches, seeded
from minivae.models import VAE, Autoencoder
from minivae.objective import (
    gaussian_log_density,
    importance_bound,
    reparameterize,
)


@torch.no_grad()
def evaluate(
    model: Autoencoder, digits: Digits, seed: int = 0, batch_size: int = 1000
) -> dict[str, float]:
    """Means over the digits of the loss terms and of the ELBO.

    Kingma & Welling 2014, equation 3, with z drawn once from q(z|x).

    Args:
        model: a trained model; its weights stay as they are.
        digits: to score; binarised once if the model is of binary pixels.
        seed: selects the codes that are drawn.
        batch_size: digits at a time. Changes which noise a digit gets, and
            nothing else.

    Returns:
        "reconstruction", -log p(x|z), and, where the model has them, "kl"
        and "elbo" = -(reconstruction + kl); nats per digit. An autoencoder
        has the squared error as "reconstruction" and no ELBO.
    """
    validate.whole("seed", seed, 0, 0)
    validate.kind("digits", digits, Digits)
    device = next(model.parameters()).device
    if model.binary:
        digits = digits.binarized()
    noise = seeded(device, "evaluate", seed)
    sums: dict[str, float] = {}
    for x, y in batches(
        digits, batch_size, device=device, binarize=False, shuffle=False
    ):
        for name, value in model.terms(x, y, noise).items():
            total = value.cpu().double().sum().item()
            sums[name] = sums.get(name, 0.0) + total
    means = {name: total / len(digits) for name, total in sums.items()}
    del means["loss"]  # it depends on beta; its parts do not
    if "kl" in means:
        means["elbo"] = -(means["reconstruction"] + means["kl"])
    return means


@torch.no_grad()
def log_likelihood(
    model: VAE,
    digits: Digits,
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
    """
    validate.whole("n_samples", n_samples, 1, 100)
    if not isinstance(model, VAE):
        raise TypeError(
            f"model: expected a VAE or CVAE, got {type(model).__name__}, "
            "which has no p(x); score it with evaluate"
        )
    from tqdm.auto import tqdm

    validate.kind("digits", digits, Digits)
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
) -> Tensor:
    """log p(x, z) - log q(z|x) for codes z drawn from q(z|x).

    Burda et al. 2016, equation 8.

    Args:
        model: a VAE or CVAE.
        x: pixels, (B, D); y: labels, (B,), where the model needs them.
        n_samples: K.
        generator: source of the noise.

    Returns:
        Nats, (K, B).
    """
    mu, logvar = (p.expand(n_samples, -1, -1) for p in model.encode(x, y))
    z = reparameterize(mu, logvar, generator)  # (K, B, L)
    standard = torch.zeros_like(z)
    return (
        model.log_likelihood(x, z, y)
        + gaussian_log_density(z, standard, standard)
        - gaussian_log_density(z, mu, logvar)
    )


class Judge(nn.Module):
    """A frozen reader of digits, to say what a generated image shows.

    A small convolutional network in the manner of LeCun et al. 1998, trained
    by `fit` like any model here. It reads grey images and has its own
    errors: state `accuracy` on the test set beside what it says.

    Args:
        seed: selects the initial weights.
    """

    binary = False
    n_classes = 10
    n_pixels = 784

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
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
        return {"loss": cross_entropy(self.encode(x), y, reduction="none")}

    @torch.no_grad()
    def read(self, images: Tensor) -> Tensor:
        """Probabilities of the ten digits.

        Args:
            images: in [0, 1], (N, 28, 28).

        Returns:
            (N, 10), rows sum to 1.
        """
        parts = images.flatten(1).split(1000)
        return torch.cat([self.encode(x).softmax(-1) for x in parts])

    def accuracy(self, digits: Digits) -> float:
        """Share of digits that are read as labelled."""
        read = self.read(digits.images.float() / 255).argmax(1)
        return (read == digits.labels).double().mean().item()


@torch.no_grad()
def codes(
    model: Autoencoder, digits: Digits, batch_size: int = 1000
) -> Tensor:
    """The code of each digit, for maps: mu of q(z|x), or the code itself.

    Args:
        model: any of the three.
        digits: binarised once if the model is of binary pixels.

    Returns:
        (N, L) on the CPU.
    """
    validate.kind("digits", digits, Digits)
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
