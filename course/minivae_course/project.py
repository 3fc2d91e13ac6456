"""Checks for the project, whatever data it is about.

All that a check knows of the data comes from the student's own functions, or
from models that it builds for data of that shape. The data of the worked
example on the page are refused, unless $MINIVAE_WORKED_EXAMPLE is set where
the check runs: the instructor's notebook is the only one that needs it.
"""

import math
import os
from collections import Counter

import torch
from torch import Tensor
from torch.distributions import Normal

from minivae import CVAE, evaluate, log_likelihood
from minivae.data import Images, Rows, Table
from minivae.evaluate import active_units, codes, log_importance_weights
from minivae_course.check import (
    Draws,
    Student,
    WrongError,
    check,
    equal,
    function,
    number,
    require,
    tensor,
)

ALLOWED = "MINIVAE_WORKED_EXAMPLE"
EXAMPLE = ("wine", (178, 13))  # name, and size of both splits together
USED = {  # in the book
    "mnist": (70_000, 0),
    "builtin": (1797, 64),
    "tumours": (569, 30),
    "vowels": (0, 0),
}
SEEDS = 3  # models of the report
MOST = 15_000_000  # numbers that travel at once
SAMPLES = 50  # codes for each row in the report's bound


# --- what the checks share ---------------------------------------------------


def rows_of(project_rows: Student, split: str) -> Rows:
    """The student's rows of a split."""
    found = function("project_rows", project_rows)(split)
    require(
        isinstance(found, Table | Images),
        f'project_rows("{split}"): found a '
        f"{getattr(found, 'kind', type(found).__name__)}, expected a Table or "
        "Images of minivae.data",
    )
    require(
        found.y is not None,
        "there are no conditions: give Table the labels (N,) or the "
        "conditions (N, C) of its rows",
    )
    return found


def splits(project_rows: Student) -> tuple[Rows, Rows]:
    """The student's training and test rows, if they are the student's own."""
    train, test = (rows_of(project_rows, s) for s in ("train", "test"))
    name, size = train.source.lower(), (len(train) + len(test), width(train))
    if name == EXAMPLE[0] or size == EXAMPLE[1]:
        require(
            os.environ.get(ALLOWED),
            "these are the data of the worked example. Choose your own: the "
            "example shows the way, and cannot be handed in",
        )
    require(
        name not in USED and size not in USED.values(),
        f"the book has used these data ({train.source}): choose others",
    )
    return train, test


def model_of(project_model: Student, seed: int) -> CVAE:
    """The student's model, untrained, of a kind that can be checked."""
    found = function("project_model", project_model)(seed)
    kind = getattr(found, "kind", type(found).__name__)
    require(
        type(found) is CVAE or kind != "CVAE",
        "project_model: this CVAE has parts of your own, and the checks can "
        'only build those of the package again. Take network="mlp" or '
        '"conv", and describe your own model in the text',
    )
    require(
        type(found) is CVAE,
        f"project_model: found a {kind}, expected a CVAE, which is told the "
        "conditions",
    )
    likelihood, sigma = (found.options[k] for k in ("likelihood", "sigma"))
    require(
        likelihood in ("bernoulli", "gaussian") and sigma != "each",
        f"project_model: likelihood={likelihood!r}, sigma={sigma!r}. The "
        'checks know "bernoulli", and "gaussian" with one sigma for all '
        "numbers of a row; describe another model in the text",
    )
    return found


def trained_by(project_trained: Student, model: CVAE, rows: Rows) -> CVAE:
    """The model as the student's function leaves it."""
    train = function("project_trained", project_trained)
    found, _ = train.changed(model, rows)
    require(
        found is not None, "project_trained returns None: return the model"
    )
    require(
        type(found) is CVAE and found.options == model.options,
        "project_trained: return the model that it was given, trained",
    )
    good = all(bool(w.isfinite().all()) for w in found.parameters())
    require(good, "the trained model has weights that are NaN: lower lr")
    return found


def matrix(rows: Rows) -> Tensor:
    """All rows as numbers, float64 (N, D); pixels from 0 to 1."""
    return rows.x().flatten(1).double()


def width(rows: Rows) -> int:
    """D, numbers in a row."""
    return math.prod(rows.shape)


def is_binary(model: CVAE) -> bool:
    """Whether the likelihood is that of zeros and ones."""
    return model.likelihood.name == "bernoulli"


def conditions(rows: Rows) -> list[Tensor]:
    """Each condition by itself, float64 (N,), NaN where not known."""
    y = rows.y.double()
    return [y] if y.ndim == 1 else list(y.unbind(1))


def classes(model: CVAE) -> list[int]:
    """Number of classes of each condition, 1 for a number."""
    return list(model.conditions) or [model.n_classes]


