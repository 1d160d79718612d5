"""Recipes as files: the run that each describes, and the published result that it repeats."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from capsnet_dist.config.imports import import_source
from capsnet_dist.errors import UserError, did_you_mean
from capsnet_dist.files import shipped
from capsnet_dist.reference import Reference
from capsnet_dist.run import Run


class Recipe(NamedTuple):
    """An experiment of a paper."""

    name: str
    """That of its file."""
    run: Run
    """Its settings; the epochs are the paper's."""
    reference: Reference
    """What the paper reports."""

    def shortened(self, epochs: int | None, root: Path | None) -> Run:
        """The run with other epochs, and its data in another folder; None leaves them."""
        run = self.run if epochs is None else replace(self.run, epochs=epochs)
        if root is None or "root" not in run.data.options:
            return run
        return replace(run, data=run.data.replace(root=root))


def file_of(word: str) -> Path:
    """The file of a recipe that is given as a file, or by its name.

    Raises:
        UserError: no recipe has that name.
    """
    if word.endswith(".py"):
        return Path(word)
    own = {file.stem: file for file in sorted(shipped("recipes").glob("*.py"))}
    if word not in own:
        raise UserError(f"Unknown recipe {word!r}.{did_you_mean(word, own)} Or give a file that ends with .py.")
    return own[word]


def described(file: Path) -> tuple[Run, Reference | None]:
    """The run in a file, and the published result beside it if it repeats one.

    Raises:
        UserError: the file is not there, fails to import, or describes no run.
    """
    module = import_source(str(file))
    run, reference = getattr(module, "run", None), getattr(module, "reference", None)
    if not isinstance(run, Run):
        raise UserError(f"{file} is no recipe: it must have `run = Run(...)` at module level.")
    return run, reference if isinstance(reference, Reference) else None


def named(words: Sequence[str]) -> list[Recipe]:
    """Recipes by their files.

    Raises:
        UserError: one is not there, or names no published result.
    """
    found: list[Recipe] = []
    for word in dict.fromkeys(words):
        run, reference = described(file := file_of(word))
        if reference is None:
            raise UserError(f"{word} names no published result: it needs `reference = Reference(...)` beside its run.")
        found.append(Recipe(file.stem, run, reference))
    return found


def all_in(folder: Path) -> list[Recipe]:
    """The recipes of a folder that repeat a paper, by name."""
    found = [(file.stem, *described(file)) for file in sorted(folder.glob("*.py"))]
    return [Recipe(name, run, reference) for name, run, reference in found if reference is not None]
