"""Values on a quantiser's grid: a table of what codes mean, scales, and perhaps zero points, by rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from bitfit_probe.checkpoint.storage.computed import QuantisedStorage
from bitfit_probe.checkpoint.storage.dtypes import BY_NAME, DType
from bitfit_probe.checkpoint.storage.tensor import Tensor
from bitfit_probe.frozen import Frozen

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = [
    "E2M1",
    "E8M0",
    "FLOATS",
    "Grid",
    "by_rows",
    "codes_of",
    "floats_by_rows",
    "grid_tensor",
    "integers",
    "powers_of_two",
    "rows_and_columns",
    "table_of",
]

Float32: TypeAlias = "npt.NDArray[np.float32]"
Codes: TypeAlias = "npt.NDArray[np.uint8]"
#: Gives what belongs to rows ``[start, stop)``, an array of stop - start rows.
Rows: TypeAlias = Callable[[int, int], Any]

#: FP4 of the OCP microscaling formats (E2M1), by code.
_HALF = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
E2M1 = tuple(sign * value for sign in (1.0, -1.0) for value in _HALF)
#: Their scales, by code: 2 to the power of code − 127; the last is NaN.
E8M0 = np.append(np.ldexp(np.float32(1), np.arange(255) - 127), np.float32(np.nan)).astype(np.float32)


class Grid(Frozen):
    """Rows of codes; a value is (table[code] − zero) · scale + bias.

    Attributes
    ----------
    columns
        Elements a row.
    table
        The value of each code: 16 of codes of 4 bits, 256 of codes of 8 bits.
    codes
        Rows of bytes, each with one code, or with two where the table has 16 values.
    scales
        Rows of n numbers, each for columns / n elements in turn (the last may have fewer).
    zeros, biases
        As the scales, where there are any.
    width
        Elements that share a scale, where they don't divide the row.
    high_first
        Whether the first of two codes stands in a byte's upper half.
    form
        What else says how the file is read.
    """

    columns: int
    table: tuple[float, ...]
    codes: Rows
    scales: Rows
    zeros: Rows | None = None
    biases: Rows | None = None
    width: int | None = None
    high_first: bool = False
    form: str | None = None

    def values(self, start: int, stop: int) -> Float32:
        """Rows ``[start, stop)``."""
        out = self._looked_up(self.table, start, stop)
        with np.errstate(all="ignore"):  # infinite scales are a finding, not a warning
            if self.zeros is not None:
                self._apply(np.subtract, out, self.zeros(start, stop))
            self._apply(np.multiply, out, self.scales(start, stop))
            if self.biases is not None:
                self._apply(np.add, out, self.biases(start, stop))
        return out

    def steps(self, start: int, stop: int) -> Float32:
        """How far the farther neighbour of each value on the grid is, for rows ``[start, stop)``."""
        gaps = _gaps(self.table)
        if len(set(gaps)) == 1:
            out = np.full((stop - start, self.columns), gaps[0], np.float32)
        else:
            out = self._looked_up(gaps, start, stop)
        with np.errstate(all="ignore"):
            self._apply(np.multiply, out, np.abs(self.scales(start, stop)))
        return out

    def _looked_up(self, table: tuple[float, ...], start: int, stop: int) -> Float32:
        raw = self.codes(start, stop)
        if len(table) == 256:
            found: Float32 = _array(table)[raw[:, : self.columns]]
            return found
        return _pairs(raw, table, self.high_first)[:, : self.columns]

    def _apply(self, operation: np.ufunc, out: Float32, numbers: Any) -> None:
        """Let each of `numbers` work on the elements that share it."""
        count = numbers.shape[1]
        width = self.width or -(-self.columns // count)
        if width * count == self.columns and out.flags.c_contiguous:
            grouped = out.reshape(len(out), count, width)
            operation(grouped, numbers[:, :, None], out=grouped)
        elif width == 1:
            operation(out, numbers, out=out)
        else:
            operation(out, np.repeat(numbers, width, axis=1)[:, : self.columns], out=out)


def grid_tensor(
    name: str, dtype: DType, shape: tuple[int, ...], rows: int, grid: Grid, parts: tuple[Tensor, ...]
) -> Tensor:
    """The tensor of `shape` whose elements are those of `rows` rows of `grid`, one after the other.

    Raises
    ------
    ValueError
        There are fewer elements than `shape` has.
    """
    if not grid.columns or not rows:
        raise ValueError(f"{name}: empty")
    packing = (dtype.name, rows, grid.columns, grid.table, grid.width, grid.high_first, grid.form)
    storage = QuantisedStorage(rows, grid.columns, grid.values, grid.steps, parts, packing)
    return Tensor.contiguous(name, dtype, shape, storage)


# Tables -------------------------------------------------------------------------------------------


def integers(bits: int, lowest: int = 0) -> tuple[float, ...]:
    """Values of whole numbers whose code 0 is `lowest`, or, of 8 bits, those in two's complement."""
    if bits == 8 and lowest:
        return tuple(float(code - 256 if code > 127 else code) for code in range(256))
    size = 16 if bits == 4 else 256
    return tuple(float(code + lowest) for code in range(size))


@lru_cache(maxsize=64)
def table_of(dtype: DType) -> tuple[float, ...]:
    """The values of all codes of a type of 8 bits."""
    out = np.empty(256)
    dtype.decode(np.arange(256, dtype=np.uint8).view(dtype.storage), out)
    return tuple(out.tolist())


