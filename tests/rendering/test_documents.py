"""Every writer writes every block, whatever the text in it is, and shows all of it."""

from __future__ import annotations

import html
import re
from dataclasses import fields
from itertools import pairwise
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from support import reports

from bitfit_probe.records.diff import TensorDelta
from bitfit_probe.records.measures import Ranked, Revert, Spectrum
from bitfit_probe.rendering import charts
from bitfit_probe.rendering.document.blocks import (
    Block,
    Card,
    Cards,
    Cell,
    Chart,
    Code,
    Column,
    Curve,
    Document,
    Facts,
    FindingBlock,
    Fold,
    Headline,
    Heat,
    Part,
    Points,
    Section,
    Step,
    Steps,
    Strip,
    Strips,
    Table,
    Text,
)
from bitfit_probe.rendering.document.html import to_html
from bitfit_probe.rendering.document.markdown import to_markdown
from bitfit_probe.rendering.document.terminal import to_text
from bitfit_probe.rendering.figures import MEASURES, measure
from bitfit_probe.rendering.subjects.training import _spread
from bitfit_probe.rendering.words import printable

HOSTILE = (
    "<script>alert(1)</script>",
    "</script><!--",
    "<img src=x onerror=1>",
    "a\x1b[31mred\x07",
    "a\u202eb",
    "line\nbreak\r\tand tab",
    "| a | b |",
    "```\n# x",
    "@org/team #12",
    "{{ 7 * 7 }}",
    "\ud800",
    "\"' onmouseover='x'",
    "x" * 300,
    "",
)
NAMES = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=40))
WORD = "word"


def every_block(text: str) -> tuple[Block, ...]:
    """One of each kind, and of each way to fill it, with `text` wherever text can stand."""
    columns = (Column(text, "name"), Column(text), Column(text, "words", 1))
    table = Table("table", text, columns, ((text, text, text),) * 2, left_out=3)
    plain = Table("plain", "", (Column(text, "words"),), ((text,),))

    finding = FindingBlock(
        "finding-1", "error", "BP201", text, text, text, text, text, (text,), table, (text,)
    )
    tones = tuple(Text(text, tone, (text,)) for tone in ("plain", "note", "verdict", "alarm"))
    return (
        *tones,
        Facts((("", text), (text, text), ("", text))),
        Steps((Step(text, "finding-1"), Step(text, "x", "bitfit-probe explain 'a b'"))),
        Headline("dont-ship", text, text),
        Cards((Card(text, text, text, "finding-1"), Card(text, "", text, "x"))),
        Heat("heat", text, (text, "0"), ((text, (Cell(text, 0.5, text),)),), text, ((text, text),)),
        Strips("strips", text, text, (Strip(text, text, 0.5, (0.0, 1.0)),), ((0.0, text), (1.0, text))),
        Curve("curve", text, text, text, ((text, ((0, 1.0), (10, 0.5))), (text, ((0, 0.0), (5, 2.0))))),
        Points((text, text), text),
        Points((text,)),
        Code("python", text, "python"),
        Code("markdown", text, "markdown"),
        Code("sh", "bitfit-probe diff 'a b' c", "sh"),
        table,
        plain,
        Table("empty", text, columns, ()),
        Chart("chart", lambda: None, text, (table,)),
        Chart("bare", lambda: None, text),
        finding,
        FindingBlock("finding-2", "info", "BP202", text, text),
        Fold(text, (table, Part(text, tones))),
        Fold(text, ()),
        Part(text, (Fold(text, (plain,)),)),
    )


def document(text: str) -> Document:
    blocks = every_block(text)
    return Document(text, blocks[:4], (Section("one", text, blocks[4:]),), text, '{"a":1}')


def test_no_kind_of_block_is_forgotten():
    assert {type(block) for block in every_block("x")} == set(get_args(Block))


