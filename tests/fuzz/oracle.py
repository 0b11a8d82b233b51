"""What two arrays come to, from the definitions in `bitfit_probe.records.TensorDelta` alone.

Element types come from ml_dtypes, sums are sorted ones of extended precision (64 bits of mantissa on x86,
which holds every 64-bit integer), so nothing here shares a line, a table or an order of summation with the
kernels.
"""

from __future__ import annotations

from dataclasses import dataclass

import ml_dtypes
import numpy as np

__all__ = ["NUMPY", "Expected", "expected", "values_of"]

#: The numpy type that holds each element type's bytes and knows its values; None where it has no one value.
NUMPY: dict[str, np.dtype | None] = {
    **{
        name: np.dtype(kind)
        for name, kind in {
            "float64": "<f8",
            "float32": "<f4",
            "float16": "<f2",
            "int64": "<i8",
            "int32": "<i4",
            "int16": "<i2",
            "int8": "i1",
            "uint64": "<u8",
            "uint32": "<u4",
            "uint16": "<u2",
            "uint8": "u1",
            "bool": "u1",
        }.items()
    },
    **{
        name: np.dtype(getattr(ml_dtypes, name))
        for name in ("bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz")
    },
    "complex64": None,
    "float8_e8m0fnu": None,
}

Extended = np.ndarray


def values_of(raw: bytes, name: str) -> Extended:
    """The values of `raw`, exact."""
    kind = NUMPY[name]
    assert kind is not None
    held = np.frombuffer(raw, kind)
    with np.errstate(all="ignore"):
        wide = held if held.dtype.kind in "iuf" and kind.itemsize > 1 else held.astype(np.float64)
        return wide.astype(np.longdouble)


@dataclass(frozen=True)
class Expected:
    """The figures of one row; see `bitfit_probe.records.TensorDelta`."""

    identical: bool
    mean_abs_delta: float | None
    l1_delta: float
    l2_delta: float
    max_abs_delta: float
    relative_l2: float | None
    mean_shift: float | None
    cosine: float | None
    changed: int
    sign_flips: int
    nonfinite_base: int
    nonfinite_tuned: int
    base_l2: float
    tuned_l2: float


def expected(base: bytes, ours: str, tuned: bytes, theirs: str) -> Expected:
    """The figures of a pair from its bytes and element types."""
    b, t = values_of(base, ours), values_of(tuned, theirs)
    same = (b == t) | (np.isnan(b) & np.isnan(t))
    good = np.isfinite(b) & np.isfinite(t)
    x, y = b[good], t[good]
    with np.errstate(all="ignore"):
        d = y - x
        l1, shift = _sum(np.abs(d)), _sum(d)
        norms = [np.sqrt(_square(side)) for side in (x, y, d)]
        product = _product(x, y)
    ours_l2, theirs_l2, delta = norms
    scale = max(ours_l2, theirs_l2)
    count = len(x)
    return Expected(
        identical=ours == theirs and base == tuned,
        mean_abs_delta=float(l1 / count) if count else None,
        l1_delta=float(l1),
        l2_delta=float(delta),
        max_abs_delta=float(np.abs(d).max(initial=0)),
        relative_l2=None if not count else float(delta / scale) if scale else 0.0,
        mean_shift=float(shift / count) if count else None,
        cosine=float(product / ours_l2 / theirs_l2) if ours_l2 and theirs_l2 else None,
        changed=int(np.count_nonzero(~same)),
        sign_flips=int(np.count_nonzero(np.sign(x) * np.sign(y) < 0)),
        nonfinite_base=int(np.count_nonzero(~np.isfinite(b))),
        nonfinite_tuned=int(np.count_nonzero(~np.isfinite(t))),
        base_l2=float(ours_l2),
        tuned_l2=float(theirs_l2),
    )


def _sum(values: Extended) -> Extended:
    return np.sum(np.sort(values)) if len(values) else np.longdouble(0)


def _square(values: Extended) -> Extended:
    return _sum(values * values)


def _product(x: Extended, y: Extended) -> Extended:
    """⟨x, y⟩, terms of either sign summed apart."""
    terms = x * y
    return _sum(terms[terms > 0]) + _sum(terms[terms < 0])


def unexplained(
    base: bytes, ours: str, tuned: bytes, theirs: str, *, through: str | None = None
) -> tuple[int, int]:
    """The least and the most elements that no cast explains; they differ where casts of one kind do.

    A cast to an element type may go through float32 or not, and what is too large for a float8 may stop at
    the largest number or not. `through` is the type that the tuned side went through, if not its own.
    """
    b, t = values_of(base, ours), values_of(tuned, theirs)
    told = (b == t) | (np.isnan(b) & np.isnan(t))
    doubtful = np.zeros(len(b), bool)
    for source, target, kind in ((b, t, through or theirs), (t, b, ours)):
        direct, stepwise = _cast(source, kind), _cast(_cast(source, "float32"), kind)
        agree = (direct == stepwise) | (np.isnan(direct) & np.isnan(stepwise))
        told |= (direct == target) & agree
        doubtful |= ~agree | (kind.startswith("float8") & np.isfinite(source) & ~np.isfinite(direct))
        doubtful |= kind.startswith("float8") & np.isinf(source)
    rest = ~told
    return int(np.count_nonzero(rest & ~doubtful)), int(np.count_nonzero(rest))


def _cast(values: Extended, name: str) -> Extended:
    """`values` rounded to a float type; integers round nothing."""
    kind = NUMPY[name]
    if kind is None or kind.kind in "iu":
        return values
    with np.errstate(all="ignore"):
        narrow = values.astype(np.float64).astype(kind)
        return narrow.astype(np.float64).astype(np.longdouble)
