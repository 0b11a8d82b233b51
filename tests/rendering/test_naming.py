"""No page and no Markdown says where on a machine something lay."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from support import recommended, reports

from bitfit_probe.rendering import report_to_html, report_to_markdown
from bitfit_probe.rendering.naming import named, own_names

HOME = "/home/ann/work"


def placed():
    """A report whose paths are absolute, in every text that may quote one."""
    full = reports.full_report(2)
    (one,) = full.diff.comparisons
    base, tuned = f"{HOME}/models/base", f"{HOME}/runs/my tuned"
    finding = replace(
        full.check.findings[0],
        tuned=tuned,
        message=f"{tuned}/config.json names '/srv/shared/other/base', not {base}.",
        subjects=(f"{tuned}/config.json", r"C:\Users\ann\secret\x.bin"),
        details=f"(read from {base}/model.safetensors)",
    )
    advice = replace(
        recommended.ADVICE,
        command=f"bitfit-probe tune {base} --data {HOME}/data/q.csv --out tuned",
        snippet=f"base = '{base}'\n",
    )
    distance = replace(recommended.DISTANCE, model=base, data=f"{HOME}/data/q.csv")
    return replace(
        full,
        diff=replace(
            full.diff,
            base=replace(full.diff.base, path=base),
            comparisons=(replace(one, tuned=replace(one.tuned, path=tuned)),),
        ),
        check=replace(full.check, findings=(finding,)),
        files=((f"{tuned}/model.safetensors", "ab" * 32),),
        data=f"{HOME}/data/q.csv",
        rows=12,
        recommended=replace(
            recommended.recommended(replace(recommended.BITFIT, advice=advice)), distance=distance
        ),
    )


@pytest.mark.parametrize("write", [report_to_html, report_to_markdown])
def test_no_absolute_path_is_written(write):
    text = write(placed())
    assert not re.search(r"/(?:home|srv)/|ann|Users|secret(?!/)\\", text)
    for name in ("my tuned/config.json", "base/model.safetensors", "bitfit-probe tune base"):
        assert name in text.replace("\\", "")


def test_names_are_as_short_as_tells_them_apart():
    assert own_names(["/a/base", "/b/x/model.pt", "/b/y/model.pt", "org/name"]) == {
        "/a/base": "base",
        "/b/x/model.pt": "x/model.pt",
        "/b/y/model.pt": "y/model.pt",
        "org/name": "name",
    }


def test_findings_stay_with_their_checkpoint():
    report = named(placed())
    assert report.check.findings[0].tuned == report.diff.comparisons[0].tuned.path == "my tuned"


@pytest.mark.parametrize("text", ["https://example.org/a/b", "and/or", "org/name@main", "a / b", "2/3"])
def test_what_is_no_path_stays(text):
    full = reports.full_report(2)
    finding = replace(full.check.findings[0], message=text)
    shown = named(replace(full, check=replace(full.check, findings=(finding,))))
    assert shown.check.findings[0].message == text
