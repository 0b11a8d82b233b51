"""The report as Markdown, for pull requests and model cards: the same sections, without pictures."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from bitfit_probe.records import Comparison
from bitfit_probe.records.report import Report
from bitfit_probe.rendering.content import (
    Block,
    Code,
    FindingBlock,
    Fold,
    Part,
    Picture,
    Points,
    Steps,
    Table,
    Words,
)
from bitfit_probe.rendering.escaping import code_span
from bitfit_probe.rendering.escaping import escape_markdown as escape
from bitfit_probe.rendering.sections import sections
from bitfit_probe.rendering.tables import evidence_table
from bitfit_probe.rendering.words import coverage_sentence, headline, plural, printable

__all__ = ["report_to_markdown"]

#: Rows of one table; a pull request's reader wants the top, and the forge cuts long texts off.
_MOST_ROWS = 20


def report_to_markdown(report: Report) -> str:
    """The report as Markdown, with a section to paste into a model card at its end."""
    lines = [f"# {_title(report)}", ""]
    for comparison in report.diff.comparisons:
        name = f"{escape(comparison.tuned.path)}: " if len(report.diff.comparisons) > 1 else ""
        lines += [f"**{name}{escape(headline(comparison))}**", ""]
    errors = [item for item in (report.check.findings if report.check else ()) if item.severity == "error"]
    if errors:
        more = f" And {plural(len(errors) - 1, 'more error')}." if len(errors) > 1 else ""
        lines += [f"**✕ {escape(errors[0].message)}{more}**", ""]
    for section in sections(report):
        body = [line for block in section.blocks for line in _block(block)]
        if any(body):
            lines += [f"## {section.title}", "", *body]
    lines += ["## For the model card", ""]
    for comparison in report.diff.comparisons:
        lines += [*_card(report, comparison), ""]
    lines.append(f"_Made by bitfit-probe {report.version}._")
    return "\n".join(lines) + "\n"


def _title(report: Report) -> str:
    comparisons = report.diff.comparisons
    if len(comparisons) == 1:
        return escape(comparisons[0].tuned.path)
    return f"{plural(len(comparisons), 'checkpoint')} of {escape(report.diff.base.path)}"


def _block(block: Block) -> Iterator[str]:
    if isinstance(block, Words):
        yield from (f"_{escape(block.text)}_" if block.note else escape(block.text), "")
    elif isinstance(block, Steps):
        yield from (f"{number}. {escape(text)}" for number, (text, _) in enumerate(block.items, 1))
        yield ""
    elif isinstance(block, Points):
        yield from (*(f"- {escape(text)}" for text in block.items), "")
    elif isinstance(block, Code):
        yield from _code_block(block)
    elif isinstance(block, Table):
        yield from _table(block)
    elif isinstance(block, Picture):
        yield from (escape(block.panel.words), "")
    elif isinstance(block, FindingBlock):
        yield from _finding(block)
    elif isinstance(block, Part):
        yield from (f"### {escape(block.title)}", "", *_all(block.blocks))
    elif isinstance(block, Fold):
        yield from ("<details>", f"<summary>{html.escape(printable(block.title))}</summary>", "")
        yield from (*_all(block.blocks), "</details>", "")


def _all(blocks: tuple[Block, ...]) -> Iterator[str]:
    for block in blocks:
        yield from _block(block)


def _code_block(block: Code) -> Iterator[str]:
    """Lines between fences that no run of backticks among them can close."""
    longest = max(map(len, re.findall("`+", block.text)), default=0)
    fence = "`" * max(3, longest + 1)
    yield f"{fence}{block.language}"
    yield from map(printable, block.text.rstrip("\n").split("\n"))
    yield from (fence, "")


def _table(table: Table) -> Iterator[str]:
    yield "| " + " | ".join(escape(column.title) for column in table.columns) + " |"
    yield "|" + "|".join("--:" if column.kind == "number" else ":--" for column in table.columns) + "|"
    for row in table.rows[:_MOST_ROWS]:
        yield "| " + " | ".join(map(escape, row)) + " |"
    rest = max(len(table.rows) - _MOST_ROWS, 0) + table.left_out
    yield from ("", f"_{plural(rest, 'more row')} in the JSON._", "") if rest else ("",)


_MARKS = {"error": "**Error**", "warning": "**Warning**", "info": "Info"}


def _finding(block: FindingBlock) -> Iterator[str]:
    found = block.finding
    advice = f" {escape(found.advice)}" if found.advice else ""
    about = f" ({escape(found.tuned)})" if found.tuned else ""
    start = f"- {_MARKS[found.severity]} {found.code} {escape(found.name)}{about}"
    yield f"{start}: {escape(found.message)}{advice}"
    yield ""
    if found.evidence:
        yield from _table(evidence_table(block.key, found.code, found.evidence))


def _card(report: Report, comparison: Comparison) -> Iterator[str]:
    summary = comparison.summary
    trained = summary.changed_parameters
    share = trained / summary.compared_parameters if summary.compared_parameters else 0.0
    yield "```markdown"
    yield "### Fine-tuning, read from the weights"
    yield ""
    yield f"- Base: {code_span(report.diff.base.path)}; architecture {code_span(report.diff.architecture)}"
    yield f"- Method: {escape(headline(comparison))}"
    yield f"- Parameters that moved: {trained:,} of {summary.compared_parameters:,} compared ({share:.2%})"
    yield f"- {escape(coverage_sentence(comparison.coverage))}"
    yield f"- Biases that moved: {summary.changed_biases:,} of {summary.biases:,}; head: {summary.head}"
    if report.check is not None:
        found = [item for item in report.check.findings if item.tuned in ("", comparison.tuned.path)]
        codes = ", ".join(item.code for item in found) or "none"
        yield f"- Findings: {codes} ({plural(len(report.check.checked), 'rule')} checked)"
    yield f"- Measured with bitfit-probe {report.version}"
    yield "```"
