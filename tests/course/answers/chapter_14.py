"""Answers to the exercises of chapter 14."""

import math

import numpy as np
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from answers import right, wrong
from minivae.models import VAE
from minivae.objective import bernoulli_log_likelihood


def given(objects):
    """What `right` and `wrong` take for all objects of an answer."""

    def several():
        return objects

    return several


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
    says="is not right",
)
def several():
    return patient(refusing_test=lambda: "zero network")


@wrong("eleventh_patient", "no prediction", says="found None")
def several():
    return patient(predicted_ratio=lambda: None)


@wrong("eleventh_patient", "a negative prediction", says="is not positive")
def several():
    return patient(predicted_ratio=lambda: -2.5)


@right("eleventh_patient", "a loop over digits, and any prediction")
def several():
    def patient_terms(model, x, noise):
        model.eval()
        mu, logvar = model.encode(x)
        q = Normal(mu, logvar.exp().sqrt())
        logits = model.decode(q.mean + q.stddev * noise).flatten(1)
        price = binary_cross_entropy_with_logits(logits, x, reduction="none")
        price = price.sum(1)
        kl = kl_divergence(q, Normal(0.0, 1.0)).mean(1)
        return {
            "kl": tuple(kl),
            "reconstruction": list(price),
            "loss": torch.stack([a + b for a, b in zip(price, kl)]),
        }

    return patient(
        patient_terms=patient_terms,
        predicted_ratio=lambda: 40,
        refusing_test=lambda: " KL ",
        same_as_beta=lambda n_latent: np.float32(1) / n_latent,
    )


def of_patient(text, says, change):
    wrong("eleventh_patient", text, says=says)(
        given(
            patient(
                patient_terms=lambda model, x, noise: change(
                    model(x, noise=noise), model, x, noise
                )
            )
        )
    )


def mended(terms, kl):
    return terms | {"kl": kl, "loss": terms["reconstruction"] + kl}


def cut(key):
    """The right values, one of them without a gradient."""

    def change(terms, model, x, noise):
        found = mended(terms, terms["kl"] / model.n_latent)
        return found | {key: found[key].detach()}

    return change


def no_gradient(terms, model, x, noise):
    found = mended(terms, terms["kl"] / model.n_latent)
    return {k: torch.tensor(v.tolist()) for k, v in found.items()}


def loss_of_detached_kl(terms, model, x, noise):
    kl = terms["kl"] / model.n_latent
    return mended(terms, kl) | {"loss": terms["reconstruction"] + kl.detach()}


def loss_of_detached_code(terms, model, x, noise):
    mu, logvar = model.encode(x)
    z = (mu + (logvar / 2).exp() * noise).detach()
    price = -bernoulli_log_likelihood(x, model.decode(z).flatten(1))
    return mended({"reconstruction": price}, terms["kl"] / model.n_latent)


of_patient("nothing has a gradient", "no gradient flows", no_gradient)
of_patient("a loss without a gradient", "no gradient flows", cut("loss"))
of_patient("a KL without a gradient", "no gradient flows", cut("kl"))
of_patient(
    "a reconstruction without a gradient",
    "no gradient flows",
    cut("reconstruction"),
)
of_patient(
    "a loss that does not train the KL",
    "the gradient",
    loss_of_detached_kl,
)
of_patient(
    "a code outside the graph",
    "the gradient",
    loss_of_detached_code,
)


def with_clamped_spread(terms, model, x, noise):
    mu, logvar = model.encode(x)
    logvar = logvar.clamp(-10, 10)
    kl = 0.5 * (mu.square() + logvar.exp() - 1 - logvar).mean(1)
    return mended(terms, kl)


def with_probabilities_of(terms, model, x, noise):
    mu, logvar = model.encode(x)
    p = model.decode_mean(mu + (logvar / 2).exp() * noise).flatten(1)
    price = nn.functional.binary_cross_entropy(p, x, reduction="none").sum(1)
    kl = terms["kl"] / model.n_latent
    return {"reconstruction": price, "kl": kl, "loss": price + kl}


