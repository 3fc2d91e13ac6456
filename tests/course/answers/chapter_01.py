"""Answers to the exercises of chapter 1."""

import copy
import operator

import numpy as np
import torch
from torch.nn import functional

from answers import right, wrong
from minivae import pictures

# --- 1.1 ---------------------------------------------------------------------


def pca(x, n_latent):
    mean = x.mean(0)
    rows = torch.linalg.svd(x - mean, full_matrices=False)[2]
    return mean, rows[:n_latent]


def encode(x, mean, axes):
    return (x - mean) @ axes.T


def decode(z, mean, axes):
    return mean + z @ axes


def _pca(**changed):
    return {"pca": pca, "encode": encode, "decode": decode} | changed


@right("pca_by_hand", "SVD of the centred digits")
def several():
    return _pca()


@right("pca_by_hand", "eigenvectors of the covariance, in double precision")
def several():
    def pca(x, n_latent):
        x = x.double()
        _, vectors = torch.linalg.eigh(torch.cov(x.T).reshape(x.shape[1], -1))
        return x.mean(0), vectors.flip(1)[:, :n_latent].T

    def encode(x, mean, axes):
        return torch.einsum("kd,nd->nk", axes, x - mean)

    return _pca(pca=pca, encode=encode)


@right("pca_by_hand", "NumPy, and other signs of the axes")
def several():
    def pca(x, n_latent):
        x = x.numpy()
        mean = x.mean(axis=0)
        _, _, rows = np.linalg.svd(x - mean)
        return [mean, -rows[:n_latent]]

    def decode(z, mean, axes):
        return (axes.T @ z.T).T + mean

    return _pca(pca=pca, decode=decode)


@wrong("pca_by_hand", "does not centre before the SVD", says="not centred")
def several():
    def pca(x, n_latent):
        return x.mean(0), torch.linalg.svd(x, full_matrices=False)[2][
            :n_latent
        ]

    return _pca(pca=pca)


@wrong("pca_by_hand", "ignores the size of the code", says="n_latent")
def several():
    def pca(x, n_latent):
        mean = x.mean(0)
        return mean, torch.linalg.svd(x - mean, full_matrices=False)[2]

    return _pca(pca=pca)


@wrong(
    "pca_by_hand",
    "takes the first eigenvectors, which have the smallest variance",
    says="smallest variance",
)
def several():
    def pca(x, n_latent):
        vectors = torch.linalg.eigh(torch.cov(x.T))[1]
        return x.mean(0), vectors[:, :n_latent].T

    return _pca(pca=pca)


@wrong("pca_by_hand", "leaves the smaller axis first", says="comes first")
def several():
    def pca(x, n_latent):
        vectors = torch.linalg.eigh(torch.cov(x.T))[1]
        return x.mean(0), vectors[:, -n_latent:].T

    return _pca(pca=pca)


@wrong("pca_by_hand", "returns the axes as columns", says="columns")
def several():
    def pca(x, n_latent):
        mean = x.mean(0)
        columns = torch.linalg.svd((x - mean).T, full_matrices=False)[0]
        return mean, columns[:, :n_latent]

    return _pca(pca=pca)


@wrong("pca_by_hand", "scales the axes", says="length 1")
def several():
    def pca(x, n_latent):
        mean = x.mean(0)
        _, sizes, rows = torch.linalg.svd(x - mean, full_matrices=False)
        return mean, (sizes[:, None] * rows)[:n_latent]

    return _pca(pca=pca)


@wrong("pca_by_hand", "returns only the axes", says="the mean")
def several():
    return _pca(pca=lambda x, n: pca(x, n)[1])


@wrong("pca_by_hand", "one mean for all pixels", says="one mean for all")
def several():
    return _pca(pca=lambda x, n: (x.mean(), pca(x, n)[1]))


@wrong(
    "pca_by_hand",
    "encodes without subtracting the mean",
    says="the mean was not subtracted",
)
def several():
    return _pca(encode=lambda x, mean, axes: x @ axes.T)


@wrong(
    "pca_by_hand",
    "draws the mean, whatever the code",
    says="does not depend on z",
)
def several():
    return _pca(decode=lambda z, mean, axes: mean.expand(len(z), -1))


@wrong(
    "pca_by_hand",
    "decodes without adding the mean",
    says="the mean was not added",
)
def several():
    return _pca(decode=lambda z, mean, axes: z @ axes)


@wrong("pca_by_hand", "centres in place", says="changes its input")
def several():
    def encode(x, mean, axes):
        x -= mean
        return x @ axes.T

    return _pca(encode=encode)


@right("pca_by_hand", "tuples, and the rows of a list")
def several():
    def listed(x, n_latent):
        mean, axes = pca(x.double(), n_latent)
        return mean.tolist(), [tuple(row) for row in axes.tolist()]

    return _pca(pca=listed, encode=lambda *a: tuple(encode(*a)))


@wrong("pca_by_hand", "standardises the pixels first", says="the axes")
def several():
    def scaled(x, n_latent):
        rows = torch.linalg.svd((x - x.mean(0)) / x.std(0))[2]
        return x.mean(0), rows[:n_latent]

    return _pca(pca=scaled)


