"""Checks for chapter 5: the VAE."""

import functools
import math
from statistics import NormalDist

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Normal, kl_divergence
from torch.nn.functional import max_pool2d

from minivae.data import Images, seeded
from minivae.evaluate import evaluate
from minivae.models import VAE
from minivae.notebook import brief
from minivae.train import History, TrainConfig, fit
from minivae_course.check import (
    Draws,
    Student,
    WrongError,
    builtin,
    check,
    choice,
    choices,
    equal,
    function,
    moments,
    number,
    parts,
    require,
    standard_normal,
    tensor,
)


def _parts(model: VAE, x: Tensor, noise: Tensor) -> dict[str, Tensor]:
    """The loss by torch.distributions, and what mistakes make of it."""
    mu, logvar = model.encode(x)
    q, prior = Normal(mu, (logvar / 2).exp()), Normal(0.0, 1.0)

    def nll(z: Tensor) -> Tensor:
        logits = model.decode(z).flatten(1)
        return -Bernoulli(logits=logits).log_prob(x)  # (B, D)

    z = mu + q.stddev * noise
    error, kl = nll(z), kl_divergence(q, prior)
    right = error.sum(-1) + kl.sum(-1)
    p = model.decode(z).flatten(1).sigmoid()
    twice = -Bernoulli(logits=p).log_prob(x).sum(-1)
    ratio = (q.log_prob(z) - prior.log_prob(z)).sum(-1)
    grey = (x - p).square().sum(-1)
    return {
        "": right,
        "the pixels are averaged, the latent dimensions summed; this weighs "
        "the KL D times too much. Sum both": error.mean(-1) + kl.sum(-1),
        "the KL is averaged over the latent dimensions; sum it": error.sum(-1)
        + kl.mean(-1),
        "pixels and latent dimensions are averaged; sum both": error.mean(-1)
        + kl.mean(-1),
        "the KL is missing": error.sum(-1),
        "the reconstruction is missing": kl.sum(-1),
        "the KL is subtracted from the reconstruction; both are to become "
        "small": error.sum(-1) - kl.sum(-1),
        "the sign of the reconstruction; it is -log p(x|z)": kl.sum(-1)
        - error.sum(-1),
        "this is the ELBO; the loss is its negative": -right,
        "the code is mu; draw it, mu + sigma noise": nll(mu).sum(-1)
        + kl.sum(-1),
        "sigma is exp(logvar / 2), not exp(logvar)": nll(
            mu + logvar.exp() * noise
        ).sum(-1)
        + kl.sum(-1),
        "the noise was used as the code: mu and sigma are missing": nll(
            noise
        ).sum(-1)
        + kl.sum(-1),
        "the sigmoid is taken twice": twice + kl.sum(-1),
        "the factor one half of the KL is missing": error.sum(-1)
        + 2 * kl.sum(-1),
        "beta weighs the KL in a loss; the ELBO has no beta": error.sum(-1)
        + model.beta * kl.sum(-1),
        "the KL is estimated from one code; use its closed form": error.sum(-1)
        + ratio,
        "this is the squared error; for binary pixels use the "
        "cross-entropy": grey + kl.sum(-1),
        "you summed over the digits as well": right.sum(),
        "you averaged over the digits as well": right.mean(),
    }


@check()
def vae_loss(draws: Draws, vae_loss: Student) -> None:
    """-ELBO of each digit under given noise, and its gradient.

    Held against torch.distributions. The gradients by all weights must be
    those of that loss: a loss that cannot train the model is refused.
    """
    loss = function("vae_loss", vae_loss)
    for rows, shape, n_latent in (
        (5, (1, 5, 6), draws.whole(3, 7)),
        (1, (1, 2, 3), 1),
        (draws.whole(2, 7), (1, 2, 2), 4),
    ):
        model = draws.model(VAE, n_latent, (8,), shape=shape, beta=2.5)
        model.train(rows > 1)
        x = draws.whole(0, 2, rows, model.n_values).float()
        noise = draws.normal(rows, n_latent)
        parts = {k: v.detach() for k, v in _parts(model, x, noise).items()}
        right = parts.pop("")
        found = loss(model, x, noise)
        try:
            equal("the loss", found, right, parts)
        except WrongError as error:
            again = loss(model, x, noise)
            if isinstance(found, Tensor) and isinstance(again, Tensor):
                require(
                    found.shape != again.shape or torch.equal(found, again),
                    "the loss differs from call to call. Draw no noise of "
                    "your own; use the argument noise",
                )
            raise WrongError(str(error)) from None
    _trains(draws, loss)
    _extremes(draws, loss)


