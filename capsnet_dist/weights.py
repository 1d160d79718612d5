"""Weights for use: model.safetensors and config.json, saved whole and loaded strictly."""

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from capsnet_dist.config import from_dict, read_json, to_dict
from capsnet_dist.errors import UserError, did_you_mean
from capsnet_dist.plugins import Image, Model, models
from capsnet_dist.registry import Choice

FORMAT = 1


def describe(choice: Choice[Model], image: Image, classes: tuple[str, ...]) -> dict[str, Any]:
    """What config.json says of a network: enough to build it again."""
    return {
        "format": FORMAT,
        "model": to_dict(choice),
        "image": list(image),
        "classes": list(classes),
        "plugins": {f"{c.registry.kind} {c.name}": c.registry.owner(c.name) for c in _choices(choice)},
    }


def build(choice: Choice[Model], image: Image, classes: tuple[str, ...]) -> Model:
    """A new network with random weights, which knows the names of its classes."""
    model = choice.build(image, len(classes))
    model.classes = classes
    model.choice = choice
    return model


def save(model: Model, folder: Path | str, **further: Any) -> None:
    """Write model.safetensors and config.json; `further` entries are added to the latter.

    Raises:
        UserError: the network was not made by `build` or `load`, so its options are not known.
    """
    if model.choice is None:
        raise UserError("Only a network made by capsnet_dist.build or capsnet_dist.load knows the options to save.")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.detach().contiguous().cpu() for name, tensor in model.state_dict().items()}
    _replace(folder / "config.json", json.dumps(describe(model.choice, model.image, model.classes) | further, indent=2))
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        file = Path(temporary) / "model.safetensors"
        save_file(state, file, metadata={"format": "pt", "sha256": digest(state)})
        umask = os.umask(0)
        os.umask(umask)
        file.chmod(0o666 & ~umask)  # safetensors makes it private
        file.replace(folder / "model.safetensors")


def load(source: Path | str) -> Model:
    """The network of a run folder, in evaluation mode.

    Raises:
        UserError: with all that is wrong, when anything is missing, damaged or does not fit.
    """
    folder = Path(source)
    if not folder.is_dir():
        raise UserError(f"No such folder: {folder}.")
    config = read_json(folder / "config.json")
    model = _build(config, folder / "config.json")
    state = read_state(folder / "model.safetensors")
    own = model.state_dict()
    problems = [f"{name} is missing" for name in own.keys() - state.keys()]
    problems += [f"{name} is not part of the network" for name in state.keys() - own.keys()]
    for name in sorted(own.keys() & state.keys()):
        if own[name].shape != state[name].shape:
            problems.append(
                f"{name} is {tuple(state[name].shape)} in the file and {tuple(own[name].shape)} in the model"
            )
    if problems:
        raise UserError(f"{folder / 'model.safetensors'} does not fit config.json: {'; '.join(sorted(problems))}.")
    model.load_state_dict(state, assign=True)
    return model.eval()


def read_state(file: Path) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file, checked against the checksum in its header."""
    if not file.is_file():
        raise UserError(f"{file} is missing.")
    with file.open("rb") as start:
        if start.read(8) == b"version ":
            raise UserError(f"{file} is a Git LFS pointer, not the weights. Run `git lfs pull`.")
    try:
        with safe_open(file, "pt") as opened:
            metadata = opened.metadata() or {}
        state = load_file(file)
    except SafetensorError as error:
        raise UserError(f"{file} is damaged or no safetensors file ({error}). Copy or download it again.") from error
    if metadata.get("sha256") != digest(state):
        raise UserError(f"{file} is damaged: its tensors do not match its checksum. Copy or download it again.")
    return state


def digest(state: dict[str, torch.Tensor]) -> str:
    """sha256 of names, types, shapes and contents."""
    sha = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].contiguous()
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        sha.update(tensor.flatten().view(torch.uint8).numpy().data)
    return sha.hexdigest()


def _build(config: Any, file: Path) -> Model:
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise UserError(f"{file} is not a configuration of format {FORMAT}.")
    try:
        named, image, classes = config["model"], tuple(config["image"]), tuple(config["classes"])
        name = named["name"]
    except (KeyError, TypeError) as error:
        raise UserError(f"{file} lacks an entry: {error}.") from error
    if len(image) != 3 or not all(type(side) is int and side > 0 for side in image):
        raise UserError(f"{file}: image must be channels, height and width; got {list(image)}.")
    if not classes or not all(isinstance(label, str) for label in classes):
        raise UserError(f"{file}: classes must be a list of names; got {list(classes)}.")
    if not isinstance(name, str) or name not in models:
        raise UserError(
            f"{file} asks for the model {name!r}, which is not registered.{did_you_mean(str(name), models)}"
        )
    try:
        return build(from_dict(models(name), named, "model"), image, classes)
    except UserError as error:
        owners = ", ".join(f"{plugin} from {owner}" for plugin, owner in dict(config.get("plugins", {})).items())
        raise UserError(
            f"{file}: {error} Its plugins were {owners}; install or import what is missing first."
        ) from error


def _choices(choice: Choice[Any]) -> list[Choice[Any]]:
    nested = [v for value in choice.options.values() for v in (value if isinstance(value, tuple) else (value,))]
    return [choice, *(found for value in nested if isinstance(value, Choice) for found in _choices(value))]


def _replace(file: Path, text: str) -> None:
    """Write a file so that a reader sees the old one or the new one, never a part."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    temporary.write_text(text + "\n", encoding="utf-8")
    temporary.replace(file)
