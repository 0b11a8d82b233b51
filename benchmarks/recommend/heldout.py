"""What a user's held-out examples can tell, from the stored runs.

Of each cell's test examples h are drawn, which choose each method's rate and compare the methods; all others
say what these choices come to. So no rate is chosen by the examples that judge it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from benchmarks.recommend.learned import LEARNED
from benchmarks.recommend.plan import Cell, Run
from benchmarks.recommend.samples import RUNS, at_budget, bits, cell_of, read, run_of
from bitfit_probe.records.recommendation import METHODS
from bitfit_probe.tuning.options import LEARNING_RATES

__all__ = ["CLASSES", "HELD_OUT", "Drawn", "Swept", "draws", "lost_by_choice", "nothing_learned", "swept"]

Floats = npt.NDArray[np.float64]

#: How many examples stand in for those of a user.
HELD_OUT = (16, 32, 64, 128, 256, 500, 1000)
#: Of the tasks that have more than two.
CLASSES = {"banking77": 77, "trec": 6}
#: Drawings a cell and number.
_DRAWS = 100
#: A task was learned where some run's mean recall is so far above guessing. A convention; the best of some
#: twenty runs is a little above guessing by chance alone.
_LEARNED = 0.06


@dataclass(frozen=True)
class Swept:
    """A cell in which all methods were run.

    Attributes
    ----------
    right
        By method and rate: which test examples were right, shape (tested,). Runs that answered one class are
        left out.
    loss
        By method and rate: mean −log p of the right class over all test examples.
    trained
        By method: parameters trained.
    """

    cell: Cell
    right: Mapping[str, Mapping[float, Floats]]
    loss: Mapping[str, Mapping[float, float]]
    trained: Mapping[str, int]

    @property
    def tested(self) -> int:
        """Test examples."""
        return len(next(iter(self.right["lora"].values())))


@dataclass(frozen=True)
class Drawn:
    """What one drawing of held-out examples chooses.

    Attributes
    ----------
    seen, true
        By method, at the rate that the drawn examples choose: accuracy in points on them, and on the others.
    default
        By method: accuracy in points at the rate nearest to the default one, on the others.
    """

    cell: Cell
    seen: Mapping[str, float]
    true: Mapping[str, float]
    default: Mapping[str, float]

    def gap(self, method: str) -> float:
        """Points below the best method, on the examples that chose nothing."""
        return max(self.true.values()) - self.true[method]


@cache
def _fared() -> dict[Run, tuple[float, bool]]:
    return {run_of(row): (float(row["mean_recall"]), row["one_class"] == "1") for row in read(LEARNED)}


@cache
def nothing_learned() -> frozenset[tuple[str, str, int]]:
    """Model, task and size of the cells in which no run was better than guessing."""
    best: dict[tuple[str, str, int], float] = defaultdict(float)
    for run, (recall, _) in _fared().items():
        best[run.cell[:3]] = max(best[run.cell[:3]], recall)
    return frozenset(key for key, recall in best.items() if recall < 1 / CLASSES.get(key[1], 2) + _LEARNED)


def swept() -> list[Swept]:
    """Every cell in which each method has a run that answers more than one class, at two rates at least."""
    rows: dict[Cell, list[dict[str, str]]] = defaultdict(list)
    for row in filter(at_budget, read(RUNS)):
        rows[cell_of(row)].append(row)
    found = []
    for cell, group in rows.items():
        right: dict[str, dict[float, Floats]] = defaultdict(dict)
        loss: dict[str, dict[float, float]] = defaultdict(dict)
        for row in group:
            if row["method"] in METHODS and not _fared()[run_of(row)][1]:
                right[row["method"]][float(row["rate"])] = bits(row)
                loss[row["method"]][float(row["rate"])] = float(row["loss"])
        if set(right) == set(METHODS) and min(map(len, right.values())) > 1:
            trained = {row["method"]: int(row["trained"]) for row in group}
            found.append(Swept(cell, right, loss, trained))
    return found


def lost_by_choice(cells: Sequence[Swept], method: str, count: int) -> tuple[float, float]:
    """Points below the best rate: at the lowest loss of all test examples, and at the accuracy of `count`."""
    by_loss, by_accuracy = [], []
    for cell in cells:
        runs, random = cell.right[method], np.random.default_rng(count)
        best = max(float(found.mean()) for found in runs.values())
        lowest = min(runs, key=lambda rate: cell.loss[method][rate])
        by_loss.append(best - float(runs[lowest].mean()))
        for _ in range(_DRAWS):
            held = random.permutation(cell.tested)[:count]
            chosen = max(sorted(runs), key=lambda rate: float(runs[rate][held].mean()))
            by_accuracy.append(best - float(runs[chosen].mean()))
    return 100 * float(np.mean(by_loss)), 100 * float(np.mean(by_accuracy))


def draws(cells: Sequence[Swept], count: int) -> list[Drawn]:
    """`_DRAWS` drawings of `count` examples of each cell that leaves as many to judge."""
    return [
        _draw(cell, count, np.random.default_rng([number, count]))
        for cell in cells
        if cell.tested >= 2 * count
        for number in range(_DRAWS)
    ]


def _draw(cell: Swept, count: int, random: np.random.Generator) -> Drawn:
    order = random.permutation(cell.tested)
    held, rest = order[:count], order[count:]
    seen, true, default = {}, {}, {}
    for method, runs in cell.right.items():
        rates = sorted(runs)
        scores = [runs[rate][held].mean() for rate in rates]
        chosen = runs[rates[int(np.argmax(scores))]]
        usual = min(rates, key=lambda rate: abs(np.log(rate / LEARNING_RATES[method])))
        seen[method], true[method] = 100 * float(chosen[held].mean()), 100 * float(chosen[rest].mean())
        default[method] = 100 * float(runs[usual][rest].mean())
    return Drawn(cell.cell, seen, true, default)
