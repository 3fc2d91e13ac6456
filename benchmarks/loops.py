"""Our loops: the standard one, the bare step, and minivae.

The recipe is the classic one: 784-400-20-400-784 with ReLU, Bernoulli
pixels drawn anew for each batch, Adam with 1e-3, batches of 128.

A loop tells `tick` after each step how many digits it had, and goes on until
`tick` ends it. So all are timed in the same way and pay the same for it.
"""

import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import harmonic_mean

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy, relu, softplus
from torch.utils.data import DataLoader, Subset

from minivae import VAE, TrainConfig, fit, load_digits
from minivae.data import cache_folder

Tick = Callable[[int], None]

BATCH, LR = 128, 1e-3
CLASSIC = {"batch_size": BATCH, "lr": LR}
# name -> options of the run; the rest minivae chooses
MINIVAE = {
    "minivae": {},
    "minivae-classic": CLASSIC,
    "minivae-float32": CLASSIC | {"precision": "float32", "compile": "no"},
    "minivae-bfloat16": CLASSIC | {"precision": "bfloat16", "compile": "no"},
    "minivae-compiled": CLASSIC | {"precision": "bfloat16", "compile": "yes"},
}
BARE = {
    "bare-float32": {"dtype": torch.float32},
    "bare-bfloat16": {"dtype": torch.bfloat16},
    "bare-compiled": {"dtype": torch.bfloat16, "compiled": True},
}


class Enough(Exception):  # noqa: N818 - nothing went wrong
    """Ends a loop that would go on."""


class Clock:
    """A tick that measures digits per second.

    Args:
        digits: to time.
        warm: digits before these, while the loop loads and allocates.
    """

    def __init__(self, digits: int, warm: int) -> None:
        self.digits, self.warm = digits, warm
        self.seen, self.start, self.rate = 0, None, None

    def __call__(self, n: int) -> None:
        """A step with n digits is done."""
        self.seen += n
        if self.start is None and self.seen >= self.warm:
            self.start, self.seen = self._now(), 0
        elif self.start is not None and self.seen >= self.digits:
            self.rate = self.seen / (self._now() - self.start)
            raise Enough

    def _now(self) -> float:
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()  # it may be behind
        return time.perf_counter()


def loader(workers: int = 0, n_digits: int | None = None) -> DataLoader:
    """MNIST as most scripts load it, in batches of grey images."""
    from torchvision import datasets, transforms

    # where `load_digits` looks for it, and puts it if it is not there
    root = Path(os.environ.get("MINIVAE_DATA") or cache_folder())
    digits = datasets.MNIST(root, transform=transforms.ToTensor())
    if n_digits:  # only for a trial
        digits = Subset(digits, range(n_digits))
    return DataLoader(digits, BATCH, shuffle=True, num_workers=workers)


class Standard(nn.Module):
    """The network as most scripts write it."""

    # layer of minivae.VAE -> layers here, side by side
    LAYERS = {  # noqa: RUF012
        "encoder.0": ("hidden",),
        "encoder.2": ("mu", "logvar"),
        "decoder.0": ("unfold",),
        "decoder.2": ("pixels",),
    }

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(784, 400)
        self.mu = nn.Linear(400, 20)
        self.logvar = nn.Linear(400, 20)
        self.unfold = nn.Linear(20, 400)
        self.pixels = nn.Linear(400, 784)

    def forward(self, x: Tensor) -> Tensor:
        """-ELBO in nats, the mean over the digits x (B, 784)."""
        h = relu(self.hidden(x))
        mu, logvar = self.mu(h), self.logvar(h)
        z = mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)
        p = torch.sigmoid(self.pixels(relu(self.unfold(z))))
        error = binary_cross_entropy(p, x, reduction="sum")
        kl = -0.5 * torch.sum(1 + logvar - mu**2 - logvar.exp())
        return (error + kl) / len(x)

    def as_vae(self) -> VAE:
        """The same function as a model of minivae, to score all alike."""
        mine, vae = self.state_dict(), VAE(20, (400,))
        vae.load_state_dict(
            {
                f"{theirs}.{part}": torch.cat(
                    [mine[f"{layer}.{part}"] for layer in layers]
                )
                for theirs, layers in self.LAYERS.items()
                for part in ("weight", "bias")
            }
        )
        return vae


def standard(
    tick: Tick,
    epochs: int = sys.maxsize,
    seed: int = 0,
    workers: int = 0,
    n_digits: int | None = None,
) -> Standard:
    """DataLoader, ToTensor, eager float32: the loop of most scripts."""
    torch.manual_seed(seed)
    model, digits = Standard(), loader(workers, n_digits)
    adam = torch.optim.Adam(model.parameters(), lr=LR)
    for _ in range(epochs):
        for images, _ in digits:
            x = torch.bernoulli(images.flatten(1))
            loss = model(x)
            adam.zero_grad()
            loss.backward()
            adam.step()
            tick(len(x))
    return model


class Bare(nn.Module):
    """The network with as little around it as will train it.

    Its layers have the names that they have in `minivae.VAE`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(784, 400), nn.ReLU(), nn.Linear(400, 40)
        )
        self.decoder = nn.Sequential(
            nn.Linear(20, 400), nn.ReLU(), nn.Linear(400, 784)
        )

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        """-ELBO in nats, the mean over the digits x (B, 784)."""
        mu, logvar = self.encoder(x).float().chunk(2, -1)
        logits = self.decoder(mu + (0.5 * logvar).exp() * noise)
        # sums of bf16 must not be bf16
        error = (softplus(logits) - x * logits).sum(dtype=torch.float32)
        kl = 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum()
        return (error + kl) / len(x)


def bare(
    tick: Tick,
    dtype: torch.dtype,
    compiled: bool = False,
    batch: int = BATCH,
    device: str = "cpu",
) -> None:
    """Forward, backward and update on one batch that is already there."""
    net = Bare().to(device)
    adam = torch.optim.Adam(net.parameters(), lr=LR, fused=True)
    x = (torch.rand(batch, 784, device=device) < 0.13).to(dtype)
    mode = "reduce-overhead" if device == "cuda" else None
    run = torch.compile(net, mode=mode) if compiled else net
    while True:
        noise = torch.randn(batch, 20, device=device)
        with torch.autocast(device, dtype, enabled=dtype != torch.float32):
            loss = run(x, noise)
        adam.zero_grad()
        loss.backward()
        adam.step()
        tick(batch)


def minivae(options: dict, n_digits: int, every: bool = True) -> float:
    """Digits per second of `fit` by its own account, less the first epoch.

    Args:
        options: of `TrainConfig`.
        n_digits: to time, or to train on where these are fewer than all.
        every: whether to set the number of epochs by it; else the run is
            as long as its options say, on which some choices depend.
    """
    digits = load_digits("mnist")[:n_digits]
    if every:
        options = options | {"epochs": 1 + math.ceil(n_digits / len(digits))}
    config = TrainConfig(**options)
    history = fit(VAE(20, (400,)), digits, config, progress=False)
    return harmonic_mean(history.digits_per_second[1:])
