"""The exercises: whole, up to date, without leaks; stubs fail, solutions pass.

One source, the instructor's notebooks, makes all that students see.
"""

import importlib.util
import json
import re

import pytest
from conftest import ROOT
from nbclient import NotebookClient

from minivae_course import ALL
from minivae_course.check import SEEDS, Check, Draws
from minivae_course.grading import Grade, Submission
from minivae_course.process import Apart

SPEC = importlib.util.spec_from_file_location(
    "exercises", ROOT / "course" / "exercises.py"
)
exercises = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(exercises)
SOURCES = exercises.sources()
CONTENTS = (ROOT / "_toc.yml").read_text()
CHAPTERS = [
    ROOT / "book" / f"{name}.ipynb"
    for name in re.findall(r"- file: book/(\d\d_\w+)$", CONTENTS, re.M)
]
KINDS = {
    "write a function",
    "predict, then run",
    "find the bug",
    "measure and decide",
    "prove with blanks",
    "interpret a figure",
}
LINE = re.compile(r"^(★{1,3})(☆{0,2}) · (\d+) minutes · (.+)$", re.M)
each_notebook = pytest.mark.parametrize("file", SOURCES, ids=lambda f: f.stem)


def run(nb):
    """All cells; what a cell prints in pieces is one output all the same."""
    NotebookClient(
        nb, timeout=1800, kernel_name="python3", coalesce_streams=True
    ).execute()


def number(file):
    """4 of chapter 4; P of the project."""
    return "P" if file.stem == "project" else str(int(file.stem[:2]))


def parts(file):
    return exercises.by_exercise(exercises.read(file))


def facts(cells):
    """Title, stars, minutes and kind of an exercise, from its task."""
    task = cells["task"][0].source
    title = re.match(r"## [\dP]+\.\d+ (.+)\n", task)[1]
    stars, _, minutes, kind = LINE.search(task).groups()
    return title, len(stars), int(minutes), kind


def test_each_chapter_has_a_notebook_and_each_check_an_exercise():
    assert [f.stem for f in SOURCES] == [
        *(f.stem for f in CHAPTERS),
        "project",
    ]
    found = [name for file in SOURCES for name in parts(file)]
    assert sorted(found) == sorted(ALL)
    assert len(found) >= 50
    kinds = [facts(c)[3] for file in SOURCES for c in parts(file).values()]
    assert set(kinds) == KINDS


@each_notebook
def test_an_exercise_has_all_its_parts(file):
    for i, (name, cells) in enumerate(parts(file).items(), 1):
        task = cells["task"][0].source
        assert task.startswith(f"## {number(file)}.{i} ")
        _, stars, minutes, kind = facts(cells)
        assert kind in KINDS and 5 <= minutes <= 60
        assert len(LINE.search(task)[2]) == 3 - stars
        (check,) = cells["check"]
        assert check.metadata.nbgrader.points == stars
        call = f"check_{name}({', '.join(ALL[name].names)})"
        assert exercises.call(cells) == call
        hidden = re.sub(r"\s+", "", check.source.partition("HIDDEN")[2])
        wanted = re.sub(r"\s+", "", f"assert {call[:-1]}, seed=seed)")
        assert wanted in hidden.replace(",)", ")")
        (code,) = cells["code"]
        defined = re.findall(r"^def (\w+)", code.source, re.M)
        # parts of the project need functions of earlier parts too
        wanted = set(ALL[name].names)
        assert set(defined) <= wanted
        assert file.stem == "project" or set(defined) == wanted
        assert code.metadata.nbgrader.solution
        hints = cells["hints"][0].source.count("<summary>Hint")
        assert 2 <= hints <= 4
        assert (kind == "interpret a figure") <= ("answer" in cells)


def test_what_students_see_is_up_to_date():
    for path, text in exercises.written().items():
        assert path.read_text() == text, f"{path.name}: run make exercises"
    known = {p for p in exercises.written() if p.parent == exercises.OUT}
    by_hand = {"index.md", "concept_inventory.md"}
    found = {p for p in exercises.OUT.iterdir() if p.name not in by_hand}
    assert found == known


def solutions(file):
    for cell in exercises.read(file).cells:
        for region in exercises.REGION.findall(cell.source + "\n"):
            yield from (line.strip() for line in region.splitlines())


@each_notebook
def test_no_solution_and_no_hidden_test_reaches_students(file):
    nb = json.loads((exercises.OUT / file.name).read_text())
    text = "\n".join("".join(cell["source"]) for cell in nb["cells"])
    assert not re.search("(BEGIN|END) (SOLUTION|HIDDEN)|assert check_", text)
    marks = [cell["metadata"].get("nbgrader") for cell in nb["cells"]]
    # only the cell that installs has none
    assert marks.count(None) == bool(exercises.install_cell.address())
    own = [
        cell
        for cell in nb["cells"]
        if cell["metadata"].get("nbgrader", {}).get("solution")
    ]
    assert own
    # what given code says too is no secret
    mine = "\n".join("".join(cell["source"]) for cell in own)
    lines = {line for line in solutions(file) if len(line) > 15}
    assert lines
    assert [line for line in lines if line in mine] == []
    for cell in own:
        if cell["cell_type"] == "code":
            assert "raise NotImplementedError" in "".join(cell["source"])
    assert all(not c.get("outputs") for c in nb["cells"])


