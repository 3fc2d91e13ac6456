"""No slip of a student takes marks: what can be read counts, with a remark."""

import json
import re
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT
from nbformat.v4 import new_code_cell, new_markdown_cell

from minivae_course import mend
from minivae_course.grading import Grade, Submission

SOURCE = ROOT / "course" / "source"
NAME = "05_a_map_of_digits"
STUB = "raise NotImplementedError"
CODE = "vae_loss_code"
CHECK = "check_vae_loss"
WORDS = "dead_code_answer"
LONG = "The dead code says nothing, because its KL is zero in every row."


def regions(source, kept):
    """A source with its solutions, or without them."""
    found = re.compile(
        r"( *)### BEGIN SOLUTION\n(.*?)^ *### END SOLUTION\n?", re.M | re.S
    )
    return found.sub(
        lambda m: m[2] if kept else f"{m[1]}# your code here\n{m[1]}{STUB}\n",
        source + "\n",
    ).rstrip("\n")


def handed_out(name=NAME):
    """The cells as the database knows them after a release."""
    cells = nbformat.read(SOURCE / name / f"{name}.ipynb", 4).cells
    found = []
    for cell in cells:
        marks = cell.metadata.nbgrader
        text = cell.source
        if "_given" in marks.grade_id:
            text = "drawn = 1"  # it would train and draw
        if marks.solution:
            text = regions(text, kept=False)
        found.append(
            mend.Handed(
                marks.grade_id,
                cell.cell_type,
                text.replace(f"# your code here\n{STUB}", "*Your answer.*")
                if cell.cell_type == "markdown"
                else text,
                marks.points if marks.grade else None,
                marks.solution,
                "",
            )
        )
    return found


HANDED = handed_out()
BY_NAME = {one.name: one for one in HANDED}
CHECKS = [one.name for one in HANDED if one.is_check]
# take seconds each, and no slip of these concerns them
SLOW = {"check_more_dimensions", "check_new_digits"}


def solved():
    """A submission in which everything is right."""
    cells = nbformat.read(SOURCE / NAME / f"{NAME}.ipynb", 4).cells
    right = {c.metadata.nbgrader.grade_id: c.source for c in cells}
    nb = nbformat.v4.new_notebook()
    for one in HANDED:
        text = one.text
        if one.solution:
            text = regions(right[one.name], kept=True)
        if one.name == WORDS:
            text = f"{one.text}\n\n{LONG}"
        nb.cells.append(one.cell(text))
    return nb


def place(nb, name):
    return next(i for i, c in enumerate(nb.cells) if mend.claim(c) == name)


def at(nb, name):
    return nb.cells[place(nb, name)]


def copy_of(cell):
    made = new_markdown_cell if cell.cell_type == "markdown" else new_code_cell
    return made(cell.source, metadata=json.loads(json.dumps(cell.metadata)))


def merge(nb, *names):
    """Put cells into the first, as JupyterLab does."""
    first, *rest = (at(nb, name) for name in names)
    first.source = "\n\n".join([first.source, *(c.source for c in rest)])
    nb.cells = [c for c in nb.cells if not any(c is one for one in rest)]


# --- what students do; each returns words of the remark ----------------------


def nothing(nb):
    return ""


def copies_an_answer(nb):
    i = place(nb, CODE)
    nb.cells.insert(i + 1, copy_of(nb.cells[i]))
    return "vae_loss_code: found 2 cells"


def copies_the_stub_below(nb):
    stub = BY_NAME[CODE].cell(BY_NAME[CODE].source)
    nb.cells.insert(place(nb, CODE) + 1, stub)
    return "the one that is written"


def copies_the_stub_to_the_end(nb):
    nb.cells.append(BY_NAME[CODE].cell(BY_NAME[CODE].source))
    return "the one that is written"


def writes_a_wrong_one_first(nb):
    i = place(nb, CODE)
    head = nb.cells[i].source.split('"""')[0]
    nb.cells.insert(i, copy_of(nb.cells[i]))
    nb.cells[i].source = f"{head}return 3"
    return "the last one that is written"


def copies_a_check(nb):
    i = place(nb, CHECK)
    nb.cells.insert(i + 1, copy_of(nb.cells[i]))
    return ""


def copies_everything(nb):
    nb.cells += [copy_of(c) for c in nb.cells]
    return "found 2 cells"


def loses_all_metadata(nb):
    for cell in nb.cells:
        cell.metadata = {}
    return "cells without grade_id, expected one in each"


def loses_the_metadata_of_one(nb):
    at(nb, CODE).metadata = {}
    return "found 1 cells without grade_id"


def has_metadata_of_odd_kinds(nb):
    for cell, odd in zip(nb.cells, [3, [], {"grade_id": 4}, None, {}]):
        cell.metadata = {"nbgrader": odd}
    return "without grade_id"


