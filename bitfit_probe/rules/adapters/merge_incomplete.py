"""BP512."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from bitfit_probe.measures.merge import MergedTensor
from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding, TensorDelta
from bitfit_probe.rules.engine.rule import Rule, rule
from bitfit_probe.rules.merges import merge_beside, modules, strength
from bitfit_probe.wording import plural

__all__ = ["merge_incomplete"]


@rule("BP512", "merge-incomplete", "error", needs=("comparison", "merged-adapter"), explains=("BP309",))
def merge_incomplete(pair: Pair, this: Rule) -> Iterator[Finding]:
    """Not every module holds the adapter's update, or something else than the adapter moved.

    What it means
    -------------
    The merge went past some of the modules that the adapter changes (experts, fused projections, a prefix
    that did not match), added their update with another strength, or they hold another change than this
    adapter's. Or matrices moved that the adapter leaves alone.

    Why it matters
    --------------
    The merged model is none that was trained: whoever loads it gets a part of the fine-tune, and base plus
    adapter answers otherwise.

    How it is recognised
    --------------------
    For each tensor that the adapter changes its update is computed as peft computes it and compared with the
    change found, on a few rows: merged (up to rounding), at rest (an error), α times the update, or something
    else (warnings). Merged onto what NF4 makes of the base, or onto the plain weights of a packed base, is a
    note. What the adapter does not change must be at rest; matrices that are not are a warning.

    What to do
    ----------
    Merge again with `model.merge_and_unload()` in the library version that trained the adapter, and compare
    with `bitfit-probe diff`; or serve base and adapter.

    References
    ----------
    unslothai/unsloth-zoo#812, unslothai/unsloth#5403, sgl-project/sglang#25528
    """
    found = merge_beside(pair)
    every = len(found.targeted)
    if rest := found.of("at rest"):
        yield _unmerged(this, rest, every)
    if scaled := found.of("scaled"):
        alpha = statistics.median(item.alpha for item in scaled)
        yield _finding(
            this,
            scaled,
            f"{plural(len(scaled), 'tensor')} of {every} that the adapter beside the weights changes "
            f"({modules(scaled)}) hold its update {alpha:.3g} times: base and adapter answer otherwise. Look "
            "first at the scale that was merged (lora_alpha, r, rsLoRA, a weight given to the merge).",
        )
    if onto := found.of("dequantised"):
        yield _note(
            this,
            onto,
            f"{plural(len(onto), 'tensor')} of {every} ({modules(onto)}) hold the adapter's update on top of "
            "what NF4 makes of the base: it was merged into dequantised weights and keeps their loss. A "
            "QLoRA was trained on these; merged onto the plain base it answers a little otherwise.",
            Evidence("merged_onto_nf4", len(onto), "tensors", about=f"of {every}"),
        )
    if plain := found.of("onto plain"):
        yield _note(
            this,
            plain,
            f"{plural(len(plain), 'tensor')} of {every} ({modules(plain)}) hold the adapter's update on top "
            "of plain weights that the base is the quantised form of. A QLoRA was trained on the base as it "
            "is packed; these answer a little otherwise, without its loss.",
            strength(statistics.median(item.alpha for item in plain)),
        )
    if other := found.of("other"):
        lost = statistics.median(item.lost for item in other)
        yield _finding(
            this,
            other,
            f"{plural(len(other), 'tensor')} of {every} that the adapter beside the weights changes "
            f"({modules(other)}) hold another change than its update (off by {lost:.2g} of its length). Look "
            "first at whether it is the adapter that was merged, of the same step.",
        )
    moved = [row for row in found.untargeted if row.moved and row.info.kind == "weight"]
    if moved and found.of("merged"):
        yield _untargeted(this, moved)


def _untargeted(this: Rule, moved: Sequence[TensorDelta]) -> Finding:
    return this.finding(
        f"{plural(len(moved), 'matrix', 'matrices')} moved that the adapter beside the weights leaves "
        f"alone, as '{moved[0].name}': base and adapter are not this model. Look first at what else was "
        "trained or merged.",
        severity="warning",
        subjects=tuple(row.name for row in moved),
        evidence=(Evidence("untargeted_matrices_moved", len(moved), "matrices"),),
    )


def _note(this: Rule, tensors: Sequence[MergedTensor], message: str, evidence: Evidence) -> Finding:
    names = tuple(item.name for item in tensors)
    return this.finding(message, severity="info", subjects=names, evidence=(evidence,))


def _unmerged(this: Rule, rest: Sequence[MergedTensor], every: int) -> Finding:
    only = "nothing of it" if len(rest) == every else f"it in the other {every - len(rest)} only"
    return this.finding(
        f"{plural(len(rest), 'tensor')} of {every} that the adapter beside the weights changes "
        f"({modules(rest)}) are the base's, unmerged: whoever loads these weights gets {only}. Look first at "
        "which modules the merge takes for targets.",
        subjects=tuple(item.name for item in rest),
        evidence=(
            Evidence("unmerged", len(rest), "tensors", about=f"of {every}"),
            Evidence("merge_strength", 0.0, about="there"),
        ),
    )


def _finding(this: Rule, tensors: Sequence[MergedTensor], message: str) -> Finding:
    return this.finding(
        message,
        severity="warning",
        subjects=tuple(item.name for item in tensors),
        evidence=(
            strength(statistics.median(item.alpha for item in tensors)),
            Evidence("update_lost", statistics.median(item.lost for item in tensors), "share of its length"),
        ),
    )
