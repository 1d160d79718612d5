"""`capsnet-dist reproduce`: the experiments of papers, a few seeds of each, beside what the papers report."""

import sys
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from capsnet_dist.errors import UserError
from capsnet_dist.files import read_json, shipped, write_whole
from capsnet_dist.processes.lock import Lock
from capsnet_dist.ranges import Count, Positive
from capsnet_dist.reproduction.page import COLUMNS, rows, write
from capsnet_dist.reproduction.recipes import Recipe, all_in, file_of, named
from capsnet_dist.reproduction.results import Result, changes, is_done, load, refuse_others, save, settings, trial
from capsnet_dist.run import Run
from capsnet_dist.screen.console import print_table, say
from capsnet_dist.text import reason
from capsnet_dist.train import train
from capsnet_dist.world import speaks

OUT_OF_TIME = 143  # 128 + SIGTERM: what a training that is out of time ends with


def reproduce(
    recipe: tuple[str, ...] = (),
    /,
    *,
    seeds: Count = 3,
    epochs: Count | None = None,
    root: Path | None = None,
    folder: Path = Path("reproduced"),
    results: Path | None = None,
    max_time: Positive | None = None,
    imports: tuple[str, ...] = (),
) -> None:
    """Repeat published experiments, and write what was published and what was measured into a table.

    Each seed has a run folder of its own. What is done is not done again, and what was interrupted or killed goes on:
    give the same command once more. Without a recipe nothing is trained, and the table is written anew.

    Args:
        recipe: Files such as recipes/hvc_mnist.py, or their names without folder and ending.
        seeds: Runs of each: seeds 0, 1, and so on.
        epochs: Passes over the training images; the paper's if not given. Schedules that follow the length of the
            training are shortened with it.
        root: Folder of the data sets, in place of ./data.
        folder: Where the runs go.
        results: Where a small JSON file of each recipe goes; the page is written beside it, as results.md. A folder
            "results" in that of the runs, if not given.
        max_time: Minutes after which to save and end, as if interrupted.

    Raises:
        UserError: a recipe is not there or names no published result, or a run cannot work.
        SystemExit: interrupted, or the time is up; what was trained so far is saved, to go on from.
    """
    chosen = named(recipe)
    kept = folder / "results" if results is None else results
    end = None if max_time is None else time.monotonic() + 60 * max_time
    runs = [(one, run, folder / f"{one.name}-{run.epochs}") for one in chosen for run in [one.shortened(epochs, root)]]
    with _locked({place for _, _, place in runs}):
        try:
            for one, run, place in runs:
                for seed in range(run.seed, run.seed + seeds):
                    _finish(replace(run, seed=seed, run_dir=place / f"seed-{seed}"), end)
                    _keep(one, run, place / f"seed-{seed}", seed, kept)
        finally:
            if speaks():
                _show(_beside(recipe), kept)


@contextmanager
def _locked(folders: Iterable[Path]) -> Generator[None]:
    """Keep others out who reproduce the same recipes; those who reproduce others may work beside.

    Raises:
        UserError: somebody does already, or the files of the locks cannot be made.
    """
    with ExitStack() as locks:
        for folder in folders if speaks() else ():
            try:
                folder.parent.mkdir(parents=True, exist_ok=True)
                locks.enter_context(Lock(folder, folder.with_name(f".{folder.name}.lock")))
            except OSError as error:
                raise UserError(f"{folder} cannot be written: {reason(error)}. Name another --folder.") from error
        yield


def _finish(run: Run, end: float | None) -> None:
    """Train to the end what is not done, and add up how long it took."""
    assert run.run_dir is not None
    refuse_others(run.run_dir, run)
    if is_done(run.run_dir):
        return
    begin = time.monotonic()
    if end is not None and begin >= end:
        sys.exit(OUT_OF_TIME)
    if speaks():
        say(f"{run.run_dir}: {run.epochs} epochs, seed {run.seed}")
    before = _minutes(run.run_dir)
    try:
        train(replace(run, resume="auto", max_time=None if end is None else (end - begin) / 60))
    finally:
        if speaks():
            file = _clock(run.run_dir)
            file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(file, f"{before + (time.monotonic() - begin) / 60:.3f}\n")


def _clock(folder: Path) -> Path:
    """The file beside a run folder that holds the minutes that its trainings took."""
    return folder.with_name(f"{folder.name}.minutes.json")


def _minutes(folder: Path) -> float:
    file = _clock(folder)
    return read_json(file) if file.exists() else 0.0


def _keep(recipe: Recipe, run: Run, folder: Path, seed: int, kept: Path) -> None:
    """Write what a seed came to beside the other seeds of the same settings."""
    if not speaks():
        return
    own = Result(recipe.name, run.epochs, settings(run))
    olds = [old for old in load(kept) if (old.recipe, old.epochs) == (own.recipe, own.epochs)]
    others = [one for old in olds if not changes(old.run, own.run) for one in old.trials if one.seed != seed]
    trials = [*others, trial(folder, seed, _minutes(folder))]
    save(replace(own, trials=sorted(trials, key=lambda one: one.seed)), kept)


def _beside(words: Sequence[str]) -> list[Recipe]:
    """All recipes in the folders of those that were named, so that the page says which nobody ran."""
    folders = dict.fromkeys(file_of(word).parent for word in words)
    return [recipe for folder in folders or [shipped("recipes")] for recipe in all_in(folder)]


def _show(recipes: Sequence[Recipe], kept: Path) -> None:
    """Print the rows that somebody ran, write the page beside the folder of results, and say where it is."""
    found = load(kept)
    ran = [recipe for recipe in recipes if recipe.name in {result.recipe for result in found}]
    if ran:
        print_table(list(COLUMNS), rows(ran, found))
    write(kept, recipes)
    missing = len(recipes) - len(ran)
    say(f"{kept.with_suffix('.md')} has {len(ran)} recipes that were run, and {missing} that nobody has run yet.")
