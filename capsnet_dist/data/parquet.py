"""Your own images in parquet files, as the Hugging Face Hub keeps them."""

import json
import os
import re
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from typing_extensions import override

from capsnet_dist.data.division import selected_of_each
from capsnet_dist.data.parquet_rows import ParquetRows, arrow, opened_parquet, read_column
from capsnet_dist.data.picture_set import TESTS, Listing, PictureSet
from capsnet_dist.errors import UserError, did_you_mean
from capsnet_dist.plugins import datasets
from capsnet_dist.screen.progress import say
from capsnet_dist.text import listed

SPLIT = re.compile(rf"(?<![A-Za-z])(train|{'|'.join(TESTS)})(?![A-Za-z])")
"""In the path of a file: the name of its split."""


@dataclass(kw_only=True, eq=False)
class ParquetSet(PictureSet):
    """Rows of parquet files, each with the bytes of an image file and a label.

    Args:
        image_column: Column of the images, either their bytes or `bytes` and `path`; empty: the only one of that kind.
        label_column: Column of the labels: names of classes, or numbers, whose names the file may know.
        group_column: Column that says what an image belongs to, such as a person: no split separates images of a group.
            Empty: none.
    """

    image_column: str = ""
    label_column: str = "label"
    group_column: str = ""

    @cached_property
    @abstractmethod
    def files(self) -> dict[str, list[Path]]:
        """The files of "train" and "test"; or all of them as "train" if they are not split."""

    @property
    @abstractmethod
    def source(self) -> str:
        """What they are called in messages, and in the cache."""

    @property
    @override
    def is_split(self) -> bool:
        return "test" in self.files

    @cached_property
    @override
    def classes(self) -> tuple[str, ...]:
        return self._names or tuple(map(str, self._numbers))

    @override
    def listing(self, name: str) -> Listing:
        part = name if self.is_split else "train"
        labels, numbers = self._labels(part), self._numbers
        if unknown := sorted(map(str, {*labels} - numbers.keys())):
            raise UserError(
                f"{self.source}: the labels of {part} are of classes that train has not: {listed(unknown)}. -1 says on "
                f"the Hub that nobody knows the label. Known: {listed(self.classes)}."
            )
        rows = selected_of_each(labels, self.limit)
        pictures = ParquetRows(self.files[part], self._image_column, rows, [numbers[labels[row]] for row in rows])
        groups = self._column(part, self.group_column) if self.group_column else None
        label = f"{self.source}-{name}" if self.is_split else self.source
        return Listing(label, pictures, groups and [str(groups[row]) for row in rows])

    @cached_property
    def _schema(self) -> Any:
        with opened_parquet(self.files["train"][0]) as file:
            return file.schema_arrow

    @cached_property
    def _image_column(self) -> str:
        pyarrow = arrow()
        found = [field.name for field in self._schema if _holds_images(pyarrow, field.type)]
        if self.image_column in found or (not self.image_column and len(found) == 1):
            return self.image_column or found[0]
        known = listed([f"{field.name} ({field.type})" for field in self._schema])
        wanted = (
            f"no column {self.image_column!r} of images" if self.image_column else f"{len(found)} columns of images"
        )
        raise UserError(f"{self.source} has {wanted}. Name one: --data.image-column NAME. Columns: {known}.")

    @cached_property
    def _numbers(self) -> dict[Any, int]:
        """The class of each label."""
        known = range(len(self._names)) or sorted({*self._labels("train")})
        return {label: number for number, label in enumerate(known)}

    @cached_property
    def _names(self) -> tuple[str, ...]:
        """The names of classes that the Hub's library left in the file."""
        try:
            features = json.loads(self._schema.metadata[b"huggingface"])["info"]["features"]
            return tuple(map(str, features[self.label_column]["names"]))
        except (KeyError, TypeError, ValueError):
            return ()

    def _labels(self, part: str) -> list[Any]:
        """The labels of a split, all numbers or all names."""
        labels = self._column(part, self.label_column)
        kind = int if labels and isinstance(labels[0], int) else str
        if wrong := [row for row, label in enumerate(labels) if type(label) is not kind or label == ""]:
            raise UserError(
                f"{self.source}, {part}: labels must be whole numbers, or names; that of row {wrong[0]:,} is "
                f"{labels[wrong[0]]!r:.200}, as are {len(wrong):,} of {len(labels):,}."
            )
        return labels

    def _column(self, part: str, name: str) -> list[Any]:
        if name not in self._schema.names:
            flag = "label" if name == self.label_column else "group"
            known = did_you_mean(name, self._schema.names)
            raise UserError(f"{self.source} has no column {name!r}.{known} Name it: --data.{flag}-column NAME.")
        return read_column(self.files[part], name)


@datasets.register("parquet")
@dataclass(kw_only=True, eq=False)
class Parquet(ParquetSet):
    """Your own images in parquet files: a row for each, with the bytes of its file and a label.

    Files are split by their names: those with "train", and those with "test", "val", "valid" or "validation"; else they
    are divided.

    Args:
        root: A file, or a folder of files.

    Raises:
        UserError: there are none, or they lack a column or a label.
    """

    root: Path = Path("data")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.root = self.root.expanduser()

    @property
    @override
    def source(self) -> str:
        return str(self.root)

    @cached_property
    @override
    def files(self) -> dict[str, list[Path]]:
        found = [self.root] if self.root.is_file() else sorted(self.root.rglob("*.parquet"))
        if not found:
            raise UserError(f"There is no parquet file {self.root.resolve()}, or in it. Name it: --data.root FILE|DIR.")
        return by_split(found, self.root, self.source)


def by_split(files: Sequence[Path], root: Path, source: str) -> dict[str, list[Path]]:
    """The files of "train" and "test", by their names; all as "train" if they name no more than one split.

    Raises:
        UserError: none is of "train", but of several others.
    """
    splits = defaultdict[str, list[Path]](list)
    for file in files:
        named = SPLIT.findall(os.path.relpath(file, root.parent if root == file else root).replace(os.sep, "/"))
        splits[named[-1] if named else ""].append(file)
    test = next((name for name in TESTS if name in splits), None)
    if len(splits) == 1:
        return {"train": list(files)}
    if "train" not in splits or test is None:
        raise UserError(
            f"{source} has files of the splits {listed([name or '(none)' for name in splits])}: there must be train "
            f"and one of {', '.join(TESTS)}, or one alone, which is then divided."
        )
    for name in splits.keys() - {"train", test}:
        what = f"of the split {name}" if name else "whose names tell no split"
        say(f"Warning: {source}: files {what} are not used: {listed([file.name for file in splits[name]])}.")
    return {"train": splits["train"], "test": splits[test]}


def _holds_images(pyarrow: Any, kind: Any) -> bool:
    types = pyarrow.types
    if types.is_struct(kind):
        return any(field.name == "bytes" and _holds_images(pyarrow, field.type) for field in kind)
    return types.is_binary(kind) or types.is_large_binary(kind)
