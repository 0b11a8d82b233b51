"""What a report says for the card of a model."""

from __future__ import annotations

from bitfit_probe.records import Comparison
from bitfit_probe.records.report import Report
from bitfit_probe.rendering.coverage import coverage_sentence
from bitfit_probe.rendering.document.blocks import Document, Points
from bitfit_probe.rendering.document.markdown import to_markdown
from bitfit_probe.rendering.subjects.movement import verdict
from bitfit_probe.rendering.words import plural

__all__ = ["model_card"]


def model_card(report: Report, comparison: Comparison) -> str:
    """A piece of Markdown: base, method, what moved, findings."""
    summary = comparison.summary
    moved = summary.changed_parameters
    share = moved / summary.compared_parameters if summary.compared_parameters else 0.0
    items = [
        f"Base: {report.diff.base.path}; architecture {report.diff.architecture}",
        f"Method: {verdict(comparison).text}",
        f"Parameters that moved: {moved:,} of {summary.compared_parameters:,} compared ({share:.2%})",
        coverage_sentence(comparison.coverage),
        f"Biases that moved: {summary.changed_biases:,} of {summary.biases:,}; head: {summary.head}",
    ]
    if report.check is not None:
        found = [item for item in report.check.findings if item.tuned in ("", comparison.tuned.path)]
        codes = ", ".join(item.code for item in found) or "none"
        items.append(f"Findings: {codes} ({plural(len(report.check.checked), 'rule')} checked)")
    items.append(f"Measured with bitfit-probe {report.version}")
    return to_markdown(Document("Fine-tuning, read from the weights", (Points(tuple(items)),)), level=3)
