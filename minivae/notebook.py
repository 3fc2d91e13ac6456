"""What a chapter needs to be a page: set-up, code shown, numbers in text.

A chapter is stored with its outputs, compared by nbval and shown in two
places, a web page and JupyterLab. What a machine may change (numbers,
pictures) stands in cells of its own, which nbval runs but does not compare;
what must hold on every machine (claims, code) it compares.
"""

import ast
import inspect
import linecache
import math
import re
import textwrap
from typing import Any

import numpy as np
import torch
from IPython.display import display
from torch import Tensor

# what each claim of this chapter measured, for the appendix that lists them
measurements: list[dict] = []


def setup(seed: int = 0) -> None:
    """Make a chapter reproducible.

    Args:
        seed: of torch's global generator.

    Example:
        >>> setup(3)
        >>> first = torch.rand(2)
        >>> setup(3)
        >>> torch.equal(first, torch.rand(2))
        True
    """
    torch.manual_seed(seed)
    measurements.clear()


def show(*objects: Any) -> None:
    """Display the source of functions or classes of the package.

    The examples of docstrings are left out: the API reference has them.

    Args:
        objects: functions, methods or classes.

    Example:
        >>> show(brief)  # doctest: +ELLIPSIS
        {'text/plain': 'def brief(value: object, ...
    """
    code = "\n\n\n".join(
        _without_examples(textwrap.dedent(inspect.getsource(o)).rstrip())
        for o in objects
    )
    _publish(code, f"```python\n{code}\n```")


def _without_examples(source: str) -> str:
    """Source whose docstrings end before the section with an example."""
    lines = source.split("\n")
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    docs = [
        node.body[0]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, kinds) and ast.get_docstring(node) is not None
    ]
    # from the end, so that the places of those before it still hold
    for doc in sorted(docs, key=lambda d: d.lineno, reverse=True):
        place = slice(doc.lineno - 1, doc.end_lineno)
        *text, quotes = lines[place]
        title = f"\n\n{' ' * doc.col_offset}Example:\n"
        kept, found, _ = "\n".join(text).partition(title)
        if found and "\n" not in kept:  # one line closes itself
            lines[place] = [kept + quotes.strip()]
        elif found:
            lines[place] = [*kept.split("\n"), quotes]
    return "\n".join(lines)


def say(text: str, **numbers: object) -> None:
    """Display a paragraph with numbers that the chapter has computed.

    Args:
        text: Markdown with fields such as {elbo:.1f}.
        numbers: a value for each field.

    Example:
        >>> say("It is {x:.1f}.", x=0.5)  # a notebook shows: It is 0.5.
        {'text/plain': 'It is {x:.1f}.', 'text/markdown': 'It is 0.5.'}
    """
    # plain text keeps the fields: it is the sentence on every machine
    _publish(re.sub(r"\s+", " ", text).strip(), text.format(**numbers))


def claim(sentence: str, holds: bool, **measured: object) -> None:
    """State a sentence of the text if it holds, and fail if it does not.

    A notebook shows the measured values and the condition below it.

    Args:
        sentence: what the chapter says, without numbers.
        holds: whether the measured values bear it out.
        measured: the values; shortened copies go to `measurements`.

    Raises:
        AssertionError: it does not hold.

    Example:
        >>> claim("It is small.", 2 < 3, it=2)  # doctest: +ELLIPSIS
        {'text/plain': '✔ It is small.', ...
    """
    if not holds:
        found = ", ".join(f"{k} = {v!r}" for k, v in measured.items())
        raise AssertionError(f"not true here: {sentence} ({found})")
    values = {name: brief(value) for name, value in measured.items()}
    measurements.append({"sentence": sentence, "measured": values})
    found = ", ".join(f"`{name} = {value}`" for name, value in values.items())
    ticked = f"\N{HEAVY CHECK MARK} {sentence}"
    below = f"Measured: {found}. Asked: {_condition()}."
    _publish(ticked, f"{ticked}<br><small>{below}</small>")


def _condition() -> str:
    """The condition of the claim that is being made, as it is written."""
    here: Any = inspect.currentframe()
    info: Any = inspect.getframeinfo(here.f_back.f_back)
    source = "".join(linecache.getlines(info.filename))
    at = info.positions.lineno, info.positions.col_offset
    nodes = ast.walk(ast.parse(source))
    for call in (node for node in nodes if isinstance(node, ast.Call)):
        if (call.lineno, call.col_offset) == at and len(call.args) == 2:
            asked = ast.get_source_segment(source, call.args[1])
            return f"`{brief(asked, 300)}`"
    return "what the cell says"


def brief(value: object, width: int = 80) -> str:
    """A value in at most about 80 characters, three digits of each number.

    Args:
        value: number, tensor, array, or lists and dicts of these.
        width: characters; what does not fit becomes an ellipsis.

    Returns:
        A text; of more than 12 values only size, least and largest.

    Example:
        >>> brief(1234.5), brief([1 / 3, 2 / 3]), brief(torch.zeros(100))
        ('1,234', '[0.333, 0.667]', '100 values from 0 to 0')
    """
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray | np.generic):
        if value.size > 12:
            size = " x ".join(f"{n:,}" for n in value.shape)
            low, high = brief(value.min()), brief(value.max())
            return f"{size} values from {low} to {high}"
        value = value.tolist()
    if isinstance(value, float):
        if value == 0 or not 1e-3 <= abs(value) < 1e6:
            return f"{value:.3g}"
        # 1,234 and 12.3 and 0.00123: no exponents, no digits without sense
        digits = max(0, 2 - math.floor(math.log10(abs(value))))
        return f"{value:,.{digits}f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, dict):
        parts = [f"{_name(k)}: {brief(v)}" for k, v in value.items()]
        return _fitting(parts, "{}", width)
    if isinstance(value, list | tuple):
        return _fitting([brief(v) for v in value], "[]", width)
    return textwrap.shorten(
        str(value), width, placeholder="\N{HORIZONTAL ELLIPSIS}"
    )


def _name(key: object) -> str:
    return ", ".join(map(str, key)) if isinstance(key, tuple) else str(key)


def _fitting(parts: list[str], brackets: str, width: int) -> str:
    """As many of the parts as fit."""
    kept = ", ".join(parts)
    while len(kept) > width - 2 and parts:
        parts = parts[:-1]
        kept = ", ".join([*parts, "\N{HORIZONTAL ELLIPSIS}"])
    return f"{brackets[0]}{kept}{brackets[1]}"


def _publish(plain: str, markdown: str) -> None:
    bundle = {"text/plain": plain, "text/markdown": markdown}
    display(bundle, raw=True)
