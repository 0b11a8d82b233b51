"""Which base a checkpoint was tuned from, and how far each of them is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from bitfit_probe.records.identification import Candidate, Identified
from bitfit_probe.rendering.as_json import FORMAT_VERSION
from bitfit_probe.rendering.document.blocks import Block, Column, Document, Points, Table, Text
from bitfit_probe.rendering.subjects.tables import cut_table
from bitfit_probe.rendering.words import format_number, percent

__all__ = ["identified_document", "identified_json"]


def identified_document(found: Identified) -> Document:
    """The answer, the distances behind it, and what could not be compared."""
    return Document(lead=tuple(_blocks(found)))


def _blocks(found: Identified) -> Iterator[Block]:
    yield Text(_answer(found), "verdict")
    compared = [item for item in found.candidates if item.distance is not None]
    if compared:
        yield _table(compared)
    if found.named is not None:
        yield Text(f"Its files name {found.named} as its base.")
    lost = tuple(f"{item.path}: {item.why}" for item in found.candidates if item.why)
    if lost:
        yield Points(lost, "Not compared:")


def _answer(found: Identified) -> str:
    first, second = found.candidates[0], found.candidates[1:2]
    if found.standing == "untold":
        return f"Can't tell which base {found.tuned} was tuned from: no values could be compared."
    if found.standing == "none":
        why = "has little to do with it" if first.distance is not None else "has other tensors"
        return f"None of these: the nearest, {first.path}, {why}."
    if found.standing == "tied":
        return f"Can't tell {first.path} from {second[0].path}: both are as near in the rows that were read."
    if not second or second[0].distance is None:
        return f"Tuned from {first.path}, or from a close relative of it: no other base was compared."
    return f"Tuned from {first.path}: {_margin(found)}."


def _margin(found: Identified) -> str:
    nearer = f"it is nearer in {percent(found.nearer)} of the matrices" if found.nearer is not None else ""
    if found.margin is None or math.isinf(found.margin):
        return "the matrices that were read are equal to its own, and not to the next one's"
    times = f"the next is {format_number(found.margin)} times as far away"
    return f"{times}, and {nearer}" if nearer else times


def _table(compared: list[Candidate]) -> Table:
    rows = [
        (
            item.path,
            format_number(item.distance),
            format_number(item.cosine),
            percent(item.equal or 0.0),
            percent(item.coverage),
            f"{item.tensors:,}",
        )
        for item in compared
    ]
    columns = (
        Column("base", "name"),
        Column("distance"),
        Column("cosine"),
        Column("equal values", rank=1),
        Column("matrices in it", rank=2),
        Column("sampled", rank=3),
    )
    return cut_table("bases", "How far each base is", columns, rows)


def identified_json(found: Identified) -> dict[str, Any]:
    """The same as what JSON is made of; a margin without bound is null, as one without a second base is."""
    return {"format_version": FORMAT_VERSION, **asdict(found)}
