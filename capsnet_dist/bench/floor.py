"""The shortest time that a step can take: its operations and its bytes at the rates that the machine has shown."""

from collections.abc import Callable

import torch

from capsnet_dist.bench.measure import Rates
from capsnet_dist.bench.naive import NaiveCapsNet, naive_loss
from capsnet_dist.bench.options import CLASSES, IMAGE, SIZES


def operations(action: Callable[[], object]) -> int:
    """Multiplications and additions in the convolutions and matrix products that PyTorch sees.

    Elementwise work is left out, and so is what a compiled kernel of ours does inside.
    """
    from torch.utils.flop_counter import FlopCounterMode  # not at the top: it takes memory, which is measured here

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # it sees only what its own thread does
    try:
        with FlopCounterMode(display=False) as counter:
            action()
    finally:
        torch.set_num_threads(threads)
    return counter.get_total_flops()


def direct_operations(network: str, batch: int) -> dict[str, int]:
    """Those of a step of training and of inference by the definitions, without any algorithm that saves some.

    Args:
        network: A size of CapsNet.
        batch: Images in the step.
    """
    with torch.device("meta"):
        model = NaiveCapsNet(IMAGE, CLASSES, **SIZES[network], gradient="full", votes="einsum")
        images, labels = torch.empty(batch, *IMAGE), torch.empty(batch, dtype=torch.int64)

    def infer() -> None:
        with torch.no_grad():
            model(images, labels)

    return {
        "train": operations(lambda: naive_loss(model(images, labels), images, labels).backward()),
        "infer": operations(infer),
    }


def compulsory_bytes(parameters: int, numbers: int, itemsize: int) -> dict[str, int]:
    """Bytes that any implementation has to read or write, by kind of step.

    Args:
        parameters: Weights of the network.
        numbers: What goes from stage to stage.
        itemsize: Bytes of a number.
    """
    # A weight is read forward and backward, its gradient written and read, weight and both averages of Adam read and
    # written: 10. What goes between stages is written, read, read again backward, its gradient written and read: 5.
    return {
        "train": (10 * parameters + 5 * numbers) * itemsize,
        "infer": (parameters + 2 * numbers) * itemsize,
    }


def floor(operations: int, moved: int, rates: Rates) -> float:
    """Seconds at least: operations and transport may overlap, so it is the longer of the two."""
    return max(operations / rates.matrix, moved / rates.copy)
