"""Mistakes of the user: one message with the value, the rule and the mend."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Something the user gave cannot be used; programs print the message and exit with code 2."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown word: the nearest known one, and all of them.

    >>> did_you_mean("ems", ["dynamic", "em"])
    " Did you mean 'em'? Known: dynamic, em."
    """
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1)
    nearest = f" Did you mean {close[0]!r}?" if close else ""
    return f"{nearest} Known: {', '.join(known) or 'none'}."
