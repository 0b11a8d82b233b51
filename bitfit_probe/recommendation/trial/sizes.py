"""Which examples a trial trains on and which it holds out; small training sets lie in large ones."""

from __future__ import annotations

from bitfit_probe.data import TaskData
from bitfit_probe.errors import DataError
from bitfit_probe.tuning.encode import split

__all__ = ["HELD_OUT", "MOST_HELD_OUT", "held_out_of", "parts_of"]

#: Share held out, and the most that are: beyond 2,000 an accuracy is known to about ± 1 point (80 %).
HELD_OUT = 0.25
MOST_HELD_OUT = 2_000
#: A learning curve begins at no fewer examples, a batch.
_SMALLEST = 16


def held_out_of(data: TaskData, seed: int) -> tuple[TaskData, TaskData]:
    """The examples to train on, and those held out.

    Raises
    ------
    DataError
        There are too few of some class.
    """
    try:
        train, held_out = split(data, min(HELD_OUT, MOST_HELD_OUT / max(1, len(data))), seed)
    except DataError as error:
        raise DataError(error.what, advice="give more examples of each class", path=error.path) from None
    assert held_out is not None
    return train, held_out


def parts_of(train: TaskData, seed: int) -> dict[int, TaskData]:
    """The training set, its half, the half of that …, each within the one before, by size, largest first.

    A class's examples are shuffled alike whatever share is taken, so smaller shares lie in larger ones.
    """
    parts = {len(train): train}
    share = 0.5
    while share * len(train) >= _SMALLEST:
        try:
            _, part = split(train, share, seed)
        except DataError:  # classes so small that nothing is left of them
            break
        if part is not None and len(part) < min(parts):
            parts[len(part)] = part
        share /= 2
    return parts
