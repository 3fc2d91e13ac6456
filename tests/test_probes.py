"""Probes find what is there and say what chance finds; sizes are measured."""

import math

import numpy as np
import pytest
import torch
from conftest import close, refused
from sklearn.base import BaseEstimator
from torch.nn.functional import pad

from minivae.probes import (
    _binned,
    _scores,
    diversity,
    knn_probe,
    linear_probe,
    mutual_information_gap,
    regression_probe,
    slant,
    thickness,
)

CLASSIFIERS = {"linear": linear_probe, "knn": knn_probe}
every = pytest.mark.parametrize("probe", CLASSIFIERS)


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator)


def halves(z, y):
    n = len(z) // 2
    return z[:n], y[:n], z[n:], y[n:]


@every
def test_labels_that_the_code_tells_are_read(probe):
    y = torch.arange(600) * 7 % 3
    z = normal(600, 2) + 9 * torch.eye(3)[y][:, :2]
    found = CLASSIFIERS[probe](*halves(z, y))
    assert found.keys() == {"accuracy", "majority", "shuffled"}
    assert found["accuracy"] > 0.99
    close(found["majority"], 1 / 3, 1e-2)
    assert found["shuffled"] < 0.55


@every
def test_labels_that_the_code_does_not_tell_are_not_read(probe):
    z, y = normal(3000, 2), torch.arange(3000) * 7 % 3
    found = CLASSIFIERS[probe](*halves(z, y))
    error = (2 / 9 / 1500) ** 0.5
    for share in found.values():
        assert abs(share - 1 / 3) < 4 * error


@every
def test_codes_and_numbers_may_be_of_torch_or_of_numpy(probe):
    z, y = normal(60, 2).requires_grad_(), torch.arange(60) % 2
    found = CLASSIFIERS[probe](*halves(z, y))
    arrays = halves(z.detach().numpy(), y.numpy())
    assert CLASSIFIERS[probe](*arrays) == found
    real = halves(z.detach().numpy(), y.float().numpy())
    for n in (0, np.int64(5)):
        found = regression_probe(*halves(z, y.float()), n)
        assert regression_probe(*real, n) == found
    few = [knn_probe(*arrays, n) for n in (5, np.int64(5))]
    assert few[0] == few[1]


def test_a_score_is_that_of_the_test_codes():
    z, y = normal(400, 2), torch.arange(400) % 2
    z = z + 9 * y[:, None]
    for probe in CLASSIFIERS.values():
        found = probe(z, y, z[:100], 1 - y[:100])
        assert found["accuracy"] < 0.01  # taught the other way round
        assert probe(z, y, z, y)["accuracy"] > 0.99


def test_majority_is_the_answer_that_was_most_frequent_when_learning():
    y = torch.tensor([4] * 60 + [1] * 40)
    y_test = torch.tensor([4] * 3 + [1] * 6 + [7])
    found = linear_probe(torch.zeros(100, 2), y, torch.zeros(10, 2), y_test)
    # what else could it learn
    assert found == {"accuracy": 0.3, "majority": 0.3, "shuffled": 0.3}


def test_only_neighbours_see_what_is_not_linear():
    z = normal(2000, 2)
    y = (z[:, 0] * z[:, 1] > 0).long()
    assert linear_probe(*halves(z, y))["accuracy"] < 0.6
    assert knn_probe(*halves(z, y))["accuracy"] > 0.9
    few, many = (
        knn_probe(*halves(z, y), n_neighbours=n)["accuracy"] for n in (5, 999)
    )
    assert many < 0.7 < few


@every
def test_the_unit_of_a_dimension_does_not_matter(probe):
    z, y = normal(600, 2), torch.arange(600) % 2
    z[:, 0] += 4 * y
    scaled = z * torch.tensor([1e-3, 1e3]) + 5
    a, b = (CLASSIFIERS[probe](*halves(c, y)) for c in (z, scaled))
    for name in a:
        assert abs(a[name] - b[name]) < 0.01
    assert a["accuracy"] > 0.95


@every
def test_the_control_is_a_function_of_the_seed(probe):
    z, y = normal(400, 5), torch.arange(400) % 4
    state = np.random.get_state()[1].copy()
    a, b, c = (
        CLASSIFIERS[probe](*halves(z, y), seed=seed) for seed in (0, 0, 1)
    )
    assert a == b
    assert a["shuffled"] != c["shuffled"]
    assert a["accuracy"] == c["accuracy"]
    assert (np.random.get_state()[1] == state).all()


