"""One number that a person can check."""

from __future__ import annotations

from bitfit_probe.frozen import Frozen

__all__ = ["Evidence"]


class Evidence(Frozen):
    """One checkable number.

    Attributes
    ----------
    measure
        What was measured, such as ``max_abs_delta`` or ``linear_probe_accuracy``.
    value
        The number; None where it could not be had.
    unit
        Its unit in words (``share``, ``nats``, ``points``, ``tensors``); empty for a plain number.
    interval
        Lower and upper bound, where it has an interval.
    about
        What it is about: a tensor, a role, a column, a method.
    source
        How it was had, or where it was read: a formula's paper, a file, a cross-validation scheme.
    reading
        What it means in a word or two (``near``, ``under-trained``), where there is a reading.
    """

    measure: str
    value: float | int | str | None
    unit: str = ""
    interval: tuple[float, float] | None = None
    about: str | None = None
    source: str | None = None
    reading: str | None = None
