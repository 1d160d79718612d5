"""The tables of a network's robustness, for people and for programs."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

Table = tuple[str, list[str], list[list[str]]]
"""Title, columns and rows."""

TITLES = {
    "transformation": "Transformed: accuracy, %",
    "corruption": "Corrupted as MNIST-C, by severity: accuracy, %",
    "attack": "Attacked, each pixel changed by at most eps: accuracy, %",
    "target": "Attacked so that another class, drawn for each image, is found: how often it is, %",
}
"""Of each kind of change, in the order of the tables."""
LEVELS = {"corruption": "{:g}", "attack": "eps {:g}", "target": "eps {:g}"}
"""How the columns of a kind are called that has levels."""


@dataclass(frozen=True)
class Row:
    """What a network achieves under one change."""

    kind: str
    """A key of `TITLES`."""
    name: str
    """Of the change."""
    level: float | None
    """How strong it is: severity, or eps of an attack; None where there are no levels."""
    share: float
    """Of the images that are predicted right, in [0, 1]; of targeted attacks, as the class that was wanted."""


@dataclass
class Report:
    """What a network achieves under all changes."""

    settings: Mapping[str, Any]
    """What it was tried on, and how."""
    images: int
    """How many images each number is of."""
    accuracy: float
    """That of the same images without a change, in [0, 1]."""
    rows: list[Row] = field(default_factory=list)
    """The changes."""
    findings: list[str] = field(default_factory=list)
    """What follows from the numbers, in sentences."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @property
    def error(self) -> float:
        """Half the width of the widest confidence interval of 95 % that a share of so many images can have."""
        return 1.96 * (0.25 / self.images) ** 0.5

    def tables(self) -> Iterator[Table]:
        """A table for each kind of change that was tried."""
        for kind, title in TITLES.items():
            if rows := [row for row in self.rows if row.kind == kind]:
                yield _table(title, rows, LEVELS.get(kind, ""))


def with_means(rows: Sequence[Row], name: str) -> list[Row]:
    """Rows of one kind, and the mean of all for each level."""
    levels: dict[float | None, list[float]] = {}
    for row in rows:
        levels.setdefault(row.level, []).append(row.share)
    return [*rows, *(Row(rows[0].kind, name, level, statistics.fmean(each)) for level, each in levels.items())]


def _table(title: str, rows: Sequence[Row], level: str) -> Table:
    """A line for each change and a column for each level."""
    levels = sorted({row.level for row in rows if row.level is not None})
    names = dict.fromkeys(row.name for row in rows)
    if not levels:
        return title, ["", "accuracy, %"], [[row.name, _percent(row.share)] for row in rows]
    cells = {(row.name, row.level): _percent(row.share) for row in rows}
    lines = [[name, *(cells.get((name, one), "–") for one in levels)] for name in names]
    return title, ["", *(level.format(one) for one in levels)], lines


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
