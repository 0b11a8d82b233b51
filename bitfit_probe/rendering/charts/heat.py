"""The BitFit paper's figure: roles × layers by mean|Δb|."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bitfit_probe.records import Comparison, RoleDelta
from bitfit_probe.rendering.charts.canvas import SURFACE, Canvas, Panel, annotate, sequential
from bitfit_probe.rendering.figures import measure
from bitfit_probe.rendering.heatmap import (
    Grid,
    bias_roles_or_matrices,
    grids,
    matrix_roles,
    outside,
    peak_of,
    power_of_ten,
    scaled,
    units,
)
from bitfit_probe.rendering.words import part_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["heat_map"]

_CELL, _ROW, _LABEL, _MEAN_GAP = 0.43, 0.27, 0.95, 0.1
_HEAD, _STACK, _BLOCK_GAP, _SCALE = 0.24, 0.26, 0.16, 0.56
#: Layers side by side; more go below.
_MOST = 16


def heat_map(
    comparison: Comparison, *, matrices: bool = False, title: str = "", peak: float | None = None
) -> Panel | None:
    """mean|Δb| by role and layer, rows by their total, the last column their mean.

    Parameters
    ----------
    comparison
        What to draw.
    matrices
        Draw the matrices, which is what is drawn anyhow where no bias moved.
    title
        Above the figure.
    peak
        Upper end of the colour scale, to share it between figures; the largest cell if None.

    Returns
    -------
    Panel or None
        None where nothing moved inside the layers.
    """
    roles = matrix_roles(comparison) if matrices else bias_roles_or_matrices(comparison)
    of_biases = roles is comparison.roles
    what = f"{measure('mean_abs_delta').label} of {'biases' if of_biases else 'matrices'}"
    found = [grid for grid in grids(roles) if any(cell.moved for cell in grid.cells.values())]
    if not found:
        return None
    return _panel(found, roles, what, of_biases and bool(comparison.key_bias_cancels), title, peak)


def _panel(
    found: Sequence[Grid],
    roles: Sequence[RoleDelta],
    what: str,
    cancels: bool,
    title: str,
    peak: float | None,
) -> Panel:
    top = peak or peak_of(cell for grid in found for cell in grid.cells.values())
    power = power_of_ten(top)
    columns = max(len(block) for grid in found for block in grid.blocks(_MOST))
    named = len(found) > 1 or found[0].stack is not None
    rest = outside(roles)

    def draw(canvas: Canvas) -> None:
        at = 0.0
        for grid in found:
            if named:
                canvas.text(0, at, part_name(grid.stack or "layers"), weight="bold")
                at += _STACK
            for number, block in enumerate(grid.blocks(_MOST)):
                last = number == len(grid.blocks(_MOST)) - 1
                _block(canvas, at, grid, block, last=last, power=power, peak=top, cancels=cancels)
                at += _HEAD + _ROW * len(grid.roles) + _BLOCK_GAP
        _scale(canvas, at, f"{what}{', ' if power else ''}{units(power)}", power, top)
        if rest:
            cells = ", ".join(f"{role.role} {scaled(role, power)}" for role in rest)
            canvas.text(_LABEL, at + _SCALE, f"outside the layers: {cells}", size=8)

    height = sum(
        (_STACK if named else 0) + len(grid.blocks(_MOST)) * (_HEAD + _ROW * len(grid.roles) + _BLOCK_GAP)
        for grid in found
    )
    width = _LABEL + _CELL * (columns + 1) + _MEAN_GAP
    return Panel(
        max(width, 4.2), height + _SCALE + (0.2 if rest else 0), draw, _words(found, what, power), title
    )


def _words(found: Sequence[Grid], what: str, power: int) -> str:
    """What a person hears who can't see the figure: the rows' means, in their order."""
    rows = []
    for grid in found:
        means = ((role, grid.mean(role)) for role in grid.roles)
        cells = ", ".join(f"{role} {mean / 10.0**power:.2f}" for role, mean in means if mean is not None)
        rows.append(f"{part_name(grid.stack) + ': ' if grid.stack else ''}{cells}")
    layers = max(len(grid.layers) for grid in found)
    unit = f" {units(power)}" if power else ""
    return f"Heat map of {what} by role over {layers} layers; row means{unit}: {'; '.join(rows)}."


def _block(
    canvas: Canvas,
    at: float,
    grid: Grid,
    layers: Sequence[int],
    *,
    last: bool,
    power: int,
    peak: float,
    cancels: bool,
) -> None:
    height = _ROW * len(grid.roles)
    texts = [[scaled(grid.cells.get((role, layer)), power) for layer in layers] for role in grid.roles]
    values = [[_value(grid.cells.get((role, layer))) for layer in layers] for role in grid.roles]
    axes = canvas.axes(_LABEL, at + _HEAD, _CELL * len(layers), height)
    _cells(axes, values, texts, peak)
    axes.set_xticklabels([str(layer) for layer in layers], rotation=0)
    axes.set_yticklabels(
        [f"{role} (no effect)" if cancels and role == "k" else role for role in grid.roles], rotation=0
    )
    if last:
        means = [grid.mean(role) for role in grid.roles]
        side = canvas.axes(_LABEL + _CELL * len(layers) + _MEAN_GAP, at + _HEAD, _CELL, height)
        shown = ["–" if mean is None else f"{mean / 10.0**power:.2f}" for mean in means]
        _cells(side, [[mean or 0.0] for mean in means], [[text] for text in shown], peak)
        side.set_xticklabels(["mean"])
        side.set_yticks([])


def _value(role: RoleDelta | None) -> float:
    return float("nan") if role is None or not role.moved else role.mean_abs_delta or 0.0


def _cells(axes: Axes, values: list[list[float]], texts: list[list[str]], peak: float) -> None:
    import numpy as np
    import seaborn

    table = np.array(values)
    style: dict[str, Any] = {"linewidths": 1, "linecolor": SURFACE, "cbar": False, "cmap": sequential()}
    seaborn.heatmap(table, ax=axes, mask=np.isnan(table), vmin=0, vmax=peak, **style)
    annotate(axes, table / peak, texts)
    axes.xaxis.tick_top()
    axes.tick_params(length=0, pad=3)


def _scale(canvas: Canvas, at: float, words: str, power: int, peak: float) -> None:
    import numpy as np
    import seaborn

    axes = canvas.axes(_LABEL, at + 0.06, 1.8, 0.1)
    steps = np.linspace(0, peak, 64)[None]
    # edges in the cells' own colour: no seams between them on a dark page
    seaborn.heatmap(steps, ax=axes, cmap=sequential(), cbar=False, linewidths=1, linecolor="face")
    axes.set_yticks([])
    axes.set_xticks([0, 32, 64], [f"{share * peak / 10.0**power:.2g}" for share in (0, 0.5, 1)], rotation=0)
    axes.tick_params(length=2, pad=2, labelsize=8)
    canvas.text(_LABEL, at + 0.36, words, size=8)