def merges_answer_and_check(nb):
    merge(nb, CODE, CHECK)
    return "found no check_vae_loss, expected what was handed out: put back"


def merges_check_and_answer(nb):
    merge(nb, CHECK, CODE)
    return "found another text in check_vae_loss"


def merges_two_answers(nb):
    merge(nb, CODE, "quantile_codes_code")
    return "quantile_codes_code: found in cell"


def merges_all_code(nb):
    merge(nb, *(mend.claim(c) for c in nb.cells if c.cell_type == "code"))
    return "together with another cell"


def merges_task_and_answer(nb):
    merge(nb, "vae_loss_task", CODE)
    return "in a Markdown cell"


def merges_answer_and_hints(nb):
    merge(nb, CODE, CHECK, "vae_loss_hints")
    return "among what is no Python"


def makes_the_answer_markdown(nb):
    i = place(nb, CODE)
    cell = nb.cells[i]
    nb.cells[i] = new_markdown_cell(cell.source, metadata=cell.metadata)
    return "in a Markdown cell"


def makes_the_answer_raw(nb):
    i = place(nb, CODE)
    cell = nb.cells[i]
    nb.cells[i] = nbformat.v4.new_raw_cell(cell.source, metadata=cell.metadata)
    return "in a Raw cell"


def has_an_unknown_grade_id(nb):
    at(nb, CODE).metadata.nbgrader.grade_id = "cell-0123456789"
    return "found the grade_id 'cell-0123456789'"


def has_an_own_cell_with_a_grade_id(nb):
    cell = new_code_cell("x = 1")
    cell.metadata = {"nbgrader": {"grade_id": "mine", "grade": True}}
    nb.cells.insert(3, cell)
    return "found unknown grade_id 'mine'"


def swaps_two_grade_ids(nb):
    one, other = at(nb, CODE), at(nb, "quantile_codes_code")
    one.metadata, other.metadata = other.metadata, one.metadata
    return "vae_loss_code: found 2 cells (4, 9), expected one: took cell 4"


def claims_more_points(nb):
    for cell in nb.cells:
        if "points" in cell.metadata.nbgrader:
            cell.metadata.nbgrader.points = 1000
    return ""


def calls_every_cell_this_check(nb):
    for cell in nb.cells:
        cell.metadata.nbgrader.grade_id = CHECK
    return ""


def deletes_the_checks(nb):
    nb.cells = [c for c in nb.cells if mend.claim(c) not in CHECKS]
    return "expected what was handed out: put back"


def deletes_all_but_answers(nb):
    nb.cells = [c for c in nb.cells if c.metadata.nbgrader.solution]
    return "put back"


def edits_the_checks(nb):
    for name in CHECKS:
        at(nb, name).source = "print('fine')"
    return "found another text in check_vae_loss"


def writes_into_the_check(nb):
    at(nb, CHECK).source = f"{at(nb, CODE).source}\n{at(nb, CHECK).source}"
    at(nb, CODE).source = BY_NAME[CODE].source
    return "another text in check_vae_loss"


def adds_to_the_imports(nb):
    at(nb, "imports").source += "\nfrom math import log as my_log"
    at(nb, CODE).source = at(nb, CODE).source.replace(
        "\n    ", "\n    my_log(2)\n    ", 1
    )
    return "another text in imports"


def uses_another_name(nb):
    cell = at(nb, CODE)
    cell.source = re.sub(r"def vae_loss\b", "def my_loss", cell.source)
    at(nb, CHECK).source = "check_vae_loss(my_loss)"
    return "check_vae_loss: found my_loss in its call, expected vae_loss"


def turns_the_order_round(nb):
    nb.cells = nb.cells[::-1]
    return ""


def uses_magics(nb):
    at(nb, CODE).source = f"%matplotlib inline\n{at(nb, CODE).source}"
    return ""


def asserts_in_the_cell_of_the_answer(nb):
    at(nb, CODE).source += "\nassert False, 'my own test'"
    return "found AssertionError (my own test), expected a cell that runs"


def hangs_behind_the_answer(nb):
    at(nb, CODE).source += "\nwhile True: pass"
    return "found Stopped"


def ends_python_behind_the_answer(nb):
    at(nb, CODE).source += "\nimport os\nos._exit(0)"
    return "found Stopped"


def asks_the_check_again_and_again(nb):
    at(nb, CODE).source += "\nwhile not check_vae_loss(vae_loss): pass"
    return ""


def assigns_a_lambda(nb):
    at(nb, CODE).source += "\nold = vae_loss\nvae_loss = lambda *a: old(*a)"
    return ""


