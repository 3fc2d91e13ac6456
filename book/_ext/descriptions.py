"""Say in the head of each page what it is, for search and for shared links.

Without it a search engine would guess what a page is about, and a link that
is shared would show neither words nor the card with title and digits. The
description is the first prose of the page, or the tasks of a page of
exercises, as many words as fit.
"""

# sphinxext-opengraph cuts words, shows LaTeX and knows no tasks: measured
import html
import re
import textwrap

from docutils import nodes

LONGEST = 160
CARD = "_static/card.png"
CARD_ALT = (
    "The title of the book beside a sheet of digits that a variational "
    "autoencoder has drawn."
)
# the theme would repeat the title of the book
START = "A book on autoencoders, VAEs and conditional VAEs"
# pages without a text
OTHERS = {
    "genindex": "All terms of the book in the order of the alphabet, with "
    "links to where each is explained.",
    "search": "Find a word in all chapters, exercises and appendices of the "
    "book. The search runs in the browser.",
    "404": "There is no page at this address. Start at the introduction of "
    "the book, or search it.",
    "book/appendix/bibliography": "The works that the book cites, with links "
    "to where each of them can be read.",
}
GOALS = "After this chapter you will be able to say "
EXERCISES = re.compile(r"book/exercises/\d\d")
PLAIN = (nodes.document, nodes.section, nodes.list_item, nodes.Sequential)
MATH = "\N{OBJECT REPLACEMENT CHARACTER}"  # docutils would drop a NUL
# a sentence with a formula is left out
FORMULA = re.compile(rf"[^.?!;]*{MATH}.*?(?:[.?!;](?= )|$)")
CITATION = re.compile(r" \([^()]*\b\d{4}[a-z]?\)")


def is_prose(node: nodes.Node) -> bool:
    """Whether a paragraph belongs to the text itself."""
    above = node.parent
    while isinstance(above, PLAIN) and above.parent:
        above = above.parent
    return isinstance(above, nodes.document)


def describe(pagename: str, doctree: nodes.document) -> str:
    """The description of a page: whole sentences, or what fits of one."""
    if EXERCISES.fullmatch(pagename):
        titles = [t.astext() for t in doctree.findall(nodes.title)][1:]
        names = [t.partition(" ")[2] for t in titles if t[0].isdigit()]
        text = "Exercises with checks, hints and solutions: "
        text = (text + "; ".join(names) + ".").replace("?.", "?")
    else:
        doctree = doctree.deepcopy()
        for formula in list(doctree.findall(nodes.math)):
            formula.replace_self(nodes.Text(MATH))
        prose = filter(is_prose, doctree.findall(nodes.paragraph))
        text = " ".join(word for p in prose for word in p.astext().split())
        text = FORMULA.sub("", CITATION.sub("", text.removeprefix(GOALS)))
    short = textwrap.shorten(text, LONGEST, placeholder="…")
    whole = re.match(r".{50,}[.?!](?= [A-Z])", short)
    short = whole[0] if whole else re.sub("[,;:]…$", "…", short)
    return short[0].upper() + short[1:]


def describe_page(app, pagename, templatename, context, doctree) -> None:
    """Add title, description and card to a page."""
    book, root = app.config.html_title, app.config.root_doc
    start = pagename in (root, "index")
    if start:
        context["title"] = START
        context["pageurl"] = f"{app.config.html_baseurl}{root}.html"
        doctree = app.env.get_doctree(root)
    title = context.get("title") or app.config.html_title
    title = html.unescape(re.sub(r"<[^>]*>", "", title))
    title = {"genindex": "Index", "search": "Search"}.get(pagename, title)
    text = OTHERS.get(pagename) or describe(pagename, doctree)
    tags = {
        "description": text,
        "og:title": book if start else title,
        "og:description": text,
        "og:type": "website" if start else "article",
        "og:site_name": book,
        "og:url": context["pageurl"],
        "og:image": f"{app.config.html_baseurl}{CARD}",
        "og:image:width": "1200",
        "og:image:height": "630",
        "og:image:alt": CARD_ALT,
        "twitter:card": "summary_large_image",
    }
    if pagename == "404":
        tags = {"description": text, "robots": "noindex"}
    icon = context["pathto"]("_static/icon-180.png", resource=True)
    context["metatags"] = context.get("metatags", "") + "".join(
        f"\n    <meta {'property' if name.startswith('og:') else 'name'}="
        f'"{name}" content="{html.escape(content)}" />'
        for name, content in tags.items()
        if content
    )
    context["metatags"] += f'\n    <link rel="apple-touch-icon" href="{icon}">'


def setup(app) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("html-page-context", describe_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
