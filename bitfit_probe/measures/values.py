"""The values of one checkpoint, a block at a time: finite or not, how large, and whether they saturate."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from bitfit_probe.checkpoint import Tensor
from bitfit_probe.records.inspection import RoleValues, TensorValues

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["by_role", "values_of"]

#: Elements that are decoded at a time.
_BLOCK = 1 << 20


def values_of(tensor: Tensor, kind: str) -> TensorValues:
    """One pass over a tensor in float64; of infinities and NaN only the number counts."""
    nonfinite, at_peak = 0, 0.0
    lowest, highest, total, squares = math.inf, -math.inf, 0.0, 0.0
    for start in range(0, tensor.size, _BLOCK):
        block = tensor.block(start, min(start + _BLOCK, tensor.size))
        with np.errstate(over="ignore", invalid="ignore"):
            square = float(np.dot(block, block))
        if not math.isfinite(square):
            finite = block[np.isfinite(block)]
            nonfinite += block.size - finite.size
            block, square = finite, math.fsum(finite * finite) if _is_small(finite) else math.inf
        if not block.size:
            continue
        low, high = float(block.min()), float(block.max())
        if not start:
            at_peak = float(np.mean(np.abs(block) == max(-low, high)))
        lowest, highest = min(lowest, low), max(highest, high)
        total, squares = total + float(block.sum()), squares + square
    empty = lowest > highest
    return TensorValues(
        tensor.name,
        kind,
        tensor.size,
        nonfinite,
        0.0 if empty else lowest,
        0.0 if empty else highest,
        total,
        squares,
        at_peak,
    )


def _is_small(values: npt.NDArray[np.float64]) -> bool:
    """Whether squares stay within float64."""
    return bool(values.size) and float(np.abs(values).max()) < 1e150


def by_role(values: Iterable[tuple[str, TensorValues]]) -> tuple[RoleValues, ...]:
    """Pairs of a role and the values of a tensor, one row a role in the order in which they are met."""
    groups: dict[str, list[TensorValues]] = {}
    for role, item in values:
        groups.setdefault(role, []).append(item)
    return tuple(_role(role, items) for role, items in groups.items())


def _role(role: str, items: list[TensorValues]) -> RoleValues:
    size = sum(item.size for item in items)
    finite = size - sum(item.nonfinite for item in items)
    squares = sum(item.squares for item in items)
    peak = max(max(-item.lowest, item.highest) for item in items)
    rms = math.sqrt(squares / finite) if finite and math.isfinite(squares) else None
    return RoleValues(role, len(items), size, rms, peak if finite else None)
