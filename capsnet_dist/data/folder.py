"""Your own images: a folder of image files for each class."""

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Int64
from torch import Tensor

from capsnet_dist.data.image_files import images_below, opened
from capsnet_dist.data.order import hold_out
from capsnet_dist.data.store import Store, report, resident, stored
from capsnet_dist.errors import UserError
from capsnet_dist.images.fit import Fit, Policy
from capsnet_dist.plugins import Split, datasets
from capsnet_dist.ranges import Count, Shade, Share
from capsnet_dist.screen.progress import say
from capsnet_dist.text import listed

TESTS = ("test", "val", "valid", "validation")
"""Names of the folder beside train/, of which the first that is there is the test split."""
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "capsnet_dist"


@datasets.register("folder")
class Folder:
    """Your own images: DIR/train and DIR/test hold a folder for each class, or DIR does, and is then split.

    BMP, GIF (the first picture), JPEG, PNG, PPM, TIFF and WebP of any size, gray, colour, transparent or of 16 bits.
    Classes are the names of the folders in plain order, "10" before "2". Folders inside them belong to their class.

    Args:
        root: DIR. Instead of test, the folder may be called val, valid or validation.
        size: Height and width that every image is brought to.
        policy: "crop": the shorter side to size, then the middle. "stretch": both sides to size. "pad": all of it, in
            the middle of background.
        channels: 3 for colour, 1 for gray.
        background: Shade of pads and behind transparent pixels, from 0 (black) to 255.
        share: Share of each class that is the test split where DIR has none; always the same images. 1: all of them,
            to evaluate a network.
        limit: Images of each class to take, always the same ones; all of them if not given.
        skip_broken: Go on without files that cannot be read as images.
        cache: Folder that keeps the decoded images, so that they are decoded once. Splits of more than 256 MiB are read
            from there batch by batch.

    Raises:
        UserError: DIR is laid out otherwise, a class has no images, or files cannot be read.
    """

    def __init__(
        self,
        *,
        root: Path = Path("data"),
        size: Count = 32,
        policy: Policy = "crop",
        channels: Literal[3, 1] = 3,
        background: Shade = 0,
        share: Share = 0.2,
        limit: Count | None = None,
        skip_broken: bool = False,
        cache: Path = CACHE,
    ) -> None:
        self.root, self.cache = root.expanduser(), cache.expanduser()
        self.share, self.limit, self.skip_broken = share, limit, skip_broken
        if self.cache.resolve().is_relative_to(self.root.resolve()):
            raise UserError(f"--data.cache {cache} is in --data.root {root}, among the images: name another folder.")
        self.fit = Fit(size, policy, channels, background)
        self.folders = _splits(self.root)
        self.classes = tuple(_subfolders(self.folders["train"]))
        if not self.classes:
            raise UserError(f"{self.folders['train']} must hold a folder of images for each class; it has no folders.")

    def split(self, name: str) -> Split:
        """The split called "train" or "test"."""
        files, (whole, skipped) = self._read(name)
        if skipped:
            say(f"Warning: {report([files.name(index) for index in skipped], files)} They are left out.")
        return resident(whole if self.is_split else whole.part(self._part(name, whole.labels)))

    def names(self, name: str) -> list[str]:
        """The file of each image of a split."""
        files, (whole, skipped) = self._read(name)
        broken = set(skipped)
        read = [file for index, file in enumerate(files.files) if index not in broken]
        return read if self.is_split else [read[index] for index in self._part(name, whole.labels).tolist()]

    @property
    def is_split(self) -> bool:
        """Whether there is a folder for each split."""
        return self.folders["train"] != self.folders["test"]

    def _part(self, name: str, labels: Int64[Tensor, " n"]) -> Int64[Tensor, " m"]:
        """Which images of a folder that is not split belong to a split."""
        kept, held = hold_out(labels, self.share)
        return {"train": kept, "test": held}[name]

    def _read(self, name: str) -> "tuple[_Files, Store]":
        """The files of a folder, and their decoded images."""
        place = self.folders[name]
        if extra := sorted(set(_subfolders(place)) - set(self.classes)):
            raise UserError(f"{place} has classes that train has not: {listed(extra)}. Known: {listed(self.classes)}.")
        files = _Files(place, self.classes, self.limit)
        label = place.resolve().name if place == self.root else f"{self.root.resolve().name}-{place.name}"
        return files, stored(self.cache, label, files, self.fit, self.classes, self.skip_broken)


class _Files:
    """The image files in the folders of their classes."""

    def __init__(self, root: Path, classes: Sequence[str], limit: int | None) -> None:
        self.root = root
        found = [(file, label) for label, name in enumerate(classes) for file in _images(root / name, limit)]
        self.files, self.labels = [file for file, _ in found], [label for _, label in found]

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


def _splits(root: Path) -> dict[str, Path]:
    """The folder of each split: one and the same where the classes are not yet split.

    Raises:
        UserError: there is no such folder, or it holds one split alone.
    """
    if not root.is_dir():
        raise UserError(f"There is no folder {root.resolve()}. Name the one that holds your images: --data.root DIR.")
    test = next((name for name in TESTS if (root / name).is_dir()), None)
    if (root / "train").is_dir() and test:
        return {"train": root / "train", "test": root / test}
    if lone := "train" if (root / "train").is_dir() else test:
        raise UserError(f"{root} has {lone} alone: it must hold train and one of {', '.join(TESTS)}, or the classes.")
    return {"train": root, "test": root}


def _subfolders(place: Path) -> list[str]:
    """The names of its folders as torchvision, Keras and the Hub sort them, so that labels agree."""
    with os.scandir(place) as entries:
        names = [entry.name for entry in entries if entry.is_dir()]
    return sorted(name for name in names if not name.startswith((".", "__")))


def _images(place: Path, limit: int | None) -> list[str]:
    """The image files in and below a folder, by name; of more than `limit`, a selection that is always the same."""
    found = images_below(place)
    if limit is None or len(found) <= limit:
        return found
    chosen = torch.randperm(len(found), generator=torch.Generator().manual_seed(0))[:limit]
    return [found[index] for index in sorted(chosen.tolist())]
