"""Write the appendices that are made from notebooks, runs and docstrings.

    python book/_ext/appendices.py        # or: make appendices

Without it there would be no list of all claims with their values, no versions
and run times, and no reference of the package. A test compares each page with
what this file gives.
"""

# sphinx-autoapi doubled the time of a build and read docstrings, which are
# plain text here, as reStructuredText: measured

import ast
import copy
import hashlib
import json
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import nbformat

sys.path.append(str(Path(__file__).resolve().parent))
import install_cell

BOOK = Path(__file__).resolve().parents[1]
APPENDIX = BOOK / "appendix"
SEEDS = APPENDIX / "seeds.json"  # written by seeds.py
PACKAGES = (
    BOOK.parent / "minivae",
    BOOK.parent / "course" / "minivae_course",
)
DO_NOT_EDIT = (
    "% Written by book/_ext/appendices.py (make appendices): do not edit.\n\n"
)


def pages() -> dict[Path, str]:
    """Path of each generated page -> its text."""
    modules = read_package()
    texts = {
        "claims": claims_page(),
        "versions": versions_page(),
        "package": package_page(modules),
        "api": api_page(modules),
    }
    return {
        APPENDIX / f"{name}.md": DO_NOT_EDIT + text
        for name, text in texts.items()
    }


def main() -> None:
    """Write all pages, and the cell that installs into each notebook."""
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8", newline="\n")
    for path in [*chapters(), BOOK / "try_it.ipynb"]:
        install_cell.renew(path)


# --- chapters ---------------------------------------------------------------


def chapters() -> list[Path]:
    """The chapters of the contents, in reading order; drafts are not."""
    contents = (BOOK.parent / "_toc.yml").read_text(encoding="utf-8")
    names = re.findall(r"- file: book/(\d\d_\w+)$", contents, re.M)
    return [BOOK / f"{name}.ipynb" for name in names]


def headings(text: str) -> Iterator[str]:
    """Headings of three levels in Markdown, without those in code."""
    text = re.sub(r"^(```+|~~~+).*?^\1", "", text, flags=re.M | re.S)
    for match in re.finditer(r"^#{1,3} +(.+?) *#*$", text, re.M):
        yield match[1]


def anchor(heading: str, taken: list[str]) -> str:
    """The anchor that MyST gives a heading (as GitHub does)."""
    text = re.sub(r"(?<!\\)\$[^$]*\$", "", heading)  # math leaves no trace
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"\{[\w:]+\}`[^`]*`", "", text)
    slug = re.sub(r"[^\w\- ]", "", text.lower().replace(" ", "-"))
    n = sum(other == slug for other in taken)
    taken.append(slug)
    return f"{slug}-{n}" if n else slug


def claims_of(notebook: nbformat.NotebookNode) -> Iterator[dict]:
    """Each claim: sentence, condition, measured, heading, anchor."""
    stored = {
        c["sentence"]: c["measured"]
        for c in notebook.metadata.get("minivae", {}).get("claims", ())
    }
    taken: list[str] = []
    place = ("", "")
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for heading in headings(cell.source):
                place = (heading, anchor(heading, taken))
        elif "claim" in cell.metadata.get("tags", ()):
            for node in ast.walk(ast.parse(cell.source)):
                if getattr(getattr(node, "func", 0), "id", "") == "claim":
                    sentence = ast.literal_eval(node.args[0])
                    text = ast.get_source_segment(cell.source, node.args[1])
                    text = " ".join(text.split())
                    # no spaces where the line was broken
                    text = re.sub(r"([(\[{]) ", r"\1", text)
                    yield {
                        "sentence": sentence,
                        "condition": re.sub(r",? ([)\]}])", r"\1", text),
                        "measured": stored.get(sentence, {}),
                        "heading": place[0],
                        "anchor": place[1],
                    }


def code(text: str) -> str:
    """Text as inline code, whatever it holds."""
    ticks = "``" if "`" in text else "`"
    pad = " " if "`" in text else ""
    return f"{ticks}{pad}{text}{pad}{ticks}"


def computing(notebook: nbformat.NotebookNode) -> str:
    """Hash of what a chapter computes, without what draws it or says it.

    So a new axis or another word does not ask for an hour of other seeds. A
    folded cell that calls `figures` only draws.
    """
    kept = []
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", ())
        if cell.cell_type != "code" or "remove-cell" in tags:
            continue
        if "hide-input" in tags and "figures." in cell.source:
            continue
        for node in ast.parse(cell.source).body:
            called = getattr(getattr(node, "value", 0), "func", None)
            name = called and ast.unparse(called)
            if isinstance(node, ast.Expr) and name:
                if name in ("say", "show") or name.startswith("figures."):
                    continue
                if name == "claim":  # the sentence
                    del node.value.args[0]
            kept.append(ast.unparse(node))
    return hashlib.sha256("\n".join(kept).encode()).hexdigest()[:16]


