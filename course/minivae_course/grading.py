"""Marks for submitted notebooks, with nbgrader.

nbgrader would run a submission and its checks in one kernel, where the one
can change the other. Here the submission's cells run in a process of their
own, and the checks call its functions from outside.
"""

import time
from pathlib import Path
from typing import Any

from nbconvert.exporters.exporter import ResourcesDict
from nbformat.notebooknode import NotebookNode
from nbformat.v4 import new_output
from nbgrader import utils
from nbgrader.preprocessors import NbGraderPreprocessor
from traitlets import Float

from minivae_course import process
from minivae_course.check import ALL, Verdict

SEEDS = (0, 1, 2, 3)  # of the inputs that are tried


class Grade(NbGraderPreprocessor):
    """Runs a submission apart from its checks and writes the marks.

    In the place of nbgrader's Execute: outputs of the check cells are what
    its next step, SaveAutoGrades, reads.

    Example:
        >>> Grade().cell_seconds, Grade().check_seconds
        (20.0, 60.0)
    """

    cell_seconds = Float(20, help="Seconds that a cell may take").tag(
        config=True
    )
    cells_seconds = Float(90, help="Seconds that all cells may take").tag(
        config=True
    )
    check_seconds = Float(60, help="Most seconds that a check may take").tag(
        config=True
    )

    def preprocess(
        self, nb: NotebookNode, resources: ResourcesDict
    ) -> tuple[NotebookNode, ResourcesDict]:
        """Fill in the outputs; never fails because of a submission."""
        course = Path(resources["nbgrader"]["db_url"].split("///", 1)[-1])
        submission = Submission(nb, closed(course.parent), self)
        try:
            submission.start()
            for cell in nb.cells:
                if utils.is_grade(cell) and cell.cell_type == "code":
                    submission.mark(cell)
        finally:
            submission.close()
        return nb, resources


def closed(course: Path) -> tuple[str, ...]:
    """Folders that submissions must not read: they hold solutions.

    Example:
        >>> Path(closed(Path("course"))[0]).name
        'course'
    """
    project = Path(__file__).resolve().parents[2]
    inside = [project / name for name in ("course", "tests", "book")]
    folders = [course.resolve(), *(one for one in inside if one.is_dir())]
    return tuple(str(one) for one in folders)


class Submission:
    """The cells of one student, and the process that runs them.

    Args:
        nb: the submitted notebook; its outputs are filled in.
        keep_out: folders that its code may not open.
        limits: how long it may take.

    Example:
        >>> from nbformat import v4
        >>> nb = v4.new_notebook(cells=[v4.new_code_cell("x = 1")])
        >>> one = Submission(nb, keep_out=(), limits=Grade())
        >>> len(one.cells), one.seconds, one.worker
        (1, 90.0, None)
    """

    def __init__(
        self, nb: NotebookNode, keep_out: tuple[str, ...], limits: Grade
    ) -> None:
        self.keep_out, self.limits = keep_out, limits
        self.worker: Any = None
        self.cells = [
            cell
            for cell in nb.cells
            if cell.cell_type == "code" and not utils.is_grade(cell)
        ]
        for cell in nb.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        self.seconds = limits.cells_seconds

    def start(self) -> None:
        """Run the cells; one that hangs or ends Python is left out."""
        self.close()
        most = self.limits.cell_seconds
        self.worker = process.Apart(None, most, self.keep_out)
        for cell in list(self.cells):
            began = time.monotonic()
            self.worker.allow(max(1.0, min(most, self.seconds)))
            try:
                done = self.worker.ask({"op": "cell", "source": cell.source})
                error = done.get("error")
                said = str(done.get("printed") or "")
                if error and not isinstance(error, dict):
                    raise process.GoneError("the answer could not be read")
            except process.GoneError as gone:
                error, said = {"kind": "Stopped", "text": str(gone)}, ""
            self.seconds -= time.monotonic() - began
            if error:
                said += f"\n{error.get('kind')}: {error.get('text')}"
            cell.outputs = [_text(said)] if said.strip() else []
            if error and error.get("kind") == "Stopped":
                # once more from the start, without it
                self.cells.remove(cell)
                return self.start()
        return None

    def mark(self, cell: NotebookNode) -> None:
        """Write verdict and points into a check cell."""
        name = cell.metadata.nbgrader["grade_id"].removeprefix("check_")
        points = float(cell.metadata.nbgrader["points"])
        verdict = self.verdict(name)
        score = points if verdict.passed else 0.0
        cell.outputs = [
            _text(str(verdict)),
            new_output("execute_result", {"text/plain": str(score)}),
        ]

    def verdict(self, name: str) -> Verdict:
        """The first verdict that refuses, or the last."""
        if name not in ALL:
            return Verdict(name, False, "minivae has no check of this name")
        check = ALL[name]
        for seed in SEEDS:
            if not self.worker.process.is_alive():
                self.seconds = self.limits.cells_seconds
                self.start()
            self.worker.allow(min(check.seconds, self.limits.check_seconds))
            found = check.judge(self.worker, seed)
            if not found:
                break
        return found

    def close(self) -> None:
        """End the process."""
        if self.worker:
            self.worker.close()
            self.worker = None


def _text(text: str) -> NotebookNode:
    return new_output("stream", name="stdout", text=text.strip() + "\n")
