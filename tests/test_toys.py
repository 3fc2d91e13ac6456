"""The made-up data are what they say, so that answers can be checked."""

import colorsys
import math

import numpy as np
import pytest
import torch
from conftest import close, refused, untouched_rng
from matplotlib.path import Path

from minivae import toys
from minivae.data import seeded
from minivae.evaluate import log_evidence

MAKERS = {
    "factors": lambda n, **o: toys.gaussian_factors(n, n_dims=5, **o),
    "roll": toys.swiss_roll,
    "circles": toys.circles,
    "moons": toys.moons,
    "vowels": toys.vowels,
    "shapes": toys.shapes,
}


@pytest.mark.parametrize("name", MAKERS)
def test_rows_are_a_function_of_seed_and_split(name):
    def make(**options):
        with untouched_rng():
            return MAKERS[name](20, **options)

    table = make()
    assert (len(table), table.split) == (20, "train")
    assert table.conditions.dtype == torch.float32
    assert table.digest() == make(seed=0, split="train").digest()
    others = [make(seed=1), make(split="test")]
    assert others[1].split == "test"
    for seed in (np.int64(1), torch.tensor(1)):  # the same number
        assert make(seed=seed).digest() == others[0].digest()
    rows = torch.cat([t.x() for t in (table, *others)])
    assert len(rows.unique(dim=0)) == 60


# --- known factors


def weights(table):
    """The map from factors to values, by least squares, (k, D)."""
    return torch.linalg.lstsq(table.conditions, table.values).solution


def test_factors_are_independent_and_standard_normal():
    factors = toys.gaussian_factors(20_000, (3.0, 1.0, 0.2)).conditions
    assert factors.shape == (20_000, 3)
    error = 1 / 20_000**0.5
    assert (factors.mean(0).abs() < 3.5 * error).all()
    gap = factors.T.cov() - torch.eye(3)
    assert (gap.abs() < 3.5 * 2**0.5 * error).all()


def test_without_more_dimensions_a_value_is_a_factor_with_noise():
    scales = (3.0, 1.0, 0.2)
    table = toys.gaussian_factors(20_000, scales, noise=0.5)
    noise = table.values - table.conditions * torch.tensor(scales)
    gap = noise.T.cov() - 0.25 * torch.eye(3)
    assert (gap.abs() < 3.5 * 0.25 * (2 / 20_000) ** 0.5).all()
    # and it is not that of the factors
    assert (
        weights(table) - torch.diag(torch.tensor(scales))
    ).abs().max() < 0.02


@pytest.mark.parametrize("n_dims", [3, 8])
def test_the_rotation_keeps_lengths_and_angles(n_dims):
    scales = (3.0, 1.0, 0.2)
    options = {"scales": scales, "n_dims": n_dims, "noise": 0.0}
    table = toys.gaussian_factors(500, **options)
    assert table.values.shape == (500, n_dims)
    turn = weights(table) / torch.tensor(scales)[:, None]
    torch.testing.assert_close(turn @ turn.T, torch.eye(3), rtol=0, atol=1e-4)
    assert (turn.abs() < 0.99).all()  # it does turn
    # so the factors come back
    found = table.values @ turn.T / torch.tensor(scales)
    torch.testing.assert_close(found, table.conditions, rtol=0, atol=1e-3)
    # the test set is turned in the same way, and another seed otherwise
    test = toys.gaussian_factors(500, split="test", **options)
    torch.testing.assert_close(
        weights(test), weights(table), rtol=0, atol=1e-4
    )
    other = weights(toys.gaussian_factors(500, seed=1, **options))
    assert (other - weights(table)).abs().max() > 0.1


@pytest.mark.parametrize("options", [{"n_dims": 2}, {"n_dims": 2.5}, {"n": 0}])
def test_impossible_factors_are_refused(options):
    with refused("n"):
        toys.gaussian_factors(**{"n": 10} | options)


def uniform(values):
    """Whether (N,) looks uniform with mean 0 and variance 1."""
    n, sorted_ = len(values), values.sort().values / 12**0.5 + 0.5
    gap = (sorted_ - (torch.arange(n) + 0.5) / n).abs().max()
    return gap < 1.63 / n**0.5  # Kolmogorov, 1 %


