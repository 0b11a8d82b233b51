"""trainer_state.json: what the Trainer writes, and what a stranger may have written instead."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.checkpoint.trainer_state import TrainerState, finite

LOG = [
    {"step": 20, "loss": 0.5, "learning_rate": 5e-4, "epoch": 2.0},
    {"step": 10, "loss": 0.7, "learning_rate": 1e-3, "epoch": 1.0},
    {"step": 10, "eval_loss": 0.6, "eval_accuracy": 0.75},
    {"step": 20, "eval_loss": 0.55, "eval_accuracy": 1},
]
WHOLE = {
    "global_step": 20,
    "log_history": LOG,
    "best_model_checkpoint": "runs\\a\\checkpoint-20",
    "best_metric": 0.55,
}


def test_every_field_in_the_order_of_the_steps() -> None:
    assert TrainerState.of(WHOLE) == TrainerState(
        steps=20,
        losses=((10, 0.7), (20, 0.5)),
        rates=((10, 1e-3), (20, 5e-4)),
        eval_losses=((10, 0.6), (20, 0.55)),
        eval_accuracies=((10, 0.75), (20, 1.0)),
        best_checkpoint="checkpoint-20",
        best_metric=0.55,
    )
    assert TrainerState.of(WHOLE).highest_rate == 1e-3


def test_what_the_trainer_itself_saves(tmp_path: Path) -> None:
    from transformers import TrainerState as Theirs

    best = {"best_metric": 0.55, "best_model_checkpoint": "a/checkpoint-20"}
    theirs = Theirs(global_step=20, log_history=LOG, **best)
    theirs.save_to_json(str(tmp_path / "trainer_state.json"))
    save_file({"w": torch.ones(2)}, tmp_path / "model.safetensors")
    assert open_checkpoint(tmp_path).trainer_state == TrainerState.of(WHOLE)


@pytest.mark.parametrize("text", [None, "", "[]", "{}", "{", '"x"'])
def test_a_file_that_says_nothing_is_none(tmp_path: Path, text: str | None) -> None:
    save_file({"w": torch.ones(2)}, tmp_path / "model.safetensors")
    if text is not None:
        (tmp_path / "trainer_state.json").write_text(text)
    assert open_checkpoint(tmp_path).trainer_state is None


@pytest.mark.parametrize("odd", [None, "20", True, -1, 20.0, 10**400, [], {}])
def test_a_count_that_is_none_is_passed_over(odd: Any) -> None:
    found = TrainerState.of({"global_step": odd, "log_history": [{"step": odd, "loss": 1.0}]})
    assert found == TrainerState()


@pytest.mark.parametrize("odd", [None, "1", True, [], {}, 10**400])
def test_a_value_that_is_no_number_is_passed_over(odd: Any) -> None:
    log = [{"step": 1, "loss": odd, "learning_rate": odd, "eval_loss": odd}]
    assert TrainerState.of({"log_history": log, "best_metric": odd}) == TrainerState()


def test_losses_may_be_nan_and_evaluations_not() -> None:
    log = [{"step": 1, "loss": math.nan, "eval_loss": math.nan}]
    log += [{"step": 2, "loss": math.inf, "eval_loss": 2.0}]
    found = TrainerState.of({"log_history": log, "best_metric": math.nan})
    assert [math.isfinite(value) for _, value in found.losses] == [False, False]
    assert (found.eval_losses, found.best_metric) == (((2, 2.0),), None)
    assert finite(found.losses) == ()


def test_the_later_of_two_values_at_a_step_counts() -> None:
    log = [{"step": 1, "loss": 3.0}, {"step": 1, "loss": 2.0}, "between", {"step": 1}]
    assert TrainerState.of({"log_history": log}).losses == ((1, 2.0),)


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
ENTRY = st.dictionaries(st.sampled_from(["step", "loss", "learning_rate", "eval_loss", "eval_accuracy"]), ANY)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "global_step": ANY,
            "log_history": ANY | st.lists(ENTRY | ANY, max_size=5),
            "best_model_checkpoint": ANY,
            "best_metric": ANY,
        },
    )
)
def test_any_json_gives_numbers_in_order_or_nothing(content: dict[str, Any]) -> None:
    content = json.loads(json.dumps(content))
    found = TrainerState.of(content)
    for series in (found.losses, found.rates, found.eval_losses, found.eval_accuracies):
        steps = [step for step, _ in series]
        assert steps == sorted(set(steps))
        assert all(type(step) is int and type(value) is float for step, value in series)
    assert found.highest_rate is None or math.isfinite(found.highest_rate)
    assert found.best_checkpoint is None or "/" not in found.best_checkpoint
