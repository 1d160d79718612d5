"""Results row by row, for people and for programs: however many there are, few are held in memory."""

import csv
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from typing_extensions import override

from capsnet_dist.errors import UserError
from capsnet_dist.screen.console import print_table
from capsnet_dist.text import printable, reason, to_json

PAGE = 1000  # rows of a table whose columns are as wide as their contents


T = TypeVar("T", contravariant=True)


@runtime_checkable
class Stream(Protocol):
    """What text can be written to."""

    def write(self, text: str, /) -> object:
        """Write it."""
        ...


class Rows(Protocol[T]):
    """Takes results one by one."""

    def write(self, result: T) -> None:
        """Take one."""
        ...

    def close(self) -> None:
        """There are no more."""
        ...


class Table(Rows[T]):
    """A table on standard output, page by page.

    Args:
        columns: What stands above.
        cells: The row of a result.
    """

    def __init__(self, columns: Sequence[str], cells: Callable[[T], Sequence[str]]) -> None:
        self.columns, self.cells, self.rows, self.is_begun = columns, cells, list[Sequence[str]](), False

    @override
    def write(self, result: T) -> None:
        self.rows.append(self.cells(result))
        if len(self.rows) == PAGE:
            self._print()

    @override
    def close(self) -> None:
        if self.rows or not self.is_begun:
            self._print()

    def _print(self) -> None:
        print_table(self.columns, self.rows)
        self.rows, self.is_begun = [], True


class Csv(Rows[T]):
    """Comma-separated values.

    Args:
        columns: What stands above.
        cells: The row of a result.
        stream: Where they go.
    """

    def __init__(self, columns: Sequence[str], cells: Callable[[T], Sequence[str]], stream: Stream) -> None:
        self.cells, self.writer = cells, csv.writer(stream, lineterminator="\n")
        self.writer.writerow(map(printable, columns))

    @override
    def write(self, result: T) -> None:
        self.writer.writerow(map(printable, self.cells(result)))

    @override
    def close(self) -> None:
        """Every line is written."""


class JsonLines(Rows[T]):
    """A JSON object a line.

    Args:
        values: The object of a result.
        stream: Where they go.
    """

    def __init__(self, values: Callable[[T], Mapping[str, Any]], stream: Stream) -> None:
        self.values, self.stream = values, stream

    @override
    def write(self, result: T) -> None:
        self.stream.write(to_json(self.values(result)) + "\n")

    @override
    def close(self) -> None:
        """Every line is written."""


class JsonArray(Rows[T]):
    """One JSON array on standard output, in one line.

    Args:
        values: The object of a result.
    """

    def __init__(self, values: Callable[[T], Mapping[str, Any]]) -> None:
        self.values, self.before = values, "["

    @override
    def write(self, result: T) -> None:
        sys.stdout.write(self.before + to_json(self.values(result)))
        self.before = ", "

    @override
    def close(self) -> None:
        sys.stdout.write("[]\n" if self.before == "[" else "]\n")


@contextmanager
def output(flag: str, file: Path) -> Generator[Stream]:
    """A file to write results to, which replaces an older one; `-` is standard output.

    Raises:
        UserError: it cannot be written.
    """
    if str(file) == "-":
        yield sys.stdout
        return
    try:
        with file.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream:
            yield stream
    except OSError as error:
        raise UserError(f"{flag} {file} cannot be written: {reason(error)}.") from error
