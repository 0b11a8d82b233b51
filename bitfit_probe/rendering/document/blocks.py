"""What a document is made of: a tree of a few kinds of blocks, all of plain text.

Builders (`bitfit_probe.rendering.subjects`) make blocks from records and escape nothing; each writer beside
this module writes any document, and it alone knows what its readers would take for markup.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from bitfit_probe.records import Severity
from bitfit_probe.rendering.words import printable, shell_lines

if TYPE_CHECKING:
    from bitfit_probe.rendering.charts import Panel

__all__ = [
    "Block",
    "Chart",
    "Code",
    "Column",
    "Document",
    "Facts",
    "FindingBlock",
    "Fold",
    "Part",
    "Points",
    "Section",
    "Steps",
    "Table",
    "Text",
    "Tone",
]

#: A paragraph; one set apart and quieter; the sentence that a document is about; what must not be missed.
Tone = Literal["plain", "note", "verdict", "alarm"]


@dataclass(frozen=True)
class Text:
    """A paragraph; `about` names the checkpoints of which it is true where there are several."""

    text: str
    tone: Tone = "plain"
    about: tuple[str, ...] = ()


@dataclass(frozen=True)
class Facts:
    """Names and what they stand for, a line each; a fact without a name goes on with the one before."""

    items: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Steps:
    """Things to do, first things first; each with the anchor of what it follows from."""

    items: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Points:
    """Sentences of equal rank, under a title where they have one."""

    items: tuple[str, ...]
    title: str = ""


@dataclass(frozen=True)
class Code:
    """Text to copy, as it is, in a language: ``python``, ``markdown``, or ``sh`` for one command."""

    key: str
    text: str
    language: str

    def lines(self, width: int) -> list[str]:
        """What to copy, safe to print; a command in lines of `width` columns where a shell allows it."""
        if self.language == "sh":
            return list(map(printable, shell_lines(self.text, width)))
        return list(map(printable, self.text.rstrip("\n").split("\n")))


@dataclass(frozen=True)
class Column:
    """A column's heading, and whether it holds names from files, numbers or words.

    `rank` says what goes where there is little room: the highest first, 0 never.
    """

    title: str
    kind: Literal["name", "number", "words"] = "number"
    rank: int = 0


@dataclass(frozen=True)
class Table:
    """Rows of finished text under headings; the first cell names its row.

    Attributes
    ----------
    key
        Unique within a document.
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
class Chart:
    """A figure, with the numbers that it shows as tables.

    Attributes
    ----------
    draw
        Makes the figure, where a writer can show one; None where there is nothing to draw.
    tables
        The same as numbers; all that a terminal shows.
    """

    key: str
    draw: Callable[[], Panel | None] = field(compare=False)
    caption: str = ""
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True)
class FindingBlock:
    """One finding, with its anchor.

    Attributes
    ----------
    about
        The checkpoint that it is about, where there are several.
    numbers
        The evidence as a table; None without any.
    told
        The evidence in words, one number each.
    """

    key: str
    severity: Severity
    code: str
    name: str
    message: str
    advice: str = ""
    details: str = ""
    about: str = ""
    subjects: tuple[str, ...] = ()
    numbers: Table | None = None
    told: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fold:
    """Blocks that open on demand, where a writer can fold."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Part:
    """Blocks under a title of their own, such as what a section says about one of several checkpoints."""

    title: str
    blocks: tuple[Block, ...]


Block = Text | Facts | Steps | Points | Code | Table | Chart | FindingBlock | Fold | Part


@dataclass(frozen=True)
class Section:
    """One question and its answer."""

    key: str
    title: str
    blocks: tuple[Block, ...] = ()


@dataclass(frozen=True)
class Document:
    """Blocks before the first section, then sections.

    Attributes
    ----------
    title
        Empty where the reader knows what was asked.
    version
        Of bitfit-probe, that made it; empty where nobody needs to know.
    data
        Everything as JSON, for a page that programs read as well.
    command
        What prints the same for programs.
    """

    title: str = ""
    lead: tuple[Block, ...] = ()
    sections: tuple[Section, ...] = ()
    version: str = ""
    data: str = ""
    command: str = "bitfit-probe diff"
