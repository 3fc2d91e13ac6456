"""Answers to the exercises of chapter 5."""

import copy
import dataclasses
import math

import numpy as np
import torch
from torch.distributions import Bernoulli, Normal, kl_divergence
from torch.nn.functional import binary_cross_entropy_with_logits

from answers import right, wrong
from minivae import VAE, evaluate, fit, load_digits, pictures, quantile_grid
from minivae.objective import bernoulli_log_likelihood, gaussian_kl
from minivae_course.chapter_05 import CONFIG

# --- vae_loss ----------------------------------------------------------------


def halves(model, x, noise):
    """-log p(x|z) of each pixel, KL of each dimension."""
    mu, logvar = model.encode(x)
    logits = model.decode(mu + (logvar / 2).exp() * noise).flatten(1)
    error = binary_cross_entropy_with_logits(logits, x, reduction="none")
    return error, 0.5 * (mu**2 + logvar.exp() - 1 - logvar)


@right("vae_loss", "both formulas")
def _(model, x, noise):
    error, kl = halves(model, x, noise)
    return error.sum(1) + kl.sum(1)


@right("vae_loss", "torch.distributions")
def _(model, x, noise):
    mu, logvar = model.encode(x)
    q = Normal(mu, torch.exp(0.5 * logvar))
    p = Bernoulli(logits=model.decode(mu + q.scale * noise).view(x.shape))
    kl = kl_divergence(q, Normal(0.0, 1.0)).sum(-1)
    return kl - p.log_prob(x).sum(-1)


@right("vae_loss", "the functions of the package, in double at the end")
def _(model, x, noise):
    mu, logvar = model.encode(x)
    logits = model.decode(mu + logvar.exp().sqrt() * noise).flatten(1)
    elbo = bernoulli_log_likelihood(x, logits) - gaussian_kl(mu, logvar)
    return -elbo.double()


@wrong("vae_loss", "the model's own loss with this noise", says="has no beta")
def _(model, x, noise):
    return model(x, noise=noise)["loss"]


@wrong("vae_loss", "averages the pixels", says="the pixels are averaged")
def _(model, x, noise):
    error, kl = halves(model, x, noise)
    return error.mean(1) + kl.sum(1)


@wrong("vae_loss", "averages the latent dimensions", says="the KL is averaged")
def _(model, x, noise):
    error, kl = halves(model, x, noise)
    return error.sum(1) + kl.mean(1)


@wrong("vae_loss", "subtracts the KL", says="the KL is subtracted")
def _(model, x, noise):
    error, kl = halves(model, x, noise)
    return error.sum(1) - kl.sum(1)


@wrong("vae_loss", "the ELBO itself", says="its negative")
def _(model, x, noise):
    error, kl = halves(model, x, noise)
    return -error.sum(1) - kl.sum(1)


@wrong("vae_loss", "no KL", says="the KL is missing")
def _(model, x, noise):
    return halves(model, x, noise)[0].sum(1)


@wrong("vae_loss", "no one half in the KL", says="factor one half")
def _(model, x, noise):
    error, kl = halves(model, x, noise)
    return error.sum(1) + 2 * kl.sum(1)


@wrong("vae_loss", "decodes mu", says="the code is mu")
def _(model, x, noise):
    error, kl = halves(model, x, 0 * noise)
    return error.sum(1) + kl.sum(1)


@wrong("vae_loss", "no noise outside of training", says="the code is mu")
def _(model, x, noise):
    error, kl = halves(model, x, noise * model.training)
    return error.sum(1) + kl.sum(1)


@wrong("vae_loss", "exp(logvar) as sigma", says="not exp(logvar)")
def _(model, x, noise):
    mu, logvar = model.encode(x)
    logits = model.decode(mu + logvar.exp() * noise).flatten(1)
    return gaussian_kl(mu, logvar) - bernoulli_log_likelihood(x, logits)


@wrong("vae_loss", "the sigmoid twice", says="taken twice")
def _(model, x, noise):
    mu, logvar = model.encode(x)
    p = model.decode(mu + (logvar / 2).exp() * noise).flatten(1).sigmoid()
    return gaussian_kl(mu, logvar) - bernoulli_log_likelihood(x, p)


@wrong("vae_loss", "noise of its own", says="use the argument noise")
def _(model, x, noise):
    error, kl = halves(model, x, torch.randn_like(noise))
    return error.sum(1) + kl.sum(1)


@wrong("vae_loss", "the mean over the batch", says="averaged over the digits")
def _(model, x, noise):
    error, kl = halves(model, x, noise)
    return (error.sum(1) + kl.sum(1)).mean()


@wrong("vae_loss", "without gradients", says="no gradient flows")
def _(model, x, noise):
    with torch.no_grad():
        error, kl = halves(model, x, noise)
    return error.sum(1) + kl.sum(1)


@wrong(
    "vae_loss", "an answer that asks for a gradient of its own", says="no g"
)
def _(model, x, noise):
    error, kl = halves(model, x, noise)
    return (error.sum(1) + kl.sum(1)).detach().requires_grad_()


@wrong("vae_loss", "a copy of the model", says="no gradient reaches")
def _(model, x, noise):
    error, kl = halves(copy.deepcopy(model), x, noise)
    return error.sum(1) + kl.sum(1)


@wrong("vae_loss", "weights frozen", says="no gradient flows")
def _(model, x, noise):
    error, kl = halves(model.requires_grad_(False), x, noise)
    return error.sum(1) + kl.sum(1)


