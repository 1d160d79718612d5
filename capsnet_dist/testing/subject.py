"""A plugin under test, and the tensors to try it on."""

import functools
import inspect
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from inspect import Parameter
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from capsnet_dist.config import from_dict, to_dict
from capsnet_dist.files import expanded
from capsnet_dist.ranges import require as require_range
from capsnet_dist.registry import Choice, Registry
from capsnet_dist.signature import option_types
from capsnet_dist.testing.law import Skipped, require

Inputs = dict[str, Tensor]
Target = Callable[..., Any] | Choice[Any]
"""A class, a factory, or a registered plugin with its options."""


class Subject(ABC):
    """A plugin under test.

    Args:
        target: What to test.

    Attributes:
        made: What was built last, or the target.
    """

    registry: ClassVar[Registry[Any]]
    batched: ClassVar[frozenset[str]]
    """Inputs with an axis of samples."""

    def __init__(self, target: Target) -> None:
        self.choice: Choice[Any] | None = target if isinstance(target, Choice) else None
        self.plugin = target.registry[target.name] if isinstance(target, Choice) else target
        self.made: Any = self.plugin
        whole = self.plugin.func if isinstance(self.plugin, functools.partial) else self.plugin
        self.name: str = self.choice.name if self.choice else getattr(whole, "__name__", repr(whole))

    @abstractmethod
    def wrap(self, **options: Any) -> nn.Module:
        """A new one, as a module that takes the inputs, in their order, and gives a tuple of tensors."""

    @abstractmethod
    def inputs(self, batch: int = 3, *, dtype: torch.dtype = torch.float64, seed: int = 0) -> Inputs:
        """Random inputs by name."""

    def must_reach(self, probe: nn.Module) -> Iterable[str]:
        """Inputs that a gradient must reach."""
        return ("poses",)

    def construct(self, *structure: Any, **options: Any) -> Any:
        """Build the plugin, as a choice does: options outside the range of their type are refused."""
        if self.choice:
            self.made = self.choice.replace(**options).construct(*structure)
            return self.made
        types = option_types(self.plugin) if options else {}
        for name, value in options.items():
            require_range(types.get(name), value, name)
        self.made = self.plugin(*structure, **options)
        return self.made

    def probe(
        self, *, seed: int = 0, dtype: torch.dtype = torch.float64, stirred: bool = True, **options: Any
    ) -> nn.Module:
        """A new one in evaluation mode; stirred, since parameters that start at zero hide mistakes."""
        torch.default_generator.manual_seed(seed)
        return stir(self.wrap(**options).to(dtype).eval()) if stirred else self.wrap(**options).to(dtype).eval()

    def options(self) -> dict[str, Any]:
        """Name and default of each option."""
        parameters = inspect.signature(self.plugin).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}

    def round_trip(self) -> None:
        """Write the options as JSON and read them again.

        Raises:
            UserError: an option has no type or no default, or its default is not of its type.
        """
        kinds = {parameter.kind for parameter in inspect.signature(self.plugin).parameters.values()}
        whole = inspect.isclass(self.plugin) or (
            inspect.isfunction(self.plugin) and Parameter.VAR_POSITIONAL not in kinds
        )
        if not whole:
            raise Skipped("a factory has no options of its own; check the class")
        registry = Registry[Any](self.registry.kind, structure=self.registry.structure, builtin=__name__, group="")
        registry.register(self.name)(self.plugin)
        choice = registry(self.name, **(self.choice.options if self.choice else {}))
        again = from_dict(registry(self.name), json.loads(json.dumps(to_dict(choice))))
        given = {
            key: expanded(str(value)) if isinstance(value, Path) else value for key, value in choice.options.items()
        }
        require(again.options == given, f"{choice.options} came back from JSON as {again.options}")
        self.construct(*self.structure(), **again.options)

    def structure(self) -> tuple[Any, ...]:
        """Positional arguments to build it with."""
        return ()


def stir(module: nn.Module) -> nn.Module:
    """Move every parameter a little from where it starts."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module
