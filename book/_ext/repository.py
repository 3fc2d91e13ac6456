"""Where the project lives: one address, and all that follows from it.

Without it the buttons and addresses of a fork would lead to the project it
was forked from, a page of exercises would have no button that launches its
notebook, the edit button of a written page would lead to a file that the next
run overwrites, and there would be no list of pages for search engines.

`repository: url:` in _config.yml is the only place with the address. In
GitHub Actions the address of the repository that runs them takes its place.
"""

# sphinx-sitemap lists only the pages that a build has written anew: measured
import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

EXERCISES = "book/exercises"
# these pages are written by one program
WRITTEN = re.compile(r"book/appendix/(claims|versions|package|api)")
WRITER = "book/_ext/appendices.py"


def address(configured: str, environ: Mapping[str, str]) -> str:
    """The address of the repository: configured, or of the one that runs."""
    if name := environ.get("GITHUB_REPOSITORY"):
        return f"{environ['GITHUB_SERVER_URL']}/{name}"
    return configured.rstrip("/").removesuffix(".git")


def site_address(repository: str) -> str:
    """Where GitHub Pages shows a repository; empty for other hosts."""
    parts = urlsplit(repository)
    if parts.hostname != "github.com":
        return ""
    owner, name = parts.path.strip("/").split("/")
    host = f"{owner}.github.io".lower()
    # a repository of this name is the root of its owner's site
    return f"https://{host}/" + ("" if name.lower() == host else f"{name}/")


def set_addresses(app, config) -> None:
    """Give theme and builder the addresses."""
    options = config.html_theme_options
    url = address(options["repository_url"], os.environ)
    options["repository_url"] = url
    if "GITHUB_REPOSITORY" in os.environ:
        # GitHub on a server of one's own has no telling name
        options["repository_provider"] = "github"
    base = (config.html_baseurl or site_address(url)).rstrip("/")
    config.html_baseurl = base and f"{base}/"
    config.notfound_urls_prefix = urlsplit(base).path + "/"


def notebook_of(page: str, root: Path) -> str | None:
    """The notebook that a page of exercises belongs to, without its ending."""
    folder, _, name = page.rpartition("/")
    found = (root / EXERCISES).glob(f"{name.removesuffix('_page')}*.ipynb")
    stems = [file.stem for file in found if folder == EXERCISES]
    return f"{folder}/{stems[0]}" if stems else None


def source_of(page: str, root: Path) -> str | None:
    """The file to edit for a page that a program writes, or None."""
    if WRITTEN.fullmatch(page):
        return WRITER
    notebook = notebook_of(page, root)
    stem = notebook and notebook.rpartition("/")[2]
    return stem and f"course/source/{stem}/{stem}.ipynb"


def launch_exercises(app, pagename, templatename, context, doctree) -> None:
    """Launch the notebook from a page of exercises, as chapters do it."""
    from sphinx_book_theme.header_buttons.launch import add_launch_buttons

    if notebook := notebook_of(pagename, Path(app.srcdir)):
        there = {
            "pagename": notebook,
            "page_source_suffix": ".ipynb",
            "sourcename": f"{notebook}.ipynb",
        }
        add_launch_buttons(
            app, notebook, templatename, context | there, doctree
        )
        # the theme has looked it up, and to look is to make an entry
        app.env.metadata.pop(notebook, None)


def edit_sources(app, pagename, templatename, context, doctree) -> None:
    """Let the edit button of a written page lead to what it is made from."""
    source = source_of(pagename, Path(app.srcdir))
    for group in context["header_buttons"]:
        for button in group.get("buttons", ()):
            if source and button.get("label") == "source-edit-button":
                page = f"{pagename}{context['page_source_suffix']}"
                button["url"] = button["url"].replace(page, source)


def list_pages(app, exception: Exception | None) -> None:
    """Tell search engines which pages there are."""
    base, site = app.config.html_baseurl, Path(app.outdir)
    if exception or not base:  # relative addresses are not allowed there
        return
    names = sorted(app.env.found_docs)
    (site / "sitemap.xml").write_text(
        '<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n'
        + "".join(f"<url><loc>{base}{n}.html</loc></url>\n" for n in names)
        + "</urlset>\n"
    )
    (site / "robots.txt").write_text(
        f"User-agent: *\nAllow: /\n\nSitemap: {base}sitemap.xml\n"
    )


def setup(app) -> dict[str, bool]:
    """Register with Sphinx, around the buttons of the theme (501)."""
    app.connect("config-inited", set_addresses, priority=100)
    app.connect("html-page-context", launch_exercises)
    app.connect("html-page-context", edit_sources, priority=502)
    app.connect("build-finished", list_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
