"""Bytes of whole tensors, kept while their neighbours are still asked for.

Some libraries pack along the axis that is read last. Their codes are read once in a row, which takes a
quarter or an eighth of what the values would, and unpacked a few rows at a time.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from bitfit_probe.checkpoint.storage.tensor import Tensor

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["held"]

Array: TypeAlias = "npt.NDArray[Any]"
#: Bytes that are kept beside the last that were asked for.
_MOST = 64 << 20

_kept: OrderedDict[tuple[int, int, int], tuple[Tensor, Array]] = OrderedDict()
_lock = threading.Lock()


def held(tensor: Tensor, start: int, stop: int) -> Array:
    """Elements ``[start, stop)`` of `tensor`, still encoded; the array is not to be written to."""
    key = (id(tensor), start, stop)
    with _lock:
        if key in _kept:
            _kept.move_to_end(key)
            return _kept[key][1]
        data = np.empty(stop - start, tensor.dtype.storage)
        tensor.read(start, stop, data)
        _kept[key] = tensor, data  # with the tensor, so that no other takes its id
        while len(_kept) > 1 and sum(array.nbytes for _, array in _kept.values()) > _MOST:
            _kept.popitem(last=False)
        return data
