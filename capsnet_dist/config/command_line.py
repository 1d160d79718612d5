"""The command line: a configuration written in Python, overlaid from flags and files."""

import contextlib
import dataclasses
import functools
import inspect
import io
import itertools
import sys
import typing
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, TypeVar

from capsnet_dist.config import KEPT, entries, from_dict, import_kept, import_plugins, is_nested, named, replace
from capsnet_dist.config.helps import argument_docs, field_docs, placeholder, said_of_default
from capsnet_dist.config.sources import FOLDER
from capsnet_dist.errors import UserError, did_you_mean
from capsnet_dist.files import expanded, read_json
from capsnet_dist.ranges import bare, require
from capsnet_dist.registry import Choice, Registry
from capsnet_dist.text import listed
from capsnet_dist.world import speaks

C = TypeVar("C")


def parse(default: C, argv: Sequence[str] | None = None, program: str | None = None) -> C:
    """Override `default` from the command line.

    `--path NAME` chooses another plugin, whose options are then `--path.option`. `--import FILE` imports plugins and
    `--config FILE` starts from a saved configuration; both are read first. Help and errors of the command line end the
    program, with exit code 0 and 2.

    Args:
        default: What holds where nothing else is said.
        argv: The words; those of this process if not given.
        program: What the help calls the program; the script if not given.

    Raises:
        UserError: an unknown plugin, or a file that cannot be read.
    """
    import tyro

    argv = list(sys.argv[1:] if argv is None else argv)
    words = _words(argv)
    files = _values(words, "--config")[-1:]
    for source in _values(words, "--import"):
        _import(source, files)
    default = _choose(_overlaid(default, words), words)
    description = inspect.getdoc(type(default)) or ""
    with _said_once():
        command_type = _command(flags(default))
        run = tyro.cli(command_type, prog=program, args=argv, description=description, registry=_rules()).run
    return type(default)(**_fields(run))


def _overlaid(default: C, words: Sequence[str]) -> C:
    """The configuration with the values of the saved one that `--config` names."""
    for file in _values(words, "--config")[-1:]:
        data = read_json(expanded(file))
        run: Any = typing.cast(dict[str, Any], data).get("run") if isinstance(data, dict) else None
        if run is None and isinstance(data, dict) and "imported" in data:
            run = {"model": typing.cast(dict[str, Any], data).get("model")}  # all that is known of its training
        if not isinstance(run, dict):
            raise UserError(f"{file} holds no run to repeat: it needs an entry 'run'.")
        try:
            default = from_dict(default, run, "run")
        except (UserError, RecursionError) as error:
            raise UserError(f"{file}: {error}") from error
    return default


def flags(default: Any, hidden: Sequence[str] = ()) -> Any:
    """A dataclass whose fields are flags with readable help.

    Args:
        default: The configuration, which `command` may be given as a choice.
        hidden: Fields that are no flags, since somebody else sets them.
    """
    import tyro

    kind: Any = type(default)
    values = _fields(default)
    helps, types = field_docs(kind), typing.get_type_hints(kind, include_extras=True)
    types = {name: _readable(type_, helps.get(name)) for name, type_ in types.items()}
    types |= {name: Annotated[Any, tyro.conf.Suppress] for name in hidden}
    fields = [(name, types[name], dataclasses.field(default=values[name])) for name in values]
    return dataclasses.make_dataclass(kind.__name__, fields, bases=(kind,), frozen=True, kw_only=True)(**values)


def _fields(config: Any) -> dict[str, Any]:
    return {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}


def _readable(kind: Any, help_text: str | None = None) -> Any:
    """The type of a flag, whose help names neither the value nor the kind of what is not given."""
    import tyro

    parts = [bare(part) for part in typing.get_args(bare(kind))] if NoneType in typing.get_args(bare(kind)) else []
    names = [placeholder(part) for part in parts if part is not NoneType]
    metavar = "|".join(filter(None, names)) if names and all(names) else None
    return Annotated[kind, tyro.conf.arg(metavar=metavar, help=help_text, help_behavior_hint=said_of_default)]


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
    words = _words(argv)
    for source in _values(words, "--import"):
        import_source(source)
    how: dict[str, Any] = {"registry": _rules(), "console_outputs": speaks()}
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


