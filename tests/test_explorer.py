"""The widgets drive their models, without a browser."""

import io
import sys
import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import ROOT, refused
from PIL import Image
from torch._subclasses import FakeTensorMode
from traitlets import TraitError

from minivae import (
    CVAE,
    M2,
    VAE,
    Autoencoder,
    Classifier,
    Images,
    PixelCVAE,
    Table,
    codes,
    latent,
    quantile_grid,
)
from minivae.evaluate import kl_per_dimension, posteriors
from minivae.explorer import explorer, packing, sliders

FOLDER = ROOT / "minivae" / "explorer"
# their names in the package are those of functions
slider_module = sys.modules["minivae.explorer.sliders"]
widget_module = sys.modules["minivae.explorer.widget"]

SIZES = {"hidden": (8,), "n_latent": 2}


def picture(widget, size=(28, 28)):
    """What a slider widget shows, a pixel of the screen for each of its."""
    image = Image.open(io.BytesIO(widget.picture.value))
    assert image.width * size[0] == image.height * size[1]  # as wide as it is
    grey = image.mode == "L"
    light = np.asarray(image.resize(size[::-1], Image.NEAREST)) / 255
    return 1 - light if grey else light


@torch.no_grad()
def exact(model, z, *y):
    """Pictures (N, 28, 28) of codes, by the model itself."""
    drawn = model.decode_mean(z, *y)
    return drawn.clamp(0, 1).view(-1, 28, 28).numpy()


@pytest.mark.parametrize("kind", [Autoencoder, VAE, CVAE])
def test_a_slider_moves_the_code_and_the_picture_follows(kind):
    model = kind(**SIZES)
    widget = sliders(model)
    before = widget.picture.value
    widget.z[0].value, widget.z[1].value = 1.5, -2.0
    assert widget.picture.value != before
    y = torch.tensor([0]) if kind is CVAE else None
    drawn = exact(model, torch.tensor([[1.5, -2.0]]), y)[0]
    assert np.abs(picture(widget) - drawn).max() <= 0.5 / 255 + 1e-6


def test_buttons_choose_the_digit_of_a_conditional_model():
    model = CVAE(**SIZES)
    widget = sliders(model)
    before = widget.picture.value
    widget.digit.value = "5"
    assert widget.picture.value != before
    drawn = exact(model, torch.zeros(1, 2), torch.tensor([5]))[0]
    assert np.abs(picture(widget) - drawn).max() <= 0.5 / 255 + 1e-6
    assert sliders(VAE(**SIZES)).digit is None


def test_several_conditions_are_told_or_withheld():
    model = CVAE(**SIZES, conditions=(10, 1))
    widget = sliders(model)
    (digit,), (tick, slant) = widget.told
    nan = float("nan")

    def shows(*y):
        drawn = exact(model, torch.zeros(1, 2), torch.tensor([y]))[0]
        return np.abs(picture(widget) - drawn).max() <= 0.5 / 255 + 1e-6

    assert shows(nan, nan)
    digit.value = "7"
    assert shows(7.0, nan)
    slant.value = 1.5
    assert shows(7.0, nan)  # not ticked yet
    tick.value = True
    assert shows(7.0, 1.5)
    digit.value = "withheld"
    assert shows(nan, 1.5)
    assert widget.still().startswith(b"\x89PNG")


def test_the_last_of_many_moves_is_the_one_that_is_shown():
    widget = sliders(VAE(**SIZES))
    for value in np.linspace(-3, 3, 100):
        widget.z[0].value = value
    shown = widget.picture.value
    widget.z[0].value = 0.0
    widget.z[0].value = 3.0
    assert widget.picture.value == shown


