"""A decoder by interpolation and convolution (Mazzia et al., 2021: Efficient-CapsNet for smallNORB)."""

import itertools
import math

from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor, nn

from capsnet_dist.layer.decoder import mask
from capsnet_dist.plugins import Decoder, Image, decoders
from capsnet_dist.ranges import Counts


@decoders.register("upsampling")
class UpsamplingDecoder(Decoder):
    """A small map, enlarged and convolved in turn, from the capsule of one class (Efficient-CapsNet, 2021).

    The authors' code for smallNORB, except that convolutions are padded and the result is cut to the image, whatever
    its size: 8 x 8 becomes 64 x 64 and then 48 x 48.

    Args:
        image: Channels, height and width of an image.
        classes: Number of classes, j.
        dim: Pose size of a class capsule, d.
        channels: Channels of each convolution; the map is doubled before each.
    """

    def __init__(self, image: Image, classes: int, dim: int, *, channels: Counts = (64, 128, 128)) -> None:
        super().__init__()
        self.image = image
        factor = 2 ** len(channels)
        self.start = [math.ceil(side / factor) for side in image[1:]]
        self.dense = nn.Linear(classes * dim, math.prod(self.start))
        steps: list[nn.Module] = []
        for before, after in itertools.pairwise((1, *channels)):
            steps += [nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(before, after, 3, padding=1)]
            steps += [nn.LeakyReLU(0.2)]  # 0.2: TensorFlow's default slope
        self.steps = nn.Sequential(*steps, nn.Conv2d((1, *channels)[-1], image[0], 3, padding=1), nn.Sigmoid())

    def forward(self, poses: Float[Tensor, "b j d"], labels: Int64[Tensor, " b"]) -> Float[Tensor, "b c h w"]:
        """Rebuild each image from the capsule of its label."""
        _, height, width = self.image
        numbers = self.dense(rearrange(mask(poses, labels), "b j d -> b (j d)"))
        maps = rearrange(numbers, "b (h w) -> b 1 h w", h=self.start[0])
        return self.steps(maps)[:, :, :height, :width]
