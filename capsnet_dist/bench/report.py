"""The tables of a benchmark."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from capsnet_dist.bench.floor import floor
from capsnet_dist.bench.measure import Rates, Spread, ratios
from capsnet_dist.bench.options import Candidate, reference
from capsnet_dist.screen.console import print_table
from capsnet_dist.text import code_span, markdown_table, to_json
from capsnet_dist.text import markdown as markdown_text

Table = tuple[str, list[str], list[list[str]]]
"""Title, columns and rows."""

KINDS = {"train": "training", "infer": "inference"}


def rows(
    candidates: Sequence[Candidate],
    timed: Mapping[str, Any],
    memory: Mapping[tuple[Candidate, str], int],
    libraries: int,
    batch: int,
    direct: Mapping[str, int] | None,
) -> list[dict[str, Any]]:
    """What each candidate achieved.

    Args:
        candidates: In the order of the table.
        timed: Seconds, stages and operations of each, and the rates of the machine.
        memory: Bytes at the peak.
        libraries: Those of a process that only imports.
        batch: Images in a step.
        direct: Operations by the definitions.
    """
    found: list[dict[str, Any]] = []
    for candidate in candidates:
        other, measured = reference(candidate, candidates), timed["candidates"][candidate.label]
        row: dict[str, Any] = {"candidate": candidate.label, "against": other and other.label}
        for kind in KINDS:
            seconds = measured[kind]["seconds"]
            speed = Spread.of(batch / s for s in seconds)._asdict()
            row[kind] = {"images_per_second": speed, "memory": memory[candidate, kind]}
            row[kind] |= _floors(measured[kind], Rates(**timed["rates"]), direct[kind] if direct else None)
            if other is not None:
                row[kind]["ratio"] = ratios(timed["candidates"][other.label][kind]["seconds"], seconds)._asdict()
                row[kind] |= _memory_ratios(memory[candidate, kind], memory[other, kind], libraries)
        found.append(row | {"stages": measured.get("stages", {})})
    return found


def _memory_ratios(own: int, other: int, libraries: int) -> dict[str, float]:
    """Memory of that of another, all in all and without the libraries of both."""
    without = {"own_memory_ratio": (own - libraries) / (other - libraries)} if other > libraries else {}
    return {"memory_ratio": own / other} | without


def _floors(measured: Mapping[str, Any], rates: Rates, direct: int | None) -> dict[str, Any]:
    """How many times as long as the floor: of its own operations, and of those by the definitions."""
    if "operations" not in measured:
        return {}
    own, moved, seconds = measured["operations"], measured["bytes"], Spread.of(measured["seconds"]).median
    found: dict[str, Any] = {"operations": own, "bytes": moved, "times_floor": seconds / floor(own, moved, rates)}
    return found | ({} if direct is None else {"times_direct_floor": seconds / floor(direct, moved, rates)})


def tables(found: Mapping[str, Any]) -> Iterator[Table]:
    """Everything for people."""
    place = found["environment"]
    cpu = [place.get(key, "–") for key in ("processor", "instructions", "blas")]
    yield "CPU", ["processor", "instruction set", "BLAS"], [cpu]
    for case in found["cases"]:
        title = f"{case['network']}, batch {case['batch']}, {case['dtype']}"
        for kind, name in KINDS.items():
            yield _speeds(f"{title}: {name}", case["rows"], kind)
        yield _stages(f"{title}: milliseconds of a training step", case["rows"])
        yield _machine(f"{title}: the machine", case)
    if found["scaling"]:
        yield _laws(found["scaling"])


def _speeds(title: str, rows: Sequence[Mapping[str, Any]], kind: str) -> Table:
    names = dict.fromkeys(row["against"].partition(",")[0] for row in rows if row.get("against"))
    other = " or ".join(names) or "naive"
    columns = [
        "",
        "images/s",
        "quartiles",
        f"times {other}",
        "quartiles",
        "memory, MiB",
        f"of {other}",
        "without libraries",
        "floor",
        "direct floor",
    ]
    lines: list[list[str]] = []
    for row in rows:
        cell = row[kind]
        lines.append(
            [
                row["candidate"],
                *_spread(cell["images_per_second"], 3),
                *_spread(cell.get("ratio"), 3),
                f"{cell['memory'] / 2**20:.0f}",
                _number(cell.get("memory_ratio"), 2),
                _number(cell.get("own_memory_ratio"), 2),
                _number(cell.get("times_floor"), 2),
                _number(cell.get("times_direct_floor"), 2),
            ]
        )
    return title, columns, lines


def _stages(title: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    stages = list(dict.fromkeys(stage for row in rows for stage in row["stages"]))
    lines = [
        [row["candidate"], *(_number(1000 * row["stages"][s] if s in row["stages"] else None, 3) for s in stages)]
        for row in rows
        if row["stages"]
    ]
    return title, ["", *stages], lines


def _machine(title: str, case: Mapping[str, Any]) -> Table:
    line = [
        f"{case['rates']['matrix'] / 1e9:.0f}",
        f"{case['rates']['copy'] / 1e9:.1f}",
        str(case["threads"]),
        f"{case['libraries'] / 2**20:.0f}",
    ]
    return title, ["products, GFLOP/s", "copy, GB/s", "threads", "memory of the libraries, MiB"], [line]


def _laws(scaling: Sequence[Mapping[str, Any]]) -> Table:
    lines: list[list[str]] = []
    for row in scaling:
        laws = [_law(row["laws"][kind]) for kind in ("time", "memory")]
        sizes = f"{row['sizes'][0]} to {row['sizes'][-1]}"
        largest = [_number(1000 * row["seconds"][-1], 3), f"{row['bytes'][-1] / 2**20:.0f}"]
        lines.append([row["axis"], sizes, row["candidate"], *laws, *largest])
    columns = ["number of", "from", "", "time grows as", "memory as", "ms at most", "MiB at most"]
    return f"class capsules forward and backward, batch {scaling[0]['batch']}", columns, lines


def _law(law: Mapping[str, Any] | None) -> str:
    if law is None:
        return "–"
    known = law["error"] is not None and math.isfinite(law["error"])  # null once it was saved
    error = f" ± {law['error']:.2f}" if known else ""
    return f"n^{law['exponent']:.2f}{error}"


def _spread(spread: Mapping[str, float] | None, digits: int) -> list[str]:
    if spread is None:
        return ["–", "–"]
    low, median, high = (_number(spread[key], digits) for key in ("low", "median", "high"))
    return [median, f"{low} to {high}"]


def _number(value: float | None, digits: int) -> str:
    """A number with so many digits, and never an exponent."""
    if value is None:
        return "–"
    whole = len(str(int(abs(value)))) if abs(value) >= 1 else 0
    return f"{value:.{max(0, digits - whole)}f}"


def show(found: Mapping[str, Any]) -> None:
    """Print the tables."""
    for title, columns, lines in tables(found):
        print(f"\n{title}")  # noqa: T201
        print_table(columns, lines)


def save(found: Mapping[str, Any], folder: Path) -> None:
    """Write bench.json, which holds everything, and bench.md, the tables."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bench.json").write_text(to_json(found, indent=1) + "\n", encoding="utf-8")
    (folder / "bench.md").write_text(markdown(found), encoding="utf-8")


def markdown(found: Mapping[str, Any]) -> str:
    """The tables as Markdown, under what was run."""
    place = found["environment"]
    version = f"commit {place['commit']}" if place["commit"] else f"version {place['packages']['capsnet_dist']}"
    machine = markdown_text(f"{place['device']}, {place['processor']}")
    first = f"{code_span(place['command'])}, {version}, {machine}\n"
    parts = [first]
    for title, columns, lines in tables(found):
        head, *cells = (list(map(markdown_text, line)) for line in [columns, *lines])
        parts.append(f"{markdown_text(title)}\n\n{markdown_table(head, cells)}")
    return "\n".join(parts)
