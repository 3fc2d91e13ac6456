"""The pages as built by `make book`."""

import re
from functools import cache
from pathlib import Path

import pytest
import yaml
from bs4 import BeautifulSoup

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / "_build" / "html"

if not (SITE / "index.html").is_file():
    pytest.skip("no built pages: run make book", allow_module_level=True)

toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
NAMES = [toc["root"]] + [
    entry["file"] for part in toc["parts"] for entry in part["chapters"]
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


def test_the_site_holds_no_path_of_the_machine_that_built_it():
    home = str(Path.home())
    for file in SITE.rglob("*"):
        if file.suffix in (".html", ".js", ".css", ".txt"):
            text = file.read_text(encoding="utf-8", errors="replace")
            assert str(ROOT) not in text, file
            if len(home) > 1:
                assert f"{home}/" not in text, file


def test_mathematics_needs_no_network():
    assert (SITE / "_static" / "mathjax" / "tex-mml-chtml.js").is_file()
    fonts = SITE / "_static/mathjax/output/chtml/fonts/woff-v2"
    assert list(fonts.glob("*.woff"))
