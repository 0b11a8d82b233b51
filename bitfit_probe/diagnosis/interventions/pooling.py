"""The mean, the first or the last token of the body's last layer: a new head on it, or another vector."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bitfit_probe.diagnosis.interventions.heads import fitted
from bitfit_probe.diagnosis.outcomes import outcome_of_similarities
from bitfit_probe.diagnosis.step import Step
from bitfit_probe.diagnosis.subject import Subject

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Features = npt.NDArray[np.floating]

__all__ = ["steps"]


def steps(subject: Subject) -> Iterator[Step]:
    """A step a place, for classifiers and regressions whose body gives states a token."""
    if subject.compares:
        yield from _of_vectors(subject)
    if not subject.predicts:
        return
    for name, words, states in (
        ("pool-mean", "the tokens' mean", subject.tuned.means),
        ("pool-first", "the first token", subject.tuned.firsts),
        ("pool-last", "the last token", subject.tuned.lasts),
    ):
        if states.size:
            yield _step(subject, name, words, states)


def _of_vectors(subject: Subject) -> Iterator[Step]:
    """Another pooling of the vectors that are compared; the model's own is left out."""
    found = subject.tuned
    for name, words, cosines in (
        ("mean", "the tokens' mean", found.means),
        ("first", "the first token", found.firsts),
        ("last", "the last token", found.lasts),
    ):
        if name != subject.live.pooling:
            yield Step(
                f"pool-{name}",
                f"Compare {words} instead",
                f"a text's vector is {words} of the body's last layer (1_Pooling/config.json)",
                lambda rows, cosines=cosines: outcome_of_similarities(cosines[:, 0], subject.targets),  # type: ignore[misc]
                passes=False,
            )


def _step(subject: Subject, name: str, words: str, states: Features) -> Step:
    return Step(
        name,
        f"Head on {words}",
        f"a linear head is fitted on {words} of the body's last layer; the model's class must read it there",
        lambda rows: fitted(subject, states, None),
        subject.classes * (states.shape[1] + 1),
        fitted=True,
        passes=False,
        in_code=True,
    )
