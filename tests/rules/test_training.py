"""BP2xx: each rule at its boundary, and silent beside it."""

from __future__ import annotations

import pytest
import torch
from support.builders import biases, cast, copied, move, state, write
from support.checking import codes, only, run_rules
from support.pairs import bitfit, log, shifted, write_pair

from bitfit_probe.measures.training_sufficiency import LIMITS

HEALTHY_LOG = log([1e-3, 5e-4, 0.0])


def said(base, tuned, code):
    """Severity and evidence by measure of one rule's finding, or None."""
    found = [item for item in run_rules(base, tuned).findings if item.code == code]
    return (
        {"severity": found[0].severity} | {i.measure: i.value for i in found[0].evidence} if found else None
    )


def why_not(base, tuned, code):
    return next((item.why for item in run_rules(base, tuned).not_checked if item.code == code), None)


# Nothing moved ------------------------------------------------------------------------------------


def test_the_base_itself(tmp_path):
    base = state("bert-mlm")
    assert codes(*write_pair(tmp_path, base, base)) == ["BP201"]


def test_one_element_of_one_bias_is_not_nothing(tmp_path):
    base = state("bert-mlm")
    tuned = copied(base)
    tuned["bert.encoder.layer.0.output.dense.bias"][3] += 0.02
    assert "BP201" not in codes(*write_pair(tmp_path, base, tuned))


def test_a_cast_is_a_note(tmp_path):
    base = state("bert-mlm")
    paths = write_pair(tmp_path, base, cast(base, torch.bfloat16))
    assert codes(*paths) == []
    assert "bfloat16" in only(*paths, code="BP201").message


def test_logged_steps_without_effect(tmp_path):
    base = state("bert-mlm")
    paths = write_pair(tmp_path, base, base, trainer_state__json=HEALTHY_LOG)
    assert codes(*paths) == ["BP204"]
    assert said(*paths, "BP204")["global_step"] == 30


@pytest.mark.parametrize(
    ("state_of_trainer", "more"),
    [(log([0.0, 0.0]), ["BP213"]), (log([1e-3]) | {"global_step": 0}, []), ({}, [])],
)
def test_without_steps_or_a_rate_it_is_just_the_base(tmp_path, state_of_trainer, more):
    base = state("bert-mlm")
    found = codes(*write_pair(tmp_path, base, base, trainer_state__json=state_of_trainer))
    assert found == ["BP201", *more]


def test_steps_without_effect_behind_a_cast(tmp_path):
    base = state("bert-mlm")
    paths = write_pair(tmp_path, base, cast(base, torch.float16), trainer_state__json=HEALTHY_LOG)
    assert codes(*paths) == ["BP204"]


# The wrong part -----------------------------------------------------------------------------------

OUTSIDE = ["bert.embeddings.LayerNorm.weight", "bert.embeddings.LayerNorm.bias"]


def test_nothing_inside_the_layers(tmp_path):
    base = state("bert-mlm")
    paths = write_pair(tmp_path, base, move(base, *OUTSIDE))
    assert codes(*paths) == ["BP202"]
    assert said(*paths, "BP202")["moved_tensors"] == 2


def test_only_the_pooler_may_be_on_purpose(tmp_path):
    base = state("bert")
    config = {"model_type": "bert", "architectures": ["BertForSequenceClassification"]}
    paths = write_pair(tmp_path, base, move(base, "bert.pooler.dense.weight"), config__json=config)
    assert said(*paths, "BP202")["severity"] == "warning"


def test_one_tensor_inside_is_enough(tmp_path):
    base = state("bert-mlm")
    inside = "bert.encoder.layer.1.output.dense.weight"
    assert "BP202" not in codes(*write_pair(tmp_path, base, move(base, *OUTSIDE, inside)))


def test_new_tokens_alone_are_no_cut_gradient(tmp_path):
    base = state("bert-mlm")
    table = "bert.embeddings.word_embeddings.weight"
    assert "BP202" not in codes(*write_pair(tmp_path, base, move(base, table)))


