"""Print the built pages as one PDF.

    python book/_ext/print_book.py        # or: make pdf

The articles of all pages are put into one page in the order of the contents,
with links from one to the other, and Chromium prints it. What is folded on
the site is open, except hints, solutions and answers: they have a chapter of
their own at the end. Sliders appear as their still picture.

Without it the book on paper would have no page numbers, running titles and
outline, and what is folded would stay shut: pdfhtml of jupyter-book asks for
none of these, and for a Chromium that playwright has to download.

Chromium cannot write page numbers into a table of contents. So the book is
printed twice: the first time to learn where each chapter begins.
"""

import json
import os
import posixpath
import re
import shutil
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from string import Template
from urllib.parse import unquote, urlsplit

import yaml
from bs4 import BeautifulSoup, Tag

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "_build" / "html"
PDF = ROOT / "_build" / "minivae.pdf"
STYLE = Path(__file__).with_suffix(".css")
PAGE = ROOT / "book" / "_templates" / "print.html"
FOLDED = "Hints, solutions and answers"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    # whatever asks for another host fails, with and without a network
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
NEEDLESS = (
    "script, a.headerlink, summary svg, .needs-kernel, button, "
    "details.above-input > summary"
)
SHORT = 14  # lines of code that stay on one page
READY = """async () => {
  await MathJax.startup.promise
  await document.fonts.ready
  await Promise.all([...document.images].map(image => image.decode()))
}"""


def find_chromium() -> str | None:
    """Path of the Chromium in MINIVAE_CHROMIUM, or of one on the PATH."""
    names = (os.environ.get("MINIVAE_CHROMIUM"), *BROWSERS)
    return next(filter(None, map(shutil.which, filter(None, names))), None)


# --- the pages --------------------------------------------------------------


def read_toc(path: Path) -> list[tuple[str, list[str]]]:
    """Parts with the names of their pages; the first part has no title."""
    toc = yaml.safe_load(path.read_text(encoding="utf-8"))
    parts = [("", [toc["root"]])]
    for part in toc["parts"]:
        names = [
            page["file"]
            for entry in part["chapters"]
            for page in (entry, *entry.get("sections", ()))
        ]
        parts.append((part["caption"], names))
    return parts


def anchor(name: str, target: str = "") -> str:
    """Where a page, or an element of it, is in the book."""
    # a name in a style sheet must not begin with a digit
    slug = "at-" + name.removeprefix("book/").replace("/", "-")
    return f"{slug}--{target}" if target else slug


def article(site: Path, name: str) -> Tag:
    """The text of a page, without what only a screen needs."""
    html = (site / f"{name}.html").read_text(encoding="utf-8")
    # states of widgets are larger than the text
    html = re.sub(r"<script\b.*?</script>", "", html, flags=re.DOTALL)
    found = BeautifulSoup(html, "html.parser").find("article")
    for tag in found.select(NEEDLESS):
        tag.decompose()
    for fold in found.select("details.above-input"):
        fold.unwrap()
    return found


def link_within(tag: Tag, page: str, names: set[str]) -> None:
    """Let a link lead to the same place in the book, if it has one."""
    parts = urlsplit(tag["href"])
    if parts.scheme or parts.netloc:
        return
    path = posixpath.join(posixpath.dirname(page), unquote(parts.path))
    other = posixpath.normpath(path).removesuffix(".html")
    other = other if parts.path else page
    if other in names:
        tag["href"] = f"#{anchor(other, parts.fragment)}"
        del tag["target"]
    else:  # a file to download, or the index
        tag.unwrap()


def localise(text: Tag, page: str, names: set[str], site: str) -> None:
    """Make ids, links and pictures of an article right for the book."""
    for tag in text.find_all(True):
        if tag.get("id"):
            tag["id"] = anchor(page, tag["id"])
        if tag.name == "img":
            folder = posixpath.dirname(page)
            path = posixpath.normpath(posixpath.join(folder, tag["src"]))
            tag["src"] = f"{site}/{path}"
            tag.attrs.pop("loading", None)
        elif tag.name == "a" and tag.get("href"):
            link_within(tag, page, names)


def lower_headings(text: Tag) -> None:
    """Make room above them for the titles of the parts."""
    for tag in text.find_all(re.compile(r"^h[1-5]$")):
        tag.name = f"h{int(tag.name[1]) + 1}"


def keep_together(text: Tag) -> None:
    """Mark code that is short enough to stay on one page."""
    for block in text.find_all("pre"):
        if block.get_text().count("\n") <= SHORT:
            block["class"] = [*block.get("class", []), "short"]


