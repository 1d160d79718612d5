"""Votes: what each part predicts for each whole, as a linear operator."""

from collections.abc import Callable
from functools import cached_property

import torch
from einops import einsum, rearrange, repeat
from jaxtyping import Float
from torch import Tensor

from capsnet_dist.kernels import backends, fast_paths_allowed
from capsnet_dist.kernels.gaussian import function as gaussian
from capsnet_dist.kernels.votes import function as kernels

LARGE = 2**20
"""Numbers in the votes of a batch, from which on dynamic routing does all its iterations without them.

Other routings, which pass over the parts more often, go without from four times as many on, and all from a quarter of
these where loops with samples in the lanes of a vector take them. Measured forward and backward, with 72 to 1152 parts
of 8 numbers and 10 wholes of 16 ([Performance](performance.md)).
"""

Competition = Callable[[Tensor], Tensor]
"""Logits "b i j" to couplings "b i j": how wholes compete for a part."""


FEW = 16
"""Wholes that do not fill a vector: a softmax over rows then takes a CPU ten times as long as one over columns."""


def softmax_over_wholes(logits: Float[Tensor, "b i j"]) -> Float[Tensor, "b i j"]:
    """Every whole competes with every other for each part (Sabour et al., 2017, eq. 3)."""
    if logits.device.type == "cpu" and logits.shape[-1] < FEW and fast_paths_allowed():
        return rearrange(rearrange(logits, "b i j -> b j i").softmax(dim=1), "b j i -> b i j").contiguous()
    return logits.softmax(dim=-1)


