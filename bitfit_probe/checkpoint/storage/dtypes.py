"""Element types as files name them, and their exact widening to float64 with numpy alone.

numpy has no bfloat16 and no float8, so a type is the pair of how its bytes are held
(`DType.storage`) and how they are decoded. Every decode is exact: float64 holds every value of
every float type here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from bitfit_probe.frozen import Frozen

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["BY_NAME", "DType", "quantised"]

Raw: TypeAlias = "npt.NDArray[Any]"
Float64: TypeAlias = "npt.NDArray[np.float64]"
Cast = Callable[[Float64], Float64]


class DType(Frozen):
    """An element type.

    Attributes
    ----------
    name
        The name that PyTorch uses, such as ``bfloat16``.
    storage
        numpy type that holds the elements' bytes, little-endian.
    roundoff
        Unit roundoff u: rounding x to this type moves it by at most u·|x| (Higham 2002, §2.2).
        0 for types in which nothing is rounded, None where the type can't be decoded.
    subnormal
        Distance between the two smallest numbers of the type; rounding near zero moves a value by
        at most half of it.
    largest
        Of float8 types, the largest number: some casts stop there, others go on to infinity or NaN.
        Infinite for types whose casts agree.
    overflow
        From which magnitude on that is so: what is nearer to the largest number is rounded to it by all.
    block, bits
        Of quantised types, which share a scale among `block` elements of `bits` bits each; 0 for the others.
    calibrated
        Whether weights were quantised so that outputs stay close (GPTQ, AWQ), and not each to the nearest
        level: many lie more than a step from where they were.
    """

    name: str
    storage: np.dtype[Any]
    roundoff: float | None
    subnormal: float = 0.0
    _decode: Callable[[Raw, Float64], None] | None = field(default=None, repr=False, compare=False)
    _round: Cast | None = field(default=None, repr=False, compare=False)
    largest: float = math.inf
    overflow: float = math.inf
    block: int = 0
    bits: int = 0
    calibrated: bool = False

    @cached_property
    def itemsize(self) -> int:
        """Bytes an element."""
        return int(self.storage.itemsize)

    @property
    def is_float(self) -> bool:
        """Whether values are rounded in this type."""
        return bool(self.roundoff)

    @property
    def is_integer(self) -> bool:
        """Whether values are whole numbers (or truths), which no cast among such types rounds."""
        return self.roundoff == 0

    @property
    def decodable(self) -> bool:
        """Whether elements have a value that we can compute with, not only bytes."""
        return self.roundoff is not None

    def steps(self, values: Float64) -> Float64:
        """One quantisation step for each of the float64 `values`, 0 for types without blocks.

        A block of b bits has 2ᵇ levels between ∓max|x|, so they lie at most 2·max|x| / (2ᵇ − 1) apart.
        """
        if not self.block:
            return np.zeros(1)
        padded = np.zeros(-(-len(values) // self.block) * self.block)
        padded[: len(values)] = np.abs(values)
        peaks = padded.reshape(-1, self.block).max(axis=1)
        return np.repeat(2 * peaks / (2**self.bits - 1), self.block)[: len(values)]

    def decode(self, raw: Raw, out: Float64) -> None:
        """Write the values of `raw`, shape (n,) of `storage`, to `out`, shape (n,) of float64."""
        with np.errstate(invalid="ignore"):  # widening a signalling NaN is no news
            if self._decode is None:
                np.copyto(out, raw)
            else:
                self._decode(raw, out)

    def round(self, values: Float64) -> Float64:
        """Round float64 `values` to this type, to nearest with ties to even, as a cast would."""
        return values if self._round is None else self._round(values)


_PIECE = 128 * 1024


def _decode_bfloat16(raw: Raw, out: Float64) -> None:
    # A bfloat16 is the upper half of a float32. In pieces, so that the widened copy stays in cache.
    for at in range(0, len(raw), _PIECE):
        wide = raw[at : at + _PIECE].astype("<u4")
        np.left_shift(wide, 16, out=wide)
        np.copyto(out[at : at + _PIECE], wide.view("<f4"))


def _round_bfloat16(values: Float64) -> Float64:
    # float64 -> float32 -> bfloat16, as a float32 model is cast; sources here are never finer.
    with np.errstate(over="ignore", invalid="ignore"):
        bits = values.astype("<f4").view("<u4")
    # Ties to even: add half a unit, less one bit where the last kept bit is even; then cut.
    halves = bits >> 16
    halves &= 1
    halves += 0x7FFF
    halves += bits
    halves &= 0xFFFF0000
    rounded = halves.view("<f4").astype(np.float64)
    lost = np.isnan(values)  # the addition may run over in a NaN
    return np.where(lost, values, rounded) if lost.any() else rounded


def _round_through(dtype: str) -> Cast:
    def cast(values: Float64) -> Float64:
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            return values.astype(dtype).astype(np.float64)

    return cast


def _float8_values(exponent: int, mantissa: int, bias: int, *, finite: bool, zero_nan: bool) -> Float64:
    """All 256 values of an 8-bit float (Micikevicius et al., arXiv 2209.05433, table 1).

    `finite` types spend no exponent on infinities; `zero_nan` types ("fnuz") put their only NaN
    at the code of minus zero.
    """
    codes = np.arange(256)
    sign = np.where(codes >> 7, -1.0, 1.0)
    exp = (codes >> mantissa) & (2**exponent - 1)
    frac = (codes & (2**mantissa - 1)) / 2.0**mantissa
    values: Float64 = sign * np.where(
        exp == 0, frac * 2.0 ** (1 - bias), (1 + frac) * 2.0 ** (exp.astype(np.float64) - bias)
    )
    if zero_nan:
        values[128] = np.nan
    elif finite:
        values[[127, 255]] = np.nan
    else:
        top = exp == 2**exponent - 1
        values[top] = np.where(frac[top] == 0, sign[top] * np.inf, np.nan)
    return values


def _float8(name: str, exponent: int, mantissa: int, bias: int, **special: bool) -> DType:
    table = _float8_values(exponent, mantissa, bias, **special)
    # Positive codes are in the order of their values, so a code's parity is its last mantissa bit.
    magnitudes = table[:128][np.isfinite(table[:128])]

    def decode(raw: Raw, out: Float64) -> None:
        np.take(table, raw, out=out)

    def nearest(values: Float64) -> Float64:
        size = np.abs(values)
        right = np.clip(np.searchsorted(magnitudes, size), 1, len(magnitudes) - 1)
        low, high = magnitudes[right - 1], magnitudes[right]
        middle = (low + high) / 2
        up = (size > middle) | ((size == middle) & (right % 2 == 0))
        return np.where(np.isfinite(values), np.copysign(np.where(up, high, low), values), values)

    return DType(
        name,
        np.dtype("u1"),
        roundoff=2.0 ** -(mantissa + 1),
        subnormal=2.0 ** (1 - bias - mantissa),
        _decode=decode,
        _round=nearest,
        largest=float(magnitudes[-1]),
        overflow=float(magnitudes[-1] + (magnitudes[-1] - magnitudes[-2]) / 2),
    )


def _integer(name: str, storage: str) -> DType:
    return DType(name, np.dtype(storage), roundoff=0.0)


def quantised(
    name: str, block: int, bits: int, error: float | None = None, *, calibrated: bool = False
) -> DType:
    """A type whose values come dequantised to float32.

    Its `roundoff` bounds ‖error‖ / ‖values‖, from the largest `error` of an element as a share of its block's
    largest magnitude; that of 2ᵇ even levels where nothing else is said.
    """
    largest = 1 / (2**bits - 1) if error is None else error
    roundoff = math.sqrt(block) * largest
    return DType(name, np.dtype("<f4"), roundoff, block=block, bits=bits, calibrated=calibrated)


def _opaque(name: str, storage: str) -> DType:
    return DType(name, np.dtype(storage), roundoff=None)


_TYPES = (
    DType("float64", np.dtype("<f8"), 2.0**-53, 2.0**-1074),
    DType("float32", np.dtype("<f4"), 2.0**-24, 2.0**-149, _round=_round_through("<f4")),
    DType("float16", np.dtype("<f2"), 2.0**-11, 2.0**-24, _round=_round_through("<f2")),
    DType("bfloat16", np.dtype("<u2"), 2.0**-8, 2.0**-133, _decode_bfloat16, _round_bfloat16),
    _float8("float8_e4m3fn", 4, 3, 7, finite=True, zero_nan=False),
    _float8("float8_e5m2", 5, 2, 15, finite=False, zero_nan=False),
    _float8("float8_e4m3fnuz", 4, 3, 8, finite=True, zero_nan=True),
    _float8("float8_e5m2fnuz", 5, 2, 16, finite=True, zero_nan=True),
    _integer("int64", "<i8"),
    _integer("int32", "<i4"),
    _integer("int16", "<i2"),
    _integer("int8", "i1"),
    _integer("uint64", "<u8"),
    _integer("uint32", "<u4"),
    _integer("uint16", "<u2"),
    _integer("uint8", "u1"),
    _integer("bool", "u1"),
    *(quantised(f"q{bits}_{form}", 32, bits) for bits in (4, 5, 8) for form in (0, 1)),
    *(quantised(f"q{bits}_k", 256, bits) for bits in (2, 3, 4, 5, 6, 8)),
    *(quantised(name, block, 4) for name, block in (("iq4_nl", 32), ("iq4_xs", 256), ("mxfp4", 32))),
    *(quantised(name, block, 4) for name, block in (("nf4", 64), ("fp4", 64), ("nvfp4", 16))),
    *(quantised(f"int{bits}_scaled", 128, bits) for bits in range(2, 9)),
    *(quantised(f"gptq_int{bits}", 128, bits, calibrated=True) for bits in (2, 4, 8)),
    quantised("awq_int4", 128, 4, calibrated=True),
    quantised("float8_scaled", 1, 8, 2.0**-3),
    _opaque("complex64", "V8"),
    _opaque("complex128", "V16"),
    _opaque("float8_e8m0fnu", "V1"),
)

#: Every known type by the name that PyTorch gives it.
BY_NAME = {dtype.name: dtype for dtype in _TYPES}
