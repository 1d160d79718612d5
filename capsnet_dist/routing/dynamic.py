"""Routing by agreement (Sabour et al., 2017, procedure 1)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from capsnet_dist.capsules import Capsules, lengths, squash
from capsnet_dist.errors import UserError
from capsnet_dist.plugins import Routing, routings
from capsnet_dist.votes import Votes


@routings.register("dynamic")
class DynamicRouting(Routing):
    """Routing by agreement (Sabour et al., 2017, procedure 1).

    Each part divides itself over the wholes by a softmax over logits; the logits grow by the agreement of its votes
    with the wholes of the round before. Gradients flow through all iterations.

    Args:
        parts: Number of parts, i.
        part_dim: Their pose size, p.
        wholes: Number of wholes, j.
        dim: Pose size of a whole, d.
        iterations: Rounds of routing; 1 gives every whole the same share of each part.
        bias: Add a learned vector to the total input of each whole, as the authors' code does.

    Raises:
        UserError: fewer than one iteration.
    """

    def __init__(
        self, parts: int, part_dim: int, wholes: int, dim: int, *, iterations: int = 3, bias: bool = False
    ) -> None:
        super().__init__(parts, part_dim, wholes, dim)
        if iterations < 1:
            raise UserError(f"iterations={iterations}: dynamic routing needs at least 1.")
        self.iterations = iterations
        self.bias = nn.Parameter(torch.full((wholes, dim), 0.1)) if bias else None  # 0.1: the authors' code

    def forward(self, votes: Votes, activations: Float[Tensor, "b i"]) -> Capsules:
        """Route; the activations are not used, since a short pose casts short votes."""
        logits = torch.zeros_like(activations)[..., None].expand(-1, -1, self.wholes)
        poses = self._wholes(votes, logits)
        for _ in range(self.iterations - 1):
            logits = logits + votes.agreement(poses)
            poses = self._wholes(votes, logits)
        return Capsules(poses, lengths(poses))

    def _wholes(self, votes: Votes, logits: Float[Tensor, "b i j"]) -> Float[Tensor, "b j d"]:
        total = votes.combine(votes.compete(logits))
        return squash(total if self.bias is None else total + self.bias)

    def extra_repr(self) -> str:
        """What print(model) shows."""
        return f"{super().extra_repr()}, iterations={self.iterations}{'' if self.bias is None else ', bias'}"
