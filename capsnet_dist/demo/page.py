"""The page: its parts in one file of HTML, and what a browser may do with it."""

import base64
import hashlib
from importlib.resources import files
from typing import NamedTuple

SCRIPTS = ("dom", "ask", "pixels", "pad", "sources", "bars", "poses", "routing", "run", "main")
"""In the order in which they stand; together they are one program."""


class Page(NamedTuple):
    """A page, and its Content-Security-Policy."""

    html: bytes
    policy: str


def assemble() -> Page:
    """The page with its style and its program, which are all that a browser may obey."""
    style = _part("page.css")
    program = "\n".join(_part(f"{name}.js") for name in SCRIPTS)
    html = _part("page.html").replace("/* style */", style).replace("/* program */", program)
    rules = [
        "default-src 'none'",
        f"style-src {_digest(style)}",
        f"script-src {_digest(program)}",
        "img-src data: blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
    return Page(html.encode(), "; ".join(rules))


def _part(name: str) -> str:
    return files("capsnet_dist.demo").joinpath("parts", name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"
