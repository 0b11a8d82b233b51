"""NVFP4 of modelopt and compressed-tensors: 16 codes (E2M1) share a float8 scale, and all share another.

modelopt multiplies by its second scale (``weight_scale_2``), compressed-tensors divides by it
(``weight_global_scale``). MXFP4 of compressed-tensors has the same names with exponents of 2 as scales.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bitfit_probe.checkpoint.quantised.grid import (
    E2M1,
    FLOATS,
    Grid,
    Rows,
    by_rows,
    floats_by_rows,
    grid_tensor,
    powers_of_two,
    rows_and_columns,
)
from bitfit_probe.checkpoint.quantised.interface import Packed, Tensors, part
from bitfit_probe.checkpoint.quantised.mxfp4 import BLOCK as MX_BLOCK
from bitfit_probe.checkpoint.quantised.mxfp4 import ERROR
from bitfit_probe.checkpoint.quantised.settings import Settings
from bitfit_probe.checkpoint.storage.dtypes import quantised
from bitfit_probe.checkpoint.storage.tensor import Tensor

__all__ = ["MARKS", "read"]

MARKS = ("_scale",)
BLOCK = 16
_BESIDE = ("input_scale", "input_global_scale", "input_amax", "weight_shape")


def read(stem: str, mark: str, tensors: Tensors, settings: Settings) -> Packed | None:
    """The weight `stem`."""
    codes = tensors.get(f"{stem}_packed", tensors.get(stem))
    if codes is None or codes.dtype.name != "uint8":
        return None
    scale = part(tensors, stem + mark, "float8_e4m3fn", "float8_e8m0fnu", "uint8")
    over = tensors.get(f"{stem}_scale_2"), tensors.get(f"{stem}_global_scale")
    if any(tensor is not None and tensor.dtype.name not in FLOATS for tensor in over):
        raise ValueError("scales that are no numbers")
    rows, half = rows_and_columns(codes.shape)
    powers = scale.dtype.name != "float8_e4m3fn"
    block = MX_BLOCK if powers else BLOCK
    if rows_and_columns(scale.shape) != (rows, half * 2 // block) or (powers and any(over)):
        raise ValueError("scales that don't fit the weight")
    scales = powers_of_two(scale, rows) if powers else _twofold(floats_by_rows(scale, rows), *over)
    grid = Grid(2 * half, E2M1, by_rows(codes, rows), scales)
    parts = (codes, scale, *(tensor for tensor in over if tensor is not None))
    module = stem.rpartition(".")[0]
    beside = [name for end in _BESIDE if (name := f"{module}.{end}") in tensors]
    dtype = quantised("mxfp4" if powers else "nvfp4", block, 4, ERROR)
    tensor = grid_tensor(stem, dtype, (*codes.shape[:-1], 2 * half), rows, grid, parts)
    return Packed(tensor, (*(part.name for part in parts), *beside))


def _twofold(scales: Rows, times: Tensor | None, by: Tensor | None) -> Rows:
    """Scales of blocks times the scale of all."""
    given = [tensor for tensor in (times, by) if tensor is not None]
    if len(given) != 1 or given[0].size != 1:
        raise ValueError("not one scale of all blocks")
    number = given[0].values().reshape(-1)[0]
    with np.errstate(divide="ignore"):
        factor = np.float32(number if times is not None else 1 / number)

    def read(start: int, stop: int) -> Any:
        return scales(start, stop) * factor

    return read
