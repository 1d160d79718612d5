"""What each number of a pose stands for (Sabour et al., 2017, figure 4)."""

from pathlib import Path

import torch
from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor

from capsnet_dist.figures.sheet import save_sheet
from capsnet_dist.plugins import Model, Split, to_unit


@torch.no_grad()
def save_poses(model: Model, split: Split, file: Path, reach: float = 0.25) -> float | None:
    """One row for each number of a pose, moved in eleven steps.

    Args:
        model: The network.
        split: The first image is rebuilt.
        file: Where the picture goes.
        reach: How far the number is moved down and up; the paper's value.

    Returns:
        How much a pixel changes between the ends of a row, on average over the image; None without a decoder.
    """
    images = to_unit(split.images[:1], next(model.parameters()).dtype)
    with model.evaluating():
        rebuilt, dim = _moved(model, images, reach)
    if rebuilt is None:
        return None
    sheet = rearrange(rebuilt, "(r m) c h w -> r m c h w", r=dim)
    save_sheet(sheet, file)
    return float((sheet[:, -1] - sheet[:, 0]).abs().mean())


def _moved(
    model: Model, images: Float[Tensor, "1 c h w"], reach: float
) -> tuple[Float[Tensor, "rm c h w"] | None, int]:
    """What is rebuilt when each number of the pose is moved in turn, and how many numbers it has."""
    scores, poses, _ = model(images)
    dim = poses.shape[-1]
    moves = torch.linspace(-reach, reach, 11, device=poses.device, dtype=poses.dtype)
    changes = einsum(torch.eye(dim, device=poses.device, dtype=poses.dtype), moves, "r d, m -> r m d")
    moved = poses + rearrange(changes, "r m d -> (r m) 1 d")
    return model.rebuild(moved, scores.argmax(dim=-1).expand(len(moved))), dim
