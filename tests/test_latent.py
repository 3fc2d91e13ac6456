"""Codes become pictures: of the right shape, place and label."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import close, refused, untouched_rng
from torch.distributions import MultivariateNormal, Normal

from minivae import (
    CVAE,
    VAE,
    Autoencoder,
    Images,
    Table,
    TrainConfig,
    codes,
    evaluate,
    figures,
    fit,
    latent_grid,
    log_likelihood,
    pictures,
    quantile_grid,
    reconstruct,
    same_style,
    sample,
)
from minivae.explorer import sliders
from minivae.latent import fit_codes, transfer

NAN = float("nan")
SIZES = {"n_latent": 2, "hidden": (16,)}
KINDS = (Autoencoder, VAE, CVAE)


@pytest.fixture
def cvae():
    return CVAE(**SIZES)


@pytest.mark.parametrize("kind", KINDS)
def test_a_code_becomes_a_picture(kind):
    model, z = kind(**SIZES, shape=(1, 4, 9)), torch.randn(5, 2)
    y = torch.arange(5) if kind is CVAE else None
    images = pictures(model, z, y)
    assert images.shape == (5, 4, 9)
    assert not images.requires_grad
    mean = model.decode_mean(z, y).detach()
    close(images[:, None], mean.clamp(0, 1), 1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_a_reconstruction_is_the_picture_of_the_code(kind, small):
    model = kind(**SIZES)
    y = small.labels if kind is CVAE else None
    expected = pictures(model, codes(model, small), y)
    for size in (64, 1000):
        torch.testing.assert_close(reconstruct(model, small, size), expected)


@pytest.mark.parametrize("kind", [VAE, CVAE])
def test_samples_are_a_function_of_the_seed(kind):
    model = kind(**SIZES)
    y = None if kind is VAE else 5
    with untouched_rng():
        images = sample(model, 7, y, seed=3)
        assert torch.equal(images, sample(model, 7, y, seed=3))
    assert not torch.equal(images, sample(model, 7, y, seed=4))
    assert images.shape == (7, 28, 28)
    assert ((images >= 0) & (images <= 1)).all()
    assert len(images.flatten(1).unique(dim=0)) == 7


def test_samples_come_from_the_prior():
    model, seen = VAE(n_latent=3, hidden=(), shape=(4,)), []
    model.decoder.register_forward_pre_hook(lambda _, z: seen.append(z[0]))
    sample(model, 10_000)
    (z,) = seen
    assert z.shape == (10_000, 3)
    assert (z.mean(0).abs() < 3 / 100).all()
    assert ((z.var(0) - 1).abs() < 3 * (2 / 10_000) ** 0.5).all()


def test_a_digit_is_drawn_as_asked(cvae):
    one = sample(cvae, 4, 5)
    assert torch.equal(one, sample(cvae, 4, torch.full((4,), 5)))
    assert not torch.equal(one, sample(cvae, 4, 6))
    mixed = sample(cvae, 4, torch.tensor([5, 6, 5, 6]))
    torch.testing.assert_close(mixed[::2], one[::2])


@pytest.mark.parametrize(
    "y",
    [
        *(None, -1, 10, 2.5, True, "5", [5, 5], (5, 5), torch.tensor([5])),
        *(np.float64(5), np.int64(10), torch.tensor(5.0), np.bool_(True)),
    ],
    ids=lambda y: f"{y!r:.12}",
)
def test_bad_labels_are_refused(y, cvae):
    with refused("y:"):
        sample(cvae, 2, y)
    if not isinstance(y, int) or isinstance(y, bool):
        with refused("y:"):
            pictures(cvae, torch.zeros(2, 2), y)


def test_a_vae_cannot_be_asked_for_a_digit():
    for y in (5, torch.tensor([5, 5])):
        with refused("y:"):
            sample(VAE(**SIZES), 2, y)


@pytest.mark.parametrize("value", [0, -1, 2.5, None, "1"])
def test_bad_numbers_are_refused(value, cvae):
    with refused("n:"):
        sample(cvae, value, 5)
    with refused("n:"):
        quantile_grid(value)
    with refused("n:"):
        latent_grid(cvae, value, 5)
    if value != 0:
        with refused("seed:"):
            sample(cvae, 2, 5, value)


@pytest.mark.parametrize("z", [None, [[0.0, 0.0]], torch.zeros(2)])
def test_bad_codes_are_refused(z):
    with refused("z:"):
        pictures(VAE(**SIZES), z)


def test_models_that_cannot_are_refused(cvae):
    with refused("model:", TypeError):
        sample(Autoencoder(**SIZES), 2)
    with refused("model:", ValueError):
        latent_grid(VAE(n_latent=3))
    for kind in (Autoencoder, VAE):
        with refused("model:"):
            same_style(kind(**SIZES), 2)


@pytest.mark.parametrize("n", [1, 2, 5, 20])
def test_the_grid_slices_the_prior_evenly(n):
    grid = quantile_grid(n)
    assert grid.shape == (n * n, 2)
    assert grid.isfinite().all()
    middles = (torch.arange(n) + 0.5) / n
    steps = Normal(0.0, 1.0).icdf(middles)
    rows = grid.view(n, n, 2)
    for i in range(n):
        # z1 grows to the right, z2 upwards
        torch.testing.assert_close(rows[i, :, 0], steps)
        torch.testing.assert_close(rows[:, i, 1], steps.flip(0))
    torch.testing.assert_close(Normal(0.0, 1.0).cdf(rows[0, :, 0]), middles)
    torch.testing.assert_close(grid, -grid.flip(0))


@pytest.mark.parametrize("kind", KINDS)
def test_the_map_shows_the_codes_of_the_grid(kind):
    model = kind(**SIZES)
    y = 3 if kind is CVAE else None
    images = latent_grid(model, 4, y)
    assert images.shape == (16, 28, 28)
    labels = torch.full((16,), 3) if kind is CVAE else None
    assert torch.equal(images, pictures(model, quantile_grid(4), labels))


def test_one_column_has_one_style(cvae):
    seen = []
    cvae.decoder[0].register_forward_pre_hook(lambda _, z: seen.append(z[0]))
    images = same_style(cvae, 3, seed=2)
    assert images.shape == (10, 3, 28, 28)
    joined = torch.cat(seen).view(10, 3, 12)  # z and the label as one-hot
    assert (joined[..., :2] == joined[0, :, :2]).all()
    assert len(joined[0, :, :2].unique(dim=0)) == 3
    for y in range(10):
        assert joined[y, :, 2:].argmax(-1).tolist() == [y] * 3
        assert torch.equal(images[y], sample(cvae, 3, y, 2))


# --- several conditions


@pytest.fixture
def told():
    return CVAE(**SIZES, conditions=(10, 1))


@pytest.mark.parametrize(
    "y, row",
    [
        ((5, None), [5, NAN]),
        ((5, 0), [5, 0]),
        ((None, -0.7), [NAN, -0.7]),
        ([3, 2.5], [3, 2.5]),
        ((None, None), [NAN, NAN]),
        (None, [NAN, NAN]),
    ],
)
def test_a_tuple_asks_for_some_conditions_and_none_withholds(y, row, told):
    seen = []
    told.decoder[0].register_forward_pre_hook(lambda _, v: seen.append(v[0]))
    images = sample(told, 4, y, seed=3)
    assert images.shape == (4, 28, 28)
    rows = torch.tensor(row).float().expand(4, 2)
    assert torch.equal(images, sample(told, 4, rows, seed=3))
    for joined in seen:  # codes, then what is told
        assert torch.equal(joined[:, 2:], told.condition_vector(rows, 4))
    # the codes are those of a plain model
    z = []
    plain = CVAE(**SIZES)
    plain.decoder[0].register_forward_pre_hook(lambda _, v: z.append(v[0]))
    sample(plain, 4, 5, seed=3)
    assert torch.equal(seen[0][:, :2], z[0][:, :2])


def test_each_combination_is_another_picture(told):
    asked = [(5, 1.0), (5, None), (None, 1.0), (5, 0.0), (0, None), None]
    images = torch.stack([sample(told, 2, y) for y in asked])
    assert len(images.flatten(1).unique(dim=0)) == len(asked)


@pytest.mark.parametrize(
    "y",
    [
        *(5, 5.0, "5", (5,), (5, 1, 1), (), (10, None), (2.5, None), (-1, 0)),
        *(("5", None), (5, "a"), ([5, 6], None), (5, torch.zeros(2))),
        *((5, float("inf")), torch.zeros(3, 2), torch.zeros(2, 2).long()),
        *((5, 10**400), (5, -(10**400))),  # no float can hold them
    ],
    ids=lambda y: str(y)[:40],
)
def test_conditions_that_are_not_understood_are_refused(y, told):
    with refused("y:") as caught:
        sample(told, 2, y)
    assert ";" in str(caught.value)  # says what to do


def test_what_needs_one_label_refuses_several_conditions(told, small):
    with refused("model:", TypeError):
        same_style(told, 2)
    for kind in KINDS[:2]:
        with refused("model:", TypeError):
            transfer(kind(**SIZES), small)
    with refused("model:", TypeError):
        transfer(told, small)
    assert latent_grid(told, 3).shape == (9, 28, 28)  # all withheld
    assert not torch.equal(latent_grid(told, 3), latent_grid(told, 3, (5, 1)))
    with refused("y:"):  # no conditions of its own
        sample(VAE(**SIZES), 2, (5, None))


def test_conditions_reach_a_reconstruction(told, small):
    y = torch.stack([small.labels.float(), torch.linspace(-1, 1, 200)], 1)
    y[::4, 1] = NAN
    digits = replace(small, conditions=y)
    images = reconstruct(told, digits, 64)
    assert torch.equal(images, pictures(told, codes(told, digits, 64), y))
    hidden = replace(small, conditions=torch.full_like(y, NAN))
    assert not torch.equal(images, reconstruct(told, hidden, 64))


SHAPES = {
    "wide": (1, 32, 8),
    "tall": (1, 28, 20),
    "colour": (3, 24, 40),
    "7 columns": (7,),
    "9 columns": (9,),  # no square
    "sequences": (6, 4),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_what_is_drawn_has_the_shape_of_the_data(kind, shape):
    options = {"shape": shape}
    if kind is not Autoencoder and len(shape) < 3:
        options["likelihood"] = "gaussian"
    model = kind(**SIZES, **options)
    with torch.no_grad():  # far beyond 0 and 1
        model.decoder[-1].weight *= 100
    noise = torch.Generator().manual_seed(0)
    y = torch.arange(7) if kind is CVAE else None
    if len(shape) == 3:
        images = torch.randint(256, (7, *shape), generator=noise).byte()
        data = Images(images, y)
    else:
        data = Table(torch.randn(7, *shape, generator=noise), y)
    seen = shape[1:] if shape[0] == 1 and len(shape) == 3 else shape
    z = codes(model, data)
    found = [pictures(model, z, y), reconstruct(model, data)]
    torch.testing.assert_close(*found)
    found.append(latent_grid(model, 3, None if y is None else 5))
    assert found[2].shape == (9, *seen)
    if kind is not Autoencoder:
        label = None if y is None else 5
        found.append(sample(model, 9, label))
        told = None if label is None else torch.full((9,), label)
        assert model.sample(9, told).shape == (9, *shape)
        assert found[3].shape == (9, *seen)
    if kind is CVAE:
        for images in (same_style(model, 7), transfer(model, data)):
            assert images.shape == (10, 7, *seen)
            found.append(images)
    assert found[0].shape == (7, *seen)
    for images in found:
        assert images.device.type == "cpu"
        if len(shape) == 3:
            assert 0 <= images.min() < images.max() <= 1
        else:  # numbers are not pixels
            assert images.min() < -1
            assert images.max() > 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("network", ["mlp", "conv"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_data_of_any_shape_pass_through_everything(kind, network, shape):
    if network == "conv" and len(shape) != 3:
        with refused("shape:"):
            kind(2, shape=shape, network=network)
        return
    hidden = (4, 4, 8) if network == "conv" else (8,)
    options = {"shape": shape, "network": network, "hidden": hidden}
    noise, y = torch.Generator().manual_seed(0), torch.arange(40) % 3
    if len(shape) == 3:
        images = torch.randint(256, (40, *shape), generator=noise).byte()
        data = Images(images, y)
    else:  # standardised
        values = 5 + 3 * torch.randn(40, *shape, generator=noise)
        data = Table((values - values.mean(0)) / values.std(0), y)
        if kind is not Autoencoder:
            options["likelihood"] = "gaussian"
    if kind is CVAE:
        options["n_classes"] = 3
    model = kind(2, **options)
    before = evaluate(model, data)["reconstruction"]
    config = TrainConfig(epochs=5, batch_size=20, warmup=2, device="cpu")
    fit(model, data, config, progress=False)
    scores = evaluate(model, data)
    assert scores["reconstruction"] < before
    seen = shape[1:] if shape[0] == 1 and len(shape) == 3 else shape
    drawn = {"x": data.x(), "x'": reconstruct(model, data)}
    assert drawn["x'"].shape == (40, *seen)
    if kind is not Autoencoder:
        drawn["new"] = sample(model, 40, 1 if kind is CVAE else None)
        assert drawn["new"].shape == (40, *seen)
        assert log_likelihood(model, data, 20) > scores["elbo"] - 1
    if len(shape) == 1:
        with refused("images:", ValueError):
            figures.comparison(drawn)
    if len(shape) != 3:
        return
    _, height, width = shape
    for figure, n_rows, n_columns in (
        (figures.comparison(drawn), len(drawn), 40),
        (figures.image_grid(drawn["x'"], 8), 5, 8),
        (figures.image_grid(data.x(), 8), 5, 8),
    ):
        sheet = figure.axes[0].images[0].get_array()
        colours = () if shape[0] == 1 else (3,)
        size = (n_rows * (height + 2) - 2, n_columns * (width + 2) - 2)
        assert sheet.shape == (*size, *colours)
    found = figure.axes[0].images[0].get_array()[:height, :width]
    first = data.x()[0].movedim(0, -1).squeeze(-1)
    assert np.allclose(found, first)


def test_numbers_of_numpy_ask_for_the_same(cvae):
    expected = sample(cvae, 3, 5, 2)
    for y in (np.int64(5), torch.tensor(5), np.uint8(5), np.array(5)):
        found = sample(cvae, np.int32(3), y, np.int64(2))
        assert torch.equal(found, expected)
        assert torch.equal(latent_grid(cvae, 2, y), latent_grid(cvae, 2, 5))
    told = CVAE(**SIZES, conditions=(10, 1))
    a = sample(told, 3, (np.int64(5), np.float32(0.5)))
    assert torch.equal(a, sample(told, 3, (5, 0.5)))
    assert torch.equal(quantile_grid(np.int64(3)), quantile_grid(3))
    assert same_style(cvae, np.int64(2), np.int64(1)).shape == (10, 2, 28, 28)


@pytest.mark.parametrize("kind", [VAE, CVAE])
def test_pictures_are_of_a_model_at_rest(kind):
    model = kind(2)
    width = 12 if kind is CVAE else 2

    class Decoder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.dense = torch.nn.Linear(width, 784)
            self.drop = torch.nn.Dropout(0.5)

        def forward(self, z, condition=None):
            z = z if condition is None else torch.cat([z, condition], 1)
            return self.drop(self.dense(z))

    model.decoder = Decoder()
    y = 5 if kind is CVAE else None
    assert model.training
    assert torch.equal(sample(model, 4, y), sample(model, 4, y))
    assert all(part.training for part in model.modules())


# --- transfer


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_a_style_is_read_with_its_label_and_drawn_with_the_others(
    likelihood, small
):
    model, digits = CVAE(**SIZES, likelihood=likelihood), small[:30]
    with untouched_rng():
        images = transfer(model, digits)
    assert images.shape == (10, 30, 28, 28)
    assert not images.requires_grad
    z = codes(model, digits)  # encoded with the true labels
    for y in range(10):
        expected = pictures(model, z, torch.full((30,), y))
        torch.testing.assert_close(images[y], expected)
    own = images[digits.labels, torch.arange(30)]
    torch.testing.assert_close(own, reconstruct(model, digits))
    assert len(images[:, 0].flatten(1).unique(dim=0)) == 10


def test_a_style_is_a_place_in_the_prior_of_its_label(small):
    model, digits = CVAE(**SIZES, prior="conditional"), small[:30]
    with torch.no_grad():
        for weight in model.prior.parameters():
            weight.normal_()
    mu, logvar = model.prior.moments(torch.eye(10))
    sigma, y = (0.5 * logvar).exp().detach(), digits.labels
    mu, z = mu.detach(), codes(model, digits)
    images = transfer(model, digits)
    place = (z - mu[y]) / sigma[y]
    for other in range(10):
        moved = mu[other] + sigma[other] * place
        expected = pictures(model, moved, torch.full((30,), other))
        torch.testing.assert_close(images[other], expected)
    own = images[y, torch.arange(30)]
    torch.testing.assert_close(own, reconstruct(model, digits))
    # the map and the sliders are in units of the prior too
    (middle,) = latent_grid(model, 1, 4)
    torch.testing.assert_close(
        middle, pictures(model, mu[4:5], torch.tensor([4]))[0]
    )
    widget = sliders(model)
    widget.digit.value, widget.z[1].value = "4", 1.5
    at = mu[4:5] + sigma[4:5] * torch.tensor([[0, 1.5]])
    expected = pictures(model, at, torch.tensor([4]))[0].numpy()
    assert abs(widget.image() - expected).max() < 1e-5
    # of several conditions, one of them withheld
    model = CVAE(**SIZES, prior="conditional", conditions=(10, 1))
    told = torch.tensor([[4.0, NAN]])
    with torch.no_grad():
        for weight in model.prior.parameters():
            weight.normal_()
        middle, _ = model.prior.moments(model.condition_vector(told, 1))
    torch.testing.assert_close(
        latent_grid(model, 1, (4, None)), pictures(model, middle, told)
    )


# --- a distribution for codes that have none


def clusters(n=4000):
    """Codes of two clusters with shares 1 to 3, tilted."""
    draw = torch.Generator().manual_seed(0)
    z = torch.randn(n, 2, generator=draw) @ torch.tensor(
        [[1.0, 0.8], [0, 0.5]]
    )
    z[: n // 4] += torch.tensor([20.0, -10.0])
    return z


def test_one_component_is_the_normal_distribution_of_the_codes():
    z = clusters()[1000:]
    fitted = fit_codes(z)
    exact = MultivariateNormal(z.mean(0), z.T.cov(correction=0))
    torch.testing.assert_close(
        fitted.log_prob(z), exact.log_prob(z), rtol=1e-3, atol=1e-3
    )
    diagonal = fit_codes(z, diagonal=True)
    apart = Normal(z.mean(0), z.std(0, correction=0)).log_prob(z).sum(1)
    torch.testing.assert_close(
        diagonal.log_prob(z), apart, rtol=1e-3, atol=1e-3
    )
    # the codes are tilted, so leaving out the covariance costs
    assert fitted.log_prob(z).mean() > diagonal.log_prob(z).mean() + 0.2


@pytest.mark.parametrize("diagonal", [False, True])
def test_two_components_find_two_clusters(diagonal):
    z = clusters()
    fitted = fit_codes(z, 2, diagonal)
    shares, order = fitted.mixture_distribution.probs.sort()
    close(shares, [0.25, 0.75], 1e-3)
    means = fitted.component_distribution.mean[order]
    expected = torch.stack([z[:1000].mean(0), z[1000:].mean(0)])
    torch.testing.assert_close(means, expected, rtol=0, atol=1e-2)
    # what it draws has the mean and the variance of the codes
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        drawn = fitted.sample((20_000,))
    assert drawn.shape == (20_000, 2)
    close(drawn.T.cov().diag(), z.T.cov().diag(), 0.05)
    assert fitted.log_prob(z).mean() > fit_codes(z).log_prob(z).mean() + 1


def test_a_thin_cluster_is_fitted_without_an_error():
    z = clusters()[1000:, :1] * torch.tensor([30.0, 90.0])  # on a line
    fitted = fit_codes(z)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        drawn = fitted.sample((1000,))
    assert (drawn @ torch.tensor([3.0, -1.0])).abs().max() < 0.03
    assert fitted.log_prob(z).isfinite().all()


def test_a_fit_is_a_function_of_codes_and_seed():
    z = clusters(400)
    with untouched_rng():
        a, b = (fit_codes(z, 3, seed=1).log_prob(z) for _ in range(2))
    assert torch.equal(a, b)
    for value in (0, -1, 2.5, None):
        with refused("n_components:"):
            fit_codes(z, value)


def test_another_seed_starts_the_fit_elsewhere():
    z = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    a, b = (fit_codes(z, 6, seed=seed) for seed in (0, 1))
    places = [f.component_distribution.mean[:, 0].sort()[0] for f in (a, b)]
    assert not torch.allclose(*places, atol=1e-3)
