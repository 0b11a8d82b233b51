"""Builders of files that a checkpoint must not be."""

from __future__ import annotations

import collections
import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any


class _Storage:
    def __init__(self, key: Any, count: Any, kind: Any, view: tuple[Any, ...]) -> None:
        self.pid = ("storage", kind, key, "cpu", count, *view)


class _Tensor:
    def __init__(self, storage: _Storage, offset: Any, shape: Any, strides: Any) -> None:
        self.args = (storage, offset, shape, strides, False, collections.OrderedDict())

    def __reduce__(self) -> Any:
        from torch._utils import _rebuild_tensor_v2

        return _rebuild_tensor_v2, self.args


class _Pickler(pickle.Pickler):
    def persistent_id(self, value: Any) -> Any:
        return value.pid if isinstance(value, _Storage) else None


def tensor_pickle(
    *,
    key: Any = "0",
    count: Any = 4,
    offset: Any = 0,
    shape: Any = (4,),
    strides: Any = (1,),
    kind: Any = None,
    view: tuple[Any, ...] = (),
) -> bytes:
    """The pickle of a state dict with one tensor, as torch.save writes it; every number can be forged.

    Legacy files have a sixth item in a storage's id, `view`: which part of another storage it is.
    """
    import torch

    out = io.BytesIO()
    kind = kind or torch.FloatStorage
    state = {"layer.bias": _Tensor(_Storage(key, count, kind, view), offset, shape, strides)}
    _Pickler(out, 2).dump(state)
    return out.getvalue()


def zipped(
    path: Path,
    program: bytes,
    *,
    data: bytes = bytes(16),
    keys: Any = ("0",),
    compression: int = zipfile.ZIP_STORED,
    **extra: bytes,
) -> Path:
    """A zip archive as torch.save lays it out, around the pickle `program`; each storage holds `data`."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("a/data.pkl", program)
        archive.writestr("a/byteorder", extra.pop("byteorder", b"little"), zipfile.ZIP_STORED)
        archive.writestr("a/version", b"3\n", zipfile.ZIP_STORED)
        for key in keys:
            archive.writestr(f"a/data/{key}", data)
        for name, content in extra.items():
            archive.writestr(f"a/{name}.pkl", content)
    return path


def legacy(
    path: Path,
    program: bytes,
    *,
    keys: Any = ("0",),
    count: int = 4,
    data: bytes = bytes(16),
    magic: int = 0x1950A86A20F9469CFC6C,
    little: Any = True,
) -> Path:
    """The five pickles and the storages of torch.save before PyTorch 1.6, around the pickle `program`."""
    facts = {"protocol_version": 1001, "little_endian": little, "type_sizes": {}}
    first = b"\x80\x02\x8a\x0a" + magic.to_bytes(10, "little") + b"."
    parts = [first, pickle.dumps(1001, 2), pickle.dumps(facts, 2), program]
    parts += [pickle.dumps(list(keys), 2), count.to_bytes(8, "little"), data]
    path.write_bytes(b"".join(parts))
    return path


def safetensors(path: Path, header: Any, data: bytes = bytes(16), *, length: int | None = None) -> Path:
    """A safetensors file with any header; a dict is written as JSON."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)
    return path
