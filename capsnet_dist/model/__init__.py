"""Published networks. Importing this package registers them."""

from capsnet_dist.model.attention_resnet import AttentionResNet
from capsnet_dist.model.capsnet import CapsNet
from capsnet_dist.model.cnn import CNN
from capsnet_dist.model.deepcaps import DeepCaps
from capsnet_dist.model.efficient_capsnet import EfficientCapsNet
from capsnet_dist.model.hvc import HVC
from capsnet_dist.model.matrix_capsnet import MatrixCapsNet
from capsnet_dist.model.self_routing_resnet import SelfRoutingResNet
from capsnet_dist.model.stack import Stack
from capsnet_dist.model.variational_capsnet import VariationalCapsNet

__all__ = [
    "CNN",
    "HVC",
    "AttentionResNet",
    "CapsNet",
    "DeepCaps",
    "EfficientCapsNet",
    "MatrixCapsNet",
    "SelfRoutingResNet",
    "Stack",
    "VariationalCapsNet",
]
