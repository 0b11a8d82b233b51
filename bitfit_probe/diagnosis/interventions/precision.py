"""float32 instead of the element type that the weights are stored, and served, in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bitfit_probe.diagnosis.outcomes import Outcome
from bitfit_probe.diagnosis.step import Change, Step
from bitfit_probe.diagnosis.subject import Subject

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Rows = npt.NDArray[np.int64]

__all__ = ["steps"]


def steps(subject: Subject) -> Iterator[Step]:
    """One step, where most of the weights are stored in half precision; all else runs in float32."""
    if subject.half is None:
        return

    def look(rows: Rows | None) -> Outcome:
        found = subject.tuned
        return subject.outcome(found if rows is None else found.take(rows), rows)

    yield Step(
        "float32",
        "Run it in float32",
        f"the weights are loaded, or saved, as float32 instead of {subject.half}",
        look,
        change=lambda: Change(config={"dtype": "float32"}),
    )
