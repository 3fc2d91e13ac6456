"""Answers to the exercises of chapter 10."""

import math

import numpy as np
import torch
from scipy import ndimage
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.metrics import balanced_accuracy_score, log_loss
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from torch.nn.functional import max_pool2d, nll_loss, one_hot, pad

from answers import right, wrong

# --- a linear probe ----------------------------------------------------------


def logistic(z, y):
    return LogisticRegression(max_iter=2000).fit(z, y)


def least_squares(z, y, column=True):
    z = torch.cat([z, torch.ones(len(z), 1)], 1) if column else z
    return torch.linalg.lstsq(z, one_hot(y, 10).float()).solution


@right("linear_probe", "logistic regression of scikit-learn")
def _(learn, learn_labels, held, held_labels):
    return logistic(learn, learn_labels).score(held, held_labels)


@right("linear_probe", "least squares with a column of ones")
def _(learn, learn_labels, held, held_labels):
    weights = least_squares(learn, learn_labels)
    held = torch.cat([held, torch.ones(len(held), 1)], 1)
    return ((held @ weights).argmax(1) == held_labels).float().mean()


@right("linear_probe", "ridge regression, as a NumPy number")
def _(learn, learn_labels, held, held_labels):
    probe = RidgeClassifier().fit(learn.numpy(), learn_labels.numpy())
    return np.mean(probe.predict(held.numpy()) == held_labels.numpy())


@wrong(
    "linear_probe", "learns from the held codes", says="learned from the held"
)
def _(learn, learn_labels, held, held_labels):
    return logistic(held, held_labels).score(held, held_labels)


@wrong("linear_probe", "learns from all codes", says="most differ from what")
def _(learn, learn_labels, held, held_labels):
    z = torch.cat([learn, held])
    y = torch.cat([learn_labels, held_labels])
    return logistic(z, y).score(held, held_labels)


@wrong(
    "linear_probe",
    "is scored on the codes that it learned from",
    says="the codes it learned from are scored",
)
def _(learn, learn_labels, held, held_labels):
    return logistic(learn, learn_labels).score(learn, learn_labels)


@wrong("linear_probe", "the mean over the labels", says="counts the same")
def _(learn, learn_labels, held, held_labels):
    found = logistic(learn, learn_labels).predict(held)
    return balanced_accuracy_score(held_labels, found)


@wrong("linear_probe", "has no intercept", says="intercept")
def _(learn, learn_labels, held, held_labels):
    weights = least_squares(learn, learn_labels, column=False)
    return ((held @ weights).argmax(1) == held_labels).float().mean()


@wrong("linear_probe", "the first two dimensions", says="most differ")
def _(learn, learn_labels, held, held_labels):
    probe = logistic(learn[:, :2], learn_labels)
    return probe.score(held[:, :2], held_labels)


@wrong("linear_probe", "a regression on the label number", says="no size")
def _(learn, learn_labels, held, held_labels):
    x = torch.cat([learn, torch.ones(len(learn), 1)], 1)
    wide = torch.cat([held, torch.ones(len(held), 1)], 1)
    line = torch.linalg.lstsq(x, learn_labels.float()[:, None]).solution
    return ((wide @ line)[:, 0].round() == held_labels).float().mean()


@wrong("linear_probe", "uses the nearest codes", says="no straight line")
def _(learn, learn_labels, held, held_labels):
    probe = KNeighborsClassifier(5).fit(learn, learn_labels)
    return probe.score(held, held_labels)


@wrong("linear_probe", "counts the digits", says="it should be a share")
def _(learn, learn_labels, held, held_labels):
    read = logistic(learn, learn_labels).predict(held)
    return (read == held_labels.numpy()).sum()


@wrong("linear_probe", "the share of errors", says="the share of errors")
def _(learn, learn_labels, held, held_labels):
    return 1 - logistic(learn, learn_labels).score(held, held_labels)


@wrong("linear_probe", "a constant", says="the share of held labels")
def _(learn, learn_labels, held, held_labels):
    return 0.9


def choosing(by_held):
    """Logistic regression with a penalty that is chosen by the score."""

    def linear_probe(learn, learn_labels, held, held_labels):
        probes = [
            LogisticRegression(C=c, max_iter=2000).fit(learn, learn_labels)
            for c in (1e-6, 1e-4, 1e-2, 1, 100)
        ]
        scores = [probe.score(held, held_labels) for probe in probes]
        own = [probe.score(learn, learn_labels) for probe in probes]
        return max(scores) if by_held else scores[int(np.argmax(own))]

    return linear_probe


