"""Checkpoints: the exact state of a training, whole or not there, without pickle."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.optim import Optimizer

from capsnet_dist.config import read_json
from capsnet_dist.errors import UserError

FORMAT = 1
STATE, MANIFEST = "state.json", "MANIFEST.json"
MAX_BYTES = 1 << 40  # of a file: a manifest that says more is no manifest

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
    """Write `step-N` beside the others, rename it when all of it is on the disk, and remove older ones.

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
            f"{name}.safetensors": lambda held=held: safetensors.torch.save(_on_cpu(held))
            for name, held in tensors.items()
        }
        contents[STATE] = lambda: json.dumps({"format": FORMAT, "step": step, **state}, indent=2).encode()
        for name, content in contents.items():
            data = content()
            _write(beside / name, data)
            manifest[name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        _write(beside / MANIFEST, json.dumps(manifest, indent=2).encode())
        _sync(beside)
        if final.exists():
            shutil.rmtree(final)  # one that was damaged, or that a resumed run makes anew
        beside.rename(final)
        _sync(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    for old in steps(folder)[keep:]:
        shutil.rmtree(_path(folder, old))
    for left in folder.glob(".writing-*"):
        shutil.rmtree(left)  # by a process that was killed
    return final


def steps(folder: Path) -> list[int]:
    """The steps of the checkpoints in a folder, newest first."""
    names = [path.name.removeprefix("step-") for path in folder.glob("step-*")]
    return sorted((int(name) for name in names if name.isdecimal()), reverse=True)


def load(folder: Path, step: int) -> Checkpoint:
    """Read a checkpoint, all of it verified against its manifest.

    Raises:
        UserError: anything is missing, damaged or of another format.
    """
    path = _path(folder, step)
    manifest: Any = read_json(path / MANIFEST)
    if not isinstance(manifest, dict) or STATE not in manifest:
        raise UserError(f"{path / MANIFEST} is damaged: it does not list {STATE}.")
    listed = cast(dict[str, Any], manifest)
    contents = {name: _read(path, name, entry) for name, entry in listed.items()}
    try:
        state = json.loads(contents.pop(STATE))
        tensors = {name.removesuffix(".safetensors"): safetensors.torch.load(data) for name, data in contents.items()}
    except (ValueError, RecursionError, SafetensorError) as error:
        raise UserError(f"{path} is damaged: {error}.") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT or state.get("step") != step:
        raise UserError(f"{path / STATE} is not the state of step {step} in format {FORMAT}.")
    return Checkpoint(step, tensors, cast(dict[str, Any], state))


def newest(folder: Path, say: Callable[[str], None]) -> Checkpoint | None:
    """The newest checkpoint that is whole; damaged ones are named and passed over.

    Raises:
        UserError: there are checkpoints, but none is whole.
    """
    problems: list[str] = []
    for step in steps(folder):
        try:
            return load(folder, step)
        except UserError as error:
            problems.append(str(error))
            say(f"Warning: {error} Looking for the checkpoint before it.")
    if problems:
        raise UserError(f"No checkpoint in {folder} can be used: {' '.join(problems)} Start anew in another --run-dir.")
    return None


def optimizer_tensors(model: nn.Module, optimizer: Optimizer) -> dict[str, Tensor]:
    """The state of an optimizer by name of parameter: `conv.weight/exp_avg`.

    Raises:
        UserError: it keeps something that is not a tensor.
    """
    found: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            if not isinstance(value, Tensor | None):
                raise UserError(f"{type(optimizer).__name__} keeps {key}={value!r} for {name}: not a tensor to save.")
            if value is not None:
                found[f"{name}/{key}"] = value
    return found


def restore_optimizer(model: nn.Module, optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Give an optimizer the state that `optimizer_tensors` took from one like it."""
    for name, parameter in model.named_parameters():
        for place, value in tensors.items():
            owner, _, key = place.rpartition("/")
            if owner == name:
                device = parameter.device if value.ndim or parameter.device.type == "cuda" else value.device
                optimizer.state[parameter][key] = value.to(device)


def _path(folder: Path, step: int) -> Path:
    return folder / f"step-{step:08d}"


def _read(path: Path, name: str, entry: Any) -> bytes:
    """A file that the manifest lists, if it is what the manifest says."""
    match entry:
        case {"sha256": str(sha256), "bytes": int(size)} if 0 <= size < MAX_BYTES and Path(name).name == name:
            pass
        case _:
            raise UserError(f"{path / MANIFEST} is damaged: it does not describe {name[:50]!r}.")
    try:
        found = (path / name).stat().st_size
        data = (path / name).read_bytes() if found == size else b""
    except OSError as error:
        raise UserError(f"{path / name} cannot be read: {error.strerror}.") from error
    if found != size:
        raise UserError(f"{path / name} is damaged: {size:,} bytes expected, {found:,} found.")
    if hashlib.sha256(data).hexdigest() != sha256:
        raise UserError(f"{path / name} is damaged: it does not match its checksum.")
    return data


def _on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def _write(file: Path, data: bytes) -> None:
    with file.open("xb") as opened:
        opened.write(data)
        opened.flush()
        os.fsync(opened.fileno())


def _sync(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
