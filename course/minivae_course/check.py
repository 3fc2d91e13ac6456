"""What a check is made of: a student, a verdict, and comparisons."""

import functools
import inspect
import math
import os
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import torch
from torch import Tensor, nn

from minivae.data import Images, load_digits
from minivae.notebook import brief
from minivae_course import process, wire
from minivae_course.references import REFERENCES

ALL: dict[str, "Check"] = {}
YOURS = "your code here"
SEEDS = (0, 1, 2, 3)  # of the inputs that are tried, in notebooks and marks


class WrongError(Exception):
    """What is wrong with an answer, in words for the student.

    Example:
        >>> raise WrongError("the KL is negative: found -1.00")
        Traceback (most recent call last):
            ...
        minivae_course.check.WrongError: the KL is negative: found -1.00
    """


class RefusedError(AssertionError):
    """An answer is not right, where nbgrader validates a notebook.

    Example:
        >>> issubclass(RefusedError, AssertionError)
        True
    """

    def _render_traceback_(self) -> list[str]:
        """The verdict alone: the lines of this package help nobody."""
        return [str(self)]


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
        text = f"{mark} {self.name}: {self.message}"
        # a page breaks long lines anywhere, also inside a word
        return textwrap.fill(
            text, 79, break_long_words=False, break_on_hyphens=False
        )

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


