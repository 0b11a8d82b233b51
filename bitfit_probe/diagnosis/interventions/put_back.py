"""One group back to the base: biases by role or layer, matrices, norm scales, embeddings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from bitfit_probe.diagnosis.outcomes import Outcome
from bitfit_probe.diagnosis.step import Change, Step
from bitfit_probe.diagnosis.subject import Subject
from bitfit_probe.inference.weights import overlaid
from bitfit_probe.measures.groups import grouped
from bitfit_probe.records import TensorDelta

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Rows = npt.NDArray[np.int64]

__all__ = ["steps"]

_KINDS = {"bias": "biases", "weight": "matrices", "norm": "norm scales", "embedding": "embeddings"}

Key = tuple[str, str | None]


def steps(subject: Subject) -> Iterator[Step]:
    """A step a group that moved; none where it is all that moved, for that is α = 0."""
    if not subject.windows:
        return
    moved = {name for name, window in subject.windows.items() if window.differs}
    seen: set[frozenset[Key]] = {frozenset(moved), frozenset()}
    for name, title, members in _groups(subject):
        keys = frozenset(members) & moved
        if keys not in seen:
            seen.add(keys)
            yield _step(subject, name, title, sorted(keys, key=str))


def _groups(subject: Subject) -> Iterator[tuple[str, str, list[Key]]]:
    rows = subject.pair.comparison.tensors
    for kind, words in _KINDS.items():
        yield words.replace(" ", "-"), f"the {words}", _keys(row for row in rows if row.info.kind == kind)
    for group, members in grouped(subject.pair.comparison, "layer"):
        if group.layer is not None:
            yield f"biases-{group.label}", f"{group.label}'s biases", _keys(members)
    for group, members in grouped(subject.pair.comparison, "role"):
        if not group.no_effect:
            yield f"biases-{group.label}", f"the {group.label} biases", _keys(members)


def _keys(rows: Iterator[TensorDelta] | Sequence[TensorDelta]) -> list[Key]:
    return [(row.name, row.part) for row in rows]


def _step(subject: Subject, name: str, title: str, keys: Sequence[Key]) -> Step:
    def look(rows: Rows | None) -> Outcome:
        with overlaid(subject.moved(1.0, keys)):
            return subject.outcome(subject.run(rows), rows)

    return Step(
        f"put-back-{name.replace(' ', '-')}",
        f"Put {title} back",
        f"{title} get the base's values again",
        look,
        change=lambda: Change(tensors=subject.tensors_of(subject.moved(1.0, keys))),
    )