def take_folded(soup: BeautifulSoup, text: Tag, page: str) -> Iterator[Tag]:
    """Take hints and solutions out of a page, and point to where they go.

    Yields:
        For each section that has some, a section for the last chapter.
    """
    folds = text.select("details.sd-dropdown")
    for holder in dict.fromkeys(fold.parent for fold in folds):
        inside = [fold for fold in folds if fold.parent is holder]
        heading = holder.find(re.compile(r"^h\d$"))
        here = anchor(page, f"folded-{folds.index(inside[0])}")
        section = soup.new_tag("section", id=here)
        title = soup.new_tag("h4")
        title.append(heading.get_text())
        section.append(title)
        note = soup.new_tag("p", attrs={"class": "pointer"})
        link = soup.new_tag("a", href=f"#{here}")
        names = [fold.summary.get_text(" ", strip=True) for fold in inside]
        link.append(f"{', '.join(names)}, page ")
        number = soup.new_tag("span", attrs={"data-page": here})
        number.append("0000")
        link.append(number)
        note.append(link)
        inside[0].insert_before(note)
        for fold, name in zip(inside, names):
            label = soup.new_tag("p", attrs={"class": "fold"})
            label.append(name)
            section.append(label)
            fold.summary.decompose()
            section.append(fold.extract())
            fold.name = "div"
        yield section


def numbered(title: str, target: str, kind: str) -> str:
    """A line of the contents; its number is filled in later."""
    return (
        f'<p class="{kind}"><a href="#{target}"><span>{title}</span>'
        f'<span class="dots"></span><span data-page="{target}">0000</span>'
        "</a></p>"
    )


def running_head(target: str, title: str) -> str:
    """The style by which each page of a chapter bears its title."""
    text = json.dumps(title, ensure_ascii=False)
    return (
        f"@page {target} {{ @top-center {{ content: {text} }} }}\n"
        f"#{target} {{ page: {target} }}\n"
    )


def collect(
    site: Path, parts: list[tuple[str, list[str]]], title: str, author: str
) -> str:
    """All pages as one, to be stored beside the folder of the site."""
    soup = BeautifulSoup("", "html.parser")
    names = {name for _, pages in parts for name in pages}
    contents, body, style, folded = [], [], [], []
    for i, (caption, pages) in enumerate(parts):
        for page in pages:
            text = article(site, page)
            localise(text, page, names, site.name)
            if caption:
                lower_headings(text)
            keep_together(text)
            heading = text.find(re.compile(r"^h[12]$"))
            name = heading.get_text().strip()
            sections = list(take_folded(soup, text, page))
            if sections:
                above = soup.new_tag("h3")
                above.append(name)
                folded += [above, *sections]
            text.name, text["id"] = "section", anchor(page)
            text["class"] = ["chapter"]
            if caption and page == pages[0]:
                part = soup.new_tag("h1", id=f"part-{i}")
                part.append(caption)
                text.insert(0, part)
                contents.append(numbered(caption, f"part-{i}", "part"))
            style.append(running_head(anchor(page), name))
            contents.append(numbered(name, anchor(page), "page"))
            body.append(str(text))
    if folded:
        inner = "".join(map(str, folded))
        body.append(
            f'<section class="chapter" id="folded"><h1>{FOLDED}</h1>{inner}'
            "</section>"
        )
        contents.append(numbered(FOLDED, "folded", "part"))
        style.append(running_head("folded", FOLDED))
    return Template(PAGE.read_text(encoding="utf-8")).substitute(
        title=title,
        author=author,
        site=site.name,
        style=STYLE.read_text(encoding="utf-8") + "".join(style),
        contents="\n".join(contents),
        body="\n".join(body),
    )


# --- the paper --------------------------------------------------------------


def page_numbers(pdf: bytes) -> dict[str, int]:
    """The page on which each target of a link is, counted from one."""
    from pypdf import PdfReader

    reader = PdfReader(BytesIO(pdf))
    return {
        name.removeprefix("/"): reader.get_destination_page_number(place) + 1
        for name, place in reader.named_destinations.items()
    }


def print_page(browser, address: str, pdf: Path) -> None:
    """Print a page of this machine, with page numbers filled in."""
    context = browser.new_context(offline=True, color_scheme="light")
    page = context.new_page()
    page.goto(address)
    page.evaluate(READY)
    options = {
        "format": "A4",
        "prefer_css_page_size": True,
        "print_background": True,
        "outline": True,
        "tagged": True,
    }
    numbers = page_numbers(page.pdf(**options))
    missing = page.evaluate(
        """numbers => [...document.querySelectorAll("[data-page]")].filter(
          place => {
            const number = numbers[place.dataset.page]
            place.textContent = number
            return !number
          }).map(place => place.dataset.page)""",
        numbers,
    )
    if missing:
        raise ValueError(f"{address}: no page found for {', '.join(missing)}")
    page.pdf(path=pdf, **options)
    context.close()


def main() -> None:
    """Write the page and the PDF."""
    if not (SITE / "index.html").is_file():
        sys.exit(f"no pages in {SITE}: run make book first")
    chromium = find_chromium()
    if chromium is None:
        sys.exit(
            "no Chromium found: put one on the PATH, or give its path in "
            "MINIVAE_CHROMIUM"
        )
    from playwright.sync_api import sync_playwright

    config = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))
    book = collect(
        SITE, read_toc(ROOT / "_toc.yml"), config["title"], config["author"]
    )
    source = PDF.with_suffix(".html")
    source.write_text(book, encoding="utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=list(ARGUMENTS)
        )
        print_page(browser, source.as_uri(), PDF)
        browser.close()
    print(f"The book as a PDF: {PDF}")


if __name__ == "__main__":
    main()
