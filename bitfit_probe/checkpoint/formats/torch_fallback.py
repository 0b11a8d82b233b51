"""Everything else that torch can read safely: sparse and quantised tensors, archives from 2016.

Slow (it imports torch) and held in memory, so it is taken only where the readers without torch can't go.
``weights_only=True`` always: nothing that a pickle names is run.
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import numpy as np

from bitfit_probe.checkpoint.interface import Checkpoint
from bitfit_probe.checkpoint.storage.dtypes import BY_NAME
from bitfit_probe.checkpoint.storage.tensor import File, MemoryStorage, Tensor
from bitfit_probe.checkpoint.torch.naming import NAMING
from bitfit_probe.errors import NoStateDictError, UnsupportedError

if TYPE_CHECKING:
    import torch

__all__ = ["NAMING", "matches", "read"]


def matches(head: bytes, file: File) -> bool:
    """Whether the file is a tar archive, the form of torch.save in 2016."""
    return head[257:262] == b"ustar"


def read(file: File, key: str | None = None) -> Checkpoint:
    """Load with torch, densify and dequantise, and keep the values in memory.

    Raises
    ------
    UnsupportedError
        torch refuses the file.
    NoStateDictError
        It holds no tensors under `key`.
    """
    try:
        import torch
    except ImportError as error:
        raise UnsupportedError(
            "holds tensors that only torch can rebuild, and torch is not installed",
            advice="pip install 'bitfit-probe[torch]'",
            path=file.path,
        ) from error
    try:
        loaded = torch.load(file.path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, ValueError, KeyError, EOFError) as error:
        raise UnsupportedError(
            f"torch.load(weights_only=True) refuses it ({str(error).splitlines()[0][:120]})",
            advice="where it was made, save the state_dict() with a current torch.save or as .safetensors",
            path=file.path,
        ) from error
    for step in filter(None, (key or "").split(".")):
        loaded = loaded[step] if isinstance(loaded, dict) and step in loaded else loaded
    found = loaded if isinstance(loaded, dict) else {}
    tensors = {
        name: _tensor(name, value, file)
        for name, value in found.items()
        if isinstance(name, str) and isinstance(value, torch.Tensor)
    }
    if not tensors:
        raise NoStateDictError(
            "maps no names to tensors", advice="save model.state_dict() with torch.save", path=file.path
        )
    return Checkpoint(file.path, "torch (loaded)", tensors, (file,))


def _tensor(name: str, value: torch.Tensor, file: File) -> Tensor:
    import torch

    dense: Any = value.detach()
    if dense.is_meta or dense.is_nested:
        raise UnsupportedError(
            f"{name!r} is a tensor without data of its own, or of uneven rows",
            advice="save the state_dict() of the loaded model",
            path=file.path,
        )
    if dense.is_quantized:
        dense = dense.dequantize()
    if dense.layout != torch.strided:
        dense = dense.to_dense()
    dense = dense.resolve_conj().resolve_neg().contiguous()
    dtype = BY_NAME.get(str(dense.dtype).removeprefix("torch."))
    if dtype is None:
        raise UnsupportedError(
            f"{name!r} has the element type {dense.dtype}, which is not read",
            advice="convert it to float32, float16 or bfloat16",
            path=file.path,
        )
    data = dense.reshape(-1).view(torch.uint8).numpy() if dense.numel() else np.empty(0, np.uint8)
    return Tensor.contiguous(name, dtype, tuple(dense.shape), MemoryStorage(data))
