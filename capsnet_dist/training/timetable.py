"""When a training does what, counted in steps."""

from capsnet_dist.run import Run


class Timetable:
    """What is due at which step, from the configuration alone: a run that is resumed keeps to the same one.

    Args:
        run: The configuration.
        steps_per_epoch: Global batches in an epoch.

    Raises:
        UserError: the schedule of the learning rate refuses its options.
    """

    def __init__(self, run: Run, steps_per_epoch: int) -> None:
        self.run, self.steps_per_epoch = run, steps_per_epoch
        self.num_steps = 1 if run.dry_run else run.steps or run.epochs * steps_per_epoch
        self.steps_per_evaluation = run.evaluate_every * steps_per_epoch
        self._schedule = run.schedule.build(self.num_steps)

    def epoch(self, step: int) -> float:
        """How many epochs so many steps are."""
        return step / self.steps_per_epoch

    def progress(self, step: int) -> float:
        """Which share of the training lies before a step, in [0, 1)."""
        return step / self.num_steps

    def learning_rate(self, step: int) -> float:
        """That of a step, counted from 0."""
        return self.run.lr * self._schedule(step)

    def is_evaluation_due(self, step: int) -> bool:
        """Whether an epoch to evaluate, or the training, ends with this step, counted from 0."""
        return (step + 1) % self.steps_per_evaluation == 0 or step + 1 == self.num_steps

    def is_checkpoint_due(self, done: int) -> bool:
        """Whether to save after so many steps."""
        return done % self.run.checkpoint.every == 0

    def is_patience_over(self, done: int, best: int) -> bool:
        """Whether, after so many steps, as many evaluations as the run has patience for found nothing better.

        Args:
            done: Steps that were taken.
            best: After how many of them the best weights were found; 0 until there are any.
        """
        return bool(self.run.patience and best) and done >= best + (self.run.patience or 0) * self.steps_per_evaluation
