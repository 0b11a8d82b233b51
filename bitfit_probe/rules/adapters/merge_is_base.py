"""BP504."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.adapter_files import adapter_beside
from bitfit_probe.rules.engine.rule import Rule, rule
from bitfit_probe.rules.merges import merge_beside, strength
from bitfit_probe.rules.rows import is_the_base
from bitfit_probe.wording import plural

__all__ = ["merge_is_base"]

#: A half-precision merge of a tiny update rounds to the base in most elements, and that is another finding.
EXPLAINED_BY_ROUNDING = 0.9


@rule("BP504", "merge-is-base", "error", explains=("BP201", "BP204", "BP512", "BP714"), catalogue=(8,))
def merge_is_base(pair: Pair, this: Rule) -> Iterator[Finding]:
    """The "merged" folder holds the base's weights; the adapter lies beside them, unmerged.

    What it means
    -------------
    The merge was never made, made on a copy, or undone before saving.

    Why it matters
    --------------
    Whoever loads the folder as a model gets the base.

    How it is recognised
    --------------------
    All weights are bit for bit the base's, and the folder holds an adapter whose update is not zero.

    What to do
    ----------
    Merge again (`model = model.merge_and_unload()` returns the merged model), save that, and check it with
    `bitfit-probe diff`.

    References
    ----------
    verl-project/verl#7285, unslothai/unsloth#869, huggingface/diffusers#12448
    """
    if adapter_beside(pair.tuned) is None or not is_the_base(pair):
        return
    found = merge_beside(pair).targeted
    if min(item.rounded for item in found) > EXPLAINED_BY_ROUNDING:
        return
    count = pair.comparison.summary.compared_tensors
    yield this.finding(
        f"An adapter lies beside the weights, but all {plural(count, 'tensor')} are bit for bit the "
        "base's: it "
        "was not merged.",
        evidence=(
            strength(0.0),
            Evidence("compared_tensors", count, "tensors"),
        ),
    )
