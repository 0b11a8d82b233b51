"""The diff: from aligned pairs to figures and a verdict, one block of two tensors in memory at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bitfit_probe.align import Alignment, TensorPair, align
from bitfit_probe.checkpoint import Checkpoint
from bitfit_probe.comparison.adapter import facts
from bitfit_probe.comparison.coverage import coverage
from bitfit_probe.comparison.lowrank import is_low_rank
from bitfit_probe.comparison.model_parts import model_parts, without_gradient
from bitfit_probe.comparison.stream import Measured, Progress, measure
from bitfit_probe.comparison.updates import update_delta, update_row
from bitfit_probe.comparison.verdict import judge, judge_adapters, summarise
from bitfit_probe.errors import shown
from bitfit_probe.records import CheckpointInfo, Comparison, RoleDelta, TensorDelta, UpdateDelta, Verdict

__all__ = ["Progress", "compare", "side"]

#: Matrices that are tried for a merged LoRA: where these are of low rank, all are.
_RANK_SAMPLES = 3


def compare(
    base: Checkpoint,
    tuned: Checkpoint,
    *,
    biases_only: bool = False,
    trust_checksums: bool = False,
    progress: Progress | None = None,
) -> tuple[Comparison, Alignment]:
    """Lay a tuned checkpoint beside its base and say what moved.

    Parameters
    ----------
    base, tuned
        Open checkpoints.
    biases_only
        Read biases outside the head only; everything else counts as not checked.
    trust_checksums
        Take equal CRC-32 of two zip archives for equal bytes.
    progress
        Told about bytes done and to do.

    Raises
    ------
    AlignmentError
        The two can't be laid side by side.
    ChangedError
        A file changed meanwhile.
    """
    alignment = align(base, tuned)
    measured, rows, updates = _rows(alignment, biases_only, trust_checksums, progress)
    leftovers = alignment.unmatched_base, alignment.unmatched_tuned
    still = without_gradient(alignment, rows)

    def low_rank(some: Sequence[TensorDelta]) -> bool:
        return _low_rank(measured, rows, {row.name for row in some})

    adapter = tuned.adapter
    verdict: Verdict = "adapter"
    offenders: tuple[str, ...] = ()
    if base.adapter:
        verdict = judge_adapters(rows, *leftovers)
    elif not adapter:
        live = tuple(row for row in rows if row.name not in still)
        verdict, offenders = judge(live, *leftovers, lambda: low_rank(live))
    summary = summarise(rows, *leftovers, offenders)
    if adapter and not base.adapter:  # its rows are computed in a type that no file has
        summary = replace(summary, retyped=())
    for checkpoint in (base, tuned):
        checkpoint.check_unchanged()
    return (
        Comparison(
            tuned=side(tuned, alignment, tuned_side=True),
            verdict=verdict,
            summary=summary,
            tensors=rows,
            roles=_roles(rows),
            unmatched_base=alignment.unmatched_base,
            unmatched_tuned=alignment.unmatched_tuned,
            coverage=coverage(base, tuned, alignment, rows),
            notes=alignment.notes,
            key_bias_cancels=alignment.architecture.key_bias_cancels,
            adapter=facts(adapter) if adapter else None,
            base_adapter=facts(base.adapter) if base.adapter else None,
            updates=updates,
            model_parts=model_parts(alignment, rows, still, None if adapter or base.adapter else low_rank),
        ),
        alignment,
    )


def _rows(
    alignment: Alignment, biases_only: bool, trust_checksums: bool, progress: Progress | None
) -> tuple[Sequence[Measured], tuple[TensorDelta, ...], tuple[UpdateDelta, ...]]:
    """What was measured of each pair, its row, and the updates of two adapters."""
    updates = {id(pair): update_delta(pair) for pair in alignment.pairs if pair.update and not biases_only}

    def only(pair: TensorPair) -> bool:
        return pair.update is None and (pair.info.kind == "bias" or not biases_only)

    measured = measure(alignment.pairs, only=only, trust_checksums=trust_checksums, progress=progress)
    rows = tuple(
        update_row(item.pair, updates[id(item.pair)]) if id(item.pair) in updates else _row(item)
        for item in measured
    )
    return measured, rows, tuple(updates.values())


def side(checkpoint: Checkpoint, alignment: Alignment, *, tuned_side: bool) -> CheckpointInfo:
    """One checkpoint in figures."""
    unmatched = alignment.unmatched_tuned if tuned_side else alignment.unmatched_base
    infos = {(pair.tuned if tuned_side else pair.base).name: pair.info for pair in alignment.pairs} | {
        item.name: item.info for item in unmatched
    }
    notes = checkpoint.notes
    if checkpoint.unread:
        notes = (*notes, f"also holds {', '.join(checkpoint.unread)}: not read")
    return CheckpointInfo(
        path=shown(checkpoint.path),
        format=checkpoint.format,
        tensors=len(checkpoint.tensors),
        parameters=checkpoint.parameters,
        biases=sum(info.kind == "bias" for info in infos.values()),
        notes=notes,
        unread=checkpoint.unread,
    )


def _low_rank(measured: Sequence[Measured], rows: Sequence[TensorDelta], names: set[str]) -> bool:
    """Whether the matrices among `names` that moved did so by changes of low rank; a few are looked at."""
    moved = [
        item.pair
        for item, row in zip(measured, rows, strict=True)
        if row.moved and row.info.kind == "weight" and len(row.shape) >= 2 and row.l2_delta is not None
        if row.name in names
    ]
    picks: list[TensorPair] = moved[:: max(len(moved) // _RANK_SAMPLES, 1)][:_RANK_SAMPLES]
    return bool(picks) and all(is_low_rank(pair) for pair in picks)


def _row(item: Measured) -> TensorDelta:
    pair = item.pair
    return TensorDelta(
        name=pair.base.name,
        tuned_name=pair.tuned.name,
        part=pair.part,
        info=pair.info,
        shape=pair.base.shape,
        base_dtype=pair.base.dtype.name,
        tuned_dtype=pair.tuned.dtype.name,
        identical=item.identical,
        judged_by=item.judged_by,
        cast_through=item.cast.name if item.cast else None,
        **_figures(item),
    )


def _figures(item: Measured) -> dict[str, Any]:
    sums = item.sums
    if sums is None:
        return dict(_AT_REST) if item.identical else {}
    size = item.pair.base.size
    base, tuned = math.sqrt(sums.base_square), math.sqrt(sums.tuned_square)
    delta = math.sqrt(sums.delta_square)
    tuned_dtype = item.cast or item.pair.tuned.dtype
    types = (tuned_dtype,) if item.pair.computed else (item.pair.base.dtype, tuned_dtype)
    # Not of one type: bfloat16 has the coarser digits, float16 the coarser steps near zero.
    roundoff, step = max(t.roundoff or 0 for t in types), max(t.subnormal for t in types)
    finite, delta_up = sums.count, sums.delta_exponent
    scale, up = _larger((base, sums.base_exponent), (tuned, sums.tuned_exponent))
    base_l2 = _unscaled(base, sums.base_exponent)
    return {
        "mean_abs_delta": _unscaled(sums.delta_abs / finite, delta_up) if finite else None,
        "l1_delta": _unscaled(sums.delta_abs, delta_up),
        "l2_delta": _unscaled(delta, delta_up),
        "max_abs_delta": _unscaled(sums.delta_max, delta_up),
        "relative_l2": (_unscaled(delta / scale, delta_up - up) if scale else 0.0) if finite else None,
        "mean_shift": _unscaled(sums.delta / finite, delta_up) if finite else None,
        "cosine": _cosine(sums.product, base, tuned, same=delta == 0),
        "changed_fraction": sums.changed / size if size else None,
        "sign_flips": sums.sign_flips,
        "nonfinite_base": sums.nonfinite_base,
        "nonfinite_tuned": sums.nonfinite_tuned,
        "rounding_floor": None if base_l2 is None else roundoff * base_l2 + math.sqrt(size) * step / 2,
        "above_rounding": sums.above_rounding / size if size else None,
        "base_l2": base_l2,
        "tuned_l2": _unscaled(tuned, sums.tuned_exponent),
    }


def _larger(*scaled: tuple[float, int]) -> tuple[float, int]:
    """The largest of numbers value · 2^exponent, values being 0 or within float64's range for squares."""
    return max(
        scaled, key=lambda item: (bool(item[0]), math.frexp(item[0])[1] + item[1], math.frexp(item[0]))
    )


