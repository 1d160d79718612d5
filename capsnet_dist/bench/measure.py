"""Measuring: time in turns, quartiles, ratios of rounds, the rates of the machine, power laws."""

import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch

SHORTEST = 0.05  # seconds: shorter actions are repeated, since one call of the clock or of a kernel would count


class Spread(NamedTuple):
    """Median and quartiles."""

    low: float
    """Lower quartile."""
    median: float
    """Median."""
    high: float
    """Upper quartile."""

    @staticmethod
    def of(values: Iterable[float]) -> "Spread":
        """Those of some values."""
        return Spread(*statistics.quantiles(values, n=4, method="inclusive"))


class Clock:
    """Time on a device: on a GPU its own, read when all is done, since the host runs ahead of it.

    Args:
        device: Where the work is done.
        single: Whether one thread of this process does it: time on a CPU is then that of its processor, and does not go
            on while others have it.
    """

    def __init__(self, device: torch.device, *, single: bool = False) -> None:
        self.device, self.single = device, single

    def now(self) -> Any:
        """A mark, which `seconds` reads."""
        if self.device.type != "cuda":
            return time.process_time() if self.single else time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.device))
        return event

    def seconds(self, start: Any, end: Any) -> float:
        """Time between two marks."""
        if self.device.type != "cuda":
            return end - start
        end.synchronize()
        return start.elapsed_time(end) / 1000

    def wait(self) -> None:
        """Let the device finish."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def alternate(timers: Mapping[str, Callable[[int], float]], rounds: int) -> dict[str, list[float]]:
    """Seconds that each action takes in each round; in a round all take their turn, so that all meet the same machine.

    Args:
        timers: By name, the seconds that an action takes on average, if it is repeated so often.
        rounds: How often.
    """
    repeats: dict[str, int] = {}
    for name, timer in timers.items():
        timer(1)  # compiles and fills caches
        repeats[name] = math.ceil(SHORTEST / max(timer(1), SHORTEST / 1000))
    found: dict[str, list[float]] = {name: [] for name in timers}
    for _ in range(rounds):
        for name, timer in timers.items():
            found[name].append(timer(repeats[name]))
    return found


def timed(clock: Clock, action: Callable[[], object], repeats: int) -> float:
    """Seconds that an action takes, on average."""
    clock.wait()
    start = clock.now()
    for _ in range(repeats):
        action()
    return clock.seconds(start, clock.now()) / repeats


def ratios(reference: Sequence[float], values: Sequence[float]) -> Spread:
    """How many times faster, round by round: what slows the machine slows both."""
    return Spread.of(slow / fast for slow, fast in zip(reference, values, strict=True))


class Rates(NamedTuple):
    """What the machine can do."""

    matrix: float
    """Operations a second in the product of two large matrices."""
    copy: float
    """Bytes a second read and written by a large copy."""


@torch.no_grad()
def measure_rates(clock: Clock, dtype: torch.dtype, rounds: int = 5) -> Rates:
    """The best of some rounds: a floor asks what is possible, not what is usual."""
    big = clock.device.type == "cuda"
    side, length = (8192, 2**28) if big else (2048, 2**26)  # far larger than caches, and done in a tenth of a second
    a, b = (torch.randn(side, side, device=clock.device, dtype=dtype) for _ in range(2))
    source = torch.ones(length, device=clock.device)
    target = torch.empty_like(source)
    product = torch.empty_like(a)
    actions = {"matrix": lambda: torch.mm(a, b, out=product), "copy": lambda: target.copy_(source)}
    timers = {name: partial(timed, clock, action) for name, action in actions.items()}
    best = {name: min(values) for name, values in alternate(timers, rounds).items()}
    return Rates(2 * side**3 / best["matrix"], 2 * length * source.itemsize / best["copy"])


class PowerLaw(NamedTuple):
    """y = factor x^exponent."""

    exponent: float
    """How it grows: doubling x multiplies y by 2^exponent."""
    error: float
    """Standard error of the exponent; not known from two points."""
    factor: float
    """y at x = 1."""


def fit_power_law(sizes: Sequence[int], values: Sequence[int] | Sequence[float]) -> PowerLaw | None:
    """Least squares on logarithms; None where fewer than two values are positive."""
    points = [(math.log(x), math.log(y)) for x, y in zip(sizes, values, strict=True) if y > 0]
    if len(points) < 2:
        return None
    logs, targets = zip(*points, strict=True)
    slope, intercept = statistics.linear_regression(logs, targets)
    left = sum((y - slope * x - intercept) ** 2 for x, y in points)
    middle = statistics.fmean(logs)
    spread = sum((x - middle) ** 2 for x in logs)
    error = math.sqrt(left / (len(points) - 2) / spread) if len(points) > 2 else math.nan
    return PowerLaw(slope, error, math.exp(intercept))