def ignorant(binary: bool, train: Rows, test: Rows) -> Tensor:
    """Log-likelihood of test rows without code and condition, (N,)."""
    x, t = matrix(train), matrix(test)
    mean = x.mean(0)
    if binary:
        p = mean.clamp(0.001, 0.999)
        return (t * p.log() + (1 - t) * (1 - p).log()).sum(1)
    sigma = (x - mean).square().mean().sqrt().clamp_min(1e-9)
    return Normal(mean, sigma).log_prob(t).sum(1)


def linear(draws: Draws, like: CVAE, sigma: float) -> CVAE:
    """A model for the same data, without hidden layers, of random weights.

    For each number of a row, the decoder's weights for the code have the
    length one.

    Args:
        draws: source of the weights.
        like: the student's model.
        sigma: of a Gaussian likelihood.
    """
    options = like.options | {"network": "mlp", "hidden": (), "beta": 3.0}
    if not is_binary(like):
        options["sigma"] = sigma
    model = CVAE(**options)
    with torch.no_grad():
        for weights in model.parameters():
            if weights.ndim:
                weights.copy_(draws.normal(*weights.shape))
        code = model.decoder[-1].weight[:, : model.n_latent]
        code.div_(code.norm(dim=1, keepdim=True))
        model.decoder[-1].bias.mul_(0.3)
    return model


def encoded(draws: Draws, like: CVAE) -> CVAE:
    """Such a model whose q(z|x) is close to the posterior, and not on it.

    With a Gaussian likelihood the distance is 0.8 nats; the KL is larger.
    """
    model = linear(draws, like, 1.0)
    n, pixels = model.n_latent, model.n_values
    # x - 1/2 has about a quarter of the slope of the logits
    slope, middle, squared = (
        (0.25, 0.5, 10.0) if is_binary(like) else (1.0, 0.0, 8.0)
    )
    turn, _ = torch.linalg.qr(draws.normal(pixels, n))
    variance = 1 / (1 + slope * squared)
    with torch.no_grad():
        first, last = model.encoder[0], model.decoder[-1]
        last.weight[:, n:] *= 0.3
        last.weight[:, :n] = math.sqrt(squared) * turn
        back = variance * last.weight[:, :n].T
        first.weight[:n, :pixels] = back
        first.weight[:n, pixels:] = -slope * back @ last.weight[:, n:]
        first.bias[:n] = -back @ (slope * last.bias + middle)
        first.bias[:n] += math.sqrt(1.6 * variance / n)
        first.weight[n:] = 0
        first.bias[n:] = math.log(variance)
    return model


def near(
    what: str,
    found: object,
    right: Tensor,
    mistakes: dict[str, Tensor],
    slack: float,
) -> None:
    """As `equal`, for values that were drawn: names the nearest mistake."""
    value = tensor(what, found, tuple(right.shape))
    off = {k: float((value - v).abs().max()) for k, v in mistakes.items()}
    likely = min(off, key=off.get)
    scale = max(1e-3, float(right.abs().max()))
    equal(what, value, right, {likely: mistakes[likely]}, slack / scale)


# --- the parts ---------------------------------------------------------------


@check(seconds=60)
def project_data(draws: Draws, project_rows: Student) -> str:
    """Rows of two splits: own, enough, finite, disjoint, well scaled.

    Scaling is held against the mean and spread of the training rows, of the
    test rows, and of both together, which would be a leak.
    """
    train, test = splits(project_rows)
    for rows, split, low, high in (
        (train, "train", 100, 10_000),
        (test, "test", 30, 1000),
    ):
        require(
            rows.split == split,
            f'project_rows("{split}"): its split is {rows.split!r}, expected '
            f"{split!r}",
        )
        require(
            low <= len(rows) <= high,
            f"the {split} rows: found {len(rows):,}, expected {low:,} to "
            f"{high:,}",
        )
    require(
        train.shape == test.shape,
        f"training rows have the shape {train.shape} and test rows "
        f"{test.shape}",
    )
    require(
        len(train) * width(train) <= MOST,
        f"the training rows are {len(train) * width(train):,} numbers, more "
        f"than {MOST:,}: take fewer rows or smaller pictures",
    )
    varies = int((matrix(train).std(0) > 0).sum())
    require(varies >= 3, f"only {varies} columns vary in the training rows")
    _conditions(train, test)
    require(
        rows_of(project_rows, "train").digest() == train.digest(),
        "two calls give different training rows: choose the rows with a "
        "fixed seed, or by their place",
    )
    _disjoint(train, test)
    if isinstance(train, Table):
        _scaled(matrix(train), matrix(test))
    return (
        f"right: {len(train):,} training and {len(test):,} test rows of "
        f"{width(train)} numbers"
    )


