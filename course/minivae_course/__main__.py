"""Release an assignment and grade a class, with nbgrader's commands.

    python -m minivae_course release 04_elbo_and_reparameterisation
    python -m minivae_course grade 04_elbo_and_reparameterisation

In a course folder. What students hand in belongs into
`submitted/STUDENT/ASSIGNMENT/`.
"""

import argparse
import csv
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

MARKS = ("student", "score", "of", "remark")
STAGE = "mended"  # folder for what is being graded
FAILED = "nbgrader failed, see its messages above"


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


def grade(
    course: Path, assignment: str, report: Path, everything: bool = False
) -> int:
    """Mark what is new or changed, write feedback for it and one table.

    Args:
        course: its folder.
        assignment: a folder in `source/`.
        report: file for the table, as CSV.
        everything: mark also what was marked before.

    Returns:
        The exit status; 1 if there is nothing to mark.

    Example:
        >>> grade(Path("empty"), "04_elbo", Path("marks.csv"))  # not released
        1
    """
    if not (course / "gradebook.db").exists():
        return _not_released(course, assignment)
    kept = course / f"graded_{assignment}.json"
    # student -> what was submitted, and why it could not be read
    known = {} if everything or not kept.exists() else _json(kept)
    found = _stage(course, assignment, known)
    if found is None:
        return _not_released(course, assignment)
    new = [s for s in sorted(found) if found[s] != known.get(s)]
    print(
        f"{len(new)} of {len(found)} submissions are new or changed"
        + (f": {', '.join(new)}" if new else "")
        + ("; the others keep their marks" if len(new) < len(found) else ""),
        flush=True,
    )
    try:
        if any((course / STAGE).glob("*/*")):
            folder = f"--CourseDirectory.submitted_directory={STAGE}"
            nbgrader(course, "autograde", assignment, "--force", folder)
            for student in new:
                shutil.rmtree(
                    course / "feedback" / student / assignment,
                    ignore_errors=True,
                )
            # only what is missing: feedback for the others stays
            nbgrader(course, "generate_feedback", assignment)
    finally:
        shutil.rmtree(course / STAGE, ignore_errors=True)
    rows, exercises = marks(course, assignment, found)
    # what failed is tried again the next time
    failed = {row["student"] for row in rows if FAILED in row["remark"]}
    done = {s: one for s, one in found.items() if s not in failed}
    kept.write_text(json.dumps(done, indent=1), encoding="utf-8")
    with open(report, "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, [*MARKS, *exercises], restval="")
        table.writeheader()
        table.writerows(rows)
    for row in rows:
        print(*(row[name] for name in MARKS), sep="\t")
    print(f"Marks: {report}")
    return 0 if rows else 1


def _json(file: Path) -> dict:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _stage(course: Path, assignment: str, known: dict) -> dict | None:
    """Copy the readable notebook of each new submission, under its name.

    What students handed in stays as it is.

    Args:
        course: its folder.
        assignment: that is graded.
        known: what was graded before, by student.

    Returns:
        For each student "digest", of all that the marks depend on, and
        "remarks", where there is no notebook to be read; None if the
        assignment was not released.
    """
    import nbformat
    from nbgrader.api import Gradebook, MissingEntry

    from minivae_course.grading import handed_out, remark
    from minivae_course.mend import choose

    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as book:
        try:
            (one,) = book.find_assignment(assignment).notebooks
        except MissingEntry:
            return None
        name = one.name
        cells = handed_out(book, name, assignment)
    stage = course / STAGE
    shutil.rmtree(stage, ignore_errors=True)
    marking = _marking(course, cells)
    found = {}
    for student in sorted((course / "submitted").glob("*/")):
        folder = student / assignment
        beside = sorted(student.glob(f"{assignment}*.ipynb*"))
        if not folder.is_dir() and not beside:
            continue
        inputs = list(folder.rglob("*")) if folder.is_dir() else beside
        digest = _digest(marking, student, inputs)
        graded = course / "autograded" / student.name / assignment
        before = known.get(student.name, {})
        if before.get("digest") == digest and (
            before.get("remarks") or list(graded.glob("*.ipynb"))
        ):
            found[student.name] = before
            continue
        notebook, remarks = choose(
            folder if folder.is_dir() else student,
            f"{name}.ipynb",
            cells,
            None if folder.is_dir() else beside,
        )
        found[student.name] = {"digest": digest, "remarks": []}
        shutil.rmtree(graded, ignore_errors=True)
        if notebook is None:
            found[student.name]["remarks"] = remarks
            continue
        place = stage / student.name / assignment
        place.mkdir(parents=True)
        if folder.is_dir():
            _copy_others(folder, place)
        else:
            remarks.append(
                f"found the notebook in {student.name}/, expected it in "
                f"{student.name}/{assignment}/"
            )
        remark(notebook, *remarks)
        nbformat.write(notebook, place / f"{name}.ipynb")
    return found


def _marking(course: Path, cells: list) -> str:
    """What marks depend on beside a submission: tasks, settings, code."""
    import minivae

    digest = hashlib.sha256(repr(cells).encode())
    files = [course / "nbgrader_config.py"]
    for package in (minivae.__file__, __file__):
        files += sorted(Path(str(package)).parent.rglob("*.py"))
    for file in files:
        digest.update(file.read_bytes() if file.exists() else b"")
    return digest.hexdigest()


def _digest(marking: str, student: Path, files: list[Path]) -> str:
    digest = hashlib.sha256(marking.encode())
    for file in sorted(files):
        if file.is_file() and not file.is_symlink():
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            digest.update(f"{file.relative_to(student)}\0{content}".encode())
    return digest.hexdigest()


def _copy_others(folder: Path, place: Path) -> None:
    """Files that are no notebooks, such as the time of submission."""
    for file in folder.rglob("*"):
        name = file.relative_to(folder)
        if (
            file.is_file()
            and not file.is_symlink()
            and file.resolve().is_relative_to(folder.resolve())
            and ".ipynb" not in file.name
            and ".ipynb_checkpoints" not in name.parts
        ):
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place / name)


