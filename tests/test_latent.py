"""Codes become pictures: of the right shape, place and label."""

from dataclasses import replace

import pytest
import torch
from conftest import close, refused, untouched_rng
from torch.distributions import MultivariateNormal, Normal

from minivae import (
    CVAE,
    VAE,
    Autoencoder,
    codes,
    draw,
    latent_grid,
    quantile_grid,
    reconstruct,
    same_style,
    sample_digits,
)
from minivae.data import Table
from minivae.latent import fit_codes, transfer

NAN = float("nan")
SIZES = {"n_latent": 2, "hidden": (16,)}
KINDS = (Autoencoder, VAE, CVAE)


@pytest.fixture
def cvae():
    return CVAE(**SIZES)


@pytest.mark.parametrize("kind", KINDS)
def test_a_code_becomes_a_square_picture(kind):
    model, z = kind(**SIZES, n_pixels=36), torch.randn(5, 2)
    y = torch.arange(5) if kind is CVAE else None
    images = draw(model, z, y)
    assert images.shape == (5, 6, 6)
    assert not images.requires_grad
    close(images.flatten(1), model.draw(z, y).detach(), 1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_a_reconstruction_is_the_picture_of_the_code(kind, small):
    model = kind(**SIZES)
    y = small.labels if kind is CVAE else None
    expected = draw(model, codes(model, small), y)
    for size in (64, 1000):
        torch.testing.assert_close(reconstruct(model, small, size), expected)


@pytest.mark.parametrize("kind", [VAE, CVAE])
def test_samples_are_a_function_of_the_seed(kind):
    model = kind(**SIZES)
    y = None if kind is VAE else 5
    with untouched_rng():
        images = sample_digits(model, 7, y, seed=3)
        assert torch.equal(images, sample_digits(model, 7, y, seed=3))
    assert not torch.equal(images, sample_digits(model, 7, y, seed=4))
    assert images.shape == (7, 28, 28)
    assert ((images >= 0) & (images <= 1)).all()
    assert len(images.flatten(1).unique(dim=0)) == 7


def test_samples_come_from_the_prior():
    model, seen = VAE(n_latent=3, hidden=(), n_pixels=4), []
    model.decoder.register_forward_pre_hook(lambda _, z: seen.append(z[0]))
    sample_digits(model, 10_000)
    (z,) = seen
    assert z.shape == (10_000, 3)
    assert (z.mean(0).abs() < 3 / 100).all()
    assert ((z.var(0) - 1).abs() < 3 * (2 / 10_000) ** 0.5).all()


def test_a_digit_is_drawn_as_asked(cvae):
    one = sample_digits(cvae, 4, 5)
    assert torch.equal(one, sample_digits(cvae, 4, torch.full((4,), 5)))
    assert not torch.equal(one, sample_digits(cvae, 4, 6))
    mixed = sample_digits(cvae, 4, torch.tensor([5, 6, 5, 6]))
    torch.testing.assert_close(mixed[::2], one[::2])


@pytest.mark.parametrize(
    "y",
    [None, -1, 10, 2.5, True, "5", [5, 5], (5, 5), torch.tensor([5])],
    ids=lambda y: f"{y!r:.12}",
)
def test_bad_labels_are_refused(y, cvae):
    with refused("y:"):
        sample_digits(cvae, 2, y)
    if not isinstance(y, int) or isinstance(y, bool):
        with refused("y:"):
            draw(cvae, torch.zeros(2, 2), y)


def test_a_vae_cannot_be_asked_for_a_digit():
    for y in (5, torch.tensor([5, 5])):
        with refused("y:"):
            sample_digits(VAE(**SIZES), 2, y)


@pytest.mark.parametrize("value", [0, -1, 2.5, None, "1"])
def test_bad_numbers_are_refused(value, cvae):
    with refused("n:"):
        sample_digits(cvae, value, 5)
    with refused("n:"):
        quantile_grid(value)
    with refused("n:"):
        latent_grid(cvae, value, 5)
    if value != 0:
        with refused("seed:"):
            sample_digits(cvae, 2, 5, value)


@pytest.mark.parametrize("z", [None, [[0.0, 0.0]], torch.zeros(2)])
def test_bad_codes_are_refused(z):
    with refused("z:"):
        draw(VAE(**SIZES), z)


def test_models_that_cannot_are_refused(cvae):
    with refused("model:", TypeError):
        sample_digits(Autoencoder(**SIZES), 2)
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
    assert torch.equal(images, draw(model, quantile_grid(4), labels))


def test_one_column_has_one_style(cvae):
    seen = []
    cvae.decoder.register_forward_pre_hook(lambda _, z: seen.append(z[0]))
    images = same_style(cvae, 3, seed=2)
    assert images.shape == (10, 3, 28, 28)
    joined = torch.cat(seen).view(10, 3, 12)  # z and the label as one-hot
    assert (joined[..., :2] == joined[0, :, :2]).all()
    assert len(joined[0, :, :2].unique(dim=0)) == 3
    for y in range(10):
        assert joined[y, :, 2:].argmax(-1).tolist() == [y] * 3
        assert torch.equal(images[y], sample_digits(cvae, 3, y, 2))


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
    told.decoder.register_forward_pre_hook(lambda _, v: seen.append(v[0]))
    images = sample_digits(told, 4, y, seed=3)
    assert images.shape == (4, 28, 28)
    rows = torch.tensor(row).float().expand(4, 2)
    assert torch.equal(images, sample_digits(told, 4, rows, seed=3))
    for joined in seen:  # codes, then what is told
        assert torch.equal(joined[:, 2:], told.told(rows))
    # the codes are those of a plain model
    z = []
    plain = CVAE(**SIZES)
    plain.decoder.register_forward_pre_hook(lambda _, v: z.append(v[0]))
    sample_digits(plain, 4, 5, seed=3)
    assert torch.equal(seen[0][:, :2], z[0][:, :2])


def test_each_combination_is_another_picture(told):
    asked = [(5, 1.0), (5, None), (None, 1.0), (5, 0.0), (0, None), None]
    images = torch.stack([sample_digits(told, 2, y) for y in asked])
    assert len(images.flatten(1).unique(dim=0)) == len(asked)


@pytest.mark.parametrize(
    "y",
    [
        *(5, 5.0, "5", (5,), (5, 1, 1), (), (10, None), (2.5, None), (-1, 0)),
        *(("5", None), (5, "a"), ([5, 6], None), (5, torch.zeros(2))),
        *((5, float("inf")), torch.zeros(3, 2), torch.zeros(2, 2).long()),
    ],
    ids=str,
)
def test_conditions_that_are_not_understood_are_refused(y, told):
    with refused("y:") as caught:
        sample_digits(told, 2, y)
    assert ";" in str(caught.value)  # says what to do


def test_what_needs_one_label_refuses_several_conditions(told, small):
    with refused("model:", TypeError):
        same_style(told, 2)
    for kind in KINDS[:2]:
        with refused("model:", TypeError):
            transfer(kind(**SIZES), small)
    with refused("model:", TypeError):
        transfer(told, small)
    with refused("y:"):
        latent_grid(told, 3)
    with refused("y:"):  # no conditions of its own
        sample_digits(VAE(**SIZES), 2, (5, None))


def test_conditions_reach_a_reconstruction(told, small):
    y = torch.stack([small.labels.float(), torch.linspace(-1, 1, 200)], 1)
    y[::4, 1] = NAN
    digits = replace(small, conditions=y)
    images = reconstruct(told, digits, 64)
    assert torch.equal(images, draw(told, codes(told, digits, 64), y))
    hidden = replace(small, conditions=torch.full_like(y, NAN))
    assert not torch.equal(images, reconstruct(told, hidden, 64))


def test_a_table_of_squares_becomes_pictures_and_others_do_not():
    model = VAE(**SIZES, n_pixels=9)
    table = Table(torch.rand(7, 9, generator=torch.Generator().manual_seed(0)))
    assert reconstruct(model, table).shape == (7, 3, 3)
    model = VAE(**SIZES, n_pixels=8)
    with refused("model:"):
        sample_digits(model, 2)


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
        expected = draw(model, z, torch.full((30,), y))
        torch.testing.assert_close(images[y], expected)
    own = images[digits.labels, torch.arange(30)]
    torch.testing.assert_close(own, reconstruct(model, digits))
    assert len(images[:, 0].flatten(1).unique(dim=0)) == 10


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
