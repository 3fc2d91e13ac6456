"""Scores are sums over the digits, and right where they are known."""

import itertools
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import close, refused, same, untouched_rng
from torch.distributions import (
    Bernoulli,
    Categorical,
    Independent,
    Laplace,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
)
from torch.distributions import kl_divergence as kl_torch

from minivae import (
    CVAE,
    VAE,
    Autoencoder,
    Classifier,
    Images,
    Table,
    TrainConfig,
    codes,
    evaluate,
    fit,
    log_likelihood,
)
from minivae.data import seeded
from minivae.evaluate import (
    active_units,
    code_grid,
    gradient_samples,
    kl_per_dimension,
    log_evidence,
    log_importance_weights,
    log_joint,
    optimise_q,
    posteriors,
    split_kl,
)

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
        logits = model.decode(mu, small.labels).flatten(1)
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
    error = model(x)["loss"].detach().double().mean()
    close(scores["reconstruction"], error)
    with refused("model:", TypeError):
        log_likelihood(model, small)


def test_a_gaussian_model_is_scored_on_grey_pixels(small):
    model = certain(VAE(**SIZES, likelihood="gaussian", sigma=0.5))
    x = small.images.flatten(1).float() / 255
    with torch.no_grad():
        mean = model.decode(model.encode_mean(x)).flatten(1)
        p = Normal(mean, 0.5).log_prob(x).sum(1)
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
    digits = Images(images, torch.zeros(30).long(), "made up", "test")
    model = VAE(2, (), "gaussian", sigma=0.4, shape=(1, 4, 4)).double()
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


def test_numbers_of_numpy_select_the_same_codes(small):
    model, seed = VAE(**SIZES), np.int64(1)
    assert evaluate(model, small, seed=seed) == evaluate(model, small, seed=1)
    found = log_likelihood(model, small, np.int32(3), seed)
    assert found == log_likelihood(model, small, 3, 1)
    assert split_kl(model, small, seed=seed) == split_kl(model, small, seed=1)
    active = active_units(model, small, np.float32(0.5))
    assert torch.equal(active, active_units(model, small, 0.5))
    assert torch.equal(code_grid(2, np.int64(4)), code_grid(2, 4))


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
        judge = Classifier()
    before = judge.accuracy(digits)
    fit(judge, digits, CONFIG, progress=False)
    assert judge.accuracy(digits) > max(0.9, before)
    read = judge.read(digits.images[:20].float() / 255)
    assert read.shape == (20, 10)
    close(read.sum(1), torch.ones(20))
    right = (read.argmax(1) == digits.labels[:20]).double().mean()
    close(judge.accuracy(digits[:20]), right)


# --- the exact evidence of small models

NAN = float("nan")


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator)


@pytest.mark.parametrize("n_latent", [1, 2])
def test_a_grid_is_the_middles_of_equal_cells(n_latent):
    grid = code_grid(n_latent, 4, 2.0)
    steps = [-1.5, -0.5, 0.5, 1.5]  # cells of width 1 from -2 to 2
    expected = list(itertools.product(steps, repeat=n_latent))
    assert [tuple(z) for z in grid.tolist()] == expected
    assert len(code_grid(n_latent)) == 300**n_latent


@pytest.mark.parametrize(
    "options, name",
    [((0,), "n_latent"), ((3,), "n_latent"), ((None,), "n_latent")]
    + [((2, n), "n") for n in (0, 2.5, None)]
    + [((2, 9, v), "limit") for v in (0, -1, math.inf, None)],
)
def test_impossible_grids_are_refused(options, name):
    with refused(f"{name}:", ValueError):
        code_grid(*options)


CASES = {
    "bernoulli": (VAE, {}, None),
    "gaussian": (VAE, {"likelihood": "gaussian", "sigma": 0.3}, None),
    "labels": (CVAE, {"n_classes": 4}, torch.tensor([2])),
    "told": (CVAE, {"conditions": (3, 1)}, torch.tensor([[2.0, NAN]])),
    "learned": (CVAE, {"likelihood": "gaussian"}, torch.tensor([9])),
}


