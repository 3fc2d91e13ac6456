"""Answers to the parts of the project, on made-up rows of two kinds."""

import functools
import math

import torch
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.neighbors import KNeighborsClassifier
from torch.distributions import Bernoulli, Normal

from answers import right, wrong
from minivae import CVAE, VAE, TrainConfig, evaluate, fit, log_likelihood
from minivae.data import Images, Table
from minivae.evaluate import codes, log_importance_weights
from minivae.latent import pictures
from minivae.networks import MLP
from minivae.objective import gaussian_kl
from minivae.probes import linear_probe, regression_probe


def raw_reals(n=330):
    """Three groups in six columns that two hidden numbers move."""
    g = torch.Generator().manual_seed(5)
    y = torch.arange(n) % 3
    hidden = torch.randn(n, 2, generator=g)
    turn = torch.randn(2, 6, generator=g)
    centre = 1.5 * torch.randn(3, 6, generator=g)
    x = centre[y] + hidden @ turn + 0.3 * torch.randn(n, 6, generator=g)
    return 7 + 20 * x, y


def reals(split):
    x, y = raw_reals()
    x = (x - x[:240].mean(0)) / x[:240].std(0)
    rows = slice(0, 240) if split == "train" else slice(240, None)
    return Table(x[rows], y[rows], "three groups", split)


def raw_bits(n=400):
    """Strips of twelve pixels: a block at some place, of some width."""
    g = torch.Generator().manual_seed(6)
    place = torch.randint(0, 12, (n, 1), generator=g)
    width = torch.randint(2, 5, (n, 1), generator=g)
    at = (torch.arange(12) - place) % 12
    flip = torch.rand(n, 12, generator=g) < 0.02
    return ((at < width) ^ flip).float(), place[:, 0], width[:, 0]


def bits(split):
    x, place, width = raw_bits()
    rows = slice(0, 300) if split == "train" else slice(300, None)
    shade = width.float() - 3
    told = torch.stack([(place > 5).float(), shade], 1)[rows]
    return Table(x[rows], told, "strips", split)


def bars(split):
    """Pictures of 4 x 8: a bar at one of three places, of some height."""
    g = torch.Generator().manual_seed(7)
    place, n = torch.arange(400) % 3, 400
    height = torch.randint(1, 5, (n, 1, 1), generator=g)
    ink = torch.arange(8) // 3 == place[:, None, None]
    ink = ink & (torch.arange(4)[:, None] < height)
    ink = ink ^ (torch.rand(n, 4, 8, generator=g) < 0.02)
    rows = slice(0, 300) if split == "train" else slice(300, None)
    return Images(255 * ink[rows].byte(), place[rows], "bars", split)


def bar_model(seed):
    return CVAE(
        2,
        (16, 32, 32),
        n_classes=3,
        network="conv",
        shape=(1, 4, 8),
        seed=seed,
    )


def real_model(seed):
    return CVAE(
        2,
        (16,),
        n_classes=3,
        likelihood="gaussian",
        shape=(6,),
        seed=seed,
    )


def bit_model(seed):
    return CVAE(
        3,
        (32,),
        conditions=(2, 1),
        condition_dropout=0.1,
        shape=(12,),
        seed=seed,
    )


@functools.cache
def state_after(kind, seed, rows_digest, epochs, lr):
    """Trained once for all the seeds of the checks."""
    model, rows = MADE[seed, rows_digest, kind]
    fit(
        model,
        rows,
        TrainConfig(
            epochs=epochs, batch_size=32, lr=lr, warmup=5, device="cpu"
        ),
        progress=False,
    )
    return {k: v.clone() for k, v in model.state_dict().items()}


MADE = {}


def trained(model, rows, epochs=40, lr=1e-2):
    seed, kind = model.options["seed"], repr(sorted(model.options.items()))
    digest = rows.digest() + rows.source
    MADE[seed, digest, kind] = CVAE(**model.options), rows
    model.load_state_dict(state_after(kind, seed, digest, epochs, lr))
    return model


