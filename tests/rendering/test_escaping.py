"""Names from files in Markdown and SARIF: read by another Markdown parser, they are text and nothing more."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from bitfit_probe.records import Check, Evidence, Finding, NotChecked
from bitfit_probe.rendering import check_to_sarif, report_to_markdown
from bitfit_probe.rendering.escaping import code_span, escape_markdown
from bitfit_probe.rendering.words import printable
from tests.support import reports

HOSTILE = (
    "@org/team",
    "layer.@org/team.bias",
    "ask (@someone)",
    "#123",
    "org/repo#123",
    "GH-123",
    "gh-7",
    "!42",
    "%3",
    "~bug",
    "&5",
    "$12",
    "https://evil.example/x?a=b&c=d",
    "http://evil.example",
    "ftp://evil.example",
    "www.evil.example",
    "WWW.evil.example",
    "<https://evil.example>",
    "me@evil.example",
    "mailto:me@evil.example",
    "0123456789abcdef0123456789abcdef01234567",
    "deadbee",
    "org/repo@deadbeef",
    ":tada:",
    "$a_b$",
    "$`a`$",
    "<img src=x onerror=1>",
    "<!-- hidden -->",
    "<script>alert(1)</script>",
    "&lt;b&gt;",
    "a|b",
    "a|@org|b",
    "@a\\|b",
    "\\",
    "@a\\",
    "`x`",
    "`@x`",
    "``@x",
    "@x```",
    "`",
    "[a](http://b)",
    "![a](http://b)",
    "[a][b]",
    "[^1]",
    "[ ] done",
    "[!NOTE]",
    "1. x",
    "1)",
    "+ x",
    "- x",
    "> x",
    "---",
    "===",
    "# x",
    "~~~",
    "```",
    "~~x~~",
    "*b*",
    "_b_",
    "**@b**",
    "a\nb",
    "a\n@b",
    "\u202eevil",
    "\ud800",
)

#: What a forge looks for in rendered text outside code, and the tests of this file must not find there.
_MENTIONS = re.compile(
    r"@\w|[#!~%&$]\d|\bGH-\d|\bwww\.|://|:[a-z]+:|\$\S|(?<![\w.])[0-9a-f]{7,40}(?!\w)", re.IGNORECASE
)
_HARMLESS = {
    *("paragraph_open", "paragraph_close", "inline", "text", "text_special", "code_inline", "softbreak"),
    *("table_open", "table_close", "thead_open", "thead_close", "tbody_open", "tbody_close"),
    *("tr_open", "tr_close", "th_open", "th_close", "td_open", "td_close"),
}


def parsed(markdown):
    """Tokens of a parser with GitHub's extensions, flat; without its guesses at bare host names."""
    parser = MarkdownIt("gfm-like")
    parser.linkify.set({"fuzzy_link": False})
    for token in parser.parse(markdown):
        yield token
        yield from token.children or ()


def visible(tokens):
    return "".join(token.content for token in tokens if token.type in ("text", "text_special", "code_inline"))


def assert_inert(name, markdown):
    tokens = list(parsed(markdown))
    assert {token.type for token in tokens} <= _HARMLESS
    outside = " ".join(token.content for token in tokens if token.type in ("text", "text_special"))
    assert not _MENTIONS.search(outside), outside
    return visible(tokens)


def squeezed(text):
    """Without the spaces that Markdown drops or folds."""
    return re.sub(" +", "", printable(text))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_shown_and_is_not_live(name):
    assert squeezed(assert_inert(name, escape_markdown(name))) == squeezed(name)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_shown_and_is_not_live_in_a_cell(name):
    table = f"| one | two |\n|:--|--:|\n| {escape_markdown(name)} | last |\n"
    shown = assert_inert(name, table)
    assert squeezed(shown) == f"onetwo{squeezed(name)}last"


@pytest.mark.parametrize("name", HOSTILE)
def test_a_path_is_one_code_span(name):
    tokens = [token for token in parsed(code_span(name)) if token.type != "inline"]
    assert [token.type for token in tokens] == ["paragraph_open", "code_inline", "paragraph_close"]
    assert tokens[1].content == printable(name)


@given(st.text("@#ab1/:.|`\\<>[]()!*_~&$ -+=w\n", max_size=30))
@example("a@b` c`")
@example("\\`@`\\")
def test_whatever_is_in_a_name(name):
    shown = assert_inert(name, f"x {escape_markdown(name)} x")
    assert squeezed(shown) == squeezed(f"x{name}x")


def hostile_report(name):
    """A report in which every name, path and sentence holds `name`."""
    report = reports.full_report(1)
    (comparison,) = report.diff.comparisons
    rows = tuple(replace(row, name=name, tuned_name=name) for row in comparison.tensors)
    comparison = replace(comparison, tuned=replace(comparison.tuned, path=name), tensors=rows)
    diff = replace(report.diff, base=replace(report.diff.base, path=name), comparisons=(comparison,))
    check = Check((hostile_finding(name),), ("BP403",), (NotChecked("BP101", name, name),))
    return replace(report, diff=diff, check=check)


def hostile_finding(name):
    return Finding(
        code="BP403",
        name="key-bias-noise",
        severity="error",
        message=f"{name} moved",
        evidence=(Evidence(name, 0.5, about=name, source=name),),
        advice=f"look at {name}",
        subjects=(name,),
        tuned=name,
    )


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_in_a_whole_report_is_live(name):
    ours = report_to_markdown(hostile_report("plain"))
    theirs = report_to_markdown(hostile_report(name))
    expected = {token.type for token in parsed(ours)} | {"code_inline"}
    tokens = list(parsed(theirs))
    assert {token.type for token in tokens} <= expected
    assert "link_open" not in expected
    for token in tokens:
        if token.type in ("text", "text_special"):
            assert not _MENTIONS.search(token.content), token.content
        if token.type == "html_block":  # the folds' own titles
            assert printable(name) not in token.content or name in ("\\", "`")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("[a](http://b)", "\\[a](http://b)"),
        ("x[1]", "x[1]"),
        ("[[a](1)", "\\[\\[a](1)"),
    ],
)
def test_sarif_messages_hold_no_links(name, shown):
    check = Check((replace(hostile_finding(name), tuned="m"),), ("BP403",), (NotChecked("BP101", name, "m"),))
    from bitfit_probe.api.check import explanations

    (run,) = json.loads(check_to_sarif(check, explanations(), version="1"))["runs"]
    assert run["results"][0]["message"]["text"] == f"{shown} moved look at {shown}"
    (note,) = run["invocations"][0]["toolExecutionNotifications"]
    assert note["message"]["text"].endswith(shown)
    # What machines compare is left as it is.
    assert run["results"][0]["locations"][0]["logicalLocations"][0]["name"] == name
