"""Text from outside, escaped for where it goes, and JSON that every reader takes."""

import json
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any, cast

MAX_NAMED = 20  # of many, in one message


def printable(text: str) -> str:
    r"""A text whose characters all show, each where it stands.

    Line breaks, terminal codes, marks that turn the direction of writing, and bytes of a file name that are no text
    become escapes.

    >>> from capsnet_dist.text import printable
    >>> print(printable("a\x1b[2J"))
    a\x1b[2J
    """
    return "".join(c if c.isprintable() else escape(c) for c in text)


def escape(character: str) -> str:
    r"""A character in ASCII, as Python writes it: `\n`, `\x1b`, `\u202e`."""
    return character.encode("unicode_escape").decode("ascii")


def reason(error: BaseException) -> str:
    """Why something failed, in one line: the system's words where there are any, else kind and message."""
    if isinstance(error, OSError) and error.strerror:
        return printable(error.strerror)
    message = " ".join(str(error).split())
    return printable(f"{type(error).__name__}: {message:.200}" if message else type(error).__name__)


def to_json(data: Any, indent: int | None = None) -> str:
    """JSON as RFC 8259 defines it: a number that is infinite or none is null."""
    return json.dumps(_finite(data), indent=indent, allow_nan=False)


def markdown(text: str) -> str:
    """A text of one line that Markdown and HTML show as it is."""
    return re.sub(r"([\\`*_{}\[\]<>#|~&$@])", r"\\\1", printable(text))


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; its cells are Markdown already."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def code_span(text: str) -> str:
    """A text of one line in the type of code in Markdown, which has no escapes: a longer fence keeps ticks inside."""
    text = printable(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " if text.startswith(("`", " ")) or text.endswith(("`", " ")) else ""
    return f"{fence}{space}{text}{space}{fence}"


def listed(words: Sequence[str], mark: str = ", ") -> str:
    """The first of many, and how many more there are."""
    more = f"{mark}and {len(words) - MAX_NAMED} more" if len(words) > MAX_NAMED else ""
    return mark.join(words[:MAX_NAMED]) + more


def _finite(data: Any) -> Any:
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in cast(dict[Any, Any], data).items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in cast(list[Any], data)]
    return data