def _extremes(draws: Draws, loss: Student) -> None:
    """Refuse what fails at logits of 60, or at tiny and huge variances."""
    model = draws.model(VAE, 2, (4,), shape=(1, 2, 3))
    x, noise = draws.whole(0, 2, 3, 6).float(), draws.normal(3, 2)
    with torch.no_grad():
        # the network is sure of the opposite of the first digit
        model.decoder[-1].weight.zero_()
        model.decoder[-1].bias.copy_(60 - 120 * x[0])
    right = _parts(model, x, noise)[""].detach()
    equal(
        "the loss where logits are 60 (a sigmoid of 60 rounds to 1 and a "
        "clamp holds them back, so work from the logits)",
        loss(model, x, noise),
        right,
    )
    model = draws.model(VAE, 2, (4,), shape=(1, 2, 3))
    with torch.no_grad():
        model.encoder[-1].weight[2:] = 0
    for text, low, high in (("-11 and below", -20, -11), ("11", 11, 12)):
        far = draws.uniform(2, low=low, high=high)
        with torch.no_grad():
            model.encoder[-1].bias[2:] = far
        right = _parts(model, x, noise)[""].detach()
        equal(
            f"the loss at log variances of {text}",
            loss(model, x, noise),
            right,
        )


def _trains(draws: Draws, loss: Student) -> None:
    """Refuse a loss whose gradients are not those of the loss."""
    model = draws.model(VAE, 2, (6,), shape=(1, 3, 3))
    x, noise = draws.whole(0, 2, 4, 9).float(), draws.normal(4, 2)
    # digits of different weight, so that none can stand for all
    weights = draws.uniform(4, low=0.5, high=2)
    value, found = loss.gradients(model, x, noise, weights=weights)
    tensor("the loss", value, (4,))
    names, leaves = zip(*model.named_parameters())
    total = (_parts(model, x, noise)[""] * weights).sum()
    right = torch.autograd.grad(total, leaves)
    known = _cut(model, x, noise, weights, leaves)
    halves = [name.split(".")[0] for name in names]
    for half, theirs in zip(halves, found):
        require(
            theirs is not None,
            f"no gradient reaches the {half}: training could not change it. "
            "Look for detach(), no_grad(), item(), or a copy of the model",
        )
    for half in ("encoder", "decoder"):
        require(
            any(bool(g.any()) for h, g in zip(halves, found) if h == half),
            f"all gradients of the {half} are 0: training could not change "
            "it. Look for detach(), no_grad(), item()",
        )
    for i, (name, mine, theirs) in enumerate(zip(names, right, found)):
        mistakes = {
            text: gradients[i]
            for text, gradients in known.items()
            if gradients[i] is not None
        }
        equal(f"the gradient by {name}", theirs, mine, mistakes)


def _cut(
    model: VAE,
    x: Tensor,
    noise: Tensor,
    weights: Tensor,
    leaves: tuple[Tensor, ...],
) -> dict[str, tuple[Tensor | None, ...]]:
    """The gradients of losses of which a part is detached."""
    mu, logvar = model.encode(x)
    q = Normal(mu, (logvar / 2).exp())
    kl = kl_divergence(q, Normal(0.0, 1.0)).sum(-1)
    still = q.stddev.detach()
    cut = {
        "the drawn code is detached, so the encoder learns nothing from the "
        "pictures": (mu.detach() + still * noise, kl),
        "sigma is detached in the draw": (mu + still * noise, kl),
        "mu is detached in the draw": (mu.detach() + q.stddev * noise, kl),
        "the KL is detached, so the encoder does not learn its price": (
            mu + q.stddev * noise,
            kl.detach(),
        ),
    }
    found = {}
    for text, (z, price) in cut.items():
        logits = model.decode(z).flatten(1)
        nll = -Bernoulli(logits=logits).log_prob(x).sum(-1)
        total = ((nll + price) * weights).sum()
        found[text] = torch.autograd.grad(
            total, leaves, retain_graph=True, allow_unused=True
        )
    return found


