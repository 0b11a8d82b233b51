"""How much time a trial has, and how much of it is gone."""

from __future__ import annotations

import math
from collections.abc import Callable

from bitfit_probe.errors import SettingsError

__all__ = ["Budget", "OutOfTime", "Progress"]

#: Called with what is being done, the seconds done, and the seconds that the whole is expected to take.
Progress = Callable[[str, int, int], None]


class OutOfTime(Exception):  # noqa: N818 (it is no error)
    """The budget ended while the speed of a method was measured."""


class Budget:
    """Minutes of this call, and how many of them are gone."""

    def __init__(self, minutes: float, clock: Callable[[], float], progress: Progress | None) -> None:
        if not 0 < minutes < math.inf:
            raise SettingsError("the minutes of a trial must be above 0", advice="give a number of minutes")
        self.minutes = minutes
        self._clock, self._progress = clock, progress
        self._start = clock()
        self._doing, self._needed = "measuring speed", 60 * minutes

    @property
    def spent(self) -> float:
        """Seconds of this call."""
        return self._clock() - self._start

    @property
    def left(self) -> float:
        """Seconds until it ends; negative after."""
        return 60 * self.minutes - self.spent

    def begin(self, doing: str, needed: float) -> None:
        """From now on `doing` is under way; the call is expected to take `needed` seconds in all."""
        self._doing, self._needed = doing, needed
        self.tick()

    def tick(self) -> None:
        """Say how far it is."""
        if self._progress is not None:
            self._progress(self._doing, int(self.spent), max(1, math.ceil(self._needed)))

    def tick_or_stop(self) -> None:
        """Say how far it is, and end what is under way at the end of the budget."""
        self.tick()
        if self.left < 0:
            raise OutOfTime
