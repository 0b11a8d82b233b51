"""Findings worst first, what was not checked, and what a code stands for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from bitfit_probe.records import Check, Explanation, Finding, Scope
from bitfit_probe.rendering.coverage import scope_sentences
from bitfit_probe.rendering.document.blocks import (
    Block,
    Column,
    Document,
    FindingBlock,
    Part,
    Points,
    Table,
    Text,
)
from bitfit_probe.rendering.subjects.failures import failed_points
from bitfit_probe.rendering.subjects.promises import promise_blocks
from bitfit_probe.rendering.subjects.tables import cut_table, evidence_table, told
from bitfit_probe.rendering.words import plural

__all__ = [
    "anchor",
    "check_document",
    "explanation_document",
    "finding_block",
    "not_checked_table",
    "silent",
    "tally",
    "worst_first",
]

_SEVERITIES = ("error", "warning", "info")


def check_document(check: Check) -> Document:
    """All findings, their count, and what silence is not worth."""
    paths = {finding.tuned for finding in check.findings} | {item.tuned for item in check.not_checked}
    found = (
        finding_block(at, item, about=item.tuned if len(paths) > 1 else "")
        for at, item in enumerate(check.findings)
    )
    return Document(
        lead=(
            *found,
            Text(tally(check)),
            *_scopes(check.scopes),
            *promise_blocks(check.promises),
            *_not_checked(check),
            *failed_points(check.failures),
        )
    )


def worst_first(check: Check | None) -> list[Finding]:
    """Findings by their severity."""
    found = check.findings if check else ()
    return sorted(found, key=lambda item: _SEVERITIES.index(item.severity))


def anchor(number: int) -> str:
    """Where a document has its n-th finding."""
    return f"finding-{number + 1}"


def finding_block(number: int, finding: Finding, *, about: str = "") -> FindingBlock:
    """A finding with its evidence, as a table and in words."""
    key, evidence = anchor(number), finding.evidence
    return FindingBlock(
        key=key,
        severity=finding.severity,
        code=finding.code,
        name=finding.name,
        message=finding.message,
        advice=finding.advice,
        details=finding.details,
        about=about,
        subjects=finding.subjects,
        numbers=evidence_table(key, f"Numbers behind {finding.code}", evidence) if evidence else None,
        told=tuple(map(told, evidence)),
    )


def tally(check: Check) -> str:
    """How many findings of each severity, and how many rules looked."""
    counts = Counter(finding.severity for finding in check.findings)
    words = [
        plural(counts["error"], "error"),
        plural(counts["warning"], "warning"),
        plural(counts["info"], "note"),
    ]
    found = ", ".join(words) if check.findings else "Nothing found"
    return f"{found}; {plural(len(check.checked), 'rule')} checked."


def _scopes(scopes: Sequence[Scope]) -> Iterator[Block]:
    """How much was looked at of each checkpoint, under its name where there are several."""
    for scope in scopes:
        said = tuple(map(Text, scope_sentences(scope)))
        yield from said if len(scopes) == 1 else (Part(scope.tuned, said),)


# What was not checked -----------------------------------------------------------------------------


def silent(check: Check) -> int:
    """How many rules could not look."""
    return len({item.code for item in check.not_checked})


def _not_checked(check: Check) -> Iterator[Block]:
    """What was not checked, by reason: silence there is no health."""
    reasons: dict[str, dict[str, None]] = {}
    for item in check.not_checked:
        reasons.setdefault(item.why, {})[item.code] = None
    if reasons:
        items = tuple(f"{_ranges(tuple(codes))}: {why}" for why, codes in reasons.items())
        yield Points(items, "Not checked:")


def _ranges(codes: Sequence[str]) -> str:
    """Codes in a row shortened: BP501–BP505, BP507."""
    runs: list[list[str]] = []
    for code in sorted(codes):
        if runs and int(code[2:]) == int(runs[-1][-1][2:]) + 1:
            runs[-1].append(code)
        else:
            runs.append([code])
    return ", ".join(run[0] if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs)


def not_checked_table(check: Check) -> Table:
    """Rules that could not look, and why; each reason once."""
    rows = list(dict.fromkeys((item.code, item.why) for item in check.not_checked))
    columns = (Column("rule", "words"), Column("why", "words"))
    return cut_table("not-checked", "What was not checked", columns, rows)


# What a code stands for ---------------------------------------------------------------------------


def explanation_document(explanation: Explanation) -> Document:
    """What a code means, why it matters, how it is recognised, what to do."""
    blocks: list[Block] = [Text(explanation.title)]
    for heading, body in explanation.sections:
        paragraphs = (" ".join(paragraph.split()) for paragraph in body.split("\n\n"))
        blocks.append(Part(heading, tuple(map(Text, paragraphs))))
    if explanation.explains:
        blocks.append(Text(f"Takes the place of {', '.join(explanation.explains)}."))
    return Document(f"{explanation.code} {explanation.name} ({explanation.severity})", tuple(blocks))
