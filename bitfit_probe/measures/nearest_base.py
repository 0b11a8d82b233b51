"""How far a checkpoint is from a base, from a few rows of a few matrices."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from bitfit_probe.align import TensorPair
from bitfit_probe.records.identification import Candidate, Standing

__all__ = ["CLEAR", "NEARLY_ALL", "RELATED", "candidate", "nearer", "standing"]

#: Median cosine below which a base is none: real fine-tunes keep 0.97 and more, two models have one near 0.
RELATED = 0.5
#: How many times further away the second must be; or in what share of the matrices further, however little: a
#: fine-tune that went far is about as far from its base as from another fine-tune of that (0.215 and 0.216 in
#: a real trio), but further from the latter in nearly all of them. Copies of one base are not apart at all.
CLEAR, NEARLY_ALL, LEAST = 1.25, 0.9, 10
#: Matrices, and elements of each (in rows), that are read: 48 of them bound what a model of any size takes.
_MATRICES, _ELEMENTS = 48, 1 << 17


class _Sample(NamedTuple):
    distance: float
    cosine: float
    equal: int
    size: int


def candidate(path: str, pairs: Sequence[TensorPair], seed: int) -> tuple[Candidate, Mapping[str, float]]:
    """One base, by pairs of its matrices and the checkpoint's; and the distance of each that was sampled.

    Parameters
    ----------
    path
        The base's.
    pairs
        All that were laid side by side.
    seed
        Which matrices and rows: the same ones of the checkpoint for each base that has them.
    """
    matrices = [pair for pair in pairs if _is_own_matrix(pair)]
    matrices.sort(key=lambda pair: random.Random(f"{seed} {pair.tuned.name}").random())
    both = ((pair, _sampled(pair, seed)) for pair in matrices[:_MATRICES])
    samples = {f"{pair.tuned.name} {pair.part}": sample for pair, sample in both if sample is not None}
    if not samples:
        why = "no matrix that the checkpoint holds has a partner of its shape in it"
        return Candidate(path, why=why, is_other=not any(pair.in_file for pair in pairs) or not matrices), {}
    size = sum(sample.size for sample in samples.values())
    found = Candidate(
        path,
        tensors=len(samples),
        elements=size,
        distance=statistics.median(sample.distance for sample in samples.values()),
        cosine=statistics.median(sample.cosine for sample in samples.values()),
        equal=sum(sample.equal for sample in samples.values()) / size,
    )
    return found, {name: sample.distance for name, sample in samples.items()}


def _is_own_matrix(pair: TensorPair) -> bool:
    """Whether both files hold the values of a matrix."""
    own = pair.in_file and not pair.computed and pair.update is None
    readable = pair.base.dtype.decodable and pair.tuned.dtype.decodable
    return own and readable and len(pair.tuned.shape) > 1 and pair.info.kind in ("weight", "embedding")


def _sampled(pair: TensorPair, seed: int) -> _Sample | None:
    start, stop = _window(pair, seed)
    base, tuned = pair.base.block(start, stop), pair.tuned.block(start, stop)
    with np.errstate(all="ignore"):
        norms = float(np.linalg.norm(base)), float(np.linalg.norm(tuned))
        gap, product = float(np.linalg.norm(tuned - base)), float(np.dot(base, tuned))
    if not min(norms) > 0 or not all(map(math.isfinite, (*norms, gap, product))):
        return None
    equal = int(np.count_nonzero(base == tuned))
    return _Sample(gap / max(norms), product / norms[0] / norms[1], equal, stop - start)


def _window(pair: TensorPair, seed: int) -> tuple[int, int]:
    """Whole rows somewhere in the matrix, of which the checkpoint's name and the seed decide."""
    rows = pair.tuned.shape[0]
    width = max(pair.tuned.size // max(rows, 1), 1)
    count = min(max(_ELEMENTS // width, 1), rows)
    first = random.Random(f"{pair.tuned.name} {seed}").randint(0, rows - count) if rows else 0
    return first * width, min((first + count) * width, first * width + max(_ELEMENTS, width))


def nearer(first: Mapping[str, float], second: Mapping[str, float]) -> float | None:
    """Share of the matrices that both have in which the first is nearer; None for a handful of them."""
    common = first.keys() & second.keys()
    return sum(first[name] < second[name] for name in common) / len(common) if len(common) >= LEAST else None


def standing(found: Sequence[Candidate], share: float | None) -> tuple[Standing, float | None]:
    """Whether the first of `found`, the nearest, is the base; and how many times further the second is."""
    distances = [item.distance for item in found if item.distance is not None]
    if not distances:
        return ("none" if all(item.is_other for item in found) else "untold"), None
    margin = None
    if len(distances) > 1:
        margin = distances[1] / distances[0] if distances[0] else math.inf if distances[1] else 1.0
    if (found[0].cosine or 0.0) < RELATED:
        return "none", margin
    is_clear = margin is None or margin >= CLEAR or (share is not None and share >= NEARLY_ALL)
    return ("told" if is_clear else "tied"), margin
