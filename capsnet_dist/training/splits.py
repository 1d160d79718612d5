"""The images of a training: those it sees, those it selects its weights by, and those it is tested on at the end."""

from contextlib import nullcontext
from dataclasses import replace
from typing import NamedTuple, cast

import torch
from accelerate import Accelerator
from jaxtyping import Int64
from torch import Tensor

from capsnet_dist.data.checks import check_splits, digest
from capsnet_dist.data.division import groups_of, hold_out_of_few
from capsnet_dist.errors import UserError
from capsnet_dist.images.fit import Fit
from capsnet_dist.plugins import FittedDataset, Split
from capsnet_dist.processes.launching import first_on_its_machine
from capsnet_dist.run import Run
from capsnet_dist.saved.plan import class_names
from capsnet_dist.screen.progress import say
from capsnet_dist.text import listed


class Splits(NamedTuple):
    """The parts of a data set."""

    classes: tuple[str, ...]
    """Names of the classes."""
    fit: Fit | None
    """How pictures became these images; None where the data set does not say."""
    digest: str
    """Of all pixels and labels."""
    training: Split
    validation: Split
    test: Split


def load_splits(run: Run, accelerator: Accelerator) -> Splits:
    """The images of a training, on the device of this process, or in a file that is read to it.

    One process a machine loads, or downloads, them first. Data sets of pictures see to that themselves: decoding may
    take longer than processes wait for each other.

    Raises:
        UserError: the data are not there, are not what a data set must be, or differ between the processes.
    """
    data, name = run.data.build(), run.data.name
    classes = class_names(data.classes, f"Data set {name}")
    if len(classes) < 2:
        raise UserError(f"Data set {name} has one class alone: {listed(classes)}. A network tells apart at least two.")
    fit = data.fit if isinstance(data, FittedDataset) else None
    with first_on_its_machine(accelerator) if fit is None else nullcontext(), run.data.telling():
        found = {split: data.split(split) for split in ("train", "test")}
    check_splits(found, len(classes), name)
    pixels = digest(found.values())
    _require_agreement(pixels, name, accelerator)
    whole, groups = found["train"], groups_of(data)
    parts = separate(whole, found["test"], run, groups)
    for missing in _left_out(parts[0], parts[1], classes, run.validation):
        say(f"Warning: {missing}")
    if run.validation and len(parts[1].labels.unique()) < len(whole.labels.unique()):
        say(_larger_share(whole.labels, run, groups))
    return Splits(classes, fit, pixels, *(part.to(accelerator.device) for part in parts))


def _require_agreement(digest: str, data: str, accelerator: Accelerator) -> None:
    """Refuse to train where processes have decoded, or downloaded, other pixels."""
    number = torch.tensor([int(digest[:15], 16)], device=accelerator.device)  # as many digits as an int64 holds
    numbers = cast(Tensor, accelerator.gather(number)).tolist()
    if other := [rank for rank, found in enumerate(numbers) if found != numbers[0]]:
        raise UserError(
            f"Data set {data}: processes {listed(list(map(str, other)))} have other pixels or labels than process 0. "
            "Give all machines the same files, and the same versions of Pillow."
        )


def separate(
    whole: Split, test: Split, run: Run, groups: Int64[Tensor, " n"] | None = None
) -> tuple[Split, Split, Split]:
    """Training, validation and test images.

    Args:
        whole: The training split of the data set.
        test: Its test split.
        run: How many images of each class to take, and how much of them to hold out for validation; in a dry run 256
            images are enough to evaluate.
        groups: Group of each training image, none of which is divided.

    Raises:
        UserError: there are no training or no test images, or the end of the training depends on images that are not
            held out.
    """
    if not len(whole.labels):
        raise UserError(f"Data set {run.data.name} has no training images.")
    if not len(test.labels):
        raise UserError(f"Data set {run.data.name} has no test images, by which the training is judged in the end.")
    kept, held = hold_out_of_few(whole.labels, run.validation, run.images_per_class, groups)
    if run.patience and not len(held):
        raise UserError(
            f"--patience {run.patience}: --validation {run.validation:g} holds out no image, by which to see whether "
            "the weights still become better. Hold out more, or leave --patience out."
        )
    evaluated = [whole.part(held), test]
    if run.dry_run:
        evaluated = [split.part(torch.arange(min(256, len(split.labels)))) for split in evaluated]
    validation, test = evaluated
    return whole.part(kept), validation, test


def fill_batch(run: Run, number: int, shards: int, *, may_lower: bool) -> Run:
    """The run with a batch size that its training images fill.

    Args:
        run: The configuration.
        number: How many training images there are.
        shards: What a batch is divided by: processes x micro-batches.
        may_lower: Whether a batch size that is too large becomes the largest that they fill, which is said.

    Raises:
        UserError: they do not fill a batch.
    """
    if run.batch_size <= number:
        return run
    largest, few = number // shards * shards, f"--batch-size {run.batch_size}: there are only {number} training images"
    if not may_lower or not largest:
        raise UserError(f"{few}: give {number} or less.")
    say(f"Warning: {few}, so it is {largest}. A smaller one takes more steps an epoch.")
    return replace(run, batch_size=largest)


def _left_out(training: Split, validation: Split, classes: tuple[str, ...], share: float) -> list[str]:
    """Classes that a split does not have, in words."""
    if share and not len(validation.labels):
        return [f"--validation {share:g} holds out no image of any class: the weights of the last step will be kept."]
    said: list[str] = []
    for split, rule in (
        (training, "no training images"),
        (validation, f"no images held out by --validation {share:g}"),
    ):
        counts = split.labels.flatten().bincount(minlength=len(classes)).tolist()
        absent = [name for name, count in zip(classes, counts, strict=True) if not count]
        if absent and len(split.labels):
            said.append(f"{rule} of {len(absent)} of {len(classes)} classes: {listed(absent)}.")
    return said


def _larger_share(labels: Int64[Tensor, "n *m"], run: Run, groups: Int64[Tensor, " n"] | None) -> str:
    """What to do about classes that are not held out: the least share that would hold out some of each."""
    classes = len(labels.unique())
    for larger in (share for share in (0.2, 0.3, 0.4, 0.5) if share > run.validation):
        _, held = hold_out_of_few(labels, larger, run.images_per_class, groups)
        if len(labels[held].unique()) == classes:
            return f"--validation {larger:g} would hold out images of every class."
    few = "images" if groups is None else "groups"
    return f"No larger --validation holds out images of every class: it takes more {few} of each."
