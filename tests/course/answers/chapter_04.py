"""Answers to the exercises of chapter 4."""

import math

import numpy as np
import torch
from torch.distributions import Bernoulli, Normal, kl_divergence
from torch.nn import functional

from answers import right, wrong

# --- gaussian_kl -------------------------------------------------------------


@right("gaussian_kl", "the formula")
def _(mu, logvar):
    return 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(-1)


@right("gaussian_kl", "torch.distributions")
def _(mu, logvar):
    q = Normal(mu, (logvar / 2).exp())
    return kl_divergence(q, Normal(0.0, 1.0)).sum(-1)


@right("gaussian_kl", "sums term by term, in float64")
def _(mu, logvar):
    mu, logvar = mu.double(), logvar.double()
    total = (mu**2).sum(1) + torch.exp(logvar).sum(1)
    return (total - mu.shape[1] - logvar.sum(1)) / 2


@wrong(
    "gaussian_kl",
    "averages over the latent dimensions",
    says="average over the latent dimensions",
)
def _(mu, logvar):
    return 0.5 * (mu.square() + logvar.exp() - 1 - logvar).mean(-1)


@wrong("gaussian_kl", "forgets the one half", says="one half is missing")
def _(mu, logvar):
    return (mu.square() + logvar.exp() - 1 - logvar).sum(-1)


@wrong("gaussian_kl", "takes logvar for log sigma", says="for log sigma")
def _(mu, logvar):
    return 0.5 * (mu**2 + (2 * logvar).exp() - 1 - 2 * logvar).sum(-1)


@wrong("gaussian_kl", "squares the variance", says="do not square it")
def _(mu, logvar):
    return 0.5 * (mu**2 + logvar.exp() ** 2 - 1 - logvar).sum(-1)


@wrong(
    "gaussian_kl", "sigma for its square", says="where sigma squared belongs"
)
def _(mu, logvar):
    return 0.5 * (mu**2 + (logvar / 2).exp() - 1 - logvar).sum(-1)


@wrong("gaussian_kl", "log sigma for log variance", says="not of sigma")
def _(mu, logvar):
    return 0.5 * (mu**2 + logvar.exp() - 1 - logvar / 2).sum(-1)


@wrong("gaussian_kl", "the sign of a loss", says="never negative")
def _(mu, logvar):
    return 0.5 * (1 + logvar - mu.square() - logvar.exp()).sum(-1)


@wrong("gaussian_kl", "adds logvar", says="sign of the term logvar")
def _(mu, logvar):
    return 0.5 * (mu.square() + logvar.exp() - 1 + logvar).sum(-1)


@wrong("gaussian_kl", "forgets the -1", says="-1 is missing")
def _(mu, logvar):
    return 0.5 * (mu.square() + logvar.exp() - logvar).sum(-1)


@wrong("gaussian_kl", "subtracts 1 once", says="for each dimension")
def _(mu, logvar):
    return 0.5 * ((mu.square() + logvar.exp() - logvar).sum(-1) - 1)


@wrong("gaussian_kl", "drops mu", says="mu does not enter")
def _(mu, logvar):
    return 0.5 * (logvar.exp() - 1 - logvar).sum(-1)


@wrong("gaussian_kl", "does not square mu", says="mu is not squared")
def _(mu, logvar):
    return 0.5 * (mu + logvar.exp() - 1 - logvar).sum(-1)


@wrong("gaussian_kl", "from the prior to q", says="swapped")
def _(mu, logvar):
    q = Normal(mu, (logvar / 2).exp())
    return kl_divergence(Normal(0.0, 1.0), q).sum(-1)


@wrong("gaussian_kl", "sums over the batch", says="summed over the batch")
def _(mu, logvar):
    return 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum()


@wrong("gaussian_kl", "averages over the batch", says="one value for each")
def _(mu, logvar):
    return 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(-1).mean()


@wrong("gaussian_kl", "does not sum", says="reduce the last dimension")
def _(mu, logvar):
    return 0.5 * (mu.square() + logvar.exp() - 1 - logvar)


@wrong("gaussian_kl", "detaches its inputs", says="no gradient")
def _(mu, logvar):
    mu, logvar = mu.detach(), logvar.detach()
    return 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(-1)


@wrong("gaussian_kl", "detaches mu", says="no gradient reaches mu")
def _(mu, logvar):
    mu = mu.detach()
    return 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(-1)


@wrong("gaussian_kl", "returns zeros", says="all values are 0")
def _(mu, logvar):
    return torch.zeros(len(mu))


@wrong("gaussian_kl", "takes the logarithm of logvar", says="NaN")
def _(mu, logvar):
    return 0.5 * (mu.square() + logvar - 1 - logvar.log()).sum(-1)


@wrong("gaussian_kl", "changes mu in place", says="in place")
def _(mu, logvar):
    with torch.no_grad():
        mu.square_()
    return 0.5 * (mu + logvar.exp() - 1 - logvar).sum(-1)


@right("gaussian_kl", "a loop over the dimensions, in a list")
def _(mu, logvar):
    each = [
        (m * m + v.exp() - v - 1) / 2
        for m, v in zip(mu.unbind(-1), logvar.unbind(-1))
    ]
    return torch.stack(each).sum(0)


@right("gaussian_kl", "expm1, in double")
def _(mu, logvar):
    mu, logvar = mu.to(torch.float64), logvar.to(torch.float64)
    return torch.einsum("bl->b", mu**2 + torch.expm1(logvar) - logvar) / 2


def kl_with(
    logvar_of=lambda v: v, mu_of=lambda m: m, end=lambda kl: kl.sum(-1)
):
    def gaussian_kl(mu, logvar):
        m, v = mu_of(mu), logvar_of(logvar)
        return end(0.5 * (m.square() + v.exp() - 1 - v))

    return gaussian_kl


