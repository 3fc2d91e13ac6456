"""What a check is made of: a student, a verdict, and comparisons."""

import functools
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from minivae.data import Images, load_digits
from minivae.notebook import brief
from minivae_course import process, wire

ALL: dict[str, "Check"] = {}
YOURS = "your code here"


class WrongError(Exception):
    """What is wrong with an answer, in words for the student.

    Example:
        >>> raise WrongError("the KL is negative: found -1.00")
        Traceback (most recent call last):
            ...
        minivae_course.check.WrongError: the KL is negative: found -1.00
    """


@dataclass(frozen=True)
class Verdict:
    """Whether an answer is right, and why not.

    Attributes:
        name: of the exercise.
        passed: True if it is right.
        message: one line for the student.

    Example:
        >>> print(Verdict("gaussian_kl", True, "right"))
        ✔ gaussian_kl: right
    """

    name: str
    passed: bool
    message: str

    def __bool__(self) -> bool:
        return self.passed

    def __str__(self) -> str:
        mark = "\N{HEAVY CHECK MARK}" if self.passed else "\N{BALLOT X}"
        return f"{mark} {self.name}: {self.message}"

    def _ipython_display_(self) -> None:
        """Printed already; a notebook would show it twice."""


class Draws:
    """Random inputs for an answer; the same seed gives the same.

    Args:
        seed: of the generator.

    Example:
        >>> Draws(0).normal(3, 2).shape
        torch.Size([3, 2])
        >>> Draws(7).seed() == Draws(7).seed()
        True
    """

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def normal(self, *shape: int) -> Tensor:
        """From N(0, 1), float32."""
        return torch.randn(shape, generator=self.generator)

    def uniform(self, *shape: int, low: float = 0, high: float = 1) -> Tensor:
        """From low to high, float32."""
        return low + (high - low) * torch.rand(shape, generator=self.generator)

    def whole(self, low: int, high: int, *shape: int) -> Any:
        """Whole numbers, low to high - 1, int64; one int without a shape."""
        found = torch.randint(low, high, shape, generator=self.generator)
        return found if shape else int(found)

    def seed(self) -> int:
        """A seed for something else."""
        return self.whole(0, 2**31)

    def digits(self, n: int, split: str = "train") -> Images:
        """n of the built-in digits, binary, in random order."""
        found = builtin(split)
        rows = torch.randperm(len(found), generator=self.generator)[:n]
        return found[rows].binarized(self.seed())

    def model(self, kind: type, *args: object, **options: object):
        """A new model with random biases too; its seed is drawn."""
        model = kind(*args, seed=self.seed(), **options)
        with torch.no_grad():
            for name, weights in model.named_parameters():
                if name.endswith("bias"):
                    weights += 0.1 * self.normal(*weights.shape)
        return model


@functools.cache
def builtin(split: str = "train") -> Images:
    """The built-in digits, loaded once.

    Example:
        >>> builtin("test")
        Images(builtin, test, 359 images)
    """
    return load_digits("builtin", split)


