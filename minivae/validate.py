"""Clear errors at the border: for options, pixels, codes and labels.

Each message names the argument, what was given, what was expected and what
to do, and is raised before any state changes.
"""

import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

_trusting = False


@contextmanager
def trusted() -> Iterator[None]:
    """Skip the checks of tensors while data that passed them are in use.

    To look at values costs a little on a CPU and stalls a GPU.

    Example:
        >>> with trusted():
        ...     rows("x", "no tensor", 784)  # is not looked at
    """
    global _trusting
    before, _trusting = _trusting, True
    try:
        yield
    finally:
        _trusting = before


@contextmanager
def memory(what: str, advice: str) -> Iterator[None]:
    """Explain an allocation that fails inside.

    Args:
        what: does not fit.
        advice: what to do, with a value to try.

    Raises:
        ValueError: it failed.

    Example:
        >>> with memory("n: 10,000,000 digits", "draw fewer"):
        ...     raise MemoryError
        Traceback (most recent call last):
            ...
        ValueError: n: 10,000,000 digits do not fit in memory; draw fewer
    """
    try:
        yield
    except (MemoryError, RuntimeError, TypeError) as error:
        words = ("alloc", "size calculation overflowed", "long long")
        if not isinstance(
            error, MemoryError | torch.OutOfMemoryError
        ) and not any(word in str(error) for word in words):
            raise
        raise ValueError(f"{what} do not fit in memory; {advice}") from error


def choice(name: str, value: object, known: tuple[str, ...]) -> None:
    """Refuse a word that is not one of the known ones.

    Args:
        name: of the argument, for the message.
        value: to look at.
        known: the words that are allowed.

    Raises:
        ValueError: it is something else.

    Example:
        >>> choice("split", "both", ("train", "test"))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        ValueError: split: expected one of train, test, got 'both'; ...
    """
    if value not in known:
        raise ValueError(
            f"{name}: expected one of {', '.join(known)}, got {value!r:.60}; "
            "choose one of these"
        )


def kind(name: str, value: object, *kinds: type) -> None:
    """Refuse what is not an instance of one of these classes.

    Args:
        name: of the argument, for the message.
        value: to look at.
        kinds: the classes.

    Raises:
        TypeError: it is something else.

    Example:
        >>> kind("model", "vae.pt", torch.nn.Module)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        TypeError: model: expected ...
    """
    if not isinstance(value, kinds):
        wanted = " or ".join(k.__name__ for k in kinds)
        raise TypeError(
            f"{name}: expected {wanted}, got {type(value).__name__}; pass the "
            "object itself"
        )


def path(name: str, value: object, example: str) -> None:
    """Refuse what cannot name a file or a folder.

    Args:
        name: of the argument, for the message.
        value: to look at.
        example: ends the message.

    Raises:
        ValueError: it is something else.

    Example:
        >>> path("checkpoint", "vae.pt", example="vae.pt")
        >>> path("checkpoint", "", example="vae.pt")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        ValueError: checkpoint: expected a path, got ''; ...
    """
    text = str(value) if isinstance(value, str | os.PathLike) else ""
    if not text or "\0" in text:
        raise ValueError(
            f"{name}: expected a path, got {value!r:.60}; give one such as "
            f"{example}"
        )


def device(value: str | torch.device) -> torch.device:
    """Refuse a device that is unknown or not on this machine.

    Raises:
        ValueError: it is something else.

    Example:
        >>> device("cpu")
        device(type='cpu')
    """
    try:
        found = torch.device(value)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ValueError(
            f"device: {value!r:.60} is not usable here "
            f"({str(error).splitlines()[0]:.120}); choose cpu, or another one"
        ) from error
    return found


def whole(name: str, value: object, least: int, example: int) -> None:
    """Refuse what is not a whole number of at least `least`.

    Args:
        name: of the argument, for the message.
        value: to look at.
        least: the smallest that is allowed.
        example: ends the message.

    Raises:
        ValueError: it is something else.

    Example:
        >>> whole("epochs", 0, least=1, example=10)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        ValueError: epochs: expected a whole number of at least 1, got 0; ...
    """
    if type(value) is not int or not least <= value < 2**63:
        raise ValueError(
            f"{name}: expected a whole number of at least {least}, got "
            f"{value!r:.60}; give one such as {example}"
        )


def number(
    name: str, value: object, example: float, zero: bool = False
) -> None:
    """Refuse what is not a positive, finite number (or 0, if allowed).

    Args:
        name: of the argument, for the message.
        value: to look at.
        example: ends the message.
        zero: whether 0 is allowed.

    Raises:
        ValueError: it is something else.

    Example:
        >>> number("beta", 0.0, example=1.0, zero=True)
        >>> number("lr", -0.1, example=0.002)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        ValueError: lr: expected a positive number, got -0.1; ...
    """
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not 0 <= value <= sys.float_info.max
        or (value == 0 and not zero)
    ):
        raise ValueError(
            f"{name}: expected a positive{' or zero' * zero} number, got "
            f"{value!r:.60}; give one such as {example:g}"
        )


def share(name: str, value: Any) -> None:
    """Refuse what is not a probability.

    Args:
        name: of the argument, for the message.
        value: to look at.

    Raises:
        ValueError: it is something else.

    Example:
        >>> share("withhold", 1.5)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        ValueError: withhold: expected a probability from 0 to 1, got 1.5; ...
    """
    number(name, value, 0.5, zero=True)
    if value > 1:
        raise ValueError(
            f"{name}: expected a probability from 0 to 1, got {value!r}; "
            "give one such as 0.5"
        )