@pytest.mark.parametrize("case", CASES)
def test_the_joint_is_likelihood_times_prior_of_each_pair(case):
    kind, options, y = CASES[case]
    model = kind(2, (8,), shape=(5,), **options)
    x, z = draw(7, 5).sigmoid().round(), 2 * draw(11, 2, seed=1)
    table = log_joint(model, x, z, y)
    assert table.shape == (11, 7)
    assert not table.requires_grad
    prior = Normal(0.0, 1.0).log_prob(z).sum(1)
    with torch.no_grad():
        for g, b in itertools.product(range(11), range(7)):
            p = model.log_likelihood(x[[b]], z[[g]], y) + prior[g]
            close(table[g, b].float(), p[0])


class Laplacian(CVAE):
    """Pixels that follow another distribution than those that come along."""

    def __init__(self, n_latent, **options):
        super().__init__(n_latent, (8,), likelihood="gaussian", **options)
        self.options["likelihood"] = "laplace"

    def log_likelihood(self, x, z, y=None):
        return Laplace(self.decode(z, y), 0.7).log_prob(x).sum(-1)


OTHERS = ("continuous_bernoulli", "discretized_logistic", "categorical")


@pytest.mark.parametrize("likelihood", OTHERS)
@pytest.mark.parametrize("many", [False, True])
def test_the_joint_of_likelihoods_without_a_short_cut(likelihood, many):
    model = CVAE(2, (8,), shape=(5,), likelihood=likelihood, n_classes=3)
    # so many pairs that they are looked at in parts
    x = draw(3000 if many else 7, 5).sigmoid()
    z, y = 2 * draw(11, 2, seed=1), torch.tensor([2])
    table = log_joint(model, x, z, y)
    assert table.shape == (11, len(x))
    prior = Normal(0.0, 1.0).log_prob(z).sum(1)
    with torch.no_grad():
        for g in range(11):
            code, told = z[[g]].expand(len(x), -1), y.expand(len(x))
            p = model.log_likelihood(x, code, told) + prior[g]
            torch.testing.assert_close(table[g], p, rtol=1e-5, atol=1e-5)


def test_the_joint_of_another_likelihood_is_its_own():
    model = Laplacian(2, shape=(5,))
    x, z, y = draw(7, 5), draw(11, 2, seed=1), torch.tensor([4])
    with torch.no_grad():
        mean = model.decode(z, y.expand(11))  # (11, 5)
    pixels = Laplace(mean[:, None], 0.7).log_prob(x).sum(-1)
    prior = Normal(0.0, 1.0).log_prob(z).sum(1)
    close(log_joint(model, x, z, y), pixels + prior[:, None])


def test_the_evidence_of_another_likelihood_is_its_own():
    model = loud(Laplacian(1, shape=(3,), n_classes=2))
    x, y = draw(6, 3), torch.arange(6) % 2
    z = torch.linspace(-6, 6, 2001)[:, None]
    found = log_evidence(model, x, y)
    for i in range(6):
        with torch.no_grad():
            mean = model.decode(z, y[i].expand(2001)).double()
        p = Laplace(mean, 0.7).log_prob(x[i].double()).sum(1)
        p = (p + Normal(0.0, 1.0).log_prob(z[:, 0].double())).exp()
        exact = torch.trapezoid(p, z[:, 0].double()).log()
        close(found[i], exact, 1e-3)  # a density with kinks
    gaussian = VAE(1, (8,), "gaussian", shape=(3,))
    other = type("Other", (VAE,), {"log_likelihood": Laplacian.log_likelihood})
    other = other(1, (8,), "gaussian", shape=(3,))
    assert same(gaussian.state_dict(), other.state_dict())
    gap = log_evidence(gaussian, x) - log_evidence(other, x)
    assert gap.abs().min() > 1e-3


