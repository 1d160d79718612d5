"""How time and memory of the class capsules grow with the number of capsules and of classes."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from capsnet_dist.bench.measure import Clock, alternate, fit_power_law, timed
from capsnet_dist.bench.naive import Gradient, NaiveClassCapsules
from capsnet_dist.bench.options import Candidate, Options
from capsnet_dist.capsules import Capsules, Grid
from capsnet_dist.plugins import layers, routings
from capsnet_dist.processes.memory import peak_memory

PART_DIM, DIM = 8, 16  # the paper's
SIZES = {
    "capsules": ((288, 576, 1152, 2304, 4608), (10,)),  # 1152 and 10 are the paper's
    "classes": ((1152,), (5, 10, 20, 40, 80)),
}
QUICK = {"capsules": ((512, 724, 1024), (10,)), "classes": ((512,), (10, 14, 20))}
BATCH, QUICK_BATCH = 32, 16  # the weights that matmul repeats for 80 classes, and their gradients, stay below 8 GB


class Point(NamedTuple):
    """A size of the class capsules."""

    parts: int
    """Capsules below."""
    wholes: int
    """Classes."""
    batch: int
    """Samples."""


WARM_UP = Point(4096, 10, 2)  # few numbers in all, but more votes than small layers write down


def axes(options: Options) -> dict[str, list[Point]]:
    """The sizes along each axis, smallest first."""
    sizes, batch = (QUICK, QUICK_BATCH) if options.quick else (SIZES, BATCH)
    return {axis: [Point(i, j, batch) for i in parts for j in wholes] for axis, (parts, wholes) in sizes.items()}


def candidates(options: Options) -> list[Candidate]:
    """What is compared: dynamic routing, without compilation; class capsules have no channels."""
    found = [c for c in options.candidates("paper") if c.routing == "dynamic" and not c.compiled]
    return [c for c in found if c.implementation != "channels_last"]


def layer_step(candidate: Candidate, point: Point, device: torch.device) -> Callable[[], None]:
    """A forward and backward pass of the class capsules."""
    parts, wholes, batch = point
    u = (0.1 * torch.randn(batch, parts, PART_DIM)).to(device).requires_grad_()
    layer = _layer(candidate, parts, wholes).to(device)

    def step() -> None:
        with candidate.context():
            inputs = Capsules(u, u.new_ones(batch, parts))
            poses: Tensor = layer(inputs).poses if candidate.of_package else layer(u)
            poses.sum().backward()
        layer.zero_grad()
        u.grad = None

    return step


def _layer(candidate: Candidate, parts: int, wholes: int) -> nn.Module:
    gradient = cast(Gradient, candidate.gradient)
    if candidate.of_package:
        routing = routings("dynamic", gradient=gradient)
        return layers("dense", wholes=wholes, dim=DIM, routing=routing).build(Grid(parts, 1, 1, PART_DIM))
    votes = "einsum" if candidate.implementation == "einsum" else "matmul"
    return NaiveClassCapsules(parts, PART_DIM, wholes, DIM, gradient=gradient, votes=votes)


def measure_time(options: Options, device: torch.device) -> dict[str, dict[str, list[list[float]]]]:
    """Seconds of each round by axis, label and size; the candidates take turns at each size."""
    found: dict[str, dict[str, list[list[float]]]] = {}
    clock = Clock(device, single=options.single)
    for axis, points in axes(options).items():
        found[axis] = {candidate.label: [] for candidate in candidates(options)}
        for point in points:
            timers = {c.label: partial(timed, clock, layer_step(c, point, device)) for c in candidates(options)}
            for label, seconds in alternate(timers, max(3, options.rounds // 3)).items():
                found[axis][label].append(seconds)
    return found


def measure_memory(candidate: Candidate, points: list[Point], device: torch.device) -> list[int]:
    """Bytes at the peak of each size above those before all, in ascending order, since a peak is not forgotten."""
    layer_step(candidate, WARM_UP, device)()  # libraries load, kernels compile
    before = _forget_peak(device)
    found: list[int] = []
    for point in points:
        layer_step(candidate, point, device)()
        found.append(peak_memory() - before)
    return found


def _forget_peak(device: torch.device) -> int:
    """Bytes in use; on Linux and CUDA the peak starts anew from there."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with suppress(OSError):  # another system, or one that hides it
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # 5: forget the peak of the resident memory
    return peak_memory()


def rows(options: Options, seconds: dict[str, Any], memory: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Medians, peaks and power laws of each candidate along each axis."""
    for axis, points in axes(options).items():
        sizes = [point.parts if axis == "capsules" else point.wholes for point in points]
        for label, sizewise in seconds[axis].items():
            medians = [sorted(values)[len(values) // 2] for values in sizewise]
            laws = {"time": fit_power_law(sizes, medians), "memory": fit_power_law(sizes, memory[axis][label])}
            yield {
                "axis": axis,
                "candidate": label,
                "batch": points[0].batch,
                "sizes": sizes,
                "seconds": medians,
                "bytes": memory[axis][label],
                "laws": {key: law and law._asdict() for key, law in laws.items()},
            }
