"""Findings in a terminal: worst first, a symbol and a word for each severity, and what was not checked."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence

from bitfit_probe.records import Check, Evidence, Explanation, Finding, NotChecked, Scope
from bitfit_probe.rendering.words import plural, printable, scope_sentences, shorten

__all__ = ["SYMBOLS", "check_to_text", "explanation_to_text"]

SYMBOLS = {"error": "✗", "warning": "!", "info": "i"}
_INDENT = "  "


def check_to_text(check: Check, *, width: int = 80) -> str:
    """All findings as text of at most `width` columns, with a line break at its end."""
    paths = {finding.tuned for finding in check.findings} | {item.tuned for item in check.not_checked}
    several = len(paths) > 1
    lines: list[str] = []
    for finding in check.findings:
        lines += [*_finding(finding, width, show_path=several), ""]
    lines += [*_fold(_tally(check), width), *_scopes(check.scopes, width)]
    lines += _not_checked(check.not_checked, width)
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _finding(finding: Finding, width: int, *, show_path: bool) -> Iterator[str]:
    yield f"{SYMBOLS[finding.severity]} {finding.severity} {finding.code} {finding.name}"
    if show_path:
        yield _INDENT + shorten(printable(finding.tuned), width - len(_INDENT))
    yield from _fold(finding.message, width, _INDENT)
    if finding.details:
        yield from _fold(finding.details, width, _INDENT)
    if finding.evidence:
        yield from _fold("Evidence: " + "; ".join(map(_evidence, finding.evidence)) + ".", width, _INDENT)
    if finding.advice:
        yield from _fold(f"What to do: {finding.advice}", width, _INDENT)


def _evidence(item: Evidence) -> str:
    about = f" ({item.about})" if item.about else ""
    unit = f" {item.unit}" if item.unit else ""
    reading = f", {item.reading}" if item.reading else ""
    return f"{item.measure} {_value(item.value)}{unit}{about}{reading}"


def _value(value: float | int | str | None) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else value


def _tally(check: Check) -> str:
    counts = Counter(finding.severity for finding in check.findings)
    words = [
        plural(counts["error"], "error"),
        plural(counts["warning"], "warning"),
        plural(counts["info"], "note"),
    ]
    found = ", ".join(words) if check.findings else "Nothing found"
    return f"{found}; {plural(len(check.checked), 'rule')} checked."


def _scopes(scopes: Sequence[Scope], width: int) -> Iterator[str]:
    for scope in scopes:
        if len(scopes) > 1:
            yield shorten(printable(scope.tuned), width)
        for sentence in scope_sentences(scope):
            yield from _fold(sentence, width, _INDENT if len(scopes) > 1 else "")


def _not_checked(items: Sequence[NotChecked], width: int) -> Iterator[str]:
    """What was not checked, by reason: silence there is no health."""
    reasons: dict[str, list[str]] = {}
    for item in items:
        codes = reasons.setdefault(item.why, [])
        if item.code not in codes:
            codes.append(item.code)
    if reasons:
        yield "Not checked:"
    for why, codes in reasons.items():
        yield from _fold(f"- {_ranges(codes)}: {why}", width, _INDENT, hanging="  ")


def _ranges(codes: Sequence[str]) -> str:
    """Codes in a row shortened: BP501–BP505, BP507."""
    runs: list[list[str]] = []
    for code in sorted(codes):
        if runs and int(code[2:]) == int(runs[-1][-1][2:]) + 1:
            runs[-1].append(code)
        else:
            runs.append([code])
    return ", ".join(run[0] if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs)


def _fold(text: str, width: int, indent: str = "", *, hanging: str = "") -> list[str]:
    return textwrap.wrap(
        printable(text),
        width,
        initial_indent=indent,
        subsequent_indent=indent + hanging,
        break_on_hyphens=False,
    )


def explanation_to_text(explanation: Explanation, *, width: int = 80) -> str:
    """What a code means, why it matters, how it is recognised, what to do."""
    lines = [f"{explanation.code} {explanation.name} ({explanation.severity})", ""]
    lines += _fold(explanation.title, width)
    for heading, body in explanation.sections:
        lines += ["", heading]
        for paragraph in body.split("\n\n"):
            lines += _fold(" ".join(paragraph.split()), width, _INDENT)
    if explanation.explains:
        lines += ["", *_fold(f"Takes the place of {', '.join(explanation.explains)}.", width)]
    return "\n".join(lines) + "\n"