def telling(
    draw: Callable[[], tuple],
    right: Callable,
    wrong: Mapping[str, Callable],
    most: int = 3000,
) -> list[tuple]:
    """Inputs that tell each wrong rule from the right one.

    Args:
        draw: makes the inputs of one case.
        right: the result for such inputs.
        wrong: name -> a rule that a student may follow in its place.
        most: cases to look through.

    Returns:
        Cases, so few that a check can try all of them.

    Example:
        >>> draws = Draws(0)
        >>> positive = {"not strict": lambda n: n >= 0}
        >>> one = lambda: (draws.whole(-9, 10),)
        >>> telling(one, lambda n: n > 0, positive)
        [(0,)]
    """
    left, found = dict(wrong), []
    for _ in range(most):
        if not left:
            break
        case = draw()
        answer = right(*case)
        told = [name for name, rule in left.items() if rule(*case) != answer]
        if told:
            found.append(case)
        for name in told:
            del left[name]
    return found


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
        references: what it must not call, as "module:function".

    Example:
        >>> worker = process.Here({"double": lambda x: 2 * x})
        >>> Student(worker, "double")(torch.ones(2))
        tensor([2., 2.])
    """

    def __init__(
        self, worker: Any, name: str, references: Sequence[str] = ()
    ) -> None:
        self.worker, self.name, self.random = worker, name, 0
        self.references = list(references)

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
        """Its value, and what its inputs have become.

        Only the first may change.

        Raises:
            WrongError: another input has changed.
        """
        done = self._ask(args, {}, keep=True)
        found = done.get("args")
        if not isinstance(found, list) or len(found) != len(args):
            raise WrongError(f"{self.name}: its inputs are lost")
        for i, (before, after) in enumerate(zip(args, found)):
            if i and wire.digest(before) != wire.digest(after):
                raise WrongError(
                    f"{self.name} changes its argument number {i + 1} in "
                    "place. It may change the first one only"
                )
        return done.get("value"), found

    def gradients(
        self,
        *args: object,
        weights: Tensor | None = None,
        entry: str | None = None,
    ) -> tuple[object, list[Tensor | None]]:
        """Its value, and the gradients of its sum.

        Args:
            args: tensors that require a gradient and models get one for
                each tensor and each parameter, in their order.
            weights: of the sum, of the shape of the value.
            entry: of a dict that it returns, if that is the value.

        Raises:
            WrongError: nothing of the value can be differentiated.
        """
        done = self._ask(
            args, {}, gradients=True, weights=weights, entry=entry
        )
        found = done.get("gradients")
        if found is None:
            result = f'"{entry}"' if entry else "its result"
            raise WrongError(
                f"no gradient flows through {self.name}: {result} does not "
                "depend on its inputs as far as torch knows. Look for "
                "detach(), item(), no_grad(), NumPy or a new torch.tensor"
            )
        if not isinstance(found, list):
            raise WrongError(f"{self.name}: its gradients are lost")
        if done.get("after") != wire.digest([list(args), {}]):
            raise WrongError(f"{self.name} changes its input in place")
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
        entry: str | None = None,
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
            "references": self.references,
            "entry": entry,
            "through": through,
            "seed": self.random,
        }
        try:
            done = self.worker.ask(request)
        except process.GoneError as error:
            raise WrongError(f"{self.name}: {error}") from None
        if done.get("error"):
            raise WrongError(_failure(self.name, done["error"]))
        for used in done.get("used") or ():
            raise WrongError(
                f"{self.name} uses the checks, minivae_course: an answer "
                "stands on its own"
                if used == "minivae_course"
                else f"{self.name} calls {used}, which is what you are "
                "asked to write here"
            )
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

    def __call__(self, *objects: object, seed: int | None = None) -> Verdict:
        """Print the verdict on an answer and return it.

        Args:
            objects: the student's functions or values.
            seed: of the inputs that are tried; None tries those of `SEEDS`,
                as the marks do.

        Raises:
            RefusedError: it is not right, and nbgrader's Validate asks.
        """
        if len(objects) != len(self.names):
            raise TypeError(
                f"{self.__name__}: expected {', '.join(self.names)}, got "
                f"{len(objects)} values; pass them in this order"
            )
        if process.inside:
            # a cell of a submission: the marks ask for all checks later
            print(f"{self.name}: this check runs when the marks are made")
            return Verdict(self.name, True, "not tried")
        given = dict(zip(self.names, objects))
        try:
            worker = process.Apart(given, self.seconds)
        except process.GoneError as error:
            verdict = Verdict(self.name, False, f"not tried: {error}")
        else:
            try:
                seeds = SEEDS if seed is None else (seed,)
                verdict = self.judge_all(worker, seeds)
            finally:
                worker.close()
        print(verdict)
        if not verdict and os.environ.get("NBGRADER_VALIDATING"):
            raise RefusedError(str(verdict))
        return verdict

    def judge_all(
        self,
        worker: Any,
        seeds: Sequence[int] = SEEDS,
        most: float = math.inf,
    ) -> Verdict:
        """The first verdict that refuses, or the last.

        Args:
            worker: that holds the objects, in a process of its own.
            seeds: of the inputs that are tried.
            most: seconds for each seed, if that is less than the check's.
        """
        for seed in seeds:
            worker.allow(min(self.seconds, most))
            verdict = self.judge(worker, seed)
            if not verdict:
                break
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
            return Student(worker, name, REFERENCES.get(self.name, ()))
        return done.get("value")


def _line(text: str, most: int = 400) -> str:
    """One line, and not a long one."""
    text = " ".join(text.split())
    if len(text) <= most:
        return text
    short = textwrap.shorten(text, most, placeholder=" ...")
    # one word may be longer than the line
    return short if len(short) > most // 2 else text[: most - 3] + "..."


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
        joined = _joined(value)
        if shape == () and joined is not None and joined.shape == (1,):
            joined = joined[0]
        require(
            joined is not None
            and (shape is None or tuple(joined.shape) == tuple(shape)),
            f"{what}: found a {type(value).__name__} of {len(value)}; "
            f"expected one tensor{'' if shape is None else _of(shape)}",
        )
        value = joined
    if isinstance(value, wire.Other | str | dict) or (
        not isinstance(value, Tensor | int | float)
        and type(value).__module__ != "numpy"
    ):
        kind = value.kind if isinstance(value, wire.Other) else None
        kind = kind or type(value).__name__
        raise WrongError(f"{what}: found a {kind}; expected a tensor")
    found = torch.as_tensor(value).detach()
    require(not found.is_complex(), f"{what}: found complex numbers")
    if shape == () and found.shape == (1,):
        found = found[0]  # one number is one number
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


def _of(shape: tuple) -> str:
    return f" of shape {tuple(shape)}"


def _joined(value: Any) -> Tensor | None:
    """One tensor from lists of numbers and tensors; None if it is none."""
    if isinstance(value, Tensor):
        return None if value.is_complex() else value.detach().double()
    if not isinstance(value, list | tuple):
        plain = isinstance(value, int | float)
        if not plain and type(value).__module__ != "numpy":
            return None
        return torch.as_tensor(value, dtype=torch.float64)
    if all(isinstance(one, int | float) for one in value):
        return torch.tensor(value, dtype=torch.float64)
    rows = [_joined(one) for one in value]
    found = [row for row in rows if row is not None]
    if len(found) < len(rows) or len({row.shape for row in found}) > 1:
        return None
    return torch.stack(found)


def parts(what: str, value: object, names: str) -> list:
    """As many results as there are names, however they are put together.

    Args:
        what: returns them, for the message.
        value: a tuple, a list, or a tensor or array with one row for each.
        names: of the results, with commas between them.

    Returns:
        The results, in a list.

    Raises:
        WrongError: another number of results.

    Example:
        >>> parts("pca", (1.0, 2.0), "mean, axes")
        [1.0, 2.0]
        >>> parts("pca", torch.ones(2), "mean, axes")
        [tensor(1.), tensor(1.)]
    """
    n = len(names.split(", "))
    several = isinstance(value, list | tuple) or (
        isinstance(value, Tensor) or type(value).__module__ == "numpy"
    )
    found: Any = value
    require(
        several and getattr(found, "shape", None) != () and len(found) == n,
        f"{what}: expected {n} results, as in `return {names}`",
    )
    return list(found)


def _shape_hint(found: tuple, right: tuple) -> str:
    if found == () and right:
        return "; one value for each is wanted, not a single one for all"
    if found[::-1] == right:
        return "; rows and columns are swapped"
    if tuple(n for n in found if n != 1) == tuple(n for n in right if n != 1):
        return "; a dimension of size 1 too many or too few"
    if right and found[:-1] == right:
        return "; reduce the last dimension, as sum(-1) does"
    return ""


def equal(
    what: str,
    found: object,
    right: Tensor | float,
    mistakes: Mapping[str, Tensor | float] | None = None,
    tolerance: float = 1e-4,
    near_zero: float = 1e-5,
) -> None:
    """Refuse a result that is not the right one.

    Args:
        what: it is: "the KL", for the message.
        found: the student's result.
        right: what it should be; its shape is asked for too.
        mistakes: what the student may have done -> what that gives. The one
            that fits is named.
        tolerance: relative to the largest right value.
        near_zero: what is allowed, in place of that, where no right value
            is larger than 1e-3.

    Raises:
        WrongError: another shape or value.

    Example:
        >>> known = {"a half is missing": 1.0}
        >>> equal("the KL", 1.0, 0.5, known)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        minivae...WrongError: the KL: found 1, ... Likely: a half is missing
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
        # a sum over one row is that row: only the shape tells
        one_row = right.dim() > 0 and right.numel() == 1
        cause = "" if one_row else _cause_of_any_shape(found, wrong)
        raise WrongError(f"{error}{cause}") from None
    scale = float(right.abs().max()) if right.numel() else 1.0
    allowed = tolerance * scale
    if scale <= 1e-3:
        allowed, scale = max(allowed, near_zero), 1e-3
    off = (value - right).abs()
    if not off.numel() or float(off.max()) <= allowed:
        return
    at = int(off.flatten().argmax())
    one, other = float(value.flatten()[at]), float(right.flatten()[at])
    where = "" if right.dim() == 0 else f" (entry {_place(at, right.shape)})"
    # as many figures as it takes to tell them apart
    a, b = _figures(one), _figures(other)
    if brief(one) == brief(other):
        a, b = f"{one:.8g}", f"{other:.8g}"
    raise WrongError(
        f"{what}{where}: found {a}, expected {b}"
        f"{_cause(value, right, wrong, scale, tolerance)}"
    )