for _text, _one, _says in (
    ("clamps logvar at 10", kl_with(lambda v: v.clamp(-10, 10)), "beyond"),
    ("clamps logvar from below", kl_with(lambda v: v.clamp(min=-8)), "-12"),
    ("clamps logvar from above", kl_with(lambda v: v.clamp(max=10)), "beyond"),
    (
        "a floor for the variance",
        kl_with(lambda v: (v.exp() + 1e-4).log()),
        "the KL",
    ),
    ("a tanh of logvar", kl_with(lambda v: 5 * (v / 5).tanh()), "the KL"),
    ("clamps mu", kl_with(mu_of=lambda m: m.clamp(-5, 5)), "the KL at"),
    (
        "a floor for each dimension",
        kl_with(end=lambda kl: kl.clamp(min=0.1).sum(-1)),
        "the KL",
    ),
    ("the largest dimension", kl_with(end=lambda kl: kl.amax(-1)), "the KL"),
    ("in bits", kl_with(end=lambda kl: kl.sum(-1) / math.log(2)), "the KL"),
    ("the square root", kl_with(end=lambda kl: kl.sum(-1).sqrt()), "the KL"),
    (
        "half for the first digit",
        kl_with(
            end=lambda kl: (
                kl.sum(-1) * torch.arange(1, len(kl) + 1).div(len(kl))
            )
        ),
        "the KL",
    ),
    (
        "detaches sigma only",
        lambda mu, logvar: (
            0.5 * (mu.square() + logvar.exp().detach() - 1 - logvar).sum(-1)
        ),
        "by logvar",
    ),
    (
        "detaches logvar in its own term",
        lambda mu, logvar: (
            0.5 * (mu.square() + logvar.exp() - 1 - logvar.detach()).sum(-1)
        ),
        "by logvar",
    ),
    (
        "half the slope of mu",
        lambda mu, logvar: kl_with()(mu / 2 + mu.detach() / 2, logvar),
        "the gradient by mu",
    ),
    (
        "cuts the slope of logvar",
        lambda mu, logvar: kl_with()(
            mu, logvar.clamp(-5, 15) + (logvar - logvar.clamp(-5, 15)).detach()
        ),
        "the gradient by logvar",
    ),
):
    wrong("gaussian_kl", _text, says=_says)(_one)


# --- reparameterize ----------------------------------------------------------


@right("reparameterize", "the formula")
def _(mu, logvar):
    return mu + (0.5 * logvar).exp() * torch.randn_like(mu)


@right("reparameterize", "the noise subtracted, sigma as a root")
def _(mu, logvar):
    noise = torch.randn(mu.shape[0], mu.shape[1], dtype=torch.float64)
    return mu - logvar.exp().sqrt() * noise


@right("reparameterize", "rsample")
def _(mu, logvar):
    return Normal(mu, (logvar / 2).exp()).rsample()


@wrong("reparameterize", "one noise for all dimensions", says="on each other")
def _(mu, logvar):
    return mu + (logvar / 2).exp() * torch.randn(len(mu), 1)


@wrong("reparameterize", "one noise for all digits", says="all rows")
def _(mu, logvar):
    return mu + (logvar / 2).exp() * torch.randn(mu.shape[1])


@wrong("reparameterize", "a single number as noise", says="all rows")
def _(mu, logvar):
    return mu + (logvar / 2).exp() * torch.randn(())


