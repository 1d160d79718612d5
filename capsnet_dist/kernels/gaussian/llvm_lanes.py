"""Votes and Gaussian wholes with 16 samples in the lanes of a vector, compiled by LLVM; the twin of `plain`.

Rows of a pose that share a matrix join the samples.
"""

from typing import Any

import torch
from einops import rearrange, reduce, repeat
from jaxtyping import Float
from torch import Tensor

from capsnet_dist.kernels.gaussian import llvm_lanes_loops
from capsnet_dist.kernels.gaussian.plain import Gradients
from capsnet_dist.kernels.votes.llvm_lanes import (
    chunk,
    gradient_room,
    grouped,
    pieces_of,
    room,
    samples,
    weight_gradient,
)
from capsnet_dist.kernels.votes.pieces import Ranges, added, arrays

loops: Any = llvm_lanes_loops  # what is compiled has no types


def distances(
    poses: Float[Tensor, "b i r p"],
    weight: Float[Tensor, "i j d p"],
    means: Float[Tensor, "b r j d"],
    precisions: Float[Tensor, "b r j d"],
) -> Float[Tensor, "b i j"]:
    """f by c."""
    rows, u = poses.shape[2], _each(poses)
    pieces, found = pieces_of(u, weight), u.new_empty(*u.shape[:2], weight.shape[1])
    inputs, (D,) = arrays(u, pieces.weight, _wholes(means), _wholes(precisions)), arrays(found)
    pieces.share(lambda some: loops.distances(*inputs, some, D, *room(weight, "c")))
    return reduce(found, "(b r) i j -> b i j", "sum", r=rows)


def spread(
    poses: Float[Tensor, "b i r p"],
    weight: Float[Tensor, "i j d p"],
    coupling: Float[Tensor, "b i j"],
    means: Float[Tensor, "b r j d"],
) -> Float[Tensor, "b r j d"]:
    """f by q."""
    rows, u = poses.shape[2], _each(poses)
    pieces = pieces_of(u, weight)
    S, inputs = pieces.by_wholes(), arrays(u, pieces.weight, _for_each_row(coupling, rows), _wholes(means))
    pieces.share(lambda some: loops.spread(*inputs, some, S.numpy(), *room(weight, "c")))
    return rearrange(samples(added(S), weight, len(u)), "(b r) j d -> b r j d", r=rows)


def gradients(
    poses: Float[Tensor, "b i r p"],
    weight: Float[Tensor, "i j d p"],
    coupling: Float[Tensor, "b i j"],
    means: Float[Tensor, "b r j d"],
    precisions: Float[Tensor, "b r j d"],
) -> Gradients:
    """f by everything."""
    rows, u, c = poses.shape[2], _each(poses), _for_each_row(coupling, poses.shape[2])
    pieces, m = pieces_of(u, weight), _wholes(means)
    by_coupling, by_poses = (torch.empty_like(x, memory_format=torch.contiguous_format) for x in (c, u))
    S, gm, gW = pieces.by_wholes(), pieces.by_wholes(), pieces.by_matrices()
    inputs, (D, gu), groups = (
        arrays(u, pieces.weight, c, m, _wholes(precisions)),
        arrays(by_coupling, by_poses),
        chunk(m),
    )

    def work(some: Ranges) -> None:
        memory = *room(weight, "c", "e", groups=groups), *gradient_room(weight, groups)
        loops.gradients(*inputs, some, D, S.numpy(), gm.numpy(), gu, gW.numpy(), *memory)

    pieces.share(work)
    by_precisions, by_means = (
        rearrange(samples(added(x), weight, len(u)), "(b r) j d -> b r j d", r=rows) for x in (S, gm)
    )
    return Gradients(
        reduce(by_coupling, "(b r) i j -> b i j", "sum", r=rows),
        by_precisions,
        by_means,
        rearrange(by_poses, "(b r) i p -> b i r p", r=rows),
        weight_gradient(added(gW), weight),
    )


def _each(poses: Float[Tensor, "b i r p"]) -> Float[Tensor, "br i p"]:
    return rearrange(poses, "b i r p -> (b r) i p")


def _for_each_row(coupling: Float[Tensor, "b i j"], rows: int) -> Float[Tensor, "br i j"]:
    return repeat(coupling, "b i j -> (b r) i j", r=rows)


def _wholes(vectors: Float[Tensor, "b r j d"]) -> Float[Tensor, "g jd s"]:
    return grouped(rearrange(vectors, "b r j d -> (b r) j d"))
