"""The tables of a network's robustness, for people and for programs."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from capsnet_dist.robustness.trial import Key, Tried

Table = tuple[str, list[str], list[list[str]]]
"""Title, columns and rows."""

TITLES = {
    "transformation": "Transformed: accuracy, %",
    "corruption": "Corrupted as MNIST-C, by severity: accuracy, %",
    "attack": "Attacked, each pixel changed by at most eps: accuracy, %",
    "target": "Attacked so that another class, drawn for each image, is found: how often it is, %",
    "told apart": "Told from unchanged images by what is not rebuilt: area under the ROC curve, %",
    "let through": "Attacked, wrong, and not rejected where one unchanged image in twenty is: share of all, %",
}
"""Of each kind of change, in the order of the tables."""
LEVELS = {"corruption": "{:g}", "attack": "eps {:g}", "target": "eps {:g}", "let through": "eps {:g}"}
"""How the columns of a kind are called that has levels."""
ALL, MEAN = "all attacks", "mean of all"


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
    """Of the images that are predicted right, in [0, 1], or what the title of the kind says."""


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


def label(kind: str, name: str, level: float | None) -> str:
    """A change in words, with how strong it is."""
    if level is None:
        return name
    return f"{name}, {'severity' if kind == 'corruption' else 'eps'} {level:g}"


def rows(tried: Mapping[Key, Tried]) -> list[Row]:
    """A row for each change, for the mean of all corruptions, and for all attacks together.

    What withstands all attacks is right under each; towards another class it is enough that one attack gets there.
    """
    found = [Row(*key, one.share) for key, one in tried.items() if key[0] in TITLES]
    for kind, level in dict.fromkeys((kind, level) for kind, _, level in tried):
        own = [one for (other, _, at), one in tried.items() if (other, at) == (kind, level)]
        if kind == "corruption":
            found.append(Row(kind, MEAN, level, statistics.fmean(one.share for one in own)))
        if kind in ("attack", "target"):
            right = torch.stack([one.right for one in own])
            whole = right.all(dim=0) if kind == "attack" else right.any(dim=0)
            found.append(Row(kind, ALL, level, whole.float().mean().item()))
    return found


def _table(title: str, rows: Sequence[Row], level: str) -> Table:
    """A line for each change and a column for each level."""
    levels = sorted({row.level for row in rows if row.level is not None})
    names = dict.fromkeys(row.name for row in rows)
    if not levels:
        return title, ["", "%"], [[row.name, _percent(row.share)] for row in rows]
    cells = {(row.name, row.level): _percent(row.share) for row in rows}
    lines = [[name, *(cells.get((name, one), "–") for one in levels)] for name in names]
    return title, ["", *(level.format(one) for one in levels)], lines


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