@pytest.mark.parametrize(
    "model",
    [
        VAE(**SIZES, shape=(1, 10, 14)),
        Autoencoder(**SIZES, shape=(1, 300, 20)),
        VAE(2, shape=(1, 12, 8), network="conv", likelihood="categorical"),
        VAE(**SIZES, likelihood="discretized_logistic"),
        CVAE(1, (8,), conditions=(3, 1), shape=(1, 5, 5)),
    ],
    ids=lambda model: str(model.shape),
)
def test_grey_pictures_keep_their_size_and_shape(model):
    widget = sliders(model)
    widget.z[-1].value = -1.25
    _, height, width = model.shape
    assert widget.image().shape == (height, width)
    shown = picture(widget, (height, width))
    assert np.abs(shown - widget.image()).max() <= 0.5 / 255 + 1e-6
    assert Image.open(io.BytesIO(widget.still())).format == "PNG"


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_colours_are_shown_as_colours(network):
    model = VAE(2, network=network, shape=(3, 24, 40), likelihood="gaussian")
    with torch.no_grad():  # from almost black to white
        list(model.decoder.parameters())[-1] += 0.5
    widget = sliders(model)
    widget.z[0].value = 2.0
    image = widget.image()
    assert image.shape == (3, 24, 40)
    wanted = model.decode_mean(torch.tensor([[2.0, 0.0]]))[0].clamp(0, 1)
    assert np.allclose(image, wanted.detach())
    assert image.std() > 0
    shown = picture(widget, (24, 40))
    wanted = np.moveaxis(image, 0, -1)  # light, not ink
    assert np.abs(shown - wanted).max() <= 0.5 / 255 + 1e-6
    assert widget.picture.layout.width == "200px"
    assert widget.picture.layout.height == "120px"
    still = np.asarray(Image.open(io.BytesIO(widget.still())).convert("RGB"))
    assert still.std() > 5


def test_other_channels_are_shown_side_by_side():
    widget = sliders(VAE(**SIZES, shape=(2, 4, 12)))
    widget.z[0].value = 1.0
    image = widget.image()
    assert image.shape == (2, 4, 12)
    beside = np.concatenate([image[0], image[1]], 1)
    shown = picture(widget, (4, 24))
    assert np.abs(shown - beside).max() <= 0.5 / 255 + 1e-6
    assert widget.still().startswith(b"\x89PNG")


@pytest.mark.parametrize("shape", [(7,), (1,), (4, 6), (90,)])
def test_the_values_of_a_table_are_drawn_as_they_are(shape):
    model = VAE(**SIZES, shape=shape, likelihood="gaussian")
    widget = sliders(model)
    widget.z[0].value, widget.z[1].value = 3.0, -2.0
    with torch.no_grad():
        wanted = model.decode_mean(torch.tensor([[3.0, -2.0]]))[0].numpy()
    assert widget.image().shape == shape
    assert np.array_equal(widget.image(), wanted)  # also below 0, above 1
    assert bytes(widget.picture.value).startswith(b"\x89PNG")
    assert widget.still().startswith(b"\x89PNG")


def test_a_table_is_drawn_as_bars_on_a_scale_that_stays(monkeypatch):
    drawn = []
    bars = slider_module.bars

    def spy(*given, **options):
        drawn.append(bars(*given, **options))
        return drawn[-1]

    monkeypatch.setattr(slider_module, "bars", spy)
    model = CVAE(**SIZES, shape=(7,), likelihood="gaussian", conditions=(3,))
    widget = sliders(model)
    for value in (0.5, 3.0, -3.0, 1.0):
        widget.z[0].value = value
        (axes,) = drawn[-1].axes
        heights = [bar.get_height() for bar in axes.patches]
        assert np.allclose(heights, widget.image())
    scales = {figure.axes[0].get_ylim() for figure in drawn}
    assert len(scales) == 1
    low, high = scales.pop()
    assert low < -0.1 < 1.1 < high
    widget.still()
    heights = [[b.get_height() for b in a.patches] for a in drawn[-1].axes]
    assert len(heights) == 10  # five steps of z1, then of z2
    nan = torch.full((1, 1), float("nan"))
    for i, z in ((0, [-3.0, 0.0]), (4, [3.0, 0.0]), (8, [0.0, 1.5])):
        with torch.no_grad():
            wanted = model.decode_mean(torch.tensor([z]), nan)[0]
        assert np.allclose(heights[i], wanted)


