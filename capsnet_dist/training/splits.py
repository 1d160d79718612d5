"""What a training sees, what it selects its weights by, and what it is judged by in the end."""

from capsnet_dist.data.order import hold_out
from capsnet_dist.errors import UserError
from capsnet_dist.plugins import Split
from capsnet_dist.run import Run


def separate(whole: Split, test: Split, run: Run) -> tuple[Split, Split, Split]:
    """Training, validation and test images.

    Args:
        whole: The training split of the data set.
        test: Its test split.
        run: How much to hold out for validation; in a dry run 256 images are enough to evaluate.

    Raises:
        UserError: the training images do not fill a batch.
    """
    kept, held = hold_out(whole.labels, run.validation)
    if run.batch_size > len(kept):
        raise UserError(f"--batch-size {run.batch_size}: there are only {len(kept)} training images.")
    evaluated = [whole.select(held), test]
    if run.dry_run:
        evaluated = [Split(*(part[:256] for part in split)) for split in evaluated]
    validation, test = evaluated
    return whole.select(kept), validation, test
