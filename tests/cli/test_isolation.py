"""One broken file among several TUNED: the others are judged, and it is a row, a line and exit status 2."""

from __future__ import annotations

import json

import pytest
from support.fleets import write_base, write_bitfit, write_broken

import bitfit_probe as bp
from bitfit_probe.cli import run


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("isolation")
    sound = [write_bitfit(folder / "one"), write_bitfit(folder / "two", 0.02)]
    return write_base(folder), sound, write_broken(folder)


def test_every_kind_of_broken_file_leaves_the_others_as_they_are(places):
    base, (one, two), broken = places
    alone, found = bp.diff(base, one, two), bp.diff(base, one, *broken.values(), two)
    assert found.comparisons == alone.comparisons
    assert {item.code: item.tuned for item in found.failures} == {
        code: str(path) for code, path in broken.items()
    }


def test_findings_about_the_others_are_the_same_and_every_broken_one_is_told(places):
    base, (one, two), broken = places
    alone, found = bp.check(base, one, two), bp.check(base, one, *broken.values(), two)
    told = {item.tuned for item in found.findings if item.severity == "error"}
    assert told == {str(broken["BE110"])}  # a rule knows a missing shard
    assert [item for item in found.findings if item.tuned not in told] == list(alone.findings)
    assert {item.tuned for item in found.failures} | told == set(map(str, broken.values()))


@pytest.mark.parametrize(
    ("command", "rows"),
    [
        (["diff", "--format", "json"], "comparisons"),
        (["check", "--format", "json"], "findings"),
        (["diff", "--trajectory", "--format", "json"], "comparisons"),
    ],
)
def test_json_has_the_row_and_stderr_the_line(places, capsys, command, rows):
    base, (one, two), broken = places
    assert run([*command, *map(str, (base, one, broken["BE106"], two))]) == 2
    said = capsys.readouterr()
    told = json.loads(said.out)
    assert [item["code"] for item in told["failures"]] == ["BE106"]
    if rows == "comparisons":
        assert [item["tuned"]["path"] for item in told[rows]] == [str(one), str(two)]
    assert said.err == f"error BE106: {told['failures'][0]['message']}\n"


@pytest.mark.parametrize("command", [["diff"], ["check"], ["report", "--format", "md", "--no-spectra"]])
def test_people_are_told_where_they_read_the_rest(places, capsys, command):
    base, (one, _), broken = places
    assert run([*command, *map(str, (base, broken["BE104"], one))]) == 2
    said = capsys.readouterr().out
    assert "BE104" in said
    assert one.name in said


def test_a_page_says_whom_it_is_not_about(places, tmp_path):
    base, (one, two), broken = places
    page = tmp_path / "r.html"
    assert run(["report", *map(str, (base, one, broken["BE105"], two)), "--no-spectra", "-o", str(page)]) == 2
    assert "1 checkpoint could not be read or compared" in page.read_text()
    assert "BE105" in page.read_text()


def test_sarif_says_that_the_run_was_not_whole(places, capsys):
    base, (one, _), broken = places
    assert run(["check", "--format", "sarif", *map(str, (base, one, broken["BE103"]))]) == 2
    (invocation,) = json.loads(capsys.readouterr().out)["runs"][0]["invocations"]
    assert invocation["executionSuccessful"] is False
    assert invocation["toolExecutionNotifications"][0]["message"]["text"].startswith("BE103 ")


@pytest.mark.parametrize("command", ["diff", "check", "report"])
def test_where_none_can_be_read_nothing_is_written(places, tmp_path, capsys, command):
    base, _, broken = places
    out = tmp_path / "out.html"
    assert run([command, *map(str, (base, broken["BE107"], broken["BE101"])), "-o", str(out)]) == 2
    assert capsys.readouterr().err.startswith("error BE107:")
    assert not out.exists()