def test_a_long_row_is_drawn_as_a_line(monkeypatch):
    lines = []
    curves = slider_module.curves

    def spy(given, *labels, **options):
        lines.append(given)
        return curves(given, *labels, **options)

    monkeypatch.setattr(slider_module, "curves", spy)
    widget = sliders(VAE(**SIZES, shape=(90,), likelihood="gaussian"))
    widget.z[0].value = 1.0
    ((x, y),) = lines[-1].values()
    assert np.array_equal(x, np.arange(1, 91))
    assert np.array_equal(y, widget.image())
    widget.still()
    assert len(lines[-1]) == 5


def test_other_kinds_of_numbers_move_with_their_sliders():
    for kind in (torch.float64, torch.bfloat16):
        model = VAE(**SIZES).to(kind)
        widget = sliders(model)
        widget.z[1].value = 1.5
        wanted = model.decode_mean(torch.tensor([[0, 1.5]], dtype=kind))
        assert np.allclose(widget.image(), wanted[0, 0].detach().float())
        assert widget.still().startswith(b"\x89PNG")


def test_sliders_leave_the_model_as_it_is():
    """Also one with layers that learn when they only should be looked at."""
    decoder = torch.nn.Sequential(
        torch.nn.Linear(2, 784), torch.nn.BatchNorm1d(784), torch.nn.Dropout()
    )
    model = VAE(2, decoder=decoder).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    widget = sliders(model)
    widget.z[0].value = 1.0
    first = widget.image()
    assert np.array_equal(first, widget.image())
    assert model.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_what_a_decoder_reads_comes_to_the_cpu_from_any_device():
    """As it would be with a GPU: a device without values stands for it."""
    with FakeTensorMode():
        with torch.device("cuda"):
            model = CVAE(**SIZES)
        assert model.device.type == "cuda"
        reach = torch.ones(2)
        inputs = widget_module._inputs(model, -reach, reach)
        assert (inputs.device.type, inputs.shape[1]) == ("cpu", 12)
        z = torch.zeros(3, 2)
        shown = latent.pictures(model, z, torch.zeros(3, dtype=torch.int64))
        assert (shown.device.type, shown.shape) == ("cpu", (3, 28, 28))


def test_many_dimensions_get_as_many_sliders_as_fit():
    widget = sliders(VAE(n_latent=40, hidden=(8,)))
    assert len(widget.z) == 12
    widget.z[11].value = 2.0
    assert widget.image().shape == (28, 28)


def test_what_is_stored_has_a_still_and_no_address():
    widget = sliders(VAE(**SIZES))
    assert repr(widget) == "Sliders(VAE, 2 for z)"
    bundle = widget._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert data["text/plain"] == repr(widget)
    assert Image.open(io.BytesIO(data["image/png"])).format == "PNG"


# --- the decoder that travels ------------------------------------------------


def unpacked(panel):
    """The layers (weight, bias) of a panel, read as the format says."""
    data = zlib.decompress(panel["weights"])
    layers = []
    for n_in, n_out, kind in panel["layers"]:
        sizes = (("<f2", n_out), ("<f4", n_out))
        sizes += ((f"<{kind}", n_in * n_out),)
        parts = []
        for kind, n in sizes:
            n_bytes = n * np.dtype(kind).itemsize
            part = data[:n_bytes]
            if kind == "<i2":  # all lower bytes, then all upper ones
                part = np.frombuffer(part, "u1").reshape(2, n).T.tobytes()
            parts.append(np.frombuffer(part, kind).astype(float))
            data = data[n_bytes:]
        scale, bias, weight = parts
        layers.append((scale[:, None] * weight.reshape(n_out, n_in), bias))
    assert data == b""
    return layers


