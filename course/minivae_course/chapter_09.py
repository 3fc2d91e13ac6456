"""Checks for chapter 9: what a conditional VAE is told, and what for."""

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, Normal
from torch.nn.functional import one_hot

from minivae.clinic import LabelToEncoderOnly
from minivae.data import Images
from minivae.models import CVAE
from minivae.notebook import brief
from minivae.train import TrainConfig, fit
from minivae_course.check import (
    Draws,
    Student,
    WrongError,
    builtin,
    check,
    choices,
    equal,
    function,
    number,
    require,
    same_rule,
    standard_normal,
    tensor,
)


def _several(what: str, value: object, n: int, names: str) -> list[Tensor]:
    """N numbers of a student, in a tuple, a list or one tensor."""
    if getattr(value, "shape", None) == (n,):  # a tensor or an array
        value = list(torch.as_tensor(value).detach())
    if not isinstance(value, tuple | list) or len(value) != n:
        raise WrongError(f"{what}: expected {n} numbers, return {names}")
    return [tensor(what, one) for one in value]


@check()
def join_label(draws: Draws, told: Student, join: Student) -> None:
    """A label as probabilities, and what a network reads of both.

    Held against rows of the identity matrix, and against the average that a
    linear layer must make of two labels in doubt.
    """
    as_told, joined = function("told", told), function("join", join)
    for n, n_classes in ((7, 10), (1, 3), (4, 4)):
        y = draws.whole(0, n_classes - (n == 7), n)
        right = torch.eye(n_classes)[y]
        wrong = {
            "this is the label as a number: 4 is not between 3 and 5": (
                y[:, None].double()
            ),
            "rows and columns are swapped: one row for each digit": right.T,
            "the one stands one place too far: labels start at 0": (
                right.roll(1, 1)
            ),
        }
        equal("told", as_told(y, n_classes), right, wrong)
    for shape, n_classes in (((5, 8), 10), ((1, 1), 3), ((6, 4, 3), 4)):
        v = draws.normal(*shape)
        p = draws.normal(shape[-2], n_classes).softmax(-1)
        wide = p.expand(*shape[:-1], n_classes)
        right = torch.cat([v, wide], -1)
        sure = one_hot(p.argmax(-1), n_classes).float().expand(wide.shape)
        wrong = {
            "v comes first, the label after it": torch.cat([wide, v], -1),
            "keep the doubt: the probabilities go in as they are": (
                torch.cat([v, sure], -1)
            ),
            "the label as one number says that 4 lies between 3 and 5": (
                torch.cat([v, p.argmax(-1).expand(shape[:-1])[..., None]], -1)
            ),
            "the probabilities sum to 1 already: no softmax": (
                torch.cat([v, wide.softmax(-1)], -1)
            ),
            "the label is missing": v,
        }
        equal(f"join for v of shape {shape}", joined(v, p), right, wrong)
    for lead in ((), (2,), (4,)):
        v = draws.normal(*lead, 3, 5).requires_grad_()
        p = draws.normal(3, 4).softmax(-1).requires_grad_()
        weights = draws.normal(*lead, 3, 9)
        _, (of_v, of_p) = joined.gradients(v, p, weights=weights)
        for name, one in (("v", of_v), ("p", of_p)):
            require(
                one is not None,
                f"no gradient reaches {name}: was it detached? A label in "
                "doubt may itself come from a network",
            )
        equal("the gradient by v", of_v, weights[..., :5])
        of_each = weights[..., 5:].reshape(-1, 3, 4)
        wrong = {"p goes to all K codes": of_each[0]}
        if not lead:
            wrong = {}
        equal("the gradient by p", of_p, of_each.sum(0), wrong)


def linear_draw(cvae: CVAE, z: Tensor, y: Tensor) -> Tensor:
    """Pixels that a CVAE without hidden layers draws, float64 (B, D)."""
    layer = cvae.decoder[0]
    told = torch.eye(cvae.n_classes)[y].double()
    read = torch.cat([z.double(), told], -1)
    logits = read @ layer.weight.detach().double().T
    return (logits + layer.bias.detach().double()).sigmoid()


