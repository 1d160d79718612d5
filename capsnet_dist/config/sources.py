"""The source of plugins as it was imported: what a run keeps of them."""

import ast
import hashlib
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, cast

FOLDER = "plugins"
"""Where a run folder keeps them."""
OURS = "capsnet_dist"
MAX_BYTES = 5_000_000  # of one source: far more than a plugin and what it is made of


class Source(NamedTuple):
    """A file or a module that registers plugins, and the modules of its author that it imports."""

    entry: str
    """What is to be imported: a file by its name, or a module."""
    files: dict[str, bytes]
    """What they hold, by their paths from the folder where Python looks for them."""
    modules: frozenset[str] = frozenset()
    """Their names in this process."""
    plugins: frozenset[tuple[str, str]] = frozenset()
    """Kind and name of what its import has registered."""

    @property
    def hashes(self) -> dict[str, str]:
        """sha256 of each file."""
        return {name: hashlib.sha256(content).hexdigest() for name, content in self.files.items()}

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(map(len, self.files.values()))


def read_source(module: ModuleType) -> Source | None:
    """The source of a module that was imported; None where it has none that could be imported again, or is one of ours.

    That is what was typed, as in a notebook, or a program without a part that is only for itself,
    `if __name__ == "__main__"`, which would run once more.
    """
    file, name = file_of(module), module.__name__
    if file is None or not file.name.isprintable() or name.partition(".")[0] == OURS:
        return None
    if name == "__main__" and b"__name__" not in file.read_bytes():
        return None
    is_file = name.rpartition(".")[2] not in (file.stem, file.parent.name)  # it has its name from us
    own = [module] if is_file else _below(name.partition(".")[0])
    files = {file.name: file.read_bytes()} if is_file else _contents(own)
    modules = {found.__name__ for found in own}
    ahead = list(files.values())
    while ahead:
        for top in sorted(_imported(ahead.pop()) - {found.partition(".")[0] for found in modules}):
            more = _below(top) if _is_own(top) else []
            modules |= {found.__name__ for found in more}
            new = {path: content for path, content in _contents(more).items() if path not in files}
            files |= new
            ahead += new.values()
    return Source(file.name if is_file else name, files, frozenset(modules))


def file_of(module: ModuleType) -> Path | None:
    """The Python file of a module, if it has one that is still there."""
    name = getattr(module, "__file__", None)
    return Path(name) if isinstance(name, str) and name.endswith(".py") and Path(name).is_file() else None


def _below(top: str) -> list[ModuleType]:
    """What was imported of a package, or a module."""
    known = cast(Mapping[str, Any], dict(sys.modules))
    return [module for name, module in known.items() if f"{name}.".startswith(f"{top}.") and module is not None]


def _contents(modules: Iterable[ModuleType]) -> dict[str, bytes]:
    """The files of modules, by where their names look for them."""
    found: dict[str, bytes] = {}
    for module in modules:
        if (file := file_of(module)) is not None:
            end = "/__init__.py" if file.name == "__init__.py" else ".py"
            found[module.__name__.replace(".", "/") + end] = file.read_bytes()
    return found


def _imported(source: bytes) -> set[str]:
    """The first names of what a file imports, but not from its own package."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def _is_own(top: str) -> bool:
    """Whether a package is neither ours, nor Python's, nor installed: its source may be nowhere else."""
    if top == OURS or top in sys.stdlib_module_names:
        return False
    files = [file.resolve() for module in _below(top) if (file := file_of(module)) is not None]
    return bool(files) and not any(map(_is_installed, files))


def _is_installed(file: Path) -> bool:
    """Whether a file lies where packages are installed: for all, for a user, or below another interpreter's."""
    places = [Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")]
    return any(map(file.is_relative_to, places)) or bool({"site-packages", "dist-packages"} & {*file.parts})