def test_every_writer_shows_every_word():
    """Each text is another word, and each is found in all three."""
    marks = iter(range(10_000))
    used = []

    class Marked:
        """Gives another word each time."""

        def __call__(self) -> str:
            used.append(f"{WORD}{next(marks)}")
            return used[-1]

    word = Marked()
    blocks = (
        Text(word(), "verdict", (word(),)),
        Facts(((word(), word()),)),
        Steps((Step(word(), "x", f"bitfit-probe {word()}"),)),
        Headline("ship", word(), word()),
        Cards((Card(word(), word(), word(), "x"),)),
        Heat("h", word(), (word(), word()), ((word(), (Cell(word(), 0.1, ""),)),), "", ((used[-2], word()),)),
        Strips("s", word(), word(), (Strip(word(), word(), 0.1),), ((0.0, word()),)),
        Curve("c", word(), word(), "", ((word(), ((0, 1.0), (9, 2.0))),)),
        Points((word(), word()), word()),
        Code("c", word(), "python"),
        Table("t", word(), (Column(word(), "name"), Column(word(), rank=1)), ((word(), word()),)),
        Chart("n", lambda: None, word(), (Table("u", word(), (Column(word(), "words"),), ((word(),),)),)),
        FindingBlock("f", "warning", "BP1", word(), word(), word(), word(), word()),
        Fold(word(), (Part(word(), (Text(word()),)),)),
    )
    shown = Document(word(), (), (Section("s", word(), blocks),))
    for write in (to_text, to_markdown, to_html):
        words = set(re.findall(rf"{WORD}\d+", write(shown)))
        assert words == set(used), write


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=NAMES, width=st.integers(30, 160))
def test_a_terminal_gets_nothing_to_obey_and_no_line_that_is_too_wide(text, width):
    made = document(text)
    lines = to_text(made, width).split("\n")
    assert all(line.isprintable() for line in lines)
    copied = {*lines[:1], *(printable(line) for line in text.split("\n"))}
    copied |= {f"  {printable(x)}" for x in text.split("\n")}
    assert all(len(line) <= width for line in lines if line not in {line.rstrip() for line in copied})


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=NAMES)
def test_a_page_has_the_same_elements_whatever_the_names_are(text):
    def elements(page: str) -> list[str]:
        body = page.partition("</head>")[2]
        return re.findall(r"<(?:script|img|style|a|h1|h2|h3|td|th|li|dt|dd|p|details)\b", body)

    page = to_html(document(text))
    assert all(line.isprintable() for line in page.split("\n"))
    if text:
        assert elements(page) == elements(to_html(document("plain")))
    assert page.count("<script") == 2


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=NAMES)
def test_markdown_has_the_same_elements_whatever_the_names_are(text):
    """Read by another Markdown parser: no name opens a tag, a table, a list or a heading of its own."""
    text = " ".join(printable(text).split()) or "plain"  # how many lines a code block has is its own

    def kinds(markdown: str) -> list[str]:
        found = MarkdownIt("commonmark", {"html": True}).enable("table").parse(markdown)
        return [token.type for token in found]

    assert kinds(to_markdown(document(text))) == kinds(to_markdown(document("plain")))


@pytest.mark.parametrize("text", ["a\x1b[31mred", "\ud800", "<b>]]>"])
def test_a_figure_draws_any_name(text):
    panel = charts.heat_map(reports.comparison(1), title=text)
    shown = Document(lead=(Chart("one", lambda: panel, text),))
    assert html.escape(printable(text), quote=False) in to_html(shown)
    assert panel.words[:8] in to_markdown(shown)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_page_shows_a_name_as_it_is(text):
    cells = re.findall(r"<td data-label=\"[^\"]*\">(.*?)</td>", to_html(document(text)))
    assert {html.unescape(cell) for cell in cells} == {printable(text)}


# Tables in a terminal -----------------------------------------------------------------------------


def wide(*ranks: int) -> Table:
    columns = (Column("name", "words"), *(Column(f"c{at}", rank=rank) for at, rank in enumerate(ranks)))
    return Table("t", "", columns, (("row", *(f"{at}.123456" for at in range(len(ranks)))),))


def test_columns_of_the_highest_rank_go_first_and_are_named():
    lines = to_text(Document(lead=(wide(0, 2, 1, 2),)), 34).splitlines()
    assert lines[0].split() == ["name", "c0", "c2"]
    assert lines[-1] == "(with more room: c1 and c3)"


def test_columns_that_may_not_go_stand_below_each_other():
    """Each once, the row's name before each part."""
    lines = to_text(Document(lead=(wide(*[0] * 9),)), 40).splitlines()
    heads = [line.split() for line in lines if line.startswith("name")]
    assert [title for head in heads for title in head[1:]] == [f"c{at}" for at in range(9)]
    assert sum(line.startswith("row") for line in lines) == len(heads) == 3
    assert "more room" not in "\n".join(lines)


@given(count=st.integers(0, 300))
def test_steps_that_stay_are_the_first_the_last_and_evenly_spread(count):
    ranks = _spread(count)
    assert len(ranks) == count
    assert ranks[:1] + ranks[-1:] == [0] * min(count, 2) or count == 1
    for rank in set(ranks):
        kept = [at for at, other in enumerate(ranks) if other <= rank][:-1]  # the last lies where it lies
        assert len({later - before for before, later in pairwise(kept)}) <= 1


# Figures ------------------------------------------------------------------------------------------


def test_every_label_is_said_once():
    labels = [item.label for item in MEASURES.values()]
    doubled = {label for label in labels if labels.count(label) > 1}
    assert doubled == {"cosine"}  # of a tensor with itself, and of two checkpoints


def test_no_number_of_a_record_is_shown_under_its_identifier():
    """Figures that tables show have an entry."""
    shown = {
        TensorDelta: ("mean_abs_delta", "max_abs_delta", "relative_l2", "cosine", "changed_fraction"),
        Ranked: ("mean_abs_delta", "relative_l2", "beft", "fisher", "cosine", "mean_shift"),
        Spectrum: ("spectral_norm", "effective_rank", "stable_rank", "top_row_share", "merge_strength"),
        Revert: ("loss_change", "accuracy_change"),
    }
    for record, names in shown.items():
        assert set(names) <= {field.name for field in fields(record)}
        assert all("_" not in measure(name).label for name in names)
        assert set(names) <= set(MEASURES)
