"""Every method and option of the installed peft, as docs/adapters.md says of it."""

from __future__ import annotations

from pathlib import Path

import peft
import pytest
from formats.peft_cases import CASES, TOLERANCE, Case, run

from benchmarks.peft_sweep import row

PAGE = (Path(__file__).parents[2] / "docs" / "adapters.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_base_and_adapter_are_what_peft_merges_or_refused_with_a_way_that_works(
    tmp_path: Path, case: Case
) -> None:
    outcome = run(case, tmp_path)
    if outcome.difference is None:
        assert case.method.lower() in outcome.refusal.lower()
        assert outcome.alternative
    else:
        assert outcome.difference <= TOLERANCE
    assert row(case, outcome) in PAGE


def test_no_method_of_peft_is_forgotten() -> None:
    assert {case.method for case in CASES} == {kind.value for kind in peft.PeftType}
