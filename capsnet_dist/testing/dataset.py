"""What every data set must do."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from capsnet_dist.data.checks import check_splits, digest
from capsnet_dist.errors import UserError
from capsnet_dist.plugins import Dataset, datasets
from capsnet_dist.testing.common import options_are_plain_data
from capsnet_dist.testing.conduct import OnFail, check
from capsnet_dist.testing.law import Broken, Law, require, require_same
from capsnet_dist.testing.report import Report
from capsnet_dist.testing.routing import NONE
from capsnet_dist.testing.side_effects import evaluation_draws_nothing, evaluation_repeats, process_stays_untouched
from capsnet_dist.testing.subject import Inputs, Subject, Target

NUM_ROWS = 32  # of each split that are compared


class DatasetProbe(nn.Module):
    """The training split of a data set as a function of numbers of samples."""

    def __init__(self, dataset: Dataset) -> None:
        super().__init__()
        self.plugin = dataset

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Images and labels."""
        images, labels = self.plugin.split("train").select(tensors[0])
        assert isinstance(images, Tensor), "select() gives images in memory"
        return images, labels


class DatasetSubject(Subject):
    """A data set under test.

    Raises:
        UserError: it cannot be read on this machine.
    """

    registry = datasets
    batched = frozenset({"samples"})

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        try:
            self.construct().split("train")
        except UserError as error:
            raise UserError(f"Data set {self.name} cannot be checked here: {error}") from error
        except Exception:  # a mistake of the plugin: the laws meet it again, and say where
            return

    @cached_property
    def size(self) -> int:
        """How many training images there are."""
        return len(self.construct().split("train").labels)

    def wrap(self, **options: Any) -> DatasetProbe:
        """A new one."""
        return DatasetProbe(self.construct(**options))

    def inputs(self, batch: int = 3, *, dtype: torch.dtype = torch.float64, seed: int = 0) -> Inputs:
        """Random numbers of samples."""
        return {"samples": torch.randint(self.size, (batch,), generator=torch.Generator().manual_seed(seed))}


def splits_can_be_trained_on(subject: DatasetSubject) -> None:
    """Images are bytes of one size, each with labels that name a class: the rules of the first step of a training."""
    dataset = subject.construct()
    splits = {name: dataset.split(name) for name in ("train", "test")}
    try:
        check_splits(splits, len(dataset.classes), subject.name)
    except UserError as error:
        raise Broken(str(error)) from error
    for name, split in splits.items():
        require(len(split.labels) > 0, f"split {name} has no images")
    require(len(dataset.classes) > 1, f"there is one class alone: {dataset.classes[0]!r}")


def class_names_are_distinct(subject: DatasetSubject) -> None:
    """Class names are printable and distinct texts, else predictions cannot be told apart."""
    names = subject.construct().classes
    for name in names:
        require(isinstance(name, str) and name.isprintable() and bool(name.strip()), f"a class is called {name!r}")
        require(list(names).count(name) == 1, f"{list(names).count(name)} classes are called {name!r}")


def images_are_always_the_same(subject: DatasetSubject) -> None:
    """Built anew, it gives the same images and labels in the same order, else no run can be resumed or repeated."""
    first, second = (subject.construct() for _ in range(2))
    for name in ("train", "test"):
        same = digest([first.split(name)]) == digest([second.split(name)])
        require(same, f"built anew, it has another split {name}")


def rows_by_number_equal_rows_in_bulk(subject: DatasetSubject) -> None:
    """A sample is the same whether it is asked for alone, twice, among others or in a part, else batches differ."""
    dataset = subject.construct()
    for name in ("train", "test"):
        split = dataset.split(name)
        numbers = torch.linspace(0, len(split.labels) - 1, NUM_ROWS).long()  # some twice where there are few
        order = torch.randperm(NUM_ROWS, generator=torch.Generator().manual_seed(0))
        bulk = [part[order] for part in split.select(numbers)]
        alone = zip(*(split.select(number) for number in numbers[order].split(1)), strict=True)
        require_same([torch.cat(rows) for rows in alone], bulk, f"{name}, rows one by one", 0.0)
        require_same(split.select(numbers[order]), bulk, f"{name}, rows in another order", 0.0)
        part = split.part(numbers[order]).select(torch.arange(NUM_ROWS))
        require_same(part, bulk, f"{name}, rows of a part", 0.0)


LAWS: tuple[Law[Any], ...] = (
    Law(splits_can_be_trained_on),
    Law(class_names_are_distinct),
    Law(evaluation_draws_nothing, after=(splits_can_be_trained_on,)),
    Law(images_are_always_the_same, after=(splits_can_be_trained_on, evaluation_draws_nothing)),
    Law(evaluation_repeats, after=(splits_can_be_trained_on, evaluation_draws_nothing, images_are_always_the_same)),
    Law(rows_by_number_equal_rows_in_bulk, after=(splits_can_be_trained_on,)),
    Law(process_stays_untouched, after=(splits_can_be_trained_on,)),
    Law(options_are_plain_data),
)


def check_dataset(
    target: Target,
    *,
    only: Iterable[str] | None = None,
    expected_failures: Mapping[str, str] = NONE,
    on_fail: OnFail = "raise",
) -> Report:
    """Try a data set on every law that data sets obey; the arguments are those of `check_routing`.

    Args:
        target: A class, a factory without arguments, or a choice with options.
        only: Names of the checks to run; all of them without.
        expected_failures: Checks that must fail, by name, each with the reason.
        on_fail: "raise", or "report" to leave it to the caller.

    Raises:
        ChecksFailed: a law does not hold, or one that was expected to fail does; it carries the report.
        UserError: there is no check of that name, or the data set cannot be read on this machine.
    """
    return check(DatasetSubject(target), LAWS, only, expected_failures, on_fail)
