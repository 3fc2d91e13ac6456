"""Bare numbers in prose: found, and let pass for a short list of reasons.

A number that a run produced must be written by `say`, so that it cannot be
older than the code. What may stand in Markdown: references, years, numbers
that are set in the code of the same chapter, sizes by definition, names of
digits, and arithmetic that stands in a formula.
"""

import ast
import re

# sizes by definition -> why
SIZES = {
    0: "end of a range, nothing",
    1: "end of a range, unit",
    8: "pixels on a side of the built-in digits as scikit-learn has them",
    0.5: "a fair coin, the middle of a pixel",
    10: "classes",
    28: "pixels on a side",
    90: "degrees of a right angle",
    255: "ink in an image of bytes",
    256: "grey levels",
    784: "pixels",
    1437: "built-in digits to train on",
    360: "built-in digits to test on",
    1797: "built-in digits",
    10000: "digits of MNIST to test on",
    60000: "digits of MNIST to train on",
    70000: "digits of MNIST",
}
# whole phrases -> why
PHRASES = {
    "a variance of 0.01": "the threshold of active_units",
    "30 measurements": "columns of the table of tumours",
    "256 and 128 units": "the hidden layers of every network",
    "holds 95 per cent": "the explorer draws the circle where it does",
    "400 places": "20 by 20, the grid of the cover",
    "784 times": "a sum over the pixels against their mean",
}
# units of results: a number in front of one must be computed
MEASURED = re.compile(
    r"[ \n-]*(?:nats?|bits?|per ?cent|percent(?:age)?|times(?! each)|fold"
    r"|seconds?|s|ms|minutes?|hours?|[GM]i?B)\b|\s*%|(?:x|k|M)\b",
    re.I,
)
# units of options: a number passes only if the code of the chapter sets it
UNITS = (
    r"dimensions?|degrees?|pixels?|numbers?|digits?|samples?|draws?|epochs?"
    r"|passes|steps?|units?|images?|pictures?|codes?|seeds?|models?|columns?"
    r"|rows?|runs?|points?|places|neighbours?|components?|weights?"
)
REFERENCE = re.compile(
    r"\b(?:chapters?|exercises?|appendix|appendices|parts?|figures?|sections?"
    r"|equations?|tables?|questions?|patients?|rows?|algorithms?|arXiv)"
    r"[ \n]+[A-Z]?\.?\d[\d.]*(?:(?:,| to| and| or|,? and)[ \n]+\d[\d.]*)*",
    re.I,
)
MINUTES = re.compile(r"\((?:one|two|three) stars?, \d+ minutes\)")
NUMBER = re.compile(r"(?<![\w.,])(\d+(?:,\d{3})*(?:\.\d+)?|\.\d+)(?![\d])")
YEAR = re.compile(r"(?:19[5-9]|20[0-2])\d")
# before a single digit: it counts or measures, it is not a digit's name
QUANTITY = re.compile(
    r"\b(?:about|around|roughly|nearly|almost|approximately|only|by|least"
    r"|most|than|gains?|gained|loses?|costs?|saves?|adds?|scores?|reaches"
    r"|equals?|is|was|are|were|has|have|needs?|takes?|uses?|near|over|under"
    r"|some|factor of|value of|up to|(?:falls|rises|drops|grows) to)[ \n]+$"
)
NAMED = re.compile(r"\b(?:label|digit|class|answer|it)[ \n]+(?:is|was)[ \n]+$")


