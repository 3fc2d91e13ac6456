"""Mends a submission before it is graded, so that no slip takes marks.

Copied, merged, stripped or renamed: what can be read counts. Answers are
found by the names of their functions, and what was handed out by its text.
The cells of a check always are those that were handed out. Each thing that
is done leaves a remark, with what was found and what was expected.
"""

import ast
import json
import re
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from IPython.core.inputtransformer2 import TransformerManager
from nbformat import v4
from nbformat.notebooknode import NotebookNode

HIDDEN = re.compile(r"\n*### BEGIN HIDDEN TESTS.*?### END HIDDEN TESTS", re.S)
COMMON = ("title", "imports")
LONGEST = 200_000  # characters of a cell that are looked through
MOST_LINES = 300  # of a text in which code is looked for
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
DEFINES = (*FUNCTIONS, ast.ClassDef, ast.Import, ast.ImportFrom)
COMPOUND = (ast.If, ast.Try, ast.With, ast.For, ast.While)
CODE = re.compile(r"(async |def |class |import |from |@|\w+ *=[^=])")


class UnreadableError(ValueError):
    """A file that is no notebook; says why.

    Example:
        >>> raise UnreadableError("not JSON")
        Traceback (most recent call last):
            ...
        minivae_course.mend.UnreadableError: not JSON
    """


@dataclass(frozen=True)
class Handed:
    r"""A cell as it was handed out.

    Attributes:
        name: its grade_id.
        kind: "code" or "markdown".
        source: its text, with hidden tests.
        points: None if it has none.
        solution: whether students write into it.
        checksum: that nbgrader knows it by.

    Example:
        >>> stub = "def f(x):\n    raise NotImplementedError"
        >>> Handed("f_code", "code", stub, None, True, "").functions
        ('f',)
    """

    name: str
    kind: str
    source: str
    points: float | None
    solution: bool
    checksum: str

    @property
    def text(self) -> str:
        """What students have seen of it."""
        return plain(HIDDEN.sub("", self.source))

    @property
    def functions(self) -> tuple[str, ...]:
        """What is asked for in it, if it is the place of an answer."""
        return tuple(bound(self.source)) if self.is_answer else ()

    @property
    def is_answer(self) -> bool:
        return self.solution and self.kind == "code"

    @property
    def is_check(self) -> bool:
        return self.points is not None and not self.solution

    @property
    def exercise(self) -> str:
        """What it belongs to: its name without what it is for."""
        name = self.name.removeprefix("check_")
        return re.sub(r"_(task|given.*|code|answer|hints)$", "", name)

    def cell(self, source: str) -> NotebookNode:
        """A cell of a notebook in its place."""
        new = v4.new_code_cell if self.kind == "code" else _markdown
        marks = {
            "schema_version": 3,
            "grade_id": self.name,
            "cell_type": self.kind,
            "grade": self.points is not None,
            "solution": self.solution,
            "locked": not self.solution,
            "task": False,
            "checksum": self.checksum,
        }
        if self.points is not None:
            marks["points"] = self.points
        return new(source, metadata={"nbgrader": marks})


def _markdown(source: str, metadata: dict) -> NotebookNode:
    return v4.new_markdown_cell(source, metadata=metadata)


# --- files -------------------------------------------------------------------


def read(file: Path) -> NotebookNode:
    """A notebook, of whatever version, with only what counts of each cell.

    Args:
        file: to read.

    Returns:
        Its cells, as the present version of nbformat has them.

    Raises:
        UnreadableError: it is no JSON, or JSON of something else.

    Example:
        >>> file = Path("one.ipynb")
        >>> _ = file.write_text('{"cells": [{"source": "x"}]}')
        >>> [cell.source for cell in read(file).cells]
        ['x']
        >>> file.unlink()
    """
    content = file.read_bytes()
    if not content.strip():
        raise UnreadableError("the file is empty")
    try:
        found = json.loads(_decoded(content), strict=False)
    except RecursionError:
        raise UnreadableError("it is nested too deeply") from None
    except ValueError as error:
        raise UnreadableError(f"it is not JSON ({error})") from None
    sheets = found.get("worksheets") if isinstance(found, dict) else None
    first = sheets[0] if isinstance(sheets, list) and sheets else found
    cells = first.get("cells") if isinstance(first, dict) else None
    if not isinstance(cells, list):
        raise UnreadableError("it is JSON, but has no cells")
    nb = v4.new_notebook()
    nb.cells = [_cell(one) for one in cells if isinstance(one, dict)]
    return nb


