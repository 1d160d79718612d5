"""What a training takes and what its routings do: speed, memory, couplings, dead capsules."""

import itertools
import math
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from einops import rearrange, reduce
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook

from capsnet_dist.figures.lengths import calibration_error
from capsnet_dist.plugins import Model, Routing, Split, to_unit
from capsnet_dist.processes.memory import peak_memory

ALIVE = 0.1  # what the margin loss allows an absent class (Sabour et al., 2017, eq. 4): at or below it nothing is there


class Diagnosis(NamedTuple):
    """What the routings of a network do with some images."""

    entropy: float | None
    """Entropy of a part's last couplings, as shares of their sum, over that of even ones: 1 when it goes to all wholes
    alike, 0 when to one alone. Mean over samples and parts; None where no couplings to several wholes are seen."""
    dead: float | None
    """Share of the wholes whose activation exceeds 0.1 for no image, at no position; None where they have none."""
    calibration: float | None
    """Expected calibration error of the highest score, such as the length of its capsule, as a probability (Guo et al.,
    2017, equation 3, ten bins); None where scores are not in [0, 1], or images have several labels."""


@torch.no_grad()
def diagnose(
    model: Model, split: Split, batch_size: int = 256, still: Callable[[Tensor], Tensor] = lambda images: images
) -> Diagnosis:
    """Watch every routing of a network while it classifies a split.

    Args:
        model: The network.
        split: The samples.
        batch_size: Samples in one forward pass.
        still: What the network sees of images: the augmentation's, where one cuts them.
    """
    watches = [_Watch(module) for module in model.modules() if isinstance(module, Routing)]
    parameter = next(model.parameters())
    scores: list[Tensor] = []
    try:
        with model.evaluating():
            for indices in torch.arange(len(split.labels), device=split.labels.device).split(batch_size):
                images = to_unit(still(split.select(indices).pixels).to(parameter.device), parameter.dtype)
                scores.append(model(images).scores.cpu())
    finally:
        for watch in watches:
            watch.remove()
    parts = sum(watch.num_parts for watch in watches)
    peaks = [watch.peak for watch in watches if watch.peak is not None]
    return Diagnosis(
        sum(watch.entropy for watch in watches) / parts if parts else None,
        (torch.cat(peaks) <= ALIVE).double().mean().item() if peaks else None,
        _calibration(torch.cat(scores), split.labels.cpu()),
    )


def _calibration(scores: Tensor, labels: Tensor) -> float | None:
    """How far the highest scores are from the shares of right predictions."""
    highest = scores.double().max(dim=1)
    if labels.ndim > 1 or not bool(((scores >= 0) & (scores <= 1)).all()):
        return None
    return calibration_error(highest.values.numpy(), (highest.indices == labels).numpy())


class _Watch:
    """Sees the couplings and the wholes of one routing."""

    def __init__(self, routing: Routing) -> None:
        self.entropy, self.num_parts = 0.0, 0
        self.peak: Tensor | None = None
        self._coupling: Tensor | None = None
        self._hooks = [routing.register_forward_pre_hook(self._before), routing.register_forward_hook(self._after)]

    def remove(self) -> None:
        """Watch no longer."""
        for hook in self._hooks:
            hook.remove()

    def _before(self, routing: Any, inputs: Any) -> None:
        votes, self._coupling = inputs[0], None
        combine, compete = votes.combine, votes.compete

        def watched_combine(coupling: Tensor) -> Tensor:
            self._coupling = coupling
            return combine(coupling)

        def watched_compete(logits: Tensor) -> Tensor:
            self._coupling = coupling = compete(logits)  # all to see where the routing combines dense votes itself
            return coupling

        votes.combine, votes.compete = watched_combine, watched_compete

    def _after(self, routing: Any, inputs: Any, wholes: Any) -> None:
        if self._coupling is not None and routing.wholes > 1:
            coupling = rearrange(self._coupling, "b i j -> (b i) j").double().relu()
            total = coupling.sum(dim=-1, keepdim=True)
            share = (coupling / total)[total[:, 0] > 0]  # an absent part has none
            self.entropy += torch.special.entr(share).sum().item() / math.log(routing.wholes)
            self.num_parts += len(share)
        if routing.makes_activations:
            peak = reduce(wholes.activations, "b j -> j", "max")
            self.peak = peak if self.peak is None else torch.maximum(self.peak, peak)


class Steps:
    """The steps of all optimizers since a moment: how long each took, and the memory they needed."""

    def __init__(self) -> None:
        self.memory = 0
        """Most bytes at any time until the last step; pictures that are drawn after it do not count."""
        self._marks: list[Any] = []

    def mark(self, *step: Any) -> None:
        """Note that a step is done."""
        self.memory = peak_memory()
        if torch.cuda.is_available():  # the device's own clock: the host runs ahead of it
            self._marks.append(torch.cuda.Event(enable_timing=True))
            self._marks[-1].record()
        else:
            self._marks.append(time.perf_counter())

    def seconds(self) -> list[float]:
        """Time from each step to the next."""
        if not torch.cuda.is_available():
            return [b - a for a, b in itertools.pairwise(self._marks)]
        torch.cuda.synchronize()
        return [a.elapsed_time(b) / 1000 for a, b in itertools.pairwise(self._marks)]


@contextmanager
def watched_steps() -> Generator[Steps]:
    """Count the steps of all optimizers."""
    steps = Steps()
    hook = register_optimizer_step_post_hook(steps.mark)
    try:
        yield steps
    finally:
        hook.remove()
