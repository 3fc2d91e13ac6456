"""Each built page in Chromium: nothing foreign, nothing wrong, for everyone.

Each page is opened once, without a network. The last part shows each check a
made-up page that it has to refuse.
"""

import re
import shutil
import sys
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pytest
from browser import do_without, find_chromium, violations, visit
from test_site import BASE, LISTED, NAMES, ROOT, SITE, security

PAGES = LISTED
CHAPTERS = [n for n in NAMES if re.match(r"book/(\d\d_|try_it)", n)]
MEGABYTE = 1_000_000

# (rule, selector): why the theme may break it; there is nothing left
ALLOWED = {}


def address(name):
    return (SITE / f"{name}.html").as_uri()


def faults(page, rules=None):
    """What axe finds and nothing allows."""
    return [
        found
        for found in violations(page, rules)
        if tuple(found.split(": ")[:2]) not in ALLOWED
    ]


def weight(requests):
    """Bytes of all files that a page asked for, without MathJax."""
    files = {Path(url2pathname(urlsplit(r).path)) for r in requests}
    return sum(f.stat().st_size for f in files if "mathjax" not in f.parts)


def too_wide(page):
    """By how many pixels the page is wider than its window."""
    return page.evaluate(
        "document.documentElement.scrollWidth - window.innerWidth"
    )


def controls_without_focus(page):
    """Visible controls that cannot be reached, or do not show that they are.

    After a key, a browser treats focus set by a script like that of a key.
    """
    page.keyboard.press("Tab")
    return page.evaluate(
        """() => {
          const wrong = []
          const rim = element => {
            const style = getComputedStyle(element)
            return style.outlineStyle !== "none" && style.opacity !== "0" &&
              parseFloat(style.outlineWidth) >= 2
          }
          const all = "a[href], button, input, select, summary, textarea"
          for (const control of document.querySelectorAll(all)) {
            if (!control.checkVisibility({visibilityProperty: true})) continue
            if (control.disabled) continue
            control.focus({preventScroll: true})
            if (control.tabIndex < 0 || document.activeElement !== control ||
                !(rim(control) || rim(control.closest("form") ?? control)))
              wrong.push(control.outerHTML.slice(0, 200))
          }
          return wrong
        }"""
    )


@pytest.fixture(scope="module", params=PAGES)
def opened(browser, request):
    """A page with its name, troubles and requests."""
    requests = []
    where = address(request.param)
    with visit(browser, where, requests=requests) as (page, troubles):
        yield SimpleNamespace(
            name=request.param, page=page, troubles=troubles, requests=requests
        )


class Quiet(SimpleHTTPRequestHandler):
    """Files of a folder, without a word."""

    def log_message(self, *args):
        pass


