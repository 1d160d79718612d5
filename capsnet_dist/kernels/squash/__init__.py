"""Capsules out of feature maps."""
