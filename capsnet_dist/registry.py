"""Named plugins whose keyword-only arguments are their options.

A plugin is an ordinary class or function. Its positional arguments are structure: they describe the tensors it will
see, and come from whoever builds it. Its keyword-only arguments are options, each with a default, set by the user.
"""

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from capsnet_dist.errors import UserError, did_you_mean
from capsnet_dist.origin import distribution, identity, is_ours, loaded, module_of, owner, telling
from capsnet_dist.ranges import require
from capsnet_dist.signature import Option, check_signature, options

T = TypeVar("T")
Plugin = TypeVar("Plugin", bound=Callable[..., Any])


registered: list[tuple[str, str]] = []
"""Kind and name of each plugin that is not of this package, in the order of their registration."""


@dataclass(frozen=True)
class Choice(Generic[T]):
    """A plugin and its options: plain data, parsed from the command line, saved with the weights."""

    registry: "Registry[T]" = field(repr=False, compare=False)
    """Where the plugin is looked up."""
    name: str
    """Its name there."""
    options: Mapping[str, Any] = field(hash=False)
    """The value of every option, those of defaults included."""

    def replace(self, **options: Any) -> "Choice[T]":
        """The same plugin with some options changed.

        Raises:
            UserError: an unknown option.
        """
        return self.registry(self.name, **{**self.options, **options})

    def build(self, *structure: Any) -> T:
        """Construct the plugin for tensors of the given structure.

        Raises:
            UserError: a number outside the range of its option, or whatever else the plugin refuses; or a plugin of
                another package or file raised an error, and where.

        >>> from capsnet_dist import routings
        >>> routings("dynamic", iterations=2).build(1152, 8, 10, 16)
        DynamicRouting(1152 x 8 -> 10 x 16, iterations=2)
        """
        with self.telling():
            return self.construct(*structure)

    def construct(self, *structure: Any) -> T:
        """As `build` does, but errors are left as the plugin raises them."""
        for key, option in self.registry.options(self.name).items():
            require(option.type, self.options[key], f"{self.registry.kind} {self.name!r}: {key}")
        return self.registry[self.name](*structure, **self.options)

    def telling(self) -> AbstractContextManager[None]:
        """Around what the plugin does: an error that it raises, unless it is ours, is told in one message."""
        return telling(self.registry[self.name], f"{self.registry.kind} {self.name!r}")


class Registry(Generic[T]):
    """All plugins of one kind, by name.

    Args:
        kind: What one plugin is called, in messages: "routing".
        structure: Names of the positional arguments that it is built from, in their order.
        builtin: Module whose import registers our own plugins; imported on first use.
        group: Entry-point group in which other packages offer theirs; each is loaded when it is named.
    """

    def __init__(self, kind: str, *, structure: Sequence[str], builtin: str, group: str) -> None:
        self.kind = kind
        self.structure = tuple(structure)
        self.group = group
        self._builtin = builtin
        self._plugins: dict[str, Callable[..., T]] = {}
        self._entry_points: dict[str, list[EntryPoint]] | None = None

    def register(self, name: str) -> Callable[[Plugin], Plugin]:
        """Decorate a class or function to make it available under `name`.

        Raises:
            UserError: the name is taken, the plugin takes more or fewer positional arguments than its kind is built
                from, or an option cannot be set or saved: without a type or a default, or of a type that is not plain.
        """
        if callable(name) or not name or name.startswith("-"):
            raise UserError(
                f'a {self.kind} is registered under a name, as in register("my_{self.kind}"); got {name!r}.'
            )

        def add(plugin: Plugin) -> Plugin:
            try:
                check_signature(plugin, self.kind, self.structure, Choice)
            except UserError as error:
                raise UserError(f"{self.kind} {name!r}: {error}") from error
            if name in self._plugins and identity(self._plugins[name]) != identity(plugin):
                raise self._claimed_twice(name, [owner(self._plugins[name]), owner(plugin)])
            self._plugins[name] = plugin
            if not is_ours(plugin):
                registered.append((self.kind, name))
            return plugin

        return add

    def __call__(self, name: str, **options: Any) -> Choice[T]:
        """Choose a plugin; options not given take their defaults: `routings("dynamic", iterations=2)`.

        Raises:
            UserError: an unknown plugin or option, with the nearest known one.
        """
        known = self.options(name)
        for option in options:
            if option not in known:
                raise UserError(f"{self.kind} {name!r} has no option {option!r}.{did_you_mean(option, known)}")
        return Choice(self, name, {key: options.get(key, option.default) for key, option in known.items()})

    def options(self, name: str) -> dict[str, Option]:
        """Type and default of each option of a plugin."""
        return options(self[name])

    def name_of(self, plugin: object) -> str:
        """The name that an object's class is registered under; that of the class where it is none of ours."""
        known = (name for name, own in self._plugins.items() if own is type(plugin))
        return next(known, type(plugin).__name__)

    def owner(self, name: str) -> str:
        """The package and version, or the file, that brings a plugin: `capsnet_dist 0.1.0`."""
        offers = self._offers().get(name, [])
        return distribution(offers[0]) if offers else owner(self[name])

    def module(self, name: str) -> str | None:
        """The module where a plugin was written; None of one that an installed package offers."""
        plugin = self[name]
        return None if self._offers().get(name) else module_of(plugin)

    def __getitem__(self, name: str) -> Callable[..., T]:
        """The class or function registered under a name, loaded from its package if need be.

        Raises:
            UserError: unknown, claimed by two packages, or its package fails to import.
        """
        offers = self._offers().get(name, [])
        own = self._plugins.get(name)
        if len(offers) + (own is not None and own not in map(loaded, offers)) > 1:
            raise self._claimed_twice(name, [owner(own)] * (own is not None) + [distribution(o) for o in offers])
        if own is not None:
            return own
        if not offers:
            raise UserError(f"Unknown {self.kind} {name!r}.{did_you_mean(name, self)}")
        return self._load(offers[0])

    def __contains__(self, name: object) -> bool:
        return name in self._offers() or name in self._plugins  # in this order: the first imports our own plugins

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._offers(), *self._plugins}))

    def _offers(self) -> dict[str, list[EntryPoint]]:
        """Import our own plugins, and read (not load) what installed packages offer."""
        if self._entry_points is None:
            self._entry_points = {}
            importlib.import_module(self._builtin)
            for offer in entry_points(group=self.group):
                self._entry_points.setdefault(offer.name, []).append(offer)
        return self._entry_points

    def _load(self, offer: EntryPoint) -> Callable[..., T]:
        try:
            plugin = offer.load()
        except Exception as error:
            message = f"{self.kind} {offer.name!r} comes from {distribution(offer)}, which failed to import: {error!r}"
            raise UserError(message) from error
        try:
            return self.register(offer.name)(plugin)
        except UserError as error:
            raise UserError(f"{error} It comes from {distribution(offer)}.") from error

    def _claimed_twice(self, name: str, owners: list[str]) -> UserError:
        return UserError(f"{self.kind} {name!r} is claimed by {' and by '.join(owners)}. Rename or uninstall one.")
