"""Answers to the exercises of chapter 15."""

import math

import numpy as np
import torch

from answers import right, wrong

# --- a grey likelihood


def root_of_mean(x, mean):
    return (x - mean).square().mean().sqrt()


def shifted(elbo, n_pixels, factor):
    return elbo - n_pixels * math.log(factor)


def grey(sigma=root_of_mean, units=shifted):
    def several():
        return {"best_sigma": sigma, "in_other_units": units}

    return several


right("grey_units", "the root of the mean square")(grey())


@right("grey_units", "NumPy, and a change of log density")
def several():
    def best_sigma(x, mean):
        gap = np.asarray(x - mean, dtype=float)
        return np.linalg.norm(gap) / gap.size**0.5

    def in_other_units(elbo, n_pixels, factor):
        return (
            torch.tensor(elbo)
            + torch.full((n_pixels,), 1 / factor).log().sum()
        )

    return grey(best_sigma, in_other_units)()


wrong("grey_units", "the variance", says="this is the variance")(
    grey(lambda x, mean: root_of_mean(x, mean) ** 2)
)
wrong("grey_units", "subtracts the mean again", says="around its own mean")(
    grey(lambda x, mean: (x - mean).std(correction=0))
)
wrong("grey_units", "sums over the pixels", says="number of all pixels")(
    grey(lambda x, mean: (x - mean).square().sum(-1).mean().sqrt())
)
wrong("grey_units", "a sigma for each pixel", says="one sigma for all")(
    grey(lambda x, mean: (x - mean).square().mean(0).sqrt())
)
wrong("grey_units", "the sign of the shift", says="the sign")(
    grey(units=lambda elbo, d, f: elbo + d * math.log(f))
)
wrong("grey_units", "one value instead of D", says="each of the D values")(
    grey(units=lambda elbo, d, f: elbo - math.log(f))
)
wrong("grey_units", "multiplies the ELBO", says="not their ELBO")(
    grey(units=lambda elbo, d, f: elbo * f)
)
wrong("grey_units", "units make no difference", says="does depend")(
    grey(units=lambda elbo, d, f: elbo)
)

# --- a leak


def scaled(rows, source, correction=0):
    spread = source.std(0, correction=correction)
    spread[spread == 0] = 1
    return (rows - source.mean(0)) / spread


@right("standardise", "mean and std of the training rows")
def standardise(train, test):
    return scaled(train, train), scaled(test, train)


@right("standardise", "divides by n - 1, as torch does")
def standardise(train, test):
    return tuple(scaled(rows, train, 1) for rows in (train, test))


@right("standardise", "scikit-learn")
def standardise(train, test):
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(train)
    return [scaler.transform(rows) for rows in (train, test)]


@wrong("standardise", "the numbers of all rows", says="leak")
def standardise(train, test):
    both = torch.cat([train, test])
    return scaled(train, both), scaled(test, both)


@wrong("standardise", "each part by its own numbers", says="by themselves")
def standardise(train, test):
    test = scaled(test, test) if len(test) > 1 else 0 * test
    return scaled(train, train), test


@wrong("standardise", "0 / 0 in a constant column", says="0 / 0")
def standardise(train, test):
    mean, spread = train.mean(0), train.std(0)
    return (train - mean) / spread, (test - mean) / spread


@wrong("standardise", "one scale for the table", says="each column has its")
def standardise(train, test):
    mean, spread = train.mean(), train.std(correction=0)
    return (train - mean) / spread, (test - mean) / spread


@wrong("standardise", "subtracts the mean only", says="divide by the standard")
def standardise(train, test):
    return train - train.mean(0), test - train.mean(0)


@wrong("standardise", "the training rows alone", says="return two tensors")
def standardise(train, test):
    return scaled(train, train)


# --- the nearest row


def distances(rows, train):
    return torch.cdist(rows.double(), train.double()).min(1).values


def too_close(new, held_out, train, at=0.05):
    limit = distances(held_out, train).quantile(at)
    return (distances(new, train) < limit).double().mean().item()


def nearest(distance=distances, share=too_close):
    def several():
        return {"nearest_distance": distance, "copied_share": share}

    return several


right("nearest_row", "cdist and a quantile")(nearest())


@right("nearest_row", "loops in NumPy")
def several():
    def nearest_distance(rows, train):
        return [
            float((train - row).norm(dim=1).min()) for row in rows.double()
        ]

    def copied_share(new, held_out, train):
        own = nearest_distance(held_out, train)
        limit = np.percentile(own, 5)
        return np.mean([d <= limit for d in nearest_distance(new, train)])

    return nearest(nearest_distance, copied_share)()