def linear_mu(cvae: CVAE, x: Tensor, y: Tensor) -> Tensor:
    """Means of q(z|x, y) of such a CVAE, float64 (B, L)."""
    layer = cvae.encoder[0]
    told = torch.eye(cvae.n_classes)[y].double()
    read = torch.cat([x.double(), told], -1)
    found = read @ layer.weight.detach().double().T
    return (found + layer.bias.detach().double())[:, : cvae.n_latent]


@check()
def ask_and_swap(draws: Draws, ask: Student, swap: Student) -> None:
    """New digits of one class, and a digit's style drawn as others.

    On models without hidden layers the code of a picture can be computed
    back: the codes of new digits must be standard normal.
    """
    new, other = function("ask", ask), function("swap", swap)
    n, n_latent, n_classes = 20_000, 3, 5
    for digit in (2, 0, 4):
        # its training has no say in how it is looked at
        options = {"n_classes": n_classes, "shape": (1, 5, 6)}
        cvae = draws.model(CVAE, n_latent, (), **options).eval()
        with torch.no_grad():
            cvae.decoder[0].weight.copy_(0.4 * draws.normal(30, 8))
        pixels = tensor("the new digits", new(cvae, digit, n), (n, 30))
        z = _codes_of(cvae, pixels, digit)
        hint = "The codes come from the prior: torch.randn, one row a picture"
        standard_normal("the codes of the new digits", z, hint)
    # two must not share out the probabilities
    for few in (1, 2):
        calls = [tensor("few", new(cvae, 4, few)) for _ in range(200)]
        z = _codes_of(cvae, torch.cat(calls).view(-1, 30), 4).view(200, -1)
        standard_normal(f"the codes of new digits, n = {few}", z, hint)
    first, again = (tensor("new digits", new(cvae, 4, 7)) for _ in range(2))
    require(
        first.shape == (7, 30) and not torch.equal(first, again),
        "ask: two calls give the same pictures. Draw new codes in each call, "
        "without a seed that is set inside",
    )
    for n, shape in ((6, (1, 4, 5)), (1, (1, 3, 3))):
        options = {"n_classes": n_classes, "shape": shape}
        cvae = draws.model(CVAE, n_latent, (), **options).eval()
        with torch.no_grad():
            for layer in (cvae.encoder[0], cvae.decoder[0]):
                layer.weight.copy_(0.5 * draws.normal(*layer.weight.shape))
        x = (draws.uniform(n, cvae.n_values) < 0.4).float()
        y = draws.whole(0, n_classes, n)
        asked = (y + draws.whole(1, n_classes, n)) % n_classes
        mu = linear_mu(cvae, x, y)
        right = linear_draw(cvae, mu, asked)
        wrong = {
            "encode with the digit's own label, not with the new one": (
                linear_draw(cvae, linear_mu(cvae, x, asked), asked)
            ),
            "decode with the new label; this is the old digit": (
                linear_draw(cvae, mu, y)
            ),
            "both labels changed places: encode with y, decode with asked": (
                linear_draw(cvae, linear_mu(cvae, x, asked), y)
            ),
            "these are logits; use cvae.decode_mean, or a "
            "sigmoid": right.logit(),
            "a sigmoid too many: decode_mean has one already": right.sigmoid(),
            "the new digit's style is that of x; code 0 has none": (
                linear_draw(cvae, 0 * mu, asked)
            ),
        }
        found = other(cvae, x, y, asked)
        again = tensor("the swapped digits", other(cvae, x, y, asked))
        first = tensor("the swapped digits", found)
        require(
            first.shape != again.shape or bool((first == again).all()),
            "swap: two calls give two results. Take mu as the code, without "
            "noise",
        )
        equal("the swapped digits", found, right, wrong)


