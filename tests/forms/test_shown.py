"""Forms in JSON, in a terminal, on the page and in Markdown: the same groups, a line each."""

from __future__ import annotations

import json

import pytest
from support.builders import write
from support.forms import bed, changed, trained

from bitfit_probe import report
from bitfit_probe.records.options import ReportOptions
from bitfit_probe.rendering import report_to_html, report_to_json, report_to_markdown, report_to_text


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Queries were multiplied, biases trained."""
    folder, base = tmp_path_factory.mktemp("shown"), bed("bert")
    changes = {name: (lambda b: 0.5 * b) for name in base if name.endswith("query.weight")}
    changes |= {name: trained for name in base if name.endswith(".bias")}
    paths = write(folder / "b.safetensors", base), write(folder / "t.safetensors", changed(base, changes))
    return report(*paths, options=ReportOptions(by=(), spectra=False, hashes=False, check=False))


LINES = (
    ("constant factor", "4 matrices (q): 0.500 × the base, nothing else – "),
    ("trained", "34 biases"),
    ("at rest", "9 norm scales"),
)


def test_every_row_and_every_group_stand_in_the_json(found):
    (comparison,) = json.loads(report_to_json(found))["comparisons"]
    rows = {row["name"]: row["form"] for row in comparison["tensors"]}
    form = rows["encoder.layer.2.attention.self.query.weight"]
    assert form["name"] == "constant factor"
    assert form["parameters"]["factor"] == pytest.approx(0.5)
    assert form["residual"] < 1e-12
    assert rows["encoder.layer.2.attention.self.query.bias"]["name"] == "trained"
    names = [group["form"]["name"] for group in comparison["forms"]]
    assert names == ["constant factor", "trained", "at rest"]
    assert comparison["forms"][0]["kinds"] == {"weight": 4}
    assert sum(len(group["tensors"]) for group in comparison["forms"]) == len(rows)


@pytest.mark.parametrize("write", [report_to_text, report_to_markdown, report_to_html])
def test_every_renderer_has_a_line_for_each_group(found, write):
    text = " ".join(write(found).split())
    for name, words in LINES:
        assert name in text
        assert words in text


def test_what_training_does_not_give_stands_first(found):
    lines = [
        line
        for line in report_to_text(found, width=120).splitlines()
        if line.startswith(tuple(n for n, _ in LINES))
    ]
    assert [line.split("  ")[0] for line in lines] == [name for name, _ in LINES]