def writes_the_words_beside(nb):
    at(nb, WORDS).source = BY_NAME[WORDS].source
    nb.cells.insert(place(nb, WORDS) + 1, new_markdown_cell(LONG))
    return "dead_code_answer: found text beside it"


def copies_the_words(nb):
    nb.cells.append(BY_NAME[WORDS].cell(BY_NAME[WORDS].source))
    return "dead_code_answer: found 2 cells"


def writes_the_words_as_code(nb):
    i = place(nb, WORDS)
    nb.cells[i] = new_code_cell(LONG, metadata=nb.cells[i].metadata)
    return "dead_code_answer: found a code cell, expected markdown"


def deletes_the_place_for_words(nb):
    nb.cells[place(nb, WORDS)] = new_markdown_cell(LONG)
    return "dead_code_answer: found text beside it"


SLIPS = [
    value
    for value in list(globals().values())
    if callable(value)
    and getattr(value, "__code__", None) is not None
    and value.__code__.co_varnames[:1] == ("nb",)
    and value.__code__.co_argcount == 1
    and value is not merge
]


def graded(nb):
    """The points of each check, after the way through a file."""
    limits = Grade(cell_seconds=5, cells_seconds=60)
    submission = Submission(nb, (), limits)
    try:
        submission.start()
        found = {
            name: submission.verdict(name.removeprefix("check_"))
            for name in CHECKS
            if name not in SLOW
        }
    finally:
        submission.close()
    return found, list(submission.remarks.values())


def through_a_file(nb, folder):
    file = folder / f"{NAME}.ipynb"
    file.write_text(json.dumps(nb), encoding="utf-8")
    return mend.choose(folder, file.name, HANDED)


@pytest.mark.slow
@pytest.mark.parametrize("slip", SLIPS, ids=lambda f: f.__name__)
def test_no_slip_takes_a_point(tmp_path, slip):
    nb = solved()
    said = slip(nb)
    found, remarks = through_a_file(nb, tmp_path)
    remarks += mend.mend(found, HANDED)
    names = [mend.claim(cell) for cell in found.cells if mend.claim(cell)]
    assert len(set(names)) == len(names)
    for name in CHECKS:
        cell = at(found, name)
        assert cell.source == BY_NAME[name].source
        assert cell.metadata.nbgrader.points == BY_NAME[name].points
    assert LONG in at(found, WORDS).source
    assert at(found, WORDS).cell_type == "markdown"
    nbformat.validate(found)
    verdicts, more = graded(found)
    wrong = {name: str(one) for name, one in verdicts.items() if not one}
    assert not wrong
    assert said in "; ".join(remarks + more)
    if slip is nothing:
        assert remarks + more == []


@pytest.mark.slow
def test_an_empty_notebook_gets_no_points_and_no_remark(tmp_path):
    nb = nbformat.v4.new_notebook()
    nb.cells = [one.cell(one.text) for one in HANDED]
    found, remarks = through_a_file(nb, tmp_path)
    assert remarks + mend.mend(found, HANDED) == []
    verdicts, more = graded(found)
    assert not any(verdicts.values())
    assert more == []


@pytest.mark.slow
def test_a_copy_with_another_grade_id_earns_nothing_twice(tmp_path):
    nb = nbformat.v4.new_notebook()
    right = at(solved(), CODE)
    for one in HANDED:
        cell = one.cell(one.text)
        if one.is_answer:
            cell.source = right.source
        nb.cells.append(cell)
    found, _ = through_a_file(nb, tmp_path)
    mend.mend(found, HANDED)
    verdicts, _ = graded(found)
    assert [name for name in verdicts if verdicts[name]] == [CHECK]


def test_another_notebook_is_called_one(tmp_path):
    nb = nbformat.read(SOURCE / "project" / "project.ipynb", 4)
    found, _ = through_a_file(nb, tmp_path)
    remarks = mend.mend(found, HANDED)
    assert "is it another notebook?" in remarks[0]


# --- files -------------------------------------------------------------------


def written(folder, name, nb=None, **how):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(solved() if nb is None else nb)
    (folder / name).write_bytes(text.encode(**how))


def same(nb):
    return [cell.source for cell in nb.cells] == [
        cell.source for cell in solved().cells
    ]


@pytest.mark.parametrize(
    "name",
    [
        f"{NAME} (1).ipynb",
        f"{NAME}-Copy1.ipynb",
        f"{NAME}_solved.ipynb",
        f"{NAME}.ipynb.txt",
        f"{NAME}.ipynb.json",
        f"{NAME.upper()}.IPYNB",
        f"unpacked/{NAME}.ipynb",
        "my homework.ipynb",
    ],
)
def test_the_one_notebook_there_is_is_taken(tmp_path, name):
    written(tmp_path, name)
    nb, remarks = mend.choose(tmp_path, f"{NAME}.ipynb", HANDED)
    assert same(nb)
    assert remarks == [f"found {name}, expected {NAME}.ipynb"]


