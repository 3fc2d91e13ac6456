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


@right("grey_units", "a loop in double precision, logarithms of single values")
def several():
    def best_sigma(x, mean):
        total = 0.0
        for a, b in zip(x.flatten().tolist(), mean.flatten().tolist()):
            total += (a - b) ** 2
        return (math.sqrt(total / x.numel()),)[0]

    def in_other_units(elbo, n_pixels, factor):
        return elbo - sum(math.log(factor) for _ in range(n_pixels))

    return grey(best_sigma, in_other_units)()


def a_sigma(text, sigma, says="best_sigma"):
    wrong("grey_units", text, says=says)(grey(sigma))


def an_elbo(text, units, says="in_other_units("):
    wrong("grey_units", text, says=says)(grey(units=units))


a_sigma("the mean of |x - mean|", lambda x, m: (x - m).abs().mean())
a_sigma(
    "the mean over the rows of each root",
    lambda x, m: (x - m).square().mean(1).sqrt().mean(),
)
a_sigma(
    "the mean over the columns of each root",
    lambda x, m: (x - m).square().mean(0).sqrt().mean(),
)
a_sigma(
    "one value less",
    lambda x, m: ((x - m).square().sum() / max(1, x.numel() - 1)).sqrt(),
)
a_sigma("half of the square", lambda x, m: root_of_mean(x, m) / 2**0.5)
a_sigma("log sigma", lambda x, m: root_of_mean(x, m).log(), "log sigma")
a_sigma("at least a tenth", lambda x, m: root_of_mean(x, m).clamp(0.1))
a_sigma("at least a hundredth", lambda x, m: root_of_mean(x, m).clamp(0.01))
a_sigma("at most one", lambda x, m: root_of_mean(x, m).clamp(max=1.0))
a_sigma("the spread of x", lambda x, m: x.std(correction=0))
a_sigma("the root of x squared", lambda x, m: x.square().mean().sqrt())
a_sigma("the largest error", lambda x, m: (x - m).abs().max())
a_sigma("the median error", lambda x, m: (x - m).abs().median() * 1.4826)
a_sigma("the size of the whole error", lambda x, m: (x - m).norm())
a_sigma("the first picture", lambda x, m: root_of_mean(x[:1], m[:1]))
a_sigma("the first pixel", lambda x, m: root_of_mean(x[:, :1], m[:, :1]))
a_sigma("a number a row", lambda x, m: (x - m).square().mean(1).sqrt())
a_sigma("the root of the mean error", lambda x, m: (x - m).abs().mean().sqrt())
an_elbo("bits", lambda e, d, f: e - d * math.log2(f))
an_elbo("decimal logarithms", lambda e, d, f: e - d * math.log10(f))
an_elbo("the size of the logarithm", lambda e, d, f: e - d * abs(math.log(f)))
an_elbo("784 pixels", lambda e, d, f: e - 784 * math.log(f))
an_elbo("half of it", lambda e, d, f: e - d / 2 * math.log(f))
an_elbo("twice", lambda e, d, f: e - 2 * d * math.log(f), "nothing twice")
an_elbo("divides", lambda e, d, f: e / f)
an_elbo("one pixel less", lambda e, d, f: e - (d - 1) * math.log(f))
an_elbo("255, whatever the factor", lambda e, d, f: e - d * math.log(255))
an_elbo("the factor without a logarithm", lambda e, d, f: e - d * f)
an_elbo(
    "a factor of at least one", lambda e, d, f: e - d * math.log(max(1.0, f))
)
an_elbo("the ELBO by the pixel", lambda e, d, f: e / d - math.log(f))
an_elbo("a rounded logarithm", lambda e, d, f: e - d * round(math.log(f)))


# --- a leak


def scaled(rows, source, correction=0):
    spread = source.std(0, correction=correction)
    spread[(source == source[0]).all(0)] = 1
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


def _by(constant):
    def standardise(train, test):
        spread = train.std(0, correction=0)
        spread[constant(train)] = 1
        mean = train.mean(0)
        return (train - mean) / spread, (test - mean) / spread

    return standardise


