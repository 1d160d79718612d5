"""When what was compiled is too old."""

import hashlib
from functools import cache
from pathlib import Path


@cache
def sources() -> str:
    """A hash of all modules that what is compiled may call."""
    files = sorted(Path(__file__).parent.rglob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
