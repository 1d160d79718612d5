"""Published networks. Importing this package registers them."""

from capsnet_dist.model.capsnet import CapsNet
from capsnet_dist.model.cnn import CNN
from capsnet_dist.model.deepcaps import DeepCaps
from capsnet_dist.model.efficient_capsnet import EfficientCapsNet
from capsnet_dist.model.hvc import HVC
from capsnet_dist.model.stack import Stack

__all__ = ["CNN", "HVC", "CapsNet", "DeepCaps", "EfficientCapsNet", "Stack"]
