"""Learning-rate schedules: pure functions of the step, so that nothing needs to be saved to resume them."""

from capsnet_dist.plugins import schedules
from capsnet_dist.ranges import Count, Share


@schedules.register("exponential")
class Exponential:
    """Smooth exponential decay.

    Args:
        steps: Length of the training.
        decay: Factor for every so many steps; 0.96 is the authors' value.
        every: How many steps; 2000 is the authors' value, at batch 128.
        floor: Smallest factor; 0.001 of their 0.001 is their lowest rate, 1e-6.
    """

    def __init__(self, steps: int, *, decay: Share = 0.96, every: Count = 2000, floor: Share = 0.001) -> None:
        self.decay, self.every, self.floor = decay, every, floor

    def __call__(self, step: int) -> float:
        """Factor of the peak learning rate at a step."""
        return max(self.floor, self.decay ** (step / self.every))


@schedules.register("constant")
class Constant:
    """The same rate throughout.

    Args:
        steps: Length of the training.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def __call__(self, step: int) -> float:
        """Factor of the peak learning rate at a step."""
        return 1.0
