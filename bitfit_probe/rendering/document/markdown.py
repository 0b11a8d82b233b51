"""Any document as Markdown, for pull requests and model cards; charts are told in words."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator

from bitfit_probe.rendering.document.blocks import (
    Block,
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
    Steps,
    Strips,
    Table,
    Text,
)
from bitfit_probe.rendering.escaping import escape_markdown as escape
from bitfit_probe.rendering.words import plural, printable

__all__ = ["to_markdown"]

#: Rows of one table; a pull request's reader wants the top, and the forge cuts long texts off.
_MOST_ROWS = 20
#: Columns of a shell command.
_CODE = 78
_MARKS = {"error": "**Error**", "warning": "**Warning**", "info": "Info"}


def to_markdown(document: Document, level: int = 1) -> str:
    """The document, its title a heading of `level`, with a line break at its end."""
    lines = [f"{'#' * level} {escape(document.title)}", ""] if document.title else []
    lines += _all(document.lead, level)
    for section in document.sections:
        body = list(_all(section.blocks, level))
        if any(body):
            lines += [f"{'#' * (level + 1)} {escape(section.title)}", "", *body]
    if document.version:
        lines.append(f"_Made by bitfit-probe {escape(document.version)}._")
    return "\n".join(lines).rstrip("\n") + "\n"


def _all(blocks: Iterable[Block], level: int) -> Iterator[str]:
    for block in blocks:
        yield from _block(block, level)


def _block(block: Block, level: int) -> Iterator[str]:
    if isinstance(block, Text):
        yield from (_text(block), "")
    elif isinstance(block, Headline):
        yield from (f"**{escape(block.text)}.** {escape(block.why)}", "")
    elif isinstance(block, Cards):
        yield from (*_cards(block), "")
    elif isinstance(block, Facts):
        yield from (*_facts(block), "")
    elif isinstance(block, Steps):
        yield from (*_steps(block), "")
    elif isinstance(block, Points):
        yield from (f"{escape(block.title)}", "") if block.title else ()
        yield from (*(f"- {escape(text)}" for text in block.items), "")
    elif isinstance(block, Code):
        yield from _code(block)
    elif isinstance(block, Table):
        yield from _table(block)
    elif isinstance(block, Heat):
        yield from (*_table(block.table()), *((escape(block.named()), "") if block.legend else ()))
    elif isinstance(block, Strips):
        yield from () if block.drawn_only else _table(block.table())
    elif isinstance(block, Curve):
        yield from (escape(f"{block.caption} {block.told()}"), "")
    elif isinstance(block, Chart):
        yield from _chart(block, level)
    elif isinstance(block, FindingBlock):
        yield from _finding(block)
    elif isinstance(block, Part):
        yield from (f"{'#' * (level + 2)} {escape(block.title)}", "", *_all(block.blocks, level))
    elif isinstance(block, Fold):
        yield from ("<details>", f"<summary>{html.escape(printable(block.title))}</summary>", "")
        yield from (*_all(block.blocks, level), "</details>", "")


def _text(block: Text) -> str:
    about = f"{', '.join(block.about)}: " if block.about else ""
    text = escape(f"{about}{block.text}")
    if block.tone == "note":
        return f"_{text}_"
    return {"verdict": f"**{text}**", "alarm": f"**✕ {text}**"}.get(block.tone, text)


def _cards(block: Cards) -> Iterator[str]:
    """A list, since a table of one row is wide on a telephone."""
    for card in block.items:
        figure = f"**{escape(card.figure)}**; " if card.figure and card.note else f"**{escape(card.figure)}**"
        yield f"- {escape(card.title)}: {figure if card.figure else ''}{escape(card.note)}"


def _steps(block: Steps) -> Iterator[str]:
    for at, step in enumerate(block.items, 1):
        yield f"{at}. {escape(step.text)}"
        if step.command:
            lines = list(_code(Code("", step.command, "sh")))
            yield from ("", *(f"   {line}".rstrip() for line in lines))


def _facts(block: Facts) -> Iterator[str]:
    for name, value in block.items:
        yield f"- {escape(name)}: {escape(value)}" if name else f"  {escape(value)}"


def _chart(block: Chart, level: int) -> Iterator[str]:
    panel = block.draw()
    if panel is not None:
        yield from (escape(panel.words), "")
    if block.caption and (panel is not None or block.tables):
        yield from (f"_{escape(block.caption)}_", "")
    if block.tables:
        yield from _block(Fold("The same as numbers", block.tables), level)


def _code(block: Code) -> Iterator[str]:
    """Lines between fences that no run of backticks among them can close."""
    longest = max(map(len, re.findall("`+", block.text)), default=0)
    fence = "`" * max(3, longest + 1)
    yield f"{fence}{block.language}"
    yield from (*block.lines(_CODE), fence, "")


def _table(table: Table) -> Iterator[str]:
    yield from (escape(table.caption), "") if table.caption else ()
    yield "| " + " | ".join(escape(column.title) for column in table.columns) + " |"
    yield "|" + "|".join("--:" if column.kind == "number" else ":--" for column in table.columns) + "|"
    for row in table.rows[:_MOST_ROWS]:
        yield "| " + " | ".join(map(escape, row)) + " |"
    rest = max(len(table.rows) - _MOST_ROWS, 0) + table.left_out
    yield from ("", f"_{plural(rest, 'more row')} in the JSON._", "") if rest else ("",)


def _finding(block: FindingBlock) -> Iterator[str]:
    more = "".join(f" {escape(text)}" for text in (block.details, block.advice) if text)
    about = f" ({escape(block.about)})" if block.about else ""
    start = f"- {_MARKS[block.severity]} {block.code} {escape(block.name)}{about}"
    yield f"{start}: {escape(block.message)}{more}"
    yield ""
    if block.numbers is not None:
        yield from _table(block.numbers)
