"""Link the first use of each glossary term in a chapter to the glossary.

Without it a reader who meets a word that an earlier chapter explains would
have to search for it, or the notebooks would be full of markup. The links are
made when a page is written, in paragraphs and lists only, not in headings,
captions, tables, links, code or mathematics. Terms and synonyms are those of
the page `GLOSSARY`.
"""

import re
from collections.abc import Iterator

GLOSSARY = "book/appendix/glossary"
CHAPTER = re.compile(r"book/\d\d_")

# words that mean something else elsewhere in the text: "the code of the
# package", "learning rate", "prior to"
PATTERNS = {
    "code": r"(?:(?<=\b[Aa] )|(?<=\bits )|(?<=\bone )|(?<=\beach )"
    r"|(?<=\bnarrow )|(?<=\blatent ))code(?! cell)|codes"
    r"|(?<=\b[Tt]he )code(?= of (?:this|that|a|the|each) digit| says| keeps)",
    "condition": r"conditions?(?! number)",
    "control": r"(?:(?<=\b[Aa] )|(?<=\btwo )|(?<=\bits )|(?<=shuffled )"
    r"|(?<=majority ))controls?",
    "evidence": r"(?<!no )(?<!as )evidence(?! (?:that|for|against)\b)",
    "judge": r"(?:(?<=\b[Aa] )|(?<=\b[Tt]he ))judge",
    "prior": r"priors?(?! to\b)",
    "rate": r"(?<=\b[Tt]he )rate(?! (?:of|at)\b)"
    r"|rates?(?= and (?:the )?distortion)",
}


def pattern(term: str) -> str:
    """Regular expression for a term, singular or plural."""
    if term in PATTERNS:
        found = PATTERNS[term]
    else:
        found = re.escape(term).replace(r"\ ", r"\s+")
        found = found.replace("'", "['\N{RIGHT SINGLE QUOTATION MARK}]") + "s?"
    if term.islower():  # may begin a sentence; VAE and KL are as they are
        found = f"(?i:{found})"
    return rf"(?<![\w-])(?:{found})(?![\w-])"


class Finder:
    """Finds the first use of each entry, over many pieces of text.

    Args:
        entries: term or synonym -> its entry.
    """

    def __init__(self, entries: dict[str, str]) -> None:
        # the longest first, so that a VAE is no autoencoder
        terms = sorted(entries, key=len, reverse=True)
        self.entries = [entries[term] for term in terms]
        self.search = re.compile(
            "|".join(f"({pattern(term)})" for term in terms)
        )
        self.seen: set[str] = set()

    def split(self, text: str) -> Iterator[tuple[str, str | None]]:
        """Pieces of the text, each with its entry if it is a first use."""
        start = 0
        for match in self.search.finditer(text):
            entry = self.entries[match.lastindex - 1]
            if entry in self.seen:
                continue
            self.seen.add(entry)
            if match.start() > start:
                yield text[start : match.start()], None
            yield match[0], entry
            start = match.end()
        if start < len(text):
            yield text[start:], None


def link_terms(app, doctree, docname: str) -> None:
    """Put links in place of first uses."""
    from docutils import nodes
    from sphinx.util.nodes import make_refnode

    elsewhere = (
        nodes.title | nodes.caption | nodes.table | nodes.reference
        | nodes.literal | nodes.math | nodes.FixedTextElement
    )  # fmt: skip
    if not CHAPTER.match(docname):
        return
    ids = {}
    glossary = app.env.get_doctree(GLOSSARY)
    for item in glossary.findall(nodes.definition_list_item):
        terms = list(item.findall(nodes.term))
        ids |= {t.astext(): terms[0]["ids"][0] for t in terms}
    finder = Finder(ids)
    for paragraph in list(doctree.findall(nodes.paragraph)):
        for text in list(paragraph.findall(nodes.Text)):
            above = text.parent
            while above and not isinstance(above, elsewhere):
                above = above.parent
            if above:
                continue
            pieces = []
            for piece, entry in finder.split(text.astext()):
                node = nodes.Text(piece)
                if entry:
                    node = make_refnode(
                        app.builder, docname, GLOSSARY, entry, node
                    )
                    node["classes"].append("glossary-term")
                pieces.append(node)
            text.parent.replace(text, pieces)


def outdated(app, env, added, changed, removed) -> list[str]:
    """All chapters are to be written anew when the glossary changes."""
    if GLOSSARY not in added | changed | removed:
        return []
    return [name for name in env.found_docs if CHAPTER.match(name)]


def setup(app) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("env-get-outdated", outdated)
    app.connect("doctree-resolved", link_terms)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
