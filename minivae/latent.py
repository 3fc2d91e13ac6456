"""Pictures from codes: reconstructions, new digits, maps, one style.

They come as the model has them, (N, *shape), except that grey pictures are
(N, H, W), without their one channel. Pixels are clamped to [0, 1]; the
values of a table are not.
"""

import math
from typing import Any

import torch
from torch import Tensor

from minivae import validate
from minivae.data import Rows, seeded
from minivae.evaluate import codes
from minivae.models import VAE, Autoencoder, at_rest


def pictures(model: Autoencoder, z: Tensor, y: Tensor | None = None) -> Tensor:
    """What each code stands for: the mean of p(x|z).

    Args:
        model: of any kind.
        z: codes, (N, L).
        y: labels, (N,), where the model needs them.

    Returns:
        (N, H, W) for grey pictures, else (N, *shape), on the CPU.

    Raises:
        TypeError, ValueError: z or y do not fit the model.

    Example:
        >>> pictures(Autoencoder(n_latent=2), torch.zeros(3, 2)).shape
        torch.Size([3, 28, 28])
    """
    validate.kind("model", model, Autoencoder)
    with at_rest(model):
        return _shown(model, model.decode_mean(z, y))


def _shown(model: Autoencoder, x: Tensor) -> Tensor:
    """Rows of x as pictures on the CPU, if they are pictures."""
    x = x.cpu()
    if len(model.shape) != 3:
        return x
    x = x.clamp(0, 1)
    return x.squeeze(1) if model.shape[0] == 1 else x


def reconstruct(
    model: Autoencoder, data: Rows, batch_size: int = 1000
) -> Tensor:
    """Each row squeezed through its code and drawn again.

    Args:
        model: of any kind.
        data: prepared once as the likelihood wants.
        batch_size: rows at a time.

    Returns:
        As `pictures`, (N, ...), on the CPU.

    Raises:
        TypeError: model or data of another kind.

    Example:
        >>> from minivae.data import Table
        >>> model = Autoencoder(n_latent=2, shape=(16,))
        >>> reconstruct(model, Table(torch.zeros(3, 16))).shape
        torch.Size([3, 16])
    """
    batch_size = validate.whole("batch_size", batch_size, 1, 1000)
    z = codes(model, data, batch_size)
    y = [None] * len(z) if data.y is None else data.y.split(batch_size)
    parts = zip(z.split(batch_size), y)
    return torch.cat([pictures(model, part, told) for part, told in parts])


def sample(
    model: VAE,
    n: int,
    y: Any = None,
    seed: int = 0,
) -> Tensor:
    """New pictures: codes from the prior, and the mean of p(x|z) of each.

    Args:
        model: a VAE or CVAE.
        n: how many, at least 1.
        y: for a CVAE, the label to draw or one for each, (n,). For one
            with several conditions, a tuple with a value for each and
            None for those that are withheld, or rows of them, (n, C).
        seed: selects the codes; the same on every machine.

    Returns:
        As `pictures`, (n, ...), on the CPU. `model.sample` also draws x
        from p(x|z).

    Raises:
        TypeError: an autoencoder, which has no distribution of codes.
        ValueError: a label is missing, out of range, or not understood.

    Example:
        >>> model = VAE(n_latent=2)
        >>> sample(model, n=5).shape
        torch.Size([5, 28, 28])
        >>> torch.equal(sample(model, 5), sample(model, 5))
        True
    """
    n = validate.whole("n", n, 1, 100)
    seed = validate.whole("seed", seed, 0, 0)
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
    noise = seeded("cpu", "sample", seed)
    with validate.memory(f"n: {n} digits", "draw fewer at a time, with seeds"):
        y = _for_each(model, y, n)
        told = model.condition_vector(y, n)
        z = model.prior.sample(n, model.n_latent, noise, told)
        return pictures(model, z, y)


def _for_each(model: Autoencoder, y: Any, n: int) -> Tensor | None:
    """A label or conditions for each of n codes, where y is for all."""
    if model.conditions and isinstance(y, tuple | list | type(None)):
        y = (None,) * len(model.conditions) if y is None else y
        return _one_row(y).expand(n, -1)
    if not validate.is_number(y) or isinstance(y, float):
        return y
    return torch.full((n,), validate.whole("y", y, 0, 5))


def _one_row(y: tuple | list) -> Tensor:
    """Conditions (C,) with NaN for those that are None."""
    for value in y:
        if value is not None and not validate.is_number(value):
            raise TypeError(
                f"y: expected numbers, and None for what is withheld, got "
                f"{value!r:.40}; give a tuple such as (5, None)"
            )
    known = [math.nan if v is None else validate.as_float(v) for v in y]
    return torch.tensor(known)


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
    n = validate.whole("n", n, 1, 20)
    middles = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    steps = torch.special.ndtri(middles).float()
    return torch.cartesian_prod(steps.flip(0), steps).flip(1)


