"""Votes compared with the means of Gaussian wholes, compiled by numba: votes never leave the core's first cache.

The twin of `plain`, which says what each function gives.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from capsnet_dist.kernels.gaussian.plain import Gradients
from capsnet_dist.kernels.votes.numba import loops, matrices, numbers_last, pieces_of, weight_gradient, wholes
from capsnet_dist.kernels.votes.pieces import added, arrays


def distances(
    poses: Float[Tensor, "b i r p"],
    weight: Float[Tensor, "i j d p"],
    means: Float[Tensor, "b r j d"],
    precisions: Float[Tensor, "b r j d"],
) -> Float[Tensor, "b i j"]:
    """f by c."""
    found = means.new_empty(*poses.shape[:2], weight.shape[1])
    inputs = arrays(poses, matrices(weight), *map(numbers_last, (means, precisions)))
    (D,) = arrays(found)
    pieces_of(poses, weight).share(lambda some: loops.distances(*inputs, some, D))
    return found


def spread(
    poses: Float[Tensor, "b i r p"],
    weight: Float[Tensor, "i j d p"],
    coupling: Float[Tensor, "b i j"],
    means: Float[Tensor, "b r j d"],
) -> Float[Tensor, "b r j d"]:
    """f by q."""
    pieces = pieces_of(poses, weight)
    S, inputs = pieces.by_wholes(), arrays(poses, matrices(weight), coupling, numbers_last(means))
    pieces.share(lambda some: loops.spread(*inputs, some, S.numpy()))
    return wholes(added(S), weight)


def gradients(
    poses: Float[Tensor, "b i r p"],
    weight: Float[Tensor, "i j d p"],
    coupling: Float[Tensor, "b i j"],
    means: Float[Tensor, "b r j d"],
    precisions: Float[Tensor, "b r j d"],
) -> Gradients:
    """f by everything."""
    pieces = pieces_of(poses, weight)
    by_coupling, by_poses = (torch.empty_like(x, memory_format=torch.contiguous_format) for x in (coupling, poses))
    S, gm, gW = pieces.by_wholes(), pieces.by_wholes(), pieces.by_matrices()
    inputs = arrays(poses, matrices(weight), coupling, *map(numbers_last, (means, precisions)))
    D, gu = arrays(by_coupling, by_poses)
    sums = S.numpy(), gm.numpy()
    pieces.share(lambda some: loops.gaussian_gradients(*inputs, some, D, *sums, gu, gW.numpy()))
    by_precisions, by_means = (wholes(added(x), weight) for x in (S, gm))
    return Gradients(by_coupling, by_precisions, by_means, by_poses, weight_gradient(added(gW), weight))
