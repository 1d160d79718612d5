"""How a program ends: after a mistake of the user with one line, and with the exit code that says why."""

import os
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager

from capsnet_dist.errors import Misplaced, ProcessLost, UserError
from capsnet_dist.world import rank, speaks


@contextmanager
def user_errors() -> Generator[None]:
    """Print a UserError once, from rank 0 unless it is of one process alone, and exit with code 2; a lost process: 1.

    Leave quietly when interrupted, or when nobody reads any more what is printed, as after `| head`.
    """
    try:
        with _leaving_when_unread():
            yield
    except UserError as error:
        if speaks() or isinstance(error, Misplaced):
            print(f"Error: {error}", file=sys.stderr)  # noqa: T201
        else:
            _let_rank_0_speak()
        sys.exit(2)
    except SystemExit as end:
        if end.code == 2:  # of the command line, which rank 0 explains
            _let_rank_0_speak()
        raise
    except ProcessLost as error:
        print(f"Rank {rank()}: {error}", file=sys.stderr)  # noqa: T201
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
    if not speaks():
        time.sleep(10)