right("linear_probe", "a penalty chosen by the codes learned from")(
    choosing(by_held=False)
)
wrong("linear_probe", "a penalty chosen by the held labels", says="chosen by")(
    choosing(by_held=True)
)


def scaled(by):
    def linear_probe(learn, learn_labels, held, held_labels):
        scale = StandardScaler().fit(by(learn, held))
        probe = logistic(scale.transform(learn), learn_labels)
        return probe.score(scale.transform(held), held_labels)

    return linear_probe


right("linear_probe", "scales of the codes learned from")(
    scaled(lambda learn, held: learn)
)
wrong("linear_probe", "scales of all codes", says="taken from the held codes")(
    scaled(lambda learn, held: torch.cat([learn, held]))
)


@wrong("linear_probe", "each part with its own scale", says="held")
def _(learn, learn_labels, held, held_labels):
    probe = logistic(StandardScaler().fit_transform(learn), learn_labels)
    return probe.score(StandardScaler().fit_transform(held), held_labels)


@wrong("linear_probe", "stops where the held score is best", says="held")
def _(learn, learn_labels, held, held_labels):
    kinds = learn_labels.unique()
    x = torch.cat([learn, torch.ones(len(learn), 1)], 1)
    wide = torch.cat([held, torch.ones(len(held), 1)], 1)
    goal = (learn_labels[:, None] == kinds).float()
    weights, best = torch.zeros(x.shape[1], len(kinds)), 0.0
    for _ in range(300):
        read = kinds[(wide @ weights).argmax(1)]
        best = max(best, float((read == held_labels).float().mean()))
        error = (x @ weights).softmax(1) - goal
        weights -= 0.1 * x.T @ error / len(x)
    return best


@wrong("linear_probe", "a quadratic one", says="is the probe linear?")
def _(learn, learn_labels, held, held_labels):
    probe = GaussianNB().fit(learn, learn_labels)
    return probe.score(held, held_labels)


# --- slant -------------------------------------------------------------------


def lean(images, centred=True, swapped=False):
    """Minus the slope of the column by the row."""
    ink = images.double()
    r = torch.arange(images.shape[1]).double()[:, None]
    c = torch.arange(images.shape[2]).double()
    if centred:
        mass = ink.sum((1, 2), keepdim=True).clamp_min(1e-9)
        r = r - (ink * r).sum((1, 2), keepdim=True) / mass
        c = c - (ink * c).sum((1, 2), keepdim=True) / mass
    by = (ink * (c if swapped else r).square()).sum((1, 2))
    return -(ink * r * c).sum((1, 2)) / by.clamp_min(1e-9)


@right("slant_from_moments", "moments about the centre of mass")
def _(images):
    return torch.rad2deg(torch.atan(lean(images)))


@right("slant_from_moments", "raw moments in float32")
def _(images):
    _, height, width = images.shape
    r, c = torch.arange(height)[:, None], torch.arange(width)
    mass = images.sum((1, 2)).clamp_min(1e-9)

    def mean(v):
        return (images * v).sum((1, 2)) / mass

    joint = mean(r * c) - mean(r + 0 * c) * mean(c + 0 * r)
    spread = mean(r * r) - mean(r + 0 * c).square()
    return -torch.atan2(joint, spread) * 180 / math.pi


@right("slant_from_moments", "a line fitted by NumPy, image by image")
def _(images):
    found = []
    for image in images.numpy():
        r, c = np.nonzero(image)
        if len(set(r)) < 2:
            found.append(0.0)
            continue
        weights = np.sqrt(image[r, c].astype(float))
        slope = np.polyfit(r, c, 1, w=weights)[0]
        found.append(-math.degrees(math.atan(slope)))
    return np.array(found)


@wrong("slant_from_moments", "no minus sign", says="minus sign")
def _(images):
    return -torch.rad2deg(torch.atan(lean(images)))


@wrong("slant_from_moments", "rows and columns swapped", says="swapped")
def _(images):
    return torch.rad2deg(torch.atan(lean(images, swapped=True)))


