"""Weights that others trained: files in the layouts of known repositories, as networks of this package."""
