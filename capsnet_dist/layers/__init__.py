"""Capsule layers and decoders. Importing this package registers them."""

from capsnet_dist.layers.decoder import MaskedDecoder, NoDecoder
from capsnet_dist.layers.dense import DenseCapsules
from capsnet_dist.layers.primary import PrimaryCapsules

__all__ = ["DenseCapsules", "MaskedDecoder", "NoDecoder", "PrimaryCapsules"]
