"""Only some rows or columns moved: unseen words, frozen heads, one third of a fused matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bitfit_probe.forms.case import Case
from bitfit_probe.records.forms import Form, Value

if TYPE_CHECKING:
    from bitfit_probe.forms.case import Mask

__all__ = ["LEVEL", "find"]

LEVEL = 3
#: Few are a quarter; more are worth saying where they stand together in a few ranges.
_FEW, _RANGES = 0.25, 8
#: At least this share of rows must rest, or one in a hundred would make a form of any tensor.
_RESTING = 0.05
#: Lines that may be expected to rest by chance.
_CHANCE = 0.01


def find(case: Case) -> Form | None:
    """Which rows or columns, where all others are the base's."""
    if not case.is_matrix or min(case.shape) < 2:
        return None
    some = case.sample
    resting = case.at_rest(some.base, some.tuned)
    by_row, by_column = resting.all(axis=1), resting.all(axis=0)
    if not by_row.any() and by_column.mean() < _RESTING:
        return None
    rows, columns = _moved(case)
    found = [
        form for name, moved in (("rows", rows), ("columns", columns)) if (form := _form(case, name, moved))
    ]
    return min(found, key=lambda form: form.cost, default=None)


def _moved(case: Case) -> tuple[Mask, Mask]:
    rows, columns = np.zeros(case.shape[0], np.bool_), np.zeros(case.shape[1], np.bool_)
    for base, tuned, numbers in case.blocks():
        moved = ~case.at_rest(base, tuned)
        rows[numbers] = moved.any(axis=1)
        columns |= moved.any(axis=0)
    return rows, columns


def _form(case: Case, name: str, moved: Mask) -> Form | None:
    count, every = int(moved.sum()), len(moved)
    ranges = _ranges(moved)
    if not count or count > (1 - _RESTING) * every:
        return None
    few = count <= _FEW * every
    if (not few and len(ranges) > _RANGES) or _by_chance(case, count, every):
        return None
    at = ", ".join(f"{start}–{stop - 1}" if stop - start > 1 else str(start) for start, stop in ranges[:3])
    more = f" and {len(ranges) - 3:,} more places" if len(ranges) > 3 else ""
    says = f"only {count:,} of {every:,} {name} moved ({at}{more})"
    parameters: dict[str, Value] = {"count": count, "of": every, "ranges": ranges[:_RANGES]}
    # What the moved ones became has to be said, too, but where most moved that is not worth more than a hint.
    cost = count * (case.size // every) if few else 2 * len(ranges) + case.size // 4
    return Form(f"few {name}" if few else f"some {name}", says, parameters, 0.0, cost)


def _by_chance(case: Case, count: int, every: int) -> bool:
    """Whether steps so small that rounding swallows most of them would leave whole lines at rest, too."""
    length = case.size // every
    moved = (case.row.above_rounding or 0.0) * case.size / (count * length)
    return every * max(1 - moved, 0.0) ** length > _CHANCE


def _ranges(moved: Mask) -> tuple[tuple[int, int], ...]:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], moved.astype(np.int8), [0]])))
    return tuple((int(start), int(stop)) for start, stop in edges.reshape(-1, 2))
