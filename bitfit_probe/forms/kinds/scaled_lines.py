"""Every row, or every column, has a factor of its own: a norm that was folded in, IA3, DoRA's magnitudes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bitfit_probe.forms.case import LIMIT, Case
from bitfit_probe.records.forms import Form

if TYPE_CHECKING:
    from bitfit_probe.forms.case import Float64

__all__ = ["LEVEL", "find"]

LEVEL = 3
#: Rows and columns from which on a factor each says less than the matrix.
_LEAST = 8
#: Rows that are looked at first, and the share of their change that must be along the base's own rows or
#: columns: that of a trained change is 1/n for n elements of a row, and a quarter for four of a column.
_LOOK, _ALONG = 4, 0.9


def find(case: Case) -> Form | None:
    """The factors of rows or columns, where they explain everything."""
    if min(case.shape) < _LEAST:
        return None
    for axis, name in ((1, "rows"), (0, "columns")):
        form = _scaled(case, axis, name)
        if form is not None:
            return form
    return None


def _scaled(case: Case, axis: int, name: str) -> Form | None:
    some = case.sample
    if not case.coarse and not _along(some.base[:_LOOK], some.tuned[:_LOOK], axis) >= _ALONG:
        return None
    factors = _factors(some.base, some.tuned, axis)
    if not case.left_on_sample(lambda base, _, __: base * factors) <= 2 * LIMIT:
        return None
    if axis:
        left = case.left(lambda base, tuned, _: base * _factors(base, tuned, 1))
    else:
        factors = _over_all(case)
        left = case.left(lambda base, _, __: base * factors)
    if not left <= LIMIT:
        return None
    low, high = float(factors.min()), float(factors.max())
    says = f"each of its {name} × a factor of its own ({low:.3g} … {high:.3g})"
    parameters = {"least": low, "most": high}
    return Form(f"scaled {name}", says, parameters, left, case.shape[0 if axis else 1])


def _along(base: Float64, tuned: Float64, axis: int) -> float:
    delta = tuned - base
    product, square = np.sum(delta * base, axis=axis), np.sum(base * base, axis=axis)
    total = float(np.sum(delta * delta))
    along = np.divide(product**2, square, out=np.zeros_like(product), where=square > 0)
    return float(np.sum(along)) / total if total else 0.0


def _factors(base: Float64, tuned: Float64, axis: int) -> Float64:
    product, square = (
        np.sum(base * tuned, axis=axis, keepdims=True),
        np.sum(base**2, axis=axis, keepdims=True),
    )
    return _ratio(product, square)


def _over_all(case: Case) -> Float64:
    product, square = np.zeros((1, case.shape[1])), np.zeros((1, case.shape[1]))
    for base, tuned, _ in case.blocks():
        product += np.sum(base * tuned, axis=0)
        square += np.sum(base * base, axis=0)
    return _ratio(product, square)


def _ratio(product: Float64, square: Float64) -> Float64:
    """⟨b, t⟩ / ‖b‖², 1 where the base has nothing to multiply."""
    ratio: Float64 = np.divide(product, square, out=np.ones_like(product), where=square > 0)
    return ratio
