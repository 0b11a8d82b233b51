"""A vision tower, a projector, a language model, …: a row each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bitfit_probe.rendering.document.blocks import Column, Table
from bitfit_probe.rendering.model_parts import PART_VERDICTS
from bitfit_probe.rendering.subjects.tables import cut_table
from bitfit_probe.rendering.words import part_name

if TYPE_CHECKING:
    from bitfit_probe.records import Comparison, ModelPart

__all__ = ["parts_table"]

_COLUMNS = (
    Column("part", "words"),
    Column("family", "words", 3),
    Column("state", "words"),
    Column("moved"),
    Column("biases moved"),
    Column("parameters", rank=1),
    Column("compared", rank=2),
)


def parts_table(key: str, comparison: Comparison) -> Iterator[Table]:
    """What became of each part of a model that has several."""
    if len(comparison.model_parts) > 1:
        rows = [_row(part) for part in comparison.model_parts]
        yield cut_table(key, "The parts of the model", _COLUMNS, rows)


def _row(part: ModelPart) -> tuple[str, ...]:
    state = PART_VERDICTS[part.verdict] if part.state == "compared" else part.state
    return (
        part_name(part.name),
        part.family or "–",
        state or "compared",
        f"{part.moved:,} of {part.tensors:,}",
        f"{part.moved_biases:,} of {part.biases:,}",
        f"{part.base_parameters:,}",
        f"{part.compared_parameters:,}",
    )
