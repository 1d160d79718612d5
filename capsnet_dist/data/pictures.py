"""Labelled pictures of any kind and size, decoded by all cores."""

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from capsnet_dist.data.image_files import reason
from capsnet_dist.images.fit import Fit

CHUNK = 32  # pictures that a thread decodes in one go: one by one takes a fifth longer where they are small


@runtime_checkable
class Pictures(Protocol):
    """Files, rows of a table, or items of another library's data set."""

    @property
    def labels(self) -> Sequence[int]:
        """Class of each."""
        ...

    def identity(self) -> Iterable[str]:
        """One text for each; where they are the same, so are the pictures."""
        ...

    def name(self, index: int) -> str:
        """What a picture is called in messages."""
        ...

    def open(self, index: int) -> AbstractContextManager[Any]:
        """A picture opened by Pillow; several threads call it."""
        ...


def decoded(pictures: Pictures, fit: Fit) -> Iterator[UInt8[np.ndarray, "c h w"] | str]:
    """The pixels of each picture, in order, or its name and why there are none."""
    rest, threads = iter(range(len(pictures.labels))), num_cores()

    def decode(indices: Sequence[int]) -> list[UInt8[np.ndarray, "c h w"] | str]:
        return [_decode(pictures, index, fit) for index in indices]

    with ThreadPoolExecutor(threads) as pool:  # Pillow decodes without the lock of the interpreter
        while chunks := [chunk for _ in range(4 * threads) if (chunk := list(islice(rest, CHUNK)))]:
            for part in pool.map(decode, chunks):
                yield from part


def num_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _decode(pictures: Pictures, index: int, fit: Fit) -> UInt8[np.ndarray, "c h w"] | str:
    try:
        with pictures.open(index) as picture:
            return fit(picture)
    except Exception as error:
        name = pictures.name(index)
        return f"{name} ({reason(error).removeprefix(f'{name} ')})"
