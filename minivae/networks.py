"""What can stand as encoder and decoder: `mlp` and `conv`.

An encoder is any module from x (B, *shape), and the condition (B, C) where
there is one, to the numbers of a code. A decoder is any module from z
(B, L), and the condition, to n_params numbers for each value of x: either
(B, *shape, n_params), or flat, or as channels, all numbers of the first
parameter before those of the second.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn


class MLP(nn.Sequential):
    """Linear layers of these sizes, with ReLU between them.

    What comes in is flattened, and a condition is put beside it.

    Args:
        sizes: of the input, with the condition, of the layers between, and
            of the output.

    Example:
        >>> MLP(784 + 10, 256, 2)(torch.zeros(5, 1, 28, 28), torch.ones(5, 10))
        ... # doctest: +ELLIPSIS
        tensor([[...
    """

    def __init__(self, *sizes: int) -> None:
        linear = [nn.Linear(n_in, n_out) for n_in, n_out in pairwise(sizes)]
        layers = [part for layer in linear for part in (layer, nn.ReLU())]
        super().__init__(*layers[:-1])
        start(self)

    def forward(self, v: Tensor, condition: Tensor | None = None) -> Tensor:
        """(B, size of the output)."""
        v = v.flatten(1)
        if condition is not None:
            v = beside(v, condition)
        return super().forward(v)


def start(layers: nn.Sequential) -> None:
    """Start layers before a ReLU so that what passes through keeps its size.

    He et al. 2015: weights of variance 2 / n, where n numbers are added up
    for each that comes out. The last layer starts smaller, as torch has it.

    Args:
        layers: linear, convolutional and others; no bias is left.

    Example:
        >>> layers = nn.Sequential(nn.Linear(400, 300), nn.ReLU())
        >>> start(layers)
        >>> 0.9 < layers(torch.randn(500, 400)).square().mean() < 1.1
        tensor(True)
    """
    for layer, after in pairwise([*layers, None]):
        if not hasattr(layer, "weight"):
            continue
        nn.init.zeros_(layer.bias)
        if not isinstance(after, nn.ReLU):
            continue
        if getattr(layer, "transposed", False):
            # an output meets one in stride^2 of the numbers of the kernel
            n = layer.weight[:, 0].numel() / math.prod(layer.stride)
            nn.init.uniform_(layer.weight, -math.sqrt(6 / n), math.sqrt(6 / n))
        else:
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")


def beside(v: Tensor, condition: Tensor) -> Tensor:
    """Numbers and a condition side by side.

    Args:
        v: numbers, (B, n).
        condition: what a network is told besides, (B, C).

    Returns:
        (B, n + C).

    Example:
        >>> beside(torch.zeros(5, 2), torch.ones(5, 10)).shape
        torch.Size([5, 12])
    """
    return torch.cat([v, condition.to(v.dtype)], 1)


def mlp(
    shape: tuple[int, ...],
    n_code: int,
    n_latent: int,
    n_params: int,
    n_condition: int,
    hidden: tuple[int, ...] = (256, 128),
) -> tuple[nn.Module, nn.Module]:
    """An encoder and a decoder of linear layers, for rows of any shape.

    Args:
        shape: of a row.
        n_code: numbers that the encoder emits.
        n_latent: L, numbers in a code.
        n_params: numbers that the decoder emits for each value of a row.
        n_condition: C, numbers that both networks are told besides.
        hidden: sizes of the encoder's hidden layers; the decoder has them
            in reverse order.

    Returns:
        Encoder and decoder.

    Example:
        >>> encoder, decoder = mlp((3,), 4, 2, 1, 0, hidden=(8,))
        >>> encoder(torch.zeros(5, 3)).shape, decoder(torch.zeros(5, 2)).shape
        (torch.Size([5, 4]), torch.Size([5, 3]))
    """
    n = math.prod(shape)
    return (
        MLP(n + n_condition, *hidden, n_code),
        MLP(n_latent + n_condition, *reversed(hidden), n_params * n),
    )


class ConvEncoder(nn.Module):
    """Two convolutions, each of which halves the picture, and a dense layer.

    Args:
        shape: of a picture, (C, H, W); H and W can be halved twice.
        n_code: numbers to emit.
        n_condition: numbers that the dense layer is told besides.
        hidden: channels of both convolutions and size of the dense layer.

    Example:
        >>> encoder = ConvEncoder((3, 24, 40), n_code=4, n_condition=0)
        >>> encoder(torch.zeros(5, 3, 24, 40)).shape
        torch.Size([5, 4])
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        n_code: int,
        n_condition: int,
        hidden: tuple[int, ...] = (32, 64, 128),
    ) -> None:
        super().__init__()
        channels, height, width = shape
        first, second, dense = hidden
        self.picture = nn.Sequential(
            nn.Conv2d(channels, first, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(first, second, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
        )
        start(self.picture)
        n = second * (height // 4) * (width // 4)
        self.dense = MLP(n + n_condition, dense, n_code)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """(B, n_code) from pictures (B, C, H, W)."""
        return self.dense(self.picture(x), condition)


class ConvDecoder(nn.Module):
    """The way back: dense layers, and two convolutions that double.

    Args:
        shape: of a picture, (C, H, W); H and W can be halved twice.
        n_latent: L, numbers in a code.
        n_params: channels to emit for each channel of the picture.
        n_condition: numbers that the dense layer is told besides.
        hidden: as for `ConvEncoder`.

    Example:
        >>> decoder = ConvDecoder((3, 24, 40), 2, n_params=2, n_condition=0)
        >>> decoder(torch.zeros(5, 2)).shape
        torch.Size([5, 6, 24, 40])
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        n_latent: int,
        n_params: int,
        n_condition: int,
        hidden: tuple[int, ...] = (32, 64, 128),
    ) -> None:
        super().__init__()
        channels, height, width = shape
        first, second, dense = hidden
        small = (second, height // 4, width // 4)
        self.dense = MLP(n_latent + n_condition, dense, math.prod(small))
        self.picture = nn.Sequential(
            nn.ReLU(),
            nn.Unflatten(1, small),
            nn.ConvTranspose2d(second, first, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(
                first, n_params * channels, 4, stride=2, padding=1
            ),
        )
        start(self.picture)

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """(B, n_params * C, H, W) from codes (B, L)."""
        return self.picture(self.dense(z, condition))


def conv(
    shape: tuple[int, ...],
    n_code: int,
    n_latent: int,
    n_params: int,
    n_condition: int,
    hidden: tuple[int, ...] = (32, 64, 128),
) -> tuple[nn.Module, nn.Module]:
    """A convolutional encoder and decoder, for pictures.

    Args:
        shape, n_code, n_latent, n_params, n_condition: as for `mlp`.
        hidden: channels of the two convolutions, size of the dense layer.

    Returns:
        Encoder and decoder.

    Raises:
        ValueError: no picture, or one whose sides cannot be halved twice.

    Example:
        >>> encoder, decoder = conv((1, 28, 28), 4, 2, 1, 0)
        >>> decoder(encoder(torch.zeros(5, 1, 28, 28))[:, :2]).shape
        torch.Size([5, 1, 28, 28])
    """
    if len(shape) != 3 or shape[1] % 4 or shape[2] % 4:
        raise ValueError(
            "shape: convolutions expect (channels, height, width), with "
            f"sides that can be halved twice, got {shape}; pad the pictures, "
            'or choose network="mlp"'
        )
    if len(hidden) != 3:
        raise ValueError(
            "hidden: expected the channels of two convolutions and the size "
            f"of a dense layer, got {hidden}; give three such as "
            "(32, 64, 128)"
        )
    return (
        ConvEncoder(shape, n_code, n_condition, hidden),
        ConvDecoder(shape, n_latent, n_params, n_condition, hidden),
    )


# name -> what makes the pair, and its hidden sizes unless others are given
NETWORKS = {"mlp": (mlp, (256, 128)), "conv": (conv, (32, 64, 128))}
