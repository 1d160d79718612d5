"""The benchmark: asks processes to measure, and puts together what they find."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from capsnet_dist.bench import report, scaling
from capsnet_dist.bench.floor import direct_operations
from capsnet_dist.bench.options import SIZES, Options
from capsnet_dist.bench.worker import ask
from capsnet_dist.console import print_json, say
from capsnet_dist.errors import UserError
from capsnet_dist.folder import environment

QUICK = Options(networks=("small",), batches=(32,), gradients=("full",), rounds=5, quick=True)
"""What `--quick` measures where nothing else is asked for."""


def bench(options: Options | None = None) -> dict[str, Any]:
    """Measure everything; the answer is plain data: `report` says what it holds.

    Args:
        options: What to measure; the paper's size by default.

    Raises:
        UserError: it cannot be measured, or a process failed.
    """
    options = options or Options()
    options.check()
    place = environment(torch.device(options.where)) | {"processor": _processor()}
    found: dict[str, Any] = {"environment": place, "options": asdict(options)}
    found["cases"] = [_case(options, list(case)) for case in options.cases()]
    found["scaling"] = _scaling(options) if options.scaling else []
    return found


def _case(options: Options, case: list[Any]) -> dict[str, Any]:
    """One table."""
    network, batch, _ = case
    candidates = options.candidates(network)
    say(f"{network}, batch {batch}: {len(candidates)} candidates, {options.rounds} rounds.")
    timed = ask(options, "time_case", case, together=True)[0]  # all ranks wait for the slowest at each step
    jobs = [(candidate, kind) for candidate in candidates for kind in ("train", "infer")]
    with ThreadPoolExecutor(2) as pool:  # memory does not depend on what runs beside it
        taken = list(pool.map(lambda job: ask(options, "take_memory", case, *job, together=True), jobs))
    memory = {job: sum(rank["peak"] for rank in ranks) for job, ranks in zip(jobs, taken, strict=True)}
    libraries = sum(rank["libraries"] for rank in taken[0])
    direct = direct_operations(network, batch // options.processes) if network in SIZES else None
    shared = dict(zip(("network", "batch", "dtype"), case, strict=True))
    return shared | {
        "rates": timed["rates"],
        "threads": timed["threads"],
        "libraries": libraries,
        "direct_operations": direct,
        "rows": report.rows(candidates, timed, memory, libraries, batch, direct),
    }


def _scaling(options: Options) -> list[dict[str, Any]]:
    """How the class capsules grow."""
    axes, candidates = scaling.axes(options), scaling.candidates(options)
    if not candidates:
        return []
    say("how the class capsules grow with the number of capsules and of classes.")
    seconds = ask(options, "scale_time")[0]
    jobs = [(axis, candidate) for axis in axes for candidate in candidates]
    with ThreadPoolExecutor(2) as pool:
        peaks = pool.map(lambda job: ask(options, "scale_memory", list(job[1]), job[0])[0], jobs)
        memory: dict[str, dict[str, Any]] = {axis: {} for axis in axes}
        for (axis, candidate), peak in zip(jobs, peaks, strict=True):
            memory[axis][candidate.label] = peak
    return list(scaling.rows(options, seconds, memory))


def _processor() -> str:
    """The name of the CPU."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def main(options: Options, as_json: bool, folder: Path) -> None:
    """What the command line calls: measure, save bench.json, bench.md and bench.png, and print.

    Args:
        options: What to measure.
        as_json: Print JSON instead of tables.
        folder: Where the files go.

    Raises:
        UserError: it cannot be measured.
    """
    found = bench(options)
    report.save(found, folder)
    if found["scaling"]:
        from capsnet_dist.figures import save_scaling

        save_scaling(found["scaling"], folder / "bench.png")
    print_json(found) if as_json else report.show(found)


def chosen(quick: bool, **given: Any) -> Options:
    """Options from the command line: lists come as words with commas, and what is left out as "" or 0."""
    start = QUICK if quick else Options()
    changes: dict[str, Any] = {}
    for key, value in given.items():
        if isinstance(value, str) and key != "device":
            words = tuple(word.strip() for word in value.split(",") if word.strip())
            value = tuple(map(_count, words)) if key == "batches" else words
        if value not in ((), 0) or isinstance(value, bool):
            changes[key] = value
    return replace(start, **changes)


def _count(word: str) -> int:
    if not word.isdecimal() or not int(word):
        raise UserError(f"--batch {word}: must be a number of images, or several with commas between.")
    return int(word)