def _codes_of(cvae: CVAE, pixels: Tensor, digit: int) -> Tensor:
    """Refuse pictures that are not of this digit; their codes, (n, L)."""
    if float(pixels.min()) < 0 or float(pixels.max()) > 1:
        raise WrongError(
            "ask: pixels lie outside 0 to 1. These are logits; use "
            "cvae.decode_mean, or a sigmoid"
        )
    if bool(((pixels == 0) | (pixels == 1)).all()):
        raise WrongError("ask: return the probability of ink, not 0 or 1")
    layer = cvae.decoder[0]
    weight = layer.weight.detach().double()
    logits = pixels.clamp(1e-9, 1 - 1e-7).logit() - layer.bias.detach()
    to_z, of_label = weight[:, : cvae.n_latent], weight[:, cvae.n_latent :]
    z, gap = {}, []
    for label in range(cvae.n_classes):
        rest = logits - of_label[:, label]
        z[label] = rest @ torch.linalg.pinv(to_z).T
        gap.append(float((rest - z[label] @ to_z.T).abs().mean()))
    best = min(range(cvae.n_classes), key=gap.__getitem__)
    require(
        gap[best] < 1e-3,
        "ask: no code and label give these pictures. Decode a code together "
        "with the label, and end with one sigmoid, as cvae.decode_mean does",
    )
    require(
        best == digit,
        f"ask: asked for class {digit}, these are pictures of class {best}",
    )
    found = z[digit]
    require(
        float(found.std(0).max()) > 1e-3,
        "ask: all pictures are the same: draw one code for each",
    )
    return found


@check()
def label_by_elbo(draws: Draws, bounds: Student, classify: Student) -> None:
    """The ELBO of each digit under each label, and the best label.

    Held against the terms of the package's own CVAE, told each label.
    """
    table = function("bounds", bounds)
    best = function("classify", classify)
    for k, n, n_latent, n_classes in (
        (3, 5, 2, 4),
        (1, 1, 1, 3),
        (4, 9, 3, 3),
    ):
        cvae = draws.model(
            CVAE, n_latent, (6,), n_classes, shape=(1, 3, 5), beta=5.0
        ).eval()
        with torch.no_grad():
            for weights in cvae.parameters():
                weights.mul_(2)
            if n == 9:  # logits as large as those of a long training
                cvae.decoder[-1].bias.add_(40 * draws.normal(15))
        x = (draws.uniform(n, 15) < 0.4).float()
        noise = draws.normal(k, n, n_latent)
        log_p, kl = _parts(cvae, x, noise)  # (K, B, C), (B, C)
        right = log_p.mean(0) - kl
        wrong = {
            "the KL is missing: it differs from label to label": (
                log_p.mean(0)
            ),
            "the KL is a price: subtract it": log_p.mean(0) + kl,
            "one row for each digit: (B, C), not (C, B)": right.T,
            "sum log p(x|z) over the pixels; you took their mean": (
                log_p.mean(0) / 15 - kl
            ),
            "tell the encoder the label that is tried, not 0": (
                _mixed(cvae, x, noise, encoder=0)
            ),
            "tell the decoder the label that is tried, not 0": (
                _mixed(cvae, x, noise, decoder=0)
            ),
            "this is the negative ELBO": -right,
            "use all K codes; this is the first alone": log_p[0] - kl,
            "average over the K codes, do not sum": k * right,
            "average the ELBOs of the K codes; this is the logarithm of a "
            "mean": log_p.logsumexp(0) - math.log(k) - kl,
            "take the mean over the K codes, not the best of them": (
                log_p.max(0).values - kl
            ),
            "average over the latent dimensions? Sum their KL": (
                log_p.mean(0) - kl / n_latent
            ),
        }
        if n == n_classes:
            del wrong["one row for each digit: (B, C), not (C, B)"]
        equal("the bounds", table(cvae, x, noise), right, wrong)
        labels = {
            "the highest ELBO is the best, not the lowest": right.argmin(1),
            "argmax over the labels, dimension 1": right.argmax(0),
            "return the label, not its ELBO": right.max(1).values,
            "all are class 0: use the bounds": torch.zeros(n),
        }
        found = best(cvae, x, noise)
        equal("the labels", found, right.argmax(1), labels)
    _compare_labels(draws, best)


