"""The decision, by what is known: each reason alone, and which of two comes first."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support import reports

from bitfit_probe.decision import Known, best, decide, decided_by_check, decisions
from bitfit_probe.records import Coverage, Finding, Scope
from bitfit_probe.records.diagnosis import Diagnosed, Diagnosis, Measured, Quality
from bitfit_probe.records.measures import Adequacy


def scored(score=0.80, low=0.75, high=0.84, *, guess=0.3, probe=(0.6, 0.55, 0.65), tuned="t") -> Diagnosis:
    """An accuracy on 400 examples, beside guessing and the base's probe."""
    interval = None if low is None else (low, high)
    base = None if probe is None else Measured(probe[0], probe[1:])
    beside = Quality("accuracy", Measured(score, interval), Measured(0.5), 1.1, base, guess, 0.2, True)
    return Diagnosis(tuned, 400, "", beside, None, None, ())


ERROR, WARNING, NOTE = (Finding("BP1", "n", kind, f"A {kind}.") for kind in ("error", "warning", "info"))
BLOWN = Adequacy(9.0, None, None, "blown-up", ("values became NaN",))
HALF = Coverage(10, 5, 0, 0.5, False, 0, 0)
#: Nothing speaks against it.
SOUND = Known("t", (NOTE,), 40, Coverage(10, 10, 0, 1.0, True, 0, 0), reports.adequacy(), scored())


@pytest.mark.parametrize(
    ("changes", "answer", "why"),
    [
        ({}, "ship", "80.0 %"),
        ({"findings": (WARNING, ERROR, ERROR)}, "dont-ship", "A error. And 1 more error."),
        ({"sufficiency": BLOWN}, "dont-ship", "blew up: values became NaN"),
        ({"diagnosis": scored(0.28, 0.24, 0.3)}, "dont-ship", "no better than"),
        (
            {"diagnosis": scored(0.5, 0.46, 0.54)},
            "dont-ship",
            "untouched base (60.0 %)",
        ),
        ({"findings": None}, "cant-tell", "Nobody looked"),
        ({"coverage": HALF}, "cant-tell", "Only 50 %"),
        ({"findings": (WARNING,)}, "cant-tell", "A warning."),
        ({"diagnosis": None}, "cant-tell", "was not measured"),
        (
            {"diagnosis": scored(0.33, 0.29, 0.37, probe=None)},
            "cant-tell",
            "told",
        ),
        ({"diagnosis": scored(guess=None)}, "cant-tell", "nothing to hold that against"),
        ({"diagnosis": scored(low=None)}, "cant-tell", "nothing to hold that against"),
    ],
)
def test_each_reason_alone(changes, answer, why):
    found = decide(replace(SOUND, **changes))
    assert found.answer == answer
    assert why in found.why


def test_an_error_comes_before_all_else():
    """Also where nothing was compared and the score is good."""
    found = decide(replace(SOUND, findings=(WARNING, ERROR), coverage=HALF))
    assert (found.answer, found.why) == ("dont-ship", "A error.")


def test_a_report_without_examples_is_never_shipped():
    full = reports.full_report(2)
    quiet = replace(full, check=replace(full.check, findings=()))
    assert [item.answer for item in decisions(quiet)] == ["cant-tell"]
    assert best(quiet) is None


def test_the_best_is_the_highest_score_of_those_to_ship():
    full = reports.full_report(2)
    (one,) = full.diff.comparisons
    scores = {"a": 0.7, "b": 0.9, "c": 0.95}
    tuned = [replace(one, tuned=replace(one.tuned, path=name)) for name in scores]
    told = [scored(score, score - 0.03, score + 0.03, tuned=name) for name, score in scores.items()]
    several = replace(
        full,
        diff=replace(full.diff, comparisons=tuple(tuned)),
        diagnosed=Diagnosed("base", "data", tuple(told)),
        check=replace(full.check, findings=(replace(ERROR, tuned="c"),)),
    )
    assert [item.answer for item in decisions(several)] == ["ship", "ship", "dont-ship"]
    assert best(several) == 1


def test_a_check_alone_decides_by_findings_and_coverage():
    check = replace(reports.check("a"), scopes=(Scope("a", SOUND.coverage), Scope("b", HALF)))
    assert [item.answer for item in decided_by_check(check)] == ["dont-ship", "cant-tell"]
