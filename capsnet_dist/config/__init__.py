"""Configurations as JSON-ready data and as a command line."""

from capsnet_dist.config.imports import import_plugins
from capsnet_dist.config.values import check_ranges, entries, from_dict, is_nested, named, replace, to_dict

__all__ = ["check_ranges", "entries", "from_dict", "import_plugins", "is_nested", "named", "replace", "to_dict"]
