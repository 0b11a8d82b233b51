"""What several subjects' tables share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from bitfit_probe.rendering.document.blocks import Column, Table
from bitfit_probe.rendering.figures import measure

if TYPE_CHECKING:
    from bitfit_probe.records import Evidence

__all__ = ["columns_of", "cut_table", "evidence_table", "shape_text", "told"]

#: Rows of one table that are written into a page; a browser sorts and filters that many at once.
_MOST_ROWS = 300


def cut_table(key: str, caption: str, columns: Sequence[Column], rows: Sequence[tuple[str, ...]]) -> Table:
    """A table of as many rows as a page bears."""
    left_out = max(len(rows) - _MOST_ROWS, 0)
    return Table(key, caption, tuple(columns), tuple(rows[:_MOST_ROWS]), left_out)


def columns_of(names: Iterable[str], first_rank: int = 0) -> tuple[Column, ...]:
    """One column a figure; the later ones go first where there is little room."""
    return tuple(Column(measure(name).label, rank=first_rank + at) for at, name in enumerate(names))


def shape_text(shape: Sequence[int]) -> str:
    """A shape with × between its sizes."""
    return "×".join(map(str, shape)) or "scalar"


_EVIDENCE = (
    Column("measure", "words"),
    Column("value"),
    Column("unit", "words", 1),
    Column("interval", "words"),
    Column("about", "words", 3),
    Column("reading", "words"),
    Column("source", "words", 2),
)


def evidence_table(key: str, caption: str, evidence: Sequence[Evidence]) -> Table:
    """Numbers with their intervals, readings and sources; columns that nothing fills say nothing."""
    rows = [_evidence(item) for item in evidence]
    filled = [at for at in range(len(_EVIDENCE)) if at < 2 or any(row[at] for row in rows)]
    kept = [tuple(row[at] for at in filled) for row in rows]
    return cut_table(key, caption, [_EVIDENCE[at] for at in filled], kept)


def _evidence(item: Evidence) -> tuple[str, ...]:
    known = measure(item.measure)
    unit = item.unit or known.unit
    more = (item.about or "", item.reading or "", item.source or "")
    return known.label, known.text(item.value), unit, known.interval(item.interval), *more


def told(item: Evidence) -> str:
    """One number in words: measure, value, unit, what it is about, how it reads."""
    known = measure(item.measure)
    value = "unknown" if item.value is None else known.text(item.value)
    words = f"{known.label} {value} {item.unit or known.unit}".rstrip()
    about = f" ({item.about})" if item.about else ""
    return f"{words}{about}{f', {item.reading}' if item.reading else ''}"
