"""Give each page a Content-Security-Policy that lets only the book run.

The policy is a <meta> tag, so that it also holds for pages that are opened as
files. It allows scripts, styles, fonts and pictures of the site and nothing
from elsewhere, no eval, no blob:, no frame, no plug-in, no <base>. A script
inside a page runs only if its hash is in the policy of that page, which is
written when the build has finished. A page that brings a handler such as
onclick fails the build, since the policy would make it dead.

What is still open, and why:

- `style-src 'unsafe-inline'`: MathJax writes a style sheet and style
  attributes into the page for each formula that it sets, and the outputs of
  cells bring styles of their own. A style can change how a page looks; it
  cannot run code, and it has nowhere to send anything.
- `img-src data:`: the arrows and ticks of the theme's style sheet are
  pictures inside it.
- `connect-src 'self'`: the search page reads the pages that it has found to
  quote them, and checkers read robots.txt from within a page.
- hashes of scripts that the theme writes into each page: names of the page,
  options of MathJax and of the toggle buttons, and the choice of light or
  dark before anything is drawn.
- A <meta> tag cannot forbid that another site puts the book into a frame
  (`frame-ancestors`): that needs a header of the server.
"""

import base64
import hashlib
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

# a script of another type is data, which no policy stops
RUNS = {"", "module", "text/javascript", "application/javascript"}
OLD = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>\n *')
CHARSET = re.compile(r'<meta charset="utf-8" ?/?>\s*', re.IGNORECASE)


class Inline(HTMLParser):
    """Collects what a page would run from its own text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=False)
        self.scripts: list[str] = []
        self.handlers: list[str] = []
        self._inside = False
        self.feed(html)
        self.close()

    def handle_starttag(
        self, tag: str, attrs: list[tuple[str, str | None]]
    ) -> None:
        """Note handlers, and whether a script begins that has no file."""
        given = dict(attrs)
        self.handlers += [name for name in given if name.startswith("on")]
        if tag == "script":
            kind = (given.get("type") or "").lower()
            self._inside = "src" not in given and kind in RUNS
            if self._inside:
                self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        """Leave a script."""
        if tag == "script":
            self._inside = False

    def handle_data(self, data: str) -> None:
        """Keep the text of a script, character by character."""
        if self._inside:
            self.scripts[-1] += data


def hashes(scripts: list[str]) -> Iterator[str]:
    """The sources that allow these scripts, each once."""
    for script in dict.fromkeys(scripts):
        digest = hashlib.sha256(script.encode()).digest()
        yield f"'sha256-{base64.b64encode(digest).decode()}'"


def policy(scripts: list[str]) -> str:
    """The policy of a page with these scripts inside it."""
    rules = {
        "default-src": "'none'",
        "script-src": " ".join(["'self'", *hashes(scripts)]),
        "style-src": "'self' 'unsafe-inline'",
        "img-src": "'self' data:",
        "font-src": "'self'",
        "connect-src": "'self'",
        "object-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'self'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def protect(html: str) -> str:
    """The page with its policy, in place of an older one.

    Raises:
        ValueError: if the page has a handler or no place for the policy.
    """
    html = OLD.sub("", html)
    found = Inline(html)
    if found.handlers:
        raise ValueError(f"inline handler {found.handlers[0]}")
    place = CHARSET.search(html)
    if not place:
        raise ValueError("no <meta charset>")
    meta = (
        '<meta http-equiv="Content-Security-Policy" '
        f'content="{policy(found.scripts)}" />\n    '
    )
    return html[: place.end()] + meta + html[place.end() :]


def protect_all(app, exception: Exception | None) -> None:
    """Rewrite the pages that have no policy yet, or an old one."""
    if exception or app.builder.format != "html":
        return
    from sphinx.util import logging

    site = Path(app.outdir)
    for page in sorted(site.rglob("*.html")):
        before = page.read_text(encoding="utf-8")
        try:
            after = protect(before)
        except ValueError as error:
            name = page.relative_to(site)
            logging.getLogger(__name__).warning("%s: %s", name, error)
            continue
        if after != before:
            page.write_text(after, encoding="utf-8")


def setup(app) -> dict[str, bool]:
    """Register with Sphinx, after all that writes or changes pages."""
    app.connect("build-finished", protect_all, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
