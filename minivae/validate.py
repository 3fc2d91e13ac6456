"""Clear errors at the border: for options, rows, codes and conditions.

Each message names the argument, what was given, what was expected and what
to do, and is raised before any state changes. What a function returns is the
value as plain Python or PyTorch knows it.
"""

import inspect
import math
import operator
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

# how torch says that a number of bytes is not to be had
NO_MEMORY = ("can't allocate memory", "size calculation overflowed")


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
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise ValueError(f"{what} do not fit in memory; {advice}") from error
    except (RuntimeError, TypeError) as error:
        # torch's own class, so no error of ours with such words in a path
        known = type(error) is RuntimeError and any(
            words in str(error) for words in NO_MEMORY
        )
        huge = type(error) is TypeError and "long long" in str(error)
        if not (known or huge):
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
    if not isinstance(value, str) or value not in known:
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


def network(name: str, module: Any, *arguments: str) -> None:
    """Refuse what cannot be called with these arguments; None is fine.

    Args:
        name: of the module, for the message.
        module: to look at.
        arguments: that its `forward` gets, as the message calls them.

    Raises:
        TypeError: it is no module, or takes fewer or more.

    Example:
        >>> relu = torch.nn.ReLU()
        >>> network("decoder", relu, "z", "y")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        TypeError: decoder: expected forward(z, y), got ReLU.forward...
    """
    kind(name, module, torch.nn.Module, type(None))
    if module is None:
        return
    signature = inspect.signature(module.forward)
    try:
        signature.bind(*arguments)
    except TypeError:
        raise TypeError(
            f"{name}: expected forward({', '.join(arguments)}), got "
            f"{type(module).__name__}.forward{signature}; let it take "
            f"{' and '.join(arguments)}"
        ) from None


def no_options(owner: object, unknown: Iterable[str]) -> None:
    """Refuse options that a model does not have.

    Args:
        owner: that is being built.
        unknown: the names of what was given besides its own.

    Raises:
        TypeError: there is one.

    Example:
        >>> no_options(torch.nn.ReLU(), ["latent"])  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        TypeError: ReLU: no option is called latent; ...
    """
    if names := ", ".join(unknown):
        kind = type(owner).__name__
        raise TypeError(
            f"{kind}: no option is called {names}; help({kind}) lists all"
        )


