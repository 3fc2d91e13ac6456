"""Answers to the exercises of chapter 9."""

import math

import numpy as np
import torch
from torch.distributions import (
    Categorical,
    MixtureSameFamily,
    Normal,
    kl_divergence,
)
from torch.nn.functional import one_hot

from answers import right, wrong
from minivae import pictures

# --- join_label --------------------------------------------------------------


def _told(y, n_classes):
    return torch.eye(n_classes)[y]


def _join(v, p):
    return torch.cat([v, p.expand(*v.shape[:-1], -1)], -1)


def _label(told=_told, join=_join):
    return {"told": told, "join": join}


@right("join_label", "rows of the identity matrix")
def several():
    return _label()


@right("join_label", "one_hot, and a tensor to fill")
def several():
    def join(v, p):
        wide = torch.zeros(*v.shape[:-1], v.shape[-1] + p.shape[-1])
        wide[..., : v.shape[-1]] = v
        wide[..., v.shape[-1] :] = p
        return wide

    return _label(one_hot, join)


@right("join_label", "a comparison, and repeat")
def several():
    def told(y, n_classes):
        return (y[:, None] == torch.arange(n_classes)).double()

    def join(v, p):
        if v.dim() == 3:
            p = p.repeat(len(v), 1, 1)
        return torch.concat((v, p), dim=v.dim() - 1)

    return _label(told, join)


@wrong("join_label", "gives the label as a number", says="shape")
def several():
    return _label(told=lambda y, n: y.float())


@wrong("join_label", "a column with the label", says="4 is not between")
def several():
    return _label(told=lambda y, n: y[:, None].float())


@wrong("join_label", "swaps rows and columns", says="rows and columns")
def several():
    return _label(told=lambda y, n: _told(y, n).T)


@wrong("join_label", "counts classes in the batch", says="expected (7, 10)")
def several():
    return _label(told=lambda y, n: one_hot(y, int(y.max()) + 1))


@wrong("join_label", "decides for one class", says="keep the doubt")
def several():
    def join(v, p):
        return _join(v, one_hot(p.argmax(-1), p.shape[-1]).float())

    return _label(join=join)


@wrong("join_label", "joins the index as a float", says="lies between")
def several():
    def join(v, p):
        y = p.argmax(-1).float().expand(v.shape[:-1])
        return torch.cat([v, y[..., None]], -1)

    return _label(join=join)


@wrong("join_label", "puts the label first", says="v comes first")
def several():
    def join(v, p):
        return torch.cat([p.expand(*v.shape[:-1], -1), v], -1)

    return _label(join=join)


@wrong("join_label", "joins along the wrong axis", says="raises")
def several():
    return _label(join=lambda v, p: torch.cat([v, p], 0))


@wrong("join_label", "forgets the K codes", says="raises")
def several():
    return _label(join=lambda v, p: torch.cat([v, p], -1))


@wrong("join_label", "ignores the label", says="the label is missing")
def several():
    return _label(join=lambda v, p: v)


@wrong("join_label", "detaches the input", says="no gradient")
def several():
    return _label(join=lambda v, p: _join(v.detach(), p))


# --- ask_and_swap ------------------------------------------------------------


def _draw(cvae, z, y):
    return cvae.decode_mean(z, y).flatten(1)


def _ask(cvae, digit, n):
    z = torch.randn(n, cvae.n_latent)
    return _draw(cvae, z, torch.full((n,), digit))


def _swap(cvae, x, y, asked):
    return _draw(cvae, cvae.encode(x, y)[0], asked)


def _both(ask=_ask, swap=_swap):
    return {"ask": ask, "swap": swap}


@right("ask_and_swap", "decode_mean and encode")
def several():
    return _both()


@right("ask_and_swap", "says that nothing is trained here")
def several():
    made = _both()
    return {
        name: lambda cvae, *args, f=f: f(cvae.eval(), *args)
        for name, f in made.items()
    }


@right("ask_and_swap", "without a graph, by the logits and encode_mean")
def several():
    @torch.no_grad()
    def ask(cvae, digit, n):
        z = Normal(0.0, 1.0).sample((n, cvae.n_latent))
        y = digit * torch.ones(n, dtype=torch.long)
        return 1 / (1 + (-cvae.decode(z, y).view(n, -1).double()).exp())

    def swap(cvae, x, y, asked):
        logits = cvae.decode(cvae.encode_mean(x, y), asked)
        return logits.sigmoid().detach().numpy().reshape(x.shape)

    return _both(ask, swap)


