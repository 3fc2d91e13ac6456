"""The pages as built by `make book`."""

import base64
import getpass
import os
import re
import socket
import sys
from functools import cache
from hashlib import sha256
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree

import pytest
import yaml
from bs4 import BeautifulSoup
from PIL import Image

sys.path.append(str(Path(__file__).resolve().parents[1] / "book" / "_ext"))
import repository
import security
import tidy_pages

ROOT = Path(__file__).resolve().parents[1]
SITE = Path(os.environ.get("MINIVAE_SITE") or ROOT / "_build" / "html")

if not (SITE / "index.html").is_file():
    pytest.skip("no built pages: run make book", allow_module_level=True)

toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
NAMES = [toc["root"]] + [
    page["file"]
    for part in toc["parts"]
    for entry in part["chapters"]
    for page in (entry, *entry.get("sections", []))
]
page = pytest.mark.parametrize("name", NAMES)
config = yaml.safe_load((ROOT / "_config.yml").read_text())
REPOSITORY = repository.address(config["repository"]["url"], os.environ)
BASE = repository.site_address(REPOSITORY)
LISTED = [*NAMES, "search", "genindex"]


@cache
def soup(name):
    html = (SITE / f"{name}.html").read_text(encoding="utf-8")
    return BeautifulSoup(html, "html.parser")


@page
def test_a_page_asks_no_other_host(name):
    for tag in soup(name).find_all(["script", "link", "img", "iframe"]):
        address = tag.get("src") or tag.get("href") or ""
        if "canonical" in tag.get("rel", []):
            continue
        assert not re.match(r"(https?:)?//", address), address


@page
def test_every_picture_says_what_it_shows(name):
    for image in soup(name).find("article").find_all("img"):
        alt = image.get("alt", "")
        assert len(alt) > 40, image
        assert not alt.endswith(".png"), image


@page
def test_figures_are_numbered_and_have_captions(name):
    article = soup(name).find("article")
    for image in article.find_all("img"):
        figure = image.find_parent("figure")
        assert figure is not None, image
        assert re.match(r"Figure \d+\.", figure.figcaption.get_text().strip())


@page
def test_no_markup_is_left_unresolved(name):
    text = soup(name).find("article").get_text()
    for mark in ("{cite", "{numref", "{glue", "{ref}", "```", "<Figure"):
        assert mark not in text, mark


# terms that mean one thing wherever they stand
TERMS = (
    "encoders?",
    "decoders?",
    "priors?(?! to)",
    "nats?",
    "ELBOs?|evidence lower bound",
    "(?<!onditional )(?:VAEs?|variational autoencoders?)",
)


@pytest.mark.parametrize(
    "name", [n for n in NAMES if re.match(r"book/\d\d_", n)]
)
def test_the_first_use_of_a_term_links_to_the_glossary(name):
    article = soup(name).find("article")
    links = [a["href"] for a in article.select("a.glossary-term")]
    assert len(links) >= 5
    assert len(links) == len(set(links))
    there = {t["id"] for t in soup("book/appendix/glossary").select("dt[id]")}
    assert {href.partition("#")[2] for href in links} <= there
    texts = [
        text
        for paragraph in article.find_all("p")
        for text in paragraph.find_all(string=True)
        if not text.find_parent(["figcaption", "table", "code"])
        and not text.find_parent(class_="math")
        and "glossary-term"
        in (text.find_parent("a") or {}).get("class", ["glossary-term"])
    ]
    for term in TERMS:
        word = re.compile(rf"(?<![\w-])(?:{term})(?![\w-])")
        uses = [text for text in texts if word.search(text)]
        assert not uses or uses[0].find_parent("a"), uses[0]


def test_the_glossary_is_in_the_order_of_the_alphabet():
    article = soup("book/appendix/glossary").find("article")
    firsts = [dl_item.find_previous("dt") for dl_item in article.select("dd")]
    names = []
    for dt in firsts:
        while (before := dt.find_previous_sibling()) and before.name == "dt":
            dt = before
        names.append(dt.get_text().strip("#\n ").lower())
    assert names == sorted(names)


