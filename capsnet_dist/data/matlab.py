"""Arrays out of MATLAB's files of version 5, for what scipy would crash on if a file is damaged."""

import math
import struct
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from capsnet_dist.errors import UserError
from capsnet_dist.files import read_bytes
from capsnet_dist.text import reason

LIMIT = 4 << 30  # bytes of a file, and of what is unpacked
NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
MATRIX, COMPRESSED, STRUCT = 14, 15, 2


class Element(NamedTuple):
    """One piece of a file."""

    kind: int
    content: memoryview
    end: int
    """Where the next one begins."""


def read_struct(file: Path, name: str, fields: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Some fields of a structure, each an array of numbers as it is stored.

    Args:
        file: A file of version 5 to 7.
        name: The structure's name.
        fields: The fields wanted.

    Raises:
        UserError: the file cannot be read, is damaged, or lacks one of them.
    """
    data = read_bytes(file, LIMIT)
    try:
        order = {b"IM": "<", b"MI": ">"}[data[126:128]]
        place = 128
        while place < len(data):
            element = _unpacked(_element(memoryview(data), place, order), order)
            if element.kind == MATRIX and (found := _fields(element.content, name, order)) is not None:
                return {field: _array(found[field], order) for field in fields}
            place = element.end
        raise KeyError(name)
    except (KeyError, ValueError, IndexError, struct.error, zlib.error, OverflowError) as error:
        why = reason(error) if isinstance(error, zlib.error) else f"damaged, or without {name} of {fields}"
        raise UserError(f"{file} cannot be read: {why}. Copy it again.") from error


def _element(data: memoryview, place: int, order: str) -> Element:
    """The element that begins at a place: its type, its length, and then its content, up to a multiple of 8 bytes."""
    kind, length = struct.unpack_from(f"{order}II", data, place)
    if kind >> 16:  # a small one, whose length stands beside its type
        kind, length, start, end = kind & 0xFFFF, kind >> 16, place + 4, place + 8
    else:
        start = place + 8
        end = start + length + (0 if kind == COMPRESSED else -length % 8)
    if start + length > min(end, len(data)):
        raise ValueError("an element is longer than the file")
    return Element(kind, data[start : start + length], end)


def _unpacked(element: Element, order: str) -> Element:
    """The element that is inside a compressed one; others as they are."""
    if element.kind != COMPRESSED:
        return element
    content = memoryview(zlib.decompressobj().decompress(element.content, LIMIT))
    return _element(content, 0, order)._replace(end=element.end)


def _parts(content: memoryview, order: str, number: int) -> list[Element]:
    """The first elements inside a matrix."""
    found = [_element(content, 0, order)]
    while len(found) < number:
        found.append(_element(content, found[-1].end, order))
    return found


def _fields(content: memoryview, name: str, order: str) -> dict[str, memoryview] | None:
    """The matrices that are the fields of a structure; None if it is none of that name."""
    flags, _, called, *_ = _parts(content, order, 3)
    if bytes(called.content) != name.encode() or _numbers(flags, order)[0] & 0xFF != STRUCT:
        return None
    *_, width, names = _parts(content, order, 5)
    size = int(_numbers(width, order)[0])
    text = bytes(names.content)
    words = [text[start : start + size].split(b"\0")[0].decode("latin1") for start in range(0, len(text), size)]
    values = _parts(content, order, 5 + len(words))[5:]
    return {word: value.content for word, value in zip(words, values, strict=True)}


def _array(content: memoryview, order: str) -> np.ndarray:
    """The numbers of a matrix, in its shape."""
    _, sizes, _, numbers = _parts(content, order, 4)
    shape = [int(size) for size in _numbers(sizes, order)]
    values = _numbers(numbers, order)
    if min(shape) < 0 or math.prod(shape) != len(values):
        raise ValueError(f"{len(values)} numbers for {shape}")
    return values.reshape(shape, order="F")


def _numbers(element: Element, order: str) -> Any:
    return np.frombuffer(element.content, np.dtype(order + NUMBERS[element.kind]))