@wrong("ask_and_swap", "returns logits", says="logits")
def several():
    def ask(cvae, digit, n):
        z = torch.randn(n, cvae.n_latent)
        return cvae.decode(z, torch.full((n,), digit)).flatten(1)

    return _both(ask)


def _in_strata(n, k):
    """One number from each of n parts of the same probability."""
    order = torch.rand(k, n).argsort(1).T
    return torch.special.ndtri(((order + torch.rand(n, k)) / n).double())


@wrong("ask_and_swap", "shares out the quantiles", says="n = 2")
def several():
    def ask(cvae, digit, n):
        z = _in_strata(n, cvae.n_latent).float()
        return _draw(cvae, z, torch.full((n,), digit))

    return _both(ask)


@wrong("ask_and_swap", "no noise for a single digit", says="all pictures")
def several():
    def ask(cvae, digit, n):
        z = torch.randn(n, cvae.n_latent) * (n > 1)
        return _draw(cvae, z, torch.full((n,), digit))

    return _both(ask)


@wrong("ask_and_swap", "draws all from one code", says="one code for each")
def several():
    def ask(cvae, digit, n):
        z = torch.randn(1, cvae.n_latent).expand(n, -1)
        return _draw(cvae, z, torch.full((n,), digit))

    return _both(ask)


@wrong("ask_and_swap", "draws codes from a uniform", says="is not normal")
def several():
    def ask(cvae, digit, n):
        z = math.sqrt(12) * (torch.rand(n, cvae.n_latent) - 0.5)
        return _draw(cvae, z, torch.full((n,), digit))

    return _both(ask)


@wrong("ask_and_swap", "takes one number for all dimensions", says="of a row")
def several():
    def ask(cvae, digit, n):
        z = torch.randn(n, 1).expand(n, cvae.n_latent)
        return _draw(cvae, z, torch.full((n,), digit))

    return _both(ask)


@wrong("ask_and_swap", "ignores the digit", says="pictures of class")
def several():
    return _both(lambda cvae, digit, n: _ask(cvae, 1, n))


@wrong("ask_and_swap", "draws ink, 0 or 1", says="probability of ink")
def several():
    return _both(lambda *args: torch.bernoulli(_ask(*args)))


@wrong("ask_and_swap", "takes the sigmoid twice", says="one sigmoid")
def several():
    return _both(lambda *args: _ask(*args).sigmoid())


@wrong("ask_and_swap", "encodes with the new label", says="own label")
def several():
    def swap(cvae, x, y, asked):
        return _draw(cvae, cvae.encode(x, asked)[0], asked)

    return _both(swap=swap)


@wrong("ask_and_swap", "decodes with the old label", says="the old digit")
def several():
    def swap(cvae, x, y, asked):
        return _draw(cvae, cvae.encode(x, y)[0], y)

    return _both(swap=swap)


@wrong("ask_and_swap", "exchanges the labels", says="changed places")
def several():
    return _both(swap=lambda cvae, x, y, asked: _swap(cvae, x, asked, y))


@wrong("ask_and_swap", "draws a code with noise", says="two calls")
def several():
    def swap(cvae, x, y, asked):
        mu, logvar = cvae.encode(x, y)
        z = mu + (logvar / 2).exp() * torch.randn_like(mu)
        return _draw(cvae, z, asked)

    return _both(swap=swap)


@wrong(
    "ask_and_swap", "returns logits of the swapped", says="these are logits"
)
def several():
    def swap(cvae, x, y, asked):
        return cvae.decode(cvae.encode(x, y)[0], asked).flatten(1)

    return _both(swap=swap)


# --- label_by_elbo -----------------------------------------------------------


def _bounds(cvae, x, noise, encoder=None, decoder=None, kl_weight=1.0):
    columns = []
    for label in range(cvae.n_classes):
        tried = [label if one is None else one for one in (encoder, decoder)]
        first, last = (torch.full((len(x),), one) for one in tried)
        mu, logvar = cvae.encode(x, first)
        q = Normal(mu, (logvar / 2).exp())
        kl = kl_divergence(q, Normal(0.0, 1.0)).sum(-1)
        log_p = cvae.log_likelihood(x, q.mean + q.stddev * noise, last)
        columns.append((log_p - kl_weight * kl).mean(0))
    return torch.stack(columns, -1)


