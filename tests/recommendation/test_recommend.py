"""Odd models and odd data: a sensible answer or a clear refusal each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tuning.tiny import rows, write_csv

import bitfit_probe as bp
from bitfit_probe import sample
from bitfit_probe.api.task import recommend
from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.data import TaskData, read_examples
from bitfit_probe.errors import DataError, ModelError
from bitfit_probe.recommendation.answer import recommendation
from bitfit_probe.recommendation.known import Known
from bitfit_probe.recommendation.rule import Line, Rule, Shipped
from bitfit_probe.records import Check, Finding
from bitfit_probe.records.distance import Distance, Forecast, Reach
from bitfit_probe.records.evidence import Evidence
from bitfit_probe.records.options import RecommendOptions
from bitfit_probe.records.recommendation import Trial, TrialResult


def asked(base: Path, data: Path, *, tuned: Sequence[Path] = (), **more: Any) -> Any:
    return recommend(base, data, tuned=tuned, options=RecommendOptions(reference=False, **more))


def methods(found: Any) -> list[str]:
    return [item.method for item in found.recommendation.expected]


def test_a_small_encoder_gets_an_answer_with_everything_behind_it(bases: Any, task: Path) -> None:
    found = asked(bases("bert"), task)
    answer = found.recommendation
    assert methods(found) == ["bitfit", "lora", "full"]
    assert answer.method in ("bitfit", "lora", "full", "undecided")
    assert not answer.calibrated  # a model as small as this is far from those that were run
    assert any("million parameters" in text for text in answer.against)
    assert {item.basis for item in answer.expected} == {"out of range"}
    assert "bitfit-probe tune" in answer.advice.command
    assert [cost.method for cost in answer.costs] == ["bitfit", "lora", "full"]
    assert found.distance.reach is not None


def test_an_encoder_decoder_is_refused(bases: Any, task: Path) -> None:
    with pytest.raises(ModelError, match="encoder-decoder"):
        asked(bases("t5"), task)


def test_without_biases_bitfit_is_no_option(bases: Any, task: Path) -> None:
    found = asked(bases("llama"), task)
    assert methods(found) == ["lora", "full"]
    assert any("no biases" in text for text in found.recommendation.because)
    assert found.recommendation.method in ("lora", "undecided")


def test_a_decoder_is_out_of_range(bases: Any, task: Path) -> None:
    found = asked(bases("gpt2"), task)
    assert any("decoder" in text for text in found.recommendation.against)
    assert not found.recommendation.calibrated


def test_forty_examples_get_an_answer_and_a_note(bases: Any, tmp_path: Path) -> None:
    found = asked(bases("bert"), write_csv(tmp_path / "few.csv", rows(40)))
    assert any("40 examples" in note for note in found.distance.notes)
    assert found.recommendation.expected


def test_one_class_is_refused(bases: Any, tmp_path: Path) -> None:
    table = [row | {"label": "same"} for row in rows(40)]
    with pytest.raises(DataError, match="one class"):
        asked(bases("bert"), write_csv(tmp_path / "one.csv", table))


def test_two_hundred_classes_are_out_of_range(bases: Any, tmp_path: Path) -> None:
    table = [row | {"label": f"c{number % 200}"} for number, row in enumerate(rows(800))]
    found = asked(bases("bert"), write_csv(tmp_path / "many.csv", table), examples=800)
    assert found.distance.classes == 200
    assert any("200 classes" in text for text in found.recommendation.against)


def test_a_quantity_is_out_of_range(bases: Any, tmp_path: Path) -> None:
    table = [row | {"label": f"{number / 7:.3f}"} for number, row in enumerate(rows(60))]
    found = asked(bases("bert"), write_csv(tmp_path / "quantity.csv", table))
    assert found.distance.classes == 0
    assert any("quantity" in text for text in found.recommendation.against)


def test_another_script_is_said_to_be_unknown_to_the_tokenizer(tmp_path: Path) -> None:
    table = [row | {"text": "这部电影很好 看 " + "啊" * (number % 5)} for number, row in enumerate(rows(48))]
    found = recommend(sample.base_path(), write_csv(tmp_path / "chinese.csv", table))
    unknown = found.distance.value("unknown_share")
    assert unknown is not None
    assert unknown > 0.9
    assert any("unknown to the tokenizer" in text for text in found.recommendation.against)
    assert found.recommendation.expected


def test_after_the_fact_findings_come_first(bases: Any, task: Path, tmp_path: Path) -> None:
    """The tuned checkpoint is the base with a head: nothing moved, and that is what to mend."""
    base = bases("bert")
    options = bp.TuneOptions(method="head", epochs=1, eval_split=0.0)
    bp.tune(base, task, out=tmp_path / "tuned", options=options)
    found = asked(base, task, tuned=[tmp_path / "tuned"])
    assert found.check is not None
    assert {item.measure for item in found.evidence} >= {"tuned_score", "verdict"}
    (score,) = [item for item in found.evidence if item.measure == "tuned_score"]
    assert 0 <= float(score.value or 0) <= 1
    assert any("foreseen without training" in text for text in found.recommendation.because)
    taken = json.loads((tmp_path / "tuned" / "trainer_state.json").read_text())["global_step"]
    assert any(f"was trained for {taken} steps" in text for text in found.recommendation.first)


# With a rule in range ------------------------------------------------------------------------------


def distance_of(data: TaskData) -> Distance:
    forecasts = tuple(
        Forecast(method, score, (score - 0.05, score + 0.05), 0.1, 0.1, 0.5)
        for method, score in (("head", 0.6), ("bitfit", 0.70), ("lora-8", 0.72), ("full", 0.73))
    )
    reach = Reach(forecasts, 0.34, (("q", 0.6), ("m2", 0.4)), (), (), 8, 4)
    evidence = (Evidence("linear_probe", 0.65), Evidence("majority", 0.34))
    return Distance("base", data.path, len(data), 3, evidence, reach=reach)


def rule(bitfit: float, full: float) -> Shipped:
    """Constant differences from LoRA, over a range that takes in everything."""
    line = Line((), (), (), (), 0.0)
    wide = ({"log2_examples": 0.0, "skill": 0.0}, {"log2_examples": 30.0, "skill": 1.0})
    return Shipped(Rule({"bitfit": line, "full": line}, ((bitfit, full),) * 5, wide), True, {})


@pytest.mark.parametrize(
    ("bitfit", "full", "answer"), [(0.0, 0.5, "bitfit"), (-4.0, 0.5, "lora"), (-4.0, 3.0, "full")]
)
def test_the_rule_decides(bitfit: float, full: float, answer: str, bases: Any, task: Path) -> None:
    data = read_examples(task)
    found = recommendation(open_checkpoint(bases("bert")), data, distance_of(data), by=rule(bitfit, full))
    assert found.method == answer
    assert found.calibrated
    assert found.advice.method == answer
    expected = found.of("bitfit")
    assert expected is not None
    assert expected.gap == pytest.approx(max(0.0, full, bitfit) - bitfit)


def test_a_wider_margin_takes_the_cheaper_method(bases: Any, task: Path) -> None:
    data = read_examples(task)
    base = open_checkpoint(bases("bert"))
    strict = recommendation(base, data, distance_of(data), by=rule(-2.0, 0.0))
    assert strict.method == "lora"
    assert any("margin of 2.0 points" in text for text in strict.would_change)
    assert recommendation(base, data, distance_of(data), margin=3.0, by=rule(-2.0, 0.0)).method == "bitfit"


def test_errors_and_warnings_come_first_but_not_what_is_about_methods(bases: Any, task: Path) -> None:
    data = read_examples(task)
    findings = (
        Finding("BP201", "nothing-trained", "error", "Nothing moved.", advice="Train it."),
        Finding("BP602", "forgetting", "warning", "It forgot."),
        Finding("BP305", "fine", "info", "All well."),
    )
    known = Known(check=Check(findings, (), ()))
    found = recommendation(
        open_checkpoint(bases("bert")), data, distance_of(data), known=known, by=rule(0, 0)
    )
    assert found.first == ("BP201: Nothing moved. Train it.",)


def test_a_run_that_ended_soon_is_said_to_want_more_steps(bases: Any, task: Path) -> None:
    data = read_examples(task)
    known = Known(steps={"short": 99, "long": 100})
    found = recommendation(
        open_checkpoint(bases("bert")), data, distance_of(data), known=known, by=rule(0, 0)
    )
    assert len(found.first) == 1
    assert found.first[0].startswith("short was trained for 99 steps")


def test_a_trial_is_measured_but_not_called_calibrated(bases: Any, task: Path) -> None:
    results = tuple(
        TrialResult(
            method, 1e-3, score, (score - 0.02, score + 0.02), gap, (gap - 0.3, gap + 0.3), None, False
        )
        for method, score, gap in (("bitfit", 0.8, 0.4), ("lora", 0.804, 0.0), ("full", 0.79, 1.4))
    )
    known = Known(Trial(5, 290.0, 200, 100, (), results, enough=True))
    data = read_examples(task)
    found = recommendation(
        open_checkpoint(bases("bert")), data, distance_of(data), known=known, by=rule(-9, 9)
    )
    assert found.method == "bitfit"  # though the rule says full
    assert {item.basis for item in found.expected} == {"trial"}
    assert not found.calibrated
    assert "--learning-rate 0.001" in found.advice.command
