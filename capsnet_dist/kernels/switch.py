"""Whether fast paths are taken: by default, and not with `--exact`."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

_allowed = True

Value = TypeVar("Value")

BACKENDS: Any = torch.backends

FLOAT32 = (BACKENDS.cuda.matmul, BACKENDS.cudnn.conv, BACKENDS.cudnn.rnn, BACKENDS.mkldnn.matmul)
"""Each has fp32_precision."""


def fast_paths_allowed() -> bool:
    """Whether what is computed may be computed in another way than it is defined.

    While torch.export or torch.compile captures a graph it may not: that holds what PyTorch knows, and does not depend
    on the size of a batch, as fast paths do.
    """
    return _allowed and not torch.compiler.is_compiling()


@contextmanager
def fast_paths(allowed: bool) -> Generator[None]:
    """Allow or forbid, in this process, whatever has a slow twin: votes that are not written down, routing in one
    pass, convolutions other than the library's, fused optimizers, and TF32 in the library's convolutions on a GPU.
    Whether TF32 is allowed is afterwards as it was before.

    Args:
        allowed: False computes all of these as they are defined.
    """
    global _allowed
    before = _allowed
    _allowed = allowed
    try:
        with _precisions():
            if not allowed:
                BACKENDS.cuda.matmul.allow_tf32 = BACKENDS.cudnn.allow_tf32 = False
                BACKENDS.cudnn.conv.fp32_precision = BACKENDS.cudnn.rnn.fp32_precision = "ieee"
            yield
    finally:
        _allowed = before


def follow_precision(mixed: str) -> None:
    """Beside products of 16 bits let those that stay in float32 on a GPU be of TF32, eight times as fine as bfloat16.

    Args:
        mixed: Accelerate's mixed precision: "no", "bf16" or "fp16".
    """
    if _allowed and mixed in ("bf16", "fp16"):
        BACKENDS.cuda.matmul.allow_tf32 = True


@contextmanager
def _precisions() -> Generator[None]:
    """Give back the precision of products in float32, which PyTorch keeps twice: by old names and by new ones."""
    matmul = _unless_mixed(torch.get_float32_matmul_precision)
    cudnn = _unless_mixed(lambda: BACKENDS.cudnn.allow_tf32)
    precisions = [where.fp32_precision for where in FLOAT32]
    try:
        yield
    finally:
        if matmul is not None:
            torch.set_float32_matmul_precision(matmul)
        if cudnn is not None:
            BACKENDS.cudnn.allow_tf32 = cudnn
        for where, precision in zip(FLOAT32, precisions, strict=True):
            where.fp32_precision = precision


def _unless_mixed(read: Callable[[], Value]) -> Value | None:
    """A setting by its old name; None where the program has set it by its new name, and PyTorch refuses to tell."""
    try:
        return read()
    except RuntimeError:
        return None
