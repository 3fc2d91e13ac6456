"""The explorer on pages without a kernel, in Chromium.

Chapters are tested as built; pages of our own hold models at hand, so that
what the browser draws can be compared with PyTorch.
"""

import zlib
from base64 import b64encode
from contextlib import contextmanager
from itertools import product

import numpy as np
import pytest
import torch
from browser import violations, visit
from live_page import page_with
from test_site import SITE

from minivae import pictures
from minivae.explorer import explorer, sliders

CHAPTERS = {
    "01_squeezing_digits": ["deep autoencoder"],
    "05_a_map_of_digits": ["Autoencoder", "VAE"],
    "09_only_fives": ["VAE", "CVAE"],
    "10_what_the_code_keeps": ["CVAE, 20"],
}
STILLS = dict(zip(CHAPTERS, ("autoencoder", "vae", "cvae", "deep")))
# read from a copy: Chromium warns of canvases that are read again and again
PIXELS = """canvas => {
  const copy = new OffscreenCanvas(28, 28).getContext("2d",
    { willReadFrequently: true })
  copy.drawImage(canvas, 0, 0)
  const data = copy.getImageData(0, 0, 28, 28).data
  return Array.from(data).filter((_, i) => i % 4 === 0)
}"""
# only the first event in a frame is drawn at once
FRAMES = """() => new Promise((done) => requestAnimationFrame(
  () => requestAnimationFrame(() => done())))"""
DRAG = """([input, values]) => { for (const value of values) {
  input.value = value; input.dispatchEvent(new Event("input")) } }"""


@contextmanager
def opened(browser, address, **options):
    """A page whose explorers have come to life."""
    with visit(browser, address, **options) as (page, troubles):
        page.wait_for_selector(".minivae-explorer")
        yield page, troubles


def shown(page, n=0):
    """The pixels of the large digit of panel n, (28, 28) in [0, 1]."""
    page.evaluate(FRAMES)
    canvas = page.locator(".drawn > canvas").nth(n)
    grey = np.array(canvas.evaluate(PIXELS), dtype=float)
    return 1 - grey.reshape(28, 28) / 255


def exact(model, z, digit=0):
    y = torch.tensor([digit]) if model.n_classes else None
    return pictures(model, torch.tensor([z]), y)[0].numpy()


def values(page, n=0):
    """What the sliders of panel n say, in the order of the page."""
    page.evaluate(FRAMES)
    texts = page.locator(".panel").nth(n).locator(".value").all_inner_texts()
    return [float(text.replace("\N{MINUS SIGN}", "-")) for text in texts]


def agrees(page, model, n=0, digit=0):
    """Whether panel n draws the code that it writes, in two decimals."""
    z, drawn = np.array(values(page, n)), shown(page, n)
    steps = product(np.linspace(-0.005, 0.005, 5), repeat=len(z))
    return any(
        near(drawn, exact(model, (z + step).tolist(), digit)) for step in steps
    )


def near(a, b):
    """Whether pictures agree to 1e-2, and half a step of a canvas."""
    return np.abs(a - b).max() <= 0.01 + 0.5 / 255


@pytest.mark.parametrize(
    "name", ["Autoencoder 2", "VAE 2", "CVAE 2", "CVAE 8"]
)
def test_the_browser_draws_what_pytorch_draws(
    browser, trained, digits, tmp_path, name
):
    model = trained[name]
    widget = explorer(model, digits[:300])
    (panel,) = widget.panels
    random = np.random.default_rng(11)
    low, high = np.array(panel["low"]), np.array(panel["high"])
    z = low + (high - low) * random.random((60, model.n_latent))
    if model.n_latent > 2:
        z = random.normal(size=z.shape)
    weights = b64encode(panel["weights"]).decode()
    bare = {k: v for k, v in panel.items() if not isinstance(v, bytes)}
    with opened(browser, page_with(tmp_path / "p.html", widget)) as (page, _):
        drawn = page.evaluate(
            """async ([panel, weights, codes]) => {
              const bytes = Uint8Array.from(atob(weights),
                (c) => c.charCodeAt(0))
              const decode = await minivae[
                "minivae.explorer.widget.Explorer"].decoder(
                {...panel, weights: new DataView(bytes.buffer)})
              return codes.map((z, i) => Array.from(decode(z, i % 10)))
            }""",
            [bare, weights, z.tolist()],
        )
    y = torch.arange(60) % 10 if model.n_classes else None
    wanted = pictures(model, torch.tensor(z).float(), y).numpy()
    drawn = np.array(drawn).reshape(60, 28, 28)
    assert np.abs(drawn - wanted).max() < 0.01


