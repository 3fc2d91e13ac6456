"""What a chapter needs to be a page: set-up, code shown, numbers in text.

A chapter is stored with its outputs, compared by nbval and shown in two
places, a web page and JupyterLab. What a machine may change (numbers,
pictures) stands in cells of its own, which nbval runs but does not compare;
what must hold on every machine (claims, code) it compares.
"""

import inspect
import re
import textwrap

import torch
from IPython.core.getipython import get_ipython
from IPython.display import display


def setup(seed: int = 0) -> None:
    """Make a chapter reproducible, and its figures small enough to store."""
    torch.manual_seed(seed)
    if get_ipython() is not None:
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("png")


def show(*objects: object) -> None:
    """Display the source of functions or classes of the package."""
    code = "\n\n\n".join(
        textwrap.dedent(inspect.getsource(o)).rstrip() for o in objects
    )
    _publish(code, f"```python\n{code}\n```")


def say(text: str, **numbers: object) -> None:
    """Display a paragraph with numbers that the chapter has computed.

    Args:
        text: Markdown with fields such as {elbo:.1f}.
        numbers: a value for each field.
    """
    # plain text keeps the fields: it is the sentence on every machine
    _publish(re.sub(r"\s+", " ", text).strip(), text.format(**numbers))


def claim(sentence: str, holds: bool, **measured: object) -> None:
    """State a sentence of the text if it holds, and fail if it does not.

    Args:
        sentence: what the chapter says, without numbers.
        holds: whether the measured values bear it out.
        measured: the values, for the message of a failure.

    Raises:
        AssertionError: it does not hold.
    """
    if not holds:
        found = ", ".join(f"{k} = {v!r}" for k, v in measured.items())
        raise AssertionError(f"not true here: {sentence} ({found})")
    print(f"\N{HEAVY CHECK MARK} {sentence}")


def _publish(plain: str, markdown: str) -> None:
    bundle = {"text/plain": plain, "text/markdown": markdown}
    display(bundle, raw=True)
