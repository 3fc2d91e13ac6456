"""The API reference: each public name is explained, and its example runs."""

import ast
import doctest
import importlib
import re
import sys

import pytest
from conftest import ROOT

sys.path.append(str(ROOT / "book" / "_ext"))
import appendices

TREES = {
    ".".join(file.relative_to(folder.parent).with_suffix("").parts): ast.parse(
        file.read_text(encoding="utf-8")
    )
    for folder in appendices.PACKAGES
    for file in sorted(folder.rglob("*.py"))
    if file.stem != "__init__" and not appendices.UNSHOWN.fullmatch(file.stem)
}
PUBLIC = {
    f"{module}.{name}": node
    for module, tree in TREES.items()
    for name, node in appendices.public(tree.body).items()
}
# what cannot run here in a moment, and why
NO_EXAMPLE = {
    "minivae_course.__main__.marks": "reads the gradebook of nbgrader",
    "minivae_course.__main__.nbgrader": "starts nbgrader",
    "minivae_course.__main__.release": "starts nbgrader",
    "minivae_course.grading.handed_out": "reads the gradebook of nbgrader",
    "minivae_course.process.serve": "lives in a process of its own",
    "minivae_course.process.warm": "starts a process that loads torch",
}


def lacking(node):
    """What the docstring of a function or a class does not say."""
    _, *parts = appendices.SECTION.split(ast.get_docstring(node) or "")
    sections = dict(zip(parts[::2], parts[1::2]))
    example = sections.get("Example", "")
    if ">>> " not in example:
        yield "an example"
    elif re.search(r"^\S", example, re.M) or [*sections][-1] != "Example":
        yield "an example at its end"
    function = node
    if isinstance(node, ast.ClassDef):
        own = {getattr(n, "name", ""): n for n in node.body}
        function = own.get("__init__")
    if function is None:
        return
    args = function.args
    names = [a.arg for a in [*args.args, *args.kwonlyargs, args.vararg] if a]
    names = [name for name in names if name != "self"]
    if len(names) == 1 and function is node:
        return  # the summary says it
    # what a class is given may be what it shows
    items = sections.get("Args", "") + sections.get("Attributes", "")
    known = re.findall(r"(?:^ {4}|; )(\w[^:;\n]*):", items, re.M)
    known = re.findall(r"\w+", " ".join(known))
    yield from (name for name in names if name not in known)
    result = ast.unparse(function.returns) if function.returns else "None"
    nothing = not names or result in ("None", "Iterator[None]")
    if not nothing and not {"Returns", "Yields"} & sections.keys():
        yield "what it returns"


def run(text, module):
    """Run the examples in a docstring; fails with what was found."""
    found = []
    test = doctest.DocTestParser().get_doctest(
        text, vars(module).copy(), module.__name__, module.__file__, 0
    )
    doctest.DocTestRunner(verbose=False).run(test, out=found.append)
    assert not found, "".join(found)


def test_the_reference_shows_these_names():
    shown = [
        name
        for module in appendices.read_package().values()
        for name in module["names"]
    ]
    assert sorted(shown) == sorted(n.rpartition(".")[2] for n in PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_is_explained(name):
    missing = ["an example"] if name in NO_EXAMPLE else []
    assert list(lacking(PUBLIC[name])) == missing


def test_few_names_have_no_example():
    assert NO_EXAMPLE.keys() <= PUBLIC.keys()
    assert len(NO_EXAMPLE) < 10


@pytest.mark.parametrize("name", TREES)
def test_the_examples_of_a_module_run(name, tmp_path, monkeypatch):
    if name == "minivae_course.grading":
        pytest.importorskip("nbgrader")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINIVAE_CACHE", str(tmp_path / "cache"))
    module = importlib.import_module(name)
    kinds = ast.Module | ast.FunctionDef | ast.ClassDef
    for node in ast.walk(TREES[name]):
        if isinstance(node, kinds) and (doc := ast.get_docstring(node)):
            run(doc, module)
    left = {path.name for path in tmp_path.iterdir()}
    assert left <= {"cache"}, "an example leaves files behind"


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("One.", ["an example", "a", "b", "what it returns"]),
        (
            "One.\n\nArgs:\n    a, b: two.\n\nReturns:\n    It.\n\n"
            "Example:\n    >>> 1\n    1",
            [],
        ),
        (
            "One.\n\nArgs:\n    a: b.\n\nExample:\n    >>> 1\n    1\n\n"
            "Returns:\n    It.",
            ["an example at its end", "b"],
        ),
    ],
    ids=["without", "whole", "parts"],
)
def test_what_a_docstring_lacks_is_found(text, missing):
    code = f"def f(a: int, *, b: int) -> int:\n    {text!r}"
    assert list(lacking(ast.parse(code).body[0])) == missing


def test_an_example_with_another_result_is_refused():
    run("Example:\n    >>> 1 + 1\n    2", doctest)
    with pytest.raises(AssertionError, match="Expected"):
        run("Example:\n    >>> 1 + 1\n    3", doctest)


def test_an_example_is_code_on_the_page():
    text = (
        "One.\n\nReturns:\n    A number.\n\nExample:\n"
        "    >>> f()  # doctest: +ELLIPSIS\n    1...\n"
        "    >>> g()\n    ...  # doctest: +ELLIPSIS\n    2..."
    )
    assert appendices.docstring(text).split("\n") == [
        "One.",
        "",
        "*Returns:* A number.",
        "",
        "*Example:*",
        "",
        "```pycon",
        ">>> f()",
        "1...",
        ">>> g()",
        "2...",
        "```",
    ]
