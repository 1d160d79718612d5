"""What a network is made of: what config.json says of it, and the network that is built from that."""

import itertools
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.modules import module as modules
from torch.overrides import TorchFunctionMode

from capsnet_dist.config import choices, to_dict
from capsnet_dist.errors import UserError
from capsnet_dist.files import MAX_JSON
from capsnet_dist.images.fit import Fit
from capsnet_dist.images.normalization import Normalization
from capsnet_dist.plugins import Image, Model
from capsnet_dist.registry import Choice
from capsnet_dist.text import to_json

FORMAT = 1
FILLS = frozenset(
    {
        *(getattr(Tensor, name) for name in ("normal_", "uniform_", "random_", "exponential_", "bernoulli_")),
        *(getattr(nn.init, name) for name in ("normal_", "uniform_", "trunc_normal_", "orthogonal_", "sparse_")),
        *(getattr(nn.init, f"{name}_{kind}_") for name in ("xavier", "kaiming") for kind in ("normal", "uniform")),
    }
)
"""What gives new weights random numbers."""

MAX_PARTS = 10_000  # modules and tensors: the largest published network has some hundred


class Plan(NamedTuple):
    """What config.json asks for."""

    choice: Choice[Model]
    image: Image
    classes: tuple[str, ...]
    dtype: torch.dtype
    """Type of the floating point weights."""
    weights: str | None
    """Checksum of the weights saved with it; None before there are any."""
    fit: Fit | None = None
    """How pictures become pixels; None in a file that does not say."""
    normalization: Normalization = "network"
    """What is done to pixels first; "network" in a file that does not say."""


def class_names(classes: Sequence[object], owner: str) -> tuple[str, ...]:
    """The names of classes, as config.json, tables and pictures can hold them.

    Args:
        classes: One for each class.
        owner: Who gives them.

    Raises:
        UserError: one is no string, does not show, or stands twice.
    """
    if isinstance(classes, str) or not len(classes):
        raise UserError(f"{owner} must name its classes, in a tuple of strings; got {brief(classes)}.")
    known: set[object] = set()
    for position, name in enumerate(classes):
        if not is_word(name) or not name or name in known:
            raise UserError(
                f"{owner} calls its class number {position} {brief(name)}: "
                "a name must be a string of printable characters that no other class has."
            )
        known.add(name)
    return tuple(cast(Sequence[str], classes))


def describe(model: Model, choice: Choice[Model], fit: Fit | None) -> dict[str, Any]:
    """What config.json says of a network: enough to build it again, and to give it pictures.

    Args:
        model: The network.
        choice: What it was built from.
        fit: How pictures become pixels, where that is known.

    Raises:
        UserError: the classes have names that cannot be saved.
    """
    preprocessing = {} if fit is None else {"preprocessing": fit._asdict()}
    return {
        "format": FORMAT,
        "model": to_dict(choice),
        "image": list(model.image),
        "classes": list(class_names(model.classes, "The network")),
        "plugins": {f"{c.registry.kind} {c.name}": c.registry.owner(c.name) for c in choices(choice)},
        "normalization": model.normalization,
    } | preprocessing


def config_json(described: Mapping[str, Any]) -> str:
    """The text of a config.json that can be read again.

    Raises:
        UserError: it is longer than what is read.
    """
    text = to_json(described, indent=2) + "\n"
    if len(text) > MAX_JSON:
        raise UserError(f"config.json would have {len(text):,} bytes, more than {MAX_JSON:,}: shorten the class names.")
    return text


def build(
    choice: Choice[Model],
    image: Image,
    classes: tuple[str, ...],
    fit: Fit | None = None,
    normalization: Normalization = "network",
) -> Model:
    """A new network with random weights, which knows the names of its classes, and how pictures become its images.

    Args:
        choice: The network and its options.
        image: Channels, height and width of its images.
        classes: Name of each class.
        fit: How pictures become pixels, if they do.
        normalization: What is done to pixels first; "channels" leaves them as they are until training images are
            measured, or weights loaded.

    Raises:
        UserError: the classes have names that cannot be saved.
    """
    return assemble(Plan(choice, image, class_names(classes, "A network"), torch.float32, None, fit, normalization))


def assemble(plan: Plan) -> Model:
    """The network of a plan with random weights, whatever its classes are called."""
    model = plan.choice.build(plan.image, len(plan.classes))
    model.classes, model.choice, model.fit = plan.classes, plan.choice, plan.fit
    if plan.normalization != "network":
        model.normalize_pixels(plan.normalization)
    return model


def draft(plan: Plan) -> Model:
    """The network without memory for its weights, so that sizes can be compared before any is taken.

    Raises:
        UserError: no network can be built from these options.
    """
    try:
        with torch.device("meta"), _bounded(), _Unfilled():
            return assemble(plan).to(plan.dtype)
    except Exception as error:  # whatever the constructor of a plugin makes of its options
        reason = str(error) if isinstance(error, UserError) else repr(error)
        raise UserError(f"The network cannot be built: {reason:.2000}") from error


class _Unfilled(TorchFunctionMode):
    """Leaves new weights as they are: to fill one that has no memory, PyTorch first loads its compiler, for seconds."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """What the function gives, or, unchanged, the tensor that it would fill."""
        named = kwargs or {}
        return next(iter((*args, *named.values()))) if func in FILLS else func(*args, **named)


@contextmanager
def _bounded() -> Generator[None]:
    """Refuse a network of too many parts while it is being built: even without weights each takes memory and time."""
    parts = itertools.count(1)

    def count(*_: object) -> None:
        if next(parts) > MAX_PARTS:
            raise UserError(f"It would have more than {MAX_PARTS:,} parts.")

    hooks = (
        modules.register_module_module_registration_hook(count),
        modules.register_module_parameter_registration_hook(count),
    )
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def is_word(value: object) -> bool:
    """Whether it is a string that shows as it is."""
    return isinstance(value, str) and value.isprintable()


def brief(value: object) -> str:
    """A value as messages show it."""
    return f"{value!r:.200}"
