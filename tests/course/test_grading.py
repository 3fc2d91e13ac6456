"""A class is graded by nbgrader's own commands: every mark as it should be."""

import copy
import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT
from nbformat.v4 import new_output
from nbgrader.validator import Validator
from traitlets.config import Config

sys.path.append(str(ROOT / "book" / "_ext"))
import install_cell

import minivae_course
from minivae_course.__main__ import main
from minivae_course.process import Apart

OURS = Path(minivae_course.__file__).resolve().parent
NAME = "04_elbo_and_reparameterisation"
SOURCE = ROOT / "course" / "source" / NAME / f"{NAME}.ipynb"
CODE = "gaussian_kl_code"
SAYS_99 = {"text/plain": "99"}
LIMITS = """
c.Grade.cell_seconds = 10
c.Grade.cells_seconds = 300
c.Grade.check_seconds = 30
"""


def solved(nb):
    """All solutions filled in."""
    found = nbformat.read(SOURCE, 4).cells
    by_id = {cell.metadata.nbgrader.grade_id: cell.source for cell in found}
    for cell in nb.cells:
        if cell.metadata.nbgrader.solution:
            cell.source = by_id[cell.metadata.nbgrader.grade_id]


def cell(nb, name):
    (found,) = (c for c in nb.cells if c.metadata.nbgrader.grade_id == name)
    return found


def perfect(nb, course):
    solved(nb)


def empty(nb, course):
    pass


def partly_right(nb, course):
    source = nbformat.read(SOURCE, 4)
    cell(nb, CODE).source = cell(source, CODE).source


def raising(nb, course):
    solved(nb)
    cell(nb, CODE).source = "1 / 0"


def loops_in_a_function(nb, course):
    solved(nb)
    cell(nb, CODE).source = (
        "def gaussian_kl(mu, logvar):\n"
        "    while True:\n"
        "        try:\n"
        "            while True: pass\n"
        "        except BaseException: pass\n"
    )


def loops_in_a_cell(nb, course):
    solved(nb)
    cell(nb, CODE).source = "while True: pass"


def prints_without_end(nb, course):
    solved(nb)
    cell(nb, CODE).source = "while True: print('x' * 10_000)"


def kills_its_kernel(nb, course):
    solved(nb)
    cell(nb, CODE).source = "import os\nos._exit(0)"


def kills_what_it_finds(nb, course):
    solved(nb)
    cell(
        nb, CODE
    ).source = (
        "import os\nos.kill(os.getppid(), 9)\nos.killpg(os.getppid(), 9)"
    )


def deletes_the_checks(nb, course):
    solved(nb)
    nb.cells = [c for c in nb.cells if not c.metadata.nbgrader.grade]


def edits_the_checks(nb, course):
    for one in nb.cells:
        if one.metadata.nbgrader.grade:
            one.source = "print('fine')"


def reads_the_solutions(nb, course):
    cell(nb, CODE).source = f"""
import json, os
from pathlib import Path
found = []
for file in [
    Path({str(course)!r}, "source/{NAME}/{NAME}.ipynb"),
    Path({str(SOURCE)!r}),
    Path("../source/{NAME}/{NAME}.ipynb"),
    Path({str(ROOT)!r}, "book/exercises/04.md"),
]:
    try:
        for one in json.loads(file.read_text())["cells"]:
            get_ipython().run_cell("".join(one["source"]))
    except (OSError, ValueError):
        pass
"""


def copies_cells(nb, course):
    solved(nb)
    nb.cells += copy.deepcopy(nb.cells[2:7])


def loses_metadata(nb, course):
    solved(nb)
    for one in nb.cells:
        one.metadata = {}


def merges_cells(nb, course):
    solved(nb)
    texts = [c.source for c in nb.cells[1:] if c.cell_type == "code"]
    nb.cells = nb.cells[:2]
    nb.cells[1].source = "\n\n".join(texts)


def claims_points(nb, course):
    for one in nb.cells:
        if "points" in one.metadata.nbgrader:
            one.metadata.nbgrader |= {"points": 99, "score": 99}
            one.outputs = [new_output("execute_result", SAYS_99)]
    nb.metadata["minivae"] = {"remarks": ["the teacher gave 99 points"]}


def has_an_older_format(nb, course):
    solved(nb)
    nb.nbformat_minor = 2
    for one in nb.cells:
        del one["id"]


