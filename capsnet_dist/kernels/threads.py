"""Work on a range of parts or samples, in pieces that threads share."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

PIECES = 16
"""Enough for as many threads. A range is always cut in the same way, so that no sum depends on their number."""


def share(work: Callable[[int, int, int], None], number: int) -> None:
    """Do all pieces of a range, each with its own number, its first item and the one after its last.

    Args:
        work: What to do; it gives the interpreter's lock back while it works.
        number: Items in the range.
    """
    count = min(PIECES, number)
    bounds = [number * n // count for n in range(count + 1)]
    pieces = list(zip(range(count), bounds[:-1], bounds[1:], strict=True))
    threads = min(torch.get_num_threads(), count)
    if threads == 1:
        for piece in pieces:
            work(*piece)
        return
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(lambda piece: work(*piece), pieces):
            pass
