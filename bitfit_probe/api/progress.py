"""How calls of several stages tell how far they are."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Progress", "part"]

#: Told what is being done, and the part of it done and to do.
Progress = Callable[[str, int, int], None]


def part(progress: Progress | None, stage: str) -> Callable[[int, int], None] | None:
    """What one stage tells, told as that stage; None where nobody listens."""
    return None if progress is None else lambda done, total: progress(stage, done, total)
