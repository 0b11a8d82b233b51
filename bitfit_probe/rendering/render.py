"""What callers ask for: a result as text, Markdown or a page. A document is built, a writer writes it."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from bitfit_probe.records.measures import By
from bitfit_probe.records.report import Measured, Report
from bitfit_probe.rendering.document.terminal import to_text
from bitfit_probe.rendering.words import printable

if TYPE_CHECKING:
    from bitfit_probe.records import Check, Diff, Explanation
    from bitfit_probe.records.diagnosis import Diagnosed
    from bitfit_probe.records.distance import Distance
    from bitfit_probe.records.fleet import Fleet
    from bitfit_probe.records.identification import Identified
    from bitfit_probe.records.inspection import Inspection
    from bitfit_probe.records.recommendation import Recommended

__all__ = [
    "check_to_text",
    "decision_to_text",
    "diagnosed_to_markdown",
    "diagnosed_to_text",
    "diff_to_text",
    "distance_to_text",
    "explanation_to_text",
    "fleet_to_html",
    "fleet_to_text",
    "identified_to_json",
    "identified_to_text",
    "inspection_to_json",
    "inspection_to_text",
    "patch_to_text",
    "recommended_to_text",
    "report_to_html",
    "report_to_markdown",
    "report_to_text",
    "tuned_to_text",
]


def diff_to_text(diff: Diff, *, width: int = 80, top: int = 10) -> str:
    """The diff as text of at most `width` columns; `top` tensors listed."""
    return report_to_text(Report(diff), width=width, top=top)


def report_to_text(report: Report, *, width: int = 80, top: int = 10, by: By | None = None) -> str:
    """A report as text of at most `width` columns.

    Parameters
    ----------
    report
        What to show.
    width
        Columns to use.
    top
        How many tensors to list.
    by
        Show the ranking of that grouping instead of the table of biases and the list of tensors.
    """
    from bitfit_probe.rendering.summary import diff_document

    return to_text(diff_document(report, top=top, by=by), width)


def report_to_markdown(report: Report) -> str:
    """A report as Markdown, with a section to paste into a model card at its end."""
    from bitfit_probe.rendering.document.markdown import to_markdown
    from bitfit_probe.rendering.naming import named
    from bitfit_probe.rendering.page import report_document

    return to_markdown(report_document(named(report)))


def report_to_html(report: Report) -> str:
    """A report as one HTML file that holds the same as JSON.

    Raises
    ------
    MissingExtraError
        jinja2 or seaborn is not installed.
    """
    from bitfit_probe.rendering.as_json import compact_json
    from bitfit_probe.rendering.document.html import to_html
    from bitfit_probe.rendering.naming import named
    from bitfit_probe.rendering.page import report_document

    shown = named(report)
    return to_html(report_document(shown, compact_json(_data(shown))))


def _data(report: Report) -> dict[str, Any]:
    """What ``diff --format json`` prints, with what else the report knows."""
    from bitfit_probe.decision import decisions
    from bitfit_probe.rendering.as_json import report_json
    from bitfit_probe.rendering.diagnosis_json import diagnosed_document
    from bitfit_probe.rendering.findings_json import check_document
    from bitfit_probe.rendering.recommend_json import recommended_document

    measured = report.measured or tuple(Measured() for _ in report.diff.comparisons)
    document = report_json(replace(report, measured=measured))
    for comparison, item, decision in zip(document["comparisons"], measured, decisions(report), strict=True):
        comparison.setdefault("reverting", item.reverting and asdict(item.reverting))
        comparison |= {"decision": {"answer": decision.answer, "why": decision.why}}
        comparison |= {"run": item.run and asdict(item.run)}
        for spectrum in comparison.get("spectra", ()):  # thousands a matrix, which the figure shows
            del spectrum["singular_values"]
    document["check"] = report.check and check_document(report.check)
    if report.recommended is not None:
        document["recommended"] = recommended_document(report.recommended)
    if report.diagnosed is not None:
        document["diagnosed"] = diagnosed_document(report.diagnosed)
    document["evidence"] = [asdict(item) for item in report.evidence]
    document |= {"data": report.data, "rows": report.rows, "date": report.date}
    document["files"] = [{"path": path, "sha256": digest} for path, digest in report.files]
    return document


def fleet_to_text(fleet: Fleet, *, width: int = 80, brief: bool = False) -> str:
    """A fleet as text of at most `width` columns; `brief` leaves out the line a checkpoint."""
    from bitfit_probe.rendering.subjects.fleet import fleet_page

    return to_text(fleet_page(fleet, every=not brief), width)


def fleet_to_html(fleet: Fleet) -> str:
    """A fleet as one HTML file that holds the same as JSON.

    Raises
    ------
    MissingExtraError
        jinja2 is not installed.
    """
    from bitfit_probe.rendering.as_json import compact_json
    from bitfit_probe.rendering.document.html import to_html
    from bitfit_probe.rendering.fleet_data import fleet_document
    from bitfit_probe.rendering.subjects.fleet import fleet_page

    return to_html(fleet_page(fleet, compact_json(fleet_document(fleet))))


def decision_to_text(report: Report) -> str:
    """What a report comes to, in a sentence or two."""
    from bitfit_probe.rendering.naming import named
    from bitfit_probe.rendering.subjects.decision import decision_block

    found = decision_block(named(report))
    return printable(f"{found.text}: {found.why}")


def check_to_text(check: Check, *, width: int = 80) -> str:
    """All findings as text of at most `width` columns."""
    from bitfit_probe.rendering.subjects.findings import check_document

    return to_text(check_document(check), width)


def explanation_to_text(explanation: Explanation, *, width: int = 80) -> str:
    """What a code means, why it matters, how it is recognised, what to do."""
    from bitfit_probe.rendering.subjects.findings import explanation_document

    return to_text(explanation_document(explanation), width)


def diagnosed_to_text(found: Diagnosed, width: int = 80) -> str:
    """How good tuned models are and what would make them better, without what is folded away elsewhere."""
    from bitfit_probe.rendering.subjects.diagnosis import diagnosed_document

    return to_text(diagnosed_document(found, brief=True), width)


def diagnosed_to_markdown(found: Diagnosed) -> str:
    """The same as Markdown."""
    from bitfit_probe.rendering.document.markdown import to_markdown
    from bitfit_probe.rendering.subjects.diagnosis import diagnosed_document

    return to_markdown(diagnosed_document(found))


def distance_to_text(distance: Distance, width: int = 80) -> str:
    """Everything that was measured of a task before training."""
    from bitfit_probe.rendering.subjects.distance import distance_document

    return to_text(distance_document(distance), width)


def recommended_to_text(result: Recommended, width: int = 80) -> str:
    """The recommendation with its evidence; the command and the program at its end stay whole."""
    from bitfit_probe.rendering.subjects.recommendation import recommendation_document

    return to_text(recommendation_document(result), width)


def identified_to_text(found: Identified, width: int = 80) -> str:
    """Which base a checkpoint was tuned from."""
    from bitfit_probe.rendering.subjects.identification import identified_document

    return to_text(identified_document(found), width)


def identified_to_json(found: Identified) -> str:
    """The same as JSON text, with a line break at its end."""
    from bitfit_probe.rendering.as_json import json_text
    from bitfit_probe.rendering.subjects.identification import identified_json

    return json_text(identified_json(found))


def inspection_to_text(found: Inspection, width: int = 80) -> str:
    """One checkpoint alone: what it holds, and which promises it breaks."""
    from bitfit_probe.rendering.subjects.inspection import inspection_document

    return to_text(inspection_document(found), width)


def inspection_to_json(found: Inspection) -> str:
    """The same as JSON text, with a line break at its end."""
    from bitfit_probe.rendering.as_json import json_text
    from bitfit_probe.rendering.subjects.inspection import inspection_json

    return json_text(inspection_json(found))


def patch_to_text(manifest: Any, path: str, size: int) -> str:
    """What a patch holds, by its manifest, its file and that file's bytes."""
    from bitfit_probe.rendering.subjects.patch import patch_document

    return to_text(patch_document(manifest, path, size))


def tuned_to_text(card: dict[str, Any], out: str, base: str) -> str:
    """A run by its card, its directory and its base, as the caller names them."""
    from bitfit_probe.rendering.subjects.tuning import tuning_document

    return to_text(tuning_document(card, out, base))
