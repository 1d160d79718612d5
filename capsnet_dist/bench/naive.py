"""CapsNet as public implementations write it: what ours is measured against, in plain PyTorch.

Votes are stored, b x i x j x d numbers; convolutions are the library's; sums over votes are products of tensors that
are added up. So do XifengGuo/CapsNet-Pytorch, danielhavir/capsule-network, gram-ai/capsule-networks and
adambielski/CapsNet-pytorch, whose optimizer is torch.optim.Adam as it comes. Parameters bear the names of ours, so that
weights load from one to the other, and outputs, losses and gradients are the same.
"""

import math
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.functional import one_hot

from capsnet_dist.geometry import output_side
from capsnet_dist.plugins import Image, Output

Gradient = Literal["full", "last"]
Votes = Literal["matmul", "einsum"]


class NaiveCapsNet(nn.Module):
    """The network of Sabour et al. (2017, figures 1 and 2).

    Args:
        image: Channels, height and width of an image.
        classes: Number of classes, j.
        channels: Channels of the first convolution.
        primary_types: Types of primary capsule.
        gradient: "full": through all rounds of routing. "last": through the last one only, votes detached before.
        votes: "matmul": one small product for each sample and vote, W repeated by broadcasting, as all four public
            implementations do. "einsum": one product for each part, the fastest form in plain PyTorch.
    """

    def __init__(
        self,
        image: Image,
        classes: int,
        *,
        channels: int = 256,
        primary_types: int = 32,
        gradient: Gradient = "full",
        votes: Votes = "matmul",
    ) -> None:
        super().__init__()
        height, width = (output_side(output_side(side, 9, 1), 9, 2) for side in image[1:])
        self.conv = nn.Conv2d(image[0], channels, kernel_size=9)
        self.primary = NaivePrimaryCapsules(channels, primary_types, 8)
        self.class_capsules = NaiveClassCapsules(
            primary_types * height * width, 8, classes, 16, gradient=gradient, votes=votes
        )
        self.decoder = NaiveDecoder(image, classes * 16)

    def forward(self, images: Float[Tensor, "b c h w"], labels: Int64[Tensor, " b"] | None = None) -> Output:
        """Lengths and poses of the class capsules, and the image rebuilt from one of them."""
        u = self.primary(self.conv(images).relu())
        v = self.class_capsules(u)
        scores = (v.square().sum(dim=-1) + 1e-14).sqrt()  # ours, so that gradients at zero are the same
        kept = scores.argmax(dim=-1) if labels is None else labels
        masked = v * one_hot(kept, scores.shape[1]).to(v.dtype)[..., None]
        return Output(scores, v, self.decoder(masked))


class NaivePrimaryCapsules(nn.Module):
    """A convolution whose neighbouring channels are the numbers of a pose.

    Args:
        channels: Channels of the maps.
        types: Types of capsule.
        dim: Pose size, p.
    """

    def __init__(self, channels: int, types: int, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.conv = nn.Conv2d(channels, types * dim, kernel_size=9, stride=2)

    def forward(self, maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b i p"]:
        """The capsules, type by type, row by row."""
        return squash(rearrange(self.conv(maps), "b (n p) h w -> b (n h w) p", p=self.dim))


class NaiveClassCapsules(nn.Module):
    """Votes and routing by agreement (procedure 1), line by line.

    Args:
        parts: Number of parts, i.
        part_dim: Their pose size, p.
        wholes: Number of wholes, j.
        dim: Their pose size, d.
        gradient: As that of `NaiveCapsNet`.
        votes: As that of `NaiveCapsNet`.
        iterations: Rounds.
    """

    def __init__(
        self,
        parts: int,
        part_dim: int,
        wholes: int,
        dim: int,
        *,
        gradient: Gradient = "full",
        votes: Votes = "matmul",
        iterations: int = 3,
    ) -> None:
        super().__init__()
        self.gradient, self.kind, self.iterations = gradient, votes, iterations
        self.weight = nn.Parameter(0.1 * torch.randn(parts, wholes, dim, part_dim))

    def forward(self, u: Float[Tensor, "b i p"]) -> Float[Tensor, "b j d"]:
        """Route."""
        u_hat = self.votes(u)
        inner = u_hat if self.gradient == "full" else u_hat.detach()
        b = u_hat.new_zeros(u_hat.shape[:3])
        for _ in range(self.iterations - 1):
            c = b.softmax(dim=2)
            v = squash((c[..., None] * inner).sum(dim=1))
            b = b + (inner * v[:, None]).sum(dim=-1)
        c = b.softmax(dim=2)
        return squash((c[..., None] * u_hat).sum(dim=1))

    def votes(self, u: Float[Tensor, "b i p"]) -> Float[Tensor, "b i j d"]:
        """u_hat_ij = W_ij u_i (equation 2)."""
        if self.kind == "einsum":
            return torch.einsum("bip,ijdp->bijd", u, self.weight)
        return rearrange(torch.matmul(self.weight, rearrange(u, "b i p -> b i 1 p 1")), "b i j d 1 -> b i j d")


class NaiveDecoder(nn.Module):
    """Three fully connected layers (figure 2).

    Args:
        image: Channels, height and width of an image.
        width: Numbers in all class capsules together.
    """

    def __init__(self, image: Image, width: int) -> None:
        super().__init__()
        self.image = image
        self.layers = nn.Sequential(
            nn.Linear(width, 512),
            nn.ReLU(),
            nn.Linear(512, 1024),
            nn.ReLU(),
            nn.Linear(1024, math.prod(image)),
            nn.Sigmoid(),
        )

    def forward(self, masked: Float[Tensor, "b j d"]) -> Float[Tensor, "b c h w"]:
        """Images from the poses, all but one of which are zero."""
        channels, height, _ = self.image
        return rearrange(
            self.layers(rearrange(masked, "b j d -> b (j d)")), "b (c h w) -> b c h w", c=channels, h=height
        )


def squash(s: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
    """Equation 1."""
    squared = s.square().sum(dim=-1, keepdim=True)
    return squared / (1 + squared) * s / (squared + 1e-8).sqrt()


def naive_loss(output: Output, images: Float[Tensor, "b c h w"], labels: Int64[Tensor, " b"]) -> Float[Tensor, ""]:
    """Margin loss (equation 4) and 0.0005 times the squared error of the image (section 4.1), means over the batch."""
    assert output.reconstruction is not None
    scores = output.scores
    present = one_hot(labels, scores.shape[1]).to(scores.dtype)
    margin = present * (0.9 - scores).relu() ** 2 + 0.5 * (1 - present) * (scores - 0.1).relu() ** 2
    error = (output.reconstruction - images) ** 2
    return margin.sum(dim=1).mean() + 0.0005 * error.sum(dim=(1, 2, 3)).mean()
