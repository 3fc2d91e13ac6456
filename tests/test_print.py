"""The book on paper: the page that is printed, and a few printed pages."""

import re
from collections import Counter

import print_book
import pytest
from browser import visit
from bs4 import BeautifulSoup
from test_site import NAMES, ROOT, SITE, config

PARTS = print_book.read_toc(ROOT / "_toc.yml")
FEW = [
    ("", ["book/intro"]),
    ("Chapters", ["book/04_elbo_and_reparameterisation"]),
    ("Exercises", ["book/exercises/04"]),
]


def collected(parts):
    html = print_book.collect(SITE, parts, config["title"], config["author"])
    return BeautifulSoup(html, "html.parser")


@pytest.fixture(scope="module")
def book():
    return collected(PARTS)


# --- what is printed --------------------------------------------------------


def test_every_page_is_in_the_book_in_the_order_of_the_contents(book):
    chapters = [tag["id"] for tag in book.select("section.chapter")]
    assert chapters == [*map(print_book.anchor, NAMES), "folded"]
    listed = [a["href"] for a in book.select("nav p.page a")]
    assert listed == [f"#{print_book.anchor(name)}" for name in NAMES]
    parts = [p.get_text() for p in book.select("nav p.part")]
    assert [p.removesuffix("0000") for p in parts] == [
        *(caption for caption, _ in PARTS if caption),
        print_book.FOLDED,
    ]


def test_ids_are_unique_and_no_link_is_broken(book):
    ids = Counter(tag["id"] for tag in book.find_all(id=True))
    assert max(ids.values()) == 1
    for tag in book.find_all("a", href=True):
        address = tag["href"]
        if address.startswith("#"):
            assert address[1:] in ids, tag
        else:
            assert re.match(r"(https|mailto):", address), tag


def test_links_between_pages_become_links_within_the_book(book):
    chapter = book.find(id=print_book.anchor(NAMES[2]))
    inside = [a["href"] for a in chapter.select('a[href^="#"]')]
    glossary = print_book.anchor("book/appendix/glossary", "term-VAE")
    assert f"#{glossary}" in [
        a["href"] for a in book.select("section.chapter a.glossary-term")
    ]
    assert len(inside) > 10


def test_pictures_of_the_book_are_files_of_the_site(book):
    pictures = book.find_all("img")
    assert len(pictures) > 40
    for picture in pictures:
        assert (SITE.parent / picture["src"]).is_file(), picture
        assert picture["alt"]


def test_nothing_is_printed_that_only_a_screen_needs(book):
    main = book.find("main")
    assert main.select("script, button, a.headerlink, details.hide") == []
    # code that the site folds away is there, without the word that unfolds it
    chapter = book.find(id=print_book.anchor("book/13_training_fast"))
    site = BeautifulSoup(
        (SITE / "book/13_training_fast.html").read_text(), "html.parser"
    ).find("article")
    assert len(chapter.find_all("pre")) == len(site.find_all("pre"))
    assert "Show code cell" not in chapter.get_text()


def test_solutions_stand_far_from_their_exercises(book):
    n_folded = 0
    for name in NAMES:
        html = (SITE / f"{name}.html").read_text(encoding="utf-8")
        n_folded += html.count('<details class="sd-')
    assert n_folded > 200
    last = book.find(id="folded")
    assert len(last.select("p.fold")) == n_folded
    assert book.find_all("details", class_="sd-dropdown") == []
    there = {f"#{tag['id']}" for tag in last.find_all("section", id=True)}
    pointers = book.find_all("p", class_="pointer")
    assert {p.a["href"] for p in pointers} == there
    for pointer in pointers:
        chapter = pointer.find_parent("section", class_="chapter")
        assert chapter["id"] != "folded"
        assert chapter.find(class_="sd-summary-content") is None


def test_headings_have_one_level_for_the_parts(book):
    tops = [h.get_text() for h in book.find("main").find_all("h1")]
    captions = [caption for caption, _ in PARTS if caption]
    assert [t for t in tops if t in captions] == captions
    chapter = book.find(id=print_book.anchor("book/05_a_map_of_digits"))
    assert len(chapter.find_all("h2")) == 1
    assert len(chapter.find_all("h3")) > 3