def test_only_the_head(tmp_path):
    base = state("bert-mlm")
    tuned = move(base, "cls.predictions.transform.dense.weight", "cls.predictions.bias")
    assert codes(*write_pair(tmp_path, base, tuned)) == ["BP205"]


# Too little ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("share", "found"), [(0.9, True), (1.1, False)])
def test_small_steps_of_biases(tmp_path, share, found):
    base = state("bert-mlm")
    tuned = shifted(base, share * LIMITS.least_bias_lr_steps, *biases(base))
    paths = write_pair(tmp_path, base, tuned)
    assert ("BP203" in codes(*paths)) is found
    if found:
        least = share * LIMITS.least_bias_lr_steps / LIMITS.adam_factor
        assert said(*paths, "BP203")["lr_times_steps"] == pytest.approx(least, rel=1e-4)


@pytest.mark.parametrize(("share", "found"), [(0.9, True), (1.1, False)])
def test_small_steps_of_everything(tmp_path, share, found):
    base = state("bert-mlm")
    tuned = shifted(base, share * LIMITS.least_full_lr_steps, *base)
    assert ("BP203" in codes(*write_pair(tmp_path, base, tuned))) is found


def test_the_log_is_quoted(tmp_path):
    base = state("bert-mlm")
    tuned = shifted(base, 1e-4, *biases(base))
    message = only(
        *write_pair(tmp_path, base, tuned, trainer_state__json=log([2e-5, 0.0])), code="BP203"
    ).message
    assert "20 steps" in message
    assert "2e-05" in message


# What the log tells -------------------------------------------------------------------------------

#: Ten evaluations: the best is the third, the last one is a half higher.
RISING = [1.0, 0.8, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.88, 0.9]


@pytest.mark.parametrize(
    ("losses", "accuracies", "found"),
    [
        (RISING, (), True),
        ([*RISING[:-1], 0.74], (), False),  # 1.23 times the best
        (RISING[::-1], (), False),
        (RISING, [0.8] * 10, False),  # overconfident, but as accurate as ever
        (RISING, [*[0.8] * 9, 0.7], True),
        ([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.6, 0.8, 0.9], (), False),  # the best is late
    ],
)
def test_over_trained(tmp_path, losses, accuracies, found):
    rates = [1e-3] * 9 + [0.0]
    paths = write_pair(tmp_path, *bitfit(), trainer_state__json=log(rates, losses, accuracies))
    assert ("BP208" in codes(*paths)) is found


def test_over_trained_is_a_note_where_the_best_was_kept(tmp_path):
    said_best = log([1e-3] * 10, RISING, best_model_checkpoint="out/checkpoint-30")
    assert (
        said(*write_pair(tmp_path, *bitfit(), trainer_state__json=said_best), "BP208")["severity"] == "info"
    )


@pytest.mark.parametrize(
    ("losses", "rates", "found"),
    [
        ([1.0, 0.8], [1e-3, 1e-3], True),
        ([1.0, 0.8], [1e-3, 2e-4], False),  # the rate has come down
        ([1.0, 0.96], [1e-3, 1e-3], False),  # nearly flat
        ([0.7, 1.0, 0.8], [1e-3] * 3, False),  # it was lower before
    ],
)
def test_still_falling(tmp_path, losses, rates, found):
    paths = write_pair(tmp_path, *bitfit(), trainer_state__json=log(rates, losses))
    assert (said(*paths, "BP209") is not None) is found


def test_a_log_of_nonsense_is_passed_over(tmp_path):
    odd = {"global_step": "many", "log_history": [3, {"step": True, "eval_loss": 1}, {"step": 10**400}]}
    odd["log_history"].append({"step": 1, "eval_loss": "low", "learning_rate": None})
    paths = write_pair(tmp_path, *bitfit(), trainer_state__json=odd)
    assert codes(*paths) == []


