"""Text from files so that Markdown shows it and a forge (GitHub, GitLab) does nothing with it.

A backslash keeps Markdown from reading markup, but not a forge from finding ``@org/team``, ``#123``, a commit
or an address in what Markdown made: those are looked for in the rendered text. They are looked for outside
code only, so a word that holds one becomes a code span, which shows the word as it is.
"""

from __future__ import annotations

import re

from bitfit_probe.rendering.words import printable

__all__ = ["code_span", "escape_markdown", "escape_sarif"]

#: What Markdown or HTML would take for markup, also after a line's start.
_SPECIAL = re.compile(r"([\\`*_\[\]|~&])")
_BLOCK = re.compile(r"^(\d+)([.)](?:\s|$))|^([-=+#>]+)")
#: What forges make live: mentions and e-mail, addresses, references to issues, requests, snippets and
#: milestones, formulas, pictograms, commits.
_LIVE = re.compile(
    r"@|://|www\.|[#!&%~]\w|\$|:[\w+-]+:|\bGH-\d|(?<![\w.])[0-9a-f]{7,40}(?!\w)",
    re.IGNORECASE,
)


def escape_markdown(text: str) -> str:
    r"""`text` so that Markdown shows it as it is, also in a cell of a table, and nothing in it is live.

    >>> escape_markdown("a_b*c <img> | x")
    'a\\_b\\*c &lt;img> \\| x'
    >>> escape_markdown("ask @org/team about #12")
    'ask `@org/team` about `#12`'
    """
    # In a table a bar ends the cell even within a code span, and outside one a span shows its backslash.
    words = re.split(r"([ |])", printable(text))
    plain = "".join(code_span(word) if _LIVE.search(word) else _inert(word) for word in words)
    return _BLOCK.sub(lambda start: f"{start[1]}\\{start[2]}" if start[1] else f"\\{start[3]}", plain)


def code_span(text: str) -> str:
    """`text` as a code span between backticks that no run of backticks in it can close.

    >>> code_span("a`b")
    '``a`b``'
    """
    plain = printable(text)
    fence = "`" * (max(map(len, re.findall("`+", plain)), default=0) + 1)
    # A space at both ends is taken off again, and keeps a backtick of the text apart from the fence.
    pad = " " if plain[:1] in ("`", " ") or plain[-1:] in ("`", " ") else ""
    return f"{fence}{pad}{plain}{pad}{fence}" if plain.strip() else plain


def escape_sarif(text: str) -> str:
    r"""`text` without embedded links, ``[words](target)`` (SARIF 2.1.0, §3.11.6).

    >>> escape_sarif("row[0] of [here](https://example.org)")
    'row[0] of \\[here](https://example.org)'
    """
    return re.sub(r"\[(?=[^\]]*\]\()", r"\\[", text)


def _inert(word: str) -> str:
    return _SPECIAL.sub(r"\\\1", word).replace("<", "&lt;")