def test_slider_point_and_keys_move_the_code(
    browser, trained, digits, judge, tmp_path
):
    model = trained["CVAE 2"]
    widget = explorer(model, digits[:300], judge)
    address = page_with(tmp_path / "p.html", widget)
    with opened(browser, address) as (page, troubles):
        assert near(shown(page), exact(model, [0.0, 0.0]))
        first = page.locator(".sliders input").first
        first.focus()
        for _ in range(10):
            page.keyboard.press("ArrowRight")
        z1, z2 = values(page)
        assert z1 > 0 == z2
        assert agrees(page, model)
        page.locator(".point").focus()
        page.keyboard.press("Shift+ArrowDown")
        page.keyboard.press("ArrowLeft")
        moved = values(page)
        assert moved[0] < z1
        assert moved[1] < z2
        assert agrees(page, model)
        # drag the point from the middle of the map to its upper left
        box = page.locator(".map").bounding_box()
        spot = page.locator(".point").bounding_box()
        page.mouse.move(spot["x"] + 12, spot["y"] + 12)
        page.mouse.down()
        page.mouse.move(
            box["x"] + box["width"] / 4,
            box["y"] + box["height"] / 4,
            steps=7,
        )
        page.mouse.up()
        low, high = (np.array(widget.panels[0][k]) for k in ("low", "high"))
        there = low + (high - low) * [0.25, 0.75]
        assert values(page) == pytest.approx(there, abs=0.1)
        assert agrees(page, model)
        page.mouse.move(box["x"] + 5, box["y"] + 5)  # no longer pressed
        assert values(page) == pytest.approx(there, abs=0.1)
        page.locator(".ten button").nth(7).click()
        assert agrees(page, model, digit=7)
        assert "the judge reads" in page.locator(".readout").inner_text()
        assert troubles == []


def test_the_row_draws_the_same_code_as_every_digit(
    browser, trained, digits, tmp_path
):
    model = trained["CVAE 2"]
    widget = explorer(model, digits[:300])
    widget.z = [0.7, -0.4]
    widget.digit = 4
    with opened(browser, page_with(tmp_path / "p.html", widget)) as (page, _):
        buttons = page.locator(".ten button")
        assert buttons.count() == 10
        pressed = [
            b.get_attribute("aria-pressed") == "true" for b in buttons.all()
        ]
        assert pressed == [d == 4 for d in range(10)]
        for digit, button in enumerate(buttons.all()):
            grey = button.locator("canvas").evaluate(PIXELS)
            drawn = 1 - np.array(grey).reshape(28, 28) / 255
            assert near(drawn, exact(model, [0.7, -0.4], digit))


