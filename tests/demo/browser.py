"""A real Chromium, without a window and without a word to anybody."""

import shutil
from contextlib import contextmanager

import pytest

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
THREE = [(0.3, 0.25), (0.5, 0.15), (0.68, 0.28), (0.6, 0.43), (0.48, 0.48), (0.62, 0.53), (0.7, 0.7)]
THREE += [(0.5, 0.85), (0.3, 0.75)]
"""A three, as shares of the pad."""


def executable():
    """Where the browser is; the test is skipped where there is none."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium: apt-get install chromium")
    return found


@contextmanager
def browser(folder, scheme="light", width=1440, height=1000, **options):
    """A page in a browser with an empty profile; messages of the page and addresses asked are kept."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no Playwright: pip install playwright")
    with playwright.sync_playwright() as started:
        context = started.chromium.launch_persistent_context(
            folder,
            executable_path=executable(),
            headless=True,
            args=FLAGS,
            color_scheme=scheme,
            viewport={"width": width, "height": height},
            **options,
        )
        page = context.pages[0]
        page.set_default_timeout(60_000)
        page.messages, page.asked = [], []
        page.on("console", lambda message: message.type == "error" and page.messages.append(message.text))
        page.on("pageerror", lambda error: page.messages.append(str(error)))
        page.done = []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("requestfinished", lambda request: page.done.append(request.url))
        page.on("requestfailed", lambda request: page.done.append(request.url))
        yield page
        context.close()


def draw(page, points=THREE):
    """One stroke on the pad, by mouse."""
    box = page.locator("#pad").bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=5)
    page.mouse.up()


def settle(page):
    """Wait until the page has nothing more to ask."""
    rests = 0
    while rests < 2:  # the last questions are asked a while after a drawing has come to rest
        page.wait_for_timeout(400)
        rests = rests + 1 if len(page.done) >= len(page.asked) else 0


def give(page, content, kind="drop"):
    """Drop or paste a file of these bytes, called given.png."""
    holder = {"drop": "dataTransfer", "paste": "clipboardData"}[kind]
    page.evaluate(
        """([bytes, kind, holder]) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], "given.png", { type: "image/png" }));
            const event = new Event(kind, { bubbles: true, cancelable: true });
            Object.defineProperty(event, holder, { value: data });
            document.querySelector("#paper").dispatchEvent(event);
        }""",
        [list(content), kind, holder],
    )
