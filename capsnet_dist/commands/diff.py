"""`capsnet-dist diff`: how two runs differ."""

from pathlib import Path
from typing import Any, cast

from capsnet_dist.commands.runs import values
from capsnet_dist.config.kept import copies
from capsnet_dist.errors import UserError
from capsnet_dist.files import read_json
from capsnet_dist.record.summary import summarize
from capsnet_dist.saved.config_file import read_config
from capsnet_dist.screen.console import print_json, print_table

OF_EACH_RUN = {"folder", "started", "until", "format", "weights", "run.run_dir"}
"""What differs between any two."""


def diff(first: Path, second: Path, /, *, json: bool = False, imports: tuple[str, ...] = ()) -> None:
    """Say in what two runs differ: configuration, environment and result.

    Args:
        first: The folder of a run.
        second: That of another.
        json: Print JSON.

    Raises:
        UserError: one is not the folder of a run, or is damaged.
    """
    both = [_described(folder) for folder in (first, second)]
    keys = [key for key in {**both[0], **both[1]} if key.rpartition(" ")[2] not in OF_EACH_RUN]
    found = {key: [side.get(key) for side in both] for key in keys if both[0].get(key) != both[1].get(key)}
    if json:
        print_json({key: dict(zip(("first", "second"), pair, strict=True)) for key, pair in found.items()})
        return
    print_table(["", str(first), str(second)], [[key, *map(_shown, pair)] for key, pair in found.items()])


def _described(folder: Path) -> dict[str, Any]:
    """All that a folder says of its run, by names such as `configuration run.model.routing.iterations`."""
    if not (folder / "config.json").is_file() or (run := summarize(folder)) is None:
        raise UserError(f"{folder} is not the folder of a run: it needs a config.json with an entry 'run'.")
    config = read_config(folder / "config.json")
    config.pop("model", None)  # which stands in `run`, too
    config["imports"] = {
        path: f"sha256 {sha256:.12}"
        for copy in copies(config, folder / "config.json")
        for path, sha256 in zip(copy.paths, copy.hashes.values(), strict=True)
    }
    place: Any = read_json(folder / "environment.json") if (folder / "environment.json").is_file() else {}
    result = {key: value for key, value in values(run).items() if key in ("state", "accuracy", "validation", "seconds")}
    sections = {"configuration": config, "environment": place, "result": result}
    return {f"{name} {key}": value for name, section in sections.items() for key, value in _flat(section).items()}


def _flat(section: Any, path: str = "") -> dict[str, Any]:
    """Nested objects as one, with names joined by points."""
    if not isinstance(section, dict):
        return {path: section}
    found: dict[str, Any] = {}
    for name, inner in cast(dict[str, Any], section).items():
        found |= _flat(inner, f"{path}.{name}" if path else name)
    return found


def _shown(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
