"""Class capsules that see a whole map (Hinton et al., 2018, section 4: Class Capsules)."""

from typing import Literal

import torch
from einops import repeat
from jaxtyping import Float
from torch import Tensor

from capsnet_dist.capsules import Capsules, Grid, at_least_float32
from capsnet_dist.errors import UserError
from capsnet_dist.layer.voting import VotingLayer
from capsnet_dist.plugins import Routing, layers, routings
from capsnet_dist.ranges import Amount, Count
from capsnet_dist.registry import Choice
from capsnet_dist.votes import Votes


@layers.register("shared")
class SharedCapsules(VotingLayer):
    """Parts of one type vote by the same matrix wherever they are, and say where (Hinton et al., 2018, section 4).

    Coordinate addition: the row and the column of a part are added to the first two elements of the right-hand column
    of its vote matrices, or to the first two numbers of a vote that is a vector.

    Args:
        inputs: The capsules below.
        wholes: Number of capsules of this layer, j.
        dim: Their pose size, d.
        rows: Rows of a pose: 1 for a vector, 4 for a 4 x 4 matrix.
        deviation: Standard deviation of the initial matrices.
        step: Difference between the coordinates of neighbours; 0 adds none. 0.04 is a hundredth of the four pixels
            between them in the network of Hinton et al. (2018), as in the authors' code.
        origin: Where coordinates are zero. "centre": in the middle of the map (Hinton et al., 2018, in their code).
            "corner": one step before the first row and column (Ribeiro et al., 2020, in their code).
        routing: How parts agree on wholes.

    Raises:
        UserError: poses do not divide into rows, votes have no room for coordinates, or the routing needs activations
            that the parts do not have.
    """

    offset: Float[Tensor, "i d"]
    """The coordinates of each part where they are added to its votes, and zeros."""

    def __init__(
        self,
        inputs: Grid,
        *,
        wholes: Count = 10,
        dim: Count = 16,
        rows: Count = 4,
        deviation: Amount = 0.1,
        step: Amount = 0.04,
        origin: Literal["centre", "corner"] = "centre",
        routing: Choice[Routing] = routings("dynamic"),
    ) -> None:
        outputs, places = Grid(wholes, 1, 1, dim), inputs.height * inputs.width
        super().__init__(inputs, outputs, inputs.num_capsules, routing, rows=rows, deviation=deviation, places=places)
        if dim < 2 and step:
            raise UserError(f"dim={dim}: a vote needs two numbers for its coordinates; set step to 0 for none.")
        offset = torch.zeros(inputs.num_capsules, dim)
        if step:
            columns = dim // rows
            slots = (columns - 1, 2 * columns - 1) if rows > 1 else (0, 1)
            offset[:, slots[0]] = repeat(
                _coordinates(inputs.height, step, origin), "h -> (t h w)", t=inputs.types, w=inputs.width
            )
            offset[:, slots[1]] = repeat(
                _coordinates(inputs.width, step, origin), "w -> (t h w)", t=inputs.types, h=inputs.height
            )
        self.register_buffer("offset", offset, persistent=False)

    def votes(self, capsules: Capsules) -> tuple[Votes, Float[Tensor, "b i"]]:
        """The votes of the parts with their coordinates, and their activations."""
        poses, activations = map(at_least_float32, capsules)
        weight = repeat(self.weight, "t j d p -> (t places) j d p", places=self.inputs.height * self.inputs.width)
        return Votes(poses, weight, self.offset), activations


def _coordinates(side: int, step: float, origin: Literal["centre", "corner"]) -> Float[Tensor, " side"]:
    zero = (side - 1) / 2 if origin == "centre" else -1
    return step * (torch.arange(side) - zero)
