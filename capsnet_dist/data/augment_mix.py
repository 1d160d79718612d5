"""An augmentation that mixes images of two samples, and their classes with them."""

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor
from typing_extensions import override

from capsnet_dist.data.resample import to_bytes
from capsnet_dist.plugins import Augmentation, augmentations
from capsnet_dist.ranges import Positive

STEPS = 4096  # of the table of quantiles


@augmentations.register("mixup")
class Mixup(Augmentation):
    """Blend each image with one of any other sample, and the losses of both classes likewise (Zhang et al., 2018).

    The share of the image itself is that of the beta distribution, or what is left of it, whichever is larger: partners
    are drawn from all training images, so that this leaves out no mixture. Training accuracy counts its class.

    Args:
        alpha: Both parameters of the beta distribution: 1 makes all shares equally likely, less leaves most images
            nearly as they are.
    """

    num_draws = 1
    mixes = True

    def __init__(self, *, alpha: Positive = 1.0) -> None:
        from scipy.special import betaincinv

        middles = (np.arange(STEPS) + 0.5) / STEPS
        self.shares = torch.from_numpy(betaincinv(alpha, alpha, middles)).float()

    @override
    def __call__(self, images: UInt8[Tensor, "b c h w"], draws: Float[Tensor, "b k"]) -> UInt8[Tensor, "b c h w"]:
        return images

    @override
    def mix(
        self,
        images: UInt8[Tensor, "b c h w"],
        others: UInt8[Tensor, "b c h w"],
        draws: Float[Tensor, "b k"],
        other_draws: Float[Tensor, "b k"],
    ) -> tuple[UInt8[Tensor, "b c h w"], Float[Tensor, " b"]]:
        self.shares = self.shares.to(draws.device)
        drawn = self.shares[(draws[:, 0] * STEPS).long()]
        share = torch.maximum(drawn, 1 - drawn)
        own = rearrange(share, "b -> b 1 1 1")
        return to_bytes(own * images + (1 - own) * others), share
