"""BP304."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding, TensorDelta
from bitfit_probe.rules.engine.rule import Rule, rule
from bitfit_probe.wording import format_number, join_names, plural

__all__ = ["batch_norm_drift"]

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@rule("BP304", "batch-norm-drift", "warning", catalogue=(13,))
def batch_norm_drift(pair: Pair, this: Rule) -> Iterator[Finding]:
    """A frozen batch norm's running statistics moved.

    What it means
    -------------
    `requires_grad = False` stops gradients, not the statistics: in training mode a batch norm averages its
    inputs on, whether it is frozen or not.

    Why it matters
    --------------
    The frozen part of the model computes something else than in the base, and a patch of trained
    parameters does not carry it.

    How it is recognised
    --------------------
    `running_mean`, `running_var` or `num_batches_tracked` changed in a module whose weight and bias are the
    base's.

    What to do
    ----------
    Call `.eval()` on frozen batch norms after every `model.train()`, or save their statistics too.

    References
    ----------
    Lightning-AI/pytorch-lightning#15062, ultralytics/ultralytics#8753
    """
    modules: dict[str, dict[str, TensorDelta]] = defaultdict(dict)
    for row in pair.comparison.tensors:
        module, _, leaf = row.name.rpartition(".")
        modules[module][leaf] = row
    drifted = {name: rows for name, rows in modules.items() if _drifted(rows)}
    if not drifted:
        return
    changes = [
        row.relative_l2
        for rows in drifted.values()
        for leaf, row in rows.items()
        if leaf in _STATISTICS[:2] and row.relative_l2
    ]
    size = max(changes, default=None)
    yield this.finding(
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
