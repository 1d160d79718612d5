"""`capsnet-dist check`: whether a plugin obeys the laws of its kind."""

import sys
from typing import Any

from capsnet_dist.errors import UserError
from capsnet_dist.plugins import datasets
from capsnet_dist.registry import Choice
from capsnet_dist.testing import run


def check(target: str = "", /, *, data: Choice[Any], json: bool = False, imports: tuple[str, ...] = ()) -> None:
    """Check a plugin against the laws that all of its kind must obey; exit code 1 if it breaks one.

    Args:
        target: my_package.module:MyRouting, my_routing.py:MyRouting, or a registered name: dynamic, augmentation/hvc.
            Without one the data set is checked.
        data: Data set, with its options.
        json: Print JSON.

    Raises:
        UserError: there is no such plugin, or two are named.
    """
    if target in ("", data.name, f"dataset/{data.name}"):
        sys.exit(run(data, json))
    if data != datasets("digits"):  # what holds where none is named
        raise UserError(f"{target} and --data {data.name}: only one is checked at a time. Leave one of them out.")
    sys.exit(run(target, json))
