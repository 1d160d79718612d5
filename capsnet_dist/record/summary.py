"""What a run came to, read from its folder: of many runs at once, so few lines of long files are parsed."""

import json
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, cast

from capsnet_dist.errors import UserError
from capsnet_dist.files import ordinary, read_json, size
from capsnet_dist.processes.lock import is_locked
from capsnet_dist.record.metrics_file import MAX_LINE
from capsnet_dist.saved.config_file import read_config
from capsnet_dist.text import to_json

TAIL = 2**16  # bytes: the last hundreds of lines of metrics.jsonl, of which the results are the very last

OF_EACH = {"seed", "checkpoint", "timeout", "tracker", "processes", "max_skipped"}
"""What of a run no number follows from, and its seed."""


class Summary(NamedTuple):
    """A run in one line."""

    folder: Path
    name: str
    """Of the experiment."""
    model: str
    data: str
    seed: int | None
    state: str
    """running, done, preempted, stopped or failed, as its folder says; killed, if it says running and nobody does."""
    accuracy: float | None
    """On the test split, of the selected weights; None until then."""
    validation: float | None
    """The highest accuracy on the validation split: that of the selected weights, or of those that would be by now."""
    started: datetime | None
    seconds: float | None
    """From its last start to its end; of one that was killed, to its last checkpoint."""


def find_runs(root: Path) -> Iterator[Path]:
    """The folders of runs in and below a folder, by name."""
    for place, folders, names in os.walk(root):
        folders.sort()
        if "config.json" in names and "metrics.jsonl" in names:
            folders.clear()
            yield Path(place)


def summarize(folder: Path) -> Summary | None:
    """A run in one line; None where the folder is not that of a training.

    Raises:
        UserError: a file is damaged.
    """
    run = _section(folder / "config.json").get("run")
    if not isinstance(run, dict):
        return None
    entry = cast(dict[str, Any], run)
    status, place = _section(folder / "STATUS.json"), _section(folder / "environment.json")
    state = str(status.get("state", "unknown"))
    if state == "running" and not is_locked(folder):
        state = "killed"
    lines = _last_lines(folder / "metrics.jsonl")
    started, until = _time(place, "started"), _time(place, "until")
    if state == "running":
        until = datetime.now().astimezone()
    seed: Any = entry.get("seed")
    return Summary(
        folder=folder,
        name=_name(entry.get("name")),
        model=_name(entry.get("model")),
        data=_name(entry.get("data")),
        seed=seed if isinstance(seed, int) else None,
        state=state,
        accuracy=_accuracy(lines, "test", "selected"),
        validation=_highest(folder / "metrics.jsonl"),
        started=started,
        seconds=None if started is None else max(0.0, ((until or _written(folder)) - started).total_seconds()),
    )


def final_accuracy(folder: Path) -> float | None:
    """On the test split, of the selected weights; None where there is none, or no metrics."""
    file = folder / "metrics.jsonl"
    return _accuracy(_last_lines(file), "test", "selected") if file.is_file() else None


def without_seed(folder: Path) -> str:
    """What a run was told that numbers follow from, but for its seed: runs that differ in that alone have the same.

    Raises:
        UserError: its config.json cannot be read.
    """
    entry = read_config(folder / "config.json").get("run")
    told = cast(dict[str, Any], entry) if isinstance(entry, dict) else {}
    return to_json({key: told[key] for key in sorted(told) if key not in OF_EACH})


def _section(file: Path) -> dict[str, Any]:
    """The object in a JSON file; empty where there is no such file."""
    if not file.exists():
        return {}
    found: Any = read_json(file)
    if not isinstance(found, dict):
        raise UserError(f"{file} must hold an object; it holds {found!r:.100}.")
    return cast(dict[str, Any], found)


def _name(entry: Any) -> str:
    """The name of an experiment, or of a plugin with its options."""
    return str(cast(dict[str, Any], entry).get("name", "?") if isinstance(entry, dict) else entry or "?")


def _time(place: dict[str, Any], key: str) -> datetime | None:
    text = place.get(key)
    try:
        return datetime.fromisoformat(text).astimezone() if isinstance(text, str) else None
    except ValueError as error:
        raise UserError(f"environment.json: {key} must be a time; got {text!r:.100}.") from error


def _written(folder: Path) -> datetime:
    """When the metrics were written last: all that runs of earlier versions tell."""
    return datetime.fromtimestamp(os.stat(folder / "metrics.jsonl").st_mtime).astimezone()


def _last_lines(file: Path) -> list[dict[str, Any]]:
    """The last lines that are whole, newest first."""
    with ordinary(file) as data:
        data.seek(max(0, size(data) - TAIL))
        texts = data.read().splitlines()
    return [line for text in reversed(texts) if (line := _line(text))]


def _highest(file: Path) -> float | None:
    """The highest accuracy on the validation split, which may be that of any of the evaluations."""
    found: list[float] = []
    with ordinary(file) as data:
        while text := data.readline(MAX_LINE):
            accuracy = _accuracy([_line(text)], "validation") if b'"validation"' in text else None
            found += [] if accuracy is None else [accuracy]
    return max(found, default=None)


def _line(text: bytes) -> dict[str, Any]:
    """What a line says; nothing where it is cut, as the last one of a run that was killed may be."""
    try:
        line: Any = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return cast(dict[str, Any], line) if isinstance(line, dict) else {}


def _accuracy(lines: list[dict[str, Any]], split: str, weights: str | None = None) -> float | None:
    """The first accuracy on a split, of certain weights or of any."""
    wanted = (line for line in lines if line.get("split") == split and weights in (None, line.get("weights")))
    value: Any = next(wanted, {}).get("accuracy")
    return value if isinstance(value, float) else None