def drawn_from(panel, z, digit=None):
    """Pictures (N, 28, 28) by the packed weights, in numpy."""
    h = np.asarray(z, dtype=float)
    if panel["n_classes"]:
        one_hot = np.eye(panel["n_classes"])[digit]
        h = np.concatenate([h, np.broadcast_to(one_hot, (len(h), 10))], 1)
    layers = unpacked(panel)
    for i, (weight, bias) in enumerate(layers):
        h = h @ weight.T + bias
        h = np.maximum(h, 0) if i < len(layers) - 1 else h
    h = h.reshape(-1, 28, 28)
    if panel["squash"] == "sigmoid":
        return 1 / (1 + np.exp(-h))
    return h.clip(0, 1)


def somewhere(panel, n=3000, seed=7):
    """Codes all over what the sliders reach; with many dimensions, normal."""
    random = np.random.default_rng(seed)
    low, high = np.array(panel["low"]), np.array(panel["high"])
    z = low + (high - low) * random.random((n, len(low)))
    if len(low) > 2:
        z = random.normal(size=z.shape)
    return z.astype("f4")


@pytest.mark.parametrize(
    "name", ["Autoencoder 2", "VAE 2", "CVAE 2", "CVAE 8"]
)
def test_the_packed_decoder_draws_what_the_model_draws(trained, digits, name):
    model = trained[name]
    (panel,) = explorer(model, digits[:300]).panels
    z = somewhere(panel)
    for digit in (0, 3, 9) if model.n_classes else (None,):
        y = None if digit is None else torch.full((len(z),), digit)
        wanted = exact(model, torch.from_numpy(z), y)
        error = np.abs(drawn_from(panel, z, digit) - wanted)
        assert error.max() < 0.01
    assert wanted.std(0).max() > 0.05  # there was something to get wrong


def test_making_up_for_rounding_is_worth_its_lines(trained, digits):
    model = trained["VAE 2"]
    (panel,) = explorer(model, digits[:300]).panels
    z = somewhere(panel)
    h = torch.from_numpy(z)
    wanted = exact(model, h)
    with torch.no_grad():
        for i, layer in enumerate(model.decoder):
            if i and isinstance(layer, torch.nn.Linear):
                step = layer.weight.abs().amax(1, keepdim=True) / 63
                rounded = (layer.weight / step).round() * step
                h = h @ rounded.T + layer.bias
            else:
                h = layer(h)
        plain = h.sigmoid().view(-1, 28, 28).numpy()
    plain = np.abs(plain - wanted).max()
    ours = np.abs(drawn_from(panel, z) - wanted).max()
    assert ours < plain / 2


@pytest.mark.parametrize("seed", range(3))
def test_columns_of_unlike_size_are_rounded_as_well(seed):
    model = VAE(2, (64, 32), seed=seed)
    with torch.no_grad():
        for layer in model.decoder[2::2]:
            sizes = torch.logspace(-1.5, 0.5, layer.weight.shape[1])
            layer.weight *= sizes
            layer.bias += 0.3 * torch.linspace(-1, 1, len(layer.bias))
    z = quantile_grid(30)
    layers = packing.packed_layers(model, z, 127)
    h = z.double()
    for i, layer in enumerate(layers):
        h = layer(h.relu() if i else h)
    with torch.no_grad():
        wanted = model.decoder(z).double()
    assert (h.sigmoid() - wanted.sigmoid()).abs().max() < 0.001


def test_a_decoder_of_the_default_size_travels_in_250_kilobytes(small):
    for kind, n_latent in ((Autoencoder, 2), (VAE, 2), (CVAE, 20)):
        (panel,) = explorer(kind(n_latent=n_latent), small).panels
        assert 100_000 < len(panel["weights"]) <= 250_000


def test_a_decoder_that_is_too_large_is_refused(small):
    with refused("model:", ValueError) as caught:
        explorer(VAE(n_latent=2, hidden=(600, 400)), small)
    assert "(600, 400)" in str(caught.value)
    assert "sliders(model)" in str(caught.value)


