"""BP114."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bitfit_probe.comparison.coverage import ENOUGH, in_body
from bitfit_probe.inference.purpose import model_class
from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding, Reason, Uncovered
from bitfit_probe.rules.engine.rule import Rule, rule

__all__ = ["partly_compared"]

#: The other reasons are of rules of their own: BP111, and BP107 of a vocabulary that was cut.
_WHY: dict[Reason, str] = {
    "absent": "absent",
    "layer-absent": "in layers that are absent",
    "part-absent": "in a part of the model that is absent",
    "shape": "of another shape",
    "other-name": "under other names",
    "other-file": "in another weight file of the folder, which was not read",
}
_ADVICE: dict[Reason, str] = {
    "other-file": "Leave the weights in one file, or one index with its shards, and give that.",
    "other-name": "Rename the tensors as the base names them, and compare again.",
    "shape": "Give the base that this checkpoint was tuned from.",
}


@rule("BP114", "partly-compared", "error", catalogue=(53,))
def partly_compared(pair: Pair, this: Rule) -> Iterator[Finding]:
    """Most of what can be said is not about the whole model: a part of the base has no counterpart.

    What it means
    -------------
    More than 5 % of the base's parameters outside its heads and poolers are not in the tuned checkpoint, or
    have another shape or name there. Whatever else is found holds for the rest only.

    Why it matters
    --------------
    A checkpoint that lost half of its layers looks untouched, or like a clean BitFit, in the half that is
    left; a loader draws the other half anew.

    How it is recognised
    --------------------
    The share of the base that was compared, from names and shapes. What the tuned checkpoint has beyond the
    base does not count, nor do heads, poolers and the second names of tied tensors; an adapter and a file of
    biases leave the rest to the base by design. Quantised weights are BP111's, a vocabulary that was cut is
    BP107's. A note where config.json names another class than the base's and whole parts are absent, as the
    decoder of a T5 is in a T5EncoderModel: that is what its loader asks for.

    What to do
    ----------
    Save the whole model (gather it from all ranks, copy all shards), or give the base that has no more than
    the tuned checkpoint.

    References
    ----------
    huggingface/transformers#31034, Lightning-AI/pytorch-lightning#17566
    """
    coverage = pair.comparison.coverage
    lost = [item for item in coverage.rest if item.reason in _WHY]
    whole = coverage.base_parameters
    if sum(item.parameters for item in lost) <= (1 - ENOUGH) * whole:
        return
    alone = ("absent", "shape")
    unmatched = pair.comparison.unmatched_base
    names = [item.name for item in unmatched if item.why in alone and in_body(item.info)]
    parts = ", ".join(f"{100 * item.parameters / whole:.1f} % are {_WHY[item.reason]}" for item in lost)
    share = coverage.share or 0.0
    yield this.finding(
        f"Only {100 * share:.1f} % of the base's parameters could be compared: {parts}, such as "
        f"'{names[0]}'.",
        severity="info" if _asked_for(pair, lost) else "error",
        subjects=tuple(names)[:10],
        evidence=(
            Evidence("compared_share_of_base", share, "share"),
            *(Evidence("not_compared", item.parameters, "elements", about=item.reason) for item in lost),
        ),
        **({"advice": _ADVICE[lost[0].reason]} if lost[0].reason in _ADVICE else {}),
    )


def _asked_for(pair: Pair, lost: Sequence[Uncovered]) -> bool:
    """Whether the tuned side's class has no place for the parts that are absent, nor for what joins them."""
    ours, theirs = model_class(pair.base.config), model_class(pair.tuned.config)
    if theirs is None or ours == theirs:
        return False
    # With a part go single tensors that lead into it, such as CLIP's projections; of a part that is there
    # nothing may be absent.
    there = {row.info.stack for row in pair.comparison.tensors} - {None}
    of_these = any(in_body(x.info) and x.info.stack in there for x in pair.comparison.unmatched_base)
    reasons = {item.reason for item in lost}
    return "part-absent" in reasons and reasons <= {"part-absent", "absent"} and not of_these
