"""Two tuned models on the same examples: which is better, by how much, and where."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bitfit_probe.diagnosis.subject import Subject
from bitfit_probe.diagnosis.telling import parts_of
from bitfit_probe.diagnosis.trying import paired
from bitfit_probe.records.diagnosis import Rivals, Slice

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Flags = npt.NDArray[np.bool_]

__all__ = ["Judged", "mcnemar", "rivals"]


@dataclass(frozen=True)
class Judged:
    """What is kept of a tuned model: its path, its scores, and the parts of the examples by name."""

    path: str
    scores: Floats
    shares: bool
    parts: Mapping[str, Flags]

    @classmethod
    def of(cls, subject: Subject) -> Judged:
        """After the model was run."""
        return cls(str(subject.pair.path), subject.before.scores, subject.classifies, dict(parts_of(subject)))


def rivals(judged: Sequence[Judged]) -> Iterator[Rivals]:
    """The best against each of the others, the best one second."""
    best = max(judged, key=lambda item: item.scores.mean())
    yield from (_rivals(other, best) for other in judged if other is not best)


def _rivals(first: Judged, second: Judged) -> Rivals:
    gains = second.scores - first.scores
    lost, won = int((gains < 0).sum()), int((gains > 0).sum())
    return Rivals(
        first=first.path,
        second=second.path,
        gain=float(gains.mean()),
        interval=paired(gains, shares=first.shares),
        chance=mcnemar(lost, won) if first.shares else None,
        only_first=lost,
        only_second=won,
        slices=tuple(_slices(first, gains)),
    )


def _slices(judged: Judged, gains: Floats) -> Iterator[Slice]:
    """Parts in which one is better by more than noise, with all parts counted."""
    for name, inside in judged.parts.items():
        confidence = 1 - 0.05 / len(judged.parts)
        part = gains[inside]
        low, high = paired(part, shares=judged.shares, confidence=confidence)
        if low > 0 or high < 0:
            mean = float(part.mean())
            yield Slice(name, len(part), mean, mean, (low, high))


def mcnemar(lost: int, won: int) -> float:
    """Exact two-sided p of McNemar's test: the binomial of the discordant pairs.

    >>> round(mcnemar(2, 9), 4)
    0.0654
    """
    count = lost + won
    tail: int = sum(math.comb(count, at) for at in range(min(lost, won) + 1))
    return min(1.0, 2.0 * tail / 2.0**count)