def seeds_table() -> dict:
    """Chapter -> hash of what it computed when it ran, and its claims.

    These are sentence -> digits -> what each seed gave.
    """
    return json.loads(SEEDS.read_text()) if SEEDS.exists() else {}


def other_seeds(found: dict[str, list[dict]]) -> str:
    """How often a claim held with all seeds, and between which values."""
    runs = [run for entries in found.values() for run in entries]
    if not runs:
        return "not run yet"
    text = f"it holds in {sum(r['holds'] for r in runs)} of {len(runs)} runs"
    for digits, entries in found.items():
        ranges = []
        for name in entries[0]:
            texts = [entry.get(name, "") for entry in entries]
            try:
                texts.sort(key=lambda text: float(text.replace(",", "")))
            except (AttributeError, ValueError):
                continue  # not a number: several, or a word
            if texts[0] != texts[-1]:
                ranges.append(code(f"{name}: {texts[0]} to {texts[-1]}"))
        title = {"mnist": "MNIST", "builtin": "built-in"}[digits]
        text += f"; {title} {', '.join(ranges)}" if ranges else ""
    return text


def claims_page() -> str:
    """Every claim of the book with its values and a link."""
    parts, total, n_chapters = [], 0, 0
    table = seeds_table()
    for path in chapters():
        notebook = nbformat.read(path, as_version=4)
        run = table.get(path.stem, {"computing": "", "claims": {}})
        is_new = run["computing"] == computing(notebook)
        title = "Three seeds" if is_new else "Before the chapter changed"
        lines = []
        for n, c in enumerate(claims_of(notebook), 1):
            link = f"../{path.name}#{c['anchor']}"
            measured = ", ".join(
                code(f"{name} = {value}")
                for name, value in c["measured"].items()
            )
            anew = run["claims"].get(c["sentence"], {})
            pad = " " * len(f"{n}. ")
            lines.append(
                f"{n}. **{escape(c['sentence'])}**\n\n"
                f"{pad}Measured: {measured or 'not stored yet'}.\\\n"
                f"{pad}Holds if: {code(c['condition'])}.\\\n"
                f"{pad}{title if anew else 'Three seeds'}: "
                f"{other_seeds(anew)}.\\\n"
                f"{pad}Where: [{c['heading']}]({link}).\n"
            )
        if lines:
            heading = next(headings(notebook.cells[0].source))
            parts.append(f"## {heading}\n\n" + "\n".join(lines))
            total, n_chapters = total + len(lines), n_chapters + 1
    return f"""# What this book claims

A claim is a sentence that code checks. This book makes {total} of them in
{n_chapters} chapters. The tests run each one twice, on MNIST and on the
built-in digits, and fail if it does not hold.

Below each sentence stands what was measured on MNIST when the chapter was
last stored, in the run that [Versions and run times](versions.md) describes,
and the condition with its tolerance, as it stands in the code. Names in a
condition are variables of the chapter. Long values are cut short, numbers
have about three digits. After that stands what became of the claim when the
whole chapter was run with three seeds on either data set, and between which
values the measured numbers lay. A claim that one of these runs refuses says
in its own words that it speaks of one run. Where the code of the chapter has
changed since, the line says so.

""" + "\n".join(parts)


def versions_page() -> str:
    """Versions and seconds, from what the last refresh noted."""
    runs = json.loads((APPENDIX / "runs.json").read_text())
    titles = {
        path.stem: next(
            headings(nbformat.read(path, as_version=4).cells[0].source)
        )
        for path in chapters()
    }
    runs = {name: runs[name] for name in titles}
    software = "".join(
        f"| {name} | {', '.join(sorted({r[name] for r in runs.values()}))} |\n"
        for name in runs[chapters()[0].stem]
        if name not in ("seconds", "threads", "trained")
    )
    times = "".join(
        f"| [{titles[name]}](../{name}.ipynb) | {run['seconds']:.0f} "
        f"| {run['trained']} | {run['threads']} |\n"
        for name, run in runs.items()
    )
    total = sum(run["seconds"] for run in runs.values())
    trained = sum(run["trained"] for run in runs.values())
    return f"""# Versions and run times

The outputs that these pages show were made on MNIST with the versions below.
Where a row has more than one, chapters were stored at different times.

| Software | Version |
| --- | --- |
{software}
The seconds are those of one run of each chapter on a CPU, from the start of
its kernel to its last cell. A model that was trained before with the same
code, options and data comes from the cache, whether an earlier chapter has
trained it or an earlier run of the same one. So the table also says how many
models each run had to train. A chapter that has to train more of them takes
longer.

| Chapter | Seconds | Models trained | Threads |
| --- | --: | --: | --: |
{times}| all together | {total:.0f} | {trained} | |
"""