def _decoded(content: bytes) -> str:
    encoding = json.detect_encoding(content)
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        text = content.decode("utf-8", "replace")
    return text.lstrip("\ufeff")


def _cell(found: dict) -> NotebookNode:
    source = found.get("source", found.get("input", ""))
    if isinstance(source, list):
        source = "".join(one for one in source if isinstance(one, str))
    # half a character cannot be written
    source = str(source).encode("utf-8", "replace").decode()
    if found.get("cell_type") == "heading":
        source = f"{'#' * int(found.get('level', 1))} {source}"
    metadata = found.get("metadata")
    name = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    name = name.get("grade_id") if isinstance(name, dict) else None
    kept = {"nbgrader": {"grade_id": name}} if isinstance(name, str) else {}
    if found.get("cell_type") == "code":
        return v4.new_code_cell(source, metadata=kept)
    if found.get("cell_type") == "raw":
        return v4.new_raw_cell(source, metadata=kept)
    cell = _markdown(source, kept)
    pictures = found.get("attachments")
    if isinstance(pictures, dict) and all(
        isinstance(one, dict) for one in pictures.values()
    ):
        cell.attachments = pictures
    return cell


def choose(
    folder: Path,
    expected: str,
    handed: Sequence[Handed],
    files: Sequence[Path] | None = None,
) -> tuple[NotebookNode | None, list[str]]:
    """The notebook of a submission, and what there is to say.

    Of several the one with the most answers is taken, of these the one of
    the expected name, and else the last one saved.

    Args:
        folder: of the submission.
        expected: name of the file.
        handed: the cells that were handed out.
        files: to choose from; None takes all in the folder.

    Returns:
        The notebook, None if there is none, and the remarks.

    Example:
        >>> choose(Path("nowhere"), "one.ipynb", [])
        (None, ['no notebook: found an empty folder, expected one.ipynb'])
    """
    files = _notebooks(folder, folder.rglob("*") if files is None else files)
    if not files:
        others = sorted(one.name for one in folder.rglob("*") if one.is_file())
        found = ", ".join(others[:3]) or "an empty folder"
        return None, [f"no notebook: found {found}, expected {expected}"]
    remarks, read_ones = [], []
    for file in files:
        shown = _shown(file.relative_to(folder))
        try:
            nb = read(file)
        except (UnreadableError, OSError) as error:
            remarks.append(f"cannot be read: {shown}, {error}")
            continue
        n = len(_answered(nb, handed))
        rank = (n, file.name == expected, file.stat().st_mtime)
        read_ones.append((rank, shown, nb))
    if not read_ones:
        return None, remarks
    (n, exact, _), name, nb = max(read_ones, key=lambda one: one[0])
    if len(read_ones) > 1:
        rest = ", ".join(
            f"{other} with {rank[0]}"
            for rank, other, _ in read_ones
            if other != name
        )
        most = all(n > one[0][0] for one in read_ones if one[1] != name)
        why = (
            "it has the most answers"
            if most
            else "it has the expected name"
            if exact
            else "it was saved last"
        )
        remarks.append(
            f"found {len(read_ones)} notebooks, expected one: took {name} "
            f"with {n} answers, not {rest}, because {why}"
        )
    elif name != expected:
        remarks.append(f"found {name}, expected {expected}")
    return nb, remarks


