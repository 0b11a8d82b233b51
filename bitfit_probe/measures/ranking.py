"""Which biases moved, by every measure in use. It says what moved, not what matters.

The measures disagree: on one published run the order by size and the order by the BEFT score are
anticorrelated. What matters is settled by putting groups back and looking at the loss.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, get_args

from bitfit_probe.measures.groups import grouped, tensor_label
from bitfit_probe.records.measures import By, Group, Ranked, Ranking

if TYPE_CHECKING:
    from bitfit_probe.records import Comparison, TensorDelta

__all__ = ["rank"]


def rank(
    comparison: Comparison,
    by: By,
    *,
    paper: bool = False,
    fisher: Mapping[str, float] | None = None,
) -> Ranking:
    """Rank the biases of a tuned checkpoint by how far they moved.

    Figures of a group of several tensors are those of the one vector that they make when laid end to end.

    Parameters
    ----------
    comparison
        What was compared.
    by
        ``role``, ``layer``, ``role-layer`` or ``tensor``.
    paper
        As the BitFit paper shows it (Ben Zaken et al. 2022, §5): biases inside layers only, groups in the
        order of the sum of their tensors' mean|Δb|, `mean_abs_delta` their average; key biases in their
        place. Without it, tensors weigh by their size, groups that softmax cancels or that moved by
        rounding only come last.
    fisher
        Mean squared gradient per element, by the base's name of the tensor (``name[q]`` for a part).

    Returns
    -------
    Ranking
        Those that moved most first.

    Raises
    ------
    ValueError
        `by` is no grouping.

    Examples
    --------
    >>> import bitfit_probe as bp
    >>> from bitfit_probe import sample
    >>> comparison = bp.diff(sample.base_path(), sample.tuned_path()).comparisons[0]
    >>> [row.group.label for row in rank(comparison, "role", paper=True).rows]
    ['q', 'm2', 'm3', 'm1', 'LN1', 'v', 'LN2', 'k']
    """
    if by not in get_args(By):
        raise ValueError(f"by must be one of {', '.join(get_args(By))}, not {by!r}")
    members = grouped(comparison, by, paper=paper)
    measured = [(_ranked(group, rows, fisher or {}, paper=paper), rows) for group, rows in members]
    measured.sort(key=_paper_order if paper else _order)
    rows = [row for row, _ in measured]
    floors = [_floor(members) for _, members in measured]
    tied = [_tied(*pair) for pair in pairwise(zip(rows, floors, strict=True))]
    marked = tuple(replace(row, tied=tie) for row, tie in zip(rows, [*tied, False], strict=False))
    return Ranking(by, marked, paper)


def _order(item: tuple[Ranked, Sequence[TensorDelta]]) -> tuple[bool, bool, float]:
    row, _ = item
    return row.group.no_effect, row.noise_floor, -_number(row.mean_abs_delta)


def _paper_order(item: tuple[Ranked, Sequence[TensorDelta]]) -> float:
    return -math.fsum(row.mean_abs_delta or 0.0 for row in item[1])


def _number(value: float | None) -> float:
    return -1.0 if value is None else value


def _ranked(group: Group, rows: Sequence[TensorDelta], fisher: Mapping[str, float], *, paper: bool) -> Ranked:
    known = [row for row in rows if row.l1_delta is not None]
    counts = [_counted(row) for row in known]
    sums = _weighted(known, counts, lambda row: row.mean_abs_delta)
    each = [row.mean_abs_delta for row in known if row.mean_abs_delta is not None]
    average = math.fsum(each) / len(each) if each else None
    relative, beft, cosine = _against_base(known)
    above = _weighted(known, [row.parameters for row in known], lambda row: row.above_rounding)
    return Ranked(
        group,
        mean_abs_delta=average if paper else sums,
        relative_l2=relative,
        beft=beft,
        cosine=cosine,
        mean_shift=_weighted(known, counts, lambda row: row.mean_shift),
        above_rounding=above,
        fisher=_fisher(rows, fisher),
        noise_floor=above == 0,
    )


def _counted(row: TensorDelta) -> int:
    """Number of elements that the sums of `row` ran over: those that are finite on both sides."""
    if row.mean_abs_delta and row.l1_delta:
        return round(row.l1_delta / row.mean_abs_delta)
    return row.parameters


def _weighted(
    rows: Iterable[TensorDelta], weights: Iterable[int], figure: Callable[[TensorDelta], float | None]
) -> float | None:
    """Mean of a per-element figure over several tensors."""
    pairs = [(figure(row), weight) for row, weight in zip(rows, weights, strict=True)]
    known = [(value, weight) for value, weight in pairs if value is not None]
    total = sum(weight for _, weight in known)
    return math.fsum(value * weight for value, weight in known) / total if total else None


def _against_base(rows: Sequence[TensorDelta]) -> tuple[float | None, float | None, float | None]:
    """Relative change, BEFT score and cosine of the tensors of `rows`, laid end to end.

    None where a norm was not computed. Sums are in units of the largest norm, so that no square leaves
    float64's range.
    """
    norms = [(row.base_l2, row.tuned_l2, row.l2_delta, row.cosine or 0.0) for row in rows]
    known = [(b, t, d, c) for b, t, d, c in norms if b is not None and t is not None and d is not None]
    if not known or len(known) < len(norms):
        return None, None, None
    unit = max(max(b, t, d) for b, t, d, _ in known) or 1.0
    base, tuned, delta = (math.hypot(*(item[side] / unit for item in known)) for side in range(3))
    scale = max(base, tuned)
    if not scale:
        return 0.0, 0.0, None
    # scale² − ⟨b, t⟩ by ‖Δ‖² = ‖b‖² + ‖t‖² − 2⟨b, t⟩, which stays right where a tensor has moved little.
    beft = (abs(tuned - base) * (tuned + base) + delta**2) / 2 / scale**2
    product = math.fsum(cosine * (b / unit) * (t / unit) for b, t, _, cosine in known)
    cosine = max(-1.0, min(1.0, product / base / tuned)) if base and tuned else None
    return delta / scale, beft, 1.0 if cosine is not None and not delta else cosine


def _fisher(rows: Sequence[TensorDelta], fisher: Mapping[str, float]) -> float | None:
    """Mean squared gradient over the elements of `rows`; None where one of them is unknown."""
    known = [row for row in rows if tensor_label(row) in fisher]
    if len(known) < len(rows):
        return None
    return _weighted(rows, [row.parameters for row in rows], lambda row: fisher[tensor_label(row)])


def _floor(rows: Sequence[TensorDelta]) -> float:
    """The most that rounding can add to the group's mean|Δ|: mean|x| ≤ ‖x‖₂ / √n."""
    size = sum(row.parameters for row in rows)
    return math.hypot(*(row.rounding_floor or 0.0 for row in rows)) / math.sqrt(size) if size else 0.0


def _tied(one: tuple[Ranked, float], two: tuple[Ranked, float]) -> bool:
    (upper, floor), (lower, other) = one, two
    if upper.mean_abs_delta is None or lower.mean_abs_delta is None:
        return False
    if upper.group.no_effect != lower.group.no_effect or upper.noise_floor != lower.noise_floor:
        return False
    return abs(upper.mean_abs_delta - lower.mean_abs_delta) <= floor + other
