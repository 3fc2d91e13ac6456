"""The pages as built by `make book`."""

import getpass
import os
import re
import socket
import sys
from functools import cache
from pathlib import Path

import pytest
import yaml
from bs4 import BeautifulSoup

sys.path.append(str(Path(__file__).resolve().parents[1] / "book" / "_ext"))
import security
import tidy_pages

ROOT = Path(__file__).resolve().parents[1]
SITE = Path(os.environ.get("MINIVAE_SITE") or ROOT / "_build" / "html")

if not (SITE / "index.html").is_file():
    pytest.skip("no built pages: run make book", allow_module_level=True)

toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
NAMES = [toc["root"]] + [
    page["file"]
    for part in toc["parts"]
    for entry in part["chapters"]
    for page in (entry, *entry.get("sections", []))
]
page = pytest.mark.parametrize("name", NAMES)


@cache
def soup(name):
    html = (SITE / f"{name}.html").read_text(encoding="utf-8")
    return BeautifulSoup(html, "html.parser")


@page
def test_a_page_asks_no_other_host(name):
    for tag in soup(name).find_all(["script", "link", "img", "iframe"]):
        address = tag.get("src") or tag.get("href") or ""
        if "canonical" in tag.get("rel", []):
            continue
        assert not re.match(r"(https?:)?//", address), address


@page
def test_every_picture_says_what_it_shows(name):
    for image in soup(name).find("article").find_all("img"):
        alt = image.get("alt", "")
        assert len(alt) > 40, image
        assert not alt.endswith(".png"), image


@page
def test_figures_are_numbered_and_have_captions(name):
    article = soup(name).find("article")
    for image in article.find_all("img"):
        figure = image.find_parent("figure")
        assert figure is not None, image
        assert re.match(r"Figure \d+\.", figure.figcaption.get_text().strip())


@page
def test_no_markup_is_left_unresolved(name):
    text = soup(name).find("article").get_text()
    for mark in ("{cite", "{numref", "{glue", "{ref}", "```", "<Figure"):
        assert mark not in text, mark


# terms that mean one thing wherever they stand
TERMS = (
    "encoders?",
    "decoders?",
    "priors?(?! to)",
    "nats?",
    "ELBOs?|evidence lower bound",
    "(?<!onditional )(?:VAEs?|variational autoencoders?)",
)


@pytest.mark.parametrize(
    "name", [n for n in NAMES if re.match(r"book/\d\d_", n)]
)
def test_the_first_use_of_a_term_links_to_the_glossary(name):
    article = soup(name).find("article")
    links = [a["href"] for a in article.select("a.glossary-term")]
    assert len(links) >= 5
    assert len(links) == len(set(links))
    there = {t["id"] for t in soup("book/appendix/glossary").select("dt[id]")}
    assert {href.partition("#")[2] for href in links} <= there
    texts = [
        text
        for paragraph in article.find_all("p")
        for text in paragraph.find_all(string=True)
        if not text.find_parent(["figcaption", "table", "code"])
        and not text.find_parent(class_="math")
        and "glossary-term"
        in (text.find_parent("a") or {}).get("class", ["glossary-term"])
    ]
    for term in TERMS:
        word = re.compile(rf"(?<![\w-])(?:{term})(?![\w-])")
        uses = [text for text in texts if word.search(text)]
        assert not uses or uses[0].find_parent("a"), uses[0]


def test_the_glossary_is_in_the_order_of_the_alphabet():
    article = soup("book/appendix/glossary").find("article")
    firsts = [dl_item.find_previous("dt") for dl_item in article.select("dd")]
    names = []
    for dt in firsts:
        while (before := dt.find_previous_sibling()) and before.name == "dt":
            dt = before
        names.append(dt.get_text().strip("#\n ").lower())
    assert names == sorted(names)


def test_each_claim_links_to_the_section_where_it_stands():
    article = soup("book/appendix/claims").find("article")
    links = [a["href"] for a in article.select('a[href^="../"]')]
    assert len(links) >= 20
    for link in links:
        page, _, target = link.partition("#")
        assert target, link
        found = soup(f"book/{page[3:-5]}").find(id=target)
        assert found is not None, link


