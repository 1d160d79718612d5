"""What a data set consists of: how many images of each class, which ones are there twice, and their means."""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float64
from torch import Tensor

from capsnet_dist.data.order import draws, key
from capsnet_dist.images.made import Made
from capsnet_dist.plugins import Augmentation, Split, to_unit

CHUNK = 1024  # images looked at together
LOOKED_AT = 20_000
"""Images, evenly from all, of which means are taken and the first shown, where images are made when needed."""


class Twice(NamedTuple):
    """How many images are there more than once, equal to the last bit."""

    train: int
    """Training images that an earlier one equals."""
    test: int
    """Test images that an earlier one equals."""
    both: int
    """Test images that are among the training images."""
    contradicted: int
    """Those of them that have another class there."""


def count(split: Split, num_classes: int) -> list[int]:
    """Images of each class."""
    return split.labels.flatten().bincount(minlength=num_classes).tolist()


def few(split: Split) -> Split:
    """A split that can be looked at whole: some of the images, where there is no limit to how many can be made."""
    if not isinstance(split.images, Made) or len(split.labels) <= LOOKED_AT:
        return split
    return split.part(torch.linspace(0, len(split.labels) - 1, LOOKED_AT, dtype=torch.float64).long())


def find_twice(train: Split, test: Split) -> Twice | None:
    """Images that are there more than once; None where images are made when needed, each otherwise."""
    if isinstance(train.images, Made) or isinstance(test.images, Made):
        return None
    known = {name: list(_digests(split)) for name, split in (("train", train), ("test", test))}
    labels = dict(zip(reversed(known["train"]), reversed(train.labels.tolist()), strict=True))
    again = [label != labels[d] for d, label in zip(known["test"], test.labels.tolist(), strict=True) if d in labels]
    repeated = {name: len(found) - len(set(found)) for name, found in known.items()}
    return Twice(repeated["train"], repeated["test"], len(again), sum(again))


def means(split: Split, num_classes: int) -> Float64[Tensor, "j c h w"]:
    """The mean image of each class in [0, 1], black where there is none."""
    first = split.select(torch.zeros(1, dtype=torch.int64)).images
    sums = torch.zeros(num_classes, *first.shape[1:], dtype=torch.float64)
    for part in _chunks(split):
        pixels = to_unit(part.pixels, torch.float64)
        for labels in rearrange(part.labels, "n ... -> (...) n"):  # an image of several objects counts for each
            sums.index_add_(0, labels, pixels)
    counts = split.labels.flatten().bincount(minlength=num_classes).clamp(min=1)
    return sums / counts[:, None, None, None]


def sheet(
    split: Split, num_classes: int, augmentation: Augmentation, seed: int, number: int = 11
) -> Float64[Tensor, "j m c y x"]:
    """A row for each class: its mean image as evaluation sees them, then the first images as training sees them.

    Args:
        split: The training images.
        num_classes: How many classes there are.
        augmentation: Random changes to them.
        seed: What the changes follow from.
        number: Images of each class; where there are fewer, they are repeated.
    """
    rows: list[Float64[Tensor, "m c y x"]] = []
    average = to_unit(augmentation.still((255 * means(split, num_classes)).round().byte()), torch.float64)
    for label in range(num_classes):
        members = (rearrange(split.labels, "n ... -> n (...)") == label).any(dim=1).nonzero()[:, 0]
        row = average[label : label + 1]
        if len(members):
            indices = members[torch.arange(number) % len(members)]
            numbers = draws(key(seed, 0), indices, augmentation.num_draws)
            seen = to_unit(augmentation(split.select(indices).pixels, numbers), torch.float64)
            row = torch.cat([row, seen])
        rows.append(torch.cat([row, row.new_zeros(number + 1 - len(row), *row.shape[1:])]))
    return torch.stack(rows)


def _chunks(split: Split) -> Iterator[Split]:
    for indices in torch.arange(len(split.labels)).split(CHUNK):
        yield split.select(indices)


def _digests(split: Split) -> Iterator[bytes]:
    for part in _chunks(split):
        for image in part.pixels.numpy():
            yield hashlib.blake2b(image.tobytes(), digest_size=16).digest()
