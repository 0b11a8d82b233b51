"""Writing safetensors with numpy alone: a header, then the tensors' bytes, block by block.

The layout is that of the reference implementation (https://github.com/huggingface/safetensors#format):
compact JSON, padded with spaces to a multiple of eight bytes. A file copied tensor by tensor in its own order
comes out the same, byte for byte.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np

from bitfit_probe.checkpoint import Checkpoint, Tensor
from bitfit_probe.checkpoint.formats.safetensors import CODES
from bitfit_probe.errors import OutputError, OverwriteError, PatchError

__all__ = ["check_output", "write_safetensors"]

_BLOCK = 1 << 20


def write_safetensors(out: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a file that is there whole or not at all.

    Raises
    ------
    PatchError
        A tensor's element type has no code in safetensors.
    OutputError
        It can't be written.
    """
    header = _header(out, tensors, metadata)
    try:
        handle, name = tempfile.mkstemp(dir=out.parent, prefix=f".{out.name}.")
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(header)
                for tensor in tensors.values():
                    _copy(tensor, stream)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.chmod(0o644)
            temporary.replace(out)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OutputError(
            f"can't be written ({error.strerror})", advice="check the directory and its space", path=out
        ) from error


def _header(out: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    entries: dict[str, object] = {"__metadata__": dict(metadata)}
    at = 0
    for name, tensor in tensors.items():
        code = CODES.get(tensor.dtype.name)
        if code is None:
            raise PatchError(
                f"{name} is {tensor.dtype.name}, which safetensors can't hold",
                advice="cast it first",
                path=out,
            )
        entries[name] = {
            "dtype": code,
            "shape": list(tensor.shape),
            "data_offsets": [at, at + tensor.nbytes],
        }
        at += tensor.nbytes
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _copy(tensor: Tensor, stream: IO[bytes]) -> None:
    for start in range(0, tensor.size, _BLOCK):
        raw = np.empty(min(_BLOCK, tensor.size - start), tensor.dtype.storage)
        tensor.read(start, start + len(raw), raw)
        stream.write(raw.view(np.uint8).data)


def check_output(out: Path, *inputs: Checkpoint | Path) -> None:
    """Raise unless `out` is a new file, or one that is no input."""
    files = [
        path
        for item in inputs
        for path in ([item] if isinstance(item, Path) else [item.path, *(file.path for file in item.files)])
    ]
    if not out.exists():
        return
    if any(out.samefile(path) for path in files):
        raise OverwriteError("would overwrite an input", advice="choose another file", path=out)
    if not out.is_file():
        raise OutputError("is no regular file", advice="choose another file", path=out)