def test_a_decoder_that_8_bits_cannot_hold_is_refused(small):
    model = VAE(n_latent=2, hidden=(64, 32))
    with torch.no_grad():  # a cliff: pixels jump between codes that are near
        for layer in model.decoder:
            if isinstance(layer, torch.nn.Linear):
                layer.weight *= 40
    with refused("model:", ValueError) as caught:
        explorer(model, small)
    assert "sliders(model)" in str(caught.value)


@pytest.mark.parametrize("hidden", [(), (16,), (16, 12, 8)])
def test_any_number_of_layers_can_be_packed(small, hidden):
    model = VAE(n_latent=2, hidden=hidden)
    (panel,) = explorer(model, small).panels
    z = somewhere(panel)
    wanted = exact(model, torch.from_numpy(z))
    assert np.abs(drawn_from(panel, z) - wanted).max() < 0.01


def test_a_layer_begins_with_its_scales(small):
    (panel,) = explorer(VAE(n_latent=2, hidden=()), small).panels
    ones = np.ones(784, "<f2").tobytes()  # a single layer is not scaled
    assert zlib.decompress(panel["weights"])[: len(ones)] == ones


# --- the explorer ------------------------------------------------------------


def test_the_map_holds_the_codes_of_the_digits(trained, digits):
    model, some = trained["VAE 2"], digits[:300]
    widget = explorer(model, some)
    (panel,) = widget.panels
    on_map = np.frombuffer(panel["map"], "<f4").reshape(-1, 2)
    assert np.allclose(on_map, codes(model, some).numpy())
    labels = np.frombuffer(widget.digits["map"], "u1")
    assert (labels == some.labels.numpy()).all()
    inside = (on_map > panel["low"]) & (on_map < panel["high"])
    assert inside.mean() > 0.99


def test_a_picked_digit_sets_code_and_label(trained, digits):
    models = [trained["VAE 2"], trained["CVAE 2"]]
    widget = explorer(models, digits[:300])
    images = np.frombuffer(zlib.decompress(widget.digits["images"]), "u1")
    images = torch.from_numpy(images.reshape(-1, 28, 28).copy())
    place = widget.digits["picks"].index(5)
    found = (digits.images[:300] == images[place]).all(2).all(1).nonzero()
    there = digits[found[0]]
    assert there.labels.item() == 5
    widget.picked = place
    assert widget.digit == 5
    for model, z in zip(models, widget.z):
        assert np.allclose(z, codes(model, digits[:300])[found[0]][0])
    sigma = np.frombuffer(widget.panels[1]["sigma"], "<f4").reshape(-1, 2)
    _, logvar = posteriors(models[1], digits[:300])
    expected = (logvar[found[0, 0]] / 2).exp()
    assert np.allclose(sigma[place], expected, rtol=1e-5)
    before = widget.z
    widget.picked = -1
    assert widget.z == before


def test_python_sees_and_sets_the_code(trained, digits, judge):
    widget = explorer(trained["CVAE 2"], digits[:300], judge)
    seen = []
    widget.observe(lambda change: seen.append(change["new"]), "z")
    widget.z = [0.5, -1]
    assert widget.z == [0.5, -1.0]
    assert seen == [[0.5, -1.0]]
    widget.digit = 5
    z = torch.tensor([[0.5, -1.0]])
    drawn = exact(trained["CVAE 2"], z, torch.tensor([5]))
    assert np.allclose(widget.images(), drawn)
    sure, read = judge.read(torch.from_numpy(drawn)).max(1)
    assert widget.reading == [[read.item(), pytest.approx(sure.item())]]


def test_one_code_sets_several_models_and_each_can_have_its_own(
    trained, digits
):
    widget = explorer(trained, digits[:300])
    assert [p["title"] for p in widget.panels] == list(trained)
    widget = explorer([trained["VAE 2"], trained["CVAE 2"]], digits[:300])
    widget.z = [1.0, 2.0]
    assert widget.z == [[1.0, 2.0], [1.0, 2.0]]
    widget.z = [[1.0, 2.0], [0.0, -1.0]]
    first, second = widget.images()
    z = torch.tensor([[0.0, -1.0]])
    other = exact(trained["CVAE 2"], z, torch.tensor([0]))
    assert np.allclose(second, other[0])
    assert np.abs(first - second).max() > 0.1


