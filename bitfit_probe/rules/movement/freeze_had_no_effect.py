"""BP301."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding, TensorDelta
from bitfit_probe.rules.engine.rule import Rule, rule
from bitfit_probe.rules.rows import body, moved
from bitfit_probe.rules.run_logs import claimed_method
from bitfit_probe.wording import format_number, join_names, plural

__all__ = ["freeze_had_no_effect"]


@rule("BP301", "freeze-had-no-effect", "warning", explains=("BP302",), catalogue=(10,))
def freeze_had_no_effect(pair: Pair, this: Rule) -> Iterator[Finding]:
    """The run is bias-only, but matrices or tables moved.

    What it means
    -------------
    Weights that should have been frozen were trained: the freeze came after the optimizer was built, was
    undone by a later call, matched other names, or was not applied at all.

    Why it matters
    --------------
    It is not the method that is reported. A bias-only patch would not hold the change, and the learning
    rate of BitFit is far too high for matrices.

    How it is recognised
    --------------------
    Either nearly all movement is in the biases and a few matrices moved too (the offenders of `diff`), or
    the run calls itself BitFit (run.json, config.json or the folder's name) while matrices moved. Heads may
    move, and what follows the pooling of an embedding model (`2_Dense`) counts as one.

    What to do
    ----------
    Set `requires_grad` before the optimizer is made, build the optimizer from the trainable parameters
    alone, and run `diff` after the first step.

    References
    ----------
    facebookresearch/fairseq#4702, ultralytics/yolov5#1213, jiaweizzhao/GaLore#72
    """
    claim = claimed_method(pair.tuned)
    verdict, offenders = pair.comparison.verdict, pair.comparison.summary.offenders
    if verdict in ("bitfit", "bitfit+norm"):
        strangers = [row for row in body(pair) if row.name in offenders]
        why = "everything else that moved is a bias"
    elif claim is not None and claim[0] == "bitfit" and verdict in ("full", "partial", "merged-lora"):
        strangers = [row for row in moved(body(pair, "weight", "embedding")) if not row.after_pooling]
        why = f"{claim[1]} calls the run bias-only"
    else:
        return
    if not strangers:
        return
    size, biases = _typical(strangers), _typical(moved(body(pair, "bias")))
    evidence = [
        Evidence("moved_tensors", len(strangers), "tensors", about="expected frozen"),
        Evidence("mean_abs_delta", size, about="their median"),
        Evidence("mean_abs_delta", biases, about="the biases' median"),
    ]
    beside = f" by a mean of {format_number(size)}" if size is not None else ""
    beside += f" (biases {format_number(biases)})" if size is not None and biases is not None else ""
    yield this.finding(
        f"{plural(len(strangers), 'tensor')} moved{beside} that bias-only training leaves alone, though "
        f"{why}: "
        f"{join_names([row.name for row in strangers], 2)}.",
        severity="error" if verdict not in ("bitfit", "bitfit+norm") else None,
        subjects=tuple(row.name for row in strangers),
        evidence=tuple(evidence),
    )


def _typical(rows: Sequence[TensorDelta]) -> float | None:
    known = [row.mean_abs_delta for row in rows if row.mean_abs_delta is not None]
    return statistics.median(known) if known else None
