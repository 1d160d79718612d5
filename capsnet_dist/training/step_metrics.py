"""Metrics of the steps, from the device and from all processes, without making the device wait."""

from typing import cast

import torch
from accelerate import Accelerator
from torch import Tensor

Metrics = dict[str, float]


class StepMetrics:
    """Averages the metrics of each step over the processes.

    On a CPU they are handed over after every step. On a GPU a number of steps is reduced in one go, copied beside the
    computation and handed over with the next lot, so that no step waits for the one before.

    Args:
        accelerator: The processes.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.every = 1 if accelerator.device.type == "cpu" else 16
        self._names: list[str] = []
        self._steps: list[int] = []
        self._rows: list[Tensor] = []
        self._copied: tuple[list[int], Tensor, torch.cuda.Event | None] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether `flush` needs no other process."""
        return not self._rows

    def add(self, step: int, values: dict[str, Tensor]) -> dict[int, Metrics]:
        """Take the metrics of a step; give those of earlier steps, by step, that are ready: the same on all ranks."""
        self._names = list(values)
        self._steps.append(step)
        self._rows.append(torch.stack(list(values.values())))
        if len(self._rows) < self.every:
            return {}
        ready = self._read() if self.every > 1 else {}
        self._reduce()
        return ready if self.every > 1 else self._read()

    def flush(self) -> dict[int, Metrics]:
        """All that has not been given yet."""
        ready = self._read()
        if self._rows:
            self._reduce()
        return ready | self._read()

    def _reduce(self) -> None:
        rows = sum_over_processes(torch.stack(self._rows), self.accelerator) / self.accelerator.num_processes
        event = None
        if rows.device.type == "cuda":
            rows = torch.empty_like(rows, device="cpu", pin_memory=True).copy_(rows, non_blocking=True)
            event = torch.cuda.Event()
            event.record()
        self._copied = self._steps, rows, event
        self._steps, self._rows = [], []

    def _read(self) -> dict[int, Metrics]:
        if self._copied is None:
            return {}
        steps, rows, event = self._copied
        if event is not None:
            event.synchronize()
        self._copied = None
        return {step: dict(zip(self._names, row, strict=True)) for step, row in zip(steps, rows.tolist(), strict=True)}


def sum_over_processes(tensor: Tensor, accelerator: Accelerator) -> Tensor:
    """The sum of a tensor of the same shape from every process."""
    return cast(Tensor, accelerator.reduce(tensor, "sum"))