@pytest.mark.parametrize("value", [0, -1, 2.5, None])
def test_a_wrong_number_of_neighbours_is_refused(value):
    z, y = normal(20, 2), torch.arange(20) % 2
    with refused("n_neighbours:"):
        knn_probe(z, y, z, y, value)
    if value != 0:  # which is linear regression
        with refused("n_neighbours:"):
            regression_probe(z, y, z, y, value)


@pytest.mark.parametrize("n_neighbours", [0, 10])
def test_a_quantity_that_the_code_tells_is_read(n_neighbours):
    z = normal(2000, 2)
    value = 3 * z[:, 0] - z[:, 1] + 0.1 * normal(2000, seed=1) + 40
    found = regression_probe(*halves(z, value), n_neighbours)
    assert found.keys() == {"r2", "shuffled"}
    if not n_neighbours:  # R^2 by hand: 1 - residual / total variance
        a = torch.cat([z, torch.ones(2000, 1)], 1)
        weights = torch.linalg.lstsq(a[:1000], value[:1000, None]).solution
        residual = value[1000:] - (a[1000:] @ weights)[:, 0]
        total = value[1000:] - value[1000:].mean()
        close(
            1 - found["r2"],
            1 - (1 - residual.var(correction=0) / total.var(correction=0)),
            2e-2,
        )
    assert 0.95 < found["r2"] < 1
    assert found["shuffled"] < 0.05


def test_a_quantity_that_the_code_does_not_tell_has_an_r2_of_zero():
    z, value = normal(4000, 2), normal(4000, seed=1) + 7
    found = regression_probe(*halves(z, value))
    assert abs(found["r2"]) < 0.01
    assert abs(found["shuffled"]) < 0.01
    other = regression_probe(z, value, z[:100], value[:100] + 5)
    assert other["r2"] < -10  # worse than the mean of those


def test_only_neighbours_see_a_quantity_that_is_not_linear():
    z = normal(2000, 1)
    value = z[:, 0].square()
    assert regression_probe(*halves(z, value))["r2"] < 0.1
    found = regression_probe(*halves(z, value), n_neighbours=5)
    assert found["r2"] > 0.9
    assert found["shuffled"] < 0.05
    other = regression_probe(*halves(z, value), n_neighbours=5, seed=1)
    assert other["r2"] == found["r2"]
    assert other["shuffled"] != found["shuffled"]


# --- whether a dimension is a factor


