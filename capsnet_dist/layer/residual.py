"""Residual blocks of capsules (Rajasegaran et al., 2019: DeepCaps, figure 2: CapsCell)."""

from capsnet_dist.capsules import Capsules, Grid
from capsnet_dist.errors import UserError
from capsnet_dist.layer.squashed import SquashedConvolution
from capsnet_dist.plugins import Layer, layers
from capsnet_dist.ranges import Count
from capsnet_dist.registry import Choice


@layers.register("residual")
class ResidualCapsules(Layer):
    """Two convolutions beside a skip path, after one that halves the map (Rajasegaran et al., 2019: DeepCaps).

    Args:
        inputs: The capsules below.
        types: Types of capsule, each with one at every position.
        dim: Their pose size, d.
        kernel: Side of all kernels, in positions; odd.
        stride: Step of the first kernel.
        skip: The layer of the skip path, which takes types and dim from the block; three_dimensional in the last block
            of DeepCaps.

    Raises:
        UserError: an even kernel, or a skip path that does not keep the shape of the map.
    """

    def __init__(
        self,
        inputs: Grid,
        *,
        types: Count = 32,
        dim: Count = 8,
        kernel: Count = 3,
        stride: Count = 2,
        skip: Choice[Layer] = layers("squashed"),
    ) -> None:
        if not kernel % 2:
            raise UserError(f"kernel={kernel}: must be odd, so that the two paths give maps of the same size.")
        shape = {"types": types, "dim": dim, "kernel": kernel, "padding": kernel // 2}
        entry = SquashedConvolution(inputs, stride=stride, **shape)
        super().__init__(inputs, entry.outputs)
        self.entry = entry
        self.first = SquashedConvolution(self.outputs, **shape)
        self.second = SquashedConvolution(self.outputs, **shape)
        own = {key: value for key, value in {"types": types, "dim": dim}.items() if key in skip.options}
        self.skip = skip.replace(**own).build(self.outputs)
        if self.skip.outputs[:4] != self.outputs[:4]:
            raise UserError(f"The skip path {skip.name!r} makes {self.skip.outputs}, beside {self.outputs}.")

    def forward(self, capsules: Capsules) -> Capsules:
        """The sum of both paths."""
        entry = self.entry(capsules)
        deep, skipped = self.second(self.first(entry)), self.skip(entry)
        # The sum of two lengths may exceed 1, their mean does not.
        return Capsules(deep.poses + skipped.poses, (deep.activations + skipped.activations) / 2)