@contextmanager
def serving(handler):
    """A server on this machine; its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


@pytest.fixture(scope="module")
def server():
    """The site over http; its address."""
    with serving(partial(Quiet, directory=str(SITE))) as running:
        yield running


# --- all pages, as files, without a network ---------------------------------


def test_a_page_needs_no_network_and_reports_nothing(opened):
    assert opened.troubles == []
    formulas = opened.page.locator("mjx-container").count()
    sources = opened.page.locator(".math").count()
    assert formulas >= sources
    assert opened.page.locator("mjx-merror").count() == 0


def test_a_chapter_weighs_at_most_one_and_a_half_megabytes(opened):
    if opened.name in CHAPTERS:
        assert weight(opened.requests) <= 1.5 * MEGABYTE


def test_a_page_is_accessible_in_the_light(opened):
    assert faults(opened.page) == []


def test_a_page_is_accessible_in_the_dark(opened):
    # only colours are different there
    opened.page.evaluate("document.documentElement.dataset.theme = 'dark'")
    assert faults(opened.page, ["color-contrast", "link-in-text-block"]) == []


def test_a_narrow_page_scrolls_downwards_only(opened):
    opened.page.set_viewport_size({"width": 400, "height": 900})
    assert too_wide(opened.page) <= 0
    # the theme lets the keyboard scroll what has become too wide
    opened.page.wait_for_function(
        """() => [...document.querySelectorAll("article pre")].every(
          pre => pre.scrollWidth <= pre.clientWidth || pre.tabIndex === 0)"""
    )
    assert faults(opened.page, ["scrollable-region-focusable"]) == []


# --- what only some pages can show ------------------------------------------

FIRST, LONG = "book/01_squeezing_digits", "book/05_a_map_of_digits"


@pytest.mark.parametrize("name", ["book/intro", FIRST, LONG, "genindex"])
def test_a_page_over_http_reports_nothing(browser, server, name):
    there = f"{server}/{name}.html"
    with visit(browser, there, mode="dark", offline=False) as (page, troubles):
        assert page.locator("h1").last.is_visible()
    assert troubles == []


def test_the_root_leads_to_the_introduction(browser):
    start = "**/book/intro.html"
    with visit(browser, address("index"), leads_to=start) as (page, troubles):
        assert page.locator("h1").last.is_visible()
    assert troubles == []


class LikePages(Quiet):
    """The site in its folder of a host that answers like GitHub Pages."""

    root = urlsplit(BASE).path or "/"

    def translate_path(self, path):
        path = path.partition("?")[0]
        if not path.startswith(self.root):
            return str(SITE / "nothing")
        return str(SITE / path.removeprefix(self.root))

    def send_error(self, code, *args, **kwargs):
        body = (SITE / "404.html").read_bytes()
        self.send_response(code)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("path", ["no.html", "book/no/such/page"])
def test_a_missing_address_shows_a_way_back(browser, path, mode):
    with serving(LikePages) as host:
        home = f"{host}{LikePages.root}"
        with visit(
            browser, home + path, width=400, mode=mode, offline=False
        ) as (page, troubles):
            heading = page.locator("article h1")
            assert heading.inner_text() == "Page not found"
            assert page.evaluate("document.documentElement.dataset.theme") == (
                mode
            )
            assert too_wide(page) <= 0
            assert faults(page) == []
            # the page itself is missing; nothing else is
            said = [t for t in troubles if "404" not in t]
            assert (len(troubles), said) == (2, [])
            page.get_by_label("Search for").fill("decoder")
            page.keyboard.press("Enter")
            page.wait_for_url(f"{home}search.html?q=decoder")
            page.locator("#search-results li a").nth(4).wait_for()
            page.go_back()
            page.locator("article").get_by_text("introduction").click()
            page.wait_for_url(f"{home}book/intro.html")


def test_search_over_http_quotes_what_it_finds(browser, server):
    there = f"{server}/search.html?q=decoder"
    with visit(browser, there, offline=False) as (page, troubles):
        found = page.locator("#search-results li")
        found.locator("p.context").first.wait_for()
        assert found.count() >= 5
        assert faults(page) == []
    assert troubles == []


def test_search_in_files_finds_titles(browser):
    with visit(browser, address("search")) as (page, troubles):
        page.locator("article input[name=q], main input[name=q]").first.fill(
            "decoder"
        )
        page.keyboard.press("Enter")
        page.wait_for_url("**/search.html?q=decoder*")
        page.locator("#search-results li a").nth(4).wait_for()
        assert "book/" in page.locator(
            "#search-results li a"
        ).first.get_attribute("href")
    assert troubles == []


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("name", [FIRST, "search"])
def test_each_control_is_reached_by_keyboard_and_shows_it(
    browser, name, width
):
    with visit(browser, address(name), width=width) as (page, _):
        assert controls_without_focus(page) == []


def test_the_first_tab_leads_to_the_text(browser):
    with visit(browser, address(FIRST)) as (page, _):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.hash") == "#main-content"


def test_the_buttons_of_the_theme_work_under_the_policy(browser):
    with visit(browser, address(FIRST)) as (page, troubles):
        page.evaluate("window.print = () => { window.printed = true }")
        mode = page.evaluate("document.documentElement.dataset.mode")
        page.locator(".theme-switch-button").first.click()
        assert page.evaluate("document.documentElement.dataset.mode") != mode
        page.get_by_label("Download this page").click()
        menu = ".dropdown-download-buttons .dropdown-menu"
        assert page.locator(menu).is_visible()
        page.locator("button[data-call=print]").click()
        assert page.evaluate("window.printed")
        page.locator("button[data-call=toggleFullScreen]").click()
        page.wait_for_function("document.fullscreenElement !== null")
        assert page.locator("button.copybtn").count() > 5
        page.locator(".primary-toggle").click()
        page.locator("#pst-primary-sidebar").wait_for(state="hidden")
    assert troubles == []


def test_the_menus_above_a_page_show_pictures_of_the_site(browser):
    with visit(browser, address(FIRST)) as (page, troubles):
        menus = page.locator(".article-header-buttons .dropdown")
        assert menus.count() == 3
        for i in range(3):
            menus.nth(i).locator("button").first.click()
            assert menus.nth(i).locator(".dropdown-menu").is_visible()
            assert faults(page, ["color-contrast", "image-alt"]) == []
            pictures = menus.nth(i).locator("img")
            sizes = pictures.evaluate_all(
                "all => all.map(i => i.naturalWidth)"
            )
            assert all(size > 0 for size in sizes)
            page.keyboard.press("Escape")
        assert page.locator(".dropdown-launch-buttons img").count() == 2
    assert troubles == []


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_the_icon_of_the_book_stands_above_the_menu(browser, mode):
    with visit(browser, address(FIRST), mode=mode) as (page, _):
        icons = page.locator(".navbar-brand img")
        seen = [i for i in range(icons.count()) if icons.nth(i).is_visible()]
        assert len(seen) == 1
        box = icons.nth(seen[0]).bounding_box()
        assert box["width"] == box["height"] == 64
        size = "image => [image.naturalWidth, image.naturalHeight]"
        assert icons.nth(seen[0]).evaluate(size) == [32, 32]


def test_the_copy_button_copies_the_code_of_its_cell(browser, server):
    there = f"{server}/{FIRST}.html"
    with visit(browser, there, offline=False) as (page, troubles):
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.locator("button.copybtn").first.click(force=True)
        text = page.evaluate("navigator.clipboard.readText()")
        assert "import" in text
    assert troubles == []


def test_the_download_button_hands_out_the_notebook(browser, server):
    there = f"{server}/{FIRST}.html"
    with visit(browser, there, offline=False) as (page, troubles):
        page.get_by_label("Download this page").click()
        with page.expect_download() as download:
            page.locator(".btn-download-source-button").click()
        assert download.value.suggested_filename.endswith(".ipynb")
        source = ROOT / f"{FIRST}.ipynb"
        copy = Path(download.value.path())
        assert abs(copy.stat().st_size / source.stat().st_size - 1) < 0.5
    assert troubles == []


def test_figures_in_the_dark_keep_their_colours_and_paper(browser):
    with visit(browser, address(LONG), mode="dark") as (page, _):
        styles = page.locator("article img").evaluate_all(
            """images => images.map(image => {
              const style = getComputedStyle(image)
              return [style.backgroundColor, style.filter]
            })"""
        )
    assert {tuple(s) for s in styles} == {
        ("rgb(255, 255, 255)", "brightness(0.85)")
    }


# --- the checks themselves --------------------------------------------------

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8" /><title>Made up</title>
</head><body><main><h1>Made up</h1>{}</main></body></html>
"""


