"""Every likelihood is that of torch.distributions, or of its formula."""

import inspect
import math
from pathlib import Path

import pytest
import torch
from conftest import close, refused, same, untouched_rng
from torch import distributions as d
from torch import nn

from minivae import (
    VAE,
    CheckpointError,
    Images,
    Table,
    TrainConfig,
    evaluate,
    fit,
    likelihoods,
    load_model,
    log_likelihood,
    reconstruct,
    sample,
)
from minivae.evaluate import log_evidence, log_importance_weights
from minivae.likelihoods import (
    LIKELIHOODS,
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    DiscretizedLogistic,
    Gaussian,
    GreyBernoulli,
    Likelihood,
    make_likelihood,
    sum_rows,
)
from minivae.objective import importance_bound

SHAPE = (2, 3)  # of a row
SIGMAS = torch.tensor([[0.1, 0.5, 1.0], [2.0, 3.0, 0.7]])


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator)


def learned():
    found = Gaussian()
    nn.init.constant_(found.log_sigma, math.log(0.6))
    return found


def of_each():
    found = Gaussian(shape=SHAPE)
    with torch.no_grad():
        found.log_sigma.copy_(SIGMAS.log())
    return found


class Levels:
    """A distribution over k / (n - 1), by its masses (..., n)."""

    def __init__(self, masses):
        n = masses.shape[-1]
        self.masses, self.levels = masses, torch.arange(n) / (n - 1)
        self.mean = (self.masses * self.levels).sum(-1)
        spread = (self.levels - self.mean[..., None]).square()
        self.variance = (self.masses * spread).sum(-1)

    def log_prob(self, x):
        level = (x * (len(self.levels) - 1)).round().long()
        level = level.expand(self.masses.shape[:-1])[..., None]
        return self.masses.gather(-1, level)[..., 0].log()


def logistic(params, n=256):
    """The mass of a logistic between the middles of the levels."""
    mean, log_scale = params.double().unbind(-1)
    edges = (torch.arange(n - 1).double() + 0.5) / (n - 1)
    scaled = (edges - mean[..., None]) / log_scale.exp()[..., None]
    below = scaled.sigmoid()
    zero, one = torch.zeros_like(below[..., :1]), torch.ones(1).double()
    below = torch.cat([zero, below, one.expand_as(zero)], -1)
    return Levels(below.diff(dim=-1))


# name -> a likelihood, and what it should be for given params
CASES = {
    "bernoulli": (Bernoulli, lambda p: d.Bernoulli(logits=p)),
    "grey": (GreyBernoulli, lambda p: d.Bernoulli(logits=p)),
    "fixed": (lambda: Gaussian(0.3), lambda p: d.Normal(p, 0.3)),
    "learned": (learned, lambda p: d.Normal(p, 0.6)),
    "of each": (of_each, lambda p: d.Normal(p, SIGMAS)),
    "continuous": (
        ContinuousBernoulli,
        lambda p: d.ContinuousBernoulli(logits=p.double()),
    ),
    "logistic": (DiscretizedLogistic, logistic),
    "four levels": (
        lambda: DiscretizedLogistic(4),
        lambda p: logistic(p, 4),
    ),
    "categorical": (
        lambda: Categorical(5),
        lambda p: Levels(p.double().softmax(-1)),
    ),
    "pixels": (Categorical, lambda p: Levels(p.double().softmax(-1))),
}
every = pytest.mark.parametrize("case", CASES)


def build(case):
    return CASES[case][0]()


def some_params(likelihood, *lead, seed=1):
    """What a decoder may emit for rows of `SHAPE`."""
    n = likelihood.n_params
    params = draw(*lead, *SHAPE, *([n] if n > 1 else []), seed=seed)
    if isinstance(likelihood, DiscretizedLogistic):
        params = params * torch.tensor([0.3, 1.0]) + torch.tensor([0.5, -2.0])
    return params


