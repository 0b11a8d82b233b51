"""Two processes give what one gives, whatever happens to the second."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitfit_probe.comparison import workers

TASKS = list(range(1, 40))


def _square(task: int) -> list[float]:
    return [task * task, 0.1 * task]


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test process has torch's threads, which the forked child does not use."""
    monkeypatch.setattr(workers, "_may_fork", lambda: True)


def test_same_numbers_in_the_same_order() -> None:
    expected = [_square(task) for task in TASKS]
    assert workers.run_all(TASKS, _square, int, enough=0) == expected
    assert workers.run_all(TASKS, _square, int, enough=10**9) == expected


def test_half_of_the_work_is_done_elsewhere() -> None:
    pids = [pid for (pid,) in workers.run_all(TASKS, lambda _: [os.getpid()], int, enough=0)]
    assert set(pids) > {os.getpid()}
    here = sum(task for task, pid in zip(TASKS, pids, strict=True) if pid == os.getpid())
    assert abs(2 * here - sum(TASKS)) <= max(TASKS)


@given(st.lists(st.integers(0, 1000)))
def test_shares_hold_every_task_once_and_differ_by_one_task(costs: list[int]) -> None:
    here, there = workers._shared_out(costs, int)
    assert sorted(here + there) == list(range(len(costs)))
    difference = sum(costs[at] for at in here) - sum(costs[at] for at in there)
    assert abs(difference) <= max(costs, default=0)


def test_a_child_that_dies_is_made_up_for() -> None:
    parent = os.getpid()

    def work(task: int) -> list[float]:
        if os.getpid() != parent:
            os._exit(3)
        return _square(task)

    assert workers.run_all(TASKS, work, int, enough=0) == [_square(task) for task in TASKS]


@pytest.mark.parametrize("bad", TASKS[:4])
def test_an_error_in_either_share_is_raised_here(bad: int, monkeypatch: pytest.MonkeyPatch) -> None:
    children: list[int] = []
    fork = os.fork
    monkeypatch.setattr(os, "fork", lambda: children.append(fork()) or children[-1])

    def work(task: int) -> list[float]:
        if task == bad:
            raise ValueError(f"task {task}")
        return _square(task)

    with pytest.raises(ValueError, match=f"task {bad}"):
        workers.run_all(TASKS, work, int, enough=0)
    for child in children:
        with pytest.raises(ChildProcessError):  # it is not left behind
            os.waitpid(child, os.WNOHANG)


def test_a_process_with_threads_is_not_forked() -> None:
    code = (
        "import threading, sys; from bitfit_probe.comparison.workers import _may_fork as may\n"
        "alone = may(); stop = threading.Event(); threading.Thread(target=stop.wait).start()\n"
        "print(alone, may()); stop.set()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    expected = sys.platform == "linux" and len(os.sched_getaffinity(0)) > 1
    assert done.stdout.split() == [str(expected), "False"]