for _text, _rule in (
    ("constant by its ends", lambda x: x[0] == x[-1]),
    ("constant by its first rows", lambda x: (x[:3] == x[0]).all(0)),
    ("constant where two are equal", lambda x: (x[1:] == x[:-1]).any(0)),
    ("constant below a millionth", lambda x: x.std(0) < 1e-6),
):
    wrong("standardise", _text, says="the training rows")(_by(_rule))


for _text, _rule in (
    (
        "constant where it differs little for its size",
        lambda x: x.std(0) <= 1e-5 * x.abs().amax(0),
    ),
    (
        "constant where they differ by a millionth",
        lambda x: x.amax(0) - x.amin(0) < 1e-6 * x.mean(0).abs(),
    ),
    (
        "constant where the values are close",
        lambda x: torch.isclose(x, x[:1]).all(0),
    ),
    (
        "constant by a small range",
        lambda x: x.amax(0) - x.amin(0) < 1e-8,
    ),
):
    wrong("standardise", _text, says="however little")(_by(_rule))


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


@wrong("standardise", "the training rows alone", says="expected 2 results")
def standardise(train, test):
    return scaled(train, train)


@right("standardise", "NumPy in double precision, constant columns by value")
def standardise(train, test):
    a, b = train.double().numpy(), test.double().numpy()
    spread = a.std(axis=0)
    spread[a.max(axis=0) == a.min(axis=0)] = 1.0
    return np.stack([(row - a.mean(0)) / spread for row in a]), (
        b - a.mean(0)
    ) / spread


@right("standardise", "column by column, lists of columns turned round")
def standardise(train, test):
    found = []
    for table in (train, test):
        columns = []
        for c in range(train.shape[1]):
            column = train[:, c].double()
            mean, spread = column.mean(), column.std(correction=0)
            if bool((column == column[0]).all()):
                spread = torch.tensor(1.0)
            columns.append(((table[:, c] - mean) / spread).tolist())
        found.append([list(row) for row in zip(*columns)])
    return found


@wrong("standardise", "scikit-learn fitted on all rows", says="leak")
def standardise(train, test):
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(torch.cat([train, test]))
    return scaler.transform(train), scaler.transform(test)


@wrong("standardise", "fitted again for the test rows", says="test rows")
def standardise(train, test):
    from sklearn.preprocessing import StandardScaler

    scale = StandardScaler().fit_transform
    return scale(train), scale(test)


@wrong("standardise", "the spread of all rows", says="rows (entry")
def standardise(train, test):
    spread = torch.cat([train, test]).std(0)
    spread[spread == 0] = 1
    mean = train.mean(0)
    return (train - mean) / spread, (test - mean) / spread


@wrong("standardise", "the mean of all rows", says="rows (entry")
def standardise(train, test):
    mean, spread = torch.cat([train, test]).mean(0), train.std(0)
    spread[(train == train[0]).all(0)] = 1
    return (train - mean) / spread, (test - mean) / spread


def prepared(text, says, spread, mean=lambda train: train.mean(0)):
    """By another spread or mean of the training rows."""

    @wrong("standardise", text, says=says)
    def standardise(train, test):
        return tuple(
            (rows - mean(train)) / spread(train) for rows in (train, test)
        )


def deviation(train):
    constant = (train == train[0]).all(0)
    return torch.where(constant, 1.0, train.std(0))


prepared("a small number added", "rows", lambda t: t.std(0) + 1e-8)
prepared("a larger number added", "rows", lambda t: t.std(0) + 1e-3)
prepared("at least a hundredth", "rows", lambda t: t.std(0).clamp(0.01))
prepared("at least a millionth", "rows", lambda t: t.std(0).clamp(1e-6))
prepared(
    "small spreads for none",
    "rows",
    lambda t: torch.where(t.std(0) < 1e-3, 1.0, t.std(0)),
)
prepared("the variance", "rows (entry", lambda t: deviation(t) ** 2)
prepared("the root of the spread", "rows", lambda t: deviation(t).sqrt())
prepared(
    "the range",
    "rows",
    lambda t: torch.where(t.amax(0) == t.amin(0), 1.0, t.amax(0) - t.amin(0)),
)
prepared(
    "the mean size",
    "rows",
    lambda t: torch.where(
        deviation(t) == 1, 1.0, (t - t.mean(0)).abs().mean(0)
    ),
)
prepared(
    "the median for the mean",
    "rows",
    deviation,
    lambda t: t.quantile(0.5, dim=0),
)
prepared(
    "the mean of a row",
    "rows",
    deviation,
    lambda t: t.mean(),
)
prepared("no mean", "rows (entry", deviation, lambda t: 0.0)
prepared(
    "the smallest value for the mean",
    "rows",
    deviation,
    lambda t: t.amin(0),
)
prepared("one spread for all", "rows", lambda t: deviation(t).mean())


