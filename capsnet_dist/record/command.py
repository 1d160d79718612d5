"""The command that started a program."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil


def command() -> str:
    """The command line as it was typed, with what launched this process, as far as the system tells."""
    own = list(sys.orig_argv)
    started = len(own) - len(sys.argv)  # the script, or the module after `-m`
    if own[started + 1 :] == sys.argv[1:]:
        own = _outermost(own, own[started:])
    return shlex.join(_without_interpreter(own))


def _outermost(own: list[str], words: Sequence[str]) -> list[str]:
    """The words of the first of our ancestors that was told to start these words, as launchers are; else our own."""
    try:
        for ancestor in psutil.Process().parents():
            theirs = ancestor.cmdline()
            if theirs[-len(words) :] != words:
                break
            own = theirs
    except (psutil.Error, OSError):
        pass  # processes of others may be hidden
    return own


def _without_interpreter(words: Sequence[str]) -> Sequence[str]:
    """A command line in which a program that is installed beside its interpreter goes by its name."""
    interpreter, *rest = words
    if not Path(interpreter).name.startswith("python"):
        return words
    if rest and Path(rest[0]).parent == Path(interpreter).parent and Path(rest[0]).is_absolute():
        return [Path(rest[0]).name, *rest[1:]]
    return [Path(interpreter).name, *rest]
