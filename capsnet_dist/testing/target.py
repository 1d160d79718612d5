"""Checks by name, for the command line: `capsnet-dist check my_routing.py:MyRouting`."""

import contextlib
import inspect
import itertools
import json as json_format
import sys
from collections.abc import Callable, Iterable
from typing import Any

from capsnet_dist.config import import_plugins
from capsnet_dist.errors import UserError, did_you_mean
from capsnet_dist.plugins import REGISTRIES, Augmentation, Layer, Model, Routing
from capsnet_dist.registry import Choice
from capsnet_dist.screen.console import print_table
from capsnet_dist.testing.augmentation import check_augmentation
from capsnet_dist.testing.dataset import check_dataset
from capsnet_dist.testing.layer import check_layer
from capsnet_dist.testing.loss import check_loss
from capsnet_dist.testing.model import check_model
from capsnet_dist.testing.report import Report
from capsnet_dist.testing.routing import check_routing
from capsnet_dist.testing.schedule import check_schedule

CHECKS: dict[str, Callable[..., Report]] = {
    "routing": check_routing,
    "layer": check_layer,
    "loss": check_loss,
    "model": check_model,
    "dataset": check_dataset,
    "augmentation": check_augmentation,
    "schedule": check_schedule,
}
KINDS = f"{', '.join(list(CHECKS)[:-1])} or {list(CHECKS)[-1]}"
COLORS = {"passed": "green", "failed": "bold red", "expected": "yellow", "noted": "yellow", "skipped": "dim"}


def check_target(target: str | Choice[Any], *, only: Iterable[str] | None = None) -> Report:
    """Check a plugin by where it is written, `my_package.module:MyRouting` or `my_routing.py:MyRouting`, or by name.

    Args:
        target: A module or file, a colon and a class; or the name of a registered plugin, after its kind and a slash
            where several kinds have one of that name: `augmentation/hvc`; or a choice with options.
        only: Names of the checks to run; all of them without.

    Raises:
        UserError: there is no such thing or check, or it is of a kind that has no laws.
    """
    plugin = target if isinstance(target, Choice) else _named(target)
    return CHECKS[_kind(plugin, str(target))](plugin, only=only, on_fail="report")


def _named(target: str) -> Any:
    source, colon, attribute = target.rpartition(":")
    return _attribute(source, attribute) if colon else _registered(target)


def _registered(target: str) -> Choice[Any]:
    if target.endswith(".py"):
        raise UserError(f"{target} may hold several plugins. Name one: {target}:MyRouting.")
    kind, _, name = target.rpartition("/")
    searched = [registry for registry in REGISTRIES if registry.kind in CHECKS and kind in ("", registry.kind)]
    found = [registry for registry in searched if name in registry]
    if len(found) > 1:
        kinds = " and ".join(registry.kind for registry in found)
        ways = " or ".join(f"{registry.kind}/{name}" for registry in found)
        raise UserError(f"{name!r} is the name of several plugins: {kinds}. Say which: {ways}.")
    if not found:
        known = [name for registry in searched for name in registry]
        wanted = kind if searched and kind else KINDS
        raise UserError(f"no {wanted} is called {target!r}.{did_you_mean(name, known)}")
    return found[0](name)


def _attribute(source: str, attribute: str) -> Any:
    module = import_plugins(source)
    if not hasattr(module, attribute):
        classes = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
        raise UserError(f"{source} has no {attribute!r}.{did_you_mean(attribute, classes)}")
    return getattr(module, attribute)


def _kind(plugin: Any, target: str) -> str:
    if isinstance(plugin, Choice) and plugin.registry.kind in CHECKS:
        return plugin.registry.kind
    if inspect.isclass(plugin):
        if issubclass(plugin, Routing):
            return "routing"
        if issubclass(plugin, Layer):
            return "layer"
        if issubclass(plugin, Model):
            return "model"
        if issubclass(plugin, Augmentation):
            return "augmentation"
        if hasattr(plugin, "split"):  # whose classes may be known to an object alone
            return "dataset"
        called = inspect.signature(plugin.__call__).parameters
        if "progress" in called:
            return "loss"
        if "step" in called:
            return "schedule"
    raise UserError(f"{target} is no {KINDS}, nor a choice of one, but {plugin!r}.")


def run(target: str | Choice[Any], json: bool = False, *, only: Iterable[str] | None = None) -> int:
    """Check a plugin and print a table, or JSON; the exit status: 0, or 1 when a law does not hold.

    Args:
        target: As for `check_target`.
        json: Print the report as JSON.
        only: Names of the checks to run; all of them without.

    Raises:
        UserError: as `check_target`.
    """
    with contextlib.redirect_stdout(sys.stderr):  # what the plugin prints is no part of the report
        report = check_target(target, only=only)
    if json:
        sys.stdout.write(json_format.dumps(report.to_dict(), indent=2) + "\n")
    else:
        _print(report)
    return 1 if report.failed else 0


def _print(report: Report) -> None:
    """A table that fits a terminal; elsewhere one line for a result, and the law below it."""
    columns = ("check", "result", "what was seen, and the law")
    rows = [(result.name, result.status, lines) for result, lines in report.told().items()]
    if not sys.stdout.isatty():
        lines = [[(name, status, seen[0]), *(("", "", line) for line in seen[1:])] for name, status, seen in rows]
        print_table(columns, list(itertools.chain(*lines)))
        sys.stdout.write(f"{report.summary}\n")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns[:2], title=f"{report.kind} {report.name}", title_justify="left", show_edge=False)
    for column in table.columns:
        column.no_wrap = True
    table.add_column(columns[2])
    for name, status, seen in rows:
        table.add_row(Text(name), Text(status, style=COLORS[status]), Text("\n".join(filter(None, seen))))
    console = Console()
    console.print(table)
    console.print(Text(report.summary))
