"""The page of published and measured results, made from recipes and what their runs came to."""

import statistics
from collections.abc import Sequence
from pathlib import Path

from capsnet_dist.files import shipped, write_whole
from capsnet_dist.reference import Reference
from capsnet_dist.reproduction import comparisons
from capsnet_dist.reproduction.comparisons import Kept
from capsnet_dist.reproduction.recipes import Recipe, all_in
from capsnet_dist.reproduction.results import Result, hardware, load, spread
from capsnet_dist.text import markdown, markdown_table

COLUMNS = ("recipe", "published", "ours", "within", "epochs", "hardware", "minutes", "commit")
NOT_RUN = "not run"
HEAD = """# Reproduced results

What the papers report, and what the recipes of this package came to. `capsnet-dist reproduce` has written this page
from the files in `docs/results/`, one for each row that somebody ran; no number is typed.

- *ours* is mean ± standard deviation of a sample (number of seeds), of the weights that were selected on a tenth of the
  training images, which were held out; the test split was read once a run.
- *within*: whether the ranges of ours and of the paper, mean ± standard deviation, overlap. It is empty where the
  epochs are not the paper's, or one of the deviations is unknown: such a row shows only how far so many epochs lead.
- *epochs*: ours, of those of the paper. The schedule of the learning rate is the paper's, shortened as they are.
- *minutes* are those of one seed, on a machine that may have done other work beside.

A row is made, or made better, from the root of the repository, with the data sets in `./data` or a network connection:

<!-- not run: trains for hours -->
```console
capsnet-dist reproduce efficient_mnist --seeds 3 --epochs 10 --results docs/results
```

Each seed has a run folder of its own. The same command once more goes on with what was interrupted or killed, and
trains nothing that is done; `--max-time 60` saves and ends after an hour. Without `--epochs` it is the paper's epochs.
Under a launcher, `accelerate launch -m capsnet_dist.commands.main reproduce efficient_mnist`, all processes train each
seed.

"""


def rows(recipes: Sequence[Recipe], results: Sequence[Result]) -> list[tuple[str, ...]]:
    """A row for each result, and for each recipe that nobody ran."""
    found: list[tuple[str, ...]] = []
    for recipe in recipes:
        own = [result for result in results if result.recipe == recipe.name and result.trials]
        published, epochs = _published(recipe.reference), recipe.run.epochs
        found += [(recipe.name, published, *_cells(recipe, result)) for result in own]
        if not own:
            found.append((recipe.name, published, NOT_RUN, "", f"0 of {epochs}", "", "", ""))
    return found


def write(kept: Path, recipes: Sequence[Recipe] | None = None) -> None:
    """Write the page beside a folder of results.

    Args:
        kept: The folder, which is made where it is not there.
        recipes: Those that the page has a row for; all that come with the package if not given.
    """
    kept.mkdir(parents=True, exist_ok=True)
    own = all_in(shipped("recipes")) if recipes is None else recipes
    write_whole(kept.with_suffix(".md"), page(own, load(kept), comparisons.load(kept)))


def page(recipes: Sequence[Recipe], results: Sequence[Result], compared: Sequence[Kept] = ()) -> str:
    """The page: the table, where each published number is found, and comparisons."""
    table = markdown_table(COLUMNS, [list(map(markdown, row)) for row in rows(recipes, results)])
    sources = "".join(f"- `{one.name}`: {one.reference.source}, {one.reference.table}\n" for one in recipes)
    published = f"\n## Where the published numbers are found\n\n{sources}"
    return f"{HEAD}{table}{published}{comparisons.sections(compared)}"


def _published(reference: Reference) -> str:
    if reference.value is None:
        return f"– ({reference.unit})"
    known = "" if reference.spread is None else f" ± {reference.spread:g}"
    return f"{reference.value:g}{known} ({reference.unit})"


def _cells(recipe: Recipe, result: Result) -> tuple[str, ...]:
    """What a row says of the runs: all columns but the first two."""
    values, trials = result.measured(recipe.reference), result.trials
    deviation = spread(values)
    ours = f"{statistics.fmean(values):.2f}" + ("" if deviation is None else f" ± {deviation:.2f}")
    minutes = statistics.fmean(trial.minutes for trial in trials)
    return (
        f"{ours} ({len(values)})",
        _within(recipe, result) if result.epochs == recipe.run.epochs else "",
        f"{result.epochs} of {recipe.run.epochs}",
        ", ".join(
            sorted({hardware(trial.device, trial.threads, trial.processes, trial.mixed_precision) for trial in trials})
        ),
        f"{minutes:.0f}",
        ", ".join(sorted({trial.commit or "unknown" for trial in trials})),
    )


def _within(recipe: Recipe, result: Result) -> str:
    """Whether the ranges of the paper and of ours overlap; empty where one of them is unknown."""
    values, reference = result.measured(recipe.reference), recipe.reference
    deviation = spread(values)
    if deviation is None or reference.value is None or reference.spread is None:
        return ""
    return "yes" if abs(statistics.fmean(values) - reference.value) <= deviation + reference.spread else "no"
