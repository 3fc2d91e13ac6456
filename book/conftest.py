"""Chapters as tests: patient with a busy machine, and with their times told.

A chapter's seconds are reported, not failed, since machines differ.
"""

import os
from collections import defaultdict

LIMIT = 60  # seconds on two cores
# nbval reads the messages of a cell when the cell is done, and a socket keeps
# a thousand of them. Progress bars that move ten times a second fill it in a
# minute or two, and then the message that the cell is done is lost.
os.environ.setdefault("TQDM_MININTERVAL", "10")


def pytest_collection_modifyitems(items):
    """Give an output a minute to arrive; nbval alone gives it 5 s.

    And compare the plain text alone: what a page shows instead of it holds
    measured values too.
    """
    for item in items:
        item.output_timeout = 60
    for file in {item.parent for item in items}:
        file.skip_compare = (*file.skip_compare, "text/markdown")


def pytest_terminal_summary(terminalreporter):
    """Add a line for each chapter to the end of an nbval run."""
    seconds = defaultdict(float)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if ".ipynb::" in getattr(report, "nodeid", ""):
                seconds[report.nodeid.split("::")[0]] += report.duration
    for chapter, total in sorted(seconds.items()):
        note = f" (more than {LIMIT} s)" if total > LIMIT else ""
        terminalreporter.write_line(f"{chapter}: {total:.0f} s{note}")
