"""t = c, as a tensor that was built anew or overwritten."""

from __future__ import annotations

import numpy as np

from bitfit_probe.forms.case import Case
from bitfit_probe.records.forms import Form

__all__ = ["LEVEL", "find"]

LEVEL = 1


def find(case: Case) -> Form | None:
    """The number, where all elements of the tuned tensor are that one."""
    value = float(case.sample.tuned.flat[0])
    if not np.all(case.sample.tuned == value):
        return None
    left = case.left(lambda base, _, __: np.full_like(base, value), limit=0.0)
    if left > 0:
        return None
    return Form("constant value", f"{value:.3g} in every element", {"value": value}, left, 1)
