"""Two overlapping objects in one image (Sabour et al., 2017, section 6)."""

import copy
import hashlib

import torch
from jaxtyping import Int32, Int64, UInt8
from torch import Tensor
from torch.nn.functional import pad
from typing_extensions import override

from capsnet_dist.data.order import draws, key, mix, shift_right
from capsnet_dist.data.resample import pick, window
from capsnet_dist.errors import UserError
from capsnet_dist.images.made import Made
from capsnet_dist.plugins import Split

PADDING = 4
"""Black pixels added on each side."""
ROUNDS = 4  # of a Feistel network: three make a permutation look random to who sees its values (Luby and Rackoff, 1988)
CHUNK = 2**17  # pairs whose partners are looked for together


def pair_up(objects: Split, number: int, pixels: int, seed: int) -> Split:
    """Each object below so many others of other classes, no two times the same; both are moved about.

    Args:
        objects: Images of one object each, and its class.
        number: Pairs of each object.
        pixels: Largest shift in each direction.
        seed: What partners and shifts follow from.

    Raises:
        UserError: there are not as many objects of other classes.
    """
    partners = _partners(objects.labels, number, seed)
    labels = torch.stack([objects.labels.repeat_interleave(number), objects.labels[partners]], dim=1)
    return Split(Pairs(objects.pixels, partners, torch.arange(len(partners)), pixels, seed), labels)


class Pairs(Made):
    """Images of two objects: the sum of both, clipped at 255.

    As in the authors' code, the lower one has the same shift in all its pairs, and the upper one another in each. All
    shifts by whole pixels are equally likely.

    Args:
        objects: Images of one object each.
        partners: The upper object of each pair; the lower ones have equally many pairs, one after another.
        rows: Which of the pairs these are.
        pixels: Largest shift in each direction.
        seed: What shifts follow from.
    """

    def __init__(
        self,
        objects: UInt8[Tensor, "k c h w"],
        partners: Int32[Tensor, " pairs"],
        rows: Int64[Tensor, " n"],
        pixels: int,
        seed: int,
    ) -> None:
        channels, height, width = objects.shape[1:]
        sha = hashlib.blake2b(f"pairs {pixels} {seed}".encode(), digest_size=16)
        for held in (objects, partners):
            sha.update(held.cpu().contiguous().numpy().data)
        super().__init__((channels, height + 2 * PADDING, width + 2 * PADDING), rows, sha.hexdigest())
        self.objects, self.partners, self.pixels, self.seed = objects, partners, pixels, seed
        self.keys = torch.stack([key(seed, 0), key(seed, 1)]).to(objects.device)

    @override
    def make(self, rows: Int64[Tensor, " b"]) -> tuple[UInt8[Tensor, "b c h w"], UInt8[Tensor, "b m c h w"]]:
        lower = rows // (len(self.partners) // len(self.objects))
        places = [draws(self.keys[0], lower, 2), draws(self.keys[1], rows, 2)]
        chosen = [self.objects[lower], self.objects[self.partners[rows].long()]]
        apart = torch.stack([self._moved(*both) for both in zip(chosen, places, strict=True)], dim=1)
        return apart.sum(dim=1, dtype=torch.int16).clamp(max=255).byte(), apart

    @override
    def part(self, indices: Int64[Tensor, " m"]) -> "Pairs":
        return self._copied(self.rows[indices.to(self.device)])

    @override
    def to(self, device: torch.device | str) -> "Pairs":
        other = self._copied(self.rows.to(device))
        other.objects, other.partners = self.objects.to(device), self.partners.to(device)
        other.keys = self.keys.to(device)
        return other

    def _copied(self, rows: Int64[Tensor, " n"]) -> "Pairs":
        other = copy.copy(self)  # the digest need not be taken again
        other.rows = rows
        return other

    def _moved(self, images: UInt8[Tensor, "b c h w"], places: Tensor) -> UInt8[Tensor, "b c y x"]:
        top, left = (places * (2 * self.pixels + 1)).long().unbind(1)
        ground = pad(images, [PADDING + self.pixels] * 4)
        return pick(ground, window(top, self.image[1]), window(left, self.image[2]))


def _partners(labels: Int64[Tensor, " k"], number: int, seed: int) -> Int32[Tensor, " pairs"]:
    """For each object, one after another, so many others of other classes, drawn without putting any back."""
    counts = labels.bincount()
    sorted_by_class, starts = labels.argsort(stable=True), counts.cumsum(0) - counts
    others = len(labels) - counts[labels]
    if number > int(others.min()):
        raise UserError(
            f"{number} pairs of each object: there are only {int(others.min())} objects of other classes than "
            f"that of one of them. Take at most as many."
        )
    found: list[Int32[Tensor, " m"]] = []
    for rows in torch.arange(len(labels) * number).split(CHUNK):
        lower, place = rows // number, rows % number
        place = shuffled(place, others[lower], mix(key(seed, 2) + lower))
        own = labels[lower]
        place += counts[own] * (place >= starts[own])  # leap over the own class
        found.append(sorted_by_class[place].int())
    return torch.cat(found)


def shuffled(
    numbers: Int64[Tensor, " b"], sizes: Int64[Tensor, " b"], keys: Int64[Tensor, " b"]
) -> Int64[Tensor, " b"]:
    """Where a permutation of the numbers below each size takes these numbers; each key has a permutation of its own.

    A Feistel network on pairs of digits, followed until it leads below the size (Black and Rogaway, 2002).
    """
    sides = sizes.double().sqrt().ceil().long()

    def permuted(places: Int64[Tensor, " m"], which: Tensor) -> Int64[Tensor, " m"]:
        side, own = sides[which], keys[which]
        left, right = places // side, places % side
        for _ in range(ROUNDS):
            own = mix(own)
            left, right = right, (left + shift_right(mix(own + right), 32)) % side
        return left * side + right

    places = permuted(numbers, torch.arange(len(numbers)))
    while len(beyond := (places >= sizes).nonzero()[:, 0]):
        places[beyond] = permuted(places[beyond], beyond)
    return places
