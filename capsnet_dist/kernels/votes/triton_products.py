"""Votes that are only multiplied, in Triton: what the kernels of votes and of routing are made of.

Products are those of float32, or of TF32 where `torch.backends.cuda.matmul.allow_tf32` lets PyTorch's own be.

An axis m holds several sets of vectors, of which each has its own couplings, as in `blocks`.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from capsnet_dist.kernels.launch_triton import PROGRAMS, empty, power_of_two
from capsnet_dist.kernels.votes import triton_products_loops

kernels: Any = triton_products_loops  # a launch has no types

COLUMNS = 64  # numbers of parts that a program holds for each sample
WHOLES = 2  # whose totals a program holds


def combine(
    poses: Float[Tensor, "b i p"], weight: Float[Tensor, "i j d p"], coupling: Float[Tensor, "b j i"]
) -> Float[Tensor, "b j d"]:
    """s_j = sum_i c_ij W_ij u_i."""
    batch, (num_parts, num_wholes, dim, part_dim) = len(poses), weight.shape
    tile = _tile(weight, COLUMNS // 2) | {"BJ": WHOLES}
    grid = [-(-batch // tile["BB"]), 1, -(-num_wholes // tile["BJ"])]
    grid[1] = max(1, min(-(-num_parts // tile["BI"]), PROGRAMS // (grid[0] * grid[2])))
    pieces = empty(poses, grid[1], batch, num_wholes, dim)
    inputs = [x.contiguous() for x in (poses, weight, coupling)]
    with torch.cuda.device_of(poses):
        kernels.combine_kernel[tuple(grid)](
            *inputs, pieces, batch, num_parts, num_wholes, grid[1], D=dim, P=part_dim, **tile
        )
    return pieces.sum(dim=0)


def agreement(
    poses: Float[Tensor, "b i p"], weight: Float[Tensor, "i j d p"], vectors: Float[Tensor, "m b j d"], out: Tensor
) -> None:
    """Write a_ij = v_j . W_ij u_i to out[m, b, j, i]."""
    batch, (num_parts, num_wholes, dim, part_dim) = len(poses), weight.shape
    tile, inputs = _tile(weight, COLUMNS), [x.contiguous() for x in (poses, weight, vectors)]
    grid = -(-batch // tile["BB"]), -(-num_parts // tile["BI"])
    with torch.cuda.device_of(poses):
        kernels.agreement_kernel[grid](
            *inputs, out, batch, num_parts, num_wholes, M=len(vectors), D=dim, P=part_dim, **tile
        )


def add_gradients(
    poses: Float[Tensor, "b i p"],
    weight: Float[Tensor, "i j d p"],
    coupling: Float[Tensor, "m b j i"],
    vectors: Float[Tensor, "m b j d"],
    by_poses: Float[Tensor, "b i p"],
    by_weight: Float[Tensor, "i j d p"],
) -> None:
    """Write sum_mj c_ij W_ij^T v_j, and add sum_mb c_ij v_j u_i^T."""
    batch, (num_parts, num_wholes, dim, part_dim) = len(poses), weight.shape
    tile, inputs = _tile(weight, COLUMNS), [x.contiguous() for x in (poses, weight, coupling, vectors)]
    sizes, pieces = (batch, num_parts, num_wholes), -(-num_parts // tile["BI"])
    shape = {"M": len(vectors), "D": dim, "P": part_dim}
    with torch.cuda.device_of(poses):
        kernels.pose_gradient_kernel[-(-batch // tile["BB"]), pieces](*inputs, by_poses, *sizes, **shape, **tile)
        kernels.weight_gradient_kernel[num_wholes, pieces](*inputs, by_weight, *sizes, **shape, **tile)


def couple(
    logits: Float[Tensor, "b j i"],
    prior: Float[Tensor, "i j"] | None,
    leaky: bool,
    gradient: Float[Tensor, "b j i"] | None = None,
) -> None:
    """Turn logits into couplings, and the gradient of the couplings into that of the logits, in place."""
    batch, num_wholes, num_parts = logits.shape
    wholes = power_of_two(num_wholes)
    width = min(power_of_two(num_parts), max(1, 2048 // wholes))  # so that a thread has all wholes of its parts
    given = [logits if x is None else x.contiguous() for x in (gradient, prior)]
    flags = {
        "LEAKY": leaky,
        "PRIOR": prior is not None,
        "BACK": gradient is not None,
        "BI": width,
        "BJ": wholes,
        "num_warps": 1,
    }
    with torch.cuda.device_of(logits):
        kernels.couple_kernel[batch, -(-num_parts // width)](logits, *given, num_parts, num_wholes, **flags)


def _tile(weight: Float[Tensor, "i j d p"], columns: int) -> dict[str, int]:
    """Samples, parts and numbers that a program holds."""
    dim, part_dim = power_of_two(weight.shape[2], least=16), power_of_two(weight.shape[3])
    return {
        "BB": 32,
        "BI": max(1, columns // part_dim),
        "BD": dim,
        "BP": part_dim,
        "num_warps": 2 if dim < 64 else 4,
        "PRECISE": not torch.backends.cuda.matmul.allow_tf32,
    }
