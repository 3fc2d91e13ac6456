"""Checks for chapter 14: the debugging clinic."""

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from minivae import clinic
from minivae.evaluate import evaluate
from minivae.models import VAE
from minivae.objective import reparameterize
from minivae.train import TrainConfig, fit
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
    gradients_equal,
    number,
    parts,
    require,
    same_rule,
    telling,
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
        why="It is a KL divided by another KL, such as 0.5 or 2",
    )
    require(guess > 0, f"predicted_ratio: {guess:.3g} is not positive")
    choice(
        "refusing_test",
        function("refusing_test", refusing_test)(),
        "KL",
        {
            "sum": "The loss is still the sum of the two terms as reported",
            "reconstruction": "The reconstruction does not see the KL",
            "gradient": "Pixels reach the encoder as before",
            "picture": "The decoder and its sigmoid are sound",
            "zero network": "A network of zeros has a KL of 0, whether "
            "summed or averaged",
        },
    )
    terms = function("patient_terms", patient_terms)
    sizes = [(5, draws.whole(2, 7), 3, 3), (1, draws.whole(2, 9), 2, 3)]
    for n, latent, height, width in [*sizes, (4, 1, 2, 2)]:
        pixels = height * width
        # its training has no say in how it is looked at
        shape = (1, height, width)
        model = draws.model(VAE, latent, (6,), shape=shape).eval()
        x = draws.whole(0, 2, n, pixels).float()
        x[0, 0] = 0.0
        with torch.no_grad():  # sure of this pixel, and of one latent number
            model.decoder[-1].bias[0] = 30.0
            model.encoder[-1].bias[latent] = -14.0
        noise = draws.normal(n, latent)
        found = terms(model, x, noise)
        names = ("reconstruction", "kl", "loss")
        require(
            isinstance(found, dict) and all(k in found for k in names),
            "patient_terms: return a dict with the entries "
            '"reconstruction", "kl" and "loss"',
        )
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
                "the KL is subtracted, not added": price - kl,
            },
        )
        _trained_by(terms, model, x, noise)
    beta = function("same_as_beta", same_as_beta)
    several = (draws.whole(3, 20), draws.whole(25, 60), draws.whole(99, 700))
    for latent in (1, 2, 8, *several):
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


def _trained_by(terms: Student, model: VAE, x: Tensor, noise: Tensor) -> None:
    """Each term passes its gradient to all weights."""
    mu, logvar = model.encode(x)
    wide = (logvar / 2).exp()
    kl = kl_divergence(Normal(mu, wide), Normal(0.0, 1.0)).mean(-1)
    price = _binary(model.decode(mu + wide * noise), x)
    still = _binary(model.decode((mu + wide * noise).detach()), x)
    code = "a detach() cuts the path from the pixels through z"
    wanted = {
        "loss": (
            price + kl,
            {code: still + kl, "a detach() cuts off the KL": price},
        ),
        "reconstruction": (price, {code: still}),
        "kl": (kl, {}),
    }
    for entry, (right, mistakes) in wanted.items():
        _, found = terms.gradients(model, x, noise, entry=entry)
        try:
            gradients_equal(
                model,
                found,
                right.sum(),
                {text: value.sum() for text, value in mistakes.items()},
            )
        except WrongError as error:
            raise WrongError(f'"{entry}" does not train: {error}') from None


def _binary(logits: Tensor, x: Tensor) -> Tensor:
    """-log p(x|z) of binary pixels."""
    logits, log_p = logits.flatten(1), nn.functional.logsigmoid
    return -(x * log_p(logits) + (1 - x) * log_p(-logits)).sum(-1)


# --- two wrongs and a third


