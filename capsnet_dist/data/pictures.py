"""Labelled pictures of any kind and size, decoded by all cores."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from capsnet_dist.data.image_files import opened, reason
from capsnet_dist.images.fit import Fit

CHUNK = 32  # pictures that a thread decodes in one go: one by one takes a fifth longer where they are small

Given = TypeVar("Given")
Made = TypeVar("Made")


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


class PictureFiles:
    """Image files.

    Args:
        root: The folder that their paths are told from; it may be moved.
        files: Their paths.
        labels: Class of each.
    """

    def __init__(self, root: Path, files: Sequence[str], labels: Sequence[int]) -> None:
        self.root, self.files, self.labels = root, files, labels

    def identity(self) -> Iterator[str]:
        """Path, size and time of the last change: what a file holds would have to be read whole."""
        above = os.path.join(self.root, "")
        for file in self.files:
            found = os.stat(file)
            yield f"{file.removeprefix(above)} {found.st_size} {found.st_mtime_ns}"

    def name(self, index: int) -> str:
        """Its path."""
        return self.files[index]

    def open(self, index: int) -> AbstractContextManager[Any]:
        """The picture."""
        return opened(self.files[index])


def decoded(pictures: Pictures, fit: Fit) -> Iterator[UInt8[np.ndarray, "c h w"] | str]:
    """The pixels of each picture, in order, or its name and why there are none."""

    def decode(index: int) -> UInt8[np.ndarray, "c h w"] | str:
        return _decode(pictures, index, fit)

    return ahead(decode, range(len(pictures.labels)), 4 * CHUNK * num_cores())


def ahead(function: Callable[[Given], Made], given: Iterable[Given], most: int) -> Iterator[Made]:
    """What a function makes of each thing, in order, by all cores; up to `most` before they are asked for."""
    pool, waiting, rest = ThreadPoolExecutor(num_cores()), deque[Future[list[Made]]](), iter(given)
    try:
        while chunk := list(islice(rest, CHUNK)):
            waiting.append(pool.submit(lambda chunk: list(map(function, chunk)), chunk))
            if len(waiting) * CHUNK >= most:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:  # also when whoever asks has enough
        pool.shutdown(cancel_futures=True)


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