def test_the_roll_can_be_unrolled():
    table = toys.swiss_roll(5000, noise=0.0)
    x, height, z = table.values.unbind(1)
    place, also_height = table.conditions.unbind(1)
    angle = 7 * torch.hypot(x, z)
    torch.testing.assert_close(height, also_height)
    unrolled = (angle / math.pi - 1.5) / 3  # 0 to 1
    torch.testing.assert_close(
        (unrolled - 0.5) * 12**0.5, place, rtol=0, atol=1e-4
    )
    for factor in (place, height):
        assert uniform(factor)
        close(factor.var(), 1.0, 0.05)
    assert abs((place * height).mean()) < 3.5 / 5000**0.5
    turn = torch.atan2(z, x) - angle  # one and a half turns, or so
    torch.testing.assert_close(turn.cos(), torch.ones(5000))
    assert angle.max() - angle.min() > 2 * math.pi
    assert ((table.values.var(0) > 0.5) & (table.values.var(0) < 2)).all()


def test_rings_have_their_radius_and_angle():
    table = toys.circles(5000, noise=0.0)
    ring, cosine, sine = table.conditions.unbind(1)
    assert set(ring.unique().tolist()) == {0, 1}
    assert abs(ring.mean() - 0.5) < 3.5 * 0.5 / 5000**0.5
    radius = table.values.norm(dim=1)
    torch.testing.assert_close(radius, 0.8 * (1 + ring))
    torch.testing.assert_close(table.values[:, 0] / radius, cosine)
    torch.testing.assert_close(table.values[:, 1] / radius, sine)
    angle = torch.atan2(sine, cosine) / math.pi  # -1 to 1
    assert uniform(angle * 3**0.5)


def test_moons_are_half_rings_that_reach_into_each_other():
    table = toys.moons(5000, noise=0.0)
    moon, place = table.conditions.unbind(1)
    assert set(moon.unique().tolist()) == {0, 1}
    assert uniform(place)
    side = 1 - 2 * moon
    centre = torch.stack([-side / 2, -side / 4], 1)
    point = table.values - centre
    torch.testing.assert_close(point.norm(dim=1), torch.ones(5000))
    assert (point[:, 1] * side > -1e-6).all()  # one opens down, one up
    angle = torch.atan2(point[:, 1] * side, point[:, 0] * side)
    torch.testing.assert_close(
        (angle / math.pi - 0.5) * 12**0.5, place, rtol=0, atol=1e-3
    )
    for half in (moon == 0, moon == 1):  # the tip is inside the other
        inside = (table.values[half] - centre[~half][0]).norm(dim=1) < 0.9
        assert 0.05 < inside.double().mean() < 0.5


@pytest.mark.parametrize("name", ["factors", "roll", "circles", "moons"])
def test_noise_has_the_size_that_was_asked_for(name):
    quiet, loud = (MAKERS[name](4000, noise=s).values for s in (0.0, 0.3))
    error = 0.3 / 8000**0.5
    assert ((loud - quiet).std(0) - 0.3).abs().max() < 4 * error


# --- a known decoder


def test_the_arc_is_a_circle_that_closes_at_the_top():
    model = toys.Arc(0.2)
    z = torch.linspace(-2, 2, 9)[:, None]
    x = model.decode(z)
    torch.testing.assert_close(x.norm(dim=1), torch.full((9,), 2.0))
    close(model.decode(torch.zeros(1, 1)), [[0.0, -2.0]])
    assert x[5, 0] > 0  # positive codes lie to the right
    angle = torch.atan2(x[:, 0], -x[:, 1])
    torch.testing.assert_close(angle[2:7], 1.5 * z[2:7, 0])
    ends = model.decode(torch.tensor([[1.0], [-1.0]]) * math.pi / 1.5)
    torch.testing.assert_close(
        ends, torch.tensor([[0.0, 2.0]] * 2), rtol=0, atol=1e-5
    )
    assert model.decode(torch.zeros(3, 4, 1)).shape == (3, 4, 2)
    close(model.likelihood.log_sigma.exp(), 0.2)