def bound(model, rows, k):
    return log_likelihood(model, rows, k)


def reference(train, test):
    mean = train.values.mean(0)
    sigma = (train.values - mean).square().mean().sqrt()
    return Normal(mean, sigma).log_prob(test.values).sum(1).mean().item()


def bit_reference(train, test):
    p = train.values.mean(0).clamp(0.001, 0.999)
    return Bernoulli(p).log_prob(test.values).sum(1).mean()


def draw(model, condition, n):
    z = torch.randn(n, model.n_latent)
    told = condition.expand(n, *condition.shape)
    with torch.no_grad():
        mean = model.decode(z, told)
        return mean + model.likelihood.log_sigma.exp() * torch.randn_like(mean)


def bit_draw(model, condition, n):
    z = torch.randn(n, model.n_latent)
    with torch.no_grad():
        return model.decode(z, condition.repeat(n, 1)).sigmoid()


def bar_reference(train, test):
    p = train.x().mean(0).clamp(0.001, 0.999)
    return Bernoulli(p).log_prob(test.x()).sum((1, 2, 3)).mean()


def bar_draw(model, condition, n):
    z = torch.randn(n, model.n_latent)
    return pictures(model, z, condition.expand(n)).flatten(1)


def bar_measure(rows):
    return rows.x().mean((1, 2, 3))


def measure(rows):
    return rows.values[:, 1] + rows.values[:, 4]


def bit_measure(rows):
    return (rows.values[:, :3].sum(1) > 1).long()


def probe(z, value, z_test, value_test):
    if value.is_floating_point():
        found = regression_probe(z, value, z_test, value_test)
        return found | {"score": found["r2"], "baseline": 0.0}
    found = linear_probe(z, value, z_test, value_test)
    return found | {
        "score": found["accuracy"],
        "baseline": found["majority"],
    }


REALS = {
    "project_rows": reals,
    "project_model": real_model,
    "project_reference": reference,
    "project_trained": trained,
    "project_bound": bound,
    "project_draw": draw,
    "project_property": measure,
    "project_probe": probe,
}
BITS = {
    "project_rows": bits,
    "project_model": bit_model,
    "project_reference": bit_reference,
    "project_trained": trained,
    "project_bound": bound,
    "project_draw": bit_draw,
    "project_property": bit_measure,
    "project_probe": probe,
}


BARS = {
    "project_rows": bars,
    "project_model": bar_model,
    "project_reference": bar_reference,
    "project_trained": trained,
    "project_bound": bound,
    "project_draw": bar_draw,
    "project_property": bar_measure,
    "project_probe": probe,
}


def part(names, base=REALS, **changed):
    """The functions that a check asks for, some of them replaced."""
    base = base | changed
    return {name: base[name] for name in names.split()}


# --- project_data ------------------------------------------------------------


@right("project_data", "standardised columns with labels")
def _(split):
    return reals(split)


@right("project_data", "zeros and ones with two conditions")
def _(split):
    return bits(split)


@right("project_data", "pictures as Images")
def _(split):
    g = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (400, 6, 5), generator=g)
    labels = torch.arange(400) % 4
    rows = slice(0, 300) if split == "train" else slice(300, None)
    return Images(images[rows].byte(), labels[rows], "noise", split)


@right("project_data", "pictures in colour, as a Table of numbers")
def _(split):
    g = torch.Generator().manual_seed(2)
    rows = slice(0, 300) if split == "train" else slice(300, None)
    pictures = torch.rand(400, 3, 4, 5, generator=g)
    labels = torch.arange(400) % 4
    return Table(pictures[rows], labels[rows], "coloured noise", split)


@right("project_data", "smallest and largest of the training rows")
def _(split):
    x, y = raw_reals()
    low, high = x[:240].amin(0), x[:240].amax(0)
    rows = slice(0, 240) if split == "train" else slice(240, None)
    return Table((x[rows] - low) / (high - low), y[rows], "groups", split)


