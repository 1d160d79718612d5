"""Training: one loop, the same for one process and for many."""

import copy
import math
import os
import sys
import warnings
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, cast

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, GradientAccumulationPlugin, InitProcessGroupKwargs
from torch import Tensor

from capsnet_dist import config, weights
from capsnet_dist.data.batches import Batches
from capsnet_dist.data.order import derive, hold_out
from capsnet_dist.ema import MovingAverage
from capsnet_dist.errors import UserError, user_errors
from capsnet_dist.evaluate import Best, Evaluation, evaluate
from capsnet_dist.launching import shortfall
from capsnet_dist.meter import Meter
from capsnet_dist.plugins import Image, Loss, Model, Output, Split
from capsnet_dist.record import Record, open_record
from capsnet_dist.run import Run, check
from capsnet_dist.signals import interruption

__all__ = ["Run", "Trainer", "main", "train"]


def main(default: Run) -> None:
    """What a recipe calls: read the command line, train, and end with exit code 2 at a mistake of the user."""
    with user_errors():
        train(config.parse(default))


def train(run: Run) -> dict[str, float]:
    """Train as configured and leave a run folder; return the test accuracy of the last, averaged and selected weights.

    Raises:
        UserError: the configuration cannot work.
        SystemExit: the user interrupted; what was trained so far is saved.
    """
    check(run, int(os.environ.get("WORLD_SIZE", "1")))
    with open_record(run) as record, interruption() as interrupted:
        trainer = Trainer(run, record)
        stop = False
        for step in range(trainer.num_steps):
            stop = trainer.step(step, interrupted.is_set)
            if stop:
                break
            if trainer.is_evaluation_due(step):
                trainer.validate(step)
        results = trainer.finish(stop)
    if stop:
        sys.exit(130)  # 128 + SIGINT, as shells count
    return {name: result.accuracy for name, result in results.items()}


class Trainer:
    """Everything a training holds, and what it does with it.

    Args:
        run: The configuration.
        record: What the training says and leaves behind.

    Raises:
        UserError: data, network and configuration do not fit together.
    """

    def __init__(self, run: Run, record: Record) -> None:
        self.run, self.record = run, record
        self.accelerator = accelerator = _accelerator(run)
        torch.use_deterministic_algorithms(run.deterministic)
        data, dtype = run.data.build(), getattr(torch, run.dtype)
        with accelerator.local_main_process_first():  # one process a machine downloads
            training, self.validation, self.test = _splits(run, data.split("train"), data.split("test"), accelerator)
        torch.manual_seed(derive(run.seed, "weights"))
        image = cast(Image, tuple(training.images.shape[1:]))
        self.model = weights.build(run.model, image, data.classes).to(accelerator.device, dtype)
        self.criteria = [run.loss.build(), run.regularizer.build()]
        self.batches = Batches(training, run.augmentation.build(), run.batch_size, run.seed, dtype)
        _rehearse(self.model, self.criteria, self.batches)

        self.steps_per_epoch = self.batches.order.steps_per_epoch
        self.num_steps = 1 if run.dry_run else run.steps or run.epochs * self.steps_per_epoch
        self.schedule = run.schedule.build(self.num_steps)
        self.average = MovingAverage(self.model, run.ema) if run.ema else None
        optimizer = run.optimizer.build(self.model.parameters(), run.lr)
        self.replica, self.optimizer = accelerator.prepare(self.model, optimizer)
        self.meter, self.best = Meter(accelerator), Best()
        place = {"processes": accelerator.num_processes, "mixed_precision": accelerator.mixed_precision}
        record.start(self.model, accelerator.device, self.num_steps, place)
        if missing := shortfall(accelerator.num_processes):
            record.say(missing)

    @property
    def candidates(self) -> dict[str, Model]:
        """The weights that compete to be selected."""
        return {"last": self.model} if self.average is None else {"last": self.model, "ema": self.average.model}

    @property
    def shown(self) -> Split:
        """Images for the pictures: not those of the test split."""
        return self.validation if len(self.validation.labels) else self.batches.training

    def step(self, step: int, interrupted: bool) -> bool:
        """Follow the gradient of one global batch; whether any process was interrupted, which all hear alike."""
        lr = self._learning_rate(step)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        totals: dict[str, Tensor] = {}
        for micro in range(self.run.accumulation):
            for name, value in self._micro_batch(step, micro).items():
                totals[name] = totals.get(name, torch.zeros_like(value)) + value
        values = {name: total / self.run.accumulation for name, total in totals.items()}
        values["gradient_norm"] = totals["gradient_norm"]  # only the last micro-batch has one
        values["interrupted"] = values["loss"].new_tensor(float(interrupted))
        if self.average is not None:
            self.average.update(self.model, step)
        return self._record(self.meter.add(step, values))

    def is_evaluation_due(self, step: int) -> bool:
        """Whether an epoch to evaluate, or the training, ends with this step."""
        return (step + 1) % (self.run.evaluate_every * self.steps_per_epoch) == 0 or step + 1 == self.num_steps

    def validate(self, step: int) -> None:
        """Evaluate the candidates on the validation split, and keep the best."""
        self._record(self.meter.flush())
        self.record.reconstructions(step + 1, self.model, self.shown)
        for name, model in self.candidates.items() if len(self.validation.labels) else ():
            result = evaluate(model, self.validation, self.criteria, self.accelerator)
            self.best.offer(name, step + 1, model, result)
            self.record.evaluation(step + 1, "validation", name, result)

    def finish(self, interrupted: bool) -> dict[str, Evaluation]:
        """Read the test split, unless interrupted, and leave the selected weights in the run folder."""
        self._record(self.meter.flush())
        results: dict[str, Evaluation] = {}
        for name, model in self.candidates.items() if not interrupted else ():
            results[name] = evaluate(model, self.test, self.criteria, self.accelerator)
        selected = self.best.restore(self.candidates)
        if not interrupted:
            known = results.get(self.best.name) if self.best.step in (0, self.num_steps) else None
            results["selected"] = known or evaluate(selected, self.test, self.criteria, self.accelerator)
        for name, result in results.items():
            self.record.evaluation(self.num_steps, "test", name, result)
        source = f"{self.best.name} weights of step {self.best.step or self.num_steps}"
        self.record.finish(selected, source, results, self.shown)
        self.accelerator.end_training()
        return results

    def _learning_rate(self, step: int) -> float:
        return self.run.lr * self.schedule(step)

    def _micro_batch(self, step: int, micro: int) -> dict[str, Tensor]:
        """One forward and backward pass; with the last micro-batch of a step also the optimizer's."""
        processes, limit = self.accelerator.num_processes, self.run.clip_norm
        part = micro * processes + self.accelerator.process_index
        images, labels = self.batches.shard(step, part, self.run.accumulation * processes)
        norm = torch.zeros((), device=images.device, dtype=images.dtype)
        with self.accelerator.accumulate(self.replica):
            output: Output = self.replica(images, labels)
            terms = _terms(self.criteria, output, images, labels, step / self.num_steps)
            self.accelerator.backward(terms["loss"])
            if self.accelerator.sync_gradients:
                found: Any = self.accelerator.clip_grad_norm_(self.model.parameters(), limit or math.inf)
                norm = torch.as_tensor(found, dtype=images.dtype)
            self.optimizer.step()
            self.optimizer.zero_grad()
        accuracy = (output.scores.argmax(dim=-1) == labels).to(images.dtype).mean()
        return {name: term.detach() for name, term in terms.items()} | {"accuracy": accuracy, "gradient_norm": norm}

    def _record(self, ready: dict[int, dict[str, float]]) -> bool:
        """Write the metrics of finished steps; whether an interruption was among them."""
        interrupted = False
        for step, metrics in ready.items():
            interrupted |= metrics.pop("interrupted") > 0
            self.record.step(step + 1, step / self.steps_per_epoch, self._learning_rate(step), metrics)
        return interrupted