@wrong(
    "vae_loss", "detached, and tied to the weights by zeros", says="encoder"
)
def _(model, x, noise):
    error, kl = halves(model, x, noise)
    nothing = sum(0 * w.sum() for w in model.parameters())
    return (error.sum(1) + kl.sum(1)).detach() + nothing


@wrong("vae_loss", "detaches the drawn code", says="drawn code is detached")
def _(model, x, noise):
    mu, logvar = model.encode(x)
    z = (mu + (logvar / 2).exp() * noise).detach()
    kl = gaussian_kl(mu, logvar)
    return kl - bernoulli_log_likelihood(x, model.decode(z).flatten(1))


@wrong("vae_loss", "detaches the KL", says="the KL is detached")
def _(model, x, noise):
    error, kl = halves(model, x, noise)
    return error.sum(1) + kl.sum(1).detach()


@wrong(
    "vae_loss",
    "detaches the reconstruction",
    says="no gradient reaches the decoder",
)
def _(model, x, noise):
    error, kl = halves(model, x, noise)
    return error.sum(1).detach() + kl.sum(1)


@wrong("vae_loss", "detaches sigma in the draw", says="sigma is detached")
def _(model, x, noise):
    mu, logvar = model.encode(x)
    z = mu + (logvar / 2).exp().detach() * noise
    kl = gaussian_kl(mu, logvar)
    return kl - bernoulli_log_likelihood(x, model.decode(z).flatten(1))


@wrong("vae_loss", "detaches mu in the draw", says="mu is detached")
def _(model, x, noise):
    mu, logvar = model.encode(x)
    z = mu.detach() + (logvar / 2).exp() * noise
    kl = gaussian_kl(mu, logvar)
    return kl - bernoulli_log_likelihood(x, model.decode(z).flatten(1))


@wrong("vae_loss", "the loss of coin flips, always", says="the loss")
def _(model, x, noise):
    return torch.full((len(x),), x.shape[1] * math.log(2))


@right("vae_loss", "digit by digit, log sigmoids")
def _(model, x, noise):
    found = []
    for one, eps in zip(x, noise):
        mu, logvar = (v[0] for v in model.encode(one[None]))
        a = model.decode((mu + (logvar / 2).exp() * eps)[None]).flatten()
        ink, paper = (torch.nn.functional.logsigmoid(v) for v in (a, -a))
        kl = (mu**2 + logvar.exp() - 1 - logvar).sum() / 2
        found.append(kl - (one * ink + (1 - one) * paper).sum())
    return torch.stack(found)


def loss_with(error_of=None, kl_of=gaussian_kl, draw=None):
    def vae_loss(model, x, noise):
        mu, logvar = model.encode(x)
        z = mu + (logvar / 2).exp() * noise
        z = draw(mu, logvar, noise) if draw else z
        logits = model.decode(z).flatten(1)
        error = (
            error_of(x, logits)
            if error_of
            else -bernoulli_log_likelihood(x, logits)
        )
        return error + kl_of(mu, logvar)

    return vae_loss


def _of_p(x, logits):
    p = logits.sigmoid()
    return -(x * p.log() + (1 - x) * (1 - p).log()).sum(-1)


def _of_bce(x, logits):
    p = logits.sigmoid()
    each = torch.nn.functional.binary_cross_entropy(p, x, reduction="none")
    return each.sum(-1)


def _against(model, x, noise):
    value = loss_with()(model, x, noise)
    mu, logvar = model.encode(x)
    z = (mu + (logvar / 2).exp() * noise).detach()
    fixed = -bernoulli_log_likelihood(x, model.decode(z).flatten(1))
    return value - 2 * (fixed - fixed.detach())


for _text, _one, _says in (
    ("logarithms of p", loss_with(_of_p), "logits are 60"),
    ("cross-entropy of probabilities", loss_with(_of_bce), "logits are 60"),
    (
        "probabilities with a small number",
        loss_with(
            lambda x, a: (
                -(
                    x * (a.sigmoid() + 1e-9).log()
                    + (1 - x) * (1 - a.sigmoid() + 1e-9).log()
                ).sum(-1)
            )
        ),
        "logits are 60",
    ),
    (
        "Bernoulli of probabilities",
        loss_with(lambda x, a: -Bernoulli(a.sigmoid()).log_prob(x).sum(-1)),
        "are 60",
    ),
    (
        "clamped logits",
        loss_with(lambda x, a: -bernoulli_log_likelihood(x, a.clamp(-20, 20))),
        "are 60",
    ),
    (
        "clamped log variances",
        loss_with(kl_of=lambda mu, v: gaussian_kl(mu, v.clamp(-10, 10))),
        "log variances of",
    ),
    (
        "a floor for the log variance",
        loss_with(kl_of=lambda mu, v: gaussian_kl(mu, v.clamp(min=-8))),
        "log variances of",
    ),
    (
        "clamped in the draw",
        loss_with(draw=lambda mu, v, e: mu + (v.clamp(-6, 6) / 2).exp() * e),
        "log variances of",
    ),
    ("the decoder with the wrong sign", _against, "the gradient by dec"),
    (
        "a floor of 0.2 nats for each dimension",
        loss_with(
            kl_of=lambda mu, v: (
                (0.5 * (mu**2 + v.exp() - 1 - v)).clamp(min=0.2).sum(-1)
            )
        ),
        "the loss",
    ),
    (
        "the first row of the noise",
        loss_with(draw=lambda mu, v, e: mu + (v / 2).exp() * e[:1]),
        "the loss",
    ),
    (
        "the noise subtracted",
        loss_with(draw=lambda mu, v, e: mu - (v / 2).exp() * e),
        "the loss",
    ),
    (
        "ink and paper swapped",
        loss_with(lambda x, a: -bernoulli_log_likelihood(1 - x, a)),
        "the loss",
    ),
    (
        "paper forgotten",
        loss_with(
            lambda x, a: -(x * torch.nn.functional.logsigmoid(a)).sum(-1)
        ),
        "loss",
    ),
    (
        "in bits",
        lambda m, x, e: loss_with()(m, x, e) / math.log(2),
        "the loss",
    ),
    (
        "half the slopes",
        lambda m, x, e: (
            (loss_with()(m, x, e) + loss_with()(m, x, e).detach()) / 2
        ),
        "gradient",
    ),
    (
        "no_grad for the KL",
        loss_with(kl_of=lambda mu, v: gaussian_kl(mu.detach(), v)),
        "the gradient by",
    ),
):
    wrong("vae_loss", _text, says=_says)(_one)