def test_of_two_the_one_with_more_answers_is_taken(tmp_path):
    empty = nbformat.v4.new_notebook()
    empty.cells = [one.cell(one.text) for one in HANDED]
    expected = f"{NAME}.ipynb"
    written(tmp_path, expected, empty)
    written(tmp_path, f"{NAME}-Copy1.ipynb")
    written(tmp_path, f".ipynb_checkpoints/{NAME}-checkpoint.ipynb")
    nb, (remark,) = mend.choose(tmp_path, expected, HANDED)
    assert same(nb)
    assert remark.startswith(
        f"found 2 notebooks, expected one: took {NAME}-Copy1.ipynb with "
    )
    assert remark.endswith(
        f"not {expected} with 0, because it has the most answers"
    )
    written(tmp_path, expected)
    _, (remark,) = mend.choose(tmp_path, expected, HANDED)
    assert remark.endswith("because it has the expected name")
    (tmp_path / expected).write_text("{no json")
    nb, (first, _) = mend.choose(tmp_path, expected, HANDED)
    assert same(nb)
    assert first.startswith(f"cannot be read: {expected}, it is not JSON")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_marks_of_byte_order_are_no_obstacle(tmp_path, encoding):
    written(tmp_path, f"{NAME}.ipynb", encoding=encoding)
    nb, remarks = mend.choose(tmp_path, f"{NAME}.ipynb", HANDED)
    assert same(nb) and remarks == []


def test_older_and_odd_notebooks_are_read(tmp_path):
    nb = json.loads(json.dumps(solved()))
    nb["nbformat_minor"] = 2
    for cell in nb["cells"]:
        cell.pop("id")
        cell["source"] = cell["source"].splitlines(keepends=True)
        cell.pop("outputs", None)
        cell.pop("execution_count", None)
    del nb["metadata"]
    written(tmp_path, "old.ipynb", nb)
    found, _ = mend.choose(tmp_path, "old.ipynb", HANDED)
    assert same(found)
    # version 3 has sheets
    for cell in nb["cells"]:
        if cell["cell_type"] == "code":
            cell["input"] = cell.pop("source")
    written(
        tmp_path,
        "old.ipynb",
        {"nbformat": 3, "worksheets": [{"cells": nb["cells"]}]},
    )
    found, _ = mend.choose(tmp_path, "old.ipynb", HANDED)
    assert same(found)


def test_outputs_of_megabytes_and_half_characters_stay_outside(tmp_path):
    nb = json.loads(json.dumps(solved()))
    for cell in nb["cells"]:
        if cell["cell_type"] == "code":
            text = "x" * 1_000_000
            cell["outputs"] = [
                {"output_type": "stream", "name": "stdout", "text": text}
            ]
    nb["cells"].append({"cell_type": "markdown", "source": "\ud800"})
    written(tmp_path, f"{NAME}.ipynb", nb)
    found, _ = mend.choose(tmp_path, f"{NAME}.ipynb", HANDED)
    mend.mend(found, HANDED)
    assert len(nbformat.writes(found).encode()) < 200_000


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "the file is empty"),
        (b"{no json", "it is not JSON"),
        (b"[" * 100_000, "it is nested too deeply"),
        (b'{"a": 1}', "it is JSON, but has no cells"),
        (b"[1]", "it is JSON, but has no cells"),
        (b'{"cells": 3}', "it is JSON, but has no cells"),
        (b"\x89PNG\r\n", "it is not JSON"),
    ],
)
def test_a_file_that_cannot_be_parsed_is_told_why(tmp_path, content, why):
    (tmp_path / f"{NAME}.ipynb").write_bytes(content)
    nb, (remark,) = mend.choose(tmp_path, f"{NAME}.ipynb", HANDED)
    assert nb is None
    assert remark.startswith(f"cannot be read: {NAME}.ipynb, {why}")
    assert len(remark) < 200


def test_a_folder_without_a_notebook_is_told_what_it_holds(tmp_path):
    expected = f"{NAME}.ipynb"
    nb, (remark,) = mend.choose(tmp_path, expected, HANDED)
    assert remark == f"no notebook: found an empty folder, expected {expected}"
    (tmp_path / "homework.pdf").write_bytes(b"x")
    other = tmp_path.parent / "other.ipynb"
    other.write_text(json.dumps(solved()))
    Path(tmp_path / expected).symlink_to(other)
    nb, (remark,) = mend.choose(tmp_path, expected, HANDED)
    assert nb is None  # a link leads out of the folder
    assert "found" in remark and "homework.pdf" in remark
