"""The order of samples and their random numbers: pure functions of (seed, epoch, index).

A sample that is taken more than once in an epoch has an index for each time: its number, then as many more as there are
samples, and so on. So it is augmented otherwise each time.

Nothing here knows how many processes there are, so any number of them sees the same batches.
"""

import hashlib
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float32, Int64
from torch import Tensor

from capsnet_dist.errors import UserError

_DRAW_BITS = 24  # as many as a float32 holds exactly


class Order:
    """Which samples make up each global batch.

    Every epoch is a permutation of its own; its last samples that fill no batch are left out, others each time.

    Args:
        num_samples: Size of the training set.
        batch_size: Size of a global batch.
        seed: The run's seed.
    """

    def __init__(self, num_samples: int, batch_size: int, seed: int) -> None:
        self.num_samples, self.batch_size, self.seed = num_samples, batch_size, seed
        self.steps_per_epoch = num_samples // batch_size
        self._kept: dict[int, Int64[Tensor, " n"]] = {}

    def epoch(self, step: int) -> int:
        """The epoch that a step belongs to, from 0."""
        return step // self.steps_per_epoch

    def batch(self, step: int) -> Int64[Tensor, " batch"]:
        """Indices of the samples of a step's global batch."""
        start = step % self.steps_per_epoch * self.batch_size
        return self.all(self.epoch(step))[start : start + self.batch_size]

    def shard(self, step: int, part: int, parts: int) -> Int64[Tensor, " shard"]:
        """The part-th of equal consecutive parts of a step's global batch."""
        size = self.batch_size // parts
        return self.batch(step)[part * size : (part + 1) * size]

    def all(self, epoch: int) -> Int64[Tensor, " n"]:
        """Indices of the samples of an epoch, in their order; they are pure, so the last ones are kept."""
        if epoch not in self._kept:
            while len(self._kept) > 1:
                self._kept.pop(next(iter(self._kept)))
            self._kept[epoch] = self._draw(torch.Generator().manual_seed(derive(self.seed, "order", epoch)))
        return self._kept[epoch]

    def samples(self, indices: Int64[Tensor, "*m"]) -> Int64[Tensor, "*m"]:
        """Which samples indices stand for."""
        return indices

    def _draw(self, generator: torch.Generator) -> Int64[Tensor, " n"]:
        return torch.randperm(self.num_samples, generator=generator)


class BalancedOrder(Order):
    """As many samples of each class in an epoch, which is as long as ever.

    No sample of a class is repeated before all others of it were taken, and of a class with too many samples each epoch
    takes others. What the classes cannot share evenly goes to some of them, others each time.

    Args:
        labels: Label of each training sample.
        batch_size: Size of a global batch.
        seed: The run's seed.
    """

    def __init__(self, labels: Int64[Tensor, " n"], batch_size: int, seed: int) -> None:
        super().__init__(len(labels), batch_size, seed)
        self.members = [(labels == label).nonzero()[:, 0] for label in labels.unique()]

    def samples(self, indices: Int64[Tensor, "*m"]) -> Int64[Tensor, "*m"]:
        """Which samples indices stand for, whenever in the epoch they are taken."""
        return indices % self.num_samples

    def _draw(self, generator: torch.Generator) -> Int64[Tensor, " n"]:
        def permuted(indices: Int64[Tensor, " m"]) -> Int64[Tensor, " m"]:
            return indices[torch.randperm(len(indices), generator=generator)]

        share, left = divmod(self.num_samples, len(self.members))
        more = set(permuted(torch.arange(len(self.members)))[:left].tolist())
        taken: list[Int64[Tensor, " m"]] = []
        for number, members in enumerate(self.members):
            wanted = share + (number in more)
            times = range(-(-wanted // len(members)))
            rounds = [permuted(members) + self.num_samples * time for time in times]
            taken += [torch.cat(rounds)[:wanted]] if rounds else []
        return permuted(torch.cat(taken))


def make_order(
    sampling: Literal["uniform", "balanced"],
    labels: Int64[Tensor, "n *m"],
    batch_size: int,
    seed: int,
) -> Order:
    """The order of a training.

    Args:
        sampling: Whether each sample is taken once an epoch, or as many of each class.
        labels: Those of the training samples, on the host.
        batch_size: Size of a global batch.
        seed: The run's seed.

    Raises:
        UserError: samples of several classes each cannot be balanced.
    """
    if sampling == "uniform":
        return Order(len(labels), batch_size, seed)
    if labels.ndim > 1:
        raise UserError("--sampling balanced: images have several labels each; they can be taken as they come only.")
    return BalancedOrder(labels, batch_size, seed)


def derive(seed: int, *purpose: str | int) -> int:
    """A seed for one purpose, unrelated to those for others."""
    text = "/".join(map(str, (seed, *purpose)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=7).digest(), "big")


def key(seed: int, epoch: int) -> Int64[Tensor, ""]:
    """What the random numbers of an epoch are made from."""
    return torch.tensor(derive(seed, "augment", epoch))


def draws(key: Int64[Tensor, ""], indices: Int64[Tensor, " b"], num_draws: int) -> Float32[Tensor, "b k"]:
    """Uniform numbers in [0, 1) for samples of an epoch, the same on every device and in every batch.

    A counter-based generator: the finalizer of SplitMix64 (Steele et al., 2014) on a counter made of index and draw.

    Args:
        key: That of the epoch, where the indices are.
        indices: Which samples.
        num_draws: Numbers for each of them.
    """
    counter = rearrange(indices, "b -> b 1") * num_draws + torch.arange(num_draws, device=indices.device)
    bits = mix(mix(key + counter) + key)
    return shift_right(bits, 64 - _DRAW_BITS).float() / 2**_DRAW_BITS


def partners(key: Int64[Tensor, ""], samples: Int64[Tensor, "*b"], number: int) -> Int64[Tensor, "*b"]:
    """Another sample for each: all but itself are equally likely, the same on every device and in every batch.

    Args:
        key: That of the epoch, where the samples are.
        samples: Whose partners.
        number: How many samples there are.
    """
    drawn = draws(~key, samples.flatten(), 1)[:, 0].double()  # of another stream than augmentations draw from
    found = (drawn * (number - 1)).long().reshape(samples.shape)
    return found + (found >= samples)


def mix(bits: Int64[Tensor, "*n"]) -> Int64[Tensor, "*n"]:
    """The finalizer of SplitMix64; integers wrap around."""
    bits = (bits ^ shift_right(bits, 30)) * -0x40A7B892E31B1A47
    bits = (bits ^ shift_right(bits, 27)) * -0x6B2FB644ECCEEE15
    return bits ^ shift_right(bits, 31)


def shift_right(bits: Int64[Tensor, "*n"], places: int) -> Int64[Tensor, "*n"]:
    """Shift as an unsigned number would: zeros come in from the left."""
    return (bits >> places) & ((1 << (64 - places)) - 1)
