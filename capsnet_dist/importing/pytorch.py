"""Files of `torch.save`: pickles, from which only tensors and plain values are taken."""

from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from capsnet_dist.errors import UserError
from capsnet_dist.files import ordinary
from capsnet_dist.importing.foreign import Foreign
from capsnet_dist.text import reason

WRAPPERS = ("model_state_dict", "model_state", "state_dict", "model")
"""Where checkpoints keep the weights."""


def read_pytorch(file: Path) -> Foreign:
    """The weights of a state dict, or of a checkpoint that holds one; buffers that only count are left out.

    Raises:
        UserError: it cannot be read, or holds anything but tensors and plain values.
    """
    with ordinary(file) as data:
        try:
            found: Any = torch.load(data, map_location="cpu", weights_only=True)
        except Exception as error:  # whatever the reader makes of a damaged or hostile file
            raise UserError(
                f"{file} cannot be read as weights of PyTorch: it is damaged, or holds more than tensors, which is "
                f"never executed. Save model.state_dict() alone. ({reason(error)})"
            ) from error
    for key in WRAPPERS:
        if isinstance(found, dict) and isinstance(inner := cast(dict[Any, Any], found).get(key), dict):
            found = cast(dict[Any, Any], inner)
            break
    state = cast(dict[Any, Any], found) if isinstance(found, dict) else {}
    tensors = {str(name): value for name, value in state.items() if _is_weight(value)}
    if not tensors:
        raise UserError(f"{file} holds no state dict: save model.state_dict().")
    prefix = "module." if all(name.startswith("module.") for name in tensors) else ""  # DataParallel puts it there
    return Foreign(file, {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}, {})


def _is_weight(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()