def test_without_a_log_the_curve_is_not_checked(tmp_path):
    paths = write_pair(tmp_path, *bitfit())
    for code in ("BP206", "BP208", "BP209"):
        assert why_not(*paths, code) == "there is no trainer_state.json"


# Checkpoints of the run ---------------------------------------------------------------------------


def with_checkpoints(folder, *, root, best):
    """A run with two checkpoint folders; `root` says which one's weights stand at the top."""
    base, last = bitfit()
    weights = {10: move(last, *biases(base), by=0.02), 20: last}
    state_of_trainer = log([2e-2, 0.0], best_model_checkpoint=f"/elsewhere/out/checkpoint-{best}")
    paths = write_pair(folder, base, weights[root], trainer_state__json=state_of_trainer)
    for step, tensors in weights.items():
        write_pair(paths[1] / f"checkpoint-{step}-pair", base, tensors)
        (paths[1] / f"checkpoint-{step}-pair" / "tuned").rename(paths[1] / f"checkpoint-{step}")
    return paths


def test_the_last_weights_are_not_the_best(tmp_path):
    paths = with_checkpoints(tmp_path, root=20, best=10)
    assert codes(*paths) == ["BP206"]
    evidence = said(*paths, "BP206")
    assert (evidence["this_checkpoint"], evidence["best_checkpoint"]) == ("checkpoint-20", "checkpoint-10")


@pytest.mark.parametrize("step", [10, 20])
def test_the_best_weights_are_fine(tmp_path, step):
    assert codes(*with_checkpoints(tmp_path, root=step, best=step)) == []


def test_a_checkpoint_folder_is_known_by_its_number(tmp_path):
    base, tuned = with_checkpoints(tmp_path, root=20, best=10)
    inner = tuned / "checkpoint-20"
    (inner / "trainer_state.json").write_text((tuned / "trainer_state.json").read_text())
    assert codes(base, inner) == ["BP206"]


def test_the_best_evaluation_was_not_saved(tmp_path):
    state_of_trainer = log([1e-3] * 3, [1.0, 0.5, 0.8])
    base, tuned = write_pair(tmp_path, *bitfit(), trainer_state__json=state_of_trainer)
    for step in (10, 30):
        (tuned / f"checkpoint-{step}").mkdir()
    assert said(base, tuned, "BP210")["eval_loss"] == 0.8
    (tuned / "checkpoint-20").mkdir()
    assert said(base, tuned, "BP210") is None


# A moving average ---------------------------------------------------------------------------------


def with_average(folder, base, live, average):
    paths = folder / "base.pt", folder / "both.ckpt"
    torch.save(base, paths[0])
    torch.save({"model": live, "ema": average}, paths[1])
    return paths


def between(base, live, share):
    return {name: base[name] + share * (live[name] - base[name]) for name in base}


@pytest.mark.parametrize(("share", "severity"), [(0.04, "warning"), (0.45, "warning"), (0.9, "info")])
def test_an_average_lags(tmp_path, share, severity):
    base, live = bitfit()
    evidence = said(*with_average(tmp_path, base, live, between(base, live, share)), "BP207")
    assert evidence["severity"] == severity
    assert evidence["length_of_change"] == pytest.approx(share, rel=1e-4)
    assert evidence["cosine_of_changes"] == pytest.approx(1.0, abs=1e-6)


def test_other_weights_under_that_name_are_no_average(tmp_path):
    base, live = bitfit()
    other = move(base, *[name for name in biases(base) if "key" not in name], by=-0.05)
    mixed = {name: torch.flip(tensor, [0]) for name, tensor in other.items()}
    assert said(*with_average(tmp_path, base, live, mixed), "BP207") is None


def test_an_average_in_a_file_beside(tmp_path):
    base, live = bitfit()
    paths = write_pair(tmp_path, base, live)
    write(paths[1] / "model_ema.safetensors", between(base, live, 0.1))
    assert said(*paths, "BP207")["length_of_change"] == pytest.approx(0.1, rel=1e-4)
