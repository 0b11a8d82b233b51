"""The zip archives that torch.save has written since PyTorch 1.6, and TorchScript, opened without torch.

``<name>/data.pkl`` describes the objects, ``<name>/data/<key>`` hold the storages, uncompressed.
Layout: ``torch/serialization.py`` and ``caffe2/serialize/inline_container.h`` of PyTorch.
"""

from __future__ import annotations

import io
import itertools
import zipfile
from typing import Any

from bitfit_probe.checkpoint.foreign import file_refusal
from bitfit_probe.checkpoint.storage.tensor import File, FileStorage
from bitfit_probe.checkpoint.torch.state import storage_dtype
from bitfit_probe.checkpoint.torch.unpickle import StorageRef, describe
from bitfit_probe.errors import (
    CorruptError,
    TruncatedError,
    UnknownFormatError,
    UnreadableError,
    UnsupportedError,
)

__all__ = ["Archive"]

#: The pickle describes tensors, it does not hold them: 90 kB for BERT-large.
_MAX_PICKLE_BYTES = 64 << 20
_LOCAL_HEADER_BYTES = 30
#: The archive's directory: 70 bytes or so an entry, and an entry a tensor.
_MAX_DIRECTORY_BYTES = 16 << 20


class Archive:
    """An open archive.

    Attributes
    ----------
    file
        Where it lies.
    root
        What its pickle describes; see `describe`.
    is_script
        Whether it is TorchScript, whose root is an object rather than a state dict.

    Raises
    ------
    TruncatedError
        The archive has no directory at its end.
    CorruptError
        Entries contradict each other or lie outside the file.
    UnsafeError
        See `describe`.
    """

    def __init__(self, file: File) -> None:
        self.file = file
        self._entries = _entries(file)
        self._prefix = _prefix(file, self._entries)
        self.is_script = f"{self._prefix}constants.pkl" in self._entries
        _check_byte_order(file, self._entries, self._prefix)
        pickle = self._entries[f"{self._prefix}data.pkl"]
        if pickle.file_size > _MAX_PICKLE_BYTES:
            raise _corrupt(file, f"the pickle inside has {pickle.file_size:,} bytes")
        start, count = _extent(file, pickle)
        self.root: Any = describe(io.BytesIO(file.read(start, count)), file.path).root
        self._storages: dict[str, FileStorage] = {}

    def storage(self, ref: StorageRef) -> FileStorage:
        """The bytes that the pickle points to."""
        if ref.key not in self._storages:
            entry = self._entries.get(f"{self._prefix}data/{ref.key}")
            if entry is None:
                raise _corrupt(self.file, f"the storage {ref.key!r} is missing in the archive")
            start, size = _extent(self.file, entry)
            if ref.count * storage_dtype(ref, self.file.path).itemsize > size:
                raise _corrupt(self.file, f"the storage {ref.key!r} is shorter than its tensor")
            # Writers may be told to skip checksums and then write 0, which therefore says nothing.
            self._storages[ref.key] = FileStorage(self.file, start, size, entry.CRC or None)
        return self._storages[ref.key]

    def check_disjoint(self) -> None:
        """Raise CorruptError where two storages share bytes."""
        parts = [(key, part) for key, part in self._storages.items() if part.nbytes]
        ranges = sorted((part.start, part.start + part.nbytes, key) for key, part in parts)
        for (_, end, key), (begin, _, other) in itertools.pairwise(ranges):
            if begin < end:
                raise _corrupt(self.file, f"the storages {key!r} and {other!r} overlap")


def _corrupt(file: File, what: str) -> UnreadableError:
    return CorruptError(what, advice="copy or download it again", path=file.path)


class _Seekable(io.RawIOBase):
    """A file as zipfile wants it, over the positioned reads of `File`."""

    def __init__(self, file: File) -> None:
        self._file, self._at = file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._file.size}[whence]
        self._at = max(start + offset, 0)
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        left = max(self._file.size - self._at, 0)
        count = left if size < 0 else min(size, left)
        if count > _MAX_DIRECTORY_BYTES:
            raise _corrupt(self._file, f"the zip archive's directory would take {count:,} bytes")
        data = self._file.read(self._at, count)
        self._at += count
        return data


def _entries(file: File) -> dict[str, zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(_Seekable(file)) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OverflowError) as error:
        raise TruncatedError(
            f"the zip archive has no valid directory at its end ({error})",
            advice="copy or download it again",
            path=file.path,
        ) from error
    entries = {info.filename: info for info in infos}
    if len(entries) != len(infos):
        raise _corrupt(file, "the zip archive names an entry twice")
    return entries


def _prefix(file: File, entries: dict[str, zipfile.ZipInfo]) -> str:
    pickles = [name for name in entries if name == "data.pkl" or name.endswith("/data.pkl")]
    if not pickles:
        raise file_refusal(file.path) or UnknownFormatError(
            "a zip archive, but not one that torch.save wrote (no data.pkl in it)",
            advice="unpack it, or give the .pt or .safetensors file itself",
            path=file.path,
        )
    return min(pickles, key=len).removesuffix("data.pkl")


def _check_byte_order(file: File, entries: dict[str, zipfile.ZipInfo], prefix: str) -> None:
    entry = entries.get(f"{prefix}byteorder")
    if entry is None:
        return
    start, count = _extent(file, entry)
    if file.read(start, min(count, 16)) != b"little":
        raise UnsupportedError(
            "written on a big-endian machine",
            advice="load and save it again on a little-endian one",
            path=file.path,
        )


def _extent(file: File, info: zipfile.ZipInfo) -> tuple[int, int]:
    """Where an entry's bytes lie. Its local header must be there, its bytes uncompressed."""
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
        raise UnsupportedError(
            f"the archive's entry {info.filename!r} is compressed or encrypted",
            advice="unpack it and save it again with torch.save",
            path=file.path,
        )
    header = file.read(info.header_offset, _LOCAL_HEADER_BYTES)
    if not header.startswith(b"PK\x03\x04"):
        raise _corrupt(file, f"the archive's entry {info.filename!r} is not where its directory says")
    name, extra = int.from_bytes(header[26:28], "little"), int.from_bytes(header[28:30], "little")
    start = info.header_offset + _LOCAL_HEADER_BYTES + name + extra
    if info.file_size != info.compress_size or start + info.file_size > file.size:
        raise _corrupt(file, f"the archive's entry {info.filename!r} would lie outside the file")
    return start, info.file_size