def some_rows(likelihood, n, seed=2):
    """Rows of `SHAPE` such as the likelihood may score."""
    x = draw(n, *SHAPE, seed=seed)
    if likelihood.support is None:
        return 2 * x
    steps = getattr(likelihood, "n_levels", 0) - 1
    if isinstance(likelihood, Bernoulli):
        steps = 1
    x = (1.5 * x).sigmoid()
    return x if steps < 0 else (x * steps).round() / steps


def test_every_kind_is_tried_and_has_a_name():
    kinds = {
        value
        for _, value in inspect.getmembers(likelihoods, inspect.isclass)
        if issubclass(value, Likelihood) and value is not Likelihood
    }
    assert {type(build(case)) for case in CASES} == kinds
    assert set(LIKELIHOODS.values()) == kinds
    for kind in kinds:
        assert LIKELIHOODS[kind.name] is kind
        assert type(make_likelihood(kind.name, (4,))) is kind
    # as the field writes it, here and there
    assert LIKELIHOODS["discretised_logistic"] is DiscretizedLogistic


@every
@pytest.mark.parametrize("lead", [(), (4,), (4, 3)])
def test_nats_are_those_of_the_distribution(case, lead):
    likelihood = build(case)
    x, params = some_rows(likelihood, 7), some_params(likelihood, *lead, 7)
    found = likelihood.log_prob(x, params)
    assert found.shape == (*lead, 7)
    with torch.no_grad():
        exact = CASES[case][1](params).log_prob(x).double().sum((-1, -2))
    close(found.double().detach(), exact, 1e-4)


@every
@pytest.mark.parametrize("lead", [(), (4,)])
def test_means_are_those_of_the_distribution(case, lead):
    likelihood = build(case)
    params = some_params(likelihood, *lead, 7)
    found = likelihood.mean(params)
    assert found.shape == (*lead, 7, *SHAPE)
    exact = CASES[case][1](params).mean
    torch.testing.assert_close(found, exact.float(), rtol=1e-4, atol=1e-5)


@every
def test_samples_have_mean_and_variance_of_the_distribution(case):
    n, likelihood = 20_000, build(case)
    params = some_params(likelihood, 1).expand(
        n, *([-1] * (2 + (likelihood.n_params > 1)))
    )
    noise = torch.Generator().manual_seed(3)
    with untouched_rng(), torch.no_grad():
        x = likelihood.sample(params, noise)
        again = likelihood.sample(params, torch.Generator().manual_seed(3))
    assert torch.equal(x, again)
    assert x.shape == (n, *SHAPE)
    assert len(x.flatten(1).unique(dim=0)) > 10  # no two share their noise
    exact = CASES[case][1](params[:1])
    error = (exact.variance[0] / n).sqrt()
    assert ((x.mean(0) - exact.mean[0]).abs() < 4 * error).all()
    ratio = x.double().var(0) / exact.variance[0]
    assert (ratio - 1).abs().max() < 0.1
    if likelihood.support is not None:
        assert 0 <= x.min() < x.max() <= 1
        assert likelihood.log_prob(x, params).isfinite().all()
    more = likelihood.sample(params[:6].unflatten(0, (2, 3)), noise)
    assert more.shape == (2, 3, *SHAPE)


@pytest.mark.parametrize(
    "case", ["logistic", "four levels", "categorical", "pixels"]
)
def test_levels_are_what_the_data_hold(case):
    likelihood = build(case)
    steps = likelihood.n_levels - 1
    params = some_params(likelihood, 3000)
    x = likelihood.sample(params, torch.Generator().manual_seed(0))
    assert torch.equal((x * steps).round() / steps, x)
    assert len(x.unique()) > min(steps, 100)


