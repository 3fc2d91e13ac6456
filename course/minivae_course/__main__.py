"""Release an assignment and grade a class, with nbgrader's commands.

    python -m minivae_course release 04_elbo_and_reparameterisation
    python -m minivae_course grade 04_elbo_and_reparameterisation

In a course folder. What students hand in belongs into
`submitted/STUDENT/ASSIGNMENT/`.
"""

import argparse
import csv
import os
import subprocess
import sys
from pathlib import Path

MARKS = ("student", "score", "of", "remark")


def nbgrader(course: Path, *words: str) -> bool:
    """Run a command of nbgrader in the course; whether it went well.

    Args:
        course: its folder.
        words: of the command line of nbgrader.

    Returns:
        True if its exit status is 0.
    """
    print("nbgrader", *words, flush=True)
    program = (sys.executable, "-W", "ignore", "-m", "nbgrader")
    done = subprocess.run(  # noqa: S603
        [*program, *words, "--log-level=ERROR"], cwd=course
    )
    return done.returncode == 0


def release(course: Path, assignment: str) -> int:
    """Write the students' version into `release/`.

    Args:
        course: its folder.
        assignment: a folder in `source/`.

    Returns:
        The exit status, 0 if it went well.
    """
    words = ("--create", "--force")
    return int(not nbgrader(course, "generate_assignment", assignment, *words))


def grade(course: Path, assignment: str, report: Path) -> int:
    """Mark all submissions, write feedback for each and one table.

    Args:
        course: its folder.
        assignment: a folder in `source/`.
        report: file for the table, as CSV.

    Returns:
        The exit status; 1 if there is nothing to mark.

    Example:
        >>> grade(Path("empty"), "04_elbo", Path("marks.csv"))  # not released
        1
    """
    if not (course / "gradebook.db").exists():
        return _not_released(course, assignment)
    # a submission that cannot be read is named in the table; others go on
    nbgrader(course, "autograde", assignment, "--force")
    nbgrader(course, "generate_feedback", assignment, "--force")
    rows, exercises = marks(course, assignment)
    with open(report, "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, [*MARKS, *exercises], restval="")
        table.writeheader()
        table.writerows(rows)
    for row in rows:
        print(*(row[name] for name in MARKS), sep="\t")
    print(f"Marks: {report}")
    return 0 if rows else 1


def _not_released(course: Path, assignment: str) -> int:
    text = f"{assignment}: not released in {course}; run release first"
    print(text, file=sys.stderr)
    return 1


def marks(course: Path, assignment: str) -> tuple[list[dict], list[str]]:
    """A row for each submission, and the names of the exercises.

    Args:
        course: its folder.
        assignment: that was graded.

    Returns:
        For each student "student", "score" and "of" in points, "remark" and
        points by exercise; and the names of the exercises.
    """
    from nbgrader.api import Gradebook, MissingEntry

    folders = sorted((course / "submitted").glob(f"*/{assignment}"))
    rows, exercises = [], []
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as book:
        try:
            wanted = book.find_assignment(assignment)
        except MissingEntry:
            _not_released(course, assignment)
            return [], []
        exercises = [
            cell.name for one in wanted.notebooks for cell in one.grade_cells
        ]
        for folder in folders:
            student = folder.parent.name
            row = {"student": student, "of": wanted.max_score}
            done = course / "autograded" / student / assignment
            try:
                found = book.find_submission(assignment, student)
            except MissingEntry:
                found = None
            if found is None or not list(done.glob("*.ipynb")):
                row |= {"score": 0.0, "remark": "no notebook to be read"}
            else:
                scores = {
                    one.name: one.score
                    for notebook in found.notebooks
                    for one in notebook.grades
                }
                by_hand = "mark by hand" if found.needs_manual_grade else ""
                row |= {"score": found.score, "remark": by_hand} | scores
            rows.append(row)
    return rows, exercises


def main(words: list[str] | None = None) -> int:
    """Run one command; the exit status is 0 when it went well.

    Example:
        >>> main(["mark", "04_elbo"])  # there are release and grade
        Traceback (most recent call last):
            ...
        SystemExit: 2
    """
    top = argparse.ArgumentParser(
        prog="python -m minivae_course",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", required=True)
    for name, text in (
        ("release", "write the notebooks for students"),
        ("grade", "mark all submissions"),
    ):
        one = commands.add_parser(name, help=text, description=text)
        one.add_argument("assignment", help="a folder in source/")
        one.add_argument("--course", type=Path, default=Path())
        if name == "grade":
            one.add_argument("--report", type=Path, help="default marks_*.csv")
    args = top.parse_args(words)
    # nbgrader looks for programs of its environment, activated or not
    here = str(Path(sys.executable).parent)
    os.environ["PATH"] = here + os.pathsep + os.environ.get("PATH", "")
    course = args.course.resolve()
    folder = course / "source" / args.assignment
    if not folder.is_dir():
        known = sorted(one.name for one in course.glob("source/*"))
        top.error(
            f"assignment: no folder {folder}; choose one of "
            f"{', '.join(known) or 'those in a course folder (--course)'}"
        )
    if args.command == "release":
        return release(course, args.assignment)
    report = args.report or course / f"marks_{args.assignment}.csv"
    return grade(course, args.assignment, report)


if __name__ == "__main__":
    sys.exit(main())
