"""The chapters as stored: what nbval does not look at, this does."""

import ast
import copy
import importlib.util
import inspect
import json
import re
import subprocess
import types
import warnings
from pathlib import Path

import nbformat
import prose
import pytest
import torch
import yaml

import minivae

ROOT = Path(__file__).resolve().parents[1]
BOOK = ROOT / "book"


def extension(name):
    """A module of book/_ext, which is no package."""
    spec = importlib.util.spec_from_file_location(
        name, BOOK / "_ext" / f"{name}.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


refresh, appendices = extension("refresh"), extension("appendices")
seeds = extension("seeds")
glossary_links = extension("glossary_links")
install_cell = extension("install_cell")

# every tag that a cell may carry, and why
TAGS = {
    "claim": "checked sentences; their plain text is compared",
    "cover": "its picture is the one of the introduction and the README",
    "full-width": "three maps beside each other need the whole window",
    "hide-input": "what it shows matters, and the code is folded away",
    "nbval-ignore-output": "data set in use, widgets, computed numbers",
    "remove-input": "a paragraph of text with computed numbers",
    "remove-cell": "installs the package where it is missing",
}
OUTPUTS = {"text/plain", "text/markdown", "image/png", refresh.VIEW}


def cells(path, kind="code"):
    notebook = nbformat.read(path, as_version=4)
    return [c for c in notebook.cells if c.cell_type == kind]


def tags(cell):
    return cell.metadata.get("tags", [])


# one of the pages is no chapter: it is there to play
NUMBERED = [path for path in refresh.chapters() if path.stem[0].isdigit()]
chapter = pytest.mark.parametrize(
    "path", refresh.chapters(), ids=lambda p: p.stem
)
numbered = pytest.mark.parametrize("path", NUMBERED, ids=lambda p: p.stem)


def test_the_table_of_contents_names_exactly_the_files_of_the_book():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    named = {toc["root"]}
    for part in toc["parts"]:
        for entry in part["chapters"]:
            pages = (entry, *entry.get("sections", []))
            named |= {page["file"] for page in pages}
    # the notebooks of the exercises are downloads of their pages
    pages = [*BOOK.glob("*.ipynb"), *BOOK.rglob("*.md")]
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
def test_no_bar_in_a_word_splits_a_row_of_a_table(path):
    texts = [cell.source for cell in cells(path, "markdown")]
    for cell in cells(path):
        shown = (output.get("data", {}) for output in cell.outputs)
        texts += [data.get("text/markdown", "") for data in shown]
    for text in texts:
        for table in re.findall(r"(?:^\|.*\n?)+", text, re.M):
            rows = table.splitlines()
            bars = {len(re.findall(r"(?<!\\)\|", row)) for row in rows}
            assert len(bars) == 1, table


@chapter
def test_nothing_is_skipped_but_for_a_known_reason(path):
    for cell in cells(path):
        assert set(tags(cell)) <= set(TAGS), tags(cell)
        assert "NBVAL" not in cell.source
        assert "raises-exception" not in tags(cell)
        magic = re.compile(r"^\s*[!%]", re.M)
        assert not magic.search(cell.source), cell.source


@chapter
def test_only_the_first_code_may_install_what_is_missing(path):
    found = [cell for cell in cells(path) if "remove-cell" in tags(cell)]
    # without an address there is nothing to install from
    assert found == cells(path)[: bool(install_cell.address())]
    assert all(cell.outputs == [] for cell in found)
    notebook = nbformat.read(path, as_version=4)
    again = install_cell.place(copy.deepcopy(notebook))
    assert again == notebook, "run make appendices"


def test_no_notebook_shows_an_address_that_is_nobodys():
    notebooks = sorted((ROOT / "book").rglob("*.ipynb"))
    assert len(notebooks) > 20
    for path in notebooks:
        assert install_cell.NOBODY not in path.read_text(), path.name


def test_a_notebook_without_the_package_asks_pip_for_it(monkeypatch):
    asked = []
    url = "https://github.com/ada/minivae"
    monkeypatch.setattr(install_cell, "address", lambda: url)
    notebook = nbformat.v4.new_notebook()
    notebook.cells.append(nbformat.v4.new_code_cell("import minivae"))
    (cell, _) = install_cell.place(notebook).cells
    assert len(install_cell.place(notebook).cells) == 2
    monkeypatch.setattr(
        subprocess, "run", lambda words, check: asked.append(words)
    )
    run_source = compile(cell.source, "cell", "exec")
    types.FunctionType(run_source, {})()
    assert asked == []  # it is there
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    types.FunctionType(run_source, {})()
    ((*_, package),) = asked
    assert package == f"minivae[book] @ git+{url}"
    monkeypatch.setattr(install_cell, "address", lambda: "")
    assert len(install_cell.place(notebook).cells) == 1


@chapter
@pytest.mark.filterwarnings("default:outputs older")
def test_outputs_older_than_the_code_are_listed(path):
    """A warning: nbval runs the chapter with the present code anyway."""
    if changed := refresh.older_than(path):
        warnings.warn(
            f"outputs older than {', '.join(changed)}: before a release, run "
            f"make refresh CHAPTER={path.stem}",
            stacklevel=1,
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
    # a module that is gone is no error, it is a change
    assert refresh.module_fingerprint("no_such_module") not in prints


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
    assert len(names) >= (5 if path in NUMBERED else 1)
    assert len(names) == len(set(names))


ASIDE = ("figures", "setup", "show", "say", "claim", "explorer", "sliders")


@numbered
def test_two_thirds_of_the_code_that_is_seen_are_the_idea(path):
    seen = aside = 0
    for cell in cells(path):
        hidden = bool(refresh.FOLDED.intersection(tags(cell)))
        assert cell.metadata.get("jupyter", {}) == (
            {"source_hidden": True} if hidden else {}
        )
        if hidden:
            continue
        lines = cell.source.split("\n")
        seen += len([line for line in lines if line.strip()])
        for node in ast.parse(cell.source).body:
            call = ast.unparse(node).partition("(")[0].partition(".")[0]
            if isinstance(node, ast.Import | ast.ImportFrom) or call in ASIDE:
                aside += node.end_lineno - node.lineno + 1
    assert aside <= seen / 3, f"{aside} of {seen} lines"


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
        assert tags(cell) == ["claim", "hide-input"], "it must be compared"
        sentences = [ast.literal_eval(call.args[0]) for call in calls]
        printed = [o["data"]["text/plain"] for o in cell.outputs]
        assert all(
            re.search("Measured: `.*Asked: `", o["data"]["text/markdown"])
            for o in cell.outputs
        )
        assert printed == [f"\N{HEAVY CHECK MARK} {s}" for s in sentences]
        # a condition that is a constant could not fail
        for call in calls:
            names = {
                n.id for n in ast.walk(call.args[1]) if isinstance(n, ast.Name)
            }
            assert names, ast.unparse(call)
        n_claims += len(calls)
    assert n_claims >= (4 if path in NUMBERED else 0)


@chapter
def test_what_each_claim_measured_is_stored(path):
    notebook = nbformat.read(path, as_version=4)
    found = list(appendices.claims_of(notebook))
    stored = notebook.metadata["minivae"].get("claims", [])
    assert [c["sentence"] for c in stored] == [c["sentence"] for c in found], (
        f"run make refresh CHAPTER={path.stem}"
    )
    for one in stored:
        assert one["measured"], one["sentence"]
        for value in one["measured"].values():
            assert isinstance(value, str)
            assert 0 < len(value) <= 90


@numbered
def test_a_claim_that_a_seed_refuses_speaks_of_one_run(path):
    table = appendices.seeds_table().get(path.stem, {}).get("claims", {})
    notebook = nbformat.read(path, as_version=4)
    sentences = [c["sentence"] for c in appendices.claims_of(notebook)]
    for sentence in filter(table.__contains__, sentences):
        runs = [run for digits in table[sentence].values() for run in digits]
        assert len(runs) == len(seeds.DIGITS) * len(seeds.SEEDS), sentence
        held = all(run["holds"] for run in runs)
        assert held or "this run" in sentence, sentence


@pytest.mark.filterwarnings("default:seeds older")
def test_claims_not_yet_run_with_other_seeds_are_listed():
    """A warning, as for outputs: `make seeds` takes long."""
    if names := seeds.out_of_date():
        warnings.warn(
            f"seeds older than the code of {', '.join(names)}: make seeds",
            stacklevel=1,
        )


@pytest.mark.slow
def test_other_seeds_draw_other_numbers_and_note_what_fails(tmp_path):
    pytest.importorskip("ipykernel")
    source = """
import torch
from minivae.data import seeded
from minivae.notebook import claim, setup
setup()
drawn = torch.rand(())
own = torch.rand((), generator=torch.Generator().manual_seed(4))
engine = torch.rand((), generator=seeded("cpu", "noise", 1))
claim("They differ.", drawn == 0, drawn=drawn, own=own, engine=engine)
claim("It went on.", drawn >= 0, drawn=drawn)
"""
    path = tmp_path / "00_try.ipynb"
    cell = nbformat.v4.new_code_cell(source)
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
    runs = [seeds.run(path, "builtin", seed) for seed in (0, 1, 1)]
    assert [[c["holds"] for c in run] for run in runs] == [[False, True]] * 3
    first, other, again = (run[0]["measured"] for run in runs)
    assert other == again
    assert all(first[name] != other[name] for name in first)
    torch.manual_seed(0)
    assert float(first["drawn"]) == pytest.approx(float(torch.rand(())), 2e-3)


@pytest.mark.parametrize(
    ("source", "is_same"),
    [
        ("x = fit(2)\nclaim('Other words.', x > 1, x=x)", True),
        ("x = fit( 2 )  # as before\nclaim('It grows.', x > 1, x=x)", True),
        ("x = fit(2)\nclaim('It grows.', x > 1, x=x)\nsay('{x}', x=x)", True),
        ("x = fit(2)\nfigures.bars(x)\nclaim('It grows.', x > 1, x=x)", True),
        ("x = fit(3)\nclaim('It grows.', x > 1, x=x)", False),
        ("x = fit(2)\nclaim('It grows.', x > 0, x=x)", False),
        ("x = fit(2)\nx.grow()\nclaim('It grows.', x > 1, x=x)", False),
    ],
)
def test_only_what_a_chapter_computes_asks_for_other_seeds(source, is_same):
    def computing(*texts):
        cells = [nbformat.v4.new_code_cell(text) for text in texts]
        for cell in cells[1:]:
            cell.metadata.tags = ["hide-input"]
        return appendices.computing(nbformat.v4.new_notebook(cells=cells))

    before = "x = fit(2)\nclaim('It grows.', x > 1, x=x)"
    assert (computing(source) == computing(before)) == is_same
    drawn = "figure = figures.bars(x)\nfigure.axes[0].set(ylim=(0, 1))"
    assert computing(before, drawn) == computing(before)
    assert computing(before, "y = fit(3)") != computing(before)


def test_the_spread_over_seeds_is_told_in_a_line():
    found = {
        "mnist": [
            {"holds": True, "x": "1,200", "each": "[1, 2]"},
            {"holds": True, "x": "999", "each": "[2, 2]"},
            {"holds": False, "x": "-3.5", "each": "[3, 2]"},
        ],
        "builtin": [{"holds": True, "x": "7", "each": "[1, 2]"}] * 3,
    }
    assert appendices.other_seeds(found) == (
        "it holds in 5 of 6 runs; MNIST `x: -3.5 to 1,200`"
    )
    assert appendices.other_seeds({}) == "not run yet"


@pytest.mark.slow
def test_a_chapter_is_stored_with_its_claims_and_twice_the_same(tmp_path):
    pytest.importorskip("ipykernel")
    source = (
        "from minivae.notebook import claim, setup\nsetup()\n"
        "claim('Two is more.', 2 > 1, two=2.0, names=['a'])"
    )
    cell = nbformat.v4.new_code_cell(source)
    path = tmp_path / "00_try.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
    stored = []
    for _ in range(2):
        run = refresh.refresh(path)
        stored.append(path.read_bytes())
    assert stored[0] == stored[1]
    assert run["trained"] == 0
    assert run["seconds"] > 0
    notebook = nbformat.read(path, as_version=4)
    *_, cell = notebook.cells  # a first one may install
    assert cell.outputs[0]["data"]["text/plain"] == "\u2714 Two is more."
    assert notebook.metadata["minivae"]["claims"] == [
        {
            "sentence": "Two is more.",
            "measured": {"two": "2.00", "names": "[a]"},
        }
    ]


def test_generated_appendices_are_up_to_date():
    for path, text in appendices.pages().items():
        stale = path.read_text(encoding="utf-8") != text
        assert not stale, f"{path.name} is out of date: run make appendices"


def test_every_run_is_noted_without_the_machine():
    runs = json.loads(refresh.RUNS.read_text())
    assert list(runs) == [path.stem for path in refresh.chapters()]
    known = {"python", "threads", "seconds", "trained", *refresh.PACKAGES}
    for run in runs.values():
        assert run.keys() == known
        assert run["seconds"] > 0


CELLS = [
    ("markdown", "# 7. A title"),
    ("markdown", "## Text\n\n```\n# no heading\n```\n\n## The $x$, a *map*"),
    ("claim", "claim(\n    'One ' 'claim.',\n    all(\n        x < 0.5\n"
              "        for x in xs\n    ),\n    xs=xs,\n)"),
    ("markdown", "## Text"),
    ("claim", "claim('Two.', y > 1, y=y)"),
]  # fmt: skip


def test_the_list_of_claims_has_condition_place_and_values():
    notebook = nbformat.v4.new_notebook()
    for kind, source in CELLS:
        if kind == "markdown":
            cell = nbformat.v4.new_markdown_cell(source)
        else:
            cell = nbformat.v4.new_code_cell(source)
            cell.metadata["tags"] = [kind]
        notebook.cells.append(cell)
    measured = [{"sentence": "Two.", "measured": {"y": "3"}}]
    notebook.metadata["minivae"] = {"claims": measured}
    one, two = appendices.claims_of(notebook)
    assert one == {
        "sentence": "One claim.",
        "condition": "all(x < 0.5 for x in xs)",
        "measured": {},
        "heading": "The $x$, a *map*",
        "anchor": "the--a-map",
    }
    assert two["measured"] == {"y": "3"}
    assert two["anchor"] == "text-1"


def test_docstrings_become_readable_markdown():
    text = (
        "KL of *q*, |x|.\n\nSource.\n\nArgs:\n    mu, logvar: two,\n"
        '        (B, L).\n    kind: "sum" or `None`.\n\n'
        "Returns:\n    Nats, [0, 1]."
    )
    assert appendices.docstring(text).split("\n") == [
        r"KL of \*q\*, \|x\|.",
        "",
        "Source.",
        "",
        "*Args:*",
        "",
        "- `mu`, `logvar`: two, (B, L).",
        '- `kind`: `"sum"` or `None`.',
        "",
        r"*Returns:* Nats, \[0, 1\].",
    ]
    source = "def f(self, a: int, *b: str, c: 'X' = \"d\", **e) -> int: ..."
    node = ast.parse(source).body[0]
    line = appendices.signature("f", node)
    assert line == 'f(a: int, *b: str, c: X = "d", **e) -> int'


def test_a_list_in_a_docstring_stays_a_list():
    text = "Two parts:\n\n- `a`, one\n  of *two*;\n- b.\n\nNo list - none."
    assert appendices.docstring(text).split("\n") == [
        "Two parts:",
        "",
        r"- `a`, one of \*two\*;",
        "- b.",
        "",
        "No list - none.",
    ]


def test_the_reference_has_every_public_name():
    text = (BOOK / "appendix" / "api.md").read_text()
    overview = (BOOK / "appendix" / "package.md").read_text()
    for name in minivae.__all__:
        if inspect.ismodule(getattr(minivae, name)):
            continue
        module = getattr(minivae, name).__module__.split(".")[1]
        label = appendices.target(module, name)
        assert f"({label})=" in text
        assert f"(#{label})" in overview


ENTRIES = {
    "VAE": "vae",
    "variational autoencoder": "vae",
    "autoencoder": "ae",
    "code": "code",
    "Jensen's inequality": "jensen",
    "nat": "nat",
    "rate": "rate",
}


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (["A variational autoencoder. The VAE"], ["variational autoencoder"]),
        (["Autoencoders, an autoencoder"], ["Autoencoders"]),
        (["two nats", " and a nat"], ["nats"]),
        (["by Jensen\N{RIGHT SINGLE QUOTATION MARK}s inequality"], ["Jensen"]),
        (["In code, the code of the package; a code cell"], []),
        (["what a code says"], ["code"]),
        (["The learning rate; the rate of errors"], []),
        (["the rate falls"], ["rate"]),
        (["CVAE, VAE-like, nature, code-free"], []),
    ],
)
def test_the_first_use_of_a_term_is_found(pieces, expected):
    finder = glossary_links.Finder(ENTRIES)
    found = [list(finder.split(piece)) for piece in pieces]
    for piece, parts in zip(pieces, found):
        assert "".join(text for text, _ in parts) == piece
    linked = [text for parts in found for text, entry in parts if entry]
    assert len(linked) == len(expected)
    for text, start in zip(linked, expected):
        assert text.startswith(start)


