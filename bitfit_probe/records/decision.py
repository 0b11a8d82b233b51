"""What to do with a tuned checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Answer", "Decision"]

#: What to do with a checkpoint.
Answer = Literal["ship", "dont-ship", "cant-tell"]


@dataclass(frozen=True)
class Decision:
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