wrong("nearest_row", "squared distances", says="this is the square")(
    nearest(lambda rows, train: distances(rows, train).square())
)
wrong("nearest_row", "the other way round", says="not of the training rows")(
    nearest(lambda rows, train: distances(train, rows))
)
wrong("nearest_row", "the farthest row", says="these are the farthest")(
    nearest(lambda rows, train: torch.cdist(rows, train).max(1).values)
)
wrong("nearest_row", "the number of the row", says="the number of the")(
    nearest(lambda rows, train: torch.cdist(rows, train).argmin(1))
)
wrong("nearest_row", "a limit from the new rows", says="from the held-out")(
    nearest(share=lambda new, held, train: too_close(new, new, train))
)
wrong("nearest_row", "the median for a limit", says="that of the median")(
    nearest(share=lambda new, held, train: too_close(new, held, train, 0.5))
)
wrong("nearest_row", "exact copies only", says="close is enough")(
    nearest(
        share=lambda new, held, train: (
            (distances(new, train) == 0).double().mean()
        )
    )
)
wrong("nearest_row", "counts instead of a share", says="how many")(
    nearest(
        share=lambda new, held, train: len(new) * too_close(new, held, train)
    )
)

# --- better noise


def gauss(rows, covariance):
    root = torch.linalg.cholesky(covariance)
    solved = torch.linalg.solve_triangular(root, rows.T, upper=False)
    logs = solved.square().sum(0) / 2 + root.diagonal().log().sum()
    return -logs.mean() - rows.shape[1] / 2 * math.log(2 * math.pi)


def three(train, test):
    train, test = train.double(), test.double()
    full = train.T @ train / len(train)
    each = full.diagonal()
    one = each.mean().expand(len(full))
    return torch.stack(
        [gauss(test, torch.diag(v)) for v in (one, each)] + [gauss(test, full)]
    )


def simplest(gap, one, each, full):
    if each - one >= gap:
        return "sigma for each column"
    return "full covariance" if full - one >= gap else "neither"


def noise(score=three, explains=simplest):
    def several():
        return {"log_densities": score, "what_explains": explains}

    return several


right("better_noise", "Cholesky factors")(noise())


@right("better_noise", "torch.distributions in single precision")
def several():
    from torch.distributions import MultivariateNormal, Normal

    def log_densities(train, test):
        one = Normal(0, train.square().mean().sqrt())
        each = Normal(0, train.square().mean(0).sqrt())
        cov = torch.einsum("ni,nj->ij", train, train) / len(train)
        full = MultivariateNormal(torch.zeros(len(cov)), cov)
        found = [d.log_prob(test).sum(1).mean() for d in (one, each)]
        return [one.item() for one in [*found, full.log_prob(test).mean()]]

    def what_explains(gap, one, each, full):
        gains = {
            "sigma for each column": each - one,
            "full covariance": full - one,
            "neither": math.inf,
        }
        return next(name for name, gain in gains.items() if gain >= gap)

    return noise(log_densities, what_explains)()


wrong("better_noise", "fitted to the test rows", says="fitted to the test")(
    noise(lambda train, test: three(test, test))
)
wrong("better_noise", "subtracts the mean residual", says="mean of the noise")(
    noise(lambda train, test: three(train - train.mean(0), test))
)
wrong("better_noise", "no constant", says="log(2 pi)")(
    noise(
        lambda train, test: (
            three(train, test) + train.shape[1] / 2 * math.log(2 * math.pi)
        )
    )
)
wrong("better_noise", "sums over the rows", says="summed over the rows")(
    noise(lambda train, test: len(test) * three(train, test))
)
wrong("better_noise", "averages over the columns", says="over the columns")(
    noise(lambda train, test: three(train, test) / train.shape[1])
)
wrong("better_noise", "scores the training rows", says="the training rows")(
    noise(lambda train, test: three(train, train))
)
wrong("better_noise", "always the full covariance", says="simplest that")(
    noise(explains=lambda gap, one, each, full: "full covariance")
)
wrong("better_noise", "compares scores, not gains", says="at least the gap")(
    noise(explains=lambda gap, one, each, full: simplest(gap, 0.0, each, full))
)

# --- a chord


def played(hertz, phases, turns=2 * math.pi, scale=True):
    time = torch.arange(2400, dtype=torch.float64) / 8000
    waves = (turns * hertz.double()[:, None] * time + phases[:, None]).sin()
    wave = waves.sum(0)
    return wave / wave.abs().max() if scale else wave


