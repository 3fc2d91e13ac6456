"""What a code says: probes, disentanglement, slant, thickness, diversity.

A probe is a simple classifier or regression from codes to something that we
know about the digits. Its score means nothing by itself, so each comes with
two controls: the most frequent answer, and the same probe on shuffled labels
(Hewitt & Liang 2019).
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from minivae import validate


def linear_probe(
    z: Tensor, y: Tensor, z_test: Tensor, y_test: Tensor, seed: int = 0
) -> dict[str, float]:
    """How well a linear classifier reads labels from codes.

    Args:
        z, y: codes (N, L) and labels (N,) to learn from.
        z_test, y_test: to score on; never the same digits.
        seed: of the shuffled control.

    Returns:
        "accuracy" on the test codes; "majority", that of always saying the
        most frequent label; "shuffled", that of the same probe taught with
        shuffled labels, the mean of five.

    Example:
        >>> z, y = torch.tensor([[-1.0], [1.0]] * 9), torch.tensor([0, 1] * 9)
        >>> scores = linear_probe(z, y, z_test=2 * z, y_test=y)
        >>> scores["accuracy"], scores["majority"]
        (1.0, 0.5)
    """
    from sklearn.linear_model import LogisticRegression

    probe = LogisticRegression(max_iter=2000)
    return _probe(probe, z, y, z_test, y_test, seed)


def knn_probe(
    z: Tensor,
    y: Tensor,
    z_test: Tensor,
    y_test: Tensor,
    n_neighbours: int = 15,
    seed: int = 0,
) -> dict[str, float]:
    """How well the nearest codes tell the label: as `linear_probe`.

    Args:
        z, y, z_test, y_test, seed: as for `linear_probe`.
        n_neighbours: codes that vote.

    Returns:
        "accuracy", "majority" and "shuffled".

    Example:
        >>> z, y = torch.tensor([[-1.0], [1.0]] * 9), torch.tensor([0, 1] * 9)
        >>> knn_probe(z, y, 2 * z, y, n_neighbours=3)["accuracy"]
        1.0
    """
    from sklearn.neighbors import KNeighborsClassifier

    n_neighbours = validate.whole("n_neighbours", n_neighbours, 1, 15)
    probe = KNeighborsClassifier(n_neighbours)
    return _probe(probe, z, y, z_test, y_test, seed)


def _probe(probe, z, y, z_test, y_test, seed) -> dict[str, float]:
    accuracy, shuffled = _scores(probe, z, y, z_test, y_test, seed)
    values, counts = np.unique(_array(y), return_counts=True)
    found = float((_array(y_test) == values[counts.argmax()]).mean())
    return {"accuracy": accuracy, "majority": found, "shuffled": shuffled}


def _array(values: Any) -> np.ndarray:
    """As scikit-learn wants numbers, wherever they are."""
    if isinstance(values, Tensor):
        values = values.detach().cpu()
    return np.asarray(values)


def _scores(probe, z, y, z_test, y_test, seed: int) -> tuple[float, float]:
    """Of the probe, and its mean after five ways to shuffle the answers."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    z, y, *test = map(_array, (z, y, z_test, y_test))
    probe = make_pipeline(StandardScaler(), probe)
    score = float(probe.fit(z, y).score(*test))
    shuffle = np.random.default_rng(seed)
    answers = [shuffle.permutation(y) for _ in range(5)]
    scores = [probe.fit(z, answer).score(*test) for answer in answers]
    return score, float(np.mean(scores))


