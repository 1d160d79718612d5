"""What the runs of a recipe came to: read from their folders, and kept as a small JSON file."""

import json
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from capsnet_dist.errors import UserError
from capsnet_dist.files import read_json, write_whole
from capsnet_dist.record import metrics_file
from capsnet_dist.record.resumed import repeatable
from capsnet_dist.record.summary import OF_EACH
from capsnet_dist.reference import Reference
from capsnet_dist.run import Run
from capsnet_dist.text import to_json

BESIDE = {"name", *OF_EACH}
"""What of a run no number follows from, or what each seed has for itself."""


@dataclass(frozen=True)
class Trial:
    """What one seed came to."""

    seed: int
    accuracy: float
    """Test accuracy of the selected weights, in [0, 1]."""
    last: float
    """That of the last weights."""
    average: float | None
    """That of the averaged weights; None where none were kept."""
    device: str
    threads: int
    processes: int
    mixed_precision: str
    minutes: float
    """Time of training and evaluation; what was lost where a run was killed does not count."""
    commit: str | None
    """That of the code, at the end."""


@dataclass(frozen=True)
class Result:
    """What the seeds of a recipe came to, at some number of epochs."""

    recipe: str
    epochs: int
    run: Mapping[str, Any]
    """The settings that all seeds share."""
    trials: list[Trial] = field(default_factory=list[Trial])

    def measured(self, reference: Reference) -> list[float]:
        """What each seed achieved, in the unit of a published number."""
        return [reference.measured(trial.accuracy) for trial in self.trials]


def settings(run: Run) -> dict[str, Any]:
    """What a number follows from, as JSON: not the seed, the place of the data, or how often the state is saved."""
    return _lasting(json.loads(to_json(repeatable(run))))


def _lasting(values: dict[str, Any]) -> dict[str, Any]:
    data = {key: value for key, value in values.get("data", {}).items() if key != "root"}
    return {key: value for key, value in values.items() if key not in BESIDE} | {"data": data}


def is_done(folder: Path) -> bool:
    """Whether a run folder holds a training that came to its end."""
    file = folder / "STATUS.json"
    status: Any = read_json(file) if file.exists() else {}
    return isinstance(status, dict) and cast(dict[str, Any], status).get("state") == "done"


def refuse_others(folder: Path, run: Run) -> None:
    """Refuse to count, or to go on with, what was made with other settings.

    Raises:
        UserError: the folder holds a run with other settings.
    """
    file = folder / "config.json"
    if file.exists() and (found := changes(_lasting(read_json(file).get("run", {})), settings(run))):
        raise UserError(f"{folder} holds a run with other settings: {'; '.join(found)}. Name another --folder.")


def changes(before: Mapping[str, Any], now: Mapping[str, Any], place: str = "") -> list[str]:
    """Which settings are not as they were; those that there were not yet then have their defaults, and do not count."""
    found: list[str] = []
    for key in before:
        old, new = before[key], now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            found += changes(cast(dict[str, Any], old), cast(dict[str, Any], new), f"{place}{key}.")
        elif old != new:
            found.append(f"{place}{key}: {old!r} there, {new!r} now")
    return found


def trial(folder: Path, seed: int, minutes: float) -> Trial:
    """What a finished run says of itself."""
    place: Mapping[str, Any] = read_json(folder / "environment.json")
    lines = [line for line in metrics_file.read(folder / "metrics.jsonl") if line["split"] == "test"]
    tested = {line["weights"]: line["accuracy"] for line in lines}
    same = {key: place[key] for key in ("device", "threads", "processes", "mixed_precision", "commit")}
    accuracies = {"accuracy": tested["selected"], "last": tested["last"], "average": tested.get("ema")}
    return Trial(seed=seed, minutes=round(minutes, 1), **accuracies, **same)


def save(result: Result, folder: Path) -> None:
    """Write RECIPE-EPOCHS.json, so that a reader sees the old one or the new one."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{result.recipe}-{result.epochs}.json"
    write_whole(file, to_json(asdict(result), indent=2) + "\n")


def load(folder: Path) -> list[Result]:
    """The results in a folder, those of the fewest epochs first.

    Raises:
        UserError: a file is damaged.
    """
    found: list[Result] = []
    for file in folder.glob("*.json"):
        values = read_json(file)
        try:
            found.append(Result(**values | {"trials": [Trial(**one) for one in values["trials"]]}))
        except (TypeError, KeyError) as error:
            raise UserError(f"{file} holds no result of a recipe: {error}. Remove it.") from error
    return sorted(found, key=lambda result: (result.recipe, result.epochs))


def spread(values: list[float]) -> float | None:
    """Standard deviation of a sample; None for one value."""
    return statistics.stdev(values) if len(values) > 1 else None


def hardware(device: str, threads: int, processes: int, mixed_precision: str) -> str:
    """What a run was made on, in a few words: `2 x 1 thread of AMD EPYC, bf16`."""
    kind, _, name = device.partition(": ")
    each = f"{threads} thread{'s' * (threads != 1)} of " if kind == "cpu" else ""
    precision = "" if mixed_precision == "no" else f", {mixed_precision}"
    return f"{processes} x {each}{name}{precision}" if processes > 1 else f"{each}{name}{precision}"
