"""Say in the head of each page what it is, for search and for shared links.

The description is the first prose of the page: whole sentences as long as
they fit. A page of exercises is described by its tasks. A page may bring a
description of its own, as `html_meta` in the front matter of MyST.
"""

import html
import re
from collections.abc import Iterable, Iterator

SHORTEST, LONGEST = 50, 160
CARD = "_static/card.png"
CARD_SIZE = 1200, 630
CARD_ALT = (
    "The title of the book beside a sheet of digits that a variational "
    "autoencoder has drawn."
)
TOUCH_ICON = "_static/icon-180.png"
# the theme would repeat the title of the book
START = "A book on autoencoders, VAEs and conditional VAEs"
# pages without a text: their title in the theme, and what they are
OTHERS = {
    "genindex": (
        "Index",
        "All terms, functions and classes of the book in the order of the "
        "alphabet, with links to where each is explained.",
    ),
    "search": (
        "Search",
        "Find a word in all chapters, exercises and appendices of the book. "
        "The search runs in the browser.",
    ),
}
EXERCISES = re.compile(r"book/exercises/\d\d")
CITATION = re.compile(r" \([^()]*\b\d{4}[a-z]?\)")
MATH = "\N{OBJECT REPLACEMENT CHARACTER}"  # docutils would drop a NUL


def sentences(text: str) -> Iterator[str]:
    """Whole sentences; an item of a list counts as one."""
    text = CITATION.sub("", " ".join(text.split()))
    for sentence in re.split(r"(?<=[.?!])\s+(?=[A-Z\"“])", text):
        sentence = re.sub(r";$", ".", sentence)
        yield sentence[:1].upper() + sentence[1:]


def description(found: Iterable[str]) -> str:
    """As many sentences as fit; what breaks off ends at a word."""
    text = ""
    for sentence in found:
        whole = sentence.endswith((".", "?", "!")) and MATH not in sentence
        longer = f"{text} {sentence}".strip()
        if len(text) >= SHORTEST and (not whole or len(longer) > LONGEST):
            break
        if whole:
            text = longer
    if len(text) > LONGEST:
        text = text[: LONGEST - 1].rpartition(" ")[0].rstrip(",;:(") + "…"
    return text


def prose(doctree) -> Iterator[str]:
    """Sentences of the text itself, in order."""
    from docutils import nodes

    plain = (
        nodes.document,
        nodes.section,
        nodes.bullet_list,
        nodes.enumerated_list,
        nodes.list_item,
    )
    for paragraph in doctree.findall(nodes.paragraph):
        above = paragraph.parent
        while isinstance(above, plain) and above.parent:
            above = above.parent
        if not isinstance(above, nodes.document):
            continue
        copy = paragraph.deepcopy()
        for formula in list(copy.findall(nodes.math)):
            formula.replace_self(nodes.Text(MATH))
        yield from sentences(copy.astext())


def tasks(doctree) -> str:
    """The headings of the tasks, without their numbers."""
    from docutils import nodes

    names = [
        re.sub(r"^[\d.]+ ", "", title.astext())
        for title in doctree.findall(nodes.title)
        if title.parent.parent is not None
        and isinstance(title.parent.parent, nodes.section)
    ]
    text = "Exercises with checks, hints and solutions: " + "; ".join(names)
    return description([text if text.endswith("?") else f"{text}."])


def describe(pagename: str, doctree, title: str, book: str) -> str:
    """The description of a page."""
    from docutils import nodes

    if doctree is not None:
        for meta in doctree.findall(nodes.meta):
            if meta.get("name") == "description":
                return meta["content"]
        if EXERCISES.fullmatch(pagename):
            return tasks(doctree)
        text = description(prose(doctree))
        if len(text) >= SHORTEST:
            return text
    return f"{title} of “{book}”, a book on autoencoders that is run by tests."


def tags(
    title: str, text: str, book: str, address: str, base: str, start: bool
) -> dict[str, str]:
    """Names and contents of the tags in the head.

    Args:
        title: of the page.
        text: its description.
        book: the title of the book.
        address: of the page, or empty if the site has none.
        base: the address of the site.
        start: whether it is the first page.
    """
    found = {
        "description": text,
        "og:title": title,
        "og:description": text,
        "og:type": "website" if start else "article",
        "og:site_name": book,
        "og:locale": "en_GB",
        "twitter:card": "summary_large_image",
    }
    if address:  # both have to be whole addresses
        found |= {
            "og:url": address,
            "og:image": base + CARD,
            "og:image:width": str(CARD_SIZE[0]),
            "og:image:height": str(CARD_SIZE[1]),
            "og:image:alt": CARD_ALT,
        }
    return found


def written(found: dict[str, str]) -> Iterator[str]:
    """The tags as HTML."""
    for name, content in found.items():
        kind = "property" if name.startswith("og:") else "name"
        yield f'<meta {kind}="{name}" content="{html.escape(content)}" />'


def describe_page(app, pagename, templatename, context, doctree) -> None:
    """Add title, description and card to a page."""
    book, start = app.config.html_title, pagename == app.config.root_doc
    if start:
        context["title"] = START
    if pagename in OTHERS:
        title, text = OTHERS[pagename]
    else:
        title = re.sub(r"<[^>]*>", "", context.get("title") or book)
        title = html.unescape(title)
        text = describe(pagename, doctree, title, book)
    found = tags(
        book if start else title,
        text,
        book,
        context.get("pageurl") or "",
        app.config.html_baseurl,
        start,
    )
    before = context.get("metatags") or ""
    if 'name="description"' in before:
        del found["description"]
    icon = context["pathto"](TOUCH_ICON, resource=True)
    head = [*written(found), f'<link rel="apple-touch-icon" href="{icon}" />']
    context["metatags"] = "\n    ".join([before, *head])


def setup(app) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("html-page-context", describe_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
