"""Comparisons of routings or networks, as sections of the page of results: what was run, and what follows."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from capsnet_dist.analysis.comparison import Row
from capsnet_dist.analysis.comparison_table import table_of
from capsnet_dist.errors import UserError
from capsnet_dist.files import read_json, replacing
from capsnet_dist.reproduction.results import hardware
from capsnet_dist.text import code_span, markdown, markdown_table

FOLDER = "comparisons"
"""Where they are, inside that of the results."""
PLOTTED = "accuracy, calibration, speed, memory and couplings"
HEAD = """
## Comparisons

Each table is a run of `capsnet-dist compare --results docs/results`: the same network, data, settings and seeds for
all, seed by seed in turn. Accuracies are mean ± standard deviation over the seeds, of the weights that were selected on
training images that were held out. *Against* is the mean of the paired differences over the seeds, in points, ± half of
its own 95 % confidence interval by Student's t; of twenty such intervals one misses by chance. Speeds are ratios of
training steps timed in turns, medians of rounds. [Compare routings](quickstart.md#compare-routings) explains the
columns. The sentences below a table are made from its numbers. All share one learning rate and one number of epochs,
which were chosen for none of them: a low accuracy may also be that of a training that is too short.
"""


class Kept(NamedTuple):
    """A comparison that somebody ran."""

    name: str
    """That of its file."""
    values: Mapping[str, Any]
    """As `capsnet_dist.analysis.comparison_table.save` wrote them."""
    rows: Sequence[Row]
    """What each routing or network came to."""
    is_drawn: bool = True
    """Whether there is a plot of it."""


def keep(folder: Path, results: Path) -> None:
    """Copy the numbers and the plot of a comparison to those of others, under the name of its folder, each whole."""
    place = results / FOLDER
    place.mkdir(parents=True, exist_ok=True)
    for kind in ("json", "png") if (folder / "comparison.png").exists() else ("json",):  # where matplotlib failed
        with replacing(place / f"{folder.name}.{kind}") as new:  # others read the page's comparisons meanwhile
            shutil.copyfile(folder / f"comparison.{kind}", new)


def load(results: Path) -> list[Kept]:
    """The comparisons in a folder of results, by name.

    Raises:
        UserError: a file is damaged.
    """
    found: list[Kept] = []
    for file in sorted((results / FOLDER).glob("*.json")):
        values = read_json(file)
        try:
            found.append(
                Kept(file.stem, values, [Row(**row) for row in values["rows"]], file.with_suffix(".png").exists())
            )
        except (TypeError, KeyError) as error:
            raise UserError(f"{file} holds no comparison: {error}. Remove it.") from error
    return found


def sections(found: Sequence[Kept]) -> str:
    """A section for each comparison; nothing where there is none."""
    return HEAD + "".join(map(_section, found)) if found else ""


def _section(kept: Kept) -> str:
    values = kept.values
    table = [_without_time(cells) for cells in table_of(kept.rows, values["kind"], values["baseline"])]
    done = [one for tries in values["tries"].values() for one in tries if "problem" not in one]
    commits = ", ".join(sorted({one["place"]["commit"] or "unknown" for one in done}))
    machines = ", ".join(sorted({_hardware(one["place"]) for one in done}))
    minutes = sum(one["minutes"] for one in done)
    lines = [
        f"\n### {kept.name}\n",
        f"```text\n{values['command']}\n```\n",
        f"{len(done)} runs, {machines}, {minutes:.0f} minutes in all beside other work; commit {commits}.\n",
        markdown_table([*table[0]], [list(map(markdown, cells.values())) for cells in table]),
        *([f"![{kept.name}: {PLOTTED}](results/{FOLDER}/{kept.name}.png)\n"] if kept.is_drawn else []),
        *(f"- {sentence}" for sentence in sentences(kept.rows, values["baseline"])),
    ]
    return "\n".join([*lines, ""])


def _hardware(place: Mapping[str, Any]) -> str:
    return hardware(**{key: value for key, value in place.items() if key != "commit"})


def _without_time(cells: Mapping[str, str]) -> dict[str, str]:
    """What the page shows of a row: speeds of a machine that does other work beside count as ratios alone."""
    return {column: cell for column, cell in cells.items() if column != "images/s"}


def sentences(rows: Sequence[Row], baseline: str) -> list[str]:
    """What follows from a table, one sentence for each quantity that is known."""
    shares = "The scores of {} are nearest to the share of right predictions, those of {} farthest from it."
    speeds = f"The fastest is {{}} and the slowest {{}}, as multiples of the speed of {code_span(baseline)}."
    couplings = "Couplings are the most decided with {} and the most even with {}, where 1 is an even share."
    most = "images {} gets the most right, {} the fewest."
    found = [
        *_on_failures(rows),
        _on_differences(rows, baseline),
        _extremes(rows, "accuracy", "The highest mean accuracy is that of {}, the lowest that of {}.", "{:.2%}", -1),
        _extremes(rows, "calibration", shares, "{:.3f}", 1),
        _extremes(rows, "speed", speeds, "{:.2f}", -1),
        _extremes(rows, "entropy", couplings, "{:.2f}", 1),
        _extremes(rows, "transformed", f"Of transformed {most}", "{:.1%}", -1),
        _extremes(rows, "attacked", f"Of attacked {most}", "{:.1%}", -1),
    ]
    return [sentence for sentence in found if sentence]


def _on_failures(rows: Sequence[Row]) -> list[str]:
    """Which runs came to nothing, and which learned nothing."""
    failures = [
        f"{code_span(row.name)} failed with {row.failed} of {row.failed + row.seeds} seeds: {markdown(row.problem)}."
        for row in rows
        if row.failed
    ]
    guesses = [
        f"{code_span(row.name)} is no better than chance with {row.guesses} of {row.seeds} seeds."
        for row in rows
        if row.guesses
    ]
    return failures + guesses


def _on_differences(rows: Sequence[Row], baseline: str) -> str:
    """Which rows the seeds tell from the baseline."""
    pairs = [(row, row.difference) for row in rows if row.difference is not None and row.margin is not None]
    groups = {
        "more accurate": [row.name for row, difference in pairs if row.is_distinguishable and difference > 0],
        "less accurate": [row.name for row, difference in pairs if row.is_distinguishable and difference < 0],
        "not distinguishable": [row.name for row, _ in pairs if not row.is_distinguishable],
    }
    parts = [f"{_all(names)} {_be(names)} {what}" for what, names in groups.items() if names]
    return f"Against {code_span(baseline)}, {'; '.join(parts)}." if parts else ""


def _all(names: Sequence[str]) -> str:
    """`a`, `b` and `c`."""
    *others, last = map(code_span, names)
    return f"{', '.join(others)} and {last}" if others else last


def _be(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _extremes(rows: Sequence[Row], key: str, text: str, form: str, order: int) -> str:
    """A sentence about the first and the last by a quantity, in ascending order or, by -1, in descending order."""
    known = [(order * getattr(row, key), row.name) for row in rows if getattr(row, key) is not None]
    if len(known) < 2:
        return ""
    first, *_, last = sorted(known)
    return text.format(*(f"{code_span(name)} ({form.format(order * value)})" for value, name in (first, last)))