@check()
def two_wrongs(draws: Draws, mended_kl: Student, mended_loss: Student) -> None:
    """A loss with a sampler, a KL and its weight that all need mending.

    Held against torch.distributions and `logsigmoid`, with its gradient.
    """
    kl = function("mended_kl", mended_kl)
    # narrow and wide ones come alone, so that no larger value hides them
    for n, latent, low, high in (
        (4, 6, -2, 2),
        (5, 2, -1, 1),
        (1, 1, -1, 1),
        (1, 3, -60, -31),
        (1, 2, 21, 25),
    ):
        mu = 2 * draws.normal(n, latent)
        logvar = draws.uniform(n, latent, low=low, high=high)
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
        given = mu.clone().requires_grad_(), logvar.clone().requires_grad_()
        weights = draws.uniform(n, low=0.5, high=1.5)
        _, found = kl.gradients(*given, weights=weights)
        wanted = torch.autograd.grad((weights * _kl(*given)).sum(), given)
        for name, a, b in zip(("mu", "logvar"), found, wanted):
            require(
                a is not None,
                f"the gradient of the KL by {name} is missing: look for a "
                "detach()",
            )
            equal(f"the gradient of the KL by {name}", a, b)
    loss = function("mended_loss", mended_loss)
    for n, latent, height, width in ((4, 3, 3, 3), (1, 1, 2, 3)):
        pixels = height * width
        shape = (1, height, width)
        model = draws.model(VAE, latent, (7,), shape=shape, beta=2.5).eval()
        with torch.no_grad():  # one log variance is far from 0
            model.encoder[-1].bias[latent] = -14.0
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
                "the ELBO has no beta: its KL has the weight one": (
                    price["sigma"] + model.beta * term
                ),
                "the KL is subtracted": price["sigma"] - term,
                "this is the ELBO; the loss is its negative": -right,
                "averaged over the pixels": price["sigma"] / pixels + term,
            },
        )
        weights = draws.uniform(n, low=0.5, high=1.5)
        _, found = loss.gradients(model, x, noise, weights=weights)
        terms = model(x, noise=noise)
        still = _kl(*model.encode(x))
        mistakes = {
            "a detach() cuts the path from the pixels through z": still,
            "the KL has no gradient": terms["reconstruction"],
        }
        gradients_equal(
            model,
            found,
            (weights * (terms["reconstruction"] + still)).sum(),
            {text: (weights * v).sum() for text, v in mistakes.items()},
        )
        # pixels that the decoder is sure of, some of them wrongly
        with torch.no_grad():
            model.decoder[-1].bias.copy_(60 * draws.normal(pixels))
        equal(
            "the loss, with logits of up to a hundred,",
            loss(model, x, noise),
            _price(model, x, noise, "sigma") + _kl(*model.encode(x)),
        )


def _kl(mu: Tensor, logvar: Tensor) -> Tensor:
    q = Normal(mu, (logvar / 2).exp())
    return kl_divergence(q, Normal(0.0, 1.0)).sum(-1)


@torch.no_grad()
def _price(model: VAE, x: Tensor, noise: Tensor, width: str) -> Tensor:
    """-log p(x|z), with a code that is drawn as wide as said."""
    mu, logvar = model.encode(x)
    wide = {"sigma": 0.5, "variance": 1.0}
    sigma = (wide[width] * logvar).exp() if width in wide else 0.0
    return _binary(model.decode(mu + sigma * noise), x)


# --- a seventh test


@check()
def gradient_test(
    draws: Draws, gradient_two_ways: Student, refused: Student
) -> None:
    """A gradient by autograd and by differences; whom the test refuses.

    Both are held against gradients of models whose loss has the same value.
    """
    both = function("gradient_two_ways", gradient_two_ways)
    hidden = (DetachedSpread, DetachedKL)
    ward = (VAE, clinic.DetachedNoise, clinic.WrongSign, clinic.NoSampling)
    for kind in (*ward, *hidden, Steep):
        n, pixels = draws.whole(3, 7), draws.whole(5, 12)
        x, seed = draws.whole(0, 2, n, pixels).double(), draws.seed()
        found = both(kind, x, seed)
        found = parts(
            "gradient_two_ways", found, "by_autograd, by_differences"
        )
        name = kind.__name__
        own = _gradient(kind, x, seed)
        # the loss of these has another slope than autograd says
        slope = own
        if kind in (clinic.DetachedNoise, *hidden):
            slope = _gradient(VAE, x, seed)
        _same(f"{name}, by autograd", found[0], own, slope, n, {})
        ways = {
            "divide by the whole way from one side to the other, 2 h": 2
            * slope,
            "divide by 2 h, and only once": slope / 2,
        }
        _same(f"{name}, by differences", found[1], slope, own, n, ways)
    letters = function("refused", refused)()
    if isinstance(letters, list | tuple):
        letters = " ".join(map(str, letters))
    require(
        isinstance(letters, str),
        'refused: return the letters of the patients as text, such as "AB"',
    )
    letters = set("".join(letters.upper().replace(",", " ").split()))
    require(
        letters <= set("ABCDEFGHIJ"),
        "refused: the patients have the letters A to J",
    )
    require(
        letters == {"E"},
        "refused: these are not the right patients. The test refuses one "
        "whose loss changes with the bias in a way that its gradient does not "
        "know. Run gradient_two_ways for each kind in ward and compare",
    )