def test_a_picked_digit_shows_its_code_its_cloud_and_a_path(
    browser, trained, digits, tmp_path
):
    models = [trained["VAE 2"], trained["CVAE 2"]]
    widget = explorer(models, digits[:300])
    i, j = widget.digits["picks"].index(3), widget.digits["picks"].index(8)

    def code(pick, n):
        mu = np.frombuffer(widget.panels[n]["mu"], "<f4").reshape(-1, 2)
        return mu[pick].astype(float)

    with opened(browser, page_with(tmp_path / "p.html", widget)) as (page, _):
        again = page.get_by_role("button", name="Resample")
        assert again.first.is_disabled()
        page.locator(".strip button").nth(i).click()
        for n, model in enumerate(models):
            assert near(shown(page, n), exact(model, code(i, n).tolist(), 3))
            assert page.locator("svg").nth(n).locator("ellipse").count() == 2
        again.first.click()
        drawn = np.array(values(page, 0))
        sigma = np.frombuffer(widget.panels[0]["sigma"], "<f4")
        sigma = sigma.reshape(-1, 2)[i]
        assert 0 < np.abs((drawn - code(i, 0)) / sigma).max() < 6
        assert values(page, 1) == pytest.approx(code(i, 1), abs=0.006)
        page.get_by_label("and another one").check()
        page.locator(".strip button").nth(j).click()
        assert values(page, 0) == pytest.approx(code(j, 0), abs=0.006)
        path = page.get_by_label("Place on the path")
        page.evaluate(DRAG, [path.element_handle(), [0.9, 0.25]])
        middle = 0.75 * code(i, 0) + 0.25 * code(j, 0)
        assert values(page, 0) == pytest.approx(middle, abs=0.006)


def test_new_samples_come_from_the_prior(browser, trained, digits, tmp_path):
    widget = explorer(
        [trained["Autoencoder 2"], trained["VAE 2"]], digits[:300]
    )
    with opened(browser, page_with(tmp_path / "p.html", widget)) as (page, _):
        buttons = page.get_by_role("button", name="New sample")
        assert buttons.nth(0).is_disabled()  # an autoencoder has none
        drawn = []
        for _ in range(200):
            buttons.nth(1).evaluate("button => button.click()")
            drawn.append(values(page, 1))
        z = np.array(drawn)
        assert np.abs(z.mean(0)).max() < 4 / 200**0.5
        assert np.abs(z.var(0) - 1).max() < 4 * (2 / 200) ** 0.5
        assert agrees(page, trained["VAE 2"], 1)


def test_the_last_of_a_flood_is_shown(browser, trained, digits, tmp_path):
    model = trained["VAE 2"]
    widget = explorer(model, digits[:300])
    with opened(browser, page_with(tmp_path / "p.html", widget)) as (page, _):
        slider = page.locator(".sliders input").first.element_handle()
        flood = np.linspace(-2, 1.5, 500).tolist()
        page.evaluate(DRAG, [slider, flood])
        assert values(page)[0] == pytest.approx(1.5, abs=0.02)
        assert agrees(page, model)


def test_two_explorers_do_not_disturb_each_other(
    browser, trained, digits, tmp_path
):
    pair = [
        explorer(trained[name], digits[:300]) for name in ("VAE 2", "CVAE 2")
    ]
    with opened(browser, page_with(tmp_path / "p.html", *pair)) as (page, _):
        first, second = page.locator(".minivae-explorer").all()
        before = shown(page, 1)
        first.locator(".sliders input").first.focus()
        page.keyboard.press("End")
        first.locator(".strip button").nth(3).click()
        first.locator("select").select_option("digits")
        assert (shown(page, 1) == before).all()
        assert second.locator("select").input_value() == "codes"
        assert second.locator('[aria-pressed="true"]').count() == 1
        moved = shown(page, 0)
        second.locator(".ten button").nth(9).click()
        assert (shown(page, 0) == moved).all()
        assert np.abs(shown(page, 1) - before).max() > 0.03


def test_many_dimensions_have_a_slider_each(
    browser, trained, digits, judge, tmp_path
):
    model = trained["CVAE 8"]
    widget = explorer(model, digits[:300], judge)
    (panel,) = widget.panels
    with opened(browser, page_with(tmp_path / "p.html", widget)) as (page, _):
        names = page.locator(".sliders .name").all_inner_texts()
        assert names == [f"z{i + 1}" for i in panel["order"]]
        page.locator(".sliders input").nth(1).focus()
        page.keyboard.press("PageUp")
        z = [0.0] * 8
        moved = page.locator(".sliders input").nth(1)
        z[panel["order"][1]] = moved.evaluate("e => e.valueAsNumber")
        assert z[panel["order"][1]] > 0
        assert near(shown(page), exact(model, z))
        # no grid can hold eight dimensions, and no kernel is here
        assert "needs a running kernel" in page.inner_text(".readout")