def test_each_claim_links_to_the_section_where_it_stands():
    article = soup("book/appendix/claims").find("article")
    links = [a["href"] for a in article.select('a[href^="../"]')]
    assert len(links) >= 20
    for link in links:
        page, _, target = link.partition("#")
        assert target, link
        found = soup(f"book/{page[3:-5]}").find(id=target)
        assert found is not None, link


def test_figure_numbers_run_through_the_book():
    numbers = []
    for name in NAMES:
        captions = soup(name).find("article").find_all("figcaption")
        for caption in captions:
            found = re.match(r"Figure (\d+)\.", caption.get_text().strip())
            numbers.append(int(found.group(1)))
    assert numbers == list(range(1, len(numbers) + 1))


def names_of_this_machine():
    """Paths, and names that are no words of their own, as patterns."""
    paths = {str(ROOT), f"{Path.home()}/", "/home/", "/Users/", "file:///"}
    for path in paths - {"//", "/"}:
        yield re.escape(path)
    yield rf"\b{re.escape(getpass.getuser())}@"
    host = socket.gethostname()
    if len(host) > 3 and host != "localhost":
        yield rf"\b{re.escape(host)}\b"


def test_the_site_holds_no_path_user_or_host_of_the_machine_that_built_it():
    private = re.compile("|".join(names_of_this_machine()))
    endings = (".html", ".js", ".css", ".txt", ".ipynb", ".md", ".svg")
    for file in SITE.rglob("*"):
        # MathJax is as it was published
        if file.suffix in endings and "mathjax" not in file.parts:
            text = file.read_text(encoding="utf-8", errors="replace")
            assert not private.search(text), file


@pytest.mark.parametrize("name", [*LISTED, "404", "index"])
def test_each_page_has_the_policy_of_its_own_scripts(name):
    (meta,) = soup(name).select("meta[http-equiv=Content-Security-Policy]")
    # nothing that could run stands before it
    assert meta.find_previous(["script", "link", "style"]) is None
    allowed = set(re.findall(r"'sha256-([^']+)'", meta["content"]))
    data = re.compile("application/(json|vnd)")
    needed = {
        base64.b64encode(sha256(script.string.encode()).digest()).decode()
        for script in soup(name).find_all("script", src=False)
        if not data.match(script.get("type", ""))
    }
    assert needed == allowed
    # what the policy would make dead
    for tag in soup(name).find_all(True):
        assert not [key for key in tag.attrs if key.startswith("on")], tag


def test_a_page_loads_no_more_than_it_needs():
    static = SITE / "_static"
    for name in (FIRST, "genindex"):
        scripts = " ".join(s["src"] for s in soup(name).select("script[src]"))
        assert "fontawesome" not in scripts
        assert "searchindex" not in scripts
    fonts = static.glob("vendor/fontawesome/webfonts/*.woff2")
    assert sum(file.stat().st_size for file in fonts) < 20_000
    sheet = static / "styles" / "pydata-sphinx-theme.css"
    assert sheet.stat().st_size < 130_000


@page
def test_scripts_of_a_page_are_files_of_the_site(name):
    for script in soup(name).find_all("script", src=True):
        path = script["src"].partition("?")[0]
        file = (SITE / name).parent / path
        assert file.resolve().is_relative_to((SITE / "_static").resolve())
        assert file.is_file(), script


@page
def test_links_within_the_book_lead_somewhere(name):
    here = SITE / f"{name}.html"
    for link in soup(name).find_all(["a", "link"], href=True):
        path, _, target = link["href"].partition("#")
        if re.match(r"[a-z]+:", path):
            continue
        file = (here.parent / path.partition("?")[0]).resolve()
        file = file if path else here
        assert file.is_file(), link
        if target and file.suffix == ".html":
            other = file.relative_to(SITE.resolve()).with_suffix("")
            assert soup(str(other)).find(id=target), link


