"""Checks for chapter 1: PCA, training steps, codes, blur, denoising."""

import copy
import functools
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from minivae.latent import pictures
from minivae.models import Autoencoder
from minivae_course import wire
from minivae_course.check import (
    Draws,
    Student,
    WrongError,
    all_equal,
    builtin,
    check,
    equal,
    function,
    number,
    parts,
    require,
    tensor,
    whole,
)

# --- 1.1 ---------------------------------------------------------------------


def _spectrum(
    draws: Draws, n: int, d: int, sizes: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Points (n, d) with known principal axes, the axes, and the mean.

    Args:
        sizes: singular values of the centred points, the largest first.
    """
    k = len(sizes)
    # columns that are orthonormal, and orthogonal to a column of ones
    start = torch.cat([torch.ones(n, 1), draws.normal(n, k)], 1)
    left = torch.linalg.qr(start)[0][:, 1:]
    axes = torch.linalg.qr(draws.normal(d, k))[0].T
    mean = draws.normal(d) + 2
    return left * sizes @ axes + mean, axes, mean


def _like(axes: Tensor, found: Tensor) -> Tensor:
    """These axes, each with the sign of the one that was found."""
    axes = axes.double()
    if axes.shape != found.shape:
        return axes
    return axes * torch.where((axes * found).sum(1) < 0, -1, 1)[:, None]


@check()
def pca_by_hand(
    draws: Draws, pca: Student, encode: Student, decode: Student
) -> None:
    """PCA, its encoder and its decoder.

    `pca` is held against points that were built from known principal axes
    (up to the sign of each axis), the other two against random axes.
    """
    pca = function("pca", pca)
    encode, decode = function("encode", encode), function("decode", decode)
    for n, d, k in (
        (draws.whole(20, 50), draws.whole(5, 9), 2),
        (9, draws.whole(4, 8), 1),
        (draws.whole(6, 9), draws.whole(20, 40), 3),
        (12, 4, 4),
    ):
        rank = min(n - 1, d)
        sizes = 6 * 0.7 ** torch.arange(rank)
        x, every, mean = _spectrum(draws, n, d, sizes)
        found = parts("pca", pca(x, k), "mean, axes")
        mistakes = {
            "this is the mean of each digit; take that of each pixel": x.mean(
                1
            ),
            "this is one mean for all; take that of each pixel": x.mean(),
            "this is zero: subtract the mean of the digits": torch.zeros(d),
        }
        equal("the mean", found[0], mean, mistakes, 1e-3)
        axes, right = tensor("the axes", found[1]), every[:k]
        require(
            axes.dim() != 2 or len(axes) == k or axes.shape[1] != d,
            f"the axes: found {len(axes)} rows, expected n_latent = {k}; "
            "keep the first n_latent axes",
        )
        mistakes = {
            "the digits were not centred before the SVD": _like(
                torch.linalg.svd(x, full_matrices=False)[2][:k], axes
            ),
            "these axes have the smallest variance; take the others": _like(
                every.flip(0)[:k], axes
            ),
            "the axis of the largest variance comes first": _like(
                right.flip(0), axes
            ),
            "the axes have the length of their singular values; they "
            "should have length 1": _like(right * sizes[:k, None], axes),
            "the axes are the columns; return them as rows": _like(
                right, axes.T
            ).T,
        }
        equal("the axes", axes, _like(right, axes), mistakes, 2e-3)
    for n, d, k in ((7, 6, 2), (1, 5, 1), (draws.whole(2, 9), 9, 3)):
        axes = torch.linalg.qr(draws.normal(d, k))[0].T
        x, mean, z = draws.normal(n, d), draws.normal(d), draws.normal(n, k)
        right = torch.linalg.lstsq(axes.T, (x - mean).T).solution.T
        mistakes = {
            "the mean was not subtracted": x @ axes.T,
            "the mean was added; subtract it": (x + mean) @ axes.T,
            "these are pixels; encode should end with the code": (
                mean + right @ axes
            ),
        }
        equal("the code", encode(x, mean, axes), right, mistakes)
        right = mean + torch.einsum("nk,kd->nd", z, axes)
        mistakes = {
            "the picture does not depend on z": mean.expand(n, d),
            "the mean was not added again": z @ axes,
        }
        equal("the picture", decode(z, mean, axes), right, mistakes)


# --- 1.2 ---------------------------------------------------------------------


def _descended(
    model: Autoencoder,
    x: Tensor,
    lr: float,
    n_steps: int,
    over: str = "",
    forget: bool = True,
    late: bool = False,
    step_by: Callable[[Tensor], Tensor] | None = None,
    only: str = "",
) -> tuple[Tensor, Tensor]:
    """How far the weights move in units of lr, and the losses.

    Args:
        over: "pixels" for a mean over them, "nothing" for a sum over all.
        forget: False for gradients that add up.
        late: True for losses after each step.
        step_by: what a weight moves by for its gradient, in units of lr.
        only: in the names of the weights that move.
    """
    model = copy.deepcopy(model)
    names, weights = zip(*model.named_parameters())
    start = [w.detach().clone() for w in weights]
    total = [torch.zeros_like(w) for w in weights]
    losses = []
    for step in range(n_steps + late):
        drawn = model.decode(model.encode(x)).flatten(1)
        error = (x - drawn).square()
        loss = error.sum(-1).mean()
        losses.append(loss.item())
        if over == "pixels":
            loss = error.mean()
        elif over == "nothing":
            loss = error.sum()
        new = torch.autograd.grad(loss, weights)
        total = [g if forget else t + g for t, g in zip(total, new)]
        if step < n_steps:
            with torch.no_grad():
                for name, w, g in zip(names, weights, total):
                    if only in name:
                        w.sub_(step_by(g) if step_by else g, alpha=lr)
    moved = [(w.detach() - s).flatten() for w, s in zip(weights, start)]
    return torch.cat(moved) / lr, torch.tensor(losses[late:])


def _wrong_moves(given: Callable, n_steps: int) -> dict[str, Tensor]:
    """What mistakes do to the weights in n_steps steps."""
    moves = {
        "the gradients of earlier steps add up: set them to zero before each "
        "backward()": given(n_steps, forget=False),
        "the error is averaged over the pixels; sum over pixels and take "
        "the mean over the batch": given(n_steps, "pixels"),
        "the error is averaged over the pixels, and the gradients of "
        "earlier steps add up": given(n_steps, "pixels", forget=False),
        "the error is summed over the batch; take its mean there": given(
            n_steps, "nothing"
        ),
        "the step goes uphill: subtract the gradient": given(
            n_steps, step_by=torch.neg
        ),
        "only the sign of a gradient counts, as in the first step of Adam; "
        "plain gradient descent subtracts lr times the gradient": given(
            n_steps, step_by=torch.sign
        ),
        "the gradient is scaled to length 1 or less; leave it as it is": given(
            n_steps, step_by=lambda g: g / max(1.0, float(g.norm()))
        ),
    }
    for part in ("decoder", "encoder", "weight", "bias"):
        text = f"only the weights of the {part} move; all have to"
        if part in ("weight", "bias"):
            text = f"only parameters called {part} move; all have to"
        moves[text] = given(n_steps, only=part)
    for steps in {1, 2, 4} - {n_steps}:
        many = "1 step was" if steps == 1 else f"{steps} steps were"
        moves[f"{many} made, not n_steps"] = given(steps)
    found = {text: move for text, (move, _) in moves.items()}
    return {
        "the weights did not change. `w = w - ...` only gives a new tensor "
        "the name w; change w in place, w -= ... or an optimizer's step(), "
        "while the gradient is there": torch.zeros_like(given(0)[0]),
    } | found


@check()
def gradient_descent(draws: Draws, gradient_descent: Student) -> None:
    """Some steps of plain gradient descent on the squared error.

    Held against steps with torch.autograd.grad, for deep and linear models.
    """
    descend = function("gradient_descent", gradient_descent)
    for n, shape, k, hidden in (
        (draws.whole(4, 8), (1, 3, 3), 2, (4,)),
        (1, (1, 2, 2), 1, ()),
        # more digits than one batch of a data loader has
        (300, (1, 2, draws.whole(2, 6)), 3, (5, 4)),
    ):
        d = math.prod(shape)
        # one step first: it tells the loss from the steps
        for n_steps in (1, 3, draws.whole(4, 8)):
            model = draws.model(Autoencoder, k, hidden, shape)
            x = draws.uniform(n, d)
            lr = float(draws.uniform(low=0.005, high=0.03))
            losses, (after, *_) = descend.changed(model, x, lr, n_steps)
            require(isinstance(after, Autoencoder), "the model is lost")
            right, values = _descended(model, x, lr, n_steps)
            given = functools.partial(_descended, model, x, lr)
            vector = torch.nn.utils.parameters_to_vector
            moved = vector(after.parameters()) - vector(model.parameters())
            steps = "1 step" if n_steps == 1 else f"{n_steps} steps"
            what = f"the change of the weights in {steps}, each with all {n} "
            what += f"digit{'s' * (n > 1)}, over lr"
            try:
                equal(what, moved / lr, right, None, 1e-3)
            except WrongError:  # then it is worth the time to ask why
                mistakes = _wrong_moves(given, n_steps)
                equal(what, moved / lr, right, mistakes, 1e-3)
            require(
                not isinstance(losses, list | tuple) or len(losses) == n_steps,
                f"the losses: expected {n_steps}, one for each step",
            )
            mistakes = {
                "write the loss down before the step, not after it": (
                    given(n_steps, late=True)[1]
                ),
                "the error is averaged over the pixels": values / d,
                "the error is summed over the batch": values * n,
                "this is the sum of the losses so far": values.cumsum(0),
            }
            equal("the losses", losses, values, mistakes)
    _nothing_else(draws, descend)


def _nothing_else(draws: Draws, descend: Student) -> None:
    """Refuse weight decay, cut gradients, and a stop where the loss rises."""
    model = draws.model(Autoencoder, 2, (), (1, 2, 3))
    x = draws.uniform(4, 6)
    x[:, 0] = 0  # what reads this pixel gets no gradient
    with torch.no_grad():  # far too much ink, for large gradients
        model.decoder[-1].bias.add_(60)
    lr, n_steps = 1e-4, 5
    while True:  # until the third loss is larger than the second
        right, values = _descended(model, x, lr, n_steps)
        if values[2] > values[1]:
            break
        lr *= 1.1
    losses, (after, *_) = descend.changed(model, x, lr, n_steps)
    still, was = (
        one.encoder[0].weight[:, 0].detach() for one in (after, model)
    )
    require(
        torch.equal(still, was),
        "a weight has moved whose gradient is 0. Plain gradient descent "
        "subtracts lr times the gradient and nothing else: no weight decay",
    )
    require(
        not isinstance(losses, list | tuple) or len(losses) == n_steps,
        f"the losses: expected {n_steps}, one for each step, also where a "
        "step makes the loss larger",
    )
    vector = torch.nn.utils.parameters_to_vector
    moved = vector(after.parameters()) - vector(model.parameters())
    what = (
        "the change of the weights, over lr, where gradients are larger "
        "than 100 (they must not be clipped)"
    )
    equal(what, moved / lr, right, None, 1e-3)
    equal("the losses where the loss rises", losses, values)
    losses, _ = descend.changed(model, x, 0.0, n_steps)
    same = values[:1].expand(n_steps)
    equal("the losses at lr = 0, one for each step", losses, same)


# --- 1.3 ---------------------------------------------------------------------


def _pca_errors(fitted: Tensor, scored: Tensor) -> Tensor:
    """The mean squared error with 1, 2, ... numbers, by the covariance."""
    fitted, scored = fitted.double(), scored.double()
    axes = torch.linalg.eigh(torch.cov(fitted.T))[1].flip(1)
    off = scored - fitted.mean(0)
    codes = (off @ axes).square()
    left = off.square().sum(1, keepdim=True) - codes.cumsum(1)
    return left.mean(0).clamp(min=0)


def _first(errors: Tensor, wanted: float) -> int:
    return int((errors > wanted).sum()) + 1


@functools.cache
def _digits_need() -> tuple[int, int]:
    """Numbers with half the error of 8: on test digits, on training digits."""
    x, new = (
        builtin(split).images.flatten(1) / 255 for split in ("train", "test")
    )
    found = []
    for scored in (new, x):
        errors = _pca_errors(x, scored)
        found.append(_first(errors, float(errors[7]) / 2))
    return tuple(found)


@check()
def smallest_code(
    draws: Draws, smallest_code: Student, numbers_needed: Student
) -> str:
    """The smallest code of PCA for a given test error.

    Held against the eigenvalues of the covariance on made-up data, and on
    the built-in digits.
    """
    smallest = function("smallest_code", smallest_code)
    needed = function("numbers_needed", numbers_needed)
    found, right, wrong = [], [], []
    for trial in range(12):
        d = draws.whole(6, 11)
        n, n_new = draws.whole(14, 20), draws.whole(20, 40)
        mixed = draws.normal(d, d) * 0.75 ** torch.arange(d)[:, None]
        x = draws.normal(n, d) @ mixed + 1
        new = 1.3 * draws.normal(n_new, d) @ mixed + 1
        new = new + 0.3 * draws.normal(d)
        errors = _pca_errors(x, new)
        # close to an error, but far enough that rounding decides nothing;
        # one number and all of them are answers too
        size = (1, d)[trial] if trial < 2 else draws.whole(1, d + 1)
        before = errors[size - 2] if size > 1 else 2 * errors[0]
        after = errors[size - 1] if size < d else before / 2
        wanted = float(after * 1.003 if trial % 2 else before * 0.997)
        found.append(whole("the size", smallest(x, new, wanted)))
        right.append(_first(errors, wanted))
        centred = new - new.mean(0) + x.mean(0)
        wrong.append(
            [
                _first(_pca_errors(x, x), wanted),
                _first(_pca_errors(new, new), wanted),
                _first(errors / d, wanted),
                _first(errors * len(new), wanted),
                _first(_pca_errors(x, centred), wanted),
                _first(_pca_errors(torch.cat([x, new]), new), wanted),
            ]
        )
    names = (
        "this is the error of the training digits; use the test digits",
        "PCA is fitted to the test digits; fit it to the training digits",
        "the error is averaged over the pixels; sum it",
        "the error is summed over the digits; take the mean over them",
        "the test digits are centred with their own mean; the mean is part "
        "of what was learnt from the training digits",
        "PCA is fitted to both sets; the test digits must stay unseen",
    )
    rows = torch.tensor(wrong).T
    right = torch.tensor(right)
    mistakes = dict(zip(names, rows)) | {
        "one too small: position 0 of the list is the error with one "
        "number": right - 1,
        "one too large: this size is the first that comes after": right + 1,
    }
    equal("the smallest sizes in 12 trials", found, right, mistakes, 1e-9)
    # along the axes, where an error has no error of rounding
    cross = torch.tensor([[2.0, 0], [-2, 0], [0, 1], [0, -1]])
    what = "the smallest size if one number leaves exactly the wanted error"
    equal(what, smallest(cross, cross[2:], 1.0), 1.0)
    what = "the smallest size if one number leaves just more than is wanted"
    equal(what, smallest(cross, cross[2:], 0.9995), 2.0)
    # as many pixels as a real digit has, or nearly so: each number is an axis
    lines, size = torch.eye(150), draws.whole(130, 149)
    scaled = lines * torch.arange(300.0, 150, -1)
    what = "the smallest size on data with 150 axes"
    wanted = (150.5 - size) / 150
    equal(what, smallest(torch.cat([scaled, -scaled]), lines, wanted), size)
    test, train = _digits_need()
    one = whole("numbers_needed()", needed())
    why = "Compute the test error of 8 numbers and pass half of it on"
    if one == train != test:
        why = "this many are needed on the training digits"
    require(one == test, f"numbers_needed(): {one} is not right. {why}")
    return (
        f"right: to halve the error of 8 numbers takes {test}, more than "
        "twice as many"
    )


# --- 1.4 ---------------------------------------------------------------------


@check()
def mixed_code(draws: Draws, mix_code: Student) -> str:
    """Codes A z + b, and the same pictures as before.

    The mixed model has to map pixels to A z + b, and to the pictures that
    the model drew before; both are asked of the networks themselves.
    """
    mix = function("mix_code", mix_code)
    for n, shape, k, hidden in (
        (6, (1, 3, 3), 2, ()),
        (draws.whole(2, 7), (1, 4, 4), draws.whole(3, 6), (8, 6)),
        (1, (1, 2, 2), 1, (3,)),
    ):
        d = math.prod(shape)
        model = draws.model(Autoencoder, k, hidden, shape)
        # far from orthogonal, and safe to invert
        turn = torch.linalg.qr(draws.normal(k, k))[0]
        mixer = (
            turn
            @ torch.diag(1.5 + torch.arange(k))
            @ (torch.eye(k) + 0.5 * draws.normal(k, k).triu(1))
        )
        shift, x = draws.normal(k) + 1, draws.uniform(n, d)
        value, (after, *_) = mix.changed(model, mixer, shift)
        require(value is not None, "mix_code returns None: return the model")
        for one in (value, after):
            require(
                isinstance(one, Autoencoder) and one.options == model.options,
                "mix_code: expected the changed model; change its weights in "
                "place and return it",
            )
        require(
            wire.digest(value) == wire.digest(after),
            "mix_code returns another model than the one that it was given. "
            "Change the weights of that one in place and return it",
        )
        require(
            mix.through(_returns_it, model, mixer, shift) is True,
            "mix_code returns another model than the one that it was given: "
            "a copy of it. Return the model itself",
        )
        with torch.no_grad():
            z, was = model.encode(x), after.encode(x)
            pictures, drawn = (
                one.decode(code).flatten(1)
                for one, code in ((model, z), (after, was))
            )
            right = torch.einsum("ij,nj->ni", mixer, z) + shift
            mistakes = {
                "the codes are as before: change the last layer of the "
                "encoder": z,
                "the codes are z A + b with A on the right: multiply the "
                "weight by A from the left": z @ mixer + shift,
                "the shift b is missing": right - shift,
                "the weight of the encoder was mixed and its bias was not: "
                "A acts on both": (
                    right
                    - mixer @ model.encoder[-1].bias
                    + model.encoder[-1].bias
                ),
                "the code is mixed twice": (right @ mixer.T + shift),
            }
            equal("the new codes", was, right, mistakes, 1e-3)
            first = model.decoder[0]
            back = torch.linalg.inv(mixer)
            known = {
                "the decoder is as before: let its first layer undo the "
                "mixing": (first.weight, first.bias),
                "the decoder forgets the shift: its first layer gets "
                "A^-1 (z - b), so its bias has to change too": (
                    first.weight @ back,
                    first.bias,
                ),
                "the decoder multiplies by A where it should multiply by "
                "its inverse": (
                    first.weight @ mixer,
                    first.bias - first.weight @ mixer @ shift,
                ),
                "the decoder uses the transpose of A; only a rotation has "
                "its transpose for an inverse": (
                    first.weight @ mixer.T,
                    first.bias - first.weight @ mixer.T @ shift,
                ),
                "the shift in the decoder has the wrong sign": (
                    first.weight @ back,
                    first.bias + first.weight @ back @ shift,
                ),
                "the shift was subtracted without A^-1: the bias takes "
                "W A^-1 b": (
                    first.weight @ back,
                    first.bias - first.weight @ shift,
                ),
            }
            mistakes = {
                text: _with_first(model, *weights).decode(right).flatten(1)
                for text, weights in known.items()
            }
            equal("the new pictures", drawn, pictures, mistakes, 2e-3)
            # not only for the codes of these digits
            z = 3 * draws.normal(9, k)
            both = (
                one.decode(code).flatten(1)
                for one, code in ((after, z @ mixer.T + shift), (model, z))
            )
            equal("the pictures of other codes", *both, None, 2e-3)
    return "right: other codes, the same pictures"


def _returns_it(mix: Callable, model: Autoencoder, *given: Tensor) -> bool:
    return mix(model, *given) is model


def _with_first(model: Autoencoder, weight: Tensor, bias: Tensor):
    """The model with another first layer of its decoder."""
    model = copy.deepcopy(model)
    model.decoder[0].weight.copy_(weight)
    model.decoder[0].bias.copy_(bias)
    return model


# --- 1.5 ---------------------------------------------------------------------


@check()
def best_guess(
    draws: Draws, blank_a: Student, blank_b: Student, blank_c: Student
) -> str:
    """Why the best guess is blurry: three blanks of a proof.

    The first two are held against the identity that they prove, for any
    picture c, and against numpy; the third against a search on a grid.
    """
    blank_a, blank_b, blank_c = (
        function(name, one)
        for name, one in (
            ("blank_a", blank_a),
            ("blank_b", blank_b),
            ("blank_c", blank_c),
        )
    )
    for n, d in ((draws.whole(5, 12), 5), (4, 1), (2, 6), (1, 3)):
        x = draws.uniform(n, d) ** 3
        values = x.double().numpy()
        mistakes = {
            "one number for all pixels; take the mean of each pixel": (
                values.mean()
            ),
            "this is the median, which is best for absolute errors": np.median(
                values, 0
            ),
            "this is torch's median, which is best for absolute errors": (
                x.median(0).values
            ),
            "this is the sum over the pictures; divide it by N": values.sum(0),
            "the mean runs over the pixels; take it over the pictures": (
                values.mean(1)
            ),
        }
        equal("blank A", blank_a(x), torch.tensor(values.mean(0)), mistakes)
        spread = values.var(0)
        mistakes = {
            "this is the variance of each pixel; sum it over the pixels": (
                spread
            ),
            "the average over the pixels; sum over them": spread.mean(),
            "the sum over the pictures; take the mean over them": (
                spread.sum() * n
            ),
            "here the mean divides by N, not by N - 1": (
                values.var(0, ddof=1).sum() if n > 1 else -1.0
            ),
            "this is a standard deviation; take the variance": (
                np.sqrt(spread).sum()
            ),
            "this is the mean of x^2; subtract the square of A": (
                (values**2).mean(0).sum()
            ),
        }
        equal("blank B", blank_b(x), float(spread.sum()), mistakes)
        rest = number("blank B", blank_b(x))
        best = tensor("blank A", blank_a(x), (d,))
        c = draws.normal(d).double()
        equal(
            "|A - c|^2 + B for a random c",
            float((best - c).square().sum()) + rest,
            float((x.double() - c).square().sum(1).mean()),
        )
    grid = torch.linspace(0, 1, 2001, dtype=torch.float64)[:, None]
    some = draws.uniform(3, low=0.02, high=0.48).tolist()
    some += [0.43, 0.48, 0.498]  # where the better guess changes sides
    shares = [0.0, 0.5, 1.0, *some, *(1 - one for one in some)]
    p = torch.tensor(shares, dtype=torch.float64)
    cost = p * (1 - grid) ** 2 + (1 - p) * grid**2
    sharp, best = torch.minimum(cost[0], cost[-1]), cost.amin(0)
    all_equal(
        [f"blank C at p = {one:.3g}" for one in shares],
        [blank_c(one) for one in shares],
        (sharp - best).tolist(),
        {
            "this is what the best grey leaves; subtract it from the cost of "
            "the sharp guess": best.tolist(),
            "this is what the sharp guess costs; subtract what the best grey "
            "leaves": sharp.tolist(),
            "the sign: the sharp guess costs more": (best - sharp).tolist(),
            "the sharp guess is ink only where p is at least one half": (
                1 - p - best
            ).tolist(),
            "the sharp guess is paper only where p is below one half": (
                p - best
            ).tolist(),
        },
        1e-3,
    )
    return "right: a grey pixel is the best guess wherever one is not sure"


# --- 1.6 ---------------------------------------------------------------------

NOISES = (0.05, 0.1, 0.2, 0.3)


@check()
def denoising(
    draws: Draws, denoising_errors: Student, first_useful_noise: Student
) -> str:
    """Whether an autoencoder cleans noisy digits, and from which noise on.

    The errors are held against the definition in double precision. The
    readings hold for the two models of the notebook, with a wide margin.
    """
    errors = function("denoising_errors", denoising_errors)
    useful = function("first_useful_noise", first_useful_noise)
    for n, side, k in ((6, 4, 3), (1, 2, 1), (draws.whole(7, 12), 5, 2)):
        model = draws.model(Autoencoder, k, (7,), (1, side, side))
        d = side**2
        with torch.no_grad():  # some pixels are below 0, and some above 1
            model.decoder[-1].bias.add_(draws.uniform(d, low=-1, high=2))
        x, noise = draws.uniform(n, d), 0.4 * draws.normal(n, d)
        noisy = (x + noise).clamp(0, 1)
        with torch.no_grad():
            decoded = model.decode(model.encode(noisy)).flatten(1)
        drawn = decoded.clamp(0, 1)
        from_clean = pictures(model, model.encode_mean(x)).flatten(1)

        def error(a, b):
            return ((a.double() - b.double()) ** 2).sum(1).mean()

        pair = parts(
            "denoising_errors", errors(model, x, noise), "before, after"
        )
        right = error(noisy, x), error(drawn, x)
        before = {
            "the noisy pixels have to be cut off at 0 and 1 first": error(
                x + noise, x
            ),
        }
        after = {
            "this compares with the noisy digit; compare with the clean "
            "one": error(drawn, noisy),
            "the clean digit was encoded; encode the noisy one": error(
                from_clean, x
            ),
            "decode may leave [0, 1]; take pictures, which cuts off": error(
                decoded, x
            ),
            "this is the change from clean to noisy reconstruction; compare "
            "with the clean digit": error(drawn, from_clean),
        }
        for name, found, one, two, other in (
            ("the error before", pair[0], right[0], before, right[1]),
            ("the error after", pair[1], right[1], after, right[0]),
        ):
            common = {
                "before and after are swapped": other,
                "the error is averaged over the pixels; sum it": one / d,
                "the error is summed over the digits; take the mean": one * n,
                "this is the root of the error; leave the root out": one**0.5,
            }
            equal(name, found, one, two | common)
    found = useful()
    require(
        isinstance(found, dict) and set(found) == {2, 32},
        "first_useful_noise(): expected a dict with a noise for each size of "
        "code, such as {2: 0.1, 32: 0.1}",
    )
    readings = {
        k: number(f"first_useful_noise()[{k}]", found[k]) for k in (2, 32)
    }
    for k, one in readings.items():
        require(
            any(abs(one - noise) < 1e-6 for noise in NOISES),
            f"first_useful_noise()[{k}]: found {one:g}; choose one of "
            + ", ".join(map(str, NOISES)),
        )
    # one verdict for both, so that they cannot be found by trying
    require(
        abs(readings[2] - 0.3) < 1e-6 and abs(readings[32] - 0.2) < 1e-6,
        "first_useful_noise(): not both readings are right. For each model "
        "and noise compare the error before with the error after",
    )
    return (
        "right: below such a noise the code costs more detail than it "
        "removes noise"
    )