def regression_probe(
    z: Tensor,
    value: Tensor,
    z_test: Tensor,
    value_test: Tensor,
    n_neighbours: int = 0,
    seed: int = 0,
) -> dict[str, float]:
    """How much of a quantity can be told from codes: R^2 on test codes.

    1 is all of it. 0 is what the mean alone achieves, the counterpart of
    the most frequent label. Below 0 is worse than the mean.

    Args:
        z, value: codes (N, L) and numbers (N,) to learn from.
        z_test, value_test: to score on.
        n_neighbours: 0 is linear regression, else the mean of so many
            nearest codes.
        seed: of the shuffled control.

    Returns:
        "r2", and "shuffled", the same after shuffling what is learned from.

    Raises:
        ValueError: n_neighbours is not a whole number.

    Example:
        >>> z = torch.arange(9.0)[:, None]
        >>> scores = regression_probe(z, 3 * z[:, 0], z + 5, 3 * z[:, 0] + 15)
        >>> round(scores["r2"], 6)
        1.0
    """
    from sklearn.linear_model import LinearRegression
    from sklearn.neighbors import KNeighborsRegressor

    probe = LinearRegression()
    n_neighbours = validate.whole("n_neighbours", n_neighbours, 0, 15)
    if n_neighbours:
        probe = KNeighborsRegressor(n_neighbours)
    r2, shuffled = _scores(probe, z, value, z_test, value_test, seed)
    return {"r2": r2, "shuffled": shuffled}


def _columns(codes: Any, factors: Any) -> tuple[np.ndarray, np.ndarray]:
    """Codes (N, L) and factors (N, F) that can be compared."""
    found = _array(codes), _array(factors)
    for name, values in zip(("codes", "factors"), found):
        rows = values.ndim == 2 and len(values) == len(found[0])
        if not (rows and np.isfinite(values).all()):
            raise ValueError(
                f"{name}: expected finite numbers in a row for each of "
                f"{len(found[0])} codes, got {values.shape}; leave out rows "
                "of which something is not known"
            )
    if (constant := np.ptp(found[1], 0) == 0).any():
        raise ValueError(
            f"factors: expected that each differs, got a constant in column "
            f"{constant.argmax()}; leave it out"
        )
    return found


def _binned(values: np.ndarray, bins: int) -> np.ndarray:
    """Numbers (N,) as whole ones: of few kinds as they are, else of bins."""
    kinds, which = np.unique(values, return_inverse=True)
    if len(kinds) <= bins:
        return which
    edges = np.quantile(values, np.linspace(0, 1, bins + 1)[1:-1])
    return np.searchsorted(edges, values, side="right")


def mutual_information_gap(codes: Any, factors: Any, bins: int = 20) -> float:
    """How far each factor lies in one dimension of the code alone, MIG.

    Chen et al. 2018, equation 6: the information that the best dimension has
    about a factor, less that of the second best, in units of the entropy of
    the factor; the mean over the factors. Here the information is that of a
    table of counts. Numbers of more than `bins` kinds are sorted into as
    many bins of equal counts.

    Args:
        codes: mu of q(z|x), (N, L).
        factors: what is known of each x, (N, F).
        bins: of a factor and of a dimension; N is to be much larger than
            its square.

    Returns:
        From 0, where no factor has a dimension of its own, to 1.

    Raises:
        ValueError: codes and factors do not belong together, or a factor
            does not differ.

    Example:
        >>> factors = torch.cartesian_prod(*[torch.arange(9.0)] * 2)
        >>> round(mutual_information_gap(factors, factors), 4)
        1.0
        >>> both = factors @ torch.tensor([[1.0, 1.0], [1.0, -1.0]])
        >>> round(mutual_information_gap(both, factors), 4)
        0.0
    """
    from sklearn.metrics import mutual_info_score

    bins = validate.whole("bins", bins, 2, 20)
    codes, factors = (
        [_binned(column, bins) for column in values.T]
        for values in _columns(codes, factors)
    )
    gaps = []
    for factor in factors:
        told = sorted(mutual_info_score(factor, code) for code in codes)
        second, best = [0.0, *told][-2:]
        # what a factor tells of itself is its entropy
        gaps.append((best - second) / mutual_info_score(factor, factor))
    return float(np.mean(gaps))


