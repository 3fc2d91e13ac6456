"""What tests in a browser share: Chromium, and a page that is watched.

Chromium is the one of the system, or that which MINIVAE_CHROMIUM names;
nothing is downloaded. Without one the tests are skipped, except with
CI_BROWSER=1, where they fail.
"""

import json
import os
import sys
from contextlib import contextmanager
from functools import cache
from importlib import resources
from pathlib import Path
from urllib.parse import urlsplit

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "book" / "_ext"))
from print_book import ARGUMENTS, find_chromium

MODE = """mode => {
  try { localStorage.mode = localStorage.theme = mode } catch {}
}"""
READY = """async () => {
  await window.MathJax?.startup?.promise
  await document.fonts.ready
  const views = document.querySelectorAll("script[type*=widget-view]").length
  const alive = [".minivae-explorer", ".minivae-trainer", ".minivae-axes",
    ".needs-kernel"].join()
  while (document.querySelectorAll(alive).length < views)
    await new Promise(resolve => setTimeout(resolve, 20))
}"""


def do_without(reason):
    """Skip, or fail where a browser has to be."""
    if os.environ.get("CI_BROWSER") == "1":
        pytest.fail(f"CI_BROWSER=1, but {reason}", pytrace=False)
    pytest.skip(reason)


@contextmanager
def launched():
    """A browser without a window; conftest.py makes a fixture of it."""
    path = find_chromium()
    if path is None:
        do_without("no Chromium found: put one on the PATH")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        do_without("playwright is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=list(ARGUMENTS)
        )
        yield browser
        browser.close()


@contextmanager
def visit(
    browser,
    address,
    width=1280,
    mode="light",
    offline=True,
    requests=None,
    leads_to=None,
    motion="reduce",
):
    """A page in a fresh context, and the list of its troubles, which grows.

    Troubles are requests to other places or that fail, errors of scripts,
    and errors and warnings on the console, which includes what the policy of
    the page has refused. Over http on this machine use `offline=False`.
    Whatever the page asks for is added to `requests`. A page that sends its
    visitor on is left for the address that matches `leads_to`. The visitor
    wants no motion, unless `motion` is "no-preference".
    """
    context = browser.new_context(
        offline=offline,
        viewport={"width": width, "height": 900},
        reduced_motion=motion,
    )
    context.add_init_script(f"({MODE})({json.dumps(mode)})")
    context.set_default_timeout(120_000)  # a machine may be busy
    page = context.new_page()
    troubles = []
    watch(page, urlsplit(address), troubles)
    if requests is not None:
        page.on("request", lambda request: requests.append(request.url))
    if leads_to:
        page.goto(address, wait_until="commit")
        page.wait_for_url(leads_to)
    else:
        page.goto(address)
    page.evaluate(READY)
    yield page, troubles
    context.close()


def watch(page, home, troubles):
    """Note whatever a page does that it should not.

    A page that is left takes its unfinished requests with it, often that for
    its icon. The browser calls them aborted, as nothing else that fails; so
    aborted requests are no trouble if they were under way, or began, while
    the page was being left.
    """
    unfinished, dropped = set(), set()
    leaving = False

    def asked(request):
        nonlocal leaving
        there = urlsplit(request.url)
        same = (there.scheme, there.netloc) == (home.scheme, home.netloc)
        if not same and there.scheme != "data":
            troubles.append(f"asks {request.url}")
        if request.is_navigation_request():
            if request.frame == page.main_frame:
                leaving = True
                dropped.update(unfinished)
            return
        unfinished.add(request)
        if leaving:
            dropped.add(request)

    def arrived(frame):
        nonlocal leaving
        if frame == page.main_frame:
            leaving = False

    def answered(response):
        if response.status >= 400:
            troubles.append(f"{response.status}: {response.url}")

    def failed(request):
        unfinished.discard(request)
        aborted = request.failure == "net::ERR_ABORTED"
        if not (aborted and request in dropped):
            troubles.append(f"failed {request.url}")

    def said(message):
        if message.type in ("error", "warning"):
            troubles.append(f"{message.type}: {message.text}")

    page.on("request", asked)
    page.on("framenavigated", arrived)
    page.on("response", answered)
    page.on("requestfinished", lambda r: unfinished.discard(r))
    page.on("requestfailed", failed)
    page.on("console", said)
    page.on("pageerror", lambda e: troubles.append(f"script: {e}"))


# --- accessibility ----------------------------------------------------------


@cache
def axe_source():
    """The text of axe-core."""
    package = resources.files("axe_playwright_python")
    return (package / "axe.min.js").read_text(encoding="utf-8")


# contrast is measured word by word, and code has thousands of words: of each
# kind on each ground one stays, the others become plain text
UNREPEATED = """() => {
  const seen = new Set()
  for (const word of document.querySelectorAll("pre span[class]")) {
    const ground = getComputedStyle(word.closest("pre")).backgroundColor
    const kind = word.className + ground
    if (seen.has(kind)) word.replaceWith(...word.childNodes)
    seen.add(kind)
  }
}"""


def violations(page, rules=None):
    """What axe finds, as "rule: selector: element", by all or some rules."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(axe_source())
        page.evaluate(UNREPEATED)
    # preload reads style sheets again, which a file may not
    options = {"preload": False, "resultTypes": ["violations"]}
    if rules:
        options["runOnly"] = {"type": "rule", "values": rules}
    found = page.evaluate(
        """async options => (await axe.run(options)).violations.flatMap(
          v => v.nodes.map(n => [v.id, n.target.flat().join(" "), n.html]))
        """,
        options,
    )
    return [f"{rule}: {where}: {html[:200]}" for rule, where, html in found]