def test_figure_numbers_run_through_the_book():
    numbers = []
    for name in NAMES:
        captions = soup(name).find("article").find_all("figcaption")
        for caption in captions:
            found = re.match(r"Figure (\d+)\.", caption.get_text().strip())
            numbers.append(int(found.group(1)))
    assert numbers == list(range(1, len(numbers) + 1))


def names_of_this_machine():
    """Paths, and names that are no words of their own, as patterns."""
    paths = {str(ROOT), f"{Path.home()}/", "/home/", "/Users/", "file:///"}
    for path in paths - {"//", "/"}:
        yield re.escape(path)
    yield rf"\b{re.escape(getpass.getuser())}@"
    host = socket.gethostname()
    if len(host) > 3 and host != "localhost":
        yield rf"\b{re.escape(host)}\b"


def test_the_site_holds_no_path_user_or_host_of_the_machine_that_built_it():
    private = re.compile("|".join(names_of_this_machine()))
    endings = (".html", ".js", ".css", ".txt", ".ipynb", ".md", ".svg")
    for file in SITE.rglob("*"):
        # MathJax is as it was published
        if file.suffix in endings and "mathjax" not in file.parts:
            text = file.read_text(encoding="utf-8", errors="replace")
            assert not private.search(text), file


def test_each_page_has_the_policy_of_its_own_scripts():
    for file in SITE.rglob("*.html"):
        html = file.read_text(encoding="utf-8")
        found = BeautifulSoup(html, "html.parser")
        metas = found.select("meta[http-equiv=Content-Security-Policy]")
        assert len(metas) == 1, file
        # nothing that could run stands before it
        assert metas[0].find_previous(["script", "link", "style"]) is None
        scripts = security.Inline(html).scripts
        search = file == SITE / "search.html"
        assert metas[0]["content"] == security.policy(scripts, search), file
        assert security.protect(html, search) == html, file
        assert tidy_pages.tidy(html, search) == html, file


@page
def test_scripts_of_a_page_are_files_of_the_site(name):
    for script in soup(name).find_all("script", src=True):
        path = script["src"].partition("?")[0]
        file = (SITE / name).parent / path
        assert file.resolve().is_relative_to((SITE / "_static").resolve())
        assert file.is_file(), script


@page
def test_links_within_the_book_lead_somewhere(name):
    here = SITE / f"{name}.html"
    for link in soup(name).find_all(["a", "link"], href=True):
        path, _, target = link["href"].partition("#")
        if re.match(r"[a-z]+:", path):
            continue
        file = (here.parent / path.partition("?")[0]).resolve()
        file = file if path else here
        assert file.is_file(), link
        if target and file.suffix == ".html":
            other = file.relative_to(SITE.resolve()).with_suffix("")
            assert soup(str(other)).find(id=target), link


def test_mathematics_needs_no_network():
    assert (SITE / "_static" / "mathjax" / "tex-mml-chtml.js").is_file()
    fonts = SITE / "_static/mathjax/output/chtml/fonts/woff-v2"
    assert list(fonts.glob("*.woff"))


def test_the_policy_allows_the_scripts_of_a_page_and_no_handler():
    page = '<head><meta charset="utf-8" />\n<script>a()</script></head>'
    html = security.protect(page)
    assert html.count("'sha256-") == 1
    assert security.protect(html) == html
    other = security.protect(html.replace("a()", "b()"))
    assert other.count("'sha256-") == 1
    assert other != html.replace("a()", "b()")
    data = '<script type="application/json">{}</script>'
    assert "sha256" not in security.protect('<meta charset="utf-8">' + data)
    with pytest.raises(ValueError, match="inline handler onclick"):
        security.protect(page + '<button onclick="a()">a</button>')
    with pytest.raises(ValueError, match="no <meta charset>"):
        security.protect("<p>a</p>")


def test_rules_stay_where_all_their_classes_are_used():
    css = (
        "a{b:c}.used:before,.gone:before{b:c}.used .gone{b:c}"
        "@media print{.used{b:c}.gone{b:c}}a:is(.gone,.used){b:c}"
    )
    kept = tidy_pages.without_unused(css, {"used"})
    assert kept == (
        "a{b:c}.used:before{b:c}@media print{.used{b:c}}a:is(.gone,.used){b:c}"
    )
    assert tidy_pages.without_unused(kept, {"used"}) == kept