def test_a_control_that_needs_python_says_so(browser, trained, tmp_path):
    widget = sliders(trained["VAE 2"])
    with visit(browser, page_with(tmp_path / "p.html", widget)) as (page, _):
        assert "needs a running kernel" in page.inner_text(".needs-kernel")
        assert page.locator("figure img").is_visible()


# --- the chapters as built --------------------------------------------------

built = pytest.mark.skipif(
    not (SITE / "index.html").is_file(), reason="no built pages: make book"
)
chapter = pytest.mark.parametrize("name", CHAPTERS)


def address(name):
    return (SITE / "book" / f"{name}.html").as_uri()


@built
@chapter
def test_the_explorer_of_a_chapter_works_as_a_file(browser, name):
    with opened(browser, address(name)) as (page, troubles):
        titles = page.locator(".panel .title strong").all_inner_texts()
        assert titles == CHAPTERS[name]
        # the still has made room
        figure = page.locator("figure").filter(
            has=page.locator(".minivae-explorer")
        )
        assert figure.locator("img").is_hidden()
        assert figure.locator("figcaption").is_visible()
        before = shown(page)
        assert before.max() > 0.5  # there is a digit
        for n in range(len(titles)):
            before = shown(page, n)
            panel = page.locator(".panel").nth(n)
            panel.locator(".sliders input").first.focus()
            page.keyboard.press("Home")
            assert np.abs(shown(page, n) - before).max() > 0.1
        if page.locator("select").count():
            maps = page.locator(".map > canvas")
            look = "c => c.toDataURL()"
            before = [m.evaluate(look) for m in maps.all()]
            options = page.locator("select option").evaluate_all(
                "all => all.map(o => o.value)"
            )
            for value in options[1:]:
                page.locator("select").select_option(value)
                after = [m.evaluate(look) for m in maps.all()]
                assert all(a != b for a, b in zip(before, after))
        assert troubles == []


@built
@pytest.mark.parametrize("mode", ["light", "dark"])
@chapter
def test_the_explorer_fits_a_narrow_page(browser, name, mode):
    with opened(browser, address(name), width=400, mode=mode) as (page, _):
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 400
        for control in page.locator(
            ".minivae-explorer :is(button, input, select, canvas)"
        ).all():
            if not control.is_visible():
                continue
            box = control.bounding_box()
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= 400
        for button in page.locator(".strip button, .ten button").all():
            assert button.bounding_box()["width"] >= 24


@built
@chapter
def test_controls_have_names_and_show_their_focus(browser, name):
    with opened(browser, address(name)) as (page, _):
        controls = page.locator(
            ".minivae-explorer :is(button, input, select):not(:disabled)"
        )
        reached = 0
        controls.first.focus()
        for _ in range(controls.count() + 5):
            outline = page.evaluate(
                """() => {
                  const here = document.activeElement
                  if (!here.closest(".minivae-explorer")) return null
                  return getComputedStyle(here).outlineStyle }"""
            )
            if outline is None:
                break
            assert outline != "none"
            reached += 1
            page.keyboard.press("Tab")
        assert reached >= controls.count() - 1  # a hidden path slider
        assert violations(page, ["button-name", "label", "select-name"]) == []


@built
@chapter
def test_without_scripts_a_picture_stands_in(browser, name):
    context = browser.new_context(offline=True, java_script_enabled=False)
    page = context.new_page()
    page.goto(address(name))
    still = page.locator(f"#fig-explorer-{STILLS[name]} img")
    assert still.count() == 1
    assert still.bounding_box()["width"] > 250
    assert page.locator(".minivae-explorer").count() == 0
    context.close()


# --- a digit of the reader's own ---------------------------------------------

# coordinates from 0 to 1, from the upper left corner of the pad
ONE = [(0.56, 0.12), (0.5, 0.5), (0.46, 0.88)]


