"""Which of several bases a checkpoint was tuned from."""

from __future__ import annotations

from typing import Literal

from bitfit_probe.frozen import Frozen

__all__ = ["Candidate", "Identified", "Standing"]

#: ``told``: one base is much nearer than the others; ``tied``: two are as near; ``none``: the nearest is not
#: related; ``untold``: nothing could be compared.
Standing = Literal["told", "tied", "none", "untold"]


class Candidate(Frozen):
    """One base beside the checkpoint, over the same sample of rows.

    Attributes
    ----------
    path
        The base's.
    tensors, elements
        How many were compared; 0 where none could be.
    distance
        ‖t − b‖ / max(‖b‖, ‖t‖), the median over the sampled tensors; None where none was compared.
    cosine
        Median over them.
    equal
        Share of the sampled elements that are the same.
    coverage
        Share of the checkpoint's matrices that have a partner of their shape in this base.
    is_named
        Whether the checkpoint's files name this base.
    why
        Why nothing was compared; empty where something was.
    is_other
        Whether that is because its tensors have other names or shapes.
    """

    path: str
    tensors: int = 0
    elements: int = 0
    distance: float | None = None
    cosine: float | None = None
    equal: float | None = None
    coverage: float = 0.0
    is_named: bool = False
    why: str = ""
    is_other: bool = False


class Identified(Frozen):
    """What `identify` says.

    Attributes
    ----------
    tuned
        Path of the checkpoint.
    standing
        Whether a base was told.
    candidates
        The nearest first, those that could not be compared last.
    margin
        How many times further away the second is; None without a second, infinite where the first is equal.
    nearer
        Share of the sampled matrices in which the first is nearer than the second.
    named
        What the checkpoint's files call its base; None where they don't.
    """

    tuned: str
    standing: Standing
    candidates: tuple[Candidate, ...]
    margin: float | None = None
    nearer: float | None = None
    named: str | None = None
