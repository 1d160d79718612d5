"""What a single number hides, for people: the results of each class as a table, and in words."""

import math
from collections.abc import Sequence
from typing import Any

from capsnet_dist.record.results import Evaluation
from capsnet_dist.text import listed

MAX_CLASSES = 20
"""Up to so many, all are shown one by one."""
WEAKEST = 10
"""How many of more classes are shown: those with the lowest F1."""
CLASS_COLUMNS = ("class", "images", "recall", "precision", "F1", "most often mistaken for")


def class_rows(result: Evaluation, names: Sequence[str]) -> tuple[str, list[list[str]]]:
    """A table of the classes under `CLASS_COLUMNS`; of many classes the weakest, and then a caption that says so.

    Args:
        result: What a network achieves.
        names: Of the classes.
    """
    shown, caption = list(range(len(names))), ""
    if len(names) > MAX_CLASSES:
        known = [index for index in shown if result.classes[index].images]
        shown = sorted(known, key=lambda index: result.classes[index].f1)[:WEAKEST]
        caption = f"The {len(shown)} of {len(names)} classes with the lowest F1:"
    rows: list[list[str]] = []
    for index in shown:
        found = result.classes[index]
        rates = [_percent(rate) for rate in (found.recall, found.precision, found.f1)]
        rows.append([names[index], str(found.images), *rates, _mistaken(result, index, names)])
    return caption, rows


def class_values(result: Evaluation, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Counts and rates of each class by its name, for programs."""
    found = zip(names, result.classes, strict=True)
    return {name: {**c._asdict(), "recall": c.recall, "precision": c.precision, "f1": c.f1} for name, c in found}


def class_rates(result: Evaluation, names: Sequence[str]) -> dict[str, float]:
    """Recall and precision of each class for curves, those that are numbers; nothing of many classes."""
    if len(names) > MAX_CLASSES:
        return {}
    found = list(zip(names, result.classes, strict=True))
    rates = {f"recall/{name}": c.recall for name, c in found} | {f"precision/{name}": c.precision for name, c in found}
    return {key: rate for key, rate in rates.items() if not math.isnan(rate)}


def further_rates(result: Evaluation) -> list[str]:
    """All rates but the accuracy, as they are read."""
    _, *rates = (f"{_rate_name(name)} {100 * rate:.2f} %" for name, rate in result.rates.items())
    return rates


def _rate_name(name: str) -> str:
    return {"macro_f1": "macro F1"}.get(name, name.replace("top_", "top-").replace("_", " "))


def remarks(result: Evaluation, names: Sequence[str]) -> list[str]:
    """Accuracy that is chance, and classes that are never predicted, a sentence each; nothing where all is well."""
    pairs = list(zip(names, result.classes, strict=True))
    predicted = [name for name, found in pairs if found.predicted]
    never = [name for name, found in pairs if found.images and not found.predicted]
    if never and len(predicted) == 1:
        return [f"Every image is taken for {predicted[0]}."]
    said = [f"Never predicted: {listed(never)} ({len(never)} of {len(names)} classes)."] if never else []
    if result.is_near_chance:
        _, largest = max((found.images, name) for name, found in pairs)
        chance = f"always answering {largest} has {100 * result.chance:.2f} %"
        said.append(f"This is no better than chance, as far as {result.num_samples:,} images can tell: {chance}.")
    return said


def advice(result: Evaluation, training: float) -> str:
    """What to try where accuracy is near chance; nothing where it is not.

    Args:
        result: What the network achieves on the test split.
        training: Its accuracy on the last training images.
    """
    if not result.is_near_chance:
        return ""
    told = f"Training accuracy is {100 * training:.2f} %"
    if training > (1 + result.chance) / 2:
        return f"{told}: it is learned by heart. Try more images, an --augmentation, or test images of the same kind."
    return (
        f"{told}. Try more --epochs, a lower --lr, and larger images (--data.size) if a person could not tell the "
        "classes apart in what capsnet-dist data shows."
    )


def _mistaken(result: Evaluation, index: int, names: Sequence[str]) -> str:
    """What images of a class are wrongly taken for most often, and how often."""
    counts = result.confusion[index].clone()
    counts[index] = 0
    most = int(counts.argmax())
    return f"{names[most]} ({int(counts[most])})" if counts[most] else ""


def _percent(rate: float) -> str:
    return "-" if math.isnan(rate) else f"{100 * rate:.2f} %"