# --- quantile_codes ----------------------------------------------------------


@right("quantile_codes", "ndtri and meshgrid")
def _(n):
    steps = torch.special.ndtri((torch.arange(n) + 0.5) / n)
    up, along = torch.meshgrid(steps.flip(0), steps, indexing="ij")
    return torch.stack([along.flatten(), up.flatten()], 1)


@wrong("quantile_codes", "the package's own", says="asked to write here")
def _(n):
    return quantile_grid(n)


@right("quantile_codes", "icdf and two loops, a list of rows in double")
def _(n):
    steps = Normal(0.0, 1.0).icdf((torch.arange(n).double() + 0.5) / n)
    rows = [[x, y] for y in reversed(steps.tolist()) for x in steps.tolist()]
    return torch.tensor(rows, dtype=torch.float64)


def on_sheet(steps):
    return torch.cartesian_prod(steps.flip(0), steps).flip(1)


@wrong("quantile_codes", "the quantiles 0 and 1", says="infinite")
def _(n):
    return on_sheet(torch.special.ndtri(torch.linspace(0, 1, n)))


@wrong("quantile_codes", "equal steps from -3 to 3", says="equal distances")
def _(n):
    return on_sheet(torch.linspace(-3, 3, n))


@wrong("quantile_codes", "n quantiles of n + 1 slices", says="n + 1 slices")
def _(n):
    return on_sheet(torch.special.ndtri(torch.linspace(0, 1, n + 2)[1:-1]))


@wrong("quantile_codes", "the order of cartesian_prod", says="exchanged, and")
def _(n):
    steps = torch.special.ndtri((torch.arange(n) + 0.5) / n)
    return torch.cartesian_prod(steps, steps)


@wrong("quantile_codes", "upside down", says="z2 grows downwards")
def _(n):
    steps = torch.special.ndtri((torch.arange(n) + 0.5) / n)
    return torch.cartesian_prod(steps, steps).flip(1)


@wrong("quantile_codes", "the quantiles of the logistic", says="sigmoid")
def _(n):
    return on_sheet(torch.logit((torch.arange(n) + 0.5) / n))


@wrong("quantile_codes", "probabilities for codes", says="probabilities")
def _(n):
    return on_sheet((torch.arange(n) + 0.5) / n)


@wrong("quantile_codes", "an n x n sheet of pairs", says="shape")
def _(n):
    middles = (torch.arange(n) + 0.5) / n
    return on_sheet(Normal(0, 1).icdf(middles)).view(n, n, 2)


@wrong("quantile_codes", "always 20 x 20", says="shape")
def _(n):
    return on_sheet(Normal(0, 1).icdf((torch.arange(20) + 0.5) / 20))


@right("quantile_codes", "tuples, from Python's statistics")
def _(n):
    from statistics import NormalDist

    steps = [NormalDist().inv_cdf((2 * i + 1) / (2 * n)) for i in range(n)]
    return [(steps[c], steps[n - 1 - r]) for r in range(n) for c in range(n)]


@right("quantile_codes", "NumPy and the error function")
def _(n):
    p = torch.arange(0.5, n) / n
    steps = (math.sqrt(2) * torch.erfinv(2 * p - 1)).double().numpy()
    x, y = np.meshgrid(steps, steps[::-1])
    return np.column_stack([x.ravel(), y.ravel()])


def ndtri(p):
    return torch.special.ndtri(torch.as_tensor(p).double())


def halves_of(n):
    return (torch.arange(n).double() + 0.5) / n


for _text, _steps, _says in (
    ("clamped at 2", lambda n: ndtri(halves_of(n)).clamp(-2, 2), "the codes"),
    (
        "clamped at 2.6",
        lambda n: ndtri(halves_of(n)).clamp(-2.6, 2.6),
        "the co",
    ),
    (
        "left edges, a little inside",
        lambda n: ndtri((torch.arange(n) / n).clamp(min=1e-3)),
        "the codes",
    ),
    (
        "quantiles from 0.05 to 0.95",
        lambda n: ndtri(torch.linspace(0.05, 0.95, n)),
        "the codes",
    ),
    (
        "quantiles (i + 3/8) / (n + 1/4)",
        lambda n: ndtri((torch.arange(n) + 0.375) / (n + 0.25)),
        "the codes",
    ),
    (
        "thirty steps at most",
        lambda n: ndtri((torch.arange(n).double() % 30 + 0.5) / min(n, 30)),
        "the codes",
    ),
    ("a uniform map", lambda n: (2 * halves_of(n) - 1) * 3, "equal dis"),
    ("twice as wide", lambda n: 2 * ndtri(halves_of(n)), "the codes"),
    (
        "Student's quantiles",
        lambda n: torch.tan(math.pi * (halves_of(n) - 0.5)),
        "the codes",
    ),
    (
        "means of the slices' ends",
        lambda n: ndtri(((torch.arange(n) + 0.5) / n).clamp(0.01, 0.99)),
        "the codes",
    ),
    (
        "rounded to two digits",
        lambda n: (ndtri(halves_of(n)) * 50).round() / 50,
        "the codes",
    ),
):

    @wrong("quantile_codes", _text, says=_says)
    def _(n, steps=_steps):
        return on_sheet(steps(n))


