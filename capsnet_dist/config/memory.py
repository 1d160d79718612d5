"""Modules from memory: Python runs what was read and verified, whatever lies on the disk."""

import importlib
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder, SourceLoader
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

from typing_extensions import override

from capsnet_dist.config.sources import Source, file_of
from capsnet_dist.errors import UserError


def import_from_memory(source: Source, root: Path) -> ModuleType:
    """Import a source.

    Args:
        source: What its files hold.
        root: The folder that they were read from, for messages and tracebacks.

    Raises:
        UserError: it fails to import, or a module of the same name that holds something else was imported before.
    """
    _refuse_namesakes(source, root)
    try:
        with _found(_Finder(source, root)):
            if not source.entry.endswith(".py"):
                return importlib.import_module(source.entry)
            path = root / source.entry
            name = f"{path.stem}_{source.hashes[source.entry][:8]}"
            spec = spec_from_loader(name, _Loader(path, source.files[source.entry]))
            assert spec is not None and spec.loader is not None
            sys.modules[name] = module = module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{root / source.entry}, which the run has kept, failed to import: {error!r}") from error


class _Loader(SourceLoader):
    """Gives Python what was read and verified, and no bytecode that lies beside it."""

    def __init__(self, path: Path, content: bytes) -> None:
        self.path, self.content = str(path), content

    @override
    def get_filename(self, fullname: str) -> str:
        return self.path

    @override
    def get_data(self, path: str) -> bytes:
        if path != self.path:
            raise FileNotFoundError(path)
        return self.content


class _Finder(MetaPathFinder):
    """Finds the modules of a source."""

    def __init__(self, source: Source, root: Path) -> None:
        self.source, self.root = source, root

    @override
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        place = fullname.replace(".", "/")
        for name, is_package in ((f"{place}/__init__.py", True), (f"{place}.py", False)):
            if name in self.source.files:
                loader = _Loader(self.root / name, self.source.files[name])
                return spec_from_loader(fullname, loader, is_package=is_package)
        if any(name.startswith(f"{place}/") for name in self.source.files):
            return ModuleSpec(fullname, None, is_package=True)
        return None


@contextmanager
def _found(finder: MetaPathFinder) -> Generator[None]:
    """Let imports look here first for a while."""
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


def _refuse_namesakes(source: Source, root: Path) -> None:
    """Refuse a source of whose modules Python has others: it would silently run with these.

    Raises:
        UserError: with the file of the other one.
    """
    for path, content in source.files.items():
        name = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        module = sys.modules.get(name)
        if module is not None and path != source.entry and _content(module) != content:
            other = getattr(module, "__file__", None) or "elsewhere"
            raise UserError(
                f"{root / path}, which the run has kept, cannot be used: another module {name!r} was imported from "
                f"{other}. Start Python anew, and import this first."
            )


def _content(module: ModuleType) -> bytes | None:
    """What a module was made from, as far as that is known."""
    loader = getattr(module, "__loader__", None)
    if isinstance(loader, _Loader):
        return loader.content
    file = file_of(module)
    return None if file is None else file.read_bytes()
