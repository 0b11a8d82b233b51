"""Finished runs and measured cells as samples: each method at its best rate."""

from __future__ import annotations

import base64
import csv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.recommend.plan import Cell, Run, budget_of
from bitfit_probe.records.recommendation import METHODS

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = [
    "EVIDENCE",
    "RESULTS",
    "RUNS",
    "Case",
    "Lengthened",
    "Sample",
    "append",
    "at_budget",
    "bits",
    "cases",
    "cell_of",
    "lengthened",
    "measured",
    "read",
    "run_of",
]

RESULTS = Path(__file__).parents[1] / "results"
RUNS = RESULTS / "runs.csv"
EVIDENCE = RESULTS / "evidence.csv"


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a table; none where it is not there yet."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def append(path: Path, fields: Sequence[str], rows: list[dict[str, Any]]) -> None:
    """Add rows to a table, which is begun where it is not there yet."""
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fields, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerows(rows)


def cell_of(row: dict[str, str]) -> Cell:
    """Which cell a row belongs to."""
    return Cell(row["model"], row["task"], int(row["size"]), int(row["seed"]))


def run_of(row: dict[str, str]) -> Run:
    """Which run a row reports."""
    return Run(cell_of(row), row["method"], float(row["rate"]), int(row["epochs"]))


def at_budget(row: dict[str, str]) -> bool:
    """Whether a run had the passes that count; others only show what fewer would have given."""
    return run_of(row).epochs == budget_of(cell_of(row)).epochs


@dataclass(frozen=True)
class Sample:
    """A cell, and the accuracy of each method at its best rate, as a share."""

    model: str
    task: str
    size: int
    seed: int
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Case:
    """All seeds of a model, task and size.

    Attributes
    ----------
    samples
        One a seed.
    right
        By method: which test examples were right, the seeds one after the other.
    """

    model: str
    task: str
    size: int
    samples: tuple[Sample, ...]
    right: dict[str, npt.NDArray[np.float64]]

    def score(self, method: str) -> float:
        """Mean accuracy over the seeds, as a share."""
        return float(np.mean([sample.scores[method] for sample in self.samples]))

    def tied(self, method: str) -> bool:
        """Whether the best method is better by less than 1.96 paired standard errors over test examples."""
        best = max(METHODS, key=self.score)
        difference = self.right[best] - self.right[method]
        return bool(difference.mean() <= 1.96 * difference.std() / len(difference) ** 0.5)


def measured() -> dict[Cell, dict[str, float]]:
    """What was measured of each cell before training."""
    found: dict[Cell, dict[str, float]] = defaultdict(dict)
    for row in read(EVIDENCE):
        if row["value"]:
            found[cell_of(row)][row["measure"]] = float(row["value"])
    return found


def cases() -> list[Case]:
    """Every model, task and size of which all methods were run and the evidence was measured."""
    evidence = measured()
    rows: dict[tuple[str, str, int], list[dict[str, str]]] = defaultdict(list)
    for row in filter(at_budget, read(RUNS)):
        rows[row["model"], row["task"], int(row["size"])].append(row)
    found = (_case(*key, group, evidence) for key, group in rows.items())
    return [case for case in found if case is not None]


def _case(
    model: str, task: str, size: int, rows: list[dict[str, str]], evidence: dict[Cell, dict[str, float]]
) -> Case | None:
    best = {method: _best_rate(rows, method) for method in ("head", *METHODS)}
    chosen = [row for row in rows if float(row["rate"]) == best[row["method"]]]
    seeds = sorted({int(row["seed"]) for row in chosen})
    by_seed = {seed: {row["method"]: row for row in chosen if int(row["seed"]) == seed} for seed in seeds}
    full = [
        seed
        for seed in seeds
        if {"head", *METHODS} <= set(by_seed[seed]) and Cell(model, task, size, seed) in evidence
    ]
    if not full:
        return None
    samples = []
    for seed in full:
        scores = {method: float(row["accuracy"]) for method, row in by_seed[seed].items()}
        samples.append(Sample(model, task, size, seed, scores))
    right = {m: np.concatenate([bits(by_seed[seed][m]) for seed in full]) for m in METHODS}
    return Case(model, task, size, tuple(samples), right)


def _best_rate(rows: list[dict[str, str]], method: str) -> float | None:
    """The rate with the highest mean accuracy among those that most seeds were run at."""
    found: dict[float, list[float]] = defaultdict(list)
    for row in rows:
        if row["method"] == method:
            found[float(row["rate"])].append(float(row["accuracy"]))
    most = max(map(len, found.values()), default=0)
    everywhere = {rate: np.mean(scores) for rate, scores in found.items() if len(scores) == most}
    return max(everywhere, key=lambda rate: everywhere[rate], default=None)


def bits(row: dict[str, str]) -> npt.NDArray[np.float64]:
    packed = np.frombuffer(base64.b64decode(row["correct"]), np.uint8)
    return np.unpackbits(packed, count=int(row["tested"])).astype(float)


@dataclass(frozen=True)
class Lengthened:
    """A cell that was run with fewer passes as well.

    Attributes
    ----------
    steps
        The fewer and the more.
    scores
        By method: accuracy with the fewer and with the more, each at the better of the rates that both had.
    """

    model: str
    task: str
    size: int
    steps: tuple[int, int]
    scores: dict[str, tuple[float, float]]


def lengthened() -> list[Lengthened]:
    """Every cell of which all methods were run with fewer passes and with those that count."""
    rows = {run_of(row): row for row in read(RUNS)}
    scores: dict[Cell, dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    steps: dict[Cell, tuple[int, int]] = {}
    for run, row in rows.items():
        more = rows.get(run._replace(epochs=budget_of(run.cell).epochs))
        if run.method in METHODS and not at_budget(row) and more is not None:
            scores[run.cell][run.method].append((float(row["accuracy"]), float(more["accuracy"])))
            steps[run.cell] = int(row["steps"]), int(more["steps"])
    return [
        Lengthened(
            cell.model,
            cell.task,
            cell.size,
            steps[cell],
            {m: (max(a for a, _ in pairs), max(b for _, b in pairs)) for m, pairs in found.items()},
        )
        for cell, found in scores.items()
        if set(found) == set(METHODS)
    ]
