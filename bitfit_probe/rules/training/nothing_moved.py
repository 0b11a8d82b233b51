"""BP201."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.engine.rule import Rule, rule
from bitfit_probe.rules.rows import is_the_base
from bitfit_probe.wording import plural

__all__ = ["nothing_moved"]


@rule("BP201", "nothing-moved", "error", explains=("BP714",), catalogue=(1,))
def nothing_moved(pair: Pair, this: Rule) -> Iterator[Finding]:
    """The tuned checkpoint is the base.

    What it means
    -------------
    Every tensor that both sides have is bit for bit the same, so nothing was trained, or something else
    than the trained weights was saved. Where the only difference is a cast to another element type it is
    a note: that is a converted copy, and no fine-tune.

    Why it matters
    --------------
    The served model answers as the base does, however good the training log looks.

    How it is recognised
    --------------------
    All shared parameters are identical, and the head is absent or identical too.

    What to do
    ----------
    Don't deploy it. Print the number of trainable parameters and the norm of the first gradient, check that
    the optimizer holds the parameters that you meant, and that the folder you saved is the one you give.

    References
    ----------
    huggingface/peft#1402, tloen/alpaca-lora#357, huggingface/peft#1259
    """
    summary = pair.comparison.summary
    compared = Evidence("compared_tensors", summary.compared_tensors, "tensors")
    if is_the_base(pair):
        yield this.finding(
            f"Nothing moved: all {plural(summary.compared_tensors, 'tensor')} that both sides have are bit "
            "for bit those of the base.",
            evidence=(compared, Evidence("changed_parameters", 0, "elements")),
        )
    elif pair.comparison.verdict == "rounding-only" and pair.comparison.coverage.enough:
        to = f" to {summary.rounded_to}" if summary.rounded_to else ""
        how = f"quantisation ({summary.quantised})" if summary.quantised else f"a cast{to}"
        yield this.finding(
            f"Nothing was trained: {how} explains every difference from the base.",
            severity="info",
            evidence=(compared,),
            advice="Fine for a converted copy. As a fine-tune, it was not trained, or not saved.",
        )
