"""What a checkpoint must hold, so that a training can go on from it: checked before anything is done with it."""

import copy
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypedDict, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from capsnet_dist.errors import UserError
from capsnet_dist.saved.header import Entry, Header, differences, entries

FORMAT = 2  # 1 did not say whether an evaluation was due
SCALER = {"scale", "growth_factor", "backoff_factor", "growth_interval", "_growth_tracker"}
"""What torch.amp.GradScaler keeps."""
Wanted = Mapping[str, Mapping[str, Entry]]
"""Type and shape of each tensor in each file, by names."""


class BestState(TypedDict):
    """Which weights are the best so far."""

    name: Literal["last", "ema"]
    step: int
    rank: list[float]
    """Accuracy and negative loss; null stands for minus infinity, which is no JSON."""


class State(TypedDict):
    """What state.json holds; further entries are kept."""

    format: int
    step: int
    best: BestState
    evaluation_due: bool
    skipped: int
    scaler: dict[str, float] | None
    run: dict[str, Any]
    environment: dict[str, Any]


def check_state(file: Path, state: Any, step: int) -> dict[str, Any]:
    """The contents of state.json, if they are the state of that step.

    Raises:
        UserError: another format or step, or an entry that is missing or of another type.
    """
    from typeguard import CollectionCheckStrategy, TypeCheckError, check_type

    held = cast(dict[str, Any], state) if isinstance(state, dict) else {}
    if held.get("format") != FORMAT or held.get("step") != step:
        raise UserError(f"{file} is not the state of step {step} in format {FORMAT}.")
    match held.get("best"):
        case {"rank": list(rank)} as best:
            held["best"] = best | {"rank": [-math.inf if value is None else value for value in cast(list[Any], rank)]}
        case _:
            pass
    known = {name: held[name] for name in State.__annotations__ if name in held}
    try:
        found = check_type(known, State, collection_check_strategy=CollectionCheckStrategy.ALL_ITEMS)
    except TypeCheckError as error:
        raise UserError(f"{file} is damaged: {' '.join(str(error).split()):.500}.") from error
    best = found["best"]
    if not (0 <= best["step"] <= step and len(best["rank"]) == 2 and not any(map(math.isnan, best["rank"]))):
        raise UserError(f"{file} is damaged: best is {best!r:.200}.")
    if found["skipped"] < 0 or (found["scaler"] and found["scaler"].keys() != SCALER):
        raise UserError(f"{file} is damaged: skipped is {found['skipped']}, scaler is {found['scaler']!r:.200}.")
    return held


def wanted_tensors(
    model: nn.Module,
    build: Callable[[Iterable[nn.Parameter]], Optimizer],
    averaged: bool,
) -> Wanted:
    """The tensors of a training after its first step, which is tried on a copy.

    Args:
        model: The network to train.
        build: Makes its optimizer.
        averaged: Whether a moving average of the weights is kept.

    Raises:
        UserError: the optimizer keeps something that is not a tensor.
    """
    twin = copy.deepcopy(model)
    optimizer = build(twin.parameters())
    for parameter in twin.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    own = entries(model.state_dict())
    wanted = {"model": own, "best": own, "optimizer": entries(optimizer_tensors(twin, optimizer))}
    return wanted | ({"average": own} if averaged else {})


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


def misfits(kind: str, header: Header, wanted: Wanted) -> list[str]:
    """What keeps the tensors of a file from being those of this training.

    Nothing may have been evaluated yet, and no step been made: those files may be empty. An optimizer may keep more
    from later steps, but nothing larger than its parameter.
    """
    held, own = header.tensors, wanted[kind]
    if kind != "optimizer" or not own:
        return [] if kind == "best" and not held else differences(held, own)
    if not held:
        return []
    shapes = {name: entry.shape for name, entry in wanted["model"].items()}
    later = {name: entry for name, entry in held.items() if name not in own}
    too_large = [
        name for name, entry in later.items() if math.prod(entry.shape) > math.prod(shapes.get(_owner(name), (0,)))
    ]
    return differences({name: held[name] for name in held if name not in later}, own) + [
        f"{name} is larger than its parameter" for name in too_large
    ]


def _owner(name: str) -> str:
    return name.rpartition("/")[0]
