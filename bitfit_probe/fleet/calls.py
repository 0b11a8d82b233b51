"""The three calls: judge a fleet into a directory, read one, and put shards together."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bitfit_probe.api.progress import Progress
from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.checkpoint.source import locate
from bitfit_probe.errors import ManifestError, shown
from bitfit_probe.fleet.engines import Engine, dask_engine, given_engine, process_engine
from bitfit_probe.fleet.judging import examples_of
from bitfit_probe.fleet.manifest import (
    Entry,
    Run,
    begin,
    keep,
    read_manifest,
    result_name,
    row_of,
    together,
)
from bitfit_probe.fleet.running import Task, answers
from bitfit_probe.fleet.stamps import Stamp, stamp_of
from bitfit_probe.fleet.standing_out import fleet_of
from bitfit_probe.outputs import held_folder, made_folder, new_folder, refuse_taken, told_as_output
from bitfit_probe.records.fleet import Fleet, FleetRow
from bitfit_probe.records.options import FleetOptions
from bitfit_probe.version import __version__

__all__ = ["merge_fleets", "read_fleet", "run_fleet"]

#: Options that say how work is shared out, and nothing about what comes of it.
_SHARING = ("jobs", "resume", "shard", "dask")
#: Codes of what may be otherwise the next time although no file changed: system, memory, servers, workers.
_PASSING = ("BE001", "BE002", "BE115", "BE116", "BE7")


def run_fleet(
    base: str | Path,
    *tuned: str | Path,
    out: str | Path,
    options: FleetOptions | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> Fleet:
    """Judge many checkpoints of one base, as `diff` and `check` do, each kept as soon as it is done.

    Parameters
    ----------
    base, *tuned
        As for `diff`. What can't be read is a row that says why, and never the end of the run.
    out
        A directory for the manifest and a JSON file a checkpoint.
    options
        What is judged, and how the work is shared out.
    executor
        Runs the workers instead of processes of this machine: any `concurrent.futures.Executor` whose workers
        have this package and see the same files.
    progress
        Told the ``bytes`` and the ``checkpoints`` done and to do.

    Returns
    -------
    Fleet
        As `read_fleet` gives it, of this call's checkpoints.

    Raises
    ------
    BitfitProbeError
        The base or the data can't be read; the engine or its workers are not fit for it (BE7xx); nothing can
        be written.
    ValueError
        A shard that is none of its number.
    """
    options = options or FleetOptions()
    asked = {shown(name): name for name in _shard(list(map(str, tuned)), options.shard)}
    open_checkpoint(base, options.state_dict_key, biases_only=options.biases_only)
    examples_of(options)
    folder = Path(out)
    stamps = [stamp_of(str(path)).digest for path in (base, options.data) if path is not None]
    if not options.resume:
        refuse_taken(folder)
    run = Run(shown(str(base)), " ".join(stamps), _judging(options), __version__, tuple(asked))
    with told_as_output(folder), made_folder(folder), held_folder(folder, folder):
        known = _known(folder, run)
        seen = {name: stamp_of(given) for name, given in asked.items()}
        left = {name: given for name, given in asked.items() if not _is_done(known.get(name), seen[name])}
        with _engine(options, executor) as engine:
            begin(folder, run)
            tasks = [_task(str(base), name, given, options, engine) for name, given in left.items()]
            count = _Counter([seen[name].nbytes for name in left], progress)
            for task, answer in answers(tasks, engine):
                row = _row_of(task, answer)
                keep(folder, run, Entry(row, seen[task.tuned].digest), answer["document"])
                count.add(seen[task.tuned].nbytes)
    return read_fleet(folder)


def read_fleet(folder: str | Path) -> Fleet:
    """What a directory of `run_fleet` or `merge_fleets` holds, and what it comes to.

    Raises
    ------
    ManifestError
        There is no fleet in it.
    """
    return fleet_of(read_manifest(Path(folder)))


def merge_fleets(*folders: str | Path, out: str | Path) -> Fleet:
    """Put shards of one run together in a new directory.

    Raises
    ------
    ManifestError
        One is no fleet, or was judged beside another base, with other options or by another version.
    OutputError
        Nothing can be written to `out`.
    """
    places = [Path(folder) for folder in folders]
    merged, homes = together([read_manifest(place) for place in places], places)
    with new_folder(Path(out)) as folder:
        begin(folder, merged.run)
        for name, entry in merged.entries.items():
            keep(folder, merged.run, entry, _document(homes[name] / entry.row.result))
    return read_fleet(out)


def _document(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ManifestError(
            f"can't be read ({error.strerror})", advice="run that shard again with --resume", path=path
        ) from error


def _shard(names: list[str], shard: tuple[int, int] | None) -> list[str]:
    """Every n-th name, from the i-th on."""
    if shard is None:
        return names
    number, count = shard
    if not 1 <= number <= count:
        raise ValueError(f"shard {number} of {count}: the first is 1, the last {count}")
    return names[number - 1 :: count]


def _judging(options: FleetOptions) -> dict[str, Any]:
    """The options that a result depends on."""
    told = {name: value for name, value in asdict(options).items() if name not in _SHARING}
    paths = {name: str(value) for name, value in told.items() if isinstance(value, Path)}
    return {**told, **paths, "select": list(options.select), "ignore": list(options.ignore)}


def _known(folder: Path, run: Run) -> dict[str, Entry]:
    """What was judged already as `run` would."""
    if not any(folder.iterdir()):
        return {}
    found = read_manifest(folder)
    return found.entries if found.run.digest == run.digest else {}


def _is_done(entry: Entry | None, stamp: Stamp) -> bool:
    """Whether nothing would come out otherwise: the files are as they were, and no disk or worker failed."""
    if entry is None or entry.inputs != stamp.digest:
        return False
    error = entry.row.error
    return error is None or not error.code.startswith(_PASSING)


@contextlib.contextmanager
def _engine(options: FleetOptions, executor: Executor | None) -> Iterator[Engine]:
    if executor is not None:
        made = given_engine(executor)
    elif options.dask is not None:
        made = dask_engine(options.dask)
    else:
        made = process_engine(options.jobs)
    with made as engine:
        yield engine


def _task(base: str, name: str, given: str, options: FleetOptions, engine: Engine) -> Task:
    """What a worker is told; one elsewhere gets whole paths."""
    whole = str if engine.shares_folder else _absolute
    told = _judging(options)
    data = told["data"] and whole(told["data"])
    return Task(whole(base), name, whole(given), {**told, "data": data})


def _absolute(given: str) -> str:
    place = locate(given)
    return str(place.absolute()) if isinstance(place, Path) else given


def _row_of(task: Task, answer: dict[str, Any]) -> FleetRow:
    """The row under the name that the caller gave."""
    row = row_of(answer["row"])
    error = None if row.error is None else replace(row.error, tuned=task.tuned)
    return replace(row, tuned=task.tuned, result=result_name(task.tuned), error=error)


class _Counter:
    """Tells how far a run is."""

    def __init__(self, sizes: list[int], progress: Progress | None) -> None:
        self._bytes, self._count, self._progress = sum(sizes), len(sizes), progress
        self._done = self._bytes_done = 0

    def add(self, nbytes: int) -> None:
        """One more is done."""
        self._done, self._bytes_done = self._done + 1, self._bytes_done + nbytes
        if self._progress is not None:
            self._progress("checkpoints", self._done, self._count)
            self._progress("bytes", self._bytes_done, self._bytes)
