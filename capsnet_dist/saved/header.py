"""The header of a safetensors file, checked before any memory is taken for its tensors."""

import itertools
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn, cast

import torch
from torch import Tensor

from capsnet_dist.errors import UserError

MAX_HEADER = 10_000_000  # bytes: room for some 80,000 tensors
MAX_NAME = 1_000
MAX_AXES = 64  # PyTorch's own limit
MAX_NUMBER = 1 << 63  # sizes beyond are no sizes, and too long to print

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


def sort_metadata(content: bytes) -> bytes:
    """A file with the words of its writer sorted: safetensors leaves their order to chance."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the tensors begin at a multiple of 8
    return len(text).to_bytes(8, "little") + text + content[end:]


def entries(state: Mapping[str, Tensor]) -> dict[str, Entry]:
    """What a header would say of tensors."""
    return {name: Entry(tensor.dtype, tuple(tensor.shape)) for name, tensor in state.items()}


def differences(held: Mapping[str, Entry], own: Mapping[str, Entry]) -> list[str]:
    """All that keeps the tensors of a file from being those of the model."""
    problems = [f"{name} is missing" for name in sorted(own.keys() - held)]
    problems += [f"{name} is not part of the network" for name in sorted(held.keys() - own)]
    common = sorted(own.keys() & held)
    shapes = [(name, held[name].shape, own[name].shape) for name in common]
    problems += [
        f"{n} is {theirs!s:.200} in the file and {ours} in the model" for n, theirs, ours in shapes if theirs != ours
    ]
    for name in common:
        if held[name].dtype != own[name].dtype:
            theirs, ours = (str(entry[name].dtype).removeprefix("torch.") for entry in (held, own))
            problems.append(f"{name} is {theirs} in the file and {ours} in the model")
    return problems


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
        if len(sides) > MAX_AXES or not all(type(side) is int and 0 <= side < MAX_NUMBER for side in sides):
            _refuse(file, f"{name} has an impossible shape")
        if end >= MAX_NUMBER or end - begin != math.prod(sides) * DTYPES[kind].itemsize:
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
