"""BP107."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from bitfit_probe.forms import forms_of_pair
from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding, Unmatched
from bitfit_probe.rules.adapter_files import adapter_beside
from bitfit_probe.rules.engine.rule import CannotTell, Rule, rule
from bitfit_probe.rules.merges import merge_beside
from bitfit_probe.rules.tensors import is_adapter

__all__ = ["wrong_base"]

#: Untargeted matrices that a merge of one adapter may leave changed: none, but for a cast or a trained head.
FEW = 0.2


@rule(
    "BP107",
    "wrong-base",
    "error",
    explains=("BP211", "BP212", "BP301", "BP310", "BP512", "BP602"),
    catalogue=(32,),
)
def wrong_base(pair: Pair, this: Rule) -> Iterator[Finding]:
    """Another base than the one that it was tuned from, or a vocabulary that was cut.

    What it means
    -------------
    The tuned weights have nothing to do with the base's; or an adapter was merged into another model than
    this base; or the embedding lost rows in a resize.

    Why it matters
    --------------
    Every figure of a comparison, and every adapter or patch made from it, is meaningless with another base.
    With trimmed embeddings an adapter trained on the full vocabulary no longer fits.

    How it is recognised
    --------------------
    Less than half of the base is left in the tuned matrices (median slope of one on the other, and median
    cosine). For a folder that holds a merge beside its adapter: no tensor that the adapter changes holds its
    update alone, and matrices that it leaves alone moved as well. Embeddings with fewer rows than the base's
    (a warning): resizing to ``len(tokenizer)`` cuts the rows that pad the table.

    What to do
    ----------
    Find the model that training started from: ``_name_or_path`` and ``base_model_name_or_path`` name it.
    Don't resize to fewer rows.

    References
    ----------
    axolotl-ai-cloud/axolotl#2277
    """
    if is_adapter(pair.tuned):
        return
    rows = [row for row in pair.comparison.tensors if row.info.kind == "weight" and row.part is None]
    slopes = [slope for row in rows if len(row.shape) > 1 and (slope := row.base_left) is not None]
    if slopes and pair.comparison.summary.unrelated and not _reordered(pair):
        yield _unrelated(this, slopes)
    else:
        yield from _merged_elsewhere(pair, this)
    yield from _trimmed(pair, this)


def _reordered(pair: Pair) -> bool:
    """Whether most matrices are this base's after all: in another order, or in each other's place."""
    both = zip(pair.comparison.tensors, forms_of_pair(pair).rows, strict=True)
    forms = [
        form for row, form in both if row.info.kind == "weight" and len(row.shape) > 1 and form is not None
    ]
    return sum(form.name in ("permuted", "transposed", "another tensor") for form in forms) > len(forms) / 2


def _unrelated(this: Rule, slopes: list[float]) -> Finding:
    return this.finding(
        f"The tuned matrices have little to do with the base's: {median(slopes):.2f} of the base is left in "
        f"them (median of {len(slopes)}), where fine-tuning leaves nearly all. This is not its base.",
        evidence=(Evidence("share_of_base_left", median(slopes), "share", about=f"{len(slopes)} matrices"),),
        advice="Give the model that training started from.",
    )


def _merged_elsewhere(pair: Pair, this: Rule) -> Iterator[Finding]:
    """Nothing holds the update of the adapter beside it, and what it leaves alone moved as well."""
    if adapter_beside(pair.tuned) is None:
        return
    try:
        merge = merge_beside(pair)
    except CannotTell:
        return
    others = [row for row in merge.untargeted if row.info.kind == "weight" and len(row.shape) > 1]
    moved = [row for row in others if row.moved]
    if len(others) > 1 and len(moved) > FEW * len(others) and not merge.of("merged", "scaled"):
        yield this.finding(
            f"None of the {len(merge.targeted)} tensors that the adapter beside it changes holds its update "
            f"and no more, and {len(moved)} of {len(others)} other matrices differ from this base too: it "
            "was merged into another model.",
            subjects=tuple(row.name for row in moved)[:10],
            evidence=(Evidence("untargeted_matrices_moved", len(moved) / len(others), "share"),),
            advice="Give the base that the adapter was trained on, and merge into that one.",
        )


def _trimmed(pair: Pair, this: Rule) -> Iterator[Finding]:
    cut = [
        item
        for item in pair.comparison.unmatched_base
        if item.why == "rows" and item.info.role == "embedding"
    ]
    cut = [item for item in cut if "position" not in item.name and "wpe" not in item.name]
    if cut:
        lost = max(cut, key=_rows)
        before = pair.base.tensors[lost.name].shape[0]
        yield this.finding(
            f"The vocabulary was cut: '{lost.name}' has {before - _rows(lost):,} rows instead of the base's "
            f"{before:,}; adapters and token ids made for the base no longer fit.",
            severity="warning",
            subjects=tuple(item.name for item in cut),
            evidence=(Evidence("rows_lost", _rows(lost), "rows", about=lost.name),),
            advice="Resize only upwards, to a multiple of 64, and keep the base's rows.",
        )


def _rows(item: Unmatched) -> int:
    return item.shape[0]
