"""What every split of a data set must be, checked once before the first step."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, cast

import torch
from jaxtyping import Int64
from torch import Tensor

from capsnet_dist.errors import UserError
from capsnet_dist.images.made import Made
from capsnet_dist.images.stored import Stored
from capsnet_dist.plugins import Image, Split


def check_splits(splits: Mapping[str, object], num_classes: int, data: str) -> None:
    """Refuse splits that a training could not use, or would take for something else.

    Args:
        splits: By name.
        num_classes: How many names the data set gives.
        data: Name of the data set.

    Raises:
        UserError: with the data set, the split, the value and the rule.
    """
    shapes = {name: check_split(split, num_classes, f"Data set {data}, split {name}") for name, split in splits.items()}
    (first, expected), *others = shapes.items()
    for name, shape in others:
        if shape != expected:
            raise UserError(
                f"Data set {data}: images of split {name} are {_sides(shape)}, those of split {first} "
                f"{_sides(expected)}: all must have the same channels, height and width."
            )
    number = {tuple(cast(Split, split).labels.shape[1:]) for split in splits.values()}
    if len(number) > 1:
        raise UserError(f"Data set {data}: images of all splits must have equally many labels.")


def check_split(split: object, num_classes: int, place: str) -> Image:
    """The shape of the images of a split, if it can be used.

    Args:
        split: What a data set gave.
        num_classes: How many names the data set gives.
        place: Data set and split, for messages.

    Raises:
        UserError: with the place, the value and the rule.
    """
    if not isinstance(split, Split):
        raise UserError(f"{place}: must be a capsnet_dist.Split of images and labels; got {type(split).__name__}.")
    images, labels = cast(tuple[Any, Any], split)
    for what, given, kind, axes in (("images", images, torch.uint8, (4,)), ("labels", labels, torch.int64, (1, 2))):
        if not isinstance(given, Tensor | Stored | Made if what == "images" else Tensor):
            raise UserError(f"{place}: {what} must be a tensor; got {type(given).__name__}.")
        if given.dtype is not kind:
            wanted, found = (str(dtype).removeprefix("torch.") for dtype in (kind, given.dtype))
            rule = "pixels from 0 to 255" if kind is torch.uint8 else "numbers of classes"
            raise UserError(f"{place}: {what} must be {wanted}, {rule}; got {found}.")
        if given.ndim not in axes:
            rule = "samples x channels x height x width" if what == "images" else "one, or several, for each sample"
            raise UserError(f"{place}: {what} must be {rule}; got the shape {_sides(tuple(given.shape))}.")
    if len(labels) != len(images):
        raise UserError(f"{place}: there must be a label for each image; got {len(images):,} and {len(labels):,}.")
    if not min(images.shape[1:]):
        raise UserError(f"{place}: images have no pixels: {_sides(tuple(images.shape[1:]))}.")
    _check_range(labels, num_classes, place)
    if labels.ndim > 1:
        _check_objects(labels, num_classes, place)
    return cast(Image, tuple(images.shape[1:]))


def digest(splits: Iterable[Split]) -> str:
    """Of all pixels and labels; images in a file, and those that are made when needed, bring theirs."""
    sum_of_all = hashlib.blake2b(digest_size=16)
    for images, labels in splits:
        pixels = images.digest.encode() if isinstance(images, Stored | Made) else images.contiguous().numpy().data
        sum_of_all.update(pixels)
        sum_of_all.update(labels.contiguous().numpy().data)
    return sum_of_all.hexdigest()


def _check_range(labels: Int64[Tensor, "n *m"], num_classes: int, place: str) -> None:
    wrong = ((labels < 0) | (labels >= num_classes)).nonzero()
    if len(wrong):
        sample = int(wrong[0, 0])
        raise UserError(
            f"{place}: label {int(labels[tuple(wrong[0])])} of image {sample} names none of {num_classes} classes: "
            f"labels go from 0 to {num_classes - 1}."
        )


def _check_objects(labels: Int64[Tensor, "n m"], num_classes: int, place: str) -> None:
    """Several objects of an image are of different classes, and of fewer than all."""
    number = labels.shape[1]
    if not 1 < number < num_classes:
        raise UserError(
            f"{place}: {number} labels for each image: there must be at least 2, or one label without an axis for "
            f"them, and fewer than the {num_classes} classes."
        )
    ordered = labels.sort(dim=1).values
    twice = (ordered[:, 1:] == ordered[:, :-1]).any(dim=1).nonzero()[:, 0]
    if len(twice):
        sample = int(twice[0])
        raise UserError(
            f"{place}: image {sample} has a label twice: {labels[sample].tolist()}. Its objects must be of different "
            "classes."
        )


def _sides(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "of a single number"
