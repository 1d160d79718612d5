"""The runs of a comparison, one after another, and what is printed and saved of them."""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from capsnet_dist.analysis.comparison import Comparison, Row, summarize
from capsnet_dist.analysis.comparison_table import save, show
from capsnet_dist.comparing import trial
from capsnet_dist.comparing.folder import made, taken
from capsnet_dist.comparing.speed import speeds
from capsnet_dist.comparing.variants import folder_name, refuse_collisions
from capsnet_dist.errors import UserError
from capsnet_dist.record.command import command
from capsnet_dist.reproduction import comparisons, page
from capsnet_dist.run import Run, check
from capsnet_dist.screen.console import say
from capsnet_dist.world import world_size

OUT_OF_TIME = 143  # 128 + SIGTERM: what a training that is out of time ends with


def compare_runs(
    runs: Mapping[str, Run],
    seeds: int,
    folder: Path | None,
    *,
    kind: str = "routing",
    imports: Sequence[str] = (),
    baseline: str = "",
    resume: bool = False,
    launcher: str = "",
    max_time: float | None = None,
    results: Path | None = None,
    robustness: int = 0,
) -> list[Row]:
    """Train each of some runs with each seed, print the table, and save it as JSON, Markdown, CSV and a plot.

    Seed by seed, and within a seed one after another: what else the machine does meanwhile meets all of them alike.

    Args:
        runs: By the words that the table calls them, as `with_routings` and `with_models` make them.
        seeds: How many: the seed of a run, the next, and so on.
        folder: Where the table and the runs go; must not exist yet. A new folder "comparison", or "comparison-2" and
            so on, if not given.
        kind: In what they differ: "routing" or "network".
        imports: Python files or modules that register plugins, which every run imports as the caller has done.
        baseline: One of the words; the first if not given.
        resume: Go on in the folder, which may exist then: what is done is not done again.
        launcher: What starts each run: `accelerate launch --num_processes 2`; this interpreter if not given.
        max_time: Minutes after which to save and end.
        results: Where the numbers and the plot are copied to, named as the folder; the page of results is beside it.
        robustness: On how many test images of each run to measure it, as `in_short` does; 0 leaves it out.

    Raises:
        UserError: a word or number that cannot work; that a run fails is said in its row.
        SystemExit: interrupted, or the time is up; `resume` goes on.
    """
    baseline = _baseline(runs, seeds, kind, baseline)
    folder = made(folder, resume)
    tries: dict[str, list[dict[str, Any]]] = {word: [] for word in runs}
    shared = Comparison(next(iter(runs.values())), kind, baseline, command())
    clock = _Clock(len(runs) * seeds, max_time)
    rows: list[Row] = []
    with taken(folder, clock.look) as lock:
        for word, run in _in_turn(runs, seeds, folder):
            found = trial.known(run) if resume else None
            if found is None:
                clock.begin(f"{word}, seed {run.seed}")
                own = replace(run, resume="auto" if resume else None, max_time=clock.minutes_left)
                found = trial.run_alone(own, imports, launcher, robustness, lock)
            clock.done(found)
            tries[word].append(found)
            rows = summarize(tries, baseline)
            save(rows, shared, tries, folder)  # each time: a comparison that is stopped keeps what it has
        if not launcher:
            rows = _in_step(rows, runs, baseline, folder, is_new=bool(clock.seconds))
            save(rows, shared, tries, folder)
        if results is not None:
            comparisons.keep(folder, results)
            page.write(results)
    show(rows, shared)
    say(f"The table, the plot and the numbers of every run are in {folder}/comparison.md, .png and .json.")
    return rows


def _baseline(runs: Mapping[str, Run], seeds: int, kind: str, baseline: str) -> str:
    """With what the others are compared.

    Raises:
        UserError: there is nothing to compare, or it cannot work.
    """
    if seeds < 1 or not runs:
        raise UserError(f"{seeds} seeds of {len(runs)} {kind}s: there must be at least one of each.")
    if world_size() > 1:
        raise UserError(
            "A comparison starts its own runs: start it as one process, and give --launcher what starts each."
        )
    for run in runs.values():
        check(run, run.processes or 1)
    refuse_collisions(runs)
    if baseline and baseline not in runs:
        raise UserError(f"--baseline {baseline}: it must be one of the {kind}s, written as there: {', '.join(runs)}.")
    return baseline or next(iter(runs))


def _in_turn(runs: Mapping[str, Run], seeds: int, folder: Path) -> Iterator[tuple[str, Run]]:
    """The runs with each seed, in their folders, by the words of the table."""
    for extra in range(seeds):
        for word, run in runs.items():
            seed = run.seed + extra
            yield word, replace(run, seed=seed, run_dir=folder / folder_name(word, seed))


def _in_step(rows: Sequence[Row], runs: Mapping[str, Run], baseline: str, folder: Path, *, is_new: bool) -> list[Row]:
    """The rows with speeds that were measured in turns, of those whose runs succeeded; `is_new`: some just now."""
    good = {row.name: runs[row.name] for row in rows if not row.problem}
    if len(good) < 2 or baseline not in good:
        return [*rows]
    if is_new:
        say("all runs are done; their steps are now timed in turns")
    measured = speeds(good, baseline, folder, is_measured=not is_new)
    return [replace(row, speed=measured.get(row.name, row.speed)) for row in rows]


class _Clock:
    """How many runs are done and left, and when to end.

    Args:
        total: How many runs there are.
        max_time: Minutes after which to end.
    """

    def __init__(self, total: int, max_time: float | None) -> None:
        self.total, self.finished, self.seconds = total, 0, list[float]()
        self.end = None if max_time is None else time.monotonic() + 60 * max_time
        self._begin: float | None = None

    @property
    def minutes_left(self) -> float | None:
        """Until the end, for the run that begins now; None: there is none."""
        return None if self.end is None else (self.end - time.monotonic()) / 60

    def look(self) -> None:
        """Look whether there is time left.

        Raises:
            SystemExit: the time is up.
        """
        if self.minutes_left is not None and self.minutes_left <= 0:
            say(f"--max-time: {self.finished} of {self.total} runs are done; --resume goes on.")
            sys.exit(OUT_OF_TIME)

    def begin(self, what: str) -> None:
        """Say which run begins, and what is left.

        Raises:
            SystemExit: the time is up.
        """
        self.look()
        left = ""
        if self.seconds:
            mean = sum(self.seconds) / len(self.seconds)
            left = f", about {timedelta(seconds=round(mean * (self.total - self.finished)))} left"
        say(f"run {self.finished + 1} of {self.total}: {what}{left}")
        self._begin = time.monotonic()

    def done(self, found: Mapping[str, Any]) -> None:
        """Count a run, by the time that it took if it was run just now."""
        self.finished += 1
        if self._begin is not None and "problem" not in found:
            self.seconds.append(time.monotonic() - self._begin)
        self._begin = None
