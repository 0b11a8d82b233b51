"""Open whatever the caller named: a file of any known format, an index of shards, or a directory.

What a file is, its bytes tell and not its name: half of the files called ``.bin`` in the wild are
Git LFS pointers, web pages or safetensors.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol, cast

from bitfit_probe.checkpoint import formats
from bitfit_probe.checkpoint.adapters import as_adapter, is_adapter
from bitfit_probe.checkpoint.adapters.reading import ADAPTER_FILES
from bitfit_probe.checkpoint.directory import find_weights
from bitfit_probe.checkpoint.interface import Checkpoint
from bitfit_probe.checkpoint.sharded import is_index, read_shards
from bitfit_probe.checkpoint.tensor import File
from bitfit_probe.errors import (
    EmptyError,
    NoStateDictError,
    NotFoundError,
    PointerError,
    UnknownFormatError,
    UnreadableError,
    UnsupportedError,
    WebPageError,
)

__all__ = ["open_checkpoint"]

_HEAD_BYTES = 512

#: Formats that are known, but not read: first bytes, name, what to do.
_ELSEWHERE = (
    (b"GGUF", "a GGUF file", "compare the checkpoint that it was converted from"),
    (b"\x89HDF", "an HDF5 file (Keras, TensorFlow)", "convert it to PyTorch with transformers"),
    (b"\x93NUMPY", "a single numpy array", "give a whole checkpoint"),
    (b"\x1f\x8b", "a gzip archive", "unpack it first"),
    (b"BZh", "a bzip2 archive", "unpack it first"),
    (b"\xfd7zXZ", "an xz archive", "unpack it first"),
    (b"7z\xbc\xaf", "a 7z archive", "unpack it first"),
    (b"Rar!", "a rar archive", "unpack it first"),
)


class Format(Protocol):
    """What a module of `bitfit_probe.checkpoint.formats` offers."""

    def recognises(self, head: bytes, file: File) -> bool:
        """Whether the first bytes are those of this format."""

    def read(self, file: File, key: str | None = None) -> Checkpoint:
        """Read names, shapes and types; the values stay in the file."""


def open_checkpoint(path: str | Path, key: str | None = None) -> Checkpoint:
    """Open a checkpoint without reading its values.

    Parameters
    ----------
    path
        A weight file, the index of a sharded one, or a directory in the Hugging Face layout.
    key
        Which state dict to take where a file holds several, such as ``model`` or ``ema``.

    Raises
    ------
    UnreadableError
        One of its kinds, by what is wrong: see `bitfit_probe.errors`.
    """
    path = Path(path)
    if os.path.isdir(path):  # noqa: PTH112 - as below
        found = find_weights(path)
        opened = _open_file(found.weights, key)
        return replace(opened, path=path, siblings=found.siblings)
    return _open_file(path, key)


def _open_file(path: Path, key: str | None) -> Checkpoint:
    if not os.path.exists(path):  # noqa: PTH110 - Path.exists raises where a name is too long
        raise NotFoundError("no such file or directory", advice="check the path", path=path)
    if not stat.S_ISREG(path.stat().st_mode):
        raise UnknownFormatError("not a regular file", advice="give a file or a directory", path=path)
    if is_index(path):
        return read_shards(path, lambda shard: _read(shard, None))
    return _read(path, key)


def _read(path: Path, key: str | None) -> Checkpoint:
    file = File(path)
    head = file.read(0, min(file.size, _HEAD_BYTES))
    problem = _not_a_checkpoint(head, file)
    if problem:
        raise problem
    for module in _formats():
        if module.recognises(head, file):
            checkpoint = _read_as(module, file, key)
            if is_adapter(path, checkpoint.tensors):
                return as_adapter(checkpoint)
            if not checkpoint.tensors:
                raise NoStateDictError("holds no tensors", advice="check how it was saved", path=path)
            return checkpoint
    raise _unknown(head, path)


def _read_as(module: Format, file: File, key: str | None) -> Checkpoint:
    try:
        return module.read(file, key)
    except NoStateDictError:
        if file.path.name not in ADAPTER_FILES:
            raise
        return Checkpoint(file.path, "torch", {}, (file,))  # an adapter that was saved empty: a finding


def _formats() -> Iterator[Format]:
    for module in pkgutil.iter_modules(formats.__path__):
        yield cast("Format", importlib.import_module(f"{formats.__name__}.{module.name}"))


def _not_a_checkpoint(head: bytes, file: File) -> UnreadableError | None:
    text = head.lstrip()[:100].lower()
    if not file.size:
        return EmptyError("the file is empty", advice="copy or download it again", path=file.path)
    if text.startswith(b"version https://git-lfs"):
        return PointerError(
            "a Git LFS pointer, not the weights themselves",
            advice="run `git lfs pull` where it came from",
            path=file.path,
        )
    if text.startswith((b"<!doctype html", b"<html", b"<?xml")):
        return WebPageError(
            "a web page, not the weights themselves",
            advice="the download needs another link or a token",
            path=file.path,
        )
    for magic, what, advice in _ELSEWHERE:
        # A safetensors file may begin with any eight bytes: they are a number.
        if head.startswith(magic) and head[8:9] != b"{":
            return UnsupportedError(what, advice=advice, path=file.path)
    return None


def _unknown(head: bytes, path: Path) -> UnreadableError:
    if head[:1] == b"\x80":
        return UnsupportedError(
            "a plain pickle, not written by torch.save (it was not opened)",
            advice="where it was made, save the tensors with torch.save or as .safetensors",
            path=path,
        )
    return UnknownFormatError(
        "no checkpoint format that is known",
        advice="give a .safetensors, .pt, .pth, .bin or .ckpt file, or its directory",
        path=path,
    )
