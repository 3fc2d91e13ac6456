"""Networks small enough to travel with a page: at most 250 kB of weights each.

The layer that holds most weights gets few bits for each: 7 to 10 in a decoder,
10 to 12 in an encoder, whose code is read off a scale and not seen as a grey.
Rounding alone would change pixels by several hundredths. So the weights of a
unit are rounded one after the other, and what each rounding gets wrong is made
up for by those that are still to come (Hassibi & Stork 1993; Frantar et al.
2022).
"""

import copy
import zlib
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from minivae.models import VAE, Autoencoder

MOST = 250_000  # bytes
CLOSE, FAR = 0.008, 0.02  # difference of a pixel: good, and not good enough
NEAR, AWAY = 0.008, 0.01  # the same of mu and logvar


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
        weight: float16, or int8 or int16 values, (out, in).
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
        """Of the weights: f2, i1 or i2."""
        kinds = {torch.float16: "f2", torch.int8: "i1", torch.int16: "i2"}
        return kinds[self.weight.dtype]

    @property
    def size(self) -> list:
        """What a page has to know: inputs, outputs, and kind of weights."""
        n_out, n_in = self.weight.shape
        return [n_in, n_out, self.kind]

    def stretch(self, factors: Tensor) -> None:
        """Multiply the outputs by positive factors, (out,)."""
        self.scale = (self.scale.double() * factors).half()
        self.bias = (self.bias.double() * factors).float()

    def parts(self) -> Iterator[bytes]:
        """Scales, biases and weights, little endian, in order of the file."""
        yield self.scale.numpy().astype("<f2").tobytes()
        yield self.bias.numpy().astype("<f4").tobytes()
        weight = self.weight.numpy().astype(f"<{self.kind}")
        if self.kind == "i2":  # lower bytes, then upper ones: they are alike
            weight = weight.view("u1").reshape(-1, 2).T
        yield weight.tobytes()


