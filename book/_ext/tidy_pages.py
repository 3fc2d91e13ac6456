"""Mend what the theme leaves open, in each page as it is written.

Without it a page would load 1.5 MB of script that draws icons which a font
draws too, 0.5 MB of icons and rules that the book does not have, the index of
the search, and the code of widgets that other pages show. Handlers such as
onclick would be dead, since the policy of `security` forbids them: they become
names that `_static/buttons.js` knows. A screen reader would miss the landmark
around the logo, items of the bibliography, names of folded parts, and would
meet empty headings in tables.
"""

import re
from pathlib import Path

from fontTools import subset
from live_widgets import WIDGETS
from security import protect

# (what the theme writes, what stands there instead)
CHANGES = (
    (r'<script defer src="[^"]*/fontawesome\.js[^"]*"></script>\n', ""),
    (
        r'<button onclick="(?:window\.)?(print|toggleFullScreen)\(\)"',
        r'<button type="button" data-call="\1"',
    ),
    # a tab full of JSON is no download
    (
        r'target="_blank"(?=\s+class="[^"]*btn-download-source-button)',
        "download",
    ),
    (
        r'(<div id="pst-primary-sidebar")(?= class)',
        r'\1 role="complementary" aria-label="Book"',
    ),
    (
        r'(<div class="citation" id="[^"]*" role=)"doc-biblioentry"',
        r'\1"listitem"',
    ),
    # "Show code cell source" says more
    (r'(<summary) aria-label="Toggle hidden content"', r"\1"),
    # only a chevron
    (
        r'<summary>(?=<span class="toctree-toggle")',
        '<summary aria-label="Pages of this part">',
    ),
    (r'<th class="head">\s*(?:<p></p>)?\s*</th>', "<td></td>"),
    # a still that a widget covers need not be loaded
    (
        r'<img (?=[^>]*>\s*<script type="application/vnd.jupyter.widget-v)',
        '<img loading="lazy" ',
    ),
    # what JupyterLab finds in a notebook, a page has in files of its own
    (r'"_(?:esm|css)": "(?:[^"\\]|\\.)*", ', ""),
)
SEARCH = (
    r'<script src="[^"]*(?:searchtools|language_data|searchindex)\.js[^"]*">'
    r"</script>\n"
)
# the style sheets of widgets that few pages show -> their module
SHEETS = {
    "trainer": "minivae.explorer.trainer",
    "axes": "minivae.explorer.bound",
}
RULE = re.compile(r"([^{}]+)(\{[^{}]*\})")
CLASS = re.compile(r"\.(-?[A-Za-z_][\w-]*)")


def tidy(html: str, template: str) -> str:
    """The page with all changes."""
    for pattern, new in CHANGES:
        html = re.sub(pattern, new, html)
    elsewhere = [
        rf"<script[^>]*/{name}\.js[^>]*></script>\n?"
        for name, widget in WIDGETS.items()
        if f'"{widget}"' not in html
    ] + [
        rf"<link[^>]*/{name}\.css[^>]*>\n?"
        for name, module in SHEETS.items()
        if f'"{module}.' not in html
    ]
    for pattern in elsewhere:
        html = re.sub(pattern, "", html)
    return html if template == "search.html" else re.sub(SEARCH, "", html)


def mend_pages(app) -> None:
    """Let what a template gives be mended before it becomes a file."""
    render = app.builder.templates.render

    def mended(template: str, context: dict) -> str:
        html = tidy(render(template, context), template)
        # the theme also renders parts of a page, which have no head
        return protect(html) if "<html" in html else html

    app.builder.templates.render = mended


def without_unused(css: str, words: set[str]) -> str:
    """The style sheet without selectors of classes that are not in words."""

    def kept(rule: re.Match) -> str:
        # commas may be inside :is(); a comment may stand before a rule
        if re.search(r"[(@]|/\*", rule[1]):
            return rule[0]
        found = [
            selector
            for selector in rule[1].split(",")
            if words.issuperset(CLASS.findall(selector))
        ]
        return ",".join(found) + rule[2] if found else ""

    return RULE.sub(kept, css)


def lighten(app, exception: Exception | None) -> None:
    """Shorten style sheets and icon fonts, which each build copies anew."""
    if exception:
        return
    static = Path(app.outdir) / "_static"
    options = static / "documentation_options.js"
    # a browser refuses to read a file from a page that is itself a file
    options.write_text(
        options.read_text().replace(
            "SHOW_SEARCH_SUMMARY: true",
            'SHOW_SEARCH_SUMMARY: location.protocol !== "file:"',
        )
    )
    (static / "scripts" / "fontawesome.js").unlink(missing_ok=True)
    words: set[str] = set()
    for pattern in ("**/*.html", "_static/*.js", "_static/scripts/*.js"):
        for file in Path(app.outdir).glob(pattern):
            words.update(re.findall(r"[\w-]+", file.read_text("utf-8")))
    sheets = ("styles/pydata-sphinx-theme", "mystnb.*", "sphinx-design.min")
    for pattern in sheets:
        for sheet in static.glob(f"{pattern}.css"):
            css = sheet.read_text(encoding="utf-8")
            sheet.write_text(without_unused(css, words), encoding="utf-8")
    rules = "".join(css.read_text("utf-8") for css in static.rglob("*.css"))
    icons = ",".join(re.findall(r"\\(f[0-9a-f]{3})\b", rules))
    for font in static.glob("vendor/fontawesome/webfonts/*.woff2"):
        small = font.with_suffix(".small")
        subset.main(
            [str(font), f"--unicodes={icons}", "--flavor=woff2",
             "--layout-features=", f"--output-file={small}"]
        )  # fmt: skip
        small.replace(font)


def setup(app) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("builder-inited", mend_pages)
    app.connect("build-finished", lighten)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
