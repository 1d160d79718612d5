"""Images that a Python program gives: arrays, tensors, or the items of a torch data set."""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int64
from torch import Tensor

from capsnet_dist.data.checks import check_splits, digest
from capsnet_dist.data.division import Division, numbered
from capsnet_dist.data.items import as_images, as_labels, known_names, read_items
from capsnet_dist.errors import UserError
from capsnet_dist.images.fit import Fit
from capsnet_dist.plugins import Dataset, Split, datasets
from capsnet_dist.ranges import Count, Natural, Share
from capsnet_dist.registry import Choice


class Given(NamedTuple):
    """What a program gave."""

    classes: tuple[str, ...]
    splits: dict[str, Split]
    """Training and test images, or all under "train", to be divided."""
    groups: Int64[Tensor, " n"] | None
    """Group of each of the training images."""
    fit: Fit | None
    """How pictures became the images."""


_given: dict[str, Given] = {}
"""By digest; configurations name it, and cannot hold the images themselves."""


@datasets.register("python")
class FromPython:
    """Images that a Python program gave, by `capsnet_dist.from_arrays` or `capsnet_dist.from_dataset`.

    Args:
        digest: Of these images, labels and names; found by the functions that take them.
        share: Share of each class that is the test split where none was given; always the same images. 1: all of them.
        seed: With another seed other images are the test split.
        folds: Divide the images into so many parts instead, of which one is the test split.
        fold: Which part that is, from 0.

    Raises:
        UserError: this program has given no such images.
    """

    def __init__(
        self, *, digest: str = "", share: Share = 0.2, seed: Natural = 0, folds: Count | None = None, fold: Natural = 0
    ) -> None:
        if digest not in _given:
            raise UserError(
                "The images came from a Python program, by capsnet_dist.from_arrays or from_dataset, and are in no "
                "file: name a data set, --data NAME, or call this from Python after the same images were given again."
            )
        self.classes, self.splits, self.all_groups, self.fit = _given[digest]
        self.division = Division(share, seed, folds, fold)
        self.division.check(is_split="test" in self.splits)

    def split(self, name: str) -> Split:
        """The split called "train" or "test"."""
        if "test" in self.splits:
            return self.splits[name]
        whole = self.splits["train"]
        return whole.part(self.division.part(name, whole.labels, self.all_groups))

    def groups(self, name: str) -> Int64[Tensor, " n"] | None:
        """The number of the group of each image of a split; None where each stands for itself."""
        if self.all_groups is None or "test" in self.splits:
            return self.all_groups if name == "train" else None
        return self.all_groups[self.division.part(name, self.splits["train"].labels, self.all_groups)]


def from_arrays(
    images: Tensor | np.ndarray,
    labels: Tensor | np.ndarray | Sequence[Any],
    *,
    test: tuple[Tensor | np.ndarray, Tensor | np.ndarray | Sequence[Any]] | None = None,
    classes: Sequence[str] = (),
    groups: Sequence[Any] | None = None,
) -> Choice[Dataset]:
    """A data set of arrays or tensors, for `Run(data=...)`.

    Without test images some are held out: `.replace(share=0.3)`, or `.replace(folds=5, fold=0)`, says which.

    Args:
        images: uint8, or floating point in [0, 1]. Arrays: n x height x width, or with channels last. Tensors: n x
            height x width, or with channels first.
        labels: Numbers of classes from 0, or their names.
        test: Images and labels of the test split.
        classes: Name of each class, in order; names in the labels are sorted, and numbers are their own names.
        groups: What each image belongs to, such as a person: no split separates images of a group.

    Raises:
        UserError: images or labels cannot be used.
    """
    parts = {"train": (images, labels)} | ({} if test is None else {"test": test})
    read = {name: (as_images(given, f"{name} images"), list(_entries(named))) for name, (given, named) in parts.items()}
    return _keep(read, classes, groups, None)


def from_dataset(
    train: Any,
    test: Any = None,
    *,
    classes: Sequence[str] = (),
    groups: Sequence[Any] | None = None,
    fit: Fit | None = None,
) -> Choice[Dataset]:
    """A data set of the items of a torch data set, each an image and a label, for `Run(data=...)`.

    Every item is read once and kept in memory, so what a random transform makes of it stays as it is.

    Args:
        train: The data set. Its images are pictures of Pillow, arrays or tensors as in `from_arrays`.
        test: Another one for the test split; without it some images are held out, as in `from_arrays`.
        classes: Name of each class, in order; if not given, `classes` of the data set, or else as in `from_arrays`.
        groups: What each image belongs to, such as a person: no split separates images of a group.
        fit: Brings pictures of Pillow to one size; saved with the network, so that it is given others likewise.

    Raises:
        UserError: items are of another kind, or of several sizes.
    """
    parts = {"train": train} | ({} if test is None else {"test": test})
    read = {name: read_items(items, fit, f"{name} images") for name, items in parts.items()}
    return _keep(read, classes or known_names(train), groups, fit)


def _keep(
    parts: dict[str, tuple[Tensor, list[Any]]], classes: Sequence[str], groups: Sequence[Any] | None, fit: Fit | None
) -> Choice[Dataset]:
    """Check what was given, and remember it under its digest."""
    names, labels = as_labels({name: given for name, (_, given) in parts.items()}, classes)
    splits = {name: Split(images, labels[name]) for name, (images, _) in parts.items()}
    check_splits(splits, len(names), "python")
    if groups is not None and len(groups) != len(splits["train"].labels):
        raise UserError(
            f"groups: one is needed for each of {len(splits['train'].labels):,} images; got {len(groups):,}."
        )
    numbers = None if groups is None else numbered([str(group) for group in groups])
    key = hashlib.blake2b(digest(splits.values()).encode(), digest_size=16)
    key.update(repr((names, fit, None if numbers is None else numbers.tolist())).encode())
    _given[key.hexdigest()] = Given(names, splits, numbers, fit)
    return datasets("python", digest=key.hexdigest())


def _entries(labels: Tensor | np.ndarray | Sequence[Any]) -> Sequence[Any]:
    """Labels as plain values."""
    return labels.reshape(-1).tolist() if isinstance(labels, Tensor | np.ndarray) else labels
