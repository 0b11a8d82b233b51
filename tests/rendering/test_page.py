"""The page and its Markdown twin as text: the policy, the data inside, the size, and what escapes."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from support import reports

from bitfit_probe.errors import MissingExtraError
from bitfit_probe.records import Check, CheckpointInfo, Diff, NotChecked
from bitfit_probe.records.report import Measured, Report
from bitfit_probe.rendering import report_to_html, report_to_markdown
from bitfit_probe.rendering.document.html import _environment


def small():
    """A report with findings and one figure."""
    full = reports.full_report(2)
    return replace(full, measured=(), likeness=(), trajectory=None)


@pytest.fixture(scope="module")
def page() -> str:
    return report_to_html(reports.full_report(2))


class Elements(HTMLParser):
    """Start tags with their attributes, and the text inside scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside: list[tuple[str, dict[str, str | None], str]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        self.tags.append((f"/{tag}", {}))

    def handle_data(self, data):
        if self.tags and self.tags[-1][0] in ("script", "style"):
            self.inside.append((*self.tags[-1], data))


def test_the_policy_allows_this_style_and_this_script_only(page):
    """The hashes are those of the bytes between the tags, computed here from the page."""
    found = Elements(page)
    policy = next(attrs["content"] for tag, attrs in found.tags if attrs.get("http-equiv"))
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for tag, attrs, text in found.inside:
        if attrs.get("type") != "application/json":
            digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            assert f"{tag}-src 'sha256-{digest}'" in policy
    assert not [
        tag for tag, attrs in found.tags if "style" in attrs or any(name.startswith("on") for name in attrs)
    ]


def test_nothing_in_it_points_elsewhere(page):
    found = Elements(page)
    for tag, attrs in found.tags:
        for name in ("src", "href", "action", "data", "poster"):
            assert (attrs.get(name) or "#").startswith("#"), (tag, attrs)
    assert set(re.findall(r"https?://[^\s\"'<]+", page)) <= {"http://www.w3.org/2000/svg"}
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)


def test_the_data_inside_is_the_commands(page):
    (text,) = [text for _, attrs, text in Elements(page).inside if attrs.get("id") == "report-data"]
    data = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    report = reports.full_report(2)
    assert data["format_version"] == 1
    rows = data["comparisons"][0]["tensors"]
    assert [row["mean_abs_delta"] for row in rows] == [
        row.mean_abs_delta for row in report.diff.comparisons[0].tensors
    ]
    assert data["check"]["findings"][0]["code"] == "BP403"
    assert data["files"] == [{"path": "base/model.safetensors", "sha256": "ab" * 32}]
    assert data["comparisons"][0]["decision"] == {
        "answer": "dont-ship",
        "why": report.check.findings[0].message,
    }


def test_the_same_report_gives_the_same_bytes(page):
    assert report_to_html(reports.full_report(2)) == page
    assert report_to_markdown(reports.full_report(2)) == report_to_markdown(reports.full_report(2))


def test_a_bert_large_pair_stays_under_a_megabyte():
    """391 tensors, 24 layers, the spectra of all 144 matrices of 1,024 values each."""
    full = reports.full_report(24)
    (one,) = full.diff.comparisons
    more = tuple(
        reports.tensor(
            f"bert.encoder.layer.{at % 24}.attention.self.some_role_{at}.weight", "q", at % 24, "weight"
        )
        for at in range(391 - len(one.tensors))
    )
    spectra = tuple(
        reports.spectrum(role, layer, 0.99, 1024)
        for role in ("q", "k", "v", "m1", "m2", "m3")
        for layer in range(24)
    )
    text = report_to_html(
        replace(
            full,
            diff=replace(full.diff, comparisons=(replace(one, tensors=one.tensors + more),)),
            measured=(replace(full.measured[0], spectra=spectra),),
        )
    )
    assert len(text.encode()) < 1_000_000


def test_what_is_absent_is_said():
    """A bare diff: no findings section is pretended, nothing is called healthy."""
    one = CheckpointInfo("a", "safetensors", 1, 1, 0)
    bare = Report(Diff(one, "bert", "names", (reports.comparison(2),)))
    for text in (report_to_html(bare), report_to_markdown(bare).replace("\\", "")):
        assert "Not checked for known failures" in text
        assert "Can't tell" in html.unescape(text)
        assert "Nobody looked for known failures" in text
        assert "Not measured: how good it is, and which biases matter (--data); known failures" in text
        assert "checksums of the files" in text
        assert "ealthy" not in text


def test_silence_is_not_health():
    full = small()
    quiet = replace(full, check=Check((), ("BP201", "BP202"), (NotChecked("BP306", "no data"),)))
    for text in (report_to_html(quiet), report_to_markdown(quiet)):
        assert "None of 2 rules found anything to mend. 1 rule could not look." in text
        assert "no proof that the model is good" in text


def test_findings_stand_worst_first():
    full = small()
    turned = replace(full, check=replace(full.check, findings=full.check.findings[::-1]))
    text = report_to_html(turned)
    assert text.index("BP403") < text.index("BP206")


def test_reverting_says_what_could_go_back(page):
    free = [row.group.label for row in reports.reverting().rows if row.verdict == "free"]
    assert f"Restorable at no loss, each by itself: {', '.join(free)}." in page
    assert "Free: the loss rises by less than 0.02 nats" in page
    none = replace(small(), measured=(Measured((reports.ranking(),)),))
    assert "Which biases matter is not measured" in report_to_markdown(none)


def test_without_jinja_the_extra_is_named(monkeypatch):
    _environment.cache_clear()
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtraError, match=r"bitfit-probe\[report\]"):
        report_to_html(small())
    _environment.cache_clear()


# Markdown -----------------------------------------------------------------------------------------


def test_the_model_card_has_the_figures():
    text = report_to_markdown(reports.full_report(2))
    card = re.search(r"## For the model card\n\n```markdown\n(.*?)```", text, re.DOTALL)[1]
    assert "- Biases that moved: 16 of 16; head: new" in card
    assert "- Parameters that moved: 128 of 144 compared (88.89%)" in card
    assert "- Findings: BP403, BP206 (4 rules checked)" in card


def test_tables_are_tables():
    """Every row of a table has the cells of its head."""
    lines = report_to_markdown(reports.full_report(2)).splitlines()
    for number, line in enumerate(lines):
        if set(line) <= set("|:-") and line.startswith("|"):
            width = line.count("|")
            rows = lines[number - 1 : number + 2]
            assert [len(re.findall(r"(?<!\\)\|", row)) for row in rows] == [width] * 3


def test_a_long_list_is_cut_and_said():
    full = reports.full_report(24)
    assert "_196 more rows in the JSON._" in report_to_markdown(full)