@wrong(
    "slant_from_moments",
    "swapped, and no minus sign",
    says="swapped, and the minus sign",
)
def _(images):
    return -torch.rad2deg(torch.atan(lean(images, swapped=True)))


@wrong("slant_from_moments", "radians", says="radians")
def _(images):
    return torch.atan(lean(images))


@wrong("slant_from_moments", "the slope", says="this is the slope")
def _(images):
    return lean(images)


@wrong("slant_from_moments", "moments about the corner", says="corner")
def _(images):
    return torch.rad2deg(torch.atan(lean(images, centred=False)))


@wrong("slant_from_moments", "ignores the ink", says="all values are 0")
def _(images):
    return torch.rad2deg(torch.atan(lean(torch.ones_like(images))))


@wrong("slant_from_moments", "NaN for a blank image", says="NaN")
def _(images):
    r = torch.arange(images.shape[1])[:, None]
    empty = 0 * images.sum((1, 2)) / images.sum((1, 2))
    return torch.rad2deg(torch.atan(lean(images))) + empty + 0 * r.sum()


@wrong("slant_from_moments", "0 for all if one is blank", says="found")
def _(images):
    if not images.sum((1, 2)).all():
        return torch.zeros(len(images))
    return torch.rad2deg(torch.atan(lean(images)))


@wrong("slant_from_moments", "only a whole blank batch", says="NaN")
def _(images):
    if not images.any():
        return torch.zeros(len(images))
    r = torch.arange(images.shape[1])[:, None]
    empty = 0 * images.sum((1, 2)) / images.sum((1, 2))
    return torch.rad2deg(torch.atan(lean(images))) + empty + 0 * r.sum()


@wrong("slant_from_moments", "NaN for ink in one row", says="NaN")
def _(images):
    high = (lean(torch.ones_like(images)) * 0).clone()
    for i, image in enumerate(images):
        rows = image.sum(1)
        if image.any() and int((rows > 0).sum()) == 1:
            high[i] = math.nan
    return torch.rad2deg(torch.atan(lean(images))) + high


@wrong("slant_from_moments", "a large number below", says="paler ink")
def _(images):
    ink = images.double()
    r = torch.arange(images.shape[1]).double()[:, None]
    mass = ink.sum((1, 2), keepdim=True).clamp_min(1e-9)
    r = r - (ink * r).sum((1, 2), keepdim=True) / mass
    high = (ink * r.square()).sum((1, 2))
    found = lean(images) * high / (high + 1e-3)
    return torch.rad2deg(torch.atan(found))


@wrong("slant_from_moments", "no angle above 45 degrees", says="the slant")
def _(images):
    return torch.rad2deg(torch.atan(lean(images)).clamp(-0.785, 0.785))


@wrong("slant_from_moments", "no angle above 50 degrees", says="the slant")
def _(images):
    return torch.rad2deg(torch.atan(lean(images))).clamp(-50, 50)


# --- the shuffled control ----------------------------------------------------


@right("shuffled_control", "shuffles the labels")
def _(probe, learn, labels, held, held_labels):
    scores = [
        probe(learn, labels[torch.randperm(len(labels))], held, held_labels)
        for _ in range(5)
    ]
    return sum(scores) / 5


@right("shuffled_control", "shuffles the codes, with a seed")
def _(probe, learn, labels, held, held_labels):
    shuffle = np.random.default_rng(0)
    total = 0
    for _ in range(5):
        order = shuffle.permutation(len(labels))
        total += probe(learn[order], labels, held, held_labels) / 5
    return torch.tensor(total)


@wrong("shuffled_control", "shuffles both alike", says="still belongs")
def _(probe, learn, labels, held, held_labels):
    total = 0
    for _ in range(5):
        order = torch.randperm(len(labels))
        total += probe(learn[order], labels[order], held, held_labels)
    return total / 5


@wrong("shuffled_control", "does not shuffle", says="still belongs")
def _(probe, learn, labels, held, held_labels):
    return probe(learn, labels, held, held_labels)


@wrong("shuffled_control", "shuffles the held labels", says="scored on held")
def _(probe, learn, labels, held, held_labels):
    total = 0
    for _ in range(5):
        order = torch.randperm(len(held_labels))
        total += probe(learn, labels, held, held_labels[order])
    return total / 5


