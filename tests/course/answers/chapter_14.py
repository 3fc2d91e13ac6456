"""Answers to the exercises of chapter 14."""

import math

import torch
from torch import nn
from torch.distributions import Normal, kl_divergence
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from answers import right, wrong
from minivae.objective import bernoulli_log_likelihood

# --- an eleventh patient


def patient(**others):
    """A right answer, with some of its functions replaced."""

    def patient_terms(model, x, noise):
        terms = model(x, noise=noise)
        kl = terms["kl"] / model.n_latent
        return terms | {"kl": kl, "loss": terms["reconstruction"] + kl}

    return {
        "predicted_ratio": lambda: 2.5,
        "refusing_test": lambda: "KL",
        "patient_terms": patient_terms,
        "same_as_beta": lambda n_latent: 1 / n_latent,
    } | others


@right("eleventh_patient", "divides the KL of the model")
def several():
    return patient()


@right("eleventh_patient", "from the definition; a wrong prediction")
def several():
    def patient_terms(model, x, noise):
        mu, logvar = model.encode(x)
        z = mu + (logvar / 2).exp() * noise
        kl = 0.5 * (mu.square() + logvar.exp() - 1 - logvar).mean(1)
        price = -bernoulli_log_likelihood(x, model.decode(z).flatten(1))
        return {"loss": price + kl, "kl": kl, "reconstruction": price}

    return patient(
        patient_terms=patient_terms,
        predicted_ratio=lambda: torch.tensor(0.125),
        refusing_test=lambda: "kl",
        same_as_beta=lambda n_latent: torch.tensor(1.0) / n_latent,
    )


def terms_of_patient(change):
    def several():
        def patient_terms(model, x, noise):
            with torch.no_grad():
                return change(model(x, noise=noise), model, x)

        return patient(patient_terms=patient_terms)

    return several


wrong("eleventh_patient", "sums the KL", says="summed over the dimensions")(
    terms_of_patient(lambda terms, model, x: terms)
)
wrong(
    "eleventh_patient",
    "changes the KL and forgets the loss",
    says="the loss has the summed KL",
)(terms_of_patient(lambda t, model, x: t | {"kl": t["kl"] / model.n_latent}))
wrong(
    "eleventh_patient",
    "averages over the batch as well",
    says="averaged over the batch",
)(
    terms_of_patient(
        lambda t, model, x: t | {"kl": (t["kl"] / model.n_latent).mean()}
    )
)
wrong(
    "eleventh_patient",
    "averages the reconstruction over the pixels too",
    says="only the KL is",
)(
    terms_of_patient(
        lambda t, model, x: (
            t | {"reconstruction": t["reconstruction"] / x.shape[1]}
        )
    )
)
wrong("eleventh_patient", "returns the loss alone", says="return a dict")(
    terms_of_patient(lambda t, model, x: t["loss"])
)


@wrong("eleventh_patient", "beta upside down", says="beta is below one")
def several():
    return patient(same_as_beta=lambda n_latent: n_latent)


@wrong("eleventh_patient", "a constant beta", says="same_as_beta(")
def several():
    return patient(same_as_beta=lambda n_latent: 1 / 8)


@wrong(
    "eleventh_patient",
    "trusts the zero network",
    says="the average of zeros is 0 too",
)
def several():
    return patient(refusing_test=lambda: "zero network")


@wrong("eleventh_patient", "no prediction", says="found None")
def several():
    return patient(predicted_ratio=lambda: None)


# --- two wrongs and a third


def noisy_loss(kl, weight=1.0, width=0.5, cut=False):
    def mended_loss(model, x, noise):
        mu, logvar = model.encode(x)
        z = mu
        if width:
            z = mu + (width * logvar).exp() * noise
        z = z.detach() if cut else z
        log_p = -binary_cross_entropy_with_logits(
            model.decode(z).flatten(1), x, reduction="none"
        )
        return -log_p.sum(-1) + weight * kl(mu, logvar)

    return mended_loss


def no_half(mu, logvar):
    return (mu.square() + logvar.exp() - 1 - logvar).sum(-1)


def by_torch(mu, logvar):
    q = Normal(mu, (logvar / 2).exp())
    return kl_divergence(q, Normal(0.0, 1.0)).sum(-1)


@right("two_wrongs", "the three lines mended")
def several():
    def mended_kl(mu, logvar):
        return no_half(mu, logvar) / 2

    return {"mended_kl": mended_kl, "mended_loss": noisy_loss(mended_kl)}


@right("two_wrongs", "torch.distributions and softplus")
def several():
    def mended_loss(model, x, noise):
        mu, logvar = model.encode(x)
        logits = model.decode(mu + noise * logvar.exp().sqrt()).view(x.shape)
        price = softplus(logits) - x * logits
        return by_torch(mu, logvar) + price.sum(1)

    return {"mended_kl": by_torch, "mended_loss": mended_loss}


