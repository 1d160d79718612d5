"""Losses. Importing this package registers them."""

from capsnet_dist.loss.cross_entropy import CrossEntropy
from capsnet_dist.loss.margin import Margin
from capsnet_dist.loss.negative_log_likelihood import NegativeLogLikelihood
from capsnet_dist.loss.none import NoLoss
from capsnet_dist.loss.reconstruction import Reconstruction
from capsnet_dist.loss.spread import Spread

__all__ = ["CrossEntropy", "Margin", "NegativeLogLikelihood", "NoLoss", "Reconstruction", "Spread"]
