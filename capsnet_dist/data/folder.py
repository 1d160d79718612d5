"""Your own images: a folder of image files for each class."""

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch

from capsnet_dist.data.image_files import ENDINGS, opened
from capsnet_dist.data.order import hold_out
from capsnet_dist.data.pictures import decoded, some
from capsnet_dist.errors import UserError
from capsnet_dist.fit import Fit, Policy
from capsnet_dist.plugins import Split, datasets
from capsnet_dist.ranges import Count, Fraction, Range
from capsnet_dist.screen.progress import say

TESTS = ("test", "val", "valid", "validation")
"""Names of the folder beside train/, of which the first that is there is the test split."""
Shade = Annotated[int, Range("from 0 to 255", lambda number: 0 <= number <= 255)]


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
        share: Share of each class that is the test split where DIR has none; always the same images.
        limit: Images of each class to take, always the same ones; all of them if not given.
        skip_broken: Go on without files that cannot be read as images.

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
        share: Fraction = 0.2,
        limit: Count | None = None,
        skip_broken: bool = False,
    ) -> None:
        self.root, self.share, self.limit, self.skip_broken = root.expanduser(), share, limit, skip_broken
        self.fit = Fit(size, policy, channels, background)
        self.folders = _splits(self.root)
        self.classes = tuple(_subfolders(self.folders["train"]))
        if len(self.classes) < 2:
            found = f"it has {self.classes[0]} alone" if self.classes else "it has none"
            raise UserError(
                f"{self.folders['train']} must hold a folder of images for each class, at least two; {found}."
            )

    def split(self, name: str) -> Split:
        """The split called "train" or "test"."""
        place = self.folders[name]
        if extra := sorted(set(_subfolders(place)) - set(self.classes)):
            raise UserError(f"{place} has classes that train has not: {some(extra)}. Known: {some(self.classes)}.")
        whole = _read(_Files(place, self.classes, self.limit), self.fit, place, self.skip_broken)
        if self.folders["train"] != self.folders["test"]:
            return whole
        kept, held = hold_out(whole.labels, self.share)
        return whole.select({"train": kept, "test": held}[name])


class _Files:
    """The image files in the folders of their classes."""

    def __init__(self, root: Path, classes: Sequence[str], limit: int | None) -> None:
        found = [(file, label) for label, name in enumerate(classes) for file in _images(root / name, limit)]
        self.files, self.labels = [file for file, _ in found], [label for _, label in found]

    def name(self, index: int) -> str:
        """Its path."""
        return self.files[index]

    def open(self, index: int) -> AbstractContextManager[Any]:
        """The picture."""
        return opened(Path(self.files[index]))


def _read(files: _Files, fit: Fit, place: Path, skip_broken: bool) -> Split:
    """All pictures in memory."""
    images = np.empty((len(files.labels), *fit.image), dtype=np.uint8)
    broken: list[str] = []
    labels: list[int] = []
    for label, pixels in zip(files.labels, decoded(files, fit), strict=True):
        if isinstance(pixels, str):
            broken.append(pixels)
        else:
            images[len(labels)] = pixels
            labels.append(label)
    report = f"{len(broken)} of {len(files.labels):,} files in {place} cannot be read as images: {some(broken)}."
    if broken and not skip_broken:
        raise UserError(f"{report} Mend or delete them, or leave them out: --data.skip-broken.")
    if broken:
        say(f"Warning: {report} They are left out.")
    return Split(torch.from_numpy(images[: len(labels)]), torch.tensor(labels, dtype=torch.int64))


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
    walked = os.walk(place, followlinks=True)
    found = sorted(os.path.join(folder, name) for folder, _, names in walked for name in names if _is_image(name))
    if not found and place.is_dir():
        raise UserError(f"{place} has no images. Known endings: {', '.join(ENDINGS)}.")
    if limit is None or len(found) <= limit:
        return found
    chosen = torch.randperm(len(found), generator=torch.Generator().manual_seed(0))[:limit]
    return [found[index] for index in sorted(chosen.tolist())]


def _is_image(name: str) -> bool:
    return name.lower().endswith(ENDINGS) and not name.startswith(".")
