"""Write what a site has beside its pages: robots.txt, sitemap.xml, 404.html.

GitHub Pages shows 404.html for every address that it does not know, however
deep, so that page brings its style and its pictures with it, and its links
begin at the root of the host.
"""

import html
from pathlib import Path
from urllib.parse import quote, urlsplit

NOT_FOUND = """<!DOCTYPE html>
<html lang="en" data-theme="light">
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <meta name="robots" content="noindex" />
    <meta name="description" content="There is no page at this address. Start \
at the introduction of the book, or search it." />
    <title>Page not found &#8212; {title}</title>
    <link rel="icon" href="data:image/svg+xml,{icon_address}" />
    <script>
      document.documentElement.dataset.theme =
        localStorage.getItem("theme") === "dark" ? "dark" : "light";
    </script>
    <style>
      html {{ background: #fff; color: #222832; color-scheme: light }}
      html[data-theme="dark"] {{
        background: #121212; color: #ced6dd; color-scheme: dark;
      }}
      body {{
        font: 1rem/1.65 -apple-system, BlinkMacSystemFont, "Segoe UI",
          "Helvetica Neue", Arial, sans-serif;
        margin: 12vh auto; max-width: 36rem; padding: 0 1rem;
      }}
      svg {{ height: 4rem; width: 4rem }}
      a {{ color: #176de8 }}
      html[data-theme="dark"] a {{ color: #5ca4ff }}
      input, button {{
        border: 1px solid #6a7580; border-radius: 4px; font: inherit;
        padding: 0.4rem 0.8rem;
      }}
      :focus-visible {{ outline: 3px solid #f17d3a; outline-offset: 2px }}
    </style>
  </head>
  <body>
    <main>
      {icon}
      <h1>Page not found</h1>
      <p>
        There is no page at this address. It may have moved to another
        chapter. Start at the <a href="{start}">introduction</a>, or search
        the book:
      </p>
      <form action="{search}" method="get" role="search">
        <label for="q">Search for</label>
        <input id="q" name="q" type="search" />
        <button type="submit">Search</button>
      </form>
    </main>
  </body>
</html>
"""


def not_found(title: str, icon: str, base: str, start: str) -> str:
    """The page for an address that does not exist.

    Args:
        title: of the book.
        icon: the picture of the book, as SVG.
        base: address of the site; empty if it has none.
        start: the first page, seen from the root of the site.
    """
    root = urlsplit(base).path or "/"
    return NOT_FOUND.format(
        title=html.escape(title),
        icon=icon.strip().replace("<svg ", '<svg aria-hidden="true" ', 1),
        icon_address=quote(icon.strip(), safe="/:=' "),
        start=root + start,
        search=f"{root}search.html",
    )


def sitemap(addresses: list[str]) -> str:
    """The list of all pages for crawlers."""
    lines = "".join(
        f"  <url><loc>{html.escape(address)}</loc></url>\n"
        for address in addresses
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        '<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n'
        f"{lines}</urlset>\n"
    )


def robots(base: str) -> str:
    """All may be read; where the list of the pages is, if there is one."""
    text = "User-agent: *\nAllow: /\n"
    return f"{text}\nSitemap: {base}sitemap.xml\n" if base else text


def write_files(app, exception: Exception | None) -> None:
    """Write the three files."""
    if exception or app.builder.format != "html":
        return
    site, base = Path(app.outdir), app.config.html_baseurl
    target = app.builder.get_target_uri
    files = {
        "robots.txt": robots(base),
        "404.html": not_found(
            app.config.html_title,
            (site / "_static" / "icon.svg").read_text(encoding="utf-8"),
            base,
            target(app.config.root_doc),
        ),
    }
    if base:  # relative addresses are not allowed there
        pages = [base + target(name) for name in sorted(app.env.found_docs)]
        files["sitemap.xml"] = sitemap(pages)
    for name, text in files.items():
        (site / name).write_text(text, encoding="utf-8")


def setup(app) -> dict[str, bool]:
    """Register with Sphinx, before the policy."""
    app.connect("build-finished", write_files, priority=700)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
