"""Saving checkpoints while a training goes on: one that fails is said, and ends nothing."""

import time
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from capsnet_dist.record.folder import RunFolder
from capsnet_dist.saved import checkpoint
from capsnet_dist.text import reason

WRITE_BESIDE = {"cuda"}
"""Devices that train on while a checkpoint is written; a CPU would share its cores."""


class Saver:
    """Saves checkpoints into a run folder, one after the other.

    Args:
        folder: The run folder.
        keep: How many checkpoints to leave.
        device_type: Where the training is; says whether it goes on while a checkpoint is written.
        say: Tells the user.
    """

    unsaved = ""
    """Which checkpoint failed and why, if that is the last one that has come to an end."""

    def __init__(self, folder: RunFolder, keep: int, device_type: str, say: Callable[[str], object]) -> None:
        self._folder, self._keep, self._say = folder, keep, say
        self._beside = ThreadPoolExecutor(1, "saver") if device_type in WRITE_BESIDE else None
        self._begun: tuple[int, Future[Path]] | None = None
        self._failed, self._last = 0, time.monotonic()

    def save(self, step: int, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]) -> None:
        """Save the state after so many steps, or a copy of it beside the training, once the one before is written."""
        self.wait()
        save = partial(checkpoint.save, self._folder.path / "checkpoints", step, state=state, keep=self._keep)
        with self._saying(step):
            self._folder.sync()  # no line before a checkpoint is lost with the power
            if self._beside is None:
                save(tensors)
            else:
                copies = {kind: checkpoint.on_cpu(named) for kind, named in tensors.items()}
                self._begun = step, self._beside.submit(save, copies)
        self._last = time.monotonic()

    @property
    def minutes_since_last(self) -> float:
        """How long ago the last state was saved, or the training began."""
        return (time.monotonic() - self._last) / 60

    def wait(self) -> None:
        """Wait for the checkpoint that is written beside the training, if there is one."""
        if self._begun is not None:
            (step, written), self._begun = self._begun, None
            with self._saying(step):
                written.result()

    def close(self) -> None:
        """Wait for the last checkpoint, and for the thread that wrote it."""
        try:
            self.wait()
        finally:
            if self._beside is not None:
                self._beside.shutdown()

    @contextmanager
    def _saying(self, step: int) -> Generator[None]:
        try:
            yield
            self.unsaved = ""
        except Exception as error:  # of the disk, or of the state to be saved
            self._failed += 1
            self.unsaved = f"no checkpoint of step {step}: {reason(error)}"
            self._say(f"Warning: {self.unsaved} ({self._failed} failed so far).")
