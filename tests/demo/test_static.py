"""The page for any web server, in a real Chromium: nothing of Python answers."""

import contextlib
import functools
import http.server
import io
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from browser import browser, draw, give
from PIL import Image
from stages import SMALL, split, stage
from test_browser import CONTRAST, digits, pixels, quiet, rebuilt, seen_by  # noqa: F401

from capsnet_dist import UserError, augmentations, build, datasets, routings
from capsnet_dist.commands import demo
from capsnet_dist.demo import static
from capsnet_dist.demo.stage import Stage
from capsnet_dist.exporting import onnx_file
from capsnet_dist.images.fit import Fit

PACKAGE = os.environ.get("ONNXRUNTIME_WEB")
SHOWN = "[document.body.innerText, ...[...document.querySelectorAll('canvas')].map(each => each.toDataURL())].join()"


@pytest.fixture
def runtime(tmp_path):
    """Files with the names of onnxruntime-web."""
    folder = tmp_path / "package" / "dist"
    folder.mkdir(parents=True)
    for name in static.RUNTIME:
        (folder / name).write_bytes(name.encode())
    return tmp_path / "package"


def test_the_files_of_onnx_runtime_are_found_or_the_message_says_how_to_get_them(runtime, tmp_path):
    found = static.runtime_files(runtime)
    assert static.runtime_files(runtime / "dist") == static.runtime_files(tmp_path) == found
    assert found["wasm.wasm"] == b"ort-wasm-simd-threaded.wasm"
    with pytest.raises(UserError, match="npm pack onnxruntime-web.*or name the folder"):
        static.runtime_files(tmp_path / "nowhere")


@pytest.fixture(scope="module")
def package():
    """The files of onnxruntime-web."""
    if PACKAGE is None:
        pytest.skip("no onnxruntime-web: npm pack onnxruntime-web, unpack it, and name the folder in ONNXRUNTIME_WEB")
    return static.runtime_files(Path(PACKAGE))


@pytest.fixture(scope="module")
def site(package, request, tmp_path_factory):
    """The page of a small network that knows digits."""
    one, folder = request.getfixturevalue("digits"), tmp_path_factory.mktemp("site")
    static.write_static(one, one.tests.select(torch.arange(5)).pixels / 255, package, folder)
    return folder


@pytest.fixture
def served(tmp_path):
    """Opens a page, which a server of files has."""
    with contextlib.ExitStack() as ends:

        def open_page(folder, **options):
            handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
            server = ends.enter_context(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler))
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
            ends.callback(server.shutdown)
            page = ends.enter_context(browser(tmp_path / "profile", **options))
            page.address = f"http://127.0.0.1:{server.server_port}/"
            page.goto(page.address)
            page.wait_for_selector(".maps canvas")
            rest(page)
            return page

        yield open_page


@pytest.fixture
def opened(site, served):
    """Opens the page of the network that knows digits."""
    return functools.partial(served, site)


def rest(page):
    """Wait until the page, which asks nobody, has shown the same for a second."""
    before = None
    while (now := page.evaluate(SHOWN)) != before:
        before = now
        page.wait_for_timeout(1000)


def test_packages_that_are_missing_are_told_before_any_work(runtime, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="ONNX files need onnx"):
        demo.demo((str(tmp_path / "run"),), data=datasets("digits"), static=tmp_path / "site", onnxruntime_web=runtime)
    assert not (tmp_path / "site").exists()


@pytest.mark.slow
def test_a_three_is_recognised_without_python(digits, opened):  # noqa: F811
    page = opened()
    assert "Test image" in page.locator("#status").inner_text()
    draw(page)
    rest(page)
    assert page.locator(".verdict").inner_text().startswith("3")
    scores = [float(text) for text in page.locator(".bar .value").all_inner_texts()]
    assert scores == pytest.approx(seen_by(digits, page).scores[0].tolist(), abs=0.0051)
    assert np.abs(pixels(page, "canvas.image") - rebuilt(digits, page, 0.0)).max() <= 1
    assert page.locator(".step").inner_text() == "Iteration 3 of 3" and quiet(page)


@pytest.mark.slow
def test_a_slider_turns_the_pose_without_python(digits, opened):  # noqa: F811
    page = opened()
    before = pixels(page, "canvas.image")
    page.locator(".slider input").first.focus()
    for _ in range(40):
        page.keyboard.press("ArrowRight")
    rest(page)
    moved = pixels(page, "canvas.image")
    assert np.abs(moved - rebuilt(digits, page, 0.1)).max() <= 1 and (moved != before).any()
    page.locator(".slider button").first.click()
    rest(page)
    assert page.locator(".tiles canvas").count() == 11 and quiet(page)


@pytest.mark.slow
def test_a_dropped_picture_is_prepared_without_python(digits, opened):  # noqa: F811
    page = opened()
    image = digits.tests.images[0, 0].numpy()
    file = io.BytesIO()
    Image.fromarray(255 - image).save(file, "PNG")
    give(page, file.getvalue())
    rest(page)
    assert "given.png" in page.locator("#status").inner_text()
    assert (pixels(page, "canvas.pixels") == image.ravel()).all()
    assert "dark and light were exchanged" in page.locator(".turned").inner_text()
    give(page, b"no picture")
    rest(page)
    assert "cannot be read" in page.locator("#status").inner_text() and quiet(page)


@pytest.mark.slow
@pytest.mark.parametrize("cut", [augmentations("crop", side=8, padding=0), augmentations("resized_crop", side=8)])
def test_images_are_cut_as_in_training(cut, package, served, tmp_path):
    fit, still = Fit(size=12, channels=1), cut.build().still
    model = build(SMALL, (1, 8, 8), tuple("abcde"), fit).eval()
    one = Stage("cut", model, split((1, 12, 12), 5), "", still)
    static.write_static(one, torch.rand(5, 1, 8, 8), package, tmp_path / "site")
    page = served(tmp_path / "site")
    shown = int(page.locator("#status").inner_text().split()[2]) - 1
    assert (pixels(page, "canvas.pixels") == still(one.tests.images)[shown].numpy().ravel()).all()
    picture = np.random.default_rng(0).integers(256, size=(30, 20, 3), dtype=np.uint8)
    picture[:6] = picture[-6:] = 0  # as dark around as the test images are
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    give(page, file.getvalue())
    rest(page)
    wanted = still(torch.from_numpy(fit(Image.fromarray(picture)))[None]).float().numpy().ravel()
    assert np.abs(pixels(page, "canvas.pixels") - wanted).max() <= 1 and quiet(page)


@pytest.mark.slow
def test_nothing_sticks_out_of_a_dark_telephone(opened):
    page = opened(width=360, scheme="dark", reduced_motion="reduce")
    page.locator(".slider button").first.click()
    page.locator("summary").click()
    rest(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert not page.evaluate(CONTRAST) and quiet(page)


@pytest.mark.slow
def test_a_network_that_onnx_cannot_express_is_refused_by_its_part(tmp_path):
    odd = stage(SMALL.replace(routing=routings("variational_bayes")))
    with pytest.raises(UserError, match="digamma"):
        static.write_static(odd, torch.rand(5, 1, 8, 8), {}, tmp_path)
