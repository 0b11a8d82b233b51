"""Whether to ship a tuned checkpoint: one pure function over what is known, for all who show or act on it.

*Ship* takes that known failures were looked for and none was found that loses quality, that nearly all of
the base was compared, and a score on labelled examples that beats guessing and is not below what a probe
reads off the untouched base. An error, a run that blew up and a score that misses either bar say *don't*. All
else is *can't tell*, with what is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bitfit_probe.records import Check, Coverage, Finding
from bitfit_probe.records.decision import Answer, Decision
from bitfit_probe.records.diagnosis import Diagnosis, Quality
from bitfit_probe.records.measures import Adequacy
from bitfit_probe.records.report import Measured, Report

__all__ = [
    "ANSWERS",
    "Known",
    "best",
    "decide",
    "decided_by_check",
    "decisions",
    "diagnosis_of",
    "guess_of",
    "score_text",
]

ANSWERS: dict[Answer, str] = {"ship": "Ship", "dont-ship": "Don't ship", "cant-tell": "Can't tell"}


@dataclass(frozen=True)
class Known:
    """What is known of one tuned checkpoint; None for what was not looked at or measured.

    Attributes
    ----------
    tuned
        Its path.
    findings
        Those about it.
    rules
        How many rules looked.
    """

    tuned: str
    findings: tuple[Finding, ...] | None = None
    rules: int = 0
    coverage: Coverage | None = None
    sufficiency: Adequacy | None = None
    diagnosis: Diagnosis | None = None

    def of(self, severity: str) -> list[Finding]:
        """Its findings of one severity."""
        return [item for item in self.findings or () if item.severity == severity]


def decide(known: Known) -> Decision:
    """What to do with a checkpoint; the first thing that speaks against shipping it is the reason.

    Examples
    --------
    >>> decide(Known("tuned")).why
    'Nobody looked for known failures: bitfit-probe check does.'
    """
    for answer, why in _against(known):
        return Decision(answer, why, known.tuned)
    assert known.diagnosis is not None
    looked = f"none of {known.rules} rules found anything that loses quality"
    return Decision(
        "ship", f"{_scored(known.diagnosis)}, {_bars(known.diagnosis.quality)}; {looked}.", known.tuned
    )


def _against(known: Known) -> Iterator[tuple[Answer, str]]:
    errors, warnings = known.of("error"), known.of("warning")
    scored, state = known.diagnosis, known.sufficiency.state if known.sufficiency else ""
    if errors:
        yield "dont-ship", _first(errors, "error")
    if state == "blown-up" and known.sufficiency is not None:
        yield "dont-ship", f"The training blew up: {'; '.join(known.sufficiency.reasons)}."
    if scored is not None:
        yield from _too_bad(scored)
    if known.findings is None:
        yield "cant-tell", "Nobody looked for known failures: bitfit-probe check does."
    if known.coverage is not None and not known.coverage.enough:
        share = known.coverage.share or 0.0
        yield "cant-tell", f"Only {int(100 * share)} % of the base's parameters could be compared."
    if warnings:
        yield "cant-tell", _first(warnings, "warning")
    if scored is None:
        nothing = "Nothing is known to be wrong with it"
        if state == "under-trained" and known.sufficiency is not None:
            nothing = f"It may have been trained too little ({'; '.join(known.sufficiency.reasons)})"
        yield "cant-tell", f"{nothing}, and how good it is was not measured: give labelled examples (--data)."
    else:
        yield from _too_unsure(scored)


def _first(found: Sequence[Finding], kind: str) -> str:
    """The first message, and how many more there are."""
    more = len(found) - 1
    rest = f" And {more} more {kind}{'s' if more > 1 else ''}." if more else ""
    return f"{found[0].message}{rest}"


# How good it is -----------------------------------------------------------------------------------


def score_text(value: float, measure: str) -> str:
    """A score as it is written in sentences.

    >>> score_text(0.727, "accuracy"), score_text(0.61, "r2")
    ('72.7 %', '0.610')
    """
    return f"{100 * value:.1f} %" if measure == "accuracy" else f"{value:.3f}"


def guess_of(quality: Quality) -> float | None:
    """The score of guessing: of the most frequent class, of the mean; None where nothing is guessed."""
    return {"accuracy": quality.majority, "r2": 0.0, "spearman": 0.0}.get(quality.measure)


_NAMES = {"accuracy": "Accuracy", "r2": "R²", "spearman": "Spearman's ρ", "loss": "Loss"}


def _scored(found: Diagnosis) -> str:
    quality, between = found.quality, ""
    if quality.tuned.interval is not None:
        ends = " to ".join(score_text(end, quality.measure) for end in quality.tuned.interval)
        between = f" (95 % interval {ends})"
    score = score_text(quality.tuned.value, quality.measure)
    return f"{_NAMES[quality.measure]} {score}{between} on {found.examples:,} examples"


def _bars(quality: Quality) -> str:
    """What the score is held against."""
    parts = [f"{score_text(guess_of(quality) or 0.0, quality.measure)} for {_guessing(quality)}"]
    if quality.base_probe is not None:
        probe = score_text(quality.base_probe.value, quality.measure)
        parts.append(f"{probe} for a linear probe on the untouched base")
    return f"against {' and '.join(parts)}"


def _guessing(quality: Quality) -> str:
    return "the most frequent class" if quality.measure == "accuracy" else "answering the mean"


def _too_bad(found: Diagnosis) -> Iterator[tuple[Answer, str]]:
    """Where the interval as a whole is at or below guessing, or below the interval of the base's probe."""
    quality, guess = found.quality, guess_of(found.quality)
    if quality.tuned.interval is None or guess is None:
        return
    high = quality.tuned.interval[1]
    if high <= guess:
        text = f"no better than {_guessing(quality)} ({score_text(guess, quality.measure)})"
        yield "dont-ship", f"{_scored(found)}: {text}."
    probe = quality.base_probe
    if probe is not None and probe.interval is not None and high < probe.interval[0]:
        base = score_text(probe.value, quality.measure)
        yield (
            "dont-ship",
            f"{_scored(found)}: less than a linear probe reads off the untouched base ({base}).",
        )