class Votes:
    """The prediction vectors u_hat_ij = W_ij u_i + o_i.

    Sabour et al. (2017), equation 2; with offsets Hinton et al. (2018), section 4.

    A routing uses the votes through these operations, so that it need not know how, or whether, they are stored.

    A pose may be a matrix, row after row: every row is then multiplied by the same W_ij, so the vote of a 4 x 4 pose
    takes a weight with d = p = 4.

    Args:
        poses: Poses u_i of the parts, r rows of p numbers each; r = 1 for a vector.
        weight: Transformation W_ij from a row of a part's pose to a row of its vote for a whole.
        offset: o_ij, added to the vote, or o_i, added to all votes of a part: coordinate addition.
        competition: How wholes compete for a part; over all wholes unless a layer says otherwise.
    """

    def __init__(
        self,
        poses: Float[Tensor, "b i rp"],
        weight: Float[Tensor, "i j d p"],
        offset: Float[Tensor, "i rd"] | Float[Tensor, "i j rd"] | None = None,
        competition: Competition = softmax_over_wholes,
    ) -> None:
        self.num_parts, self.num_wholes, columns, inner = weight.shape
        if offset is not None and offset.ndim == 2:
            offset = repeat(offset, "i d -> i j d", j=self.num_wholes)
        self.poses, self.weight, self.offset = poses, weight, offset
        self.dim = poses.shape[-1] // inner * columns
        self._competition = competition
        self._known: tuple[Tensor | None, Tensor] = None, poses  # means, and the squared differences of all votes

    def combine(self, coupling: Float[Tensor, "b i j"]) -> Float[Tensor, "b j d"]:
        """Total input of each whole: s_j = sum_i c_ij u_hat_ij (eq. 2)."""
        if self._written:
            return einsum(self._part_major, coupling, "i b j d, b i j -> b j d")
        total = kernels.combine(self.poses, self.weight, coupling)
        return total if self.offset is None else total + einsum(coupling, self.offset, "b i j, i j d -> b j d")

    def agreement(self, poses: Float[Tensor, "b j d"]) -> Float[Tensor, "b i j"]:
        """Scalar product of each vote with the pose of its whole: a_ij = u_hat_ij . v_j (procedure 1, line 7)."""
        if self._written:
            return einsum(self._part_major, poses, "i b j d, b j d -> b i j")
        agreement = kernels.agreement(self.poses, self.weight, poses)
        return agreement if self.offset is None else agreement + einsum(poses, self.offset, "b j d, i j d -> b i j")

    def distances(self, means: Float[Tensor, "b j d"], precisions: Float[Tensor, "b j d"]) -> Float[Tensor, "b i j"]:
        """Squared distance of each vote from the mean of its whole: sum_d q_jd (u_hat_ijd - m_jd)^2.

        Differences are taken before they are squared: E[V^2] - m^2 would need less work, but for votes of 1e4 and
        variances below 1 the difference of two numbers near 1e8 would be all rounding.

        Args:
            means: m_j.
            precisions: q_j, a factor for each number of a pose: for a Gaussian, the inverse of its variance.
        """
        if self._written:
            return einsum(self._squares(means), precisions, "b i j d, b j d -> b i j")
        return gaussian.distances(*self._with_offset, means, precisions)

    def spread(self, coupling: Float[Tensor, "b i j"], means: Float[Tensor, "b j d"]) -> Float[Tensor, "b j d"]:
        """How far what each whole receives is from its mean, number by number: sum_i c_ij (u_hat_ijd - m_jd)^2."""
        if self._written:
            return einsum(coupling, self._squares(means), "b i j, b i j d -> b j d")
        return gaussian.spread(*self._with_offset, coupling, means)

    def compete(self, logits: Float[Tensor, "b i j"]) -> Float[Tensor, "b i j"]:
        """Softmax over all wholes that part i can vote for, also those at other positions (eq. 3)."""
        return self._competition(logits)

    def even(self) -> Float[Tensor, "b i j"]:
        """The same share of each part for all wholes that compete for it: where most routings begin."""
        return self.compete(self.poses.new_zeros(self.poses.shape[0], self.num_parts, self.num_wholes))

    def dense(self) -> Float[Tensor, "b i j d"]:
        """The votes themselves, for a routing that needs the tensor: b x i x j x d numbers."""
        return rearrange(self._part_major, "i b j d -> b i j d")

    def plus(self, offset: Float[Tensor, "i j d"]) -> "Votes":
        """These votes, o_ij more."""
        return Votes(
            self.poses, self.weight, offset if self.offset is None else self.offset + offset, self._competition
        )

    @property
    def plain(self) -> bool:
        """Whether a routing may do all iterations at once: many votes W_ij u_i, all wholes compete, nobody watches."""
        operations = {"combine", "agreement", "compete"} & vars(self).keys()
        usual = self.offset is None and self._rows == 1 and self._competition is softmax_over_wholes
        return type(self) is Votes and usual and not operations and not self._stored_below(LARGE)

    @property
    def _written(self) -> bool:
        return self._stored_below(4 * LARGE)

    def _stored_below(self, numbers: int) -> bool:
        """Whether the votes are written down: they are few, somebody asked for it, or the graph is to be exported."""
        if "_part_major" in vars(self) or not fast_paths_allowed():
            return True  # before the size, on which an exported graph for any batch must not depend
        in_lanes = self.offset is None and backends.in_lanes(self.poses, self.weight)
        return len(self.poses) * self.num_parts * self.num_wholes * self.dim < (numbers // 4 if in_lanes else numbers)

    @property
    def _rows(self) -> int:
        return self.poses.shape[-1] // self.weight.shape[-1]

    @property
    def _with_offset(self) -> tuple[Float[Tensor, "b i rp"], Float[Tensor, "i j d p"]]:
        """Poses and matrices, with the offset as columns of the matrices: one for each row of a pose, which has a 1."""
        if self.offset is None:
            return self.poses, self.weight
        rows = self._rows
        ones = repeat(torch.eye(rows).to(self.poses), "r q -> b i r q", b=len(self.poses), i=self.num_parts)
        poses = torch.cat([rearrange(self.poses, "b i (r p) -> b i r p", r=rows), ones], dim=3)
        columns = rearrange(self.offset, "i j (r d) -> i j d r", r=rows)
        return rearrange(poses, "b i r p -> b i (r p)"), torch.cat([self.weight, columns], dim=3)

    def _squares(self, means: Float[Tensor, "b j d"]) -> Float[Tensor, "b i j d"]:
        """Those of all differences, kept for the next use with the same means."""
        known, squares = self._known
        if known is not means:
            squares = (self.dense() - rearrange(means, "b j d -> b 1 j d")).square()
            self._known = means, squares
        return squares

    @cached_property
    def _part_major(self) -> Float[Tensor, "i b j rd"]:
        """One matrix product for each part, which is how the votes are fastest to make."""
        poses = rearrange(self.poses, "b i (r p) -> i (b r) p", r=self._rows)
        votes = torch.bmm(poses, rearrange(self.weight, "i j d p -> i p (j d)"))
        votes = rearrange(votes, "i (b r) (j d) -> i b j (r d)", r=self._rows, j=self.num_wholes)
        return votes if self.offset is None else votes + rearrange(self.offset, "i j d -> i 1 j d")