@wrong("pca_by_hand", "centres with the mean of the argument", says="the code")
def several():
    return _pca(encode=lambda x, mean, axes: (x - x.mean(0)) @ axes.T)


@wrong("pca_by_hand", "adds the mean twice", says="the picture")
def several():
    return _pca(decode=lambda z, mean, axes: 2 * mean + z @ axes)


@wrong("pca_by_hand", "subtracts the mean when decoding", says="the picture")
def several():
    return _pca(decode=lambda z, mean, axes: z @ axes - mean)


@wrong("pca_by_hand", "codes of length one", says="the code")
def several():
    return _pca(
        encode=lambda *a: functional.normalize(encode(*a), dim=1),
    )


@wrong("pca_by_hand", "the median for the mean", says="the mean")
def several():
    return _pca(pca=lambda x, n: (x.median(0).values, pca(x, n)[1]))


@wrong("pca_by_hand", "always two axes", says="n_latent")
def several():
    return _pca(pca=lambda x, n: pca(x, 2))


@wrong("pca_by_hand", "centres its digits at the end", says="in place")
def several():
    def damaging(x, n_latent):
        found = pca(x, n_latent)
        x -= found[0]
        return found

    return _pca(pca=damaging)


# --- 1.2 ---------------------------------------------------------------------


def descent(
    loss_of=lambda e: e.sum(-1).mean(), forget=True, in_place=True, sign=1
):
    def gradient_descent(model, x, lr, n_steps):
        losses = []
        for _ in range(n_steps):
            if forget:
                model.zero_grad()
            drawn = model.decode(model.encode(x)).flatten(1)
            error = (x - drawn).square()
            loss = loss_of(error)
            loss.backward()
            losses.append(loss.item())
            with torch.no_grad():
                for weight in model.parameters():
                    if in_place:
                        weight -= sign * lr * weight.grad
                    else:
                        weight = weight - lr * weight.grad
        return losses

    return gradient_descent


@right("gradient_descent", "update by hand")
def several():
    return {"gradient_descent": descent()}


def by_torch(kind, **options):
    """Descent by one of torch's optimizers."""

    def gradient_descent(model, x, lr, n_steps):
        optimizer = kind(model.parameters(), lr, **options)
        losses = []
        for _ in range(n_steps):
            optimizer.zero_grad()
            loss = model(x)["loss"].mean()
            loss.backward()
            optimizer.step()
            losses.append(loss)
        return torch.stack(losses)

    return gradient_descent


right("gradient_descent", "an optimizer, and a tensor of losses")(
    by_torch(torch.optim.SGD)
)


@right("gradient_descent", "a list of losses that keep their graph")
def _(model, x, lr, n_steps):
    losses = []
    for _ in range(n_steps):
        drawn = model.decode(model.encode(x)).view(len(x), -1)
        loss = functional.mse_loss(drawn, x, reduction="sum") / len(x)
        weights = list(model.parameters())
        for w, g in zip(weights, torch.autograd.grad(loss, weights)):
            w.data = w.data - lr * g
        losses.append(loss)
    return losses


@wrong(
    "gradient_descent",
    "never clears the gradients",
    says="gradients of earlier steps add up",
)
def several():
    return {"gradient_descent": descent(forget=False)}


@wrong(
    "gradient_descent",
    "makes new tensors in place of changing the weights",
    says="weights did not change",
)
def several():
    return {"gradient_descent": descent(in_place=False)}


@wrong(
    "gradient_descent", "averages over the pixels", says="averaged over the"
)
def several():
    return {"gradient_descent": descent(torch.Tensor.mean)}


@wrong("gradient_descent", "sums over the batch", says="summed over the batch")
def several():
    return {"gradient_descent": descent(torch.Tensor.sum)}


@wrong("gradient_descent", "adds the gradient", says="uphill")
def several():
    return {"gradient_descent": descent(sign=-1)}


@wrong("gradient_descent", "takes one step only", says="1 step was made")
def _(model, x, lr, n_steps):
    return descent()(model, x, lr, 1) * n_steps


@wrong("gradient_descent", "forgets to return", says="None")
def _(model, x, lr, n_steps):
    descent()(model, x, lr, n_steps)


@wrong(
    "gradient_descent",
    "writes the loss down after the step",
    says="before the step",
)
def _(model, x, lr, n_steps):
    losses = []
    for _ in range(n_steps):
        descent()(model, x, lr, 1)
        losses.append(model(x)["loss"].mean().item())
    return losses


@wrong("gradient_descent", "returns the last loss only", says="expected")
def _(model, x, lr, n_steps):
    return descent()(model, x, lr, n_steps)[-1]


@wrong(
    "gradient_descent",
    "trains a copy of the model",
    says="weights did not change",
)
def _(model, x, lr, n_steps):
    return descent()(copy.deepcopy(model), x, lr, n_steps)


