"""Which parameters a method picks, in architectures whose names differ."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.builders import model
from torch import nn
from transformers.pytorch_utils import Conv1D

from bitfit_probe.errors import ModelError
from bitfit_probe.records import Part
from bitfit_probe.tuning.options import TuneOptions
from bitfit_probe.tuning.trainable import choose, flat_ranges, lora_targets

HEADS = ("classifier", "score", "pre_classifier", "lm_head", "cls")


def picked(tiny, targets):
    """What peft does with a list: a module's whole name, or its end behind a dot."""
    return {
        name
        for name, _ in tiny.named_modules()
        if any(name == target or name.endswith(f".{target}") for target in targets)
    }


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert", "gpt2", "opt", "llama", "t5", "vit"])
def test_lora_adapts_every_linear_layer_of_the_body(kind):
    tiny = model(kind)
    targets, whole = lora_targets(tiny, choose(tiny, TuneOptions(method="lora"), ()))
    linear = {name for name, module in tiny.named_modules() if isinstance(module, nn.Linear | Conv1D)}
    assert picked(tiny, targets) == {name for name in linear if name.split(".")[0] not in HEADS}
    assert all(name.startswith(HEADS) for name in whole)
    if kind != "vit":
        assert len(targets) < len(picked(tiny, targets))  # short names, not one a layer


def test_lora_of_some_roles():
    tiny = model("bert")
    targets, _ = lora_targets(tiny, choose(tiny, TuneOptions(method="lora"), ()), ("q", "m3"))
    assert picked(tiny, targets) == {
        f"bert.encoder.layer.{layer}.{name}"
        for layer in range(2)
        for name in ("attention.self.query", "output.dense")
    }


def test_buffers_that_are_called_bias_are_none():
    tiny = model("gpt2")
    assert {name.rpartition(".")[2] for name in choose(tiny, TuneOptions(), ()).names} == {"bias"}
    assert all(tiny.get_parameter(name).ndim == 1 for name in choose(tiny, TuneOptions(), ()).names)


def test_a_bias_without_the_word_in_its_place():
    from transformers import DebertaConfig, DebertaForSequenceClassification

    config = DebertaConfig(
        vocab_size=64,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=48,
        relative_attention=True,
        pos_att_type=["c2p", "p2c"],
    )
    tiny = DebertaForSequenceClassification(config)
    names = set(choose(tiny, TuneOptions(), ()).names)
    assert {name for name in names if name.endswith(("q_bias", "v_bias"))} == {
        f"deberta.encoder.layer.0.attention.self.{leaf}" for leaf in ("q_bias", "v_bias")
    }
    only_q = choose(tiny, TuneOptions(roles=("q",)), ()).names
    assert [name for name in only_q if name.startswith("deberta")] == [
        "deberta.encoder.layer.0.attention.self.q_bias"
    ]


def test_what_the_base_lacks_is_trained_since_it_would_stay_random():
    tiny = model("bert")
    missing = ("bert.pooler.dense.bias", "bert.pooler.dense.weight", "classifier.weight")
    chosen = choose(tiny, TuneOptions(method="head"), missing)
    assert set(chosen.names) == {*missing, "classifier.bias"}
    assert chosen.new == missing


def test_a_body_that_is_mostly_absent_is_the_wrong_model():
    tiny = model("bert")
    missing = [name for name, _ in tiny.named_parameters() if ".layer." in name]
    with pytest.raises(ModelError, match="not in the checkpoint"):
        choose(tiny, TuneOptions(), missing)


@pytest.mark.parametrize(
    ("shape", "axis"), [((6, 4), 0), ((4, 6), 1), ((2, 6, 3), 1), ((2, 3, 6), 2), ((6,), 0)]
)
def test_ranges_of_a_part_are_those_that_numpy_takes(shape, axis):
    part = Part("q", shape, axis, 2, 5)
    whole = np.arange(np.prod(shape))
    taken = whole.reshape(shape).take(range(2, 5), axis).reshape(-1)
    assert np.concatenate([whole[at] for at in flat_ranges(part)]).tolist() == taken.tolist()


def test_the_hook_leaves_the_rest_of_a_fused_bias_without_gradient():
    from bitfit_probe.tuning.trainable import only

    bias = nn.Parameter(torch.zeros(6))
    bias.register_hook(only(bias, (slice(1, 3), slice(5, 6))))
    (bias * torch.arange(1.0, 7.0)).sum().backward()
    assert bias.grad.tolist() == [0, 2, 3, 0, 0, 6]
