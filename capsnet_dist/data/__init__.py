"""Data sets and augmentations. Importing this package registers them."""

from capsnet_dist.data.augment import NoAugmentation, Shift
from capsnet_dist.data.digits import Digits
from capsnet_dist.data.folder import Folder
from capsnet_dist.data.mnist import MNIST

__all__ = ["MNIST", "Digits", "Folder", "NoAugmentation", "Shift"]
