"""Where the targets write: a folder in memory where there is one, so that no disk is worn."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["HOME", "Target", "clean_up", "empty", "parsed", "place", "write_weights"]

Target = Callable[[bytes], None]

_SHARED = Path("/dev/shm")
HOME = Path(tempfile.mkdtemp(prefix="bitfit-fuzz-", dir=_SHARED if os.access(_SHARED, os.W_OK) else None))

_CODES = {"f2": "F16", "f4": "F32", "f8": "F64", "i8": "I64", "u1": "U8"}


def clean_up() -> None:
    """Remove what the targets wrote."""
    shutil.rmtree(HOME, ignore_errors=True)


def empty(name: str) -> Path:
    """A folder of this name with nothing in it."""
    folder = HOME / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def parsed(data: bytes) -> dict[str, Any]:
    """`data` as a JSON object; an empty one where it is none."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def place(folder: Path, name: str, content: Any) -> None:
    """Write a file: a text as it is, anything else as JSON, which may hold what UTF-8 can't."""
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / name).write_bytes(text.encode("utf-8", "surrogatepass"))


def write_weights(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """A safetensors file, written with nothing of what is tried."""
    header, data = {}, b""
    for name, value in tensors.items():
        raw = value.tobytes()
        code = _CODES[value.dtype.str[1:]]
        header[name] = {
            "dtype": code,
            "shape": list(value.shape),
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