# --- package ----------------------------------------------------------------

# as a reader meets them; a new module without a place comes first
ORDER = (
    "objective likelihoods priors networks models completion semi data train "
    "engine store evaluate anomalies latent probes toys clinic timing figures "
    "explorer notebook validate __main__ minivae_course"
)


def public(body: list[ast.stmt]) -> dict[str, ast.stmt]:
    """Functions and classes that do not begin with an underscore."""
    kinds = ast.FunctionDef | ast.ClassDef
    return {
        node.name: node
        for node in body
        if isinstance(node, kinds) and not node.name.startswith("_")
    }


# the checks stand in the instructor's guide, by exercise; minivae.checks only
# says where they went
UNSHOWN = re.compile(r"chapter_\d\d|project|checks")


def read_package() -> dict[str, dict]:
    """Module -> its docstring, public names, source and imports of ours.

    The coursework is a package of its own, and one entry.
    """
    found: dict[str, dict] = {}
    files = [(p, file) for p in PACKAGES for file in sorted(p.rglob("*.py"))]
    for package, file in files:
        name, *rest = file.relative_to(package).with_suffix("").parts
        if package != PACKAGES[0]:
            name, rest = package.name, [name, *rest]
        if name == "__init__" or UNSHOWN.fullmatch(file.stem):
            continue
        source = file.read_text(encoding="utf-8")
        tree = ast.parse(source)
        module = found.setdefault(
            name, {"doc": "", "names": {}, "uses": set()}
        )
        if not rest or rest == ["__init__"]:
            module["doc"] = ast.get_docstring(tree) or ""
        names = public(tree.body)
        module["names"] |= names
        for node in names.values():
            node.source = source
        for node in ast.walk(tree):
            if not isinstance(node, ast.ImportFrom) or not node.module:
                continue
            top, _, inner = node.module.partition(".")
            if top == "minivae":
                inner = [inner] if inner else [a.name for a in node.names]
                module["uses"] |= {i.split(".")[0] for i in inner}
    ours = found.keys()
    for name, module in found.items():
        module["uses"] = sorted((module["uses"] & ours) - {name})
    return {name: found[name] for name in sorted(found, key=ORDER.find)}


def target(module: str, name: str = "") -> str:
    """The label of a module or a name on the page of the reference."""
    # labels know no capitals, and Sliders and sliders are two names
    kind = "class-" if name[:1].isupper() else ""
    return f"api-{module}-{kind}{name}" if name else f"api-{module}"


def full_name(module: str) -> str:
    """What a module is called where it is imported."""
    packages = [package.name for package in PACKAGES]
    return module if module in packages else f"minivae.{module}"


def first_line(doc: str) -> str:
    """The first paragraph of a docstring, on one line."""
    return " ".join(doc.split("\n\n")[0].split())


def package_page(modules: dict[str, dict]) -> str:
    """Data flow, and one line for each module and public name."""
    parts = []
    for name, module in modules.items():
        uses = (
            ", ".join(f"`{u}`" for u in module["uses"])
            or "no other module of ours"
        )
        lines = [
            f"- [`{n}`](#{target(name, n)}): "
            f"{escape(first_line(ast.get_docstring(node) or ''))}\n"
            for n, node in module["names"].items()
        ]
        parts.append(
            f"## {name}\n\n{escape(first_line(module['doc']))} "
            f"Imports: {uses}.\n\n{''.join(lines)}"
        )
    intro = (BOOK / "_templates" / "package.txt").read_text(encoding="utf-8")
    return "\n".join([intro, *parts])


# --- API reference ----------------------------------------------------------


def escape(text: str) -> str:
    """Plain text as Markdown that shows the same text.

    What stands in backticks stays code, and so become words in double
    quotes, since these are names of entries.
    """
    text = re.sub(r'(?<![=`\w])("[a-z_-]+")', r"`\1`", text)
    parts = re.split(r"(`[^`]+`)", text)
    return "".join(
        part if i % 2 else re.sub(r"([\\*_\[\]{}<>$|#~^])", r"\\\1", part)
        for i, part in enumerate(parts)
    )


ARGUMENT = re.compile(r", (?=\*,|\*{0,2}[a-z_]\w*[:=])")  # not within a type


def signature(name: str, node: ast.FunctionDef) -> str:
    """Name, arguments and result, in lines of at most 72 characters."""
    result = f" -> {_written(node.returns)}" if node.returns else ""
    if any(ast.unparse(d) == "property" for d in node.decorator_list):
        return name + result
    given = copy.deepcopy(node.args)
    given.args = [a for a in given.args if a.arg not in ("self", "cls")]
    arguments = [
        a.replace("=", " = ", 1) if ":" in a else a
        for a in ARGUMENT.split(_written(given))
    ]
    line = f"{name}({', '.join(arguments)}){result}"
    if len(line) <= 72:
        return line
    lines = "".join(f"    {a},\n" for a in arguments)
    return f"{name}(\n{lines}){result}"


