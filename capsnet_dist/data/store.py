"""Decoded pictures in one file, made by the first process that asks and awaited by the others.

The file is a safetensors file: `labels`, `images`, and `skipped`, the numbers of the pictures that cannot be read.
"""

import hashlib
import json
import os
import re
import struct
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import torch
from filelock import FileLock

from capsnet_dist.data.pictures import Pictures, decoded
from capsnet_dist.errors import UserError
from capsnet_dist.files import ordinary, size, sync
from capsnet_dist.images.fit import Fit
from capsnet_dist.images.stored import Stored
from capsnet_dist.plugins import Split
from capsnet_dist.screen.counting import counting
from capsnet_dist.text import listed

FORMAT = 1  # of the file: with another number all is decoded anew
RESIDENT = 2**28  # bytes of images up to which a split is read into memory whole
HEADER_SLACK = 64  # bytes: numbers in the header that is written last may be longer than in the one that is planned


class Store(NamedTuple):
    """What a file of decoded pictures holds."""

    split: Split
    """Labels, and images that stay in the file."""
    skipped: list[int]
    """Numbers of the pictures that cannot be read."""


def stored(cache: Path, name: str, pictures: Pictures, fit: Fit, classes: Sequence[str], skip_broken: bool) -> Store:
    """The decoded pictures of a file that is made if it is not there.

    Args:
        cache: Folder of the file.
        name: Its name begins with it.
        pictures: What is decoded.
        fit: How.
        classes: Their names, for other readers of the file.
        skip_broken: Leave out pictures that cannot be read.

    Raises:
        UserError: pictures cannot be read, the folder cannot take the file, or the file is damaged.
    """
    key, plain = _key(pictures, fit), re.sub(r"[^\w.-]", "_", name)
    done = cache / f"{plain}-{key}.safetensors"
    if not done.exists():
        try:
            cache.mkdir(parents=True, exist_ok=True)
            began = time.time()
            with FileLock(cache / f"{key}.lock"):  # the system takes it from a process that dies
                if not done.exists():
                    _share_failure(done.with_suffix(".failed"), began)
                    _build(done, pictures, fit, classes, skip_broken)
        except NotImplementedError as error:
            reason = "its file system has no locks, by which processes wait for each other"
            raise UserError(f"{cache}: {reason}. Name a folder on a disk of this machine: --data.cache.") from error
        except OSError as error:
            reason = f"{cache} cannot take the decoded images: {error.strerror}"
            raise UserError(f"{reason}. Name another folder: --data.cache.") from error
    found = open_store(done)
    if found.skipped and not skip_broken:
        raise UserError(f"{report([pictures.name(index) for index in found.skipped], pictures)} {MEND}")
    return found


def _share_failure(said: Path, began: float) -> None:
    """Fail as the process that was waited for, whose message might not be the one that is shown."""
    if said.exists() and said.stat().st_mtime >= began:
        raise UserError(said.read_text(encoding="utf-8"))
    said.unlink(missing_ok=True)


MEND = "Mend or delete them, or leave them out: --data.skip-broken."


def report(broken: Sequence[str], pictures: Pictures) -> str:
    """How many pictures cannot be read, and which."""
    return f"{len(broken):,} of {len(pictures.labels):,} files cannot be read as images: {listed(broken)}."


def resident(split: Split) -> Split:
    """The same split, in memory if it is small."""
    images = split.images
    return split._replace(images=images[:]) if isinstance(images, Stored) and _bytes(images) <= RESIDENT else split


