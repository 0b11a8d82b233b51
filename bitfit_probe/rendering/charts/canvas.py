"""What charts are drawn on: measured in inches from the top left, in the house's type and colours."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bitfit_probe.errors import MissingExtraError
from bitfit_probe.rendering.words import printable, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure

__all__ = [
    "ACCENT",
    "INK",
    "LINES",
    "MARKERS",
    "MUTED",
    "SURFACE",
    "Canvas",
    "Panel",
    "annotate",
    "drawn",
    "label",
    "sequential",
]

# Inside a page these four follow the page's theme (`files.to_inline_svg` finds them by their value), so no
# other thing in a figure may have them.
INK, MUTED, ACCENT, SURFACE = "#1b1f24", "#8a9099", "#2f6690", "#fefefe"
#: Okabe and Ito's colours for colour-blind eyes, without those too light for paper.
LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56a0d3", "#8f63b8", "#6e6e6e")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")

MARGIN, TITLE, GAP = 0.12, 0.3, 0.36
_POINTS = 9

_SETTINGS: dict[str, Any] = {
    "axes.edgecolor": MUTED,
    "axes.facecolor": "none",
    "axes.labelcolor": INK,
    "axes.labelsize": _POINTS,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.unicode_minus": True,
    "figure.facecolor": SURFACE,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": _POINTS,
    "hatch.color": INK,
    "hatch.linewidth": 0.6,
    "savefig.facecolor": "auto",
    "svg.fonttype": "none",
    "svg.hashsalt": "bitfit-probe",
    "text.color": INK,
    "text.parse_math": False,  # a $ in a tensor's name is a $
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "xtick.labelsize": _POINTS,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
    "ytick.labelsize": _POINTS,
}


@dataclass(frozen=True)
class Panel:
    """One chart: its size in inches without the title, how to draw it, and what it says in words."""

    width: float
    height: float
    draw: Callable[[Canvas], None]
    words: str
    title: str = ""

    @property
    def room(self) -> float:
        """Height with the title."""
        return self.height + (TITLE if self.title else 0)


class Canvas:
    """A part of a figure that a panel draws on."""

    def __init__(self, figure: Figure, top: float) -> None:
        self.figure = figure
        self._top = top

    def axes(self, left: float, top: float, width: float, height: float, **more: Any) -> Axes:
        """Axes at so many inches from the panel's top left corner."""
        whole_width, whole_height = self.figure.get_size_inches()
        bottom = whole_height - self._top - top - height
        place = (
            (left + MARGIN) / whole_width,
            bottom / whole_height,
            width / whole_width,
            height / whole_height,
        )
        return self.figure.add_axes(place, **more)

    def text(self, left: float, top: float, words: str, **more: Any) -> None:
        """Text whose top left corner is there."""
        width, height = self.figure.get_size_inches()
        style = {"va": "top", "ha": "left", **more}
        self.figure.text((left + MARGIN) / width, 1 - (self._top + top) / height, words, **style)


@contextmanager
def drawn(panels: Sequence[Panel]) -> Iterator[Figure]:
    """A figure with the panels below each other, and the settings that writing it needs."""
    try:
        import matplotlib as mpl
        import matplotlib.style
        import seaborn  # noqa: F401 -- the charts need it
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(
            f"figures need {error.name}", advice='install it with: pip install "bitfit-probe[report]"'
        ) from error
    with mpl.style.context(["default", _SETTINGS], after_reset=True):
        width = max(panel.width for panel in panels) + 2 * MARGIN
        height = sum(panel.room for panel in panels) + GAP * (len(panels) - 1) + 2 * MARGIN
        made = Figure(figsize=(width, height))
        FigureCanvasAgg(made)
        top = MARGIN
        for panel in panels:
            if panel.title:
                Canvas(made, top).text(0, 0, printable(panel.title), weight="bold", size=_POINTS + 1)
            panel.draw(Canvas(made, top + panel.room - panel.height))
            top += panel.room + GAP
        yield made


def sequential() -> ListedColormap:
    """The mako map of seaborn from light to dark, without its black end, which would sink into a dark page.

    Perceptually uniform, and its lightness falls all the way: the same order in grey and for every eye.
    """
    import numpy as np
    import seaborn
    from matplotlib.colors import ListedColormap

    return ListedColormap(seaborn.color_palette("mako_r", as_cmap=True)(np.linspace(0, 0.8, 256)))


def annotate(axes: Axes, shares: Any, texts: Sequence[Sequence[str]]) -> None:
    """Write each cell's text in black or white, whichever stands out more from the cell's colour.

    Parameters
    ----------
    shares
        Where each cell lies on the colour scale, 0 to 1; NaN for a cell that has no colour.
    texts
        What to write, in the same shape.
    """
    scale = sequential()
    for row, line in enumerate(texts):
        for column, text in enumerate(line):
            share = float(shares[row][column])
            colour = MUTED if share != share else "#ffffff" if _dark(scale(share)) else "#111111"
            axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", size=8, color=colour)


def _dark(colour: Sequence[float]) -> bool:
    """Whether white stands out more than black: the relative luminance of WCAG 2.2 is below .179."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour[:3]]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] < 0.179


def label(text: str, width: int = 28) -> str:
    """A name from a file, safe and short enough for a figure."""
    return shorten(printable(text), width)
