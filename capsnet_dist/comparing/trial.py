"""One run of a comparison, in a process of its own, so that its memory and its speed are not those of others.

The process, or with a launcher rank 0 of several, leaves a note of what came of the run: whoever started it may have
died meanwhile.
"""

import json
import shlex
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from capsnet_dist import config
from capsnet_dist.analysis.diagnosis import diagnose, watched_steps
from capsnet_dist.errors import UserError
from capsnet_dist.files import read_json, write_whole
from capsnet_dist.plugins import Split, datasets, losses, models
from capsnet_dist.processes.lock import Lock
from capsnet_dist.record.results import luck
from capsnet_dist.reproduction.results import refuse_others
from capsnet_dist.robustness.short import in_short
from capsnet_dist.run import Run
from capsnet_dist.saved import weights
from capsnet_dist.screen.console import any_text, say
from capsnet_dist.screen.ending import user_errors
from capsnet_dist.train import train
from capsnet_dist.world import speaks

STOPPED = (130, 143, -signal.SIGINT, -signal.SIGTERM)  # how a run ends that Ctrl-C, SIGTERM or the clock interrupted


def known(run: Run) -> dict[str, Any] | None:
    """What the note beside a run folder says; None where there is none, or where the run failed.

    Raises:
        UserError: the folder holds a run with other settings, or the note is damaged.
    """
    assert run.run_dir is not None
    refuse_others(run.run_dir, run)
    _job(run.run_dir).unlink(missing_ok=True)  # of a comparison that was killed
    file = _note(run.run_dir)
    found: dict[str, Any] = read_json(file) if file.exists() else {"problem": "not run"}
    return None if "problem" in found else found


def keep(run: Run, found: dict[str, Any]) -> None:
    """Write the note of a run beside its folder, so that a reader sees all of it or none."""
    assert run.run_dir is not None
    run.run_dir.parent.mkdir(parents=True, exist_ok=True)
    write_whole(_note(run.run_dir), json.dumps(found) + "\n")


def run_alone(
    run: Run, imports: Sequence[str] = (), launcher: str = "", robustness: int = 0, lock: Lock | None = None
) -> dict[str, Any]:
    """Train and measure in a new process; its findings, or its problem.

    Args:
        run: Names its folder.
        imports: Python files or modules that register plugins.
        launcher: What starts the process: `accelerate launch --num_processes 2`; this interpreter if not given.
        robustness: On how many images to measure it.
        lock: What the new process keeps, even when this one is killed.

    Raises:
        SystemExit: the run was interrupted; what was trained so far is saved, to go on from.
        UserError: there is no such launcher.
    """
    assert run.run_dir is not None
    _note(run.run_dir).unlink(missing_ok=True)
    job = _job(run.run_dir)
    words = {"argv": sys.argv, "orig_argv": sys.orig_argv}
    write_whole(
        job, json.dumps({"run": config.to_dict(run), "imports": list(imports), "robustness": robustness, **words})
    )
    command = [*(shlex.split(launcher) or [sys.executable]), "-m", __name__, str(job)]
    try:
        code, heard = _ended(command, () if lock is None else lock.descriptors)
    except OSError as error:
        raise UserError(f"--launcher {launcher} cannot be started: {error.strerror}.") from error
    finally:
        job.unlink(missing_ok=True)  # another comparison in this folder, whose runs are refused, removes it too
    is_done = _note(run.run_dir).exists()
    if heard or (not is_done and code in STOPPED):
        say(f"{run.run_dir} was interrupted; --resume goes on from there.")
        sys.exit(128 + heard if heard else code if code > 0 else 128 - code)
    if is_done:
        return read_json(_note(run.run_dir))
    return {"problem": f"the run ended with exit code {code}; see its messages above"}


def _ended(command: Sequence[str], inherited: Sequence[int]) -> tuple[int, int]:
    """The exit code of a command that hears of Ctrl-C from the terminal, and of SIGTERM from us; and our last signal.

    The signal counts, and not the code alone: a launcher of several processes that is interrupted ends with 1.
    """
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.__stderr__, pass_fds=inherited)
    heard = [0]

    def hear(number: int, frame: FrameType | None) -> None:
        heard.append(number)
        if number == signal.SIGTERM:
            child.terminate()

    before = signal.signal(signal.SIGTERM, hear), signal.signal(signal.SIGINT, hear)
    try:
        return child.wait(), heard[-1]
    finally:
        for number, handler in zip((signal.SIGTERM, signal.SIGINT), before, strict=True):
            signal.signal(number, handler)


def _job(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.job.json")


def _note(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.json")


def measure(run: Run, robustness: int = 0) -> dict[str, Any]:
    """Train in this process, and say what came of it and what it took; the run must name its folder.

    Args:
        run: The run.
        robustness: On how many test images to measure it; 0 leaves it out.

    Raises:
        UserError: the configuration cannot work.
        SystemExit: it was interrupted.
    """
    assert run.run_dir is not None
    begin = time.monotonic()
    with watched_steps() as steps:
        accuracy = train(run)["selected"]
    minutes = (time.monotonic() - begin) / 60
    if not speaks():
        return {}
    seconds = steps.seconds()
    model = weights.load(run.run_dir).to("cuda" if torch.cuda.is_available() else "cpu")
    test, still = run.data.build().split("test"), run.augmentation.build().still
    inside = diagnose(model, test, still=still)
    place = read_json(run.run_dir / "environment.json")
    return {
        "accuracy": accuracy,
        **_luck(test),
        "images_per_second": run.batch_size / statistics.median(seconds) if seconds else None,
        "memory": steps.memory / 2**20,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        **inside._asdict(),
        **(in_short(model.float(), test, still, robustness) if robustness else {}),
        "minutes": round(minutes, 2),
        "place": {key: place.get(key) for key in ("device", "threads", "processes", "mixed_precision", "commit")},
    }


def _luck(test: Split) -> dict[str, float]:
    """The accuracy that a network without knowledge may have; nothing where it is no share of images, or must be 1."""
    share = float(test.labels.flatten().bincount().max()) / len(test.labels)
    return {"luck": luck(share, len(test.labels))} if test.labels.ndim == 1 and share < 1 else {}


def main() -> None:
    """What the process of one run does: read its job from the file that is named, and leave its note."""
    job = read_json(Path(sys.argv[1]))
    sys.argv[:], sys.orig_argv[:] = job["argv"], job["orig_argv"]  # the command that the run folder records
    with any_text(), user_errors():
        for source in job["imports"]:
            config.import_plugins(source)
        nothing = Run(name="", model=models("capsnet"), data=datasets("digits"), loss=losses("margin"))
        run = config.from_dict(nothing, job["run"])
        try:
            found = measure(run, job["robustness"])
        except UserError as error:
            if speaks():
                keep(run, {"problem": str(error)})
            raise
        if speaks():
            keep(run, found)


if __name__ == "__main__":
    main()