def _quantiles(shares: list[float]) -> Tensor:
    bell = NormalDist()
    return torch.tensor([bell.inv_cdf(p) for p in shares])


def _sheet(steps: Tensor, order: str = "") -> Tensor:
    """(n * n, 2): z1 grows to the right and z2 upwards, or mistaken."""
    up, right = torch.meshgrid(steps.flip(0), steps, indexing="ij")
    kinds = {
        "": (right, up),
        "down": (right, up.flip(0)),
        "swapped": (up, right),
        "plain": (up.flip(0), right),
        "left": (right.flip(1), up),
    }
    return torch.stack(kinds[order], -1).view(-1, 2)


@check()
def quantile_codes(draws: Draws, map_codes: Student) -> None:
    """n x n codes that cut the prior into parts of equal probability.

    Held against the quantiles of Python's statistics module.
    """
    codes = function("map_codes", map_codes)
    for n in (5, 20, draws.whole(6, 19), 2, 1, draws.whole(300, 500)):
        steps = _quantiles([(i + 0.5) / n for i in range(n)])
        found = codes(n)
        if isinstance(found, Tensor) and found.is_floating_point():
            require(
                not found.isinf().any(),
                f"for n = {n} some codes are infinite: the quantiles 0 and 1 "
                "lie at the ends of a distribution that has none. Take the "
                "middles of n slices",
            )
        inner = _quantiles([(i + 1) / (n + 1) for i in range(n)])
        mistakes = {
            "z1 and z2 are exchanged, and z2 grows downwards": _sheet(
                steps, "plain"
            ),
            "z2 grows downwards; the first row is the top of the map": _sheet(
                steps, "down"
            ),
            "z1 and z2 are exchanged: z1 grows to the right": _sheet(
                steps, "swapped"
            ),
            "z1 grows to the left": _sheet(steps, "left"),
            "these quantiles cut the prior into n + 1 slices; take the "
            "middles of n slices": _sheet(inner),
            "sigmoid is not the distribution function of a normal "
            "number": _sheet(torch.logit((torch.arange(n) + 0.5) / n)),
            "these are the probabilities; their quantiles are wanted": _sheet(
                (torch.arange(n) + 0.5) / n
            ),
        }
        _equal_steps(found, n)
        equal(f"the codes for n = {n}", found, _sheet(steps), mistakes, 1e-3)


def _equal_steps(found: object, n: int) -> None:
    """Refuse a grid with equal distances."""
    if n < 5 or not isinstance(found, Tensor) or found.shape != (n * n, 2):
        return
    steps = found.detach().double()[:, 0].unique()
    gaps = steps.diff()
    require(
        len(steps) != n
        or float(gaps.max() / gaps.min()) > 1.02
        or float(found.min()) >= 0,
        "the codes have equal distances, so the map shows places where the "
        "prior hardly ever goes. Use equal probabilities: quantiles",
    )


