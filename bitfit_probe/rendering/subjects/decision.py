"""The decision, the figures that it rests on, and several checkpoints side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bitfit_probe.decision import ANSWERS, best, decisions, diagnosis_of, guess_of, score_text
from bitfit_probe.records import Comparison, Finding
from bitfit_probe.records.decision import Decision
from bitfit_probe.records.diagnosis import Diagnosis, Measured, Quality
from bitfit_probe.records.measures import Adequacy
from bitfit_probe.records.recommendation import Recommended
from bitfit_probe.records.report import Measured as OfPair
from bitfit_probe.records.report import Report
from bitfit_probe.rendering.document.blocks import (
    Block,
    Card,
    Cards,
    Column,
    Facts,
    Headline,
    Strip,
    Strips,
    Table,
    Text,
)
from bitfit_probe.rendering.headline import headline
from bitfit_probe.rendering.subjects.diagnosis import SCORES
from bitfit_probe.rendering.subjects.failures import failed_points
from bitfit_probe.rendering.subjects.findings import silent
from bitfit_probe.rendering.subjects.methods import answer, share_of
from bitfit_probe.rendering.subjects.tables import cut_table
from bitfit_probe.rendering.subjects.training import LONG_ENOUGH
from bitfit_probe.rendering.words import format_number, in_bytes, join_names, plural, sentence, short_name

__all__ = ["decision_block", "facts", "lead", "quality_strips"]

_NO_DATA = "not measured: give --data"
_MOST_NAMED = 3


def lead(report: Report) -> Iterator[Block]:
    """What a reader sees first: the decision, what was done to the base, figures, and what it is about."""
    comparisons = report.diff.comparisons
    yield decision_block(report)
    if len(comparisons) == 1:
        yield Text(headline(comparisons[0]), "verdict")
        yield Cards(tuple(_cards(report, comparisons[0])))
    else:
        yield _side_by_side(report)
    if report.diff.failures:
        lost = plural(len(report.diff.failures), "checkpoint")
        yield Text(f"{lost} could not be read or compared, and nothing below is about them.", "alarm")
        yield from failed_points(report.diff.failures)
    yield facts(report)


def decision_block(report: Report) -> Headline:
    """The decision as a document's headline."""
    found = decisions(report)
    if len(found) == 1:
        return _headline(found[0])
    taken = best(report)
    if taken is None:
        return _none_to_ship(found)
    scores = [diagnosis_of(report, item.tuned) for item in found]
    return Headline("ship", f"Ship {found[taken].tuned}", f"{found[taken].why} {_others(taken, scores)}")


def _headline(found: Decision) -> Headline:
    return Headline(found.answer, ANSWERS[found.answer], found.why)


def _others(taken: int, scores: Sequence[Diagnosis | None]) -> str:
    """How the one to take stands to the others."""
    ours = scores[taken]
    interval = ours.quality.tuned.interval if ours is not None else None
    near = [
        item.tuned
        for number, item in enumerate(scores)
        if number != taken and item is not None and interval and item.quality.tuned.value >= interval[0]
    ]
    start = f"It has the best score of {plural(len(scores), 'checkpoint')}"
    return f"{start}; {join_names(near, _MOST_NAMED)} scored within its interval." if near else f"{start}."


