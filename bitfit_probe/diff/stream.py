"""All pairs of an alignment through the kernel: bytes first, figures only where bytes differ.

BitFit leaves 99.9 % of the bytes as they were, so comparing is the job. Pairs are cut into ranges that a
few threads work off; numpy releases the interpreter lock inside its loops.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from bitfit_probe.align import Pair
from bitfit_probe.checkpoint.dtypes import DType
from bitfit_probe.diff.kernel import Sums, Workspace, add_statistics, cast_through, same_bytes
from bitfit_probe.records import JudgedBy

__all__ = ["Measured", "Progress", "measure"]

#: Called with the bytes done and the bytes to do.
Progress = Callable[[int, int], None]

#: Elements a range: long enough to make the threads' book-keeping vanish.
_RANGE = 1 << 22
#: Tensors up to this size always get their figures: it costs nothing, and biases are among them.
_SMALL = 1 << 16
#: Each takes 8 MiB of buffers, and two already reach the memory's speed.
_MAX_THREADS = 2

Item = TypeVar("Item")


@dataclass
class Measured:
    """What is known of a pair after the pass."""

    pair: Pair
    judged_by: JudgedBy = "compared"
    identical: bool | None = None
    sums: Sums | None = None
    cast: DType | None = None
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)


def measure(
    pairs: Sequence[Pair],
    *,
    only: Callable[[Pair], bool] | None = None,
    trust_checksums: bool = False,
    progress: Progress | None = None,
) -> list[Measured]:
    """Compare pairs, and sum up what differs.

    Parameters
    ----------
    pairs
        What to compare.
    only
        Which of them; the others are reported as not checked.
    trust_checksums
        Take equal CRC-32 of both containers for equal bytes, without reading them.
    progress
        Told about the bytes done, now and then, from any thread.

    Returns
    -------
    list of Measured
        One a pair, in order.
    """
    out = [Measured(pair) for pair in pairs]
    todo = []
    for item in out:
        if only is not None and not only(item.pair):
            item.judged_by = "not-checked"
        elif trust_checksums and _checksums_agree(item.pair):
            item.judged_by, item.identical = "checksum", True
        else:
            todo.append(item)
    with _one_blas_thread():
        _run(todo, progress)
    return out


def _run(todo: list[Measured], progress: Progress | None) -> None:
    team = _Team(sum(item.pair.base.nbytes + item.pair.tuned.nbytes for item in todo), progress)
    team.each(_ranges(item for item in todo if _same_type(item.pair)), team.compare)
    for item in todo:
        item.identical = _same_type(item.pair) and item.identical is not False
    differing = [item for item in todo if _needs_figures(item)]
    team.each(((item, 0, 0) for item in differing if not item.identical), team.find_cast)
    _spread_cast(differing)
    team.each(_ranges(differing), team.sum_up)


@contextmanager
def _one_blas_thread() -> Iterator[None]:
    """Keep BLAS from starting threads of its own, which would fight with ours over every block."""
    if os.environ.get("OPENBLAS_NUM_THREADS") == os.environ.get("MKL_NUM_THREADS") == "1":
        yield  # as the command line sets it before numpy is loaded
        return
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        yield


def _same_type(pair: Pair) -> bool:
    return pair.base.dtype.name == pair.tuned.dtype.name


def _checksums_agree(pair: Pair) -> bool:
    crc = pair.base.crc32
    return crc is not None and crc == pair.tuned.crc32 and _same_type(pair)


def _needs_figures(item: Measured) -> bool:
    pair = item.pair
    wanted = not item.identical or pair.base.size <= _SMALL
    return wanted and pair.base.dtype.decodable and pair.tuned.dtype.decodable


Range = tuple[Measured, int, int]


def _ranges(items: Iterable[Measured]) -> Iterator[Range]:
    for item in items:
        size = item.pair.base.size
        for start in range(0, size, _RANGE):
            yield item, start, min(start + _RANGE, size)
        if not size:
            item.sums = Sums()


def _spread_cast(items: Sequence[Measured]) -> None:
    """Give tensors too short to tell a cast from chance the one that the long ones went through."""
    casts = {item.cast.name: item.cast for item in items if item.cast is not None}
    if len(casts) == 1:
        (cast,) = casts.values()
        for item in items:
            pair = item.pair
            if item.cast is None and pair.base.size < 64 and pair.tuned.dtype.name == "float32":
                item.cast = cast


class _Team:
    """A few threads, each with its own buffers."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._local = threading.local()
        self._threads = min(os.cpu_count() or 1, _MAX_THREADS)
        self._total, self._done, self._progress = total, 0, progress
        self._lock = threading.Lock()

    @property
    def work(self) -> Workspace:
        """The calling thread's buffers."""
        if not hasattr(self._local, "work"):
            self._local.work = Workspace()
        work: Workspace = self._local.work
        return work

    def each(self, ranges: Iterable[Range], task: Callable[[Measured, int, int], None]) -> None:
        """Run `task` on each range, the first exception of which is raised here."""
        with ThreadPoolExecutor(self._threads) as pool:
            for _ in pool.map(lambda item: task(*item), ranges):
                pass

    def compare(self, item: Measured, start: int, stop: int) -> None:
        """Note whether the range differs, unless the pair is known to differ."""
        base, tuned = item.pair.base, item.pair.tuned
        if item.identical is not False and not same_bytes(base, tuned, start, stop, self.work):
            item.identical = False
        elif item.identical is not False:
            self._report((stop - start) * base.dtype.itemsize * 2)

    def find_cast(self, item: Measured, _start: int, _stop: int) -> None:
        """Note the type that the tuned side went through."""
        item.cast = cast_through(item.pair.base, item.pair.tuned, self.work)

    def sum_up(self, item: Measured, start: int, stop: int) -> None:
        """Add the range's sums to the pair's."""
        base, tuned = item.pair.base, item.pair.tuned
        sums = Sums()
        add_statistics(sums, base, tuned, start, stop, self.work, item.cast)
        with item.lock:
            if item.sums is None:
                item.sums = Sums()
            item.sums.add(sums)
        if not item.identical:
            self._report((stop - start) * (base.dtype.itemsize + tuned.dtype.itemsize))

    def _report(self, count: int) -> None:
        if self._progress is not None:
            with self._lock:
                self._done = min(self._done + count, self._total)
                self._progress(self._done, self._total)