def _import(source: str, config_files: Sequence[str]) -> None:
    """Obey `--import` of a training: "kept" is what the run has kept whose configuration is repeated."""
    if source != KEPT:
        import_plugins(source)
    elif config_files:
        import_kept(expanded(config_files[0]))
    else:
        raise UserError(f"--import {KEPT} is for what a run has kept: give --config RUN/config.json, too.")


def _given(value: Any, flag: str, words: Sequence[str]) -> Any:
    """What a parameter starts from: a plugin that its flag may have named, or a configuration."""
    if not isinstance(value, Choice):
        return _choose(_overlaid(value, words), words)
    holder = dataclasses.make_dataclass("Chosen", [(flag.removeprefix("--"), Any)])(value)
    return getattr(_choose(holder, words), flag.removeprefix("--"))


@contextlib.contextmanager
def _said_once() -> Generator[None]:
    """Let rank 0 alone say what tyro has to say: its `console_outputs` does not silence bad values."""
    silence = io.StringIO() if not speaks() else None
    with contextlib.ExitStack() as stack:
        for redirect in (contextlib.redirect_stdout, contextlib.redirect_stderr) if silence else ():
            stack.enter_context(redirect(silence))
        yield


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
            hints[name] = _readable(hints[name], helps.get(name))
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


def _command(default: Any) -> Any:
    """The whole command line: what is read first, then the options of the run."""
    import tyro

    config_help = "A saved config.json whose values replace the defaults: repeats that run."
    import_help = f'Python files or modules that register plugins; "{KEPT}": those beside the file of --config.'
    config = Annotated[_readable(Path | None), tyro.conf.arg(help=config_help)]
    imports_flag: Any = tyro.conf.arg(name="import", metavar="FILE|MODULE", help=import_help)
    imports = Annotated[_readable(tuple[str, ...]), imports_flag]
    run = Annotated[type(default), tyro.conf.arg(name="")]
    fields = [("config", config, None), ("imports", imports, ()), ("run", run, dataclasses.field(default=default))]
    return dataclasses.make_dataclass("Command", fields, frozen=True)


def _words(argv: Sequence[str]) -> list[str]:
    """A command line with `--flag=value` taken apart, or the old plugin would stay, silently."""
    return [word for arg in argv for word in (arg.split("=", 1) if arg.startswith("--") else [arg])]


def values_of(argv: Sequence[str], flag: str) -> list[str]:
    """What a command line gives to a flag, as `--flag value` or `--flag=value`."""
    return _values(_words(argv), flag)


def _values(words: Sequence[str], flag: str) -> list[str]:
    """What is given to a flag, which may take several values and stand several times."""
    values: list[str] = []
    for position, word in enumerate(words):
        if word == flag:
            rest = words[position + 1 :]
            values += itertools.takewhile(lambda value: not value.startswith("--"), rest)
    return values


def _choose(config: C, words: Sequence[str], path: str = "--") -> C:
    """Put each plugin named on the command line in its place, so that it is its options that are parsed."""
    changes: dict[str, Any] = {}
    for key, (_, value) in entries(config).items():
        if isinstance(value, Choice):
            value = _named_by(words, path + key, typing.cast(Choice[Any], value))
        elif is_nested(value):
            value = _listed(value, words, path + key)
        if is_nested(value):
            changes[key] = _choose(value, words, f"{path}{key}.")
    return replace(config, changes)


def _named_by(words: Sequence[str], flag: str, choice: Choice[Any]) -> Choice[Any]:
    """The plugin that a flag names, or as it was.

    Raises:
        UserError: a second name follows the first, or an option is that of other plugins.
    """
    registry = choice.registry
    for position, word in enumerate(words[:-1]):
        if _same(word, flag):
            name, rest = words[position + 1], words[position + 2 :]
            choice = named(choice, name)
            if "chain" in registry and rest and rest[0] in registry:
                chain = f"{flag} chain {flag}.parts {name} {rest[0]}"
                raise UserError(f"{flag} {name} {rest[0]}: it takes one name. One after the other: {chain}.")
    for word in words:
        option = word.removeprefix(f"{flag}.").partition(".")[0].replace("-", "_")
        if word.startswith(f"{flag}.") and option not in choice.options and (owners := _owners(registry, option)):
            rule = f"{registry.kind} {choice.name!r} has no such option"
            raise UserError(f"{word}: {rule}. Name one that has it by {flag}: {listed(owners)}.")
    return choice


