"""What is known of a task beside its distance: trials, findings, and checkpoints tuned for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bitfit_probe.recommendation.afterwards import Look
from bitfit_probe.records import Check
from bitfit_probe.records.recommendation import Trial

__all__ = ["Known"]


@dataclass(frozen=True)
class Known:
    """What is known of a task beside its distance.

    Attributes
    ----------
    trial
        Short runs.
    check
        Findings about checkpoints tuned for it.
    scores
        Accuracy (or R²) of those checkpoints on the examples, by path.
    effective_rank
        Of the change of their matrices.
    steps
        For how many optimizer steps they were trained, by path.
    """

    trial: Trial | None = None
    check: Check | None = None
    scores: Mapping[str, float] | None = None
    effective_rank: float | None = None
    steps: Mapping[str, int] | None = None

    @classmethod
    def of(cls, looks: Sequence[Look], check: Check | None, trial: Trial | None = None) -> Known:
        """What looks at tuned checkpoints come to; of their ranks the highest."""
        scores = {item.path: item.score for item in looks if item.score is not None}
        ranks = [item.effective_rank for item in looks if item.effective_rank is not None]
        steps = {item.path: item.steps for item in looks if item.steps is not None}
        return cls(trial, check, scores, max(ranks, default=None), steps)
