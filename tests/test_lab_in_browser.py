"""The latent explorer in JupyterLab, with Chromium and a kernel.

Chapters 1, 5 and 9 run on the built-in digits, which are always there. Their
models come from the cache ($MINIVAE_CACHE, else the user's). Those that are
missing are trained first, which takes about half a minute each.
"""

import ast
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from importlib.util import find_spec
from urllib.parse import urlsplit

import nbformat
import numpy as np
import pytest
from browser import do_without, watch
from conftest import ROOT

CHAPTERS = {
    1: "01_squeezing_digits",
    5: "05_a_map_of_digits",
    9: "09_only_fives",
}
RUN = 1800  # seconds for a chapter that has to train its models first
WAIT = 180  # seconds for anything else
TOLERANCE = 1e-2 + 0.5 / 255  # of the rounded decoder, and of a grey level

# Small models that are not trained: they draw noise, which is as good here.
TWO = (
    "from minivae import CVAE, VAE, load_digits\n"
    "from minivae.explorer import explorer\n\n"
    'digits = load_digits("builtin", "test")[:100]',
    "first = explorer(VAE(n_latent=2, hidden=(32,)), digits)\nfirst",
    "second = explorer(CVAE(n_latent=2, hidden=(32,)), digits)\nsecond",
)

LEARNS = (
    "from minivae.explorer import trainer\n\nlesson = trainer(seed=3)\nlesson",
)
MOVES = (
    "from minivae import VAE, load_digits\n"
    "from minivae.explorer import bound, explorer, trick\n\n"
    "toy = bound()\ntoy",
    "held = trick()\nheld",
    'digits = load_digits("builtin", "test")[:100]\n'
    "own = explorer(VAE(2, (32,)), digits, drawing=True)\nown",
)

# What the page is asked. Each picture is read from a copy: Chromium warns of
# reading a canvas twice that was not made for it.
IN_PAGE = r"""
window.lab = {
  get panel() { return window.jupyterapp?.shell.currentWidget },
  get session() { return this.panel?.context?.sessionContext?.session },
  get status() { return this.session?.kernel?.status },
  get cells() {
    return this.panel.content.widgets
      .map(cell => cell.model).filter(model => model.type === "code")
  },
  run() {
    this.ran = null
    jupyterapp.commands.execute("notebook:run-all-cells")
      .then(() => { this.ran = true })
  },
  async ask(code, expression) {
    const future = this.session.kernel.requestExecute({
      code, store_history: false, user_expressions: { r: expression } })
    const { content } = await future.done
    return content.user_expressions?.r ?? content
  },
  look(n) {
    const sheet = new OffscreenCanvas(28, 28)
      .getContext("2d", { willReadFrequently: true })
    const root = document.querySelectorAll(".minivae-explorer")[n]
    return [...root.querySelectorAll(".panel")].map(panel => {
      const z = []
      for (const label of panel.querySelectorAll(".sliders label")) {
        const name = label.querySelector(".name").textContent
        const text = label.querySelector(".value").textContent
        z[name.slice(1) - 1] = Number(text.replace("\u2212", "-"))
      }
      sheet.drawImage(panel.querySelector(".drawn canvas"), 0, 0)
      const { data } = sheet.getImageData(0, 0, 28, 28)
      return { z, greys: Array.from({ length: 784 }, (_, i) => data[4 * i]) }
    })
  },
}
"""

# What the kernel is asked. Chapters do not name their explorer.
IN_KERNEL = """
import json as _json
from ipywidgets.widgets.widget import _instances
from minivae.explorer import Explorer as _Explorer

def _explorers():
    return [w for w in _instances.values() if isinstance(w, _Explorer)]

def _state(n):
    w = _explorers()[n]
    return {
        "z": [w.z] if len(w.panels) == 1 else w.z,
        "digit": w.digit,
        "images": w.images().round(5).tolist(),
        "low": [panel["low"] for panel in w.panels],
        "high": [panel["high"] for panel in w.panels],
    }
"""


