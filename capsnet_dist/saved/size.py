"""How large a network is, found without taking memory for it."""

from typing import NamedTuple

import torch
from torch import Tensor

from capsnet_dist.kernels import fast_paths
from capsnet_dist.plugins import Image, Model
from capsnet_dist.registry import Choice
from capsnet_dist.saved.plan import Plan, draft

COPIES = 5  # of each weight in a training: itself, its gradient, its moving average, and two that Adam keeps
LARGE = 40_000_000  # parameters: published capsule networks have some ten million, the baseline of the first 35


class Size(NamedTuple):
    """What a network takes."""

    parameters: int
    largest: str
    """Name of the tensor with the most of them."""
    share: float
    """Its part of all parameters."""
    weights: int
    """Bytes."""

    @property
    def training(self) -> int:
        """Bytes of weights, gradients, averages and what Adam keeps."""
        return COPIES * self.weights


def measure(choice: Choice[Model], image: Image, classes: int, dtype: torch.dtype = torch.float32) -> Size:
    """The size of a network that is not built.

    Raises:
        UserError: no network can be built from these options for such images.
    """
    model = draft(Plan(choice, image, tuple(map(str, range(classes))), dtype, None))
    counts = {name: parameter.numel() for name, parameter in model.named_parameters()}
    total, largest = sum(counts.values()), max(counts, key=counts.__getitem__, default="")
    return Size(total, largest, counts[largest] / total if total else 0.0, total * dtype.itemsize)


def step_memory(choice: Choice[Model], image: Image, classes: int) -> int | None:
    """Bytes for each image of what a step keeps until its backward pass, without fast paths, which keep less.

    None where a part of the network does not work on tensors that have no numbers.
    """
    from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
    from torch.multiprocessing.reductions import StorageWeakRef

    sizes: dict[StorageWeakRef, int] = {}

    def note(tensor: Tensor) -> Tensor:
        sizes[StorageWeakRef(tensor.untyped_storage())] = tensor.numel() * tensor.element_size()
        return tensor

    with torch.random.fork_rng(devices=[]), FakeTensorMode(), fast_paths(allowed=False):
        try:
            model = choice.build(image, classes)
            with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
                model(torch.empty(2, *image), torch.zeros(2, dtype=torch.int64))
        except DataDependentOutputException:
            return None
    own = {StorageWeakRef(parameter.untyped_storage()) for parameter in model.parameters()}
    return sum(size for key, size in sizes.items() if key not in own) // 2
