"""Groups ranked by every measure side by side, with what reverting them did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bitfit_probe.records.measures import Group, Ranked, Ranking, Revert, Reverting
from bitfit_probe.rendering.charts.canvas import ACCENT, INK, MUTED, SURFACE, Canvas, Panel, label
from bitfit_probe.rendering.figures import RANKED, measure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ranking_bars"]

_ROW, _LABEL, _WIDE, _BETWEEN, _HEAD, _FOOT = 0.24, 1.2, 1.32, 0.24, 0.28, 0.34


def ranking_bars(
    ranking: Ranking, reverting: Reverting | None = None, *, title: str = "", most: int = 24
) -> Panel | None:
    """One column of bars a measure, and the loss that reverting each group costs with its interval.

    Parameters
    ----------
    ranking
        Groups, those that moved most first.
    reverting
        What putting groups back did; matched to the ranking by role, stack and layer.
    title
        Above the figure.
    most
        How many groups to draw.

    Returns
    -------
    Panel or None
        None where nothing was ranked.
    """
    rows = ranking.rows[:most]
    names = [name for name in RANKED if any(getattr(row, name) is not None for row in rows)]
    if not rows or not names:
        return None
    reverted = {} if reverting is None else {_key(revert.group): revert for revert in reverting.rows}
    shown = [reverted.get(_key(row.group)) for row in rows]
    columns = len(names) + any(shown)
    height = _HEAD + _ROW * len(rows) + _FOOT

    def draw(canvas: Canvas) -> None:
        for number, name in enumerate(names):
            column = number + (number > 0 and any(shown))  # what reverting did stands beside what moved
            axes = canvas.axes(_LABEL + column * (_WIDE + _BETWEEN), _HEAD, _WIDE, _ROW * len(rows))
            _bars(axes, rows, name, named=number == 0)
        if any(shown):
            axes = canvas.axes(_LABEL + _WIDE + _BETWEEN, _HEAD, _WIDE, _ROW * len(rows))
            _points(axes, shown, reverting)

    return Panel(
        _LABEL + columns * (_WIDE + _BETWEEN), height, draw, _words(ranking, rows, reverting, most), title
    )


def _key(group: Group) -> tuple[str | None, str | None, int | None, tuple[str, ...]]:
    return group.role, group.stack, group.layer, group.names


def _words(ranking: Ranking, rows: Sequence[Ranked], reverting: Reverting | None, most: int) -> str:
    order = ", ".join(
        f"{_name(row.group)} {row.mean_abs_delta:.3g}" for row in rows if row.mean_abs_delta is not None
    )
    what = measure("mean_abs_delta").label
    text = f"Bars of the {len(rows)} {ranking.by} groups that moved most, {what}: {order}."
    if reverting is not None and reverting.rows:
        lost = ", ".join(f"{_name(row.group)} {row.loss_change:+.3g}" for row in reverting.rows[:most])
        text += f" Loss change in nats when reverted: {lost}."
    return text


def _name(group: Group) -> str:
    name = group.names[0] if group.role is None and group.layer is None and group.names else group.label
    return label(name, 17)


def _bars(axes: Axes, rows: Sequence[Ranked], name: str, *, named: bool) -> None:
    import seaborn

    values = [getattr(row, name) for row in rows]
    places = list(range(len(rows)))
    seaborn.barplot(
        x=[value if value is not None else 0.0 for value in values],
        y=[str(place) for place in places],
        ax=axes,
        color=ACCENT,
        saturation=1,
        width=0.66,
        orient="h",
    )
    for bar, row in zip(axes.patches, rows, strict=True):
        if row.group.no_effect or row.noise_floor:
            bar.set(
                facecolor=SURFACE,
                edgecolor=INK,
                hatch="////" if row.group.no_effect else "....",
                linewidth=0.8,
            )
    _rows(axes, [_named(row) for row in rows] if named else None, len(rows))
    axes.set_title(measure(name).label, loc="left", size=9, pad=6)
    peak = max((value for value in values if value is not None), default=0.0)
    axes.set_xlim(min([0.0, *(value for value in values if value is not None)]), (peak or 1.0) * 1.28)
    for place, value in zip(places, values, strict=True):
        text = "–" if value is None else f"{value:#.2g}".rstrip(".")
        axes.text((value or 0.0) + (peak or 1.0) * 0.03, place, text, va="center", size=8, color=INK)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)


def _named(row: Ranked) -> str:
    mark = (
        " (no effect)"
        if row.group.no_effect
        else " (noise)"
        if row.noise_floor
        else " (tie)"
        if row.tied
        else ""
    )
    return f"{_name(row.group)}{mark}"


def _rows(axes: Axes, names: list[str] | None, count: int) -> None:
    axes.set(xlabel="", ylabel="")
    axes.set_ylim(count - 0.5, -0.5)
    axes.set_yticks(range(count), names if names is not None else [""] * count)
    axes.tick_params(axis="y", length=0)


def _points(axes: Axes, shown: Sequence[Revert | None], reverting: Reverting | None) -> None:
    axes.axvline(0, color=MUTED, linewidth=0.8)
    if reverting is not None:
        axes.axvline(reverting.tolerance, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
    for place, revert in enumerate(shown):
        if revert is None:
            continue
        axes.plot(revert.loss_interval, (place, place), color=INK, linewidth=1.2)
        for end in revert.loss_interval:
            axes.plot((end, end), (place - 0.16, place + 0.16), color=INK, linewidth=1.2)
        face = SURFACE if revert.free else ACCENT
        axes.plot(
            revert.loss_change, place, marker="o", markersize=5, markerfacecolor=face, markeredgecolor=INK
        )
    _rows(axes, None, len(shown))
    axes.set_title("loss when reverted", loc="left", size=9, pad=6)
    axes.tick_params(axis="x", labelsize=8)
    axes.locator_params(axis="x", nbins=4)
    axes.set_xlabel("hollow: free to revert", size=8)