def _classify(cvae, x, noise):
    return _bounds(cvae, x, noise).argmax(1)


def _elbo(bounds=_bounds, classify=_classify):
    return {"bounds": bounds, "classify": classify}


@right("label_by_elbo", "a loop over the labels")
def several():
    return _elbo()


@right("label_by_elbo", "the model's own terms, code by code")
def several():
    @torch.no_grad()
    def bounds(cvae, x, noise):
        total = torch.zeros(len(x), cvae.n_classes)
        for e in noise:
            for label in range(cvae.n_classes):
                terms = cvae(x, torch.full((len(x),), label), e)
                total[:, label] -= terms["reconstruction"] + terms["kl"]
        return total / len(noise)

    def classify(cvae, x, noise):
        return np.argmax(bounds(cvae, x, noise).numpy(), axis=1)

    return _elbo(bounds, classify)


@right("label_by_elbo", "all pairs of digit and label at once")
def several():
    def bounds(cvae, x, noise):
        n, c = len(x), cvae.n_classes
        y = torch.arange(c).repeat(n)
        rows = x.repeat_interleave(c, 0)
        mu, logvar = cvae.encode(rows, y)
        z = mu + (logvar / 2).exp() * noise.repeat_interleave(c, 1)
        kl = 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum(1)
        log_p = cvae.log_likelihood(rows, z, y).mean(0)
        return (log_p - kl).view(n, c)

    return _elbo(bounds)


@wrong(
    "label_by_elbo",
    "keeps the first bug: the mean over pixels",
    says="over the pixels; you took their mean",
)
def several():
    def bounds(cvae, x, noise):
        kl = _bounds(cvae, x, noise, kl_weight=0) - _bounds(cvae, x, noise)
        return _bounds(cvae, x, noise, kl_weight=0) / x.shape[1] - kl

    return _elbo(bounds)


@wrong(
    "label_by_elbo",
    "keeps the second bug: the encoder told 0",
    says="tell the encoder",
)
def several():
    return _elbo(lambda *args: _bounds(*args, encoder=0))


@wrong("label_by_elbo", "tells the decoder 0", says="tell the decoder")
def several():
    return _elbo(lambda *args: _bounds(*args, decoder=0))


@wrong("label_by_elbo", "forgets the KL", says="the KL is missing")
def several():
    return _elbo(lambda *args: _bounds(*args, kl_weight=0))


@wrong("label_by_elbo", "adds the KL", says="subtract it")
def several():
    return _elbo(lambda *args: _bounds(*args, kl_weight=-1))


@wrong("label_by_elbo", "gives the loss", says="negative ELBO")
def several():
    return _elbo(lambda *args: -_bounds(*args))


@wrong("label_by_elbo", "a row for each label", says="(B, C), not (C, B)")
def several():
    return _elbo(lambda *args: _bounds(*args).T)


@wrong("label_by_elbo", "uses one code only", says="the first alone")
def several():
    return _elbo(lambda cvae, x, noise: _bounds(cvae, x, noise[:1]))


@wrong("label_by_elbo", "sums over the codes", says="do not sum")
def several():
    return _elbo(lambda cvae, x, noise: len(noise) * _bounds(cvae, x, noise))


@wrong("label_by_elbo", "ignores the noise", says="expected")
def several():
    return _elbo(lambda cvae, x, noise: _bounds(cvae, x, 0 * noise))


@wrong("label_by_elbo", "takes the lowest bound", says="not the lowest")
def several():
    return _elbo(classify=lambda *args: _bounds(*args).argmin(1))


@wrong("label_by_elbo", "returns the best bound", says="not its ELBO")
def several():
    return _elbo(classify=lambda *args: _bounds(*args).max(1).values)


# --- who_is_told -------------------------------------------------------------


def _effects(pictures):
    of_label = pictures.mean(1).var(0, correction=0).sum()
    return of_label, pictures.var(1, correction=0).mean(0).sum()


def _reading():
    return {"A": "encoder only", "B": "collapsed", "C": "healthy"}


def _told_apart(effects=_effects, **reading):
    answer = _reading() | reading
    return {"effects": effects, "reading": lambda: answer}


@right("who_is_told", "two variances")
def several():
    return _told_apart()


