"""`capsnet-dist prepare`: everything that a training does with its data before the first step."""

from typing import Any

from capsnet_dist.analysis.pictures import count
from capsnet_dist.data.checks import check_splits
from capsnet_dist.images.stored import Stored
from capsnet_dist.plugins import Split
from capsnet_dist.registry import Choice
from capsnet_dist.saved.plan import class_names
from capsnet_dist.screen.console import print_json, print_table


def prepare(*, data: Choice[Any], json: bool = False, imports: tuple[str, ...] = ()) -> None:
    """Download or decode a data set, check it and count its classes, so that trainings start at once.

    Args:
        data: Data set.
        json: Print JSON.

    Raises:
        UserError: the data are not there, or are not what a data set must be.
    """
    dataset = data.build()
    classes = class_names(dataset.classes, f"Data set {data.name}")
    splits = {name: dataset.split(name) for name in ("train", "test")}
    check_splits(splits, len(classes), data.name)
    found = [_described(name, split, classes) for name, split in splits.items()]
    if json:
        print_json(found)
        return
    rows = [[name, *(str(split["classes"][name]) for split in found)] for name in classes]
    sizes = [f"{split['split']}, {split['images']:,} images, {split['shape']}" for split in found]
    print_table(["class", *sizes], rows)
    for file in dict.fromkeys(split["file"] for split in found if split["file"]):
        print(f"Read batch by batch from {file}")  # noqa: T201


def _described(name: str, split: Split, classes: tuple[str, ...]) -> dict[str, Any]:
    return {
        "split": name,
        "images": len(split.labels),
        "shape": "x".join(map(str, split.images.shape[1:])),
        "classes": dict(zip(classes, count(split, len(classes)), strict=True)),
        "file": str(split.images.file) if isinstance(split.images, Stored) else None,
    }
