"""How much of the base was looked at, in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bitfit_probe.rendering.words import percent, plural

if TYPE_CHECKING:
    from bitfit_probe.records import Coverage, Reason, Retyped, Scope

__all__ = ["coverage_sentence", "scope_sentences", "types_sentence"]

_REASONS: dict[Reason, str] = {
    "absent": "absent from the fine-tuned side",
    "layer-absent": "in layers that the fine-tuned side lacks",
    "part-absent": "in a part of the model that the fine-tuned side lacks",
    "shape": "of another shape",
    "rows-cut": "in rows that the fine-tuned side lacks",
    "quantised": "quantised on one side",
    "other-name": "without a partner of its name, though one of its shape is left over",
    "other-file": "in a weight file beside it that was not read",
    "biases-only": "not checked, as asked",
}


def coverage_sentence(found: Coverage) -> str:
    """How much of the base was compared, and what became of the rest."""
    if found.share is None:
        return "Compared: nothing, as the base has no parameters outside its heads."
    count = found.compared_parameters + found.by_design_parameters
    of = f"{count:,} of {found.base_parameters:,}"
    parts = [f"Compared: {percent(found.share)} of the base's parameters outside its heads ({of})"]
    if found.by_design_parameters:
        own = f"{found.by_design_parameters:,} of them are the base's own"
        parts.append(f"{own}, as the file leaves them out")
    if found.rest:
        lost = (
            f"{item.parameters:,} in {plural(item.tensors, 'tensor')} {_REASONS[item.reason]}"
            for item in found.rest
        )
        parts.append(f"not compared: {', '.join(lost)}")
    if found.compared_head_parameters < found.head_parameters:
        parts.append(f"of its heads' {found.head_parameters:,}, {found.compared_head_parameters:,}")
    return f"{'; '.join(parts)}."


_RATIOS = {2.0: "twice the size", 0.5: "half the size", 0.25: "a quarter of the size", 1.0: "the same size"}


def types_sentence(found: Sequence[Retyped]) -> str:
    """Element types that differ between the two sides, and what that does to the size."""
    parts = (
        f"{item.base_dtype} → {item.tuned_dtype} in {plural(item.tensors, 'tensor')}: "
        f"{_RATIOS.get(item.size_ratio, f'{item.size_ratio:g} times the size')}"
        for item in found
    )
    return "; ".join(parts)


def scope_sentences(scope: Scope) -> tuple[str, ...]:
    """What was looked at of one tuned checkpoint, and what lies beside it unread."""
    nothing = "Compared: nothing, as the two could not be laid side by side."
    said = nothing if scope.coverage is None else coverage_sentence(scope.coverage)
    left = ", ".join(scope.unread)
    types = types_sentence(scope.retyped)
    more = (f"Not read: {left}." if left else "", f"Element types: {types}." if types else "")
    return (said, *filter(None, more))
