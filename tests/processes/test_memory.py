"""What a step has freed serves the next one."""

import subprocess
import sys

import pytest

FRESH_PAGES = """
import resource, statistics, torch
from capsnet_dist.processes.memory import keep_freed_memory

def fresh_pages():
    found = []
    for _ in range(20):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.zeros(2**24)
        found.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return statistics.median(found)

print(fresh_pages(), keep_freed_memory(), fresh_pages())
"""
"""Pages that the kernel had to clear for a block of 64 MiB that was freed and asked for again and again."""


def test_a_large_block_is_cleared_by_the_kernel_only_once():
    """In a process of its own: what glibc was told once, forked children of this process know as well."""
    command = [sys.executable, "-c", FRESH_PAGES]
    before, kept, after = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    if kept == "False":
        pytest.skip("the C library is not glibc")
    assert float(after) < 100 < float(before)
