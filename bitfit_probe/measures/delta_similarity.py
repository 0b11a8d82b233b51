"""Several checkpoints of one base side by side: which moved alike, and which is the odd one out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bitfit_probe.align import Alignment, TensorPair
from bitfit_probe.checkpoint.adapters import LowRank, low_rank
from bitfit_probe.comparison.updates import cores
from bitfit_probe.measures.groups import biases, is_cancelled
from bitfit_probe.pair import Pair
from bitfit_probe.records import Comparison, TensorDelta
from bitfit_probe.records.measures import Likeness

if TYPE_CHECKING:
    import numpy.typing as npt

    Matrix = npt.NDArray[np.float64]

__all__ = ["ODD_GAP", "likeness", "moved_biases", "odd_one_out", "shared_biases"]

#: By how much the odd one's mean cosine lies below the others'. A convention, set beside a few runs on the
#: embedded sample: three seeds have mean cosines of 0.62 to 0.65 to each other and a run with other settings
#: 0.37 to them, which is odd; the farthest of four learning rates, each twice the one before, lies 0.19 below
#: the rest, which is not.
ODD_GAP = 0.2

#: A bias that all checkpoints have: its row and pair in each of them.
Shared = tuple[tuple[TensorDelta, ...], tuple[TensorPair, ...]]


def likeness(pairs: Sequence[Pair], *, gap: float | None = ODD_GAP) -> tuple[Likeness, ...]:
    """Cosines between deltas of every two tuned checkpoints, for all of them and for each role.

    Of the biases that all have, the key biases that softmax cancels left out; a bias that moved by rounding
    only counts as unmoved. Values of one bias at a time are in memory. Of LoRA adapters, ΔW instead, through
    their factors; a module that an adapter leaves alone has ΔW = 0.

    Parameters
    ----------
    pairs
        Tuned checkpoints beside the same base.
    gap
        By how much the odd one's mean cosine to the others must lie below theirs; None asks for
        none.

    Returns
    -------
    tuple of Likeness
        For all together first, then for each role in the order in which they are met.
    """
    count = len(pairs)
    adapters = all(pair.tuned.adapter is not None and pair.base.adapter is None for pair in pairs)
    products: dict[str, Matrix] = {}
    for role, product in _update_products(pairs) if adapters else _bias_products(pairs):
        products[role] = products.get(role, np.zeros((count, count))) + product
    names = tuple(pair.comparison.tuned.path for pair in pairs)
    everything = sum(products.values(), np.zeros((count, count)))
    return tuple(
        Likeness(
            names,
            role,
            cosines,
            None if gap is None else odd_one_out(cosines, gap),
            "updates" if adapters else "biases",
        )
        for role, cosines in (
            (None, _cosines(everything)),
            *((role, _cosines(product)) for role, product in products.items()),
        )
    )


def _bias_products(pairs: Sequence[Pair]) -> Iterator[tuple[str, Matrix]]:
    """Role and inner products ⟨Δᵢ, Δⱼ⟩ of each shared bias."""
    for rows, tensors in shared_biases(pairs):
        deltas = np.array([_delta(*item) for item in zip(rows, tensors, strict=True)])
        yield rows[0].info.role or "other", deltas @ deltas.T


def _update_products(pairs: Sequence[Pair]) -> Iterator[tuple[str, Matrix]]:
    """The same of each matrix that any of the adapters changes by factors."""
    sides = [dict(_updates(pair)) for pair in pairs]
    for name in dict.fromkeys(name for side in sides for name in side):
        have = [at for at, side in enumerate(sides) if name in side]
        found = cores([sides[at][name][1] for at in have])
        if found is not None:
            product = np.zeros((len(pairs), len(pairs)))
            flat = np.array([core.reshape(-1) for core in found])
            product[np.ix_(have, have)] = flat @ flat.T
            yield sides[have[0]][name][0], product


def _updates(pair: Pair) -> Iterator[tuple[str, tuple[str, LowRank]]]:
    """Role and update of each matrix, by the base's name."""
    changes = low_rank(pair.tuned.adapter) if pair.tuned.adapter is not None else {}
    for match in pair.alignment.pairs:
        if match.computed and match.tuned.name in changes:
            yield match.base.name, (match.info.role or "other", changes[match.tuned.name])


def shared_biases(pairs: Sequence[Pair]) -> Iterator[Shared]:
    """The biases outside the head that all pairs have, those that softmax cancels left out."""
    sides = [dict(_by_name(pair.alignment, pair.comparison)) for pair in pairs]
    for name in sides[0]:
        items = [side[name] for side in sides if name in side]
        if len(items) == len(sides) and len({row.shape for row, _ in items}) == 1:
            yield tuple(row for row, _ in items), tuple(pair for _, pair in items)


def moved_biases(pair: Pair) -> Iterator[tuple[tuple[str, str | None], Matrix]]:
    """The change of each bias outside the head that moved, by the base's name and the role.

    Flat, in float64, 0 where it is not finite; those that softmax cancels are left out.
    """
    for key, (row, tensors) in _by_name(pair.alignment, pair.comparison):
        if row.moved:
            yield key, _delta(row, tensors)


def _by_name(
    alignment: Alignment, comparison: Comparison
) -> Iterator[tuple[tuple[str, str | None], tuple[TensorDelta, TensorPair]]]:
    """Biases by the base's name and their role: parts of a fused tensor whatever the tuned side is."""
    wanted = {id(row) for row in biases(comparison) if not is_cancelled(comparison, row)}
    for row, pair in zip(comparison.tensors, alignment.pairs, strict=True):
        if id(row) in wanted and row.l2_delta is not None:
            yield (row.name, row.info.role), (row, pair)


def _delta(row: TensorDelta, pair: TensorPair) -> Matrix:
    if not row.moved:
        return np.zeros(row.parameters)
    with np.errstate(invalid="ignore"):
        delta = pair.tuned.values().reshape(-1) - pair.base.values().reshape(-1)
    return np.where(np.isfinite(delta), delta, 0.0)


def _cosines(products: Matrix) -> tuple[tuple[float | None, ...], ...]:
    norms = np.sqrt(np.diag(products))
    return tuple(
        tuple(
            1.0 if i == j and norms[i] else _cosine(products[i, j], norms[i], norms[j])
            for j in range(len(norms))
        )
        for i in range(len(norms))
    )


def _cosine(product: float, one: float, two: float) -> float | None:
    return float(np.clip(product / one / two, -1, 1)) if one and two else None


def odd_one_out(cosines: Sequence[Sequence[float | None]], gap: float) -> int | None:
    """Index of the one whose mean cosine to the others lies more than `gap` below theirs to each other.

    Theirs is the lowest mean cosine of one of the others to the rest of them, without the odd one.
    None with fewer than three that moved, and where nobody stands out, or more than one does.
    """
    moved = [i for i in range(len(cosines)) if cosines[i][i] is not None]
    found = [odd for odd in moved if len(moved) >= 3 and _stands_out(cosines, odd, moved, gap)]
    return found[0] if len(found) == 1 else None


def _stands_out(
    cosines: Sequence[Sequence[float | None]], odd: int, moved: Sequence[int], gap: float
) -> bool:
    others = [i for i in moved if i != odd]
    theirs = min(_mean_to(cosines, i, [j for j in others if j != i]) for i in others)
    return _mean_to(cosines, odd, others) < theirs - gap


def _mean_to(cosines: Sequence[Sequence[float | None]], one: int, others: Sequence[int]) -> float:
    return sum(cosines[one][other] or 0.0 for other in others) / len(others)
