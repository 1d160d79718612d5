"""Where in its own file a plugin was when an error was raised."""

import inspect
import os
import traceback
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch


class Place(NamedTuple):
    """A line of a file."""

    file: str
    line: int


def place_of(error: BaseException, plugin: Any) -> Place | None:
    """The innermost line of the plugin's own file that led to an error; of that of its nearest base class without.

    Args:
        error: With its traceback.
        plugin: A class, function or object.
    """
    frames = [
        (frame.f_code.co_filename, line)
        for cause in _causes(error)
        for frame, line in traceback.walk_tb(cause.__traceback__)
    ]
    for files in _files(plugin):
        lines = [Place(_short(file), line) for file, line in frames if file in files]
        if lines:
            return lines[-1]
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and what it was raised from."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _files(plugin: Any) -> Iterator[set[str]]:
    """The files that a plugin and, in their order, its base classes are written in; not PyTorch's own."""
    if inspect.isroutine(plugin):
        yield _written_in([plugin])
        return
    for base in (plugin if inspect.isclass(plugin) else type(plugin)).__mro__:
        if base is not torch.nn.Module:
            yield _written_in(vars(base).values())


def _written_in(functions: Any) -> set[str]:
    codes = [getattr(inspect.unwrap(function), "__code__", None) for function in functions if callable(function)]
    return {code.co_filename for code in codes if code is not None}


def _short(file: str) -> str:
    """A path from the working folder, where it lies below."""
    return os.path.relpath(file) if file.startswith(os.getcwd() + os.sep) else file
