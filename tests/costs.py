"""What the promises of docs/reliability.md cost: `python tests/costs.py --data.root FOLDER`, with MNIST in FOLDER.

A step with and without what watches over it, in turns in one process; then the checkpoint of the paper's network.
"""

import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from capsnet_dist import augmentations, datasets, losses, models
from capsnet_dist.bench.measure import Spread
from capsnet_dist.config import command_line
from capsnet_dist.processes.signals import Interruption
from capsnet_dist.record.record import open_record
from capsnet_dist.run import Run
from capsnet_dist.saved import checkpoint
from capsnet_dist.train import Trainer
from capsnet_dist.training.cuda_graph import StepInputs
from capsnet_dist.training.guard import Guard
from capsnet_dist.training.objective import loss_terms
from capsnet_dist.training.stepper import Stepper

ROUNDS = 80
PAPER = Run(
    name="costs",
    model=models("capsnet"),
    data=datasets("mnist"),
    loss=losses("margin"),
    augmentation=augmentations("shift"),
    progress="none",
)


class Unwatched(Stepper):
    """Neither beats for the watchdog nor looks whether the gradient is finite."""

    def _micro_batch(self, inputs: StepInputs, micro: int, progress: float) -> dict[str, Tensor]:
        batch = self.batches.make(inputs.indices[micro], inputs.key)
        images, labels = batch.images, batch.labels
        output = self.replica(images, labels)
        terms = loss_terms(self.minimised, output, batch, progress)
        self.accelerator.backward(terms["loss"])
        self.optimizer.step()
        self.optimizer.zero_grad()
        accuracy = (output.scores.argmax(dim=-1) == labels).to(images.dtype).mean()
        nothing = torch.zeros(())
        measured = {"accuracy": accuracy, "gradient_norm": nothing, "skipped": nothing}
        return {name: term.detach() for name, term in terms.items()} | measured


def seconds(clock, function, *arguments) -> float:
    start = clock()
    function(*arguments)
    return clock() - start


def main(run: Run, folder: Path) -> None:
    with (
        open_record(replace(run, run_dir=folder / "watched")) as record,
        open_record(replace(run, run_dir=folder / "unwatched")) as other,
        Guard(run.timeout) as guard,
    ):
        nothing = Interruption(None)
        watched, unwatched = Trainer(run, record, nothing), Trainer(run, other, nothing)
        unwatched.stepper.__class__ = Unwatched
        guard.begin(record)
        ratios, steps = [], []
        for step in range(ROUNDS + 2):
            pair = [watched, unwatched] if step % 2 else [unwatched, watched]
            start = time.perf_counter()
            taken = {trainer: seconds(time.process_time, trainer.step, step) for trainer in pair}
            if step >= 2:  # the first ones fill caches
                ratios.append(taken[watched] / taken[unwatched])
                steps.append((time.perf_counter() - start) / 2)
        low, middle, high = Spread.of(ratios)
        print(f"guards: a step takes {middle:.4f} times the processor time (quartiles {low:.4f} to {high:.4f})")

        state = watched.state
        saves = [
            seconds(time.perf_counter, checkpoint.save, folder / "checkpoints", n, state.tensors(), state.values(), 2)
            for n in range(7)
        ]
        size = sum(file.stat().st_size for file in (folder / "checkpoints/step-00000006").iterdir())
        parameters = sum(parameter.numel() for parameter in watched.model.parameters())
        low, middle, high = (value / statistics.median(steps) for value in Spread.of(saves))
        print(f"checkpoint of {parameters:,} parameters: {size / 2**20:.0f} MiB; saving takes {middle:.2f} times as")
        print(f"long as a step (quartiles {low:.2f} to {high:.2f}, 7 saves), of {run.checkpoint.every} steps between")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=".") as here:
        main(command_line.parse(PAPER, sys.argv[1:]), Path(here))
