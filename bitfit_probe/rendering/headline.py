"""The verdict in one sentence, which a person pastes into a chat."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from bitfit_probe.rendering.adapters import adapter_on_base, two_adapters
from bitfit_probe.rendering.model_parts import missing_parts, moved_parts, still_parts
from bitfit_probe.rendering.words import grid_name, join_names, percent, plural, printable

if TYPE_CHECKING:
    from bitfit_probe.records import Comparison, TensorDelta

__all__ = ["headline"]


def headline(comparison: Comparison) -> str:
    """The verdict in one sentence, with its figures, and what it holds for where that is not the model."""
    if comparison.base_adapter is not None:
        return f"{two_adapters(comparison)}.{_warning(comparison)}"
    unrelated = comparison.summary.unrelated and comparison.verdict in _MOVED
    sentence = (_unrelated if unrelated else _SENTENCES[comparison.verdict])(comparison)
    head = _HEADS.get(comparison.summary.head, "")
    if comparison.verdict == "head-only":
        head = ""
    parts = "".join(f"; {text}" for text in (*moved_parts(comparison), *still_parts(comparison)))
    return f"{_limited(sentence, comparison)}{head}{_left(comparison)}{parts}.{_warning(comparison)}"


def _warning(comparison: Comparison) -> str:
    bad = comparison.summary.nonfinite_tensors
    hold = "holds" if bad == 1 else "hold"
    return f" {plural(bad, 'tensor')} of it {hold} NaN or infinite values!" if bad else ""


_HEADS = {
    "new": "; the head is new",
    "changed": "; the head changed too",
    "dropped": "; the base's head was dropped",
}


def _limited(sentence: str, comparison: Comparison) -> str:
    """`sentence` for no more than what was compared, where that is not nearly all of the base."""
    found = comparison.coverage
    if found.enough or found.share is None or comparison.verdict == "incomparable":
        return sentence
    # A first word that is a name (BitFit) keeps its capital.
    start = sentence if sentence.startswith("BitFit") else sentence[0].lower() + sentence[1:]
    share = f"{percent(found.share)} of the base's parameters"
    return f"Of {missing_parts(comparison) or f'what could be compared ({share})'}, {start}"


def _left(comparison: Comparison) -> str:
    """What was left alone on purpose."""
    count = comparison.summary.judged_by["not-checked"]
    if count:
        return f"; biases only: the rest ({plural(count, 'tensor')}) was not checked"
    if comparison.coverage.by_design_parameters and comparison.adapter is None:
        return "; biases only: the file leaves the rest as it is in the base"
    return ""


def _moved(comparison: Comparison, kind: str) -> tuple[int, int]:
    rows = [row for row in comparison.tensors if row.info.kind == kind]
    return len({row.name for row in rows if row.moved}), len({row.name for row in rows})


def _of(comparison: Comparison, kind: str, one: str, many: str) -> str:
    moved, total = _moved(comparison, kind)
    return f"{moved:,} of {plural(total, one, many)}"


def _biases(comparison: Comparison) -> str:
    return _of(comparison, "bias", "bias", "biases")


def _offenders(comparison: Comparison) -> str:
    names = comparison.summary.offenders
    if not names:
        later = {row.name.partition(".")[0] for row in comparison.tensors if row.moved and row.after_pooling}
        but = f" but what follows the pooling ({join_names(sorted(map(printable, later)))})" if later else ""
        return "" if comparison.summary.judged_by["not-checked"] else f", nothing else{but}"
    shown = join_names([printable(name) for name in names], 3)
    return f", but so did {plural(len(names), 'tensor')} expected frozen: {shown}"


def _bitfit(comparison: Comparison) -> str:
    return f"BitFit: {_biases(comparison)} moved{_offenders(comparison)}"


def _bitfit_norm(comparison: Comparison) -> str:
    norms = _of(comparison, "norm", "norm scale", "norm scales")
    return f"BitFit with norms: {_biases(comparison)} and {norms} moved{_offenders(comparison)}"


def _identical(comparison: Comparison) -> str:
    summary = comparison.summary
    if summary.changed_tensors:  # of the parameters none, so these are buffers
        changed = plural(summary.changed_tensors, "buffer")
        return f"Identical: nothing changed but {changed}, which no training sets"
    if summary.judged_by["not-checked"]:
        return f"Identical where checked: {plural(summary.compared_tensors, 'tensor')}"
    how = "by checksum" if summary.judged_by["checksum"] else "bit for bit"
    return f"Identical: nothing changed in {plural(summary.compared_tensors, 'tensor')}, {how}"


def _rounding(comparison: Comparison) -> str:
    to, grid = comparison.summary.rounded_to, comparison.summary.quantised
    if grid:
        sides = ("fine-tuned side", "base") if grid == to else ("base", "fine-tuned side")
        shown = grid_name(grid)
        loss = comparison.summary.quantisation_loss
        lost = "" if loss is None else f", which lost {percent(loss)} of its matrices' length"
        return (
            f"Rounding only: nothing was trained; the {sides[0]} is the {sides[1]}, quantised ({shown}){lost}"
        )
    what = f"the fine-tuned side is the base cast to {to}" if to else "a cast explains every difference"
    return f"Rounding only: nothing was trained; {what}"


def _head_only(comparison: Comparison) -> str:
    state = "is new" if comparison.summary.head == "new" else "changed"
    rows = [row for row in comparison.tensors if row.judged_by != "not-checked"]
    heads = {row.name for row in rows if row.info.kind == "head"}
    checked = comparison.summary.compared_tensors - len(heads)
    return f"Head only: the head {state}, none of the other {plural(checked, 'tensor')} moved"


def _matrices(comparison: Comparison) -> str:
    return _of(comparison, "weight", "matrix", "matrices")


def _change(comparison: Comparison) -> str:
    change = comparison.summary.relative_l2
    return "" if change is None else f"; relative change {change:.3g}"


#: Verdicts that say how a model was trained, which takes something that is left of its base.
_MOVED = ("bitfit", "bitfit+norm", "partial", "full", "merged-lora")
#: Below this cosine, two models have nothing in common.
_NOTHING = 0.1


def _unrelated(comparison: Comparison) -> str:
    cosine = comparison.summary.matrix_cosine or 0.0
    left = "nothing" if abs(cosine) < _NOTHING else "little"
    return (
        f"Unrelated: {left} of the base is left in the matrices (cosine {cosine:.2f}, "
        f"{_matrices(comparison)} moved): another model of this shape, or one that was trained anew"
    )


def _full(comparison: Comparison) -> str:
    return f"Full fine-tuning: {_matrices(comparison)} and {_biases(comparison)} moved{_change(comparison)}"


def _partial(comparison: Comparison) -> str:
    parts = [_matrices(comparison), _biases(comparison)]
    for kind, one, many in (
        ("norm", "norm scale", "norm scales"),
        ("embedding", "embedding", "embeddings"),
    ):
        if _moved(comparison, kind)[0]:
            parts.append(_of(comparison, kind, one, many))
    return f"Partly tuned: {join_names(parts)} moved{_change(comparison)}"


def _merged_lora(comparison: Comparison) -> str:
    return f"Merged LoRA: {_matrices(comparison)} moved, each by a low-rank change; no bias moved"


def _incomparable(comparison: Comparison) -> str:
    shared = sum(row.parameters for row in _body(comparison.tensors))
    return (
        f"Incomparable: only {shared:,} of the base's parameters have a partner of their shape, "
        "too few to say what the fine-tuned model is"
    )


def _body(rows: Iterable[TensorDelta]) -> list[TensorDelta]:
    return [row for row in rows if row.info.kind not in ("head", "buffer")]


_SENTENCES = {
    "identical": _identical,
    "rounding-only": _rounding,
    "bitfit": _bitfit,
    "bitfit+norm": _bitfit_norm,
    "head-only": _head_only,
    "partial": _partial,
    "full": _full,
    "merged-lora": _merged_lora,
    "adapter": adapter_on_base,
    "incomparable": _incomparable,
}
