"""Temperature and an offset a class: the same order of answers within a class, at other odds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from bitfit_probe.diagnosis.fitting import LinearHead, cross_fitted, scale_and_offsets
from bitfit_probe.diagnosis.interventions.heads import head_change
from bitfit_probe.diagnosis.outcomes import outcome_of_logits
from bitfit_probe.diagnosis.step import Step
from bitfit_probe.diagnosis.subject import Subject

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Rows = npt.NDArray[np.int64]

__all__ = ["steps"]


def steps(subject: Subject) -> Iterator[Step]:
    """Temperature alone, and temperature with offsets, for classifiers with a head."""
    if not subject.classifies or subject.head is None or not np.isfinite(subject.tuned.logits).all():
        return
    logits, targets = subject.tuned.logits, subject.fit_targets.astype(np.int64)

    def step(name: str, title: str, how: str, *, offsets: bool) -> Step:
        def fit(rows: Rows) -> tuple[float, Floats]:
            return scale_and_offsets(logits[rows], targets[rows], offsets=offsets)

        def judged(fit_rows: Rows, judge: Rows) -> Floats:
            scale, offset = fit(fit_rows)
            return logits[judge] * scale + offset

        def head() -> LinearHead:
            old, (scale, offset) = subject.head, fit(subject.fit_rows)
            assert old is not None
            return LinearHead(old.weight * scale, old.bias * scale + offset)

        return Step(
            name,
            title,
            how,
            lambda rows: outcome_of_logits(
                subject.question, cross_fitted(subject.splits, len(subject.data), judged), subject.targets
            ),
            subject.classes if offsets else 1,
            fitted=True,
            passes=False,
            change=lambda: head_change(subject, head()),
        )

    how = "the head's last layer is multiplied by a number"
    yield step("temperature", "Scale the logits", how, offsets=False)
    yield step(
        "class-offsets", "Shift the logits by class", f"{how}, and each class gets an offset", offsets=True
    )
