"""What can stand as encoder and decoder: of which shapes, in which order."""

import inspect
import math

import pytest
import torch
from conftest import refused, same, untouched_rng
from torch import nn

from minivae import (
    CVAE,
    VAE,
    Autoencoder,
    Images,
    Table,
    TrainConfig,
    codes,
    evaluate,
    fit,
    load_model,
    networks,
    reconstruct,
    sample,
)
from minivae.networks import (
    MLP,
    NETWORKS,
    ConvDecoder,
    ConvEncoder,
    beside,
    conv,
    mlp,
)

GREY, COLOUR = (1, 28, 28), (3, 24, 40)
PAIRS = {"mlp": mlp, "conv": conv}
every = pytest.mark.parametrize("name", PAIRS)
shapes = pytest.mark.parametrize("shape", [GREY, COLOUR])
CONFIG = TrainConfig(epochs=2, batch_size=16, warmup=5, device="cpu")


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def pictures(shape, n=40, labels=False):
    images = (255 * draw(n, *shape).sigmoid()).round().byte()
    return Images(images, torch.arange(n) % 10 if labels else None)


@pytest.mark.parametrize(
    "layer, shape",
    [
        (nn.Linear(144, 96), (500, 144)),
        (nn.Conv2d(16, 96, 3, stride=2, padding=1), (20, 16, 16, 16)),
        (nn.ConvTranspose2d(64, 96, 4, stride=2, padding=1), (20, 64, 8, 8)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_layer_before_a_relu_keeps_the_size_of_what_passes(layer, shape):
    small = layer.weight.std()
    networks.start(nn.Sequential(layer))  # the last layer of a network
    assert layer.weight.std() == small and not layer.bias.any()
    networks.start(nn.Sequential(layer, nn.ReLU()))
    passed = layer(draw(*shape)).relu()
    inner = passed if passed.ndim == 2 else passed[..., 1:-1, 1:-1]
    assert 0.9 < inner.square().mean() < 1.1


def test_convolutions_start_like_this():
    encoder, decoder = conv(GREY, 4, 2, 1, 0)
    for layer in (encoder.picture[0], encoder.picture[2], decoder.picture[2]):
        assert not layer.bias.any()
        stride = math.prod(layer.stride) if layer.transposed else 1
        n = layer.weight[:, 0] if layer.transposed else layer.weight[0]
        found = layer.weight.square().mean() * n.numel() / stride
        assert 1.7 < found < 2.3  # torch alone: one third


def test_every_pair_has_a_name():
    functions = {
        name
        for name, value in inspect.getmembers(networks, inspect.isfunction)
        if value.__module__ == networks.__name__
        and name not in ("beside", "start")
    }
    assert functions == PAIRS.keys() == NETWORKS.keys()
    for name, (make, hidden) in NETWORKS.items():
        assert make is PAIRS[name]
        usual = inspect.signature(make).parameters["hidden"].default
        assert usual == hidden
        assert Autoencoder(2, network=name).options["hidden"] == hidden
    for make in (ConvEncoder, ConvDecoder):
        usual = inspect.signature(make).parameters["hidden"].default
        assert usual == NETWORKS["conv"][1]


def test_a_layer_before_a_relu_keeps_the_size_and_the_last_starts_smaller():
    first, _, second, _, last = MLP(600, 500, 400, 300)
    for layer, bound in (
        (first, (6 / 600) ** 0.5),
        (second, (6 / 500) ** 0.5),
        (last, (1 / 400) ** 0.5),
    ):
        assert 0.99 * bound < layer.weight.abs().max() <= bound
        assert not layer.bias.any()


@every
@shapes
@pytest.mark.parametrize("n_params, n_condition", [(1, 0), (2, 0), (1, 4)])
def test_a_pair_fits_the_rows_and_the_code(name, shape, n_params, n_condition):
    encoder, decoder = PAIRS[name](shape, 7, 3, n_params, n_condition)
    x, z = draw(5, *shape), draw(5, 3)
    told = (draw(5, n_condition),) if n_condition else ()
    code, out = encoder(x, *told), decoder(z, *told)
    assert code.shape == (5, 7)
    assert out.flatten(1).shape == (5, n_params * math.prod(shape))
    assert len(code.unique(dim=0)) == len(out.unique(dim=0)) == 5
    # what one row gives does not depend on the others
    torch.testing.assert_close(
        encoder(x[:2], *(t[:2] for t in told)), code[:2]
    )
    torch.testing.assert_close(decoder(z[:2], *(t[:2] for t in told)), out[:2])
    if told:  # both listen
        other = draw(5, n_condition, seed=1)
        assert (encoder(x, other) != code).any(1).all()
        assert (decoder(z, other).flatten(1) != out.flatten(1)).any(1).all()


@every
def test_every_value_of_a_picture_reaches_the_code_and_is_drawn(name):
    encoder, decoder = PAIRS[name](COLOUR, 7, 3, 2, 0)
    x, z = draw(1, *COLOUR).requires_grad_(), draw(1, 3).requires_grad_()
    (slope,) = torch.autograd.grad(encoder(x).sum(), x)
    assert (slope != 0).all()
    # each output depends on the code
    out = decoder(z).flatten()
    others = decoder(draw(1, 3, seed=1)).flatten()
    assert (out != others).all()


def test_a_network_sees_neighbours_where_it_is_convolutional():
    encoder, decoder = conv(GREY, 4, 2, 1, 0, (4, 6, 16))
    assert isinstance(encoder, ConvEncoder)
    assert isinstance(decoder, ConvDecoder)
    assert [part.kernel_size for part in encoder.picture[:3:2]] == [(3, 3)] * 2
    assert [part.kernel_size for part in decoder.picture[2::2]] == [(4, 4)] * 2
    # moved by four pixels, the features are moved by one
    x = torch.zeros(2, *GREY)
    x[0, 0, 8:14, 9:15] = draw(6, 6)
    x[1] = x[0].roll(4, 2)
    maps = encoder.picture(x).view(2, 6, 7, 7)
    inner = slice(1, -2)
    torch.testing.assert_close(
        maps[0, :, inner, inner], maps[1, :, inner, 2:-1]
    )
    assert maps.std() > 0
    n = sum(w.numel() for w in encoder.parameters())
    dense = sum(w.numel() for w in mlp(GREY, 4, 2, 1, 0)[0].parameters())
    assert n < dense / 10


@pytest.mark.parametrize(
    "shape",
    [(7,), (28, 28), (1, 28, 27), (1, 30, 28), (3, 2, 4), (1, 1, 4, 4)],
)
def test_convolutions_want_pictures_that_can_be_halved_twice(shape):
    with refused("shape:", ValueError) as caught:
        VAE(2, network="conv", shape=shape)
    assert "mlp" in str(caught.value)


@pytest.mark.parametrize("hidden", [(), (32,), (32, 64), (1, 2, 3, 4)])
def test_convolutions_want_three_sizes(hidden):
    with refused("hidden:", ValueError) as caught:
        VAE(2, hidden, network="conv")
    assert "(32, 64, 128)" in str(caught.value)


def test_numbers_are_put_beside_each_other():
    v, told = draw(3, 2), torch.tensor([[1], [2], [3]])
    found = beside(v, told)
    assert found.dtype == v.dtype
    assert torch.equal(found, torch.cat([v, told.float()], 1))
    network = MLP(4 + 2, 3)
    x = draw(5, 2, 2)
    a, b = network(x, draw(5, 2)), network(beside(x.flatten(1), draw(5, 2)))
    assert torch.equal(a, b)


# --- in a model


@every
@shapes
@pytest.mark.parametrize("kind", [Autoencoder, VAE, CVAE, "conditions"])
def test_a_pair_is_part_of_every_model(name, shape, kind):
    options = {"network": name, "shape": shape}
    if kind == "conditions":
        model = CVAE(2, conditions=(3, 1), **options)
        y = torch.tensor([[1.0, torch.nan], [torch.nan, 0.5], [2.0, -1.0]])
    else:
        model = kind(2, **options)
        y = torch.arange(3) if kind is CVAE else None
    with untouched_rng():
        again = type(model)(**model.options)
    assert same(again.state_dict(), model.state_dict())
    x = draw(3, *shape).sigmoid().round()
    terms = model(x, y, torch.Generator().manual_seed(0))
    for value in terms.values():
        assert value.shape == (3,)
        assert value.isfinite().all()
    terms["loss"].sum().backward()
    for part, weight in model.named_parameters():
        assert weight.grad.abs().max() > 0, part
    z = draw(4, 3, 2)
    drawn = model.decode_mean(z, y)
    assert drawn.shape == (4, 3, *shape)
    torch.testing.assert_close(drawn[2], model.decode_mean(z[2], y))
    if y is not None:  # told otherwise, each answers otherwise
        other = y.flip(0)
        assert (model.encode_mean(x, other) != model.encode_mean(x, y)).any()
        assert (model.decode(z, other) != model.decode(z, y)).any()


@every
@shapes
def test_a_pair_is_trained_scored_and_drawn(name, shape, tmp_path):
    data, path = pictures(shape, labels=True), tmp_path / "vae.pt"
    hidden = (8, 8, 16) if name == "conv" else (16,)
    model = CVAE(
        2,
        hidden,
        network=name,
        shape=shape,
        likelihood="discretized_logistic",
    )
    before = evaluate(model, data)["elbo"]
    fit(model, data, CONFIG, path, progress=False)
    assert evaluate(model, data)["elbo"] > before
    again = load_model(path)
    assert same(again.state_dict(), model.state_dict())
    seen = shape[1:] if shape[0] == 1 else shape
    assert reconstruct(model, data).shape == (40, *seen)
    assert torch.equal(sample(again, 3, 5), sample(model, 3, 5))


# --- what a decoder may emit


class Decoder(nn.Module):
    """Emits known numbers, in one of the layouts."""

    def __init__(self, values, layout):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.values, self.layout = values, layout

    def forward(self, z, condition=None):
        out = self.scale * z[:, :1].view(-1, *[1] * self.values.ndim)
        return self.layout(out * self.values)


LAYOUTS = {  # from (B, *shape, 2)
    "last": lambda out: out,
    "flat": lambda out: out.movedim(-1, 1).flatten(1),
    "channels": lambda out: out.movedim(-1, 1).flatten(1, 2),
}


@pytest.mark.parametrize(
    "shape", [GREY, COLOUR, (5,), (2, 2), (2,), (1, 2, 2)]
)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_two_numbers_for_each_value_may_come_in_three_orders(shape, layout):
    values = draw(*shape, 2)
    model = VAE(
        1,
        shape=shape,
        likelihood="discretized_logistic",
        decoder=Decoder(values, LAYOUTS[layout]),
    )
    z = draw(4, 3, 1)
    out = model.decode(z)
    assert out.shape == (4, 3, *shape, 2)
    factor = z.view(4, 3, *[1] * (1 + len(shape)))
    torch.testing.assert_close(out, factor * values)
    assert model.decode_mean(z).shape == (4, 3, *shape)
    x = torch.full((3, *shape), 0.5)
    assert model(x)["loss"].shape == (3,)


@every
def test_the_networks_of_the_package_emit_one_number_after_the_other(name):
    model = VAE(
        2, network=name, shape=COLOUR, likelihood="discretized_logistic"
    )
    z = draw(4, 2)
    raw = model.decoder(z).flatten(1)
    mean, log_scale = model.decode(z).unbind(-1)
    assert torch.equal(
        torch.cat([mean.flatten(1), log_scale.flatten(1)], 1), raw
    )


@pytest.mark.parametrize(
    "layout",
    [
        lambda out: out,
        lambda out: out.flatten(1),
        lambda out: out[..., None],
    ],
)
@pytest.mark.parametrize("shape", [GREY, COLOUR, (5,)])
def test_one_number_for_each_value_may_come_flat_or_in_shape(shape, layout):
    values = draw(*shape)
    model = VAE(1, shape=shape, decoder=Decoder(values, layout))
    z = draw(4, 3, 1)
    out = model.decode(z)
    assert out.shape == (4, 3, *shape)
    factor = z.view(4, 3, *[1] * len(shape))
    torch.testing.assert_close(out, factor * values)


WRONG = {
    "too few": lambda out: out.flatten(1)[:, 1:],
    "one for each row": lambda out: out.flatten(1).sum(1),
    "all rows in one": lambda out: out.flatten(),
    "colours last": lambda out: out.movedim(1, 3),
    "turned": lambda out: out.transpose(2, 3),
    "rows last": lambda out: out.flatten(1).T,
    "twice as many": lambda out: torch.cat([out, out], 1),
    "a pair": lambda out: (out, out),
    "nothing": lambda out: None,
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("likelihood", ["bernoulli", "discretized_logistic"])
def test_wrong_numbers_of_a_decoder_are_refused(wrong, likelihood):
    values = draw(*COLOUR)
    decoder = Decoder(values, WRONG[wrong])
    if likelihood != "bernoulli":  # two of each, then wrong
        twice = torch.cat([values, values])
        decoder = Decoder(twice, WRONG[wrong])
        if wrong == "twice as many":
            decoder = Decoder(torch.cat([twice, twice]), lambda out: out)
    model = VAE(1, shape=COLOUR, likelihood=likelihood, decoder=decoder)
    for call in (
        lambda: model.decode(draw(7, 1)),
        lambda: model(torch.zeros(7, *COLOUR)),
        lambda: sample(model, 3),
    ):
        with refused("decoder:", ValueError) as caught:
            call()
    assert "last layer" in str(caught.value)


@pytest.mark.parametrize(
    "layout",
    [
        lambda out: out[:, :1],
        lambda out: out[:, None],
        lambda out: out[:3],
        lambda out: out.flatten(),
        lambda out: out.chunk(2, 1),
        lambda out: {"mu": out},
        lambda out: None,
    ],
)
@pytest.mark.parametrize("kind", [Autoencoder, VAE])
def test_wrong_numbers_of_an_encoder_are_refused(kind, layout):
    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.dense = nn.Linear(5, 4 if kind is VAE else 2)

        def forward(self, x):
            return layout(self.dense(x))

    model = kind(2, shape=(5,), encoder=Encoder())
    for call in (model.encode, model, model.encode_mean):
        with refused("encoder:", ValueError) as caught:
            call(torch.zeros(7, 5))
    assert "one tensor" in str(caught.value)


# --- networks of your own


def double(n_in, n_out):
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, 3, padding=1), nn.BatchNorm2d(n_out), nn.ReLU()
    )


class UNet(nn.Module):
    """A U-shaped encoder: down, up, with bridges, and to 2 L numbers."""

    def __init__(self, channels, n_code, n_condition=0, drop=0.2):
        super().__init__()
        self.down = double(channels, 8)
        self.bottom = double(8, 16)
        self.up = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.join = double(16, 8)
        self.drop = nn.Dropout(drop)
        self.out = nn.Linear(8 * 16 + n_condition, n_code)

    def forward(self, x, condition=None):
        fine = self.down(x)
        coarse = self.bottom(nn.functional.max_pool2d(fine, 2))
        joined = self.join(torch.cat([fine, self.up(coarse)], 1))
        pooled = nn.functional.adaptive_avg_pool2d(joined, 4).flatten(1)
        pooled = self.drop(pooled)
        if condition is not None:
            pooled = beside(pooled, condition)
        return self.out(pooled)


def u_shaped(kind, shape, drop=0.2):
    n_code = 2 if kind is Autoencoder else 4
    n_condition = 10 if kind is CVAE else 0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = UNet(shape[0], n_code, n_condition, drop)
    return kind(2, encoder=encoder, shape=shape, hidden=(16,))


@pytest.mark.parametrize("kind", [Autoencoder, VAE, CVAE])
@shapes
def test_an_encoder_of_your_own_with_batch_norm_works_from_end_to_end(
    kind, shape, tmp_path
):
    data, path = pictures(shape, labels=kind is CVAE), tmp_path / "u.pt"
    model = u_shaped(kind, shape)
    fresh = {k: v.clone() for k, v in model.state_dict().items()}
    before = evaluate(model, data)["reconstruction"]
    history = fit(model, data, CONFIG, path, progress=False)
    assert len(history) == 2
    scores = evaluate(model, data)
    assert scores["reconstruction"] < before
    # the running statistics have moved, and are kept with the weights
    buffers = dict(model.named_buffers())
    moved = [n for n in buffers if n.endswith("running_mean")]
    assert len(moved) == 3
    for name in moved:
        assert not torch.equal(buffers[name], fresh[name])
    # looked at, a model is at rest: no batch matters to a row, nor dropout
    model.train()
    kept = {k: v.clone() for k, v in model.state_dict().items()}
    expected = codes(model, data)
    torch.testing.assert_close(codes(model, data, batch_size=7), expected)
    torch.testing.assert_close(codes(model, data[:3]), expected[:3])
    assert evaluate(model, data) == scores
    assert same(kept, model.state_dict())
    assert model.training
    # a file is loaded into a model that was built alike
    mine = load_model(path, model=u_shaped(kind, shape))
    assert same(mine.state_dict(), model.state_dict())
    assert evaluate(mine, data) == scores


def test_a_run_with_batch_norm_goes_on_with_the_same_bits(tmp_path):
    data, path = pictures(GREY), tmp_path / "u.pt"
    longer = TrainConfig(epochs=4, batch_size=16, warmup=5, device="cpu")
    part, more, whole = (u_shaped(VAE, GREY, drop=0.0) for _ in range(3))
    fit(part, data, CONFIG, path, progress=False)
    fit(more, data, longer, path, progress=False)
    fit(whole, data, longer, progress=False)
    assert same(more.state_dict(), whole.state_dict())
    assert not same(part.state_dict(), whole.state_dict())


def test_both_parts_may_be_your_own_and_are_used_as_they_are():
    encoder, decoder = nn.Linear(5, 4), nn.Linear(2, 5)
    kept = encoder.weight.clone()
    with untouched_rng():
        model = VAE(2, shape=(5,), encoder=encoder, decoder=decoder)
    assert model.encoder is encoder
    assert model.decoder is decoder
    assert torch.equal(encoder.weight, kept)
    x = torch.rand(3, 5)
    mu, logvar = model.encode(x)
    assert torch.equal(torch.cat([mu, logvar], 1), encoder(x))
    assert torch.equal(model.decode(mu), decoder(mu))
    # the other part is made as usual
    half = VAE(2, (8,), shape=(5,), encoder=encoder)
    plain = VAE(2, (8,), shape=(5,))
    assert half.encoder is encoder
    assert same(half.decoder.state_dict(), plain.decoder.state_dict())


def test_a_part_that_is_not_told_the_condition_is_refused_at_once():
    two = r"encoder: expected forward\(x, condition\), got Linear.forward"
    with pytest.raises(TypeError, match=two):
        CVAE(2, n_classes=3, shape=(5,), encoder=nn.Linear(5, 4))
    two = r"decoder: expected forward\(z, condition\), .*take z and condition"
    with pytest.raises(TypeError, match=two):
        CVAE(2, conditions=(3, 1), shape=(5,), decoder=nn.Linear(2, 5))
    told = CVAE(2, (), n_classes=3, shape=(5,))
    one = r"encoder: expected forward\(x\), got Told"
    with pytest.raises(TypeError, match=one):
        VAE(2, shape=(5,), encoder=Told(5 + 3, 4))
    own = CVAE(2, (), n_classes=3, shape=(5,), encoder=Told(5 + 3, 4))
    assert own.encode(torch.rand(7, 5), torch.arange(7) % 3)[0].shape == (7, 2)
    assert told.decode(torch.zeros(1, 2), torch.tensor([2])).shape == (1, 5)


class Told(nn.Linear):
    """A layer that is told a condition besides."""

    def forward(self, x, condition):
        return super().forward(torch.cat([x, condition], 1))


@pytest.mark.parametrize("kind", [Autoencoder, VAE, CVAE])
def test_an_option_that_there_is_not_is_named_with_the_class(kind):
    with pytest.raises(TypeError, match=f"^{kind.__name__}: .* latent, depth"):
        kind(latent=3, depth=2)


@pytest.mark.parametrize("n, size", [(129, 64), (129, 128), (3, 1), (1, 512)])
def test_a_batch_of_one_row_is_found_before_the_training(n, size):
    body = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4))
    model = VAE(2, shape=(5,), encoder=body).eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    words = f"{n} rows in batches of {min(n, size)} leave a batch of one"
    config = TrainConfig(epochs=1, batch_size=size)
    data = Table(torch.rand(n, 5))
    with untouched_rng(), pytest.raises(ValueError, match=words):
        fit(model, data, config, progress=False)
    assert same(before, model.state_dict())
    assert not body.training
    # without it, or where a row has more than one value for a channel
    fit(VAE(2, (), shape=(5,)), data, config, progress=False)
    body = nn.Sequential(nn.Unflatten(1, (1, 5)), nn.BatchNorm1d(1))
    body = nn.Sequential(body, nn.Flatten(), nn.Linear(5, 4))
    model = VAE(2, (), shape=(5,), encoder=body)
    fit(model, data, config, progress=False)
    assert body[0][1].num_batches_tracked == -(-n // min(n, size))
