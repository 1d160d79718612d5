"""What a training holds and does: one loop, the same for one process and for many."""

from collections.abc import Generator
from functools import cached_property

import torch

from capsnet_dist.data.batches import Batches
from capsnet_dist.data.order import make_order
from capsnet_dist.errors import UserError
from capsnet_dist.kernels import follow_precision
from capsnet_dist.plugins import Model, Split
from capsnet_dist.processes.launching import make_accelerator, part_at_exit
from capsnet_dist.processes.memory import keep_freed_memory
from capsnet_dist.processes.requests import remarks
from capsnet_dist.processes.signals import Interruption
from capsnet_dist.record.base import Record
from capsnet_dist.record.results import Evaluated, Evaluation
from capsnet_dist.run import Run
from capsnet_dist.saved import checkpoint
from capsnet_dist.saved.state import wanted_tensors
from capsnet_dist.training.ema import MovingAverage
from capsnet_dist.training.evaluation import GivenUp, evaluate
from capsnet_dist.training.network import build_network
from capsnet_dist.training.objective import rehearse, weigh
from capsnet_dist.training.splits import fill_batch, load_splits
from capsnet_dist.training.state import TrainingState
from capsnet_dist.training.step_metrics import StepMetrics, sum_over_processes
from capsnet_dist.training.stepper import Stepper
from capsnet_dist.training.timetable import Timetable

NUM_SHOWN = 256  # images that the pictures of a run are made of: as many as are evaluated at a time


