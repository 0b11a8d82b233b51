"""Odd models and odd data: a sensible answer or a clear refusal each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
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
from bitfit_probe.recommendation.calibration import Calibration, Line, Spread
from bitfit_probe.recommendation.known import Known
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
    assert any("parameters, where the runs have" in text for text in answer.against)
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
    assert found.recommendation.method == "lora"


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


def runs_say(bitfit: float, full: float = 0.0, sd: float = 1.0, passed: bool = True) -> Calibration:
    """Mean differences from LoRA, over ranges that take in everything; what a trial sees is believed."""
    believed = {16: Line(0.0, 1.0, sd), 1000: Line(0.0, 1.0, sd / 2)}
    return Calibration(
        cells=10,
        tasks=5,
        ranges={"parameters": (0, 1e12), "classes": (2, 1e6), "examples": (1, 1e9)},
        prior={"bitfit": Spread(bitfit, sd), "lora": Spread(0.0, 0.0), "full": Spread(full, sd)},
        within=(0.6, 0.8),
        lines={"bitfit": believed, "full": believed},
        right={16: 0.87, 1000: 0.9},
        passed={16: passed, 1000: passed},
    )


def told(
    bases: Any,
    task: Path,
    by: Calibration,
    known: Known | None = None,
    price: float = 0.5,
    margin: float | None = None,
) -> Any:
    data = read_examples(task)
    options = RecommendOptions(price=price, margin=margin)
    base = open_checkpoint(bases("bert"))
    return recommendation(base, data, distance_of(data), options=options, known=known, by=by)


def test_without_a_trial_the_price_decides(bases: Any, task: Path) -> None:
    by = runs_say(-0.5, 1.0)
    assert told(bases, task, by, price=0.0).method == "full"
    assert told(bases, task, by, price=5.0).method == "bitfit"
    dear = told(bases, task, by, margin=9.0)
    assert dear.method == dear.advice.method == "bitfit"
    assert dear.margin == 9.0
    assert told(bases, task, runs_say(-3.0), margin=2.9).method == "lora"
    found = told(bases, task, by)
    assert not found.calibrated
    assert [row.price for row in found.prices] == [0.0, 0.25, 0.5, 1.0, 2.0]
    assert found.because[0] == "Nothing tells these methods apart without training them."
    assert "in 60% of the cases and no more than two in 80%" in found.because[1]
    assert any("matters more than the method" in text for text in found.would_change)


def tried(held_out: int = 300, *, learned: bool = True, at_edge: bool = False, **scores: float) -> Trial:
    best = max(scores.values())
    results = tuple(
        TrialResult(
            method, 1e-3, score, (score, score), gap := 100 * (best - score), (gap, gap), learned, at_edge
        )
        for method, score in scores.items()
    )
    return Trial(5, 290.0, 290.0, 225, held_out, (), results, enough=True)


def test_a_trial_decides_and_counts_where_such_trials_passed(bases: Any, task: Path) -> None:
    known = Known(tried(bitfit=0.80, lora=0.804))
    found = told(bases, task, runs_say(-9), known)  # on average BitFit is far below
    assert found.method == "bitfit"
    assert {item.basis for item in found.expected if item.method != "full"} == {"trial"}
    assert found.calibrated
    assert not told(bases, task, runs_say(-9, passed=False), known).calibrated
    assert "--learning-rate 0.001" in found.advice.command


def test_a_clear_trial_says_how_often_such_statements_were_right(bases: Any, task: Path) -> None:
    from scipy.stats import norm

    found = told(bases, task, runs_say(0), Known(tried(1000, bitfit=0.80, lora=0.804)))
    chance = norm.sf(-1.0, -0.4, 0.5)
    assert found.because[0] == (
        f"BitFit is within a point of LoRA with {chance:.0%} (such statements were right in 90% on other "
        "tasks)."
    )


def test_a_tie_says_what_bitfit_costs_at_most_and_what_more_labels_would_bring(
    bases: Any, task: Path
) -> None:
    from scipy.stats import norm

    found = told(bases, task, runs_say(0, sd=2.0), Known(tried(16, bitfit=0.79, lora=0.80)))
    assert "16 held-out examples compare nothing" in found.because[0]
    by = runs_say(0, sd=4.0)
    found = told(bases, task, by, Known(tried(64, bitfit=0.79, lora=0.80)))
    sd = by.shrunk("bitfit", 0.0, 64).sd
    most = -norm.ppf(0.1, -1.0, sd)
    assert found.because[0].startswith("BitFit and LoRA differ by less than 64 examples can tell")
    assert found.because[0].endswith(f"costs with 90% at most {most:.1f}.")
    then = -norm.ppf(0.1, -1.0, by.shrunk("bitfit", 0.0, 128).sd)
    assert (
        f"64 more labels would narrow “at most {most:.1f}” to about {then:.1f} points"
        in found.would_change[-1]
    )


def test_where_nothing_is_learned_no_method_is_chosen(bases: Any, task: Path) -> None:
    found = told(bases, task, runs_say(0), Known(tried(learned=False, bitfit=0.34, lora=0.35)))
    assert found.method == "undecided"
    assert (
        found.because[0] == "No method beats guessing: don't choose a method, get more data or another base."
    )
    assert not any("tenfold" in text for text in found.because)


def test_a_best_rate_at_the_edge_asks_for_more_of_the_sweep(bases: Any, task: Path) -> None:
    found = told(bases, task, runs_say(0), Known(tried(at_edge=True, bitfit=0.8, lora=0.8)))
    assert "A best rate at the edge of those tried: go on with the sweep." in found.would_change


def test_an_incomplete_trial_says_how_many_minutes_are_missing(bases: Any, task: Path) -> None:
    short = replace(tried(bitfit=0.8, lora=0.8), needed=290.0 + 240.0, enough=False)
    found = told(bases, task, runs_say(0), Known(short))
    assert any(text.startswith("About 4 more minutes would complete") for text in found.would_change)


def test_errors_and_warnings_come_first_but_not_what_is_about_methods(bases: Any, task: Path) -> None:
    findings = (
        Finding("BP201", "nothing-trained", "error", "Nothing moved.", advice="Train it."),
        Finding("BP602", "forgetting", "warning", "It forgot."),
        Finding("BP305", "fine", "info", "All well."),
    )
    found = told(bases, task, runs_say(0), Known(check=Check(findings, (), ())))
    assert found.first == ("BP201: Nothing moved. Train it.",)


def test_a_run_that_ended_soon_is_said_to_want_more_steps(bases: Any, task: Path) -> None:
    found = told(bases, task, runs_say(0), Known(steps={"short": 99, "long": 100}))
    assert len(found.first) == 1
    assert found.first[0].startswith("short was trained for 99 steps")
