"""config.json, read as strictly as it is written; nothing that it names is imported."""

from pathlib import Path
from typing import Any, cast

import torch

from capsnet_dist.config import from_dict
from capsnet_dist.config.kept import advice
from capsnet_dist.errors import UserError, did_you_mean
from capsnet_dist.files import read_json
from capsnet_dist.images.fit import MODES, POLICIES, Fit
from capsnet_dist.images.normalization import KINDS, Normalization
from capsnet_dist.plugins import REGISTRIES, Image, Model, augmentations, models
from capsnet_dist.registry import Choice
from capsnet_dist.saved.plan import FORMAT, Plan, brief, is_word

DTYPES = {
    str(dtype).removeprefix("torch."): dtype for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64)
}


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
            raise UserError(f"{file}: image must be channels, height and width; got {brief(image)}.")
    if not isinstance(classes, list) or not classes or not all(map(is_word, cast(list[Any], classes))):
        raise UserError(f"{file}: classes must be a list of printable names; got {brief(classes)}.")
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise UserError(f"{file}: dtype {brief(dtype)} is unknown.{did_you_mean(str(dtype)[:200], DTYPES)}")
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
        raise UserError(f"{file}: normalization must be one of {', '.join(KINDS)}; got {brief(kind)}.")
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
        f"{POLICIES[-1]}, channels {image[0]} and background 0 to 255; got {brief(entry)}."
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
        raise UserError(f"{file}: model must be an object with a name; got {brief(named)}.")
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
        if kind in kinds and name not in kinds[kind] and is_word(plugin) and is_word(owner):
            missing.append(f"{plugin} of {owner}")
    return f" It was saved with {', '.join(missing):.1000}: install or import that first." if missing else ""
