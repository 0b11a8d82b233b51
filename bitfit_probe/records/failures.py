"""What could not be judged among several checkpoints."""

from __future__ import annotations

from bitfit_probe.errors import BitfitProbeError, shown
from bitfit_probe.frozen import Frozen

__all__ = ["Failure"]


class Failure(Frozen):
    """A checkpoint that could not be read or compared, while others could.

    Attributes
    ----------
    tuned
        Its path.
    code, message
        Of the error: ``BExxx``, and the line that says what, in which file, and what to do.
    """

    tuned: str
    code: str
    message: str

    @classmethod
    def of(cls, tuned: object, error: BitfitProbeError) -> Failure:
        """What `error` says of `tuned`."""
        return cls(shown(str(tuned)), error.code, str(error))
