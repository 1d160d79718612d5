"""A run's configuration: a default written in Python, overlaid from the command line or from JSON."""

import dataclasses
import functools
import importlib
import importlib.util
import inspect
import itertools
import json
import os
import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from capsnet_dist.errors import UserError, did_you_mean
from capsnet_dist.registry import Choice

C = TypeVar("C")


def parse(default: C, argv: Sequence[str] | None = None) -> C:
    """Override `default` from the command line.

    `--path NAME` chooses another plugin, whose options are then `--path.option`. `--import FILE` imports plugins and
    `--config FILE` starts from a saved configuration; both are read first. Help and errors of the command line end the
    program, with exit code 0 and 2.

    Raises:
        UserError: an unknown plugin, or a file that cannot be read.
    """
    import tyro

    argv = list(sys.argv[1:] if argv is None else argv)
    words = [word for arg in argv for word in (arg.split("=", 1) if arg.startswith("--") else [arg])]
    for source in _values(words, "--import"):
        import_plugins(source)
    for file in _values(words, "--config")[-1:]:
        data = read_json(Path(file))
        if not isinstance(data, dict) or not isinstance(run := data.get("run"), dict):
            raise UserError(f"{file} holds no run to repeat: it needs an entry 'run'.")
        default = from_dict(default, run, "run")
    default = _choose(default, words)
    return tyro.cli(
        _command(default),
        args=argv,
        description=inspect.getdoc(type(default)) or "",
        registry=_rules(),
        console_outputs=int(os.environ.get("RANK", "0")) == 0,
    ).run


def command(
    functions: Sequence[Callable[..., None]],
    argv: Sequence[str],
    description: str,
    choices: Callable[[], Mapping[str, Choice[Any]]],
) -> None:
    """Call the function that the first word of a command line names, with what the rest says.

    Positional-only parameters are words, keyword-only ones flags, docstrings the help. `--import`, which reaches a
    function as `imports`, is obeyed first; then `choices` gives the plugins that parameters start from, by name.

    Raises:
        UserError: an unknown plugin, or a file that cannot be imported.
    """
    import tyro

    words = [word for arg in argv for word in (arg.split("=", 1) if arg.startswith("--") else [arg])]
    for source in _values(words, "--import"):
        import_plugins(source)
    given = dict(choices())
    chosen = _choose(dataclasses.make_dataclass("Chosen", [(name, Any) for name in given])(**given), words)
    help_text = "Python files or modules that register plugins; they stand after the other words."
    imports: Any = tyro.conf.arg(name="import", metavar="FILE|MODULE", help=help_text)
    bound: dict[str, Callable[..., None]] = {}
    for function in functions:
        function.__annotations__["imports"] = Annotated[tuple[str, ...], imports]
        defaults = {name: getattr(chosen, name) for name in given if name in inspect.signature(function).parameters}
        bound[function.__name__] = functools.partial(function, **defaults)
        bound[function.__name__].__doc__ = function.__doc__
    tyro.extras.subcommand_cli_from_dict(
        bound,
        prog="capsnet-dist",
        args=argv,
        description=description,
        registry=_rules(),
        console_outputs=int(os.environ.get("RANK", "0")) == 0,
    )


def _command(default: Any) -> Any:
    """The whole command line: what is read first, then the options of the run."""
    import tyro

    config_help = "A saved config.json whose values replace the defaults: repeats that run."
    import_help = "Python files or modules that register plugins."
    config = Annotated[Path | None, tyro.conf.arg(help=config_help)]
    imports = Annotated[tuple[str, ...], tyro.conf.arg(name="import", metavar="FILE|MODULE", help=import_help)]
    run = Annotated[type(default), tyro.conf.arg(name="")]
    fields = [("config", config, None), ("imports", imports, ()), ("run", run, dataclasses.field(default=default))]
    return dataclasses.make_dataclass("Command", fields, frozen=True)


