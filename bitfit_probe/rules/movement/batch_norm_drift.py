"""BP304."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding, TensorDelta
from bitfit_probe.rules.engine.rule import Rule, rule
from bitfit_probe.wording import format_number, join_names, plural

if TYPE_CHECKING:
    import numpy.typing as npt

    Float64: TypeAlias = npt.NDArray[np.float64]

__all__ = ["batch_norm_drift"]

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
#: What a batch norm has before its first batch.
_INITIAL = {"running_mean": 0.0, "running_var": 1.0}
#: Times the base's variance, in the geometric mean of the channels. Other images and training change it by
#: a few times; pixels of 0 … 255 in place of ImageNet's normalised ones by (255 · 0.226)² = 3,300.
_OTHER_SCALE = 100.0


@rule("BP304", "batch-norm-drift", "warning", catalogue=(13,))
def batch_norm_drift(pair: Pair, this: Rule) -> Iterator[Finding]:
    """A batch norm's running statistics moved though it is frozen, were reset, or are of another scale.

    What it means
    -------------
    `requires_grad = False` stops gradients, not the statistics: in training mode a batch norm averages its
    inputs on, whether it is frozen or not. Buffers that were not saved or not loaded are as before the first
    batch; a pass over inputs that were not normalised overwrites them with another scale.

    Why it matters
    --------------
    The frozen part of the model computes something else than in the base, and a patch of trained
    parameters does not carry it. Statistics that are reset or of another scale make of the weights' outputs
    something else in evaluation, where they count.

    How it is recognised
    --------------------
    `running_mean`, `running_var` or `num_batches_tracked` changed in a module whose weight and bias are the
    base's; or, whatever its weights did, all means are 0 or all variances 1 where the base's are not; or the
    variances are a hundred times the base's, or a hundredth.

    What to do
    ----------
    Call `.eval()` on frozen batch norms after every `model.train()`, or save their statistics too. Where they
    were reset or are of another scale, run batches that are prepared as in training through the model in
    training mode.

    References
    ----------
    Lightning-AI/pytorch-lightning#15062, ultralytics/ultralytics#8753
    """
    modules: dict[str, dict[str, TensorDelta]] = defaultdict(dict)
    for row in pair.comparison.tensors:
        module, _, leaf = row.name.rpartition(".")
        modules[module][leaf] = row
    reset, scaled = _overwritten(pair)
    if reset:
        yield this.finding(
            f"The running statistics of {plural(len(reset), 'batch norm')} are as before the first batch "
            f"(mean 0 or variance 1), which the base's are not: {join_names(reset)}.",
            severity="error",
            subjects=tuple(reset),
            evidence=(Evidence("reset_modules", len(reset), "modules"),),
        )
    if scaled:
        farthest = max(scaled.values(), key=lambda ratio: max(ratio, 1 / ratio))
        yield this.finding(
            f"The running variances of {plural(len(scaled), 'batch norm')} are up to "
            f"{format_number(farthest)} times the base's, which no training does: its inputs were not scaled "
            f"as the base's: {join_names(scaled)}.",
            severity="error",
            subjects=tuple(scaled),
            evidence=(Evidence("variance_ratio", farthest, "times", about="the farthest"),),
        )
    drifted = {
        name: rows
        for name, rows in modules.items()
        if name not in reset and name not in scaled and _drifted(rows)
    }
    if drifted:
        yield _drift(this, drifted)


def _drift(this: Rule, drifted: dict[str, dict[str, TensorDelta]]) -> Finding:
    changes = [
        row.relative_l2
        for rows in drifted.values()
        for leaf, row in rows.items()
        if leaf in _STATISTICS[:2] and row.relative_l2
    ]
    size = max(changes, default=None)
    return this.finding(
        f"The running statistics of {plural(len(drifted), 'batch norm')} "
        f"moved{f' (by up to {format_number(size)} of their size)' if size else ''} while weight and bias "
        f"are frozen: {join_names(drifted)}.",
        subjects=tuple(drifted),
        evidence=(
            Evidence("drifted_modules", len(drifted), "modules"),
            Evidence("relative_l2", size, about="largest of their statistics"),
        ),
    )


def _drifted(rows: dict[str, TensorDelta]) -> bool:
    changed = any(rows[leaf].identical is False for leaf in _STATISTICS if leaf in rows)
    return changed and not any(rows[leaf].moved for leaf in ("weight", "bias") if leaf in rows)


def _overwritten(pair: Pair) -> tuple[list[str], dict[str, float]]:
    """Modules whose statistics are the initial ones, and those of another scale with their ratio."""
    reset, scaled = [], {}
    for match, row in zip(pair.alignment.pairs, pair.comparison.tensors, strict=True):
        module, _, leaf = row.name.rpartition(".")
        if leaf not in _INITIAL or not row.moved:
            continue
        base, tuned = match.base.values(), match.tuned.values()
        if np.all(base == _INITIAL[leaf]):
            continue
        if np.all(tuned == _INITIAL[leaf]):
            reset.append(module)
        elif leaf == "running_var" and not 1 / _OTHER_SCALE < (ratio := _ratio(base, tuned)) < _OTHER_SCALE:
            scaled[module] = ratio
    return list(dict.fromkeys(reset)), scaled


def _ratio(base: Float64, tuned: Float64) -> float:
    """The geometric mean of tuned / base over channels that have a variance on both sides; 1 without any."""
    there = (base > 0) & (tuned > 0) & np.isfinite(base) & np.isfinite(tuned)
    return float(np.exp(np.mean(np.log(tuned[there] / base[there])))) if there.any() else 1.0