@pytest.mark.parametrize(
    "value",
    [[1.0], [1.0, 2.0, 3.0], [[1.0, 2.0]] * 2, [1.0, float("nan")], ["1", 2]],
)
def test_a_code_of_another_shape_is_refused(trained, digits, value):
    widget = explorer(trained["VAE 2"], digits[:300])
    with pytest.raises(TraitError, match=r"z: expected 2 finite numbers"):
        widget.z = value
    assert widget.z == [0.0, 0.0]


def test_a_digit_or_pick_that_does_not_exist_is_refused(trained, digits):
    widget = explorer(trained["CVAE 2"], digits[:300])
    for name, value in (("digit", 10), ("digit", -1), ("picked", 20)):
        with pytest.raises(TraitError, match=f"{name}: expected"):
            setattr(widget, name, value)


def test_what_the_judge_reads_is_stored_place_by_place(trained, digits, judge):
    model = trained["CVAE 2"]
    (panel,) = explorer(model, digits[:300], judge).panels
    grid = np.frombuffer(zlib.decompress(panel["grid"]), "u1").reshape(
        10, 61, 61, 2
    )
    low, high = panel["low"], panel["high"]
    for digit, row, column in ((0, 0, 60), (3, 20, 20), (7, 33, 5)):
        z = [
            low[0] + column / 60 * (high[0] - low[0]),
            low[1] + row / 60 * (high[1] - low[1]),
        ]
        drawn = exact(model, torch.tensor([z]), torch.tensor([digit]))
        sure, read = judge.read(torch.from_numpy(drawn)).max(1)
        assert grid[digit, row, column, 0] == read.item()
        stored = grid[digit, row, column, 1] / 255
        assert stored == pytest.approx(sure.item(), abs=0.003)


def test_many_dimensions_come_in_the_order_of_their_kl(trained, digits):
    model = trained["CVAE 8"]
    (panel,) = explorer(model, digits[:300]).panels
    nats = kl_per_dimension(model, digits[:300])
    assert np.allclose(panel["nats"], nats)
    assert panel["order"] == nats.argsort(descending=True).tolist()
    assert panel["order"] != list(range(8))
    assert not panel["map"]


def test_an_autoencoder_has_no_prior_and_starts_among_its_codes(
    trained, digits
):
    widget = explorer([trained["Autoencoder 2"], trained["VAE 2"]], digits)
    ae, vae = widget.panels
    assert (ae["prior"], vae["prior"]) == (False, True)
    z = codes(trained["Autoencoder 2"], digits[:1000])
    assert np.allclose(widget.z[0], z.median(0).values)
    assert widget.z[1] == [0.0, 0.0]
    assert (torch.tensor(ae["low"]) < z.amin(0)).all()
    assert (torch.tensor(ae["high"]) > z.amax(0)).all()


def test_equal_kinds_get_numbers_and_a_dict_gives_titles(small):
    models = [VAE(**SIZES), VAE(**SIZES, seed=1), CVAE(**SIZES)]
    for model in models:  # sharp pictures of nothing do not bear rounding
        with torch.no_grad():
            model.decoder[-1].weight *= 0.3
    names = [p["title"] for p in explorer(models, small).panels]
    assert names == ["VAE", "VAE 2", "CVAE"]
    (panel,) = explorer({"mine": models[0]}, small).panels
    assert panel["title"] == "mine"


class Named(torch.nn.Module):
    """A likelihood of one's own: values around zero, in any way."""

    n_params = 1

    def __init__(self, name=None):
        super().__init__()
        if name is not None:
            self.name = name

    def log_prob(self, x, params):
        return -(x - params).abs().flatten(1).sum(1)

    def mean(self, params):
        return params


OWN = torch.nn.Sequential(torch.nn.Linear(2, 784), torch.nn.Tanh())