def broken(text, says):
    """A wrong answer to P.1: what it does to the two splits."""

    def keep(change):
        def project_rows(split):
            x, y = raw_reals()
            rows = slice(0, 240) if split == "train" else slice(240, None)
            return change(x, y, rows, split)

        wrong("project_data", text, says=says)(project_rows)
        return change

    return keep


@broken("scales with all rows", says="leak into training")
def _(x, y, rows, split):
    return Table(((x - x.mean(0)) / x.std(0))[rows], y[rows], "own", split)


@broken("smallest and largest of all rows", says="smallest and largest")
def _(x, y, rows, split):
    x = (x - x.amin(0)) / (x.amax(0) - x.amin(0))
    return Table(x[rows], y[rows], "own", split)


@broken("scales each split by itself", says="1 themselves")
def _(x, y, rows, split):
    x = x[rows]
    return Table((x - x.mean(0)) / x.std(0), y[rows], "own", split)


@broken("does not scale", says="bring the columns to size one")
def _(x, y, rows, split):
    return Table(x[rows], y[rows], "own", split)


@broken("the same rows in both splits", says="90 of 90 test rows")
def _(x, y, rows, split):
    x = (x - x[:240].mean(0)) / x[:240].std(0)
    rows = slice(0, 240) if split == "train" else slice(100, 190)
    return Table(x[rows], y[rows], "own", split)


@broken("another split in each call", says="two calls give different")
def _(x, y, rows, split):
    order = torch.randperm(len(x))
    x = (x[order] / 40).tanh()
    return Table(x[rows], y[order][rows], "own", split)


@broken("no conditions", says="no conditions")
def _(x, y, rows, split):
    return Table(x[rows], None, "own", split)


@broken("splits rows that are ordered by label", says="mix the rows")
def _(x, y, rows, split):
    order = y.argsort()
    x = (x - x[order][:240].mean(0)) / x[order][:240].std(0)
    half = slice(0, 210) if split == "train" else slice(230, None)
    return Table(x[order][half], y[order][half], "own", split)


@broken("a missing value", says="finite")
def _(x, y, rows, split):
    x = (x - x[:240].mean(0)) / x[:240].std(0)
    x[3, 2] = torch.nan
    return Table(x[rows], y[rows], "own", split)


@broken("too few rows", says="expected 100 to 10,000")
def _(x, y, rows, split):
    x = (x - x[:240].mean(0)) / x[:240].std(0)
    return Table(x[rows][:60], y[rows][:60], "own", split)


@broken("always the training rows", says="its split is 'train'")
def _(x, y, rows, split):
    return reals("train")


@broken("one label for all", says="the same in all training rows")
def _(x, y, rows, split):
    x = (x - x[:240].mean(0)) / x[:240].std(0)
    return Table(x[rows], 0 * y[rows], "own", split)


@broken("a tensor in place of a Table", says="expected a Table")
def _(x, y, rows, split):
    return x[rows]


def from_sklearn(load, name):
    def project_rows(split):
        raw = load()
        x, y = torch.tensor(raw.data).float(), torch.tensor(raw.target)
        held = torch.arange(len(x)) % 4 == 3
        x = (x - x[~held].mean(0)) / x[~held].std(0)
        rows = held if split == "test" else ~held
        return Table(x[rows], y[rows].long(), name, split)

    return project_rows


wrong("project_data", "hands in the worked example", says="worked example")(
    from_sklearn(load_wine, "wine")
)
wrong(
    "project_data", "the worked example, renamed", says="cannot be handed in"
)(from_sklearn(load_wine, "bottles"))
wrong("project_data", "the tumours of the chapter", says="the book has used")(
    from_sklearn(load_breast_cancer, "cells")
)

# --- project_likelihood ------------------------------------------------------

LIKELIHOOD = "project_rows project_model project_reference"


@right("project_likelihood", "a Gaussian for real numbers")
def several():
    return part(LIKELIHOOD)


@right("project_likelihood", "a Bernoulli for zeros and ones")
def several():
    return part(LIKELIHOOD, BITS)