def made_up(folder, body, protected=False):
    html = PAGE.format(body)
    file = folder / "page.html"
    file.write_text(security.protect(html) if protected else html)
    return file.as_uri()


def test_a_page_without_faults_is_let_through(browser, tmp_path):
    body = "<p>Text</p><script>document.title = 'ran'</script>"
    there = made_up(tmp_path, body, protected=True)
    with visit(browser, there) as (page, troubles):
        assert page.title() == "ran"
        assert violations(page) == []
        assert too_wide(page) <= 0
        assert controls_without_focus(page) == []
    assert troubles == []


@pytest.mark.parametrize(
    ("body", "trouble"),
    [
        ('<img src="https://example.org/a.png" alt="a">', "asks https"),
        ('<img src="missing.png" alt="a">', "failed file"),
        ("<script>console.error('e')</script>", "error: e"),
        ("<script>console.warn('w')</script>", "warning: w"),
        ("<script>throw new Error('thrown')</script>", "script: thrown"),
    ],
)
def test_troubles_of_a_page_are_noted(browser, tmp_path, body, trouble):
    with visit(browser, made_up(tmp_path, body)) as (_, troubles):
        assert any(t.startswith(trouble) for t in troubles), troubles


class Slow(Quiet):
    """Keeps some files back, and never hands them out."""

    let_go = Event()

    def do_GET(self):
        if "slow" in self.path:
            self.let_go.wait(20)
            self.close_connection = True
        else:
            super().do_GET()


