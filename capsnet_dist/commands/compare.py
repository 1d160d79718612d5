"""`capsnet-dist compare`: several routings or networks, the same data, settings and seeds, one table."""

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from capsnet_dist.comparing.runs import compare_runs
from capsnet_dist.comparing.variants import with_models, with_routings, words_of
from capsnet_dist.config.command_line import flags, split_words, values_of
from capsnet_dist.errors import UserError
from capsnet_dist.plugins import datasets, losses, models
from capsnet_dist.ranges import Count, Natural, Positive
from capsnet_dist.reproduction.recipes import described, file_of
from capsnet_dist.run import Run

ROUTINGS = "dynamic,uniform"
OF_THE_COMPARISON = ("name", "run_dir", "dry_run", "resume", "strict_resume", "max_time")
"""What it says for all runs itself, which are therefore no flags of the runs."""
NARROWEST = 17  # pixels that two kernels of 9 need
SMALL = {"channels": 64, "kernel": 3, "primary_kernel": 3}


def compare(
    *,
    run: Run,
    recipe: str = "",
    routings: str = "",
    models: str = "",
    baseline: str = "",
    seeds: Count = 3,
    folder: Path | None = None,
    resume: bool = False,
    launcher: str = "",
    max_time: Positive | None = None,
    results: Path | None = None,
    robustness: Natural = 0,
    config: Path | None = None,
    imports: tuple[str, ...] = (),
) -> None:
    """Train several routings or networks, with the same data and settings, and print and save a table and a plot.

    The table says by how much each differs from the baseline over the same seeds, with a confidence interval of 95 %.
    Every flag of a recipe holds for all of them.

    Args:
        run: What all of them share.
        recipe: Whose network, data and settings they take: a file, or a name in recipes/, which may also stand first
            as a word. A CapsNet on the digits if not given.
        routings: Their names, separated by commas; options follow a name: dynamic,em:iterations=2:final_beta=0.02.
            Without it and without networks dynamic,uniform.
        models: Networks in their place, written alike: capsnet,capsnet:routing=em:routing.iterations=2,hvc.
        baseline: What the others are compared with, written as above; the first if not given.
        seeds: Runs for each: that of --seed, the next, and so on.
        folder: Where the table and the runs go; must not exist yet. A new folder "comparison", or "comparison-2" and
            so on, if not given.
        resume: Go on in the folder: what is done is not done again.
        launcher: What starts each run, as in `accelerate launch --num_processes 2`; a single process if not given.
        max_time: Minutes after which to save and end, as if interrupted.
        results: Where the numbers and the plot are copied to, under the name of the folder; results.md beside it, as of
            `reproduce`, shows them.
        robustness: Measure on so many test images of each run how many are right when they are transformed, corrupted
            and attacked (eps 0.1); 0 leaves these columns out. A large network takes seconds an image on a CPU.
        config: A saved config.json whose values replace those of the recipe.

    Raises:
        UserError: a name or number that cannot work, or a run that failed; the others are compared all the same.
    """
    if routings and models:
        raise UserError("--routings and --models: compare one or the other; a network takes options, as capsnet:dim=8.")
    run = Run(**{field.name: getattr(run, field.name) for field in fields(Run)})  # all fields flags again
    run = run if recipe or config else _fitted(run)
    kind, make, words = ("network", with_models, models) if models else ("routing", with_routings, routings or ROUTINGS)
    rows = compare_runs(
        make(run, words_of(words)),
        seeds,
        folder,
        kind=kind,
        imports=imports,
        baseline=baseline,
        resume=resume,
        launcher=launcher,
        max_time=max_time,
        results=results,
        robustness=robustness,
    )
    if failed := [row for row in rows if row.problem]:
        raise UserError("; ".join(f"{row.name} failed: {row.problem}" for row in failed))


def default_of(words: Sequence[str]) -> Any:
    """The run whose flags the words after `compare` may change: that of a recipe, or a CapsNet on the digits."""
    recipes = values_of(split_words(words), "--recipe")
    if recipes:
        run, _ = described(file_of(recipes[-1]))
    else:
        run = Run(name="compare", data=datasets("digits"), model=models("capsnet"), loss=losses("margin"), epochs=10)
    return flags(run, OF_THE_COMPARISON)


def _fitted(run: Run) -> Run:
    """The paper's CapsNet, smaller where images are too small for it, but for what the user has set."""
    own, usual = run.model.options, models("capsnet").options
    if run.model.name != "capsnet" or own["kernel"] != usual["kernel"]:
        return run
    if min(run.data.build().split("test").images.shape[2:]) >= NARROWEST:
        return run
    return replace(run, model=run.model.replace(**{key: SMALL[key] for key in SMALL if own[key] == usual[key]}))
