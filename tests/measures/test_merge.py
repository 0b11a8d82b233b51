"""Each tensor of a merge judged by the adapter beside it; peft merges, faults are planted."""

from __future__ import annotations

import copy
import warnings

import peft
import pytest
import torch
from support.builders import model, state, write
from support.checking import codes, run_rules

from bitfit_probe.measures.merge import merge_of
from bitfit_probe.pair import Pair

METHODS = {
    "lora": ("bert", peft.LoraConfig(r=4, target_modules=["query", "value"])),
    "rslora": ("llama", peft.LoraConfig(r=4, target_modules=["self_attn.q_proj"], use_rslora=True)),
    "dora": ("bert", peft.LoraConfig(r=4, target_modules=["query", "dense"], use_dora=True)),
    "dora-conv1d": ("gpt2", peft.LoraConfig(r=4, target_modules=["c_attn", "c_proj"], use_dora=True)),
    "patterns": (
        "llama",
        peft.LoraConfig(
            r=4,
            target_modules=["q_proj", "k_proj", "down_proj"],
            exclude_modules=["k_proj"],
            layers_to_transform=[1],
            rank_pattern={"q_proj": 8},
            alpha_pattern={"q_proj": 32},
        ),
    ),
    "lora-and-biases": ("bert", peft.LoraConfig(r=4, target_modules=["query"], bias="all")),
    "token-rows": ("llama", peft.LoraConfig(target_modules=["q_proj"], trainable_token_indices=[3, 60])),
    "embedding": ("bert", peft.LoraConfig(r=4, target_modules=["word_embeddings"])),
    "ia3": (
        "gpt2",
        peft.IA3Config(target_modules=["c_attn", "mlp.c_proj"], feedforward_modules=["mlp.c_proj"]),
    ),
    "norms": ("llama", peft.LNTuningConfig(target_modules=["input_layernorm", "norm"])),
    "biases": ("bert", peft.BeftConfig(target_modules=["value"])),
}


def merged(folder, name, dtype=torch.float32, change=lambda tuned, base: tuned):
    """A base, and peft's merge of an adapter of noise beside that adapter, as one pair on disk."""
    kind, settings = METHODS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = model(kind).to(dtype)
        base = {key: value.clone() for key, value in plain.state_dict().items() if key in state(kind)}
        adapted = peft.get_peft_model(plain, copy.deepcopy(settings))
        torch.manual_seed(3)
        with torch.no_grad():
            for parameter in adapted.parameters():
                if parameter.requires_grad:
                    parameter.add_(0.05 * torch.randn_like(parameter))
        adapted.save_pretrained(folder / "tuned")
        tuned = adapted.merge_and_unload().state_dict()
    tuned = {key: tuned[key].clone() for key in base}
    write(folder / "base", base, {})
    write(folder / "tuned", change(tuned, base), {})
    return folder / "base", folder / "tuned"


def judged(base, tuned):
    return merge_of(Pair.open(base, tuned), tuned / "adapter_model.safetensors")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("name", METHODS)
def test_what_peft_merges_is_merged_and_the_rest_at_rest(tmp_path, name, dtype):
    found = judged(*merged(tmp_path, name, dtype))
    assert {item.name: item.fate for item in found.targeted if item.fate != "merged"} == {}
    assert found.targeted
    assert not [row.name for row in found.untargeted if row.moved]


@pytest.mark.parametrize("name", ["rslora", "patterns"])
def test_targets_by_suffix_or_pattern_are_no_wrong_base(tmp_path, name):
    """Targets were looked up by last names alone once, and q_proj taken for untargeted."""
    assert codes(*merged(tmp_path, name)) == []


def test_an_adapter_in_verl_s_subfolder_is_seen(tmp_path):
    base, tuned = merged(tmp_path, "lora", change=lambda tuned, base: base)
    (tuned / "lora_adapter").mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (tuned / name).rename(tuned / "lora_adapter" / name)
    assert codes(base, tuned) == ["BP504"]


def lacking(*parts):
    def change(tuned, base):
        return {key: base[key] if any(part in key for part in parts) else tuned[key] for key in base}

    return change


@pytest.mark.parametrize(
    ("name", "part"), [("lora", "layer.1"), ("dora-conv1d", "c_proj"), ("ia3", "c_attn")]
)
def test_modules_that_a_merge_passed_over(tmp_path, name, part):
    paths = merged(tmp_path, name, change=lacking(part))
    rest = {item.row.name for item in judged(*paths).of("at rest")}
    targeted = {item.row.name for item in judged(*paths).targeted}
    assert rest == {each for each in targeted if part in each} != set()
    (said,) = (item for item in run_rules(*paths).findings if item.code == "BP512")
    assert said.severity == "error"
    assert {subject.partition("[")[0] for subject in said.subjects} == rest


def test_a_merge_with_another_scale_in_one_layer(tmp_path):
    def half(tuned, base):
        return {k: base[k] + 0.5 * (tuned[k] - base[k]) if "layer.1" in k else tuned[k] for k in base}

    paths = merged(tmp_path, "lora", change=half)
    scaled = judged(*paths).of("scaled")
    assert [item.alpha for item in scaled] == pytest.approx([0.5, 0.5], abs=1e-4)
    assert codes(*paths) == ["BP512"]


def test_a_merge_that_was_trained_on(tmp_path):
    def trained(tuned, base):
        torch.manual_seed(5)
        noise = {key: 0.2 * (tuned[key] - base[key]).std() for key in base}
        return {key: tuned[key] + noise[key] * torch.randn_like(tuned[key]) for key in base}

    found = judged(*merged(tmp_path, "lora", change=trained))
    assert {item.fate for item in found.targeted} == {"other"}
    assert [item.lost for item in found.targeted] == pytest.approx([0.2] * 4, rel=0.1)


def test_matrices_that_the_adapter_does_not_know_moved_too(tmp_path):
    def more(tuned, base):
        return {key: tuned[key] + (0.01 if "intermediate.dense.weight" in key else 0) for key in base}

    paths = merged(tmp_path, "lora", change=more)
    (said,) = (item for item in run_rules(*paths).findings if item.code == "BP512")
    assert said.severity == "warning"
    assert len(said.subjects) == 2
