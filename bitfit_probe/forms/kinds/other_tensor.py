"""t is another of the base's tensors: layers, experts or norms that changed places."""

from __future__ import annotations

import numpy as np

from bitfit_probe.checkpoint import Tensor
from bitfit_probe.checkpoint.storage.rows import some_rows
from bitfit_probe.forms.case import Case
from bitfit_probe.records.forms import Form

__all__ = ["LEVEL", "find"]

LEVEL = 2
#: Of the distance to its own base a tensor that was exchanged and then trained keeps what training moved it,
#: which is a few percent squared: 0.002 in the rxnfp pairs.
_LIMIT = 0.1


def find(case: Case) -> Form | None:
    """Which of the base's tensors it really is; asked of those that are much less like theirs than others."""
    if not case.strange:
        return None
    left, name = min(((_left(case, other), other.name) for other in _candidates(case)), default=(1.0, ""))
    if left > _LIMIT:
        return None
    return Form("another tensor", f"'{name}' of the base", {"tensor": name}, left, 1)


def _candidates(case: Case) -> list[Tensor]:
    own = case.pair.base
    return [other for other in case.around.of_shape(own.shape) if other is not own]


def _left(case: Case, other: Tensor) -> float:
    there = some_rows(other, case.sample.rows)
    if not np.isfinite(there).all() or np.array_equal(there, case.sample.base):
        return 1.0  # twins: nothing tells which of both it is
    return case.left_on_sample(lambda _, __, ___: there)
