"""Mistakes of the user: one message with the value, the rule and the mend."""

import difflib
import os
import sys
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager

from capsnet_dist.text import printable


class UserError(ValueError):
    """Something the user gave cannot be used; programs print the message and exit with code 2.

    Args:
        message: Value, rule and mend; what does not show of a name in it is escaped.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class ProcessLost(RuntimeError):
    """Another process of this run hangs, failed or died; programs print the message and exit with code 1."""


@contextmanager
def user_errors() -> Generator[None]:
    """Print a UserError once, from rank 0, and exit with code 2; a lost process: 1.

    Leave quietly when interrupted, or when nobody reads any more what is printed, as after `| head`.
    """
    try:
        with _leaving_when_unread():
            yield
    except UserError as error:
        if int(os.environ.get("RANK", "0")) == 0:
            print(f"Error: {error}", file=sys.stderr)  # noqa: T201
        _let_rank_0_speak()
        sys.exit(2)
    except SystemExit as end:
        if end.code == 2:  # of the command line, which rank 0 explains
            _let_rank_0_speak()
        raise
    except ProcessLost as error:
        print(f"Rank {os.environ.get('RANK', '0')}: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)  # 128 + SIGINT, as shells count


@contextmanager
def _leaving_when_unread() -> Generator[None]:
    """End with SIGPIPE's exit code where nobody reads what is printed; what is left of it goes nowhere."""
    try:
        try:
            yield
        except SystemExit:  # of the command line, after its help
            sys.stdout.flush()
            raise
        sys.stdout.flush()
    except BrokenPipeError:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except BrokenPipeError:  # or the exit would fail once more
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        sys.exit(141)  # 128 + SIGPIPE, as shells count


def _let_rank_0_speak() -> None:
    """Wait on other ranks: the launcher ends all processes when one ends."""
    if int(os.environ.get("RANK", "0")) != 0:
        time.sleep(10)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown word: the nearest known one, and all of them.

    >>> from capsnet_dist.errors import did_you_mean
    >>> did_you_mean("ems", ["dynamic", "em"])
    " Did you mean 'em'? Known: dynamic, em."
    """
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1)
    nearest = f" Did you mean {close[0]!r}?" if close else ""
    return f"{nearest} Known: {', '.join(known) or 'none'}."