def uniform(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def entropy(*columns):
    """Of the joint counts of whole numbers, nats."""
    _, counts = np.unique(np.stack(columns), axis=1, return_counts=True)
    p = counts / counts.sum()
    return -(p * np.log(p)).sum()


def test_the_gap_is_that_of_tables_of_counts():
    draw = np.random.default_rng(0)
    factors = draw.integers(0, 4, (500, 2))
    codes = np.stack(
        [
            factors[:, 0] // 2,  # a bit of the first
            factors[:, 0] * 7 - 3 * (draw.random(500) < 0.2),
            factors[:, 1] + draw.integers(0, 3, 500),
            draw.integers(0, 5, 500),
        ],
        1,
    )
    gaps = []
    for v in factors.T:
        told = [entropy(v) + entropy(z) - entropy(v, z) for z in codes.T]
        *_, second, best = sorted(told)
        gaps.append((best - second) / entropy(v))
        assert best > 1.5 * second > 0
    close(mutual_information_gap(codes, factors), np.mean(gaps), 1e-9)
    # a dimension is what it tells, in whatever numbers
    found = mutual_information_gap(np.exp(codes / 9), -factors)
    close(found, np.mean(gaps), 1e-9)


def test_numbers_are_sorted_into_bins_of_equal_counts():
    values = normal(1000).exp().double().numpy()
    which = _binned(values, 8)
    assert np.bincount(which).tolist() == [125] * 8
    order = which[values.argsort()]
    assert (np.diff(order) >= 0).all()
    # equal numbers are never torn apart, and few kinds stay as they are
    tied = np.repeat(values[:250], 4)
    for group in _binned(tied, 8).reshape(-1, 4):
        assert len(set(group)) == 1
    assert _binned(np.array([0.5, 9.0, 0.5, -1.0]), 8).tolist() == [1, 2, 1, 0]
    # 20 equal bins that are told exactly have an entropy of log 20
    v = uniform(4000, 1)
    assert mutual_information_gap(-v, v) == pytest.approx(1)
    assert mutual_information_gap(torch.cat([v, v], 1), v) == 0


def turned(v, degrees):
    """Factors of mean 0 and variance 1, (N, 2), turned in their plane."""
    a = math.radians(degrees)
    turn = [[math.cos(a), math.sin(a)], [-math.sin(a), math.cos(a)]]
    return v @ torch.tensor(turn)


def test_a_factor_for_each_dimension_scores_1_and_a_turn_less():
    v = 12**0.5 * (uniform(3000, 2) - 0.5)
    noise = normal(3000, 3, seed=1)

    def score(z):
        z = torch.cat([z, noise], 1)  # and dimensions of nothing
        return mutual_information_gap(z, v)

    straight, slight, half = (score(turned(v, a)) for a in (90, 20, 45))
    assert straight > 0.95
    assert straight > slight + 0.05 > half + 0.1
    assert half < 0.02


def test_noise_tells_no_factor():
    v = torch.cat(
        [uniform(3000, 2), (uniform(3000, 1, seed=2) * 3).floor()], 1
    )
    z = normal(3000, 4)
    assert mutual_information_gap(z, v) < 0.01


def test_codes_and_factors_that_do_not_fit_are_refused():
    z, v = normal(40, 2), uniform(40, 2)
    nan = v.clone()
    nan[3, 1] = torch.nan
    for name, codes, factors in (
        ("codes", z[:, 0], v),
        ("codes", z / 0, v),
        ("factors", z, v[:30]),
        ("factors", z, v[:, 0]),
        ("factors", z, nan),
        ("factors", z, v * torch.tensor([1.0, 0.0])),
    ):
        with refused(f"{name}:", ValueError):
            mutual_information_gap(codes, factors)
    with refused("bins:"):
        mutual_information_gap(z, v, bins=1)


# --- sizes of what is drawn


def leaning(shift, height=21, width=9, shape=(41, 61), place=(20, 30)):
    """A block whose rows move by `shift` columns a row, to the right above.

    A pixel that the edge runs through is as grey as it is covered.
    """
    image, columns = torch.zeros(shape), torch.arange(shape[1])
    for row in range(-(height // 2), height // 2 + 1):
        middle = place[1] - shift * row
        low = (columns - 0.5).clamp_min(middle - width / 2)
        high = (columns + 0.5).clamp_max(middle + width / 2)
        image[place[0] + row] = (high - low).clamp_min(0)
    return image


@pytest.mark.parametrize("shift", [-1, -0.5, 0, 0.25, 0.5, 1])
@pytest.mark.parametrize("width", [1, 3, 25])
def test_slant_is_the_angle_of_a_sheared_block(shift, width):
    angle = math.degrees(math.atan(shift))
    images = [
        leaning(shift, width=width),
        leaning(shift, width=width, place=(15, 35)),  # wherever it is
        0.3 * leaning(shift, width=width),  # however faint
        leaning(shift, height=15, width=width),  # however tall
        leaning(shift, width=width).flip(0).flip(1),  # turned by 180
    ]
    found = slant(torch.stack(images))
    assert found.shape == (5,)
    assert ((found - angle).abs() < 1e-4).all()
    assert abs(slant(images[0].flip(1)[None]) + angle) < 1e-4


def test_a_digit_leans_to_the_right_where_its_top_does():
    image = torch.zeros(1, 5, 5)
    for i in range(5):
        image[0, i, 4 - i] = 1  # like a slash
    close(slant(image), [45.0])
    close(slant(image.flip(1)), [-45.0])
    assert slant(torch.eye(5)[None]).item() < 0  # like a backslash


def test_nothing_and_a_single_row_stand_upright():
    images = torch.zeros(2, 9, 7)
    images[1, 3, 1:6] = 1
    assert slant(images).tolist() == [0, 0]
    assert thickness(torch.zeros(1, 9, 7)).tolist() == [0]


@pytest.mark.parametrize("width", [1, 2, 3, 5, 8])
def test_thickness_is_the_width_of_a_bar(width):
    image = torch.zeros(260, 40)
    image[20:240, 10 : 10 + width] = 1
    found = thickness(torch.stack([image, image.flip(0).flip(1)]))
    close(found, [width, width], 0.04)
    assert (found < width).all()  # the two ends are edges, too
    # exactly: area over half of the edges, corners cut at 45 degrees
    edges = 2 * (width - 1) + 2 * 219 + 4 * 0.5**0.5
    close(found[0], 2 * 220 * width / edges, 1e-9)
    close(thickness(image.T[None]), found[:1], 1e-12)


@pytest.mark.parametrize("columns", [2, 3, 5, 8])
def test_thickness_of_a_diagonal_bar_is_taken_across_it(columns):
    place = torch.arange(300) - torch.arange(220)[:, None] - 20
    image = ((place >= 0) & (place < columns)).float()
    width = columns / 2**0.5
    for turned in (image, image.flip(1), image.T, image.T.flip(0)):
        close(thickness(turned[None]), [width], 0.03)


def test_thickness_grows_with_the_stroke_of_a_ring():
    place = torch.arange(101.0) - 50
    radius = (place[:, None] ** 2 + place**2).sqrt()
    rings = [((radius - 30).abs() < w / 2).float() for w in (2, 4, 8)]
    close(thickness(torch.stack(rings)), [2.0, 4.0, 8.0], 0.12)
    # where it lies in the picture and what is around it do not matter
    wide = pad(rings[1], (7, 0, 0, 9))
    close(thickness(wide[None]), thickness(rings[1][None]), 1e-9)
    cut = rings[1][19:82, 19:82]
    close(thickness(cut[None]), thickness(rings[1][None]), 1e-9)


def test_diversity_is_half_the_mean_squared_distance():
    images = torch.rand(12, 4, 5, generator=torch.Generator().manual_seed(0))
    rows = images.flatten(1).double()
    squares = torch.cdist(rows, rows).square()
    close(diversity(images), squares.sum() / (12 * 11) / 2)
    close(diversity(images[:2]), squares[0, 1] / 2)
    assert diversity(images[:1].expand(9, -1, -1)) == 0
    close(diversity(images / 2), diversity(images) / 4)
    with refused("images:"):
        diversity(images[:1])


def test_grey_pictures_may_come_with_their_channel():
    noise = torch.Generator().manual_seed(0)
    images = torch.rand(4, 9, 7, generator=noise, requires_grad=True)
    for function in (slant, thickness):
        expected = function(images)
        assert not expected.requires_grad
        assert torch.equal(function(images[:, None]), expected)
        with refused("images:") as caught:
            function(images[:, None].expand(4, 3, 9, 7))
        assert "colour" in str(caught.value)
    assert diversity(images[:, None]) == diversity(images)
    # colours differ, too
    both = torch.stack([images, 1 - images], 1)
    close(diversity(both), 2 * diversity(images))


@pytest.mark.parametrize(
    "images",
    [
        *(None, torch.zeros(3, 784), torch.zeros(28, 28)),
        *(np.zeros((3, 28, 28)), torch.zeros(2, 3, 1, 28, 28)),
    ],
    ids=lambda i: str(getattr(i, "shape", i)),
)
def test_what_is_no_stack_of_images_is_refused(images):
    for function in (slant, thickness, diversity):
        with refused("images:"):
            function(images)


def test_the_unit_of_a_dimension_does_not_matter_to_neighbours():
    z = normal(300, 2)
    told = halves(z, z[:, 0])
    scaled = z * torch.tensor([1.0, 1000.0])  # the other one is only noise
    a, b = told, halves(scaled, z[:, 0])
    plain, wide = (regression_probe(*c, n_neighbours=5)["r2"] for c in (a, b))
    assert plain > 0.8
    assert wide > 0.8


def test_the_control_is_the_mean_of_five_shuffles():
    class Counter(BaseEstimator):
        taught_ = ()

        def fit(self, z, y):
            self.taught_ += (tuple(y),)
            return self

        def score(self, z, y):
            return len(self.taught_)

    counter, y = Counter(), np.arange(20)
    z = y[:, None]
    assert _scores(counter, z, y, z, y, 0) == (1, 4)
    assert counter.taught_[0] == tuple(y)
    assert len(set(counter.taught_)) == 6
    assert all(sorted(t) == y.tolist() for t in counter.taught_)
