"""The page: its parts in one file of HTML, and what a browser may do with it."""

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import NamedTuple

SCRIPTS = ("dom", "ask", "latest", "pixels", "pad", "sources", "bars", "poses", "routing", "run", "main")
"""In the order in which they stand; together they are one program."""


class Page(NamedTuple):
    """A page, and its Content-Security-Policy."""

    html: bytes
    policy: str


def assemble() -> Page:
    """The page with its style and its program, which are all that a browser may obey."""
    html, rules = _assembled(SCRIPTS, ())
    return Page(html.encode(), "; ".join([*rules, "frame-ancestors 'none'"]))


def assemble_static() -> bytes:
    """The page for any web server: its policy stands in it, and the program asks files beside it, not a server."""
    scripts = tuple("local" if name == "ask" else name for name in SCRIPTS)
    html, rules = _assembled(scripts, ("'self'", "'wasm-unsafe-eval'"))
    policy = f'<meta http-equiv="Content-Security-Policy" content="{"; ".join(rules)}" />'
    return html.replace('<meta charset="utf-8" />', f'<meta charset="utf-8" />\n    {policy}').encode()


def _assembled(scripts: Sequence[str], further: Sequence[str]) -> tuple[str, list[str]]:
    """The text of a page, and what a browser may obey: further places of programs, besides the page itself."""
    style = _part("page.css")
    program = "\n".join(_part(f"{name}.js") for name in scripts)
    html = _part("page.html").replace("/* style */", style).replace("/* program */", program)
    rules = [
        "default-src 'none'",
        f"style-src {_digest(style)}",
        f"script-src {' '.join([_digest(program), *further])}",
        "img-src data: blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    return html, rules


def _part(name: str) -> str:
    return files("capsnet_dist.demo").joinpath("parts", name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"
