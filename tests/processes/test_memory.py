"""What a step has freed serves the next one."""

import subprocess
import sys

import pytest

FRESH_PAGES = """
import resource, statistics, torch
from capsnet_dist.processes.memory import keep_freed_memory
kept = keep_freed_memory() if {keep} else None
found = []
for _ in range(20):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.zeros(2**24)
    found.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(kept, statistics.median(found))
"""


def fresh_pages(keep):
    """Pages that the kernel had to clear for a block of 64 MiB that was freed and asked for again and again.

    Counted in a process of its own: what glibc was told once, forked children of this process know as well.
    """
    command = [sys.executable, "-c", FRESH_PAGES.format(keep=keep)]
    kept, found = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    if kept == "False":
        pytest.skip("the C library is not glibc")
    return float(found)


def test_a_large_block_is_cleared_by_the_kernel_only_once():
    assert fresh_pages(keep=True) < 100 < fresh_pages(keep=False)