def patches_everything(nb, course):
    cell(nb, CODE).source = """
import sys
import torch
import minivae_course as checks
import minivae_course.check as module
import minivae_course.grading as grading
torch.allclose = lambda *a, **k: True
torch.Tensor.abs = lambda *a: torch.zeros(1)
module.equal = lambda *a, **k: None
module.Check.judge = lambda *a, **k: module.Verdict("", True, "")
grading.Grade.preprocess = lambda self, nb, resources: (nb, resources)
checks.check_gaussian_kl = lambda *a, **k: True
def gaussian_kl(mu, logvar):
    return mu.sum(-1)
def reparameterize(mu, logvar):
    return mu
"""


SECOND = "check_reparameterize"
# student -> the exercises that count
CLASS = {
    perfect: {"all"},
    empty: set(),
    partly_right: {"check_gaussian_kl"},
    raising: {"others"},
    loops_in_a_function: {"others"},
    loops_in_a_cell: {"others"},
    prints_without_end: {"others"},
    kills_its_kernel: {"others"},
    kills_what_it_finds: {"others"},
    deletes_the_checks: {"all"},
    edits_the_checks: set(),
    reads_the_solutions: set(),
    patches_everything: set(),
    copies_cells: {"all"},
    loses_metadata: {"all"},
    merges_cells: {"all"},
    claims_points: set(),
    has_an_older_format: {"all"},
}
# how its file is called, where it is not as handed out
FILES = {
    copies_cells: f"{NAME} (1).ipynb",
    loses_metadata: f"unpacked/{NAME}_solved.ipynb",
    has_an_older_format: f"../{NAME}-Copy1.ipynb",
}
BY_HAND = "mark by hand"  # one answer is in words
REMARKS = {
    empty: "",
    perfect: BY_HAND,
    claims_points: "",
    copies_cells: f"found {NAME} (1).ipynb, expected {NAME}.ipynb; "
    "gaussian_kl_code: found 2 cells",
    loses_metadata: "cells without grade_id, expected one in each",
    merges_cells: "found another text in imports, expected what was handed",
    deletes_the_checks: "put back",
    edits_the_checks: "found another text in check_gaussian_kl",
    has_an_older_format: "found the notebook in has_an_older_format/",
}
UNREADABLE = {
    "broken": "cannot be read: 04_elbo_and_reparameterisation.ipynb, it is "
    "not JSON",
    "absent": "no notebook: found an empty folder, expected 04_elbo",
}


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """A course folder after release, submissions and grading."""
    course = tmp_path_factory.mktemp("a course")
    config = (ROOT / "course" / "nbgrader_config.py").read_text()
    (course / "nbgrader_config.py").write_text(config + LIMITS)
    source = course / "source" / NAME
    source.mkdir(parents=True)
    (source / SOURCE.name).write_bytes(SOURCE.read_bytes())
    assert main(["release", NAME, "--course", str(course)]) == 0
    released = nbformat.read(course / "release" / NAME / SOURCE.name, 4)
    for change in CLASS:
        nb = copy.deepcopy(released)
        change(nb, course)
        folder = course / "submitted" / change.__name__ / NAME
        file = folder / FILES.get(change, SOURCE.name)
        if ".." not in file.parts:
            file.parent.mkdir(parents=True)
        else:
            file = folder.parent / file.name
            folder.parent.mkdir(parents=True)
        file.write_text(json.dumps(nb))
    for student, text in {"broken": "{no json", "absent": None}.items():
        folder = course / "submitted" / student / NAME
        folder.mkdir(parents=True)
        if text:
            (folder / SOURCE.name).write_text(text)
    assert main(["grade", NAME, "--course", str(course)]) == 0
    return course


def rows(course):
    with open(course / f"marks_{NAME}.csv") as file:
        return {row["student"]: row for row in csv.DictReader(file)}


def test_the_release_is_what_the_book_hands_out(graded):
    released = graded / "release" / NAME / SOURCE.name
    ours = ROOT / "book" / "exercises" / SOURCE.name
    if not install_cell.address():  # else one more cell installs the package
        assert released.read_bytes() == ours.read_bytes()
    released, ours = nbformat.read(released, 4), nbformat.read(ours, 4)
    ours = [c for c in ours.cells if not install_cell.is_install(c)]
    assert released.cells == ours


