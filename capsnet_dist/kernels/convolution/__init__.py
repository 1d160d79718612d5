"""Convolutions with large kernels, by few products."""
