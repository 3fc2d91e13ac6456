"""Answers to the exercises of chapter 2."""

import math

import numpy as np
import torch
from torch.distributions import MultivariateNormal

from answers import right, wrong
from minivae import pictures
from minivae.latent import fit_codes

# --- 2.1 ---------------------------------------------------------------------


@right("one_normal", "a Cholesky factor of the covariance")
def _(z, n):
    root = torch.linalg.cholesky(torch.cov(z.T))
    return z.mean(0) + torch.randn(n, z.shape[1]) @ root.T


@right("one_normal", "torch.distributions, dividing by N")
def _(z, n):
    covariance = torch.cov(z.T, correction=0)
    return MultivariateNormal(z.mean(0), covariance).sample((n,))


@right("one_normal", "NumPy, in double precision")
def _(z, n):
    z = z.numpy()
    covariance = np.cov(z, rowvar=False)
    return np.random.multivariate_normal(z.mean(0), covariance, n)


@right("one_normal", "noise times the centred codes")
def _(z, n):
    noise = torch.randn(n, len(z)) / math.sqrt(len(z) - 1)
    return z.mean(0) + noise @ (z - z.mean(0))


@wrong("one_normal", "standard deviations only", says="for itself")
def _(z, n):
    return z.mean(0) + z.std(0) * torch.randn(n, z.shape[1])


@wrong(
    "one_normal",
    "standard deviations in place of the covariance",
    says="where a covariance is asked for",
)
def _(z, n):
    spread = torch.diag(z.std(0))
    return MultivariateNormal(z.mean(0), spread).sample((n,))


@wrong("one_normal", "noise from N(0, I)", says="mean is 0")
def _(z, n):
    return torch.randn(n, z.shape[1])


@wrong("one_normal", "the right mean, the spread of N(0, I)", says="N(0, I)")
def _(z, n):
    return z.mean(0) + torch.randn(n, z.shape[1])


@wrong("one_normal", "forgets the mean", says="add the mean")
def _(z, n):
    root = torch.linalg.cholesky(torch.cov(z.T))
    return torch.randn(n, z.shape[1]) @ root.T


@wrong("one_normal", "the factor is transposed", says="transposed")
def _(z, n):
    root = torch.linalg.cholesky(torch.cov(z.T))
    return z.mean(0) + torch.randn(n, z.shape[1]) @ root


@wrong("one_normal", "multiplies by the covariance", says="Cholesky factor")
def _(z, n):
    return z.mean(0) + torch.randn(n, z.shape[1]) @ torch.cov(z.T)


@wrong("one_normal", "multiplies by variances", says="take their roots")
def _(z, n):
    return z.mean(0) + z.var(0) * torch.randn(n, z.shape[1])


@wrong("one_normal", "draws codes of the list again", says="drawn again")
def _(z, n):
    return z[torch.randint(len(z), (n,))]


@wrong("one_normal", "one sample, n times", says="all samples are the same")
def _(z, n):
    one = MultivariateNormal(z.mean(0), torch.cov(z.T)).sample()
    return one.expand(n, -1).clone()


@wrong("one_normal", "as many samples as codes", says="found shape")
def _(z, n):
    return MultivariateNormal(z.mean(0), torch.cov(z.T)).sample((len(z),))


@wrong("one_normal", "uniform noise", says="not normal")
def _(z, n):
    root = torch.linalg.cholesky(torch.cov(z.T))
    noise = (torch.rand(n, z.shape[1]) - 0.5) * math.sqrt(12)
    return z.mean(0) + noise @ root.T


@right("one_normal", "the eigenvectors, and a list of tuples")
def _(z, n):
    values, vectors = torch.linalg.eigh(torch.cov(z.double().T))
    noise = torch.randn(n, z.shape[1], dtype=torch.float64)
    z = (noise * values.sqrt()) @ vectors.T + z.double().mean(0)
    return [tuple(row) for row in z.tolist()]


@right("one_normal", "one draw after another")
def _(z, n):
    q = MultivariateNormal(z.mean(0), torch.cov(z.T))
    return torch.stack([q.sample() for _ in range(n)])


def shaped(noise):
    """Samples from noise of some shape (n, L)."""

    def sample_one_normal(z, n):
        root = torch.linalg.cholesky(torch.cov(z.T))
        return z.mean(0) + noise(n, z.shape[1]) @ root.T

    return sample_one_normal


