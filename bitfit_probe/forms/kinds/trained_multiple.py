"""t = α·b and trained, where the other tensors kept their size: a conversion's factor."""

from __future__ import annotations

import statistics

from bitfit_probe.forms.case import LIMIT, Case
from bitfit_probe.records.forms import Form

__all__ = ["LEVEL", "find"]

LEVEL = 3
#: Times the other tensors' ratio: decay takes all matrices along, and training has no reason to double one.
_FAR = 2.0
#: What training leaves over of the distance to the base.
_TRAINED = 0.1


def find(case: Case) -> Form | None:
    """The factor, where a matrix is a multiple of the base but for what training did to it."""
    row = case.row
    alpha = row.base_left
    if not case.is_matrix or alpha is None or alpha <= 0:
        return None
    usual = case.around.once("length ratio", lambda: _usual(case))
    if 1 / _FAR < alpha / usual < _FAR:
        return None
    left = case.left(lambda base, _, __: alpha * base, _TRAINED)
    if not left <= _TRAINED:
        return None
    # Factors of its own for each row may leave less over; where they do not matter they are no news.
    cost = 1 if left <= LIMIT else case.size // 4
    return Form("constant factor", f"{alpha:.3g} × the base, and trained", {"factor": alpha}, left, cost)


def _usual(case: Case) -> float:
    """By what the lengths of the comparison's matrices were multiplied, as a rule."""
    rows = (row for row in case.around.rows if row.info.kind in ("weight", "embedding", "head"))
    return statistics.median(row.tuned_l2 / row.base_l2 for row in rows if row.base_l2 and row.tuned_l2)
