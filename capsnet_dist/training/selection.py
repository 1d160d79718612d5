"""Which weights a training keeps."""

import math
from collections.abc import Generator, Mapping
from contextlib import contextmanager

from torch import Tensor

from capsnet_dist.plugins import Model
from capsnet_dist.record.results import Evaluation


class Best:
    """The weights with the highest validation accuracy, the lowest loss among equals."""

    name = "last"
    """Which weights these are; the last ones until others are offered."""
    step = 0
    """After how many steps; 0 until some are offered."""

    def __init__(self) -> None:
        self.state: dict[str, Tensor] = {}
        self.rank = [-math.inf, -math.inf]

    def offer(self, name: str, step: int, model: Model, result: Evaluation) -> None:
        """Keep a copy of these weights if they are better."""
        rank = [result.accuracy, -result.loss if math.isfinite(result.loss) else -math.inf]
        if rank > self.rank:
            # Tensors, not a copied network: Accelerate has bound the forward of a prepared one to the original.
            self.set(name, step, rank, {name: tensor.clone() for name, tensor in model.state_dict().items()})

    def set(self, name: str, step: int, rank: list[float], state: dict[str, Tensor]) -> None:
        """Take these weights for the best."""
        self.name, self.step, self.rank, self.state = name, step, rank, state

    @contextmanager
    def in_place(self, candidates: Mapping[str, Model]) -> Generator[Model]:
        """The network that holds the best weights, for a while; then it has its own again."""
        model = candidates[self.name]
        own = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        try:
            yield self.restore(candidates)
        finally:
            model.load_state_dict(own)

    def restore(self, candidates: Mapping[str, Model]) -> Model:
        """The network that holds the best weights now."""
        model = candidates[self.name]
        if self.state:
            model.load_state_dict(self.state)
        return model
