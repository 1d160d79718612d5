"""Routings: how parts agree on wholes. Importing this package registers them."""

from capsnet_dist.routing.dynamic import DynamicRouting

__all__ = ["DynamicRouting"]
