"""`capsnet-dist plugins`: all that has a name."""

import inspect
from typing import Any

from capsnet_dist import config
from capsnet_dist.errors import UserError, did_you_mean
from capsnet_dist.plugins import REGISTRIES
from capsnet_dist.registry import Registry
from capsnet_dist.screen.console import print_json, print_table


def plugins(kind: str = "", /, *, json: bool = False, imports: tuple[str, ...] = ()) -> None:
    """List what is registered: routings, layers, networks, losses, data sets and the rest.

    Args:
        kind: Only these: routing, layer, model and so on.
        json: Print JSON.
    """
    kinds = {registry.kind: registry for registry in REGISTRIES}
    if kind and kind not in kinds:
        raise UserError(f"Unknown kind of plugin {kind!r}.{did_you_mean(kind, kinds)}")
    chosen = [kinds[kind]] if kind else list(kinds.values())
    found = [_describe(registry, name) for registry in chosen for name in registry]
    rows: list[list[str]] = []
    for plugin in found:
        values = {key: v["name"] if isinstance(v, dict) else v for key, v in plugin["options"].items()}
        options = ", ".join(f"{key}={value}" for key, value in values.items())
        rows.append([plugin["kind"], plugin["name"], plugin["owner"], plugin["summary"] or plugin["error"], options])
    print_json(found) if json else print_table(["kind", "name", "from", "what it is", "options"], rows)


def _describe(registry: Registry[Any], name: str) -> dict[str, Any]:
    found = {"kind": registry.kind, "name": name, "owner": registry.owner(name), "summary": "", "options": {}}
    try:
        found["summary"] = (inspect.getdoc(registry[name]) or "").partition("\n")[0]
        found["options"] = {key: config.to_dict(option.default) for key, option in registry.options(name).items()}
    except Exception as error:  # whatever another package's plugin raises stands beside its name
        found["error"] = str(error) if isinstance(error, UserError) else repr(error)
    return found
