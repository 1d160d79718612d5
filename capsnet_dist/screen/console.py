"""What commands print: results on standard output, notices on standard error."""

import json
import sys
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any


def print_json(data: Any) -> None:
    """Results for programs, in one line."""
    sys.stdout.write(json.dumps(data) + "\n")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Results for people: a table on a terminal, aligned lines elsewhere."""
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
    sys.stderr.write(f"Notice: {notice}\n")


@contextmanager
def notices() -> Generator[None]:
    """Say warnings in one line each, without the place in the code."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *place, **more: say(str(message))
        yield