@pytest.mark.parametrize("case", ["logistic", "four levels", "categorical"])
def test_the_masses_of_all_levels_sum_to_one(case):
    likelihood = build(case)
    n = likelihood.n_levels
    levels = torch.arange(n)[:, None, None] / (n - 1)  # (n, 1, 1)
    params = some_params(likelihood, 40).flatten(0, 2)[:, None, None]
    if n != 5:  # far outside, and far too wide or thin
        extreme = torch.tensor([[-3, -7], [4, -7], [0.5, 5], [0.3, -20.0]])
        params = torch.cat([params, extreme[:, None, None]])
    params = params[:, None].expand(-1, n, *params.shape[1:])
    mass = likelihood.log_prob(levels, params).double().exp()
    close(mass.sum(1), torch.ones(len(mass)), 1e-4)


def test_a_binary_value_has_two_masses_and_a_pixel_a_density():
    logits = draw(50, 1, 1)
    x = torch.tensor([0.0, 1.0])[:, None, None]
    mass = Bernoulli().log_prob(x, logits[:, None].expand(-1, 2, 1, 1)).exp()
    close(mass.sum(1), torch.ones(50))
    x = torch.linspace(0, 1, 2001)[:, None, None]
    logits = torch.tensor([-30, -3, -0.2, -0.05, 0, 1e-4, 0.11, 5, 40.0])
    params = logits[:, None, None, None].expand(-1, 2001, 1, 1)
    density = ContinuousBernoulli().log_prob(x, params).double().exp()
    total = torch.trapezoid(density, x[:, 0, 0].double(), dim=1)
    close(total, torch.ones(9), 1e-3)


NEAR = torch.tensor(
    [0.0, 1e-8, 1e-4, 0.01, 0.09, 0.0999, 0.1, 0.1001, 0.11, 0.5, 3, 30.0]
)
NEAR = torch.cat([NEAR, -NEAR])


@pytest.mark.parametrize(
    "dtype, error, of_slope",
    [(torch.float32, 1e-5, 1e-4), (torch.float64, 1e-9, 1e-7)],
)
def test_the_continuous_bernoulli_is_smooth_around_a_logit_of_zero(
    dtype, error, of_slope
):
    exact = NEAR.double()
    # log of tanh(l / 2) / l and its mean, in double precision and by series
    small = exact.abs() < 1e-3
    safe = exact.masked_fill(small, 1.0)
    log_integral = torch.where(
        small,
        -math.log(2) - exact.square() / 12,
        ((safe / 2).tanh() / safe).log(),
    )
    mean = torch.where(
        small, 0.5 + exact / 12, 1 / -torch.expm1(-safe) - 1 / safe
    )
    likelihood, x = ContinuousBernoulli(), torch.full((24, 1), 0.3).to(dtype)
    logits = NEAR[:, None].to(dtype, copy=True).requires_grad_()
    found = likelihood.log_prob(x, logits)
    plain = x[:, 0].double() * exact - nn.functional.softplus(exact)
    torch.testing.assert_close(
        found.double(), plain - log_integral, rtol=0, atol=error
    )
    torch.testing.assert_close(
        likelihood.mean(logits)[:, 0].double(), mean, rtol=0, atol=error
    )
    # the slope of log p is x - mean, as for every exponential family
    (slope,) = torch.autograd.grad(found.sum(), logits)
    torch.testing.assert_close(
        slope[:, 0].double(), 0.3 - mean, rtol=0, atol=of_slope
    )


EXTREME = torch.tensor([0.0, 1e-30, 0.1, 7, 88, 1000, 1e4])
EXTREME = torch.cat([EXTREME, -EXTREME])


@every
def test_gradients_are_finite_at_extreme_params(case):
    likelihood = build(case)
    n = likelihood.n_params
    grid = EXTREME[:, None]
    if n > 1:
        pairs = torch.cartesian_prod(EXTREME, EXTREME)
        grid = torch.zeros(len(pairs), 1, n)
        grid[:, 0, :2] = pairs
    if case == "of each":
        likelihood = Gaussian(shape=(1,))
    for value in (0.0, 1.0, 0.2):
        steps = getattr(likelihood, "n_levels", 256) - 1
        x = torch.full((len(grid), 1), round(value * steps) / steps)
        if case == "bernoulli":
            x = x.round()
        params = grid.clone().requires_grad_()
        nats = likelihood.log_prob(x, params)
        assert nats.isfinite().all()
        if case == "bernoulli" or hasattr(likelihood, "n_levels"):
            assert (nats <= 1e-5).all()  # of a mass
        inputs = [params, *likelihood.parameters()]
        for slope in torch.autograd.grad(nats.sum(), inputs):
            assert slope.isfinite().all()
    with torch.no_grad():
        mean, drawn = likelihood.mean(grid), likelihood.sample(grid)
    assert mean.isfinite().all()
    assert drawn.isfinite().all()
    if likelihood.support is not None:
        for x in (mean, drawn):
            assert ((x >= 0) & (x <= 1)).all()


