"""Training: one loop, the same for one process and for many."""

import json
import math
import os
import signal
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, GradientAccumulationPlugin, InitProcessGroupKwargs
from torch import Tensor

from capsnet_dist import config, weights
from capsnet_dist.data.order import Order, derive, draws, hold_out
from capsnet_dist.ema import MovingAverage
from capsnet_dist.errors import UserError
from capsnet_dist.evaluate import Evaluation, evaluate
from capsnet_dist.figures import save_confusion, save_curves, save_reconstructions
from capsnet_dist.folder import RunFolder, command, environment
from capsnet_dist.plugins import Loss, Model, Output, Split, to_unit
from capsnet_dist.run import Run, check

__all__ = ["Run", "main", "train"]


def main(default: Run) -> None:
    """What a recipe calls: read the command line, train, and end with exit code 2 at a mistake of the user."""
    with user_errors():
        train(config.parse(default))


@contextmanager
def user_errors() -> Iterator[None]:
    """Print a UserError once, on rank 0, and exit with code 2."""
    try:
        yield
    except UserError as error:
        if int(os.environ.get("RANK", "0")) == 0:
            print(f"Error: {error}", file=sys.stderr)  # noqa: T201
        else:
            time.sleep(10)  # the launcher ends all processes when one ends: let rank 0 speak first
        sys.exit(2)


def train(run: Run) -> dict[str, float]:
    """Train as configured and leave a run folder; return the metrics of the test split.

    Raises:
        UserError: the configuration cannot work.
    """
    check(run, int(os.environ.get("WORLD_SIZE", "1")))
    accelerator = _accelerator(run)
    torch.use_deterministic_algorithms(run.deterministic)
    device, dtype = accelerator.device, getattr(torch, run.dtype)

    data = run.data.build()
    with accelerator.local_main_process_first():  # one process a machine downloads
        whole, test = (_to_device(data.split(name), device) for name in ("train", "test"))
    kept, held = hold_out(whole.labels.cpu(), run.validation)
    training, validation = whole.select(kept.to(device)), whole.select(held.to(device))
    if run.batch_size > len(training.labels):
        raise UserError(f"--batch-size {run.batch_size}: there are only {len(training.labels)} training images.")
    if run.dry_run:
        validation, test = (Split(*(part[:256] for part in split)) for split in (validation, test))

    torch.manual_seed(derive(run.seed, "weights"))
    image: tuple[int, int, int] = tuple(whole.images.shape[1:])
    model = weights.build(run.model, image, data.classes).to(device, dtype)
    criteria = [run.loss.build(), run.regularizer.build()]
    augmentation = run.augmentation.build()
    _rehearse(model, criteria, training)

    order = Order(len(training.labels), run.batch_size, run.seed)
    num_steps = 1 if run.dry_run else run.steps or run.epochs * order.steps_per_epoch
    evaluate_every = run.evaluate_every * order.steps_per_epoch
    schedule = run.schedule.build(num_steps)
    average = MovingAverage(model, run.ema) if run.ema else None
    replica, optimizer = accelerator.prepare(model, run.optimizer.build(model.parameters(), run.lr))
    folder = RunFolder(run) if accelerator.is_main_process else None
    best = Best()
    watch = Stopwatch(run.batch_size, num_steps)
    _start(folder, run, model, accelerator)

    stop = False
    with interruption() as interrupted:
        for step in range(num_steps):
            for group in optimizer.param_groups:
                group["lr"] = run.lr * schedule(step)
            totals: dict[str, Tensor] = {}
            for micro in range(run.accumulation):
                part = micro * accelerator.num_processes + accelerator.process_index
                indices = order.shard(step, part, run.accumulation * accelerator.num_processes).to(device)
                batch = training.select(indices)
                numbers = draws(run.seed, order.epoch(step), indices, augmentation.num_draws)
                images = to_unit(augmentation(batch.images, numbers), dtype)
                with accelerator.accumulate(replica):
                    output: Output = replica(images, batch.labels)
                    terms = _terms(criteria, output, images, batch.labels, step / num_steps)
                    accelerator.backward(terms["loss"])
                    if accelerator.sync_gradients:
                        limit = math.inf if run.clip_norm is None else run.clip_norm
                        gradient_norm = accelerator.clip_grad_norm_(model.parameters(), limit)
                        totals["gradient_norm"] = torch.as_tensor(gradient_norm) * run.accumulation
                    optimizer.step()
                    optimizer.zero_grad()
                terms["accuracy"] = (output.scores.argmax(dim=-1) == batch.labels).to(dtype).mean()
                for name, term in terms.items():
                    totals[name] = totals.get(name, torch.zeros_like(term)) + term.detach()
            if average is not None:
                average.update(model, step)
            values = accelerator.reduce(torch.stack(list(totals.values())), "mean") / run.accumulation
            metrics = dict(zip(totals, values.tolist(), strict=True))
            if folder is not None:
                lr = run.lr * schedule(step)
                folder.log(step=step + 1, epoch=step / order.steps_per_epoch, split="train", lr=lr, **metrics)
                watch.step(step + 1, metrics)

            stop = _agree(interrupted.is_set, accelerator)
            if stop or step + 1 == num_steps or (step + 1) % evaluate_every == 0:
                candidates = {"last": model} | ({} if average is None else {"ema": average.model})
                for name, candidate in {} if stop else candidates.items():
                    if len(validation.labels):
                        result = evaluate(candidate, validation, criteria, accelerator)
                        best.offer(f"{name} weights of step {step + 1}", candidate, result)
                        _report(folder, step + 1, "validation", name, result)
                if folder is not None:
                    shown = validation if len(validation.labels) else training
                    save_reconstructions(model, shown, folder.path / f"samples/{step + 1:07d}.png")
            if stop:
                break

    finals = {} if stop else {"last": model} | ({} if average is None else {"ema": average.model})
    results = {name: evaluate(final, test, criteria, accelerator) for name, final in finals.items()}
    selected = model if average is None else average.model
    if best.state:
        selected.load_state_dict(best.state)
    if not stop:
        results["selected"] = evaluate(selected, test, criteria, accelerator)
    for name, result in results.items():
        _report(folder, num_steps, "test", name, result)
    if folder is not None:
        _finish(folder, run, selected, best.source or "final weights", results, data.classes)
        folder.close()
    accelerator.end_training()
    if stop:
        sys.exit(130)
    return {name: result.accuracy for name, result in results.items()}


