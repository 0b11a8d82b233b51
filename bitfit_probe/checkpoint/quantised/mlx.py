"""MLX: integers of 2 to 8 bits in words of 32, value = code · scale + bias by group; or MXFP4 in such words.

``mlx.core.quantize``. Bits and sizes of groups stand in config.json, for the model or for a module.
"""

from __future__ import annotations

from typing import Any

from bitfit_probe.checkpoint.quantised.grid import (
    E2M1,
    FLOATS,
    Grid,
    Rows,
    by_rows,
    codes_of,
    floats_by_rows,
    grid_tensor,
    integers,
    powers_of_two,
    rows_and_columns,
)
from bitfit_probe.checkpoint.quantised.interface import Packed, Tensors, part
from bitfit_probe.checkpoint.quantised.mxfp4 import BLOCK, ERROR
from bitfit_probe.checkpoint.quantised.settings import Settings
from bitfit_probe.checkpoint.storage.dtypes import quantised
from bitfit_probe.checkpoint.storage.tensor import Tensor

__all__ = ["MARKS", "read"]

MARKS = (".scales",)
_BITS = (2, 3, 4, 5, 6, 8)


def read(stem: str, mark: str, tensors: Tensors, settings: Settings) -> Packed | None:
    """The weight of the module `stem`."""
    codes = tensors.get(f"{stem}.weight")
    if codes is None or codes.dtype.name != "uint32":
        return None
    scale, bias = tensors[stem + mark], tensors.get(f"{stem}.biases")
    rows, words = rows_and_columns(codes.shape)
    if scale.shape[:-1] != codes.shape[:-1]:
        raise ValueError("scales that don't fit the weight")
    groups = scale.shape[-1]
    if bias is None:
        return _mxfp4(codes, scale, rows, words)
    own = settings.of(stem)
    bits, size = own.bits or settings.bits, own.group_size or settings.group_size
    if bits not in _BITS or size is None or words * 32 != bits * groups * size or bias.shape != scale.shape:
        raise ValueError("codes of another number of bits")
    part(tensors, scale.name, *FLOATS)
    columns = groups * size
    grid = Grid(
        columns,
        integers(4 if bits == 4 else 8),
        _codes(codes, rows, bits),
        floats_by_rows(scale, rows),
        biases=floats_by_rows(bias, rows),
    )
    dtype, parts = quantised(f"int{bits}_scaled", size, bits), (codes, scale, bias)
    tensor = grid_tensor(codes.name, dtype, (*codes.shape[:-1], columns), rows, grid, parts)
    return Packed(tensor, tuple(part.name for part in parts))


def _codes(codes: Tensor, rows: int, bits: int) -> Rows:
    raw = by_rows(codes, rows)
    if bits == 4:
        return raw

    def read(start: int, stop: int) -> Any:
        return codes_of(raw(start, stop), bits)

    return read


def _mxfp4(codes: Tensor, scale: Tensor, rows: int, words: int) -> Packed:
    if scale.dtype.name != "uint8" or words * 8 != scale.shape[-1] * BLOCK:
        raise ValueError("no biases, and no exponents either")
    grid = Grid(words * 8, E2M1, by_rows(codes, rows), powers_of_two(scale, rows))
    shape, parts = (*codes.shape[:-1], words * 8), (codes, scale)
    tensor = grid_tensor(codes.name, quantised("mxfp4", BLOCK, 4, ERROR), shape, rows, grid, parts)
    return Packed(tensor, (codes.name, scale.name))
