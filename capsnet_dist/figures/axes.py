"""Axes that are easy to read."""

from typing import Any


def number_plainly(axis: Any) -> None:
    """Numbers of a logarithmic axis as 0.2 and not as a product with a power, for which a formula would be set."""
    from matplotlib.ticker import LogFormatter

    class Plain(LogFormatter):
        def __call__(self, x: float, pos: int | None = None) -> str:
            return f"{x:g}" if super().__call__(x, pos) else ""

    axis.set_major_formatter(Plain())
    axis.set_minor_formatter(Plain())
