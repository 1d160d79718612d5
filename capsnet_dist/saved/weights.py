"""Weights for use: model.safetensors and config.json, saved whole and loaded strictly."""

import contextlib
import functools
import hashlib
import os
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from capsnet_dist.config import import_kept, import_plugins
from capsnet_dist.config.kept import changed
from capsnet_dist.errors import UserError
from capsnet_dist.files import ordinary, write_new
from capsnet_dist.plugins import Model
from capsnet_dist.saved import hub
from capsnet_dist.saved.checkpoint import on_cpu
from capsnet_dist.saved.config_file import read_config, read_plan
from capsnet_dist.saved.header import Entry, Header, differences, entries, read_header, sort_metadata
from capsnet_dist.saved.plan import Plan, assemble, build, config_json, describe, draft
from capsnet_dist.text import listed, reason

__all__ = ["build", "describe", "digest", "find", "load", "save"]

CONFIG, WEIGHTS = "config.json", "model.safetensors"
MAX_CLASSES = 100_000


def save(model: Model, folder: Path | str, **further: Any) -> None:
    """Write model.safetensors and config.json, each whole or not at all; `further` entries are added to the latter.

    Raises:
        UserError: the network was not made by `build` or `load`, so its options are not known, or the folder cannot
            be written.
    """
    if model.choice is None:
        raise UserError("Only a network made by capsnet_dist.build or capsnet_dist.load knows the options to save.")
    state = on_cpu(model.state_dict())
    sha256 = digest(state)
    dtypes = [parameter.dtype for parameter in model.parameters() if parameter.is_floating_point()]
    fits = model.fit is not None and (model.fit.image == model.image or "run" in further)
    described = describe(model, model.choice, model.fit if fits else None)
    described |= {"dtype": str((dtypes or [torch.float32])[0]).removeprefix("torch."), "weights": sha256} | further
    config, folder = config_json(described), Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".saving-", dir=folder) as beside:
            write_new(Path(beside) / CONFIG, config.encode())
            content = safetensors.torch.save(state, {"format": "pt", "sha256": sha256})
            write_new(Path(beside) / WEIGHTS, sort_metadata(content))
            for name in (CONFIG, WEIGHTS):  # between the two, the checksum in the one tells that the other is not its
                (Path(beside) / name).replace(folder / name)
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {reason(error)}.") from error


def load(source: Path | str, revision: str | None = None, *, imports: bool | Path | str = False) -> Model:
    """The network of a run folder or of the Hugging Face Hub, in evaluation mode.

    Args:
        source: A folder; or, on the Hub, `owner/name`, `owner/name@revision` or `hf://owner/name@revision`. A folder
            that exists comes first.
        revision: Branch, tag or commit on the Hub, where `source` names none.
        imports: Whether to run the source of plugins that the run has kept in plugins/, which is a program of whoever
            made it; or a file or module to import first.

    Raises:
        UserError: with all that is wrong, when anything is missing, damaged or does not fit.
    """
    config_file, file = find(source, revision)
    if imports is True:
        import_kept_of(source, revision)
    elif imports:
        import_plugins(str(imports))
    for path in changed(read_config(config_file), config_file):
        warnings.warn(f"{config_file.parent / path}, which the run has kept, differs from what is used.", stacklevel=2)
    plan = read_plan(config_file)
    try:
        planned = draft(plan)
    except UserError as error:
        raise UserError(f"{config_file}: {error}") from error
    with ordinary(file) as data:  # opened once: what is checked is what is read
        header = read_header(file, data)
        names = _bare_names(header, planned, file)
        if problems := _mismatches(header, names, planned, plan):
            raise UserError(f"{file} does not fit {config_file.name}: {listed(problems, '; ')}.")
        data.seek(0)
        state = _read_tensors(file, data.read(), header)
    state = {names[name]: tensor for name, tensor in state.items()}
    buffers = {name for name, _ in planned.named_buffers()}  # a mask may well be infinite
    if wrong := [n for n, t in state.items() if not (~t.isnan() if n in buffers else t.isfinite()).all()]:
        raise UserError(f"{file} holds values that are infinite or no numbers, in {listed(wrong)}.")
    with torch.random.fork_rng(devices=[]):  # loading uses up no random numbers
        model = assemble(plan).to(plan.dtype)
    model.load_state_dict(state)
    return model.eval()


