"""The base's body with a fitted head: whether the body is worse than it was before training."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.diagnosis.interventions.heads import fitted, head_change
from bitfit_probe.diagnosis.step import Change, Step
from bitfit_probe.diagnosis.subject import Subject

__all__ = ["steps"]


def steps(subject: Subject) -> Iterator[Step]:
    """One step, where the body moved and there is a head to fit."""
    if not subject.predicts or not subject.tuned.head_inputs.size or not subject.moved(1.0):
        return
    yield Step(
        "base-body",
        "Base body, new head",
        "the body gets the base's weights again, and the head's last layer is fitted on your examples",
        lambda rows: fitted(subject, subject.base_body.head_inputs, subject.head),
        subject.classes * (subject.tuned.head_inputs.shape[1] + 1),
        fitted=True,
        change=lambda: _change(subject),
    )


def _change(subject: Subject) -> Change:
    head = head_change(subject, subject.fit(subject.base_body.head_inputs, subject.fit_rows, subject.head))
    return Change(tensors={**subject.tensors_of(subject.moved(1.0)), **head.tensors})
