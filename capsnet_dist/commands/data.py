"""`capsnet-dist data`: what a data set consists of, and what the network sees of it."""

from pathlib import Path
from typing import Any

from capsnet_dist.analysis.pictures import count, few, find_twice, sheet
from capsnet_dist.errors import UserError
from capsnet_dist.figures.canvas import theme
from capsnet_dist.figures.examples import examples
from capsnet_dist.registry import Choice
from capsnet_dist.screen.console import print_json, print_table, say


def data(
    *,
    data: Choice[Any],
    augmentation: Choice[Any],
    show: Path | None = None,
    seed: int = 0,
    json: bool = False,
    imports: tuple[str, ...] = (),
) -> None:
    """Count the images of each class, look for images that are there twice, and show what a network sees.

    Args:
        data: Data set.
        augmentation: Random changes to the training images, as the picture shows them.
        show: A picture to write: a row for each class, its mean image first, then training images.
        seed: What the random changes follow from.
        json: Print JSON.

    Raises:
        UserError: the data are not there, or the picture cannot be written.
    """
    dataset, changes = data.build(), augmentation.build()
    train, test = dataset.split("train"), dataset.split("test")
    counts = [count(split, len(dataset.classes)) for split in (train, test)]
    twice = find_twice(train, test)
    if show is not None:
        try:
            with theme("light"):
                rows = sheet(few(train), len(dataset.classes), changes, seed)
                examples(rows.numpy(), dataset.classes).savefig(show)
        except (OSError, ValueError) as error:  # ValueError: an ending that Pillow does not know
            raise UserError(f"--show {show}: the picture cannot be written: {error}") from error
    rows = [(name, *pair) for name, *pair in zip(dataset.classes, *counts, strict=True)]
    if json:
        named = {name: {"train": trained, "test": tested} for name, trained, tested in rows}
        print_json({"image": list(train.images.shape[1:]), "classes": named, "twice": twice and twice._asdict()})
        return
    shape = "x".join(map(str, train.images.shape[1:]))
    shape += f", {train.labels.shape[1]} objects each" if train.labels.ndim > 1 else ""
    print(f"{len(train.labels):,} training and {len(test.labels):,} test images, {shape}\n")  # noqa: T201
    print_table(["class", "train", "test"], [[name, f"{trained:,}", f"{tested:,}"] for name, trained, tested in rows])
    if twice is None:
        say("Images are made when they are needed: it was not looked for any that are there twice.")
        return
    if twice.both:
        say(f"{twice.both:,} test images are among the training images, {twice.contradicted:,} as another class.")
    if twice.train or twice.test:
        say(f"{twice.train:,} training images and {twice.test:,} test images repeat an earlier one of their split.")
    if not any((twice.both, twice.train, twice.test)):
        say("No image is there twice.")