def rows(
    name: str,
    value: object,
    width: int,
    dtype: torch.dtype = torch.float32,
    unit: bool = False,
) -> None:
    """Refuse what is not a floating-point tensor (..., width).

    Args:
        name: of the argument, for the message.
        value: to look at.
        width: size that the last dimension must have.
        dtype: that of the weights that will meet the values.
        unit: whether the values must lie in [0, 1].

    Raises:
        TypeError: it is no tensor.
        ValueError: another shape or type, not finite, or out of [0, 1].

    Example:
        >>> rows("x", torch.zeros(3, 28, 28), 784)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        ValueError: x: expected shape (..., 784) with one row for each ...
    """
    if _trusting or torch.compiler.is_compiling():
        return
    if not isinstance(value, Tensor):
        raise TypeError(
            f"{name}: expected a torch tensor (..., {width}), got "
            f"{type(value).__name__}; convert it with torch.as_tensor"
        )
    if value.ndim < 2 or value.shape[-1] != width:
        raise ValueError(
            f"{name}: expected shape (..., {width}) with one row for each "
            f"digit, got {tuple(value.shape)}; use flatten(1) on images and "
            "[None] on a single row"
        )
    if value.dtype != dtype:
        raise ValueError(
            f"{name}: expected {dtype}, as the weights are, got "
            f"{value.dtype}; convert with .to({dtype}), and divide uint8 "
            "pixels by 255"
        )
    if not value.numel():
        return
    low, high = (v.item() for v in torch.aminmax(value.detach()))
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(
            f"{name}: expected finite values, got NaN or infinity; find the "
            f"rows with ~{name}.isfinite().all(-1)"
        )
    if unit and (low < 0 or high > 1):
        raise ValueError(
            f"{name}: expected values in [0, 1], got {low:g} to {high:g}; "
            "divide pixels of 0 to 255 by 255, and do not standardise"
        )


def labels(value: object, n_rows: int, n_classes: int) -> None:
    """Refuse what is not one class for each row: int64, (n_rows,).

    Args:
        value: to look at.
        n_rows: B.
        n_classes: labels are 0 to n_classes - 1.

    Raises:
        TypeError: it is no tensor.
        ValueError: it is missing, of another shape or type, or out of range.

    Example:
        >>> labels(torch.tensor([3, 12]), 2, 10)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        ValueError: y: expected labels from 0 to 9, got 3 to 12; ...
    """
    if _trusting or torch.compiler.is_compiling():
        return
    if value is None:
        raise ValueError(
            f"y: this model needs a label from 0 to {n_classes - 1} for each "
            "digit, got none; pass y, an int64 tensor (B,)"
        )
    if not isinstance(value, Tensor):
        raise TypeError(
            f"y: expected an int64 tensor ({n_rows},), got "
            f"{type(value).__name__}; convert it with torch.as_tensor"
        )
    if value.dtype != torch.int64 or value.shape != (n_rows,):
        raise ValueError(
            f"y: expected int64 ({n_rows},), one label for each digit, got "
            f"{value.dtype} {tuple(value.shape)}; convert with .long() and "
            "give one label a row"
        )
    if not n_rows:
        return
    low, high = (v.item() for v in torch.aminmax(value))
    if low < 0 or high >= n_classes:
        raise ValueError(
            f"y: expected labels from 0 to {n_classes - 1}, got {low} to "
            f"{high}; correct the labels or raise n_classes"
        )


def conditions(value: object, n_rows: int, sizes: tuple[int, ...]) -> None:
    """Refuse what is not a row of conditions for each row: (n_rows, C).

    Args:
        value: to look at; NaN stands for a condition that is withheld.
        n_rows: B.
        sizes: for each condition the number of classes, or 1 for a number.

    Raises:
        TypeError: it is no tensor.
        ValueError: another shape or type, infinite, or no class of its kind.

    Example:
        >>> y = torch.tensor([[5.0, torch.nan], [torch.nan, -0.3]])
        >>> conditions(y, n_rows=2, sizes=(10, 1))  # nothing to refuse
    """
    if _trusting or torch.compiler.is_compiling():
        return
    if not isinstance(value, Tensor):
        raise TypeError(
            f"y: this model needs {len(sizes)} conditions for each row, got "
            f"{type(value).__name__}; pass a float32 tensor (B, "
            f"{len(sizes)}), NaN where a condition is withheld"
        )
    wanted = (n_rows, len(sizes))
    if not value.is_floating_point() or value.shape != wanted:
        raise ValueError(
            f"y: expected float32 {wanted}, one column for each condition, "
            f"got {value.dtype} {tuple(value.shape)}; stack the conditions "
            "with torch.stack(..., 1).float(), NaN where one is withheld"
        )
    if value.isinf().any():
        raise ValueError(
            "y: expected finite conditions, got infinity; correct it, where "
            "NaN stands for one that is withheld"
        )
    for i, n in enumerate(sizes):
        given = value[:, i][~value[:, i].isnan()]
        if n == 1 or not len(given):
            continue
        if (
            (given != given.round()).any()
            or given.min() < 0
            or given.max() >= n
        ):
            raise ValueError(
                f"y: expected condition {i} to be a class from 0 to {n - 1}, "
                f"got {given.min():g} to {given.max():g}; correct it, or "
                "declare it as a number with 1 in conditions"
            )