def _images(images: Tensor) -> Tensor:
    """Ink (N, h, w), in double precision, on the CPU."""
    grey = isinstance(images, Tensor) and images.ndim in (3, 4)
    if not grey or (images.ndim == 4 and images.shape[1] != 1):
        got = getattr(images, "shape", type(images).__name__)
        raise ValueError(
            "images: expected a tensor (N, h, w) or (N, 1, h, w) of ink from "
            f"0 to 1, got {got}; use unflatten(-1, (28, 28)) on rows of "
            "pixels, and the mean over the channels of a picture in colour"
        )
    images = images.detach().cpu().double()
    return images[:, 0] if images.ndim == 4 else images


def slant(images: Tensor) -> Tensor:
    """The angle by which a digit leans to the right, in degrees.

    From the second moments of its ink: to stand upright it would have to be
    sheared by cov(column, row) / var(row) columns a row (LeCun et al. 1998
    straighten digits in this way).

    Args:
        images: ink, (N, h, w) or (N, 1, h, w).

    Returns:
        Degrees from -90 to 90, positive where the top lies to the right,
        (N,). 0 for a blank image or a single row.

    Raises:
        ValueError: no grey images.

    Example:
        >>> slant(torch.eye(9).flip(0)[None]).round()  # a stroke like /
        tensor([45.], dtype=torch.float64)
    """
    ink = _images(images)
    mass = ink.sum((1, 2)).clamp_min(1e-12)
    rows, columns = (torch.arange(n).double() for n in ink.shape[1:])
    row = (ink.sum(2) @ rows) / mass
    column = (ink.sum(1) @ columns) / mass
    down = rows - row[:, None]  # (N, h), grows downwards
    right = columns - column[:, None]  # (N, w)
    joint = torch.einsum("nhw,nh,nw->n", ink, down, right)
    height = (ink.sum(2) * down.square()).sum(1)
    lean = -joint / height.clamp_min(1e-12)
    return torch.rad2deg(torch.atan(lean))


def thickness(images: Tensor) -> Tensor:
    """The mean width of the strokes, in pixels.

    A stroke of width w and length l has an area of w l and two long edges
    of l each, so w is twice the area over the length of the edges. The
    length is the sum of the gradient of the ink, taken where four pixels
    meet: exact for edges along rows, columns and diagonals.

    Args:
        images: ink from 0 to 1, (N, h, w) or (N, 1, h, w).

    Returns:
        Pixels, (N,); 0 for a blank image.

    Raises:
        ValueError: no grey images.

    Example:
        >>> image = torch.zeros(1, 100, 20)
        >>> image[:, :, 8:11] = 1
        >>> thickness(image).round()
        tensor([3.], dtype=torch.float64)
    """
    ink = torch.nn.functional.pad(_images(images), (1, 1, 1, 1))
    right = ink.diff(dim=2)
    down = ink.diff(dim=1)
    right = (right[:, 1:] + right[:, :-1]) / 2
    down = (down[:, :, 1:] + down[:, :, :-1]) / 2
    edges = (right.square() + down.square()).sqrt().sum((1, 2))
    return 2 * ink.sum((1, 2)) / edges.clamp_min(1e-12)


def diversity(images: Tensor) -> float:
    """How much images differ: the variance of each pixel, summed.

    Half the mean squared distance between two of them. A model that always
    draws the same picture has none, however good it is.

    Args:
        images: in [0, 1], (N, h, w) or (N, C, h, w), at least two.

    Returns:
        Squared pixel values, never negative.

    Raises:
        ValueError: fewer than two, or no images.

    Example:
        >>> diversity(torch.stack([torch.zeros(2, 2), torch.ones(2, 2)]))
        2.0
    """
    if isinstance(images, Tensor) and images.ndim == 4:
        images = images.flatten(1, 2)  # colours one below the other
    ink = _images(images)
    if len(ink) < 2:
        raise ValueError(
            f"images: expected at least two, got {len(ink)}; one image "
            "does not differ from itself"
        )
    return ink.flatten(1).var(0).sum().item()