def _written(node: ast.AST) -> str:
    """As code, but a type without the quotes of one that comes later."""
    text = ast.unparse(node).replace("'", '"')
    return re.sub(r'(^|: )"(\w+)"', r"\1\2", text)


SECTION = re.compile(
    r"^(Args|Attributes|Returns|Yields|Raises|Example):$", re.M
)


def docstring(text: str) -> str:
    """A docstring as Markdown: paragraphs, then a list for each section."""
    body, *sections = SECTION.split(text)
    parts = [
        _paragraph(paragraph)
        for paragraph in re.split(r"\n\s*\n", body.strip())
    ]
    for title, content in zip(sections[::2], sections[1::2]):
        content = content.strip("\n")
        # a section may be followed by text that belongs to none
        lines = content.splitlines()
        n = next(
            (i for i, x in enumerate(lines) if x and not x.startswith(" ")),
            len(lines),
        )
        content, rest = "\n".join(lines[:n]), " ".join(lines[n:])
        if title in ("Returns", "Yields"):
            parts.append(f"*{title}:* {escape(' '.join(content.split()))}")
        elif title == "Example":
            # what tells doctest how to compare tells a reader nothing
            example = re.sub(
                r"^\.\.\. *# doctest:.*\n| *# doctest:.*",
                "",
                textwrap.dedent(content),
                flags=re.M,
            )
            parts.append(f"*Example:*\n\n```pycon\n{example.rstrip()}\n```")
        else:
            items = re.split(r"^ {4}(?! )", content, flags=re.M)[1:]
            parts.append(
                f"*{title}:*\n\n" + "\n".join(map(_item, items)).rstrip()
            )
        if rest.strip():
            parts.append(escape(" ".join(rest.split())))
    return "\n\n".join(parts)


def _paragraph(text: str) -> str:
    """A paragraph on one line, or the items of a list on one line each."""
    first, *items = re.split(r"^- ", text, flags=re.M)
    if first or not items:
        return escape(" ".join(text.split()))
    return "\n".join(f"- {escape(' '.join(i.split()))}" for i in items)


def _item(text: str) -> str:
    names, colon, meaning = " ".join(text.split()).partition(": ")
    if not colon:
        return f"- {escape(names)}"
    # a name may have a remark in brackets or be followed by an ellipsis
    shown = re.sub(r"\b[A-Za-z_]\w*\b", r"`\g<0>`", names)
    return f"- {shown}: {escape(meaning)}"


def api_page(modules: dict[str, dict]) -> str:
    """Signature and docstring of every public name."""
    parts = []
    for name, module in modules.items():
        parts.append(
            f"({target(name)})=\n## {full_name(name)}\n\n"
            f"{docstring(module['doc'])}\n"
        )
        for n, node in module["names"].items():
            parts.append(f"({target(name, n)})=\n### {escape(n)}\n")
            parts += _entry(n, node)
    return (
        "# API reference\n\nSignatures and docstrings of all public names, "
        "module by module. For an overview see "
        "[The package on one page](package.md). B, L, K, N, D and C are "
        "sizes as in [Notation](notation.md). Arguments of a wrong kind or "
        "out of range raise `TypeError` or `ValueError` with a message that "
        "says what to do, also where *Raises* does not list them. The tests "
        "run the examples.\n\n" + "\n".join(parts)
    )


def _entry(name: str, node: ast.stmt) -> Iterator[str]:
    doc = docstring(ast.get_docstring(node) or "")
    if isinstance(node, ast.FunctionDef):
        yield f"```python\n{signature(name, node)}\n```\n\n{doc}\n"
        return
    bases = ", ".join(ast.unparse(b) for b in node.bases)
    head = f"class {name}({bases})" if bases else f"class {name}"
    fields = [n for n in node.body if isinstance(n, ast.AnnAssign)]
    for method in node.body:
        if getattr(method, "name", "") == "__init__":
            line = signature(name, method).removesuffix(" -> None")
            head += f"\n\n{line}"
            break
    else:
        if fields and node.decorator_list:  # a dataclass
            lines = node.source.splitlines()
            head += ":"
            for f in fields:
                head += "\n" + "\n".join(lines[f.lineno - 1 : f.end_lineno])
    yield f"```python\n{head}\n```\n\n{doc}\n"
    for method, inner in public(node.body).items():
        yield from _entry(f"{name}.{method}", inner)


if __name__ == "__main__":
    main()
