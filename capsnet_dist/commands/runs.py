"""`capsnet-dist runs`: the runs of a folder, newest first."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from capsnet_dist.errors import UserError
from capsnet_dist.record.summary import Summary, find_runs, summarize
from capsnet_dist.screen.console import complain, print_json, print_table

COLUMNS = ("run", "network", "data", "seed", "state", "accuracy", "validation", "time", "started")
BEFORE_ALL = datetime.min.replace(year=2).astimezone()  # a time zone may move the first year before the calendar


def runs(folder: Path = Path("runs"), /, *, json: bool = False, imports: tuple[str, ...] = ()) -> None:
    """List the runs in a folder and below it, newest first: what was trained, how it ended and what came of it.

    Args:
        folder: Where they are.
        json: Print JSON.

    Raises:
        UserError: there is no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}: name the one that holds your runs.")
    found: list[Summary] = []
    for place in find_runs(folder):
        try:
            run = summarize(place)
        except UserError as error:  # one of many, and damaged
            complain(str(error))
            continue
        found += [] if run is None else [run]
    found.sort(key=lambda run: run.started or BEFORE_ALL, reverse=True)
    if json:
        print_json([values(run) for run in found])
        return
    print_table(COLUMNS, [_row(run) for run in found])


def values(run: Summary) -> dict[str, Any]:
    """A run as JSON."""
    started = None if run.started is None else run.started.isoformat()
    return run._asdict() | {"folder": str(run.folder), "started": started}


def _row(run: Summary) -> list[str]:
    accuracies = ["" if a is None else f"{100 * a:.2f} %" for a in (run.accuracy, run.validation)]
    seconds = "" if run.seconds is None else str(timedelta(seconds=round(run.seconds)))
    started = "" if run.started is None else f"{run.started:%Y-%m-%d %H:%M}"
    seed = "" if run.seed is None else str(run.seed)
    return [str(run.folder), run.model, run.data, seed, run.state, *accuracies, seconds, started]