def same_rule(
    what: str,
    student: Callable,
    right: Callable,
    wrong: Mapping[str, Callable],
    draw: Callable[[], tuple],
) -> list[tuple]:
    """Refuse other numbers than those of a rule.

    Args:
        what: the student's function computes, for the message.
        student: gets the inputs of a case, as the rules do.
        right: the rule.
        wrong: name -> a rule that the student may follow in its place. One
            that gives all that was found is named.
        draw: makes the inputs of one case.

    Returns:
        The cases that were tried: those of `telling`, and some more.

    Raises:
        WrongError: another number, or no number.

    Example:
        >>> draws, wrong = Draws(0), {"do not square": lambda n: n * n}
        >>> twice, one = (lambda n: 2 * n), lambda: (draws.whole(0, 9),)
        >>> len(same_rule("twice", lambda n: n + n, twice, wrong, one))
        7
    """
    cases = [*telling(draw, right, wrong), *(draw() for _ in range(6))]
    all_equal(
        [what] * len(cases),
        [student(*case) for case in cases],
        [right(*case) for case in cases],
        {
            text: [rule(*case) for case in cases]
            for text, rule in wrong.items()
        },
    )
    return cases


def all_equal(
    what: Sequence[str],
    found: Sequence[object],
    right: Sequence[Any],
    wrong: Mapping[str, Sequence[Any]],
    tolerance: float = 1e-6,
) -> None:
    """Refuse other numbers in any of several cases.

    Args:
        what: each case is, for the message.
        found, right: of each case, numbers or tensors.
        wrong: name -> what a mistake gives in each case. It is named only if
            it gives all that was found: many fit one case by chance.
        tolerance: as for `equal`.

    Raises:
        WrongError: another number, or no number.

    Example:
        >>> all_equal(["one", "two"], [1, 4], [1, 4], {"doubled": [2, 4]})
    """
    values = [tensor(name, one).double() for name, one in zip(what, found)]

    def fits(others: Sequence[Any]) -> bool:
        others = [torch.as_tensor(other).double() for other in others]
        return all(
            one.shape == other.shape and one.allclose(other, atol=1e-6)
            for one, other in zip(values, others)
        )

    named = [text for text, others in wrong.items() if fits(others)]
    for i, (name, one) in enumerate(zip(what, values)):
        mistakes = {text: torch.as_tensor(wrong[text][i]) for text in named}
        equal(name, one, torch.as_tensor(right[i]), mistakes, tolerance)