@right("project_likelihood", "a Bernoulli and convolutions for pictures")
def several():
    return part(LIKELIHOOD, BARS)


@right("project_likelihood", "distances by hand")
def several():
    def by_hand(train, test):
        x, t = train.values.double(), test.values.double()
        mean = x.mean(0)
        variance = (x - mean).square().sum() / (x.numel() - x.shape[1])
        each = (t - mean).square() / variance + torch.log(
            2 * math.pi * variance
        )
        return -each.sum(1).mean() / 2

    return part(LIKELIHOOD, project_reference=by_hand)


def modelled(text, says, base=REALS, **options):
    """A wrong answer to P.2: a model with other options."""
    first = (real_model if base is REALS else bit_model)(0).options

    def project_model(seed):
        return CVAE(**(first | {"seed": seed} | options))

    wrong("project_likelihood", text, says=says)(
        named_several(part(LIKELIHOOD, base, project_model=project_model))
    )


def named_several(objects):
    def several():
        return objects

    return several


modelled("a Bernoulli for real numbers", "0 to 1 only", likelihood="bernoulli")
modelled(
    "a Gaussian for zeros and ones",
    "grows without limit",
    BITS,
    likelihood="gaussian",
)
modelled("the shape of digits", "give it this shape", shape=(1, 28, 28))
modelled("too few classes", "knows classes 0 to 1", n_classes=2)
modelled("a code as long as a row", "squeezes nothing", n_latent=6)
modelled("ignores the seed", "two seeds are the same", seed=0)
modelled("a sigma for each column", "with one sigma", sigma="each")
modelled(
    "a likelihood that the checks do not know",
    "The checks know",
    BITS,
    likelihood="continuous_bernoulli",
)
modelled(
    "a number taken for classes",
    "condition 1",
    BITS,
    conditions=(2, 3),
)


@wrong("project_likelihood", "a VAE that is told nothing", says="a CVAE")
def several():
    def project_model(seed):
        return VAE(2, (8,), likelihood="gaussian", shape=(6,), seed=seed)

    return part(LIKELIHOOD, project_model=project_model)


@wrong("project_likelihood", "an encoder of one's own", says="of your own")
def several():
    def project_model(seed):
        options = real_model(seed).options
        return CVAE(**(options | {"encoder": MLP(9, 5, 4)}))

    return part(LIKELIHOOD, project_model=project_model)


def referred(text, says):
    """A wrong answer to P.2: another reference."""

    def keep(found):
        objects = part(LIKELIHOOD, project_reference=found)
        wrong("project_likelihood", text, says=says)(named_several(objects))
        return found

    return keep


@referred("averages over the columns", says="sum over a row")
def _(train, test):
    return reference(train, test) / 6


@referred("sums over the rows", says="average them")
def _(train, test):
    return reference(train, test) * len(test)


@referred("a loss", says="the sign")
def _(train, test):
    return -reference(train, test)


@referred("fits the test rows", says="fitted to the test rows")
def _(train, test):
    return reference(test, test)


@referred("scores the training rows", says="scores the training rows")
def _(train, test):
    return reference(train, train)


@referred("forgets the constant", says="log(2 pi) / 2 is missing")
def _(train, test):
    return reference(train, test) + 3 * math.log(2 * math.pi)


@referred("a constant", says="found")
def _(train, test):
    return -8.0


# --- project_training --------------------------------------------------------

TRAINING = "project_rows project_model project_trained"


@right("project_training", "fit, real numbers")
def several():
    return part(TRAINING)


@right("project_training", "fit, zeros and ones")
def several():
    return part(TRAINING, BITS)


def optimised(model, rows, steps=250, seed=0, skip=(), beta=1.0):
    """A loop of one's own."""
    g = torch.Generator().manual_seed(seed)
    weights = [w for n, w in model.named_parameters() if n not in skip]
    adam = torch.optim.Adam(weights, 1e-2)
    for _ in range(steps):
        some = torch.randint(0, len(rows), (48,), generator=g)
        terms = model(rows.values[some], rows.y[some], g)
        loss = terms["reconstruction"] + beta * terms["kl"]
        adam.zero_grad()
        loss.mean().backward()
        adam.step()
    return model