def two(kl, *args, **kwargs):
    def several():
        return {"mended_kl": kl, "mended_loss": noisy_loss(*args, **kwargs)}

    return several


wrong(
    "two_wrongs",
    "mends the sampler alone",
    says="the factor one half is still missing",
)(two(no_half, no_half, 0.5))
wrong(
    "two_wrongs",
    "mends the KL and leaves its weight",
    says="Likely: the KL still has the weight one half",
)(two(by_torch, by_torch, 0.5))
wrong(
    "two_wrongs",
    "mends KL and weight and leaves the sampler",
    says="Likely: mended_loss still takes exp(logvar) for sigma",
)(two(by_torch, by_torch, width=1.0))
wrong(
    "two_wrongs",
    "mends the KL alone",
    says="weight one half, and mended_loss still takes exp(logvar)",
)(two(by_torch, by_torch, 0.5, width=1.0))
wrong(
    "two_wrongs",
    "the loss takes a KL that is not mended",
    says="the KL counts twice",
)(two(by_torch, no_half))
wrong("two_wrongs", "draws the code outside the graph", says="a detach()")(
    two(by_torch, by_torch, cut=True)
)
wrong("two_wrongs", "no noise at all", says="the code has no noise")(
    two(by_torch, by_torch, width=0)
)


@wrong("two_wrongs", "a loss without a gradient", says="no gradient flows")
def several():
    loss = torch.no_grad()(noisy_loss(by_torch))
    return {"mended_kl": by_torch, "mended_loss": loss}


# --- a seventh test


def slopes(
    double=True, new_noise=False, mean=True, h=1e-5, way=2.0, sides=(1, -1)
):
    def gradient_two_ways(kind, x, seed):
        model = kind(n_latent=2, hidden=(), shape=x.shape[1:], seed=seed)
        model = model.double() if double else model
        pixels = x if double else x.float()
        noise = torch.Generator()

        def loss():
            if not new_noise:
                noise.manual_seed(seed)
            each = model(pixels, noise=noise)["loss"]
            return each.mean() if mean else each.sum()

        bias = model.encoder[-1].bias
        noise.manual_seed(seed)
        (exact,) = torch.autograd.grad(loss(), bias)
        rough = torch.zeros_like(bias)
        for i in range(len(bias)):
            found = []
            for side in sides:
                with torch.no_grad():
                    bias[i] += side * h
                    found.append(loss())
                    bias[i] -= side * h
            rough[i] = (found[0] - found[1]).detach() / (way * h)
        return exact, rough.detach()

    return gradient_two_ways


def seventh(test, letters="E"):
    def several():
        return {"gradient_two_ways": test, "refused": lambda: letters}

    return several


right("gradient_test", "central differences")(seventh(slopes()))


@right("gradient_test", "functional_call, and numbers instead of tensors")
def several():
    def gradient_two_ways(kind, x, seed):
        model = kind(
            n_latent=2, hidden=(), shape=(x.shape[1],), seed=seed
        ).double()
        start = model.encoder[-1].bias.detach().clone()

        def loss(bias):
            noise = torch.Generator().manual_seed(seed)
            old = model.encoder[-1].bias
            del model.encoder[-1]._parameters["bias"]
            model.encoder[-1].bias = bias
            value = model(x, noise=noise)["loss"].mean()
            del model.encoder[-1].bias
            model.encoder[-1].bias = nn.Parameter(old.detach())
            return value

        bias = start.clone().requires_grad_()
        loss(bias).backward()
        steps = 1e-4 * torch.eye(4, dtype=torch.float64)
        rough = [
            ((loss(start + s) - loss(start - s)) / 2e-4).item() for s in steps
        ]
        return bias.grad.tolist(), rough

    return {"gradient_two_ways": gradient_two_ways, "refused": lambda: "e"}


wrong("gradient_test", "the sum over the batch", says="take the mean")(
    seventh(slopes(mean=False))
)
wrong("gradient_test", "divides by h, not 2 h", says="the whole way")(
    seventh(slopes(way=1.0))
)
wrong("gradient_test", "other noise on each side", says="the same noise")(
    seventh(slopes(new_noise=True))
)
wrong("gradient_test", "single precision", says="double precision")(
    seventh(slopes(double=False, h=1e-6))
)
wrong("gradient_test", "a step that is too large", says="a small step")(
    seventh(slopes(h=1.0))
)
wrong("gradient_test", "also the patients with a wrong loss", says="B, D, H")(
    seventh(slopes(), "BDEH")
)
wrong("gradient_test", "refuses nobody", says="outside the graph")(
    seventh(slopes(), "")
)


@wrong(
    "gradient_test",
    "returns the gradient of autograd twice",
    says="must be computed apart",
)
def several():
    def twice(kind, x, seed):
        exact, _ = slopes()(kind, x, seed)
        return exact, exact

    return seventh(twice)()


