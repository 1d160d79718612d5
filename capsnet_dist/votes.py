"""Votes: what each part predicts for each whole, as a linear operator."""

from collections.abc import Callable
from functools import cached_property

import torch
from einops import einsum, rearrange, reduce, repeat
from jaxtyping import Float
from torch import Tensor

from capsnet_dist.kernels import fast_paths_allowed
from capsnet_dist.kernels import votes as kernels

LARGE = 2**20
"""Numbers in the votes of a batch, from which on they are not written down.

Measured once, forward and backward, on one core (1152 parts of 8 numbers, 10 wholes of 16). At this size dynamic
routing is twice as fast without them, and others up to twice as slow; at two to four times the size all are faster, and
at 22 times, CapsNet's batch of 128, k-means 2.5 times, uniform routing 5 times and dynamic routing 12 times.
"""

Competition = Callable[[Tensor], Tensor]
"""Logits "b i j" to couplings "b i j": how wholes compete for a part."""


def softmax_over_wholes(logits: Float[Tensor, "b i j"]) -> Float[Tensor, "b i j"]:
    """Every whole competes with every other for each part (Sabour et al., 2017, eq. 3)."""
    return logits.softmax(dim=-1)


class Votes:
    """The prediction vectors u_hat_ij = W_ij u_i + o_i (Sabour et al., 2017, eq. 2; Hinton et al., 2018, section 4).

    A routing uses the votes through these operations, so that it need not know how, or whether, they are stored.

    A pose may be a matrix, row after row: every row is then multiplied by the same W_ij, so the vote of a 4 x 4 pose
    takes a weight with d = p = 4.

    Args:
        poses: Poses u_i of the parts, r rows of p numbers each; r = 1 for a vector.
        weight: Transformation W_ij from a row of a part's pose to a row of its vote for a whole.
        offset: o_i, added to all votes of a part: coordinate addition.
        competition: How wholes compete for a part; over all wholes unless a layer says otherwise.
    """

    def __init__(
        self,
        poses: Float[Tensor, "b i rp"],
        weight: Float[Tensor, "i j d p"],
        offset: Float[Tensor, "i rd"] | None = None,
        competition: Competition = softmax_over_wholes,
    ) -> None:
        self.poses, self.weight, self.offset = poses, weight, offset
        self.num_parts, self.num_wholes, columns, inner = weight.shape
        self.dim = poses.shape[-1] // inner * columns
        self._competition = competition

    def combine(self, coupling: Float[Tensor, "b i j"]) -> Float[Tensor, "b j d"]:
        """Total input of each whole: s_j = sum_i c_ij u_hat_ij (eq. 2)."""
        if self._written:
            return einsum(self._part_major, coupling, "i b j d, b i j -> b j d")
        coupling_of_rows = repeat(coupling, "b i j -> (b r) i j", r=self._rows)
        total = kernels.combine(self._row_poses, self.weight, coupling_of_rows)
        total = rearrange(total, "(b r) j d -> b j (r d)", r=self._rows)
        return total if self.offset is None else total + einsum(coupling, self.offset, "b i j, i d -> b j d")

    def agreement(self, poses: Float[Tensor, "b j d"]) -> Float[Tensor, "b i j"]:
        """Scalar product of each vote with the pose of its whole: a_ij = u_hat_ij . v_j (procedure 1, line 7)."""
        if self._written:
            return einsum(self._part_major, poses, "i b j d, b j d -> b i j")
        rows = rearrange(poses, "b j (r d) -> (b r) j d", r=self._rows)
        agreement = kernels.agreement(self._row_poses, self.weight, rows)
        agreement = reduce(agreement, "(b r) i j -> b i j", "sum", r=self._rows)
        return agreement if self.offset is None else agreement + einsum(poses, self.offset, "b j d, i d -> b i j")

    def compete(self, logits: Float[Tensor, "b i j"]) -> Float[Tensor, "b i j"]:
        """Softmax over all wholes that part i can vote for, also those at other positions (eq. 3)."""
        return self._competition(logits)

    def even(self) -> Float[Tensor, "b i j"]:
        """The same share of each part for all wholes that compete for it: where most routings begin."""
        return self.compete(self.poses.new_zeros(self.poses.shape[0], self.num_parts, self.num_wholes))

    def dense(self) -> Float[Tensor, "b i j d"]:
        """The votes themselves, for a routing that needs the tensor: b x i x j x d numbers."""
        return rearrange(self._part_major, "i b j d -> b i j d")

    @property
    def plain(self) -> bool:
        """Whether a routing may do all its rounds at once: many votes W_ij u_i, all wholes compete, nobody watches."""
        operations = {"combine", "agreement", "compete"} & vars(self).keys()
        usual = self.offset is None and self._rows == 1 and self._competition is softmax_over_wholes
        return type(self) is Votes and usual and not operations and not self._written

    @property
    def _written(self) -> bool:
        """Whether the votes are written down: they are few, somebody asked for it, or the graph is to be exported."""
        if torch.compiler.is_compiling() or "_part_major" in vars(self) or not fast_paths_allowed():
            return True  # before the size, on which an exported graph for any batch must not depend
        return len(self.poses) * self.num_parts * self.num_wholes * self.dim < LARGE

    @property
    def _rows(self) -> int:
        return self.poses.shape[-1] // self.weight.shape[-1]

    @property
    def _row_poses(self) -> Float[Tensor, "br i p"]:
        return rearrange(self.poses, "b i (r p) -> (b r) i p", r=self._rows)

    @cached_property
    def _part_major(self) -> Float[Tensor, "i b j rd"]:
        """One matrix product for each part, which is how the votes are fastest to make."""
        poses = rearrange(self.poses, "b i (r p) -> i (b r) p", r=self._rows)
        votes = torch.bmm(poses, rearrange(self.weight, "i j d p -> i p (j d)"))
        votes = rearrange(votes, "i (b r) (j d) -> i b j (r d)", r=self._rows, j=self.num_wholes)
        return votes if self.offset is None else votes + rearrange(self.offset, "i d -> i 1 1 d")
