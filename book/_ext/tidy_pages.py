"""Mend what the theme leaves open, when the build has finished.

Less to load:

- A style sheet and a font draw the icons; the script that would draw the same
  ones as SVG (1.5 MB) goes.
- Rules of the two large style sheets go whose classes are named neither in a
  page nor in a script: icons and widgets that the book does not have.
- The icon fonts keep the icons that these style sheets still name.
- Only the search page needs the search index.

Nothing inside a page to be run: handlers become names that
`_static/buttons.js` knows, so that the policy of `security` can be strict.

Readable by all: a landmark around the logo, entries of the bibliography that
are items of their list, hidden cells and folded parts of the menu named, no
empty heading in the corner of a table, a whole page in place of the bare
redirection at the root, which says in its head what the introduction says.
"""

import re
from pathlib import Path

from fontTools import subset

# (what the theme writes, what stands there instead)
CHANGES = tuple(
    (re.compile(pattern), new)
    for pattern, new in (
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
        (r'(<div class="citation" id="[^"]*" role=)"doc-biblioentry"',
         r'\1"listitem"'),
        # "Show code cell source" says more
        (r'(<summary) aria-label="Toggle hidden content"', r"\1"),
        # only a chevron
        (
            r'<summary>(?=<span class="toctree-toggle")',
            '<summary aria-label="Pages of this part">',
        ),
        (r'<th class="head">\s*(?:<p></p>)?\s*</th>', "<td></td>"),
    )
)  # fmt: skip
SEARCH = re.compile(
    r'<script src="[^"]*(?:searchtools|language_data|searchindex)\.js[^"]*">'
    r"</script>\n"
)
ICON = re.compile(r"\\(f[0-9a-f]{3})\b")
RULE = re.compile(r"([^{}]+)\{([^{}]*)\}")
CLASS = re.compile(r"\.(-?[A-Za-z_][\w-]*)")
SHEETS = ("styles/pydata-sphinx-theme.css", "mystnb.*.css")
ROOT_PAGE = """<!DOCTYPE html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <meta http-equiv="refresh" content="0; url={start}" />
    <title>{title}</title>
    {head}
  </head>
  <body>
    <main><h1><a href="{start}">{title}</a></h1></main>
  </body>
</html>
"""
# what is said of a page to search engines and where a link is shared
SAID = re.compile(
    r'<(?:meta (?:name="(?:description|twitter:)|property="og:)'
    r'|link rel="canonical")[^>]*>'
)


def tidy(html: str, is_search: bool = False) -> str:
    """The page with all changes; a second time changes nothing."""
    for pattern, new in CHANGES:
        html = pattern.sub(new, html)
    return html if is_search else SEARCH.sub("", html)


def without_unused(css: str, words: set[str]) -> str:
    """The style sheet without selectors of classes that are not in words."""

    def kept(rule: re.Match) -> str:
        # commas may be inside :is(); a comment may stand before a rule
        if re.search(r"[(@]|/\*", rule[1]):
            return rule[0]
        selectors = [
            selector
            for selector in rule[1].split(",")
            if words.issuperset(CLASS.findall(selector))
        ]
        return f"{','.join(selectors)}{{{rule[2]}}}" if selectors else ""

    return RULE.sub(kept, css)


def tidy_pages(site: Path, start: str, title: str) -> None:
    """Write the pages anew."""
    said = SAID.findall((site / start).read_text(encoding="utf-8"))
    root = ROOT_PAGE.format(start=start, title=title, head="\n    ".join(said))
    (site / "index.html").write_text(root, encoding="utf-8")
    for page in site.rglob("*.html"):
        before = page.read_text(encoding="utf-8")
        after = tidy(before, is_search=page == site / "search.html")
        if after != before:
            page.write_text(after, encoding="utf-8")


def tidy_styles(site: Path) -> None:
    """Shorten the style sheets, which each build copies anew."""
    static = site / "_static"
    scripts = [*static.glob("*.js"), *static.glob("scripts/*.js")]
    words: set[str] = set()
    for file in [*site.rglob("*.html"), *scripts]:
        text = file.read_text(encoding="utf-8")
        words.update(re.findall(r"[\w-]+", text))
    for pattern in SHEETS:
        for sheet in static.glob(pattern):
            css = sheet.read_text(encoding="utf-8")
            sheet.write_text(without_unused(css, words), encoding="utf-8")


def tidy_fonts(static: Path) -> None:
    """Leave the icons in the icon fonts that a style sheet asks for."""
    icons: set[int] = set()
    for sheet in static.rglob("*.css"):
        css = sheet.read_text(encoding="utf-8")
        icons.update(int(code, 16) for code in ICON.findall(css))
    for path in static.glob("vendor/fontawesome/webfonts/*.woff2"):
        options = subset.Options(flavor="woff2", layout_features=[])
        font = subset.load_font(path, options)
        chosen = subset.Subsetter(options)
        chosen.populate(unicodes=icons)
        chosen.subset(font)
        subset.save_font(font, path, options)


def tidy_static(static: Path) -> None:
    """Remove what no page uses; let search be quiet in a local file."""
    for pattern in (
        "*webpack-macros.html",
        "scripts/fontawesome.js*",
        "scripts/*.map",
        "vendor/fontawesome/webfonts/*.ttf",
    ):
        for file in static.glob(pattern):
            file.unlink()
    options = static / "documentation_options.js"
    text = options.read_text(encoding="utf-8")
    # a browser refuses to read a file from a page that is itself a file
    text = text.replace(
        "SHOW_SEARCH_SUMMARY: true",
        'SHOW_SEARCH_SUMMARY: location.protocol !== "file:"',
    )
    options.write_text(text, encoding="utf-8")


def tidy_site(app, exception: Exception | None) -> None:
    """Tidy the built site."""
    if exception or app.builder.format != "html":
        return
    site = Path(app.outdir)
    tidy_static(site / "_static")
    start = app.builder.get_target_uri(app.config.root_doc)
    tidy_pages(site, start, app.config.html_title)
    tidy_styles(site)
    tidy_fonts(site / "_static")


def setup(app) -> dict[str, bool]:
    """Register with Sphinx, after the theme and before the policy."""
    app.connect("build-finished", tidy_site, priority=800)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
