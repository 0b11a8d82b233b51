"""t lies on a grid of few values: quantised weights that were written back as floats."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bitfit_probe.forms.case import Case
from bitfit_probe.records.forms import Form

if TYPE_CHECKING:
    from bitfit_probe.forms.case import Float64

__all__ = ["LEVEL", "find"]

LEVEL = 3
#: Blocks in use share a scale among 32 elements or more; rows are the other unit. Fewer tell nothing.
_UNITS = (32, 64, 128)
#: A 4-bit grid has 16 levels, an 8-bit one 256: a unit must have at most half of the values that the base's
#: has in the same type.
_FEWER = 0.5
#: What clipping at the ends of the grid and ties leave over.
_LIMIT = 0.05
#: Rows that are looked at, where the first one looks as if.
_ROWS = 8


def find(case: Case) -> Form | None:
    """How many levels a row or block of it has, where these are the nearest to the base's values."""
    columns = case.sample.tuned.shape[1]
    # Where blocks have few values each, so has the row, for its length.
    if columns < _UNITS[0] or _levels(case.sample.tuned[:1], columns) > _FEWER * columns:
        return None
    for unit in (columns, *(unit for unit in reversed(_UNITS) if unit < columns and columns % unit == 0)):
        form = _on_grid(case, unit)
        if form is not None:
            return form
    return None


def _on_grid(case: Case, unit: int) -> Form | None:
    tuned, base = case.sample.tuned[:_ROWS], case.sample.base[:_ROWS]
    levels = _levels(tuned, unit)
    if levels > _FEWER * _levels(case.rounded(base), unit):
        return None
    left = _left(tuned.reshape(-1, unit), base.reshape(-1, unit))
    if left > _LIMIT:
        return None
    where = "row" if unit == case.shape[1] else f"block of {unit}"
    says = f"on a grid of {levels} values a {where}"
    return Form("coarse grid", says, {"levels": levels, "unit": unit}, left, case.size // unit)


def _levels(values: Float64, unit: int) -> int:
    """The median number of different values in a unit."""
    ordered = np.sort(values.reshape(-1, unit), axis=1)
    return int(np.median(np.sum(ordered[:, 1:] != ordered[:, :-1], axis=1) + 1))


def _left(tuned: Float64, base: Float64) -> float:
    """By how much farther than the nearest of its unit's levels each value was moved, as a share of ‖Δ‖².

    Farther, not elsewhere: rounding the levels themselves turns what lies half way to the other side.
    """
    rest = total = 0.0
    for here, before in zip(tuned, base, strict=True):
        levels = np.unique(here)
        at = np.clip(np.searchsorted(levels, before), 1, max(len(levels) - 1, 1))
        low, high = levels[at - 1], levels[np.minimum(at, len(levels) - 1)]
        nearest = np.minimum(np.abs(before - low), np.abs(high - before))
        moved = np.abs(here - before)
        rest += float(np.sum((moved - nearest) ** 2))
        total += float(np.sum(moved**2))
    return rest / total if total else 1.0
