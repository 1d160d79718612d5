"""torch.compile, part by part: what lies between the routings, which have kernels of their own."""

import torch
from torch import nn

from capsnet_dist.errors import UserError
from capsnet_dist.kernels import FastConv2d
from capsnet_dist.plugins import Routing
from capsnet_dist.run import Compile


def compile_regions(model: nn.Module, how: Compile, device: torch.device, *, whole: bool = False) -> list[str]:
    """Compile, for the sizes they meet, the largest parts in which nothing routes; return their names.

    Routings stay as they are, and so do convolutions of our own: compiled, they would be slower. Names and values of
    the weights do not change.

    Args:
        model: The network, compiled in place.
        how: "regions" compiles; "graphs" also replays kernels without the host, for small batches on a GPU; "no" and
            "auto" leave all as it is.
        device: Where the network lies.
        whole: Whether graphs are made of the whole step, so that there is nothing to do here.

    Raises:
        UserError: graphs, without a GPU.
    """
    if how in ("no", "auto"):
        return []
    if how == "graphs" and device.type != "cuda":
        raise UserError("--compile graphs replays CUDA graphs and needs a GPU; --compile regions works on a CPU too.")
    if whole:
        return []
    regions = _regions(model, "")
    for region in regions.values():
        region.compile(dynamic=False, mode="reduce-overhead" if how == "graphs" else None)
    return list(regions)


def _regions(module: nn.Module, name: str) -> dict[str, nn.Module]:
    """The parts to compile, by name."""
    if not any(_is_opaque(part) for part in module.modules()):
        return {name: module} if any(True for _ in module.parameters()) else {}
    children = ((f"{name}.{key}" if name else key, child) for key, child in module.named_children())
    return {key: region for name, child in children for key, region in _regions(child, name).items()}


def _is_opaque(module: nn.Module) -> bool:
    """Whether compiling would take a faster way from it."""
    if isinstance(module, FastConv2d):
        return module.algorithm != "direct"
    return isinstance(module, Routing)