def test_a_page_that_is_left_may_drop_a_request(browser, tmp_path):
    made_up(tmp_path, '<img src="gone.png" alt="gone">')
    with serving(partial(Slow, directory=str(tmp_path))) as host:
        there = f"{host}/page.html"
        with visit(browser, there, offline=False) as (page, troubles):
            troubles.clear()
            # as the icon of a page does, the picture comes after its load
            with page.expect_request("**/slow.png"):
                page.evaluate("() => { new Image().src = 'slow.png' }")
            with page.expect_event("requestfailed", timeout=120_000) as failed:
                page.goto(f"{there}?again")
            assert failed.value.url == f"{host}/slow.png"
            assert [t for t in troubles if "slow" in t] == []
            # what is missing on the next page is noted as ever
            assert f"404: {host}/gone.png" in troubles
            # and so is what a page drops while it stays
            with page.expect_event("requestfailed", timeout=120_000):
                page.evaluate(
                    """() => {
                      const stop = new AbortController()
                      fetch("slow.txt", {signal: stop.signal}).catch(() => 0)
                      setTimeout(() => stop.abort(), 50)
                    }"""
                )
            assert f"failed {host}/slow.txt" in troubles
        Slow.let_go.set()


def test_a_missing_file_over_http_is_noted(browser, server):
    with visit(browser, f"{server}/no.html", offline=False) as (_, troubles):
        assert any(t.startswith("404: ") for t in troubles), troubles


@pytest.mark.parametrize(
    "added",
    [
        "<script>document.title = 'ran'</script>",
        '<script src="data:text/javascript,document.title=1"></script>',
        "<img alt='' src='data:,' onerror=\"document.title = 'ran'\">",
        "<base href='https://example.org/'>",
        "<iframe title='a' src='data:text/html,a'></iframe>",
        "<object data='page.html'></object>",
    ],
)
def test_the_policy_refuses_what_was_not_built(browser, tmp_path, added):
    there = made_up(tmp_path, "<script>1</script>", protected=True)
    file = tmp_path / "page.html"
    file.write_text(file.read_text().replace("</main>", f"{added}</main>"))
    with visit(browser, there) as (page, troubles):
        assert page.title() == "Made up"
        assert any("Content Security Policy" in t for t in troubles), troubles


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        ("<button></button>", "button-name"),
        (
            '<p style="color: #bbb; background: #fff">pale</p>',
            "color-contrast",
        ),
        ('<img src="data:,">', "image-alt"),
        (
            '<pre style="background: #fff"><span class="a">ok</span>\n'
            '<span class="b" style="color: #bbb">pale</span>\n'
            '<span class="b" style="color: #bbb">pale</span></pre>',
            "color-contrast",
        ),
    ],
)
def test_barriers_of_a_page_are_found(browser, tmp_path, body, rule):
    with visit(browser, made_up(tmp_path, body)) as (page, _):
        assert [f.partition(":")[0] for f in faults(page)] == [rule]


@pytest.mark.parametrize(
    "body",
    [
        '<button style="outline: none">a</button>',
        '<button tabindex="-1">a</button>',
    ],
)
def test_controls_that_hide_from_the_keyboard_are_found(
    browser, tmp_path, body
):
    with visit(browser, made_up(tmp_path, body)) as (page, _):
        assert len(controls_without_focus(page)) == 1


def test_a_page_that_is_too_wide_is_found(browser, tmp_path):
    there = made_up(tmp_path, '<div style="width: 500px">a</div>')
    with visit(browser, there, width=400) as (page, _):
        assert too_wide(page) > 0


def test_the_weight_of_a_page_counts_each_file_once(browser, tmp_path):
    (tmp_path / "a.js").write_text("1" * 1000)
    (tmp_path / "mathjax").mkdir()
    (tmp_path / "mathjax" / "b.js").write_text("1" * 1000)
    body = '<script src="a.js"></script><script src="a.js?v=1"></script>'
    body += '<script src="mathjax/b.js"></script>'
    asked = []
    with visit(browser, made_up(tmp_path, body), requests=asked):
        own = (tmp_path / "page.html").stat().st_size
        assert weight(asked) == own + 1000


def test_without_a_browser_tests_are_skipped_but_never_where_they_count(
    monkeypatch,
):
    monkeypatch.delenv("CI_BROWSER", raising=False)
    with pytest.raises(pytest.skip.Exception, match="nothing there"):
        do_without("nothing there")
    monkeypatch.setenv("CI_BROWSER", "1")
    with pytest.raises(pytest.fail.Exception, match="nothing there"):
        do_without("nothing there")


def test_chromium_may_be_named_by_the_environment(monkeypatch, tmp_path):
    program = shutil.copy(sys.executable, tmp_path / "my-chromium")
    monkeypatch.setenv("MINIVAE_CHROMIUM", str(program))
    assert find_chromium() == str(program)
    monkeypatch.delenv("MINIVAE_CHROMIUM")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_chromium() is None
