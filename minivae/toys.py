"""Small data of which we know everything, so that answers can be checked."""

import math

import torch
from torch import Tensor, nn

from minivae import validate
from minivae.data import SPLITS, Images, Table, seeded
from minivae.models import VAE

# mean formants F1, F2, F3 of men in hertz (Peterson & Barney 1952)
VOWELS = {
    "i": (270, 2290, 3010),
    "e": (530, 1840, 2480),
    "a": (730, 1090, 2440),
    "o": (570, 840, 2410),
    "u": (300, 870, 2240),
}
RATE = 8000  # samples of sound in a second


class Arc(VAE):
    """A known decoder from one latent dimension to points in a plane.

    The code z runs along a circle of radius 2 that closes at |z| = pi / 1.5,
    about 2.1; so a point at the top may come from two places.

    Args:
        sigma: standard deviation of the noise in both directions.

    Example:
        >>> Arc().decode(torch.zeros(1, 1))  # the lowest point of the circle
        tensor([[ 0., -2.]])
    """

    def __init__(self, sigma: float = 0.3) -> None:
        super().__init__(1, (), likelihood="gaussian", sigma=sigma, shape=(2,))

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """The point (..., 2) on the circle that belongs to z (..., 1)."""
        angle = 1.5 * z
        return 2 * torch.cat([angle.sin(), -angle.cos()], -1)

    def sample_pairs(
        self, n: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Codes (n, 1) from the prior and points (n, 2) drawn from them."""
        z = self.prior.sample(n, self.n_latent, generator)
        return z, self.likelihood.sample(self.decode(z), generator)


def gaussian_factors(
    n: int,
    scales: tuple[float, ...] = (1.0, 1.0, 1.0),
    n_dims: int | None = None,
    noise: float = 0.1,
    seed: int = 0,
    split: str = "train",
) -> Table:
    """Independent normal factors, seen through a rotation and noise.

    Args:
        n: rows.
        scales: standard deviation of each factor in the data.
        n_dims: D, at least the number of factors; None is that number, and
            then nothing is rotated.
        noise: standard deviation added to each of the D numbers.
        seed: selects the rotation; with the split it selects the rows.
        split: "train" or "test".

    Returns:
        Values (n, D); the factors, standard normal, as conditions.

    Raises:
        ValueError: n is less than 1, or n_dims less than the factors.

    Example:
        >>> gaussian_factors(100, n_dims=5)
        Table(3 Gaussian factors, train, 100 x 5)
    """
    n = validate.whole("n", n, 1, 1000)
    k = len(scales)
    turn = torch.eye(k)
    if n_dims is not None:
        n_dims = validate.whole("n_dims", n_dims, k, k)
        g = seeded("cpu", "rotation", seed)
        turn, _ = torch.linalg.qr(torch.randn(n_dims, k, generator=g))
    g = seeded("cpu", "factors", split, seed)
    factors = torch.randn(n, k, generator=g)
    x = (factors * torch.tensor(scales)) @ turn.T
    x = x + noise * torch.randn(x.shape, generator=g)
    return Table(x, factors, f"{k} Gaussian factors", split)


def _unit(v: Tensor) -> Tensor:
    """Uniform numbers from 0 to 1 made to have mean 0 and variance 1."""
    return (v - 0.5) * math.sqrt(12)


def swiss_roll(
    n: int, noise: float = 0.05, seed: int = 0, split: str = "train"
) -> Table:
    """A rolled-up sheet in three dimensions: two factors, place and height.

    Args:
        n: rows.
        noise: standard deviation added to each number.
        seed, split: select the rows.

    Returns:
        Values (n, 3) of variance about 1; conditions (n, 2), the place
        along the roll and the height, each of mean 0 and variance 1.

    Example:
        >>> swiss_roll(100), swiss_roll(100).y.shape
        (Table(roll, train, 100 x 3), torch.Size([100, 2]))
    """
    g = seeded("cpu", "roll", split, seed)
    place, height = torch.rand(2, n, generator=g)
    angle = math.pi * (1.5 + 3 * place)
    x = torch.stack(
        [angle * angle.cos() / 7, _unit(height), angle * angle.sin() / 7], 1
    )
    x = x + noise * torch.randn(x.shape, generator=g)
    told = torch.stack([_unit(place), _unit(height)], 1)
    return Table(x, told, "roll", split)


def circles(
    n: int, noise: float = 0.05, seed: int = 0, split: str = "train"
) -> Table:
    """Two rings in a plane: which ring, and where on it.

    Args:
        n: rows.
        noise: standard deviation added to each number.
        seed, split: select the rows.

    Returns:
        Values (n, 2); conditions (n, 3): the ring, 0 or 1, and cosine and
        sine of the angle.

    Example:
        >>> ring, cosine, sine = circles(100, noise=0.0).y.T
        >>> (cosine**2 + sine**2).allclose(torch.ones(100))
        True
    """
    g = seeded("cpu", "circles", split, seed)
    ring = (torch.rand(n, generator=g) < 0.5).float()
    angle = 2 * math.pi * torch.rand(n, generator=g)
    point = torch.stack([angle.cos(), angle.sin()], 1)
    x = (1 + ring)[:, None] * 0.8 * point
    x = x + noise * torch.randn(x.shape, generator=g)
    return Table(x, torch.cat([ring[:, None], point], 1), "circles", split)


def moons(
    n: int, noise: float = 0.05, seed: int = 0, split: str = "train"
) -> Table:
    """Two half rings that reach into each other: which, and where on it.

    Args:
        n: rows.
        noise: standard deviation added to each number.
        seed, split: select the rows.

    Returns:
        Values (n, 2); conditions (n, 2): the moon, 0 or 1, and the place
        along it, of mean 0 and variance 1.

    Example:
        >>> moons(100), moons(100).y.shape
        (Table(moons, train, 100 x 2), torch.Size([100, 2]))
    """
    g = seeded("cpu", "moons", split, seed)
    moon = (torch.rand(n, generator=g) < 0.5).float()
    place = torch.rand(n, generator=g)
    angle = math.pi * place
    side = 1 - 2 * moon  # 1 or -1
    right = side * angle.cos() + moon - 0.5
    up = side * angle.sin() + moon / 2 - 0.25
    x = torch.stack([right, up], 1)
    x = x + noise * torch.randn(x.shape, generator=g)
    return Table(x, torch.stack([moon, _unit(place)], 1), "moons", split)


def coloured(digits: Images, seed: int = 0) -> Table:
    """Small digits in red, green or blue ink, drawn at random.

    Args:
        digits: any images of even height and width; each square of four
            pixels becomes one.
        seed: with the split, selects the colours.

    Returns:
        Values (N, 3 * 196) in [0, 1], the ink of each colour in turn;
        conditions (N, 2): the digit, and the colour as 0, 1 or 2.

    Example:
        >>> images = torch.full((2, 28, 28), 255, dtype=torch.uint8)
        >>> digits = Images(images, torch.tensor([3, 5]), "ink", "test")
        >>> data = coloured(digits)
        >>> data, data.values.sum(1)
        (Table(coloured ink, test, 2 x 588), tensor([196., 196.]))
    """
    g = seeded("cpu", "colours", digits.split, seed)
    colour = torch.randint(3, (len(digits),), generator=g)
    ink = nn.functional.avg_pool2d(digits.images.float() / 255, 2).flatten(1)
    paint = nn.functional.one_hot(colour, 3).float()  # (N, 3)
    values = (paint[:, :, None] * ink[:, None]).flatten(1)
    told = torch.stack([digits.labels, colour], 1).float()
    return Table(values, told, f"coloured {digits.source}", digits.split)


SHAPES = ("square", "disc", "triangle")


def shapes(n: int, seed: int = 0, split: str = "train") -> Images:
    """Colour pictures of a square, a disc or a triangle, on black.

    Five factors make a picture, drawn independently of each other, in the
    manner of dSprites (Matthey et al. 2017). Edges are smooth, so that a
    small move is seen. No picture of one split is in the other: hues are
    whole degrees, even ones for training and odd ones for testing.

    Args:
        n: pictures.
        seed, split: select them.

    Returns:
        Pictures (n, 3, 32, 32); the shape, 0 to 2 in the order of SHAPES, as
        label; conditions (n, 5): the shape, and from 0 to 1 the hue (red,
        green, blue and back to red), the size (areas of 28 to 154 pixels)
        and the place from left to right and from top to bottom.

    Raises:
        ValueError: n is less than 1, or the split is another.

    Example:
        >>> data = shapes(5)
        >>> data, data.shape, data.y.shape
        (Images(shapes, train, 5 images), (3, 32, 32), torch.Size([5, 5]))
    """
    n = validate.whole("n", n, 1, 1000)
    validate.choice("split", split, SPLITS)
    g = seeded("cpu", "shapes", split, seed)
    kind = torch.randint(len(SHAPES), (n,), generator=g)
    degrees = 2 * torch.randint(180, (n,), generator=g) + SPLITS.index(split)
    size, x, y = torch.rand(3, n, generator=g)
    told = torch.stack([kind.float(), degrees / 360, size, x, y], 1)
    # distance to the edge in pixels, negative inside, (n, 32, 32)
    pixel = torch.arange(32) + 0.5
    right = (pixel - (12 + 8 * x)[:, None])[:, None, :]
    down = (pixel - (12 + 8 * y)[:, None])[:, :, None]
    # all shapes of one size have the area of a disc of this radius
    radius = (3 + 4 * size)[:, None, None]
    square = torch.maximum(right.abs(), down.abs())
    square = square - radius * math.sqrt(math.pi / 4)
    disc = torch.hypot(right, down) - radius
    roof = math.sqrt(0.75) * right.abs() - 0.5 * down
    wide = math.sqrt(math.pi / math.sqrt(27))
    triangle = torch.maximum(roof, down) - radius * wide
    which = kind[:, None, None]
    edge = torch.where(which == 0, square, disc)
    ink = 0.5 - torch.where(which == 2, triangle, edge)
    ink = 255 * ink.clamp_(0, 1)
    # from 0 to 6 around the colours; each channel is far from its opposite
    turn = degrees[:, None] / 60 + torch.tensor([0.0, 4.0, 2.0])
    colour = ((turn % 6 - 3).abs() - 1).clamp(0, 1)
    channels = [(ink * c[:, None, None]).round().byte() for c in colour.T]
    return Images(torch.stack(channels, 1), kind, "shapes", split, told)


def vowel_sound(
    formants: Tensor,
    pitch: Tensor,
    glide: Tensor | float = 0.0,
    seconds: float = 0.3,
) -> Tensor:
    """A sung vowel: harmonics of a pitch, shaped by resonances.

    Each harmonic k of the voice has a strength of 1 / k, times the gain of
    three resonances at the formants.

    Args:
        formants: F1, F2, F3 in hertz, (N, 3).
        pitch: in hertz, half way through the sound, (N,).
        glide: octaves by which the pitch rises from start to end, (N,).
        seconds: of sound.

    Returns:
        Waveforms at 8,000 samples a second, largest value 1, (N, samples).

    Example:
        >>> formants = torch.tensor([VOWELS["a"]])
        >>> vowel_sound(formants, pitch=torch.tensor([120.0])).shape
        torch.Size([1, 2400])
    """
    samples = round(seconds * RATE)
    place = torch.linspace(-0.5, 0.5, samples)
    rise = torch.as_tensor(glide).expand(len(pitch))[:, None] * place
    hertz = pitch[:, None] * 2**rise  # (N, samples)
    phase = 2 * math.pi * hertz.cumsum(1) / RATE
    k = torch.arange(1, 41)
    f = (pitch[:, None] * k)[:, :, None]  # (N, 40, 1)
    width = torch.tensor([60.0, 90.0, 120.0])
    centre = formants[:, None]  # (N, 1, 3)
    off, lost = centre.square() - f.square(), width * f
    resonance = centre.square() / (off.square() + lost.square()).sqrt()
    gain = resonance.prod(-1) / k  # (N, 40)
    wave = torch.zeros_like(hertz)
    for i in k:
        audible = i * hertz < RATE / 2
        wave += gain[:, i - 1, None] * audible * torch.sin(i * phase)
    return wave / wave.abs().amax(1, keepdim=True)


def spectrogram(waves: Tensor) -> Tensor:
    """Loudness by frequency and time, from -1 to 1.

    Args:
        waves: (N, samples) at 8,000 samples a second.

    Returns:
        Decibels below the loudest, 60 of them mapped to [-1, 1]: (N, 128,
        T), lowest frequency first, 31.25 hertz a row.

    Example:
        >>> wave = torch.sin(2 * math.pi * 1000 / RATE * torch.arange(2400))
        >>> found = spectrogram(wave[None])
        >>> found.shape, found[0, :, 0].argmax().item()  # 1000 / 31.25 - 1
        (torch.Size([1, 128, 9]), 31)
    """
    window = torch.hann_window(256)
    spectrum = torch.stft(
        waves, 256, 240, window=window, center=False, return_complex=True
    ).abs()[:, 1:]
    loudest = spectrum.amax((1, 2), keepdim=True)
    decibels = 20 * (spectrum / loudest).clamp_min(1e-3).log10()
    return decibels / 30 + 1


def vowels(n: int, seed: int = 0, split: str = "train") -> Table:
    """Made-up speakers singing vowels, as spectrograms.

    Every sound has its own vowel, pitch (90 to 280 hertz), glide of the
    pitch, length of the vocal tract, which scales all formants, and small
    deviations of each.

    Args:
        n: sounds.
        seed, split: select them.

    Returns:
        Values (n, 128 * T), see `spectrogram`; conditions (n, 2): the
        vowel, 0 to 4 in the order of VOWELS, and the pitch in octaves above
        160 hertz.

    Example:
        >>> data = vowels(5)
        >>> data, data.y.shape
        (Table(vowels, train, 5 x 1,152), torch.Size([5, 2]))
    """
    g = seeded("cpu", "vowels", split, seed)
    kind = torch.randint(len(VOWELS), (n,), generator=g)
    octaves = torch.rand(n, generator=g) * math.log2(280 / 90)
    pitch = 90 * 2**octaves
    formants = torch.tensor(list(VOWELS.values())).float()[kind]
    tract = 0.9 + 0.3 * torch.rand(n, 1, generator=g)
    formants = formants * tract * (1 + 0.03 * torch.randn(n, 3, generator=g))
    glide = torch.rand(n, generator=g) - 0.5
    sounds = vowel_sound(formants, pitch, glide)
    told = torch.stack([kind.float(), (pitch / 160).log2()], 1)
    return Table(spectrogram(sounds).flatten(1), told, "vowels", split)