def gradients_equal(
    model: nn.Module,
    found: Sequence[Tensor | None],
    right: Tensor,
    mistakes: Mapping[str, Tensor] | None = None,
) -> None:
    """Refuse gradients by the weights of a model that are not the right ones.

    Args:
        model: whose parameters they belong to.
        found: the student's, in the order of the parameters.
        right: the scalar whose gradients they should be.
        mistakes: what the student may have done -> the scalar of that.

    Raises:
        WrongError: a gradient is missing or another.

    Example:
        >>> model = nn.Linear(1, 1)
        >>> right = model(torch.ones(1)).sum()
        >>> gradients_equal(model, [torch.ones(1, 1), torch.ones(1)], right)
        >>> gradients_equal(model, [torch.ones(1, 1), None], right)
        Traceback (most recent call last):
            ...
        minivae_course.check.WrongError: no gradient reaches bias
    """
    names, weights = zip(*model.named_parameters())

    def by_weights(value: Tensor) -> list[Tensor]:
        return list(
            torch.autograd.grad(
                value,
                weights,
                retain_graph=True,
                allow_unused=True,
                materialize_grads=True,
            )
        )

    wanted = by_weights(right)
    wrong = {text: by_weights(one) for text, one in (mistakes or {}).items()}
    for i, name in enumerate(names):
        one = found[i]
        require(
            one is not None or not bool(wanted[i].any()),
            f"no gradient reaches {name}",
        )
        if one is not None:
            known = {
                text: other[i]
                for text, other in wrong.items()
                if not torch.allclose(other[i], wanted[i])
            }
            equal(f"the gradient by {name}", one, wanted[i], known)


def _figures(value: float) -> str:
    """A count as a count, any other number with three digits."""
    count = value == round(value) and abs(value) < 1e6
    return brief(round(value) if count else value)


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
    squares = float(right.square().sum())
    ratio = float((value * right).sum()) / squares if squares else 0.0
    rest = float((value - ratio * right).abs().max())
    if abs(ratio - 1) > close and rest <= close * scale * abs(ratio):
        text = _ratio(value.numel(), ratio)
        # a single number is some multiple of any other
        if value.numel() > 1 or _plain(ratio) or _plain(1 / ratio):
            return f". {text}"
    gap = value - right
    if (
        value.numel() > 1
        and float((gap - gap.mean()).abs().max()) <= close * scale
    ):
        return f". Each value is off by {_figures(float(gap.mean()))}"
    if value.numel() > 1 and float((value - value.mean()).abs().max()) < 1e-9:
        return ". All values are the same: does the result use the input?"
    return ""


def _ratio(n: int, ratio: float) -> str:
    """How many times too large it is."""
    it = "It is" if n == 1 else "Each value is"
    if abs(ratio - 1) < 0.02:
        way = "large" if ratio > 1 else "small"
        return f"{it} too {way} by {100 * abs(ratio - 1):.2g} per cent"
    return f"{it} {_times(ratio)} the right one"


