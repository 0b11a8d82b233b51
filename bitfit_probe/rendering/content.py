"""What a report is made of, before it becomes HTML or Markdown: sections of a few kinds of blocks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from bitfit_probe.records import Finding

if TYPE_CHECKING:
    from bitfit_probe.rendering.charts import Panel

__all__ = [
    "Block",
    "Code",
    "Column",
    "FindingBlock",
    "Fold",
    "Part",
    "Picture",
    "Points",
    "Section",
    "Steps",
    "Table",
    "Words",
    "figure",
]


def figure(value: float | int | str | bool | None, form: str = "#.3g") -> str:
    """A cell's text: three digits, a dash where nothing was computed.

    >>> figure(0.012), figure(None), figure(1234), figure(True), figure(100.0)
    ('0.0120', '–', '1,234', 'yes', '100')
    """
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return value if isinstance(value, str) else format(value, form).rstrip(".")


@dataclass(frozen=True)
class Words:
    """A paragraph; a `note` is set apart and quieter."""

    text: str
    note: bool = False


@dataclass(frozen=True)
class Steps:
    """Things to do, first things first; each with the anchor of what it follows from."""

    items: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Points:
    """Sentences of equal rank."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Code:
    """Lines to copy, as they are, in a language (``sh``, ``python``)."""

    key: str
    text: str
    language: str


@dataclass(frozen=True)
class Column:
    """A column's heading, and whether it holds names from files, numbers or words."""

    title: str
    kind: Literal["name", "number", "words"] = "number"


@dataclass(frozen=True)
class Table:
    """Rows of finished text under headings; the first cell names its row.

    Attributes
    ----------
    key
        Unique within a report.
    caption
        What it shows, in a few words.
    left_out
        How many further rows there are that only the JSON has.
    """

    key: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    left_out: int = 0


@dataclass(frozen=True)
class Picture:
    """A figure with a caption."""

    key: str
    panel: Panel
    caption: str


@dataclass(frozen=True)
class FindingBlock:
    """One finding, with its anchor."""

    key: str
    finding: Finding


@dataclass(frozen=True)
class Fold:
    """Blocks that open on demand."""

    title: str
    blocks: tuple[Block, ...]
    opened: bool = False


@dataclass(frozen=True)
class Part:
    """What a section says about one of several checkpoints."""

    title: str
    blocks: tuple[Block, ...]


Block = Words | Steps | Points | Code | Table | Picture | FindingBlock | Fold | Part


@dataclass(frozen=True)
class Section:
    """One question and its answer."""

    key: str
    title: str
    blocks: tuple[Block, ...] = field(default=())
