"""Codes of 8 bits that stand in the weight's shape, with scales a tensor, a row, a group or a tile.

float8 in blocks (DeepSeek-V3, arXiv 2412.19437, §3.3.2; ``weight_scale_inv``), in channels or with one scale
(compressed-tensors, FBGEMM, modelopt; ``weight_scale``), int8 of compressed-tensors, LLM.int8() of
bitsandbytes (``SCB``; Dettmers et al. 2022), qint8 and qfloat8 of quanto, and int8 and float8 of torchao.
"""

from __future__ import annotations

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
    powers_of_two,
    rows_and_columns,
    table_of,
)
from bitfit_probe.checkpoint.quantised.interface import Packed, Tensors, part
from bitfit_probe.checkpoint.quantised.settings import Settings
from bitfit_probe.checkpoint.storage.dtypes import quantised
from bitfit_probe.checkpoint.storage.tensor import Tensor

__all__ = ["MARKS", "read"]

#: The end of the scale's name, and what stands in its place in the names of codes and zero points.
_PARTS = {
    ".SCB": (".weight", None),
    "_scale_inv": ("", None),
    "_scale": ("", "_zero_point"),
    "._scale": ("._data", None),
    "._weight_scale": ("._weight_qdata", "._weight_zero_point"),
}
MARKS = tuple(_PARTS)
#: What serves to run the layer, by what it adds to the weight's name or to its module's.
_BESIDE = ("_format", ".input_scale", ".output_scale", ".activation_scale", "_scale_ub", ".input_zero_point")
#: Element types of scales that are exponents of 2 (MXFP8, and DeepSeek since V3.1).
_POWERS = ("uint8", "float8_e8m0fnu")
#: Rows and columns of a tile, where nothing else is said.
_TILE = 128
#: LLM.int8() keeps the largest magnitude of a row as 127.
_SCB_LEVELS = 127


def read(stem: str, mark: str, tensors: Tensors, settings: Settings) -> Packed | None:
    """The weight whose scale is `stem` + `mark`."""
    code_end, zero_end = _PARTS[mark]
    codes = tensors.get(stem + code_end)
    floats = codes is not None and codes.dtype.name.startswith("float8_e") and codes.dtype.decodable
    if codes is None or not (floats or codes.dtype.name == "int8"):
        return None
    scale, zero = part(tensors, stem + mark, *FLOATS, *_POWERS), tensors.get(f"{stem}{zero_end}")
    name = _name(stem, mark)
    _check_rows(tensors.get(f"{name}_format"))
    rows, columns = rows_and_columns(codes.shape)
    grid = Grid(
        columns,
        table_of(codes.dtype) if floats else integers(8, -128),
        by_rows(codes, rows),
        *_scales(scale, codes.shape, settings, 1 / _SCB_LEVELS if mark == ".SCB" else 1),
    )
    if zero is not None:
        grid = _shifted(grid, zero, codes.shape, settings)
    # torchao keeps integers of fewer bits in bytes, too; of one bit, rounding takes half of the largest.
    error = 0.5 if mark == "._weight_scale" else None
    dtype = quantised("int8_scaled", columns, 8, error)
    if floats:
        dtype = quantised("float8_scaled", 1, 8, 2.0**-3)
    module = name.rpartition(".")[0]
    beside = [f"{name}{end}" for end in _BESIDE] + [f"{module}{end}" for end in _BESIDE]
    known = (codes, scale, *([zero] if zero is not None else ()))
    extra = [other for other in beside if other in tensors]
    names = (*(tensor.name for tensor in known), *extra)
    return Packed(grid_tensor(name, dtype, codes.shape, rows, grid, known), names)


def _name(stem: str, mark: str) -> str:
    """The name of the weight."""
    return f"{stem}.weight" if mark in (".SCB", "._weight_scale") else stem


def _check_rows(form: Tensor | None) -> None:
    """Refuse LLM.int8() weights that are tiled for a GPU: the format 0 is by rows."""
    if form is not None and (form.size != 1 or not form.dtype.decodable or form.values().any()):
        raise ValueError("tiled for a GPU")


def _shifted(grid: Grid, zero: Tensor, shape: tuple[int, ...], settings: Settings) -> Grid:
    zeros, _, _, width = _scales(zero, shape, settings, 1)
    if width != grid.width:
        raise ValueError(f"{zero.name!r} has another shape than the scales")
    return Grid(grid.columns, grid.table, grid.codes, grid.scales, zeros, width=width)


def _scales(
    scale: Tensor, shape: tuple[int, ...], settings: Settings, factor: float
) -> tuple[Rows, None, None, int | None]:
    """Scales of the rows of a weight of `shape`, and over how many columns each reaches."""
    rows, columns = rows_and_columns(shape)
    leading, height = shape[:-2], shape[-2]
    own = scale.shape
    if scale.size == 1:
        return _times(_numbers(scale, rows, 1), factor), None, None, columns
    if len(own) == len(shape) - 1 and own == shape[:-1]:
        own = (*own, 1)
    if len(own) != len(shape) or own[:-2] not in (leading, (1,) * len(leading)):
        raise ValueError(f"{scale.name!r} does not fit the weight")
    if own[:-2] != leading:
        raise ValueError(f"{scale.name!r} is one of several matrices")
    high, wide = _tile(own[-2:], (height, columns), settings)
    if height % high and leading:
        raise ValueError("tiles that end within a matrix")
    return _times(_numbers(scale, rows, high), factor), None, None, wide


def _numbers(scale: Tensor, rows: int, each: int) -> Rows:
    read = powers_of_two if scale.dtype.name in _POWERS else floats_by_rows
    return read(scale, rows, each=each)


def _tile(counts: tuple[int, ...], size: tuple[int, int], settings: Settings) -> tuple[int, int]:
    """Rows and columns that share a scale, of `counts` scales for a matrix of `size`."""
    stated = settings.block or (None, None)
    out = []
    for count, whole, told in zip(counts, size, stated, strict=True):
        if told is not None and -(-whole // told) == count:
            out.append(told)
        elif count > 1 and -(-whole // _TILE) == count:  # the last may be cut off
            out.append(_TILE)
        else:
            out.append(-(-whole // max(count, 1)))
    if any(-(-whole // each) != count for count, whole, each in zip(counts, size, out, strict=True)):
        raise ValueError("scales that don't fit the weight")
    return out[0], out[1]


def _times(rows: Rows, factor: float) -> Rows:
    if factor == 1:
        return rows

    def scaled(start: int, stop: int) -> Any:
        return rows(start, stop) * np.float32(factor)

    return scaled
