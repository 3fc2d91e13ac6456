"""The report of claims that moved: made-up notebooks, before and after."""

import subprocess

import nbformat
import pytest
from test_pages import extension

moved = extension("moved")


@pytest.fixture
def folders(tmp_path):
    """Writes chapters into two folders; returns the folders."""

    def write(old, new):
        places = tmp_path / "old", tmp_path / "new"
        for place, chapters in zip(places, (old, new)):
            place.mkdir()
            for chapter, claims in chapters.items():
                stored = [
                    {"sentence": sentence, "measured": measured}
                    for sentence, measured in claims.items()
                ]
                notebook = nbformat.v4.new_notebook()
                notebook.metadata["minivae"] = {"claims": stored}
                nbformat.write(notebook, place / f"{chapter}.ipynb")
        return places

    return write


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("0.930", "0.930"),
        ("0.930", "0.958"),  # 3 %
        ("1.00", "1.01"),  # one unit of the last digit
        ("0.02", "0.03"),  # the same, though it is half as much again
        ("3", "4"),
        ("2,046", "2,100"),
        ("[-139, -138, -137]", "[-140, -138, -136]"),
        ("{VAE, 2: 0.757, CVAE, 2: 12.1}", "{VAE, 2: 0.760, CVAE, 2: 12.0}"),
        ("1.23e-05", "1.24e-05"),
        ("True", "True"),
        # where the end is not shown, what is shown counts
        ("[1.00, 2.00, …]", "[1.01, 2.00, 3.00, …]"),
        ("{a: 1.00, …}", "{a: 1.01, b: 7.00}"),
    ],
)
def test_rounding_is_no_move(old, new):
    assert not moved.has_moved(old, new)
    assert not moved.has_moved(new, old)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("0.930", "0.991"),
        ("0.02", "0.04"),
        ("2,046", "2,460"),
        ("1.23e-05", "1.23e-04"),
        ("1.23e-05", "1.33e-05"),
        ("12.3", "-12.3"),
        ("[-139, -138, -137]", "[-139, -158, -137]"),
        ("[1.00, 2.00]", "[1.00, 2.00, 3.00]"),
        ("{a: 1.00}", "{b: 1.00}"),
        ("{a: 1.00, …}", "{b: 1.00, …}"),
        ("True", "False"),
        ("0.930", "nan"),
        ("[1.00, 2.00, …]", "[1.00, 2.60, …]"),
    ],
)
def test_more_than_rounding_is_a_move(old, new):
    assert moved.has_moved(old, new)
    assert moved.has_moved(new, old)


def test_each_claim_is_in_one_place(folders):
    old = {
        "01_a": {
            "Stays.": {"x": "1.00"},
            "Moves.": {"x": "1.00", "y": "2.00"},
            "Goes.": {"x": "1.00"},
        },
        "02_b": {"Fails.": {"x": "1.00"}, "Comes after it.": {"x": "5.00"}},
        "03_c": {"Other values.": {"x": "1.00"}},
    }
    new = {
        "01_a": {
            "Stays.": {"x": "1.01"},
            "Moves.": {"x": "1.00", "y": "3.00"},
            "Comes.": {"x": "9.00"},
        },
        "02_b": old["02_b"],  # a chapter that failed was not stored
        "03_c": {"Other values.": {"z": "1.00"}},
    }
    places = folders(old, new)
    claims = [moved.read(p) for p in places]
    failed = [("02_b", "Fails. (x = 7)")]
    report, n_both = moved.compare(*claims, failed)
    assert report["Failed"] == failed
    assert report["Moved"] == [
        ("01_a", "Moves.", "y", "2.00", "3.00"),
        ("03_c", "Other values.", "x", "1.00", "-"),
        ("03_c", "Other values.", "z", "-", "1.00"),
    ]
    assert report["Gone"] == [("01_a", "Goes.")]
    assert report["New"] == [("01_a", "Comes.")]
    assert n_both == 3
    page = moved.markdown(report, n_both)
    assert "3 claims were measured before and after. 2 of them" in page
    assert "| 01_a | Moves. | y | 2.00 | 3.00 |" in page
    for title in ("Failed", "Moved", "Gone", "New"):
        assert f"\n## {title}\n" in page
    assert "Stays." not in page
    assert "Comes after it." not in page


def test_where_nothing_moved_the_page_is_short(folders):
    same = {"01_a": {"Stays.": {"x": "1.00"}}, "02_b": {}}
    places = folders(same, same)
    report = moved.compare(*map(moved.read, places), [])
    assert report[1] == 1
    assert "##" not in moved.markdown(*report)


LOG = """\
05_a.ipynb ... Traceback (most recent call last):
nbclient.exceptions.CellExecutionError: An error occurred
\x1b[0;31mAssertionError\x1b[0m: not true here: A is more. (a = 1, b = 2)
AssertionError: not true here: A is more. (a = 1, b = 2)
make: *** [Makefile:83: refresh] Error 1
"""


def test_a_log_tells_which_claim_failed(tmp_path):
    (tmp_path / "05_a.log").write_text(LOG)
    (tmp_path / "06_b.log").write_text(
        "06_b.ipynb ...\nRuntimeError: Kernel died\nmake: *** Error 1\n"
    )
    (tmp_path / "07_c.log").write_text("")
    assert list(moved.failures(tmp_path)) == [
        ("05_a", "A is more. (a = 1, b = 2)"),
        ("06_b", "RuntimeError: Kernel died"),
        ("07_c", "no output"),
    ]


def test_the_exit_says_whether_a_chapter_failed(folders, tmp_path, capsys):
    chapters = {"05_a": {"A is more.": {"a": "1.00 | 2"}}}
    places = [str(p) for p in folders(chapters, chapters)]
    assert moved.main(places) == 0
    logs = tmp_path / "logs"
    logs.mkdir()
    assert moved.main([*places, "--logs", str(logs)]) == 0
    (logs / "05_a.log").write_text(LOG)
    assert moved.main([*places, "--logs", str(logs)]) == 1
    assert "| 05_a | A is more. (a = 1, b = 2) |" in capsys.readouterr().out


def test_a_bar_does_not_break_a_table(folders):
    places = folders({"01": {"A.": {"x": "a|b"}}}, {"01": {"A.": {"x": "c"}}})
    report = moved.compare(*map(moved.read, places), [])
    assert r"| a\|b | c |" in moved.markdown(*report)


def test_a_place_is_a_folder_or_a_revision(folders, tmp_path, monkeypatch):
    old = {"01_a": {"Moves.": {"x": "1.00"}}}
    new = {"01_a": {"Moves.": {"x": "3.00"}}}
    first, second = folders(old, new)
    book = tmp_path / "repository" / "book"
    book.mkdir(parents=True)

    def git(*words):
        who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", "-C", book, *who, *words], check=True)

    git("init", "--quiet")
    (book / "01_a.ipynb").write_bytes((first / "01_a.ipynb").read_bytes())
    (book / "page.md").write_text("no notebook")
    git("add", ".")
    git("commit", "--quiet", "-m", "First")
    monkeypatch.setattr(moved, "BOOK", book)
    assert moved.read("HEAD") == {("01_a", "Moves."): {"x": "1.00"}}
    assert moved.read(second) == {("01_a", "Moves."): {"x": "3.00"}}
    with pytest.raises(subprocess.CalledProcessError):
        moved.read("no-such-revision")


def test_the_chapters_of_the_book_are_read():
    assert len(moved.read(moved.BOOK)) > 100