def _owners(registry: Registry[Any], option: str) -> list[str]:
    """The plugins that have an option, of those that can be loaded."""
    found: list[str] = []
    for name in registry:
        with contextlib.suppress(UserError):  # a package that is broken is no help
            found += [name] if option in registry.options(name) else []
    return found


def _same(flag: str, other: str) -> bool:
    return flag.replace("-", "_") == other.replace("-", "_")


def _listed(choices: tuple[Choice[Any], ...], words: Sequence[str], flag: str) -> tuple[Choice[Any], ...]:
    """The choices of the plugins that a flag names, `--layers convolutional dense`; as they were if it is not there.

    A plugin that keeps its place in the list keeps its options.
    """
    found = [position for position, word in enumerate(words) if _same(word, flag)]
    if not found:
        return choices
    names = list(itertools.takewhile(lambda word: not word.startswith("--"), words[found[-1] + 1 :]))
    if not names:
        raise UserError(f"{flag} needs at least one name.{did_you_mean('', choices[0].registry)}")
    kept = (named(choice, name) for choice, name in zip(choices, names, strict=False))
    return (*kept, *(choices[0].registry(name) for name in names[len(choices) :]))


@functools.cache
def _rules() -> Any:
    """How tyro parses a path, with the home folder for `~`, and a choice: as its name beside its options."""
    import tyro
    from tyro.constructors import (
        ConstructorRegistry,
        PrimitiveConstructorSpec,
        PrimitiveTypeInfo,
        StructConstructorSpec,
        StructFieldSpec,
        StructTypeInfo,
    )

    rules = ConstructorRegistry()

    @rules.primitive_rule
    def path(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Path] | None:
        if info.type is not Path:
            return None
        return PrimitiveConstructorSpec(
            1,
            "PATH",
            lambda words: expanded(words[0]),
            lambda value: isinstance(value, Path),
            lambda value: [str(value)],
        )

    @rules.struct_rule
    def choice(info: StructTypeInfo) -> StructConstructorSpec | None:
        default: Any = info.default
        if not isinstance(default, Choice):
            return None
        chosen = typing.cast(Choice[Any], default)
        registry = chosen.registry
        helps, summary = argument_docs(registry[chosen.name]), inspect.getdoc(registry[chosen.name]) or ""
        names: Any = Annotated[Literal[tuple(registry)], tyro.conf.arg(name="")]  # pyright: ignore
        fields = [StructFieldSpec("__name", names, chosen.name, summary.partition("\n")[0])]
        for key, option in registry.options(chosen.name).items():
            fields.append(StructFieldSpec(key, _readable(option.type), chosen.options[key], helps.get(key)))
        return StructConstructorSpec(lambda __name, **options: registry(__name, **options), tuple(fields))

    @rules.struct_rule
    def choices(info: StructTypeInfo) -> StructConstructorSpec | None:
        default: Any = info.default
        if not isinstance(default, tuple) or not is_nested(default):
            return None
        chosen = typing.cast(tuple[Choice[Any], ...], default)
        names: Any = Annotated[tuple[Literal[tuple(chosen[0].registry)], ...], tyro.conf.arg(name="")]  # pyright: ignore
        help_text = "By name, in order; the options of each follow its number."
        fields = [StructFieldSpec("__names", names, tuple(choice.name for choice in chosen), help_text)]
        fields += [StructFieldSpec(str(index), Choice[Any], choice, None) for index, choice in enumerate(chosen)]
        return StructConstructorSpec(lambda __names, **items: tuple(items.values()), tuple(fields))

    return rules
