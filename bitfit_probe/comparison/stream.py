"""All pairs of an alignment through the kernel: bytes first, figures only where bytes differ.

BitFit leaves 99.9 % of the bytes as they were, so comparing is the job. Pairs are cut into ranges that one
or two processes work off.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from bitfit_probe.align import TensorPair
from bitfit_probe.checkpoint.storage.computed import packed_parts, packing_of
from bitfit_probe.checkpoint.storage.dtypes import DType
from bitfit_probe.checkpoint.storage.tensor import Tensor, expect
from bitfit_probe.comparison.careful import careful_statistics, needs_care
from bitfit_probe.comparison.kernel import (
    Span,
    Sums,
    Workspace,
    add_statistics,
    cast_through,
    resting_statistics,
    same_bytes,
)
from bitfit_probe.comparison.narrow import narrow_statistics, suits
from bitfit_probe.comparison.workers import run_all
from bitfit_probe.records import JudgedBy

__all__ = ["Measured", "Progress", "measure"]

#: Called with the bytes done and the bytes to do.
Progress = Callable[[int, int], None]

#: Elements a range: short enough to share the work evenly.
_RANGE = 1 << 22
#: Tensors up to this size always get their figures: it costs nothing, and biases are among them.
_SMALL = 1 << 16
#: Elements from which on a second process is worth its start.
_WORTH_A_PROCESS = 1 << 24


@dataclass
class Measured:
    """What is known of a pair after the pass."""

    pair: TensorPair
    judged_by: JudgedBy = "compared"
    identical: bool | None = None
    sums: Sums | None = None
    cast: DType | None = None


def measure(
    pairs: Sequence[TensorPair],
    *,
    only: Callable[[TensorPair], bool] | None = None,
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
        Told about the bytes done, now and then.

    Returns
    -------
    list of Measured
        One a pair, in order.
    """
    out = [Measured(pair) for pair in pairs]
    todo = []
    for item in out:
        if not item.pair.in_file:
            item.judged_by, item.identical = "not-in-file", True
        elif only is not None and not only(item.pair):
            item.judged_by = "not-checked"
        elif trust_checksums and _checksums_agree(item.pair):
            item.judged_by, item.identical = "checksum", True
        else:
            todo.append(item)
    expect(
        stored
        for item in todo
        for tensor in (item.pair.base, item.pair.tuned)
        for stored in packed_parts(tensor) or (tensor,)
    )
    # Infinite and signalling values are noticed by what they sum to, without a word from numpy.
    with _one_blas_thread(), np.errstate(over="ignore", invalid="ignore"):
        _run(todo, progress)
    return out


def _run(todo: list[Measured], progress: Progress | None) -> None:
    worker = _Worker(sum(item.pair.base.nbytes + item.pair.tuned.nbytes for item in todo), progress)
    packed = _same_codes(todo, worker)
    same_type = [item for item in todo if _same_type(item.pair) and id(item) not in packed]
    worker.compare(list(_ranges(same_type)))
    for item in todo:
        item.identical = _same_type(item.pair) and item.identical is not False
    differing = [item for item in todo if _needs_figures(item)]
    worker.find_casts(item for item in differing if not item.identical)
    _spread_cast(differing)
    worker.sum_up(list(_ranges(item for item in differing if item.sums is None)))


def _same_codes(todo: Sequence[Measured], worker: _Worker) -> set[int]:
    """Ids of items whose sides are packed alike and have the same bytes, which then need not be unpacked."""
    parts = {
        id(item): [Measured(TensorPair(*both, item.pair.info)) for both in _packed_alike(item.pair)]
        for item in todo
        if packed_parts(item.pair.base)
    }
    worker.compare(list(_ranges(part for each in parts.values() for part in each)))
    return {
        number for number, each in parts.items() if each and all(part.identical is not False for part in each)
    }


def _packed_alike(pair: TensorPair) -> list[tuple[Tensor, Tensor]]:
    """What both sides are unpacked from, where equal bytes of it are equal values; else nothing."""
    base, tuned = pair.base, pair.tuned
    ours, theirs = (
        (
            side.shape,
            side.strides,
            side.offset,
            packing_of(side),
            [(part.dtype.name, part.shape) for part in packed_parts(side)],
        )
        for side in (base, tuned)
    )
    return list(zip(packed_parts(base), packed_parts(tuned), strict=True)) if ours == theirs else []


@contextmanager
def _one_blas_thread() -> Iterator[None]:
    """Keep BLAS from starting threads of its own, which would fight with ours over every block."""
    if os.environ.get("OPENBLAS_NUM_THREADS") == os.environ.get("MKL_NUM_THREADS") == "1":
        yield  # as the command line sets it before numpy is loaded
        return
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        yield


def _same_type(pair: TensorPair) -> bool:
    return pair.base.dtype.name == pair.tuned.dtype.name


def _checksums_agree(pair: TensorPair) -> bool:
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


class _Worker:
    """Works off ranges, in two processes where there is much to do."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._work = Workspace()
        self._total, self._done, self._progress = total, 0, progress

    def compare(self, ranges: Sequence[Range]) -> None:
        """Note which pairs differ."""
        for (item, _, _), (same, *sums) in zip(ranges, self._each(ranges, self._compare), strict=True):
            if not same:
                item.identical = False
            elif sums:
                item.sums = Sums.of(sums)

    def find_casts(self, items: Iterable[Measured]) -> None:
        """Note the types that tuned sides went through."""
        for item in items:
            item.cast = cast_through(item.pair.base, item.pair.tuned, self._work)

    def sum_up(self, ranges: Sequence[Range]) -> None:
        """Add up the sums of each pair's ranges."""
        for (item, _, _), numbers in zip(ranges, self._each(ranges, self._sum_up), strict=True):
            if item.sums is None:
                item.sums = Sums.of(numbers)
            else:
                item.sums.add(Sums.of(numbers))

    def _each(self, ranges: Sequence[Range], task: Callable[[Range], list[float]]) -> list[list[float]]:
        return run_all(ranges, task, lambda part: part[2] - part[1], enough=_WORTH_A_PROCESS)

    def _compare(self, part: Range) -> list[float]:
        item, start, stop = part
        base, tuned = item.pair.base, item.pair.tuned
        if item.identical is False:  # another range has shown it
            return [False]
        same = same_bytes(base, tuned, start, stop, self._work)
        if not same:
            item.identical = False
            return [False]
        self._report((stop - start) * base.dtype.itemsize * 2)
        # What is small gets its figures anyway, and has just been read.
        sums = resting_statistics(base, self._work) if stop - start == base.size else None
        return [True, *sums.numbers()] if sums else [True]

    def _sum_up(self, part: Range) -> list[float]:
        item, start, stop = part
        base, tuned = item.pair.base, item.pair.tuned
        span, sums = Span(base, tuned, start, stop, item.cast, item.pair.computed), None
        if item.cast is None and suits(base, tuned):
            sums = narrow_statistics(base, tuned, start, stop, self._work)
        if needs_care(base, tuned):
            sums = careful_statistics(span, self._work)
        if sums is None:
            sums = Sums()
            add_statistics(sums, span, self._work)
        if not item.identical:
            self._report((stop - start) * (base.dtype.itemsize + tuned.dtype.itemsize))
        return sums.numbers()

    def _report(self, count: int) -> None:
        if self._progress is not None:
            self._done = min(self._done + count, self._total)
            self._progress(self._done, self._total)
