"""Plugins from files and modules, which their import registers."""

import hashlib
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from capsnet_dist.errors import UserError
from capsnet_dist.files import expanded


def import_plugins(source: str) -> ModuleType:
    """Import a Python file (`my_routing.py`) or a module (`my_package.routing`), which registers its plugins.

    Raises:
        UserError: there is no such file or module, or it fails to import.
    """
    try:
        if not source.endswith(".py"):
            return importlib.import_module(source)
        file = expanded(source).resolve()
        name = f"{file.stem}_{hashlib.sha256(bytes(file)).hexdigest()[:8]}"  # two folders may have files of one name
        spec = importlib.util.spec_from_file_location(name, file)
        if spec is None or spec.loader is None or not file.is_file():
            raise UserError(f"{source}: there is no such file in {Path.cwd()}.")
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{source} failed to import: {error!r}") from error
