"""Whether fast paths are taken: by default, and not with `--exact`."""

from collections.abc import Generator
from contextlib import contextmanager

import torch

_allowed = True


def fast_paths_allowed() -> bool:
    """Whether what is computed may be computed in another way than it is defined."""
    return _allowed


@contextmanager
def fast_paths(allowed: bool) -> Generator[None]:
    """Allow or forbid, in this process, whatever has a slow twin: votes that are not written down, routing in one
    pass, convolutions other than the library's, fused optimizers, and TF32 in the library's convolutions on a GPU.

    Args:
        allowed: False computes all of these as they are defined.
    """
    global _allowed
    before, tf32 = _allowed, torch.backends.cudnn.allow_tf32
    _allowed, torch.backends.cudnn.allow_tf32 = allowed, tf32 and allowed
    try:
        yield
    finally:
        _allowed, torch.backends.cudnn.allow_tf32 = before, tf32