of_patient("clamped log variances", "the KL of", with_clamped_spread)
of_patient("probabilities", "the reconstruction", with_probabilities_of)
of_patient(
    "always eight dimensions",
    "the KL of the patient",
    lambda t, m, x, e: mended(t, t["kl"] / 8),
)
of_patient(
    "divides by the size of the batch",
    "the KL of the patient",
    lambda t, m, x, e: mended(t, t["kl"] / len(x)),
)
of_patient(
    "divides by the pixels",
    "the KL of the patient",
    lambda t, m, x, e: mended(t, t["kl"] / x.shape[1]),
)
of_patient(
    "divides by the root of the dimensions",
    "the KL of the patient",
    lambda t, m, x, e: mended(t, t["kl"] / m.n_latent**0.5),
)
of_patient(
    "one digit is healthy",
    "the KL of the patient",
    lambda t, m, x, e: t if len(x) == 1 else mended(t, t["kl"] / m.n_latent),
)
of_patient(
    "averages the loss too",
    "the loss of the patient",
    lambda t, m, x, e: (
        mended(t, t["kl"] / m.n_latent) | {"loss": t["loss"] / m.n_latent}
    ),
)
of_patient(
    "subtracts the KL",
    "the loss of the patient",
    lambda t, m, x, e: (
        t
        | {
            "kl": t["kl"] / m.n_latent,
            "loss": t["reconstruction"] - t["kl"] / m.n_latent,
        }
    ),
)
of_patient(
    "the sign of the reconstruction",
    "the reconstruction",
    lambda t, m, x, e: (
        mended(t, t["kl"] / m.n_latent)
        | {"reconstruction": -t["reconstruction"]}
    ),
)
of_patient(
    "noise of its own",
    "the reconstruction",
    lambda t, m, x, e: mended(m(x), t["kl"] / m.n_latent),
)
of_patient(
    "a fixed seed for the noise",
    "the reconstruction",
    lambda t, m, x, e: mended(
        m(x, noise=torch.Generator().manual_seed(0)), t["kl"] / m.n_latent
    ),
)
of_patient(
    "no noise",
    "the reconstruction",
    lambda t, m, x, e: mended(m(x, noise=0 * e), t["kl"] / m.n_latent),
)
of_patient(
    "the largest dimension",
    "the KL of the patient",
    lambda t, m, x, e: mended(t, _each(m, x).amax(1)),
)
of_patient(
    "the median dimension",
    "the KL of the patient",
    lambda t, m, x, e: mended(t, _each(m, x).median(1).values),
)
of_patient(
    "the batch in one number",
    "the KL of the patient",
    lambda t, m, x, e: mended(t, (t["kl"] / m.n_latent).sum()),
)
of_patient(
    "names of its own",
    "return a dict",
    lambda t, m, x, e: {"KL": t["kl"], "loss": t["loss"]},
)


def _each(model, x):
    mu, logvar = model.encode(x)
    return 0.5 * (mu.square() + logvar.exp() - 1 - logvar)


def weighted(text, beta):
    wrong("eleventh_patient", text, says="same_as_beta(")(
        given(patient(same_as_beta=beta))
    )