def runs(worker, nb):
    """Run the cells of a notebook that are no checks."""
    for cell in nb.cells:
        nbgrader = cell.metadata.nbgrader
        if cell.cell_type == "code" and not nbgrader.grade:
            done = worker.ask({"op": "cell", "source": cell.source})
            assert not done.get("error"), (nbgrader.grade_id, done)


def verdicts(worker, names):
    """What the checks say of the answers in a process."""
    for name in names:
        worker.allow(ALL[name].seconds)
        yield name, ALL[name].judge(worker, seed=11)


@each_notebook
def test_stubs_fail_with_a_helpful_message_and_solutions_pass(
    file, monkeypatch
):
    # else the example's data could be handed in as one's own
    monkeypatch.setenv("MINIVAE_WORKED_EXAMPLE", "1")
    solved, names = exercises.read(file), parts(file)
    handed_out = exercises.for_students(exercises.read(file))
    worker = Apart(None, 120)
    try:
        runs(worker, handed_out)
        for name, verdict in verdicts(worker, names):
            assert not verdict.passed, name
            assert re.search(
                "not written yet|no prediction", verdict.message
            ), (name, verdict.message)
        worker.allow(120)
        # given cells do not use what is to be written: they ran
        given = {cell.source for cell in handed_out.cells}
        solved.cells = [c for c in solved.cells if c.source not in given]
        runs(worker, solved)
        for name, verdict in verdicts(worker, names):
            assert verdict.passed, (name, verdict.message)
    finally:
        worker.close()


STARS = {"one star": 1, "two stars": 2, "three stars": 3}


@pytest.mark.parametrize("file", CHAPTERS, ids=lambda f: f.stem)
def test_the_chapter_lists_its_exercises(file):
    cells = json.loads(file.read_text())["cells"]
    texts = ["".join(c["source"]) for c in cells]
    (text,) = [t for t in texts if "\n## Exercises\n" in f"\n{t}"]
    text = text.split("## Exercises\n")[1].split("\n## ")[0]
    listed = re.findall(
        r"^\d+\. \*\*(.+?)\*\* \((\w+ stars?), (\d+) minutes\)", text, re.M
    )
    (source,) = [one for one in SOURCES if one.stem == file.stem]
    wanted = [facts(cells)[:3] for cells in parts(source).values()]
    assert [
        (title, STARS[stars], int(minutes)) for title, stars, minutes in listed
    ] == wanted
    assert f"(exercises/{file.stem[:2]}.md)" in text


def test_the_page_folds_hints_and_solutions():
    for file in SOURCES:
        text = exercises.page(file)
        assert text.count("{dropdown} Solution") == len(parts(file))
        assert "BEGIN SOLUTION" not in text
        outside = re.sub(r"::::.*?\n::::\n", "", text, flags=re.S)
        assert "{dropdown}" not in outside
        for line in solutions(file):
            assert len(line) < 30 or line not in outside.split("```")[0]


def test_a_notebook_in_a_kernel_shows_one_verdict_for_each_check():
    file = SOURCES[3]
    nb = exercises.read(file)
    for cell in nb.cells:
        # as a student would have it: solutions filled in, no hidden tests
        cell.source = exercises.HIDDEN.sub("", cell.source)
    run(nb)
    for name, cells in parts(file).items():
        (cell,) = [
            c
            for c in nb.cells
            if c.metadata.nbgrader.grade_id == f"check_{name}"
        ]
        (output,) = cell.outputs
        assert output.text.startswith(f"\N{HEAVY CHECK MARK} {name}: "), name
        # one verdict, with no line so long that a page would break it
        assert output.text.count(name) == 1
        assert max(map(len, output.text.splitlines())) < 80
        assert cells["check"][0].source != cell.source


DRAWING = [
    file
    for file in SOURCES
    if any(
        "figures." in cell.source
        for cell in exercises.read(file).cells
        if cell.cell_type == "code"
    )
]


@pytest.mark.parametrize("file", DRAWING, ids=lambda f: f.stem)
def test_a_notebook_that_draws_shows_pictures(file, monkeypatch):
    monkeypatch.setenv("MINIVAE_WORKED_EXAMPLE", "1")
    nb = exercises.read(file)
    # the checks draw nothing
    nb.cells = [cell for cell in nb.cells if not is_check(cell)]
    run(nb)
    shown = [
        output.data
        for cell in nb.cells
        for output in cell.get("outputs", ())
        if "data" in output
    ]
    assert any("image/png" in data for data in shown)
    for data in shown:
        is_figure = data.get("text/plain", "").startswith(
            ("<Figure", "Figure")
        )
        assert not is_figure or "image/png" in data


def is_check(cell):
    marks = cell.metadata.nbgrader
    return marks.grade and not marks.solution


def test_marks_cut_no_check_short_that_a_notebook_lets_run():
    longest = max(check.seconds for check in ALL.values())
    assert longest <= Grade().check_seconds


def test_a_check_tries_in_a_notebook_what_the_marks_try(capsys):
    tried = []

    def triple(draws, your_triple):
        tried.append(draws.seed())

    one = Check(triple, seconds=60)
    assert one(lambda x: 3 * x)
    in_a_notebook = tried.copy()
    tried.clear()
    worker = Apart({"your_triple": 3})
    try:
        submission = Submission.__new__(Submission)
        submission.worker, submission.limits = worker, Grade()
        ALL["triple"] = one
        assert submission.verdict("triple")
    finally:
        ALL.pop("triple", None)
        worker.close()
    assert tried == in_a_notebook == [Draws(s).seed() for s in SEEDS]
    tried.clear()
    assert one(3, seed=5)
    assert tried == [Draws(5).seed()]
