"""Two processors at work on one list of tasks, where that is safe: this process and a forked copy of it.

Threads would be the usual way, but a numpy call on a block takes microseconds, and handing the interpreter
lock back and forth between such calls costs as much as it gains. A forked child shares the open files and the
alignment for free, and sends back a few numbers a task.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

__all__ = ["run_all"]

Task = TypeVar("Task")
Numbers = list[float]


def run_all(
    tasks: Sequence[Task], work: Callable[[Task], Numbers], cost: Callable[[Task], int], *, enough: int
) -> list[Numbers]:
    """`work` of each task, in order; half of the cost goes to a child where that is safe.

    Parameters
    ----------
    tasks
        What to do, in any order.
    work
        Gives a task's numbers; it must not depend on what another task changes. Its exceptions are
        raised here.
    cost
        A task's share of the work, in any unit.
    enough
        Cost of all tasks from which on a child is worth its start.
    """
    if sum(map(cost, tasks)) < enough or not _may_fork():
        return [work(task) for task in tasks]
    here, there = _shared_out(tasks, cost)
    receiving, sending = os.pipe()
    child = os.fork()
    if child == 0:
        _be_the_child([tasks[at] for at in there], work, sending)
    os.close(sending)
    try:
        mine = [work(tasks[at]) for at in here]
        with os.fdopen(receiving, "rb") as pipe:
            answer = pipe.read()
    except BaseException:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        raise
    finally:
        with suppress(ChildProcessError):  # where SIGCHLD is ignored, the system has buried it
            os.waitpid(child, 0)
    # A child that failed is not asked why: doing its share here fails the same way, and says so.
    theirs = _answered(answer, len(there)) or [work(tasks[at]) for at in there]
    numbers = dict(zip((*here, *there), (*mine, *theirs), strict=True))
    return [numbers[at] for at in range(len(tasks))]


def _answered(answer: bytes, count: int) -> list[Numbers] | None:
    """The numbers of `count` tasks, None where the child did not send them all: half a list is no JSON."""
    try:
        numbers: list[Numbers] = json.loads(answer)
    except ValueError:
        return None
    return numbers if len(numbers) == count else None


def _shared_out(tasks: Sequence[Task], cost: Callable[[Task], int]) -> tuple[list[int], list[int]]:
    """Places of the tasks in two shares, each task given to the lighter one."""
    shares: tuple[list[int], list[int]] = ([], [])
    weights = [0, 0]
    for at, task in enumerate(tasks):
        lighter = int(weights[1] < weights[0])
        shares[lighter].append(at)
        weights[lighter] += cost(task)
    return shares


def _may_fork() -> bool:
    """Whether a copy of this process can't inherit a lock that nobody would release: it has one thread."""
    if sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2:
        return False
    return len(list(Path("/proc/self/task").iterdir())) == 1


def _be_the_child(tasks: Sequence[Task], work: Callable[[Task], Numbers], sending: int) -> None:
    """Do the tasks, send the numbers, and leave without running anything that the parent would run too."""
    try:
        with os.fdopen(sending, "wb") as pipe:
            pipe.write(json.dumps([work(task) for task in tasks]).encode())
    except BaseException:
        os._exit(1)
    os._exit(0)
