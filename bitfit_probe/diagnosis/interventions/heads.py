"""A new last layer of the head, on what the head reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from bitfit_probe.diagnosis.fitting import LinearHead
from bitfit_probe.diagnosis.outcomes import Outcome, outcome_of_logits
from bitfit_probe.diagnosis.step import Change, Step
from bitfit_probe.diagnosis.subject import Subject
from bitfit_probe.inference.answers import head_layer

if TYPE_CHECKING:
    import numpy.typing as npt

    Features = npt.NDArray[np.floating]

__all__ = ["fitted", "head_change", "steps"]


def steps(subject: Subject) -> Iterator[Step]:
    """One step, where the head ends in a linear layer."""
    if not subject.predicts or not subject.tuned.head_inputs.size:
        return
    read = subject.tuned.head_inputs
    yield Step(
        "refit-head",
        "Refit the head",
        "the head's last layer is fitted anew on your examples; the body stays as it is",
        lambda rows: fitted(subject, read, subject.head),
        _size(subject),
        fitted=True,
        passes=False,
        change=lambda: head_change(subject, subject.fit(read, subject.fit_rows, subject.head)),
    )


def fitted(subject: Subject, features: Features, old: LinearHead | None) -> Outcome:
    """What a head is worth that is fitted on other examples than it is judged on."""
    return outcome_of_logits(subject.question, subject.cross_fit(features, old), subject.targets)


def head_change(subject: Subject, head: LinearHead) -> Change:
    """The files with another last layer of the head."""
    layer = head_layer(subject.live.model)
    assert layer is not None
    name = layer[0]
    tensors = {f"{name}.weight": head.weight.astype(np.float32)}
    if layer[1].bias is not None:
        tensors[f"{name}.bias"] = head.bias.astype(np.float32)
    return Change(tensors=tensors)


def _size(subject: Subject) -> int:
    layer = head_layer(subject.live.model)
    return 0 if layer is None else sum(parameter.numel() for parameter in layer[1].parameters())
