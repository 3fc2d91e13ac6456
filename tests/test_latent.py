"""Codes become pictures: of the right shape, place and label."""

import pytest
import torch
from conftest import close, refused, untouched_rng
from torch.distributions import Normal

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
