"""How a classifier does on some of the examples of --data, for the rules that ask about its score."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bitfit_probe.errors import DataError
from bitfit_probe.pair import Pair
from bitfit_probe.rules.engine.rule import CannotTell
from bitfit_probe.rules.running import told

if TYPE_CHECKING:
    from bitfit_probe.diagnosis import Subject

__all__ = ["judged"]

#: An accuracy of so many is known to ± 7 points; with fewer than 50 nothing is said of it.
_MOST, _FEWEST = 200, 50


def judged(pair: Pair) -> Subject:
    """The tuned model on the examples, run once for all rules.

    Raises
    ------
    CannotTell
        It is no classifier, the labels are not its own, or the examples are few.
    """
    from bitfit_probe.diagnosis import Subject

    assert pair.data is not None
    data = pair.data.sample(_MOST)
    if data.task != "classification" or len(data) < _FEWEST:
        raise CannotTell(f"it takes {_FEWEST} examples with classes")
    found: Subject = pair.once("judged", lambda: Subject(pair, data))
    with told():
        try:
            classifies = found.classifies
        except DataError as error:
            raise CannotTell(f"the labels are not the model's: {error.what}") from error
        if not classifies:
            raise CannotTell("the model is no classifier")
        _ = found.before
    return found