# --- JupyterLab -------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Address of a JupyterLab that knows nothing of the user's settings."""
    for module in ("jupyterlab", "anywidget"):
        if find_spec(module) is None:
            do_without(f"{module} is not installed")
    folder = tmp_path_factory.mktemp("lab")
    books = folder / "book"
    books.mkdir()
    for name in CHAPTERS.values():
        shutil.copy(ROOT / "book" / f"{name}.ipynb", books)
    shutil.copy(books / f"{CHAPTERS[5]}.ipynb", books / "stored.ipynb")
    for name, sources in (
        ("two", TWO),
        ("learns", LEARNS),
        ("moves", MOVES),
    ):
        cells = [nbformat.v4.new_code_cell(source) for source in sources]
        small = nbformat.v4.new_notebook(cells=cells)
        kernel = {"name": "python3", "display_name": "Python"}
        small.metadata["kernelspec"] = kernel
        nbformat.write(small, books / f"{name}.ipynb")
    # else it asks whether to fetch news
    settings = folder / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text(
        '{"fetchNews": "false", "checkForUpdates": false}'
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with serving(folder, port) as process:
        wait_for(process, port, folder / "log")
        yield f"http://127.0.0.1:{port}"


@contextmanager
def serving(folder, port):
    # conftest.py allows one thread, which is too few to train with
    unwanted = ("OMP_NUM_THREADS", "JUPYTER_PATH", "JUPYTER_CONFIG_PATH")
    env = {k: v for k, v in os.environ.items() if k not in unwanted}
    env["MINIVAE_DIGITS"] = "builtin"
    # as `make lab` does
    env["JUPYTER_CONFIG_PATH"] = str(ROOT / "book" / "_ext" / "lab")
    for name, place in {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
    }.items():
        env[name] = str(folder / place)
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        "--IdentityProvider.token=",
        "--ServerApp.password=",
        "--LabApp.expose_app_in_browser=True",
        f"--notebook-dir={folder / 'book'}",
    ]
    with open(folder / "log", "w") as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()  # it ends its kernels
        try:
            process.wait(WAIT)
        except subprocess.TimeoutExpired:
            process.kill()  # kernels notice that it is gone
            process.wait()


def wait_for(process, port, log):
    """Until the server answers; not by urlopen, which tests may not use."""
    end = time.monotonic() + 2 * WAIT
    while process.poll() is None and time.monotonic() < end:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/api/status")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.2)
        finally:
            connection.close()
    pytest.fail(f"JupyterLab did not start: {log.read_text()[-2000:]}")


class Notebook:
    """An open notebook with a kernel, and the troubles of its page."""

    def __init__(self, page, troubles):
        self.page, self.troubles = page, troubles

    def wait(self, condition, seconds=WAIT):
        """Until a condition of the page is true."""
        self.page.wait_for_function(condition, timeout=1000 * seconds)

    def run(self):
        """Run all cells."""
        self.page.evaluate("lab.run()")
        self.wait("lab.ran && lab.status === 'idle'", RUN)

    def ask(self, expression, code=""):
        """Run code in the kernel; then the value of an expression."""
        expression = f"_json.dumps({expression})"
        code = f"{IN_KERNEL}\n{code}"
        call = "([code, expression]) => lab.ask(code, expression)"
        reply = self.page.evaluate(call, [code, expression])
        assert reply["status"] == "ok", reply
        return json.loads(ast.literal_eval(reply["data"]["text/plain"]))

    def explorer(self, n=0):
        return self.page.locator(".minivae-explorer").nth(n)

    def message(self, n=0, text=""):
        """What an explorer says of its kernel, if that has a text in it."""
        status = self.explorer(n).locator(".status")
        return status.filter(has_text=text)

    def look(self, n=0):
        """What an explorer shows: a code for each model, and its picture."""
        panels = self.page.evaluate("n => lab.look(n)", n)
        greys = np.array([panel["greys"] for panel in panels])
        return [p["z"] for p in panels], 1 - greys.reshape(-1, 28, 28) / 255

    def settle(self, n=0):
        """Wait until page and Python agree; what both then have.

        The code to the digits that are shown, the pictures to a hundredth.
        """
        end = time.monotonic() + WAIT
        while True:
            state = self.ask(f"_state({n})")
            z, pictures = self.look(n)
            # all models of a notebook have two dimensions
            near = np.abs(np.array(z) - state["z"]).max() <= 0.0051
            apart = np.abs(pictures - state["images"]).max()
            if near and apart <= TOLERANCE:
                return state | {"pictures": pictures}
            assert time.monotonic() < end, (z, state["z"], apart)
            self.page.wait_for_timeout(50)

    def drag(self, element, start, by):
        """Drag what lies at a share of an element's width and height."""
        element.scroll_into_view_if_needed()
        box = element.bounding_box()
        at = {
            "x": start[0] * box["width"],
            "y": start[1] * box["height"],
        }
        # cells above it get their height as they come into sight
        element.hover(position=at)
        before = None
        while before != box:  # until all lies still
            before = box
            self.page.wait_for_timeout(500)
            element.hover(position=at)
            box = element.bounding_box()
        x, y = box["x"] + at["x"], box["y"] + at["y"]
        self.page.mouse.down()
        self.page.mouse.move(x + by[0], y + by[1], steps=8)
        self.page.mouse.up()

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)


