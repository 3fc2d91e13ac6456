"""Checks for chapter 14: the debugging clinic."""

import functools
import math

import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from minivae import clinic
from minivae.evaluate import evaluate
from minivae.models import VAE
from minivae.objective import gaussian_kl
from minivae.train import TrainConfig, fit
from minivae_course.check import (
    Draws,
    Student,
    WrongError,
    builtin,
    check,
    choice,
    equal,
    function,
    number,
    require,
)

TESTS = {
    "KL": "the KL is that of torch.distributions",
    "sum": "the loss is reconstruction plus beta KL",
    "reconstruction": "the reconstruction is that of a code drawn from q",
    "gradient": "pixels send a gradient to the encoder",
    "picture": "a picture is the mean of p(x|z)",
    "zero network": "the zero network pays 784 ln 2",
}
# patient J after 25 passes over the built-in digits, with 8 dimensions: its
# KL in nats, and the share of 359 test digits that is told from the others
PATIENT_J = {"kl": 1.66, "n": 359, "share": 0.63}
# --- an eleventh patient


@functools.cache
def _kl_ratio() -> float:
    """KL of the eleventh patient, as a multiple of the healthy one."""
    config = TrainConfig(epochs=12, batch_size=50, lr=0.01, warmup=10)
    kl = []
    for beta in (1 / 8, 1.0):
        model = VAE(n_latent=8, hidden=(32,), beta=beta)
        fit(model, builtin()[:400], config, progress=False)
        kl.append(evaluate(model, builtin("test"))["kl"])
    return kl[0] / kl[1]


@check()
def eleventh_patient(
    draws: Draws,
    predicted_ratio: Student,
    refusing_test: Student,
    patient_terms: Student,
    same_as_beta: Student,
) -> str:
    """A VAE that averages its KL over the latent dimensions.

    The KL is held against torch.distributions, the reconstruction against
    that of `VAE` with the same noise. The prediction is compared with a
    short run, and may be wrong.
    """
    guess = number(
        "predicted_ratio",
        function("predicted_ratio", predicted_ratio)(),
        0,
        why="It is a KL divided by another KL, such as 0.5 or 2",
    )
    choice(
        "refusing_test",
        function("refusing_test", refusing_test)(),
        "KL",
        {
            "sum": "The loss is still the sum of the two terms as reported",
            "reconstruction": "The reconstruction does not see the KL",
            "gradient": "Pixels reach the encoder as before",
            "picture": "The decoder and its sigmoid are sound",
            "zero network": "A network of zeros has a KL of 0, and the "
            "average of zeros is 0 too: this test cannot see the fault",
        },
    )
    terms = function("patient_terms", patient_terms)
    for n, latent, height, width in ((5, 4, 3, 3), (1, 1, 2, 3), (3, 7, 2, 2)):
        pixels = height * width
        model = draws.model(VAE, latent, (6,), shape=(1, height, width))
        x = draws.whole(0, 2, n, pixels).float()
        noise = draws.normal(n, latent)
        found = terms(model, x, noise)
        names = ("reconstruction", "kl", "loss")
        require(
            isinstance(found, dict) and all(k in found for k in names),
            "patient_terms: return a dict with the entries "
            '"reconstruction", "kl" and "loss"',
        )
        with torch.no_grad():
            mu, logvar = model.encode(x)
            price = model(x, noise=noise)["reconstruction"]
        q = Normal(mu, (logvar / 2).exp())
        each = kl_divergence(q, Normal(0.0, 1.0))
        kl, summed = each.mean(-1), each.sum(-1)
        equal(
            "the reconstruction",
            found["reconstruction"],
            price,
            {
                "the reconstruction is averaged too; only the KL is": price
                / pixels
            },
        )
        equal(
            "the KL of the patient",
            found["kl"],
            kl,
            {
                "this KL is summed over the dimensions, as in the healthy "
                "model": summed,
                "did you average over the batch? Average over the latent "
                "dimensions, and keep one value for each digit": each.mean(0),
                "averaged over the batch as well": each.mean(),
            },
        )
        equal(
            "the loss of the patient",
            found["loss"],
            price + kl,
            {
                "the loss has the summed KL": price + summed,
                "the KL is averaged a second time": price + kl / latent,
                "the KL is missing": price,
            },
        )
    beta = function("same_as_beta", same_as_beta)
    for latent in (1, 2, 8, draws.whole(3, 60)):
        equal(
            f"same_as_beta({latent})",
            beta(latent),
            1 / latent,
            {
                "an average makes the KL smaller, so beta is below one": float(
                    latent
                ),
                "a healthy VAE has a beta of one": 1.0,
            },
        )
    ratio = _kl_ratio()
    near = "close" if 0.6 < guess / ratio < 1.6 else "look again at why"
    return (
        f"right. You predicted {guess:.3g} times the KL of the healthy "
        f"model; in a short run with 8 dimensions it is {ratio:.1f} times as "
        f"large ({near})"
    )