def test_a_link_to_what_is_not_printed_is_plain_text():
    soup = BeautifulSoup(
        '<p><a href="../a.html#b">A</a><a href="c.ipynb">C</a>'
        '<a href="https://example.org/">E</a><a href="#d">D</a></p>',
        "html.parser",
    )
    for tag in soup.find_all("a"):
        print_book.link_within(tag, "book/x/y", {"book/a", "book/x/y"})
    assert [a["href"] for a in soup.find_all("a")] == [
        "#at-a--b",
        "https://example.org/",
        "#at-x-y--d",
    ]
    assert soup.get_text() == "ACED"


# --- the paper --------------------------------------------------------------


@pytest.fixture(scope="module")
def paper(browser, tmp_path_factory):
    """A few pages, printed; pypdf's view of them."""
    from pypdf import PdfReader

    folder = tmp_path_factory.mktemp("print")
    (folder / SITE.name).symlink_to(SITE.resolve())
    soup = collected(FEW)
    source = folder / "few.html"
    source.write_text(str(soup), encoding="utf-8")
    pdf = folder / "few.pdf"
    print_book.print_page(browser, source.as_uri(), pdf)
    return PdfReader(pdf)


def test_the_paper_has_pages_of_one_size_with_text(paper):
    assert len(paper.pages) > 10
    for page in paper.pages:
        width, height = page.mediabox.width, page.mediabox.height
        assert (round(width), round(height)) == (595, 842)
        assert len(page.extract_text()) > 40
    assert paper.metadata.title == config["title"]
    assert paper.root_object["/Lang"] == "en"
    assert paper.root_object["/MarkInfo"]["/Marked"]


def outline(entries, level=0):
    for entry in entries:
        if isinstance(entry, list):
            yield from outline(entry, level + 1)
        else:
            yield level, entry.title.strip()


def test_the_paper_has_an_outline_of_parts_chapters_and_sections(paper):
    found = list(outline(paper.outline))
    for entry in (
        (0, "Contents"),
        (0, "Chapters"),
        (1, "4. The ELBO and the reparameterisation trick"),
        (0, print_book.FOLDED),
    ):
        assert entry in found
    assert sum(level == 2 for level, _ in found) > 8


def test_the_contents_name_the_page_where_a_chapter_begins(paper):
    texts = [page.extract_text() for page in paper.pages]
    contents = texts[1]
    for title in ("4. The ELBO and", "Exercises: the ELBO and"):
        line = re.search(rf"{re.escape(title)}.*?(\d+)$", contents, re.M)
        number = int(line[1])
        assert title in texts[number - 1]
        # below the text stands the number of the page
        assert re.search(rf"^{number}$", texts[number - 1], re.M)
    assert "0000" not in "".join(texts)


def test_mathematics_is_set_and_code_is_not_cut(paper):
    text = "".join(page.extract_text() for page in paper.pages)
    assert "\\mu" not in text
    assert "\\(" not in text
    # whatever long lines became on paper, no letter is missing
    chapter = collected(FEW).find(id=print_book.anchor(FEW[1][1][0]))
    code = [pre.get_text() for pre in chapter.find_all("pre")]
    lines = [line for block in code for line in block.splitlines()]
    squeezed = "".join(text.split())
    long = [line for line in lines if len(line) > 65]
    assert len(long) > 5
    for line in long:
        assert "".join(line.split()) in squeezed, line


def test_nothing_reaches_beyond_the_margin(browser, tmp_path):
    (tmp_path / SITE.name).symlink_to(SITE.resolve())
    source = tmp_path / "few.html"
    source.write_text(str(collected(FEW)), encoding="utf-8")
    with visit(browser, source.as_uri(), width=642) as (page, troubles):
        page.emulate_media(media="print")
        page.evaluate(print_book.READY)
        beyond = page.locator("pre, table, img, mjx-container").evaluate_all(
            """all => all.filter(one =>
              one.getBoundingClientRect().right > innerWidth + 1 ||
              one.scrollWidth > one.clientWidth + 1 && one.tagName === "PRE"
            ).map(one => one.outerHTML.slice(0, 200))"""
        )
        assert beyond == []
    assert troubles == []
