"""The table of a comparison: what each routing achieved, as JSON, Markdown, CSV and a plot."""

import csv
import io
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from capsnet_dist import config
from capsnet_dist.figures.canvas import theme
from capsnet_dist.figures.comparison import comparison
from capsnet_dist.run import Run
from capsnet_dist.screen.console import print_table, tolerated
from capsnet_dist.text import markdown, markdown_table, to_json


@dataclass(frozen=True)
class Row:
    """What one routing achieved."""

    routing: str
    """Its name."""
    seeds: int
    """How many runs succeeded."""
    accuracy: float | None = None
    """Mean test accuracy of the selected weights, in [0, 1]."""
    deviation: float | None = None
    """Its standard deviation over the seeds (of a sample: n - 1); None for one seed."""
    images_per_second: float | None = None
    """Images in a step over the median time between two steps; mean over the seeds."""
    memory: float | None = None
    """Highest MiB until the last step: allocated on the GPU, or else resident, libraries too; largest of the seeds."""
    parameters: int | None = None
    """Weights of the whole network, decoder included."""
    entropy: float | None = None
    """How evenly the last couplings share a part out: 1 over all wholes alike, 0 to one alone; mean over the seeds."""
    dead: float | None = None
    """Share of the wholes that are active for no test image; mean over the seeds."""
    difference: float | None = None
    """Mean difference of the accuracy to that of the baseline, over the seeds of both; None for the baseline."""
    margin: float | None = None
    """Half the width of its confidence interval of 95 %, by Student's t of paired differences; None for one pair."""
    problem: str = ""
    """Why runs failed, when some did."""


Tries = Sequence[Mapping[str, Any]]
"""What each seed measured, or its "problem"."""


def summarize(tries: Mapping[str, Tries], baseline: str) -> list[Row]:
    """What the runs of each routing come to, and how they differ from those of the baseline with the same seeds."""
    rows = [_row(name, own) for name, own in tries.items()]
    pairs = [_differences(own, tries.get(baseline, [])) if name != baseline else [] for name, own in tries.items()]
    return [
        replace(row, difference=statistics.fmean(each), margin=_margin(each)) if each else row
        for row, each in zip(rows, pairs, strict=True)
    ]


def _differences(own: Tries, baseline: Tries) -> list[float]:
    """How much more accurate each seed is than the same seed of the baseline, where both succeeded."""
    pairs = [pair for pair in zip(own, baseline, strict=False) if not any("problem" in found for found in pair)]
    return [mine["accuracy"] - theirs["accuracy"] for mine, theirs in pairs]


def _margin(differences: Sequence[float]) -> float | None:
    from scipy.stats import t

    if len(differences) < 2:
        return None
    error = statistics.stdev(differences) / len(differences) ** 0.5
    return float(t.ppf(0.975, len(differences) - 1)) * error


def _row(name: str, tries: Tries) -> Row:
    good = [found for found in tries if "problem" not in found]
    problem = next((found["problem"] for found in tries if "problem" in found), "")
    if not good:
        return Row(name, 0, problem=problem)

    def mean(key: str) -> float | None:
        values = [found[key] for found in good if found[key] is not None]
        return statistics.fmean(values) if values else None

    return Row(
        routing=name,
        seeds=len(good),
        accuracy=mean("accuracy"),
        deviation=statistics.stdev(found["accuracy"] for found in good) if len(good) > 1 else None,
        images_per_second=mean("images_per_second"),
        memory=max(found["memory"] for found in good),
        parameters=good[0]["parameters"],
        entropy=mean("entropy"),
        dead=mean("dead"),
        problem=problem,
    )


def save(rows: Sequence[Row], run: Run, folder: Path, baseline: str = "") -> None:
    """Write comparison.json, .md, .csv and .png; the first also says what all runs shared.

    Args:
        rows: What each routing came to.
        run: What all runs shared.
        folder: Where the files go.
        baseline: The routing that the others are compared with; "" if there is none.
    """
    table = _table(rows, baseline)
    texts = {
        "json": to_json(
            {"run": config.to_dict(run), "baseline": baseline, "rows": [asdict(row) for row in rows]}, indent=2
        )
        + "\n",
        "md": markdown_table([*table[0]], [list(map(markdown, cells.values())) for cells in table]),
        "csv": _csv([[field.name for field in fields(Row)], *(list(asdict(row).values()) for row in rows)]),
    }
    for kind, text in texts.items():
        (folder / f"comparison.{kind}").write_text(text, encoding="utf-8", errors="backslashreplace")
    file = folder / "comparison.png"
    with tolerated(f"no picture {file}"), theme("light"):  # matplotlib, fonts or the disk may fail
        comparison([asdict(row) for row in rows]).savefig(file)


def show(rows: Sequence[Row], baseline: str) -> None:
    """Print the table."""
    table = _table(rows, baseline)
    print_table(list(table[0]), [list(cells.values()) for cells in table])


def _table(rows: Sequence[Row], baseline: str) -> list[dict[str, str]]:
    """The cells of each row by column; where there is something to compare, with the difference to the baseline."""
    if not baseline or len(rows) == 1:
        return [_cells(row) for row in rows]
    return [_cells(row) | {f"against {baseline}": _against(row)} for row in rows]


def _against(row: Row) -> str:
    """The difference to the baseline in points, and whether it may well be none."""
    if row.difference is None:
        return "–"
    points = f"{100 * row.difference:+.2f}"
    if row.margin is None:
        return f"{points}: one seed tells nothing"
    unclear = abs(row.difference) <= row.margin
    return f"{points} ± {100 * row.margin:.2f}{': not distinguishable' if unclear else ''}"


def _cells(row: Row) -> dict[str, str]:
    """What the table says of a routing; a dash where there is nothing to say."""

    def cell(value: float | int | None, form: str) -> str:
        return "–" if value is None else format(value, form)

    spread = "" if row.deviation is None else f" ± {100 * row.deviation:.2f}"
    return {
        "routing": row.routing,
        "seeds": str(row.seeds),
        "accuracy, %": cell(row.accuracy and 100 * row.accuracy, ".2f") + spread,
        "images/s": cell(row.images_per_second, ".0f"),
        "memory, MiB": cell(row.memory, ".0f"),
        "parameters": cell(row.parameters, ",d"),
        "entropy": cell(row.entropy, ".3f"),
        "dead": cell(row.dead, ".0%"),
    }


def _csv(lines: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()
