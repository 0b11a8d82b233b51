"""A table in a terminal: columns that have no room go, those that may not go stand below the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from bitfit_probe.frozen import Frozen
from bitfit_probe.rendering.words import join_names, printable, shorten

if TYPE_CHECKING:
    from bitfit_probe.rendering.document.blocks import Table

__all__ = ["table_lines"]

#: How a table is set, the first way that fits: are headings broken, and how many blanks between columns.
_WAYS = ((False, 2), (True, 2), (True, 1))
_MOST_NAMED = 6


class _Cells(Frozen):
    """A column ready to print: its heading whole and in lines, its cells, their side."""

    title: str
    broken: tuple[str, ...]
    cells: tuple[str, ...]
    right: bool
    rank: int

    def heading(self, broken: bool) -> tuple[str, ...]:
        return self.broken if broken else (self.title,)

    def width(self, broken: bool) -> int:
        return max(map(len, (*self.heading(broken), *self.cells)))


def table_lines(table: Table, width: int) -> Iterator[str]:
    """Heading and rows; names stand last, where their ends need no padding, and lose their beginnings."""
    last = bool(table.columns) and table.columns[0].kind == "name"
    first, *rest = (_cells(table, at, width) for at in range(len(table.columns)))
    shown, ways = _fitting(first, rest, width)
    for block in shown:
        broken, blanks = ways
        columns = [*block, first] if last else [first, *block]
        lines = max(len(column.heading(broken)) for column in columns)
        heads = [("",) * (lines - len(c.heading(broken))) + c.heading(broken) for c in columns]
        for texts in (*zip(*heads, strict=True), *zip(*(c.cells for c in columns), strict=True)):
            padded = (
                text.rjust(column.width(broken)) if column.right else text.ljust(column.width(broken))
                for text, column in zip(texts, columns, strict=True)
            )
            yield shorten((" " * blanks).join(padded).rstrip(), width)
    gone = [column.title for column in rest if all(column not in block for block in shown)]
    if gone:
        yield shorten(f"(with more room: {join_names(gone, _MOST_NAMED)})", width)


def _cells(table: Table, at: int, width: int) -> _Cells:
    column = table.columns[at]
    most = width * 3 // 5 if column.kind == "name" else max(width // 3, 12)
    short = _end if column.kind == "name" else shorten
    cells = tuple(short(printable(row[at]), most) for row in table.rows)
    title = printable(column.title)
    return _Cells(
        title=shorten(title, most),
        broken=_broken(title, max(map(len, cells), default=0), most),
        cells=cells,
        right=column.kind == "number",
        rank=column.rank,
    )


def _broken(title: str, size: int, most: int) -> tuple[str, ...]:
    """A heading in as many lines as its cells are narrow."""
    import textwrap

    longest = max(map(len, title.split()), default=0)
    lines = textwrap.wrap(title, min(max(size, longest, 1), most), break_on_hyphens=False)
    return tuple(lines) or ("",)


def _end(name: str, width: int) -> str:
    """The end of a name, where a tensor's role and layer and a path's own name stand."""
    return name if len(name) <= width else f"…{name[len(name) - width + 1 :]}"


def _fitting(
    first: _Cells, rest: Sequence[_Cells], width: int
) -> tuple[list[list[_Cells]], tuple[bool, int]]:
    """Blocks of columns that stand below each other, mostly one, and how they are set."""
    columns = list(rest)
    while True:
        for way in _WAYS:
            if _width(first, columns, way) <= width:
                return [columns], way
        least = max((column.rank for column in columns), default=0)
        if least == 0:
            return _split(first, columns, width), _WAYS[-1]
        columns = [column for column in columns if column.rank < least]


def _split(first: _Cells, columns: list[_Cells], width: int) -> list[list[_Cells]]:
    """As few blocks as fit, of about equal length."""
    for count in range(2, len(columns) + 1):
        share = -(-len(columns) // count)
        blocks = [columns[at : at + share] for at in range(0, len(columns), share)]
        if all(_width(first, block, _WAYS[-1]) <= width for block in blocks):
            return blocks
    return [[column] for column in columns]


def _width(first: _Cells, columns: Sequence[_Cells], way: tuple[bool, int]) -> int:
    broken, blanks = way
    return sum(column.width(broken) + blanks for column in (first, *columns)) - blanks
