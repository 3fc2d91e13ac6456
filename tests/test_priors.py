"""The prior of a code is that of torch.distributions, or one of your own."""

import copy
import math
from types import SimpleNamespace
from unittest.mock import patch

import pytest
import torch
from conftest import close, refused, same, untouched_rng
from torch import distributions as d
from torch import nn

from minivae import (
    CVAE,
    VAE,
    CheckpointError,
    Table,
    TrainConfig,
    evaluate,
    fit,
    load_model,
    log_likelihood,
    sample,
)
from minivae.evaluate import log_evidence, log_joint, split_kl
from minivae.objective import gaussian_log_density, reparameterize
from minivae.priors import (
    PRIORS,
    ConditionalNormal,
    Mixture,
    StandardNormal,
    Vamp,
)

CONFIG = TrainConfig(epochs=3, batch_size=16, warmup=5, device="cpu")


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# --- the standard normal distribution


@pytest.mark.parametrize("lead", [(5,), (4, 5)])
def test_the_standard_normal_is_that_of_torch(lead):
    prior, standard = StandardNormal(), d.Normal(0.0, 1.0)
    mu, logvar, z = (draw(*lead, 3, seed=s) for s in range(3))
    q = d.Normal(mu, (logvar / 2).exp())
    found = prior.kl(mu, logvar, z)
    close(found, d.kl_divergence(q, standard).sum(-1), 1e-4)
    assert prior.exact
    # a closed form does not look at the code
    assert torch.equal(found, prior.kl(mu, logvar, 5 * z))
    close(prior.log_prob(z), standard.log_prob(z).sum(-1))
    told = draw(5, 2)
    assert torch.equal(prior.kl(mu, logvar, z, told), found)
    assert torch.equal(prior.log_prob(z, told), prior.log_prob(z))
    assert not list(prior.parameters())


def test_codes_of_the_standard_normal_are_a_function_of_the_generator():
    prior = StandardNormal()
    with untouched_rng():
        z, again, other = (
            prior.sample(20_000, 3, torch.Generator().manual_seed(s))
            for s in (0, 0, 1)
        )
    assert torch.equal(z, again)
    assert not torch.equal(z, other)
    assert z.shape == (20_000, 3)
    assert (z.mean(0).abs() < 4 / 20_000**0.5).all()
    gap = z.T.cov() - torch.eye(3)
    assert (gap.abs() < 4 * (2 / 20_000) ** 0.5).all()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        plain = prior.sample(2, 3)
        torch.manual_seed(3)
        assert torch.equal(plain, torch.randn(2, 3))


def test_codes_are_drawn_where_the_generator_is():
    with patch.object(torch, "randn") as source:
        StandardNormal().sample(2, 3, SimpleNamespace(device="meta"))
    assert source.call_args.kwargs["device"] == "meta"


def test_a_name_stands_for_a_prior():
    kinds = {
        "standard": StandardNormal,
        "mixture": Mixture,
        "vamp": Vamp,
        "conditional": ConditionalNormal,
    }
    assert tuple(kinds) == PRIORS
    for name, kind in kinds.items():
        model = (CVAE if name == "conditional" else VAE)(2, prior=name)
        assert type(model.prior) is kind
        assert kind.name == model.options["prior"] == name
    assert type(VAE(2).prior) is StandardNormal
    with refused("prior: conditional is p(z|y)"):
        VAE(2, prior="conditional")
    with refused("prior: vamp asks the encoder"):
        CVAE(2, prior="vamp")
    for wrong in ("flat", None, 5, StandardNormal, nn.Linear(1, 1)):
        with refused("prior:"):
            VAE(2, prior=wrong)


# --- priors that are learned


def moved(prior, seed=3):
    """The prior with other weights than those it starts with."""
    with torch.no_grad():
        for i, weight in enumerate(prior.parameters()):
            step = draw(*weight.shape, seed=seed + i)
            weight += step * weight.shape[-1] ** -0.5
    return prior


def as_torch(mu, logvar):
    return d.Independent(d.Normal(mu, (logvar / 2).exp()), 1)


