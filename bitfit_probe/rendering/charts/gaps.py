"""How far each method is expected below the best one: a point and its interval a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bitfit_probe.records.recommendation import METHODS, Expected, Recommendation
from bitfit_probe.rendering.charts.canvas import ACCENT, INK, MUTED, SURFACE, Canvas, Panel
from bitfit_probe.rendering.figures import measure
from bitfit_probe.rendering.words import short_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["gaps"]

#: Narrow enough for a telephone; where each figure comes from stands in the table beside it.
_LABEL, _WIDE, _ROW, _HEAD, _FOOT = 0.6, 2.6, 0.32, 0.1, 0.5


def gaps(found: Recommendation, *, title: str = "") -> Panel | None:
    """Expected gaps with intervals; the advised method is filled, and the margin a dashed line.

    Returns
    -------
    Panel or None
        None where nothing is expected of any method.
    """
    rows = found.expected
    if not rows:
        return None
    height = _ROW * len(rows)

    def draw(canvas: Canvas) -> None:
        _draw(canvas.axes(_LABEL, _HEAD, _WIDE, height), rows, found)

    return Panel(_LABEL + _WIDE, _HEAD + height + _FOOT, draw, _words(rows, found.margin), title)


def _words(rows: Sequence[Expected], margin: float) -> str:
    gap = measure("gap")
    told = ", ".join(
        f"{METHODS.get(row.method, row.method)} {gap.text(row.gap)} "
        f"{gap.interval(row.interval)} ({row.basis})"
        for row in rows
    )
    return f"Points expected below the best method, with 80 % intervals: {told}. Margin: {margin:g}."


def _draw(axes: Axes, rows: Sequence[Expected], found: Recommendation) -> None:
    axes.axvline(0, color=MUTED, linewidth=0.8)
    axes.axvline(found.margin, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
    for place, row in enumerate(rows):
        axes.plot(row.interval, (place, place), color=INK, linewidth=1.2)
        for end in row.interval:
            axes.plot((end, end), (place - 0.16, place + 0.16), color=INK, linewidth=1.2)
        face = ACCENT if row.method == found.method else SURFACE
        axes.plot(row.gap, place, marker="o", markersize=5.5, markerfacecolor=face, markeredgecolor=INK)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(range(len(rows)), [short_name(row.method) for row in rows])
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8)
    axes.locator_params(axis="x", nbins=6)
    axes.set_xlabel("points below the best; filled: advised", size=8)
    right = max(found.margin, *(row.interval[1] for row in rows))
    left = min(0.0, *(row.interval[0] for row in rows))
    span = (right - left) or 1.0
    axes.set_xlim(left - 0.04 * span, right + 0.06 * span)
