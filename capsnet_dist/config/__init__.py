"""Configurations as JSON-ready data and as a command line."""

from capsnet_dist.config.imports import import_plugins
from capsnet_dist.config.kept import KEPT, import_kept
from capsnet_dist.config.values import check_ranges, choices, entries, from_dict, is_nested, named, replace, to_dict

__all__ = [
    "KEPT",
    "check_ranges",
    "choices",
    "entries",
    "from_dict",
    "import_kept",
    "import_plugins",
    "is_nested",
    "named",
    "replace",
    "to_dict",
]
