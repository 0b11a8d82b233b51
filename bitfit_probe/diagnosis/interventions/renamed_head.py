"""The head under another name: tensors that the model has no place for, of the shapes that it lacks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bitfit_probe.diagnosis.outcomes import Outcome
from bitfit_probe.diagnosis.step import Change, Step
from bitfit_probe.diagnosis.subject import Subject
from bitfit_probe.inference.weights import overlaid, window_on

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Rows = npt.NDArray[np.int64]

__all__ = ["steps"]


def steps(subject: Subject) -> Iterator[Step]:
    """One step, where each missing parameter has exactly one counterpart of its shape and last name."""
    live = subject.live
    parameters = dict(live.model.named_parameters())
    spare = [tensor for name, tensor in live.checkpoint.tensors.items() if name in live.unexpected]
    found = {}
    for missing in live.missing:
        shape, ending = tuple(parameters[missing].shape), missing.rpartition(".")[2]
        fits = [tensor for tensor in spare if tensor.shape == shape and tensor.name.endswith(f".{ending}")]
        if len(fits) != 1:
            return
        found[missing] = fits[0]
    if not found:
        return
    laid = [window_on(live.model, name, tensor) for name, tensor in found.items()]

    def look(rows: Rows | None) -> Outcome:
        with overlaid(laid):
            return subject.outcome(subject.run(rows), rows)

    names = ", ".join(f"{tensor.name} → {name}" for name, tensor in found.items())
    yield Step(
        "rename-head",
        "Rename the head",
        f"in the weight file: {names}",
        look,
        change=lambda: Change(tensors=subject.tensors_of(laid)),
    )
