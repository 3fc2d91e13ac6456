"""M2 is the sum over labels written out by hand, and reads few labels."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from conftest import close, refused, same, untouched_rng
from torch import distributions as d
from torch import nn

from minivae import (
    CVAE,
    M2,
    CheckpointError,
    Images,
    Table,
    TrainConfig,
    checkpoint,
    evaluate,
    few_labels,
    fit,
    load_model,
    sample,
)
from minivae.evaluate import log_evidence
from minivae.networks import ConvEncoder

C, L = 3, 2
SIZES = {"n_latent": L, "hidden": (8,), "shape": (6,), "conditions": (C,)}
CONFIG = TrainConfig(epochs=2, batch_size=64, warmup=5, device="cpu")
X = torch.rand(5, 6, generator=torch.Generator().manual_seed(0)).round()
Y = torch.tensor([[2.0], [math.nan], [0.0], [math.nan], [math.nan]])
NOISE = torch.randn(5, L, generator=torch.Generator().manual_seed(1))
GIVEN = ~Y.isnan()[:, 0]


def build(**options):
    """A model whose weights are far from those at the start."""
    model = M2(**SIZES | {"classifier": nn.Linear(6, C)} | options)
    source = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.5 * torch.randn(weight.shape, generator=source)
    return model


def bound_of_pair(model, x, y, noise):
    """log p(x|z, y), KL of z: one row, one label, by torch.distributions."""
    told = nn.functional.one_hot(torch.tensor(y), C).float()
    told = torch.cat([told, torch.ones(1)])[None]
    mu, logvar = model.encoder(x[None], told).chunk(2, -1)
    q = d.Normal(mu[0], (logvar[0] / 2).exp())
    z = q.mean + q.stddev * noise
    p = d.Bernoulli(logits=model.decoder(z[None], told)[0])
    kl = d.kl_divergence(q, d.Normal(0.0, 1.0)).sum()
    return p.log_prob(x).sum(), kl


@pytest.mark.parametrize("beta", [1.0, 0.5])
def test_the_loss_is_the_sum_over_labels_written_out(beta):
    model = build(beta=beta, alpha=7.0)
    terms = model(X, Y, NOISE)
    prior = d.Categorical(logits=torch.zeros(C))
    for i, (x, label) in enumerate(zip(X, Y[:, 0].tolist())):
        q = d.Categorical(logits=model.classifier(x[None])[0])
        pairs = [bound_of_pair(model, x, y, NOISE[i]) for y in range(C)]
        if math.isnan(label):
            # minus U(x) = sum_y q(y|x) (L(x, y) + log q(y|x))
            reconstruction = -sum(q.probs[y] * pairs[y][0] for y in range(C))
            kl = sum(q.probs[y] * pairs[y][1] for y in range(C))
            kl = kl + d.kl_divergence(q, prior)
            wrong = torch.tensor(0.0)
        else:
            y = torch.tensor(int(label))
            reconstruction, kl = -pairs[y][0], pairs[y][1]
            kl = kl - prior.log_prob(y)
            wrong = -q.log_prob(y)
        close(terms["reconstruction"][i], reconstruction, 1e-5)
        close(terms["kl"][i], kl, 1e-4)
        close(terms["cross_entropy"][i], wrong, 1e-4)
        whole = reconstruction + beta * kl + 7 * wrong
        close(terms["loss"][i], whole, 1e-5)


def test_labels_and_conditions_say_the_same():
    model, y = build(), torch.tensor([2, 0, 1, 1, 2])
    assert same(model(X, y, NOISE), model(X, y[:, None].float(), NOISE))
    z = torch.randn(5, L)
    told = y[:, None].float()
    assert torch.equal(model.decode(z, y), model.decode(z, told))
    for wrong in (torch.tensor([0, 1, 2, 3, 0]), y[:3]):
        with refused("y:", ValueError):
            model(X, wrong, NOISE)
    withheld = torch.full((5, 1), math.nan)
    assert same(model(X, None, NOISE), model(X, withheld, NOISE))
    with refused("y:", TypeError):
        model.decode(z)


def test_the_bound_lies_below_the_evidence_of_a_grid():
    """log p(x) = log sum_y p(y) p(x|y), each by a sum over codes."""
    model = build()
    each = [
        log_evidence(model, X, torch.full((5,), y), n=200) for y in range(C)
    ]
    joint = torch.stack(each) - math.log(C)  # log p(x, y), (C, B)
    n, source = 400, torch.Generator().manual_seed(3)
    with torch.no_grad():
        x, y = X.repeat(n, 1), Y.repeat(n, 1)
        terms = model(x, y, source)
    found = -(terms["reconstruction"] + terms["kl"]).view(n, 5)
    error = 4 * found.std(0) / n**0.5
    exact = torch.where(GIVEN, joint.gather(0, Y.nan_to_num().long().T)[0], 0)
    exact = torch.where(GIVEN, exact, joint.logsumexp(0))
    assert (found.mean(0) < exact + error).all()
    # and not below for nothing: q was never trained, but is no accident
    assert (found.mean(0) > exact - 50).all()


class TellsTheLabel(nn.Module):
    """A decoder that looks at the label alone."""

    def __init__(self):
        super().__init__()
        self.odds = nn.Linear(C + 1, 6)

    def forward(self, z, told):
        return self.odds(told)


class Posterior(nn.Module):
    """The exact p(y|x) of that decoder, as log odds."""

    def __init__(self, decoder):
        super().__init__()
        self.decoder = decoder

    def forward(self, x):
        told = torch.cat([torch.eye(C), torch.ones(C, 1)], 1)
        odds = self.decoder.odds(told)
        return torch.stack(
            [d.Bernoulli(logits=o).log_prob(x).sum(1) for o in odds], 1
        )


def test_the_bound_is_tight_where_q_is_the_posterior():
    decoder = TellsTheLabel()
    model = M2(**SIZES, decoder=decoder, classifier=Posterior(decoder))
    with torch.no_grad():
        for weight in model.encoder.parameters():
            weight.zero_()  # q(z|x, y) is the prior
    withheld = torch.full((5, 1), math.nan)
    each = [
        log_evidence(model, X, torch.full((5,), y), n=200) for y in range(C)
    ]
    exact = torch.stack(each).logsumexp(0) - math.log(C)
    terms = model(X, withheld, NOISE)
    bound = -(terms["reconstruction"] + terms["kl"])
    close(bound, exact.float(), 1e-5)
    close(
        model.classify(X),
        (torch.stack(each).T - math.log(C) - exact[:, None]).exp(),
        1e-4,
    )
    # any other classifier falls below
    with torch.no_grad():
        model.classifier = nn.Linear(6, C)
        model.classifier.bias[0] += 5
    terms = model(X, withheld, NOISE)
    gap = exact + terms["reconstruction"] + terms["kl"]
    assert (gap > 1e-3).all()


def test_a_labelled_row_is_that_of_a_cvae_and_uses_no_other_label():
    model = build(alpha=0)
    plain = CVAE(**SIZES, condition_dropout=0)
    weights = model.state_dict()
    plain.load_state_dict({k: weights[k] for k in plain.state_dict()})
    ours = model(X[GIVEN], Y[GIVEN], NOISE[GIVEN])
    theirs = plain(X[GIVEN], Y[GIVEN], NOISE[GIVEN])
    close(ours["loss"], theirs["loss"] + math.log(C))
    ours["loss"].sum().backward()
    theirs["loss"].sum().backward()
    parts = dict(model.named_parameters())
    for name, weight in plain.named_parameters():
        torch.testing.assert_close(parts[name].grad, weight.grad)
    # without alpha a label that is given teaches the classifier nothing
    for weight in model.classifier.parameters():
        assert not weight.grad.any()
    # the label that no row has leaves no trace in the weights beside it
    assert not model.decoder[0].weight.grad[:, L + 1].any()
    assert model.decoder[0].weight.grad[:, L].any()


@pytest.mark.parametrize("rows", [GIVEN, ~GIVEN])
def test_gradients_reach_the_classifier(rows):
    model = build()
    model(X[rows], Y[rows], NOISE[rows])["loss"].sum().backward()
    for weight in model.classifier.parameters():
        assert weight.grad.any()


def test_all_labels_share_the_noise_of_their_row():
    model = build()
    drawn = model(X, Y, torch.Generator().manual_seed(1))
    assert same(drawn, model(X, Y, NOISE))
    alone = [
        model(X[i : i + 1], Y[i : i + 1], NOISE[i : i + 1]) for i in range(5)
    ]
    for name, value in drawn.items():
        close(torch.cat([terms[name] for terms in alone]), value, 1e-4)


# --- views that moved


class Keeps(nn.Module):
    """A classifier that keeps what it was shown."""

    def __init__(self):
        super().__init__()
        self.odds, self.seen = nn.Linear(64, C), []

    def forward(self, x):
        self.seen.append(x)
        return self.odds(x.flatten(1))


def pictures(n=200):
    """A spot of one pixel in the middle of pictures of 8 by 8."""
    x = torch.zeros(n, 1, 8, 8)
    x[:, :, 3:5, 3:5] = 1
    return x


def test_the_classifier_sees_pictures_that_moved_in_training_alone():
    shape, x = (1, 8, 8), pictures()
    y = torch.full((len(x), 1), math.nan)
    keeps = Keeps()
    model = M2(2, (8,), shape=shape, conditions=(C,), classifier=keeps)
    model(x, y, torch.Generator())
    assert len(keeps.seen) == 1
    assert torch.equal(keeps.seen.pop(), x)
    model.jitter = 0.1
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        terms = model(x, y, torch.Generator())
    one, other = keeps.seen
    assert not torch.equal(one, other)
    ink = one.flatten(1)
    assert ((ink - x.flatten(1)).abs().amax(1) > 0).all()
    # each in its own way, by 0.1 of half the picture on average
    place = torch.arange(8.0) - 3.5
    across = (one.sum((1, 2)) * place).sum(1) / ink.sum(1)
    assert abs(across.mean()) < 4 * 0.4 / len(x) ** 0.5
    assert 0.3 < across.std() < 0.5
    # the KL between both answers
    p, q = (keeps.odds(v.flatten(1)).softmax(1) for v in (one, other))
    kl = d.kl_divergence(d.Categorical(p), d.Categorical(q))
    torch.testing.assert_close(terms["consistency"], kl, rtol=1e-3, atol=1e-6)
    rest = terms["reconstruction"] + terms["kl"]
    close(terms["loss"], rest + 50 * terms["consistency"])
    keeps.seen.clear()
    model.eval()
    with untouched_rng():
        terms = model(x, y, torch.Generator())
        model.classify(x)
    assert not terms["consistency"].any()
    assert all(torch.equal(seen, x) for seen in keeps.seen)


# --- in the package


@pytest.fixture(scope="module")
def few():
    from minivae import load_digits

    return few_labels(load_digits("builtin", "train")[:300], 5)


def model_of_digits(**options):
    usual = {"n_latent": 2, "hidden": (16,), "classifier": "mlp"}
    return M2(**usual | options)


def test_a_run_that_stopped_is_the_run_that_never_did(few, tmp_path):
    whole, parts = model_of_digits(jitter=0.1), model_of_digits(jitter=0.1)
    path = tmp_path / "m2.pt"
    history = fit(whole, few, CONFIG, progress=False)
    fit(parts, few, replace(CONFIG, epochs=1), path, progress=False)
    again = fit(parts, few, CONFIG, path, progress=False)
    assert same(whole.state_dict(), parts.state_dict())
    assert same(history.series, again.series)
    assert history.consistency[-1] > 0
    assert history.loss[1] < history.loss[0]
    loaded = load_model(path)
    assert type(loaded) is M2
    assert loaded.options == whole.options
    assert same(loaded.state_dict(), whole.state_dict())
    assert checkpoint.load(path)["model"]["class"] == "M2"
    with refused(path, CheckpointError):
        fit(model_of_digits(jitter=0.2), few, CONFIG, path, progress=False)


def test_it_is_scored_with_and_without_labels(few, digits):
    model = model_of_digits()
    test = digits[:50]
    with_labels, other = evaluate(model, test), few[:50]
    assert with_labels["cross_entropy"] > 0
    blank = replace(other, conditions=torch.full((50, 1), math.nan))
    without = evaluate(model, blank)
    assert without["cross_entropy"] == 0
    total = -without["reconstruction"] - without["kl"]
    assert without["elbo"] == pytest.approx(total)


def test_it_draws_the_digit_that_is_asked_for():
    model = model_of_digits()
    assert sample(model, 4, 5).shape == (4, 28, 28)
    assert torch.equal(sample(model, 4, 5), sample(model, 4, (5,)))
    fives = torch.full((4,), 5)
    assert torch.equal(sample(model, 4, 5), sample(model, 4, fives))
    assert not torch.equal(sample(model, 4, 5), sample(model, 4, 6))


@pytest.mark.parametrize("classifier", [None, "mlp", "conv"])
def test_the_classifier_is_of_the_network_that_is_named(classifier):
    for network in ("mlp", "conv"):
        model = M2(2, network=network, classifier=classifier)
        conv = isinstance(model.classifier, ConvEncoder)
        assert conv == ((classifier or network) == "conv")
        with untouched_rng():
            again = M2(2, network=network, classifier=classifier)
        assert same(model.state_dict(), again.state_dict())
    for wrong in ({"classifier": "tree"}, {"alpha": -1}, {"jitter": "much"}):
        with refused(
            "network:" if "classifier" in wrong else next(iter(wrong))
        ):
            M2(2, **wrong)
    for wrong in (
        {"conditions": (3, 1)},
        {"conditions": (1,)},
        {"n_samples": 2},
        {"free_bits": 0.1},
    ):
        with refused("conditions, n_samples, free_bits:"):
            M2(2, **wrong)
    with refused("jitter: expected 0"):
        M2(2, jitter=0.1, shape=(3,))


def test_a_code_or_picture_needs_the_label():
    model, withheld = build(), torch.full((5, 1), math.nan)
    for call in (
        lambda: model.encode(X, withheld),
        lambda: model.decode(torch.zeros(5, L), withheld),
        lambda: model.log_likelihood(X, torch.zeros(5, L), withheld),
    ):
        with refused("y: expected finite"):
            call()


def test_one_noise_may_serve_all_rows():
    model, noise = build(), NOISE[:1]
    y = torch.full((5, 1), math.nan)
    together = model(X, y, noise)
    for i in range(5):
        alone = model(X[i : i + 1], y[:1], noise)
        close(alone["loss"][0], together["loss"][i], 1e-5)


def test_few_labels_needs_labels_and_a_share_of_others():
    images = torch.zeros(6, 28, 28, dtype=torch.uint8)
    with refused("digits, share:"):
        few_labels(Images(images))
    labelled = Images(images, torch.arange(6))
    with refused("digits, share:"):
        few_labels(labelled, 1, share=1.0)
    for name, wrong in (
        ("share", (-0.1, 1.1, math.nan, "0.3")),
        ("n_per_class", (0, 1.5, "1")),
        ("seed", (-1, "a")),
    ):
        for value in wrong:
            with refused(f"{name}:"):
                few_labels(labelled, **{name: value})
    with refused("digits:", TypeError):
        few_labels(Table(images.flatten(1).float()))
    plain = few_labels(labelled, 1, 2, 0.5).conditions
    options = np.int64(1), torch.tensor(2), torch.tensor(0.5)
    assert torch.equal(few_labels(labelled, *options).conditions, plain)


def test_probabilities_of_labels():
    model = build().train()
    with untouched_rng():
        found = model.classify(X)
    close(found, model.classifier(X).softmax(1))
    close(found.sum(1), torch.ones(5))
    assert not found.requires_grad
    assert model.training
    many = X.repeat(250, 1)
    close(model.classify(many), found.repeat(250, 1), 1e-4)


# --- few labels


def test_few_labels_keeps_those_of_n_pictures_of_each_class(digits):
    images = digits.images.clone()
    n = len(digits)
    images[:, 0, 0] = torch.arange(n) % 256  # which picture it is
    images[:, 0, 1] = torch.arange(n) // 256
    numbered = replace(digits, images=images)
    found = few_labels(numbered, 4, share=0.25)
    assert found.labels is None
    number = found.images[:, 0, 0].int() + 256 * found.images[:, 0, 1].int()
    assert torch.equal(number[:n].long(), torch.arange(n))
    y = found.conditions[:, 0]
    given = ~y.isnan()
    first = number[:n][given[:n]].long()
    # ten classes, four of each, and they are right
    assert digits.labels[first].bincount().tolist() == [4] * 10
    assert torch.equal(y[given].long(), digits.labels[number[given].long()])
    # only these are repeated, each as often as the others
    times = number[given].bincount()
    assert len(times[times > 0].unique()) == 1
    assert set(number[n:].tolist()) == set(first.tolist())
    assert given.float().mean() == pytest.approx(0.25, abs=0.02)
    assert found.digest() == few_labels(numbered, 4, share=0.25).digest()
    other = few_labels(numbered, 4, seed=1, share=0.25)
    assert not torch.equal(other.y.isnan(), found.y.isnan())


def test_more_labels_keep_those_of_fewer(digits):
    """So that curves over the number of labels are nested."""
    kept = [~few_labels(digits, n, share=0).y.isnan() for n in (1, 5, 20)]
    assert [len(k) for k in kept] == [len(digits)] * 3
    for fewer, more in pairwise(kept):
        assert (more | ~fewer).all()


def test_digits_without_labels_teach_the_labels(digits):
    """With the same few labels and views of them, q(y|x) errs less."""
    some = digits[digits.labels < 4]
    test = some[-150:]
    wrong = torch.zeros(2, 2)  # seed, with all pictures or the labelled ones
    for seed in range(2):
        data = few_labels(some[:-150], 1, seed)
        labelled = data[~data.y[:, 0].isnan()]
        for i, rows in enumerate((data, labelled)):
            model = M2(8, (64,), conditions=(4,), jitter=0.1, seed=seed)
            epochs = -(-20 * len(data) // len(rows))
            config = replace(CONFIG, epochs=epochs, seed=seed)
            fit(model, rows, config, progress=False)
            read = model.classify(test.x()).argmax(1)
            wrong[seed, i] = (read != test.labels).float().mean()
    errs, alone = wrong.mean(0)
    assert errs < alone - 0.02, wrong
