"""Rows of a comparison: those of the body, those that moved, and how far."""

from __future__ import annotations

from collections.abc import Iterable

from bitfit_probe.pair import Pair
from bitfit_probe.records import TensorDelta

__all__ = ["body", "is_the_base", "moved", "peak"]


def body(pair: Pair, *kinds: str) -> list[TensorDelta]:
    """Rows outside head and buffers, of the given kinds where some are given."""
    wanted = set(kinds) or {"bias", "weight", "norm", "embedding"}
    return [row for row in pair.comparison.tensors if row.info.kind in wanted]


def moved(rows: Iterable[TensorDelta]) -> list[TensorDelta]:
    """Those that changed by more than rounding."""
    return [row for row in rows if row.moved]


def is_the_base(pair: Pair) -> bool:
    """Whether body and head are those of the base, bit for bit, and nearly all of the base was compared."""
    same = pair.comparison.verdict == "identical" and pair.comparison.coverage.enough
    return same and pair.comparison.summary.head not in ("changed", "new")


def peak(rows: Iterable[TensorDelta]) -> float | None:
    """The largest |Δ| in them."""
    return max((row.max_abs_delta for row in rows if row.max_abs_delta is not None), default=None)
