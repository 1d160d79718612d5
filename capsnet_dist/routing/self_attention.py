"""Self-attention routing (Mazzia et al., 2021: Efficient-CapsNet, equations 4 to 6)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from capsnet_dist.capsules import Capsules, exponential_squash, lengths
from capsnet_dist.plugins import Routing, routings
from capsnet_dist.votes import Votes


@routings.register("self_attention")
class SelfAttentionRouting(Routing):
    """Self-attention routing: a part follows the whole for which all parts agree with it (Mazzia et al., 2021).

    The authors form all products of two votes, A = u_hat u_hat^T for each whole, and add up its rows. The sum over k
    of u_hat_i . u_hat_k is u_hat_i . sum_k u_hat_k, so that one total for each whole does, and no parts x parts tensor.

    Args:
        parts: Number of parts, i.
        part_dim: Their pose size, p.
        wholes: Number of wholes, j.
        dim: Pose size of a whole, d.
    """

    def __init__(self, parts: int, part_dim: int, wholes: int, dim: int) -> None:
        super().__init__(parts, part_dim, wholes, dim)
        self.bias = nn.Parameter(torch.zeros(parts, wholes))

    def forward(self, votes: Votes, activations: Float[Tensor, "b i"]) -> Capsules:
        """Route in a single pass; activations are not used."""
        total = votes.combine(torch.ones_like(activations)[..., None].expand(-1, -1, self.wholes))
        attention = votes.agreement(total) / self.dim**0.5
        coupling = votes.compete(attention) + self.bias  # the log prior, added after the softmax
        poses = exponential_squash(votes.combine(coupling))
        return Capsules(poses, lengths(poses))
