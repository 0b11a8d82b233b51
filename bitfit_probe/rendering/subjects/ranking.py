"""Groups of biases by how far they moved, by every measure side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bitfit_probe.records.measures import Group, Ranked, Ranking
from bitfit_probe.rendering.document.blocks import Block, Column, Strip, Strips, Text
from bitfit_probe.rendering.figures import RANKED, figures_of, measure
from bitfit_probe.rendering.roles import role_words
from bitfit_probe.rendering.subjects.tables import columns_of, cut_table
from bitfit_probe.rendering.words import plural

__all__ = ["group_name", "group_words", "ranking_blocks", "ranking_strips"]

#: The measures that groups are ranked by, then those that say how a group moved.
_FIGURES = (*RANKED, "cosine", "mean_shift")
#: What a mark at a row means.
_MARKS = {
    "no effect": "softmax cancels these biases",
    "noise": "no more than rounding",
    "tie": "within rounding of the next one",
}


def group_words(group: Group) -> str:
    """A group by its role in plain words, where it has one alone."""
    plain = group.role is not None and group.layer is None and group.stack is None
    return role_words(group.role) if plain and group.role else group_name(group)


def group_name(group: Group) -> str:
    """A group's label; a single tensor's name."""
    if group.role is None and group.layer is None and len(group.names) == 1:
        return group.names[0]
    return group.label


def ranking_strips(key: str, ranking: Ranking, most: int = 12) -> Strips:
    """The groups that moved most, by mean|Δ|; hollow where it has no effect or is no more than rounding."""
    moved = measure("mean_abs_delta")
    rows = tuple(
        Strip(
            group_words(row.group),
            ", ".join((moved.text(row.mean_abs_delta), *_marks(row))),
            row.mean_abs_delta,
            None if row.mean_abs_delta is None else (0.0, row.mean_abs_delta),
            filled=not (row.group.no_effect or row.noise_floor),
        )
        for row in ranking.rows[:most]
    )
    return Strips(
        key, f"How far biases moved, by {ranking.by}", moved.label, rows, ((0.0, "0"),), drawn_only=True
    )


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