wrong("gradient_descent", "uses Adam", says="the change of the weights")(
    by_torch(torch.optim.Adam)
)
wrong("gradient_descent", "a little weight decay", says="no weight decay")(
    by_torch(torch.optim.SGD, weight_decay=1e-4)
)


@right("gradient_descent", "the gradients cleared after the step, in a list")
def _(model, x, lr, n_steps):
    weights = tuple(model.parameters())
    losses = ()
    for _ in range(n_steps):
        drawn = model.decode_mean(model.encode_mean(x)).reshape(x.shape)
        loss = torch.einsum("nd,nd->n", drawn - x, drawn - x).mean()
        loss.backward()
        losses += (np.float64(loss.item()),)
        for w in weights:
            w.data.add_(w.grad, alpha=-lr)
            w.grad = None
    return losses


def stepping(step, over=lambda e: e.sum(-1).mean()):
    """Descent with another rule for what a weight moves by."""

    def gradient_descent(model, x, lr, n_steps):
        losses = []
        weights = dict(model.named_parameters())
        memory = {name: torch.zeros_like(w) for name, w in weights.items()}
        for i in range(n_steps):
            drawn = model.decode(model.encode(x)).flatten(1)
            loss = over((x - drawn).square())
            losses.append(loss.item())
            found = torch.autograd.grad(loss, list(weights.values()))
            with torch.no_grad():
                for (name, w), g in zip(weights.items(), found):
                    w -= step(name, g, memory[name], lr, i)
        return losses

    return gradient_descent


def _heavy(name, g, memory, lr, i):
    memory.mul_(0.5).add_(g)
    return lr * memory


for _text, _step, _says in (
    ("momentum", _heavy, "the change of"),
    ("the sign only", lambda n, g, m, lr, i: lr * g.sign(), "only the sign"),
    (
        "the encoder alone",
        lambda n, g, m, lr, i: lr * g * n.startswith("enc"),
        "only the weights of the encoder",
    ),
    (
        "the decoder alone",
        lambda n, g, m, lr, i: lr * g * n.startswith("dec"),
        "only the weights of the decoder",
    ),
    (
        "no biases",
        lambda n, g, m, lr, i: lr * g * n.endswith("weight"),
        "called weight",
    ),
    ("lr of its own", lambda n, g, m, lr, i: 0.02 * g, "the change of"),
    ("lr that shrinks", lambda n, g, m, lr, i: lr * g / (i + 1), "the change"),
    ("half a step", lambda n, g, m, lr, i: lr * g / 2, "1/2 of"),
    (
        "three steps at most",
        lambda n, g, m, lr, i: lr * g * (i < 3),
        "the change of",
    ),
    (
        "clipped gradients",
        lambda n, g, m, lr, i: lr * g.clamp(-0.1, 0.1),
        "the change of",
    ),
    (
        "weight decay",
        lambda n, g, m, lr, i: lr * (g + 0.01),
        "the change of",
    ),
):
    wrong("gradient_descent", _text, says=_says)(stepping(_step))


@wrong(
    "gradient_descent",
    "stops where the loss rises",
    says="also where a step makes the loss larger",
)
def _(model, x, lr, n_steps):
    losses = []
    for _ in range(n_steps):
        losses += descent()(model, x, lr, 1)
        if len(losses) > 1 and losses[-1] > losses[-2]:
            break
    return losses


for _text, _cut in (
    ("gradients of length 100 or less", torch.nn.utils.clip_grad_norm_),
    ("gradients of 100 or less", torch.nn.utils.clip_grad_value_),
):

    @wrong("gradient_descent", _text, says="must not be clipped")
    def _(model, x, lr, n_steps, cut=_cut):
        losses = []
        for _ in range(n_steps):
            model.zero_grad()
            loss = model(x)["loss"].mean()
            loss.backward()
            cut(model.parameters(), 100.0)
            torch.optim.SGD(model.parameters(), lr).step()
            losses.append(loss.item())
        return losses


@wrong("gradient_descent", "the first digit only", says="the change of")
def _(model, x, lr, n_steps):
    return descent()(model, x[:1], lr, n_steps)


@wrong("gradient_descent", "a step for each 128 digits", says="with all")
def _(model, x, lr, n_steps):
    losses = []
    for _ in range(n_steps):
        several = [descent()(model, one, lr, 1)[0] for one in x.split(128)]
        losses.append(sum(several) / len(several))
    return losses


@wrong("gradient_descent", "stops where the loss is flat", says="at lr = 0")
def _(model, x, lr, n_steps):
    losses = []
    for _ in range(n_steps):
        losses += descent()(model, x, lr, 1)
        if len(losses) > 1 and abs(losses[-1] - losses[-2]) < 1e-6:
            break
    return losses


@wrong("gradient_descent", "pixels averaged and grown gradients", says="pixel")
def several():
    return {"gradient_descent": descent(torch.Tensor.mean, forget=False)}


@wrong("gradient_descent", "clears the digits at the end", says="number 2")
def _(model, x, lr, n_steps):
    losses = descent()(model, x, lr, n_steps)
    x.zero_()
    return losses


