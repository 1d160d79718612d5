"""The table of a comparison: what each routing or network achieved, as JSON, Markdown, CSV and a plot."""

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
from capsnet_dist.files import write_whole
from capsnet_dist.run import Run
from capsnet_dist.screen.console import print_table, tolerated
from capsnet_dist.text import markdown, markdown_table, to_json

ROBUSTNESS = {"transformed": "transformed, %", "corrupted": "corrupted, %", "attacked": "attacked, %"}
"""What is measured where it is asked for, and its columns."""
MEANS = ("accuracy", "calibration", "images_per_second", "entropy", "dead", *ROBUSTNESS)
"""What each seed measures, or may measure, of which a row has the mean."""


@dataclass(frozen=True)
class Comparison:
    """What the runs of a comparison share."""

    run: Run
    """The first of them."""
    kind: str
    """In what they differ: "routing" or "network"."""
    baseline: str
    """Which of them the others are compared with; "" if there is none."""
    command: str = ""
    """What started them."""


@dataclass(frozen=True)
class Row:
    """What one routing or network achieved."""

    name: str
    """Its name, with the options that differ."""
    seeds: int
    """How many runs succeeded."""
    accuracy: float | None = None
    """Mean test accuracy of the selected weights, in [0, 1]."""
    deviation: float | None = None
    """Its standard deviation over the seeds (of a sample: n - 1); None for one seed."""
    calibration: float | None = None
    """Expected calibration error of the highest score, in [0, 1]; mean over the seeds."""
    images_per_second: float | None = None
    """Images in a step over the median time between two steps; mean over the seeds."""
    speed: float | None = None
    """Steps a second over those of the baseline: timed in turns when all runs are done, the median of rounds; where a
    launcher starts the runs, or some of them failed, what the same seeds measured meanwhile, their
    geometric mean."""
    memory: float | None = None
    """Highest MiB until the last step: allocated on the GPU, or else resident, libraries too; largest of the seeds."""
    parameters: int | None = None
    """Weights of the whole network, decoder included."""
    entropy: float | None = None
    """How evenly the last couplings share a part out: 1 over all wholes alike, 0 to one alone; mean over the seeds."""
    dead: float | None = None
    """Share of the wholes that are active for no test image; mean over the seeds."""
    transformed: float | None = None
    """Share of images that are right in affNIST's ranges, where it was asked for; a mean over the seeds."""
    corrupted: float | None = None
    """The same of MNIST-C's corruptions, all severities alike."""
    attacked: float | None = None
    """The same under each of the attacks."""
    difference: float | None = None
    """Mean difference of the accuracy to that of the baseline, over the seeds of both; None for the baseline."""
    margin: float | None = None
    """Half the width of its confidence interval of 95 %, by Student's t of paired differences; None for one pair."""
    problem: str = ""
    """Why runs failed, when some did."""
    failed: int = 0
    """How many did."""
    guesses: int = 0
    """How many runs are no better than always answering with the largest class, up to luck."""

    @property
    def is_distinguishable(self) -> bool:
        """Whether the interval of its difference to the baseline leaves out zero."""
        return self.difference is not None and self.margin is not None and abs(self.difference) > self.margin


Tries = Sequence[Mapping[str, Any]]
"""What each seed measured, or its "problem"."""


def summarize(tries: Mapping[str, Tries], baseline: str) -> list[Row]:
    """What the runs of each come to, and how they differ from those of the baseline with the same seeds."""
    return [_against(_row(name, own), own, tries.get(baseline, [])) for name, own in tries.items() if own]


def _against(row: Row, own: Tries, baseline: Tries) -> Row:
    """The row with what differs from the same seeds of the baseline, where both succeeded."""
    pairs = [pair for pair in zip(own, baseline, strict=False) if not any("problem" in found for found in pair)]
    timed = [pair for pair in pairs if all(found["images_per_second"] for found in pair)]
    if timed:
        ratios = [mine["images_per_second"] / theirs["images_per_second"] for mine, theirs in timed]
        row = replace(row, speed=statistics.geometric_mean(ratios))  # which turns over with the baseline
    if own is baseline or not pairs:
        return row
    differences = [mine["accuracy"] - theirs["accuracy"] for mine, theirs in pairs]
    return replace(row, difference=statistics.fmean(differences), margin=_margin(differences))


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
        return Row(name, 0, problem=problem, failed=len(tries))

    def mean(key: str) -> float | None:
        values = [found[key] for found in good if found.get(key) is not None]
        return statistics.fmean(values) if values else None

    return Row(
        name=name,
        seeds=len(good),
        deviation=statistics.stdev(found["accuracy"] for found in good) if len(good) > 1 else None,
        memory=max(found["memory"] for found in good),
        parameters=good[0]["parameters"],
        problem=problem,
        failed=len(tries) - len(good),
        guesses=sum(found["accuracy"] <= found.get("luck", -1.0) for found in good),
        **{key: mean(key) for key in MEANS},
    )


