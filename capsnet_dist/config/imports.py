"""Plugins from files and modules, which their import registers."""

import hashlib
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from capsnet_dist.config.sources import Source, read_source
from capsnet_dist.errors import UserError
from capsnet_dist.files import expanded
from capsnet_dist.registry import registered

imported: dict[str, Source] = {}
"""The source of each file or module that was imported here, by the name of the module that it is: runs keep them."""


def import_plugins(source: str) -> ModuleType:
    """Import a Python file (`my_routing.py`) or a module (`my_package.routing`), which registers its plugins.

    The folders of runs that use them keep its source.

    Raises:
        UserError: there is no such file or module, or it fails to import.
    """
    before = len(registered)
    module = import_source(source)
    if (read := read_source(module)) is not None:
        known = imported.get(module.__name__, read).plugins
        imported[module.__name__] = read._replace(plugins=known | frozenset(registered[before:]))
    return module


def import_source(source: str) -> ModuleType:
    """Import a Python file or a module, and leave it at that.

    Raises:
        UserError: there is no such file or module, or it fails to import.
    """
    try:
        return _imported_file(source) if source.endswith(".py") else importlib.import_module(source)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{source} failed to import: {error!r}") from error


def _imported_file(source: str) -> ModuleType:
    file = expanded(source).resolve()
    name = f"{file.stem}_{hashlib.sha256(bytes(file)).hexdigest()[:8]}"  # two folders may have files of one name
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None or not file.is_file():
        raise UserError(f"{source}: there is no such file in {Path.cwd()}.")
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
