"""What a training tells its record, on every rank."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from capsnet_dist.plugins import Model, Split
from capsnet_dist.record.folder import resumed_path
from capsnet_dist.record.results import Evaluation
from capsnet_dist.run import Run
from capsnet_dist.saved.checkpoint import Checkpoint
from capsnet_dist.saved.state import Wanted


class Record:
    """Keeps silent: what ranks above 0 hold.

    Args:
        run: The configuration.
    """

    def __init__(self, run: Run) -> None:
        self.run = run

    def __enter__(self) -> "Record":
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        return None

    @property
    def path(self) -> Path:
        """The folder of a run that is resumed: all ranks read it."""
        path = resumed_path(self.run) or self.run.run_dir
        assert path is not None, "only a run that is not resumed may leave its folder to rank 0"
        return path

    def say(self, text: str) -> None:
        """A line for people."""

    def start(
        self, model: Model, device: torch.device, num_steps: int, place: Mapping[str, Any], wanted: Wanted
    ) -> Checkpoint | None:
        """Before the first step: write configuration and environment, of which `place` is a part.

        Returns:
            The checkpoint to go on from, which holds the `wanted` tensors.
        """

    def minutes_since_checkpoint(self) -> float:
        """How long the last checkpoint, or the start, was ago."""
        return 0.0

    def checkpoint(
        self, step: int, tensors: Callable[[], Mapping[str, Mapping[str, Tensor]]], state: Callable[[], dict[str, Any]]
    ) -> None:
        """Save the state after so many steps."""

    def step(self, step: int, epoch: float, lr: float, metrics: Mapping[str, float]) -> None:
        """After so many steps."""

    def evaluation(self, step: int, split: str, name: str, result: Evaluation) -> None:
        """What the weights called `name` achieve on a split after so many steps."""

    def reconstructions(self, step: int, model: Model, split: Split) -> None:
        """Images beside what the network makes of them."""

    def interrupted(self, why: str, state: str) -> None:
        """Why the training ends before its time, and whether it was "preempted" or "stopped"."""

    def ended(self, why: str) -> None:
        """Why the training ends before its last step, by itself."""

    def keep(self, model: Model, source: str, *, is_done: bool) -> None:
        """The weights to keep, where they come from, and whether all steps are done."""

    def finish(self, model: Model, source: str, results: Mapping[str, Evaluation], shown: Split) -> None:
        """What the weights that were kept achieve on the test split, and images to show."""
