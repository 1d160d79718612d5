"""Files of Keras: weights in HDF5, with the network's configuration or without."""

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from capsnet_dist.errors import UserError
from capsnet_dist.files import ordinary
from capsnet_dist.importing.foreign import Foreign

MAX_NUMBERS = 2**30  # of one tensor: a compressed one may claim any size
MAX_CONFIG = 1_000_000  # characters


def read_keras(file: Path) -> Foreign:
    """The weights of `save_weights` or `save`, named by their path without ":0"; the optimizer's are left out.

    Raises:
        UserError: it cannot be read, is no such file, or points into other files.
    """
    try:
        import h5py
    except ImportError as error:
        raise UserError("Files of Keras need h5py: pip install 'capsnet_dist[import]'.") from error
    with ordinary(file) as opened:
        try:
            with h5py.File(opened, "r") as data:
                root: Any = data.get("model_weights", data)
                tensors: dict[str, Tensor] = {}
                _collect(h5py, root, "", tensors, file)
                return Foreign(file, tensors, _config(data.attrs.get("model_config")))
        except UserError:
            raise
        except Exception as error:  # whatever the library makes of a damaged file
            raise UserError(f"{file} cannot be read as a file of Keras (HDF5): {error!s:.500}") from error


def _collect(h5py: Any, group: Any, path: str, tensors: dict[str, Tensor], file: Path, depth: int = 0) -> None:
    """Add the tensors below a group, following no link out of the file."""
    if depth > 20:
        raise UserError(f"{file} is nested more than 20 groups deep.")
    for name in group:
        place = f"{path}{name}"
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise UserError(f"{file} links {place!r:.200} to another place, which is not followed.")
        found = group[name]
        if isinstance(found, h5py.Group):
            if place != "optimizer_weights":
                _collect(h5py, found, f"{place}/", tensors, file, depth + 1)
            continue
        if found.is_virtual or found.external or found.size > MAX_NUMBERS or found.dtype.kind not in "f":
            raise UserError(f"{file}: {place!r:.200} is not a tensor of at most {MAX_NUMBERS:,} numbers in this file.")
        tensors[place.removesuffix(":0")] = torch.from_numpy(np.asarray(found[()], dtype=found.dtype.newbyteorder("=")))


def _config(text: Any) -> dict[str, Any]:
    """The configuration of a network that was saved whole."""
    if text is None:
        return {}
    decoded: str = text.decode() if isinstance(text, bytes) else text
    if len(decoded) > MAX_CONFIG:
        raise UserError(f"The configuration in the file has more than {MAX_CONFIG:,} characters.")
    found: Any = json.loads(decoded)
    return cast(dict[str, Any], found) if isinstance(found, dict) else {}


def options(foreign: Foreign, kind: str, count: int) -> list[dict[str, Any]]:
    """The options of each layer of a class, in order, from the configuration that was saved with the network.

    Raises:
        UserError: there are not so many.
    """
    config: Any = foreign.config.get("config")
    found = cast(dict[str, Any], config).get("layers") if isinstance(config, dict) else None
    entries = cast(list[Any], found) if isinstance(found, list) else []
    named = [cast(dict[str, Any], entry) for entry in entries if isinstance(entry, dict)]
    chosen = [entry.get("config") for entry in named if entry.get("class_name") == kind]
    if len(chosen) != count or not all(isinstance(each, dict) for each in chosen):
        foreign.refuse(f"its configuration describes {len(chosen)} layers {kind}, and its weights {count}")
    return cast(list[dict[str, Any]], chosen)


def strides(foreign: Foreign, kind: str, count: int) -> list[int]:
    """The stride of each layer of a class, none of which pads."""
    found = options(foreign, kind, count)
    if any(layer.get("padding") != "valid" for layer in found):
        foreign.refuse(f"its configuration pads {kind}")
    if any(layer.get("activation", "linear") not in ("linear", "relu") for layer in found):
        foreign.refuse(f"its configuration names a nonlinearity of {kind} other than ReLU")
    return [integer(foreign, layer, "strides") for layer in found]


def integer(foreign: Foreign, layer: dict[str, Any], key: str) -> int:
    """A number of a layer, or the two that are the same along rows and columns."""
    found: Any = layer.get(key)
    values: set[Any] = set(found) if isinstance(found, list) else {found}
    value = values.pop() if len(values) == 1 else None
    if not isinstance(value, int) or not 0 < value < 1000:
        foreign.refuse(f"its configuration has {key}={found!r:.50}")
    return value


def rows_of(layer: dict[str, Any]) -> int | None:
    """Rows of an image, by the options of an input."""
    shape: Any = layer.get("batch_input_shape") or layer.get("batch_shape")
    return shape[1] if isinstance(shape, list) and len(shape) == 4 and isinstance(shape[1], int) else None