def _conditions(train: Rows, test: Rows) -> None:
    require(
        train.y.dtype == test.y.dtype and train.y.ndim == test.y.ndim,
        "the conditions of training and test rows are of different kinds",
    )
    require(
        train.y.shape[1:] == test.y.shape[1:],
        "training and test rows have different numbers of conditions",
    )
    for i, (y, t) in enumerate(zip(conditions(train), conditions(test))):
        known = y[~y.isnan()]
        require(
            len(known.unique()) >= 2,
            f"condition {i} is the same in all training rows: it tells the "
            "model nothing",
        )
        if train.y.is_floating_point():
            continue
        for value in t.unique():
            n = int((known == value).sum())
            require(
                n >= 5,
                f"label {int(value)} is in the test rows, and {n} training "
                "rows have it, expected at least 5: mix the rows before you "
                "split them, with a fixed seed",
            )


def _disjoint(train: Rows, test: Rows) -> None:
    x, t = (
        [row.tobytes() for row in matrix(rows).float().numpy()]
        for rows in (train, test)
    )
    seen = Counter(x)
    twice = sum(n for n in seen.values() if n > 1) / len(x)  # by nature
    leaked = sum(row in seen for row in t)
    require(
        leaked <= (twice + 0.05) * len(t),
        f"{leaked} of {len(t)} test rows are training rows too: keep the "
        "splits apart",
    )


def _standard(x: Tensor) -> Tensor:
    """Which columns have mean 0 and standard deviation 1."""
    n = len(x)
    spread = x.std(0)
    biased = spread * math.sqrt((n - 1) / n)
    one = torch.minimum((spread - 1).abs(), (biased - 1).abs())
    return (x.mean(0).abs() < 1e-3) & (one < 1e-3)


def _reached(x: Tensor) -> Tensor:
    """Which columns go from 0 to 1."""
    return (x.amin(0).abs() < 1e-6) & ((x.amax(0) - 1).abs() < 1e-6)


