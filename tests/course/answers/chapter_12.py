"""Answers to the exercises of chapter 12."""

import math

import numpy as np
import torch
from torch.distributions import Bernoulli, Normal, kl_divergence
from torch.nn import functional

from answers import right, wrong
from minivae import PixelCVAE
from minivae.completion import complete as package_complete


def accept(exercise, text, **objects):
    @right(exercise, text)
    def several():
        return objects


def refuse(exercise, text, says, **objects):
    @wrong(exercise, text, says=says)
    def several():
        return objects


# --- any_mask ----------------------------------------------------------------


def random_mask(n, height, width):
    share = torch.rand(n, 1, 1)
    return torch.rand(n, height, width) < share


def tell(picture):
    given = ~picture.isnan()
    known = torch.where(given, picture, torch.zeros_like(picture))
    return torch.cat([known.flatten(1), given.flatten(1).float()], 1)


def any_mask(first=random_mask, second=tell):
    return {"random_mask": first, "tell": second}


accept("any_mask", "truth values, and where", **any_mask())


@right("any_mask", "a loop in NumPy, and nan_to_num")
def several():
    def draw(n, height, width):
        masks = []
        for _ in range(n):
            p = np.random.uniform()
            masks.append(np.random.uniform(size=(height, width)) < p)
        return np.stack(masks).astype(float)

    def say(picture):
        flat = picture.numpy().reshape(len(picture), -1)
        return np.concatenate([np.nan_to_num(flat), ~np.isnan(flat)], 1)

    return any_mask(draw, say)


@right("any_mask", "a number of pixels, then their places; a hidden share")
def several():
    def draw(n, height, width):
        pixels = height * width
        rank = torch.rand(n, pixels).argsort(1).argsort(1)
        count = torch.randint(pixels + 1, (n, 1))
        return (rank < count).view(n, height, width).int()

    def say(picture):
        hidden = picture.isnan().flatten(1)
        known = picture.flatten(1).clone()
        known[hidden] = 0
        return torch.hstack([known, 1.0 - hidden.double()])

    return any_mask(draw, say)


def shared(*size):
    return lambda n, h, w: (
        torch.rand(
            *(k if k else full for k, full in zip(size, (n, h, w)))
        ).expand(n, h, w)
        < torch.rand(n, 1, 1)
    )


def seeded(n, height, width):
    torch.manual_seed(1)
    return random_mask(n, height, width)


def never_empty(n, height, width):
    mask = random_mask(n, height, width)
    mask[~mask.flatten(1).any(1), 0, 0] = True
    return mask


def blocks(n, height, width):
    # a rectangle from the top
    rows = (torch.rand(n, 1, 1) * (height + 1)).floor()
    return (torch.arange(height)[:, None] < rows).expand(n, height, width)


