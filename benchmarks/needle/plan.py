"""Which runs there are, which examples each gets, and where the results lie."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.needle.causes import CAUSES, Cause
from bitfit_probe.data import TaskData, read_examples

__all__ = [
    "FIELDS",
    "GIVEN",
    "MODELS",
    "RUNS",
    "TASKS",
    "Run",
    "add_lora",
    "done",
    "examples",
    "lora_accuracies",
    "read_rows",
    "rows_of",
]

RESULTS = Path(__file__).parents[1] / "results" / "needle"
_LORA = RESULTS / "lora.csv"
FIELDS = (
    *("model", "task", "cause", "given", "before", "step", "gain", "low", "high", "examples"),
    *("helps", "advised", "honest_gain", "true_gain", "true_loss_gain", "true_examples"),
)
MODELS, TASKS = ("sample-2", "minilm-1"), ("trec", "subj", "mpqa")
#: How many examples `diagnose` is given.
GIVEN = (100, 300)
_TRAINED, _JUDGED = 1000, 1000
#: Words of a text that are kept: the models are small, and so is the time for them.
_WORDS = 12


@dataclass(frozen=True)
class Run:
    """One fine-tune that disappoints."""

    model: str
    task: str
    cause: str

    @property
    def name(self) -> str:
        """Words that tell it from others."""
        return f"{self.model} {self.task} {self.cause}"

    @property
    def how(self) -> Cause:
        """How it is made to disappoint."""
        return CAUSES[self.cause]


RUNS = [Run(model, task, cause) for model in MODELS for cause in CAUSES for task in TASKS]


def examples(tasks: Path, task: str) -> tuple[TaskData, TaskData, TaskData]:
    """Examples to train on, to give to `diagnose`, and to measure true gains on; the first two may be cut."""
    data = read_examples(tasks / f"{task}.csv")
    data = replace(data, texts=tuple(" ".join(text.split()[:_WORDS]) for text in data.texts))
    ends = (0, _TRAINED, _TRAINED + max(GIVEN), _TRAINED + max(GIVEN) + _JUDGED)
    first, second, third = (data.take(range(*pair)) for pair in itertools.pairwise(ends))
    return first, second, third


def rows_of(run: Run, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a run's rows, one file a run."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{run.name.replace(' ', '-').replace(',', '')}.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows({"model": run.model, "task": run.task, "cause": run.cause, **row} for row in rows)


@cache
def lora_accuracies() -> dict[tuple[str, str, int], float]:
    """Of LoRA trained on the given examples, by model, task and their number."""
    if not _LORA.is_file():
        return {}
    with _LORA.open(newline="", encoding="utf-8") as stream:
        rows = csv.DictReader(stream)
        return {(row["model"], row["task"], int(row["given"])): float(row["accuracy"]) for row in rows}


def add_lora(model: str, task: str, given: int, accuracy: float) -> None:
    """Keep one of them."""
    new = not _LORA.is_file()
    RESULTS.mkdir(parents=True, exist_ok=True)
    with _LORA.open("a", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerows(
            [*([("model", "task", "given", "accuracy")] if new else []), (model, task, given, accuracy)]
        )


def read_rows() -> list[dict[str, str]]:
    """Every row of every run."""
    found = []
    for path in sorted(set(RESULTS.glob("*.csv")) - {_LORA}):
        with path.open(newline="", encoding="utf-8") as stream:
            found += list(csv.DictReader(stream))
    return found


def done() -> set[str]:
    """Names of the runs that have rows."""
    return {f"{row['model']} {row['task']} {row['cause']}" for row in read_rows()}
