"""Routings: how parts agree on wholes. Importing this package registers them."""

from capsnet_dist.routing.attention import AttentionRouting
from capsnet_dist.routing.dynamic import DynamicRouting
from capsnet_dist.routing.em import EMRouting
from capsnet_dist.routing.heinsen import HeinsenRouting
from capsnet_dist.routing.kmeans import KMeansRouting
from capsnet_dist.routing.max_min import MaxMinRouting
from capsnet_dist.routing.self_attention import SelfAttentionRouting
from capsnet_dist.routing.self_routing import SelfRouting
from capsnet_dist.routing.uniform import UniformRouting
from capsnet_dist.routing.variational_bayes import VariationalBayesRouting

__all__ = [
    "AttentionRouting",
    "DynamicRouting",
    "EMRouting",
    "HeinsenRouting",
    "KMeansRouting",
    "MaxMinRouting",
    "SelfAttentionRouting",
    "SelfRouting",
    "UniformRouting",
    "VariationalBayesRouting",
]
