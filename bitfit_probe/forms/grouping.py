"""Tensors that share a form: of one kind of change with the same figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

from bitfit_probe.records.forms import USUAL, Form, FormGroup

if TYPE_CHECKING:
    from bitfit_probe.records import TensorDelta

__all__ = ["grouped"]

#: Parameters that differ from tensor to tensor within one group: where, how many, between which values.
_OWN = (
    "tensor",
    "places",
    "ranges",
    "count",
    "moved",
    "least",
    "most",
    "share",
    "deviation",
    "cosine",
    "low",
    "high",
)


def grouped(
    rows: Sequence[TensorDelta], forms: Sequence[Form | None], *, by_part: bool = False
) -> tuple[FormGroup, ...]:
    """Groups, those that no training gives first, the larger ones before the smaller.

    Parameters
    ----------
    by_part
        Keep the parts of a model that has several apart.
    """
    found: dict[tuple[str | None, Hashable], list[tuple[TensorDelta, Form]]] = {}
    for row, form in zip(rows, forms, strict=True):
        if form is not None and row.parameters:
            part = row.info.stack if by_part else None
            found.setdefault((part, _key(form)), []).append((row, form))
    return tuple(sorted((_group(key[0], members) for key, members in found.items()), key=_order))


def _key(form: Form) -> Hashable:
    shared = ((name, value) for name, value in form.parameters.items() if name not in _OWN)
    return form.name, tuple((name, _rough(name, value)) for name, value in shared)


def _rough(name: str, value: object) -> object:
    """A figure in two digits; of a factor those of its distance to 1."""
    if not isinstance(value, float):
        return value
    return f"{value - 1:.1e}" if name == "factor" else f"{value:.1e}"


def _group(part: str | None, members: list[tuple[TensorDelta, Form]]) -> FormGroup:
    rows = [row for row, _ in members]
    return FormGroup(
        form=max((form for _, form in members), key=lambda form: form.residual),
        tensors=tuple(f"{row.name}[{row.part}]" if row.part else row.name for row in rows),
        kinds=dict(Counter(row.info.kind for row in rows)),
        roles=tuple(dict.fromkeys(row.info.role for row in rows if row.info.role is not None)),
        part=part,
    )


def _order(group: FormGroup) -> tuple[int, int]:
    usual = USUAL.index(group.form.name) + 1 if group.form.name in USUAL else 0
    return usual, -len(group.tensors)
