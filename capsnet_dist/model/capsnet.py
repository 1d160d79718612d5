"""CapsNet (Sabour et al., 2017, figures 1 and 2)."""

from typing import Literal

from jaxtyping import Float, Int64
from torch import Tensor, nn

from capsnet_dist.errors import UserError
from capsnet_dist.kernels import Convolution, FastConv2d
from capsnet_dist.layer import DenseCapsules, PrimaryCapsules
from capsnet_dist.layer.voting import require_activations
from capsnet_dist.plugins import Decoder, Image, Model, Output, Routing, decoders, models, routings
from capsnet_dist.ranges import Count, Positive
from capsnet_dist.registry import Choice


@models.register("capsnet")
class CapsNet(Model):
    """The network of Sabour et al. (2017, figures 1 and 2): convolution, primary capsules, class capsules, decoder.

    With the defaults and 28x28 images of 10 classes: 8,215,568 parameters, 6,804,224 of them outside the decoder.

    Args:
        image: Channels, height and width of an image.
        classes: Number of classes, j.
        channels: Channels of the first convolution.
        kernel: Side of its kernel, in pixels.
        primary_types: Types of primary capsule.
        primary_dim: Pose size of a primary capsule, p.
        primary_kernel: Side of the primary capsules' kernel, in pixels.
        primary_stride: Step of that kernel, in pixels.
        primary_factor: What that convolution is multiplied by, before its bias; 1 / primary_types in the authors' code,
            whose optimizer therefore moves its kernel as many times slower.
        dim: Pose size of a class capsule, d.
        routing: How primary capsules agree on class capsules.
        decoder: How an image is rebuilt from a class capsule.
        initialization: "torch": PyTorch's for convolutions and decoder, normal with deviation 0.1 for the votes (the
            paper names none). "authors": the function that the authors' code starts from, by truncated normals and
            biases of 0.1, the primary capsules' kernel divided by primary_types; with primary_factor it trains alike.
        convolution: How the convolutions are computed. "auto": as costs least by their sizes. "direct": by the library.
            "bilinear": that of the primary capsules with a fraction of the multiplications, and an error like the
            library's. "bilinear_loose": with fewer still, and an error up to five times as large.

    Raises:
        UserError: the image is too small for the kernels, or the routing makes no activations.
    """

    def __init__(
        self,
        image: Image,
        classes: int,
        *,
        channels: Count = 256,
        kernel: Count = 9,
        primary_types: Count = 32,
        primary_dim: Count = 8,
        primary_kernel: Count = 9,
        primary_stride: Count = 2,
        primary_factor: Positive = 1.0,
        dim: Count = 16,
        routing: Choice[Routing] = routings("dynamic"),
        decoder: Choice[Decoder] = decoders("masked"),
        initialization: Literal["torch", "authors"] = "torch",
        convolution: Convolution = "auto",
    ) -> None:
        super().__init__(image, classes)
        input_channels, height, width = image
        smallest = kernel + primary_kernel - 1
        if min(height, width) < smallest:
            raise UserError(
                f"Images of {height}x{width} pixels are too small for kernels of {kernel} and {primary_kernel}: at "
                f"least {smallest}x{smallest}. Use larger images, or a smaller kernel or primary_kernel."
            )
        first: Convolution = "direct" if convolution == "direct" else "auto"
        self.conv = FastConv2d(input_channels, channels, kernel, algorithm=first, rectify=True)
        maps = (channels, height - kernel + 1, width - kernel + 1)
        self.primary = PrimaryCapsules(
            maps,
            types=primary_types,
            dim=primary_dim,
            kernel=primary_kernel,
            stride=primary_stride,
            factor=primary_factor,
            convolution=convolution,
        )
        self.class_capsules = DenseCapsules(self.primary.outputs, wholes=classes, dim=dim, routing=routing)
        require_activations(self.class_capsules, routing)
        self.decoder = decoder.build(image, classes, dim)
        if initialization == "authors":
            self._initialize_as_authors()

    def forward(self, images: Float[Tensor, "b c h w"], labels: Int64[Tensor, "b *m"] | None = None) -> Output:
        """Scores are the lengths of the class capsules."""
        poses, scores = self.class_capsules(self.primary(self.conv(images)))
        kept = scores.argmax(dim=-1) if labels is None else labels
        return Output(scores, poses, self.rebuild(poses, kept))

    def _initialize_as_authors(self) -> None:
        """Truncated normals, and biases of 0.1: the function that the code of the authors starts from.

        Their primary capsules pass through the code of routing, with one input type and one iteration: a softmax over
        the types, which divides the convolution by their number. So lengths start at 0.15 and not at 0.8.
        """
        assert isinstance(self.primary, PrimaryCapsules)
        deviations = {
            "conv.weight": 0.05,
            "primary.conv.weight": 0.1 / self.primary.outputs.types / self.primary.factor,
        }
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.constant_(parameter, 0.1)
            else:
                std = deviations.get(name, 0.1)
                nn.init.trunc_normal_(parameter, std=std, a=-2 * std, b=2 * std)
