"""The parts of a network that go into a file: tensors in, tensors by name out, and which axes are batches."""

from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx import config

from capsnet_dist.errors import UserError
from capsnet_dist.kernels import fast_paths
from capsnet_dist.plugins import Model, without_images
from capsnet_dist.text import printable

Part = Literal["encoder", "decoder", "network"]


class _PartOf(nn.Module):
    """What a file computes with a network.

    Args:
        model: The network.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model


class Encoder(_PartOf):
    """Images to scores and poses of the class capsules; nothing is rebuilt."""

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """The scores "b j" and the poses "b j d" of images "b c h w" in [0, 1]."""
        with without_images():
            output = self.model(images)
        return {"scores": output.scores, "poses": output.poses}


class Decoder(_PartOf):
    """Poses of the class capsules, and the class of each sample, to images."""

    def forward(self, poses: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The images "b c h w", rebuilt from the capsules of the labels "b"."""
        images = self.model.rebuild(poses, labels)
        assert images is not None
        return {"reconstruction": images}


class Network(_PartOf):
    """Images to all that a network says, rebuilt from the capsule with the largest score."""

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Scores "b j", poses "b j d" and reconstruction "b c h w" of images "b c h w" in [0, 1]."""
        scores, poses, reconstruction = self.model(images)
        assert reconstruction is not None
        return {"scores": scores, "poses": poses, "reconstruction": reconstruction}


class Traced(NamedTuple):
    """A part of a network as a graph."""

    module: nn.Module
    """The part itself, to compare with."""
    program: ExportedProgram
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    sizes: "Sizes"


def part_of(model: Model, part: Part) -> nn.Module:
    """A part of a network.

    Raises:
        UserError: the network has no decoder.
    """
    if part == "encoder":
        return Encoder(model)
    if not isinstance(getattr(model, "decoder", None), nn.Module) or rebuilt(model) is None:
        raise UserError(f"--part {part}: the network has no decoder. --part encoder has its scores and poses.")
    return Decoder(model) if part == "decoder" else Network(model)


@torch.no_grad()
def rebuilt(model: Model) -> Tensor | None:
    """What the network rebuilds from a black image."""
    return model(torch.zeros(1, *model.image)).reconstruction


Sizes = dict[str, dict[int, Dim]]
"""By argument, which of its axes may have any size."""


def batches(samples: Iterable[str]) -> Sizes:
    """The first axis of each argument."""
    batch = Dim("batch")
    return {name: {0: batch} for name in samples}


@contextmanager
def without_lines() -> Generator[None]:
    """Let graphs not hold the lines of code that made each node, where PyTorch can leave them out.

    They name folders of this machine, are most of the file of a small network, and take a sixth of the time.
    """
    before = getattr(config, "do_not_emit_stack_traces", False)
    config.do_not_emit_stack_traces = True
    try:
        yield
    finally:
        config.do_not_emit_stack_traces = before


def trace(module: nn.Module, samples: Mapping[str, Tensor], sizes: Sizes) -> Traced:
    """A part as a graph, computed as it is defined: without kernels of our own.

    Args:
        module: What is computed.
        samples: Its arguments by name, of any allowed size.
        sizes: Which axes may have others.

    Raises:
        UserError: PyTorch cannot capture it.
    """
    try:
        with fast_paths(allowed=False), torch.no_grad():
            program = torch.export.export(module, (), dict(samples), dynamic_shapes=sizes)
            outputs = tuple(module(**samples))
    except UserError:
        raise
    except Exception as error:  # whatever PyTorch makes of code that it cannot follow
        first = printable(str(error).strip().partition("\n")[0])
        raise UserError(f"torch.export cannot capture the network: {type(error).__name__}: {first:.500}") from error
    return Traced(module, program, tuple(samples), outputs, sizes)
