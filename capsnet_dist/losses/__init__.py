"""Losses. Importing this package registers them."""

from capsnet_dist.losses.margin import Margin
from capsnet_dist.losses.none import NoLoss
from capsnet_dist.losses.reconstruction import Reconstruction

__all__ = ["Margin", "NoLoss", "Reconstruction"]