@pytest.mark.parametrize("hidden", [(), (8,)])
def test_the_conditional_prior_is_that_of_torch(hidden):
    prior = moved(ConditionalNormal(3, 4, hidden))
    told = draw(5, 4)
    mu, logvar = prior.network(told).chunk(2, 1)
    p = as_torch(mu, logvar)
    q_mu, q_logvar, z = (draw(2, 5, 3, seed=s) for s in range(3))
    q = as_torch(q_mu, q_logvar)
    assert prior.exact
    kl = prior.kl(q_mu, q_logvar, z, told)
    close(kl, d.kl_divergence(q, p), 1e-4)
    each = prior.kl_each(q_mu, q_logvar, told)
    by_hand = d.kl_divergence(q.base_dist, p.base_dist)
    close(each, by_hand, 1e-4)
    close(prior.log_prob(z, told), p.log_prob(z), 1e-4)
    many = told[:1].expand(50_000, 4)
    codes = prior.sample(50_000, 3, torch.Generator().manual_seed(0), many)
    assert not codes.requires_grad
    gap = (codes.mean(0) - mu[0]) / (logvar[0] / 2).exp()
    assert (gap.abs() < 4 / 50_000**0.5).all()
    ratio = codes.std(0) / (logvar[0] / 2).exp()
    assert ((ratio - 1).abs() < 0.02).all()


def test_a_conditional_prior_begins_close_to_the_standard_one():
    model = CVAE(4, prior="conditional")
    mu, logvar = model.prior.moments(torch.eye(10))
    assert mu.abs().max() < 0.05 and logvar.abs().max() < 0.05
    assert (mu != mu[0]).any()


def test_a_mixture_is_that_of_torch():
    prior = moved(Mixture(2, n_components=4))
    p = d.MixtureSameFamily(
        d.Categorical(logits=prior.logits), as_torch(prior.mu, prior.logvar)
    )
    z = draw(3, 5, 2)
    close(prior.log_prob(z), p.log_prob(z), 1e-4)
    codes = prior.sample(50_000, 2, torch.Generator().manual_seed(0))
    assert not codes.requires_grad
    error = 4 * (p.variance / 50_000).sqrt()
    assert ((codes.mean(0) - p.mean).abs() < error).all()
    close(codes.var(0), p.variance, 0.05)


def test_the_kl_to_a_mixture_is_that_of_quadrature():
    prior = moved(Mixture(1, n_components=3))
    assert not prior.exact and not hasattr(prior, "kl_each")
    mu, logvar = torch.tensor([0.4]), torch.tensor([-1.0])
    z = torch.linspace(-12, 12, 4001)[:, None]
    log_q = gaussian_log_density(z, mu, logvar)
    integrand = log_q.exp() * (log_q - prior.log_prob(z))
    exact = torch.trapezoid(integrand, z[:, 0]).item()
    z = reparameterize(
        *(p.expand(50_000, 1) for p in (mu, logvar)), draw(50_000, 1)
    )
    found = prior.kl(mu, logvar, z)
    assert found.shape == (50_000,)
    assert abs(found.mean() - exact) < 4 * found.std() / 50_000**0.5


@pytest.mark.parametrize("support", [None, (0.0, 1.0), (-1.0, 3.0)])
def test_a_vamp_prior_is_the_mixture_of_what_the_encoder_says(support):
    encoder = nn.Linear(6, 4)
    prior = moved(
        Vamp(lambda x: encoder(x).chunk(2, 1), (6,), support, n_components=5)
    )
    rows = prior.pseudo_inputs()
    if support is not None:
        low, high = support
        assert low <= rows.min() < rows.max() <= high
    p = d.MixtureSameFamily(
        d.Categorical(logits=torch.zeros(5)),
        as_torch(*encoder(rows).chunk(2, 1)),
    )
    z = draw(7, 2)
    close(prior.log_prob(z), p.log_prob(z), 1e-4)
    prior.log_prob(z).sum().backward()
    assert prior.inputs.grad.abs().max() > 0
    assert encoder.weight.grad.abs().max() > 0


def test_a_copied_model_asks_its_own_encoder():
    model = VAE(2, (8,), shape=(6,), prior="vamp")
    other = copy.deepcopy(model)
    with torch.no_grad():
        for weight in other.encoder.parameters():
            weight += 1
    z = draw(3, 2)
    assert (other.prior.log_prob(z) != model.prior.log_prob(z)).all()
    # and an encoder is not saved twice
    assert set(model.state_dict()) - set(VAE(2).state_dict()) == {
        "prior.inputs"
    }