class Student:
    """A function of a student, as a check sees it: called from afar.

    Args:
        worker: that has the function.
        name: of the function there.

    Example:
        >>> worker = process.Here({"double": lambda x: 2 * x})
        >>> Student(worker, "double")(torch.ones(2))
        tensor([2., 2.])
    """

    def __init__(self, worker: Any, name: str) -> None:
        self.worker, self.name, self.random = worker, name, 0

    def __call__(self, *args: object, **kwargs: object) -> object:
        """Its value; inputs must come back unharmed.

        Raises:
            WrongError: it failed, took too long or changed an input.
        """
        done = self._ask(args, kwargs)
        if done.get("after") != wire.digest([list(args), kwargs]):
            raise WrongError(
                f"{self.name} changes its input in place. Make a new tensor, "
                "as in x = x - 1, where you wrote x -= 1 or x[0] = 1"
            )
        return done.get("value")

    def changed(self, *args: object) -> tuple[object, list]:
        """Its value, and what its inputs have become."""
        done = self._ask(args, {}, keep=True)
        found = done.get("args")
        if not isinstance(found, list) or len(found) != len(args):
            raise WrongError(f"{self.name}: its inputs are lost")
        return done.get("value"), found

    def gradients(
        self, *args: object, weights: Tensor | None = None
    ) -> tuple[object, list[Tensor | None]]:
        """Its value, and the gradients of its sum.

        Args:
            args: tensors that require a gradient and models get one for
                each tensor and each parameter, in their order.
            weights: of the sum, of the shape of the value.

        Raises:
            WrongError: nothing of the value can be differentiated.
        """
        done = self._ask(args, {}, gradients=True, weights=weights)
        found = done.get("gradients")
        if found is None:
            raise WrongError(
                f"no gradient flows through {self.name}: its result does not "
                "depend on its inputs as far as torch knows. Look for "
                "detach(), item(), no_grad(), NumPy or a new torch.tensor"
            )
        if not isinstance(found, list):
            raise WrongError(f"{self.name}: its gradients are lost")
        return done.get("value"), found

    def through(self, look: Callable, *args: object) -> object:
        """What a function of ours says of it, where the function lives.

        For what a student builds and cannot be sent, such as a module.

        Args:
            look: of this package; gets the student's function and args.
            args: for `look`.
        """
        return self._ask(args, {}, through=look).get("value")

    def _ask(
        self,
        args: tuple,
        kwargs: dict,
        keep: bool = False,
        gradients: bool = False,
        weights: Tensor | None = None,
        through: Callable | None = None,
    ) -> dict:
        # another seed in each call, the same in each check
        self.random += 1
        request = {
            "op": "call",
            "name": self.name,
            "args": list(args),
            "kwargs": kwargs,
            "keep": keep,
            "gradients": gradients,
            "weights": weights,
            "through": through,
            "seed": self.random,
        }
        try:
            done = self.worker.ask(request)
        except process.GoneError as error:
            raise WrongError(f"{self.name}: {error}") from None
        if done.get("error"):
            raise WrongError(_failure(self.name, done["error"]))
        return done


def _failure(name: str, error: dict) -> str:
    """What an exception of student code means, in one line."""
    kind, text, line = (error.get(key) for key in ("kind", "text", "line"))
    if kind == "NotImplementedError":
        return f"not written yet: put your code into {name}"
    where = f" in line {line}" if line else ""
    text = " ".join(str(text).split())
    return f"{name} raises {kind}{where}: {text}"


class Check:
    """Tells whether an answer to one exercise is right.

    Args:
        body: gets `Draws` and the student's objects; raises `WrongError`,
            and may return what to say of a right answer.
        seconds: that the student's process may take.

    Example:
        >>> def triple(draws, your_triple):
        ...     equal("three times two", your_triple(2.0), 6.0)
        >>> worker = process.Here({"your_triple": lambda x: x + x})
        >>> Check(triple, seconds=5).judge(worker).passed
        False
    """

    def __init__(self, body: Callable, seconds: float) -> None:
        self.body, self.seconds = body, seconds
        self.name = body.__name__
        self.__name__, self.__doc__ = f"check_{self.name}", body.__doc__
        self.__module__ = body.__module__
        # what the student's objects are called, in their order
        self.names = list(inspect.signature(body).parameters)[1:]

    def __repr__(self) -> str:
        return f"<{self.__name__}({', '.join(self.names)})>"

    def __call__(self, *objects: object, seed: int = 0) -> Verdict:
        """Print the verdict on an answer and return it.

        Args:
            objects: the student's functions or values.
            seed: of the inputs that are tried.
        """
        if len(objects) != len(self.names):
            raise TypeError(
                f"{self.__name__}: expected {', '.join(self.names)}, got "
                f"{len(objects)} values; pass them in this order"
            )
        given = dict(zip(self.names, objects))
        try:
            worker = process.Apart(given, self.seconds)
        except process.GoneError as error:
            verdict = Verdict(self.name, False, f"not tried: {error}")
        else:
            try:
                verdict = self.judge(worker, seed)
            finally:
                worker.close()
        print(verdict)
        return verdict

    def judge(self, worker: Any, seed: int = 0) -> Verdict:
        """The verdict on the objects that a worker holds."""
        try:
            students = [self._student(worker, name) for name in self.names]
            said = self.body(Draws(seed), *students)
        except WrongError as error:
            return Verdict(self.name, False, _line(str(error)))
        # an answer so odd that no comparison foresaw it is not right
        except (ArithmeticError, LookupError, TypeError) as error:
            return self._odd(error)
        except (AttributeError, RuntimeError, ValueError) as error:
            return self._odd(error)
        return Verdict(self.name, True, _line(said or "right"))

    def _odd(self, error: Exception) -> Verdict:
        text = f"the answer cannot be compared ({type(error).__name__}: "
        return Verdict(self.name, False, _line(f"{text}{error})"))

    def _student(self, worker: Any, name: str) -> object:
        """A function to call, or a value."""
        try:
            done = worker.ask({"op": "look", "name": name})
        except process.GoneError as error:
            raise WrongError(f"{name}: {error}") from None
        if done.get("missing"):
            raise WrongError(
                f"there is no {name}: run or restore the cell that defines it"
            )
        if done.get("callable"):
            return Student(worker, name)
        return done.get("value")


