"""The committed samples are what the program makes of the embedded checkpoints today."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

from benchmarks.reports import CASES, REPORTS, build  # noqa: E402

_NUMBER = re.compile(r"\d+\.\d+(?:e[-+]?\d+)?")
_VERSION = re.compile(r"bitfit-probe \d+\.\d+\.\d+\w*")


def comparable(text: str) -> str:
    """Without the version; processors differ in the last digits of a sum."""
    plain = _VERSION.sub("bitfit-probe", text)
    return _NUMBER.sub(lambda number: f"{float(number[0]):.6g}", plain)


@pytest.mark.parametrize("name", ["sample", "broken", "runs"])
def test_samples_rebuild(name):
    made = build(name)
    assert set(made) == {"report.html", "report.md"}
    for file, text in made.items():
        committed = (REPORTS / name / file).read_text("utf-8")  # else: make samples
        assert comparable(text) == comparable(committed), f"{name}/{file}"


def test_every_sample_is_there_small_and_listed():
    index = (REPORTS / "README.md").read_text("utf-8")
    for name in CASES:
        page = REPORTS / name / "report.html"
        assert page.stat().st_size < 1_000_000
        assert f"({name}/report.html)" in index


@pytest.mark.parametrize("name", list(CASES))
def test_no_sample_names_a_place_on_a_machine(name):
    for file in (REPORTS / name).iterdir():
        assert not re.search(r"/(?:home|root|tmp|work|Users|private)/", file.read_text("utf-8")), file.name
