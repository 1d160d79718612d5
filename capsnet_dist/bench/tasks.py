"""What a process measures, one task after the other: plain data in, plain data out."""

import statistics
from typing import Any

import torch

from capsnet_dist.bench import scaling
from capsnet_dist.bench.floor import compulsory_bytes, operations
from capsnet_dist.bench.measure import Clock, measure_rates, timed
from capsnet_dist.bench.options import Candidate, Case, Options
from capsnet_dist.bench.subject import Stages, Subject
from capsnet_dist.processes.memory import keep_freed_memory, peak_memory

DTYPES = {"bfloat16": torch.bfloat16, "float64": torch.float64}


class Tasks:
    """The tasks of a process, by name; most are about the candidate that it was told to build.

    Args:
        options: What is measured.
        device: Of this process.
    """

    subject: Subject

    def __init__(self, options: Options, device: torch.device) -> None:
        self.options, self.device, self.clock = options, device, Clock(device, single=options.single)

    def build(self, case: list[Any], candidate: list[Any]) -> dict[str, int]:
        """Build a candidate as it is trained; the threads, and the bytes before, with all libraries loaded."""
        libraries, chosen, which = peak_memory(), Case(*case), Candidate(*candidate)
        exact_or_not(chosen.dtype)
        if which.of_package and self.device.type == "cpu":
            keep_freed_memory()  # as the trainer does
        fused, processes = self.options.fused_naive, self.options.processes
        self.subject = Subject(which, chosen, self.device, fused=fused, processes=processes)
        return {"threads": torch.get_num_threads(), "libraries": libraries}

    def time(self, kind: str, repeats: int) -> float:
        """Seconds of a step, "train" or "infer"."""
        return timed(self.clock, getattr(self.subject, kind), repeats)

    def peak(self, kind: str) -> int:
        """Bytes at the peak of a process that has done nothing else than some steps."""
        for _ in range(2):  # in the second step the optimizer has its averages from the start
            getattr(self.subject, kind)()
        return peak_memory()

    def look_inside(self) -> dict[str, Any]:
        """Seconds of the stages of a step, operations and bytes of both kinds."""
        stages = Stages(self.subject, self.clock)
        steps = stages.steps(min(self.options.rounds, 5))  # five are enough to see where the time goes
        found: dict[str, Any] = {}
        found["stages"] = {stage: statistics.median(step.get(stage, 0) for step in steps) for stage in steps[0]}
        parameters = sum(parameter.numel() for parameter in self.subject.model.parameters())
        moved = compulsory_bytes(parameters, stages.numbers, self.subject.images.itemsize)
        for kind in ("infer", "train"):
            found[kind] = {"operations": operations(getattr(self.subject, f"{kind}_eagerly")), "bytes": moved[kind]}
        return found

    def rates(self, dtype: str) -> dict[str, float]:
        """What the machine can do."""
        exact_or_not(dtype)
        return measure_rates(self.clock, DTYPES.get(dtype, torch.float32))._asdict()

    def scale_time(self) -> dict[str, Any]:
        """Seconds of the class capsules by axis, candidate and size."""
        return scaling.measure_time(self.options, self.device)

    def scale_memory(self, candidate: list[Any], axis: str) -> list[int]:
        """Bytes of the class capsules at each size."""
        return scaling.measure_memory(Candidate(*candidate), scaling.axes(self.options)[axis], self.device)


def exact_or_not(dtype: str) -> None:
    """Whether a GPU may round the factors of float32 products to TF32."""
    loose = dtype in ("tf32", "bfloat16")  # as the trainer does in mixed precision
    # cuDNN's convolutions and its recurrent networks must agree, or PyTorch refuses to export
    torch.backends.cudnn.allow_tf32 = loose
    torch.backends.cuda.matmul.allow_tf32 = loose