def _line(text: str, most: int = 400) -> str:
    """One line, and not a long one."""
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 3] + "..."


def check(seconds: float = 30.0) -> Callable[[Callable], Check]:
    """Make a check of a function and list it in `ALL`.

    Args:
        seconds: that the student's process may take.

    Returns:
        What makes a `Check` of a function, as for its `body`.

    Raises:
        ValueError: there is one of this name.

    Example:
        >>> @check(seconds=5)
        ... def triple(draws, your_triple):
        ...     equal("three times two", your_triple(2.0), 6.0)
        >>> ALL.pop("triple")
        <check_triple(your_triple)>
    """

    def made(body: Callable) -> Check:
        one = Check(body, seconds)
        if one.name in ALL:
            raise ValueError(f"there are two checks called {one.name}")
        ALL[one.name] = one
        return one

    return made


# --- comparisons: each raises WrongError with a diagnosis --------------------


def require(condition: object, message: str) -> None:
    """Refuse with these words unless it holds.

    Args:
        condition: what must hold.
        message: for the student.

    Raises:
        WrongError: it does not hold.

    Example:
        >>> require(1 < 0, "one is not less than zero")
        Traceback (most recent call last):
            ...
        minivae_course.check.WrongError: one is not less than zero
    """
    if not condition:
        raise WrongError(message)


def function(name: str, value: Any) -> Student:
    """Refuse what is not a function.

    Args:
        name: of the exercise, for the message.
        value: that was passed.

    Returns:
        The function, to be called.

    Raises:
        WrongError: it is a value.

    Example:
        >>> function("your_kl", 3.0)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        minivae_course.check.WrongError: your_kl: expected a function, ...
    """
    if value is None:
        raise WrongError(f"{name} is None: it should be a function")
    if isinstance(value, Student):
        return value
    raise WrongError(
        f"{name}: expected a function, got {brief(value)}; pass its name "
        "without brackets"
    )


def tensor(
    what: str, value: object, shape: tuple[int, ...] | None = None
) -> Tensor:
    """A result as float64, if it is a tensor of this shape and finite.

    Args:
        what: it is, for the message.
        value: that was found; an array, a number or a list of numbers is
            taken for a tensor.
        shape: that is expected; None takes any.

    Returns:
        float64, of the shape that was found.

    Raises:
        WrongError: no tensor, or another shape, or NaN or infinite.

    Example:
        >>> tensor("the KL", [1, 2], shape=(2,))
        tensor([1., 2.], dtype=torch.float64)
    """
    if value is None:
        raise WrongError(f"{what}: found None; does your code end in return?")
    if isinstance(value, list | tuple):
        require(
            all(isinstance(v, int | float) for v in value),
            f"{what}: found a {type(value).__name__} of {len(value)}; "
            "expected one tensor",
        )
    if isinstance(value, wire.Other | str | dict) or (
        not isinstance(value, Tensor | list | tuple | int | float)
        and type(value).__module__ != "numpy"
    ):
        kind = value.kind if isinstance(value, wire.Other) else None
        kind = kind or type(value).__name__
        raise WrongError(f"{what}: found a {kind}; expected a tensor")
    found = torch.as_tensor(value).detach()
    require(not found.is_complex(), f"{what}: found complex numbers")
    if shape is not None and tuple(found.shape) != tuple(shape):
        raise WrongError(
            f"{what}: found shape {tuple(found.shape)}, expected "
            f"{tuple(shape)}{_shape_hint(tuple(found.shape), tuple(shape))}"
        )
    found = found.to(torch.float64)
    n_nan = int(found.isnan().sum())
    require(
        not n_nan,
        f"{what}: {n_nan} of {found.numel()} values are NaN. Look for a "
        "logarithm or root of a negative number, 0 / 0 or inf - inf",
    )
    n_inf = int(found.isinf().sum())
    require(
        not n_inf,
        f"{what}: {n_inf} of {found.numel()} values are infinite. Look for "
        "exp of a large number, a logarithm of 0 or a division by 0",
    )
    return found


