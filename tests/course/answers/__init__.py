"""Answers to the exercises: right ones, and typical wrong ones.

Each wrong answer names a part of the diagnosis that its check must give.
"""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """One answer to an exercise.

    Attributes:
        exercise: its name.
        text: what is special about the answer, for a table.
        says: part of the verdict that it must get; "" if it is right.
        objects: the student's objects by name.
    """

    exercise: str
    text: str
    says: str
    objects: dict[str, object]


ANSWERS: list[Answer] = []


def right(exercise: str, text: str) -> Callable:
    """A right answer: a function, or one without arguments that gives all.

    A decorated function whose name is `several` returns a dict of the
    student's objects; any other is itself the student's function.
    """
    return _listed(exercise, text, "")


def wrong(exercise: str, text: str, says: str) -> Callable:
    """As `right`, for an answer that must get a verdict with these words."""
    assert says, "a wrong answer needs the words of its diagnosis"
    return _listed(exercise, text, says)


def _listed(exercise: str, text: str, says: str) -> Callable:
    def keep(made: Callable) -> Callable:
        objects = made() if made.__name__ == "several" else {None: made}
        ANSWERS.append(Answer(exercise, text, says, objects))
        return made

    return keep


def load() -> list[Answer]:
    """All answers of all chapters."""
    # a second call finds the modules imported, and adds nothing
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return ANSWERS
