"""The needle benchmark's figures are those of its rows."""

from __future__ import annotations

import pytest

from benchmarks.needle.page import PAGE, page
from benchmarks.needle.scoring import Case, coverage, share, told_right


def case(cause: str, advised: str | None, realised: float, attainable: float) -> Case:
    return Case("m", "t", cause, 300, 0.5, advised, realised, "best", attainable, 0.1, None, 9, 10)


def test_the_page_is_that_of_the_rows():
    assert PAGE.read_text("utf-8") == page(), "run `make needle`"


def test_shares_are_of_sums_and_sound_runs_count_where_nothing_is_advised():
    found = [case("head lost", "refit-head", 0.3, 0.4), case("rate too low", None, 0.0, 0.1)]
    assert share(found) == pytest.approx(0.6)
    sound = [case("sound, biases", None, 0.0, 0.02), case("sound, biases", "alpha-0.5", -0.01, 0.02)]
    assert told_right([*found, *sound]) == 0.5
    assert coverage(found) == 0.9
