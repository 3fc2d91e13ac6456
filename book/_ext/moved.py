"""What the claims measured before and after the chapters ran anew.

    python book/_ext/moved.py                  # last commit, working tree
    python book/_ext/moved.py v0.1.0 book      # two revisions or folders
    python book/_ext/moved.py HEAD book --logs refresh-logs

Without it nobody would see that a number of the book drifts on another
machine or with newer packages, as long as its claim still holds. After `make
refresh` it lists, in Markdown, the claims that no longer hold, those whose
numbers moved, and those that went or came. Logs are what `make refresh
CHAPTER=name` printed where it failed, in name.log: a chapter that failed
still has its old outputs, so the notebook cannot tell.

A number has moved if it differs by more than 5 % and by more than one unit of
its last digit. Three digits are shown, so rounding alone makes up to 1 %, and
another processor rounds differently on the way to it; what matters less than
5 % is left out. A claim that holds has not failed, wherever its numbers went:
the list is there to be read.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

BOOK = Path(__file__).resolve().parents[1]
NAMES = "*.ipynb"
RELATIVE = 0.05
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
NUMBER = re.compile(
    r"(?<![\w.])(-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[+-]?\d+)?)"
)
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
FAILED = re.compile(r"AssertionError: not true here: (.*)")
HEADERS = {
    "Failed": ("Chapter", "Not true here"),
    "Moved": ("Chapter", "Claim", "What", "Before", "After"),
    "Gone": ("Chapter", "Claim"),
    "New": ("Chapter", "Claim"),
}

# (chapter, sentence) -> name -> value as it is shown
Claims = dict[tuple[str, str], dict[str, str]]


def read(place: str | Path) -> Claims:
    """The claims of all notebooks of a folder, or else of a git revision."""
    if Path(place).is_dir():
        found = {p.stem: p.read_text("utf-8") for p in Path(place).glob(NAMES)}
    else:
        names = _git("ls-tree", "--name-only", place, "./").split()
        found = {
            Path(name).stem: _git("show", f"{place}:./{name}")
            for name in names
            if Path(name).match(NAMES)
        }
    return {
        (chapter, claim["sentence"]): claim["measured"]
        for chapter, text in sorted(found.items())
        for claim in json.loads(text)["metadata"]
        .get("minivae", {})
        .get("claims", ())
    }


def _git(*words: str) -> str:
    return subprocess.run(  # noqa: S603, no shell, and words after our own
        ["git", *words],  # noqa: S607
        cwd=BOOK,
        check=True,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    ).stdout


def failures(folder: Path) -> Iterator[tuple[str, str]]:
    """Chapter and reason, from the logs of the chapters that failed."""
    for path in sorted(folder.glob("*.log")):
        text = COLOUR.sub("", path.read_text(encoding="utf-8"))
        # nbclient repeats the error, and make has the last word
        errors = re.findall(r"^\w+(?:\.\w+)*Error\b.*", text, re.M)
        lines = FAILED.findall(text) or errors or text.rstrip().split("\n")
        yield path.stem, lines[-1] or "no output"


def unit(number: str) -> float:
    """What one step of the last digit is worth, such as 0.01 for 4.25."""
    mantissa, _, exponent = number.partition("e")
    decimals = len(mantissa.partition(".")[2])
    return 10.0 ** (int(exponent or 0) - decimals)


def has_moved(old: str, new: str) -> bool:
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
        if abs(x - y) > max(rounding, RELATIVE * max(abs(x), abs(y))):
            return True
    return False


def compare(
    old: Claims, new: Claims, failed: list[tuple[str, str]]
) -> tuple[dict[str, list[tuple[str, ...]]], int]:
    """What happened to the claims, and how many were measured both times.

    What `new` has of a chapter that failed is as old as `old`, and is left
    out.
    """
    stopped = {chapter for chapter, _ in failed}
    old, new = (
        {
            key: values
            for key, values in claims.items()
            if key[0] not in stopped
        }
        for claims in (old, new)
    )
    both = [key for key in old if key in new]
    report = {
        "Failed": failed,
        "Moved": [
            (*key, name, *values)
            for key in both
            for name in {**old[key], **new[key]}
            if has_moved(
                *(values := [c[key].get(name, "-") for c in (old, new)])
            )
        ],
        "Gone": [key for key in old if key not in new],
        "New": [key for key in new if key not in old],
    }
    return report, len(both)


def markdown(report: dict[str, list[tuple[str, ...]]], n_both: int) -> str:
    """The report as a page."""
    n_moved = len({row[:2] for row in report["Moved"]})
    text = (
        f"# Claims, measured again\n\n{n_both} claims were measured before "
        f"and after. {n_moved} of them hold, but a number differs by more "
        f"than {100 * RELATIVE:g} %. {len(report['Failed'])} chapters failed, "
        f"{len(report['Gone'])} claims are gone, {len(report['New'])} are "
        "new. A chapter stops at the first claim that fails.\n"
    )
    for title, rows in report.items():
        header = HEADERS[title]
        lines = [header, ("---",) * len(header), *rows] if rows else []
        text += f"\n## {title}\n\n" if rows else ""
        for line in lines:
            cells = (cell.replace("|", r"\|") for cell in line)
            text += f"| {' | '.join(cells)} |\n"
    return text


def main(words: list[str]) -> int:
    """Print the report; 1 if a chapter failed."""
    parser = argparse.ArgumentParser(description="compare measured claims")
    parser.add_argument("old", nargs="?", default="HEAD")
    parser.add_argument("new", nargs="?", default=BOOK)
    parser.add_argument("--logs", type=Path, help="of chapters that failed")
    given = parser.parse_args(words)
    failed = list(failures(given.logs)) if given.logs else []
    print(markdown(*compare(read(given.old), read(given.new), failed)))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
