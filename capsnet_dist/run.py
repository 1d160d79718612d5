"""What a training run is told: its configuration, and the checks before any work is done."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch.optim import Optimizer

from capsnet_dist.errors import UserError
from capsnet_dist.plugins import (
    Augmentation,
    Dataset,
    Loss,
    Model,
    Schedule,
    augmentations,
    losses,
    optimizers,
    schedules,
)
from capsnet_dist.regions import Compile
from capsnet_dist.registry import Choice


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """When the exact state of the training is saved, to go on from."""

    every: int = 200
    """Steps between checkpoints."""
    minutes: float = 5.0
    """Longest time between checkpoints."""
    keep: int = 2
    """How many of the newest to keep."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """Train a capsule network."""

    name: str
    """Name of the experiment: the run folder is runs/NAME/TIME."""
    model: Choice[Model]
    """The network."""
    data: Choice[Dataset]
    """What it is trained on."""
    loss: Choice[Loss]
    """What training minimises."""
    regularizer: Choice[Loss] = losses("reconstruction")
    """A further loss, added to the first."""
    augmentation: Choice[Augmentation] = augmentations("none")
    """Random changes to the training images."""
    optimizer: Choice[Optimizer] = optimizers("adam")
    """How the weights follow the gradient."""
    schedule: Choice[Schedule] = schedules("exponential")
    """The learning rate over time."""
    lr: float = 1e-3
    """Peak learning rate."""
    batch_size: int = 128
    """Images in one step, over all processes and accumulated micro-batches together."""
    accumulation: int = 1
    """Micro-batches whose gradients make up one step."""
    epochs: int = 30
    """Passes over the training images."""
    steps: int | None = None
    """End after this many steps, whatever the epochs."""
    clip_norm: float | None = None
    """Largest norm of the gradient; a longer one is scaled down."""
    ema: float = 0.999
    """Decay of the moving average of the weights, lower in the first steps; 0 turns it off."""
    validation: float = 0.1
    """Share of the training images held out to choose the best weights."""
    evaluate_every: int = 1
    """Epochs between evaluations."""
    seed: int = 0
    """Start of every random choice: weights, order of images, augmentation."""
    dtype: Literal["float32", "float64"] = "float32"
    """Type of the weights."""
    mixed_precision: Literal["launcher", "no", "bf16", "fp16"] = "launcher"
    """Autocast type; "launcher" leaves it to the launcher's configuration."""
    compile: Compile = "no"
    """torch.compile for the parts of the network that do not route; "graphs": and CUDA graphs, for small batches."""
    exact: bool = False
    """Compute everything as it is defined: no fast path of routing, convolution or optimizer."""
    deterministic: bool = False
    """Refuse operations whose result may differ between two runs on a GPU."""
    processes: int | None = None
    """Refuse to start with another number of processes."""
    run_dir: Path | None = None
    """Run folder; must not exist yet."""
    progress: Literal["auto", "rich", "plain", "none"] = "auto"
    """A live bar, plain lines, or neither; "auto": the bar on a terminal, lines in a log."""
    tracker: Literal["none", "wandb", "tensorboard"] = "none"
    """Where else metrics and pictures go; wandb works offline where there is no key or network."""
    checkpoint: Checkpoints = Checkpoints()
    """When the state is saved."""
    resume: Literal["auto"] | Path | None = None
    """Go on from the newest good checkpoint of a run folder, or from the one named; "auto": of --run-dir, or anew."""
    strict_resume: bool = False
    """Refuse to resume with other options, software or machines than before."""
    max_time: float | None = None
    """Minutes after which to save and end, as if interrupted."""
    max_skipped: int = 10
    """Steps in a row without a finite gradient, each of them skipped, before giving up."""
    timeout: float = 300.0
    """Seconds to wait for another process before giving it up."""
    dry_run: bool = False
    """Do one step of everything and keep nothing."""


def check(run: Run, processes: int) -> None:
    """Refuse values that cannot work, before any work is done.

    Raises:
        UserError: with the value, the rule and the mend.
    """
    if run.processes not in (None, processes):
        raise UserError(f"--processes {run.processes}: the launcher started {processes}.")
    if run.resume == "auto" and run.run_dir is None:
        raise UserError("--resume auto looks in --run-dir FOLDER: name it.")
    if run.exact and run.compile != "no":
        raise UserError(f"--exact leaves out what --compile {run.compile} does: give one of them.")
    counts = {
        "batch-size": run.batch_size,
        "accumulation": run.accumulation,
        "epochs": run.epochs,
        "steps": run.steps,
        "evaluate-every": run.evaluate_every,
        "checkpoint.every": run.checkpoint.every,
        "checkpoint.keep": run.checkpoint.keep,
        "max-skipped": run.max_skipped,
    }
    for flag, count in counts.items():
        if count is not None and count < 1:
            raise UserError(f"--{flag} {count}: must be at least 1.")
    amounts = {
        "lr": run.lr,
        "clip-norm": run.clip_norm,
        "checkpoint.minutes": run.checkpoint.minutes,
        "max-time": run.max_time,
        "timeout": run.timeout,
    }
    for flag, amount in amounts.items():
        if amount is not None and not 0 < amount < float("inf"):
            raise UserError(f"--{flag} {amount}: must be positive.")
    for flag, value in {"ema": run.ema, "validation": run.validation}.items():
        if not 0 <= value < 1:
            raise UserError(f"--{flag} {value}: must be at least 0 and less than 1.")
    shards = processes * run.accumulation
    if run.batch_size % shards:
        lower = run.batch_size // shards * shards
        nearest = f"{lower} or {lower + shards}" if lower else f"{shards}"
        raise UserError(
            f"--batch-size {run.batch_size} cannot be shared by {processes} processes x {run.accumulation} "
            f"micro-batches: must be a multiple of {shards}, such as {nearest}."
        )