def _scaled(x: Tensor, t: Tensor) -> None:
    """Columns of size one, by numbers of the training rows alone."""
    both = torch.cat([x, t])
    many = max(2, x.shape[1] // 2)
    require(
        _standard(t).sum() < many,
        "the test rows have mean 0 and standard deviation 1 themselves: "
        "scale them with mean and standard deviation of the training rows",
    )
    leak = (
        "the rows were scaled with numbers of all rows, {}: so the test rows "
        "leak into training. Use those of the training rows alone"
    )
    require(
        int((_standard(both) & ~_standard(x)).sum()) < many,
        leak.format("their mean and standard deviation"),
    )
    ends = ((both == 0) | (both == 1)).double().mean()
    whole, part = int(_reached(both).sum()), int(_reached(x).sum())
    require(
        ends > 0.2 or whole < x.shape[1] or part == whole,
        leak.format("their smallest and largest values"),
    )
    spread = x.std(0)
    off = (x.mean(0).abs() > 3) | (spread > 10)
    off |= (spread > 0) & (spread < 0.1)
    off &= x.abs().amax(0) > 1
    worst = int(off.nonzero()[0, 0]) if bool(off.any()) else 0
    require(
        not bool(off.any()),
        f"column {worst} of the training rows has mean "
        f"{float(x[:, worst].mean()):.3g} and standard deviation "
        f"{float(spread[worst]):.3g}: bring the columns to size one, with "
        "numbers of the training rows",
    )


@check(seconds=60)
def project_likelihood(
    draws: Draws,
    project_rows: Student,
    project_model: Student,
    project_reference: Student,
) -> str:
    """A model whose width, likelihood and conditions suit the rows.

    The score of a model that knows nothing is held against
    torch.distributions, on several choices of rows.
    """
    train, test = splits(project_rows)
    seed = draws.whole(0, SEEDS)
    model = model_of(project_model, seed)
    _fits(model, train, test)
    same, other = (model_of(project_model, s) for s in (seed, seed + 1))
    first, again, third = (
        next(m.encoder.parameters()) for m in (model, same, other)
    )
    require(
        torch.equal(first, again),
        "two models of one seed differ: pass seed on to CVAE",
    )
    require(
        not torch.equal(first, third),
        "models of two seeds are the same: pass seed on to CVAE",
    )
    reference = function("project_reference", project_reference)
    half = torch.randperm(len(train), generator=draws.generator)
    half = train[half[: len(train) // 2]]
    for x, t in ((train, test), (half, test), (half, test[:20])):
        _reference(is_binary(model), x, t, reference(x, t))
    score = float(ignorant(is_binary(model), train, test).mean())
    kind = model.options["likelihood"]
    return f"right: {kind}; who knows nothing scores {score:.4g} nats a row"


def _fits(model: CVAE, train: Rows, test: Rows) -> None:
    require(
        model.shape in (train.shape, (width(train),)),
        f"the model reads rows of the shape {model.shape}, and yours have "
        f"{train.shape}: give it this shape",
    )
    both = torch.cat([matrix(train), matrix(test)])
    low, high = float(both.min()), float(both.max())
    if is_binary(model):
        require(
            low >= 0 and high <= 1,
            f"your numbers go from {low:.3g} to {high:.3g}: a Bernoulli "
            "likelihood takes those from 0 to 1 only. Is a Gaussian the "
            "right choice?",
        )
    else:
        require(
            not bool(((both == 0) | (both == 1)).all()),
            "all your numbers are 0 or 1: a Gaussian density of such numbers "
            "grows without limit. Choose a Bernoulli likelihood",
        )
    columns, sizes = conditions(train), classes(model)
    require(
        bool(model.conditions) == train.y.is_floating_point()
        and len(columns) == len(sizes),
        f"your rows have {'conditions' if train.y.ndim > 1 else 'labels'} of "
        f"shape {tuple(train.y.shape)}: labels (N,) need n_classes, and "
        "conditions (N, C) need conditions with C sizes",
    )
    for i, (y, n) in enumerate(zip(columns, sizes)):
        known = y[~y.isnan()]
        require(
            n == 1 or (float(known.min()) >= 0 and float(known.max()) < n),
            f"condition {i} goes from {float(known.min()):.3g} to "
            f"{float(known.max()):.3g}, and the model knows classes 0 to "
            f"{n - 1}",
        )
        require(
            n == 1 or bool((known == known.round()).all()),
            f"condition {i} is a number, not a class: its size is 1",
        )
    require(
        model.n_latent < width(train),
        f"a code of {model.n_latent} numbers for rows of {width(train)} "
        "squeezes nothing: a smaller n_latent",
    )
    n = sum(w.numel() for w in model.parameters())
    require(
        n <= 3_000_000,
        f"the model has {n:,} weights: more than the time of a check allows",
    )
    # what is wrong with the shapes shows here, as a ValueError
    model(train.x()[:3], train.y[:3])


def _reference(binary: bool, train: Rows, test: Rows, found: object) -> None:
    """Refuse a reference that is not that of these rows."""
    each = ignorant(binary, train, test)
    right, what = each.mean(), "the reference"
    x, t = matrix(train), matrix(test)
    mistakes = {
        "this is the sum over the rows; average them": each.sum(),
        "this is for one number of a row; sum over a row": right / x.shape[1],
        "the sign: log-likelihoods, not a loss": -right,
        "mean and sigma were fitted to the test rows": ignorant(
            binary, test, test
        ).mean(),
        "this scores the training rows": ignorant(binary, train, train).mean(),
    }
    if binary:
        # grey rows may be drawn as 0 or 1 first, as evaluate does
        drawn = ignorant(binary, train, test.binarized()).mean()
        value = tensor(what, found)
        if value.ndim == 0 and abs(value - drawn) < abs(value - right):
            right = drawn
    else:
        sigma = (x - x.mean(0)).square().mean().sqrt()
        constant = x.shape[1] * math.log(2 * math.pi) / 2
        mistakes |= {
            "the constant log(2 pi) / 2 is missing": right + constant,
            "log sigma is missing": right + x.shape[1] * sigma.log(),
            "one mean for all columns: each has its own": Normal(
                x.mean(), x.std()
            )
            .log_prob(t)
            .sum(1)
            .mean(),
        }
    equal(what, found, right, mistakes, 5e-3)


@check(seconds=60)
def project_training(
    draws: Draws,
    project_rows: Student,
    project_model: Student,
    project_trained: Student,
) -> str:
    """Training that learns: all weights move, the same way each time.

    The ELBO of test rows must be above the log-likelihood of a model that
    knows nothing, and at least one latent dimension must be active.
    """
    train, test = splits(project_rows)
    model = model_of(project_model, draws.whole(0, SEEDS))
    trained = trained_by(project_trained, model, train)
    after = trained.state_dict()
    before = dict(model.named_parameters())
    still = [name for name in before if torch.equal(before[name], after[name])]
    require(
        len(still) < len(before),
        "no weight has moved: is the model trained, or a copy of it?",
    )
    require(
        not still,
        f"{', '.join(still[:3])}: not moved by training. Is something "
        "detached, frozen or left out of the optimiser?",
    )
    fewer = train[torch.arange(0, len(train), 3)]
    one, two = (trained_by(project_trained, model, fewer) for _ in range(2))
    a, b, c = (evaluate(m, test)["elbo"] for m in (one, two, trained))
    require(
        abs(a - b) <= 1e-3 * max(1.0, abs(a)),
        f"training twice with the same rows ends at {a:.4g} and {b:.4g} nats: "
        "draw order and noise with a fixed seed",
    )
    require(
        not all(
            torch.equal(a, b)
            for a, b in zip(one.parameters(), trained.parameters())
        ),
        "training with a third of the rows ends in the same weights: use the "
        "rows that project_trained is given",
    )
    floor = float(ignorant(is_binary(model), train, test).mean())
    if c < floor + 0.2:
        inside = evaluate(trained, train)["elbo"]
        least = float(ignorant(is_binary(model), train, train).mean())
        why = (
            "It is better on the training rows, so it learned them by heart: "
            "a smaller network, fewer epochs or more rows"
            if inside > least + 0.2
            else "Train longer, with another lr, or look for a mistake"
        )
        raise WrongError(
            f"the ELBO of the test rows is {c:.4g} nats a row, and a model "
            f"that knows nothing scores {floor:.4g}. {why}"
        )
    active = int(active_units(trained, test).sum())
    require(
        active,
        "no latent dimension is active: all that the model knows comes from "
        "the conditions. Train longer, let the KL warm up, or look at sigma",
    )
    return (
        f"right: ELBO {c:.4g} nats a row on test rows, {c - floor:.3g} above "
        f"a model that knows nothing; active dimensions: {active}"
    )


@check(seconds=60)
def project_bound(
    draws: Draws,
    project_rows: Student,
    project_model: Student,
    project_bound: Student,
) -> None:
    """The bound from k codes, in nats per row, for models of random weights.

    Held against many draws of minivae's importance weights; for k = 1 it is
    the ELBO of `evaluate`.
    """
    _, test = splits(project_rows)
    like = model_of(project_model, 0)
    bound = function("project_bound", project_bound)
    for n, k in ((50, 1), (40, 30), (1, 5), (25, 100)):
        model = encoded(draws, like)
        some = torch.randperm(len(test), generator=draws.generator)[:n]
        rows = test[some]
        rows = rows.binarized() if is_binary(like) else rows
        x, n, m = matrix(rows).float(), len(rows), 40
        with torch.no_grad():
            weights = log_importance_weights(
                model, x, rows.y, m * k, draws.generator
            ).double()
            mu, logvar = model.encode(x, rows.y)
            z = mu + (logvar / 2).exp() * draws.normal(200, *mu.shape)
            log_p = model.log_likelihood(x, z, rows.y).double()
        # m estimates from k codes each
        each = weights.view(m, k, n).logsumexp(1).mean(1) - math.log(k)
        right, spread = each.mean(), each.std()
        mistakes = {
            "a mean of logarithms is the ELBO: average the weights": (
                weights.mean()
            ),
            "subtract log k: the weights are averaged, not summed": (
                right + math.log(k)
            ),
            "this is a sum over the rows; average them": right * n,
            "the sign: a bound, not a loss": -right,
            "this is for one number of a row": right / x.shape[1],
            "the KL is missing: a weight is p(x, z) / q(z|x)": log_p.mean(),
            "the KL is missing; a weight is p(x, z) / q(z|x)": (
                log_p.logsumexp(0).mean() - math.log(len(log_p))
            ),
        }
        slack = 8 * float(spread) * math.sqrt(1 + 1 / m) + 1e-3
        what = f"the bound from {k} codes" if k > 1 else "the bound (one code)"
        near(what, bound(model, rows, k), right, mistakes, slack)


def _moments_of(draws: Draws, model: CVAE, wish: Tensor, x: Tensor) -> None:
    """Refuse draws x of a linear model that are not from p(x | wish)."""
    n = len(x)
    z = draws.normal(20_000, model.n_latent)
    told = wish[None].expand(len(z), *wish.shape)
    with torch.no_grad():
        mean = model.decode(z, told).flatten(1).double()
    centre = mean.mean(0)
    if is_binary(model):
        require(
            float(x.min()) >= 0 and float(x.max()) <= 1,
            f"values go from {float(x.min()):.3g} to {float(x.max()):.3g}: "
            "these are logits. Take the sigmoid",
        )
        p = mean.sigmoid()
        slack = 8 * 0.5 * math.sqrt(1 / n + 1 / len(z))
        at_zero = centre.sigmoid()
        mistakes = {"z was not drawn from the prior": at_zero}
        equal("the mean of many rows", x.mean(0), p.mean(0), mistakes, slack)
        sharp = bool(((x == 0) | (x == 1)).all())
        spread = (p * (1 - p) + p.square()).mean(0) - p.mean(0).square()
        spread = spread.sqrt() if sharp else p.std(0)
        equal("the spread of many rows", x.std(0), spread, None, 0.15)
        return
    sigma = model.options["sigma"]
    right = (mean.var(0) + sigma**2).sqrt()
    require(
        not (float(x.min()) >= 0 and float(x.max()) <= 1),
        "all values lie from 0 to 1: were they cut off there, as those of "
        "pictures are? Take decode, and add the noise",
    )
    mistakes = {
        "the noise is missing: decode gives the mean of p(x|z)": mean.std(0),
        "z is the same for all rows, or 0": torch.full_like(right, sigma),
        "sigma squared stands where sigma belongs": (
            (mean.var(0) + sigma**4).sqrt()
        ),
        "log_sigma is the logarithm of sigma": (
            (mean.var(0) + math.log(sigma) ** 2).sqrt()
        ),
        "noise of size one: multiply it by sigma": ((mean.var(0) + 1).sqrt()),
    }
    # a spread with a known cause, else the mean, else the spread alone
    unknown = None
    try:
        what = "the standard deviation of many rows"
        slack = 9 / math.sqrt(2 * n) * float(right.max())
        near(what, x.std(0), right, mistakes, slack)
    except WrongError as error:
        if "Likely" in str(error):
            raise
        unknown = error
    off = (x.mean(0) - centre).abs() / right
    slack = 8 * math.sqrt(1 / n + 1 / len(z))
    require(
        float(off.max()) < slack,
        f"the mean of many rows is off by {float(off.max()):.2g} standard "
        "deviations: does every row get the condition that was asked for, "
        "and z from N(0, I)?",
    )
    if unknown:
        raise unknown


@check(seconds=60)
def project_draws(
    draws: Draws,
    project_rows: Student,
    project_model: Student,
    project_trained: Student,
    project_draw: Student,
) -> str:
    """New rows from p(x | condition), noise included.

    Held against the moments of models without hidden layers. Those of the
    trained model must vary, must be no copies, and a linear judge that
    learned from the training rows must find what was asked for.
    """
    train, test = splits(project_rows)
    model = model_of(project_model, draws.whole(0, SEEDS))
    draw = function("project_draw", project_draw)
    wishes = _wishes(draws, test)
    for wish, n in ((wishes[0], 3000), (wishes[-1], 3000)):
        known = linear(draws, model, 1.5)
        x = tensor("new rows", draw(known, wish, n), (n, width(train)))
        require(
            float((x - x[:1]).abs().max()) > 0, "all new rows are the same"
        )
        _moments_of(draws, known, wish, x)
    x = tensor("one new row", draw(known, wish, 1), (1, width(train)))
    require(
        not torch.equal(x, tensor("one new row", draw(known, wish, 1))),
        "two calls draw the same row: take out the fixed seed",
    )
    trained = trained_by(project_trained, model, train)
    n = 100
    new = torch.cat(
        [
            tensor("rows", draw(trained, w, n), (n, width(train)))
            for w in wishes
        ]
    )
    old, held = matrix(train), matrix(test)
    ours, theirs = (
        torch.cdist(v.float(), old.float()).amin(1).median()
        for v in (new, held)
    )
    require(
        ours >= 0.2 * theirs,
        f"new rows are {float(ours):.2g} away from the nearest training row, "
        f"and test rows {float(theirs):.2g}: these are copies",
    )
    ratio = float(new.var(0).sum() / held.var(0).sum())
    require(
        0.05 <= ratio <= 20,
        f"new rows vary {ratio:.2g} times as much as test rows",
    )
    said = [
        _obeyed(i, size, train, test, new, torch.stack(wishes), n)
        for i, size in enumerate(classes(model))
    ]
    return f"right: {'; '.join(said)}"


def _wishes(draws: Draws, test: Rows) -> list[Tensor]:
    """Conditions to ask for: as different as the test rows have them."""
    y = test.y
    if y.ndim == 1:
        found = y.unique()
        found = found[torch.randperm(len(found), generator=draws.generator)]
        return list(found[:5])
    y = y[~y.isnan().any(1)]
    require(len(y), "no test row has all its conditions known")
    ends = [c.argmin() for c in y.unbind(1)] + [
        c.argmax() for c in y.unbind(1)
    ]
    rows = torch.stack([*ends, *torch.randperm(len(y))[:2]])
    return list(y[rows])


def _obeyed(
    i: int,
    size: int,
    train: Rows,
    test: Rows,
    new: Tensor,
    wishes: Tensor,
    n: int,
) -> str:
    """What a linear judge says of condition i; refuses disobedience."""
    x, t = matrix(train), matrix(test)
    y, y_test = conditions(train)[i], conditions(test)[i]
    asked = (wishes if wishes.ndim == 1 else wishes[:, i]).double()
    asked = asked.repeat_interleave(n)
    known, known_test = ~y.isnan(), ~y_test.isnan()
    x, y, t, y_test = x[known], y[known], t[known_test], y_test[known_test]
    goal = y[:, None]
    if size > 1:
        goal = torch.nn.functional.one_hot(y.long(), size).double()
    read = _judge(x, goal)
    if size == 1:
        score = torch.corrcoef(torch.stack([read(t)[:, 0], y_test]))[0, 1]
        if not score > 0.4:
            return f"condition {i} cannot be judged by its rows"
        slope = torch.cov(torch.stack([read(new)[:, 0], asked]))
        slope = float(slope[0, 1] / slope[1, 1])
        require(
            slope > 0.2,
            f"condition {i} is not obeyed: raised by one, the judge finds it "
            f"raised by {slope:.2g}",
        )
        return f"condition {i} raised by one is found raised by {slope:.2g}"
    judge = float((read(t).argmax(1) == y_test).double().mean())
    chance = float((y_test == y.mode().values).double().mean())
    if judge < chance + 0.1:
        return f"condition {i} cannot be judged by its rows"
    found = read(new).argmax(1)
    obeyed = float((found == asked).double().mean())
    # as often by accident, if the condition were not used
    by_luck = sum(
        float((asked == one).double().mean() * (found == one).double().mean())
        for one in asked.unique()
    )
    require(
        obeyed > by_luck + 0.12,
        f"condition {i}: {obeyed:.0%} of the new rows are found as asked, "
        f"{by_luck:.0%} would be by luck, and {judge:.0%} of real ones are. "
        "Is the condition used?",
    )
    return f"{obeyed:.0%} of new rows are found as asked, {judge:.0%} of real"


def _judge(x: Tensor, goal: Tensor):
    """Ridge regression from rows to goals, as a function of rows."""
    some = slice(None, None, max(1, len(x) // 2000))
    x, goal = x[some], goal[some]
    # one scale for all columns: a rare pixel is no sign of anything
    centre, spread = x.mean(0), x.var(0).mean().sqrt()
    base = goal.mean(0)

    def ready(v: Tensor) -> Tensor:
        return ((v - centre) / spread).clamp(-10, 10)

    a = ready(x)
    penalty = (0.01 * len(a) + 1) * torch.eye(a.shape[1], dtype=a.dtype)
    weights = torch.linalg.solve(a.T @ a + penalty, a.T @ (goal - base))
    return lambda v: ready(v) @ weights + base


def _property(measure: Student, rows: Rows) -> Tensor:
    """The student's property of these rows, of its own dtype."""
    found = measure(rows)
    tensor("the property", found, (len(rows),))
    return torch.as_tensor(found)


def _counted(values: Tensor) -> bool:
    return not values.is_floating_point()


def _probed(probe: Student, *given: Tensor) -> dict[str, float]:
    found = probe(*given)
    require(
        isinstance(found, dict)
        and {"score", "baseline", "shuffled"} <= found.keys(),
        'project_probe: return a dict with "score", "baseline" and "shuffled"',
    )
    return {
        name: number(name, found[name], high=1.0 + 1e-6)
        for name in ("score", "baseline", "shuffled")
    }


@check(seconds=60)
def project_probe(
    draws: Draws,
    project_rows: Student,
    project_model: Student,
    project_trained: Student,
    project_property: Student,
    project_probe: Student,
) -> str:
    """A property of each row, and a probe for it with two controls.

    The probe is tried on codes that tell all, and on codes that tell
    nothing and are so many that it fits the training rows by chance.
    """
    train, test = splits(project_rows)
    measure = function("project_property", project_property)
    values, held = _property(measure, train), _property(measure, test)
    counted = _counted(values)
    kinds, counts = values.unique(return_counts=True)
    require(len(kinds) > 1, "the property is the same for all rows")
    require(
        not counted or int(counts.min()) >= 5,
        f"the property has a class of {int(counts.min())} training rows, "
        "expected at least 5",
    )
    some = torch.randperm(len(train), generator=draws.generator)[:12]
    equal(
        "the property of twelve rows alone",
        _property(measure, train[some]),
        values[some].double(),
        tolerance=1e-3,
    )
    _untold(train, values.double(), counted)
    probe = function("project_probe", project_probe)
    kept = _probe_on_known(draws, probe, counted, min(4, len(kinds)))
    model = model_of(project_model, draws.whole(0, SEEDS))
    trained = trained_by(project_trained, model, train)
    z, z_test = codes(trained, train), codes(trained, test)
    kept = _probed(probe, z, values, z_test, held)
    return (
        f"right: score {kept['score']:.2f}, baseline {kept['baseline']:.2f}, "
        f"shuffled {kept['shuffled']:.2f}"
    )


def _untold(train: Rows, values: Tensor, counted: bool) -> None:
    """Refuse a property that a condition gives away."""
    for i, y in enumerate(conditions(train)):
        known = ~y.isnan()
        v, y = values[known], y[known]
        if len(y.unique()) <= 20:
            guess = torch.zeros_like(v)
            for one in y.unique():
                inside = v[y == one]
                guess[y == one] = (
                    inside.mode().values if counted else inside.mean()
                )
        else:
            line = torch.stack([y, torch.ones_like(y)], 1)
            guess = line @ torch.linalg.lstsq(line, v[:, None]).solution
            guess = guess[:, 0].round() if counted else guess[:, 0]
        told = (
            float((guess == v).double().mean())
            if counted
            else 1 - float((v - guess).var() / v.var())
        )
        require(
            told < 0.98,
            f"condition {i} tells the property already ({told:.0%}): the "
            "model is told it, so the code need not keep it. Choose another",
        )


def _probe_on_known(
    draws: Draws, probe: Student, counted: bool, n_kinds: int
) -> None:
    """Try a probe where the answer is known."""

    def valued(v: Tensor, n: int) -> Tensor:
        return v[:, :n].argmax(1) if counted else 50 + 10 * v[:, 0]

    z, z_test = draws.normal(400, 4), draws.normal(300, 4)
    y, y_test = (valued(v, max(2, n_kinds)) for v in (z, z_test))
    base = float((y_test == y.mode().values).double().mean()) if counted else 0
    found = _probed(probe, z, y, z_test, y_test)
    low = base + 0.25 if counted else 0.5
    number(
        "the score where codes tell all",
        found["score"],
        low,
        why="Does the probe learn from z and value, and score on z_test?",
    )
    number(
        "the shuffled control where codes tell all",
        found["shuffled"],
        high=base + 0.2,
        why="Shuffle the values that the probe learns from",
    )
    # nothing to be found, and twenty numbers to fit forty rows with
    z, z_test = draws.normal(40, 20), draws.normal(400, 20)
    y = (draws.uniform(40) > 0.7).long()
    y[:3] = torch.tensor([0, 1, 1])
    y_test = (draws.uniform(400) > 0.4).long()
    if not counted:
        y, y_test = 50 + 10 * draws.normal(40), 50 + 10 * draws.normal(400)
    found = _probed(probe, z, y, z_test, y_test)
    base = float((y_test == y.mode().values).double().mean()) if counted else 0
    mistakes = {}
    if counted:
        mistakes = {
            "this is the share in what the probe learns from; say the label "
            "that is most frequent there, and score it on value_test": (
                (y == y.mode().values).double().mean()
            ),
            "the label that is most frequent in value_test was looked up "
            "there; take it from value": max(base, 1 - base),
        }
    if counted:
        equal("the baseline", found["baseline"], base, mistakes, 1e-3)
    else:
        number("the baseline, that of the mean", found["baseline"], -0.3, 0.05)
    number(
        "the score where codes tell nothing",
        found["score"],
        high=0.15 + (0.55 if counted else 0),
        why="Score on z_test and value_test, never on what was learned from",
    )


@check(seconds=60)
def project_report(
    draws: Draws,
    project_rows: Student,
    project_model: Student,
    project_trained: Student,
    project_property: Student,
    project_probe: Student,
    project_numbers: Student,
) -> str:
    """The numbers of the report, recomputed for one of its three seeds.

    Bounds are those of minivae's evaluate and log_likelihood.
    """
    train, test = splits(project_rows)
    numbers = function("project_numbers", project_numbers)()
    names = ("elbo", "bound", "probe", "shuffled")
    require(
        isinstance(numbers, dict) and {"reference", *names} <= numbers.keys(),
        "project_numbers: return a dict with reference, elbo, bound, probe "
        "and shuffled",
    )
    lists = {
        name: tensor(f"{name}, one value for each seed", numbers[name], (3,))
        for name in names
    }
    elbos = lists["elbo"]
    require(
        float(elbos.max() - elbos.min()) > 0,
        "the three ELBOs are the same number: train once for each seed",
    )
    seed = draws.whole(0, SEEDS)
    model = model_of(project_model, seed)
    right = float(ignorant(is_binary(model), train, test).mean())
    _reported("reference", numbers["reference"], right)
    trained = trained_by(project_trained, model, train)
    elbo = evaluate(trained, test)["elbo"]
    bound = log_likelihood(trained, test, SAMPLES)
    mistakes = {
        "this is the score of the training rows": evaluate(trained, train)[
            "elbo"
        ],
        "the sign: the ELBO, not the loss": -elbo,
        "this is for one number of a row": elbo / width(train),
        "this is the bound from many codes": bound,
    }
    at = f"for seed {seed}"
    _reported(f"elbo {at}", lists["elbo"][seed], elbo, mistakes)
    mistakes = {"this is the ELBO": elbo}
    _reported(f"bound {at}", lists["bound"][seed], bound, mistakes)
    found = _probed(
        function("project_probe", project_probe),
        codes(trained, train),
        _property(function("project_property", project_property), train),
        codes(trained, test),
        _property(project_property, test),
    )
    for name, key in (("probe", "score"), ("shuffled", "shuffled")):
        value = float(lists[name][seed])
        require(
            abs(value - found[key]) <= 0.1,
            f"{name} {at}: the report says {value:.3g}, the notebook gives "
            f"{found[key]:.3g}",
        )
    require(
        bool((lists["bound"] >= elbos - 0.1 - 0.01 * elbos.abs()).all()),
        "a bound from many codes is below its ELBO: are they exchanged?",
    )
    return (
        f"right: ELBO {float(elbos.mean()):.4g}, spread over three seeds "
        f"{float(elbos.std()):.2g} nats a row"
    )


def _reported(
    what: str,
    value: object,
    right: float,
    mistakes: dict[str, float] | None = None,
) -> None:
    """Refuse a number of the report that the notebook does not give."""
    found = number(what, value)
    allowed = 0.1 + 0.02 * abs(right)
    if abs(found - right) <= allowed:
        return
    why = [
        f". Likely: {text}"
        for text, wrong in (mistakes or {}).items()
        if abs(found - wrong) <= min(0.05 + 0.02 * abs(wrong), allowed)
    ]
    raise WrongError(
        f"{what}: the report says {found:.4g}, the notebook gives "
        f"{right:.4g}{why[0] if why else ''}"
    )