@wrong("gradient_test", "one number for both", says="return two tensors")
def several():
    def gap(kind, x, seed):
        exact, rough = slopes()(kind, x, seed)
        return (exact - rough).abs().max()

    return seventh(gap)()


# --- the bound of the code


def nearest(drawn, originals):
    hits = torch.cdist(drawn, originals).argmin(1) == torch.arange(len(drawn))
    return hits.double().mean()


def fano(n, share):
    doubt = -sum(p * math.log(p) for p in (share, 1 - share) if p > 0)
    return math.log(n) - doubt - (1 - share) * math.log(n - 1)


def capacity(**others):
    return {
        "share_recognised": nearest,
        "least_nats": fano,
        "charges_too_little": lambda kl, n, share: kl < fano(n, share),
    } | others


@right("code_capacity", "cdist and the formula")
def several():
    return capacity()


@right("code_capacity", "a loop, xlogy, a tensor for an answer")
def several():
    def share_recognised(drawn, originals):
        hits = 0
        for i, row in enumerate(drawn):
            hits += int((originals - row).square().sum(1).argmin()) == i
        return hits / len(drawn)

    def least_nats(n, share):
        p = torch.tensor([share, *[(1 - share) / (n - 1)] * (n - 1)]).double()
        return math.log(n) + torch.special.xlogy(p, p).sum()

    def charges_too_little(kl, n, share):
        return torch.tensor(kl) < least_nats(n, share)

    return capacity(
        share_recognised=share_recognised,
        least_nats=least_nats,
        charges_too_little=charges_too_little,
    )


def bound(change):
    def several():
        return capacity(least_nats=change)

    return several


def doubt(share):
    return -sum(p * math.log(p) for p in (share, 1 - share) if p > 0)


@wrong(
    "code_capacity",
    "the nearest reconstruction of each original",
    says="nearest original of each reconstruction",
)
def several():
    return capacity(share_recognised=lambda a, b: nearest(b, a))


@wrong("code_capacity", "counts instead of a share", says="how many")
def several():
    return capacity(share_recognised=lambda a, b: len(a) * nearest(a, b))


@wrong(
    "code_capacity",
    "the largest product for the smallest distance",
    says="the largest product",
)
def several():
    def share_recognised(drawn, originals):
        best = (drawn @ originals.T).argmax(1)
        return (best == torch.arange(len(drawn))).double().mean()

    return capacity(share_recognised=share_recognised)


wrong("code_capacity", "in bits", says="this is in bits")(
    bound(lambda n, s: fano(n, s) / math.log(2))
)
wrong("code_capacity", "log n for any share", says="misses are not counted")(
    bound(lambda n, s: math.log(n))
)
wrong("code_capacity", "forgets the doubt", says="h, is missing")(
    bound(lambda n, s: fano(n, s) + doubt(s))
)
wrong("code_capacity", "log n for a miss", says="leaves n - 1 originals")(
    bound(lambda n, s: s * math.log(n) - doubt(s))
)


@wrong("code_capacity", "0 log 0 is NaN", says="NaN")
def several():
    def least_nats(n, share):
        p = torch.tensor([share, 1 - share]).double()
        return (
            math.log(n)
            + (p * p.log()).sum()
            - (1 - share) * math.log(max(2, n - 1))
        )

    return capacity(least_nats=least_nats)


@wrong("code_capacity", "compares with log n", says="not with log n")
def several():
    return capacity(charges_too_little=lambda kl, n, share: kl < math.log(n))


@wrong("code_capacity", "always suspicious", says="expected False")
def several():
    return capacity(charges_too_little=lambda kl, n, share: True)


# --- five strangers


def named(**others):
    found = {
        "P": "KL over batch",
        "Q": "no noise",
        "R": "detached code",
        "S": "no half",
        "T": "log sigma",
    }

    def several():
        return {"diagnosis": lambda: found | others}

    return several


right("five_strangers", "all five")(named())
right("five_strangers", "in other letters")(
    named(S="No Half", P=" kl over batch ")
)
wrong("five_strangers", "shared noise for none", says="'shared noise' is not")(
    named(Q="shared noise")
)
wrong("five_strangers", "the wrong unit for R", says="a loss below one")(
    named(R="mean over pixels")
)
wrong("five_strangers", "half and log sigma swapped", says="patient S")(
    named(S="log sigma", T="no half")
)
wrong("five_strangers", "a fault of no list", says="expected one of")(
    named(P="posterior collapse")
)
wrong("five_strangers", "two noises swapped for T", says="patient T")(
    named(T="shared noise")
)


@wrong("five_strangers", "only the first", says="no answer for Q, R, S, T")
def several():
    return {"diagnosis": lambda: {"P": "KL over batch"}}


@wrong("five_strangers", "a list", says="return a dict")
def several():
    return {"diagnosis": lambda: ["KL over batch"]}
