"""The passes of dynamic routing, in Triton; `plain` says what each is.

Unlike there, couplings are stored, b x i x j numbers an iteration, for as many samples at a time as fit into some room:
a sixteenth of the votes' numbers at the sizes of Sabour et al. (2017).
"""

import torch
from einops import reduce
from jaxtyping import Float
from torch import Tensor

from capsnet_dist.kernels.launch_triton import empty
from capsnet_dist.kernels.votes.triton_products import add_gradients, agreement, combine, couple

ROOM = 2**27  # numbers in the couplings that live at a time, 512 MB, unless a sample has more


class StoredCouplings:
    """Passes that keep couplings, and their gradients, while there are gradients to be made.

    Args:
        poses: Poses u_i.
        weight: Transformations W_ij.
        prior: Logits of the first iteration; zeros where None.
        leaky: Whether a part may choose none of the wholes.
    """

    gathered: Float[Tensor, "t b j d"]
    kept: Float[Tensor, "1+2t b j i"]  # ones, couplings, gradients of the logits
    left: list[int]  # iterations whose logits are not couplings yet

    def __init__(
        self,
        poses: Float[Tensor, "b i p"],
        weight: Float[Tensor, "i j d p"],
        prior: Float[Tensor, "i j"] | None,
        leaky: bool,
    ) -> None:
        self.poses, self.weight, self.prior, self.leaky = poses.contiguous(), weight.contiguous(), prior, leaky

    def total(self, gathered: Float[Tensor, "b j d"]) -> Float[Tensor, "b j d"]:
        """The totals of an iteration, from V."""
        totals = torch.empty_like(gathered)
        for some in samples(self.poses, self.weight, 1):
            poses = self.poses[some]
            c = self._room(1, len(poses))
            agreement(poses, self.weight, gathered[None, some], c)
            couple(c[0], self.prior, self.leaky)
            totals[some] = combine(poses, self.weight, c[0])
        return totals

    def start_backward(self, gathered: Float[Tensor, "t b j d"]) -> None:
        """Begin with the gradients of some iterations, given V of each."""
        iterations = len(gathered)
        self.gathered, self.left = gathered, [*range(iterations)]
        self.kept = self._room(1 + 2 * iterations, len(self.poses))
        self.kept[0] = 1
        if iterations:
            agreement(self.poses, self.weight, gathered, self.kept[1 : 1 + iterations])

    def gathered_gradient(self, number: int, gradient: Float[Tensor, "b j d"]) -> Float[Tensor, "b j d"]:
        """From gs to gV, of one of these iterations."""
        return combine(self.poses, self.weight, self._logits_gradient(number, gradient))

    def input_gradients(
        self, gradient: Float[Tensor, "t b j d"], common: Float[Tensor, "b j d"], through: bool
    ) -> tuple[Float[Tensor, "b i p"], Float[Tensor, "i j d p"], Float[Tensor, "i j"]]:
        """Those of poses, weight and prior, from gs of these iterations."""
        iterations = len(gradient)
        for number in [*self.left]:
            self._logits_gradient(number, gradient[number])
        vectors = torch.cat([common[None], gradient, self.gathered])[: 1 + iterations * (1 + through)]
        gu, gW = empty(self.poses, *self.poses.shape), torch.zeros_like(self.weight, dtype=torch.float32)
        add_gradients(self.poses, self.weight, self.kept[: len(vectors)], vectors, gu, gW)
        gprior = gW.new_zeros(gW.shape[:2])
        if self.prior is not None:
            gprior += reduce(self.kept[1 + iterations :], "t b j i -> i j", "sum")
        return gu.to(self.poses.dtype), gW.to(self.weight.dtype), gprior.to(self.weight.dtype)

    def _logits_gradient(self, number: int, gradient: Float[Tensor, "b j d"]) -> Float[Tensor, "b j i"]:
        """From gs to gb; the logits of the iteration become couplings."""
        iterations = len(self.gathered)
        c, gb = self.kept[1 + number], self.kept[1 + iterations + number]
        agreement(self.poses, self.weight, gradient[None], gb[None])
        couple(c, self.prior, self.leaky, gb)
        self.left.remove(number)
        return gb

    def _room(self, sets: int, batch: int) -> Float[Tensor, "m b j i"]:
        return empty(self.poses, sets, batch, self.weight.shape[1], len(self.weight))


def samples(poses: Float[Tensor, "b i p"], weight: Float[Tensor, "i j d p"], sets: int) -> list[slice]:
    """All samples, as many at a time as have room for so many sets of couplings."""
    (num_parts, num_wholes), batch = weight.shape[:2], len(poses)
    times = -(-batch // max(1, ROOM // (sets * num_parts * num_wholes)))
    size = max(1, -(-batch // max(1, times)))
    return [slice(start, start + size) for start in range(0, batch, size)] or [slice(None)]
