"""How fast networks train, measured in turns: what else the machine does meanwhile then meets all of them alike."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from capsnet_dist.bench.measure import Clock, alternate, ratios, timed
from capsnet_dist.files import read_json, write_whole
from capsnet_dist.kernels import fast_paths
from capsnet_dist.processes.signals import Interruption
from capsnet_dist.record.base import Record
from capsnet_dist.run import Run
from capsnet_dist.training.isolation import isolated
from capsnet_dist.training.trainer import Trainer

ROUNDS = 7
FILE = "speeds.json"


def speeds(runs: Mapping[str, Run], baseline: str, folder: Path, *, is_measured: bool) -> dict[str, float]:
    """How many times as fast as those of the baseline the training steps of each are: medians over rounds.

    They are kept in `speeds.json`, and measured anew only where the runs have changed.

    Args:
        runs: Trainings that work, by name; at least that of the baseline.
        baseline: One of the names.
        folder: Where the file is.
        is_measured: Whether the file, if there is one, is of these very runs.
    """
    file = folder / FILE
    if is_measured and file.exists() and (known := read_json(file)).keys() == runs.keys():
        return known
    with isolated(), fast_paths(not runs[baseline].exact):  # which all of them share
        reference = Timer(runs[baseline])
        found = {name: 1.0 if name == baseline else _ratio(reference, Timer(run)) for name, run in runs.items()}
    write_whole(file, json.dumps(found) + "\n")
    return found


class Timer:
    """Times steps of a training, with all that a run does in one.

    Args:
        run: The training.
    """

    def __init__(self, run: Run) -> None:
        self.trainer = Trainer(run, Record(run), Interruption(None))
        self.clock, self.taken = Clock(self.trainer.accelerator.device), 0

    def __call__(self, repeats: int) -> float:
        """Seconds that each of so many steps takes on average."""
        return timed(self.clock, self._step, repeats)

    def _step(self) -> None:
        self.trainer.step(self.taken % self.trainer.timetable.num_steps)
        self.taken += 1


def _ratio(reference: Callable[[int], float], own: Callable[[int], float]) -> float:
    """How many times as fast as those of a reference the steps of a run are; both are in memory, and no others."""
    seconds = alternate({"reference": reference, "own": own}, ROUNDS)
    return ratios(seconds["reference"], seconds["own"]).median
