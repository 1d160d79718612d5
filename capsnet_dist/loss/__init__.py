"""Losses. Importing this package registers them."""

from capsnet_dist.loss.margin import Margin
from capsnet_dist.loss.none import NoLoss
from capsnet_dist.loss.reconstruction import Reconstruction

__all__ = ["Margin", "NoLoss", "Reconstruction"]
