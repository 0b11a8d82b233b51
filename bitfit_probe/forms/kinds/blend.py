"""t = (1 − w)·b + w·o, with o another given checkpoint: an average, or a model soup."""

from __future__ import annotations

import numpy as np

from bitfit_probe.checkpoint import Tensor
from bitfit_probe.checkpoint.storage.rows import some_rows
from bitfit_probe.forms.case import LIMIT, Case
from bitfit_probe.records.forms import Form

__all__ = ["LEVEL", "find"]

LEVEL = 2


def find(case: Case) -> Form | None:
    """The weight of the other checkpoint, where the tensor lies between the base and it."""
    for other in case.around.elsewhere(case.pair):
        form = _between(case, other)
        if form is not None:
            return form
    return None


def _between(case: Case, other: Tensor) -> Form | None:
    if other.shape != case.pair.base.shape or not other.dtype.is_float:
        return None
    some = case.sample
    there = some_rows(other, some.rows)
    way = there - some.base
    square = float(np.sum(way * way))
    weight = float(np.sum((some.tuned - some.base) * way)) / square if square else 0.0
    if not 0 < weight < 1 - 1e-6:
        return None
    left = case.left(lambda base, _, rows: base + weight * (some_rows(other, rows) - base))
    if not left <= LIMIT:
        return None
    says = f"{1 - weight:.3g} × the base + {weight:.3g} × another given checkpoint"
    return Form("blend", says, {"weight": weight}, left, 1)
