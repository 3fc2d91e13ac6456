"""Checks for the exercises: one line tells whether an answer is right.

`check_gaussian_kl(your_function)` runs your function in a process of its
own, compares it with what must hold, and names the likely mistake. There is
one such function for each exercise, listed in `ALL`. Feedback is no
security: who wants to deceive the check deceives himself.
"""

import importlib
import pkgutil

from IPython.core.getipython import get_ipython

from minivae_course import process
from minivae_course.check import ALL, Check, Verdict

__all__ = ["ALL", "Check", "Verdict"]

for _module in pkgutil.iter_modules(__path__):
    if _module.name.startswith(("chapter_", "project")):
        importlib.import_module(f"minivae_course.{_module.name}")
# check_gaussian_kl and so on
globals().update({one.__name__: one for one in ALL.values()})
if get_ipython() is not None:
    process.warm()  # the first check of a notebook shall not wait
