"""What could not be judged among several checkpoints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from bitfit_probe.rendering.document.blocks import Points

if TYPE_CHECKING:
    from bitfit_probe.records import Failure

__all__ = ["failed_points"]


def failed_points(
    failures: Sequence[Failure], title: str = "Could not be read or compared:"
) -> Iterator[Points]:
    """Each with its code and what to do; nothing where there is none."""
    if failures:
        yield Points(tuple(f"{item.code} {item.message}" for item in failures), title)
