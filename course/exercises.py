"""Write what students get from the instructor's notebooks.

From `course/source` come the notebooks without solutions in
`book/exercises`, the pages with folded hints and solutions, and the tables
of the instructor's guide. `make exercises` runs this.
"""

import re
import sys
from pathlib import Path

import nbformat
from nbformat.notebooknode import NotebookNode
from nbgrader import preprocessors as steps
from traitlets.config import Config, PyFileConfigLoader

from minivae_course import ALL

COURSE = Path(__file__).resolve().parent
sys.path.append(str(COURSE.parent / "book" / "_ext"))
import install_cell

ROOT = COURSE.parent
SOURCE = COURSE / "source"
OUT = ROOT / "book" / "exercises"
REGION = re.compile(
    r"^ *### BEGIN SOLUTION\n(.*?)^ *### END SOLUTION\n?", re.M | re.S
)
HIDDEN = re.compile(r"\n### BEGIN HIDDEN TESTS.*### END HIDDEN TESTS", re.S)
FACTS = re.compile(r"^(★{1,3})☆{0,2} · (\d+) minutes · (.+)$", re.M)
# which page has which table
PAGES = {"exercises": "instructors.md", "answers": "answers.md"}
# those of nbgrader's generate_assignment that need no database
STEPS = (
    "LockCells",
    "ClearSolutions",
    "ClearOutput",
    "ComputeChecksums",
    "ClearHiddenTests",
    "ClearMarkScheme",
    "ComputeChecksums",
)


def sources() -> list[Path]:
    """The instructor's notebooks, one for each chapter, and the project."""
    return sorted(SOURCE.glob("*/*.ipynb"))


def short(file: Path) -> str:
    """What its page is called: 04, or project."""
    return file.stem[:2] if file.stem[0].isdigit() else f"{file.stem}_page"


def read(file: Path) -> NotebookNode:
    """A notebook of the instructor."""
    return nbformat.read(file, as_version=4)


def for_students(nb: NotebookNode) -> NotebookNode:
    """The same without solutions and hidden tests."""
    settings = PyFileConfigLoader("nbgrader_config.py", str(COURSE))
    config = Config(settings.load_config())
    for name in STEPS:
        nb, _ = getattr(steps, name)(config=config).preprocess(nb, {})
    return nb


def ids(cell: NotebookNode) -> str:
    """The name that nbgrader knows a cell by."""
    return cell.metadata.nbgrader["grade_id"]


def by_exercise(nb: NotebookNode) -> dict[str, dict[str, list[NotebookNode]]]:
    """Name of an exercise -> part (task, given, code, ...) -> cells."""
    found: dict[str, dict[str, list[NotebookNode]]] = {}
    name = ""
    for cell in nb.cells:
        this = ids(cell)
        if this.endswith("_task"):
            name = this.removesuffix("_task")
            found[name] = {}
        if name:
            part = "check" if this == f"check_{name}" else ""
            part = part or this.removeprefix(f"{name}_").split("_")[0]
            found[name].setdefault(part, []).append(cell)
    return found


def page(file: Path) -> str:
    """The page of a chapter's exercises: MyST, hints and solutions folded."""
    nb = read(file)
    title, *_ = nb.cells
    parts = [
        title.source,
        f"{{download}}`Download the notebook <{file.name}>`, or open "
        f"`book/exercises/{file.name}` in JupyterLab.{_chapter(file)}",
    ]
    for name, cells in by_exercise(nb).items():
        parts.append(f"(exercise-{name.replace('_', '-')})=")
        parts.append(cells["task"][0].source)
        for cell in cells.get("given", []):
            parts.append(_code(cell.source))
        solution = cells["code"][0].source
        stub = REGION.sub(
            lambda m: " " * _indent(m[0]) + "...\n", solution + "\n"
        )
        parts.append(_code(stub))
        parts.append(f"Check: `{call(cells)}`")
        for cell in cells.get("hints", []):
            for head, body in re.findall(
                r"<summary>(.*?)</summary>\s*(.*?)\s*</details>",
                cell.source,
                re.S,
            ):
                parts.append(_folded(head, body))
        whole = REGION.sub(lambda m: m[1], solution + "\n")
        text = _code(whole)
        for cell in cells.get("answer", []):
            text += "\n\n" + REGION.sub(lambda m: m[1], cell.source + "\n")
        parts.append(_folded("Solution", text))
    return "\n\n".join(part.strip() for part in parts) + "\n"