@right("project_training", "fit, pictures")
def several():
    return part(TRAINING, BARS)


@right("project_training", "a loop of one's own")
def several():
    return part(TRAINING, project_trained=optimised)


def learned(text, says):
    """A wrong answer to P.3: another training."""

    def keep(found):
        objects = part(TRAINING, project_trained=found)
        wrong("project_training", text, says=says)(named_several(objects))
        return found

    return keep


@learned("does not train", says="no weight has moved")
def _(model, rows):
    return model


@learned("trains a copy", says="no weight has moved")
def _(model, rows):
    optimised(CVAE(**model.options), rows, 5)
    return model


@learned("forgets to return the model", says="returns None")
def _(model, rows):
    optimised(model, rows, 5)


@learned("leaves out the decoder", says="decoder.0.weight")
def _(model, rows):
    skip = {n for n, _ in model.named_parameters() if "decoder" in n}
    return optimised(model, rows, 5, skip=skip)


@learned("another order in each call", says="with a fixed seed")
def _(model, rows):
    return optimised(model, rows, 20, seed=int(torch.randint(9**9, ())))


@learned("rows of its own", says="a third of the rows")
def _(model, rows):
    return optimised(model, reals("train"), 20)


@learned("far too short", says="Train longer")
def _(model, rows):
    return optimised(model, rows, 1)


@learned("a code that dies", says="no latent dimension is active")
def _(model, rows):
    return optimised(model, rows, 250, beta=100.0)


@learned("another model", says="the model that it was given")
def _(model, rows):
    return optimised(CVAE(**(model.options | {"hidden": (4,)})), rows, 5)


@learned("changes the rows", says="changes its argument number 2")
def _(model, rows):
    optimised(model, rows, 5)
    rows.values.mul_(2)
    return model


# --- project_bound -----------------------------------------------------------

BOUND = "project_rows project_model project_bound"


def log_weights(model, rows, k):
    with torch.no_grad():
        x = rows.x()
        return log_importance_weights(model, x, rows.y, k).double()


@right("project_bound", "log_likelihood of minivae")
def several():
    return part(BOUND)


@right("project_bound", "zeros and ones, from the weights")
def several():
    def by_weights(model, rows, k):
        w = log_weights(model, rows, k)
        return w.logsumexp(0).mean() - math.log(k)

    return part(BOUND, BITS, project_bound=by_weights)


@right("project_bound", "log_likelihood of minivae, pictures")
def several():
    return part(BOUND, BARS)


@right("project_bound", "from torch.distributions, row by row")
def several():
    def row_by_row(model, rows, k):
        total = 0.0
        with torch.no_grad():
            for i in range(len(rows)):
                x = rows.values[i : i + 1].expand(k, -1)
                y = rows.y[i : i + 1].expand(k)
                mu, logvar = model.encode(x, y)
                q = Normal(mu, (logvar / 2).exp())
                z = q.sample()
                p = Normal(
                    model.decode(z, y), model.likelihood.log_sigma.exp()
                )
                w = p.log_prob(x).sum(1) - q.log_prob(z).sum(1)
                w = w + Normal(0.0, 1.0).log_prob(z).sum(1)
                total += float(w.double().exp().mean().log())
        return total / len(rows)

    return part(BOUND, project_bound=row_by_row)


def bounded(text, says, base=REALS):
    """A wrong answer to P.4."""

    def keep(found):
        objects = part(BOUND, base, project_bound=found)
        wrong("project_bound", text, says=says)(named_several(objects))
        return found

    return keep


@bounded("averages the logarithms", says="mean of logarithms")
def _(model, rows, k):
    return log_weights(model, rows, k).mean()


@bounded("the ELBO of evaluate, whatever k", says="mean of logarithms")
def _(model, rows, k):
    return evaluate(model, rows)["elbo"]


