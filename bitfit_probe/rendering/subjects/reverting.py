"""What putting groups of biases back to the base did, on labelled examples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bitfit_probe.records.measures import Revert, Reverting
from bitfit_probe.rendering.document.blocks import Block, Column, Strip, Strips, Text
from bitfit_probe.rendering.figures import measure
from bitfit_probe.rendering.subjects.ranking import group_name, group_words
from bitfit_probe.rendering.subjects.tables import cut_table
from bitfit_probe.rendering.words import format_number, plural

__all__ = ["reverting_blocks", "reverting_strips"]

_LOSS, _ACCURACY = measure("loss_change"), measure("accuracy_change")


def reverting_blocks(key: str, found: Reverting) -> Iterator[Block]:
    """Groups by what the loss gains without them, then those that are restorable at no loss."""
    accuracy = "" if found.accuracy is None else f", accuracy {found.accuracy:.1%}"
    caption = (
        f"Biases by {found.by}, put back to the base one at a time "
        f"({plural(found.examples, 'example')}, loss {found.loss:.3f}{accuracy})"
    )
    columns = [Column(found.by, "words"), Column(_LOSS.label), Column("its interval", rank=1)]
    if found.accuracy is not None:
        columns += [Column(_ACCURACY.label), Column("its interval", rank=2)]
    columns.append(Column("verdict", "words"))
    yield cut_table(key, caption, columns, [_row(row, found) for row in found.rows])
    yield Text(_restorable(found))
    yield Text(_intervals(found), "note")
    yield from (Text(f"Data: {note}.", "note") for note in found.notes)


def reverting_strips(key: str, found: Reverting, most: int = 12) -> Strips:
    """What the examples lose with one group put back, in the order of what they lose."""
    rows = tuple(
        Strip(
            group_words(row.group),
            f"{_LOSS.text(row.loss_change)} {_LOSS.interval(row.loss_interval)}, {row.verdict}",
            row.loss_change,
            row.loss_interval,
            filled=row.verdict == "matters",
        )
        for row in found.rows[:most]
    )
    tolerance = f"tolerance {format_number(found.tolerance, 'g')}"
    caption = f"What is lost with biases of one {found.by} put back to the base"
    lines = ((0.0, "0"), (found.tolerance, tolerance))
    return Strips(key, caption, f"rise of the loss, {found.unit}", rows, lines, drawn_only=True)


def _row(row: Revert, found: Reverting) -> tuple[str, ...]:
    cells = [group_name(row.group), _LOSS.text(row.loss_change), _LOSS.interval(row.loss_interval)]
    if found.accuracy is not None:
        cells += [_ACCURACY.text(row.accuracy_change), _ACCURACY.interval(row.accuracy_interval)]
    return (*cells, row.verdict)


def _restorable(found: Reverting) -> str:
    free = [row for row in found.rows if row.verdict == "free"]
    none = [row for row in found.rows if row.verdict == "no effect"]
    parts = [
        f"Restorable at no loss, each by itself: {_labels(free)}."
        if free
        else "No group is restorable at no loss."
    ]
    if none:
        parts.append(f"Without effect, because softmax cancels them: {_labels(none)}.")
    if found.together is not None:
        together = found.together
        change = f"{_LOSS.text(together.loss_change)} {_LOSS.interval(together.loss_interval)}"
        settled = "free" if together.free else "matters" if together.matters else "undecided"
        parts.append(f"All of them at once: loss {change}, {settled}.")
    return " ".join(parts)


def _labels(rows: Sequence[Revert]) -> str:
    return ", ".join(group_name(row.group) for row in rows)


def _intervals(found: Reverting) -> str:
    fewest = min((row.examples for row in found.rows), default=found.examples)
    early = f" Groups that were decided early saw {fewest:,} examples." if fewest < found.examples else ""
    return (
        f"Free: the loss rises by less than {format_number(found.tolerance, 'g')} {found.unit}; matters: by "
        f"more. Intervals of {found.confidence:.0%} over examples, for each group by itself.{early}"
    )
