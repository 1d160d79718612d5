"""What a step has freed serves the next one."""

import resource
import statistics

import pytest
import torch
from conftest import run_ranks

from capsnet_dist.memory import keep_freed_memory


def fresh_pages(keep):
    """Pages that the kernel had to clear for a block of 64 MiB that was freed and asked for again and again."""
    if keep and not keep_freed_memory():
        return None
    found = []
    for _ in range(20):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.zeros(2**24)
        found.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return statistics.median(found)


def test_a_large_block_is_cleared_by_the_kernel_only_once():
    if (kept := run_ranks(1, fresh_pages, True)) is None:
        pytest.skip("the C library is not glibc")
    assert kept < 100 < run_ranks(1, fresh_pages, False)