@pytest.mark.parametrize("student", CLASS, ids=lambda f: f.__name__)
def test_every_mark_is_as_it_should_be(graded, student):
    row = rows(graded)[student.__name__]
    source = nbformat.read(SOURCE, 4)
    total = 0
    for one in source.cells:
        nbgrader = one.metadata.nbgrader
        if not nbgrader.grade or nbgrader.solution:
            continue
        name = nbgrader.grade_id
        wanted = "all" in CLASS[student] or name in CLASS[student]
        wanted |= "others" in CLASS[student] and name != "check_gaussian_kl"
        points = nbgrader.points if wanted else 0
        assert float(row[name]) == points, name
        total += points
    assert float(row["score"]) == total


def test_the_batch_goes_on_where_there_is_nothing_to_read(graded):
    for student, words in UNREADABLE.items():
        row = rows(graded)[student]
        assert float(row["score"]) == 0
        assert row["remark"].startswith(words)
    assert len(rows(graded)) == len(CLASS) + len(UNREADABLE)


@pytest.mark.parametrize("student", REMARKS, ids=lambda f: f.__name__)
def test_what_was_done_is_remarked(graded, student):
    found = rows(graded)[student.__name__]["remark"]
    assert REMARKS[student] in found
    if REMARKS[student] in ("", BY_HAND):
        assert found == REMARKS[student]
    page = graded / "feedback" / student.__name__ / NAME / f"{NAME}.html"
    done = found not in ("", BY_HAND)
    assert ("What grading found" in page.read_text()) == done


def test_what_was_handed_in_stays_as_it_was(graded):
    for student, name in FILES.items():
        folder = graded / "submitted" / student.__name__
        found = [f for f in folder.rglob("*") if f.is_file()]
        assert [f.name for f in found] == [Path(name).name]
    assert not (graded / "mended").exists()


def test_each_student_gets_feedback_with_the_verdicts(graded):
    folder = graded / "feedback"
    for student in CLASS:
        page = folder / student.__name__ / NAME / f"{NAME}.html"
        text = page.read_text()
        assert "gaussian_kl" in text
    page = folder / "loops_in_a_cell" / NAME / f"{NAME}.html"
    assert "still running after 10 seconds" in page.read_text()
    page = folder / "empty" / NAME / f"{NAME}.html"
    assert "not written yet" in page.read_text()