def _accelerator(run: Run) -> Accelerator:
    precision = None if run.mixed_precision == "launcher" else run.mixed_precision
    wanted = precision or os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if wanted == "fp16" and not torch.cuda.is_available():
        raise UserError("--mixed-precision fp16 needs a GPU; bf16 works on a CPU too.")
    # A kernel over one channel has two layouts that are the same in memory; DDP compares their strides.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    return Accelerator(
        mixed_precision=precision,
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=run.accumulation, sync_with_dataloader=False),
        kwargs_handlers=[
            DistributedDataParallelKwargs(gradient_as_bucket_view=True),
            InitProcessGroupKwargs(timeout=timedelta(minutes=5)),
        ],
    )


def _splits(run: Run, whole: Split, test: Split, accelerator: Accelerator) -> tuple[Split, Split, Split]:
    """Training, validation and test images on the device."""
    kept, held = hold_out(whole.labels, run.validation)
    if run.batch_size > len(kept):
        raise UserError(f"--batch-size {run.batch_size}: there are only {len(kept)} training images.")
    splits = [whole.select(kept), whole.select(held), test]
    if run.dry_run:
        splits[1:] = [Split(*(part[:256] for part in split)) for split in splits[1:]]
    training, validation, test = (Split(*(part.to(accelerator.device) for part in split)) for split in splits)
    return training, validation, test


def _terms(
    criteria: Sequence[Loss], output: Output, images: Tensor, labels: Tensor, progress: float
) -> dict[str, Tensor]:
    """Each term of the losses, and their sum as "loss"."""
    terms = {name: term for c in criteria for name, term in c(output, images, labels, progress).items()}
    return terms | {"loss": torch.stack(list(terms.values())).sum()}


def _rehearse(model: Model, criteria: Sequence[Loss], batches: Batches) -> None:
    """One backward pass of a copy, to refuse weights that no loss reaches: DDP would fail at the second step."""
    model = copy.deepcopy(model)
    images, labels = (part[:2] for part in batches.shard(0, 0, 1))
    _terms(criteria, model(images, labels), images, labels, 0.0)["loss"].backward()
    idle = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    if idle:
        raise UserError(f"No loss reaches {', '.join(idle)}. Leave that part out, or add a loss that uses it.")
