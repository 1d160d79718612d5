"""Optimizers and learning-rate schedules. Importing this package registers them."""

from capsnet_dist.optim.optimizers import adam, sgd
from capsnet_dist.optim.rectified_adam import radam
from capsnet_dist.optim.schedules import Constant, Cosine, Exponential, Geometric, OneCycle, Stepwise, Warmup

__all__ = ["Constant", "Cosine", "Exponential", "Geometric", "OneCycle", "Stepwise", "Warmup", "adam", "radam", "sgd"]
