"""Answers to the exercises of chapter 2."""

import math

import numpy as np
import torch
from torch.distributions import MultivariateNormal

from answers import right, wrong
from minivae import pictures

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


@wrong("holes", "expects the histogram to settle", says="ever more cells")
def several():
    return _holes(limit_of_histogram=lambda: "stays between")


@wrong("holes", "expects holes everywhere", says="a hole or not")
def several():
    return _holes(limit_of_distance=lambda: "goes to 1")


@wrong("holes", "an answer that is not on the list", says="expected one of")
def several():
    return _holes(limit_of_distance=lambda: "rises")


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


@right("learnt_by_heart", "ranks of SciPy, and a string of loops")
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


@wrong("learnt_by_heart", "the smaller mixture", says="30 is not right")
def several():
    return _copies(k=30)


@wrong("learnt_by_heart", "a mixture not in the figure", says="30 or 200")
def several():
    return _copies(k=100)


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
