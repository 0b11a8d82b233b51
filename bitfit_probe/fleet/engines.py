"""What runs the workers: processes of this machine, a Dask scheduler's, or any executor of the caller's."""

from __future__ import annotations

import importlib.metadata
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import connection
from typing import Any

from bitfit_probe.errors import EngineError, MissingExtraError, WorkerError
from bitfit_probe.rules import all_rules
from bitfit_probe.version import __version__

__all__ = ["Engine", "dask_engine", "given_engine", "process_engine", "refuse_version"]

_PACKAGE = "bitfit-probe"
#: Seconds in which a scheduler must answer.
_PATIENCE = 20


@dataclass
class Engine:
    """An executor, and how many checkpoints it works on at a time.

    Attributes
    ----------
    shares_folder
        Whether its workers take relative paths as this process does.
    renew
        Replaces an executor that a dying worker has broken; None where that can't be done.
    """

    executor: Executor
    width: int
    shares_folder: bool = False
    renew: Callable[[], Executor] | None = None


# This machine's processes -------------------------------------------------------------------------


@contextmanager
def process_engine(jobs: int | None) -> Iterator[Engine]:
    """`jobs` processes, one a processor where not given; none of them outlives this one."""
    width = jobs or _processors()
    all_rules()  # a process that is copied has what is loaded here
    before = set(multiprocessing.active_children())
    engine = Engine(_pool(width), width, shares_folder=True)

    def renew() -> Executor:
        engine.executor.shutdown()  # so that its thread is gone before processes are copied again
        engine.executor = _pool(width)
        return engine.executor

    engine.renew = renew
    try:
        yield engine
        engine.executor.shutdown()
    except BaseException:
        engine.executor.shutdown(wait=False, cancel_futures=True)
        for worker in set(multiprocessing.active_children()) - before:
            worker.kill()
        raise


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _pool(width: int) -> ProcessPoolExecutor:
    # A copy of a process with several threads may inherit a lock that nobody releases. OpenBLAS ends its own
    # before; torch's don't.
    safe = sys.platform == "linux" and threading.active_count() == 1 and "torch" not in sys.modules
    context = multiprocessing.get_context("fork" if safe else "spawn")
    return ProcessPoolExecutor(width, mp_context=context, initializer=_begin_worker)


def _begin_worker() -> None:
    """Leave Ctrl-C to the parent, and end with it: a pool's workers outlive a parent that is killed.

    The thread that waits for the parent's end also keeps the comparison from forking a child of its own,
    which would be one process too many for each processor.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


# Others' workers ----------------------------------------------------------------------------------


@contextmanager
def given_engine(executor: Executor) -> Iterator[Engine]:
    """An executor of the caller's, who also ends it.

    Raises
    ------
    WorkerError
        Its worker lacks this package, or has another version.
    """
    try:
        version = executor.submit(importlib.metadata.version, _PACKAGE).result()
    except importlib.metadata.PackageNotFoundError as error:
        raise _lacks_package("a worker") from error
    refuse_version(version, "a worker")
    yield Engine(executor, getattr(executor, "_max_workers", _processors()))


@contextmanager
def dask_engine(address: str) -> Iterator[Engine]:
    """The workers of a Dask scheduler.

    Raises
    ------
    MissingExtraError
        distributed is not installed.
    EngineError
        No scheduler answers at `address`, or it has no worker.
    WorkerError
        A worker lacks this package, or has another version.
    """
    try:
        import distributed
    except ImportError as error:
        raise MissingExtraError(
            "--dask needs distributed", advice="install it with: pip install 'bitfit-probe[dask]'"
        ) from error
    try:
        client: Any = distributed.Client(address, timeout=_PATIENCE, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise EngineError(
            "no Dask scheduler answers there", advice="start one with `dask scheduler`", path=address
        ) from error
    with client:
        width = sum(client.nthreads().values())
        if not width:
            raise EngineError(
                "the scheduler has no worker", advice=f"start one with `dask worker {address}`", path=address
            )
        _refuse_unlike(client.run(importlib.metadata.version, _PACKAGE, on_error="return"))
        yield Engine(client.get_executor(pure=False), width)


def _refuse_unlike(versions: dict[str, Any]) -> None:
    for worker, version in sorted(versions.items()):
        if isinstance(version, importlib.metadata.PackageNotFoundError):
            raise _lacks_package(f"worker {worker}")
        refuse_version(str(version), f"worker {worker}")


def refuse_version(version: str, worker: str) -> None:
    """Raise WorkerError where a worker's version is not this process's."""
    if version != __version__:
        raise WorkerError(
            f"{worker} has bitfit-probe {version}, and this is {__version__}",
            advice="install the same version on both",
        )


def _lacks_package(worker: str) -> WorkerError:
    return WorkerError(
        f"{worker} lacks bitfit-probe", advice=f"pip install bitfit-probe=={__version__} where it runs"
    )
