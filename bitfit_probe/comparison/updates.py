"""Updates of LoRA adapters by their factors alone: Δ = s·B·A is never formed.

With B = Q·R and Aᵀ = P·S, Δ = Q·(s·R·Sᵀ)·Pᵀ: the core s·R·Sᵀ has the norms, inner products and singular
values of Δ. Factors of several adapters beside each other share Q and P, so that their cores can be
subtracted without the cancellation that a difference of norms suffers (Golub & Van Loan 2013, §5.4).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from bitfit_probe.align import TensorPair
from bitfit_probe.architectures import recognise
from bitfit_probe.checkpoint import Checkpoint
from bitfit_probe.checkpoint.adapters import LowRank, factors, low_rank
from bitfit_probe.records import TensorDelta
from bitfit_probe.records.updates import Update, UpdateDelta, UpdateState

if TYPE_CHECKING:
    import numpy.typing as npt

    Float64: TypeAlias = npt.NDArray[np.float64]

__all__ = ["cores", "effective_rank", "update_delta", "update_row", "updates"]

#: Rounding B and A to their type moves Δ by about u·s·‖B‖·‖A‖·√(2/3r), the errors of their elements being
#: independent and uniform. What stays below this often the sum of both sides' is taken for rounding.
_ROUNDINGS = 3.0


def updates(checkpoint: Checkpoint) -> tuple[Update, ...]:
    """What an adapter's factors add to each matrix, from its own files.

    Parameters
    ----------
    checkpoint
        An open adapter; without low-rank factors there are none.

    Returns
    -------
    tuple of Update
        In the file's order. Figures of factors that are not finite are None.
    """
    changes = low_rank(checkpoint.adapter) if checkpoint.adapter is not None else {}
    architecture = recognise(changes, checkpoint.config)
    return tuple(_update(change, architecture.info(name, 2)) for name, change in changes.items())


def _update(change: LowRank, info: Any) -> Update:
    core = cores([change])
    values = None if core is None else _singular_values(core[0])
    norm = None if values is None else _norm(values)
    return Update(
        name=change.name,
        info=info,
        shape=change.shape,
        rank=change.rank,
        scale=change.scale,
        norm=norm,
        spectral_norm=None if values is None else float(values[0]),
        effective_rank=None if values is None else effective_rank(values),
        b_is_zero=not np.any(factors(change)[1]),
        at_rest=None if norm is None else norm == 0,
        has_magnitudes=change.magnitude is not None,
    )


def cores(changes: Sequence[LowRank]) -> list[Float64] | None:
    """Each s·B·A in coordinates that all of them share.

    Parameters
    ----------
    changes
        Updates of one matrix, shapes (out, in).

    Returns
    -------
    list of ndarray or None
        One a change, each of shape (at most Σr, at most Σr), with ⟨Δᵢ, Δⱼ⟩ = ⟨coreᵢ, coreⱼ⟩ (Frobenius); None
        where a factor holds NaN or infinite values.
    """
    both = [factors(change) for change in changes]
    if not all(np.isfinite(factor).all() for pair in both for factor in pair):
        return None
    left, right = (_triangle(np.hstack(each)) for each in zip(*((b, a.T) for a, b in both), strict=True))
    ends = np.cumsum([change.rank for change in changes])
    return [
        change.scale * (left[:, end - change.rank : end] @ right[:, end - change.rank : end].T)
        for change, end in zip(changes, ends, strict=True)
    ]


def effective_rank(values: Sequence[float] | Float64) -> float:
    """exp(−Σ p ln p) with p = σ/Σσ (Roy & Vetterli 2007, EUSIPCO); 0 where nothing moved.

    >>> round(effective_rank([2.0, 2.0, 2.0]), 12), effective_rank([1.0, 0.0])
    (3.0, 1.0)
    """
    sigma = np.asarray(values, np.float64)
    share = sigma[sigma > 0] / sigma.sum() if sigma.any() else sigma[:0]
    return float(np.exp(-np.sum(share * np.log(share)))) if share.size else 0.0


def update_delta(pair: TensorPair) -> UpdateDelta:
    """How far one adapter's update of a matrix is from another's; `pair.update` holds both."""
    assert pair.update is not None
    base, tuned = pair.update
    found = cores(pair.update)
    figures = {} if found is None else _figures(*found)
    state: UpdateState = "moved"
    if _same_factors(base, tuned):
        state, delta = "same", {"delta_norm": 0.0, "relative": 0.0, "delta_rank": 0.0}
        figures |= delta if found is not None else {}
    elif found is not None and figures["delta_norm"] <= _ROUNDINGS * math.hypot(*map(_rounding, pair.update)):
        state, figures["delta_rank"] = "same-product", None  # that of rounding says nothing
    return UpdateDelta(base.name, pair.info, base.shape, (base.rank, tuned.rank), state, **figures)


def _figures(base: Float64, tuned: Float64) -> dict[str, Any]:
    ours, theirs = (_singular_values(core) for core in (base, tuned))
    moved = _singular_values(tuned - base)
    before, after, delta = map(_norm, (ours, theirs, moved))
    product = float(np.vdot(base, tuned))
    return {
        "base_norm": before,
        "tuned_norm": after,
        "delta_norm": delta,
        "relative": delta / before if before else None,
        "cosine": min(1.0, max(-1.0, product / before / after)) if before and after else None,
        "effective_ranks": (effective_rank(ours), effective_rank(theirs)),
        "delta_rank": effective_rank(moved),
    }


def update_row(pair: TensorPair, found: UpdateDelta) -> TensorDelta:
    """The same as a row among other tensors, of ΔW; a figure that takes its elements one by one is None."""
    assert pair.update is not None
    base, tuned = pair.update
    scale = max(found.base_norm or 0.0, found.tuned_norm or 0.0)
    relative = None if found.delta_norm is None else found.delta_norm / scale if scale else 0.0
    return TensorDelta(
        name=base.name,
        tuned_name=tuned.name,
        part=None,
        info=pair.info,
        shape=base.shape,
        base_dtype=base.b.dtype.name,
        tuned_dtype=tuned.b.dtype.name,
        identical=found.state == "same",
        judged_by="compared",
        l2_delta=found.delta_norm,
        relative_l2=relative,
        cosine=found.cosine,
        nonfinite_base=_nonfinite(base),
        nonfinite_tuned=_nonfinite(tuned),
        above_rounding=float(found.state == "moved"),
        base_l2=found.base_norm,
        tuned_l2=found.tuned_norm,
    )


def _same_factors(base: LowRank, tuned: LowRank) -> bool:
    both = zip(factors(base), factors(tuned), strict=True)
    return base.scale == tuned.scale and all(np.array_equal(a, b, equal_nan=True) for a, b in both)


def _rounding(change: LowRank) -> float:
    """About what rounding the factors to their type moves s·B·A by."""
    a, b = factors(change)
    unit = max(change.a.dtype.roundoff or 0.0, change.b.dtype.roundoff or 0.0)
    return unit * abs(change.scale) * _norm(a) * _norm(b) * math.sqrt(2 / (3 * change.rank))


def _triangle(columns: Float64) -> Float64:
    return np.asarray(np.linalg.qr(columns, mode="r"), np.float64)


def _singular_values(core: Float64) -> Float64:
    return np.asarray(np.linalg.svd(core, compute_uv=False), np.float64)


def _norm(values: Float64) -> float:
    return float(np.linalg.norm(values))


def _nonfinite(change: LowRank) -> int:
    return sum(int(np.size(factor) - np.isfinite(factor).sum()) for factor in factors(change))
