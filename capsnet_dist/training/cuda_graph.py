"""A training step as one CUDA graph: for small batches, whose steps take the host longer than the GPU."""

import operator
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from jaxtyping import Int64
from torch import Tensor

from capsnet_dist.run import Run


class StepInputs(NamedTuple):
    """What tells a step from others."""

    step: int
    """Its number; for the host alone."""
    indices: Int64[Tensor, "m b"]
    """The samples of each micro-batch."""
    key: Int64[Tensor, ""]
    """What the random numbers of the epoch are made from."""
    lr: float | Tensor
    """Learning rate."""
    share: float | Tensor
    """How far the moving average of the weights moves."""


StepFunction = Callable[[StepInputs, Any], dict[str, Tensor]]
"""A step at some progress, and its metrics."""

EAGER = 3  # steps before the capture: they compile kernels, and make the optimizer's state


KNOWN = ("capsnet_dist", "torch")  # packages whose code decides nothing anew from call to call


def captures(run: Run, parts: Iterable[object], processes: int, device: torch.device, precision: str) -> bool:
    """Whether the whole step is captured: on a GPU, with one process, in one go, and without a scaler.

    Args:
        run: The configuration; "auto" leaves out parts from elsewhere, since what such a part counts or draws on the
            host, from call to call, would stay as it was at the capture, and nobody would notice.
        parts: Modules, losses and whatever else has code in the step.
        processes: How many train together.
        device: Where.
        precision: Accelerate's mixed precision.
    """
    known = all(type(part).__module__.partition(".")[0] in KNOWN for part in parts)
    wanted = run.compile == "graphs" or (run.compile == "auto" and not run.exact and known)
    return wanted and device.type == "cuda" and processes == run.accumulation == 1 and precision != "fp16"


class StepGraph:
    """A step that is taken a few times as it is, then captured, and from then on replayed.

    A replay sees other samples, random numbers and rates; everything else that the host has decided stays as it was at
    the capture. Where a loss compares the progress, and the outcome has changed, the step is captured anew. Where it
    does anything else with the progress, or something in the step waits for the GPU, steps are taken as they are.

    Args:
        take_step: The step.
        optimizer: That of the step.
        device: Where it is taken.
        say: Tells the user.
    """

    def __init__(
        self,
        take_step: StepFunction,
        optimizer: torch.optim.Optimizer,
        device: torch.device,
        say: Callable[[str], object],
    ) -> None:
        self.take_step, self.optimizer, self.device, self.say = take_step, optimizer, device, say
        self.eager, self.given_up = EAGER, False
        self.graph: torch.cuda.CUDAGraph | None = None
        self.progress = Watched(0.0)
        self.integers = self.numbers = torch.empty(0)
        self.metrics: dict[str, Tensor] = {}

    def __call__(self, inputs: StepInputs, progress: float) -> dict[str, Tensor]:
        """Take the step; the metrics hold until the next one."""
        if self.given_up:
            return self.take_step(inputs, progress)
        if self.eager == EAGER:
            self.integers = torch.empty(inputs.indices.numel() + 1, dtype=torch.int64, device=self.device)
            self.numbers = torch.empty(2, device=self.device)
        integers = torch.cat([inputs.indices.flatten(), inputs.key[None]]).pin_memory()
        self.integers.copy_(integers, non_blocking=True)
        self.numbers.copy_(torch.tensor(inputs[3:]).pin_memory(), non_blocking=True)
        held = StepInputs(inputs.step, self.integers[:-1].view_as(inputs.indices), self.integers[-1], *self.numbers)
        if self.eager:
            return self._as_it_is(held, progress)
        if self.graph is None or not self.progress.is_like(progress):
            self.graph = self._capture(held, progress)
        if self.graph is None:
            return self.take_step(inputs, progress)
        self.graph.replay()
        return self.metrics

    def _as_it_is(self, inputs: StepInputs, progress: float) -> dict[str, Tensor]:
        """Beside the default stream, so that nothing of a capture depends on it."""
        self.eager -= 1
        self.progress = Watched(progress)
        here, beside = torch.cuda.current_stream(), torch.cuda.Stream()
        beside.wait_stream(here)
        with torch.cuda.stream(beside):
            metrics = self.take_step(inputs, self.progress)
        here.wait_stream(beside)
        self._look_at_progress()
        return metrics

    def _capture(self, inputs: StepInputs, progress: float) -> torch.cuda.CUDAGraph | None:
        self.progress, graph = Watched(progress), torch.cuda.CUDAGraph()
        asking = [group for group in self.optimizer.param_groups if "capturable" in group]  # SGD has nothing to ask
        for group in asking:
            group["capturable"] = True
        try:
            with torch.cuda.graph(graph):
                self.metrics = self.take_step(inputs, self.progress)
        except RuntimeError as error:  # nothing was computed yet
            self.optimizer.zero_grad()
            self._give_up(str(error).split("\n", maxsplit=1)[0])
            return None
        finally:
            for group in asking:
                group["capturable"] = False
        self._look_at_progress()
        return None if self.given_up else graph

    def _look_at_progress(self) -> None:
        if self.progress.is_used:
            self._give_up("a loss changes from step to step")

    def _give_up(self, why: str) -> None:
        self.given_up = True
        self.say(f"Steps are not replayed as a CUDA graph, which would be faster: {why}")


class Watched:
    """A number that remembers which comparisons were made with it, and whether anything else was.

    It only says that it is a float: of a real one, C code reads the value unnoticed.
    """

    __class__ = property(lambda self: float)  # type: ignore[assignment]

    def __init__(self, value: float) -> None:
        self.value, self.is_used = value, False
        self._comparisons: list[tuple[Callable[[Any, Any], bool], Any, bool]] = []

    def is_like(self, value: float) -> bool:
        """Whether all comparisons would come out the same with another value."""
        return all(compare(value, other) == outcome for compare, other, outcome in self._comparisons)

    def compare(self, how: Callable[[Any, Any], bool], other: Any) -> bool:
        """A comparison, remembered."""
        outcome = how(self.value, other)
        self._comparisons.append((how, other, outcome))
        return outcome

    def use(self, how: Callable[..., Any], *arguments: Any) -> Any:
        """Anything else, noted."""
        self.is_used = True
        return how(*arguments)


def _comparing(how: Callable[[Any, Any], bool]) -> Callable[[Watched, Any], bool]:
    return lambda self, other: self.compare(how, other)


def _computing(how: Callable[[Any, Any], Any]) -> tuple[Callable[[Watched, Any], Any], Callable[[Watched, Any], Any]]:
    return lambda self, other: self.use(how, self.value, other), lambda self, other: self.use(how, other, self.value)


def _converting(name: str) -> Callable[..., Any]:
    return lambda self, *arguments: self.use(getattr(float, name), self.value, *arguments)


for _how in (operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne):
    setattr(Watched, f"__{_how.__name__}__", _comparing(_how))
for _how in (operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod, operator.pow):
    _left, _right = _computing(_how)
    setattr(Watched, f"__{_how.__name__}__", _left)
    setattr(Watched, f"__r{_how.__name__}__", _right)
for _name in ("neg", "pos", "abs", "float", "int", "bool", "round", "trunc", "floor", "ceil", "hash", "format", "repr"):
    setattr(Watched, f"__{_name}__", _converting(f"__{_name}__"))