class Best:
    """The weights with the highest validation accuracy, the lowest loss among equals."""

    def __init__(self) -> None:
        self.state: dict[str, Tensor] = {}
        self.source = ""
        self._rank = (-math.inf, -math.inf)

    def offer(self, source: str, model: Model, result: Evaluation) -> None:
        """Keep a copy of these weights if they are better."""
        rank = (result.accuracy, -result.loss)
        if rank > self._rank:
            self.state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
            self.source, self._rank = source, rank


class Stopwatch:
    """Progress as plain lines on standard error, one every ten seconds.

    Args:
        batch_size: Images a step.
        num_steps: Steps of the training.
    """

    def __init__(self, batch_size: int, num_steps: int) -> None:
        self.batch_size, self.num_steps = batch_size, num_steps
        self._shown_step, self._shown_time = 0, time.monotonic()

    def step(self, step: int, metrics: dict[str, float]) -> None:
        """Say how far the training is, if it is time."""
        elapsed = time.monotonic() - self._shown_time
        if elapsed >= 10 or step in (1, self.num_steps):
            seconds = elapsed / (step - self._shown_step or 1)
            say(
                f"step {step}/{self.num_steps}  loss {metrics['loss']:.4f}  accuracy {metrics['accuracy']:.3f}  "
                f"{self.batch_size / seconds:.0f} images/s  {1000 * seconds:.0f} ms/step  "
                f"{timedelta(seconds=round(seconds * (self.num_steps - step)))} left"
            )
            self._shown_step, self._shown_time = step, time.monotonic()


class Interruption:
    """Whether the user asked to stop."""

    is_set = False

    def __call__(self, signum: int, frame: Any) -> None:
        """First signal: stop after this step. Second: at once."""
        if self.is_set:
            raise KeyboardInterrupt
        self.is_set = True
        say("Interrupted: ending after this step. Once more ends at once.")


