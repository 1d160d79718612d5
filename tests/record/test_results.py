"""What is said of each class: numbers as scikit-learn has them, and tables and sentences that stay readable."""

import math

import pytest
import torch
from accelerate import Accelerator
from conftest import run_ranks
from sklearn import metrics
from torch import nn

from capsnet_dist import Model, Output, Split
from capsnet_dist.record.remarks import MAX_CLASSES, advice, class_rates, class_rows, class_values, remarks
from capsnet_dist.record.results import Evaluation, top_k
from capsnet_dist.training.evaluation import evaluate

NAMES = tuple("abcdefghij")


class Told(Model):
    """Gives the scores that its images hold, one in each pixel."""

    def __init__(self, classes):
        super().__init__((1, 1, classes), classes)
        self.anchor = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, images, labels=None):
        return Output(images[:, 0, 0] + self.anchor, images[:, 0, 0, :, None], None)


def drawn(count, classes, seed=0):
    """Scores without ties, and labels of which one class has none and another is never predicted."""
    draw = torch.Generator().manual_seed(seed)
    scores = torch.stack([torch.randperm(256, generator=draw)[:classes] for _ in range(count)])
    scores[:, 1] = 0
    labels = torch.randint(1, classes, (count,), generator=draw)
    return scores, labels


def evaluated(count, classes):
    scores, labels = drawn(count, classes)
    split = Split(scores.to(torch.uint8)[:, None, None], labels)
    return evaluate(Told(classes), split, [], Accelerator(cpu=True), batch_size=7)


def counted(*rows):
    """An evaluation of these counts."""
    counts = torch.tensor(rows)
    return Evaluation(counts, {}, int(counts.trace()))


@pytest.mark.parametrize("classes", [2, 3, 10, 100])
def test_the_numbers_are_those_of_scikit_learn(classes):
    count, all_labels = 200, list(range(classes))
    scores, labels = (part.numpy() for part in drawn(count, classes))
    predicted, result = scores.argmax(axis=1), evaluated(count, classes)
    assert result.confusion.tolist() == metrics.confusion_matrix(labels, predicted, labels=all_labels).tolist()
    rates = metrics.precision_recall_fscore_support(labels, predicted, labels=all_labels, zero_division=math.nan)
    for position, name in enumerate(("precision", "recall")):
        own = [getattr(found, name) for found in result.classes]
        assert own == pytest.approx(rates[position].tolist(), nan_ok=True)
    assert [found.images for found in result.classes] == rates[3].tolist()
    present = {*labels.tolist(), *predicted.tolist()}
    f1 = metrics.f1_score(labels, predicted, average=None, labels=sorted(present), zero_division=0)
    assert [found.f1 for index, found in enumerate(result.classes) if index in present] == pytest.approx(f1.tolist())
    assert result.balanced_accuracy == pytest.approx(
        metrics.recall_score(labels, predicted, average="macro", labels=sorted({*labels.tolist()}))
    )
    assert result.macro_f1 == pytest.approx(f1.mean())
    expected = (
        metrics.top_k_accuracy_score(labels, scores, k=top_k(classes), labels=all_labels) if classes > 2 else None
    )
    assert result.rates.get(f"top_{top_k(classes)}_accuracy", result.accuracy) == pytest.approx(
        result.accuracy if expected is None else expected
    )


def counts_of(count):
    result = evaluated(count, 10)
    return result.confusion.tolist(), result.num_near


@pytest.mark.parametrize("count", [1, 41])
def test_counts_are_exact_for_any_number_of_processes(count):
    for processes in (2, 3):
        assert run_ranks(processes, counts_of, count) == counts_of(count)


def test_among_equal_scores_the_first_is_higher_as_in_the_prediction():
    even = Split(torch.full((10, 1, 1, 10), 7, dtype=torch.uint8), torch.arange(10))
    result = evaluate(Told(10), even, [], Accelerator(cpu=True))
    assert result.confusion[:, 0].tolist() == [1] * 10 and result.num_near == 5
    assert result.rates["top_5_accuracy"] == 0.5 and result.accuracy == 0.1


def test_a_class_that_is_never_predicted_is_said_in_one_sentence():
    assert remarks(counted([9, 0], [1, 9]), "ab") == []
    assert remarks(counted([9, 0, 0], [1, 9, 0], [1, 1, 0]), "abc") == ["Never predicted: c (1 of 3 classes)."]
    assert remarks(counted([3, 0], [2, 0]), "ab") == ["Every image is taken for a."]
    assert remarks(counted([3, 0], [0, 0]), "ab") == []  # there is nothing else that could be predicted
    many = counted(*([1, 1] + [0] * 98 for _ in range(100)))
    assert "and 78 more (98 of 100 classes)" in remarks(many, [f"c{index}" for index in range(100)])[0]


@pytest.mark.parametrize(
    ("rows", "is_near"),
    [
        (([17, 0], [23, 0]), True),  # always the larger class, or less
        (([0, 17], [0, 23]), True),
        (([9, 8], [13, 10]), True),
        (([12, 5], [9, 14]), True),  # 65 %, where 40 images tell no less than 73 % from 57 %
        (([16, 1], [2, 21]), False),
        (([1600, 800], [700, 1600]), False),
        (([2, 0], [0, 1]), False),  # nothing wrong
        (([3, 1], [0, 0]), False),  # there is one class alone
    ],
)
def test_accuracy_that_luck_explains_is_said_with_what_to_try(rows, is_near):
    result = counted(*rows)
    assert result.is_near_chance == is_near == bool(advice(result, 0.6))
    said = " ".join(remarks(result, "ab"))
    assert ("no better than chance" in said or "Every image" in said) == is_near


def test_advice_depends_on_whether_the_training_images_were_learned():
    result = counted([9, 8], [13, 10])
    assert "This is no better than chance, as far as 40 images can tell: always answering b has 57.50 %." in remarks(
        result, "ab"
    )
    assert advice(result, 0.99).startswith("Training accuracy is 99.00 %: it is learned by heart.")
    assert "--epochs" in advice(result, 0.6) and "--lr" in advice(result, 0.6)


def test_of_few_classes_all_are_shown_and_of_many_the_weakest():
    caption, rows = class_rows(counted([3, 0], [2, 5]), "ab")
    assert caption == ""
    assert rows == [
        ["a", "3", "100.00 %", "60.00 %", "75.00 %", ""],
        ["b", "7", "71.43 %", "100.00 %", "83.33 %", "a (2)"],
    ]
    counts = torch.eye(100, dtype=torch.int64) * 9
    counts[42] = counts[41]  # one that is always taken for its neighbour
    counts[7] = 0  # and one without images
    names = [f"c{index}" for index in range(100)]
    result = Evaluation(counts, {}, 800)
    caption, rows = class_rows(result, names)
    assert caption == "The 10 of 100 classes with the lowest F1:" and len(rows) == 10
    assert [row[0] for row in rows[:3]] == ["c42", "c41", "c0"] and rows[0][3:] == ["-", "0.00 %", "c41 (9)"]
    assert len(class_values(result, names)) == 100 and class_rates(result, names) == {}


def test_curves_have_the_classes_where_they_are_few_and_numbers_alone():
    assert class_rates(counted([3, 1], [0, 0]), "ab") == {"recall/a": 0.75, "precision/a": 1.0, "precision/b": 0.0}
    assert len(class_rates(evaluated(50, MAX_CLASSES), [str(index) for index in range(MAX_CLASSES)])) > MAX_CLASSES
