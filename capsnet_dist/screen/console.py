"""What commands print: results on standard output, notices on standard error."""

import io
import os
import sys
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

from capsnet_dist.text import printable, reason, to_json

SHORT = 16  # characters of a cell that is kept in one line


@contextmanager
def any_text() -> Generator[None]:
    """Let standard output and error take any text: what an encoding lacks is escaped, what is closed leads nowhere."""
    _open_nowhere("stdout", 1)
    _open_nowhere("stderr", 2)
    stream = sys.stdout
    if not isinstance(stream, io.TextIOWrapper):  # one of the caller's, without an encoding
        yield
        return
    before = stream.errors
    stream.reconfigure(errors="backslashreplace")
    try:
        yield
    finally:
        if not stream.closed:
            stream.reconfigure(errors=before)


def _open_nowhere(name: str, number: int) -> None:
    """Open a stream that was closed by `>&-`, or the next file would take its number, and get what is written to it."""
    if getattr(sys, name) is None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        if nowhere != number:
            os.dup2(nowhere, number)
            os.close(nowhere)
        setattr(sys, name, open(number, "w", encoding="utf-8", closefd=False))  # noqa: SIM115


def print_json(data: Any) -> None:
    """Results for programs, in one line."""
    sys.stdout.write(to_json(data) + "\n")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Results for people: a table on a terminal, or several if it is too narrow for one; aligned lines elsewhere."""
    columns, *rows = [list(map(printable, row)) for row in [columns, *rows]]
    if sys.stdout.isatty():
        _draw_table(columns, rows)
        return
    widths = [_width([len(row[index]) for row in [columns, *rows]]) for index in range(len(columns))]
    for row in [columns, *rows]:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write(line.rstrip() + "\n")


def _draw_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table, or one after another that fit the terminal, each with the first column."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    cells = list(zip(columns, *rows, strict=True))
    least, most = list(map(_least, cells)), [max(map(len, column[1:]), default=0) for column in cells]
    for part in _parts(least, console.width):
        table, room = Table(), console.width - 1 - sum(least[index] + 3 for index in part)
        for index in part:  # as text: names may hold what rich would take for markup
            more = max(0, min(room, most[index] - least[index]))
            table.add_column(Text(columns[index]), width=least[index] + more if room >= 0 else None)
            room -= more
        for row in rows:
            table.add_row(*(Text(row[index]) for index in part))
        console.print(table)


def _least(cells: Sequence[str]) -> int:
    """How wide a column must be, so that no word of its cells is broken, and no short cell but its name."""
    name, *rest = cells
    pieces = [*name.split(), *(piece for cell in rest for piece in ([cell] if len(cell) <= SHORT else cell.split()))]
    return max(map(len, pieces), default=1)


def _parts(least: Sequence[int], width: int) -> list[list[int]]:
    """Which columns each of the tables has on a screen of so many characters, of which a column takes three more."""
    parts = [[0]]
    for index in range(1, len(least)):
        needed = 1 + sum(least[one] + 3 for one in [*parts[-1], index])
        if needed > width and len(parts[-1]) > 1:
            parts.append([0])
        parts[-1].append(index)
    return parts


def _width(lengths: Sequence[int]) -> int:
    """How wide a column is: as its longest cell, but for those that stick out, which push aside their own line only."""
    filled = sorted(filter(None, lengths)) or [0]
    limit = max(2 * filled[len(filled) // 2], 40)
    return max(length for length in filled if length <= limit)


def say(notice: str) -> None:
    """One line that does not mix with the results."""
    sys.stderr.write(f"Notice: {printable(notice)}\n")


def complain(problem: str) -> None:
    """One line about something that went wrong and ends nothing; the exit code tells it at the end."""
    sys.stderr.write(f"Error: {printable(problem)}\n")


@contextmanager
def tolerated(failure: str, tell: Callable[[str], object] = say) -> Generator[None]:
    """Something that is only nice to have: if it fails, that is said, and ends nothing.

    Args:
        failure: What is then missing, in words.
        tell: Says it.
    """
    try:
        yield
    except Exception as error:
        tell(f"{failure}: {reason(error)}.")


@contextmanager
def notices() -> Generator[None]:
    """Say warnings in one line each, without the place in the code."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *place, **more: say(str(message))
        yield
