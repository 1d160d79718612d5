"""The page for any web server, in a real Chromium: nothing of Python answers."""

import functools
import http.server
import os
import threading
from pathlib import Path

import pytest
import torch
from browser import browser, draw, settle
from stages import SMALL, stage
from test_browser import digits, pixels  # noqa: F401

from capsnet_dist import UserError, routings
from capsnet_dist.demo import static

PACKAGE = os.environ.get("ONNXRUNTIME_WEB")


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
    with pytest.raises(UserError, match="npm pack onnxruntime-web"):
        static.runtime_files(tmp_path / "nowhere")


@pytest.mark.slow
def test_a_three_is_recognised_without_python(digits, tmp_path):  # noqa: F811
    if PACKAGE is None:
        pytest.skip("no onnxruntime-web: npm pack onnxruntime-web, unpack it, and name the folder in ONNXRUNTIME_WEB")
    site = tmp_path / "site"
    images = digits.tests.select(torch.arange(5)).pixels / 255
    static.write_static(digits, images, static.runtime_files(Path(PACKAGE)), site)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=site)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, browser(tmp_path / "profile") as page:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        page.wait_for_selector(".bar")
        settle(page)
        draw(page)
        settle(page)
        assert page.locator(".verdict").inner_text().startswith("3")
        assert pixels(page, "canvas.pixels").max() > 200 and pixels(page, "canvas.image").max() > 100
        assert page.locator(".maps canvas").count() > 1 and not page.messages
        server.shutdown()


@pytest.mark.slow
def test_a_network_that_onnx_cannot_express_is_refused_by_its_part(tmp_path):
    odd = stage(SMALL.replace(routing=routings("variational_bayes")))
    with pytest.raises(UserError, match="digamma"):
        static.write_static(odd, torch.rand(5, 1, 8, 8), {}, tmp_path)