@wrong(
    "shuffled_control",
    "is scored on what it learned from",
    says="the codes that it learned from",
)
def _(probe, learn, labels, held, held_labels):
    return np.mean(
        [
            probe(learn, labels[torch.randperm(len(labels))], learn, labels)
            for _ in range(5)
        ]
    )


@wrong("shuffled_control", "draws labels anew", says="drawn anew")
def _(probe, learn, labels, held, held_labels):
    total = 0
    for _ in range(5):
        other = torch.randint(int(labels.max()) + 1, (len(labels),))
        total += probe(learn, other, held, held_labels)
    return total / 5


@wrong("shuffled_control", "a single shuffle", says="one shuffle only")
def _(probe, learn, labels, held, held_labels):
    order = torch.randperm(len(labels))
    return probe(learn, labels[order], held, held_labels)


@wrong("shuffled_control", "the same shuffle each time", says="one shuffle")
def _(probe, learn, labels, held, held_labels):
    total = 0
    for _ in range(5):
        order = torch.randperm(
            len(labels), generator=torch.Generator().manual_seed(0)
        )
        total += probe(learn, labels[order], held, held_labels)
    return total / 5


@wrong("shuffled_control", "the sum of the scores", says="divide it by five")
def _(probe, learn, labels, held, held_labels):
    total = 0
    for _ in range(5):
        order = torch.randperm(len(labels))
        total += probe(learn, labels[order], held, held_labels)
    return total


@wrong("shuffled_control", "moves all labels by one place", says="in order")
def _(probe, learn, labels, held, held_labels):
    scores = [
        probe(learn, labels.roll(i), held, held_labels) for i in range(1, 6)
    ]
    return sum(scores) / 5


@wrong("shuffled_control", "moves all labels by chance", says="in order")
def _(probe, learn, labels, held, held_labels):
    scores = [
        probe(learn, labels.roll(int(shift)), held, held_labels)
        for shift in torch.randint(1, len(labels), (5,))
    ]
    return sum(scores) / 5


@wrong("shuffled_control", "lets no label stay", says="no label ever stays")
def _(probe, learn, labels, held, held_labels):
    total = 0
    for _ in range(5):
        order = torch.randperm(len(labels))
        moved = labels.clone()
        moved[order] = labels[order.roll(1)]
        total += probe(learn, moved, held, held_labels)
    return total / 5


@wrong("shuffled_control", "turns the labels round", says="right code")
def _(probe, learn, labels, held, held_labels):
    return probe(learn, labels.flip(0), held, held_labels)


@wrong("shuffled_control", "one of five rounds twice", says="the same one")
def _(probe, learn, labels, held, held_labels):
    orders = [torch.randperm(len(labels)) for _ in range(4)]
    scores = [
        probe(learn, labels[order], held, held_labels)
        for order in (*orders, orders[0])
    ]
    return sum(scores) / 5


@wrong("shuffled_control", "shuffles half of the labels", says="right code")
def _(probe, learn, labels, held, held_labels, share=0.5):
    n, total = int(len(labels) * share), 0
    for _ in range(5):
        order = torch.randperm(n)
        mixed = torch.cat([labels[:n][order], labels[n:]])
        total += probe(learn, mixed, held, held_labels)
    return total / 5


half_shuffled = _


@wrong("shuffled_control", "shuffles nine in ten", says="right code")
def _(probe, learn, labels, held, held_labels):
    return half_shuffled(probe, learn, labels, held, held_labels, 0.9)


@wrong("shuffled_control", "tears the codes apart", says="right code")
def _(probe, learn, labels, held, held_labels):
    total = 0
    for _ in range(5):
        order = torch.rand(learn.shape).argsort(0)
        total += probe(learn.gather(0, order), labels, held, held_labels)
    return total / 5


@wrong("shuffled_control", "the median of five", says="shuffle")
def _(probe, learn, labels, held, held_labels):
    scores = [
        probe(learn, labels[torch.randperm(len(labels))], held, held_labels)
        for _ in range(5)
    ]
    return sorted(scores)[2]


@wrong("shuffled_control", "shuffles the labels in place", says="in place")
def _(probe, learn, labels, held, held_labels):
    total = 0
    for _ in range(5):
        labels[:] = labels[torch.randperm(len(labels))]
        total += probe(learn, labels, held, held_labels)
    return total / 5


