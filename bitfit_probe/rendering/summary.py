"""A report as the document that `diff` prints: what a terminal has room for, tables instead of figures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bitfit_probe.records.report import Measured, Report
from bitfit_probe.rendering.document.blocks import Block, Document, Facts, Text
from bitfit_probe.rendering.subjects.failures import failed_points
from bitfit_probe.rendering.subjects.forms import forms_block
from bitfit_probe.rendering.subjects.likeness import likeness_table, likeness_words
from bitfit_probe.rendering.subjects.model_parts import parts_table
from bitfit_probe.rendering.subjects.movement import (
    beside_layers,
    heat_map,
    judged,
    loss_table,
    side_facts,
    top_tensors,
    type_facts,
    unmatched_facts,
    verdict,
)
from bitfit_probe.rendering.subjects.ranking import ranking_blocks
from bitfit_probe.rendering.subjects.reverting import reverting_blocks
from bitfit_probe.rendering.subjects.spectra import top_spectra
from bitfit_probe.rendering.subjects.training import adequacy_text, trajectory_chart
from bitfit_probe.rendering.subjects.updates import updates_table

if TYPE_CHECKING:
    from bitfit_probe.records import Comparison
    from bitfit_probe.records.measures import By

__all__ = ["diff_document"]


def diff_document(report: Report, *, top: int = 10, by: By | None = None) -> Document:
    """Both sides, the verdict, what moved most, and what was measured; `top` of the tensors.

    With `by` the ranking of that grouping instead of the table of biases and the list of tensors.
    """
    blocks: list[Block] = []
    sides = tuple(side_facts("base", report.diff.base))
    for number, comparison in enumerate(report.diff.comparisons):
        measured = report.measured[number] if report.measured else Measured()
        blocks.append(Facts((*sides, *side_facts("tuned", comparison.tuned), *type_facts(comparison))))
        blocks += _comparison(comparison, measured, top, by)
        blocks.append(Facts((*unmatched_facts(comparison), *judged(report.diff, comparison))))
        sides = ()
    if sides:
        blocks.append(Facts(sides))
    if report.likeness:
        blocks += [likeness_table("likeness", report.likeness[0]), Text(likeness_words(report.likeness))]
    if report.trajectory is not None:
        blocks.append(trajectory_chart(report.trajectory))
    return Document(lead=(*blocks, *failed_points(report.diff.failures)))


def _comparison(comparison: Comparison, measured: Measured, top: int, by: By | None) -> Iterator[Block]:
    yield verdict(comparison)
    if measured.adequacy is not None and measured.adequacy.state != "untrained":  # the verdict has said that
        yield adequacy_text(measured.adequacy)
    yield from parts_table("parts", comparison)
    if measured.forms is not None and by is None:
        yield forms_block(measured.forms)
    if comparison.updates and top > 0:
        yield updates_table("updates", comparison, top)
    if top > 0:
        yield from loss_table("loss", comparison, top)
    yield from _sections(comparison, measured, top, by)
    if measured.reverting is not None:
        yield from reverting_blocks("reverting", measured.reverting)
    yield from top_spectra("spectra", measured, top)


def _sections(comparison: Comparison, measured: Measured, top: int, by: By | None) -> Iterator[Block]:
    ranking = next((item for item in measured.rankings if item.by == by), None)
    if ranking is None:
        yield from _heat(comparison, inside_only=False)
        yield from top_tensors(comparison.tensors, top)
        return
    if ranking.paper and by == "role":
        yield from _heat(comparison, inside_only=True)
    yield from ranking_blocks("ranking", ranking, top)
    if by == "tensor" and not ranking.paper:
        yield from top_tensors([row for row in comparison.tensors if row.info.kind != "bias"], top)


def _heat(comparison: Comparison, *, inside_only: bool) -> Iterator[Block]:
    roles = [role for role in comparison.roles if not inside_only or role.layer is not None]
    if any(role.moved for role in roles):
        yield from heat_map("heat", comparison, roles)
        yield from beside_layers(roles)
