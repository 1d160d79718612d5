"""Rows that each say which class an item is of: checked, numbered, and taken apart into splits."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from capsnet_dist.data.division import selected_of_each
from capsnet_dist.data.picture_set import TESTS
from capsnet_dist.errors import UserError, did_you_mean
from capsnet_dist.screen.progress import say
from capsnet_dist.text import listed


class Row(NamedTuple):
    """What a table says of one image."""

    place: str
    """Where it stands, for messages."""
    item: str
    """The image: its path."""
    label: str
    """Name of its class."""
    split: str | None
    """Name of its split; None where the table has none."""
    group: str | None
    """What it belongs to; None where the table has no groups."""


class Table:
    """The rows of a table, which all say what they must.

    Args:
        name: What it is called in messages.
        rows: Its rows, in order.
        faults: What is wrong with it besides, a sentence for each kind.

    Raises:
        UserError: there are none; a value is empty, a split unknown, or an image there twice; one split stands alone,
            or tests classes that are not trained on. All kinds are told at once.
    """

    def __init__(self, name: str, rows: Sequence[Row], faults: Sequence[str] = ()) -> None:
        self.name, self.rows = name, [row for row in rows if "" not in row[1:]]
        self.tested: str | None = None
        self.classes: tuple[str, ...] = ()
        found = list(faults)
        if not rows and not faults:
            found.append(f"{name} has no rows: each must name an image and its class.")
        if wrong := [row.place for row in rows if "" in row[1:]]:
            what = "an empty path, class, split or group"
            found.append(f"{name}: {what} in {len(wrong):,} of {len(rows):,} rows: {listed(wrong)}.")
        found += self._repeats()
        if unknown := [*self._unknown_splits()]:
            found += unknown  # what is misspelt would be told again, as a split or a class that is missing
        else:
            found += self._split()
        if found:
            raise UserError(" ".join(found))

    @property
    def is_split(self) -> bool:
        """Whether the rows say what is tested."""
        return self.tested is not None

    def part(self, name: str, limit: int | None) -> list[Row]:
        """The rows of the split called "train" or "test", or all where none is named; so many of each class at most."""
        rows = self._of(name)
        return [rows[number] for number in selected_of_each([row.label for row in rows], limit)]

    def labels(self, rows: Sequence[Row]) -> list[int]:
        """The number of the class of each."""
        numbers = {name: number for number, name in enumerate(self.classes)}
        return [numbers[row.label] for row in rows]

    def groups(self, rows: Sequence[Row]) -> list[str] | None:
        """What each belongs to, where the table says it."""
        found = [row.group for row in rows if row.group is not None]
        return found if len(found) == len(rows) and rows else None

    def _of(self, name: str) -> list[Row]:
        wanted = {"train": "train", "test": self.tested}[name]
        return [row for row in self.rows if self.tested is None or _lower(row.split) == wanted]

    def _unknown_splits(self) -> Iterator[str]:
        known = ("train", *TESTS)
        unknown = {row.split: row.place for row in reversed(self.rows) if row.split and _lower(row.split) not in known}
        for split, place in sorted(unknown.items()):
            yield f"{self.name}, {place}: unknown split {split!r}.{did_you_mean(split, known)}"

    def _repeats(self) -> Iterator[str]:
        first: dict[str, Row] = {}
        repeats: list[str] = []
        for row in self.rows:
            if (before := first.setdefault(row.item, row)) is not row:
                other = "" if before.label == row.label else f", as {before.label!r} and as {row.label!r}"
                repeats.append(f"{row.item} ({before.place} and {row.place}{other})")
        if repeats:
            yield f"{self.name} names {len(repeats):,} images twice: {listed(repeats)}. Keep one row of each."

    def _split(self) -> Iterator[str]:
        """Find out what is tested, and the classes; what is left out besides is said."""
        counts = Counter(_lower(row.split) for row in self.rows if row.split is not None)
        self.tested = next((name for name in TESTS if name in counts), None)
        if counts and (self.tested is None or "train" not in counts):
            yield (
                f"{self.name} has the split {next(iter(counts))} alone: there must be train and one of "
                f"{', '.join(TESTS)}, or no splits."
            )
            return
        for name in counts.keys() - {"train", self.tested}:
            say(
                f"Warning: {self.name}: {counts[name]:,} images of the split {name} are not used; {self.tested} is "
                "tested."
            )
        self.classes = tuple(sorted({row.label for row in self._of("train")}))
        if extra := sorted({row.label for row in self._of("test")} - {*self.classes}):
            known = listed(self.classes)
            yield f"{self.name}: its test split has classes that train has not: {listed(extra)}. Known: {known}."


def _lower(split: str | None) -> str:
    return (split or "").lower()
