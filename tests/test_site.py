"""The pages as built by `make book`."""

import re
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
