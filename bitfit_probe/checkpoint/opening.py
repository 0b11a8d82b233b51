"""Open whatever the caller named: a file of any known format, an index of shards, a directory, an address.

What a file is, its bytes tell and not its name: half of the files called ``.bin`` in the wild are
Git LFS pointers, web pages or safetensors.
"""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from functools import partial
from pathlib import Path

from bitfit_probe.checkpoint.adapters import as_adapter, is_adapter, left_beside
from bitfit_probe.checkpoint.directory import HEAD_BYTES, find_weights, left_unread, standard_weights
from bitfit_probe.checkpoint.foreign import KERAS_ADVICE, file_refusal
from bitfit_probe.checkpoint.interface import Checkpoint
from bitfit_probe.checkpoint.quantised import refuse_quantised, unpacked
from bitfit_probe.checkpoint.registry import Format, Layout, exported, formats, layouts, trained
from bitfit_probe.checkpoint.sharded import is_index, read_shards
from bitfit_probe.checkpoint.source import Bucket, locate
from bitfit_probe.checkpoint.storage.tensor import File, fault_of_name
from bitfit_probe.errors import (
    CorruptError,
    EmptyError,
    NoStateDictError,
    NotFoundError,
    PointerError,
    UnknownFormatError,
    UnreadableError,
    UnsupportedError,
    WebPageError,
)

__all__ = ["open_checkpoint", "open_file"]

#: Tensors may share bytes: ALBERT's layers twelve times, an expanded vector any number of times. What they
#: show together takes time to read, so it stays within a multiple of the file.
_MOST_SHOWN, _ALWAYS_SHOWN = 64, 1 << 30


#: Formats that are known, but not read: first bytes, name, what to do.
_ELSEWHERE = (
    (b"\x89HDF", "an HDF5 file (Keras, TensorFlow)", KERAS_ADVICE),
    (b"\x93NUMPY", "a single numpy array", "give a whole checkpoint"),
    (b"\x1f\x8b", "a gzip archive", "unpack it first"),
    (b"BZh", "a bzip2 archive", "unpack it first"),
    (b"\xfd7zXZ", "an xz archive", "unpack it first"),
    (b"7z\xbc\xaf", "a 7z archive", "unpack it first"),
    (b"Rar!", "a rar archive", "unpack it first"),
)


def open_checkpoint(
    path: str | Path, state_dict_key: str | None = None, *, biases_only: bool = False
) -> Checkpoint:
    """Open a checkpoint without reading its values.

    Parameters
    ----------
    path
        A weight file, the index of a sharded one, or a directory in the Hugging Face layout; where there is
        none of that name, a model on the Hugging Face Hub (``org/name`` or ``org/name@revision``), the URL
        of a file, or a file or folder in a bucket (``s3://…``, ``gs://…``, ``az://…``, ``hf://…``).
    state_dict_key
        Which state dict to take where a file holds several, such as ``model`` or ``ema``.
    biases_only
        Only biases will be read: from the Hub or a URL, no more than they take is fetched.

    Raises
    ------
    UnreadableError
        One of its kinds, by what is wrong: see `bitfit_probe.errors`.
    """
    place = locate(path)
    if isinstance(place, Path):
        return _open_local(place, state_dict_key)
    from bitfit_probe.checkpoint import remote

    def open_local(path: Path) -> Checkpoint:
        return _open_local(path, state_dict_key)

    if isinstance(place, Bucket):
        read = partial(_stored, key=state_dict_key)
        opened = remote.open_bucket(place, read, biases_only=biases_only)
        return opened if opened.adapter is not None else _checked(opened)
    if biases_only:
        return remote.open_ranges(place, open_local)
    return remote.open_downloaded(place, open_local, lambda file: _read_file(file, state_dict_key))


def _open_local(path: Path, key: str | None) -> Checkpoint:
    if not os.path.isdir(path):  # noqa: PTH112 - as below
        return open_file(path, key)
    layout = _layout(path, beside_standard=bool(standard_weights(path)))
    if layout is not None:
        return _checked(_told(layout.read(path, key), path))
    found = find_weights(path)
    opened = _told(open_file(found.weights, key), path)
    return replace(opened, siblings=found.siblings, still_chosen=lambda: find_weights(path) == found)


