"""Files of lines that are only ever added to, and survive a kill in the middle of one."""

from __future__ import annotations

import os
from io import FileIO
from pathlib import Path

__all__ = ["append_line"]


def append_line(path: Path, line: str) -> None:
    """Add a line for good: it is on the disk whole, or not at all; raises OSError."""
    with path.open("a+b", buffering=0) as stream:
        end = stream.seek(0, os.SEEK_END)
        try:
            _append(stream, line.encode() + b"\n")
        except BaseException:
            stream.truncate(end)  # no half of a line stays
            raise


def _append(stream: FileIO, line: bytes) -> None:
    """Add a line; one that a kill cut off is closed first, and stays alone."""
    stream.seek(max(0, stream.seek(0, os.SEEK_END) - 1))
    torn = stream.read(1) not in (b"", b"\n")
    left = memoryview(b"\n" * torn + line)
    while left:
        left = left[stream.write(left) :]
    os.fsync(stream.fileno())