def function(name: str, value: object, example: str) -> None:
    """Refuse what is no function; None is fine.

    Args:
        name: of the argument, for the message.
        value: to look at. A module has functions, but is none here.
        example: ends the message.

    Raises:
        TypeError: it is something else.

    Example:
        >>> function("on_epoch", 5, example="print")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        TypeError: on_epoch: expected a function, got int; ...
    """
    fine = callable(value) and not isinstance(value, torch.nn.Module)
    if value is not None and not fine:
        raise TypeError(
            f"{name}: expected a function, got {type(value).__name__}; give "
            f"one such as {example}, or leave it out"
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
    """The device of this name, refused if it is not on this machine.

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


def is_number(value: Any) -> bool:
    """Whether it is one number, of Python, NumPy or torch; bool is none.

    Example:
        >>> is_number(np.float32(2)), is_number(torch.tensor(2))
        (True, True)
        >>> is_number(True), is_number(torch.ones(1)), is_number("2")
        (False, False, False)
    """
    if isinstance(value, np.ndarray | np.generic):
        return value.ndim == 0 and value.dtype.kind in "iuf"
    if isinstance(value, Tensor):
        real = value.dtype != torch.bool and not value.is_complex()
        return value.ndim == 0 and real
    return isinstance(value, int | float) and not isinstance(value, bool)


def whole(name: str, value: Any, least: int, example: int) -> int:
    """A whole number of at least `least`, as an int of Python.

    Args:
        name: of the argument, for the message.
        value: to look at; also a scalar of NumPy or torch.
        least: the smallest that is allowed.
        example: ends the message.

    Returns:
        The number.

    Raises:
        ValueError: it is something else.

    Example:
        >>> whole("epochs", np.int64(3), least=1, example=10)
        3
        >>> whole("epochs", 0, least=1, example=10)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        ValueError: epochs: expected a whole number of at least 1, got 0; ...
    """
    try:
        found = operator.index(value) if is_number(value) else least - 1
    except TypeError:
        found = least - 1
    if not least <= found < 2**63:
        raise ValueError(
            f"{name}: expected a whole number of at least {least}, got "
            f"{value!r:.60}; give one such as {example}"
        )
    return found


def sizes(
    name: str, value: Any, example: tuple[int, ...], empty: bool = True
) -> tuple[int, ...]:
    """A tuple of whole numbers of at least 1.

    Args:
        name: of the argument, for the message.
        value: to look at: a tuple, list, array or torch.Size.
        example: ends the message.
        empty: whether there may be none.

    Returns:
        The numbers, as a tuple of ints of Python.

    Raises:
        TypeError: it is no tuple.
        ValueError: one of them is something else, or there is none.

    Example:
        >>> sizes("shape", [3, np.int64(32), 32], example=(1, 28, 28))
        (3, 32, 32)
    """
    if not isinstance(value, tuple | list | np.ndarray):
        raise TypeError(
            f"{name}: expected a tuple of sizes, got {value!r:.60}; give one "
            f"such as {example}"
        )
    if len(value) == 0 and not empty:
        raise ValueError(
            f"{name}: expected at least one size, got none; give some such "
            f"as {example}"
        )
    return tuple(whole(name, n, 1, example[0]) for n in value)


def as_float(value: Any) -> float:
    """A number as a float of Python: infinity where none can hold it.

    Example:
        >>> as_float(10**400)
        inf
    """
    try:
        return float(value)
    except OverflowError:
        return math.inf


def number(name: str, value: Any, example: float, zero: bool = False) -> float:
    """A positive, finite number (or 0, if allowed), as a float of Python.

    Args:
        name: of the argument, for the message.
        value: to look at; also a scalar of NumPy or torch.
        example: ends the message.
        zero: whether 0 is allowed.

    Returns:
        The number.

    Raises:
        ValueError: it is something else.

    Example:
        >>> number("beta", torch.tensor(0.5), example=1.0)
        0.5
        >>> number("lr", -0.1, example=0.002)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        ValueError: lr: expected a positive number, got -0.1; ...
    """
    found = as_float(value) if is_number(value) else math.nan
    if not (0 <= found < math.inf and (found > 0 or zero)):
        raise ValueError(
            f"{name}: expected a positive{' or zero' * zero} number, got "
            f"{value!r:.60}; give one such as {example:g}"
        )
    return found


def probability(name: str, value: Any) -> float:
    """A probability, as a float of Python.

    Args:
        name: of the argument, for the message.
        value: to look at.

    Returns:
        The number.

    Raises:
        ValueError: it is something else.

    Example:
        >>> probability("decay", 1.5)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        ValueError: decay: expected a probability from 0 to 1, got 1.5; ...
    """
    found = number(name, value, 0.5, zero=True)
    if found > 1:
        raise ValueError(
            f"{name}: expected a probability from 0 to 1, got {value!r}; "
            "give one such as 0.5"
        )
    return found


def tensor(name: str, value: object, shape: str) -> None:
    """Refuse what is not a tensor.

    Args:
        name: of the argument, for the message.
        value: to look at.
        shape: that it should have, for the message.

    Raises:
        TypeError: it is something else.

    Example:
        >>> tensor("z", [0.0, 1.0], shape="(N, 2)")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        TypeError: z: expected a torch tensor (N, 2), got list; ...
    """
    if not isinstance(value, Tensor):
        raise TypeError(
            f"{name}: expected a torch tensor {shape}, got "
            f"{type(value).__name__}; convert it with torch.as_tensor"
        )


def rows(
    name: str,
    value: Any,
    shape: tuple[int, ...],
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Rows of this shape, (..., *shape).

    Rows may also come flat, grey pictures without their channel, and
    pictures (N, C, H, W) where the shape is flat.

    Args:
        name: of the argument, for the message.
        value: to look at.
        shape: of one row.
        dtype: that of the weights that will meet the values; floats of
            another size are converted.

    Returns:
        The rows in this shape; their values are not looked at.

    Raises:
        TypeError: it is no tensor.
        ValueError: another shape, or no floats.

    Example:
        >>> rows("x", torch.zeros(3, 784), (1, 28, 28)).shape
        torch.Size([3, 1, 28, 28])
        >>> rows("x", torch.zeros(3, 32, 8), (1, 28, 28))
        ... # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        ValueError: x: expected shape (N, 1, 28, 28), one row for each ...
    """
    wanted = ", ".join(map(str, ("N", *shape)))
    tensor(name, value, f"({wanted})")
    found = tuple(value.shape)
    # flat rows, or pictures (N, C, H, W) for a model of flat rows
    flat = value.ndim == 2 or (value.ndim == 4 and len(shape) == 1)
    flat = flat and math.prod(found[1:]) == math.prod(shape)
    grey = value.ndim == 3 and (1, *found[1:]) == shape
    if value.ndim > len(shape) and found[-len(shape) :] == shape:
        pass
    elif flat or grey:
        value = value.reshape(-1, *shape)
    else:
        raise ValueError(
            f"{name}: expected shape ({wanted}), one row for each in the "
            f"batch, got {found}; use [None] on a single row, or build the "
            "model with the shape of your rows"
        )
    if not value.is_floating_point():
        raise ValueError(
            f"{name}: expected {dtype}, as the weights are, got "
            f"{value.dtype}; convert with .to({dtype}), and divide uint8 "
            "pixels by 255"
        )
    return value.to(dtype)


def finite(
    name: str, value: Tensor, support: tuple[float, float] | None = None
) -> None:
    """Refuse values that are not finite or out of a range.

    Only on the CPU: a GPU would have to be waited for. And not what has a
    gradient: in training that is no input, and its loss will tell.

    Args:
        name: of the argument, for the message.
        value: to look at.
        support: lowest and highest value that are allowed.

    Raises:
        ValueError: there is such a value.

    Example:
        >>> finite("x", torch.tensor([0.5, 300.0]), support=(0, 1))
        ... # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        ValueError: x: expected values in [0, 1], got 0.5 to 300; ...
    """
    if not _can_look(value):
        return
    low, high = (v.item() for v in torch.aminmax(value))
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(
            f"{name}: expected finite values, got NaN or infinity; find the "
            f"rows with ~{name}.isfinite().flatten(1).all(1)"
        )
    if support is not None and not support[0] <= low <= high <= support[1]:
        raise ValueError(
            f"{name}: expected values in [{support[0]:g}, {support[1]:g}], "
            f"got {low:g} to {high:g}; divide pixels of 0 to 255 by 255, and "
            'choose likelihood="gaussian" for values of any range'
        )


def is_finite(value: Tensor) -> bool:
    """Whether all values are finite, as far as one may look; see `finite`.

    Example:
        >>> is_finite(torch.tensor([0.0, torch.inf]))
        False
    """
    return not _can_look(value) or bool(value.isfinite().all())


def labels(value: Any, n_rows: int, n_classes: int) -> Tensor:
    """One class for each row: int64, (n_rows,).

    Args:
        value: to look at.
        n_rows: B.
        n_classes: labels are 0 to n_classes - 1.

    Returns:
        The labels. As in `finite`, values are looked at on the CPU alone.

    Raises:
        TypeError: it is no tensor.
        ValueError: it is missing, of another shape or type, or out of range.

    Example:
        >>> labels(torch.tensor([3, 12]), 2, 10)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        ValueError: y: expected labels from 0 to 9, got 3 to 12; ...
    """
    if value is None:
        raise ValueError(
            f"y: this model needs a label from 0 to {n_classes - 1} for each "
            "row, got none; pass y, an int64 tensor (B,)"
        )
    tensor("y", value, f"({n_rows},) of int64")
    if value.dtype != torch.int64 or value.shape != (n_rows,):
        raise ValueError(
            f"y: expected int64 ({n_rows},), one label for each row, got "
            f"{value.dtype} {tuple(value.shape)}; convert with .long() and "
            "give one label a row"
        )
    if _can_look(value):
        low, high = (v.item() for v in torch.aminmax(value))
        if low < 0 or high >= n_classes:
            raise ValueError(
                f"y: expected labels from 0 to {n_classes - 1}, got {low} to "
                f"{high}; correct the labels or raise n_classes"
            )
    return value


def from_zero(name: str, value: Tensor) -> None:
    """Refuse labels below 0; as in `finite`, looked at on the CPU alone.

    Args:
        name: of the argument, for the message.
        value: labels, of any number of classes.

    Raises:
        ValueError: there is such a label.

    Example:
        >>> from_zero("labels", torch.tensor([3, -1]))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        ValueError: labels: expected numbers from 0 on, got -1; remove ...
    """
    if _can_look(value) and (low := value.min().item()) < 0:
        raise ValueError(
            f"{name}: expected numbers from 0 on, got {low}; remove or "
            "renumber the others"
        )


def _can_look(value: Tensor) -> bool:
    # only where that costs nothing: not on a GPU, not while compiling
    return (
        type(value) is Tensor
        and not value.requires_grad
        and value.device.type == "cpu"
        and value.numel() > 0
        and not torch.compiler.is_compiling()
    )


def conditions(value: Any, n_rows: int, sizes: tuple[int, ...]) -> Tensor:
    """A row of conditions for each row: (n_rows, C).

    Args:
        value: to look at; NaN stands for a condition that is withheld.
        n_rows: B.
        sizes: for each condition the number of classes, or 1 for a number.

    Returns:
        The conditions. As in `finite`, looked at on the CPU alone.

    Raises:
        TypeError: it is no tensor.
        ValueError: another shape or type, infinite, or no class of its kind.

    Example:
        >>> y = torch.tensor([[5.0, torch.nan], [torch.nan, -0.3]])
        >>> conditions(y, n_rows=2, sizes=(10, 1)).shape
        torch.Size([2, 2])
    """
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
    if not _can_look(value):
        return value
    if value.isinf().any():
        raise ValueError(
            "y: expected finite conditions, got infinity; correct it, where "
            "NaN stands for one that is withheld"
        )
    for i, n in enumerate(sizes):
        given = value[:, i][~value[:, i].isnan()]
        wrong = (given != given.round()) | (given < 0) | (given >= n)
        if n > 1 and wrong.any():
            raise ValueError(
                f"y: expected condition {i} to be a class from 0 to {n - 1}, "
                f"got {given.min():g} to {given.max():g}; correct it, or "
                "declare it as a number with 1 in conditions"
            )
    return value