def test_points_of_the_arc_are_its_picture_with_noise():
    model = toys.Arc(0.3)
    with untouched_rng():
        z, x = model.sample_pairs(20_000, seeded("cpu", "arc"))
    assert abs(z.mean()) < 3.5 / 20_000**0.5
    assert abs(z.var() - 1) < 3.5 * (2 / 20_000) ** 0.5
    noise = x - model.decode(z)
    assert (noise.mean(0).abs() < 3.5 * 0.3 / 20_000**0.5).all()
    gap = noise.T.cov() - 0.09 * torch.eye(2)
    assert (gap.abs() < 4 * 0.09 * (2 / 20_000) ** 0.5).all()
    assert not x.requires_grad


def test_new_points_are_drawn_like_those_of_the_pairs():
    model = toys.Arc(0.3)
    noise = seeded("cpu", "arc")
    _, expected = model.sample_pairs(9, seeded("cpu", "arc"))
    assert torch.equal(model.sample(9, None, noise), expected)


def test_the_evidence_of_the_arc_is_a_density():
    model, side = toys.Arc(0.4), torch.linspace(-5, 5, 101)
    x = torch.cartesian_prod(side, side)
    total = log_evidence(model, x).exp().sum() * 0.1**2
    close(total, 1.0, 1e-3)


# --- colour


def test_ink_goes_to_the_channel_of_its_colour(small):
    with untouched_rng():
        table = toys.coloured(small)
    assert table.values.shape == (200, 3 * 196)
    assert (table.source, table.split) == ("coloured builtin", "train")
    digit, colour = table.conditions.long().unbind(1)
    assert torch.equal(digit, small.labels)
    share = colour.bincount().double() / 200
    assert ((share - 1 / 3).abs() < 3.5 * (2 / 9 / 200) ** 0.5).all()
    # a pixel is the mean of a square of four
    ink = small.images.view(200, 14, 2, 14, 2).double().mean((2, 4)) / 255
    for i, channels in enumerate(table.values.view(200, 3, 14, 14)):
        for c in range(3):
            expected = ink[i].float() * (c == colour[i])
            torch.testing.assert_close(channels[c], expected)
    again = [
        toys.coloured(small, seed=1),
        toys.coloured(type(small)(small.images, small.labels, "a", "test")),
    ]
    for other in again:
        assert not torch.equal(other.conditions[:, 1], table.conditions[:, 1])
    assert toys.coloured(small).digest() == table.digest()


# --- pictures of known factors


def corners(kind, size, x, y):
    """The outline of a shape in pixels, as a polygon, (K, 2)."""
    n = (4, 300, 3)[kind]
    # a regular polygon with a corner on top, of the area of a disc
    area = n / 2 * math.sin(2 * math.pi / n)
    radius = (3 + 4 * size) * (math.pi / area) ** 0.5
    turns = np.arange(n) / n + (0.125 if n == 4 else 0)
    angle = 2 * math.pi * turns
    outline = np.stack([np.sin(angle), -np.cos(angle)], 1)
    return radius * outline + [12 + 8 * x, 12 + 8 * y]


def test_a_picture_is_its_shape_in_its_colour_at_its_place():
    data = toys.shapes(30)
    assert data.shape == (3, 32, 32)
    assert torch.equal(data.labels, data.conditions[:, 0].long())
    fine = (np.arange(32 * 12) + 0.5) / 12
    points = np.stack(np.meshgrid(fine, fine), -1).reshape(-1, 2)
    for picture, told in zip(data.x(), data.conditions.tolist()):
        kind, hue, *place = told
        inside = Path(corners(int(kind), *place)).contains_points(points)
        covered = inside.reshape(32, 12, 32, 12).mean((1, 3))
        colour = torch.tensor(colorsys.hsv_to_rgb(hue, 1, 1))
        ink = picture.amax(0)
        gap = (ink - torch.tensor(covered)).abs()
        assert gap.max() < 0.35  # at a corner
        assert gap.mean() < 0.003
        expected = ink * colour[:, None, None]
        assert (picture - expected).abs().max() < 1.01 / 255
        assert not ink[[0, -1]].any()  # nothing is cut off
        assert not ink[:, [0, -1]].any()


