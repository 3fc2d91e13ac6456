"""A decoder small enough to travel with a page: at most 250 kB of weights.

The first layer keeps 16 bits a weight, the others get 7 or 8. Rounding alone
would change pixels by several hundredths. So the weights of a unit are
rounded one after the other, and what each rounding gets wrong is made up for
by those that are still to come (Hassibi & Stork 1993; Frantar et al. 2022).
"""

import copy
import zlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from minivae.models import VAE, Autoencoder

MOST = 250_000  # bytes
CLOSE, FAR = 0.006, 0.02  # difference of a pixel: good, and not good enough


def squash(model: Autoencoder) -> str:
    """How a page turns what the decoder emits into pixels.

    Args:
        model: of any kind.

    Returns:
        "sigmoid" or "clamp".

    Raises:
        ValueError: the likelihood is another one.

    Example:
        >>> squash(Autoencoder(n_latent=2))
        'clamp'
    """
    if not isinstance(model, VAE):
        return "clamp"
    name = getattr(model.likelihood, "name", "")
    known = {"bernoulli": "sigmoid", "gaussian": "clamp"}
    known["grey_bernoulli"] = "sigmoid"
    if name not in known:
        name = name or type(model.likelihood).__name__
        raise ValueError(
            "models: expected a Bernoulli or Gaussian likelihood, got "
            f"{name:.40}, whose mean a page cannot compute; use "
            "sliders(model)"
        )
    return known[name]


class Layer:
    """What a page gets of a linear layer: scale * (weight @ h) + bias.

    Attributes:
        weight: float16, or int8 values, (out, in).
        scale: one for each row, as float16, (out,).
        bias: (out,).

    Example:
        >>> weight = torch.tensor([[2, 4]], dtype=torch.int8)
        >>> layer = Layer(weight, torch.tensor([0.5]), torch.tensor([1.0]))
        >>> layer(torch.ones(1, 2).double())
        tensor([[4.]], dtype=torch.float64)
    """

    def __init__(self, weight: Tensor, scale: Tensor, bias: Tensor) -> None:
        self.weight, self.scale, self.bias = weight, scale, bias

    def __call__(self, h: Tensor) -> Tensor:
        """The output (N, out), in double precision, for inputs (N, in)."""
        rows = self.weight.double() * self.scale.double()[:, None]
        return h @ rows.T + self.bias.double()

    @property
    def kind(self) -> str:
        """Of the weights, as numpy writes it."""
        return "<f2" if self.weight.is_floating_point() else "i1"

    def stretch(self, factors: Tensor) -> None:
        """Multiply the outputs by positive factors, (out,)."""
        self.scale = (self.scale.double() * factors).half()
        self.bias = (self.bias.double() * factors).float()

    def parts(self) -> Iterator[Tensor]:
        """Scales, biases and weights, in the order of the file."""
        yield from (self.scale, self.bias, self.weight)


@torch.no_grad()
def packed_layers(model: Autoencoder, inputs: Tensor, top: int) -> list[Layer]:
    """The decoder's linear layers, rounded.

    Args:
        model: of any kind.
        inputs: what the decoder reads at some thousand codes, (N, L + C).
            The rounding is made for the region that they cover.
        top: the largest integer weight, at most 127.

    Returns:
        Its layers in order, the first of them with weights of 16 bits.

    Example:
        >>> model = Autoencoder(n_latent=2, hidden=(4,), shape=(3,))
        >>> z = torch.eye(2).repeat(9, 1)
        >>> layers = packed_layers(model, z, top=127)
        >>> [(layer.kind, tuple(layer.weight.shape)) for layer in layers]
        [('<f2', (4, 2)), ('i1', (3, 4))]
    """
    decoder = copy.deepcopy(model.decoder).cpu().double()
    linear = [m for m in decoder if isinstance(m, nn.Linear)]
    exact = inputs.double()  # the activations of the model
    h = before = inputs.double()  # those of the rounded layers
    layers: list[Layer] = []
    for layer in linear:
        weight, bias = layer.weight, layer.bias
        exact = exact @ weight.T + bias
        if layers:
            # Columns of like size round better. A ReLU lets a positive
            # factor pass, so the layer before can take it over.
            factors = weight.abs().amax(0).clamp_min(1e-6).sqrt()
            layers[-1].stretch(factors)
            h = layers[-1](before).relu()
            last = layer is linear[-1]
            matter = _matter(model, exact) if last else torch.ones(len(h), 1)
            rounded = _rounded(weight / factors, bias, h, exact, matter, top)
        else:
            scale = torch.ones(len(weight)).half()
            rounded = Layer(weight.half(), scale, bias.float())
        layers.append(rounded)
        before, h, exact = h, rounded(h).relu(), exact.relu()
    return layers


