"""Fast ways to compute what layers need; each gives what its slow and obvious twin gives."""

from capsnet_dist.kernels.convolution.conv2d import FastConv2d
from capsnet_dist.kernels.convolution.tiling import Convolution
from capsnet_dist.kernels.switch import fast_paths, fast_paths_allowed, follow_precision

__all__ = ["Convolution", "FastConv2d", "fast_paths", "fast_paths_allowed", "follow_precision"]
