"""Images of two overlapping objects, each rebuilt alone (Sabour et al., 2017, section 6: MultiMNIST)."""

import torch
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor

from capsnet_dist.capsules import squared_length
from capsnet_dist.errors import UserError
from capsnet_dist.objects import overlaid
from capsnet_dist.plugins import Decoder, Image, decoders
from capsnet_dist.registry import Choice


@decoders.register("two_object")
class TwoObjectDecoder(Decoder):
    """Two classes rebuilt one by one and laid upon another, as MultiMNIST was made (Sabour et al., 2017, section 6).

    The classes are that of the label and, of the others, the one with the longest pose: with the predicted label, the
    two most active ones. The sum of both images is clipped at 1, as the data's is at 255; its gradient is not. Where
    images have two labels, as those of `multimnist`, each object is rebuilt, and compared, alone.

    Args:
        image: Channels, height and width of an image.
        classes: Number of classes, j.
        dim: Pose size of a class capsule, d.
        single: How an image of one object is rebuilt.

    Raises:
        UserError: there is but one class, or the other decoder rebuilds nothing.
    """

    def __init__(self, image: Image, classes: int, dim: int, *, single: Choice[Decoder] = decoders("masked")) -> None:
        super().__init__()
        if classes < 2:
            raise UserError("Decoder 'two_object' rebuilds two classes, and there is only one.")
        if single.name == "none":
            raise UserError("Decoder 'two_object' needs another that rebuilds one object: single is 'none'.")
        self.single = single.build(image, classes, dim)

    def forward(self, poses: Float[Tensor, "b j d"], labels: Int64[Tensor, " b"]) -> Float[Tensor, "b c h w"]:
        """Rebuild each image from two capsules."""
        return overlaid(self.objects(poses, labels))

    def objects(self, poses: Float[Tensor, "b j d"], labels: Int64[Tensor, "b *m"]) -> Float[Tensor, "b o c h w"]:
        """The objects apart: those of the labels, or that of the only label and the most active other."""
        if labels.ndim == 1:
            others = squared_length(poses).scatter(1, rearrange(labels, "b -> b 1"), -torch.inf).argmax(dim=1)
            labels = torch.stack([labels, others], dim=1)
        found = self.single.objects(poses, labels)
        assert found is not None, "a decoder that rebuilds nothing was refused"
        return found