def _not_released(course: Path, assignment: str) -> int:
    text = f"{assignment}: not released in {course}; run release first"
    print(text, file=sys.stderr)
    return 1


def marks(
    course: Path, assignment: str, submitted: dict[str, dict]
) -> tuple[list[dict], list[str]]:
    """A row for each submission, and the names of the exercises.

    Args:
        course: its folder.
        assignment: that was graded.
        submitted: the students, each with "remarks" where there is no
            notebook to be read.

    Returns:
        For each student "student", "score" and "of" in points, "remark" and
        points by exercise; and the names of the exercises.
    """
    import nbformat
    from nbgrader.api import Gradebook, MissingEntry

    from minivae_course.grading import remarks_of

    rows = []
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as book:
        wanted = book.find_assignment(assignment)
        exercises = [
            cell.name for one in wanted.notebooks for cell in one.grade_cells
        ]
        for student, one in sorted(submitted.items()):
            row = {"student": student, "of": wanted.max_score, "score": 0.0}
            done = course / "autograded" / student / assignment
            files = sorted(done.glob("*.ipynb"))
            try:
                found = book.find_submission(assignment, student)
            except MissingEntry:
                found = None
            remarks = list(one["remarks"])
            if files and found is not None and not remarks:
                row["score"] = found.score
                row |= {
                    one.name: one.score
                    for notebook in found.notebooks
                    for one in notebook.grades
                }
                if found.needs_manual_grade:
                    remarks.append("mark by hand")
                remarks += remarks_of(nbformat.read(files[0], as_version=4))
            elif not remarks:
                remarks.append(FAILED)
            rows.append(row | {"remark": "; ".join(remarks)})
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
            one.add_argument(
                "--all",
                action="store_true",
                help="also those that have not changed since",
            )
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
    return grade(course, args.assignment, report, args.all)


if __name__ == "__main__":
    sys.exit(main())
