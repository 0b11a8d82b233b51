"""Run what is planned and not done yet.

    python -m benchmarks.experiment --tasks DIR [--hours H] [--jobs 1] [--device cpu] [--only size=256 …]

DIR holds CSV files with the columns text, text_pair and label; the other tasks come from
`python -m benchmarks.experiment.texts`, the models from `python -m benchmarks.materials`. Every finished run
adds a line to its cell's file (see benchmarks/experiment/store.py); stopped at any moment, the same command
goes on. A line a run
tells what was done and how long the rest will take.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, ProcessPoolExecutor, wait
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.experiment import training
from benchmarks.experiment.plan import Block, Run, blocks, is_sealed, wanted
from benchmarks.experiment.store import RESULTS, Store

#: Runs of a block, as most blocks have: four rates, the best two on three more folds, two finals.
_USUAL_RUNS = 12


class Queue:
    """The planned blocks, and which of their runs come next."""

    def __init__(self, store: Store, only: Sequence[str]) -> None:
        self._store = store
        conditions = [text.partition("=") for text in only]
        self._left = [
            block
            for block in blocks()
            if all(_value(block, name) in values.split(",") for name, _, values in conditions)
        ]

    def next(self, running: Sequence[Run]) -> Iterator[Run]:
        """Runs to begin, in the plan's order."""
        for block in list(self._left):
            runs = wanted(block, self._store.known(block.cell))
            if not runs:
                self._left.remove(block)
            yield from (run for run in runs if run not in running)

    def drop(self, run: Run) -> None:
        """Leave a run's block."""
        self._left = [block for block in self._left if block != (run.cell, run.method)]

    def left(self) -> dict[Block, int]:
        """About how many runs each block has to go."""
        found = {}
        for block in self._left:
            done = sum(run.method == block.method for run in self._store.known(block.cell))
            found[block] = max(1, _USUAL_RUNS - done)
        return found


def _value(block: Block, name: str) -> str:
    return block.method if name == "method" else str(getattr(block.cell, name))


class Clock:
    """Seconds a run, by what is alike."""

    def __init__(self) -> None:
        self._seen: dict[tuple[object, ...], list[float]] = defaultdict(list)

    def note(self, run: Run, seconds: float) -> None:
        for key in self._keys(Block(run.cell, run.method)):
            self._seen[key].append(seconds)

    def expected(self, block: Block) -> float:
        found = next((self._seen[key] for key in self._keys(block) if key in self._seen), [60.0])
        return statistics.mean(found[-50:])

    @staticmethod
    def _keys(block: Block) -> list[tuple[object, ...]]:
        cell, method = block
        return [
            (cell.model, cell.task, cell.size, method),
            (cell.model, cell.task, method),
            (cell.model, cell.size, method),
            (method,),
        ]


def run_all(tasks: Path, store: Store, queue: Queue, *, device: str, jobs: int, until: float) -> None:
    """Run what the queue gives, `jobs` at a time; none is begun after `until` (monotonic seconds)."""
    clock, work = Clock(), partial(training.perform, tasks, device)
    running: dict[Future[dict[str, Any]], Run] = {}
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        while True:
            for run in queue.next(list(running.values())):
                if len(running) >= jobs or time.monotonic() >= until:
                    break
                running[pool.submit(work, run)] = run
            if not running:
                return
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                run = running.pop(done)
                try:
                    row = done.result()
                except Exception as error:  # the other blocks go on; the next start tries this one again
                    print(f"{run}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
                    queue.drop(run)
                    if isinstance(error, BrokenExecutor):
                        raise
                    continue
                store.add(run.cell, training.head_of(tasks, run.cell), row)
                clock.note(run, row["seconds"])
                _tell(run, row, queue, clock, jobs)


def _tell(run: Run, row: dict[str, Any], queue: Queue, clock: Clock, jobs: int) -> None:
    """A line on a run; of sealed ones no result."""
    left = queue.left()
    hours = sum(count * clock.expected(block) for block, count in left.items()) / 3_600 / jobs
    score = "sealed" if is_sealed(run.cell.task) else f"score {row['score']}"
    what = f"{' '.join(map(str, run.cell))} {run.method} {run.rate:g} {run.part}"
    rest = f"about {sum(left.values())} runs and {hours:.1f} h left"
    spent = f"{row['seconds']} s ({row['cpu_seconds']} of processor)"
    print(f"{time.strftime('%H:%M:%S')} {what}: {score}, {spent}; {rest}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", type=Path, required=True)
    parser.add_argument("--into", type=Path, default=RESULTS)
    parser.add_argument("--hours", type=float, default=1e9, help="begin no run after so long")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--only", nargs="*", default=(), help="such as model=minilm size=64,256 method=full")
    asked = parser.parse_args()
    os.nice(max(0, 10 - os.nice(0)))  # whoever else works on this machine goes first
    store = Store(asked.into)
    until = time.monotonic() + 3_600 * asked.hours
    queue = Queue(store, asked.only)
    run_all(asked.tasks, store, queue, device=asked.device, jobs=asked.jobs, until=until)


if __name__ == "__main__":
    main()