def _none_to_ship(found: Sequence[Decision]) -> Headline:
    """Why none of several checkpoints is to be shipped, each reason once."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for item in found:
        reasons.setdefault((item.answer, item.why), []).append(item.tuned)
    open_ = any(item.answer == "cant-tell" for item in found)
    lines = [f"{join_names(names, _MOST_NAMED)}: {why}" for (_, why), names in reasons.items()]
    why = next(iter(reasons))[1] if len(reasons) == 1 else " ".join(lines[:_MOST_NAMED])
    if open_:
        return Headline("cant-tell", f"Can't tell which of {len(found)}", why)
    return Headline("dont-ship", f"Don't ship any of {len(found)}", why)


# What it rests on ---------------------------------------------------------------------------------


def _cards(report: Report, comparison: Comparison) -> Iterator[Card]:
    measured = report.measured[0] if report.measured else OfPair()
    yield _quality_card(diagnosis_of(report, comparison.tuned.path))
    yield _findings_card(report)
    yield _training_card(measured.adequacy)
    yield _method_card(report.recommended)
    yield _moved_card(comparison)


def _quality_card(found: Diagnosis | None) -> Card:
    if found is None:
        return Card("Quality on your examples", "", _NO_DATA, "quality")
    quality, guess = found.quality, guess_of(found.quality)
    parts = [_between(quality, quality.tuned)]
    if guess is not None:
        parts.append(f"{_GUESSES[quality.measure]} {score_text(guess, quality.measure)}")
    if quality.base_probe is not None:
        parts.append(f"probe of the base {score_text(quality.base_probe.value, quality.measure)}")
    title = f"{SCORES[quality.measure]} on {plural(found.examples, 'example')}"
    score = score_text(quality.tuned.value, quality.measure)
    return Card(sentence(title), score, "; ".join(filter(None, parts)), "quality")


_GUESSES = {"accuracy": "most frequent class", "r2": "the mean", "spearman": "the mean"}


def _between(quality: Quality, found: Measured) -> str:
    ends = found.interval
    return "" if ends is None else " to ".join(score_text(end, quality.measure) for end in ends)


def _findings_card(report: Report) -> Card:
    if report.check is None:
        return Card("Findings", "", "not looked for: bitfit-probe check", "findings")
    counts = _counts(report.check.findings)
    looked = plural(len(report.check.checked), "rule")
    return Card(
        "Findings", _tally(counts), f"{looked} looked, {silent(report.check):,} could not", "findings"
    )


def _counts(found: Sequence[Finding]) -> tuple[int, int]:
    kinds = [item.severity for item in found]
    return kinds.count("error"), kinds.count("warning")


def _tally(counts: tuple[int, int]) -> str:
    errors, warnings = counts
    words = [plural(errors, "error")] * bool(errors) + [plural(warnings, "warning")] * bool(warnings)
    return ", ".join(words) or "no error, no warning"


def _training_card(adequacy: Adequacy | None) -> Card:
    if adequacy is None:
        return Card("Trained long enough", "", "not judged", "training")
    return Card("Trained long enough", LONG_ENOUGH[adequacy.state], "; ".join(adequacy.reasons), "training")


def _method_card(result: Recommended | None) -> Card:
    if result is None:
        return Card("Method for this task", "", _NO_DATA, "judged")
    found = result.recommendation
    name = "undecided" if found.method == "undecided" else short_name(found.method)
    cost = next((cost for cost in found.costs if cost.method == found.advice.method), None)
    price = ""
    if cost is not None:
        share = share_of(found.costs, cost.method)
        kept = f"{in_bytes(cost.checkpoint_bytes)} a task"
        price = f"{short_name(cost.method)}: {kept}{f', {share} of the parameters' if share else ''}"
    return Card("Method for this task", sentence(name), price or answer(found), "method")


def _moved_card(comparison: Comparison) -> Card:
    summary = comparison.summary
    others = len(summary.offenders)
    figure = f"{summary.changed_biases:,} of {plural(summary.biases, 'bias', 'biases')}"
    rest = summary.changed_tensors - summary.changed_biases
    note = f"{plural(others, 'tensor')} expected frozen moved too" if others else _besides(rest)
    return Card("What moved", figure, note, "where")


def _besides(rest: int) -> str:
    return f"and {plural(rest, 'other tensor')}" if rest > 0 else "nothing else outside the head"


def facts(report: Report) -> Facts:
    """What was looked at: names, sizes, types, the run, the data, the day."""
    base = report.diff.base
    holds = f"{plural(base.parameters, 'parameter')}, {plural(base.biases, 'bias', 'biases')}"
    items = [("base", f"{base.path} ({report.diff.architecture}, {holds})")]
    if len(report.diff.comparisons) == 1:
        run = " · ".join(_run(report.measured[0] if report.measured else OfPair()))
        items.append(("fine-tuned", f"{report.diff.comparisons[0].tuned.path}{f' ({run})' if run else ''}"))
    if report.data:
        items.append(("data", f"{report.data} ({plural(report.rows, 'row')})"))
    if report.date:
        items.append(("date", report.date))
    return Facts(tuple(items))


def _run(measured: OfPair) -> Iterator[str]:
    run = measured.run
    if run is None:
        return
    yield from filter(None, (run.dtype, in_bytes(run.bytes) if run.bytes else ""))
    if run.steps is not None:
        yield plural(run.steps, "step")
    if run.rate is not None:
        yield f"learning rate {run.rate:.3g}"


# Several ------------------------------------------------------------------------------------------


def _side_by_side(report: Report) -> Table:
    """One row a fine-tuned checkpoint, the one to take marked."""
    taken = best(report)
    scored = report.diagnosed is not None
    columns = [
        Column("fine-tuned", "name"),
        Column("decision", "words"),
        *((Column("score"), Column("95 % interval", rank=2)) if scored else ()),
        Column("errors"),
        Column("warnings"),
        Column("what it is", "words", 1),
        Column("steps", rank=3),
        Column("size", rank=4),
    ]
    rows = [
        _row(report, number, decision, star=number == taken, scored=scored)
        for number, decision in enumerate(decisions(report))
    ]
    mark = " (★ the best of those to ship)" if taken is not None else ""
    return cut_table("side-by-side", f"{plural(len(rows), 'fine-tuned checkpoint')}{mark}", columns, rows)


def _row(report: Report, number: int, decision: Decision, *, star: bool, scored: bool) -> tuple[str, ...]:
    measured = report.measured[number] if number < len(report.measured) else OfPair()
    run, told = measured.run, diagnosis_of(report, decision.tuned)
    found = report.check.findings if report.check else ()
    counts = _counts([item for item in found if item.tuned in ("", decision.tuned)])
    score = ("–", "–")
    if told is not None:
        quality = told.quality
        value = score_text(quality.tuned.value, quality.measure)
        score = (value, _between(quality, quality.tuned) or "–")
    return (
        f"{'★ ' if star else ''}{decision.tuned}",
        ANSWERS[decision.answer],
        *(score if scored else ()),
        *(("–", "–") if report.check is None else map(str, counts)),
        report.diff.comparisons[number].verdict,
        format_number(run.steps if run else None),
        in_bytes(run.bytes) if run and run.bytes else "–",
    )


#: The kernel that stands for how a checkpoint was tuned, by its verdict.
_KERNELS = {"bitfit": "bitfit", "bitfit+norm": "bitfit", "head-only": "head", "full": "full"}


def quality_strips(report: Report) -> Strips | None:
    """Scores on one axis: each checkpoint's, the base's probe, the forecast, and guessing as a line."""
    known = report.diagnosed.diagnoses if report.diagnosed else ()
    if not known:
        return None
    quality, name = known[0].quality, SCORES[known[0].quality.measure]
    rows = [_strip(item.tuned, item.quality, item.quality.tuned, filled=True) for item in known]
    if quality.base_probe is not None:
        rows.append(_strip("linear probe on the untouched base", quality, quality.base_probe))
    if quality.measure in ("accuracy", "r2") and len(known) == 1:
        rows += [_strip("forecast before training", quality, item) for item in _forecast(report)]
    guess = guess_of(quality)
    what = f"{_GUESSES.get(quality.measure, '')} {score_text(guess or 0.0, quality.measure)}"
    lines = () if guess is None else ((guess, what),)
    caption = f"{sentence(name)} on {plural(known[0].examples, 'example')}, 95 % intervals"
    form = ".0%" if quality.measure == "accuracy" else "#.3g"
    return Strips("quality-scores", caption, name, tuple(rows), lines, form)


def _forecast(report: Report) -> Iterator[Measured]:
    """What the kernel of its own method foresaw."""
    reach = report.recommended.distance.reach if report.recommended else None
    found = reach.of(_KERNELS.get(report.diff.comparisons[0].verdict, "")) if reach else None
    if found is not None:
        yield Measured(found.score, found.interval)


def _strip(name: str, quality: Quality, found: Measured, *, filled: bool = False) -> Strip:
    between = _between(quality, found)
    figure = score_text(found.value, quality.measure)
    return Strip(
        name, f"{figure} ({between})" if between else figure, found.value, found.interval, filled=filled
    )