@pytest.mark.parametrize("n_latent", [1, 2])
def test_the_evidence_of_a_linear_model_is_that_of_probabilistic_pca(
    n_latent,
):
    model = VAE(n_latent, (), "gaussian", sigma=0.5, shape=(3,))
    W, b = draw(3, n_latent), draw(3, seed=1)
    with torch.no_grad():
        model.decoder[0].weight.copy_(W)
        model.decoder[0].bias.copy_(b)
    x = 1.5 * draw(20, 3, seed=2)
    W, b = W.double(), b.double()
    covariance = W @ W.T + 0.25 * torch.eye(3).double()
    exact = MultivariateNormal(b, covariance).log_prob(x.double())
    found = log_evidence(model, x)
    assert found.dtype == torch.float64
    close(found, exact, 1e-5)
    close(log_evidence(model, x, n=100, limit=6.0), exact, 1e-5)
    # cells as wide as the posterior show
    coarse = log_evidence(model, x, n=5)
    assert (coarse - exact).abs().max() > 0.1
    # and so does what lies beyond the limit
    assert (log_evidence(model, x, limit=0.5) < exact).all()


def integral(model, x, y=None, n=601):
    """log p(x) of one row by the trapezium rule, in torch.distributions."""
    z = torch.linspace(-6, 6, n)
    axes = [z] * model.n_latent
    codes = torch.cartesian_prod(*axes).view(-1, model.n_latent)
    y = None if y is None else y[None].expand(len(codes), *y.shape)
    with torch.no_grad():
        out = model.decode(codes, y).double()
    p = Bernoulli(logits=out).log_prob(x.double()).sum(1)
    p = (p + Normal(0.0, 1.0).log_prob(codes.double()).sum(1)).exp()
    p = p.view(*[n] * model.n_latent)
    for _ in axes:
        p = torch.trapezoid(p, z.double(), dim=0)
    return p.log()


def loud(model, seed=5):
    """A model with larger weights, whose codes say something."""
    with torch.no_grad():
        for i, weight in enumerate(model.parameters()):
            size = 2 / weight.shape[-1] ** 0.5 if weight.ndim > 1 else 0.5
            weight.copy_(size * draw(weight.shape, seed=seed + i))
    return model


@pytest.mark.parametrize("likelihood", ["categorical", "discretized_logistic"])
def test_the_evidence_of_a_pixel_of_256_levels_is_its_probability(likelihood):
    model = loud(VAE(1, (6,), likelihood, shape=(1,)))
    levels = torch.arange(256.0)[:, None] / 255
    found = log_evidence(model, levels)
    close(found.exp().sum(), 1.0, 1e-5)
    assert found.std() > 0.1


def test_the_evidence_of_a_pixel_from_0_to_1_is_a_density():
    model = loud(VAE(1, (6,), "continuous_bernoulli", shape=(1,)))
    x = torch.linspace(0, 1, 1001)[:, None]
    found = log_evidence(model, x)
    close(torch.trapezoid(found.exp(), x[:, 0].double()), 1.0, 1e-4)
    assert found.std() > 0.1


@pytest.mark.parametrize("n_latent", [1, 2])
def test_the_evidence_of_binary_pixels_is_their_probability(n_latent):
    model = loud(VAE(n_latent, (6,), shape=(4,)))
    x = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4)))
    found = log_evidence(model, x)
    close(found.exp().sum(), 1.0, 1e-5)  # all that there is
    assert found.exp().max() > 0.15  # and not all alike
    close(found[:5], [integral(model, row) for row in x[:5]], 1e-4)


@pytest.mark.parametrize("case", ["labels", "told"])
def test_each_image_is_scored_under_its_own_condition(case):
    kind, options, _ = CASES[case]
    model = loud(kind(1, (6,), shape=(4,), **options))
    x = draw(12, 4).sigmoid().round()
    y = torch.arange(12) * 7 % 4
    if case == "told":
        y = torch.stack([y % 3, draw(12, seed=1)], 1)
        y[[0, 3, 4], 0] = y[[2, 3, 9], 1] = NAN
        y[5], x[9] = y[3], x[3]
    found = log_evidence(model, x, y)
    close(found, [integral(model, *pair) for pair in zip(x, y)], 1e-4)
    # with another number of conditions, rows would be left out unnoticed
    for wrong in (None, y[:11], torch.cat([y, y[:1]]), y.tolist()):
        with refused("y:"):
            log_evidence(model, x, wrong)