def import_plugins(source: str) -> None:
    """Import a Python file (`my_routing.py`) or a module (`my_package.routing`), which registers its plugins.

    Raises:
        UserError: there is no such file or module, or it fails to import.
    """
    try:
        if not source.endswith(".py"):
            importlib.import_module(source)
            return
        name = Path(source).stem
        spec = importlib.util.spec_from_file_location(name, source)
        if spec is None or spec.loader is None or not Path(source).is_file():
            raise UserError(f"--import {source}: there is no such file in {Path.cwd()}.")
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"--import {source} failed: {error!r}") from error


def read_json(file: Path) -> Any:
    """The contents of a JSON file.

    Raises:
        UserError: it cannot be read or is not JSON.
    """
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{file} cannot be read as JSON: {error}") from error


def to_dict(config: Any) -> Any:
    """The configuration as JSON-ready data; a choice also records its name."""
    if isinstance(config, Choice):
        return {"name": config.name} | {key: to_dict(value) for key, value in config.options.items()}
    if dataclasses.is_dataclass(config):
        return {key: to_dict(value) for key, (_, value) in _fields(config).items()}
    if isinstance(config, tuple):
        return [to_dict(value) for value in config]
    return str(config) if isinstance(config, Path) else config


def from_dict(default: C, data: Mapping[str, Any], path: str = "") -> C:
    """Overlay `data`, as written by `to_dict`, on `default`.

    Raises:
        UserError: an unknown key, a plugin that is not registered, or a value of another type, with its path.
    """
    data = dict(data)
    if isinstance(default, Choice):
        default = typing.cast(C, _named(default, data.pop("name", default.name)))
    fields = _fields(default)
    changes: dict[str, Any] = {}
    for key, value in data.items():
        place = f"{path}.{key}" if path else key
        if key not in fields:
            raise UserError(f"{place} is not an option.{did_you_mean(key, fields)}")
        changes[key] = _restore(*fields[key], value, place)
    return _replace(default, changes)


def _restore(kind: Any, default: Any, value: Any, place: str) -> Any:
    """A value out of JSON as the type of the option whose default is given."""
    if isinstance(default, Choice):
        if not isinstance(value, dict):
            raise UserError(f"{place} must be an object with a name and options; got {value!r}.")
        return from_dict(typing.cast(Choice[Any], default), typing.cast(dict[str, Any], value), place)
    if _is_group(default) and isinstance(value, dict):
        return from_dict(default, typing.cast(dict[str, Any], value), place)
    if _nested(default) and isinstance(value, list):
        items = typing.cast(list[Any], value)
        defaults = itertools.chain(default, itertools.repeat(default[0]))
        pairs = enumerate(zip(defaults, items, strict=False))
        return tuple(_restore(None, kept, item, f"{place}.{index}") for index, (kept, item) in pairs)
    if isinstance(value, list):
        value = tuple(typing.cast(list[Any], value))
    if isinstance(value, str) and _admits(kind, Path):
        value = Path(value)
    if type(value) is int and _admits(kind, float):
        value = float(value)
    if not _is(value, kind):
        raise UserError(f"{place} must be {inspect.formatannotation(kind)}; got {value!r}.")
    return value


def _is_group(value: Any) -> bool:
    """Whether options are grouped: `--checkpoint.every`."""
    return dataclasses.is_dataclass(value) and not isinstance(value, Choice | type)


def _admits(kind: Any, wanted: type) -> bool:
    return wanted in (kind, *typing.get_args(kind))


def _is(value: Any, kind: Any) -> bool:
    from typeguard import CollectionCheckStrategy, TypeCheckError, check_type

    if isinstance(value, bool) and not _admits(kind, bool):
        return False  # to Python it is an int
    try:
        check_type(value, kind, collection_check_strategy=CollectionCheckStrategy.ALL_ITEMS)
    except TypeCheckError:
        return False
    return True


