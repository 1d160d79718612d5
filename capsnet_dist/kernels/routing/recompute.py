"""Dynamic routing by passes that each recompute what they need, so that nothing is kept between them."""

from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class RoutingBackend(Protocol):
    """The passes, as functions; `plain` says what each is."""

    def total(self, poses: Tensor, weight: Tensor, prior: Tensor | None, gathered: Tensor, leaky: bool) -> Tensor:
        """The totals of one iteration."""
        ...

    def gathered_gradient(
        self, poses: Tensor, weight: Tensor, prior: Tensor | None, gathered: Tensor, gradient: Tensor, leaky: bool
    ) -> Tensor:
        """From the gradient of the totals to that of the sum of poses before."""
        ...

    def input_gradients(
        self,
        poses: Tensor,
        weight: Tensor,
        prior: Tensor | None,
        gathered: Tensor,
        gradient: Tensor,
        common: Tensor,
        leaky: bool,
        through: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Those of poses, weight and prior."""
        ...


class Recompute:
    """The same for given parts.

    Args:
        backend: The functions.
        poses: Poses u_i.
        weight: Transformations W_ij.
        prior: Logits of the first iteration; zeros where None.
        leaky: Whether a part may choose none of the wholes.
    """

    gathered: Float[Tensor, "t b j d"]

    def __init__(
        self,
        backend: RoutingBackend,
        poses: Float[Tensor, "b i p"],
        weight: Float[Tensor, "i j d p"],
        prior: Float[Tensor, "i j"] | None,
        leaky: bool,
    ) -> None:
        self.backend, self.inputs, self.leaky = backend, (poses, weight, prior), leaky

    def total(self, gathered: Float[Tensor, "b j d"]) -> Float[Tensor, "b j d"]:
        """The totals of an iteration, from V."""
        return self.backend.total(*self.inputs, gathered, self.leaky)

    def start_backward(self, gathered: Float[Tensor, "t b j d"]) -> None:
        """Begin with the gradients of some iterations, given V of each."""
        self.gathered = gathered

    def gathered_gradient(self, number: int, gradient: Float[Tensor, "b j d"]) -> Float[Tensor, "b j d"]:
        """From gs to gV, of one of these iterations."""
        return self.backend.gathered_gradient(*self.inputs, self.gathered[number], gradient, self.leaky)

    def input_gradients(
        self, gradient: Float[Tensor, "t b j d"], common: Float[Tensor, "b j d"], through: bool
    ) -> tuple[Float[Tensor, "b i p"], Float[Tensor, "i j d p"], Float[Tensor, "i j"]]:
        """Those of poses, weight and prior, from gs of these iterations."""
        return self.backend.input_gradients(*self.inputs, self.gathered, gradient, common, self.leaky, through)