# --- two wrongs and a third


@check()
def two_wrongs(draws: Draws, mended_kl: Student, mended_loss: Student) -> None:
    """A loss with a sampler, a KL and its weight that all need mending.

    Held against torch.distributions and `logsigmoid`, with its gradient.
    """
    kl = function("mended_kl", mended_kl)
    for shape in ((4, 6), (1, 1), (5, 2)):
        mu, logvar = draws.normal(*shape), draws.normal(*shape)
        right = _kl(mu, logvar)
        equal(
            "the KL",
            kl(mu, logvar),
            right,
            {
                "the factor one half is still missing; no test of the loss "
                "alone can see it": 2 * right,
                "one half is there twice": right / 2,
            },
        )
    loss = function("mended_loss", mended_loss)
    for n, latent, height, width in ((4, 3, 3, 3), (1, 1, 2, 3)):
        pixels = height * width
        model = draws.model(VAE, latent, (7,), shape=(1, height, width))
        x = draws.whole(0, 2, n, pixels).float()
        noise = draws.normal(n, latent)
        price = {
            name: _price(model, x, noise, name)
            for name in ("sigma", "variance", "none")
        }
        with torch.no_grad():
            term = _kl(*model.encode(x))
        sampler = "mended_loss still takes exp(logvar) for sigma"
        weight = "the KL still has the weight one half"
        right = price["sigma"] + term
        equal(
            "the loss",
            loss(model, x, noise),
            right,
            {
                sampler: price["variance"] + term,
                weight: price["sigma"] + term / 2,
                f"{weight}, and {sampler}": price["variance"] + term / 2,
                "the KL counts twice: the half is still missing in the KL "
                "that this loss takes": price["sigma"] + 2 * term,
                "the code has no noise": price["none"] + term,
                "the KL is subtracted": price["sigma"] - term,
                "this is the ELBO; the loss is its negative": -right,
                "averaged over the pixels": price["sigma"] / pixels + term,
            },
        )
        _, found = loss.gradients(model, x, noise)
        weights = dict(model.named_parameters())
        whole = model(x, noise=noise)["loss"].sum()
        wanted = torch.autograd.grad(whole, list(weights.values()))
        by_kl = torch.autograd.grad(
            gaussian_kl(*model.encode(x)).sum(),
            list(weights.values()),
            allow_unused=True,
        )
        for name, a, b, cut in zip(weights, found, wanted, by_kl):
            require(a is not None, f"no gradient reaches {name}")
            mistakes = (
                {}
                if cut is None
                else {
                    "a detach() cuts the path from the pixels through z": cut
                }
            )
            equal(f"the gradient by {name}", a, b, mistakes)


def _kl(mu: Tensor, logvar: Tensor) -> Tensor:
    q = Normal(mu, (logvar / 2).exp())
    return kl_divergence(q, Normal(0.0, 1.0)).sum(-1)


@torch.no_grad()
def _price(model: VAE, x: Tensor, noise: Tensor, width: str) -> Tensor:
    """-log p(x|z), with a code that is drawn as wide as said."""
    mu, logvar = model.encode(x)
    wide = {"sigma": 0.5, "variance": 1.0}
    sigma = (wide[width] * logvar).exp() if width in wide else 0.0
    logits = model.decode(mu + sigma * noise).flatten(1)
    log_p = nn.functional.logsigmoid
    return -(x * log_p(logits) + (1 - x) * log_p(-logits)).sum(-1)


# --- a seventh test


