"""A handful of elements changed, and by more than a step of the type: flipped bits, overwritten places."""

from __future__ import annotations

import numpy as np

from bitfit_probe.forms.case import Case
from bitfit_probe.records.forms import Form

__all__ = ["LEVEL", "find"]

LEVEL = 3
#: More than one in a hundred is no handful.
_FEW = 0.01
#: Places that are named.
_NAMED = 4
#: Training in a coarse type moves a few elements, too: those at the edge between two numbers, by one step.
_STEPS = 4


def find(case: Case) -> Form | None:
    """How many elements, where all others are the base's."""
    share = case.row.above_rounding
    if share is None or not 0 < share <= _FEW:
        return None
    places: list[tuple[int, int]] = []
    sizes, count = [], 0
    for base, tuned, rows in case.blocks():
        at = np.argwhere(~case.at_rest(base, tuned))
        count += len(at)
        there = base[at[:, 0], at[:, 1]], tuned[at[:, 0], at[:, 1]]
        step = 2 * (case.stored.roundoff or 0.0) * np.maximum(np.abs(there[0]), np.abs(there[1]))
        sizes.append(np.abs(there[1] - there[0]) / np.maximum(step, 1e-300))
        places += [(int(rows[row]), int(column)) for row, column in at[: _NAMED - len(places)]]
    if not count or np.median(np.concatenate(sizes)) <= _STEPS:
        return None
    says = f"{count:,} of {case.size:,} elements changed, all others are the base's"
    return Form("few elements", says, {"count": count, "places": tuple(places)}, 0.0, 2 * count)
