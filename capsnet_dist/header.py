"""The header of a safetensors file, checked before any memory is taken for its tensors."""

import itertools
import json
import math
import os
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn, cast

import torch

from capsnet_dist.errors import UserError

MAX_HEADER = 10_000_000  # bytes: room for some 80,000 tensors
MAX_NAME = 1_000
MAX_AXES = 64  # PyTorch's own limit

DTYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
}


class Entry(NamedTuple):
    """What the header says of one tensor."""

    dtype: torch.dtype
    shape: tuple[int, ...]


class Header(NamedTuple):
    """What a file holds, by name, and the words its writer added."""

    tensors: dict[str, Entry]
    metadata: dict[str, str]


def read_header(file: Path, data: BinaryIO) -> Header:
    """The header of an opened file: 8 bytes of length, JSON, then the tensors without a gap.

    Raises:
        UserError: the file is no safetensors file, cut short, longer than it says, or a Git LFS pointer.
    """
    size = os.fstat(data.fileno()).st_size
    start = data.read(23)
    if start == b"version https://git-lfs":
        raise UserError(f"{file} is a Git LFS pointer, not the weights. Run `git lfs pull`, or download it again.")
    if size < 8:
        _refuse(file, f"it holds {size} bytes, too few for a header")
    length = int.from_bytes(start[:8], "little")
    if length > MAX_HEADER:
        _refuse(file, f"its first bytes announce a header of {length:,} bytes")
    if 8 + length > size:
        raise UserError(
            f"{file} is cut short: {8 + length:,} bytes expected for its header alone, {size:,} found. "
            "Copy or download it again."
        )
    data.seek(8)
    try:
        parsed = json.loads(data.read(length), object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        _refuse(file, "its header is not JSON")
    if not isinstance(parsed, dict):
        _refuse(file, "its header is not a JSON object")
    entries = cast(dict[str, Any], parsed)
    metadata: Any = entries.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in cast(dict[str, Any], metadata).values()):
        _refuse(file, "its metadata are not words")
    expected = 8 + length + _check_layout(file, entries)
    if expected != size:
        raise UserError(
            f"{file} is cut short or has extra bytes: {expected:,} bytes expected, {size:,} found. "
            "Copy or download it again."
        )
    tensors = {name: Entry(DTYPES[entry["dtype"]], tuple(entry["shape"])) for name, entry in entries.items()}
    return Header(tensors, metadata)


def _check_layout(file: Path, entries: dict[str, Any]) -> int:
    """Refuse tensors that overlap, leave a gap or have another size than their shape; the bytes they take."""
    spans = [(0, 0)]
    for name, entry in entries.items():
        if len(name) > MAX_NAME or not name.isprintable():
            _refuse(file, f"its header names a tensor {name[:50]!r}")
        match entry:
            case {"dtype": str(kind), "shape": list(shape), "data_offsets": [int(begin), int(end)]} if len(entry) == 3:
                sides = cast(list[Any], shape)
            case _:
                _refuse(file, f"its header does not describe {name}")
        if kind not in DTYPES:
            _refuse(file, f"{name} is of the unknown type {kind[:50]!r}")
        if len(sides) > MAX_AXES or not all(type(side) is int and side >= 0 for side in sides):
            _refuse(file, f"{name} has an impossible shape")
        if end - begin != math.prod(sides) * DTYPES[kind].itemsize:
            _refuse(file, f"{name} has another size than its shape says")
        spans.append((begin, end))
    spans.sort()
    if any(end != begin for (_, end), (begin, _) in itertools.pairwise(spans)):
        _refuse(file, "its tensors overlap or leave a gap")
    return spans[-1][1]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice")  # readers differ in which one they take
    return found


def _refuse(file: Path, why: str) -> NoReturn:
    raise UserError(f"{file} is damaged or no safetensors file: {why}. Copy or download it again.")