def test_factors_of_shapes_are_independent_and_uniform():
    told = toys.shapes(5000).conditions
    counts = told[:, 0].long().bincount()
    assert len(counts) == len(toys.SHAPES)
    assert ((counts - 5000 / 3).abs() < 3.5 * (5000 * 2 / 9) ** 0.5).all()
    for factor in told[:, 1:].T:
        assert uniform((factor - 0.5) * 12**0.5)
    gap = told.T.corrcoef() - torch.eye(5)
    assert (gap.abs() < 3.5 / 5000**0.5).all()


def test_no_picture_is_in_both_splits():
    sets = [toys.shapes(2000, 0, split) for split in ("train", "test")]
    hues = [(data.conditions[:, 1] * 360).round() % 2 for data in sets]
    assert not hues[0].any()
    assert hues[1].all()
    # one degree more is another colour wherever a pixel is full
    for data in sets:
        assert (data.x().amax((1, 2, 3)) == 1).all()
    degrees = torch.tensor(
        [colorsys.hsv_to_rgb(i / 360, 1, 1) for i in range(360)]
    )
    assert len((255 * degrees).round().unique(dim=0)) == 360
    pictures = torch.cat([data.images.flatten(1) for data in sets])
    assert len(pictures.unique(dim=0)) == 4000


@pytest.mark.parametrize("options", [{"n": 0}, {"split": "valid"}])
def test_impossible_shapes_are_refused(options):
    with refused(next(iter(options))):
        toys.shapes(**{"n": 5} | options)


# --- sound


def tones(waves, hertz):
    """Strength of each frequency in a wave, (N,), by projection."""
    time = torch.arange(waves.shape[-1]) / toys.RATE
    turns = 2j * math.pi * torch.as_tensor(hertz)[:, None] * time
    return 2 * (waves * (-turns).exp()).mean(-1).abs()


def test_a_voice_is_harmonics_shaped_by_resonances():
    formants, pitch = torch.tensor([[600.0, 1500.0, 2600.0]]), 100.0
    (wave,) = toys.vowel_sound(formants, torch.tensor([pitch]), seconds=1)
    assert wave.shape == (8000,)
    close(wave.abs().max(), 1.0)
    k = torch.arange(1, 40)
    strength = tones(wave, k * pitch)
    between = tones(wave, (k[:-1] + 0.5) * pitch)
    assert between.max() < 1e-3 * strength.max()
    # second-order resonances: F^2 / (F^2 - f^2 + i w f)
    f = k * pitch
    gain = 1 / k
    for centre, width in zip(formants[0], (60, 90, 120)):
        gain = gain * (centre**2 / (centre**2 - f**2 + 1j * width * f)).abs()
    torch.testing.assert_close(
        strength / strength[0], gain / gain[0], rtol=2e-3, atol=1e-4
    )


def test_a_voice_has_nothing_above_half_the_rate():
    formants = torch.tensor([[2900.0, 3400.0, 3950.0]])  # loud up there
    (wave,) = toys.vowel_sound(formants, torch.tensor([270.0]), seconds=1)
    folded = toys.RATE - 270.0 * torch.arange(15, 30)
    heard = tones(wave, 270.0 * torch.arange(1, 15))
    assert tones(wave, folded[folded > 0]).max() < 1e-3 * heard.max()
    assert toys.vowel_sound(formants, torch.ones(1)).shape == (1, 2400)


def test_a_pitch_glides_by_octaves_around_its_middle():
    low = torch.full((2, 3), 100.0)  # hardly more than the fundamental
    glide = torch.tensor([1.0, -0.5])
    waves = toys.vowel_sound(low, torch.full((2,), 100.0), glide, seconds=2)
    for wave, octaves in zip(waves, glide):
        for start, place in ((0, -0.475), (7600, 0.0), (15_200, 0.475)):
            signs = wave[start : start + 800] > 0
            found = (signs.diff() != 0).sum() / 2 / 0.1  # hertz
            close(found.float(), 100 * 2 ** (octaves * place), 0.06)


