"""What the files promise of the weights, and whether these keep it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bitfit_probe.records.promises import Promises
from bitfit_probe.rendering.document.blocks import Block, Column, Points, Table, Text
from bitfit_probe.rendering.subjects.tables import cut_table

__all__ = ["promise_blocks", "promises_sentence", "promises_table"]


def promises_sentence(promises: Promises) -> str:
    """How many are kept, broken, and not judged."""
    kept, broken, untold = (len(promises.of(state)) for state in ("kept", "broken", "untold"))
    rest = f", {untold} not judged" if untold else ""
    return f"What the files promise: {kept} kept, {broken} broken{rest}."


def promise_blocks(every: Sequence[Promises]) -> Iterator[Block]:
    """A sentence a checkpoint, under its name where there are several, and what was not judged."""
    for promises in every:
        if promises.items:
            yield Text(promises_sentence(promises), about=(promises.path,) if len(every) > 1 else ())
    untold = dict.fromkeys(item.says for promises in every for item in promises.of("untold"))
    if untold:
        yield Points(tuple(untold), "Promised, and not judged:")


def promises_table(key: str, promises: Promises) -> Table:
    """All of them, the broken ones first."""
    rows = [(item.state, item.source, item.expected, item.found) for item in promises.items]
    columns = (
        Column("state", "words"),
        Column("read in", "words"),
        Column("promised", "words"),
        Column("found", "words"),
    )
    return cut_table(key, "What the files promise", columns, rows)
