"""Pieces of a file that were fetched, and which byte ranges to ask for together."""

from __future__ import annotations

import bisect
from collections.abc import Iterable

__all__ = ["GAP", "Range", "Spans", "merged"]

#: First byte, and the byte behind the last one.
Range = tuple[int, int]
#: Bytes between two ranges that cost less than asking once more.
GAP = 1 << 15


def merged(ranges: Iterable[Range], gap: int = GAP) -> list[Range]:
    """Sorted ranges ``[start, stop)``, those at most `gap` apart joined.

    >>> merged([(90, 100), (0, 10), (12, 20)], gap=5)
    [(0, 20), (90, 100)]
    """
    out: list[Range] = []
    for start, stop in sorted(ranges):
        if out and start - out[-1][1] <= gap:
            out[-1] = out[-1][0], max(out[-1][1], stop)
        else:
            out.append((start, stop))
    return out


class Spans:
    """Pieces by the byte that they begin at."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._pieces: list[bytes] = []

    def keep(self, start: int, piece: bytes) -> None:
        """Take in a piece."""
        at = bisect.bisect_right(self._starts, start)
        self._starts.insert(at, start)
        self._pieces.insert(at, piece)

    def find(self, start: int, stop: int) -> memoryview | None:
        """The bytes from `start` to `stop`; None where no one piece holds them all."""
        at = bisect.bisect_right(self._starts, start) - 1
        if at < 0 or stop > self._starts[at] + len(self._pieces[at]):
            return None
        begin = start - self._starts[at]
        return memoryview(self._pieces[at])[begin : begin + stop - start]