def prose(markdown: str) -> str:
    """What is left to read without code, mathematics, tables and links."""
    text = re.sub(r"<!--.*?-->|^%.*?$", " ", markdown, flags=re.M | re.S)
    # a directive with text in it keeps the text; other fences are code
    text = re.sub(
        r"^(`{3,}|~{3,}|:{3,})(.*?)\n(.*?)^\1\s*?$",
        _fence,
        text,
        flags=re.M | re.S,
    )
    text = re.sub(r"\$\$(.*?)\$\$", " ", text, flags=re.S)
    text = re.sub(r"\\begin\{(\w+\*?)\}.*?\\end\{\1\}", " ", text, flags=re.S)
    text = re.sub(r"\{[\w:]+\}`[^`]*`", " ", text)  # roles
    text = re.sub(r"`[^`]*`", " code ", text)
    # a formula that is but a number is a number
    text = re.sub(r"(?<!\\)\$([^$]+?)\$", _formula, text)
    text = re.sub(r"\]\([^)]*\)|<https?:[^>]*>|https?://\S+", "]", text)
    text = re.sub(r"<[^>]+>", " ", text)
    text = re.sub(r"^\|.*$", " ", text, flags=re.M)
    text = re.sub(r"^(#+ )\d+(?:\.\d+)*\.? ", r"\1", text, flags=re.M)
    text = re.sub(r"^\s*\d+[.)] ", " ", text, flags=re.M)
    for phrase in PHRASES:
        text = re.sub(rf"(?<![\w,.]){re.escape(phrase)}\b", " ", text)
    return MINUTES.sub(" ", REFERENCE.sub(" ", text))


def _fence(match: re.Match) -> str:
    name = re.match(r"\s*\{([\w:-]+)\}", match[2])
    if not name or name[1] in ("math", "code", "code-block", "bibliography"):
        return " "
    return re.sub(r"^:[\w-]+:.*$", " ", match[3], flags=re.M)


def _formula(match: re.Match) -> str:
    """A formula without its numbers, but for what it says is measured."""
    inner = match[1].replace("{,}", ",").replace(r"\%", "%").strip()
    # "7", "= 7", "KL = 7", but not "784 ln 2 = 543", which is arithmetic
    result = re.fullmatch(
        r"(?:[^\d=]*(?:\\approx|\\sim|\\pm|[=+-]))?\s*([\d.,]+)\s*(%?)", inner
    )
    return f" {result[1]}{result[2]} " if result else " formula "


def set_in(code: str) -> set[float]:
    """Numbers that a chapter's code sets."""
    nodes = ast.walk(ast.parse(code))
    values = (n.value for n in nodes if isinstance(n, ast.Constant))
    return {float(v) for v in values if type(v) in (int, float)}


def derived_in(markdown: str) -> set[float]:
    """Results of arithmetic in formulas, such as ln 10 = 2.3."""
    found = set()
    for formula in re.findall(r"\$+([^$]+)\$+", markdown):
        left, sign, right = formula.partition(r"\approx")
        number = re.match(r"\s*-?([\d.]*\d)", right)
        if sign and number and re.search(r"\d", left):
            found.add(float(number[1]))
    return found


def bare_numbers(
    markdown: str, code: str = "", derived: set[float] | None = None
) -> list[str]:
    """Each number in prose that is on no list, with the words around it.

    Args:
        markdown: one cell or page.
        code: all code cells of the chapter.
        derived: results in formulas of the chapter; None looks here only.
    """
    derived = derived_in(markdown) if derived is None else derived
    known = {float(n) for n in SIZES} | derived | set_in(code)
    body, _, rest = markdown.partition("## Exercises")
    tasks, _, after = rest.partition("\n## ")
    found = []
    for text, is_task in ((body, False), (tasks, True), (after, False)):
        text = prose(text)
        for match in NUMBER.finditer(text):
            before, behind = text[: match.start()][-40:], text[match.end() :]
            value = float(match[1].replace(",", ""))
            if MEASURED.match(behind) and not _are_fives(match[1], behind):
                fine = value in derived | {0}
            else:
                fine = (
                    value in known
                    or is_task  # the reader is to set it
                    or _is_name(match[1], before, behind)
                )
            if not fine:
                words = f"{before[-25:]}{match[0]}{behind[:25]}"
                found.append(" ".join(words.split()))
    return found


def _are_fives(number: str, behind: str) -> bool:
    return len(number) == 1 and behind.startswith("s")


def _is_name(number: str, before: str, behind: str) -> bool:
    """A year, 2-D or 10th, or the name of a digit."""
    if re.match(r"-D\b|(?:st|nd|rd|th)\b", behind):
        return True
    counts = re.match(rf"\s+(?:\w+\s+)?(?:{UNITS})\b", behind)
    if YEAR.fullmatch(number):
        return not counts
    if len(number) > 1 or counts:
        return False
    return bool(NAMED.search(before)) or not QUANTITY.search(before)
