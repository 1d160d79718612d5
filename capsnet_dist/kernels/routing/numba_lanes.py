"""The passes of dynamic routing with 16 samples in the lanes of a vector, compiled by numba; `plain` says what each is.

Parts are cut into pieces, always in the same way, and each has totals of its own, added up in their order: results do
not depend on the number of threads. A piece recomputes the votes of a part for 16 samples at a time, which never leave
the core's first cache.
"""

from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from capsnet_dist.kernels.numba_lanes import LANES, ROWS
from capsnet_dist.kernels.routing import numba_lanes_loops
from capsnet_dist.kernels.scratch import scratch
from capsnet_dist.kernels.threads import PIECES, share

loops: Any = numba_lanes_loops  # what numba compiles has no types

ROOM = 2**16  # numbers in the gradients of a part's votes that live at a time: 256 KB of the second cache


def total(
    poses: Float[Tensor, "b i p"],
    weight: Float[Tensor, "i j d p"],
    prior: Float[Tensor, "i j"] | None,
    gathered: Float[Tensor, "b j d"],
    leaky: bool,
) -> Float[Tensor, "b j d"]:
    """The totals of one iteration, from V."""
    inputs = _arrays(*_inputs(poses, weight, prior), V := _grouped(gathered))
    pieces = V.new_zeros(min(PIECES, poses.shape[1]), *V.shape)

    def work(n: int, start: int, stop: int) -> None:
        loops.total(*inputs, leaky, start, stop, pieces[n].numpy(), *_room(weight, "c"))

    share(work, poses.shape[1])
    return _samples(pieces.sum(dim=0), gathered)


def gathered_gradient(
    poses: Float[Tensor, "b i p"],
    weight: Float[Tensor, "i j d p"],
    prior: Float[Tensor, "i j"] | None,
    gathered: Float[Tensor, "b j d"],
    gradient: Float[Tensor, "b j d"],
    leaky: bool,
) -> Float[Tensor, "b j d"]:
    """From gs to gV."""
    inputs = _arrays(*_inputs(poses, weight, prior), V := _grouped(gathered), _grouped(gradient))
    pieces = V.new_zeros(min(PIECES, poses.shape[1]), *V.shape)

    def work(n: int, start: int, stop: int) -> None:
        loops.gathered_gradient(*inputs, leaky, start, stop, pieces[n].numpy(), *_room(weight, "c", "gb"))

    share(work, poses.shape[1])
    return _samples(pieces.sum(dim=0), gathered)


def input_gradients(
    poses: Float[Tensor, "b i p"],
    weight: Float[Tensor, "i j d p"],
    prior: Float[Tensor, "i j"] | None,
    gathered: Float[Tensor, "t b j d"],
    gradient: Float[Tensor, "t b j d"],
    common: Float[Tensor, "b j d"],
    leaky: bool,
    through: bool,
) -> tuple[Float[Tensor, "b i p"], Float[Tensor, "i j d p"], Float[Tensor, "i j"]]:
    """Gradients of u, W and the prior, from gs and V of all iterations."""
    u, W, b = _inputs(poses, weight, prior)
    inputs = _arrays(u, W, b, _grouped(gathered), _grouped(gradient), g := _grouped(common))
    gu, gW, gprior = (torch.empty_like(x) for x in (u, W, b))
    outputs, groups = _arrays(gu, gW, gprior), max(1, min(len(g), ROOM // g[:1].numel()))

    def work(_: int, start: int, stop: int) -> None:
        room = _arrays(scratch("gy", W, groups, *g.shape[1:]), scratch("ga", W, ROWS, LANES))
        loops.input_gradients(
            *inputs, leaky, through, start, stop, *outputs, *_room(weight, "c", "gb", groups=groups), *room
        )

    share(work, poses.shape[1])
    return gu, rearrange(gW, "i (j d) p -> i j d p", j=weight.shape[1])[..., : weight.shape[3]], gprior


def _inputs(
    poses: Float[Tensor, "b i p"], weight: Float[Tensor, "i j d p"], prior: Float[Tensor, "i j"] | None
) -> tuple[Float[Tensor, "b i p"], Float[Tensor, "i jd q"], Float[Tensor, "i j"]]:
    """Poses, matrices with zeros after the numbers of a pose up to a multiple of eight, and logits."""
    missing = -weight.shape[3] % ROWS
    W = rearrange(pad(weight, (0, missing)) if missing else weight, "i j d p -> i (j d) p")
    prior = weight.new_zeros(weight.shape[:2]) if prior is None else prior
    return poses.contiguous(), W.contiguous(), prior.contiguous()


def _grouped(vectors: Float[Tensor, "*t b j d"]) -> Float[Tensor, "g jd s"]:
    """Samples last, in groups; those of several iterations follow one another."""
    missing = -vectors.shape[-3] % LANES
    filled = pad(vectors, (0, 0, 0, 0, 0, missing)) if missing else vectors
    return rearrange(filled.flatten(0, -3), "(g s) j d -> g (j d) s", s=LANES).contiguous()


def _samples(vectors: Float[Tensor, "g jd s"], like: Float[Tensor, "b j d"]) -> Float[Tensor, "b j d"]:
    """The inverse."""
    return rearrange(vectors, "g (j d) s -> (g s) j d", j=like.shape[1])[: len(like)].contiguous()


def _room(weight: Float[Tensor, "i j d p"], *couplings: str, groups: int = 1) -> list[Any]:
    """Memory for poses, votes and couplings of a part, which stays in the cache of the thread."""
    _, wholes, dim, numbers = weight.shape
    poses = scratch("a", weight, groups, numbers + -numbers % ROWS, LANES)
    votes = scratch("y", weight, wholes * dim, LANES)
    return _arrays(poses, votes, *(scratch(use, weight, wholes, LANES) for use in couplings))


def _arrays(*tensors: Tensor) -> list[Any]:
    return [tensor.detach().numpy() for tensor in tensors]
