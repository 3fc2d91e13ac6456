"""A model that is told part of a picture scores and draws the rest."""

import json
import math

import numpy as np
import pytest
import torch
from conftest import close, refused, same
from torch import distributions as d

from minivae import (
    Images,
    PixelCVAE,
    TrainConfig,
    evaluate,
    fit,
    load_model,
    log_likelihood,
    sample,
)
from minivae.__main__ import main
from minivae.completion import complete, completion_likelihood, quadrants
from minivae.likelihoods import Gaussian
from minivae.toys import shapes

SHAPE = (1, 4, 6)
CONFIG = TrainConfig(epochs=2, batch_size=50, warmup=5, device="cpu")


def build(n_latent=2, **options):
    return PixelCVAE(n_latent, (8,), **{"shape": SHAPE} | options)


def pictures(n=7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, *SHAPE, generator=generator)


def partly(x, seed=1):
    """x with NaN at places of each picture's own."""
    chance = torch.rand(x.shape, generator=torch.Generator().manual_seed(seed))
    return x.masked_fill(chance < 0.4, torch.nan)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_quarters_are_those_of_the_paper():
    drawn = {
        0: ["......", "......", "......", "......"],
        1: ["......", "......", "###...", "###..."],
        2: ["###...", "###...", "###...", "###..."],
        3: ["######", "######", "###...", "###..."],
        4: ["######", "######", "######", "######"],
    }
    for n, rows in drawn.items():
        expected = torch.tensor([[c == "#" for c in row] for row in rows])
        assert torch.equal(quadrants((3, 4, 6), n)[2], expected)
    assert quadrants((5, 5), 1).sum() == 3 * 2  # halves of odd sides


@pytest.mark.parametrize("n_samples", [1, 4])
def test_the_loss_is_that_of_torch_over_what_is_not_given(n_samples):
    model, x = build(n_samples=n_samples), pictures()
    y = partly(x)
    terms = model(x, y, generator())
    told = torch.cat([y.flatten(1).nan_to_num(), (~y.isnan()).flatten(1)], 1)
    mu, logvar = model.encoder(x, told).chunk(2, 1)
    q = d.Normal(mu, (logvar / 2).exp())
    p_mu, p_logvar = model.prior.network(told).chunk(2, 1)
    p = d.Normal(p_mu, (p_logvar / 2).exp())
    lead = () if n_samples == 1 else (n_samples,)
    z = q.mean + q.stddev * torch.randn(*lead, 7, 2, generator=generator())
    flat = z.reshape(-1, 2)
    many = told.repeat(max(1, n_samples), 1)
    logits = model.decoder(flat, many).reshape(*lead, 7, 24)
    cross = torch.nn.functional.binary_cross_entropy_with_logits(
        logits, x.flatten(1).expand_as(logits), reduction="none"
    )
    cross = (cross * y.isnan().flatten(1)).sum(-1)
    if n_samples == 1:
        close(terms["reconstruction"], cross)
        close(terms["kl"], d.kl_divergence(q, p).sum(-1), 1e-3)
        close(terms["loss"], cross + terms["kl"])
    else:
        kl = (q.log_prob(z) - p.log_prob(z)).sum(-1)
        close(terms["loss"], -(-cross - kl).exp().mean(0).log(), 1e-4)


@pytest.mark.parametrize(
    "likelihood",
    ["bernoulli", "continuous_bernoulli", "discretized_logistic", "gaussian"],
)
def test_the_parts_of_a_picture_add_up_to_the_whole(likelihood):
    model, x, z = build(likelihood=likelihood), pictures(), torch.ones(3, 7, 2)
    y = partly(x)
    params = model.decode(z, y)
    found = model.log_likelihood(x, z, y)
    # what is given scored alone: the other pixels are left out one by one
    whole = model.likelihood.log_prob(x, params)
    rest = torch.zeros(3, 7)
    for row in range(7):
        for at in (~y[row].isnan()).nonzero().tolist():
            one = (slice(row, row + 1), *(slice(i, i + 1) for i in at))
            rest[:, row] += model.likelihood.log_prob(
                x[one], params[(slice(None), *one)]
            )[:, 0]
    torch.testing.assert_close(found, whole - rest, rtol=1e-4, atol=1e-4)


def test_what_is_given_has_no_loss_and_reaches_the_model():
    model, x = build(), pictures()
    everything = model(x, x, generator())
    assert everything["reconstruction"].tolist() == [0] * 7
    nothing = model(x, torch.full_like(x, torch.nan), generator())
    assert (nothing["reconstruction"] > 10).all()
    y = partly(x)
    z = torch.zeros(7, 2)
    before = model.decode(z, y)
    other = y + 0.1  # NaN stays
    assert ((model.decode(z, other) - before).abs().amax((1, 2, 3)) > 0).all()
    moments = model.prior.moments(model.condition_vector(y, 7))[0]
    changed = model.prior.moments(model.condition_vector(other, 7))[0]
    assert (moments != changed).all()
    # a black pixel that is given is not one that is unknown
    dark, unknown = torch.zeros(1, *SHAPE), torch.full((1, *SHAPE), torch.nan)
    assert (model.decode(z[:1], dark) != model.decode(z[:1], unknown)).any()