@wrong("standardise", "NumPy's zero of a constant column", says="constant")
def standardise(train, test):
    a, b = train.numpy(), test.numpy()
    mean, spread = a.mean(0), a.std(0)
    spread = np.where(spread == 0, 1, spread)
    return (a - mean) / spread, (b - mean) / spread


@wrong("standardise", "NaN becomes 0", says="rows")
def standardise(train, test):
    found = [
        ((rows - train.mean(0)) / train.std(0)).nan_to_num(0.0, 0.0, 0.0)
        for rows in (train, test)
    ]
    constant = (train == train[0]).all(0)
    return tuple(torch.where(constant, 0.0, rows) for rows in found)


@wrong("standardise", "a constant column as it is", says="rows")
def standardise(train, test):
    constant = (train == train[0]).all(0)
    found = (scaled(rows, train) for rows in (train, test))
    return tuple(
        torch.where(constant, rows, one)
        for rows, one in zip((train, test), found)
    )


@wrong("standardise", "without constant columns", says="found shape")
def standardise(train, test):
    keep = ~(train == train[0]).all(0)
    keep[0] = train.shape[1] == 1
    return scaled(train[:, keep], train[:, keep]), scaled(
        test[:, keep], train[:, keep]
    )


@wrong("standardise", "the second column alone can be constant", says="rows")
def standardise(train, test):
    spread = train.std(0) + 0.0
    if len(spread) > 1 and spread[1] == 0:
        spread[1] = 1.0
    spread = spread.clamp(min=1e-12)
    return tuple((rows - train.mean(0)) / spread for rows in (train, test))


@wrong("standardise", "by rows", says="rows")
def standardise(train, test):
    return tuple(
        (rows - rows.mean(1, keepdim=True)) / (rows.std(1, keepdim=True) + 1)
        if rows.shape[1] > 1
        else 0 * rows
        for rows in (train, test)
    )