@wrong("gradient_descent", "cuts its digits in place", says="number 2")
def _(model, x, lr, n_steps):
    losses = descent()(model, x, lr, n_steps)
    x.clamp_(0.1, 0.9)
    return losses


@wrong("gradient_descent", "adds the losses up", says="losses so far")
def _(model, x, lr, n_steps):
    return np.cumsum(descent()(model, x, lr, n_steps))


# --- 1.3 ---------------------------------------------------------------------


def smallest(
    fit_to="train",
    score="test",
    centre="train",
    over=lambda e: e.sum(1).mean(),
    shift=1,
    enough=operator.le,
):
    def smallest_code(x_train, x_test, wanted):
        x = {"train": x_train, "test": x_test}
        axes = torch.linalg.svd(x[fit_to] - x[fit_to].mean(0))[2]
        centred = x[score] - x[centre].mean(0)
        for n in range(len(axes)):
            keep = axes[: n + 1]
            error = (centred - centred @ keep.T @ keep).square()
            if enough(over(error), wanted):
                return n + shift
        return len(axes)

    return smallest_code


def _size(first=None, needed=21):
    return {
        "smallest_code": first or smallest(),
        "numbers_needed": lambda: needed,
    }


@right("smallest_code", "a loop over the sizes")
def several():
    return _size()


@right("smallest_code", "scikit-learn, and a float")
def several():
    def smallest_code(x_train, x_test, wanted):
        from sklearn.decomposition import PCA

        x_train, x_test = x_train.double().numpy(), x_test.double().numpy()
        for n in range(1, x_train.shape[1] + 1):
            fitted = PCA(n, svd_solver="full").fit(x_train)
            drawn = fitted.inverse_transform(fitted.transform(x_test))
            if ((x_test - drawn) ** 2).sum(1).mean() <= wanted:
                return np.float64(n)
        return None

    return _size(smallest_code, 21.0)


@right("smallest_code", "cumulative sums of squared codes")
def several():
    def smallest_code(x_train, x_test, wanted):
        mean = x_train.mean(0)
        axes = torch.linalg.eigh((x_train - mean).T @ (x_train - mean))[1]
        z = (x_test - mean) @ axes.flip(1)
        left = z.square().flip(1).cumsum(1).flip(1).mean(0)
        # left[k] is the error with k numbers
        left = torch.cat([left[1:], left.new_zeros(1)])
        return int((left <= wanted).nonzero()[0]) + 1

    return _size(smallest_code)


@wrong("smallest_code", "takes the training error", says="use the test digits")
def several():
    return _size(smallest(score="train"))


@wrong("smallest_code", "fits PCA to the test digits", says="fitted to the")
def several():
    return _size(smallest(fit_to="test", centre="test"))


@wrong("smallest_code", "less than wanted", says="exactly the wanted error")
def several():
    return _size(smallest(enough=operator.lt))


@wrong("smallest_code", "averages over the pixels", says="over the pixels")
def several():
    return _size(smallest(over=torch.Tensor.mean))


@wrong("smallest_code", "sums over the digits", says="summed over the digits")
def several():
    return _size(smallest(over=torch.Tensor.sum))


@wrong("smallest_code", "one too small", says="one too small")
def several():
    return _size(smallest(shift=0))


@wrong("smallest_code", "one too large", says="one too large")
def several():
    return _size(smallest(shift=2))


@wrong("smallest_code", "centres with the test mean", says="own mean")
def several():
    return _size(smallest(centre="test"))


@wrong("smallest_code", "always 3", says="all values are the same")
def several():
    return _size(lambda x_train, x_test, wanted: 3)


@wrong("smallest_code", "returns the error", says="whole number")
def several():
    return _size(lambda x_train, x_test, wanted: wanted + 0.25)


@wrong("smallest_code", "says twice the numbers", says="16 is not right")
def several():
    return _size(needed=16)


@wrong("smallest_code", "says half the numbers", says="4 is not right")
def several():
    return _size(needed=4)


@right("smallest_code", "halving the range, and a tensor")
def several():
    def smallest_code(x_train, x_test, wanted):
        mean = x_train.mean(0, keepdim=True)
        axes = torch.linalg.svd(x_train - mean)[2]
        low, high = 1, len(axes)
        while low < high:
            middle = (low + high) // 2
            off = x_test - mean
            for axis in axes[:middle]:
                off = off - torch.outer(off @ axis, axis)
            good = off.square().sum(1).mean() <= wanted
            low, high = (low, middle) if good else (middle + 1, high)
        return torch.tensor(low)

    return _size(smallest_code, torch.tensor([21]))


@wrong("smallest_code", "starts at two numbers", says="smallest sizes")
def several():
    return _size(lambda *a: max(2, smallest()(*a)))


@wrong("smallest_code", "never takes all numbers", says="smallest sizes")
def several():
    return _size(lambda a, b, w: min(a.shape[1] - 1, smallest()(a, b, w)))


@wrong("smallest_code", "fits PCA to both sets", says="PCA is fitted to")
def several():
    return _size(lambda a, b, wanted: smallest()(torch.cat([a, b]), b, wanted))


