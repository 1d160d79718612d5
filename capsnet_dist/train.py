"""Trainings: from a command line, from Python, and under a program that is given their evaluations."""

import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace

from capsnet_dist import world
from capsnet_dist.config import command_line
from capsnet_dist.errors import UserError
from capsnet_dist.kernels import fast_paths, follow_precision
from capsnet_dist.processes.signals import Interruption, hearing
from capsnet_dist.record.record import open_record
from capsnet_dist.record.results import Evaluated, Evaluation
from capsnet_dist.run import Run, check
from capsnet_dist.screen.console import any_text
from capsnet_dist.screen.ending import user_errors
from capsnet_dist.training.guard import Guard
from capsnet_dist.training.isolation import Isolation, isolated
from capsnet_dist.training.trainer import Trainer

__all__ = ["Run", "Trainer", "evaluations", "main", "train"]


def main(default: Run, argv: Sequence[str] | None = None, program: str | None = None) -> None:
    """What a recipe calls: read the command line, train, and end with exit code 2 at a mistake of the user.

    Args:
        default: What is trained where the command line says nothing else.
        argv: The words of the command line; those of this process if not given.
        program: What its help calls the program; the script if not given.
    """
    with any_text(), user_errors():
        run = command_line.parse(default, argv, program)
        name = run.name.replace("{model}", run.model.name).replace("{data}", run.data.name)
        train(replace(run, name=name), may_lower=run.batch_size == default.batch_size)


def train(run: Run, *, may_lower: bool = False) -> dict[str, float]:
    """Train as configured and leave a run folder; return the test accuracy of the last, averaged and selected weights.

    Args:
        run: The configuration.
        may_lower: Whether nobody has asked for its batch size, so that a small training set may lower it.

    Raises:
        UserError: the configuration cannot work.
        SystemExit: it was interrupted; what was trained so far is saved, to go on from.
    """
    with _training(run, may_lower=may_lower) as (trainer, _):
        for _ in trainer.evaluations():
            pass
        results = trainer.finish()
    return _accuracies(trainer, results)


def evaluations(run: Run) -> Generator[Evaluated, None, dict[str, float]]:
    """Train as `train` does, step for step, and give what each evaluation on the validation split finds.

    Whoever stops asking, as by `break` or an exception, ends the training: it is saved, to go on from, and its folder
    says `stopped`. Of several processes each asks; when one stops, the others are given no further evaluation, and end.

    Returns:
        What `train` returns, to a generator that delegates to this one; nothing of a training that was stopped.

    Raises:
        UserError: the configuration cannot work, or holds out no images to evaluate on.
        SystemExit: it was interrupted; what was trained so far is saved, to go on from.
    """
    with _training(run) as (trainer, pause):
        if not len(trainer.validation.labels):
            raise UserError(f"--validation {run.validation:g} holds out no image, and there is nothing to evaluate on.")
        for evaluated in trainer.evaluations():
            is_left = False
            try:
                with pause():
                    yield evaluated
            except GeneratorExit:
                is_left = True
            trainer.leave(is_left)
        results = trainer.finish()
    return _accuracies(trainer, results)


@contextmanager
def _training(
    run: Run, *, may_lower: bool = False
) -> Generator[tuple[Trainer, Callable[[], AbstractContextManager[object]]]]:
    """A trainer, and a context manager in which its caller has control, and the process as it was before."""
    check(run, world.place().world_size)
    interrupted = Interruption(run.max_time)
    # Signals are heard around the record: none ends it before it is closed.
    contexts = [isolated, lambda: fast_paths(not run.exact), lambda: hearing(interrupted)]
    with Isolation(*contexts) as isolation, open_record(run) as record, Guard(run.timeout) as guard:
        trainer = Trainer(run, record, interrupted, may_lower=may_lower)
        guard.begin(record)

        @contextmanager
        def pause() -> Generator[None]:
            with guard.resting(), isolation.lifted():
                yield
            follow_precision(trainer.accelerator.mixed_precision)

        yield trainer, pause


def _accuracies(trainer: Trainer, results: Mapping[str, Evaluation]) -> dict[str, float]:
    """What a training returns, unless a signal or the clock has ended it."""
    if trainer.stopped and not trainer.interrupted.is_left:
        sys.exit(trainer.interrupted.exit_code)
    return {name: result.accuracy for name, result in results.items()}