def test_the_grades_can_be_exported(graded):
    here = Path(sys.executable).parent
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "nbgrader", "export"],
        cwd=graded,
        env=os.environ | {"PATH": f"{here}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    with open(graded / "grades.csv") as file:
        found = {r["student_id"]: r["score"] for r in csv.DictReader(file)}
    for student in CLASS:
        name = student.__name__
        assert float(found[name]) == float(rows(graded)[name]["score"])


def times(course):
    """When each submission was graded."""
    files = (course / "autograded").rglob("*.ipynb")
    return {file.parts[-3]: file.stat().st_mtime_ns for file in files}


def test_grading_again_grades_only_what_changed(graded, tmp_path, capfd):
    course = tmp_path / "course"
    shutil.copytree(graded, course)
    for student in CLASS:
        if student not in (perfect, empty, copies_cells):
            for folder in ("submitted", "autograded"):
                shutil.rmtree(course / folder / student.__name__)
    before, feedback = times(course), course / "feedback" / "perfect"
    pages = feedback / NAME / f"{NAME}.html"
    written = pages.stat().st_mtime_ns
    again = ["grade", NAME, "--course", str(course)]
    assert main(again) == 0
    assert "0 of 5 submissions are new or changed" in capfd.readouterr().out
    assert times(course) == before
    assert rows(course)["perfect"] == rows(graded)["perfect"]
    assert rows(course)["broken"] == rows(graded)["broken"]
    # one hands in what another one has
    file = Path("submitted", "perfect", NAME, f"{NAME}.ipynb")
    other = Path("submitted", "empty", NAME, f"{NAME}.ipynb")
    (course / other).write_bytes((course / file).read_bytes())
    assert main(again) == 0
    said = capfd.readouterr().out
    assert "1 of 5 submissions are new or changed: empty" in said
    after = times(course)
    assert {s for s in after if after[s] != before[s]} == {"empty"}
    assert rows(course)["empty"]["score"] == rows(graded)["perfect"]["score"]
    assert pages.stat().st_mtime_ns == written
    page = (course / "feedback" / "empty" / NAME / f"{NAME}.html").read_text()
    assert "not written yet" not in page
    # other settings, other marks
    config = course / "nbgrader_config.py"
    config.write_text(config.read_text() + "c.Grade.cell_seconds = 11\n")
    assert main(again) == 0
    assert "5 of 5 submissions are new" in capfd.readouterr().out


def test_validate_tells_an_empty_notebook_from_a_solved_one(graded):
    validator = Validator(config=Config({"Execute": {"timeout": 600}}))
    release = graded / "release" / NAME / SOURCE.name
    failed = validator.validate(str(release))["failed"]
    # an answer in words is judged by nobody here
    failed = [one for one in failed if one["source"].startswith("check_")]
    names = [one["source"].split("(")[0] for one in failed]
    source = nbformat.read(SOURCE, 4)
    wanted = [
        c.metadata.nbgrader.grade_id
        for c in source.cells
        if c.metadata.nbgrader.grade and not c.metadata.nbgrader.solution
    ]
    assert names == wanted
    for one in failed:
        # the verdict, and no lines of the package
        assert "not written yet" in one["raw_error"] or (
            "no prediction" in one["raw_error"]
        )
        assert len(one["raw_error"].splitlines()) == 1
    done = graded / "submitted" / "perfect" / NAME / SOURCE.name
    assert validator.validate(str(done)) == {}


def test_a_missing_assignment_is_named(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["grade", "nothing", "--course", str(tmp_path)])
    assert "choose one of" in capsys.readouterr().err
    (tmp_path / "source" / "new").mkdir(parents=True)
    main(["grade", "new", "--course", str(tmp_path)])
    assert "run release first" in capsys.readouterr().err


FENCED = {
    "open({course!r} + '/gradebook.db').read()": False,
    "os.rename('mine', {course!r} + '/gradebook.db')": False,
    "os.listdir({course!r})": False,
    "os.mkdir({course!r} + '/new')": False,
    "os.open(os.path.dirname({course!r}), 0)": False,
    "subprocess.run(['ls'])": False,
    "os.system('ls')": False,
    "socket.getaddrinfo('localhost', 80)": False,
    "socket.create_connection(('127.0.0.1', 9))": False,
    "os.kill(os.getppid(), 9)": False,
    "torch.save(torch.ones(2), 'mine'); os.remove('mine')": True,
    "load_digits('builtin')": True,
    "shutil.rmtree(tempfile.mkdtemp(dir='.'))": True,
    # the checks lie in a folder with solutions, in a checkout
    "import minivae_course.grading": True,
    "open({ours!r} + '/check.py').read()": True,
    "os.listdir({ours!r} + '/../source')": False,
    "open({ours!r} + '/../source/project/project.ipynb').read()": False,
    "open({ours!r} + '/check.py', 'a')": False,
    "os.open({ours!r} + '/check.py', os.O_TRUNC)": False,
    "os.open({ours!r}, 0)": False,
    "os.rename({ours!r} + '/check.py', 'mine')": False,
    # the last one, since it stays there
    "os.chdir({course!r}); open('gradebook.db')": False,
}


@pytest.fixture(scope="module")
def fenced(tmp_path_factory):
    """A process that may not touch a course folder."""
    course = tmp_path_factory.mktemp("closed") / "course"
    course.mkdir()
    (course / "gradebook.db").write_text("marks")
    worker = Apart(None, 120, (str(course), str(OURS.parent)))
    start = (
        "import os, shutil, socket, subprocess, tempfile, torch\n"
        "from minivae import load_digits\nopen('mine', 'w').write('x')"
    )
    assert not worker.ask({"op": "cell", "source": start}).get("error")
    yield worker, str(course)
    worker.close()
    assert (course / "gradebook.db").read_text() == "marks"


@pytest.mark.parametrize("code", FENCED)
def test_a_submission_meets_the_fence_and_its_own_folder_is_open(fenced, code):
    worker, course = fenced
    source = code.format(course=course, ours=str(OURS))
    error = worker.ask({"op": "cell", "source": source}).get("error")
    assert (error is None) == FENCED[code]
    if error:
        assert error["kind"] == "PermissionError"