def _too_unsure(found: Diagnosis) -> Iterator[tuple[Answer, str]]:
    quality, guess = found.quality, guess_of(found.quality)
    if guess is None or quality.tuned.interval is None:
        yield "cant-tell", f"{_scored(found)}, and nothing to hold that against was measured."
    elif quality.tuned.interval[0] <= guess:
        start = f"{_scored(found)} can't be told from {_guessing(quality)}"
        yield "cant-tell", f"{start} ({score_text(guess, quality.measure)}): more examples would tell."


# Reports, checks, several checkpoints -------------------------------------------------------------


def decisions(report: Report) -> tuple[Decision, ...]:
    """One for each tuned checkpoint of a report, in its order."""
    found = []
    for number, comparison in enumerate(report.diff.comparisons):
        measured = report.measured[number] if number < len(report.measured) else Measured()
        path = comparison.tuned.path
        found.append(
            decide(
                Known(
                    path,
                    None if report.check is None else _about(report.check, path),
                    len(report.check.checked) if report.check else 0,
                    comparison.coverage,
                    measured.adequacy,
                    diagnosis_of(report, path),
                )
            )
        )
    return tuple(found)


def diagnosis_of(report: Report, path: str) -> Diagnosis | None:
    """What was measured of one checkpoint on the examples; None without any."""
    found = report.diagnosed.diagnoses if report.diagnosed else ()
    return next((item for item in found if item.tuned == path), None)


def decided_by_check(check: Check) -> tuple[Decision, ...]:
    """One for each checkpoint that `check` looked at, by what it found alone."""
    return tuple(
        decide(Known(scope.tuned, _about(check, scope.tuned), len(check.checked), scope.coverage))
        for scope in check.scopes
    )


def _about(check: Check, path: str) -> tuple[Finding, ...]:
    return tuple(item for item in check.findings if item.tuned in ("", path))


def best(report: Report) -> int | None:
    """Which checkpoint is to be taken: of those to ship that with the highest score; None without any."""
    found = decisions(report)
    scores = {
        number: scored.quality.tuned.value
        for number, decision in enumerate(found)
        if decision.answer == "ship" and (scored := diagnosis_of(report, decision.tuned)) is not None
    }
    return max(scores, key=lambda number: scores[number]) if scores else None
