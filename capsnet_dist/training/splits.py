"""What a training sees, what it selects its weights by, and what it is judged by in the end."""

from typing import NamedTuple

from accelerate import Accelerator

from capsnet_dist.data.order import hold_out
from capsnet_dist.errors import UserError
from capsnet_dist.plugins import Split
from capsnet_dist.processes.launching import first_on_its_machine
from capsnet_dist.run import Run
from capsnet_dist.saved.plan import class_names


class Splits(NamedTuple):
    """The parts of a data set."""

    classes: tuple[str, ...]
    """Names of the classes."""
    training: Split
    validation: Split
    test: Split


def load_splits(run: Run, accelerator: Accelerator) -> Splits:
    """The images of a training, on the device of this process; one process a machine loads, or downloads, them first.

    Raises:
        UserError: the data are not there, do not fill a batch, or have classes whose names cannot be saved.
    """
    data = run.data.build()
    classes = class_names(data.classes, f"Data set {run.data.name}")
    with first_on_its_machine(accelerator):
        splits = separate(data.split("train"), data.split("test"), run)
    return Splits(classes, *(split.to(accelerator.device) for split in splits))


def separate(whole: Split, test: Split, run: Run) -> tuple[Split, Split, Split]:
    """Training, validation and test images.

    Args:
        whole: The training split of the data set.
        test: Its test split.
        run: How much to hold out for validation; in a dry run 256 images are enough to evaluate.

    Raises:
        UserError: the training images do not fill a batch, or there are no test images.
    """
    if not len(test.labels):
        raise UserError(f"Data set {run.data.name} has no test images, by which the training is judged in the end.")
    kept, held = hold_out(whole.labels, run.validation)
    if run.batch_size > len(kept):
        raise UserError(f"--batch-size {run.batch_size}: there are only {len(kept)} training images.")
    evaluated = [whole.select(held), test]
    if run.dry_run:
        evaluated = [Split(*(part[:256] for part in split)) for split in evaluated]
    validation, test = evaluated
    return whole.select(kept), validation, test
