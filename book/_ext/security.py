"""Give each page a Content-Security-Policy that lets only the book run.

Without it a page would run whatever script got into it, or ask whatever host.
The policy is a <meta> tag, so that it also holds for pages that are opened as
files. It allows scripts, styles, fonts and pictures of the site and nothing
from elsewhere, no eval, no blob:, no frame, no plug-in, no <base>. A script
inside a page runs only if its hash is in the policy of that page.

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

CHARSET = '<meta charset="utf-8" />'
# a script of another type is data, which no policy stops
INLINE = re.compile(
    r"<script(?![^>]* (?:src|type=.application/(?!javascript)))[^>]*>"
    r"(.*?)</script>",
    re.S,
)


def protect(html: str) -> str:
    """The page with a policy that allows the scripts which it has now."""
    if CHARSET not in html:
        raise ValueError(f"a page without {CHARSET} would have no policy")
    sources = ["'self'"]
    for script in dict.fromkeys(INLINE.findall(html)):
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest())
        sources.append(f"'sha256-{digest.decode()}'")
    policy = (
        f"default-src 'none'; script-src {' '.join(sources)}; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "font-src 'self'; connect-src 'self'; object-src 'none'; "
        "base-uri 'none'; form-action 'self'"
    )
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}" />'
    return html.replace(CHARSET, f"{CHARSET}\n    {meta}", 1)