@check()
def gradient_test(
    draws: Draws, gradient_two_ways: Student, refused: Student
) -> None:
    """A gradient by autograd and by differences; whom the test refuses.

    Both are held against gradients of models whose loss has the same value.
    """
    both = function("gradient_two_ways", gradient_two_ways)
    ward = (VAE, clinic.DetachedNoise, clinic.WrongSign, clinic.NoSampling)
    for kind in ward:
        n, pixels = draws.whole(3, 7), draws.whole(5, 12)
        x, seed = draws.whole(0, 2, n, pixels).double(), draws.seed()
        found = both(kind, x, seed)
        require(
            isinstance(found, list | tuple) and len(found) == 2,
            "gradient_two_ways: return two tensors, the gradient by autograd "
            "and the one by differences",
        )
        name = kind.__name__
        own = _gradient(kind, x, seed)
        # only one patient's loss has another slope than autograd says
        slope = own
        if kind is clinic.DetachedNoise:
            slope = _gradient(VAE, x, seed)
        _same(f"{name}, by autograd", found[0], own, slope, n)
        _same(f"{name}, by differences", found[1], slope, own, n)
    letters = function("refused", refused)()
    require(
        isinstance(letters, str),
        'refused: return the letters of the patients as text, such as "AB"',
    )
    letters = set(letters.upper()) - set(" ,")
    require(
        letters <= set("ABCDEFGHIJ"),
        "refused: the patients have the letters A to J",
    )
    require(
        "E" in letters,
        "refused: one patient's loss changes with the encoder in a way that "
        "its gradient does not know. Whose code is drawn outside the graph?",
    )
    require(
        letters == {"E"},
        "refused: "
        + ", ".join(sorted(letters - {"E"}))
        + " should not be in it. Such a loss is wrong, but its gradient is "
        "the gradient of that wrong loss, so this test finds nothing",
    )


def _gradient(kind: type, x: Tensor, seed: int) -> Tensor:
    # without hidden layers there is no kink of a ReLU
    model = kind(n_latent=2, hidden=(), shape=x.shape[1:], seed=seed).double()
    loss = model(x, noise=torch.Generator().manual_seed(seed))["loss"]
    (found,) = torch.autograd.grad(loss.mean(), model.encoder[-1].bias)
    return found


def _same(
    what: str, found: object, right: Tensor, other: Tensor, n: int
) -> None:
    mistakes = {
        "this is the gradient of the sum; take the mean over the batch": n
        * right,
        "divide by the whole way from one side to the other, 2 h": 2 * right,
        "divide by 2 h, and only once": right / 2,
    }
    if not torch.equal(right, other):
        mistakes |= {
            "the two ways must be computed apart, and in this order: first "
            "autograd, then the differences of the loss": other
        }
    try:
        equal(what, found, right, mistakes)
    except WrongError as error:
        hint = ""
        if "Likely" not in str(error) and "shape" not in str(error):
            hint = (
                ". Compute in double precision, draw the same noise for "
                "every loss, and take a small step on both sides"
            )
        raise WrongError(f"{error}{hint}") from None


# --- the bound of the code


@check()
def code_capacity(
    draws: Draws,
    share_recognised: Student,
    least_nats: Student,
    charges_too_little: Student,
) -> str:
    """Nearest originals, the inequality of Fano, and what follows.

    The information is held against a sum over a table of probabilities in
    which the inequality is an equality.
    """
    share = function("share_recognised", share_recognised)
    for n, pixels in ((60, 3), (40, 12), (7, 40)):
        for _ in range(20):
            drawn, originals = _mixed_up(draws, n, pixels)
            right, swapped, product = _shares(drawn, originals)
            # so that a mistake cannot be taken for another
            if len({right, swapped, product, 1 - right}) == 4:
                break
        equal(
            "share_recognised",
            share(drawn, originals),
            right,
            {
                "this is how many; divide by their number": n * right,
                "you looked for the nearest reconstruction of each original. "
                "Take the nearest original of each reconstruction": swapped,
                "the largest product is not the smallest distance": product,
                "this is the share that is not recognised": 1 - right,
            },
            tolerance=1e-6,
        )
    least = function("least_nats", least_nats)
    shares = (float(draws.uniform(low=0.3, high=0.9)), 1.0, 0.0)
    for n in (10, 1000, 2):
        for s in shares:
            equal(
                f"least_nats({n}, {s:.3g})",
                least(n, s),
                _information(n, s),
                _other_bounds(n, s),
            )
    too_little = function("charges_too_little", charges_too_little)
    for n, s in ((100, 0.9), (1000, 0.4), (10, 1.0)):
        needed = _information(n, s)
        for kl in (0.8 * needed, 1.03 * needed):
            found = number("charges_too_little", too_little(kl, n, s), 0, 1)
            require(
                bool(found) == (kl < needed),
                f"charges_too_little({kl:.2f}, {n}, {s:g}): found "
                f"{bool(found)}, expected {kl < needed}. The KL is at least "
                "the information; compare it with least_nats, not with log n",
            )
    kl, n, s = PATIENT_J.values()
    return (
        f"right. Patient J, trained on the built-in digits, has a KL of "
        f"{kl:.1f} nats, and {s:.0%} of its reconstructions of {n} test "
        f"digits are recognised: that takes {_information(n, s):.1f} nats"
    )