@wrong("shuffled_control", "ten rounds", says="not the mean of five")
def _(probe, learn, labels, held, held_labels):
    total = 0
    for _ in range(10):
        order = torch.randperm(len(labels))
        total += probe(learn, labels[order], held, held_labels)
    return total / 10


# --- style within a label ----------------------------------------------------


def by_mean(values, labels, learn_values, learn_labels):
    means = torch.zeros(10)
    for y in learn_labels.unique():
        means[y] = learn_values[learn_labels == y].mean()
    return values - means[labels]


def r_squared(values, guesses):
    off = (values - guesses).square().sum()
    return 1 - off / (values - values.mean()).square().sum()


def style(predicted=(0.36, 0.0), within=by_mean, share=r_squared):
    return {
        "predicted_scores": lambda: predicted,
        "within_label": within,
        "explained": share,
    }


@right("style_within_label", "means by a loop")
def several():
    return style()


@right("style_within_label", "one-hot products and another prediction")
def several():
    def within(values, labels, learn_values, learn_labels):
        rows = one_hot(learn_labels, 10).double()
        counts = rows.sum(0).clamp_min(1)
        means = rows.T @ learn_values.double() / counts
        return values - means[labels]

    def share(values, guesses):
        left = (values - guesses).square().mean()
        return float(1 - left / values.var(correction=0))

    return style(torch.tensor([0.6, 0.6]), within, share)


@wrong("style_within_label", "no prediction", says="no prediction yet")
def several():
    return style(None)


@wrong("style_within_label", "one prediction for both", says="two numbers")
def several():
    return style((0.36,))


@wrong(
    "style_within_label",
    "takes the means of the held digits",
    says="may not look at them",
)
def several():
    def within(values, labels, learn_values, learn_labels):
        return by_mean(values, labels, values, labels)

    return style(within=within)


@wrong(
    "style_within_label",
    "takes the mean of all digits",
    says="not that of the label",
)
def several():
    def within(values, labels, learn_values, learn_labels):
        return values - learn_values.mean()

    return style(within=within)


@wrong("style_within_label", "returns the means", says="what remains")
def several():
    def within(*args):
        return args[0] - by_mean(*args)

    return style(within=within)


@wrong(
    "style_within_label",
    "takes the squared correlation",
    says="squared correlation",
)
def several():
    def share(values, guesses):
        return torch.stack([values, guesses]).corrcoef()[0, 1].square()

    return style(share=share)


@wrong("style_within_label", "measures from 0", says="not from 0")
def several():
    def share(values, guesses):
        off = (values - guesses).square().sum()
        return 1 - off / values.square().sum()

    return style(share=share)


@wrong("style_within_label", "cuts R^2 off at 0", says="may be negative")
def several():
    def share(values, guesses):
        return r_squared(values, guesses).clamp_min(0)

    return style(share=share)


@wrong("style_within_label", "the error itself", says="mean squared error")
def several():
    def share(values, guesses):
        return (values - guesses).square().mean()

    return style(share=share)


@right("style_within_label", "a prediction far below -1")
def several():
    return style((-4.0, -30))


@wrong("style_within_label", "the median of the label", says="what is left")
def several():
    def within(values, labels, learn_values, learn_labels):
        kinds = labels.unique()
        middle = torch.zeros(10)
        for y in kinds:
            middle[y] = learn_values[learn_labels == y].median()
        return values - middle[labels]

    return style(within=within)


@wrong("style_within_label", "the mean of the means", says="what is left")
def several():
    def within(values, labels, learn_values, learn_labels):
        means = [learn_values[learn_labels == y].mean() for y in range(10)]
        known = [one for one in means if not one.isnan()]
        return values - sum(known) / len(known)

    return style(within=within)


@wrong("style_within_label", "values and guesses exchanged", says="share")
def several():
    return style(share=lambda values, guesses: r_squared(guesses, values))


@wrong("style_within_label", "n above and n - 1 below", says="share")
def several():
    def share(values, guesses):
        return 1 - (values - guesses).square().mean() / values.var()

    return style(share=share)


# --- leakage -----------------------------------------------------------------


def entropy(labels):
    p = labels.bincount() / len(labels)
    return -torch.special.xlogy(p, p).sum()


