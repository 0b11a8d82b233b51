"""What an adapter is, in one sentence: beside its base, or beside another adapter."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from bitfit_probe.rendering.words import join_names, percent, plural, printable

if TYPE_CHECKING:
    from bitfit_probe.records import AdapterFacts, Comparison, UpdateDelta

__all__ = ["adapter_on_base", "two_adapters"]

_MOST_TARGETS = 6


def adapter_on_base(comparison: Comparison) -> str:
    """Method, rank and targets of the adapter, and what of the base it moves."""
    facts = comparison.adapter
    if facts is None:
        return "An adapter"
    what = _method(facts)
    if facts.targets:
        more = ", …" if len(facts.targets) > _MOST_TARGETS else ""
        what += f" on {', '.join(map(printable, facts.targets[:_MOST_TARGETS]))}{more}"
    return f"Adapter: {'; '.join((what, *_tables(facts)))}; {', '.join(_effects(comparison, facts))}"


def _method(facts: AdapterFacts) -> str:
    if not facts.ranks:
        return facts.method
    low, high = facts.ranks[0], facts.ranks[-1]
    return f"{facts.method} of rank {low if low == high else f'{low} to {high}'}"


def _tables(facts: AdapterFacts) -> Iterator[str]:
    """Rows of embeddings that were trained alone."""
    if facts.rows:
        rows = (
            f"{plural(count, 'row')} of {printable(name.split('.')[-2])}"
            for name, count in facts.rows.items()
        )
        yield join_names(list(rows))


def _effects(comparison: Comparison, facts: AdapterFacts) -> Iterator[str]:
    summary = comparison.summary
    yield f"{summary.changed_tensors:,} of its {plural(summary.compared_tensors, 'tensor')} moved"
    biases = [row for row in comparison.tensors if row.info.kind == "bias"]
    moved = len({row.name for row in biases if row.moved})
    if moved:
        yield f"{moved:,} of {plural(len({row.name for row in biases}), 'bias', 'biases')} among them"
    if facts.incomplete:
        yield f"{plural(len(facts.incomplete), 'module')} without all factors"
    lost = sum(item.info.kind == "bias" for item in comparison.unmatched_tuned)
    if lost:
        added = plural(lost, "bias", "biases")
        yield f"{added} of it that the base has no tensor for, so that peft can't merge it"


def two_adapters(comparison: Comparison) -> str:
    """Both adapters, and by how much of what the first one adds the second moved on."""
    kinds = [_method(side) for side in (comparison.base_adapter, comparison.adapter) if side is not None]
    start = "Two adapters" if comparison.verdict == "adapter" else "The same adapter twice"
    return f"{start} ({' and '.join(dict.fromkeys(kinds))}): {', '.join(_steps(comparison))}"


def _steps(comparison: Comparison) -> Iterator[str]:
    """What moved on between the two."""
    modules, moved = comparison.updates, [row for row in comparison.updates if row.state == "moved"]
    of = plural(len(modules), "module")
    if comparison.verdict == "identical":
        yield f"{of}, bit for bit"
    elif modules:
        yield f"{len(moved) or 'none'} of {of} moved on{_by_how_much(moved)}"
    turned = sum(row.state == "same-product" for row in modules)
    if turned:
        yield f"{turned:,} have the same ΔW by other factors"
    known = {row.name for row in modules}
    others = [row for row in comparison.tensors if row.name not in known and row.moved is not None]
    if others:
        yield f"{sum(bool(row.moved) for row in others):,} of {plural(len(others), 'other tensor')} moved"
    unchecked = comparison.summary.judged_by["not-checked"]
    if unchecked:
        yield f"{plural(unchecked, 'tensor')} not checked"
    for which, items in (("first", comparison.unmatched_base), ("second", comparison.unmatched_tuned)):
        if items:
            yield f"{plural(len(items), 'tensor')} only in the {which}"


def _by_how_much(moved: Sequence[UpdateDelta]) -> str:
    """‖ΔW₂ − ΔW₁‖ / ‖ΔW₁‖ and the cosine between both, over all that moved on."""
    if not moved or any(row.delta_norm is None for row in moved):
        return ""
    before, after, delta = (
        math.hypot(*(getattr(row, name) for row in moved))
        for name in ("base_norm", "tuned_norm", "delta_norm")
    )
    if not before or not after:
        return ", from ΔW = 0" if not before else ", to ΔW = 0"
    product = sum((row.cosine or 0.0) * (row.base_norm or 0.0) * (row.tuned_norm or 0.0) for row in moved)
    return f", by {percent(delta / before)} of ΔW (cosine {product / before / after:.2f})"
