"""How every class fared in every run: what accuracy hides where classes differ in size.

    python -m benchmarks.recommend.learned --tasks DIR

Writes benchmarks/results/learned.csv: of each run the mean recall of the classes, and whether it answered one
class only. DIR is that of the runs (`python -m benchmarks.recommend`), whose labels are needed and not kept.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.recommend.plan import examples_of, split
from benchmarks.recommend.samples import RESULTS, RUNS, bits, cell_of, read, run_of

__all__ = ["LEARNED", "fared"]

LEARNED = RESULTS / "learned.csv"
FIELDS = ("model", "task", "size", "seed", "method", "rate", "epochs", "mean_recall", "one_class")


def fared(right: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]) -> tuple[float, bool]:
    """Mean recall of the classes that there are, and whether one class was always right and no other ever."""
    recalls = [float(right[labels == label].mean()) for label in np.unique(labels)]
    return float(np.mean(recalls)), sorted(recalls) == [0.0] * (len(recalls) - 1) + [1.0]


def rows(tasks: Path) -> list[dict[str, Any]]:
    """One a run."""
    found = []
    for row in read(RUNS):
        cell = cell_of(row)
        data = examples_of(tasks, cell.task)
        labels = np.asarray([data.labels[i] for i in split(tasks, cell)[1]] if data.labels else [])
        recall, one_class = fared(bits(row), labels)
        run = run_of(row)
        values = (*cell, run.method, row["rate"], run.epochs, f"{recall:.5f}", int(one_class))
        found.append(dict(zip(FIELDS, values, strict=True)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=Path, required=True)
    found = rows(parser.parse_args().tasks)
    with LEARNED.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)


if __name__ == "__main__":
    main()
