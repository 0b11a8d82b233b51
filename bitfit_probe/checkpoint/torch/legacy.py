"""What torch.save wrote before PyTorch 1.6: five pickles, then the storages, read without torch.

Layout: ``_legacy_save`` in ``torch/serialization.py``: a magic number, a protocol version, facts about
the machine, the object, the list of storage keys; then each storage in that order, eight bytes of
element count before its bytes.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from bitfit_probe.checkpoint.storage.tensor import File, FileStorage
from bitfit_probe.checkpoint.torch.state import storage_dtype
from bitfit_probe.checkpoint.torch.unpickle import Described, StorageRef, describe
from bitfit_probe.errors import CorruptError, TruncatedError, UnreadableError, UnsupportedError
from bitfit_probe.frozen import Frozen

__all__ = ["Legacy"]

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_COUNT_BYTES = 8
#: The pickles stand before the data; most fit into the first bite, few need more.
_BITES = (1 << 20, 32 << 20)


class Legacy(Frozen):
    """The object in a file, and what is known of the storages behind its pickles."""

    file: File
    root: Any
    storages: dict[str, StorageRef]
    keys: list[str]
    start: int

    @classmethod
    def of(cls, file: File) -> Legacy:
        """Read the five pickles.

        Raises
        ------
        TruncatedError, CorruptError, UnsafeError
            They end too early, contradict each other, or name what would run; see `describe`.
        """
        described, keys, start = _pickles(file)
        return cls(file, described.root, described.storages, keys, start)

    def finder(self) -> Callable[[StorageRef], FileStorage]:
        """Where a storage lies.

        Raises
        ------
        TruncatedError, CorruptError
            The file ends before its last storage, or the list of storages contradicts the pickles.
        """
        extents = _extents(self.file, self.storages, self.keys, self.start)

        def storage(ref: StorageRef) -> FileStorage:
            if ref.key not in extents:
                raise _corrupt(self.file, f"the storage {ref.key!r} is missing")
            return extents[ref.key]

        return storage


def _corrupt(file: File, what: str) -> UnreadableError:
    return CorruptError(what, advice="copy or download it again", path=file.path)


def _pickles(file: File) -> tuple[Described, list[str], int]:
    for bite in _BITES:
        count = min(bite, file.size)
        data = io.BytesIO(file.read(0, count))
        try:
            magic, protocol, machine, described, keys = (describe(data, file.path) for _ in range(5))
            break
        except TruncatedError:
            if count == file.size or bite == _BITES[-1]:
                raise
    if magic.root != _MAGIC or protocol.root != _PROTOCOL:
        raise _corrupt(file, "the magic number or the protocol version is not torch.save's")
    if not isinstance(machine.root, dict) or machine.root.get("little_endian") is not True:
        raise UnsupportedError(
            "written on a big-endian machine",
            advice="load and save it again on a little-endian one",
            path=file.path,
        )
    if not isinstance(keys.root, list) or not all(isinstance(item, str) for item in keys.root):
        raise _corrupt(file, "the list of storages is malformed")
    return described, keys.root, data.tell()


def _extents(file: File, refs: dict[str, StorageRef], keys: list[str], start: int) -> dict[str, FileStorage]:
    out: dict[str, FileStorage] = {}
    for key in keys:
        if key not in refs:
            raise _corrupt(file, f"the storage {key!r} belongs to nothing")
        count = int.from_bytes(file.read(start, _COUNT_BYTES), "little")
        size = count * storage_dtype(refs[key], file.path).itemsize
        if start + _COUNT_BYTES + size > file.size:
            raise TruncatedError(
                "the file ends before its last tensor",
                advice="copy or download it again",
                path=file.path,
            )
        out[key] = FileStorage(file, start + _COUNT_BYTES, size)
        start += _COUNT_BYTES + size
    return out
