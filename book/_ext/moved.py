"""What the claims measured before and after the chapters ran anew.

    python book/_ext/moved.py                  # last commit, working tree
    python book/_ext/moved.py v0.1.0 book      # two revisions or folders
    python book/_ext/moved.py HEAD book --logs refresh-logs

Each chapter carries what its claims measured. After `make refresh` on another
machine or with newer packages this script lists, in Markdown, the claims that
no longer hold, those whose numbers moved, and those that went or came. Logs
are what `make refresh CHAPTER=name` printed where it failed, in name.log: a
chapter that failed still has its old outputs, so the notebook cannot tell.

A number has moved if it differs by more than 5 % and by more than one unit of
its last digit. Three digits are shown, so rounding alone makes up to 1 %, and
another processor rounds differently on the way to it; what matters less than
5 % is left out. A claim that holds has not failed, wherever its numbers went:
the list is there to be read.
"""

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import nbformat

BOOK = Path(__file__).resolve().parents[1]
RELATIVE = 0.05
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
NUMBER = re.compile(
    r"(?<![\w.])(-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[+-]?\d+)?)"
)
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
FAILED = re.compile(r"AssertionError: not true here: (.*)")

# chapter -> sentence -> name -> value as it is shown
Claims = dict[str, dict[str, dict[str, str]]]


@dataclass
class Report:
    """What differs, each entry with its chapter first."""

    failed: list[tuple[str, str]] = field(default_factory=list)
    moved: list[tuple[str, str, str, str, str]] = field(default_factory=list)
    gone: list[tuple[str, str]] = field(default_factory=list)
    new: list[tuple[str, str]] = field(default_factory=list)
    n_measured: int = 0  # claims that were measured both times


def claims_in(text: str) -> dict[str, dict[str, str]]:
    """Sentence -> what was measured, of one notebook."""
    notebook = nbformat.reads(text, as_version=4)
    stored = notebook.metadata.get("minivae", {}).get("claims", ())
    return {c["sentence"]: dict(c["measured"]) for c in stored}


def in_folder(folder: Path) -> Claims:
    """The claims of all notebooks of a folder.

    Raises:
        FileNotFoundError: there is no notebook.
    """
    found = {
        path.stem: claims_in(path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("*.ipynb"))
    }
    if not found:
        raise FileNotFoundError(
            f"{folder}: expected a folder with notebooks, or the name of a "
            "git revision; give a path such as book or a name such as HEAD"
        )
    return found


def in_revision(revision: str, book: Path = BOOK) -> Claims:
    """The claims of all notebooks as git has them.

    Raises:
        subprocess.CalledProcessError: git does not know the revision.
    """
    listing = _git(book, "ls-tree", "--name-only", revision, "./")
    return {
        Path(name).stem: claims_in(_git(book, "show", f"{revision}:./{name}"))
        for name in sorted(listing.splitlines())
        if name.endswith(".ipynb")
    }