@every
def test_what_is_scored_is_what_the_data_are_unless_they_are_binary(case):
    likelihood, x = build(case), torch.rand(4000, *SHAPE)
    kept = x.clone()
    noise = torch.Generator().manual_seed(0)
    with untouched_rng():
        found = likelihood.prepare(x, noise)
    assert torch.equal(x, kept)
    if case != "bernoulli":
        assert torch.equal(found, x)
        return
    assert likelihood.binary
    assert set(found.unique().tolist()) == {0, 1}
    error = (x * (1 - x)).mean(0).div(4000).sqrt()
    assert ((found.mean(0) - x.mean(0)).abs() < 4 * error).all()
    assert torch.equal(likelihood.prepare(found, noise), found)


@pytest.mark.parametrize("case", ["bernoulli", "fixed", "learned", "of each"])
def test_all_pairs_are_scored_like_each_pair(case):
    likelihood = build(case)
    x, params = some_rows(likelihood, 7), some_params(likelihood, 5)
    found = likelihood.log_prob_of_pairs(x, params)
    assert found.shape == (5, 7)
    for g in range(5):
        one = likelihood.log_prob(x, params[g].expand(7, *SHAPE))
        torch.testing.assert_close(found[g], one, rtol=1e-5, atol=1e-4)


def test_kinds_without_a_way_to_score_all_pairs_do_not_claim_one():
    with_pairs = {
        case for case in CASES if hasattr(build(case), "log_prob_of_pairs")
    }
    assert with_pairs == {"bernoulli", "grey", "fixed", "learned", "of each"}


def test_nats_are_summed_over_whatever_a_row_is():
    for shape in ((4,), (2, 2), (1, 2, 2), (2, 1, 2, 3)):
        nats, x = draw(3, 5, *shape), torch.zeros(5, *shape)
        close(sum_rows(nats, x), nats.flatten(2).sum(2))
        for kind in (Bernoulli(), Gaussian(0.5), Categorical(3)):
            params = draw(3, 5, *shape, *([3] if kind.n_params > 1 else []))
            found = kind.log_prob(x, params)
            flat = kind.log_prob(
                x.flatten(1), params.flatten(2, 1 + len(shape))
            )
            close(found, flat)


# --- options


@pytest.mark.parametrize(
    "call, name",
    [
        (lambda: Gaussian(0), "sigma:"),
        (lambda: Gaussian(-1.0), "sigma:"),
        (lambda: Gaussian(math.inf), "sigma:"),
        (lambda: Gaussian("1"), "sigma:"),
        (lambda: Gaussian(0.5, (3,)), "sigma:"),
        (lambda: DiscretizedLogistic(1), "n_levels:"),
        (lambda: DiscretizedLogistic(2.5), "n_levels:"),
        (lambda: Categorical(1), "n_levels:"),
        (lambda: Categorical(None), "n_levels:"),
        (lambda: make_likelihood("poisson", (3,)), "likelihood:"),
        (lambda: make_likelihood("bernoulli", (3,), 0.5), "sigma:"),
        (lambda: make_likelihood("categorical", (3,), "each"), "sigma:"),
        (lambda: make_likelihood("gaussian", (3,), "all"), "sigma:"),
    ],
)
def test_wrong_options_are_refused(call, name):
    with refused(name, ValueError):
        call()


