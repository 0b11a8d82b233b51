"""BP507."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from bitfit_probe.pair import Pair
from bitfit_probe.records import Finding
from bitfit_probe.rules.engine.rule import Rule, rule
from bitfit_probe.rules.merges import merge_beside, strength

__all__ = ["merged_twice"]

#: Merged once gives 1, twice gives 2: halfway. Merges in benchmarks/healthy.py have 0.9997 to 1.0002.
TWICE = 1.5


@rule(
    "BP507",
    "merged-more-than-once",
    "error",
    needs=("comparison", "merged-adapter"),
    explains=("BP107", "BP508", "BP512"),
    catalogue=(29,),
)
def merged_twice(pair: Pair, this: Rule) -> Iterator[Finding]:
    """The adapter was merged into the weights more than once.

    What it means
    -------------
    A merged model was taken for the base and merged again, or a loop merged at every save.

    Why it matters
    --------------
    The update is twice as strong as trained: the model overshoots, repeats itself or falls apart.

    How it is recognised
    --------------------
    The change of the weights is α* times the update of the adapter beside them, with α* at least 1.5. Merged
    once gives 1, not merged 0.

    What to do
    ----------
    Merge once into the original base. Subtracting the update once repairs it up to rounding.

    References
    ----------
    huggingface/peft#1355, huggingface/peft#3111
    """
    found = merge_beside(pair).of("merged", "scaled", "other")
    if not found:
        return
    alpha = statistics.median(item.alpha for item in found)
    if alpha < TWICE:
        return
    yield this.finding(
        f"The adapter is in the weights {alpha:.2g} times over (α* = {alpha:.3f}, median of {len(found)} "
        "matrices; merged once gives 1).",
        subjects=tuple(item.name for item in found),
        evidence=(strength(alpha),),
    )
