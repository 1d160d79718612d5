"""The benchmark: asks processes to measure, and puts together what they find."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from capsnet_dist.bench import report, scaling
from capsnet_dist.bench.floor import direct_operations
from capsnet_dist.bench.measure import alternate
from capsnet_dist.bench.options import SIZES, Candidate, Options
from capsnet_dist.bench.worker import Workers, ask
from capsnet_dist.errors import UserError
from capsnet_dist.files import new_folder
from capsnet_dist.record.environment import blas, environment, instructions, processor
from capsnet_dist.screen.console import print_json, say, tolerated
from capsnet_dist.text import reason

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
    machine = {"processor": processor(), "instructions": instructions(), "blas": blas()}
    place = environment(torch.device(options.where)) | machine
    found: dict[str, Any] = {"environment": place, "options": asdict(options)}
    found["cases"] = [_case(options, list(case)) for case in options.cases()]
    found["scaling"] = _scaling(options) if options.scaling else []
    return found


def _case(options: Options, case: list[Any]) -> dict[str, Any]:
    """One table."""
    network, batch, dtype = case
    candidates = options.candidates(network)
    say(f"{network}, batch {batch}: {len(candidates)} candidates, {options.rounds} rounds.")
    timed = _time(options, case)
    jobs = [(candidate, kind) for candidate in candidates for kind in ("train", "infer")]
    with ThreadPoolExecutor(2) as pool:  # memory does not depend on what runs beside it
        taken = list(pool.map(lambda job: _memory(options, case, *job), jobs))
    memory = {job: peak for job, (_, peak) in zip(jobs, taken, strict=True)}
    libraries = taken[0][0]
    direct = direct_operations(network, batch // options.processes) if network in SIZES else None
    return {"network": network, "batch": batch, "dtype": dtype} | {
        "rates": timed["rates"],
        "threads": timed["threads"],
        "libraries": libraries,
        "direct_operations": direct,
        "rows": report.rows(candidates, timed, memory, libraries, batch, direct),
    }


def _time(options: Options, case: list[Any]) -> dict[str, Any]:
    """Seconds of each round, stages and operations of each candidate, and the rates of the machine.

    Each candidate has processes of its own, which take turns: what one does to memory and libraries is not the other's.
    """
    with ExitStack() as stack:
        candidates = options.candidates(case[0])
        workers = {c: stack.enter_context(Workers(options, together=True)) for c in candidates}
        threads = [process.ask("build", case, list(c))[0]["threads"] for c, process in workers.items()]
        found: dict[str, Any] = {candidate.label: {} for candidate in workers}
        for kind in ("infer", "train"):
            timers = {c.label: partial(_slowest, process, kind) for c, process in workers.items()}
            for label, seconds in alternate(timers, options.rounds).items():
                found[label][kind] = {"seconds": seconds}
        for candidate, process in workers.items():
            if not candidate.compiled:  # hooks and counters see nothing inside
                for name, seen in process.ask("look_inside")[0].items():
                    found[candidate.label][name] = found[candidate.label].get(name, {}) | seen
    rates = ask(options, "rates", case[2])[0]
    return {"candidates": found, "rates": rates, "threads": threads[0]}


def _slowest(workers: Workers, kind: str, repeats: int) -> float:
    """Seconds of a step of processes that train together."""
    return max(workers.ask("time", kind, repeats))


def _memory(options: Options, case: list[Any], candidate: Candidate, kind: str) -> tuple[int, int]:
    """Bytes of the libraries and at the peak, of all processes that train together."""
    with Workers(options, together=True) as workers:
        libraries = sum(built["libraries"] for built in workers.ask("build", case, list(candidate)))
        return libraries, sum(workers.ask("peak", kind))


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


def main(options: Options, as_json: bool, folder: Path | None) -> None:
    """What the command line calls: measure, save bench.json, bench.md and bench.png, and print.

    Args:
        options: What to measure.
        as_json: Print JSON instead of tables.
        folder: Where the files go; None: a new folder "bench", or "bench-2" and so on.

    Raises:
        UserError: it cannot be measured.
    """
    found = bench(options)
    print_json(found) if as_json else report.show(found)
    try:
        folder = new_folder(Path("bench")) if folder is None else folder
        report.save(found, folder)
    except OSError as error:
        raise UserError(f"What was measured cannot be saved in {folder or 'bench'}: {reason(error)}.") from error
    if found["scaling"]:
        _draw(found["scaling"], folder / "bench.png")


def _draw(scaling: list[dict[str, Any]], file: Path) -> None:
    from capsnet_dist.figures import scaling as figures
    from capsnet_dist.figures.canvas import theme

    with tolerated(f"no picture {file}"), theme("light"):  # matplotlib, fonts or the disk may fail
        figures.scaling(scaling).savefig(file)


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
