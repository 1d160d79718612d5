"""Where a plugin comes from: its module, its package or file, and the line of it that raised an error."""

import functools
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint, PackageNotFoundError, version
from typing import Any, NamedTuple

import torch

from capsnet_dist.errors import UserError


def identity(plugin: Callable[..., Any]) -> tuple[str, ...]:
    """Where a plugin was written: a notebook cell that is run again registers the same one anew."""
    if isinstance(plugin, functools.partial):
        return "partial", *identity(plugin.func)
    return plugin.__module__, plugin.__qualname__


def loaded(offer: EntryPoint) -> object:
    """What an entry point stands for, if its module has been imported already."""
    value: Any = sys.modules.get(offer.module)
    for attribute in offer.attr.split("."):
        value = getattr(value, attribute, None)
    return value


def is_ours(plugin: Callable[..., Any]) -> bool:
    """Whether a plugin comes with this package."""
    return module_of(plugin).partition(".")[0] == __package__


def owner(plugin: Callable[..., Any] | None) -> str:
    """The package and version, or the file, that brings a plugin."""
    module = module_of(plugin)
    package = module.partition(".")[0]
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return str(getattr(sys.modules.get(module), "__file__", module))


def distribution(offer: EntryPoint) -> str:
    """The package and version that offers a plugin."""
    return f"{offer.dist.name} {offer.dist.version}" if offer.dist else offer.value


def module_of(plugin: Callable[..., Any] | None) -> str:
    """The name of the module that a plugin is written in."""
    if isinstance(plugin, functools.partial):
        return module_of(plugin.func)
    return str(getattr(plugin, "__module__", "?"))


@contextmanager
def telling(plugin: Callable[..., Any], name: str) -> Generator[None]:
    """Tell an error that a plugin raises in one message, with file and line; one of ours is a bug, and left as it is.

    Args:
        plugin: What is at work.
        name: What messages call it.

    Raises:
        UserError: the plugin raised an error.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if is_ours(plugin):
            raise
        place = place_of(error, plugin)
        where = f"{place.file}:{place.line}: " if place else ""
        raise UserError(f"{name}: {where}{raised(error)}") from error


def raised(error: BaseException, most: int = 300) -> str:
    """What was raised, in a line."""
    text = " ".join(str(error).split())
    return f"it raised {type(error).__name__}: {text if len(text) <= most else text[:most] + '…'}"


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
    if isinstance(plugin, functools.partial):
        plugin = plugin.func
    if inspect.isroutine(plugin):
        yield _code_files([plugin])
        return
    for base in (plugin if inspect.isclass(plugin) else type(plugin)).__mro__:
        if base is not torch.nn.Module:
            yield _code_files(vars(base).values())


def _code_files(functions: Any) -> set[str]:
    codes = [getattr(inspect.unwrap(function), "__code__", None) for function in functions if callable(function)]
    return {code.co_filename for code in codes if code is not None}


def _short(file: str) -> str:
    """A path from the working folder, where it lies below."""
    return os.path.relpath(file) if file.startswith(os.getcwd() + os.sep) else file
