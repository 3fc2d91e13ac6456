"""Scores are sums over the digits, and right where they are known."""

import pytest
import torch
from conftest import close, refused, same, untouched_rng
from torch.distributions import Bernoulli, MultivariateNormal, Normal
from torch.distributions import kl_divergence as kl_torch

from minivae import (
    CVAE,
    VAE,
    Autoencoder,
    Digits,
    Judge,
    TrainConfig,
    codes,
    evaluate,
    fit,
    log_likelihood,
)
from minivae.evaluate import log_importance_weights

SIZES = {"n_latent": 2, "hidden": (16,)}
CONFIG = TrainConfig(epochs=3, batch_size=32, warmup=5, device="cpu")


def certain(model):
    """A model with q(z|x) so narrow that noise plays no part."""
    with torch.no_grad():
        model.encoder[-1].weight[2:] = 0
        model.encoder[-1].bias[2:] = -60
    return model


@pytest.mark.parametrize("kind", [VAE, CVAE])
def test_scores_are_those_of_torch_distributions(kind, small):
    model = certain(kind(**SIZES))
    x = small.binarized().images.flatten(1).float() / 255
    with torch.no_grad():
        mu, logvar = model.encode(x, small.labels)
        logits = model.decode(mu, small.labels)
        p = Bernoulli(logits=logits).log_prob(x).sum(1).double()
        q = Normal(mu, (logvar / 2).exp())
        kl = kl_torch(q, Normal(0.0, 1.0)).sum(1).double()
    for size in (7, 64, 200, 1000):  # and whatever the batch size
        scores = evaluate(model, small, batch_size=size)
        assert scores.keys() == {"reconstruction", "kl", "elbo"}
        close(scores["reconstruction"], -p.mean())
        close(scores["kl"], kl.mean())
        close(scores["elbo"], -scores["reconstruction"] - scores["kl"], 1e-12)


def test_kl_does_not_depend_on_batches_or_noise(small):
    model = VAE(**SIZES)
    with untouched_rng():
        first = evaluate(model, small)
        assert evaluate(model, small) == first
    other = evaluate(model, small, seed=1)
    assert other["reconstruction"] != first["reconstruction"]
    close(other["kl"], first["kl"], 1e-12)
    batched = evaluate(model, small, batch_size=7)
    close(batched["kl"], first["kl"])
    # other noise, so equal only up to its spread
    close(batched["reconstruction"], first["reconstruction"], 1e-2)


def test_beta_is_no_part_of_the_elbo(small):
    assert evaluate(VAE(**SIZES, beta=4), small) == evaluate(
        VAE(**SIZES), small
    )


def test_an_autoencoder_has_an_error_but_no_elbo(small):
    model = Autoencoder(**SIZES)
    scores = evaluate(model, small, batch_size=64)
    assert scores.keys() == {"reconstruction"}
    x = small.images.flatten(1).float() / 255  # grey
    error = model.loss(x).detach().double().mean()
    close(scores["reconstruction"], error)
    with refused("model:", TypeError):
        log_likelihood(model, small)


def test_a_gaussian_model_is_scored_on_grey_pixels(small):
    model = certain(VAE(**SIZES, likelihood="gaussian", sigma=0.5))
    x = small.images.flatten(1).float() / 255
    with torch.no_grad():
        p = Normal(model.decode(model.code(x)), 0.5).log_prob(x).sum(1)
    close(evaluate(model, small)["reconstruction"], -p.double().mean())


@pytest.mark.parametrize("kind", [VAE, CVAE])
def test_log_likelihood_is_tighter_than_the_elbo(kind, small):
    model = kind(**SIZES)
    fit(model, small, CONFIG, progress=False)
    elbo = evaluate(model, small)["elbo"]
    with untouched_rng():
        few, many = (log_likelihood(model, small, k) for k in (1, 100))
        assert log_likelihood(model, small, 100) == many
    assert many > elbo
    assert many > few
    close(few, elbo, 1e-2)  # one sample gives the ELBO


