"""Learning-rate schedules: pure functions of the step, so that nothing needs to be saved to resume them."""

import math

from capsnet_dist.plugins import Schedule, schedules
from capsnet_dist.ranges import Count, Natural, Share, Shares
from capsnet_dist.registry import Choice


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


@schedules.register("geometric")
class Geometric:
    """Exponential decay to a share of the peak at the end, however long the training is.

    A training that is shorter than a paper's then falls as far as the paper's, and faster.

    Args:
        steps: Length of the training.
        final: Factor at the end; the default is the authors' of CapsNet: 0.96 every 2000 of 300,000 steps.
        floor: Smallest factor.
        stairs: Into how many equal parts the training is divided, each of one rate; 0: the rate falls at each step.
    """

    def __init__(self, steps: int, *, final: Share = 0.96**150, floor: Share = 0.0, stairs: Natural = 0) -> None:
        self.steps, self.final, self.floor, self.stairs = steps, final, floor, stairs

    def __call__(self, step: int) -> float:
        """Factor of the peak learning rate at a step."""
        share = step * self.stairs // self.steps / self.stairs if self.stairs else step / self.steps
        return max(self.floor, self.final**share)


@schedules.register("cosine")
class Cosine:
    """Half a period of the cosine (Loshchilov and Hutter, 2017, equation 5, without restarts).

    Args:
        steps: Length of the training.
        final: Factor at the end.
    """

    def __init__(self, steps: int, *, final: Share = 0.0) -> None:
        self.steps, self.final = steps, final

    def __call__(self, step: int) -> float:
        """Factor of the peak learning rate at a step."""
        return _falling(step / self.steps, self.final)


@schedules.register("stepwise")
class Stepwise:
    """A factor at each of some points of the training.

    Args:
        steps: Length of the training.
        decay: Factor at each point.
        at: The points, as shares of the training; the defaults are epochs 150 and 250 of 350 (Hahn et al., 2019).
    """

    def __init__(self, steps: int, *, decay: Share = 0.1, at: Shares = (150 / 350, 250 / 350)) -> None:
        self.decay, self.points = decay, [round(share * steps) for share in at]

    def __call__(self, step: int) -> float:
        """Factor of the peak learning rate at a step."""
        return self.decay ** sum(step >= point for point in self.points)


@schedules.register("one_cycle")
class OneCycle:
    """Up to the peak and down again, both along a cosine (Smith and Topin, 2018).

    Args:
        steps: Length of the training.
        rise: Share of the training in which the rate rises.
        first: Factor at the start.
        final: Factor at the end.
    """

    def __init__(self, steps: int, *, rise: Share = 0.1, first: Share = 0.04, final: Share = 4e-6) -> None:
        self.steps, self.top, self.first, self.final = steps, min(round(rise * steps), steps - 1), first, final

    def __call__(self, step: int) -> float:
        """Factor of the peak learning rate at a step."""
        if step < self.top:
            return _falling(1 - step / self.top, self.first)
        return _falling((step - self.top) / (self.steps - self.top), self.final)


@schedules.register("warmup")
class Warmup:
    """Rise linearly to the peak, then follow another schedule for the rest of the training.

    Args:
        steps: Length of the training.
        rise: Share of the training in which the rate rises; the last step is never part of it.
        then: The schedule after it.
    """

    def __init__(self, steps: int, *, rise: Share = 0.05, then: Choice[Schedule] = schedules("cosine")) -> None:
        self.rising = min(round(rise * steps), steps - 1)
        self.then = then.build(steps - self.rising)

    def __call__(self, step: int) -> float:
        """Factor of the peak learning rate at a step."""
        return (step + 1) / (self.rising + 1) if step < self.rising else self.then(step - self.rising)


def _falling(share: float, low: float) -> float:
    """From 1 to a lower number along half a period of the cosine, at a share of the way."""
    return low + (1 - low) * (1 + math.cos(math.pi * share)) / 2