def _unscaled(value: float, exponent: int) -> float | None:
    """What `value` · 2^exponent is; None where float64 does not reach so far."""
    try:
        return math.ldexp(value, exponent)
    except OverflowError:
        return None


#: Figures of a tensor whose bytes are equal; norms, cosine and NaN counts would need a scan of it.
_AT_REST = {
    "mean_abs_delta": 0.0,
    "l1_delta": 0.0,
    "l2_delta": 0.0,
    "max_abs_delta": 0.0,
    "relative_l2": 0.0,
    "mean_shift": 0.0,
    "changed_fraction": 0.0,
    "sign_flips": 0,
    "above_rounding": 0.0,
}


def _cosine(product: float, base: float, tuned: float, *, same: bool) -> float | None:
    if not base or not tuned:
        return None
    return 1.0 if same else max(-1.0, min(1.0, product / base / tuned))


def _roles(rows: Sequence[TensorDelta]) -> tuple[RoleDelta, ...]:
    """The biases outside the head, by stack, role and layer, in the order in which they are met."""
    groups: dict[tuple[str | None, str, int | None], list[TensorDelta]] = {}
    for row in rows:
        if row.info.kind == "bias":
            key = (row.info.stack, row.info.role or "other", row.info.layer)
            groups.setdefault(key, []).append(row)
    return tuple(_role(*key, group) for key, group in groups.items())


def _role(stack: str | None, role: str, layer: int | None, rows: Sequence[TensorDelta]) -> RoleDelta:
    known = [row for row in rows if row.l1_delta is not None]
    size = sum(row.parameters for row in known)
    scale = math.hypot(*(max(row.base_l2 or 0.0, row.tuned_l2 or 0.0) for row in known)) if known else 0
    delta = math.hypot(*(row.l2_delta or 0.0 for row in known)) if known else 0
    return RoleDelta(
        role=role,
        stack=stack,
        layer=layer,
        tensors=len(rows),
        moved=sum(bool(row.moved) for row in rows),
        mean_abs_delta=sum(row.l1_delta or 0.0 for row in known) / size if size else None,
        max_abs_delta=max((row.max_abs_delta or 0.0 for row in known), default=None),
        relative_l2=(delta / scale if scale else 0.0) if known else None,
    )