@pytest.mark.parametrize(
    "name", [n for n, k in LIKELIHOODS.items() if k.support]
)
@pytest.mark.parametrize("value", [-0.5, 1.5])
def test_values_out_of_the_support_are_refused(name, value):
    model = VAE(1, (), name, shape=(3,))
    with refused("x:"):
        model(torch.full((2, 3), value))


def test_a_sigma_beside_a_likelihood_of_your_own_is_refused():
    with refused("sigma:") as caught:
        VAE(1, (), Gaussian(), sigma=0.5, shape=(3,))
    assert "Gaussian(0.1)" in str(caught.value)


def test_a_sigma_is_fixed_or_learned_or_one_for_each_value():
    fixed, shared, each = (
        make_likelihood("gaussian", (2, 3), sigma)
        for sigma in (0.5, None, "each")
    )
    assert not list(fixed.parameters())
    close(fixed.log_sigma.exp(), 0.5)
    assert "log_sigma" in fixed.state_dict()
    assert shared.log_sigma.shape == ()
    assert each.log_sigma.shape == (2, 3)
    for likelihood in (shared, each):
        assert isinstance(likelihood.log_sigma, nn.Parameter)
    # each becomes the spread of its own column
    spread = torch.tensor([0.1, 1.0, 5.0])
    x = draw(500, 3) * spread
    model = VAE(1, (), "gaussian", sigma="each", shape=(3,))
    for weight in model.decoder.parameters():
        nn.init.zeros_(weight)
    sigma = model.likelihood.log_sigma
    adam = torch.optim.Adam([sigma], lr=0.1)
    for _ in range(150):
        adam.zero_grad()
        model(x)["loss"].mean().backward()
        adam.step()
    close(sigma.detach().exp(), x.square().mean(0).sqrt(), 1e-2)


# --- through a model


SIZES = {"n_latent": 1, "hidden": (8,), "shape": (3,)}
CONFIG = TrainConfig(epochs=3, batch_size=16, warmup=5, device="cpu")


@pytest.mark.parametrize("name", LIKELIHOODS)
@pytest.mark.parametrize("shape", [(3,), (1, 8, 4), (3, 4, 4)])
def test_every_kind_is_trained_scored_and_drawn(name, shape, tmp_path):
    model = VAE(**SIZES | {"shape": shape}, likelihood=name)
    x = draw(40, *shape).sigmoid()
    data = Table(x)
    if len(shape) == 3:
        data = Images((255 * x).round().byte())
    if name == "gaussian":
        data = Table(3 * x - 1)
    path = tmp_path / "vae.pt"
    before = evaluate(model, data)["elbo"]
    history = fit(model, data, CONFIG, path, progress=False)
    assert len(history) == 3
    scores = evaluate(model, data)
    assert scores["elbo"] > before
    assert log_likelihood(model, data, 50) > scores["elbo"] - 0.5
    rows = data.prepared(model.likelihood.prepare).x()[:5]
    exact = log_evidence(model, rows, n=200)
    with torch.no_grad():
        noise = torch.Generator().manual_seed(0)
        weights = log_importance_weights(model, rows, None, 3000, noise)
    assert (importance_bound(weights) - exact).abs().max() < 0.2
    again = load_model(path)
    assert same(again.state_dict(), model.state_dict())
    assert again.options == model.options
    seen = shape[1:] if shape[0] == 1 else shape
    for images in (sample(model, 40), reconstruct(model, data)):
        assert images.shape == (40, *seen)
    assert model.sample(4).shape == (4, *shape)


class Own(Likelihood):
    """The Laplace distribution, with a width that is learned."""

    name = "laplace"

    def __init__(self):
        super().__init__()
        self.log_width = nn.Parameter(torch.zeros(()))

    def _of(self, params):
        return d.Laplace(params, self.log_width.exp())

    def log_prob(self, x, params):
        return sum_rows(self._of(params).log_prob(x), x)

    def sample(self, params, generator=None):
        noise = torch.rand(params.shape, generator=generator)
        return self._of(params).icdf(noise.clamp(1e-6, 1 - 1e-6))


