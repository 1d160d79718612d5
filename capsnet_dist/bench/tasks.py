"""What one process measures: plain data in, plain data out."""

import statistics
from collections.abc import Callable, Mapping
from typing import Any

import torch

from capsnet_dist.bench import scaling
from capsnet_dist.bench.floor import compulsory_bytes, operations
from capsnet_dist.bench.measure import Clock, alternate, measure_rates
from capsnet_dist.bench.options import Candidate, Case, Options
from capsnet_dist.bench.subject import Stages, Subject
from capsnet_dist.diagnose import peak_memory

DTYPES = {"bfloat16": torch.bfloat16, "float64": torch.float64}


def time_case(options: Options, device: torch.device, case: list[Any]) -> dict[str, Any]:
    """Seconds of each round, stages and operations of each candidate, and the rates of the machine."""
    chosen = Case(*case)
    exact_or_not(chosen.dtype)
    clock = Clock(device)
    subjects = {
        c.label: Subject(c, chosen, device, fused=options.fused_naive, processes=options.processes)
        for c in options.candidates(chosen.network)
    }
    found: dict[str, Any] = {label: {} for label in subjects}
    for kind in ("infer", "train"):
        actions = {label: getattr(subject, kind) for label, subject in subjects.items()}
        for label, seconds in alternate(clock, actions, options.rounds).items():
            found[label][kind] = {"seconds": seconds}
    for candidate in options.candidates(chosen.network):
        if not candidate.compiled:  # hooks and counters see nothing inside
            _look_inside(subjects[candidate.label], clock, options, found[candidate.label])
    rates = measure_rates(clock, DTYPES.get(chosen.dtype, torch.float32))
    return {"candidates": found, "rates": rates._asdict(), "threads": torch.get_num_threads()}


def _look_inside(subject: Subject, clock: Clock, options: Options, found: dict[str, Any]) -> None:
    stages = Stages(subject, clock)
    steps = stages.steps(min(options.rounds, 5))  # five are enough to see where the time goes
    found["stages"] = {stage: statistics.median(step.get(stage, 0) for step in steps) for stage in steps[0]}
    parameters = sum(parameter.numel() for parameter in subject.model.parameters())
    moved = compulsory_bytes(parameters, stages.numbers, subject.images.itemsize)
    for kind in ("infer", "train"):
        found[kind] |= {"operations": operations(getattr(subject, kind)), "bytes": moved[kind]}


def take_memory(
    options: Options, device: torch.device, case: list[Any], candidate: list[Any], kind: str
) -> dict[str, int]:
    """Bytes at the peak of a process that does nothing else, and before it starts, with all libraries loaded."""
    libraries, chosen = peak_memory(), Case(*case)
    exact_or_not(chosen.dtype)
    subject = Subject(Candidate(*candidate), chosen, device, fused=options.fused_naive, processes=options.processes)
    for _ in range(2):  # in the second step the optimizer has its averages from the start
        getattr(subject, kind)()
    return {"libraries": libraries, "peak": peak_memory()}


def scale_time(options: Options, device: torch.device) -> dict[str, Any]:
    """Seconds of the class capsules by axis, candidate and size."""
    return scaling.measure_time(options, device)


def scale_memory(options: Options, device: torch.device, candidate: list[Any], axis: str) -> list[int]:
    """Bytes of the class capsules at each size."""
    return scaling.measure_memory(Candidate(*candidate), scaling.axes(options)[axis], device)


def exact_or_not(dtype: str) -> None:
    """Whether a GPU may round the factors of float32 products to TF32."""
    loose = dtype == "tf32"
    # cuDNN's convolutions and its recurrent networks must agree, or PyTorch refuses to export
    torch.backends.cudnn.allow_tf32 = loose
    torch.backends.cuda.matmul.allow_tf32 = loose


TASKS: Mapping[str, Callable[..., Any]] = {
    "time_case": time_case,
    "take_memory": take_memory,
    "scale_time": scale_time,
    "scale_memory": scale_memory,
}
"""By the name under which a worker is asked for them."""