@wrong("smallest_code", "the axes of both sets", says="smallest sizes")
def several():
    def smallest_code(x_train, x_test, wanted):
        both = torch.cat([x_train, x_test])
        axes = torch.linalg.svd(both - both.mean(0))[2]
        off = x_test - x_train.mean(0)
        for n in range(1, len(axes) + 1):
            keep = axes[:n]
            if (off - off @ keep.T @ keep).square().sum(1).mean() <= wanted:
                return n
        return len(axes)

    return _size(smallest_code)


@wrong("smallest_code", "the mean of both sets", says="smallest sizes")
def several():
    def smallest_code(x_train, x_test, wanted):
        mean = torch.cat([x_train, x_test]).mean(0)
        axes = torch.linalg.svd(x_train - x_train.mean(0))[2]
        off = x_test - mean
        for n in range(1, len(axes) + 1):
            keep = axes[:n]
            if (off - off @ keep.T @ keep).square().sum(1).mean() <= wanted:
                return n
        return len(axes)

    return _size(smallest_code)


@wrong("smallest_code", "a little short of the error", says="smallest sizes")
def several():
    return _size(lambda a, b, wanted: smallest()(a, b, 1.02 * wanted))


@wrong("smallest_code", "a little beyond the error", says="smallest sizes")
def several():
    return _size(lambda a, b, wanted: smallest()(a, b, 0.98 * wanted))


@wrong("smallest_code", "a hair short of the error", says="just more than is")
def several():
    return _size(lambda a, b, wanted: smallest()(a, b, 1.001 * wanted))


@wrong("smallest_code", "a hundred numbers at most", says="with 150 axes")
def several():
    return _size(lambda a, b, wanted: min(100, smallest()(a, b, wanted)))


@wrong("smallest_code", "the median over the digits", says="smallest sizes")
def several():
    return _size(smallest(over=lambda e: e.sum(1).median()))


@wrong("smallest_code", "all digits have to be good", says="smallest sizes")
def several():
    return _size(smallest(over=lambda e: e.sum(1).max()))


@wrong("smallest_code", "the share of the variance", says="smallest sizes")
def several():
    def smallest_code(x_train, x_test, wanted):
        sizes = torch.linalg.svdvals(x_train - x_train.mean(0)).square()
        left = (sizes.sum() - sizes.cumsum(0)) / len(x_train)
        return int((left > wanted).sum()) + 1

    return _size(smallest_code)


@wrong("smallest_code", "the numbers of another error", says="20 is not right")
def several():
    return _size(needed=20)


@wrong("smallest_code", "damages its digits", says="in place")
def several():
    def smallest_code(x_train, x_test, wanted):
        found = smallest()(x_train, x_test, wanted)
        x_test -= x_train.mean(0)
        return found

    return _size(smallest_code)


# --- 1.4 ---------------------------------------------------------------------


def mixing(
    into=lambda w, a: a @ w,
    bias=lambda c, a, b: a @ c + b,
    out=lambda w, a: w @ torch.linalg.inv(a),
    back=lambda w, a, b: -w @ torch.linalg.inv(a) @ b,
):
    def mix_code(model, a, b):
        last, first = model.encoder[-1], model.decoder[0]
        with torch.no_grad():
            last.weight.copy_(into(last.weight, a))
            last.bias.copy_(bias(last.bias, a, b))
            first.bias.add_(back(first.weight, a, b))
            first.weight.copy_(out(first.weight, a))
        return model

    return mix_code


@right("mixed_code", "weights and biases of both layers")
def several():
    return {"mix_code": mixing()}


@right("mixed_code", "solves in place of inverting")
def _(model, a, b):
    last, first = model.encoder[-1], model.decoder[0]
    w, c = last.weight.data, last.bias.data
    joined = a.double() @ torch.cat([w, c[:, None]], 1).double()
    last.weight.data = joined[:, :-1].float()
    last.bias.data = joined[:, -1].float() + b
    first.weight.data = torch.linalg.solve(a.T, first.weight.data.T).T
    first.bias.data -= first.weight.data @ b
    return model


@right("mixed_code", "NumPy, and a new parameter in place of the old one")
def _(model, a, b):
    last, first = model.encoder[-1], model.decoder[0]
    a, b = a.double().numpy(), b.double().numpy()

    def of(layer, weight, bias):
        for name, values in (("weight", weight), ("bias", bias)):
            new = torch.nn.Parameter(torch.tensor(values).float())
            setattr(layer, name, new)

    w, c = (v.detach().double().numpy() for v in (last.weight, last.bias))
    of(last, a @ w, a @ c + b)
    w, c = (v.detach().double().numpy() for v in (first.weight, first.bias))
    w = w @ np.linalg.inv(a)
    of(first, w, c - w @ b)
    return model


@wrong("mixed_code", "a changed copy", says="returns another model")
def _(model, a, b):
    return mixing()(copy.deepcopy(model), a, b)


@wrong("mixed_code", "a copy of the changed model", says="model itself")
def _(model, a, b):
    return copy.deepcopy(mixing()(model, a, b))


