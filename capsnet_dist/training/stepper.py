"""The steps of a training: forward, backward, optimizer and moving average, on the device."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from capsnet_dist.data.batches import Batches
from capsnet_dist.data.order import derive
from capsnet_dist.objects import is_right
from capsnet_dist.plugins import Loss, Output
from capsnet_dist.processes.watchdog import beat
from capsnet_dist.run import Run
from capsnet_dist.training.cuda_graph import StepFunction, StepGraph, StepInputs, captures
from capsnet_dist.training.isolation import reseed
from capsnet_dist.training.objective import loss_terms, restore_statistics, step_if_finite, warm_up
from capsnet_dist.training.regions import compile_regions
from capsnet_dist.training.state import TrainingState
from capsnet_dist.training.timetable import Timetable


class Stepper:
    """Follows the gradient of one global batch after another, with all processes together.

    Args:
        run: The configuration.
        state: What it changes: the network, its optimizer and its moving average, as the first step finds them.
        batches: The training images.
        minimised: The losses whose sum is minimised.
        timetable: Says progress and learning rate of a step.
        accelerator: The processes, and the device of this one.
        say: Tells the user.
    """

    def __init__(
        self,
        run: Run,
        state: TrainingState,
        batches: Batches,
        minimised: Sequence[Loss],
        timetable: Timetable,
        accelerator: Accelerator,
        say: Callable[[str], object],
    ) -> None:
        self.run, self.batches, self.minimised, self.timetable = run, batches, minimised, timetable
        self.model, self.average, self.accelerator = state.model, state.average, accelerator
        parts = [*self.model.modules(), *minimised, *batches.augmentation.members(), state.optimizer]
        captured = captures(run, parts, accelerator.num_processes, accelerator.device, accelerator.mixed_precision)
        compile_regions(self.model, run.compile, accelerator.device, whole=captured)
        self.replica, self.optimizer = accelerator.prepare(self.model, state.optimizer)
        self._take: StepFunction = self._on_device
        if captured:
            self._take = StepGraph(self._on_device, state.optimizer, accelerator.device, say)
        saved = self.model.state_dict()  # not what a layer computes from its options
        self.statistics = [buffer for name, buffer in self.model.named_buffers() if name in saved]
        if accelerator.num_processes > 2:
            warm_up(self.replica, self.model, minimised, batches, accelerator)

    def take(self, step: int) -> dict[str, Tensor]:
        """Take a step, counted from 0; its metrics, on the device, for which nobody has waited yet."""
        reseed(derive(self.run.seed, "network", step, self.accelerator.process_index), self.accelerator.device)
        return self._take(self._inputs(step), self.timetable.progress(step))

    def _inputs(self, step: int) -> StepInputs:
        """What tells a step from others; images that are in a file are read."""
        processes, rank, micros = self.accelerator.num_processes, self.accelerator.process_index, self.run.accumulation
        shards = [
            self.batches.order.shard(step, micro * processes + rank, micros * processes) for micro in range(micros)
        ]
        share = 0.0 if self.average is None else self.average.share(step)
        key = self.batches.key(step)
        self.batches.fetch(indices := torch.stack(shards), key)
        return StepInputs(step, indices, key, self.timetable.learning_rate(step), share)

    def _on_device(self, inputs: StepInputs, progress: float) -> dict[str, Tensor]:
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