class DetachedSpread(VAE):
    """Cuts sigma from the graph; the value of the loss is right."""

    def forward(self, x, y=None, noise=None) -> dict[str, Tensor]:
        """As `VAE.forward`, with a code that trains mu alone."""
        mu, logvar = self.encode(x, y)
        drawn = reparameterize(mu, logvar, noise)
        terms = super().forward(x, y, (drawn - mu) / (logvar / 2).exp())
        z = mu + (drawn - mu).detach()
        reconstruction = -self.log_likelihood(x, z)
        loss = reconstruction + terms["kl"]
        return terms | {"reconstruction": reconstruction, "loss": loss}


class DetachedKL(VAE):
    """Cuts the KL from the graph; the value of the loss is right."""

    def forward(self, x, y=None, noise=None) -> dict[str, Tensor]:
        """As `VAE.forward`, with a KL that does not train."""
        terms = super().forward(x, y, noise)
        loss = terms["reconstruction"] + terms["kl"].detach()
        return terms | {"loss": loss}


class Steep(VAE):
    """Bends so much that the slope on one side is another, or beside it."""

    def forward(self, x, y=None, noise=None) -> dict[str, Tensor]:
        """As `VAE.forward`, with a price for a bias that is not 0."""
        terms = super().forward(x, y, noise)
        bias = torch.cat(self.encode(x, y), -1) - x @ self.encoder[-1].weight.T
        loss = terms["loss"] + 1e5 * (bias @ torch.arange(1, 5).to(x)).square()
        return terms | {"loss": loss}


def _gradient(kind: type, x: Tensor, seed: int) -> Tensor:
    # without hidden layers there is no kink of a ReLU
    model = kind(n_latent=2, hidden=(), shape=x.shape[1:], seed=seed).double()
    loss = model(x, noise=torch.Generator().manual_seed(seed))["loss"]
    (found,) = torch.autograd.grad(loss.mean(), model.encoder[-1].bias)
    return found


