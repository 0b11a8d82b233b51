"""What to do with a tuned checkpoint."""

from __future__ import annotations

from typing import Literal

from bitfit_probe.frozen import Frozen

__all__ = ["Answer", "Decision"]

#: What to do with a checkpoint.
Answer = Literal["ship", "dont-ship", "cant-tell"]


class Decision(Frozen):
    """What to do with one tuned checkpoint.

    Attributes
    ----------
    answer
        ``ship``, ``dont-ship`` or ``cant-tell``.
    why
        The reason, in a sentence or two.
    tuned
        Path of the checkpoint.
    """

    answer: Answer
    why: str
    tuned: str = ""