@pytest.fixture
def linear():
    """A linear-Gaussian VAE, digits for it, and their exact evidence.

    With orthogonal columns in W the posterior of z has independent parts,
    so that q(z|x) can be exactly p(z|x).
    """
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(256, (30, 4, 4), dtype=torch.uint8, generator=draw)
    digits = Digits(images, torch.zeros(30).long(), "made up", "test")
    model = VAE(2, (), "gaussian", sigma=0.4, n_pixels=16).double()
    (encoder,), (decoder,) = model.encoder, model.decoder
    W = torch.linalg.qr(decoder.weight.detach())[0] * torch.tensor([0.9, 0.5])
    b, precision = decoder.bias.detach(), 1 + W.square().sum(0) / 0.16
    with torch.no_grad():
        decoder.weight.copy_(W)
        encoder.weight.zero_()
        encoder.weight[:2] = W.T / 0.16 / precision[:, None]
        encoder.bias[:2] = -encoder.weight[:2] @ b
        encoder.bias[2:] = -precision.log()
    covariance = W @ W.T + 0.16 * torch.eye(16).double()
    x = (images.flatten(1).float() / 255).double()
    exact = MultivariateNormal(b, covariance).log_prob(x)
    return model.float(), digits, x, exact


@pytest.mark.parametrize("n_samples", [1, 50])
def test_the_exact_posterior_gives_the_exact_evidence(linear, n_samples):
    model, digits, x, exact = linear
    close(log_likelihood(model, digits, n_samples), exact.mean())
    with torch.no_grad():
        weights = log_importance_weights(model, x.float(), None, n_samples)
    close(weights.double(), exact.expand(n_samples, -1), 1e-4)


def test_another_posterior_gives_the_evidence_up_to_its_error(linear):
    model, digits, x, exact = linear
    with torch.no_grad():
        model.encoder[0].bias += 0.3
        gap = exact.mean() - evaluate(model, digits)["elbo"]
        weights = log_importance_weights(model, x.float(), None, 4000)
    ratio = (weights.double() - exact).exp()  # its mean is 1
    error = (ratio.var(0) / 4000).sum().sqrt() / len(digits)
    found = log_likelihood(model, digits, 4000)
    assert abs(found - exact.mean()) < 3 * error
    assert 3 * error < 0.1 * gap  # the ELBO would not pass
    low, high = (ratio.mean(0) - 1).aminmax()
    assert max(-low, high) < 0.2


@pytest.mark.parametrize("kind", [Autoencoder, VAE, CVAE])
def test_codes_are_the_means_of_all_digits(kind, small):
    model = kind(**SIZES)
    digits = small if kind is Autoencoder else small.binarized()
    x = digits.images.flatten(1).float() / 255
    with torch.no_grad():
        expected = model.encode(x, small.labels)
    expected = expected if kind is Autoencoder else expected[0]
    for size in (64, 1000):
        found = codes(model, small, size)
        assert found.shape == (200, 2)
        assert not found.requires_grad
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("value", [0, -1, 2.5, None])
def test_bad_numbers_are_refused(value, small):
    model = VAE(**SIZES)
    with refused("n_samples:"):
        log_likelihood(model, small, value)
    with refused("size:"):
        evaluate(model, small, batch_size=value)
    if value != 0:
        with refused("seed:"):
            evaluate(model, small, seed=value)


def test_scoring_leaves_the_model_alone(small):
    model, kept = VAE(**SIZES), VAE(**SIZES)
    evaluate(model, small)
    log_likelihood(model, small[:10], 5)
    assert same(model.state_dict(), kept.state_dict())
    assert all(w.grad is None for w in model.parameters())


def test_a_judge_learns_to_read(digits):
    with untouched_rng():
        judge = Judge()
    before = judge.accuracy(digits)
    fit(judge, digits, CONFIG, progress=False)
    assert judge.accuracy(digits) > max(0.9, before)
    read = judge.read(digits.images[:20].float() / 255)
    assert read.shape == (20, 10)
    close(read.sum(1), torch.ones(20))
    right = (read.argmax(1) == digits.labels[:20]).double().mean()
    close(judge.accuracy(digits[:20]), right)