@right("who_is_told", "the label as the rest of the whole, in NumPy")
def several():
    def effects(pictures):
        rows = pictures.flatten(2).double().numpy()
        style = rows.var(1).mean(0).sum()
        whole = rows.reshape(-1, rows.shape[-1]).var(0).sum()
        return [whole - style, style]

    return _told_apart(effects, A=" Encoder only")


@right("who_is_told", "squared distances from the mean pictures")
def several():
    def effects(pictures):
        mean = pictures.mean(1, keepdim=True)
        label = (mean - mean.mean(0)).square().mean(0).sum()
        style = (pictures - mean).square().mean((0, 1)).sum()
        return torch.stack([label, style])

    return _told_apart(effects)


@wrong("who_is_told", "exchanges the effects", says="comes first")
def several():
    return _told_apart(lambda pictures: _effects(pictures)[::-1])


@wrong(
    "who_is_told",
    "does not average over codes",
    says="average over the codes first",
)
def several():
    def effects(pictures):
        label = pictures.var(0, correction=0).mean(0).sum()
        return label, _effects(pictures)[1]

    return _told_apart(effects)


@wrong("who_is_told", "divides by one less", says="not by one less")
def several():
    def effects(pictures):
        return pictures.mean(1).var(0).sum(), pictures.var(1).mean(0).sum()

    return _told_apart(effects)


@wrong("who_is_told", "averages over the pixels", says="sum over the pixels")
def several():
    def effects(pictures):
        label = pictures.mean(1).var(0, correction=0).mean()
        return label, pictures.var(1, correction=0).mean()

    return _told_apart(effects)


@wrong("who_is_told", "gives the whole variance", says="of all pictures")
def several():
    def effects(pictures):
        whole = pictures.flatten(0, 1).var(0, correction=0).sum()
        return whole, _effects(pictures)[1]

    return _told_apart(effects)


@wrong(
    "who_is_told",
    "the style from mean pictures",
    says="variance for each label",
)
def several():
    def effects(pictures):
        style = pictures.mean(0).var(0, correction=0).sum()
        return _effects(pictures)[0], style

    return _told_apart(effects)


@wrong("who_is_told", "takes A for healthy", says="not every answer")
def several():
    return _told_apart(A="healthy", C="encoder only")


@wrong("who_is_told", "takes B for the encoder only", says="not every answer")
def several():
    return _told_apart(A="collapsed", B="encoder only")


@wrong("who_is_told", "takes B for healthy", says="not every answer")
def several():
    return _told_apart(B="healthy")


@wrong("who_is_told", "answers with a list", says="expected a dict")
def several():
    answer = ["encoder only", "collapsed", "healthy"]
    return {"effects": _effects, "reading": lambda: answer}


@wrong("who_is_told", "does not answer", says="no answer yet")
def several():
    return {"effects": _effects, "reading": lambda: None}


# --- price_of_variety --------------------------------------------------------


def _trade(cvae, read, digit, scale, z):
    y = torch.full((len(z),), digit)
    drawn = cvae.decode_mean(scale * z, y)[:, 0]
    return (read(drawn) == digit).double().mean(), drawn.var(0).sum()


def _best_scale(scales, shares, varieties, least):
    enough = shares >= least
    if not enough.any():
        return None
    return scales[enough][varieties[enough].argmax()]


def _variety(trade=_trade, best_scale=_best_scale):
    return {"trade": trade, "best_scale": best_scale}


@right("price_of_variety", "masks")
def several():
    return _variety()


@right("price_of_variety", "plain numbers and sorting")
def several():
    def trade(cvae, read, digit, scale, z):
        y = torch.tensor([digit] * len(z))
        with torch.no_grad():
            rows = cvae.decode_mean(z * scale, y).flatten(1)
        labels = read(rows.unflatten(-1, (28, 28)))
        count = sum(int(label) == digit for label in labels)
        gaps = rows - rows.mean(0)
        return count / len(z), float(gaps.square().sum() / (len(z) - 1))

    def best_scale(scales, shares, varieties, least):
        good = [
            (float(v), float(s))
            for s, share, v in zip(scales, shares, varieties)
            if share >= least
        ]
        return max(good)[1] if good else None

    return _variety(trade, best_scale)


@wrong("price_of_variety", "counts pictures", says="not a number of pictures")
def several():
    def trade(*args):
        share, variety = _trade(*args)
        return share * len(args[-1]), variety

    return _variety(trade)


@wrong("price_of_variety", "exchanges the numbers", says="are exchanged")
def several():
    return _variety(lambda *args: _trade(*args)[::-1])


