"""What a training holds and does: one loop, the same for one process and for many."""

import math
from collections.abc import Generator
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from capsnet_dist.data.batches import Batches
from capsnet_dist.data.order import derive, make_order
from capsnet_dist.errors import UserError
from capsnet_dist.kernels import follow_precision
from capsnet_dist.objects import is_right
from capsnet_dist.plugins import Model, Output, Split
from capsnet_dist.processes.launching import make_accelerator, part_at_exit
from capsnet_dist.processes.memory import keep_freed_memory
from capsnet_dist.processes.requests import remarks
from capsnet_dist.processes.signals import Interruption
from capsnet_dist.processes.watchdog import beat
from capsnet_dist.record.base import Record
from capsnet_dist.record.results import Evaluated, Evaluation
from capsnet_dist.run import Run
from capsnet_dist.saved import checkpoint
from capsnet_dist.saved.state import wanted_tensors
from capsnet_dist.training.cuda_graph import StepFunction, StepGraph, StepInputs, captures
from capsnet_dist.training.ema import MovingAverage
from capsnet_dist.training.evaluation import GivenUp, evaluate
from capsnet_dist.training.isolation import reseed
from capsnet_dist.training.network import build_network
from capsnet_dist.training.objective import loss_terms, rehearse, restore_statistics, step_if_finite, warm_up, weigh
from capsnet_dist.training.regions import compile_regions
from capsnet_dist.training.splits import fill_batch, load_splits
from capsnet_dist.training.state import TrainingState
from capsnet_dist.training.step_metrics import StepMetrics, sum_over_processes

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
        augmentation = run.augmentation.build()
        order = make_order(run.sampling, training.labels.cpu(), run.batch_size, run.seed)
        self.batches = Batches(training, augmentation, order, getattr(torch, run.dtype))
        self.model = build_network(run, self.batches, classes, fit, accelerator)
        self.criteria = [run.loss.build(), run.regularizer.build()]
        self.minimised = weigh(self.criteria, training.labels, len(classes))
        rehearse(self.model, self.minimised, self.batches)

        self.steps_per_epoch = self.batches.order.steps_per_epoch
        self.num_steps = 1 if run.dry_run else run.steps or run.epochs * self.steps_per_epoch
        self.schedule = run.schedule.build(self.num_steps)
        self.average = MovingAverage(self.model, run.ema) if run.ema else None
        optimizer = run.optimizer.build(self.model.parameters(), run.lr)
        self.state = TrainingState(self.model, optimizer, self.average, accelerator.scaler)
        self._start_or_resume()

        parts = [*self.model.modules(), *self.criteria, *augmentation.members(), optimizer]
        captured = captures(run, parts, accelerator.num_processes, accelerator.device, accelerator.mixed_precision)
        compile_regions(self.model, run.compile, accelerator.device, whole=captured)
        self.replica, self.optimizer = accelerator.prepare(self.model, optimizer)
        self.take_step: StepFunction = self._take_step
        if captured:
            self.take_step = StepGraph(self._take_step, optimizer, accelerator.device, record.say)
        saved = self.model.state_dict()  # not what a layer computes from its options
        self.statistics = [buffer for name, buffer in self.model.named_buffers() if name in saved]
        self.metrics = StepMetrics(accelerator)
        if accelerator.num_processes > 2:
            warm_up(self.replica, self.model, self.minimised, self.batches, accelerator)

    @property
    def is_over(self) -> bool:
        """Whether all steps were taken, the patience is at its end, or the training was interrupted."""
        return self.stopped or self.is_exhausted or self.state.done >= self.num_steps

    @property
    def is_exhausted(self) -> bool:
        """Whether as many evaluations in a row as the run has patience for found no better weights.

        It follows from the state that a checkpoint holds, so a run that is resumed ends at the same step.
        """
        best, steps = self.state.best.step, self.run.evaluate_every * self.steps_per_epoch
        return bool(self.run.patience and best) and self.state.done >= best + (self.run.patience or 0) * steps

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
        reseed(derive(self.run.seed, "network", step, self.accelerator.process_index), self.accelerator.device)
        values = self.take_step(self._step_inputs(step), step / self.num_steps)
        interrupted = values["loss"].new_full((), float(self.interrupted.is_set))  # waits for no GPU
        self.state.done, self.state.evaluation_due = step + 1, self.is_evaluation_due(step)
        self._record(self.metrics.add(step, values | {"interrupted": interrupted}))

    def is_evaluation_due(self, step: int) -> bool:
        """Whether an epoch to evaluate, or the training, ends with this step."""
        return (step + 1) % (self.run.evaluate_every * self.steps_per_epoch) == 0 or step + 1 == self.num_steps

    def save(self) -> None:
        """Save the state if it is time; on rank 0, since all ranks hold the same."""
        checkpoints = self.run.checkpoint
        due = self.is_over or self.state.done % checkpoints.every == 0
        if due or (self.metrics.is_empty and self.record.minutes_since_checkpoint() >= checkpoints.minutes):
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
        return Evaluated(self.state.done, self.state.done / self.steps_per_epoch, results) if results else None

    def finish(self) -> dict[str, Evaluation]:
        """Leave the selected weights in the run folder, and read the test split, unless interrupted."""
        self._record(self.metrics.flush())
        best, candidates = self.state.best, self.state.candidates
        if not self.stopped and self.state.done < self.num_steps:
            why = f"no evaluation after step {best.step} found better weights (--patience {self.run.patience})"
            self.record.ended(f"Ended after step {self.state.done} of {self.num_steps}: {why}")
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
        found = self.record.start(self.model, accelerator.device, self.num_steps, place, wanted)
        for remark in remarks(accelerator.num_processes):
            self.record.say(remark)
        step = int(sum_over_processes(torch.tensor(found.step if found else 0, device=accelerator.device), accelerator))
        if step:
            self.state.restore(found or checkpoint.load(self.record.path / "checkpoints", step, wanted))

    def _learning_rate(self, step: int) -> float:
        return self.run.lr * self.schedule(step)

    def _step_inputs(self, step: int) -> StepInputs:
        """What tells a step from others; images that are in a file are read."""
        processes, rank, micros = self.accelerator.num_processes, self.accelerator.process_index, self.run.accumulation
        shards = [
            self.batches.order.shard(step, micro * processes + rank, micros * processes) for micro in range(micros)
        ]
        share = 0.0 if self.average is None else self.average.share(step)
        key = self.batches.key(step)
        self.batches.fetch(indices := torch.stack(shards), key)
        return StepInputs(step, indices, key, self._learning_rate(step), share)

    def _take_step(self, inputs: StepInputs, progress: float) -> dict[str, Tensor]:
        """One step on the device, which the host need not wait for."""
        for group in self.optimizer.param_groups:
            group["lr"] = inputs.lr
        device, kept = self.accelerator.device, [buffer.clone() for buffer in self.statistics]
        inputs = inputs._replace(indices=inputs.indices.to(device), key=inputs.key.to(device))
        totals: dict[str, Tensor] = {}
        for micro in range(self.run.accumulation):
            for name, value in self._micro_batch(inputs, micro, progress).items():
                totals[name] = totals[name] + value if name in totals else value
        values = {name: total / self.run.accumulation for name, total in totals.items()}
        values["gradient_norm"] = totals["gradient_norm"]  # only the last micro-batch has one
        values["skipped"] = totals["skipped"]
        restore_statistics(self.statistics, kept, values["skipped"])
        if self.average is not None:
            self.average.update(self.model, inputs.share)
        return values

    def _micro_batch(self, inputs: StepInputs, micro: int, progress: float) -> dict[str, Tensor]:
        """One forward and backward pass; with the last micro-batch of a step also the optimizer's."""
        beat(inputs.step)
        limit = self.run.clip_norm
        batch = self.batches.make_fetched(inputs.indices, micro, inputs.key)
        dtype = batch.images.dtype
        norm = skipped = torch.zeros((), device=batch.images.device, dtype=dtype)
        with self.accelerator.accumulate(self.replica):
            output: Output = self.replica(batch.images, batch.labels)
            terms = loss_terms(self.minimised, output, batch, progress)
            self.accelerator.backward(terms["loss"])
            if self.accelerator.sync_gradients:
                found: Any = self.accelerator.clip_grad_norm_(self.model.parameters(), limit or math.inf)
                norm = torch.as_tensor(found, dtype=dtype)
                skipped = step_if_finite(self.optimizer, norm).to(dtype)
            self.optimizer.zero_grad()
        accuracy = is_right(output.scores, batch.labels).to(dtype).mean()
        measured = {"accuracy": accuracy, "gradient_norm": norm, "skipped": skipped}
        return {name: term.detach() for name, term in terms.items()} | measured

    def _evaluate(self, models: dict[str, Model], split: Split) -> dict[str, Evaluation]:
        """What networks achieve on a split; nothing where any process is interrupted."""
        results: dict[str, Evaluation] = {}
        for name, model in models.items() if not self.stopped else ():
            try:
                results[name] = evaluate(
                    model,
                    split,
                    self.criteria,
                    self.accelerator,
                    views=self.batches.augmentation.views,
                    given_up=lambda: self.interrupted.is_set,
                )
            except GivenUp:
                self.stopped = True
                return {}
        return results

    def _record(self, ready: dict[int, dict[str, float]]) -> None:
        """Write the metrics of finished steps, and hear of interruptions, which all processes hear alike."""
        for step, metrics in ready.items():
            self.stopped |= metrics.pop("interrupted") > 0
            self.record.step(step + 1, step / self.steps_per_epoch, self._learning_rate(step), metrics)
            self.state.skipped = self.state.skipped + 1 if metrics["skipped"] else 0
            if self.state.skipped >= self.run.max_skipped:
                batch = self.batches.order.samples(self.batches.order.batch(step)).tolist()
                raise UserError(
                    f"{self.state.skipped} steps in a row, up to step {step + 1}, had no finite gradient and were "
                    f"skipped. The last batch was of training images {batch}. Lower --lr."
                )
