"""Mistakes of the user: one message with the value, the rule and the mend."""

import difflib
from collections.abc import Iterable

from capsnet_dist.text import printable


class UserError(ValueError):
    """Something the user gave cannot be used; programs print the message and exit with code 2.

    Args:
        message: Value, rule and mend; what does not show of a name in it is escaped.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class Misplaced(UserError):
    """What the launcher told this process cannot be, which others may not know of: each says it for itself."""


class ProcessLost(RuntimeError):
    """Another process of this run hangs, failed or died; programs print the message and exit with code 1."""


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