@wrong("quantile_codes", "z1 to the left", says="to the left")
def _(n):
    return on_sheet(ndtri(halves_of(n))) * torch.tensor([-1.0, 1.0])


@wrong("quantile_codes", "column by column", says="exchanged")
def _(n):
    return on_sheet(ndtri(halves_of(n))).flip(1)


@wrong("quantile_codes", "codes drawn from the prior", says="the codes")
def _(n):
    return torch.randn(n * n, 2)


# --- new_digits --------------------------------------------------------------


def of_prior(model, n, seed):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, model.n_latent, generator=g)


@right("new_digits", "a generator and the sigmoid")
def _(model, n, seed):
    with torch.no_grad():
        pixels = model.decode(of_prior(model, n, seed)).sigmoid()
    return pixels.view(n, 28, 28)


@right("new_digits", "the global seed and pictures")
def _(model, n, seed):
    torch.manual_seed(seed)
    return pictures(model, torch.randn(n, model.n_latent))


@right("new_digits", "codes of NumPy")
def _(model, n, seed):
    import numpy as np

    z = np.random.default_rng(seed).standard_normal((n, model.n_latent))
    with torch.no_grad():
        drawn = model.decode_mean(torch.tensor(z).float())
    return drawn[:, 0].numpy()


@wrong("new_digits", "redraws digits that exist", says="from the encoder")
def _(model, n, seed):
    torch.manual_seed(seed)
    data = load_digits("builtin", "train")[torch.randint(1438, (n,))]
    with torch.no_grad():
        mu, logvar = model.encode(data.binarized().images.flatten(1) / 255)
    return pictures(model, mu + (logvar / 2).exp() * torch.randn_like(mu))


@wrong("new_digits", "ignores the seed", says="same seed differ")
def _(model, n, seed):
    return pictures(model, torch.randn(n, model.n_latent))


@wrong("new_digits", "takes 0 for no seed", says="seed = 0")
def _(model, n, seed):
    if seed:
        torch.manual_seed(seed)
    return pictures(model, torch.randn(n, model.n_latent))


@wrong("new_digits", "always the same seed", says="use seed")
def _(model, n, seed):
    return pictures(model, of_prior(model, n, 0))


@wrong("new_digits", "uniform codes", says="from N(0, 1)")
def _(model, n, seed):
    g = torch.Generator().manual_seed(seed)
    return pictures(model, torch.rand(n, model.n_latent, generator=g))


@wrong("new_digits", "codes of twice the spread", says="from N(0, 1)")
def _(model, n, seed):
    return pictures(model, 2 * of_prior(model, n, seed))


@wrong("new_digits", "logits instead of pixels", says="decode gives logits")
def _(model, n, seed):
    with torch.no_grad():
        return model.decode(of_prior(model, n, seed)).view(n, 28, 28)


@wrong("new_digits", "pixels from 0 to 255", says="sigmoid as it is")
def _(model, n, seed):
    return 255 * pictures(model, of_prior(model, n, seed))


@wrong("new_digits", "clamps instead of the sigmoid", says="at any code")
def _(model, n, seed):
    with torch.no_grad():
        logits = model.decode(of_prior(model, n, seed))
    return logits.clamp(0, 1).view(n, 28, 28)


@wrong("new_digits", "flips the coins", says="coins were flipped")
def _(model, n, seed):
    torch.manual_seed(seed)
    return pictures(model, torch.randn(n, model.n_latent)).bernoulli()


@wrong("new_digits", "one number for all dimensions", says="not independent")
def _(model, n, seed):
    z = of_prior(model, n, seed)[:, :1].expand(n, model.n_latent)
    return pictures(model, z)


@wrong("new_digits", "one code for all digits", says="have the same code")
def _(model, n, seed):
    return pictures(model, of_prior(model, 1, seed).expand(n, -1))


@wrong("new_digits", "with a channel", says="shape")
def _(model, n, seed):
    return model.decode_mean(of_prior(model, n, seed))


@wrong("new_digits", "rows of pixels", says="shape")
def _(model, n, seed):
    return pictures(model, of_prior(model, n, seed)).flatten(1)


@right("new_digits", "digit by digit, in a list")
def _(model, n, seed):
    generator = torch.Generator()
    generator.manual_seed(seed)
    drawn = []
    for _ in range(n):
        z = torch.randn(1, model.n_latent, generator=generator)
        drawn.append(torch.sigmoid(model.decode(z)).detach().view(28, 28))
    return drawn


