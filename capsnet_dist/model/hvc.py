"""Homogeneous vector capsules in branches (Byerly et al., 2021: No routing needed between capsules)."""

from typing import ClassVar, Literal

import torch
from einops import einsum, rearrange
from jaxtyping import Float, Int64
from torch import Tensor, nn

from capsnet_dist.capsules import Capsules, Grid, lengths
from capsnet_dist.errors import UserError
from capsnet_dist.geometry import require_maps
from capsnet_dist.images.normalization import Normalization
from capsnet_dist.layer.homogeneous import HomogeneousCapsules, ShiftedNormalization
from capsnet_dist.plugins import Decoder, Image, Model, Output, decoders, models
from capsnet_dist.ranges import Count, Counts, Share
from capsnet_dist.registry import Choice

KERNEL = 3  # the side of all kernels in the paper


@models.register("hvc")
class HVC(Model):
    """Branches of homogeneous vector capsules along a chain of convolutions (Byerly et al., 2021, figure 3).

    A part is what all channels say at one position. With the defaults and 28x28 images of 10 classes: 1,513,686
    parameters, 756,000 in kernels and 756,480 in capsules. For smallNORB: branches 5 8 11. Train with cross entropy.

    Args:
        image: Channels, height and width of an image.
        classes: Number of classes, j.
        channels: Channels of the first convolution.
        growth: How many more each further one has.
        branches: After which convolutions, counted from 1, a branch leaves; the last branch ends the chain.
        merging: Weights of the branches in the sum. "learned": from 1 on. "random": learned, from random values on.
            "fixed": 1.
        momentum: Share of a new batch in the running statistics of normalization; 0.0003 as in the authors' code, whose
            training has 150,000 steps. Use more for a short one.
        decoder: How an image is rebuilt from a capsule of the last branch.

    Raises:
        UserError: the image is too small, or the branches are not in order.
    """

    published_normalization: ClassVar[Normalization] = "symmetric"

    def __init__(
        self,
        image: Image,
        classes: int,
        *,
        channels: Count = 32,
        growth: Count = 16,
        branches: Counts = (3, 6, 9),
        merging: Literal["learned", "random", "fixed"] = "learned",
        momentum: Share = 0.0003,
        decoder: Choice[Decoder] = decoders("none"),
    ) -> None:
        super().__init__(image, classes)
        if not branches or branches != tuple(sorted({*branches})) or branches[0] < 1:
            raise UserError(f"branches={branches}: must be numbers of convolutions in order, from 1 on, such as 3 6 9.")
        require_maps(image, image, *[(KERNEL, 1)] * branches[-1])
        widths = [channels + growth * index for index in range(branches[-1])]
        inputs, height, width = image
        self.convolutions = nn.ModuleList(
            _convolution(before, after, momentum) for before, after in zip([inputs, *widths], widths, strict=False)
        )
        self.branches = nn.ModuleDict()
        for number in branches:
            lost = number * (KERNEL - 1)
            grid = Grid(1, height - lost, width - lost, widths[number - 1], activations=False)
            self.branches[str(number)] = HomogeneousCapsules(grid, wholes=classes, momentum=momentum)
        weights = torch.randn(len(branches)) * 0.05 if merging == "random" else torch.ones(len(branches))
        self.weights = nn.Parameter(weights, requires_grad=merging != "fixed")
        self.norm = ShiftedNormalization(len(branches), momentum)
        self.decoder = decoder.build(image, classes, widths[-1])

    def forward(self, images: Float[Tensor, "b c h w"], labels: Int64[Tensor, "b *m"] | None = None) -> Output:
        """Scores are logits; the poses are those of the last branch."""
        maps, poses, logits = images, images.new_zeros(0), list[Tensor]()
        for number, convolution in enumerate(self.convolutions, start=1):
            maps = convolution(maps)
            if str(number) in self.branches:
                poses = self.branches[str(number)](_parts(maps)).poses
                logits.append(lengths(poses))
        scores = self._merge(torch.stack(logits, dim=1))
        kept = scores.argmax(dim=-1) if labels is None else labels
        return Output(scores, poses, self.rebuild(poses, kept))

    def _merge(self, logits: Float[Tensor, "b s j"]) -> Float[Tensor, "b j"]:
        """The weighted sum of the branches' logits, each normalized over samples and classes."""
        weighted = einsum(logits, self.weights, "b s j, s -> b s j")
        return self.norm(rearrange(weighted, "b s j -> b s j 1")).sum(dim=(1, 3))


def _convolution(inputs: int, outputs: int, momentum: float) -> nn.Module:
    conv = nn.Conv2d(inputs, outputs, KERNEL, bias=False)
    nn.init.normal_(conv.weight, std=0.05)  # TensorFlow's default, which the authors keep
    return nn.Sequential(conv, ShiftedNormalization(outputs, momentum), nn.ReLU())


def _parts(maps: Float[Tensor, "b c h w"]) -> Capsules:
    poses = rearrange(maps, "b c h w -> b (h w) c")
    return Capsules(poses, torch.ones_like(poses[..., 0]))
