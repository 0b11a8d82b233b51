"""How often a page about one pair opens weight files and builds models, seen from outside the package."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from support.planted import planted_pair
from support.texts import write_tokenizer

#: Runs a command where Python tells of every file that is opened and transformers is asked for each model.
COUNTING = """
import json, sys
opened, built = [], []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
import transformers
plain = transformers.PreTrainedModel.from_pretrained.__func__
def from_pretrained(cls, *args, **more):
    built.append(cls.__name__)
    return plain(cls, *args, **more)
transformers.PreTrainedModel.from_pretrained = classmethod(from_pretrained)
from bitfit_probe.cli import run
code = run(sys.argv[2:])
json.dump({"code": code, "opened": opened, "built": built}, open(sys.argv[1], "w"))
"""


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    base, tuned, data = planted_pair(tmp_path_factory.mktemp("planted"), 40)
    write_tokenizer(base)
    return base, tuned, data


def counted(tmp_path, *args):
    out = tmp_path / "counts.json"
    command = [sys.executable, "-c", COUNTING, out, *args]
    subprocess.run([*map(str, command)], check=True, capture_output=True, timeout=300)
    return json.loads(out.read_text())


def weights(found, *folders):
    return [sum(name.startswith(f"{folder}/model.") for name in found["opened"]) for folder in folders]


def test_a_report_opens_and_builds_each_side_once(planted, tmp_path):
    base, tuned, data = planted
    page = tmp_path / "report.html"
    found = counted(tmp_path, "report", base, tuned, "--data", data, "-o", page, "--quiet")
    assert (found["code"], weights(found, base, tuned)) == (0, [1, 1])
    assert found["built"] == 2 * ["BertForSequenceClassification"]
    text = page.read_text("utf-8")
    assert "BP305" in text or "LN2" in text  # the rules and the reverting did run
    assert "LogME" in text  # and so did the distance


def test_a_recommendation_after_tuning_opens_and_builds_each_side_once(planted, tmp_path):
    base, tuned, data = planted
    out = tmp_path / "answer.json"
    given = (base, "--data", data, "--tuned", tuned, "--format", "json", "-o", out)
    found = counted(tmp_path, "recommend", *given, "--quiet")
    assert (found["code"], weights(found, base, tuned)) == (0, [1, 1])
    assert found["built"] == 2 * ["BertForSequenceClassification"]
    measures = {item["measure"] for item in json.loads(out.read_text())["evidence"]}
    assert {"tuned_score", "verdict", "linear_probe"} <= measures
