"""Weights of a trained network for one that may differ: what fits is copied, the rest starts from scratch."""

from typing import cast

import torch
from torch import nn

from capsnet_dist.errors import UserError
from capsnet_dist.plugins import Model
from capsnet_dist.saved.plan import Plan, draft
from capsnet_dist.saved.weights import load
from capsnet_dist.screen.progress import say
from capsnet_dist.text import listed

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)  # they hold parts, and are none; what derives from them is


def take_weights(source: str, model: Model) -> None:
    """Put the weights of a trained network into a new one, as far as they fit, and say what begins anew.

    A tensor is taken if the new network has one of its name and shape. Where the two tell apart different numbers of
    classes, parts that depend on it, such as class capsules and decoder, begin anew as a whole: layers behind weights
    that are new have learnt nothing of use.

    Args:
        source: A folder or a Hub id, as `load` takes it.
        model: The new network, whose other tensors are left as they are.

    Raises:
        UserError: the weights cannot be loaded, or none of them fits.
    """
    found = load(source)
    own, held = model.state_dict(), found.state_dict()
    is_alike = len(found.classes) == len(model.classes)
    anew = set[str]() if is_alike else {_part(model, name) for name in _of_classes(model)}
    fit = [name for name in held if name in own and held[name].shape == own[name].shape]
    taken = {name: held[name] for name in fit if _part(model, name) not in anew}
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    if not taken.keys() & sizes:
        raise UserError(
            f"--weights {source}: none of its weights has the name and shape of one of this network, or all belong to "
            f"parts that depend on the number of classes. --config FOLDER/config.json takes its options."
        )
    model.load_state_dict(own | taken)
    count = sum(sizes[name] for name in taken.keys() & sizes)
    rest = [name for name in own if name not in taken]
    unused = [name for name in held if name not in own]
    say(
        f"--weights {source}: {count:,} of {sum(sizes.values()):,} parameters are taken."
        + (f" Anew: {listed(rest)}." if rest else "")
        + (f" Not used: {listed(unused)}." if unused else "")
    )
    if found.normalization != model.normalization:
        say(f"Warning: {source} was trained with --normalization {found.normalization}, here {model.normalization}.")


def _of_classes(model: Model) -> list[str]:
    """The tensors whose shape depends on the number of classes, found by drafting a network of one class more."""
    assert model.choice is not None, "a network made by build knows what it was built from"
    more = (*map(str, range(len(model.classes) + 1)),)
    other = draft(Plan(model.choice, model.image, more, torch.float32, None, None, model.normalization)).state_dict()
    return [name for name, tensor in model.state_dict().items() if other[name].shape != tensor.shape]


def _part(model: Model, name: str) -> str:
    """The part of a network that a tensor belongs to: the outermost module that is no container of PyTorch."""
    path, module = list[str](), cast(nn.Module, model)
    for word in name.split(".")[:-1]:
        path.append(word)
        module = module.get_submodule(word)
        if type(module) not in CONTAINERS:
            break
    return ".".join(path)
