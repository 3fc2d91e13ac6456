"""Images from codes: reconstructions, new digits, maps, one style."""

import math
from typing import Any

import torch
from torch import Tensor

from minivae import validate
from minivae.data import Digits, Rows, Table, batches, seeded
from minivae.models import VAE, Autoencoder


@torch.no_grad()
def draw(model: Autoencoder, z: Tensor, y: Tensor | None = None) -> Tensor:
    """The picture of each code.

    Args:
        model: of any kind.
        z: codes, (N, L).
        y: labels, (N,), where the model needs them.

    Returns:
        Square images in [0, 1] on the CPU, (N, side, side).

    Raises:
        ValueError: the rows of the model are no square images.

    Example:
        >>> draw(Autoencoder(n_latent=2), torch.zeros(3, 2)).shape
        torch.Size([3, 28, 28])
    """
    validate.kind("model", model, Autoencoder)
    device = next(model.parameters()).device
    side = math.isqrt(model.n_pixels)
    if side**2 != model.n_pixels:
        raise ValueError(
            f"model: {model.n_pixels} values are no square image; use "
            "model.draw, which returns them as they are"
        )
    z = z.to(device) if isinstance(z, Tensor) else z
    y = y.to(device) if isinstance(y, Tensor) else y
    return model.draw(z, y).cpu().unflatten(-1, (side, side))


@torch.no_grad()
def reconstruct(
    model: Autoencoder, digits: Rows, batch_size: int = 1000
) -> Tensor:
    """Each digit squeezed through its code and drawn again.

    Args:
        model: of any kind.
        digits: binarised once if the model is of binary pixels.
        batch_size: digits at a time.

    Returns:
        Images in [0, 1] on the CPU, (N, side, side).

    Raises:
        TypeError: model or digits of another kind.
        ValueError: the rows of the model are no square images.

    Example:
        >>> model = Autoencoder(n_latent=2, n_pixels=16)
        >>> reconstruct(model, Table(torch.zeros(3, 16))).shape
        torch.Size([3, 4, 4])
    """
    validate.kind("model", model, Autoencoder)
    validate.kind("digits", digits, Digits, Table)
    device = next(model.parameters()).device
    if model.binary:
        digits = digits.binarized()
    parts = [
        draw(model, model.code(x, y), y)
        for x, y in batches(
            digits, batch_size, device=device, binarize=False, shuffle=False
        )
    ]
    return torch.cat(parts)


def sample_digits(
    model: VAE,
    n: int,
    y: int | tuple | Tensor | None = None,
    seed: int = 0,
) -> Tensor:
    """New digits: codes from the prior N(0, I), drawn by the decoder.

    Args:
        model: a VAE or CVAE.
        n: how many, at least 1.
        y: for a CVAE, the digit to draw or one label for each, (n,). For
            one with several conditions, a tuple with a value for each and
            None for those that are withheld, or rows of them, (n, C).
        seed: selects the codes; the same on every machine.

    Returns:
        Mean images in [0, 1] on the CPU, (n, side, side).

    Raises:
        TypeError: an autoencoder, which has no distribution of codes.
        ValueError: a label is missing, out of range, or not understood.

    Example:
        >>> model = VAE(n_latent=2)
        >>> sample_digits(model, n=5).shape
        torch.Size([5, 28, 28])
        >>> torch.equal(sample_digits(model, 5), sample_digits(model, 5))
        True
    """
    validate.whole("n", n, 1, 100)
    validate.whole("seed", seed, 0, 0)
    if not isinstance(model, VAE):
        raise TypeError(
            f"model: expected a VAE or CVAE, got {type(model).__name__}, "
            "which does not say how its codes are distributed; train a VAE"
        )
    if y is not None and not (model.n_classes or model.conditions):
        raise ValueError(
            f"y: a {type(model).__name__} cannot be asked for a digit, got "
            f"{y!r:.40}; leave it out, or train a CVAE"
        )
    if model.conditions and isinstance(y, tuple | list | type(None)):
        y = (None,) * len(model.conditions) if y is None else y
        y = _one_row(y).expand(n, -1)
    source = seeded("cpu", "sample", seed)
    with validate.memory(f"n: {n} digits", "draw fewer at a time, with seeds"):
        z = torch.randn(n, model.n_latent, generator=source)
        return draw(model, z, _for_each(y, n))


def _for_each(y: Any, n: int) -> Tensor | None:
    """One label for each of n codes, where y is the one for all."""
    if not isinstance(y, int):
        return y
    validate.whole("y", y, 0, 5)
    return torch.full((n,), y)


def _one_row(y: tuple) -> Tensor:
    """Conditions (C,) with NaN for those that are None."""
    for value in y:
        if not isinstance(value, int | float | None):
            raise TypeError(
                f"y: expected numbers, and None for what is withheld, got "
                f"{value!r:.40}; give a tuple such as (5, None)"
            )
    return torch.tensor([math.nan if v is None else float(v) for v in y])


def quantile_grid(n: int) -> Tensor:
    """N x n codes that split the prior N(0, I) of two dimensions evenly.

    Row by row as on a map: z1 grows to the right, z2 upwards. The quantiles
    are those of the middles of n slices of equal probability, so the
    outermost are finite. Kingma & Welling 2014, figure 4.

    Returns:
        (n * n, 2).

    Raises:
        ValueError: n is not a whole number of at least 1.

    Example:
        >>> quantile_grid(2)  # the quartiles of N(0, 1)
        tensor([[-0.6745,  0.6745],
                [ 0.6745,  0.6745],
                [-0.6745, -0.6745],
                [ 0.6745, -0.6745]])
    """
    validate.whole("n", n, 1, 20)
    middles = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    steps = torch.special.ndtri(middles).float()
    return torch.cartesian_prod(steps.flip(0), steps).flip(1)