def _shape_hint(found: tuple, right: tuple) -> str:
    if found == () and right:
        return "; one value for each digit is wanted, not their sum or mean"
    if found[::-1] == right:
        return "; rows and columns are swapped"
    if len(found) == len(right) + 1 and found[: len(right)] == right:
        return "; sum over the last dimension, sum(-1)"
    if tuple(n for n in found if n != 1) == tuple(n for n in right if n != 1):
        return "; a dimension of size 1 too many or too few"
    return ""


def equal(
    what: str,
    found: object,
    right: Tensor | float,
    mistakes: dict[str, Tensor | float] | None = None,
    tolerance: float = 1e-4,
) -> None:
    """Refuse a result that is not the right one.

    Args:
        what: it is: "the KL", for the message.
        found: the student's result.
        right: what it should be; its shape is asked for too.
        mistakes: what the student may have done -> what that gives. The one
            that fits is named.
        tolerance: relative to the largest right value, and at least to 1e-3.

    Raises:
        WrongError: another shape or value.

    Example:
        >>> known = {"a half is missing": 1.0}
        >>> equal("the KL", 1.0, 0.5, known)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        minivae...WrongError: the KL: found 1.00, ... Likely: a half is missing
    """
    right = torch.as_tensor(right, dtype=torch.float64).detach()
    # a wrong shape too may have a known cause
    wrong = {
        text: torch.as_tensor(value, dtype=torch.float64).detach()
        for text, value in (mistakes or {}).items()
    }
    try:
        value = tensor(what, found, tuple(right.shape))
    except WrongError as error:
        cause = _cause_of_any_shape(found, wrong)
        raise WrongError(f"{error}{cause}") from None
    scale = max(1e-3, float(right.abs().max())) if right.numel() else 1.0
    off = (value - right).abs()
    if not off.numel() or float(off.max()) <= tolerance * scale:
        return
    at = int(off.flatten().argmax())
    one, other = float(value.flatten()[at]), float(right.flatten()[at])
    where = "" if right.dim() == 0 else f" (entry {_place(at, right.shape)})"
    # as many figures as it takes to tell them apart
    a, b = brief(one), brief(other)
    if a == b:
        a, b = f"{one:.8g}", f"{other:.8g}"
    raise WrongError(
        f"{what}{where}: found {a}, expected {b}"
        f"{_cause(value, right, wrong, scale, tolerance)}"
    )


def _place(at: int, shape: torch.Size) -> str:
    index = []
    for n in reversed(shape):
        index.append(at % n)
        at //= n
    return ", ".join(map(str, reversed(index)))


def _cause_of_any_shape(found: object, wrong: dict[str, Tensor]) -> str:
    if isinstance(found, Tensor | int | float):
        value = torch.as_tensor(found).detach().to(torch.float64)
        for text, candidate in wrong.items():
            if value.shape == candidate.shape and torch.allclose(
                value, candidate, rtol=1e-3, atol=1e-6
            ):
                return f". Likely: {text}"
    return ""


def _cause(
    value: Tensor,
    right: Tensor,
    wrong: dict[str, Tensor],
    scale: float,
    tolerance: float,
) -> str:
    """The mistake that fits what was found."""
    close = max(1e-4, tolerance)
    for text, candidate in wrong.items():
        size = max(float(candidate.abs().max()), 1e-9)
        if candidate.shape != value.shape:
            continue
        if float((value - candidate).abs().max()) <= close * size:
            return f". Likely: {text}"
    if float(value.abs().max()) == 0:
        return ". All values are 0"
    if float((value + right).abs().max()) <= close * scale:
        return ". The sign is wrong"
    if float(right.abs().min()) > 1e-9:
        ratio = value / right
        if float((ratio - ratio.mean()).abs().max()) <= 1e-3 * float(
            ratio.abs().max()
        ):
            return (
                f". Each value is {_times(float(ratio.mean()))} the right one"
            )
    gap = value - right
    if (
        value.numel() > 1
        and float((gap - gap.mean()).abs().max()) <= close * scale
    ):
        return f". Each value is off by {brief(float(gap.mean()))}"
    if value.numel() > 1 and float((value - value.mean()).abs().max()) < 1e-9:
        return ". All values are the same: does the result use the input?"
    return ""


