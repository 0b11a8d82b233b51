"""A report as answers to a person's questions, in the order in which they are asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from bitfit_probe.records import Check, Comparison, Finding, RoleDelta
from bitfit_probe.records.measures import Adequacy
from bitfit_probe.records.recommendation import Recommended, Trial
from bitfit_probe.records.report import Measured, Report
from bitfit_probe.rendering import charts, tables
from bitfit_probe.rendering.charts import Panel
from bitfit_probe.rendering.content import (
    Block,
    Code,
    FindingBlock,
    Fold,
    Part,
    Picture,
    Points,
    Section,
    Steps,
    Words,
)
from bitfit_probe.rendering.grids import (
    bias_roles_or_matrices,
    grids,
    matrix_roles,
    peak_of,
    power_of_ten,
    units,
)
from bitfit_probe.rendering.recommend_words import (
    answer,
    calibration,
    how_to,
    reasons,
    trial_sentence,
    word_lines,
)
from bitfit_probe.rendering.words import coverage_sentence, plural, printable

__all__ = ["sections", "severities"]

_SEVERITIES = ("error", "warning", "info")
_MOST_STEPS = 5
#: Columns of a shell command.
_CODE = 78
_SETTLE = "Which biases matter, and not only which moved, is told by reverting them on labelled examples."
_UNSETTLED = (
    "What matters: not checked; it takes labelled examples to revert groups on. Size alone does not say it."
)


def sections(report: Report) -> tuple[Section, ...]:
    """All sections that have something to say."""
    made = (
        _side_by_side(report),
        _next(report),
        _findings(report),
        _where(report),
        _ranking(report),
        _training(report),
        _likeness(report),
        _distance(report),
        _method(report),
        _spectra(report),
        _tensors(report),
        _judged(report),
    )
    return tuple(section for section in made if section.blocks)


def severities(report: Report) -> dict[str, int]:
    """How many findings of each severity."""
    found = report.check.findings if report.check else ()
    return {severity: sum(item.severity == severity for item in found) for severity in _SEVERITIES}


def _each(report: Report, say: Callable[[int, Comparison, Measured], Iterable[Block]]) -> tuple[Block, ...]:
    """What there is to say about each tuned checkpoint, under its name where there are several."""
    comparisons = report.diff.comparisons
    blocks: list[Block] = []
    for number, comparison in enumerate(comparisons):
        measured = report.measured[number] if number < len(report.measured) else Measured()
        said = tuple(say(number, comparison, measured))
        if said and len(comparisons) > 1:
            blocks.append(Part(printable(comparison.tuned.path), said))
        else:
            blocks += said
    return tuple(blocks)


def _picture(key: str, panel: Panel | None, caption: str) -> Iterator[Block]:
    if panel is not None:
        yield Picture(key, panel, caption)


# What to do ---------------------------------------------------------------------------------------


def _side_by_side(report: Report) -> Section:
    several = len(report.diff.comparisons) > 1
    return Section("checkpoints", "Side by side", (tables.side_by_side(report),) if several else ())


def _next(report: Report) -> Section:
    steps = []
    found = _worst_first(report)
    for number, item in enumerate(found):
        if item.advice and item.severity != "info":
            steps.append((printable(item.advice), _anchor(number)))
    steps = list(dict(steps).items())[:_MOST_STEPS]
    if not any(measured.reverting for measured in report.measured):
        steps.append((_SETTLE, "ranking"))
    blocks: list[Block] = [Words(_silence(report))] if not any(severities(report).values()) else []
    return Section("next", "What to do next", (*blocks, Steps(tuple(steps))) if steps else tuple(blocks))


def _silence(report: Report) -> str:
    if report.check is None:
        return "This report was made without looking for known failures; bitfit-probe check does."
    looked, rest = len(report.check.checked), _silent(report.check)
    missed = f" {plural(rest, 'rule')} could not look." if rest else ""
    start = f"None of {plural(looked, 'rule')} found anything to mend."
    return f"{start}{missed} That is no proof that the model is good."


def _silent(check: Check) -> int:
    return len({item.code for item in check.not_checked})


def _worst_first(report: Report) -> list[Finding]:
    found = report.check.findings if report.check else ()
    return sorted(found, key=lambda item: _SEVERITIES.index(item.severity))


def _anchor(number: int) -> str:
    return f"finding-{number + 1}"


def _findings(report: Report) -> Section:
    if report.check is None:
        return Section("findings", "Findings", (Words("Not checked for known failures.", note=True),))
    blocks: list[Block] = [
        FindingBlock(_anchor(number), item) for number, item in enumerate(_worst_first(report))
    ]
    if not blocks:
        blocks.append(Words(_silence(report)))
    if report.check.not_checked:
        table = tables.not_checked_table(report.check)
        blocks.append(Fold(f"{plural(_silent(report.check), 'rule')} could not look", (table,)))
    return Section("findings", "Findings", tuple(blocks))


# What moved ---------------------------------------------------------------------------------------


def _where(report: Report) -> Section:
    """Biases first; matrices too, where they moved besides."""
    peaks = [_peak(report, roles) for roles in (bias_roles_or_matrices, matrix_roles)]

    def say(number: int, comparison: Comparison, _: Measured) -> Iterator[Block]:
        first = charts.heat_map(comparison, peak=peaks[0])
        if first is None:
            yield Words("Nothing inside the layers moved.", note=True)
            return
        caption = _heat_caption(comparison) if number == 0 else ""
        yield from _heat(f"heat-{number}", first, caption, bias_roles_or_matrices(comparison), peaks[0])
        second = charts.heat_map(comparison, matrices=True, peak=peaks[1])
        if second is not None and second.words != first.words:
            roles = matrix_roles(comparison)
            yield from _heat(f"heat-{number}-matrices", second, "Matrices moved too.", roles, peaks[1])

    return Section("where", "Where it moved", _each(report, say))


def _peak(report: Report, roles: Callable[[Comparison], Sequence[RoleDelta]]) -> float | None:
    """The upper end of a colour scale that all tuned checkpoints share."""
    found = [role for comparison in report.diff.comparisons for role in roles(comparison)]
    return peak_of(role for role in found if role.layer is not None) or None


def _heat(
    key: str, panel: Panel, caption: str, roles: Sequence[RoleDelta], peak: float | None
) -> Iterator[Block]:
    yield Picture(key, panel, caption)
    power = power_of_ten(peak or 0.0)
    found = (
        tables.grid_table(f"{key}-{at}", grid, power, units(power)) for at, grid in enumerate(grids(roles))
    )
    yield Fold("The same as numbers", tuple(found))


def _heat_caption(comparison: Comparison) -> str:
    text = (
        "Rows by their total over the layers, as in the BitFit paper (Ben Zaken et al. 2022); · did not move."
    )
    if comparison.key_bias_cancels:
        text += " Softmax cancels the key bias here: what it did has no effect on the output."
    return text


def _ranking(report: Report) -> Section:
    def say(number: int, _: Comparison, measured: Measured) -> Iterator[Block]:
        for at, ranking in enumerate(measured.rankings):
            key, reverting = f"ranking-{number}-{ranking.by}", measured.reverting
            matching = reverting if reverting is not None and reverting.by == ranking.by else None
            caption = _ranking_caption(ranking.by, matching is not None) if number == 0 else ""
            picture = tuple(_picture(key, charts.ranking_bars(ranking, matching), caption))
            if at == 0:
                yield from picture
            if ranking.rows:
                folded = (*(picture if at else ()), tables.ranking_table(key, ranking, matching))
                yield Fold(f"By {ranking.by.replace('role-layer', 'role in layer')}", folded)
        if measured.reverting is not None:
            yield Words(_free(measured))

    blocks = _each(report, say)
    if blocks and not any(measured.reverting for measured in report.measured):
        blocks += (Words(_UNSETTLED, note=True),)
    return Section("ranking", "What moved, and what matters", blocks)


def _ranking_caption(by: str, reverted: bool) -> str:
    text = f"Each column ranks the same biases by {by} with another measure; they need not agree."
    if reverted:
        text += " Reverting settles it: what your examples lose with one group put back to the base, in nats."
    return text


def _free(measured: Measured) -> str:
    reverting = measured.reverting
    assert reverting is not None
    free = [tables.group_name(row.group) for row in reverting.rows if row.free]
    start = f"Tuned loss {reverting.loss:.3g}"
    start += "" if reverting.accuracy is None else f", accuracy {reverting.accuracy:.1%}"
    if not free:
        return f"{start}. No group can go back to the base without loss."
    cost = f"less than {reverting.tolerance:g} nats"
    return f"{start}. Could go back to the base for free ({cost}): {', '.join(free)}."


# Training -----------------------------------------------------------------------------------------


def _training(report: Report) -> Section:
    def say(_: int, __: Comparison, measured: Measured) -> Iterator[Block]:
        if measured.adequacy is not None:
            yield Words(_adequacy(measured.adequacy))

    blocks = list(_each(report, say))
    if report.trajectory is not None:
        caption = "How far the biases of each role are from the base, by training step."
        blocks += _picture("trajectory", charts.trajectory_lines(report.trajectory), caption)
        blocks.append(Fold("The same as numbers", (tables.trajectory_table(report.trajectory),)))
    return Section("training", "Did it train enough?", tuple(blocks))


def _adequacy(adequacy: Adequacy) -> str:
    reasons = "; ".join(printable(reason) for reason in adequacy.reasons)
    return f"{adequacy.state[0].upper()}{adequacy.state[1:]}{': ' if reasons else ''}{reasons}."


def _likeness(report: Report) -> Section:
    blocks: list[Block] = []
    for number, likeness in enumerate(report.likeness):
        if likeness.role is None:
            caption = "1 is the same direction, 0 nothing in common."
            blocks += _picture(f"likeness-{number}", charts.likeness_matrix(likeness), caption)
    roles = [item for item in report.likeness if item.role is not None]
    if roles:
        made = tuple(tables.likeness_table(f"likeness-{at}", item) for at, item in enumerate(roles))
        blocks.append(Fold("By role, as numbers", made))
    return Section("likeness", "Which checkpoints moved alike?", tuple(blocks))


# The task, matrices, tensors ----------------------------------------------------------------------


def _distance(report: Report) -> Section:
    if not report.evidence:
        return Section(
            "distance",
            "How far is the task?",
            (Words("Not measured: it takes labelled examples.", note=True),),
        )
    table = tables.evidence_table(
        "distance", "How far the task is from what the model knows", report.evidence
    )
    return Section("distance", "How far is the task?", (table,))


def _method(report: Report) -> Section:
    """Which method to take; asked of a BitFit checkpoint, whether it was the right one."""
    tried = {comparison.verdict for comparison in report.diff.comparisons}
    title = "Was BitFit the right tool?" if tried <= {"bitfit", "bitfit+norm"} else "Which method?"
    blocks = () if report.recommended is None else tuple(_recommended(report.recommended))
    return Section("method", title, blocks)


def _recommended(result: Recommended) -> Iterator[Block]:
    found = result.recommendation
    said = (Words(answer(found)), Words(f"{_sentence(calibration(result))}.", note=True))
    if found.first:
        yield Part("First, before changing the method", (_points(found.first),))
        yield Part("The method", said)
    else:
        yield from said
    panel = charts.gaps(found)
    caption = "Points below the best method, with 80 % intervals; left of the dashed line is close enough."
    yield from _picture("gaps", panel, caption)
    yield tables.methods_table(found)
    for title, sentences in reasons(found):
        yield Part(title, (_points(sentences),))
    if result.trial is not None:
        yield Part("The trial", tuple(_trial(result.trial)))
    steps = tuple(f"{_sentence(name)}: {text}" for name, text in how_to(found.advice))
    command = "\n".join(map(printable, word_lines(found.advice.command, _CODE)))
    yield Part("How", (_points(steps), Code("Command", command, "sh")))
    program = Code("Program", "\n".join(map(printable, found.advice.snippet.split("\n"))), "python")
    yield Fold("The same as a plain Python program", (program,))


def _trial(trial: Trial) -> Iterator[Block]:
    yield Words(trial_sentence(trial))
    if trial.results:
        yield tables.trial_table(trial)
    if trial.notes:
        yield _points(trial.notes)


def _points(sentences: Iterable[str]) -> Points:
    return Points(tuple(map(printable, sentences)))


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _spectra(report: Report) -> Section:
    def say(number: int, _: Comparison, measured: Measured) -> Iterator[Block]:
        if not measured.spectra:
            return
        caption = "How fast the change of a matrix falls off: steep means that few directions carry it."
        yield from _picture(f"spectra-{number}", charts.spectra_lines(measured.spectra), caption)
        yield Fold("Every matrix, as numbers", (tables.spectra_table(f"spectra-{number}", measured.spectra),))

    return Section("spectra", "How big is the change of the matrices?", _each(report, say))


def _tensors(report: Report) -> Section:
    def say(number: int, comparison: Comparison, _: Measured) -> Iterator[Block]:
        rows = len(comparison.tensors)
        table = tables.tensors_table(f"tensors-{number}", comparison)
        yield Fold(f"{plural(rows, 'tensor')}, those that moved most first", (table,))
        lonely = len(comparison.unmatched_base) + len(comparison.unmatched_tuned)
        if lonely:
            table = tables.unmatched_table(f"unmatched-{number}", comparison)
            yield Fold(f"{plural(lonely, 'tensor')} without a partner", (table,))

    return Section("tensors", "Every tensor", _each(report, say))


def _judged(report: Report) -> Section:
    diff = report.diff
    known = {"config": "config.json", "names": "tensor names", "heuristics": "name heuristics only"}
    source = known.get(diff.architecture_known_from, diff.architecture_known_from)
    blocks: list[Block] = [
        Words(f"bitfit-probe {report.version}; architecture {printable(diff.architecture)}, from {source}.")
    ]

    def say(_: int, comparison: Comparison, __: Measured) -> Iterator[Block]:
        counts = comparison.summary.judged_by
        ways = [f"{count:,} {how.replace('-', ' ')}" for how, count in counts.items() if count]
        yield Words(f"Tensors: {', '.join(ways)}.")
        yield Words(coverage_sentence(comparison.coverage))
        for note in (*comparison.tuned.notes, *comparison.notes):
            yield Words(f"{printable(note)}.", note=True)

    blocks += _each(report, say)
    blocks += [Words(f"{printable(note)}.", note=True) for note in diff.base.notes]
    blocks.append(Words(_not_done(report)))
    if report.files:
        blocks.append(Fold(f"{plural(len(report.files), 'file')} by sha256", (tables.files_table(report),)))
    return Section("judged", "How it was judged", tuple(blocks))


def _not_done(report: Report) -> str:
    missing = []
    if report.check is None:
        missing.append("known failures")
    if not any(measured.reverting for measured in report.measured):
        missing.append("which biases matter (by reverting them)")
    if not report.evidence:
        missing.append("how far the task is")
    if not any(measured.spectra for measured in report.measured):
        missing.append("spectra of matrices")
    if not report.files:
        missing.append("checksums of the files")
    start = "No method is recommended here, so there is nothing to calibrate."
    if report.recommended is not None:
        start = f"{_sentence(calibration(report.recommended))}."
    return f"{start} Not checked: {', '.join(missing)}." if missing else start
