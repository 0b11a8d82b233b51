"""One checkpoint alone: what it holds, and whether it is what its files promise."""

from __future__ import annotations

from bitfit_probe.frozen import Frozen
from bitfit_probe.records.diff import AdapterFacts, CheckpointInfo
from bitfit_probe.records.promises import Promises

__all__ = ["Inspection", "RoleValues", "TensorValues"]


class TensorValues(Frozen):
    """The values of one tensor.

    Attributes
    ----------
    name, kind
        Its name, and what it is to a training method.
    size
        Number of elements.
    nonfinite
        How many are NaN or infinite.
    lowest, highest
        Of the finite ones; 0 where there are none.
    total, squares
        Sums of the finite ones and of their squares.
    at_peak
        Share of the first block's elements that stand at its largest magnitude.
    """

    name: str
    kind: str
    size: int
    nonfinite: int
    lowest: float
    highest: float
    total: float
    squares: float
    at_peak: float


class RoleValues(Frozen):
    """All tensors of one role: how many, their elements, root mean square and largest magnitude."""

    role: str
    tensors: int
    parameters: int
    rms: float | None
    max_abs: float | None


class Inspection(Frozen):
    """What `inspect` says of a checkpoint.

    Attributes
    ----------
    checkpoint
        Its file in figures, with the weight files beside it that were not read.
    family, known_from, model_class
        Its architecture, by what it was recognised, and the class that config.json names.
    types
        Parameters by element type, most first.
    files
        Names of the files that tensors were read from.
    roles
        Figures by role; empty where values were not asked for.
    promises
        What its files promise, its values among them.
    adapter
        What it is where it is a PEFT adapter.
    """

    checkpoint: CheckpointInfo
    family: str
    known_from: str
    model_class: str | None
    types: dict[str, int]
    files: tuple[str, ...]
    roles: tuple[RoleValues, ...]
    promises: Promises
    adapter: AdapterFacts | None = None