@check()
def new_digits(draws: Draws, new_digits: Student) -> None:
    """Pictures of codes from the prior; the same for the same seed.

    The model that is tried has no hidden layers, so that each picture
    betrays its code. The codes must be standard normal.
    """
    sheet = function("new_digits", new_digits)
    k = draws.whole(2, 6)
    model = draws.model(VAE, k, ())
    with torch.no_grad():  # its encoder puts all digits at 3
        model.encoder[0].bias.copy_(torch.tensor([3.0] * k + [-4.0] * k))
    seed = draws.whole(0, 1000)
    size = (5, 28, 28)
    for one in (0, seed):
        first = tensor("the sheet", sheet(model, 5, one), size)
        second = tensor("the sheet", sheet(model, 5, one), size)
        require(
            torch.equal(first, second),
            f"two sheets of the same seed differ, seed = {one}: draw the "
            "codes from torch.Generator().manual_seed(seed)",
        )
    sheets = [first]
    for step in (1, 2, 10, 100, draws.whole(1000, 10_000)):
        sheets.append(tensor("the sheet", sheet(model, 5, seed + step), size))
    require(
        len({tuple(one.flatten().tolist()) for one in sheets}) == len(sheets),
        "sheets of different seeds are equal: use seed",
    )
    n = 5000
    pixels = tensor("the sheet", sheet(model, n, seed), (n, 28, 28))
    pixels = pixels.flatten(1)
    low, high = float(pixels.min()), float(pixels.max())
    require(
        low >= 0 and high <= 1,
        f"pixels from {brief(low)} to {brief(high)}, expected 0 to 1. decode "
        "gives logits; return their sigmoid as it is",
    )
    require(
        bool(((pixels > 0) & (pixels < 1)).any()),
        "all pixels are 0 or 1, as if coins were flipped or numbers rounded. "
        "Return the mean of p(x|z), the probabilities of ink",
    )
    z = _codes(model, pixels)
    require(
        float((z.mean(0) - 3).abs().max()) > 0.5,
        "the codes come from the encoder, so the sheet redraws digits that "
        "exist. Draw the codes from the prior",
    )
    require(
        float(z.std(0).max()) > 1e-3,
        "all digits have the same code: draw one for each digit",
    )
    hint = "Draw each number of each code from N(0, 1)"
    moments("the codes", z, 0.0, 1.0, hint)
    between = torch.corrcoef(z.T)
    between.fill_diagonal_(0)
    require(
        float(between.abs().max()) < 0.25,
        "the dimensions of a code are not independent: draw each of them",
    )
    standard_normal("the codes", z)
    # a spread that is a little off shows in more digits only
    more = [
        tensor("the sheet", sheet(model, n, seed + i), (n, 28, 28)).flatten(1)
        for i in (1, 2)
    ]
    more = [_codes(model, pixels) for pixels in more]
    standard_normal("the codes", torch.cat([z, *more]))
    # mean and spread of five codes, which are not those of the prior
    few = torch.stack([_codes(model, one.flatten(1)) for one in sheets])
    require(
        float(torch.cat([few.mean(1), few.std(1)], 1).std(0).min()) > 1e-2,
        "the codes of each sheet have the same mean or the same spread. Do "
        "not standardise them: draw each one by itself",
    )
    # one digit is no special case
    single = [
        tensor("one digit", sheet(model, 1, seed + i), (1, 28, 28)).flatten(1)
        for i in range(100)
    ]
    z = _codes(model, torch.cat(single))
    wide, narrow = float(z.std(0).max()), float(z.std(0).min())
    require(
        wide < 1.5 and narrow > 0.55 and float(z.mean(0).abs().max()) < 0.65,
        "the codes of single digits, n = 1, are not from N(0, I)",
    )


def _codes(model: VAE, pixels: Tensor) -> Tensor:
    """The codes of pictures that a decoder of one layer has drawn."""
    layer = model.decoder[0]
    weight, bias = (v.detach().double() for v in (layer.weight, layer.bias))
    logits = torch.logit(pixels.clamp(1e-7, 1 - 1e-7)) - bias
    z = torch.linalg.lstsq(weight, logits.T).solution.T
    drawn = torch.sigmoid(z @ weight.T + bias)
    require(
        float((drawn - pixels).abs().max()) < 1e-3,
        "these pictures are not what the decoder draws at any code: is it "
        "sigmoid(decode(z)), row by row?",
    )
    return z


# --- copies ------------------------------------------------------------------


@functools.cache
def two_sheets() -> dict[str, Tensor]:
    """Sheets A and B, 100 pictures (100, 28, 28) each, with the same noise.

    One shows digits that are in the training set, the other digits that are
    not. Which is which is the question of an exercise.
    """
    g = seeded("cpu", "sheets", 0)
    rows = torch.randperm(len(builtin()), generator=g)[:100]
    first = builtin().images[rows]
    last = builtin("test").images[-100:]
    noise = 0.1 * torch.randn(2, 100, 28, 28, generator=g)
    both = torch.stack([last, first]).float() / 255 + noise
    return dict(zip("AB", both.clamp(0, 1)))


