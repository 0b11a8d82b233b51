"""How alike several checkpoints of one base moved."""

from __future__ import annotations

from bitfit_probe.records.measures import Likeness
from bitfit_probe.rendering.charts.canvas import SURFACE, Canvas, Panel, annotate, label, sequential
from bitfit_probe.rendering.words import LIKENESS_OF

__all__ = ["likeness_matrix"]

_CELL, _LABEL, _HEAD, _FOOT = 0.52, 2.5, 0.3, 0.3


def likeness_matrix(likeness: Likeness, *, title: str = "") -> Panel | None:
    """Cosines between deltas as a matrix with its values; None for fewer than two checkpoints."""
    count = len(likeness.names)
    if count < 2:
        return None
    known = [value for row in likeness.cosine for value in row if value is not None]
    least = -1.0 if min(known, default=0.0) < 0 else 0.0
    names = [label(name, 30) for name in likeness.names]

    def draw(canvas: Canvas) -> None:
        import numpy as np
        import seaborn

        axes = canvas.axes(_LABEL, _HEAD, _CELL * count, _CELL * count)
        table = np.array([[np.nan if value is None else value for value in row] for row in likeness.cosine])
        seaborn.heatmap(
            table,
            ax=axes,
            mask=np.isnan(table),
            vmin=least,
            vmax=1,
            cmap=sequential(),
            cbar=False,
            linewidths=1,
            linecolor=SURFACE,
        )
        texts = [["–" if value is None else f"{value:.2f}" for value in row] for row in likeness.cosine]
        annotate(axes, (table - least) / (1 - least), texts)
        axes.xaxis.tick_top()
        axes.set_xticklabels([str(number + 1) for number in range(count)])
        axes.set_yticklabels(
            [_named(number, name, likeness) for number, name in enumerate(names)], rotation=0
        )
        axes.tick_params(length=0)
        canvas.text(
            _LABEL,
            _HEAD + _CELL * count + 0.08,
            f"cosine between {LIKENESS_OF[likeness.of]}, {likeness.role or 'all roles'}; "
            "1 is the same direction",
            size=8,
        )

    return Panel(
        _LABEL + max(_CELL * count, 3.9), _HEAD + _CELL * count + _FOOT, draw, _words(likeness), title
    )


def _named(number: int, name: str, likeness: Likeness) -> str:
    odd = "odd one out ▸ " if number == likeness.odd_one_out else ""
    return f"{odd}{number + 1}  {name if not odd else label(name, 18)}"


def _words(likeness: Likeness) -> str:
    pairs = [
        f"{label(likeness.names[row])} and {label(likeness.names[column])} {value:.2f}"
        for row in range(len(likeness.names))
        for column in range(row)
        if (value := likeness.cosine[row][column]) is not None
    ]
    odd = likeness.odd_one_out
    end = "" if odd is None else f" Odd one out: {label(likeness.names[odd])}."
    return f"Matrix of cosines between {LIKENESS_OF[likeness.of]}: {', '.join(pairs)}.{end}"
