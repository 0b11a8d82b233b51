"""Two adapters side by side: which modules moved on, and by how much of their ΔW."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bitfit_probe.rendering.document.blocks import Column, Table
from bitfit_probe.rendering.figures import figures_of
from bitfit_probe.rendering.subjects.tables import columns_of, cut_table

if TYPE_CHECKING:
    from bitfit_probe.records import Comparison, UpdateDelta

__all__ = ["updates_table"]

_STATES = {"same": "no", "same-product": "other factors", "moved": "yes"}
_FIGURES = ("relative", "cosine", "base_norm", "tuned_norm", "delta_rank")


def updates_table(key: str, comparison: Comparison, top: int | None = None) -> Table:
    """A row a module that both change by factors, those that moved on most first; `top` of them."""
    rows = sorted(comparison.updates, key=lambda row: (row.state != "moved", -(row.delta_norm or 0.0)))
    columns = (
        Column("module", "name"),
        Column("moved on", "words"),
        *columns_of(_FIGURES[:2]),
        Column("ranks", "words", 1),
        *columns_of(_FIGURES[2:], 2),
    )
    shown = f", {top} of {len(rows):,}" if top is not None and top < len(rows) else ""
    caption = f"ΔW = s·B·A of each module, through the factors{shown}"
    return cut_table(key, caption, columns, [_row(row) for row in rows[:top]])


def _row(row: UpdateDelta) -> tuple[str, ...]:
    ours, theirs = row.ranks
    figures = figures_of(row, _FIGURES)
    ranks = f"{ours}" if ours == theirs else f"{ours} → {theirs}"
    return row.name.removesuffix(".weight"), _STATES[row.state], *figures[:2], ranks, *figures[2:]
