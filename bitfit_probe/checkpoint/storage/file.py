"""A file held open for reading, that notices when it is rewritten or replaced."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from bitfit_probe.errors import ChangedError, NotFoundError, TruncatedError, UnknownFormatError

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["File", "Section"]

Bytes: TypeAlias = "npt.NDArray[np.uint8]"
_HASH_BLOCK = 4 << 20
_PREADV = hasattr(os, "preadv")


class File:
    """A regular file held open for reading.

    Reads go through ``pread`` rather than through a memory map: a map of a file that is cut short
    meanwhile ends the process with SIGBUS, a read ends with an error that can be told.
    """

    #: Where what lies beside it was put, if it is not read from a folder of this machine.
    home: Path | None = None

    def __init__(self, path: Path) -> None:
        try:
            # Opening a pipe would wait for a writer; devices and pipes hold no checkpoint.
            fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise NotFoundError(f"can't be opened ({why})", advice="check the path", path=path) from error
        self._adopt(path, fd)

    def _adopt(self, path: Path, fd: int) -> None:
        """Take over an open file, which is closed with this object."""
        self.path, self._fd = path, fd
        self._lock = threading.Lock()
        self._seen = os.fstat(fd)
        self.size = self._seen.st_size
        if not stat.S_ISREG(self._seen.st_mode):
            raise UnknownFormatError("not a regular file", advice="give a file or a directory", path=path)

    def __del__(self) -> None:
        fd = getattr(self, "_fd", None)
        if fd is not None:
            os.close(fd)

    def read(self, offset: int, count: int) -> bytes:
        """Exactly `count` bytes from `offset`; raises TruncatedError where the file is shorter."""
        if offset < 0 or count < 0 or offset + count > self.size:
            raise self._too_short()
        out = np.empty(count, np.uint8)
        self.read_into(out, offset)
        return out.tobytes()

    def sha256(self) -> str:
        """The whole file's SHA-256 in hexadecimal."""
        import hashlib

        digest = hashlib.sha256()
        for offset in range(0, self.size, _HASH_BLOCK):
            digest.update(self.read(offset, min(_HASH_BLOCK, self.size - offset)))
        return digest.hexdigest()

    def read_into(self, out: Bytes, offset: int) -> None:
        """Fill `out`, shape (n,) of uint8, from `offset`."""
        view = out.data
        if _PREADV and os.preadv(self._fd, [view], offset) == len(view):  # as a rule, all at once
            return
        while len(view):
            got = self._read_some(view, offset)
            if not got:
                raise self._too_short()
            view, offset = view[got:], offset + got

    def _read_some(self, view: memoryview, offset: int) -> int:
        if _PREADV:
            return os.preadv(self._fd, [view], offset)
        with self._lock:  # no positioned read on this system: seek and read must stay together
            os.lseek(self._fd, offset, os.SEEK_SET)
            piece = os.read(self._fd, len(view))
        view[: len(piece)] = piece
        return len(piece)

    @property
    def fetches(self) -> bool:
        """Whether it comes from afar, so that it has to be told what to expect."""
        return type(self).expect is not File.expect

    def expect(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Be told which byte ranges ``[start, stop)`` will be read; files from afar fetch them in one go."""

    def check_unchanged(self) -> None:
        """Raise ChangedError where the file is not what it was when it was opened."""
        now = os.fstat(self._fd)
        try:
            named = self.path.stat()
        except OSError:
            named = None
        same_content = (now.st_size, now.st_mtime_ns) == (self._seen.st_size, self._seen.st_mtime_ns)
        same_name = named is not None and (named.st_dev, named.st_ino) == (now.st_dev, now.st_ino)
        if not (same_content and same_name):
            raise ChangedError(
                "the file changed while it was read",
                advice="run again when nothing writes to it",
                path=self.path,
            )

    def _too_short(self) -> TruncatedError:
        return TruncatedError(
            "the file ends before the data it announces",
            advice="copy or download it again",
            path=self.path,
        )


class Section(File):
    """A range of a file that looks like a file: a container inside another one."""

    def __init__(self, file: File, start: int, size: int) -> None:
        if start < 0 or size < 0 or start + size > file.size:
            raise TruncatedError(
                "the file ends before the data it announces",
                advice="copy or download it again",
                path=file.path,
            )
        self._file, self._start = file, start
        self.path, self.size = file.path, size

    def read_into(self, out: Bytes, offset: int) -> None:
        """Fill `out`, shape (n,) of uint8, from `offset`."""
        if offset < 0 or offset + len(out) > self.size:
            raise self._too_short()
        self._file.read_into(out, self._start + offset)

    @property
    def fetches(self) -> bool:
        """Whether the file around it comes from afar."""
        return self._file.fetches

    def expect(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Be told which byte ranges will be read."""
        self._file.expect((self._start + start, self._start + stop) for start, stop in ranges)

    def check_unchanged(self) -> None:
        """Raise ChangedError where the file around it changed."""
        self._file.check_unchanged()