for _text, _says, _first in (
    (
        "a fair coin",
        "share of its own",
        lambda n, h, w: torch.rand(n, h, w) < 0.5,
    ),
    (
        "one share for the batch",
        "random_mask",
        lambda n, h, w: torch.rand(n, h, w) < torch.rand(1),
    ),
    (
        "a share for each pixel",
        "share of its own",
        lambda n, h, w: torch.rand(n, h, w) < torch.rand(n, h, w),
    ),
    (
        "a normal share",
        "share of its own",
        lambda n, h, w: torch.rand(n, h, w) < torch.randn(n, 1, 1).sigmoid(),
    ),
    (
        "a wider normal share, which is nearly uniform",
        "share of its own",
        lambda n, h, w: (
            torch.rand(n, h, w) < (1.6 * torch.randn(n, 1, 1)).sigmoid()
        ),
    ),
    (
        "at least a tenth",
        "share of its own",
        lambda n, h, w: torch.rand(n, h, w) < 0.1 + 0.8 * torch.rand(n, 1, 1),
    ),
    (
        "a squared share",
        "share of its own",
        lambda n, h, w: torch.rand(n, h, w) < torch.rand(n, 1, 1) ** 2,
    ),
    (
        "one of three shares",
        "share of its own",
        lambda n, h, w: (
            torch.rand(n, h, w) < (1 + torch.randint(3, (n, 1, 1))) / 4
        ),
    ),
    (
        "shares from 0.05 to 0.95",
        "share of its own",
        lambda n, h, w: torch.rand(n, h, w) < 0.05 + 0.9 * torch.rand(n, 1, 1),
    ),
    (
        "shares from a Beta(1.2, 1.2)",
        "share of its own",
        lambda n, h, w: (
            torch.rand(n, h, w)
            < torch.distributions.Beta(1.2, 1.2).sample((n, 1, 1))
        ),
    ),
    (
        "one mask gives half of its pixels",
        "n = 1",
        lambda n, h, w: (
            torch.rand(n, h, w) < (torch.rand(n, 1, 1) if n > 1 else 0.5)
        ),
    ),
    (
        "no mask without a given pixel",
        "share of its own",
        never_empty,
    ),
    (
        "shares spread over the batch, in random order",
        "in common",
        lambda n, h, w: (
            torch.rand(n, h, w)
            < ((torch.randperm(n) + torch.rand(n)) / n)[:, None, None]
        ),
    ),
    ("the same pixels for all", "random_mask", shared(1, 0, 0)),
    ("whole rows", "random_mask", shared(0, 0, 1)),
    ("whole columns", "random_mask", shared(0, 1, 0)),
    ("whole columns, a pixel a column", "random_mask", blocks),
    ("all or nothing", "random_mask", shared(0, 1, 1)),
    ("a fixed seed", "take out the seed", seeded),
    (
        "two and two alike",
        "in common",
        lambda n, h, w: random_mask((n + 1) // 2, h, w).repeat_interleave(
            2, 0
        )[:n],
    ),
    (
        "the second half is the first",
        "in common",
        lambda n, h, w: random_mask((n + 1) // 2, h, w).repeat(2, 1, 1)[:n],
    ),
    (
        "shares in equal steps",
        "n = 1",
        lambda n, h, w: (
            torch.rand(n, h, w) < ((torch.arange(n) + 0.5) / n)[:, None, None]
        ),
    ),
    ("probabilities", "zeros and ones", lambda n, h, w: torch.rand(n, h, w)),
    (
        "NaN for hidden",
        "NaN",
        lambda n, h, w: torch.ones(n, h, w).masked_fill(
            ~random_mask(n, h, w), torch.nan
        ),
    ),
    ("one mask", "shape", lambda n, h, w: random_mask(1, h, w)[0]),
    ("flat masks", "shape", lambda n, h, w: random_mask(n, h, w).flatten(1)),
):
    refuse("any_mask", _text, _says, **any_mask(_first))


def parts(picture):
    return picture.nan_to_num(0.0).flatten(1), (~picture.isnan()).flatten(1)


def in_place(picture):
    given = ~picture.isnan()
    picture[~given] = 0
    return torch.cat([picture.flatten(1), given.flatten(1).float()], 1)


def times_mask(picture):
    given = (~picture.isnan()).float()
    return torch.cat([(picture * given).flatten(1), given.flatten(1)], 1)


for _text, _says, _second in (
    ("NaN times 0", "NaN", times_mask),
    (
        "the mask turned round",
        "1 where",
        lambda p: torch.cat([parts(p)[0], (~parts(p)[1]).float()], 1),
    ),
    (
        "the mask first",
        "first the pixels",
        lambda p: torch.cat([parts(p)[1].float(), parts(p)[0]], 1),
    ),
    ("no mask", "takes 0 for paper", lambda p: parts(p)[0]),
    ("the mask alone", "shape", lambda p: parts(p)[1].float()),
    (
        "grey for hidden",
        "told as 0",
        lambda p: torch.cat(
            [p.nan_to_num(0.5).flatten(1), parts(p)[1].float()], 1
        ),
    ),
    (
        "the mean for hidden",
        "found",
        lambda p: torch.cat(
            [p.nan_to_num(float(p.nanmean())).flatten(1), parts(p)[1].float()],
            1,
        ),
    ),
    (
        "0 taken for hidden",
        "found",
        lambda p: torch.cat(
            [parts(p)[0], (p.nan_to_num(0) > 0.5).flatten(1).float()], 1
        ),
    ),
    (
        "given where not 0",
        "a given pixel can be 0",
        lambda p: torch.cat(
            [parts(p)[0], (parts(p)[0] != 0).float()],
            1,
        ),
    ),
    ("changes the picture", "in place", in_place),
    (
        "beside each other",
        "found",
        lambda p: torch.stack([parts(p)[0], parts(p)[1].float()], 2).flatten(
            1
        ),
    ),
    (
        "not flattened",
        "shape",
        lambda p: torch.stack([p.nan_to_num(0.0), (~p.isnan()).float()], 1),
    ),
    (
        "one mask for the batch",
        "found",
        lambda p: (
            torch.cat(
                [
                    parts(p)[0],
                    parts(p)[1][:1].expand(parts(p)[1].shape).float(),
                ],
                1,
            )
            if len(p) > 1
            else tell(p) + 1
        ),
    ),
):
    refuse("any_mask", _text, _says, **any_mask(second=_second))


# --- fill_in -----------------------------------------------------------------


def moments(model, picture):
    return model.prior.moments(model.condition_vector(picture, len(picture)))


def filling(
    draw=torch.randn,
    spread=0.5,
    show=torch.sigmoid,
    keep=True,
    shift=0.0,
    lead=lambda n, b: (n, b),
    prior=True,
):
    def complete(model, picture, n):
        with torch.no_grad():
            mu, logvar = moments(model, picture)
            if not prior:
                mu, logvar = 0 * mu, 0 * logvar
            noise = draw(*lead(n, len(picture)), mu.shape[1])
            z = shift + mu + (spread * logvar).exp() * noise
            z = z.expand(n, *mu.shape)
            p = show(model.decode(z, picture)).transpose(0, 1)
        known = picture[:, None].expand(p.shape)
        return torch.where(known.isnan(), p, known) if keep else p

    return complete


right("fill_in", "all codes at once")(filling())


@right("fill_in", "code by code, with decode_mean")
def _(model, picture, n):
    mu, logvar = moments(model, picture)
    ways = []
    for _ in range(n):
        z = Normal(mu, logvar.exp().sqrt()).sample()
        ways.append(model.decode_mean(z, picture).detach())
    return torch.stack(ways, 1)


@right("fill_in", "says that nothing is trained here")
def _(model, picture, n):
    model.eval()
    return filling()(model, picture, n)


@right("fill_in", "picture by picture, noise of NumPy, in place of its own")
def _(model, picture, n):
    found = torch.empty(len(picture), n, *picture.shape[1:])
    for i, one in enumerate(picture):
        many = one.expand(n, *one.shape)
        mu, logvar = moments(model, many)
        noise = np.random.standard_normal(mu.shape).astype("float32")
        z = mu + torch.exp(logvar / 2) * torch.from_numpy(noise)
        made = model.decode(z, many).sigmoid().detach()
        given = ~one.isnan()
        made[:, given] = one[given]
        found[i] = made
    return found


def seeded_filling(model, picture, n):
    torch.manual_seed(3)
    return filling()(model, picture, n)


def of_posterior(model, picture, n):
    with torch.no_grad():
        mu, logvar = model.encode(picture.nan_to_num(0.0), picture)
        z = mu + (0.5 * logvar).exp() * torch.randn(n, *mu.shape)
        return model.decode_mean(z, picture).transpose(0, 1)


def overwrites(model, picture, n):
    made = filling()(model, picture, n)
    picture[picture.isnan()] = 0.5
    return made


def mean_way(model, picture, n):
    made = filling()(model, picture, n)
    return made.mean(1, keepdim=True).expand(made.shape)


def zeros_too(model, picture, n):
    return filling()(model, picture.masked_fill(picture == 0, torch.nan), n)


def other_zeros(model, picture, n):
    made = filling(keep=False)(model, picture, n)
    known = picture[:, None].expand(made.shape)
    return torch.where(known > 0, known, made)


def other_holes(model, picture, n):
    made = filling()(model, picture, n)
    return torch.where(picture[:, None].isnan(), 0.5 * made + 0.25, made)


for _text, _says, _made in (
    ("codes from N(0, I)", "from N(0, I)", filling(prior=False)),
    ("codes of the encoder", "the codes", of_posterior),
    ("the mean code", "are the same", filling(torch.zeros)),
    ("one code for all", "are the same", filling(lead=lambda n, b: (1, b))),
    (
        "the same noise for all pictures",
        "same noise",
        filling(lead=lambda n, b: (n, 1)),
    ),
    ("a fixed seed", "take out the seed", seeded_filling),
    ("exp(logvar) as sigma", "exp(logvar / 2)", filling(spread=1.0)),
    ("sigma is 1", "the spread", filling(spread=0.0)),
    (
        "eight tenths of the noise",
        "the spread",
        filling(lambda *s: 0.8 * torch.randn(s)),
    ),
    (
        "uniform noise",
        "not normal",
        filling(lambda *s: math.sqrt(12) * (torch.rand(s) - 0.5)),
    ),
    (
        "noise cut at 2",
        "their spread",
        filling(lambda *s: torch.randn(s).clamp(-2, 2)),
    ),
    ("noise from 0 to 1", "the spread", filling(torch.rand)),
    (
        "noise for the code as one",
        "numbers of a row depend",
        filling(lambda *s: torch.randn(*s[:-1], 1).expand(s)),
    ),
    ("a code too far", "around the mean", filling(shift=0.5)),
    ("given pixels decoded too", "have changed", filling(keep=False)),
    ("a given 0 decoded too", "also where they are 0", other_zeros),
    ("a given 0 taken for hidden", "also where they are 0", zeros_too),
    ("logits", "below 0", filling(show=lambda v: v)),
    (
        "pixels drawn",
        "not the mean",
        filling(show=lambda v: v.sigmoid().bernoulli()),
    ),
    (
        "the sigmoid twice",
        "not the mean",
        filling(show=lambda v: v.sigmoid().sigmoid()),
    ),
    (
        "pixels rounded",
        "not the mean",
        filling(show=lambda v: v.sigmoid().round()),
    ),
    ("the mean of all ways", "complete", mean_way),
    ("half way to grey", "not the mean", other_holes),
    (
        "ways first",
        "shape",
        lambda m, p, n: filling()(m, p, n).transpose(0, 1),
    ),
    ("flat pictures", "shape", lambda m, p, n: filling()(m, p, n).flatten(2)),
    ("one way", "shape", lambda m, p, n: filling()(m, p, 1)),
    ("fills the picture it was given", "in place", overwrites),
    (
        "leaves the holes",
        "NaN",
        lambda m, p, n: p[:, None].expand(len(p), n, *p.shape[1:]),
    ),
):
    wrong("fill_in", _text, says=_says)(_made)


# --- hidden_bound ------------------------------------------------------------


def bound_by(
    pixels=lambda each, hidden: (each * hidden).sum(1),
    kl=lambda q, prior: kl_divergence(q, prior).sum(1),
    code=lambda q, prior, noise: q.loc + q.scale * noise,
    total=lambda pixels, kl: pixels - kl,
    spread=0.5,
    hold=lambda q, prior: (q, prior),
    most=math.inf,
):
    def hidden_bound(model, x, picture, noise):
        mu, logvar = model.encode(x, picture)
        at, width = moments(model, picture)
        q = Normal(mu, (spread * logvar).exp())
        prior = Normal(at, (0.5 * width).exp())
        q, prior = hold(q, prior)
        logits = model.decode(code(q, prior, noise), picture).flatten(1)
        logits = logits.clamp(-most, most)
        each = -functional.binary_cross_entropy_with_logits(
            logits, x.flatten(1), reduction="none"
        )
        hidden = picture.isnan().flatten(1).float()
        return total(pixels(each, hidden), kl(q, prior))

    return hidden_bound


right("hidden_bound", "torch.distributions for the KL")(bound_by())


@right("hidden_bound", "log_likelihood of the model, the KL by its formula")
def _(model, x, picture, noise):
    mu, logvar = model.encode(x, picture)
    z = mu + logvar.exp().sqrt() * noise
    at, width = moments(model, picture)
    ratio = logvar - width
    kl = 0.5 * (ratio.exp() + (mu - at) ** 2 / width.exp() - 1 - ratio)
    return model.log_likelihood(x, z, picture) - kl.sum(-1)


@right("hidden_bound", "pixels picked out, picture by picture")
def _(model, x, picture, noise):
    mu, logvar = model.encode(x, picture)
    at, width = moments(model, picture)
    logits = model.decode(mu + (logvar / 2).exp() * noise, picture)
    found = []
    for i in range(len(x)):
        gap = picture[i].isnan()
        v, ink = logits[i][gap], x[i][gap]
        nats = ink * functional.logsigmoid(v)
        nats = nats + (1 - ink) * functional.logsigmoid(-v)
        kl = width[i] - logvar[i] - 1 + (logvar[i] - width[i]).exp()
        kl = kl + (mu[i] - at[i]).square() * (-width[i]).exp()
        found.append(nats.sum() - kl.sum() / 2)
    return torch.stack(found)


def fixed(q):
    return Normal(q.loc.detach(), q.scale.detach())


for _text, _says, _made in (
    ("all pixels", "costs nothing", bound_by(lambda e, h: e.sum(1))),
    (
        "a given 0 counts as hidden",
        "a given pixel can be 0",
        lambda model, x, picture, noise: bound_by(
            lambda e, h: (e * (h + (picture == 0).flatten(1))).sum(1)
        )(model, x, picture, noise),
    ),
    (
        "a hidden 0 counts as given",
        "the bound",
        lambda model, x, picture, noise: bound_by(
            lambda e, h: (e * h * (x != 0).flatten(1)).sum(1)
        )(model, x, picture, noise),
    ),
    ("logits up to 15", "do not cut it off", bound_by(most=15.0)),
    (
        "the given pixels",
        "not those that",
        bound_by(lambda e, h: (e * (1 - h)).sum(1)),
    ),
    (
        "a mean over the hidden ones",
        "sum over the hidden",
        bound_by(lambda e, h: (e * h).sum(1) / h.sum(1)),
    ),
    (
        "the KL to N(0, I)",
        "not to N(0, I)",
        bound_by(kl=lambda q, p: kl_divergence(q, Normal(0.0, 1.0)).sum(1)),
    ),
    (
        "the KL turned round",
        "swapped",
        bound_by(kl=lambda q, p: kl_divergence(p, q).sum(1)),
    ),
    ("no KL", "KL is missing", bound_by(total=lambda p, kl: p)),
    ("the KL added", "a price", bound_by(total=lambda p, kl: p + kl)),
    ("the KL alone", "reconstruction is", bound_by(total=lambda p, kl: -kl)),
    ("the loss", "its negative", bound_by(total=lambda p, kl: kl - p)),
    ("twice the KL", "one half", bound_by(total=lambda p, kl: p - 2 * kl)),
    (
        "a mean of the KL",
        "over the latent",
        bound_by(kl=lambda q, p: kl_divergence(q, p).mean(1)),
    ),
    ("codes at mu", "the code is mu", bound_by(code=lambda q, p, e: q.loc)),
    (
        "codes of the prior",
        "not from the prior",
        bound_by(code=lambda q, p, e: p.loc + p.scale * e),
    ),
    (
        "noise of its own",
        "found",
        bound_by(code=lambda q, p, e: q.loc + q.scale * torch.randn_like(e)),
    ),
    ("exp(logvar) as sigma", "found", bound_by(spread=1.0)),
    (
        "the mean of the batch",
        "one value for each",
        bound_by(total=lambda p, kl: (p - kl).mean()),
    ),
    (
        "codes detached",
        "gradient by encoder",
        bound_by(code=lambda q, p, e: (q.loc + q.scale * e).detach()),
    ),
    ("the prior detached", "prior", bound_by(hold=lambda q, p: (q, fixed(p)))),
    ("q detached", "encoder", bound_by(hold=lambda q, p: (fixed(q), p))),
    (
        "the KL detached",
        "gradient",
        bound_by(kl=lambda q, p: kl_divergence(fixed(q), fixed(p)).sum(1)),
    ),
    ("without gradients", "no gradient", torch.no_grad()(bound_by())),
    (
        "the encoder is blind",
        "found",
        lambda model, x, picture, noise: bound_by()(
            model, picture.nan_to_num(0.0), picture, noise
        ),
    ),
):
    wrong("hidden_bound", _text, says=_says)(_made)


def of_logits(text, nats):
    """The bound with other formulas for log p, from logits and pixels."""

    def hidden_bound(model, x, picture, noise):
        mu, logvar = model.encode(x, picture)
        at, width = moments(model, picture)
        logits = model.decode(mu + (logvar / 2).exp() * noise, picture)
        hidden = picture.isnan().flatten(1)
        each = nats(logits.flatten(1), x.flatten(1)).where(hidden, 0.0)
        q, prior = (
            Normal(a, (b / 2).exp()) for a, b in ((mu, logvar), (at, width))
        )
        return each.sum(1) - kl_divergence(q, prior).sum(1)

    wrong("hidden_bound", text, says="the bound")(hidden_bound)


of_logits(
    "an exponential that overflows", lambda v, x: x * v - v.exp().log1p()
)
of_logits(
    "probabilities, whose logarithm torch cuts off at -100",
    lambda v, x: (
        -functional.binary_cross_entropy(v.sigmoid(), x, reduction="none")
    ),
)


# --- m2_bound ----------------------------------------------------------------


def labelled_by(
    log_y=True,
    spread=0.5,
    at_mu=False,
    n=None,
    kl=lambda each: each.sum(1),
    pixels=lambda each: each.sum(1),
    total=lambda pixels, kl: pixels - kl,
):
    def bound_with_label(model, x, y, noise):
        mu, logvar = model.encode(x, y)
        z = mu if at_mu else mu + (spread * logvar).exp() * noise
        logits = model.decode(z, y).flatten(1)
        each = Bernoulli(logits=logits).log_prob(x.flatten(1))
        own = 0.5 * (mu.square() + logvar.exp() - 1 - logvar)
        log_p = -math.log(n or model.n_classes) if log_y else 0.0
        return total(pixels(each), kl(own)) + log_p

    return bound_with_label


with_label = labelled_by()


def by_label(made, found=with_label):
    def bound_without_label(model, log_odds, x, noise):
        n = log_odds.shape[1]
        bounds = [
            found(model, x, torch.full((len(x),), k), noise) for k in range(n)
        ]
        return made(torch.stack(bounds, 1), log_odds)

    return bound_without_label


def entropy(log_odds):
    log_q = log_odds.log_softmax(1)
    return -(log_q.exp() * log_q).sum(1)


def mean_of(each, log_odds):
    return (log_odds.softmax(1) * each).sum(1)


without_label = by_label(lambda each, v: mean_of(each, v) + entropy(v))


def m2_bound(first=with_label, second=without_label):
    return {"bound_with_label": first, "bound_without_label": second}


accept("m2_bound", "label by label, log_softmax", **m2_bound())


@right("m2_bound", "all labels in one batch, one logarithm for both terms")
def several():
    def with_one(model, x, y, noise):
        mu, logvar = model.encode(x, y)
        q = Normal(mu, logvar.exp().sqrt())
        nats = model.log_likelihood(x, q.loc + q.scale * noise, y)
        price = kl_divergence(q, Normal(0.0, 1.0)).sum(-1)
        return nats - price - torch.tensor(float(model.n_classes)).log()

    def without(model, log_odds, x, noise):
        b, c = log_odds.shape
        y = torch.arange(c).repeat_interleave(b)
        rows = with_one(
            model, x.repeat(c, 1, 1, 1), y, noise.repeat(c, 1)
        ).view(c, b)
        log_q = log_odds.log_softmax(1).T
        return (log_q.exp() * (rows - log_q)).sum(0)

    return m2_bound(with_one, without)


@right("m2_bound", "Categorical of torch.distributions")
def several():
    return m2_bound(
        second=by_label(
            lambda each, v: (
                mean_of(each, v)
                + torch.distributions.Categorical(logits=v).entropy()
            )
        )
    )


for _text, _says, _first in (
    ("without log p(y)", "log p(y) is missing", labelled_by(log_y=False)),
    ("ten labels always", "always ten", labelled_by(n=10)),
    ("no KL", "KL is missing", labelled_by(total=lambda p, kl: p)),
    ("the KL added", "a price", labelled_by(total=lambda p, kl: p + kl)),
    (
        "a mean over pixels",
        "sum the pixels",
        labelled_by(pixels=lambda e: e.mean(1)),
    ),
    (
        "a mean of the KL",
        "over the latent",
        labelled_by(kl=lambda e: e.mean(1)),
    ),
    ("twice the KL", "found", labelled_by(kl=lambda e: 2 * e.sum(1))),
    ("codes at mu", "the code is mu", labelled_by(at_mu=True)),
    ("exp(logvar) as sigma", "exp(logvar / 2)", labelled_by(spread=1.0)),
    ("the loss with a label", "found", lambda *given: -with_label(*given)),
    ("the mean over the pictures", "found", lambda *g: with_label(*g).mean()),
    ("label 0 always", "found", lambda m, x, y, e: with_label(m, x, 0 * y, e)),
    (
        "the label for the decoder only",
        "found",
        lambda m, x, y, e: m.log_likelihood(x, m.encode(x, 0 * y)[0], y),
    ),
    ("without gradients", "no gradient", torch.no_grad()(with_label)),
    (
        "the noise is drawn",
        "found",
        lambda m, x, y, e: with_label(m, x, y, torch.randn_like(e)),
    ),
):
    refuse("m2_bound", _text, _says, **m2_bound(_first))
for _text, _says, _made in (
    ("no entropy", "entropy of q(y|x) is", mean_of),
    (
        "the entropy subtracted",
        "not subtracted",
        lambda each, v: mean_of(each, v) - entropy(v),
    ),
    (
        "log p(y) twice",
        "already",
        lambda each, v: mean_of(each, v) + entropy(v) - math.log(v.shape[1]),
    ),
    (
        "all labels alike",
        "weigh the labels",
        lambda each, v: each.mean(1) + entropy(v),
    ),
    ("a plain sum", "weighted by", lambda each, v: each.sum(1) + entropy(v)),
    (
        "log odds as weights",
        "softmax of the log odds",
        lambda each, v: (v * each).sum(1) + entropy(v),
    ),
    (
        "the likeliest label",
        "likeliest label",
        lambda each, v: each.gather(1, v.argmax(1, keepdim=True))[:, 0],
    ),
    ("logsumexp", "without q(y|x)", lambda each, v: each.logsumexp(1)),
    (
        "logsumexp with log q",
        "found",
        lambda each, v: (each + v.log_softmax(1)).logsumexp(1),
    ),
    (
        "0 log 0",
        "NaN",
        lambda each, v: (
            mean_of(each, v) - (v.softmax(1) * v.softmax(1).log()).sum(1)
        ),
    ),
    (
        "a small number in the logarithm",
        "found",
        lambda each, v: (
            mean_of(each, v)
            - (v.softmax(1) * (v.softmax(1) + 1e-2).log()).sum(1)
        ),
    ),
    (
        "entropy in bits",
        "found",
        lambda each, v: mean_of(each, v) + entropy(v) / math.log(2),
    ),
    (
        "softmax over the pictures",
        "found",
        lambda each, v: (v.softmax(0) * each).sum(1) + entropy(v),
    ),
    (
        "the classifier detached",
        "reaches the log odds",
        lambda each, v: mean_of(each, v.detach()) + entropy(v.detach()),
    ),
    (
        "the entropy detached",
        "by the log odds",
        lambda each, v: mean_of(each, v) + entropy(v).detach(),
    ),
    (
        "the bounds detached",
        "gradient",
        lambda each, v: mean_of(each.detach(), v) + entropy(v),
    ),
    (
        "the loss",
        "its negative",
        lambda each, v: -mean_of(each, v) - entropy(v),
    ),
    (
        "the mean of the batch",
        "found",
        lambda each, v: (mean_of(each, v) + entropy(v)).mean(),
    ),
    (
        "a drawn label",
        "found",
        lambda each, v: (
            each.gather(1, v.softmax(1).multinomial(1))[:, 0] + entropy(v)
        ),
    ),
):
    refuse("m2_bound", _text, _says, **m2_bound(second=by_label(_made)))
for _least in (-3, -10):
    _clamped = labelled_by(
        pixels=lambda each, least=_least: each.clamp_min(least).sum(1)
    )
    refuse(
        "m2_bound", f"no pixel below {_least}", "found", **m2_bound(_clamped)
    )
refuse(
    "m2_bound",
    "the bound of label 0 for all",
    "found",
    **m2_bound(
        second=by_label(
            lambda each, v: mean_of(each, v) + entropy(v),
            lambda m, x, y, e: with_label(m, x, 0 * y, e),
        )
    ),
)


# --- what_to_show ------------------------------------------------------------

SHOWN = {
    "a": "one way",
    "b": "the mean of many ways",
    "c": "the digit read most often",
    "d": "the mean of many ways",
    "e": "one way",
}


def disagreement(ways, picture):
    hidden = picture.isnan().flatten(1)
    variance = ways.var(1, correction=0).flatten(1)
    return (variance * hidden).sum(1) / hidden.sum(1).clamp_min(1)


def what_to_show(first=disagreement, second=SHOWN):
    return {"disagreement": first, "what_to_show": lambda: second}


accept("what_to_show", "a mask times the variance", **what_to_show())


@right("what_to_show", "NumPy, picture by picture")
def several():
    def differ(ways, picture):
        found = []
        for many, one in zip(ways.numpy(), picture.numpy()):
            gap = np.isnan(one)
            found.append(many.var(0)[gap].mean() if gap.any() else 0.0)
        return np.array(found)

    return what_to_show(differ, {k: v.title() for k, v in SHOWN.items()})


@right("what_to_show", "a mean of squares, a list of numbers")
def several():
    def differ(ways, picture):
        centre = ways.mean(1, keepdim=True)
        square = (ways - centre).square().mean(1)
        return [
            float(v[p.isnan()].mean()) if p.isnan().any() else 0
            for v, p in zip(square, picture)
        ]

    return what_to_show(differ)


def with_variance(made):
    def differ(ways, picture):
        variance = ways.var(1, correction=0).flatten(1)
        return made(variance, picture.isnan().flatten(1), ways)

    return differ


for _text, _says, _first in (
    (
        "divided by n - 1",
        "not by n - 1",
        lambda w, p: disagreement(w, p) * w.shape[1] / (w.shape[1] - 1),
    ),
    (
        "all pixels",
        "hidden pixels only",
        with_variance(lambda v, h, w: v.mean(1)),
    ),
    ("a sum", "not a sum", with_variance(lambda v, h, w: (v * h).sum(1))),
    (
        "its root",
        "root of the variance",
        lambda w, p: disagreement(w, p).sqrt(),
    ),
    (
        "the standard deviation",
        "the variance is",
        with_variance(
            lambda v, h, w: (v.sqrt() * h).sum(1) / h.sum(1).clamp_min(1)
        ),
    ),
    (
        "over the pixels of a way",
        "not over the pixels",
        lambda w, p: w.flatten(2).var(2, correction=0).mean(1),
    ),
    (
        "nothing hidden",
        "NaN",
        with_variance(lambda v, h, w: (v * h).sum(1) / h.sum(1)),
    ),
    (
        "at least two hidden pixels",
        "found",
        with_variance(lambda v, h, w: (v * h).sum(1) / h.sum(1).clamp_min(2)),
    ),
    (
        "one mask for all",
        "found",
        with_variance(lambda v, h, w: (v * h[:1]).sum(1) / h[:1].sum(1)),
    ),
    (
        "as many as in the first",
        "found",
        with_variance(lambda v, h, w: (v * h).sum(1) / h[0].sum()),
    ),
    ("the mean of the batch", "found", lambda w, p: disagreement(w, p).mean()),
    ("two ways alone", "found", lambda w, p: disagreement(w[:, :2], p)),
    (
        "the range",
        "found",
        lambda w, p: (
            ((w.amax(1) - w.amin(1)) * p.isnan()).flatten(1).sum(1)
            / p.isnan().flatten(1).sum(1).clamp_min(1)
        ),
    ),
    (
        "p times 1 - p",
        "found",
        lambda w, p: disagreement(
            torch.stack([w.mean(1), 1 - w.mean(1)], 1), p
        ),
    ),
    (
        "all hidden pixels in one pot",
        "found",
        lambda w, p: w.var(1, correction=0)[p.isnan()].mean().expand(len(w)),
    ),
):
    refuse("what_to_show", _text, _says, **what_to_show(_first))
for _text, _says, _second in (
    ("one answer is wrong", "not every answer", SHOWN | {"a": SHOWN["b"]}),
    ("always one way", "not every answer", dict.fromkeys("abcde", "one way")),
    ("the label for a mean", "not every", SHOWN | {"b": SHOWN["c"]}),
    ("a mean for the label", "not every", SHOWN | {"c": SHOWN["b"]}),
    ("a way for the cross-entropy", "not every", SHOWN | {"d": "one way"}),
    ("means to learn from", "not every", SHOWN | {"e": SHOWN["b"]}),
    ("one is open", "not answered", {k: SHOWN[k] for k in "abce"}),
    ("other words", "expected one of", SHOWN | {"a": "a draw"}),
    ("a list", "expected a dict", list(SHOWN.values())),
):
    refuse("what_to_show", _text, _says, **what_to_show(second=_second))
for _text, _says, _first in (
    (
        "paper taken for hidden",
        "found",
        lambda w, p: disagreement(w, p.masked_fill(p == 0, torch.nan)),
    ),
    (
        "pixels where ways differ",
        "found",
        with_variance(lambda v, h, w: v.sum(1) / (v > 0).sum(1).clamp_min(1)),
    ),
):
    refuse("what_to_show", _text, _says, **what_to_show(_first))
for _text, _says, _draw in (
    (
        "each way twice",
        "used again",
        lambda n, b, k: torch.randn((n + 1) // 2, b, k).repeat(2, 1, 1)[:n],
    ),
    (
        "the mean code first",
        "n = 1",
        lambda n, b, k: torch.cat(
            [torch.zeros(1, b, k), torch.randn(n, b, k)]
        )[:n],
    ),
    (
        "noise of mean 0 over the ways",
        "complete, n = 1",
        lambda *s: (lambda e: e - e.mean(0))(torch.randn(s)),
    ),
    ("noise of 0.95", "complete", lambda *s: 0.95 * torch.randn(s)),
):
    wrong("fill_in", _text, says=_says)(filling(_draw))


# --- what the package has already --------------------------------------------


def told(picture):
    model = PixelCVAE(1, (), shape=(1, *picture.shape[1:]))
    return model.condition_vector(picture[:, None], len(picture))


def package_bound(model, x, y, noise):
    found = model(x, y, noise)
    return -found["reconstruction"] - found["kl"]


refuse(
    "any_mask",
    "what a model is told",
    "calls minivae",
    **any_mask(second=told),
)
refuse(
    "m2_bound",
    "the package's loss",
    "calls minivae",
    **m2_bound(package_bound),
)
wrong("hidden_bound", "the package's loss", says="calls minivae")(
    package_bound
)


@wrong("fill_in", "the package's completions", says="calls minivae")
def _(model, picture, n):
    seed = int(torch.randint(2**31, ()))
    return package_complete(model, picture, n, seed)