def test_training_draws_the_quarters_anew():
    model, x = build(given=(1, 3)), pictures(2000)
    y = model.hide(x, generator())
    assert torch.equal(y.nan_to_num(), x.where(~y.isnan(), 0))
    patterns, counts = y[:, 0].isnan().unique(dim=0, return_counts=True)
    wanted = torch.stack([~quadrants(SHAPE, n)[0] for n in (1, 3)])
    assert {tuple(p.flatten().tolist()) for p in patterns} == {
        tuple(p.flatten().tolist()) for p in wanted
    }
    assert (counts - 1000).abs().max() < 4 * 500**0.5
    assert not torch.equal(model.hide(x, generator(1)).isnan(), y.isnan())
    # labels of the data are no pictures: the quarters are drawn all the same
    terms = model(x, torch.zeros(2000, dtype=torch.long), generator())
    again = model(x, None, generator())
    assert same(terms, again)


def test_conditions_of_the_data_are_no_pictures():
    model = PixelCVAE(2, (8,), shape=(3, 32, 32))
    data = shapes(20)  # they have labels, and five conditions
    history = fit(model, data, CONFIG, progress=False)
    assert len(history) == 2
    x, noise = data.x(), generator()
    assert same(model(x, data.y, noise), model(x, None, generator()))
    assert completion_likelihood(model, data, 1, 3) < 0


def test_the_likelihood_of_a_completion_is_that_of_a_grid():
    model = build()
    with torch.no_grad():
        for i, weight in enumerate(model.parameters()):
            weight += 0.1 * torch.randn(weight.shape, generator=generator(i))
    data = Images((pictures(5)[:, 0] * 255).round().to(torch.uint8))
    x, exact = data.x(), []
    steps = torch.linspace(-8, 8, 201)
    grid = torch.cartesian_prod(steps, steps)
    for given in (1, 2, 3):
        hidden = ~quadrants(SHAPE, given)
        total = 0.0
        for row in x:
            y = row.masked_fill(hidden, torch.nan)[None]
            told = model.condition_vector(y, 1)
            mu, logvar = model.prior.network(told).chunk(2, 1)
            z = mu + (logvar / 2).exp() * grid
            with torch.no_grad():
                logits = model.decoder(z, told.expand(len(z), -1))
            target = row.flatten().expand_as(logits)
            cross = torch.nn.functional.binary_cross_entropy_with_logits(
                logits, target, reduction="none"
            )[:, hidden.flatten()].sum(1)
            weight = d.Normal(0.0, 1.0).log_prob(grid).sum(1).double()
            cell = 2 * math.log(16 / 200)
            total += (weight - cross.double()).logsumexp(0).item() + cell
        exact.append(total / 5)
        found = completion_likelihood(model, data, given, n_samples=20_000)
        assert abs(found - exact[-1]) < 0.02
        # with fewer codes it is a bound from below
        few = [
            completion_likelihood(model, data, given, n_samples=2, seed=s)
            for s in range(30)
        ]
        assert np.mean(few) < exact[-1]
    assert exact[0] < exact[1] < exact[2] < 0


def test_completions_keep_what_is_given_and_differ():
    model = build()
    with torch.no_grad():
        model.decoder[-1].weight *= 5
    y = partly(pictures())
    before = torch.get_rng_state()
    found = complete(model, y, n=4)
    assert torch.equal(torch.get_rng_state(), before)
    assert found.shape == (7, 4, *SHAPE)
    given = ~y.isnan()
    for i in range(4):
        assert torch.equal(found[:, i][given], y[given])
        assert not torch.equal(found[:, i], found[:, i - 1])
    assert found.min() >= 0 and found.max() <= 1
    assert torch.equal(complete(model, y, n=4), found)
    assert not torch.equal(complete(model, y, n=4, seed=1), found)
    # a picture is completed from its own code and its own pixels
    mean = model.decode_mean(torch.zeros(7, 2), y)
    assert (mean[~given] != found[:, 0][~given]).any()


def test_it_learns_to_complete_two_patterns():
    left, right = torch.zeros(SHAPE), torch.zeros(SHAPE)
    left[:, :, ::2], right[:, :, 1::2] = 1, 1  # even rows, or odd ones
    which = torch.arange(400) % 2
    images = torch.where(which[:, None, None] == 0, left[0], right[0])
    data = Images((images * 255).to(torch.uint8))
    model = build()
    config = TrainConfig(epochs=60, batch_size=50, lr=0.01, device="cpu")
    fit(model, data, config, progress=False)
    y = data.x()[:2].masked_fill(~quadrants(SHAPE, 1), torch.nan)
    found = complete(model, y, n=3)
    for i, pattern in enumerate((left, right)):
        assert (found[i] - pattern).abs().max() < 0.2


