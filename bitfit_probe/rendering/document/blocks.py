"""What a document is made of: a tree of a few kinds of blocks, all of plain text.

Builders (`bitfit_probe.rendering.subjects`) make blocks from records and escape nothing; each writer beside
this module writes any document, and it alone knows what its readers would take for markup.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import TYPE_CHECKING, Literal

from bitfit_probe.frozen import Frozen
from bitfit_probe.records import Severity
from bitfit_probe.records.decision import Answer
from bitfit_probe.rendering.words import printable, shell_lines

if TYPE_CHECKING:
    from bitfit_probe.records import Severity
    from bitfit_probe.rendering.charts import Panel

__all__ = [
    "Block",
    "Card",
    "Cards",
    "Cell",
    "Chart",
    "Code",
    "Column",
    "Curve",
    "Document",
    "Facts",
    "FindingBlock",
    "Fold",
    "Headline",
    "Heat",
    "Part",
    "Points",
    "Section",
    "Step",
    "Steps",
    "Strip",
    "Strips",
    "Table",
    "Text",
    "Tone",
]

#: A paragraph; one set apart and quieter; the sentence that says what moved; what must not be missed.
Tone = Literal["plain", "note", "verdict", "alarm"]


class Text(Frozen):
    """A paragraph; `about` names the checkpoints of which it is true where there are several."""

    text: str
    tone: Tone = "plain"
    about: tuple[str, ...] = ()


class Facts(Frozen):
    """Names and what they stand for, a line each; a fact without a name goes on with the one before."""

    items: tuple[tuple[str, str], ...]


class Headline(Frozen):
    """What a document comes to: an answer in a word or two, and its reason."""

    answer: Answer
    text: str
    why: str


class Card(Frozen):
    """One of the few figures that are read first; `anchor` leads to the section that it is from.

    A figure that was not measured is empty, and the note says what it takes.
    """

    title: str
    figure: str
    note: str
    anchor: str


class Cards(Frozen):
    """Figures side by side."""

    items: tuple[Card, ...]


class Step(Frozen):
    """One thing to do, the command that does it, and the anchor of what it follows from."""

    text: str
    anchor: str
    command: str = ""


class Steps(Frozen):
    """Things to do, first things first."""

    items: tuple[Step, ...]


class Points(Frozen):
    """Sentences of equal rank, under a title where they have one."""

    items: tuple[str, ...]
    title: str = ""


class Code(Frozen):
    """Text to copy, as it is, in a language: ``python``, ``markdown``, or ``sh`` for one command."""

    key: str
    text: str
    language: str

    def lines(self, width: int) -> list[str]:
        """What to copy, safe to print; a command in lines of `width` columns where a shell allows it."""
        if self.language == "sh":
            return list(map(printable, shell_lines(self.text, width)))
        return list(map(printable, self.text.rstrip("\n").split("\n")))


class Column(Frozen):
    """A column's heading, and whether it holds names from files, numbers or words.

    `rank` says what goes where there is little room: the highest first, 0 never.
    """

    title: str
    kind: Literal["name", "number", "words"] = "number"
    rank: int = 0


class Table(Frozen):
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


class Chart(Frozen):
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


class Cell(Frozen):
    """A cell of a heat map: its text, its place on the colour scale (0 to 1; None: no colour), in words."""

    text: str
    share: float | None
    told: str


class Heat(Frozen):
    """A table whose cells are coloured by their figure; other writers show the figures.

    Attributes
    ----------
    columns
        Headings, that of the rows' names first.
    rows
        A name and its cells; None where there is nothing.
    peak
        What the end of the colour scale stands for.
    legend
        What rows' names stand for, where they are short.
    """

    key: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell | None, ...]], ...]
    peak: str
    legend: tuple[tuple[str, str], ...] = ()

    def named(self) -> str:
        """The legend as a sentence; empty without one."""
        return f"Roles: {', '.join(map('='.join, self.legend))}." if self.legend else ""

    def table(self) -> Table:
        """The same as numbers."""
        first, *others = self.columns
        rows = tuple(
            (name, *("" if cell is None else cell.text for cell in cells)) for name, cells in self.rows
        )
        return Table(self.key, self.caption, (Column(first, "words"), *map(Column, others)), rows)


class Strip(Frozen):
    """One row of `Strips`: a name, a figure in words, and where it lies with its interval."""

    name: str
    text: str
    value: float | None
    interval: tuple[float, float] | None = None
    filled: bool = True


class Strips(Frozen):
    """Figures on one axis, a row each; writers that don't draw show names and figures.

    Attributes
    ----------
    lines
        Where a line runs through all rows, and what it stands for: zero, a tolerance, guessing.
    axis
        What is counted, with its unit.
    form
        How the axis' ends are written.
    drawn_only
        Its figures stand in a table beside it, so that writers that don't draw leave it out.
    """

    key: str
    caption: str
    axis: str
    rows: tuple[Strip, ...]
    lines: tuple[tuple[float, str], ...] = ()
    form: str = "#.3g"
    drawn_only: bool = False

    @property
    def ends(self) -> tuple[float, float]:
        """The axis' ends: the least and the most that is drawn."""
        known = [row.value for row in self.rows if row.value is not None]
        known += [end for row in self.rows for end in row.interval or ()]
        known += [at for at, _ in self.lines]
        return min(known, default=0.0), max(known, default=1.0)

    def table(self) -> Table:
        """The same as numbers."""
        columns = (Column("", "words"), Column(self.axis, "words"))
        lines = f"; lines: {', '.join(label for _, label in self.lines)}" if self.lines else ""
        rows = tuple((row.name, row.text) for row in self.rows)
        return Table(self.key, f"{self.caption}{lines}", columns, rows)


class Curve(Frozen):
    """Values over steps, one or more lines on one axis; each line has a name."""

    key: str
    caption: str
    across: str
    up: str
    lines: tuple[tuple[str, tuple[tuple[int, float], ...]], ...]

    def told(self) -> str:
        """From where to where each line goes, in words."""
        parts = [
            f"{name} {points[0][1]:#.3g} at {self.across} {points[0][0]:,}, "
            f"{points[-1][1]:#.3g} at {points[-1][0]:,}"
            for name, points in self.lines
        ]
        return f"{'; '.join(parts)}."


class FindingBlock(Frozen):
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


class Fold(Frozen):
    """Blocks that open on demand, where a writer can fold."""

    title: str
    blocks: tuple[Block, ...]


class Part(Frozen):
    """Blocks under a title of their own, such as what a section says about one of several checkpoints."""

    title: str
    blocks: tuple[Block, ...]


Block = (
    Text
    | Headline
    | Cards
    | Facts
    | Steps
    | Points
    | Code
    | Table
    | Heat
    | Strips
    | Curve
    | Chart
    | FindingBlock
    | Fold
    | Part
)


class Section(Frozen):
    """One question and its answer."""

    key: str
    title: str
    blocks: tuple[Block, ...] = ()


class Document(Frozen):
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
