"""What each method is expected to score over what it stores, and the line of the price."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from bitfit_probe.records.recommendation import METHODS, Recommendation
from bitfit_probe.rendering.charts.canvas import ACCENT, INK, MUTED, SURFACE, Canvas, Panel
from bitfit_probe.rendering.figures import measure
from bitfit_probe.rendering.words import short_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["gaps"]

#: Narrow enough for a telephone; where each figure comes from stands in the table beside it.
_LEFT, _WIDE, _HIGH, _HEAD, _FOOT = 0.55, 2.7, 1.7, 0.12, 0.5


class _Point(NamedTuple):
    method: str
    stored: int
    gap: float
    interval: tuple[float, float]


def gaps(found: Recommendation, *, title: str = "") -> Panel | None:
    """Expected gaps with intervals over stored parameters; the advised method is filled.

    Every point on the dashed line is worth the same at the price that was asked.

    Returns
    -------
    Panel or None
        None where nothing is expected of any method.
    """
    stored = {cost.method: cost.trainable for cost in found.costs}
    points = [
        _Point(row.method, stored[row.method], row.gap, row.interval)
        for row in found.expected
        if stored.get(row.method)
    ]
    if not points:
        return None

    def draw(canvas: Canvas) -> None:
        _draw(canvas.axes(_LEFT, _HEAD, _WIDE, _HIGH), points, found)

    return Panel(_LEFT + _WIDE, _HEAD + _HIGH + _FOOT, draw, _words(points, found.price), title)


def _words(points: list[_Point], price: float) -> str:
    gap = measure("gap")
    told = ", ".join(
        f"{METHODS.get(point.method, point.method)} {gap.text(point.gap)} {gap.interval(point.interval)} "
        f"with {point.stored:,} parameters"
        for point in points
    )
    return f"Points expected below the best method, with 80 % intervals: {told}. Price: {price:g} a tenfold."


def _draw(axes: Axes, points: list[_Point], found: Recommendation) -> None:
    for point in points:
        axes.plot((point.stored, point.stored), point.interval, color=INK, linewidth=1.2)
        face = ACCENT if point.method == found.advice.method else SURFACE
        axes.plot(
            point.stored, point.gap, marker="o", markersize=5.5, markerfacecolor=face, markeredgecolor=INK
        )
        axes.annotate(
            short_name(point.method), (point.stored, point.gap), (6, 0), textcoords="offset points", size=8
        )
    axes.set_xscale("log")
    left = min(point.stored for point in points) / 2
    right = max(point.stored for point in points) * 6  # room for the last name
    axes.set_xlim(left, right)
    advised = next((point for point in points if point.method == found.advice.method), None)
    if advised is not None:
        ends = [advised.gap - found.price * math.log10(at / advised.stored) for at in (left, right)]
        axes.plot((left, right), ends, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
    most = max(point.interval[1] for point in points) or 1.0
    axes.set_ylim(1.1 * most, -0.1 * most)
    axes.tick_params(labelsize=8)
    axes.set_xlabel("stored parameters; filled: advised", size=8)
    axes.set_ylabel("points below the best", size=8)
