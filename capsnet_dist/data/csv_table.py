"""Your own images: a table that says which file is of which class."""

import csv
import io
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from typing_extensions import override

from capsnet_dist.data.labelled import Row, Table
from capsnet_dist.data.picture_set import Listing, PictureSet
from capsnet_dist.data.pictures import PictureFiles
from capsnet_dist.errors import UserError, did_you_mean
from capsnet_dist.files import ordinary
from capsnet_dist.plugins import datasets
from capsnet_dist.screen.progress import say
from capsnet_dist.text import listed, reason

DELIMITERS = ",;\t"


@datasets.register("csv")
@dataclass(kw_only=True, eq=False)
class Csv(PictureSet):
    """Your own images: a table with a line for each image file, its class, and if wanted its split and group.

    The first line names the columns, which commas, semicolons or tabs separate. Classes are in plain order, "10" before
    "2".

    Args:
        table: The file of the table.
        root: Folder that the paths in the table begin from; that of the table if not given.
        file_column: Column with the path of each image.
        label_column: Column with its class.
        split_column: Column that says "train", or "test", "val", "valid" or "validation", if there is one; without it,
            or with an empty name here, images are divided by `share`.
        group_column: Column that says what an image belongs to, such as a person, if there is one: no split separates
            images of a group.

    Raises:
        UserError: the table cannot be read, lacks a column or a value, or names files that are not there.
    """

    table: Path = Path("labels.csv")
    root: Path | None = None
    file_column: str = "file"
    label_column: str = "label"
    split_column: str = "split"
    group_column: str = "group"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.table = self.table.expanduser()
        self.place = self.table.parent if self.root is None else self.root.expanduser()
        read = list(self._read_rows())
        faults = [row for row in read if isinstance(row, str)]
        rows = self._present([row for row in read if isinstance(row, Row)], faults)
        self.rows = Table(str(self.table), rows, faults)

    @cached_property
    @override
    def classes(self) -> tuple[str, ...]:
        return self.rows.classes

    @property
    @override
    def is_split(self) -> bool:
        return self.rows.is_split

    @override
    def listing(self, name: str) -> Listing:
        rows = self.rows.part(name, self.limit)
        files = [os.path.join(self.place, row.item) for row in rows]
        label = f"{self.table.stem}-{name}" if self.is_split else self.table.stem
        return Listing(label, PictureFiles(self.place, files, self.rows.labels(rows)), self.rows.groups(rows))

    def _present(self, rows: list[Row], faults: list[str]) -> list[Row]:
        """The rows whose files are there; what is not is left out if broken files are, and else one fault more."""
        missing = [row for row in rows if row.item and not os.path.isfile(os.path.join(self.place, row.item))]
        if not missing:
            return rows
        which = listed([os.path.join(self.place, row.item) for row in missing])
        report = f"{self.table}: {len(missing):,} of {len(rows):,} files are not there: {which}."
        if not self.skip_broken or len(missing) == len(rows):
            faults.append(
                f"{report} Paths begin from the folder of the table, or from --data.root DIR; --data.skip-broken "
                "leaves out what is missing."
            )
            return rows
        say(f"Warning: {report} They are left out.")
        gone = {row.place for row in missing}
        return [row for row in rows if row.place not in gone]

    def _read_rows(self) -> Iterator[Row | str]:
        """The rows of the table, each with the number of its line, and what is wrong with lines that are none."""
        if not self.table.exists():
            raise UserError(f"There is no table {self.table.resolve()}. Name yours: --data.table FILE.csv.")
        try:
            with ordinary(self.table) as data:
                text = data.read().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise UserError(f"{self.table} is no text in UTF-8: {reason(error)}") from error
        delimiter = max(DELIMITERS, key=text.partition("\n")[0].count)
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        try:
            header = [name.strip() for name in next(reader, [])]
            take = self._columns(header)
            uneven: list[str] = []
            for fields in filter(None, reader):
                if len(fields) == len(header):
                    yield Row(f"line {reader.line_num}", *take(fields))
                else:
                    uneven.append(f"line {reader.line_num}: {len(fields)} fields")
            if uneven:
                yield (
                    f"{self.table}, {listed(uneven)}, where the first line names {len(header)} columns. A field that "
                    "holds the separator must stand in quotes."
                )
        except csv.Error as error:
            raise UserError(f"{self.table}, line {reader.line_num}: {error}.") from error

    def _columns(self, header: Sequence[str]) -> Callable[[Sequence[str]], tuple[str, str, str | None, str | None]]:
        """What takes the file, the label, the split and the group out of the fields of a line.

        Raises:
            UserError: a column that is needed, or that was asked for by a name of its own, is not there.
        """
        if twice := sorted({name for name in header if header.count(name) > 1}):
            raise UserError(f"{self.table} names columns twice: {listed(twice)}.")
        places: list[int | None] = []
        absent: list[str] = []
        for option in ("file_column", "label_column", "split_column", "group_column"):
            name: str = getattr(self, option)
            can_lack = option in ("split_column", "group_column") and name in ("", getattr(type(self), option))
            if name not in header and not can_lack:
                flag = option.replace("_", "-")
                absent.append(
                    f"{self.table} has no column {name!r}.{did_you_mean(name, header)} Its first line must name the "
                    f"columns; name another one: --data.{flag} NAME."
                )
            places.append(header.index(name) if name and name in header else None)
        if absent:
            raise UserError(" ".join(absent))
        file, label, split, group = places
        assert file is not None and label is not None

        def take(fields: Sequence[str]) -> tuple[str, str, str | None, str | None]:
            given = [None if place is None else fields[place].strip() for place in (split, group)]
            path = fields[file].strip()
            return path and os.path.normpath(path), fields[label].strip(), given[0], given[1]

        return take
