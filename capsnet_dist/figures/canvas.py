"""What every figure is drawn on: names are text and never formulas, on a light or on a dark page."""

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, Literal, ParamSpec

from capsnet_dist.text import escape, printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure
else:
    Figure = Any  # matplotlib is imported when the first figure is drawn

LONGEST = 40
"""Characters of a name; longer ones would leave no room for what they name."""
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#999933", "#882255")
"""Colours that also people who see no red or green tell apart (Okabe and Ito, 2008; the last two after Tol, 2021)."""
MANY = (
    "#3f90da", "#ffa90e", "#bd1f01", "#832db6", "#94a4a2", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd"
)  # fmt: skip
"""Ten colours, for where eight are too few (Petroff, 2021, figure 8)."""
DPI = 120

Theme = Literal["light", "dark"]
_COLOURS = {"light": ("white", "#1a1a1a", "#8c8c8c"), "dark": ("#16181d", "#e8e8e8", "#8c8c8c")}

P = ParamSpec("P")


@contextmanager
def theme(name: Theme) -> Generator[None]:
    """Draw what follows for a light or a dark page; outside, the user's matplotlib settings hold."""
    from cycler import cycler
    from matplotlib import rc_context

    page, ink, faint = _COLOURS[name]
    keys = {page: ("figure.facecolor", "axes.facecolor", "savefig.facecolor")}
    keys |= {ink: ("text.color", "axes.labelcolor", "axes.titlecolor", "xtick.labelcolor", "ytick.labelcolor")}
    keys |= {faint: ("axes.edgecolor", "xtick.color", "ytick.color", "grid.color", "legend.edgecolor")}
    colours = {key: colour for colour, names in keys.items() for key in names}
    lines = {"axes.spines.top": False, "axes.spines.right": False, "axes.prop_cycle": cycler(color=PALETTE)}
    sizes = {"font.size": 9, "axes.titlesize": 10, "axes.labelsize": 9, "legend.fontsize": 8, "legend.frameon": False}
    settings: Any = colours | lines | sizes | {"font.family": ["sans-serif"]}
    with rc_context(settings):
        yield


def drawing(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """A function that draws a figure, in which `$` and TeX stand for themselves."""

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Figure:
        from matplotlib import rc_context
        from matplotlib.text import Text

        with rc_context({"text.parse_math": False, "text.usetex": False}):
            figure = draw(*args, **kwargs)
            figure.findobj(Text)  # makes the labels of all ticks, which would else be made when the figure is saved
        return figure

    return drawn


def canvas(width: float, height: float, layout: Literal["constrained", "none"] = "constrained") -> Any:
    """An empty Figure, of so many inches.

    Args:
        width: In inches.
        height: In inches.
        layout: "constrained": it makes room for all that is written on it. "none": everything stays where it is put,
            which is several times as fast.
    """
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI, layout=None if layout == "none" else layout)


def labels(names: Iterable[str], longest: int = LONGEST) -> list[str]:
    """Names as a figure can show them: cut where they are long, with escapes for what the fonts do not have."""
    from matplotlib import rcParams
    from matplotlib.font_manager import FontProperties, findfont, get_font

    fonts = [get_font(findfont(FontProperties(family=[family]))) for family in rcParams["font.family"]]
    known = set().union(*(font.get_charmap() for font in fonts))
    cut = (_shortened(name, longest) for name in map(printable, names))
    return ["".join(c if ord(c) in known else escape(c) for c in name) for name in cut]


def _shortened(name: str, longest: int) -> str:
    """Beginning and end of a name that is too long: many names of classes differ in the end alone."""
    end = (longest - 3) // 3
    return name if len(name) <= longest else f"{name[: longest - 3 - end]}...{name[len(name) - end :]}"


def inches(texts: Iterable[str], size: float) -> float:
    """How wide the longest of some texts is, in letters of so many points."""
    from matplotlib import rcParams
    from matplotlib.font_manager import FontProperties, findfont, get_font

    font = get_font(findfont(FontProperties(family=rcParams["font.family"])))
    font.set_size(size, 72)  # dots an inch, so that a dot is a point
    widths = [0.0]
    for text in texts:
        font.set_text(text)
        widths.append(font.get_width_height()[0] / 64 / 72)  # 64ths of a dot
    return max(widths)


def placed(figure: Any, left: float, bottom: float, width: float, height: float) -> Any:
    """Axes at a place in inches, on a canvas without a layout."""
    across, up = figure.get_size_inches()
    return figure.add_axes((left / across, bottom / up, width / across, height / up))


def ink() -> Any:
    """The colour of texts on the page."""
    from matplotlib import rcParams

    return rcParams["text.color"]


def page() -> Any:
    """The colour of the page."""
    from matplotlib import rcParams

    return rcParams["figure.facecolor"]


def readable_on(colour: Any) -> str:
    """Black or white: which of the two has more contrast with a colour (WCAG 2.2)."""
    return "black" if luminance(colour) > 0.179 else "white"  # (1.05 / (L + 0.05)) = (L + 0.05) / 0.05


def luminance(colour: Any) -> float:
    """Relative luminance of a colour, 0 for black and 1 for white (WCAG 2.2)."""
    from matplotlib.colors import to_rgb

    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