@pytest.mark.parametrize("vowel", toys.VOWELS)
def test_a_spectrogram_has_its_peaks_at_the_formants(vowel):
    formants = torch.tensor([toys.VOWELS[vowel]]).float()
    pitch = torch.linspace(90, 140, 200)
    found = toys.spectrogram(toys.vowel_sound(formants.expand(200, -1), pitch))
    hertz = 4000 * torch.arange(1, 129) / 128
    # without the voice, whose harmonics fall with 1 / k; 30 decibels are 1
    loudness = found.mean((0, 2)) + 20 * hertz.log10() / 30
    for formant in formants[0]:
        others = (formants[0] - formant).abs().sort().values[1:]
        near = (hertz - formant).abs() < (others[0] / 2).clamp_max(200)
        peak = hertz[near][loudness[near].argmax()]
        assert (peak - formant).abs() <= 62.5  # two rows
        assert peak not in (hertz[near][0], hertz[near][-1])


def test_a_tone_lies_in_the_row_of_its_frequency():
    time = torch.arange(2400) / toys.RATE

    def tone(hertz):
        return torch.sin(2 * math.pi * hertz * time)

    waves = torch.stack([tone(1000), tone(1000) + 0.1 * tone(2500), tone(125)])
    found = toys.spectrogram(waves)
    assert found.shape == (3, 128, 9)  # whole windows of 256, every 240
    assert found.min() >= -1
    close(found.amax((1, 2)), [1.0] * 3)
    assert (found[:2].argmax(1) == 1000 / 31.25 - 1).all()
    assert (found[2].argmax(0) == 125 / 31.25 - 1).all()
    # a tenth of the amplitude is 20 of 60 decibels less, so 2 / 3
    close(found[1, 79], torch.full_like(found[1, 79], 1 - 2 / 3), 0.05)
    # louder by a factor is the same picture
    torch.testing.assert_close(toys.spectrogram(9 * waves), found)


def test_vowels_are_told_by_kind_and_pitch():
    table = toys.vowels(1000)
    assert table.shape == (128 * 9,)
    assert table.values.abs().max() <= 1
    kind, octaves = table.conditions.unbind(1)
    counts = kind.long().bincount()
    assert len(counts) == len(toys.VOWELS)
    assert ((counts - 200).abs() < 3.5 * (1000 * 0.2 * 0.8) ** 0.5).all()
    assert octaves.min() > math.log2(90 / 160) - 1e-5
    assert octaves.max() < math.log2(280 / 160) + 1e-5
    assert octaves.max() - octaves.min() > 1.6
    # the order is that of VOWELS: each sounds most like its own
    loudness = table.values.view(1000, 128, -1).mean(2)
    pure = []
    for formants in toys.VOWELS.values():
        tract = torch.linspace(0.9, 1.2, 40)[:, None]
        pitch = 90 * 2 ** (1.6 * torch.linspace(0, 1, 40) * 7 % 1.6)
        waves = toys.vowel_sound(torch.tensor(formants) * tract, pitch)
        pure.append(toys.spectrogram(waves).mean(2))
    distance = torch.stack(
        [torch.cdist(loudness, p).min(1).values for p in pure]
    )
    assert (distance.argmin(0) == kind).double().mean() > 0.8


def test_the_pitch_that_is_told_is_the_one_that_sounds(monkeypatch):
    heard = []

    def listen(formants, pitch, glide):
        heard.append((formants, pitch, glide))
        return torch.ones(len(pitch), 2400)

    monkeypatch.setattr(toys, "vowel_sound", listen)
    table = toys.vowels(2000)
    ((formants, pitch, glide),) = heard
    kind, octaves = table.conditions.unbind(1)
    close(pitch, 160 * 2**octaves)
    assert -0.5 <= glide.min() < -0.45
    assert 0.45 < glide.max() < 0.5
    ratio = formants / torch.tensor(list(toys.VOWELS.values()))[kind.long()]
    tract = ratio.mean(1)  # one length of the vocal tract scales them all
    assert 0.82 < tract.min() < 0.92
    assert 1.18 < tract.max() < 1.28
    own = (ratio / tract[:, None]).std(0)
    assert ((own > 0.02) & (own < 0.03)).all()  # 3 % less the shared part
