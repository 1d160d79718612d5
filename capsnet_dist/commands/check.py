"""`capsnet-dist check`: whether a plugin obeys the laws of its kind."""

import sys

from capsnet_dist.testing import run


def check(target: str, /, *, json: bool = False, imports: tuple[str, ...] = ()) -> None:
    """Check a plugin against the laws that all of its kind must obey; exit code 1 if it breaks one.

    Args:
        target: my_package.module:MyRouting, my_routing.py:MyRouting, or a registered name: dynamic, augmentation/hvc.
        json: Print JSON.
    """
    sys.exit(run(target, json))