weighted("beta is one", lambda n_latent: 1.0)
weighted("whole numbers divided", lambda n_latent: 1 // n_latent)
weighted("the root", lambda n_latent: n_latent**-0.5)
weighted("one less", lambda n_latent: 1 / max(1, n_latent - 1))
weighted("a table", lambda n: {1: 1.0, 2: 0.5, 8: 0.125}.get(n, 0.1))
weighted("at least a twentieth", lambda n_latent: max(0.05, 1 / n_latent))
weighted("of the pixels", lambda n_latent: n_latent / 784)
weighted("the sign", lambda n_latent: -1 / n_latent)


def refusing(text, answer, says="is not right"):
    wrong("eleventh_patient", text, says=says)(
        given(patient(refusing_test=lambda: answer))
    )


for answer in ("sum", "reconstruction", "gradient", "picture"):
    refusing(f"the test of the {answer}", answer)
refusing("all tests", "KL, sum", "expected one of")
refusing("no test", None, "not answered yet")
refusing("a number for a test", 0, "expected one of")


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


@right(
    "two_wrongs", "in double precision, as a list of numbers with gradients"
)
def several():
    def mended_kl(mu, logvar):
        mu, logvar = mu.double(), logvar.double()
        return (0.5 * (logvar.exp() + mu**2 - 1.0 - logvar)).sum(dim=1)

    def mended_loss(model, x, noise):
        model.eval()
        mu, logvar = model.encode(x)
        z = torch.addcmul(mu, noise, torch.exp(logvar / 2))
        logits = model.decode(z).flatten(1).double()
        log_p = nn.functional.logsigmoid
        price = x * log_p(logits) + (1 - x) * log_p(-logits)
        return list(mended_kl(mu, logvar) - price.sum(1))

    return {"mended_kl": mended_kl, "mended_loss": mended_loss}


def half_kl(mu, logvar):
    return no_half(mu, logvar) / 2


def a_kl(text, says, kl):
    wrong("two_wrongs", text, says=says)(two(kl, half_kl))


def a_loss(text, says, loss):
    wrong("two_wrongs", text, says=says)(
        given({"mended_kl": half_kl, "mended_loss": loss})
    )


a_kl("a KL without a gradient", "no gradient", torch.no_grad()(half_kl))
a_kl(
    "a KL that does not train mu",
    "the gradient",
    lambda mu, logvar: half_kl(mu.detach(), logvar),
)
a_kl(
    "a KL that does not train logvar",
    "the gradient",
    lambda mu, logvar: half_kl(mu, logvar.detach()),
)
a_kl(
    "clamped log variances",
    "the KL",
    lambda mu, logvar: half_kl(mu, logvar.clamp(-10, 10)),
)
a_kl(
    "log variances from -30 to 20",
    "the KL",
    lambda mu, logvar: half_kl(mu, logvar.clamp(-30, 20)),
)
a_kl(
    "log variances of at most 5",
    "the KL",
    lambda mu, logvar: half_kl(mu, logvar.clamp(max=5)),
)
a_kl(
    "a small variance added",
    "the KL",
    lambda mu, logvar: half_kl(mu, (logvar.exp() + 1e-4).log()),
)
a_kl(
    "log sigma for log variance",
    "the KL",
    lambda mu, logvar: half_kl(mu, 2 * logvar),
)
a_kl(
    "the mean over the dimensions",
    "the KL",
    lambda mu, logvar: half_kl(mu, logvar) / mu.shape[1],
)
a_kl(
    "the mean over the batch",
    "the KL",
    lambda mu, logvar: half_kl(mu, logvar).mean(),
)
a_kl(
    "the other direction",
    "the KL",
    lambda mu, logvar: half_kl(mu * (-logvar / 2).exp(), -logvar),
)
a_kl("the sign", "the sign is wrong", lambda m, v: -half_kl(m, v))
a_kl(
    "without the 1",
    "the KL",
    lambda mu, logvar: 0.5 * (mu.square() + logvar.exp() - logvar).sum(1),
)
a_kl(
    "mu not squared",
    "the KL",
    lambda mu, logvar: 0.5 * (mu.abs() + logvar.exp() - 1 - logvar).sum(1),
)
a_kl(
    "a quarter",
    "one half is there twice",
    lambda mu, logvar: half_kl(mu, logvar) / 2,
)


def logits_of(model, x, noise, width=0.5):
    mu, logvar = model.encode(x)
    z = mu + (width * logvar).exp() * noise
    return model.decode(z).flatten(1), half_kl(mu, logvar)


def with_probabilities(model, x, noise):
    logits, kl = logits_of(model, x, noise)
    p = logits.sigmoid()
    return kl - (x * p.log() + (1 - x) * (1 - p).log()).sum(1)


def with_clamped_probabilities(model, x, noise):
    logits, kl = logits_of(model, x, noise)
    p = logits.sigmoid().clamp(1e-7, 1 - 1e-7)
    return kl - (x * p.log() + (1 - x) * (1 - p).log()).sum(1)


def with_bce_of_probabilities(model, x, noise):
    logits, kl = logits_of(model, x, noise)
    price = nn.functional.binary_cross_entropy(
        logits.sigmoid(), x, reduction="none"
    )
    return kl + price.sum(1)


def with_clamped_logits(model, x, noise):
    logits, kl = logits_of(model, x, noise)
    price = binary_cross_entropy_with_logits(
        logits.clamp(-15, 15), x, reduction="none"
    )
    return kl + price.sum(1)


def healthy(model, x, noise):
    logits, kl = logits_of(model, x, noise)
    price = binary_cross_entropy_with_logits(logits, x, reduction="none")
    return kl + price.sum(1)


def frozen(change):
    """The right value with the gradient of something else."""

    def loss(model, x, noise):
        right = healthy(model, x, noise).detach()
        other = change(model, x, noise)
        return right + other - other.detach()

    return loss


def with_clamped_log_variances(model, x, noise):
    mu, logvar = model.encode(x)
    logvar = logvar.clamp(-10, 10)
    z = mu + (logvar / 2).exp() * noise
    return half_kl(mu, logvar) - model.log_likelihood(x, z)


a_loss("log variances clamped", "the loss", with_clamped_log_variances)
a_loss("probabilities", "NaN", with_probabilities)
a_loss("clamped probabilities", "the loss", with_clamped_probabilities)
a_loss("cross-entropy of probabilities", "the loss", with_bce_of_probabilities)
a_loss("clamped logits", "the loss", with_clamped_logits)
a_loss(
    "the gradient of the ELBO",
    "the sign is wrong",
    frozen(lambda *a: -healthy(*a)),
)
a_loss(
    "the gradient of half the loss",
    "the gradient",
    frozen(lambda *a: healthy(*a) / 2),
)
a_loss(
    "the gradient of the reconstruction",
    "the gradient",
    frozen(lambda m, x, e: healthy(m, x, e) - logits_of(m, x, e)[1]),
)
a_loss(
    "the gradient of the KL",
    "a detach()",
    frozen(lambda m, x, e: logits_of(m, x, e)[1]),
)
a_loss(
    "the gradient of the wrong sampler",
    "the gradient",
    frozen(
        lambda m, x, e: (
            logits_of(m, x, e)[1]
            + binary_cross_entropy_with_logits(
                logits_of(m, x, e, 1.0)[0], x, reduction="none"
            ).sum(1)
        )
    ),
)
a_loss(
    "noise of its own",
    "the loss",
    lambda m, x, e: healthy(m, x, torch.randn_like(e)),
)
a_loss(
    "noise of a fixed seed",
    "the loss",
    lambda m, x, e: healthy(
        m, x, torch.randn(e.shape, generator=torch.Generator().manual_seed(0))
    ),
)
a_loss(
    "the noise of the first digit",
    "the loss",
    lambda m, x, e: healthy(m, x, e[:1].expand(e.shape)),
)
a_loss(
    "the KL with the beta of the model",
    "the ELBO has no beta",
    lambda m, x, e: healthy(m, x, e) + (m.beta - 1) * logits_of(m, x, e)[1],
)
a_loss("the mean of all losses", "the loss", lambda *a: healthy(*a).mean())
a_loss(
    "the mean over the pixels",
    "averaged over the pixels",
    lambda m, x, e: (
        (healthy(m, x, e) - logits_of(m, x, e)[1]) / x.shape[1]
        + logits_of(m, x, e)[1]
    ),
)
a_loss(
    "a sigma of exp(logvar / 4)",
    "the loss",
    lambda m, x, e: (
        logits_of(m, x, e)[1]
        + binary_cross_entropy_with_logits(
            logits_of(m, x, e, 0.25)[0], x, reduction="none"
        ).sum(1)
    ),
)


@wrong("two_wrongs", "wipes the noise at the end", says="in place")
def several():
    def mended_loss(model, x, noise):
        found = healthy(model, x, noise.clone())
        noise.zero_()
        return found

    return {"mended_kl": half_kl, "mended_loss": mended_loss}


# --- a seventh test


def slopes(
    double=True,
    new_noise=False,
    mean=True,
    h=1e-5,
    way=2.0,
    sides=(1, -1),
    back=lambda side: True,
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
                    if back(side):
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
wrong(
    "gradient_test",
    "also the patients with a wrong loss",
    says="not the right patients",
)(seventh(slopes(), "BDEH"))
wrong("gradient_test", "refuses nobody", says="not the right patients")(
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


@wrong("gradient_test", "one number for both", says="expected 2 results")
def several():
    def gap(kind, x, seed):
        exact, rough = slopes()(kind, x, seed)
        return (exact - rough).abs().max()

    return seventh(gap)()


@right("gradient_test", "a hook that moves the code, NumPy for the numbers")
def several():
    def gradient_two_ways(kind, x, seed):
        def loss(change):
            model = kind(
                n_latent=2, hidden=(), shape=x.shape[1:], seed=seed
            ).double()
            bias = model.encoder[-1].bias
            with torch.no_grad():
                bias += change
            noise = torch.Generator().manual_seed(seed)
            value = model(x, noise=noise)["loss"].mean()
            return value, bias

        value, bias = loss(torch.zeros(4))
        value.backward()
        rough = np.zeros(4)
        for i, step in enumerate(1e-5 * torch.eye(4).double()):
            rough[i] = (loss(step)[0] - loss(-step)[0]).item() / 2e-5
        return np.stack([bias.grad.numpy(), rough])

    return {
        "gradient_two_ways": gradient_two_ways,
        "refused": lambda: " e\n",
    }


def tested(text, says, change):
    """A right test, changed."""
    right_test = slopes()
    wrong("gradient_test", text, says=says)(
        seventh(
            lambda kind, x, seed: change(
                *right_test(kind, x, seed), kind, x, seed
            )
        )
    )


tested(
    "differences twice",
    "computed apart",
    lambda exact, rough, *given: (rough, rough),
)
tested(
    "in the other order",
    "in this order",
    lambda exact, rough, *given: (rough, exact),
)
tested(
    "healthy differences for all",
    "by differences",
    lambda exact, rough, kind, x, seed: (exact, slopes()(VAE, x, seed)[1]),
)
tested(
    "a healthy gradient for all",
    "by autograd",
    lambda exact, rough, kind, x, seed: (slopes()(VAE, x, seed)[0], rough),
)
tested(
    "knows the patient by its name",
    "by differences",
    lambda exact, rough, kind, x, seed: (
        exact,
        rough if kind.__name__ == "DetachedNoise" else exact,
    ),
)
tested(
    "knows the patient and the healthy gradient",
    "by differences",
    lambda exact, rough, kind, x, seed: (
        exact,
        slopes()(VAE, x, seed)[0]
        if kind.__name__ == "DetachedNoise"
        else exact,
    ),
)
tested(
    "the sign",
    "the sign is wrong",
    lambda exact, rough, *given: (exact, -rough),
)
tested(
    "adds up two gradients",
    "2 times the right one",
    lambda exact, rough, *given: (2 * exact, rough),
)
tested(
    "another model than the one of this kind",
    "from a model of this kind",
    lambda exact, rough, kind, x, seed: slopes()(VAE, x, seed),
)
tested(
    "the gap",
    "by differences",
    lambda exact, rough, *given: (exact, exact - rough),
)
tested(
    "two entries of four",
    "found shape (2,)",
    lambda exact, rough, *given: (exact[:2], rough[:2]),
)
tested(
    "sizes alone",
    "by autograd",
    lambda exact, rough, *given: (exact.abs(), rough.abs()),
)
tested(
    "rounded",
    "by autograd",
    lambda exact, rough, *given: (
        exact.round(decimals=2),
        rough.round(decimals=2),
    ),
)
tested(
    "one number each",
    "found shape ()",
    lambda exact, rough, *given: (exact.norm(), rough.norm()),
)
tested(
    "a fixed seed",
    "by autograd",
    lambda exact, rough, kind, x, seed: slopes()(kind, x, 1),
)
tested(
    "the first digit alone",
    "by autograd",
    lambda exact, rough, kind, x, seed: slopes()(kind, x[:1], seed),
)
tested(
    "the gradient of the KL alone",
    "by autograd",
    lambda exact, rough, kind, x, seed: (0 * exact, rough),
)
wrong(
    "gradient_test", "from one side, with a large step", says="a small step"
)(seventh(slopes(h=0.02, way=1.0, sides=(1, 0))))
wrong("gradient_test", "from one side", says="step on both sides")(
    seventh(slopes(way=1.0, sides=(1, 0)))
)
wrong("gradient_test", "steps left in place", says="put each entry back")(
    seventh(slopes(back=lambda side: side > 0))
)
wrong("gradient_test", "the sides swapped", says="the sign is wrong")(
    seventh(slopes(sides=(-1, 1)))
)


def letters(text, found, says="not the right patients"):
    wrong("gradient_test", text, says=says)(seventh(slopes(), found))


letters("another patient", "J")
letters("two patients", "EJ")
letters("all patients", "ABCDEFGHIJ")
letters("all but one", "ABCDFGHIJ")
letters("the one with the wrong sign", "H")
letters("a name instead of a letter", "DetachedNoise", "letters A to J")
letters("a letter of no patient", "EK", "letters A to J")
letters("a number", 5, "as text")
letters("nothing", None, "as text")


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
    says="largest product is not",
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


@wrong("code_capacity", "just enough is too little", says="expected False")
def several():
    return capacity(charges_too_little=lambda kl, n, s: kl <= fano(n, s))


for _text, _gap in (("a thousandth less", 1e-3), ("a tenth more", -0.1)):

    @wrong("code_capacity", _text, says="charges_too_little")
    def several(gap=_gap):
        return capacity(
            charges_too_little=lambda kl, n, s: kl < fano(n, s) - gap
        )


@wrong("code_capacity", "compares with log n", says="all of least_nats")
def several():
    return capacity(charges_too_little=lambda kl, n, share: kl < math.log(n))


@wrong("code_capacity", "always suspicious", says="expected False")
def several():
    return capacity(charges_too_little=lambda kl, n, share: True)


@right("code_capacity", "NumPy, a tensor of 0 or 1 for an answer")
def several():
    def share_recognised(drawn, originals):
        a, b = drawn.double().numpy(), originals.double().numpy()
        far = np.linalg.norm(a[:, None] - b[None], axis=2)
        return np.mean(far.argmin(axis=1) == np.arange(len(a)))

    def least_nats(n, share):
        p = np.array([share, 1 - share])
        with np.errstate(divide="ignore", invalid="ignore"):
            doubt = -np.nansum(np.where(p > 0, p * np.log(p), 0.0))
        return np.log(n) - doubt - p[1] * np.log(n - 1)

    def charges_too_little(kl, n, share):
        return torch.tensor([float(kl < least_nats(n, share))])

    return capacity(
        share_recognised=share_recognised,
        least_nats=least_nats,
        charges_too_little=charges_too_little,
    )


def shared(text, says, far, largest=False):
    """The share by another kind of nearness."""

    def share_recognised(drawn, originals):
        table = far(drawn, originals)
        best = table.argmax(1) if largest else table.argmin(1)
        return (best == torch.arange(len(drawn))).double().mean()

    wrong("code_capacity", text, says=says)(
        given(capacity(share_recognised=share_recognised))
    )


def angle(a, b):
    return nn.functional.cosine_similarity(a[:, None], b[None], dim=2)


shared("the angle for the distance", "smallest angle is not", angle, True)
shared(
    "the sum of the differences",
    "not the sum of sizes",
    lambda a, b: torch.cdist(a, b, p=1.0),
)
shared(
    "the largest difference",
    "not the largest size",
    lambda a, b: torch.cdist(a, b, p=math.inf),
)
shared(
    "the mean brightness",
    "share_recognised",
    lambda a, b: (a.mean(1)[:, None] - b.mean(1)).abs(),
)
shared(
    "the first pixel",
    "share_recognised",
    lambda a, b: (a[:, :1] - b[:, 0]).abs(),
)
shared(
    "signed differences",
    "share_recognised",
    lambda a, b: (a[:, None] - b).sum(2),
)
shared(
    "originals among themselves",
    "share_recognised",
    lambda a, b: torch.cdist(b, b),
)
shared(
    "the farthest",
    "share_recognised",
    lambda a, b: -torch.cdist(a, b),
)


@wrong("code_capacity", "near enough", says="share_recognised")
def several():
    def share_recognised(drawn, originals):
        far = (drawn - originals).norm(dim=1)
        return (far < far.median()).double().mean()

    return capacity(share_recognised=share_recognised)


@wrong("code_capacity", "among the nearest three", says="share_recognised")
def several():
    def share_recognised(drawn, originals):
        near = torch.cdist(drawn, originals).topk(3, largest=False).indices
        own = torch.arange(len(drawn))[:, None]
        return (near == own).any(1).double().mean()

    return capacity(share_recognised=share_recognised)


@wrong("code_capacity", "one digit less", says="share_recognised")
def several():
    return capacity(
        share_recognised=lambda a, b: nearest(a, b) * len(a) / (len(a) - 1)
    )


@wrong("code_capacity", "in per cent", says="share_recognised")
def several():
    return capacity(share_recognised=lambda a, b: 100 * nearest(a, b))


@wrong("code_capacity", "scales its input at the end", says="in place")
def several():
    def share_recognised(drawn, originals):
        found = nearest(drawn, originals)
        drawn /= drawn.abs().max()
        return found

    return capacity(share_recognised=share_recognised)


def nats(text, says, change):
    wrong("code_capacity", text, says=says)(given(capacity(least_nats=change)))


nats(
    "never negative shares of a miss",
    "least_nats",
    lambda n, s: max(0.0, math.log(n) - doubt(s) - (1 - s) * math.log(n)),
)
nats("share and misses swapped", "swapped", lambda n, s: fano(n, 1 - s))
nats(
    "adds the doubt",
    "least_nats",
    lambda n, s: fano(n, s) + 2 * doubt(s),
)
nats(
    "the share of log n",
    "times the share",
    lambda n, s: s * math.log(n),
)
nats("by heart for 1000", "least_nats", lambda n, s: fano(1000, s))
nats(
    "no edge at a share of 1",
    "least_nats(",
    lambda n, s: fano(n, min(s, 0.95)),
)
nats(
    "no edge at a share of 0",
    "least_nats(",
    lambda n, s: fano(n, max(s, 0.02)),
)
nats(
    "zero for those who know nothing",
    "expected 0.105. All values are 0",
    lambda n, s: fano(n, s) if s else 0.0,
)
nats(
    "zero for those who know all",
    "least_nats(",
    lambda n, s: fano(n, s) if s < 1 else 0.0,
)
nats("the sign", "the sign is wrong", lambda n, s: -fano(n, s))
nats(
    "log n for those who know all",
    "raises",
    lambda n, s: (
        math.log(n)
        + s * math.log(s)
        + (1 - s) * math.log(1 - s)
        - (1 - s) * math.log(n - 1)
    ),
)


def judged(text, rule, says="charges_too_little("):
    wrong("code_capacity", text, says=says)(
        given(capacity(charges_too_little=rule))
    )


judged("never", lambda kl, n, s: False)
judged("the other way round", lambda kl, n, s: kl > fano(n, s))
judged("below the share of log n", lambda kl, n, s: kl < s * math.log(n))
judged("half of what is needed", lambda kl, n, s: kl < fano(n, s) / 2)
judged("nine tenths of it", lambda kl, n, s: kl < 0.9 * fano(n, s))
judged("a tenth more than it", lambda kl, n, s: kl < 1.1 * fano(n, s))
judged("a bound in bits", lambda kl, n, s: kl < fano(n, s) / math.log(2))
judged("bits for nats", lambda kl, n, s: kl / math.log(2) < fano(n, s))
judged("without the doubt", lambda kl, n, s: kl < fano(n, s) + doubt(s))
judged(
    "a miss that tells nothing",
    lambda kl, n, s: kl < s * math.log(n) - doubt(s),
)
judged("less than two nats", lambda kl, n, s: kl < 2)
judged("less than the share", lambda kl, n, s: kl < s)
judged("a whole nat below", lambda kl, n, s: kl < fano(n, s) - 1)
judged("rounded", lambda kl, n, s: round(kl) < round(fano(n, s)))
judged("how many nats", lambda kl, n, s: fano(n, s) - kl, "charges_too_little")


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
wrong("five_strangers", "shared noise for none", says="not every answer")(
    named(Q="shared noise")
)
wrong("five_strangers", "the wrong unit for R", says="not every answer")(
    named(R="mean over pixels")
)
wrong("five_strangers", "half and log sigma swapped", says="not every answer")(
    named(S="log sigma", T="no half")
)
wrong("five_strangers", "a fault of no list", says="expected one of")(
    named(P="posterior collapse")
)
wrong("five_strangers", "two noises swapped for T", says="not every answer")(
    named(T="shared noise")
)


@wrong("five_strangers", "only the first", says="not answered yet")
def several():
    return {"diagnosis": lambda: {"P": "KL over batch"}}


@wrong("five_strangers", "a list", says="return a dict")
def several():
    return {"diagnosis": lambda: ["KL over batch"]}


@right("five_strangers", "one by one, in any order")
def several():
    def diagnosis():
        found = {}
        for name in "TSRQP":
            found[name] = {
                "T": "LOG SIGMA",
                "S": "no half",
                "R": "detached code",
                "Q": "no noise ",
                "P": "KL over batch",
            }[name]
        return found

    return {"diagnosis": diagnosis}


for text, others in {
    "sigmoid twice for R": {"R": "sigmoid twice"},
    "no half for P": {"P": "no half"},
    "P and Q swapped": {"P": "no noise", "Q": "KL over batch"},
    "Q and T swapped": {"Q": "log sigma", "T": "no noise"},
    "shared noise twice": {"Q": "shared noise", "T": "shared noise"},
    "pixels for P": {"P": "mean over pixels"},
    "R collapsed by the batch": {"R": "KL over batch"},
    "S by log sigma": {"S": "log sigma"},
    "all the same": dict.fromkeys("PQRST", "no noise"),
}.items():
    wrong("five_strangers", text, says="not every answer is right")(
        named(**others)
    )
wrong("five_strangers", "no answer for T", says="not answered yet")(
    named(T=None)
)
wrong("five_strangers", "two faults for Q", says="expected one of")(
    named(Q=["no noise", "shared noise"])
)