@torch.no_grad()
def packed_layers(model: Autoencoder, inputs: Tensor, top: int) -> list[Layer]:
    """The decoder's linear layers, rounded.

    Args:
        model: of any kind.
        inputs: what the decoder reads at some thousand codes, (N, L + C).
            The rounding is made for the region that they cover.
        top: the largest integer weight, at most 127 for int8 weights.

    Returns:
        Its layers in order, the first of them with weights of 16 bits.

    Example:
        >>> model = Autoencoder(n_latent=2, hidden=(4,), shape=(3,))
        >>> z = torch.eye(2).repeat(9, 1)
        >>> layers = packed_layers(model, z, top=127)
        >>> [(layer.kind, tuple(layer.weight.shape)) for layer in layers]
        [('f2', (4, 2)), ('i1', (3, 4))]
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


def pack(model: Autoencoder, inputs: Tensor) -> tuple[bytes, list]:
    """The rounded decoder as bytes, layer by layer, compressed by zlib.

    Each layer is its scales (float16), its biases (float32) and its weights
    (float16 in the first layer, int8 or int16 after it), all little endian.

    Args:
        model: of any kind.
        inputs: as for `packed_layers`.

    Returns:
        At most 250,000 bytes, and the size of each layer.

    Raises:
        ValueError: it does not fit into 250 kB, or pixels would change.

    Example:
        >>> model = Autoencoder(n_latent=2, hidden=(4,), shape=(3,))
        >>> z = torch.eye(2).repeat(9, 1)
        >>> data, sizes = pack(model, z)
        >>> sizes
        [[2, 4, 'f2'], [4, 3, 'i1']]
        >>> len(zlib.decompress(data))  # 7 scales, 7 biases, 4 x 2 and 3 x 4
        70
    """
    tops = (63, 127, 255, 511)  # with few dimensions, 7 bits often do
    tries = (packed_layers(model, inputs, top) for top in tops)
    return _coarsest(
        model,
        "decoder",
        ((layers, _error(model, layers, inputs)) for layers in tries),
        CLOSE,
        FAR,
    )


@torch.no_grad()
def pack_encoder(model: Autoencoder, inputs: Tensor) -> tuple[bytes, list]:
    """The rounded encoder as bytes, as `pack` has it for the decoder.

    Here the first layer holds most weights, which get 10 to 12 bits (int16);
    the others get float16 and make up for what the first gets wrong.

    Args:
        model: of any kind.
        inputs: what the encoder reads of some thousand digits, (N, D + C).
            Every other row serves to see how close the rounding is.

    Returns:
        At most 250,000 bytes, and the size of each layer.

    Raises:
        ValueError: it does not fit into 250 kB, or codes would change.

    Example:
        >>> model = VAE(n_latent=2, hidden=(4,), shape=(3,))
        >>> data, sizes = pack_encoder(model, torch.rand(99, 3))
        >>> sizes
        [[3, 4, 'i2'], [4, 4, 'f2']]
    """
    fit, held_out = inputs[::2].double(), inputs[1::2].double()
    encoder = copy.deepcopy(model.encoder).cpu().double()
    linear = [m for m in encoder if isinstance(m, nn.Linear)]
    wanted = encoder(held_out)
    # what a hundredth is worth, where codes lie close or reach into the tens
    std = wanted.std(0)
    spread = torch.where(std < 0.5, 2 * std, (std / 2).clamp_min(1))

    def rounded(top: int) -> list[Layer]:
        layers: list[Layer] = []
        h = exact = fit
        for layer in linear:
            exact = exact @ layer.weight.T + layer.bias
            parts = layer.weight, layer.bias, h, exact, torch.ones(len(h), 1)
            if layers:
                weight = _made_up(*parts)
                ones = torch.ones(len(weight)).half()
                layers.append(Layer(weight.half(), ones, layer.bias.float()))
            else:
                layers.append(_rounded(*parts, top))
            h, exact = layers[-1](h).relu(), exact.relu()
        return layers

    tries = map(rounded, (511, 1023, 2047))
    errors = (
        (
            layers,
            ((_run(layers, held_out) - wanted).abs() / spread).max().item(),
        )
        for layers in tries
    )
    return _coarsest(model, "encoder", errors, NEAR, AWAY)


def _coarsest(
    model: Autoencoder,
    what: str,
    tries: Iterable[tuple[list[Layer], float]],
    close: float,
    far: float,
) -> tuple[bytes, list]:
    """The first of the tries that is close, or the finest that fits.

    Args:
        model: for the message.
        what: is packed, for the message.
        tries: rounded layers and their error, from coarse to fine.
        close: an error that is good enough.
        far: one that is too large.
    """
    found = None
    for layers, error in tries:
        data = b"".join(part for layer in layers for part in layer.parts())
        data = zlib.compress(data, 9)
        if found is None or len(data) <= MOST:
            found = data, layers, error
        if error < close or len(data) > MOST:
            break
    assert found is not None
    data, layers, error = found
    if len(data) > MOST:
        raise ValueError(
            f"model: expected a {what} of at most {MOST / 1000:.0f} kB, got "
            f"one of {len(data) / 1000:.0f} kB (hidden="
            f"{model.options['hidden']}); train one with hidden=(256, 128), "
            "or use sliders(model)"
        )
    if not error < far:
        raise ValueError(
            f"model: expected one whose {what} bears rounding to some ten "
            f"bits, got one that changes by {error:.2f}; use sliders(model)"
        )
    return data, [layer.size for layer in layers]


def _run(layers: list[Layer], h: Tensor) -> Tensor:
    """What rounded layers make of inputs (N, in), with ReLU between them."""
    for i, layer in enumerate(layers):
        h = layer(h.relu() if i else h)
    return h


@torch.no_grad()
def _error(model: Autoencoder, layers: list[Layer], inputs: Tensor) -> float:
    """The largest difference of a pixel between model and rounded layers."""
    h = _run(layers, inputs.double())
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
    """A layer of whole weights whose outputs for h come close to `wanted`.

    Args:
        weight, bias: the layer to start from, in double precision.
        h: its inputs, (N, in); `wanted`: the outputs of the exact model.
        matter: weight of each row of h in the squared error, (N, 1).
        top: the largest integer.
    """
    weight = _made_up(weight, bias, h, wanted, matter)
    moments = _moments(h, matter)
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
    kind = torch.int8 if top < 128 else torch.int16
    return Layer(weight.to(kind), scale, bias.float())


def _made_up(
    weight: Tensor, bias: Tensor, h: Tensor, wanted: Tensor, matter: Tensor
) -> Tensor:
    """The weights, changed for what the layers before got wrong."""
    missing = wanted - h @ weight.T - bias
    change = torch.linalg.solve(_moments(h, matter), (h * matter).T @ missing)
    return weight + change.T


def _moments(h: Tensor, matter: Tensor) -> Tensor:
    """Second moments of inputs, (in, in), which can be inverted."""
    moments = (h * matter).T @ h
    damping = 1e-5 * moments.diagonal().mean() + 1e-12
    return moments + damping * torch.eye(len(moments))
