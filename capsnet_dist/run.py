"""What a training run is told: its configuration, and the checks before any work is done."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch.optim import Optimizer

from capsnet_dist.config import check_ranges
from capsnet_dist.errors import UserError
from capsnet_dist.images.normalization import Normalization
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
from capsnet_dist.ranges import Count, Fraction, Positive
from capsnet_dist.registry import Choice

Compile = Literal["auto", "no", "regions", "graphs"]
"""Whether parts of the network are compiled, and what is replayed as CUDA graphs."""


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """When the exact state of the training is saved, to go on from."""

    every: Count = 1000
    """Steps between checkpoints."""
    minutes: Positive = 5.0
    """Longest time between checkpoints."""
    keep: Count = 2
    """How many of the newest to keep."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """Train a capsule network."""

    name: str
    """Name of the experiment: the run folder is runs/NAME/TIME; {model} and {data} in it become their names."""
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
    normalization: Normalization = "network"
    """What the network does to pixels first. "none": nothing. "image": each image less its mean, over its deviation.
    "channels": each channel less the mean of the training pixels, over their deviation. "symmetric": pixels in [-1, 1].
    "network": what its authors did, which is nothing but for hvc: symmetric."""
    sampling: Literal["uniform", "balanced"] = "uniform"
    """Whether an epoch takes each training image once, or as many of each class: those of rare ones several times."""
    optimizer: Choice[Optimizer] = optimizers("adam")
    """How the weights follow the gradient."""
    schedule: Choice[Schedule] = schedules("exponential")
    """The learning rate over time."""
    lr: Positive = 1e-3
    """Peak learning rate."""
    batch_size: Count = 128
    """Images in one step, over all processes and accumulated micro-batches together."""
    accumulation: Count = 1
    """Micro-batches whose gradients make up one step."""
    epochs: Count = 30
    """Passes over the training images."""
    steps: Count | None = None
    """End after this many steps, whatever the epochs."""
    clip_norm: Positive | None = None
    """Largest norm of the gradient; a longer one is scaled down."""
    ema: Fraction = 0.999
    """Decay of the moving average of the weights, lower in the first steps; 0 turns it off."""
    images_per_class: Count | None = None
    """Training images of each class to take, always the same ones, some of them held out; all if not given."""
    validation: Fraction = 0.1
    """Share of the training images held out to choose the best weights."""
    evaluate_every: Count = 1
    """Epochs between evaluations."""
    patience: Count | None = None
    """End after so many evaluations in a row in which validation found no better weights; never if not given."""
    seed: int = 0
    """Start of every random choice: weights, order of images, augmentation."""
    start: str | None = None
    """Weights to start from: a folder or a Hub id, as `load` takes it, of a network with the same options."""
    weights: str | None = None
    """Weights of another network to start from, as far as they fit by name and shape: a folder or a Hub id. Class
    capsules and decoder begin anew where the number of classes is another."""
    dtype: Literal["float32", "float64"] = "float32"
    """Type of the weights."""
    mixed_precision: Literal["launcher", "no", "bf16", "fp16"] = "launcher"
    """Autocast type; "launcher" leaves it to the launcher's configuration."""
    compile: Compile = "auto"
    """"auto": one process on a GPU replays its steps as a CUDA graph, if all parts are the package's own. "graphs":
    with other parts too; several processes what does not route. "regions": torch.compile of that. "no": neither."""
    exact: bool = False
    """Compute everything as it is defined: no fast path of routing, convolution or optimizer."""
    deterministic: bool = False
    """Refuse operations whose result may differ between two runs on a GPU."""
    processes: Count | None = None
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
    max_time: Positive | None = None
    """Minutes after which to save and end, as if interrupted."""
    max_skipped: Count = 10
    """Steps in a row without a finite gradient, each of them skipped, before giving up."""
    timeout: Positive = 300.0
    """Seconds to wait for another process before giving it up."""
    dry_run: bool = False
    """Do one step of everything and keep nothing."""


def check(run: Run, processes: int) -> None:
    """Refuse values that cannot work, before any work is done.

    Raises:
        UserError: with the value, the rule and the mend.
    """
    check_ranges(run)
    if run.processes not in (None, processes):
        raise UserError(f"--processes {run.processes}: the launcher started {processes}.")
    if run.resume == "auto" and run.run_dir is None:
        raise UserError("--resume auto looks in --run-dir FOLDER: name it.")
    if run.start is not None and run.weights is not None:
        raise UserError(f"--start {run.start} and --weights {run.weights}: a training starts from one of them.")
    if run.exact and run.compile not in ("auto", "no"):
        raise UserError(f"--exact leaves out what --compile {run.compile} does: give one of them.")
    shards = processes * run.accumulation
    if run.batch_size % shards:
        lower = run.batch_size // shards * shards
        nearest = f"{lower} or {lower + shards}" if lower else f"{shards}"
        raise UserError(
            f"--batch-size {run.batch_size} cannot be shared by {processes} processes x {run.accumulation} "
            f"micro-batches: must be a multiple of {shards}, such as {nearest}."
        )