class Trainer:
    """Everything a training holds, and what it does with it.

    Args:
        run: The configuration.
        record: What the training says and leaves behind.
        interrupted: Whether this process should save and end.
        may_lower: Whether a small training set may lower the batch size.

    Raises:
        UserError: data, network and configuration do not fit together, or there is nothing good to resume from.
    """

    def __init__(self, run: Run, record: Record, interrupted: Interruption, *, may_lower: bool = False) -> None:
        self.record, self.interrupted, self.stopped = record, interrupted, False
        self.accelerator = accelerator = make_accelerator(run)
        torch.use_deterministic_algorithms(run.deterministic)
        if accelerator.device.type == "cpu":
            keep_freed_memory()
        follow_precision(accelerator.mixed_precision)

        classes, fit, self.pixels, training, self.validation, self.test = load_splits(run, accelerator)
        shards = accelerator.num_processes * run.accumulation
        self.run = record.run = run = fill_batch(run, len(training.labels), shards, may_lower=may_lower)
        order = make_order(run.sampling, training.labels.cpu(), run.batch_size, run.seed)
        self.batches = Batches(training, run.augmentation.build(), order, getattr(torch, run.dtype))
        self.model = build_network(run, self.batches, classes, fit, accelerator)
        self.criteria = [run.loss.build(), run.regularizer.build()]
        minimised = weigh(self.criteria, training.labels, len(classes))
        rehearse(self.model, minimised, self.batches)

        self.timetable = Timetable(run, order.steps_per_epoch)
        average = MovingAverage(self.model, run.ema) if run.ema else None
        optimizer = run.optimizer.build(self.model.parameters(), run.lr)
        self.state = TrainingState(self.model, optimizer, average, accelerator.scaler)
        self._start_or_resume()
        self.stepper = Stepper(run, self.state, self.batches, minimised, self.timetable, accelerator, record.say)
        self.metrics = StepMetrics(accelerator)

    @property
    def is_over(self) -> bool:
        """Whether all steps were taken, the patience is at its end, or the training was interrupted."""
        done, table = self.state.done, self.timetable
        return self.stopped or done >= table.num_steps or table.is_patience_over(done, self.state.best.step)

    @cached_property
    def shown(self) -> Split:
        """Images for the pictures: not those of the test split."""
        split = self.validation if len(self.validation.labels) else self.batches.training
        return self.batches.sample(split, NUM_SHOWN)

    def evaluations(self) -> Generator[Evaluated]:
        """Take the steps that are left, and give what each evaluation finds."""
        if evaluated := self.validate():  # if an interruption has left that out
            yield evaluated
        while not self.is_over:
            self.step(self.state.done)
            if evaluated := self.validate():
                yield evaluated
            self.save()

    def leave(self, is_left: bool) -> None:
        """Stop, all processes alike, if the program that is given the evaluations of any of them wants no more."""
        if sum_over_processes(torch.tensor(float(is_left), device=self.accelerator.device), self.accelerator):
            self.interrupted.is_left = self.stopped = True

    def step(self, step: int) -> None:
        """Follow the gradient of one global batch."""
        values = self.stepper.take(step)
        interrupted = values["loss"].new_full((), float(self.interrupted.is_set))  # waits for no GPU
        self.state.done, self.state.evaluation_due = step + 1, self.timetable.is_evaluation_due(step)
        self._record(self.metrics.add(step, values | {"interrupted": interrupted}))

    def save(self) -> None:
        """Save the state if it is time; on rank 0, since all ranks hold the same."""
        due, minutes = self.timetable.is_checkpoint_due(self.state.done), self.run.checkpoint.minutes
        if self.is_over or due or (self.metrics.is_empty and self.record.minutes_since_checkpoint() >= minutes):
            self._record(self.metrics.flush())
            self.record.checkpoint(self.state.done, self.state.tensors, self.state.values)

    def validate(self) -> Evaluated | None:
        """If it is time, evaluate the candidates on the validation split, and keep the best.

        An interruption leaves all of it out, for the run that goes on to make up for.
        """
        if not self.state.evaluation_due:
            return None
        self._record(self.metrics.flush())
        results = self._evaluate(self.state.candidates if len(self.validation.labels) else {}, self.validation)
        if self.stopped:
            return None
        self.record.reconstructions(self.state.done, self.model, self.shown)
        for name, result in results.items():
            self.state.best.offer(name, self.state.done, self.state.candidates[name], result)
            self.record.evaluation(self.state.done, "validation", name, result)
        self.state.evaluation_due = False
        return Evaluated(self.state.done, self.timetable.epoch(self.state.done), results) if results else None

    def finish(self) -> dict[str, Evaluation]:
        """Leave the selected weights in the run folder, and read the test split, unless interrupted."""
        self._record(self.metrics.flush())
        best, candidates = self.state.best, self.state.candidates
        if not self.stopped and self.state.done < self.timetable.num_steps:
            why = f"no evaluation after step {best.step} found better weights (--patience {self.run.patience})"
            self.record.ended(f"Ended after step {self.state.done} of {self.timetable.num_steps}: {why}")
        source = f"{best.name} weights of step {best.step or self.state.done}"
        if best.step and len(self.validation.labels):
            source += f", chosen on {len(self.validation.labels):,} training images that were held out"
        with best.in_place(candidates) as selected:  # before all that may fail
            self.record.keep(selected, source, is_done=not self.stopped)
        results = self._evaluate(candidates, self.test)
        selected = best.restore(candidates)
        known = results.get(best.name) if best.step in (0, self.state.done) else None
        results |= {"selected": known} if known else self._evaluate({"selected": selected}, self.test)
        if self.stopped:
            results = {}
            why = f"{self.interrupted.reason}, after step {self.state.done}"
            self.record.interrupted(why, "stopped" if self.interrupted.is_left else "preempted")
        for name, result in results.items():
            self.record.evaluation(self.state.done, "test", name, result)
        self.record.finish(selected, source, results, self.shown)
        part_at_exit()
        return results

    def _start_or_resume(self) -> None:
        """Start the record; go on from the checkpoint that rank 0 has found, which every rank reads."""
        run, accelerator = self.run, self.accelerator
        place = {"processes": accelerator.num_processes, "mixed_precision": accelerator.mixed_precision}
        parts = {"training": self.batches.training, "validation": self.validation, "test": self.test}
        place |= {"pixels": self.pixels, "images": {name: len(part.labels) for name, part in parts.items()}}
        wanted = wanted_tensors(self.model, lambda some: run.optimizer.build(some, run.lr), run.ema > 0)
        found = self.record.start(self.model, accelerator.device, self.timetable.num_steps, place, wanted)
        for remark in remarks(accelerator.num_processes):
            self.record.say(remark)
        step = int(sum_over_processes(torch.tensor(found.step if found else 0, device=accelerator.device), accelerator))
        if step:
            self.state.restore(found or checkpoint.load(self.record.path / "checkpoints", step, wanted))

    def _evaluate(self, models: dict[str, Model], split: Split) -> dict[str, Evaluation]:
        """What networks achieve on a split; nothing where any process is interrupted."""
        if self.stopped:
            return {}
        views, given_up = self.batches.augmentation.views, lambda: self.interrupted.is_set
        try:
            return {
                name: evaluate(model, split, self.criteria, self.accelerator, views=views, given_up=given_up)
                for name, model in models.items()
            }
        except GivenUp:
            self.stopped = True
            return {}

    def _record(self, ready: dict[int, dict[str, float]]) -> None:
        """Write the metrics of finished steps, and hear of interruptions, which all processes hear alike."""
        for step, metrics in ready.items():
            self.stopped |= metrics.pop("interrupted") > 0
            self.record.step(step + 1, self.timetable.epoch(step), self.timetable.learning_rate(step), metrics)
            self.state.skipped = self.state.skipped + 1 if metrics["skipped"] else 0
            if self.state.skipped >= self.run.max_skipped:
                batch = self.batches.order.samples(self.batches.order.batch(step)).tolist()
                raise UserError(
                    f"{self.state.skipped} steps in a row, up to step {step + 1}, had no finite gradient and were "
                    f"skipped. The last batch was of training images {batch}. Lower --lr."
                )
