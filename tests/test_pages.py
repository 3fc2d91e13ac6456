"""The chapters as stored: what nbval does not look at, this does."""

import ast
import importlib.util
import re
from pathlib import Path

import nbformat
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
BOOK = ROOT / "book"
spec = importlib.util.spec_from_file_location(
    "refresh", BOOK / "_ext" / "refresh.py"
)
refresh = importlib.util.module_from_spec(spec)
spec.loader.exec_module(refresh)

# every tag that a cell may carry, and why
TAGS = {
    "claim": "checked sentences; their output is compared",
    "cover": "its picture is the one of the introduction and the README",
    "hide-input": "shows code of the package; the call is folded away",
    "nbval-ignore-output": "data set in use, widgets, computed numbers",
    "remove-input": "a paragraph of text with computed numbers",
}
OUTPUTS = {"text/plain", "text/markdown", "image/png"}
FORBIDDEN = re.compile(r"\.backward\(|optim\b|zero_grad|\bnn\.Module")


def cells(path, kind="code"):
    notebook = nbformat.read(path, as_version=4)
    return [c for c in notebook.cells if c.cell_type == kind]


def tags(cell):
    return cell.metadata.get("tags", [])


chapter = pytest.mark.parametrize(
    "path", refresh.chapters(), ids=lambda p: p.stem
)


def test_the_table_of_contents_names_exactly_the_files_of_the_book():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    named = {toc["root"]}
    for part in toc["parts"]:
        named |= {entry["file"] for entry in part["chapters"]}
    pages = [*BOOK.rglob("*.ipynb"), *BOOK.rglob("*.md")]
    there = {
        str(p.relative_to(ROOT).with_suffix(""))
        for p in pages
        if ".ipynb_checkpoints" not in p.parts
    }
    assert named == there


@chapter
def test_cells_ran_once_and_in_order(path):
    counts = [c.execution_count for c in cells(path) if c.source.strip()]
    assert counts == list(range(1, len(counts) + 1))


@chapter
def test_no_cell_failed_or_shows_what_a_page_should_not(path):
    for cell in cells(path):
        for output in cell.outputs:
            assert output.output_type in (
                "stream",
                "display_data",
                "execute_result",
            ), cell.source
            if output.output_type == "stream":
                assert output.name == "stdout", cell.source
            assert set(output.get("data", {})) <= OUTPUTS, cell.source


@chapter
def test_nothing_is_skipped_but_for_a_known_reason(path):
    for cell in cells(path):
        assert set(tags(cell)) <= set(TAGS), tags(cell)
        assert "NBVAL" not in cell.source
        assert "raises-exception" not in tags(cell)
        magic = re.compile(r"^\s*[!%]", re.M)
        assert not magic.search(cell.source), cell.source


@chapter
def test_stored_outputs_belong_to_the_present_code(path):
    notebook = nbformat.read(path, as_version=4)
    stored = notebook.metadata["minivae"]
    present = {
        "cells": refresh.cells_fingerprint(notebook),
        "modules": {
            name: refresh.module_fingerprint(name)
            for name in stored["modules"]
        },
    }
    changed = [
        name
        for name, value in present["modules"].items()
        if value != stored["modules"][name]
    ]
    assert present == stored, (
        f"changed since the outputs were made: {changed or 'its cells'}; run "
        f"make refresh CHAPTER={path.stem}"
    )


def test_a_fingerprint_sees_code_but_not_comments(tmp_path, monkeypatch):
    module = tmp_path / "probe_module.py"
    monkeypatch.syspath_prepend(tmp_path)
    prints = []
    for text in (
        '"""One."""\nx = 1  # a\n',
        '"""Two."""\n# b\nx = 1\n',
        "x = 2\n",
    ):
        module.write_text(text)
        importlib.invalidate_caches()
        prints.append(refresh.module_fingerprint("probe_module"))
    assert prints[0] == prints[1] != prints[2]


@chapter
def test_every_figure_has_number_caption_and_alternative_text(path):
    names = []
    for cell in cells(path):
        pictures = [
            o for o in cell.outputs if "image/png" in o.get("data", {})
        ]
        if not pictures:
            continue
        assert len(pictures) == 1, cell.source
        meta = cell.metadata["mystnb"]
        names.append(meta["figure"]["name"])
        assert names[-1].startswith("fig-")
        alt, caption = meta["image"]["alt"], meta["figure"]["caption"]
        assert len(alt) > 40 and alt != caption, cell.source
        assert len(caption) > 30 and caption.endswith("."), cell.source
    assert len(names) >= 5
    assert len(names) == len(set(names))


@chapter
def test_models_losses_and_loops_live_in_the_package(path):
    for cell in cells(path):
        assert not FORBIDDEN.search(cell.source), cell.source
        nodes = ast.walk(ast.parse(cell.source))
        assert not [n for n in nodes if isinstance(n, ast.ClassDef)]


@chapter
def test_every_claim_is_stored_as_it_is_made(path):
    n_claims = 0
    for cell in cells(path):
        calls = [
            node
            for node in ast.walk(ast.parse(cell.source))
            if isinstance(node, ast.Call)
            and getattr(node.func, "id", "") == "claim"
        ]
        assert bool(calls) == ("claim" in tags(cell)), cell.source
        if not calls:
            continue
        assert tags(cell) == ["claim"], "a claim must be compared"
        sentences = [ast.literal_eval(call.args[0]) for call in calls]
        printed = "".join(o.text for o in cell.outputs).splitlines()
        assert printed == [f"\N{HEAVY CHECK MARK} {s}" for s in sentences]
        # a condition that is a constant could not fail
        for call in calls:
            names = {
                n.id for n in ast.walk(call.args[1]) if isinstance(n, ast.Name)
            }
            assert names, ast.unparse(call)
        n_claims += len(calls)
    assert n_claims >= 4


@chapter
def test_text_with_numbers_is_computed(path):
    for cell in cells(path):
        assert ("say(" in cell.source) == ("remove-input" in tags(cell))
        if "say(" in cell.source:
            assert "nbval-ignore-output" in tags(cell)
            data = cell.outputs[0].data
            assert "{" in data["text/plain"]
            assert "{" not in data["text/markdown"]
            assert re.search(r"\d", data["text/markdown"])


@chapter
def test_chapters_have_the_parts_that_readers_expect(path):
    text = "\n".join(c.source for c in cells(path, "markdown"))
    assert "**After this chapter you will be able to say**" in text
    for heading in (
        "## What this does not show",
        "## Summary",
        "## Exercises",
        "## Further reading",
    ):
        assert heading in text, heading
    summary = text.split("## Summary")[1].split("## Exercises")[0]
    assert len(re.findall(r"^\d\. ", summary, re.M)) == 5


def test_only_cited_works_are_in_the_bibliography():
    pages = [*BOOK.rglob("*.ipynb"), *BOOK.rglob("*.md")]
    text = "\n".join(p.read_text(encoding="utf-8") for p in pages)
    cited = {
        key.strip()
        for keys in re.findall(r"\{cite:[pt]\}`([^`]+)`", text)
        for key in keys.split(",")
    }
    bib = (BOOK / "references.bib").read_text(encoding="utf-8")
    assert cited == set(re.findall(r"@\w+\{(\w+),", bib))
