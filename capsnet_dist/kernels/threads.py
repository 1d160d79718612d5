"""Work that threads share: each does whole items, from beginning to end, whose data stay in its caches."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import lru_cache
from threading import Barrier
from typing import TypeVar

import torch

PIECES = 16
"""Enough for as many threads. A range is always cut in the same way, so that no sum depends on their number."""

WORKERS = 4
"""Threads that do items of PyTorch's operations; what is left of the cores is divided among them."""

Item = TypeVar("Item")


def share(work: Callable[[int, int, int], None], number: int) -> None:
    """Do all pieces of a range, each with its own number, its first item and the one after its last.

    Args:
        work: What to do; it gives the interpreter's lock back while it works, and has no threads of its own.
        number: Items in the range.
    """
    count = min(PIECES, number)
    bounds = [number * n // count for n in range(count + 1)]
    pieces = zip(range(count), bounds[:-1], bounds[1:], strict=True)
    at_once(lambda piece: work(*piece), pieces, torch.device("cpu"), most=PIECES)


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
