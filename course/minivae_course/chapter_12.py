"""Checks for chapter 12: pictures with holes, and labels that are missing."""

import math

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Normal, kl_divergence
from torch.nn.functional import softplus

from minivae import CVAE, PixelCVAE
from minivae_course.check import (
    Draws,
    Student,
    check,
    choices,
    equal,
    function,
    require,
    standard_normal,
    tensor,
)

STANDARD = Normal(0.0, 1.0)


def holes(draws: Draws, n: int, *shape: int) -> Tensor:
    """Grey pictures with NaN for half of the pixels, others in each.

    Of the others some are 0, one at least.

    Example:
        >>> holes(Draws(0), 2, 1, 3, 4).shape
        torch.Size([2, 1, 3, 4])
    """
    picture = draws.uniform(n, *shape)
    rank = draws.uniform(n, math.prod(shape)).argsort(1).argsort(1)
    hidden = rank < math.prod(shape) // 2
    blank = rank >= 3 * math.prod(shape) // 4
    picture = picture.masked_fill(blank.view(picture.shape), 0.0)
    return picture.masked_fill(hidden.view(picture.shape), torch.nan)


# --- any mask


@check()
def any_mask(draws: Draws, random_mask: Student, tell: Student) -> None:
    """Masks drawn at random, and what a network is told of a picture.

    The number of given pixels must be uniform; near pixels must agree no
    more often than far ones; masks and calls must be independent.
    """
    draw = function("random_mask", random_mask)
    for n, height, width in ((1, 3, 5), (4, 2, 2)):
        _zeros_and_ones(draw(n, height, width), (n, height, width))
    n, height, width = 24_000, 8, 6
    mask, again = (
        _zeros_and_ones(draw(n, height, width), (n, height, width))
        for _ in range(2)
    )
    require(
        not torch.equal(mask, again),
        "random_mask: two calls draw the same masks: take out the seed",
    )
    pixels = height * width
    count = mask.flatten(1).sum(1)
    small = {
        k: torch.stack(
            [
                _zeros_and_ones(draw(*size), size).sum((1, 2))
                for size in 300 * [(k, height, width)]
            ]
        )
        for k in (1, 2)
    }
    for what, given in (
        ("", count),
        (", n = 1", small[1].flatten()),
        (", n = 2", small[2].flatten()),
    ):
        share = torch.bincount(given.long(), minlength=pixels + 1) / len(given)
        # chi squared, 48 on average, and the variance in standard errors
        off = (share * (pixels + 1) - 1).square().mean() * len(given)
        wide = (given - pixels / 2).square().mean() * 12 / pixels
        wide = wide / (pixels + 2) - 1
        at = int((share * (pixels + 1) - 1).abs().argmax())
        require(
            off < 140 and wide.abs() * math.sqrt(len(given)) < 6.3,
            f"random_mask{what}: {share[at]:.1%} of the masks give {at} of "
            f"{pixels} pixels, expected {1 / (pixels + 1):.1%} as for each "
            "number. Each picture draws a share of its own, uniform from 0 "
            "to 1, and then each pixel is given with this probability",
        )
    each = mask.mean(0)
    require(
        float((each - 0.5).abs().max()) < 3.5 / math.sqrt(n),
        "random_mask: some pixels are given more often than others",
    )
    # two pixels of one mask agree as often wherever they lie
    rest = pixels - count
    agree = (count * (count - 1) + rest * (rest - 1)) / (pixels * (pixels - 1))
    for what, down, right in (
        ("beside each other", 0, 1),
        ("below each other", 1, 0),
        ("far from each other", 5, 0),
        ("on a diagonal", 1, 1),
    ):
        first = mask[:, : height - down, : width - right]
        second = mask[:, down:, right:]
        found = (first == second).double().flatten(1).mean(1)
        require(
            abs(float((found - agree).mean())) < 0.01,
            f"random_mask: two pixels {what} agree in "
            f"{float(found.mean()):.0%} of the masks, expected "
            f"{float(agree.mean()):.0%}, as any two. Each pixel is drawn for "
            "itself",
        )
    beside = torch.corrcoef(torch.stack([count[1:], count[:-1]]))[0, 1]
    half = torch.corrcoef(torch.stack([count[n // 2 :], count[: n // 2]]))
    alike = len(mask.flatten(1).unique(dim=0)) / n
    require(
        abs(float(beside)) < 0.12
        and abs(float(torch.corrcoef(small[2].T)[0, 1])) < 0.4
        and abs(float(half[0, 1])) < 0.17
        and alike > 0.85,
        "random_mask: masks of one batch have something in common. Each "
        "draws its own share and its own pixels",
    )
    say = function("tell", tell)
    for n, height, width in ((3, 4, 5), (1, 2, 3), (4, 2, 2)):
        picture = holes(draws, n, height, width)
        given = (~picture.isnan()).float().flatten(1)
        known = picture.nan_to_num(0.0).flatten(1)
        right = torch.cat([known, given], 1)
        mistakes = {
            "first the pixels, then the mask": torch.cat([given, known], 1),
            "the mask is 1 where a pixel is given": torch.cat(
                [known, 1 - given], 1
            ),
            "a hidden pixel is told as 0": torch.cat(
                [picture.nan_to_num(0.5).flatten(1), given], 1
            ),
            "without the mask a network takes 0 for paper": known,
            "a given pixel can be 0; isnan tells which are hidden": (
                torch.cat([known, (known != 0).float()], 1)
            ),
        }
        equal("what is told", say(picture), right, mistakes)


def _zeros_and_ones(value: object, shape: tuple) -> Tensor:
    found = tensor("the masks", value, shape)
    require(
        bool(((found == 0) | (found == 1)).all()),
        "random_mask: a mask is made of zeros and ones, or of truth values",
    )
    return found


# --- completing a picture


def _filler(
    draws: Draws, n_latent: int, shape: tuple, hidden: tuple = ()
) -> PixelCVAE:
    """A small model whose prior, encoder and decoder depend on what is given.

    Without hidden layers a logit is a sum over the code.
    """
    model = draws.model(PixelCVAE, n_latent, hidden, shape=shape).eval()
    with torch.no_grad():
        first, *_, last, bias = model.prior.network.parameters()
        first.mul_(2)
        last.copy_(0.02 * draws.normal(*last.shape))
        bias.copy_(0.5 * draws.normal(*bias.shape))
        # some wide, some narrow, and none so wide that pixels saturate
        bias[n_latent::2], bias[n_latent + 1 :: 2] = 0.8, -0.8
        if not hidden:
            weight = model.decoder[0].weight
            weight[:, :n_latent] = draws.normal(len(weight), n_latent) / 3
    return model


@check(seconds=60)
def fill_in(draws: Draws, complete: Student) -> None:
    """Several ways to complete a picture, with codes from p(z|x_g).

    With a linear decoder the codes can be told from the pixels; they must be
    normal with the moments of the prior, and independent of each other.
    """
    fill = function("complete", complete)
    for b, n, n_latent in ((3, 2, 2), (1, 1, 1), (2, 2, 4)):
        model = _filler(draws, n_latent, (1, 3, 4))
        _codes_behind(fill, model, holes(draws, b, 1, 3, 4), n)
    shape, b, n = (1, 4, 5), 4, 3000
    model = _filler(draws, 2, shape)
    picture = holes(draws, b, *shape)
    picture[1] = picture[0]  # the same question twice
    z = _codes_behind(fill, model, picture, n)
    again = _codes_behind(fill, model, picture, n)
    close = 1e-3
    require(
        float((z - z[:, :1]).abs().max()) > close,
        "complete: all ways to complete a picture are the same. Draw a code "
        "for each",
    )
    require(
        float((z - again).abs().max()) > close,
        "complete: two calls give the same completions: take out the seed",
    )
    mu, logvar = _prior_of(model, picture)
    mu, sigma = mu[:, None], (logvar / 2).exp()[:, None]
    noise = (z - mu) / sigma
    require(
        float((noise[0] - noise[1]).abs().max()) > close,
        "complete: all pictures get the same noise. Draw it for each",
    )
    spread = z.std(1)
    if float((spread / sigma[:, 0] - 1).abs().max()) > 0.2:
        known = {
            "the codes are from N(0, I); draw them from the prior, which "
            "knows what is given": torch.ones_like(spread),
            "sigma is exp(logvar / 2), not exp(logvar)": sigma[:, 0] ** 2,
        }
        equal("the spread of the codes", spread, sigma[:, 0], known, 0.1)
    off = float((noise.mean(1)).abs().max()) * math.sqrt(n)
    require(
        off < 6.5,
        "complete: the codes are not around the mean of the prior for what "
        "is given. model.prior.moments gives it",
    )
    standard_normal("complete", noise.flatten(0, 1))
    pairs = (noise[:-1] * noise[1:]).mean()
    halves = (noise[:, : n // 2] * noise[:, n // 2 :]).mean()
    require(
        max(abs(float(v)) for v in (pairs, halves)) < 0.07,
        "complete: codes share their noise. Draw it for each",
    )
    for few in (1, 2):
        same = picture[:1].expand(400, *shape)
        z = _codes_behind(fill, model, same, few)
        noise = ((z - mu[:1]) / sigma[:1]).flatten(1)
        standard_normal(f"complete, n = {few}", noise)


@torch.no_grad()
def _prior_of(model: PixelCVAE, picture: Tensor) -> tuple[Tensor, Tensor]:
    told = model.condition_vector(picture, len(picture))
    mu, logvar = model.prior.moments(told)
    return mu.double(), logvar.double()


@torch.no_grad()
def _codes_behind(
    fill: Student, model: PixelCVAE, picture: Tensor, n: int
) -> Tensor:
    """Refuse pictures that no code decodes to; the codes, (B, n, L)."""
    b, shape = len(picture), model.shape
    found = tensor("the completions", fill(model, picture, n), (b, n, *shape))
    given = ~picture.isnan()
    for i in range(b):
        kept = found[i][:, given[i]] - picture[i][given[i]]
        require(
            float(kept.abs().max()) < 1e-6,
            "complete: pixels that are given have changed. Keep them as they "
            "are, also where they are 0, and take only the others from the "
            "decoder",
        )
    require(
        float(found.min()) >= 0 and float(found.max()) <= 1,
        "complete: some pixels are below 0 or above 1. decode gives logits; "
        "the mean of a pixel is their sigmoid",
    )
    weight = model.decoder[0].weight[:, : model.n_latent].double()
    base = model.decode(torch.zeros(b, model.n_latent), picture).double()
    codes = []
    for i in range(b):
        hidden = ~given[i].flatten()
        p = found[i].flatten(1)[:, hidden].clamp(1e-7, 1 - 1e-7)
        rest = p.logit() - base[i].flatten()[hidden]
        own = weight[hidden]
        z = rest @ torch.linalg.pinv(own).T
        drawn = (z @ own.T + base[i].flatten()[hidden]).sigmoid()
        require(
            float((drawn - p).abs().max()) < 1e-3,
            "complete: some hidden pixels are not the mean of p(x|z, y) for "
            "any code. Give z and the picture to model.decode, take the "
            "sigmoid, and do not draw or average the pixels",
        )
        codes.append(z)
    return torch.stack(codes)


# --- the bound on what is hidden


@check()
def hidden_bound(draws: Draws, hidden_bound: Student) -> None:
    """The ELBO of what is hidden, told what is given, with all gradients.

    Held against torch.distributions; the gradients by the weights of
    encoder, decoder and prior.
    """
    bound = function("hidden_bound", hidden_bound)
    for b, n_latent, shape in (
        (4, 3, (1, 3, 4)),
        (1, 1, (1, 2, 2)),
        (3, 3, (1, 3, 3)),
        (2, 4, (1, 5, 2)),
    ):
        model = _filler(draws, n_latent, shape, (6,))
        with torch.no_grad():
            model.encoder[-1].bias += draws.normal(2 * n_latent)
            model.decoder[-1].bias += 4 * draws.normal(math.prod(shape))
            model.decoder[-1].bias[0] = 95  # so sure of one hidden pixel
        picture = holes(draws, b, *shape)
        picture[:, 0, 0, 0] = torch.nan
        # a hidden pixel can be 0 too
        under = draws.uniform(b, *shape, low=-0.5).clamp_min(0)
        x = picture.where(~picture.isnan(), under)
        noise = draws.normal(b, n_latent)
        right, mistakes = _hidden_and_mistakes(model, x, picture, noise)
        found = bound(model, x, picture, noise)
        equal("the bound", found, right, mistakes)
    _, found = bound.gradients(model, x, picture, noise)
    _gradients_are(model, found, right)


def _gradients_are(model: torch.nn.Module, found: list, right: Tensor) -> None:
    """Refuse other gradients of the sum than these, by all weights."""
    names = [name for name, _ in model.named_parameters()]
    wanted = torch.autograd.grad(
        right.sum(), list(model.parameters()), allow_unused=True
    )
    for name, one, other in zip(names, found, wanted):
        if other is None:
            continue
        require(
            one is not None,
            f"no gradient reaches {name}. Is something detached?",
        )
        what = f"the gradient by {name} (is something detached?)"
        equal(what, one, other, tolerance=2e-3)


def _hidden_and_mistakes(
    model: PixelCVAE, x: Tensor, picture: Tensor, noise: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    mu, logvar = model.encode(x, picture)
    told = model.condition_vector(picture, len(x))
    at, width = model.prior.moments(told)
    q = Normal(mu, (logvar / 2).exp())
    prior = Normal(at, (width / 2).exp())
    hidden = picture.isnan().flatten(1)

    def pixels(z: Tensor, most: float = math.inf) -> Tensor:
        logits = model.decode(z, picture).flatten(1).clamp(-most, most)
        return x.flatten(1) * logits - softplus(logits)  # (B, D)

    z = q.loc + q.scale * noise
    each, kl = pixels(z), kl_divergence(q, prior)
    own = (each * hidden).sum(1)
    right = own - kl.sum(1)
    ratio = (prior.log_prob(z) - q.log_prob(z)).sum(1)
    return right, {
        "the hidden pixels alone are drawn; what is given costs nothing": (
            each.sum(1) - kl.sum(1)
        ),
        "count the hidden pixels, not those that are given": (
            (each * ~hidden).sum(1) - kl.sum(1)
        ),
        "a given pixel can be 0; isnan tells which are hidden": (
            (each * (hidden | (picture.flatten(1) == 0))).sum(1) - kl.sum(1)
        ),
        "a logit can be large; do not cut it off": (
            (pixels(z, 15) * hidden).sum(1) - kl.sum(1)
        ),
        "the KL is that to the prior for what is given, not to N(0, I)": (
            own - kl_divergence(q, STANDARD).sum(1)
        ),
        "the KL goes from q to the prior; its arguments are swapped": (
            own - kl_divergence(prior, q).sum(1)
        ),
        "the KL is missing": own,
        "the KL is added; it is a price": own + kl.sum(1),
        "the reconstruction is missing": -kl.sum(1),
        "this is the loss; the bound is its negative": -right,
        "sum over the hidden pixels": own / hidden.sum(1) - kl.sum(1),
        "sum the KL over the latent dimensions": own - kl.mean(1),
        "the KL lacks its factor one half": own - 2 * kl.sum(1),
        "the code is mu; draw it, mu + sigma noise": (
            (pixels(mu) * hidden).sum(1) - kl.sum(1)
        ),
        "the code is drawn from q in the bound, not from the prior": (
            (pixels(at + prior.scale * noise) * hidden).sum(1) - kl.sum(1)
        ),
        "sigma is exp(logvar / 2), not exp(logvar)": (
            (pixels(mu + logvar.exp() * noise) * hidden).sum(1) - kl.sum(1)
        ),
        "the KL is estimated from one code; use its closed form": own + ratio,
        "one value for each picture, not their mean": right.mean(),
    }


# --- a missing label


@check()
def m2_bound(
    draws: Draws, bound_with_label: Student, bound_without_label: Student
) -> None:
    """The bounds of M2, with a label and by enumeration without one.

    Held against torch.distributions, label by label; with certain
    classifiers too, and the gradients by all weights and by the log odds.
    """
    known = function("bound_with_label", bound_with_label)
    unknown = function("bound_without_label", bound_without_label)
    for b, c, n_latent in ((4, 3, 2), (1, 2, 1), (3, 3, 3), (2, 5, 3)):
        options = {"n_classes": c, "shape": (1, 3, 4)}
        model = draws.model(CVAE, n_latent, (6,), **options).eval()
        with torch.no_grad():
            model.encoder[-1].bias += draws.normal(2 * n_latent)
            model.encoder[0].weight[:, -c:] += draws.normal(6, c)
            model.decoder[0].weight[:, -c:] += draws.normal(6, c)
            model.decoder[-1].bias += 9 * draws.normal(12)
        x = draws.whole(0, 2, b, 12).float().view(b, 1, 3, 4)
        noise = draws.normal(b, n_latent)
        y = draws.whole(0, c, b)
        right, mistakes = _labelled(model, x, y, noise)
        found = known(model, x, y, noise)
        equal("the bound with a label", found, right, mistakes)
        for size in (1.5, 300.0):
            log_odds = size * draws.normal(b, c) + draws.normal(b, 1)
            right, mistakes = _unlabelled(model, log_odds, x, noise)
            found = unknown(model, log_odds, x, noise)
            what = "the bound without a label"
            if size > 2:
                what += " (q(y|x) is 0 for some labels)"
            equal(what, found, right, mistakes)
    _, found = known.gradients(model, x, y, noise)
    _gradients_are(model, found, _labelled(model, x, y, noise)[0])
    for size in (1.5, 300.0):
        log_odds = size * draws.normal(b, c)
        log_odds.requires_grad_()
        _, (*found, of_odds) = unknown.gradients(model, log_odds, x, noise)
        # parameters come first, then the log odds
        right, _ = _unlabelled(model, log_odds, x, noise)
        (wanted,) = torch.autograd.grad(
            right.sum(), log_odds, retain_graph=True
        )
        require(of_odds is not None, "no gradient reaches the log odds")
        of_odds = tensor("the gradient by the log odds", of_odds)
        if size < 2:  # else it is rounding alone
            what = "the gradient by the log odds"
            equal(what, of_odds, wanted, None, 1e-3)
        _gradients_are(model, found, right)


def _labelled(
    model: CVAE, x: Tensor, y: Tensor, noise: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    mu, logvar = model.encode(x, y)
    q = Normal(mu, (logvar / 2).exp())

    def pixels(z: Tensor, label: Tensor = y) -> Tensor:
        logits = model.decode(z, label).flatten(1)
        return Bernoulli(logits=logits).log_prob(x.flatten(1))

    z = mu + q.scale * noise
    each, kl = pixels(z), kl_divergence(q, STANDARD)
    log_c = math.log(model.n_classes)
    right = each.sum(1) - kl.sum(1) - log_c
    return right, {
        "log p(y) is missing: each label has the probability 1 / C": (
            right + log_c
        ),
        "log p(y) is -log C": right + 2 * log_c,
        "there are not always ten labels": right + log_c - math.log(10),
        "the KL is missing": each.sum(1) - log_c,
        "the KL is added; it is a price": each.sum(1) + kl.sum(1) - log_c,
        "sum the pixels": each.mean(1) - kl.sum(1) - log_c,
        "sum the KL over the latent dimensions": (
            each.sum(1) - kl.mean(1) - log_c
        ),
        "the code is mu; draw it, mu + sigma noise": (
            pixels(mu).sum(1) - kl.sum(1) - log_c
        ),
        "sigma is exp(logvar / 2), not exp(logvar)": (
            pixels(mu + logvar.exp() * noise).sum(1) - kl.sum(1) - log_c
        ),
        "this is the loss; the bound is its negative": -right,
        "one value for each picture, not their mean": right.mean(),
    }


def _unlabelled(
    model: CVAE, log_odds: Tensor, x: Tensor, noise: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    c = model.n_classes
    each = torch.stack(
        [
            _labelled(model, x, torch.full((len(x),), k), noise)[0]
            for k in range(c)
        ],
        1,
    )  # (B, C)
    log_q = log_odds.log_softmax(1)
    q = log_q.exp()
    # log_softmax is finite where q is 0, and so is the product
    entropy = -(q * log_q).sum(1)
    mean = (q * each).sum(1)
    right = mean + entropy
    log_c = math.log(c)
    return right, {
        "the entropy of q(y|x) is missing": mean,
        "the entropy is added, not subtracted": mean - entropy,
        "log p(y) is in the bound with a label already": right - log_c,
        "log p(y) is missing": right + log_c,
        "weigh the labels by q(y|x)": each.mean(1) + entropy,
        "a sum over the labels is weighted by q(y|x)": each.sum(1) + entropy,
        "q(y|x) is the softmax of the log odds": (
            (log_odds * each).sum(1) + entropy
        ),
        "the likeliest label alone is no sum over all of them": (
            each.gather(1, log_odds.argmax(1, keepdim=True))[:, 0]
        ),
        "this is the logarithm of the sum over labels, without q(y|x)": (
            each.logsumexp(1)
        ),
        "this is the loss; the bound is its negative": -right,
        "one value for each picture, not their mean": right.mean(),
    }


# --- what to show


@check()
def what_to_show(
    draws: Draws, disagreement: Student, what_to_show: Student
) -> None:
    """How far completions differ where pixels are hidden, and what to show.

    Held against NumPy's variance over the hidden pixels of each picture.
    """
    differ = function("disagreement", disagreement)
    # of two pixels one is hidden
    for b, n, height, width in ((3, 4, 3, 5), (1, 2, 1, 2), (4, 4, 4, 4)):
        picture = holes(draws, b, height, width)
        if b == 3:
            picture[1] = draws.uniform(height, width)  # nothing is hidden
            picture[2, 0] = torch.nan  # more than of the first
        hidden = picture.isnan()
        picture[picture < 0.3] = 0  # paper is not hidden
        ways = draws.uniform(b, n, height, width)
        ways[1:, :, 0, 0] = ways[1:, :1, 0, 0]  # all ways agree
        # known pixels are the same in all ways, but for a trap of rounding
        ways = torch.where(hidden[:, None], ways, picture[:, None])
        right, mistakes = _differences(ways, hidden)
        equal("the disagreement", differ(ways, picture), right, mistakes)
    given = function("what_to_show", what_to_show)()
    require(
        isinstance(given, dict),
        f"what_to_show: found {str(given)[:40]}, expected a dict with an "
        "answer for each of a, b, c, d and e",
    )
    choices(
        "what_to_show",
        given,
        {
            "a": "one way",
            "b": "the mean of many ways",
            "c": "the digit read most often",
            "d": "the mean of many ways",
            "e": "one way",
        },
        ("one way", "the mean of many ways", "the digit read most often"),
        "Ask for each what is held against the truth in the end, and which "
        "of the three makes that best on average.",
    )


def _differences(
    ways: Tensor, hidden: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Variance over the ways, mean over the hidden pixels, and mistakes."""
    values, there = ways.double(), hidden.double().flatten(1)
    n = values.shape[1]
    variance = values.var(1, correction=0).flatten(1)
    count = there.sum(1).clamp_min(1)
    right = (variance * there).sum(1) / count
    mistakes = {
        "the variance over n ways is divided by n, not by n - 1": (
            right * n / (n - 1)
        ),
        "this is the root of the variance": right.sqrt(),
        "the standard deviation; the variance is asked for": (
            (variance.sqrt() * there).sum(1) / count
        ),
        "average over the hidden pixels only": variance.mean(1),
        "a mean over the hidden pixels, not a sum": variance.sum(1),
        "the variance over the ways of each pixel, not over the pixels": (
            values.flatten(2).var(2, correction=0).mean(1)
        ),
        "one value for each picture": right.mean(),
    }
    return right, mistakes
