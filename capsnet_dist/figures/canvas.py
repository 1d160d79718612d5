"""What every figure is drawn on: names are text and never formulas."""

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from capsnet_dist.text import escape, printable

LONGEST = 40
"""Characters of a name; longer ones would leave no room for what they name."""


@contextmanager
def drawn(file: Path, figsize: tuple[float, float]) -> Generator[Any]:
    """A matplotlib Figure to draw on, saved as a PNG at the end; `$` and TeX in its texts stand for themselves."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"text.parse_math": False, "text.usetex": False}):
        figure = Figure(figsize=figsize, layout="constrained")
        yield figure
        figure.savefig(file, dpi=120)


def labels(names: Iterable[str]) -> list[str]:
    """Names as a figure can show them: cut where they are long, with escapes for what the fonts do not have."""
    from matplotlib import rcParams
    from matplotlib.font_manager import FontProperties, findfont, get_font

    fonts = [get_font(findfont(FontProperties(family=[family]))) for family in rcParams["font.family"]]
    known = set().union(*(font.get_charmap() for font in fonts))
    cut = (name if len(name) <= LONGEST else f"{name[: LONGEST - 3]}..." for name in map(printable, names))
    return ["".join(c if ord(c) in known else escape(c) for c in name) for name in cut]
