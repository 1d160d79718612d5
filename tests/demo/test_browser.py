"""The page in a real Chromium: drawing, sliders, pictures, routing, themes, widths, keyboard."""

import io
import threading
from dataclasses import replace

import numpy as np
import pytest
from browser import browser, draw, give, settle
from PIL import Image
from stages import SMALL, split, stage, unchanged
from test_train import RUN

from capsnet_dist import augmentations, build, datasets, decoders, load, routings
from capsnet_dist.demo.page import assemble
from capsnet_dist.demo.server import Server
from capsnet_dist.demo.stage import Stage
from capsnet_dist.train import train

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A small network that knows digits."""
    folder = tmp_path_factory.mktemp("digits") / "run"
    model = RUN.model.replace(channels=32, primary_types=8)
    still, more = augmentations("none"), {"steps": 400, "lr": 3e-3, "progress": "none"}
    train(replace(RUN, model=model, augmentation=still, run_dir=folder, **more))
    return Stage("digits", load(folder), datasets("digits").build().split("test"), "", unchanged)


@pytest.fixture
def opened(tmp_path):
    """Opens the page of some networks."""
    ends = []

    def open_page(*stages, **options):
        server = Server(stages, assemble(), 0)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        context = browser(tmp_path / str(len(ends)), **options)
        page = context.__enter__()
        ends.append((context, server))
        page.goto(f"http://127.0.0.1:{server.port}/")
        page.wait_for_selector(".bar")
        settle(page)
        page.address = f"http://127.0.0.1:{server.port}/"
        return page

    yield open_page
    for context, server in ends:
        context.__exit__(None, None, None)
        server.shutdown()
        server.__exit__()


def quiet(page):
    """Nothing went wrong, and nobody else was asked."""
    return not page.messages and all(url.startswith((page.address, "data:", "blob:")) for url in page.asked)


def pixels(page, selector):
    """The shades of a canvas on the page."""
    shades = page.locator(selector).first.evaluate(
        "c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data].filter((_, i) => i % 4 === 0)"
    )
    return np.array(shades)


def seen_by(one, page):
    """What a network says about the image on the page."""
    return one.see(pixels(page, "canvas.pixels").astype(np.uint8).reshape(one.model.image))


def rebuilt(one, page, offset):
    """What a network rebuilds from the capsule on the page, the number of whose first slider is moved: shades."""
    seen = seen_by(one, page)
    of = one.model.classes.index(page.locator(".rebuilt .of").inner_text())
    _, number, *_ = page.locator(".slider input").first.get_attribute("aria-label").split()
    poses = seen.poses.clone()
    poses[0, of, int(number)] += offset
    return 255 * one.rebuild(poses, of).clamp(0, 1).flatten().numpy()


def test_a_three_is_recognised_while_it_is_drawn(digits, opened):
    page = opened(digits)
    assert "Test image" in page.locator("#status").inner_text()
    draw(page)
    settle(page)
    assert page.locator(".verdict").inner_text().startswith("3")
    assert page.locator(".bar.won .label").inner_text() == "3"
    assert pixels(page, "canvas.pixels").max() > 200 and pixels(page, "canvas.image").max() > 100
    took = page.evaluate("performance.getEntriesByName('stroke to bars').map(entry => entry.duration)")
    assert took, "bars follow the stroke"
    page.get_by_role("button", name="Clear").click()
    settle(page)
    assert page.locator(".verdict").inner_text() == "–" and quiet(page)


def test_bars_come_first_and_the_rest_once_the_drawing_rests(digits, opened):
    page = opened(digits)
    page.evaluate(
        """() => {
            const now = window.fetch;
            window.order = [];
            window.fetch = async (name, how) => {
                order.push(name);
                if (name === "look") await new Promise((done) => setTimeout(done, 700));
                const answer = await now(name, how);
                order.push("answered");
                return answer;
            };
        }"""
    )
    page.locator("#pad").focus()
    for key in ["Space"] + ["ArrowDown"] * 6:
        page.keyboard.press(key)
    page.wait_for_timeout(2500)
    order = page.evaluate("order")
    begin = ["look", "answered"] * order.count("look")
    assert order.count("look") >= 2 and order[: len(begin)] == begin
    assert {"effects", "routing"} <= set(order[len(begin) :])
    assert page.locator(".fill").first.evaluate("e => getComputedStyle(e).transitionDuration") == "0s"  # at once


def test_a_slider_turns_the_pose_and_a_double_click_sets_it_to_zero(digits, opened):
    page = opened(digits)
    before = pixels(page, "canvas.image")
    assert np.abs(before - rebuilt(digits, page, 0.0)).max() <= 1
    slider = page.locator(".slider input").first
    slider.focus()
    for _ in range(40):
        page.keyboard.press("ArrowRight")
    settle(page)
    assert page.locator(".slider output").first.inner_text() == "+0.10"
    moved = pixels(page, "canvas.image")
    assert np.abs(moved - rebuilt(digits, page, 0.1)).max() <= 1 and (moved != before).any()
    slider.dblclick()
    settle(page)
    assert page.locator(".slider output").first.inner_text() == "0"
    assert (pixels(page, "canvas.image") == before).all()
    page.locator(".slider button").first.click()
    settle(page)
    assert page.locator(".tiles canvas").count() == 11
    page.locator(".tiles button").last.click()
    settle(page)
    assert page.locator(".slider output").first.inner_text() == "+0.25"
    assert (pixels(page, "canvas.image") == pixels(page, ".tiles button:last-child canvas")).all() and quiet(page)


def test_any_class_is_rebuilt_by_mouse_and_keyboard(digits, opened):
    page = opened(digits)
    page.locator(".bar", has_text="0").first.click()
    settle(page)
    assert page.locator(".rebuilt .of").inner_text() == "0"
    page.keyboard.press("ArrowDown")
    settle(page)
    assert page.locator(".rebuilt .of").inner_text() == "1"
    page.get_by_role("button", name="Back to the winner").click()
    settle(page)
    winner = digits.model.classes[seen_by(digits, page).predicted[0]]
    assert page.locator(".rebuilt .of").inner_text() == winner and quiet(page)


def test_the_routing_is_stepped_through(digits, opened):
    page = opened(digits)
    assert page.locator(".maps canvas").count() == 4
    assert page.locator(".step").inner_text() == "Iteration 3 of 3"
    last = pixels(page, ".maps canvas")
    page.locator(".stepper input").focus()
    page.keyboard.press("Home")
    assert page.locator(".step").inner_text() == "Iteration 1 of 3"
    assert len(np.unique(pixels(page, ".maps canvas"))) <= 8  # even shares, and the outline
    assert not np.array_equal(last, pixels(page, ".maps canvas")) and quiet(page)


def test_it_is_drawn_on_by_keyboard(digits, opened):
    page = opened(digits)
    page.locator("#pad").focus()
    for key in ["ArrowUp"] * 10 + ["Space"] + ["ArrowDown"] * 20 + ["Space"]:
        page.keyboard.press(key)
    settle(page)
    assert page.locator(".verdict").inner_text().startswith("1") and quiet(page)
    page.keyboard.press("Escape")
    settle(page)
    assert page.locator(".verdict").inner_text() == "–"


def test_pictures_are_chosen_dropped_and_pasted(digits, opened):
    page = opened(digits)
    image = digits.tests.images[0, 0].numpy()
    file = io.BytesIO()
    Image.fromarray(255 - image).save(file, "PNG")
    page.set_input_files("#file", {"name": "ink.png", "mimeType": "image/png", "buffer": file.getvalue()})
    settle(page)
    assert (pixels(page, "canvas.pixels") == image.ravel()).all()
    assert "dark and light were exchanged" in page.locator(".turned").inner_text()
    for kind in ("drop", "paste"):
        page.get_by_role("button", name="Clear").click()
        settle(page)
        give(page, file.getvalue(), kind)
        settle(page)
        assert "given.png" in page.locator("#status").inner_text()
        assert (pixels(page, "canvas.pixels") == image.ravel()).all()
    page.set_input_files("#file", {"name": "text.png", "mimeType": "image/png", "buffer": b"no picture"})
    settle(page)
    assert "is no image" in page.locator("#status").inner_text() and quiet(page) is False  # the browser notes the 400


def test_two_networks_stand_side_by_side_and_say_what_there_is_not(opened):
    other = stage(SMALL.replace(decoder=decoders("none"), routing=routings("uniform")), (3, 12, 10), 40)
    page = opened(stage(), other)
    draw(page)
    settle(page)
    boxes = [article.bounding_box() for article in page.locator(".run").all()]
    assert len(boxes) == 2 and boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
    assert page.evaluate(
        """() => [...document.querySelectorAll(".run")].every((run) => [...run.querySelectorAll("*")].every(
            (e) => e.getBoundingClientRect().right <= run.getBoundingClientRect().right + 10))"""
    )
    assert "no decoder" in page.locator(".rebuilt .none").last.inner_text()
    assert page.locator(".run").last.locator(".bar").count() == 12 and quiet(page)


@pytest.mark.parametrize("image", [(3, 32, 32), (2, 16, 16), (1, 20, 12)], ids=str)
def test_any_kind_of_image_is_shown(image, opened):
    one = Stage("any", build(SMALL, image, tuple("abc")).eval(), split(image, 3), "", unchanged)
    page = opened(one)
    page.locator("summary").click()
    assert len(pixels(page, "canvas.pixels")) == image[1] * image[2]
    assert page.locator("#colours").is_hidden() == (image[0] != 3) and quiet(page)


@pytest.mark.parametrize("width", [360, 768, 1100, 1600])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_sticks_out_and_texts_are_legible(width, scheme, digits, opened):
    page = opened(digits, width=width, scheme=scheme, reduced_motion="reduce")
    page.locator(".slider button").first.click()
    page.locator("summary").click()
    settle(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    poor = page.evaluate(CONTRAST)
    assert not poor and quiet(page)


CONTRAST = """() => {
  const linear = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  const luminance = (colour) => {
    const [r, g, b] = colour.match(/[0-9.]+/g).slice(0, 3).map((value) => linear(value / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (; element; element = element.parentElement) {
      const colour = getComputedStyle(element).backgroundColor;
      if (!colour.endsWith(", 0)")) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  return [...document.querySelectorAll("body *")]
    .filter((e) => [...e.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim()))
    .filter((e) => e.checkVisibility() && !e.disabled && !e.closest("#announcer, #invitation, option"))
    .map((e) => {
      const [high, low] = [luminance(getComputedStyle(e).color), luminance(ground(e))].sort((a, b) => b - a);
      return [e.textContent, (high + 0.05) / (low + 0.05)];
    })
    .filter(([, contrast]) => contrast < 4.5);
}"""
"""Texts with less contrast than 4.5 (WCAG 2.2, AA)."""


def test_everything_has_a_name_for_screen_readers(digits, opened):
    page = opened(digits)
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, canvas[role]")]
        .filter((e) => e.checkVisibility() && !e.labels?.length && !e.textContent.trim())
        .filter((e) => !e.getAttribute("aria-label") && !e.getAttribute("aria-labelledby")).map((e) => e.outerHTML)"""
    )
    assert not nameless
    page.wait_for_timeout(1200)
    assert "length" in page.locator("#announcer").inner_text()
