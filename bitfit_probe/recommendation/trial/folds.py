"""Four folds of a user's examples, the same for all methods: every example is held out once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bitfit_probe.data import TaskData
from bitfit_probe.data.folds import folds
from bitfit_probe.errors import DataError

__all__ = ["FOLDS", "MOST_EXAMPLES", "Fold", "folds_of"]

FOLDS = 4
#: A trial looks at so many: with 2,000 held out an accuracy is known to about ± 1 point (80 %).
MOST_EXAMPLES = 2_000


class Fold(NamedTuple):
    """What trains and what judges; `places` says where among all examples the latter stand."""

    train: TaskData
    held_out: TaskData
    places: tuple[int, ...]


def folds_of(data: TaskData, seed: int) -> tuple[Fold, ...]:
    """The examples dealt into four, class by class (regression: by value), in an order that `seed` shuffles.

    Raises
    ------
    DataError
        Fewer than two examples a fold.
    """
    if len(data) < 2 * FOLDS:
        raise DataError(
            f"{len(data)} examples are too few for a trial",
            advice=f"give {2 * FOLDS} or more",
            path=data.path,
        )
    held_out = folds(np.asarray(data.labels), FOLDS, spread=True, seed=seed)
    return tuple(_fold(data, places.tolist()) for places in held_out)


def _fold(data: TaskData, held: list[int]) -> Fold:
    rest = sorted(set(range(len(data))) - set(held))
    return Fold(data.take(rest), data.take(held), tuple(held))