@wrong("mixed_code", "returns nothing", says="returns None")
def _(model, a, b):
    mixing()(model, a, b)


@wrong("mixed_code", "returns a copy as it was", says="another model")
def _(model, a, b):
    before = copy.deepcopy(model)
    mixing()(model, a, b)
    return before


@wrong("mixed_code", "inverts A in place at the end", says="number 2")
def _(model, a, b):
    model = mixing()(model, a, b)
    a.copy_(torch.linalg.inv(a))
    return model


@wrong("mixed_code", "clears the shift at the end", says="number 3")
def _(model, a, b):
    model = mixing()(model, a, b)
    b.zero_()
    return model


@wrong("mixed_code", "subtracts the old bias too", says="the new pictures")
def several():
    return {
        "mix_code": mixing(
            back=lambda w, a, b: -w @ torch.linalg.inv(a) @ (b + b.mean())
        )
    }


@wrong("mixed_code", "leaves the model alone", says="codes are as before")
def _(model, a, b):
    return model


@wrong("mixed_code", "mixes with A on the right", says="from the left")
def several():
    return {
        "mix_code": mixing(
            into=lambda w, a: a.T @ w, bias=lambda c, a, b: a.T @ c + b
        )
    }


@wrong("mixed_code", "forgets the shift", says="shift b is missing")
def several():
    return {"mix_code": mixing(bias=lambda c, a, b: a @ c)}


@wrong("mixed_code", "does not mix the encoder's bias", says="A acts on both")
def several():
    return {"mix_code": mixing(bias=lambda c, a, b: c + b)}


@wrong("mixed_code", "changes the encoder only", says="decoder is as before")
def several():
    return {
        "mix_code": mixing(
            out=lambda w, a: w, back=lambda w, a, b: 0 * w[:, 0]
        )
    }


@wrong("mixed_code", "no shift in the decoder", says="forgets the shift")
def several():
    return {"mix_code": mixing(back=lambda w, a, b: 0 * w[:, 0])}


@wrong("mixed_code", "multiplies the decoder by A too", says="by its inverse")
def several():
    return {
        "mix_code": mixing(
            out=lambda w, a: w @ a, back=lambda w, a, b: -w @ a @ b
        )
    }


@wrong(
    "mixed_code",
    "takes the transpose for the inverse",
    says="only a rotation",
)
def several():
    return {
        "mix_code": mixing(
            out=lambda w, a: w @ a.T, back=lambda w, a, b: -w @ a.T @ b
        )
    }


@wrong("mixed_code", "subtracts b without A^-1", says="without A^-1")
def several():
    return {"mix_code": mixing(back=lambda w, a, b: -w @ b)}


@wrong("mixed_code", "adds the shift in the decoder", says="wrong sign")
def several():
    return {
        "mix_code": mixing(back=lambda w, a, b: w @ torch.linalg.inv(a) @ b)
    }


@wrong("mixed_code", "a decoder that draws nothing", says="the new pictures")
def several():
    def mix_code(model, a, b):
        model = mixing()(model, a, b)
        for weights in model.decoder.parameters():
            weights.data.zero_()
        return model

    return {"mix_code": mix_code}


# --- 1.5 ---------------------------------------------------------------------


def _blanks(**changed):
    return {
        "blank_a": lambda x: x.mean(0),
        "blank_b": lambda x: (x - x.mean(0)).square().sum(1).mean(),
        "blank_c": lambda p: min(p, 1 - p) - p * (1 - p),
    } | changed


@right("best_guess", "mean, variance and minimum")
def several():
    return _blanks()


@right("best_guess", "other formulas for the same")
def several():
    return _blanks(
        blank_a=lambda x: np.average(x.numpy(), axis=0),
        blank_b=lambda x: float(x.var(0, unbiased=False).sum()),
        blank_c=lambda p: min(p, 1 - p) ** 2,
    )


@right("best_guess", "moments, and a case for each half")
def several():
    return _blanks(
        blank_a=lambda x: sum(x) / len(x),
        blank_b=lambda x: (
            (x.double() ** 2).mean(0).sum() - x.double().mean(0).square().sum()
        ),
        blank_c=lambda p: p * p if p < 0.5 else (1 - p) ** 2,
    )


@wrong("best_guess", "changes sides at 0.49", says="blank C at p = 0.498")
def several():
    return _blanks(blank_c=lambda p: (p if p < 0.49 else 1 - p) - p * (1 - p))


@wrong("best_guess", "the median picture", says="median")
def several():
    return _blanks(blank_a=lambda x: x.median(0).values)


@wrong("best_guess", "one number for all pixels", says="for all pixels")
def several():
    return _blanks(blank_a=lambda x: x.mean())


@wrong("best_guess", "sum of the pictures", says="divide it by N")
def several():
    return _blanks(blank_a=lambda x: x.sum(0))


@wrong("best_guess", "a picture without doubt", says="all values are 0")
def several():
    return _blanks(blank_a=lambda x: torch.zeros(x.shape[1]))


@wrong("best_guess", "averages over the pixels", says="sum over them")
def several():
    return _blanks(blank_b=lambda x: (x - x.mean(0)).square().mean())