def test_mathematics_needs_no_network():
    assert (SITE / "_static" / "mathjax" / "tex-mml-chtml.js").is_file()
    fonts = SITE / "_static/mathjax/output/chtml/fonts/woff-v2"
    assert list(fonts.glob("*.woff"))


def test_the_policy_allows_the_scripts_of_a_page():
    head = security.CHARSET
    html = security.protect(f"{head}<script>a()</script>")
    assert html.count("'sha256-") == 1
    for data in (
        '<script type="application/json">{}</script>',
        '<script src="a.js"></script>',
    ):
        assert "sha256" not in security.protect(head + data)


def test_rules_stay_where_all_their_classes_are_used():
    css = (
        "a{b:c}.used:before,.gone:before{b:c}.used .gone{b:c}"
        "@media print{.used{b:c}.gone{b:c}}a:is(.gone,.used){b:c}"
    )
    kept = tidy_pages.without_unused(css, {"used"})
    assert kept == (
        "a{b:c}.used:before{b:c}@media print{.used{b:c}}a:is(.gone,.used){b:c}"
    )


# --- what a page says of itself ---------------------------------------------


def said(name, key):
    """The content of the one tag of this name in the head."""
    found = soup(name).head.find_all(
        "meta", attrs={"property" if key.startswith("og:") else "name": key}
    )
    assert len(found) == 1, (name, key)
    return found[0]["content"]


FIRST = "book/01_squeezing_digits"


def test_titles_and_descriptions_are_unique():
    titles = [soup(name).title.get_text() for name in [*LISTED, "404"]]
    assert len(set(titles)) == len(titles)
    for title in titles:
        own = title.removesuffix(config["title"])
        assert own not in ("", title)
        assert own.removesuffix(" — ") != config["title"]
    texts = [said(name, "description") for name in [*LISTED, "404"]]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("name", [*LISTED, "404", "index"])
def test_a_page_describes_itself(name):
    assert soup(name).html["lang"] == "en"
    text = said(name, "description")
    assert 50 <= len(text) <= 160, text
    assert text[0].isupper(), text
    assert text.endswith((".", "?", "!", "…")), text
    assert not re.search(r"[\\{}\0\ufffc]|  |[.?!][.?!]", text), text


@pytest.mark.parametrize("name", [*LISTED, "index"])
def test_a_shared_link_shows_the_card_of_the_book(name):
    title = re.split(" [—-] ", soup(name).title.get_text())[0]
    first = name in ("index", toc["root"])
    assert said(name, "og:title") == (config["title"] if first else title)
    assert said(name, "og:description") == said(name, "description")
    assert said(name, "og:type") == ("website" if first else "article")
    assert said(name, "twitter:card") == "summary_large_image"
    if BASE:
        assert said(name, "og:image") == f"{BASE}_static/card.png"
        assert said(name, "og:image:alt")


def test_the_card_has_the_size_that_its_tags_give():
    for file, size in (
        (SITE / "_static" / "card.png", (1200, 630)),
        (SITE / "_static" / "icon-180.png", (180, 180)),
    ):
        assert file.stat().st_size < 150_000
        with Image.open(file) as picture:
            assert picture.size == size
            assert picture.format == "PNG"
            # white paper, and something on it
            few = picture.convert("RGB").getcolors(1 << 20)
            assert max(few)[1] > (250, 250, 250)
            assert max(few)[0] < 0.9 * size[0] * size[1]
    assert said(FIRST, "og:image:width") == "1200"
    assert said(FIRST, "og:image:height") == "630"


@pytest.mark.skipif(not BASE, reason="the address of the site is not known")
@pytest.mark.parametrize("name", [*LISTED, "index"])
def test_a_page_names_its_address(name):
    links = soup(name).find_all("link", rel="canonical")
    target = toc["root"] if name == "index" else name
    assert [link["href"] for link in links] == [f"{BASE}{target}.html"]
    assert said(name, "og:url") == f"{BASE}{target}.html"


