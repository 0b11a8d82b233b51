"""Steps that may make a tuned model better, one kind a module; cheap ones first."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.diagnosis.interventions import (
    alpha,
    base_body,
    calibrate,
    checkpoints,
    heads,
    pooling,
    precision,
    put_back,
    relabel,
    renamed_head,
    settings,
    tokenizer,
)
from bitfit_probe.diagnosis.step import Step
from bitfit_probe.diagnosis.subject import Subject

__all__ = ["all_steps"]

#: What changes least in the files comes first: of steps that gain alike, the first one is advised.
_KINDS = (
    relabel,
    renamed_head,
    settings,
    precision,
    tokenizer,
    checkpoints,
    calibrate,
    alpha,
    put_back,
    heads,
    base_body,
    pooling,
)


def all_steps(subject: Subject) -> Iterator[Step]:
    """Every step that can be tried on this model and these examples, what changes least first."""
    for kind in _KINDS:
        yield from kind.steps(subject)
