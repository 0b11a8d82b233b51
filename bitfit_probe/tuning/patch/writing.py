"""Writing safetensors with numpy alone: a header, then the tensors' bytes, block by block.

The layout is that of the reference implementation (https://github.com/huggingface/safetensors#format):
compact JSON, padded with spaces to a multiple of eight bytes. A file copied tensor by tensor in its own order
comes out the same, byte for byte.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

import numpy as np

from bitfit_probe.checkpoint import Tensor
from bitfit_probe.checkpoint.formats.safetensors import CODES
from bitfit_probe.checkpoint.parsing.bounded_json import parse
from bitfit_probe.errors import ChangedError, PatchError

__all__ = ["header_of", "safetensors_content"]

_BLOCK = 1 << 20


def header_of(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], path: Path) -> bytes:
    """What a safetensors file begins with.

    Parameters
    ----------
    path
        What a message names.

    Raises
    ------
    PatchError
        A tensor's element type or name is none for safetensors, or there is more than is ever read.
    """
    entries: dict[str, object] = {"__metadata__": dict(metadata)}
    at = 0
    for name, tensor in tensors.items():
        code = CODES.get(tensor.dtype.name)
        if code is None:
            what = f"{name} is {tensor.dtype.name}, which safetensors can't hold"
            raise PatchError(what, advice="cast it first", path=path)
        if name in entries:
            raise PatchError(f"{name!r} is no name for a tensor", advice="rename it first", path=path)
        offsets = [at, at + tensor.nbytes]
        entries[name] = {"dtype": code, "shape": list(tensor.shape), "data_offsets": offsets}
        at += tensor.nbytes
    try:
        text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
        parse(text)
    except ValueError as error:  # a name with half of a surrogate pair, or too many of them
        what = f"its names make no safetensors header ({error})"
        raise PatchError(what, advice="rename the tensors first", path=path) from error
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def safetensors_content(
    header: bytes, tensors: Mapping[str, Tensor], hashes: Mapping[str, str], path: Path
) -> Callable[[IO[bytes]], None]:
    """What writes the header and the tensors, and raises ChangedError unless their bytes have `hashes`.

    Parameters
    ----------
    hashes
        The SHA-256 of every tensor by name: the values may have been rewritten since they were checked.
    path
        What a message names.
    """

    def write(stream: IO[bytes]) -> None:
        stream.write(header)
        for name, tensor in tensors.items():
            if _copy(tensor, stream) != hashes[name]:
                raise ChangedError(
                    f"{name!r} changed while it was copied",
                    advice="run again when nothing writes to it",
                    path=path,
                )

    return write


def _copy(tensor: Tensor, stream: IO[bytes]) -> str:
    """Write a tensor's bytes; the SHA-256 of what was written."""
    seen = hashlib.sha256()
    for start in range(0, tensor.size, _BLOCK):
        raw = np.empty(min(_BLOCK, tensor.size - start), tensor.dtype.storage)
        tensor.read(start, start + len(raw), raw)
        written = raw.view(np.uint8).data
        stream.write(written)
        seen.update(written)
    return seen.hexdigest()
