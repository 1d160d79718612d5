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
from capsnet_dist.registry import Choice


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
    dry_run: bool = False
    """Do one step of everything and keep nothing."""


def check(run: Run, processes: int) -> None:
    """Refuse values that cannot work, before any work is done.

    Raises:
        UserError: with the value, the rule and the mend.
    """
    if run.processes not in (None, processes):
        raise UserError(f"--processes {run.processes}: the launcher started {processes}.")
    at_least_one = {"batch-size": run.batch_size, "accumulation": run.accumulation, "epochs": run.epochs}
    for flag, value in {**at_least_one, "evaluate-every": run.evaluate_every, "steps": run.steps or 1}.items():
        if value < 1 or run.steps == 0:
            raise UserError(f"--{flag} {0 if run.steps == 0 else value}: must be at least 1.")
    if not 0 < run.lr < float("inf"):
        raise UserError(f"--lr {run.lr}: must be positive.")
    if run.clip_norm is not None and not run.clip_norm > 0:
        raise UserError(f"--clip-norm {run.clip_norm}: must be positive.")
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