def draw(page, *points):
    """Draw a line on the pad with the mouse."""
    pad = page.locator(".pad canvas")
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    spots = [
        (box["x"] + x * box["width"], box["y"] + y * box["height"])
        for x, y in points
    ]
    page.mouse.move(*spots[0])
    page.mouse.down()
    for spot in spots[1:]:
        page.mouse.move(*spot, steps=8)
    page.mouse.up()


ENCODE = """async ([panel, weights, pictures, digits]) => {
  const bytes = Uint8Array.from(atob(weights), (c) => c.charCodeAt(0))
  const encode = await minivae[
    "minivae.explorer.widget.Explorer"].encoder(
    {...panel, encoder: new DataView(bytes.buffer)})
  return pictures.map((picture, i) => {
    const { mu, sigma } = encode(Float32Array.from(picture), digits[i])
    return [...mu, ...(sigma ?? []).map((s) => 2 * Math.log(s))]
  })
}"""


@pytest.mark.parametrize(
    "name", ["Autoencoder 2", "VAE 2", "CVAE 2", "CVAE 8"]
)
def test_the_browser_encodes_what_pytorch_encodes(
    browser, trained, digits, tmp_path, name
):
    model = trained[name]
    widget = explorer(model, digits[:300], drawing=True)
    (panel,) = widget.panels
    weights = b64encode(panel["encoder"]).decode()
    bare = {k: v for k, v in panel.items() if not isinstance(v, bytes)}
    some = digits[300:]
    x = some.x()
    if panel["binary"]:
        x = (x > 0.5).float()
    with torch.no_grad():
        wanted = model.encode(x, some.labels if model.n_classes else None)
    if isinstance(wanted, tuple):
        wanted = torch.cat(wanted, 1)
    given = [bare, weights, some.x().flatten(1).tolist(), some.labels.tolist()]
    with opened(browser, page_with(tmp_path / "p.html", widget)) as (page, _):
        found = np.array(page.evaluate(ENCODE, given))
    assert np.abs(found - wanted.numpy()).max() < 0.01
    assert wanted.std(0).min() > 0.05


def area_average(ink):
    """The centred picture by brute force: every place in 64 small parts."""
    rows, columns = (ink >= 0.1).nonzero(as_tuple=True)
    size = max(rows.max() - rows.min(), columns.max() - columns.min()) + 1
    middle = torch.arange(len(ink)) + 0.5
    centre = torch.stack(
        [(ink.sum(1) * middle).sum(), (ink.sum(0) * middle).sum()]
    )
    centre /= ink.sum()
    # 32 samples in each direction of each of the 28 x 28 pixels
    steps = (torch.arange(28 * 32) + 0.5) / 32 - 14
    y, x = ((c + steps * size / 20).floor().long() for c in centre)
    fits = ((y >= 0) & (y < len(ink)))[:, None] & (x >= 0) & (x < len(ink))
    found = ink[y.clamp(0, len(ink) - 1)][:, x.clamp(0, len(ink) - 1)] * fits
    return found.view(28, 32, 28, 32).mean((1, 3))


def test_a_drawing_is_scaled_and_centred_as_mnist_is(
    browser, trained, digits, tmp_path
):
    widget = explorer(trained["VAE 2"], digits[:300], drawing=True)
    strokes = torch.rand(20, 4, 2, generator=torch.Generator().manual_seed(3))
    with opened(browser, page_with(tmp_path / "p.html", widget)) as (page, _):
        both = page.evaluate(
            """(all) => all.map((points) => {
              const { stroke, centred } =
                minivae["minivae.explorer.widget.Explorer"]
              const ink = new Float32Array(112 * 112)
              points.slice(1).forEach((to, i) => stroke(ink, points[i], to))
              return [Array.from(ink), Array.from(centred(ink))]
            })""",
            (strokes * 112).tolist(),
        )
        nothing = page.evaluate(
            """() => minivae["minivae.explorer.widget.Explorer"].centred(
              new Float32Array(112 * 112))"""
        )
    assert nothing is None
    for ink, picture in both:
        ink = torch.tensor(ink).view(112, 112)
        picture = torch.tensor(picture).view(28, 28)
        assert (picture - area_average(ink)).abs().max() < 0.05
        middle = torch.arange(28) + 0.5
        for side in (0, 1):
            centre = (picture.sum(side) * middle).sum() / picture.sum()
            assert centre == pytest.approx(14, abs=0.05)
        inked = (picture > 0.3).nonzero()
        assert (inked.amax(0) - inked.amin(0) + 1).max() in (19, 20, 21)


