"""Capsule layers and decoders. Importing this package registers them."""

from capsnet_dist.layer.convolutional import ConvolutionalCapsules
from capsnet_dist.layer.decoder import MaskedDecoder, NoDecoder
from capsnet_dist.layer.dense import DenseCapsules
from capsnet_dist.layer.primary import PrimaryCapsules

__all__ = ["ConvolutionalCapsules", "DenseCapsules", "MaskedDecoder", "NoDecoder", "PrimaryCapsules"]
