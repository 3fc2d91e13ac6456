"""Scores are those of known formulas, each of its own row, and rank well."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import close, refused, untouched_rng
from sklearn.metrics import roc_auc_score
from torch.distributions import Bernoulli, MultivariateNormal, Normal
from torch.distributions import kl_divergence as kl_torch

from minivae import CVAE, VAE, Autoencoder, Images, Table, evaluate
from minivae.anomalies import Background, anomaly_scores, auroc
from minivae.evaluate import log_evidence

SCORES = {"reconstruction", "elbo", "likelihood"}


def test_the_reconstruction_is_that_at_the_mean_of_the_code(trained, small):
    binary, grey = small.binarized(), small.x()
    for name in ("VAE 2", "CVAE 8"):
        model, x, y = trained[name], binary.x(), small.labels
        with torch.no_grad():
            logits = model.decode(model.encode(x, y)[0], y)
        p = Bernoulli(logits=logits.double()).log_prob(x.double())
        found = anomaly_scores(model, binary, 2)
        assert found.keys() == SCORES
        assert all(v.dtype == torch.float64 for v in found.values())
        close(found["reconstruction"], -p.flatten(1).sum(1))
    model = trained["Autoencoder 2"]
    found = anomaly_scores(model, small)
    assert found.keys() == {"reconstruction"}  # it has no p(x)
    with torch.no_grad():
        error = (model.decode(model.encode(grey)) - grey).double().square()
    close(found["reconstruction"], error.flatten(1).sum(1))


def test_the_likelihood_is_the_evidence_of_each_row_with_many_codes():
    model, noise = VAE(2, (8,), shape=(12,)), torch.Generator().manual_seed(0)
    with torch.no_grad():  # so that a code says something
        for weight in model.decoder.parameters():
            weight.mul_(2)
    data = Table(torch.randint(2, (40, 12), generator=noise).float())
    exact = -log_evidence(model, data.x())
    few, many = (anomaly_scores(model, data, k) for k in (1, 2000))
    gap = many["likelihood"] - exact
    assert exact.std() > 1
    assert gap.abs().max() < 0.15
    assert gap.mean().abs() < 0.01
    # a mean of logs is at most the log of the mean; of one they are the same
    assert (many["elbo"] > many["likelihood"]).all()
    assert torch.equal(few["elbo"], few["likelihood"])


def test_the_elbo_has_the_exact_kl_in_the_mean(trained, small):
    model, data = trained["VAE 2"], small[:50].binarized()
    found = anomaly_scores(model, data, 4000)["elbo"]
    x, noise = data.x(), torch.Generator().manual_seed(1)
    with torch.no_grad():
        q = Normal(mu := model.encode(x)[0], (model.encode(x)[1] / 2).exp())
        z = mu + q.stddev * torch.randn(4000, *mu.shape, generator=noise)
        logits = model.decode(z).flatten(2)
        nats = -Bernoulli(logits=logits).log_prob(x.flatten(1)).sum(2)
    expected = nats.mean(0) + kl_torch(q, Normal(0.0, 1.0)).sum(1)
    # both are means of 4,000; log q / p adds to the noise of one
    error = (
        (nats.var(0) + mu.shape[1] / 2 + mu.square().sum(1)) / 2000
    ).sqrt()
    assert ((found - expected).abs() < 4 * error).all()
    close(found.mean(), -evaluate(model, data)["elbo"], 0.02)


@pytest.mark.parametrize("name", ["VAE 2", "CVAE 2", "Autoencoder 2"])
def test_a_score_belongs_to_its_row(trained, small, name):
    model = trained[name].train()
    data = small[:30].binarized()
    background = Background(small) if "VAE" in name else None
    options = {"n_samples": 300, "background": background}  # 13 at a time
    with untouched_rng():
        together = anomaly_scores(model, data, **options)
    assert model.training
    rows = [data[i : i + 1] for i in range(30)]
    alone = [anomaly_scores(model, row, **options) for row in rows]
    for score, values in together.items():
        close(torch.cat([row[score] for row in alone]), values)
        assert values.unique().numel() == 30
    turned = data[torch.arange(30).flip(0)]
    backwards = anomaly_scores(model, turned, **options)
    for score, values in together.items():
        close(backwards[score].flip(0), values)


def test_scores_are_a_function_of_the_seed(trained, small):
    model, data = trained["VAE 2"], small[:30]
    seeds = (0, 1, np.int64(1))
    a, b, c = (anomaly_scores(model, data, 5, seed) for seed in seeds)
    assert torch.equal(a["reconstruction"], b["reconstruction"])
    for score in ("elbo", "likelihood"):
        assert torch.equal(b[score], c[score])
        assert not torch.equal(a[score], b[score])


def test_to_a_model_of_labels_a_wrong_one_is_strange(trained, small):
    wrong = replace(small, labels=(small.labels + 1) % 10)
    right, wrong = (
        anomaly_scores(trained["CVAE 2"], data, 20) for data in (small, wrong)
    )
    for score in SCORES:
        assert auroc(right[score], wrong[score]) > 0.7


# --- the background


def test_a_background_of_binary_values_counts_them():
    x = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
    background = Background(Table(x), mutation=0.0)
    p = {(1, 1): 4 / 5 * 2 / 5, (1, 0): 4 / 5 * 3 / 5, (0, 1): 1 / 5 * 2 / 5}
    for row, expected in p.items():
        nats = background.log_prob(torch.tensor([row]).float())
        close(nats.exp(), [expected])
    every = torch.tensor(list(itertools.product([0.0, 1.0], repeat=2)))
    close(background.log_prob(every).exp().sum(), 1.0, 1e-6)
    # of the ones a quarter is drawn anew, and half of these are ones again
    mutated = Background(Table(x), mutation=0.25).log_prob(every[:1] + 1)
    close(
        mutated.exp(),
        [(4 / 5 * 7 / 8 + 1 / 5 / 8) * (2 / 5 * 7 / 8 + 3 / 5 / 8)],
    )
    with refused("mutation:"):
        Background(Table(x), mutation=1.5)


def test_a_background_of_numbers_is_a_normal_with_a_diagonal():
    noise = torch.Generator().manual_seed(0)
    x = 3 * torch.randn(50, 2, 3, generator=noise) + torch.arange(3)
    rows = x.flatten(1).numpy().astype(float)
    exact = MultivariateNormal(
        torch.tensor(rows.mean(0)), torch.tensor(rows.var(0)).diag()
    )
    found = Background(Table(x), "gaussian").log_prob(x)
    close(found, exact.log_prob(torch.tensor(rows)))
    # a column that never differs has a width nevertheless
    flat = Background(Table(torch.ones(9, 1)), "gaussian").log_prob
    close(flat(torch.ones(1, 1)), Normal(0.0, 1e-3).log_prob(torch.zeros(1)))


def test_the_ratio_takes_away_what_the_background_explains(trained, small):
    model, data = trained["VAE 2"], small[:40].binarized()
    background = Background(small)
    found = anomaly_scores(model, data, 20, background=background)
    plain = anomaly_scores(model, data, 20)
    assert found.keys() == SCORES | {"ratio"}
    for score, values in plain.items():
        assert torch.equal(found[score], values)
    mean = (small.x().double().flatten(1).sum(0) + 1) / 202 * 0.9 + 0.05
    p = Bernoulli(mean).log_prob(data.x().double().flatten(1)).sum(1)
    close(found["ratio"], plain["likelihood"] + p)


def test_only_densities_of_the_same_values_are_compared(small):
    bernoulli, gaussian = (
        Background(small, kind) for kind in ("bernoulli", "gaussian")
    )
    model = VAE(2, (8,), "gaussian")
    for pair in ((Autoencoder(2, (8,)), bernoulli), (model, bernoulli)):
        with refused("background:", ValueError):
            anomaly_scores(pair[0], small, background=pair[1])
    found = anomaly_scores(model, small, 2, background=gaussian)["ratio"]
    assert found.isfinite().all()
    with refused("background:", TypeError):
        anomaly_scores(model, small, background=small)
    with refused("likelihood:"):
        Background(small, "categorical")
    with refused("data:"):
        Background(Table(torch.full((2, 2), 7.0)))
    with refused("data:", TypeError):
        Background(small.images)
    with refused("x:"):
        bernoulli.log_prob(torch.zeros(2, 5))


# --- how well a score tells rows apart


def test_the_area_is_the_share_of_pairs_in_order():
    noise = torch.Generator().manual_seed(0)
    normal = torch.randn(70, generator=noise).mul(2).round()  # with ties
    strange = torch.randn(90, generator=noise).mul(2).round() + 1
    pairs = [
        1.0 if s > n else 0.5 if s == n else 0.0
        for n in normal.tolist()
        for s in strange.tolist()
    ]
    found = auroc(normal, strange)
    close(found, sum(pairs) / len(pairs), 1e-12)
    told = [0] * 70 + [1] * 90
    close(found, roc_auc_score(told, torch.cat([normal, strange])), 1e-12)
    close(auroc(strange, normal), 1 - found, 1e-12)
    assert auroc(normal, normal) == 0.5
    assert auroc(normal, normal + 20) == 1


@pytest.mark.parametrize(
    "scores", [[1.0], torch.ones(0), torch.tensor([torch.nan])], ids=str
)
def test_what_are_no_scores_is_refused(scores):
    fine = torch.ones(2)
    for name in ("normal", "strange"):
        with refused(f"{name}:"):
            auroc(**{"normal": fine, "strange": fine} | {name: scores})


def test_noise_is_strange_unless_the_background_is_sure(trained, digits):
    noise = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (50, 28, 28), generator=noise).byte()
    found = {}
    for mutation in (0.0, 0.5):
        background = Background(digits, mutation=mutation)
        normal, strange = (
            anomaly_scores(trained["VAE 2"], data, 20, background=background)
            for data in (digits[:100], Images(pixels))
        )
        found[mutation] = {k: auroc(normal[k], strange[k]) for k in normal}
    assert min(found[0.5].values()) > 0.99
    # a margin that was always blank makes noise there even less likely
    assert found[0.0].pop("ratio") < 0.1
    assert min(found[0.0].values()) > 0.99


@pytest.mark.parametrize("options", [{"n_samples": 0}, {"seed": -1}])
def test_impossible_options_are_refused(options, small):
    with refused(next(iter(options))):
        anomaly_scores(VAE(2, (8,)), small, **options)
    with refused("data:"):
        anomaly_scores(VAE(2, (8,)), small.images)
    with refused("model:"):
        anomaly_scores(CVAE, small)