def _told(opened: Checkpoint, folder: Path) -> Checkpoint:
    """What was opened in `folder`, with what of it was left unread."""
    return replace(opened, path=folder, unread=left_unread(folder, (file.path for file in opened.files)))


def _layout(folder: Path, *, beside_standard: bool) -> Layout | None:
    """The layout of a folder; with a weight file of a standard name, only one that takes in such a file."""
    asked = (each for each in layouts() if not beside_standard or getattr(each, "BESIDE_STANDARD", False))
    return next((layout for layout in asked if layout.matches(folder)), None)


def open_file(path: Path, key: str | None) -> Checkpoint:
    """Open a weight file, or the index of several."""
    if not os.path.exists(path):  # noqa: PTH110 - Path.exists raises where a name is too long
        raise file_refusal(path) or NotFoundError(
            "no such file or directory", advice="check the path", path=path
        )
    if not stat.S_ISREG(path.stat().st_mode):
        raise UnknownFormatError("not a regular file", advice="give a file or a directory", path=path)
    if is_index(path):
        # Codes and their scales may lie in different shards, so they are put together afterwards.
        return _checked(read_shards(path, lambda shard: _stored(File(shard), None)))
    return _read_file(File(path), key)


def _read_file(file: File, key: str | None) -> Checkpoint:
    stored = _stored(file, key)
    return stored if stored.adapter is not None else _checked(stored)


def _stored(file: File, key: str | None) -> Checkpoint:
    """What stands in a file, packed weights as they are."""
    head = file.read(0, min(file.size, HEAD_BYTES))
    problem = _not_a_checkpoint(head, file)
    if problem:
        raise problem
    for known in formats():
        if known.matches(head, file):
            checkpoint = replace(_read_as(known, file, key), home=file.home)
            _check_names(checkpoint)
            if is_adapter(file.path, checkpoint.tensors):
                return as_adapter(checkpoint)
            _check_shown(checkpoint, file)
            return replace(checkpoint, notes=(*checkpoint.notes, *left_beside(checkpoint.tensors)))
    raise _unknown(head, file.path)


def _check_names(checkpoint: Checkpoint) -> None:
    for name in checkpoint.tensors:
        if fault := fault_of_name(name):
            raise CorruptError(fault, advice="check how it was saved", path=checkpoint.path)


def _check_shown(checkpoint: Checkpoint, file: File) -> None:
    shown = sum(tensor.nbytes for tensor in checkpoint.tensors.values())
    if shown > _MOST_SHOWN * file.size + _ALWAYS_SHOWN:
        raise CorruptError(
            f"its tensors would show {shown:,} bytes of a file of {file.size:,}",
            advice="save copies of the weights instead of views of each other",
            path=file.path,
        )


def _checked(checkpoint: Checkpoint) -> Checkpoint:
    if not checkpoint.tensors:
        raise NoStateDictError("holds no tensors", advice="check how it was saved", path=checkpoint.path)
    return refuse_quantised(unpacked(checkpoint))


def _read_as(known: Format, file: File, key: str | None) -> Checkpoint:
    try:
        return known.read(file, key)
    except NoStateDictError:
        if file.path.name not in trained().adapters:
            raise
        return Checkpoint(file.path, "torch", {}, (file,))  # an adapter that was saved empty: a finding


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
            return file_refusal(file.path) or UnsupportedError(what, advice=advice, path=file.path)
    return None


def _unknown(head: bytes, path: Path) -> UnreadableError:
    refusal = file_refusal(path)
    if refusal:
        return refusal
    if head[:1] == b"\x80":
        return UnsupportedError(
            "a plain pickle, not written by torch.save (it was not opened)",
            advice="where it was made, save the tensors with torch.save or as .safetensors",
            path=path,
        )
    *suffixes, last = (*trained().suffixes, *exported().suffixes)
    return UnknownFormatError(
        "no checkpoint format that is known",
        advice=f"give a {', '.join(suffixes)} or {last} file, or its directory",
        path=path,
    )
