"""How fast, and with how much memory: ours against CapsNet as public implementations write it.

From Python: `bench(Options(rounds=5))` gives everything as plain data, and needs neither tyro nor matplotlib.
"""

from capsnet_dist.bench.command import bench
from capsnet_dist.bench.options import Options

__all__ = ["Options", "bench"]
