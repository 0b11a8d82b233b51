"""How reverting is told: verdicts, intervals, what is free, also where figures are missing or infinite."""

from __future__ import annotations

import math

import pytest

from bitfit_probe.records.measures import Group, Revert, Reverting
from bitfit_probe.rendering.document.blocks import Document
from bitfit_probe.rendering.document.terminal import to_text
from bitfit_probe.rendering.subjects.reverting import reverting_blocks


def row(role, change, low, high, *, no_effect=False, accuracy=-0.1, tolerance=0.02):
    return Revert(
        group=Group(role, None, None, (role,), 8, no_effect),
        loss_change=change,
        loss_interval=(low, high),
        accuracy_change=accuracy,
        accuracy_interval=None if accuracy is None else (accuracy - 0.05, accuracy + 0.05),
        examples=100,
        logit_change=0.5,
        free=high < tolerance,
        matters=low > tolerance,
    )


ROWS = (
    row("q", 0.5, 0.4, 0.6),
    row("m2", 0.03, 0.01, 0.05),
    row("v", 0.001, -0.002, 0.004, accuracy=0.0),
    row("k", 0.0, 0.0, 0.0, no_effect=True, accuracy=0.0),
)


def found(**changes):
    known = {
        "by": "role",
        "loss": 0.7,
        "accuracy": 0.8,
        "confidence": 0.95,
        "tolerance": 0.02,
        "rows": ROWS,
        "examples": 400,
        "notes": (),
    }
    return Reverting(**known | changes)


def text(reverting, width=80):
    return to_text(Document(lead=tuple(reverting_blocks("reverting", reverting))), width)


def test_verdicts_follow_the_interval():
    assert [item.verdict for item in ROWS] == ["matters", "undecided", "free", "no effect"]


def test_the_whole_table():
    assert text(found()).splitlines()[:7] == [
        "Biases by role, put back to the base one at a time (400 examples, loss 0.700,",
        "accuracy 80.0%)",
        "role  Δ loss      its interval  Δ accuracy     its interval  verdict",
        "q     +0.500  [+0.400, +0.600]      -10.0%  [-15.0%, -5.0%]  matters",
        "m2    +0.030  [+0.010, +0.050]      -10.0%  [-15.0%, -5.0%]  undecided",
        "v     +0.001  [-0.002, +0.004]       +0.0%   [-5.0%, +5.0%]  free",
        "k     +0.000  [+0.000, +0.000]       +0.0%   [-5.0%, +5.0%]  no effect",
    ]


def test_what_is_free_is_listed_apart_from_what_has_no_effect():
    shown = " ".join(text(found()).split())
    assert (
        "Restorable at no loss, each by itself: v. Without effect, because softmax cancels them: k." in shown
    )
    assert "Groups that were decided early saw 100 examples." in shown
    together = row(None, 0.3, 0.2, 0.4)
    assert "All of them at once: loss +0.300 [+0.200, +0.400], matters." in " ".join(
        text(found(together=together)).split()
    )


def test_nothing_free_is_said_too():
    assert "No group is restorable at no loss." in text(found(rows=ROWS[:2]))


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_every_width(width):
    rows = (*ROWS, row("a-role-with-a-very-long-name-of-its-own", 0.1, 0.05, 0.2))
    assert max(map(len, text(found(rows=rows), width).splitlines())) <= width


def test_regressions_have_no_accuracy():
    rows = (row("q", 0.5, 0.4, 0.6, accuracy=None),)
    shown = text(found(rows=rows, accuracy=None, unit="label variances"))
    assert "accuracy" not in shown
    assert "0.02 label variances" in " ".join(shown.split())


def test_infinite_ends_and_names_from_files(tmp_path):
    rows = (row("q\x1b[31m", 0.5, -math.inf, math.inf),)
    shown = text(found(rows=rows, notes=("a \x1b note",)))
    assert "[-inf, +inf]" in shown
    assert "\x1b" not in shown