def test_the_evidence_of_a_model_that_is_told_nothing_needs_no_labels():
    model, x = loud(VAE(1, (6,), shape=(4,))), draw(6, 4).sigmoid()
    for y in (torch.arange(6), torch.zeros(3, dtype=torch.int64)):
        assert torch.equal(log_evidence(model, x, y), log_evidence(model, x))


def test_an_x_too_large_for_a_code_is_named():
    model = VAE(2, (), likelihood="gaussian", shape=(4,))
    data = Table(1e20 * draw(6, 4))
    for score in (evaluate, log_likelihood):
        with refused("x: expected values of which the encoder makes"):
            score(model, data)


def test_withheld_conditions_share_the_work_of_the_decoder():
    model, seen = CVAE(1, (6,), shape=(4,), conditions=(3, 1)), []
    model.decoder.register_forward_pre_hook(lambda _, v: seen.append(v))
    y = torch.tensor([[NAN, NAN], [1.0, NAN]]).repeat(10, 1)
    log_evidence(model, draw(20, 4).sigmoid(), y)
    assert len(seen) == 2


def test_the_bounds_stay_below_the_evidence(digits):
    model = VAE(2, (16,))
    some = digits[:40]
    fit(model, digits, CONFIG, progress=False)
    x = some.binarized().x(torch.arange(40))
    exact = log_evidence(model, x, limit=10.0).mean().item()
    elbo = evaluate(model, some)["elbo"]
    many = log_likelihood(model, some, 500)
    assert elbo < many < exact + 0.05
    assert exact - many < 0.25 * (exact - elbo)


# --- the posterior of one image

SPOILED = torch.tensor([0.4, -0.3, 1.0, -1.0])  # added to mu and logvar


@pytest.fixture
def spoiled(linear):
    """The linear model with a wrong encoder, and the right mu, logvar."""
    model, _, x, exact = linear
    with torch.no_grad():
        right = [p.clone() for p in model.encode(x.float())]
        model.encoder[0].bias += SPOILED
    return model, x.float(), exact, right


def test_weights_can_come_from_another_q(spoiled):
    model, x, exact, right = spoiled
    noise = seeded("cpu", "a")
    with torch.no_grad():
        mine = log_importance_weights(model, x, None, 9, noise, right)
        encoder = log_importance_weights(model, x, None, 9, noise)
    close(mine.double(), exact.expand(9, -1), 1e-4)
    assert encoder.std(0).min() > 0.1


def test_the_best_q_of_a_linear_model_is_its_posterior(spoiled):
    model, x, _, right = spoiled
    kept = {k: v.clone() for k, v in model.state_dict().items()}
    with untouched_rng():
        mu, logvar = optimise_q(model, x)
    assert not mu.requires_grad
    assert not logvar.requires_grad
    for found, expected, wrong in zip(
        (mu, logvar), right, SPOILED.view(2, 1, 2)
    ):
        assert found.shape == (30, 2)
        error = (found - expected).square().mean(0).sqrt()
        assert (error < 0.1 * wrong[0].abs()).all()
    assert same(kept, model.state_dict())
    assert all(w.grad is None for w in model.parameters())
    again = optimise_q(model, x, steps=3)
    assert same(again, optimise_q(model, x, steps=3))
    assert not same(again, optimise_q(model, x, steps=3, seed=1))


