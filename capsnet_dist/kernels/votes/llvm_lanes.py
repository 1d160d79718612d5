"""Votes combined and compared with 16 samples in the lanes of a vector, compiled by LLVM; the twin of `plain`.

The votes of a part for 16 samples are computed at a time, and never leave the core's first cache.
"""

from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from capsnet_dist.kernels.llvm.values import LANES
from capsnet_dist.kernels.llvm.vectors import ROWS
from capsnet_dist.kernels.scratch import scratch
from capsnet_dist.kernels.votes import llvm_lanes_loops
from capsnet_dist.kernels.votes.pieces import Division, Ranges, added, arrays

loops: Any = llvm_lanes_loops  # what is compiled has no types

ROOM = 2**16  # numbers in the gradients of a part's votes that live at a time: 256 KB of the second cache


def combine(
    poses: Float[Tensor, "b i p"], weight: Float[Tensor, "i j d p"], coupling: Float[Tensor, "b i j"]
) -> Float[Tensor, "b j d"]:
    """s_j = sum_i c_ij W_ij u_i."""
    pieces = pieces_of(poses, weight)
    s, inputs = pieces.by_wholes(), arrays(poses, pieces.weight, coupling)
    pieces.share(lambda some: loops.combine(*inputs, some, s.numpy(), *room(weight, "c")))
    return samples(added(s), weight, len(poses))


def agreement(
    poses: Float[Tensor, "b i p"], weight: Float[Tensor, "i j d p"], vectors: Float[Tensor, "b j d"]
) -> Float[Tensor, "b i j"]:
    """a_ij = v_j . W_ij u_i."""
    pieces, found = pieces_of(poses, weight), poses.new_empty(*poses.shape[:2], weight.shape[1])
    inputs, (A,) = arrays(poses, pieces.weight, grouped(vectors)), arrays(found)
    pieces.share(lambda some: loops.agreement(*inputs, some, A, *room(weight, "c")))
    return found


def input_gradients(
    poses: Float[Tensor, "b i p"],
    weight: Float[Tensor, "i j d p"],
    coupling: Float[Tensor, "b i j"],
    vectors: Float[Tensor, "b j d"],
) -> tuple[Float[Tensor, "b i p"], Float[Tensor, "i j d p"]]:
    """sum_j c_ij W_ij^T v_j, and sum_b c_ij v_j u_i^T."""
    pieces = pieces_of(poses, weight)
    by_poses, gW = torch.empty_like(poses, memory_format=torch.contiguous_format), pieces.by_matrices()
    inputs, (gu,) = arrays(poses, pieces.weight, coupling, v := grouped(vectors)), arrays(by_poses)
    groups = chunk(v)

    def work(some: Ranges) -> None:
        a, _, c = room(weight, "c", groups=groups)
        gy, ga = gradient_room(weight, groups)
        loops.input_gradients(*inputs, some, gu, gW.numpy(), a, gy, c, ga)

    pieces.share(work)
    return by_poses, weight_gradient(added(gW), weight)


def pieces_of(poses: Float[Tensor, "b i p"], weight: Float[Tensor, "i j d p"]) -> Division:
    """How threads share groups, or parts."""
    W = matrices(weight)
    return Division(W, (-(-len(poses) // LANES), W.shape[1], LANES))


def matrices(weight: Float[Tensor, "i j d p"]) -> Float[Tensor, "i jd q"]:
    """With zeros after the numbers of a pose up to a multiple of eight."""
    missing = -weight.shape[3] % ROWS
    return rearrange(pad(weight, (0, missing)) if missing else weight, "i j d p -> i (j d) p").contiguous()


def weight_gradient(by_matrices: Float[Tensor, "i jd q"], weight: Float[Tensor, "i j d p"]) -> Float[Tensor, "i j d p"]:
    """The gradient of the weight from that of its matrices."""
    return rearrange(by_matrices, "i (j d) p -> i j d p", j=weight.shape[1])[..., : weight.shape[3]]


def grouped(vectors: Float[Tensor, "*t b j d"]) -> Float[Tensor, "g jd s"]:
    """Samples last, in groups; those of several iterations follow one another."""
    missing = -vectors.shape[-3] % LANES
    filled = pad(vectors, (0, 0, 0, 0, 0, missing)) if missing else vectors
    return rearrange(filled.flatten(0, -3), "(g s) j d -> g (j d) s", s=LANES).contiguous()


def samples(vectors: Float[Tensor, "g jd s"], weight: Float[Tensor, "i j d p"], number: int) -> Float[Tensor, "b j d"]:
    """The inverse."""
    return rearrange(vectors, "g (j d) s -> (g s) j d", j=weight.shape[1])[:number].contiguous()


def chunk(vectors: Float[Tensor, "g jd s"]) -> int:
    """Groups whose gradients of a part's votes live at a time."""
    return max(1, min(len(vectors), ROOM // vectors[:1].numel()))


def room(weight: Float[Tensor, "i j d p"], *couplings: str, groups: int = 1) -> list[Any]:
    """Memory for poses, votes and couplings of a part, which stays in the cache of the thread."""
    _, wholes, dim, numbers = weight.shape
    poses = scratch("a", weight, groups, numbers + -numbers % ROWS, LANES)
    votes = scratch("y", weight, wholes * dim, LANES)
    return arrays(poses, votes, *(scratch(use, weight, wholes, LANES) for use in couplings))


def gradient_room(weight: Float[Tensor, "i j d p"], groups: int) -> list[Any]:
    """The same for the gradients of its votes and poses."""
    columns = weight.shape[1] * weight.shape[2]
    return arrays(scratch("gy", weight, groups, columns, LANES), scratch("ga", weight, ROWS, LANES))
