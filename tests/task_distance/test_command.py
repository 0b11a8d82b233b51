"""The command and its twin: what is measured, what is refused, what is said about odd data."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from bitfit_probe import sample
from bitfit_probe.api.task import distance
from bitfit_probe.cli import cli
from bitfit_probe.data import Columns, TaskData
from bitfit_probe.errors import DataError
from bitfit_probe.records.options import DistanceOptions
from bitfit_probe.task_distance.data_validation import notes_on, require_usable
from bitfit_probe.task_distance.reference_tasks import known_tasks, reading

QUESTIONS = ("who wrote {}?", "where is {}?")
NAMES = (
    "the book",
    "the river",
    "that song",
    "the house",
    "this town",
    "the bridge",
    "our school",
    "the war",
)


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "questions.csv"
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("text", "label"))
        for name in NAMES:
            for number in range(4):
                writer.writerow(
                    (QUESTIONS[number % 2].format(f"{name} {number}"), ("human", "place")[number % 2])
                )
    return path


def test_json_holds_every_measure_and_a_separable_task_is_near(questions: Path) -> None:
    done = CliRunner().invoke(
        cli, ["distance", str(sample.base_path()), "--data", str(questions), "--format", "json", "--quiet"]
    )
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    values = {item["measure"]: item["value"] for item in found["evidence"]}
    assert values["linear_probe"] == 1.0  # one word tells the classes
    assert values["majority"] == 0.5
    assert values["language_loss_gap"] is not None
    assert {item["method"] for item in found["reach"]["forecasts"]} >= {"head", "bitfit", "lora-8", "full"}
    assert found["reach"]["uncovered"] == []
    assert (found["classes"], found["examples"]) == (2, 32)
    assert len(found["layers"]) == 5


def test_without_reference_and_reach_it_says_so(questions: Path) -> None:
    with questions.open("a") as stream:
        stream.write("who wrote the book 0?,place\n")
    found = distance(sample.base_path(), questions, options=DistanceOptions(reference=False, reach=False))
    assert found.reach is None
    assert found.value("proxy_a_distance") is None
    assert any("text distances were not measured" in note for note in found.notes)
    assert any("1 of 33 rows repeat" in note for note in found.notes)


@pytest.mark.parametrize(
    ("rows", "what"),
    [
        ([("a b", "x")] * 30, "one class only"),
        ([(f"t {n}", f"class {n}") for n in range(30)], "names no classes"),
        ([("a", "x"), ("b", "y")], "2 usable rows"),
    ],
)
def test_data_on_which_nothing_means_anything_is_refused(
    rows: list[tuple[str, str]], what: str, tmp_path: Path
) -> None:
    path = tmp_path / "bad.csv"
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([("text", "label"), *rows])
    with pytest.raises(DataError, match=what):
        distance(sample.base_path(), path)


def data_of(texts: list[str], labels: list[int]) -> TaskData:
    names = tuple(f"c{number}" for number in range(max(labels) + 1))
    return TaskData(
        tuple(texts), None, tuple(labels), names, "classification", Columns("text", None, "label")
    )


def test_odd_data_is_named() -> None:
    texts = [f"text {number}" for number in range(100)]
    fine = data_of(texts, [number % 2 for number in range(100)])
    require_usable(fine)
    assert notes_on(fine) == ()
    rare = notes_on(data_of(texts, [0] * 97 + [1] * 3))
    assert [note for note in rare if "fewer than 5 examples (c1)" in note]
    assert [note for note in rare if "97 % of the rows are 'c0'" in note]
    constant = notes_on(data_of(["same"] * 60 + texts[:40], [number % 2 for number in range(100)]))
    assert [note for note in constant if "perhaps the wrong column" in note]


def test_readings_are_thirds_of_the_known_tasks() -> None:
    values = sorted(known_tasks()["proxy_a_distance"].values())
    assert len(values) == 9
    assert reading("proxy_a_distance", values[0] - 0.01) == "near"
    assert reading("proxy_a_distance", (values[3] + values[4]) / 2) == "middling"
    assert reading("proxy_a_distance", values[-1] + 0.01) == "far"
    assert reading("linear_probe", 1.0) == "near"
    assert reading("frechet", 1.0) is None  # its scale is the model's