@pytest.mark.parametrize(
    ("models", "error", "said"),
    [
        ([], TypeError, "a list or a dict"),
        ("VAE", TypeError, "a list or a dict"),
        ([torch.nn.Linear(2, 2)], TypeError, "Linear"),
        (CVAE(**SIZES, conditions=(10, 1)), ValueError, "(10, 1)"),
        (CVAE(**SIZES, n_classes=3), ValueError, "model of 3"),
        (VAE(**SIZES, shape=(196,)), ValueError, "(196,)"),
        (VAE(**SIZES, shape=(784,)), ValueError, "(784,)"),
        (VAE(**SIZES, shape=(3, 28, 28)), ValueError, "(3, 28, 28)"),
        (VAE(2, network="conv"), ValueError, "ConvDecoder"),
        (VAE(2, decoder=OWN), ValueError, "Sequential"),
        (VAE(**SIZES, likelihood="categorical"), ValueError, "categorical"),
        (
            VAE(**SIZES, likelihood="continuous_bernoulli"),
            ValueError,
            "continuous_bernoulli",
        ),
        (
            VAE(**SIZES, likelihood="discretized_logistic"),
            ValueError,
            "discretized_logistic",
        ),
        (VAE(**SIZES, likelihood=Named("laplace")), ValueError, "laplace"),
        (VAE(**SIZES, likelihood=Named()), ValueError, "Named"),
        (VAE(**SIZES).double(), ValueError, "float64"),
        (VAE(**SIZES, prior="mixture"), ValueError, "Mixture"),
        (CVAE(**SIZES, prior="conditional"), ValueError, "Conditional"),
        (PixelCVAE(**SIZES), ValueError, "Conditional"),
        (M2(**SIZES), ValueError, "(10,)"),
    ],
)
def test_what_cannot_be_explored_is_refused(small, models, error, said):
    with refused("models:", error) as caught:
        explorer(models, small)
    assert said in str(caught.value)
    with refused("models:", error):  # wherever it stands
        explorer([VAE(**SIZES), *[models]], small)


def test_digits_and_judges_that_do_not_fit_are_refused(small):
    images = torch.zeros(2, 32, 32, dtype=torch.uint8)
    for digits in (
        None,
        Table(small.x().flatten(1)),
        Images(images, torch.tensor([1, 2])),
        Images(small.images),
        replace(small, labels=small.labels + 1),
    ):
        with refused("digits:"):
            explorer(VAE(**SIZES), digits)
    for judge in ("me", Classifier(shape=(1, 32, 32)), Classifier(0, 26)):
        with refused("judge:"):
            explorer(VAE(**SIZES), small, judge=judge)


def test_conditions_of_the_digits_do_not_hide_their_labels(small):
    told = replace(small, conditions=torch.zeros(len(small), 1))
    model = CVAE(**SIZES)
    assert explorer(model, told).panels == explorer(model, small).panels


def test_a_gaussian_decoder_travels_with_any_sigma(small):
    for sigma in (0.3, None, "each"):
        model = VAE(**SIZES, likelihood="gaussian", sigma=sigma)
        (panel,) = explorer(model, small).panels
        assert panel["squash"] == "clamp"
        z = somewhere(panel, n=100)
        wanted = exact(model, torch.from_numpy(z))
        assert np.abs(drawn_from(panel, z) - wanted).max() < 0.02


def test_the_explorer_leaves_a_still_and_no_address(trained, digits):
    widget = explorer(trained, digits[:300])
    bundle = widget._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert repr(widget) == f"Explorer({', '.join(trained)})"
    assert data["text/plain"] == repr(widget)
    assert "application/vnd.jupyter.widget-view+json" in data
    still = np.asarray(Image.open(io.BytesIO(data["image/png"])).convert("L"))
    assert still.shape[1] > 500
    assert still.std() > 20