def find(source: Path | str, revision: str | None = None) -> tuple[Path, Path]:
    """config.json and model.safetensors of what `load` takes, fetched from the Hub if need be.

    Raises:
        UserError: there is no such thing, or it lacks a file.
    """
    word = os.path.expanduser(source)
    if os.path.isdir(word):
        if revision is not None:
            raise UserError(f"revision={revision!r} is for the Hub, but {source} is a folder here.")
        files = Path(word) / CONFIG, Path(word) / WEIGHTS
        if missing := [file.name for file in files if not file.is_file()]:
            raise UserError(f"{source} holds no {' and no '.join(missing)}: give the folder of a finished run.")
        return files
    if os.path.isfile(word):
        if Path(word).name in (CONFIG, WEIGHTS):
            raise UserError(f"{source} is a file: give the folder that holds it.")
        raise UserError(f"{source} is a file, and a run is a folder. In a command the run comes before pictures.")
    is_path = isinstance(source, Path) or os.path.isdir(word.partition("/")[0])  # "runs/typo" beside a folder runs
    if not is_path and (place := hub.address(word, revision)):
        return hub.download(place, CONFIG), hub.download(place, WEIGHTS)
    taken = " (given as a path)" if "/" in str(source) else ""
    raise UserError(f"No such folder: {source}{taken}. On the Hub a network is owner/name or hf://owner/name@revision.")


def import_kept_of(source: Path | str, revision: str | None = None) -> None:
    """Run the sources of plugins that a run folder, or what `load` takes from the Hub, has kept.

    Raises:
        UserError: it has kept none, one is not as it was kept, or fails to import.
    """
    config_file, _ = find(source, revision)
    place = None if os.path.isdir(os.path.expanduser(source)) else hub.address(str(source), revision)
    import_kept(config_file, place and functools.partial(hub.download, place))


def digest(state: Mapping[str, Tensor]) -> str:
    """sha256 of names, types, shapes and contents."""
    sha = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].contiguous()
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        sha.update(tensor.flatten().view(torch.uint8).numpy().data)
    return sha.hexdigest()


def _bare_names(header: Header, planned: Model, file: Path) -> dict[str, str]:
    """Each name in the file without what DDP or torch.compile put before all of them."""
    own, names = planned.state_dict(), {name: name for name in header.tensors}
    for prefix in ("module.", "_orig_mod.", "module."):  # either may be around the other
        if all(name.startswith(prefix) for name in names.values()) and not any(name.startswith(prefix) for name in own):
            warnings.warn(f"{file}: every name begins with {prefix!r}, which is left out.", stacklevel=3)
            names = {name: bare.removeprefix(prefix) for name, bare in names.items()}
    return names


def _mismatches(header: Header, names: Mapping[str, str], planned: Model, plan: Plan) -> list[str]:
    """All that keeps the tensors of a file from being those of the network."""
    own = entries(planned.state_dict())
    held = {names[name]: entry for name, entry in header.tensors.items()}
    problems = differences(held, own)
    shapes = {name: own[name].shape for name in sorted(own.keys() & held)}
    if (count := _class_count(held, shapes, plan)) is not None:
        problems.insert(0, f"the file has {count} classes, {CONFIG} has {len(plan.classes)}")
    if plan.weights is not None and plan.weights != header.metadata.get("sha256"):
        problems.append("the checksums differ, so the two were not saved together; copy or download both again")
    return problems


def _class_count(held: Mapping[str, Entry], shapes: Mapping[str, tuple[int, ...]], plan: Plan) -> int | None:
    """The number of classes with which all shapes would fit, where that is another one."""
    pairs = {pair for name in shapes for pair in zip(held[name].shape, shapes[name], strict=False)}
    for count in sorted({a for a, b in pairs if a != b == len(plan.classes)} & set(range(1, MAX_CLASSES))):
        with contextlib.suppress(UserError):  # a network may refuse this number of classes
            other = draft(plan._replace(classes=("",) * count)).state_dict()
            if all(held[name].shape == tuple(other[name].shape) for name in shapes):
                return count
    return None


def _read_tensors(file: Path, content: bytes, header: Header) -> dict[str, Tensor]:
    try:
        state = safetensors.torch.load(content)
    except SafetensorError as error:
        raise UserError(f"{file} is damaged or no safetensors file ({error}). Copy or download it again.") from error
    sha256 = header.metadata.get("sha256")
    if sha256 is None:
        warnings.warn(f"{file} has no checksum: damage to its numbers would not be noticed.", stacklevel=3)
    elif sha256 != digest(state):
        raise UserError(f"{file} is damaged: its tensors do not match its checksum. Copy or download it again.")
    return state