@check()
def training_copies(
    draws: Draws, nearest: Student, copied_share: Student, copier: Student
) -> str:
    """The nearest training digit, and whether a sheet is made of copies.

    Distances are held against a loop in double precision, the share against
    sheets with a known number of copies.
    """
    near = function("nearest", nearest)
    share = function("copied_share", copied_share)
    sizes = ((draws.whole(5, 9), 9, 5), (1, 4, 3), (7, 7, 28), (3, 1, 4))
    for rows, n, side in sizes:
        images = draws.uniform(rows, side, side + 1)
        train = draws.uniform(n, side, side + 1)
        if n > 7:
            images[-1] = train[0]  # an exact copy
        table = torch.stack(
            [(train - one).double().square().sum((1, 2)) for one in images]
        )
        best = table.min(1)
        far = table.max(1)
        d = side * (side + 1)
        mistakes = {
            "this is the root; the squared error is wanted": best[0].sqrt(),
            "this averages over the pixels; sum them": best[0] / d,
            "this is the farthest training digit": far[0],
            "this is the mean over the training digits": table.mean(1),
            "you took absolute differences; square them": torch.stack(
                [(train - one).abs().sum((1, 2)).min() for one in images]
            ),
            "an exact copy was passed over; its distance is 0": table.where(
                table > 0, math.inf
            ).min(1)[0],
        }
        if rows != n:
            mistakes[
                "for each training digit the nearest new one; it is the "
                "other way round"
            ] = table.min(0)[0]
        found = near(images, train)
        distances, at = parts("nearest", found, "distances, rows")
        equal("the distances", distances, best[0], mistakes)
        at = tensor("the rows", at, (rows,))
        require(
            torch.equal(at, best[1].double()),
            f"the rows: found {brief(at)}, expected {brief(best[1])}. They "
            "say which training digit is the nearest, argmin",
        )
    train, test = draws.uniform(60, 6, 6), draws.uniform(200, 6, 6)
    some = draws.whole(5, 30)
    for n_copies, n in ((some, 40), (30, 30), (1, 4)):
        # what is no copy is far from everything
        new = draws.uniform(n, 6, 6) + 2
        new[:n_copies] = train[:n_copies] + 0.01
        new[0] = train[0]
        found = number("copied_share", share(new, test, train), 0)
        wrong = found - n_copies / n
        require(
            abs(wrong) < 1e-6,
            f"copied_share: found {brief(found)}, expected "
            f"{brief(n_copies / n)} for {n_copies} copies among {n}"
            + _why_share(found, n_copies, n),
        )
    same = torch.ones(9, 3, 3)
    what = "copied_share of digits that are as near as all test digits"
    equal(what, share(same, same, torch.zeros(1, 3, 3)), 0.0)
    _threshold(draws, share)
    why = (
        "What does copied_share say of each sheet, and what would it say of "
        "digits that nobody has copied?"
    )
    choice("copier()", function("copier", copier)(), "B", {"A": why})
    return (
        "right: the noise is the same on both sheets, so the eye cannot tell. "
        "The distance to the training set can, once it is compared with the "
        "one of digits that were never seen"
    )


def _why_share(found: float, n_copies: int, n: int) -> str:
    if abs(found - n_copies) < 1e-6:
        return ". Likely: this is a number, and the share of the n is wanted"
    if abs(found - 100 * n_copies / n) < 1e-3:
        return ". Likely: a share lies from 0 to 1, this is per cent"
    if abs(found - (1 - n_copies / n)) < 1e-6:
        return ". Likely: this counts the digits that are no copies"
    return ". Is the threshold the quantile 0.05 of the test distances?"


