"""The pictures of docs/demo.md: `python tests/demo/screenshots.py light runs/mnist/TIME`, or dark, and further words.

The page of a run in a browser; a three is drawn on it, and the strongest number of its pose is moved.
"""

import io
import subprocess
import sys
import tempfile
from pathlib import Path

from browser import browser, draw, settle
from PIL import Image

IMAGES = Path(__file__).parents[2] / "docs" / "images"
COLOURS = 256  # of a picture, which is then half as large


def main(scheme: str, words: list[str]) -> None:
    """Draw a three, turn its pose and take a picture."""
    command = [sys.executable, "-m", "capsnet_dist.commands.main", "demo", *words, "--port", "0"]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    with started as program, tempfile.TemporaryDirectory() as folder:
        assert program.stdout is not None
        try:
            address = next(word for word in program.stdout.readline().split() if word.startswith("http"))
            with browser(folder, scheme, width=1180, height=820) as page:
                page.goto(address)
                page.wait_for_selector(".bar.won")
                page.wait_for_timeout(40_000)  # until it has looked at enough test images
                draw(page)
                settle(page)
                page.locator(".slider button").first.click()
                page.locator(".tiles button").nth(7).click()
                page.locator("h1").click()
                settle(page)
                picture = Image.open(io.BytesIO(page.screenshot(full_page=True)))
        finally:
            program.terminate()
    picture.convert("RGB").quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
        IMAGES / f"demo-{scheme}.png", optimize=True
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
