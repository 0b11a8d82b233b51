"""t is another of the base's tensors: layers, experts or norms that changed places."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bitfit_probe.checkpoint import Tensor
from bitfit_probe.checkpoint.storage.rows import some_rows
from bitfit_probe.forms.case import Case
from bitfit_probe.records.forms import Form

if TYPE_CHECKING:
    from bitfit_probe.forms.case import Float64

__all__ = ["LEVEL", "find"]

LEVEL = 2
#: Of the distance to its own base a tensor that was exchanged and then trained keeps what training moved it,
#: which is a few percent squared: 0.002 in the rxnfp pairs.
_LIMIT = 0.1
#: Elements that are read of every tensor of the shape, once; those that lie nearest in them are tried.
_SIGNATURE, _TRIED = 64, 3
#: Tensors of one shape that are asked for: one is held against all others, and what holds of so many
#: (experts in another order) holds of the rest.
_ASKED = 1000


def find(case: Case) -> Form | None:
    """Which of the base's tensors it really is; asked of those that are much less like theirs than others."""
    if not case.strange:
        return None
    left, name = min(((_left(case, other), other.name) for other in _nearest(case)), default=(1.0, ""))
    if left > _LIMIT:
        return None
    return Form("another tensor", f"'{name}' of the base", {"tensor": name}, left, 1)


def _nearest(case: Case) -> list[Tensor]:
    own = case.pair.base
    tensors = case.around.of_shape(own.shape)
    asked = case.around.once(("asked", own.shape), lambda: [0])
    asked[0] += 1
    if len(tensors) < 2 or asked[0] > _ASKED:
        return []
    known = case.around.once(("signatures", own.shape), lambda: np.array([*map(_signature, tensors)]))
    with np.errstate(all="ignore"):
        far = np.sum((known - _signature(case.pair.tuned)) ** 2, axis=1)
    order = np.argsort(far, kind="stable")[: _TRIED + 1]
    return [tensors[at] for at in order if tensors[at] is not own][:_TRIED]


def _signature(tensor: Tensor) -> Float64:
    """Some elements from the middle."""
    start = max(tensor.size - _SIGNATURE, 0) // 2
    return tensor.block(start, min(start + _SIGNATURE, tensor.size))


def _left(case: Case, other: Tensor) -> float:
    there = some_rows(other, case.sample.rows)
    if not np.isfinite(there).all() or np.array_equal(there, case.sample.base):
        return 1.0  # twins: nothing tells which of both it is
    return case.left_on_sample(lambda _, __, ___: there)