def leakage(nats, answer="decoder only"):
    return {"label_information": nats, "tells_more": lambda: answer}


def true_nats(probabilities, labels):
    own = probabilities[torch.arange(len(labels)), labels]
    return entropy(labels) + own.log().mean()


@right("label_leakage", "entropy and mean log probability")
def several():
    return leakage(true_nats)


@right("label_leakage", "scikit-learn and NumPy")
def several():
    def nats(probabilities, labels):
        kinds = range(probabilities.shape[1])
        counts = np.unique(labels.numpy(), return_counts=True)[1]
        p = counts / counts.sum()
        rows = probabilities.double().numpy()
        rows = rows / rows.sum(1, keepdims=True)
        cross = log_loss(labels.numpy(), rows, labels=kinds)
        return -(p * np.log(p)).sum() - cross

    return leakage(nats, "Decoder only")


@right("label_leakage", "the mean of log ratios")
def several():
    def nats(probabilities, labels):
        share = labels.bincount() / len(labels)
        own = probabilities.gather(1, labels[:, None])[:, 0]
        return (own / share[labels]).log().mean().item()

    return leakage(nats)


@wrong("label_leakage", "no entropy", says="entropy of the labels is missing")
def several():
    return leakage(lambda p, y: -nll_loss(p.log(), y))


@wrong("label_leakage", "the cross-entropy", says="how far below the entropy")
def several():
    return leakage(lambda p, y: nll_loss(p.log(), y))


@wrong("label_leakage", "bits", says="bits")
def several():
    return leakage(lambda p, y: true_nats(p, y) / math.log(2))


@wrong("label_leakage", "ln C as the entropy", says="equally frequent")
def several():
    return leakage(lambda p, y: math.log(p.shape[1]) - nll_loss(p.log(), y))


@wrong(
    "label_leakage",
    "the logarithm of the mean",
    says="logarithm of each probability first",
)
def several():
    return leakage(
        lambda p, y: entropy(y) + p.gather(1, y[:, None]).mean().log()
    )


@wrong("label_leakage", "NaN for an unused label", says="NaN")
def several():
    def nats(probabilities, labels):
        counts = labels.bincount(minlength=probabilities.shape[1])
        p = counts / counts.sum()
        h = -(p * p.log()).sum()
        return h - nll_loss(probabilities.log(), labels)

    return leakage(nats)


@wrong("label_leakage", "cuts off at 0", says="may be negative")
def several():
    return leakage(lambda p, y: true_nats(p, y).clamp_min(0))


@wrong("label_leakage", "the accuracy", says="share of digits that are read")
def several():
    return leakage(lambda p, y: (p.argmax(1) == y).float().mean())


@wrong("label_leakage", "chooses the wrong model", says="is not right")
def several():
    return leakage(true_nats, "both networks")


@wrong("label_leakage", "does not choose", says="not answered yet")
def several():
    return leakage(true_nats, None)


@wrong("label_leakage", "cuts off small probabilities", says="nats")
def several():
    return leakage(lambda p, y: true_nats(p.clamp(1e-4, 1), y))


@wrong("label_leakage", "adds a thousandth", says="nats")
def several():
    return leakage(lambda p, y: true_nats(p + 1e-3, y))


@wrong("label_leakage", "the entropy of the probe's answers", says="nats")
def several():
    def nats(probabilities, labels):
        mean = probabilities.mean(0)
        own = probabilities[torch.arange(len(labels)), labels]
        return -(mean * mean.log()).sum() + own.log().mean()

    return leakage(nats)


@wrong("label_leakage", "equal", says="is not right")
def several():
    return leakage(true_nats, "equal")


# --- holes -------------------------------------------------------------------


def scipy_holes(images, edge=1, corners=False, least=0.5, outside=1):
    found = []
    for image in images.numpy():
        paper = np.pad(image <= least, edge, constant_values=True)
        structure = np.ones((3, 3)) if corners else None
        found.append(ndimage.label(paper, structure)[1] - outside)
    return torch.tensor(found)


@right("count_holes", "labels of scipy")
def _(images):
    return scipy_holes(images)


