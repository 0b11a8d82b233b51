"""Findings as text, JSON and SARIF, from records alone."""

from __future__ import annotations

import json
import re

import pytest

from bitfit_probe.api.check import explanations
from bitfit_probe.records import Check, Evidence, Explanation, Finding, NotChecked
from bitfit_probe.rendering import check_to_json, check_to_sarif, check_to_text, explanation_to_text

PATH = "runs/my model/model.safetensors"
FINDINGS = (
    Finding(
        "BP201",
        "nothing-moved",
        "error",
        "Nothing moved.",
        subjects=("a.weight", "b.weight"),
        evidence=(Evidence("compared_tensors", 1234, "tensors", about="both"), Evidence("x", float("nan"))),
        advice="Train it.",
        tuned=PATH,
    ),
    Finding("BP203", "step-too-small", "warning", "Hardly trained.", details="More of it.", tuned=PATH),
    Finding("BP305", "key-bias-noise", "info", "Noise.", tuned="/abs/b.pt"),
)
CHECK = Check(
    FINDINGS,
    checked=("BP201", "BP203", "BP305"),
    not_checked=(
        NotChecked("BP501", "there is no adapter", PATH),
        NotChecked("BP502", "there is no adapter", PATH),
        NotChecked("BP505", "there is no adapter", PATH),
        NotChecked("BP501", "there is no adapter", "/abs/b.pt"),
        NotChecked("BP602", "no --data given", PATH),
    ),
)


def test_text():
    assert check_to_text(CHECK, width=70) == (
        "✗ error BP201 nothing-moved\n"
        "  runs/my model/model.safetensors\n"
        "  Nothing moved.\n"
        "  Evidence: compared tensors 1,234 tensors (both); x nan.\n"
        "  What to do: Train it.\n"
        "\n"
        "! warning BP203 step-too-small\n"
        "  runs/my model/model.safetensors\n"
        "  Hardly trained.\n"
        "  More of it.\n"
        "\n"
        "i info BP305 key-bias-noise\n"
        "  /abs/b.pt\n"
        "  Noise.\n"
        "\n"
        "1 error, 1 warning, 1 note; 3 rules checked.\n"
        "\n"
        "Not checked:\n"
        "- BP501–BP502, BP505: there is no adapter\n"
        "- BP602: no --data given\n"
    )


@pytest.mark.parametrize("width", [40, 60, 120])
def test_text_keeps_to_its_width(width):
    long = Finding("BP201", "n", "error", "word " * 60, advice="advice " * 40, tuned="p" * 300)
    text = check_to_text(Check((long, FINDINGS[1]), (), ()), width=width)
    assert max(map(len, text.splitlines())) <= width


def test_one_finding_among_several_checkpoints_names_its_own():
    found = Check(FINDINGS[1:2], (), (NotChecked("BP602", "no --data given", "other"),))
    assert PATH in check_to_text(found)
    assert PATH not in check_to_text(Check(FINDINGS[1:2], (), ()))


def test_no_findings():
    assert check_to_text(Check((), ("BP201",), ())) == "Nothing found; 1 rule checked.\n"


def test_json_has_the_promised_keys():
    document = json.loads(check_to_json(CHECK))
    assert document["format_version"] == 1
    assert document["checked"] == ["BP201", "BP203", "BP305"]
    assert document["not_checked"][-1] == {"code": "BP602", "why": "no --data given", "tuned": PATH}
    first = document["findings"][0]
    wanted = {"code", "name", "severity", "message", "subjects", "evidence", "advice", "url"}
    assert wanted <= first.keys()
    assert (
        first["evidence"][0] | {"measure": "compared_tensors", "value": 1234, "unit": "tensors"}
        == (first["evidence"][0])
    )
    assert first["evidence"][1]["value"] is None  # NaN is no JSON
    assert first["url"] == "docs/findings.md#bp201"


# SARIF: what the 2.1.0 schema requires of the objects that we write ---------------------------------

LEVELS = {"none", "note", "warning", "error"}
#: A URI reference: no blanks or backslashes, a drive letter is no scheme.
URI = re.compile(r"^[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+$")
REQUIRED = {
    "log": {"version", "runs"},
    "run": {"tool"},
    "driver": {"name"},
    "rule": {"id"},
    "result": {"message"},
    "invocation": {"executionSuccessful"},
    "notification": {"message"},
}


@pytest.fixture(scope="module")
def sarif():
    return json.loads(check_to_sarif(CHECK, explanations(), version="1.2.3"))


def test_sarif_is_one_run_of_version_2_1_0(sarif):
    assert sarif["version"] == "2.1.0"
    assert sarif["$schema"].endswith("sarif-schema-2.1.0.json")
    assert sarif.keys() >= REQUIRED["log"]
    (run,) = sarif["runs"]
    assert run.keys() >= REQUIRED["run"]
    driver = run["tool"]["driver"]
    assert (driver["name"], driver["semanticVersion"]) == ("bitfit-probe", "1.2.3")
    assert run["columnKind"] in {"utf16CodeUnits", "unicodeCodePoints"}


def test_sarif_rules_carry_their_help(sarif):
    rules = sarif["runs"][0]["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == [item.code for item in explanations()]
    for rule in rules:
        assert rule["shortDescription"]["text"]
        assert rule["fullDescription"]["text"]
        assert "What to do" in rule["help"]["text"]
        assert rule["help"]["markdown"].startswith("### ")
        assert rule["defaultConfiguration"]["level"] in LEVELS
        assert re.fullmatch(r"[A-Za-z0-9]+", rule["name"])


def test_sarif_results_point_to_rules_and_files(sarif):
    (run,) = sarif["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [result["level"] for result in run["results"]] == ["error", "warning", "note"]
    for result, finding in zip(run["results"], FINDINGS, strict=True):
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"] == finding.code
        assert result["message"]["text"].startswith(finding.message)
        (location,) = result["locations"]
        info = location["physicalLocation"]
        assert URI.match(info["artifactLocation"]["uri"])
        assert info["region"]["startLine"] >= 1
    infos = [r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for r in run["results"]]
    assert infos == ["runs/my%20model/model.safetensors"] * 2 + ["file:///abs/b.pt"]
    names = [item["name"] for item in run["results"][0]["locations"][0]["logicalLocations"]]
    assert names == ["a.weight", "b.weight"]


def test_sarif_says_what_was_not_checked(sarif):
    (invocation,) = sarif["runs"][0]["invocations"]
    assert invocation["executionSuccessful"] is True
    notes = invocation["toolExecutionNotifications"]
    assert len(notes) == len(CHECK.not_checked)
    assert notes[-1]["message"]["text"] == "BP602 was not checked: no --data given"
    assert notes[-1]["associatedRule"]["id"] == "BP602"
    assert all(note["level"] in LEVELS for note in notes)


def test_sarif_fingerprints_tell_findings_apart(sarif):
    prints = [result["partialFingerprints"]["finding/v1"] for result in sarif["runs"][0]["results"]]
    assert len(set(prints)) == 3
    again = json.loads(check_to_sarif(CHECK, explanations(), version="9"))
    assert [r["partialFingerprints"]["finding/v1"] for r in again["runs"][0]["results"]] == prints


def test_an_explanation_in_text():
    item = Explanation("BP999", "odd", "info", "Odd.", (("What it means", "One.\n\nTwo."),), ("BP1", "BP2"))
    assert explanation_to_text(item) == (
        "BP999 odd (info)\n\nOdd.\n\nWhat it means\n  One.\n\n  Two.\n\nTakes the place of BP1, BP2.\n"
    )