@wrong("price_of_variety", "ignores the scale", says="scale")
def several():
    def trade(cvae, read, digit, scale, z):
        return _trade(cvae, read, digit, 1.0, z)

    return _variety(trade)


@wrong("price_of_variety", "the root of the scale", says="the variety at")
def several():
    def trade(cvae, read, digit, scale, z):
        return _trade(cvae, read, digit, scale**0.5, z)

    return _variety(trade)


@wrong("price_of_variety", "always asks for 0", says="class 0")
def several():
    def trade(cvae, read, digit, scale, z):
        drawn = pictures(cvae, scale * z, torch.full((len(z),), 0))
        return (read(drawn) == digit).double().mean(), drawn.var(0).sum()

    return _variety(trade)


@wrong("price_of_variety", "scales the pixels", says="scale")
def several():
    def trade(cvae, read, digit, scale, z):
        pixels = scale * pictures(cvae, z, torch.full((len(z),), digit))
        share, _ = _trade(cvae, read, digit, scale, z)
        return share, pixels.var(0).sum()

    return _variety(trade)


@wrong("price_of_variety", "averages over pixels", says="do not average")
def several():
    def trade(cvae, read, digit, scale, z):
        pixels = pictures(cvae, scale * z, torch.full((len(z),), digit))
        return _trade(cvae, read, digit, scale, z)[0], pixels.var(0).mean()

    return _variety(trade)


@wrong(
    "price_of_variety", "the deviation of pixels", says="standard deviation"
)
def several():
    def trade(cvae, read, digit, scale, z):
        pixels = pictures(cvae, scale * z, torch.full((len(z),), digit))
        return _trade(cvae, read, digit, scale, z)[0], pixels.std(0).sum()

    return _variety(trade)


@wrong(
    "price_of_variety", "shows logits to the judge", says="are these logits"
)
def several():
    def trade(cvae, read, digit, scale, z):
        pixels = cvae.decode(scale * z, torch.full((len(z),), digit))[:, 0]
        return (read(pixels) == digit).double().mean(), pixels.var(0).sum()

    return _variety(trade)


@wrong("price_of_variety", "leaves the channel in", says="take the channel")
def several():
    def trade(cvae, read, digit, scale, z):
        pixels = cvae.decode_mean(scale * z, torch.full((len(z),), digit))
        return (read(pixels) == digit).double().mean(), pixels.var(0).sum()

    return _variety(trade)


@wrong("price_of_variety", "forgets to make pictures", says="use unflatten")
def several():
    def trade(cvae, read, digit, scale, z):
        y = torch.full((len(z),), digit)
        pixels = cvae.decode_mean(scale * z, y).flatten(1)
        return (read(pixels) == digit).double().mean(), pixels.var(0).sum()

    return _variety(trade)


@wrong("price_of_variety", "takes the highest share", says="the most variety")
def several():
    def best_scale(scales, shares, varieties, least):
        return scales[shares.argmax()]

    return _variety(best_scale=best_scale)


@wrong("price_of_variety", "takes the most variety", says="too small a share")
def several():
    def best_scale(scales, shares, varieties, least):
        return scales[varieties.argmax()]

    return _variety(best_scale=best_scale)


@wrong("price_of_variety", "takes the last one", says="in no order: compare")
def several():
    def best_scale(scales, shares, varieties, least):
        return scales[shares >= least][-1]

    return _variety(best_scale=best_scale)


@wrong("price_of_variety", "wants more than enough", says="exactly the least")
def several():
    def best_scale(scales, shares, varieties, least):
        above = torch.where(shares > least, varieties, -1.0)
        return scales[above.argmax()]

    return _variety(best_scale=best_scale)


@wrong("price_of_variety", "takes the first one", says="need not be the best")
def several():
    def best_scale(scales, shares, varieties, least):
        return scales[shares >= least][0]

    return _variety(best_scale=best_scale)


@wrong("price_of_variety", "wants some variety", says="a variety of 0")
def several():
    def best_scale(scales, shares, varieties, least):
        found, most = None, 0
        for scale, share, variety in zip(scales, shares, varieties):
            if share >= least and variety > most:
                found, most = scale, variety
        return found

    return _variety(best_scale=best_scale)


