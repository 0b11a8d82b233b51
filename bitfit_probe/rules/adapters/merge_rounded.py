"""BP508."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.engine.rule import Rule, rule
from bitfit_probe.rules.merges import merge_beside
from bitfit_probe.wording import format_number

__all__ = ["merge_rounded"]

#: The share of the update's length that rounding may take. The merges of benchmarks/healthy.py lost 1e-7 in
#: float32 and 0.028 in bfloat16.
LOST = 0.2
#: That it was a merge at all: this share of elements is the exact sum rounded.
ROUNDED = 0.9
_HALF = ("bfloat16", "float16")


@rule(
    "BP508",
    "merge-rounded-away",
    "warning",
    needs=("comparison", "merged-adapter"),
    explains=("BP107", "BP201", "BP203", "BP204", "BP504", "BP509", "BP512"),
    catalogue=(30,),
)
def merge_rounded(pair: Pair, this: Rule) -> Iterator[Finding]:
    """The merge was rounded to half precision, and a good part of the update was lost.

    What it means
    -------------
    An update smaller than the steps of bfloat16 or float16 around a weight disappears when the sum is
    rounded.

    Why it matters
    --------------
    The merged model differs from base plus adapter; the smaller the update, the more.

    How it is recognised
    --------------------
    At least 90 % of the elements are base plus update rounded to the stored type, and what rounding took away
    is at least 0.2 times as long as the update.

    What to do
    ----------
    Merge in float32 and keep the merged weights so, or serve the adapter beside the base.

    References
    ----------
    huggingface/peft#1388, QwenLM/Qwen#1168
    """
    found = [item for item in merge_beside(pair).targeted if item.row.tuned_dtype in _HALF]
    if not found:
        return
    lost = statistics.median(item.lost for item in found)
    moved = statistics.median(item.moved for item in found)
    if statistics.median(item.rounded for item in found) < ROUNDED or lost < LOST:
        return
    yield this.finding(
        f"Rounding took {format_number(100 * min(lost, 1.0))} % of the merged update's length: the update "
        f"is as small as the steps of {found[0].row.tuned_dtype} ({moved:.0%} of "
        "the elements moved).",
        subjects=tuple(item.name for item in found),
        evidence=(
            Evidence("update_lost", lost, "share of its length", about=f"median of {len(found)} matrices"),
            Evidence("moved_elements", moved, "share"),
        ),
    )
