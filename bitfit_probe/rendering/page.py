"""A report as one document: answers to a person's questions, in the order in which they are asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

from bitfit_probe.records import Check, Comparison, RoleDelta
from bitfit_probe.records.diagnosis import Diagnosis
from bitfit_probe.records.report import Measured, Report
from bitfit_probe.rendering.document.blocks import (
    Block,
    Code,
    Column,
    Document,
    Facts,
    Fold,
    Part,
    Section,
    Steps,
    Table,
    Text,
)
from bitfit_probe.rendering.heatmap import bias_roles_or_matrices, matrix_roles, peak_of
from bitfit_probe.rendering.subjects.decision import decision_block, lead, quality_strips
from bitfit_probe.rendering.subjects.diagnosis import (
    confusion_map,
    diagnosis_blocks,
    gain_strips,
    rivals_blocks,
)
from bitfit_probe.rendering.subjects.distance import evidence_tables
from bitfit_probe.rendering.subjects.findings import (
    finding_block,
    not_checked_table,
    silent,
    worst_first,
)
from bitfit_probe.rendering.subjects.forms import forms_block
from bitfit_probe.rendering.subjects.likeness import likeness_chart, likeness_table, likeness_words
from bitfit_probe.rendering.subjects.methods import calibration
from bitfit_probe.rendering.subjects.model_card import model_card
from bitfit_probe.rendering.subjects.model_parts import parts_table
from bitfit_probe.rendering.subjects.movement import (
    beside_layers,
    heat_map,
    judged,
    loss_table,
    tensors_table,
    type_facts,
    unmatched_table,
)
from bitfit_probe.rendering.subjects.next_steps import next_steps
from bitfit_probe.rendering.subjects.promises import promises_sentence, promises_table
from bitfit_probe.rendering.subjects.ranking import ranking_blocks, ranking_strips
from bitfit_probe.rendering.subjects.recommendation import recommendation_blocks
from bitfit_probe.rendering.subjects.reverting import reverting_blocks, reverting_strips
from bitfit_probe.rendering.subjects.spectra import spectra_chart, spectra_table
from bitfit_probe.rendering.subjects.tables import cut_table
from bitfit_probe.rendering.subjects.training import adequacy_text, curves, trajectory_chart
from bitfit_probe.rendering.subjects.updates import updates_table
from bitfit_probe.rendering.words import plural, sentence

__all__ = ["report_document"]

_NO_QUALITY = "Not measured: give labelled examples (--data)."
_UNSEEN = "This holds for new texts only if it was not trained on these examples."
_UNSETTLED = (
    "Which biases matter is not measured: with labelled examples (--data) each group is put back to the base."
)
_MOST_STEPS = 5
#: What is said not to have been measured, unless it was.
_UNMEASURED: Mapping[str, Callable[[Report], bool]] = MappingProxyType(
    {
        "how good it is, and which biases matter (--data)": lambda report: report.diagnosed is not None,
        "known failures (bitfit-probe check)": lambda report: report.check is not None,
        "how far the task is, and which method it asks for (--data)": lambda report: bool(report.evidence),
        "singular values of the matrices that moved": lambda report: (
            _no_matrix_moved(report) or any(item.spectra for item in report.measured)
        ),
        "checksums of the files": lambda report: bool(report.files),
    }
)


def report_document(report: Report, data: str = "") -> Document:
    """Everything that is known, where `data` is the same as JSON.

    The report is one whose paths are names already (`bitfit_probe.rendering.naming.named`).
    """
    sections = (section for make in _SECTIONS if (section := make(report)).blocks)
    names = [comparison.tuned.path for comparison in report.diff.comparisons]
    decision = decision_block(report)
    about = (
        f"{names[0]} against {report.diff.base.path}"
        if len(names) == 1
        else f"{plural(len(names), 'checkpoint')} of {report.diff.base.path}"
    )
    return Document(f"{decision.text}: {about}", tuple(lead(report)), tuple(sections), report.version, data)


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


def _quality(report: Report) -> Section:
    """The scores on one axis, then what each step would gain, and where the model fails."""
    title = "How good is it, and what would make it better?"
    drawn = quality_strips(report)
    if drawn is None or report.diagnosed is None:
        return Section("quality", "How good is it?", (Text(_NO_QUALITY, "note"),))
    found = report.diagnosed.diagnoses
    parts = [
        (*_pictures(at, item), *diagnosis_blocks(f"diagnosis-{at}", item)) for at, item in enumerate(found)
    ]
    blocks = parts[0] if len(found) == 1 else tuple(map(Part, (item.tuned for item in found), parts))
    rivals = tuple(rivals_blocks(report.diagnosed.rivals))
    return Section("quality", title, (drawn, Text(_UNSEEN, "note"), *blocks, *rivals))


def _pictures(number: int, found: Diagnosis) -> Iterator[Block]:
    """What each step gains, and the confusion of classes."""
    gains = gain_strips(f"gains-{number}", found)
    yield from (gains,) if gains else ()
    confused = confusion_map(f"confused-{number}", found.quality)
    yield from (confused,) if confused else ()


def _findings(report: Report) -> Section:
    """Those that matter; notes and what could not look are folded."""
    if report.check is None:
        return Section("findings", "Findings", (Text("Not checked for known failures.", "note"),))
    several = len(report.diff.comparisons) > 1
    made = [
        (item.severity, finding_block(at, item, about=item.tuned if several else ""))
        for at, item in enumerate(worst_first(report.check))
    ]
    blocks: list[Block] = [block for severity, block in made if severity != "info"]
    if not blocks:
        blocks.append(Text(_silence(report.check)))
    notes = tuple(block for severity, block in made if severity == "info")
    if notes:
        blocks.append(Fold(f"{plural(len(notes), 'note')} that no decision rests on", notes))
    if report.check.not_checked:
        title = f"{plural(silent(report.check), 'rule')} could not look"
        blocks.append(Fold(title, (not_checked_table(report.check),)))
    blocks += _promises(report.check, named=several)
    return Section("findings", "Findings", tuple(blocks))


def _promises(check: Check, *, named: bool) -> Iterator[Fold]:
    """What the files promise of the weights, kept and broken."""
    for at, promises in enumerate(check.promises, 1):
        if promises.items:
            said = promises_sentence(promises)
            title = f"{promises.path}: {said}" if named else said
            yield Fold(title, (promises_table(f"promises-{at}", promises),))


def _silence(check: Check) -> str:
    looked, rest = len(check.checked), silent(check)
    missed = f" {plural(rest, 'rule')} could not look." if rest else ""
    start = f"None of {plural(looked, 'rule')} found anything to mend."
    return f"{start}{missed} That is no proof that the model is good."


def _next(report: Report) -> Section:
    steps = list(next_steps(report))[:_MOST_STEPS]
    return Section("next", "What to do next", (Steps(tuple(steps)),) if steps else ())


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
        no_bias = first is not comparison.roles
        yield from heat_map(f"heat-{number}", comparison, first, matrices=no_bias, peak=peaks[0])
        yield from beside_layers(first)
        if number == 0:
            yield Text(_heat_caption(comparison), "note")
        if _moved(second) and second != first:
            key = f"heat-{number}-matrices"
            yield from heat_map(key, comparison, second, matrices=True, peak=peaks[1])

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
        if reverting is not None:
            yield reverting_strips(f"matters-{number}", reverting)
        for at, ranking in enumerate(measured.rankings):
            if at == 0 and ranking.rows:
                yield ranking_strips(f"moved-{number}", ranking)
            if ranking.rows:
                title = f"By {ranking.by.replace('role-layer', 'role in layer')}, by every measure"
                yield Fold(title, tuple(ranking_blocks(f"ranking-{number}-{ranking.by}", ranking)))
        if reverting is not None:
            yield Fold(
                "Put back to the base, as numbers", tuple(reverting_blocks(f"reverting-{number}", reverting))
            )

    blocks = _each(report, say)
    if blocks and not any(measured.reverting for measured in report.measured):
        blocks += (Text(_UNSETTLED, "note"),)
    return Section("ranking", "What moved, and what matters", blocks)


def _forms(report: Report) -> Section:
    def say(number: int, comparison: Comparison, measured: Measured) -> Iterator[Block]:
        yield from parts_table(f"parts-{number}", comparison)
        if measured.forms is not None:
            yield forms_block(measured.forms)

    return Section("forms", "What became of the tensors", _each(report, say))


# Training -----------------------------------------------------------------------------------------


def _training(report: Report) -> Section:
    def say(number: int, _: Comparison, measured: Measured) -> Iterator[Block]:
        if measured.adequacy is not None:
            yield adequacy_text(measured.adequacy)
        if measured.run is not None:
            yield from curves(f"run-{number}", measured.run)

    blocks = list(_each(report, say))
    if report.trajectory is not None:
        caption = "How far the biases of each role are from the base, by training step."
        blocks.append(trajectory_chart(report.trajectory, caption))
    return Section("training", "Was it trained long enough?", tuple(blocks))


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
    tables = tuple(evidence_tables(report.evidence))
    return Section("distance", "How far is the task?", (Fold("As numbers", tables),) if tables else ())


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
    blocks += _unmeasured(report)
    if report.files:
        blocks.append(Fold(f"{plural(len(report.files), 'file')} by sha256", (_files(report),)))
    return Section("judged", "How it was judged", tuple(blocks))


def _files(report: Report) -> Table:
    """Which bytes were looked at."""
    rows = [(path, digest or "–") for path, digest in report.files]
    columns = (Column("file", "name"), Column("sha256", "words"))
    return cut_table("files", "Files and their sha256", columns, rows)


def _no_matrix_moved(report: Report) -> bool:
    rows = (row for comparison in report.diff.comparisons for row in comparison.tensors)
    return not any(row.moved and row.info.kind == "weight" for row in rows)


def _unmeasured(report: Report) -> Iterator[Block]:
    """What this page does not say, in one line."""
    if report.recommended is not None:
        yield Text(f"{sentence(calibration(report.recommended))}.", "note")
    missing = [what for what, done in _UNMEASURED.items() if not done(report)]
    if missing:
        yield Text(f"Not measured: {'; '.join(missing)}.", "note")


def _card(report: Report) -> Section:
    """A piece of Markdown to paste into the card of the model."""
    made = (
        Code(f"card-{at}", model_card(report, item), "markdown")
        for at, item in enumerate(report.diff.comparisons)
    )
    return Section("card", "For the model card", tuple(made))


_SECTIONS: tuple[Callable[[Report], Section], ...] = (
    _quality,
    _findings,
    _next,
    _method,
    _where,
    _ranking,
    _training,
    _likeness,
    _forms,
    _distance,
    _spectra,
    _tensors,
    _judged,
    _card,
)