def latent_grid(
    model: Autoencoder, n: int = 20, y: int | None = None
) -> Tensor:
    """What the decoder draws at each code of `quantile_grid`.

    Args:
        model: of any kind, with a code of two dimensions.
        n: images on a side.
        y: for a CVAE, the digit to draw.

    Returns:
        Images in [0, 1] on the CPU, row by row, (n * n, side, side).

    Raises:
        ValueError: the code has not two dimensions.

    Example:
        >>> latent_grid(Autoencoder(n_latent=2), n=3).shape
        torch.Size([9, 28, 28])
    """
    validate.kind("model", model, Autoencoder)
    if model.n_latent != 2:
        raise ValueError(
            f"model: expected two latent dimensions, got {model.n_latent}; "
            "train one with n_latent=2 for a map"
        )
    z = quantile_grid(n)
    return draw(model, z, _for_each(y, len(z)))


def same_style(model: VAE, n: int, seed: int = 0) -> Tensor:
    """Every class drawn with the same n codes from the prior.

    Args:
        model: a CVAE of C classes.
        n: codes.
        seed: selects them.

    Returns:
        Images in [0, 1] on the CPU, (C, n, side, side); one column has one
        code.

    Raises:
        TypeError: the model is not told one label.

    Example:
        >>> from minivae.models import CVAE
        >>> same_style(CVAE(n_latent=2), n=4).shape
        torch.Size([10, 4, 28, 28])
    """
    if not getattr(model, "n_classes", 0):
        raise TypeError(
            f"model: expected a CVAE of one label, got "
            f"{type(model).__name__}, which "
            "cannot be asked for a class; train a CVAE"
        )
    return torch.stack(
        [sample_digits(model, n, y, seed) for y in range(model.n_classes)]
    )


def transfer(model: VAE, digits: Digits) -> Tensor:
    """Each digit's style drawn as every class: encode with y, decode with y'.

    Kingma et al. 2014, figure 1 (semi-supervised learning).

    Args:
        model: a CVAE of C classes.
        digits: whose styles to take, with their labels.

    Returns:
        Images in [0, 1] on the CPU, (C, N, side, side); one column has one
        code.

    Raises:
        TypeError: the model is not told one label.

    Example:
        >>> from minivae.models import CVAE
        >>> images = torch.zeros(3, 28, 28, dtype=torch.uint8)
        >>> digits = Digits(images, torch.tensor([1, 2, 3]), "blank", "test")
        >>> transfer(CVAE(n_latent=2), digits).shape
        torch.Size([10, 3, 28, 28])
    """
    if not getattr(model, "n_classes", 0):
        raise TypeError(
            f"model: expected a CVAE of one label, got "
            f"{type(model).__name__}, which cannot be asked for a class; "
            "train a CVAE"
        )
    validate.kind("digits", digits, Digits)
    device = next(model.parameters()).device
    data = digits.binarized() if model.binary else digits
    parts = batches(data, 1000, device=device, binarize=False, shuffle=False)
    z = torch.cat([model.code(x, y).detach() for x, y in parts])
    kinds = torch.arange(model.n_classes)
    return torch.stack([draw(model, z, y.expand(len(z))) for y in kinds])


def fit_codes(
    z: Tensor, n_components: int = 1, diagonal: bool = False, seed: int = 0
) -> torch.distributions.MixtureSameFamily:
    """A mixture of normal distributions fitted to codes, to draw from.

    What an autoencoder lacks, supplied afterwards (Ghosh et al. 2020). The
    fit is scikit-learn's, by expectation maximisation.

    Args:
        z: codes, (N, L).
        n_components: of the mixture, at least 1.
        diagonal: whether to leave out the covariances.
        seed: of the start of the fit.

    Returns:
        A distribution with `sample((n,))` and `log_prob(z)`.

    Raises:
        ValueError: fewer codes than components, or an option out of range.

    Example:
        >>> fitted = fit_codes(torch.tensor([[-1.0, 0], [1.0, 0], [0, 2.0]]))
        >>> z = fitted.sample((5,))
        >>> z.shape, fitted.log_prob(z).shape
        (torch.Size([5, 2]), torch.Size([5]))
    """
    from sklearn.mixture import GaussianMixture
    from torch import distributions as d

    validate.whole("n_components", n_components, 1, 10)
    validate.whole("seed", seed, 0, 0)
    validate.rows("z", z, [1, *getattr(z, "shape", ())][-1])
    if len(z) < max(2, n_components):
        raise ValueError(
            f"z: expected at least {max(2, n_components)} codes, got "
            f"{len(z)}; give more, or lower n_components"
        )
    kind = "diag" if diagonal else "full"
    fitted = GaussianMixture(
        n_components, covariance_type=kind, random_state=seed
    )
    fitted.fit(z.double().numpy())
    covariances = torch.from_numpy(fitted.covariances_)
    if diagonal:
        covariances = torch.diag_embed(covariances)
    # in double: a component of few codes may be thin
    roots = torch.linalg.cholesky(covariances).float()
    means = torch.from_numpy(fitted.means_).float()
    return d.MixtureSameFamily(
        d.Categorical(torch.from_numpy(fitted.weights_).float()),
        d.MultivariateNormal(means, scale_tril=roots),
    )