def _same(
    what: str, found: object, right: Tensor, other: Tensor, n: int, ways: dict
) -> None:
    mistakes = ways | {
        "this is the gradient of the sum; take the mean over the batch": n
        * right
    }
    if not torch.equal(right, other):
        mistakes |= {
            "this is the other result. The two must be computed apart, in "
            "this order and from a model of this kind": other
        }
    try:
        equal(what, found, right, mistakes)
    except WrongError as error:
        hint = ""
        # of a value by differences, and nothing known of it
        if ways and "(entry" in str(error) and ". " not in str(error):
            hint = (
                ". Compute in double precision, draw the same noise for "
                "every loss, take a small step on both sides, and put each "
                "entry back before the next"
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
    rules = _recognised, _other_shares()
    same_rule("share_recognised", share, *rules, lambda: _mixed_up(draws))
    least = function("least_nats", least_nats)
    shares = (float(draws.uniform(low=0.3, high=0.9)), 1.0, 0.0)
    for n in (10, 1000, 2, draws.whole(3, 300)):
        for s in shares:
            equal(
                f"least_nats({n}, {s:.3g})",
                least(n, s),
                _information(n, s),
                _other_bounds(n, s) if 0 < s < 1 else {},
            )
    too_little = function("charges_too_little", charges_too_little)
    verdicts = telling(lambda: _charged(draws), _too_little, _other_verdicts())
    # who guesses needs exactly nothing, but for rounding
    enough = number("least_nats(2, 0.5)", least(2, 0.5)), 2, 0.5
    for kl, n, s in (*verdicts, enough):
        right = _too_little(kl, n, s) and (kl, n, s) != enough
        found = number("charges_too_little", too_little(kl, n, s), 0, 1)
        require(
            bool(found) == right,
            f"charges_too_little({kl:.4f}, {n}, {s:.3f}): found "
            f"{bool(found)}, expected {right}. The KL is at least the "
            "information, so compare it with all of least_nats, which is "
            f"{_information(n, s):.4f} here",
        )
    kl, n, s = PATIENT_J.values()
    return (
        f"right. Patient J, trained on the built-in digits, has a KL of "
        f"{kl:.1f} nats, and {s:.0%} of its reconstructions of {n} test "
        f"digits are recognised: that takes {_information(n, s):.1f} nats"
    )


def _mixed_up(draws: Draws) -> tuple[Tensor, Tensor]:
    """Originals, half of them drawn as another, in other brightness."""
    while True:
        n, pixels = draws.whole(6, 60), draws.whole(2, 20)
        originals = draws.normal(n, pixels) * draws.uniform(n, 1, low=0.3)
        shown = torch.arange(n)
        shown[::2] = draws.whole(0, n, n)[::2]
        drawn = originals[shown] * draws.uniform(n, 1, low=0.3, high=1.5)
        two = _far(drawn, originals).topk(2, largest=False).values
        # which one is nearest is beyond any error of rounding
        if float((two[:, 1] - two[:, 0]).min()) > 1e-3:
            return drawn, originals


def _far(drawn: Tensor, originals: Tensor) -> Tensor:
    return (drawn[:, None] - originals).double().square().sum(-1)


def _own(nearest: Tensor) -> float:
    own = torch.arange(len(nearest))
    return (nearest == own).double().mean().item()


def _recognised(drawn: Tensor, originals: Tensor) -> float:
    return _own(_far(drawn, originals).argmin(1))


def _other_shares() -> dict[str, Callable[[Tensor, Tensor], float]]:
    def by_gap(size: Callable) -> Callable:
        return lambda a, b: _own(size(a[:, None] - b).argmin(1))

    return {
        "this is how many; divide by their number": lambda a, b: (
            len(a) * _recognised(a, b)
        ),
        "you looked for the nearest reconstruction of each original. Take "
        "the nearest original of each reconstruction": lambda a, b: _own(
            _far(a, b).argmin(0)
        ),
        "the largest product is not the smallest distance": lambda a, b: _own(
            (a @ b.T).argmax(1)
        ),
        "the smallest angle is not the smallest distance": lambda a, b: _own(
            (a @ nn.functional.normalize(b).T).argmax(1)
        ),
        "take the root of the sum of squares, not the sum of sizes": by_gap(
            lambda gap: gap.abs().sum(-1)
        ),
        "take the root of the sum of squares, not the largest size": by_gap(
            lambda gap: gap.abs().amax(-1)
        ),
        "square the differences before you add them": by_gap(
            lambda gap: gap.sum(-1).abs()
        ),
        "this is the share that is not recognised": lambda a, b: (
            1 - _recognised(a, b)
        ),
    }


def _too_little(kl: float, n: int, share: float) -> bool:
    return kl < _information(n, share)


def _bounds(n: int, share: float) -> dict[str, float]:
    """What else a KL may be compared with."""
    needed = _information(n, share)
    return _other_bounds(n, share) | {
        **{f"{k} times": k * needed for k in (0.5, 0.9, 1.1, 2, math.log(2))},
        **{f"{k} more": k + needed for k in (-1, -1e-3, 1e-3, 1)},
        "two nats": 2.0,
        "the share": share,
        "always": math.inf,
        "never": -math.inf,
    }


def _other_verdicts() -> dict[str, Callable[[float, int, float], bool]]:
    rules: dict[str, Callable[[float, int, float], bool]] = {
        name: lambda kl, n, s, name=name: kl < _bounds(n, s)[name]
        for name in _bounds(10, 0.5)
    }
    return rules | {
        "rounded": lambda kl, n, s: round(kl) < round(_information(n, s)),
        "above": lambda kl, n, s: not _too_little(kl, n, s),
    }


def _charged(draws: Draws) -> tuple[float, int, float]:
    """A KL between what is needed and what else it is compared with."""
    while True:
        n = (2, 3, 5, 10, 40, 150)[draws.whole(0, 6)]
        share = float(draws.uniform(low=0.3, high=1.1).clamp(max=1.0))
        needed = _information(n, share)
        others = list(_bounds(n, share).values())
        other = others[draws.whole(0, len(others))]
        if math.isinf(other):
            other = needed + 0.5
        kl = (needed + other) / 2
        if kl > 0 and abs(kl - needed) > 2e-4:
            return kl, n, share


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

FAULTS = (
    *("no noise", "shared noise", "no half", "mean over pixels"),
    *("sigmoid twice", "KL over batch", "detached code", "log sigma"),
)
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
    patients = {f"patient {name}": name for name in STRANGERS}
    choices(
        "the five diagnoses",
        {text: found.get(name) for text, name in patients.items()},
        {text: STRANGERS[name] for text, name in patients.items()},
        FAULTS,
        "Compare (loss - reconstruction) / KL, the two ELBOs, the sum of the "
        "bars and the last column of the healthy model with those of each "
        "patient",
    )
