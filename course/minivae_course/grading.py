"""Marks for submitted notebooks, with nbgrader.

nbgrader would run a submission and its checks in one kernel, where the one
can change the other. Here the submission's cells run in a process of their
own, and the checks call its functions from outside. Before that, `mend`
gives the notebook the cells that nbgrader expects.
"""

import html
import time
from pathlib import Path
from typing import Any

from nbconvert.exporters.exporter import ResourcesDict
from nbformat.notebooknode import NotebookNode
from nbformat.v4 import new_markdown_cell, new_output
from nbgrader import utils
from nbgrader.api import Gradebook
from nbgrader.preprocessors import NbGraderPreprocessor
from traitlets import Float

from minivae_course import process
from minivae_course.check import ALL, Verdict
from minivae_course.mend import (
    Handed,
    bound,
    definitions,
    mend,
    without_stubs,
)

# all cells run here, and most notebooks draw
process.LOADED.append("minivae.figures")
OURS = "minivae"  # where a graded notebook keeps what was done to it


def handed_out(
    book: Gradebook, notebook: str, assignment: str
) -> list[Handed]:
    """The cells that students were given, as the database knows them.

    Args:
        book: the database of the course.
        notebook, assignment: names there.

    Returns:
        All of them, in the order of the notebook.
    """
    found = book.find_notebook(notebook, assignment)
    points = {one.name: one.max_score for one in found.grade_cells}
    solutions = {one.name for one in found.solution_cells}
    return [
        Handed(
            name=one.name,
            kind=one.cell_type,
            source=one.source,
            points=points.get(one.name),
            solution=one.name in solutions,
            checksum=one.checksum,
        )
        for one in found.source_cells
    ]


def remarks_of(nb: NotebookNode) -> list[str]:
    """What grading has to say of a notebook.

    Example:
        >>> from nbformat import v4
        >>> remarks_of(v4.new_notebook())
        []
    """
    ours = nb.metadata.get(OURS)
    found = ours.get("remarks") if isinstance(ours, dict) else None
    return [str(one) for one in found] if isinstance(found, list) else []


def remark(nb: NotebookNode, *texts: str) -> None:
    """Add to what grading has to say of a notebook.

    Args:
        nb: the notebook, which keeps the remarks in its metadata.
        texts: one sentence each.

    Example:
        >>> from nbformat import v4
        >>> nb = v4.new_notebook()
        >>> remark(nb, "one", "two")
        >>> remarks_of(nb)
        ['one', 'two']
    """
    nb.metadata[OURS] = {"remarks": [*remarks_of(nb), *texts]}


class Mend(NbGraderPreprocessor):
    """Gives a submission the cells that were handed out, before all else.

    Example:
        >>> Mend().enabled
        True
    """

    def preprocess(
        self, nb: NotebookNode, resources: ResourcesDict
    ) -> tuple[NotebookNode, ResourcesDict]:
        """Mend it and say so; nothing else of the student's is kept."""
        names = resources["nbgrader"]
        with Gradebook(names["db_url"]) as book:
            cells = handed_out(book, names["notebook"], names["assignment"])
        known = remarks_of(nb)
        nb.metadata.clear()
        remark(nb, *known, *mend(nb, cells))
        nb.nbformat, nb.nbformat_minor = 4, 5  # cells have names
        return nb, resources


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
        remark(nb, *submission.remarks.values())
        if found := remarks_of(nb):
            listed = "\n".join(f"- {html.escape(one)}" for one in found)
            text = f"**What grading found and did**\n\n{listed}"
            nb.cells.insert(0, new_markdown_cell(text))
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
        # number of a cell -> what to say of it
        self.remarks: dict[int, str] = {}
        code = [cell for cell in nb.cells if cell.cell_type == "code"]
        for cell in code:
            cell.outputs, cell.execution_count = [], None
        own = [cell for cell in code if not utils.is_grade(cell)]
        # a copy of what was handed out must not hide an answer
        done = {
            name
            for cell in own
            for name, finished in bound(cell.source).items()
            if finished
        }
        # number of a cell -> the cell, and what of it is run
        self.cells: dict[int, tuple[NotebookNode, str]] = {
            i: (cell, without_stubs(cell.source, done))
            for i, cell in enumerate(nb.cells, 1)
            if cell.cell_type == "code" and not utils.is_grade(cell)
        }
        self.seconds = limits.cells_seconds

    def start(self) -> None:
        """Run the cells; of one that hangs or ends Python what it defines."""
        self.close()
        self.worker = process.Apart(
            None, self.limits.cell_seconds, self.keep_out
        )
        for i, (cell, source) in list(self.cells.items()):
            error, said = self._run(source, utils.is_locked(cell))
            rest = definitions(source)
            stopped = error and error.get("kind") == "Stopped"
            if error:
                said += f"\n{error.get('kind')}: {error.get('text')}"
            if said.strip() and i not in self.remarks:
                cell.outputs = [_text(said)]
            if error and rest.strip() and i not in self.remarks:
                self.remarks[i] = (
                    f"cell {i}: found {error.get('kind')} "
                    f"({str(error.get('text'))[:80]}), expected a cell that "
                    "runs: what it defines counts"
                )
                self.cells[i] = cell, rest
                if not stopped:
                    self._run(rest)
            elif stopped:
                del self.cells[i]
            if stopped:  # once more from the start, without it
                return self.start()
        return None

    def _run(self, source: str, ours: bool = False) -> tuple[dict | None, str]:
        """The error of a cell, if there is one, and what it prints.

        What was handed out, such as the imports, takes none of the
        student's time.
        """
        began = time.monotonic()
        most = max(1.0, min(self.limits.cell_seconds, self.seconds))
        self.worker.allow(process.START if ours else most)
        try:
            done = self.worker.ask({"op": "cell", "source": source})
            error = done.get("error")
            said = str(done.get("printed") or "")
            if error and not isinstance(error, dict):
                raise process.GoneError("the answer could not be read")
        except process.GoneError as gone:
            error, said = {"kind": "Stopped", "text": str(gone)}, ""
        if not ours:
            self.seconds -= time.monotonic() - began
        return error, said

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
        """That of the check, with the same inputs as in a notebook."""
        if name not in ALL:
            return Verdict(name, False, "minivae has no check of this name")
        if not self.worker.process.is_alive():
            self.seconds = self.limits.cells_seconds
            self.start()
        most = self.limits.check_seconds
        return ALL[name].judge_all(self.worker, most=most)

    def close(self) -> None:
        """End the process."""
        if self.worker:
            self.worker.close()
            self.worker = None


def _text(text: str) -> NotebookNode:
    return new_output("stream", name="stdout", text=text.strip() + "\n")