def _git(folder: Path, *words: str) -> str:
    git = shutil.which("git") or "git"
    done = subprocess.run(  # noqa: S603, no shell, and words after our own
        [git, "-C", str(folder), *words],
        check=True,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    return done.stdout


def read(place: str) -> Claims:
    """The claims in a folder, or else of a git revision."""
    folder = Path(place)
    return in_folder(folder) if folder.is_dir() else in_revision(place)


def failures(folder: Path) -> Iterator[tuple[str, str]]:
    """Chapter and reason, from the logs of the chapters that failed."""
    for path in sorted(folder.glob("*.log")):
        text = COLOUR.sub("", path.read_text(encoding="utf-8"))
        claims = FAILED.findall(text)
        lines = [line for line in text.splitlines() if line.strip()]
        # nbclient repeats the error, and make has the last word
        errors = [x for x in lines if re.match(r"\w+(\.\w+)*Error\b", x)]
        last = (errors or lines or ["no output"])[-1]
        yield path.stem, claims[-1] if claims else last


def unit(number: str) -> float:
    """What one step of the last digit is worth, such as 0.01 for 4.25."""
    mantissa, _, exponent = number.partition("e")
    decimals = len(mantissa.partition(".")[2])
    return 10.0 ** (int(exponent or 0) - decimals)


def has_moved(old: str, new: str, relative: float = RELATIVE) -> bool:
    """Whether two values as they are shown differ by more than rounding.

    Numbers are compared one by one. Words between them have to agree, up to
    the first ellipsis, behind which nothing is shown.
    """
    cut = ELLIPSIS in old + new
    if cut:
        old, new = (text.partition(ELLIPSIS)[0] for text in (old, new))
    before, after = NUMBER.split(old), NUMBER.split(new)
    if not cut and before[::2] != after[::2]:
        return True
    pairs = zip(before[1::2], after[1::2])
    for (a, b), words in zip(pairs, zip(before[::2], after[::2])):
        if words[0] != words[1]:
            return True
        x, y = (float(n.replace(",", "")) for n in (a, b))
        # half a unit more, since 0.3 - 0.2 is a little more than 0.1
        rounding = 1.5 * max(unit(a), unit(b))
        if abs(x - y) > max(rounding, relative * max(abs(x), abs(y))):
            return True
    return False


def compare(
    old: Claims,
    new: Claims,
    failed: list[tuple[str, str]] | None = None,
    relative: float = RELATIVE,
) -> Report:
    """What happened to each claim.

    Args:
        old, new: claims before and after.
        failed: chapter and reason of those that stopped. What `new` has of
            them is as old as `old`, and is not counted.
        relative: share by which a number may differ.
    """
    report = Report(failed=list(failed or ()))
    stopped = {chapter for chapter, _ in report.failed}
    for chapter in sorted((old.keys() | new.keys()) - stopped):
        before, after = old.get(chapter, {}), new.get(chapter, {})
        report.gone += [(chapter, s) for s in before if s not in after]
        report.new += [(chapter, s) for s in after if s not in before]
        for sentence in (s for s in before if s in after):
            report.n_measured += 1
            a, b = before[sentence], after[sentence]
            for name in [*a, *(n for n in b if n not in a)]:
                values = a.get(name, "-"), b.get(name, "-")
                if has_moved(*values, relative):
                    report.moved.append((chapter, sentence, name, *values))
    return report


def markdown(report: Report, relative: float = RELATIVE) -> str:
    """The report as a page."""
    moved = {(chapter, sentence) for chapter, sentence, *_ in report.moved}
    parts = [
        "# Claims, measured again\n",
        f"{report.n_measured} claims were measured before and after. "
        f"{len(moved)} of them hold, but a number differs by more than "
        f"{100 * relative:g} %. {len(report.failed)} chapters failed, "
        f"{len(report.gone)} claims are gone, {len(report.new)} are new.\n",
    ]
    for title, header, rows in (
        ("Failed", ("Chapter", "Not true here"), report.failed),
        (
            "Moved",
            ("Chapter", "Claim", "What", "Before", "After"),
            report.moved,
        ),
        ("Gone", ("Chapter", "Claim"), report.gone),
        ("New", ("Chapter", "Claim"), report.new),
    ):
        if rows:
            parts.append(f"## {title}\n\n{_table(header, rows)}")
    if report.failed:
        parts.append(
            "A chapter stops at the first claim that fails, so its later "
            "claims were not measured.\n"
        )
    return "\n".join(parts)


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "".join(
        "| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |\n"
        for line in lines
    )


def main(words: list[str]) -> int:
    """Print the report; 1 if a chapter failed."""
    parser = argparse.ArgumentParser(
        prog="moved.py", description="compare what claims measured"
    )
    parser.add_argument("old", nargs="?", default="HEAD")
    parser.add_argument("new", nargs="?", default=str(BOOK))
    parser.add_argument("--logs", type=Path, help="of chapters that failed")
    parser.add_argument(
        "--relative",
        type=float,
        default=RELATIVE,
        help="share by which a number may differ (default: %(default)s)",
    )
    given = parser.parse_args(words)
    failed = list(failures(given.logs)) if given.logs else []
    try:
        claims = read(given.old), read(given.new)
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        parser.error(str(error))
    report = compare(*claims, failed, given.relative)
    print(markdown(report, given.relative))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
