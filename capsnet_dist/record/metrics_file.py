"""metrics.jsonl, a JSON object a line: reading it, and what of it is kept when a run is resumed."""

import json
import math
import sys
from pathlib import Path
from typing import Any, NamedTuple

from capsnet_dist.errors import UserError
from capsnet_dist.files import ordinary

MAX_LINE = 100_000  # bytes: ours have some hundred


class Line(NamedTuple):
    """What decides whether a line is kept."""

    split: str
    step: float


AT_THE_END = Line("", math.inf)
"""What is said when a run has ended: it comes again."""


def read(file: Path) -> list[dict[str, Any]]:
    """The lines of a file that is whole; null is read as the NaN or the infinity that it was written for."""
    return [_values(line) for line in file.read_text(encoding="utf-8").splitlines()]


def whole_lines(file: Path) -> list[dict[str, Any]]:
    """What a file of whatever origin says about training and validation; other and damaged lines are left out."""
    found: list[dict[str, Any]] = []
    with ordinary(file) as lines:
        while text := lines.readline(MAX_LINE):
            if _read(text) not in (None, AT_THE_END):
                found.append(_values(text))
    return found


def _values(line: str | bytes) -> dict[str, Any]:
    return {key: math.nan if value is None else value for key, value in json.loads(line).items()}


def cut(file: Path, step: int) -> Path:
    """Copy the lines up to a step into a file beside; later ones come again.

    A run that was killed may have left its last lines in pieces: these are left out. Damage before a line to keep has
    another cause.

    Raises:
        UserError: a line before one to keep is damaged, or a step stands twice.
    """
    beside = file.with_name(f".{file.name}.new")
    number = last = damaged = 0
    with ordinary(file) as lines, beside.open("wb") as kept:
        while text := lines.readline(MAX_LINE):
            number += 1
            line = _read(text)
            if line is None or (line.split == "train" and line.step <= last):
                damaged = damaged or number
            elif line.step <= step:
                if damaged:
                    beside.unlink()
                    raise UserError(f"{file} is damaged: line {damaged}. Remove that line, or copy the file again.")
                last = line.step if line.split == "train" else last
                kept.write(text.removesuffix(b"\n") + b"\n")
    return beside


def _read(text: bytes) -> Line | None:
    """What a line says; None if it is damaged."""
    try:
        line = text.removesuffix(b"\n").decode("ascii")
        values: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not line.isprintable():
        return None  # other readers might end a line at a carriage return, which JSON takes for a space
    match values:
        case {"split": "train" | "validation" as split, "step": int(step), "loss": loss, "accuracy": accuracy}:
            return Line(split, step) if _is_number(loss) and _is_number(accuracy) else None
        case {"split": str(split)} if split not in ("train", "validation"):
            return AT_THE_END
        case _:
            return None


def _is_number(value: object) -> bool:
    """Whether a value is that of a metric: null where the number was not finite."""
    return value is None or isinstance(value, float) or (isinstance(value, int) and abs(value) <= sys.float_info.max)
