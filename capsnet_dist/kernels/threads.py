"""Work that threads share: each does whole items, from beginning to end, whose data stay in its caches."""

import itertools
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import lru_cache
from threading import Barrier
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Int

PIECES = 16
"""Enough for as many threads."""

TURNS = 4
"""Of each thread: one that is held up leaves its own to the others."""

WORKERS = 4
"""Threads that do items of PyTorch's operations; what is left of the cores is divided among them."""

Item = TypeVar("Item")

Pieces = Int[np.ndarray, "k 3"]
"""Some pieces of a range, of each its number, its first item and the one after its last."""


def share(work: Callable[[int, int], None], number: int) -> None:
    """Do a range of items that do not depend on each other, with one thread all at once.

    Args:
        work: What to do from an item to one that is left to others; it gives the interpreter's lock back while it
            works, and has no threads of its own.
        number: Items in the range.
    """
    bounds = _bounds(number, _turns(number))
    at_once(lambda part: work(*part), itertools.pairwise(bounds), torch.device("cpu"), most=PIECES)


def share_pieces(work: Callable[[Pieces], None], number: int) -> None:
    """Do all pieces of a range, which is always cut in the same way: no sum of a piece depends on the threads.

    Args:
        work: What to do with some pieces, of each its number, its first item and the one after its last.
        number: Items in the range.
    """
    bounds = _bounds(number, min(PIECES, number))
    pieces = np.stack([np.arange(len(bounds) - 1), bounds[:-1], bounds[1:]], axis=1)
    at_once(work, np.array_split(pieces, _turns(len(pieces))), torch.device("cpu"), most=PIECES)


def _turns(number: int) -> int:
    """Into how many parts threads share so many items."""
    threads = torch.get_num_threads()
    return 1 if threads == 1 else min(number, TURNS * threads, PIECES)


def _bounds(number: int, count: int) -> list[int]:
    return [number * n // count for n in range(count + 1)]


def at_once(
    work: Callable[[Item], object], items: Iterable[Item], device: torch.device, *, most: int = WORKERS
) -> None:
    """Do all items, without gradients; whoever is done with one takes the next. The longest should come first.

    PyTorch would share each of its operations among all threads, who would wait for one another after each, and read
    what others have written. Here they wait once, at the end. Work for a GPU is queued item by item.

    Args:
        work: What to do with an item. What large memory it needs is allocated before, or it is `scratch`.
        items: All of them.
        device: Where the work is done.
        most: How many may be done at the same time.
    """
    todo, threads = list(items), torch.get_num_threads()
    workers = min(threads, most, len(todo)) if device.type == "cpu" else 1
    inference = torch.is_inference_mode_enabled()  # each thread has modes of its own

    def do(item: Item) -> None:
        with torch.inference_mode(inference), torch.no_grad():
            work(item)

    if workers < 2:
        for item in todo:
            do(item)
    else:
        pool = _pool(os.getpid(), workers, threads // workers)
        running = [pool.submit(do, item) for item in todo]
        wait(running)  # all of them, before an error of one goes on
        for each in running:
            each.result()


@lru_cache(maxsize=8)
def _pool(process: int, workers: int, threads: int) -> ThreadPoolExecutor:
    """Threads that wait for work; a process that was forked has none of them, and makes its own."""
    before, started = torch.get_num_threads(), Barrier(workers)

    def start(_: int) -> None:
        torch.get_num_threads()  # else the first operation would set it, to what the main thread has
        torch.set_num_threads(threads)
        started.wait()  # so that each thread does this once

    pool = ThreadPoolExecutor(workers, thread_name_prefix="capsnet_dist")
    for _ in pool.map(start, range(workers)):
        pass
    torch.set_num_threads(before)  # for threads that start later
    return pool