def _named(choice: Choice[Any], name: object) -> Choice[Any]:
    """The choice of the plugin called `name`, with its default options if it is another one."""
    return choice if name == choice.name else choice.registry(str(name))


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
    for key, (_, value) in _fields(config).items():
        if isinstance(value, Choice):
            for flag, name in itertools.pairwise(words):
                if _same(flag, path + key):
                    value = _named(typing.cast(Choice[Any], value), name)
        elif _nested(value):
            value = _listed(value, words, path + key)
        if _nested(value):
            changes[key] = _choose(value, words, f"{path}{key}.")
    return _replace(config, changes)


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
    kept = (_named(choice, name) for choice, name in zip(choices, names, strict=False))
    return (*kept, *(choices[0].registry(name) for name in names[len(choices) :]))


def _nested(value: Any) -> bool:
    """Whether a value has options of its own: a choice, or a tuple of choices."""
    return isinstance(value, Choice) or (isinstance(value, tuple) and any(map(_nested, typing.cast(Any, value))))


def _fields(config: Any) -> dict[str, tuple[Any, Any]]:
    """Type and value of each option of a choice, field of a dataclass, or item of a tuple."""
    if isinstance(config, Choice):
        known = typing.cast(Choice[Any], config)
        kinds = known.registry.options(known.name)
        return {key: (kinds[key].type, value) for key, value in known.options.items()}
    if isinstance(config, tuple):
        return {str(index): (None, value) for index, value in enumerate(typing.cast(tuple[Any, ...], config))}
    kinds = typing.get_type_hints(type(config), include_extras=True)
    return {field.name: (kinds[field.name], getattr(config, field.name)) for field in dataclasses.fields(config)}


def _replace(config: Any, changes: dict[str, Any]) -> Any:
    if isinstance(config, Choice):
        known = typing.cast(Choice[Any], config)
        return known.registry(known.name, **{**known.options, **changes})
    if isinstance(config, tuple):
        return tuple(changes.get(key, value) for key, (_, value) in _fields(config).items())
    return dataclasses.replace(config, **changes)


@functools.cache
def _rules() -> Any:
    """How tyro parses a choice: as its name, `--model.routing dynamic`, beside its options."""
    import docstring_parser
    import tyro
    from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructFieldSpec, StructTypeInfo

    rules = ConstructorRegistry()

    @rules.struct_rule
    def choice(info: StructTypeInfo) -> StructConstructorSpec | None:
        default: Any = info.default
        if not isinstance(default, Choice):
            return None
        chosen = typing.cast(Choice[Any], default)
        registry = chosen.registry
        doc = docstring_parser.parse(inspect.getdoc(registry[chosen.name]) or "")
        helps = {p.arg_name: p.description for p in doc.params}
        names: Any = Annotated[Literal[tuple(registry)], tyro.conf.arg(name="")]  # pyright: ignore
        fields = [StructFieldSpec("__name", names, chosen.name, doc.short_description)]
        for key, option in registry.options(chosen.name).items():
            fields.append(StructFieldSpec(key, option.type, chosen.options[key], helps.get(key)))
        return StructConstructorSpec(lambda __name, **options: registry(__name, **options), tuple(fields))

    @rules.struct_rule
    def choices(info: StructTypeInfo) -> StructConstructorSpec | None:
        default: Any = info.default
        if not isinstance(default, tuple) or not _nested(default):
            return None
        chosen = typing.cast(tuple[Choice[Any], ...], default)
        names: Any = Annotated[tuple[Literal[tuple(chosen[0].registry)], ...], tyro.conf.arg(name="")]  # pyright: ignore
        help_text = "By name, in order; the options of each follow its number."
        fields = [StructFieldSpec("__names", names, tuple(choice.name for choice in chosen), help_text)]
        fields += [StructFieldSpec(str(index), Choice[Any], choice, None) for index, choice in enumerate(chosen)]
        return StructConstructorSpec(lambda __names, **items: tuple(items.values()), tuple(fields))

    return rules