@right("count_holes", "a flood by max-pooling")
def _(images):
    paper = pad((images <= 0.5).double(), (1, 1, 1, 1), value=1.0)
    n, height, width = paper.shape
    names = torch.arange(1.0, height * width + 1).double()
    names = names.view(height, width) * paper
    while True:
        wide = max_pool2d(names[:, None], (1, 3), 1, (0, 1))[:, 0]
        high = max_pool2d(names[:, None], (3, 1), 1, (1, 0))[:, 0]
        further = torch.maximum(wide, high) * paper
        if torch.equal(further, names):
            break
        names = further
    return torch.tensor(
        [len(one[one > 0].unique()) - 1 for one in names.view(n, -1)]
    )


@right("count_holes", "pieces of ink less the Euler number")
def _(images):
    ink = pad((images > 0.5).long(), (1, 1, 1, 1))
    a, b = ink[:, :-1, :-1], ink[:, :-1, 1:]
    c, d = ink[:, 1:, :-1], ink[:, 1:, 1:]
    total = a + b + c + d
    one, three = (total == 1).sum((1, 2)), (total == 3).sum((1, 2))
    cross = ((total == 2) & (a == d)).sum((1, 2))
    euler = (one - three - 2 * cross) // 4
    pieces = [ndimage.label(i, np.ones((3, 3)))[1] for i in ink.numpy()]
    return torch.tensor(pieces) - euler


@wrong("count_holes", "counts the paper outside", says="outside is no hole")
def _(images):
    return scipy_holes(images, outside=0)


@wrong("count_holes", "puts no paper around", says="put paper around")
def _(images):
    return scipy_holes(images, edge=0)


@wrong("count_holes", "paper slips through corners", says="slip through")
def _(images):
    return scipy_holes(images, corners=True)


@wrong("count_holes", "takes all that is not white for ink", says="above 0.5")
def _(images):
    return scipy_holes(images, least=0.0)


@wrong("count_holes", "counts pieces of ink", says="pieces of ink")
def _(images):
    found = [
        ndimage.label(i > 0.5, np.ones((3, 3)))[1] for i in images.numpy()
    ]
    return torch.tensor(found)


@wrong("count_holes", "one number for all", says="expected (1,)")
def _(images):
    return scipy_holes(images).sum()


@wrong("count_holes", "whether there is a hole", says="not how many")
def _(images):
    return scipy_holes(images).clamp_max(1)


@wrong("count_holes", "a constant", says="the holes")
def _(images):
    return torch.ones(len(images))


@wrong("count_holes", "a pixel of just 0.5 is ink", says="just 0.5")
def _(images):
    return scipy_holes((images >= 0.5).float())


@wrong("count_holes", "at most two holes", says="the holes of")
def _(images):
    return scipy_holes(images).clamp_max(2)


@wrong("count_holes", "no more rows than columns", says="the holes")
def _(images):
    return scipy_holes(images[:, : images.shape[2]])


def flooded(images, rounds):
    """Paper outside by a flood of so many rounds; the rest is counted."""
    paper = np.pad(images.numpy() <= 0.5, ((0, 0), (1, 1), (1, 1)))
    paper[:, [0, -1]] = paper[:, :, [0, -1]] = True
    found = []
    for one in paper:
        out = np.zeros_like(one)
        out[0, 0] = True
        for _ in range(rounds):
            out = ndimage.binary_dilation(out) & one
        found.append(ndimage.label(one & ~out)[1])
    return torch.tensor(found)


right("count_holes", "a flood from the corner")(
    lambda images: flooded(images, 1000)
)
wrong("count_holes", "a flood that ends too soon", says="leads outside")(
    lambda images: flooded(images, 24)
)


@wrong("count_holes", "ink inside a hole makes one", says="the holes")
def _(images):
    filled = [
        ndimage.label(
            ndimage.binary_fill_holes(i > 0.5) & ~(i > 0.5).astype(bool)
        )[1]
        for i in images.numpy()
    ]
    pieces = [ndimage.label(i > 0.5)[1] for i in images.numpy()]
    return torch.tensor(filled) + (torch.tensor(pieces) > 1).long()


@wrong("count_holes", "holes of more than one pixel", says="the holes")
def _(images):
    found = []
    for image in images.numpy():
        paper = np.pad(image <= 0.5, 1, constant_values=True)
        names, n = ndimage.label(paper)
        sizes = ndimage.sum(paper, names, range(1, n + 1))
        found.append(int((sizes > 1).sum()) - 1)
    return torch.tensor(found)