def _mixed_up(draws: Draws, n: int, pixels: int) -> tuple[Tensor, Tensor]:
    """Originals, half of them drawn as another, in other brightness."""
    originals = draws.normal(n, pixels) * draws.uniform(n, 1, low=0.3)
    shown = torch.arange(n)
    shown[::2] = draws.whole(0, n, n)[::2]
    drawn = originals[shown] * draws.uniform(n, 1, low=0.3, high=1.5)
    return drawn, originals


def _shares(drawn: Tensor, originals: Tensor) -> list[float]:
    """By distance, by distance with the axes swapped, by product."""
    far = (drawn[:, None] - originals).square().sum(-1)
    found = (far.argmin(1), far.argmin(0), (drawn @ originals.T).argmax(1))
    own = torch.arange(len(drawn))
    return [(one == own).double().mean().item() for one in found]


def _information(n: int, share: float) -> float:
    """I(a; b) in nats of n equally frequent a, of which b hits a share."""
    table = torch.full((n, n), (1 - share) / (n - 1) / n).double()
    table.fill_diagonal_(share / n)
    return float(torch.special.xlogy(table, table * n * n).sum())


def _other_bounds(n: int, share: float) -> dict[str, float]:
    miss = 1 - share
    doubt = -math.fsum(p * math.log(p) for p in (share, miss) if p)
    right = math.log(n) - doubt - miss * math.log(n - 1)
    return {
        "this is in bits; take natural logarithms": right / math.log(2),
        "the doubt whether it is a hit, h, is missing": right + doubt,
        "the misses are not counted": math.log(n),
        "log n times the share is not the information": share * math.log(n),
        "a miss leaves n - 1 originals to choose from, not n": right
        + miss * math.log(n - 1)
        - miss * math.log(n),
        "share and misses are swapped": math.log(n)
        - doubt
        - share * math.log(n - 1),
    }


# --- five strangers

FAULTS = {
    "no noise": "the loss of a model without noise does not change with it",
    "shared noise": "with shared noise the loss changes with the noise, and "
    "the reported KL is far too small for such reconstructions",
    "no half": "twice the KL makes the reported ELBO worse than the healthy "
    "one, and the KL smaller",
    "mean over pixels": "a mean over pixels leaves a loss below one",
    "sigmoid twice": "two sigmoids keep the loss near 784 ln 2 = 543",
    "KL over batch": "with hardly any KL in the loss, each dimension has a "
    "KL of many nats",
    "detached code": "without a gradient from the pixels the KL of each "
    "dimension is zero, and the loss has the size of the average digit",
    "log sigma": "with log sigma for log variance the reported ELBO is "
    "several nats better than the one by the healthy formula",
}
STRANGERS = {
    "P": "KL over batch",
    "Q": "no noise",
    "R": "detached code",
    "S": "no half",
    "T": "log sigma",
}


@check()
def five_strangers(draws: Draws, diagnosis: Student) -> None:
    """Names of five faults, read from their fingerprints.

    Compared with the classes of `clinic` that were trained.
    """
    found = function("diagnosis", diagnosis)()
    require(
        isinstance(found, dict),
        'diagnosis: return a dict such as {"P": "no half", ...}',
    )
    missing = [name for name in STRANGERS if name not in found]
    require(
        not missing,
        f"diagnosis: there is no answer for {', '.join(missing)} yet",
    )
    for name, right in STRANGERS.items():
        why = {
            fault: f"Its marks are others: {mark}"
            for fault, mark in FAULTS.items()
            if fault != right
        }
        choice(f"patient {name}", found[name], right, why)
