"""Optimizers and learning-rate schedules. Importing this package registers them."""

from capsnet_dist.optim.optimizers import adam, sgd
from capsnet_dist.optim.schedules import Constant, Exponential

__all__ = ["Constant", "Exponential", "adam", "sgd"]