def open_store(file: Path) -> Store:
    """What a file of decoded pictures holds; images stay in it.

    Read by hand: the library for the format would map the whole file, which counts against limits of memory.

    Raises:
        UserError: it is damaged.
    """
    with ordinary(file) as data:
        try:
            (length,) = struct.unpack("<Q", data.read(8))
            header = json.loads(data.read(min(length, size(data))))
            start, (count, *image) = 8 + length, header["images"]["shape"]
            labels = np.frombuffer(data.read(8 * count), dtype="<i8").astype(np.int64)
            offset, end = (start + place for place in header["images"]["data_offsets"])
            data.seek(end)
            skipped = np.frombuffer(data.read(), dtype="<i8").tolist()
            whole = start + max(entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__")
            images = Stored(file, tuple(image), offset, torch.arange(count), header["__metadata__"]["digest"])
        except (struct.error, ValueError, LookupError, TypeError) as error:
            raise UserError(f"{file} is damaged: delete it, and it is made again.") from error
        if size(data) != whole:
            raise UserError(f"{file} is damaged: {whole:,} bytes expected, {size(data):,} found. Delete it.")
    return Store(Split(images, torch.from_numpy(labels)), skipped)


def _key(pictures: Pictures, fit: Fit) -> str:
    key = hashlib.blake2b(json.dumps([FORMAT, *fit]).encode(), digest_size=10)
    for label, text in zip(pictures.labels, pictures.identity(), strict=True):
        key.update(f"[{label}, {json.dumps(text)}]".encode())
    return key.hexdigest()


def _build(done: Path, pictures: Pictures, fit: Fit, classes: Sequence[str], skip_broken: bool) -> None:
    """Write the file beside its place, by whoever holds the lock: what lies there is of one that died."""
    beside = done.with_suffix(".part")
    try:
        with beside.open("wb", buffering=2**20) as data:
            _write(data, pictures, fit, classes, skip_broken)
            data.flush()
            sync(data.fileno())
        beside.replace(done)
    except UserError as error:
        done.with_suffix(".failed").write_text(str(error), encoding="utf-8")
        raise
    finally:
        beside.unlink(missing_ok=True)


def _write(data: BinaryIO, pictures: Pictures, fit: Fit, classes: Sequence[str], skip_broken: bool) -> None:
    """Images where they leave room for all labels before them; the header, which is known last, is written last."""
    count, broken, digest = len(pictures.labels), list[str](), hashlib.blake2b(digest_size=16)
    metadata = {"classes": json.dumps(list(classes)), "fit": json.dumps(fit._asdict()), "digest": digest.hexdigest()}
    planned = len(json.dumps(_header(metadata, count, fit, count))) + HEADER_SLACK
    start = 8 + planned + -planned % 8 + 8 * count
    if hasattr(os, "posix_fallocate"):  # a full disk is found out now
        os.posix_fallocate(data.fileno(), 0, start + count * _pixels(fit))
    data.seek(start)
    labels, skipped = list[int](), list[int]()
    with counting("decoding pictures", count) as counted:
        for index, pixels in enumerate(decoded(pictures, fit)):
            if isinstance(pixels, str):
                broken.append(pixels)
                skipped.append(index)
            elif skip_broken or not broken:
                data.write(pixels.data)
                digest.update(pixels.data)
                labels.append(pictures.labels[index])
            counted()
    if broken and not skip_broken:
        raise UserError(f"{report(broken, pictures)} {MEND}")
    metadata["digest"] = digest.hexdigest()
    data.write(np.array(skipped, dtype="<i8").tobytes())
    data.truncate()
    space = start - 8 - 8 * len(labels)
    text = json.dumps(_header(metadata, len(labels), fit, len(skipped))).encode().ljust(space)
    assert len(text) == space
    data.seek(0)
    data.write(struct.pack("<Q", space) + text + np.array(labels, dtype="<i8").tobytes())


def _header(metadata: dict[str, str], count: int, fit: Fit, skipped: int) -> dict[str, Any]:
    ends = (8 * count, 8 * count + count * _pixels(fit), 8 * count + count * _pixels(fit) + 8 * skipped)
    header: dict[str, Any] = {
        "__metadata__": metadata,
        "labels": {"dtype": "I64", "shape": [count], "data_offsets": [0, ends[0]]},
        "images": {"dtype": "U8", "shape": [count, *fit.image], "data_offsets": [ends[0], ends[1]]},
    }
    if skipped:
        header["skipped"] = {"dtype": "I64", "shape": [skipped], "data_offsets": [ends[1], ends[2]]}
    return header


def _pixels(fit: Fit) -> int:
    return fit.channels * fit.size * fit.size


def _bytes(images: Stored) -> int:
    return images.shape.numel()
