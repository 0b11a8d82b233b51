"""What to do next, the most helpful first: each step with its command."""

from __future__ import annotations

from collections.abc import Iterator
from shlex import quote

from bitfit_probe.decision import best
from bitfit_probe.records.report import Report
from bitfit_probe.rendering.document.blocks import Step
from bitfit_probe.rendering.subjects.findings import anchor, worst_first

__all__ = ["next_steps"]


def next_steps(report: Report) -> Iterator[Step]:
    """What findings advise, then what is not known yet, then what the decision asks for."""
    yield from _advised(report)
    base, tuned = quote(report.diff.base.path), [quote(item.tuned.path) for item in report.diff.comparisons]
    if report.diagnosed is None:
        command = f"bitfit-probe report {base} {' '.join(tuned)} --data examples.csv -o report.html"
        yield Step("Measure how good it is on labelled examples it was not trained on.", "quality", command)
    helping = list(_helping(report))
    yield from helping
    taken = best(report)
    if taken is None and not helping and report.recommended is not None:
        command = report.recommended.recommendation.advice.command
        yield Step("Train again by the method that the task asks for.", "method", command)
    if taken is not None and report.diff.comparisons[taken].verdict in ("bitfit", "bitfit+norm"):
        command = f"bitfit-probe patch extract {base} {tuned[taken]} -o tuned.patch"
        yield Step("Ship it small: as a patch of the base.", "where", command)


def _helping(report: Report) -> Iterator[Step]:
    """The step that would make each model better, where one does."""
    found = report.diagnosed.diagnoses if report.diagnosed else ()
    for item in found:
        row = next((row for row in item.interventions if row.name == item.advice), None)
        if row is not None:
            which = f"{item.tuned}: " if len(found) > 1 else ""
            yield Step(f"{which}{row.title}: {row.how}.", "quality", row.command)


def _advised(report: Report) -> Iterator[Step]:
    """Each advice once, under the checkpoint's name where there are several."""
    several, said = len(report.diff.comparisons) > 1, set()
    for at, item in enumerate(worst_first(report.check)):
        if item.advice and item.severity != "info" and item.advice not in said:
            said.add(item.advice)
            which = f"{item.tuned}: " if several and item.tuned else ""
            yield Step(f"{which}{item.advice}", anchor(at), f"bitfit-probe explain {item.name}")
