"""Plugins whose source a run has kept: imported only where the user says so, and as they were kept."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, cast

from capsnet_dist.config.imports import imported
from capsnet_dist.config.memory import import_from_memory
from capsnet_dist.config.sources import FOLDER, MAX_BYTES, Source
from capsnet_dist.errors import UserError
from capsnet_dist.files import read_bytes, read_json
from capsnet_dist.registry import registered
from capsnet_dist.text import listed

KEPT = "kept"
"""What `--import` takes in the place of a file for the sources that a run has kept."""
MAX_FILES = 1_000  # of one source


class Copy(NamedTuple):
    """A source as config.json lists it."""

    entry: str
    """What is to be imported."""
    folder: str
    """Where Python looks for it, in the run folder."""
    hashes: Mapping[str, str]
    """sha256 of each file, by its path in there."""

    @property
    def paths(self) -> list[str]:
        """The files, by their paths in the run folder."""
        return [f"{self.folder}/{name}" for name in self.hashes]


def copies(config: Mapping[str, Any], file: Path) -> list[Copy]:
    """The sources that a configuration lists.

    Args:
        config: What stands in a config.json.
        file: Its name, for messages.

    Raises:
        UserError: it lists what cannot be in a run folder.
    """
    listed: Any = config.get("imports", [])
    if not isinstance(listed, list):
        _refuse(file, listed)
    return [_copy(entry, file) for entry in cast(list[Any], listed)]


def import_kept(config_file: Path, fetch: Callable[[str], object] | None = None) -> None:
    """Import the sources that a run has kept, but for those whose like was imported already.

    Args:
        config_file: Its config.json.
        fetch: Brings a file beside it, by its path in the run folder, where it is not there already.

    Raises:
        UserError: the run has kept none, one is not as it was kept, or fails to import.
    """
    config = read_json(config_file)
    found = copies(cast(dict[str, Any], config), config_file) if isinstance(config, dict) else []
    if not found:
        raise UserError(f"{config_file} lists no source of plugins that the run has kept: import your own.")
    for copy in found:
        if any(copy.hashes == source.hashes for source in imported.values()):
            continue
        if fetch is not None:
            for path in copy.paths:
                fetch(path)
        root = config_file.parent / copy.folder
        files = {name: _read(root / name, sha256) for name, sha256 in copy.hashes.items()}
        before = len(registered)
        source = Source(copy.entry, files)
        name = import_from_memory(source, root).__name__
        imported[name] = source._replace(modules=frozenset([name]), plugins=frozenset(registered[before:]))


def changed(config: Mapping[str, Any], file: Path) -> list[str]:
    """The kept files of a run, by their paths there, of whose names others alone were imported here."""
    here = {(name, sha256) for source in imported.values() for name, sha256 in source.hashes.items()}
    names = {name for name, _ in here}
    return [
        f"{copy.folder}/{name}"
        for copy in copies(config, file)
        for name, sha256 in copy.hashes.items()
        if name in names and (name, sha256) not in here
    ]


def advice(config: Mapping[str, Any], file: Path) -> str:
    """What to do where a plugin of a run is not here, and the run has kept sources of plugins; else nothing."""
    found = [str(file.parent / path) for copy in copies(config, file) for path in copy.paths]
    if not found:
        return ""
    ways = f"--import {KEPT}, or in Python load(…, imports=True)"
    return f" The run has kept {listed(found)}: read what it does, then {ways}, uses it."


def _read(file: Path, sha256: str) -> bytes:
    content = read_bytes(file, MAX_BYTES)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise UserError(
            f"{file} is not as the run has kept it: its checksum is another one. Copy it again, or import your own."
        )
    return content


def _copy(entry: Any, file: Path) -> Copy:
    """A source as config.json lists it, whose files are all in its folder."""
    match entry:
        case {"import": str(name), "folder": str(folder), "files": dict(found)}:
            hashes = cast(dict[str, Any], found)
        case _:
            _refuse(file, entry)
    first, _, number = folder.partition("/")
    module = name.replace(".", "/")
    names = {name} if name.endswith(".py") else {f"{module}.py", f"{module}/__init__.py"}
    is_placed = first == FOLDER and (number.isdecimal() or folder == FOLDER) and 0 < len(hashes) <= MAX_FILES
    if not is_placed or not names & hashes.keys() or not all(map(_is_inside, hashes)):
        _refuse(file, entry)
    if not all(isinstance(sha, str) for sha in hashes.values()):
        _refuse(file, entry)
    return Copy(name, folder, hashes)


def _is_inside(name: str) -> bool:
    """Whether a path leads to a Python file in the folder that it starts from."""
    parts = name.split("/")
    return name.endswith(".py") and name.isprintable() and "\\" not in name and not {"", ".", ".."} & {*parts}


def _refuse(file: Path, entry: object) -> NoReturn:
    raise UserError(f"{file}: imports must list sources in {FOLDER}/, each with its files; got {entry!r:.200}.")
