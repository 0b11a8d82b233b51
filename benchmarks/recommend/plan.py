"""What is run: cells of model, task, size and seed; in each, every method at several learning rates."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

from benchmarks.distances import chemical_model
from benchmarks.materials import DEFAULT, MINILM
from bitfit_probe.data import TaskData, read_examples

__all__ = [
    "BUDGETS",
    "MAX_LENGTH",
    "RANK",
    "RATES",
    "Budget",
    "Cell",
    "Run",
    "budget_of",
    "cells",
    "examples_of",
    "folder_of",
    "planned",
    "possible",
    "split",
]

ENGLISH = ("trec", "subj", "cola", "mpqa", "cr", "mr", "banking77", "mrpc")
SEEDS = (0, 1)
MAX_LENGTH = 64
RANK = 8


@dataclass(frozen=True)
class Budget:
    """Passes over the data and examples a step, the same for every method."""

    epochs: int
    batch: int


#: At least 300 steps (docs/validation.md, "Were the runs long enough?").
BUDGETS = {64: Budget(75, 16), 256: Budget(20, 16), 1024: Budget(10, 32)}
#: Passes of the shorter runs that show it: on these models, with the first seed.
SHORTER = {64: 25, 256: 10}
SHORTER_MODELS = ("minilm", "sample")

#: Many classes take more passes before anything is learned.
PATIENT = {"banking77": 3}


#: Peak learning rates, a factor of three apart. A sweep begins with the middle two.
RATES = {
    "bitfit": (1e-3, 3e-3, 1e-2, 3e-2),
    "lora": (2e-4, 7e-4, 2e-3, 6e-3),
    "full": (1.5e-5, 5e-5, 1.5e-4, 5e-4),
}
#: A head alone costs nothing and gets all of its rates.
_WITH_HEAD = {"head": (3e-3, 1e-2, 3e-2, 1e-1), **RATES}


class Cell(NamedTuple):
    """A training set: `size` examples of a task, drawn by `seed`."""

    model: str
    task: str
    size: int
    seed: int


def budget_of(cell: Cell) -> Budget:
    """What every method gets in a cell."""
    budget = BUDGETS[cell.size]
    return replace(budget, epochs=budget.epochs * PATIENT.get(cell.task, 1))


class Run(NamedTuple):
    """One model to train in a cell."""

    cell: Cell
    method: str
    rate: float
    epochs: int


def cells() -> Iterator[Cell]:
    """Every cell, the broad picture first."""
    for seed in SEEDS:
        for size in (256, 64):
            for task in ENGLISH:
                if (task, size) != ("banking77", 64):  # fewer examples than classes
                    yield Cell("minilm", task, size, seed)
            for model in ("rxnfp", "albert"):
                yield Cell(model, "bbbp", size, seed)
            for task in ("trec", "subj", "mpqa", "cr"):
                yield Cell("sample", task, size, seed)
    for seed in SEEDS:
        for task in ("trec", "mpqa"):
            yield Cell("minilm", task, 1024, seed)


def possible() -> Iterator[Run]:
    """Every run that the plan may come to."""
    for cell in cells():
        for method, rates in _WITH_HEAD.items():
            for rate in rates:
                run = Run(cell, method, rate, budget_of(cell).epochs)
                yield run
                if _also_shorter(cell):
                    yield _shortened(run)


def planned(known: Mapping[Run, float]) -> list[Run]:
    """What is to be run, given the accuracies that are known already.

    With the first seed: every method at the middle two of its rates, and then at the next one outside, on the
    side of the better. With later seeds: at the rate that was best with the first, then at the second best.
    """
    first = [cell for cell in cells() if cell.seed == SEEDS[0]]
    later = [cell for cell in cells() if cell.seed != SEEDS[0]]
    return [
        *(run for cell in first for run in _begun(cell)),
        *(run for cell in first for method in RATES for run in _outside(cell, method, known)),
        *(run for place in (0, 1) for cell in later for run in _chosen(cell, place, known)),
        *(_shortened(run) for cell in first if _also_shorter(cell) for run in _begun(cell)),
    ]


def _begun(cell: Cell) -> Iterator[Run]:
    for method, rates in _WITH_HEAD.items():
        first = rates if method == "head" else rates[1:3]
        yield from (Run(cell, method, rate, budget_of(cell).epochs) for rate in first)


def _outside(cell: Cell, method: str, known: Mapping[Run, float]) -> Iterator[Run]:
    """The rate beyond the better of the middle two, once both are known."""
    lowest, low, high, highest = (Run(cell, method, rate, budget_of(cell).epochs) for rate in RATES[method])
    if low in known and high in known:
        yield lowest if known[low] >= known[high] else highest


def _chosen(cell: Cell, place: int, known: Mapping[Run, float]) -> Iterator[Run]:
    """A later seed's runs at the best (0) or second best (1) rate of the first seed."""
    for method, rates in _WITH_HEAD.items():
        tried = [Run(cell._replace(seed=SEEDS[0]), method, r, budget_of(cell).epochs) for r in rates]
        ranked = sorted((run for run in tried if run in known), key=lambda run: -known[run])
        if len(ranked) > 2:  # the sweep is done
            yield ranked[place]._replace(cell=cell)


def _also_shorter(cell: Cell) -> bool:
    return cell.size in SHORTER and cell.model in SHORTER_MODELS and cell.seed == SEEDS[0]


def _shortened(run: Run) -> Run:
    return run._replace(epochs=SHORTER[run.cell.size] * PATIENT.get(run.cell.task, 1))


def folder_of(model: str) -> Path:
    """Where a model lies."""
    import bitfit_probe

    if model == "sample":
        return Path(bitfit_probe.__file__).parent / "sample" / "base"
    return DEFAULT / MINILM if model == "minilm" else chemical_model(model)


@cache
def examples_of(tasks: Path, task: str) -> TaskData:
    """All examples of a task."""
    return read_examples(tasks / f"{task}.csv")


def split(tasks: Path, cell: Cell) -> tuple[list[int], list[int]]:
    """Numbers of the examples that train, and of all the others, which test. Smaller sizes lie in larger."""
    count = len(examples_of(tasks, cell.task))
    order = list(range(count))
    random.Random(f"{cell.task} {cell.seed}").shuffle(order)
    return sorted(order[: cell.size]), sorted(order[cell.size :])