@chapter
def test_numbers_in_prose_are_computed(path):
    code = "\n".join(c.source for c in cells(path))
    texts = [c.source for c in cells(path, "markdown")]
    derived = prose.derived_in("\n".join(texts))
    for cell in cells(path):
        texts += [
            # what say fills in is computed; the rest is prose like any other
            re.sub(r"\{[^{}]*\}", "field", ast.literal_eval(call.args[0]))
            for call in ast.walk(ast.parse(cell.source))
            if isinstance(call, ast.Call)
            and getattr(call.func, "id", "") == "say"
        ]
    for text in texts:
        assert prose.bare_numbers(text, code, derived) == []


@pytest.mark.parametrize(
    "name",
    [
        "intro",
        "appendix/notation",
        "appendix/glossary",
        "appendix/gaussian_integrals",
    ],
)
def test_numbers_on_other_pages_have_a_reason(name):
    text = (BOOK / f"{name}.md").read_text(encoding="utf-8")
    assert prose.bare_numbers(text) == []


SETS = "VAE(n_latent=20); n = 2_000; epochs = 7; limit = 0.25; turn(15)"


@pytest.mark.parametrize(
    "text",
    [
        "# 5. A map\n\nas chapter 2, chapters 10 to 15 and exercise 4 say",
        "equation 8 of Burda, figure 3, part 2, appendix B",
        "in 2014 {cite:p}`kingma2014`, by Kingma (2013)",
        "1. **Title** (one star, 20 minutes). Draw it.",
        "the VAE with 20 dimensions, on 2,000 new digits, 2000 of them",
        "784 numbers, 28 by 28 pixels, 60,000 digits, ten classes",
        "weighs the KL 784 times too much",
        "from 0 to 1, mean 0 and variance 1",
        "tell a 4 from a 9; the threes; 4 beside 9, 3 beside 5 and 8",
        "encode a slanted 3, decode it as a 5; many 5s; the label is 7",
        "a 2-D code, the 10th",
        "$784 \\ln 2 \\approx 543$ nats. Later: 543 nats are much.",
        "$$\n7.3 + 2\n$$\n\nfor $K = 20$ and $\\mathcal{N}(0, 1)$",
        "`fit(epochs=97)` and\n\n```python\nx = 123\n```\n",
        "[text](https://example.org/123/456)",
        "| 12.5 | 13.7 |",
        "slanted by 15 degrees",
        "gains about seven nats, three times",
        "## Exercises\n\n1. Scale by 0.7 and train for 33 epochs.",
        "```{note}\nThe label 5.\n```",
    ],
)
def test_numbers_with_a_reason_pass(text):
    assert prose.bare_numbers(text, SETS) == []


@pytest.mark.parametrize(
    "text",
    [
        "gains 7 nats",  # also set in the code, as a number of epochs
        "and pays $784 \\ln 2$ nats, about 543",
        "97 % of the fives",
        "97% of the fives",
        "it is 20 times larger",
        "3x faster",
        "takes 20 seconds",
        "takes 7 s",
        "the error falls to 12.5",
        "the error falls to 6",
        "it gains 6",
        "uses 3 dimensions",
        "with 6 active units",
        "an ELBO of -99.6",
        "$7$ nats",
        "$\\approx 6.2$ nats",
        "$\\mathrm{KL} \\approx 6.2$",
        "$\\mathrm{KL} = 6.2$",
        "1999 digits",
        "95 per cent",
        "## Exercises\n\n1. It gains 3 nats.",
        "## Exercises\n\nText.\n\n## Further\n\nabout 33",
        "```{note}\nAbout 33.\n```",
        "```{figure} a.png\n:width: 420px\n\nAbout 33.\n```",
        "**33** and *44*",
    ],
)
def test_bare_numbers_are_refused(text):
    assert prose.bare_numbers(text, SETS) != []


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


@numbered
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
    assert 1500 <= len(text.split()) <= 3500


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
