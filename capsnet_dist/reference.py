"""What a paper reports, beside the recipe that repeats its experiment."""

from dataclasses import dataclass
from typing import Literal

Unit = Literal["test error, %", "test accuracy, %"]


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A published result."""

    source: str
    """Who reports it, and when: "Sabour et al. (2017)"."""
    table: str
    """Where in that work."""
    value: float | None
    """The number, in its unit; None where nobody has published one for this network on these data."""
    spread: float | None = None
    """Its standard deviation over trials, where the work gives one."""
    unit: Unit = "test error, %"
    """What is counted."""
    parameters: int | None = None
    """Parameters of the network as published; rounded as it is there."""

    def measured(self, accuracy: float) -> float:
        """An accuracy in [0, 1], in the unit of the published number."""
        return 100 * accuracy if self.unit == "test accuracy, %" else 100 - 100 * accuracy
