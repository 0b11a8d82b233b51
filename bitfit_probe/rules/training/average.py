"""BP207."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bitfit_probe.align import TensorPair
from bitfit_probe.checkpoint import Checkpoint, open_checkpoint
from bitfit_probe.checkpoint.registry import trained
from bitfit_probe.errors import AmbiguousError, BitfitProbeError
from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.engine.rule import Rule, rule
from bitfit_probe.wording import format_number

__all__ = ["average_beside_live"]

#: An average is a shorter copy of the live change. Measured with decay .999 after 60 steps on a tiny BERT:
#: cosine .98, length .037 of the live one; after thousands of steps both are near 1.
PARALLEL = 0.8
#: Below this length the average has not caught up, and scores like the base.
LAGGING = 0.5
#: No key of any file; asking for it makes the reader name those that there are.
_NO_KEY = "\0"
_AVERAGES = ("ema", "averag", "swa", "shadow", "teacher")
#: Elements to read in all.
_MOST = 1 << 21


@rule("BP207", "average-beside-live", "warning", catalogue=(45,))
def average_beside_live(pair: Pair, this: Rule) -> Iterator[Finding]:
    """There are live weights and a moving average of them.

    What it means
    -------------
    There are two models in the file, or in the folder. A moving average (EMA) lags behind the live weights:
    after few steps it is almost the base still.

    Why it matters
    --------------
    Programs differ in which of the two they load, so the same file scores well in one and badly in another.

    How it is recognised
    --------------------
    Two state dicts in one file, or two weight files in the folder, one of them named as an average; both
    changes from the base point the same way (cosine at least 0.8). It is a warning where the average went
    less than half as far, else a note.

    What to do
    ----------
    Decide which of the two is meant, pass it with `--state-dict-key`, and save that one alone. Use a smaller
    decay for short runs.

    References
    ----------
    happyharrycn/actionformer_release#103
    """
    for key, average in _averages(pair.tuned):
        likeness = _likeness(pair, average)
        if likeness is None or likeness.cosine < PARALLEL:
            continue
        yield this.finding(
            f"There is also {key!r}, a moving average that went {format_number(100 * likeness.length)} % as "
            f"far from the base as the live weights (cosine {likeness.cosine:.2f}); programs differ in which "
            "of the two they load.",
            severity="warning" if likeness.length < LAGGING else "info",
            subjects=(key,),
            evidence=(
                Evidence("length_of_change", likeness.length, "share of the live one", about=key),
                Evidence("cosine_of_changes", likeness.cosine, about=key),
            ),
        )


def _averages(tuned: Checkpoint) -> Iterator[tuple[str, Checkpoint]]:
    """Further weights whose names say that they are averages: in the same file, or beside it."""
    if tuned.path.is_dir():
        for path in sorted(tuned.path.iterdir()):
            if path.suffix in trained().suffixes and _is_average(path.stem):
                with contextlib.suppress(BitfitProbeError):
                    yield path.name, open_checkpoint(path)
        return
    for key in filter(_is_average, _keys(tuned)):
        yield key, open_checkpoint(tuned.path, key)


def _is_average(name: str) -> bool:
    return any(word in name.lower() for word in _AVERAGES)


def _keys(tuned: Checkpoint) -> tuple[str, ...]:
    """The state dicts in a file that holds several."""
    if len(tuned.files) == 1:
        try:
            open_checkpoint(tuned.path, _NO_KEY)
        except AmbiguousError as error:
            return error.choices
        except BitfitProbeError:
            pass
    return ()


@dataclass(frozen=True)
class _Likeness:
    cosine: float
    length: float


def _likeness(pair: Pair, average: Checkpoint) -> _Likeness | None:
    """How the average's change from the base lies to the live one, over what moved."""
    moved = {row.tuned_name for row in pair.comparison.tensors if row.moved}
    product = live = other = 0.0
    read = 0
    for match in sorted(pair.alignment.pairs, key=lambda match: match.base.size):
        if match.tuned.name not in moved or not _fits(match, average) or read + match.base.size > _MOST:
            continue
        read += match.base.size
        base = match.base.values()
        one, two = match.tuned.values() - base, average.tensors[match.tuned.name].values() - base
        product += float(np.sum(one * two))
        live += float(np.sum(one * one))
        other += float(np.sum(two * two))
    if not live or not other:
        return None
    return _Likeness(product / (live * other) ** 0.5, (other / live) ** 0.5)


def _fits(match: TensorPair, average: Checkpoint) -> bool:
    there = average.tensors.get(match.tuned.name)
    return there is not None and match.part is None and there.shape == match.base.shape
