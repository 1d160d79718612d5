"""How fast, and with how much memory: ours against CapsNet as public implementations write it.

From Python: `save(bench(Options(rounds=5)), Path("bench"))`, which needs neither tyro nor matplotlib.
"""

from capsnet_dist.bench.command import bench
from capsnet_dist.bench.options import Options
from capsnet_dist.bench.report import save

__all__ = ["Options", "bench", "save"]
