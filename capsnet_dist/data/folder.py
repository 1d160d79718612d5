"""Your own images: a folder of image files for each class."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from typing_extensions import override

from capsnet_dist.data.division import selected
from capsnet_dist.data.image_files import images_below
from capsnet_dist.data.picture_set import TESTS, Listing, PictureSet
from capsnet_dist.data.pictures import PictureFiles
from capsnet_dist.errors import UserError
from capsnet_dist.plugins import datasets
from capsnet_dist.text import listed


@datasets.register("folder")
@dataclass(kw_only=True, eq=False)
class Folder(PictureSet):
    """Your own images: DIR/train and DIR/test hold a folder for each class, or DIR does, and is then split.

    BMP, GIF (the first picture), JPEG, PNG, PPM, TIFF and WebP of any size, gray, colour, transparent or of 16 bits.
    Classes are the names of the folders in plain order, "10" before "2". Folders inside them belong to their class.

    Args:
        root: DIR. Instead of test, the folder may be called val, valid or validation.
        group: Regular expression that finds, in the path of an image below its class, what it belongs to, such as a
            person: no split separates images of a group. `^[^/]+` is a folder, `^[^_]+` what is before the first _ of
            a name. What is in parentheses, or all that is found; empty: no groups.

    Raises:
        UserError: DIR is laid out otherwise, a class has no images, or files cannot be read.
    """

    root: Path = Path("data")
    group: str = ""

    def __post_init__(self) -> None:
        root, cache = self.root, self.cache
        super().__post_init__()
        self.root = root.expanduser()
        if self.cache.resolve().is_relative_to(self.root.resolve()):
            raise UserError(f"--data.cache {cache} is in --data.root {root}, among the images: name another folder.")
        self.folders = _splits(self.root)
        if not self.classes:
            raise UserError(f"{self.folders['train']} must hold a folder of images for each class; it has no folders.")

    @cached_property
    @override
    def classes(self) -> tuple[str, ...]:
        return tuple(_subfolders(self.folders["train"]))

    @property
    @override
    def is_split(self) -> bool:
        return self.folders["train"] != self.folders["test"]

    @override
    def listing(self, name: str) -> Listing:
        place = self.folders[name]
        if extra := sorted(set(_subfolders(place)) - set(self.classes)):
            raise UserError(f"{place} has classes that train has not: {listed(extra)}. Known: {listed(self.classes)}.")
        found = [
            (file, label)
            for label, known in enumerate(self.classes)
            for file in selected(images_below(place / known), self.limit)
        ]
        files = [file for file, _ in found]
        below = [os.path.relpath(file, place / self.classes[label]) for file, label in found if self.group]
        groups = _groups(self.group, below) if self.group else None
        label = place.resolve().name if place == self.root else f"{self.root.resolve().name}-{place.name}"
        return Listing(label, PictureFiles(place, files, [label for _, label in found]), groups)


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


def _groups(pattern: str, paths: Sequence[str]) -> list[str]:
    """What a pattern finds in each path.

    Raises:
        UserError: it is no regular expression, or finds nothing in some.
    """
    try:
        found = [re.search(pattern, path.replace(os.sep, "/")) for path in paths]
    except re.error as error:
        raise UserError(f"--data.group {pattern!r} is no regular expression: {error}.") from error
    if without := [path for path, match in zip(paths, found, strict=True) if match is None]:
        raise UserError(
            f"--data.group {pattern!r} finds no group in {len(without):,} of {len(paths):,} paths: {listed(without)}."
        )
    return ["/".join(match.groups("")) or match[0] for match in found if match]
