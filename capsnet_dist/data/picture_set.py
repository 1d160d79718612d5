"""What data sets of pictures have in common: whoever lists them, they are fitted, kept and divided alike."""

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

from jaxtyping import Int64
from torch import Tensor

from capsnet_dist.data.division import Division, numbered
from capsnet_dist.data.pictures import Pictures
from capsnet_dist.data.store import report, resident, stored
from capsnet_dist.errors import UserError
from capsnet_dist.images.fit import Fit, Policy
from capsnet_dist.plugins import Split
from capsnet_dist.ranges import Count, Natural, Shade, Share
from capsnet_dist.screen.progress import say
from capsnet_dist.text import listed

TESTS = ("test", "val", "valid", "validation")
"""What a test split may be called; of several the first is taken."""
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "capsnet_dist"

T = TypeVar("T")


class Listing(NamedTuple):
    """Pictures with their labels, not yet decoded."""

    name: str
    """What the file of the decoded pictures is called."""
    pictures: Pictures
    """They, and the class of each."""
    groups: Sequence[str] | None = None
    """What each belongs to; None where each stands for itself."""


class _Decoded(NamedTuple):
    """The images of a listing, in their file."""

    split: Split
    groups: Int64[Tensor, " n"] | None
    pictures: Pictures
    numbers: Sequence[int]
    """Which of the pictures these are: those that can be read."""


@dataclass(kw_only=True, eq=False)
class PictureSet(ABC):
    """Pictures that are decoded once, and divided where they are not yet split.

    Its options are those of all such data sets, and so is what their help says.

    Args:
        size: Height and width that every image is brought to.
        policy: "crop": the shorter side to size, then the middle. "stretch": both sides to size. "pad": all of it, in
            the middle of background.
        channels: 3 for colour, 1 for gray.
        background: Shade of pads and behind transparent pixels, from 0 (black) to 255.
        share: Share of each class that is the test split where there is none; always the same images. 1: all of them,
            to evaluate a network.
        seed: With another seed other images are the test split.
        folds: Divide the images into so many parts instead, of which one is the test split.
        fold: Which part that is, from 0.
        limit: Images of each class to take, always the same ones; all of them if not given.
        skip_broken: Go on without files that cannot be read as images.
        cache: Folder that keeps the decoded images, so that they are decoded once. Splits of more than 256 MiB are read
            from there batch by batch.
    """

    size: Count = 32
    policy: Policy = "crop"
    channels: Literal[3, 1] = 3
    background: Shade = 0
    share: Share = 0.2
    seed: Natural = 0
    folds: Count | None = None
    fold: Natural = 0
    limit: Count | None = None
    skip_broken: bool = False
    cache: Path = CACHE

    def __init_subclass__(cls) -> None:
        """Put the help of the options that all have beside that of its own."""
        shared = (cls.__base__.__doc__ or "").partition("    Args:\n")[2].partition("\n\n    Raises:")[0]
        cls.__doc__ = (cls.__doc__ or "").replace("    Args:\n", f"    Args:\n{shared.rstrip()}\n", 1)

    def __post_init__(self) -> None:
        self.cache = self.cache.expanduser()
        self.division = Division(self.share, self.seed, self.folds, self.fold)
        self.division.check()
        self._listed = dict[str, Listing]()
        self._read = dict[str, _Decoded]()

    @property
    def fit(self) -> Fit:
        """How a picture becomes the pixels of an image."""
        return Fit(self.size, self.policy, self.channels, self.background)

    @cached_property
    @abstractmethod
    def classes(self) -> tuple[str, ...]:
        """Name of each class."""

    @property
    @abstractmethod
    def is_split(self) -> bool:
        """Whether training and test pictures are listed apart; else both listings are the same, and are divided."""

    @abstractmethod
    def listing(self, name: str) -> Listing:
        """The pictures of the split called "train" or "test"; all of them where there are no splits."""

    def split(self, name: str) -> Split:
        """The split called "train" or "test".

        Raises:
            UserError: pictures cannot be read or kept, or groups stand in both splits.
        """
        whole, part = self._part(name)
        return resident(whole.split if part is None else whole.split.part(part))

    def groups(self, name: str) -> Int64[Tensor, " n"] | None:
        """The number of the group of each image of a split; None where each stands for itself."""
        whole, part = self._part(name)
        return whole.groups if part is None or whole.groups is None else whole.groups[part]

    def names(self, name: str) -> list[str]:
        """The file of each image of a split."""
        whole, part = self._part(name)
        numbers = whole.numbers if part is None else [whole.numbers[index] for index in part.tolist()]
        return [whole.pictures.name(number) for number in numbers]

    def _part(self, name: str) -> tuple["_Decoded", Int64[Tensor, " m"] | None]:
        """The images of a listing, and which of them belong to a split; None: all."""
        whole = self._decoded(name if self.is_split else "train")
        return whole, None if self.is_split else self.division.part(name, whole.split.labels, whole.groups)

    def _decoded(self, name: str) -> "_Decoded":
        """All images of a listing; what is broken is said once."""
        if name not in self._read:
            self._refuse_what_is_split()
            label, pictures, groups = self._listing(name)
            whole, skipped = stored(self.cache, label, pictures, self.fit, self.classes, self.skip_broken)
            if skipped:
                say(f"Warning: {report([pictures.name(index) for index in skipped], pictures)} They are left out.")
            numbers = sorted({*range(len(pictures.labels))} - {*skipped})
            kept = None if groups is None else numbered([groups[number] for number in numbers])
            self._read[name] = _Decoded(whole, kept, pictures, numbers)
        return self._read[name]

    def _listing(self, name: str) -> Listing:
        """A listing, made once: folders are walked for it, or files read."""
        if name not in self._listed:
            self._listed[name] = self.listing(name)
        return self._listed[name]

    def _refuse_what_is_split(self) -> None:
        """Refuse to divide anew what is split, and splits that groups do not respect."""
        if not self.is_split:
            return
        self.division.check(is_split=True)
        train, test = (self._listing(name).groups for name in ("train", "test"))
        if both := sorted({*(train or ())} & {*(test or ())}):
            raise UserError(
                f"{len(both):,} groups have images in the training and in the test split: {listed(both)}. "
                "Move all images of a group to one side."
            )