@bounded("averages the logarithms of zeros and ones", "logarithms", BITS)
def _(model, rows, k):
    return log_weights(model, rows, k).mean()


@bounded("forgets log k", says="subtract log k")
def _(model, rows, k):
    return log_weights(model, rows, k).logsumexp(0).mean()


@bounded("sums over the rows", says="sum over the rows")
def _(model, rows, k):
    return bound(model, rows, k) * len(rows)


@bounded("a loss", says="the sign")
def _(model, rows, k):
    return -bound(model, rows, k)


@bounded("averages over the columns", says="one number of a row")
def _(model, rows, k):
    return bound(model, rows, k) / rows.values.shape[1]


@bounded("leaves the KL out", says="the KL is missing")
def _(model, rows, k):
    with torch.no_grad():
        x = rows.values
        mu, logvar = model.encode(x, rows.y)
        z = mu + (logvar / 2).exp() * torch.randn(k, *mu.shape)
        return model.log_likelihood(x, z, rows.y).mean()


@bounded("adds the KL", says="found")
def _(model, rows, k):
    mu, logvar = model.encode(rows.values, rows.y)
    return bound(model, rows, k) + 2 * gaussian_kl(mu, logvar).mean()


@bounded("one value for each row", says="expected ()")
def _(model, rows, k):
    return log_weights(model, rows, k).logsumexp(0) - math.log(k)


# --- project_draws -----------------------------------------------------------

DRAWS = "project_rows project_model project_trained project_draw"


@right("project_draws", "with noise, real numbers")
def several():
    return part(DRAWS)


@right("project_draws", "probabilities, two conditions")
def several():
    return part(DRAWS, BITS)


@right("project_draws", "means of pictures, as rows")
def several():
    return part(DRAWS, BARS)


@right("project_draws", "draws of 0 and 1")
def several():
    def sharp(model, condition, n):
        return torch.bernoulli(bit_draw(model, condition, n))

    return part(DRAWS, BITS, project_draw=sharp)


@right("project_draws", "the package's own sample")
def several():
    def sampled(model, condition, n):
        return model.sample(n, condition.expand(n, *condition.shape))

    return part(DRAWS, project_draw=sampled)


@right("project_draws", "row by row")
def several():
    def row_by_row(model, condition, n):
        return torch.cat([draw(model, condition, 1) for _ in range(n)])

    return part(DRAWS, project_draw=row_by_row)


def drawn(text, says, base=REALS):
    """A wrong answer to P.5: another way to draw."""

    def keep(found):
        objects = part(DRAWS, base, project_draw=found)
        wrong("project_draws", text, says=says)(named_several(objects))
        return found

    return keep


def decoded(model, condition, n, scale=1.0):
    z = scale * torch.randn(n, model.n_latent)
    with torch.no_grad():
        return model.decode(z, condition.expand(n, *condition.shape))


@drawn("forgets the noise", says="the noise is missing")
def _(model, condition, n):
    return decoded(model, condition, n)


@drawn("decodes z = 0", says="z is the same")
def _(model, condition, n):
    mean = decoded(model, condition, n, 0.0)
    return mean + model.likelihood.log_sigma.detach().exp() * torch.randn_like(
        mean
    )


@drawn("the same z for all rows", says="z is the same")
def _(model, condition, n):
    mean = decoded(model, condition, 1).expand(n, -1)
    return mean + model.likelihood.log_sigma.detach().exp() * torch.randn(
        mean.shape
    )


@drawn("log sigma as sigma", says="the logarithm of sigma")
def _(model, condition, n):
    mean = decoded(model, condition, n)
    return mean + model.likelihood.log_sigma.detach() * torch.randn_like(mean)


@drawn("sigma squared as sigma", says="sigma squared")
def _(model, condition, n):
    mean = decoded(model, condition, n)
    sigma = (2 * model.likelihood.log_sigma.detach()).exp()
    return mean + sigma * torch.randn_like(mean)


