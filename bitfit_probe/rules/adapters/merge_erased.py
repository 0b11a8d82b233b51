"""BP509."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.engine.rule import Rule, rule
from bitfit_probe.rules.merges import merge_beside, strength

__all__ = ["merge_erased"]

#: Merged once gives 1, erased 0: halfway.
ERASED = 0.5
#: A 4-bit grid has 16 levels a block; rows with so few values in them were quantised.
LEVELS = 16


@rule(
    "BP509",
    "merge-erased",
    "error",
    needs=("comparison", "merged-adapter"),
    explains=("BP107", "BP203", "BP309", "BP512"),
    catalogue=(31,),
)
def merge_erased(pair: Pair, this: Rule) -> Iterator[Finding]:
    """The weights changed, but the adapter's update is not in them: quantisation erased it.

    What it means
    -------------
    The adapter was merged into 4-bit weights, or the merged model was quantised: the update is smaller than
    a step of the grid, so nearly all of it was rounded away.

    Why it matters
    --------------
    The merged model is a coarser base, and the fine-tune is gone.

    How it is recognised
    --------------------
    The weights differ from the base, but the update of the adapter beside them is in the difference with a
    strength α* below 0.5 (merged once gives 1). Rows with at most 16 different values show the grid.

    What to do
    ----------
    Merge into the base in its original precision, then quantise; or keep the adapter beside the quantised
    base, as it was trained.

    References
    ----------
    ARahim3/mlx-tune#15, huggingface/transformers#31293, huggingface/peft#2321
    """
    found = merge_beside(pair).of("merged", "scaled", "other")
    if not found:
        return
    alpha = statistics.median(item.alpha for item in found)
    moved = statistics.median(item.moved for item in found)
    if abs(alpha) >= ERASED:
        return
    levels = statistics.median(item.levels for item in found)
    grid = levels <= LEVELS < found[0].columns
    shown = f"; its rows have only {levels:.0f} different values, as after 4-bit rounding" if grid else ""
    yield this.finding(
        f"The adapter's update is hardly in the weights (α* = {alpha:.3f}, merged once gives 1), though "
        f"{moved:.0%} of their elements changed{shown}.",
        subjects=tuple(item.name for item in found),
        evidence=(
            strength(alpha),
            Evidence("levels_a_row", levels, "values", about="median"),
        ),
    )
