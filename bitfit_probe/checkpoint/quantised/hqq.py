"""HQQ: integers of 2, 4 or 8 bits, value = (code − zero) · scale by group (Badri & Shaji 2023).

The weight's elements are laid out in rows of a group (axis 1) or in columns of one (axis 0). Codes of fewer
than 8 bits share a byte with those of the other halves or quarters of the rows, the first in its upper bits
(``hqq.core.bitpack``). What the module is like is saved as tensors beside them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bitfit_probe.checkpoint.quantised.grid import (
    FLOATS,
    Grid,
    Rows,
    by_rows,
    floats_by_rows,
    grid_tensor,
    integers,
)
from bitfit_probe.checkpoint.quantised.interface import Packed, Tensors, part
from bitfit_probe.checkpoint.quantised.settings import Settings
from bitfit_probe.checkpoint.storage.dtypes import quantised
from bitfit_probe.checkpoint.storage.tensor import Tensor

__all__ = ["MARKS", "read"]

MARKS = (".W_q",)
_BITS = (2, 4, 8)
_BESIDE = (
    "nbits", "group_size", "shape", "axis", "packing", "unpack_view_dtype", "view_as_float", "quant_scale",
    "quant_zero", "compute_dtype", "offload_meta", "encoded_state_dict", "stores_quant_config",
    "channel_wise", "optimize", "round_zero",
)  # fmt: skip


def read(stem: str, mark: str, tensors: Tensors, settings: Settings) -> Packed | None:
    """The weight of the module `stem`."""
    codes = part(tensors, stem + mark, "uint8")
    scale, zero = (part(tensors, f"{stem}.{name}", *FLOATS) for name in ("scale", "zero"))
    bits, axis = (_number(tensors, f"{stem}.{name}") for name in ("nbits", "axis"))
    told = part(tensors, f"{stem}.shape", "int64", "int32")
    if told.size != 2 or len(codes.shape) != 2 or bits not in _BITS or axis not in (0, 1):
        raise ValueError("packed in another way")
    if any(_number(tensors, f"{stem}.{name}", 0) for name in ("quant_scale", "quant_zero", "view_as_float")):
        raise ValueError("scales that are quantised themselves")
    shape = tuple(int(size) for size in told.values().reshape(-1))
    rows, columns = codes.shape[0] * 8 // bits, codes.shape[1]
    if rows * columns != math.prod(shape) or scale.size != zero.size or scale.size != (columns, rows)[axis]:
        raise ValueError("codes that don't fit the shape")
    scales, zeros = (floats_by_rows(one, rows) if axis else _same(one) for one in (scale, zero))
    grid = Grid(columns, integers(8), _codes(codes, bits), scales, zeros, width=columns if axis else 1)
    names = [tensor.name for tensor in (codes, scale, zero)]
    names += [name for end in _BESIDE if (name := f"{stem}.{end}") in tensors]
    dtype = quantised(f"int{bits}_scaled", columns if axis else rows, bits)
    tensor = grid_tensor(f"{stem}.weight", dtype, shape, rows, grid, (codes, scale, zero))
    return Packed(tensor, tuple(names))


def _number(tensors: Tensors, name: str, default: int | None = None) -> int:
    if default is not None and name not in tensors:
        return default
    tensor = part(tensors, name, "int32", "int64", "uint8")
    if tensor.size != 1:
        raise ValueError(f"{name!r} is no number")
    return int(tensor.values().reshape(-1)[0])


def _same(tensor: Tensor) -> Rows:
    """The same numbers for every row, one for each column."""

    def read(start: int, stop: int) -> Any:
        numbers = tensor.values().astype(np.float32).reshape(1, -1)
        return np.broadcast_to(numbers, (stop - start, numbers.shape[1]))

    return read


def _codes(tensor: Tensor, bits: int) -> Rows:
    """One code a byte; row r stands in byte row r mod `step`."""
    step = tensor.shape[0]
    raw = by_rows(tensor, step)

    def read(start: int, stop: int) -> Any:
        pieces = []
        for piece in range(start // step, (stop - 1) // step + 1):
            first, last = max(start - piece * step, 0), min(stop - piece * step, step)
            pieces.append(raw(first, last) >> np.uint8(8 - bits * (piece + 1)) & np.uint8(2**bits - 1))
        return np.concatenate(pieces)

    return read
