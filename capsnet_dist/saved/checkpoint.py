"""Checkpoints: the exact state of a training, whole or not there, without pickle."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from capsnet_dist.errors import UserError
from capsnet_dist.files import MAX_JSON, ordinary, read_json, size, sync_folder, write_new
from capsnet_dist.saved.header import read_header
from capsnet_dist.saved.state import FORMAT, Wanted, check_state, misfits
from capsnet_dist.text import listed, to_json

STATE, MANIFEST = "state.json", "MANIFEST.json"
KINDS = ("model", "optimizer", "best")  # what every training has; some also an average

Tensors = dict[str, dict[str, Tensor]]
"""Named tensors of each file: model, optimizer, average, best."""


class Checkpoint(NamedTuple):
    """A state to go on from."""

    step: int
    """How many steps led to it."""
    tensors: Tensors
    state: dict[str, Any]
    """All that is not a tensor."""


def save(
    folder: Path, step: int, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any], keep: int
) -> Path:
    """Write `step-N` beside the others, rename it when all of it is on the disk, and remove what it replaces.

    That is older ones, and any of later steps: they were damaged, or left behind when an earlier one was gone on from.

    Args:
        folder: Holds the checkpoints of a run.
        step: How many steps were done.
        tensors: What each file holds.
        state: All that is not a tensor, JSON-ready.
        keep: How many checkpoints to leave.

    Raises:
        OSError: the disk is full or gone; the checkpoints before are untouched.
    """
    folder.mkdir(exist_ok=True)
    final = folder / f"step-{step:08d}"
    beside = folder / f".writing-{step:08d}-{os.getpid()}"
    manifest: dict[str, dict[str, Any]] = {}
    try:
        beside.mkdir()
        contents: dict[str, Callable[[], bytes]] = {
            f"{name}.safetensors": lambda held=held: safetensors.torch.save(on_cpu(held))
            for name, held in tensors.items()
        }
        contents[STATE] = lambda: to_json({"format": FORMAT, "step": step, **state}, indent=2).encode()
        for name, content in contents.items():
            data = content()
            write_new(beside / name, data)
            manifest[name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        write_new(beside / MANIFEST, to_json(manifest, indent=2).encode())
        sync_folder(beside)
        if final.exists():
            shutil.rmtree(final)  # one that was damaged, or that a resumed run makes anew
        beside.rename(final)
        sync_folder(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    forget(folder, step)
    for old in steps(folder)[keep:]:
        shutil.rmtree(_path(folder, old))
    for left in folder.glob(".writing-*"):
        shutil.rmtree(left, ignore_errors=True)  # by a process that was killed
    return final


def steps(folder: Path) -> list[int]:
    """The steps of the checkpoints in a folder, newest first."""
    names = [path.name.removeprefix("step-") for path in folder.glob("step-*") if not path.is_symlink()]
    return sorted((int(name) for name in names if name.isdecimal() and name == f"{int(name):08d}"), reverse=True)


def forget(folder: Path, step: int) -> None:
    """Remove the checkpoints of steps after this one."""
    for later in steps(folder):
        if later > step:
            shutil.rmtree(_path(folder, later))


def load(folder: Path, step: int, wanted: Wanted | None = None) -> Checkpoint:
    """Read a checkpoint, all of it verified against its manifest.

    Args:
        folder: Holds the checkpoints of a run.
        step: Which one.
        wanted: The tensors that the training to go on with needs; None takes any model, optimizer and best weights.

    Raises:
        UserError: anything is missing, damaged or of another format, or does not fit the training.
    """
    path = _path(folder, step)
    files: Any = read_json(path / MANIFEST)
    kinds = KINDS if wanted is None else wanted
    for name in (STATE, *map("{}.safetensors".format, kinds)):
        if not isinstance(files, dict) or name not in files:
            raise UserError(f"{path / MANIFEST} does not list {name}: it is damaged, or of a training without it.")
    state = _read_state(path, files[STATE], step)
    if wanted is not None and state["best"]["name"] == "ema" and "average" not in wanted:
        raise UserError(f"{path / STATE}: the best weights are averaged ones, which --ema 0 leaves out.")
    return Checkpoint(
        step, {kind: _read_tensors(path, kind, files[f"{kind}.safetensors"], wanted) for kind in kinds}, state
    )


def newest(folder: Path, say: Callable[[str], None], wanted: Wanted | None = None) -> Checkpoint | None:
    """The newest checkpoint that is whole; damaged ones are named and passed over.

    Args:
        folder: Holds the checkpoints of a run.
        say: Prints a warning.
        wanted: The tensors that the training to go on with needs; None takes any.

    Raises:
        UserError: there are checkpoints, but none is whole and fits the training.
    """
    problems: list[str] = []
    for step in steps(folder):
        try:
            return load(folder, step, wanted)
        except UserError as error:
            problems.append(str(error))
            say(f"Warning: {error} Looking for the checkpoint before it.")
    if problems:
        raise UserError(f"No checkpoint in {folder} can be used: {' '.join(problems)} Start anew in another --run-dir.")
    return None


def _path(folder: Path, step: int) -> Path:
    return folder / f"step-{step:08d}"


def _read(path: Path, name: str, entry: Any, check: Callable[[Path, BinaryIO], None]) -> bytes:
    """A file that the manifest lists, if it is what the manifest says and what `check` lets pass unread."""
    match entry:
        case {"sha256": str(sha256), "bytes": int(expected)}:
            pass
        case _:
            raise UserError(f"{path / MANIFEST} is damaged: it does not describe {name}.")
    with ordinary(path / name) as data:
        if (found := size(data)) != expected:
            raise UserError(f"{path / name} is damaged: {expected!s:.20} bytes expected, {found} found.")
        check(path / name, data)
        data.seek(0)
        content = data.read(expected)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise UserError(f"{path / name} is damaged: it does not match its checksum.")
    return content


def _read_state(path: Path, entry: Any, step: int) -> dict[str, Any]:
    def check(file: Path, data: BinaryIO) -> None:
        if size(data) > MAX_JSON:
            raise UserError(f"{file} has more than {MAX_JSON:,} bytes.")

    content = _read(path, STATE, entry, check)
    try:
        state = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path / STATE} is damaged: {error}.") from error
    return check_state(path / STATE, state, step)


def _read_tensors(path: Path, kind: str, entry: Any, wanted: Wanted | None) -> dict[str, Tensor]:
    def check(file: Path, data: BinaryIO) -> None:
        header = read_header(file, data)
        if wanted is not None and (problems := misfits(kind, header, wanted)):
            raise UserError(f"{file} does not fit this training: {listed(problems, '; ')}.")

    content = _read(path, f"{kind}.safetensors", entry, check)
    try:
        return safetensors.torch.load(content)
    except SafetensorError as error:
        raise UserError(f"{path / kind}.safetensors is damaged: {error}.") from error


def on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies of tensors as they are now, each with memory of its own, in order."""
    return {
        name: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
