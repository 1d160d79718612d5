"""The order of samples and their random numbers: pure functions of (seed, epoch, index).

Nothing here knows how many processes there are, so any number of them sees the same batches.
"""

import hashlib
from functools import lru_cache

import torch
from einops import rearrange
from jaxtyping import Float32, Int64
from torch import Tensor

_DRAW_BITS = 24  # as many as a float32 holds exactly


def hold_out(labels: Int64[Tensor, " n"], share: float) -> tuple[Int64[Tensor, " kept"], Int64[Tensor, " held"]]:
    """Indices to keep and indices to hold out: the same share of every class, always the same samples."""
    shuffled = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    held = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique():
        members = shuffled[labels[shuffled] == label]
        held[members[: round(share * len(members))]] = True
    return (~held).nonzero()[:, 0], held.nonzero()[:, 0]


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

    def epoch(self, step: int) -> int:
        """The epoch that a step belongs to, from 0."""
        return step // self.steps_per_epoch

    def batch(self, step: int) -> Int64[Tensor, " batch"]:
        """Indices of the samples of a step's global batch."""
        start = step % self.steps_per_epoch * self.batch_size
        return _permutation(self.num_samples, self.seed, self.epoch(step))[start : start + self.batch_size]

    def shard(self, step: int, part: int, parts: int) -> Int64[Tensor, " shard"]:
        """The part-th of equal consecutive parts of a step's global batch."""
        size = self.batch_size // parts
        return self.batch(step)[part * size : (part + 1) * size]


@lru_cache(maxsize=2)
def _permutation(num_samples: int, seed: int, epoch: int) -> Int64[Tensor, " n"]:
    generator = torch.Generator().manual_seed(derive(seed, "order", epoch))
    return torch.randperm(num_samples, generator=generator)


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
    bits = _mix(_mix(key + counter) + key)
    return _shift_right(bits, 64 - _DRAW_BITS).float() / 2**_DRAW_BITS


def _mix(bits: Int64[Tensor, "*n"]) -> Int64[Tensor, "*n"]:
    """The finalizer of SplitMix64; integers wrap around."""
    bits = (bits ^ _shift_right(bits, 30)) * -0x40A7B892E31B1A47
    bits = (bits ^ _shift_right(bits, 27)) * -0x6B2FB644ECCEEE15
    return bits ^ _shift_right(bits, 31)


def _shift_right(bits: Int64[Tensor, "*n"], places: int) -> Int64[Tensor, "*n"]:
    """Shift as an unsigned number would: zeros come in from the left."""
    return (bits >> places) & ((1 << (64 - places)) - 1)
