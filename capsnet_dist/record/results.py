"""What a network achieves on a split, as a whole and in each class."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, cast

from jaxtyping import Int64
from torch import Tensor


class ClassResult(NamedTuple):
    """What a network achieves on the images of one class."""

    images: int
    """How many there are."""
    predicted: int
    """How many images are taken for this class."""
    right: int
    """How many of them rightly."""

    @property
    def recall(self) -> float:
        """Share of its images that are taken for it; NaN where it has none."""
        return self.right / self.images if self.images else math.nan

    @property
    def precision(self) -> float:
        """Share of the images taken for it that are of it; NaN where none is."""
        return self.right / self.predicted if self.predicted else math.nan

    @property
    def f1(self) -> float:
        """Harmonic mean of recall and precision, 0 where it is never right; NaN where there is nothing of it."""
        total = self.images + self.predicted
        return 2 * self.right / total if total else math.nan


def top_k(num_classes: int) -> int:
    """Among how many of the highest scores the true class is looked for: 5, or of few classes half of them."""
    return max(1, min(5, num_classes // 2))


@dataclass(frozen=True)
class Evaluation:
    """What a network achieves on a split."""

    confusion: Int64[Tensor, "true predicted"]
    """How often each true class was predicted as each class; of images with several objects each object counts."""
    terms: dict[str, float]
    """Mean of each term of the loss."""
    num_near: int
    """How many images, or objects, have their class among the `top_k` highest scores."""
    objects: int = 1
    """How many objects each image has."""
    num_whole: int = 0
    """How many images are predicted right with all their objects; for where each has several."""

    @property
    def num_samples(self) -> int:
        """Size of the split."""
        return int(self.confusion.sum()) // self.objects

    @property
    def accuracy(self) -> float:
        """Share of right predictions, in [0, 1]; of images with several objects all must be right."""
        return (self.num_whole if self.objects > 1 else int(self.confusion.trace())) / self.num_samples

    @property
    def right_objects(self) -> float:
        """Share of objects that are predicted right, in [0, 1]."""
        return int(self.confusion.trace()) / int(self.confusion.sum())

    @property
    def loss(self) -> float:
        """Sum of the terms."""
        return sum(self.terms.values())

    @cached_property
    def classes(self) -> list[ClassResult]:
        """Each class, in order."""
        counts = (self.confusion.sum(1), self.confusion.sum(0), self.confusion.diagonal())
        columns = cast(list[list[int]], [count.tolist() for count in counts])
        return [ClassResult(*row) for row in zip(*columns, strict=True)]

    @property
    def balanced_accuracy(self) -> float:
        """Mean recall of the classes that have images: each counts alike, however many it has."""
        return _mean([found.recall for found in self.classes])

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the classes that have images or are predicted."""
        return _mean([found.f1 for found in self.classes])

    @property
    def chance(self) -> float:
        """Share of the largest class: the accuracy of answering with it always."""
        return max(found.images for found in self.classes) / int(self.confusion.sum())

    @property
    def is_near_chance(self) -> bool:
        """Whether it is not better than `chance` by two standard errors, which is how far luck goes."""
        several = sum(found.images > 0 for found in self.classes) > 1
        return several and self.accuracy < 1 and self.accuracy <= luck(self.chance, self.num_samples)

    @property
    def rates(self) -> dict[str, float]:
        """All shares that sum it up, by name; of two or three classes without the one among the highest scores."""
        k = top_k(len(self.classes))
        near = {f"top_{k}_accuracy": self.num_near / int(self.confusion.sum())} if k > 1 else {}
        whole = {"balanced_accuracy": self.balanced_accuracy, "macro_f1": self.macro_f1}
        several = {"right_objects": self.right_objects} if self.objects > 1 else {}
        return {"accuracy": self.accuracy, **several, **whole, **near}


def luck(chance: float, number: int) -> float:
    """How far luck goes on so many images: two standard errors above the share of the largest class."""
    return chance + 2 * math.sqrt(chance * (1 - chance) / number)


class Evaluated(NamedTuple):
    """What a training has come to on its validation split."""

    step: int
    """After how many steps."""
    epoch: float
    """After how many passes over the training images."""
    results: dict[str, Evaluation]
    """Of the `last` weights and, where there is one, of their moving average, `ema`."""

    @property
    def accuracy(self) -> float:
        """The higher of the accuracies, in [0, 1]."""
        return max(result.accuracy for result in self.results.values())


def _mean(values: Sequence[float]) -> float:
    """The mean of those that are numbers."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known)
