"""Which images are taken and which held out: by share or fold, alike of every class, and groups that stay together."""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import NamedTuple, TypeVar

import torch
from jaxtyping import Int64
from torch import Tensor

from capsnet_dist.errors import UserError
from capsnet_dist.plugins import GroupedDataset

T = TypeVar("T")


class Division(NamedTuple):
    """How images that are not yet split become training and test images.

    Args:
        share: Share of each class that is tested.
        seed: Other seeds hold out other images.
        folds: How many parts to make, of which one is tested; None: tested is `share`.
        fold: Which of them, counted from 0.
    """

    share: float = 0.2
    seed: int = 0
    folds: int | None = None
    fold: int = 0

    def check(self, *, is_split: bool = False) -> None:
        """Refuse a fold that there is not, and to divide what has a test split already.

        Raises:
            UserError: with the number and the rule.
        """
        if self.folds is not None and is_split:
            raise UserError(
                f"--data.folds {self.folds}: the data have a test split already. Give the training images alone, or "
                "leave it out."
            )
        if self.folds is None and self.fold:
            raise UserError(f"--data.fold {self.fold}: say of how many, --data.folds K.")
        if self.folds is not None and self.folds < 2:
            raise UserError(f"--data.folds {self.folds}: there must be at least two, one to test and one to train on.")
        if self.folds is not None and self.fold >= self.folds:
            raise UserError(f"--data.fold {self.fold}: must be less than --data.folds {self.folds}, counted from 0.")

    def part(
        self, name: str, labels: Int64[Tensor, "n *m"], groups: Int64[Tensor, " n"] | None = None
    ) -> Int64[Tensor, " m"]:
        """Indices of the "train" or the "test" images. A share of 1 tests all, whatever the folds; a share of 0 none.

        Raises:
            UserError: there are too few images to test any.
        """
        if self.folds is None or self.share == 1:
            kept, held = hold_out(labels, self.share, groups, self.seed)
            which = f"--data.share {self.share:g}"
        else:
            is_tested = folded(labels, self.folds, groups, self.seed) == self.fold
            kept, held = (part.nonzero()[:, 0] for part in (~is_tested, is_tested))
            which = f"--data.fold {self.fold} of {self.folds}"
        if not len(held) and self.share:
            raise UserError(
                f"{which} leaves no test images: there are only {len(labels):,}. Give a larger share, or more images."
            )
        return {"train": kept, "test": held}[name]


def groups_of(data: object) -> Int64[Tensor, " n"] | None:
    """The groups of the training images of a data set, if it has any."""
    return data.groups("train") if isinstance(data, GroupedDataset) else None


def numbered(groups: Sequence[str]) -> Int64[Tensor, " n"]:
    """The number of the group of each image."""
    numbers = {group: number for number, group in enumerate(sorted({*groups}))}
    return torch.tensor([numbers[group] for group in groups], dtype=torch.int64)


def hold_out_of_few(
    labels: Int64[Tensor, "n *m"], share: float, per_class: int | None, groups: Int64[Tensor, " n"] | None = None
) -> tuple[Int64[Tensor, " kept"], Int64[Tensor, " held"]]:
    """As `hold_out`, of a selection of so many images of each class that is always the same; None: of all."""
    labels = _first(labels)
    rows = torch.tensor(selected_of_each(labels.tolist(), per_class)) if per_class else torch.arange(len(labels))
    kept, held = hold_out(labels[rows], share, None if groups is None else groups[rows])
    return rows[kept], rows[held]


def hold_out(
    labels: Int64[Tensor, "n *m"], share: float, groups: Int64[Tensor, " n"] | None = None, seed: int = 0
) -> tuple[Int64[Tensor, " kept"], Int64[Tensor, " held"]]:
    """Indices to keep and indices to hold out: the same share of every class, for one seed always the same samples.

    Args:
        labels: Class of each sample; those with several count as of the first.
        share: How much to hold out; with groups as nearly as whole groups allow.
        groups: Group of each sample, all on one side.
        seed: What the choice follows from.
    """
    labels = _first(labels)
    if groups is not None:
        held = _assigned(labels, groups, [1 - share, share], seed) == 1
        return (~held).nonzero()[:, 0], held.nonzero()[:, 0]
    shuffled = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    held = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique():
        members = shuffled[labels[shuffled] == label]
        held[members[: round(share * len(members))]] = True
    return (~held).nonzero()[:, 0], held.nonzero()[:, 0]


def folded(
    labels: Int64[Tensor, "n *m"], folds: int, groups: Int64[Tensor, " n"] | None = None, seed: int = 0
) -> Int64[Tensor, " n"]:
    """The fold of each sample, from 0: sizes of folds, and of a class in them, differ by one at most without groups."""
    labels = _first(labels)
    if groups is not None:
        return _assigned(labels, groups, [1 / folds] * folds, seed)
    shuffled = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    by_class = shuffled[labels[shuffled].argsort(stable=True)]
    fold = torch.empty_like(labels)
    fold[by_class] = torch.arange(len(labels)) % folds
    return fold


def _first(labels: Int64[Tensor, "n *m"]) -> Int64[Tensor, " n"]:
    """The class of each sample; of those with several the first."""
    return labels if labels.ndim == 1 else labels[:, 0]


def _assigned(
    labels: Int64[Tensor, " n"], groups: Int64[Tensor, " n"], shares: list[float], seed: int
) -> Int64[Tensor, " n"]:
    """The part of each sample: the largest groups first, each where the shares of its classes then fit best."""
    _, classes = labels.unique(return_inverse=True)
    _, numbers, sizes = groups.unique(return_inverse=True, return_counts=True)
    totals = classes.bincount().double()
    wanted = torch.outer(torch.tensor(shares, dtype=torch.float64), totals)
    given = torch.zeros_like(wanted)
    members = numbers.argsort(stable=True).split(sizes.tolist())
    shuffled = torch.randperm(len(sizes), generator=torch.Generator().manual_seed(seed))
    part = torch.empty_like(labels)
    for group in shuffled[sizes[shuffled].argsort(descending=True, stable=True)].tolist():
        more = classes[members[group]].bincount(minlength=len(totals)).double()
        growth = (more * (2 * (given - wanted) + more) / totals.square()).sum(dim=1)  # of the squared errors
        chosen = int(growth.argmin())
        given[chosen] += more
        part[members[group]] = chosen
    return part


def selected(found: Sequence[T], limit: int | None) -> Sequence[T]:
    """All that was found of a class, or a selection in the same order that is always the same."""
    if limit is None or len(found) <= limit:
        return found
    chosen = torch.randperm(len(found), generator=torch.Generator().manual_seed(0))[:limit]
    return [found[index] for index in sorted(chosen.tolist())]


def selected_of_each(labels: Sequence[Hashable], limit: int | None) -> list[int]:
    """The numbers, in order, of all that have these labels, or of a selection of so many of each class."""
    by_class = defaultdict[Hashable, list[int]](list)
    for number, label in enumerate(labels):
        by_class[label].append(number)
    return sorted(number for found in by_class.values() for number in selected(found, limit))