def test_what_a_prior_begins_with_is_a_function_of_the_seed():
    for name in ("mixture", "vamp"):
        with untouched_rng():
            first, again, other = (
                VAE(2, prior=name, seed=s).prior for s in (1, 1, 2)
            )
        assert same(first.state_dict(), again.state_dict())
        assert not same(first.state_dict(), other.state_dict())


def test_a_mixture_finds_two_clusters_that_a_standard_normal_cannot_be():
    x = torch.cat([draw(500, 1) * 0.1 - 2, draw(500, 1, seed=1) * 0.1 + 2])
    config = TrainConfig(epochs=60, batch_size=100, lr=0.01, device="cpu")
    found = {}
    for name in ("standard", "mixture"):
        model = VAE(1, (16,), "gaussian", sigma=0.1, shape=(1,), prior=name)
        fit(model, Table(x), config, progress=False)
        z = model.prior.sample(2000, 1, torch.Generator().manual_seed(0))
        with torch.no_grad():
            drawn = model.decode_mean(z)
        found[name] = ((drawn.abs() - 2).abs() > 0.6).float().mean().item()
    # the share of new rows that lie between the clusters or beyond them
    assert found["mixture"] < 0.5 * found["standard"]


# --- priors of your own


class Wide:
    """N(0, 4 I): of no class of ours, with a closed form."""

    def kl(self, mu, logvar, z, condition=None):
        q = d.Normal(mu, (logvar / 2).exp())
        return d.kl_divergence(q, d.Normal(0.0, 2.0)).sum(-1)

    def log_prob(self, z, condition=None):
        return d.Normal(0.0, 2.0).log_prob(z).sum(-1)

    def sample(self, n, n_latent, generator=None, condition=None):
        return 2 * torch.randn(n, n_latent, generator=generator)


class Two(nn.Module):
    """Two normal distributions whose places are learned; the KL is drawn."""

    def __init__(self):
        super().__init__()
        self.places = nn.Parameter(torch.tensor([-1.0, 2.0]))

    def kl(self, mu, logvar, z, condition=None):
        return gaussian_log_density(z, mu, logvar) - self.log_prob(z)

    def log_prob(self, z, condition=None):
        each = d.Normal(self.places, 1.0).log_prob(z[..., None])  # (..., L, 2)
        return (each.logsumexp(-1) - math.log(2)).sum(-1)

    def sample(self, n, n_latent, generator=None, condition=None):
        which = torch.rand(n, n_latent, generator=generator) < 0.5
        place = torch.where(which, *self.places.detach())
        return place + torch.randn(n, n_latent, generator=generator)


class Conditional(nn.Module):
    """N(m(y), I): each condition has its own place, which is learned."""

    def __init__(self, n_condition):
        super().__init__()
        self.place = nn.Linear(n_condition, 1, bias=False)
        with torch.no_grad():
            self.place.weight[:] = torch.linspace(-0.9, 1.2, n_condition)

    def kl(self, mu, logvar, z, condition):
        q = d.Normal(mu, (logvar / 2).exp())
        p = d.Normal(self.place(condition), 1.0)
        return d.kl_divergence(q, p).sum(-1)

    def log_prob(self, z, condition):
        return d.Normal(self.place(condition), 1.0).log_prob(z).sum(-1)

    def sample(self, n, n_latent, generator, condition):
        noise = torch.randn(n, n_latent, generator=generator)
        return self.place(condition) + noise


CASES = {
    "wide": (VAE, Wide, {}),
    "two": (VAE, Two, {}),
    "label": (CVAE, lambda: Conditional(3), {"n_classes": 3}),
    "conditions": (CVAE, lambda: Conditional(6), {"conditions": (3, 1)}),
    "named mixture": (VAE, lambda: "mixture", {}),
    "named vamp": (VAE, lambda: "vamp", {}),
    "named label": (CVAE, lambda: "conditional", {"n_classes": 3}),
    "named conditions": (
        CVAE,
        lambda: "conditional",
        {"conditions": (3, 1)},
    ),
}
every = pytest.mark.parametrize("case", CASES)


def build(case):
    kind, prior, options = CASES[case]
    options = {"likelihood": "gaussian", "shape": (3,)} | options
    model = kind(1, (8,), prior=prior(), **options)
    if case.startswith("named"):
        moved(model.prior)
    return model


