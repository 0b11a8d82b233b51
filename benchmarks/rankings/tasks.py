"""Labelled texts that anybody can fetch, split into training and test examples."""

from __future__ import annotations

import csv
import random
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(__file__).parents[1] / ".cache"
_SAMPLE = Path(__file__).parents[1] / "sample"
#: Orders the rows of every task, so that all seeds are tested on the same ones.
_SHUFFLE = 20220523


@dataclass(frozen=True)
class Task:
    """Texts (or pairs of texts) with the names of their classes."""

    name: str
    train: list[tuple[str, ...]]
    test: list[tuple[str, ...]]
    train_labels: list[str]
    test_labels: list[str]

    @property
    def labels(self) -> list[str]:
        return sorted({*self.train_labels, *self.test_labels})

    def drawn(self, count: int, seed: int) -> list[int]:
        """Which training examples a run with this seed sees."""
        everything = range(len(self.train))
        return random.Random(seed).sample(everything, min(count, len(everything)))

    def write_test(self, path: Path) -> None:
        """Write the test examples as a CSV of text, text_pair (where there is one) and label."""
        pairs = any(len(text) > 1 for text in self.test)
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["text", *(["text_pair"] if pairs else []), "label"])
            writer.writerows([*text, label] for text, label in zip(self.test, self.test_labels, strict=True))


def question_types(test: int) -> Task:
    """Which kind of answer a question asks for: the embedded sample's task, and its split."""
    sys.path.append(str(_SAMPLE))  # its modules are scripts that import one another by bare names
    from fetch import fetch_all, questions
    from task import TaskSettings, make_task

    found = make_task(questions(fetch_all(CACHE, ["questions"])), TaskSettings(), _SHUFFLE)
    held_out = found.test[:test]
    return Task(
        "question-types",
        [(row.text,) for row in found.train],
        [(row.text,) for row in held_out],
        [row.label for row in found.train],
        [row.label for row in held_out],
    )


def csv_tasks(folder: Path, test: int) -> list[Task]:
    """A task for each CSV in `folder` with the columns text, label and perhaps text_pair."""
    tasks = []
    for path in sorted(folder.glob("*.csv")):
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = [
                ((row["text"], row["text_pair"]) if row.get("text_pair") else (row["text"],), row["label"])
                for row in csv.DictReader(stream)
            ]
        tasks.append(_split(path.stem, rows, test))
    return tasks


def _split(name: str, rows: Iterable[tuple[tuple[str, ...], str]], test: int) -> Task:
    shuffled = list(rows)
    random.Random(_SHUFFLE).shuffle(shuffled)
    held_out, rest = shuffled[:test], shuffled[test:]
    return Task(
        name,
        [text for text, _ in rest],
        [text for text, _ in held_out],
        [label for _, label in rest],
        [label for _, label in held_out],
    )