def _compare_labels(draws: Draws, best: Student) -> None:
    """Labels of digits on which wrong rules and the right one differ."""
    k, n = 5, 300
    cvae = draws.model(CVAE, 2, (6,), 4, shape=(1, 3, 5), beta=5.0).eval()
    with torch.no_grad():
        for weights in cvae.parameters():
            weights.mul_(2.5)
    x, noise = (draws.uniform(n, 15) < 0.4).float(), draws.normal(k, n, 2)
    log_p, kl = _parts(cvae, x, noise)
    right = log_p.mean(0) - kl
    rules = {
        "the KL counts too: use the whole bound": log_p.mean(0),
        "use all K codes, not the first alone": log_p[0] - kl,
        "use the mean over the K codes, not the best of them": (
            log_p.amax(0) - kl
        ),
        "use the mean of the logarithms, not the logarithm of the mean": (
            log_p.logsumexp(0) - kl
        ),
        "a beta is for training; the ELBO has none": log_p.mean(0) - 5 * kl,
        "the least KL does not make the best label": -kl,
        "the encoder is told the label that is tried, not 0": (
            _mixed(cvae, x, noise, encoder=0)
        ),
        "the decoder is told the label that is tried, not 0": (
            _mixed(cvae, x, noise, decoder=0)
        ),
    }
    # rounding must not decide, and each rule must be wrong on some digit
    two_best = right.topk(2, 1).values
    clear = two_best[:, 0] - two_best[:, 1] > 1e-3
    label = right.argmax(1)
    keep = torch.zeros(n).bool()
    for table in rules.values():
        differs = (table.argmax(1) != label) & clear
        keep[differs.nonzero()[:3, 0]] = True
    keep[clear.nonzero()[:9, 0]] = True
    known: dict[str, Tensor | float] = {
        why: table[keep].argmax(1).double() for why, table in rules.items()
    }
    found = best(cvae, x[keep], noise[:, keep])
    equal("the labels of more digits", found, label[keep], known)


