"""The command line of a program with several commands."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

from capsnet_dist.config import KEPT, import_plugins
from capsnet_dist.config.command_line.helps import argument_docs
from capsnet_dist.config.command_line.rules import readable, rules
from capsnet_dist.config.command_line.runs import overlaid
from capsnet_dist.config.command_line.words import choose, split_words, values_of
from capsnet_dist.config.sources import FOLDER
from capsnet_dist.errors import UserError, did_you_mean
from capsnet_dist.ranges import require
from capsnet_dist.registry import Choice
from capsnet_dist.world import speaks


def command(
    names: Sequence[str],
    function: Callable[[str], Callable[..., None]],
    argv: Sequence[str],
    description: str,
    choices: Callable[[], Mapping[str, Any]],
    import_source: Callable[[str], object] = import_plugins,
) -> None:
    """Call the function that the first word of a command line names, with what the rest says.

    Positional-only parameters are words, keyword-only ones flags, docstrings the help. `--import`, which reaches a
    function as `imports`, is obeyed first; then `choices` gives the plugins that parameters start from, by name. A
    configuration among them is parsed as `parse` does, `--config` included, and its flags have no prefix.

    Args:
        names: All commands.
        function: Gives the function of a command; asked for those that are needed.
        argv: The words of the command line.
        description: What the program is for.
        choices: Gives the plugins and the configuration that parameters start from.
        import_source: Obeys `--import`, for each of its values.

    Raises:
        UserError: an unknown command or plugin, or a file that cannot be imported.
    """
    import tyro

    name = argv[0] if argv else "--help"
    if name not in (*names, "-h", "--help"):
        raise UserError(f"Unknown command {name!r}.{did_you_mean(name, names)}")
    words = split_words(argv)
    for source in values_of(words, "--import"):
        import_source(source)
    how: dict[str, Any] = {"registry": rules(), "console_outputs": speaks()}
    if name not in names:
        known = {name: _annotated(function(name)) for name in names}
        tyro.extras.subcommand_cli_from_dict(known, prog="capsnet-dist", args=argv, description=description, **how)
        return
    named_function = _checked(_annotated(function(name)))
    given = {key: _given(value, f"--{key}", words) for key, value in choices().items()}
    for key, value in given.items():
        if not isinstance(value, Choice):
            named_function.__annotations__[key] = Annotated[type(value), tyro.conf.arg(name="")]
    bound = functools.partial(named_function, **given)
    bound.__doc__ = named_function.__doc__
    tyro.cli(bound, prog=f"capsnet-dist {name}", args=argv[1:], **how)


def _given(value: Any, flag: str, words: Sequence[str]) -> Any:
    """What a parameter starts from: a plugin that its flag may have named, or a configuration."""
    if not isinstance(value, Choice):
        return choose(overlaid(value, words), words)
    holder = dataclasses.make_dataclass("Chosen", [(flag.removeprefix("--"), Any)])(value)
    return getattr(choose(holder, words), flag.removeprefix("--"))


def _annotated(function: Callable[..., None]) -> Callable[..., None]:
    """Name the words of a command as its help shows them, and `imports` as its flag."""
    import tyro

    help_text = (
        "Python files or modules that register plugins; they stand after the other words. "
        f'"{KEPT}": those that the run has kept in {FOLDER}/, which are programs of whoever made it.'
    )
    imports: Any = tyro.conf.arg(name="import", metavar="FILE|MODULE", help=help_text)
    hints, helps = function.__annotations__, argument_docs(function)
    hints["imports"] = Annotated[tuple[str, ...], imports]
    own = {name for name, kind in hints.items() if hasattr(kind, "__metadata__")}  # which say themselves what they are
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.default is not parameter.empty:
            hints[name] = readable(hints[name], helps.get(name))
        if parameter.kind is parameter.POSITIONAL_ONLY and name not in own:
            hints[name] = Annotated[hints[name], tyro.conf.arg(metavar=name.upper())]
        elif name.endswith("_") and name not in own:  # from_, which Python keeps for itself
            hints[name] = Annotated[hints[name], tyro.conf.arg(name=name.removesuffix("_"))]
    return function


def _checked(function: Callable[..., None]) -> Callable[..., None]:
    """The same command, which refuses numbers outside the ranges that the types of its flags name."""

    @functools.wraps(function)
    def checked(*words: Any, **flags: Any) -> None:
        for key, value in flags.items():
            require(function.__annotations__[key], value, f"--{key.removesuffix('_').replace('_', '-')}")
        function(*words, **flags)

    return checked
