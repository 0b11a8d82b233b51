"""Groups of biases by how far they moved, by every measure side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from bitfit_probe.records.measures import Group, Ranked, Ranking, Reverting
from bitfit_probe.rendering.document.blocks import Block, Chart, Column, Text
from bitfit_probe.rendering.figures import RANKED, figures_of
from bitfit_probe.rendering.subjects.tables import columns_of, cut_table
from bitfit_probe.rendering.words import plural

if TYPE_CHECKING:
    from bitfit_probe.rendering.charts import Panel

__all__ = ["group_name", "ranking_blocks", "ranking_chart"]

#: The measures that groups are ranked by, then those that say how a group moved.
_FIGURES = (*RANKED, "cosine", "mean_shift")
#: What a mark at a row means.
_MARKS = {
    "no effect": "softmax cancels these biases",
    "noise": "no more than rounding",
    "tie": "within rounding of the next one",
}


def group_name(group: Group) -> str:
    """A group's label; a single tensor's name."""
    if group.role is None and group.layer is None and len(group.names) == 1:
        return group.names[0]
    return group.label


def ranking_chart(key: str, ranking: Ranking, reverting: Reverting | None, caption: str = "") -> Chart:
    """Every measure as bars, beside what reverting each group costs where that is known."""

    def draw() -> Panel | None:
        from bitfit_probe.rendering.charts import ranking_bars

        return ranking_bars(ranking, reverting)

    return Chart(key, draw, caption)


def ranking_blocks(key: str, ranking: Ranking, top: int | None = None) -> Iterator[Block]:
    """Groups by every measure, those without effect last; `top` of the tensors, and all of anything else."""
    if not ranking.rows:
        yield Text("No biases to rank.", "note")
        return
    limit = top if ranking.by in ("tensor", "role-layer") else None
    apart = [row for row in ranking.rows if row.group.no_effect and not ranking.paper]
    others = ranking.rows[: len(ranking.rows) - len(apart)]  # those without effect stand last
    rows = [*others[:limit], *apart[:limit]]
    tensors = ranking.by == "tensor"
    filled = [name for name in _FIGURES if any(getattr(row, name) is not None for row in rows)]
    if tensors:  # its elements differ in direction, which a mean over them hides
        filled = [name for name in filled if name != "mean_shift"]
    columns = [Column(ranking.by, "name" if tensors else "words"), *columns_of(filled)]
    names = [row.group.names[0] if tensors else group_name(row.group) for row in rows]
    cells = [(name, *figures_of(row, filled)) for name, row in zip(names, rows, strict=True)]
    marks = [_marks(row) for row in rows]
    if any(marks):
        columns.append(Column("mark", "words"))
        cells = [(*row, ", ".join(mark)) for row, mark in zip(cells, marks, strict=True)]
    yield cut_table(key, _caption(ranking, len(others[:limit]), len(others)), columns, cells)
    met = {mark for found in marks for mark in found}
    if met:
        yield Text("; ".join(f"{name}: {why}" for name, why in _MARKS.items() if name in met) + ".", "note")


def _caption(ranking: Ranking, shown: int, count: int) -> str:
    how = "in the BitFit paper's order" if ranking.paper else "those that moved most first"
    if shown < count:
        return f"The {shown} of {plural(count, 'bias', 'biases')} that moved most"
    return f"Biases by {ranking.by}, {how}"


def _marks(row: Ranked) -> Sequence[str]:
    holds = {"no effect": row.group.no_effect, "noise": row.noise_floor, "tie": row.tied}
    return [mark for mark, true in holds.items() if true]
