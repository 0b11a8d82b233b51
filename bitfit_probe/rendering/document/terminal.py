"""Any document in a terminal of any width; nothing in it is obeyed by the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from bitfit_probe.rendering.document.blocks import (
    Block,
    Card,
    Cards,
    Chart,
    Code,
    Curve,
    Document,
    Facts,
    FindingBlock,
    Fold,
    Headline,
    Heat,
    Part,
    Points,
    Step,
    Steps,
    Strips,
    Table,
    Text,
)
from bitfit_probe.rendering.document.columns import table_lines
from bitfit_probe.rendering.words import plural, printable, shorten

__all__ = ["to_text"]

_SYMBOLS = {"error": "✗", "warning": "!", "info": "i"}
_INDENT = "  "


def to_text(document: Document, width: int = 80) -> str:
    """The document in lines of at most `width` columns, with a line break at its end.

    The title and lines to copy keep words that are longer than a line whole: they may be paths.
    """
    parts = [_wrap(document.title, width, whole=True)] if document.title else []
    parts += _blocks(document.lead, width)
    for section in document.sections:
        parts += [[*_wrap(section.title, width), "─" * min(len(section.title), width)]]
        parts += _blocks(section.blocks, width)
    lines = [line.rstrip() for part in parts if part for line in (*part, "")]
    return "\n".join(lines[:-1]) + "\n"


def _blocks(blocks: Iterable[Block], width: int) -> list[list[str]]:
    """The lines of each block that has any."""
    return [lines for block in blocks for lines in _block(block, width) if lines]


def _block(block: Block, width: int) -> Iterator[list[str]]:
    if isinstance(block, Text):
        yield _text(block, width)
    elif isinstance(block, Headline):
        yield _wrap(f"{block.text}: {block.why}", width)
    elif isinstance(block, Cards):
        yield list(_facts(Facts(tuple(map(_card, block.items))), width))
    elif isinstance(block, Facts):
        yield list(_facts(block, width))
    elif isinstance(block, Steps):
        yield [line for at, item in enumerate(block.items, 1) for line in _step(f"{at}. ", item, width)]
    elif isinstance(block, Points):
        points = (_hang("- ", text, width) for text in block.items)
        yield [*_wrap(block.title, width), *(line for lines in points for line in lines)]
    elif isinstance(block, Code):
        yield block.lines(width)
    elif isinstance(block, Table):
        yield list(_table(block, width))
    elif isinstance(block, Heat):
        yield list(_table(block.table(), width))
        yield _wrap(block.named(), width)
    elif isinstance(block, Strips):
        yield [] if block.drawn_only else list(_table(block.table(), width))
    elif isinstance(block, Curve):
        yield _wrap(f"{block.caption} {block.told()}", width)
    elif isinstance(block, Chart):  # where its numbers stand beside it already, there is nothing to say
        yield from (list(_table(table, width)) for table in block.tables)
        yield _wrap(block.caption, width) if block.tables else []
    elif isinstance(block, FindingBlock):
        yield list(_finding(block, width))
    elif isinstance(block, Fold):  # a terminal can't fold
        yield from _titled(block, _blocks(block.blocks, width), width)
    elif isinstance(block, Part):
        inner = _blocks(block.blocks, width - len(_INDENT))
        indented = [[_INDENT + line for line in lines] for lines in inner]
        yield from _titled(block, indented, width)


def _titled(block: Fold | Part, inner: list[list[str]], width: int) -> Iterator[list[str]]:
    if inner:
        yield [*_wrap(block.title, width), *inner[0]]
        yield from inner[1:]


def _card(card: Card) -> tuple[str, str]:
    return (
        card.title,
        f"{card.figure}; {card.note}" if card.figure and card.note else card.figure or card.note,
    )


def _step(mark: str, step: Step, width: int) -> list[str]:
    inside = width - len(mark)
    lines = Code("", step.command, "sh").lines(inside) if step.command else []
    return [*_hang(mark, step.text, width), *(" " * len(mark) + line for line in lines)]


def _text(block: Text, width: int) -> list[str]:
    about = f"{', '.join(block.about)}: " if block.about else ""
    mark = "✗ " if block.tone == "alarm" else ""
    return _hang(mark, f"{about}{block.text}", width)


def _facts(block: Facts, width: int) -> Iterator[str]:
    size = min(max((len(printable(name)) for name, _ in block.items), default=0) + 2, width // 2)
    for name, value in block.items:
        label = shorten(printable(name), size - 2)
        lines = _wrap(value, width - size) or [""]
        yield f"{label:<{size}}{lines[0]}"
        yield from (" " * size + line for line in lines[1:])


def _table(table: Table, width: int) -> Iterator[str]:
    yield from _wrap(table.caption, width)
    yield from table_lines(table, width)
    if table.left_out:
        yield from _wrap(f"{plural(table.left_out, 'more row')} in the JSON.", width)


def _finding(block: FindingBlock, width: int) -> Iterator[str]:
    yield from _wrap(f"{_SYMBOLS[block.severity]} {block.severity} {block.code} {block.name}", width)
    if block.about:
        yield _INDENT + shorten(printable(block.about), width - len(_INDENT))
    evidence = f"Evidence: {'; '.join(block.told)}." if block.told else ""
    advice = f"What to do: {block.advice}" if block.advice else ""
    for text in (block.message, block.details, evidence, advice):
        yield from (_INDENT + line for line in _wrap(text, width - len(_INDENT)))


def _hang(mark: str, text: str, width: int) -> list[str]:
    """`text` behind a mark, its later lines below its first."""
    lines: Sequence[str] = _wrap(text, width - len(mark))
    return [(mark if at == 0 else " " * len(mark)) + line for at, line in enumerate(lines)]


def _wrap(text: str, width: int, *, whole: bool = False) -> list[str]:
    import textwrap

    return textwrap.wrap(printable(text), width, break_on_hyphens=False, break_long_words=not whole)