@right("new_digits", "the prior of torch.distributions, in double")
def _(model, n, seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        z = Normal(0.0, 1.0).sample((n, model.n_latent))
    pixels = 1 / (1 + (-model.decode(z).detach().double()).exp())
    return pixels.squeeze(1)


def sheet_of(change):
    def new_digits(model, n, seed):
        return pictures(model, change(of_prior(model, n, seed), seed))

    return new_digits


def _heavy(z, seed):
    generator = torch.manual_seed(seed)
    other = torch.randn(3, *z.shape, generator=generator)
    return z / other.square().mean(0).sqrt() / math.sqrt(3)


for _text, _change, _says in (
    ("four fifths of the spread", lambda z, seed: 0.8 * z, "N(0, 1)"),
    ("93 per cent of the spread", lambda z, seed: 0.93 * z, "the codes"),
    ("clamped codes", lambda z, seed: z.clamp(-2, 2), "the codes"),
    ("clamped at 2.5", lambda z, seed: z.clamp(-2.5, 2.5), "the codes"),
    (
        "uniform codes of variance 1",
        lambda z, seed: (torch.special.ndtr(z) - 0.5) * math.sqrt(12),
        "not normal",
    ),
    (
        "codes on a sphere",
        lambda z, seed: z / z.norm(dim=1, keepdim=True) * z.shape[1] ** 0.5,
        "the codes",
    ),
    ("heavy tails", _heavy, "the codes"),
    ("a tenth beside the prior", lambda z, seed: z + 0.1, "the codes"),
    (
        "each digit twice",
        lambda z, seed: (
            torch.cat([z, z])[: len(z)]
            if len(z) < 9
            else z[: len(z) // 2].repeat(2, 1)
        ),
        "used again",
    ),
    (
        "codes and their mirror images",
        lambda z, seed: torch.cat([z[: (len(z) + 1) // 2], -z])[: len(z)],
        "the codes: some",
    ),
    (
        "neighbours alike",
        lambda z, seed: (z + z.roll(1, 0)) / math.sqrt(2),
        "depend on others",
    ),
    (
        "codes that walk",
        lambda z, seed: (
            z.cumsum(0) / torch.arange(1, len(z) + 1)[:, None].sqrt()
        ),
        "codes",
    ),
    (
        "numbers that hang together",
        lambda z, seed: 0.9 * z + 0.1 * z.flip(1),
        "the codes",
    ),
    ("coins for codes", lambda z, seed: z.sign(), "the codes"),
    (
        "the middle for a single digit",
        lambda z, seed: z * (len(z) > 1),
        "n = 1",
    ),
    (
        "half the spread for one digit",
        lambda z, seed: z * (1 if len(z) > 1 else 0.5),
        "n = 1",
    ),
):
    wrong("new_digits", _text, says=_says)(sheet_of(_change))


@wrong("new_digits", "standardised codes", says="Do not standardise")
def _(model, n, seed):
    z = of_prior(model, n, seed)
    z = (z - z.mean(0)) / z.std(0) if n > 2 else z
    return pictures(model, z)


@wrong("new_digits", "ten different sheets", says="use seed")
def _(model, n, seed):
    return pictures(model, of_prior(model, n, seed % 10))


@wrong("new_digits", "a seed that is even", says="use seed")
def _(model, n, seed):
    return pictures(model, of_prior(model, n, seed // 2))


@wrong("new_digits", "codes of three numbers", says="new_digits")
def _(model, n, seed):
    g = torch.Generator().manual_seed(seed)
    return pictures(model, torch.randn(n, 7, generator=g))


@wrong("new_digits", "paper and ink swapped", says="at any code")
def _(model, n, seed):
    return 1 - pictures(model, of_prior(model, n, seed))


@wrong("new_digits", "pictures turned over", says="at any code")
def _(model, n, seed):
    return pictures(model, of_prior(model, n, seed)).flip(2)


@wrong("new_digits", "rounded pixels", says="numbers rounded")
def _(model, n, seed):
    return pictures(model, of_prior(model, n, seed)).round()


# --- training_copies ---------------------------------------------------------


def table(images, train):
    return torch.cdist(images.flatten(1).double(), train.flatten(1).double())


def close(images, train):
    found = table(images, train).square().min(1)
    return found.values, found.indices


def shares(new, test, train):
    edge = close(test, train)[0].quantile(0.05)
    return (close(new, train)[0] < edge).double().mean()


def all_three(nearest=close, share=shares, which=lambda: "B"):
    return {"nearest": nearest, "copied_share": share, "copier": which}


@right("training_copies", "a table of distances")
def several():
    return all_three()


@right("training_copies", "a loop, a sorted list, numbers of Python")
def several():
    def nearest(images, train):
        distances, rows = [], []
        for one in images:
            each = ((train - one) ** 2).sum((1, 2))
            rows.append(int(each.argmin()))
            distances.append(float(each.min()))
        return distances, rows

    def share(new, test, train):
        known = sorted(nearest(test, train)[0])
        edge = known[int(0.05 * len(known))]
        found = [d < edge for d in nearest(new, train)[0]]
        return sum(found) / len(found)

    return all_three(nearest, share, lambda: " b ")


@wrong("training_copies", "the root of the squares", says="the root")
def several():
    def nearest(images, train):
        distances, rows = close(images, train)
        return distances.sqrt(), rows

    return all_three(nearest)


@wrong("training_copies", "averages the pixels", says="averages over the pix")
def several():
    def nearest(images, train):
        distances, rows = close(images, train)
        return distances / images[0].numel(), rows

    return all_three(nearest)


@wrong("training_copies", "the wrong way round", says="other way round")
def several():
    def nearest(images, train):
        found = table(images, train).square().min(0)
        return found.values, found.indices

    return all_three(nearest)


@wrong("training_copies", "the rows of the farthest", says="argmin")
def several():
    def nearest(images, train):
        return close(images, train)[0], table(images, train).argmax(1)

    return all_three(nearest)


@wrong("training_copies", "passes over copies", says="its distance is 0")
def several():
    def nearest(images, train):
        found = table(images, train).square()
        found[found == 0] = math.inf
        return found.min(1)

    return all_three(nearest)


@wrong("training_copies", "distances only", says="expected 2 results")
def several():
    return all_three(lambda images, train: close(images, train)[0])


@wrong("training_copies", "the smallest test distance", says="quantile")
def several():
    def share(new, test, train):
        edge = close(test, train)[0].min()
        return (close(new, train)[0] < edge).double().mean()

    return all_three(share=share)


@wrong("training_copies", "the mean test distance", says="quantile")
def several():
    def share(new, test, train):
        edge = close(test, train)[0].mean()
        return (close(new, train)[0] < edge).double().mean()

    return all_three(share=share)


@wrong("training_copies", "the quantile of the new digits", says="copied_sh")
def several():
    def share(new, test, train):
        found = close(new, train)[0]
        return (found <= found.quantile(0.05)).double().mean()

    return all_three(share=share)


@wrong("training_copies", "as near as the quantile", says="as near as all")
def several():
    def share(new, test, train):
        edge = close(test, train)[0].quantile(0.05)
        return (close(new, train)[0] <= edge).double().mean()

    return all_three(share=share)


@wrong("training_copies", "a number, no share", says="this is a number")
def several():
    return all_three(
        share=lambda new, test, train: shares(new, test, train) * len(new)
    )


@wrong("training_copies", "those that are no copies", says="are no copies")
def several():
    return all_three(
        share=lambda new, test, train: 1 - shares(new, test, train)
    )


@wrong("training_copies", "picks the other sheet", says="A' is not right")
def several():
    return all_three(which=lambda: "A")


@right("training_copies", "both results in one tensor")
def several():
    def nearest(images, train):
        a, b = images.flatten(1).double(), train.flatten(1).double()
        each = ((a[:, None] - b) ** 2).sum(-1)
        return torch.stack([each.amin(1), each.argmin(1).double()])

    def share(new, test, train):
        usual, found = (nearest(v, train)[0] for v in (test, new))
        return [(found < usual.quantile(0.05)).double().mean()]

    return all_three(nearest, share, lambda: "B ")


@right("training_copies", "NumPy and percentiles")
def several():
    def nearest(images, train):
        a, b = (v.flatten(1).double().numpy() for v in (images, train))
        each = np.stack([((b - one) ** 2).sum(1) for one in a])
        return each.min(1), each.argmin(1)

    def share(new, test, train):
        edge = np.percentile(nearest(test, train)[0], 5)
        return np.mean(nearest(new, train)[0] < edge)

    return all_three(nearest, share)


def edge_at(rule, of=lambda new, test, train: close(test, train)[0]):
    def share(new, test, train):
        edge = rule(of(new, test, train))
        return (close(new, train)[0] < edge).double().mean()

    return share


def _without_copies(distances):
    return distances[distances > 0].quantile(0.05)


for _text, _share in (
    ("the quantile 0.04", edge_at(lambda d: d.quantile(0.04))),
    ("the quantile 0.06", edge_at(lambda d: d.quantile(0.06))),
    ("the quantile 0.01", edge_at(lambda d: d.quantile(0.01))),
    ("the quantile 0.1", edge_at(lambda d: d.quantile(0.1))),
    ("the quantile 0.95", edge_at(lambda d: d.quantile(0.95))),
    ("the quantile 0.5", edge_at(lambda d: d.median())),
    ("a twentieth of the mean", edge_at(lambda d: d.mean() / 20)),
    ("two deviations below", edge_at(lambda d: d.mean() - 1.645 * d.std())),
    (
        "the tenth smallest",
        edge_at(lambda d: d.sort().values[min(10, len(d) - 1)]),
    ),
    (
        "the distances of both",
        edge_at(
            lambda d: d.quantile(0.05),
            lambda new, test, train: torch.cat(
                [close(test, train)[0], close(new, train)[0]]
            ),
        ),
    ),
    (
        "distances of test and new",
        edge_at(
            lambda d: d.quantile(0.05),
            lambda new, test, train: close(test, new)[0],
        ),
    ),
    (
        "distances among training digits",
        edge_at(
            lambda d: d.quantile(0.05),
            lambda new, test, train: table(train, train).flatten().square(),
        ),
    ),
    ("test digits that are no copies", edge_at(_without_copies)),
    ("a fixed threshold", edge_at(lambda d: 5.0)),
    ("per cent", lambda *given: 100 * shares(*given)),
    (
        "closer to training than to test digits",
        lambda new, test, train: (
            (close(new, train)[0] < close(new, test)[0]).double().mean()
        ),
    ),
):

    @wrong("training_copies", _text, says="copied_share")
    def several(share=_share):
        return all_three(share=share)


for _text, _near in (
    (
        "largest pixel difference",
        lambda a, b: torch.cdist(a.flatten(1), b.flatten(1), math.inf).min(1),
    ),
    (
        "absolute differences",
        lambda a, b: torch.cdist(a.flatten(1), b.flatten(1), 1).min(1),
    ),
    ("the median training digit", lambda a, b: table(a, b).square().median(1)),
    (
        "the first training digit",
        lambda a, b: (table(a, b)[:, 0].square(), torch.zeros(len(a))),
    ),
    ("rows one too high", lambda a, b: (close(a, b)[0], close(a, b)[1] + 1)),
    ("rows before distances", lambda a, b: close(a, b)[::-1]),
    ("one row for all", lambda a, b: (close(a, b)[0], close(a, b)[1][:1])),
    (
        "a mean over the rows of pixels",
        lambda a, b: (close(a, b)[0] / a.shape[1], close(a, b)[1]),
    ),
):

    @wrong("training_copies", _text, says="the ")
    def several(near=_near):
        return all_three(near)


# --- more_dimensions ---------------------------------------------------------


def guesses():
    return {"reconstruction": "falls", "kl": "rises", "elbo": "rises"}


def trained(n_latent, train):
    model = VAE(n_latent, hidden=(64,))
    fit(model, train, CONFIG, progress=False)
    return model


def scores(n_latent, train, test):
    return evaluate(trained(n_latent, train), test)


def told(measured=scores, predicted=guesses):
    return {"predicted": predicted, "measured": measured}


@right("more_dimensions", "evaluate")
def several():
    return told()


@right("more_dimensions", "by hand, with other noise; a wrong prediction")
def several():
    def measured(n_latent, train, test):
        model = trained(n_latent, train)
        x = test.binarized().images.flatten(1) / 255
        with torch.no_grad():
            terms = model(x)
        error, kl = (terms[k].mean() for k in ("reconstruction", "kl"))
        return {"kl": kl, "reconstruction": error, "elbo": -(error + kl)}

    return told(measured, lambda: dict.fromkeys(guesses(), "Rises"))


@wrong("more_dimensions", "no prediction", says="no prediction yet")
def several():
    return told(predicted=lambda: None)


@wrong("more_dimensions", "predicts something else", says="'falls' or 'rises'")
def several():
    return told(predicted=lambda: dict.fromkeys(guesses(), "stays"))


@wrong("more_dimensions", "scores the training digits", says="training digits")
def several():
    return told(lambda n, train, test: scores(n, train, train))


@wrong("more_dimensions", "ignores the dimensions", says="Train a VAE")
def several():
    return told(lambda n, train, test: scores(16, train, test))


@wrong("more_dimensions", "does not train", says="Train a VAE")
def several():
    return told(
        lambda n, train, test: evaluate(VAE(n, hidden=(64,)), test),
    )


@wrong("more_dimensions", "the loss for the ELBO", says="the sign")
def several():
    def measured(n_latent, train, test):
        found = scores(n_latent, train, test)
        return found | {"elbo": -found["elbo"]}

    return told(measured)


@wrong("more_dimensions", "averages the pixels", says="mean over the pixels")
def several():
    def measured(n_latent, train, test):
        found = scores(n_latent, train, test)
        return found | {"reconstruction": found["reconstruction"] / 784}

    return told(measured)


@wrong("more_dimensions", "made-up numbers", says="reconstruction for")
def several():
    return told(
        lambda n, train, test: {"reconstruction": 90, "kl": 9, "elbo": -99}
    )


@right("more_dimensions", "a loop over the test digits, as tensors of one")
def several():
    def measured(n_latent, train, test):
        model = trained(n_latent, train)
        x = test.binarized(3).images.flatten(1) / 255
        error, kl = [], []
        for one in x:
            terms = model(one[None])
            error.append(terms["reconstruction"].detach())
            kl.append(terms["kl"].detach())
        error, kl = torch.stack(error).mean(0), torch.stack(kl).mean(0)
        return {"reconstruction": error, "kl": kl, "elbo": -error - kl}

    return told(measured)


def by_model(made, data=lambda train, test: train, config=CONFIG):
    def measured(n_latent, train, test):
        model = made(n_latent)
        fit(model, data(train, test), config, progress=False)
        return evaluate(model, test)

    return measured


def _changed(**options):
    return dataclasses.replace(CONFIG, **options)


def plain(n_latent):
    return VAE(n_latent, hidden=(64,))


def _seen(n_latent, train, test):
    """What the messages of an older check gave away."""
    known = {2: (182.0, 5.9, -188.0), 8: (170.0, 11.0, -181.0)}
    found = known.get(n_latent, known[2 if n_latent < 5 else 8])
    return dict(zip(guesses(), found))


for _text, _measured in (
    ("trains on the test digits", by_model(plain, lambda train, test: test)),
    ("one pass over the digits", by_model(plain, config=_changed(epochs=1))),
    ("half of the training digits", by_model(plain, lambda a, b: a[:40])),
    ("a hidden layer of four", by_model(lambda n: VAE(n, hidden=(4,)))),
    ("one dimension too many", by_model(lambda n: plain(3 * n + 4))),
    ("two dimensions", by_model(lambda n: plain(1 + 0 * n))),
    (
        "a KL of four times the price",
        by_model(lambda n: VAE(n, hidden=(64,), beta=4.0)),
    ),
    ("numbers from the messages", _seen),
    (
        "per pixel",
        lambda *given: {k: v / 784 for k, v in scores(*given).items()},
    ),
    (
        "the sum over the digits",
        lambda n, train, test: {
            k: v * len(test) for k, v in scores(n, train, test).items()
        },
    ),
    (
        "in bits",
        lambda *given: {k: v / math.log(2) for k, v in scores(*given).items()},
    ),
    (
        "the loss without its KL",
        lambda *given: (
            lambda found: found | {"elbo": -found["reconstruction"]}
        )(scores(*given)),
    ),
    (
        "the code at its mean, no KL",
        lambda *given: scores(*given) | {"kl": 0.0},
    ),
):

    @wrong("more_dimensions", _text, says="dimension")
    def several(measured=_measured):
        return told(measured)


# --- dead_code ---------------------------------------------------------------


def entropies(x):
    p = x.mean(0)
    return torch.special.entr(p) + torch.special.entr(1 - p)


def runs():
    return {
        "A": "dimensions averaged",
        "B": "pixels averaged",
        "C": "both summed",
    }


def pair(best, which=runs):
    return {"best_without_code": best, "diagnosed": which}


@right("dead_code", "entr")
def several():
    return pair(lambda x: entropies(x).sum())


@right("dead_code", "the mean cross-entropy at the mean, a float; capitals")
def several():
    def best(x):
        p = x.double().mean(0)
        error = torch.xlogy(x.double(), p) + torch.xlogy(1 - x.double(), 1 - p)
        return -error.sum(1).mean().item()

    return pair(best, lambda: {k: v.upper() for k, v in runs().items()})


@right("dead_code", "a loop that passes over certain pixels")
def several():
    def best(x):
        total = 0.0
        for p in x.mean(0).tolist():
            if 0 < p < 1:
                total -= p * math.log(p) + (1 - p) * math.log(1 - p)
        return total

    return pair(best)


@wrong("dead_code", "0 log 0", says="0 times log 0")
def several():
    def best(x):
        p = x.mean(0)
        return -(p * p.log() + (1 - p) * (1 - p).log()).sum()

    return pair(best)


@wrong("dead_code", "coin flips", says="coin flips, which know nothing")
def several():
    return pair(lambda x: x.shape[1] * math.log(2))


@wrong("dead_code", "one probability for all pixels", says="one probability")
def several():
    def best(x):
        return x.shape[1] * entropies(x.reshape(-1, 1)).sum()

    return pair(best)


@wrong("dead_code", "averages the pixels", says="averages over the pixels")
def several():
    return pair(lambda x: entropies(x).mean())


@wrong("dead_code", "in bits", says="in bits")
def several():
    return pair(lambda x: entropies(x).sum() / math.log(2))


@wrong("dead_code", "forgets the paper", says="paper is forgotten")
def several():
    return pair(lambda x: torch.special.entr(x.mean(0)).sum())


@wrong("dead_code", "summed over the digits", says="sum over all digits")
def several():
    return pair(lambda x: len(x) * entropies(x).sum())


@wrong("dead_code", "takes the cheap code for the right one", says="not every")
def several():
    return pair(
        lambda x: entropies(x).sum(),
        lambda: runs() | {"A": "both summed", "C": "dimensions averaged"},
    )


@wrong("dead_code", "does not see the dead code", says="not every")
def several():
    return pair(
        lambda x: entropies(x).sum(),
        lambda: runs() | {"B": "dimensions averaged"},
    )


@wrong("dead_code", "names two runs", says="with A, B and C")
def several():
    return pair(lambda x: entropies(x).sum(), lambda: {"A": "both summed"})


@right("dead_code", "clamped probabilities")
def several():
    def best(x):
        p = x.mean(0).clamp(1e-6, 1 - 1e-6)
        return -(p * p.log() + (1 - p) * (1 - p).log()).sum()

    return pair(best)


@right("dead_code", "a small number in the logarithms, as a list")
def several():
    def best(x):
        p = x.numpy().mean(0).astype(float)
        each = p * np.log(p + 1e-12) + (1 - p) * np.log(1 - p + 1e-12)
        return [-each.sum()]

    return pair(best, lambda: {k: f" {v} " for k, v in runs().items()})


@right("dead_code", "the cross-entropy of torch, with logits of the mean")
def several():
    def best(x):
        a = torch.logit(x.double().mean(0).clamp(1e-9, 1 - 1e-9))
        wide = a.expand(x.shape)
        error = binary_cross_entropy_with_logits(
            wide, x.double(), reduction="sum"
        )
        return error / len(x)

    return pair(best)


def coin(p):
    return (torch.special.entr(p) + torch.special.entr(1 - p)).sum()


for _text, _best in (
    ("clamped at 0.01", lambda x: coin(x.mean(0).clamp(0.01, 0.99))),
    ("clamped at 0.001", lambda x: coin(x.mean(0).clamp(1e-3, 1 - 1e-3))),
    (
        "one digit more of each kind",
        lambda x: coin((x.sum(0) + 1) / (len(x) + 2)),
    ),
    ("half a digit more", lambda x: coin((x.sum(0) + 0.5) / (len(x) + 1))),
    (
        "passes over pixels that are mostly paper",
        lambda x: coin(torch.where(x.mean(0) < 0.15, 0.0, x.mean(0))),
    ),
    ("the variance", lambda x: (x.mean(0) * (1 - x.mean(0))).sum()),
    (
        "the best sharp picture",
        lambda x: torch.minimum(x.mean(0), 1 - x.mean(0)).sum(),
    ),
    (
        "the median picture",
        lambda x: (x - x.median(0).values).abs().sum(1).mean(),
    ),
    ("the first digit", lambda x: coin(x[:1].mean(0))),
    ("half of the digits", lambda x: coin(x[: len(x) // 2 + 1].mean(0))),
    (
        "divides by N - 1",
        lambda x: coin((x.sum(0) / max(1, len(x) - 1)).clamp(0, 1)),
    ),
    (
        "a share for each digit",
        lambda x: x.shape[1] * coin(x.mean(1)) / len(x),
    ),
    ("158", lambda x: 158.0),
    ("0.2 for each pixel", lambda x: 0.2 * x.shape[1]),
):

    @wrong("dead_code", _text, says="the loss")
    def several(best=_best):
        return pair(best)


for _order in ("ACB", "BAC", "BCA", "CAB", "CBA"):

    @wrong("dead_code", f"the runs as {_order}", says="not every answer")
    def several(order=_order):
        kinds = [runs()[k] for k in order]
        return pair(
            lambda x: entropies(x).sum(), lambda: dict(zip("ABC", kinds))
        )


@wrong("dead_code", "the same for all runs", says="not every answer")
def several():
    return pair(
        lambda x: entropies(x).sum(),
        lambda: dict.fromkeys("ABC", "both summed"),
    )