def heard(wave):
    size = torch.fft.rfft(wave.double()).abs()[1:]
    return size / size.max()


def music(play=played, loud=heard, x="loudness"):
    def several():
        return {"chord": play, "loudness": loud, "which_x": lambda: x}

    return several


right("chord", "sines and rfft")(music())


@right("chord", "NumPy, with complex numbers")
def several():
    def chord(hertz, phases):
        time = np.arange(2400) / 8000
        angles = 2 * np.pi * np.outer(time, hertz.double().numpy())
        waves = np.exp(1j * (angles + phases.numpy()))
        wave = waves.sum(1).imag
        return wave / np.abs(wave).max()

    def loudness(wave):
        size = np.abs(np.fft.fft(wave.numpy()))[1:1201]
        size[-1] /= 2
        return size / size.max()

    return music(chord, loudness)()


wrong("chord", "the waveform for x", says="nobody hears a difference")(
    music(x="waveform")
)
wrong("chord", "no phases", says="the phases are ignored")(
    music(lambda hertz, phases: played(hertz, 0 * phases))
)
wrong("chord", "no 2 pi", says="where is 2 pi")(
    music(lambda hertz, phases: played(hertz, phases, 1.0))
)
wrong("chord", "any size", says="the largest value is not one")(
    music(lambda hertz, phases: played(hertz, phases, scale=False))
)
wrong("chord", "cosines", says="begin with a sine")(
    music(lambda hertz, phases: played(hertz, phases + math.pi / 2))
)
wrong("chord", "the power", says="this is the square")(
    music(loud=lambda wave: heard(wave).square())
)
wrong("chord", "keeps the constant part", says="the constant part")(
    music(loud=lambda wave: torch.cat([torch.zeros(1).double(), heard(wave)]))
)
wrong("chord", "the loudness of any size", says="is to be one")(
    music(loud=lambda wave: torch.fft.rfft(wave.double()).abs()[1:])
)
wrong("chord", "the angle of the spectrum", says="loudness")(
    music(loud=lambda wave: torch.fft.rfft(wave.double()).angle()[1:])
)


# --- fair_auroc --------------------------------------------------------------


def area_of(ties=0.5):
    def auroc(normal, strange):
        gap = strange[:, None] - normal
        return ((gap > 0).double() + ties * (gap == 0)).mean()

    return auroc


def fair_by(keep, found=None):
    def fair(scores, strange, learned):
        normal, odd = keep(strange, learned)
        return (found or area_of())(scores[normal], scores[odd])

    return fair


def unseen(strange, learned):
    return ~learned & ~strange, ~learned & strange


def trusted_by(
    fold=min, over=lambda row, control: row > max(0.5, control), order=None
):
    def trusted(areas, control):
        good = [
            name
            for name, row in areas.items()
            if over(fold(row), fold(control))
        ]
        return sorted(good, key=order or (lambda name: -fold(areas[name])))

    return trusted


def strange_rows(first=None, second=None, third=None):
    return {
        "auroc": first or area_of(),
        "fair_auroc": second or fair_by(unseen),
        "trusted": third or trusted_by(),
    }


@right("fair_auroc", "all pairs")
def several():
    return strange_rows()


@right("fair_auroc", "scikit-learn")
def several():
    from sklearn.metrics import roc_auc_score

    def auroc(normal, strange):
        truth = [0] * len(normal) + [1] * len(strange)
        scores = torch.cat([normal, strange]).double().numpy()
        return roc_auc_score(truth, scores)

    def fair(scores, strange, learned):
        new = ~learned.numpy()
        return roc_auc_score(strange.numpy()[new], scores.numpy()[new])

    def trusted(areas, control):
        level = max([0.5, min(control)])
        rows = [(min(v), k) for k, v in areas.items() if min(v) > level]
        return tuple(name for _, name in sorted(rows, reverse=True))

    return strange_rows(auroc, fair, trusted)


@right("fair_auroc", "mid ranks, in NumPy")
def several():
    def auroc(normal, strange):
        both = np.concatenate([normal.numpy(), strange.numpy()])
        rank = np.array(
            [(both < v).sum() + ((both == v).sum() + 1) / 2 for v in both]
        )
        m = len(strange)
        u = rank[len(normal) :].sum() - m * (m + 1) / 2
        return u / (len(normal) * m)

    return strange_rows(auroc, fair_by(unseen, auroc))


def by_rank(normal, strange):
    both = torch.cat([normal, strange])
    rank = both.argsort(stable=True).argsort() + 1.0
    m = len(strange)
    u = rank[len(normal) :].sum() - m * (m + 1) / 2
    return u / (len(normal) * m)