@wrong("best_guess", "divides by N - 1", says="not by N - 1")
def several():
    return _blanks(blank_b=lambda x: x.var(0).sum())


@wrong("best_guess", "sums over the pictures", says="mean over them")
def several():
    return _blanks(blank_b=lambda x: (x - x.mean(0)).square().sum())


@wrong("best_guess", "forgets the square of the mean", says="square of A")
def several():
    return _blanks(blank_b=lambda x: x.square().sum(1).mean())


@wrong("best_guess", "standard deviations", says="standard deviation")
def several():
    return _blanks(blank_b=lambda x: x.std(0, unbiased=False).sum())


@wrong("best_guess", "what the best grey leaves", says="best grey leaves")
def several():
    return _blanks(blank_c=lambda p: p * (1 - p))


@wrong("best_guess", "cost of the sharp guess", says="sharp guess costs")
def several():
    return _blanks(blank_c=lambda p: min(p, 1 - p))


@wrong("best_guess", "the other sign", says="the sharp guess costs more")
def several():
    return _blanks(blank_c=lambda p: -(min(p, 1 - p) ** 2))


@wrong("best_guess", "always guesses paper", says="paper only")
def several():
    return _blanks(blank_c=lambda p: p - p * (1 - p))


@wrong("best_guess", "always guesses ink", says="ink only")
def several():
    return _blanks(blank_c=lambda p: 1 - p - p * (1 - p))


@right("best_guess", "loops and lists")
def several():
    return _blanks(
        blank_a=lambda x: [sum(col) / len(col) for col in zip(*x.tolist())],
        blank_b=lambda x: (
            torch.cdist(x[None], x.mean(0)[None, None]).square().mean()
        ),
        blank_c=lambda p: torch.tensor([min(p * p, 1 - 2 * p + p * p)]),
    )


for _name, _text, _blank, _says in (
    (
        "a",
        "the middle of the range",
        lambda x: x.amin(0) / 2 + x.amax(0) / 2,
        "blank A",
    ),
    ("a", "the first picture", lambda x: x[0], "blank A"),
    ("a", "a sharp picture", lambda x: x.mean(0).round(), "blank A"),
    ("a", "the sum over N - 1", lambda x: x.sum(0) / max(1, len(x) - 1), "A"),
    ("b", "twice as much", lambda x: 2 * x.var(0, False).sum(), "2 times"),
    ("b", "nothing remains", lambda x: 0.0, "blank B"),
    ("b", "the variance of all", lambda x: x.var(unbiased=False), "blank B"),
    ("b", "the length of the mean", lambda x: x.mean(0).norm() ** 2, "B"),
    ("c", "p times the smaller", lambda p: min(p, 1 - p) * p, "found 0."),
    ("c", "the square of p", lambda p: p * p, "blank C"),
    ("c", "the square of 1 - p", lambda p: (1 - p) ** 2, "blank C"),
    ("c", "the larger square", lambda p: max(p, 1 - p) ** 2, "blank C"),
    ("c", "half of the smaller", lambda p: min(p, 1 - p) / 2, "blank C"),
    ("c", "a quarter at most", lambda p: p * (1 - p) ** 2 * 2, "blank C"),
    ("c", "right up to one half", lambda p: p * p if p < 0.6 else 0.0, "C"),
):

    @wrong("best_guess", _text, says=_says)
    def several(name=_name, blank=_blank):
        return _blanks(**{f"blank_{name}": blank})


# --- 1.6 ---------------------------------------------------------------------


def cleaning(
    cut=lambda v: v.clamp(0, 1),
    draw=lambda m, n, x: pictures(m, m.encode(n)).flatten(1),
    after=lambda d, n, x: d - x,
    over=lambda e: e.square().sum(1).mean(),
):
    def denoising_errors(model, x, noise):
        noisy = cut(x + noise)
        drawn = draw(model, noisy, x)
        return over(noisy - x), over(after(drawn, noisy, x))

    return denoising_errors


def _clean(first=None, **readings):
    useful = {2: 0.3, 32: 0.2} | {int(k[1:]): v for k, v in readings.items()}
    return {
        "denoising_errors": first or cleaning(),
        "first_useful_noise": lambda: useful,
    }


@right("denoising", "the definition")
def several():
    return _clean()


@right("denoising", "distances between pictures, as floats")
def several():
    def denoising_errors(model, x, noise):
        noisy = torch.minimum(torch.maximum(x + noise, x * 0), x * 0 + 1)
        with torch.no_grad():
            drawn = model.decode_mean(model.encode_mean(noisy)).clip(0, 1)
        drawn = drawn.view(x.shape)
        before = torch.linalg.vector_norm(noisy - x, dim=1).square().mean()
        after = ((drawn - x).double() ** 2).sum().item() / len(x)
        return [float(before), after]

    return _clean(denoising_errors)


@wrong(
    "denoising",
    "compares the picture with the noisy digit",
    says="compare with the clean",
)
def several():
    return _clean(cleaning(after=lambda d, n, x: d - n))


