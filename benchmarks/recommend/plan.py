"""What is run: cells of model, task, size and seed; in each, every method at several learning rates."""

from __future__ import annotations

import random
from collections.abc import Iterator
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


#: Enough steps for the slowest method: at least 100.
BUDGETS = {64: Budget(25, 16), 256: Budget(10, 16), 1024: Budget(5, 32)}

#: Many classes take more passes before anything is learned.
PATIENT = {"banking77": 3}


def budget_of(cell: Cell) -> Budget:
    """What every method gets in a cell."""
    budget = BUDGETS[cell.size]
    return replace(budget, epochs=budget.epochs * PATIENT.get(cell.task, 1))


#: Peak learning rates tried everywhere; a head alone costs nothing and gets more.
RATES = {
    "head": (3e-3, 1e-2, 3e-2, 1e-1),
    "bitfit": (3e-3, 1e-2),
    "lora": (7e-4, 2e-3),
    "full": (5e-5, 1.5e-4),
}
#: A model this narrow learns best at higher rates.
NARROW = {"bitfit": (3e-2,), "lora": (6e-3,), "full": (5e-4,)}
#: Neighbours outside, tried on a part to see whether the best lies at an edge.
OUTER = {"bitfit": (1e-3, 2e-2), "lora": (2e-4, 6e-3), "full": (1.5e-5, 5e-4)}
OUTER_TASKS = (
    ("minilm", "trec"),
    ("minilm", "mpqa"),
    ("minilm", "cola"),
    ("rxnfp", "bbbp"),
    ("albert", "bbbp"),
)


class Cell(NamedTuple):
    """A training set: `size` examples of a task, drawn by `seed`."""

    model: str
    task: str
    size: int
    seed: int


class Run(NamedTuple):
    """One model to train in a cell."""

    cell: Cell
    method: str
    rate: float


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
        for task in ("trec", "mpqa", "banking77"):
            yield Cell("minilm", task, 1024, seed)


def rates(cell: Cell) -> Iterator[tuple[str, float]]:
    """Methods and the rates at which they are run in a cell."""
    for method, common in RATES.items():
        further = NARROW.get(method, ()) if cell.model == "sample" else ()
        yield from ((method, rate) for rate in (*common, *further))


def planned() -> list[Run]:
    """Every run: all cells at their rates, then a part at the rates outside."""
    everywhere = [Run(cell, method, rate) for cell in cells() for method, rate in rates(cell)]
    outside = [
        Run(cell, method, rate)
        for cell in cells()
        if (cell.model, cell.task) in OUTER_TASKS and cell.seed == 0 and cell.size == 256
        for method, further in OUTER.items()
        for rate in further
    ]
    return everywhere + outside


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