def test_the_best_full_q_of_a_linear_model_has_its_covariances():
    model = VAE(2, (), "gaussian", 0.5, shape=(3,))
    weight = torch.tensor([[1.0, 0.8], [0.5, 0.7], [0.2, 0.9]])
    with torch.no_grad():
        model.decoder[0].weight.copy_(weight)
    z = draw(40, 2)
    x = z @ weight.T + 0.5 * draw(40, 3)
    precision = torch.eye(2) + weight.T @ weight / 0.25
    covariance = precision.inverse()
    mean = x @ weight @ covariance / 0.25
    exact = MultivariateNormal(
        torch.zeros(3), weight @ weight.T + 0.25 * torch.eye(3)
    ).log_prob(x)

    q = optimise_q(model, x, steps=1000, lr=0.05, full=True)
    close_to = torch.testing.assert_close
    close_to(q[0], mean, rtol=0, atol=0.05)
    found = q[1] @ q[1].mT
    close_to(found, covariance.expand(40, 2, 2), rtol=0, atol=0.02)
    assert covariance[0, 1] < -0.1  # which a diagonal q cannot have
    noise = torch.Generator().manual_seed(3)
    weights = log_importance_weights(model, x, None, 50, noise, q)
    close_to(weights.mean(0), exact, rtol=0, atol=0.02)
    diagonal = optimise_q(model, x, steps=1000, lr=0.05)
    lost = log_importance_weights(model, x, None, 50, noise, diagonal)
    assert (weights.mean() - lost.mean()) > 0.2


def test_optimising_starts_at_the_encoder_and_raises_the_elbo(small):
    model = loud(CVAE(2, (6,)), 1)
    x, y = small.binarized().x(torch.arange(20)), small.labels[:20]
    start = optimise_q(model, x, y, steps=1, lr=1e-9)
    with torch.no_grad():
        for a, b in zip(start, model.encode(x, y)):
            torch.testing.assert_close(a, b)
    before, after = (
        log_importance_weights(model, x, y, 400, seeded("cpu", "b"), q)
        .mean(0)
        .detach()
        for q in (start, optimise_q(model, x, y, steps=60, lr=0.05))
    )
    assert (after > before).double().mean() > 0.9
    assert after.mean() > before.mean() + 1


def noisy():
    """A model that answers otherwise while it is trained."""
    encoder = torch.nn.Sequential(
        torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.5)
    )
    encoder.append(torch.nn.Linear(8, 4))
    return VAE(2, shape=(4,), encoder=encoder)


def test_a_model_is_looked_at_as_it_is_used_and_left_as_it_was():
    data = Table(draw(20, 4).sigmoid())
    x, z = draw(20, 4).sigmoid(), draw(5, 2)
    calls = {
        evaluate: (data,),
        log_likelihood: (data, 2),
        log_joint: (x, z),
        log_evidence: (x, None, 5),
        optimise_q: (x, None, 3),
        posteriors: (data,),
        codes: (data,),
    }
    model = noisy()
    kept = {k: v.clone() for k, v in model.state_dict().items()}
    for function, given in calls.items():
        found = [function(model.train(mode), *given) for mode in (True, False)]
        assert same(*map(list, ([f] for f in found))), function
        assert not model.training
        function(model.train(), *given)
        assert all(part.training for part in model.modules())
    assert same(kept, model.state_dict())


def test_both_gradients_have_the_right_mean_and_the_path_less_noise():
    mu, logvar = torch.tensor([0.7, -1.2, 0.3]), torch.tensor([0.5, -1, 0.0])
    a, b = torch.tensor([1.0, -0.5, 2.0]), torch.tensor([0.3, 2.0, -1.0])

    def f(z):
        return z.square() @ a + z @ b + 2 * z[:, 0] * z[:, 1]

    exact = 2 * a * mu + b + 2 * torch.tensor([mu[1], mu[0], 0.0])
    n = 40_000
    with untouched_rng():
        found = gradient_samples(f, mu, logvar, n, seeded("cpu", "c"))
    assert list(found) == ["score function", "pathwise"]
    for values in found.values():
        assert values.shape == (n, 3)
        assert not values.requires_grad
        error = values.std(0) / n**0.5
        assert ((values.mean(0) - exact).abs() < 3.5 * error).all()
        assert (3.5 * error < 0.2).all()  # it could have failed
    score, path = (v.var(0) for v in found.values())
    assert (path < 0.5 * score).all()
    # the variance of the path is known: f' is linear in z
    slopes = 2 * torch.diag(a)
    slopes[0, 1] = slopes[1, 0] = 2
    close(path, slopes.square() @ logvar.exp(), 0.05)
    # for a constant f the path knows the answer, the score only its mean
    flat = gradient_samples(
        lambda z: 0 * z[:, 0] + 3, mu, logvar, n, seeded("cpu", "c")
    )
    assert (flat["pathwise"] == 0).all()
    close(flat["score function"].var(0), 9 * (-logvar).exp(), 0.05)