def _notebooks(folder: Path, files: Iterable[Path]) -> list[Path]:
    """All that may be one; browsers add endings of their own."""
    return sorted(
        file
        for file in files
        if re.search(r"\.(ipynb|json)(\.\w+)?$", file.name, re.I)
        and not file.name.startswith("._")
        and ".ipynb_checkpoints" not in file.parts
        # a link may lead to somebody else's
        and not file.is_symlink()
        and file.resolve().is_relative_to(folder.resolve())
        and file.is_file()
    )


def _shown(path: Path) -> str:
    text = " ".join(str(path).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def _answered(nb: NotebookNode, handed: Sequence[Handed]) -> set[str]:
    wanted = {name for one in handed for name in one.functions}
    done = {
        name
        for cell in nb.cells
        for name, finished in bound(cell.source).items()
        if finished and name in wanted and cell.cell_type == "code"
    }
    texts = {one.text for one in handed}
    words = {
        one.name
        for one in handed
        for cell in nb.cells
        if one.solution and one.kind != "code"
        if claim(cell) == one.name and plain(cell.source) not in texts
    }
    return done | words


# --- code --------------------------------------------------------------------


def tree(source: str) -> ast.Module | None:
    """A cell as Python sees it, magics included; None if it does not.

    Example:
        >>> tree("def f(:") is None
        True
    """
    if len(source) > LONGEST:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(TransformerManager().transform_cell(source))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def bound(source: str) -> dict[str, bool]:
    r"""The names that a cell binds, and whether what they stand for is done.

    Example:
        >>> bound("def f(x):\n    raise NotImplementedError\ng = f")
        {'f': False, 'g': True}
    """
    parsed = tree(source)
    names: dict[str, bool] = {}
    for node in _statements(parsed.body) if parsed else ():
        if isinstance(node, FUNCTIONS):
            names[node.name] = not is_stub(node)
        elif isinstance(node, ast.ClassDef):
            names[node.name] = True
        elif isinstance(node, ast.Import | ast.ImportFrom):
            for one in node.names:
                name = (one.asname or one.name).partition(".")[0]
                names[name] = True
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            names |= dict.fromkeys(_targets(node), True)
    return names


def _statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        yield node
        if isinstance(node, COMPOUND):
            for part in ("body", "orelse", "finalbody"):
                yield from _statements(getattr(node, part, []))


def _targets(node: ast.Assign | ast.AnnAssign) -> Iterator[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    for target in targets:
        for one in ast.walk(target):
            if isinstance(one, ast.Name):
                yield one.id


def is_stub(node: ast.AST) -> bool:
    r"""Whether a function ends where it was handed out.

    Example:
        >>> stub = "def f():\n    raise NotImplementedError"
        >>> is_stub(ast.parse(stub).body[0])
        True
    """
    for one in getattr(node, "body", ()):
        if isinstance(one, ast.Return):
            return False
        if isinstance(one, ast.Raise) and one.exc is not None:
            raised = one.exc
            if isinstance(raised, ast.Call):
                raised = raised.func
            if isinstance(raised, ast.Name):
                return raised.id == "NotImplementedError"
    return False


def without_stubs(source: str, names: set[str]) -> str:
    r"""A cell without the unfinished functions of these names.

    Lines keep their numbers.

    Args:
        source: of the cell.
        names: of the functions that may go.

    Returns:
        The source with empty lines in their place.

    Example:
        >>> without_stubs("x = 1\ndef f(): raise NotImplementedError", {"f"})
        'x = 1\n'
    """
    parsed = tree(source)
    lines = source.split("\n")
    if parsed is None:
        return source
    for node in parsed.body:
        if (
            isinstance(node, ast.FunctionDef)
            and node.name in names
            and is_stub(node)
        ):
            first = min(
                [node.lineno, *(d.lineno for d in node.decorator_list)]
            )
            last = node.end_lineno or first
            lines[first - 1 : last] = [""] * (last - first + 1)
    return "\n".join(lines)


def definitions(source: str) -> str:
    r"""What a cell defines, without what it does.

    Example:
        >>> definitions("import os\nos._exit(0)\nN = 3")
        'import os\nN = 3'
    """
    parsed = tree(source)
    kept = [
        node
        for node in (parsed.body if parsed else ())
        if isinstance(node, DEFINES) or _is_constant(node)
    ]
    return ast.unparse(ast.Module(kept, []))


def _is_constant(node: ast.stmt) -> bool:
    """Whether it gives a name to something without a call."""
    return isinstance(node, ast.Assign | ast.AnnAssign) and (
        isinstance(node.value, ast.Lambda)
        or not any(isinstance(one, ast.Call) for one in ast.walk(node))
    )


def code_in(text: str, names: Iterable[str]) -> str:
    r"""Python within other text that defines one of these names, or "".

    Args:
        text: such as that of a Markdown cell.
        names: of the functions that are looked for.

    Returns:
        The longest part that Python understands.

    Example:
        >>> code_in("My answer:\ndef f(x):\n    return x\nDone so.", ["f"])
        'def f(x):\n    return x'
    """
    wanted = set(names)
    lines = text[:LONGEST].split("\n")[:MOST_LINES]
    heads = [
        i
        for i, line in enumerate(lines)
        if (found := re.match(r"(?:async )?def (\w+)", line))
        and found[1] in wanted
    ]
    if not heads:
        return ""
    starts = [i for i, line in enumerate(lines) if CODE.match(line)]
    for start in (i for i in starts if i <= heads[0]):
        for end in range(len(lines), heads[0], -1):
            chunk = "\n".join(lines[start:end]).strip()
            if wanted & bound(chunk).keys():
                return chunk
    return ""


def calls(source: str) -> dict[str, list[str]]:
    """The checks that a cell calls, with the names that it gives them.

    Example:
        >>> calls("check_gaussian_kl(my_kl)")
        {'check_gaussian_kl': ['my_kl']}
    """
    parsed = tree(source)
    return {
        node.func.id: [
            one.id for one in node.args if isinstance(one, ast.Name)
        ]
        for node in (ast.walk(parsed) if parsed else ())
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id.startswith("check_")
    }


def only_checks(source: str) -> bool:
    """Whether nothing is lost with a cell: it calls checks, and that is all.

    Example:
        >>> only_checks("print(check_f(f))"), only_checks("x = 1")
        (True, False)
    """
    parsed = tree(source)
    return parsed is not None and not any(
        isinstance(node, ast.stmt) and not isinstance(node, ast.Expr)
        for node in ast.walk(parsed)
    )


def plain(text: str) -> str:
    r"""Text without what editors change by themselves.

    Example:
        >>> plain("\n x = 1  \n")
        'x = 1'
    """
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def claim(cell: NotebookNode) -> str:
    """The grade_id that a submitted cell has, or "".

    Example:
        >>> claim(v4.new_code_cell(metadata={"nbgrader": {"grade_id": "f"}}))
        'f'
    """
    marks = cell.metadata.get("nbgrader")
    name = marks.get("grade_id") if isinstance(marks, dict) else ""
    return name if isinstance(name, str) else ""


# --- notebooks ---------------------------------------------------------------


@dataclass
class Mended:
    """A submission, on its way to a notebook that can be graded.

    Attributes:
        cells: as they were submitted.
        handed: what was handed out, by name, in its order.
        seats: name of what was handed out -> number of the submitted cell.
        remarks: what was done.

    Example:
        >>> Mended([v4.new_code_cell("x = 1 ")], {}).texts
        ['x = 1']
    """

    cells: list[NotebookNode]
    handed: dict[str, Handed]
    seats: dict[str, int] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.after: dict[int, list[NotebookNode]] = defaultdict(list)
        self.texts = [plain(cell.source) for cell in self.cells]
        self.claims = [claim(cell) for cell in self.cells]

    def all_cells(self) -> list[NotebookNode]:
        """Those that were submitted, and those made of them."""
        return [*self.cells, *chain.from_iterable(self.after.values())]

    def taken(self) -> set[int]:
        """The cells that have a seat."""
        return set(self.seats.values())

    def seat_by_text(self) -> None:
        """What is as it was handed out, and what students do not edit."""
        for name, one in self.handed.items():
            same = [
                i
                for i, text in enumerate(self.texts)
                if self.claims[i] == name
                and (text == one.text or not one.solution)
            ]
            # of copies the untouched one
            same.sort(key=lambda i: self.texts[i] != one.text)
            if same and not one.solution:
                self.seats[name] = same[0]
        free = self.taken()
        for name, one in self.handed.items():
            if name in self.seats or one.solution:
                continue
            for i, text in enumerate(self.texts):
                if i not in free and text == one.text:
                    self.seats[name] = i
                    free.add(i)
                    break

    def seat_answers(self) -> None:
        """Functions by their names, wherever they stand."""
        for name, one in self.handed.items():
            if not one.is_answer:
                continue
            wanted = set(one.functions)
            found = {}
            for i, cell in enumerate(self.cells):
                if cell.cell_type == "code":
                    names = bound(cell.source)
                    if n := len(wanted & names.keys()):
                        done = sum(names[key] for key in wanted & names.keys())
                        found[i] = (done, i if done else -i, n)
            claimed = [i for i, one in enumerate(self.claims) if one == name]
            free = [i for i in found if i not in self.taken()]
            if free:
                best = max(free, key=found.__getitem__)
                self.seats[name] = best
                self._say_copies(name, claimed, found, best)
            elif claimed and not found:
                rest = [i for i in claimed if i not in self.taken()]
                if rest:
                    self.seats[name] = rest[-1]
                    missing = ", ".join(one.functions)
                    if self.cells[rest[-1]].cell_type == "code":
                        self.remarks.append(
                            f"{name}: found no {missing} in cell "
                            f"{rest[-1] + 1}, expected one"
                        )
            elif found:
                place = max(found)
                self.remarks.append(
                    f"{name}: found in cell {place + 1} together with "
                    "another cell, expected a cell of its own"
                )

    def _say_copies(
        self, name: str, claimed: list[int], found: dict, best: int
    ) -> None:
        cells = sorted({*claimed, *found})
        if len(cells) > 1:
            places = ", ".join(str(i + 1) for i in cells)
            done = sum(value[0] > 0 for value in found.values())
            why = (
                "the last one that is written"
                if done > 1
                else "the one that is written"
                if done
                else "the first"
            )
            self.remarks.append(
                f"{name}: found {len(cells)} cells ({places}), expected one: "
                f"took cell {best + 1}, {why}"
            )
        elif self.claims[best] != name and self.claims[best]:
            self.remarks.append(
                f"{name}: found the grade_id {_short(self.claims[best])} in "
                f"cell {best + 1}, expected {name}"
            )

    def salvage(self) -> None:
        """Code that stands in a text, or among what Python cannot read."""
        for name, one in self.handed.items():
            known = {
                key
                for cell in self.cells
                if cell.cell_type == "code"
                for key, done in bound(cell.source).items()
                if done
            }
            wanted = [key for key in one.functions if key not in known]
            for i, cell in enumerate(self.cells if wanted else ()):
                if cell.cell_type == "code" and tree(cell.source):
                    continue
                chunk = code_in(cell.source, wanted)
                if not any(bound(chunk).get(key) for key in wanted):
                    continue
                where = (
                    "among what is no Python"
                    if cell.cell_type == "code"
                    else f"in a {cell.cell_type.capitalize()} cell"
                )
                self.remarks.append(
                    f"{name}: found {', '.join(wanted)} {where} (cell "
                    f"{i + 1}), expected a code cell of its own"
                )
                if self.seats.get(name) == i:
                    del self.seats[name]
                if name in self.seats:
                    new = v4.new_code_cell(chunk)
                else:
                    new = one.cell(chunk)
                    self.seats[name] = -1
                self.after[i].append(new)
                break

    def seat_words(self) -> None:
        """Answers in words: by grade_id, by their question, by place."""
        for name, one in self.handed.items():
            if not one.solution or one.kind == "code":
                continue
            claimed = [i for i, key in enumerate(self.claims) if key == name]
            written = [i for i in claimed if self.texts[i] != one.text]
            if len(claimed) > 1:
                self.remarks.append(
                    f"{name}: found {len(claimed)} cells, expected one: "
                    f"took cell {(written or claimed)[-1] + 1}"
                )
            if claimed:
                self.seats[name] = (written or claimed)[-1]
            if written:
                continue
            if not claimed:
                head = one.text.partition("\n")[0]
                same = [
                    i
                    for i in self._free_text()
                    if self.texts[i].startswith(head)
                ]
                if same:
                    self.seats[name] = same[-1]
                    if self.texts[same[-1]] != one.text:
                        continue
            self._words_beside(one)

    def _free_text(self) -> list[int]:
        """Texts of the student's own that have no seat."""
        given = {"", *(one.text for one in self.handed.values())}
        return [
            i
            for i, cell in enumerate(self.cells)
            if cell.cell_type != "code"
            and i not in self.taken()
            and self.texts[i] not in given
        ]

    def _words_beside(self, one: Handed) -> None:
        """Text of the student's own between this exercise and the next."""
        seats = {
            i: self.handed[name].exercise for name, i in self.seats.items()
        }
        mine = [i for i, name in seats.items() if name == one.exercise]
        if not mine:
            return
        later = [
            i
            for i, name in seats.items()
            if name != one.exercise and i > min(mine)
        ]
        end = min(later, default=len(self.cells))
        found = [i for i in self._free_text() if min(mine) < i < end]
        if not found:
            return
        places = ", ".join(str(i + 1) for i in found)
        self.remarks.append(
            f"{one.name}: found text beside it (cell {places}), expected it "
            "there: it was put there too"
        )
        words = "\n\n".join(self.cells[i].source for i in found)
        cell = one.cell(f"{one.source}\n\n{words}")
        place = self.seats.pop(one.name, found[-1])
        self.after[place].append(cell)
        self.seats[one.name] = -1

    def name_answers(self) -> None:
        """An answer of another name that the student's check was given."""
        finished = {
            key
            for cell in self.all_cells()
            if cell.cell_type == "code"
            for key, done in bound(cell.source).items()
            if done
        }
        for one in list(self.handed.values()):
            if not one.is_check:
                continue
            (wanted,) = calls(one.text).values() or [[]]
            for i, cell in enumerate(self.cells):
                if cell.cell_type != "code":
                    continue
                given = calls(cell.source).get(one.name, [])
                pairs = [
                    (mine, key)
                    for mine, key in zip(given, wanted)
                    if mine != key and key not in finished
                    if mine in finished
                ]
                if pairs and len(given) == len(wanted):
                    for mine, key in pairs:
                        self.remarks.append(
                            f"{one.name}: found {mine} in its call, "
                            f"expected {key}"
                        )
                    text = "\n".join(f"{key} = {mine}" for mine, key in pairs)
                    self.after[i].append(v4.new_code_cell(text))

    def result(self) -> list[NotebookNode]:
        """The cells that are graded."""
        by_seat = {i: name for name, i in self.seats.items() if i >= 0}
        new: list[NotebookNode] = []
        edited, stripped, unknown = [], 0, []
        for i, cell in enumerate(self.cells):
            name = by_seat.get(i)
            if name is None:
                if self.claims[i] and self.claims[i] not in self.handed:
                    unknown.append(f"{_short(self.claims[i])} (cell {i + 1})")
                new.append(_bare(cell))
            else:
                one = self.handed[name]
                stripped += not self.claims[i]
                if one.solution:
                    if one.kind != cell.cell_type:
                        self.remarks.append(
                            f"{name}: found a {cell.cell_type} cell, "
                            f"expected {one.kind}"
                        )
                    made = one.cell(cell.source)
                    if "attachments" in cell and one.kind != "code":
                        made.attachments = cell.attachments
                    new.append(made)
                elif self.texts[i] == one.text:
                    new.append(one.cell(one.source))
                else:
                    edited.append(name)
                    mine = [_bare(cell)]
                    if one.is_check and only_checks(cell.source):
                        mine = []
                    both = [one.cell(one.source), *mine]
                    new += reversed(both) if one.is_check else both
            new += self.after[i]
        if unknown:
            self.remarks.append(
                f"found unknown grade_id {_list(unknown)}, expected none: "
                "ignored"
            )
        if stripped:
            self.remarks.append(
                f"found {stripped} cells without grade_id, expected one in "
                "each: found again by text and functions"
            )
        if edited:
            self.remarks.append(
                f"found another text in {_list(edited)}, expected what was "
                "handed out: it counts"
            )
        return self._complete(new)

    def _complete(self, new: list[NotebookNode]) -> list[NotebookNode]:
        """With what is missing, behind what stood before it."""
        missing = []
        previous: list[str] = []
        for name, one in self.handed.items():
            if name not in self.seats and not one.is_answer:
                words = one.kind != "code" and one.points is None
                if not words:
                    missing.append(name)
                    places = {claim(c): i for i, c in enumerate(new)}
                    mine = [
                        places[key]
                        for key in self.handed
                        if key in places
                        and self.handed[key].exercise == one.exercise
                        and one.is_check
                    ] or [places[k] for k in previous[::-1] if k in places]
                    at = (
                        max(mine) + 1
                        if one.is_check
                        else (mine or [-1])[0] + 1
                    )
                    new.insert(at, one.cell(one.source))
            previous.append(name)
        if missing:
            self.remarks.append(
                f"found no {_list(missing)}, expected what was handed out: "
                "put back"
            )
        return new


def _bare(cell: NotebookNode) -> NotebookNode:
    """A cell of the student's own, which nbgrader does not look at."""
    if cell.cell_type == "code":
        return v4.new_code_cell(cell.source)
    if cell.cell_type == "raw":
        return v4.new_raw_cell(cell.source)
    made = v4.new_markdown_cell(cell.source)
    if "attachments" in cell:
        made.attachments = cell.attachments
    return made


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return ", ".join(names[:4]) + more


def mend(nb: NotebookNode, handed: Sequence[Handed]) -> list[str]:
    r"""Give a notebook the cells that grading expects.

    Args:
        nb: submitted; its cells are replaced.
        handed: the cells that were handed out, in their order.

    Returns:
        What was done: remarks with what was found and what was expected.

    Example:
        >>> stub = "def f(x):\n    raise NotImplementedError"
        >>> code = Handed("f_code", "code", stub, None, True, "")
        >>> check = Handed("check_f", "code", "check_f(f)", 1, False, "")
        >>> mine = v4.new_code_cell("def f(x):\n    return x")
        >>> nb = v4.new_notebook(cells=[mine])
        >>> for remark in mend(nb, [code, check]):  # doctest: +ELLIPSIS
        ...     print(remark)
        found 1 cells without grade_id, expected one in each: found again ...
        found no check_f, expected what was handed out: put back
        >>> [claim(cell) for cell in nb.cells]
        ['f_code', 'check_f']
    """
    done = Mended(list(nb.cells), {one.name: one for one in handed})
    done.seat_by_text()
    done.seat_answers()
    done.salvage()
    done.seat_words()
    done.name_answers()
    # titles and imports have the same names in all notebooks
    own = [name for name in done.claims if name not in ("", *COMMON)]
    n_known = sum(name in done.handed for name in own)
    nb.cells = done.result()
    for i, cell in enumerate(nb.cells):
        cell.id = f"cell-{i}"
    if n_known < len(own) - n_known:
        done.remarks.insert(
            0,
            f"found {n_known} known of {len(own)} grade_ids, expected all: "
            "is it another notebook?",
        )
    return done.remarks