def call(cells: dict[str, list[NotebookNode]]) -> str:
    """The line that checks an exercise."""
    source = HIDDEN.sub("", cells["check"][0].source)
    name, _, names = re.sub(r"\s+", "", source).partition("(")
    return f"{name}({', '.join(names.rstrip(',)').split(','))})"


def _chapter(file: Path) -> str:
    if not file.stem[0].isdigit():
        return " Back to [chapter 15](../15_anything_can_be_x.ipynb)."
    n = int(file.stem[:2])
    return f" Back to [chapter {n}](../{file.name})."


def _indent(text: str) -> int:
    return len(text) - len(text.lstrip(" "))


def _code(source: str) -> str:
    return f"```python\n{source.strip()}\n```"


def _folded(head: str, body: str) -> str:
    return f"::::{{dropdown}} {head}\n{body.strip()}\n::::"


def tables() -> dict[str, str]:
    """The tables of the guide by the name in their marks, in Markdown."""
    tests = str(ROOT / "tests" / "course")
    if tests not in sys.path:
        sys.path.insert(0, tests)
    import answers

    bank = answers.load()
    rows = [
        "| Exercise | Kind | What it teaches |",
        "| --- | --- | --- |",
    ]
    parts = []
    for file in sources():
        numbered = file.stem[0].isdigit()
        title = f"Chapter {int(file.stem[:2])}" if numbered else "Project"
        parts.append(f"## {title}")
        for name, cells in by_exercise(read(file)).items():
            task = cells["task"][0].source
            title = re.match(r"#+ (.+)\n", task)[1]
            stars, minutes, kind = FACTS.search(task).groups()
            link = f"[{title}](#exercise-{name.replace('_', '-')})"
            about = (ALL[name].__doc__ or "").strip().splitlines()[0]
            effort = f"{kind}, {stars}, {minutes} min"
            rows.append(f"| {link} | {effort} | {_cell(about)} |")
            parts.append(f"### {title}")
            parts.append(
                _answers([one for one in bank if one.exercise == name])
            )
    return {"exercises": "\n".join(rows), "answers": "\n\n".join(parts)}


def _answers(bank: list) -> str:
    """A table of the wrong answers, then a list of the right ones."""
    rows = ["| Wrong answer | The check says |", "| --- | --- |"]
    rows += [
        f"| {_cell(one.text)} | \N{LEFT DOUBLE QUOTATION MARK}"
        f"{_cell(one.says)}\N{RIGHT DOUBLE QUOTATION MARK} |"
        for one in bank
        if one.says
    ]
    right = "; ".join(_escaped(one.text) for one in bank if not one.says)
    return "\n".join(rows) + f"\n\nAccepted: {right}."


def _escaped(text: str) -> str:
    """Plain text as Markdown, on one line."""
    return re.sub(r"([\\*_\[\]<>$`|~#{}])", r"\\\1", " ".join(text.split()))


def _cell(text: str) -> str:
    """The same for a cell of a table; code in backticks stays code."""
    pieces = re.split(r"(`[^`]*`)", " ".join(text.split()))
    return "".join(
        piece.replace("|", "\\|") if piece[:1] == "`" else _escaped(piece)
        for piece in pieces
    )


def filled(page: str, name: str, table: str) -> str:
    """A page with this text between the marks of that name."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, rest = page.split(begin + "\n")
    after = rest.split(end)[1]
    return f"{before}{begin}\n\n{table}\n\n{end}{after}"


def written() -> dict[Path, str]:
    """Every file that this writes, and what belongs into it."""
    files = {}
    for file in sources():
        nb = install_cell.place(for_students(read(file)))
        files[OUT / file.name] = nbformat.writes(nb) + "\n"
        files[OUT / f"{short(file)}.md"] = page(file)
    for name, text in tables().items():
        path = ROOT / "book" / "appendix" / PAGES[name]
        files[path] = filled(path.read_text(encoding="utf-8"), name, text)
    return files


def main() -> int:
    """Write the files that differ; with --check, name them and fail."""
    stale = [
        file
        for file, text in written().items()
        if not file.exists() or file.read_text(encoding="utf-8") != text
    ]
    if "--check" in sys.argv[1:]:
        for file in stale:
            print(f"{file.relative_to(ROOT)} is stale: run make exercises")
        return int(bool(stale))
    files = written()
    OUT.mkdir(exist_ok=True)
    for file in stale:
        file.write_text(files[file], encoding="utf-8", newline="\n")
        print(file.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