def _threshold(draws: Draws, share: Student) -> None:
    """Refuse a threshold that is not the 5 per cent quantile of the test.

    One training picture of zeros and pictures that are constant make every
    distance known. Several definitions of the quantile are all right.
    """
    scale = float(draws.uniform(low=0.5, high=2))
    ranks = torch.randperm(2001, generator=draws.generator)
    ranks[ranks < 40] = -800  # the height 0: exact copies
    # rank 100 of 0 to 2,000 is the quantile; none is nearer to it than 1.5
    lows = torch.tensor([60.0, 80.5, 98.5, 101.5, 120.0, 150.0, 600.0, 2500.0])

    def flat(places: Tensor) -> Tensor:
        heights = scale * (0.2 + places / 4000)
        return heights[:, None, None].expand(len(places), 3, 3).clone()

    found = number(
        "copied_share", share(flat(lows), flat(ranks), torch.zeros(1, 3, 3))
    )
    require(
        abs(found - 3 / 8) < 1e-6,
        f"copied_share: found {brief(found)}, expected 0.375 for three of "
        "eight digits below the quantile 0.05 of the test distances. Compare "
        "with that quantile of all those distances, also where they are 0",
    )


# --- more dimensions ---------------------------------------------------------

CONFIG = TrainConfig(epochs=10, batch_size=32, lr=0.005, warmup=10)


def _thin_and_thick(draws: Draws) -> tuple[Images, Images]:
    """Training digits, and others with a pen three times as wide."""
    some = builtin()[torch.randperm(1438, generator=draws.generator)[:160]]
    start = draws.whole(0, 200)
    images = builtin("test").images[start : start + 100]
    wide = max_pool2d(images.float(), 3, 1, 1).to(torch.uint8)
    labels = builtin("test").labels[start : start + 100]
    return some, Images(wide, labels, "thick", "test")


def _reference(
    n_latent: int, train: Images, test: Images
) -> tuple[dict, dict]:
    """Scores on the thick digits and on the training digits."""
    model = VAE(n_latent, (64,))
    # as in the student's process: the same sums, and no threads that wait
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        fit(model, train, CONFIG, progress=False)
        return evaluate(model, test), evaluate(model, train)
    finally:
        torch.set_num_threads(n_threads)


KEYS = ("reconstruction", "kl", "elbo")
WAYS = ("falls", "rises")


@check(seconds=60)
def more_dimensions(
    draws: Draws, predicted: Student, measured: Student
) -> str:
    """What more latent dimensions do to the terms of the loss.

    Held against training runs with the same options, on test digits that
    look unlike the training digits. Predictions are compared, not refused.
    """
    guess = function("predicted", predicted)()
    measure = function("measured", measured)
    require(
        isinstance(guess, dict) and set(KEYS) <= set(guess),
        "no prediction yet: predicted should return a dict with "
        "reconstruction, kl and elbo, each 'falls' or 'rises'",
    )
    for key in KEYS:
        said = guess[key]
        require(
            isinstance(said, str) and said.strip().lower() in WAYS,
            f"predicted: {key} is {brief(said)}; write 'falls' or 'rises'",
        )
    train, test = _thin_and_thick(draws)
    scores = {}
    few, many = draws.whole(1, 4), draws.whole(7, 13)
    for n_latent in (few, many):
        found = measure(n_latent, train, test)
        require(
            isinstance(found, dict) and set(KEYS) <= set(found),
            f"measured: found {brief(found)}, expected a dict with "
            "reconstruction, kl and elbo",
        )
        right, on_train = _reference(n_latent, train, test)
        for key in KEYS:
            what = f"{key} for {n_latent} dimensions"
            scores[key, n_latent] = _near(
                what, number(what, found[key]), right[key], on_train[key]
            )
        error, kl, elbo = (scores[key, n_latent] for key in KEYS)
        require(
            abs(error + kl + elbo) < kl / 2,
            f"elbo for {n_latent} dimensions: {brief(elbo)} is not minus the "
            "sum of reconstruction and kl",
        )
    said = []
    for key in KEYS:
        narrow, wide = scores[key, few], scores[key, many]
        way = WAYS[wide > narrow]
        hit = way == guess[key].strip().lower()
        said.append(
            f"{key} {way} from {brief(narrow)} to {brief(wide)}"
            f"{'' if hit else ', not as you predicted'}"
        )
    return f"right: from {few} to {many} dimensions, " + "; ".join(said)


