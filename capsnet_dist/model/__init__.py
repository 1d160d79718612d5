"""Published networks. Importing this package registers them."""

from capsnet_dist.model.capsnet import CapsNet

__all__ = ["CapsNet"]
