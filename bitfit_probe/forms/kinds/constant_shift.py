"""t = b + c."""

from __future__ import annotations

import math

import numpy as np

from bitfit_probe.forms.case import Case
from bitfit_probe.records.forms import Form

__all__ = ["LEVEL", "find"]

LEVEL = 1
#: √n·|mean Δ| / ‖Δ‖ is 1 of a shift, and near 0 of steps of either sign.
_SHIFTED = 0.7


def find(case: Case) -> Form | None:
    """The number, where every element of the tuned tensor is the base's and that number more."""
    row = case.row
    if row.mean_shift is None or not row.l2_delta or not case.enough:
        return None
    if math.sqrt(case.size) * abs(row.mean_shift) < _SHIFTED * row.l2_delta and not case.coarse:
        return None
    shift = _shift(case, row.mean_shift)
    left = case.left(lambda base, _, __: base + shift)
    if not left <= case.exact:
        return None
    return Form("constant shift", f"the base {shift:+.3g} in every element", {"shift": shift}, left, 1)


def _shift(case: Case, mean: float) -> float:
    """The shift that all sampled elements allow: each leaves those that round to its tuned value."""
    some, half = case.sample, case.half_steps()
    low, high = np.max(some.tuned - half - some.base), np.min(some.tuned + half - some.base)
    return float(np.clip(mean, low, high)) if low <= high else mean