def rows(case, n=60):
    x, label = 2 * draw(n, 3), torch.arange(n) % 3
    if case.endswith("label"):
        return Table(x, label)
    if case.endswith("conditions"):
        told = torch.stack([label.float(), draw(n, seed=1)], 1)
        told[::4, 1] = told[::5, 0] = torch.nan
        return Table(x, told)
    return Table(x)


def with_standard_prior(model):
    plain = type(model)(**model.options | {"prior": "standard"})
    plain.load_state_dict(model.state_dict(), strict=False)
    return plain


@every
def test_the_loss_holds_the_kl_to_the_prior(case):
    model, data = build(case), rows(case, 9)
    x, y = data.x(), data.y
    terms = model(x, y, torch.Generator().manual_seed(0))
    mu, logvar = model.encode(x, y)
    z = reparameterize(mu, logvar, torch.Generator().manual_seed(0))
    told = model.condition_vector(y, 9)
    close(terms["kl"], model.prior.kl(mu, logvar, z, told))
    close(terms["loss"], terms["reconstruction"] + terms["kl"])
    plain = with_standard_prior(model)
    other = plain(x, y, torch.Generator().manual_seed(0))
    close(terms["reconstruction"], other["reconstruction"])
    # whoever is told nothing at all has the standard one
    assert (terms["kl"] != other["kl"])[1:].all()
    terms["loss"].sum().backward()
    for name, weight in model.named_parameters():
        assert weight.grad.abs().max() > 0, name


@every
def test_a_prior_of_your_own_works_through_the_whole_package(case, tmp_path):
    model, data, path = build(case), rows(case), tmp_path / "own.pt"
    fit(model, data, CONFIG, path, progress=False)
    scores = evaluate(model, data)
    # the evidence on a grid is that of its prior
    exact = log_evidence(model, data.x(), data.y, limit=9.0)
    z = torch.linspace(-9, 9, 2001)[:, None]
    for i in (0, 1, 5):
        y = None if data.y is None else data.y[i : i + 1]
        many = None if y is None else y.expand(2001, *y.shape[1:])
        told = model.condition_vector(many, 2001)
        with torch.no_grad():
            prior = model.prior.log_prob(z, told)
            p = d.Normal(
                model.decode(z, many), model.likelihood.log_sigma.exp()
            )
            p = p.log_prob(data.x()[i]).sum(1) + prior
            table = log_joint(model, data.x()[i : i + 1], z, y)[:, 0]
        torch.testing.assert_close(table, p, rtol=1e-4, atol=1e-4)
        whole = torch.trapezoid(p.double().exp(), z[:, 0].double()).log()
        close(exact[i], whole, 1e-3)
    assert scores["elbo"] < exact.mean() + 0.05
    close(log_likelihood(model, data, 2000), exact.mean().item(), 3e-2)
    # the parts of its KL add up, for many codes, to the KL
    parts = split_kl(model, data, 200)
    many = [evaluate(model, data, seed=s)["kl"] for s in range(100)]
    assert abs(parts["kl"] - sum(many) / 100) < 0.04
    standard = split_kl(with_standard_prior(model), data)
    assert abs(parts["kl"] - standard["kl"]) > 0.05
    # codes come from it
    if case == "label":
        z = sampled(model, 5000, torch.full((5000,), 2))
        place = model.prior.place.weight[0, 2].item()
        assert abs(z.mean() - place) < 4 / 5000**0.5
    elif case == "wide":
        assert abs(sampled(model, 5000).std() - 2) < 0.1
    y = {"label": 2, "conditions": (2, None)}.get(case.split()[-1])
    assert sample(model, 4, y).shape == (4, 3)
    if case.startswith("named"):
        mine = load_model(path)
    else:
        # a file cannot hold a class, so it has to be given
        with refused(path, CheckpointError):
            load_model(path)
        mine = load_model(path, model=build(case))
    assert same(mine.state_dict(), model.state_dict())
    assert evaluate(mine, data) == scores


def sampled(model, n, y=None):
    """The codes from which new rows are drawn."""
    seen = []
    hook = model.decoder[0].register_forward_pre_hook(
        lambda _, v: seen.append(v[0][:, :1])
    )
    sample(model, n, y)
    hook.remove()
    (z,) = seen
    return z


def test_what_a_prior_learns_is_part_of_the_model(tmp_path):
    model, data = build("two"), rows("two")
    before = model.prior.places.clone()
    fit(model, data, CONFIG, progress=False)
    assert (model.prior.places != before).all()
    assert "prior.places" in model.state_dict()