@wrong("reparameterize", "the noise twice", says="some rows share")
def _(mu, logvar):
    noise = torch.randn((len(mu) + 1) // 2, mu.shape[1])
    return mu + (logvar / 2).exp() * noise.repeat(2, 1)[: len(mu)]


@wrong("reparameterize", "no noise", says="or none")
def _(mu, logvar):
    return mu


@wrong(
    "reparameterize", "exp(logvar) as sigma", says="sigma is exp(logvar / 2)"
)
def _(mu, logvar):
    return mu + logvar.exp() * torch.randn_like(mu)


@wrong("reparameterize", "logvar as sigma", says="not logvar")
def _(mu, logvar):
    return mu + logvar * torch.randn_like(mu)


@wrong("reparameterize", "exp(-logvar / 2) as sigma", says="not its inverse")
def _(mu, logvar):
    return mu + (-logvar / 2).exp() * torch.randn_like(mu)


@wrong("reparameterize", "noise without sigma", says="not scaled")
def _(mu, logvar):
    return mu + torch.randn_like(mu)


@wrong("reparameterize", "drops mu", says="mu is missing")
def _(mu, logvar):
    return (logvar / 2).exp() * torch.randn_like(mu)


@wrong("reparameterize", "rand for randn", says="rand has")
def _(mu, logvar):
    return mu + (logvar / 2).exp() * torch.rand_like(mu)


@wrong("reparameterize", "uniform noise of variance 1", says="not normal")
def _(mu, logvar):
    noise = (torch.rand_like(mu) - 0.5) * math.sqrt(12)
    return mu + (logvar / 2).exp() * noise


@wrong("reparameterize", "a fixed seed inside", says="the same noise")
def _(mu, logvar):
    torch.manual_seed(0)
    return mu + (logvar / 2).exp() * torch.randn_like(mu)


@wrong("reparameterize", "detaches mu", says="no gradient reaches mu")
def _(mu, logvar):
    return mu.detach() + (logvar / 2).exp() * torch.randn_like(mu)


@wrong("reparameterize", "detaches sigma", says="no gradient reaches logvar")
def _(mu, logvar):
    return mu + (logvar / 2).exp().detach() * torch.randn_like(mu)


@wrong("reparameterize", "sample() in place of rsample()", says="no gradient")
def _(mu, logvar):
    return Normal(mu, (logvar / 2).exp()).sample()


@wrong("reparameterize", "torch.normal", says="no gradient")
def _(mu, logvar):
    return torch.normal(mu.detach(), (logvar / 2).exp().detach())


@right("reparameterize", "digit by digit, in a list")
def _(mu, logvar):
    rows = [
        m + torch.exp(v / 2) * torch.randn(len(m)) for m, v in zip(mu, logvar)
    ]
    return torch.stack(rows)


@right(
    "reparameterize", "noise of NumPy, added in place to a tensor of its own"
)
def _(mu, logvar):
    noise = torch.from_numpy(np.random.standard_normal(tuple(mu.shape)))
    z = noise.float() * logvar.mul(0.5).exp()
    z += mu
    return z


@right("reparameterize", "a multivariate normal of torch")
def _(mu, logvar):
    d = torch.distributions
    return d.Independent(d.Normal(mu, logvar.exp().sqrt()), 1).rsample()


def drawn_with(noise=torch.randn_like, logvar_of=lambda v: v):
    return lambda mu, logvar: mu + (logvar_of(logvar) / 2).exp() * noise(mu)


def _own(mu):
    generator = torch.Generator().manual_seed(4)
    return torch.randn(mu.shape, generator=generator)


def _repeated(mu):
    return torch.randn(len(mu) // 100 + 1, mu.shape[1]).repeat(100, 1)[
        : len(mu)
    ]


def _mirrored(mu):
    half = torch.randn(len(mu) // 2 + 1, mu.shape[1])
    return torch.cat([half, -half])[: len(mu)]


def _paired(mu):
    noise = torch.randn(len(mu) + 1, mu.shape[1])
    return (noise[1:] + noise[:-1]) / math.sqrt(2)


def _laplace(mu):
    return torch.distributions.Laplace(0.0, math.sqrt(0.5)).sample(mu.shape)


for _text, _one, _says in (
    ("a generator with a fixed seed", drawn_with(_own), "the same noise"),
    ("a hundred rows of the same noise", drawn_with(_repeated), "draws"),
    ("noise and its mirror image", drawn_with(_mirrored), "used again"),
    ("neighbours share their noise", drawn_with(_paired), "depend on others"),
    (
        "four fifths of the spread",
        drawn_with(lambda mu: 0.8 * torch.randn_like(mu)),
        "the standard deviation",
    ),
    (
        "96 per cent of the spread",
        drawn_with(lambda mu: 0.96 * torch.randn_like(mu)),
        "spread",
    ),
    (
        "clamped noise",
        drawn_with(lambda mu: torch.randn_like(mu).clamp(-2, 2)),
        "the noise",
    ),
    (
        "clamped at three sigma",
        drawn_with(lambda mu: torch.randn_like(mu).clamp(-3, 3)),
        "the farthest",
    ),
    ("noise with long tails", drawn_with(_laplace), "not normal"),
    (
        "a scale for each row",
        drawn_with(
            lambda mu: (
                torch.randn_like(mu)
                * math.sqrt(2)
                * torch.rand(len(mu), 1).sqrt()
            )
        ),
        "the noise",
    ),
    (
        "no noise for one digit",
        drawn_with(lambda mu: torch.randn_like(mu) * (len(mu) > 1)),
        "single digit",
    ),
    (
        "half the noise for one digit",
        drawn_with(
            lambda mu: torch.randn_like(mu) * (1 if len(mu) > 1 else 0.5)
        ),
        "single digit",
    ),
    (
        "clamps logvar at 5",
        drawn_with(logvar_of=lambda v: v.clamp(-5, 5)),
        "beyond 26",
    ),
    (
        "clamps logvar at 10",
        drawn_with(logvar_of=lambda v: v.clamp(-10, 10)),
        "beyond 26",
    ),
    (
        "a floor for sigma",
        drawn_with(logvar_of=lambda v: (v.exp() + 1e-5).log()),
        "beyond 26",
    ),
    (
        "a millionth added to sigma",
        drawn_with(logvar_of=lambda v: 2 * ((v / 2).exp() + 1e-6).log()),
        "beyond 26",
    ),
    (
        "half the slope of mu",
        lambda mu, logvar: drawn_with()(mu / 2 + mu.detach() / 2, logvar),
        "the gradient by mu",
    ),
    (
        "twice the slope of logvar",
        lambda mu, logvar: drawn_with()(mu, 2 * logvar - logvar.detach()),
        "the gradient by logvar",
    ),
    (
        "the first row in place of all",
        lambda mu, logvar: drawn_with()(mu[:1].expand_as(mu), logvar),
        "the gradient by mu",
    ),
):
    wrong("reparameterize", _text, says=_says)(_one)


@wrong("reparameterize", "noise of mean 0 in each batch", says="two digits")
def _(mu, logvar):
    noise = torch.randn_like(mu)
    noise = noise - noise.mean(0) if len(mu) > 1 else noise
    return mu + (logvar / 2).exp() * noise


# --- elbo --------------------------------------------------------------------


def kl_of(mu, logvar):
    return 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(-1)


def likelihood_of(x, logits):
    return (x * logits - functional.softplus(logits)).sum(-1)


@right("elbo", "from encode and decode")
def _(model, x, noise):
    mu, logvar = model.encode(x)
    z = mu + (logvar / 2).exp() * noise
    return likelihood_of(x, model.decode(z).flatten(1)) - kl_of(mu, logvar)


@right("elbo", "from the terms of the model")
def _(model, x, noise):
    terms = model(x, None, noise)
    return -(terms["reconstruction"] + terms["kl"])


@right("elbo", "cross-entropy with logits, digit by digit")
def _(model, x, noise):
    found = []
    for i in range(len(x)):
        mu, logvar = model.encode(x[i : i + 1])
        z = mu + logvar.exp().sqrt() * noise[i : i + 1]
        error = functional.binary_cross_entropy_with_logits(
            model.decode(z).flatten(1), x[i : i + 1], reduction="sum"
        )
        found.append(-error - kl_of(mu, logvar)[0])
    return torch.stack(found)


def elbo_with(likelihood=likelihood_of, kl=kl_of, sign=-1, spread=0.5):
    def elbo(model, x, noise):
        mu, logvar = model.encode(x)
        z = mu + (spread * logvar).exp() * noise
        return likelihood(x, model.decode(z).flatten(1)) + sign * kl(
            mu, logvar
        )

    return elbo


wrong("elbo", "adds the KL", says="the KL is added")(elbo_with(sign=1))
wrong("elbo", "forgets the KL", says="the KL is missing")(elbo_with(sign=0))
wrong("elbo", "exp(logvar) as sigma", says="sigma is exp(logvar / 2)")(
    elbo_with(spread=1)
)


@wrong("elbo", "returns the loss", says="minus the ELBO, a loss")
def _(model, x, noise):
    return -elbo_with()(model, x, noise)


@wrong("elbo", "averages over the pixels", says="averaged over the pixels")
def _(model, x, noise):
    one = elbo_with(lambda x, a: likelihood_of(x, a) / x.shape[1])
    return one(model, x, noise)


@wrong("elbo", "averages the KL", says="averaged over the latent")
def _(model, x, noise):
    one = elbo_with(kl=lambda mu, logvar: kl_of(mu, logvar) / mu.shape[1])
    return one(model, x, noise)


@wrong("elbo", "forgets the half of the KL", says="one half of the KL")
def _(model, x, noise):
    return elbo_with(sign=-2)(model, x, noise)


@wrong("elbo", "takes logvar for log sigma in the KL", says="for log sigma")
def _(model, x, noise):
    one = elbo_with(kl=lambda mu, logvar: kl_of(mu, 2 * logvar))
    return one(model, x, noise)


@wrong("elbo", "evaluates at z = mu", says="z = mu gives no bound")
def _(model, x, noise):
    return elbo_with()(model, x, 0 * noise)


@wrong("elbo", "multiplies the KL by beta", says="has no beta")
def _(model, x, noise):
    return -model(x, None, noise)["loss"]


@wrong("elbo", "draws noise of its own", says="found")
def _(model, x, noise):
    return elbo_with()(model, x, torch.randn_like(noise))


@wrong("elbo", "no noise outside of training", says="the noise is not used")
def _(model, x, noise):
    return elbo_with()(model, x, noise * model.training)


@wrong("elbo", "the sigmoid twice", says="sigmoid was applied twice")
def _(model, x, noise):
    one = elbo_with(lambda x, a: likelihood_of(x, a.sigmoid()))
    return one(model, x, noise)


@wrong("elbo", "only the pixels with ink", says="without ink count")
def _(model, x, noise):
    one = elbo_with(lambda x, a: (x * functional.logsigmoid(a)).sum(-1))
    return one(model, x, noise)


@wrong("elbo", "averages over the batch", says="averaged over the batch")
def _(model, x, noise):
    return elbo_with()(model, x, noise).mean()


@wrong("elbo", "sums over the batch", says="summed over the batch")
def _(model, x, noise):
    return elbo_with()(model, x, noise).sum()


@wrong("elbo", "logarithms of the sigmoid", says="work from the logits")
def _(model, x, noise):
    def likelihood(x, a):
        p = a.sigmoid()
        return (x * p.log() + (1 - x) * (1 - p).log()).sum(-1)

    return elbo_with(likelihood)(model, x, noise)


@wrong("elbo", "Bernoulli of probabilities", says="work from the logits")
def _(model, x, noise):
    one = elbo_with(lambda x, a: Bernoulli(a.sigmoid()).log_prob(x).sum(-1))
    return one(model, x, noise)


@wrong("elbo", "without gradients", says="no gradient flows")
def _(model, x, noise):
    with torch.no_grad():
        return elbo_with()(model, x, noise)


@wrong("elbo", "detaches the code", says="passes through z")
def _(model, x, noise):
    mu, logvar = model.encode(x)
    z = (mu + (logvar / 2).exp() * noise).detach()
    return likelihood_of(x, model.decode(z).flatten(1)) - kl_of(mu, logvar)


@wrong("elbo", "detaches the KL", says="passes through the KL")
def _(model, x, noise):
    return elbo_with(kl=lambda *q: kl_of(*q).detach())(model, x, noise)


@wrong("elbo", "detaches the logits", says="no gradient reaches the decoder")
def _(model, x, noise):
    mu, logvar = model.encode(x)
    z = mu + (logvar / 2).exp() * noise
    return likelihood_of(x, model.decode(z).flatten(1).detach()) - kl_of(
        mu, logvar
    )


@right("elbo", "torch.distributions, in double at the end")
def _(model, x, noise):
    mu, logvar = model.encode(x)
    q = Normal(mu, logvar.exp().sqrt())
    p = Bernoulli(logits=model.decode(mu + q.stddev * noise).reshape(x.shape))
    kl = kl_divergence(q, Normal(torch.zeros_like(mu), 1.0)).sum(1)
    return p.log_prob(x).sum(1).double() - kl.double()


@right("elbo", "two log sigmoids and an einsum")
def _(model, x, noise):
    mu, logvar = model.encode(x)
    a = model.decode(torch.addcmul(mu, (logvar / 2).exp(), noise)).flatten(1)
    ink = torch.einsum("bd,bd->b", x, functional.logsigmoid(a))
    paper = torch.einsum("bd,bd->b", 1 - x, functional.logsigmoid(-a))
    return ink + paper - kl_of(mu, logvar)


def turned(changed):
    """The right value with other slopes: those of a changed ELBO."""

    def elbo(model, x, noise):
        value, other = elbo_with()(model, x, noise), changed(model, x, noise)
        return value.detach() + other - other.detach()

    return elbo


def _half_decoder(model, x, noise):
    mu, logvar = model.encode(x)
    z = mu + (logvar / 2).exp() * noise
    logits = model.decode(z).flatten(1)
    return likelihood_of(x, logits / 2 + logits.detach() / 2) - kl_of(
        mu, logvar
    )


def _against(model, x, noise):
    # the decoder climbs down, and the encoder sees nothing of it
    mu, logvar = model.encode(x)
    z = mu + (logvar / 2).exp() * noise
    plain = likelihood_of(x, model.decode(z).flatten(1))
    fixed = likelihood_of(x, model.decode(z.detach()).flatten(1))
    return plain - 2 * fixed - kl_of(mu, logvar)


def _first_digit(model, x, noise):
    return elbo_with()(model, x, noise)[:1].expand(len(x))


for _text, _one, _says in (
    (
        "the decoder with the wrong sign",
        turned(_against),
        "the gradient by dec",
    ),
    ("half the slope for the decoder", turned(_half_decoder), "the gradient"),
    ("the slopes of the first digit", turned(_first_digit), "the gradient by"),
    (
        "the slopes of the loss",
        turned(lambda *given: -elbo_with()(*given)),
        "the gradient by",
    ),
    (
        "twice the slopes",
        turned(lambda *given: 2 * elbo_with()(*given)),
        "the gradient by",
    ),
    (
        "the slopes of mean pixels",
        turned(elbo_with(lambda x, a: likelihood_of(x, a) / x.shape[1])),
        "the grad",
    ),
    (
        "sigma detached",
        turned(
            lambda m, x, noise: (
                lambda mu, v: (
                    likelihood_of(
                        x,
                        m.decode(mu + (v / 2).exp().detach() * noise).flatten(
                            1
                        ),
                    )
                    - kl_of(mu, v)
                )
            )(*m.encode(x))
        ),
        "the gradient by enc",
    ),
    (
        "clamps the log variances",
        elbo_with(kl=lambda mu, v: kl_of(mu, v.clamp(-10, 10))),
        "-12 and beyond",
    ),
    (
        "log variances of 10 at most",
        elbo_with(kl=lambda mu, v: kl_of(mu, v.clamp(max=10))),
        "of 12 and beyond",
    ),
    (
        "clamps the logits",
        elbo_with(lambda x, a: likelihood_of(x, a.clamp(-30, 30))),
        "work from the log",
    ),
    (
        "a floor for each dimension",
        elbo_with(
            kl=lambda mu, v: (
                (0.5 * (mu**2 + v.exp() - 1 - v)).clamp(min=0.5).sum(-1)
            )
        ),
        "the ELBO",
    ),
    (
        "the squared error",
        elbo_with(lambda x, a: -(x - a.sigmoid()).square().sum(-1)),
        "the ELBO",
    ),
    (
        "the KL from one code",
        lambda m, x, noise: (
            lambda mu, v: (
                likelihood_of(
                    x, m.decode(mu + (v / 2).exp() * noise).flatten(1)
                )
                - (
                    0.5 * ((mu + (v / 2).exp() * noise) ** 2 - noise**2 - v)
                ).sum(-1)
            )
        )(*m.encode(x)),
        "the ELBO",
    ),
    (
        "the mean over several draws",
        lambda m, x, noise: (
            (elbo_with()(m, x, noise) + elbo_with()(m, x, -noise)) / 2
        ),
        "the ELBO",
    ),
    (
        "the first row of the noise",
        lambda m, x, noise: elbo_with()(m, x, noise[:1].expand_as(noise)),
        "the ELBO",
    ),
    (
        "ink and paper swapped",
        elbo_with(lambda x, a: likelihood_of(1 - x, a)),
        "the ELBO",
    ),
    (
        "ignores the decoder",
        elbo_with(lambda x, a: likelihood_of(x, 0 * a)),
        "the ELBO",
    ),
):
    wrong("elbo", _text, says=_says)(_one)


# --- score_function ----------------------------------------------------------


def score_of_mu(z, mu, logvar):
    return (z - mu) / logvar.exp()


def score_of_logvar(z, mu, logvar):
    return 0.5 * ((z - mu).square() / logvar.exp() - 1)


def scores(values, z, mu, logvar):
    f = values[:, None]
    return f * score_of_mu(z, mu, logvar), f * score_of_logvar(z, mu, logvar)


def baseline(values, score):
    return (values * score.square()).mean() / score.square().mean()


def score_function(first=scores, second=baseline):
    return {"score_gradients": first, "best_baseline": second}


@right("score_function", "the formulas")
def several():
    return score_function()


@right("score_function", "autograd for the slopes, a parabola for the best")
def several():
    def slopes(values, z, mu, logvar):
        n = len(z)
        m = mu.expand(n, -1).clone().requires_grad_()
        lv = logvar.expand(n, -1).clone().requires_grad_()
        log_q = Normal(m, (lv / 2).exp()).log_prob(z).sum(-1)
        return list(torch.autograd.grad((values * log_q).sum(), (m, lv)))

    def lowest(values, score):
        a = [float(((values - b) * score).var()) for b in (-1e3, 0.0, 1e3)]
        curve = np.polyfit([-1e3, 0.0, 1e3], a, 2)
        return float(-curve[1] / (2 * curve[0]))

    return score_function(slopes, lowest)


@right("score_function", "covariance over variance")
def several():
    def of_covariance(values, score):
        both = torch.stack([values * score, score])
        return torch.cov(both)[0, 1].item() / score.var().item()

    return score_function(second=of_covariance)


@wrong("score_function", "by log sigma", says="gradient by log sigma")
def several():
    def by_log_sigma(values, z, mu, logvar):
        m, v = scores(values, z, mu, logvar)
        return m, 2 * v

    return score_function(by_log_sigma)


@wrong("score_function", "by sigma", says="gradient by sigma")
def several():
    def by_sigma(values, z, mu, logvar):
        m, v = scores(values, z, mu, logvar)
        return m, 2 * v / (logvar / 2).exp()

    return score_function(by_sigma)


@wrong("score_function", "forgets the -1", says="-1 is missing")
def several():
    def short(values, z, mu, logvar):
        m, v = scores(values, z, mu, logvar)
        return m, v + values[:, None] / 2

    return score_function(short)


@wrong("score_function", "divides by sigma", says="not by sigma")
def several():
    def divided(values, z, mu, logvar):
        m, v = scores(values, z, mu, logvar)
        return m * (logvar / 2).exp(), v

    return score_function(divided)


@wrong("score_function", "the sign of the slope", says="the sign")
def several():
    def turned(values, z, mu, logvar):
        m, v = scores(values, z, mu, logvar)
        return -m, v

    return score_function(turned)


@wrong("score_function", "without the values", says="values of f are missing")
def several():
    def alone(values, z, mu, logvar):
        return scores(torch.ones_like(values), z, mu, logvar)

    return score_function(alone)


@wrong("score_function", "averages over the codes", says="one estimate for")
def several():
    def averaged(values, z, mu, logvar):
        return tuple(g.mean(0) for g in scores(values, z, mu, logvar))

    return score_function(averaged)


@wrong("score_function", "only by mu", says="return two tensors")
def several():
    def half(values, z, mu, logvar):
        return scores(values, z, mu, logvar)[0]

    return score_function(half)


@wrong("score_function", "the mean of f as baseline", says="not the best")
def several():
    return score_function(second=lambda values, score: values.mean())


@wrong("score_function", "no baseline", says="no baseline at all")
def several():
    return score_function(second=lambda values, score: 0.0)


@wrong("score_function", "adds the baseline", says="baseline is subtracted")
def several():
    return score_function(
        second=lambda values, score: -baseline(values, score)
    )


@wrong("score_function", "the score not squared", says="enters squared")
def several():
    def plain(values, score):
        return (values * score).mean() / score.square().mean()

    return score_function(second=plain)


@wrong("score_function", "weights that do not add up", says="add up to one")
def several():
    def heavy(values, score):
        return (values * score.square()).mean()

    return score_function(second=heavy)


@right("score_function", "NumPy, stacked in one array")
def several():
    def slopes(values, z, mu, logvar):
        f, z, m, v = (t.double().numpy() for t in (values, z, mu, logvar))
        by_mu = (z - m) / np.exp(v)
        by_logvar = ((z - m) ** 2 / np.exp(v) - 1) / 2
        return np.stack([f[:, None] * by_mu, f[:, None] * by_logvar])

    def best(values, score):
        return np.average(values.numpy(), weights=score.numpy() ** 2)

    return score_function(slopes, best)


@right("score_function", "a loop over the codes, and lists")
def several():
    def slopes(values, z, mu, logvar):
        pairs = [
            scores(f[None], c[None], mu, logvar) for f, c in zip(values, z)
        ]
        return [[m[0] for m, _ in pairs], [v[0] for _, v in pairs]]

    return score_function(slopes, lambda f, s: [baseline(f, s)])


for _text, _mu, _logvar in (
    ("swaps the two", score_of_logvar, score_of_mu),
    (
        "divides by sigma, twice",
        lambda z, m, v: (z - m) / (v / 2).exp(),
        lambda z, m, v: 0.5 * ((z - m) ** 2 / (v / 2).exp() - 1),
    ),
    (
        "absolute distances",
        lambda z, m, v: (z - m).abs() / v.exp(),
        score_of_logvar,
    ),
    ("distances from 0", lambda z, m, v: z / v.exp(), score_of_logvar),
    (
        "clamps the log variance",
        lambda z, m, v: score_of_mu(z, m, v.clamp(-5, 5)),
        lambda z, m, v: score_of_logvar(z, m, v.clamp(-5, 5)),
    ),
    (
        "adds a little to the variance",
        lambda z, m, v: (z - m) / (v.exp() + 1e-3),
        score_of_logvar,
    ),
    (
        "a -1 for all dimensions",
        score_of_mu,
        lambda z, m, v: 0.5 * ((z - m) ** 2 / v.exp() - 1 / len(m)),
    ),
    ("no one half", score_of_mu, lambda z, m, v: 2 * score_of_logvar(z, m, v)),
    ("the slope of log p", lambda z, m, v: -z, score_of_logvar),
    (
        "the first code",
        lambda z, m, v: score_of_mu(z[:1], m, v).expand_as(z),
        score_of_logvar,
    ),
):

    @wrong("score_function", _text, says="the estimates by")
    def several(by_mu=_mu, by_logvar=_logvar):
        def slopes(values, z, mu, logvar):
            f = values[:, None]
            return f * by_mu(z, mu, logvar), f * by_logvar(z, mu, logvar)

        return score_function(slopes)


for _text, _base in (
    ("the median", lambda f, s: f.median()),
    (
        "weights that are not squared",
        lambda f, s: (f * s.abs()).mean() / s.abs().mean(),
    ),
    ("fourth powers", lambda f, s: (f * s**4).mean() / (s**4).mean()),
    ("the largest value", lambda f, s: f.max()),
    ("the mean of both ends", lambda f, s: (f.max() + f.min()) / 2),
    ("the value at the steepest code", lambda f, s: f[s.abs().argmax()]),
    ("half of the best", lambda f, s: baseline(f, s) / 2),
    (
        "the mean of the steep half",
        lambda f, s: f[s.abs() > s.abs().median()].mean(),
    ),
    ("a running mean", lambda f, s: 0.9 * f.mean()),
    ("a hundred below 0", lambda f, s: -100.0),
):

    @wrong("score_function", _text, says="the baseline")
    def several(base=_base):
        return score_function(second=base)


# --- elbo_identity -----------------------------------------------------------

FILLED = {
    "a": "p(z|x)",
    "b": "q(z)/p(z|x)",
    "c": "q(z)",
    "d": "q(z) integrates to 1",
    "e": "KL(q(z) || p(z|x))",
    "f": "q(z) = p(z|x)",
}


@right("elbo_identity", "as listed")
def _():
    return FILLED


@right("elbo_identity", "with other spaces, copied from the table")
def _():
    return {
        k: f" {v.replace(' ', '')}".replace("|", "\\|")
        for k, v in FILLED.items()
    }


for _letter, _value, _text, _says in (
    ("a", "q(z)", "q in Bayes' rule", "not every blank"),
    ("a", "p(x)", "divides by the evidence", "not every blank"),
    ("b", "p(z|x)/q(z)", "the ratio upside down", "not every blank"),
    ("b", "q(z)/p(z)", "the prior for the posterior", "not every blank"),
    ("c", "p(z)", "averages over the prior", "not every blank"),
    ("c", "p(z|x)", "averages over the posterior", "not every blank"),
    ("d", "the logarithm is concave", "Jensen", "not every blank"),
    (
        "d",
        "q(z) is the posterior",
        "only for the posterior",
        "not every blank",
    ),
    ("e", "KL(p(z|x) || q(z))", "the KL the other way", "not every blank"),
    ("e", "KL(q(z) || p(z))", "the KL to the prior", "not every blank"),
    ("f", "q(z) = p(z)", "tight at the prior", "not every blank"),
    ("f", "q(z) is normal", "tight for each normal q", "not every blank"),
    ("d", None, "leaves d open", "blank d: not answered yet"),
    ("e", 5, "a number", "expected one of"),
):
    wrong("elbo_identity", _text, says=_says)(
        lambda filled=FILLED | {_letter: _value}: filled
    )


@right("elbo_identity", "in capitals, without spaces")
def _():
    return {k: v.replace(" ", "").upper() for k, v in FILLED.items()}


for _changed in (
    {"a": "p(z)"},
    {"a": "p(x|z)", "b": "q(z)/p(z)"},
    {"b": "p(z)/q(z)"},
    {"b": "p(x|z)/q(z)"},
    {"c": "p(x|z)"},
    {"d": "p(z) integrates to 1"},
    {"d": "q(z) is normal"},
    {"e": "KL(p(z) || q(z))"},
    {"f": "the ELBO is 0"},
    {"c": "p(z|x)", "e": "KL(p(z|x) || q(z))"},
):
    wrong("elbo_identity", f"answers {_changed}", says="not every blank")(
        lambda filled=FILLED | _changed: filled
    )


@wrong("elbo_identity", "an answer of another blank", says="expected one of")
def _():
    return FILLED | {"c": "q(z) integrates to 1"}


@wrong("elbo_identity", "blanks as in the example", says="not answered yet")
def _():
    return FILLED | {"f": "..."}


@wrong("elbo_identity", "a list", says="return the dict")
def _():
    return list(FILLED.values())


# --- missed_peak -------------------------------------------------------------


def on_grid(log_q, log_p, cell):
    return (log_q.exp() * (log_q - log_p)).sum() * cell


def missed_peak(guess=1.609, kl=on_grid):
    return {"predicted_gap": lambda: guess, "kl_on_grid": kl}


@right("missed_peak", "ln 5 and the sum")
def several():
    return missed_peak()


@right("missed_peak", "a wrong prediction and a right measurement")
def several():
    return missed_peak(0.8)


@right("missed_peak", "normalised weights, as a number")
def several():
    def normalised(log_q, log_p, cell):
        log_p = log_p - log_p.logsumexp(0)
        q = log_q.softmax(0)
        return float((q * (torch.log_softmax(log_q, 0) - log_p)).sum())

    return missed_peak(torch.tensor(1.609), normalised)


@wrong("missed_peak", "no prediction", says="no prediction yet")
def several():
    return missed_peak(None)


@wrong("missed_peak", "weighs with p", says="weighed with p")
def several():
    return missed_peak(
        kl=lambda log_q, log_p, cell: (
            (log_p.exp() * (log_q - log_p)).sum() * cell
        )
    )


@wrong("missed_peak", "swaps q and p", says="swapped")
def several():
    return missed_peak(kl=lambda log_q, log_p, c: on_grid(log_p, log_q, c))


@wrong("missed_peak", "the sign", says="the sign")
def several():
    return missed_peak(kl=lambda log_q, log_p, c: -on_grid(log_q, log_p, c))


@wrong("missed_peak", "without the cell", says="width of a cell is missing")
def several():
    return missed_peak(kl=lambda log_q, log_p, cell: on_grid(log_q, log_p, 1))


@wrong("missed_peak", "without weights", says="weights q are missing")
def several():
    return missed_peak(kl=lambda log_q, log_p, cell: (log_q - log_p).mean())


@wrong("missed_peak", "log weights", says="weigh with q itself")
def several():
    return missed_peak(
        kl=lambda log_q, log_p, cell: (log_q * (log_q - log_p)).sum() * cell
    )


@wrong("missed_peak", "one value for each cell", says="found shape")
def several():
    return missed_peak(
        kl=lambda log_q, log_p, cell: log_q.exp() * (log_q - log_p) * cell
    )


@wrong("missed_peak", "returns the answer of the prediction", says="the KL:")
def several():
    return missed_peak(kl=lambda log_q, log_p, cell: math.log(5))


@wrong("missed_peak", "leaves p out", says="log p is missing")
def several():
    return missed_peak(
        kl=lambda log_q, log_p, cell: (log_q.exp() * log_q).sum() * cell
    )


def _with_floor(log_q, log_p, cell):
    q, p = log_q.exp(), log_p.exp()
    return (q * ((q + 1e-12) / (p + 1e-12)).log()).sum() * cell


for _text, _kl, _says in (
    ("a small number beside p", _with_floor, "a small number"),
    (
        "a limit for log p",
        lambda q, p, c: on_grid(q, p.clamp(min=-20), c),
        "without a limit",
    ),
    (
        "a limit far below for log p",
        lambda q, p, c: on_grid(q, p.clamp(min=-80), c),
        "without a limit",
    ),
    (
        "without the ends",
        lambda q, p, c: on_grid(q[1:-1], p[1:-1], c),
        "cells at the ends count",
    ),
):

    @wrong("missed_peak", _text, says=_says)
    def several(kl=_kl):
        return missed_peak(kl=kl)


@right("missed_peak", "NumPy, and a loop")
def several():
    def by_loop(log_q, log_p, cell):
        total = 0.0
        for a, b in zip(log_q.tolist(), log_p.tolist()):
            total += math.exp(a) * (a - b) * cell
        return np.array([total])

    return missed_peak(np.float32(1.6), by_loop)


@right("missed_peak", "the trapezoid rule")
def several():
    def trapezoid(log_q, log_p, cell):
        return torch.trapezoid(log_q.exp() * (log_q - log_p), dx=cell)

    return missed_peak((1.6,), trapezoid)


for _text, _kl in (
    (
        "absolute differences",
        lambda q, p, c: (q.exp() * (q - p).abs()).sum() * c,
    ),
    (
        "positive differences",
        lambda q, p, c: (q.exp() * (q - p).clamp(min=0)).sum() * c,
    ),
    (
        "both ways, averaged",
        lambda q, p, c: (on_grid(q, p, c) + on_grid(p, q, c)) / 2,
    ),
    (
        "the squared difference",
        lambda q, p, c: (q.exp() * (q - p) ** 2).sum() * c / 2,
    ),
    (
        "the difference of densities",
        lambda q, p, c: (q.exp() * (q.exp() - p.exp())).sum() * c,
    ),
    ("in bits", lambda q, p, c: on_grid(q, p, c) / math.log(2)),
    (
        "only near the peak of q",
        lambda q, p, c: on_grid(*(v[q > q.max() - 0.5] for v in (q, p)), c),
    ),
    ("the largest difference", lambda q, p, c: (q - p)[q > -5].max()),
    ("at the peak of q", lambda q, p, c: (q - p)[q.argmax()]),
    ("a cell of 1/200", lambda q, p, c: on_grid(q, p, 0.005)),
    (
        "a cell from the number of codes",
        lambda q, p, c: on_grid(q, p, 10 / len(q)),
    ),
    ("the root of q", lambda q, p, c: on_grid(q, p, c) ** 0.5),
):

    @wrong("missed_peak", _text, says="the KL")
    def several(kl=_kl):
        return missed_peak(kl=kl)


# --- kl_between --------------------------------------------------------------


def between(half=0.5, one=1.0, sign=1.0, scale="prior", power=2, fold=None):
    def kl_between(mu, logvar, prior_mu, prior_logvar):
        ratio = logvar - prior_logvar
        gap = mu - prior_mu
        width = {
            "prior": prior_logvar,
            "q": logvar,
            "none": 0 * ratio,
            "twice": 2 * prior_logvar,
            "root": prior_logvar / 2,
        }[scale]
        # the square of a quotient, so that no exp overflows
        far = (gap * (-width / 2).exp()) ** power
        each = half * (far + ratio.exp() - one - sign * ratio)
        return each.sum(-1) if fold is None else fold(each)

    return kl_between


right("kl_between", "differences of log variances")(between())


@right("kl_between", "torch.distributions, float64")
def _(mu, logvar, prior_mu, prior_logvar):
    mu, logvar, at, width = (
        v.double() for v in (mu, logvar, prior_mu, prior_logvar)
    )
    q, p = Normal(mu, (logvar / 2).exp()), Normal(at, (width / 2).exp())
    return torch.distributions.kl_divergence(q, p).sum(-1)


@right("kl_between", "in units of the prior, then the KL to N(0, I)")
def _(mu, logvar, prior_mu, prior_logvar):
    m = (mu - prior_mu) * (-0.5 * prior_logvar).exp()
    v = logvar - prior_logvar
    return (m * m + torch.expm1(v) - v).sum(-1) / 2


@wrong("kl_between", "a limit for the ratio", says="0 for the prior")
def _(mu, logvar, prior_mu, prior_logvar):
    ratio = (logvar - prior_logvar).clamp(-30, 30)
    far = ((mu - prior_mu) * (-prior_logvar / 2).exp()).square()
    return 0.5 * (far + ratio.exp() - 1 - ratio).sum(-1)


@wrong("kl_between", "a limit above for the ratio", says="around 30 for q")
def _(mu, logvar, prior_mu, prior_logvar):
    ratio = logvar - prior_logvar
    far = ((mu - prior_mu) * (-prior_logvar / 2).exp()).square()
    return 0.5 * (far + ratio.clamp(max=20).exp() - 1 - ratio).sum(-1)


@wrong("kl_between", "the logarithm of a ratio", says="0 for the prior")
def _(mu, logvar, prior_mu, prior_logvar):
    ratio = (logvar - prior_logvar).exp()
    far = ((mu - prior_mu) * (-prior_logvar / 2).exp()).square()
    return 0.5 * (far + ratio - 1 - ratio.log()).sum(-1)


@wrong("kl_between", "the logarithm of a distance", says="q is the prior")
def _(mu, logvar, prior_mu, prior_logvar):
    far = (2 * (mu - prior_mu).abs().log() - prior_logvar).exp()
    ratio = logvar - prior_logvar
    return 0.5 * (far + ratio.exp() - 1 - ratio).sum(-1)


def to_standard(mu, logvar, prior_mu, prior_logvar):
    return (mu**2 + logvar.exp() - 1 - logvar).sum(-1) / 2


def quotient(mu, logvar, prior_mu, prior_logvar):
    own, other = logvar.exp(), prior_logvar.exp()
    gap = (mu - prior_mu) ** 2
    return 0.5 * ((own + gap) / other - 1 - logvar + prior_logvar).sum(-1)


for _text, _says, _made in (
    ("swapped", "swapped", lambda m, v, a, w: between()(a, w, m, v)),
    ("to N(0, I)", "to N(0, I)", to_standard),
    ("no half", "one half is missing", between(half=1.0)),
    ("without -1", "-1 is missing", between(one=0.0)),
    ("the sign of the logarithms", "sign of the log", between(sign=-1.0)),
    ("minus the KL", "never negative", between(half=-0.5)),
    ("means not scaled", "sigmas of the prior", between(scale="none")),
    ("means in sigmas of q", "not of q", between(scale="q")),
    ("means over sigma", "found", between(scale="root")),
    ("means over sigma to the fourth", "found", between(scale="twice")),
    ("means not squared", "not squared", between(power=1)),
    (
        "no means",
        "do not enter",
        lambda m, v, a, w: between()(0 * m, v, 0 * a, w),
    ),
    (
        "a mean over dimensions",
        "did you average",
        between(fold=lambda each: each.mean(-1)),
    ),
    (
        "a sum over the digits",
        "summed over the digits",
        between(fold=lambda each: each.sum()),
    ),
    (
        "the mean of the digits",
        "averaged over the digits",
        between(fold=lambda each: each.sum(-1).mean()),
    ),
    ("each dimension", "reduce the last", between(fold=lambda each: each)),
    (
        "log sigma for logvar",
        "log sigma",
        lambda m, v, a, w: between()(m, 2 * v, a, 2 * w),
    ),
    ("a quotient of variances", "log variances around", quotient),
    (
        "clamped log variances",
        "log variances around",
        lambda m, v, a, w: between()(m, v.clamp(-20, 20), a, w.clamp(-20, 20)),
    ),
    (
        "the prior detached",
        "reaches prior_mu",
        lambda m, v, a, w: between()(m, v, a.detach(), w.detach()),
    ),
    (
        "q detached",
        "reaches mu",
        lambda m, v, a, w: between()(m.detach(), v.detach(), a, w),
    ),
    (
        "the width of the prior detached",
        "prior_logvar",
        lambda m, v, a, w: between()(m, v, a, w.detach()),
    ),
    ("without gradients", "no gradient", torch.no_grad()(between())),
    (
        "the first prior for all",
        "the KL",
        lambda m, v, a, w: between()(
            m, v, a.view(-1, a.shape[-1])[:1], w.view(-1, w.shape[-1])[:1]
        ),
    ),
    (
        "symmetric",
        "found",
        lambda m, v, a, w: (between()(m, v, a, w) + between()(a, w, m, v)) / 2,
    ),
):
    wrong("kl_between", _text, says=_says)(_made)