def test_the_still_says_which_plane_it_shows(trained, digits):
    widget = explorer(trained, digits[:300])
    for axes, panel, model in zip(
        widget._figure().axes, widget.panels, trained.values(), strict=True
    ):
        across, *up = panel["order"][:2]
        assert axes.get_xlabel().startswith(f"$z_{{{across + 1}}}$ from")
        names = [f"$z_{{{i + 1}}}$ from" for i in up]
        assert [axes.get_ylabel()[: len(n)] for n in names] == names
        assert bool(axes.get_ylabel()) == bool(up)
        assert axes.get_title().endswith("as a 5") == bool(model.n_classes)


def test_a_kernel_answers_the_page(trained, digits, monkeypatch):
    widget = explorer(trained["VAE 2"], digits[:300])
    sent = []
    monkeypatch.setattr(widget, "send", sent.append)
    widget._handle_custom_msg("hello", [])
    widget._handle_custom_msg("something else", [])
    assert sent == ["hello"]


# --- encoders that travel with a page ----------------------------------------


def encoded_from(panel, x):
    """What the packed encoder says of rows (N, 784 + C), in numpy."""
    packed = panel | {
        "weights": panel["encoder"],
        "layers": panel["encoder_layers"],
    }
    layers = unpacked(packed)
    h = x.numpy().astype(float)
    for i, (weight, bias) in enumerate(layers):
        h = h @ weight.T + bias
        h = np.maximum(h, 0) if i < len(layers) - 1 else h
    return h


@pytest.mark.parametrize(
    "name", ["Autoencoder 2", "VAE 2", "CVAE 2", "CVAE 8"]
)
def test_the_packed_encoder_says_what_the_model_says(trained, digits, name):
    model = trained[name]
    (panel,) = explorer(model, digits[:300], drawing=True).panels
    # digits that the rounding has not seen, and strokes that are none
    pixels = torch.cat([digits[300:].x().flatten(1), torch.eye(784)[::9]])
    y = torch.arange(len(pixels)) % 10
    with torch.no_grad():
        told = model.condition_vector(y, len(pixels))
        x = pixels if told is None else torch.cat([pixels, told], 1)
        wanted = model.encoder(x)
    error = np.abs(encoded_from(panel, x) - wanted.numpy())
    assert error.max() < 0.01
    assert wanted.std(0).min() > 0.05  # there was something to get wrong
    binary = panel["binary"]
    assert binary == isinstance(model, VAE)  # the others see greys


def test_an_encoder_travels_only_where_one_can_draw(small):
    (panel,) = explorer(VAE(2, (8,)), small).panels
    assert "encoder" not in panel
    (panel,) = explorer(VAE(2, (8,)), small, drawing=True).panels
    assert panel["encoder_layers"] == [[784, 8, "i2"], [8, 4, "f2"]]


def test_an_encoder_that_12_bits_cannot_hold_is_refused(small):
    model = VAE(n_latent=2, hidden=(8,))
    with torch.no_grad():
        model.encoder[-1].weight[2:] *= 1e6
        model.encoder[-1].weight[3:] += 1e6
        model.encoder[0].weight[:, :2] *= 1e6
    with refused("model:", ValueError) as caught:
        explorer(model, small, drawing=True)
    assert "encoder bears rounding" in str(caught.value)


def test_other_encoders_are_refused_where_one_can_draw(small):
    encoder = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 4))
    model = VAE(2, (8,), encoder=encoder)
    assert explorer(model, small)
    with refused("models:", ValueError) as caught:
        explorer(model, small, drawing=True)
    assert "encoder of linear layers" in str(caught.value)


def test_python_sees_and_sets_the_drawing(trained, digits):
    widget = explorer(trained["VAE 2"], digits[:300], drawing=True)
    assert widget.drawing() is None
    widget.drawn = bytes(range(256)) * 3 + bytes(16)
    assert widget.drawing().shape == (28, 28)
    assert widget.drawing()[0, 5] == pytest.approx(5 / 255)
    with pytest.raises(TraitError, match="drawn: expected 784 bytes"):
        widget.drawn = bytes(783)
    with pytest.raises(TraitError, match="drawn: expected 784 bytes"):
        widget.drawn = [0] * 784
    assert len(widget.drawn) == 784