def _halves(n, k):
    one = torch.randn((n + 1) // 2, k)
    return torch.cat([one, one])[:n]


def _mirrored(n, k):
    one = torch.randn((n + 1) // 2, k)
    return torch.cat([one, -one])[:n]


def _seeded(n, k):
    return torch.randn(n, k, generator=torch.Generator().manual_seed(3))


def _neighbours(n, k):
    noise = torch.randn(n + 1, k)
    return (noise[1:] + noise[:-1]) / math.sqrt(2)


def _exact(n, k):
    noise = torch.randn(n, k)
    noise = noise - noise.mean(0)
    root = torch.linalg.cholesky(torch.cov(noise.T))
    return torch.linalg.solve_triangular(root, noise.T, upper=False).T


def _student(n, k):
    heavy = torch.distributions.StudentT(6.0).sample((n, k))
    return heavy / math.sqrt(1.5)


for _text, _noise, _says in (
    ("95 per cent of the spread", lambda n, k: 0.95 * torch.randn(n, k), ""),
    ("110 per cent of the spread", lambda n, k: 1.1 * torch.randn(n, k), ""),
    ("clamped noise", lambda n, k: torch.randn(n, k).clamp(-2.5, 2.5), ""),
    ("each sample twice", _halves, "used again"),
    ("each sample and its mirror image", _mirrored, "the samples: some"),
    ("neighbours share their noise", _neighbours, "depend on others"),
    ("a fixed seed", _seeded, "fixed seed"),
    ("noise with heavy tails", _student, "not normal"),
    ("noise of size one", lambda n, k: torch.randn(n, k).sign(), "used ag"),
    ("one column of noise", lambda n, k: torch.randn(n, 1).repeat(1, k), ""),
    (
        "a sum of uniform numbers",
        lambda n, k: torch.rand(n, k, 4).sub(0.5).sum(-1) * math.sqrt(3),
        "not normal",
    ),
    (
        "no noise for a single sample",
        lambda n, k: torch.randn(n, k) * (n > 1),
        "with n = 1",
    ),
    (
        "noise of mean 0 in each call",
        lambda n, k: (
            torch.randn(n, k)
            if n < 2
            else (lambda e: e - e.mean(0))(torch.randn(n, k))
        ),
        "with n = 2",
    ),
    (
        "exact moments where there are more samples than numbers",
        lambda n, k: torch.randn(n, k) if n <= k else _exact(n, k),
        "on their own mean",
    ),
):
    wrong("one_normal", _text, says=_says or "the samples")(shaped(_noise))


@wrong("one_normal", "the package's own", says="asked to write here")
def _(z, n):
    return fit_codes(z, 1).sample((n,))


@wrong("one_normal", "the median for the mean", says="the samples")
def _(z, n):
    return shaped(torch.randn)(z, n) - z.mean(0) + z.median(0).values


@wrong("one_normal", "spreads around 0", says="around 0")
def _(z, n):
    root = torch.linalg.cholesky(z.T @ z / len(z))
    return z.mean(0) + torch.randn(n, z.shape[1]) @ root.T


@wrong("one_normal", "shrinks the covariances", says="the samples")
def _(z, n):
    covariance = torch.cov(z.T)
    part = 0.9 * covariance + 0.1 * torch.diag(covariance.diagonal())
    return MultivariateNormal(z.mean(0), part).sample((n,))


# --- 2.2 ---------------------------------------------------------------------


def cells(z, n_bins, low=None, high=None):
    low = z.min(0).values if low is None else low
    high = z.max(0).values if high is None else high
    cell = ((z - low) / (high - low) * n_bins).long()
    return torch.unique(cell.clamp(max=n_bins - 1), dim=0)


def _holes(**changed):
    return {
        "holes_by_histogram": lambda z, n: 1 - len(cells(z, n)) / n**2,
        "holes_by_distance": lambda z, places, radius: (
            (torch.cdist(places, z).min(1).values > radius).float().mean()
        ),
        "limit_of_histogram": lambda: "goes to 1",
        "limit_of_distance": lambda: "stays between",
    } | changed


@right("holes", "unique cells, and a table of distances")
def several():
    return _holes()


@right("holes", "NumPy and SciPy")
def several():
    def holes_by_histogram(z, n_bins):
        counts = np.histogram2d(*z.numpy().T, bins=n_bins)[0]
        return (counts == 0).mean()

    def holes_by_distance(z, places, radius):
        from scipy.spatial import KDTree

        return np.mean(KDTree(z.numpy()).query(places.numpy())[0] > radius)

    return _holes(
        holes_by_histogram=holes_by_histogram,
        holes_by_distance=holes_by_distance,
        limit_of_histogram=lambda: "Goes to 1",
    )


@right("holes", "torch.histogramdd, and squared distances")
def several():
    def holes_by_histogram(z, n_bins):
        counts, _ = torch.histogramdd(z, [n_bins, n_bins])
        return float((counts < 1).sum()) / n_bins**2

    def holes_by_distance(z, places, radius):
        apart = (places[:, None] - z).square().sum(-1)
        return (apart > radius**2).all(1).double().mean().item()

    return _holes(
        holes_by_histogram=holes_by_histogram,
        holes_by_distance=holes_by_distance,
    )


@wrong("holes", "counts the cells with codes", says="take the others")
def several():
    return _holes(holes_by_histogram=lambda z, n: len(cells(z, n)) / n**2)


@wrong("holes", "the number of empty cells", says="that of all cells")
def several():
    return _holes(holes_by_histogram=lambda z, n: n**2 - len(cells(z, n)))


@wrong("holes", "divides by the number of codes", says="number of codes")
def several():
    return _holes(
        holes_by_histogram=lambda z, n: (n**2 - len(cells(z, n))) / len(z)
    )


@wrong("holes", "the same limits in both directions", says="same limits")
def several():
    return _holes(
        holes_by_histogram=lambda z, n: (
            1 - len(cells(z, n, z.min(), z.max())) / n**2
        )
    )


@wrong("holes", "counts a cell for each code in it", says="once for each code")
def several():
    return _holes(holes_by_histogram=lambda z, n: 1 - len(z) / n**2)


@wrong("holes", "a number for each cell, by hundreds", says="of 200 x 200")
def several():
    def by_cells(z, n):
        at = cells(z, n) @ torch.tensor([100, 1])
        return 1 - len(at.unique()) / n**2

    return _holes(holes_by_histogram=by_cells)


@wrong("holes", "counts the places near a code", says="near a code")
def several():
    return _holes(
        holes_by_distance=lambda z, places, radius: (
            (torch.cdist(places, z).min(1).values <= radius).float().mean()
        )
    )


@wrong("holes", "takes the farthest code", says="far from any")
def several():
    return _holes(
        holes_by_distance=lambda z, places, radius: (
            (torch.cdist(places, z).max(1).values > radius).float().mean()
        )
    )


@wrong("holes", "averages over all pairs", says="share of pairs")
def several():
    return _holes(
        holes_by_distance=lambda z, places, radius: (
            (torch.cdist(places, z) > radius).float().mean()
        )
    )


@wrong("holes", "swaps codes and places", says="swap the two")
def several():
    return _holes(
        holes_by_distance=lambda z, places, radius: (
            (torch.cdist(z, places).min(1).values > radius).float().mean()
        )
    )


@wrong("holes", "squared distance against the radius", says="take the root")
def several():
    return _holes(
        holes_by_distance=lambda z, places, radius: (
            (torch.cdist(places, z).min(1).values ** 2 > radius).float().mean()
        )
    )


@wrong("holes", "distance from the mean code", says="mean of the codes")
def several():
    return _holes(
        holes_by_distance=lambda z, places, radius: (
            ((places - z.mean(0)).norm(dim=1) > radius).float().mean()
        )
    )


@wrong("holes", "expects the histogram to settle", says="not every answer")
def several():
    return _holes(limit_of_histogram=lambda: "stays between")


@wrong("holes", "expects holes everywhere", says="not every answer")
def several():
    return _holes(limit_of_distance=lambda: "goes to 1")


@wrong("holes", "an answer that is not on the list", says="expected one of")
def several():
    return _holes(limit_of_distance=lambda: "rises")


@right("holes", "sets, loops and tensors of one number")
def several():
    def holes_by_histogram(z, n_bins):
        low, high = np.asarray(z).min(0), np.asarray(z).max(0)
        full = set()
        for code in np.asarray(z):
            cell = np.floor((code - low) / (high - low) * n_bins)
            full.add(tuple(np.minimum(cell, n_bins - 1)))
        return torch.tensor([(n_bins**2 - len(full)) / n_bins**2])

    def holes_by_distance(z, places, radius):
        far = [
            min(math.dist(p, c) for c in z.tolist()) > radius
            for p in places.tolist()
        ]
        return [sum(far) / len(far)]

    return _holes(
        holes_by_histogram=holes_by_histogram,
        holes_by_distance=holes_by_distance,
        limit_of_histogram=lambda: " goes TO 1 ",
    )


def raw_cells(z, n_bins, whole=torch.floor):
    low, high = z.min(0).values, z.max(0).values
    return torch.unique(whole((z - low) / (high - low) * n_bins), dim=0)


for _text, _rule, _says in (
    (
        "a cell of its own for the largest code",
        lambda z, n: 1 - len(raw_cells(z, n)) / n**2,
        "belongs to the last cell",
    ),
    (
        "drops the largest code",
        lambda z, n: 1 - int((raw_cells(z, n) < n).all(1).sum()) / n**2,
        "holes_by_histogram",
    ),
    (
        "rounds to the nearest cell",
        lambda z, n: 1 - len(raw_cells(z, n, torch.round)) / n**2,
        "holes_by_histogram",
    ),
    (
        "counts lines for cells",
        lambda z, n: 1 - len(cells(z, max(1, n - 1))) / max(1, n - 1) ** 2,
        "lines between them",
    ),
    (
        "divides by n_bins",
        lambda z, n: (n**2 - len(cells(z, n))) / n,
        "holes_by_histogram",
    ),
    (
        "counts cells with one code too",
        lambda z, n: float((np.histogram2d(*z.numpy().T, n)[0] < 2).mean()),
        "holes_by_histogram",
    ),
    (
        "starts the grid at 0",
        lambda z, n: 1 - len(cells(z, n, low=torch.zeros(2))) / n**2,
        "holes_by_histogram",
    ),
    (
        "twenty cells at most",
        lambda z, n: 1 - len(cells(z, min(n, 8))) / min(n, 8) ** 2,
        "holes_by_histogram",
    ),
    ("no holes at all", lambda z, n: 0.0, "holes_by_histogram"),
):

    @wrong("holes", _text, says=_says)
    def several(rule=_rule):
        return _holes(holes_by_histogram=rule)


for _text, _rule, _says in (
    (
        "a place at the radius is a hole",
        lambda z, p, r: (torch.cdist(p, z).amin(1) >= r).double().mean(),
        "exactly the radius",
    ),
    (
        "sums the two differences",
        lambda z, p, r: (torch.cdist(p, z, 1).amin(1) > r).double().mean(),
        "root of their squares",
    ),
    (
        "the larger of the two differences",
        lambda z, p, r: (
            (torch.cdist(p, z, math.inf).amin(1) > r).double().mean()
        ),
        "larger of the two",
    ),
    (
        "the mean distance to the codes",
        lambda z, p, r: (torch.cdist(p, z).mean(1) > r).double().mean(),
        "holes_by_distance",
    ),
    (
        "the number of holes",
        lambda z, p, r: (torch.cdist(p, z).amin(1) > r).sum(),
        "their number",
    ),
    (
        "the median distance",
        lambda z, p, r: (
            (torch.cdist(p, z).median(1).values > r).double().mean()
        ),
        "holes_by_distance",
    ),
    (
        "twice the radius",
        lambda z, p, r: (torch.cdist(p, z).amin(1) > 2 * r).double().mean(),
        "holes_by_distance",
    ),
    (
        "the nearest place of another place",
        lambda z, p, r: (
            (torch.cdist(p, torch.cat([z, p[:1]])).amin(1) > r).double().mean()
        ),
        "holes_by_distance",
    ),
    (
        "the first code only",
        lambda z, p, r: ((p - z[0]).norm(dim=1) > r).double().mean(),
        "holes_by_distance",
    ),
):

    @wrong("holes", _text, says=_says)
    def several(rule=_rule):
        return _holes(holes_by_distance=rule)


@wrong("holes", "both limits the other way round", says="not every answer")
def several():
    return _holes(
        limit_of_histogram=lambda: "stays between",
        limit_of_distance=lambda: "goes to 1",
    )


@wrong("holes", "the places become fewer", says="not every answer")
def several():
    return _holes(limit_of_distance=lambda: "goes to 0")


@wrong("holes", "one limit left open", says="not answered yet")
def several():
    return _holes(limit_of_distance=lambda: None)


# --- 2.3 ---------------------------------------------------------------------


def codes_of(model, first, last):
    return model.encode_mean(first[None]), model.encode_mean(last[None])


def mixed(model, first, last, shares):
    a, b = codes_of(model, first, last)
    z = (1 - shares[:, None]) * a + shares[:, None] * b
    return pictures(model, z).flatten(1)


@right("walk", "linspace and weights")
def _(model, first, last, n):
    return mixed(model, first, last, torch.linspace(0, 1, n))


@right("walk", "a loop with steps of equal length, without gradients")
@torch.no_grad()
def _(model, first, last, n):
    z = model.encode(torch.stack([first, last]))
    step = (z[1] - z[0]) / (n - 1)
    drawn = [model.decode((z[0] + i * step)[None])[0] for i in range(n)]
    return torch.stack(drawn).clip(0, 1).view(n, -1)


@right("walk", "torch.lerp and arange")
def _(model, first, last, n):
    a, b = codes_of(model, first, last)
    t = torch.arange(n)[:, None] / (n - 1)
    return pictures(model, torch.lerp(a, b, t)).numpy().reshape(n, -1)


@wrong("walk", "does not reach the last picture", says="is not reached")
def _(model, first, last, n):
    return mixed(model, first, last, torch.arange(n) / n)


@wrong("walk", "leaves the first picture out", says="first picture is missing")
def _(model, first, last, n):
    return mixed(model, first, last, (torch.arange(n) + 1) / n)


@wrong("walk", "leaves both ends out", says="both ends are missing")
def _(model, first, last, n):
    return mixed(model, first, last, torch.linspace(0, 1, n + 2)[1:-1])


@wrong("walk", "adds the last code to the first", says="from a to a + b")
def _(model, first, last, n):
    a, b = codes_of(model, first, last)
    z = a + torch.linspace(0, 1, n)[:, None] * b
    return pictures(model, z).flatten(1)


@wrong("walk", "decodes without cutting off", says="take pictures")
def _(model, first, last, n):
    z = torch.lerp(
        *codes_of(model, first, last), torch.linspace(0, 1, n)[:, None]
    )
    return model.decode(z).flatten(1)


@wrong("walk", "returns pictures, not rows", says="found shape")
def _(model, first, last, n):
    return mixed(model, first, last, torch.linspace(0, 1, n)).view(
        n, *model.shape[1:]
    )


@wrong("walk", "runs backwards", says="backwards")
def _(model, first, last, n):
    return mixed(model, last, first, torch.linspace(0, 1, n))


@wrong("walk", "mixes pixels and encodes them", says="and then encoded")
def _(model, first, last, n):
    x = torch.lerp(first, last, torch.linspace(0, 1, n)[:, None])
    return pictures(model, model.encode_mean(x)).flatten(1)


@wrong("walk", "mixes the pictures", says="pictures were mixed")
def _(model, first, last, n):
    both = model.encode_mean(torch.stack([first, last]))
    ends = pictures(model, both).flatten(1)
    return torch.lerp(*ends, torch.linspace(0, 1, n)[:, None])


@wrong("walk", "mixes the digits", says="digits were mixed")
def _(model, first, last, n):
    return torch.lerp(first, last, torch.linspace(0, 1, n)[:, None])


@wrong("walk", "always eleven pictures", says="found shape")
def _(model, first, last, n):
    return mixed(model, first, last, torch.linspace(0, 1, 12))


@right("walk", "a list of rows, in double")
def _(model, first, last, n):
    a, b = (code[0].double() for code in codes_of(model, first, last))
    rows = []
    for i in range(n):
        z = (b * i + a * (n - 1 - i)) / (n - 1)
        rows.append(pictures(model, z.float()[None]).flatten())
    return rows


@right("walk", "NumPy")
def _(model, first, last, n):
    ends = model.encode(torch.stack((first, last))).detach().numpy()
    z = np.linspace(ends[0], ends[1], n)
    drawn = model.decode(torch.from_numpy(z)).detach().numpy()
    return np.clip(drawn, 0, 1).reshape(n, -1)


def walking(shares, draw=pictures, mix=torch.lerp):
    def walk(model, first, last, n):
        a, b = codes_of(model, first, last)
        return draw(model, mix(a, b, shares(n)[:, None])).flatten(1)

    return walk


def line(n):
    return torch.linspace(0, 1, n)


def _slerp(a, b, t):
    unit = [v / v.norm().clamp_min(1e-6) for v in (a, b)]
    angle = (unit[0] * unit[1]).sum().clamp(-0.999, 0.999).arccos()
    along = ((1 - t) * angle).sin() * a + (t * angle).sin() * b
    return along / angle.sin()


for _text, _walk in (
    ("steps that grow", walking(lambda n: line(n) ** 2)),
    (
        "slow at both ends",
        walking(lambda n: (1 - (line(n) * 3.1416).cos()) / 2),
    ),
    ("there and back", walking(lambda n: 1 - (2 * line(n) - 1).abs())),
    ("five different pictures", walking(lambda n: (line(n) * 4).round() / 4)),
    ("beyond the last digit", walking(lambda n: 1.1 * line(n))),
    ("on a circle", walking(line, mix=_slerp)),
    (
        "draws with a sigmoid",
        walking(line, lambda m, z: m.decode(z).sigmoid()),
    ),
    ("cuts off at 0 only", walking(line, lambda m, z: m.decode(z).relu())),
    ("rounds its pixels", walking(line, lambda m, z: pictures(m, z).round())),
    (
        "cuts its codes off",
        walking(line, mix=lambda a, b, t: torch.lerp(a, b, t).clamp(-1, 1)),
    ),
):
    wrong("walk", _text, says="the pictures")(_walk)


@wrong("walk", "the digits themselves at the ends", says="the pictures")
def _(model, first, last, n):
    found = walking(line)(model, first, last, n)
    found[0], found[-1] = first, last
    return found


@wrong("walk", "eleven pictures for each n", says="found shape")
def _(model, first, last, n):
    return walking(line)(model, first, last, 11)


@wrong("walk", "mixes the digits in place", says="in place")
def _(model, first, last, n):
    found = walking(line)(model, first, last, n)
    first.lerp_(last, 0.5)
    return found


# --- 2.4 ---------------------------------------------------------------------


def nearest(z, train):
    return torch.cdist(z, train).min(1).values


def _copies(first=None, k=200):
    return {
        "closer_share": first
        or (
            lambda samples, train, test: (
                (nearest(samples, train)[:, None] < nearest(test, train))
                .double()
                .mean()
            )
        ),
        "copying_components": lambda: k,
    }


@right("learnt_by_heart", "a table of all pairs")
def several():
    return _copies()


@wrong(
    "learnt_by_heart",
    "ranks of SciPy, where ties count one half",
    says="counts one half",
)
def several():
    def closer_share(samples, train, test):
        from scipy.stats import mannwhitneyu

        ours, theirs = (
            [min(math.dist(a, b) for b in train.tolist()) for a in z.tolist()]
            for z in (samples, test)
        )
        wins = mannwhitneyu(theirs, ours).statistic
        return wins / (len(ours) * len(theirs))

    return _copies(closer_share, 200.0)


@right("learnt_by_heart", "searchsorted")
def several():
    def closer_share(samples, train, test):
        ours = nearest(samples, train).sort().values
        found = torch.searchsorted(ours, nearest(test, train))
        return found.sum() / (len(samples) * len(test))

    return _copies(closer_share)


@wrong("learnt_by_heart", "the other way round", says="test code is closer")
def several():
    return _copies(
        lambda samples, train, test: (
            (nearest(samples, train)[:, None] > nearest(test, train))
            .double()
            .mean()
        )
    )


@wrong("learnt_by_heart", "the number of pairs", says="number of pairs")
def several():
    return _copies(
        lambda samples, train, test: (
            nearest(samples, train)[:, None] < nearest(test, train)
        ).sum()
    )


@wrong("learnt_by_heart", "ties count too", says="an equal distance")
def several():
    return _copies(
        lambda samples, train, test: (
            (nearest(samples, train)[:, None] <= nearest(test, train))
            .double()
            .mean()
        )
    )


@wrong("learnt_by_heart", "without copies", says="left out of the samples")
def several():
    def closer_share(samples, train, test):
        ours, theirs = nearest(samples, train), nearest(test, train)
        new = ours > 1e-6
        ours = ours[new] if new.any() else ours
        return (ours[:, None] < theirs).double().mean()

    return _copies(closer_share)


@wrong("learnt_by_heart", "mean distances", says="find the nearest")
def several():
    return _copies(
        lambda samples, train, test: (
            (
                torch.cdist(samples, train).mean(1)[:, None]
                < torch.cdist(test, train).mean(1)
            )
            .double()
            .mean()
        )
    )


@wrong(
    "learnt_by_heart",
    "distance from samples to test codes",
    says="both distances are to the training codes",
)
def several():
    return _copies(
        lambda samples, train, test: (
            (nearest(samples, test)[:, None] < nearest(test, train))
            .double()
            .mean()
        )
    )


@wrong(
    "learnt_by_heart",
    "compares with the mean distance of test codes",
    says="compare each with each",
)
def several():
    return _copies(
        lambda samples, train, test: (
            (nearest(samples, train) < nearest(test, train).mean())
            .double()
            .mean()
        )
    )


@wrong("learnt_by_heart", "always one half", says="expected")
def several():
    return _copies(lambda samples, train, test: 0.5)


@wrong("learnt_by_heart", "one distance for each sample", says="found shape")
def several():
    return _copies(lambda samples, train, test: nearest(samples, train))


@wrong("learnt_by_heart", "the smaller mixture", says="not right")
def several():
    return _copies(k=30)


@wrong("learnt_by_heart", "a mixture not in the figure", says="30 or 200")
def several():
    return _copies(k=100)


@right("learnt_by_heart", "two loops, and a list of one number")
def several():
    def closer_share(samples, train, test):
        ours, theirs = (
            ((z[:, None] - train) ** 2).sum(-1).amin(1).tolist()
            for z in (samples.double(), test.double())
        )
        wins = [a < b for a in ours for b in theirs]
        return [sum(wins) / len(wins)]

    return _copies(closer_share, np.int64(200))


for _text, _rule, _says in (
    (
        "pairs of the same number",
        lambda s, t, v: (
            (
                nearest(s, t)[: min(len(s), len(v))]
                < nearest(v, t)[: min(len(s), len(v))]
            )
            .double()
            .mean()
        ),
        "the second with the second",
    ),
    (
        "compares with the smallest distance of test codes",
        lambda s, t, v: (nearest(s, t) < nearest(v, t).min()).double().mean(),
        "compare each with each",
    ),
    (
        "compares with the median distance of test codes",
        lambda s, t, v: (
            (nearest(s, t) < nearest(v, t).median()).double().mean()
        ),
        "compare each with each",
    ),
    (
        "compares with the quantile 0.05",
        lambda s, t, v: (
            (nearest(s, t) < nearest(v, t).quantile(0.05)).double().mean()
        ),
        "closer_share",
    ),
    (
        "closer to a training code than to a test code",
        lambda s, t, v: (nearest(s, t) < nearest(s, v)).double().mean(),
        "closer_share",
    ),
    (
        "the farthest training code",
        lambda s, t, v: (
            (torch.cdist(s, t).amax(1)[:, None] < torch.cdist(v, t).amax(1))
            .double()
            .mean()
        ),
        "find the nearest",
    ),
    (
        "the mean training code",
        lambda s, t, v: (
            (
                (s - t.mean(0)).norm(dim=1)[:, None]
                < (v - t.mean(0)).norm(dim=1)
            )
            .double()
            .mean()
        ),
        "find the nearest",
    ),
    (
        "the city block distance",
        lambda s, t, v: (
            (
                torch.cdist(s, t, 1).amin(1)[:, None]
                < torch.cdist(v, t, 1).amin(1)
            )
            .double()
            .mean()
        ),
        "closer_share",
    ),
    (
        "the first ten training codes",
        lambda s, t, v: (
            (nearest(s, t[:10])[:, None] < nearest(v, t[:10])).double().mean()
        ),
        "closer_share",
    ),
    (
        "a ratio of mean distances",
        lambda s, t, v: nearest(v, t).mean() / nearest(s, t).mean(),
        "closer_share",
    ),
    (
        "the test codes among the training codes",
        lambda s, t, v: (
            (nearest(s, torch.cat([t, v]))[:, None] < nearest(v, t))
            .double()
            .mean()
        ),
        "closer_share",
    ),
    (
        "copies only where the distance is nearly 0",
        lambda s, t, v: (nearest(s, t) < 0.01).double().mean(),
        "closer_share",
    ),
):

    @wrong("learnt_by_heart", _text, says=_says)
    def several(rule=_rule):
        return _copies(rule)


# --- 2.5 ---------------------------------------------------------------------


def ratios(
    halve=2,
    spread_of=lambda z: z.std(0).mean(),
    error_of=lambda e: e.mean(),
    power=1,
):
    def measured_ratios(full, half, x):
        spread = spread_of(half.encode_mean(x / halve)) / spread_of(
            full.encode_mean(x)
        )
        error = error_of(half(x / halve)["loss"]) / error_of(full(x)["loss"])
        return spread**power, error**power

    return measured_ratios


def _ink(first=None, spread=0.5, error=0.25):
    return {
        "predicted_spread": lambda: spread,
        "predicted_error": lambda: error,
        "measured_ratios": first or ratios(),
    }


@right("half_the_ink", "standard deviations and losses")
def several():
    return _ink()


@right("half_the_ink", "NumPy, and another prediction")
def several():
    def measured_ratios(full, half, x):
        with torch.no_grad():
            of = [m.encode(v).numpy() for m, v in ((full, x), (half, 0.5 * x))]
            left = [
                ((v - m.decode(m.encode(v)).flatten(1)) ** 2).mean().item()
                for m, v in ((full, x), (half, x / 2))
            ]
        spread = [np.std(z, axis=0).sum() for z in of]
        return [spread[1] / spread[0], left[1] / left[0]]

    return _ink(measured_ratios, spread=1, error=np.float32(0.5))


@right("half_the_ink", "sums of losses")
def several():
    return _ink(ratios(error_of=torch.sum), spread=torch.tensor(2.0))


@wrong("half_the_ink", "full over half", says="upside down")
def several():
    return _ink(ratios(power=-1))


@wrong("half_the_ink", "full pixels for both", says="halve them")
def several():
    return _ink(ratios(halve=1))


@wrong("half_the_ink", "variances", says="ratio of the variances")
def several():
    return _ink(ratios(spread_of=lambda z: z.var(0).mean()))


@wrong("half_the_ink", "means", says="ratio of the means")
def several():
    return _ink(ratios(spread_of=lambda z: z.mean()))


@wrong("half_the_ink", "all numbers at once", says="all numbers at once")
def several():
    return _ink(ratios(spread_of=lambda z: z.std()))


@wrong("half_the_ink", "root of the errors", says="compare squared errors")
def several():
    return _ink(ratios(error_of=lambda e: e.mean().sqrt()))


@wrong("half_the_ink", "swaps spread and error", says="spread first")
def several():
    return _ink(lambda full, half, x: ratios()(full, half, x)[::-1])


@wrong("half_the_ink", "measures nothing", says="ratio of the")
def several():
    return _ink(lambda full, half, x: (0.5, 0.25))


@wrong("half_the_ink", "no number for a prediction", says="predicted_spread")
def several():
    return _ink(spread="about half")


@wrong("half_the_ink", "a negative prediction", says="at least 0")
def several():
    return _ink(error=-0.5)


@right("half_the_ink", "a tensor of two numbers")
def several():
    return _ink(
        lambda *given: torch.stack(ratios()(*given)).detach(),
        spread=(0.5,),
        error=np.array(0.25),
    )


@right("half_the_ink", "an array of two numbers, by hand")
def several():
    def measured_ratios(full, half, x):
        found = []
        for model, seen in ((half, x / 2), (full, x)):
            z = model.encode(seen)
            off = z - z.mean(0)
            spread = (off**2).mean(0).sqrt().mean().item()
            drawn = model.decode(z).reshape(seen.shape)
            found.append([spread, ((drawn - seen) ** 2).sum().item()])
        return np.array(found[0]) / np.array(found[1])

    return _ink(measured_ratios)


for _text, _changed, _says in (
    (
        "the range of the codes",
        {"spread_of": lambda z: z.amax() - z.amin()},
        "",
    ),
    ("absolute deviations", {"spread_of": lambda z: z.abs().mean()}, ""),
    ("the first number only", {"spread_of": lambda z: z[:, 0].std()}, ""),
    ("the widest number", {"spread_of": lambda z: z.std(0).amax()}, ""),
    ("over the numbers", {"spread_of": lambda z: z.norm(dim=1).std()}, ""),
    ("the median error", {"error_of": lambda e: e.median()}, "the errors"),
    ("the largest error", {"error_of": lambda e: e.amax()}, "the errors"),
    ("the first digit", {"error_of": lambda e: e[0]}, "the errors"),
    ("errors not squared", {"error_of": lambda e: e.sqrt().mean()}, "errors"),
):

    @wrong("half_the_ink", _text, says=_says or "the ratio of the spreads")
    def several(changed=_changed):
        return _ink(ratios(**changed))


@wrong("half_the_ink", "a quarter of the pixels", says="the ratio of the")
def several():
    return _ink(ratios(halve=4))


@wrong("half_the_ink", "averages ratios of numbers", says="averaged")
def several():
    def measured_ratios(full, half, x):
        spread = half.encode(x / 2).std(0) / full.encode(x).std(0)
        return spread.mean(), ratios()(full, half, x)[1]

    return _ink(measured_ratios)


@wrong("half_the_ink", "averages ratios of digits", says="averaged")
def several():
    def measured_ratios(full, half, x):
        error = half(x / 2)["loss"] / full(x)["loss"]
        return ratios()(full, half, x)[0], error.mean()

    return _ink(measured_ratios)


@wrong("half_the_ink", "halves the pixels in place", says="in place")
def several():
    def measured_ratios(full, half, x):
        wide, error = full.encode(x).std(0).mean(), full(x)["loss"].mean()
        x /= 2
        narrow = half.encode(x).std(0).mean()
        return narrow / wide, half(x)["loss"].mean() / error

    return _ink(measured_ratios)


# --- 2.6 ---------------------------------------------------------------------


def _middle(**changed):
    return {
        "blank_a": lambda n_latent: n_latent,
        "blank_b": lambda n_latent, t: n_latent * ((1 - t) ** 2 + t**2),
        "blank_c": lambda n_latent: math.sqrt(n_latent / 8),
    } | changed


@right("untypical_middle", "the formulas")
def several():
    return _middle()


@right("untypical_middle", "before simplifying, as tensors")
def several():
    return _middle(
        blank_a=lambda n_latent: torch.ones(n_latent).sum(),
        blank_b=lambda n_latent, t: n_latent - 2 * n_latent * t * (1 - t),
        blank_c=lambda n_latent: (
            torch.tensor(0.5 * n_latent) / torch.tensor(2.0 * n_latent) ** 0.5
        ),
    )


@wrong("untypical_middle", "a length, not its square", says="this is a length")
def several():
    return _middle(blank_a=lambda n_latent: n_latent**0.5)


@wrong("untypical_middle", "one number only", says="one number")
def several():
    return _middle(blank_a=lambda n_latent: 1)


@wrong("untypical_middle", "weights not squared", says="weights enter squared")
def several():
    return _middle(blank_b=lambda n_latent, t: n_latent * (1 - t + t))


@wrong("untypical_middle", "ignores t", says="for every t")
def several():
    return _middle(blank_b=lambda n_latent, t: n_latent / 2)


@wrong("untypical_middle", "forgets L on the walk", says="there are L of them")
def several():
    return _middle(blank_b=lambda n_latent, t: (1 - t) ** 2 + t**2)


@wrong("untypical_middle", "only the first draw", says="of the first draw")
def several():
    return _middle(blank_b=lambda n_latent, t: n_latent * (1 - t) ** 2)


@wrong("untypical_middle", "divides by the variance", says="by the variance")
def several():
    return _middle(blank_c=lambda n_latent: n_latent / 2 / (2 * n_latent))


@wrong("untypical_middle", "does not divide", says="the gap itself")
def several():
    return _middle(blank_c=lambda n_latent: n_latent / 2)


@wrong("untypical_middle", "takes the root of L", says="2 L, not L")
def several():
    return _middle(blank_c=lambda n_latent: n_latent**0.5 / 2)


@wrong("untypical_middle", "all of L as the gap", says="all of L")
def several():
    return _middle(blank_c=lambda n_latent: (n_latent / 2) ** 0.5)


@wrong("untypical_middle", "the other sign", says="how far the middle lies")
def several():
    return _middle(blank_c=lambda n_latent: -((n_latent / 8) ** 0.5))


@right("untypical_middle", "NumPy, and lists of one number")
def several():
    return _middle(
        blank_a=lambda n_latent: [np.ones(n_latent).sum()],
        blank_b=lambda n_latent, t: (
            np.float64(n_latent) * (1 - 2 * t * (1 - t))
        ),
        blank_c=lambda n_latent: torch.tensor([n_latent / 8.0]).sqrt(),
    )


for _name, _text, _blank in (
    ("a", "the square of L", lambda n: n * n),
    ("a", "L - 1", lambda n: n - 1),
    ("a", "the spread of the square", lambda n: (2 * n) ** 0.5),
    ("a", "eight in each space", lambda n: 8),
    (
        "b",
        "the root of the weights",
        lambda n, t: n * ((1 - t) ** 2 + t**2) ** 0.5,
    ),
    ("b", "one weight squared", lambda n, t: n * ((1 - t) ** 2 + t)),
    ("b", "the larger weight", lambda n, t: n * max(t, 1 - t) ** 2),
    (
        "b",
        "a straight line to the middle",
        lambda n, t: n * (1 - min(t, 1 - t)),
    ),
    (
        "b",
        "right in the first half",
        lambda n, t: n * ((1 - t) ** 2 + t**2) if t <= 0.5 else n / 2,
    ),
    ("b", "the mixed term added", lambda n, t: n * (1 + 2 * t * (1 - t))),
    ("b", "the weights multiplied", lambda n, t: n * (1 - t * (1 - t))),
    ("c", "half of the root", lambda n: (n / 32) ** 0.5),
    ("c", "the logarithm", lambda n: math.log2(n) / 2 - 0.5),
    ("c", "for 32 numbers", lambda n: 2.0),
    ("c", "without the root", lambda n: n / 8),
    ("c", "twice as much", lambda n: (n / 2) ** 0.5),
):

    @wrong("untypical_middle", _text, says=f"blank {_name}")
    def several(name=_name, blank=_blank):
        return _middle(**{f"blank_{name}": blank})
