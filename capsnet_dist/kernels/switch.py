"""Whether fast paths are taken: by default, and not with `--exact`."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch

_allowed = True

TF32: Any = (torch.backends.cudnn, torch.backends.cuda.matmul)  # each has allow_tf32


def fast_paths_allowed() -> bool:
    """Whether what is computed may be computed in another way than it is defined."""
    return _allowed


@contextmanager
def fast_paths(allowed: bool) -> Generator[None]:
    """Allow or forbid, in this process, whatever has a slow twin: votes that are not written down, routing in one
    pass, convolutions other than the library's, fused optimizers, and TF32 in the library's convolutions on a GPU.
    Whether TF32 is allowed is afterwards as it was before.

    Args:
        allowed: False computes all of these as they are defined.
    """
    global _allowed
    before, tf32 = _allowed, [where.allow_tf32 for where in TF32]
    _allowed = allowed
    for where in TF32:
        where.allow_tf32 = where.allow_tf32 and allowed
    try:
        yield
    finally:
        _allowed = before
        for where, value in zip(TF32, tf32, strict=True):
            where.allow_tf32 = value


def follow_precision(mixed: str) -> None:
    """Beside products of 16 bits let those that stay in float32 on a GPU be of TF32, eight times as fine as bfloat16.

    Args:
        mixed: Accelerate's mixed precision: "no", "bf16" or "fp16".
    """
    if _allowed and mixed in ("bf16", "fp16"):
        torch.backends.cuda.matmul.allow_tf32 = True
