"""What speaks against the log of a run, and against calling the run healthy."""

from __future__ import annotations

import math

import pytest
import torch
from support.builders import move, state
from support.checking import codes, only
from support.pairs import bitfit, log, write_pair

from bitfit_probe.checkpoint.trainer_state import TrainerState
from bitfit_probe.measures.run_log import doubts
from bitfit_probe.measures.training_sufficiency import adequacy_of
from bitfit_probe.pair import Pair


def history(key, values):
    return {"log_history": [{"step": step, key: value} for step, value in enumerate(values, 1)]}


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (history("grad_norm", [math.nan] + [1.0] * 9), None),  # float16's scaler skips a first step
        (history("grad_norm", [math.nan] * 3 + [1.0] * 7), "3 of 10 logged gradient norms are NaN"),
        (history("grad_norm", [0.0] * 4), "every logged gradient norm is 0"),
        (history("learning_rate", [0.0, 1e-3, 5e-4, 0.0]), None),  # a warm-up, and its end
        (history("learning_rate", [1e-3, 0.0, 0.0, 0.0]), "the learning rate is 0 at 3 of 4"),
        (history("loss", [2.0 - 0.1 * n for n in range(15)]), None),
        (history("loss", [1.0, 1.2] * 10), None),
        (history("loss", [1.0 + 0.05 * n for n in range(20)]), "the training loss rose from 1.02 to 1.93"),
        (history("loss", [0.693] * 12), "the training loss is 0.693 at every logged step"),
    ],
)
def test_what_is_wrong_with_a_log(content, found):
    said = doubts(TrainerState.of(content))
    assert len(said) == (found is not None)
    assert found is None or found in said[0]


def judged(base, tuned):
    return adequacy_of(Pair.open(base, tuned))


def test_a_run_is_not_healthy_where_its_log_is_not(tmp_path):
    base, tuned = bitfit()
    sick = log([2e-2, 0.0]) | history("grad_norm", [math.nan] * 4)
    paths = write_pair(tmp_path, base, tuned, trainer_state__json=sick)
    assert judged(*paths).state == "inconclusive"
    assert codes(*paths) == ["BP213"]


@pytest.mark.parametrize("tuned_layers", [(0,), (1,)])
def test_a_run_is_not_healthy_where_half_of_its_layers_rest(tmp_path, tuned_layers):
    base = state("bert-mlm")
    names = [name for name in base if any(f"layer.{layer}." in name for layer in tuned_layers)]
    found = judged(*write_pair(tmp_path, base, move(base, *names, by=0.01)))
    assert (found.state, found.reasons) == ("inconclusive", ("nothing moved in 1 of 2 layers",))


def test_a_run_is_not_healthy_where_a_form_is_not_of_training(tmp_path):
    base = state("llama")
    tuned = move(base, *base, by=0.01)
    name = "model.layers.0.self_attn.q_proj.weight"
    tuned[name] = torch.roll(base[name], 4, 0)
    found = judged(*write_pair(tmp_path, base, tuned, "llama"))
    assert found.state == "inconclusive"
    assert "moved by +4" in found.reasons[0]


def test_biases_far_beyond_what_they_were_are_blown_up(tmp_path):
    """As after a rate a hundred times too high: no element moved by 100, all together drown the base."""
    base, tuned = bitfit(by=8.0)
    found = judged(*write_pair(tmp_path, base, tuned))
    assert found.max_abs_delta < 100
    assert (found.state, codes(*write_pair(tmp_path, base, tuned))) == ("blown-up", ["BP211"])


def test_weights_that_moved_although_the_log_counts_no_step(tmp_path):
    paths = write_pair(tmp_path, *bitfit(), trainer_state__json={"global_step": 0})
    assert judged(*paths).state == "impossible"
    assert only(*paths, code="BP212").severity == "info"  # the optimiser may not have been Adam