def _times(ratio: float) -> str:
    if 0 < abs(ratio) < 0.6 and abs(1 / ratio - round(1 / ratio)) < 5e-3:
        return f"{'-' if ratio < 0 else ''}1/{round(abs(1 / ratio))} of"
    return f"{brief(ratio)} times"


def number(
    what: str,
    value: object,
    low: float = -math.inf,
    high: float = math.inf,
    why: str = "",
) -> float:
    """A single number of a student, if it lies from low to high.

    Args:
        what: it is, for the message.
        value: that was found.
        low, high: both are allowed.
        why: or how to mend it; ends the message.

    Returns:
        The number.

    Raises:
        WrongError: no number, or one out of range.

    Example:
        >>> number("the ELBO", torch.tensor([-99.5]), high=0.0)
        -99.5
    """
    found = float(tensor(what, value, None if _one(value) else ()))
    why = f". {why}" if why else ""
    if not low <= found <= high:
        wanted = (
            f"from {brief(low)} to {brief(high)}"
            if math.isfinite(low) and math.isfinite(high)
            else f"at least {brief(low)}"
            if math.isfinite(low)
            else f"at most {brief(high)}"
        )
        raise WrongError(
            f"{what}: found {brief(found)}, expected {wanted}{why}"
        )
    return found


def _one(value: object) -> bool:
    return getattr(value, "shape", None) == (1,)


def whole(what: str, value: object) -> int:
    """A whole number of a student; 3.0 is one, True is not.

    Args:
        what: it is, for the message.
        value: that was found.

    Returns:
        The number.

    Raises:
        WrongError: no whole number.

    Example:
        >>> whole("the label", 3.0)
        3
    """
    found = number(what, value) if not isinstance(value, bool) else math.nan
    require(
        found == round(found) if not math.isnan(found) else False,
        f"{what}: found {brief(value)}, expected a whole number",
    )
    return round(found)


def moments(
    what: str,
    samples: Tensor,
    mean: Tensor | float,
    std: Tensor | float,
    hint: str = "",
) -> None:
    """Refuse samples (n, ...) that do not have this mean and spread.

    A right normal sample fails once in a hundred million times.

    Args:
        what: was drawn, for the message.
        samples: float64, the draws in the first dimension.
        mean, std: of the distribution, broadcastable to one draw.
        hint: ends the message.

    Raises:
        WrongError: a mean or a spread is off.

    Example:
        >>> codes = torch.tensor([-1.0, 1.0]).double().repeat(500)
        >>> moments("the codes", codes, 0.0, 1.0)
        >>> moments("the codes", codes, 5.0, 1.0)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        minivae...WrongError: the codes: mean of 1,000 draws is 0, ...
    """
    n = len(samples)
    mean = torch.as_tensor(mean, dtype=torch.float64)
    std = torch.as_tensor(std, dtype=torch.float64)
    hint = f". {hint}" if hint else ""
    slack = 7 * std / math.sqrt(n)
    for name, found, right, allowed in (
        ("mean", samples.mean(0), mean, slack),
        ("standard deviation", samples.std(0), std, slack),
    ):
        off = (found - right).abs() - allowed
        if bool((off > 1e-6).any()):
            at = int(off.flatten().argmax())
            a = float(found.flatten()[at])
            b = float(right.expand_as(found).flatten()[at])
            raise WrongError(
                f"{what}: {name} of {n:,} draws is {brief(a)}, expected "
                f"{brief(b)}{hint}"
            )


