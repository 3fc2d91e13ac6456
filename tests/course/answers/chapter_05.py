"""Answers to the exercises of chapter 5."""

import copy
import math

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


@right("vae_loss", "the model's own loss with this noise")
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
    data = load_digits("builtin", "train")[torch.randperm(1438)[:n]]
    with torch.no_grad():
        mu, logvar = model.encode(data.binarized().images.flatten(1) / 255)
    return pictures(model, mu + (logvar / 2).exp() * torch.randn_like(mu))


@wrong("new_digits", "ignores the seed", says="same seed differ")
def _(model, n, seed):
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
        found = [d <= edge for d in nearest(new, train)[0]]
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


@wrong("training_copies", "distances only", says="expected two tensors")
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


@wrong("more_dimensions", "ignores the dimensions", says="2 dimensions")
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


@wrong("more_dimensions", "made-up numbers", says="reconstruction for 2")
def several():
    return told(
        lambda n, train, test: {"reconstruction": 90, "kl": 9, "elbo": -99}
    )


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


@wrong("dead_code", "takes the cheap code for the right one", says="cheap")
def several():
    return pair(
        lambda x: entropies(x).sum(),
        lambda: runs() | {"A": "both summed", "C": "dimensions averaged"},
    )


@wrong("dead_code", "does not see the dead code", says="from the first pass")
def several():
    return pair(
        lambda x: entropies(x).sum(),
        lambda: runs() | {"B": "dimensions averaged"},
    )


@wrong("dead_code", "names two runs", says="with A, B and C")
def several():
    return pair(lambda x: entropies(x).sum(), lambda: {"A": "both summed"})
