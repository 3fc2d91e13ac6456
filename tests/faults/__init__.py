"""Faults that are made to happen for real, counted.

`make faults` runs all of them; `tests/test_faults.py` some of each, and a
careless stand-in for each part of the package, which must not get through.
"""