@wrong("price_of_variety", "puts 0 for what is not allowed", says="must lose")
def several():
    def best_scale(scales, shares, varieties, least):
        enough = shares >= least
        return scales[(varieties * enough).argmax()] if enough.any() else None

    return _variety(best_scale=best_scale)


@wrong("price_of_variety", "finds a scale where none is", says="return None")
def several():
    def best_scale(scales, shares, varieties, least):
        found = _best_scale(scales, shares, varieties, least)
        return 0.0 if found is None else found

    return _variety(best_scale=best_scale)


# --- worth_of_a_label --------------------------------------------------------


def _worth(x, y, means):
    each = Normal(means, 1.0).log_prob(x[:, None])
    log_p = each.logsumexp(1) - math.log(len(means))
    return (each.gather(1, y[:, None])[:, 0] - log_p).mean()


def _prediction(worth=_worth, guess=(0.0, 0.9, 2.3)):
    return {"predicted_worth": lambda: guess, "worth": worth}


@right("worth_of_a_label", "a table of log densities")
def several():
    return _prediction()


@right("worth_of_a_label", "torch's mixture, a wrong prediction")
def several():
    def worth(x, y, means):
        same = Categorical(torch.ones_like(means))
        untold = MixtureSameFamily(same, Normal(means, 1.0)).log_prob(x)
        return float((Normal(means[y], 1.0).log_prob(x) - untold).mean())

    return _prediction(worth, guess=[1, 1, 1])


@right("worth_of_a_label", "by the posterior of the label, in NumPy")
def several():
    def worth(x, y, means):
        x, y, means = x.double().numpy(), y.numpy(), means.double().numpy()
        density = np.exp(-((x[:, None] - means) ** 2) / 2)
        posterior = density / density.sum(1, keepdims=True)
        own = posterior[np.arange(len(x)), y]
        return np.log(len(means) * own).mean()

    return _prediction(worth, guess=torch.tensor([0.0, 1.0, 2.3]))


@wrong("worth_of_a_label", "makes no prediction", says="no prediction yet")
def several():
    return _prediction(guess=None)


@wrong("worth_of_a_label", "predicts one number", says="3 numbers")
def several():
    return _prediction(guess=2.3)


@wrong("worth_of_a_label", "predicts in words", says="found a str")
def several():
    return _prediction(guess=("none", "some", "all"))


@wrong("worth_of_a_label", "sums over labels, no 1 / C", says="log C")
def several():
    return _prediction(
        lambda x, y, means: _worth(x, y, means) - math.log(len(means))
    )


@wrong("worth_of_a_label", "a mean of logarithms", says="mean of logarithms")
def several():
    def worth(x, y, means):
        each = Normal(means, 1.0).log_prob(x[:, None])
        return (each.gather(1, y[:, None])[:, 0] - each.mean(1)).mean()

    return _prediction(worth)


@wrong("worth_of_a_label", "turns the difference round", says="the sign")
def several():
    return _prediction(lambda *args: -_worth(*args))


@wrong("worth_of_a_label", "sums over the data", says="do not sum")
def several():
    return _prediction(lambda x, y, means: len(x) * _worth(x, y, means))


@wrong("worth_of_a_label", "leaves log p(x) out", says="is not subtracted")
def several():
    def worth(x, y, means):
        return Normal(means[y], 1.0).log_prob(x).mean()

    return _prediction(worth)


@wrong("worth_of_a_label", "takes the likeliest label", says="likeliest")
def several():
    def worth(x, y, means):
        each = Normal(means, 1.0).log_prob(x[:, None])
        log_p = each.logsumexp(1) - math.log(len(means))
        return (each.max(1).values - log_p).mean()

    return _prediction(worth)


@wrong("worth_of_a_label", "densities that become 0", says="are NaN")
def several():
    def worth(x, y, means):
        density = Normal(means, 1.0).log_prob(x[:, None]).exp()
        own = density.gather(1, y[:, None])[:, 0]
        return (own / density.mean(1)).log().mean()

    return _prediction(worth)


@wrong("worth_of_a_label", "a small number in the logarithm", says="the worth")
def several():
    def worth(x, y, means):
        density = Normal(means, 1.0).log_prob(x[:, None]).exp()
        log_p = (density.mean(1) + 1e-12).log()
        return (Normal(means[y], 1.0).log_prob(x) - log_p).mean()

    return _prediction(worth)


@wrong("worth_of_a_label", "always says log 10", says="expected")
def several():
    return _prediction(lambda x, y, means: math.log(10))
