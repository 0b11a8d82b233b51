"""Every specimen of the zoo: its kind is the first finding, and what is healthy raises no alarm."""

from __future__ import annotations

from pathlib import Path

import pytest
from zoo.beds import BEDS, healthy
from zoo.specimens import Built, Specimen, each_bed, lookalikes, specimens, write
from zoo.table import Row, look, page, seen

from bitfit_probe import sample
from bitfit_probe.rules import all_rules

#: The longest first line that still is one sentence to read.
LONGEST = 300


def _ids(kinds: list[Specimen]) -> list[str]:
    return [f"{specimen.id}-{specimen.title}".replace(" ", "_") for specimen in kinds]


@pytest.mark.parametrize("specimen", specimens(), ids=_ids(specimens()))
def test_the_kind_is_the_first_finding(tmp_path: Path, specimen: Specimen) -> None:
    answer = seen(specimen, tmp_path)

    assert answer.error is None
    assert answer.first == specimen.code
    assert all(len(finding.message) <= LONGEST for finding in answer.findings)
    assert answer.findings[0].evidence
    assert answer.findings[0].advice


@pytest.mark.parametrize("specimen", lookalikes(), ids=_ids(lookalikes()))
def test_a_lookalike_raises_no_alarm(tmp_path: Path, specimen: Specimen) -> None:
    answer = seen(specimen, tmp_path)

    assert answer.error is None
    assert answer.alarms == ()


@pytest.mark.parametrize(("bed", "task"), list(each_bed()))
def test_a_sound_run_raises_no_alarm(tmp_path: Path, bed: str, task: str) -> None:
    answer = look(write(healthy(bed, task), tmp_path, "folder"))

    assert answer.error is None
    assert answer.alarms == ()


def test_the_embedded_sample_raises_no_alarm() -> None:
    assert look(Built(sample.base_path(), (sample.tuned_path(),), None)).alarms == ()


def test_every_kind_of_the_catalogue_is_planted_and_has_its_rule() -> None:
    planted = {int(specimen.kind) for specimen in specimens()}
    known = {number for rule in all_rules().values() for number in rule.catalogue}

    assert planted == known == set(range(1, 55))
    assert {specimen.kind for specimen in lookalikes()} == {f"C{number}" for number in range(1, 11)}
    assert {specimen.code for specimen in specimens()} <= all_rules().keys()
    assert {specimen.bed for specimen in specimens()} == {*BEDS, "sample"}


def test_one_cause_gives_few_findings(tmp_path: Path) -> None:
    """A missing prefix is not 41 missing tensors: no specimen raises more than three alarms."""
    crowded = [s for s in specimens() if s.container == "folder" and s.kind in ("22", "23", "40", "41", "48")]
    counts = {s.id: len(seen(s, tmp_path / str(n)).alarms) for n, s in enumerate(crowded)}

    assert {name: count for name, count in counts.items() if count > 1} == {}


def test_the_page_counts_what_was_missed(tmp_path: Path) -> None:
    """A specimen under a wrong code is listed, and its kind does not count as found."""
    right = next(s for s in specimens() if s.kind == "22")
    wrong = Specimen(
        "22", "BP102", right.title, right.bed, right.container, right.variant, right.task, right.plant
    )
    rows = [Row(s.id, s, seen(s, tmp_path / str(s.code))) for s in (right, wrong)]
    text = page(rows, [], [], [])

    assert "Kinds found in every specimen: 0 of 1; specimens found: 1 of 2." in text
    assert f"- `{wrong.id}`: BP101" in text