@contextmanager
def opened(browser, server, name):
    """A notebook with an idle kernel, in a browser that is new to it."""
    context = browser.new_context(
        viewport={"width": 1280, "height": 900}, reduced_motion="reduce"
    )
    context.set_default_timeout(1000 * WAIT)
    context.add_init_script(IN_PAGE)
    page = context.new_page()
    troubles = []
    watch(page, urlsplit(server), troubles)
    page.goto(f"{server}/lab/tree/{name}.ipynb?reset")
    notebook = Notebook(page, troubles)
    # to run cells earlier opens a dialogue about kernels
    notebook.wait("lab.status === 'idle'", 2 * WAIT)
    yield notebook
    page.evaluate("lab.panel.context.sessionContext.shutdown()")
    context.close()


def slider_of(panel, name):
    label = panel.locator(".sliders label", has_text=name)
    return label.locator("input")


# of the middle of a point on its map: right and up, from 0 to 1
PLACE = """point => {
  const spot = point.getBoundingClientRect()
  const box = point.parentElement.getBoundingClientRect()
  return [
    (spot.left + spot.width / 2 - box.left) / box.width,
    1 - (spot.top + spot.height / 2 - box.top) / box.height,
  ]
}"""


def share(slider):
    """Where the thumb of a slider is, from 0 to 1."""
    return slider.evaluate("e => (e.value - e.min) / (e.max - e.min)")


# --- chapters 1, 5 and 9 ----------------------------------------------------


@pytest.fixture(scope="module", params=CHAPTERS)
def chapter(request, browser, server):
    """A chapter all of whose cells have run."""
    with opened(browser, server, CHAPTERS[request.param]) as notebook:
        notebook.number = request.param
        notebook.run()
        notebook.explorer().wait_for()
        yield notebook


def test_all_cells_of_a_chapter_run(chapter):
    cells = chapter.page.evaluate(
        """lab.cells.map(cell => [cell.executionCount,
          cell.outputs.toJSON().filter(o => o.output_type === "error")])"""
    )
    counts, errors = zip(*cells)
    assert not any(errors), errors
    assert counts == tuple(range(1, len(counts) + 1))


def test_a_slider_obeys_the_mouse_and_the_arrow_keys(chapter):
    panels = chapter.explorer().locator(".panel")
    last = panels.count() - 1
    slider = slider_of(panels.nth(last), "z1")
    start = chapter.settle()
    chapter.drag(slider, (share(slider), 0.5), (30, 0))
    dragged = chapter.settle()
    assert dragged["z"][last][0] > start["z"][last][0]
    assert dragged["z"][last][1:] == start["z"][last][1:]
    assert dragged["z"][:last] == start["z"][:last]
    assert (dragged["pictures"][last] != start["pictures"][last]).any()
    assert (dragged["pictures"][:last] == start["pictures"][:last]).all()

    step = float(slider.get_attribute("step"))
    active = "lab.panel.content.activeCellIndex"
    before = chapter.page.evaluate(active)
    for keys, steps in (
        (["ArrowLeft"], -1),
        (["ArrowRight"] * 5, 4),
        (["ArrowDown"] * 3, 1),
        (["ArrowUp"], 2),
    ):
        chapter.press(*keys)
        z = float(slider.input_value())
        assert abs(z - dragged["z"][last][0] - steps * step) <= 1e-5
        assert abs(chapter.settle()["z"][last][0] - z) <= 1e-5
    assert (chapter.settle()["pictures"] != dragged["pictures"]).any()
    assert slider.evaluate("e => document.activeElement === e")
    assert chapter.page.evaluate(active) == before


