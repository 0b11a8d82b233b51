"""What stands out among tensors that are alike, planted in runs of noise of one size."""

from __future__ import annotations

import json

import pytest
import torch
from support.builders import copied, write
from support.checking import run_rules

from bitfit_probe.measures.siblings import siblings_of
from bitfit_probe.pair import Pair

LAYERS = 6
BERT = {
    "attention.self.query": (32, 32),
    "attention.self.value": (32, 32),
    "attention.output.dense": (32, 32),
    "intermediate.dense": (48, 32),
    "output.dense": (32, 48),
}
LLAMA = {"self_attn.q_proj": (32, 32), "self_attn.v_proj": (32, 32), "mlp.up_proj": (48, 32)}
STEMS = {"bert": "bert.encoder.layer.{}.", "llama": "model.layers.{}."}


def base(kind):
    """Matrices, and of BERT biases, of six layers."""
    torch.manual_seed(0)
    out = {}
    for layer in range(LAYERS):
        for module, shape in (BERT if kind == "bert" else LLAMA).items():
            stem = STEMS[kind].format(layer) + module
            out[f"{stem}.weight"] = 0.1 * torch.randn(shape)
            if kind == "bert":
                out[f"{stem}.bias"] = 0.1 * torch.randn(shape[0])
    return out


def trained(state, by=0.01):
    """All of it moved by noise of one size."""
    torch.manual_seed(1)
    return {name: value + by * torch.randn_like(value) for name, value in state.items()}


def pair(folder, ours, theirs, kind="bert", container=".safetensors", **files):
    settings = {"model_type": kind}
    one, other = write(folder / "base", ours, settings), write(folder / "tuned", theirs, settings)
    if container != ".safetensors":
        (other / "model.safetensors").unlink()
        torch.save(theirs, other / "pytorch_model.bin")
    for name, content in files.items():
        (other / f"{name}.json").write_text(json.dumps(content))
    return one, other


def found(*paths):
    return siblings_of(Pair.open(*paths))


def put_back(tuned, ours, *parts):
    return {name: ours[name] if any(part in name for part in parts) else tuned[name] for name in tuned}


@pytest.mark.parametrize("kind", STEMS)
def test_an_even_run_has_none(tmp_path, kind):
    ours = base(kind)
    assert found(*pair(tmp_path, ours, trained(ours), kind)) == ()


@pytest.mark.parametrize(("kind", "container"), [("bert", ".safetensors"), ("llama", ".bin")])
def test_layers_at_rest(tmp_path, kind, container):
    ours = base(kind)
    tuned = put_back(trained(ours), ours, *(STEMS[kind].format(layer) for layer in (2, 4)))
    (apart,) = found(*pair(tmp_path, ours, tuned, kind, container))
    assert (apart.how, apart.layers, apart.siblings, apart.explained) == ("layers at rest", (2, 4), 4, None)
    assert len(apart.tensors) == 2 * len(ours) / LAYERS


@pytest.mark.parametrize(
    ("only_biases", "layers", "severity"),
    [(False, (0, 1), "info"), (True, (0, 1), "warning"), (False, (4, 5), "warning")],
)
def test_lower_layers_of_a_full_run_may_be_frozen_on_purpose(tmp_path, only_biases, layers, severity):
    ours = base("bert")
    tuned = trained(ours)
    if only_biases:
        tuned = put_back(tuned, ours, "weight")
    tuned = put_back(tuned, ours, *(f"layer.{layer}." for layer in layers))
    said = [item for item in run_rules(*pair(tmp_path, ours, tuned)).findings if item.code == "BP310"]
    assert [item.severity for item in said] == [severity]
    assert f"layers {layers[0]}–{layers[1]}" in said[0].message


def test_layers_that_the_adapter_s_settings_leave_alone_are_explained(tmp_path):
    ours = base("llama")
    tuned = put_back(trained(ours), ours, "layers.2.", "layers.5.")
    settings = {"layers_to_transform": [0, 1, 3, 4]}
    (apart,) = found(*pair(tmp_path, ours, tuned, "llama", adapter_config=settings))
    assert apart.explained == "layers_to_transform in adapter_config.json"


def test_one_module_at_rest(tmp_path):
    ours = base("llama")
    tuned = put_back(trained(ours), ours, "layers.3.mlp.up_proj")
    (apart,) = found(*pair(tmp_path, ours, tuned, "llama"))
    assert (apart.how, apart.kind, apart.layers) == ("at rest", "mlp.up_proj.weight", (3,))


def test_steps_that_rounding_swallows_leave_tensors_at_rest_by_chance(tmp_path):
    """In bfloat16 steps of a thousandth of a value move one element in ten: one tensor may rest."""
    ours = {name: value.bfloat16() for name, value in base("llama").items()}
    torch.manual_seed(2)
    tuned = copied(ours)
    for name in tuned:
        tuned[name][torch.rand(tuned[name].shape) < 0.1] *= 1 + 2**-7
    tuned = put_back(tuned, ours, "layers.3.mlp.up_proj")
    assert found(*pair(tmp_path, ours, tuned, "llama")) == ()


def test_a_kind_that_rests_in_all_layers(tmp_path):
    ours = base("bert")
    tuned = put_back(trained(ours), ours, "intermediate.dense.weight", "bias")
    (apart,) = found(*pair(tmp_path, ours, tuned))
    assert (apart.how, apart.kind, apart.siblings) == ("kind at rest", "intermediate.dense.weight", 4)


@pytest.mark.parametrize(("times", "how"), [(30, "far"), (1 / 30, "near"), (5, None)])
def test_one_moved_more_or_less(tmp_path, times, how):
    ours = base("llama")
    tuned = trained(ours)
    name = "model.layers.4.self_attn.q_proj.weight"
    tuned[name] = ours[name] + times * (tuned[name] - ours[name])
    # 0.3 of 0.1 is most of the tensor, which another word is for as well.
    ways = {apart.how: apart for apart in found(*pair(tmp_path, ours, tuned, "llama"))}
    assert ("far" in ways, "near" in ways) == (how == "far", how == "near")
    if how:
        assert ways[how].tensors == (name,)
        assert ways[how].figure / ways[how].usual == pytest.approx(times, rel=0.1)


def test_rates_that_fall_from_layer_to_layer_are_no_strangers(tmp_path):
    """Layer-wise decay by 0.5 a layer: the first moved 32 times less than the last."""
    ours = base("bert")
    tuned = trained(ours)
    for layer in range(LAYERS):
        for name in tuned:
            if f"layer.{layer}." in name:
                tuned[name] = ours[name] + 0.5 ** (LAYERS - layer) * (tuned[name] - ours[name])
    assert found(*pair(tmp_path, ours, tuned)) == ()


def test_one_that_lost_its_base(tmp_path):
    """Half of it is the base's still, which neither a redrawn tensor nor another one is."""
    ours = base("llama")
    tuned = trained(ours)
    name = "model.layers.1.mlp.up_proj.weight"
    tuned[name] = 0.4 * ours[name] + 0.1 * torch.randn_like(ours[name])
    (apart,) = (item for item in found(*pair(tmp_path, ours, tuned, "llama")) if item.how == "unlike")
    assert apart.tensors == (name,)
    assert apart.figure < 0.5 < 0.99 < apart.usual
