"""A report as one document: answers to a person's questions, in the order in which they are asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from bitfit_probe.records import Comparison, RoleDelta
from bitfit_probe.records.report import Measured, Report
from bitfit_probe.rendering.coverage import coverage_sentence
from bitfit_probe.rendering.document.blocks import (
    Block,
    Code,
    Column,
    Document,
    Facts,
    Fold,
    Part,
    Points,
    Section,
    Steps,
    Table,
    Text,
)
from bitfit_probe.rendering.document.markdown import to_markdown
from bitfit_probe.rendering.headline import headline
from bitfit_probe.rendering.heatmap import bias_roles_or_matrices, matrix_roles, peak_of
from bitfit_probe.rendering.subjects.diagnosis import diagnosis_blocks, rivals_blocks
from bitfit_probe.rendering.subjects.distance import evidence_tables
from bitfit_probe.rendering.subjects.failures import failed_points
from bitfit_probe.rendering.subjects.findings import (
    anchor,
    finding_block,
    not_checked_table,
    silent,
    tally,
    worst_first,
)
from bitfit_probe.rendering.subjects.forms import forms_block
from bitfit_probe.rendering.subjects.likeness import likeness_chart, likeness_table, likeness_words
from bitfit_probe.rendering.subjects.methods import calibration
from bitfit_probe.rendering.subjects.model_parts import parts_table
from bitfit_probe.rendering.subjects.movement import (
    heat_map,
    judged,
    loss_table,
    side_by_side,
    tensors_table,
    type_facts,
    unmatched_table,
    verdict,
)
from bitfit_probe.rendering.subjects.promises import promises_sentence, promises_table
from bitfit_probe.rendering.subjects.ranking import ranking_blocks, ranking_chart
from bitfit_probe.rendering.subjects.recommendation import recommendation_blocks
from bitfit_probe.rendering.subjects.reverting import reverting_blocks
from bitfit_probe.rendering.subjects.spectra import spectra_chart, spectra_table
from bitfit_probe.rendering.subjects.tables import cut_table
from bitfit_probe.rendering.subjects.training import adequacy_text, trajectory_chart
from bitfit_probe.rendering.subjects.updates import updates_table
from bitfit_probe.rendering.words import plural, sentence

__all__ = ["report_document"]

_MOST_STEPS = 5
_SETTLE = "Which biases matter, and not only which moved, is told by reverting them on labelled examples."
_UNSETTLED = (
    "What matters: not checked; it takes labelled examples to revert groups on. Size alone does not say it."
)


def report_document(report: Report, data: str = "") -> Document:
    """Everything that is known, where `data` is the same as JSON."""
    comparisons = report.diff.comparisons
    title = f"{plural(len(comparisons), 'checkpoint')} of {report.diff.base.path}"
    sections = (section for make in _SECTIONS if (section := make(report)).blocks)
    return Document(
        comparisons[0].tuned.path if len(comparisons) == 1 else title,
        tuple(_lead(report)),
        tuple(sections),
        report.version,
        data,
    )


def _lead(report: Report) -> Iterator[Block]:
    """Each different sentence with the checkpoints it is true of, the worst that was found, facts."""
    found: dict[str, list[str]] = {}
    for comparison in report.diff.comparisons:
        found.setdefault(headline(comparison), []).append(comparison.tuned.path)
    for text, paths in found.items():
        yield Text(text, "verdict", tuple(paths) if len(found) > 1 else ())
    errors = [item.message for item in worst_first(report.check) if item.severity == "error"]
    if errors:
        more = f" And {plural(len(errors) - 1, 'more error')}." if len(errors) > 1 else ""
        yield Text(f"{errors[0]}{more}", "alarm")
    if report.diff.failures:
        lost = plural(len(report.diff.failures), "checkpoint")
        yield Text(f"{lost} could not be read or compared, and nothing below is about them.", "alarm")
        yield from failed_points(report.diff.failures)
    base = report.diff.base
    holds = f"{plural(base.parameters, 'parameter')}, {plural(base.biases, 'bias', 'biases')}"
    yield Facts(
        (
            ("findings", tally(report.check) if report.check else "Not checked for known failures."),
            ("base", f"{base.path} ({report.diff.architecture}, {holds})"),
        )
    )


def _each(report: Report, say: Callable[[int, Comparison, Measured], Iterable[Block]]) -> tuple[Block, ...]:
    """What there is to say about each checkpoint, under its name where there are several."""
    comparisons = report.diff.comparisons
    blocks: list[Block] = []
    for number, comparison in enumerate(comparisons):
        measured = report.measured[number] if number < len(report.measured) else Measured()
        said = tuple(say(number, comparison, measured))
        if said and len(comparisons) > 1:
            blocks.append(Part(comparison.tuned.path, said))
        else:
            blocks += said
    return tuple(blocks)


# What to do ---------------------------------------------------------------------------------------


def _side_by_side(report: Report) -> Section:
    several = len(report.diff.comparisons) > 1
    return Section("checkpoints", "Side by side", (side_by_side(report),) if several else ())


def _diagnosis(report: Report) -> Section:
    blocks: tuple[Block, ...] = ()
    if report.diagnosed is not None:
        found = report.diagnosed.diagnoses
        parts = [tuple(diagnosis_blocks(f"diagnosis-{at}", item)) for at, item in enumerate(found)]
        blocks = parts[0] if len(found) == 1 else tuple(map(Part, (item.tuned for item in found), parts))
        blocks += tuple(rivals_blocks(report.diagnosed.rivals))
    return Section("diagnosis", "How good is it, and what would make it better?", blocks)


def _next(report: Report) -> Section:
    found = worst_first(report.check)
    advised: dict[str, str] = {}
    for at, item in enumerate(found):
        if item.advice and item.severity != "info":
            advised.setdefault(item.advice, anchor(at))
    steps = list(advised.items())[:_MOST_STEPS]
    if not any(measured.reverting for measured in report.measured):
        steps.append((_SETTLE, "ranking"))
    blocks: list[Block] = [] if found else [Text(_silence(report))]
    return Section("next", "What to do next", (*blocks, Steps(tuple(steps))) if steps else tuple(blocks))


def _silence(report: Report) -> str:
    if report.check is None:
        return "This report was made without looking for known failures; bitfit-probe check does."
    looked, rest = len(report.check.checked), silent(report.check)
    missed = f" {plural(rest, 'rule')} could not look." if rest else ""
    start = f"None of {plural(looked, 'rule')} found anything to mend."
    return f"{start}{missed} That is no proof that the model is good."


def _findings(report: Report) -> Section:
    if report.check is None:
        return Section("findings", "Findings", (Text("Not checked for known failures.", "note"),))
    several = len(report.diff.comparisons) > 1
    blocks: list[Block] = [
        finding_block(at, item, about=item.tuned if several else "")
        for at, item in enumerate(worst_first(report.check))
    ]
    if not blocks:
        blocks.append(Text(_silence(report)))
    if report.check.not_checked:
        title = f"{plural(silent(report.check), 'rule')} could not look"
        blocks.append(Fold(title, (not_checked_table(report.check),)))
    for at, promises in enumerate(report.check.promises):
        if promises.items:
            title = (
                promises_sentence(promises)
                if not several
                else f"{promises.path}: {promises_sentence(promises)}"
            )
            blocks.append(Fold(title, (promises_table(f"promises-{at + 1}", promises),)))
    return Section("findings", "Findings", tuple(blocks))


# What moved ---------------------------------------------------------------------------------------


def _where(report: Report) -> Section:
    """Biases first; matrices too, where they moved besides."""
    peaks = [_peak(report, roles) for roles in (bias_roles_or_matrices, matrix_roles)]

    def say(number: int, comparison: Comparison, _: Measured) -> Iterator[Block]:
        if comparison.updates:
            yield updates_table(f"updates-{number}", comparison)
            return
        yield from loss_table(f"loss-{number}", comparison)
        first, second = bias_roles_or_matrices(comparison), matrix_roles(comparison)
        if not _moved(first):
            yield Text("Nothing inside the layers moved.", "note")
            return
        caption = _heat_caption(comparison) if number == 0 else ""
        no_bias = first is not comparison.roles
        yield heat_map(f"heat-{number}", comparison, first, matrices=no_bias, peak=peaks[0], caption=caption)
        if _moved(second) and second != first:
            yield heat_map(
                f"heat-{number}-matrices",
                comparison,
                second,
                matrices=True,
                peak=peaks[1],
                caption="Matrices moved too.",
            )

    return Section("where", "Where it moved", _each(report, say))


def _moved(roles: Sequence[RoleDelta]) -> bool:
    return any(role.moved and role.layer is not None for role in roles)


def _peak(report: Report, roles: Callable[[Comparison], Sequence[RoleDelta]]) -> float | None:
    """The upper end of a colour scale that all checkpoints share."""
    found = [role for comparison in report.diff.comparisons for role in roles(comparison)]
    return peak_of(role for role in found if role.layer is not None) or None


def _heat_caption(comparison: Comparison) -> str:
    text = (
        "Rows by their total over the layers, as in the BitFit paper (Ben Zaken et al. 2022); · did not move."
    )
    if comparison.key_bias_cancels:
        text += " Softmax cancels the key bias here: what it did has no effect on the output."
    return text


def _ranking(report: Report) -> Section:
    def say(number: int, _: Comparison, measured: Measured) -> Iterator[Block]:
        reverting = measured.reverting
        for at, ranking in enumerate(measured.rankings):
            key = f"ranking-{number}-{ranking.by}"
            matching = reverting if reverting is not None and reverting.by == ranking.by else None
            caption = _ranking_caption(ranking.by, matching is not None) if number == 0 else ""
            chart = ranking_chart(key, ranking, matching, caption)
            if at == 0:
                yield chart
            if ranking.rows:
                folded = (*((chart,) if at else ()), *ranking_blocks(key, ranking))
                yield Fold(f"By {ranking.by.replace('role-layer', 'role in layer')}", folded)
        if reverting is not None:
            yield from reverting_blocks(f"reverting-{number}", reverting)

    blocks = _each(report, say)
    if blocks and not any(measured.reverting for measured in report.measured):
        blocks += (Text(_UNSETTLED, "note"),)
    return Section("ranking", "What moved, and what matters", blocks)


def _ranking_caption(by: str, reverted: bool) -> str:
    text = f"Each column ranks the same biases by {by} with another measure; they need not agree."
    if reverted:
        text += " Reverting settles it: what your examples lose with one group put back to the base, in nats."
    return text


def _forms(report: Report) -> Section:
    def say(number: int, comparison: Comparison, measured: Measured) -> Iterator[Block]:
        yield from parts_table(f"parts-{number}", comparison)
        if measured.forms is not None:
            yield forms_block(measured.forms)

    return Section("forms", "What became of the tensors", _each(report, say))


# Training -----------------------------------------------------------------------------------------


def _training(report: Report) -> Section:
    def say(_: int, __: Comparison, measured: Measured) -> Iterator[Block]:
        if measured.adequacy is not None:
            yield adequacy_text(measured.adequacy)

    blocks = list(_each(report, say))
    if report.trajectory is not None:
        caption = "How far the biases of each role are from the base, by training step."
        blocks.append(trajectory_chart(report.trajectory, caption))
    return Section("training", "Did it train enough?", tuple(blocks))


def _likeness(report: Report) -> Section:
    if not report.likeness:
        return Section("likeness", "")
    blocks: list[Block] = [
        likeness_chart(f"likeness-{at}", item, "1 is the same direction, 0 nothing in common.")
        for at, item in enumerate(report.likeness)
        if item.role is None
    ]
    blocks.append(Text(likeness_words(report.likeness)))
    roles = [item for item in report.likeness if item.role is not None]
    if roles:
        made = tuple(likeness_table(f"likeness-role-{at}", item) for at, item in enumerate(roles))
        blocks.append(Fold("By role, as numbers", made))
    return Section("likeness", "Which checkpoints moved alike?", tuple(blocks))


# The task, matrices, tensors ----------------------------------------------------------------------


def _distance(report: Report) -> Section:
    missing = Text("Not measured: it takes labelled examples.", "note")
    blocks = tuple(evidence_tables(report.evidence)) or (missing,)
    return Section("distance", "How far is the task?", blocks)


def _method(report: Report) -> Section:
    """Which method to take; asked of a BitFit checkpoint, whether it was the right one."""
    tried = {comparison.verdict for comparison in report.diff.comparisons}
    title = "Was BitFit the right tool?" if tried <= {"bitfit", "bitfit+norm"} else "Which method?"
    blocks = () if report.recommended is None else tuple(recommendation_blocks(report.recommended))
    return Section("method", title, blocks)


def _spectra(report: Report) -> Section:
    def say(number: int, _: Comparison, measured: Measured) -> Iterator[Block]:
        if not measured.spectra:
            return
        caption = "How fast the change of a matrix falls off: steep means that few directions carry it."
        yield spectra_chart(f"spectra-{number}", measured.spectra, caption)
        table = spectra_table(f"spectra-{number}-numbers", measured.spectra)
        yield Fold("Every matrix, as numbers", (table,))

    return Section("spectra", "How big is the change of the matrices?", _each(report, say))


def _tensors(report: Report) -> Section:
    def say(number: int, comparison: Comparison, _: Measured) -> Iterator[Block]:
        table = tensors_table(f"tensors-{number}", comparison)
        yield Fold(f"{plural(len(comparison.tensors), 'tensor')}, those that moved most first", (table,))
        lonely = len(comparison.unmatched_base) + len(comparison.unmatched_tuned)
        if lonely:
            table = unmatched_table(f"unmatched-{number}", comparison)
            yield Fold(f"{plural(lonely, 'tensor')} without a partner", (table,))

    return Section("tensors", "Every tensor", _each(report, say))


# How it was made ----------------------------------------------------------------------------------


def _judged(report: Report) -> Section:
    def say(_: int, comparison: Comparison, __: Measured) -> Iterator[Block]:
        notes = (("note", f"{note}.") for note in comparison.tuned.notes)
        yield Facts((*type_facts(comparison), *judged(report.diff, comparison), *notes))

    blocks = list(_each(report, say))
    blocks += [Text(f"{note}.", "note") for note in report.diff.base.notes]
    blocks.append(Text(_not_done(report)))
    if report.files:
        blocks.append(Fold(f"{plural(len(report.files), 'file')} by sha256", (_files(report),)))
    return Section("judged", "How it was judged", tuple(blocks))


def _files(report: Report) -> Table:
    """Which bytes were looked at."""
    rows = [(path, digest or "–") for path, digest in report.files]
    columns = (Column("file", "name"), Column("sha256", "words"))
    return cut_table("files", "Files and their sha256", columns, rows)


def _not_done(report: Report) -> str:
    asked = {
        "known failures": report.check is not None,
        "which biases matter (by reverting them)": any(item.reverting for item in report.measured),
        "how far the task is": bool(report.evidence),
        "spectra of matrices": any(item.spectra for item in report.measured),
        "checksums of the files": bool(report.files),
    }
    missing = [what for what, done in asked.items() if not done]
    start = "No method is recommended here, so there is nothing to calibrate."
    if report.recommended is not None:
        start = f"{sentence(calibration(report.recommended))}."
    return f"{start} Not checked: {', '.join(missing)}." if missing else start


def _card(report: Report) -> Section:
    """A piece of Markdown to paste into the card of the model."""
    made = (
        Code(f"card-{at}", _card_of(report, item), "markdown")
        for at, item in enumerate(report.diff.comparisons)
    )
    return Section("card", "For the model card", tuple(made))


def _card_of(report: Report, comparison: Comparison) -> str:
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


_SECTIONS: tuple[Callable[[Report], Section], ...] = (
    _side_by_side,
    _diagnosis,
    _next,
    _findings,
    _forms,
    _where,
    _ranking,
    _training,
    _likeness,
    _distance,
    _method,
    _spectra,
    _tensors,
    _judged,
    _card,
)
