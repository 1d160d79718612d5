"""DeepCaps (Rajasegaran et al., 2019)."""

import torch
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor, nn

from capsnet_dist.capsules import Capsules, Grid
from capsnet_dist.errors import UserError
from capsnet_dist.layer import DenseCapsules
from capsnet_dist.layer.residual import ResidualCapsules
from capsnet_dist.layer.voting import require_activations
from capsnet_dist.plugins import Decoder, Image, Layer, Model, Output, Routing, decoders, layers, models, routings
from capsnet_dist.ranges import Count, Counts
from capsnet_dist.registry import Choice


@models.register("deepcaps")
class DeepCaps(Model):
    """Residual blocks of capsules, the last of which routes by 3-D convolution (Rajasegaran et al., 2019, figure 2).

    The capsules of the last two blocks vote for the classes together. With 10 classes and without the decoder:
    8,441,920 parameters for 1x28x28 images, 8,444,224 for 3x32x32, 13,359,424 for 3x64x64, as in the authors' code. The
    7.2 million that are told of the paper would fit class capsules that see the last block alone.

    Args:
        image: Channels, height and width of an image.
        classes: Number of classes, j.
        channels: Channels of the first convolution.
        types: Types of capsule in every block.
        dims: Pose size in each block; each halves the map.
        dim: Pose size of a class capsule, d.
        skip: The skip path of the last block.
        routing: How the capsules of the last two blocks agree on class capsules.
        decoder: How an image is rebuilt from a class capsule.

    Raises:
        UserError: fewer than two blocks, the image is too small to be halved by each, or the routing makes no
            activations.
    """

    def __init__(
        self,
        image: Image,
        classes: int,
        *,
        channels: Count = 128,
        types: Count = 32,
        dims: Counts = (4, 8, 8, 8),
        dim: Count = 32,
        skip: Choice[Layer] = layers("three_dimensional"),
        routing: Choice[Routing] = routings("dynamic", bias=True),
        decoder: Choice[Decoder] = decoders("class_independent"),
    ) -> None:
        super().__init__(image, classes)
        inputs, height, width = image
        if len(dims) < 2 or dims[-1] != dims[-2]:
            raise UserError(f"dims={dims}: needs at least two blocks, and the last two of equal pose size.")
        if min(height, width) < 2 ** len(dims):
            smallest = 2 ** len(dims)
            raise UserError(
                f"Images of {height}x{width} pixels are too small to be halved by {len(dims)} blocks: at least "
                f"{smallest}x{smallest}. Use larger images or fewer dims."
            )
        self.conv = nn.Conv2d(inputs, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)  # Keras' defaults, which the authors keep
        grids = [Grid(1, height, width, channels, activations=False)]
        self.blocks = nn.ModuleList()
        for number, pose_size in enumerate(dims, start=1):
            path = skip if number == len(dims) else layers("squashed")
            self.blocks.append(block := ResidualCapsules(grids[-1], types=types, dim=pose_size, skip=path))
            grids.append(block.outputs)
        num_parts = sum(grid.num_capsules for grid in grids[-2:])
        self.class_capsules = DenseCapsules(Grid(num_parts, 1, 1, dims[-1]), wholes=classes, dim=dim, routing=routing)
        require_activations(self.class_capsules, routing)
        self.decoder = decoder.build(image, classes, dim)

    def forward(self, images: Float[Tensor, "b c h w"], labels: Int64[Tensor, "b *m"] | None = None) -> Output:
        """Scores are the activations of the class capsules: their lengths."""
        maps = self.norm(self.conv(images).relu())
        levels = [_one_type(maps)]
        for block in self.blocks:
            levels.append(block(levels[-1]))
        poses, scores = self.class_capsules(_together(levels[-1], levels[-2]))
        kept = scores.argmax(dim=-1) if labels is None else labels
        return Output(scores, poses, self.rebuild(poses, kept))


def _one_type(maps: Float[Tensor, "b c h w"]) -> Capsules:
    """All channels at a position as one capsule."""
    poses = rearrange(maps, "b c h w -> b (h w) c")
    return Capsules(poses, torch.ones_like(poses[..., 0]))


def _together(*capsules: Capsules) -> Capsules:
    return Capsules(*(torch.cat(tensors, dim=1) for tensors in zip(*capsules, strict=True)))
