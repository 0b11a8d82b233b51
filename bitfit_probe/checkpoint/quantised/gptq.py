"""GPTQ and AWQ: integers of 2, 4 or 8 bits in words of 32, with a scale and a zero point by group of inputs.

Both keep matrices with the inputs along the rows. GPTQ packs down the columns, and (but for its format
``gptq_v2``) stores zero points less one (Frantar et al. 2022, arXiv 2210.17323; AutoGPTQ, GPTQModel). AWQ
packs along the rows in an order of its own (Lin et al. 2023, arXiv 2306.00978; AutoAWQ's ``gemm``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bitfit_probe.checkpoint.quantised.grid import FLOATS, Grid, codes_of, grid_tensor, integers
from bitfit_probe.checkpoint.quantised.held import held
from bitfit_probe.checkpoint.quantised.interface import Packed, Tensors, part
from bitfit_probe.checkpoint.quantised.settings import Settings
from bitfit_probe.checkpoint.storage.dtypes import quantised
from bitfit_probe.checkpoint.storage.tensor import Tensor

__all__ = ["MARKS", "read"]

MARKS = (".qweight",)
_BITS = (2, 4, 8)
#: Where AWQ puts eight codes in a word: the first, third, … in its lower half.
_AWQ_ORDER = np.array([0, 4, 1, 5, 2, 6, 3, 7])
_GPTQ_FORMS = (None, "gptq", "gptq_v2")
_AWQ_FORMS = (None, "gemm")


def read(stem: str, mark: str, tensors: Tensors, settings: Settings) -> Packed | None:
    """The weight of the module `stem`."""
    code, zero = (part(tensors, f"{stem}.{name}", "int32") for name in ("qweight", "qzeros"))
    scale, order = part(tensors, f"{stem}.scales", *FLOATS), tensors.get(f"{stem}.g_idx")
    if len(code.shape) != 2 or len(scale.shape) != 2 or not code.size or not scale.size:
        raise ValueError("no matrix")
    own = settings.of(stem)
    groups, outputs = scale.shape
    awq = settings.method == "awq" or (settings.method is None and code.shape[1] != outputs)
    if settings.method not in (None, "gptq", "awq") or own.form not in (_AWQ_FORMS if awq else _GPTQ_FORMS):
        raise ValueError("packed in another way")
    packed = code.shape[1] if awq else code.shape[0]
    inputs = code.shape[0] if awq else _inputs(packed, order, own)
    across = outputs if awq else inputs
    bits = packed * 32 // max(across, 1)
    if bits not in _BITS or packed * 32 != bits * across or (awq and bits != 4):
        raise ValueError("codes of another number of bits")
    if zero.shape != (groups, outputs * bits // 32):
        raise ValueError("zero points that don't fit")
    index = _groups(order, inputs, groups)
    codes = _awq_rows(code) if awq else _gptq_rows(code, bits)
    zeros = _awq_rows(zero) if awq else _gptq_zeros(zero, bits, 0 if own.form == "gptq_v2" else 1)
    grid = Grid(
        inputs,
        integers(8),
        codes,
        _each(lambda start, stop: _columns(scale, start, stop), index),
        _each(lambda start, stop: zeros(start, stop).astype(np.float32), index),
        width=1 if index is not None else inputs // groups,
        form=own.form,
    )
    name, parts = f"{stem}.weight", (code, zero, scale, *([order] if order is not None else ()))
    kind = f"{'awq' if awq else 'gptq'}_int{bits}"
    dtype = quantised(kind, -(-inputs // groups), bits, calibrated=True)
    tensor = grid_tensor(name, dtype, (outputs, inputs), outputs, grid, parts)
    return Packed(tensor, tuple(part.name for part in parts))


def _inputs(packed: int, order: Tensor | None, settings: Settings) -> int:
    if order is not None:
        return order.size
    if settings.bits is None:
        raise ValueError("no number of bits")
    return packed * 32 // settings.bits


def _groups(order: Tensor | None, inputs: int, groups: int) -> Any:
    """The group of each input; None where these follow each other, all of one size."""
    in_turn = np.arange(inputs) // -(-inputs // groups)
    if order is None:
        return None if inputs % groups == 0 else in_turn
    if order.dtype.name not in ("int32", "int64"):
        raise ValueError("groups that are no whole numbers")
    index = order.values().reshape(-1).astype(np.intp)
    index[index < 0] += groups  # GPTQModel notes groups from the end so
    if len(index) != inputs or index.min() < 0 or index.max() >= groups:
        raise ValueError("inputs of no group")
    return None if inputs % groups == 0 and np.array_equal(index, in_turn) else index


def _each(rows: Callable[[int, int], Any], index: Any) -> Callable[[int, int], Any]:
    return rows if index is None else lambda start, stop: rows(start, stop)[:, index]


def _whole(tensor: Tensor) -> Any:
    return held(tensor, 0, tensor.size).reshape(tensor.shape)


def _columns(tensor: Tensor, start: int, stop: int) -> Any:
    """Columns ``[start, stop)`` of a float tensor, as rows."""
    cut = np.ascontiguousarray(_whole(tensor)[:, start:stop].T)
    out = np.empty(cut.size)
    tensor.dtype.decode(cut.reshape(-1), out)
    return out.astype(np.float32).reshape(cut.shape)


def _gptq_rows(tensor: Tensor, bits: int) -> Callable[[int, int], Any]:
    """Codes of outputs ``[start, stop)``, which stand one below the other."""

    def read(start: int, stop: int) -> Any:
        words = np.ascontiguousarray(_whole(tensor)[:, start:stop].T)
        return codes_of(words.view(np.uint8), bits)

    return read


def _gptq_zeros(tensor: Tensor, bits: int, less: int) -> Callable[[int, int], Any]:
    def read(start: int, stop: int) -> Any:
        per = 32 // bits
        low, high = start // per, -(-stop // per)
        words = np.ascontiguousarray(_whole(tensor)[:, low:high])
        each = codes_of(words.view(np.uint8), bits)[:, start - low * per : stop - low * per]
        return ((each + np.uint8(less)) & np.uint8(2**bits - 1)).T

    return read


def _awq_rows(tensor: Tensor) -> Callable[[int, int], Any]:
    def read(start: int, stop: int) -> Any:
        low, high = start // 8, -(-stop // 8)
        words = np.ascontiguousarray(_whole(tensor)[:, low:high])
        packed = codes_of(words.view(np.uint8), 4).reshape(len(words), high - low, 8)
        each = packed[:, :, _AWQ_ORDER].reshape(len(words), -1)
        return np.ascontiguousarray(each[:, start - low * 8 : stop - low * 8].T)

    return read