def test_a_digit_can_be_drawn_wiped_and_taken(
    browser, trained, digits, judge, tmp_path
):
    models = [trained["VAE 2"], trained["CVAE 2"]]
    widget = explorer(models, digits[:300], judge, drawing=True)
    i = widget.digits["picks"].index(3)
    address = page_with(tmp_path / "p.html", widget)
    with opened(browser, address) as (page, troubles):
        again = page.get_by_role("button", name="Resample")
        assert again.first.is_disabled()
        draw(page, *ONE)
        page.evaluate(FRAMES)
        seen = page.locator(".seen canvas").evaluate(PIXELS)
        x = 1 - torch.tensor(seen).view(1, 1, 28, 28) / 255
        mu, logvar = models[0].encode((x > 0.5).float())
        assert values(page, 0) == pytest.approx(mu[0].tolist(), abs=0.02)
        shape = page.locator("svg").first.locator("ellipse").first
        low, high = widget.panels[0]["low"], widget.panels[0]["high"]
        wide = 100 * (0.5 * logvar[0, 0]).exp().item() / (high[0] - low[0])
        assert float(shape.get_attribute("rx")) == pytest.approx(
            wide, rel=0.02
        )
        said = page.locator(".said").inner_text()
        assert "VAE: z = (" in said and "the judge reads" in said
        # what it is said to be is what the conditional model is told
        page.get_by_label("It is a").select_option("7")
        told, _ = models[1].encode((x > 0.5).float(), torch.tensor([7]))
        assert values(page, 1) == pytest.approx(told[0].tolist(), abs=0.02)
        assert agrees(page, models[1], 1, digit=7)
        again.first.click()  # from the cloud of what is drawn
        page.get_by_role("button", name="Clear").click()
        assert again.first.is_disabled()
        assert "empty" in page.locator(".said").inner_text()
        assert page.locator("ellipse").count() == 0
        # a picked digit comes as it is, and the pad can change it
        page.locator(".strip button").nth(i).click()
        code = values(page, 0)
        page.get_by_label("It is a").select_option("3")
        page.get_by_role("button", name="Take the picked digit").click()
        assert values(page, 0) == pytest.approx(code, abs=0.35)
        taken = page.locator(".seen canvas").evaluate(PIXELS)
        strip = page.locator(".strip canvas").nth(i).evaluate(PIXELS)
        assert np.abs(np.array(taken) - strip).max() <= 1
        page.get_by_label("erase").check()
        draw(page, (0.1, 0.3), (0.9, 0.3))
        page.evaluate(FRAMES)
        assert page.locator(".seen canvas").evaluate(PIXELS) != taken
        assert troubles == []


@pytest.mark.parametrize("surest", [0, 1])
def test_a_drawing_is_what_the_judge_reads_with_most_confidence(
    browser, trained, digits, judge, tmp_path, surest
):
    models = {"a": trained["VAE 2"], "b": trained["VAE 2"]}
    models["c"] = trained["CVAE 2"]
    widget = explorer(models, digits[:300], judge, drawing=True)
    panels = [dict(panel) for panel in widget.panels]
    for n, digit in enumerate((3, 8)):  # as if it read this all over the map
        sure = 200 if n == surest else 100
        panels[n]["grid"] = zlib.compress(bytes([digit, sure] * 61 * 61))
    widget.panels = panels
    address = page_with(tmp_path / "page.html", widget)
    with opened(browser, address) as (page, _):
        draw(page, *ONE)
        pressed = page.locator('.ten [aria-pressed="true"]')
        asked = f"Ask for a {(3, 8)[surest]}"
        assert pressed.get_attribute("aria-label") == asked