@wrong("standardise", "in the place of the input", says="in place")
def standardise(train, test):
    found = scaled(train, train), scaled(test, train)
    test -= train.mean(0)
    return found


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
        return np.mean([d < limit for d in nearest_distance(new, train)])

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
wrong("nearest_row", "exact copies only", says="copied_share")(
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


@right("nearest_row", "broadcasting in NumPy, and counts of a sorted list")
def several():
    def nearest_distance(rows, train):
        a, b = rows.double().numpy(), train.double().numpy()
        return tuple(np.sqrt(((a[:, None] - b) ** 2).sum(2)).min(1).tolist())

    def copied_share(new, held_out, train):
        own = sorted(nearest_distance(held_out, train))
        at = 0.05 * (len(own) - 1)
        low = int(at)
        limit = own[low] + (at - low) * (own[low + 1] - own[low])
        near = [d for d in nearest_distance(new, train) if d < limit]
        return torch.tensor([len(near) / len(new)])

    return nearest(nearest_distance, copied_share)()


def gap(text, distance, says="nearest_distance"):
    wrong("nearest_row", text, says=says)(nearest(distance))


def table(rows, train):
    return torch.cdist(rows, train)


gap(
    "sizes of the differences",
    lambda a, b: torch.cdist(a, b, p=1.0).min(1).values,
)
gap(
    "the largest difference",
    lambda a, b: torch.cdist(a, b, p=math.inf).min(1).values,
)
gap(
    "no row is its own copy",
    lambda a, b: (
        table(a, b).masked_fill(table(a, b) < 1e-6, math.inf).min(1).values
    ),
)
gap("the second nearest", lambda a, b: table(a, b).sort(1).values[:, 1])
gap(
    "the nearest of the others",
    lambda a, b: (table(a, a) + 1e6 * torch.eye(len(a))).min(1).values,
)
gap("the distance to the mean row", lambda a, b: (a - b.mean(0)).norm(dim=1))
gap("rounded", lambda a, b: distances(a, b).round(decimals=2))
gap("in the first two columns", lambda a, b: distances(a[:, :2], b[:, :2]))
gap(
    "an angle",
    lambda a, b: (
        (1 - torch.cosine_similarity(a[:, None], b[None], dim=2)).min(1).values
    ),
)
gap(
    "to the row of the same place",
    lambda a, b: (a[: len(b)] - b[: len(a)]).norm(dim=1),
)
gap(
    "the smallest of all", lambda a, b: table(a, b).min(), "for each is wanted"
)
gap("a table", table, "reduce the last dimension")
gap(
    "sums of signed differences",
    lambda a, b: (a[:, None] - b).sum(2).abs().min(1).values,
)


def share_by(text, limit, says="copied_share"):
    """A share by another limit."""

    def share(new, held, train):
        return (
            (distances(new, train) < limit(new, held, train)).double().mean()
        )

    wrong("nearest_row", text, says=says)(nearest(share=share))


def own_of(held, train):
    return distances(held, train)


share_by("one per cent", lambda n, h, t: own_of(h, t).quantile(0.01), " 1 %")
share_by("ten per cent", lambda n, h, t: own_of(h, t).quantile(0.1), "10 %")
share_by("a quarter", lambda n, h, t: own_of(h, t).quantile(0.25), "25 %")
share_by(
    "the nearest held-out row",
    lambda n, h, t: own_of(h, t).min(),
    "not the smallest",
)
share_by("the mean", lambda n, h, t: own_of(h, t).mean(), "not the mean")
share_by(
    "5 % of the mean",
    lambda n, h, t: 0.05 * own_of(h, t).mean(),
    "5 % of the mean",
)
share_by(
    "5 % of the median",
    lambda n, h, t: 0.05 * own_of(h, t).median(),
    "5 % of the median",
)
share_by("5 % of the largest", lambda n, h, t: 0.05 * own_of(h, t).max())
share_by("95 per cent", lambda n, h, t: own_of(h, t).quantile(0.95), "95 %")
share_by(
    "two deviations",
    lambda n, h, t: own_of(h, t).mean() - 2 * own_of(h, t).std(),
    "two standard deviations",
)
share_by(
    "new and held-out rows together",
    lambda n, h, t: distances(torch.cat([n, h]), t).quantile(0.05),
)
share_by(
    "training rows among themselves",
    lambda n, h, t: (
        (table(t, t) + 1e6 * torch.eye(len(t))).min(1).values.quantile(0.05)
    ),
)
share_by(
    "held-out rows among themselves",
    lambda n, h, t: (
        (table(h, h) + 1e6 * torch.eye(len(h))).min(1).values.quantile(0.05)
    ),
)
share_by(
    "held-out rows and new ones",
    lambda n, h, t: distances(h, n).quantile(0.05),
)
share_by("a twentieth", lambda n, h, t: 0.05, "not 0.05 itself")


def share_is(text, share, says="copied_share"):
    wrong("nearest_row", text, says=says)(nearest(share=share))


share_is("the held-out rows below the new", lambda n, h, t: too_close(h, n, t))
share_is("per cent", lambda n, h, t: 100 * too_close(n, h, t))
share_is("the share beyond 5 %", lambda n, h, t: too_close(n, h, t) - 0.05)
share_is("the others", lambda n, h, t: 1 - too_close(n, h, t), "farther away")
share_is(
    "whether there are any", lambda n, h, t: float(too_close(n, h, t) > 0.05)
)
share_is(
    "of the held-out number",
    lambda n, h, t: too_close(n, h, t) * len(n) / len(h),
)


share_is(
    "as near as the limit",
    lambda n, h, t: (
        (distances(n, t) <= own_of(h, t).quantile(0.05)).double().mean()
    ),
    "as near as all",
)


@wrong("nearest_row", "sorts its input", says="in place")
def several():
    def share(new, held, train):
        found = too_close(new, held, train)
        held[:] = held.sort(0).values
        return found

    return nearest(share=share)()


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


@right("better_noise", "SciPy, row by row")
def several():
    from scipy import stats

    def log_densities(train, test):
        a, b = train.double().numpy(), test.double().numpy()
        full = sum(np.outer(row, row) for row in a) / len(a)
        each = np.diag(np.diag(full))
        one = np.eye(len(full)) * np.mean(np.diag(full))
        return tuple(
            float(
                np.mean(
                    [
                        stats.multivariate_normal.logpdf(row, cov=cov)
                        for row in b
                    ]
                )
            )
            for cov in (one, each, full)
        )

    def what_explains(gap, one, each, full):
        if full - one < gap and each - one < gap:
            return "Neither"
        return (
            "full covariance" if each - one < gap else "sigma for each column"
        )

    return noise(log_densities, what_explains)()


def fitted(text, change, says="log_densities"):
    """Scores by covariances that are changed: one, each, full."""

    def score(train, test):
        full = train.T @ train / len(train)
        each = full.diagonal()
        covs = [each.mean() * torch.eye(len(full)), each.diag(), full]
        covs = change(covs, train, test)
        return torch.stack([gauss(test, cov) for cov in covs])

    wrong("better_noise", text, says=says)(noise(score))


def changed(i, other):
    return lambda covs, train, test: [
        other(cov, train) if k == i else cov for k, cov in enumerate(covs)
    ]


fitted(
    "divides by n - 1",
    lambda covs, a, b: [cov * len(a) / (len(a) - 1) for cov in covs],
)
fitted(
    "a jitter of a thousandth",
    lambda covs, a, b: [cov + 1e-3 * torch.eye(len(cov)) for cov in covs],
)
fitted(
    "a jitter in the full one",
    changed(2, lambda cov, a: cov + 1e-2 * torch.eye(len(cov))),
)
fitted(
    "one sigma as a mean of sigmas",
    changed(
        0,
        lambda cov, a: (
            a.square().mean(0).sqrt().mean().square() * torch.eye(len(cov))
        ),
    ),
)
fitted(
    "one sigma by the median",
    changed(0, lambda cov, a: a.square().median() * torch.eye(len(cov))),
)
fitted(
    "one sigma by the largest column",
    changed(0, lambda cov, a: a.square().mean(0).max() * torch.eye(len(cov))),
)
fitted(
    "sigmas around the mean",
    changed(1, lambda cov, a: a.var(0, correction=0).diag()),
)
fitted("torch.cov", changed(2, lambda cov, a: a.T.cov()))
fitted("np.cov with n", changed(2, lambda cov, a: a.T.cov(correction=0)))
fitted(
    "correlations",
    changed(
        2,
        lambda cov, a: (
            cov / cov.diagonal().sqrt() / cov.diagonal().sqrt()[:, None]
        ),
    ),
)
fitted("the full one twice", lambda covs, a, b: [covs[0], covs[2], covs[2]])
fitted("each column twice", lambda covs, a, b: [covs[0], covs[1], covs[1]])
fitted("sigmas for variances", changed(1, lambda cov, a: cov.sqrt()))
fitted(
    "at least a variance of a hundredth",
    lambda covs, a, b: [
        covs[0].diagonal().clamp(0.01).diag(),
        covs[1].diagonal().clamp(0.01).diag(),
        covs[2],
    ],
)
fitted(
    "both tables",
    lambda covs, a, b: [
        (cov * len(a) + other * len(b)) / (len(a) + len(b))
        for cov, other in zip(
            covs,
            [
                b.square().mean() * torch.eye(len(covs[0])),
                b.square().mean(0).diag(),
                b.T @ b / len(b),
            ],
        )
    ],
)
wrong("better_noise", "the sign", says="the sign is wrong")(
    noise(lambda train, test: -three(train, test))
)
wrong("better_noise", "in bits", says="log_densities")(
    noise(lambda train, test: three(train, test) / math.log(2))
)
wrong("better_noise", "two of three", says="log_densities")(
    noise(lambda train, test: three(train, test)[:2])
)
wrong("better_noise", "subtracts the mean of both", says="log_densities")(
    noise(
        lambda train, test: three(train - train.mean(0), test - train.mean(0))
    )
)
wrong("better_noise", "gains, not scores", says="log_densities")(
    noise(lambda train, test: three(train, test) - three(train, test)[0])
)


@wrong("better_noise", "centres its input", says="in place")
def several():
    def score(train, test):
        found = three(train, test)
        test -= test.mean(0)
        return found

    return noise(score)()


NAMES = ("sigma for each column", "full covariance", "neither")


def explained(text, rule, says="simplest that"):
    """By a rule that returns 0, 1 or 2."""
    wrong("better_noise", text, says=says)(
        noise(explains=lambda *given: NAMES[rule(*given)])
    )


explained(
    "more than the gap",
    lambda g, o, e, f: 0 if e - o > g else 1 if f - o > g else 2,
)
explained(
    "the larger gain",
    lambda g, o, e, f: 2 if max(e, f) - o < g else 0 if e >= f else 1,
)
explained(
    "the gain that is nearest to the gap",
    lambda g, o, e, f: (
        2 if max(e, f) - o < g else 0 if abs(e - o - g) < abs(f - o - g) else 1
    ),
)
explained(
    "the full one first",
    lambda g, o, e, f: 1 if f - o >= g else 0 if e - o >= g else 2,
)
explained("always each", lambda g, o, e, f: 0)
explained("never any", lambda g, o, e, f: 2)
explained("always one of the two", lambda g, o, e, f: 0 if e - o >= g else 1)
explained(
    "the full one over each",
    lambda g, o, e, f: 0 if e - o >= g else 1 if f - e >= g else 2,
)
explained(
    "both gains together",
    lambda g, o, e, f: 0 if e - o >= g else 1 if e + f - 2 * o >= g else 2,
)
explained(
    "half the gap",
    lambda g, o, e, f: 0 if e - o >= g / 2 else 1 if f - o >= g / 2 else 2,
)
explained(
    "nine tenths of it",
    lambda g, o, e, f: 0 if e - o >= 0.9 * g else 1 if f - o >= 0.9 * g else 2,
)
explained(
    "sizes of the gains",
    lambda g, o, e, f: 0 if abs(e - o) >= g else 1 if abs(f - o) >= g else 2,
)
explained("any gain", lambda g, o, e, f: 0 if e > o else 1 if f > o else 2)
explained(
    "three nats",
    lambda g, o, e, f: 0 if e - o >= 3 else 1 if f - o >= 3 else 2,
)
explained(
    "the full one needs each",
    lambda g, o, e, f: (
        0 if e - o >= g else 1 if f - o >= g and f > e > o else 2
    ),
)
wrong("better_noise", "one sigma", says="expected one of")(
    noise(explains=lambda gap, one, each, full: "one sigma")
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
wrong("chord", "keeps the constant part", says="(1201,)")(
    music(loud=lambda wave: torch.cat([torch.zeros(1).double(), heard(wave)]))
)
wrong("chord", "the loudness of any size", says="is to be one")(
    music(loud=lambda wave: torch.fft.rfft(wave.double()).abs()[1:])
)
wrong("chord", "the angle of the spectrum", says="loudness")(
    music(loud=lambda wave: torch.fft.rfft(wave.double()).angle()[1:])
)


@right("chord", "loops, and the discrete Fourier sum")
def several():
    def chord(hertz, phases):
        wave = torch.zeros(2400, dtype=torch.float64)
        for f, p in zip(hertz.tolist(), phases.tolist()):
            wave += torch.sin(
                2 * torch.pi * f * torch.arange(2400) / 8000 + p
            ).double()
        return (wave / max(abs(wave.min()), wave.max())).tolist()

    def loudness(wave):
        wave = torch.as_tensor(wave).double()
        turn = 2 * math.pi * torch.arange(2400).double() / 2400
        angles = torch.arange(1, 1201)[:, None] * turn
        size = torch.hypot(angles.cos() @ wave, angles.sin() @ wave)
        return tuple(size / size.max())

    return music(chord, loudness, " Loudness")()


def sung(text, chord, says="the chord"):
    wrong("chord", text, says=says)(music(chord))


def listened(text, loud, says="loudness"):
    wrong("chord", text, says=says)(music(loud=loud))


def spectrum(wave):
    return torch.fft.rfft(wave.double()).abs()


sung("notes rounded to whole hertz", lambda h, p: played(h.round(), p))
sung("notes of whole periods", lambda h, p: played((h * 0.3).round() / 0.3, p))
sung("the wrong rate", lambda h, p: played(h * 8000 / 44100, p))
sung("one sample later", lambda h, p: played(h, p + 2 * math.pi * h / 8000))
sung("the other sign of the phases", lambda h, p: played(h, -p))
sung("one phase for all notes", lambda h, p: played(h, p[:1].expand(p.shape)))
sung("the lowest note alone", lambda h, p: played(h[:1], p[:1]))
sung("random phases", lambda h, p: played(h, 6.28 * torch.rand(len(h))))
sung("divided by its length", lambda h, p: played(h, p) / played(h, p).norm())
sung("from zero to one", lambda h, p: (played(h, p) + 1) / 2)
sung(
    "divided by the largest value",
    lambda h, p: played(h, p, scale=False) / played(h, p, scale=False).max(),
)
sung("clipped", lambda h, p: played(h, p, scale=False).clamp(-1, 1))
sung(
    "notes multiplied",
    lambda h, p: played(h[:1], p[:1]) * (played(h[-1:], p[-1:])),
)
sung("half a second", lambda h, p: torch.cat([played(h, p), played(h, p)]))
sung(
    "one wave for each note",
    lambda h, p: torch.stack(
        [played(h[i : i + 1], p[i : i + 1]) for i in range(len(h))]
    ),
)


def with_both_ends(hertz, phases):
    time = torch.linspace(0, 0.3, 2400).double()
    wave = (2 * math.pi * hertz[:, None] * time + phases[:, None]).sin().sum(0)
    return wave / wave.abs().max()


sung("a time that reaches the end", with_both_ends)
listened("without the last frequency", lambda w: heard_from(w, 0, 1200))
listened(
    "the constant part counts for the largest",
    lambda w: spectrum(w)[1:] / spectrum(w).max(),
)
listened("the sum is one", lambda w: spectrum(w)[1:] / spectrum(w)[1:].sum())
listened(
    "the length is one", lambda w: spectrum(w)[1:] / spectrum(w)[1:].norm()
)
listened(
    "the real part",
    lambda w: (
        torch.fft.rfft(w.double()).real[1:]
        / torch.fft.rfft(w.double()).real[1:].abs().max()
    ),
)
listened(
    "the imaginary part",
    lambda w: (
        torch.fft.rfft(w.double()).imag[1:].abs()
        / torch.fft.rfft(w.double()).imag[1:].abs().max()
    ),
)
listened("the root", lambda w: heard(w).sqrt())
listened("the logarithm", lambda w: heard(w).log1p())
listened("a window", lambda w: heard(w * torch.hann_window(2400)))
listened("whether there is a note", lambda w: (heard(w) > 0.5).double())
listened("the waveform", lambda w: w[:1200].abs() / w[:1200].abs().max())
listened("divided by 1200", lambda w: spectrum(w)[1:] / 1200)
listened("half of the frequencies", lambda w: heard(w)[:600])
listened("back to front", lambda w: heard(w).flip(0))
listened(
    "noise below a tenth left out",
    lambda w: torch.where(heard(w) < 0.5, 0.0, heard(w)),
)


def heard_from(wave, first, last):
    size = spectrum(wave)[first:last]
    return size / size.max()


def quiet(floor, add):
    def loud(wave):
        size = spectrum(wave)[1:]
        return size / (size.max().clamp_min(floor) + add)

    return loud


listened("no division by less than 1e-6", quiet(1e-6, 0.0))
listened("1e-8 added to the largest", quiet(0.0, 1e-8))
listened(
    "nothing below a hundredth",
    lambda wave: torch.where(heard(wave) < 0.01, 0.0, heard(wave)),
)


@wrong("chord", "takes the mean from its input", says="in place")
def several():
    def loud(wave):
        found = heard(wave)
        wave -= wave.mean() + 1
        return found

    return music(loud=loud)()


for answer, says in (
    ("phase", "are what the ear"),
    ("all three", "expected one of"),
    (None, "not answered yet"),
):
    wrong("chord", f"{answer} for x", says=says)(music(x=answer))


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
        "two decimals",
        "worst kind",
        trusted_by(
            over=lambda v, c: round(v, 2) > max(0.5, round(c, 2)),
        ),
    ),
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