def to_code(model: Autoencoder, place: Tensor, y: Any = None) -> Tensor:
    """The codes at these places of the prior, in standard deviations.

    Of p(z|y) they are mu(y) + sigma(y) * place, so that one place means the
    same style for every y. With another prior the place is the code.

    Args:
        model: of any kind.
        place: standard normal if the codes are to follow the prior, (N, L).
        y: what the model is told, (N,) or (N, C).

    Returns:
        (N, L), on the CPU.

    Example:
        >>> to_code(Autoencoder(n_latent=2), torch.ones(1, 2))
        tensor([[1., 1.]])
    """
    mu, sigma = _moments(model, y, len(place))
    return mu + sigma * place.cpu()


def _moments(model: Any, y: Any, n: int) -> tuple[Any, Any]:
    """Mean and standard deviation of p(z|y) on the CPU, or 0 and 1."""
    if not hasattr(getattr(model, "prior", None), "moments"):
        return 0, 1
    with at_rest(model):
        mu, logvar = model.prior.moments(model.condition_vector(y, n))
    return mu.cpu(), (0.5 * logvar).exp().cpu()


def latent_grid(model: Autoencoder, n: int = 20, y: Any = None) -> Tensor:
    """What the decoder draws at each code of `quantile_grid`.

    Args:
        model: of any kind, with a code of two dimensions.
        n: images on a side.
        y: for a CVAE, the label or the conditions, as for `sample`.

    Returns:
        As `pictures`, row by row, (n * n, ...), on the CPU.

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
    places = quantile_grid(n)
    y = _for_each(model, y, len(places))
    return pictures(model, to_code(model, places, y), y)


def _needs_classes(model: Any) -> None:
    if not getattr(model, "n_classes", 0):
        raise TypeError(
            f"model: expected a CVAE of one label, got a "
            f"{type(model).__name__} without classes; train one with n_classes"
        )


def same_style(model: VAE, n: int, seed: int = 0) -> Tensor:
    """Every class drawn in the same n styles from the prior.

    Args:
        model: a CVAE of C classes.
        n: codes.
        seed: selects them.

    Returns:
        As `pictures`, (C, n, ...), on the CPU; one column has one style.

    Raises:
        TypeError: the model is not told one label.

    Example:
        >>> from minivae.models import CVAE
        >>> same_style(CVAE(n_latent=2), n=4).shape
        torch.Size([10, 4, 28, 28])
    """
    _needs_classes(model)
    drawn = [sample(model, n, y, seed) for y in range(model.n_classes)]
    return torch.stack(drawn)


def transfer(model: VAE, data: Rows) -> Tensor:
    """Each digit's style drawn as every class: encode with y, decode with y'.

    Kingma et al. 2014, figure 1 (semi-supervised learning). Where the prior
    is p(z|y), a style is a place in it.

    Args:
        model: a CVAE of C classes.
        data: whose styles to take, with their labels.

    Returns:
        As `pictures`, (C, N, ...), on the CPU; one column has one style.

    Raises:
        TypeError: the model is not told one label.

    Example:
        >>> from minivae.data import Images
        >>> from minivae.models import CVAE
        >>> images = torch.zeros(3, 28, 28, dtype=torch.uint8)
        >>> digits = Images(images, torch.tensor([1, 2, 3]))
        >>> transfer(CVAE(n_latent=2), digits).shape
        torch.Size([10, 3, 28, 28])
    """
    _needs_classes(model)
    z = codes(model, data)
    mu, sigma = _moments(model, data.y, len(z))
    places = (z - mu) / sigma
    kinds = torch.arange(model.n_classes)[:, None].expand(-1, len(places))
    drawn = [pictures(model, to_code(model, places, y), y) for y in kinds]
    return torch.stack(drawn)


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

    n_components = validate.whole("n_components", n_components, 1, 10)
    seed = validate.whole("seed", seed, 0, 0)
    z = validate.rows("z", z, tuple(getattr(z, "shape", (1, 1))[-1:]))
    validate.finite("z", z)
    if len(z) < max(2, n_components):
        raise ValueError(
            f"z: expected at least {max(2, n_components)} codes, got "
            f"{len(z)}; give more, or lower n_components"
        )
    kind = "diag" if diagonal else "full"
    fitted = GaussianMixture(
        n_components, covariance_type=kind, random_state=seed
    )
    fitted.fit(z.cpu().double().numpy())
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
