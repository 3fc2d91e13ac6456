"""Faults that are made to happen for real, counted.

`make faults` runs all of them; `tests/test_faults.py` some of each, and a
careless stand-in for each part of the package, which must not get through.
"""

from minivae_course import process

# Children are forked from one process, be they those of a fault or of a
# student's notebook. Whoever comes first starts it, so that it must have
# loaded what any of them needs: each would take seconds for it.
process.LOADED += ["minivae.__main__", "torchvision.datasets", "tqdm.auto"]
FORK = process._context()
