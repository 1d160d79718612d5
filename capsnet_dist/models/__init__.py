"""Published networks. Importing this package registers them."""

from capsnet_dist.models.capsnet import CapsNet

__all__ = ["CapsNet"]