def pack(model: Autoencoder, inputs: Tensor) -> bytes:
    """The rounded decoder as bytes, layer by layer, compressed by zlib.

    Each layer is its scales (float16), its biases (float32) and its weights
    (float16 in the first layer, int8 after it), all little endian.

    Args:
        model: of any kind.
        inputs: as for `packed_layers`.

    Returns:
        At most 250,000 bytes.

    Raises:
        ValueError: it does not fit into 250 kB, or pixels would change.

    Example:
        >>> model = Autoencoder(n_latent=2, hidden=(4,), shape=(3,))
        >>> z = torch.eye(2).repeat(9, 1)
        >>> data = pack(model, z)
        >>> len(zlib.decompress(data))  # 7 scales, 7 biases, 4 x 2 and 3 x 4
        70
    """
    for top in (63, 127):  # with few dimensions, 7 bits are often enough
        layers = packed_layers(model, inputs, top)
        if (error := _error(model, layers, inputs)) < CLOSE:
            break
    if not error < FAR:
        raise ValueError(
            f"model: expected a decoder that bears rounding to 8 bits, got "
            f"one whose pixels change by {error:.2f}; use sliders(model)"
        )
    data = b"".join(
        part.numpy().astype(kind).tobytes()
        for layer in layers
        for part, kind in zip(layer.parts(), ("<f2", "<f4", layer.kind))
    )
    data = zlib.compress(data, 9)
    if len(data) > MOST:
        raise ValueError(
            f"model: expected a decoder of at most {MOST / 1000:.0f} kB, got "
            f"one of {len(data) / 1000:.0f} kB (hidden="
            f"{model.options['hidden']}); train one with hidden=(256, 128), "
            "or use sliders(model)"
        )
    return data


@torch.no_grad()
def _error(model: Autoencoder, layers: list[Layer], inputs: Tensor) -> float:
    """The largest difference of a pixel between model and rounded layers."""
    h = inputs.double()
    for i, layer in enumerate(layers):
        h = layer(h.relu() if i else h)
    decoder = copy.deepcopy(model.decoder).cpu().double()
    pair = [h, decoder(inputs.double())]
    if squash(model) == "sigmoid":
        pair = [p.sigmoid() for p in pair]
    a, b = (p.clamp(0, 1) for p in pair)
    return (a - b).abs().max().item()


def _matter(model: Autoencoder, out: Tensor) -> Tensor:
    """How much a code matters for the pixels, (N, 1): their mean slope."""
    if squash(model) == "sigmoid":
        slope = out.sigmoid() * (1 - out.sigmoid()) + 1e-3
    else:  # a pixel that is cut off does not see an error
        slope = ((out > -0.05) & (out < 1.05)).double() + 0.03
    return slope.square().mean(1, keepdim=True)


def _rounded(
    weight: Tensor,
    bias: Tensor,
    h: Tensor,
    wanted: Tensor,
    matter: Tensor,
    top: int,
) -> Layer:
    """A layer of int8 weights whose outputs for h come close to `wanted`.

    Args:
        weight, bias: the layer to start from, in double precision.
        h: its inputs, (N, in); `wanted`: the outputs of the exact model.
        matter: weight of each row of h in the squared error, (N, 1).
        top: the largest integer.
    """
    moments = (h * matter).T @ h  # (in, in)
    damping = 1e-5 * moments.diagonal().mean() + 1e-12
    moments += damping * torch.eye(len(moments))
    # first make up for what the layers before got wrong
    missing = wanted - h @ weight.T - bias
    weight = weight + torch.linalg.solve(moments, (h * matter).T @ missing).T
    order = moments.diagonal().argsort(descending=True)  # loudest first
    inverse = torch.cholesky_inverse(
        torch.linalg.cholesky(moments[order][:, order])
    )
    carry = torch.linalg.cholesky(inverse, upper=True)
    scale = (weight.abs().amax(1) / top).clamp_min(1e-7).half()
    step = scale.double()
    rest, whole = weight[:, order], torch.empty_like(weight)
    for j in range(len(order)):
        whole[:, j] = (rest[:, j] / step).round().clamp(-top, top)
        error = (rest[:, j] - whole[:, j] * step) / carry[j, j]
        rest[:, j:] -= error[:, None] * carry[j, j:]
    weight = torch.empty_like(whole)
    weight[:, order] = whole
    return Layer(weight.to(torch.int8), scale, bias.float())