# --- where the project lives ------------------------------------------------


def test_the_address_of_the_repository_is_one_setting():
    url = "https://github.com/some-body/some.book"
    assert repository.address(url, {}) == url
    assert repository.address(f"{url}.git", {}) == url
    fork = {
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_REPOSITORY": "Else/book",
    }
    assert repository.address(url, fork) == "https://github.com/Else/book"


def test_the_address_of_the_site_follows_from_that_of_the_repository():
    of = repository.site_address
    assert of("https://github.com/Else/Book") == "https://else.github.io/Book/"
    user = "https://github.com/Else/else.github.io"
    assert of(user) == "https://else.github.io/"
    assert of("https://example.org/a/b") == ""
    assert of("") == ""


class Settings:
    """What the extension changes of a configuration."""

    def __init__(self, url, base=""):
        self.html_baseurl = base
        self.html_theme_options = {"repository_url": url}


def test_settings_follow_the_environment(monkeypatch):
    monkeypatch.delenv("GITHUB_REPOSITORY", raising=False)
    monkeypatch.delenv("GITHUB_SERVER_URL", raising=False)
    url = "https://github.com/a/b"
    settings = Settings(url)
    repository.set_addresses(None, settings)
    assert settings.html_theme_options["repository_url"] == url
    assert settings.html_baseurl == "https://a.github.io/b/"
    assert settings.notfound_urls_prefix == "/b/"
    settings = Settings(url, "https://example.org/book")
    repository.set_addresses(None, settings)
    assert settings.html_baseurl == "https://example.org/book/"
    settings = Settings("https://example.org/a/b")
    repository.set_addresses(None, settings)
    assert settings.html_baseurl == ""
    assert settings.notfound_urls_prefix == "/"
    monkeypatch.setenv("GITHUB_REPOSITORY", "fork/b")
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://github.com")
    settings = Settings(url)
    repository.set_addresses(None, settings)
    options = settings.html_theme_options
    assert options["repository_url"] == "https://github.com/fork/b"
    assert settings.html_baseurl == "https://fork.github.io/b/"


def hrefs(name, start):
    """Addresses of the buttons above a page that lead to a place."""
    found = soup(name).select(".article-header-buttons a[href]")
    return [a["href"] for a in found if a["href"].startswith(start)]


NOTEBOOKS = {
    name: f"{name}.ipynb"
    for name in NAMES
    if (ROOT / f"{name}.ipynb").is_file()
} | {
    name: f"{notebook}.ipynb"
    for name in NAMES
    if (notebook := repository.notebook_of(name, ROOT))
}


def test_chapters_and_exercises_have_notebooks():
    chapters = [n for n in NAMES if re.match(r"book/(\d\d_|try_it)", n)]
    pages = [n for n in NAMES if re.match(r"book/exercises/(\d\d|pro)", n)]
    assert sorted(NOTEBOOKS) == sorted([*chapters, *pages])
    assert NOTEBOOKS["book/exercises/project_page"].endswith("/project.ipynb")
    assert repository.notebook_of("book/exercises/index", ROOT) is None
    assert repository.notebook_of(FIRST, ROOT) is None


@page
def test_launch_buttons_lead_to_a_notebook_that_exists(name):
    owner_and_name = urlsplit(REPOSITORY).path.strip("/")
    branch = config["repository"]["branch"]
    binder = hrefs(name, "https://mybinder.org/")
    colab = hrefs(name, "https://colab.research.google.com/")
    if name not in NOTEBOOKS:
        assert binder == colab == []
        return
    notebook = NOTEBOOKS[name]
    assert (ROOT / notebook).is_file()
    assert len(binder) == len(colab) == 1
    parts = urlsplit(binder[0])
    if "github.com" in REPOSITORY:
        assert parts.path == f"/v2/gh/{owner_and_name}/{branch}"
    assert parse_qs(parts.query) == {"urlpath": [f"lab/tree/{notebook}"]}
    assert urlsplit(colab[0]).path == (
        f"/github/{owner_and_name}/blob/{branch}/{notebook}"
    )