@wrong("denoising", "encodes the clean digit", says="encode the noisy one")
def several():
    return _clean(
        cleaning(draw=lambda m, n, x: pictures(m, m.encode(x)).flatten(1))
    )


@wrong(
    "denoising",
    "does not cut the noisy pixels off",
    says="cut off at 0 and 1 first",
)
def several():
    return _clean(cleaning(cut=lambda v: v))


@wrong("denoising", "cuts off for the encoder only", says="cut off at 0 and 1")
def several():
    def denoising_errors(model, x, noise):
        _, after = cleaning()(model, x, noise)
        return noise.square().sum(1).mean(), after

    return _clean(denoising_errors)


@wrong("denoising", "averages over the pixels", says="averaged over the pixel")
def several():
    return _clean(cleaning(over=lambda e: e.square().mean()))


@wrong("denoising", "sums over the digits", says="summed over the digits")
def several():
    return _clean(cleaning(over=lambda e: e.square().sum()))


@wrong("denoising", "swaps before and after", says="swapped")
def several():
    return _clean(lambda m, x, noise: cleaning()(m, x, noise)[::-1])


@wrong("denoising", "returns the identity's error twice", says="swapped")
def several():
    return _clean(lambda m, x, noise: cleaning()(m, x, noise)[:1] * 2)


@wrong("denoising", "takes decode in place of pictures", says="take pictures")
def several():
    return _clean(
        cleaning(draw=lambda m, n, x: m.decode(m.encode(n)).flatten(1))
    )


@wrong("denoising", "compares pictures with rows", says="raises RuntimeError")
def several():
    return _clean(cleaning(draw=lambda m, n, x: pictures(m, m.encode(n))))


@wrong("denoising", "reads a noise that is too small", says="not both")
def several():
    return _clean(K2=0.1)


@wrong("denoising", "reads a noise that is too large", says="not both")
def several():
    return _clean(K32=0.3)


@wrong("denoising", "reads a noise of another list", says="choose one of")
def several():
    return _clean(K32=0.5)


@wrong("denoising", "one reading for both", says="expected a dict")
def several():
    return _clean() | {"first_useful_noise": lambda: 0.2}


@right("denoising", "a tensor of two, by a loop")
def several():
    def denoising_errors(model, x, noise):
        total = torch.zeros(2, dtype=torch.float64)
        for one, extra in zip(x, noise):
            seen = (one + extra).clip(0, 1)[None]
            drawn = model.decode(model.encode(seen)).clip(0, 1).flatten()
            total[0] += ((seen[0] - one) ** 2).sum()
            total[1] += ((drawn - one) ** 2).sum()
        return total / len(x)

    return _clean(denoising_errors, K2=torch.tensor(0.3), K32=np.float32(0.2))


@right("denoising", "an array of two")
def several():
    def denoising_errors(model, x, noise):
        return np.array([float(e) for e in cleaning()(model, x, noise)])

    return _clean(denoising_errors)


for _text, _changed, _says in (
    (
        "encodes twice",
        {
            "draw": lambda m, n, x: pictures(
                m, m.encode(pictures(m, m.encode(n)).flatten(1))
            ).flatten(1)
        },
        "the error after",
    ),
    ("returns the noisy digit", {"draw": lambda m, n, x: n}, "swapped"),
    (
        "absolute differences",
        {"over": lambda e: e.abs().sum(1).mean()},
        "the error before",
    ),
    (
        "the length of the error",
        {"over": lambda e: e.norm(dim=1).mean()},
        "the error before",
    ),
    (
        "the median digit",
        {"over": lambda e: e.square().sum(1).median()},
        "the error before",
    ),
    (
        "the worst digit",
        {"over": lambda e: e.square().sum(1).max()},
        "the error before",
    ),
    (
        "noise of its own",
        {"cut": lambda v: (v + 0.1 * torch.randn_like(v)).clamp(0, 1)},
        "the error before",
    ),
    (
        "cuts off at 0 only",
        {"cut": lambda v: v.clamp(min=0)},
        "the error before",
    ),
    (
        "cuts the picture off at 0 only",
        {
            "draw": lambda m, n, x: (
                m.decode(m.encode(n)).flatten(1).clamp(min=0)
            )
        },
        "the error after",
    ),
    (
        "the mean picture",
        {
            "draw": lambda m, n, x: (
                pictures(m, m.encode(n)).flatten(1).mean(0).expand_as(n)
            )
        },
        "the error after",
    ),
    (
        "rounds the picture",
        {"draw": lambda m, n, x: pictures(m, m.encode(n)).flatten(1).round()},
        "the error after",
    ),
):

    @wrong("denoising", _text, says=_says)
    def several(changed=_changed):
        return _clean(cleaning(**changed))


@wrong("denoising", "reads both the other way round", says="not both")
def several():
    return _clean(K2=0.2, K32=0.3)


@wrong("denoising", "adds the noise in place", says="in place")
def several():
    def denoising_errors(model, x, noise):
        found = cleaning()(model, x, noise)
        x += noise
        return found

    return _clean(denoising_errors)
