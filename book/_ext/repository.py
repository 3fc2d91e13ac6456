"""Where the project lives: one address, and all that follows from it.

`repository: url:` in _config.yml is the only place with the address. In
GitHub Actions the address of the repository that runs them takes its place,
so that the site of a fork points at the fork. From it come the buttons of the
theme (launch, repository, issue, edit) and the address of the site.
"""

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
    """The address of the repository; empty if there is none.

    Args:
        configured: the setting.
        environ: environment variables.

    Raises:
        ValueError: if it does not end in an owner and a name.
    """
    server = environ.get("GITHUB_SERVER_URL")
    name = environ.get("GITHUB_REPOSITORY")
    url = f"{server}/{name}" if server and name else configured
    url = url.strip().rstrip("/").removesuffix(".git")
    if url and not re.fullmatch(r"https?://[^/\s]+/[^/\s]+/[^/\s]+", url):
        raise ValueError(
            f"repository: url: expected https://HOST/OWNER/NAME, got {url}; "
            "change it in _config.yml"
        )
    return url


def site_address(repository: str) -> str:
    """Where GitHub Pages shows a repository; empty for other hosts."""
    parts = urlsplit(repository)
    if parts.hostname != "github.com":
        return ""
    owner, name = parts.path.strip("/").split("/")
    host = f"{owner}.github.io".lower()
    # a repository of this name is the root of its owner's site
    folder = "" if name.lower() == host else f"{name}/"
    return f"https://{host}/{folder}"


def set_addresses(app, config) -> None:
    """Give theme and builder the addresses."""
    options = config.html_theme_options
    url = address(options.get("repository_url") or "", os.environ)
    if url:
        options["repository_url"] = url
        if "GITHUB_REPOSITORY" in os.environ:
            # GitHub on a server of one's own has no telling name
            options["repository_provider"] = "github"
    else:
        options.pop("launch_buttons", None)
    base = config.html_baseurl or site_address(url)
    config.html_baseurl = f"{base.rstrip('/')}/" if base else ""


def notebook_of(page: str, root: Path) -> str | None:
    """The notebook that a page of exercises belongs to, without its ending."""
    folder, _, name = page.rpartition("/")
    if folder != EXERCISES:
        return None
    stem = name.removesuffix("_page")
    found = sorted((root / folder).glob(f"{stem}*.ipynb"))
    return f"{folder}/{found[0].stem}" if found else None


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

    notebook = notebook_of(pagename, Path(app.srcdir))
    if notebook:
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


def setup(app) -> dict[str, bool]:
    """Register with Sphinx, around the buttons of the theme (501)."""
    app.connect("config-inited", set_addresses, priority=100)
    app.connect("html-page-context", launch_exercises)
    app.connect("html-page-context", edit_sources, priority=502)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
