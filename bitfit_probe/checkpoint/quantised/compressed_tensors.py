"""compressed-tensors, ``pack-quantized``: integers of 2 to 8 bits in words of 32, scales by row or group.

The words hold codes from zero on, lowest bits first; zero points are packed down the columns
(``pack_to_int32``). float8 and int8 that are not packed are `scaled`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bitfit_probe.checkpoint.quantised.grid import (
    FLOATS,
    Grid,
    Rows,
    by_rows,
    codes_of,
    floats_by_rows,
    grid_tensor,
    integers,
)
from bitfit_probe.checkpoint.quantised.interface import Packed, Tensors, part
from bitfit_probe.checkpoint.quantised.settings import Settings
from bitfit_probe.checkpoint.storage.dtypes import quantised
from bitfit_probe.checkpoint.storage.tensor import Tensor

__all__ = ["MARKS", "read"]

MARKS = ("_packed",)
_BITS = range(2, 9)
_WHOLE = ("int32", "int64")


def read(stem: str, mark: str, tensors: Tensors, settings: Settings) -> Packed | None:
    """The weight `stem`."""
    codes = tensors[stem + mark]
    if codes.dtype.name != "int32":
        return None
    scale, told = part(tensors, f"{stem}_scale", *FLOATS), part(tensors, f"{stem}_shape", *_WHOLE)
    if told.size != 2 or len(codes.shape) != 2:
        raise ValueError("no matrix")
    rows, columns = (int(size) for size in told.values().reshape(-1))
    bits = _bits(columns, codes.shape[1], settings)
    if rows != codes.shape[0] or scale.shape[:1] != (rows,):
        raise ValueError("codes that don't fit the shape")
    order, zero = tensors.get(f"{stem}_g_idx"), tensors.get(f"{stem}_zero_point")
    groups = scale.size // rows
    width = -(-columns // groups)
    scales, zeros, parts = floats_by_rows(scale, rows), None, [codes, scale]
    half = 1 << bits - 1
    if zero is not None:
        zeros = _zeros(zero, rows, groups, bits, half)
        parts.append(zero)
    if order is not None and order.dtype.name not in _WHOLE:
        raise ValueError("groups that are no whole numbers")
    if order is not None and (index := order.values().reshape(-1)).min(initial=0) >= 0:
        picked = _index(index, columns, groups)
        scales, zeros, width = _picked(scales, picked), zeros and _picked(zeros, picked), 1
        parts.append(order)
    elif columns % groups:
        raise ValueError("groups that don't come out even")
    grid = Grid(columns, integers(bits, -half), _bytes(codes, rows, bits), scales, zeros, width=width)
    dtype = quantised(f"int{bits}_scaled", columns // groups, bits)
    names = [tensor.name for tensor in parts] + [told.name] + ([order.name] if order is not None else [])
    tensor = grid_tensor(stem, dtype, (rows, columns), rows, grid, tuple(parts))
    return Packed(tensor, tuple(dict.fromkeys(names)))


def _bits(columns: int, words: int, settings: Settings) -> int:
    """Bits a code, where `words` words hold `columns` of them."""
    fitting = [bits for bits in _BITS if -(-columns * bits // 32) == words]
    if settings.bits in fitting:
        return settings.bits
    if len(fitting) != 1:
        raise ValueError("codes that don't fit the shape")
    return fitting[0]


def _bytes(codes: Tensor, rows: int, bits: int) -> Rows:
    """Rows of bytes with one code each, or two of 4 bits; of 8 bits in two's complement."""
    raw = by_rows(codes, rows)
    if bits == 4:
        return raw
    if bits == 8:
        return lambda start, stop: raw(start, stop) ^ np.uint8(128)
    return lambda start, stop: codes_of(raw(start, stop), bits)


def _zeros(zero: Tensor, rows: int, groups: int, bits: int, half: int) -> Rows:
    """Zero points, in words of 32 bits down the rows, or one number each."""
    if zero.size == rows * groups:
        return floats_by_rows(zero, rows)
    per = 32 // bits
    if 32 % bits or zero.dtype.name != "int32" or zero.shape != (-(-rows // per), groups):
        raise ValueError("zero points that don't fit")

    def read(start: int, stop: int) -> Any:
        low, high = start // per, -(-stop // per)
        words = np.empty((high - low) * groups, np.int32)
        zero.read(low * groups, high * groups, words)
        each = codes_of(words.view(np.uint8).reshape(high - low, groups, 4), bits)
        down = each.transpose(0, 2, 1).reshape(-1, groups)[start - low * per : stop - low * per]
        return down.astype(np.float32) - np.float32(half)

    return read


def _index(index: Any, columns: int, groups: int) -> Any:
    if len(index) != columns or index.max() >= groups:
        raise ValueError("columns of no group")
    return index.astype(np.intp)


def _picked(rows: Rows, index: Any) -> Rows:
    return lambda start, stop: rows(start, stop)[:, index]
