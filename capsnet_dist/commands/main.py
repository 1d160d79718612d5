"""The command line `capsnet-dist`: use and inspect what was trained.

What loads PyTorch, which takes seconds, is imported in the functions: `--version` and `--help` do without.
"""

import ast
import inspect
import itertools
import sys
import textwrap
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from keyword import iskeyword
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capsnet_dist.version import VERSION

if TYPE_CHECKING:
    from capsnet_dist.registry import Choice

COMMANDS = (
    "train",
    "predict",
    "evaluate",
    "robustness",
    "show",
    "demo",
    "export",
    "runs",
    "diff",
    "import",
    "data",
    "prepare",
    "plugins",
    "check",
    "compare",
    "reproduce",
    "bench",
    "pack",
    "push",
    "launch-files",
)
"""Each is a function in a module of its own, which is imported when it is named; `import` is `import_` in both, and a
dash is an underscore."""
OF_RUNS = ("predict", "evaluate", "robustness", "show", "demo", "export")
"""Those whose first words are runs."""
DESCRIPTION = "Train, use and inspect capsule networks. --version prints the version."


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command; a mistake of the user ends with one line on standard error and exit code 2."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words == ["--version"]:
        print(f"capsnet-dist {VERSION}")  # noqa: T201
        return
    if words in (["--help"], ["-h"]):
        print(_overview())  # noqa: T201
        return
    if words[:1] == ["train"] and words[1:] not in (["--help"], ["-h"]):
        import_module("capsnet_dist.commands.train").start(words[1:])
        return
    if words[:1] == ["compare"] and words[1:2] and not words[1].startswith("-"):
        words.insert(1, "--recipe")  # which may stand first, as for `train`
    from capsnet_dist.config import command_line
    from capsnet_dist.screen.console import any_text, notices
    from capsnet_dist.screen.ending import user_errors

    with any_text(), user_errors(), notices():
        command_line.command(COMMANDS, _function, words, DESCRIPTION, lambda: _choices(words), partial(_import, words))


def _overview() -> str:
    """All commands, each with the first line of its docstring, which is read and not imported."""
    lines = ["usage: capsnet-dist [-h] [--version] COMMAND ...", "", DESCRIPTION, "", "commands:"]
    for command in COMMANDS:
        name = _name(command)
        tree = ast.parse(Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8"))
        (function,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
        first = (ast.get_docstring(function) or "").splitlines()[0]
        lines.append(textwrap.fill(f"  {command:<14}{first}", 100, subsequent_indent=16 * " "))
    return "\n".join([*lines, "", "`capsnet-dist COMMAND --help` says what a command takes."])


def _name(command: str) -> str:
    """Of its module, and of the function in it."""
    return f"{command}_" if iskeyword(command) else command.replace("-", "_")


def _function(command: str) -> Callable[..., None]:
    return getattr(import_module(f"capsnet_dist.commands.{_name(command)}"), _name(command))


def _choices(words: Sequence[str]) -> dict[str, Any]:
    """The plugins and the run that a command starts from: `evaluate RUN` and the like from the data set of the run."""
    from capsnet_dist.plugins import augmentations, datasets

    own = {"data": "digits", "prepare": "folder", "check": "digits"}
    if words[:1] == ["check"] and len(words) > 1 and (name := words[1].removeprefix("dataset/")) in datasets:
        own["check"] = name
    if words[:1] == ["compare"]:
        from capsnet_dist.commands.compare import default_of

        return {"run": default_of(words[1:])}
    if words[:1] not in (["evaluate"], ["robustness"], ["show"], ["demo"]):
        chosen: dict[str, Choice[Any]] = {"data": datasets(own[words[0]])} if words and words[0] in own else {}
        return chosen | ({"augmentation": augmentations("none")} if words[:1] == ["data"] else {})
    from capsnet_dist.saved.trained_run import TrainedRun  # with all data sets, which other commands need not wait for

    runs = _named(words)
    if words[0] == "demo":
        from capsnet_dist.commands.demo import data_of

        return {"data": data_of(runs[0]) if runs else datasets("digits")}
    is_named = any(word.partition("=")[0] == "--data" for word in words)
    return {"data": TrainedRun(runs[0]).data(is_named=is_named) if runs else datasets("digits")}


def _import(words: Sequence[str], source: str) -> None:
    """Obey `--import`: "kept" is what the runs have kept that the command is for."""
    from capsnet_dist.config import KEPT, import_plugins
    from capsnet_dist.errors import UserError

    if source != KEPT:
        import_plugins(source)
        return
    if words[0] not in OF_RUNS:
        raise UserError(f"--import {KEPT} is for what a run has kept, and {words[0]} takes no run: name a file.")
    from capsnet_dist.saved.weights import import_kept_of

    for run in _named(words)[: 2 if words[0] == "demo" else 1]:
        import_kept_of(run)


def _named(words: Sequence[str]) -> list[str]:
    """The words of a command that are neither flags nor their values: first the runs that it is for."""
    parameters = inspect.signature(_function(words[0])).parameters.values()
    switches = [parameter.name.replace("_", "-") for parameter in parameters if isinstance(parameter.default, bool)]
    alone = {f"--{prefix}{switch}" for switch in switches for prefix in ("", "no-")}  # the flags that take no value
    pairs = itertools.pairwise(words)
    return [word for before, word in pairs if word[:1] != "-" and (before in alone or before[:1] != "-")]


if __name__ == "__main__":
    main()
