"""Stems: images to feature maps. Importing this package registers them."""

from capsnet_dist.stem.convolution import ConvolutionStem
from capsnet_dist.stem.convolutions import ConvolutionsStem
from capsnet_dist.stem.efficient import EfficientStem
from capsnet_dist.stem.resnet import ResidualBlock, ResNetStem
from capsnet_dist.stem.standardized import StandardizedStem

__all__ = ["ConvolutionStem", "ConvolutionsStem", "EfficientStem", "ResNetStem", "ResidualBlock", "StandardizedStem"]
