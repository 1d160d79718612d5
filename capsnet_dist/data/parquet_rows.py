"""Rows of parquet files as pictures, read a group of rows at a time."""

import importlib
import os
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from io import BytesIO
from itertools import accumulate
from pathlib import Path
from typing import Any

from capsnet_dist.data.image_files import recognized
from capsnet_dist.errors import UserError
from capsnet_dist.text import reason

KEPT = 3  # groups of rows in memory: decoding goes through them in order


class ParquetRows:
    """Some rows of parquet files.

    Args:
        files: The files, whose rows are counted through.
        column: That of the images.
        rows: Which rows.
        labels: Class of each.
    """

    def __init__(self, files: Sequence[Path], column: str, rows: Sequence[int], labels: Sequence[int]) -> None:
        self.files, self.column, self.rows, self.labels = files, column, rows, labels
        self.groups: list[tuple[Path, int]] = []
        counts: list[int] = []
        for path in files:
            with opened_parquet(path) as file:
                for group in range(file.num_row_groups):
                    self.groups.append((path, group))
                    counts.append(file.metadata.row_group(group).num_rows)
        self.starts = [0, *accumulate(counts)]
        self.firsts: dict[Path, int] = {}
        for (path, _), start in zip(self.groups, self.starts, strict=False):  # starts has the end, too
            self.firsts.setdefault(path, start)
        self._read: OrderedDict[int, Any] = OrderedDict()
        self._lock = threading.Lock()

    def identity(self) -> Iterator[str]:
        """Name, size and time of the last change of the file, and the row."""
        stats = {path: os.stat(path) for path in self.files}
        for row in self.rows:
            path, _ = self.groups[self._group(row)]
            yield f"{path.name} {stats[path].st_size} {stats[path].st_mtime_ns} {self.column} {row}"

    def name(self, index: int) -> str:
        """Its file and row."""
        path, _ = self.groups[self._group(self.rows[index])]
        return f"{path.name} row {self.rows[index] - self.firsts[path]}"

    def open(self, index: int) -> AbstractContextManager[Any]:
        """The picture.

        Raises:
            UserError: the row has none.
        """
        row = self.rows[index]
        group = self._group(row)
        value: Any = self._rows(group)[row - self.starts[group]].as_py()
        content = value.get("bytes") if isinstance(value, dict) else value
        if not content:
            raise UserError("the row has no bytes of an image")
        return recognized(BytesIO(content), self.name(index))

    def _group(self, row: int) -> int:
        return bisect_right(self.starts, row) - 1

    def _rows(self, group: int) -> Any:
        """The images of a group of rows; threads that want the same one wait for it."""
        with self._lock:
            if group not in self._read:
                path, number = self.groups[group]
                with opened_parquet(path) as file:
                    self._read[group] = file.read_row_group(number, columns=[self.column]).column(0)
                while len(self._read) > KEPT:
                    self._read.popitem(last=False)
            return self._read[group]


def arrow() -> Any:
    """The library for parquet files.

    Raises:
        UserError: it is not installed.
    """
    try:
        importlib.import_module("pyarrow.parquet")
        return importlib.import_module("pyarrow")
    except ImportError as error:
        raise UserError("Parquet files need pyarrow: pip install 'capsnet_dist[parquet]'.") from error


@contextmanager
def opened_parquet(path: Path) -> Generator[Any]:
    """A parquet file.

    Raises:
        UserError: it cannot be read.
    """
    pyarrow = arrow()
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            yield file
    except (OSError, pyarrow.ArrowException) as error:
        raise UserError(f"{path} cannot be read as a parquet file: {reason(error)}") from error


def read_column(files: Sequence[Path], name: str) -> list[Any]:
    """The values of a column in all rows of some files.

    Raises:
        UserError: a file cannot be read, or has other columns than the first.
    """
    values: list[Any] = []
    for path in files:
        with opened_parquet(path) as file:
            if name not in file.schema_arrow.names:
                raise UserError(f"{path} has no column {name!r}, as other files have.")
            values += file.read(columns=[name]).column(0).to_pylist()
    return values
