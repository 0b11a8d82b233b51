"""Tasks through an engine: a few in flight, and another try for what a dying worker or a server cost."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Future, wait
from dataclasses import asdict, dataclass
from typing import Any

from bitfit_probe.errors import EngineError, WorkerError
from bitfit_probe.fleet.engines import Engine, refuse_version
from bitfit_probe.fleet.judging import judge
from bitfit_probe.records.failures import Failure
from bitfit_probe.records.fleet import FleetRow
from bitfit_probe.rendering.as_json import FORMAT_VERSION, json_text

__all__ = ["Task", "answers"]

#: How often a checkpoint is tried where a worker dies over it, or a disk or a server fails.
_TRIES = 3


@dataclass
class Task:
    """A checkpoint to judge: what the caller named, and what a worker opens."""

    base: str
    tuned: str
    opened: str
    options: dict[str, Any]
    tries: int = 0


def answers(tasks: Iterable[Task], engine: Engine) -> Iterator[tuple[Task, dict[str, Any]]]:
    """What `judge` gives of each task, as it comes; what was tried in vain comes as a failed row.

    Raises
    ------
    WorkerError
        A worker has another version of this package, or can't read the base.
    EngineError
        The engine ended.
    """
    waiting, running = deque(tasks), dict[Future[dict[str, Any]], Task]()
    while waiting or running:
        _submit(waiting, running, engine)
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            task = running.pop(future)
            answer = _answer(task, future)
            if answer is not None:
                yield task, answer
            else:
                waiting.appendleft(task)


def _submit(waiting: deque[Task], running: dict[Future[dict[str, Any]], Task], engine: Engine) -> None:
    """Keep twice as many in flight as are worked on; what was in a worker that died goes alone."""
    while waiting and len(running) < 2 * engine.width:
        if running and (waiting[0].tries or any(task.tries for task in running.values())):
            return
        task = waiting[0]
        try:
            future = engine.executor.submit(judge, task.base, task.opened, task.options)
        except BrokenExecutor as error:
            if engine.renew is None:
                raise EngineError(
                    "the engine ended", advice="start it again, and go on with --resume"
                ) from error
            if running:
                return
            engine.renew()
            continue
        running[future] = waiting.popleft()


def _answer(task: Task, future: Future[dict[str, Any]]) -> dict[str, Any] | None:
    """What came of a task; None where it is to be tried again."""
    task.tries += 1
    try:
        answer = future.result()
    except CancelledError as error:
        raise _ended() from error
    except Exception as problem:
        return None if task.tries < _TRIES else _given_up(task, problem)
    refuse_version(answer["version"], "a worker")
    if "base_error" in answer:
        told = Failure(**answer["base_error"])
        raise WorkerError(
            f"a worker can't read the base ({told.code}: {told.message})",
            advice="give a base that every worker can read, and leave it alone",
        )
    return None if answer["passing"] and task.tries < _TRIES else answer


def _ended() -> EngineError:
    return EngineError("what runs the workers ended", advice="start it again, and go on with --resume")


def _given_up(task: Task, problem: Exception) -> dict[str, Any]:
    """The answer of a worker that never gave one."""
    if isinstance(problem, BrokenExecutor) or type(problem).__name__ == "KilledWorker":
        what, advice = "its worker died", "look for what kills it: memory runs out first"
    else:
        what, advice = f"its worker failed ({type(problem).__name__})", "please report it"
    error = WorkerError(f"{what}, {_TRIES} times", advice=advice, path=task.opened)
    row = asdict(FleetRow(task.tuned, "failed", error=Failure.of(task.tuned, error)))
    document = json_text({"format_version": FORMAT_VERSION, "error": row["error"]})
    return {"row": row, "document": document}