def _plain(ratio: float) -> bool:
    """Whether it is 2, 3, ... or close to it."""
    return 1.5 < abs(ratio) < 1e4 and abs(ratio / round(ratio) - 1) < 1e-3


def _times(ratio: float) -> str:
    if 0 < abs(ratio) < 0.6 and abs(1 / ratio - round(1 / ratio)) < 5e-3:
        return f"{'-' if ratio < 0 else ''}1/{round(abs(1 / ratio))} of"
    if round(ratio) and abs(ratio - round(ratio)) < 2e-3:
        ratio = round(ratio)
    return f"{_figures(ratio)} times"


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
            f"from {_figures(low)} to {_figures(high)}"
            if math.isfinite(low) and math.isfinite(high)
            else f"at least {_figures(low)}"
            if math.isfinite(low)
            else f"at most {_figures(high)}"
        )
        raise WrongError(
            f"{what}: found {_figures(found)}, expected {wanted}{why}"
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


def standard_normal(what: str, noise: Tensor, hint: str = "") -> None:
    """Refuse rows (n, k) that are not independent draws from N(0, I).

    Right draws fail about once in a hundred million times.

    Args:
        what: was drawn, for the message; its mean has been subtracted and
            its spread divided out.
        noise: some thousand rows.
        hint: ends the message.

    Raises:
        WrongError: mean, spread, shape or independence is off.

    Example:
        >>> standard_normal("the codes", Draws(0).normal(5000, 2))
        >>> standard_normal("the codes", Draws(0).uniform(5000, 2))
        Traceback (most recent call last):
            ...
        minivae_course.check.WrongError: the codes: their mean is off by \
0.503 standard deviations
    """
    noise = noise.double()
    n, k = noise.shape
    hint = f". {hint}" if hint else ""
    # of a mean, and of a correlation of independent numbers
    slack = 7 / math.sqrt(n)

    def refuse(off: Tensor, allowed: float, text: str) -> None:
        worst = float(off.abs().max())
        message = f"{what}: {text.format(brief(worst))}{hint}"
        require(worst <= allowed, message)

    refuse(noise.mean(0), slack, "their mean is off by {} standard deviations")
    spread = noise.std(0)
    at = int((spread - 1).abs().argmax())
    require(
        abs(float(spread[at]) - 1) <= slack / math.sqrt(2),
        f"{what}: their spread is {brief(float(spread[at]))} times the "
        f"right one{hint}",
    )
    # a mirror image is no new draw either
    distinct = min(len(column.unique()) for column in noise.abs().T)
    require(
        distinct > 0.9 * n,
        f"{what}: some are drawn once and used again, or held at a "
        f"limit{hint}",
    )
    ranked = noise.sort(0).values
    reached = (torch.arange(n).double() + 0.5)[:, None] / n
    refuse(
        torch.special.ndtr(ranked) - reached,
        3.4 / math.sqrt(n),
        "the noise is not normal. Use randn",
    )
    # so large is the largest of n draws, but for once in 10^9 times
    bell = NormalDist()
    low, high = bell.inv_cdf(1 - 10.4 / n), bell.inv_cdf(1 - 5e-10 / n)
    for text, column in zip(map(str, range(1, k + 1)), noise.T):
        far = float(column.abs().max())
        require(
            low <= far <= high,
            f"{what}: the farthest of {n:,} draws of number {text} lies "
            f"{brief(far)} standard deviations away, so the noise is not "
            f"normal{hint}",
        )

    def related(a: Tensor, b: Tensor) -> Tensor:
        return ((a - a.mean(0)) * (b - b.mean(0))).mean(0)

    half = n // 2
    for a, b in (
        (noise[:-1], noise[1:]),
        (noise[:half], noise[half : 2 * half]),
        (noise[:half], noise.flip(0)[:half]),
    ):
        refuse(
            related(a, b),
            slack * math.sqrt(n / len(a)),
            "some rows depend on others: draw each of them anew",
        )
    for shift in range(1, k):
        other = noise.roll(shift, 1)
        text = "the numbers of a row depend on each other: draw all of them"
        refuse(related(noise, other), slack, text)
        # of squares, which vary more: also noise with a common scale
        refuse(related(noise**2, other**2), 6 * slack, text)
