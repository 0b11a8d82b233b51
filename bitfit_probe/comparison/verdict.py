"""What a tuned checkpoint is, from what moved: the verdict, its offenders, and the summary's counts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from math import prod
from typing import Literal

from bitfit_probe.checkpoint.storage.dtypes import BY_NAME
from bitfit_probe.frozen import Frozen
from bitfit_probe.records import Retyped, Summary, TensorDelta, Unmatched, Verdict

__all__ = ["judge", "judge_adapters", "summarise"]

#: A method that leaves tensors alone still explains a run in which a few of them moved; these are its
#: offenders. With more than this share of what should rest it is another method.
_FEW_OFFENDERS = 0.05
#: Full fine-tuning moves every matrix; one that gets no gradient (an unused table) is no objection.
_NEARLY_ALL = 0.95
#: Share of the base that is left in the tuned matrices, and their cosine: fine-tuning leaves nearly all of it
#: (the rxnfp fine-tunes: above 0.9); weights of another model have both near 0. Training that blew up lowers
#: the cosine alone, weight decay the share alone.
_UNRELATED = 0.5
#: With less than half of a model's parameters compared, nothing can be said about the model.
_ENOUGH_COMPARED = 0.5


class _Tensors(Frozen):
    """Names of the tensors outside the head by kind, and those that moved; fused ones count once."""

    all: dict[str, set[str]]
    moved: dict[str, set[str]]

    @classmethod
    def of(cls, rows: Iterable[TensorDelta]) -> _Tensors:
        groups: tuple[dict[str, set[str]], dict[str, set[str]]] = ({}, {})
        for row in rows:
            groups[0].setdefault(row.info.kind, set()).add(row.name)
            if row.moved:
                groups[1].setdefault(row.info.kind, set()).add(row.name)
        return cls(*groups)

    def count(self, *kinds: str) -> int:
        return sum(len(self.all.get(kind, ())) for kind in kinds)

    def moving(self, *kinds: str) -> set[str]:
        return set().union(*(self.moved.get(kind, ()) for kind in kinds))


def judge(
    rows: Sequence[TensorDelta],
    unmatched_base: Sequence[Unmatched],
    unmatched_tuned: Sequence[Unmatched],
    low_rank: Callable[[], bool],
) -> tuple[Verdict, tuple[str, ...]]:
    """The verdict, and the tensors that speak against it.

    Parameters
    ----------
    rows
        Every tensor of both sides.
    unmatched_base, unmatched_tuned
        What has no partner.
    low_rank
        Whether the matrices' changes are of low rank; asked only where the verdict hangs on it.
    """
    body = [row for row in rows if row.info.kind not in ("head", "buffer")]
    if not _enough(body, unmatched_base, unmatched_tuned):
        return "incomparable", ()
    tensors, encoder = _Tensors.of(body), _Tensors.of(row for row in body if not row.after_pooling)
    moved = tensors.moving("bias", "norm", "weight", "embedding")
    if not moved:
        return _unmoved(rows, unmatched_tuned), ()
    for method, kinds in (("bitfit", ("bias",)), ("bitfit+norm", ("bias", "norm"))):
        offenders = _offenders(encoder, kinds)
        if offenders is not None:
            return ("bitfit" if method == "bitfit" else "bitfit+norm"), offenders
    matrices = tensors.moving("weight")
    if matrices and moved == matrices and low_rank():
        return "merged-lora", ()
    every = len(matrices) >= _NEARLY_ALL * tensors.count("weight") > 0
    return ("full" if every else "partial"), ()


def judge_adapters(
    rows: Sequence[TensorDelta], unmatched_base: Sequence[Unmatched], unmatched_tuned: Sequence[Unmatched]
) -> Verdict:
    """The verdict on two adapters: whether the second one changes a base otherwise than the first."""
    if unmatched_base or unmatched_tuned or any(row.moved is not False for row in rows):
        return "adapter"
    return "identical" if all(row.identical for row in rows) else "rounding-only"


def _enough(
    body: Sequence[TensorDelta],
    unmatched_base: Iterable[Unmatched],
    unmatched_tuned: Iterable[Unmatched],
) -> bool:
    compared = sum(row.parameters for row in body)
    left = min(_size(unmatched_base), _size(unmatched_tuned))
    return compared > 0 and compared >= _ENOUGH_COMPARED * (compared + left)


def _size(unmatched: Iterable[Unmatched]) -> int:
    return sum(prod(item.shape) for item in unmatched if item.info.kind not in ("head", "buffer"))


def _offenders(tensors: _Tensors, trained: tuple[str, ...]) -> tuple[str, ...] | None:
    """Moved tensors outside the `trained` kinds; None where the method does not explain the run."""
    kinds = ("bias", "norm", "weight", "embedding")
    resting = tuple(kind for kind in kinds if kind not in trained)
    offenders = tensors.moving(*resting)
    if any(not tensors.moving(kind) for kind in trained):
        return None
    if not offenders:
        return ()
    mostly = len(tensors.moving("bias")) >= tensors.count("bias") / 2
    few = len(offenders) <= max(1.0, _FEW_OFFENDERS * tensors.count(*resting))
    # A single norm scale among matrices at rest is an offender; many of them are a variant with norms.
    return tuple(sorted(offenders)) if mostly and few else None


def _unmoved(rows: Sequence[TensorDelta], unmatched_tuned: Iterable[Unmatched]) -> Verdict:
    if head_state(rows, (), unmatched_tuned) in ("changed", "new"):
        return "head-only"
    # A tensor that was not checked is not known to be identical; the summary says how many there are.
    # Buffers are no parameters: a mask of another kind is no rounding.
    parameters = [row for row in rows if row.info.kind != "buffer"]
    return "identical" if all(row.identical is not False for row in parameters) else "rounding-only"


def head_state(
    rows: Iterable[TensorDelta],
    unmatched_base: Sequence[Unmatched],
    unmatched_tuned: Iterable[Unmatched],
) -> Literal["none", "same", "changed", "new", "dropped", "not-checked"]:
    """What became of the head."""
    heads = [row for row in rows if row.info.kind == "head"]
    # Rows beyond the base's are those of a longer vocabulary, not another head.
    if any(item.info.kind == "head" and item.why in ("absent", "shape") for item in unmatched_tuned):
        return "new"
    if any(row.moved for row in heads):
        return "changed"
    codes = any(item.info.kind == "head" and item.why == "codes" for item in unmatched_base)
    if codes or (heads and all(row.judged_by == "not-checked" for row in heads)):
        return "not-checked"
    if heads:
        return "same"
    dropped = any(item.info.kind == "head" and item.why in ("absent", "shape") for item in unmatched_base)
    return "dropped" if dropped else "none"


def summarise(
    rows: Sequence[TensorDelta],
    unmatched_base: Sequence[Unmatched],
    unmatched_tuned: Sequence[Unmatched],
    offenders: tuple[str, ...],
) -> Summary:
    """Count what the verdict rests on."""
    body = [row for row in rows if row.info.kind not in ("head", "buffer")]
    biases = [row for row in body if row.info.kind == "bias"]
    head = head_state(rows, unmatched_base, unmatched_tuned)
    rounded = [row for row in body if row.identical is False and not row.moved]
    casts, grids = {_coarser(row) for row in rounded}, {grid for row in rounded if (grid := _grid(row))}
    quantised = grids.pop() if len(grids) == 1 else None
    if quantised in casts:  # what stayed plain may have been cast as well
        casts = {quantised}
    judged: dict[str, set[str]] = {"compared": set(), "checksum": set(), "not-checked": set()}
    for row in rows:
        judged.setdefault(row.judged_by, set()).add(row.name)
    compared = [row for row in rows if row.judged_by in ("compared", "checksum")]
    matrices = [row for row in body if row.info.kind == "weight" and len(row.shape) > 1]
    left = _median(row.base_left for row in matrices)
    cosine = _median(1.0 if row.identical else row.cosine for row in matrices)
    return Summary(
        changed_tensors=len({row.name for row in rows if row.moved}),
        compared_tensors=len({row.name for row in compared}),
        changed_parameters=sum(row.parameters for row in rows if row.moved),
        compared_parameters=sum(row.parameters for row in compared),
        bias_parameters=sum(row.parameters for row in biases),
        changed_bias_parameters=sum(row.parameters for row in biases if row.moved),
        biases=len({row.name for row in biases}),
        changed_biases=len({row.name for row in biases if row.moved}),
        relative_l2=_pooled([row for row in body if BY_NAME[row.base_dtype].is_float]),
        head_changed=head in ("changed", "new"),
        head=head,
        offenders=offenders,
        judged_by={how: len(names) for how, names in judged.items()},
        rounded_to=casts.pop() if len(casts) == 1 else None,
        nonfinite_tensors=len({row.name for row in rows if row.nonfinite_tuned}),
        base_left=left,
        matrix_cosine=cosine,
        unrelated=left is not None and cosine is not None and max(left, cosine) < _UNRELATED,
        retyped=_retyped(rows),
        quantised=quantised,
        quantisation_loss=_pooled([row for row in rounded if _grid(row)]),
    )


def _median(values: Iterable[float | None]) -> float | None:
    known = sorted(value for value in values if value is not None)
    middle = (
        len(known) // 2
    )  # to import numpy's median, or that of the library, takes longer than a small diff
    return (known[middle] + known[~middle]) / 2 if known else None


def _retyped(rows: Iterable[TensorDelta]) -> tuple[Retyped, ...]:
    """Element types that differ, most elements first."""
    groups: dict[tuple[str, str], list[TensorDelta]] = {}
    for row in rows:
        types = row.base_dtype, row.tuned_dtype
        if types[0] != types[1] and all(map(_is_plain, types)):
            groups.setdefault(types, []).append(row)
    found = [
        Retyped(
            base,
            tuned,
            len({row.name for row in same}),
            sum(row.parameters for row in same),
            BY_NAME[tuned].itemsize / BY_NAME[base].itemsize,
        )
        for (base, tuned), same in groups.items()
    ]
    return tuple(sorted(found, key=lambda item: -item.parameters))


def _is_plain(dtype: str) -> bool:
    """Whether it is a float type of a fixed width; quantised blocks come dequantised, so have another."""
    return dtype in BY_NAME and BY_NAME[dtype].is_float and not BY_NAME[dtype].block


def _coarser(row: TensorDelta) -> str | None:
    """The type that the tuned side was cast to, where it is coarser than the base's."""
    to = row.cast_through or row.tuned_dtype
    ours, theirs = BY_NAME[row.base_dtype].roundoff, BY_NAME[to].roundoff
    return to if (theirs or 0) > (ours or 0) else None


def _grid(row: TensorDelta) -> str | None:
    """The quantised type of one side, where the other's is a plain one."""
    grids = [name for name in (row.base_dtype, row.tuned_dtype) if BY_NAME[name].block]
    return grids[0] if len(grids) == 1 else None


def _pooled(rows: Sequence[TensorDelta]) -> float | None:
    """‖Δ‖ / ‖b‖ over `rows`; None where an identical tensor's norm was not needed, and so is not known."""
    rows = [row for row in rows if row.above_rounding is not None]
    if not rows or any(row.base_l2 is None or row.l2_delta is None for row in rows):
        return None
    delta, base = (math.hypot(*(getattr(row, name) for row in rows)) for name in ("l2_delta", "base_l2"))
    return delta / base if base and math.isfinite(base + delta) else None