@page
def test_buttons_lead_to_the_repository(name):
    assert REPOSITORY in hrefs(name, REPOSITORY)
    issue = hrefs(name, f"{REPOSITORY}/issues/new?")
    assert len(issue) == 1
    assert f"{name}.html" in unquote(issue[0])
    edit = hrefs(name, f"{REPOSITORY}/edit/")
    assert len(edit) == 1
    path = edit[0].removeprefix(f"{REPOSITORY}/edit/")
    path = path.removeprefix(f"{config['repository']['branch']}/")
    assert (ROOT / path).is_file(), path
    if not repository.source_of(name, ROOT):
        assert path in (f"{name}.md", f"{name}.ipynb")


@pytest.mark.parametrize("name", [n for n in NAMES if n in NOTEBOOKS])
def test_the_notebook_can_be_downloaded(name):
    if name.startswith(repository.EXERCISES):
        links = [a["href"] for a in soup(name).select("article a.download")]
    else:
        links = [
            a["href"]
            for a in soup(name).select(
                "a.btn-download-source-button, a.btn-download-notebook-button"
            )
        ]
    links = [link for link in links if link.endswith(".ipynb")]
    assert len(links) >= 1
    for link in links:
        file = (SITE / name).parent / link
        assert file.read_bytes() == (ROOT / NOTEBOOKS[name]).read_bytes()


@page
def test_a_page_leads_to_the_next_and_the_one_before(name):
    i = NAMES.index(name)
    for kind, j in (("left-prev", i - 1), ("right-next", i + 1)):
        links = soup(name).select(f"a.{kind}")
        there = [(SITE / name).parent / a["href"] for a in links]
        names = [NAMES[j]] if 0 <= j < len(NAMES) else []
        assert [file.resolve() for file in there] == [
            (SITE / f"{other}.html").resolve() for other in names
        ]


@pytest.mark.parametrize("name", LISTED)
def test_the_icon_and_title_of_the_book_lead_to_its_start(name):
    (link,) = soup(name).select("a.navbar-brand")
    assert link.get_text().strip() == config["title"]
    assert {image["alt"] for image in link.find_all("img")} == {""}
    for image in link.find_all("img"):
        assert ((SITE / name).parent / image["src"]).is_file()
    start = "#" if name == toc["root"] else f"{toc['root']}.html"
    file = (SITE / name).parent / link["href"]
    assert link["href"] == start or file.resolve() == (SITE / start).resolve()


# --- files beside the pages -------------------------------------------------


@pytest.mark.skipif(not BASE, reason="the address of the site is not known")
def test_the_site_map_lists_every_page():
    robots = (SITE / "robots.txt").read_text()
    assert "User-agent: *\nAllow: /\n" in robots
    assert f"Sitemap: {BASE}sitemap.xml" in robots.splitlines()
    root = ElementTree.parse(SITE / "sitemap.xml").getroot()
    space = "{http://www.sitemaps.org/schemas/sitemap/0.9}"
    assert root.tag == f"{space}urlset"
    found = [place.text for place in root.iter(f"{space}loc")]
    assert sorted(found) == sorted(f"{BASE}{name}.html" for name in NAMES)


def test_the_page_for_missing_addresses_works_at_any_depth():
    found = soup("404")
    assert found.find("meta", attrs={"name": "robots"})["content"] == "noindex"
    root = urlsplit(BASE).path or "/"
    for tag in found.find_all(True):
        for key in ("src", "href", "action"):
            target = tag.get(key, "#")
            if re.match("#|(https?|mailto):", target):
                continue
            assert target.startswith(root), tag
            path = target.removeprefix(root).partition("?")[0]
            assert (SITE / path.partition("#")[0]).is_file(), tag
    targets = [a["href"] for a in found.select("article a[href]")]
    assert f"{root}{toc['root']}.html" in targets
    assert found.select(f'article form[action="{root}search.html"]')