# --- what the code is made of


@pytest.mark.parametrize("kind", [VAE, CVAE])
def test_posteriors_are_those_of_the_digits_in_order(kind, small):
    model = kind(**SIZES)
    x = small.binarized().x(torch.arange(200))
    with torch.no_grad():
        expected = model.encode(x, small.labels)
    for size in (64, 1000):
        found = posteriors(model, small, size)
        for a, b in zip(found, expected):
            assert a.shape == (200, 2)
            assert not a.requires_grad
            torch.testing.assert_close(a, b)
    grey = kind(**SIZES, likelihood="gaussian")
    with torch.no_grad():
        mu, _ = grey.encode(small.x(torch.arange(200)), small.labels)
    torch.testing.assert_close(posteriors(grey, small)[0], mu)


def test_an_autoencoder_has_no_posteriors(small):
    for function in (posteriors, kl_per_dimension, active_units, split_kl):
        with refused("model:", TypeError):
            function(Autoencoder(**SIZES), small)


def test_the_kl_of_the_dimensions_adds_up_to_that_of_the_model(small):
    model = loud(VAE(3, (6,)), 2)
    parts = kl_per_dimension(model, small)
    assert parts.shape == (3,)
    close(parts.sum(), evaluate(model, small)["kl"])
    mu, logvar = posteriors(model, small)
    q = Normal(mu, (logvar / 2).exp())
    close(parts, kl_torch(q, Normal(0.0, 1.0)).mean(0))


def test_a_unit_is_active_if_its_mean_moves(small):
    model = loud(VAE(3, (6,)), 2)
    head = model.encoder[-1]
    with torch.no_grad():
        head.weight[1] = 0  # never moves, far from 0, and costs a lot
        head.bias[1] = 5.0
        head.weight[2] *= 1e-4  # hardly moves
        head.bias[5] = -9.0
    assert kl_per_dimension(model, small)[1:].min() > 1
    assert active_units(model, small).tolist() == [True, False, False]
    variance = posteriors(model, small)[0].var(0)
    for i in (0, 2):
        for factor, active in ((0.99, True), (1.01, False)):
            limit = variance[i].item() * factor
            assert active_units(model, small, limit)[i].item() == active


def informed(kind):
    """A model whose KL is in equal parts information and marginal KL."""
    model = loud(kind(2, (6,)), 3)
    with torch.no_grad():
        model.encoder[-1].bias[:] = torch.tensor([1.0, 0.0, -2.5, -1.5])
        model.encoder[-1].weight *= 0.5
    return model


def mixture(mu, logvar):
    """The aggregate posterior, by torch.distributions."""
    parts = Independent(Normal(mu, (logvar / 2).exp()), 1)
    return MixtureSameFamily(Categorical(torch.ones(len(mu)).double()), parts)


def split_by_hand(mu, logvar, z):
    """Sums of log q(z|n) - log q(z) and of log q(z) - log p(z)."""
    own = Normal(mu, (logvar / 2).exp()).log_prob(z).sum(1)
    aggregate = mixture(mu, logvar).log_prob(z)
    prior = Normal(0.0, 1.0).log_prob(z).sum(1)
    return torch.stack([(own - aggregate).sum(), (aggregate - prior).sum()])