def test_it_comes_back_from_its_file(tmp_path, small):
    model, path = PixelCVAE(2, (8,), given=(2,), beta=0.5), tmp_path / "p.pt"
    fit(model, small, CONFIG, path, progress=False)
    again = load_model(path)
    assert type(again) is PixelCVAE and again.given == (2,)
    assert same(again.state_dict(), model.state_dict())
    assert evaluate(again, small) == evaluate(model, small)
    found = [completion_likelihood(m, small, 2, 5) for m in (model, again)]
    assert found[0] == found[1]


def test_what_it_cannot_do_is_said(small):
    model = build()
    for wrong in ((), (5,), (-1,), ("1",)):
        with refused("given"):
            build(given=wrong)
    with refused("given, shape"):
        PixelCVAE(2, shape=(24,))
    with refused("prior"):
        PixelCVAE(2, prior="mixture")
    with refused("y: expected pictures"):
        model.decode(torch.zeros(7, 2))
    full = PixelCVAE(2, (8,))
    with refused("y: expected pictures"):
        log_likelihood(full, small)
    with refused("y: expected pictures"):
        sample(full, 3)
    with refused("model"):
        complete(torch.nn.Linear(1, 1), pictures())
    x = torch.zeros(2, 1, 28, 28)
    for wrong in (x.byte(), x.numpy(), "x", x + 255, x + math.inf):
        with refused("y: expected"):
            complete(full, wrong)
    with refused("y: expected a picture for each of 2 rows"):
        full(x, x[:1])
    with refused("x: expected"):
        full(x, x[..., :5])
    # each pixel is scored by itself, so none can have a sigma of its own
    for likelihood in ("gaussian", Gaussian(shape=(1, 28, 28))):
        sigma = "each" if likelihood == "gaussian" else None
        with refused("likelihood:"):
            PixelCVAE(2, (8,), likelihood=likelihood, sigma=sigma)
    with refused("n_samples"):
        completion_likelihood(full, small, 1, n_samples=0)
    for wrong in (-1, 5, 1.5):
        with refused("given"):
            quadrants(SHAPE, wrong)


TRAIN = "train --data builtin --model cvae --n-latent 2 --hidden 16 --epochs 2"


def test_the_command_line_trains_completes_and_scores(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    words = f"{TRAIN} --condition pixels --checkpoint p.pt --device cpu"
    assert main(words.split()) == 0
    scores = {}
    for given in (1, 2, 3):
        words = f"evaluate --data builtin --checkpoint p.pt --given {given}"
        capsys.readouterr()
        assert main(f"{words} --samples 3 --json".split()) == 0
        scores[given] = json.loads(capsys.readouterr().out)
    nats = [scores[n]["negative_cll"] for n in (1, 2, 3)]
    assert nats[0] > nats[1] > nats[2] > 0
    model = load_model("p.pt")
    from minivae import load_digits

    test = load_digits("builtin", "test")
    close(nats[1], -completion_likelihood(model, test, 2, 3))
    words = "sample --data builtin --checkpoint p.pt --given 3 --n 4 --rows 5"
    assert main(f"{words} --seed 7 --out F.npy".split()) == 0
    found = np.load("F.npy")
    assert found.shape == (5, 4, 28, 28)
    x = test[:5].x()
    given = quadrants((28, 28), 3).numpy()
    assert (found[..., given] == x.numpy()[:, :, given]).all()
    y = x.masked_fill(~quadrants(model.shape, 3), torch.nan)
    assert (complete(model, y, 4, seed=7).numpy()[:, :, 0] == found).all()
    assert main(f"{words} --out F.png".split()) == 0


@pytest.mark.parametrize(
    "words, hint",
    [
        (f"{TRAIN} --given 1", "--given"),
        (f"{TRAIN} --condition pixels --prior mixture", "prior:"),
        (f"{TRAIN} --condition pixels --given 5", "given"),
        (f"{TRAIN} --condition pixels".replace("cvae", "vae"), "--condition"),
        ("evaluate --data builtin --checkpoint p.pt", "--given"),
        ("evaluate --data builtin --checkpoint p.pt --given 9", "given"),
        ("sample --data builtin --checkpoint p.pt --out a.npy", "--given"),
        ("sample --checkpoint vae.pt --given 1 --out a.npy", "--given"),
        ("evaluate --data builtin --checkpoint vae.pt --given 1", "--given"),
    ],
)
def test_the_command_line_says_what_is_missing(
    words, hint, tmp_path, monkeypatch, capsys
):
    from minivae import VAE, checkpoint
    from minivae.engine.run import describe

    monkeypatch.chdir(tmp_path)
    for name, model in (("p", PixelCVAE(2, (8,))), ("vae", VAE(2, (8,)))):
        state = {"model": describe(model), "weights": model.state_dict()}
        checkpoint.save(f"{name}.pt", state)
    assert main(words.split()) == 2
    assert capsys.readouterr().err.startswith(f"error: {hint}")