def test_the_point_on_the_map_obeys_the_mouse_and_the_arrow_keys(chapter):
    where = chapter.explorer().locator(".map").first
    point = where.locator(".point")
    start = chapter.settle()
    low, high = np.array(start["low"][0]), np.array(start["high"][0])
    point.focus()  # which makes its cell the active one
    active = chapter.page.evaluate("lab.panel.content.activeCellIndex")
    z = np.array(start["z"][0])
    for key, way in {
        "ArrowRight": (1, 0),
        "ArrowUp": (0, 1),
        "ArrowLeft": (-1, 0),
        "Shift+ArrowDown": (0, -5),
    }.items():
        chapter.press(key)
        z = z + np.array(way) * (high - low) / 100
        assert np.abs(chapter.settle()["z"][0] - z).max() <= 1e-4
    assert point.evaluate("e => document.activeElement === e")
    assert chapter.page.evaluate("lab.panel.content.activeCellIndex") == active
    pressed = chapter.settle()
    assert (pressed["pictures"][0] != start["pictures"][0]).any()

    right, up = (z - low) / (high - low)
    chapter.drag(where, (right, 1 - up), (40, -25))
    dragged = chapter.settle()
    assert (dragged["pictures"][0] != pressed["pictures"][0]).any()
    moved = np.array(dragged["z"][0]) - z
    side = where.bounding_box()["width"]
    assert np.abs(moved - (high - low) * (40, 25) / side).max() <= 0.02 * max(
        high - low
    )
    assert dragged["z"][1:] == start["z"][1:]


def test_what_python_sets_is_shown(chapter):
    chapter.ask("0", "_explorers()[0].z = [0.25, -0.5]")
    state = chapter.settle()
    assert state["z"] == [[0.25, -0.5]] * len(state["z"])
    for i, panel in enumerate(chapter.explorer().locator(".panel").all()):
        low, high = np.array(state["low"][i]), np.array(state["high"][i])
        right, up = ([0.25, -0.5] - low) / (high - low)
        for name, wanted in (("z1", right), ("z2", up)):
            assert abs(share(slider_of(panel, name)) - wanted) <= 0.003
        place = panel.locator(".point").evaluate(PLACE)
        assert np.abs(np.subtract(place, (right, up))).max() <= 0.005, place


def test_pictures_are_those_of_the_exact_decoders(chapter):
    random = np.random.default_rng(0)
    for _ in range(6):
        state = chapter.settle()
        z = random.uniform(state["low"], state["high"])
        value = z[0].tolist() if len(z) == 1 else z.tolist()
        digit = int(random.integers(10))
        chapter.ask(
            "0",
            f"_explorers()[0].z = {value}\n_explorers()[0].digit = {digit}",
        )
        state = chapter.settle()  # compares the pictures
        assert np.abs(np.array(state["z"]) - z).max() <= 1e-5
        assert state["digit"] == digit


def test_a_conditional_model_draws_the_digit_that_is_asked_for(chapter):
    ten = chapter.explorer().locator(".ten button")
    assert ten.count() == (10 if chapter.number == 9 else 0)
    for digit in (5, 2)[: ten.count()]:
        chapter.ask("0", "_explorers()[0].digit = 7")
        before = chapter.settle()
        pressed = chapter.explorer().locator(".ten [aria-pressed=true]")
        assert pressed.get_attribute("aria-label") == "Ask for a 7"
        ten.nth(digit).click()
        state = chapter.settle()
        assert state["digit"] == digit
        assert state["z"] == before["z"]
        assert (state["pictures"][0] == before["pictures"][0]).all()
        assert (state["pictures"][1] != before["pictures"][1]).any()
        assert pressed.get_attribute("aria-label") == f"Ask for a {digit}"