def _near(what: str, found: float, right: float, on_train: float) -> float:
    """The number, if it is the right one up to the noise of a draw."""
    if abs(found - right) <= 0.04 * abs(right) + 0.3:
        return found
    mistakes = {
        "these are scores on the training digits; score the test "
        "digits": on_train,
        "the sign is wrong": -right,
        "this is a mean over the pixels": right / 784,
    }
    close = [
        text
        for text, value in mistakes.items()
        if abs(found - value) <= 0.04 * abs(value)
    ]
    cause = (
        f". Likely: {close[0]}"
        if close
        else (
            ". Train a VAE(n_latent, hidden=(64,)) with CONFIG on train, and "
            "evaluate it on test"
        )
    )
    # the right number is not said: it is there to be measured
    raise WrongError(f"{what}: {brief(found)} is not what is expected{cause}")


# --- a dead code -------------------------------------------------------------

BETAS = {"A": 1 / 8, "B": 784.0, "C": 1.0}


@functools.cache
def three_runs() -> dict[str, History]:
    """Histories of three runs that differ in how their loss is weighted."""
    config = TrainConfig(epochs=12, batch_size=128, lr=0.006, warmup=15)
    return {
        name: fit(VAE(8, (64,), beta=beta), builtin(), config, progress=False)
        for name, beta in BETAS.items()
    }


KINDS = {
    "both summed": 1.0,
    "pixels averaged": 784.0,
    "dimensions averaged": 1 / 8,
}


@check()
def dead_code(
    draws: Draws, best_without_code: Student, diagnosed: Student
) -> None:
    """Three runs by their curves, and the loss of a decoder without code.

    The loss is held against the entropies of torch.distributions; the runs
    are known.
    """
    best = function("best_without_code", best_without_code)
    sizes = ((40, 784), (draws.whole(7, 12), 5), (1, 3), (6, 6), (300, 9))
    for n, n_pixels in sizes:
        ink = draws.uniform(n_pixels) ** 2  # more paper than ink
        x = (draws.uniform(n, n_pixels) < ink).float()
        x[:, 0] = 0  # paper in every digit
        x[:, -1] = 1
        p = x.double().mean(0)
        each = Bernoulli(p.clamp(1e-12, 1 - 1e-12)).entropy()
        flat = Bernoulli(p.mean()).entropy()
        mistakes = {
            "this is the loss of coin flips, which know nothing. A decoder "
            "without a code still knows how often each pixel is "
            "ink": n_pixels * torch.tensor(2.0).log(),
            "one probability for all pixels; each may have its own": n_pixels
            * flat,
            "this averages over the pixels; sum them": each.mean(),
            "this is in bits; use the natural logarithm": each.sum()
            / torch.tensor(2.0).log(),
            "paper is forgotten: both terms are needed": -torch.xlogy(
                p, p
            ).sum(),
            "the sign: a loss is never negative here": -each.sum(),
            "this is the sum over all digits; their mean is wanted": n
            * each.sum(),
        }
        found = best(x)
        if isinstance(found, Tensor | float):
            value = torch.as_tensor(found)
            require(
                not value.isnan().any(),
                "best_without_code is NaN: a pixel that is never ink gives "
                "0 times log 0. Use torch.special.entr or xlogy",
            )
        if n == 1 or float(each.sum()) < 1e-6:
            # probabilities may be clamped at 1e-6, which costs 4.5e-5
            equal("the loss of a single digit", found, 0.0, near_zero=1e-4)
        else:
            right = each.sum()
            # so much does a clamp at 1e-6 cost where ink is certain
            clamped = 1.5e-5 * n_pixels / float(right)
            tolerance = max(1e-4, clamped)
            equal("the loss without a code", found, right, mistakes, tolerance)
    found = function("diagnosed", diagnosed)()
    require(
        isinstance(found, dict) and set(BETAS) <= set(found),
        f"diagnosed: found {brief(found)}, expected a dict with A, B and C",
    )
    kinds = {beta: kind for kind, beta in KINDS.items()}
    choices(
        "diagnosed",
        {f"run {name}": found[name] for name in BETAS},
        {f"run {name}": kinds[beta] for name, beta in BETAS.items()},
        tuple(KINDS),
        "In which of the losses is the code cheap, in which is it dear, and "
        "what do both figures say of such a run?",
    )