@contextmanager
def interruption() -> Iterator[Interruption]:
    """Turn Ctrl-C and SIGTERM into a request that the loop reads."""
    interrupted = Interruption()
    before = {number: signal.signal(number, interrupted) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def say(text: str) -> None:
    """Print a line for people, from rank 0."""
    if int(os.environ.get("RANK", "0")) == 0:
        print(text, file=sys.stderr, flush=True)  # noqa: T201


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


def _to_device(split: Split, device: torch.device) -> Split:
    return Split(split.images.to(device), split.labels.to(device))


def _terms(criteria: list[Loss], output: Output, images: Tensor, labels: Tensor, progress: float) -> dict[str, Tensor]:
    """Each term of the losses, and their sum as "loss"."""
    terms = {name: term for c in criteria for name, term in c(output, images, labels, progress).items()}
    return terms | {"loss": torch.stack(list(terms.values())).sum()}


def _rehearse(model: Model, criteria: list[Loss], training: Split) -> None:
    """One backward pass on two images, to refuse weights that no loss reaches: DDP would fail at the second step."""
    batch = training.select(torch.arange(2, device=training.labels.device))
    images = to_unit(batch.images, next(model.parameters()).dtype)
    _terms(criteria, model(images, batch.labels), images, batch.labels, 0.0)["loss"].backward()
    idle = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    model.zero_grad()
    if idle:
        raise UserError(f"No loss reaches {', '.join(idle)}. Leave that part out, or add a loss that uses it.")


def _agree(stop: bool, accelerator: Accelerator) -> bool:
    """Whether any process was asked to stop, so that all end after the same step."""
    if accelerator.num_processes == 1:
        return stop
    return bool(accelerator.reduce(torch.tensor(float(stop), device=accelerator.device)) > 0)


def _start(folder: RunFolder | None, run: Run, model: Model, accelerator: Accelerator) -> None:
    if folder is None:
        return
    place = environment(accelerator.device, accelerator.num_processes)
    place["mixed_precision"] = accelerator.mixed_precision
    folder.write("environment.json", json.dumps(place, indent=2) + "\n")
    described = weights.describe(run.model, model.image, model.classes) | {"run": _repeatable(run)}
    folder.write("config.json", json.dumps(described, indent=2) + "\n")
    count = sum(parameter.numel() for parameter in model.parameters())
    say(f"{run.name}: {count:,} parameters, {accelerator.num_processes} process(es) on {place['device']}")


def _repeatable(run: Run) -> dict[str, Any]:
    """The run without what belongs to this one occasion."""
    values: dict[str, Any] = config.to_dict(run)
    del values["run_dir"], values["dry_run"]
    return values


def _report(folder: RunFolder | None, step: int, split: str, name: str, result: Evaluation) -> None:
    if folder is None:
        return
    folder.log(step=step, split=split, weights=name, accuracy=result.accuracy, loss=result.loss, **result.terms)
    say(f"step {step}  {split} accuracy of the {name} weights {100 * result.accuracy:.2f} %  loss {result.loss:.4f}")


def _finish(
    folder: RunFolder,
    run: Run,
    model: Model,
    source: str,
    results: dict[str, Evaluation],
    classes: tuple[str, ...],
) -> None:
    weights.save(model, folder.path, run=_repeatable(run))
    save_curves(folder.path / "metrics.jsonl", folder.path / "samples" / "curves.png")
    if results:
        save_confusion(results["selected"].confusion, classes, folder.path / "samples" / "confusion.png")
    folder.write("README.md", _card(run, model, source, results))
    say(f"{'Dry run: nothing kept in' if run.dry_run else 'Weights, metrics and samples:'} {folder.path}")


def _card(run: Run, model: Model, source: str, results: dict[str, Evaluation]) -> str:
    """The model card: what was trained, how, and what it achieves."""
    count = sum(parameter.numel() for parameter in model.parameters())
    rows = [f"| {name} | {100 * r.accuracy:.2f} % | {r.num_samples} |" for name, r in results.items()]
    table = "\n".join(["| weights | test accuracy | images |", "| --- | --- | --- |", *rows])
    return f"""---
library_name: capsnet_dist
pipeline_tag: image-classification
---
# {run.name}: {run.model.name} on {run.data.name}

{count:,} parameters, seed {run.seed}, batch {run.batch_size}. model.safetensors holds the {source}, chosen on
{100 * run.validation:g} % of the training images; the test split was read once, at the end.

{table if results else "The run was interrupted: the test split was not read."}

Made by `{command()}`. Use it:

```python
import capsnet_dist

model = capsnet_dist.load("FOLDER")
labels, scores, names = model.predict(images)  # uint8, batch x {" x ".join(map(str, model.image))}
```
"""
