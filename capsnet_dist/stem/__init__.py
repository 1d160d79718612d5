"""Stems: images to feature maps. Importing this package registers them."""

from capsnet_dist.stem.convolution import ConvolutionStem

__all__ = ["ConvolutionStem"]