def choice(what: str, value: object, right: str, why: dict[str, str]) -> None:
    """Refuse an answer from a list that is not the right one.

    Args:
        what: is asked, for the message.
        value: the student's answer.
        right: the right one.
        why: each wrong answer -> what speaks against it.

    Raises:
        WrongError: another answer, or none.

    Example:
        >>> wrong = {"upper": "The KL is never negative."}
        >>> choice("the bound", "Lower ", "lower", wrong)
        >>> choice("the bound", "upper", "lower", wrong)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        minivae...WrongError: the bound: 'upper' is not right. The KL is ...
    """
    if isinstance(value, str):
        value = value.strip()
        for known in (right, *why):
            if value.lower() == known.lower():
                value = known
    if isinstance(value, str) and value == right:
        return
    known = ", ".join(repr(one) for one in sorted([right, *why]))
    if value is None:
        raise WrongError(f"{what}: not answered yet; choose one of {known}")
    if not isinstance(value, str) or value not in why:
        raise WrongError(
            f"{what}: found {brief(value)}, expected one of {known}"
        )
    raise WrongError(f"{what}: {value!r} is not right. {why[value]}")


def choices(
    what: str,
    given: Mapping[str, object],
    right: Mapping[str, str],
    options: Sequence[str],
    hint: str,
) -> None:
    """Refuse a list of answers unless every one of them is right.

    Which of them is wrong is not said, so that the right ones cannot be
    found by trying.

    Args:
        what: is asked, for the message.
        given: each question -> the student's answer.
        right: each question -> the right one.
        options: every answer that may be given.
        hint: where to look again; ends the message.

    Raises:
        WrongError: an answer is missing, unknown or wrong.

    Example:
        >>> right = {"ELBO": "rises", "loss": "falls"}
        >>> rest = ("rises", "falls"), "Which one do we minimise?"
        >>> choices("the curves", dict(right, loss="Falls "), right, *rest)
        >>> given = {"ELBO": "rises", "loss": "rises"}
        >>> choices("the curves", given, right, *rest)
        Traceback (most recent call last):
            ...
        minivae_course.check.WrongError: the curves: not every answer is \
right. Which one do we minimise?
    """
    by_lower = {one.lower(): one for one in options}
    known = ", ".join(repr(one) for one in options)
    found = {}
    for question in right:
        value = given.get(question)
        require(
            value is not None and value != "",
            f"{question}: not answered yet; choose one of {known}",
        )
        word = value.strip().lower() if isinstance(value, str) else ""
        require(
            word in by_lower,
            f"{question}: found {brief(value)}, expected one of {known}",
        )
        found[question] = by_lower[word]
    require(found == dict(right), f"{what}: not every answer is right. {hint}")


def normal_noise(what: str, noise: Tensor) -> None:
    """Refuse numbers that are not from N(0, 1), by their distribution.

    The right noise fails less than once in a million times (Kolmogorov).

    Args:
        what: was drawn, for the message.
        noise: many numbers, of any shape.

    Raises:
        WrongError: the distribution is another one.

    Example:
        >>> normal_noise("z", Draws(0).normal(9000, 3))
        >>> normal_noise("z", Draws(0).uniform(9000, 3, low=-1.7, high=1.7))
        Traceback (most recent call last):
            ...
        minivae_course.check.WrongError: z: the noise is not from N(0, 1): \
73% of it is below 0.783, expected 78%. Use randn, and nothing else
    """
    values = noise.detach().double().flatten().sort().values
    n = len(values)
    wanted = torch.special.ndtr(values)
    steps = torch.arange(n + 1).double() / n
    off = torch.maximum(steps[1:] - wanted, wanted - steps[:-1])
    at = int(off.argmax())
    require(
        float(off[at]) * math.sqrt(n) < 2.8,
        f"{what}: the noise is not from N(0, 1): {float(steps[at + 1]):.0%} "
        f"of it is below {float(values[at]):.3g}, expected "
        f"{float(wanted[at]):.0%}. Use randn, and nothing else",
    )
    spread = float(values.square().mean().sqrt())
    require(
        abs(spread - 1) < 5.5 / math.sqrt(2 * n),
        f"{what}: the noise is not from N(0, 1): its standard deviation is "
        f"{spread:.3f}. Use randn, and nothing else",
    )
    far = 0.009322  # of a normal distribution beyond 2.6
    beyond = float((values.abs() > 2.6).double().mean())
    require(
        abs(beyond - far) < 5.5 * math.sqrt(far / n) + 1 / n,
        f"{what}: the noise is not from N(0, 1): {beyond:.2%} of it lies "
        f"beyond 2.6, expected {far:.2%}. Use randn, and nothing else",
    )
