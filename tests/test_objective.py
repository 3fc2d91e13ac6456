"""Likelihoods, KL and bounds agree with torch.distributions."""

import math
from unittest.mock import patch

import numpy as np
import pytest
import torch
from conftest import close, refused, untouched_rng
from torch.distributions import Bernoulli, Normal, kl_divergence

from minivae import objective


def normal(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=dtype)


MU, LOGVAR = normal(5, 3, seed=1), normal(5, 3, seed=2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bernoulli_is_that_of_torch(dtype):
    logits = 3 * normal(4, 7, 784, dtype=dtype)
    x = (normal(7, 784, seed=1) > 0).to(dtype)
    ours = objective.bernoulli_log_likelihood(x, logits)
    theirs = Bernoulli(logits=logits).log_prob(x.expand_as(logits)).sum(-1)
    close(ours, theirs)
    assert ours.shape == (4, 7)


@pytest.mark.parametrize("size", [50.0, 1000.0])
def test_bernoulli_is_finite_for_large_logits(size):
    logits = torch.tensor([[size], [-size]], requires_grad=True)
    for x, expected in ((1.0, [0.0, -size]), (0.0, [-size, 0.0])):
        value = objective.bernoulli_log_likelihood(
            torch.full((2, 1), x), logits
        )
        torch.testing.assert_close(value, torch.tensor(expected))
        (slope,) = torch.autograd.grad(value.sum(), logits)
        torch.testing.assert_close(slope, x - logits.detach().sigmoid())


@pytest.mark.parametrize("log_sigma", [-2.0, 0.0, LOGVAR[0]])
def test_gaussian_is_that_of_torch(log_sigma):
    x, sigma = normal(4, 5, 3), torch.as_tensor(log_sigma, dtype=MU.dtype)
    ours = objective.gaussian_log_likelihood(x, MU, log_sigma)
    close(ours, Normal(MU, sigma.exp()).log_prob(x).sum(-1), 1e-12)


def test_sigma_goes_where_the_values_are():
    x = torch.zeros(5, 3, device="meta")
    nats = objective.gaussian_log_likelihood(x, x, torch.zeros(3))
    assert nats.device.type == "meta"


def test_density_of_a_code_is_that_of_torch():
    z = normal(4, 5, 3)
    theirs = Normal(MU, (LOGVAR / 2).exp()).log_prob(z).sum(-1)
    close(objective.gaussian_log_density(z, MU, LOGVAR), theirs)


def test_squared_error_is_summed_over_pixels():
    x, mean = normal(5, 784), normal(5, 784, seed=1)
    close(objective.squared_error(x, mean), (x - mean).norm(dim=-1) ** 2)


def test_kl_is_that_of_torch_and_zero_at_the_prior():
    q = Normal(MU, (LOGVAR / 2).exp())
    theirs = kl_divergence(q, Normal(0.0, 1.0)).sum(-1)
    close(objective.gaussian_kl(MU, LOGVAR), theirs)
    zero = torch.zeros(2, 3)
    assert objective.gaussian_kl(zero, zero).tolist() == [0, 0]


def test_kl_is_within_the_error_of_a_monte_carlo_estimate():
    mu, logvar = (p.expand(20_000, -1, -1) for p in (MU, LOGVAR))
    z = objective.reparameterize(mu, logvar, torch.Generator().manual_seed(0))
    zero = torch.zeros_like(z)
    ratio = objective.gaussian_log_density(
        z, mu, logvar
    ) - objective.gaussian_log_density(z, zero, zero)
    error = ratio.std(0) / len(ratio) ** 0.5
    gap = ratio.mean(0) - objective.gaussian_kl(MU, LOGVAR)
    assert (gap.abs() < 3 * error).all()


def test_gradients_reach_mu_and_logvar_through_the_draw():
    mu, logvar = MU.clone().requires_grad_(), LOGVAR.clone().requires_grad_()
    z = objective.reparameterize(mu, logvar, torch.Generator().manual_seed(0))
    assert z.requires_grad
    z.sum().backward()
    noise = (z - mu).detach() / (LOGVAR / 2).exp()
    close(mu.grad, torch.ones_like(mu))
    close(logvar.grad, noise * (LOGVAR / 2).exp() / 2)
    assert len(noise.unique()) == noise.numel()  # no two rows share it


def test_codes_have_the_mean_and_variance_asked_for():
    mu, logvar = (p[0].expand(40_000, 3) for p in (MU, LOGVAR))
    z = objective.reparameterize(mu, logvar, torch.Generator().manual_seed(0))
    error = (LOGVAR[0] / 2).exp() / 200
    assert ((z.mean(0) - MU[0]).abs() < 3 * error).all()
    relative = z.var(0) / LOGVAR[0].exp() - 1  # its error is sqrt(2 / N)
    assert (relative.abs() < 3 * (2 / 40_000) ** 0.5).all()


def test_noise_is_a_function_of_the_generator():
    def draw(seed):
        generator = torch.Generator().manual_seed(seed)
        return objective.reparameterize(MU, LOGVAR, generator)

    with untouched_rng():
        assert torch.equal(draw(0), draw(0))
        assert not torch.equal(draw(0), draw(1))


# x = w z + b + noise with z from N(0, 1): the evidence is a Gaussian
W, B, S, X = 1.5, 0.3, 0.7, torch.tensor([1.2, -2.0], dtype=torch.float64)
EVIDENCE = Normal(B, math.hypot(W, S)).log_prob(X)


def log_joint(z):
    return Normal(0.0, 1.0).log_prob(z) + Normal(W * z + B, S).log_prob(X)


def test_one_sample_is_the_weight_and_more_are_its_mean():
    weights = normal(6, 4)
    close(objective.importance_bound(weights[:1]), weights[0])
    close(objective.importance_bound(weights), weights.exp().mean(0).log())
    shifted = objective.importance_bound(weights - 5000)  # exp would be 0
    close(shifted, objective.importance_bound(weights) - 5000)


def test_bound_is_a_grid_integral_of_the_joint_density():
    z = torch.linspace(-12, 12, 4001, dtype=torch.float64)[:, None]
    uniform = -math.log(24 * 4001 / 4000)  # of the grid's cells
    ours = objective.importance_bound(log_joint(z) - uniform)
    integral = torch.trapezoid(log_joint(z).exp(), z, dim=0).log()
    close(ours, integral, 1e-6)
    close(ours, EVIDENCE, 1e-6)


def test_bound_grows_with_the_samples_up_to_the_evidence():
    q = Normal(torch.tensor([0.3, -0.8]).double(), 0.9)  # not the posterior
    z = q.mean + q.stddev * normal(64, 4000, 2)
    log_weights = log_joint(z) - q.log_prob(z)
    means = []
    for k in (1, 8, 64):
        # 4000 repetitions for each k
        bound = objective.importance_bound(log_weights[:k])
        error = bound.std(0) / 4000**0.5
        assert (bound.mean(0) < EVIDENCE + 3 * error).all()
        means.append(bound.mean(0))
    assert (means[0] < means[1]).all()
    assert (means[1] < means[2]).all()
    assert ((EVIDENCE - means[2]) < 0.05 * (EVIDENCE - means[0])).all()


# --- the beta of a loss that averages here and sums there

X2, LOGITS = (normal(6, 9, seed=s) for s in (3, 4))
BINARY = (X2 > 0).double()
Q = [(normal(6, 4, seed=s), normal(6, 4, seed=s + 9)) for s in (5, 6)]


def user_loss(error, pixels, latents, weight, model):
    """A loss as public code writes it, of model 0 or 1, (6,)."""
    mean = LOGITS + model
    if error == "bernoulli":
        rows = -Bernoulli(logits=mean).log_prob(BINARY)
    else:
        rows = (X2 - mean) ** 2 * (0.5 if error == "half squared" else 1)
    mu, logvar = Q[model]
    q = Normal(mu, (logvar / 2).exp())
    kl = kl_divergence(q, Normal(0.0, 1.0))
    return getattr(rows, pixels)(1) + weight * getattr(kl, latents)(1)


def elbo_loss(found, model):
    """-log p + beta KL with the beta and sigma that were found, (6,)."""
    mean, (mu, logvar) = LOGITS + model, Q[model]
    if "sigma" in found:
        p = Normal(mean, found["sigma"]).log_prob(X2)
    else:
        p = Bernoulli(logits=mean).log_prob(BINARY)
    q = Normal(mu, (logvar / 2).exp())
    kl = kl_divergence(q, Normal(0.0, 1.0)).sum(1)
    return -p.sum(1) + found["beta"] * kl


@pytest.mark.parametrize("error", ["bernoulli", "squared", "half squared"])
@pytest.mark.parametrize("pixels", ["sum", "mean"])
@pytest.mark.parametrize("latents", ["sum", "mean"])
@pytest.mark.parametrize("weight", [1.0, 0.05])
@pytest.mark.parametrize("sigma", [None, 0.4])
def test_scaled_losses_are_the_elbo_of_the_effective_beta(
    error, pixels, latents, weight, sigma
):
    options = error, pixels, latents, weight
    found = objective.effective_beta(*options, 9, 4, sigma)
    gaps = [
        found["scale"] * user_loss(*options, model) - elbo_loss(found, model)
        for model in (0, 1)
    ]
    # what is left depends neither on the digit nor on the model
    torch.testing.assert_close(gaps[0], gaps[1], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(gaps[0], gaps[0][:1].expand(6))
    if error == "bernoulli":
        assert found.keys() == {"beta", "scale"}
        assert gaps[0].abs().max() < 1e-9
    elif sigma is None:
        close(found["beta"], 1.0)
    else:
        close(found["sigma"], sigma)


def test_popular_recipes_have_these_betas():
    found = objective.effective_beta("bernoulli", "mean", "sum")
    close(found["beta"], 784.0)
    found = objective.effective_beta("squared")
    close(found["sigma"], 0.5**0.5)  # sum of squares: a variance of a half
    found = objective.effective_beta("squared", "mean")
    close(found["sigma"], 392**0.5)  # nothing but noise
    close(objective.effective_beta(latents="mean")["beta"], 1 / 20)
    found = objective.effective_beta("squared", "mean", "mean", 0.5, 1, 1)
    close(found["sigma"], 0.5)  # of one value and one latent dimension


@pytest.mark.parametrize(
    "name, value",
    [("error", "l1"), ("pixels", "max"), ("latents", None), ("error", None)]
    + [(n, v) for n in ("weight", "sigma") for v in (0, -1.0, math.inf)],
)
def test_a_loss_that_is_not_known_is_refused(name, value):
    with refused(f"{name}:", ValueError):
        objective.effective_beta(**{"error": "squared", name: value})


def test_both_halves_of_a_code_are_part_of_the_graph():
    q = MU.clone().requires_grad_(), LOGVAR.clone().requires_grad_()
    z = objective.reparameterize(*q, torch.Generator().manual_seed(0))
    gradients = torch.autograd.grad(z.sum(), q, allow_unused=True)
    assert all(g is not None and g.abs().min() > 0 for g in gradients)


def test_noise_is_as_fine_as_the_numbers_it_is_added_to():
    zeros = torch.zeros(100, dtype=torch.float64)
    z = objective.reparameterize(zeros, zeros)
    assert z.dtype == torch.float64
    assert (z != z.float()).any()


def test_noise_can_be_given():
    noise = torch.randn(MU.shape, generator=torch.Generator().manual_seed(0))
    z = objective.reparameterize(MU, LOGVAR, noise)
    close(z, MU + (LOGVAR / 2).exp() * noise)


def test_a_sum_is_finer_than_bf16_and_as_fine_as_double():
    ones = torch.ones(2, 785, dtype=torch.bfloat16)  # it has 784 and 788
    rough = objective.squared_error(ones, 0 * ones)
    assert rough.dtype == torch.float32
    assert rough.tolist() == [785, 785]
    tenths = torch.full((2, 784), 0.1, dtype=torch.float64)
    close(objective.squared_error(tenths, 0 * tenths), [7.84] * 2, 1e-12)


# --- noise and binary values


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_noise_is_like_the_tensor_that_it_is_for(dtype):
    like = torch.zeros(2, 3, dtype=dtype)
    with untouched_rng():
        for draw in (objective.normal_like, objective.uniform_like):
            a, b, c = (
                draw(like, torch.Generator().manual_seed(seed))
                for seed in (0, 0, 1)
            )
            assert (a.shape, a.dtype) == (like.shape, dtype)
            assert torch.equal(a, b)
            assert not torch.equal(a, c)
    given = torch.randn(2, 3, dtype=torch.float64)
    assert torch.equal(objective.normal_like(like, given), given.to(dtype))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        expected = torch.randn(2, 3, dtype=dtype)
        torch.manual_seed(4)
        assert torch.equal(objective.normal_like(like), expected)
        torch.manual_seed(4)
        expected = torch.rand(2, 3, dtype=dtype)
        torch.manual_seed(4)
        assert torch.equal(objective.uniform_like(like), expected)


def test_noise_is_drawn_where_the_generator_is_and_used_where_it_is_needed():
    like = torch.zeros(2, 3, device="meta")
    for draw, name in (
        (objective.normal_like, "randn"),
        (objective.uniform_like, "rand"),
        (objective.binarize, "empty"),
    ):
        for source, device in ((torch.Generator(), "cpu"), (None, "meta")):
            with patch.object(torch, name, wraps=getattr(torch, name)) as made:
                assert draw(like, source).device.type == "meta"
            assert made.call_args_list[0].kwargs["device"].type == device
    assert objective.normal_like(like, torch.ones(2, 3)).device.type == "meta"


@pytest.mark.parametrize("shape", [(), (1,), (7,), (4, 3, 5), (0, 5)])
def test_any_shape_is_binarised_and_certain_values_stay(shape):
    for dtype, one in ((torch.float32, 1), (torch.uint8, 255)):
        for value, expected in ((0, 0), (one, 1)):
            x = torch.full(shape, value, dtype=dtype)
            kept = x.clone()
            found = objective.binarize(x, torch.Generator())
            assert (found.shape, found.dtype) == (x.shape, dtype)
            assert (found == expected).all()
            assert torch.equal(x, kept)


@pytest.mark.parametrize("p", [0.001, 0.3, 0.5, 0.999])
def test_a_binary_value_has_its_probability(p):
    draw = torch.Generator().manual_seed(0)
    for x in (
        torch.full((400_000,), p),
        torch.full((400_000,), p, dtype=torch.float64),
        torch.full((400_000,), round(255 * p), dtype=torch.uint8),
    ):
        chance = round(255 * p) / 255 if x.dtype == torch.uint8 else p
        found = objective.binarize(x, draw)
        error = (chance * (1 - chance) / 400_000) ** 0.5
        assert abs(found.double().mean() - chance) <= 4 * error + 1e-5


def test_of_all_draws_of_16_bits_as_many_are_1_as_there_should(monkeypatch):
    every = torch.arange(-(2**15), 2**15, dtype=torch.int16)
    monkeypatch.setattr(
        torch.Tensor,
        "random_",
        lambda bits, *_, **__: bits.copy_(every.view(torch.int64)),
    )
    for k in (0, 1, 2, 30_000, 65_533, 65_534):
        x = torch.full((65_536,), k / 65_535)
        assert objective.binarize(x).sum() == k
    assert objective.binarize(torch.ones(65_536)).all()


def test_bytes_and_the_numbers_they_stand_for_are_drawn_alike():
    pixels = torch.arange(256, dtype=torch.uint8).repeat(50)
    a = objective.binarize(pixels, torch.Generator().manual_seed(0))
    b = objective.binarize(
        pixels.float() / 255, torch.Generator().manual_seed(0)
    )
    assert torch.equal(a.float(), b)


def test_effective_beta_takes_numbers_of_numpy():
    found = objective.effective_beta(
        weight=np.float32(0.5), n_pixels=np.int64(9), pixels="mean"
    )
    assert found == {"beta": 4.5, "scale": 9}
    assert all(type(v) in (int, float) for v in found.values())
