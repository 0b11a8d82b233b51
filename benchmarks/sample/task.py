"""The labelled task: tell what kind of answer a question asks for."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fetch import Question

__all__ = ["LABELS", "Row", "Task", "TaskSettings", "make_task", "write_rows"]

LABELS = {
    "ABBR": "abbreviation",
    "DESC": "description",
    "ENTY": "entity",
    "HUM": "human",
    "LOC": "location",
    "NUM": "number",
}


@dataclass(frozen=True)
class TaskSettings:
    """How many questions are held out; all others are for training."""

    dev: int = 600
    test: int = 600


@dataclass(frozen=True)
class Row:
    """One question and its label."""

    text: str
    label: str


@dataclass(frozen=True)
class Task:
    """The three splits."""

    labels: list[str]
    train: list[Row]
    dev: list[Row]
    test: list[Row]


def make_task(questions: Sequence[Question], settings: TaskSettings, seed: int) -> Task:
    """Shuffle the questions and split them."""
    order = np.random.default_rng([seed, 3]).permutation(len(questions))
    rows = [Row(questions[place].text, LABELS[questions[place].kind]) for place in order]
    held_out = settings.dev + settings.test
    return Task(
        labels=list(LABELS.values()),
        train=rows[held_out:],
        dev=rows[settings.test : held_out],
        test=rows[: settings.test],
    )


def write_rows(rows: Sequence[Row], path: Path) -> None:
    """Write ``rows`` as CSV with the columns ``text`` and ``label``."""
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["text", "label"])
        writer.writerows([row.text, row.label] for row in rows)