def _parts(cvae: CVAE, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """log p(x|z, y) (K, B, C) and the KL (B, C), told each label."""
    log_p, kl = [], []
    for label in range(cvae.n_classes):
        y = torch.full((len(x),), label)
        terms = [cvae(x, y, e) for e in noise]
        log_p.append(torch.stack([-one["reconstruction"] for one in terms]))
        kl.append(terms[0]["kl"])
    return (
        torch.stack(log_p, -1).detach().double(),
        torch.stack(kl, -1).detach().double(),
    )


def _mixed(
    cvae: CVAE,
    x: Tensor,
    noise: Tensor,
    encoder: int | None = None,
    decoder: int | None = None,
) -> Tensor:
    """The bounds where one of the networks is told a fixed label."""
    columns = []
    with torch.no_grad():
        for label in range(cvae.n_classes):
            first = label if encoder is None else encoder
            last = label if decoder is None else decoder
            q = cvae.encode(x, torch.full((len(x),), first))
            normal = Normal(q[0], (q[1] / 2).exp())
            z = normal.mean + normal.stddev * noise
            told = torch.full((len(x),), last)
            kl = torch.distributions.kl_divergence(normal, Normal(0.0, 1.0))
            log_p = cvae.log_likelihood(x, z, told).mean(0)
            columns.append(log_p - kl.sum(-1))
    return torch.stack(columns, -1)


STRANGERS = {"A": "encoder only", "B": "collapsed", "C": "healthy"}


def strangers(digits: Images) -> dict[str, CVAE]:
    """Three CVAEs to be told apart; which is which is the exercise."""
    made = {
        "healthy": CVAE(2, (128, 64)),
        "encoder only": LabelToEncoderOnly(2, (128, 64)),
        "collapsed": CVAE(2, (128, 64), beta=50.0),
    }
    config = TrainConfig(epochs=30, lr=5e-3, decay=0.3, device="cpu")
    for model in made.values():
        fit(model, digits, config, progress=False)
    return {letter: made[kind] for letter, kind in STRANGERS.items()}


@check()
def who_is_told(draws: Draws, effects: Student, reading: Student) -> None:
    """What label and code do to pictures, and which model is which.

    The two effects are compared with the total variance and with what
    remains inside a label.
    """
    both, read = function("effects", effects), function("reading", reading)
    for n_classes, n, h, w in ((10, 7, 6, 5), (3, 1, 4, 4), (4, 6, 2, 3)):
        label = 2 * draws.normal(n_classes, 1, h, w)
        style = draws.normal(1, n, h, w)
        images = label + style + draws.normal(n_classes, n, h, w)
        rows = images.double().flatten(2)  # (C, n, D)
        within = rows.var(1, correction=0)  # (C, D)
        total = rows.flatten(0, 1).var(0, correction=0).sum()
        of_style = within.mean(0).sum()
        of_label = total - of_style
        found = _several("effects", both(images), 2, "label, style")
        size = h * w
        wrong = {
            "the label's effect comes first, the style's second": of_style,
            "average over the codes first; this is the variance over labels "
            "for each code": rows.var(0, correction=0).mean(0).sum(),
            "divide by their number, not by one less": (
                of_label * n_classes / (n_classes - 1)
            ),
            "sum over the pixels": of_label / size,
            "this is the variance of all pictures": total,
        }
        equal("the effect of the label", found[0], of_label, wrong)
        wrong = {
            "average over the labels": n_classes * of_style,
            "divide by their number, not by one less": (
                of_style * n / max(1, n - 1)
            ),
            "sum over the pixels": of_style / size,
            "take the variance for each label; this is that of the mean "
            "pictures": rows.mean(0).var(0, correction=0).sum(),
            "this is the variance of all pictures": total,
        }
        equal("the effect of the style", found[1], of_style, wrong)
    answer = read()
    require(answer is not None, "reading: no answer yet; return a dict")
    if not isinstance(answer, dict) or set(answer) != set(STRANGERS):
        raise WrongError(
            f"reading: expected a dict with the keys A, B and C, got "
            f"{brief(answer)}"
        )
    choices(
        "the reading of the figures",
        answer,
        STRANGERS,
        ("healthy", "encoder only", "collapsed"),
        "For each model ask two things: does the picture change along a "
        "column, where only the label changes, and along a row, where only "
        "the code does?",
    )


@functools.cache
def _class_means() -> Tensor:
    digits = builtin()
    ink = digits.images.float().flatten(1) / 255
    return torch.stack([ink[digits.labels == c].mean(0) for c in range(10)])


def read_digits(images: Tensor) -> Tensor:
    """The digit whose mean picture is nearest, (N,), of images (N, 28, 28).

    A simple judge: it reads nine of ten built-in test digits as labelled.
    """
    _need_images(images)
    ink = images.detach().flatten(1).float()
    return torch.cdist(ink, _class_means()).argmin(1)


def read_by_ink(images: Tensor) -> Tensor:
    """A judge for trying functions: a class from the ink of (N, h, w)."""
    _need_images(images)
    return (40 * images.detach().double().mean((1, 2))).long() % 10


def _clear(images: Tensor) -> Tensor:
    """Which pictures this judge reads whatever the rounding, (N,)."""
    part = (40 * images.mean((1, 2))).frac()
    return (part > 1e-3) & (part < 1 - 1e-3)


def _need_images(images: object) -> None:
    shape = getattr(images, "shape", ())
    if len(shape) != 3 or shape[1] != shape[2]:
        raise ValueError(
            f"images: expected (N, side, side), got {tuple(shape)}; take "
            "the channel out with [:, 0], or use unflatten(-1, (side, side)) "
            "on rows of pixels"
        )
    least, most = images.detach().aminmax()
    if float(least) < 0 or float(most) > 1:
        raise ValueError("images: pixels outside 0 to 1; are these logits?")


@check()
def price_of_variety(
    draws: Draws, trade: Student, best_scale: Student
) -> None:
    """Share read as asked and variety, where the prior is made narrower.

    The pictures come from models whose pixels can be computed by hand, and
    a judge that goes by the ink.
    """
    both = function("trade", trade)
    best = function("best_scale", best_scale)
    for n, n_latent in ((60, 2), (12, 1)):
        cvae = draws.model(CVAE, n_latent, (), 10).eval()
        with torch.no_grad():
            weight = cvae.decoder[0].weight
            weight.copy_(0.2 * draws.normal(*weight.shape))
            weight[:, :n_latent] += 0.5
        z = draws.normal(n, n_latent)
        read = [read_by_ink(_pictures(cvae, 0.6 * z, d)) for d in range(10)]
        counts = [int((labels == d).sum()) for d, labels in enumerate(read)]
        # any but class 0, which a function may ask for by mistake
        digit = 1 + counts[1:].index(max(counts[1:]))
        # rounding must not decide how a picture is read
        for scale in (0.6, 1.0):
            z = z[_clear(_pictures(cvae, scale * z, digit))]
        for scale in (0.6, 1.0, 0.0):
            if bool(_clear(_pictures(cvae, scale * z, digit)).all()):
                found = both(cvae, read_by_ink, digit, scale, z)
                found = _several("trade", found, 2, "share, variety")
                _compare_trade(found, cvae, digit, scale, z)
    _compare_choice(draws, best)


def _pictures(cvae: CVAE, z: Tensor, digit: int) -> Tensor:
    y = torch.full((len(z),), digit)
    return linear_draw(cvae, z, y).view(-1, 28, 28)


def _compare_trade(
    found: list[Tensor], cvae: CVAE, digit: int, scale: float, z: Tensor
) -> None:
    """The share first, then the variety."""
    pictures = _pictures(cvae, scale * z, digit)
    whole = _pictures(cvae, z, digit)
    pixels, n = pictures.flatten(1), len(z)
    share = (read_by_ink(pictures) == digit).double().mean()
    first = _pictures(cvae, scale * z, 0)
    # the variety first: few mistakes have the same
    wrong = {
        "the two are exchanged: the share comes first": share,
        "ask for the digit; these are pictures of class 0": (
            first.flatten(1).var(0).sum()
        ),
        "scale the codes before drawing": whole.flatten(1).var(0).sum(),
        "the variance of each pixel over the pictures, not of all "
        "pixels": pixels.var(),
        "sum over the pixels, do not average": pixels.var(0).mean(),
        "the variance, not the standard deviation": pixels.std(0).sum(),
        "variance over the pictures, dimension 0": pixels.var(1).sum(),
        "of a sample: divide by n - 1": pixels.var(0, correction=0).sum(),
        "scale the codes, not the pixels": (
            scale**2 * whole.flatten(1).var(0).sum()
        ),
    }
    wrong = wrong if scale else {}
    right = pixels.var(0).sum()
    equal(f"the variety at scale {scale:g}", found[1], right, wrong)
    wrong = {
        "a share, not a number of pictures": n * share,
        "a share from 0 to 1, not per cent": 100 * share,
        "this is the share not read as asked": 1 - share,
    }
    equal(
        f"the share read as asked at scale {scale:g}", found[0], share, wrong
    )


def _compare_choice(draws: Draws, best: Student) -> None:
    """The most varied of those that are good enough, in any order."""
    rules = _scale_with_most(lambda s, p, v: v), _other_scales()
    cases = same_rule("the best scale", best, *rules, lambda: _trials(draws))
    scales, shares, varieties, _ = cases[0]
    nothing = best(scales, shares, varieties, 0.995)
    require(
        nothing is None,
        "best_scale: where no scale is obeyed enough, return None; found "
        f"{brief(nothing)}",
    )
    # not good enough, and just good enough with pictures that are all alike
    shares, varieties = shares[:2].sort().values, varieties[:2].clone()
    varieties[1] = 0.0
    equal(
        "the best of two scales, of which one is just good enough and has "
        "a variety of 0",
        best(scales[:2], shares, varieties, float(shares[1])),
        scales[1],
        {
            "this one does not have enough of a share. What is not allowed "
            "must lose against a variety of 0 too": scales[0]
        },
    )


def _trials(draws: Draws) -> tuple[Tensor, Tensor, Tensor, float]:
    """Scales, shares and varieties, and the least share, which is there."""
    n = 7
    scales = 0.2 + 0.1 * torch.randperm(n, generator=draws.generator)
    shares = 0.125 + 0.125 * torch.randperm(n, generator=draws.generator)
    varieties = 10 + 30 * draws.uniform(n).double()
    # two are good enough
    least = float(shares.sort().values[draws.whole(0, n - 1)])
    return scales.double(), shares, varieties, least


def _scale_with_most(
    size: Callable, enough: Callable = torch.Tensor.ge
) -> Callable[[Tensor, Tensor, Tensor, float], float]:
    """A rule: the scale with most of something among those with enough."""

    def rule(s: Tensor, p: Tensor, v: Tensor, least: float) -> float:
        sizes = torch.where(enough(p, least), size(s, p, v), -math.inf)
        return float(s[sizes.argmax()])

    return rule


def _other_scales() -> dict[str, Callable]:
    """What wrong rules choose, by their diagnosis."""
    most, any_share = _scale_with_most, lambda p, least: p >= 0
    right = most(lambda s, p, v: v)

    def place(s: Tensor, *others: Tensor) -> float:
        return float((s == right(s, *others)).nonzero())

    return {
        "return the scale, not its place": place,
        "return the scale, not its variety": lambda s, p, v, least: float(
            v[p >= least].max()
        ),
        "the most variety is wanted, among the scales that are obeyed "
        "enough; this one has the highest share": most(lambda s, p, v: p),
        "this scale has the most variety, and too small a share": most(
            lambda s, p, v: v, any_share
        ),
        "the variety decides, not the scale: this is the largest of those "
        "that are obeyed enough": most(lambda s, p, v: s),
        "the variety decides: this is the smallest scale of those that are "
        "obeyed enough": most(lambda s, p, v: -s),
        "this is the least variety; the most is wanted": most(
            lambda s, p, v: -v
        ),
        "this is the one with the smallest share that will do": most(
            lambda s, p, v: -p
        ),
        "share times variety is another rule": most(
            lambda s, p, v: p * v, any_share
        ),
        "the scales are in no order: compare their varieties": most(
            lambda s, p, v: torch.arange(len(s))
        ),
        "the scales are in no order, and the first need not be the best": (
            most(lambda s, p, v: -torch.arange(len(s)))
        ),
        "a share of exactly the least one will do": most(
            lambda s, p, v: v, torch.Tensor.gt
        ),
    }


@check()
def worth_of_a_label(
    draws: Draws, predicted_worth: Student, worth: Student
) -> str:
    """What ten labels are worth to a model that knows all densities.

    Held against torch's mixture distribution; the prediction is compared
    with what the student's own function measures.
    """
    predicted = function("predicted_worth", predicted_worth)()
    measure = function("worth", worth)
    require(
        predicted is not None,
        "no prediction yet: return three numbers, in nats",
    )
    guesses = _several("predicted_worth", predicted, 3, "together, near, far")
    guesses = [number("predicted_worth", one) for one in guesses]
    for n, n_classes, gap in ((40, 10, 1.0), (1, 2, 3.0), (30, 3, 0.5)):
        means = gap * draws.normal(n_classes)
        y = draws.whole(0, n_classes, n)
        x = means[y] + draws.normal(n)
        if n == 40:
            x[0] += 20  # so far that its densities are 0 in float32
        right, wrong = _worth(x, y, means)
        equal("the worth", measure(x, y, means), right, wrong)
    measured = []
    for gap in (0.0, 1.0, 10.0):
        y = draws.whole(0, 10, 2000)
        means = gap * torch.arange(10.0)
        x = means[y] + draws.normal(2000)
        value = measure(x, y, means)
        right, wrong = _worth(x, y, means)
        equal(f"the worth at a distance of {gap:g}", value, right, wrong)
        measured.append(float(right))
    pairs = ", ".join(
        f"{a:.2f} and {b:.2f}" for a, b in zip(guesses, measured)
    )
    close = all(
        abs(a - b) < slack
        for a, b, slack in zip(guesses, measured, (0.05, 0.3, 0.1))
    )
    end = (
        "a good prediction"
        if close
        else "labels of one and the same density tell nothing, and ten "
        f"that never meet tell log 10 = {math.log(10):.2f} nats"
    )
    return f"right. Predicted and measured: {pairs}; {end}"


def _worth(x: Tensor, y: Tensor, means: Tensor) -> tuple[Tensor, dict]:
    x, means = x.double(), means.double()
    each = Normal(means, 1.0).log_prob(x[:, None])  # (N, C)
    told = each[torch.arange(len(x)), y]
    same = Categorical(torch.ones(len(means)).double())
    untold = MixtureSameFamily(same, Normal(means, 1.0)).log_prob(x)
    right = (told - untold).mean()
    wrong = {
        "p(x) is the mean over the labels: subtract log C": (
            right - math.log(len(means))
        ),
        "log p(x) is the logarithm of a mean, not a mean of logarithms": (
            (told - each.mean(1)).mean()
        ),
        "the sign: log p(x|y) minus log p(x)": -right,
        "log p(x) is not subtracted": told.mean(),
        "average over the data, do not sum": (told - untold).sum(),
        "told the label means: of its own density, not of the likeliest": (
            each.max(1).values - untold
        ).mean(),
    }
    return right, {k: v for k, v in wrong.items() if abs(v - right) > 1e-6}