class Plain:
    """Counts of 0 to 4, of no class of ours: what is not needed is absent."""

    n_params = 5

    def log_prob(self, x, params):
        of = d.Categorical(logits=params)
        return sum_rows(of.log_prob(x.round()), x)

    def mean(self, params):
        return params.softmax(-1) @ torch.arange(5.0)

    def sample(self, params, generator=None):
        flat = params.softmax(-1).flatten(0, -2)
        found = torch.multinomial(flat, 1, generator=generator)
        return found.view(params.shape[:-1]).float()


@pytest.mark.parametrize("kind", [Own, Plain])
def test_a_likelihood_of_your_own_works_through_the_whole_package(
    kind, tmp_path
):
    x = 2 * draw(60, 3) if kind is Own else torch.arange(180).view(60, 3) % 5.0
    data, path = Table(x.float()), Path(tmp_path) / "own.pt"
    model = VAE(**SIZES, likelihood=kind())
    start = {k: v.clone() for k, v in model.state_dict().items()}
    before = evaluate(model, data)["elbo"]
    fit(model, data, CONFIG, path, progress=False)
    scores = evaluate(model, data)
    assert scores["elbo"] > before
    assert not same(start, model.state_dict())
    if kind is Own:
        assert model.likelihood.log_width != 0  # learned with the rest
    # its own evidence: the grid, and importance samples, agree
    exact = log_evidence(model, data.x()).mean().item()
    close(log_likelihood(model, data, 2000), exact, 2e-2)
    assert scores["elbo"] < exact + 0.1
    z = torch.linspace(-6, 6, 1001)[:, None]
    with torch.no_grad():
        params = model.decode(z)
        row = data.x()[:1].expand(1001, 3)
        p = model.likelihood.log_prob(row, params)
    p = (p + d.Normal(0.0, 1.0).log_prob(z[:, 0])).double().exp()
    integral = torch.trapezoid(p, z[:, 0].double()).log()
    close(log_evidence(model, data.x()[:1])[0], integral, 1e-3)
    for drawn in (sample(model, 9), reconstruct(model, data)[:9]):
        assert drawn.shape == (9, 3)
    drawn = model.sample(500, generator=torch.Generator().manual_seed(0))
    assert drawn.shape == (500, 3)
    assert model.likelihood.log_prob(drawn, model.decode(draw(500, 1))).mean()
    # a file cannot hold a class, so it has to be given
    with refused(path, CheckpointError) as caught:
        load_model(path)
    assert kind.__name__ in str(caught.value)
    assert "model=" in str(caught.value)
    mine = VAE(**SIZES, likelihood=kind())
    assert load_model(path, model=mine) is mine
    assert same(mine.state_dict(), model.state_dict())
    assert evaluate(mine, data) == scores
    # and a run goes on where it was stopped
    other = VAE(**SIZES, likelihood=kind())
    longer = TrainConfig(epochs=4, batch_size=16, warmup=5, device="cpu")
    assert len(fit(other, data, longer, path, progress=False)) == 4


def test_the_class_itself_is_refused():
    for wrong in (Own, Plain, nn.Linear(1, 1), 5, None):
        with refused("likelihood:"):
            VAE(**SIZES, likelihood=wrong)


def test_grey_pixels_are_scored_by_the_mean_over_their_draws():
    likelihood, params = GreyBernoulli(), draw(4, 5, *SHAPE)
    x = draw(5, *SHAPE, seed=3).sigmoid()
    found = likelihood.log_prob(x, params)
    cross = nn.functional.binary_cross_entropy_with_logits(
        params, x.expand_as(params), reduction="none"
    )
    close(found, -cross.sum((-1, -2)))
    # they are not drawn as 0 or 1, and not multiplied in half the bits
    assert torch.equal(likelihood.prepare(x, torch.Generator()), x)
    assert not likelihood.binary