def test_of_a_flood_of_events_the_last_one_counts(chapter):
    slider = slider_of(chapter.explorer().locator(".panel").first, "z1")
    last = slider.evaluate(
        """slider => {
          for (let i = 0; i < 200; i++) {
            slider.value = +slider.min + ((7 * i) % 190) * slider.step
            slider.dispatchEvent(new Event("input", { bubbles: true }))
          }
          return slider.valueAsNumber
        }"""
    )
    end = time.monotonic() + WAIT
    while abs(chapter.ask("_state(0)['z'][0][0]") - last) > 1e-5:
        assert time.monotonic() < end
        chapter.page.wait_for_timeout(50)
    chapter.page.wait_for_timeout(500)  # no answer to an earlier one
    assert abs(chapter.settle()["z"][0][0] - last) <= 1e-5
    assert abs(float(slider.input_value()) - last) <= 1e-9


def test_a_chapter_is_silent_on_the_console(chapter):
    assert chapter.message().text_content() == ""
    assert ours(chapter.troubles) == []


def ours(troubles):
    """Without what JupyterLab says and asks of its own accord."""
    own = (
        # anywidget imports modules from addresses of this kind
        "asks blob:http://127.0.0.1:",
        # where the machine is busy
        "warning: Plugin @jupyterlab/",
    )
    return [trouble for trouble in troubles if not trouble.startswith(own)]


# --- two explorers, and kernels that come and go ----------------------------


@pytest.fixture(scope="module")
def two(browser, server):
    """A notebook with two explorers of its own."""
    with opened(browser, server, "two") as notebook:
        notebook.run()
        notebook.explorer(1).wait_for()
        yield notebook


def nudge(notebook, n):
    """Press an arrow key on a slider of an explorer."""
    slider_of(notebook.explorer(n).locator(".panel").first, "z1").focus()
    notebook.press("ArrowRight")


def test_two_explorers_do_not_disturb_each_other(two):
    for one, other in ((0, 1), (1, 0)):
        before, resting = two.settle(one), two.settle(other)
        nudge(two, one)
        after, rested = two.settle(one), two.settle(other)
        assert after["z"] != before["z"]
        assert (after["pictures"] != before["pictures"]).any()
        assert rested["z"] == resting["z"]
        assert (rested["pictures"] == resting["pictures"]).all()
    assert two.ask("[first.z, second.z]") == [
        two.settle(n)["z"][0] for n in (0, 1)
    ]


def test_a_reader_sees_no_menu_for_instructors(two):
    menus = two.page.locator(".lm-MenuBar").first.text_content()
    assert "Kernel" in menus
    assert "Nbgrader" not in menus


def test_a_restarted_kernel_is_noticed_and_the_sliders_go_on(two):
    for n in (0, 1):
        two.settle(n)
        assert two.message(n).text_content() == ""
    assert ours(two.troubles) == []
    two.page.evaluate("lab.session.kernel.restart()")
    for n in (0, 1):
        two.message(n, "run the cell").wait_for()
        z, pictures = two.look(n)
        nudge(two, n)
        z_after, pictures_after = two.look(n)
        assert z_after != z
        assert (pictures_after != pictures).any()
    two.wait("lab.status === 'idle'")
    two.run()
    for n in (0, 1):
        before = two.settle(n)
        assert two.message(n).text_content() == ""
        nudge(two, n)
        assert two.settle(n)["z"] != before["z"]


