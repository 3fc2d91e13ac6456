"""Autoencoder, VAE and conditional VAE: one story in three classes.

They share one interface. `model(x)` gives the loss and what it consists of.
`encode` and `decode` are its two halves, `encode_mean` and `decode_mean`
what maps and pictures are made of. Whatever device an argument is on, it is
moved to that of the model.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from minivae import validate
from minivae.likelihoods import make_likelihood
from minivae.networks import NETWORKS
from minivae.objective import (
    gaussian_log_density,
    importance_bound,
    reparameterize,
    squared_error,
)
from minivae.priors import make_prior


@contextmanager
def at_rest(model: nn.Module) -> Iterator[None]:
    """Look at a model without training it: `eval()`, and no graph.

    Args:
        model: of any kind; afterwards it is as it was.

    Example:
        >>> model = nn.Dropout()
        >>> with at_rest(model):
        ...     model(torch.ones(2))
        tensor([1., 1.])
    """
    before = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in before.items():
            module.training = mode


class Autoencoder(nn.Module):
    """Squeeze x through a code z of a few numbers: x -> z -> x'.

    Hinton & Salakhutdinov 2006. The loss is the squared error. Without
    hidden layers it is the linear autoencoder (Baldi & Hornik 1989).

    Args:
        n_latent: L, numbers in a code, at least 1.
        hidden: sizes of the encoder's hidden layers, which the decoder has
            in reverse order; None takes those that are usual for the network.
        shape: of one row of x: (channels, height, width) or (columns,).
        network: "mlp", linear layers, or "conv", for pictures.
        encoder: your own module instead, from x (B, *shape) to the numbers
            of a code, (B, L), or mu and logvar (B, 2 L) for a VAE.
        decoder: your own module instead, from z (B, L) to n_params numbers
            for each value of x. Both get the condition (B, C) as a second
            argument, if the model is told one.
        seed: selects the initial weights.
        n_params, n_condition: for subclasses: numbers that the decoder
            emits for each value of x, and C.

    Raises:
        TypeError, ValueError: an option is of another kind or out of range.

    Example:
        >>> model, x = Autoencoder(n_latent=2), torch.zeros(3, 1, 28, 28)
        >>> model.encode(x).shape, model(x)["loss"].shape
        (torch.Size([3, 2]), torch.Size([3]))
    """

    n_classes = 0  # needs no labels
    conditions: tuple[int, ...] = ()  # nor any other conditions
    condition_dropout = 0.0  # probability that training withholds one
    n_per_latent = 1  # numbers that the encoder emits for each of z

    def __init__(
        self,
        n_latent: int = 20,
        hidden: tuple[int, ...] | None = None,
        shape: tuple[int, ...] = (1, 28, 28),
        network: str = "mlp",
        encoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
        seed: int = 0,
        *,
        n_params: int = 1,
        n_condition: int = 0,
        **unknown: object,
    ) -> None:
        super().__init__()
        validate.no_options(self, unknown)
        self.n_latent = validate.whole("n_latent", n_latent, 1, 20)
        self.shape = validate.sizes("shape", shape, (1, 28, 28), empty=False)
        validate.choice("network", network, tuple(NETWORKS))
        make_pair, usual = NETWORKS[network]
        hidden = usual if hidden is None else hidden
        hidden = validate.sizes("hidden", hidden, usual)
        seed = validate.whole("seed", seed, 0, 0)
        told = ["condition"] if n_condition else []
        validate.network("encoder", encoder, "x", *told)
        validate.network("decoder", decoder, "z", *told)
        # all that it takes to build this model again
        self.options: dict[str, Any] = {
            "n_latent": self.n_latent,
            "hidden": hidden,
            "shape": self.shape,
            "network": network,
            "encoder": encoder,
            "decoder": decoder,
            "seed": seed,
        }
        self.n_params = n_params
        enough = validate.memory(
            f"n_latent, hidden: the weights of {n_latent} and {hidden}",
            "give smaller sizes such as 20 and (256, 128)",
        )
        # draw the weights, but leave the caller's random numbers alone
        with enough, torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            pair: Any = (encoder, decoder)
            if encoder is None or decoder is None:
                made = make_pair(
                    self.shape,
                    self.n_per_latent * self.n_latent,
                    self.n_latent,
                    n_params,
                    n_condition,
                    hidden,
                )
                pair = (encoder or made[0], decoder or made[1])
        self.encoder, self.decoder = pair

    @property
    def n_values(self) -> int:
        """D, numbers in a row of x."""
        return math.prod(self.shape)

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights, and so of x, z and all results."""
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def support(self) -> tuple[float, float] | None:
        """The range in which x must lie, or None for any."""
        return None

    def condition_vector(self, y: Tensor | None, n: int) -> Tensor | None:
        """What both networks are told of y, (n, C); here nothing."""
        return None

    def encode(self, x: Tensor, y: Tensor | None = None) -> Any:
        """The code z (B, L) of rows x (B, *shape)."""
        return self._encoded(x, y)

    def _encoded(self, x: Tensor, y: Tensor | None) -> Tensor:
        x = self._rows(x)
        # in training one row is looked at; `fit` has looked at all its data
        validate.finite("x", x[:1] if self.training else x, self.support)
        told = self.condition_vector(y, len(x))
        out = self.encoder(x) if told is None else self.encoder(x, told)
        size = getattr(out, "shape", None)
        if size != (len(x), self.n_per_latent * self.n_latent):
            raise ValueError(
                f"encoder: expected (B, {self.n_per_latent * self.n_latent}) "
                f"from x of {tuple(x.shape)}, got {_size(out)}; let its last "
                "layer emit that many numbers, as one tensor"
            )
        _check_code(x, out)
        # as exact as the weights, also where the layers multiply in bf16
        return out.to(self.dtype)

    def _rows(self, x: Tensor) -> Tensor:
        return validate.rows("x", x, self.shape, self.dtype).to(self.device)

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """The numbers (..., B, *shape[, n_params]) of codes z (..., B, L)."""
        z = validate.rows("z", z, (self.n_latent,), self.dtype)
        validate.finite("z", z)
        z, lead = z.to(self.device), z.shape[:-1]
        told = self.condition_vector(y, lead[-1])
        z = z.reshape(-1, self.n_latent)
        if told is None:
            out = self.decoder(z)
        else:
            told = told.expand(*lead, -1).reshape(len(z), told.shape[-1])
            out = self.decoder(z, told)
        return self._unpacked(out, lead)

    def _unpacked(self, out: Tensor, lead: tuple[int, ...]) -> Tensor:
        n, shape, rows = self.n_params, self.shape, math.prod(lead)
        flat = (rows, n * self.n_values)
        channels = (rows, n * shape[0], *shape[1:])
        last = (rows, *shape, n)
        size = tuple(getattr(out, "shape", ()))
        if size not in (flat, channels, last):
            raise ValueError(
                f"decoder: expected n_params = {n} for each value of "
                f"{shape}, as {flat}, {channels} or {last}, got "
                f"{_size(out)}; let its last layer emit them"
            )
        if n == 1:
            return out.reshape(*lead, *shape)
        if size == last:
            return out.reshape(*lead, *shape, n)
        # flat or as channels: first the first parameter of all values
        return out.reshape(*lead, n, *shape).movedim(-1 - len(shape), -1)

    def forward(
        self,
        x: Tensor,
        y: Tensor | None = None,
        noise: torch.Generator | Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The loss and its parts, one value for each row.

        Args:
            x: rows, (B, *shape).
            y: labels (B,) or conditions (B, C), where the model needs them.
            noise: standard normal (B, L), or what draws it, where a model
                has noise; None is torch's global generator.

        Returns:
            "loss" and "reconstruction" (both the squared error), (B,).
        """
        drawn = self.decode(self.encode(x, y), y)  # (B, *shape)
        error = squared_error(self._rows(x).flatten(1), drawn.flatten(1))
        return {"loss": error, "reconstruction": error}

    def encode_mean(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The one code (B, L) that stands for x on a map."""
        return self.encode(x, y)

    def decode_mean(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """What a code stands for, (..., B, *shape)."""
        return self.decode(z, y)


class VAE(Autoencoder):
    """An autoencoder whose codes follow a known distribution, N(0, I).

    Kingma & Welling 2014. The encoder emits a distribution q(z|x), the
    decoder one of x, p(x|z). The loss is -ELBO for beta = 1.

    Args:
        n_latent, hidden, shape, ..., seed: as for `Autoencoder`.
        likelihood: of x: "bernoulli" for binary pixels, "gaussian" for
            numbers of any size, "continuous_bernoulli",
            "discretized_logistic" or "categorical" for grey pixels; or an
            object of your own (see `minivae.likelihoods`).
        sigma: standard deviation of a Gaussian; None learns one, and "each"
            one for each value of a row.
        prior: of z: "standard" is N(0, I), "mixture" and "vamp" are learned
            mixtures, "conditional" is p(z|y) for a CVAE; or an object of
            your own (see `minivae.priors`).
        beta: weight of the KL (Higgins et al. 2017), positive or 0.
        n_samples: K, codes that training draws for each row. With more than
            one the loss is the importance-weighted bound (Burda et al. 2016)
            and the encoder gets the doubly reparameterised gradient (Tucker
            et al. 2019).
        free_bits: nats of KL that each latent dimension may use for nothing
            (Kingma et al. 2016), against collapse.

    Raises:
        TypeError, ValueError: an option is of another kind or out of range.

    Example:
        >>> model, x = VAE(n_latent=2), torch.zeros(3, 1, 28, 28)
        >>> {name: tuple(nats.shape) for name, nats in model(x).items()}
        {'loss': (3,), 'reconstruction': (3,), 'kl': (3,)}
    """

    n_per_latent = 2  # mu and logvar
    prior_hidden: tuple[int, ...] = ()  # layers of a conditional prior

    def __init__(
        self,
        n_latent: int = 20,
        hidden: tuple[int, ...] | None = None,
        likelihood: Any = "bernoulli",
        sigma: float | str | None = None,
        beta: float = 1.0,
        shape: tuple[int, ...] = (1, 28, 28),
        prior: Any = "standard",
        n_samples: int = 1,
        free_bits: float = 0.0,
        **options: Any,
    ) -> None:
        shape = validate.sizes("shape", shape, (1, 28, 28), empty=False)
        beta = validate.number("beta", beta, 1, zero=True)
        if sigma is not None and not isinstance(sigma, str):
            sigma = validate.number("sigma", sigma, 0.1)
        chosen = {
            "likelihood": likelihood,
            "sigma": sigma,
            "beta": beta,
            "prior": prior,
        }
        n_samples = validate.whole("n_samples", n_samples, 1, 1)
        free_bits = validate.number("free_bits", free_bits, 0, zero=True)
        if isinstance(likelihood, str):
            likelihood = make_likelihood(likelihood, shape, sigma)
        elif sigma is not None:
            raise ValueError(
                f"sigma: expected none beside a likelihood of your own, got "
                f"{sigma!r:.40}; give it to that, such as Gaussian(0.1)"
            )
        _has("likelihood", likelihood, "log_prob", "mean", "n_params")
        n_condition = options.get("n_condition", 0)
        super().__init__(
            n_latent, hidden, shape, n_params=likelihood.n_params, **options
        )
        self.options |= chosen
        # named only where they are used, as older files do not know them
        self.options |= {"n_samples": n_samples} if n_samples > 1 else {}
        self.options |= {"free_bits": free_bits} if free_bits else {}
        self.likelihood, self.beta = likelihood, beta
        self.n_samples, self.free_bits = n_samples, free_bits
        if isinstance(prior, str):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.options["seed"])
                prior = make_prior(prior, self, n_condition)
        _has("prior", prior, "kl", "log_prob", "sample")
        self.prior = prior
        if free_bits and (n_samples > 1 or not hasattr(prior, "kl_each")):
            raise ValueError(
                f"free_bits: expected none with {n_samples} samples and a "
                f"{type(prior).__name__}, got {free_bits}; this loss has no "
                "KL for each dimension"
            )

    @property
    def support(self) -> tuple[float, float] | None:
        """The range in which x must lie, or None for any."""
        return getattr(self.likelihood, "support", None)

    def encode(
        self, x: Tensor, y: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Mu and logvar (B, L) of q(z|x) for rows x (B, *shape)."""
        mu, logvar = self._encoded(x, y).chunk(2, -1)
        return mu, logvar

    def log_likelihood(
        self, x: Tensor, z: Tensor, y: Tensor | None = None
    ) -> Tensor:
        """log p(x|z) in nats, (..., B), of x (B, *shape), z (..., B, L)."""
        x = self._rows(x)
        _check_code(x, z)
        params = self.decode(z, y)
        nats = self.likelihood.log_prob(x, params)
        if nats.shape != z.shape[:-1]:
            raise ValueError(
                f"likelihood: expected log_prob to sum each row up, to "
                f"{tuple(z.shape[:-1])}, got {tuple(nats.shape)}; use sum_rows"
            )
        return nats

    def forward(
        self,
        x: Tensor,
        y: Tensor | None = None,
        noise: torch.Generator | Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The loss and its parts, in nats, one value for each row.

        Args:
            x: rows, (B, *shape), such as the likelihood expects.
            y: labels (B,) or conditions (B, C), where the model needs them.
            noise: standard normal (B, L), or (K, B, L) for K samples, or
                the generator that draws it; None is torch's global one.

        Returns:
            "reconstruction", -log p(x|z) at a z drawn from q(z|x); "kl";
            "loss", reconstruction + beta kl, and what dimensions lack to
            their free bits. Each (B,). With K samples reconstruction and kl
            are means over them, and the loss is minus their bound.
        """
        mu, logvar = self.encode(x, y)  # (B, L) each
        if self.n_samples > 1:
            return self._importance_terms(x, y, mu, logvar, noise)
        z = reparameterize(mu, logvar, noise)  # (B, L)
        _check_code(x, z)
        told = self.condition_vector(y, len(mu))
        reconstruction = -self.log_likelihood(x, z, y)  # (B,)
        kl = self.prior.kl(mu, logvar, z, told)  # (B,)
        loss = reconstruction + self.beta * kl
        if self.free_bits:
            each = self.prior.kl_each(mu, logvar, told).mean(0)  # (L,)
            loss = loss + self.beta * (self.free_bits - each).relu().sum()
        return {"loss": loss, "reconstruction": reconstruction, "kl": kl}

    def _importance_terms(
        self,
        x: Tensor,
        y: Tensor | None,
        mu: Tensor,
        logvar: Tensor,
        noise: torch.Generator | Tensor | None,
    ) -> dict[str, Tensor]:
        """The terms of `forward` for K samples."""
        mu, logvar = (p.expand(self.n_samples, -1, -1) for p in (mu, logvar))
        z = reparameterize(mu, logvar, noise)  # (K, B, L)
        told = self.condition_vector(y, len(x))
        log_likelihood = self.log_likelihood(x, z, y)  # (K, B)
        # gradients reach the encoder through z alone
        log_q = gaussian_log_density(z, mu.detach(), logvar.detach())
        kl = log_q - self.prior.log_prob(z, told)  # (K, B)
        log_weights = log_likelihood - self.beta * kl
        if z.requires_grad:  # where the bound weighs by w, they count by w^2
            weights = log_weights.detach().softmax(0)
            z.register_hook(lambda gradient: gradient * weights[..., None])
        return {
            "loss": -importance_bound(log_weights),
            "reconstruction": -log_likelihood.mean(0),
            "kl": kl.mean(0),
        }

    def encode_mean(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """mu, the one code (B, L) that stands for x on a map."""
        return self.encode(x, y)[0]

    def decode_mean(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """The mean of p(x|z), (..., B, *shape)."""
        return self.likelihood.mean(self.decode(z, y))

    @torch.no_grad()
    def sample(
        self,
        n: int,
        y: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """New rows (n, *shape): z from the prior, x from p(x|z).

        Args:
            n: how many.
            y: labels (n,) or conditions (n, C), where the model needs them.
            generator: source of the noise; None is torch's global one.
        """
        n = validate.whole("n", n, 1, 100)
        told = self.condition_vector(y, n)
        z = self.prior.sample(n, self.n_latent, generator, told)
        params = self.decode(z.to(self.dtype), y)
        return self.likelihood.sample(params, generator)


def _size(out: object) -> object:
    """What a network has returned, for a message."""
    return tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__


def _check_code(x: Tensor, code: Tensor) -> None:
    """Name x, where it is so large that its code is infinite."""
    if not validate.is_finite(code):
        raise ValueError(
            "x: expected values of which the encoder makes a finite code, got "
            f"{x.min():.3g} to {x.max():.3g}; standardise them"
        )


def _has(name: str, value: object, *parts: str) -> None:
    missing = [part for part in parts if not hasattr(value, part)]
    if missing or isinstance(value, type):
        what = f"{type(value).__name__} without {', '.join(missing)}"
        if isinstance(value, type):
            what = "the class, not an object"
        raise TypeError(
            f"{name}: expected a name, or an object with {', '.join(parts)}, "
            f"got {what}; choose a name, or give an object as in "
            f"minivae/{name}s.py"
        )


class CVAE(VAE):
    """A VAE that is told the label: q(z|x, y) and p(x|z, y).

    The prior of z is N(0, I) for every label, as in the model M2 of Kingma
    et al. 2014 (semi-supervised learning), so the code has no need to say
    which digit it is. With prior="conditional" it is p(z|y), learned for
    each label, as in Sohn et al. 2015.

    With `conditions`, y is several conditions at once, and NaN stands for
    one that is withheld. Each enters both networks with a 1 if it is given
    and a 0 if not. Training withholds conditions at random, so one model
    answers for each combination of them.

    Args:
        n_latent, hidden, ..., beta: as for `VAE`.
        n_classes: C, labels are 0 to C - 1.
        conditions: instead of one label, for each condition the number of
            its classes, or 1 for a real number: (10, 1).
        condition_dropout: probability that training withholds a condition;
            None is 0.5 for several conditions. A label is never withheld.

    Raises:
        TypeError, ValueError: an option is of another kind or out of range.

    Example:
        >>> model, z = CVAE(n_latent=2), torch.zeros(2, 2)
        >>> model.decode_mean(z, y=torch.tensor([3, 5])).shape
        torch.Size([2, 1, 28, 28])
        >>> y = torch.tensor([[2.0, math.nan]])
        >>> CVAE(2, conditions=(3, 1)).condition_vector(y, 1)
        tensor([[0., 0., 1., 1., 0., 0.]])
    """

    def __init__(
        self,
        n_latent: int = 20,
        hidden: tuple[int, ...] | None = None,
        n_classes: int = 10,
        conditions: tuple[int, ...] = (),
        condition_dropout: float | None = None,
        **options: Any,
    ) -> None:
        n_classes = validate.whole("n_classes", n_classes, 1, 10)
        conditions = validate.sizes("conditions", conditions, (10, 1))
        if condition_dropout is not None:
            condition_dropout = validate.probability(
                "condition_dropout", condition_dropout
            )
            if condition_dropout and not conditions:
                raise ValueError(
                    "condition_dropout: a model of one label never withholds "
                    f"it, got {condition_dropout!r}; leave it out, or give "
                    "conditions=(10,) and data with conditions"
                )
        elif conditions:
            condition_dropout = 0.5
        n = sum(conditions) + len(conditions) or n_classes
        # several conditions act together, a label alone
        self.prior_hidden = (64,) if conditions else ()
        super().__init__(n_latent, hidden, n_condition=n, **options)
        if conditions:
            self.conditions = conditions
            self.condition_dropout = condition_dropout or 0.0
            self.options["conditions"] = conditions
            self.options["condition_dropout"] = condition_dropout
        else:
            self.n_classes = n_classes
            self.options["n_classes"] = n_classes

    def condition_vector(self, y: Tensor | None, n: int) -> Tensor:
        """What both networks are told of y.

        Args:
            y: labels (n,), or conditions (n, C) with NaN where withheld.
            n: rows.

        Returns:
            A label as n_classes numbers, of which one is 1. Conditions one
            after the other, each with a 1 behind it if it is given and a 0
            if not. (n, width).
        """
        if not self.conditions:
            y = validate.labels(y, n, self.n_classes).to(self.device)
            return one_hot(y, self.n_classes).to(self.dtype)
        y = validate.conditions(y, n, self.conditions).to(self.device)
        given = ~y.isnan()  # (n, C)
        parts = []
        for size, value, mask in zip(
            self.conditions, y.nan_to_num().unbind(1), given.unbind(1)
        ):
            value = one_hot(value.long(), size) if size > 1 else value[:, None]
            # a withheld number is told as 0; the mask sets it apart from a 0
            parts += [value * mask[:, None], mask[:, None]]
        return torch.cat(parts, -1).to(self.dtype)
