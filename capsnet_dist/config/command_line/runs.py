"""The command line of a run: a configuration written in Python, overlaid from flags and files."""

import contextlib
import dataclasses
import inspect
import io
import sys
import typing
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from capsnet_dist.config import KEPT, from_dict, import_kept, import_plugins
from capsnet_dist.config.command_line.helps import field_docs
from capsnet_dist.config.command_line.rules import readable, rules
from capsnet_dist.config.command_line.words import choose, split_words, values_of
from capsnet_dist.errors import UserError
from capsnet_dist.files import expanded, read_json
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
    words = split_words(argv)
    files = values_of(words, "--config")[-1:]
    for source in values_of(words, "--import"):
        _import(source, files)
    default = choose(overlaid(default, words), words)
    description = inspect.getdoc(type(default)) or ""
    with _said_once():
        command_type = _command(flags(default))
        run = tyro.cli(command_type, prog=program, args=argv, description=description, registry=rules()).run
    return type(default)(**_fields(run))


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
    types = {name: readable(type_, helps.get(name)) for name, type_ in types.items()}
    types |= {name: Annotated[Any, tyro.conf.Suppress] for name in hidden}
    fields = [(name, types[name], dataclasses.field(default=values[name])) for name in values]
    return dataclasses.make_dataclass(kind.__name__, fields, bases=(kind,), frozen=True, kw_only=True)(**values)


def overlaid(default: C, words: Sequence[str]) -> C:
    """The configuration with the values of the saved one that `--config` names.

    Raises:
        UserError: that is no saved configuration, or does not fit this one.
    """
    for file in values_of(words, "--config")[-1:]:
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


def _import(source: str, config_files: Sequence[str]) -> None:
    """Obey `--import` of a training: "kept" is what the run has kept whose configuration is repeated."""
    if source != KEPT:
        import_plugins(source)
    elif config_files:
        import_kept(expanded(config_files[0]))
    else:
        raise UserError(f"--import {KEPT} is for what a run has kept: give --config RUN/config.json, too.")


def _fields(config: Any) -> dict[str, Any]:
    return {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}


def _command(default: Any) -> Any:
    """The whole command line: what is read first, then the options of the run."""
    import tyro

    config_help = "A saved config.json whose values replace the defaults: repeats that run."
    import_help = f'Python files or modules that register plugins; "{KEPT}": those beside the file of --config.'
    config = Annotated[readable(Path | None), tyro.conf.arg(help=config_help)]
    imports_flag: Any = tyro.conf.arg(name="import", metavar="FILE|MODULE", help=import_help)
    imports = Annotated[readable(tuple[str, ...]), imports_flag]
    run = Annotated[type(default), tyro.conf.arg(name="")]
    fields = [("config", config, None), ("imports", imports, ()), ("run", run, dataclasses.field(default=default))]
    return dataclasses.make_dataclass("Command", fields, frozen=True)


@contextlib.contextmanager
def _said_once() -> Generator[None]:
    """Let rank 0 alone say what tyro has to say: its `console_outputs` does not silence bad values."""
    silence = io.StringIO() if not speaks() else None
    with contextlib.ExitStack() as stack:
        for redirect in (contextlib.redirect_stdout, contextlib.redirect_stderr) if silence else ():
            stack.enter_context(redirect(silence))
        yield