def test_a_drawing_that_is_rubbed_out_is_told_to_be_gone(
    browser, trained, digits, tmp_path
):
    widget = explorer(trained["VAE 2"], digits[:300], drawing=True)
    with opened(browser, page_with(tmp_path / "p.html", widget)) as (page, _):
        draw(page, (0.5, 0.45), (0.5, 0.55))
        assert "VAE: z = (" in page.locator(".said").inner_text()
        page.get_by_label("erase").check()
        for x in (0.46, 0.5, 0.54):
            draw(page, (x, 0.35), (x, 0.65))
        assert page.locator(".said").inner_text() == "The pad is empty."
        assert page.locator("ellipse").count() == 0
        page.get_by_role("button", name="Clear").click()
        assert not page.get_by_label("erase").is_checked()


def test_the_pad_can_be_used_with_keys_alone(
    browser, trained, digits, tmp_path
):
    widget = explorer(trained["VAE 2"], digits[:300], drawing=True)
    with opened(browser, page_with(tmp_path / "p.html", widget)) as (page, _):
        page.locator(".pad canvas").focus()
        page.keyboard.press("Space")
        for _ in range(14):
            page.keyboard.press("ArrowDown")
        page.keyboard.press("Space")
        page.evaluate(FRAMES)
        seen = (
            1 - np.array(page.locator(".seen canvas").evaluate(PIXELS)) / 255
        )
        rows, columns = (seen.reshape(28, 28) > 0.5).nonzero()
        assert np.ptp(rows) >= 18 and np.ptp(columns) <= 5  # a stroke
        before = values(page)
        page.keyboard.press("ArrowLeft")  # the pen is up
        page.evaluate(FRAMES)
        assert values(page) == before


@built
def test_a_stroke_of_a_one_lands_among_ones(browser):
    with opened(browser, address("try_it")) as (page, troubles):
        maps = page.locator(".map")
        for box in maps.all():
            assert box.bounding_box()["width"] >= 280
        draw(page, *ONE)
        page.evaluate(FRAMES)
        codes = [values(page, n) for n in range(3)]
        near = page.evaluate(
            """async (codes) => {
              const { state, buffers } = Object.values(JSON.parse(
                document.querySelector("script[type*=widget-state]")
                  .textContent).state).find(({ state }) => state.panels)
              const bytes = (...path) => Uint8Array.from(atob(buffers.find(
                (b) => b.path.join() === path.join()).data),
                (c) => c.charCodeAt(0))
              const labels = bytes("digits", "map")
              return codes.map((code, n) => {
                const map = new Float32Array(
                  bytes("panels", n, "map").buffer)
                const far = Array.from(labels, (label, i) => [Math.hypot(
                  map[2 * i] - code[0], map[2 * i + 1] - code[1]), label])
                return far.sort((a, b) => a[0] - b[0]).slice(0, 15)
                  .map(([, label]) => label)
              })
            }""",
            codes,
        )
        # the CVAE has been told the digit: its code need not say it
        for labels in near[:2]:
            assert labels.count(1) >= 12
        for readout in page.locator(".readout").all_inner_texts():
            assert "the judge reads 1" in readout
        pressed = page.locator('.ten [aria-pressed="true"]')
        assert pressed.get_attribute("aria-label") == "Ask for a 1"
        assert troubles == []


@built
@pytest.mark.parametrize("width", [1280, 1024, 400])
def test_a_wide_widget_stays_within_the_window(browser, width):
    with opened(browser, address("try_it"), width=width) as (page, _):
        for box in page.locator(".minivae-explorer, .minivae-trainer").all():
            box = box.bounding_box()
            assert box["x"] >= 0 and box["x"] + box["width"] <= width