@drawn("noise of size one", says="multiply it by sigma")
def _(model, condition, n):
    mean = decoded(model, condition, n)
    return mean + torch.randn_like(mean)


@drawn("ignores the condition", says="the condition that was asked for")
def _(model, condition, n):
    with torch.no_grad():
        told = torch.arange(n) % 3
        mean = model.decode(torch.randn(n, 2), told)
        told = (told + 1) % 3
        return mean + model.likelihood.log_sigma.exp() * torch.randn_like(mean)


@drawn("a fixed seed inside", says="take out the fixed seed")
def _(model, condition, n):
    torch.manual_seed(0)
    return draw(model, condition, n)


@drawn("the mean of p(x|z), as for pictures", says="the noise is missing")
def _(model, condition, n):
    z = torch.randn(n, model.n_latent)
    return pictures(model, z, condition.expand(n))


@drawn("cuts new rows off at 0 and 1", says="were they cut off")
def _(model, condition, n):
    return draw(model, condition, n).clamp(0, 1)


@drawn("training rows in place of new ones", says="of many rows")
def _(model, condition, n):
    rows = reals("train")
    some = (rows.y == condition).nonzero()[:, 0]
    return rows.values[some[torch.randint(len(some), (n,))]]


@drawn("pictures in place of rows", "found shape", BARS)
def _(model, condition, n):
    return bar_draw(model, condition, n).view(n, 4, 8)


@drawn("logits for probabilities", "these are logits", BITS)
def _(model, condition, n):
    return decoded(model, condition, n)


@drawn("z from a uniform distribution", "of many rows", BITS)
def _(model, condition, n):
    z = torch.rand(n, model.n_latent)
    with torch.no_grad():
        return model.decode(z, condition.repeat(n, 1)).sigmoid()


# --- project_probe -----------------------------------------------------------

PROBE = (
    "project_rows project_model project_trained project_property project_probe"
)


@right("project_probe", "a number")
def several():
    return part(PROBE)


@right("project_probe", "a class")
def several():
    return part(PROBE, BITS)


@right("project_probe", "the ink of pictures")
def several():
    return part(PROBE, BARS)


@right("project_probe", "nearest codes")
def several():
    def nearest(z, value, z_test, value_test):
        shuffle = value[torch.randperm(len(value))]
        score, shuffled = (
            KNeighborsClassifier(5).fit(z, y).score(z_test, value_test)
            for y in (value, shuffle)
        )
        kinds, counts = value.unique(return_counts=True)
        most = kinds[counts.argmax()]
        return {
            "score": score,
            "shuffled": shuffled,
            "baseline": (value_test == most).double().mean(),
        }

    return part(PROBE, BITS, project_probe=nearest)


def probed(text, says, base=REALS):
    """A wrong answer to P.6: another probe."""

    def keep(found):
        objects = part(PROBE, base, project_probe=found)
        wrong("project_probe", text, says=says)(named_several(objects))
        return found

    return keep


def measured(text, says, base=REALS):
    """A wrong answer to P.6: another property."""

    def keep(found):
        objects = part(PROBE, base, project_property=found)
        wrong("project_probe", text, says=says)(named_several(objects))
        return found

    return keep


@probed("scores what it learned from", says="never on what was learned")
def _(z, value, z_test, value_test):
    found = regression_probe(z, value, z, value)
    return found | {"score": found["r2"], "baseline": 0.0, "shuffled": -0.1}


@probed("scores classes that it learned from", "never on what", BITS)
def _(z, value, z_test, value_test):
    good = probe(z, value, z_test, value_test)
    return good | {"score": probe(z, value, z, value)["score"]}


@probed("the share of the label in what it learned from", "say the", BITS)
def _(z, value, z_test, value_test):
    good = probe(z, value, z_test, value_test)
    most = (value == value.mode().values).double().mean()
    return good | {"baseline": most}