@pytest.mark.parametrize("kind", [VAE, CVAE])
def test_the_split_of_the_kl_is_that_of_torch_distributions(kind, small):
    model = informed(kind)
    mu, logvar = (p.double() for p in posteriors(model, small))
    noise, sums = seeded("cpu", "split", 4), torch.zeros(2).double()
    groups = [torch.arange(200)]
    if kind is CVAE:  # within a label
        groups = [(small.labels == c).nonzero()[:, 0] for c in range(10)]
    for rows in groups:
        shape = (3 * len(rows), 2)  # three codes for each digit
        z = torch.randn(shape, generator=noise, dtype=torch.float64)
        z = mu[rows].repeat(3, 1) + z * (logvar[rows] / 2).exp().repeat(3, 1)
        for part in z.chunk(3):
            sums += split_by_hand(mu[rows], logvar[rows], part)
    with untouched_rng():
        found = split_kl(model, small, 3, seed=4)
    close(found["information"], sums[0] / 600, 1e-6)
    close(found["marginal_kl"], sums[1] / 600, 1e-6)
    close(found["kl"], found["information"] + found["marginal_kl"], 1e-9)
    # and the parts are not alike, nor is the label idle
    assert 0.2 < found["information"] / found["kl"] < 0.8
    if kind is CVAE:
        whole = split_by_hand(mu, logvar, mu) / 200
        assert abs(whole[0] - found["information"]) > 0.3


def test_the_parts_add_up_to_the_exact_kl_with_many_codes(small):
    model = informed(VAE)
    exact = evaluate(model, small)["kl"]
    runs = [split_kl(model, small, 20, seed=s)["kl"] for s in range(8)]
    runs = torch.tensor(runs).double()
    error = runs.std() / 8**0.5
    assert abs(runs.mean() - exact) < 3.5 * error
    assert 3.5 * error < 0.05 * exact


@pytest.mark.parametrize("kind", [VAE, CVAE])
def test_codes_that_tell_digits_apart_have_the_log_of_their_number(
    kind, small
):
    model = certain(kind(**SIZES))
    with torch.no_grad():
        model.encoder[-1].weight[:2] *= 100
        model.encoder[-1].bias[2:] = -16
    found = split_kl(model, small)
    n = small.labels.bincount().double()
    expected = math.log(200) if kind is VAE else (n * n.log()).sum() / 200
    close(found["information"], expected, 1e-2)
    assert found["information"] <= expected + 1e-6
    close(found["kl"], evaluate(model, small)["kl"], 1e-2)


def test_a_collapsed_code_tells_nothing(small):
    model = VAE(**SIZES)
    with torch.no_grad():
        model.encoder[-1].weight[:] = 0
        model.encoder[-1].bias[:] = torch.tensor([1.0, -2.0, 0.5, 0.0])
    found = split_kl(model, small, 50)
    assert abs(found["information"]) < 1e-9
    close(found["marginal_kl"], evaluate(model, small)["kl"], 0.05)


def test_scores_of_tables_and_conditions_are_those_of_their_rows(small):
    y = torch.stack([small.labels.float(), draw(200)], 1)
    y[::3, 1] = NAN
    told = replace(small, conditions=y)
    model = certain(CVAE(**SIZES, conditions=(10, 1)))
    x = small.binarized().x(torch.arange(200))
    with torch.no_grad():
        terms = model(x, y)
        expected = model.encode_mean(x, y)
    scores = evaluate(model, told, batch_size=64)
    close(scores["kl"], terms["kl"].double().mean())
    close(scores["reconstruction"], terms["reconstruction"].double().mean())
    torch.testing.assert_close(codes(model, told, 64), expected)
    assert log_likelihood(model, told[:20], 5) < 0


def test_no_digit_is_lost_where_the_last_batch_is_short(linear):
    model, digits, _, exact = linear
    # 300 codes each: 13 digits pass at a time, and the last four
    close(log_likelihood(model, digits, 300), exact.mean())


