"""What commands print: results on standard output, notices on standard error."""

import io
import os
import sys
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

from capsnet_dist.text import printable, reason, to_json


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
    """Results for people: a table on a terminal, aligned lines elsewhere."""
    columns, *rows = [list(map(printable, row)) for row in [columns, *rows]]
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table()
        for column in columns:
            table.add_column(Text(column))  # as text: names may hold what rich would take for markup
        for row in rows:
            table.add_row(*map(Text, row))
        Console().print(table)
        return
    widths = [_width([len(row[index]) for row in [columns, *rows]]) for index in range(len(columns))]
    for row in [columns, *rows]:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write(line.rstrip() + "\n")


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