def test_what_is_stored_works_once_the_notebook_is_trusted(browser, server):
    # JupyterLab runs no script of a notebook that it has not made itself
    with opened(browser, server, "stored") as notebook:
        page = notebook.page
        n = page.evaluate(
            """lab.panel.content.widgets.findIndex(cell =>
              cell.model.sharedModel.getSource().includes("explorer(["))"""
        )
        cell = page.locator(".jp-Notebook-cell").nth(n)
        cell.locator(".jp-OutputArea img").wait_for(state="attached")
        assert notebook.explorer().count() == 0
        page.evaluate("void jupyterapp.commands.execute('notebook:trust')")
        page.locator(".jp-Dialog .jp-mod-accept").click()
        notebook.explorer().wait_for(state="attached")
        notebook.message(0, "No kernel answers").wait_for()
        z, pictures = notebook.look()
        nudge(notebook, 0)
        z_after, pictures_after = notebook.look()
        assert z_after[0][0] != z[0][0]
        assert (pictures_after[0] != pictures[0]).any()
        assert ours(notebook.troubles) == []


# --- what learns on the page ------------------------------------------------


def test_python_sees_and_steers_what_learns(browser, server):
    with opened(browser, server, "learns") as notebook:
        notebook.run()
        page = notebook.page
        root = page.locator(".minivae-trainer")
        root.scroll_into_view_if_needed()
        step = (
            "Number(document.querySelector('.minivae-trainer').dataset.step)"
        )
        notebook.wait(f"{step} === 0")
        page.get_by_role("button", name="Start", exact=True).click()
        notebook.wait(f"{step} >= 20")
        notebook.ask("1", "lesson.beta = 20.0")
        slider = page.get_by_label("weight of the KL")
        notebook.wait(
            "document.querySelector('.beta input').ariaValueText === '20'"
        )
        slider.press("ArrowLeft")
        page.get_by_role("button", name="Pause", exact=True).click()
        taken = page.evaluate(step)
        end = time.monotonic() + WAIT
        while notebook.ask("lesson.report.get('step')") != taken:
            assert time.monotonic() < end
            page.wait_for_timeout(50)
        assert notebook.ask("lesson.beta") == 15
        models = notebook.ask("lesson.report['models']")
        assert [m["model"] for m in models] == ["autoencoder", "vae", "cvae"]
        assert all(0 < m["accuracy"] < 1 < m["loss"] for m in models)
        notebook.ask("1", "lesson.seed = 4")
        notebook.wait(f"{step} === 0")
        assert ours(notebook.troubles) == []


# --- what a reader moves, and draws -----------------------------------------


def test_python_sees_what_a_reader_moves_and_draws(browser, server):
    with opened(browser, server, "moves") as notebook:
        notebook.run()
        page = notebook.page
        # cells come into being as they come into sight
        figures = page.locator(".minivae-axes")
        figures.first.scroll_into_view_if_needed()

        def becomes(expression, value):
            end = time.monotonic() + WAIT
            while notebook.ask(expression) != value:
                assert time.monotonic() < end
                page.wait_for_timeout(50)

        before = notebook.ask("toy.theta")
        page.get_by_role("button", name="Best q", exact=True).click()
        page.get_by_role("button", name="One step of").click()
        becomes(f"toy.theta != {before!r}", True)
        figures.nth(1).scroll_into_view_if_needed()
        noise = notebook.ask("list(held.noise)")
        page.get_by_role("button", name="New noise").click()
        becomes(f"list(held.noise) == {noise!r}", False)
        pad = page.locator(".pad canvas")
        pad.scroll_into_view_if_needed()
        pad.focus()
        for key in ("Space", *["ArrowDown"] * 12, "Space"):
            page.keyboard.press(key)
        becomes("own.drawn != b'' and bool(own.drawing().max() > 0.9)", True)
        # the code is that of the drawing, by the exact encoder
        model = "list(own.models.values())[0]"
        x = "(torch.from_numpy(own.drawing()) > 0.5).float()[None, None]"
        exact = f"{model}.encode_mean({x})[0].tolist()"
        code = notebook.ask(exact, "import torch")
        assert notebook.ask("own.z") == pytest.approx(code, abs=0.01)
        notebook.ask("1", "own.drawn = bytes(784)")
        notebook.ask("1", "own.drawn = b''")
        notebook.wait("!document.querySelector('.minivae-explorer ellipse')")
        assert ours(notebook.troubles) == []
