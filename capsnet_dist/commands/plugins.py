"""`capsnet-dist plugins`: all that has a name."""

import inspect
from collections.abc import Mapping
from typing import Any

from capsnet_dist import config
from capsnet_dist.errors import UserError, did_you_mean
from capsnet_dist.plugins import REGISTRIES, Image, models
from capsnet_dist.ranges import Count
from capsnet_dist.registry import Registry
from capsnet_dist.saved.size import measure, step_memory
from capsnet_dist.screen.console import print_json, print_table, say


def plugins(
    kind: str = "", /, *, json: bool = False, image: str = "", classes: Count = 10, imports: tuple[str, ...] = ()
) -> None:
    """List what is registered: routings, layers, networks, losses, data sets and the rest.

    Args:
        kind: Only these: routing, layer, model and so on.
        json: Print JSON.
        image: Channels, height and width, as 3,224,224: with `model`, the size of each network for such images.
        classes: Of such a network.

    Raises:
        UserError: an unknown kind, or an image that is none.
    """
    kinds = {registry.kind: registry for registry in REGISTRIES}
    if kind and kind not in kinds:
        raise UserError(f"Unknown kind of plugin {kind!r}.{did_you_mean(kind, kinds)}")
    if image:
        if kind != models.kind:
            raise UserError(f"--image {image} is for networks: capsnet-dist plugins model --image {image}.")
        _print_sizes(_shape(image), classes, json)
        return
    chosen = [kinds[kind]] if kind else list(kinds.values())
    found = [_describe(registry, name) for registry in chosen for name in registry]
    if json:
        print_json(found)
        return
    rows: list[list[str]] = []
    for plugin in found:
        values = {key: v["name"] if isinstance(v, dict) else v for key, v in plugin["options"].items()}
        options = ", ".join(f"{key}={value}" for key, value in values.items())
        own = [plugin["kind"], plugin["name"], plugin["owner"], plugin["summary"] or plugin["error"]]
        rows.append([*own, options] if kind else own)
    print_table(["kind", "name", "from", "what it is", *(["options"] if kind else [])], rows)
    if not kind:
        say("Name a kind to see options: capsnet-dist plugins routing.")


def _shape(text: str) -> Image:
    """Channels, height and width from what was typed."""
    numbers = text.split(",")
    if len(numbers) != 3 or not all(number.isdecimal() and int(number) for number in numbers):
        raise UserError(f"--image {text}: must be channels, height and width, as 3,224,224.")
    channels, height, width = map(int, numbers)
    return channels, height, width


def _print_sizes(image: Image, classes: int, json: bool) -> None:
    """Parameters and memory of each network with its default options, or why there is none of this size."""
    found: list[dict[str, Any]] = []
    for name in models:
        try:
            choice = models(name)
            size, step = measure(choice, image, classes), step_memory(choice, image, classes)
            sizes = {"parameters": size.parameters, "weights": size.weights, "training": size.training, "step": step}
            found.append({"name": name, **sizes})
        except UserError as error:
            found.append({"name": name, "error": str(error)})
    if json:
        print_json(found)
        return
    columns = ["network", "parameters", "weights (MiB)", "training (MiB)", "a step, each image (MiB)"]
    print_table(columns, [_size_row(sizes) for sizes in found])


def _size_row(sizes: Mapping[str, Any]) -> list[str]:
    if "error" in sizes:
        return [sizes["name"], sizes["error"], "", "", ""]
    memory = ["?" if sizes[key] is None else f"{sizes[key] / 2**20:,.1f}" for key in ("weights", "training", "step")]
    return [sizes["name"], f"{sizes['parameters']:,}", *memory]


def _describe(registry: Registry[Any], name: str) -> dict[str, Any]:
    found = {"kind": registry.kind, "name": name, "owner": registry.owner(name), "summary": "", "options": {}}
    try:
        found["summary"] = (inspect.getdoc(registry[name]) or "").partition("\n")[0]
        found["options"] = {key: config.to_dict(option.default) for key, option in registry.options(name).items()}
    except Exception as error:  # whatever another package's plugin raises stands beside its name
        found["error"] = str(error) if isinstance(error, UserError) else repr(error)
    return found