@probed("the label that is most frequent in the test", "take it from", BITS)
def _(z, value, z_test, value_test):
    good = probe(z, value, z_test, value_test)
    most = (value_test == value_test.mode().values).double().mean()
    return good | {"baseline": most}


@probed("does not shuffle", says="Shuffle the values")
def _(z, value, z_test, value_test):
    good = probe(z, value, z_test, value_test)
    return good | {"shuffled": good["score"]}


@probed("a constant", says="where codes tell all")
def _(z, value, z_test, value_test):
    return {"score": 0.1, "baseline": 0.0, "shuffled": 0.0}


@probed("only the score", says="return a dict")
def _(z, value, z_test, value_test):
    return regression_probe(z, value, z_test, value_test)["r2"]


@measured("the label that the model is told", says="tells the property")
def _(rows):
    return rows.y


@measured("the label as a number", says="tells the property")
def _(rows):
    return 2.0 * rows.y - 1


@measured("above the median of the rows", says="twelve rows alone")
def _(rows):
    total = rows.values.sum(1)
    return (total - total.mean()) / total.std()


@measured("the same for all rows", says="the same for all rows")
def _(rows):
    return torch.ones(len(rows))


@measured("one number for all rows", says="one value for each")
def _(rows):
    return rows.values.mean()


# --- project_report ----------------------------------------------------------

REPORT = (
    "project_rows project_model project_trained project_property project_probe"
)


@functools.cache
def numbers_of(binary):
    base = BITS if binary else REALS
    train, test = base["project_rows"]("train"), base["project_rows"]("test")
    found = {"elbo": [], "bound": [], "probe": [], "shuffled": []}
    for seed in range(3):
        model = trained(base["project_model"](seed), train)
        found["elbo"].append(evaluate(model, test)["elbo"])
        found["bound"].append(log_likelihood(model, test, 50, seed=1))
        value = base["project_property"]
        kept = probe(
            codes(model, train), value(train), codes(model, test), value(test)
        )
        found["probe"].append(kept["score"])
        found["shuffled"].append(kept["shuffled"])
    return found | {"reference": float(base["project_reference"](train, test))}


def reported(text, says, base=REALS, listed=wrong):
    """A wrong answer to P.7: what becomes of the right numbers."""

    def keep(change):
        def project_numbers():
            return change(dict(numbers_of(base is BITS)))

        objects = part(REPORT, base) | {"project_numbers": project_numbers}
        if says:
            wrong("project_report", text, says=says)(named_several(objects))
        else:
            right("project_report", text)(named_several(objects))
        return change

    return keep


@reported("computed, real numbers", says="")
def _(numbers):
    return numbers


@reported("rounded, zeros and ones", says="", base=BITS)
def _(numbers):
    short = {
        name: [float(f"{v:.3g}") for v in numbers[name]]
        for name in ("elbo", "bound", "probe", "shuffled")
    }
    return short | {"reference": float(f"{numbers['reference']:.3g}")}


@reported("the loss for the ELBO", says="not the loss")
def _(numbers):
    return numbers | {"elbo": [-v for v in numbers["elbo"]]}


@reported("nats for one number", says="one number of a row")
def _(numbers):
    return numbers | {"elbo": [v / 6 for v in numbers["elbo"]]}


@reported("a better ELBO than the model has", says="the notebook gives")
def _(numbers):
    return numbers | {"elbo": [v + 2 for v in numbers["elbo"]]}


@reported("one number for three seeds", says="one value for each seed")
def _(numbers):
    return numbers | {"elbo": numbers["elbo"][0]}


@reported("one run three times", says="are the same number")
def _(numbers):
    return numbers | {"elbo": numbers["elbo"][:1] * 3}


@reported("forgets the reference", says="return a dict with reference")
def _(numbers):
    return {k: v for k, v in numbers.items() if k != "reference"}


@reported("another reference", says="reference: the report says")
def _(numbers):
    return numbers | {"reference": 0.0}


@reported("a better probe", says="the report says")
def _(numbers):
    return numbers | {"probe": [v + 0.3 for v in numbers["probe"]]}
