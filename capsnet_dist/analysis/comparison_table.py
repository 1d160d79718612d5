"""A comparison as people and programs read it: on the screen, as JSON, Markdown and CSV, and as a plot."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path

from capsnet_dist import config
from capsnet_dist.analysis.comparison import ROBUSTNESS, Comparison, Row, Tries
from capsnet_dist.figures.canvas import theme
from capsnet_dist.figures.comparison import comparison
from capsnet_dist.files import write_whole
from capsnet_dist.screen.console import print_table, tolerated
from capsnet_dist.text import markdown, markdown_table, to_json


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
