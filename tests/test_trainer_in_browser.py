"""What learns on the page, driven as a reader drives it, in Chromium.

The engine itself is held against PyTorch in test_learning_in_browser.py.
"""

import pytest
from browser import violations, visit
from conftest import ROOT
from live_page import page_with

from minivae.explorer import trainer

SITE = ROOT / "_build" / "html"
NAMES = ("Autoencoder", "VAE", "CVAE")
# rules about whole pages are for pages of the book
RULES = ["aria-input-field-name", "aria-valid-attr-value", "button-name",
         "color-contrast", "label", "scope-attr-valid", "target-size",
         "td-headers-attr"]  # fmt: skip
ENOUGH = 400  # steps until a map can be read


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A page that holds a trainer and nothing else."""
    folder = tmp_path_factory.mktemp("trainer")
    return page_with(folder / "page.html", trainer())


def reached(page, steps):
    """Wait until a step was taken and its numbers are shown."""
    page.wait_for_function(
        """steps => Number(document.querySelector(".minivae-trainer")
          .dataset.step) >= steps""",
        arg=steps,
    )


def step_of(page):
    return int(page.get_attribute(".minivae-trainer", "data-step"))


def table(page):
    """Model -> loss, reconstruction, KL and share of neighbours."""
    rows = page.locator(".minivae-trainer tbody tr").all()
    return {
        row.locator("th").inner_text(): [
            float(text.rstrip(" %")) if text[:1].isdigit() else None
            for text in row.locator("td").all_inner_texts()
        ]
        for row in rows
    }


def button(page, name):
    return page.get_by_role("button", name=name, exact=True)


def until(page, model, column, relation):
    """Wait until a number of the table is above or below a bar."""
    page.wait_for_function(
        f"""() => {{
          const row = document.querySelectorAll(".minivae-trainer tbody tr")
          const cell = row[{NAMES.index(model)}].cells[{column + 1}]
          return parseFloat(cell.textContent) {relation}
        }}"""
    )


# --- learning ---------------------------------------------------------------


def test_models_learn_and_the_page_stays_alive(browser, address):
    with visit(browser, address, motion="no-preference") as (page, troubles):
        before = table(page)
        assert all(row[3] < 60 for row in before.values())
        page.evaluate(
            """() => {
              window.frames_ = []
              const note = now => {
                window.frames_.push(now)
                requestAnimationFrame(note)
              }
              requestAnimationFrame(note)
            }"""
        )
        button(page, "Start").click()
        reached(page, 30)
        early = table(page)
        reached(page, ENOUGH)
        late = table(page)
        gaps = page.evaluate(
            "() => frames_.slice(1).map((t, i) => t - frames_[i])"
        )
        for name in NAMES:
            assert late[name][0] < 0.8 * early[name][0], name
        assert late["VAE"][2] > early["VAE"][2] + 0.5  # the KL
        assert late["VAE"][3] > 60 > before["VAE"][3] + 10
        assert late["Autoencoder"][3] > 45
        # told the label, a code need not say it again
        assert late["CVAE"][3] < late["VAE"][3] - 20
        assert late["CVAE"][1] < late["VAE"][1] - 1
        # a machine may be busy, but it answers between any two slices
        assert sorted(gaps)[len(gaps) // 2] < 200
        assert max(gaps) < 2000
        button(page, "Pause").click()
        paused = step_of(page)
        page.evaluate("() => new Promise(requestAnimationFrame)")
        assert step_of(page) == paused
        assert page.inner_text(".count") == f"step {paused:,}"
    assert troubles == []


def slide(page, name, value):
    """Move a slider to a value by the keyboard."""
    slider = page.get_by_label(name)
    slider.focus()
    page.keyboard.press("End")
    for _ in range(25):
        if slider.get_attribute("aria-valuetext") == value:
            return
        page.keyboard.press("ArrowLeft")
    raise AssertionError(f"the slider never says {value}")


def test_a_large_beta_collapses_the_code_and_it_recovers(browser, address):
    with visit(browser, address) as (page, troubles):
        button(page, "Start").click()
        until(page, "VAE", 2, "> 1.5")
        until(page, "VAE", 3, "> 60")
        slide(page, "weight of the KL", "20")
        until(page, "VAE", 2, "< 0.1")
        until(page, "CVAE", 2, "< 0.1")
        page.get_by_text("Collapse").first.wait_for()
        until(page, "VAE", 3, "< 40")
        collapsed = table(page)
        assert collapsed["VAE"][1] > collapsed["CVAE"][1] + 3  # it is told
        slide(page, "weight of the KL", "1")
        until(page, "VAE", 2, "> 1")
        until(page, "VAE", 3, "> 50")
        assert table(page)["VAE"][1] < collapsed["VAE"][1] - 2
    assert troubles == []


def test_noise_off_and_label_withheld(browser, address):
    with visit(browser, address) as (page, troubles):
        page.get_by_label("noise off").check()
        page.get_by_label("label withheld").check()
        button(page, "Start").click()
        reached(page, ENOUGH)
        # without noise a code costs little and says as much
        until(page, "VAE", 2, "< 0.5")
        until(page, "VAE", 3, "> 50")
        # a CVAE that is told nothing is a VAE
        until(page, "CVAE", 3, "> 50")
        assert "Without noise" in page.inner_text(".words")
        assert page.locator(".order:not(.off)").count() == 0
    assert troubles == []


def drawn(page):
    """Every canvas, as text."""
    return page.locator("canvas").evaluate_all(
        "all => all.map(canvas => canvas.toDataURL())"
    )


def test_a_seed_repeats_all_numbers_and_pictures(browser, address):
    with visit(browser, address) as (page, troubles):
        button(page, "Start").click()
        reached(page, 5)
        button(page, "Pause").click()
        steps = step_of(page)
        numbers, pictures = table(page), drawn(page)
        button(page, "Reset").click()
        assert step_of(page) == 0
        assert drawn(page) != pictures
        once = button(page, "Step").element_handle()
        page.evaluate(
            "([b, n]) => { for (let i = 0; i < n; i++) b.click() }",
            [once, steps],
        )
        assert step_of(page) == steps
        assert (table(page), drawn(page)) == (numbers, pictures)
        page.get_by_label("seed").fill("1")
        page.keyboard.press("Enter")
        assert step_of(page) == 0
        page.evaluate(
            "([b, n]) => { for (let i = 0; i < n; i++) b.click() }",
            [once, steps],
        )
        assert table(page) != numbers
    assert troubles == []


def test_out_of_sight_it_rests(browser, address):
    with visit(browser, address, motion="no-preference") as (page, _):
        page.evaluate("document.body.style.paddingBottom = '5000px'")
        button(page, "Start").click()
        reached(page, 1)
        page.evaluate("scrollTo(0, 4000)")
        taken = page.evaluate(
            """async () => {
              const step = () => document.querySelector(".minivae-trainer")
                .dataset.step
              const frame = () => new Promise(requestAnimationFrame)
              for (let quiet = 0, before; quiet < 30; before = step()) {
                await frame()
                quiet = step() === before ? quiet + 1 : 0
              }
              return Number(step())
            }"""
        )
        page.evaluate("scrollTo(0, 0)")
        reached(page, taken + 20)


# --- for everyone -----------------------------------------------------------


def test_what_is_spoken_is_little_and_what_matters(browser, address):
    with visit(browser, address, motion="no-preference") as (page, _):
        page.evaluate(
            """() => {
              window.said = []
              for (const name of ["status", "words"]) {
                const node = document.querySelector(`.${name}`)
                new MutationObserver(() => said.push(name))
                  .observe(node, { childList: true })
              }
            }"""
        )
        button(page, "Start").click()
        reached(page, 100)
        said = page.evaluate("said")
        assert said.count("words") > 2 * said.count("status") > 0
        slide(page, "weight of the KL", "20")
        page.locator(".status", has_text="Collapse").wait_for(state="attached")


def test_everything_is_reached_by_keyboard(browser, address):
    with visit(browser, address) as (page, _):
        page.keyboard.press("Tab")
        names = []
        for _ in range(8):
            outline, name = page.evaluate(
                """() => {
                  const here = document.activeElement
                  const text = here.closest("label")?.innerText
                  return [getComputedStyle(here).outlineStyle,
                          text ?? here.innerText] }"""
            )
            assert outline != "none", name
            names.append(name.split("\n")[0].strip())
            page.keyboard.press("Tab")
        assert names[:4] == ["Start", "Step", "Reset", "seed"]
        assert "weight of the KL" in names[4]
        assert names[6:] == ["noise off", "label withheld"]
        button(page, "Start").focus()
        page.keyboard.press("Space")
        reached(page, 1)
        page.keyboard.press("Enter")
        assert button(page, "Start").is_visible()


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_it_fits_and_axe_finds_nothing(browser, address, width, mode):
    with visit(browser, address, width=width, mode=mode) as (page, _):
        button(page, "Step").click()
        maps = page.locator(".plane canvas")
        seen = [m for m in maps.all() if m.is_visible()]
        assert len(seen) == (3 if width > 600 else 1)
        assert all(m.bounding_box()["width"] >= 280 for m in seen)
        if len(seen) == 1:
            whole = page.locator("figure").bounding_box()["width"]
            assert seen[0].bounding_box()["width"] >= whole - 4
            before = [m.is_visible() for m in maps.all()]
            button(page, "CVAE").click()
            assert [m.is_visible() for m in maps.all()] != before
            assert button(page, "CVAE").get_attribute("aria-pressed") == "true"
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width
        assert violations(page, RULES) == []


# --- the pages as built -----------------------------------------------------

built = pytest.mark.skipif(
    not (SITE / "index.html").is_file(), reason="no built pages: make book"
)
PAGES = {"try_it": "try", "05_a_map_of_digits": "vae"}
pages = pytest.mark.parametrize("name", PAGES)


def built_page(name):
    return (SITE / "book" / f"{name}.html").as_uri()


@built
@pages
@pytest.mark.parametrize("width", [1280, 400])
def test_on_a_page_of_the_book_it_learns_and_has_room(browser, name, width):
    with visit(browser, built_page(name), width=width) as (page, troubles):
        assert page.locator(".minivae-explorer").count() == 1
        figure = page.locator("figure", has=page.locator(".minivae-trainer"))
        assert figure.locator("img").is_hidden()
        assert figure.locator("figcaption").is_visible()
        button(page, "Start").scroll_into_view_if_needed()
        button(page, "Start").click()
        reached(page, 20)
        least = 280 if width == 1280 else 330
        own = page.locator(".minivae-trainer .plane canvas")
        shown = [m.bounding_box() for m in own.all() if m.is_visible()]
        assert len(shown) == (3 if width == 1280 else 1)
        assert all(box["width"] >= least for box in shown)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width
    assert troubles == []


@built
@pages
def test_without_scripts_maps_stand_in(browser, name):
    context = browser.new_context(offline=True, java_script_enabled=False)
    page = context.new_page()
    page.goto(built_page(name))
    still = page.locator(f"#fig-trainer-{PAGES[name]} img")
    assert still.count() == 1
    assert still.bounding_box()["width"] > 500
    assert page.locator(".minivae-trainer").count() == 0
    context.close()
