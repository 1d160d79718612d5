"""config.json: what a network is made of, written with its weights and read as strictly."""

import itertools
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch.nn.modules import module as modules

from capsnet_dist.config import choices, from_dict, to_dict
from capsnet_dist.config.kept import advice
from capsnet_dist.errors import UserError, did_you_mean
from capsnet_dist.files import MAX_JSON, read_json
from capsnet_dist.images.fit import MODES, POLICIES, Fit
from capsnet_dist.images.normalization import KINDS, Normalization
from capsnet_dist.plugins import REGISTRIES, Image, Model, augmentations, models
from capsnet_dist.registry import Choice
from capsnet_dist.text import to_json

FORMAT = 1
MAX_PARTS = 10_000  # modules and tensors: the largest published network has some hundred
DTYPES = {
    str(dtype).removeprefix("torch."): dtype for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64)
}


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
        raise UserError(f"{owner} must name its classes, in a tuple of strings; got {_brief(classes)}.")
    known: set[object] = set()
    for position, name in enumerate(classes):
        if not _is_word(name) or not name or name in known:
            raise UserError(
                f"{owner} calls its class number {position} {_brief(name)}: "
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
        with torch.device("meta"), _bounded():
            return assemble(plan).to(plan.dtype)
    except Exception as error:  # whatever the constructor of a plugin makes of its options
        reason = str(error) if isinstance(error, UserError) else repr(error)
        raise UserError(f"The network cannot be built: {reason:.2000}") from error


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


def read_plan(file: Path) -> Plan:
    """What a config.json asks for; imports nothing that the file names.

    Raises:
        UserError: it is no such file, lacks an entry, or asks for a plugin or an option that is not known here.
    """
    config = read_config(file)
    if missing := [name for name in ("model", "image", "classes") if name not in config]:
        raise UserError(f"{file} lacks {' and '.join(missing)}; it holds {', '.join(map(repr, config)):.500}.")
    image, classes, dtype = config["image"], config["classes"], config.get("dtype", "float32")
    match image:
        case [int(), int(), int()] if min(image) > 0 and bool not in map(type, image):
            pass
        case _:
            raise UserError(f"{file}: image must be channels, height and width; got {_brief(image)}.")
    if not isinstance(classes, list) or not classes or not all(map(_is_word, cast(list[Any], classes))):
        raise UserError(f"{file}: classes must be a list of printable names; got {_brief(classes)}.")
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise UserError(f"{file}: dtype {_brief(dtype)} is unknown.{did_you_mean(str(dtype)[:200], DTYPES)}")
    choice = _choose(config, file)
    shape = cast(Image, tuple(image))
    fit = _fit(config, shape, file) if "preprocessing" in config else None
    names, normalization = tuple(cast(list[str], classes)), _normalization(config, file)
    return Plan(choice, shape, names, DTYPES[dtype], config.get("weights"), fit, normalization)


def read_config(file: Path) -> dict[str, Any]:
    """The entries of a config.json.

    Raises:
        UserError: it cannot be read, is too large, or is of another format.
    """
    config = read_json(file)
    if not isinstance(config, dict) or cast(dict[str, Any], config).get("format") != FORMAT:
        raise UserError(f"{file} is not a configuration of format {FORMAT}.")
    return cast(dict[str, Any], config)


def _normalization(config: dict[str, Any], file: Path) -> Normalization:
    """What is done to pixels first, if config.json says it."""
    kind = config.get("normalization", "network")
    if kind not in (*KINDS, "network"):
        raise UserError(f"{file}: normalization must be one of {', '.join(KINDS)}; got {_brief(kind)}.")
    return cast(Normalization, kind)


def _fit(config: dict[str, Any], image: Image, file: Path) -> Fit:
    """How pictures become pixels, if config.json says it in full, and for images of the network's shape."""
    entry: Any = config["preprocessing"]
    kinds = {"size": int, "policy": str, "channels": int, "background": int}
    if isinstance(entry, dict) and {key: type(value) for key, value in cast(dict[str, Any], entry).items()} == kinds:
        fit = Fit(**cast(dict[str, Any], entry))
        is_known = fit.policy in POLICIES and fit.channels in MODES and 0 <= fit.background <= 255 and fit.size > 0
        if is_known and (fit.image == image or _cut(config, fit.image, file) == image):
            return fit
    raise UserError(
        f"{file}: preprocessing must be an object of size {image[1]}, policy {', '.join(POLICIES[:-1])} or "
        f"{POLICIES[-1]}, channels {image[0]} and background 0 to 255; got {_brief(entry)}."
    )


def _cut(config: dict[str, Any], image: Image, file: Path) -> Image:
    """What the augmentation of the training leaves of images for evaluation."""
    run = config.get("run")
    entry: Any = cast(dict[str, Any], run).get("augmentation") if isinstance(run, dict) else None
    if not isinstance(entry, dict) or not isinstance(name := cast(dict[str, Any], entry).get("name"), str):
        return image
    try:
        choice = from_dict(augmentations(name), cast(dict[str, Any], entry), "run.augmentation")
        shown = torch.empty((1, *image), dtype=torch.uint8, device="meta")  # takes no memory, whatever its size
        return cast(Image, tuple(choice.build().still(shown).shape[1:]))
    except (UserError, RecursionError) as error:
        raise UserError(f"{file}: {error!s:.2000}") from error


def _choose(config: dict[str, Any], file: Path) -> Choice[Model]:
    named = config["model"]
    if not isinstance(named, dict) or not isinstance(name := cast(dict[str, Any], named).get("name"), str):
        raise UserError(f"{file}: model must be an object with a name; got {_brief(named)}.")
    try:
        return from_dict(models(name), cast(dict[str, Any], named), "model")
    except (UserError, RecursionError) as error:
        raise UserError(f"{file}: {error!s:.2000}{_absent(config.get('plugins'))}{advice(config, file)}") from error


def _absent(owners: Any) -> str:
    """Which of the plugins that a network was saved with are not here, and what brings them."""
    kinds = {registry.kind: registry for registry in REGISTRIES}
    missing: list[str] = []
    for plugin, owner in cast(dict[str, Any], owners).items() if isinstance(owners, dict) else ():
        kind, _, name = plugin.partition(" ")
        if kind in kinds and name not in kinds[kind] and _is_word(plugin) and _is_word(owner):
            missing.append(f"{plugin} of {owner}")
    return f" It was saved with {', '.join(missing):.1000}: install or import that first." if missing else ""


def _is_word(value: object) -> bool:
    return isinstance(value, str) and value.isprintable()


def _brief(value: object) -> str:
    return f"{value!r:.200}"