def test_importance_samples_are_a_function_of_the_seed(small):
    model = VAE(**SIZES)
    found = [log_likelihood(model, small, 2, seed) for seed in (0, 1, 0)]
    assert found[0] == found[2] != found[1]


def test_processes_share_the_digits_and_add_up_what_they_find(small):
    model = certain(VAE(**SIZES))
    whole, parts = evaluate(model, small[:199]), []
    for rank in (0, 1):
        one = SimpleNamespace(rank=rank, world_size=2, key=(2, rank))
        one.total = lambda value: 10 * value  # whatever the others found
        parts.append(evaluate(model, small[:199], processes=one))
    for name, value in whole.items():
        close(sum(part[name] for part in parts), 10 * value, 1e-4)
        assert parts[0][name] != parts[1][name]


def test_a_judge_has_one_loss_for_each_digit(small):
    judge = Classifier()
    x, y = small.images[:5] / 255, small.labels[:5]
    with torch.no_grad():
        loss = judge(x, y)["loss"]
        p = judge.encode(x).softmax(-1)[range(5), y]
    close(loss, -p.log())


def test_values_that_no_likelihood_expects_are_refused():
    wrong = Table(3 * draw(9, 4))
    binary, numbers = (
        VAE(2, (8,), kind, shape=(4,)) for kind in ("bernoulli", "gaussian")
    )
    for function in (evaluate, log_likelihood, posteriors, codes, split_kl):
        function(numbers, wrong)
        with refused("values:", ValueError) as caught:
            function(binary, wrong)  # not drawn as 0 or 1 in silence
        assert "gaussian" in str(caught.value)
    for data in (wrong.values, None):
        for function in (evaluate, log_likelihood, posteriors, codes):
            with refused("data:", TypeError):
                function(numbers, data)


class Own(torch.nn.Module):
    """A module of nobody's package, with terms of its own."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(2.0))

    def forward(self, x, y, noise):
        size = self.scale * x.flatten(1).sum(1)
        return {"loss": size, "size": size, "rows": torch.ones(len(x))}


def test_any_module_that_returns_terms_can_be_scored(small):
    found = evaluate(Own(), small[:50], batch_size=7)
    assert found.keys() == {"loss", "size", "rows"}
    close(found["size"], 2 * small[:50].x().double().sum() / 50)
    assert found["rows"] == 1
    for function in (codes, posteriors, log_likelihood):
        with refused("model:", TypeError):
            function(Own(), small)
    for model in (None, "vae.pt", VAE):
        with refused("model:", TypeError):
            evaluate(model, small)


@pytest.mark.parametrize("shape", [(1, 28, 20), (3, 32, 8), (1, 9, 14)])
def test_a_classifier_reads_pictures_of_any_size_and_number_of_classes(shape):
    n = 3
    images = torch.zeros(60, *shape, dtype=torch.uint8)
    labels = torch.arange(60) % n
    for i, y in enumerate(labels):
        images[i, :, 2 * y : 2 * y + 2, i % 3 :] = 255
    data = Images(images, labels)
    judge = Classifier(n_classes=n, shape=shape)
    fit(judge, data, TrainConfig(epochs=20, batch_size=10), progress=False)
    assert judge.accuracy(data) == 1
    assert judge.read(data.x()).shape == (60, n)
    for x in (torch.zeros(2, 28, 28), data.x()[0, 0]):
        with refused("images:"):
            judge.read(x)
    with refused("y:"):
        judge(data.x(), labels + 1)
    with refused("images:"):
        judge.read(2 * data.x())
    again = Classifier(**judge.options)
    assert again.options == judge.options


def test_a_classifier_reads_grey_pictures_with_or_without_a_channel(judge):
    x = torch.rand(5, 28, 28, generator=torch.Generator().manual_seed(0))
    read = judge.read(x)
    for same_x in (x[:, None], x.flatten(1)):
        assert torch.equal(judge.read(same_x), read)