def by_threshold(normal, strange):
    # the area of a curve with 11 points
    both = torch.cat([normal, strange])
    cuts = torch.linspace(float(both.min()), float(both.max()), 11)
    hit = (strange > cuts[:, None]).double().mean(1).flip(0)
    false = (normal > cuts[:, None]).double().mean(1).flip(0)
    return torch.trapezoid(hit, false)


def normal_curve(normal, strange):
    gap = strange.mean() - normal.mean()
    return torch.special.ndtr(gap / (strange.var() + normal.var()).sqrt())


for _text, _says, _first in (
    ("ties count 0", "not 0", area_of(ties=0.0)),
    ("ties count 1", "not 1", area_of(ties=1.0)),
    ("low is strange", "1 minus", lambda n, s: area_of()(s, n)),
    (
        "turned round below one half",
        "do not turn",
        lambda n, s: max(area_of()(n, s), 1 - area_of()(n, s)),
    ),
    (
        "a number of pairs",
        "divide by",
        lambda n, s: area_of()(n, s) * len(n) * len(s),
    ),
    ("ranks without ties", "AUROC", by_rank),
    ("eleven thresholds", "AUROC", by_threshold),
    ("two normal curves", "AUROC", normal_curve),
    ("the Gini coefficient", "Gini", lambda n, s: 2 * area_of()(n, s) - 1),
    (
        "only pairs of the same place",
        "AUROC",
        lambda n, s: (
            (s[: min(len(n), len(s))] > n[: min(len(n), len(s))])
            .double()
            .mean()
        ),
    ),
    (
        "above the median",
        "AUROC",
        lambda n, s: (s > n.median()).double().mean(),
    ),
    (
        "rounded to two figures",
        "AUROC",
        lambda n, s: round(float(area_of()(n, s)), 2),
    ),
):

    @wrong("fair_auroc", _text, says=_says)
    def several(_first=_first):
        return strange_rows(_first)


for _text, _says, _keep in (
    ("all rows", "count too", lambda s, k: (~s, s)),
    ("all strange rows", "strange rows that", lambda s, k: (~k & ~s, s)),
    ("all normal rows", "normal rows that", lambda s, k: (~s, ~k & s)),
    ("the learned rows", "learned from", lambda s, k: (k & ~s, k & s)),
    ("the labels swapped", "unseen rows", lambda s, k: unseen(s, k)[::-1]),
    (
        "learned normal against new strange",
        "found",
        lambda s, k: (k & ~s, ~k & s),
    ),
    (
        "new normal against learned strange",
        "found",
        lambda s, k: (~k & ~s, k & s),
    ),
    ("new normal against all", "found", lambda s, k: (~k & ~s, ~k)),
):

    @wrong("fair_auroc", _text, says=_says)
    def several(_keep=_keep):
        return strange_rows(second=fair_by(_keep))


def each_kind(areas, control):
    good = [
        name
        for name, row in areas.items()
        if all(v > max(0.5, c) for v, c in zip(row, control))
    ]
    return sorted(good, key=lambda name: -min(areas[name]))


for _text, _says, _third in (
    (
        "the mean over the kinds",
        "worst kind",
        trusted_by(fold=lambda row: sum(row) / len(row)),
    ),
    ("the best kind", "worst kind", trusted_by(fold=max)),
    ("the first kind", "worst kind", trusted_by(fold=lambda row: row[0])),
    ("no control", "worst kind", trusted_by(over=lambda v, c: v > 0.5)),
    ("the control alone", "worst kind", trusted_by(over=lambda v, c: v > c)),
    (
        "one half will do",
        "worst kind",
        trusted_by(over=lambda v, c: v >= 0.5 and v > c),
    ),
    (
        "as good as the control",
        "worst kind",
        trusted_by(over=lambda v, c: v > 0.5 and v >= c),
    ),
    ("kind by kind", "worst kind", each_kind),
    (
        "turned round",
        "worst kind",
        trusted_by(fold=lambda row: min(max(v, 1 - v) for v in row)),
    ),
    ("by name", "comes first", trusted_by(order=lambda name: name)),
    (
        "the worst first",
        "comes first",
        lambda areas, control: trusted_by()(areas, control)[::-1],
    ),
    (
        "one name",
        "list of names",
        lambda areas, control: [*trusted_by()(areas, control), "none"][0],
    ),
    (
        "the best only",
        "worst kind",
        lambda areas, control: trusted_by()(areas, control)[:1],
    ),
):

    @wrong("fair_auroc", _text, says=_says)
    def several(_third=_third):
        return strange_rows(third=_third)
