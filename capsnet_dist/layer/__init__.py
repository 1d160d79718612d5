"""Capsule layers and decoders. Importing this package registers them."""

from capsnet_dist.layer.convolutional import ConvolutionalCapsules
from capsnet_dist.layer.decoder import MaskedDecoder, NoDecoder
from capsnet_dist.layer.decoder_deconvolution import ClassIndependentDecoder, DeconvolutionDecoder
from capsnet_dist.layer.decoder_two_object import TwoObjectDecoder
from capsnet_dist.layer.decoder_upsampling import UpsamplingDecoder
from capsnet_dist.layer.dense import DenseCapsules
from capsnet_dist.layer.depthwise import DepthwisePrimary
from capsnet_dist.layer.homogeneous import HomogeneousCapsules
from capsnet_dist.layer.matrix import MatrixPrimary
from capsnet_dist.layer.normalization import PoseNormalization
from capsnet_dist.layer.normalized import NormalizedPrimary
from capsnet_dist.layer.primary import PrimaryCapsules
from capsnet_dist.layer.residual import ResidualCapsules
from capsnet_dist.layer.shared import SharedCapsules
from capsnet_dist.layer.squashed import SquashedConvolution
from capsnet_dist.layer.three_dimensional import ThreeDimensionalCapsules
from capsnet_dist.layer.unsquashed import UnsquashedPrimary
from capsnet_dist.layer.untransformed import UntransformedCapsules

__all__ = [
    "ClassIndependentDecoder",
    "ConvolutionalCapsules",
    "DeconvolutionDecoder",
    "DenseCapsules",
    "DepthwisePrimary",
    "HomogeneousCapsules",
    "MaskedDecoder",
    "MatrixPrimary",
    "NoDecoder",
    "NormalizedPrimary",
    "PoseNormalization",
    "PrimaryCapsules",
    "ResidualCapsules",
    "SharedCapsules",
    "SquashedConvolution",
    "ThreeDimensionalCapsules",
    "TwoObjectDecoder",
    "UnsquashedPrimary",
    "UntransformedCapsules",
    "UpsamplingDecoder",
]
