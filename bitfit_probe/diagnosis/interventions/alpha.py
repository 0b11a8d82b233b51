"""Less or more of the same change: the body at base + α·Δ."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bitfit_probe.diagnosis.outcomes import Outcome
from bitfit_probe.diagnosis.step import Change, Step
from bitfit_probe.diagnosis.subject import Subject
from bitfit_probe.inference.weights import overlaid

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Rows = npt.NDArray[np.int64]

__all__ = ["ALPHAS", "steps"]

#: How much of Δ is kept; 1 is the tuned model itself.
ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.25, 1.5)


def steps(subject: Subject) -> Iterator[Step]:
    """One step an α, where the body moved."""
    if subject.moved(1.0):
        yield from (_step(subject, alpha) for alpha in ALPHAS)


def _step(subject: Subject, alpha: float) -> Step:
    def look(rows: Rows | None) -> Outcome:
        if alpha == 0 and rows is None:  # other steps want this pass too
            return subject.outcome(subject.base_body)
        with overlaid(subject.moved(1 - alpha)):
            return subject.outcome(subject.run(rows), rows)

    title = f"Move {'further' if alpha > 1 else 'less'} (α = {alpha:g})" if alpha else "Take the body back"
    return Step(
        f"alpha-{alpha:g}",
        title,
        f"every tensor of the body becomes base + {alpha:g} × (tuned − base)",
        look,
        change=lambda: Change(tensors=subject.tensors_of(subject.moved(1 - alpha))),
    )