@lru_cache(maxsize=64)
def _gaps(table: tuple[float, ...]) -> tuple[float, ...]:
    values = np.asarray(table)
    levels = np.unique(values[np.isfinite(values)])
    apart = np.diff(levels) if len(levels) > 1 else np.zeros(1)
    below, above = np.concatenate([[0.0], apart]), np.concatenate([apart, [0.0]])
    wider = np.maximum(below, above)
    at = np.clip(np.searchsorted(levels, values), 0, len(wider) - 1)
    return tuple(np.where(np.isfinite(values), wider[at], np.nan).tolist())


@lru_cache(maxsize=64)
def _array(table: tuple[float, ...]) -> Float32:
    return np.asarray(table, np.float32)


@lru_cache(maxsize=16)
def _fours(table: tuple[float, ...], high_first: bool) -> npt.NDArray[np.complex128]:
    """Two bytes to four values: one look-up of 16 bytes instead of four of four."""
    codes = np.arange(1 << 16, dtype=np.uint32)
    order = (4, 0, 12, 8) if high_first else (0, 4, 8, 12)
    nibbles = np.stack([(codes >> shift) & 15 for shift in order], axis=1)
    return np.ascontiguousarray(_array(table)[nibbles]).view(np.complex128).reshape(-1)


def _pairs(raw: Codes, table: tuple[float, ...], high_first: bool) -> Float32:
    """The values of two codes a byte, shape (rows, 2 · bytes)."""
    raw = np.ascontiguousarray(raw)
    rows, count = raw.shape
    if raw.size % 2 == 0:
        flat = np.take(_fours(table, high_first), raw.reshape(-1).view("<u2"))
        return flat.view(np.float32).reshape(rows, 2 * count)
    padded = np.append(raw.reshape(-1), np.uint8(0)).reshape(1, -1)
    return _pairs(padded, table, high_first).reshape(-1)[: 2 * raw.size].reshape(rows, 2 * count)


# Rows of tensors ----------------------------------------------------------------------------------


def by_rows(tensor: Tensor, rows: int) -> Rows:
    """Bytes of `tensor` cut into `rows` rows.

    Raises
    ------
    ValueError
        They don't come out even.
    """
    if rows < 1 or tensor.nbytes % rows or not tensor.is_contiguous:
        raise ValueError(f"{tensor.name!r} has no {rows} rows")
    width, base = tensor.nbytes // rows, tensor.offset * tensor.dtype.itemsize

    def read(start: int, stop: int) -> Codes:
        out = np.empty((stop - start) * width, np.uint8)
        tensor.storage.read_into(out, base + start * width)
        return out.reshape(stop - start, width)

    return read


def floats_by_rows(tensor: Tensor, rows: int, *, each: int = 1) -> Rows:
    """Values of `tensor` as float32; its row stands for `each` rows, a single one for all of `rows`.

    Raises
    ------
    ValueError
        They don't come out even.
    """
    if not tensor.dtype.decodable:
        raise ValueError(f"{tensor.name!r} holds no numbers")

    def numbers(start: int, stop: int) -> Float32:
        return tensor.block(start, stop).astype(np.float32)

    return _spread(tensor, rows, each, numbers)


def powers_of_two(tensor: Tensor, rows: int, *, each: int = 1) -> Rows:
    """As `floats_by_rows`, of bytes that are exponents of 2 with a bias of 127 (E8M0), 255 being NaN.

    Raises
    ------
    ValueError
        They don't come out even.
    """

    def numbers(start: int, stop: int) -> Float32:
        raw = np.empty(stop - start, tensor.dtype.storage)
        tensor.read(start, stop, raw)
        found: Float32 = E8M0[raw.view(np.uint8)]
        return found

    return _spread(tensor, rows, each, numbers)


def _spread(tensor: Tensor, rows: int, each: int, numbers: Callable[[int, int], Float32]) -> Rows:
    own = 1 if tensor.size == 1 else -(-rows // each)
    if not tensor.size or tensor.size % own:
        raise ValueError(f"{tensor.name!r} does not fit {rows} rows")
    columns = tensor.size // own

    def read(start: int, stop: int) -> Float32:
        low, high = (0, 1) if own == 1 else (start // each, (stop - 1) // each + 1)
        found = numbers(low * columns, high * columns).reshape(high - low, columns)
        if each == 1 and own > 1:
            return found
        spread: Float32 = found[np.minimum(np.arange(start, stop) // each, own - 1) - low]
        return spread

    return read


def codes_of(raw: Codes, bits: int) -> Codes:
    """One code a byte of codes of `bits` bits that stand one after the other, lowest bits first.

    Parameters
    ----------
    raw
        Shape (…, bytes).
    bits
        1 to 8.
    """
    if bits == 8:
        return raw
    if 8 % bits == 0:
        shifts = np.arange(0, 8, bits, dtype=np.uint8)
        found: Codes = (raw[..., None] >> shifts) & np.uint8(2**bits - 1)
        return found.reshape(*raw.shape[:-1], -1)
    stream = np.unpackbits(raw, axis=-1, bitorder="little")
    stream = stream[..., : stream.shape[-1] // bits * bits].reshape(*raw.shape[:-1], -1, bits)
    weights = (1 << np.arange(bits)).astype(np.uint8)
    out: Codes = (stream * weights).sum(axis=-1, dtype=np.uint8)
    return out


def rows_and_columns(shape: tuple[int, ...]) -> tuple[int, int]:
    """A tensor's size as a matrix: all axes but the last are rows."""
    if len(shape) < 2 or not math.prod(shape):
        raise ValueError("no matrix")
    return math.prod(shape[:-1]), shape[-1]


FLOATS = tuple(name for name, dtype in BY_NAME.items() if dtype.is_float and not dtype.block)
