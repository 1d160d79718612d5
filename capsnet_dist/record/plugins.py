"""The source of the plugins of a run, which its folder keeps: who has the folder has them."""

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from capsnet_dist import config
from capsnet_dist.config.imports import imported
from capsnet_dist.config.sources import FOLDER, MAX_BYTES, OURS, Source, read_source
from capsnet_dist.run import Run
from capsnet_dist.screen.progress import say


class Kept(NamedTuple):
    """What a run folder keeps of plugins."""

    entries: list[dict[str, Any]]
    """What config.json lists: for each source what is to be imported, where it is, and the sha256 of its files."""
    files: dict[str, bytes]
    """Their contents, by their paths in the run folder."""

    @property
    def hashes(self) -> dict[str, str]:
        """sha256 of each file, by its path in the run folder."""
        return {f"{e['folder']}/{name}": sha256 for e in self.entries for name, sha256 in e["files"].items()}


def kept(run: Run) -> Kept:
    """The sources that the folder of a run keeps: in `plugins`, or in a folder there where a name stands twice."""
    found = Kept([], {})
    for number, source in enumerate(_sources(run)):
        files = {f"{FOLDER}/{name}": content for name, content in source.files.items()}
        folder = FOLDER
        if any(found.files.get(path, content) != content for path, content in files.items()):
            folder = f"{FOLDER}/{number}"
            files = {f"{folder}/{name}": content for name, content in source.files.items()}
        found.entries.append({"import": source.entry, "folder": folder, "files": source.hashes})
        found.files.update(files)
    return found


def _sources(run: Run) -> Sequence[Source]:
    """Of the plugins that the run uses, what was imported for them, or else their modules if no package offers them."""
    used = {(choice.registry.kind, choice.name): choice.registry.module(choice.name) for choice in config.choices(run)}
    modules = {name for name in used.values() if name}
    found = {key: held for key, held in imported.items() if held.plugins & used.keys() or held.modules & modules}
    for (kind, plugin), name in used.items():
        known = {module for source in found.values() for module in source.modules} | found.keys()
        if name is None or name in known or name.partition(".")[0] == OURS:
            continue
        module = sys.modules.get(name)
        source = None if module is None else read_source(module)
        if source is None:
            what = f"{kind} {plugin}"
            say(f"Warning: {what} is in no file that others could import: its source is not kept. Give it a file.")
        else:
            found[name] = source
    large = [source for source in found.values() if source.size > MAX_BYTES]
    for source in large:
        say(f"Warning: the source of {source.entry} has {source.size:,} bytes, and is not kept.")
    return [source for source in found.values() if source not in large]
