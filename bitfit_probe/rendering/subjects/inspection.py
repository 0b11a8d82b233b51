"""One checkpoint alone: what it holds, which promises it breaks, figures by role."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from bitfit_probe.records.inspection import Inspection
from bitfit_probe.rendering.as_json import FORMAT_VERSION
from bitfit_probe.rendering.document.blocks import Block, Column, Document, Facts, Points, Table
from bitfit_probe.rendering.findings_json import promises_document
from bitfit_probe.rendering.subjects.movement import side_facts
from bitfit_probe.rendering.subjects.promises import promise_blocks
from bitfit_probe.rendering.subjects.tables import cut_table
from bitfit_probe.rendering.words import format_number, join_names, percent

__all__ = ["inspection_document", "inspection_json"]

_MOST_FILES = 3


def inspection_document(found: Inspection) -> Document:
    """What is broken first after what it is."""
    broken = tuple(f"{item.severity}: {item.says}" for item in found.promises.of("broken"))
    blocks: list[Block] = [Facts(tuple(_facts(found)))]
    if broken:
        blocks.append(Points(broken, "Broken promises:"))
    blocks += promise_blocks((found.promises,))
    if found.roles:
        blocks.append(_roles(found))
    return Document(lead=tuple(blocks))


def _facts(found: Inspection) -> Iterator[tuple[str, str]]:
    yield from side_facts("checkpoint", found.checkpoint)
    how = {"config": "by config.json", "names": "by its names"}.get(found.known_from, "by words in its names")
    yield "model", f"{found.model_class or 'no class named'} · {found.family} ({how})"
    total = sum(found.types.values()) or 1
    yield "types", ", ".join(f"{name} ({percent(size / total)})" for name, size in found.types.items())
    yield "read", join_names(found.files, _MOST_FILES)
    if found.checkpoint.unread:
        yield "not read", join_names(found.checkpoint.unread)
    if found.adapter is not None:
        facts = found.adapter
        ranks = f" of rank {join_names([str(rank) for rank in facts.ranks])}" if facts.ranks else ""
        yield "adapter", f"{facts.method}{ranks} on {facts.modules} modules ({join_names(facts.targets, 6)})"
        yield "", f"made on {facts.base or 'a base that it does not name'}"


def _roles(found: Inspection) -> Table:
    rows = [
        (
            item.role,
            f"{item.tensors:,}",
            f"{item.parameters:,}",
            format_number(item.rms),
            format_number(item.max_abs),
        )
        for item in found.roles
    ]
    titles = ("tensors", "parameters", "root mean square", "largest |w|")
    columns = (Column("role", "words"), *map(Column, titles))
    return cut_table("roles", "Values by role", columns, rows)


def inspection_json(found: Inspection) -> dict[str, Any]:
    """The same as what JSON is made of."""
    return {"format_version": FORMAT_VERSION, **asdict(found), "promises": promises_document(found.promises)}