def save(rows: Sequence[Row], shared: Comparison, tries: Mapping[str, Tries], folder: Path) -> None:
    """Write comparison.json, .md, .csv and .png; the first also says what all runs shared, and what each measured.

    Args:
        rows: What each routing or network came to.
        shared: What all runs shared.
        tries: What each seed measured.
        folder: Where the files go.
    """
    table = table_of(rows, shared.kind, shared.baseline)
    kept = asdict(shared) | {"run": config.to_dict(shared.run), "rows": [asdict(row) for row in rows]}
    texts = {
        "json": to_json(kept | {"tries": {name: list(own) for name, own in tries.items()}}, indent=2) + "\n",
        "md": markdown_table([*table[0]], [list(map(markdown, cells.values())) for cells in table]),
        "csv": _csv([[field.name for field in fields(Row)], *(list(asdict(row).values()) for row in rows)]),
    }
    for kind, text in texts.items():
        write_whole(folder / f"comparison.{kind}", text)
    file = folder / "comparison.png"
    with tolerated(f"no picture {file}"), theme("light"):  # matplotlib, fonts or the disk may fail
        comparison([asdict(row) for row in rows], shared.kind).savefig(file)


def show(rows: Sequence[Row], shared: Comparison) -> None:
    """Print the table."""
    table = table_of(rows, shared.kind, shared.baseline)
    print_table(list(table[0]), [list(cells.values()) for cells in table])


def table_of(rows: Sequence[Row], kind: str, baseline: str) -> list[dict[str, str]]:
    """The cells of each row by column; where there is something to compare, with the difference to the baseline."""
    asked = [key for key in ROBUSTNESS if any(getattr(row, key) is not None for row in rows)]
    if not baseline or len(rows) == 1:
        return [_cells(row, kind, "", asked) for row in rows]
    return [_cells(row, kind, baseline, asked) | {f"against {baseline}": _difference(row)} for row in rows]


def _difference(row: Row) -> str:
    """The difference to the baseline in points, and whether it may well be none."""
    if row.difference is None:
        return "–"
    points = f"{100 * row.difference:+.2f}"
    if row.margin is None:
        return f"{points}: one seed tells nothing"
    return f"{points} ± {100 * row.margin:.2f}{'' if row.is_distinguishable else ': not distinguishable'}"


def _cells(row: Row, kind: str, baseline: str, asked: Sequence[str]) -> dict[str, str]:
    """What the table says of a routing or network; a dash where there is nothing to say."""

    def cell(value: float | int | None, form: str) -> str:
        return "–" if value is None else format(value, form)

    spread = "" if row.deviation is None else f" ± {100 * row.deviation:.2f}"
    some = "" if row.guesses == row.seeds else f"{row.guesses} of {row.seeds} "
    return {
        kind: row.name,
        "seeds": f"{row.seeds} of {row.seeds + row.failed}" if row.failed else str(row.seeds),
        "accuracy, %": cell(row.accuracy and 100 * row.accuracy, ".2f")
        + spread
        + (f": {some}no better than chance" if row.guesses else ""),
        "calibration error": cell(row.calibration, ".3f"),
        "images/s": cell(row.images_per_second, ".0f"),
        **({f"speed of {baseline}": cell(row.speed, ".2f")} if baseline else {}),
        "memory, MiB": cell(row.memory, ".0f"),
        "parameters": cell(row.parameters, ",d"),
        "entropy": cell(row.entropy, ".3f"),
        "dead": cell(row.dead, ".0%"),
        **{ROBUSTNESS[key]: cell(getattr(row, key) and 100 * getattr(row, key), ".1f") for key in asked},
    }


def _csv(lines: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()
