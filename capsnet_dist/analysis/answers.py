"""What a network says of image files: they are read while it computes, and memory does not grow with their number."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from capsnet_dist.data.pictures import ahead
from capsnet_dist.data.reading import Read, Reading
from capsnet_dist.errors import UserError
from capsnet_dist.images.ground import is_turned
from capsnet_dist.plugins import Model


class Answer(NamedTuple):
    """What a network says of one file."""

    file: Path
    scores: list[float] | None
    """The score of each class; None where the file cannot be read."""
    problem: str = ""
    """Why it cannot."""


class Noticed:
    """What a user may not expect of the pictures: said at the first of a kind, and at the end how many there were.

    Args:
        reading: How they are read.
        is_light_on_dark: Whether the network was trained with light strokes on a dark ground.
        say: Takes one line.
    """

    def __init__(self, reading: Reading, is_light_on_dark: bool, say: Callable[[str], None]) -> None:
        self.reading, self.is_light_on_dark, self.say = reading, is_light_on_dark, say
        self.counts, self.kinds = Counter[str](), dict[str, str]()

    def __call__(self, file: Path, read: Read) -> None:
        """Take note of a picture."""
        channels, *wanted = self.reading.image
        background, (height, width) = self.reading.background, read.size
        if self.reading.fit is None and [height, width] != wanted:
            sizes = f"{height}x{width} to {'x'.join(map(str, wanted))}"
            self._count("resized", file, f"resized from {sizes} (height x width)")
        if read.is_transparent:
            way = "--background 255 --invert suits dark strokes" if channels == 1 else "--background names another"
            self._count("transparent", file, f"is transparent, and laid on shade {background} of 255; {way}")
        if read.is_animated:
            self._count("animated", file, "holds several pictures; the first is taken")
        if self.is_light_on_dark and is_turned(read.pixels.numpy(), "dark"):
            word = "--invert exchanges them" if not self.reading.is_inverted else "leave out --invert"
            self._count(
                "dark on light", file, f"is dark on light, and the network was trained with light on dark; {word}"
            )

    def sum_up(self) -> None:
        """Say how many there were of each kind that several files are of."""
        for kind, count in self.counts.items():
            if count > 1:
                self.say(f"{count:,} files were {kind}.")

    def _count(self, kind: str, file: Path, notice: str) -> None:
        self.counts[kind] += 1
        if self.counts[kind] == 1:
            self.say(f"{file} {notice}.")


def answers(
    model: Model,
    reading: Reading,
    views: Callable[[Tensor], Sequence[Tensor]],
    files: Iterable[Path],
    batch_size: int,
    noticed: Callable[[Path, Read], None],
) -> Iterator[Answer]:
    """An answer for each file, in order.

    Args:
        model: The network.
        reading: How files become its pixels.
        views: What of them it sees; scores are the mean over these.
        files: Which files.
        batch_size: How many images are computed together.
        noticed: Is told of each file that can be read.
    """

    def read(file: Path) -> tuple[Path, Read | UserError]:
        try:
            return file, reading(file)
        except UserError as error:
            return file, error

    ready = ahead(read, files, 2 * batch_size)
    while batch := list(islice(ready, batch_size)):
        good = [(file, found) for file, found in batch if isinstance(found, Read)]
        for file, found in good:
            noticed(file, found)
        scores = iter(_scores(model, views, [found.pixels for _, found in good]))
        for file, found in batch:
            yield Answer(file, next(scores)) if isinstance(found, Read) else Answer(file, None, str(found))


def _scores(model: Model, views: Callable[[Tensor], Sequence[Tensor]], pixels: Sequence[Tensor]) -> list[list[float]]:
    if not pixels:
        return []
    seen = [model.predict(view, batch_size=len(pixels)).scores for view in views(torch.stack(list(pixels)))]
    return torch.stack(seen).mean(0).tolist()
