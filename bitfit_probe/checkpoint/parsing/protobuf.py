"""The wire format of protocol buffers, walked without loading what it describes.

https://protobuf.dev/programming-guides/encoding/. Long fields are told by their place in the file only.
"""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.checkpoint.storage.tensor import File
from bitfit_probe.frozen import Frozen

__all__ = ["Field", "fields", "varints"]

_VARINT, _WIDE, _BYTES, _NARROW = 0, 1, 2, 5
#: Bytes of the file that are looked at in one read.
_BITE = 4096
_LONGEST_VARINT = 10


class Field(Frozen):
    """A field: its number, and either its number value or where its bytes lie in the file."""

    number: int
    value: int | None
    start: int
    size: int


class _Window:
    """The file, a bite at a time, so that walking many small fields needs few reads."""

    def __init__(self, file: File) -> None:
        self._file, self._at, self._bite = file, 0, b""

    def varint(self, at: int, stop: int) -> tuple[int, int]:
        """The number at `at`, and where it ends."""
        value = 0
        for count in range(_LONGEST_VARINT):
            if at + count >= stop:
                raise ValueError("a field ends too early")
            byte = self._byte(at + count)
            value |= (byte & 0x7F) << (7 * count)
            if byte < 0x80:
                return value, at + count + 1
        raise ValueError("a number of more than ten bytes")

    def _byte(self, at: int) -> int:
        if not self._at <= at < self._at + len(self._bite):
            self._at, self._bite = at, self._file.read(at, min(_BITE, self._file.size - at))
        return self._bite[at - self._at]


def fields(file: File, start: int, stop: int) -> Iterator[Field]:
    """The fields of the message at ``[start, stop)``.

    Raises
    ------
    ValueError
        The bytes are no message.
    """
    window = _Window(file)
    while start < stop:
        tag, start = window.varint(start, stop)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, start = window.varint(start, stop)
            yield Field(number, value, start, 0)
            continue
        if kind == _BYTES:
            size, start = window.varint(start, stop)
        else:
            size = {_WIDE: 8, _NARROW: 4}.get(kind, -1)
        if size < 0 or start + size > stop:
            raise ValueError(f"a field of kind {kind} that ends too early")
        yield Field(number, None, start, size)
        start += size


def varints(file: File, start: int, stop: int) -> Iterator[int]:
    """The numbers packed into ``[start, stop)``."""
    window = _Window(file)
    while start < stop:
        value, start = window.varint(start, stop)
        yield value
