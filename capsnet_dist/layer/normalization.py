"""Batch normalisation of poses."""

from typing import Literal

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from capsnet_dist.capsules import Grid


class PoseNormalization(nn.Module):
    """Batch normalisation of poses over samples and positions (Hahn et al., 2019; Ribeiro et al., 2020).

    Args:
        grid: The capsules.
        over: What has statistics, a scale and a shift of its own. "number": every number of every type's pose. "type":
            every type, so that the numbers of a pose keep their proportions.
    """

    def __init__(self, grid: Grid, over: Literal["number", "type"]) -> None:
        super().__init__()
        self.grid, self.over = grid, over
        self.norm = nn.BatchNorm1d(grid.types * grid.dim if over == "number" else grid.types)

    def forward(self, poses: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """The poses, normalised."""
        inside = "b (n d) o" if self.over == "number" else "b n (o d)"
        sizes = {"n": self.grid.types, "d": self.grid.dim}
        maps = rearrange(poses, f"b (n o) d -> {inside}", n=self.grid.types)
        return rearrange(self.norm(maps), f"{inside} -> b (n o) d", **sizes)
